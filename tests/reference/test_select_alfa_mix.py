"""ALFA-Mix against the mixtures themselves: coefficient by coefficient, anchor by anchor, class by class."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import labelwise as lw
from labelwise.errors import ConfigError, DataError, UnmetNeed
from labelwise.selection.mixing import class_means, flip_sizes, spread_flips


def generator(seed=0):
    return np.random.default_rng(seed)


def alfa_mix(rows, k, *, weight_CD, bias_C, anchors_AD, **options):
    return spread_flips(rows, flip_sizes(rows, weight_CD, bias_C, anchors_AD), k, **options)


def softmax(logits):
    exp = np.exp(logits - logits.max())
    return exp / exp.sum()


def flips(z, weight, bias, anchors, eps):
    """Whether some mixture with the optimal coefficients (equation 6) is put into another class."""
    logits = weight @ z + bias
    answer = int(logits.argmax())
    gradient = weight.T @ (softmax(logits) - np.eye(len(bias))[answer])
    for anchor in anchors:
        difference = anchor - z
        alpha = eps * np.linalg.norm(difference) * gradient / np.linalg.norm(gradient) / difference
        mixed = alpha * anchor + (1 - alpha) * z
        if int((weight @ mixed + bias).argmax()) != answer:
            return True
    return False


def problem(count, features, classes, anchors, seed):
    rng = generator(seed)
    return {
        "rows": rng.normal(size=(count, features)),
        "weight": rng.normal(size=(classes, features)),
        "bias": rng.normal(size=classes),
        "anchors": rng.normal(size=(anchors, features)) * 2,
    }


@pytest.mark.parametrize("shape", [(60, 4, 3, 3), (60, 7, 2, 1), (60, 2, 6, 4)])
@pytest.mark.parametrize("seed", range(3))
def test_an_item_flips_exactly_from_its_size_on(shape, seed):
    given = problem(*shape, seed)
    rows, weight, bias, anchors = given.values()
    found = flip_sizes(rows, weight, bias, anchors).double().numpy()
    for z, size in zip(rows, found, strict=True):
        for eps in (0.02, 0.1, 0.3, 1.0):
            if abs(size - eps) > 1e-5 * eps:
                assert flips(z, weight, bias, anchors, eps) == (size < eps)
        if 1e-3 < size < np.inf:  # below, the lead itself is rounding
            assert flips(z, weight, bias, anchors, size * 1.001)
            assert not flips(z, weight, bias, anchors, size * 0.999)


def test_one_logit_is_a_yes_no_question():
    rows, weight, bias, anchors = problem(40, 3, 1, 2, 5).values()
    both = np.concatenate([np.zeros_like(weight), weight]), np.array([0.0, bias[0]])
    torch.testing.assert_close(flip_sizes(rows, weight, bias, anchors), flip_sizes(rows, *both, anchors))


def test_sure_items_have_a_size_too():
    """At a lead of 1000 the softmax is one-hot and its gradient zero in any float; its direction is known yet."""
    weight, bias = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]), np.zeros(3)
    found = flip_sizes([[1000.0, 0.0]], weight, bias, [[1000.0, 2000.0]])
    # towards class 1: direction (-1, 1) / sqrt 2, flips after 1000 / sqrt 2 of 2000
    assert float(found[0]) == pytest.approx(1000 / math.sqrt(2) / 2000, rel=1e-5)


def test_anchors_are_class_means():
    rows = generator(6).normal(size=(30, 4))
    labelled, labels = generator(7).permutation(30)[:12], generator(8).integers(0, 5, 12)
    expected = [rows[labelled[labels == c]].mean(0) for c in sorted(set(labels.tolist()))]
    np.testing.assert_allclose(class_means(rows, labelled, labels), expected, atol=1e-6)


def test_picks_are_items_that_flip_while_there_are_enough():
    rows, weight, bias, anchors = problem(200, 5, 4, 4, 9).values()
    eps = 0.2 / math.sqrt(5)
    movable = {i for i in range(200) if flips(rows[i], weight, bias, anchors, eps)}
    assert 10 < len(movable) < 190
    options = {"weight_CD": weight, "bias_C": bias, "anchors_AD": anchors, "rng": generator()}
    picks, unmoved = alfa_mix(rows, 9, **options)
    assert unmoved == 0
    assert set(picks.tolist()) < movable
    k = len(movable) + 7
    picks, unmoved = alfa_mix(rows, k, **options)
    assert unmoved == 7
    assert set(picks.tolist()[:-7]) == movable
    sizes = flip_sizes(rows, weight, bias, anchors)
    rest = sorted(set(range(200)) - movable, key=lambda i: float(sizes[i]))
    assert picks.tolist()[-7:] == rest[:7]


@pytest.mark.heavy
@pytest.mark.parametrize(
    "rows",
    [np.zeros((40, 3)), np.ones((40, 3)), generator(10).normal(size=(40, 3)).astype(np.float16)],
    ids=["zero rows", "all alike", "half"],
)
@pytest.mark.parametrize("classes", [1, 2, 5])
def test_the_budget_is_met(rows, classes):
    weight, bias = generator(11).normal(size=(classes, 3)), np.zeros(classes)
    for labelled, labels in (([3], [0]), (list(range(39)), [i % classes for i in range(39)]), ([], [])):
        for budget in {1, 40 - len(labelled)}:
            for head in ((weight, bias), (np.zeros_like(weight), bias)):
                picks = lw.select(
                    "alfa_mix", budget, embeddings=rows, head=head, labelled=labelled, labels=labels, seed=1
                )
                assert len(set(picks.positions.tolist()) - set(labelled)) == budget


@pytest.mark.heavy
def test_equals_take_turns():
    rows = np.ones((30, 2))
    options = {"weight_CD": np.eye(2), "bias_C": [0.0, 0.0], "anchors_AD": [[5.0, 5.0]]}
    assert len({int(alfa_mix(rows, 1, **options, rng=generator(seed))[0][0]) for seed in range(30)}) > 8
    rows = generator(12).normal(size=(80, 2))
    one, two = (alfa_mix(rows, 12, **options, rng=generator(3))[0] for _ in range(2))
    assert torch.equal(one, two)


def test_impossible_requests_are_refused():
    rows, weight, bias, anchors = problem(10, 4, 3, 2, 13).values()
    options = {"weight_CD": weight, "bias_C": bias, "anchors_AD": anchors, "rng": generator()}
    with pytest.raises(ConfigError, match="11 picks among 10"):
        alfa_mix(rows, 11, **options)
    with pytest.raises(ConfigError, match="bound is 0"):
        alfa_mix(rows, 1, **options, bound=0.0)
    with pytest.raises(DataError, match="one per item"):
        spread_flips(rows, [0.0], 1, rng=generator())
    with pytest.raises(DataError, match="anchors"):
        flip_sizes(rows, weight, bias, anchors[:0])
    with pytest.raises(DataError, match="shape"):
        flip_sizes(rows, weight[:, :3], bias, anchors)
    with pytest.raises(DataError, match=r"first positions: \[2\]"):
        flip_sizes(np.where(rows == rows[2, 1], np.nan, rows), weight, bias, anchors)
    with pytest.raises(DataError, match="1 labelled positions and 2 labels"):
        class_means(rows, [0], [1, 2])
    with pytest.raises(UnmetNeed, match="labels="):
        lw.select("alfa_mix", 1, embeddings=rows, head=(weight, bias), labelled=[1])
    with pytest.raises(UnmetNeed, match="head="):
        lw.select("alfa_mix", 1, embeddings=rows, labelled=[1], labels=[0])
