"""What a strategy is given and what it gives back: ``Query`` and ``Selection``, and the budget between them.

Dimension key: N pool, L labelled, M candidates, R reference, C classes, D features, K picks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from numbers import Integral
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from labelwise.errors import ConfigError, UndeclaredSignal, UnmetNeed

if TYPE_CHECKING:
    import numpy as np

    from labelwise.contracts.head import LinearHead
    from labelwise.contracts.signal import Signal


class Signals(Protocol):
    """Collected signals in the frame of positions. Those that come from plain arrays have no ragged rows."""

    def matrix(self, signal: Signal) -> Tensor:
        """(N, ...): row i belongs to position i; rows of items it was not collected for are undefined."""

    def ragged(self, signal: Signal) -> Rows:
        """Rows of different lengths; an item that it was not collected for has none.

        Raises:
            UnmetNeed: there are none.
        """
        raise UnmetNeed(f"{signal.words} are of the objects in an image: run it in a project about boxes")


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
class Budget:
    """How much may be spent in a round.

    Args:
        amount: how many, at least 1.
        unit: ``items``, ``images``, ``regions`` or ``subjects`` (items, exactly) or boxes, points, clicks, pixels,
            seconds (as many items as fit, in the order chosen). Where items are subjects of images, ``images`` buys all
            picks that lie in so many images.
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
        return self.unit in ("items", "images", "regions", "subjects")

    def items(self, available: int, cost_M: Tensor | None = None, image_M: Tensor | None = None) -> int:
        """How many items a strategy is asked for.

        Args:
            available: candidates.
            cost_M: what each of them costs, where units are no items.
            image_M: number of the image that each lies in, where several lie in one and images are counted.

        Raises:
            ConfigError: more items than there are, or a unit whose cost per item is unknown.
        """
        if image_M is not None:
            count_I = image_M.bincount().sort(descending=True).values
            count_I = count_I[count_I > 0]
            return int(count_I[: self.amount].sum())
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

    def cut(self, selection: Selection, cost_N: Tensor | None, image_N: Tensor | None = None) -> Selection:
        """The longest prefix of the picks that the budget pays for; all of them where items are counted."""
        if image_N is not None:
            images = image_N[selection.positions_K].tolist()
            first = {image: rank for rank, image in reversed(list(enumerate(images)))}
            # an image is paid for once
            spent_K = torch.tensor([first[image] == rank for rank, image in enumerate(images)]).cumsum(0)
        elif self.counts_items or cost_N is None:
            return selection
        else:
            spent_K = cost_N[selection.positions_K].cumsum(0)
        fits = max(1, int((spent_K <= self.amount + 1e-9).sum()))
        scores_K = None if selection.scores_K is None else selection.scores_K[:fits]
        return Selection(selection.positions_K[:fits], scores_K, selection.notes)
