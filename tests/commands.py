"""The command line in this process: what a command prints, and how it refuses."""

from __future__ import annotations

import json
from typing import Any

from click.testing import Result
from typer.testing import CliRunner

from labelwise.cli.app import app


def run(*arguments: object, code: int = 0, typed: str | None = None) -> Result:
    """A command that ends with this exit code."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], input=typed)
    assert result.exit_code == code, f"{result.output}\n{result.exception!r}"
    return result


def as_json(*arguments: object) -> Any:
    """The result of a command; nothing but JSON on standard output."""
    return json.loads(run(*arguments, "--json").stdout)


def refused(*arguments: object) -> str:
    """The one line on standard error of a command that is refused."""
    result = run(*arguments, code=1)
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.stderr
    assert result.stdout == ""
    return result.stderr
