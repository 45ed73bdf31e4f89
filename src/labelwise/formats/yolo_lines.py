"""What the numbers of a line of YOLO txt mean: box, polygon or key points, confidence, number of a track.

A line says so only by how many numbers it has, and many counts have several readings: eight numbers behind the class
are four corners, or a box and two key points. So a whole set decides, by ``kpt_shape`` or ``task`` in its settings, or
by what all its lines have in common; where that is not enough the set is refused, never guessed. The readings:

======================  ================================  ==================================================
4                       x y width height                  a box: centre and sides
5                       box, then confidence              ``save_conf``; or the number of a track
6 and more, even        x1 y1 x2 y2 x3 y3 ...             corners of a polygon, or of a box that was turned
4 + 2k, 4 + 3k          box, then x y or x y v, k times   key points; v is 0, 1 or 2
and one or two behind   confidence, number of a track     of a prediction
======================  ================================  ==================================================
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from labelwise.contracts.record import Box, Points, Polygon, Seen, Where
from labelwise.errors import FormatError

#: how far outside an object may lie: as far as Ultralytics lets it
SLACK = 0.01
#: how far the corners of a parallelogram may be off: six digits are written
_SKEW = 5e-5
#: how far key points may lie outside their box, in sides of the box, and the second corner of a polygon outside the box
#: of the others
_AROUND, _BESIDE = 0.1, 1.0
#: flags of key points that have to be 0, 1 or 2 before they are believed to be flags where none is 2
_FLAGS = 6
#: share of lines that have to look like polygons, and that may look like key points too, in a set of polygons which all
#: have as many corners; and how many lines there have to be
_CORNERS, _POSES, _ENOUGH = 0.9, 0.8, 4

#: how far a model's turned box may leave the picture, in sides of it: Ultralytics does not cut them off
_FAR = 16

Shape = Literal["box", "polygon", "points"]


class Line:
    """Where a line stands, written out only for a message: a set has a million.

    Args:
        file: as messages call it.
        row: counted from 1.
    """

    __slots__ = ("file", "row")

    def __init__(self, file: str, row: int = 1) -> None:
        self.file, self.row = file, row

    def __str__(self) -> str:
        return str(Where(self.file, "line", self.row))


@dataclass(frozen=True)
class Reading:
    """What the numbers of a set's lines mean.

    Args:
        shape: of lines with more numbers than a box needs.
        points: (number of key points, numbers that each has), where there are some.
        score: a confidence stands behind the shape of such a line.
        track: the number of a track stands last there.
        fifth: what the fifth number of a line with five is.
        note: which reading was taken, where others would have been possible.
    """

    shape: Shape = "box"
    points: tuple[int, int] | None = None
    score: bool = False
    track: bool = False
    fifth: Literal["score", "track"] = "score"
    note: str = ""


@dataclass
class _Points:
    """What speaks for one reading as key points.

    Args:
        like: lines whose points lie in their box, most of them at least.
        flags: all flags are 0, 1 or 2 (of a prediction: probabilities).
        two: a flag is 2, which no corner of a polygon is.
    """

    like: int = 0
    flags: bool = True
    two: bool = False


@dataclass
class _Count:
    """Lines with one count of numbers."""

    where: str
    lines: int = 0
    #: all values in the last place are whole numbers, and some of them more than 1
    whole: bool = True
    above: bool = False
    #: all values in the last place but one are probabilities
    before: bool = True
    #: corners of turned boxes, without exception; and lines that look like corners of polygons
    parallelogram: bool = True
    corners: int = 0
    #: (key points, numbers of each, numbers behind them) -> what speaks for it
    points: dict[tuple[int, int, int], _Points] = field(default_factory=dict)


class Survey:
    """Looks at all lines of a set, then says what they mean.

    Args:
        kpt_shape: (key points, numbers of each) as the settings say; None where they do not.
        task: ``detect``, ``segment``, ``pose``, ``obb`` as the settings say, or "".
        kind: of label that is wanted.
        predicted: whether the lines are a model's, which need a confidence.
    """

    def __init__(
        self, kpt_shape: tuple[int, int] | None = None, task: str = "", kind: str | None = None, predicted: bool = False
    ) -> None:
        self.kpt_shape, self.task, self.kind, self.predicted = kpt_shape, task, kind, predicted
        self._counts: dict[int, _Count] = {}

    def add(self, line: str, where: Line) -> None:
        """Looks at one line; what is no number is left to the reader.

        Args:
            line: as it stands.
            where: it stands.
        """
        parts = line.split()
        size = len(parts) - 1
        count = self._counts.get(size)
        if count is None:
            count = self._counts[size] = _Count(str(where))
            count.points = {shape: _Points() for shape in _shapes(size)}
        count.lines += 1
        if size < 5:
            return
        try:
            values = [float(part) for part in parts[1:]]
        except ValueError:
            return
        _look(count, values)

    def reading(self) -> Reading:
        """What the lines mean.

        Raises:
            FormatError: they can be read in more than one way, or in none; with a line, and what to say.
        """
        fifth, note = self._fifth()
        long = {size: count for size, count in self._counts.items() if size > 5}
        if self.kpt_shape is not None:
            found = self._pose(self.kpt_shape, long)
        elif not long:
            found = Reading()
        else:
            found = self._tracked(long) or self._recognised(long) or self._polygons(long)
        return replace(found, fifth=fifth, note="; ".join(filter(None, (note, found.note))))

    # ---- boxes ------------------------------------------------------------------------------------------------------

    def _fifth(self) -> tuple[Literal["score", "track"], str]:
        """What the fifth number of a line with five is, and how that was read."""
        five = self._counts.get(5)
        track = five is not None and five.whole and five.above
        if self.predicted and (lacking := self._counts.get(4) or (five if track else None)) is not None:
            raise FormatError(_unsure(lacking.where, 4 if 4 in self._counts else 5))
        if five is None:
            return "score", ""
        what = "number of a track" if track else "confidence of the box"
        note = "" if self.predicted else f"{five.lines:,} line(s) have a fifth number, read as {what}"
        return "track" if track else "score", note

    def _tracked(self, long: dict[int, _Count]) -> Reading | None:
        """Box, confidence and number of a track; None where it is something else."""
        six = long.get(6)
        if six is None or len(long) > 1 or self.task not in ("", "detect"):
            return None
        if six.whole and six.before and (six.above or self.predicted):
            return Reading(score=True, track=True, note=_numbered(6, "box, confidence and number of a track"))
        return None

    # ---- key points -------------------------------------------------------------------------------------------------

    def _pose(self, shape: tuple[int, int], long: dict[int, _Count]) -> Reading:
        """The settings say how many key points there are."""
        least = 4 + shape[0] * shape[1]
        behind = {size - least for size in long}
        if not behind <= {0, 1, 2} or len(behind) > 1:
            size = next((size for size in long if not 0 <= size - least <= 2), max(long))
            raise FormatError(
                f"{long[size].where}: {size} numbers behind the class; kpt_shape: {list(shape)} asks for {least} on "
                "every line, or 4 for a box without key points"
            )
        more = behind.pop() if behind else 0
        track = more == 1 and long[least + 1].whole and long[least + 1].above
        if self.predicted and long and (more == 0 or track):
            raise FormatError(_unsure(long[least + more].where, least + more))
        return Reading("points", shape, score=more > 0 and not track, track=track or more == 2)

    def _recognised(self, long: dict[int, _Count]) -> Reading | None:
        """Key points that only key points can be; a refusal where they may be corners; None for corners."""
        if len(long) > 1 or self.task in ("segment", "obb", "detect") or self.kind == "masks":
            return None
        ((size, count),) = long.items()
        if count.parallelogram and size - (size % 2) == 8:
            return None
        if (flagged := _flagged(size, count)) and not self.predicted:
            return Reading(
                "points", (flagged, 3), note=_numbered(size, f"box and {flagged} key points with a flag each")
            )
        fits = [shape for shape, points in count.points.items() if _may_be_points(count, points)]
        if not fits:
            return None
        k, each, behind = fits[0]
        if self.kind == "points" and not self.predicted and sum(shape[2] == 0 for shape in fits) == 1:
            said = f"box and {k} key points of {each} numbers, since key points are wanted"
            return Reading("points", (k, each), score=behind > 0, note=_numbered(size, said))
        corners = f"a polygon of {(size - behind) // 2} corners" if (size - behind) % 2 == 0 else "something else"
        raise FormatError(
            f"{count.where}: {size} numbers behind the class may be a box with {k} key point(s) or {corners}: say "
            f"kpt_shape: [{k}, {each}] in data.yaml for key points, or task: segment for polygons"
        )

    # ---- polygons ---------------------------------------------------------------------------------------------------

    def _polygons(self, long: dict[int, _Count]) -> Reading:
        odd = {size for size in long if size % 2}
        tracked = not odd and all(c.whole and c.above and c.before for c in long.values()) and min(long) >= 8
        if odd and odd != set(long):
            one, other = long[min(odd)], long[min(set(long) - odd)]
            raise FormatError(
                f"{one.where}: {min(odd)} numbers behind the class, and {min(set(long) - odd)} in {other.where}: with "
                "a confidence or without one? Write all lines alike"
            )
        score = bool(odd) or tracked
        if self.predicted and not score:
            raise FormatError(_unsure(long[min(long)].where, min(long)))
        if set(long) <= {8, 9}:
            note = _numbered(max(long), "four corners, of a turned box or a polygon")
        else:
            lines = sum(count.lines for count in long.values())
            note = f"{lines:,} line(s) hold polygons: the box of each is its extent" if self.kind == "boxes" else ""
        return Reading("polygon", score=score, track=tracked, note=note)


def _unsure(where: str, size: int) -> str:
    return (
        f"{where}: {size} numbers behind the class and no confidence among them; a prediction has one behind its shape "
        "(Ultralytics: save_conf=True)"
    )


def _numbered(size: int, what: str) -> str:
    return f"lines with {size} numbers behind the class were read as {what}"


def _shapes(size: int) -> list[tuple[int, int, int]]:
    """(key points, numbers of each, numbers behind them) that make so many numbers."""
    return [
        ((size - 4 - behind) // each, each, behind)
        for behind in (0, 1)
        for each in (3, 2)
        if size - 4 - behind > 0 and (size - 4 - behind) % each == 0
    ]


def _flagged(size: int, count: _Count) -> int:
    """How many key points with flags there are, where they can be nothing else; 0 where they can."""
    for (k, each, behind), points in count.points.items():
        if each != 3 or behind or not points.flags:
            continue
        many = k * count.lines >= _FLAGS and points.like >= count.lines / 2
        if points.two or size % 2 or many:
            return k
    return 0


def _may_be_points(count: _Count, points: _Points) -> bool:
    """Whether lines of one length may be key points.

    They are corners only where nearly all look like corners, and some not like key points: whoever has corners can say
    so, but key points taken for corners would be boxes that nobody drew.
    """
    if not points.flags or not points.like:
        return False
    if count.lines < _ENOUGH:
        return count.corners < count.lines or points.like == count.lines
    return count.corners < _CORNERS * count.lines or points.like > _POSES * count.lines


def _look(count: _Count, values: Sequence[float]) -> None:
    """Notes what a line allows."""
    last, before = values[-1], values[-2]
    count.whole = count.whole and last.is_integer() and last >= 0
    count.above = count.above or last > 1
    count.before = count.before and 0 <= before <= 1
    if len(values) < 6:
        return
    count.parallelogram = count.parallelogram and len(values) in (8, 9) and _is_parallelogram(values)
    count.corners += _is_like_corners(values[: len(values) - len(values) % 2])
    for (k, each, behind), points in count.points.items():
        flags = values[6 : 4 + 3 * k : 3] if each == 3 else ()
        allowed = (behind == 0 and all(flag in (0, 1, 2) for flag in flags)) or (
            behind == 1 and 0 <= last <= 1 and all(0 <= flag <= 1 or flag == 2 for flag in flags)
        )
        points.flags = points.flags and allowed
        points.two = points.two or 2 in flags
        points.like += _is_like_points(values, k, each)


def _is_parallelogram(values: Sequence[float]) -> bool:
    x, y = values[0:8:2], values[1:8:2]
    return abs(x[0] + x[2] - x[1] - x[3]) < _SKEW and abs(y[0] + y[2] - y[1] - y[3]) < _SKEW


def _is_like_corners(values: Sequence[float]) -> bool:
    """Whether the second corner, which would be the sides of a box, lies near the others."""
    for start in (0, 1):
        second = values[2 + start]
        others = [value for place, value in enumerate(values[start::2]) if place != 1]
        beside = _BESIDE * (max(others) - min(others)) + 0.01
        if not min(others) - beside <= second <= max(others) + beside:
            return False
    return True


def _is_like_points(values: Sequence[float], k: int, each: int) -> bool:
    """Whether the first four numbers are a box in the picture, and at least half of the points behind it lie in it."""
    x, y, width, height = values[:4]
    if width <= 0 or height <= 0 or not (0 <= x <= 1 and 0 <= y <= 1 and width <= 1.05 and height <= 1.05):
        return False
    if min(x - width / 2, y - height / 2) < -0.05 or max(x + width / 2, y + height / 2) > 1.05:
        return False
    wide, high = (0.5 + _AROUND) * width + 0.005, (0.5 + _AROUND) * height + 0.005
    inside = outside = 0
    for start in range(4, 4 + k * each, each):
        px, py = values[start : start + 2]
        if (px <= 0 and py <= 0) or (each == 3 and values[start + 2] == 0):
            continue  # how a point is written that is not there
        if abs(px - x) <= wide and abs(py - y) <= high:
            inside += 1
        else:
            outside += 1
    return inside >= outside


# ---- one line -------------------------------------------------------------------------------------------------------


def read_numbers(line: str, classes: int | None, where: Line | str) -> tuple[int, list[float]]:
    """Class index and the numbers behind it.

    Args:
        line: as it stands.
        classes: how many there are; None where nobody knows.
        where: it stands.

    Raises:
        FormatError: something that is no number, or a class outside the list.
    """
    parts = line.split()
    try:
        values = [float(part) for part in parts]
    except ValueError:
        raise FormatError(f"{where}: {line.strip()!r:.60} holds something else than numbers{_hint(parts)}") from None
    for value, part in zip(values, parts, strict=True):
        if not math.isfinite(value):
            raise FormatError(f"{where}: a value is {part:.30}; give a finite number")
    index = values[0]
    if not index.is_integer() or index < 0 or index > 2**31:
        raise FormatError(f"{where}: class {parts[0]:.30} is no index: give a whole number, 0 or more")
    if classes is not None and index >= classes:
        raise FormatError(f"{where}: class {parts[0]:.30} is not in the list, which has 0 to {classes - 1}")
    return int(index), values[1:]


def _hint(parts: Sequence[str]) -> str:
    if len(parts) >= 2 and parts[0].replace(".", "", 1).isdecimal() and not parts[1].replace(".", "", 1).isdecimal():
        return " (a confidence and a class name are what a classifier predicts, no box)"
    if len(parts) >= 5 and parts[0][:1].isalpha():
        return "; the class is a number, counted from 0 in the class list"
    return ""


def read_object(line: str, reading: Reading, classes: int | None, where: Line | str) -> Seen:
    """One object, its shapes in fractions of the picture's sides.

    Raises:
        FormatError: see :func:`read_numbers`; a count of numbers that does not fit, values that are no fractions, a
            confidence outside [0, 1].
    """
    index, values = read_numbers(line, classes, where)
    count = len(values)
    values, behind = _split(values, reading)
    score = _probability(behind["score"], where) if "score" in behind else None
    more: dict[str, Any] = {"track": int(behind["track"])} if "track" in behind else {}
    box, outline, points = None, None, None
    if len(values) == 4:
        box = Box(*check_box(values, where))
    elif reading.shape == "points" and reading.points is not None and len(values) == 4 + math.prod(reading.points):
        box = Box(*check_box(values[:4], where))
        points = _points(values[4:], reading, where)
    elif reading.shape == "polygon" and len(values) >= 6 and len(values) % 2 == 0:
        if not (reading.score and max(map(abs, values)) < _FAR):
            check_polygon(values, where)
        outline = Polygon((tuple(values),))
    else:
        raise FormatError(
            f"{where}: {count} numbers behind the class; give x y width height, these and a confidence, or at least "
            "three corners"
        )
    return Seen(index, box, outline, points, score, attributes=more)


def _split(values: list[float], reading: Reading) -> tuple[list[float], dict[str, float]]:
    """The numbers of the shape, and what stands behind them."""
    if len(values) == 5:
        return values[:4], {reading.fifth: values[4]}
    names = [name for name, there in (("score", reading.score), ("track", reading.track)) if there]
    if len(values) <= 4 or not names:
        return values, {}
    return values[: -len(names)], dict(zip(names, values[-len(names) :], strict=True))


def _probability(value: float, where: Line | str) -> float:
    if not 0 <= value <= 1:
        raise FormatError(f"{where}: the confidence is {value!r:.30}; give a probability from 0 to 1")
    return value


def _points(values: Sequence[float], reading: Reading, where: Line | str) -> Points:
    """Key points; those of a model have a confidence where people write a flag."""
    assert reading.points is not None, "the reading has key points"
    each = reading.points[1]
    found: list[tuple[float, float, int]] = []
    scores: list[float] = []
    for start in range(0, len(values), each):
        x, y = values[start : start + 2]
        if not all(-1 <= value <= 2 for value in (x, y)):
            raise FormatError(f"{where}: a key point at {x!r:.30} {y!r:.30} is no fraction of the sides (pixels?)")
        flag = values[start + 2] if each == 3 else 2
        if (x <= 0 and y <= 0) or (each == 2 and min(x, y) < 0):
            seen = 0  # 0 0, or -1 -1: how a point is written that is not there
        elif reading.score and each == 3:
            seen = 2
        elif flag in (0, 1, 2):
            seen = int(flag)
        else:
            raise FormatError(f"{where}: the flag of a key point is {flag!r:.30}; give 0, 1 or 2")
        if reading.score and each == 3:
            scores.append(_probability(flag, where))
        found.append((x, y, seen))
    return Points(tuple(found), scores=tuple(scores))


def check_box(values: Sequence[float], where: Line | str) -> tuple[float, float, float, float]:
    """Corners in fractions, from centre and sides in fractions.

    Raises:
        FormatError: a negative side, or values that are no fractions.
    """
    x, y, width, height = values
    if width < 0 or height < 0:
        raise FormatError(f"{where}: width {width!r} or height {height!r} is negative; give sides of 0 or more")
    if not all(_touches(middle - side / 2, middle + side / 2) for middle, side in ((x, width), (y, height))):
        raise FormatError(
            f"{where}: {x!r} {y!r} {width!r} {height!r} are no fractions of the image's sides (pixels?); divide x and "
            "width by the image's width, y and height by its height"
        )
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _touches(low: float, high: float) -> bool:
    """Whether an extent lies in the picture at least in part, as all that people draw does: pixels do not."""
    return low <= 1 + SLACK and high >= -SLACK and high - low <= 2


def check_polygon(values: Sequence[float], where: Line | str) -> None:
    """Corners in fractions; some may lie outside, as those of boxes may.

    Raises:
        FormatError: values that are no fractions.
    """
    for low, high in ((min(values[0::2]), max(values[0::2])), (min(values[1::2]), max(values[1::2]))):
        if not _touches(low, high):
            raise FormatError(
                f"{where}: corners from {low!r:.30} to {high!r:.30} are no fractions of the image's sides (pixels?); "
                "divide x by its width and y by its height"
            )
