"""Statistics of learning curves against slow twins and cases worked out by hand."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from labelwise.errors import ConfigError, DataError
from labelwise.report.statistics import (
    area,
    correct,
    diverged,
    holm,
    interval,
    labels_to_reach,
    mean_ranks,
    paired,
    penalty_matrix,
    savings,
    signed_rank_p,
)

NAN = float("nan")
finite = st.floats(-10, 10, allow_nan=False)


def slow_area(labels, values, *, steps=20000):
    """Mean height by the midpoint rule on a fine grid."""
    x = np.linspace(labels[0], labels[-1], steps + 1)
    middle = (x[1:] + x[:-1]) / 2
    return float(np.interp(middle, labels, values).mean())


def slow_reach(labels, values, target):
    """Walk along the curve in small steps until the best value so far reaches the target."""
    best = np.maximum.accumulate(values)
    steps = np.linspace(labels[0], labels[-1], 200001)
    there = np.interp(steps, labels, best) >= target - 1e-12
    return float(steps[there][0]) if there.any() else NAN


def slow_signed_rank(differences):
    """All sign patterns."""
    d = [x for x in differences if x != 0]
    ranks = stats.rankdata(np.abs(d))
    seen = sum(r for r, x in zip(ranks, d, strict=True) if x > 0)
    sums = [
        sum(r for r, s in zip(ranks, signs, strict=True) if s) for signs in itertools.product([0, 1], repeat=len(d))
    ]
    low = sum(s <= seen + 1e-9 for s in sums) / len(sums)
    high = sum(s >= seen - 1e-9 for s in sums) / len(sums)
    return min(1.0, 2 * min(low, high))


def slow_holm(p):
    """Step down by hand: the largest of all factors up to and including this p."""
    out = []
    for mine in p:
        smaller = sorted(x for x in p if x <= mine)
        out.append(min(1.0, max((len(p) - i) * x for i, x in enumerate(smaller))))
    return out


class TestInterval:
    def test_by_hand(self):
        # sd of 1,2,3 is 1; t(0.975, 2) = 4.302653; half = 4.302653 / sqrt 3
        result = interval([1.0, 2.0, 3.0])
        assert result.mean == 2
        assert result.half == pytest.approx(4.302652729911275 / math.sqrt(3))
        assert result.n == 3

    def test_agrees_with_scipy(self):
        values = np.random.default_rng(0).normal(size=9)
        expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
        assert (interval(values).low, interval(values).high) == pytest.approx((expected.low, expected.high))

    def test_one_value_has_no_interval(self):
        result = interval([0.5])
        assert result.mean == 0.5
        assert math.isnan(result.low)
        assert result.n == 1

    def test_none(self):
        assert interval([]).n == 0
        assert math.isnan(interval([NAN]).mean)

    def test_values_that_are_not_finite_are_left_out_and_counted(self):
        assert interval([1.0, NAN, 3.0, math.inf]).n == 2


class TestArea:
    def test_by_hand_linear(self):
        # (0.5 + 0.7) / 2 * 100 + (0.7 + 0.8) / 2 * 200 = 60 + 150 = 210 over 300
        assert area([100, 200, 400], [[0.5, 0.7, 0.8]])[0] == pytest.approx(0.7)

    def test_by_hand_log2(self):
        # two doublings, each of weight 1: (0.6 + 0.75) / 2
        assert area([100, 200, 400], [[0.5, 0.7, 0.8]], scale="log2")[0] == pytest.approx(0.675)

    def test_range_inside_two_points(self):
        # from 150 (0.6) to 300 (0.75): (0.6 + 0.7) / 2 * 50 + (0.7 + 0.75) / 2 * 100 = 32.5 + 72.5 over 150
        assert area([100, 200, 400], [[0.5, 0.7, 0.8]], between=(150, 300))[0] == pytest.approx(0.7)

    @given(st.lists(st.tuples(st.integers(1, 50), finite), min_size=2, max_size=6))
    @settings(max_examples=20, deadline=None)
    def test_slow_twin(self, steps):
        labels = np.cumsum([s for s, _ in steps])
        values = [v for _, v in steps]
        assert area(labels, [values])[0] == pytest.approx(slow_area(labels, values), abs=1e-3)

    @given(st.floats(-5, 5), st.sampled_from(["linear", "log2"]))
    def test_a_flat_curve_is_its_height(self, height, scale):
        assert area([10, 15, 40, 41], [[height] * 4], scale=scale)[0] == pytest.approx(height)

    def test_a_missing_value_makes_the_area_unknown(self):
        result = area([1, 2, 3], [[1, NAN, 1], [1, 1, 1]])
        assert math.isnan(result[0])
        assert result[1] == 1

    def test_one_budget(self):
        assert area([5], [[0.3], [NAN]]).tolist() == pytest.approx([0.3, NAN], nan_ok=True)

    @pytest.mark.parametrize("labels", [[1, 1, 2], [2, 1, 3]])
    def test_labels_must_ascend(self, labels):
        with pytest.raises(DataError, match="ascend"):
            area(labels, [[1, 2, 3]])

    def test_shapes(self):
        with pytest.raises(DataError, match="shape"):
            area([1, 2], [[1, 2, 3]])

    def test_scale(self):
        with pytest.raises(ConfigError, match="log2"):
            area([1, 2], [[1, 2]], scale="ln")
        with pytest.raises(ConfigError, match="above 0"):
            area([0, 2], [[1, 2]], scale="log2")

    @pytest.mark.parametrize("between", [(0, 2), (1, 4), (2, 2), (2, 1)])
    def test_range_must_lie_inside(self, between):
        with pytest.raises(ConfigError, match="range"):
            area([1, 2, 3], [[1, 2, 3]], between=between)


class TestPaired:
    def test_agrees_with_scipy(self):
        rng = np.random.default_rng(1)
        a, b = rng.normal(0.1, 1, 8), rng.normal(0, 1, 8)
        result = paired(a, b)
        assert result.p_t == pytest.approx(stats.ttest_rel(a, b).pvalue)
        assert result.p_wilcoxon == pytest.approx(stats.wilcoxon(a, b, method="exact").pvalue)
        assert result.effect == pytest.approx((a - b).mean() / (a - b).std(ddof=1))

    def test_by_hand(self):
        # differences 1, 2, 3: t = 2 / (1 / sqrt 3) = 3.4641, two-sided p with 2 degrees 0.07418
        result = paired([2, 4, 6], [1, 2, 3])
        assert result.difference.mean == 2
        assert result.p_t == pytest.approx(0.0741799, abs=1e-6)
        assert result.effect == pytest.approx(2)

    def test_only_common_seeds(self):
        result = paired([1, NAN, 3, 5], [0, 0, NAN, 3])
        assert result.difference.n == 2
        assert result.difference.mean == 1.5

    def test_one_seed_claims_nothing(self):
        result = paired([0.9], [0.1])
        assert result.difference.mean == pytest.approx(0.8)
        assert math.isnan(result.difference.low)
        assert math.isnan(result.p_t)
        assert math.isnan(result.p_wilcoxon)

    @pytest.mark.parametrize("shift", [0.0, 0.01])
    def test_no_spread_no_test(self, shift):
        base = np.array([0.7, 0.71, 0.74])
        result = paired(base + shift, base)
        assert result.difference.mean == pytest.approx(shift)
        assert math.isnan(result.p_t)
        assert math.isnan(result.difference.high)

    def test_lengths(self):
        with pytest.raises(DataError, match="common seed"):
            paired([1, 2], [1, 2, 3])

    @pytest.mark.heavy
    def test_false_alarm_rate(self):
        rng = np.random.default_rng(2)
        hits = [paired(*rng.normal(size=(2, 5))).p_t < 0.05 for _ in range(2000)]
        assert 0.035 < np.mean(hits) < 0.065


class TestSignedRank:
    @given(st.lists(st.integers(-4, 4), min_size=6, max_size=9).filter(lambda d: sum(x != 0 for x in d) >= 6))
    @settings(max_examples=40, deadline=None)
    def test_slow_twin_with_ties_and_zeros(self, differences):
        assert signed_rank_p(differences) == pytest.approx(slow_signed_rank(differences))

    def test_too_few(self):
        assert math.isnan(signed_rank_p([1, 2, 3, 4, 5]))
        assert math.isnan(signed_rank_p([1, 2, 3, 4, 5, 0]))

    def test_many_seeds(self):
        d = np.random.default_rng(0).normal(0.3, 1, 40)
        assert signed_rank_p(d) == pytest.approx(stats.wilcoxon(d, method="exact").pvalue)


class TestHolm:
    def test_by_hand(self):
        assert holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])

    def test_missing_tests_do_not_count(self):
        assert holm([NAN, 0.01, NAN, 0.02]).tolist() == pytest.approx([NAN, 0.02, NAN, 0.02], nan_ok=True)

    def test_none_made(self):
        assert np.isnan(holm([NAN, NAN])).all()
        assert holm([]).size == 0

    @given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
    def test_slow_twin(self, p):
        assert holm(p).tolist() == pytest.approx(slow_holm(p))

    def test_correct_keeps_the_rest(self):
        tests = [paired([2, 4, 6], [1, 2, 3]), paired([2, 4, 7], [1, 2, 3]), paired([1], [0])]
        result = correct(tests)
        assert [r.p_holm for r in result] == pytest.approx(holm([t.p_t for t in tests]).tolist(), nan_ok=True)
        assert [r.difference for r in result][:2] == [t.difference for t in tests][:2]


class TestPenalty:
    def test_by_hand(self):
        rng = np.random.default_rng(0)
        start = rng.normal(0.5, 0.01, 5)
        noise = rng.normal(0, 0.001, (3, 5, 3))
        low = np.column_stack([start, noise[0, :, 0] + 0.6, noise[0, :, 1] + 0.7])
        high = np.column_stack([start, noise[1, :, 0] + 0.8, noise[1, :, 1] + 0.7])  # ahead in one of two
        matrix = penalty_matrix({"low": low, "high": high})
        assert matrix[1, 0] == 0.5  # the shared start does not count
        assert matrix[0, 1] == 0
        assert np.isnan(np.diag(matrix)).all()

    def test_slow_twin(self):
        rng = np.random.default_rng(3)
        values = {name: rng.normal(i * 0.5, 1, (6, 7)) for i, name in enumerate("abc")}
        matrix = penalty_matrix(values)
        for (i, a), (j, b) in itertools.permutations(enumerate("abc"), 2):
            wins = 0
            for column in range(7):
                test = stats.ttest_rel(values[a][:, column], values[b][:, column])
                wins += test.pvalue < 0.05 and test.statistic > 0
            assert matrix[i, j] == pytest.approx(wins / 7)

    def test_one_seed(self):
        assert np.isnan(penalty_matrix({"a": np.ones((1, 2)), "b": np.zeros((1, 2))})).all()


class TestRanks:
    def test_by_hand(self):
        ranks = mean_ranks({"a": np.array([3.0, 1, 5]), "b": np.array([2.0, 2, NAN]), "c": np.array([1.0, 2, 0])})
        # the third seed is not complete: ranks 1 2 3 and 3 1.5 1.5
        assert [ranks[n].mean for n in "abc"] == pytest.approx([2.0, 1.75, 2.25])
        assert ranks["a"].low == 1
        assert ranks["a"].high == 3

    def test_none_common(self):
        assert mean_ranks({"a": np.array([1.0, NAN]), "b": np.array([NAN, 1.0])})["a"].n == 0


class TestLabelsToReach:
    def test_by_hand(self):
        labels, values = [100, 200, 300, 400], [0.5, 0.7, 0.6, 0.9]
        assert labels_to_reach(labels, values, 0.6) == 150
        assert labels_to_reach(labels, values, 0.7) == 200
        assert labels_to_reach(labels, values, 0.8) == pytest.approx(350)  # from the plateau of 0.7 at 300

    def test_at_the_start(self):
        assert labels_to_reach([100, 200], [0.5, 0.7], 0.4) == 100

    def test_never_extrapolated(self):
        assert math.isnan(labels_to_reach([100, 200], [0.5, 0.7], 0.700001))

    def test_missing_rounds_are_passed_over(self):
        assert labels_to_reach([1, 2, 3], [0.0, NAN, 1.0], 0.5) == 2
        assert math.isnan(labels_to_reach([1, 2], [NAN, NAN], 0.5))

    @given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 20)), min_size=2, max_size=6), st.integers(0, 20))
    @settings(max_examples=15, deadline=None)
    def test_slow_twin(self, steps, target):
        labels = np.cumsum([s for s, _ in steps]).astype(float)
        values = [float(v) for _, v in steps]
        got, expected = labels_to_reach(labels, values, target), slow_reach(labels, values, target)
        assert got == pytest.approx(expected, abs=1e-3, nan_ok=True)


class TestSavings:
    labels = (100, 200, 300, 400)

    def test_by_hand(self):
        random = [[0.4, 0.5, 0.6, 0.7], [0.4, 0.5, 0.6, 0.8]]
        method = [[0.4, 0.7, 0.8, 0.8], [0.4, 0.6, 0.8, 0.9]]
        result = savings(self.labels, method, random)
        # seed 0: 200 instead of 400; seed 1: 300 instead of 400
        assert result.saved_R == pytest.approx((0.5, 0.25))
        assert result.saved.mean == pytest.approx(0.375)
        assert result.target == pytest.approx(0.75)
        assert (result.labels_method, result.labels_baseline) == (250, 400)
        assert (result.pairs, result.reached) == (2, 2)
        assert result.median == pytest.approx(0.375)

    def test_half_of_the_way(self):
        result = savings(self.labels, [[0.0, 1.0, 1.0, 1.0]], [[0.0, 0.2, 0.6, 1.0]], way=0.5)
        # 0.5 is reached by random at 275, by the method at 150
        assert result.target == 0.5
        assert result.saved_R[0] == pytest.approx(1 - 150 / 275)

    def test_half_of_an_even_number_of_seeds_miss(self):
        random = [[0.4, 0.5, 0.6, 0.7]] * 4
        method = [[0.4, 0.5, 0.5, 0.6]] * 2 + [[0.4, 0.7, 0.8, 0.8]] * 2
        result = savings(self.labels, method, random)
        # the median lies between a seed that never gets there and one that does
        assert (result.pairs, result.reached) == (4, 2)
        assert math.isnan(result.median)

    def test_one_seed_has_no_interval(self):
        assert math.isnan(savings(self.labels, [[0, 1, 1, 1]], [[0, 0, 0, 1]]).saved.low)

    def test_not_reached_is_censored_not_extrapolated(self):
        random = [[0.4, 0.5, 0.6, 0.7]] * 3
        method = [[0.4, 0.7, 0.8, 0.8], [0.4, 0.5, 0.5, 0.6], [0.4, 0.5, 0.7, 0.7]]
        result = savings(self.labels, method, random)
        assert (result.pairs, result.reached) == (3, 2)
        assert math.isnan(result.saved_R[1])
        assert result.saved.n == 2
        assert result.median == pytest.approx(0.25)  # of -inf, 0.25, 0.5

    def test_median_is_unknown_where_most_miss(self):
        random = [[0.4, 0.5, 0.6, 0.7]] * 3
        method = [[0.4, 0.7, 0.8, 0.8], [0.4, 0.5, 0.5, 0.6], [0.4, 0.5, 0.6, 0.6]]
        result = savings(self.labels, method, random)
        assert math.isnan(result.median)
        assert savings(self.labels, method[1:], random[1:]).reached == 0

    def test_unfinished_runs_are_not_called_misses(self):
        random = [[0.4, 0.5, 0.6, 0.7], [0.4, 0.5, 0.6, NAN]]
        method = [[0.4, 0.5, NAN, NAN], [0.4, 0.9, 0.9, 0.9]]
        assert savings(self.labels, method, random).pairs == 0

    def test_unfinished_but_there_already(self):
        assert savings(self.labels, [[0.4, 0.9, NAN, NAN]], [[0.4, 0.5, 0.6, 0.7]]).reached == 1

    def test_a_baseline_that_never_improves_asks_nothing(self):
        assert savings(self.labels, [[0.4, 0.5, 0.6, 0.7]], [[0.4, 0.4, 0.3, 0.2]]).pairs == 0

    def test_a_target_for_all(self):
        random = [[0.0, 0.2, 0.4, 0.6], [0.0, 0.1, 0.2, 0.3]]
        result = savings(self.labels, [[0.0, 0.4, 0.4, 0.4]] * 2, random, target=0.4)
        assert (result.pairs, result.reached) == (1, 1)  # random itself misses it in seed 1
        assert math.isnan(result.way)

    @given(st.lists(st.lists(st.integers(0, 9), min_size=4, max_size=4), min_size=1, max_size=4))
    def test_against_itself_nothing_is_saved(self, curves):
        result = savings(self.labels, curves, curves)
        assert result.reached == result.pairs
        assert all(s == 0 for s in result.saved_R if not math.isnan(s))


class TestDiverged:
    def curves(self, **changes):
        rng = np.random.default_rng(0)
        base = np.array([0.5, 0.6, 0.7, 0.75])
        values = {n: base + rng.normal(0, 0.01, (5, 4)) for n in ("random", "margin")}
        for name, (r, b, v) in changes.items():
            values[name][r, b] = v
        return values

    def test_healthy_runs_are_not_flagged(self):
        assert diverged(self.curves(), chance=0.1) == []

    @pytest.mark.parametrize("value", [0.1, 0.05])
    def test_chance(self, value):
        (flag,) = diverged(self.curves(margin=(2, 0, value)), chance=0.1)
        assert (flag.strategy, flag.seed_index, flag.budget_index) == ("margin", 2, 0)
        assert "chance" in flag.reason

    @pytest.mark.parametrize("chance", [0.1, None])
    def test_collapse(self, chance):
        (flag,) = diverged(self.curves(margin=(1, 3, 0.40)), chance=chance)
        assert (flag.seed_index, flag.budget_index) == (1, 3)
        assert "fell from its own" in flag.reason

    def test_a_collapse_that_lasts_is_flagged_in_each_round(self):
        values = self.curves()
        values["random"][3, 2:] = 0.3
        assert [(f.seed_index, f.budget_index) for f in diverged(values, chance=0.1)] == [(3, 2), (3, 3)]

    def test_a_small_dip_is_noise(self):
        assert diverged(self.curves(margin=(1, 3, 0.68)), chance=0.1) == []

    def test_a_weak_method_is_not_diverged(self):
        values = self.curves()
        values["weak"] = np.tile([0.5, 0.45, 0.44, 0.43], (5, 1))
        assert diverged(values, chance=0.1) == []

    def test_not_finite(self):
        values = self.curves(margin=(0, 1, NAN))
        present = {n: np.ones((5, 4), dtype=bool) for n in values}
        (flag,) = diverged(values, present=present)
        assert "not finite" in flag.reason
        assert diverged(values) == []  # without a record that it ran, it is only missing

    def test_loss_not_finite(self):
        values = self.curves()
        losses = {n: np.full((5, 4), 0.3) for n in values}
        losses["random"][4, 2] = NAN
        (flag,) = diverged(values, losses=losses)
        assert "loss" in flag.reason

    def test_losses_nobody_recorded_flag_nothing(self):
        values = self.curves()
        assert diverged(values, losses={n: np.full((5, 4), NAN) for n in values}) == []

    def test_alone(self):
        (flag,) = diverged({"a": np.array([[0.5, 0.7, 0.2]])}, chance=0.1)
        assert flag.budget_index == 2
        assert diverged({"a": np.array([[0.5, 0.7, 0.6]])}, chance=0.1) == []

    def test_everything_hard_is_not_diverged(self):
        assert diverged({n: np.full((3, 2), 0.1) for n in "ab"}, chance=0.1) == []
