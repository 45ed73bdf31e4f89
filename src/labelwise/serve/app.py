"""The addresses of the page: each reads what was asked, calls one thing of the project, and answers in JSON."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import FastAPI, Query, Request, Response
from fastapi.responses import FileResponse, JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from labelwise.contracts.oracle import Answer
from labelwise.errors import ConfigError, DataError, LabelwiseError
from labelwise.project.tagging import tag
from labelwise.serve import standing
from labelwise.serve.answering import add_errors, add_files, as_json, packed, picture
from labelwise.serve.findings import Findings
from labelwise.serve.guard import Guard
from labelwise.serve.listing import Filter, Listing
from labelwise.serve.mapped import Map
from labelwise.serve.neighbours import Neighbours
from labelwise.serve.outgoing import Outgoing
from labelwise.serve.pictures import Pictures
from labelwise.serve.pixels import Pixels
from labelwise.serve.queue import Queue
from labelwise.serve.shared import Shared
from labelwise.serve.told import Telling, What

if TYPE_CHECKING:
    from labelwise.project.project import Project

#: examples of a search for more like them
EXAMPLES = 100
#: seconds of one answer that count; who left the page open was not labelling
LONGEST = 300.0

#: what a report may do: it runs its own script in a world of its own, which reaches neither the cookie nor this server
ALONE = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:"
)

_LOG = logging.getLogger(__name__)

Id = Annotated[str, Query(max_length=4096)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Given(_Body):
    """One answer."""

    id: str = Field(max_length=4096)
    label: Any = None
    skip: bool = False
    reason: str = Field("", max_length=500)
    seconds: float = Field(0.0, ge=0, allow_inf_nan=False)
    annotator: str = Field("", max_length=100)

    def answer(self) -> Answer:
        """As the project takes it."""
        cost = {"seconds": round(min(self.seconds, LONGEST), 2)} if self.seconds and not self.skip else {}
        return Answer(self.id, None if self.skip else self.label, cost, self.reason, self.annotator.strip())


class Answers(_Body):
    """Some answers, all or none of which are taken."""

    answers: list[Given] = Field(min_length=1, max_length=500)


class One(_Body):
    """One item."""

    id: str = Field(max_length=4096)


class Wanted(_Body):
    """A map."""

    method: Literal["pca", "tsne", "umap"] = "pca"


class Work(_Body):
    """A job."""

    what: Literal["fit", "suggest", "errors", "duplicates", "advise", "report", "export"]
    count: int | None = Field(None, ge=1)
    strategy: str | None = Field(None, max_length=200)
    more: bool = False
    #: of what is exported: what, and how
    use: Literal["labelled", "asked"] = "labelled"
    format: str = Field("", max_length=100)
    #: points of the map of which the picks are to be
    among: list[int] | None = Field(None, min_length=1, max_length=5_000_000)


class Shown(_Body):
    """Some of the images."""

    start: int = Field(0, ge=0)
    count: int = Field(60, ge=1)
    state: str = ""
    named: str = Field("", alias="class")
    predicted: str = ""
    annotator: str = ""
    split: str = ""
    text: str = Field("", max_length=4096)
    sort: Literal["id", "doubt", "rank"] = "id"
    round: int | None = None
    tag: str = ""
    found: Literal["", "errors", "duplicates"] = ""
    like: str = Field("", max_length=4096)
    doubt: float | None = Field(None, ge=0, le=1)

    def filter(self) -> Filter:
        """Which."""
        own = {one.name: getattr(self, one.name) for one in fields(Filter)}
        return Filter(**own)


class Marked(_Body):
    """Some images that somebody marked: by their points on the map, or by name."""

    at: list[int] = Field([], max_length=5_000_000)
    ids: list[str] = Field([], max_length=5_000)


class Tagging(Marked):
    """A tag that is put on them, or taken off."""

    tag: str = Field(max_length=200)
    on: bool = True


class Page:
    """All that the addresses call."""

    def __init__(self, folder: Path, log: Callable[[str], None]) -> None:
        self.shared = Shared(folder, log)
        self.telling = Telling(self.shared)
        self.map = Map(self.shared)
        self.findings = Findings(self.shared, self.map)
        self.listing = Listing(self.shared, self.telling, self.findings)
        self.queue = Queue(self.shared, self.telling, Neighbours(self.shared, self.map))
        self.pixels = Pixels(self.shared, self.telling)
        self.outgoing = Outgoing(self.shared)
        self.pictures = Pictures(self.shared.project.state / "pictures")

    def warm_up(self) -> None:
        """Loads what trains, in the background: the first look at the progress need not wait for it."""

        def load() -> None:
            with contextlib.suppress(LabelwiseError):  # who asks for it is told
                standing.progress(self.shared)

        threading.Thread(target=load, name="warm up", daemon=True).start()

    def work(self, wanted: Work) -> None:
        """Begins to train or to choose.

        Raises:
            StateError: something else is going on.
        """
        begin: dict[str, Callable[[], object]] = {
            "fit": lambda: self.shared.start("fit", _fitted),
            "suggest": lambda: self._suggest(wanted),
            "errors": lambda: self.findings.look("errors"),
            "duplicates": lambda: self.findings.look("duplicates"),
            "advise": self.outgoing.advise,
            "report": self.outgoing.write_report,
            "export": lambda: self.outgoing.export(wanted.use, wanted.format),
        }
        begin[wanted.what]()

    def _suggest(self, wanted: Work) -> None:
        among = None if wanted.among is None else self.map.ids(wanted.among)
        more = wanted.more or among is not None

        def suggested(project: Project) -> Sequence[str]:
            return project.suggest(wanted.count, strategy=wanted.strategy, more=more, among=among).notes

        self.shared.start("suggest", suggested)

    def ids(self, marked: Marked) -> list[str]:
        """Which items somebody marked.

        Raises:
            ConfigError: none, or a point that is none.
            PoolError: an unknown name.
        """
        pool = self.shared.pool
        named = [pool.ids[pool.position(item)] for item in marked.ids]
        if not (found := list(dict.fromkeys([*self.map.ids(marked.at), *named]))):
            raise ConfigError("no image is marked")
        return found

    def skip(self, marked: Marked) -> dict[str, int]:
        """Skips what is marked and has no label: in how many items, and how many were left as they are."""
        pool, ids = self.shared.pool, self.ids(marked)
        free = set(pool.unlabelled.tolist()) | set(pool.pending.tolist())
        skipped = [item for item in ids if (at := pool.position(item)) in free and not pool.labels.of(at)]
        if skipped:
            self.shared.answer([Answer(item, None) for item in skipped])
        return {"done": len(skipped), "left": len(ids) - len(skipped)}

    def tag(self, wanted: Tagging) -> dict[str, int]:
        """Tags what is marked: how many items that changed, and how many were so already."""
        ids = self.ids(wanted)
        changed = self.shared.change(lambda project: tag(project, wanted.tag, ids, on=wanted.on))
        return {"done": changed, "left": len(ids) - changed}

    def like(self, marked: Marked) -> dict[str, Any]:
        """The items most like what is marked, as points of the map."""
        if len(ids := self.ids(marked)) > EXAMPLES:
            raise ConfigError(f"{len(ids):,} images are marked: mark {EXAMPLES} at most, to find more like these")
        position = self.shared.pool.position
        return {"at": [position(item) for item, _ in self.findings.like(ids)]}


def _fitted(project: Project) -> Sequence[str]:
    fitted = project.fit()
    return [f"trained on {len(project.pool.labelled):,} labels", *fitted.report.remarks]


def make_app(folder: Path, token: str, hosts: Sequence[str], log: Callable[[str], None] = _LOG.error) -> Guard:
    """The page of one project, guarded.

    Args:
        folder: of the project.
        token: that opens it.
        hosts: ``name:port`` under which it is reached.
        log: told of errors that are ours, whole.

    Raises:
        StateError: no project there.
    """
    page = Page(folder, log)
    page.warm_up()
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    add_errors(app, log)
    add_files(app, "index.html")
    _pictures(app, page)
    _labelling(app, page)
    _looking(app, page)
    _marking(app, page)
    _working(app, page)
    _outgoing(app, page)
    return Guard(app, token, frozenset(host.lower() for host in hosts))


def _pictures(app: FastAPI, page: Page) -> None:
    @app.get("/api/picture")
    def small(request: Request, id: Id, side: int = 384) -> Response:
        page.shared.pool.position(id)
        return picture(page.pictures, page.shared.project.source, request, id, side)

    @app.get("/api/drawn")
    def drawn(id: Id, side: int = 384, what: What = "label") -> Response:
        return Response(page.listing.drawn(id, side, what), media_type="image/jpeg")

    @app.get("/api/mask")
    def mask(id: Id, what: What = "label") -> Response:
        return packed(page.pixels.mask(id, what))

    @app.get("/api/region")
    def region(id: Id) -> Response:
        return packed(page.pixels.region(id))

    @app.get("/api/superpixels")
    def superpixels(id: Id, count: int = 300) -> Response:
        return packed(page.pixels.superpixels(id, count))


def _labelling(app: FastAPI, page: Page) -> None:
    @app.get("/api/project")
    def project() -> JSONResponse:
        return as_json(standing.project(page.shared))

    @app.get("/api/queue")
    def queue(request: Request, count: int = 20, after: Id = "") -> JSONResponse:
        return as_json(page.queue.next(request.scope["labelwise_browser"], max(1, count), after))

    @app.post("/api/answers")
    def answers(body: Answers) -> JSONResponse:
        done = page.shared.answer([given.answer() for given in body.answers])
        for given in body.answers:
            page.queue.free(given.id)
        told = ("labelled", "corrected", "further", "skipped", "unchanged", "empty", "pending")
        return as_json({name: getattr(done, name) for name in told} | {"notes": list(done.notes)})

    @app.post("/api/takeback")
    def takeback(body: One) -> JSONResponse:
        page.shared.take_back(body.id)
        return as_json({"ok": True})


def _looking(app: FastAPI, page: Page) -> None:
    @app.get("/api/images")
    def images(asked: Annotated[Shown, Query()]) -> JSONResponse:
        return as_json(page.listing.rows(asked.filter(), asked.sort, asked.start, asked.count))

    @app.get("/api/findings")
    def findings() -> JSONResponse:
        return as_json(page.findings.state())

    @app.get("/api/item")
    def item(id: Id) -> JSONResponse:
        return as_json(page.listing.item(id))

    @app.get("/api/map")
    def state() -> JSONResponse:
        return as_json(page.map.state())

    @app.post("/api/map")
    def begin(body: Wanted) -> JSONResponse:
        page.map.begin(body.method)
        return as_json({"started": True})

    @app.get("/api/map/points")
    def points() -> Response:
        return Response(page.map.points(), media_type="application/octet-stream")

    @app.get("/api/map/columns")
    def columns() -> JSONResponse:
        return as_json(page.map.columns())

    @app.get("/api/map/items")
    def items(at: Annotated[str, Query(max_length=10_000)]) -> JSONResponse:
        parts = [part for part in at.split(",") if part]
        if not all(part.isdecimal() for part in parts):
            raise DataError("at: whole numbers, with commas between them")
        return as_json({"items": page.map.items([int(part) for part in parts])})


def _marking(app: FastAPI, page: Page) -> None:
    @app.post("/api/marked/skip")
    def skip(body: Marked) -> JSONResponse:
        return as_json(page.skip(body))

    @app.post("/api/marked/tag")
    def tagging(body: Tagging) -> JSONResponse:
        return as_json(page.tag(body))

    @app.post("/api/marked/like")
    def like(body: Marked) -> JSONResponse:
        return as_json(page.like(body))

    @app.post("/api/marked/again")
    def again(body: Marked) -> JSONResponse:
        ids = page.ids(body)
        done = page.findings.again(ids)
        return as_json({"done": done, "left": len(ids) - done})


def _working(app: FastAPI, page: Page) -> None:
    @app.get("/api/progress")
    def progress() -> JSONResponse:
        return as_json(standing.progress(page.shared))

    @app.get("/api/strategies")
    def strategies() -> JSONResponse:
        return as_json(standing.strategies(page.shared))

    @app.get("/api/job")
    def job() -> JSONResponse:
        found = page.shared.jobs.job
        return as_json({"what": None, "running": False} if found is None else found.as_json())

    @app.post("/api/job")
    def start(body: Work) -> JSONResponse:
        page.work(body)
        return as_json({"started": True})

    @app.post("/api/job/stop")
    def stop() -> JSONResponse:
        return as_json({"stopped": page.shared.jobs.stop()})


def _outgoing(app: FastAPI, page: Page) -> None:
    @app.get("/api/outgoing")
    def outgoing() -> JSONResponse:
        return as_json(page.outgoing.state())

    @app.get("/api/report")
    def report() -> Response:
        headers = {"content-security-policy": ALONE}
        return FileResponse(page.outgoing.report(), media_type="text/html", headers=headers)

    @app.get("/api/exported")
    def exported() -> Response:
        file, name = page.outgoing.exported()
        return FileResponse(file, media_type="application/octet-stream", filename=name)
