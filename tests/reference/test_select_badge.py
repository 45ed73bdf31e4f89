"""BADGE against the algorithm on gradients that are written out: lengths, distances, and how often each set comes."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

import labelwise as lw
from labelwise.contracts.task import Outputs
from labelwise.errors import ConfigError
from labelwise.selection.seeding import plus_plus
from labelwise.signals.plain import Residual
from thorough import thorough


def generator(seed=0):
    return np.random.default_rng(seed)


def softmax(logits):
    exp = np.exp(logits - logits.max(1, keepdims=True))
    return exp / exp.sum(1, keepdims=True)


def residuals(probs, exclusive=True):
    """Gradient of the loss by the logits, entry by entry."""
    rows = np.array(probs, dtype=np.float64)
    for row in rows:
        winner = max(range(len(row)), key=lambda c: row[c])
        for c in range(len(row)):
            row[c] -= float(c == winner) if exclusive and len(row) > 1 else float(row[c] > 0.5)
    return rows


def gradients(probs, embeddings):
    """Algorithm 1, line 4, for the weights of the last layer: one row of C x D numbers for each item."""
    return np.stack([np.outer(r, h).ravel() for r, h in zip(residuals(probs), np.asarray(embeddings), strict=True)])


def sequences(rows, k):
    """Probability of every sequence of k picks: the longest row, then k-means++ by the definition."""
    start = max(range(len(rows)), key=lambda i: (rows[i] ** 2).sum())

    def extend(picked, probability):
        if len(picked) == k:
            yield tuple(picked), probability
            return
        weight = [min(((row - rows[p]) ** 2).sum() for p in picked) for row in rows]
        for i in range(len(rows)):
            if weight[i] > 0:
                yield from extend([*picked, i], probability * weight[i] / sum(weight))

    return dict(extend([start], 1.0))


def assert_drawn_with(expected, draw, trials):
    counts = Counter(draw(seed) for seed in range(trials))
    assert set(counts) <= set(expected)
    wanted = np.array(list(expected.values())) * trials
    observed = np.array([counts[s] for s in expected])
    likely = wanted > 5
    statistic = ((observed[likely] - wanted[likely]) ** 2 / wanted[likely]).sum()
    assert statistic < likely.sum() + 5 * np.sqrt(2 * likely.sum())


@pytest.mark.heavy
@thorough("trials", 300, 1000)
def test_sets_come_as_often_as_the_paper_says(trials):
    rng = generator(1)
    probs, embeddings = softmax(rng.normal(size=(7, 3)) * 2), rng.normal(size=(7, 4)) + 0.5
    expected = sequences(gradients(probs, embeddings), 3)
    assert sum(expected.values()) == pytest.approx(1)
    assert_drawn_with(
        expected,
        lambda seed: tuple(lw.select("badge", 3, probs=probs, embeddings=embeddings, seed=seed).positions.tolist()),
        trials=trials,
    )


@pytest.mark.heavy
@thorough("trials", 500, 1500)
def test_weights_after_the_first_pick_are_distances_to_it_and_not_to_the_origin(trials):
    """Four gradients on a line at 10, 0.1, 1, 0.1-turned: squared distances from the first 0, 98.01, 81, 100.01."""
    embeddings = np.array([[10.0, 0.0], [0.1, 0.0], [1.0, 0.0], [0.0, 0.1]], dtype=np.float32)
    factor = np.ones((4, 1), dtype=np.float32)
    weight = np.array([0.0, 9.9**2, 9.0**2, 100 + 0.01])
    counts = Counter(
        int(plus_plus(embeddings, 2, factor_NC=factor, first="longest", rng=generator(seed))[1])
        for seed in range(trials)
    )
    assert 0 not in counts
    share = np.array([counts[i] for i in range(4)]) / trials
    np.testing.assert_allclose(share, weight / weight.sum(), atol=0.05)


@pytest.mark.heavy
@thorough("trials", 250, 800)
@pytest.mark.parametrize("proposals", [2, 128])
def test_lengths_of_many_orders_of_magnitude(proposals, monkeypatch, trials):
    """Sure rows have gradients near zero: far from every long pick until one of them is picked, then worth nothing."""
    from labelwise.selection import seeding

    monkeypatch.setattr(seeding, "_PROPOSALS", proposals)
    factor = np.array([[1.0], [1e-6], [2e-6], [1e-3], [0.5], [0.0]])
    embeddings = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.0, 1.0], [0.0, 1.0], [1.0, 2.0]])
    rows = np.einsum("nc,nd->ncd", factor, embeddings).reshape(6, -1)
    expected = sequences(rows, 3)
    assert_drawn_with(
        expected,
        lambda seed: tuple(plus_plus(embeddings, 3, factor_NC=factor, first="longest", rng=generator(seed)).tolist()),
        trials=trials,
    )
    # the tiny ones are no duplicates of zero or of each other: given only them, they are drawn by their own distances
    tiny = [1, 2, 5]
    expected = sequences(rows[tiny] * 1e6, 3)
    assert_drawn_with(
        expected,
        lambda seed: tuple(
            plus_plus(embeddings[tiny], 3, factor_NC=factor[tiny], first="longest", rng=generator(seed)).tolist()
        ),
        trials=trials * 3 // 8,
    )


@pytest.mark.parametrize("exclusive", [True, False])
@pytest.mark.parametrize("classes", [1, 2, 5])
def test_residuals(exclusive, classes):
    probs = generator(2).random((40, classes))
    if exclusive:
        probs /= probs.sum(1, keepdims=True)
    found = Residual().compute(Outputs.of_images(torch.from_numpy(probs), exclusive=exclusive))
    np.testing.assert_allclose(found.numpy(), residuals(probs, exclusive), atol=1e-6)


def test_top_keeps_the_most_likely_classes_and_loses_what_is_said():
    probs = softmax(generator(3).normal(size=(30, 8)) * 2)
    outputs = Outputs.of_images(torch.from_numpy(probs))
    whole, kept = residuals(probs), Residual(3).compute(outputs).numpy()
    for row, few, p in zip(whole, kept, probs, strict=True):
        likely = sorted(range(8), key=lambda c: -p[c])[:3]
        np.testing.assert_allclose(few, [row[c] if c in likely else 0.0 for c in range(8)], atol=1e-6)
        lost = sum(p[c] ** 2 for c in range(8) if c not in likely)
        assert (row**2).sum() - (few**2).sum() == pytest.approx(lost, abs=1e-6)
    for many in (8, 100):
        np.testing.assert_allclose(Residual(many).compute(outputs).numpy(), whole, atol=1e-6)


def test_equally_long_gradients_take_turns():
    probs = np.full((20, 2), 0.5)
    firsts = {int(lw.select("badge", 1, probs=probs, embeddings=np.eye(20), seed=s).positions[0]) for s in range(30)}
    assert len(firsts) > 8


@pytest.mark.parametrize(
    "probs",
    [np.eye(3)[[0, 1, 2] * 10], np.full((30, 3), 1 / 3), np.ones((30, 1)), softmax(generator(4).normal(size=(30, 3)))],
    ids=["sure of all", "sure of none", "one class", "plain"],
)
def test_the_budget_is_met(probs):
    for embeddings in (generator(5).normal(size=(30, 4)), np.zeros((30, 4)), np.ones((30, 4), dtype=np.float16)):
        for labelled in ([], [3], list(range(29))):
            for budget in {1, 30 - len(labelled)}:
                picks = lw.select("badge", budget, probs=probs, embeddings=embeddings, labelled=labelled).positions
                assert len(set(picks.tolist()) - set(labelled)) == budget


def test_a_wrong_number_of_classes_is_refused():
    with pytest.raises(ConfigError, match="top must be at least 1"):
        lw.select("badge", 1, probs=[[0.5, 0.5]], embeddings=[[1.0]], top=0)


@pytest.mark.heavy
@thorough("draws", 150, 400)
@pytest.mark.parametrize("measure", ["margin", "least_confidence"])
def test_scaled_badge_is_k_means_plus_plus_on_scaled_rows(measure, draws):
    rng = np.random.default_rng(3)
    rows, probs = rng.normal(size=(60, 5)), rng.dirichlet(np.ones(4), size=60)
    ordered = np.sort(probs, axis=1)
    doubt = 1 - ordered[:, -1] + (ordered[:, -2] if measure == "margin" else 0)
    scaled = rows * doubt[:, None]
    counts = np.zeros(60)
    for seed in range(draws):
        first, second = lw.select("scaled_badge", 2, embeddings=rows, probs=probs, measure=measure, seed=seed).positions
        assert first == np.linalg.norm(scaled, axis=1).argmax()
        counts[second] += 1
    expected = ((scaled - scaled[first]) ** 2).sum(1)
    expected *= draws / expected.sum()
    likely = expected > draws / 80
    statistic = float((((counts - expected) ** 2)[likely] / expected[likely]).sum())
    assert statistic < 3 * likely.sum(), "the draws are those of D^2 sampling"
