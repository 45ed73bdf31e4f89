"""Strategies made of strategies, and oracles, against what they promise, counted out one by one."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
import torch

import labelwise as lw
import tiny
from labelwise.assemble import make_strategy, parse_strategy
from labelwise.contracts.learner import Examples
from labelwise.contracts.query import Budget, Query
from labelwise.errors import ConfigError, DataError, UnmetNeed
from labelwise.selection.sampling import apportion
from labelwise.signals.plain import Probs
from labelwise.strategies import STRATEGIES

N, C, D = 60, 4, 3
RNG = np.random.default_rng(0)
P = RNG.dirichlet([0.4, 0.8, 1.0, 1.5], size=N)
E = RNG.normal(size=(N, D))
PREDICTED = P.argmax(1)
LABELLED, LABELS = [0, 1, 2, 3, 4, 5], [0, 0, 0, 0, 1, 2]


def _lead(probs):
    low, high = np.sort(probs, 1)[:, -2:].T
    return 1 - (high - low)


# ---- apportion ------------------------------------------------------------------------------------------------------


def _dealt(shares, k, room, turn):
    """Webster's rule in exact fractions: the class with the best claim, one at a time."""
    given = [0] * len(shares)
    for _ in range(k):
        free = [c for c in range(len(shares)) if given[c] < room[c]]
        best = max(free, key=lambda c: (Fraction(shares[c]) / (2 * given[c] + 1), -turn[c]))
        given[best] += 1
    return given


@pytest.mark.parametrize("seed", range(30))
def test_apportion_follows_websters_rule(seed):
    rng = np.random.default_rng(seed)
    shares = rng.choice([0.0, 0.5, 1.0, 2.0, float(rng.random())], size=rng.integers(1, 7)).tolist()
    room = rng.integers(0, 6, size=len(shares)).tolist()
    k = int(rng.integers(0, sum(room) + 1))
    dealt = apportion(shares, k, room_C=room, rng=np.random.default_rng(seed))
    turn = np.random.default_rng(seed).permutation(len(shares)).tolist()
    assert torch.bincount(dealt, minlength=len(shares)).tolist() == _dealt(shares, k, room, turn)


def test_random_plus_least_confidence_is_half_and_half():
    """The published baseline of detection: half of the budget at random, half where the best class is least likely."""
    least, drawn = np.argsort(P.max(1)).tolist(), set()
    for seed in range(20):
        parts = ["random", "least_confidence"]
        picks = set(lw.select("mix", 12, probs=P, strategies=parts, seed=seed).positions.tolist())
        first = next(place for place, row in enumerate(least) if row not in picks)
        assert first >= 6, "the six least likely of those that were not drawn"
        assert len(picks) == 12
        drawn |= picks - set(least[:first])
    assert len(drawn) > 40, "the others come from anywhere"


def test_shares_that_come_out_whole_are_met_exactly():
    for shares, k, expected in (
        ([0.9, 0.1], 10, [9, 1]),
        ([2, 1, 1], 4, [2, 1, 1]),
        ([0.7, 0.2, 0.1], 50, [35, 10, 5]),
    ):
        for seed in range(5):
            dealt = apportion(shares, k, rng=np.random.default_rng(seed))
            assert dealt.bincount().tolist() == expected


def test_equal_claims_go_by_the_generator():
    first = {int(apportion([1.0] * 5, 1, rng=np.random.default_rng(seed))[0]) for seed in range(60)}
    assert first == set(range(5))


@pytest.mark.parametrize(
    ("shares", "k", "room", "error"),
    [([1, -1], 1, None, DataError), ([np.nan], 1, None, DataError), ([1, 1], 3, [1, 1], ConfigError)],
)
def test_apportion_refuses(shares, k, room, error):
    with pytest.raises(error):
        apportion(shares, k, room_C=room, rng=np.random.default_rng(0))


# ---- mix ------------------------------------------------------------------------------------------------------------


def test_each_part_chooses_among_what_the_others_left():
    """Margin first, its own top list; then entropy's top list without those."""
    picks = lw.select("mix", 10, probs=P, strategies=["margin", "entropy"], shares=[3, 2]).positions.tolist()
    margin = lw.select("margin", 6, probs=P).positions.tolist()
    entropy = [row for row in lw.select("entropy", N, probs=P).positions.tolist() if row not in margin][:4]
    assert sorted(picks) == sorted(margin + entropy)
    assert [row for row in picks if row in margin] == margin, "in the order of each part"
    assert [row for row in picks if row in entropy] == entropy
    assert 2 <= len(set(picks[:5]) & set(entropy)) <= 3, "any prefix is mixed"


