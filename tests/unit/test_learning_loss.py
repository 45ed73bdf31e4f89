"""Learning loss: a head that changes nothing by default, on three kinds of label, and what it says of test images."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import painted
import shapes
import tiny
from labelwise.campaign.plan import Offer
from labelwise.contracts.learner import LearnerData, Phase
from labelwise.contracts.oracle import HeldBack
from labelwise.contracts.query import Budget, Query
from labelwise.errors import ConfigError, UnmetNeed
from labelwise.learners.torch import TorchLearner
from labelwise.signals import HeadOutput
from labelwise.strategies import STRATEGIES
from labelwise.strategies.learning_loss import LossPrediction
from labelwise.testing.worlds import World, pixels


def _world(task: str) -> World:
    if task == "classification":
        source = tiny.digits(66, reference=6)
        return World(source, lambda: tiny.torch_learner(phases=(Phase(epochs=2, batch_size=5),)), pixels(source))
    made = shapes if task == "detection" else painted
    source = (shapes.Shapes if task == "detection" else painted.Painted)(24)
    return World(source, made.learner, pixels(source))


@pytest.mark.heavy
@pytest.mark.parametrize("task", ["classification", "detection", "segmentation"])
def test_a_head_detached_from_the_start_leaves_every_weight_as_it_would_be(task):
    world = _world(task)
    alone, beside = world.make_learner(), world.make_learner()
    data = world.data(world.pool[:10])
    alone.fit(data, 0)
    head = STRATEGIES.create("learning_loss").head
    report = beside.fit(data, 0, auxiliaries=(head,))
    for (name, one), other in zip(
        alone.networks.nets[0].state_dict().items(), beside.networks.nets[0].state_dict().values(), strict=True
    ):
        assert torch.equal(one, other), name
    assert 0 < report.notes["learning_loss"] < 5
    view = world.examples(world.pool[10:20])
    metrics = beside.evaluate(view)
    assert 0 <= metrics["learning_loss_ranking_accuracy"] <= 1
    assert {name: metrics[name] for name in alone.evaluate(view)} == alone.evaluate(view)
    attached = world.make_learner()
    attached.fit(data, 0, auxiliaries=(STRATEGIES.create("learning_loss", detached_from=1.0).head,))
    states = [learner.networks.nets[0].state_dict() for learner in (alone, attached)]
    assert any(not torch.equal(one, other) for one, other in zip(*(s.values() for s in states), strict=True))


@pytest.mark.heavy
def test_the_head_learns_which_images_are_hard():
    source = tiny.digits(400)
    data = tiny.learner_data(source, source.ids[:150])
    for loss in ("ranking", "kl"):
        learner = tiny.torch_learner(phases=(Phase(epochs=25, batch_size=16, lr=3e-3),))
        learner.fit(data, 0, auxiliaries=(STRATEGIES.create("learning_loss", loss=loss).head,))
        found = learner.evaluate(tiny.view(source, source.ids[150:]))
        assert found["learning_loss_ranking_accuracy"] > 0.6, loss


def test_its_picks_are_those_of_the_highest_predicted_loss_and_the_record_says_how_good_it_is(tmp_path):
    source = tiny.digits(60, test=12)
    campaign = tiny.campaign(tmp_path, source, tiny.torch_learner(), labelled=source.ids[:15], truth=source.truth)
    strategy = STRATEGIES.create("learning_loss")
    first = next(iter(campaign.rounds(strategy, HeldBack(source.truth), Budget(5), count=1)))
    assert first.scores == sorted(first.scores, reverse=True)
    assert 0 < first.metrics["learning_loss_ranking_accuracy"] < 1


@pytest.mark.parametrize(("subpool", "asked"), [("2x", 10), (7, 7), (3, 5), ("100x", 33)])
def test_a_subpool_is_a_number_or_a_multiple_of_the_budget(subpool, asked):
    query = Query(torch.arange(15), torch.arange(15, 48), 5, np.random.default_rng(0))
    thin, score = STRATEGIES.create("learning_loss", subpool=subpool).steps()
    found = thin.select(query).positions_K
    assert len(found) == asked
    assert set(found.tolist()) <= set(range(15, 48))
    assert not thin.needs.signals
    assert score.needs.pool == {HeadOutput("learning_loss")}


def test_as_published_ten_times_the_budget_is_looked_at():
    query = Query(torch.arange(15), torch.arange(15, 480), 5, np.random.default_rng(0))
    thin = STRATEGIES.create("learning_loss", preset="faithful_detection").steps()[0]
    assert len(thin.select(query).positions_K) == 50
    assert len(STRATEGIES.create("learning_loss").steps()) == 1


@pytest.mark.parametrize(
    ("preset", "grid", "width", "scale", "detached", "warm_up", "shown"),
    [
        ("default", 1, 128, 1.0, 0.0, 0.0, "mean"),
        ("faithful_classification", 1, 128, 1.0, 0.6, 0.0, "mean"),
        ("faithful_detection", 1, 128, 1.0, 1.0, 0.0, "sum"),
        ("faithful_segmentation", 6, 256, 0.01, 0.6, 0.008, "sum"),
        ("faithful_keypoints", 1, 128, 1e-4, 0.75, 0.0, "mean"),
    ],
)
def test_presets_have_the_published_constants(preset, grid, width, scale, detached, warm_up, shown):
    head = STRATEGIES.create("learning_loss", preset=preset).head
    assert (head.grid, head.width, head.scale) == (grid, width, scale)
    assert (head.detached_from, head.warm_up, head.shown, head.margin) == (detached, warm_up, shown, 1.0)
    assert head.taps == ()
    own = STRATEGIES.create("learning_loss", preset=preset, width=7, target="mean", detached_from=0.5).head
    assert (own.width, own.shown, own.detached_from) == (7, "mean", 0.5)


def test_warm_up_and_detachment_go_by_the_progress_of_the_whole_training():
    head = STRATEGIES.create("learning_loss", preset="faithful_segmentation").head
    assert [head.weight(at) for at in (0.0, 0.007, 0.008, 0.9)] == [0.0, 0.0, 0.01, 0.01]
    assert [head.detach(at) for at in (0.0, 0.59, 0.6, 0.99)] == [False, False, True, True]
    assert STRATEGIES.create("learning_loss").head.detach(0.0)
    assert not STRATEGIES.create("learning_loss", preset="faithful_detection").head.detach(0.999)


@pytest.mark.parametrize(("maps", "parameters"), [({"a": 64, "b": 128, "c": 256, "d": 512}, 123_905)])
def test_the_module_is_as_large_as_published(maps, parameters):
    module = LossPrediction(maps, 1, 128)
    assert sum(parameter.numel() for parameter in module.parameters()) == parameters


def test_maps_token_sequences_and_vectors_are_read_alike():
    torch.manual_seed(0)
    module = LossPrediction({"map": 3, "tokens": 4, "vector": 5}, 2, 6)
    said = module({"map": torch.rand(2, 3, 9, 7), "tokens": torch.rand(2, 11, 4), "vector": torch.rand(2, 5)})
    assert said.shape == (2,)


def test_the_sum_is_not_divided_by_what_an_image_holds():
    losses = {"boxes": (torch.tensor([6.0, 2.0]), torch.tensor([3.0, 1.0]))}
    assert STRATEGIES.create("learning_loss").head.target(losses).tolist() == [2.0, 2.0]
    assert STRATEGIES.create("learning_loss", target="sum").head.target(losses).tolist() == [6.0, 2.0]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"subpool": "ten"}, "give a number, or a multiple of the budget such as '10x'"),
        ({"subpool": "0x"}, "'10x'"),
        ({"subpool": 0}, "at least 1"),
        ({"detached_from": 120}, "from 0 to 1"),
        ({"warm_up": -0.1}, "from 0 to 1"),
        ({"grid": 0}, "at least 1"),
        ({"weight": -1.0}, "not be negative"),
        ({"preset": "faithful"}, "faithful_classification"),
        ({"loss": "mse"}, "ranking"),
    ],
)
def test_options_that_cannot_be_are_refused(options, said):
    with pytest.raises(ConfigError, match=said):
        STRATEGIES.create("learning_loss", **options)


def test_learners_without_heads_are_refused_before_training():
    source = tiny.digits(20)
    with pytest.raises(UnmetNeed, match="'learning_loss' trains an extra head beside the model"):
        Offer(tiny.feature_learner(source)).check([STRATEGIES.create("learning_loss")])


def test_one_label_alone_trains_without_a_number_that_is_none():
    source = tiny.digits(20)
    data: LearnerData = tiny.learner_data(source, source.ids[:1])
    learner: TorchLearner = tiny.torch_learner(model=tiny.plain_net)
    report = learner.fit(data, 0, auxiliaries=(STRATEGIES.create("learning_loss").head,))
    assert report.notes["learning_loss"] == 0
    assert math.isfinite(report.loss)
