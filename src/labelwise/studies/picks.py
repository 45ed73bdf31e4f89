"""The picks of each round of a simulated run, as files for other tools."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

from labelwise.campaign.records import RoundRecord, write_whole
from labelwise.contracts.oracle import Pick
from labelwise.formats.scores_csv import descending, scores_table


def write_picks(folder: Path, records: Iterable[RoundRecord], path: Callable[[str], str]) -> None:
    """Writes ``picks/round-00.csv`` and ``.json`` below a run, and so on, for each round that has none yet.

    The table is the one that SuperAnnotate reads, the other file a list of ids; both from the highest score down, or,
    where a method gives no scores, in the order chosen. Each is whole or not there.

    Args:
        folder: of the run.
        records: its rounds; those that picked nothing are passed over.
        path: what people call an item.

    Raises:
        StateError: a file cannot be written.
    """
    for record in records:
        files = {ending: folder / "picks" / f"round-{record.round:02}.{ending}" for ending in ("csv", "json")}
        if not record.picked or all(file.exists() for file in files.values()):
            continue
        picks = descending(_picks(record, path))
        write_whole(files["csv"], scores_table(picks))
        write_whole(files["json"], json.dumps([pick.id for pick in picks], indent=1).encode("ascii"))


def _picks(record: RoundRecord, path: Callable[[str], str]) -> list[Pick]:
    scores = record.scores if record.scores is not None else [None] * len(record.picked)
    pairs = zip(record.picked, scores, strict=True)
    return [Pick(item, path(item), rank, score) for rank, (item, score) in enumerate(pairs)]
