"""A server between a client and a real one, that fails where it is told to."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


@dataclass
class Faults:
    """What goes wrong, once.

    Args:
        kind: ``refuse`` (answers 500), ``drop before`` and ``drop after`` (ends the connection before or after the real
            server has done it), "" for nothing.
        at: of so many requests the one that fails.
    """

    kind: str = ""
    at: int = 0
    seen: int = 0

    def now(self) -> str:
        """What goes wrong with this request."""
        self.seen += 1
        return self.kind if self.seen == self.at + 1 else ""


class Proxy(ThreadingHTTPServer):
    """Listens on a free port of this machine."""

    daemon_threads = True

    def __init__(self, url: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target = urlsplit(url)
        self.faults = Faults()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request, client_address):
        """Connections are ended on purpose."""


class _Handler(BaseHTTPRequestHandler):
    server: Proxy

    def do_GET(self) -> None:
        fault = self.server.faults.now()
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if fault == "drop before":
            self.close_connection = True
            return
        if fault == "refuse":
            self._answer(500, [("content-type", "application/json")], b'{"detail": "for the test"}')
            return
        target = self.server.target
        there = http.client.HTTPConnection(target.hostname, target.port, timeout=120)
        headers = {key: value for key, value in self.headers.items() if key.lower() not in ("host", "connection")}
        there.request(self.command, self.path, body, headers)
        answer = there.getresponse()
        data = answer.read()
        there.close()
        if fault == "drop after":
            self.close_connection = True
            return
        kept = [(key, value) for key, value in answer.getheaders() if key.lower() in ("content-type", "location")]
        self._answer(answer.status, kept, data)

    do_POST = do_PATCH = do_DELETE = do_GET

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response(status)
        for key, value in headers:
            self.send_header(key, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):
        """Nothing is printed."""


@contextmanager
def between(url: str) -> Iterator[Proxy]:
    proxy = Proxy(url)
    thread = threading.Thread(target=proxy.serve_forever, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.shutdown()
        proxy.server_close()
        thread.join()
