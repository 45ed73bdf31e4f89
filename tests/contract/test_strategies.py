"""What every strategy promises, checked for every registered one and every choice among its options, on every task."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import painted
import shapes
import tiny
from labelwise.campaign.plan import Offer
from labelwise.contracts.learner import Auxiliary, Learner
from labelwise.contracts.oracle import HeldBack
from labelwise.contracts.query import Budget, Query, Rows, Selection
from labelwise.contracts.signal import Probe, Signal
from labelwise.contracts.strategy import Collected, Step, Strategy, run_steps
from labelwise.errors import ConfigError, UnmetNeed
from labelwise.learners.features import FeatureSource
from labelwise.rng import generator
from labelwise.strategies import STRATEGIES
from labelwise.tasks import TASKS

POOL, REFERENCE = 60, 6

#: options of methods that train nets of their own: what they promise does not depend on how long
SHORT: dict[str, dict[str, Any]] = {"vaal": {"iterations": 1, "batch_size": 4, "side": 16, "width": 2}}


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
each_strategy = pytest.mark.parametrize("strategy", [*ALL, *EXTRA], ids=repr)
each_class = pytest.mark.parametrize("cls", [STRATEGIES.get(name) for name in STRATEGIES.names()], ids=lambda c: c.name)
each_task = pytest.mark.parametrize("task", TASKS.names())


# ---- one collected table for each task ------------------------------------------------------------------------------


@dataclass(frozen=True)
class World:
    """Images with labels, a learner for them, and frozen features.

    ``labels_N`` is None where an image has more than one class; ``data`` and ``view`` load the labels of the task.
    """

    source: Any
    make_learner: Callable[[], Learner]
    frozen: FeatureSource
    labels_N: Tensor | None
    counts_NC: Tensor
    data: Callable[..., Any] = tiny.learner_data
    view: Callable[..., Any] = tiny.view


@cache
def _classification() -> World:
    source = tiny.digits(POOL + REFERENCE, reference=REFERENCE)
    labels = torch.tensor([int(source.truth[item]) for item in source.ids])
    return World(source, tiny.torch_learner, tiny.pixels(source), labels, torch.nn.functional.one_hot(labels, 10))


@cache
def _detection() -> World:
    source = shapes.Shapes(POOL + REFERENCE, reference=REFERENCE)
    task = shapes.task()
    objects = [task.kind.objects(source.truth[item], task.classes) for item in source.ids]
    counts_NC = torch.tensor([[found.count(c) for c in task.classes] for found in objects])
    frozen = tiny.pixels(source)
    return World(source, shapes.learner, frozen, None, counts_NC, shapes.learner_data, shapes.view)


@cache
def _segmentation() -> World:
    source = painted.Painted(POOL + REFERENCE, reference=REFERENCE)
    task = painted.task()
    there = [task.kind.objects(source.truth[item], task.classes) for item in source.ids]
    counts_NC = torch.tensor([[found.count(c) for c in task.classes] for found in there])
    frozen = tiny.pixels(source)
    return World(source, painted.learner, frozen, None, counts_NC, painted.learner_data, painted.view)


WORLDS = {"classification": _classification, "detection": _detection, "segmentation": _segmentation}


@cache
def _learner(task: str, auxiliaries: tuple[Auxiliary, ...]) -> Learner:
    world = WORLDS[task]()
    learner = world.make_learner()
    learner.fit(world.data(world.source, world.source.ids[:20]), 0, auxiliaries=auxiliaries)
    return learner


@cache
def _collected(task: str, auxiliaries: tuple[Auxiliary, ...], signal: Signal) -> Tensor | Rows:
    """Rows of all items, collected once: (N, ...), or of different lengths."""
    world = WORLDS[task]()
    told = "loss" in signal.fields or (isinstance(signal, Probe) and signal.reads_targets)
    view = world.view(world.source, labels=told)
    data = world.data(world.source, world.source.ids[:20], reference=world.source.ids[POOL:])
    if signal.of == "frozen":
        table = world.frozen.collect(view, frozenset({signal}))
    else:
        table = _learner(task, auxiliaries).collect(view, frozenset({signal}), data=data)
    column = table.columns[signal]
    if isinstance(column, tuple):
        return Rows(*(torch.from_numpy(np.array(part)) for part in column))
    return signal.settle(torch.from_numpy(np.array(column)))


@dataclass(frozen=True)
class _Rows:
    task: str
    auxiliaries: tuple[Auxiliary, ...]

    def matrix(self, signal: Signal) -> Tensor:
        found = _collected(self.task, self.auxiliaries, signal)
        assert isinstance(found, Tensor)
        return found

    def ragged(self, signal: Signal) -> Rows:
        found = _collected(self.task, self.auxiliaries, signal)
        assert isinstance(found, Rows)
        return found

    def tensor(self, signal: Signal) -> Tensor:
        """The numbers of either kind."""
        found = _collected(self.task, self.auxiliaries, signal)
        return found.values_U if isinstance(found, Rows) else found


def _query(task: str, strategy: Strategy, labelled: list[int], budget: int, seed: int = 0) -> Query:
    world = WORLDS[task]()
    labels_N = world.labels_N
    taken = torch.tensor(sorted(labelled), dtype=torch.int64)
    free = torch.ones(POOL, dtype=torch.bool)
    free[taken] = False
    return Query(
        labelled_L=taken,
        unlabelled_M=free.nonzero().squeeze(1),
        budget=budget,
        rng=generator(seed, "select", 0),
        reference_R=torch.arange(POOL, POOL + REFERENCE),
        labels_L=None if labels_N is None else labels_N[taken],
        labels_R=None if labels_N is None else labels_N[POOL:],
        class_counts_C=world.counts_NC[taken].sum(0),
        cost_N=torch.ones(POOL + REFERENCE),
        truth_N=labels_N if strategy.oracle else None,
        head=_learner(task, strategy.auxiliaries()).linear_head(),
    )


def _run(task: str, strategy: Strategy, labelled: list[int], budget: int, seed: int = 0) -> Selection:
    rows = _Rows(task, strategy.auxiliaries())

    def collect(step: Step, query: Query) -> Collected:
        return Collected(rows, query.unlabelled_M, query.labelled_L, query.reference_R)

    return run_steps(strategy, _query(task, strategy, labelled, budget, seed), collect)


def _skip_unless_fields_suffice(strategy: Strategy, task: str) -> None:
    try:
        Offer(_learner(task, strategy.auxiliaries()), frozen=True, held_back=True).check([strategy])
    except UnmetNeed as error:
        pytest.skip(str(error))


def _home(strategy: Strategy) -> str:
    """The first task that the strategy can work on: some are for one kind of label only."""
    reasons = {}
    for task in WORLDS:
        try:
            Offer(_learner(task, strategy.auxiliaries()), frozen=True, held_back=True).check([strategy])
        except UnmetNeed as error:
            reasons[task] = str(error)
            continue
        return task
    pytest.skip(reasons["classification"])


LABELLED = {
    "twenty": list(range(20)),
    "scattered": list(range(1, POOL, 3)),
    "one": [7],
    "one_class": [i for i in range(POOL) if int(_classification().labels_N[i]) == 3],
    "all_but_one": [i for i in range(POOL) if i != 31],
}


@each_task
def test_every_task_has_a_world(task):
    assert task in WORLDS, f"add a small world for {task!r} to this file: every strategy is then tested on it"


@each_class
def test_every_strategy_can_work_on_some_task(cls):
    for task in WORLDS:
        try:
            return Offer(_learner(task, cls().auxiliaries()), frozen=True, held_back=True).check([cls()])
        except UnmetNeed as error:
            reason = str(error)
    raise AssertionError(reason)


# ---- the picks ------------------------------------------------------------------------------------------------------


@each_task
@each_strategy
def test_exactly_budget_distinct_unlabelled_items(strategy, task):
    _skip_unless_fields_suffice(strategy, task)
    for labelled in LABELLED.values():
        free = sorted(set(range(POOL)) - set(labelled))
        for budget in sorted({1, min(7, len(free)), len(free)}):
            picked = _run(task, strategy, labelled, budget)
            assert picked.positions_K.dtype == torch.int64
            assert len(picked.positions_K) == budget
            assert len(set(picked.positions_K.tolist())) == budget
            assert set(picked.positions_K.tolist()) <= set(free)
            if picked.scores_K is not None:
                assert picked.scores_K.shape == (budget,)
                assert torch.isfinite(picked.scores_K).all()


@each_task
@pytest.mark.parametrize("strategy", [strategy for strategy in [*ALL, *EXTRA] if strategy.cold], ids=repr)
def test_no_label_at_all(strategy, task):
    for step in strategy.acts_as(_query(task, strategy, [], 1)).steps():
        assert all(signal.of == "frozen" for signal in step.needs.signals), "a cold strategy needs no trained model"
        assert not step.needs.head
    for budget in (1, 9, POOL):
        picked = _run(task, strategy, [], budget)
        assert sorted(set(picked.positions_K.tolist())) == sorted(picked.positions_K.tolist())
        assert len(picked.positions_K) == budget


@each_task
@each_strategy
def test_same_seed_same_picks(strategy, task):
    _skip_unless_fields_suffice(strategy, task)
    runs = [_run(task, strategy, LABELLED["twenty"], 9, seed) for seed in (3, 3)]
    assert torch.equal(runs[0].positions_K, runs[1].positions_K)
    if runs[0].scores_K is not None:
        assert torch.equal(runs[0].scores_K, runs[1].scores_K)


@each_task
@each_strategy
def test_inputs_are_left_as_they_were(strategy, task):
    _skip_unless_fields_suffice(strategy, task)
    rows = _Rows(task, strategy.auxiliaries())
    query = _query(task, strategy, LABELLED["twenty"], 9)
    signals = {signal: rows.tensor(signal) for step in strategy.steps() for signal in step.needs.signals}
    names = ("labelled_L", "unlabelled_M", "labels_L", "class_counts_C", "cost_N")
    given = {name: getattr(query, name) for name in names if getattr(query, name) is not None}
    before = {key: value.clone() for key, value in {**signals, **given}.items()}
    run_steps(strategy, query, lambda step, q: Collected(rows, q.unlabelled_M, q.labelled_L, q.reference_R))
    for key, value in {**signals, **given}.items():
        assert torch.equal(value, before[key]), f"{key} was written to"


@each_strategy
def test_global_random_states_are_left_alone(strategy):
    task = _home(strategy)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    _run(task, strategy, LABELLED["twenty"], 9)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]  # noqa: NPY002


@each_strategy
def test_order_of_registration_changes_nothing(strategy, tmp_path):
    """Through a whole campaign: the same ids are asked however the images were listed."""
    task = _home(strategy)
    world = WORLDS[task]()
    learner = _learner(task, strategy.auxiliaries())
    picks = []
    for number, shuffle in enumerate((False, True)):
        order = list(world.source.ids)
        if shuffle:
            generator(0, "order").shuffle(order)
        labelled = [item for item in order if item in world.source.ids[:20]]
        truth = {item: world.source.truth[item] for item in world.source.ids}
        campaign = tiny.campaign(
            tmp_path / str(number),
            world.source,
            learner,
            labelled=labelled,
            order=order,
            frozen=world.frozen,
            truth=truth,
        )
        picks.append([(pick.id, pick.score) for pick in campaign.choose(strategy, Budget(9)).picks])
    assert len(picks[0]) == 9
    assert picks[0] == picks[1]


@each_class
def test_a_budget_larger_than_the_pool_is_refused(cls, tmp_path):
    task = _home(cls())
    world = WORLDS[task]()
    campaign = tiny.campaign(
        tmp_path,
        world.source,
        _learner(task, cls().auxiliaries()),
        frozen=world.frozen,
        truth=world.source.truth,
    )
    with pytest.raises(ConfigError, match=f"{POOL + 1} items asked for, but only {POOL} are unlabelled"):
        campaign.choose(cls(), Budget(POOL + 1))


@each_class
def test_ranking_everything_that_is_left(cls, tmp_path):
    """A budget of None asks for all; with nothing left there is nothing to choose and nothing breaks."""
    task = _home(cls())
    world = WORLDS[task]()
    learner = _learner(task, cls().auxiliaries())
    pool = world.source.ids[:POOL]
    for labelled, expected in ((pool[:20], 40), (pool, 0)):
        campaign = tiny.campaign(
            tmp_path / str(expected),
            world.source,
            learner,
            labelled=labelled,
            frozen=world.frozen,
            truth=world.source.truth,
        )
        assert len(campaign.choose(_default(cls), None).picks) == expected


@each_class
@pytest.mark.parametrize("kind", ["trained", "features"])
def test_images_that_cannot_be_read_are_left_out_and_the_round_is_full(cls, kind, tmp_path):
    task = _home(cls())
    world = WORLDS[task]()
    pool = world.source.ids[:POOL]
    broken = [pool[2], *pool[21:60:4]]
    source = tiny.Broken(world.source, broken)
    frozen = tiny.pixels(source)
    learner = (
        _learner(task, cls().auxiliaries()) if kind == "trained" else tiny.FeatureLearner(tiny.digits_task(), frozen)
    )
    campaign = tiny.campaign(tmp_path, source, learner, labelled=pool[:20], frozen=frozen, truth=world.source.truth)
    if kind == "features":
        if task != "classification":
            pytest.skip(f"a head on features is no learner for {task}")
        try:
            campaign.offer.check([cls()])
        except UnmetNeed as error:
            pytest.skip(str(error))
        campaign.fit()
    readable = set(pool[20:]) - set(broken)
    for budget in (9, len(readable)):
        suggestion = campaign.choose(_default(cls), Budget(budget))
        assert len(suggestion.picks) == budget
        assert {pick.id for pick in suggestion.picks} <= readable
        assert set(suggestion.unreadable) <= set(broken)
    assert len(suggestion.unreadable) == len(broken) - 1, "the labelled one is not the strategy's business"
    short = campaign.suggest(_default(cls), Budget(len(readable) + 3))
    assert {pick.id for pick in short.picks} == readable
    assert any("could not be read" in note for note in short.notes)
    assert {campaign.pool.ids[p] for p in campaign.pool.skipped} == set(broken[1:])
    assert len(campaign.pool.unlabelled) == 0


@each_class
def test_a_pool_of_which_nothing_can_be_read(cls, tmp_path):
    task = _home(cls())
    world = WORLDS[task]()
    pool = world.source.ids[:POOL]
    campaign = tiny.campaign(
        tmp_path,
        tiny.Broken(world.source, pool[20:]),
        _learner(task, cls().auxiliaries()),
        labelled=pool[:20],
        frozen=tiny.pixels(tiny.Broken(world.source, pool[20:])),
        truth=world.source.truth,
    )
    suggestion = campaign.suggest(_default(cls), Budget(5))
    assert suggestion.picks == ()
    assert len(campaign.pool.skipped) == 40
    assert campaign.pool.round == 0


# ---- configuration --------------------------------------------------------------------------------------------------


def _options(strategy: Strategy) -> dict[str, Any]:
    return {field.name: getattr(strategy, field.name) for field in dataclasses.fields(strategy)}


@each_strategy
def test_constructor_is_configuration_is_repr(strategy):
    names = {STRATEGIES.get(name).__name__: STRATEGIES.get(name) for name in STRATEGIES.names()}
    assert eval(repr(strategy), names) == strategy
    again = STRATEGIES.create(strategy.name, **_options(strategy))
    assert again == strategy
    assert hash(again) == hash(strategy)
    assert repr(again) == repr(strategy)


@each_class
def test_frozen_with_a_default_for_every_option(cls):
    assert dataclasses.is_dataclass(cls)
    strategy = cls()
    for field in dataclasses.fields(cls):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(strategy, field.name, None)
    assert strategy.steps(), "a strategy has at least one step"


@each_class
def test_aliases_and_unknown_options(cls):
    for alias in cls.aliases:
        assert STRATEGIES.get(alias) is cls
    with pytest.raises(ConfigError, match="unknown option of strategy"):
        STRATEGIES.create(cls.name, no_such_option=1)


def _wrong_values() -> list[tuple[str, str, Any]]:
    wrong = []
    for name in STRATEGIES.names():
        hints = typing.get_type_hints(STRATEGIES.get(name))
        wrong += [
            (name, field.name, "bogus")
            for field in dataclasses.fields(STRATEGIES.get(name))
            if hints[field.name] is not str
        ]
    return wrong


@pytest.mark.parametrize(("name", "option", "value"), _wrong_values())
def test_a_value_that_an_option_cannot_take_is_refused_before_anything_runs(name, option, value):
    with pytest.raises(ConfigError, match=option) as caught:
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
    world = _classification()
    campaign = tiny.campaign(
        tmp_path, world.source, tiny.torch_learner(), labelled=world.source.ids[:10], truth=world.source.truth
    )
    records = list(campaign.rounds(STRATEGIES.create("margin"), HeldBack(world.source.truth), Budget(5), count=2))
    assert [record.labels for record in records] == [10, 15, 20]
