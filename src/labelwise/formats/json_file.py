"""JSON that came from elsewhere: every failure is one line with the place, and no file costs more than it weighs.

The one reader of JSON of the house. What it lets through is a value that is safe to walk: nested at most ``DEPTH``
deep, so that nothing that recurses into it (``repr``, ``json.dumps``) runs out of stack; text that can be written again
as UTF-8; no key twice with different values in one object. What it does not judge: ``NaN``, ``Infinity`` and numbers
beyond floats (1e999, 10**400) come through as Python reads them, so that a format can name the row that they stand in,
or leave them out where it does not look (see ``formats.numbers.number``).
"""

from __future__ import annotations

import gc
import json
import mmap
import os
import re
from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from labelwise.errors import FormatError
from labelwise.processes import free_memory

#: lists and objects within each other; no format that we know goes beyond twelve
DEPTH = 100
#: bytes that the values of a file may take whatever they are, and how many times the file's size beyond that: labels
#: take 3 to 12 times, empty brackets 24 to 44 times
PLENTY, RATIO = 600_000_000, 20
#: bytes of a file that are looked at when it is only to be recognised
START = 1 << 16
#: bytes in which a key is looked for
_FAR = 1 << 33

_CHUNK = 1 << 20
_SPACE = b" \t\r\n"
#: every escape, one after the other; the group is half of a pair that stands for one character
_HALVES = re.compile(r"\\(?:[^u]|u[dD][89aAbB]..\\u[dD][c-fC-F]|u(?![dD][89a-fA-F])|(u[dD][89a-fA-F]..))", re.DOTALL)
_OUTSIDE = bytes(set(range(256)) - set(b"[]{},"))
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
_NON_LATIN, _ASTRAL = bytes(range(0xC4)), bytes(range(0xF0))


