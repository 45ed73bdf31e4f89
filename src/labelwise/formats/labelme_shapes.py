"""Shapes of labelme and X-AnyLabeling as objects of a picture, and back. Coordinates are pixels of the picture."""

from __future__ import annotations

import base64
import binascii
import math
import struct
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from labelwise.contracts.record import Box, Mask, Points, Polygon, Seen
from labelwise.errors import FormatError
from labelwise.formats.index_png import decode_stored
from labelwise.formats.key_points import joined_points
from labelwise.formats.numbers import number
from labelwise.formats.painted import check_size, window_of

if TYPE_CHECKING:
    import numpy as np

Corner = tuple[float, float]

#: corners of the outline that a circle becomes
_CORNERS = 64
#: turned rectangles of X-AnyLabeling and of labelme
_TURNED = ("rotation", "oriented_rectangle")
#: pixels by which a drawn rectangle may be askew
_ASKEW = 0.01
#: kinds of PNG with one number for each pixel: grey, palette
_ONE_NUMBER = (0, 3)
_PNG = b"\x89PNG\r\n\x1a\n"
#: key of a point that says what it is a point of, where no shape does
_SUBJECT = "subject"
#: keys of a shape that are read, or say nothing
_READ = frozenset({"label", "points", "shape_type", "mask", "score", "difficult", "group_id", "direction"})
_NOTHING: tuple[Any, ...] = (None, "", [], {})


@dataclass(frozen=True)
class _Shape:
    """One shape, before groups are joined."""

    seen: Seen
    group: int | str | None


def objects_of(shapes: Any, where: str, counts: Counter[str]) -> tuple[Seen, ...]:
    """The objects of a picture: shapes of one ``group_id`` are one object where they can be.

    Outlines of one label and group are parts of one object; points of a group belong to its box or outline, or make an
    object without a class of their own.

    Args:
        shapes: the list under ``shapes``.
        where: the file, for messages.
        counts: takes note of what is left out or changed, by a line that ``{n}`` stands in.

    Raises:
        FormatError: a shape that breaks its form, with its number.
    """
    if not isinstance(shapes, list):
        raise FormatError(f"{where}: 'shapes' is {shapes!r:.60}; give a list")
    found = [_shape(shape, f"{where}, shape {row}", counts) for row, shape in enumerate(shapes, 1)]
    return _joined([shape for shape in found if shape is not None], counts)


def _shape(shape: Any, where: str, counts: Counter[str]) -> _Shape | None:
    if not isinstance(shape, Mapping):
        raise FormatError(f"{where} is {shape!r:.60}; give an object with label and points")
    label, kind = shape.get("label"), shape.get("shape_type") or "polygon"
    if not isinstance(label, str) or not label.strip():
        raise FormatError(f"{where}: label is {label!r:.60}; say which class it is")
    corners = _corners(shape.get("points"), where)
    places = _places(str(kind), corners, shape, where, counts)
    if places is None:
        return None
    score = None if shape.get("score") is None else number(shape["score"], where, "score")
    if score is not None and not 0 <= score <= 1:
        counts["{n} score(s) outside 0 to 1 left out"] += 1
        score = None
    hard = shape.get("difficult") is True
    if "points" in places:
        sure = () if score is None else (score,)
        places["points"] = Points(((*corners[0], 1 if hard else 2),), (label,), sure)
    rest = {key: value for key, value in shape.items() if key not in _READ and value not in _NOTHING}
    group = shape.get("group_id")
    seen = Seen(label, **places, score=score, difficult=hard and "points" not in places, attributes=rest)
    return _Shape(seen, group if isinstance(group, int | str) and group != "" else None)


def _corners(points: Any, where: str) -> list[Corner]:
    if not isinstance(points, list):
        raise FormatError(f"{where}: points are {points!r:.60}; give a list of [x, y]")
    found: list[Corner] = []
    for point in points:
        if not isinstance(point, list) or len(point) != 2:
            raise FormatError(f"{where}: a point is {point!r:.60}; give [x, y]")
        found.append((number(point[0], where, "x"), number(point[1], where, "y")))
    return found


def _places(
    kind: str, corners: Sequence[Corner], shape: Mapping[str, Any], where: str, counts: Counter[str]
) -> dict[str, Any] | None:
    """The fields that place an object; None for a shape that is left out, which is counted."""
    if kind in ("rectangle", *_TURNED):
        if len(corners) not in (2, 4):
            raise FormatError(f"{where}: a {kind} has {len(corners)} points; give two corners, or four")
        return _rectangle(corners)
    if kind == "polygon" and len(corners) > 2:
        return {"outline": Polygon((tuple(value for corner in corners for value in corner),))}
    if kind == "circle" and len(corners) == 2:
        counts[f"{{n}} circle(s) taken as outlines of {_CORNERS} corners"] += 1
        return {"outline": _circle(*corners)}
    if kind == "mask" and len(corners) == 2:
        return {"outline": _mask(shape.get("mask"), corners, where)}
    if kind == "point" and len(corners) == 1:
        return {"points": None}
    if kind in ("circle", "mask", "point"):
        raise FormatError(f"{where}: a {kind} has {len(corners)} points; give {1 if kind == 'point' else 2}")
    why = "of fewer than three corners " if kind == "polygon" else ""
    counts[f"{{n}} {kind[:30]}(s) {why}left out"] += 1
    return None


