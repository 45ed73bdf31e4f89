"""The contract test of learners: fit, evaluate, collect, save, load.

In a test of a learner of one's own::

    def test_it_keeps_the_contract(tmp_path):
        world = World(source, lambda: MyLearner(task), pixels(source))
        check_learner(world, tmp_path)
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import torch

from labelwise.contracts.learner import Learner
from labelwise.contracts.signal import Signal
from labelwise.contracts.task import PROMISES
from labelwise.errors import DataError
from labelwise.signals.plain import Embedding, PredictedClass, Probs
from labelwise.testing.worlds import LABELLED, Broken, World


def check_learner(world: World, folder: Path) -> None:
    """Holds the learner of a world to its contract.

    Args:
        world: makes it, and has the images.
        folder: an empty folder to work in.

    Raises:
        AssertionError: the first promise that is broken, in words.

    Cost: four trainings.
    """
    learner = world.make_learner()
    assert learner.weights is None, "before its first training a learner has no weights"
    json.dumps(dict(learner.config), allow_nan=False)  # its configuration is JSON-able
    assert world.task.provides - PROMISES - {"boxes"} <= learner.provides | {"loss"}, "it gives what its task provides"
    check_fit(world, learner)
    check_metrics(world, learner)
    check_collect(world, learner)
    check_saved(world, learner, folder)


def signals_of(learner: Learner) -> list[Signal]:
    """Plain signals that it can give."""
    return [signal for signal in (Probs(), PredictedClass(), Embedding()) if signal.fields <= learner.provides]


def _rows(world: World, learner: Learner) -> list[np.ndarray]:
    signals = signals_of(learner)
    table = learner.collect(world.examples(world.pool, labels=False), frozenset(signals), data=world.data())
    return [np.array(table[signal]) for signal in signals]


def check_fit(world: World, learner: Learner) -> None:
    """The same data and seed give the same weights, under the name that was told beforehand."""
    data, key = world.data(), learner.fit_key(world.data(), 0)
    random = torch.get_rng_state()
    report = learner.fit(data, 0)
    assert torch.equal(torch.get_rng_state(), random), "fit draws from PyTorch's global state"
    assert learner.weights == key, "weights are named by fit_key"
    assert math.isfinite(report.loss), "training diverged"
    assert report.seconds >= 0
    again = world.make_learner()
    assert again.fit_key(data, 0) == key, "the same training has the same name in another process"
    again.fit(data, 0)
    for one, other in zip(_rows(world, learner), _rows(world, again), strict=True):
        assert np.array_equal(one, other), "the same training gave other weights"
    assert learner.fit_key(world.data(world.pool[: LABELLED + 1]), 0) != key, "another label is another training"


def check_metrics(world: World, learner: Learner) -> None:
    """Measuring gives the primary metric, twice the same."""
    view = world.examples(world.pool)
    found = learner.evaluate(view)
    assert world.task.metrics().primary in found, "the primary metric of the task is measured"
    assert learner.evaluate(view) == found, "measuring changes the model"


def check_collect(world: World, learner: Learner) -> None:
    """Rows in the order of the view; what cannot be read is told and costs nothing."""
    signals = frozenset(signals_of(learner))
    assert signals, "a learner gives one of Probs, PredictedClass and Embedding at least"
    broken = world.ids(world.pool[3:5])
    view = world.examples(world.pool, labels=False, source=Broken(world.source, broken))
    table = learner.collect(view, signals, data=world.data())
    assert {*table.failed} == {*broken}, "what cannot be read is named in SignalTable.failed"
    assert table.ids == tuple(item for item in view.ids if item not in {*broken}), "the others have rows, in order"
    keys = {learner.signal_key(signal, data=world.data()) for signal in signals}
    assert len(keys) == len(signals), "each signal has a key of its own"


def check_saved(world: World, learner: Learner, folder: Path) -> None:
    """Weights come back as they were; those of another configuration do not."""
    learner.save(folder)
    again = world.make_learner()
    assert learner.weights is not None
    again.load(folder, learner.weights)
    assert again.weights == learner.weights, "what was loaded has the name that it was given"
    for one, other in zip(_rows(world, learner), _rows(world, again), strict=True):
        assert np.array_equal(one, other), "weights came back as others"
    try:
        again.load(folder / "nothing", "0" * 32)
    except (DataError, OSError):
        return
    raise AssertionError("weights that are not there were loaded")
