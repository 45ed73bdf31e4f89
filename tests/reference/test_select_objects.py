"""Numbers of objects against loops: boxes that say the same, rare classes, two looks that agree."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from labelwise.contracts.passes import Passes, Views
from labelwise.contracts.query import Query, Rows
from labelwise.contracts.strategy import Collected, run_steps
from labelwise.contracts.task import Batch, Outputs
from labelwise.errors import ConfigError, NonFiniteScore
from labelwise.learners.passes import changed_view
from labelwise.selection.objects import balance_weights, consistency, distinct_objects, point_consistency
from labelwise.signals.consistency import BoxShift, ViewConsistency
from labelwise.signals.units import Units, UnitUncertainty
from labelwise.strategies import STRATEGIES
from labelwise.strategies.entropy_nms import EntropyNMS
from labelwise.strategies.flip_consistency import FlipConsistency


def stays_of(values, classes, features, first, alike):
    """Image by image, from the highest value down."""
    kept = [False] * len(values)
    for image in range(len(first) - 1):
        units = sorted(range(first[image], first[image + 1]), key=lambda unit: (-values[unit], unit))
        chosen: list[int] = []
        for unit in units:
            twin = False
            for other in chosen:
                length = np.linalg.norm(features[unit]) * np.linalg.norm(features[other])
                cosine = features[unit] @ features[other] / length if length else 0.0
                twin = twin or (classes[unit] == classes[other] and cosine > alike)
            if not twin:
                chosen.append(unit)
                kept[unit] = True
    return kept


@pytest.mark.heavy
@pytest.mark.parametrize("alike", [-0.5, 0.0, 0.5, 0.9])
@pytest.mark.parametrize("counts", [[5, 0, 3, 8, 1], [0, 0], [1], [20]])
@pytest.mark.parametrize("kind", ["random", "twins", "ties", "zero"])
def test_objects_that_say_the_same(counts, alike, kind):
    rng = np.random.default_rng(sum(counts))
    total = sum(counts)
    values, classes, features = rng.random(total), rng.integers(0, 2, total), rng.normal(size=(total, 3))
    if kind == "twins":
        features = features[rng.integers(0, max(1, total // 3), total)] if total else features
    if kind == "ties":
        values[:] = 0.5
    if kind == "zero" and total:
        features[0] = 0
    first = np.concatenate([[0], np.cumsum(counts)])
    given = (torch.tensor(values), torch.tensor(classes), torch.tensor(features, dtype=torch.float32))
    got = distinct_objects(*given, torch.tensor(first), alike=alike)
    assert got.tolist() == stays_of(values, classes, features, first.tolist(), alike)


def test_rare_classes_weigh_more_and_labels_one_on_average():
    counts = [90, 9, 0, 1]
    expected = [(100 + 4) / (4 * (n + 1)) for n in counts]
    got = balance_weights(torch.tensor(counts))
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-6)
    assert balance_weights(torch.zeros(3, dtype=torch.int64)).tolist() == [1.0, 1.0, 1.0]


def bits(p, q):
    """Jensen-Shannon divergence of two distributions."""
    total = 0.0
    for a, b in zip(p, q, strict=True):
        m = (a + b) / 2
        total += (a * math.log2(a / m) if a else 0) / 2 + (b * math.log2(b / m) if b else 0) / 2
    return total


@pytest.mark.parametrize("exclusive", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_two_looks_agree_as_in_the_paper(exclusive, seed):
    rng = np.random.default_rng(seed)
    corner = rng.random((12, 2)) * 0.5
    boxes = np.concatenate([corner, corner + 0.1 + rng.random((12, 2)) * 0.3], axis=1)
    again = np.clip(boxes + rng.normal(0, 0.08, boxes.shape), 0, 1)
    again[:, 2:] = np.maximum(again[:, 2:], again[:, :2])
    probs = [rng.dirichlet(np.ones(4), 12) if exclusive else rng.random((12, 3)) for _ in range(2)]
    boxes[0], probs[0][0], probs[1][0] = again[0], probs[0][1], probs[0][1]
    probs[0][2] = [1, 0, 0, 0] if exclusive else [1, 0, 1]
    expected = []
    for a, b, p, q in zip(boxes, again, *probs, strict=True):
        shared = max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
        union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
        if exclusive:
            sure, apart = (max(p[:-1]) + max(q[:-1])) / 2, bits(p, q)
        else:
            sure = (max(p) + max(q)) / 2
            apart = max(bits([x, 1 - x], [y, 1 - y]) for x, y in zip(p, q, strict=True))
        expected.append(shared / union + sure * (1 - apart))
    given = (torch.tensor(part, dtype=torch.float32) for part in (boxes, probs[0], again, probs[1]))
    np.testing.assert_allclose(consistency(*given, exclusive=exclusive).numpy(), expected, atol=1e-5)


def outputs(boxes, probs, items, size=3):
    given = torch.tensor(boxes, dtype=torch.float32)
    return Outputs(size, torch.tensor(items), torch.tensor(probs), exclusive=False, extra={"boxes": given})


def test_an_image_is_worth_its_object_nearest_to_the_base():
    still, box = [[0.0, 0.0, 1.0, 1.0]] * 3, [0.0, 0.0, 1.0, 0.5]
    first = outputs(still, [[0.9], [0.5], [0.3]], [0, 0, 2])
    again = outputs([still[0], box, still[2]], [[0.9], [0.5], [0.3]], [0, 0, 2])
    signal = ViewConsistency()
    state = signal.start(first)
    state = signal.step(state, first)  # the view that changes nothing
    rows = signal.finish(signal.step(state, again))
    m = [1 + 0.9, 0.5 + 0.5, 1 + 0.3]
    np.testing.assert_allclose(rows.numpy(), [-min(abs(m[0] - 1.3), abs(m[1] - 1.3)), -np.inf, 0.0], atol=1e-6)
    settled = signal.settle(rows)
    assert torch.isfinite(settled).all()
    assert int(settled.argmin()) == 1
    (step,) = FlipConsistency(empty="first").steps()
    (wanted,) = step.needs.pool
    assert int(wanted.settle(rows).argmax()) == 1


def _overlap(a, b):
    shared = max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


@pytest.mark.parametrize("classes", [False, True])
def test_boxes_that_move_under_noise_box_by_box(classes):
    rng = np.random.default_rng(0)
    items, scores = [0, 0, 0, 1, 3, 3], rng.random(6) * 0.9 + 0.05
    corner = rng.random((6, 2)) * 0.5
    boxes = np.concatenate([corner, corner + 0.2], axis=1)
    moved = [np.clip(boxes + rng.normal(0, size, boxes.shape), 0, 1) for size in (0.01, 0.03, 0.06)]
    looks = [
        Outputs(
            4, torch.tensor(items), torch.tensor(scores)[:, None], exclusive=False, extra={"boxes": torch.tensor(b)}
        )
        for b in (boxes, *moved)
    ]
    looks[0].extra["scores"] = torch.tensor(scores)
    signal = BoxShift(classes=classes, empty="first")
    state = signal.start(looks[0])
    for look in looks[1:]:
        state = signal.step(state, look)
    rows = signal.finish(state)
    for image in (0, 1, 3):
        mine = [unit for unit in range(6) if items[unit] == image]
        stable = [sum(_overlap(boxes[unit], b[unit]) for b in moved) / 3 for unit in mine]
        mean = sum(scores[u] * s for u, s in zip(mine, stable, strict=True)) / sum(scores[u] for u in mine)
        expected = -mean + (1 - min(scores[u] for u in mine) if classes else 0)
        assert float(rows[image]) == pytest.approx(expected, abs=1e-6)
    assert rows[2] == -torch.inf
    assert int(signal.settle(rows).argmax()) == 2


def test_each_level_of_noise_is_a_pass_of_its_own():
    (step,) = STRATEGIES.create("localization_stability", levels=[0.5, 2.0]).steps()
    (signal,) = step.needs.pool
    assert isinstance(signal.passes, Passes)
    assert signal.passes.draws == 2
    still = Batch(torch.zeros(2, 3, 32, 32))
    for draw, level in enumerate((0.5, 2.0)):
        seen = changed_view(still, signal.passes, 0, draw)
        assert float(seen.images.std()) == pytest.approx(level, rel=0.05)
        assert torch.equal(seen.images[0], seen.images[1])
        assert torch.equal(seen.moved, torch.eye(2, 3))
    for levels in ([], [0.1, 0.0], [float("inf")], [-1.0]):
        with pytest.raises(ConfigError, match="refuses"):
            STRATEGIES.create("localization_stability", levels=levels)


def test_of_points_what_both_looks_have_in_the_same_peaks_counts():
    rng = np.random.default_rng(0)
    first, again = rng.dirichlet(np.ones(5), (2, 6))
    expected = []
    for p, q in zip(first.tolist(), again.tolist(), strict=True):
        apart = bits(p, q)
        sure = (max(p[:-1]) + max(q[:-1])) / 2
        expected.append(sum(map(min, p, q)) + sure * (1 - apart))
    given = [torch.tensor(part, dtype=torch.float32) for part in (first, again)]
    np.testing.assert_allclose(point_consistency(*given).numpy(), expected, atol=1e-5)
    looks = [Outputs(2, torch.tensor([0, 0, 0, 1, 1, 1]), part) for part in given]
    signal = ViewConsistency()
    rows = signal.finish(signal.step(signal.step(signal.start(looks[0]), looks[0]), looks[1]))
    near = -np.abs(np.array(expected) - 1.3)
    np.testing.assert_allclose(rows.numpy(), [near[:3].max(), near[3:].max()], atol=1e-5)


def test_views_that_change_nothing_are_refused():
    for views in (Views(draws=1, degrees=0.0, noise=0.0), Views(draws=4, flip=False, degrees=0.0, noise=0.0)):
        with pytest.raises(ValueError, match="changes nothing"):
            ViewConsistency(views)


class World:
    """Objects of 20 drawn images, some without any."""

    def __init__(self, seed=0):
        rng = np.random.default_rng(seed)
        counts = rng.integers(0, 6, 20)
        total = int(counts.sum())
        self.first = np.concatenate([[0], np.cumsum(counts)])
        self.columns = {
            UnitUncertainty("entropy"): rng.random(total).astype(np.float32),
            Units("scores"): rng.random(total).astype(np.float32),
            Units("labels"): rng.integers(0, 3, total),
            Units("unit_embedding"): rng.normal(size=(total, 2)).astype(np.float32),
        }

    def ragged(self, signal):
        return Rows(torch.from_numpy(self.columns[signal]), torch.from_numpy(self.first))

    def everything(self, strategy):
        empty = torch.empty(0, dtype=torch.int64)
        counts = torch.tensor([50, 5, 0])
        query = Query(empty, torch.arange(20), 20, np.random.default_rng(0), class_counts_C=counts)
        return run_steps(strategy, query, lambda step, q: Collected(self, q.unlabelled_M, empty, empty))


@pytest.mark.parametrize("reduction", ["sum", "mean", "max", "top_k"])
@pytest.mark.parametrize("alike", [0.3, 1.0])
@pytest.mark.parametrize("balance", [False, True])
def test_images_are_scored_by_what_their_objects_say_once(reduction, alike, balance):
    world = World()
    strategy = EntropyNMS(reduction=reduction, top=2, alike=alike, balance=balance, threshold=0.3)
    weight = [(55 + 3) / (3 * (n + 1)) if balance else 1.0 for n in (50, 5, 0)]
    values, scores, labels, features = world.columns.values()
    heard = np.nonzero(scores > 0.3)[0]
    worth = np.array([values[unit] * weight[labels[unit]] for unit in heard])
    images = np.repeat(np.arange(20), np.diff(world.first))[heard]
    first = np.searchsorted(images, np.arange(21))
    stays = stays_of(worth, labels[heard], features[heard], first.tolist(), alike)
    expected: dict[int, float] = {}
    for image in range(20):
        left = sorted((worth[i] for i in range(first[image], first[image + 1]) if stays[i]), reverse=True)
        if left:
            by = {"sum": sum(left), "mean": np.mean(left), "max": left[0], "top_k": np.mean(left[:2])}
            expected[image] = by[reduction]
    found = world.everything(strategy)
    got = dict(zip(found.positions_K.tolist(), found.scores_K.tolist(), strict=True))
    for image, value in expected.items():
        assert got[image] == pytest.approx(value, rel=1e-5)
    assert all(got[image] < min(expected.values()) for image in set(range(20)) - set(expected))


def test_a_diverged_model_is_not_passed_over():
    world = World()
    world.columns[UnitUncertainty("entropy")][3] = np.nan
    with pytest.raises(NonFiniteScore):
        world.everything(EntropyNMS())


@pytest.mark.parametrize(
    "make", [lambda: EntropyNMS(top=0), lambda: EntropyNMS(alike=2.0), lambda: FlipConsistency(3.0)]
)
def test_bad_options_are_refused(make):
    with pytest.raises(ValueError, match="must"):
        make()
