"""CVAT as a server: a task for each round, its frames in the order that was ranked; finished jobs come back.

Written after the models of CVAT's own client (cvat-sdk 2.80) and tested against a server that follows them; no CVAT
was there to try it on.
"""

from __future__ import annotations

import hashlib
import io
import re
import tempfile
import time
import zipfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from labelwise.contracts.format import Writing
from labelwise.contracts.record import Record
from labelwise.contracts.tool import Asked, Fetched, Place, Sent, Tool
from labelwise.errors import FormatError, ToolError, few
from labelwise.exchange.tools.server import Server, Upload
from labelwise.exchange.tools.there import only_there, project_there
from labelwise.formats import cvat_write
from labelwise.formats.cvat import Cvat as Xml
from labelwise.formats.files import write_whole
from labelwise.formats.xml_tree import Element, quoted, stream_xml

#: pictures in one request
FILES = 20
#: seconds between two looks at work of the server's own, and how long it may take
PAUSE, MOST = 0.5, 1800.0
#: what the name of a task of ours ends with
_MARK = re.compile(r"labelwise:([0-9a-f]+)$")
#: names of frames: the rank, what the id of the picture hashes to, and what the picture is called
_FRAME = re.compile(r"^\d+-([0-9a-f]{16})-")
_KINDS = {"classes": "tag", "tags": "tag", "boxes": "any", "masks": "any"}


@dataclass(frozen=True, slots=True)
class _Task:
    """A task of ours, with its jobs, and number of a frame -> hash of its picture, without deleted frames."""

    number: int
    name: str
    jobs: tuple[Mapping[str, Any], ...]
    frames: Mapping[int, str]

    def job_of(self, frame: int) -> Mapping[str, Any]:
        """The job that a frame lies in."""
        return next(job for job in self.jobs if job["start_frame"] <= frame <= job["stop_frame"])


