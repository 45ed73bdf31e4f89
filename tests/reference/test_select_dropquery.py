"""DropQuery against its definition, mask by mask."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from labelwise.errors import ConfigError, DataError
from labelwise.selection import dropout
from labelwise.selection.clustering import kmeans_picks


def generator(seed=0):
    return np.random.default_rng(seed)


def problem(count=60, width=12, classes=4, seed=0):
    rng = generator(seed)
    return (
        rng.normal(size=(count, width)).astype(np.float32),
        rng.normal(size=(classes, width)),
        rng.normal(size=classes),
    )


def slow_disagreements(rows, weight, bias, rng, passes, rate):
    """One image and one pass after the other, with the dropout of ``torch.nn`` written out."""

    def predicted(z):
        logits = weight @ z + bias
        return int(logits[0] > 0) if len(logits) == 1 else int(logits.argmax())

    found = []
    for row in rows.astype(float):
        masks = rng.random((passes, len(row)), dtype=np.float32) >= rate
        found.append(sum(predicted(np.where(mask, row / (1 - rate), 0)) != predicted(row) for mask in masks))
    return found


@pytest.mark.parametrize("classes", [1, 2, 5])
@pytest.mark.parametrize(("passes", "rate"), [(1, 0.5), (3, 0.75), (8, 0.1)])
@pytest.mark.parametrize("masks", [16 << 20, 4000])
def test_disagreements_are_those_of_the_loop(classes, passes, rate, masks, monkeypatch):
    monkeypatch.setattr(dropout, "_MASKS", masks)
    rows, weight, bias = problem(classes=classes)
    found = dropout.disagreements(rows, (weight, bias), passes=passes, rate=rate, rng=generator(3))
    expected = slow_disagreements(rows, weight, bias, generator(3), passes, rate)
    assert found.tolist() == expected
    assert 0 < sum(expected) < passes * len(rows)


def test_only_candidates_are_looked_at():
    rows, weight, bias = problem()
    some = [3, 50, 7, 20]
    expected = dropout.disagreements(rows[some], (weight, bias), passes=9, rng=generator())
    rows[np.setdiff1d(np.arange(60), some)] = np.nan
    assert torch.equal(
        dropout.disagreements(rows, (weight, bias), candidates_M=some, passes=9, rng=generator()), expected
    )


def test_rows_of_zeros_and_a_head_that_sees_nothing_never_change_their_class():
    rows, weight, bias = problem()
    assert not dropout.disagreements(np.zeros_like(rows), (weight, bias), rng=generator()).any()
    assert not dropout.disagreements(rows, (np.zeros_like(weight), bias), rng=generator()).any()


def test_picks_are_the_clusters_of_those_that_change_in_more_than_half_of_the_passes():
    rows, weight, bias = problem(300)
    picks, share = dropout.dropout_picks(rows, (weight, bias), 12, candidates_M=np.arange(250), rng=generator(5))
    rng = generator(5)
    changed = np.array(slow_disagreements(rows[:250], weight, bias, rng, 3, 0.75))
    unsure = np.flatnonzero(changed > 1.5)
    assert 12 < len(unsure) < 200
    assert torch.equal(picks, kmeans_picks(rows, 12, candidates_M=unsure, rng=rng))
    np.testing.assert_allclose(share, changed[picks] / 3, rtol=1e-6)


@pytest.mark.parametrize("k", [0, 1, 20, 59, 60])
def test_a_short_list_is_filled_with_those_that_change_less_often(k):
    rows, weight, bias = problem()
    rows[30:] = 0  # these never change
    picks, share = dropout.dropout_picks(rows, (weight, bias), k, passes=4, rate=0.3, rng=generator())
    assert len(set(picks.tolist())) == k
    changed = torch.tensor(slow_disagreements(rows, weight, bias, generator(), 4, 0.3))
    if k in (1, 20):
        # nobody with fewer changes than somebody left out, but for the last level
        bar = max(b for b in range(4) if (changed >= b).sum() >= k) if (changed > 2).sum() < k else 3
        assert (changed[picks] >= bar).all()
    assert share.shape == (k,)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_storage_and_seed(dtype, tmp_path):
    rows, weight, bias = problem(200)
    rows = rows.astype(np.float16).astype(dtype)
    np.save(tmp_path / "rows.npy", rows)
    first, _ = dropout.dropout_picks(rows, (weight, bias), 9, rng=generator())
    again, _ = dropout.dropout_picks(np.load(tmp_path / "rows.npy", mmap_mode="r"), (weight, bias), 9, rng=generator())
    single, _ = dropout.dropout_picks(rows.astype(np.float32), (weight, bias), 9, rng=generator())
    assert torch.equal(first, again)
    assert torch.equal(first, single)


def test_what_does_not_fit_is_refused():
    rows, weight, bias = problem()
    with pytest.raises(ConfigError, match="passes 0"):
        dropout.disagreements(rows, (weight, bias), passes=0, rng=generator())
    with pytest.raises(ConfigError, match="rate 1"):
        dropout.disagreements(rows, (weight, bias), rate=1.0, rng=generator())
    with pytest.raises(DataError, match="the weight"):
        dropout.disagreements(rows, (weight[:, 1:], bias), rng=generator())
    with pytest.raises(ConfigError, match="61 picks among 60"):
        dropout.dropout_picks(rows, (weight, bias), 61, rng=generator())
    rows[8, 0] = np.inf
    with pytest.raises(DataError, match=r"\[8\]"):
        dropout.disagreements(rows, (weight, bias), rng=generator())
