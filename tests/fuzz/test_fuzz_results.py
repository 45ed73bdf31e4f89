"""Broken predictions in JSON: read, or refused in one line."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from mutations import amounts, survive

from labelwise.contracts.format import Hints
from labelwise.formats.coco_results import CocoResults
from labelwise.formats.mmdet import MMDet
from labelwise.formats.ultralytics_json import UltralyticsJson

sys.path.append(str(Path(__file__).parents[1] / "formats"))

import test_coco_results_format
import test_mmdet
import test_ultralytics_json

SAMPLES = {
    CocoResults: test_coco_results_format.samples,
    MMDet: test_mmdet.samples,
    UltralyticsJson: test_ultralytics_json.samples,
}


@amounts
@pytest.mark.parametrize("form", SAMPLES)
@pytest.mark.parametrize("kind", [None, "points"])
def test_broken_predictions_are_read_or_refused(tmp_path, form, kind, count):
    good = SAMPLES[form](tmp_path / "good")
    survive(form(), "predictions", good, tmp_path / "bad", count, Hints(kind))
