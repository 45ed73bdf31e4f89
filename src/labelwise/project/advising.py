"""How many labels more: the rounds of a project as a learning curve, carried on."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from labelwise.campaign.remeasuring import measured_now
from labelwise.errors import StateError
from labelwise.estimating.advice import Wish, advise
from labelwise.estimating.curves import LearningCurve
from labelwise.project.learning import Learning
from labelwise.report.forecast import Told

if TYPE_CHECKING:
    from labelwise.campaign.pool import Pool
    from labelwise.project.project import Project

#: labels of the next round where no round was labelled before
ROUND = 100
#: half a normal interval of 95 % in standard errors
_Z = 1.96


def advised(
    project: Project,
    number: int | None = None,
    *,
    worth: float = 0.5,
    target: float | None = None,
    horizon: int = 10_000,
) -> Told:
    """What more labels are likely to bring, from the metric of each round on the test images.

    Args:
        project: with a test set and four rounds or more.
        number: labels of the next round; None: as many as the last one had.
        worth: points that a round has to bring to be worth it.
        target: value of the metric to reach.
        horizon: most labels that there could be.

    Raises:
        StateError: no test set, no round, or nothing left to label.
        DataError: too few rounds, or a metric that falls.
        ConfigError: a wish that makes no sense.
    """
    pool, task = project.pool, project.task
    metric, tests = task.metrics().primary, len(pool.with_role("test"))
    if not tests:
        raise StateError(
            "no test image has a label, and labels that were chosen say nothing of the pool: 'labelwise holdout -n 50' "
            "draws some; the models of earlier rounds are then measured on them, too"
        )
    points, notes = _points(project, metric)
    counts = sorted(points)
    if not counts:
        raise StateError("no model was measured on the test images yet: run 'labelwise fit' after each round of labels")
    usual = counts[-1] - counts[-2] if len(counts) > 1 else ROUND
    there = _could_be_labelled(pool)
    if there <= counts[-1]:
        raise StateError(
            f"all {there:,} images have a label: add images ('labelwise init' again) before asking for more"
        )
    if horizon > there:
        notes.append(f"there are {there:,} images: nothing is told beyond")
    wish = Wish(min(number or usual, there - counts[-1]), worth, target, min(horizon, there))
    curve = LearningCurve(
        np.array(counts, dtype=np.float64),
        np.array([points[count][0] for count in counts]),
        np.array([points[count][1] for count in counts]),
        best=1.0 if task.metrics().higher_is_better else 0.0,
        higher_is_better=task.metrics().higher_is_better,
    )
    return Told(metric, tests, advise(curve, wish, seed=project.config.seed), tuple(notes))


def _points(project: Project, metric: str) -> tuple[dict[int, tuple[float, float]], list[str]]:
    """Labels -> the metric and its standard error, of the newest model with so many; and notes."""
    campaign = Learning(project).campaign()
    records = [record for record in project.records() if record.labels]
    tests = len(project.pool.with_role("test"))
    found: dict[int, tuple[float, float]] = {}
    elsewhere = unmeasured = 0
    for record, fitted in zip(records, measured_now(campaign, records), strict=True):
        if fitted is not None:
            value = fitted.metrics.get(metric, math.nan)
            error = _error(value, fitted.ends.get(metric), tests)
        else:
            value = record.metrics.get(metric, math.nan)
            error = _error(value, record.ends.get(metric), record.tested)
            elsewhere += math.isfinite(value)
        if math.isfinite(value):
            found[record.labels] = (value, error)
        else:
            unmeasured += record.labels not in found
    notes = []
    if elsewhere:
        notes.append(
            f"{elsewhere:,} round(s) were measured on the test images of then: their models are gone, or not these"
        )
    if unmeasured:
        notes.append(f"{unmeasured:,} round(s) are left out: no model was trained or measured in them")
    if found and (new := len(project.pool.labelled) - max(found)) > 0:
        notes.append(f"{new:,} label(s) are newer than the last model: 'labelwise fit' adds a round")
    return found, notes


def _error(value: float, ends: tuple[float, float] | list[float] | None, tested: int) -> float:
    """Standard error of a metric: from its interval, else the most that a mean of values in [0, 1] can have."""
    if ends is not None:
        return float(ends[1] - ends[0]) / (2 * _Z)
    share = (min(max(value, 0.0), 1.0) * tested + 1) / (tested + 2)
    return math.sqrt(share * (1 - share) / max(tested, 1))


def _could_be_labelled(pool: Pool) -> int:
    """Items with a label, asked or free."""
    pending = {int(position) for position in pool.pending if pool.role(position) == "pool"}
    return len({*pool.labelled.tolist(), *pool.candidates.tolist(), *pending})
