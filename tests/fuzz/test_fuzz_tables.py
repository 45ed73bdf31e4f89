"""Broken tables and lists: read, or refused in one line."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from mutations import amounts, survive

from labelwise.formats.csv_table import Csv
from labelwise.formats.deeplabcut import DeepLabCut
from labelwise.formats.image_list import ImageList
from labelwise.formats.json_labels import JsonLabels
from labelwise.formats.maps_npz import Maps
from labelwise.formats.npz_predictions import NpzPredictions
from labelwise.formats.one_hot_csv import OneHotCsv
from labelwise.formats.probabilities_csv import ProbabilitiesCsv
from labelwise.formats.sleap_csv import SleapCsv
from labelwise.formats.tensorflow_csv import TensorflowCsv

sys.path.append(str(Path(__file__).parents[1] / "formats"))

import test_csv
import test_deeplabcut
import test_image_list
import test_json
import test_maps
import test_npz
import test_one_hot_csv
import test_probabilities_csv
import test_sleap_csv
import test_tensorflow_csv

READERS = [
    (Csv(), test_csv, "data"),
    (Csv(), test_csv, "answers"),
    (JsonLabels(), test_json, "data"),
    (JsonLabels(), test_json, "answers"),
    (OneHotCsv(), test_one_hot_csv, "data"),
    (ProbabilitiesCsv(), test_probabilities_csv, "predictions"),
    (TensorflowCsv(), test_tensorflow_csv, "data"),
    (ImageList(), test_image_list, "data"),
    (NpzPredictions(), test_npz, "predictions"),
    (Maps(), test_maps, "predictions"),
    (DeepLabCut(), test_deeplabcut, "data"),
    (DeepLabCut(), SimpleNamespace(samples=test_deeplabcut.predicted_samples), "predictions"),
    (SleapCsv(), test_sleap_csv, "data"),
    (SleapCsv(), test_sleap_csv, "predictions"),
]


@amounts
@pytest.mark.parametrize(("form", "module", "use"), READERS, ids=lambda one: getattr(one, "name", None))
def test_broken_tables_are_read_or_refused(tmp_path, form, module, use, count):
    survive(form, use, module.samples(tmp_path / "good"), tmp_path / "bad", count)
