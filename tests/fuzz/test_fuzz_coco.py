"""Broken COCO files: read, or refused in one line."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from mutations import amounts, survive

from labelwise.contracts.format import Hints
from labelwise.formats.coco import Coco

sys.path.append(str(Path(__file__).parents[1] / "formats"))

import test_coco_format


@amounts
@pytest.mark.parametrize(("use", "kind"), [("data", None), ("answers", "masks"), ("data", "points")])
def test_broken_files_are_read_or_refused(tmp_path, use, kind, count):
    good = test_coco_format.samples(tmp_path / "good")
    if kind == "points":
        good = [path for path in good if path.name == "coco2017"]
    survive(Coco(), use, good, tmp_path / "bad", count, Hints(kind))
