"""What every strategy promises, checked for every registered one and every choice among its options, on every task.

Masks, like boxes, have many units in an image: with options other than the default they are heavy.
"""

from __future__ import annotations

import dataclasses
import inspect
import typing
from functools import cache, partial
from typing import Any

import pytest

import painted
import posed
import shapes
import tiny
from labelwise.contracts.oracle import HeldBack
from labelwise.contracts.query import Budget
from labelwise.contracts.strategy import Strategy
from labelwise.errors import ConfigError, UnmetNeed
from labelwise.learners.features import FeatureLearner
from labelwise.strategies import STRATEGIES
from labelwise.tasks import TASKS
from labelwise.testing import strategies as promises
from labelwise.testing.worlds import World, digits_world, pixels
from thorough import case_of

#: options of methods that train nets of their own: what they promise does not depend on how long
SHORT: dict[str, dict[str, Any]] = {
    "vaal": {"iterations": 1, "batch_size": 4, "side": 16, "width": 2},
    "influence": {"iterations": 2},
    "discriminative": {"sub_batches": 2, "epochs": 2},
}


def _default(cls: type[Strategy]) -> Strategy:
    return cls(**SHORT.get(cls.name, {}))


def _variants(name: str) -> list[Strategy]:
    """The default, and one strategy for each other value of each option that is a choice."""
    cls = STRATEGIES.get(name)
    found = [_default(cls)]
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        kinds = [hints[field.name], *typing.get_args(hints[field.name])]
        choices = [
            value for kind in kinds if typing.get_origin(kind) is typing.Literal for value in typing.get_args(kind)
        ]
        if hints[field.name] is bool:
            choices = [True, False]
        others = [value for value in choices if value != getattr(found[0], field.name)]
        found += [dataclasses.replace(found[0], **{field.name: value}) for value in others]
    return found


ALL = [strategy for name in STRATEGIES.names() for strategy in _variants(name)]
EXTRA = [
    STRATEGIES.create("margin", subpool=20),
    STRATEGIES.create("entropy", subpool=1, noise="power", coldness=4.0),
    STRATEGIES.create("kmeans", pool="all", normalise=True),
    STRATEGIES.create("prefilter", keep=1.0),
    STRATEGIES.create("mix", strategies=["margin", "random", "k_center"], shares=[2, 1, 1]),
    STRATEGIES.create("mix", strategies=["kmeans", "random"]),
    STRATEGIES.create("mix", strategies=[STRATEGIES.create("margin", subpool=5), "prefilter"], shares=[0.1, 5]),
    STRATEGIES.create("quota", of="kmeans", by="inverse"),
    STRATEGIES.create("quota", of="prefilter"),
    STRATEGIES.create("cost_aware", of=STRATEGIES.create("entropy", subpool=20, noise="power")),
    STRATEGIES.create("auto", per_class=1, subpool=5),
    STRATEGIES.create("auto", per_class=1, high="k_center"),
    STRATEGIES.create("prefilter", first="mix", then="quota"),
    STRATEGIES.create("prefilter", first="auto", then="auto"),
    STRATEGIES.create("mix", strategies=["auto", "random"]),
    STRATEGIES.create("stratified_random", clusters=1),
    STRATEGIES.create("stratified_random", clusters=1000),
]
each_class = pytest.mark.parametrize("cls", [STRATEGIES.get(name) for name in STRATEGIES.names()], ids=lambda c: c.name)
each_task = pytest.mark.parametrize("task", TASKS.names())
DEFAULTS = {repr(_default(STRATEGIES.get(name))) for name in STRATEGIES.names()}
each_strategy = pytest.mark.parametrize(
    "strategy",
    [
        pytest.param(strategy, id=repr(strategy), marks=[] if repr(strategy) in DEFAULTS else [pytest.mark.heavy])
        for strategy in [*ALL, *EXTRA]
    ],
)


def _on_each_task(strategies: list[Strategy]) -> pytest.MarkDecorator:
    cases = [
        pytest.param(
            *(strategy, task),
            id=f"{strategy!r}-{task}",
            marks=[] if task == "classification" and repr(strategy) in DEFAULTS else [pytest.mark.heavy],
        )
        for strategy in strategies
        for task in TASKS.names()
    ]
    return pytest.mark.parametrize(("strategy", "task"), cases)


# ---- a world for each task ----------------------------------------------------------------------------------------


@cache
def _detection() -> World:
    source = shapes.Shapes(66, reference=6)
    return World(source, partial(shapes.learner, model=shapes.double), pixels(source))


@cache
def _segmentation() -> World:
    source = painted.Painted(66, reference=6)
    return World(source, painted.learner, pixels(source))


@cache
def _keypoints() -> World:
    source = posed.Posed(66, reference=6)
    return World(source, posed.learner, pixels(source))


@cache
def _multi_label() -> World:
    source = tiny.pairs(66, reference=6)
    return World(source, lambda: tiny.torch_learner(tiny.pairs_task()), pixels(source))


WORLDS = {
    "classification": digits_world,
    "multi_label": _multi_label,
    "detection": _detection,
    "segmentation": _segmentation,
    "keypoints": _keypoints,
}


def _world(strategy: Strategy, task: str) -> World:
    world = WORLDS[task]()
    if why := world.lacks(strategy):
        pytest.skip(why)
    return world


def _home(strategy: Strategy) -> World:
    """That of the first task that the strategy can work on: some are for one kind of label only."""
    reasons = {task: world().lacks(strategy) for task, world in WORLDS.items()}
    fits = [task for task, why in reasons.items() if not why]
    if not fits:
        pytest.skip(reasons["classification"])
    return WORLDS[fits[0]]()


