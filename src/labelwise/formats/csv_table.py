"""Tables with a row for each image, as people, spreadsheets and competitions write them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from labelwise.contracts.format import Format, Hints, Reads, Sniff, Writes, Writing
from labelwise.contracts.kind import in_full
from labelwise.contracts.record import Head, Record, Seen, Where
from labelwise.errors import FormatError
from labelwise.formats.answer_rows import COSTS, PICKED, Rows, amount, called, class_of, region_of
from labelwise.formats.beside import folder_of, placed
from labelwise.formats.columns import (
    ANSWERS,
    GROUPS,
    IMAGES,
    LABELS,
    OTHERS,
    OWN,
    PREDICTED,
    SCORES,
    SPLITS,
    Columns,
    any_numbers,
    columns_of,
    is_picture,
    whole_numbers,
)
from labelwise.formats.delimited import no_table, unescape, write_rows
from labelwise.formats.files import write_whole
from labelwise.formats.several import cell_of, together

#: columns of the picks that are written
ASKED = ("id", "label", "rank", "score", "strategy", "predicted")
#: names of columns that hold corners of boxes
CORNERS = frozenset({"xmin", "ymin", "xmax", "ymax", "x1", "y1", "x2", "y2", "bbox"})

_FILES = (".csv", ".tsv", ".tab", ".txt", "")


@dataclass(frozen=True)
class Csv(Format):
    """A table with a row for each image: comma, semicolon, tab or bar between cells, with or without a header.

    The column of images is called ``id``, ``name``, ``file``, ``path``, ``image_path`` or the like, or is the one whose
    cells end like files of pictures; that of classes ``label``, ``class``, ``target`` or the like. Further columns:
    ``split``, ``group``, and of answers ``skipped``, ``reason``, ``annotator``, ``seconds``, ``images``, ``boxes``,
    ``clicks``, ``pixels``. What was guessed, and columns that nobody reads, are said. ``skip`` or ``__skip__`` in place
    of a label of an answer means: looked at, cannot be labelled. An empty label is not answered yet. Predictions have
    a class and its probability in each row.

    Of images of several classes a label is ``a;b`` (or ``a|b``, ``a,b``), ``none`` for none of them, or there is a row
    for each class.

    Memory: the file streams; a row has at most 8 MB. Of images of several classes all records are in memory.
    """

    name: ClassVar[str] = "csv"
    title: ClassVar[str] = "table with a row for each image, its class, and perhaps split and group (CSV, TSV)"
    kinds: ClassVar[frozenset[str]] = frozenset({"classes", "tags", "masks"})
    reads: ClassVar[frozenset[Reads]] = frozenset({"data", "answers", "predictions"})
    writes: ClassVar[frozenset[Writes]] = frozenset({"asked", "labelled"})
    ending: ClassVar[str] = ".csv"

    def sniff(self, path: Path, use: Reads) -> Sniff:
        """By the ending, the first row, and what the cells below it look like."""
        if not path.is_file() or path.suffix.lower() not in _FILES:
            return Sniff(0.0, "not called .csv, .tsv or .txt")
        try:
            columns = columns_of(path)
            layout = _layout(columns, use)
        except FormatError as error:
            return no_table(error, path)
        if CORNERS & set(columns.names):
            return Sniff(0.2, "it has columns of boxes")
        if "annotationid" in columns.names:
            return Sniff(0.4, "an export of Label Studio", ("classes",))
        if "pixelvalue" in columns.names:
            return Sniff(0.1, "a list of classes, not of images")
        if use == "predictions":
            return _sniff_predictions(columns, layout)
        plain = path.suffix.lower() in (".txt", "") and not any(map(is_picture, columns.cells(columns.image)))
        regions = any(region_of(cell)[1] for cell in columns.cells(columns.image))
        kinds = ("masks", "classes") if regions else ("classes",) if use == "data" else ("classes", "masks")
        if layout.label is None and (use == "answers" and "skipped" not in layout.fields):
            return Sniff(0.3, f"no column of labels ({_columns(columns)})")
        if plain:
            return Sniff(0.2, "nothing in it looks like the name of an image")
        if layout.label is None:
            pictures = any(map(is_picture, columns.cells(columns.image)))
            return Sniff(0.55 if pictures else 0.3, f"no column of labels ({_columns(columns)})", kinds)
        return Sniff(0.8 if columns.guessed or layout.guessed else 0.9, "columns of images and labels", kinds)

    def root(self, path: Path) -> Path:
        """The folder of the file; ``images/`` or the like below it where the table names files that lie there."""
        try:
            columns = columns_of(path)
        except FormatError:
            return path.parent
        return folder_of(path, columns.cells(columns.image))

    def read(self, path: Path, use: Reads, hints: Hints) -> tuple[Head, Iterator[Record]]:
        """The rows one by one.

        Raises:
            FormatError: no table, no column of images or (of answers) of labels, a row with too many cells, a value
                that is none; with the row.
        """
        root = (hints.root or self.root(path)) if use == "data" else hints.root
        columns = columns_of(path, root=root, classes=hints.classes)
        layout = _layout(columns, use)
        _check(columns, layout, use)
        several = hints.kind == "tags"
        known = frozenset(hints.classes)
        rows = Rows(str(path), "row", known, hints.names, skips=use == "answers", several=several)
        head = Head(root=root if use == "data" else None, notes=(*columns.notes, *layout.notes))
        if use == "predictions":
            return head, _predicted(columns, layout, rows)
        plain = set(layout.fields) <= {"split", "group"}
        found = _plain(columns, layout, rows) if plain else _full(columns, layout, rows)
        if not several:
            return head, found
        records, notes = together(found, columns.sheet.shown)
        return replace(head, notes=(*head.notes, *notes)), iter(records)

    def write(self, path: Path, head: Head, records: Iterable[Record], how: Writing) -> list[str]:
        """``id,label,rank,score,strategy,predicted`` of picks; ``id,label,split`` and what else is known of labels.

        Pictures are put into ``images/`` beside the file where links or copies are wanted.

        Raises:
            FormatError: shapes instead of a class, or a score that is not finite.
            StateError: a file cannot be written.
        """
        if how.use == "asked":
            write_whole(path, write_rows([ASKED, *map(_asked, records)]).encode("utf-8", "backslashreplace"))
            return []
        kept = list(records)
        notes = placed(path, kept, how)
        said = cell_of if how.kind == "tags" else class_of
        labels = [said(record, head.classes) for record in kept]
        write_whole(path, write_rows(_labelled(kept, labels)).encode("utf-8", "backslashreplace"))
        return notes


@dataclass(frozen=True)
class _Layout:
    """Which column is what.

    Args:
        label: of classes; None where there is none.
        fields: further ones that are read: field -> column.
        guessed: whether the column of classes has a name that says nothing.
        notes: what people should know.
    """

    label: int | None
    fields: dict[str, int] = field(default_factory=dict)
    guessed: bool = False
    notes: tuple[str, ...] = ()


def _layout(columns: Columns, use: Reads) -> _Layout:
    fields: dict[str, int] = {}
    split, notes = columns.split()
    if split is not None:
        fields["split"] = split
    if group := columns.named(GROUPS):
        fields["group"] = group[0]
    for name, words in ANSWERS.items():
        if found := columns.named(words):
            fields[name] = found[0]
    if "strategy" in columns.names or "rank" in columns.names:  # picks that labelwise wrote
        fields |= {key: found[0] for key in PICKED if (found := columns.named((key,)))}
    if use == "predictions" and "strategy" not in fields and (found := columns.named(SCORES)):
        fields["score"] = found[0]
    label, guessed, said = _label(columns, PREDICTED if use == "predictions" else LABELS, set(fields.values()))
    unread = columns.unread({label, *fields.values()})
    return _Layout(label, fields, guessed, (*notes, *said, *unread))


def _label(columns: Columns, words: Sequence[str], taken: set[int]) -> tuple[int | None, bool, list[str]]:
    """The column of classes, whether it was guessed, and what has to be said of it."""
    shown = columns.sheet.shown
    if not columns.header:
        if len(columns.written) > 2:
            raise FormatError(
                f"{shown} has {len(columns.written)} columns and no header that names them (row 1 holds "
                f"{columns.sample[0][columns.image]!r:.60}): write a line such as path,label above it"
            )
        return (1 - columns.image if len(columns.written) == 2 else None), False, []
    found = [column for column in columns.named(words) if column not in taken]
    if found:
        chosen = found[0]
        if whole_numbers(columns.cells(chosen)):
            texts = [n for n in found[1:] if (cells := columns.cells(n)) and not any_numbers(cells)]
            if texts:
                note = (
                    f"{shown}: classes are read from {columns.written[texts[0]]!r:.40}; "
                    f"{columns.written[chosen]!r:.40} holds their numbers"
                )
                return texts[0], False, [note]
        return chosen, False, []
    known = {columns.image, *taken, *columns.named((*OWN, *IMAGES[:11], *SCORES, *SPLITS, *OTHERS))}
    rest = [n for n, name in enumerate(columns.names) if name and n not in known]
    if len(rest) == 1 and words is LABELS and _may_be_classes(columns.cells(rest[0])):
        return rest[0], True, [f"{shown}: classes are read from the column {columns.written[rest[0]]!r:.40}"]
    return None, False, []


def _may_be_classes(cells: Sequence[str]) -> bool:
    """Whether cells are texts, or whole numbers that come again."""
    if not any_numbers(cells):
        return bool(cells)
    return whole_numbers(cells) and 1 < len(set(cells)) <= len(cells) // 2


def _check(columns: Columns, layout: _Layout, use: Reads) -> None:
    shown, listed = columns.sheet.shown, _columns(columns)
    if CORNERS & set(columns.names):
        raise FormatError(
            f"{shown} has columns of boxes ({listed}): it is no table of classes; say --format tensorflow_csv"
        )
    if layout.label is None and use == "predictions":
        raise FormatError(f"{shown} has no column of predicted classes ({listed}): add one called predicted, and score")
    if "score" not in layout.fields and use == "predictions":
        raise FormatError(f"{shown} has no column of scores ({listed}): add one called score, from 0 to 1")
    if layout.label is None and use == "answers" and "skipped" not in layout.fields:
        raise FormatError(f"{shown} has no column of labels ({listed}): add one called label")


def _sniff_predictions(columns: Columns, layout: _Layout) -> Sniff:
    if "strategy" in layout.fields:
        return Sniff(0.2, "these are picks, not predictions")
    if layout.label is None:
        return Sniff(0.2, f"no column of predicted classes ({_columns(columns)})")
    if "score" not in layout.fields:
        return Sniff(0.3, f"no column of scores ({_columns(columns)})")
    return Sniff(0.8, "columns of images, classes and scores", ("classes",))


# ---- rows to records ------------------------------------------------------------------------------------------------


def _plain(columns: Columns, layout: _Layout, rows: Rows) -> Iterator[Record]:
    """Rows of which picture, class and set are read: the way of most large files, hence no detours."""
    image, label, width = columns.image, layout.label, len(columns.written)
    split, group = layout.fields.get("split"), layout.fields.get("group")
    with closing(columns.rows()) as found:
        for number, row in found:
            if len(row) != width:
                if not row:
                    continue
                columns.refuse_long(row, number)
                row += [""] * (width - len(row))
            name, cls = row[image], "" if label is None else row[label]
            if (not name or name.isspace()) and columns.is_blank(row, number):
                continue
            if name[0] == "'":
                name = unescape(name)
            if cls and cls[0] == "'":
                cls = unescape(cls)
            yield rows.plain(
                number,
                name,
                cls,
                None if split is None else unescape(row[split]).strip() or None,
                None if group is None else unescape(row[group]).strip() or None,
            )


def _full(columns: Columns, layout: _Layout, rows: Rows) -> Iterator[Record]:
    """Rows of which more is read."""
    fields = layout.fields | ({} if layout.label is None else {"label": layout.label})
    # spreadsheets that separate by semicolon write 3,5 for 3.5
    comma = [name for name in (*COSTS, "seconds", "score") if name in fields and columns.delimiter == ";"]
    with closing(columns.rows()) as found:
        for number, row in found:
            cells = columns.fit(row, number)
            name = cells[columns.image]
            if not name.strip() and columns.is_blank(row, number):
                continue
            said: dict[str, Any] = {key: cells[column] for key, column in fields.items() if cells[column]}
            for key in comma:
                if key in said:
                    said[key] = said[key].replace(",", ".")
            yield rows.full(number, name, said)


def _predicted(columns: Columns, layout: _Layout, rows: Rows) -> Iterator[Record]:
    assert layout.label is not None, "checked before"
    with closing(columns.rows()) as found:
        for number, row in found:
            cells = columns.fit(row, number)
            name, cls, said = cells[columns.image], cells[layout.label], cells[layout.fields["score"]]
            if not name.strip() and columns.is_blank(row, number):
                continue
            where = Where(rows.file, rows.unit, number)
            score = amount(said.replace(",", ".") if columns.delimiter == ";" else said, "score", where, most=1)
            things = rows.objects(cls)
            if not things or score is None:
                raise FormatError(f"{where}: no {'score' if things else 'class'}; give each row a class and its score")
            yield Record(where, name, bare=not is_picture(name), objects=(Seen(things[0].cls, score=score),))


# ---- records to rows ------------------------------------------------------------------------------------------------


def _asked(record: Record) -> list[str | float]:
    extra = record.extra
    score = extra.get("strategy_score")
    if score is not None and not math.isfinite(score):
        raise FormatError(f"pick {called(record)!r:.80} has score {score}: scores must be finite to be written")
    guess = in_full([thing.cls for thing in record.objects if isinstance(thing.cls, str)]) if record.objects else ""
    cells = (extra.get("rank"), score, extra.get("strategy"), extra.get("predicted") or guess)
    return [called(record), "", *("" if cell is None else cell for cell in cells)]


def _labelled(records: Sequence[Record], labels: Sequence[str]) -> Iterator[Sequence[str | float]]:
    """The header and a row for each record; columns of which nothing is known are left out."""
    columns: dict[str, Sequence[Any]] = {
        "id": [called(record) for record in records],
        "label": labels,
        "split": [record.split or "" for record in records],
    }
    further: dict[str, list[Any]] = {
        "group": [record.group for record in records],
        "skipped": ["true" if record.state == "skipped" else None for record in records],
        "reason": [record.reason or None for record in records],
        "annotator": [record.annotator for record in records],
        "seconds": [record.seconds for record in records],
        **{unit: [record.cost.get(unit) for record in records] for unit in COSTS},
    }
    columns |= {name: cells for name, cells in further.items() if any(cell is not None for cell in cells)}
    yield tuple(columns)
    for row in zip(*columns.values(), strict=True):
        yield ["" if cell is None else cell for cell in row]


# ---- words ----------------------------------------------------------------------------------------------------------


def _columns(columns: Columns) -> str:
    names = [name for name in columns.written if name]
    listed = ", ".join(f"{name!r:.30}" for name in names[:8])
    return f"columns: {listed}{f' and {len(names) - 8} more' if len(names) > 8 else ''}" if names else "no header"
