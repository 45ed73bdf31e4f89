"""Isolation where an image has many units or none: signals of a detector depend on their own image and nothing else."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

import shapes
from labelwise.learners.torch import TorchLearner
from labelwise.signals import Dropout, Embedding, Members, Signal, Uncertainty, Units, UnitUncertainty, Views
from labelwise.signals.consistency import BoxShift, ViewConsistency
from labelwise.signals.difficulty import ClassDifficulty
from labelwise.signals.draws import DrawUncertainty
from labelwise.signals.probes import LossSlope

REDUCTIONS = ("mean", "max", "sum", "top_k", "weighted")
FIELDS = ("unit_embedding", "probs", "boxes", "scores", "labels")
SIGNALS: list[Signal] = [
    *(Uncertainty("entropy", how) for how in REDUCTIONS),
    Uncertainty("margin", "top_k", top=2),
    Uncertainty("least_confidence", "max", empty="first"),
    Embedding(),
    Embedding("objects"),
    *(Units(field) for field in FIELDS),
    *(UnitUncertainty(measure) for measure in ("entropy", "margin", "least_confidence")),
    ClassDifficulty(),
    ClassDifficulty(xi=0.0),
    ViewConsistency(),
    ViewConsistency(Views(draws=3)),
    BoxShift(Views(draws=2, flip=False, degrees=0.0, noise=(0.1, 0.4))),
    DrawUncertainty("bald", Dropout(draws=2)),
    DrawUncertainty("mean_std", Dropout(draws=2, p=0.2, after=("middle", "head"))),
    DrawUncertainty("predictive_entropy", Views(draws=3), "max"),
    DrawUncertainty("bald", Members(draws=2), "sum"),
    LossSlope("labelled"),
]


@cache
def _world() -> tuple[shapes.Shapes, TorchLearner, Any]:
    source = shapes.Shapes(36)
    learner = shapes.learner(members=2, batch_size=36)
    data = shapes.learner_data(source, source.ids[:20])
    learner.fit(data, 0)
    return source, learner, data


def _collect(*signals: Signal, ids=None, seed: int = 0, batch_size: int = 36) -> dict[Signal, Any]:
    source, learner, data = _world()
    learner.batch_size = batch_size
    table = learner.collect(shapes.view(source, ids, labels=False), frozenset(signals), data=data, seed=seed)
    return dict(table.columns)


def _rows(column: Any) -> list[np.ndarray]:
    if isinstance(column, tuple):
        values, offsets = column
        return [values[a:b] for a, b in pairwise(offsets)]
    return list(column)


@cache
def _whole() -> dict[Signal, list[np.ndarray]]:
    return {signal: _rows(column) for signal, column in _collect(*SIGNALS).items()}


def _assert_same(found: list[np.ndarray], expected: list[np.ndarray]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        # logits near zero: 1e-5 relative is of the numbers that the network adds up, which are about one
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.heavy
@pytest.mark.parametrize("size", [1, 7])
def test_the_batch_is_of_no_account(size):
    found = _collect(*SIGNALS, batch_size=size)
    for signal in SIGNALS:
        _assert_same(_rows(found[signal]), _whole()[signal])


@pytest.mark.heavy
@pytest.mark.parametrize("signal", SIGNALS, ids=repr)
def test_together_is_the_same_as_alone(signal):
    ids = _world()[0].ids[::-3]
    alone = _rows(_collect(signal, ids=ids)[signal])
    _assert_same(alone, _whole()[signal][::-3])


def test_units_of_an_item_come_in_one_order():
    whole = _whole()
    counts = [len(rows) for rows in whole[Units("probs")]]
    assert sum(counts) > 0
    for field in FIELDS:
        assert [len(rows) for rows in whole[Units(field)]] == counts
    for scores, labels, probs in zip(*(whole[Units(field)] for field in ("scores", "labels", "probs")), strict=True):
        assert (np.diff(scores) <= 0).all()
        assert labels.dtype == np.int64
        assert probs.shape[1] == 3


def test_reductions_are_those_of_the_objects():
    """The twin: from the distributions of the objects, image by image."""
    whole = _whole()
    expected: dict[str, list[float]] = {how: [] for how in REDUCTIONS}
    for probs, scores in zip(whole[Units("probs")], whole[Units("scores")], strict=True):
        # the members' mean, as the learner has it: probabilities of yes/no questions
        entropy = -(probs * np.log(probs) + (1 - probs) * np.log1p(-probs)).sum(1)
        none = len(entropy) == 0
        top = np.sort(entropy)[::-1][:10]
        expected["mean"].append(-np.inf if none else entropy.mean())
        expected["max"].append(-np.inf if none else entropy.max())
        expected["sum"].append(-np.inf if none else entropy.sum())
        expected["top_k"].append(-np.inf if none else top.mean())
        expected["weighted"].append(-np.inf if none else (entropy * scores).sum() / scores.sum())
    for how in REDUCTIONS:
        np.testing.assert_allclose(whole[Uncertainty("entropy", how)], expected[how], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("empty", "place"), [("last", 0), ("first", -1)])
def test_an_image_without_objects_takes_its_declared_value(empty, place):
    source, learner, _ = _world()
    signal = Uncertainty("entropy", "mean", empty=empty)
    blank = {**source.images, source.ids[3]: np.zeros_like(source.images[source.ids[3]])}
    kept, source.images = source.images, blank
    threshold = learner.task
    try:
        learner.task = learner.networks.__dict__["task"] = shapes.task(threshold=0.4)
        rows = _collect(signal, Units("scores"))
    finally:
        source.images = kept
        learner.task = learner.networks.__dict__["task"] = threshold
    counts = np.diff(rows[Units("scores")][1])
    assert counts[3] == 0
    settled = signal.settle(torch.from_numpy(rows[signal]))
    assert torch.isfinite(settled).all()
    order = settled.argsort()
    assert counts[int(order[place])] == 0
    assert (settled[counts == 0] == settled[3]).all()


def test_members_judge_the_boxes_of_the_first():
    source, learner, _ = _world()
    view = shapes.view(source, labels=False)
    together = learner.collect(view, frozenset({Units("probs"), Units("boxes")}))
    first = TorchLearner(shapes.task(), shapes.narrow)
    first._networks = type(learner.networks)(learner.task, learner.networks.nets[:1], learner.networks.heads[:1])
    alone = first.collect(view, frozenset({Units("probs"), Units("boxes")}))
    np.testing.assert_allclose(together.ragged(Units("boxes"))[0], alone.ragged(Units("boxes"))[0], atol=1e-6)
    assert not np.allclose(together.ragged(Units("probs"))[0], alone.ragged(Units("probs"))[0])


def test_keys_tell_signals_apart():
    learner = _world()[1]
    keys = [learner.signal_key(signal, data=_world()[2]) for signal in SIGNALS]
    assert len(set(keys)) == len(keys)


def test_units_are_as_unsure_as_their_distributions():
    whole = _whole()
    for probs, values in zip(whole[Units("probs")], whole[UnitUncertainty("entropy")], strict=True):
        expected = -(probs * np.log(probs) + (1 - probs) * np.log1p(-probs)).sum(1)
        np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-5)


def test_a_class_is_as_hard_as_its_labelled_objects_were_found_badly():
    """The twin: object by object, from what the first network says of the labelled images."""
    source, learner, data = _world()
    first = TorchLearner(shapes.task(), shapes.narrow)
    first._networks = type(learner.networks)(learner.task, learner.networks.nets[:1], learner.networks.heads[:1])
    table = first.collect(
        shapes.view(source, data.labelled.ids, labels=False), frozenset({Units("probs"), Units("boxes")})
    )
    probs, boxes = (_rows(table.columns[Units(field)]) for field in ("probs", "boxes"))
    sums, counts = [0.0] * 3, [0] * 3
    for image, target in enumerate(data.labelled.targets):
        for corners, number in zip(target.corners_G4.tolist(), target.class_G.tolist(), strict=True):
            best = 0.0
            for p, box in zip(probs[image], boxes[image], strict=True):
                width = min(corners[2], box[2]) - max(corners[0], box[0])
                height = min(corners[3], box[3]) - max(corners[1], box[1])
                inter = max(width, 0) * max(height, 0)
                areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (corners, box)]
                overlap = inter / (sum(areas) - inter)
                best = max(best, p[number] ** 0.6 * overlap**0.4 if overlap > 0 else 0.0)
            sums[number] += best
            counts[number] += 1
    expected = [1 - total / count for total, count in zip(sums, counts, strict=True)]
    rows = np.stack(_whole()[ClassDifficulty()])
    np.testing.assert_allclose(rows, np.tile(expected, (36, 1)), atol=1e-4)
    assert 0 < min(expected) < max(expected) < 1


def test_the_objects_of_an_image_as_one_vector():
    whole = _whole()
    rows = zip(whole[Units("unit_embedding")], whole[Units("scores")], whole[Embedding("objects")], strict=True)
    for features, scores, found in rows:
        expected = (features * scores[:, None]).sum(0) / scores.sum() if len(scores) else np.zeros(found.shape)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
