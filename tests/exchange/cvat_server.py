"""A server that answers as CVAT's client (cvat-sdk 2.80) expects of one; there is no CVAT on the machines of the tests.

What its models and endpoints fix is held to here: pages of lists, ``rq_id`` and requests, three steps of an upload,
frames in the order that was asked for, annotations that come as CVAT's XML and go as a zip of it.
"""

from __future__ import annotations

import io
import json
import re
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree

TOKEN = "pat-of-the-tests"


class Server(ThreadingHTTPServer):
    """Its state is plain; tests play the people by changing it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.projects: dict[int, dict[str, Any]] = {}
        self.tasks: dict[int, dict[str, Any]] = {}
        self.clock = 0
        self.asked = 0
        #: number of the request that fails, and how
        self.fault: tuple[int, str] | None = None

    def now(self) -> str:
        self.clock += 1
        return f"2026-01-01T00:00:{self.clock // 60:02d}.{self.clock % 60:02d}0000Z"

    def complete(self, task: int, shapes: dict[int, str], frames: range | None = None) -> None:
        """People finish a job, with these XML elements on its frames."""
        self.tasks[task]["drawn"] |= shapes
        for job in self.tasks[task]["jobs"]:
            if frames is None or job["start_frame"] == frames.start:
                job |= {"state": "completed", "updated_date": self.now()}


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        fault = self.server.fault
        self.server.asked += 1
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        failing = fault is not None and self.server.asked == fault[0]
        if failing and fault[1] == "before":
            self.close_connection = True
            return
        if self.headers.get("authorization") != f"Bearer {TOKEN}":
            self.answer(401, {"detail": "Invalid token."})
            return
        url = urlsplit(self.path)
        self.query = {key: values[0] for key, values in parse_qs(url.query).items()}
        self.parts, self.files = self.read(body)
        for pattern, verb in ROUTES:
            method, _, path = pattern.partition(" ")
            if method == self.command and (found := re.fullmatch(path, url.path)):
                status, said = verb(self, *map(int, found.groups()))
                break
        else:
            status, said = 404, {"detail": f"no {self.command} {url.path}"}
        if failing:
            self.close_connection = True
            return
        self.answer(status, said)

    do_POST = do_PATCH = do_DELETE = do_GET

    def read(self, body: bytes) -> tuple[dict[str, Any], list[tuple[str, bytes]]]:
        kind = self.headers.get("content-type") or ""
        if "json" in kind:
            return json.loads(body or b"{}"), []
        if "urlencoded" in kind:
            return {key: values[0] for key, values in parse_qs(body.decode()).items()}, []
        if "multipart" not in kind:
            return {}, []
        whole = BytesParser(policy=HTTP).parsebytes(b"content-type: " + kind.encode() + b"\r\n\r\n" + body)
        fields, files = {}, []
        for part in whole.iter_parts():
            if name := part.get_filename():
                files.append((name, part.get_payload(decode=True)))
            else:
                fields[part.get_param("name", header="content-disposition")] = part.get_content()
        return fields, files

    def answer(self, status: int, said: Any) -> None:
        data = said if isinstance(said, bytes) else json.dumps(said).encode()
        self.send_response(status)
        self.send_header("content-type", "application/zip" if isinstance(said, bytes) else "application/vnd.cvat+json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format, *args):
        """Nothing is printed."""

    # ---- what CVAT does ---------------------------------------------------------------------------------------------

    def listed(self, rows):
        page, size = int(self.query.get("page", 1)), 2  # so that there are several
        return 200, {"results": rows[(page - 1) * size : page * size], "next": "x" if len(rows) > page * size else None}

    def make_project(self):
        number = len(self.server.projects) + 1
        self.server.projects[number] = {"id": number, "name": self.parts["name"], "labels": self.parts["labels"]}
        return 201, {"id": number}

    def project(self, number):
        found = self.server.projects.get(number)
        return (200, found) if found else (404, {"detail": "Not found."})

    def labels(self):
        own = self.server.projects[int(self.query["project_id"])]["labels"]
        parts = [{**part, "has_parent": True} for label in own for part in label.get("sublabels", ())]
        return self.listed([{**label, "has_parent": False} for label in own] + parts)

    def list_tasks(self):
        own = [t for t in self.server.tasks.values() if t["project_id"] == int(self.query["project_id"])]
        return self.listed([{key: task[key] for key in ("id", "name", "size")} for task in own])

    def make_task(self):
        number = max(self.server.tasks, default=0) + 1
        self.server.tasks[number] = {
            "id": number, "name": self.parts["name"], "project_id": self.parts["project_id"], "size": 0, "jobs": [],
            "files": {}, "frames": [], "deleted": [], "drawn": {},
        }  # fmt: skip
        return 201, {"id": number}

    def delete_task(self, number):
        del self.server.tasks[number]
        return 204, {}

    def upload(self, number):
        task = self.server.tasks[number]
        if self.headers.get("upload-start") is not None:
            return 202, {}
        if self.headers.get("upload-multiple") is not None:
            task["files"] |= dict(self.files)
            return 200, {}
        assert self.parts["sorting_method"] == "predefined"
        order = [self.parts[f"upload_file_order[{n}]"] for n in range(len(task["files"]))]
        assert sorted(order) == sorted(task["files"])
        task |= {"frames": order, "size": len(order)}
        half = (len(order) + 1) // 2
        spans = [(0, half - 1), (half, len(order) - 1)] if len(order) > 1 else [(0, 0)]
        task["jobs"] = [
            {
                "id": 10 * number + n,
                "state": "new",
                "start_frame": a,
                "stop_frame": b,
                "updated_date": self.server.now(),
            }
            for n, (a, b) in enumerate(spans)
        ]
        return 202, {"rq_id": f"{number}"}

    def request(self, number):
        url = f"{self.server.url}/api/tasks/{number}/download?rq=1"
        return 200, {"status": "finished", "message": "", "result_url": url}

    def meta(self, number):
        task = self.server.tasks[number]
        frames = [{"name": name, "width": 40, "height": 30} for name in task["frames"]]
        return 200, {"frames": frames, "deleted_frames": task["deleted"], "size": len(frames)}

    def change_meta(self, number):
        self.server.tasks[number]["deleted"] = self.parts["deleted_frames"]
        return 200, {}

    def jobs(self):
        return self.listed(self.server.tasks[int(self.query["task_id"])]["jobs"])

    def annotations(self, number):
        shapes = [{"frame": n} for n in self.server.tasks[number]["drawn"]]
        return 200, {"shapes": shapes, "tags": [], "tracks": []}

    def take_annotations(self, number):
        assert self.query["format"] == "CVAT 1.1"
        task = self.server.tasks[number]
        for image in ElementTree.fromstring(self.files[0][1]).iter("image"):
            inner = "".join(ElementTree.tostring(child, encoding="unicode") for child in image)
            assert int(image.attrib["id"]) < task["size"]
            if inner:
                task["drawn"][int(image.attrib["id"])] = inner
        return 202, {"rq_id": f"{number}"}

    def export(self, number):
        assert (self.query["format"], self.query["save_images"]) == ("CVAT for images 1.1", "false")
        return 202, {"rq_id": f"{number}"}

    def download(self, number):
        task = self.server.tasks[number]
        images = [
            f'<image id="{n}" name="{name}" width="40" height="30">{task["drawn"].get(n, "")}</image>'
            for n, name in enumerate(task["frames"])
            if n not in task["deleted"]
        ]
        memory = io.BytesIO()
        with zipfile.ZipFile(memory, "w") as archive:
            xml = f"<annotations><version>1.1</version><meta></meta>{''.join(images)}</annotations>"
            archive.writestr("annotations.xml", xml)
        return 200, memory.getvalue()


ROUTES = [
    ("POST /api/projects", Handler.make_project),
    (r"GET /api/projects/(\d+)", Handler.project),
    ("GET /api/labels", Handler.labels),
    ("GET /api/tasks", Handler.list_tasks),
    ("POST /api/tasks", Handler.make_task),
    (r"DELETE /api/tasks/(\d+)", Handler.delete_task),
    (r"POST /api/tasks/(\d+)/data/", Handler.upload),
    (r"GET /api/requests/(\d+)", Handler.request),
    (r"GET /api/tasks/(\d+)/data/meta", Handler.meta),
    (r"PATCH /api/tasks/(\d+)/data/meta", Handler.change_meta),
    ("GET /api/jobs", Handler.jobs),
    (r"GET /api/tasks/(\d+)/annotations/", Handler.annotations),
    (r"POST /api/tasks/(\d+)/annotations/", Handler.take_annotations),
    (r"POST /api/tasks/(\d+)/dataset/export", Handler.export),
    (r"GET /api/tasks/(\d+)/download", Handler.download),
]


@contextmanager
def cvat() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
