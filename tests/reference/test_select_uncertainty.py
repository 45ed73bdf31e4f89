"""Uncertainties and draws against loops that follow the formulas in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from labelwise.errors import ConfigError, DataError
from labelwise.selection import arrays, draws, uncertainty


def plogp(p: float) -> float:
    return -p * math.log(p) if p > 0 else 0.0


def slow_entropy(row, exclusive):
    if exclusive and len(row) > 1:
        return sum(plogp(p) for p in row)
    return sum(plogp(p) + plogp(1 - p) for p in row)


def slow_margin(row, exclusive):
    if exclusive and len(row) > 1:
        first, second = sorted(row, reverse=True)[:2]
        return 1 - (first - second)
    return max(1 - abs(2 * p - 1) for p in row)


def slow_least_confidence(row, exclusive):
    if exclusive and len(row) > 1:
        return 1 - max(row)
    return max(min(p, 1 - p) for p in row)


def softmax_rows(rng, units, classes, sharpness=1.0):
    logits = rng.normal(size=(units, classes)) * sharpness
    e = np.exp(logits - logits.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def prob_cases():
    rng = np.random.default_rng(0)
    yield "random", softmax_rows(rng, 50, 7)
    yield "underflow", softmax_rows(rng, 50, 7, 500.0)
    yield "two classes", softmax_rows(rng, 20, 2)
    yield "one class", rng.random((20, 1))
    yield "one class, sure", np.ones((3, 1))
    yield "one-hot", np.eye(4)
    yield "uniform (ties)", np.full((3, 5), 0.2)
    yield "one unit", softmax_rows(rng, 1, 3)
    yield "no unit", np.empty((0, 3))


@pytest.mark.heavy
@pytest.mark.parametrize("exclusive", [True, False])
@pytest.mark.parametrize(
    ("fast", "slow"),
    [
        (uncertainty.entropy, slow_entropy),
        (uncertainty.margin, slow_margin),
        (uncertainty.least_confidence, slow_least_confidence),
    ],
)
@pytest.mark.parametrize(("name", "probs"), list(prob_cases()))
def test_uncertainty_is_its_formula(fast, slow, name, probs, exclusive):
    expected = [slow(row, exclusive) for row in probs.tolist()]
    before = probs.copy()
    np.testing.assert_allclose(fast(probs, exclusive=exclusive), expected, atol=1e-12)
    np.testing.assert_array_equal(probs, before)
    single = fast(torch.tensor(probs, dtype=torch.float32), exclusive=exclusive)
    assert single.dtype == torch.float32
    np.testing.assert_allclose(single, expected, atol=2e-6)
    assert torch.isfinite(single).all()


@pytest.mark.parametrize("measure", [uncertainty.entropy, uncertainty.margin, uncertainty.least_confidence])
def test_half_precision_is_computed_in_single(measure):
    half = softmax_rows(np.random.default_rng(1), 30, 6).astype(np.float16)
    found = measure(half)
    assert found.dtype == torch.float32
    np.testing.assert_array_equal(found, measure(half.astype(np.float32)))


def test_blocks_do_not_show(monkeypatch):
    probs = torch.from_numpy(softmax_rows(np.random.default_rng(2), 1000, 5))
    whole = uncertainty.entropy(probs)
    monkeypatch.setattr(arrays, "_CPU_BLOCK_BYTES", 4 * 5 * 100)
    assert torch.equal(uncertainty.entropy(probs), whole)


@pytest.mark.parametrize("bad", [np.ones(3), np.ones((3, 0)), np.ones((3, 2), dtype=int), np.ones((2, 2, 2))])
def test_what_is_no_matrix_of_probabilities_is_refused(bad):
    with pytest.raises(DataError, match="probabilities"):
        uncertainty.entropy(bad)


def test_memory_map_is_read_where_it_lies(tmp_path):
    path = tmp_path / "probs.npy"
    np.save(path, softmax_rows(np.random.default_rng(3), 10, 4).astype(np.float32))
    mapped = np.load(path, mmap_mode="r")
    tensor = arrays.as_tensor(mapped)
    assert tensor.data_ptr() == mapped.ctypes.data
    np.testing.assert_array_equal(uncertainty.entropy(mapped), uncertainty.entropy(np.array(mapped)))


def test_as_tensor_accepts_what_torch_alone_does_not():
    base = np.arange(6.0)
    assert arrays.as_tensor(base[::-1]).tolist() == [5, 4, 3, 2, 1, 0]
    assert arrays.as_tensor(base.astype(">f8")).tolist() == base.tolist()
    assert arrays.as_tensor([1.0, 2.0]).dtype == torch.float32
    assert arrays.as_tensor(base[::2]).tolist() == [0, 2, 4]
    frozen = base.copy()
    frozen.flags.writeable = False
    assert arrays.as_tensor(frozen).tolist() == base.tolist()
    with pytest.raises(DataError, match="numbers"):
        arrays.as_tensor(np.array(["a", "b"]))
    weights = torch.ones(2, requires_grad=True)
    assert not arrays.as_tensor(weights).requires_grad


def test_squared_norms_in_half_precision_do_not_overflow():
    rows = np.full((3, 512), 200.0, dtype=np.float16)
    np.testing.assert_allclose(arrays.squared_norms(rows), 512 * 200.0**2)
    rows[1, 7] = np.nan
    with pytest.raises(DataError, match=r"1 of 3 .*\[1\]"):
        arrays.squared_norms(rows)


# Draws


def draw_cases():
    rng = np.random.default_rng(4)
    yield "random", np.stack([softmax_rows(rng, 20, 5, 2.0) for _ in range(7)])
    yield "two classes", np.stack([softmax_rows(rng, 20, 2) for _ in range(4)])
    yield "one class", rng.random((5, 10, 1))
    yield "one draw", softmax_rows(rng, 6, 3)[None]
    yield "draws agree", np.repeat(softmax_rows(rng, 6, 3)[None], 5, 0)
    yield "draws disagree", np.stack([np.eye(3)[[0, 0]], np.eye(3)[[1, 0]]])
    yield "votes tie", np.full((3, 2, 2), 0.5)


def slow_draws(draws_TUC, exclusive):
    """Every measure from all draws at once, unit by unit."""
    count, units, classes = draws_TUC.shape
    single = exclusive and classes > 1
    out = {name: [] for name in ("predictive_entropy", "bald", "predictive_variance", "mean_std", "variation_ratio")}
    for u in range(units):
        mean = draws_TUC[:, u].mean(0)
        total = slow_entropy(mean, exclusive)
        out["predictive_entropy"].append(total)
        out["bald"].append(total - np.mean([slow_entropy(draws_TUC[t, u], exclusive) for t in range(count)]))
        variances = [np.var(draws_TUC[:, u, c]) for c in range(classes)]
        out["predictive_variance"].append(np.mean(variances))
        out["mean_std"].append(np.mean(np.sqrt(variances)))
        if single:
            winners = [int(np.argmax(draws_TUC[t, u])) for t in range(count)]
            out["variation_ratio"].append(1 - max(winners.count(c) for c in range(classes)) / count)
        else:
            yes = [(draws_TUC[:, u, c] > 0.5).sum() for c in range(classes)]
            out["variation_ratio"].append(max(min(v, count - v) for v in yes) / count)
    return out


@pytest.mark.parametrize("exclusive", [True, False])
@pytest.mark.parametrize(("name", "draws_TUC"), list(draw_cases()))
def test_draws_fold_to_what_all_draws_at_once_give(name, draws_TUC, exclusive):
    state = draws.fold(draws_TUC, exclusive=exclusive)
    for measure, expected in slow_draws(draws_TUC, exclusive).items():
        found = getattr(draws, measure)(state)
        np.testing.assert_allclose(found, expected, atol=2e-7, err_msg=measure)
        assert (found >= 0).all()


def test_draws_that_agree_have_exactly_no_spread():
    row = torch.tensor([[0.9999, 0.0001]])
    state = draws.fold([row] * 9)
    assert float(draws.mean_std(state)) == 0.0
    assert float(draws.predictive_variance(state)) == 0.0
    assert float(draws.bald(state)) < 1e-7


def test_step_leaves_the_state_before_it_as_it_was():
    first = draws.step(draws.start(2, 2), [[0.5, 0.5], [1.0, 0.0]])
    kept = [getattr(first, part).clone() for part in ("mean_UC", "spread_UC", "entropy_U", "votes_UC")]
    draws.step(first, [[0.1, 0.9], [0.0, 1.0]])
    assert all(
        torch.equal(getattr(first, p), k)
        for p, k in zip(("mean_UC", "spread_UC", "entropy_U", "votes_UC"), kept, strict=True)
    )


def test_only_the_parts_asked_for_are_kept():
    state = draws.fold(np.full((2, 3, 2), 0.5), parts=("votes",))
    assert state.mean_UC is None
    assert state.spread_UC is None
    assert state.entropy_U is None
    assert draws.variation_ratio(state).tolist() == [0, 0, 0]
    with pytest.raises(ConfigError, match="mean"):
        draws.bald(state)
    with pytest.raises(ConfigError, match="no draw"):
        draws.bald(draws.start(2, 2))
    with pytest.raises(ConfigError, match="unknown part"):
        draws.start(2, 2, parts=("median",))
    with pytest.raises(DataError, match="no draw"):
        draws.fold([])
    with pytest.raises(DataError, match="shape"):
        draws.step(draws.start(2, 2), np.full((3, 2), 0.5))
    with pytest.raises(DataError, match="shape"):
        draws.step(draws.start(2, 2, parts=("entropy",)), np.full((3, 2), 0.5))
