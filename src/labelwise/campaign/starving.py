"""Signs that a training was too short to teach anything: no strategy can show its worth on such a model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from labelwise.campaign.records import RoundRecord
    from labelwise.contracts.chance import Chance

#: fewer steps, where a bound allows no more, are said
FEW_STEPS = 100
#: a loss that ends above this share of where it began has hardly fallen
HARDLY = 0.5
#: falling by more than this share of its first value from the third quarter to the last, it has not settled
STILL = 0.05


def hardly_fell(losses: Sequence[float]) -> bool:
    """Whether a training loss says that the training was too short.

    It ends above half of its first value, or falls from the third quarter to the last by more than 5 % of it. A rate
    that goes down to nothing makes every loss flat at the very end, so the last two values alone would say nothing.
    (A net of two layers on digits: 30 steps end at 0.84 of the first value with accuracy 0.38, 300 at 0.03 with 0.77.)

    Args:
        losses: means of equal parts of the training, in order; fewer than four, or one that is not finite, say nothing.

    Example:
        >>> hardly_fell([2.3, 2.2, 2.1, 2.0]), hardly_fell([2.3, 0.5, 0.2, 0.1, 0.08])
        (True, False)
    """
    if len(losses) < 4 or not all(map(math.isfinite, losses)) or losses[0] <= 0:
        return False
    third, last = np.array_split(np.asarray(losses), 4)[2:]
    return losses[-1] > HARDLY * losses[0] or float(third.mean() - last.mean()) > STILL * losses[0]


def starved(records: Iterable[RoundRecord], phases: Sequence[Mapping[str, Any]] = ()) -> list[str]:
    """What is to be said of trainings that were too short, and what to do; [] where there is nothing to say.

    Args:
        records: rounds trained from scratch; those that share a training count once, those without losses not at all.
        phases: of the learner, as they are written in configurations.
    """
    trained = list({record.fit_key or id(record): record for record in records if record.losses}.values())
    short = [record for record in trained if hardly_fell(record.losses)]
    found = []
    if short:
        worst = max(short, key=lambda record: record.losses[-1] / record.losses[0])
        of = "the training" if len(trained) == 1 else f"{len(short)} of {len(trained)} trainings"
        more = max(300, 3 * worst.steps)
        example = "" if len(trained) == 1 else f"at {worst.labels:,} labels, "
        found.append(
            f"{of} may be too short to learn from: the training loss hardly fell or was still falling ({example}"
            f"{worst.steps:,} steps: from {worst.losses[0]:.3g} to {worst.losses[-1]:.3g}). Train longer, "
            f"learner: {{phases: [{{min_steps: {more}, ...}}]}}, or at another rate (lr)"
        )
    bounds = [phase["max_steps"] for phase in phases if phase.get("max_steps")]
    cut = [record.steps for record in trained if 0 < record.steps < FEW_STEPS]
    if bounds and min(bounds) < FEW_STEPS and cut:
        found.append(
            f"max_steps: {min(bounds)} allows fewer than {FEW_STEPS} steps, which hardly teach anything "
            f"({min(cut)} were taken): raise it or leave it out"
        )
    return found


def at_chance(record: RoundRecord, metric: str, chance: Chance | None) -> str:
    """That a model does no better than answers that look at no image; "" elsewhere, and where nobody can say.

    Args:
        record: of the round that was measured.
        metric: name of the primary one.
        chance: what it says of the best such answer on the images that the round was measured on.
    """
    value = record.metrics.get(metric, math.nan)
    if chance is None or math.isnan(value) or chance.beaten(value):
        return ""
    on = f" on {chance.images:,} test images" if chance.images else ""
    return (
        f"nothing was learnt yet: {metric.replace('_', ' ')} {value:.3f} does not stand out from the "
        f"{chance.level:.3f} that {chance.answer} gives{on}. Label more or train longer before its choices and its "
        "predictions are believed"
    )


def fell(records: Sequence[RoundRecord], metric: str) -> str:
    """That a model became worse with more labels, by more than the test images leave open; "" elsewhere.

    The last round is held against the best before it: an accuracy by the normal interval of the difference of two
    shares (95 %), any other metric, where higher is better, by a tenth of its value.

    Args:
        records: rounds in order.
        metric: its name.
    """
    measured = [r for r in records if r.tested and math.isfinite(r.metrics.get(metric, math.nan))]
    if len(measured) < 2:
        return ""
    last, before = measured[-1], [r for r in measured[:-1] if r.labels < measured[-1].labels]
    best = max(before, key=lambda r: r.metrics[metric], default=None)
    if best is None:
        return ""
    top, now = best.metrics[metric], last.metrics[metric]
    slack = top / 10
    if metric == "accuracy":
        slack = 1.96 * math.sqrt(top * (1 - top) / best.tested + now * (1 - now) / last.tested)
    if top - now <= slack:
        return ""
    return (
        f"more labels, not better: {metric.replace('_', ' ')} fell from {top:.3f} with {best.labels:,} labels to "
        f"{now:.3f} with {last.labels:,}. Train longer (min_steps of learner.phases), and look for wrong labels among "
        "the new ones"
    )
