"""Who may talk to the page: the one who has the token, from the page itself, and nobody by way of another site."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

#: bytes that a request may send: a mask of a large picture, in base64
MOST = 16 << 20
#: what a browser may load for the page: its own files, and pictures that its own code makes
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "x-frame-options": "DENY",
}
#: what a page of another site cannot add to a request without being asked first
MARK = "x-labelwise"


@dataclass(frozen=True)
class Guard:
    """Lets through what comes from the page, with the token; everything else gets a line and an error.

    The token comes once in the address, and from then on in a cookie that scripts cannot read and other sites cannot
    send. A browser is known by a second part of that cookie.

    Args:
        app: what is guarded.
        token: that has to be given.
        hosts: names and ports under which the page is reached: a request for another one was led here by a trick.
    """

    app: App
    token: str
    hosts: frozenset[str]
    cookie: str = field(default="labelwise")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if refused := self._refused(scope, headers):
            await _plain(send, *refused)
            return
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if scope["path"] == "/" and given and secrets.compare_digest(given.encode(), self.token.encode()):
            await _plain(send, 303, "", {"location": "/", "set-cookie": self._cookie()})
            return
        browser = self._browser(headers.get("cookie", ""))
        if browser is None:
            await _plain(send, 403, "open the address that 'labelwise serve' printed: it holds the token")
            return
        scope["labelwise_browser"] = browser
        await self.app(scope, _bounded(receive), _marked(send))

    def _refused(self, scope: Scope, headers: dict[str, str]) -> tuple[int, str] | None:
        """Why a request is not even looked at."""
        host = headers.get("host", "").lower()
        if host not in self.hosts:
            return 403, f"this page is not reached as {host!r:.80}: use the address that 'labelwise serve' printed"
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host:
            return 403, "another site asked: refused"
        if scope["method"] not in ("GET", "HEAD", "POST"):
            return 405, "GET and POST alone"
        if scope["method"] == "POST":
            if MARK not in headers or not headers.get("content-type", "").startswith("application/json"):
                return 403, f"a change wants the header {MARK} and JSON"
            length = headers.get("content-length", "")
            if not length.isdecimal() or int(length) > MOST:
                return 413, f"at most {MOST:,} bytes, and their number said beforehand"
        return None

    def _cookie(self) -> str:
        return f"{self.cookie}={secrets.token_hex(8)}.{self._proof}; Path=/; HttpOnly; SameSite=Strict"

    @property
    def _proof(self) -> str:
        """What the token becomes in a cookie, which has no room for every character."""
        return hashlib.sha256(f"labelwise {self.token}".encode()).hexdigest()

    def _browser(self, written: str) -> str | None:
        """Which browser it is; None without the token."""
        try:
            found = SimpleCookie(written).get(self.cookie)
        except CookieError:
            return None
        browser, _, proof = ("" if found is None else found.value).partition(".")
        return browser if secrets.compare_digest(proof.encode(), self._proof.encode()) else None


def _bounded(receive: Receive) -> Receive:
    """Ends a body that is longer than it may be, whatever its header said."""
    read = 0

    async def next_part() -> MutableMapping[str, Any]:
        nonlocal read
        message = await receive()
        read += len(message.get("body", b""))
        return message if read <= MOST else {"type": "http.disconnect"}

    return next_part


def _marked(send: Send) -> Send:
    """Adds what browsers have to know to each answer."""

    async def marked(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            named = {name.lower() for name, _ in message.get("headers", ())}
            more = [(name.encode(), value.encode()) for name, value in _HEADERS.items() if name.encode() not in named]
            if b"cache-control" not in named:
                more.append((b"cache-control", b"no-store"))
            message = {**message, "headers": [*message.get("headers", ()), *more]}
        await send(message)

    return marked


async def _plain(send: Send, status: int, text: str, headers: dict[str, str] | None = None) -> None:
    head = {"content-type": "text/plain; charset=utf-8", "cache-control": "no-store", **_HEADERS, **(headers or {})}
    pairs = [(name.encode(), value.encode()) for name, value in head.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": text.encode()})
