"""One command at a time: the lock of a project or a study."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import filelock

from labelwise.errors import StateError


@contextlib.contextmanager
def alone(
    folder: Path, what: str, *, wait: float = 600.0, waiting: Callable[[str], None] = lambda message: None
) -> Iterator[None]:
    """Holds a folder for one command at a time; the lock of a killed process is gone with it.

    A process that holds it may hold it again.

    Args:
        folder: where ``lock`` and ``lock.holder`` lie.
        what: the command works on, in words: "this project".
        wait: seconds to wait for another command to finish.
        waiting: told once, in words, when there is something to wait for.

    Raises:
        StateError: another command still holds the folder after ``wait`` seconds.
        OSError: the folder cannot be written.
    """
    lock, holder = filelock.FileLock(folder / "lock", is_singleton=True), folder / "lock.holder"
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        who = holder.read_text() if holder.exists() else "unknown"
        patience = f"waiting up to {wait:.0f} s" if wait < float("inf") else "waiting until it ends"
        waiting(f"another labelwise command (process {who}) is working on {what}; {patience}")
        try:
            lock.acquire(timeout=wait if wait < float("inf") else -1)
        except filelock.Timeout:
            raise StateError(
                f"another labelwise command (process {who}) still works on {what} after {wait:.0f} s: "
                "let it finish or stop it, then try again"
            ) from None
    try:
        holder.write_text(str(os.getpid()))
        yield
    finally:
        lock.release()