def _rectangle(corners: Sequence[Corner]) -> dict[str, Any]:
    """An upright box, a turned one, or the outline of four corners that are no rectangle."""
    xs, ys = sorted(x for x, _ in corners), sorted(y for _, y in corners)
    if len(corners) == 2 or max(xs[1] - xs[0], xs[3] - xs[2], ys[1] - ys[0], ys[3] - ys[2]) <= _ASKEW:
        return {"box": Box(xs[0], ys[0], xs[-1], ys[-1])}
    (ax, ay), (bx, by), (cx, cy), (dx, dy) = corners
    if math.dist((ax + cx, ay + cy), (bx + dx, by + dy)) > 4 * _ASKEW or (
        abs(math.dist(corners[0], corners[2]) - math.dist(corners[1], corners[3])) > 4 * _ASKEW
    ):
        return {"outline": Polygon((tuple(value for corner in corners for value in corner),))}
    middle = ((ax + bx + cx + dx) / 4, (ay + by + cy + dy) / 4)
    half = (math.dist(corners[0], corners[1]) / 2, math.dist(corners[1], corners[2]) / 2)
    x1, y1, x2, y2 = (
        round(value, 8)
        for value in (middle[0] - half[0], middle[1] - half[1], middle[0] + half[0], middle[1] + half[1])
    )
    degrees = round(math.degrees(math.atan2(by - ay, bx - ax)), 8) % 360
    return {"box": Box(x1, y1, x2, y2, degrees)}


def _circle(middle: Corner, rim: Corner) -> Polygon:
    radius = math.dist(middle, rim)
    corners: list[float] = []
    for n in range(_CORNERS):
        angle = 2 * math.pi * n / _CORNERS
        corners += [round(middle[0] + radius * math.cos(angle), 8), round(middle[1] + radius * math.sin(angle), 8)]
    return Polygon((tuple(corners),))


def _mask(text: Any, corners: Sequence[Corner], where: str) -> Mask:
    """A window of pixels; its upper left one is the first point, its lower right one the second."""
    head = b""
    if isinstance(text, str):
        try:
            head = base64.b64decode(text[:64].encode("ascii"))
        except (binascii.Error, ValueError):
            head = b""
    if not head.startswith(_PNG) or len(head) < 26:
        raise FormatError(f"{where}: mask is {text!r:.40}; give the base64 text of a PNG")
    width, height, depth, colour = struct.unpack(">IIBB", head[16:26])
    if depth > 8 or colour not in _ONE_NUMBER:
        raise FormatError(f"{where}: a mask is a PNG of colours or of {depth} bits; give one number a pixel, 8 bits")
    check_size((width, height), where)
    (x, y), (right, bottom) = corners
    if not (float(x).is_integer() and float(y).is_integer()) or abs(x) > 1e9 or abs(y) > 1e9:
        raise FormatError(f"{where}: a mask lies at {x!r}, {y!r}; give whole pixels")
    if abs(right - x + 1 - width) > 1 or abs(bottom - y + 1 - height) > 1:
        raise FormatError(
            f"{where}: a mask has {width} x {height} pixels, and its points {right - x + 1:g} x {bottom - y + 1:g}"
        )
    return Mask((width, height), partial(_paint, text, where), (int(x), int(y)))


def _paint(text: str, where: str) -> np.ndarray:
    """Bool (H, W) of the PNG in a mask."""
    try:
        png = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, ValueError):
        raise FormatError(f"{where}: mask is no base64 text; write the file again") from None
    values = decode_stored(png, f"{where}: the mask").values
    if values is None:
        raise FormatError(f"{where}: the mask is a PNG of colours; give one number a pixel")
    covered: np.ndarray = values != 0
    return covered


# ---- groups ---------------------------------------------------------------------------------------------------------


def _joined(shapes: Sequence[_Shape], counts: Counter[str]) -> tuple[Seen, ...]:
    groups: dict[int | str, list[Seen]] = defaultdict(list)
    for shape in shapes:
        if shape.group is not None:
            groups[shape.group].append(shape.seen)
    found: list[Seen] = []
    done: set[int | str] = set()
    for shape in shapes:
        if shape.group is None:
            found.append(shape.seen)
        elif shape.group not in done:
            done.add(shape.group)
            found += _of_group(groups[shape.group], counts)
    return tuple(found)


