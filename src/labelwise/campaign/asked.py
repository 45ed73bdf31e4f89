"""What was asked of the items of a pool: of each the query that chose it, and the one that doubts its label."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import TYPE_CHECKING

from labelwise.campaign.events import AskedAgain, Queried
from labelwise.contracts.oracle import Pick

if TYPE_CHECKING:
    from labelwise.contracts.source import Source


class Asked:
    """Queries by position. An item that is asked again keeps its first query, and waits although it has a label.

    Example:
        >>> asked = Asked()
        >>> asked.ask(3, Queried("a", 0))
        >>> asked.ask_again(3, AskedAgain("a", 2))
        >>> asked.query(3).round, sorted(asked.reopened), asked.next_round
        (2, [3], 3)
        >>> asked.answered(3)
        >>> sorted(asked.reopened), asked.again
        ([], [3])
    """

    def __init__(self) -> None:
        self._first: dict[int, Queried] = {}
        self._again: dict[int, Queried] = {}
        #: positions that have a label, were asked again, and wait
        self.reopened: frozenset[int] = frozenset()

    def ask(self, position: int, query: Queried) -> None:
        """An item was chosen."""
        self._first[position] = query

    def ask_again(self, position: int, event: AskedAgain) -> None:
        """The label of an item is doubted."""
        self._again[position] = Queried(**{name: getattr(event, name) for name in Queried.__slots__})
        self.reopened |= {position}

    def answered(self, position: int) -> None:
        """An item asked again has an answer, or no label any more."""
        self.reopened -= {position}

    def take_back(self, position: int) -> bool:
        """Takes back that an item waits to be looked at again; False where it does not."""
        if position not in self.reopened:
            return False
        self.reopened -= {position}
        del self._again[position]
        return True

    def drop(self, position: int) -> None:
        """An item is as if never asked."""
        self._first.pop(position, None)
        self._again.pop(position, None)

    def first(self, position: int) -> Queried | None:
        """The query that chose an item before it had a label."""
        return self._first.get(position)

    def query(self, position: int) -> Queried | None:
        """The query that asked for an item last."""
        return self._again.get(position) or self._first.get(position)

    @property
    def again(self) -> list[int]:
        """Positions that were asked again, answered or not, ascending."""
        return sorted(self._again)

    def all(self) -> list[Queried]:
        """All queries that still stand, by round and rank; of an item that was asked again both."""
        return sorted([*self._first.values(), *self._again.values()], key=lambda query: (query.round, query.rank))

    def waiting(self, positions: Iterable[int]) -> list[Queried]:
        """The queries that asked for items last, by round and rank."""
        found = [query for position in positions if (query := self.query(int(position))) is not None]
        return sorted(found, key=lambda query: (query.round, query.rank))

    @property
    def next_round(self) -> int:
        """One more than the last round that was asked."""
        return max((query.round for query in (*self._first.values(), *self._again.values())), default=-1) + 1

    def copy(self) -> Asked:
        """Queries that can change without these."""
        other = copy.copy(self)
        other._first, other._again = self._first.copy(), self._again.copy()
        return other


def picks_of(source: Source, queries: Iterable[Queried]) -> list[Pick]:
    """Queries as picks of one round, in their order."""
    return [Pick(q.id, source.path(q.id), q.rank, q.score, q.predicted, q.probability) for q in queries]


def picks_again(source: Source, events: Iterable[AskedAgain]) -> tuple[Pick, ...]:
    """Labels that are asked again, as picks that say what chose them."""
    return tuple(
        Pick(one.id, source.path(one.id), one.rank, one.score, round=one.round, strategy=one.strategy) for one in events
    )
