"""PASCAL VOC masks at the level of records."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from labelwise.contracts.format import Hints
from labelwise.formats import FORMATS
from labelwise.formats.mask_coding import MaskCoding
from masks_on_disk import write_voc_masks

CLASSES = ("road", "car", "sky")


def samples(folder: Path) -> list[Path]:
    """A set with lists and a labelmap."""
    masks = {f"{n}.jpg": np.full((6, 8), n, np.uint8) for n in range(3)}
    for name in masks:
        (folder / "set/JPEGImages").mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 6)).save(folder / "set/JPEGImages" / name)
    write_voc_masks(folder / "set", masks.items(), MaskCoding(CLASSES), {"train": ["0.jpg", "1.jpg"], "val": ["2.jpg"]})
    return [folder / "set"]


def test_records_hold_pixels_classes_and_splits(tmp_path):
    [path] = samples(tmp_path)
    head, found = FORMATS.create("voc_masks").read(path, "data", Hints("masks"))
    records = sorted(found, key=lambda record: str(record.image))
    assert head.classes == CLASSES
    assert [record.pixels.read().max() for record in records] == [0, 1, 2]
    assert [record.split for record in records][2] == "val"
