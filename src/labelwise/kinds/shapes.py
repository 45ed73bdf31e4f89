"""Objects with shapes as raw labels hold them: what boxes and key points share.

An object is ``{"class": name, ...}`` with ``"crowd": true`` and ``"difficult": true`` where they hold, ``"score"``
where a model gave one, and ``"extra"`` for what else the file said: polygons and run lengths as COCO has them
(``segmentation``), corners as YOLO has them, in fractions (``polygon``), a box before it was turned (``rotated``: x1,
y1, x2, y2, degrees), key points of a box (``keypoints``), and ``origin``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast, get_args

import numpy as np

from labelwise.contracts.record import Box, Mask, Origin, Points, Polygon, Record, Seen
from labelwise.errors import DataError, FormatError, brief, unknown
from labelwise.formats.coco_shapes import decode_segmentation
from labelwise.formats.numbers import is_finite
from labelwise.formats.shapes import DIGITS, upright

#: pixels of a side that no picture exceeds
LONGEST = 1 << 31
_ORIGINS = get_args(Origin)


# ---- sizes ----------------------------------------------------------------------------------------------------------


def agreed_size(record: Record, size: tuple[int, int] | None) -> tuple[int, int]:
    """The size of the picture that a record speaks of, width and height.

    Raises:
        FormatError: it was labelled at another size, or neither the file nor the picture says it.
    """
    if record.size is not None and size is not None:
        refuse_size(record.size, size, f"{record.where}: {shown(record)}", FormatError)
    found = size or record.size
    if found is None:
        raise FormatError(
            f"{record.where}: the size of {shown(record)} is not known: the file does not say it, and the picture "
            "cannot be read; put the picture back, or write its width and height"
        )
    return found


def refuse_size(drawn: Sequence[int], size: Sequence[int], what: str, error: type[DataError]) -> None:
    """Refuses labels that were drawn at another size than the picture has as people see it.

    Raises:
        DataError: of the type ``error``.
    """
    if tuple(drawn) == tuple(size):
        return
    turned = (
        "; width and height are swapped, as tools do that overlook a turn in EXIF data"
        if (tuple(drawn) == tuple(size)[::-1])
        else ""
    )
    raise error(
        f"{what} was labelled at {drawn[0]} x {drawn[1]} pixels and has {size[0]} x {size[1]} as people see "
        f"it{turned}: export the labels at that size"
    )


def shown(record: Record) -> str:
    """What a message calls the picture of a record."""
    return repr(record.image) if record.image is not None else f"image {record.number!r}"


def checked_size(size: Any) -> tuple[int, int]:
    """Width and height out of a raw label.

    Raises:
        DataError: they are no whole numbers above zero.
    """
    pair = list(size) if isinstance(size, list | tuple) else []
    if len(pair) != 2 or not all(isinstance(v, int) and not isinstance(v, bool) and 0 < v <= LONGEST for v in pair):
        raise DataError(f"the size of the image is {brief(size, 60)}: give [width, height] in whole pixels")
    return pair[0], pair[1]


# ---- out of records -------------------------------------------------------------------------------------------------


def kept(seen: Seen, plain: Seen, *, points: bool) -> dict[str, Any]:
    """What a raw label keeps of an object beside class, box and flags, under ``extra``.

    Args:
        seen: the object in pixels.
        plain: the same as the file wrote it.
        points: its key points too.
    """
    extra = dict(seen.attributes)
    box, outline = seen.box, seen.outline
    if box is not None and box.rotation:
        extra.setdefault("rotated", [box.x1, box.y1, box.x2, box.y2, box.rotation])
    if isinstance(outline, Polygon) and isinstance(plain.outline, Polygon) and not _fractions(extra):
        if outline is not plain.outline and len(outline.parts) == 1 and "polygon" not in extra:
            extra["polygon"] = list(plain.outline.parts[0])
        else:
            extra.setdefault("segmentation", [list(part) for part in outline.parts])
    elif isinstance(outline, Mask) and isinstance(outline.raw, Mapping) and {"size", "counts"} <= outline.raw.keys():
        extra.setdefault("segmentation", outline.raw)
    if points and seen.points is not None:
        extra.setdefault("keypoints", [value for point in seen.points.points for value in point])
        if seen.points.names:
            extra.setdefault("keypoint_names", list(seen.points.names))
        if seen.points.scores:
            extra.setdefault("keypoint_scores", list(seen.points.scores))
    if seen.origin is not None:
        extra.setdefault("origin", seen.origin)
    return extra


def origins(raw: Mapping[str, Any]) -> list[str]:
    """How each object of a raw label came about, of those of which the tool said it."""
    found = [thing.get("extra", {}).get("origin") for thing in raw["objects"]]
    return [origin for origin in found if origin in _ORIGINS]


# ---- into records ---------------------------------------------------------------------------------------------------


def seen_of(thing: Mapping[str, Any], size: Sequence[int], *, points: bool) -> Seen:
    """An object of a raw label, so that ``kept`` gives its ``extra`` back.

    Args:
        thing: of a raw label that was checked.
        size: of the picture.
        points: whether ``extra`` may hold key points.
    """
    extra = dict(thing.get("extra", {}))
    box = None if thing.get("box") is None else Box(*thing["box"])
    if box is not None and _numbers(extra.get("rotated"), 5) and len(extra["rotated"]) == 5:
        turned = Box(*extra["rotated"])
        if turned.rotation and upright(turned) == list(thing["box"]):
            box = turned
            del extra["rotated"]
    outline = _outline(extra, size)
    found = None
    if points and _numbers(extra.get("keypoints"), 3) and set(extra["keypoints"][2::3]) <= {0, 1, 2}:
        values = extra.pop("keypoints")
        names = extra.get("keypoint_names")
        named = isinstance(names, list) and bool(names) and all(isinstance(name, str) for name in names)
        sure: Any = extra.get("keypoint_scores")
        found = Points(
            tuple(zip(values[0::3], values[1::3], values[2::3], strict=True)),
            tuple(extra.pop("keypoint_names")) if named else (),
            tuple(extra.pop("keypoint_scores")) if _numbers(sure, 1) and 3 * len(sure) == len(values) else (),
        )
    origin = extra.pop("origin") if extra.get("origin") in _ORIGINS else None
    flags = {flag: True for flag in ("crowd", "difficult") if thing.get(flag)}
    return Seen(thing["class"], box, outline, found, thing.get("score"), origin=origin, attributes=extra, **flags)


def _outline(extra: dict[str, Any], size: Sequence[int]) -> Polygon | Mask | None:
    """Taken out of ``extra``, where it is one; corners in fractions stay there as well, for their digits."""
    if _fractions(extra):
        corners = enumerate(extra["polygon"])
        return Polygon((tuple(round(size[place % 2] * value, DIGITS) for place, value in corners),))
    mask = extra.get("segmentation")
    if isinstance(mask, list) and mask and all(_numbers(part, 2) and len(part) >= 6 for part in mask):
        del extra["segmentation"]
        return Polygon(tuple(tuple(part) for part in mask))
    if isinstance(mask, Mapping) and {"size", "counts"} <= mask.keys() and _numbers(mask["size"], 2):
        del extra["segmentation"]
        height, width = mask["size"]
        return Mask((width, height), lambda: _decoded(mask, width, height), raw=mask)
    return None


def _fractions(extra: Mapping[str, Any]) -> bool:
    """Whether corners in fractions are kept, which then go before those in pixels."""
    return _numbers(extra.get("polygon"), 2) and len(extra["polygon"]) >= 6


def _decoded(mask: Mapping[str, Any], width: int, height: int) -> np.ndarray:
    return decode_segmentation(mask, width, height)


def _numbers(values: Any, step: int) -> bool:
    whole = isinstance(values, list | tuple) and bool(values) and len(values) % step == 0
    return whole and all(map(is_finite, values))


# ---- raw labels -----------------------------------------------------------------------------------------------------


def check_objects(raw: Any, classes: Sequence[str], size: tuple[int, int] | None, what: str) -> list[Mapping[str, Any]]:
    """The objects of a raw label, each with a class of the project.

    Args:
        raw: a label.
        classes: of the project.
        size: of the picture as people see it; None where it is not known.
        what: what the label is one of: ``boxes``.

    Raises:
        DataError: something else, with the object and what is allowed.
    """
    if not isinstance(raw, Mapping) or not isinstance(raw.get("objects"), list | tuple):
        raise DataError(f'{brief(raw, 80)} is no label of {what}: give {{"size": [width, height], "objects": [...]}}')
    drawn = checked_size(raw.get("size"))
    if size is not None:
        refuse_size(drawn, size, "the image", DataError)
    known = frozenset(classes)
    for number, thing in enumerate(raw["objects"]):
        if not isinstance(thing, Mapping) or "class" not in thing:
            raise DataError(f"object {number} is {brief(thing, 80)}: give its class and its {what}")
        if not isinstance(thing["class"], str) or thing["class"] not in known:
            name = thing["class"] if isinstance(thing["class"], str) else brief(thing["class"])
            raise unknown("class", name, classes, error=DataError)
    check_scores(raw["objects"])
    return list(raw["objects"])


def check_box(box: Any, number: int) -> None:
    """Refuses what is no box.

    Raises:
        DataError: not four finite numbers, or swapped corners.
    """
    corners = list(box) if isinstance(box, list | tuple) else []
    if len(corners) != 4 or not all(map(is_finite, corners)):
        raise DataError(f"the box of object {number} is {brief(box, 80)}: give four finite numbers x1, y1, x2, y2")
    if corners[0] > corners[2] or corners[1] > corners[3]:
        raise DataError(
            f"the box of object {number} is {brief(corners, 80)}: x1 <= x2 and y1 <= y2 are needed, swap its corners"
        )


def check_scores(things: Sequence[Mapping[str, Any]]) -> None:
    """Refuses scores on some objects only, or outside [0, 1].

    Raises:
        DataError: with the object.
    """
    scores = [thing.get("score") for thing in things]
    if all(score is None for score in scores):
        return
    for number, score in enumerate(scores):
        if not is_finite(score) or not 0 <= cast("float", score) <= 1:
            raise DataError(
                f"the score of object {number} is {brief(score, 40)}: give every object one from 0 to 1, or none"
            )


def has_objects(raw: Any) -> bool:
    """Whether a raw label has a list of objects."""
    whole = isinstance(raw, Mapping) and isinstance(raw.get("objects"), list | tuple)
    return whole and all(isinstance(thing, Mapping) for thing in raw["objects"])


def joined(raws: Sequence[Any], what: str) -> dict[str, Any]:
    """All objects of several labels of one picture, in order.

    Raises:
        DataError: pictures of different sizes.
    """
    sizes = sorted({tuple(raw["size"]) for raw in raws})
    if len(sizes) != 1:
        raise DataError(f"{what} of images of sizes {sizes} cannot be joined: give those of one image")
    limbs = next((raw["skeleton"] for raw in raws if raw.get("skeleton")), None)
    found = {"size": list(sizes[0]), "objects": [thing for raw in raws for thing in raw["objects"]]}
    return found | ({} if limbs is None else {"skeleton": limbs})


def alike(one: Any, other: Any) -> bool:
    """Whether two raw labels name the same objects, in whatever order and with whatever the files said beside."""
    return bool(one["size"] == other["size"]) and _said(one) == _said(other)


def _said(raw: Any) -> list[str]:
    things = ({key: value for key, value in thing.items() if key != "extra"} for thing in raw["objects"])
    return sorted(repr(sorted(thing.items())) for thing in things)
