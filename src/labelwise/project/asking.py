"""What to label next in a project: a round that is open comes first, then whatever the strategy needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from labelwise.assemble import make_strategy
from labelwise.config import StrategyConfig
from labelwise.contracts.oracle import Pick, Round
from labelwise.contracts.query import Budget
from labelwise.contracts.strategy import Strategy
from labelwise.errors import StateError
from labelwise.models.provenance import what_weights_saw
from labelwise.project.images import regions_to_add
from labelwise.project.training import last_fit, trained
from labelwise.strategies import COLD_START

if TYPE_CHECKING:
    from labelwise.campaign.fits import Fitted
    from labelwise.campaign.loop import Campaign
    from labelwise.project.project import Project

#: images that cannot be read are named one by one up to so many
_NAMED = 10


def suggest(
    project: Project, amount: int | Literal["all"], chosen: Strategy, *, predictions: Path | None, fit: bool, more: bool
) -> Round:
    """The next picks, written down; the unanswered ones of a round that is open already, unless ``more`` is wanted.

    Args:
        project: held by the caller while it changes.
        amount: how many; ``all`` ranks everything and asks nobody.
        chosen: chooses, unless it needs labels and there is none.
        predictions: what somebody else's model says.
        fit: train first if labels are newer than the weights.
        more: open another round although one is open.
    """
    if len(project.pool.pending) and not more and amount != "all":
        return open_round(project)
    if project.config.regions is not None or project.pool.has_regions:
        project.add(regions_to_add(project.source, project.pool))
    if not len(project.pool.candidates):
        raise StateError(
            "no image is left to ask: all are labelled, asked or skipped. Add images and run 'labelwise init' again, "
            "or drop open picks with 'labelwise cancel'"
        )
    budget = None if amount == "all" else Budget(amount, _unit(project))
    if budget is not None and budget.counts_items:
        budget.items(len(project.pool.candidates))
    campaign = project.campaign(predictions)
    fitted: Fitted | None = None
    notes: list[str] = []
    if predictions is None:
        chosen, fitted, notes = _ready(project, campaign, chosen, fit)
        notes += _spoilt(project)
    found = campaign.choose(chosen, None) if budget is None else campaign.suggest(chosen, budget, fitted=fitted)
    left_out = [] if budget is None else _left_out(found)
    return replace(found, classes=project.config.classes, notes=(*notes, *found.notes, *left_out))


def open_round(project: Project) -> Round:
    """The picks that wait for an answer; there are some."""
    pool, path = project.pool, project.source.path
    waiting = {pool.ids[p] for p in pool.pending}
    queries = [query for query in pool.queries() if query.id in waiting]
    picks = tuple(Pick(q.id, path(q.id), q.rank, q.score, q.predicted, q.probability) for q in queries)
    last = queries[-1]
    note = (
        f"round {last.round} is open: {len(picks)} of its picks are unanswered, here they are again. Import labels for "
        "them, ask for more with --more, or drop them with 'labelwise cancel'"
    )
    return Round(last.round, picks, last.strategy, classes=project.config.classes, notes=(note,), open=True)


def strategy_of(project: Project, strategy: str | Strategy | None, options: Mapping[str, Any] | None) -> Strategy:
    """A strategy by name, as it is, or the project's own."""
    if isinstance(strategy, Strategy):
        return strategy
    if strategy is None and not options:
        return make_strategy(project.config.strategy)
    name = strategy or project.config.strategy.name
    return make_strategy(StrategyConfig(name=name, options=dict(options or {})))


def _unit(project: Project) -> str:
    """What budgets count now: images until one has a label, then as ``regions`` says."""
    regions = project.config.regions
    return "images" if regions is None or not len(project.pool.labelled) else regions.unit


def _ready(
    project: Project, campaign: Campaign, chosen: Strategy, fit: bool
) -> tuple[Strategy, Fitted | None, list[str]]:
    """Trains or loads what the strategy needs; without labels a strategy that needs them gives way."""
    if not len(campaign.pool.labelled):
        if chosen.cold:
            return chosen, None, []
        cold = make_strategy(StrategyConfig(name=COLD_START))
        note = f"there is no label yet, and {chosen.name!r} needs a trained model: {cold.name!r} chose instead"
        return cold, None, [note]
    campaign.offer.check([chosen])
    if not fit:
        last_fit(campaign, chosen)
        return chosen, None, []
    return chosen, trained(campaign, chosen), []


def _spoilt(project: Project) -> list[str]:
    """Says it where the weights in use were trained with the labels of these very images."""
    config = project.config
    saw = what_weights_saw(
        config.features, config.learner, data=config.images, classes=config.classes, base=project.folder
    )
    return [] if saw.warning is None else [saw.warning]


def _left_out(found: Round) -> list[str]:
    left_out = [*found.unreadable.items()]
    shown = [f"left out {item!r}: {why.removeprefix(f'{item!r}: ')}" for item, why in left_out[:_NAMED]]
    return [*shown, f"and {len(left_out) - _NAMED} more unreadable images"] if len(left_out) > _NAMED else shown
