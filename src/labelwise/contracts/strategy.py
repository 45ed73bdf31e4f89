"""The contract for strategies: declare what you need, receive arrays, return positions; no model is ever seen."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from labelwise.contracts.query import Query, Rows, Selection, Signals
from labelwise.errors import NonFiniteScore, PoolError, UndeclaredSignal, whose

if TYPE_CHECKING:
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
        exclusive: one class an item: rows of probabilities that sum to one. Refused where each class is a yes or no.
    """

    pool: frozenset[Signal] = frozenset()
    labelled: frozenset[Signal] = frozenset()
    reference: frozenset[Signal] = frozenset()
    truth: bool = False
    head: bool = False
    exclusive: bool = False

    def __or__(self, other: Needs) -> Needs:
        return Needs(
            self.pool | other.pool,
            self.labelled | other.labelled,
            self.reference | other.reference,
            self.truth or other.truth,
            self.head or other.head,
            self.exclusive or other.exclusive,
        )

    @property
    def signals(self) -> frozenset[Signal]:
        """All signals, whatever the role."""
        return self.pool | self.labelled | self.reference

    @property
    def hidden(self) -> bool:
        """Whether labels are read that nobody has given: only in simulated campaigns, marked in every table."""
        return self.truth or any("loss" in signal.fields for signal in self.signals)

    @property
    def model(self) -> bool:
        """Whether the model in training is read: frozen features alone are there before any label."""
        return self.head or any(signal.of == "task" for signal in self.signals)


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

    def informed(self) -> Strategy:
        """The strategy that chooses where somebody else's model speaks: itself, unless it goes by labels given here.

        How many labels that model has learnt from nobody knows.
        """
        return self

    def auxiliaries(self) -> tuple[Auxiliary, ...]:
        """Extra heads that must be trained with the model."""
        return ()

    @property
    def scored_by(self) -> Signal | None:
        """What the model says of one image alone, higher = more wanted: for pictures of single images.

        None where picks depend on each other, or on what is labelled.
        """
        return None

    @property
    def reads_model(self) -> bool:
        """Whether any step reads the model in training; where none does, nothing has to be trained to choose."""
        return bool(self.auxiliaries()) or any(step.needs.model for step in self.steps())


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
        if not isinstance(selection, Selection):
            raise PoolError(
                f"strategy {strategy.name!r} returned {type(selection).__name__}: return a Selection "
                f"({whose(type(strategy))})"
            )
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
