"""The contract for strategies: declare what you need, receive arrays, return positions. A strategy never sees a model.

Dimension key: N pool, L labelled, M candidates, R reference, C classes, D features, K picks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from numbers import Integral
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import torch
from torch import Tensor

from labelwise.errors import ConfigError, NonFiniteScore, PoolError, UndeclaredSignal, UnmetNeed

if TYPE_CHECKING:
    import numpy as np

    from labelwise.contracts.learner import Auxiliary
    from labelwise.contracts.signal import Signal


@dataclass(frozen=True)
class Needs:
    """The signals a step reads, by the role of the items they are wanted for.

    Args:
        pool: for candidates.
        labelled: for labelled items.
        reference: for reference items.
        truth: hidden labels of the candidates: marks an oracle method, refused unless labels are held back.
        head: the linear layer between the task's embedding and its logits, as ``Query.head``.
    """

    pool: frozenset[Signal] = frozenset()
    labelled: frozenset[Signal] = frozenset()
    reference: frozenset[Signal] = frozenset()
    truth: bool = False
    head: bool = False

    def __or__(self, other: Needs) -> Needs:
        return Needs(
            self.pool | other.pool,
            self.labelled | other.labelled,
            self.reference | other.reference,
            self.truth or other.truth,
            self.head or other.head,
        )

    @property
    def signals(self) -> frozenset[Signal]:
        """All signals, whatever the role."""
        return self.pool | self.labelled | self.reference


@dataclass(frozen=True, eq=False)
class LinearHead:
    """The layer in which a model ends: ``logits = embedding @ weight.T + bias``.

    It reads the embedding of the model in training, ``Embedding("task")``, in the same units.

    Args:
        weight_CD: one row per class, float32.
        bias_C: one entry per class, float32.

    Example:
        >>> head = LinearHead(torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.zeros(2))
        >>> head.logits(torch.tensor([[3.0, 1.0]]))
        tensor([[3., 2.]])
    """

    weight_CD: Tensor
    bias_C: Tensor

    def logits(self, rows_AD: Tensor) -> Tensor:
        """(A, C) float32: what the model says of these embeddings, which may be mixtures that no image has."""
        weight_CD, bias_C = (part.to(rows_AD.device) for part in (self.weight_CD, self.bias_C))
        return torch.addmm(bias_C, rows_AD.float(), weight_CD.T)


class Signals(Protocol):
    """Collected signals in the frame of positions. Those that come from plain arrays have no ragged rows."""

    def matrix(self, signal: Signal) -> Tensor:
        """(N, ...): row i belongs to position i; rows of items it was not collected for are undefined."""

    def ragged(self, signal: Signal) -> Rows:
        """Rows of different lengths; an item that it was not collected for has none.

        Raises:
            UnmetNeed: there are none.
        """
        raise UnmetNeed(f"{signal!r} speaks of the objects in an image: run it in a project about boxes")


@dataclass(frozen=True)
class Rows:
    """Rows of different lengths, of the objects of items.

    Args:
        values_U: (U, ...) item by item.
        first_N: int64 (N + 1): item i has rows ``first_N[i]`` to ``first_N[i + 1]``; perhaps none.

    Example:
        >>> rows = Rows(torch.tensor([0.1, 0.2, 0.3]), torch.tensor([0, 2, 2, 3]))
        >>> rows.take(torch.tensor([2, 0])).values_U, rows.item_U
        (tensor([0.3000, 0.1000, 0.2000]), tensor([0, 0, 2]))
    """

    values_U: Tensor
    first_N: Tensor

    @property
    def item_U(self) -> Tensor:
        """(U,) int64: the item each row belongs to."""
        return torch.arange(len(self.first_N) - 1).repeat_interleave(self.first_N.diff())

    def take(self, items: Tensor) -> Rows:
        """The rows of some items, in this order."""
        count = self.first_N.diff()[items]
        first = torch.cat([count.new_zeros(1), count.cumsum(0)])
        start = (self.first_N[items] - first[:-1]).repeat_interleave(count)
        return Rows(self.values_U[torch.arange(int(first[-1])) + start], first)


class Nothing:
    """Signals of a query before anything was collected."""

    def matrix(self, signal: Signal) -> Tensor:
        """There is nothing to read.

        Raises:
            UndeclaredSignal: always.
        """
        raise _unread(signal)

    def ragged(self, signal: Signal) -> Rows:
        """There is nothing to read.

        Raises:
            UndeclaredSignal: always.
        """
        raise _unread(signal)


def _unread(signal: Signal) -> UndeclaredSignal:
    return UndeclaredSignal(f"{signal!r} was read before anything was collected: read it in a step that declares it")


@dataclass(frozen=True)
class Query:
    """What a step is given. All positions are ranks of item ids.

    Args:
        labelled_L: labelled positions, ascending.
        unlabelled_M: candidates, ascending; a later step sees the survivors of the one before.
        reference_R: reference positions, ascending.
        signals: what the step declared, by position.
        labels_L: class index of each labelled item, where the task has one.
        labels_R: class index of each reference item.
        class_counts_C: labelled items by class.
        cost_N: expected cost of each item, where one is known beforehand.
        truth_N: hidden labels, only for oracle methods under held-back labels.
        head: the model's last layer, only for steps that declare it.
        budget: number of items to choose.
        round: 0 for the first.
        rng: the only source of randomness.
    """

    labelled_L: Tensor
    unlabelled_M: Tensor
    budget: int
    rng: np.random.Generator
    signals: Signals = field(default_factory=lambda: Nothing())
    reference_R: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))
    labels_L: Tensor | None = None
    labels_R: Tensor | None = None
    class_counts_C: Tensor | None = None
    cost_N: Tensor | None = None
    truth_N: Tensor | None = None
    head: LinearHead | None = None
    round: int = 0

    def matrix(self, signal: Signal) -> Tensor:
        """(N, ...) by position, without a copy where the rows lie so already."""
        return self.signals.matrix(signal)

    def pool(self, signal: Signal) -> Tensor:
        """(M, ...): rows of the candidates."""
        return _rows(self.matrix(signal), self.unlabelled_M)

    def pool_rows(self, signal: Signal) -> Rows:
        """Ragged rows of the candidates: item i is candidate i."""
        return self.signals.ragged(signal).take(self.unlabelled_M)

    def of_labelled(self, signal: Signal) -> Tensor:
        """(L, ...): rows of the labelled items."""
        return _rows(self.matrix(signal), self.labelled_L)

    def joint(self, signal: Signal) -> Joint:
        """Rows of labelled items and candidates together, for methods that cover one with the other.

        Without a copy where these are all items there are.
        """
        matrix = self.matrix(signal)
        positions = torch.cat([self.labelled_L, self.unlabelled_M]).sort().values
        if len(positions) == len(matrix):
            return Joint(matrix, positions, self.labelled_L, self.unlabelled_M)
        labelled = torch.searchsorted(positions, self.labelled_L)
        unlabelled = torch.searchsorted(positions, self.unlabelled_M)
        return Joint(matrix[positions.to(matrix.device)], positions, labelled, unlabelled)

    def of_reference(self, signal: Signal) -> Tensor:
        """(R, ...): rows of the reference items."""
        return _rows(self.matrix(signal), self.reference_R)


@dataclass(frozen=True)
class Joint:
    """Rows of labelled items and candidates.

    Args:
        rows: one for each item.
        positions: position of each row in the pool, ascending.
        labelled_L: rows that are labelled.
        unlabelled_M: rows that are candidates.
    """

    rows: Tensor
    positions: Tensor
    labelled_L: Tensor
    unlabelled_M: Tensor


def _rows(matrix: Tensor, positions: Tensor) -> Tensor:
    # ascending distinct positions as many as there are rows: all of them, so no copy
    return matrix if len(positions) == len(matrix) else matrix[positions.to(matrix.device)]


@dataclass(frozen=True)
class Selection:
    """What a step chose.

    Args:
        positions_K: in the order chosen, distinct, all candidates.
        scores_K: higher = more wanted; None where the method ranks without a score.
        notes: remarks for people (a fallback taken, a shortfall filled), one line each.
    """

    positions_K: Tensor
    scores_K: Tensor | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Step:
    """One stage of a strategy: its signals are collected only for the survivors of the stage before."""

    needs: Needs
    select: Callable[[Query], Selection]


class Strategy(ABC):
    """A way to choose what to label next. Subclasses are frozen dataclasses with a ``name``.

    Example:
        A strategy is one file::

            @dataclass(frozen=True)
            class Margin(Strategy):
                name = "margin"

                def steps(self):
                    return (Step(Needs(pool=frozenset({SIGNAL})), self._choose),)

                def _choose(self, query):
                    return take_best(query, query.pool(SIGNAL))
    """

    name: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]] = ()
    #: an oracle reads hidden labels: only for simulated campaigns, marked in every table
    oracle: ClassVar[bool] = False

    @property
    def cold(self) -> bool:
        """Works with no label and no trained model."""
        return False

    @property
    def untrained(self) -> bool:
        """Works with a model that has seen no label yet: pretrained layers, a fresh last one."""
        return False

    @abstractmethod
    def steps(self) -> tuple[Step, ...]:
        """The stages, mostly one; the last returns exactly ``query.budget`` picks."""

    def acts_as(self, query: Query) -> Strategy:
        """The strategy that chooses in this state: itself, unless it hands over by what is labelled so far.

        ``steps`` then names the needs of all that it may hand over to, so that they are checked before training; only
        those of the one that acts are collected.
        """
        return self

    def auxiliaries(self) -> tuple[Auxiliary, ...]:
        """Extra heads that must be trained with the model."""
        return ()


@dataclass(frozen=True)
class Budget:
    """How much may be spent in a round.

    Args:
        amount: how many, at least 1.
        unit: ``images`` or ``regions`` (items, exactly) or boxes, clicks, pixels, seconds (as many items as fit, in the
            order chosen).
    """

    amount: int
    unit: str = "images"

    def __post_init__(self) -> None:
        got: Any = self.amount
        if isinstance(got, bool) or not isinstance(got, Integral):
            raise ConfigError(f"a budget of {got!r} {self.unit} was asked for: give a whole number, 1 or more")
        if self.amount < 1:
            raise ConfigError(f"a budget of {self.amount} {self.unit} buys nothing: give 1 or more")

    @property
    def counts_items(self) -> bool:
        """Whether items are counted, whatever they cost."""
        return self.unit in ("images", "regions")

    def items(self, available: int, cost_M: Tensor | None = None) -> int:
        """How many items a strategy is asked for.

        Raises:
            ConfigError: more items than there are, or a unit whose cost per item is unknown.
        """
        if self.counts_items:
            if self.amount > available:
                raise ConfigError(
                    f"{self.amount} items asked for, but only {available} are unlabelled: ask for at most "
                    f"{available}, or 'all'"
                )
            return self.amount
        if cost_M is None:
            raise ConfigError(
                f"a budget in {self.unit} needs an expected cost for each item: give cost=..., or count images"
            )
        return max(1, min(available, int(self.amount // max(float(cost_M.min()), 1e-12))))

    def cut(self, selection: Selection, cost_N: Tensor | None) -> Selection:
        """The longest prefix of the picks that the budget pays for; all of them where items are counted."""
        if self.counts_items or cost_N is None:
            return selection
        spent_K = cost_N[selection.positions_K].cumsum(0)
        fits = max(1, int((spent_K <= self.amount + 1e-9).sum()))
        scores_K = None if selection.scores_K is None else selection.scores_K[:fits]
        return Selection(selection.positions_K[:fits], scores_K, selection.notes)


@dataclass(frozen=True)
class Declared:
    """Signals with a guard: a step reads what it declared and nothing else."""

    signals: Signals
    allowed: frozenset[Signal]

    def matrix(self, signal: Signal) -> Tensor:
        """Rows by position.

        Raises:
            UndeclaredSignal: the step did not declare this signal.
        """
        self._check(signal)
        return self.signals.matrix(signal)

    def ragged(self, signal: Signal) -> Rows:
        """Rows of different lengths.

        Raises:
            UndeclaredSignal: as for ``matrix``.
        """
        self._check(signal)
        return self.signals.ragged(signal)

    def _check(self, signal: Signal) -> None:
        if signal not in self.allowed:
            raise UndeclaredSignal(
                f"{signal!r} was read but not declared: add it to the step's Needs ({set(self.allowed)})"
            )


@dataclass(frozen=True)
class Collected:
    """Signals of a step, and the items that have them: an image that cannot be read has no row and drops out.

    Args:
        signals: rows by position.
        unlabelled_M: candidates with rows, ascending.
        labelled_L: labelled items with rows, ascending.
        reference_R: reference items with rows, ascending.
    """

    signals: Signals
    unlabelled_M: Tensor
    labelled_L: Tensor
    reference_R: Tensor


def run_steps(strategy: Strategy, query: Query, collect: Callable[[Step, Query], Collected]) -> Selection:
    """Runs a strategy's steps one after another and checks what comes out.

    Args:
        strategy: what to run.
        query: the state; ``collect`` may take unreadable items out of it, and a step passes its survivors on to the
            next.
        collect: signals of a step for the query's items.

    Raises:
        NonFiniteScore: a score is NaN or infinite; the message names positions.
        PoolError: the strategy returned another number of picks than asked, one twice, or one that was no candidate.
    """
    notes: tuple[str, ...] = ()
    asked, strategy = strategy, strategy.acts_as(query)
    if strategy is not asked:
        notes = (f"{asked.name} acts as {strategy!r} here",)
    selection = Selection(query.unlabelled_M[:0])
    head = query.head
    steps = strategy.steps()
    for step in steps:
        query = replace(query, head=head if step.needs.head else None)
        query = _with_signals(query, step, collect(step, query))
        if not query.budget:
            # nothing left that could be chosen: no method has to cope with that
            return Selection(query.unlabelled_M[:0], notes=notes)
        selection = step.select(query)
        _check(strategy, query, selection, exact=step is steps[-1])
        notes += selection.notes
        query = replace(query, unlabelled_M=selection.positions_K.sort().values)
    return replace(selection, notes=notes)


def _with_signals(query: Query, step: Step, collected: Collected) -> Query:
    # None drops out in arrays: a million labelled items are not looked for among themselves
    readable_L = _kept(query.labelled_L, collected.labelled_L)
    readable_R = _kept(query.reference_R, collected.reference_R)
    return replace(
        query,
        signals=Declared(collected.signals, step.needs.signals),
        unlabelled_M=collected.unlabelled_M,
        labelled_L=query.labelled_L[readable_L],
        reference_R=query.reference_R[readable_R],
        labels_L=None if query.labels_L is None else query.labels_L[readable_L],
        labels_R=None if query.labels_R is None else query.labels_R[readable_R],
        budget=min(query.budget, len(collected.unlabelled_M)),
    )


def _kept(before: Tensor, after: Tensor) -> Tensor:
    return torch.ones_like(before, dtype=torch.bool) if before is after else torch.isin(before, after)


def _all_among(picked_K: Tensor, ascending_M: Tensor) -> bool:
    places_K = torch.searchsorted(ascending_M, picked_K).clamp_max(len(ascending_M) - 1)
    return bool((ascending_M[places_K] == picked_K).all())


def _check(strategy: Strategy, query: Query, selection: Selection, *, exact: bool) -> None:
    picked_K = selection.positions_K
    if exact and len(picked_K) != query.budget:
        raise PoolError(
            f"strategy {strategy.name!r} chose {len(picked_K)} items where {query.budget} were asked: a bug in it"
        )
    if len(set(picked_K.tolist())) != len(picked_K):
        raise PoolError(f"strategy {strategy.name!r} chose an item twice: a bug in it")
    if not _all_among(picked_K.cpu(), query.unlabelled_M.cpu()):
        raise PoolError(f"strategy {strategy.name!r} chose an item that is not unlabelled: a bug in it")
    if selection.scores_K is not None and not bool(torch.isfinite(selection.scores_K).all()):
        bad = picked_K[~torch.isfinite(selection.scores_K)].tolist()
        raise NonFiniteScore(f"strategy {strategy.name!r} gave a score that is not finite at positions {bad[:5]}")
