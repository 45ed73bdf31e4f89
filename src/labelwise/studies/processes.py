"""The processes of a study: one command at a time, several seeds at once, each in a process of its own."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import queue
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.managers import SyncManager
from pathlib import Path
from typing import Any

from labelwise.campaign.locking import alone
from labelwise.errors import ConfigError, StateError
from labelwise.processes import devices_of, drop_drafts, end_with_parent, see_one_device
from labelwise.studies.seed import SeedRuns

#: seconds between two looks at processes that are silent
_LOOK = 1.0


@contextlib.contextmanager
def alone_in(folder: Path, waiting: Callable[[str], None] = lambda message: None) -> Iterator[None]:
    """Holds a study for one command; a second one waits, and then finds all that the first has finished.

    Drafts of files whose writers were killed are deleted.

    Raises:
        StateError: the folder cannot be written.
    """
    with contextlib.ExitStack() as held:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            held.enter_context(alone(folder, f"the study in {folder}", wait=float("inf"), waiting=waiting))
        except OSError as error:
            reason = error.strerror or str(error)
            raise StateError(f"cannot write {folder}: {reason}. Choose a folder that can be written") from error
        drop_drafts(folder.rglob("*.tmp"))
        yield


def run_apart(runs: SeedRuns, seeds: Sequence[int], workers: int) -> None:
    """Runs all seeds, ``workers`` at a time; a study that is broken off goes on as if one process had run it.

    Args:
        runs: those that are finished are left alone.
        seeds: which.
        workers: processes; the cores are shared out among them, and so are GPUs where there are several.

    Raises:
        ConfigError: a learner or data that other processes cannot be given.
        StateError: a process was killed; what is finished is kept.
        LabelwiseError: whatever a seed raised; the others are given up.
    """
    parts = (runs.recipe, runs.source, runs.folder, runs.make)
    try:
        pickle.dumps(parts)
    except Exception as error:
        raise ConfigError(
            f"the study cannot be given to other processes ({error}): name learner and data in the recipe "
            "(package.module:name), or run with workers=1"
        ) from error
    context, others = multiprocessing.get_context("spawn"), set(multiprocessing.active_children())
    threads = max(1, (os.cpu_count() or 1) // workers)
    manager = SyncManager(ctx=context)
    try:
        manager.start(end_with_parent)
        with manager:
            told, devices = manager.Queue(), manager.Queue()
            for device in devices_of(workers):
                devices.put(device)
            with ProcessPoolExecutor(workers, context, see_one_device, (devices,)) as pool:
                running = [pool.submit(_run_seed, parts, seed, threads, told) for seed in seeds]
                try:
                    _listen(runs, running, told)
                except BaseException:
                    pool.shutdown(wait=False, cancel_futures=True)
                    # what they were doing is done again: nobody waits for the end of a round
                    for helper in set(multiprocessing.active_children()) - others:
                        helper.terminate()
                    raise
    except (BrokenProcessPool, EOFError, ConnectionError):  # the second and third: the one that carries words
        raise StateError(
            f"one of the {workers} processes of the study was killed, perhaps for want of memory: what is finished is "
            "kept, the same command goes on from there, with fewer --workers in less memory"
        ) from None


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
