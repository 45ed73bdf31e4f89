"""Runs campaigns in processes that get killed: a server that forks one process for each attempt.

One line of JSON in, one line of JSON out. The server imports everything once, so that an attempt costs no start-up; the
child is a process of its own, and its death is a real SIGKILL, sent by itself at a named point of the code or by the
server after some time.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

# what an attempt would otherwise import anew each time
import accelerate  # noqa: F401
import faiss  # noqa: F401
import safetensors.torch  # noqa: F401
import torch
import torchmetrics.functional.classification  # noqa: F401

import tiny
from labelwise.campaign.events import Added, Item, Labelled, Skipped, Unlabelled
from labelwise.campaign.fits import Fits
from labelwise.campaign.loop import Campaign
from labelwise.campaign.setting import Setting
from labelwise.campaign.store import Store
from labelwise.config import RecipeConfig, parse
from labelwise.contracts.input import InputSpec
from labelwise.contracts.learner import Examples, Phase
from labelwise.contracts.oracle import HeldBack
from labelwise.contracts.query import Budget
from labelwise.data.open import open_source
from labelwise.data.views import with_labels
from labelwise.learners.backbones import Pixels
from labelwise.learners.features import FeatureLearner, FeatureSource
from labelwise.learners.networks import Networks
from labelwise.learners.torch import TorchLearner
from labelwise.learners.training import Training
from labelwise.project.project import Project
from labelwise.project.setup import init
from labelwise.project.taking_back import Which
from labelwise.signals.cache import SignalCache, _Kept
from labelwise.signals.probes import LossSlope
from labelwise.strategies import STRATEGIES
from labelwise.studies.comparison import Comparison
from labelwise.tasks.classification import Classification

ROUNDS, BATCH, INITIAL = 3, 6, 12


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


# ---- where to die ---------------------------------------------------------------------------------------------------


class Deaths:
    """Dies once at each point, or at those only; which points were used up is remembered in a folder."""

    def __init__(self, folder: Path, only: str) -> None:
        self.folder, self.only = folder, only
        folder.mkdir(exist_ok=True)
        self.calls: dict[str, int] = {}

    def at(self, point: str) -> None:
        mark = self.folder / point
        if point.startswith(self.only) and not mark.exists():
            mark.touch()
            die()

    def nth(self, point: str, number: int) -> None:
        self.calls[point] = self.calls.get(point, 0) + 1
        if self.calls[point] == number:
            self.at(f"{point}-{number}")


def _around(owner: Any, name: str, before: Callable[[], None], after: Callable[[], None]) -> None:
    original = getattr(owner, name)

    def call(*args: Any, **kwargs: Any) -> Any:
        before()
        result = original(*args, **kwargs)
        after()
        return result

    setattr(owner, name, call)


def arm(folder: Path, state: Callable[[], str], only: str = "") -> None:
    """Dies around each write, in the middle of training, of reading and of keeping rows, once in each state."""
    deaths = Deaths(folder, only)

    def point(name: str) -> Callable[[], None]:
        return lambda: deaths.at(f"{name} {state()}")

    def once_in(name: str, number: int) -> Callable[[], None]:
        calls = {"n": 0}

        def count() -> None:
            calls["n"] += 1
            if calls["n"] == number:
                deaths.at(f"{name} {state()}")

        return count

    _around(Store, "append", point("before writing"), point("after writing"))
    _around(Training, "_learn", once_in("in training", 3), lambda: None)
    _around(Fits, "keep", point("trained, not kept"), lambda: None)
    for number in (1, 2):
        _around(Path, "replace", lambda: None, once_in(f"after file {number}", number))
    _around(_Kept, "add", point("before rows"), point("after rows"))
    _around(Networks, "outputs", once_in("in the pass", 2), lambda: None)
    _around(LossSlope, "prepare", lambda: None, point("scoring, the direction known"))
    _around(LossSlope, "compute", once_in("scoring, in the second batch", 2), lambda: None)
    _around(Pixels, "__call__", once_in("in the backbone", 2), lambda: None)


# ---- what to run ----------------------------------------------------------------------------------------------------


def _source(images: str, labels: dict[str, str]) -> Any:
    return with_labels(open_source(images), labels, classes=tiny.CLASSES) if labels else open_source(images)


def _task() -> Classification:
    return Classification(tiny.CLASSES, InputSpec((16, 16), 1), "shift")


def _setting(kind: str, source: Any, folder: Path, warm: bool) -> Setting:
    task = _task()
    backbone = Pixels(side=8, axes=8, channels=1, folder=folder / "backbone")
    backbone.prepare(Examples(source, tuple(source.ids)))
    features = FeatureSource(backbone, SignalCache(folder / "features"), batch_size=32)
    if kind != "features":
        learner: Any = TorchLearner(task, "lenet", phases=(Phase(epochs=3, batch_size=8, lr=3e-3),), batch_size=32)
    else:
        learner = FeatureLearner(task, features)
    return Setting(
        source, task, learner, SignalCache(folder / "signals"), fits=folder / "fits", frozen=features, seed=4, warm=warm
    )


STRATEGIES_OF = {
    "torch": partial(STRATEGIES.create, "margin", noise="power"),
    "features": partial(STRATEGIES.create, "prefilter", keep=3.0),
    "influence": partial(STRATEGIES.create, "influence", hessian="fisher", iterations=3, batch="greedy", sketch=8),
}


def run_campaign(
    kind: str, images: str, labels: dict[str, str], folder: str, warm: bool, deaths: str | None, only: str = ""
) -> None:
    where = Path(folder)
    where.mkdir(exist_ok=True)
    campaigns: list[Campaign] = []
    if deaths:
        arm(
            Path(deaths),
            lambda: f"round {campaigns[0].pool.round} {len(campaigns[0].pool.labelled)}" if campaigns else "new",
            only,
        )
    source = _source(images, labels)
    store = Store(where, create=True)
    if not len(store.pool()):
        added = [Added(Item(item, item)) for item in source.ids]
        store.append([*added, *(Labelled(item, source.truth[item]) for item in source.ids[:INITIAL])])
    campaign = Campaign(store, _setting(kind, source, where, warm))
    campaigns.append(campaign)
    list(campaign.rounds(STRATEGIES_OF[kind](), HeldBack(source.truth), Budget(BATCH), count=ROUNDS))


def run_comparison(
    recipe: dict[str, Any], images: str, labels: dict[str, str], folder: str, deaths: str | None
) -> None:
    if deaths:
        arm(Path(deaths), lambda: "of the study")
    source = _source(images, labels)
    ids = source.ids
    source.roles = dict.fromkeys(ids[-20:], "test")
    Comparison(parse(RecipeConfig, recipe, where="test"), source, Path(folder)).run()


def run_people(images: str, labels: dict[str, str], folder: str, rounds: int = 3) -> None:
    """People's loop as a script that looks at the state and does what comes next: killed anywhere, it goes on.

    A test set is held out. In each round the first pick is skipped and asked again later, and the label of the second
    is taken back.
    """
    where = Path(folder)
    if not (where / ".labelwise/state.db").exists() or not (where / "labelwise.yaml").exists():
        init(images, project=where, classes=tiny.CLASSES, labels="none", features={"backbone": "pixels"}, seed=3)
    while True:
        project = Project(where)
        pool = project.pool
        asked = {query.round: [] for query in pool.queries()}
        for query in pool.queries():
            asked[query.round].append(query.id)
        taken_back = sum(isinstance(event, Unlabelled) for event in project.store.events())
        if len(pool.pending):
            pending = [pool.ids[p] for p in pool.pending]
            first = {items[0] for items in asked.values()}
            skipped_before = {event.id for event in project.store.events() if isinstance(event, Skipped)}
            skip = (first & set(pending)) - skipped_before
            rows = [f"{item},{'skip' if item in skip else labels[item]}" for item in pending]
            (where / "answers.csv").write_text("\n".join(["id,label", *rows]) + "\n")
            project.import_labels(where / "answers.csv")
        elif taken_back < len(asked) and not len(pool.skipped) and len(asked) > 1:
            number = sorted(asked)[taken_back]
            project.unlabel(Which([asked[number][1]]))
        elif len(pool.skipped):
            project.restore(Which(all=True))
        elif not asked:
            project.holdout(8)
        elif len(asked) <= rounds:
            project.suggest(BATCH, strategy="margin")
        else:
            break
        project.store.close()
    project.fit()
    project.store.close()


JOBS = {"campaign": run_campaign, "comparison": run_comparison, "people": run_people}


# ---- the server -----------------------------------------------------------------------------------------------------


def attempt(job: str, arguments: dict[str, Any], after: float | None) -> dict[str, Any]:
    """Forks, runs, perhaps kills after some seconds; says how it ended."""
    started = time.perf_counter()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            torch.set_num_threads(1)
            JOBS[job](**arguments)
            code = 0
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            os._exit(code)
    if after is not None:
        time.sleep(after)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return {
        "ended": -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status),
        "seconds": time.perf_counter() - started,
    }


def serve() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(attempt(request["job"], request["arguments"], request["after"])), flush=True)


if __name__ == "__main__":
    serve()
