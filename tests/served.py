"""A page that is really served, in a process of its own, and a browser that speaks to it by HTTP."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2

TOKEN = "a token of tests"


class Page:
    """A served project."""

    def __init__(self, process: subprocess.Popen[str], address: str) -> None:
        self.process, self.address = process, address
        self.open: list[httpx2.Client] = []

    def browser(self) -> Browser:
        """A new browser, let in by the token."""
        made = Browser(self.address)
        self.open.append(made.http)
        return made

    def stranger(self) -> httpx2.Client:
        """Somebody without the token."""
        self.open.append(httpx2.Client(base_url=self.address))
        return self.open[-1]

    def kill(self) -> None:
        """As a machine that loses its power."""
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Browser:
    """One session."""

    def __init__(self, address: str) -> None:
        self.http = httpx2.Client(base_url=address, timeout=120)
        answer = self.http.get("/", params={"token": TOKEN})
        assert answer.status_code == 303, answer.text

    def get(self, path: str, **query: Any) -> Any:
        answer = self.http.get(path, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, body: Any, status: int = 200) -> Any:
        answer = self.http.post(path, json=body, headers={"X-Labelwise": "1"})
        assert answer.status_code == status, (answer.status_code, answer.text)
        return answer.json()

    def answer(self, item: str, label: Any, **more: Any) -> Any:
        return self.post("/api/answers", {"answers": [{"id": item, "label": label, **more}]})


@contextlib.contextmanager
def served(folder: Path, *options: str) -> Iterator[Page]:
    """Serves a project until the end of the block."""
    command = [sys.executable, "-m", "labelwise", "serve", str(folder), "--port", "0", "--no-open", "--token", TOKEN]
    process = subprocess.Popen(
        [*command, *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder
    )
    assert process.stdout is not None
    page = None
    try:
        line = process.stdout.readline()
        found = re.search(r" at (http://[^/]+)/\?token=", line)
        assert found, line + process.stdout.read()
        page = Page(process, found[1])
        yield page
    finally:
        for client in [] if page is None else page.open:
            client.close()
        process.kill()
        process.wait()
        process.stdout.close()
