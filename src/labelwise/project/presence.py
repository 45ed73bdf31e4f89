"""Which of a project's image files are there now: disks are not mounted, files are deleted, others join the folder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from labelwise.contracts.source import Source
from labelwise.errors import StateError, few

if TYPE_CHECKING:
    from labelwise.project.opened import Opened

#: images that are looked at to tell whether the disk is there
SAMPLE = 500


def missing(source: Source, items: Sequence[str]) -> list[str]:
    """Those items whose file is not there; [] where images are not files. Cost: one ``stat`` each, nothing is read."""
    keys = source.stat_key(list(items))
    return [] if keys is None else [item for item, key in zip(items, keys, strict=True) if not key]


def refuse_absent_disk(project: Opened) -> None:
    """Stops a command that would choose among files of which most are not there.

    Raises:
        StateError: more than half of the images that may be asked about, of at most ``SAMPLE`` looked at, are gone.
    """
    pool = project.pool
    free = pool.candidates
    looked = [pool.ids[p] for p in free[:: max(1, len(free) // SAMPLE)]]
    gone = missing(project.source, looked)
    if 2 * len(gone) > len(looked):
        raise StateError(
            f"{len(gone):,} of {len(looked):,} images looked at are not there ({few(gone, 1)}): is the disk with "
            f"{str(project.source.root or project.config.images)!r:.80} mounted? If they were deleted for good, "
            "--despite-missing chooses among those that are left"
        )


def waiting(project: Opened) -> tuple[list[str], list[str]]:
    """Picks that wait for an answer: those whose image is there, and those whose image is gone; in the order chosen."""
    picks = [query.id for query in project.pool.asked.waiting(project.pool.pending)]
    gone = set(missing(project.source, picks))
    return [item for item in picks if item not in gone], [item for item in picks if item in gone]


def gone_note(gone: Sequence[str]) -> list[str]:
    """One line on picks whose image is gone; [] where there are none."""
    if not gone:
        return []
    return [
        f"{len(gone):,} of the open picks left out, as their image is gone: {few(gone)}. 'labelwise cancel' drops "
        "them with the rest, and putting the files back asks them again"
    ]