@each_task
def test_every_task_has_a_world(task):
    assert task in WORLDS, f"add a small world for {task!r} to this file: every strategy is then tested on it"


# ---- the picks ------------------------------------------------------------------------------------------------------


@_on_each_task([*ALL, *EXTRA])
def test_exactly_budget_distinct_unlabelled_items_by_the_seed_and_inputs_as_they_were(strategy, task):
    world = _world(strategy, task)
    promises.check_inputs(strategy, world)  # first: what a strategy spoils here is spoilt for good
    promises.check_picks(strategy, world)
    promises.check_seed(strategy, world)


@pytest.mark.heavy
@_on_each_task([strategy for strategy in [*ALL, *EXTRA] if strategy.cold])
def test_no_label_at_all(strategy, task):
    promises.check_cold(strategy, WORLDS[task]())


@each_strategy
def test_global_random_states_are_left_alone_and_order_of_registration_changes_nothing(strategy, tmp_path):
    world = _home(strategy)
    promises.check_random_states(strategy, world)
    promises.check_order(strategy, world, tmp_path)


@pytest.mark.heavy
@each_class
def test_a_budget_larger_than_the_pool_is_refused(cls, tmp_path):
    promises.check_too_large_a_budget(_default(cls), _home(_default(cls)), tmp_path)


@pytest.mark.heavy
@each_class
def test_ranking_everything_that_is_left(cls, tmp_path):
    promises.check_ranking(_default(cls), _home(_default(cls)), tmp_path)


@pytest.mark.heavy
@each_class
@pytest.mark.parametrize("kind", ["trained", "features"])
def test_images_that_cannot_be_read_are_left_out_and_the_round_is_full(cls, kind, tmp_path):
    strategy = _default(cls)
    world = _home(strategy)
    if kind == "trained":
        return promises.check_unreadable(strategy, world, tmp_path)
    if world.task.name != "classification":
        pytest.skip(f"a head on features is no learner for {world.task.name}")
    learner = FeatureLearner(world.task, pixels(world.source))
    try:
        world.campaign(tmp_path / "offer", learner).offer.check([strategy])
    except UnmetNeed as error:
        pytest.skip(str(error))
    return promises.check_unreadable(strategy, world, tmp_path / "run", learner=learner)


@pytest.mark.heavy
@each_class
def test_a_pool_of_which_nothing_can_be_read(cls, tmp_path):
    promises.check_nothing_readable(_default(cls), _home(_default(cls)), tmp_path)


# ---- configuration --------------------------------------------------------------------------------------------------


def test_constructor_is_configuration_is_repr():
    for strategy in [*ALL, *EXTRA]:
        with case_of(strategy):
            promises.check_configuration(strategy)
            options = {field.name: getattr(strategy, field.name) for field in dataclasses.fields(strategy)}
            assert STRATEGIES.create(strategy.name, **options) == strategy


@each_class
def test_aliases_and_unknown_options(cls):
    for alias in cls.aliases:
        assert STRATEGIES.get(alias) is cls
    with pytest.raises(ConfigError, match="unknown option of strategy"):
        STRATEGIES.create(cls.name, no_such_option=1)


#: options that take any text beside other things: parts of a network, which only the network can judge
ANY_TEXT = {("influence", "layers")}


def _wrong_values() -> list[tuple[str, str, Any]]:
    wrong = []
    for name in STRATEGIES.names():
        hints = typing.get_type_hints(STRATEGIES.get(name))
        wrong += [
            (name, field.name, "bogus")
            for field in dataclasses.fields(STRATEGIES.get(name))
            if hints[field.name] is not str and (name, field.name) not in ANY_TEXT
        ]
    return wrong


def test_a_value_that_an_option_cannot_take_is_refused_before_anything_runs():
    for name, option, value in _wrong_values():
        with case_of(name, option, value), pytest.raises(ConfigError, match=option) as caught:
            STRATEGIES.create(name, **{option: value})
        assert "\n" not in str(caught.value)


# ---- docstrings -----------------------------------------------------------------------------------------------------

SECTIONS = ("Args", "Raises", "Cost", "Example", "Reference")


def _section_names(text: str) -> list[str]:
    return [
        line.split(":")[0]
        for line in text.splitlines()
        if line and not line[0].isspace() and line.split(":")[0] in SECTIONS
    ]


@each_class
def test_docstring_says_what_users_choose_by(cls):
    assert "__doc__" in vars(cls)
    text = inspect.cleandoc(cls.__doc__ or "")
    options = [field.name for field in dataclasses.fields(cls)]
    expected = [section for section in SECTIONS if section != "Args" or options]
    assert _section_names(text) == expected, "sections in this order"
    body = text.split("\nArgs:")[0].split("\nRaises:")[0]
    assert "=" in body, "a formula line in the description"
    assert ">>> " in text.split("\nExample:")[1].split("\nReference:")[0], "an example that runs"
    for option in options:
        assert f"    {option}: " in text, f"option {option} is described"
    for section in ("Cost", "Reference"):
        assert text.split(f"\n{section}:")[1].strip(), f"{section} says something"


@each_class
def test_own_module_and_listed(cls):
    assert cls.__module__.startswith("labelwise.strategies.")
    import labelwise

    assert cls.name in {entry if isinstance(entry, str) else entry.name for entry in labelwise.list_strategies()}


def test_the_loop_runs_on_held_back_labels(tmp_path):
    source = tiny.digits(66, reference=6)
    campaign = tiny.campaign(tmp_path, source, tiny.torch_learner(), labelled=source.ids[:10], truth=source.truth)
    records = list(campaign.rounds(STRATEGIES.create("margin"), HeldBack(source.truth), Budget(5), count=2))
    assert [record.labels for record in records] == [10, 15, 20]
