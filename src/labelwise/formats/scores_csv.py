"""The scores table ``name,entropy_value``, as SuperAnnotate's active learning wrote it and its tool reads it.

Two columns, comma, CR LF, one row for each pick in the order they were chosen. The score is the strategy's own, of any
sign; higher means more wanted, whatever the second column is called. Where we differ: names that a spreadsheet would
take for a formula get a ``'`` in front (and lose it again when they are read), and rows always run from the most wanted
down.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable

from labelwise.contracts.oracle import Pick
from labelwise.errors import FormatError
from labelwise.formats.delimited import read_table, write_rows
from labelwise.formats.files import write_whole

HEADER = ("name", "entropy_value")


def write_scores(path: str | os.PathLike[str], picks: Iterable[Pick]) -> None:
    """Write the picks, best first; ``name`` is the pick's path. A pick without score gets 0, as random selection does.

    Raises:
        FormatError: for a score that is not finite.
        StateError: when the file cannot be written.
    """
    rows: list[tuple[str, float | str]] = [HEADER]
    for pick in sorted(picks, key=lambda pick: pick.rank):
        score = 0.0 if pick.score is None else float(pick.score)
        if not math.isfinite(score):
            raise FormatError(f"pick {pick.id!r} has score {score}: scores must be finite to be written")
        rows.append((pick.path, score))
    write_whole(path, write_rows(rows).encode())


def read_scores(path: str | os.PathLike[str]) -> list[tuple[str, float]]:
    """Names and scores in the order of the file.

    Raises:
        FormatError: for a file without these two columns, a score that is no number, or a name that comes twice.
    """
    shown = repr(os.fspath(path))
    table = read_table(path)
    name, value = table.column(HEADER[:1]), table.column(HEADER[1:])
    if name is None or value is None:
        raise FormatError(f"{shown} has columns {', '.join(table.columns)}: needed are {' and '.join(HEADER)}")
    scores: dict[str, float] = {}
    for number, row in zip(table.numbers, table.rows, strict=True):
        try:
            score = float(row[value])
        except ValueError:
            score = math.nan
        if not math.isfinite(score):
            raise FormatError(f"{shown}, row {number}: score {row[value]!r} is no finite number")
        if row[name] in scores:
            raise FormatError(f"{shown}, row {number}: {row[name]!r} stands there twice; keep one")
        scores[row[name]] = score
    return list(scores.items())
