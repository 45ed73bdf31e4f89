"""Talking to a server: what is asked again, and one line for each way to fail."""

from __future__ import annotations

import json
import threading
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from labelwise.errors import ConfigError, ToolError
from labelwise.exchange.tools import TOOLS, server
from labelwise.exchange.tools.server import Refused, Server


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append((self.command, self.path, self.headers.get("authorization")))
        status, body = self.server.answers.pop(0) if self.server.answers else (200, {"fine": True})
        if status is None:
            self.close_connection = True
            return
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_POST = do_PATCH = do_GET

    def log_message(self, format, *args):
        """Nothing is printed."""


@pytest.fixture
def there(monkeypatch):
    monkeypatch.setattr(server, "WAITS", (0.001, 0.001))
    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.asked, http.answers = [], []
    http.url = f"http://127.0.0.1:{http.server_address[1]}"
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    yield http
    http.shutdown()
    http.server_close()
    thread.join()


def test_what_changes_nothing_is_asked_again_until_it_works(there):
    there.answers[:] = [(503, {}), (None, None), (200, {"n": 1})]
    with closing(Server(there.url, {"Authorization": "Token t"})) as one:
        assert one.ask("GET", "/x", query=[("a", "1"), ("a", "2")]) == {"n": 1}
    assert there.asked == [("GET", "/x?a=1&a=2", "Token t")] * 3


def test_what_makes_something_is_asked_once(there):
    there.answers[:] = [(500, {"detail": "no room"})]
    with (
        closing(Server(there.url, {})) as one,
        pytest.raises(Refused, match="answers POST /x with 500: no room") as told,
    ):
        one.ask("POST", "/x", json={})
    assert told.value.status == 500
    assert len(there.asked) == 1


def test_what_is_refused_is_not_asked_again(there):
    there.answers[:] = [(404, {"detail": "gone"})]
    with closing(Server(there.url, {})) as one, pytest.raises(Refused, match="with 404: gone"):
        one.ask("GET", "/x")
    assert len(there.asked) == 1


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (401, {"detail": "Invalid token."}, "does not know this token .Invalid token"),
        (403, {"detail": "no"}, "does not allow GET /x to this user: no"),
        (400, {"detail": "bad", "validation_errors": {"title": ["too short" * 99]}}, "with 400: .*title.*too short"),
        (418, ["x" * 1000], "with 418"),
    ],
)
def test_failures_are_one_short_line(there, status, body, message):
    there.answers[:] = [(status, body)]
    with closing(Server(there.url, {})) as one, pytest.raises(ToolError, match=message) as told:
        one.ask("GET", "/x")
    assert len(str(told.value)) <= 300
    assert "\n" not in str(told.value)


def test_a_server_that_is_not_there_or_breaks_off(there):
    there.answers[:] = [(None, None)] * 3
    with closing(Server(there.url, {})) as one, pytest.raises(ToolError, match="broke off GET /x"):
        one.ask("GET", "/x")
    with closing(Server("http://127.0.0.1:9", {})) as one, pytest.raises(ToolError, match="no server answers at"):
        one.ask("GET", "/x")
    with pytest.raises(ConfigError, match="begins with http"):
        Server("localhost:8080", {})
    with pytest.raises(ConfigError, match="would be written down") as told:
        Server("https://me:secret@localhost:8080", {})
    assert "secret" not in str(told.value)


def test_the_tools_that_are_there():
    assert TOOLS.names() == ["cvat", "label_studio"]
    assert all(TOOLS.get(name).variable.isupper() for name in TOOLS.names())
