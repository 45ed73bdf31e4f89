"""Metrics on test images that were drawn with unequal chances: each image weighs by the chance that it had.

Dimension key: T test images, M draws of one round.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from labelwise.campaign.events import Held
from labelwise.contracts.task import Outputs
from labelwise.errors import UnmetNeed
from labelwise.estimating.sampled import estimate, weights
from labelwise.selection.arrays import as_tensor
from labelwise.signals.plain import Probs

if TYPE_CHECKING:
    from labelwise.campaign.examples import PoolExamples
    from labelwise.campaign.pool import Pool, Positions
    from labelwise.contracts.learner import Learner
    from labelwise.contracts.progress import Progress
    from labelwise.contracts.task import Task
    from labelwise.estimating.families import FloatArray


@dataclass(frozen=True)
class Drawn:
    """Test images with their weights.

    Args:
        weight_T: of each labelled test image, 1 where it was drawn like any other.
        among: how many images they stand for; infinite where some came with the data.
        missing: drawn before the last that was answered, and without a label.
    """

    weight_T: FloatArray
    among: float
    missing: int


@dataclass(frozen=True)
class Weighed:
    """Metrics over what the test images stand for.

    Args:
        metrics: name -> estimate, those that are means over images.
        ends: name -> both ends of the 95 % interval.
    """

    metrics: Mapping[str, float] = field(default_factory=dict)
    ends: Mapping[str, tuple[float, float]] = field(default_factory=dict)


def by_doubt(pool: Pool, positions: Positions) -> dict[int, Held]:
    """Those of some items that were drawn with unequal chances, and how."""
    asked = {int(position): pool.asked.first(int(position)) for position in positions}
    return {p: query for p, query in asked.items() if isinstance(query, Held) and query.chance is not None}


def drawn(pool: Pool, positions: Positions) -> Drawn | None:
    """Weights of labelled test images; None where all were drawn alike.

    The draws of a round end with the last one that has a label: what was drawn after it, and cancelled or not answered
    yet, changes nothing. One without a label before it (skipped, taken back, not answered yet) is taken to be like the
    others.
    """
    known = by_doubt(pool, positions)
    if not known:
        return None
    rounds: dict[int, list[int]] = {}
    for row, position in enumerate(positions.tolist()):
        if position in known:
            rounds.setdefault(known[position].round, []).append(row)
    weight_T, among, missing = np.ones(len(positions)), 0.0, 0
    for rows in rounds.values():
        events = [known[int(positions[row])] for row in rows]
        ranks = np.array([event.rank or 0 for event in events])
        count = int(ranks.max()) + 1
        # a weight depends on its own draw and on how many there were; chances of those without a label do not matter
        chance_M = np.full(count, 0.5)
        chance_M[ranks] = [event.chance or 1.0 for event in events]
        weight_T[rows] = weights(chance_M, events[0].among)[ranks]
        among += events[0].among
        missing += count - len(rows)
    alike = len(positions) - sum(map(len, rounds.values()))
    return Drawn(weight_T, among if not alike else float("inf"), missing)


def refuse_unweighable(task: Task[object], learner: Learner) -> None:
    """Refuses unequal chances where no metric could make up for them.

    Raises:
        UnmetNeed: says why, and what to do.
    """
    primary = task.metrics().primary
    instead = "'labelwise holdout' without --active draws images alike"
    if primary not in task.averaged:
        raise UnmetNeed(
            f"--active weighs images, and {primary} of {task.name} is no mean over images, which weights put right: "
            f"{instead}"
        )
    if not Probs().fields <= learner.provides:
        raise UnmetNeed(f"--active draws by class probabilities, and {learner.called} gives none: {instead}")


def weigh(examples: PoolExamples, learner: Learner, progress: Progress) -> Weighed | None:
    """Metrics of a model on the test images, weighted; None where they were drawn alike.

    Raises:
        UnmetNeed: the learner gives no probabilities, or the task has no metric that is a mean over images.
    """
    positions = examples.pool.with_role("test")
    found = drawn(examples.pool, positions)
    if found is None:
        return None
    refuse_unweighable(learner.task, learner)
    view = examples.of(positions, targets=True)
    table = learner.collect(view, frozenset({Probs()}), progress=progress)
    rows = {item: row for row, item in enumerate(view.ids)}
    here = [rows[item] for item in table.ids]
    if not here:
        return Weighed()
    outputs = Outputs.of_images(as_tensor(table[Probs()]).float(), exclusive=learner.task.exclusive)
    metrics, ends = {}, {}
    for name, one in learner.task.image_by_image(outputs, [(view.targets or ())[row] for row in here]).items():
        loss = estimate(one.loss_B.numpy(), found.weight_T[here], found.among)
        metrics[name] = one.value(loss.value)
        low, high = sorted((one.value(loss.low), one.value(loss.high)))
        ends[name] = (low, high)
    return Weighed(metrics, ends)


def weighing_notes(pool: Pool, averaged: Iterable[str]) -> list[str]:
    """What people should know of metrics on test images that were drawn with unequal chances; [] elsewhere.

    Args:
        pool: as it stands.
        averaged: metrics of the task that are means over images.
    """
    positions = pool.with_role("test")
    if (found := drawn(pool, positions)) is None:
        return []
    doubtful = len(by_doubt(pool, positions))
    told = [
        f"{doubtful:,} of {len(positions):,} test images were drawn by doubt and weigh by the chance of their draw, so "
        f"that {' and '.join(sorted(averaged))} are unbiased; other metrics cannot be told from them"
    ]
    if found.missing:
        told.append(f"{found.missing:,} image(s) drawn among them have no label, and are taken to be like the others")
    return told
