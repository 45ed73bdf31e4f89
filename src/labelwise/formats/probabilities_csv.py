"""Tables with the probability of each class, as models and competitions write them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from labelwise.contracts.format import Format, Hints, Reads, Sniff
from labelwise.contracts.record import Head, Record, Seen, Where
from labelwise.errors import FormatError
from labelwise.formats.answer_rows import region_of
from labelwise.formats.columns import (
    IMAGES,
    LABELS,
    OTHERS,
    OWN,
    PREDICTED,
    SCORES,
    Columns,
    any_numbers,
    columns_of,
    is_picture,
    normal,
)
from labelwise.formats.delimited import no_table, unescape

#: how far a row may be from summing to one where its numbers are not rounded
TOLERANCE = 1e-3
#: what programs put before the name of a class
_PREFIXES = ("probability", "prob", "predicted", "score", "class", "p")
#: names that a message lists
_LISTED = 4


@dataclass(frozen=True)
class ProbabilitiesCsv(Format):
    """A table with the name of an image and a column for each class that holds its probability.

    Columns are named like classes, or like ``prob_cat`` in all of them. A row sums to one, as far as the digits that
    are written allow; rows that are rounded are divided by their sum, and said.

    Memory: the file streams, twice: all rows are checked before the first one is given.
    """

    name: ClassVar[str] = "probabilities_csv"
    title: ClassVar[str] = "table with the probability of each class, a column for each"
    kinds: ClassVar[frozenset[str]] = frozenset({"classes", "tags"})
    reads: ClassVar[frozenset[Reads]] = frozenset({"predictions"})

    def sniff(self, path: Path, use: Reads) -> Sniff:
        """By the numbers in the first rows."""
        if not path.is_file():
            return Sniff(0.0, "no file")
        try:
            columns = columns_of(path)
            at = _classes(columns, ())
            rows = [_probabilities(row, at, columns, 0, one=False) for row in columns.sample]
            several = any(abs(sum(values) - 1) > slack for values, slack in rows)
        except FormatError as error:
            return no_table(error, path)
        if len(at) < 2 or not rows:
            return Sniff(0.1, "no columns of probabilities")
        if several:
            return Sniff(0.8, f"numbers from 0 to 1 in columns of {len(at)} classes, which do not sum to 1", ("tags",))
        return Sniff(0.9, f"probabilities of {len(at)} classes", ("classes",))

    def read(self, path: Path, use: Reads, hints: Hints) -> tuple[Head, Iterator[Record]]:
        """The rows, after all of them were checked.

        Raises:
            FormatError: no columns of probabilities, a class of the project without one, a number outside [0, 1], a
                row that does not sum to one; with the row.
        """
        columns = columns_of(path, root=hints.root, classes=hints.classes)
        at = _classes(columns, hints.classes)
        one = hints.kind != "tags"
        if len(at) < 1 + one:
            raise FormatError(f"{columns.sheet.shown} has no columns of probabilities: give one for each class")
        rounded = sum(one and abs(sum(values) - 1) > TOLERANCE for _, _, values in _rows(columns, at, one=one))
        notes = [*columns.notes, *columns.unread({*at.values(), *columns.named((*PREDICTED[:9], *SCORES))})]
        if rounded:
            notes.append(
                f"{columns.sheet.shown}: {rounded:,} row(s) sum to 1 only as far as their digits allow: "
                "divided by their sum"
            )
        return Head(classes=tuple(at), notes=tuple(notes)), _records(path, columns, at, one=one)


def _classes(columns: Columns, known: Sequence[str]) -> dict[str, int]:
    """Class -> its column, in the order of the file.

    Raises:
        FormatError: the project has classes, and one of them has no column.
    """
    others = {columns.image, *columns.named((*OTHERS, *OWN, *PREDICTED[:9], *LABELS[:9], *SCORES, *IMAGES[:11]))}
    if known:
        others = {columns.image}
    found = {
        name: n for n, name in enumerate(columns.written) if name and n not in others and any_numbers(columns.cells(n))
    }
    wanted = {unicodedata.normalize("NFC", name.strip()) for name in known}
    for names in (found, *(_behind(prefix, found) for prefix in _PREFIXES)):
        plain = {unicodedata.normalize("NFC", name): n for name, n in names.items()}
        if wanted and wanted <= set(plain):
            return {name: n for name, n in plain.items() if name in wanted}
    if known:
        missing = [name for name in known if name not in found] or list(known)
        listed = ", ".join(f"{name!r:.40}" for name in missing[:_LISTED])
        raise FormatError(
            f"{columns.sheet.shown}: no column of probabilities for {len(missing)} of {len(known)} classes: {listed}"
            f"{', ...' if len(missing) > _LISTED else ''} (its columns are {_few(columns.written)})"
        )
    whole = (_behind(prefix, found) for prefix in _PREFIXES)
    return next((names for names in whole if len(names) == len(found)), found)


def _few(names: Sequence[str]) -> str:
    shown = ", ".join(f"{name!r:.30}" for name in names[:_LISTED] if name)
    return f"{shown}, ..." if len(names) > _LISTED else shown


def _behind(prefix: str, found: Mapping[str, int]) -> dict[str, int]:
    """The columns called ``prob_cat`` or the like, as ``cat``."""
    parts = {name: re.match(r"([^\W_]+)[_ -](.+)", name) for name in found}
    return {part[2]: found[name] for name, part in parts.items() if part is not None and normal(part[1]) == prefix}


def _records(path: Path, columns: Columns, at: dict[str, int], *, one: bool) -> Iterator[Record]:
    for number, image, values in _rows(columns, at, one=one):
        total = sum(values) if one else 1.0
        probs = tuple(value / total for value in values) if abs(total - 1) > TOLERANCE else tuple(values)
        name, region = region_of(image)
        where = Where(str(path), "row", number)
        yield Record(where, name, bare=not is_picture(name), objects=(Seen(probs=probs),), region=region)


def _rows(columns: Columns, at: dict[str, int], *, one: bool) -> Iterator[tuple[int, str, list[float]]]:
    with closing(columns.rows()) as rows:
        for number, row in rows:
            cells = columns.fit(row, number)
            if not cells[columns.image].strip():
                if any(cell.strip() for cell in cells):
                    raise FormatError(
                        f"{columns.sheet.shown}, row {number}: no image is named; fill in or delete the row"
                    )
                continue
            yield number, unescape(cells[columns.image]), _probabilities(cells, at, columns, number, one=one)[0]


def _probabilities(
    cells: Sequence[str], at: dict[str, int], columns: Columns, number: int, *, one: bool
) -> tuple[list[float], float]:
    """The numbers of a row, and how far their digits allow their sum to be from 1; refused beyond it for one class."""
    where = f"{columns.sheet.shown}, row {number}" if number else columns.sheet.shown
    values, slack = [], TOLERANCE
    for name, column in at.items():
        cell = cells[column].strip()
        if columns.delimiter == ";":
            cell = cell.replace(",", ".")
        try:
            value = float(cell)
        except ValueError:
            value = -1.0
        if not 0 <= value <= 1 + TOLERANCE:  # NaN too
            raise FormatError(f"{where}: {name!r:.40} is {cell!r:.40}; give a probability from 0 to 1")
        if "e" not in cell and "E" not in cell:
            slack += 0.5 * 10.0 ** -min(len(cell.partition(".")[2]), 20) if "." in cell else 0.0
        values.append(value)
    if one and abs((total := sum(values)) - 1) > slack:
        raise FormatError(
            f"{where}: probabilities sum to {total:.6g}; classes exclude each other, so give the softmax, which sums "
            "to 1"
        )
    return values, slack
