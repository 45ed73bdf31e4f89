"""A real Label Studio on this machine, with two people who work in it through its programming interface.

The server lives in an environment of its own (``label_studio.sh`` makes it); nothing of it is imported here.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any

TOKEN = "0123456789abcdef0123456789abcdef01234567"
#: where ``label_studio.sh`` put it
ENVIRONMENT = os.environ.get("LABELWISE_LABEL_STUDIO", "")


class Person:
    """Somebody who is signed in.

    Args:
        url: of the server.
        token: that the server knows them by.
    """

    def __init__(self, url: str, token: str) -> None:
        self.url, self.token = url, token

    def ask(self, path: str, data: Any = None, *, method: str | None = None) -> bytes:
        body = None if data is None else json.dumps(data).encode()
        headers = {"Authorization": f"Token {self.token}", "Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, body, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return bytes(answer.read())
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{path}: {error.code} {error.read()[:500]!r}") from None

    def json(self, path: str, data: Any = None, *, method: str | None = None) -> Any:
        return json.loads(self.ask(path, data, method=method) or "null")

    def project(self, title: str, interface: str, files: Path) -> int:
        """A new project whose pictures lie below ``files``, a folder strictly below the server's."""
        number = self.json("/api/projects/", {"title": title, "label_config": interface})["id"]
        self.json("/api/storages/localfiles/", {"project": number, "path": str(files), "use_blob_urls": True})
        return int(number)

    def tasks(self, project: int, tasks: list[dict[str, Any]]) -> list[int]:
        """Imports tasks; gives their numbers."""
        query = "return_task_ids=true&commit_to_project=true"
        return list(self.json(f"/api/projects/{project}/import?{query}", tasks)["task_ids"])

    def annotate(self, task: int, result: list[dict[str, Any]], seconds: float = 1.0, *, skip: bool = False) -> None:
        given = {"result": result, "lead_time": seconds, "was_cancelled": skip}
        self.json(f"/api/tasks/{task}/annotations/", given)

    def export(self, project: int, kind: str, *, everything: bool = True) -> bytes:
        query = f"exportType={kind}&download_all_tasks={str(everything).lower()}"
        return self.ask(f"/api/projects/{project}/export?{query}")


def invited(owner: Person, email: str) -> Person:
    """A second person in the owner's organisation, signed up as a browser would."""
    link = owner.json("/api/invite")["invite_url"]
    jar = CookieJar()
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
    page = browser.open(owner.url + link, timeout=60).read().decode()
    form = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
    assert form is not None, "the page for signing up has no form"
    fields = {"email": email, "password": "labelwise-pw", "csrfmiddlewaretoken": form[1]}
    browser.open(owner.url + link, urllib.parse.urlencode(fields).encode(), timeout=60).close()
    with browser.open(owner.url + "/api/current-user/token", timeout=60) as answer:
        return Person(owner.url, json.load(answer)["token"])


@contextmanager
def server(folder: Path, files: Path) -> Iterator[Person]:
    """Starts it on a free port of this machine, and ends it.

    Args:
        folder: for its data base.
        files: document root; pictures lie in a folder below it.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {
        "LABEL_STUDIO_BASE_DATA_DIR": str(folder),
        "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED": "true",
        "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT": str(files),
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
        **{"LATEST_VERSION_CHECK": "false", "COLLECT_ANALYTICS": "false", "SENTRY_DSN": "", "FRONTEND_SENTRY_DSN": ""},
        **{"OMP_NUM_THREADS": "1", "DEBUG": "false"},
    }
    command = [f"{ENVIRONMENT}/bin/label-studio", "start", "--no-browser", "--internal-host", "127.0.0.1"]
    command += ["--port", str(port), "--username", "first@example.org", "--password", "labelwise-pw"]
    command += ["--user-token", TOKEN, "--log-level", "WARNING"]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, env=os.environ | settings, stdout=log, stderr=log, start_new_session=True)
    try:
        person = Person(f"http://127.0.0.1:{port}", TOKEN)
        _wait(person, process, folder / "server.log")
        yield person
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
        if process.poll() is None:
            process.kill()
            process.wait()


def _wait(person: Person, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + 300
    while time.monotonic() < until and process.poll() is None:
        with suppress(AssertionError, OSError):
            person.ask("/api/version")
            return
        time.sleep(1)
    raise AssertionError(f"Label Studio did not start: {log.read_text(errors='replace')[-1000:]}")