class Cvat(Tool):
    """See :class:`labelwise.contracts.tool.Tool`. The place is a project of CVAT; each round is a task in it.

    CVAT has no skips, and no annotator or time for a label. Frames of a job count as answered when the job is
    completed, those without a shape as looked at.
    """

    name: ClassVar[str] = "cvat"
    title: ClassVar[str] = "CVAT"
    variable: ClassVar[str] = "CVAT_ACCESS_TOKEN"
    kinds: ClassVar[frozenset[str]] = frozenset({"classes", "tags", "boxes", "masks", "points"})

    def __init__(self, place: Place, token: str) -> None:
        super().__init__(place, token)
        accepts = {"Authorization": f"Bearer {token}", "Accept": "application/vnd.cvat+json, application/json, */*"}
        self.server = Server(place.url, accepts, verify=place.verify)

    def close(self) -> None:
        """See :meth:`Tool.close`."""
        self.server.close()

    def _ask(self, method: str, path: str, **more: Any) -> Any:
        return self.server.ask(method, path, **more)

    # ---- the project there ------------------------------------------------------------------------------------------

    def prepare(self, asked: Asked) -> tuple[Place, tuple[str, ...]]:
        """See :meth:`Tool.prepare`; a project of the user's own keeps its labels."""
        place = self.place
        if place.files == "local":
            raise ToolError("pictures are uploaded to CVAT, it reads none where they lie: leave --files out")
        if place.number is None:
            body = {"name": place.title, "labels": _labels(asked)}
            self.place = replace(place, number=int(self._ask("POST", "/api/projects", json=body)["id"]))
        else:
            self.place = replace(place, title=self._project()["name"])
        self._tasks()  # says whether somebody else's rounds are there
        return self.place, tuple(self._fits(asked))

    def _project(self) -> Mapping[str, Any]:
        number = self.place.number
        return project_there(self._ask, f"/api/projects/{number}", self.server.url, number)

    def _fits(self, asked: Asked) -> list[str]:
        """What people should know of the labels there."""
        labels = self._all("/api/labels", [("project_id", self.place.number or 0)])
        offered = {label["name"] for label in labels if not label.get("has_parent")}
        missing = [name for name in asked.head.classes if name not in offered]
        notes = [f"{len(missing):,} class(es) that the project there does not offer: {few(missing)}"] if missing else []
        return notes + only_there(asked.head.classes, offered, "the project there")

    def _all(self, path: str, query: Sequence[tuple[str, str | int]]) -> list[Mapping[str, Any]]:
        """All pages of a list."""
        found: list[Mapping[str, Any]] = []
        page = 1
        while True:
            answer = self._ask("GET", path, query=[*query, ("page", page), ("page_size", 100)])
            found += answer["results"]
            if not answer.get("next"):
                return found
            page += 1

    def _tasks(self) -> list[_Task]:
        """Our tasks of the project, with their frames.

        Raises:
            ToolError: the project is gone, or another project of labelwise has tasks in it.
        """
        self._project()
        found = []
        for row in self._all("/api/tasks", [("project_id", self.place.number or 0)]):
            if (mark := _MARK.search(row["name"])) is None:
                continue
            if mark[1] != self.place.key:
                raise ToolError(
                    f"project {self.place.number} has rounds of another project of labelwise ({row['name']!r:.80}): "
                    "give this one a project of its own there (labelwise connect cvat --title TITLE)"
                )
            if not row.get("size"):
                found.append(_Task(row["id"], row["name"], (), {}))
                continue
            meta = self._ask("GET", f"/api/tasks/{row['id']}/data/meta")
            gone = set(meta.get("deleted_frames") or ())
            names = {n: _FRAME.match(frame["name"].rpartition("/")[2]) for n, frame in enumerate(meta["frames"])}
            frames = {n: name[1] for n, name in names.items() if name and n not in gone}
            jobs = self._all("/api/jobs", [("task_id", row["id"])])
            found.append(_Task(row["id"], row["name"], tuple(jobs), frames))
        return found

    # ---- a round goes out -------------------------------------------------------------------------------------------

    def push(self, asked: Asked) -> Sent:
        """See :meth:`Tool.push`. A task whose pictures did not all arrive is made anew."""
        tasks = self._tasks()
        for task in tasks:
            if not task.jobs:  # killed before its pictures were there
                self._ask("DELETE", f"/api/tasks/{task.number}")
        tasks = [task for task in tasks if task.jobs]
        there = {picture for task in tasks for picture in task.frames.values()}
        wanted = {_hash(record.image or ""): record for record in asked.records}
        missing = [record for picture, record in wanted.items() if picture not in there]
        if missing:
            tasks.append(self._make(missing, asked))
        notes = [line for task in tasks for line in self._draw(task, wanted, asked)]
        gone, kept = self._drop(tasks, lambda picture: picture not in wanted)
        if kept:
            notes.append(f"{kept:,} frame(s) that nobody asks for any more stay: their jobs were begun")
        where = f"{self.server.url}/projects/{self.place.number}"
        return Sent(len(missing), len(wanted) - len(missing), gone, where, tuple(dict.fromkeys(notes)))

    def _make(self, records: Sequence[Record], asked: Asked) -> _Task:
        """A task with these pictures, in this order."""
        number = max(int(record.extra.get("round", 0)) for record in records)
        name = f"{self.place.title[:200]}, round {number} labelwise:{self.place.key}"
        task = self._ask("POST", "/api/tasks", json={"name": name, "project_id": self.place.number})["id"]
        path = f"/api/tasks/{task}/data/"
        self._ask("POST", path, upload=Upload(headers={"Upload-Start": ""}))
        named = []
        for start in range(0, len(records), FILES):
            files = []
            for n, record in enumerate(records[start : start + FILES]):
                file, data = _frame(start + n, record.image or "", asked)
                named.append(file)
                files.append((f"client_files[{n}]", (file, data)))
            some = Upload(files, {"image_quality": "95"}, {"Upload-Multiple": ""})
            self._ask("POST", path, upload=some)
            asked.progress("sending", start + len(files), len(records))
        order = {f"upload_file_order[{n}]": file for n, file in enumerate(named)}
        told = {"image_quality": "95", "sorting_method": "predefined", **order}
        self._finished(self._ask("POST", path, upload=Upload((), told, {"Upload-Finish": ""})))
        jobs = self._all("/api/jobs", [("task_id", task)])
        frames = {n: _hash(record.image or "") for n, record in enumerate(records)}
        return _Task(task, name, tuple(jobs), frames)

    def _finished(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Waits for work of the server's own.

        Raises:
            ToolError: it failed, or takes too long.
        """
        end = time.monotonic() + MOST
        while time.monotonic() < end:
            found: Mapping[str, Any] = self._ask("GET", f"/api/requests/{request['rq_id']}")
            if found["status"] == "finished":
                return found
            if found["status"] == "failed":
                raise ToolError(
                    f"{self.server.url} could not do it: {found.get('message') or 'it says no reason':.200}"
                )
            time.sleep(PAUSE)
        raise ToolError(f"{self.server.url} has not finished in {MOST:g} s: try again later")

    def _draw(self, task: _Task, wanted: Mapping[str, Record], asked: Asked) -> list[str]:
        """Puts what a model would draw into a task that nobody has begun and that has nothing yet."""
        records = [(n, wanted[picture]) for n, picture in sorted(task.frames.items()) if picture in wanted]
        if not any(record.objects or record.pixels for _, record in records):
            return []
        if any(job["state"] != "new" for job in task.jobs) or not self._is_blank(task):
            return []
        called = [replace(one, image=_frame_name(n, one.image or "", ".png"), extra={"id": n}) for n, one in records]
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "annotations.xml"
            left = Xml().write(file, asked.head, called, Writing("asked", asked.kind))
            sent = Upload([("annotation_file", (file.name, file.read_bytes()))])
            answer = self._ask(
                "POST", f"/api/tasks/{task.number}/annotations/", query=[("format", "CVAT 1.1")], upload=sent
            )
        self._finished(answer)
        return left

    def _is_blank(self, task: _Task) -> bool:
        there = self._ask("GET", f"/api/tasks/{task.number}/annotations/")
        return not (there.get("tags") or there.get("shapes") or there.get("tracks"))

    def _drop(self, tasks: Sequence[_Task], which: Any) -> tuple[int, int]:
        """Deletes frames of jobs that nobody has begun; gives how many, and how many stay in others."""
        gone = kept = 0
        for task in tasks:
            odd = [frame for frame, picture in task.frames.items() if which(picture)]
            free = [frame for frame in odd if task.job_of(frame)["state"] == "new"]
            open_ = [frame for frame in odd if task.job_of(frame)["state"] != "completed"]
            gone, kept = gone + len(free), kept + len(open_) - len(free)
            if free:
                meta = self._ask("GET", f"/api/tasks/{task.number}/data/meta")
                frames = sorted({*(meta.get("deleted_frames") or ()), *free})
                self._ask("PATCH", f"/api/tasks/{task.number}/data/meta", json={"deleted_frames": frames})
        return gone, kept

    # ---- answers come back ------------------------------------------------------------------------------------------

    def pull(self, since: str, path: Path, images: Collection[str]) -> Fetched:
        """See :meth:`Tool.pull`: the frames of jobs that were completed since."""
        names = {_hash(image): image for image in images}
        until, found = since, []
        for task in self._tasks():
            done = [job for job in task.jobs if job["state"] == "completed" and job["updated_date"] >= since]
            if not done:
                continue
            until = max(until, *(job["updated_date"] for job in done))
            frames = {n for n in task.frames if any(job["start_frame"] <= n <= job["stop_frame"] for job in done)}
            found.append((task, frames, self._export(task)))
        if not found:
            return Fetched(None, self.name, until)
        write_whole(path.with_suffix(".xml"), "".join(_joined(found, names)).encode())
        return Fetched(path.with_suffix(".xml"), f"{self.name}:auto=answered", until, untouched="empty")

    def _export(self, task: _Task) -> bytes:
        """What a task holds, as CVAT's own XML."""
        query: list[tuple[str, str | int]] = [("format", "CVAT for images 1.1"), ("save_images", "false")]
        answer = self._ask("POST", f"/api/tasks/{task.number}/dataset/export", query=query, again=True)
        address = self._finished(answer)["result_url"]
        data = self._ask("GET", address.removeprefix(self.server.url))
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return archive.read("annotations.xml")

    def withdraw(self, images: Collection[str]) -> tuple[int, int]:
        """See :meth:`Tool.withdraw`; frames of a job that was begun count as answered."""
        ours = {_hash(image) for image in images}
        return self._drop([task for task in self._tasks() if task.jobs], lambda picture: picture in ours)


def _hash(image: str) -> str:
    """What the id of a picture is known by in the name of its frame."""
    return hashlib.blake2b(image.encode(), digest_size=8).hexdigest()


def _frame_name(number: int, image: str, ending: str) -> str:
    stem = re.sub(r"[^\w.-]+", "_", image.rpartition("/")[2].rpartition(".")[0])[:60]
    return f"{number:05d}-{_hash(image)}-{stem}{ending}"


def _frame(number: int, image: str, asked: Asked) -> tuple[str, bytes]:
    """Name and content of the file of a frame."""
    found = asked.pictures.read(image)
    data, ending = (found.read_bytes(), found.suffix.lower()) if isinstance(found, Path) else found
    return _frame_name(number, image, ending), data


def _labels(asked: Asked) -> list[dict[str, Any]]:
    """Labels of a project as CVAT wants them: a skeleton has the points as labels of its own, and a picture."""
    if asked.kind != "points":
        return [{"name": name, "type": _KINDS[asked.kind], "attributes": []} for name in asked.head.classes]
    points, limbs = asked.head.skeleton or ((), ())
    own = [{"name": point, "type": "points", "attributes": []} for point in points]
    svg = cvat_write.drawing(points, limbs)
    return [{"name": n, "type": "skeleton", "attributes": [], "sublabels": own, "svg": svg} for n in asked.head.classes]


def _joined(found: Sequence[tuple[_Task, Collection[int], bytes]], names: Mapping[str, str]) -> Iterator[str]:
    """Frames of several exports as one, under the ids of their pictures; one that has left the project by its hash.

    Raises:
        FormatError: an export that is no XML of CVAT.
    """
    yield '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n'
    for place, (task, frames, data) in enumerate(found):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "annotations.xml"
            file.write_bytes(data)
            for element in stream_xml(file):
                if element.tag == "meta" and not place:
                    yield from _shown(element)
                elif element.tag == "image":
                    number = int(element.attributes.get("id", "-1"))
                    if number in frames:
                        element.attributes["name"] = names.get(task.frames[number], task.frames[number])
                        yield from _shown(element)
                elif element.tag == "track":
                    raise FormatError(f"task {task.number} of CVAT is a video: its frames have no names")
    yield "</annotations>\n"


def _shown(element: Element) -> Iterator[str]:
    told = "".join(f' {name}="{quoted(value)}"' for name, value in element.attributes.items())
    yield f"<{element.tag}{told}>{quoted(element.text)}"
    for child in element.children:
        yield from _shown(child)
    yield f"</{element.tag}>\n"
