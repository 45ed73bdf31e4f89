"""Reads a whole set of masks, in a process of its own whose cost is measured."""

from __future__ import annotations

from pathlib import Path

from labelwise.contracts.format import Hints
from labelwise.formats.png_masks import PngMasks


def read_all(folder: str, use: str = "data", classes: tuple[str, ...] = ()) -> int:
    """How many pixels all masks have."""
    _, records = PngMasks().read(Path(folder), use, Hints(classes=tuple(classes)))  # type: ignore[arg-type]
    return sum(record.pixels.read().size for record in records if record.pixels)
