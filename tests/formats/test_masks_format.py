"""Samples of masks as picture files, for the contract of formats; what they hold is tested in test_png_masks.py."""

from __future__ import annotations

from pathlib import Path

import test_png_masks

from labelwise.contracts.format import Hints
from labelwise.formats import FORMATS


def samples(folder: Path) -> list[Path]:
    """Sets as people have them."""
    return test_png_masks.samples(folder)


def test_every_sample_has_masks(tmp_path):
    for path in samples(tmp_path):
        _, records = FORMATS.create("masks").read(path, "data", Hints("masks"))
        assert sum(record.pixels is not None for record in records) >= 1
