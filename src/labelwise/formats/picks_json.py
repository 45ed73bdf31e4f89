"""Picks as JSON: all that is known of them, and an empty ``label`` for people to fill in.

Filled in, the same file is read back by ``labels_table.read_labels``.
"""

from __future__ import annotations

import importlib.metadata
import json
import math
import os
from dataclasses import asdict
from typing import Any

from labelwise.contracts.oracle import Pick, Round
from labelwise.errors import FormatError
from labelwise.formats.delimited import read_text
from labelwise.formats.files import write_whole

FORMAT = "labelwise-picks"
VERSION = 1


def write_picks(path: str | os.PathLike[str], asked: Round) -> None:
    """Write the picks of one round.

    Raises:
        FormatError: for a score or probability that is not finite.
        StateError: when the file cannot be written.
    """
    head = {
        "format": FORMAT,
        "version": VERSION,
        "labelwise": _own_version(),
        "round": -1 if asked.number is None else asked.number,
        "strategy": asked.strategy,
        "classes": list(asked.classes),
    }
    items = [_item(pick) for pick in asked]
    text = json.dumps({**head, "items": items}, indent=1, ensure_ascii=False, allow_nan=False)
    write_whole(path, text.encode("utf-8", "backslashreplace") + b"\n")


def read_picks(path: str | os.PathLike[str]) -> Round:
    """The round that ``write_picks`` wrote; labels that were filled in are not looked at.

    Raises:
        FormatError: for a file that is no such JSON, or was written by a newer version.
    """
    shown = repr(os.fspath(path))
    try:
        data = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{shown} is no valid JSON: {error or 'nested too deeply'}") from None
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise FormatError(f'{shown} is no picks file: it has no "format": "{FORMAT}"; give the JSON that export wrote')
    if not isinstance(data.get("version"), int) or data["version"] > VERSION:
        raise FormatError(
            f"{shown} has version {data.get('version')!r} of the format, this labelwise ({_own_version()}) reads up to "
            f"{VERSION}: update labelwise"
        )
    try:
        picks = tuple(_pick(item, number, shown) for number, item in enumerate(data["items"], 1))
        classes = tuple(map(str, data["classes"]))
        found = Round(int(data["round"]), picks, str(data["strategy"]), classes=classes)
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(f"{shown} is damaged ({type(error).__name__}: {error}): export it again") from None
    if len({pick.id for pick in picks}) < len(picks):
        raise FormatError(f"{shown} is damaged (an id stands there twice): export it again")
    return found


def _own_version() -> str:
    try:
        return importlib.metadata.version("labelwise")
    except importlib.metadata.PackageNotFoundError:  # run from a source tree that was never installed
        return "unknown"


def _item(pick: Pick) -> dict[str, Any]:
    for name in ("score", "probability"):
        value = getattr(pick, name)
        if value is not None and not math.isfinite(value):
            raise FormatError(f"pick {pick.id!r} has {name} {value}: it must be finite to be written")
    known = {**asdict(pick), "score": _plain(pick.score), "probability": _plain(pick.probability)}
    return {**known, "label": "", "skipped": False, "reason": ""}


def _plain(value: float | None) -> float | None:
    return None if value is None else float(value)


def _pick(item: dict[str, Any], number: int, shown: str) -> Pick:
    for name in ("id", "path"):
        if not isinstance(item[name], str):
            raise FormatError(f"{shown}, item {number}: {name} is {item[name]!r:.60}; give text")
    for name in ("score", "probability"):
        value = item.get(name)
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        if value is not None and not is_number:
            raise FormatError(f"{shown}, item {number}: {name} is {value!r:.60}; give a number or null")
    return Pick(
        item["id"], item["path"], int(item["rank"]), item.get("score"), item.get("predicted"), item.get("probability")
    )
