"""One self-contained HTML page: templates inside the package, everything inline, no address but data URIs.

Every page carries a content security policy that forbids the network and any script but the one shipped here (by its
hash), so that not even a file name that broke out of its quotes could run.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import os
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from labelwise.campaign.records import write_whole
from labelwise.errors import visible


def render(template: str, **context: Any) -> str:
    """The page ``template`` with ``context``; every value is escaped."""
    return _environment().get_template(template).render(**context)


def write_page(path: str | os.PathLike[str], html: str) -> Path:
    """Write a page, whole or not at all; what UTF-8 cannot hold (undecodable file names) is written as an escape.

    Raises:
        StateError: the file cannot be written.
    """
    return write_whole(path, html.encode("utf-8", errors="backslashreplace"))


def numeric(text: str) -> str:
    """Numbers as a page sets them: a true minus sign, and no line break inside a number.

    Example:
        >>> numeric("-0.010 to +3 %") == "\u22120.010 to +3\u00a0%"
        True
    """
    out = [
        "\u2212" if c == "-" and text[i + 1 : i + 2].isdigit() and not text[i - 1 : i].isalnum() else c
        for i, c in enumerate(text)
    ]
    return "".join(out).replace(" %", "\u00a0%").replace(" ±", "\u00a0±")


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("labelwise.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["visible"] = visible
    environment.filters["numeric"] = numeric
    style, script = _source(environment, "style.css"), _source(environment, "gallery.js")
    mark = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    environment.globals["style"] = Markup(style)  # our own file
    environment.globals["script"] = Markup(script)  # our own file
    environment.globals["policy"] = (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{mark}'; base-uri 'none'; "
        "form-action 'none'"
    )
    return environment


def _source(environment: jinja2.Environment, name: str) -> str:
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]
