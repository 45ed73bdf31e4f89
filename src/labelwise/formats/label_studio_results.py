"""Results of Label Studio as objects of a picture, and back: one annotation or prediction at a time.

A result says one thing: the place of a region, its label, a choice. Results with one id speak of one region; where ids
are missing (the short exports) those of one place do. Places are percent of the picture as the page shows it, which is
turned as its EXIF data say; ``rotation`` is clockwise about the upper left corner, and a turn in percent would be a
shear, so pixels are needed for it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from labelwise.contracts.record import Box, Mask, Origin, Points, Polygon, Seen
from labelwise.errors import FormatError
from labelwise.formats.key_points import joined_points
from labelwise.formats.label_studio_brush import brush_mask
from labelwise.formats.numbers import number, sides

#: digits behind the point that pixels keep
DIGITS = 8
#: pixels of a side that no picture has
_LONGEST_SIDE = 10_000_000
#: corners of the outline that an ellipse becomes
_CORNERS = 64
#: key of a region's ``meta`` under which labelwise keeps what Label Studio has no place for
OWN = "labelwise"
#: keys there: a box that was only drawn around points, a point that is hidden
EXTENT, HIDDEN = "extent", "hidden"
#: choices about a point that say so too
_HIDDEN = ("hidden", "Hidden", "occluded", "Occluded")
#: keys of a value that place a region
_PLACE = ("x", "y", "width", "height", "rotation", "points", "closed", "radiusX", "radiusY", "format", "rle")
_ORIGINS: Mapping[Any, Origin] = {"manual": "drawn", "prediction": "accepted", "prediction-changed": "corrected"}
_WORDS = {origin: word for word, origin in _ORIGINS.items()}


@dataclass
class _Region:
    """What the results of one region say together."""

    where: str
    place: Mapping[str, Any]
    kind: str
    labels: list[str] = field(default_factory=list)
    score: float | None = None
    origin: Origin | None = None
    parent: str | None = None
    attributes: dict[str, Any] = field(default_factory=dict)
    own: Mapping[str, Any] = field(default_factory=dict)

    @property
    def hidden(self) -> bool:
        """Whether a point is not seen: as labelwise wrote it, or as a choice about it says."""
        told = [text for value in self.attributes.values() if isinstance(value, list) for text in value]
        return self.own.get(HIDDEN) is True or any(text in _HIDDEN for text in told)

    def seen(self, cls: str | None, **shapes: Any) -> Seen:
        """The object, with what was kept for labelwise beside it."""
        kept = self.own.get("attributes")
        return Seen(
            cls,
            **shapes,
            score=self.score,
            crowd=self.own.get("crowd") is True,
            difficult=self.own.get("difficult") is True,
            origin=self.origin,
            attributes={**self.attributes, **(kept if isinstance(kept, dict) else {})},
        )


@dataclass(frozen=True)
class Said:
    """What one annotation says.

    Args:
        objects: regions, in the order of the file.
        choices: control -> what was chosen there for the picture as a whole.
        size: (width, height) of the picture in pixels; None where no result gives it.
        extra: control -> what else was said of the picture: texts, numbers, ratings.
        origins: of all results.
    """

    objects: tuple[Seen, ...]
    choices: Mapping[str, tuple[Seen, ...]]
    size: tuple[int, int] | None
    extra: Mapping[str, Any]
    origins: tuple[Origin | None, ...]


def said(results: Any, where: str, counts: Counter[str]) -> Said:
    """Reads the results of one annotation.

    Args:
        results: the list under ``result``.
        where: file and row, for messages.
        counts: takes note of what is left out or changed, by a line that ``{n}`` stands in.

    Raises:
        FormatError: a result that breaks its form: no number where one is needed, a turned box or a brush without the
            size of the picture, sizes that differ, a region with several labels.
    """
    if not isinstance(results, list):
        raise FormatError(f"{where}: 'result' is {results!r:.60}; give a list")
    regions: dict[Any, _Region] = {}
    later: list[tuple[int, Mapping[str, Any]]] = []
    size: tuple[int, int] | None = None
    for row, result in enumerate(results, 1):
        here = f"{where}, result {row}"
        if not isinstance(result, dict):
            raise FormatError(f"{here} is {result!r:.60}; give an object with type and value")
        if result.get("type") == "relation":
            counts["{n} relation(s) between regions left out"] += 1
            continue
        if not isinstance(result.get("value"), dict):
            raise FormatError(f"{here}: 'value' is {result.get('value')!r:.60}; give an object")
        size = _size(result, size, here)
        if _is_placed(result["value"]):
            _add(regions, result, here, counts)
        else:
            later.append((row, result))
    choices, extra, origins = _of_picture(regions, later, where, counts)
    origins += [region.origin for region in regions.values()]
    return Said(_objects(regions, size, counts), choices, size, extra, tuple(origins))


def _size(result: Mapping[str, Any], size: tuple[int, int] | None, where: str) -> tuple[int, int] | None:
    width, height = result.get("original_width"), result.get("original_height")
    if width is None and height is None:
        return size
    whole = [int(v) if isinstance(v, float) and v.is_integer() else v for v in (width, height)]
    found = tuple(sides(whole[0], whole[1], f"{where}: original size"))
    if max(found) > _LONGEST_SIDE:
        raise FormatError(
            f"{where}: the original size is {width!r:.30} x {height!r:.30} pixels; no picture is as large"
        )
    if size is not None and found != size:
        raise FormatError(
            f"{where}: the picture is {found[0]} x {found[1]} pixels here and {size[0]} x {size[1]} in a result before"
        )
    return found[0], found[1]


def _is_placed(value: Mapping[str, Any]) -> bool:
    return "rle" in value or "points" in value or ("x" in value and "y" in value)


def _add(regions: dict[Any, _Region], result: Mapping[str, Any], where: str, counts: Counter[str]) -> None:
    value = result["value"]
    place = {key: value[key] for key in _PLACE if key in value}
    key = result.get("id")
    if not isinstance(key, str | int):
        key = repr(place)
    kind = str(result.get("type") or next((key for key in value if key.endswith("labels")), "region"))
    region = regions.setdefault(key, _Region(where, place, kind))
    for name, content in value.items():
        if name.endswith("labels"):
            region.labels += [label for label in _texts(content, where, name) if label not in region.labels]
        elif name not in _PLACE:
            region.attributes[str(result.get("from_name") or name)] = content
    if (score := _score(result.get("score"), where, counts)) is not None:
        region.score = score
    region.origin = _origin(result) or region.origin
    parent = result.get("parentID")
    region.parent = parent if isinstance(parent, str) and parent else region.parent
    meta = result.get("meta")
    if isinstance(meta, dict) and meta:
        own = meta.get(OWN)
        region.own = own if isinstance(own, dict) else region.own
        region.attributes |= {"meta": rest} if (rest := {k: v for k, v in meta.items() if k != OWN}) else {}


def _origin(result: Mapping[str, Any]) -> Origin | None:
    word = result.get("origin")
    return _ORIGINS.get(word) if isinstance(word, str) else None


def _texts(content: Any, where: str, name: str) -> list[str]:
    """A list of texts; one text alone is taken for one."""
    listed = [content] if isinstance(content, str) else content
    if not isinstance(listed, list) or not all(isinstance(text, str) for text in listed):
        raise FormatError(f"{where}: {name!r:.40} is {content!r:.60}; give a list of names")
    return [text for text in listed if text]


def _score(score: Any, where: str, counts: Counter[str]) -> float | None:
    if score is None:
        return None
    value = number(score, where, "score")
    if not 0 <= value <= 1:
        counts["{n} score(s) outside 0 to 1 left out"] += 1
        return None
    return value


def _of_picture(
    regions: Mapping[Any, _Region], results: Sequence[tuple[int, Mapping[str, Any]]], where: str, counts: Counter[str]
) -> tuple[dict[str, tuple[Seen, ...]], dict[str, Any], list[Origin | None]]:
    """Choices and other words about the picture; those about a region go to it."""
    choices: dict[str, tuple[Seen, ...]] = {}
    extra: dict[str, Any] = {}
    origins: list[Origin | None] = []
    for row, result in results:
        value, here = result["value"], f"{where}, result {row}"
        control = str(result.get("from_name") or result.get("type") or "choice")
        region = regions.get(result.get("id")) if isinstance(result.get("id"), str | int) else None
        if region is not None:
            region.attributes[control] = value.get("choices", dict(value))
        elif "choices" in value:
            origin = _origin(result)
            score = _score(result.get("score"), here, counts)
            named = _texts(value["choices"], here, "choices")
            choices[control] = choices.get(control, ()) + tuple(
                Seen(name, score=score, origin=origin) for name in named
            )
            origins.append(origin)
        elif "sequence" in value or "start" in value or "ranges" in value:
            counts[f"{{n}} result(s) of type {str(result.get('type'))[:40]} left out: no place in a picture"] += 1
        else:
            extra[control] = dict(value)
    return choices, extra, origins


# ---- places ---------------------------------------------------------------------------------------------------------


def _objects(regions: Mapping[Any, _Region], size: tuple[int, int] | None, counts: Counter[str]) -> tuple[Seen, ...]:
    found: dict[Any, Seen] = {}
    for key, region in regions.items():
        if (seen := _seen(region, size, counts)) is not None:
            found[key] = seen
    for key, region in regions.items():  # points of an object that is there
        if key in found and region.parent in found and region.parent != key and found[key].points is not None:
            owner = found[region.parent]
            if owner.box is not None or owner.outline is not None:
                found[region.parent] = _with_point(owner, found.pop(key))
    # a box that labelwise drew around points so that they have an owner
    drawn = {key for key in found if regions[key].own.get(EXTENT) is True and found[key].points is not None}
    return tuple(replace(one, box=None) if key in drawn else one for key, one in found.items())


def _with_point(owner: Seen, point: Seen) -> Seen:
    assert point.points is not None
    parts = [point.points] if owner.points is None else [owner.points, point.points]
    return replace(owner, points=joined_points(parts))


def _seen(region: _Region, size: tuple[int, int] | None, counts: Counter[str]) -> Seen | None:
    if len(region.labels) > 1:
        raise FormatError(
            f"{region.where}: one region has {len(region.labels)} labels ({', '.join(region.labels)[:80]}); an object "
            "has one class: keep one of them"
        )
    cls = region.labels[0] if region.labels else None
    place, where = region.place, region.where
    box: Box | None = None
    outline: Polygon | Mask | None = None
    points: Points | None = None
    if "rle" in place:
        outline = brush_mask(place["rle"], _needed(size, where, "a brush"), where)
    elif "points" in place:
        outline = _polygon(place["points"], size, where)
        if outline is None:
            counts["{n} outline(s) of fewer than three corners left out"] += 1
            return None
    elif "radiusX" in place:
        outline = _ellipse(place, size, where)
        counts[f"{{n}} ellipse(s) taken as outlines of {_CORNERS} corners"] += 1
    elif "height" in place:
        box = _box(place, size, where)
    else:
        x, y = _pixels((place["x"], place["y"]), size, where)
        sure = () if region.score is None else (region.score,)
        points = Points(((x, y, 1 if region.hidden else 2),), (cls or "",), sure)
    return region.seen(cls, box=box, outline=outline, points=points)


def _needed(size: tuple[int, int] | None, where: str, what: str) -> tuple[int, int]:
    if size is None:
        raise FormatError(f"{where}: {what} needs original_width and original_height, which are not there")
    return size


def _pixel(percent: float, side: int | None) -> float:
    """A share of a side in pixels, whole where it is; a fraction where the side is not known."""
    if side is None:
        return round(percent / 100, DIGITS + 4)
    value = round(percent * side / 100, DIGITS)
    # 99.9999998 percent is how the page says 100
    whole = round(value)
    return whole if abs(value - whole) <= max(1e-6, 1e-8 * side) else value


def _pixels(point: Any, size: tuple[int, int] | None, where: str) -> tuple[float, float]:
    if not isinstance(point, list | tuple) or len(point) != 2:
        raise FormatError(f"{where}: a point is {point!r:.60}; give [x, y] in percent")
    x, y = (_percent(value, where, name) for value, name in zip(point, ("x", "y"), strict=True))
    return _pixel(x, size and size[0]), _pixel(y, size and size[1])


def _percent(value: Any, where: str, name: str) -> float:
    found = number(value, where, name)
    if abs(found) > 1e9:
        raise FormatError(f"{where}: {name} is {value!r:.40}; give percent of the picture, 0 to 100")
    return found


def _box(place: Mapping[str, Any], size: tuple[int, int] | None, where: str) -> Box:
    x, y, width, height = (_percent(place.get(key), where, key) for key in ("x", "y", "width", "height"))
    degrees = _percent(place.get("rotation") or 0, where, "rotation") % 360
    if not degrees:
        across = sorted(_pixel(value, size and size[0]) for value in (x, x + width))
        down = sorted(_pixel(value, size and size[1]) for value in (y, y + height))
        return Box(across[0], down[0], across[1], down[1])
    sides = _needed(size, where, "a turned box")
    left, top = x * sides[0] / 100, y * sides[1] / 100
    half = (width * sides[0] / 200, height * sides[1] / 200)
    across_by, down_by = turned(half, degrees)
    centre = (left + across_by, top + down_by)
    half = (abs(half[0]), abs(half[1]))
    corners = (centre[0] - half[0], centre[1] - half[1], centre[0] + half[0], centre[1] + half[1])
    x1, y1, x2, y2 = (_pixel(100 * value / sides[n % 2], sides[n % 2]) for n, value in enumerate(corners))
    return Box(x1, y1, x2, y2, int(degrees) if float(degrees).is_integer() else degrees)


def turned(vector: tuple[float, float], degrees: float) -> tuple[float, float]:
    """A vector in pixels turned clockwise, as the y axis points down.

    Example:
        >>> x, y = turned((1.0, 0.0), 90)
        >>> round(x, 9), round(y, 9)
        (0.0, 1.0)
    """
    angle = math.radians(degrees)
    cosine, sine = math.cos(angle), math.sin(angle)
    return vector[0] * cosine - vector[1] * sine, vector[0] * sine + vector[1] * cosine


def _polygon(points: Any, size: tuple[int, int] | None, where: str) -> Polygon | None:
    if not isinstance(points, list):
        raise FormatError(f"{where}: 'points' is {points!r:.60}; give a list of [x, y] in percent")
    corners = [_pixels(point, size, where) for point in points]
    return Polygon((tuple(value for corner in corners for value in corner),)) if len(corners) > 2 else None


def _ellipse(place: Mapping[str, Any], size: tuple[int, int] | None, where: str) -> Polygon:
    width, height = _needed(size, where, "an ellipse")
    x, y, across, down = (_percent(place.get(key), where, key) for key in ("x", "y", "radiusX", "radiusY"))
    degrees = _percent(place.get("rotation") or 0, where, "rotation")
    corners: list[float] = []
    for n in range(_CORNERS):
        angle = 2 * math.pi * n / _CORNERS
        dx, dy = turned((across * width / 100 * math.cos(angle), down * height / 100 * math.sin(angle)), degrees)
        corners += [round(x * width / 100 + dx, DIGITS), round(y * height / 100 + dy, DIGITS)]
    return Polygon((tuple(corners),))


# ---- writing --------------------------------------------------------------------------------------------------------


def place_of(shape: Box | Polygon | Mask, size: tuple[int, int]) -> list[dict[str, Any]]:
    """Values that place a shape: several for an outline of several parts.

    Args:
        shape: in pixels.
        size: (width, height) of the picture.
    """
    width, height = size
    if isinstance(shape, Box):
        sides = (shape.x2 - shape.x1, shape.y2 - shape.y1)
        back = turned((-sides[0] / 2, -sides[1] / 2), shape.rotation) if shape.rotation else (0.0, 0.0)
        left = (shape.x1 + shape.x2) / 2 + back[0] if shape.rotation else shape.x1
        top = (shape.y1 + shape.y2) / 2 + back[1] if shape.rotation else shape.y1
        percent = {"x": 100 * left / width, "y": 100 * top / height}
        return [percent | _sides(sides, size) | {"rotation": shape.rotation}]
    if isinstance(shape, Polygon):
        return [
            {
                "points": [[100 * x / width, 100 * y / height] for x, y in zip(part[::2], part[1::2], strict=True)],
                "closed": True,
            }
            for part in shape.parts
        ]
    return [{"format": "rle", "rle": _runs(shape, size)}]


def _sides(sides: tuple[float, float], size: tuple[int, int]) -> dict[str, float]:
    return {"width": 100 * sides[0] / size[0], "height": 100 * sides[1] / size[1]}


def _runs(mask: Mask, size: tuple[int, int]) -> list[int]:
    import numpy as np

    from labelwise.formats.label_studio_brush import brush_runs

    window_HW = np.asarray(mask.read()) != 0
    if (mask.at, mask.size) == ((0, 0), size):
        return brush_runs(window_HW)
    cover_HW = np.zeros((size[1], size[0]), bool)
    x, y = mask.at
    cover_HW[y : y + mask.size[1], x : x + mask.size[0]] = window_HW
    return brush_runs(cover_HW)


def origin_word(origin: Origin | None) -> str:
    """How Label Studio says where an object comes from."""
    return _WORDS.get(origin, "manual") if origin is not None else "manual"
