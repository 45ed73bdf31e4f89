"""What every learner promises, checked for those that train."""

from __future__ import annotations

import pytest

import painted
import shapes
from labelwise.contracts.learner import Phase
from labelwise.learners.features import FeatureLearner
from labelwise.learners.torch import TorchLearner
from labelwise.testing.learners import check_learner
from labelwise.testing.worlds import World, digits, digits_world, pixels


def _features(head: str) -> World:
    source = digits()
    features, task = pixels(source), digits_world().task
    return World(source, lambda: FeatureLearner(task, features, head=head), features)


def _ensemble() -> World:
    world = digits_world()
    phases = (Phase(epochs=1, batch_size=16),)
    made = world.make_learner()
    assert isinstance(made, TorchLearner)
    return World(
        world.source, lambda: TorchLearner(world.task, "lenet_small", phases=phases, members=2), pixels(world.source)
    )


def _boxes() -> World:
    source = shapes.Shapes(66, reference=6)
    return World(source, lambda: shapes.learner(phases=(Phase(epochs=1, batch_size=16),)), pixels(source))


def _masks() -> World:
    source = painted.Painted(66, reference=6)
    return World(source, lambda: painted.learner(phases=(Phase(epochs=1, batch_size=16),)), pixels(source))


WORLDS = {
    "network": lambda: World(digits(), digits_world().make_learner, pixels(digits())),
    "ensemble": _ensemble,
    "linear head": lambda: _features("linear"),
    "k-NN head": lambda: _features("knn"),
    "detector": _boxes,
    "segmenter": _masks,
}


@pytest.mark.parametrize("name", WORLDS)
def test_a_learner_keeps_its_contract(name, tmp_path):
    check_learner(WORLDS[name](), tmp_path)
