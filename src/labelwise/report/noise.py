"""The noise floor of a study: how far two strategies lie apart where nothing but the chance of training differs.

A training is drawn like a lot: initial weights, order and augmentation decide a part of what it reaches. Two strategies
that are equally good differ by that much, in each round anew. The floor is what such a difference stays below in 95 of
100 studies; a gain below it is none, whatever a paired test says of it.

Dimension key: R seeds, B budgets (label counts).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from labelwise.campaign.records import RunRecord, Study
from labelwise.report.statistics import FloatArray, Scale, area

NAN = float("nan")


@dataclass(frozen=True, slots=True)
class Spread:
    """The variance of one training on given labels.

    Args:
        variance: of the metric; NaN where nothing was trained twice.
        freedom: degrees of freedom behind it: trainings less the sets of labels they were on.
    """

    variance: float
    freedom: int

    @property
    def deviation(self) -> float:
        """Standard deviation of one training."""
        return math.sqrt(self.variance)


def spread(trainings: Sequence[Sequence[float]]) -> Spread:
    """The variance within groups, pooled.

    With pairs it is the mean of (a - b)^2 / 2.

    Args:
        trainings: for each set of labels, the metric of every training on it; those that are not finite are left out.

    Example:
        >>> found = spread([[0.80, 0.82], [0.70, 0.74]])
        >>> round(found.variance, 6), found.freedom
        (0.0005, 2)
    """
    groups = [np.array([value for value in group if math.isfinite(value)]) for group in trainings]
    groups = [group for group in groups if group.size > 1]
    freedom = sum(group.size - 1 for group in groups)
    squares = sum(float(((group - group.mean()) ** 2).sum()) for group in groups)
    return Spread(squares / freedom if freedom else NAN, freedom)


def floor_of(parts: Sequence[tuple[float, Spread]], seeds: int, *, level: float = 0.95) -> float:
    """What the difference of two means over seeds stays below where both strategies are equally good.

    With v = sum_i c_i s_i^2 the variance of what is averaged over seeds, two means differ with variance 2 v / R, and
    the floor is t * sqrt(2 v / R): t the two-sided quantile of Student's distribution at the degrees of freedom of v,
    v^2 / sum_i ((c_i s_i^2)^2 / f_i) (Satterthwaite, An Approximate Distribution of Estimates of Variance Components,
    Biometrics Bulletin 1946); of one part, its own.

    Args:
        parts: (weight c_i, variance s_i^2 of one training with its degrees of freedom f_i).
        seeds: R, over which both means are taken.
        level: share of the studies without any difference that stay below, in (0, 1).

    Returns:
        0 where trainings do not differ; NaN where that is not known.

    Example:
        >>> round(floor_of([(1.0, Spread(0.0004, 5))], seeds=5), 4)
        0.0325
    """
    known = [(weight * part.variance, part.freedom) for weight, part in parts if weight > 0]
    total = sum(variance for variance, _ in known)
    if not known or seeds < 1 or not math.isfinite(total):
        return NAN
    if total == 0:
        return 0.0
    freedom = total**2 / sum(variance**2 / freedom for variance, freedom in known)
    return float(stats.t.ppf(0.5 + level / 2, freedom) * math.sqrt(2 * total / seeds))


@dataclass(frozen=True)
class Noise:
    """What trainings on the same labels say of a study's differences.

    Args:
        first: of trainings on the labels of the first round.
        last: likewise of the last; between the two the variance goes over evenly.
        share_B: how far each budget is from the first to the last, in [0, 1], on the scale of the areas.
        weight_B: weight of each budget in the mean over the curve; 0 where all strategies share one training.
        fixed: whether the trainings again were no other ones: the learner does not look at its seed.
    """

    first: Spread
    last: Spread
    share_B: FloatArray
    weight_B: FloatArray
    fixed: bool

    @property
    def trainings(self) -> int:
        """How many there were beside those of the rounds."""
        return self.first.freedom + self.last.freedom

    def at(self, budget: int, seeds: int) -> float:
        """The floor of a difference at one budget, by its position."""
        if self.weight_B[budget] == 0:
            return 0.0
        share = float(self.share_B[budget])
        return floor_of([(1 - share, self.first), (share, self.last)], seeds)

    def between(self, budget: int, other: int, seeds: int) -> float:
        """The floor of a difference of one strategy's means at two budgets, each with trainings of its own."""
        share = float(self.share_B[budget] + self.share_B[other]) / 2
        return floor_of([(1 - share, self.first), (share, self.last)], seeds)

    def over_curve(self, seeds: int) -> float:
        """The floor of a difference of means over the curve: each budget has a training of its own."""
        squares_B = self.weight_B**2
        first, last = float((squares_B * (1 - self.share_B)).sum()), float((squares_B * self.share_B).sum())
        return floor_of([(first, self.first), (last, self.last)], seeds)


def noise_of(study: Study, labels_B: FloatArray, scale: Scale) -> Noise | None:
    """What the further trainings of a study say of its primary metric; None where there are none.

    Args:
        study: the records.
        labels_B: the label counts that strategies are compared at.
        scale: x scale of the areas under the curve.
    """
    runs = [run for run in study.runs if run.again]
    if not runs or not labels_B.size:
        return None
    place_B = np.log2(labels_B) if scale == "log2" else labels_B
    reach = place_B[-1] - place_B[0]
    weight_B = area(labels_B, np.eye(labels_B.size), scale=scale)
    shared = [_shared(study, labels) for labels in labels_B.tolist()]
    firsts = [_values(study, run, run.rounds[0].round) for run in runs]
    lasts = [_values(study, run, run.rounds[-1].round) for run in runs]
    # a few pairs that happen to agree, as shares of few test images do, are no proof that trainings do
    both = spread([*firsts, *lasts])
    first, last = (both if found.variance == 0 else found for found in (spread(firsts), spread(lasts)))
    return Noise(
        first=first,
        last=last,
        share_B=(place_B - place_B[0]) / reach if reach else np.ones_like(place_B),
        weight_B=np.where(shared, 0.0, weight_B),
        fixed=all(again.fit_key and again.fit_key in _keys(run, again.round) for run in runs for again in run.again),
    )


def _values(study: Study, run: RunRecord, number: int) -> list[float]:
    """The metric of each training on the labels of a round."""
    records = [r for r in (*run.rounds, *run.again) if r.round == number]
    return [r.metrics.get(study.primary, NAN) for r in records]


def _keys(run: RunRecord, number: int) -> set[str]:
    return {r.fit_key for r in run.rounds if r.round == number}


def _shared(study: Study, labels: float) -> bool:
    """Whether all strategies have one and the same training at a label count, in every seed."""
    found: dict[int, set[str]] = {}
    for run in study.runs:
        found.setdefault(run.seed, set()).update(r.fit_key for r in run.rounds if r.labels == labels)
    alike = all(len(keys) == 1 and "" not in keys for keys in found.values())
    return alike and len({run.strategy for run in study.runs}) > 1
