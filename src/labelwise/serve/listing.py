"""All items of a project: filtered, sorted, page by page, and everything about one of them."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from PIL import Image

from labelwise.contracts.kind import Look, Panel
from labelwise.contracts.source import read_for
from labelwise.errors import ConfigError
from labelwise.exchange.pictures import shown_in
from labelwise.serve.shared import Shared
from labelwise.serve.told import Telling, Told, in_words, size_of, why

STATES = ("unlabelled", "pending", "labelled", "skipped", "held out")
Sort = Literal["id", "doubt", "rank"]
#: items that one request gives at most
MOST = 500


@dataclass(frozen=True)
class Filter:
    """Which items are wanted; "" for any."""

    state: str = ""
    named: str = ""
    predicted: str = ""
    annotator: str = ""
    split: str = ""
    text: str = ""
    round: int | None = None


class Listing:
    """Items as rows.

    Args:
        shared: the project.
        telling: what the model says.
    """

    def __init__(self, shared: Shared, telling: Telling) -> None:
        self.shared, self.telling = shared, telling

    def states(self) -> np.ndarray:
        """(N,) uint8: place in ``STATES``, of every item."""
        pool = self.shared.pool
        found = np.full(len(pool), 4, np.uint8)
        places = (pool.unlabelled, pool.pending, pool.labelled, pool.skipped)
        for code, positions in enumerate(places):
            found[positions] = code
        free = [position for position in np.flatnonzero(found == 4).tolist() if pool.is_free(position)]
        found[free] = 0  # regions that an asked image covers
        return found

    def rows(self, wanted: Filter, sort: Sort, start: int, count: int) -> dict[str, Any]:
        """Some of the items that a filter lets through, and how many these are.

        Raises:
            ConfigError: an unknown state or order.
        """
        if wanted.state and wanted.state not in STATES:
            raise ConfigError(f"state {wanted.state!r:.40}: one of {', '.join(STATES)}")
        pool, states = self.shared.pool, self.states()
        positions = np.arange(len(pool)) if not wanted.state else np.flatnonzero(states == STATES.index(wanted.state))
        kept = [int(position) for position in positions if self._fits(int(position), wanted)]
        kept.sort(key=self._order(sort))
        shown = kept[start : start + min(count, MOST)]
        return {"total": len(kept), "items": [self._row(position, STATES[states[position]]) for position in shown]}

    def _order(self, sort: Sort) -> Any:
        pool, telling = self.shared.pool, self.telling
        if sort == "id":
            return lambda position: position
        if sort == "rank":

            def by_rank(position: int) -> tuple[float, float, int]:
                query = pool.query(position)
                return (-query.round, query.rank, position) if query else (np.inf, 0, position)

            return by_rank
        if sort == "doubt":

            def by_doubt(position: int) -> tuple[float, int]:
                doubt = self._doubt(position, telling.known(pool.ids[position]))
                return (np.inf if doubt is None else -doubt, position)

            return by_doubt
        raise ConfigError(f"sort {sort!r:.40}: one of id, rank, doubt")

    def _fits(self, position: int, wanted: Filter) -> bool:
        pool, kind = self.shared.pool, self.shared.project.kind
        query = pool.query(position)
        if wanted.text and wanted.text.lower() not in pool.ids[position].lower():
            return False
        if wanted.round is not None and (query is None or query.round != wanted.round):
            return False
        if wanted.split and pool.role(position) != wanted.split:
            return False
        if wanted.predicted and self._predicted(position) != wanted.predicted:
            return False
        labels = pool.labels.of(position)
        if wanted.annotator and all(one.annotator != wanted.annotator for one in labels):
            return False
        classes = self.shared.project.config.classes
        return not wanted.named or (bool(labels) and wanted.named in kind.objects(pool.target(position), classes))

    def _predicted(self, position: int) -> str:
        """The class that the model thinks likeliest, now where it was asked, else when it was asked about."""
        told, query = self.telling.known(self.shared.pool.ids[position]), self.shared.pool.query(position)
        return told.says[0][0] if told.says else (query.predicted or "") if query else ""

    def _doubt(self, position: int, told: Told) -> float | None:
        query = self.shared.pool.query(position)
        if told.doubt is not None:
            return told.doubt
        return 1 - query.probability if query is not None and query.probability is not None else None

    def _row(self, position: int, state: str) -> dict[str, Any]:
        pool, project = self.shared.pool, self.shared.project
        kind, classes, query = project.kind, project.config.classes, pool.query(position)
        labels = pool.labels.of(position)
        target = pool.target(position) if labels else None
        predicted, doubt = self._predicted(position), self._doubt(position, self.telling.known(pool.ids[position]))
        return {
            "id": pool.ids[position],
            "state": state,
            "split": pool.role(position),
            "label": in_words(kind, target, classes) if labels else "",
            "classes": list(dict.fromkeys(kind.objects(target, classes))) if labels else [],
            "predicted": [predicted] if predicted else [],
            "doubt": None if doubt is None else round(float(doubt), 4),
            "round": None if query is None else query.round,
            "rank": None if query is None else query.rank,
            "annotators": sorted({one.annotator for one in labels if one.annotator}),
        }

    def item(self, item: str) -> dict[str, Any]:
        """Everything about one item.

        Raises:
            PoolError: there is none of this name.
        """
        pool, project = self.shared.pool, self.shared.project
        position = pool.position(item)
        told = self.telling.of([item]).get(item, Told())
        labels, query = pool.labels.of(position), pool.query(position)
        return {
            **self._row(position, STATES[self.states()[position]]),
            "image": read_for(project.source, item),
            "size": size_of(project, item),
            "words": in_words(project.kind, pool.target(position), project.config.classes) if labels else "",
            "label": pool.target(position) if labels else None,
            "labels": [{"annotator": one.annotator, "label": one.target} for one in labels],
            "guess": told.guess,
            "says": [{"class": name, "probability": p} for name, p in told.says],
            "score": None if query is None else query.score,
            "why": [] if query is None else why(query, told),
            "reason": pool.reason(position),
            "cost": dict(labels[-1].cost) if labels else {},
        }

    def drawn(self, item: str, side: int, what: Literal["label", "guess"]) -> bytes:
        """A picture with what people said, or what the model says, drawn over it; as JPEG.

        Raises:
            PoolError: there is no such item.
            DataError: it cannot be read.
        """
        pool, project = self.shared.pool, self.shared.project
        position = pool.position(item)
        raw = pool.target(position) if what == "label" and pool.labels.of(position) else None
        if what == "guess":
            raw = self.telling.of([item]).get(item, Told()).guess
        array = project.source.thumbnail(item, side)
        picture = Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array)
        if raw is not None and project.kind.drawn:
            panel = Panel("", shown_in(project.source, item, raw))
            picture = project.kind.draw(picture, [panel], project.config.classes, Look(project.palette(), side=side))
        memory = io.BytesIO()
        picture.convert("RGB").save(memory, "JPEG", quality=85)
        return memory.getvalue()
