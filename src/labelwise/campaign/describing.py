"""The record of a round, out of a pool and a training."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from labelwise.campaign.records import RoundRecord
from labelwise.campaign.setting import class_counts
from labelwise.processes import peak_mb

if TYPE_CHECKING:
    from labelwise.campaign.examples import PoolExamples
    from labelwise.campaign.fits import Fitted
    from labelwise.contracts.learner import FitReport
    from labelwise.contracts.oracle import Round


def described(examples: PoolExamples, fitted: Fitted | None, asked: Round | None) -> RoundRecord:
    """The record of the round that is about to be asked, or of the last training when nothing more is."""
    pool = examples.pool
    picks = asked.picks if asked is not None else ()
    labels = [examples.target(p) for p in pool.labelled]
    scores = [pick.score for pick in picks if pick.score is not None]
    return RoundRecord(
        round=pool.round,
        labels=len(labels),
        metrics=dict(fitted.metrics) if fitted is not None else {},
        tested=len(pool.with_role("test")) if fitted is not None else 0,
        ends={name: list(ends) for name, ends in fitted.ends.items()} if fitted is not None else {},
        cost=pool.cost(),
        class_counts=class_counts(examples.setting.task, labels),
        picked=[pick.id for pick in picks],
        scores=scores if scores else None,
        notes=[*(fitted.report.remarks if fitted is not None else ()), *(asked.notes if asked is not None else ())],
        fit_seconds=fitted.report.seconds if fitted is not None else math.nan,
        collect_seconds=asked.collect_seconds if asked is not None else math.nan,
        select_seconds=asked.select_seconds if asked is not None else math.nan,
        peak_mb=peak_mb(),
        train_loss=fitted.report.loss if fitted is not None else math.nan,
        losses=list(fitted.report.losses) if fitted is not None else [],
        steps=fitted.report.steps if fitted is not None else 0,
        parts=parts_of(fitted.report) if fitted is not None else {},
        fit_key=fitted.key if fitted is not None else "",
    )


def parts_of(report: FitReport) -> dict[str, list[list[float]]]:
    """How the named parts of a loss moved, as a record keeps it; of a single part, which is the loss, nothing."""
    return (
        {name: [list(point) for point in line] for name, line in report.parts.items()} if len(report.parts) > 1 else {}
    )
