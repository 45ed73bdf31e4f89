"""Rows of pose files: DeepLabCut's columns of coordinates, below a header of several rows.

A header has the rows ``scorer``, perhaps ``individuals``, ``bodyparts`` and ``coords`` (x, y, and of a model
likelihood); the rows below begin with the path of a frame in one or three cells, or with its number.
"""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from labelwise.contracts.record import Head, Points, Record
from labelwise.errors import FormatError
from labelwise.formats.delimited import read_text

#: what an animal is called where a file does not say what it shows
SUBJECT = "subject"
#: the individual whose points are not of one of several alike
SINGLE = "single"
#: bytes of one file: a million frames of some ten points
MOST_BYTES = 500_000_000
_LEVELS = ("scorer", "individuals", "bodyparts", "coords")
_COORDS = ("x", "y", "likelihood")
#: cells without a number
_NOTHING = ("", "nan", "NaN", "NA", "None")


@dataclass(frozen=True)
class Frame:
    """A row of a file.

    Args:
        row: counted from 1.
        image: path of the frame as written, with ``/``; None where the file numbers its frames.
        number: of the frame in its video.
        subjects: individual -> its points; those of which nothing was marked are left out.
    """

    row: int
    image: str | None
    number: int | None
    subjects: Mapping[str, Points]


@dataclass(frozen=True)
class PoseFile:
    """A file whose header makes sense; its rows are read when they are asked for.

    Args:
        path: of the file.
        names: individual -> names of its points; the individual is ``""`` where the header has none.
        scored: whether points have a likelihood.
    """

    path: Path
    names: Mapping[str, tuple[str, ...]]
    scored: bool
    _columns: Mapping[tuple[str, str, str], int]
    _width: int
    _rows: Sequence[tuple[int, list[str]]]

    def frames(self) -> Iterator[Frame]:
        """Its rows in order.

        Raises:
            FormatError: a row of other cells than the header, a coordinate that is no number, half a point.
        """
        first = min(self._columns.values(), default=1)
        for row, cells in self._rows:
            where = f"{str(self.path)!r}, row {row}"
            if len(cells) != self._width:
                raise FormatError(f"{where}: {len(cells)} cells, and the header has {self._width}; give as many")
            name = "/".join(cell.strip().replace("\\", "/") for cell in cells[:first] if cell.strip())
            number = int(name) if name.isdecimal() and len(name) < 10 else None
            if not name:
                raise FormatError(f"{where}: no frame is named; give its path, such as labeled-data/video/img001.png")
            found = {one: self._points(one, cells, where) for one in self.names}
            seen = {one: points for one, points in found.items() if any(point[2] for point in points.points)}
            yield Frame(row, name if number is None else None, number, seen)

    def _points(self, individual: str, cells: Sequence[str], where: str) -> Points:
        points: list[tuple[float, float, int]] = []
        sure: list[float] = []
        for part in self.names[individual]:
            values = [
                pixels_of(cells[self._columns[individual, part, axis]], f"{where}: {axis} of {part!r:.40}")
                for axis in (_COORDS if self.scored else _COORDS[:2])
            ]
            x, y = values[:2]
            points.append(point_of(x, y, f"{where}: {part!r:.40}"))
            if self.scored:
                sure.append(min(max(values[2] or 0.0, 0.0), 1.0))
        return Points(tuple(points), self.names[individual], tuple(sure))


def is_pose_header(text: str) -> bool:
    """Whether the beginning of a text is such a header."""
    firsts = [line.split(",", 1)[0].strip().lower() for line in text.splitlines()[:4]]
    return firsts[:1] == ["scorer"] and "bodyparts" in firsts[1:3] and "coords" in firsts[2:4]


def read_pose(path: Path) -> PoseFile:
    """Opens a file and reads its header.

    Memory: the whole file, about five times its size.

    Raises:
        FormatError: no such header; a point that has no x or no y, or stands there twice; with file and row.
    """
    shown = repr(str(path))
    text = read_text(path, most=MOST_BYTES)
    if not is_pose_header(text):
        raise FormatError(f"{shown} is no table of DeepLabCut: its first rows are not scorer, bodyparts and coords")
    try:
        table = enumerate(csv.reader(io.StringIO(text)), 1)
        rows = [(row, cells) for row, cells in table if any(map(str.strip, cells))]
    except csv.Error as error:
        raise FormatError(f"{shown} is no table: {error!s:.80}") from None
    levels: dict[str, list[str]] = {}
    while rows and (word := rows[0][1][0].strip().lower()) in _LEVELS and word not in levels:
        levels[word] = rows.pop(0)[1]
    if missing := [word for word in ("bodyparts", "coords") if word not in levels]:
        raise FormatError(
            f"{shown}: the header has no row {missing[0]!r}; give scorer, bodyparts and coords, once each"
        )
    width = len(levels["coords"])
    for word, cells in levels.items():
        if len(cells) != width:
            raise FormatError(f"{shown}: the row {word!r} has {len(cells)} cells, and 'coords' {width}; give as many")
    columns = _columns(levels, shown)
    names: dict[str, tuple[str, ...]] = {}
    for individual, part, _ in columns:
        if part not in names.get(individual, ()):
            names[individual] = (*names.get(individual, ()), part)
    scored = any(axis == "likelihood" for _, _, axis in columns)
    for individual, parts in names.items():
        for part in parts:
            for axis in _COORDS if scored else _COORDS[:2]:
                if (individual, part, axis) not in columns:
                    raise FormatError(f"{shown}: the point {part!r:.60} has no column {axis!r}; add it")
    return PoseFile(path, names, scored, columns, width, rows)


