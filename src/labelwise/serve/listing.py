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
from labelwise.serve.findings import Findings
from labelwise.serve.shared import Shared
from labelwise.serve.states import STATES, states_of
from labelwise.serve.told import Telling, Told, What, in_words, size_of, why

if TYPE_CHECKING:
    from labelwise.project.project import Project

Sort = Literal["id", "doubt", "rank"]
Places = np.ndarray[tuple[int], np.dtype[np.int64]]
#: items that one request gives at most
MOST = 500


@dataclass(frozen=True)
class Filter:
    """Which items are wanted; "" for any, and of doubt at least so much."""

    state: str = ""
    named: str = ""
    predicted: str = ""
    annotator: str = ""
    split: str = ""
    text: str = ""
    round: int | None = None
    tag: str = ""
    found: Literal["", "errors", "duplicates"] = ""
    like: str = ""
    doubt: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether every item of the state is wanted."""
        texts = (self.named, self.predicted, self.annotator, self.split, self.text, self.tag)
        return not any(texts) and self.round is None and self.doubt is None


class Listing:
    """Items as rows.

    Args:
        shared: the project.
        telling: what the model says.
        findings: what was found among them.
    """

    def __init__(self, shared: Shared, telling: Telling, findings: Findings) -> None:
        self.shared, self.telling, self.findings = shared, telling, findings

    def rows(self, wanted: Filter, sort: Sort, start: int, count: int) -> dict[str, Any]:
        """Some of the items that a filter lets through, and how many these are.

        What was found comes in its own order, unless another is asked for: the most doubtful label first, group by
        group, the most alike first.

        Raises:
            ConfigError: an unknown state.
            PoolError: no such image to be like.
            DataError: nothing was read yet to compare images by.
        """
        if wanted.state and wanted.state not in STATES:
            raise ConfigError(f"state {wanted.state!r:.40}: one of {', '.join(STATES)}")
        now = _Now(self.shared.project, self.telling, self.findings)
        places = now.found(wanted)
        if wanted.state:
            places = places[now.states[places] == STATES.index(wanted.state)]
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
            **_Now(project, self.telling, self.findings).row(position),
            "image": read_for(project.source, item),
            "size": size_of(project, item),
            "words": in_words(project.kind, target, project.config.classes) if labels else "",
            "label": target,
            "before": self.telling.label(item, "before"),
            "labels": [{"annotator": one.annotator, "label": one.target} for one in labels],
            "guess": told.guess,
            "says": [{"class": name, "probability": p} for name, p in told.says],
            "score": None if query is None else query.score,
            "why": [] if query is None else why(query, told),
            "reason": pool.reason(position),
            "cost": dict(labels[-1].cost) if labels else {},
        }

    def drawn(self, item: str, side: int, what: What) -> bytes:
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
        findings: what was found among them.
    """

    def __init__(self, project: Project, telling: Telling, findings: Findings) -> None:
        self.pool, self.kind, self.classes = project.pool, project.kind, project.config.classes
        self.telling, self.findings = telling, findings
        self.states = states_of(self.pool)
        self.errors, self.groups = findings.errors(self.pool), findings.groups(self.pool)
        self.alike: dict[int, float] = {}

    def found(self, wanted: Filter) -> Places:
        """Positions of what was found, in its own order; of all items where nothing special is wanted."""
        found: list[int] | None = None
        if wanted.like:
            like = self.findings.like([wanted.like])
            self.alike = {self.pool.position(item): cosine for item, cosine in like}
            found = [self.pool.position(wanted.like), *self.alike]
        if wanted.found == "errors":
            found = sorted(self.errors, key=lambda position: (-self.errors[position][0], position))
        elif wanted.found == "duplicates":
            found = sorted(self.groups, key=lambda position: (self.groups[position], position))
        return np.arange(len(self.pool)) if found is None else np.array(found, dtype=np.int64)

    def fits(self, position: int, wanted: Filter) -> bool:
        """Whether a filter lets an item through."""
        pool = self.pool
        if wanted.text and wanted.text.lower() not in pool.ids[position].lower():
            return False
        if wanted.round is not None and ((query := pool.query(position)) is None or query.round != wanted.round):
            return False
        if wanted.split and pool.role(position) != wanted.split:
            return False
        if wanted.doubt is not None and ((doubt := self._doubt(position)) is None or doubt < wanted.doubt):
            return False
        if wanted.tag and wanted.tag not in pool.tags.of(position):
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
            "tags": list(pool.tags.of(position)),
            "wrong": None if position not in self.errors else (self.errors[position][1] or "contradicted by the model"),
            "group": self.groups.get(position),
            "alike": None if position not in self.alike else round(self.alike[position], 4),
        }
