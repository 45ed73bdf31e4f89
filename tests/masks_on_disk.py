"""Masks as files, written by the formats themselves: what tests read again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from labelwise.contracts.format import Format, Writing
from labelwise.contracts.record import Head, Mask, Record, Where
from labelwise.formats.cityscapes import Cityscapes
from labelwise.formats.coco import Coco
from labelwise.formats.mask_coding import MaskCoding
from labelwise.formats.png_masks import PngMasks
from labelwise.formats.voc_masks import VocMasks

Masks = Iterable[tuple[str, np.ndarray]]


def records(masks: Masks, splits: Mapping[str, str] | None = None) -> Iterator[Record]:
    """A record for each mask of a whole image."""
    for name, mask in masks:
        height, width = mask.shape
        pixels = Mask((width, height), lambda mask=mask: mask)
        yield Record(Where(name), name, size=(width, height), pixels=pixels, split=(splits or {}).get(name))


def write(
    form: Format, path: Path, masks: Masks, coding: MaskCoding, splits: Mapping[str, str] | None = None, **options: str
) -> list[str]:
    """A labelled set without its images; gives what the format left out."""
    head = Head(classes=coding.classes, palette=coding.palette)
    return form.write(path, head, records(masks, splits), Writing("labelled", "masks", options=options))


def write_png_masks(folder: Path, masks: Masks, coding: MaskCoding) -> None:
    write(PngMasks(), folder, masks, coding)
    (folder / "train.txt").unlink(missing_ok=True)


def write_voc_masks(
    folder: Path, masks: Masks, coding: MaskCoding, lists: Mapping[str, Iterable[str]] | None = None
) -> None:
    write(VocMasks(), folder, masks, coding, {name: word for word, names in (lists or {}).items() for name in names})


def write_cityscapes(folder: Path, masks: Masks, classes: tuple[str, ...]) -> None:
    write(Cityscapes(), folder, masks, MaskCoding(classes))


def write_coco_masks(path: Path, masks: Masks, classes: tuple[str, ...], **options: str) -> list[str]:
    return write(Coco(), path, masks, MaskCoding(classes), **options)
