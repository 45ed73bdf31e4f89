"""A learning curve carried on beyond its last round, with intervals: by refitting noisy copies of it many times.

What a metric loses is fitted by several families (``families``), each copy by the family that its draw names, families
being drawn by how well they fit and how few numbers they take. A copy is the curve with the noise of a round added: of
training on other labels, and of test images that change their mind. How much that is, few rounds tell badly, so what
they leave over is pooled with what is usual. Constants were chosen on one half of the curves of
``benchmarks/auto/advise.py`` and judged on the other.

Dimension key: B rounds, D draws, S shapes, L label counts asked about.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import isotonic_regression

from labelwise.errors import DataError
from labelwise.estimating.families import FAMILIES, FloatArray, fitted

#: of every family: floor, height and shape
PARAMETERS = 3
#: rounds without which nothing can be said
FEWEST = 4


@dataclass(frozen=True)
class Tuned:
    """What cannot be told from one curve, chosen on many.

    Args:
        luck: standard deviation of a training on other labels, as a share of what the metric has lost.
        flips: share of the variance of a metric on so many test images that differs from round to round; the rest
            stays, as the images do.
        believed: rounds that the usual noise is worth beside those of the curve.
        ageing: how much more noise a round has for each doubling of labels since, as families fit far ones worse.
        bending: spread, on a logarithmic scale, of what labels bring beyond the last round against what the fit says,
            for each doubling.
    """

    luck: float = 0.02
    flips: float = 0.25
    believed: float = 8.0
    ageing: float = 0.35
    bending: float = 0.3


@dataclass(frozen=True)
class LearningCurve:
    """One metric over the rounds of one project.

    Args:
        labels_B: label counts, ascending.
        values_B: the metric after each round, finite.
        error_B: standard error of each value for the finite number of test images; 0 where nobody knows.
        best: the value of a model without a fault.
        higher_is_better: False for a loss.

    Raises:
        DataError: lengths that differ, counts that do not ascend, values that are no numbers.
    """

    labels_B: FloatArray
    values_B: FloatArray
    error_B: FloatArray
    best: float = 1.0
    higher_is_better: bool = True

    def __post_init__(self) -> None:
        if not len(self.labels_B) == len(self.values_B) == len(self.error_B):
            raise DataError(
                f"{len(self.labels_B)} label counts, {len(self.values_B)} values and {len(self.error_B)} errors: give "
                "one of each for every round"
            )
        if (np.diff(self.labels_B) <= 0).any() or (len(self.labels_B) and self.labels_B[0] < 1):
            raise DataError(f"label counts must ascend from 1 on, got {self.labels_B.tolist()}"[:300])
        if not (np.isfinite(self.values_B).all() and np.isfinite(self.error_B).all()):
            raise DataError("a learning curve holds a value that is no number: leave such rounds out")

    @property
    def loss_B(self) -> FloatArray:
        """How far each value is from the best one, at least 0."""
        return np.maximum(self.way * (self.best - self.values_B), 0)

    @property
    def way(self) -> float:
        """1 where higher is better, else -1."""
        return 1.0 if self.higher_is_better else -1.0

    def falls(self) -> bool:
        """Whether more labels made it worse: falling fits better than rising, by more than the noise of a round."""
        loss_B = self.loss_B
        if len(loss_B) < FEWEST:
            return False
        left = [float(((isotonic_regression(loss_B, increasing=up).x - loss_B) ** 2).sum()) for up in (True, False)]
        noise = math.hypot(Tuned().luck * float(loss_B.mean()), float(self.error_B.mean()))
        return left[0] < left[1] and float(loss_B[-2:].mean() - loss_B[:2].mean()) > 2 * noise


@dataclass(frozen=True)
class CarriedOn:
    """Many curves that one run may be a part of.

    Args:
        curve: as measured.
        family_D: which family each draw is of.
        shape_D: its shape.
        floor_D: what it does not fall below.
        height_D: how far it falls.
        noise_D: standard deviation of a round about it, at the last round.
        bend_D: standard normal: how each draw bends beyond the last round.
        weights: share of the draws by name of the family.
        tuned: constants.
        seed: of the noise of later rounds.
    """

    curve: LearningCurve
    family_D: np.ndarray
    shape_D: FloatArray
    floor_D: FloatArray
    height_D: FloatArray
    noise_D: FloatArray
    bend_D: FloatArray
    weights: Mapping[str, float]
    tuned: Tuned = field(default_factory=Tuned)
    seed: int = 0

    def values(self, labels: Sequence[float] | FloatArray) -> FloatArray:
        """(D, L) the metric of each draw's curve at these label counts, without the noise of a round."""
        labels_L = np.asarray(labels, dtype=np.float64)
        last = float(self.curve.labels_B[-1])
        loss_DL, now_D = self._loss(labels_L), self._loss(np.array([last]))[:, :1]
        doublings_L = np.maximum(np.log2(labels_L / last), 0)
        spread_L = self.tuned.bending * np.sqrt(doublings_L)
        # the mean of the factor stays one, so that bending widens and does not promise
        factor_DL = np.exp(self.bend_D[:, None] * spread_L - spread_L**2 / 2)
        loss_DL = np.where(doublings_L > 0, np.maximum(now_D - (now_D - loss_DL) * factor_DL, 0), loss_DL)
        return self._metric(loss_DL)

    def measured(self, labels: Sequence[float] | FloatArray) -> FloatArray:
        """(D, L) what will be measured there on the same test images."""
        values_DL = self.values(labels)
        noise_DL = np.random.default_rng([self.seed, 1]).standard_normal(values_DL.shape) * self.noise_D[:, None]
        return self._possible(values_DL + self.curve.way * noise_DL)

    def of_all(self, labels: Sequence[float] | FloatArray) -> FloatArray:
        """(D, L) the metric on all images like the test images, whose luck is one for all label counts."""
        stays = math.sqrt(max(0.0, 1 - self.tuned.flips)) * float(self.curve.error_B[-1])
        shift_D = self.curve.way * stays * np.random.default_rng([self.seed, 2]).standard_normal(len(self.shape_D))
        return self._possible(self.measured(labels) + shift_D[:, None])

    def reached(self, target: float, horizon: float) -> FloatArray:
        """(D,) labels at which each draw's curve reaches a value; infinite where not within the horizon.

        A single round may be lucky and measure it before. Between the label counts that are tried, 200 of them by equal
        ratios, lines are straight over log labels.
        """
        last = float(self.curve.labels_B[-1])
        tried = np.geomspace(min(last, horizon), max(last * 1.0001, horizon), 200)
        short_DL = self._short(self.values(tried), target)
        there_DL = np.maximum.accumulate(short_DL >= 0, axis=1)
        first_D = there_DL.argmax(1)
        found = np.where(there_DL.any(1), tried[first_D], np.inf)
        inside = np.flatnonzero(there_DL.any(1) & (first_D > 0))
        after, before = short_DL[inside, first_D[inside]], short_DL[inside, first_D[inside] - 1]
        share = -before / np.maximum(after - before, 1e-15)
        low, high = np.log(tried[first_D[inside] - 1]), np.log(tried[first_D[inside]])
        found[inside] = np.exp(low + share * (high - low))
        return found

    def _possible(self, values_DL: FloatArray) -> FloatArray:
        best = self.curve.best
        return np.asarray(np.minimum(values_DL, best) if self.curve.higher_is_better else np.maximum(values_DL, best))

    def _short(self, values_DL: FloatArray, target: float) -> FloatArray:
        return self.curve.way * (values_DL - target)

    def _loss(self, labels_L: FloatArray) -> FloatArray:
        loss_DL = np.empty((len(self.shape_D), len(labels_L)))
        for number, family in enumerate(FAMILIES):
            mine = np.flatnonzero(self.family_D == number)
            if len(mine):
                fall = family.fall(labels_L, self.shape_D[mine])
                loss_DL[mine] = self.floor_D[mine, None] + self.height_D[mine, None] * fall
        return loss_DL

    def _metric(self, loss_DL: FloatArray) -> FloatArray:
        return self.curve.best - self.curve.way * loss_DL


