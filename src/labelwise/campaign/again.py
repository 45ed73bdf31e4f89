"""The same labels trained on again, with nothing changed but chance: how far a metric moves by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from labelwise.campaign.fits import Fitted
from labelwise.campaign.loop import Campaign
from labelwise.campaign.measuring import measure
from labelwise.campaign.records import RoundRecord
from labelwise.campaign.replays import replayed
from labelwise.contracts.learner import heads_of
from labelwise.rng import seed_of

if TYPE_CHECKING:
    from labelwise.contracts.strategy import Strategy

FILE = "again.json"


def trained_again(
    folder: Path,
    rounds: Sequence[RoundRecord],
    open_campaign: Callable[[], Campaign],
    strategy: Strategy,
    *,
    count: int,
) -> list[RoundRecord]:
    """Further trainings on the labels of the first and of the last round of a finished run, done now or found.

    Each has weights, order and augmentation from a random stream of its own. A learner that does not look at its seed
    has the key of the round's own training: nothing is trained, and the metrics are the same.

    Args:
        folder: of the run; what was found is kept there.
        rounds: of the run, in order.
        open_campaign: called where something has to be trained.
        strategy: the run's.
        count: trainings for each of the two rounds.

    Returns:
        One record for each, of the round whose labels they were trained on.
    """
    ends = list({rounds[0].round: rounds[0], rounds[-1].round: rounds[-1]}.values())
    key = [count, *(end.fit_key for end in ends)]

    def train(campaign: Campaign) -> Iterator[Fitted]:
        return (_fitted(campaign, strategy, number) for number in range(1, count + 1))

    return replayed(folder / FILE, key, ends, open_campaign, train)


def _fitted(campaign: Campaign, strategy: Strategy, number: int) -> Fitted:
    """One training on the labels there are. How it went is kept, its weights are not: nobody reads them."""
    learner, data, heads = campaign.setting.learner, campaign.examples.data(), strategy.auxiliaries()
    seed = seed_of(campaign.setting.seed, "fit", "again", number)
    key = learner.fit_key(data, seed, auxiliaries=heads)
    found = campaign.fits.find(key)
    if found is None:
        report = learner.fit(data, seed, auxiliaries=heads, progress=campaign.progress)
        found = Fitted.judged(key, report, measure(campaign), heads_of(heads))
        if campaign.fits.folder is not None:
            campaign.fits.note(found)
    return found
