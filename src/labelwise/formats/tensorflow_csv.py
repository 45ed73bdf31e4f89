"""Tables with a row for each box: TensorFlow's object detection CSV, and those that look alike."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from labelwise.contracts.format import Format, Hints, Reads, Sniff
from labelwise.contracts.record import Box, Head, Record, Seen, Where
from labelwise.errors import FormatError
from labelwise.formats.columns import LABELS, SCORES, Columns, any_numbers, columns_of, is_picture
from labelwise.formats.delimited import no_table
from labelwise.formats.split_folders import Part, parts_of

TABLE = "_annotations.csv"

#: names of the four corners, as programs write them
_CORNERS = (("xmin", "ymin", "xmax", "ymax"), ("x1", "y1", "x2", "y2"), ("left", "top", "right", "bottom"))
_CLASSES = (*LABELS, "name", "object", "objectname")
_SIZES = (("width", "height"), ("imagewidth", "imageheight"), ("imgwidth", "imgheight"))


@dataclass(frozen=True)
class TensorflowCsv(Format):
    """A table with a row for each box: ``filename,width,height,class,xmin,ymin,xmax,ymax``.

    Also without ``width`` and ``height``, with ``x1,y1,x2,y2`` or ``left,top,right,bottom``, and as keras-retinanet
    writes it: no header, ``path,x1,y1,x2,y2,class``, a path alone for an image without object. Corners that are all
    within 0 and 1 are fractions of the sides (OpenImages), and said. Reads a file, or a folder with
    ``_annotations.csv`` in it or in its folders ``train``, ``valid`` and ``test``, as Roboflow exports it.

    Memory: the boxes of all images are gathered, about 500 bytes each, because rows of one image need not follow each
    other.
    """

    name: ClassVar[str] = "tensorflow_csv"
    title: ClassVar[str] = "table with a row for each box (TensorFlow, keras-retinanet, OpenImages, Roboflow CSV)"
    kinds: ClassVar[frozenset[str]] = frozenset({"boxes"})
    reads: ClassVar[frozenset[Reads]] = frozenset({"data", "answers", "predictions"})

    def sniff(self, path: Path, use: Reads) -> Sniff:
        """By the names of columns, or the numbers in the first rows."""
        parts = parts_of(path, TABLE)
        if not parts:
            return Sniff(0.0, f"no {TABLE} in it")
        try:
            table = _table(parts[0], use)
        except FormatError as error:
            return no_table(error, parts[0].table)
        if use == "predictions" and table.score is None:
            return Sniff(0.3, "boxes without scores")
        return Sniff(0.95, "columns of corners and classes", ("boxes",))

    def read(self, path: Path, use: Reads, hints: Hints) -> tuple[Head, Iterator[Record]]:
        """A record for each image, its boxes in the order of the file.

        Raises:
            FormatError: no columns of corners, a corner that is no number, swapped corners, two sizes of one image;
                with the row.
        """
        parts = parts_of(path, TABLE)
        if not parts:
            raise FormatError(f"{str(path)!r} holds no {TABLE}: give the file, or the folder that it lies in")
        tables = [_table(part, use) for part in parts]
        if use == "predictions" and (bare := next((one for one in tables if one.score is None), None)):
            raise FormatError(f"{bare.columns.sheet.shown} has no column of scores: add one called score, from 0 to 1")
        gathered = [(table, table.gathered(hints.names or {})) for table in tables]
        notes = [note for table, images in gathered for note in (*table.columns.notes, *table.notes(images))]
        head = Head(root=self.root(path) if use == "data" else None, notes=tuple(notes))
        return head, (record for table, images in gathered for record in table.records(images))


@dataclass
class _Image:
    """What is known of one image.

    Args:
        row: where it stands first.
        size: (width, height), where the table says so.
        things: its boxes.
    """

    row: int
    size: tuple[int, int] | None = None
    things: list[Seen] = field(default_factory=list)


@dataclass(frozen=True)
class _Table:
    """One file, looked into.

    Args:
        part: where it lies.
        columns: of it.
        corners: columns of x1, y1, x2, y2.
        label: column of classes.
        size: columns of width and height; () where there are none.
        score: column of scores.
    """

    part: Part
    columns: Columns
    corners: tuple[int, ...]
    label: int
    size: tuple[int, ...] = ()
    score: int | None = None

    def gathered(self, names: Mapping[int, str]) -> dict[str, _Image]:
        """Image -> what is known of it, in the order of the file."""
        images: dict[str, _Image] = {}
        classes: dict[str, str | int] = {}
        with closing(self.columns.rows()) as rows:
            for number, row in rows:
                cells = self.columns.fit(row, number)
                if not (name := cells[self.columns.image]).strip() and self.columns.is_blank(cells, number):
                    continue
                where = f"{self.columns.sheet.shown}, row {number}"
                image = images.setdefault(name, _Image(number))
                self._sized(image, cells, where)
                corners = [cells[column].strip() for column in self.corners]
                label = cells[self.label].strip()
                if not label and not any(corners):
                    continue
                if not label:
                    raise FormatError(f"{where}: a box without a class; fill it in or delete the row")
                if label not in classes:
                    known = names and label.isdecimal() and len(label) < 10
                    classes[label] = int(label) if known else label
                score = None if self.score is None else _within(cells[self.score], "score", where, 0, 1)
                image.things.append(Seen(classes[label], box=self._box(corners, where), score=score))
        return images

    def _sized(self, image: _Image, cells: Sequence[str], where: str) -> None:
        said = [cells[column].strip() for column in self.size]
        if not all(said) or not said:
            return
        sides = [_within(cell, "the size", where, 1, 1e6) for cell in said]
        size = (int(sides[0]), int(sides[1]))
        if image.size not in (None, size) or size != tuple(sides):
            other = f"row {image.row} says {image.size}" if image.size else "give whole pixels"
            raise FormatError(f"{where}: the image has the size {' x '.join(said)!s:.40} here; {other}")
        image.size = size

    def _box(self, corners: Sequence[str], where: str) -> Box:
        if self.columns.delimiter == ";":
            corners = [corner.replace(",", ".") for corner in corners]
        x1, y1, x2, y2 = (_within(corner, "a corner", where, -1e9, 1e9) for corner in corners)
        if x1 > x2 or y1 > y2:
            raise FormatError(f"{where}: the box ({', '.join(corners)!s:.80}) ends before it begins; swap the corners")
        return Box(x1, y1, x2, y2)

    def records(self, images: Mapping[str, _Image]) -> Iterator[Record]:
        """One record for each image."""
        file, fractions = str(self.columns.sheet.path), self.fractions(images)
        split = self.columns.split()[0] if self.part.split is None else None
        words = self._words(split)
        for name, image in images.items():
            yield Record(
                Where(file, "row", image.row),
                self.part.folder + name,
                bare=not is_picture(name),
                size=image.size,
                fractions=fractions,
                objects=tuple(image.things),
                state="answered" if image.things else "empty",
                split=self.part.split or words.get(name),
            )

    def _words(self, split: int | None) -> dict[str, str]:
        """Image -> word for its split, where the table has such a column."""
        if split is None:
            return {}
        with closing(self.columns.rows()) as rows:
            fitted = (self.columns.fit(row, number) for number, row in rows)
            return {cells[self.columns.image]: cells[split].strip() for cells in fitted if cells[split].strip()}

    def fractions(self, images: Mapping[str, _Image]) -> bool:
        """Whether all corners are fractions of the sides: within 0 and 1, and not all of them 0 and 1."""
        boxes = [thing.box for image in images.values() for thing in image.things if thing.box is not None]
        numbers = set(itertools.chain.from_iterable((b.x1, b.y1, b.x2, b.y2) for b in boxes))
        return bool(numbers) and min(numbers) >= 0 and max(numbers) <= 1 and not numbers <= {0, 1}

    def notes(self, images: Mapping[str, _Image]) -> list[str]:
        """What people should know."""
        split, said = self.columns.split()
        used = {*self.corners, self.label, *self.size, self.score, split}
        lines = [*said, *self.columns.unread(used)]
        if self.fractions(images):
            lines.append(f"{self.columns.sheet.shown}: all corners lie within 0 and 1: taken as fractions of the sides")
        return lines


def _table(part: Part, use: Reads) -> _Table:
    columns = columns_of(part.table)
    names = columns.names
    if not columns.header:
        return _headless(part, columns)
    for words in _CORNERS:
        if set(words) <= set(names):
            corners = tuple(names.index(word) for word in words)
            break
    else:
        raise FormatError(f"{columns.sheet.shown} has no columns of corners (xmin, ymin, xmax, ymax)")
    labels = [n for n in columns.named(_CLASSES) if n not in corners]
    if not labels:
        raise FormatError(f"{columns.sheet.shown} has boxes and no column of classes: add one called class")
    sizes = [tuple(names.index(word) for word in pair) for pair in _SIZES if set(pair) <= set(names)]
    # a label is no guess: what a file says of its confidence is not read
    scores = columns.named(SCORES) if use == "predictions" else []
    return _Table(part, columns, corners, labels[0], sizes[0] if sizes else (), scores[0] if scores else None)


def _headless(part: Part, columns: Columns) -> _Table:
    """``path,x1,y1,x2,y2,class``, told by its cells."""
    numbers = all(any_numbers(columns.cells(n)) for n in range(1, 5)) if len(columns.written) == 6 else False
    if columns.image != 0 or not numbers:
        raise FormatError(f"{columns.sheet.shown} has no header, and is no table path,x1,y1,x2,y2,class")
    return _Table(part, columns, (1, 2, 3, 4), 5)


def _within(cell: str, what: str, where: str, low: float, high: float) -> float:
    """A number as a float; whole ones are whole."""
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise FormatError(f"{where}: {what} is {cell!r:.40}; give a number from {low:g} to {high:g}")
    return int(value) if value.is_integer() and "." not in cell else value
