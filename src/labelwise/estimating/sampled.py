"""A risk from few test images that were drawn with unequal chances: unbiased, whatever the chances were.

Images are drawn one after the other without replacement, the doubtful ones more often. That makes a plain mean of
their losses too high; weights by the chance of each draw put it right.

Dimension key: N images to draw from, M draws.

Reference: Kossen, Farquhar, Gal, Rainforth, Active Testing: Sample-Efficient Model Evaluation, ICML 2021 (draw where
the expected loss is high); Farquhar, Gal, Rainforth, On Statistical Bias in Active Learning: How and When to Fix It,
ICLR 2021 (the weights of its levelled estimator, LURE).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from labelwise.errors import DataError
from labelwise.estimating.families import FloatArray

#: share of every draw that is plainly at random, so that images a model is wrongly sure of are drawn, too
FLOOR = 0.5


@dataclass(frozen=True)
class Draws:
    """Images in the order in which they were drawn.

    Args:
        rows_M: which, of N.
        chance_M: of each draw, the chance of this image among those that were left then.
        among: N, from how many the first was drawn.
    """

    rows_M: np.ndarray
    chance_M: FloatArray
    among: int


@dataclass(frozen=True)
class Estimate:
    """A mean over all images, from some of them.

    Args:
        value: unbiased, so of few draws it may lie beyond what is possible.
        low: lower end of the interval.
        high: upper end.
    """

    value: float
    low: float
    high: float


def draw(expected_N: FloatArray, count: int, rng: np.random.Generator, *, floor: float = FLOOR) -> Draws:
    """Draws images without replacement, each time in proportion to the root of the loss that is expected of it.

    ``q(i) = floor / N + (1 - floor) sqrt(e_i) / sum_j sqrt(e_j)`` over the images that are left. The root is what makes
    the variance least where a loss is 1 with probability e and 0 otherwise; the paper draws in proportion to e itself.

    Args:
        expected_N: expected loss of each image, finite, at least 0.
        count: M, from 1 to N.
        rng: of the draws.
        floor: share at random, in (0, 1].

    Raises:
        DataError: a loss that is none, or more draws than images.

    Cost: O(M N).

    Example:
        >>> found = draw(np.array([0.0, 0.5, 0.0, 0.4]), 2, np.random.default_rng(0))
        >>> found.among, len(set(found.rows_M.tolist()))
        (4, 2)
    """
    if not (np.isfinite(expected_N).all() and (expected_N >= 0).all()):
        raise DataError("an expected loss is negative or no number: did the training diverge? Lower the learning rate")
    if not 1 <= count <= len(expected_N):
        raise DataError(f"{count:,} draws from {len(expected_N):,} images: draw 1 to {len(expected_N):,}")
    wanted_N = np.sqrt(expected_N)
    urn, taken = _Urn(wanted_N), np.zeros(len(wanted_N), dtype=bool)
    rows, chances = [], []
    for place in range(count):
        free, total = len(wanted_N) - place, float(urn.total)
        share = floor if total > 0 else 1.0
        if rng.random() < share:
            row = int(rng.integers(len(wanted_N)))
            while taken[row]:
                row = int(rng.integers(len(wanted_N)))
        else:
            row = urn.draw(rng)
        rows.append(row)
        chances.append(share / free + ((1 - share) * float(wanted_N[row]) / total if total > 0 else 0.0))
        taken[row] = True
        urn.take(row)
    return Draws(np.array(rows, dtype=np.int64), np.array(chances), len(wanted_N))


class _Urn:
    """Draws rows in proportion to their weights, without those that were taken; sums are anew when half is gone."""

    def __init__(self, weight_N: FloatArray) -> None:
        self._left_N = weight_N.copy()
        self._sum()

    def _sum(self) -> None:
        self._up_to_N = np.cumsum(self._left_N)
        self._summed = self.total = float(self._up_to_N[-1])

    def take(self, row: int) -> None:
        self._left_N[row] = 0.0
        self.total = float(self._left_N.sum())
        if self.total < self._summed / 2:
            self._sum()

    def draw(self, rng: np.random.Generator) -> int:
        while True:
            row = int(np.searchsorted(self._up_to_N, rng.random() * self._summed, side="right"))
            if row < len(self._left_N) and self._left_N[row] > 0:
                return row


def weights(chance_M: FloatArray, among: int) -> FloatArray:
    """(M,) the weight of each draw in the mean: ``1 + (N - M) / (N - m) (1 / ((N - m + 1) q_m) - 1)`` for m = 1 .. M.

    They average to 1 over many draws; with equal chances each is 1, and so they are where all images were drawn.

    Args:
        chance_M: of each draw among the images that were left then, in (0, 1].
        among: N.

    Raises:
        DataError: no chance at all, or more draws than images.

    Example:
        >>> weights(np.array([1 / 4, 1 / 3]), 4).tolist()
        [1.0, 1.0]
    """
    count = len(chance_M)
    if count > among or not ((chance_M > 0) & (chance_M <= 1)).all():
        raise DataError(
            f"{count:,} draws from {among:,} images, with chances that must lie in (0, 1]: cannot be weighed"
        )
    place_M = np.arange(1, count + 1)
    # the last of all images has nothing left beside it, and its weight is 1
    share_M = (among - count) / np.maximum(among - place_M, 1)
    return np.asarray(1 + share_M * (1 / ((among - place_M + 1) * chance_M) - 1))


def estimate(loss_M: FloatArray, weight_M: FloatArray, among: float, *, level: float = 0.95) -> Estimate:
    """The mean loss over all images, with an interval.

    Losses of 0 and 1 (an answer that is wrong): the chance that a draw is wrong times the mean weight of wrong ones,
    Wilson's interval for the chance, on so many draws as the wrong ones are worth when their weights differ; with equal
    weights it is Wilson's own. One wrong draw of weight 1 is added to what is known of weights, so that none at all is
    no certainty. Other losses: Student's t on the weighted losses.

    Args:
        loss_M: of each draw.
        weight_M: as ``weights`` gives them.
        among: N, which may be infinite; all images drawn leave nothing open.
        level: coverage, in (0, 1).

    Raises:
        DataError: no draw, or lengths that differ.

    Example:
        >>> found = estimate(np.array([1.0, 0, 0, 0]), np.ones(4), 1000)
        >>> found.value, round(found.low, 3), round(found.high, 3)
        (0.25, 0.046, 0.699)
    """
    count = len(loss_M)
    if not count or count != len(weight_M):
        raise DataError(
            f"{count:,} losses and {len(weight_M):,} weights: give one of each for every draw, at least one"
        )
    value = float(weight_M @ loss_M / count)
    left = 1.0 if math.isinf(among) else math.sqrt(max(0.0, (among - count) / max(among - 1, 1)))
    if set(np.unique(loss_M).tolist()) <= {0.0, 1.0}:
        low, high = _of_wrong(loss_M > 0, weight_M, level)
    elif count > 1:
        half = float(stats.t.ppf(0.5 + level / 2, count - 1) * (weight_M * loss_M).std(ddof=1) / math.sqrt(count))
        low, high = max(0.0, value - half), value + half
    else:
        return Estimate(value, math.nan, math.nan)
    return Estimate(value, value - (value - low) * left, value + (high - value) * left)


def _of_wrong(wrong_M: np.ndarray, weight_M: FloatArray, level: float) -> tuple[float, float]:
    count, seen = len(wrong_M), int(wrong_M.sum())
    even = bool(np.allclose(weight_M, weight_M[0]))
    # one more wrong draw, of the weight that it has where doubt tells nothing of it
    known = np.append(weight_M[wrong_M], [] if even and seen else [1.0])
    mean = float(known.mean())
    worth = float(known.sum()) ** 2 / float((known**2).sum()) / len(known)
    trials = count * worth
    rate = seen / count
    z = float(stats.norm.ppf(0.5 + level / 2))
    middle = (rate + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z * math.sqrt(rate * (1 - rate) / trials + z * z / (4 * trials * trials)) / (1 + z * z / trials)
    value = float(weight_M[wrong_M].sum()) / count
    low, high = mean * (middle - half), mean * (middle + half)
    return min(low, value), max(high, value)
