"""Tables with a column of yes and no for each class, as Roboflow ("multi-class") and competitions write them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import ClassVar

from labelwise.contracts.format import Format, Hints, Reads, Sniff, Writes, Writing
from labelwise.contracts.record import Head, Record, Seen, State
from labelwise.errors import FormatError
from labelwise.formats.answer_rows import called, region_of
from labelwise.formats.beside import placed
from labelwise.formats.columns import GROUPS, IMAGES, LABELS, OTHERS, Columns, columns_of, is_picture, normal
from labelwise.formats.delimited import no_table, unescape, write_rows
from labelwise.formats.files import write_whole
from labelwise.formats.quick_records import quick_record, quick_where
from labelwise.formats.several import names_of
from labelwise.formats.split_folders import Part, parts_of

TABLE = "_classes.csv"

_WORDS = dict.fromkeys(("true", "yes", "y", "x", "1", "1.0", "t"), True) | dict.fromkeys(
    ("", "false", "no", "n", "0", "0.0", "f", "-"), False
)
_PLAIN = frozenset({"0", "1"})
#: names of label columns that are never names of classes
_LABELS = frozenset(LABELS[:9])


@dataclass(frozen=True)
class OneHotCsv(Format):
    """A table with the name of an image and a column for each class: 1 where the image shows it, 0 where it does not.

    Reads a file, or a folder with ``_classes.csv`` in it or in its folders ``train``, ``valid`` and ``test``. 1.0,
    true, yes, y and x count as 1; nothing, 0.0, false, no and n as 0. Where a label is one class, an image with several
    is left unlabelled and said, and so is one with none. Where it is any number of classes, all are taken: a row of
    zeros has none of them, and one of empty cells is not answered.

    Memory: the file streams, twice: what cannot be taken is counted before the first row is given.
    """

    name: ClassVar[str] = "one_hot_csv"
    title: ClassVar[str] = "table with a 0/1 column for each class, as Roboflow's multi-class CSV"
    kinds: ClassVar[frozenset[str]] = frozenset({"classes", "tags"})
    reads: ClassVar[frozenset[Reads]] = frozenset({"data", "answers"})
    writes: ClassVar[frozenset[Writes]] = frozenset({"labelled"})
    ending: ClassVar[str] = ".csv"

    def sniff(self, path: Path, use: Reads) -> Sniff:
        """By the cells of the first rows."""
        parts = parts_of(path, TABLE)
        if not parts:
            return Sniff(0.0, f"no {TABLE} in it")
        try:
            found = _table(parts[0])
        except FormatError as error:
            return no_table(error, parts[0].table)
        if why := found.unfit():
            return Sniff(0.3 if found.classes else 0.1, why)
        if found.shows_several():
            return Sniff(0.95, f"{len(found.classes)} columns of 0 and 1, several 1 in a row", ("tags", "classes"))
        return Sniff(0.95, f"{len(found.classes)} columns of 0 and 1", ("classes", "tags"))

    def read(self, path: Path, use: Reads, hints: Hints) -> tuple[Head, Iterator[Record]]:
        """The rows, after all of them were counted.

        Raises:
            FormatError: no columns of classes, a cell that is neither 0 nor 1, a row without an image; with the row.
        """
        parts = parts_of(path, TABLE)
        if not parts:
            raise FormatError(f"{str(path)!r} holds no {TABLE}: give the file, or the folder that it lies in")
        tables = [_table(part) for part in parts]
        for table in tables:
            if why := table.unfit():
                raise FormatError(f"{table.columns.sheet.shown}: {why}; give a 0/1 column for each class")
        classes = tuple(dict.fromkeys(name for table in tables for name in table.classes))
        several = hints.kind == "tags"
        notes = [note for table in tables for note in (*table.columns.notes, *table.unread(), *table.counted(several))]
        head = Head(classes=classes, root=self.root(path) if use == "data" else None, notes=tuple(notes))
        return head, (record for table in tables for record in table.records(several))

    def write(self, path: Path, head: Head, records: Iterable[Record], how: Writing) -> list[str]:
        """``filename``, a column of 0 and 1 for each class, ``split``; empty cells where nobody has answered.

        Raises:
            FormatError: a class that is called like another column, a shape, or a class that ``head`` does not list.
            StateError: a file cannot be written.
        """
        kept = list(records)
        if strange := [name for name in head.classes if normal(name) in {*OTHERS, *IMAGES, *LABELS, *GROUPS}]:
            raise FormatError(f"class {strange[0]!r:.60} is called like a column of tables: write .csv or .json")
        notes = placed(path, kept, how)
        rows = [("filename", *head.classes, "split"), *(_row(record, head.classes) for record in kept)]
        write_whole(path, write_rows(rows).encode("utf-8", "backslashreplace"))
        return notes


@dataclass(frozen=True)
class _Table:
    """One file, looked into.

    Args:
        part: where it lies.
        columns: of it.
        at: class -> its column.
    """

    part: Part
    columns: Columns
    at: dict[str, int]

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.at)

    def unfit(self) -> str:
        """Why this is no such table; "" where it is one."""
        if _LABELS & set(self.columns.names):
            return "it has a column of labels"
        if "annotationid" in self.columns.names:
            return "an export of Label Studio"
        if not self.columns.header:
            return "no header that names classes"
        return "" if len(self.at) > 1 else "no columns of 0 and 1"

    def unread(self) -> list[str]:
        split, said = self.columns.split()
        return [*said, *self.columns.unread({split, *self._groups(), *self.at.values()})]

    def _groups(self) -> list[int]:
        return self.columns.named(GROUPS)[:1]

    def shows_several(self) -> bool:
        """Whether one of the first rows has several classes."""
        picks = [[row[n] for n in self.at.values()] for row in self.columns.sample]
        return any(sum(bool(_WORDS.get(cell.strip().lower())) for cell in cells) > 1 for cells in picks)

    def counted(self, all_classes: bool) -> list[str]:
        """What has to be said of rows that give no label."""
        none = several = bare = 0
        first = ""
        for number, _, names, row in self._rows():
            none += not names
            bare += not names and not any(row[n].strip() for n in self.at.values())
            several += len(names) > 1
            if len(names) > 1 and not first:
                first = f"row {number}: {' and '.join(names)!s:.60}"
        shown, lines = self.columns.sheet.shown, []
        if all_classes:
            said = f"{none - bare:,} have 0 in every column, none of the classes"
            return [f"{shown}: {bare:,} row(s) have empty cells and are not answered; {said}"] if bare else []
        if several:
            how = f"({first}); --task multi_label takes them"
            lines.append(f"{shown}: {several:,} row(s) have several classes, and are left unlabelled {how}")
        if none:
            lines.append(f"{shown}: {none:,} row(s) have no class and are left unlabelled")
        return lines

    def records(self, several: bool) -> Iterator[Record]:
        file, folder = str(self.columns.sheet.path), self.part.folder
        split, group = self.columns.split()[0], next(iter(self._groups()), None)
        seen = {name: (Seen(name),) for name in self.classes}
        for number, image, names, row in self._rows():
            if several:
                label = tuple(one for name in names for one in seen[name])
            else:
                label = seen[names[0]] if len(names) == 1 else ()
            state: State = "answered" if label else "untouched"
            if several and not label and any(row[n].strip() for n in self.at.values()):
                state = "empty"
            image, region = region_of(image)
            yield quick_record(
                quick_where(file, "row", number),
                folder + image,
                not is_picture(image),
                label,
                state,
                region,
                self.part.split if split is None else row[split].strip() or None,
                None if group is None else row[group].strip() or None,
            )

    def _rows(self) -> Iterator[tuple[int, str, list[str], Sequence[str]]]:
        """Number, image, classes and cells of each row."""
        width, image, classes = len(self.columns.written), self.columns.image, self.classes
        pick = itemgetter(*self.at.values())
        with closing(self.columns.rows()) as rows:
            for number, row in rows:
                if len(row) != width:
                    self.columns.refuse_long(row, number)
                    row += [""] * (width - len(row))
                if not row[image].strip():
                    if any(cell.strip() for cell in row):
                        raise FormatError(
                            f"{self.columns.sheet.shown}, row {number}: no image is named; delete the row"
                        )
                    continue
                cells = pick(row)
                if (
                    _PLAIN.issuperset(cells) and cells.count("1") < 2
                ):  # nearly all rows, of thousands of columns perhaps
                    names = [classes[cells.index("1")]] if "1" in cells else []
                else:
                    names = [name for name, cell in zip(classes, cells, strict=True) if self._yes(cell, name, number)]
                yield number, unescape(row[image]), names, row

    def _yes(self, cell: str, name: str, number: int) -> bool:
        found = _WORDS.get(cell)
        if found is None and (found := _WORDS.get(cell.strip().lower())) is None:
            raise FormatError(f"{self.columns.sheet.shown}, row {number}: {name!r:.40} is {cell!r:.40}; give 1 or 0")
        return found


def _row(record: Record, classes: Sequence[str]) -> tuple[str, ...]:
    names = names_of(record, classes)
    if strange := [name for name in names if name not in classes]:
        raise FormatError(f"{record.where}: class {strange[0]!r:.60} has no column: it is none of the project's")
    said = record.state in ("answered", "empty")
    return (called(record), *(str(int(name in names)) if said else "" for name in classes), record.split or "")


def _table(part: Part) -> _Table:
    columns = columns_of(part.table)
    others = {columns.image, *columns.named((*OTHERS, *IMAGES[:11], *GROUPS))}
    at = {
        name: n
        for n, name in enumerate(columns.written)
        if name and n not in others and all(cell.strip().lower() in _WORDS for cell in columns.cells(n))
    }
    split = columns.split()[0]
    return _Table(part, columns, {name: n for name, n in at.items() if n != split})
