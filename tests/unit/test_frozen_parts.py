"""Parts of a network that do not learn: by a phase, or by the network itself."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

import tiny
from labelwise.contracts.learner import Phase
from labelwise.errors import ConfigError
from labelwise.learners.best import BestOf

SOURCE = tiny.digits(60, test=20)
DATA = tiny.learner_data(SOURCE, SOURCE.ids[:40])
PHASE = Phase(epochs=3, batch_size=10, lr=1e-2)


class Parts(nn.Module):
    """A trunk with statistics and dropout, and a head."""

    def __init__(self, frozen: bool = False):
        super().__init__()
        self.trunk = nn.Sequential(nn.Conv2d(1, 4, 3, stride=4), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5))
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
        self.trunk.requires_grad_(not frozen)

    def forward(self, images):
        return self.head(self.trunk(images))


def _trained(phase, *, frozen=False, data=DATA, **options):
    learner = tiny.torch_learner(model=lambda: Parts(frozen), phases=(phase,), **options)
    before = {name: tensor.clone() for name, tensor in learner.fresh(0).state_dict().items()}
    learner.fit(data, 0)
    after = learner.networks.nets[0]
    moved = {name for name, tensor in after.state_dict().items() if not torch.equal(tensor, before[name])}
    return after, moved


TRUNK = {f"trunk.{name}" for name in ("0.weight", "0.bias", "1.weight", "1.bias")}
STATISTICS = {f"trunk.1.{name}" for name in ("running_mean", "running_var", "num_batches_tracked")}
HEAD = {"head.1.weight", "head.1.bias"}


@pytest.mark.parametrize("choice", [{"trainable": ("head",)}, {"frozen": ("trunk",)}])
def test_statistics_of_a_frozen_trunk_stay_as_they_are(choice):
    net, moved = _trained(dataclasses.replace(PHASE, **choice))
    assert moved == HEAD
    assert all(parameter.requires_grad for parameter in net.parameters()), "what a phase froze is free again"


def test_a_part_that_learns_in_part_is_in_training_mode():
    _, moved = _trained(dataclasses.replace(PHASE, frozen=("trunk.0",)))
    assert moved == HEAD | STATISTICS | {"trunk.1.weight", "trunk.1.bias"}


def test_what_the_network_froze_stays_frozen_unless_it_is_named():
    net, moved = _trained(PHASE, frozen=True)
    assert moved == HEAD
    assert {name for name, parameter in net.named_parameters() if not parameter.requires_grad} == TRUNK
    for named in ({"rates": (("trunk", 1e-3),)}, {"trainable": ("trunk", "head")}):
        net, moved = _trained(dataclasses.replace(PHASE, **named), frozen=True)
        assert moved == HEAD | TRUNK | STATISTICS
        assert not net.trunk[0].weight.requires_grad, "what the network froze is frozen again"


def test_a_later_phase_frees_what_an_earlier_one_froze():
    frozen = dataclasses.replace(PHASE, frozen=("trunk",))
    learner = tiny.torch_learner(model=Parts, phases=(frozen, PHASE))
    before = learner.fresh(0).trunk[0].weight.clone()
    learner.fit(DATA, 0)
    assert not torch.equal(learner.networks.nets[0].trunk[0].weight, before)


def test_measuring_epochs_on_the_way_leaves_a_frozen_part_in_eval_mode():
    judged = dataclasses.replace(DATA, judge=tiny.view(SOURCE, SOURCE.ids[40:]))
    _, moved = _trained(dataclasses.replace(PHASE, frozen=("trunk",)), data=judged, best=BestOf("test"))
    assert moved <= HEAD


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ({"frozen": ("trnk",)}, "frozen: no parameter starts with 'trnk': the model's parts are head, trunk"),
        ({"trainable": ("hed",)}, "trainable: no parameter starts with 'hed'"),
        ({"rates": (("hed", 1e-3),)}, "rates: no parameter starts with 'hed'"),
        ({"rates": (("trunk", 1e-3), ("trunk.0", 1e-4))}, "rates: no parameter starts with 'trunk.0'"),
        ({"frozen": ("trunk", "head")}, "nothing of the model learns"),
    ],
)
def test_prefixes_that_fit_nothing_are_refused(choice, words):
    with pytest.raises(ConfigError, match=words):
        _trained(dataclasses.replace(PHASE, **choice))
