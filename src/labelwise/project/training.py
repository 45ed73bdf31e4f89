"""Trainings of a project: done, found again, measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labelwise.assemble import make_strategy
from labelwise.errors import StateError

if TYPE_CHECKING:
    from labelwise.campaign.fits import Fitted
    from labelwise.campaign.loop import Campaign
    from labelwise.contracts.strategy import Strategy
    from labelwise.project.project import Project


def fit(project: Project) -> Fitted:
    """Trains on all labels, unless exactly this was trained before; the project is held by the caller."""
    campaign = project.campaign()
    fitted = trained(campaign, make_strategy(project.config.strategy))
    # for the report; the next suggest puts its own record of this round in its place
    campaign.write([], record=campaign.describe(fitted))
    return fitted


def trained(campaign: Campaign, strategy: Strategy) -> Fitted:
    """As ``Campaign.fit``; trainings that no round names any more are deleted."""
    fitted = campaign.fit(strategy)
    campaign.fits.prune({record["fit_key"] for record in campaign.store.rounds()} | {fitted.key})
    return fitted


def last_fit(campaign: Campaign, strategy: Strategy) -> None:
    """Takes the weights into use that were trained last.

    Raises:
        StateError: nothing was trained, and the strategy needs a model; or the weights are another network's.
    """
    if not campaign.load_newest(strategy) and not strategy.cold:
        raise StateError("nothing has been trained yet: run 'labelwise fit' first")


def evaluate(project: Project) -> dict[str, float]:
    """Metrics of the weights trained last, on the test items that have a label; {} when there are none.

    Raises:
        StateError: nothing has been trained yet.
    """
    campaign = project.campaign()
    last_fit(campaign, make_strategy(project.config.strategy))
    if campaign.setting.learner.weights is None:
        raise StateError("nothing has been trained yet: run 'labelwise fit' first")
    return campaign.evaluate("test")
