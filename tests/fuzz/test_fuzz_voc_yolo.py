"""Broken sets of PASCAL VOC and YOLO, and broken settings: read, or refused in one line."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from mutations import amounts, survive, survive_reading

from labelwise.formats.voc import Voc
from labelwise.formats.yaml_text import read_yaml_text
from labelwise.formats.yolo import Yolo

sys.path.append(str(Path(__file__).parents[1] / "formats"))

import test_voc
import test_yolo


@amounts
@pytest.mark.parametrize("use", ["data", "answers"])
@pytest.mark.parametrize(("form", "module"), [(Yolo(), test_yolo), (Voc(), test_voc)], ids=["yolo", "voc"])
def test_broken_sets_are_read_or_refused(tmp_path, form, module, use, count):
    survive(form, use, module.samples(tmp_path / "good"), tmp_path / "bad", count)


@amounts
def test_broken_predictions_are_read_or_refused(tmp_path, count):
    survive(Yolo(), "predictions", test_yolo.predicted_samples(tmp_path / "good"), tmp_path / "bad", count)


@amounts
def test_broken_settings_are_read_or_refused(tmp_path, count):
    text = "path: ../cats\ntrain: [images/a, images/b]\nval: images/c\nnc: 3\nnames:\n  0: no\n  1: &x yes\n  2: *x\n"
    good = tmp_path / "data.yaml"
    good.write_text(text + "kpt_shape: [17, 3]\nroboflow: {workspace: w, \"a b\": 'c'}\n", encoding="utf-8")
    assert survive_reading(read_yaml_text, [good], tmp_path / "bad", count, seconds=1) > count / 20
