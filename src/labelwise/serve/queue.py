"""What waits for an answer, in ranked order, each picture given to one browser at a time, and why it was asked."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from labelwise.contracts.kind import in_full
from labelwise.contracts.source import read_for
from labelwise.serve.shared import Shared
from labelwise.serve.told import Telling, Told

#: seconds for which a picture that one browser was given is kept from the others
KEPT_FOR = 600.0
#: picks that one request gives at most
MOST = 100


class Queue:
    """The picks that wait.

    Args:
        shared: the project.
        telling: what the model says.
        now: seconds.
    """

    def __init__(self, shared: Shared, telling: Telling, now: Callable[[], float] = time.monotonic) -> None:
        self.shared, self.telling, self.now = shared, telling, now
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
        pending = set(pool.pending.tolist())
        waits = [query for query in pool.queries() if pool.position(query.id) in pending]
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
        said = self.telling.of([query.id for query in mine])
        picks = []
        for query in mine:
            told = said.get(query.id, Told())
            picks.append({
                "id": query.id, "rank": query.rank, "score": query.score, "round": query.round,
                "strategy": query.strategy, "size": size_of(project, query.id), "why": why(query, told),
                "guess": told.guess, "says": [{"class": name, "probability": p} for name, p in told.says],
                "neighbours": [],
            })  # fmt: skip
        return {"total": total, "picks": picks}

    def free(self, item: str) -> None:
        """A picture that was answered is nobody's any more."""
        with self._lock:
            self._given.pop(item, None)


def size_of(project: Any, item: str) -> list[int] | None:
    """Width and height of an item's picture; None where it cannot be read."""
    from labelwise.errors import DataError

    try:
        return [int(side) for side in project.source.size(read_for(project.source, item))]
    except DataError:
        return None


def why(query: Any, told: Told) -> list[str]:
    """Why an item was asked, in words."""
    score = "" if query.score is None else f", score {query.score:.3g}"
    lines = [f"number {query.rank + 1} of round {query.round}, chosen by {query.strategy or 'hand'}{score}"]
    if len(told.says) > 1 and told.says[0][1] < 0.9:
        (first, p), (second, q) = told.says[:2]
        lines.append(f"the model is torn between {first} ({100 * p:.0f} %) and {second} ({100 * q:.0f} %)")
    elif told.says:
        lines.append(f"the model is {100 * told.says[0][1]:.0f} % sure of {told.says[0][0]}")
    elif told.guess is not None:
        found = told.guess.get("objects") if isinstance(told.guess, dict) else None
        if found is not None:
            scores = [one["score"] for one in found if "score" in one]
            sure = f", the least sure {min(scores):.2f}" if scores else ""
            lines.append(f"the model finds {len(found)} here{sure}: {in_full([one['class'] for one in found][:6])}")
    else:
        lines.append("no model has looked at it yet")
    return lines
