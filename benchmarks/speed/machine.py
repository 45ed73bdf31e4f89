"""What the machine gives in this minute, and how long and how much memory a call takes."""

from __future__ import annotations

import contextlib
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


def in_turns(turns: int, *sides: Callable[[], Any]) -> list[tuple[float, Any]]:
    """Fastest seconds and last result of each side, the sides taking turns: these machines are shared."""
    best: list[tuple[float, Any]] = [(float("inf"), None)] * len(sides)
    for _ in range(turns):
        for place, side in enumerate(sides):
            started = time.perf_counter()
            result = side()
            best[place] = (min(best[place][0], time.perf_counter() - started), result)
    return best


def with_memory(call: Callable[[], Any]) -> tuple[float, float, Any]:
    """Seconds, the peak of resident memory above what was resident before (bytes), and the result."""
    before = _resident("VmRSS")
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak starts anew
    started = time.perf_counter()
    result = call()
    return time.perf_counter() - started, max(0.0, _resident("VmHWM") - before), result


def _resident(what: str) -> float:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 1024.0 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return 1024.0 * next(float(line.split()[1]) for line in lines if line.startswith(what))


def product_rate(rows: torch.Tensor) -> float:
    """Floating-point operations a second of a matrix product with blocks of these rows."""
    some, block = rows[:512].float(), rows[: min(len(rows), 32_768)].float()
    return 2.0 * block.numel() * len(some) / in_turns(5, lambda: block @ some.T)[0][0]


def bandwidth(rows: torch.Tensor) -> float:
    """Bytes a second of one pass over these rows."""
    part = rows[: max(1, 2**30 // (rows.shape[1] * rows.element_size()))]
    return part.numel() * part.element_size() / in_turns(5, lambda: part.amax())[0][0]


def describe(rows: torch.Tensor) -> str:
    """One line: device, threads, rates."""
    name = torch.cuda.get_device_name(rows.device) if rows.is_cuda else "CPU"
    return (
        f"{name}, {torch.get_num_threads()} threads: matrix product {product_rate(rows) / 1e9:.0f} GFLOP/s, "
        f"one pass over memory {bandwidth(rows) / 1e9:.1f} GB/s"
    )
