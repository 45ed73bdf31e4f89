"""A study that goes on from its ``study.json`` alone: finished runs are taken from it, on another machine too.

A file that lies where no run lies was made elsewhere. It is kept apart before the study writes its own, so that nothing
in it is lost, whichever rows the recipe has by now.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labelwise.campaign.records import RunRecord, read_study, write_whole
from labelwise.errors import FormatError

FILE = Path("shared") / "earlier.json"


@dataclass(frozen=True)
class Earlier:
    """What was found.

    Args:
        runs: finished ones, by identity and seed.
        environment: in which they were made.
    """

    runs: Mapping[tuple[str, int], RunRecord] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)

    def has(self, run: RunRecord) -> bool:
        """Whether a run of a study is one of these, and not another training of the same."""
        found = self.runs.get((run.identity, run.seed))
        return found is not None and found.rounds == run.rounds

    def note(self, taken: int, of: int) -> str:
        """What a report says of the runs that were taken.

        Args:
            taken: how many.
            of: runs in all.
        """
        made = ", ".join(
            f"{name} {self.environment[name]}" for name in ("torch", "platform") if name in self.environment
        )
        return (
            f"{taken} of {of} runs were made before ({made or 'nobody wrote down where'}) and taken from their "
            "study.json: seconds are of that machine, and the last digits of trainings may be"
        )


def set_apart(folder: Path) -> None:
    """Keeps the ``study.json`` of a folder without runs, before another takes its place."""
    found, kept = folder / "study.json", folder / FILE
    if found.is_file() and not kept.exists() and not (folder / "runs").exists():
        write_whole(kept, found.read_bytes())


def read_earlier(folder: Path) -> Earlier:
    """The runs that were set apart; none where there are none, or where the file is no study.

    Raises:
        StateError: written by a newer labelwise.
    """
    if not (folder / FILE).is_file():
        return Earlier()
    try:
        study = read_study(folder / FILE)
    except FormatError:
        return Earlier()
    finished = [run for run in study.runs if run.finished and run.identity]
    return Earlier({(run.identity, run.seed): run for run in finished}, study.environment)
