"""Key points of objects; the raw label is ``{"size": [width, height], "objects": [{"class", "points"}, ...]}``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, cast

from labelwise.contracts.kind import PLAIN, Kind, Look, Naming, Panel, Raw
from labelwise.contracts.record import Head, Record, Seen, Where
from labelwise.contracts.record import Points as KeyPoints
from labelwise.errors import DataError, brief
from labelwise.formats.numbers import is_finite
from labelwise.formats.shapes import extent, in_pixels
from labelwise.kinds import shapes

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Points(Kind):
    """Key points of objects, in pixels of the picture as people see it.

    A point is ``[x, y, seen]``; ``seen`` is 2 for a visible one, 1 for a hidden one, 0 for one that lies outside or was
    not labelled. An object may have a ``"box"``, and ``"names"`` of its points where the file gives them; the pairs of
    points that are drawn as limbs stand in ``"skeleton"`` of the label, as positions counted from 0.

    Example:
        >>> kind = Points()
        >>> raw = {"size": [64, 48], "objects": [{"class": "fly", "points": [[1, 2, 2], [30, 40, 1], [0, 0, 0]]}]}
        >>> kind.to_record("a.png", raw, ("fly",)).objects[0].points.points, kind.cost(raw), kind.short(raw)
        (((1, 2, 2), (30, 40, 1), (0, 0, 0)), {'images': 1.0, 'clicks': 2.0}, '2 points of 1 object')
    """

    name: ClassVar[str] = "points"
    noun: ClassVar[str] = "point"
    task: ClassVar[str] = "keypoints"
    kept: ClassVar[str] = " --format yolo"
    written: ClassVar[tuple[str, ...]] = ("coco",)

    def from_record(self, record: Record, naming: Naming, size: tuple[int, int] | None) -> Raw:
        """The key points of a picture; None where it names objects, and none of them has any.

        Boxes without key points are kept beside the others: they are objects of which no point was labelled.

        Raises:
            FormatError: labels drawn at another size, or a class that the project does not have.
        """
        guessed = record.state == "untouched"
        width, height = shapes.agreed_size(record, size)
        if record.objects and all(seen.points is None for seen in record.objects):
            return None
        things: list[dict[str, Any]] = []
        for seen in record.objects:
            pixels = in_pixels(seen, (width, height)) if record.fractions else seen
            if pixels.points is None and pixels.box is None:
                continue
            if name := naming.of(seen.cls):
                pixels = pixels if guessed else replace(pixels, score=None)
                extra = shapes.kept(pixels, seen, points=False)
                things.append(
                    _thing(name, pixels, naming.head, str(record.where)) | ({"extra": extra} if extra else {})
                )
        raw: dict[str, Any] = {"size": [width, height], "objects": things}
        extra = dict(record.extra)
        if limbs := _limbs(extra.pop("skeleton", None)) or (naming.head.skeleton or ((), ()))[1]:
            raw["skeleton"] = [list(pair) for pair in limbs]
        return raw | ({"extra": extra} if extra else {})

    def to_record(self, item: str, raw: Raw, classes: tuple[str, ...]) -> Record:
        """A record with an object for each one of the label; its limbs go along in ``extra``."""
        things = raw["objects"]
        guessed = any(thing.get("score") is not None for thing in things)
        return Record(
            Where(item),
            item,
            size=(raw["size"][0], raw["size"][1]),
            objects=tuple(_seen(thing, raw["size"]) for thing in things),
            state="untouched" if guessed else "answered" if things else "empty",
            extra=raw.get("extra", {}) | ({"skeleton": raw["skeleton"]} if raw.get("skeleton") else {}),
        )

    def check(self, raw: Raw, classes: tuple[str, ...], size: tuple[int, int] | None) -> None:
        """Refuses what is no label of key points.

        Raises:
            DataError: with the object and what is allowed.
        """
        for number, thing in enumerate(shapes.check_objects(raw, classes, size, "points")):
            points = thing.get("points")
            if not isinstance(points, list | tuple):
                raise DataError(f"object {number} is {brief(thing, 80)}: give its class and its points")
            for place, point in enumerate(points):
                _check_point(point, f"point {place} of object {number}")
            names = thing.get("names", [""] * len(points))
            if not isinstance(names, list | tuple) or len(names) != len(points):
                raise DataError(f"object {number} has {len(points)} points and the names {brief(names)}: give one each")
            if thing.get("box") is not None:
                shapes.check_box(thing["box"], number)

    def objects(self, raw: Raw, classes: tuple[str, ...] = ()) -> list[str]:
        """The class of each object."""
        return [thing["class"] for thing in raw["objects"]]

    def merge(self, raws: Sequence[Raw]) -> Raw:
        """The objects of several labels of one picture together.

        Raises:
            DataError: pictures of different sizes.
        """
        return raws[0] if len(raws) == 1 else shapes.joined(raws, "key points")

    def cost(self, raw: Raw) -> dict[str, float]:
        """One image, and a click for each point that was placed."""
        return {"images": 1.0, "clicks": float(_placed(raw))}

    def owns(self, raw: Raw) -> bool:
        """Whether it has objects, and all of them have key points."""
        return shapes.has_objects(raw) and bool(raw["objects"]) and all("points" in thing for thing in raw["objects"])

    def same(self, one: Raw, other: Raw) -> bool:
        """Whether they name the same points of the same objects, in whatever order the objects are."""
        return shapes.alike(one, other)

    def empty(self, raw: Raw) -> bool:
        """Whether there is no object."""
        return not raw["objects"]

    def short(self, raw: Raw) -> str:
        """How many points of how many objects."""
        points, count = _placed(raw), len(raw["objects"])
        return f"{points or 'no'} point{'' if points == 1 else 's'} of {count} object{'' if count == 1 else 's'}"

    def draw(self, image: Image, panels: Sequence[Panel], classes: tuple[str, ...], look: Look = PLAIN) -> Image:
        """Panels side by side, each the picture with the points and limbs of a label."""
        from labelwise.drawing.boxes import boxed

        return boxed(image, classes, {panel.title: panel.label for panel in panels}) if panels else image

    def tally(self, raws: Iterable[Raw]) -> Sequence[str]:
        """Points that lie outside their picture."""
        outside = sum(
            not (0 <= x <= raw["size"][0] and 0 <= y <= raw["size"][1])
            for raw in raws
            for thing in raw["objects"]
            for x, y, seen in thing["points"]
            if seen
        )
        return [f"{outside:,} point(s) that lie outside their image"] if outside else []


def _limbs(pairs: Any) -> list[tuple[int, int]]:
    """Pairs of positions, where a file has put them beside a picture."""
    whole = isinstance(pairs, list) and all(isinstance(pair, list) and len(pair) == 2 for pair in pairs)
    return [(pair[0], pair[1]) for pair in pairs] if whole else []


def _thing(name: str, seen: Seen, head: Head, where: str) -> dict[str, Any]:
    points = () if seen.points is None else seen.points.points
    thing: dict[str, Any] = {"class": name, "points": [list(point) for point in points]}
    names = () if seen.points is None else seen.points.names or (head.skeleton or ((), ()))[0]
    if names and len(names) == len(points):
        thing["names"] = list(names)
    if seen.box is not None:
        thing["box"] = extent(seen, where)
    thing |= {flag: True for flag in ("crowd", "difficult") if getattr(seen, flag)}
    return thing | ({} if seen.score is None else {"score": seen.score})


def _seen(thing: Mapping[str, Any], size: Sequence[int]) -> Seen:
    points = cast("tuple[tuple[float, float, int], ...]", tuple(tuple(point) for point in thing["points"]))
    found = shapes.seen_of(thing, size, points=False)
    if not points and thing.get("box") is not None:
        return found
    return replace(found, points=KeyPoints(points, tuple(thing.get("names", ()))))


def _check_point(point: Any, what: str) -> None:
    whole = isinstance(point, list | tuple) and len(point) == 3 and all(map(is_finite, point))
    if not whole or point[2] not in (0, 1, 2):
        raise DataError(
            f"{what} is {brief(point)}: give [x, y, seen] in pixels, seen being 2 (visible), 1 (hidden) or 0 "
            "(outside, or not labelled)"
        )


def _placed(raw: Raw) -> int:
    return sum(bool(point[2]) for thing in raw["objects"] for point in thing["points"])