def read_json(path: str | os.PathLike[str], *, pairs: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Any:
    """The value in a JSON file: UTF-8 with or without byte-order mark, or UTF-16 with one.

    Args:
        path: the file.
        pairs: makes an object of its keys and values, where the order or twins of keys matter; by default a dict, and
            a key that stands twice with different values is refused.

    Raises:
        FormatError: missing, no file, not UTF-8, not JSON (with line and column), cut off, nested too deeply, a key
            twice in one object, half of a character, or more than the memory that is there.

    Cost:
        Memory: the text and 3 to 12 times its size for the values of labels; a file of little but brackets is refused
        beyond 600 MB, any file beyond the memory that is free. Time: about 2 s for 100 MB.
    """
    shown = repr(os.fspath(path))
    return parse_json(_bytes(path, shown), shown, pairs=pairs)


def parse_json(data: bytes, shown: str, *, pairs: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Any:
    """The value in the text of a JSON file, or of a string that holds JSON of its own; as :func:`read_json`.

    Args:
        data: UTF-8.
        shown: what messages call it.
        pairs: see there.

    Raises:
        FormatError: see there.
    """
    _check_size(_survey(data), len(data), shown)
    text = _text(data, shown)
    del data  # a copy of what may be half a gigabyte
    collecting = gc.isenabled()
    gc.disable()  # nothing here goes round in circles, and looking for some takes twice the time of reading
    try:
        return json.loads(text, object_pairs_hook=pairs or _unique)
    except json.JSONDecodeError as error:
        ended = error.msg.startswith("Unterminated") or not text[error.pos :].strip()
        cut = "; the file seems to be cut off" if ended else ""
        place = f"line {error.lineno}, column {error.colno}"
        raise FormatError(f"{shown}, {place}: no valid JSON ({error.msg}){cut}; write it again") from None
    except _Twice as error:
        raise FormatError(f"{shown}: {error}; keep one of the two") from None
    except (ValueError, RecursionError) as error:  # a number of more digits than Python converts
        raise FormatError(
            f"{shown} is no valid JSON ({str(error) or 'nested too deeply':.120}); write it again"
        ) from None
    except MemoryError:
        raise FormatError(f"{shown} does not fit into memory; split it into several files") from None
    finally:
        if collecting:
            gc.enable()


def start_of_json(path: Path, key: str = "") -> Mapping[str, Any]:
    """What stands where in the first kilobytes of a JSON file: the first value at each place, to recognise formats by.

    Places are written as ``images[].file_name``; the whole is ``""``. Lists are ``[]`` and objects ``{}``, whatever is
    in them. Empty for what does not begin like JSON, or cannot be read; never raises.

    Args:
        path: the file.
        key: begins at the first value of this key instead, however far behind it stands, as if it stood at the top.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "a.json"
        >>> _ = file.write_text('{"version": "5.1", "images": [{"id": 7, "file_name": "a.jpg"}, {"id"')
        >>> start_of_json(file)
        {'': {}, 'version': '5.1', 'images': [], 'images[]': {}, 'images[].id': 7, 'images[].file_name': 'a.jpg'}
        >>> start_of_json(file, "file_name")
        {'': {}, 'file_name': 'a.jpg'}
    """
    try:
        if not path.is_file():
            return {}
        with path.open("rb") as file:
            if not key:
                data = file.read(START)
            else:
                with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
                    at = mapped.find(json.dumps(key).encode(), 0, _FAR)
                    data = b"" if at < 0 else b"{" + mapped[at : at + START]
    except (OSError, ValueError):  # ValueError: an empty file has nothing to be mapped
        return {}
    data = _as_utf8(data).removeprefix(b"\xef\xbb\xbf").lstrip(_SPACE)
    return _places(data.decode("utf-8", "replace")) if data[:1] in (b"[", b"{") else {}


def dump_json(value: Any, shown: str) -> bytes:
    """A value as JSON, UTF-8, one line end at its end.

    Raises:
        FormatError: it holds NaN or infinity, which JSON has not, or something that is no JSON.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (ValueError, TypeError, RecursionError) as error:
        raise FormatError(f"{shown} cannot be written as JSON: {error}") from None
    return text.encode("utf-8", "backslashreplace") + b"\n"


# ---- what is read ---------------------------------------------------------------------------------------------------


def _bytes(path: str | os.PathLike[str], shown: str) -> bytes:
    file = Path(path)
    try:
        size = file.stat().st_size
        if file.is_dir():
            raise FormatError(f"{shown} is a folder; give the JSON file in it")
        if not file.is_file():
            raise FormatError(f"{shown} is no file but a device or a pipe; save the JSON as a file")
        if size > (free := free_memory()):
            raise FormatError(
                f"{shown} has {_gb(size)}, and {_gb(free)} of memory are free; split it into several files"
            )
        return _as_utf8(file.read_bytes()).removeprefix(b"\xef\xbb\xbf")
    except FileNotFoundError:
        raise FormatError(f"{shown} does not exist: check the path") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or error
        raise FormatError(f"{shown} cannot be read: {reason}; check the path and its permissions") from None


def _as_utf8(data: bytes) -> bytes:
    """The same text in UTF-8 where a mark says that it is UTF-16, as Windows programs write; else as it is."""
    if not data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data
    try:
        return data[: len(data) // 2 * 2].decode("utf-16").encode()
    except UnicodeError:
        return data


def _text(data: bytes, shown: str) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in data[:1000]:
        raise FormatError(f"{shown} is not UTF-8 text (UTF-16, or no text at all): save it as UTF-8 and try again")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise FormatError(f"{shown}, line {line}: not valid UTF-8; save it as UTF-8 and try again") from None
    if "\\ud" in text or "\\uD" in text:
        half = next((found for found in _HALVES.finditer(text) if found[1]), None)
        if half is not None:
            line = text.count("\n", 0, half.start()) + 1
            raise FormatError(f"{shown}, line {line}: {half[0]} is half of a character; write it again as UTF-8")
    return text


class _Twice(ValueError):
    """A key that stands twice in one object."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        for key, value in pairs:
            if found[key] is not value and found[key] != value:
                raise _Twice(f"{key!r:.60} stands twice in one object, as {value!r:.60} and as {found[key]!r:.60}")
    return found


# ---- what it would take ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Survey:
    """A file as its brackets tell it, without what stands in strings.

    Args:
        depth: of lists and objects within each other.
        brackets: how many there are.
        values: bytes that its values take in memory, not less than they will.
        text: bytes that it takes as text.
    """

    depth: int
    brackets: int
    values: int
    text: int


def _survey(data: bytes) -> _Survey:
    depth = deepest = lists = objects = commas = quotes = place = 0
    escapes = b"\\" in data
    while place < len(data):
        stop = min(place + _CHUNK, len(data))
        chunk = data[place:stop]
        if escapes:
            if (len(chunk) - len(chunk.rstrip(b"\\"))) % 2:  # never between a backslash and what it stands before
                chunk += data[stop : (stop := stop + 1)]
            chunk = chunk.replace(b"\\\\", b"").replace(b'\\"', b"")
        parts = chunk.split(b'"')
        outside = b"".join(parts[quotes % 2 :: 2]).translate(None, _OUTSIDE)
        quotes += len(parts) - 1
        lists, objects, commas = (
            lists + outside.count(b"["),
            objects + outside.count(b"{"),
            commas + outside.count(b","),
        )
        steps = array("b", outside.translate(_STEPS, b","))
        deepest = max(accumulate(steps, initial=depth), default=depth) if deepest <= DEPTH else deepest
        depth += sum(steps)
        place = stop
    values = 90 * lists + 190 * objects + 32 * commas + 25 * quotes
    wide = 4 if data.translate(None, _ASTRAL) else 2 if data.translate(None, _NON_LATIN) else 1
    return _Survey(deepest, lists + objects, values, len(data) * (1 if data.isascii() else wide))


def _check_size(found: _Survey, size: int, shown: str) -> None:
    if found.depth > DEPTH:
        raise FormatError(f"{shown} is nested too deeply: more than {DEPTH} lists and objects within each other")
    if found.values > max(PLENTY, RATIO * size):
        raise FormatError(
            f"{shown} holds {found.brackets:,} lists and objects in {size:,} bytes and little else: these are no labels"
        )
    if (needed := found.text + found.values) > (free := free_memory()):
        raise FormatError(
            f"{shown} needs about {_gb(needed)} of memory to be read, and {_gb(free)} are free; split it into several "
            "files"
        )


def _gb(size: int) -> str:
    return f"{size / 1e9:,.1f} GB"


# ---- what it begins with --------------------------------------------------------------------------------------------

_TOKEN = re.compile(r'\s*(?:("(?:[^"\\]|\\.)*")|([\[\]{}:,])|([^\s\[\]{}:,"]+))', re.DOTALL)


_COLON = re.compile(r"\s*:")


def _places(text: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    stack: list[str] = []  # the place of each list and object that is open
    key: str | None = None
    before = ""
    for token in _TOKEN.finditer(text):
        string, mark, scalar = token.groups()
        here = _place(stack, key)
        if mark in ("[", "{"):
            found.setdefault(here, [] if mark == "[" else {})
            stack.append(f"{here}[]" if mark == "[" else here)
            if len(stack) > DEPTH:
                break
            key = None
        elif mark in ("]", "}"):
            if stack:
                stack.pop()
            if not stack:
                break
        elif mark == ":":
            key = _scalar(before) if before.startswith('"') else None
        elif mark is None and token.end() < len(text) and not _COLON.match(text, token.end()):
            found.setdefault(here, _scalar(string or scalar))
            key = None
        before = string or ""
    return found


def _place(stack: list[str], key: str | None) -> str:
    within = stack[-1] if stack else ""
    return within if key is None else f"{within}.{key}" if within else key


def _scalar(token: str) -> Any:
    try:
        return json.loads(token)
    except ValueError:
        return token
