"""Honest statistics of learning curves: areas, paired tests, labels saved, diverged runs.

Everything works on arrays of one metric and takes *higher = better*: negate a loss first. Seeds are paired: row r of
two strategies shares the initial set, the weights and the order of the data. With one seed every interval and every
p-value is NaN ("n/a"): nothing is claimed from a single run.

Dimension key: R seeds, B budgets, S strategies, F tests of one family.

Reference: penalty matrix, Ash et al., Deep Batch Active Learning by Diverse, Uncertain Gradient Lower Bounds, ICLR
2020, section 4 (we divide by the number of budgets, and test with the t quantile of the seeds at hand); Holm, A simple
sequentially rejective multiple test procedure, Scand. J. Statistics 1979.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import stats

from labelwise.errors import ConfigError, DataError

Scale = Literal["linear", "log2"]
FloatArray = npt.NDArray[np.float64]

WILCOXON_MIN = 6  # below this, no outcome of the exact two-sided test reaches p < 0.05
WAYS = (0.5, 0.75, 0.9, 1.0)
OUTLIER_SIGMAS = 6.0
COLLAPSE_SHARE = 0.25
NAN = float("nan")


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over seeds with its two-sided t interval; ``low`` and ``high`` are NaN where n < 2."""

    mean: float
    low: float
    high: float
    n: int

    @property
    def half(self) -> float:
        """Half the width: the number after the plus-minus sign."""
        return (self.high - self.low) / 2


@dataclass(frozen=True, slots=True)
class Paired:
    """A paired comparison, method minus baseline over common seeds.

    Args:
        difference: mean paired difference and its t interval (not corrected for the number of comparisons).
        p_t: two-sided paired t-test.
        p_wilcoxon: exact two-sided signed-rank test; NaN below six pairs.
        effect: mean difference over its standard deviation (Cohen's d_z).
        p_holm: ``p_t`` after Holm's correction over its family.
        p_wilcoxon_holm: ``p_wilcoxon`` likewise.
    """

    difference: Interval
    p_t: float
    p_wilcoxon: float
    effect: float
    p_holm: float = NAN
    p_wilcoxon_holm: float = NAN


@dataclass(frozen=True, slots=True)
class Savings:
    """Labels saved by a method at equal quality, seed by seed.

    Args:
        way: share of the baseline's own way from its first to its best value; NaN for a target given as a number.
        target: mean over seeds of the value to reach.
        saved: mean of 1 - n_method / n_baseline, over the pairs where both reach the target.
        median: over all pairs, one that misses counting as the lowest; NaN where the median itself is such a miss.
        labels_method: mean labels needed, over the pairs where both reach the target.
        labels_baseline: likewise, for the baseline.
        pairs: seeds in which the question can be asked.
        reached: of these, the ones where both reach the target; the rest is censored, never extrapolated.
        saved_R: per seed; NaN where censored or not asked.
    """

    way: float
    target: float
    saved: Interval
    median: float
    labels_method: float
    labels_baseline: float
    pairs: int
    reached: int
    saved_R: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Divergence:
    """One flagged round: position of seed and budget, and why."""

    strategy: str
    seed_index: int
    budget_index: int
    value: float
    reason: str


def interval(values_R: npt.ArrayLike, *, level: float = 0.95) -> Interval:
    """Mean and two-sided Student t interval of the finite values.

    Args:
        values_R: one value per seed; those that are not finite are left out, and ``n`` tells.
        level: coverage, in (0, 1).

    Returns:
        ``mean +- t * sd / sqrt(n)``; limits NaN for n < 2, everything NaN for n = 0.

    Example:
        >>> i = interval([1.0, 2.0, 3.0])
        >>> round(i.mean, 3), round(i.low, 3), round(i.high, 3), i.n
        (2.0, -0.484, 4.484, 3)
    """
    values = np.asarray(values_R, dtype=np.float64).ravel()
    values = values[np.isfinite(values)]
    n = values.size
    if n == 0:
        return Interval(NAN, NAN, NAN, 0)
    mean = float(values.mean())
    if n < 2:
        return Interval(mean, NAN, NAN, n)
    half = float(stats.t.ppf(0.5 + level / 2, n - 1) * values.std(ddof=1) / np.sqrt(n))
    return Interval(mean, mean - half, mean + half, n)


