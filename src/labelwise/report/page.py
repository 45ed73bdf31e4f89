"""One self-contained HTML page: templates inside the package, everything inline, no address but data URIs.

Every page carries a content security policy that forbids the network and any script but those shipped here (by their
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

#: all code that may run: one searches and sorts a gallery, one opens pictures large
SCRIPTS = ("gallery", "large")


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
    # our own files
    environment.globals["style"] = Markup(_source(environment, "style.css"))
    scripts = {name: _source(environment, f"{name}.js") for name in SCRIPTS}
    environment.globals["scripts"] = {name: Markup(text) for name, text in scripts.items()}
    marks = " ".join(f"'sha256-{_mark(text)}'" for text in scripts.values())
    environment.globals["policy"] = (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {marks}; base-uri 'none'; "
        "form-action 'none'"
    )
    return environment


def _mark(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")


def _source(environment: jinja2.Environment, name: str) -> str:
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]
