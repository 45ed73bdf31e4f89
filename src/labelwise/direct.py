"""Selection straight from arrays, for people who bring embeddings and probabilities and need no project."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from labelwise.errors import ConfigError, DataError, UnmetNeed
from labelwise.rng import generator
from labelwise.selection.arrays import ArrayLike, as_tensor
from labelwise.signals.base import Draw, Plain, Probe, Ragged, Signal
from labelwise.strategies import STRATEGIES
from labelwise.strategy import Budget, Collected, Query, Signals, Step, Strategy, run_steps
from labelwise.task import Outputs

if TYPE_CHECKING:
    from collections.abc import Mapping

#: rows turned into signals at once
BLOCK = 65_536


@dataclass(frozen=True)
class Picks:
    """What was chosen.

    Args:
        positions: rows of the arrays that were given, in the order chosen: int64 (K,).
        scores: higher = more wanted (K,); None where the method ranks without one.
        notes: remarks for people.
    """

    positions: np.ndarray
    scores: np.ndarray | None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.positions)


@dataclass(frozen=True)
class Arrays(Signals):
    """The user's arrays as signals, in the frame of rows; each signal is computed once, block by block.

    Args:
        probs_NC: class probabilities.
        embeddings_ND: one vector per item.
        draws_TNC: class probabilities of T stochastic passes.
        exclusive: rows of probabilities sum to one.
    """

    probs_NC: Tensor | None = None
    embeddings_ND: Tensor | None = None
    draws_TNC: Tensor | None = None
    exclusive: bool = True

    def matrix(self, signal: Signal) -> Tensor:
        """(N, ...) for a signal; the embeddings themselves without a copy.

        Raises:
            UnmetNeed: an array that it is made from was not given.
        """
        if isinstance(signal, Probe):
            raise UnmetNeed(f"{signal!r} needs the model itself, not arrays: run it in a project with a torch learner")
        if signal.fields == {"embedding"}:
            return self._given("embeddings", self.embeddings_ND)
        if strange := signal.fields - {"probs", "per_image", "logits"}:
            raise UnmetNeed(f"it needs {', '.join(sorted(strange))}, which only a model in a project gives")
        if isinstance(signal, Draw):
            return signal.settle(self._drawn(signal, self._given("draws", self.draws_TNC)))
        assert isinstance(signal, Plain)
        probs_NC = self._given("probs", self._mean_probs())
        parts = []
        for start in range(0, len(probs_NC), BLOCK):
            block = probs_NC[start : start + BLOCK].float()
            outputs = Outputs.of_images(block, exclusive=self.exclusive, logits=block.clamp_min(1e-12).log())
            rows = signal.compute(outputs)
            assert not isinstance(rows, Ragged)
            parts.append(rows)
        return signal.settle(torch.cat(parts))

    def _mean_probs(self) -> Tensor | None:
        if self.probs_NC is None and self.draws_TNC is not None:
            return self.draws_TNC.float().mean(0)
        return self.probs_NC

    def _drawn(self, signal: Draw, draws_TNC: Tensor) -> Tensor:
        state = signal.start(Outputs.of_images(draws_TNC[0].float(), exclusive=self.exclusive))
        for probs_NC in draws_TNC:
            state = signal.step(state, Outputs.of_images(probs_NC.float(), exclusive=self.exclusive))
        return signal.finish(state)

    @staticmethod
    def _given(name: str, array: Tensor | None) -> Tensor:
        if array is None:
            raise UnmetNeed(f"it needs {name}=, which was not given")
        return array

    def size(self) -> int:
        """Number of items N.

        Raises:
            ConfigError: no array was given, or they disagree.
        """
        sizes = {
            name: size
            for name, size in (
                ("probs", None if self.probs_NC is None else len(self.probs_NC)),
                ("embeddings", None if self.embeddings_ND is None else len(self.embeddings_ND)),
                ("draws", None if self.draws_TNC is None else self.draws_TNC.shape[1]),
            )
            if size is not None
        }
        if not sizes:
            raise ConfigError("no array was given: pass embeddings= (N, D), probs= (N, C) or draws= (T, N, C)")
        if len(set(sizes.values())) > 1:
            raise ConfigError(
                f"the arrays have different numbers of items: {sizes}. Give one row for each item in all of them"
            )
        return next(iter(sizes.values()))


def select(
    strategy: str | Strategy,
    budget: int,
    *,
    probs: ArrayLike | None = None,
    embeddings: ArrayLike | None = None,
    draws: ArrayLike | None = None,
    labeled: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    cost: ArrayLike | None = None,
    ids: Sequence[str] | None = None,
    exclusive: bool = True,
    seed: int = 0,
    **options: Any,
) -> Picks:
    """Chooses which items to label next, from arrays of any model. Arrays that the method does not read are ignored.

    Args:
        strategy: a registered name (``labelwise.list_strategies()``) with ``options``, or a ``Strategy``.
        budget: how many items to choose.
        probs: class probabilities (N, C).
        embeddings: one vector per item (N, D); any float type; memory maps are read in place.
        draws: class probabilities of stochastic passes (T, N, C).
        labeled: positions that have a label already; never chosen.
        labels: class index of each of those.
        cost: expected cost of each item (N,), for methods that weigh it.
        ids: a name for each row: the same ids are then chosen however the rows are ordered.
        exclusive: rows of ``probs`` sum to one; False for sigmoid heads.
        seed: of every random choice.
        options: the strategy's own.

    Raises:
        ConfigError: unknown strategy or option, a budget larger than the pool, arrays of different lengths.
        DataError: probabilities that are none, values that are not finite.
        UnmetNeed: the method needs an array that was not given.

    Cost: the strategy's; embeddings are not copied unless ``ids`` has them reordered.

    Example:
        >>> import labelwise as lw
        >>> picks = lw.select("margin", budget=1, probs=[[0.9, 0.1], [0.6, 0.4]])
        >>> picks.positions.tolist(), f"{picks.scores[0]:.2f}"
        ([1], '0.80')
    """
    if options and not isinstance(strategy, str):
        raise ConfigError(f"{strategy!r} came with {', '.join(options)}=: give a strategy its options where it is made")
    chosen = STRATEGIES.create(strategy, **options) if isinstance(strategy, str) else strategy
    arrays = Arrays(_probabilities(probs, exclusive), _embeddings(embeddings), _draws(draws, exclusive), exclusive)
    count = arrays.size()
    order = None if ids is None else _order(ids, count)
    labeled_L, labels_L = _labeled(labeled, labels, count)
    cost_N = _cost(cost, count)
    if order is not None:
        arrays, labeled_L = _reordered(arrays, order), _inverse(order)[labeled_L]
        cost_N = None if cost_N is None else cost_N[order]
    query = _query(count, labeled_L, labels_L, cost_N, generator(seed, "select", 0), budget)
    if chosen.oracle:
        raise UnmetNeed(f"strategy {chosen.name!r} reads hidden labels: it exists only in simulated campaigns")
    try:
        selection = run_steps(chosen, query, lambda step, now: _collected(arrays, step, now))
    except UnmetNeed as error:
        raise UnmetNeed(f"strategy {chosen.name!r} cannot run on what it was given: {error}") from None
    positions_K = selection.positions_K if order is None else order[selection.positions_K]
    scores = None if selection.scores_K is None else selection.scores_K.cpu().numpy()
    return Picks(positions_K.cpu().numpy(), scores, selection.notes)


def _collected(arrays: Arrays, step: Step, query: Query) -> Collected:
    rows: Mapping[Signal, Tensor] = {signal: arrays.matrix(signal) for signal in step.needs.signals}
    return Collected(Held(rows), query.unlabeled_M, query.labeled_L, query.reference_R)


@dataclass(frozen=True)
class Held(Signals):
    """Signals that are at hand, by position."""

    rows: Mapping[Signal, Tensor]

    def matrix(self, signal: Signal) -> Tensor:
        """(N, ...) by position."""
        return self.rows[signal]


def _query(
    count: int, labeled_L: Tensor, labels_L: Tensor | None, cost_N: Tensor | None, rng: np.random.Generator, budget: int
) -> Query:
    free = torch.ones(count, dtype=torch.bool)
    free[labeled_L] = False
    unlabeled_M = free.nonzero().squeeze(1)
    order = labeled_L.argsort()
    return Query(
        labeled_L=labeled_L[order],
        unlabeled_M=unlabeled_M,
        budget=Budget(budget).items(len(unlabeled_M)),
        rng=rng,
        labels_L=None if labels_L is None else labels_L[order],
        class_counts_C=None if labels_L is None or not len(labels_L) else labels_L.bincount(),
        cost_N=cost_N,
    )


def _labeled(labeled: ArrayLike | None, labels: ArrayLike | None, count: int) -> tuple[Tensor, Tensor | None]:
    labeled_L = _whole("labeled", [] if labeled is None else labeled)
    if len(labeled_L) and (int(labeled_L.min()) < 0 or int(labeled_L.max()) >= count):
        raise ConfigError(f"labeled= holds positions outside 0 to {count - 1}: give rows of the arrays")
    if len(set(labeled_L.tolist())) != len(labeled_L):
        raise ConfigError("labeled= holds a position twice: give each row once")
    if labels is None:
        return labeled_L, None
    labels_L = _whole("labels", labels)
    if len(labels_L) != len(labeled_L):
        raise ConfigError(
            f"labels= has {len(labels_L)} entries for {len(labeled_L)} labelled positions: give one for each"
        )
    if len(labels_L) and int(labels_L.min()) < 0:
        raise ConfigError(f"labels= holds {int(labels_L.min())}: give the index of a class, 0 or more")
    return labeled_L, labels_L


def _whole(name: str, array: ArrayLike) -> Tensor:
    numbers = _array(name, array, 1)
    if numbers.numel() and (numbers.is_floating_point() or numbers.is_complex() or numbers.dtype == torch.bool):
        raise ConfigError(f"{name}= has type {numbers.dtype}: give whole numbers (for a mask, numpy.flatnonzero(mask))")
    return numbers.to(torch.int64)


def _cost(cost: ArrayLike | None, count: int) -> Tensor | None:
    if cost is None:
        return None
    cost_N = _array("cost", cost, 1)
    if len(cost_N) != count:
        raise ConfigError(f"cost= has {len(cost_N)} entries for {count} rows: give one for each")
    if not bool(torch.isfinite(cost_N).all()) or bool((cost_N < 0).any()):
        raise ConfigError("cost= holds values that are negative or not finite: give what each item will cost")
    return cost_N


def _order(ids: Sequence[str], count: int) -> Tensor:
    if len(ids) != count:
        raise ConfigError(f"ids= has {len(ids)} names for {count} rows: give one for each")
    if len(set(ids)) != count:
        raise ConfigError("ids= names two rows alike: ids must be unique")
    kinds = sorted({type(name).__name__ for name in ids})
    if len(kinds) > 1:
        raise ConfigError(f"ids= mixes {' and '.join(kinds)}: give names of one type, so that they have an order")
    return torch.from_numpy(np.argsort(np.asarray(ids, dtype=object), kind="stable").astype(np.int64))


def _inverse(order: Tensor) -> Tensor:
    inverse = torch.empty_like(order)
    inverse[order] = torch.arange(len(order))
    return inverse


def _reordered(arrays: Arrays, order: Tensor) -> Arrays:
    if torch.equal(order, torch.arange(len(order))):
        return arrays
    return Arrays(
        None if arrays.probs_NC is None else arrays.probs_NC[order],
        None if arrays.embeddings_ND is None else arrays.embeddings_ND[order],
        None if arrays.draws_TNC is None else arrays.draws_TNC[:, order],
        arrays.exclusive,
    )


def _array(name: str, array: ArrayLike, dims: int) -> Tensor:
    try:
        tensor = as_tensor(array)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name}= is no array of numbers: {str(error).splitlines()[0]}") from error
    if tensor.ndim != dims:
        error_type = DataError if dims > 1 else ConfigError
        raise error_type(f"{name}= has shape {tuple(tensor.shape)}: give {dims} dimension{'s' if dims > 1 else ''}")
    return tensor


def _probabilities(probs: ArrayLike | None, exclusive: bool, name: str = "probs") -> Tensor | None:
    if probs is None:
        return None
    probs_NC = _array(name, probs, 2)
    if not probs_NC.shape[1]:
        raise DataError(f"{name}= has shape {tuple(probs_NC.shape)}: give a column for each class")
    for start in range(0, len(probs_NC), BLOCK):
        check_probabilities(probs_NC[start : start + BLOCK], exclusive, first_row=start, name=name)
    return probs_NC


def _embeddings(embeddings: ArrayLike | None) -> Tensor | None:
    return None if embeddings is None else _array("embeddings", embeddings, 2)


def _draws(draws: ArrayLike | None, exclusive: bool) -> Tensor | None:
    if draws is None:
        return None
    draws_TNC = _array("draws", draws, 3)
    if not len(draws_TNC):
        raise DataError(f"draws= has shape {tuple(draws_TNC.shape)}: give at least one draw")
    for number, probs_NC in enumerate(draws_TNC):
        _probabilities(probs_NC, exclusive, f"draws[{number}]")
    return draws_TNC


def check_probabilities(probs_BC: Tensor, exclusive: bool, *, first_row: int = 0, name: str = "probs") -> None:
    """Refuses rows that are no probabilities.

    Raises:
        DataError: names the first bad row, what is in it and what is allowed.
    """
    rows = probs_BC.float()
    bad_B = ~torch.isfinite(rows).all(1) | (rows < 0).any(1) | (rows > 1 + 1e-3).any(1)
    if bool(bad_B.any()):
        row = int(bad_B.nonzero()[0])
        raise DataError(f"{name} row {first_row + row} holds {rows[row].tolist()[:6]}: every entry must lie in [0, 1]")
    off_B = (rows.sum(1) - 1).abs() > 1e-2
    if exclusive and rows.shape[1] > 1 and bool(off_B.any()):
        row = int(off_B.nonzero()[0])
        raise DataError(
            f"{name} row {first_row + row} sums to {float(rows[row].sum()):.4f} where classes exclude each other: "
            "it must sum to 1. Give softmax outputs, or exclusive=False for sigmoid heads"
        )


def list_strategies() -> list[str]:
    """Names of all registered strategies.

    Example:
        >>> "margin" in list_strategies()
        True
    """
    return STRATEGIES.names()
