"""The contract test of strategies: what every strategy promises, whoever wrote it.

In a test of a strategy of one's own::

    def test_it_keeps_the_contract(tmp_path):
        check_strategy(MyStrategy(), tmp_path)

A strategy for another kind of label than one class an image is given a ``World`` of that kind.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from labelwise.contracts.query import Budget, Rows, Selection
from labelwise.contracts.strategy import Collected, Strategy, run_steps
from labelwise.registry import check_options
from labelwise.rng import generator
from labelwise.strategies import STRATEGIES
from labelwise.testing.configuration import check_frozen, check_repr
from labelwise.testing.refusals import refusal
from labelwise.testing.worlds import LABELLED, CollectedRows, World, digits_world


def check_strategy(strategy: Strategy, folder: Path, world: World | None = None) -> None:
    """Holds a strategy to its contract: in a pool of 60 images, and through whole campaigns.

    Args:
        strategy: with its options.
        folder: an empty folder to work in.
        world: images and a learner of the strategy's kind of label; None: handwritten digits.

    Raises:
        AssertionError: the first promise that is broken, in words.

    Cost: some ten selections, and what the world's learner takes to train once.
    """
    world = world or digits_world()
    assert not (why := world.lacks(strategy)), f"{why}: give a world that has it"
    check_configuration(strategy)
    check_inputs(strategy, world)  # first: what a strategy spoils here is spoilt for good
    check_picks(strategy, world)
    if strategy.cold:
        check_cold(strategy, world)
    check_seed(strategy, world)
    check_random_states(strategy, world)
    check_order(strategy, world, folder / "order")
    check_too_large_a_budget(strategy, world, folder / "too_large")
    check_ranking(strategy, world, folder / "ranking")
    check_unreadable(strategy, world, folder / "unreadable")
    check_nothing_readable(strategy, world, folder / "nothing")


# ---- the picks ------------------------------------------------------------------------------------------------------


def states(world: World) -> dict[str, list[int]]:
    """What may be labelled when a strategy is asked."""
    pool = world.pool
    found = {
        "twenty": pool[:LABELLED],
        "scattered": pool[1::3],
        "one": [pool[7]],
        "all but one": [position for position in pool if position != pool[31]],
    }
    if world.labels_N is not None:
        first = int(world.labels_N[pool[3]])
        found["one class"] = [position for position in pool if int(world.labels_N[position]) == first]
    return found


def check_picks(strategy: Strategy, world: World) -> None:
    """Exactly the budget, distinct, unlabelled; scores that are finite."""
    for what, labelled in states(world).items():
        free = {*world.pool} - {*labelled}
        for budget in sorted({1, min(7, len(free)), len(free)}):
            _check_selection(world.run(strategy, labelled, budget), budget, free, f"{what} labelled, budget {budget}")


def check_cold(strategy: Strategy, world: World) -> None:
    """A cold strategy needs neither a label nor a trained model."""
    for step in strategy.acts_as(world.query(strategy, [], 1)).steps():
        trained = [signal for signal in step.needs.signals if signal.of != "frozen"]
        assert not trained, f"a cold strategy needs no trained model, and it reads {trained}"
        assert not step.needs.head, "a cold strategy needs no trained model, and it reads its last layer"
    for budget in (1, 9, len(world.pool)):
        _check_selection(world.run(strategy, [], budget), budget, {*world.pool}, f"nothing labelled, budget {budget}")


def _check_selection(found: Selection, budget: int, free: set[int], when: str) -> None:
    picked = found.positions_K.tolist()
    assert found.positions_K.dtype == torch.int64, f"{when}: positions are {found.positions_K.dtype}, not int64"
    assert len(picked) == budget, f"{when}: {len(picked)} picks"
    assert len({*picked}) == budget, f"{when}: an item twice"
    assert {*picked} <= free, f"{when}: an item that is no candidate"
    if found.scores_K is not None:
        assert found.scores_K.shape == (budget,), f"{when}: scores of shape {tuple(found.scores_K.shape)}"
        assert torch.isfinite(found.scores_K).all(), f"{when}: a score that is not finite"


def check_seed(strategy: Strategy, world: World) -> None:
    """The same seed gives the same picks and scores."""
    one, again = (world.run(strategy, world.pool[:LABELLED], 9, seed=3) for _ in range(2))
    assert torch.equal(one.positions_K, again.positions_K), "the same seed gave other picks: draw from query.rng alone"
    same = one.scores_K is again.scores_K is None or (
        one.scores_K is not None and again.scores_K is not None and torch.equal(one.scores_K, again.scores_K)
    )
    assert same, "the same seed gave other scores"


def check_inputs(strategy: Strategy, world: World) -> None:
    """What it is given is left as it was."""
    rows = CollectedRows(world, strategy.auxiliaries())
    query = world.query(strategy, world.pool[:LABELLED], 9)
    given: dict[Any, Any] = {}
    for signal in (signal for step in strategy.steps() for signal in step.needs.signals):
        found = world.collected(signal, strategy.auxiliaries())
        given[signal] = found.values_U if isinstance(found, Rows) else found
    names = ("labelled_L", "unlabelled_M", "labels_L", "class_counts_C", "cost_N")
    given |= {name: getattr(query, name) for name in names if getattr(query, name) is not None}
    before = {key: value.clone() for key, value in given.items()}
    run_steps(strategy, query, lambda step, q: Collected(rows, q.unlabelled_M, q.labelled_L, q.reference_R))
    for key, value in given.items():
        assert torch.equal(value, before[key]), f"{key} was written to"


def check_random_states(strategy: Strategy, world: World) -> None:
    """The global random states of PyTorch and NumPy are left alone."""
    before = torch.get_rng_state(), _numpy_state()
    world.run(strategy, world.pool[:LABELLED], 9)
    assert torch.equal(torch.get_rng_state(), before[0]), "it drew from PyTorch's global state: use query.rng"
    assert _numpy_state() == before[1], "it drew from NumPy's global state: use query.rng"


def _numpy_state() -> str:
    return repr(np.random.get_state(legacy=False)["state"])  # noqa: NPY002


# ---- through whole campaigns ----------------------------------------------------------------------------------------


def check_order(strategy: Strategy, world: World, folder: Path) -> None:
    """The same ids are asked however the images were listed."""
    learner = world.learner(strategy.auxiliaries())
    picks = []
    for name in ("as they come", "shuffled"):
        order = list(world.source.ids)
        if name == "shuffled":
            generator(0, "order").shuffle(order)
        campaign = world.campaign(folder / name, learner, world.pool[:LABELLED], order=order)
        picks.append([(pick.id, pick.score) for pick in campaign.choose(strategy, Budget(9))])
    assert len(picks[0]) == 9
    assert picks[0] == picks[1], "another order of files gave other picks: break ties with query.rng"


def check_too_large_a_budget(strategy: Strategy, world: World, folder: Path) -> None:
    """More than there is is refused."""
    campaign = world.campaign(folder, world.learner(strategy.auxiliaries()))
    most = len(world.pool)
    message = refusal(lambda: campaign.choose(strategy, Budget(most + 1)), "a budget larger than the pool")
    assert f"{most + 1} items asked for, but only {most} are unlabelled" in message


def check_ranking(strategy: Strategy, world: World, folder: Path) -> None:
    """No budget asks for all; with nothing left there is nothing to choose, and nothing breaks."""
    learner = world.learner(strategy.auxiliaries())
    for labelled in (world.pool[:LABELLED], world.pool):
        expected = len(world.pool) - len(labelled)
        found = world.campaign(folder / str(expected), learner, labelled).choose(strategy, None)
        assert len(found) == expected, f"a ranking of {expected} has {len(found)} picks"


def check_unreadable(strategy: Strategy, world: World, folder: Path, *, learner: Any = None) -> None:
    """Images that cannot be read are left out and the round is full.

    Args:
        strategy: chooses.
        world: images.
        folder: to work in.
        learner: another than the world's; trained here.
    """
    pool = world.pool
    broken = [pool[2], *pool[21 : LABELLED + 40 : 4]]
    readable = {*world.ids(pool[LABELLED:])} - {*world.ids(broken)}
    own = world.learner(strategy.auxiliaries()) if learner is None else learner
    campaign = world.campaign(folder, own, pool[:LABELLED], broken=broken)
    if learner is not None:
        campaign.fit()
    left_out: Sequence[str] = ()
    for budget in (9, len(readable)):
        found = campaign.choose(strategy, Budget(budget))
        assert len(found) == budget, f"{budget} of {len(readable)} images that can be read were asked for: {len(found)}"
        assert {pick.id for pick in found} <= readable, "it asks about an image that cannot be read"
        left_out = list(found.left_out)
    assert {*left_out} == {*world.ids(broken[1:])}, "the labelled one is not the strategy's business"
    short = campaign.suggest(strategy, Budget(len(readable) + 3))
    assert {pick.id for pick in short} == readable
    assert any("left out of this round" in note for note in short.notes), "what was left out is said"
    assert not len(campaign.pool.skipped), "only people skip"
    assert {campaign.pool.ids[p] for p in campaign.pool.unlabelled} == {*world.ids(broken[1:])}


def check_nothing_readable(strategy: Strategy, world: World, folder: Path) -> None:
    """A pool of which nothing can be read opens no round."""
    broken = world.pool[LABELLED:]
    learner = world.learner(strategy.auxiliaries())
    campaign = world.campaign(folder, learner, world.pool[:LABELLED], broken=broken)
    message = refusal(lambda: campaign.suggest(strategy, Budget(5)), "a pool of which nothing can be read")
    assert f"none of the {len(broken)} items" in message
    assert campaign.pool.round == 0
    assert not len(campaign.pool.skipped), "only people skip"


# ---- configuration --------------------------------------------------------------------------------------------------


def check_configuration(strategy: Strategy) -> None:
    """Constructor is configuration is repr; frozen, with a default for every option, of a type that can be checked."""
    cls = type(strategy)
    check_frozen(strategy)
    assert isinstance(getattr(cls, "name", None), str), "a strategy has a name"
    assert strategy.steps(), "a strategy has at least one step"
    assert cls().steps(), "every option has a default"
    check_repr(strategy, {STRATEGIES.get(name).__name__: STRATEGIES.get(name) for name in STRATEGIES.names()})
    options = {one.name: getattr(strategy, one.name) for one in dataclasses.fields(cls) if one.init}  # type: ignore[arg-type]
    check_options(cls, options, f"strategy {cls.name!r}")
