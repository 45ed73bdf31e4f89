"""A large file of CVAT, for a process of its own."""

from __future__ import annotations

from pathlib import Path

from labelwise.contracts.format import Hints
from labelwise.formats.cvat import Cvat


def read(path: str) -> tuple[int, int]:
    """How many frames and objects it has."""
    records = list(Cvat().read(Path(path), "answers", Hints())[1])
    return len(records), sum(len(record.objects) for record in records)
