"""Picks as JSON: all that is known of them, and an empty ``label`` for people to fill in.

Filled in, the same file is read back by ``labels_table.read_labels``.
"""

from __future__ import annotations

import importlib.metadata
import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from labelwise.contracts.oracle import Pick, Round
from labelwise.errors import FormatError
from labelwise.formats.boxes import number as finite
from labelwise.formats.files import write_whole
from labelwise.formats.json_file import read_json

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
    data = read_json(path)
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise FormatError(f'{shown} is no picks file: it has no "format": "{FORMAT}"; give the JSON that export wrote')
    check_version(data, shown)
    try:
        picks = tuple(_pick(item, number, shown) for number, item in enumerate(data["items"], 1))
        classes = tuple(map(str, data["classes"]))
        found = Round(int(data["round"]), picks, str(data["strategy"]), classes=classes)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise FormatError(f"{shown} is damaged ({type(error).__name__}: {error!s:.80}): export it again") from None
    if len({pick.id for pick in picks}) < len(picks):
        raise FormatError(f"{shown} is damaged (an id stands there twice): export it again")
    return found


def check_version(data: Mapping[str, Any], shown: str) -> None:
    """Refuses picks that a newer labelwise wrote.

    Raises:
        FormatError: with both versions.
    """
    version = data.get("version")
    if not isinstance(version, int) or isinstance(version, bool) or not 1 <= version <= VERSION:
        got = "a huge number" if isinstance(version, int) and abs(version) > 10**9 else f"{version!r:.40}"
        raise FormatError(
            f"{shown} has version {got} of the format, this labelwise ({_own_version()}) reads up to {VERSION}: update "
            "labelwise"
        )


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
        if item.get(name) is not None:
            finite(item[name], f"{shown}, item {number}", name)
    return Pick(
        item["id"], item["path"], int(item["rank"]), item.get("score"), item.get("predicted"), item.get("probability")
    )
