"""Boxes as files, by the formats themselves: what tests read again, and raw labels out of what was read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from labelwise.contracts.format import Format, Hints, Reads, Writes, Writing
from labelwise.contracts.kind import Naming
from labelwise.contracts.record import Head, Record
from labelwise.exchange.classes import ClassMap
from labelwise.formats.coco import Coco
from labelwise.formats.voc import Voc
from labelwise.kinds import KINDS

BOXES = KINDS.create("boxes")


def record(name: str, raw: Mapping[str, Any], **changes: Any) -> Record:
    """As a tool tells it that has no marks for what was looked at; a score makes it no guess."""
    return replace(BOXES.to_record(name, raw, ()), state="answered", **changes)


def write(
    form: Format, path: Path, labels: Mapping[str, Any], classes: Sequence[str], use: Writes = "labelled"
) -> list[str]:
    """Raw labels by the name of their image; gives what the format left out."""
    path.parent.mkdir(parents=True, exist_ok=True)
    records = [record(name, raw) for name, raw in labels.items()]
    return form.write(path, Head(classes=tuple(classes)), records, Writing(use, "boxes"))


def write_coco(path: Path, labels: Mapping[str, Any], classes: Sequence[str]) -> None:
    write(Coco(), path, labels, classes)


def write_voc(folder: Path, labels: Mapping[str, Any]) -> None:
    """Annotations alone, beside whatever lies there."""
    write(Voc(), folder, labels, (), "asked")


def raw_labels(
    form: Format, path: Path, use: Reads = "answers", size: tuple[int, int] | None = None
) -> dict[str, dict[str, Any]]:
    """Raw labels by the name of their image as the file writes it; of a size, where the file tells none."""
    head, records = form.read(path, use, Hints("boxes"))
    naming = Naming(ClassMap(head, shown=str(path)), head.classes, head)
    return {str(found.image): BOXES.from_record(found, naming, size) for found in records}
