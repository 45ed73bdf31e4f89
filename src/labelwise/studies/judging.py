"""Picks judged by one plain learner: what each row of a study has labelled, trained on anew, round by round.

A row whose method changes the training (another learner, a head that the model learns from) is good for two reasons at
once: what it trains, and what it picks. The judge trains the same learner on the labels of every row, without heads and
from the same seeds, so that its curves differ by the picks alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from labelwise.assemble import make_strategy
from labelwise.campaign.replays import replayed
from labelwise.rng import digest

if TYPE_CHECKING:
    from labelwise.campaign.loop import Campaign
    from labelwise.campaign.records import RoundRecord
    from labelwise.config import RecipeConfig, RowConfig
    from labelwise.contracts.learner import Learner
    from labelwise.contracts.strategy import Strategy

FILE = "judged.json"
#: points of a training at which heads are asked whether their gradient is kept out of the model
_LOOKS = 1000


def changes_training(strategy: Strategy) -> bool:
    """Whether the model learns from a head of the strategy; one that is detached throughout leaves it as it is."""
    return any(not head.detach(look / _LOOKS) for head in strategy.auxiliaries() for look in range(_LOOKS))


def to_judge(recipe: RecipeConfig) -> list[RowConfig]:
    """The rows whose picks are judged apart: those that the judge itself trains, without a head, have one curve."""
    if recipe.judge is None:
        return []
    judge = recipe.learner_of(recipe.judge)
    return [row for row in recipe.strategies if recipe.learner_of(row) != judge or changes_training(make_strategy(row))]


def judged(
    folder: Path, rounds: Sequence[RoundRecord], judge: Learner, open_campaign: Callable[[], Campaign]
) -> list[RoundRecord]:
    """The judge's trainings on the labels of each round of a run, done now or found.

    Args:
        folder: of the run; what was found is kept there.
        rounds: of the run, in order.
        judge: names the trainings.
        open_campaign: on the run's events, with the judge as learner; called where something has to be trained. A
            training that any row has made is found by it, and one that it makes is found by them.

    Returns:
        One record for each round.
    """
    key = [digest(dict(judge.config)), *(record.fit_key for record in rounds)]
    return replayed(folder / FILE, key, rounds, open_campaign, lambda campaign: [campaign.fit()])
