"""How long work tells of itself."""

from __future__ import annotations

from collections.abc import Callable

#: called with (what is going on, done, total)
Progress = Callable[[str, int, int], None]


def silent(stage: str, done: int, total: int) -> None:
    """Progress that nobody listens to."""
