"""The contract test of signals: a value depends on weights, image, transform, parameters and seed, and on nothing else.

In a test of a signal of one's own::

    def test_it_keeps_the_contract():
        check_signal(MySignal())
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from labelwise.contracts.learner import Auxiliary, Learner
from labelwise.contracts.signal import Plain, Signal, read_targets
from labelwise.signals import SIGNALS
from labelwise.signals.plain import Probs
from labelwise.testing.configuration import check_frozen, check_repr
from labelwise.testing.worlds import World, digits_world

#: items that are also collected one by one
_SINGLE = 4


def check_signal(
    signal: Signal,
    world: World | None = None,
    *,
    auxiliaries: tuple[Auxiliary, ...] = (),
    varies: bool = True,
    atol: float = 1e-7,
) -> None:
    """Holds a signal to its contract.

    Args:
        signal: with its parameters.
        world: images and a learner that can give it; None: handwritten digits.
        auxiliaries: heads that it reads.
        varies: whether images differ in it.
        atol: absolute tolerance where other batches add up in another order; relative it is 1e-5.

    Raises:
        AssertionError: the first promise that is broken, in words.
    """
    world = world or digits_world()
    learner = world.learner(auxiliaries)
    check_configuration(signal)
    whole = collect(signal, world, learner)
    check_rows(signal, whole, len(world.pool), varies=varies)
    check_company(signal, world, learner, whole)
    check_batch(signal, world, learner, whole, atol=atol)
    check_order(signal, world, learner, whole, atol=atol)
    check_seed(signal, world, learner, whole)
    check_surroundings(signal, world, learner)


def check_configuration(signal: Signal) -> None:
    """Frozen, hashable, made again by its repr, with name and version in its key."""
    check_frozen(signal)
    check_repr(signal, {**_named_parts(signal), **{SIGNALS.get(n).__name__: SIGNALS.get(n) for n in SIGNALS.names()}})
    start = f"{signal.name}@{signal.version}:"
    assert signal.key.startswith(start), f"its key is {signal.key!r}: name, version and parameters are part of it"


def _named_parts(signal: Signal) -> dict[str, Any]:
    """Classes of parameters, such as passes."""
    return {type(value).__name__: type(value) for value in _values(signal)}


def _values(thing: Any) -> list[Any]:
    found = []
    for value in vars(thing).values():
        found.append(value)
        if hasattr(value, "__dataclass_fields__"):
            found += _values(value)
    return found


def collect(
    signal: Signal,
    world: World,
    learner: Learner,
    positions: Sequence[int] | None = None,
    *,
    seed: int = 0,
    **others: Any,
) -> list[np.ndarray]:
    """Rows of some items, by default of the pool: one array for each, of one row or of several.

    Args:
        signal: which.
        world: whose images.
        learner: gives it.
        positions: of the items.
        seed: of draws.
        others: ``beside``, signals that are collected in the same pass.
    """
    where = list(world.pool if positions is None else positions)
    signals = frozenset({signal, *others.get("beside", ())})
    view = world.examples(where, labels=read_targets(signals))
    table = learner.collect(view, signals, data=world.data(), seed=seed)
    assert table.ids == view.ids, "a table has a row for each item, in the order of the view"
    column = table.columns[signal]
    if isinstance(column, tuple):
        values, first = column
        return [np.array(values[a:b]) for a, b in pairwise(first)]
    return list(np.array(column))


def check_rows(signal: Signal, rows: Sequence[np.ndarray], count: int, *, varies: bool) -> None:
    """One for each item: finite float32, or int64."""
    assert len(rows) == count, f"{signal!r}: {len(rows)} rows for {count} items"
    for row in rows:
        assert row.dtype in (np.float32, np.int64), f"{signal!r} gives {row.dtype}: float32 or int64"
        assert not np.isnan(row).any(), f"{signal!r} gives NaN"
    if varies:
        assert any(row.shape != rows[0].shape or not np.array_equal(row, rows[0]) for row in rows), (
            f"{signal!r} says the same of every image"
        )


def check_company(signal: Signal, world: World, learner: Learner, whole: Sequence[np.ndarray]) -> None:
    """Other signals of the same pass change nothing."""
    together = collect(signal, world, learner, beside=(Probs(),))
    assert _same(together, whole), f"{signal!r} changes when Probs() is collected in the same pass"


def check_batch(
    signal: Signal, world: World, learner: Learner, whole: Sequence[np.ndarray], *, atol: float = 1e-7
) -> None:
    """The other images of a batch change nothing, to 1e-5 relative."""
    size = getattr(learner, "batch_size", None)
    try:
        for other in (7, len(world.pool)) if size is not None else ():
            learner.batch_size = other  # type: ignore[attr-defined]
            found = collect(signal, world, learner)
            assert _close(found, whole, atol), f"{signal!r} depends on the batch: of {other} images it is another one"
    finally:
        if size is not None:
            learner.batch_size = size  # type: ignore[attr-defined]
    for row, position in enumerate(world.pool[:_SINGLE]):
        single = collect(signal, world, learner, [position])
        assert _close(single, whole[row : row + 1], atol), (
            f"{signal!r} depends on the batch: alone an image has another"
        )


def check_order(
    signal: Signal, world: World, learner: Learner, whole: Sequence[np.ndarray], *, atol: float = 1e-7
) -> None:
    """The order of items changes nothing."""
    found = collect(signal, world, learner, world.pool[::-1])
    assert _close(found[::-1], whole, atol), f"{signal!r} depends on the order of items"


def check_seed(signal: Signal, world: World, learner: Learner, whole: Sequence[np.ndarray]) -> None:
    """The same seed gives the same rows; of a plain signal every seed does."""
    assert _same(collect(signal, world, learner), whole), f"{signal!r} gives other rows for the same seed"
    if isinstance(signal, Plain):
        other = collect(signal, world, learner, seed=1)
        assert _same(other, whole), f"{signal!r} is a function of outputs, and depends on the seed"


def check_surroundings(signal: Signal, world: World, learner: Learner) -> None:
    """Weights, statistics and global random states are left alone."""
    view, random = world.examples(world.pool), torch.get_rng_state()
    before = learner.evaluate(view)
    collect(signal, world, learner, seed=9)
    assert torch.equal(torch.get_rng_state(), random), f"{signal!r} draws from PyTorch's global state"
    assert learner.evaluate(view) == before, f"{signal!r} changes the model"


def _same(found: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> bool:
    return len(found) == len(expected) and all(map(np.array_equal, found, expected))


def _close(found: Sequence[np.ndarray], expected: Sequence[np.ndarray], atol: float) -> bool:
    return len(found) == len(expected) and all(
        one.shape == other.shape and np.allclose(one, other, rtol=1e-5, atol=atol)
        for one, other in zip(found, expected, strict=True)
    )
