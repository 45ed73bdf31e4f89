"""Doubts about labels against loops that follow the equations, on kind and unkind inputs."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from labelwise.errors import DataError
from labelwise.selection.label_doubt import (
    box_doubts,
    class_doubts,
    crowd_doubts,
    far_above,
    pixel_doubt,
    soft_maximum,
)


def probabilities(count, classes, seed=0, sharp=1.0):
    return np.random.default_rng(seed).dirichlet(np.full(classes, sharp), size=count)


CASES = {
    "plain": lambda: (probabilities(60, 4), np.random.default_rng(1).integers(0, 4, 60)),
    "two classes": lambda: (probabilities(40, 2), np.random.default_rng(1).integers(0, 2, 40)),
    "one class alone has labels": lambda: (probabilities(20, 3), np.zeros(20, dtype=int)),
    "all probabilities alike": lambda: (np.full((12, 3), 1 / 3), np.arange(12) % 3),
    "sure of everything": lambda: (np.eye(3)[np.arange(30) % 3], np.arange(30) % 3),
    "sure and wrong": lambda: (np.eye(3)[(np.arange(30) + 1) % 3], np.arange(30) % 3),
    "every image twice": lambda: (np.repeat(probabilities(20, 3), 2, axis=0), np.repeat(np.arange(20) % 3, 2)),
    "one image": lambda: (np.array([[0.2, 0.8]]), np.array([0])),
}


@pytest.mark.parametrize("name", CASES)
def test_class_doubts_are_those_of_the_loop(name):
    probs, labels = CASES[name]()
    found = class_doubts(probs, labels)
    for row, (p, y) in enumerate(zip(probs, labels, strict=True)):
        thresholds = {c: np.mean([q[c] for q, z in zip(probs, labels, strict=True) if z == c]) for c in set(labels)}
        reached = [c for c in sorted(thresholds) if p[c] >= thresholds[c] - 1e-12]
        likeliest = max(reached, key=lambda c: p[c]) if reached else None
        stands = likeliest is None or (y in reached and p[y] >= p[likeliest])
        assert bool(found.suspect_N[row]) == (not stands)
        assert float(found.score_N[row]) == pytest.approx(1 - p[y], abs=1e-12)


def test_a_class_that_is_seldom_seen_surely_has_a_low_threshold():
    # class 1 is hard: 0.4 is as sure as the model gets of it, and a label 0 with 0.4 for class 1 is suspect
    probs = np.array([[0.95, 0.05], [0.95, 0.05], [0.6, 0.4], [0.6, 0.4], [0.6, 0.4]])
    found = class_doubts(probs, [0, 0, 1, 1, 0])
    assert found.suspect_N.tolist() == [False, False, False, False, True]


@pytest.mark.parametrize(
    ("probs", "labels", "says"),
    [
        ([[0.5, 0.5]], [0, 1], "one for each"),
        ([[0.5, 0.5]], [2], "0 to 1"),
        ([[float("nan"), 0.5]], [0], "diverge"),
    ],
)
def test_labels_that_do_not_fit_are_refused(probs, labels, says):
    with pytest.raises(DataError, match=says):
        class_doubts(probs, labels)


# ---- several annotators ---------------------------------------------------------------------------------------------


def crowd(count=80, classes=3, seed=0):
    """Three people, of whom one guesses; some images are seen by one alone."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, count)
    said = np.full((count, 3), -1)
    for who, right in enumerate((0.95, 0.9, 0.35)):
        saw = rng.random(count) < 0.8
        wrong = (truth + rng.integers(1, classes, count)) % classes
        said[saw, who] = np.where(rng.random(count) < right, truth, wrong)[saw]
    said[(said < 0).all(1), 0] = truth[(said < 0).all(1)]
    probs = 0.7 * np.eye(classes)[truth] + 0.3 * rng.dirichlet(np.ones(classes), count)
    labels = np.array([np.bincount(row[row >= 0], minlength=classes).argmax() for row in said])
    return probs, labels, said, truth


def crowd_loop(probs, labels, said):
    count, classes = probs.shape
    spoke = said >= 0
    several = [i for i in range(count) if spoke[i].sum() > 1] or list(range(count))
    commonest = np.bincount(labels).max() / count
    agreement = np.mean([said[i, a] == labels[i] for i in several for a in range(said.shape[1]) if spoke[i, a]])

    def above(accuracy):
        return max(1 - (1 - accuracy) / max(1 - commonest, 1e-6), 1e-3)

    weights = []
    for a in range(said.shape[1]):
        pairs = [
            said[i, a] == said[i, b]
            for i in range(count)
            for b in range(said.shape[1])
            if b != a and spoke[i, a] and spoke[i, b]
        ]
        weights.append(above(np.mean(pairs) if pairs else 0.5))
    model = above(np.mean([probs[i].argmax() == labels[i] for i in several])) * math.sqrt(spoke.sum(1).mean())
    usual = np.mean(weights)
    scores = []
    for i in range(count):
        top, total = model * probs[i, labels[i]] + usual / classes, model + usual
        for a in np.flatnonzero(spoke[i]):
            q = agreement if said[i, a] == labels[i] else (1 - agreement) / (classes - 1)
            top, total = top + weights[a] * q, total + weights[a]
        scores.append(1 - top / total)
    return np.array(scores)


