"""BAIT against the algorithm with every matrix written out and inverted anew at each step."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import labelwise as lw
from labelwise.errors import ConfigError, DataError
from labelwise.selection import fisher
from labelwise.selection.fisher import Form


def generator(seed=0):
    return np.random.default_rng(seed)


def bait(rows, probs, k, *, rng, labelled_L=None, **form):
    return fisher.bait(rows, probs, k, labelled_L=labelled_L, form=Form(**form), rng=rng)


def softmax(logits):
    exp = np.exp(logits - logits.max(1, keepdims=True))
    return exp / exp.sum(1, keepdims=True)


def information(h, p, likelihood, top):
    """I(x): the expectation over answers of the outer product of the loss's gradient."""
    if likelihood == "binary":
        q = p.max()
        right, wrong = (q - 1) * h, q * h  # gradients of -ln q and -ln (1 - q) by the weights
        return q * np.outer(right, right) + (1 - q) * np.outer(wrong, wrong)
    likely = sorted(range(len(p)), key=lambda c: -p[c])[: top or len(p)]
    total = np.zeros((len(p) * len(h),) * 2)
    for y in likely:
        gradient = np.outer(p - np.eye(len(p))[y], h).ravel()
        total += p[y] / p[likely].sum() * np.outer(gradient, gradient)
    return total


def objective(chosen, infos, target, ridge):
    return np.trace(np.linalg.inv(ridge * np.eye(len(target)) + sum(infos[i] for i in chosen)) @ target)


def assert_greedy(picks, rows, probs, k, labelled=(), likelihood="binary", top=None, ridge=1.0, oversample=2.0):
    """Forward to the oversampled set, backward to k, each step the best or as good; the result is what was picked."""
    infos = [information(h.astype(float), p.astype(float), likelihood, top) for h, p in zip(rows, probs, strict=True)]
    target = np.mean(infos, axis=0)
    labelled = list(labelled)
    free = [i for i in range(len(rows)) if i not in labelled]
    chosen: list[int] = []
    for _ in range(min(len(free), max(k, round(oversample * k)))):
        values = {i: objective([*labelled, *chosen, i], infos, target, ridge) for i in free if i not in chosen}
        chosen.append(min(values, key=lambda i: values[i]))
    while len(chosen) > k:
        values = {i: objective([*labelled, *(c for c in chosen if c != i)], infos, target, ridge) for i in chosen}
        chosen.remove(min(values, key=lambda i: values[i]))
    assert picks.tolist() == chosen


def data(count, features, classes, seed=0):
    rng = generator(seed)
    return rng.normal(size=(count, features)), softmax(rng.normal(size=(count, classes)) * 2)


FORMS = [("binary", None), ("categorical", None), ("categorical", 2), ("categorical", 1)]


@pytest.mark.heavy
@pytest.mark.parametrize(("likelihood", "top"), FORMS)
@pytest.mark.parametrize("oversample", [1.0, 2.0, 3.0])
def test_picks_are_those_of_the_paper(likelihood, top, oversample):
    for seed, (count, features, classes) in enumerate([(25, 4, 3), (18, 5, 2), (30, 2, 4)]):
        rows, probs = data(count, features, classes, seed)
        for labelled in ([], [1, 5, 8]):
            options = {"likelihood": likelihood, "top": top, "oversample": oversample, "ridge": 0.5}
            picks = bait(rows, probs, 5, labelled_L=labelled, rng=generator(), **options)
            assert_greedy(picks, rows, probs, 5, labelled=labelled, **options)


def test_information_is_the_hessian_of_the_loss():
    """For the softmax the expected outer product of gradients is (diag p - p p') x h h'."""
    h, p = generator(1).normal(size=3), softmax(generator(2).normal(size=(1, 4)))[0]
    expected = np.kron(np.diag(p) - np.outer(p, p), np.outer(h, h))
    np.testing.assert_allclose(information(h, p, "categorical", None), expected, atol=1e-12)


