"""Picks as JSON: all that is known of them, and an empty ``label`` for people to fill in.

Filled in, the same file is read back by ``json_labels``.
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
    alone = len(asked.parts()) == 1
    items = [_item(pick, alone) for pick in asked]
    text = json.dumps({**head, "items": items}, indent=1, ensure_ascii=False, allow_nan=False)
    write_whole(path, text.encode("utf-8", "backslashreplace") + b"\n")


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


def _item(pick: Pick, alone: bool) -> dict[str, Any]:
    """What is known of a pick; its round and strategy where the head does not say them for all."""
    for name in ("score", "probability"):
        value = getattr(pick, name)
        if value is not None and not math.isfinite(value):
            raise FormatError(f"pick {pick.id!r} has {name} {value}: it must be finite to be written")
    known = {**asdict(pick), "score": _plain(pick.score), "probability": _plain(pick.probability)}
    if alone:
        del known["round"], known["strategy"]
    return {**known, "label": "", "skipped": False, "reason": ""}


def _plain(value: float | None) -> float | None:
    return None if value is None else float(value)
