"""Key points of objects; the raw label is ``{"size": [width, height], "objects": [{"class", "points"}, ...]}``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, cast

from labelwise.contracts.kind import PLAIN, Kind, Look, Naming, Panel, Raw
from labelwise.contracts.record import Head, Record, Seen, Where
from labelwise.contracts.record import Points as KeyPoints
from labelwise.errors import DataError, FormatError, brief
from labelwise.formats.numbers import is_finite
from labelwise.formats.shapes import extent, in_pixels
from labelwise.kinds import shapes
from labelwise.kinds.bodies import settled

#: how far beyond the border of a picture a point may lie that counts as inside, in pixels: rounding, and tools that
#: count from the centres of pixels
_SLACK = 0.5

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Points(Kind):
    """Key points of objects, in pixels of the picture as people see it.

    A point is ``[x, y, seen]``; ``seen`` is 2 for a visible one, 1 for a hidden one, 0 for one that lies outside or was
    not labelled. An object may have a ``"box"``, and ``"names"`` of its points where the file gives them; the pairs of
    points that are drawn as limbs stand in ``"skeleton"`` of the label, as positions counted from 0. Objects of a model
    may have ``"scores"``, how sure it is of each point, in [0, 1]. See ``bodies`` for what labels of a set share.

    Example:
        >>> kind = Points()
        >>> raw = {"size": [64, 48], "objects": [{"class": "fly", "points": [[1, 2, 2], [30, 40, 1], [0, 0, 0]]}]}
        >>> kind.to_record("a.png", raw, ("fly",)).objects[0].points.points, kind.cost(raw), kind.short(raw)
        (((1, 2, 2), (30, 40, 1), (0, 0, 0)), {'images': 1.0, 'points': 2.0, 'clicks': 2.0}, '2 points of 1 object')
    """

    name: ClassVar[str] = "points"
    noun: ClassVar[str] = "point"
    task: ClassVar[str] = "keypoints"
    kept: ClassVar[str] = " --format yolo"
    written: ClassVar[tuple[str, ...]] = ("coco",)

    def from_record(self, record: Record, naming: Naming, size: tuple[int, int] | None) -> Raw:
        """The key points of a picture; None where it names objects, and none of them has any.

        Boxes without key points are kept beside the others: they are objects of which no point was labelled. Points
        outside of the picture are marked as such and keep the place that they were given; ``tally`` counts them.

        Raises:
            FormatError: labels drawn at another size, a class that the project does not have, a name that two points of
                an object have, names or confidences of another number than points.
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
                    _thing(name, pixels, naming.head, str(record.where), (width, height), len(things))
                    | ({"extra": extra} if extra else {})
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
        things = shapes.check_objects(raw, classes, size, "points")
        for number, thing in enumerate(things):
            points = thing.get("points")
            if not isinstance(points, list | tuple):
                raise DataError(f"object {number} is {brief(thing, 80)}: give its class and its points")
            for place, point in enumerate(points):
                _check_point(point, f"point {place} of object {number}")
            _check_names(thing.get("names"), points, number)
            _check_sure(thing.get("scores"), points, number)
            if thing.get("box") is not None:
                shapes.check_box(thing["box"], number)
        _check_limbs(raw.get("skeleton"), max((len(thing["points"]) for thing in things), default=0))

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
        """One image, the points that were placed, and the clicks: one for each of these, two for each box."""
        boxes = sum(thing.get("box") is not None for thing in raw["objects"])
        return {"images": 1.0, "points": float(_placed(raw)), "clicks": float(_placed(raw) + 2 * boxes)}

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
        """Panels side by side, each the picture with the points and limbs of a label; names of points below.

        A point that a model is unsure of has a ring, the wider the less sure it is.
        """
        from labelwise.drawing.boxes import SIDE
        from labelwise.drawing.points import posed

        labels = {panel.title: panel.label for panel in panels}
        return posed(image, classes, labels, side=look.side or SIDE) if labels else image

    def origins(self, raw: Raw) -> Sequence[str]:
        """As the tool told them; see ``shapes.origins``."""
        return shapes.origins(raw)

    def tally(self, raws: Iterable[Raw]) -> Sequence[str]:
        """Points that lie outside their picture, and objects that nobody placed a point of."""
        outside = bare = 0
        for raw in raws:
            for thing in raw["objects"]:
                outside += sum(not _is_inside(x, y, raw["size"]) for x, y, _ in thing["points"])
                bare += not (any(seen for _, _, seen in thing["points"]) or thing.get("crowd"))
        said = [f"{outside:,} point(s) that lie outside their image: they count as not seen"] if outside else []
        return said + ([f"{bare:,} object(s) without any point that was placed: nothing to train on"] if bare else [])

    def settled(self, options: Mapping[str, Any], raws: Iterable[Raw]) -> tuple[dict[str, Any], list[str]]:
        """The points, limbs and mirrored pairs of the labels; see :func:`labelwise.kinds.bodies.settled`."""
        return settled(options, raws)