def wilson(accuracy: float, tested: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's interval of an accuracy that was measured on so many images drawn at random; NaN where it is none.

    Reference:
        Wilson, Probable Inference, the Law of Succession, and Statistical Inference, JASA 1927.

    Example:
        >>> [round(end, 3) for end in wilson(0.84, 50)]
        [0.715, 0.917]
    """
    if not math.isfinite(accuracy) or tested < 1:
        return math.nan, math.nan
    found = stats.binomtest(round(accuracy * tested), tested).proportion_ci(level, method="wilson")
    return float(found.low), float(found.high)


def area(
    labels_B: npt.ArrayLike,
    values_RB: npt.ArrayLike,
    *,
    scale: Scale = "linear",
    between: tuple[float, float] | None = None,
) -> FloatArray:
    """Area under each curve by the trapezoid rule, divided by the range: a mean height, in the metric's unit.

    Args:
        labels_B: label counts, strictly ascending, positive for ``log2``.
        values_RB: one curve per seed.
        scale: integrate over labels, or over log2(labels) (then each doubling weighs the same).
        between: range of labels, inside that of the curve; its ends are interpolated on the scale. Default: all of it.

    Returns:
        (R,): NaN for a curve with a value in the range that is not finite. One budget: the value itself.

    Raises:
        DataError: labels do not ascend, or shapes disagree.
        ConfigError: the range is empty or leaves the curve.

    Cost: O(R B).

    Example:
        >>> area([100, 200, 400], [[0.5, 0.7, 0.8]]).round(4).tolist()
        [0.7]
        >>> area([100, 200, 400], [[0.5, 0.7, 0.8]], scale="log2").round(4).tolist()
        [0.675]
    """
    labels, values = _checked(labels_B, values_RB)
    x = _on_scale(labels, scale)
    if between is not None:
        low, high = between
        if not (labels[0] <= low < high <= labels[-1]):
            raise ConfigError(
                f"range {low:g}..{high:g}: must ascend and lie within {labels[0]:g}..{labels[-1]:g} labels"
            )
        ends = _on_scale(np.array([low, high]), scale)
        grid = np.unique(np.concatenate([x[(x > ends[0]) & (x < ends[1])], ends]))
        values = np.stack([_interpolated(grid, x, row) for row in values]) if len(values) else values[:, :0]
        x = grid
    if x.size == 1:
        return np.where(np.isfinite(values[:, 0]), values[:, 0], np.nan)
    steps = np.diff(x)
    total = ((values[:, 1:] + values[:, :-1]) / 2 * steps).sum(axis=1) / (x[-1] - x[0])
    return np.where(np.isfinite(values).all(axis=1), total, np.nan)


def paired(method_R: npt.ArrayLike, baseline_R: npt.ArrayLike, *, level: float = 0.95) -> Paired:
    """Compare two strategies over the seeds that both have.

    The t interval and t-test of the differences, the exact signed-rank test, and Cohen's d_z. Where all differences
    are equal (the shared first round, or one pair) there is no spread to test against: p-values are NaN.

    Args:
        method_R: one value per seed.
        baseline_R: the same seeds, in the same order.
        level: coverage of the interval.

    Returns:
        Uncorrected p-values; ``correct`` fills in Holm's.

    Raises:
        DataError: the two have different lengths.

    Example:
        >>> result = paired([0.82, 0.84, 0.81], [0.80, 0.80, 0.80])
        >>> round(result.difference.mean, 4), round(result.p_t, 4), result.p_wilcoxon
        (0.0233, 0.1181, nan)
    """
    method, baseline = np.asarray(method_R, dtype=np.float64), np.asarray(baseline_R, dtype=np.float64)
    if method.shape != baseline.shape or method.ndim != 1:
        raise DataError(f"paired comparison of shapes {method.shape} and {baseline.shape}: one value per common seed")
    both = np.isfinite(method) & np.isfinite(baseline)
    difference = method[both] - baseline[both]
    summary = interval(difference, level=level)
    if _no_spread(difference, method[both], baseline[both]):
        return Paired(replace(summary, low=NAN, high=NAN), NAN, NAN, NAN)
    deviation = float(difference.std(ddof=1))
    t = summary.mean / (deviation / np.sqrt(summary.n))
    p_t = float(2 * stats.t.sf(abs(t), summary.n - 1))
    return Paired(summary, p_t, signed_rank_p(difference), summary.mean / deviation)


def signed_rank_p(difference_R: npt.ArrayLike) -> float:
    """Exact two-sided p of Wilcoxon's signed-rank test, ties by mid-ranks, zero differences left out.

    The distribution of the positive rank sum over all 2^n signs, by dynamic programming on doubled ranks.

    Args:
        difference_R: paired differences.

    Returns:
        p in (0, 1]; NaN with fewer than six differences that are not zero, where p < 0.05 cannot happen.

    Cost: O(n^3).

    Example:
        >>> signed_rank_p([1, 2, 3, 4, 5, 6])
        0.03125
    """
    difference = np.asarray(difference_R, dtype=np.float64)
    difference = difference[difference != 0]
    if difference.size < WILCOXON_MIN:
        return NAN
    doubled = np.rint(2 * stats.rankdata(np.abs(difference))).astype(np.int64)
    ways = np.zeros(int(doubled.sum()) + 1)
    ways[0] = 1.0
    for rank in doubled:
        ways[rank:] = (ways[rank:] + ways[:-rank]) / 2
        ways[:rank] /= 2
    positive = int(doubled[difference > 0].sum())
    return float(min(1.0, 2 * min(ways[: positive + 1].sum(), ways[positive:].sum())))


def holm(p_F: npt.ArrayLike) -> FloatArray:
    """Holm's step-down correction: the adjusted p-values of one family.

    Args:
        p_F: raw p-values; NaN marks a test that was not made: it stays NaN and does not count.

    Returns:
        Adjusted p-values, in the order given, at most 1.

    Example:
        >>> holm([0.01, 0.04, 0.03, float("nan")]).tolist()
        [0.03, 0.06, 0.06, nan]
    """
    p = np.asarray(p_F, dtype=np.float64)
    adjusted = np.full(p.shape, np.nan)
    made = np.flatnonzero(np.isfinite(p))
    order = made[np.argsort(p[made], kind="stable")]
    factors = np.arange(order.size, 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * factors)) if order.size else []
    return adjusted


def correct(tests: Sequence[Paired]) -> list[Paired]:
    """The same comparisons with Holm's corrected p-values, the sequence being one family."""
    by_t = holm([t.p_t for t in tests])
    by_rank = holm([t.p_wilcoxon for t in tests])
    return [replace(t, p_holm=float(a), p_wilcoxon_holm=float(b)) for t, a, b in zip(tests, by_t, by_rank, strict=True)]


def penalty_matrix(values: Mapping[str, FloatArray], *, alpha: float = 0.05) -> FloatArray:
    """How often each strategy beats each other one: the pairwise penalty matrix.

    Entry (i, j) is the share of budgets at which i is better than j in a two-sided paired t-test at ``alpha``,
    uncorrected as in the literature. Budgets at which all strategies agree in every seed (the shared initial set) are
    left out. The mean of a column is the penalty of its strategy: lower is better.

    Args:
        values: strategy -> (R, B), higher = better.
        alpha: level of each test.

    Returns:
        (S, S) in the order of ``values``; NaN on the diagonal, and where two strategies share fewer than two seeds.

    Cost: O(S^2 R B).
    """
    names = list(values)
    stack_SRB = np.stack([np.asarray(values[n], dtype=np.float64) for n in names])
    matrix = np.full((len(names), len(names)), np.nan)
    spread_RB = np.nanmax(np.where(np.isfinite(stack_SRB), stack_SRB, -np.inf), axis=0) - np.nanmin(
        np.where(np.isfinite(stack_SRB), stack_SRB, np.inf), axis=0
    )
    contested = np.flatnonzero((spread_RB > 0).any(axis=0))
    for i in range(len(names)):
        for j in range(len(names)):
            if i == j:
                continue
            tests = [paired(stack_SRB[i, :, b], stack_SRB[j, :, b]) for b in contested]
            asked = [t for t in tests if t.difference.n >= 2]
            if asked:
                matrix[i, j] = np.mean([t.p_t < alpha and t.difference.mean > 0 for t in asked])
    return matrix


def mean_ranks(areas: Mapping[str, FloatArray], *, draws: int = 2000) -> dict[str, Interval]:
    """Mean rank of each strategy by area, 1 = best, with a bootstrap interval over seeds.

    Args:
        areas: strategy -> (R,), higher = better; only seeds that every strategy has are used.
        draws: bootstrap resamples, from a fixed stream.

    Returns:
        Strategy -> mean rank and 95 % percentile interval; limits NaN with fewer than two common seeds.
    """
    names = list(areas)
    table_SR = np.stack([np.asarray(areas[n], dtype=np.float64) for n in names])
    table_SR = table_SR[:, np.isfinite(table_SR).all(axis=0)]
    n = table_SR.shape[1]
    if n == 0:
        return {name: Interval(NAN, NAN, NAN, 0) for name in names}
    ranks_SR = stats.rankdata(-table_SR, axis=0)
    low = high = np.full(len(names), np.nan)
    if n >= 2:
        rows = np.random.default_rng(0).integers(0, n, size=(draws, n))
        low, high = np.percentile(ranks_SR[:, rows].mean(axis=2), [2.5, 97.5], axis=1)
    return {name: Interval(float(ranks_SR[s].mean()), float(low[s]), float(high[s]), n) for s, name in enumerate(names)}


def labels_to_reach(labels_B: npt.ArrayLike, values_B: npt.ArrayLike, target: float) -> float:
    """Labels at which a curve first reaches ``target``: linear interpolation on its running maximum.

    The running maximum makes the curve monotone, so that a lucky round counts from where it happened and a later dip
    does not undo it; methods and baseline are treated alike. Values that are not finite are passed over.

    Args:
        labels_B: label counts, ascending.
        values_B: one curve, higher = better.
        target: the value to reach.

    Returns:
        Labels, at least the first count; NaN where the curve does not get there: never extrapolated.

    Example:
        >>> labels_to_reach([100, 200, 300], [0.5, 0.7, 0.6], 0.6)
        150.0
    """
    labels, values = np.asarray(labels_B, dtype=np.float64), np.asarray(values_B, dtype=np.float64)
    finite = np.isfinite(values)
    labels, best = labels[finite], np.maximum.accumulate(values[finite])
    if not np.isfinite(target) or best.size == 0 or best[-1] < target:
        return NAN
    i = int(np.searchsorted(best, target, side="left"))
    if i == 0:
        return float(labels[0])
    share = (target - best[i - 1]) / (best[i] - best[i - 1])
    return float(labels[i - 1] + share * (labels[i] - labels[i - 1]))


def savings(
    labels_B: npt.ArrayLike,
    method_RB: npt.ArrayLike,
    baseline_RB: npt.ArrayLike,
    *,
    way: float = 1.0,
    target: float | None = None,
) -> Savings:
    """Labels saved against the baseline at equal quality, paired by seed.

    The target of a seed is ``first + way * (best - first)`` of the baseline's own curve in that seed (``way`` 1: the
    best it ever reached), so that the baseline always has an answer; a common target would leave out the seeds in
    which the baseline was unlucky. Saved is 1 - n_method / n_baseline, the initial labels counted in both.

    Args:
        labels_B: label counts.
        method_RB: curves of the method, higher = better.
        baseline_RB: curves of the baseline, same seeds.
        way: share of the baseline's way, in (0, 1].
        target: a value for all seeds instead.

    Returns:
        Mean and interval over the pairs where both reach the target; the others are counted as censored.
    """
    labels, method = _checked(labels_B, method_RB)
    _, baseline = _checked(labels_B, baseline_RB)
    rows = range(min(len(method), len(baseline)))
    asked = [_saved(labels, method[r], baseline[r], way=way, target=target) for r in rows]
    pairs = [a for a in asked if a is not None]
    both = [a for a in pairs if np.isfinite(a[1])]
    per_seed = tuple(NAN if a is None or not np.isfinite(a[1]) else 1 - a[1] / a[2] for a in asked)
    ordered = sorted(1 - a[1] / a[2] if np.isfinite(a[1]) else -np.inf for a in pairs)
    median = float(np.median(ordered)) if ordered and ordered[(len(ordered) - 1) // 2] > -np.inf else NAN
    return Savings(
        way=NAN if target is not None else way,
        target=float(np.mean([a[0] for a in pairs])) if pairs else NAN,
        saved=interval([1 - a[1] / a[2] for a in both]),
        median=median,
        labels_method=float(np.mean([a[1] for a in both])) if both else NAN,
        labels_baseline=float(np.mean([a[2] for a in both])) if both else NAN,
        pairs=len(pairs),
        reached=len(both),
        saved_R=per_seed,
    )


def diverged(
    values: Mapping[str, FloatArray],
    *,
    present: Mapping[str, npt.NDArray[np.bool_]] | None = None,
    losses: Mapping[str, FloatArray] | None = None,
    chance: float | None = None,
) -> list[Divergence]:
    """Rounds that look diverged; flagged and kept, never dropped.

    A round is flagged by the first of these that holds:

    1. its metric is not finite;
    2. its training loss is not finite, in a study where any loss is known;
    3. it is at or below chance, while the median of the other runs at that budget has left chance by more than
       ``COLLAPSE_SHARE`` of the way to 1;
    4. it collapsed: more than ``OUTLIER_SIGMAS`` robust standard deviations (1.4826 MAD) *and* more than
       ``COLLAPSE_SHARE`` of the median's height above the floor behind the other runs at that budget, *and* as much
       below its own best earlier round. Floor: chance if known, else the median of all first rounds. With fewer than
       three other runs: more than half of its own earlier height above chance lost.

    Args:
        values: strategy -> (R, B), higher = better.
        present: strategy -> (R, B), which rounds were run at all; default: those with a finite value.
        losses: strategy -> (R, B) training losses, NaN where not known.
        chance: the metric of guessing, on the same scale; None where there is none.

    Returns:
        Flags in the order of strategies, seeds, budgets.

    Cost: O((S R)^2 B).
    """
    names = list(values)
    if not names:
        return []
    stack_SRB = np.stack([np.asarray(values[n], dtype=np.float64) for n in names])
    run_SRB = np.stack([present[n] for n in names]) if present is not None else np.isfinite(stack_SRB)
    loss_SRB = np.stack([losses[n] for n in names]) if losses is not None else np.full_like(stack_SRB, np.nan)
    loss_known = bool(np.isfinite(loss_SRB).any())
    floor = chance if chance is not None else _first_round(stack_SRB)
    flags = []
    for s, r, b in np.argwhere(run_SRB):
        value = float(stack_SRB[s, r, b])
        others = np.delete(stack_SRB[:, :, b].ravel(), s * stack_SRB.shape[1] + r)
        others = others[np.isfinite(others)]
        reason = ""
        if not np.isfinite(value):
            reason = "the metric is not finite"
        elif loss_known and not np.isfinite(loss_SRB[s, r, b]):
            reason = "the training loss is not finite"
        else:
            reason = _collapse(value, stack_SRB[s, r, :b], others, floor, chance)
        if reason:
            flags.append(Divergence(names[s], int(r), int(b), value, reason))
    return flags


def _collapse(value: float, earlier_B: FloatArray, others: FloatArray, floor: float, chance: float | None) -> str:
    median = float(np.median(others)) if others.size else NAN
    if chance is not None and value <= chance and median > chance + COLLAPSE_SHARE * (1 - chance):
        return f"at or below chance ({chance:.3g}) where the median of the other runs is {median:.3g}"
    earlier = earlier_B[np.isfinite(earlier_B)]
    if earlier.size == 0 or not np.isfinite(floor):
        return ""
    best = float(earlier.max())
    if others.size < 3:
        lost = best - value > 0.5 * (best - floor) and chance is not None and best > floor
        return f"fell from its own {best:.3g}, with too few other runs to compare" if lost else ""
    sigma = 1.4826 * float(np.median(np.abs(others - median)))
    threshold = max(OUTLIER_SIGMAS * sigma, COLLAPSE_SHARE * (median - floor))
    if threshold > 0 and median - value > threshold and best - value > threshold:
        return f"fell from its own {best:.3g}, where the median of the other runs is {median:.3g}"
    return ""


def _first_round(stack_SRB: FloatArray) -> float:
    first = stack_SRB[:, :, 0][np.isfinite(stack_SRB[:, :, 0])] if stack_SRB.shape[2] else np.empty(0)
    return float(np.median(first)) if first.size else NAN


def _saved(
    labels: FloatArray, method: FloatArray, baseline: FloatArray, *, way: float, target: float | None
) -> tuple[float, float, float] | None:
    """(target, labels of the method or NaN where it misses, labels of the baseline); None: not to be asked."""
    finite = baseline[np.isfinite(baseline)]
    if finite.size == 0 or not np.isfinite(baseline[-1]) or not np.isfinite(method).any():
        return None
    goal = target
    if goal is None:
        first, best = float(finite[0]), float(finite.max())
        if best <= first:  # the baseline never improved: no way to go a share of
            return None
        goal = best if way == 1 else first + way * (best - first)
    needed_baseline = labels_to_reach(labels, baseline, goal)
    needed_method = labels_to_reach(labels, method, goal)
    if not np.isfinite(needed_baseline) or (not np.isfinite(needed_method) and not np.isfinite(method[-1])):
        return None  # unfinished: "not reached" would be unfair
    return goal, needed_method, needed_baseline


def _no_spread(difference: FloatArray, method: FloatArray, baseline: FloatArray) -> bool:
    if difference.size < 2:
        return True
    scale = max(float(np.abs(method).max()), float(np.abs(baseline).max()), np.finfo(float).tiny)
    return bool(difference.std(ddof=1) <= 1e-12 * scale)


def _checked(labels_B: npt.ArrayLike, values_RB: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    labels, values = np.asarray(labels_B, dtype=np.float64), np.asarray(values_RB, dtype=np.float64)
    if labels.ndim != 1 or values.ndim != 2 or values.shape[1] != labels.size or labels.size == 0:
        raise DataError(f"labels of shape {labels.shape} and values of shape {values.shape}: expected (B,) and (R, B)")
    if (np.diff(labels) <= 0).any():
        raise DataError(f"label counts must ascend strictly, got {labels.tolist()}")
    return labels, values


def _on_scale(labels: FloatArray, scale: Scale) -> FloatArray:
    if scale == "linear":
        return labels
    if scale != "log2":
        raise ConfigError(f"unknown x scale {scale!r}: Allowed: linear, log2")
    if labels[0] <= 0:
        raise ConfigError(f"x scale log2 needs label counts above 0, got {labels[0]:g}: use linear")
    return np.asarray(np.log2(labels), dtype=np.float64)


def _interpolated(grid: FloatArray, x: FloatArray, row: FloatArray) -> FloatArray:
    return np.asarray(np.interp(grid, x, row), dtype=np.float64)