def carry_on(curve: LearningCurve, *, draws: int = 1000, seed: int = 0, tuned: Tuned | None = None) -> CarriedOn:
    """Fits every family to noisy copies of a curve and keeps one fit of each copy.

    Args:
        curve: of at least ``FEWEST`` rounds.
        draws: copies.
        seed: of the noise.
        tuned: constants; None: those that were chosen.

    Raises:
        DataError: fewer rounds.

    Cost: O(draws x rounds x 80 shapes): some 20 ms for 1,000 draws of ten rounds.

    Example:
        >>> labels = np.array([50.0, 100, 200, 400])
        >>> found = carry_on(LearningCurve(labels, 1 - labels**-0.5, np.full(4, 0.005)))
        >>> low, high = np.quantile(found.measured([800])[:, 0], [0.1, 0.9])
        >>> bool(low < 1 - 800**-0.5 < high)
        True
    """
    if len(curve.labels_B) < FEWEST:
        raise DataError(f"{len(curve.labels_B)} measured rounds: a curve needs {FEWEST} to be carried on")
    tuned = tuned or Tuned()
    rng = np.random.default_rng([seed, 0])
    labels_B, loss_B = curve.labels_B, curve.loss_B
    rounds = len(labels_B)
    usual = (tuned.luck * loss_B[-1]) ** 2 + tuned.flips * curve.error_B[-1] ** 2 + 1e-8
    # a round's noise against that of the last one: it falls with the loss, and far rounds count less
    ratio_B = ((tuned.luck * loss_B) ** 2 + tuned.flips * curve.error_B**2 + 1e-8) / usual
    ratio_B = ratio_B * (1 + tuned.ageing * np.log2(labels_B[-1] / labels_B)) ** 2
    weight_B = 1 / ratio_B
    fits = [_Fit.of(number, labels_B, loss_B[None], weight_B, usual) for number in range(len(FAMILIES))]
    count = rounds + tuned.believed
    # all families have as many parameters, so that of Akaike's criterion for few values the fit alone remains
    left_F = np.array([float(fit.left_D[0]) for fit in fits])
    weight_F = np.array([family.believed for family in FAMILIES])
    weight_F *= ((left_F + tuned.believed * usual) / (left_F.min() + tuned.believed * usual)) ** (-count / 2)
    weight_F /= weight_F.sum()
    family_D = rng.choice(len(FAMILIES), size=draws, p=weight_F)
    free = max(rounds - PARAMETERS, 0) + tuned.believed
    noise_D = np.sqrt((left_F[family_D] + tuned.believed * usual) / rng.chisquare(free, draws))
    copies_DB = loss_B + noise_D[:, None] * np.sqrt(ratio_B) * rng.standard_normal((draws, rounds))
    chosen = np.zeros((3, draws))
    for number in range(len(FAMILIES)):
        mine = np.flatnonzero(family_D == number)
        if len(mine):
            fit = _Fit.of(number, labels_B, copies_DB[mine], weight_B, noise_D[mine] ** 2)
            chosen[:, mine] = fit.shape_D, fit.floor_D, fit.height_D
    names = {family.name: float(weight) for family, weight in zip(FAMILIES, weight_F, strict=True)}
    shape_D, floor_D, height_D = chosen
    bend_D = rng.standard_normal(draws)
    return CarriedOn(curve, family_D, shape_D, floor_D, height_D, noise_D, bend_D, names, tuned, seed)


@dataclass(frozen=True)
class _Fit:
    """The best shape of one family for each of some curves."""

    shape_D: FloatArray
    floor_D: FloatArray
    height_D: FloatArray
    left_D: FloatArray

    @classmethod
    def of(
        cls, number: int, labels_B: FloatArray, loss_DB: FloatArray, weight_B: FloatArray, variance: float | FloatArray
    ) -> _Fit:
        family = FAMILIES[number]
        shapes_S = family.shapes(float(labels_B[0]), float(labels_B[-1]))
        floor_DS, height_DS, left_DS = fitted(family.fall(labels_B, shapes_S), loss_DB, weight_B)
        unusual_DS = np.multiply.outer(np.broadcast_to(variance, len(loss_DB)), family.usual(shapes_S))
        best_D = (left_DS + unusual_DS).argmin(1)
        rows = np.arange(len(loss_DB))
        return cls(shapes_S[best_D], floor_DS[rows, best_D], height_DS[rows, best_D], left_DS[rows, best_D])