def _limbs(pairs: Any) -> list[tuple[int, int]]:
    """Pairs of positions, where a file has put them beside a picture."""
    whole = isinstance(pairs, list) and all(isinstance(pair, list) and len(pair) == 2 for pair in pairs)
    return [(pair[0], pair[1]) for pair in pairs] if whole else []


def _thing(name: str, seen: Seen, head: Head, where: str, size: tuple[int, int], number: int) -> dict[str, Any]:
    found = KeyPoints(()) if seen.points is None else seen.points
    points = [[x, y, there if _is_inside(x, y, size) else 0] for x, y, there in found.points]
    thing: dict[str, Any] = {"class": name, "points": points}
    try:
        _check_names(found.names or None, points, number)
        _check_sure(found.scores or None, points, number)
    except DataError as error:
        raise FormatError(f"{where}: {error}") from None
    names = found.names or (head.skeleton or ((), ()))[0]
    if names and len(names) == len(points):
        thing["names"] = list(names)
    if found.scores:
        thing["scores"] = list(found.scores)
    if seen.box is not None:
        thing["box"] = extent(seen, where)
    thing |= {flag: True for flag in ("crowd", "difficult") if getattr(seen, flag)}
    return thing | ({} if seen.score is None else {"score": seen.score})


def _seen(thing: Mapping[str, Any], size: Sequence[int]) -> Seen:
    points = cast("tuple[tuple[float, float, int], ...]", tuple(tuple(point) for point in thing["points"]))
    found = shapes.seen_of(thing, size, points=False)
    if not points and thing.get("box") is not None:
        return found
    return replace(found, points=KeyPoints(points, tuple(thing.get("names", ())), tuple(thing.get("scores", ()))))


def _check_point(point: Any, what: str) -> None:
    whole = isinstance(point, list | tuple) and len(point) == 3 and all(map(is_finite, point))
    if not whole or point[2] not in (0, 1, 2):
        raise DataError(
            f"{what} is {brief(point)}: give [x, y, seen] in pixels, seen being 2 (visible), 1 (hidden) or 0 "
            "(outside, or not labelled)"
        )


def _check_names(names: Any, points: Sequence[Any], number: int) -> None:
    """Refuses names of another number than points, and one that two points have."""
    if names is None:
        return
    if not isinstance(names, list | tuple) or len(names) != len(points):
        raise DataError(f"object {number} has {len(points)} points and the names {brief(names)}: give one each")
    if not all(isinstance(name, str) and name for name in names):
        raise DataError(f"the points of object {number} are called {brief(names, 80)}: give texts")
    if twice := [name for place, name in enumerate(names) if name in names[:place]]:
        raise DataError(f"two points of object {number} are called {twice[0]!r:.60}: give every point its own name")


def _check_sure(scores: Any, points: Sequence[Any], number: int) -> None:
    if scores is None:
        return
    whole = isinstance(scores, list | tuple) and len(scores) == len(points) and all(map(is_finite, scores))
    if not whole or not all(0 <= score <= 1 for score in scores):
        raise DataError(f"object {number} has the scores {brief(scores, 80)}: give one from 0 to 1 for each point")


def _check_limbs(limbs: Any, count: int) -> None:
    """Refuses limbs between points that no object has; labels without objects may have any."""
    for limb in () if limbs is None else limbs if isinstance(limbs, list | tuple) else (limbs,):
        ends = limb if isinstance(limb, list | tuple) else ()
        whole = len(ends) == 2 and all(isinstance(end, int) and not isinstance(end, bool) and end >= 0 for end in ends)
        if not whole or (count and max(ends) >= count):
            raise DataError(
                f"the skeleton has {brief(limb, 60)}: give pairs of positions of points, from 0 to {max(count - 1, 0)}"
            )


def _is_inside(x: float, y: float, size: Sequence[int]) -> bool:
    return -_SLACK <= x <= size[0] + _SLACK and -_SLACK <= y <= size[1] + _SLACK


def _placed(raw: Raw) -> int:
    return sum(bool(point[2]) for thing in raw["objects"] for point in thing["points"])
