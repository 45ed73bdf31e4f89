"""The best epoch instead of the last: which weights are kept, and what is refused."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

import tiny
from labelwise.errors import DataError
from labelwise.learners.best import BestOf, Judge

SOURCE = tiny.digits(120, test=60)
LABELLED, TEST = SOURCE.ids[:40], SOURCE.ids[60:]
DATA = dataclasses.replace(tiny.learner_data(SOURCE, LABELLED), judge=tiny.view(SOURCE, TEST))
ROUGH = (tiny.Phase(epochs=9, batch_size=8, optimiser="sgd", lr=0.3, momentum=0.9, schedule="constant"),)


def _judged(values, *, every=1):
    """A judge that finds these values one after another, and the nets that it was shown."""
    net, found = nn.Linear(1, 1, bias=False), iter(values)
    judge = Judge(lambda shown: next(found), every)
    epochs = (len(values) - 1) * every
    for epoch in range(epochs + 1):
        nn.init.constant_(net.weight, float(epoch))
        judge.see(net, epoch, epochs)
    judge.restore(net)
    return float(net.weight.detach())


@pytest.mark.parametrize(
    ("values", "kept"),
    [([0.1, 0.5, 0.3], 1), ([0.9, 0.5, 0.3], 0), ([0.1, 0.5, 0.5], 1), ([0.1, float("nan"), 0.2], 2)],
)
def test_the_best_and_of_equals_the_first(values, kept):
    assert _judged(values) == kept
    assert _judged(values, every=3) == 3 * kept


def test_a_net_that_was_never_any_good_keeps_its_last_weights():
    assert _judged([float("nan")] * 3) == 2


def test_the_last_epoch_is_always_measured():
    seen = []
    judge = Judge(lambda net: 0.0, 4)
    for epoch in range(7):
        judge.measure = lambda net, epoch=epoch: seen.append(epoch) or float(epoch)
        judge.see(nn.Linear(1, 1), epoch, 6)
    assert seen == [0, 4, 6]


def test_training_mode_is_put_back():
    net = nn.Linear(1, 1).train()
    Judge(lambda shown: float(not shown.training), 1).see(net, 0, 1)
    assert net.training


def test_the_kept_weights_are_at_least_as_good_as_any_that_were_measured():
    """A wild training: its last epoch is not its best."""
    learner = tiny.torch_learner(phases=ROUGH, best=BestOf("test"))
    measured = []
    inner = learner._measured
    learner._measured = lambda net, view: measured.append(inner(net, view)) or measured[-1]
    learner.fit(DATA, 3)
    accuracy = learner.evaluate(tiny.view(SOURCE, TEST))["accuracy"]
    assert len(measured) == 10
    assert accuracy == pytest.approx(max(found["accuracy"] for found in measured))
    assert accuracy > measured[-1]["accuracy"]


def test_it_is_another_training_and_the_other_keeps_its_key():
    plain, best = tiny.torch_learner(), tiny.torch_learner(best=BestOf("test", 2))
    assert "best" not in plain.config
    assert best.config["best"] == {"by": "test", "every": 2}
    assert best.judged_on == "test"
    without = tiny.learner_data(SOURCE, LABELLED)
    assert plain.fit_key(without, 0) != best.fit_key(DATA, 0)
    fewer = dataclasses.replace(DATA, judge=tiny.view(SOURCE, TEST[:30]))
    assert best.fit_key(DATA, 0) != best.fit_key(fewer, 0)


def test_what_is_refused():
    with pytest.raises(DataError, match="on validation images, and none has a label"):
        tiny.torch_learner(best=BestOf()).fit(tiny.learner_data(SOURCE, LABELLED), 0)
    with pytest.raises(ValueError, match="at least 1"):
        BestOf(every=0)


def test_a_model_before_its_first_label_is_what_training_starts_from():
    """The network that makes the first purchase is the one that is trained on it."""
    learner = tiny.torch_learner(model=tiny.plain_net)
    learner.begin(5)
    before = learner.networks.nets[0].state_dict()
    again = tiny.torch_learner(model=tiny.plain_net)
    again.fit(tiny.learner_data(SOURCE, LABELLED), 5)
    fresh = again.fresh(5).state_dict()
    assert all(torch.equal(before[name], fresh[name]) for name in before)
    assert learner.weights != again.weights
