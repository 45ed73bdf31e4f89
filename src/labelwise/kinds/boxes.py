"""Boxes with classes; the raw label is ``{"size": [width, height], "objects": [{"class", "box"}, ...]}``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from labelwise.contracts.kind import PLAIN, Kind, Look, Naming, Panel, Raw
from labelwise.contracts.record import Record, Seen, Where
from labelwise.errors import DataError, brief
from labelwise.formats.shapes import extent, in_pixels
from labelwise.kinds import shapes

if TYPE_CHECKING:
    from PIL.Image import Image

#: pixels (and share of a side) that a box may stand out before it is counted: six digits of a fraction are not exact
SLACK, SLACK_SHARE = 0.01, 2e-6


@dataclass(frozen=True)
class Boxes(Kind):
    """Upright boxes with classes, in pixels of the picture as people see it.

    An object may be ``"crowd": true`` or ``"difficult": true`` (neither right nor wrong), and what else the file said
    stands under ``"extra"``. A box that a model drew has a ``"score"``; one that a person let stand is a label and has
    none.

    Example:
        >>> kind = Boxes()
        >>> raw = {"size": [64, 48], "objects": [{"class": "cell", "box": [1, 2, 30, 40]}]}
        >>> record = kind.to_record("a.png", raw, ("cell",))
        >>> record.objects[0].box, kind.cost(raw), kind.short(raw)
        (Box(x1=1, y1=2, x2=30, y2=40, rotation=0.0), {'images': 1.0, 'boxes': 1.0}, '1 box')
    """

    name: ClassVar[str] = "boxes"
    noun: ClassVar[str] = "box"
    task: ClassVar[str] = "detection"
    kept: ClassVar[str] = " --format yolo"
    written: ClassVar[tuple[str, ...]] = ("coco",)

    def from_record(self, record: Record, naming: Naming, size: tuple[int, int] | None) -> Raw:
        """The boxes of a picture; None where all that the record names has no place in it.

        A turned box, a polygon or a mask becomes the upright box around it, and is kept beside it. Scores stay where
        nobody has looked at the picture yet, on what a model guessed.

        Raises:
            FormatError: labels drawn at another size, or a class that the project does not have.
        """
        guessed = record.state == "untouched"
        things: list[dict[str, Any]] = []
        placed = 0
        width, height = shapes.agreed_size(record, size)
        for seen in record.objects:
            pixels = in_pixels(seen, (width, height)) if record.fractions else seen
            box = extent(pixels, str(record.where))
            if box is None:
                continue
            placed += 1
            if name := naming.of(seen.cls):
                things.append(_thing(name, box, pixels, shapes.kept(pixels, seen, points=True), guessed))
        if record.objects and not placed:
            return None
        raw = {"size": [width, height], "objects": things}
        return raw | ({"extra": dict(record.extra)} if record.extra else {})

    def to_record(self, item: str, raw: Raw, classes: tuple[str, ...]) -> Record:
        """A record with an object for each box; with scores it is a guess that nobody has looked at."""
        things = raw["objects"]
        guessed = any(thing.get("score") is not None for thing in things)
        return Record(
            Where(item),
            item,
            size=(raw["size"][0], raw["size"][1]),
            objects=tuple(shapes.seen_of(thing, raw["size"], points=True) for thing in things),
            state="untouched" if guessed else "answered" if things else "empty",
            extra=raw.get("extra", {}),
        )

    def check(self, raw: Raw, classes: tuple[str, ...], size: tuple[int, int] | None) -> None:
        """Refuses what is no label of boxes.

        Raises:
            DataError: with the object and what is allowed.
        """
        for number, thing in enumerate(shapes.check_objects(raw, classes, size, "boxes")):
            if "box" not in thing:
                raise DataError(f"object {number} is {brief(thing, 80)}: give its class and its box")
            shapes.check_box(thing["box"], number)

    def objects(self, raw: Raw, classes: tuple[str, ...] = ()) -> list[str]:
        """The class of each box, ignored ones too: people have drawn them."""
        return [thing["class"] for thing in raw["objects"]]

    def merge(self, raws: Sequence[Raw]) -> Raw:
        """The boxes of several labels of one picture together.

        Raises:
            DataError: pictures of different sizes.
        """
        return raws[0] if len(raws) == 1 else shapes.joined(raws, "boxes")

    def cost(self, raw: Raw) -> dict[str, float]:
        """One image and its boxes."""
        return {"images": 1.0, "boxes": float(len(raw["objects"]))}

    def owns(self, raw: Raw) -> bool:
        """Whether it has objects, and none of them key points of its own."""
        return shapes.has_objects(raw) and not any("points" in thing for thing in raw["objects"])

    def same(self, one: Raw, other: Raw) -> bool:
        """Whether they name the same boxes, in whatever order."""
        return shapes.alike(one, other)

    def empty(self, raw: Raw) -> bool:
        """Whether there is no box."""
        return not raw["objects"]

    def short(self, raw: Raw) -> str:
        """How many boxes."""
        count = len(raw["objects"])
        return f"{count or 'no'} box{'es' if count > 1 else ''}"

    def draw(self, image: Image, panels: Sequence[Panel], classes: tuple[str, ...], look: Look = PLAIN) -> Image:
        """Panels side by side, each the picture with the boxes of a label; the last with a map of doubt over it."""
        from labelwise.drawing.boxes import SIDE, boxed

        labels = {panel.title: panel.label for panel in panels if panel.label is not None}
        doubt_HW = next((panel.doubt for panel in panels if panel.doubt is not None), None)
        if not labels and doubt_HW is None:
            return image
        return boxed(image, classes, labels, uncertainty_HW=doubt_HW, side=look.side or SIDE)

    def origins(self, raw: Raw) -> Sequence[str]:
        """As the tool told them; see ``shapes.origins``."""
        return shapes.origins(raw)

    def tally(self, raws: Iterable[Raw]) -> Sequence[str]:
        """Pictures without any box, crowds, difficult ones, boxes without area, and such as leave their picture."""
        counts: Counter[str] = Counter()
        boxes = as_corners = 0
        for raw in raws:
            counts["{n} labelled image(s) without any object"] += not raw["objects"]
            for thing in raw["objects"]:
                counts.update(_odd(thing, raw["size"]))
                boxes += 1
                as_corners += _fits_as_corners(thing["box"], raw["size"])
        found = [text.format(n=f"{count:,}") for text, count in counts.items() if count]
        if counts[_LEAVES] and boxes == as_corners > 1:
            found.append(
                f"all {boxes:,} boxes would lie inside if they had been written as corners: are they x1, y1, x2, y2 "
                "in a file of x, y, width, height? Then every label is wrong"
            )
        return found


_LEAVES = "{n} box(es) that leave the image: cut off at its border"


def _thing(name: str, box: list[float], seen: Seen, extra: dict[str, Any], guessed: bool) -> dict[str, Any]:
    thing: dict[str, Any] = {"class": name, "box": box}
    thing |= {flag: True for flag in ("crowd", "difficult") if getattr(seen, flag)}
    if guessed and seen.score is not None:
        thing["score"] = seen.score
    return thing | ({"extra": extra} if extra else {})


def _odd(thing: Mapping[str, Any], size: Sequence[int]) -> Iterator[str]:
    """What is odd about a box, as texts for a count."""
    for flag in ("crowd", "difficult"):
        if thing.get(flag):
            yield f"{{n}} box(es) marked {flag}: kept out of training and metrics"
    x1, y1, x2, y2 = thing["box"]
    if x1 >= x2 or y1 >= y2:
        yield "{n} box(es) without area: kept in the labels, left out of training and metrics"
    if any(
        low < -slack or high > side + slack
        for low, high, side in ((x1, x2, size[0]), (y1, y2, size[1]))
        for slack in (max(SLACK, SLACK_SHARE * side),)
    ):
        yield _LEAVES


def _fits_as_corners(box: Sequence[float], size: Sequence[int]) -> bool:
    """Whether the sides of a box may be corners of another one that lies in the picture."""
    width, height = box[2] - box[0], box[3] - box[1]
    return box[0] < width <= size[0] and box[1] < height <= size[1]
