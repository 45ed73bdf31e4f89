"""All items of a project: filtered, sorted, page by page, and everything about one of them."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from labelwise.contracts.kind import Look, Panel
from labelwise.contracts.picture import as_image
from labelwise.contracts.source import read_for
from labelwise.errors import ConfigError
from labelwise.exchange.pictures import shown_in
from labelwise.serve.shared import Shared
from labelwise.serve.told import Telling, Told, in_words, size_of, why

if TYPE_CHECKING:
    from labelwise.campaign.pool import Pool
    from labelwise.project.project import Project

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

    @property
    def is_open(self) -> bool:
        """Whether every item of the state is wanted."""
        return not any((self.named, self.predicted, self.annotator, self.split, self.text)) and self.round is None


def states_of(pool: Pool) -> np.ndarray:
    """(N,) uint8: place in ``STATES``, of every item."""
    found = np.full(len(pool), 4, np.uint8)
    for code, positions in enumerate((pool.unlabelled, pool.pending, pool.labelled, pool.skipped)):
        found[positions] = code
    covered = [position for position in np.flatnonzero(found == 4).tolist() if pool.is_free(position)]
    found[covered] = 0  # regions that an asked image covers
    return found


class Listing:
    """Items as rows.

    Args:
        shared: the project.
        telling: what the model says.
    """

    def __init__(self, shared: Shared, telling: Telling) -> None:
        self.shared, self.telling = shared, telling

    def rows(self, wanted: Filter, sort: Sort, start: int, count: int) -> dict[str, Any]:
        """Some of the items that a filter lets through, and how many these are.

        Raises:
            ConfigError: an unknown state.
        """
        if wanted.state and wanted.state not in STATES:
            raise ConfigError(f"state {wanted.state!r:.40}: one of {', '.join(STATES)}")
        now = _Now(self.shared.project, self.telling)
        places = np.flatnonzero(now.states == STATES.index(wanted.state)) if wanted.state else np.arange(len(now.pool))
        kept = places.tolist() if wanted.is_open else [place for place in places.tolist() if now.fits(place, wanted)]
        if sort != "id":
            kept.sort(key=now.by_rank if sort == "rank" else now.by_doubt)
        shown = kept[start : start + min(count, MOST)]
        return {"total": len(kept), "items": [now.row(place) for place in shown]}

    def item(self, item: str) -> dict[str, Any]:
        """Everything about one item.

        Raises:
            PoolError: there is none of this name.
        """
        project = self.shared.project
        pool = project.pool
        position = pool.position(item)
        told = self.telling.of([item]).get(item, Told())
        labels, query = pool.labels.of(position), pool.query(position)
        target = pool.target(position) if labels else None
        return {
            **_Now(project, self.telling).row(position),
            "image": read_for(project.source, item),
            "size": size_of(project, item),
            "words": in_words(project.kind, target, project.config.classes) if labels else "",
            "label": target,
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
        project = self.shared.project
        raw = self.telling.label(item, what)
        picture = as_image(project.source.thumbnail(item, side))
        if raw is not None and project.kind.drawn:
            panel = Panel("", shown_in(project.source, item, raw))
            picture = project.kind.draw(picture, [panel], project.config.classes, Look(project.palette(), side=side))
        memory = io.BytesIO()
        picture.convert("RGB").save(memory, "JPEG", quality=85)
        return memory.getvalue()


class _Now:
    """The items as they stand for one request: the state is looked up once, not once an item.

    Args:
        project: as it stands.
        telling: what the model said so far.
    """

    def __init__(self, project: Project, telling: Telling) -> None:
        self.pool, self.kind, self.classes = project.pool, project.kind, project.config.classes
        self.telling = telling
        self.states = states_of(self.pool)

    def fits(self, position: int, wanted: Filter) -> bool:
        """Whether a filter lets an item through."""
        pool = self.pool
        if wanted.text and wanted.text.lower() not in pool.ids[position].lower():
            return False
        if wanted.round is not None and ((query := pool.query(position)) is None or query.round != wanted.round):
            return False
        if wanted.split and pool.role(position) != wanted.split:
            return False
        if wanted.predicted and self._predicted(position) != wanted.predicted:
            return False
        if not wanted.annotator and not wanted.named:
            return True
        labels = pool.labels.of(position)
        if wanted.annotator and all(one.annotator != wanted.annotator for one in labels):
            return False
        named = wanted.named
        return not named or (bool(labels) and named in self.kind.objects(pool.target(position), self.classes))

    def by_rank(self, position: int) -> tuple[float, float, int]:
        """Newest round first, and in it as asked; then what was never asked."""
        query = self.pool.query(position)
        return (-query.round, query.rank, position) if query else (np.inf, 0, position)

    def by_doubt(self, position: int) -> tuple[float, int]:
        """Least sure first; then those of which nothing is known."""
        doubt = self._doubt(position)
        return (np.inf if doubt is None else -doubt, position)

    def _predicted(self, position: int) -> str:
        """The class that the model thinks likeliest, now where it was asked, else when it was asked about."""
        told, query = self.telling.known(self.pool.ids[position]), self.pool.query(position)
        return told.says[0][0] if told.says else (query.predicted or "") if query else ""

    def _doubt(self, position: int) -> float | None:
        if (doubt := self.telling.known(self.pool.ids[position]).doubt) is not None:
            return doubt
        query = self.pool.query(position)
        return 1 - query.probability if query is not None and query.probability is not None else None

    def row(self, position: int) -> dict[str, Any]:
        """One item in short."""
        pool, query = self.pool, self.pool.query(position)
        labels = pool.labels.of(position)
        target = pool.target(position) if labels else None
        predicted, doubt = self._predicted(position), self._doubt(position)
        return {
            "id": pool.ids[position],
            "state": STATES[self.states[position]],
            "split": pool.role(position),
            "label": in_words(self.kind, target, self.classes) if labels else "",
            "classes": list(dict.fromkeys(self.kind.objects(target, self.classes))) if labels else [],
            "predicted": [predicted] if predicted else [],
            "doubt": None if doubt is None else round(float(doubt), 4),
            "round": None if query is None else query.round,
            "rank": None if query is None else query.rank,
            "annotators": sorted({one.annotator for one in labels if one.annotator}),
        }