def _of_group(seen: Sequence[Seen], counts: Counter[str]) -> list[Seen]:
    """The objects that shapes of one group are: one, where they agree."""
    points = [one for one in seen if one.points is not None]
    placed = [one for one in seen if one.points is None]
    boxes = [one for one in placed if one.box is not None]
    outlines = [one for one in placed if isinstance(one.outline, Polygon)]
    masks = [one for one in placed if isinstance(one.outline, Mask)]
    one_thing = len({one.cls for one in placed}) == 1 and len(boxes) < 2 and len(masks) + bool(outlines) < 2
    if not placed:  # points alone: what they belong to has no name, unless they all bear one
        names = {one.cls for one in points}
        cls = points[0].cls if len(names) == 1 else None
        told, rest = points[0].attributes.get(_SUBJECT), dict(points[0].attributes)
        if isinstance(told, str) and told:
            del rest[_SUBJECT]
        else:
            told = None
        return [replace(points[0], cls=told or cls, points=_together(points), score=None, attributes=rest)]
    if not one_thing:
        if points:
            counts["{n} group(s) of points and several shapes: taken apart"] += 1
        return [*placed, *points]
    parts = tuple(part for one in outlines for part in (one.outline.parts if isinstance(one.outline, Polygon) else ()))
    outline = masks[0].outline if masks else Polygon(parts) if parts else None
    first = placed[0]
    scores = [one.score for one in placed if one.score is not None]
    whole = replace(
        first,
        box=boxes[0].box if boxes else None,
        outline=outline,
        points=_together(points),
        score=max(scores, default=None),
    )
    return [whole]


def _together(points: Sequence[Seen]) -> Points | None:
    if not points:
        return None
    return joined_points([one.points for one in points if one.points is not None])


# ---- writing --------------------------------------------------------------------------------------------------------


def shapes_of(seen: Seen, label: str, group: int) -> list[dict[str, Any]]:
    """The shapes that say where an object is; several of them share a group.

    Args:
        seen: an object in pixels, with a shape.
        label: its class.
        group: a number that no other object has.
    """
    found: list[dict[str, Any]] = []
    if seen.box is not None:
        found.append(_written_box(seen.box, label))
    if isinstance(seen.outline, Polygon):
        found += [
            {
                "label": label,
                "points": [[x, y] for x, y in zip(part[::2], part[1::2], strict=True)],
                "shape_type": "polygon",
            }
            for part in seen.outline.parts
        ]
    elif seen.outline is not None:
        found.append({"label": label, **_written_mask(seen.outline), "shape_type": "mask"})
    if seen.points is not None:
        names = seen.points.names or tuple(label for _ in seen.points.points)
        sure: Sequence[float | None] = seen.points.scores or [None] * len(names)
        own = {} if found or not seen.points.names else {_SUBJECT: label}
        found += [
            {
                **{"label": name, "points": [[x, y]], "shape_type": "point", **own},
                **({"difficult": True} if there == 1 else {}),
                **({} if score is None else {"score": score}),
            }
            for (x, y, there), name, score in zip(seen.points.points, names, sure, strict=False)
            if there
        ]
    number_of = group if len(found) > 1 or (found and _SUBJECT in found[0]) else None
    for shape in found:
        shape["group_id"] = number_of
        shape.setdefault("flags", {})
    if found and seen.score is not None:
        found[0].setdefault("score", seen.score)
    if found and seen.difficult:
        found[0]["difficult"] = True
    if found:
        found[0] |= {key: value for key, value in seen.attributes.items() if key not in _READ}
    return found


def _written_box(box: Box, label: str) -> dict[str, Any]:
    if not box.rotation:
        return {"label": label, "points": [[box.x1, box.y1], [box.x2, box.y2]], "shape_type": "rectangle"}
    angle = math.radians(box.rotation)
    cosine, sine = math.cos(angle), math.sin(angle)
    x, y = (box.x1 + box.x2) / 2, (box.y1 + box.y2) / 2
    w, h = (box.x2 - box.x1) / 2, (box.y2 - box.y1) / 2
    points = [
        [x + u * w * cosine - v * h * sine, y + u * w * sine + v * h * cosine]
        for u, v in ((-1, -1), (1, -1), (1, 1), (-1, 1))
    ]
    return {"label": label, "points": points, "shape_type": _TURNED[1]}


def _written_mask(mask: Mask) -> dict[str, Any]:
    """The smallest window around the pixels of a mask, as labelme writes it."""
    import numpy as np

    from labelwise.formats.index_png import encode_mask

    part, left, top = window_of(mask)
    corners = [[left, top], [left + part.shape[1] - 1, top + part.shape[0] - 1]]
    return {"points": corners, "mask": base64.b64encode(encode_mask(part.astype(np.uint8))).decode("ascii")}
