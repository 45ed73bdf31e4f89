"""SLEAP's CSV of an analysis: a row for each instance, ``track,frame_idx,instance.score,nose.x,nose.y,nose.score,...``.

SLEAP numbers the frames of a video and names none: numbers are read through a list of images (``--images``). A column
``image``, which labelwise writes, names the picture of each row.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from labelwise.contracts.format import Format, Hints, Reads, Sniff, Writes, Writing
from labelwise.contracts.record import Head, Points, Record, Seen, Where
from labelwise.errors import FormatError
from labelwise.formats.beside import folder_of, placed
from labelwise.formats.delimited import read_text, unescape, write_rows
from labelwise.formats.files import write_whole
from labelwise.formats.fitting import lines
from labelwise.formats.glance import start_of
from labelwise.formats.pose_rows import MOST_BYTES, SUBJECT, kept_of, names_of, pixels_of, point_of

_FRAME, _SCORE, _IMAGE = "frame_idx", "instance.score", "image"


@dataclass(frozen=True)
class SleapCsv(Format):
    r"""SLEAP's analysis CSV: instances of labelled frames, and predictions with scores.

    A point without coordinates is one that is not seen. Scores are kept of predictions only.

    Memory: about five times the file.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "a.csv"
        >>> _ = file.write_text("track,frame_idx,instance.score,nose.x,nose.y,nose.score\n,7,0.5,3,4.5,0.25\n")
        >>> head, records = SleapCsv().read(file, "predictions", Hints())
        >>> record = next(records)
        >>> record.number, record.objects[0].score, record.objects[0].points
        (7, 0.5, Points(points=((3, 4.5, 2),), names=('nose',), scores=(0.25,)))
    """

    name: ClassVar[str] = "sleap_csv"
    title: ClassVar[str] = "SLEAP: CSV of an analysis, a row for each instance with its points and scores"
    kinds: ClassVar[frozenset[str]] = frozenset({"points"})
    reads: ClassVar[frozenset[Reads]] = frozenset({"data", "answers", "predictions"})
    writes: ClassVar[frozenset[Writes]] = frozenset({"labelled", "predictions"})
    ending: ClassVar[str] = ".csv"

    def sniff(self, path: Path, use: Reads) -> Sniff:
        """By its columns."""
        if not path.is_file():
            return Sniff(0.0, "an analysis is one file")
        first = start_of(path, 1 << 16).decode("utf-8-sig", "replace").partition("\n")[0]
        columns = {cell.strip(' "\r') for cell in first.split(",")}
        if not {_FRAME, _SCORE} <= columns or not any(
            f"{one[:-2]}.y" in columns for one in columns if one[-2:] == ".x"
        ):
            return Sniff(0.0, f"no columns {_FRAME}, {_SCORE} and those of points")
        return Sniff(0.97, f"columns {_FRAME}, {_SCORE} and points", ("points",))

    def root(self, path: Path) -> Path:
        """The folder of the file, or one below it where named pictures lie."""
        try:
            table = _Table.of(path)
            return folder_of(path, [row.get(_IMAGE, "") for _, row in table.rows])
        except FormatError:
            return path.parent

    def read(self, path: Path, use: Reads, hints: Hints) -> tuple[Head, Iterator[Record]]:
        """A record for each frame.

        Raises:
            FormatError: no such table, a frame that is no whole number, a coordinate that is none; with file and row.
        """
        table = _Table.of(path)
        cls = hints.classes[0] if len(hints.classes) == 1 else SUBJECT
        counts: Counter[str] = Counter()
        records = list(table.records(cls, counts, guessed=use == "predictions"))
        root = (hints.root or self.root(path)) if use == "data" else None
        head = Head((cls,), root=root, skeleton=(table.names, ()), notes=lines(counts))
        return head, iter(records)

    def write(self, path: Path, head: Head, records: Iterable[Record], how: Writing) -> list[str]:
        """A row for each object, with the name of its picture in a further column.

        Raises:
            FormatError: objects with other points than others.
            StateError: a file cannot be written.
        """
        left: Counter[str] = Counter()
        without = () if how.use == "predictions" else ("skipped", "untouched")
        listed = kept_of(records, head, left, "SLEAP", without)
        names = names_of(listed, head, (), "SLEAP")
        header = [_IMAGE, "track", _FRAME, _SCORE, *(f"{name}.{end}" for name in names for end in ("x", "y", "score"))]
        rows: list[list[str | float]] = [[*header]]
        for number, record in enumerate(listed):
            if record.image is None:
                raise FormatError(f"{record.where}: a row needs the name of its picture, not its number")
            frame = record.number if isinstance(record.number, int) else number
            seen = [one for one in record.objects if one.points is not None and one.points.points]
            left["{n} object(s) without points left out"] += len(record.objects) - len(seen)
            left["{n} box(es) left out: SLEAP has no place for them"] += sum(one.box is not None for one in seen)
            for track, one in enumerate(seen):
                rows.append([record.image, f"track_{track}", frame, "" if one.score is None else one.score])
                rows[-1] += _cells(one.points, names, left)
            if not seen:
                rows.append([record.image, "", frame, "", *[""] * (3 * len(names))])
        said = placed(path, listed, how) if how.use == "labelled" else []
        write_whole(path, write_rows(rows).encode("utf-8", "backslashreplace"))
        return [*lines(left), *said]


@dataclass(frozen=True)
class _Table:
    path: Path
    names: tuple[str, ...]
    rows: Sequence[tuple[int, Mapping[str, str]]]

    @classmethod
    def of(cls, path: Path) -> _Table:
        """Reads a file and its header."""
        shown = repr(str(path))
        try:
            table = list(enumerate(csv.reader(io.StringIO(read_text(path, most=MOST_BYTES))), 1))
        except csv.Error as error:
            raise FormatError(f"{shown} is no table: {error!s:.80}") from None
        header = [cell.strip() for cell in table[0][1]] if table else []
        if twice := next((name for place, name in enumerate(header) if name and name in header[:place]), None):
            raise FormatError(f"{shown}: the column {twice!r:.60} stands twice; give every point its own name")
        names = tuple(one[:-2] for one in header if one[-2:] == ".x" and f"{one[:-2]}.y" in header)
        if _FRAME not in header or not names:
            raise FormatError(f"{shown} is no analysis of SLEAP: it has no columns {_FRAME}, NAME.x and NAME.y")
        rows = []
        for row, cells in table[1:]:
            if not any(map(str.strip, cells)):
                continue
            if len(cells) != len(header):
                raise FormatError(f"{shown}, row {row}: {len(cells)} cells, and the header has {len(header)}")
            rows.append((row, dict(zip(header, cells, strict=True))))
        return cls(path, names, rows)

    def records(self, cls: str, counts: Counter[str], *, guessed: bool) -> Iterator[Record]:
        """One for each frame, in the order in which frames first stand there."""
        found: dict[str | int, Record] = {}
        for row, cells in self.rows:
            where = Where(str(self.path), "row", row)
            frame = cells[_FRAME].strip().removesuffix(".0")
            if not frame.isdecimal() or len(frame) > 9:
                raise FormatError(f"{where}: {_FRAME} is {frame!r:.40}; give the number of the frame, from 0")
            image = unescape(cells.get(_IMAGE, "")).strip() or None
            record = found.setdefault(image or int(frame), Record(where, image, number=int(frame), state="empty"))
            points = self._points(cells, f"{where}", guessed)
            if not any(seen for _, _, seen in points.points):
                counts["{n} row(s) without any point: no instance"] += image is None
                continue
            score = _probability(cells.get(_SCORE, ""), f"{where}: {_SCORE}") if guessed else None
            seen = Seen(cls, points=points, score=score)
            found[image or int(frame)] = replace(record, objects=(*record.objects, seen), state="answered")
        yield from found.values()

    def _points(self, cells: Mapping[str, str], where: str, guessed: bool) -> Points:
        points: list[tuple[float, float, int]] = []
        for name in self.names:
            x, y = (pixels_of(cells[f"{name}.{axis}"], f"{where}: {name!r:.40}.{axis}") for axis in "xy")
            points.append(point_of(x, y, f"{where}: {name!r:.40}"))
        sure = tuple(
            _probability(cells.get(f"{name}.score", ""), f"{where}: {name!r:.40}.score") or 0.0 for name in self.names
        )
        return Points(tuple(points), self.names, sure if guessed and any(sure) else ())


def _probability(cell: str, what: str) -> float | None:
    """A score as SLEAP writes it: peaks of its maps exceed one by a little."""
    value = pixels_of(cell, what)
    return None if value is None else min(max(float(value), 0.0), 1.0)


def _cells(points: Points | None, names: Sequence[str], left: Counter[str]) -> list[str | float]:
    assert points is not None, "asked before"
    left["{n} hidden point(s) written as visible ones"] += sum(there == 1 for _, _, there in points.points)
    cells: list[str | float] = []
    for place, (x, y, there) in enumerate(points.points):
        score: str | float = points.scores[place] if points.scores else ""
        cells += [x, y, score] if there else ["", "", score]
    return cells
