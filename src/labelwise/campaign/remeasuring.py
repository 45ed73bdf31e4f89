"""The models of earlier rounds on the test images of now: a curve of one test set, whenever that was drawn."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from labelwise.campaign.examples import PoolExamples
from labelwise.campaign.measuring import measured_on, up_to_date
from labelwise.campaign.weights import take
from labelwise.errors import DataError
from labelwise.rng import seed_of

if TYPE_CHECKING:
    from labelwise.campaign.fits import Fitted
    from labelwise.campaign.loop import Campaign
    from labelwise.campaign.records import RoundRecord


def measured_now(campaign: Campaign, records: Sequence[RoundRecord]) -> list[Fitted | None]:
    """The training of each round with its metrics on today's test images.

    Where the test images are others now than when a round was measured, its weights are taken into use and measured
    again, if they are there and belong to the configuration as it is now.

    Returns:
        One for each record; None where no model was trained for it, or it cannot be measured any more.

    Cost: a pass over the test images for each round that was measured on others; none where the test set is as it was.
    """
    return [_now(campaign, record) for record in records]


def _now(campaign: Campaign, record: RoundRecord) -> Fitted | None:
    found = campaign.fits.find(record.fit_key) if record.fit_key else None
    if found is None or found.tested == measured_on(campaign.examples):
        return found
    if not _as_configured(campaign, record, found):
        return None
    with contextlib.suppress(DataError, RuntimeError, KeyError, OSError):  # weights that are damaged, or of another net
        take(campaign.fits, campaign.setting.learner, found.key)
        return up_to_date(found, campaign)
    return None


def _as_configured(campaign: Campaign, record: RoundRecord, found: Fitted) -> bool:
    """Whether a training on the labels of that round, as things are configured now, would be this one."""
    then = PoolExamples(campaign.setting, campaign.store.pool(before=record.round))
    if not len(then.pool.labelled):
        return False
    key = campaign.setting.learner.fit_key(then.data(), seed_of(campaign.setting.seed, "fit"))
    return key in (found.key, found.plain)
