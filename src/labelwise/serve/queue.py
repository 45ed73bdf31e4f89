"""What waits for an answer, in ranked order, each picture given to one browser at a time, and why it was asked."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from labelwise.contracts.source import read_for
from labelwise.serve.neighbours import Neighbours
from labelwise.serve.shared import Shared
from labelwise.serve.told import Telling, Told, size_of, surroundings, why

#: seconds for which a picture that one browser was given is kept from the others
KEPT_FOR = 600.0
#: picks that one request gives at most
MOST = 100


class Queue:
    """The picks that wait.

    Args:
        shared: the project.
        telling: what the model says.
        neighbours: what is like them.
        now: seconds.
    """

    def __init__(
        self, shared: Shared, telling: Telling, neighbours: Neighbours, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.shared, self.telling, self.neighbours, self.now = shared, telling, neighbours, now
        self._given: dict[str, tuple[str, float]] = {}
        self._lock = threading.Lock()

    def next(self, browser: str, count: int, after: str = "") -> dict[str, Any]:
        """The next picks for a browser: those it has already, then those that nobody has.

        Args:
            browser: which.
            count: how many.
            after: an item; those up to it are left out.
        """
        pool, project = self.shared.pool, self.shared.project
        waits = pool.asked.waiting(pool.pending)
        if after:
            place = next((n for n, query in enumerate(waits) if query.id == after), -1)
            waits, total = waits[place + 1 :], len(waits)
        else:
            total = len(waits)
        with self._lock:
            moment = self.now()
            self._given = {item: kept for item, kept in self._given.items() if kept[1] > moment}
            mine = [query for query in waits if self._given.get(query.id, (browser, 0.0))[0] == browser]
            mine = mine[: min(count, MOST)]
            for query in mine:
                self._given[query.id] = (browser, moment + KEPT_FOR)
        asked = [query.id for query in mine]
        said, (near, dense) = self.telling.of(asked), self.neighbours.of(asked)
        picks = []
        for query in mine:
            told = said.get(query.id, Told())
            picks.append({
                "id": query.id, "image": read_for(project.source, query.id),
                "rank": query.rank, "score": query.score, "round": query.round,
                "strategy": query.strategy, "size": size_of(project, query.id),
                "why": [*why(query, told), *surroundings(dense.get(query.id))],
                "guess": told.guess, "says": [{"class": name, "probability": p} for name, p in told.says],
                "neighbours": near.get(query.id, []),
            })  # fmt: skip
        return {"total": total, "picks": picks}

    def free(self, item: str) -> None:
        """A picture that was answered is nobody's any more."""
        with self._lock:
            self._given.pop(item, None)
