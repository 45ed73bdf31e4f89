"""Label Studio as a server (community edition): rounds go out as tasks in their order, and answers come back."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from labelwise.contracts.format import Writing
from labelwise.contracts.tool import Asked, Fetched, Place, Sent, Tool
from labelwise.errors import ToolError, few
from labelwise.exchange.tools.label_studio_interface import Interface
from labelwise.exchange.tools.label_studio_pictures import Gallery
from labelwise.exchange.tools.server import Refused, Server
from labelwise.exchange.tools.there import project_there
from labelwise.formats import label_studio_write
from labelwise.formats.files import write_whole
from labelwise.formats.json_file import dump_json
from labelwise.formats.label_studio_tasks import OWN

#: tasks in one request
TASKS = 200
#: what the description of a project there says of ours
_MARK = re.compile(r"labelwise:([0-9a-f]+)")
#: the model version that a task was ranked by last, in its data: lists of tasks do not tell those of its predictions
_SENT = f"{OWN}sent"
#: how often a push looks at what has arrived and sends the rest
_TRIES = 4


@dataclass(frozen=True, slots=True)
class _Task:
    """What the server has of one of our pictures."""

    number: int
    answered: bool
    begun: bool
    data: Mapping[str, Any]


class LabelStudio(Tool):
    """See :class:`labelwise.contracts.tool.Tool`. Tokens of both kinds: personal ones, and the older ones.

    The order of a round is kept by "Uncertainty sampling", which the server's own pages do not offer and its programs
    may set: the score of a prediction is the rank, and the lowest of the project's model version comes first.
    """

    name: ClassVar[str] = "label_studio"
    title: ClassVar[str] = "Label Studio, community edition"
    variable: ClassVar[str] = "LABEL_STUDIO_API_KEY"
    kinds: ClassVar[frozenset[str]] = frozenset({"classes", "tags", "boxes", "masks", "points"})

    def __init__(self, place: Place, token: str) -> None:
        super().__init__(place, token)
        self.server = Server(place.url, {}, verify=place.verify)
        try:
            self._sign_in()
        except ToolError:
            self.server.close()
            raise

    def close(self) -> None:
        """See :meth:`Tool.close`."""
        self.server.close()

    def _sign_in(self) -> None:
        """A personal token is exchanged for one that holds some minutes; an older one is taken as it is."""
        if self.token.count(".") == 2:
            found = self.server.ask("POST", "/api/token/refresh", json={"refresh": self.token}, again=True)
            self.server.header("Authorization", f"Bearer {found['access']}")
        else:
            self.server.header("Authorization", f"Token {self.token}")

    def _ask(self, method: str, path: str, **more: Any) -> Any:
        """As ``Server.ask``; signs in once more where the token has become old."""
        try:
            return self.server.ask(method, path, **more)
        except Refused as error:
            if error.status != 401 or self.token.count(".") != 2:
                raise
        self._sign_in()
        return self.server.ask(method, path, **more)

    # ---- the project there ------------------------------------------------------------------------------------------

    def prepare(self, asked: Asked) -> tuple[Place, tuple[str, ...]]:
        """See :meth:`Tool.prepare`; a project of the user's own keeps its interface."""
        place = self.place
        if place.number is None:
            made = label_studio_write.tasks(asked.head, (), Writing("asked", asked.kind))
            title = place.title if len(place.title) > 2 else f"{place.title} images"
            project = self._ask("POST", "/api/projects/", json={"title": title[:50], "label_config": made.interface})
            place = replace(place, number=int(project["id"]), title=project["title"])
        else:
            project = self._project(place.number)
            place = replace(place, title=project["title"])
        interface, notes = Interface.fitting(project, asked, place.controls)
        self._take(project, place)
        if place.files == "local":
            Gallery(self._ask, place).serve(asked.pictures)
        self._ask("PATCH", f"/api/projects/{place.number}/", json={"sampling": "Uncertainty sampling"})
        self.place = replace(place, controls=interface.chosen)
        return self.place, tuple(notes)

    def _project(self, number: int) -> Mapping[str, Any]:
        return project_there(self._ask, f"/api/projects/{number}/", self.server.url, number)

    def _own(self) -> Mapping[str, Any]:
        """The project there, if it is ours.

        Raises:
            ToolError: none is named, it is gone, or another project of labelwise works on it.
        """
        if self.place.number is None:
            raise ToolError("no project is named there: run 'labelwise connect label-studio --url URL' first")
        project = self._project(self.place.number)
        if (other := _marked(project)) and other != self.place.key:
            raise _taken(project)
        return project

    def _take(self, project: Mapping[str, Any], place: Place) -> None:
        """Marks the project there as ours."""
        if (other := _marked(project)) and other != place.key:
            raise _taken(project)
        if not other:
            said = f"{project.get('description') or ''}\nRounds are sent here by labelwise:{place.key}".strip()
            self._ask("PATCH", f"/api/projects/{place.number}/", json={"description": said})

    # ---- a round goes out -------------------------------------------------------------------------------------------

    def push(self, asked: Asked) -> Sent:
        """See :meth:`Tool.push`. What has arrived is looked at before anything is sent, and after each failure."""
        project = self._own()
        interface, notes = Interface.fitting(project, asked, self.place.controls)
        made = label_studio_write.tasks(asked.head, asked.records, Writing("asked", asked.kind))
        tasks = {task["data"][f"{OWN}id"]: task for task in made.tasks}
        version = f"labelwise-round-{max((int(one.extra.get('round', 0)) for one in asked.records), default=0)}"
        for task in made.tasks:  # of the rounds that are open at once one order is made
            task["predictions"][0]["model_version"] = task["data"][_SENT] = version
        notes += [*interface.renamed(made.tasks), *made.left]
        before, doubled = self._there()
        sent = self._send(tasks, before, asked, interface)
        now, again = self._there()
        self._rank(tasks, now)
        stale = [
            task.number for name, task in now.items() if name not in tasks and not task.answered and not task.begun
        ]
        self._delete({*doubled, *again, *stale})
        settings = {"sampling": "Uncertainty sampling", "model_version": version, "show_collab_predictions": True}
        self._ask("PATCH", f"/api/projects/{self.place.number}/", json=settings)
        kept = [name for name, task in now.items() if name not in tasks and not task.answered and task.begun]
        if kept:
            notes.append(f"{len(kept):,} task(s) that nobody asks for any more stay, a draft was begun: {few(kept)}")
        return Sent(sent, len(tasks) - sent, len(stale), self._page(), tuple(notes))

    def _page(self) -> str:
        return f"{self.server.url}/projects/{self.place.number}/data"

    def _send(
        self, tasks: Mapping[str, dict[str, Any]], before: Mapping[str, _Task], asked: Asked, interface: Interface
    ) -> int:
        """Sends the tasks that are not there; gives how many."""
        there: Collection[str] = before
        for left in range(_TRIES - 1, -1, -1):
            missing = [name for name in tasks if name not in there]
            try:
                for start in range(0, len(missing), TASKS):
                    some = missing[start : start + TASKS]
                    addresses = Gallery(self._ask, self.place).addresses(some, asked.pictures)
                    body = [interface.shown(tasks[name], addresses[name]) for name in some]
                    self._ask("POST", f"/api/projects/{self.place.number}/import", json=body)
                    asked.progress("sending", start + len(some), len(missing))
                return sum(name not in before for name in tasks)
            except Refused as error:
                if error.status < 500 or not left:
                    raise
            except ToolError:  # nobody knows whether it arrived
                if not left:
                    raise
            there = self._there()[0]
        raise AssertionError("the last try returns or raises")

    def _there(self) -> tuple[dict[str, _Task], list[int]]:
        """Our tasks on the server by picture, and the numbers of those that are there twice and can go."""
        found: dict[str, _Task] = {}
        doubled: list[int] = []
        begun = {row["id"] for row in self._listed("id", _where("draft_exists", "equal", "Boolean", True))}
        for row in self._listed("id,data,total_annotations,cancelled_annotations"):
            name = row["data"].get(f"{OWN}id")
            if not isinstance(name, str):
                continue
            done = bool(row.get("total_annotations") or row.get("cancelled_annotations"))
            task = _Task(row["id"], done, row["id"] in begun, row["data"])
            first = found.setdefault(name, task)
            if first is task:
                continue
            # the one that people have worked on stays; of two of those both, for what they say is read by picture
            if not (task.answered or task.begun):
                doubled.append(task.number)
            elif not (first.answered or first.begun):
                doubled.append(first.number)
                found[name] = task
        return found, doubled

    def _listed(self, fields: str, wanted: Any = None) -> Iterator[Mapping[str, Any]]:
        """Tasks of the project, with these fields."""
        more = [] if wanted is None else [("query", json.dumps(wanted))]
        page, size = 1, 500
        while True:
            query = [("project", self.place.number or 0), ("include", fields), ("page", page), ("page_size", size)]
            try:
                rows = self._ask("GET", "/api/tasks/", query=[*query, *more])["tasks"]
            except Refused as error:
                if error.status == 404 and page > 1:  # there is no further page
                    return
                raise
            yield from rows
            if len(rows) < size:
                return
            page += 1

    def _rank(self, tasks: Mapping[str, dict[str, Any]], now: Mapping[str, _Task]) -> None:
        """Gives tasks of earlier rounds that wait still what the newest model says, and their place in the order."""
        for name, task in tasks.items():
            there, said = now.get(name), task["predictions"][0]
            if there is None or there.answered or there.data.get(_SENT) == said["model_version"]:
                continue
            # twice the same prediction does no harm
            self._ask("POST", "/api/predictions/", json={"task": there.number, **said}, again=True)
            data = {**there.data, _SENT: said["model_version"]}
            self._ask("PATCH", f"/api/tasks/{there.number}/", json={"data": data})

    def _delete(self, numbers: Collection[int]) -> None:
        if numbers:
            query: list[tuple[str, str | int]] = [("id", "delete_tasks"), ("project", self.place.number or 0)]
            chosen = {"selectedItems": {"all": False, "included": sorted(numbers)}}
            self._ask("POST", "/api/dm/actions", query=query, json=chosen, again=True)

    # ---- answers come back ------------------------------------------------------------------------------------------

    def pull(self, since: str, path: Path, images: Collection[str]) -> Fetched:
        """See :meth:`Tool.pull`."""
        project = self._own()
        interface = Interface(project)
        # what was changed in that very moment comes once more
        later = _where("updated_at", "greater_or_equal", "Datetime", since) if since else None
        changed = [*self._listed("id,updated_at", later)]
        until = max((row["updated_at"] for row in changed), default=since)
        if not changed:
            return Fetched(None, self.name, until)
        tasks: list[Any] = []
        form = [("exportType", "JSON"), ("download_all_tasks", "true")]
        numbers: list[int | None] = [row["id"] for row in changed] if since else [None]
        for start in range(0, len(numbers), TASKS):
            some = [("ids[]", number) for number in numbers[start : start + TASKS] if number is not None]
            tasks += self._ask("GET", f"/api/projects/{self.place.number}/export", query=[*form, *some])
        own = [task for task in tasks if isinstance(task["data"].get(f"{OWN}id"), str)]
        notes = self._cut(own)
        if others := len(tasks) - len(own):
            notes.append(f"{others:,} task(s) there that labelwise did not send are left out")
        if not own:
            return Fetched(None, self.name, until, tuple(notes))
        path = path.with_suffix(".json")
        write_whole(path, dump_json(own, str(path)))
        control = interface.control_of_classes(self.place.controls)
        return Fetched(path, f"{self.name}:control={control}" if control else self.name, until, tuple(notes))

    def _cut(self, tasks: Sequence[Mapping[str, Any]]) -> list[str]:
        """Counts no more than the stated time for a label: above that somebody was away."""
        most = self.place.longest
        long = [one for task in tasks for one in task["annotations"] if (one.get("lead_time") or 0) > most]
        for annotation in long:
            annotation["lead_time"] = most
        return [f"{len(long):,} answer(s) took longer than {most:g} s: counted as {most:g} s"] if long else []

    def withdraw(self, images: Collection[str]) -> tuple[int, int]:
        """See :meth:`Tool.withdraw`; drafts count as answers."""
        self._own()
        there, _ = self._there()
        ours = [there[name] for name in images if name in there]
        free = [task.number for task in ours if not (task.answered or task.begun)]
        self._delete(free)
        return len(free), len(ours) - len(free)


def _marked(project: Mapping[str, Any]) -> str:
    """The key of the project of labelwise that works there; "" for none."""
    found = _MARK.search(project.get("description") or "")
    return found[1] if found else ""


def _taken(project: Mapping[str, Any]) -> ToolError:
    return ToolError(
        f"project {project['id']} ({project['title']!r:.60}) belongs to another project of labelwise: give this one a "
        "project of its own there (labelwise connect label-studio --title TITLE)"
    )


def _where(column: str, operator: str, kind: str, value: Any) -> dict[str, Any]:
    """A filter of tasks."""
    item = {"filter": f"filter:tasks:{column}", "operator": operator, "type": kind, "value": value}
    return {"filters": {"conjunction": "and", "items": [item]}}
