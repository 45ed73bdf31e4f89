"""How good a model is: on images held out for testing, or, where there are none, by cross-validation."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from labelwise.campaign.weighing import weigh
from labelwise.contracts.learner import Examples, Learner, LearnerData
from labelwise.contracts.progress import Progress, silent
from labelwise.rng import digest, generator

if TYPE_CHECKING:
    from labelwise.campaign.examples import PoolExamples
    from labelwise.campaign.fits import Fitted
    from labelwise.campaign.loop import Campaign

#: parts that the labels are cut into
FOLDS = 5
#: begins the name of a metric that is cross-validated
CROSS_VALIDATED = "cross_validated_"
#: why a number says less than it seems to
CHOSEN = (
    "cross-validated on the labelled images: they were chosen, not drawn, so the pool may be easier or harder; "
    "'labelwise holdout -n 50' draws images that say how good the model really is"
)


@dataclass(frozen=True)
class Judged:
    """How good the weights in use are.

    Args:
        metrics: on the test items, or else cross-validated.
        tested: digest of the test set.
        ends: name -> both ends of the 95 % interval, where test images are weighted; {} else.
    """

    metrics: Mapping[str, float]
    tested: str
    ends: Mapping[str, tuple[float, float]] = field(default_factory=dict)


def measure(campaign: Campaign) -> Judged:
    """Metrics of the weights in use, on the test items or else cross-validated.

    Test images that were drawn with unequal chances are weighted.
    """
    examples, tested = campaign.examples, measured_on(campaign.examples)
    found = weigh(examples, campaign.setting.learner, campaign.progress)
    if found is not None:
        return Judged(found.metrics, tested, found.ends)
    return Judged(campaign.evaluate("test") or cross_validated(examples, campaign.progress), tested)


def up_to_date(found: Fitted, campaign: Campaign) -> Fitted:
    """A training that was found, measured again where labels of the test set came in since; its weights are in use."""
    if found.tested == measured_on(campaign.examples):
        return found
    judged = measure(campaign)
    now = replace(found, metrics=judged.metrics, tested=judged.tested, ends=judged.ends)
    campaign.fits.note(now)
    return now


def measured_on(examples: PoolExamples) -> str:
    """A digest of the test set with its labels, which grows and is corrected while people label; "" without one.

    In simulated campaigns, where it never changes, it is not computed.
    """
    pool = examples.pool
    tests = pool.with_role("test")
    if examples.setting.truth is not None or not len(tests):
        return ""
    return digest(json.dumps([[pool.ids[p], pool.target(p)] for p in tests], default=str))


def cross_validated(examples: PoolExamples, progress: Progress) -> dict[str, float]:
    """The first metric of the task by five-fold cross-validation; {} for learners that train long, and few labels.

    Folds are drawn at random, those images together that belong to one group. Labels that a strategy chose are harder
    or easier than the pool, so this speaks of the labelled images and not of the pool.
    """
    learner, setting = examples.setting.learner, examples.setting
    if not learner.quick or setting.truth is not None or len(examples.pool.labelled) < 2 * FOLDS:
        return {}
    metrics = setting.task.metrics()
    values, weights = [], []
    rng = generator(setting.seed, "cross-validation")
    for own, part in trained_without(examples, examples.data(), rng, progress):
        found = own.evaluate(part, progress=progress)
        if metrics.primary in found:
            values.append(found[metrics.primary])
            weights.append(len(part))
    return {CROSS_VALIDATED + metrics.primary: float(np.average(values, weights=weights))} if values else {}


def trained_without(
    examples: PoolExamples, data: LearnerData, rng: np.random.Generator, progress: Progress = silent
) -> Iterator[tuple[Learner, Examples]]:
    """For each of five parts of the labels a model that has not learnt from it, and the part.

    Weights in use stay as they are. A part that would be empty, or be all there is, is left out.

    Args:
        examples: of the pool.
        data: what they are trained on.
        rng: draws the parts; a group lies in one of them.
        progress: told on each training.
    """
    labelled, setting = data.labelled, examples.setting
    for part in _folds(examples, labelled, rng):
        held = set(part)
        if not held or len(held) == len(labelled):
            continue
        rest = [row for row in range(len(labelled)) if row not in held]
        own = copy.copy(setting.learner)
        own.fit(replace(data, labelled=_some(labelled, rest)), setting.seed, progress=progress)
        yield own, _some(labelled, part)


def _folds(examples: PoolExamples, view: Examples, rng: np.random.Generator) -> list[list[int]]:
    """Rows of the labelled images in five parts of about the same size; a group lies in one of them."""
    pool = examples.pool
    groups: dict[Any, list[int]] = {}
    for row, item in enumerate(view.ids):
        group = pool.items[pool.position(item)].group
        groups.setdefault(row if group is None else group, []).append(row)
    whole = list(groups.values())
    parts: list[list[int]] = [[] for _ in range(FOLDS)]
    for number in rng.permutation(len(whole)):
        min(parts, key=len).extend(whole[number])
    return parts


def _some(view: Examples, rows: Sequence[int]) -> Examples:
    """These rows of labelled items."""
    targets = view.targets or ()
    return replace(view, ids=tuple(view.ids[row] for row in rows), targets=tuple(targets[row] for row in rows))
