"""Several seeds of a study at once, each in a process of its own; what they tell comes back to the one that began."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import queue
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Any

from labelwise.errors import ConfigError
from labelwise.processes import devices_of, see_one_device
from labelwise.studies.seed import SeedRuns

#: seconds between two looks at processes that are silent
_LOOK = 1.0


def run_apart(runs: SeedRuns, seeds: Sequence[int], workers: int) -> None:
    """Runs all seeds, ``workers`` at a time; a study that is broken off goes on as if one process had run it.

    Args:
        runs: those that are finished are left alone.
        seeds: which.
        workers: processes; the cores are shared out among them, and so are GPUs where there are several.

    Raises:
        ConfigError: a learner or data that other processes cannot be given.
        LabelwiseError: whatever a seed raised; the others are given up.
    """
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager:
        told = manager.Queue()
        parts = (runs.recipe, runs.source, runs.folder, runs.make)
        try:
            pickle.dumps(parts)
        except Exception as error:
            raise ConfigError(
                f"the study cannot be given to other processes ({error}): name learner and data in the recipe "
                "(package.module:name), or run with workers=1"
            ) from error
        threads = max(1, (os.cpu_count() or 1) // workers)
        devices = manager.Queue()
        for device in devices_of(workers):
            devices.put(device)
        with ProcessPoolExecutor(workers, context, see_one_device, (devices,)) as pool:
            running = [pool.submit(_run_seed, parts, seed, threads, told) for seed in seeds]
            try:
                _listen(runs, running, told)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def _listen(runs: SeedRuns, running: Sequence[Future[None]], told: Any) -> None:
    """Passes on what the processes tell, until all are done or one has failed."""
    hear: dict[str, Callable[..., None]] = {"round": runs.on_round, "run": runs.on_run}
    while True:
        alive = [seed for seed in running if not seed.done()]
        try:
            while True:
                kind, *what = told.get(timeout=_LOOK if alive else 0)
                hear[kind](*what)
        except queue.Empty:
            pass
        for seed in running:
            if seed.done():
                seed.result()
        if not alive:
            return


def _run_seed(parts: tuple[Any, ...], seed: int, threads: int, told: Any) -> None:
    import torch

    torch.set_num_threads(threads)
    recipe, source, folder, make = parts
    runs = SeedRuns(
        recipe,
        source,
        folder,
        make,
        on_round=lambda *what: told.put(("round", *what)),
        on_run=lambda *what: told.put(("run", *what)),
    )
    for _ in runs.of(seed):
        pass
