"""The scores table ``name,entropy_value``, as SuperAnnotate's active learning wrote it and its tool reads it.

Two columns, comma, CR LF, one row for each pick, from the highest score down. The score is the strategy's own, of any
sign; higher means more wanted, whatever the second column is called. Where we differ: names that a spreadsheet would
take for a formula get a ``'`` in front (and lose it again when they are read), and rows always run down.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from labelwise.contracts.format import Format, Hints, Reads, Sniff, Writes, Writing
from labelwise.contracts.oracle import Pick
from labelwise.contracts.record import Head, Record
from labelwise.errors import ConfigError, FormatError
from labelwise.formats.answer_rows import called
from labelwise.formats.delimited import write_rows
from labelwise.formats.files import write_whole

HEADER = ("name", "entropy_value")


def descending(picks: Iterable[Pick]) -> list[Pick]:
    """From the highest score down, which for some methods is not the order chosen; that where a pick has no score."""
    chosen = sorted(picks, key=lambda pick: pick.rank)
    if any(pick.score is None for pick in chosen):
        return chosen
    return sorted(chosen, key=lambda pick: -(pick.score or 0.0))


def scores_table(picks: Iterable[Pick]) -> bytes:
    """The picks, ``descending``; ``name`` is the pick's path. A pick without score gets 0, as random selection does.

    Raises:
        FormatError: for a score that is not finite.
    """
    rows: list[tuple[str, float | str]] = [HEADER]
    for pick in descending(picks):
        score = 0.0 if pick.score is None else float(pick.score)
        if not math.isfinite(score):
            raise FormatError(f"pick {pick.id!r} has score {score}: scores must be finite to be written")
        rows.append((pick.path, score))
    return write_rows(rows).encode()


@dataclass(frozen=True)
class Superannotate(Format):
    """The scores of picks in two columns, ``name,entropy_value``, highest first; written, never read.

    Memory: the picks.
    """

    name: ClassVar[str] = "superannotate"
    title: ClassVar[str] = "scores of picks in two columns, name and entropy_value (SuperAnnotate)"
    kinds: ClassVar[frozenset[str]] = frozenset({"classes", "tags", "boxes", "masks", "points"})
    writes: ClassVar[frozenset[Writes]] = frozenset({"asked"})
    ending: ClassVar[str] = ".csv"

    def sniff(self, path: Path, use: Reads) -> Sniff:
        """Never sure: it is not read."""
        return Sniff(0.0, "it is written, not read")

    def read(self, path: Path, use: Reads, hints: Hints) -> tuple[Head, Iterator[Record]]:
        """Refuses: scores are no labels.

        Raises:
            ConfigError: always.
        """
        raise ConfigError("superannotate is written here, not read: fill in a column label and read it as csv")

    def write(self, path: Path, head: Head, records: Iterable[Record], how: Writing) -> list[str]:
        """A row for each pick; see ``scores_table``.

        Raises:
            FormatError: a score that is not finite.
            StateError: the file cannot be written.
        """
        picks = [
            Pick(
                called(record),
                record.extra.get("path") or called(record),
                record.extra.get("rank", number),
                record.extra.get("strategy_score"),
            )
            for number, record in enumerate(records)
        ]
        write_whole(path, scores_table(picks))
        return []