@pytest.mark.parametrize("seed", range(3))
def test_crowd_doubts_are_those_of_the_loop(seed):
    probs, labels, said, _ = crowd(seed=seed)
    np.testing.assert_allclose(crowd_doubts(probs, labels, said).score_N, crowd_loop(probs, labels, said), atol=1e-9)


def test_one_who_guesses_is_trusted_less_and_more_voices_leave_less_doubt():
    probs = np.full((40, 2), 0.5)
    labels = np.arange(40) % 2
    said = np.stack([labels, labels, np.where(np.arange(40) < 20, labels, 1 - labels)], axis=1)
    said[38] = [labels[38], -1, -1]
    found = crowd_doubts(probs, labels, said).score_N
    assert found[0] < found[38]  # three agree, one stands alone
    assert found[0] < found[30]  # the third disagrees


def test_a_label_that_nobody_gave_is_refused():
    with pytest.raises(DataError, match="no annotator"):
        crowd_doubts([[0.5, 0.5]], [0], [[-1, -1]])


# ---- boxes ----------------------------------------------------------------------------------------------------------


def overlap(a, b):
    width = max(0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = [(c[2] - c[0]) * (c[3] - c[1]) for c in (a, b)]
    return width * height / (sum(areas) - width * height) if width * height else 0.0


def box_loop(given, classes, boxes, said, scores):
    missed = [
        s * (1 - max([overlap(b, g) for g in given], default=0)) for b, s in zip(boxes, scores, strict=True) if s >= 0.5
    ]
    badly, swapped = [], []
    for g, c in zip(given, classes, strict=True):
        near = [overlap(g, b) for b, d, s in zip(boxes, said, scores, strict=True) if d == c and s >= 0.3]
        badly.append(1 - max(near) if near and max(near) > 0 else 0)
        other = [s * overlap(g, b) for b, d, s in zip(boxes, said, scores, strict=True) if d != c and s >= 0.5]
        own = [s * overlap(g, b) for b, d, s in zip(boxes, said, scores, strict=True) if d == c]
        swapped.append(max(0, max(other, default=0) - max(own, default=0)))
    return [pooled(missed), pooled(badly), pooled(swapped)]


def pooled(values):
    weights = [math.exp(v / 0.1) for v in values]
    return sum(v * w for v, w in zip(values, weights, strict=True)) / sum(weights) if values else 0.0


def some_boxes(count, seed):
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 20, (count, 2))
    return np.concatenate([corner, corner + rng.uniform(2, 15, (count, 2))], axis=1)


@pytest.mark.parametrize(("given", "seen"), [(5, 7), (0, 3), (4, 0), (0, 0), (1, 1), (12, 12)])
@pytest.mark.parametrize("seed", range(3))
def test_box_doubts_are_those_of_the_loop(given, seen, seed):
    rng = np.random.default_rng(seed)
    one, other = some_boxes(given, seed), some_boxes(seen, seed + 10)
    if given and seen:
        other[0] = one[0]
    classes, said, scores = rng.integers(0, 2, given), rng.integers(0, 2, seen), rng.random(seen)
    found = box_doubts(one, classes, other, said, scores)
    np.testing.assert_allclose(list(found), box_loop(one, classes, other, said, scores), atol=1e-9)
    assert 0 <= found.score <= 1


def test_each_kind_of_error_is_told_by_its_own_number():
    good = {"given_G4": [[0, 0, 4, 4]], "class_G": [0], "boxes_P4": [[0, 0, 4, 4]], "said_P": [0], "scores_P": [0.9]}
    assert box_doubts(**good).score == pytest.approx(0)
    overlooked = box_doubts(
        **good | {"boxes_P4": [[0, 0, 4, 4], [8, 8, 12, 12]], "said_P": [0, 0], "scores_P": [0.9, 0.8]}
    )
    swapped = box_doubts(**good | {"said_P": [1]})
    misplaced = box_doubts(**good | {"boxes_P4": [[2, 2, 6, 6]], "scores_P": [0.4]})
    assert [overlooked.overlooked > 0.7, overlooked.misplaced, overlooked.swapped] == [True, 0, 0]
    assert [swapped.overlooked, swapped.misplaced, swapped.swapped > 0.8] == [0, 0, True]
    assert [misplaced.overlooked, misplaced.misplaced > 0.8, misplaced.swapped] == [0, True, 0]


# ---- pixels ---------------------------------------------------------------------------------------------------------


def test_pixel_doubt_is_the_soft_maximum():
    given = np.random.default_rng(0).random(50)
    assert pixel_doubt(given) == pytest.approx(pooled((1 - given).tolist()))
    assert pixel_doubt([]) == 0.0
    assert soft_maximum(torch.tensor([0.3])) == pytest.approx(0.3)


def test_what_stands_out_is_told_and_equal_scores_are_not():
    assert far_above([0.2] * 20).tolist() == [False] * 20
    assert far_above([]).tolist() == []
    assert far_above([*np.linspace(0.1, 0.2, 20), 0.9]).tolist() == [False] * 20 + [True]
