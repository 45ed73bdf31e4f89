"""Trainings on the labels of rounds that are over, beside the run they are of: their records, and the file of these."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labelwise.campaign.describing import parts_of
from labelwise.campaign.records import RoundRecord, write_whole
from labelwise.errors import DataError

if TYPE_CHECKING:
    from labelwise.campaign.fits import Fitted
    from labelwise.campaign.loop import Campaign


def _trained_on(labelled: RoundRecord, fitted: Fitted) -> RoundRecord:
    """The record of a training on the labels of a round; nothing was chosen by it."""
    report = fitted.report
    return RoundRecord(
        round=labelled.round,
        labels=labelled.labels,
        metrics=dict(fitted.metrics),
        fit_seconds=report.seconds,
        train_loss=report.loss if math.isfinite(report.loss) else math.nan,
        losses=list(report.losses),
        notes=list(report.remarks),
        steps=report.steps,
        parts=parts_of(report),
        fit_key=fitted.key,
        tested=labelled.tested,
    )


def replayed(
    file: Path,
    key: Sequence[Any],
    rounds: Sequence[RoundRecord],
    open_campaign: Callable[[], Campaign],
    train: Callable[[Campaign], Iterable[Fitted]],
) -> list[RoundRecord]:
    """Trainings on what was labelled in each of some rounds, done now or found.

    Args:
        file: keeps them.
        key: what they are of; others are not found.
        rounds: of the run.
        open_campaign: on the run's events; called where something has to be trained.
        train: one or several trainings on the labels that the campaign's examples have.

    Raises:
        StateError: the file cannot be written.
    """
    if (before := _kept(file, key)) is not None:
        return before
    campaign = open_campaign()
    found = []
    for record in rounds:
        campaign.examples.pool = campaign.store.pool(before=record.round)
        found += [_trained_on(record, fitted) for fitted in train(campaign)]
    _keep(file, key, found)
    return found


def _kept(file: Path, key: Sequence[Any]) -> list[RoundRecord] | None:
    """What was found before; None where there is nothing of this key, or a damaged file."""
    try:
        found = json.loads(file.read_text(encoding="ascii"))
        return [RoundRecord.from_json(record) for record in found["trainings"]] if found["of"] == list(key) else None
    except (OSError, ValueError, KeyError, TypeError, DataError):
        return None


def _keep(file: Path, key: Sequence[Any], records: Sequence[RoundRecord]) -> None:
    """Writes records, and what they are of."""
    found = {"of": list(key), "trainings": [record.to_json() for record in records]}
    write_whole(file, json.dumps(found, allow_nan=False).encode("ascii"))
