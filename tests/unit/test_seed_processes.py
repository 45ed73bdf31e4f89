"""Which GPU a process of a study sees; no GPU is needed to tell."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor

import pytest

from labelwise.processes import devices_of, see_one_device


@pytest.mark.parametrize(
    ("count", "listed", "expected"),
    [
        (0, None, ["", "", ""]),
        (1, "3", ["", "", ""]),
        (2, None, ["0", "1", "0"]),
        (3, "4,7,9", ["4", "7", "9"]),
        (2, "GPU-a,GPU-b", ["GPU-a", "GPU-b", "GPU-a"]),
    ],
)
def test_processes_take_gpus_in_turn(count, listed, expected, monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: count)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if listed is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", listed)
    assert devices_of(3) == expected


def _seen(barrier: object) -> str | None:
    barrier.wait()  # both processes have to be there
    return os.environ.get("CUDA_VISIBLE_DEVICES")


@pytest.mark.heavy
def test_each_process_sees_its_own(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager:
        devices = manager.Queue()
        for device in ("5", ""):
            devices.put(device)
        barrier = manager.Barrier(2, timeout=60)
        with ProcessPoolExecutor(2, context, see_one_device, (devices,)) as pool:
            found = list(pool.map(_seen, [barrier, barrier]))
    assert sorted(map(str, found)) == ["5", "None"]
    assert "CUDA_VISIBLE_DEVICES" not in os.environ