def _columns(levels: Mapping[str, Sequence[str]], shown: str) -> dict[tuple[str, str, str], int]:
    found: dict[tuple[str, str, str], int] = {}
    blank = [""] * len(levels["coords"])
    cells = zip(levels.get("individuals", blank), levels["bodyparts"], levels["coords"], strict=True)
    for place, (individual, part, axis) in enumerate(cells):
        axis = axis.strip().lower()
        if axis not in _COORDS or place == 0:
            continue
        own = individual.strip() if "individuals" in levels else ""
        if (own, part.strip(), axis) in found:
            of = f" of {own!r:.40}" if own else ""
            raise FormatError(f"{shown}: the point {part.strip()!r:.60}{of} stands twice in the header; rename one")
        found[own, part.strip(), axis] = place
    if not found:
        raise FormatError(f"{shown}: the row 'coords' has no x and y; give three rows scorer, bodyparts, coords")
    return found


def pixels_of(cell: str, what: str) -> float | None:
    """A coordinate; None for an empty cell.

    Raises:
        FormatError: something else than a finite number of pixels; ``what`` begins the message.
    """
    text = cell.strip()
    if text in _NOTHING:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.inf
    if math.isnan(value):
        return None
    if not math.isfinite(value) or abs(value) > 1e9:
        raise FormatError(f"{what} is {cell!r:.40}; give pixels, or nothing where the point is not seen")
    return int(value) if value.is_integer() and "." not in text else value


def point_of(x: float | None, y: float | None, what: str) -> tuple[float, float, int]:
    """A point that is seen where it has both coordinates.

    Raises:
        FormatError: it has one of them; ``what`` begins the message.
    """
    if (x is None) != (y is None):
        raise FormatError(f"{what} has only one of x and y; give both, or leave both empty")
    return (0, 0, 0) if x is None or y is None else (x, y, 2)


# ---- writing --------------------------------------------------------------------------------------------------------


def kept_of(
    records: Iterable[Record], head: Head, left: Counter[str], tool: str, without: Sequence[str]
) -> list[Record]:
    """The records that a tool has a place for.

    Args:
        records: all of them.
        head: their classes.
        left: takes note of what is left out, by a line that ``{n}`` stands in.
        tool: its name.
        without: states that it has no word for.
    """
    kept = []
    for record in records:
        if record.state in without:
            left[f"{{n}} image(s) left out: {record.state}, which {tool} has no word for"] += 1
            continue
        if len(head.classes) > 1:
            left[f"{{n}} object(s) written without their class: {tool} knows one"] += len(record.objects)
        kept.append(record)
    return kept


def names_of(records: Sequence[Record], head: Head, told: tuple[str, ...], tool: str) -> tuple[str, ...]:
    """The names of points for a tool that wants the same ones in all frames: those told, of the objects, of the head.

    Raises:
        FormatError: objects with other points than others; with the row.
    """
    longest = 0
    for record in records:
        for seen in record.objects:
            if seen.points is None or not seen.points.points:
                continue
            own, count = seen.points.names, len(seen.points.points)
            told = told or own
            if (own and own != told) or (told and count != len(told)):
                raise FormatError(
                    f"{record.where}: an object has the points {', '.join(own) or count!s:.80}, others "
                    f"{', '.join(told)!s:.80}: {tool} wants the same ones in all frames, COCO does not: write that"
                )
            longest = max(longest, count)
    return told or (head.skeleton[0] if head.skeleton else ()) or tuple(f"point{n + 1}" for n in range(longest))


def pose_table(
    scorer: str, names: Sequence[str], frames: Sequence[tuple[str, Sequence[Points]]], *, scored: bool
) -> str:
    """A file of frames: path -> its subjects, with a row ``individuals`` where a frame has more than one.

    Args:
        scorer: who labelled.
        names: of the points.
        frames: paths with three parts, and the points of each subject.
        scored: write likelihoods.

    Example:
        >>> print(pose_table("me", ["nose"], [("labeled-data/v/a.png", [Points(((1, 2.5, 2),))])], scored=False))
        scorer,,,me,me
        bodyparts,,,nose,nose
        coords,,,x,y
        labeled-data,v,a.png,1,2.5
        <BLANKLINE>
    """
    most = max((len(subjects) for _, subjects in frames), default=1)
    axes = _COORDS if scored else _COORDS[:2]
    several = [f"individual{number}" for number in range(1, most + 1)] if most > 1 else [""]
    columns = [(one, name, axis) for one in several for name in names for axis in axes]
    rows: list[list[str]] = [["scorer", "", "", *(scorer for _ in columns)]]
    rows += [["individuals", "", "", *(one for one, _, _ in columns)]] if most > 1 else []
    rows += [["bodyparts", "", "", *(name for _, name, _ in columns)], ["coords", "", "", *(a for _, _, a in columns)]]
    for path, subjects in frames:
        cells: list[str] = path.split("/")
        for points in subjects:
            cells += _cells(points, names, scored)
        rows.append(cells + [""] * (3 + len(columns) - len(cells)))
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()


def _cells(points: Points, names: Sequence[str], scored: bool) -> Iterator[str]:
    placed = dict(zip(points.names or names, points.points, strict=False))
    sure = dict(zip(points.names or names, points.scores, strict=False))
    for name in names:
        x, y, seen = placed.get(name, (0, 0, 0))
        yield from (repr(x), repr(y)) if seen else ("", "")
        if scored:
            yield repr(float(sure.get(name, 1.0 if seen else 0.0)))
