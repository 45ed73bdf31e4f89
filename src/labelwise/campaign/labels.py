"""What people said of the items of a pool: of each one label, or one of each of several annotators."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any

from labelwise.campaign.events import Labelled


class Labels:
    """Labels by position, of one person or of several.

    Example:
        >>> labels = Labels()
        >>> for who, target in (("ann", "cat"), ("bob", "dog"), ("eve", "cat")):
        ...     labels.add(0, Labelled("a.png", target, annotator=who))
        >>> labels.target(0), labels.disputed()
        ('cat', [0])
    """

    def __init__(self) -> None:
        self._given: dict[int, tuple[Labelled, ...]] = {}

    def add(self, position: int, label: Labelled) -> None:
        """A label of a named annotator corrects that annotator's own; one that nobody signed replaces all."""
        old = self._given.get(position, ()) if label.annotator else ()
        self._given[position] = (*(one for one in old if one.annotator != label.annotator), label)

    def drop(self, position: int) -> None:
        """All that was said of an item is taken back."""
        self._given.pop(position, None)

    def of(self, position: int) -> tuple[Labelled, ...]:
        """What people say of an item, the latest last; () where it has no label."""
        return self._given.get(position, ())

    def target(self, position: int) -> Any:
        """The raw label that counts: that of the majority, in a tie the later one.

        Raises:
            KeyError: the item has no label.
        """
        given = self._given[position]
        return given[0].target if len(given) == 1 else _decided(given).target

    def disputed(self) -> list[int]:
        """Positions on which annotators differ, ascending."""
        several = sorted(position for position, given in self._given.items() if len(given) > 1)
        return [p for p in several if any(one.target != self._given[p][0].target for one in self._given[p])]

    def cost(self, positions: Iterable[int]) -> dict[str, float]:
        """What the labels of these items have cost, those of every annotator, by unit."""
        total: dict[str, float] = {}
        for one in (one for position in positions for one in self.of(int(position))):
            for unit, value in one.cost.items():
                total[unit] = total.get(unit, 0.0) + value
        return total

    def copy(self) -> Labels:
        """Labels that can change without these."""
        other = copy.copy(self)
        other._given = self._given.copy()
        return other


def _decided(given: Sequence[Labelled]) -> Labelled:
    """The label that most annotators gave; of labels with as many votes the later one."""
    votes = [sum(other.target == one.target for other in given) for one in given]
    return max(zip(votes, range(len(given)), given, strict=True), key=lambda one: one[:2])[2]
