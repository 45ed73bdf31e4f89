"""All labels of a pool so far as files: for a training elsewhere, for a check by eye, for the next project."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from labelwise.contracts.source import Source
from labelwise.contracts.targets import Mask
from labelwise.data.mask_labels import mask_of
from labelwise.errors import FormatError
from labelwise.formats.boxes import BoxLabels
from labelwise.formats.coco import write_coco
from labelwise.formats.coco_masks import write_coco_masks
from labelwise.formats.delimited import write_rows
from labelwise.formats.files import write_whole
from labelwise.formats.json_file import dump_json
from labelwise.formats.mask_coding import MaskCoding
from labelwise.formats.mask_folder import write_masks
from labelwise.formats.voc import write_voc
from labelwise.formats.yolo import write_yolo


def write_classes(out: Path, kind: str, labels: Mapping[str, Any]) -> None:
    """A table of ``id`` and ``label``, csv or json, as ``import`` reads it.

    Raises:
        FormatError: a label that is no class name.
        StateError: the file cannot be written.
    """
    for item, label in labels.items():
        if not isinstance(label, str):
            raise FormatError(f"the label of {item!r} is {label!r:.40}: a table has place for one class an image")
    if kind == "json":
        rows = [{"id": item, "label": label} for item, label in labels.items()]
        write_whole(out, dump_json(rows, str(out)))
        return
    write_whole(out, write_rows([("id", "label"), *labels.items()]).encode())


def write_boxes(out: Path, kind: str, labels: Mapping[str, Any], classes: tuple[str, ...]) -> list[str]:
    """One file (coco), or a folder of files (voc, yolo).

    Returns:
        What the format has no place for, one line each.

    Raises:
        FormatError: a name that the format cannot write.
        StateError: a file cannot be written.
    """
    if kind == "yolo":
        return write_yolo(out, BoxLabels({f"images/{name}": label for name, label in labels.items()}, classes))
    (write_coco if kind == "coco" else write_voc)(out, BoxLabels(labels, classes))
    return []


def write_labelled_masks(out: Path, kind: str, labels: Mapping[str, Any], source: Source, coding: MaskCoding) -> None:
    """A folder of PNG files (masks), or one file (coco); the regions of an image in one mask, its rest without a class.

    Raises:
        StateError: a file cannot be written.
    """
    masks = _whole_masks(labels, source)
    if kind == "coco":
        write_coco_masks(out, masks, coding.classes)
    else:
        out.mkdir(parents=True, exist_ok=True)
        write_masks(out, masks, coding)


def _whole_masks(labels: Mapping[str, Any], source: Source) -> Iterator[tuple[str, np.ndarray]]:
    """Image by image, so that one mask is in memory at a time."""
    parts: dict[str, list[str]] = defaultdict(list)
    for item in labels:
        parts[source.within(item)[0]].append(item)
    for image, items in parts.items():
        yield image, Mask.join([mask_of(labels[item]) for item in items]).whole().numpy()
