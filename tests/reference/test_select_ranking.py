"""Reduction, ranking and sampling against sorted lists and counting."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
import torch

from labelwise.errors import ConfigError, DataError, NonFiniteScore
from labelwise.selection import ranking, reduction, sampling
from thorough import thorough


def generator(seed=0):
    return np.random.default_rng(seed)


# Reduction


def slow_reduce(values, items, size, how, weights, top):
    out = []
    for item in range(size):
        mine = [(v, w) for v, i, w in zip(values, items, weights, strict=True) if i == item]
        if how == "weighted" and sum(w for _, w in mine) == 0:
            mine = []
        if not mine:
            out.append(None)
        elif how == "mean":
            out.append(sum(v for v, _ in mine) / len(mine))
        elif how == "sum":
            out.append(sum(v for v, _ in mine))
        elif how == "max":
            out.append(max(v for v, _ in mine))
        elif how == "weighted":
            out.append(sum(v * w for v, w in mine) / sum(w for _, w in mine))
        else:
            count = math.ceil(top * len(mine) / 100) if how == "top_share" else top
            best = sorted((v for v, _ in mine), reverse=True)[:count]
            out.append(sum(best) / len(best))
    return out


@pytest.mark.parametrize("how", reduction.HOWS)
@pytest.mark.parametrize("units", [0, 1, 60])
def test_reduction_is_its_loop(how, units):
    rng = generator(units)
    values = rng.normal(size=units).round(1)
    items = rng.integers(0, 9, units)
    weights = rng.integers(0, 3, units).astype(float)
    top = 30 if how == "top_share" else 3
    expected = slow_reduce(values, items, 12, how, weights, top)
    found, present = reduction.reduce_present(values, items, 12, how=how, weight_U=weights, top=top)
    assert present.tolist() == [e is not None for e in expected]
    np.testing.assert_allclose(found, [e or 0 for e in expected], atol=1e-12)


@pytest.mark.parametrize("how", reduction.HOWS)
def test_items_do_not_depend_on_their_batch(how):
    rng = generator(7)
    values = torch.from_numpy(rng.normal(size=200)).float()
    items = torch.from_numpy(np.sort(rng.integers(0, 20, 200)))
    weights = torch.rand(200, generator=torch.Generator().manual_seed(0))
    whole, _ = reduction.reduce_present(values, items, 20, how=how, weight_U=weights)
    for item in range(20):
        mine = items == item
        alone, _ = reduction.reduce_present(
            values[mine], torch.zeros(int(mine.sum())), 1, how=how, weight_U=weights[mine]
        )
        torch.testing.assert_close(alone[0], whole[item], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("top", "expected"), [(1, 9), (10, 9), (11, 8.5), (20, 8.5), (21, 8), (100, 4.5)])
def test_a_share_of_the_units_is_rounded_up_and_no_further(top, expected):
    values = torch.arange(10.0)
    assert float(reduction.reduce_units(values, torch.zeros(10), 1, how="top_share", top=top)) == expected


@pytest.mark.parametrize("units", [0, 1, 200])
def test_under_class_weights_every_class_of_an_item_weighs_the_same(units):
    rng = generator(units)
    values, items, classes = rng.normal(size=units), rng.integers(0, 9, units), rng.integers(0, 4, units)
    weights = reduction.class_weights(items, classes, 12)
    found, present = reduction.reduce_present(values, items, 12, how="weighted", weight_U=weights)
    for item in range(12):
        of_class = [values[(items == item) & (classes == c)] for c in range(4)]
        means = [part.mean() for part in of_class if len(part)]
        assert bool(present[item]) == bool(means)
        assert float(found[item]) == pytest.approx(np.mean(means) if means else 0.0)
    with pytest.raises(DataError, match="needed is one of each per unit"):
        reduction.class_weights([0], [0, 1], 1)


def test_empty_items_take_their_declared_place():
    values, present = np.array([3.0, 99.0, 1.0, 2.0]), [True, False, True, True]
    assert reduction.fill_empty(values, present, empty="median").tolist() == [3, 2, 1, 2]
    last = reduction.fill_empty(values, present, empty="last")
    first = reduction.fill_empty(values, present, empty="first")
    assert last[1] < 1
    assert last[1] > 0.999
    assert first[1] > 3
    assert reduction.fill_empty(values[:2], [True, False], empty="median").tolist() == [3, 3]
    assert reduction.fill_empty(values, [False] * 4, empty="last").tolist() == [0, 0, 0, 0]
    assert reduction.fill_empty([], [], empty="last").tolist() == []
    assert reduction.reduce_units([], [], 2, how="mean", empty="first").tolist() == [0, 0]


def test_a_megapixel_keeps_its_digits():
    values = torch.full((1_000_000,), 0.1)
    found = reduction.reduce_units(values, torch.zeros(1_000_000, dtype=torch.int64), 1, how="mean")
    assert float(found) == pytest.approx(float(values[0]), rel=1e-6)


def test_half_precision_units_are_summed_in_more():
    values = torch.full((5000,), 1.0, dtype=torch.float16)
    assert float(reduction.reduce_units(values, torch.zeros(5000), 1, how="sum")) == 5000


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"how": "mode"}, ConfigError),
        ({"how": "weighted"}, ConfigError),
        ({"how": "top_k", "top": 0}, ConfigError),
        ({"how": "top_share", "top": 101}, ConfigError),
        ({"how": "mean", "empty": "zero"}, ConfigError),
        ({"how": "weighted", "weight_U": [-1.0, 1.0]}, DataError),
        ({"how": "weighted", "weight_U": [1.0]}, DataError),
    ],
)
def test_impossible_reductions_are_refused(arguments, error):
    with pytest.raises(error):
        reduction.reduce_units([1.0, 2.0], [0, 1], 2, **arguments)


def test_units_of_unknown_items_are_refused():
    for items in ([0, 2], [-1, 0], [0]):
        with pytest.raises(DataError):
            reduction.reduce_units([1.0, 2.0], items, 2, how="mean")


# Ranking


@pytest.mark.parametrize("k", [0, 1, 5, 40])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.int64])
def test_top_is_the_sorted_list(k, dtype):
    scores = (generator(3).normal(size=40) * 4).round(0 if dtype == np.int64 else 1).astype(dtype)
    before = scores.copy()
    picks = ranking.take_top(scores, k, rng=generator())
    assert picks.dtype == torch.int64
    assert len(set(picks.tolist())) == k
    assert scores[picks.numpy()].tolist() == sorted(scores.tolist(), reverse=True)[:k]
    assert torch.equal(picks, ranking.take_top(scores, k, rng=generator()))
    np.testing.assert_array_equal(scores, before)


@pytest.mark.heavy
def test_ties_are_drawn_and_not_taken_in_order():
    scores = torch.tensor([1.0, 0.0, 1.0, 1.0, 2.0, 1.0])
    rng = generator(1)
    second = Counter(int(ranking.take_top(scores, 2, rng=rng)[1]) for _ in range(2000))
    assert set(second) == {0, 2, 3, 5}
    assert all(400 < count < 600 for count in second.values())
    orders = Counter(tuple(ranking.take_top(scores[[0, 2, 3]], 3, rng=rng).tolist()) for _ in range(1200))
    assert len(orders) == 6
    assert all(130 < count < 280 for count in orders.values())


def test_many_equal_scores():
    picks = ranking.take_top(torch.zeros(20_000), 15_000, rng=generator())
    assert len(set(picks.tolist())) == 15_000
    assert abs(float(picks.float().mean()) - 10_000) < 200


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_scores_that_are_not_finite_are_named(bad):
    with pytest.raises(NonFiniteScore, match=r"1 of 4 .*\[2\]"):
        ranking.take_top([0.0, 1.0, bad, 3.0], 1, rng=generator())


def test_impossible_rankings_are_refused():
    with pytest.raises(ConfigError, match="4 picks among 3"):
        ranking.take_top([0.0, 1.0, 2.0], 4, rng=generator())
    with pytest.raises(ConfigError):
        ranking.take_top([0.0], -1, rng=generator())
    with pytest.raises(DataError, match="shape"):
        ranking.take_top([[0.0]], 1, rng=generator())


# Sampling


def test_uniform_takes_every_candidate_alike():
    candidates = torch.tensor([3, 5, 8, 13, 21])
    rng = generator()
    counts = Counter()
    for _ in range(2000):
        picks = sampling.uniform(candidates, 2, rng=rng).tolist()
        assert len(set(picks)) == 2
        counts.update(picks)
    assert set(counts) == set(candidates.tolist())
    assert all(700 < count < 900 for count in counts.values())
    assert sorted(sampling.uniform(candidates, 5, rng=rng).tolist()) == candidates.tolist()
    assert sampling.uniform(candidates, 0, rng=rng).tolist() == []
    with pytest.raises(ConfigError):
        sampling.uniform(candidates, 6, rng=rng)


def slow_shares(sizes, k):
    """Give one at a time to a stratum with the fewest that has any left; the multiset of shares is unique."""
    shares = dict.fromkeys(sizes, 0)
    for _ in range(k):
        open_strata = [s for s in sizes if shares[s] < sizes[s]]
        shares[min(open_strata, key=lambda s: shares[s])] += 1
    return sorted(shares.values())


@pytest.mark.parametrize("k", [0, 1, 2, 7, 15, 29, 40])
def test_stratified_shares_are_as_equal_as_sizes_allow(k):
    strata = generator(5).permutation(np.repeat([-4, 0, 2, 9, 1000], [1, 2, 7, 10, 20]))
    picks = sampling.stratified(strata, k, rng=generator(k)).tolist()
    assert len(set(picks)) == k
    counts = Counter(strata[picks].tolist())
    assert sorted(counts.get(s, 0) for s in set(strata.tolist())) == slow_shares(Counter(strata.tolist()), k)
    for end in range(k):
        prefix = Counter(strata[picks[:end]].tolist())
        assert sorted(prefix.get(s, 0) for s in set(strata.tolist())) == slow_shares(Counter(strata.tolist()), end)


def test_stratified_is_random_inside_and_between_strata():
    strata = torch.tensor([0, 0, 0, 0, 1, 1])
    rng = generator()
    counts = Counter(int(sampling.stratified(strata, 1, rng=rng)[0]) for _ in range(2400))
    assert sum(counts[i] for i in range(4)) == pytest.approx(1200, abs=120)
    assert all(counts[i] == pytest.approx(300, abs=70) for i in range(4))


@pytest.mark.heavy
@thorough("trials", 1000, 4000)
@pytest.mark.parametrize("how", sampling.NOISES)
@pytest.mark.parametrize("coldness", [0.5, 1.0, 4.0])
def test_top_of_noisy_scores_samples_as_published(how, coldness, trials):
    scores = np.array([0.1, 0.4, 0.4, 0.9])
    weights = {
        "power": scores**coldness,
        "softmax": np.exp(coldness * scores),
        # 0.4 twice: ranks 2 and 3 in an order that is drawn
        "softrank": np.array([4.0**-coldness, *[(2.0**-coldness + 3.0**-coldness) / 2] * 2, 1.0]),
    }[how]
    expected = weights / weights.sum()
    rng = generator(2)
    first = Counter()
    for _ in range(trials):
        noisy = sampling.perturb(scores, how=how, coldness=coldness, rng=rng)
        first[int(ranking.take_top(noisy, 1, rng=rng)[0])] += 1
    for place, share in enumerate(expected):
        assert abs(first[place] / trials - share) < 4 * np.sqrt(share * (1 - share) / trials)


def test_power_noise_is_the_logarithm_plus_gumbel():
    scores = np.array([0.5, 1.0, 2.0])
    found = sampling.perturb(scores, how="power", coldness=2.0, rng=generator(9))
    np.testing.assert_allclose(found, np.log(scores) + generator(9).gumbel(0, 0.5, 3))


def test_zero_scores_come_last_under_power_noise_and_stay_finite():
    noisy = sampling.perturb(torch.tensor([0.0, 1e-6, 0.0]), how="power", rng=generator())
    assert torch.isfinite(noisy).all()
    assert int(noisy.argmax()) == 1


def test_impossible_noise_is_refused():
    with pytest.raises(DataError, match="softmax"):
        sampling.perturb([-1.0], how="power", rng=generator())
    with pytest.raises(ConfigError, match="coldness"):
        sampling.perturb([1.0], how="power", coldness=0.0, rng=generator())
    with pytest.raises(ConfigError, match="did you mean"):
        sampling.perturb([1.0], how="powr", rng=generator())
    with pytest.raises(NonFiniteScore):
        sampling.perturb([np.nan], how="softmax", rng=generator())
    assert len(sampling.perturb([], how="power", rng=generator())) == 0


def test_power_noise_takes_what_stands_just_below_zero_as_zero():
    """An image without any object comes last, by the smallest step below the lowest score there is."""
    below = float(torch.nextafter(torch.tensor(0.0), torch.tensor(-1.0)))
    scores = torch.tensor([0.0, below, 1.0])
    assert int(sampling.perturb(scores, how="power", coldness=1.0, rng=np.random.default_rng(0)).argmax()) == 2
    with pytest.raises(DataError, match="needs zero and more"):
        sampling.perturb(torch.tensor([0.0, -1e-6]), how="power", coldness=1.0, rng=np.random.default_rng(0))
