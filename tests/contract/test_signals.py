"""Isolation: a signal's value depends on weights, image, transform, its parameters and the seed; on nothing else."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch

import tiny
from labelwise.contracts.learner import Auxiliary, Learner, Phase
from labelwise.errors import UnmetNeed
from labelwise.learners.features import FeatureLearner
from labelwise.learners.imported import ImportedPredictions
from labelwise.signals import (
    SIGNALS,
    Draw,
    Dropout,
    Embedding,
    HeadOutput,
    HiddenLoss,
    Logits,
    Members,
    PredictedClass,
    Probe,
    Probs,
    Signal,
    Uncertainty,
    Views,
)
from labelwise.signals.adversary import Adversary
from labelwise.signals.curvature import Curvature
from labelwise.signals.descriptors import Descriptors
from labelwise.signals.draws import DrawProbs, DrawUncertainty
from labelwise.signals.plain import Residual
from labelwise.signals.probes import LossSlope
from labelwise.signals.slopes import Believed
from labelwise.testing import signals as promises
from labelwise.testing.worlds import LABELLED as FIRST
from labelwise.testing.worlds import World

SOURCE = tiny.digits(50, reference=6)
POOL = SOURCE.ids[:44]
LABELLED = SOURCE.ids[:FIRST]
DATA = tiny.learner_data(SOURCE, LABELLED, reference=SOURCE.ids[44:])

PASSES = (
    Dropout(draws=4),
    Dropout(draws=3, p=0.3, after=("conv",)),
    Dropout(draws=3, p=0.3, after=("conv", "hidden")),
    Views(draws=4),
    Views(draws=2, flip=False, degrees=0.0, noise=0.2),
    Members(draws=4),
    Members(draws=2, dropout=Dropout(p=0.3, after=("conv",))),
)
DRAW_MEASURES = ("bald", "mean_std", "variation_ratio", "predictive_entropy", "predictive_variance")

#: every registered signal, each with all that its parameters can make of it
EXAMPLES: dict[str, list[Signal]] = {
    "probs": [Probs()],
    "logits": [Logits()],
    "predicted_class": [PredictedClass()],
    "residual": [Residual(), Residual(top=3)],
    "embedding": [Embedding()],
    "head_output": [HeadOutput("loss_head")],
    "uncertainty": [
        Uncertainty(measure, how)
        for measure in ("entropy", "margin", "least_confidence")
        for how in ("mean", "max", "weighted")
    ],
    "draw_uncertainty": [
        *(DrawUncertainty(measure, PASSES[0]) for measure in DRAW_MEASURES),
        *(DrawUncertainty("bald", passes) for passes in PASSES[1:]),
    ],
    "draw_probs": [DrawProbs(PASSES[0]), DrawProbs(PASSES[3])],
    "hidden_loss": [HiddenLoss()],
    "loss_slope": [
        LossSlope("labelled"),
        LossSlope("reference"),
        LossSlope(curvature=Curvature("fisher", steps=2), believed=Believed("soft"), sketch=4),
    ],
    "descriptors": [
        *(Descriptors(("conv", "hidden"), label) for label in ("none", "predicted", "nearest", "nearest_joint")),
        Descriptors(label="nearest", levels="equal"),
        Descriptors(("conv:input", "head"), "trace", copies=3),
    ],
    "adversary": [Adversary(iterations=1, batch_size=4, side=16, width=2)],
}
SIGNAL_LIST = [signal for signals in EXAMPLES.values() for signal in signals]


@cache
def _world(kind: str) -> World:
    task = tiny.digits_task()
    phases = [Phase(epochs=30, batch_size=FIRST, lr=1e-2)]
    learners = {
        "torch": lambda: tiny.torch_learner(task, batch_size=16, members=2, phases=phases),
        "linear": lambda: tiny.feature_learner(SOURCE),
        "knn": lambda: tiny.feature_learner(SOURCE, head="knn"),
    }
    return World(SOURCE, learners[kind], tiny.pixels(SOURCE))


def _heads(kind: str) -> tuple[Auxiliary, ...]:
    return (tiny.LossHead(),) if kind == "torch" else ()


def _learner(kind: str) -> Learner:
    return _world(kind).learner(_heads(kind))


def _offered(learner: Learner) -> list[Signal]:
    """What a learner can give of the examples."""
    heads = {"head:loss_head"} if learner.trains_auxiliaries else set()
    return [
        signal
        for signal in SIGNAL_LIST
        if signal.fields <= learner.provides | heads
        and (not isinstance(signal, Draw) or type(signal.passes) in learner.passes)
        and (not isinstance(signal, Probe) or learner.probed_by(signal))
    ]


def _collect(learner: Learner, *signals: Signal, ids=POOL, seed: int = 0) -> dict[Signal, np.ndarray]:
    labels = any("loss" in signal.fields for signal in signals)
    table = learner.collect(tiny.view(SOURCE, ids, labels=labels), frozenset(signals), data=DATA, seed=seed)
    assert table.ids == tuple(ids)
    return {signal: np.array(table[signal]) for signal in signals}


def _alone(kind: str, signal: Signal) -> np.ndarray:
    return _ALONE.setdefault((kind, signal), _collect(_learner(kind), signal)[signal])


_ALONE: dict[tuple[str, Signal], np.ndarray] = {}

CASES = [(kind, signal) for kind in ("torch", "linear", "knn") for signal in _offered(_learner(kind))]
each_case = pytest.mark.parametrize(("kind", "signal"), CASES, ids=lambda value: str(value))


def test_every_registered_signal_is_tested_here():
    of_objects = {"units", "unit_uncertainty", "class_difficulty", "view_consistency", "box_shift"}  # ...of_objects.py
    of_pixels = {"pixel_uncertainty"}  # in test_segmentation.py
    of_points = {"unusual_pose"}  # in test_strategy_skeleton_likelihood.py
    of_two_heads = {"head_gap", "gap_map"}  # in test_multiple_instance.py
    assert set(EXAMPLES) == set(SIGNALS.names()) - of_objects - of_pixels - of_points - of_two_heads
    assert {signal for _, signal in CASES} == set(SIGNAL_LIST), "every example runs on some learner"


@pytest.mark.heavy
@pytest.mark.parametrize("kind", ["torch", "linear", "knn"])
def test_together_is_the_same_as_alone(kind):
    together = _collect(_learner(kind), *_offered(_learner(kind)))
    for signal, rows in together.items():
        np.testing.assert_array_equal(rows, _alone(kind, signal), err_msg=repr(signal))


def _atol(signal: Signal) -> float:
    """BALD is the difference of two entropies of about 2, and a slope or a trace is a sum of terms of both signs, of
    which each may be about 1: where they cancel, 1e-5 is relative to those."""
    cancels = getattr(signal, "measure", "") == "bald" or isinstance(signal, LossSlope | Descriptors)
    return 1e-6 if cancels else 1e-7


@each_case
def test_a_signal_keeps_its_contract(kind, signal):
    """Configuration, rows, company, batch, order, seed, surroundings: one by one in ``labelwise.testing.signals``."""
    promises.check_signal(signal, _world(kind), auxiliaries=_heads(kind), atol=_atol(signal))


@pytest.mark.heavy
@each_case
def test_the_seed_decides_draws_and_nothing_else(kind, signal):
    learner = _learner(kind)
    again, other = (_collect(learner, signal, seed=seed)[signal] for seed in (0, 1))
    np.testing.assert_array_equal(again, _alone(kind, signal))
    random = isinstance(signal, Adversary) or (isinstance(signal, Draw) and signal.passes != Members(draws=4))
    drawn_labels = isinstance(signal, Descriptors) and signal.label not in ("none", "predicted")
    if random:
        assert not np.array_equal(other, again)
    elif not drawn_labels:  # one of equally near reference images, or perturbations: a label or two may change
        np.testing.assert_array_equal(other, again)


@pytest.mark.heavy
def test_collecting_changes_neither_weights_nor_statistics_nor_gradients():
    learner = _learner("torch")
    before = [{key: value.clone() for key, value in net.state_dict().items()} for net in learner.networks.nets]
    modes = [module.training for net in learner.networks.nets for module in net.modules()]
    _collect(learner, *_offered(learner))
    learner.evaluate(tiny.view(SOURCE, POOL))
    for net, state in zip(learner.networks.nets, before, strict=True):
        for key, value in net.state_dict().items():
            assert torch.equal(value, state[key]), key
        assert all(parameter.grad is None for parameter in net.parameters())
        assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())
    assert [module.training for net in learner.networks.nets for module in net.modules()] == modes
    assert not any(modes)


@pytest.mark.heavy
def test_collecting_leaves_global_random_states_alone():
    before = torch.get_rng_state()
    _collect(_learner("torch"), *_offered(_learner("torch")), seed=9)
    assert torch.equal(torch.get_rng_state(), before)


def test_draws_differ_from_one_another():
    """A constant mask would pass as 'seeded': the draws of one signal must disagree."""
    learner = _learner("torch")
    for passes in PASSES:
        spread = _collect(learner, DrawUncertainty("predictive_variance", passes))
        assert (next(iter(spread.values())) > 0).any(), passes


def test_more_draws_go_on_from_fewer():
    """Draw t is the same draw however many there are."""
    learner = _learner("torch")
    seen = []
    for count in (1, 2):
        rows = _collect(learner, DrawUncertainty("predictive_entropy", Dropout(draws=count)))
        seen.append(next(iter(rows.values())))
    one_again = _collect(learner, DrawUncertainty("predictive_entropy", Dropout(draws=1)), seed=0)
    np.testing.assert_array_equal(seen[0], next(iter(one_again.values())))
    assert not np.array_equal(seen[0], seen[1])


@pytest.mark.parametrize("kind", ["torch", "linear", "knn"])
def test_keys_differ_between_signals_and_weights(kind):
    learner = _learner(kind)
    keys = [learner.signal_key(signal, data=DATA) for signal in _offered(learner)]
    assert len(set(keys)) == len(keys)


def test_every_parameter_is_part_of_the_key():
    keys = [signal.key for signal in SIGNAL_LIST]
    assert len(set(keys)) == len(keys)
    for name in SIGNALS.names():
        assert SIGNALS.get(name)().key.startswith(f"{name}@{SIGNALS.get(name).version}:")


def test_the_key_of_draws_and_probes_holds_the_seed_and_what_they_were_prepared_with():
    learner = _learner("torch")
    draw, slope, plain = DrawUncertainty("bald", PASSES[0]), LossSlope(), Probs()
    for signal in (draw, slope):
        assert learner.signal_key(signal, data=DATA, seed=0) != learner.signal_key(signal, data=DATA, seed=1)
    assert learner.signal_key(plain, data=DATA, seed=0) == learner.signal_key(plain, data=DATA, seed=1)
    more = tiny.learner_data(SOURCE, SOURCE.ids[: FIRST + 1])
    assert learner.signal_key(slope, data=DATA) != learner.signal_key(slope, data=more)
    assert learner.signal_key(plain, data=DATA) == learner.signal_key(plain, data=more)


def test_imported_predictions_give_the_plain_signals():
    rng = np.random.default_rng(0)
    probs = rng.dirichlet(np.ones(10), size=len(POOL)).astype(np.float32)
    vectors = rng.normal(size=(len(POOL), 4)).astype(np.float32)
    learner = ImportedPredictions(tiny.digits_task(), POOL[::-1], probs=probs[::-1], embeddings=vectors[::-1])
    signals = [Probs(), PredictedClass(), Embedding(), Uncertainty("entropy")]
    together = _collect(learner, *signals)
    for signal in signals:
        np.testing.assert_array_equal(together[signal], _collect(learner, signal)[signal])
    np.testing.assert_array_equal(together[Probs()], probs)
    np.testing.assert_array_equal(together[Embedding()], vectors)
    with pytest.raises(UnmetNeed, match="make no Dropout passes"):
        _collect(learner, DrawUncertainty())


def test_what_a_frozen_feature_source_cannot_give_is_refused():
    with pytest.raises(UnmetNeed, match="gives embeddings and nothing else"):
        tiny.pixels(SOURCE).collect(tiny.view(SOURCE, POOL), frozenset({Probs()}))
    learner = _learner("linear")
    assert isinstance(learner, FeatureLearner)
    np.testing.assert_array_equal(
        _alone("linear", Embedding()),
        np.array(
            learner.source.collect(tiny.view(SOURCE, POOL), frozenset({Embedding("frozen")}))[Embedding("frozen")]
        ),
    )
