"""Everything of a file read, for processes of their own."""

from __future__ import annotations

from pathlib import Path

from labelwise.contracts.format import Hints
from labelwise.contracts.record import Mask
from labelwise.formats import FORMATS


def everything(name: str, path: str, use: str, kind: str | None = None) -> str:
    """Reads all records of a file, its masks too; tells how many images and objects there were."""
    form = FORMATS.create(name)
    form.sniff(Path(path), use)
    _, records = form.read(Path(path), use, Hints(kind))
    images = objects = 0
    for record in records:
        images, objects = images + 1, objects + len(record.objects)
        for thing in record.objects:
            if isinstance(thing.outline, Mask):
                thing.outline.read()
    return f"{images} images, {objects} objects"
