"""How a simulated campaign begins: its items, the labels outside the pool, and the initial set."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labelwise.assemble import make_strategy
from labelwise.campaign.events import Event, Queried
from labelwise.config import RecipeConfig, StrategyConfig
from labelwise.contracts.query import Budget
from labelwise.errors import ConfigError
from labelwise.rng import generator
from labelwise.strategies import COLD_START
from labelwise.studies.data import paid, registration

if TYPE_CHECKING:
    from labelwise.campaign.loop import Campaign


def begin(campaign: Campaign, recipe: RecipeConfig, config: StrategyConfig, seed: int) -> None:
    """Registers the items and labels the initial set, unless that is done; paired over the strategies of a seed.

    Args:
        campaign: fresh, or begun before.
        recipe: says how the initial set is chosen.
        config: the strategy that goes on from there.
        seed: of the run.
    """
    source, task = campaign.setting.source, campaign.setting.task
    if not len(campaign.pool):
        campaign.register(registration(source, task))
    if len(campaign.pool.labelled) or len(campaign.pool.pending):
        return
    start = starter(recipe, config)
    if start is None:
        free = campaign.pool.candidates
        chosen = generator(seed, "initial").choice(free, recipe.initial, replace=False)
        ids = [campaign.pool.ids[p] for p in chosen]
    else:
        strategy = make_strategy(start)
        if not strategy.cold:
            campaign.begin()
        ids = [pick.id for pick in campaign.choose(strategy, Budget(recipe.initial, "items")).picks]
    # one transaction, so that a killed start leaves no half of an initial set
    events: list[Event] = [Queried(item, -1, rank, strategy="initial") for rank, item in enumerate(ids)]
    events += [paid(source, task, item) for item in ids]
    campaign.write(events)


def starter(recipe: RecipeConfig, config: StrategyConfig) -> StrategyConfig | None:
    """What chooses a strategy's initial set; None: at random, by the stream that all runs of a seed share."""
    start = recipe.start
    if start is None or start.name != "own":
        return start
    own = make_strategy(config)
    if own.cold or (own.untrained and recipe.pretrain is not None):
        return config
    return StrategyConfig(name=start.options.get("otherwise", COLD_START))


def check_start(recipe: RecipeConfig) -> None:
    """Refuses an initial set that nobody could choose.

    Raises:
        ConfigError: whoever is to choose it needs labels; says who could.
    """
    start = recipe.start
    if start is None:
        return
    for config in recipe.strategies:
        chooser = starter(recipe, config)
        assert chooser is not None, "there is a start"
        if start.name == "own" and chooser == config:
            continue
        if start.name == "own" and "otherwise" not in start.options:
            raise ConfigError(
                f"start: {config.name!r} needs labels: say who starts for it, start: {{name: own, otherwise: random}}"
            )
        if not make_strategy(chooser).cold:
            raise ConfigError(f"start: {chooser.name!r} needs labels: let random or kmeans choose the initial set")
