"""The processes of one command, what they share, and how much memory they take.

Of several (``accelerate launch``, ``torchrun``) every one runs the same code. What decides anything is read or made by
the main process and given to the others, so that they stay in step. One process alone pays nothing and loads nothing.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


def several() -> bool:
    """Whether a launcher started more than one process."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and "RANK" in os.environ and "MASTER_ADDR" in os.environ


def is_alive(process: int) -> bool:
    """Whether a process of this number runs on this machine."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True


def drop_drafts(files: Iterable[Path]) -> None:
    """Deletes drafts (``NAME.PROCESS.tmp``) whose writers were killed; those of processes that still run are kept."""
    for draft in files:
        writer = draft.name.split(".")[-2]
        if not (writer.isdecimal() and is_alive(int(writer))):
            draft.unlink(missing_ok=True)


def end_with_parent() -> None:
    """In a process that another one started: it ends as soon as that one does, however that ended.

    Else, after a kill of the first, helpers would work on for nobody, and then wait for ever.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="end with parent").start()


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


def reset_peak() -> None:
    """Starts a new measurement of the highest memory, where the system can (Linux)."""
    import torch

    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def peak_mb() -> float:
    """Highest memory of this process since ``reset_peak``, in MiB, a GPU's included."""
    import torch

    try:
        status = Path("/proc/self/status").read_text()
        host = next(float(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        import resource

        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        host = used / (1 << 20) if sys.platform == "darwin" else used / (1 << 10)
    return host + (torch.cuda.max_memory_allocated() / (1 << 20) if torch.cuda.is_available() else 0.0)


def devices_of(workers: int) -> list[str]:
    """The GPU of each process, in turn, as CUDA_VISIBLE_DEVICES names them; "" where there are not several."""
    import torch

    count = torch.cuda.device_count()
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = listed.split(",")[:count] if listed else [str(number) for number in range(count)]
    return [names[number % count] if count > 1 else "" for number in range(workers)]


def see_one_device(devices: Any) -> None:
    """In a new process, before it looks for GPUs: it is to find one, the next of ``devices``, and to end with us."""
    end_with_parent()
    if device := devices.get():
        os.environ["CUDA_VISIBLE_DEVICES"] = device
