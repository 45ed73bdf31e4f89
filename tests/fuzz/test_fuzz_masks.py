"""Broken copies of folders of masks, as data sets and as answers: read, or refused in one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from mutations import amounts, survive
from PIL import Image

from labelwise.contracts.format import Hints
from labelwise.formats.mask_coding import MaskCoding
from labelwise.formats.png_masks import PngMasks
from labelwise.formats.voc_masks import VocMasks
from masks_on_disk import write_png_masks, write_voc_masks

CLASSES = ("road", "car", "sky")


def _samples(folder: Path) -> list[Path]:
    """An export that was filled in, a set of a tool with lists, and VOC's layout."""
    masks = [(f"{n}.jpg", np.random.default_rng(n).integers(0, 3, (7, 9)).astype(np.uint8)) for n in range(2)]
    for name in ("asked/images", "voc/JPEGImages"):
        (folder / name).mkdir(parents=True)
        for image, _ in masks:
            Image.new("RGB", (9, 7)).save(folder / name / image)
    write_png_masks(folder / "asked", masks, MaskCoding(CLASSES))
    items = [
        {"id": "0.jpg", "path": "/d/0.jpg", "size": [9, 7], "answer": "masks/0.png"},
        {"id": "1.jpg#3", "path": "/d/1.jpg", "size": [9, 7], "answer": "masks/1.png", "box": [2, 1, 4, 3]},
    ]
    listing = {"format": "labelwise-asked-masks", "version": 1, "classes": list(CLASSES), "items": items}
    (folder / "asked/asked.json").write_text(json.dumps(listing))
    (folder / "asked/val.txt").write_text("images/1.jpg masks/1.png\n")
    (folder / "asked/labelmap.txt").write_text("road:0,0,0::\ncar:128,0,0::\nsky:0,128,0::\n")
    write_voc_masks(folder / "voc", masks, MaskCoding(CLASSES), {"val": ["1.jpg"]})
    return [folder / "asked", folder / "voc"]


@amounts
@pytest.mark.parametrize("use", ["data", "answers"])
def test_broken_folders_are_read_or_refused(tmp_path, count, use):
    asked, voc = _samples(tmp_path / "good")
    hints = Hints(classes=CLASSES if use == "answers" else ())
    survive(PngMasks(), use, [asked], tmp_path / "bad", count // 2, hints)
    survive(VocMasks(), use, [voc], tmp_path / "bad", count // 2, hints)
