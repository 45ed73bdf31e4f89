"""Who answers: the contract between a campaign and whatever gives labels (people, or labels on disk)."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Pick:
    """One item that a strategy chose, as people see it.

    Args:
        id: the item.
        path: where the image lies, as the source tells it.
        rank: 0 for the item chosen first.
        score: the strategy's own score, higher = more wanted; None where the method ranks without one.
        predicted: name of the class the model thinks most likely; None before there is a model.
        probability: of that class, in [0, 1].
        round: that asked it; None where only one is spoken of.
        strategy: that chose it then; "" likewise.
    """

    id: str
    path: str
    rank: int
    score: float | None = None
    predicted: str | None = None
    probability: float | None = None
    round: int | None = None
    strategy: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for one item: a label, or a skip.

    Args:
        id: the item.
        target: the raw label (a class name for classification); None when the item was skipped.
        cost: what the label cost, in any of {images, boxes, clicks, pixels, seconds}; known only now. What can be
            counted from the label (images, boxes, pixels) need not be said.
        reason: why it was skipped, in the annotator's words.
        annotator: who said so; "" where nobody is named, and then it is the last word.
    """

    id: str
    target: Any = None
    cost: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""
    annotator: str = ""


@dataclass(frozen=True)
class Round:
    """Picks that are asked together, with how they stand; iterates over the picks.

    Args:
        number: from 0; None for a ranking, which asks nobody.
        picks: in the order chosen.
        strategy: name of what chose them.
        classes: names that answers may use; () while a project knows none.
        notes: what people should know, one line each.
        open: asked before: these are the picks that still wait for an answer.
        left_out: id -> why nobody could be asked about it this time: no file, one that cannot be read, no prediction.
        collect_seconds: what reading images and models took.
        select_seconds: what choosing took.

    Example:
        >>> len(Round(0, (Pick("a.png", "a.png", 0),), "random", classes=("cat", "dog")))
        1
    """

    number: int | None
    picks: tuple[Pick, ...]
    strategy: str
    classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    open: bool = False
    left_out: Mapping[str, str] = field(default_factory=dict)
    collect_seconds: float = math.nan
    select_seconds: float = math.nan

    def __iter__(self) -> Iterator[Pick]:
        return iter(self.picks)

    def __len__(self) -> int:
        return len(self.picks)

    def parts(self) -> list[Round]:
        """The rounds that these picks belong to, in order, each by itself; mostly one.

        Example:
            >>> picks = [Pick("a", "a", 0, round=1, strategy="kmeans"), Pick("b", "b", 0, round=2, strategy="margin")]
            >>> [(part.number, part.strategy) for part in Round(2, tuple(picks), "kmeans and margin").parts()]
            [(1, 'kmeans'), (2, 'margin')]
        """
        groups: dict[int | None, list[Pick]] = {}
        for pick in self.picks:
            groups.setdefault(pick.round, []).append(pick)
        if len(groups) < 2:
            return [self]
        return [
            replace(self, number=number, picks=tuple(picks), strategy=picks[0].strategy)
            for number, picks in sorted(groups.items(), key=lambda group: -1 if group[0] is None else group[0])
        ]


class Oracle(ABC):
    """Gives answers to a round: all, some, or none yet. Asked again, it may give the rest.

    The campaign has written down what was asked before it calls ``annotate``; an oracle may therefore take a week, or
    crash, and lose nothing.
    """

    @abstractmethod
    def annotate(self, asked: Round) -> Iterable[Answer]:
        """Answers for some of the picks, in any order."""


class HeldBack(Oracle):
    """Answers from labels that lie on disk already: for simulated campaigns.

    Args:
        truth: id -> raw label. An item without one is skipped, with the reason.
        price: id -> what the answer costs beside what can be counted from the label.

    Example:
        >>> oracle = HeldBack({"a.png": "cat"})
        >>> [a.target for a in oracle.annotate(Round(0, (Pick("a.png", "a.png", 0),), "random"))]
        ['cat']
    """

    def __init__(self, truth: Mapping[str, Any], price: Callable[[str], Mapping[str, float]] | None = None) -> None:
        self.truth = truth
        self.price = price

    def annotate(self, asked: Round) -> Iterable[Answer]:
        """A label for every pick that has one, a skip for the rest."""
        for pick in asked:
            if pick.id in self.truth:
                yield Answer(pick.id, self.truth[pick.id], {} if self.price is None else self.price(pick.id))
            else:
                yield Answer(pick.id, reason="no held-back label")
