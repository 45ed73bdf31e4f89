"""How both pages answer: strict JSON, errors in a line, and the files of the bundle."""

from __future__ import annotations

import gzip
import hashlib
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from labelwise.campaign.records import plain
from labelwise.contracts.source import Source
from labelwise.errors import LabelwiseError, PoolError, StateError
from labelwise.serve.pictures import Pictures

STATIC = Path(__file__).parent / "static"
_TYPES = {
    "app.js": "text/javascript",
    "study.js": "text/javascript",
    "app.css": "text/css",
    "icon.svg": "image/svg+xml",
}


def as_json(content: Any, status: int = 200) -> JSONResponse:
    """Strict JSON: what is no finite number is null."""
    return JSONResponse(plain(content), status)


def packed(content: bytes) -> Response:
    """Bytes that compress well; the browser unpacks them."""
    headers = {"content-encoding": "gzip"}
    return Response(gzip.compress(content, 1, mtime=0), media_type="application/octet-stream", headers=headers)


def picture(pictures: Pictures, source: Source, request: Request, item: str, side: int) -> Response:
    """A small picture, or the news that the browser has it."""
    data, tag = pictures.of(source, item, side)
    headers = {"etag": f'"{tag}"', "cache-control": "private, max-age=60"}
    if request.headers.get("if-none-match") == headers["etag"]:
        return Response(status_code=304, headers=headers)
    return Response(data, media_type="image/jpeg", headers=headers)


def add_errors(app: FastAPI, log: Callable[[str], None]) -> None:
    """Every error becomes a line of JSON.

    Args:
        app: what answers.
        log: told of errors that are ours, whole.
    """

    @app.exception_handler(Exception)
    def ours(request: Request, error: Exception) -> JSONResponse:
        log("".join(traceback.format_exception(error)))
        said = f"{type(error).__name__}: {error!s:.150}. This is a bug; the command that serves the page printed more"
        return as_json({"error": said}, 500)

    @app.exception_handler(LabelwiseError)
    def told(request: Request, error: LabelwiseError) -> JSONResponse:
        status = 404 if isinstance(error, PoolError) else 409 if isinstance(error, StateError) else 400
        return as_json({"error": str(error)}, status)

    @app.exception_handler(RequestValidationError)
    def broken(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first.get("loc", ())[1:])
        return as_json({"error": f"{place or 'request'}: {first.get('msg', 'cannot be read')!s:.200}"}, 400)


def add_files(app: FastAPI, first: str) -> None:
    """The files of the bundle.

    Args:
        app: what answers.
        first: name of the file that a browser opens; it names the others by what they hold.
    """
    text = (STATIC / first).read_text(encoding="utf-8")
    for name in _TYPES:
        if (STATIC / name).is_file():
            stamp = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]
            text = text.replace(f"assets/{name}", f"assets/{name}?v={stamp}")
    index_bytes = text.encode()

    @app.get("/")
    def index() -> Response:
        return Response(index_bytes, media_type="text/html; charset=utf-8")

    @app.get("/assets/{name}")
    def asset(name: str) -> Response:
        if name not in _TYPES or not (STATIC / name).is_file():
            return as_json({"error": "no such file"}, 404)
        headers = {"cache-control": "private, max-age=31536000, immutable"}
        return Response((STATIC / name).read_bytes(), media_type=_TYPES[name], headers=headers)