@pytest.mark.heavy
def test_features_of_any_length_and_many_picks_keep_their_digits():
    """A hundred forward picks from long features, where early gains are a million times the late ones."""
    rng = generator(3)
    rows = (rng.normal(size=(150, 6)) * [100, 30, 10, 3, 1, 0.3] + 20).astype(np.float32)
    probs = softmax(rng.normal(size=(150, 3)))
    infos = [information(h.astype(float), p, "binary", None) for h, p in zip(rows, probs, strict=True)]
    target = np.mean(infos, axis=0)
    chosen: list[int] = []
    for pick in bait(rows, probs, 100, oversample=1.0, rng=generator()).tolist():
        before = objective(chosen, infos, target, 1.0)
        values = {i: objective([*chosen, i], infos, target, 1.0) for i in range(150) if i not in chosen}
        best = min(values.values())
        assert before - values[pick] >= (before - best) * (1 - 1e-3)
        chosen.append(pick)


@pytest.mark.heavy
@pytest.mark.parametrize(("likelihood", "top"), FORMS)
def test_unkind_input(likelihood, top):
    rng = generator(4)
    rows, probs = data(24, 3, 3, 5)
    cases = {
        "all sure": (rows, np.eye(3)[rng.integers(0, 3, 24)]),
        "zero rows": (np.zeros((24, 3)), probs),
        "all alike": (np.ones((24, 3)), np.full((24, 3), 1 / 3)),
        "one class": (rows, np.ones((24, 1))),
        "yes or no": (rows, rng.random((24, 1))),
        "half": (rows.astype(np.float16), probs.astype(np.float16)),
        "every row twice": (np.repeat(rows[:12], 2, axis=0), np.repeat(probs[:12], 2, axis=0)),
    }
    for h, p in cases.values():
        for labelled in ([], [2, 3], [i for i in range(24) if i != 7]):
            for k in {1, min(5, 24 - len(labelled)), 24 - len(labelled)}:
                picks = bait(h, p, k, labelled_L=labelled, likelihood=likelihood, top=top, rng=generator()).tolist()
                assert len(picks) == len(set(picks)) == k
                assert not set(picks) & set(labelled)


def test_ties_are_broken_at_random_and_by_the_seed():
    rows, probs = np.eye(16), np.full((16, 2), 0.5)
    assert len({int(bait(rows, probs, 1, rng=generator(seed))[0]) for seed in range(40)}) > 8
    rows, probs = data(60, 4, 3)
    assert torch.equal(bait(rows, probs, 9, rng=generator(1)), bait(rows, probs, 9, rng=generator(2)))


def test_impossible_requests_are_refused():
    rows, probs = data(6, 4, 3)
    for options, message in [
        ({"likelihood": "gauss"}, "likelihood"),
        ({"top": 0}, "top is 0"),
        ({"ridge": 0.0}, "ridge is 0"),
        ({"oversample": 0.5}, "oversample is 0.5"),
        ({"memory_gb": 0.0}, "memory_gb is 0"),
        ({"likelihood": "categorical", "memory_gb": 1e-6}, "12 parameters"),
    ]:
        with pytest.raises(ConfigError, match=message):
            bait(rows, probs, 1, rng=generator(), **options)
    with pytest.raises(ConfigError, match="7 picks among 6"):
        bait(rows, probs, 7, rng=generator())
    with pytest.raises(DataError, match="6 feature rows and 5"):
        bait(rows, probs[:5], 1, rng=generator())
    with pytest.raises(DataError, match="NaN"):
        bait(np.where(rows == rows[3, 1], np.nan, rows), probs, 1, rng=generator())
    with pytest.raises(ConfigError, match="likelihood='binary'"):
        lw.select("bait", 1, embeddings=rows, probs=probs, likelihood="categorical", memory_gb=1e-6)
