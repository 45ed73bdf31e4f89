"""Cityscapes at the level of records."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from labelwise.contracts.format import Hints
from labelwise.formats import FORMATS
from masks_on_disk import write_cityscapes

CLASSES = ("sky", "car", "road")


def samples(folder: Path) -> list[Path]:
    """Two cities in two splits."""
    names = {
        "train/bonn/bonn_0_leftImg8bit.png": np.zeros((6, 8), np.uint8),
        "val/ulm/ulm_0_leftImg8bit.png": np.ones((6, 8), np.uint8),
    }
    for name in names:
        file = folder / "set/leftImg8bit" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 6)).save(file)
    write_cityscapes(folder / "set", names.items(), CLASSES)
    return [folder / "set"]


def test_records_hold_pixels_and_splits(tmp_path):
    [path] = samples(tmp_path)
    head, found = FORMATS.create("cityscapes").read(path, "data", Hints("masks"))
    records = sorted(found, key=lambda record: str(record.image))
    assert [record.split for record in records] == ["train", "test"], "as published: the test masks are not public"
    assert [head.classes[int(record.pixels.read()[0, 0])] for record in records] == ["sky", "car"]
