"""Reading JSON that came from elsewhere: every failure is one line with the place."""

from __future__ import annotations

import json
import os
from typing import Any

from labelwise.errors import FormatError
from labelwise.formats.delimited import read_text


def read_json(path: str | os.PathLike[str]) -> Any:
    """The value in a JSON file; NaN and Infinity, which are no JSON, are kept as floats for the caller to refuse.

    Raises:
        FormatError: missing, not UTF-8, not JSON (with line and column), or cut off.
    """
    shown = repr(os.fspath(path))
    text = read_text(path)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        ended = error.msg.startswith("Unterminated") or not text[error.pos :].strip()
        cut = "; the file seems to be cut off" if ended else ""
        place = f"line {error.lineno}, column {error.colno}"
        raise FormatError(f"{shown}, {place}: no valid JSON ({error.msg}){cut}; write it again") from None
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{shown} is no valid JSON ({error or 'nested too deeply'}); write it again") from None


def dump_json(value: Any, shown: str) -> bytes:
    """A value as JSON, UTF-8, one line end at its end.

    Raises:
        FormatError: it holds NaN or infinity, which JSON has not, or something that is no JSON.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (ValueError, TypeError) as error:
        raise FormatError(f"{shown} cannot be written as JSON: {error}") from None
    return text.encode("utf-8", "backslashreplace") + b"\n"
