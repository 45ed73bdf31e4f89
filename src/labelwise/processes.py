"""Processes and what they may use: several of one command (``accelerate launch``, ``torchrun``), and memory.

Every process of a command runs the same code. What decides anything is read or made by the main process and given to
the others, so that they stay in step. One process alone pays nothing and loads nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def several() -> bool:
    """Whether a launcher started more than one process."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and "RANK" in os.environ and "MASTER_ADDR" in os.environ


def is_main() -> bool:
    """Whether this process is the one that writes."""
    return not several() or os.environ["RANK"] == "0"


def on_cpu() -> bool:
    """Whether the processes have no accelerator: unless told so, accelerate takes each of them for the only one."""
    import torch

    return several() and not torch.accelerator.is_available()


def from_main(make: Callable[[], T]) -> T:
    """What ``make`` gives in the main process, in all of them; its error is raised in all of them.

    Args:
        make: called in the main process only; gives something that can be pickled.
    """
    if not several():
        return make()
    from accelerate import PartialState
    from accelerate.utils import broadcast_object_list

    PartialState(cpu=on_cpu())
    given: list[object] = [None, None]
    if is_main():
        try:
            given[0] = make()
        except Exception as error:
            given[1] = error
    broadcast_object_list(given)
    if isinstance(given[1], Exception):
        raise given[1]
    return given[0]  # type: ignore[return-value]


def share(count: int) -> range:
    """Which of ``count`` rows this process works on: every ``world``-th, from its own rank."""
    if not several():
        return range(count)
    return range(int(os.environ["RANK"]), count, int(os.environ["WORLD_SIZE"]))


def free_memory() -> int:
    """Bytes that a process may still use, as far as the system tells; a very large number where it does not."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:  # noqa: PTH123
            return next(int(line.split()[1]) << 10 for line in file if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return 1 << 62
