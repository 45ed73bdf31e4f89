"""PPAL's first stage against the loops of the paper, and what becomes of its two stages together."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from labelwise.contracts.query import Query, Rows
from labelwise.contracts.strategy import Collected, run_steps
from labelwise.selection.objects import difficulty_weights, found_quality
from labelwise.signals.difficulty import ClassDifficulty
from labelwise.signals.units import Units, UnitUncertainty
from labelwise.strategies.ppal import PPAL

CLASSES = 3


def iou(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    inter = max(width, 0.0) * max(height, 0.0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter
    return inter / union if union > 0 else 0.0


def boxes(rng, count):
    corner = rng.random((count, 2)) * 0.7
    return np.concatenate([corner, corner + 0.05 + rng.random((count, 2)) * 0.25], axis=1)


@pytest.mark.parametrize("xi", [0.0, 0.6, 1.0])
@pytest.mark.parametrize(("found", "there"), [(6, 4), (1, 5), (5, 1), (0, 3), (3, 0), (0, 0)])
def test_quality_is_that_of_the_paper(found, there, xi):
    rng = np.random.default_rng(found * 10 + there)
    seen, real = boxes(rng, found), boxes(rng, there)
    if found and there:
        real[0] = seen[0]
    probs, classes = rng.random((found, CLASSES)), rng.integers(0, CLASSES, there)
    expected = []
    for g in range(there):
        best = 0.0
        for j in range(found):
            overlap = iou(seen[j], real[g])
            if overlap > 0:
                best = max(best, probs[j][classes[g]] ** xi * overlap ** (1 - xi))
        expected.append(best)
    given = (torch.tensor(part, dtype=torch.float32) for part in (seen, probs, real))
    got = found_quality(*given, torch.tensor(classes, dtype=torch.int64), xi=xi)
    np.testing.assert_allclose(got.numpy(), expected, atol=1e-6)


def test_boxes_that_only_touch_find_nothing():
    left, right = torch.tensor([[0.0, 0.0, 0.5, 1.0]]), torch.tensor([[0.5, 0.0, 1.0, 1.0]])
    for xi in (0.0, 0.6, 1.0):
        assert found_quality(left, torch.ones(1, 1), right, torch.tensor([0]), xi=xi).tolist() == [0.0]


@pytest.mark.parametrize(("alpha", "beta"), [(0.3, 0.2), (1.0, 0.5), (0.05, 0.2), (0.3, 0.0)])
def test_weights_are_those_of_the_paper(alpha, beta):
    difficulty = torch.linspace(0, 1, 9)
    expected = [1 + alpha * beta * math.log(1 + (math.exp(1 / alpha) - 1) * d) for d in difficulty.tolist()]
    got = difficulty_weights(difficulty, alpha=alpha, beta=beta)
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-5)
    assert float(got[0]) == 1.0
    assert float(got[-1]) == pytest.approx(1 + beta)


class World:
    """Signals of 30 drawn images, some without an object."""

    def __init__(self, seed, *, same=False):
        rng = np.random.default_rng(seed)
        counts = rng.integers(0, 5, 30)
        total = int(counts.sum())
        first = torch.tensor(np.concatenate([[0], np.cumsum(counts)]), dtype=torch.int64)
        self.probs = np.full((total, CLASSES), 0.4) if same else rng.random((total, CLASSES))
        features = np.ones((total, 4)) if same else rng.normal(size=(total, 4))
        entropy = -(self.probs * np.log(self.probs) + (1 - self.probs) * np.log1p(-self.probs)).sum(1)
        self.columns = {
            UnitUncertainty("entropy"): entropy.astype(np.float32),
            Units("scores"): self.probs.max(1).astype(np.float32),
            Units("labels"): self.probs.argmax(1),
            Units("unit_embedding"): features.astype(np.float32),
        }
        self.first, self.counts = first, counts
        self.difficulty = torch.tensor([0.1, 0.9, 0.5])

    def matrix(self, signal):
        assert isinstance(signal, ClassDifficulty)
        return self.difficulty.expand(30, -1)

    def ragged(self, signal):
        return Rows(torch.from_numpy(self.columns[signal]), self.first)

    def pick(self, strategy, budget, *, free=None, seed=0):
        free = torch.arange(30) if free is None else torch.tensor(free)
        empty = torch.empty(0, dtype=torch.int64)
        query = Query(empty, free, budget, np.random.default_rng(seed))
        return run_steps(strategy, query, lambda step, q: Collected(self, q.unlabelled_M, empty, empty))

    def scores(self, strategy):
        """Image by image, box by box."""
        found = []
        for image in range(30):
            total = 0.0
            for unit in range(int(self.first[image]), int(self.first[image + 1])):
                p = self.probs[unit]
                if p.max() <= strategy.threshold:
                    continue
                d = float(self.difficulty[p.argmax()]) if strategy.calibrate else 0.0
                a, b = strategy.alpha, strategy.beta
                weight = 1 + a * b * math.log(1 + (math.exp(1 / a) - 1) * d)
                total += weight * -sum(q * math.log(q) + (1 - q) * math.log(1 - q) for q in p)
            found.append(total)
        return found


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("strategy", [PPAL(), PPAL(calibrate=False), PPAL(threshold=0.8), PPAL(alpha=1.0, beta=3.0)])
def test_the_first_stage_keeps_the_best_by_the_formula(strategy, seed):
    world = World(seed)
    everything = world.pick(strategy, 30)
    expected = np.array(world.scores(strategy))
    np.testing.assert_allclose(everything.scores_K.numpy(), expected[everything.positions_K.numpy()], rtol=1e-5)
    assert (np.diff(everything.scores_K.numpy()) <= 0).all()
    best = set(np.argsort(-expected)[:12].tolist())
    picked = world.pick(strategy, 3)
    if strategy.threshold < 0.5:  # no ties at the edge
        assert set(picked.positions_K.tolist()) <= best
    np.testing.assert_allclose(picked.scores_K.numpy(), expected[picked.positions_K.numpy()], rtol=1e-5)


def test_hard_classes_come_first():
    world = World(0)
    world.columns[UnitUncertainty("entropy")][:] = 1.0
    world.difficulty = torch.tensor([0.0, 1.0, 0.0])
    labels = world.columns[Units("labels")]
    share = [labels[world.first[p] : world.first[p + 1]] for p in world.pick(PPAL(beta=100.0), 30).positions_K]
    hard = [int((part == 1).sum()) for part in share]
    assert hard == sorted(hard, reverse=True)


def test_images_alike_are_drawn_and_not_taken_by_position():
    world = World(1, same=True)
    world.counts[:] = 1
    picks = [tuple(sorted(world.pick(PPAL(), 3, seed=seed).positions_K.tolist())) for seed in range(8)]
    assert len(set(picks)) > 1
    assert picks[0] == tuple(sorted(world.pick(PPAL(), 3, seed=0).positions_K.tolist()))


def test_candidates_only_and_all_of_them():
    world = World(2)
    free = list(range(5, 30, 2))
    for budget in (1, 4, len(free)):
        picked = world.pick(PPAL(), budget, free=free).positions_K.tolist()
        assert len(set(picked)) == budget
        assert set(picked) <= set(free)


@pytest.mark.parametrize("options", [{"keep": 0.5}, {"alpha": 0.0}, {"beta": -1.0}, {"xi": 1.5}])
def test_bad_options_are_refused(options):
    with pytest.raises(ValueError, match="must"):
        PPAL(**options)
