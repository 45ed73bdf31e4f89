"""Who answers: the contract between a campaign and whatever gives labels (people, or labels on disk)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
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
    """

    id: str
    path: str
    rank: int
    score: float | None = None
    predicted: str | None = None
    probability: float | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for one item: a label, or a skip.

    Args:
        id: the item.
        target: the raw label (a class name for classification); None when the item was skipped.
        cost: what the label cost, in any of {images, boxes, clicks, pixels, seconds}; known only now. What can be
            counted from the label (images, boxes, pixels) need not be said.
        reason: why it was skipped, in the annotator's words.
    """

    id: str
    target: Any = None
    cost: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """What an oracle is asked: the picks of one round."""

    round: int
    picks: tuple[Pick, ...]
    classes: tuple[str, ...]
    strategy: str


class Oracle(ABC):
    """Gives answers to a request: all, some, or none yet. Asked again, it may give the rest.

    The campaign has written down what was asked before it calls ``annotate``; an oracle may therefore take a week, or
    crash, and lose nothing.
    """

    @abstractmethod
    def annotate(self, request: Request) -> Iterable[Answer]:
        """Answers for some of the picks, in any order."""


class HeldBack(Oracle):
    """Answers from labels that lie on disk already: for simulated campaigns.

    Args:
        truth: id -> raw label. An item without one is skipped, with the reason.
        price: id -> what the answer costs beside what can be counted from the label.

    Example:
        >>> oracle = HeldBack({"a.png": "cat"})
        >>> [a.target for a in oracle.annotate(Request(0, (Pick("a.png", "a.png", 0),), ("cat", "dog"), "random"))]
        ['cat']
    """

    def __init__(self, truth: Mapping[str, Any], price: Callable[[str], Mapping[str, float]] | None = None) -> None:
        self.truth = truth
        self.price = price

    def annotate(self, request: Request) -> Iterable[Answer]:
        """A label for every pick that has one, a skip for the rest."""
        for pick in request.picks:
            if pick.id in self.truth:
                yield Answer(pick.id, self.truth[pick.id], {} if self.price is None else self.price(pick.id))
            else:
                yield Answer(pick.id, reason="no held-back label")