def test_parts_may_have_several_steps_and_options():
    config = {
        "name": "mix",
        "strategies": [{"name": "margin", "subpool": 5}, "prefilter", "random"],
        "shares": [1, 2, 1],
    }
    strategy = make_strategy(parse_strategy(config))
    assert strategy.strategies[0] == STRATEGIES.create("margin", subpool=5)
    assert hash(strategy) == hash(make_strategy(parse_strategy(config)))
    assert len(lw.select(strategy, 20, probs=P, embeddings=E)) == 20
    nested = make_strategy(parse_strategy({"name": "prefilter", "first": {"name": "entropy", "noise": "power"}}))
    assert nested.first.noise == "power"


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("mix", {"strategies": []}, "at least one"),
        ("mix", {"strategies": "margin"}, "list"),
        ("mix", {"strategies": ["margn"]}, "did you mean 'margin'"),
        ("mix", {"strategies": ["margin", 3]}, "strategies"),
        ("mix", {"strategies": ["margin"], "shares": [1, 2]}, "one number for each of 1"),
        ("mix", {"strategies": ["margin"], "shares": [0]}, "above 0"),
        ("mix", {"strategies": ["margin"], "shares": ["x"]}, "above 0"),
        ("mix", {"strategies": ["margin", "uniform"]}, "is an oracle"),
        ("prefilter", {"first": "true_loss"}, "is an oracle"),
        ("quota", {"of": "uniform"}, "is an oracle"),
        ("quota", {"by": "size"}, "equal, inverse"),
        ("cost_aware", {"of": "k_center"}, "does not"),
        ("auto", {"low": "margin"}, "neither labels nor a trained model"),
        ("auto", {"per_class": 0}, "at least 1"),
    ],
)
def test_options_that_cannot_be(name, options, message):
    with pytest.raises(ConfigError, match=message) as caught:
        STRATEGIES.create(name, **options)
    assert "\n" not in str(caught.value)


# ---- quota ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["equal", "inverse"])
@pytest.mark.parametrize("k", [1, 4, 13, 54])
def test_quotas_are_counted_out_and_filled_by_the_inner_strategy(by, k):
    picks = lw.select("quota", k, probs=P, labelled=LABELLED, labels=LABELS, by=by, seed=2).positions
    free = [row for row in range(N) if row not in LABELLED]
    room = Counter(PREDICTED[free].tolist())
    counts = Counter(LABELS)
    weight = {c: 1.0 if by == "equal" else 1 / (counts[c] + 1) for c in room}
    found = Counter(PREDICTED[picks].tolist())
    for c in room:
        for other in room:  # Webster: no pick could move from one class to another and be fairer
            if found[other] and found[c] < room[c]:
                assert weight[c] / (2 * found[c] + 1) <= weight[other] / (2 * found[other] - 1) + 1e-12
        own = sorted((row for row in free if PREDICTED[row] == c), key=lambda row: -_lead(P)[row])
        assert sorted(own[: found[c]]) == sorted(row for row in picks.tolist() if PREDICTED[row] == c)


def test_one_predicted_class_is_the_inner_strategy():
    probs = np.column_stack([np.linspace(0.55, 0.9, 20), 1 - np.linspace(0.55, 0.9, 20)])
    assert lw.select("quota", 5, probs=probs).positions.tolist() == [0, 1, 2, 3, 4]


# ---- cost -----------------------------------------------------------------------------------------------------------


def test_scores_are_divided_by_cost():
    cost = RNG.random(N) * 5 + 0.5
    picks = lw.select("cost_aware", 12, probs=P, cost=cost, of="entropy")
    worth = -(P * np.log(P)).sum(1) / cost
    assert picks.positions.tolist() == np.argsort(-worth)[:12].tolist()
    np.testing.assert_allclose(picks.scores, worth[picks.positions], rtol=1e-5)


def test_a_budget_in_cost_buys_the_longest_prefix():
    cost = RNG.random(N) * 5 + 0.5
    ranked = lw.select("cost_aware", N, probs=P, cost=cost).positions
    paid = lw.select("cost_aware", Budget(20, "clicks"), probs=P, cost=cost).positions
    spent = np.cumsum(cost[ranked])
    assert paid.tolist() == ranked[: int((spent <= 20).sum())].tolist()
    assert cost[paid].sum() <= 20 < spent[len(paid)]
    with pytest.raises(ConfigError, match="needs an expected cost"):
        lw.select("cost_aware", Budget(20, "clicks"), probs=P)


def test_sub_pool_and_noise_of_the_inner_strategy_are_kept():
    thinned = STRATEGIES.create("cost_aware", of=STRATEGIES.create("margin", subpool=8))
    assert len({tuple(lw.select(thinned, 3, probs=P, cost=np.ones(N), seed=s).positions) for s in range(6)}) > 1
    noisy = STRATEGIES.create("cost_aware", of=STRATEGIES.create("margin", noise="power"))
    assert len({tuple(lw.select(noisy, 3, probs=P, cost=np.ones(N), seed=s).positions) for s in range(6)}) > 1


def test_costs_that_cannot_divide():
    with pytest.raises(DataError, match="above 0"):
        lw.select("cost_aware", 2, probs=P, cost=np.zeros(N))
    picks = lw.select("cost_aware", 5, probs=P)
    assert picks.notes == ("no cost of the items is known, so each counts the same",)
    assert picks.positions.tolist() == lw.select("margin", 5, probs=P).positions.tolist()


