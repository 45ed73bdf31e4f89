"""Elements of CVAT's XML as objects of a picture, and back.

Coordinates are pixels of the picture; a box is turned clockwise about its centre. A mask is a window of the picture
(``left``, ``top``, ``width``, ``height``) and the lengths of its runs row by row, the first one outside. Points of a
skeleton are visible, ``occluded``, or ``outside`` where they are not in the picture.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from labelwise.contracts.record import Box, Mask, Origin, Points, Polygon, Seen
from labelwise.errors import FormatError
from labelwise.formats.numbers import corners
from labelwise.formats.painted import check_size, window_of
from labelwise.formats.xml_tree import Element

if TYPE_CHECKING:
    import numpy as np

#: characters of run lengths of one mask; one of 20 million pixels with a fine outline takes some 0.1 million
LONGEST = 8_000_000
#: shapes that no kind of label has a place for
LEFT_OUT = ("polyline", "cuboid", "ellipse")
SHAPES = ("tag", "box", "polygon", "points", "skeleton", "mask", *LEFT_OUT)
_ORIGINS: Mapping[str, Origin] = {"manual": "drawn", "auto": "accepted", "semi-auto": "corrected"}
_WORDS = {origin: word for word, origin in _ORIGINS.items()}
#: attributes of elements that are read into fields
_READ = frozenset({"label", "points", "xtl", "ytl", "xbr", "ybr", "rotation", "rle", "left", "top", "width", "height"})
#: what most objects are, and need not be kept
_USUAL = {"occluded": "0", "outside": "0", "keyframe": "0", "z_order": "0", "group_id": "0"}
_TRUE = ("true", "1")
#: attributes of labels that CVAT gives what it imports from VOC and COCO: left out of metrics, a group
_FLAGS = ("difficult", "is_crowd")


def seen_of(element: Element, size: tuple[int, int] | None, where: str, counts: Counter[str]) -> Seen | None:
    """The object of an element; None for one that is left out, which is counted.

    Args:
        element: a child of ``<image>``.
        size: (width, height) of the picture.
        where: file and row, for messages.
        counts: takes note of what is left out, by a line that ``{n}`` stands in.

    Raises:
        FormatError: no label, a coordinate that is no number, or a mask that leaves the picture.
    """
    if element.tag not in SHAPES or element.tag in LEFT_OUT:
        counts[f"{{n}} <{element.tag[:30]}> left out: there is no kind of label for it"] += 1
        return None
    here = f"{where}, line {element.line}"
    label = element.attributes.get("label", "")
    if not label.strip():
        raise FormatError(f"{here}: a <{element.tag}> has no label; say which class it is")
    shapes: dict[str, Any] = {}
    match element.tag:
        case "box":
            shapes["box"] = _box(element, here)
        case "polygon":
            values = _values(element, here)
            if len(values) < 6:
                counts["{n} outline(s) of fewer than three corners left out"] += 1
                return None
            shapes["outline"] = Polygon((tuple(values),))
        case "mask":
            shapes["outline"] = _mask(element, size, here)
        case "points":
            values = _values(element, here)
            shapes["points"] = Points(tuple((x, y, 2) for x, y in zip(values[::2], values[1::2], strict=True)))
        case "skeleton":
            shapes["points"] = _skeleton(element, here)
    return _with_words(element, label, shapes, here)


def _with_words(element: Element, label: str, shapes: Mapping[str, Any], where: str) -> Seen:
    """The object with what else is said of it."""
    rest = {
        name: value
        for name, value in element.attributes.items()
        if name not in _READ and _USUAL.get(name) != value and not (name == "source" and value in _ORIGINS)
    }
    score = _number(rest.pop("score"), where, "score") if "score" in rest else None
    if score is not None and not 0 <= score <= 1:
        rest["score"], score = element.attributes["score"], None
    told = {one.attributes.get("name", ""): one.text for one in element.all("attribute")}
    difficult, crowd = (told.get(name, "").lower() in _TRUE and bool(told.pop(name)) for name in _FLAGS)
    origin = _ORIGINS.get(element.attributes.get("source", ""))
    extra: dict[str, Any] = {**rest, **({"attributes": told} if told else {})}
    return Seen(label, **shapes, score=score, origin=origin, attributes=extra, crowd=crowd, difficult=difficult)


def _number(text: str | None, where: str, name: str) -> float:
    """A finite number, whole where it is."""
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise FormatError(f"{where}: {name} is {text!r:.60}; give a number of pixels")
    return int(value) if value.is_integer() and abs(value) < 1e15 else value


def _whole(element: Element, name: str, where: str) -> int:
    value = _number(element.attributes.get(name), where, name)
    if not isinstance(value, int) or abs(value) > 1e9:
        raise FormatError(f"{where}: {name} is {element.attributes[name]!r:.60}; give whole pixels")
    return value


def _box(element: Element, where: str) -> Box:
    values = [_number(element.attributes.get(name), where, name) for name in ("xtl", "ytl", "xbr", "ybr")]
    x1, y1, x2, y2 = corners(values, where)
    rotation = _number(element.attributes.get("rotation", "0"), where, "rotation") % 360
    return Box(x1, y1, x2, y2, rotation)


def _values(element: Element, where: str) -> list[float]:
    """Coordinates x, y, x, y, ... of ``points``."""
    found: list[float] = []
    for pair in element.attributes.get("points", "").split(";"):
        if not pair.strip():
            continue
        parts = pair.split(",")
        if len(parts) != 2:
            raise FormatError(f"{where}: points hold {pair!r:.60}; give x,y;x,y;...")
        found += [_number(text, where, "a coordinate of points") for text in parts]
    return found


def _skeleton(element: Element, where: str) -> Points:
    places: list[tuple[float, float, int]] = []
    names: list[str] = []
    for point in element.all("points"):
        here = f"{where}, point {point.attributes.get('label', '')!r:.40}"
        values = _values(point, here)
        if len(values) != 2:
            raise FormatError(f"{here}: it has {len(values)} numbers; give x,y")
        outside = point.attributes.get("outside", "0") in _TRUE
        hidden = point.attributes.get("occluded", "0") in _TRUE
        places.append((values[0], values[1], 0 if outside else 1 if hidden else 2))
        names.append(point.attributes.get("label", ""))
    return Points(tuple(places), tuple(names))


def _mask(element: Element, size: tuple[int, int] | None, where: str) -> Mask:
    x, y, width, height = (_whole(element, name, where) for name in ("left", "top", "width", "height"))
    check_size((max(width, 0), max(height, 0)), where)
    inside = size is None or (x + width <= size[0] and y + height <= size[1])
    if x < 0 or y < 0 or width < 1 or height < 1 or not inside:
        picture = "" if size is None else f" of {size[0]} x {size[1]} pixels"
        raise FormatError(f"{where}: a mask of {width} x {height} pixels at {x}, {y} leaves its picture{picture}")
    text = element.attributes.get("rle", "")
    if len(text) > LONGEST:
        raise FormatError(f"{where}: a mask has {len(text):,} characters of run lengths; at most {LONGEST:,} are read")
    return Mask((width, height), partial(_paint, text, (width, height), where), (x, y))


def _paint(text: str, size: tuple[int, int], where: str) -> np.ndarray:
    """Bool (H, W) of run lengths."""
    import numpy as np

    try:
        runs = np.array([int(part) for part in text.split(",")], np.int64)
        total = int(runs.sum()) if (runs >= 0).all() and (runs <= size[0] * size[1]).all() else -1
    except (ValueError, OverflowError):
        total = -1
    if total != size[0] * size[1]:
        raise FormatError(f"{where}: 'rle' is {text!r:.40}; give run lengths of {size[0]} x {size[1]} pixels")
    covered: np.ndarray = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(size[1], size[0])
    return covered


# ---- writing --------------------------------------------------------------------------------------------------------


def runs_of(cover_HW: np.ndarray) -> str:
    """A mask as run lengths, row by row, the first one outside.

    Example:
        >>> import numpy as np
        >>> runs_of(np.array([[True, True, False], [False, True, True]]))
        '0, 2, 2, 2'
    """
    import numpy as np

    flat = np.concatenate([[False], np.asarray(cover_HW, bool).ravel()])
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    return ", ".join(map(str, np.diff(edges, prepend=0, append=len(flat) - 1).tolist()))


def shape_of(seen: Seen, *, kind: str, counts: Counter[str]) -> list[tuple[str, dict[str, str], list[Element]]]:
    """Name, attributes and children of the elements that say where an object is.

    Args:
        seen: an object in pixels.
        kind: of label: outlines go before boxes where masks are written, and key points where these are.
        counts: takes note of what is left out, by a line that ``{n}`` stands in.
    """
    if kind == "points" and seen.points is not None and seen.points.points:
        counts["{n} box(es) left out beside their key points"] += seen.box is not None
        counts["{n} outline(s) left out beside their key points"] += seen.outline is not None
        counts["{n} object(s) whose points' confidences are left out"] += bool(seen.points.scores)
        return [_points(seen.points, counts)]
    if seen.outline is not None and (kind == "masks" or seen.box is None):
        counts["{n} box(es) left out beside their outlines"] += seen.box is not None
        if isinstance(seen.outline, Mask):
            return [("mask", _window(seen.outline), [])]
        counts["{n} object(s) of several outlines written as one object for each"] += len(seen.outline.parts) > 1
        return [("polygon", {"points": _pairs(part)}, []) for part in seen.outline.parts]
    if seen.box is not None:
        counts["{n} outline(s) left out beside their boxes"] += seen.outline is not None
        counts["{n} object(s) whose key points are left out beside their boxes"] += seen.points is not None
        names = ("xtl", "ytl", "xbr", "ybr")
        box = dict(zip(names, map(repr, (seen.box.x1, seen.box.y1, seen.box.x2, seen.box.y2)), strict=True))
        return [("box", box | ({"rotation": repr(seen.box.rotation)} if seen.box.rotation else {}), [])]
    if seen.points is None:
        return [("tag", {}, [])]
    return [_points(seen.points, counts)]


def _points(points: Points, counts: Counter[str]) -> tuple[str, dict[str, str], list[Element]]:
    if points.names:
        children = [
            Element(
                "points",
                0,
                {
                    "label": name,
                    "occluded": str(int(seen == 1)),
                    "outside": str(int(not seen)),
                    "points": f"{x!r},{y!r}",
                },
            )
            for (x, y, seen), name in zip(points.points, points.names, strict=False)
        ]
        return "skeleton", {}, children
    counts["{n} key point(s) without a name: outside or hidden ones are left out"] += sum(
        seen < 2 for _, _, seen in points.points
    )
    return "points", {"points": ";".join(f"{x!r},{y!r}" for x, y, seen in points.points if seen == 2)}, []


def _pairs(values: Sequence[float]) -> str:
    return ";".join(f"{x!r},{y!r}" for x, y in zip(values[::2], values[1::2], strict=True))


def _window(mask: Mask) -> dict[str, str]:
    """The smallest window around the pixels of a mask."""
    part, left, top = window_of(mask)
    place = {"left": left, "top": top, "width": part.shape[1], "height": part.shape[0]}
    return {"rle": runs_of(part)} | {name: str(value) for name, value in place.items()}


def words_of(seen: Seen, *, guessed: bool) -> tuple[dict[str, str], dict[str, str]]:
    """Attributes of an element that say how an object came to be, and the user's own ones as name -> value."""
    extra = dict(seen.attributes)
    told = extra.pop("attributes", {})
    plain = {name: str(value) for name, value in extra.items() if isinstance(value, str | int | float)}
    source = "auto" if guessed else _WORDS.get(seen.origin, "manual") if seen.origin else "manual"
    score = {} if seen.score is None else {"score": repr(float(seen.score))}
    named = {str(name): str(value) for name, value in told.items()} if isinstance(told, Mapping) else {}
    named |= {name: "true" for name, is_so in zip(_FLAGS, (seen.difficult, seen.crowd), strict=True) if is_so}
    return {"source": source, "occluded": "0", **score, **plain}, named