# ---- auto -----------------------------------------------------------------------------------------------------------


def _acting(labels: int, classes: int | None, pool: int = 100, budget: int = 5, **options):
    counts = None if classes is None else torch.ones(classes, dtype=torch.int64)
    query = Query(torch.arange(labels), torch.arange(labels, labels + pool), budget, RNG, class_counts_C=counts)
    return STRATEGIES.create("auto", **options).acts_as(query)


def test_the_rule():
    low, high = STRATEGIES.create(STRATEGIES.create("auto").low), STRATEGIES.create("margin")
    assert _acting(0, None) == _acting(0, 3) == _acting(29, 3) == _acting(99, None) == low
    assert _acting(30, 3) == _acting(100, None) == high
    assert _acting(3, 3, per_class=1, high="entropy") == STRATEGIES.create("entropy")
    wide = _acting(30, 3, pool=20_000, budget=5)
    assert wide == STRATEGIES.create("prefilter", first="random", then=high, keep=2000.0)
    assert _acting(30, 3, pool=20_000, budget=1500).keep == 10.0


def test_it_needs_only_what_the_acting_strategy_reads():
    picks = lw.select("auto", 5, embeddings=E)
    assert picks.notes[0].startswith("auto acts as ")
    labels = np.repeat(np.arange(C), 10)
    assert len(lw.select("auto", 5, probs=P, labelled=np.arange(40), labels=labels)) == 5
    with pytest.raises(UnmetNeed, match="needs embeddings="):
        lw.select("auto", 5, probs=P)
    with pytest.raises(UnmetNeed, match="needs probs="):
        lw.select("auto", 5, embeddings=E, labelled=np.arange(40), labels=labels)


@pytest.mark.heavy
def test_in_a_campaign_it_is_cold_and_then_uncertain(tmp_path):
    source = tiny.digits(80)
    learner = tiny.feature_learner(source)
    campaign = tiny.campaign(tmp_path / "a", source, learner, frozen=learner.source)
    strategy = STRATEGIES.create("auto", per_class=2)
    first = campaign.choose(strategy, Budget(5))
    assert "acts as" in first.notes[0]
    assert "margin" not in first.notes[0].lower()
    campaign = tiny.campaign(tmp_path / "b", source, learner, labelled=source.ids[:20], frozen=learner.source)
    campaign.fit()
    later = campaign.choose(strategy, Budget(5))
    margin = campaign.choose(STRATEGIES.create("margin"), Budget(5))
    assert [pick.id for pick in later.picks] == [pick.id for pick in margin.picks]


# ---- oracles --------------------------------------------------------------------------------------------------------


def _oracle(name, truth, k, seed=0):
    query = Query(
        torch.arange(0), torch.arange(len(truth)), k, np.random.default_rng(seed), truth_N=torch.tensor(truth)
    )
    return query, STRATEGIES.create(name).steps()[0].select


@pytest.mark.parametrize("k", [1, 3, 7, 12])
def test_uniform_is_balanced_and_exact(k):
    truth = [0] * 7 + [1] * 2 + [2] * 3
    seen = set()
    for seed in range(20):
        query, select = _oracle("uniform", truth, k, seed)
        picks = select(query).positions_K.tolist()
        assert len(set(picks)) == k
        counts = Counter(truth[row] for row in picks)
        for c, size in Counter(truth).items():
            for other in counts:
                assert counts[c] == size or counts[other] - counts[c] <= 1
        seen.add(tuple(picks))
    assert len(seen) > 1


def test_true_loss_takes_what_the_model_gets_most_wrong(tmp_path):
    source = tiny.digits(60)
    learner = tiny.feature_learner(source)
    campaign = tiny.campaign(tmp_path, source, learner, labelled=source.ids[:20], truth=source.truth)
    campaign.fit()
    free = [campaign.pool.ids[p] for p in campaign.pool.unlabelled]
    found = campaign.choose(STRATEGIES.create("true_loss"), Budget(10)).picks
    probs = learner.collect(Examples(source, tuple(free)), frozenset({Probs()}))[Probs()]
    loss = {item: -np.log(float(row[int(source.truth[item])])) for item, row in zip(free, probs, strict=True)}
    assert [pick.id for pick in found] == sorted(free, key=lambda item: -loss[item])[:10]
    assert [pick.score for pick in found] == pytest.approx([loss[pick.id] for pick in found], rel=1e-4)


@pytest.mark.parametrize("name", ["uniform", "true_loss"])
def test_oracles_are_marked_and_refused_outside_simulations(name, tmp_path):
    assert STRATEGIES.get(name).oracle
    source = tiny.digits(30)
    learner = tiny.feature_learner(source)
    campaign = tiny.campaign(tmp_path, source, learner, labelled=source.ids[:5])
    campaign.fit()
    with pytest.raises(UnmetNeed, match="only in simulated campaigns"):
        campaign.choose(STRATEGIES.create(name), Budget(2))
    with pytest.raises(UnmetNeed, match="only in simulated campaigns"):
        lw.select(name, 1, probs=P)
