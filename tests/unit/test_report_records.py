"""Records of studies: strict JSON out, the same records back, one-line errors."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest

from labelwise.campaign.records import RoundRecord, RunRecord, Study, plain, read_study, write_study
from labelwise.contracts.chance import Chance
from labelwise.errors import FormatError, StateError


def a_study():
    first = RoundRecord(
        round=0,
        labels=20,
        metrics={"accuracy": 0.5, "nll": 1.25},
        cost={"images": 20.0},
        class_counts={"a": 12, "b": 8},
        picked=['x/"q"\n.png', "é.png"],
        scores=[0.5, 0.25],
        notes=["cold start"],
        fit_seconds=1.5,
        collect_seconds=0.5,
        select_seconds=0.25,
        peak_mb=512.0,
        train_loss=0.125,
        fit_key="abc",
    )
    last = dataclasses.replace(first, round=1, labels=22, picked=[], scores=None)
    runs = [RunRecord(strategy="random", seed=0, rounds=[first, last]), RunRecord(strategy="m", seed=1, rounds=[])]
    return Study(
        name="s",
        task="classification",
        primary="accuracy",
        runs=runs,
        full=[0.9, 0.95],
        settings={"phases": [{"epochs": 3}], "warm": False},
        environment={"threads": 2},
        pool={"items": 100},
        warnings=["w"],
        examples={"é.png": "/data/é.png"},
        chance=Chance(0.5, "naming 'a' every time", images=40),
    )


def test_round_trip(tmp_path):
    study = a_study()
    path = write_study(study, tmp_path / "deep" / "study.json")
    assert read_study(path) == study
    assert not list(path.parent.glob("*.part"))


def test_strict_json():
    record = RoundRecord(
        round=0, labels=1, metrics={"a": math.nan, "b": math.inf}, scores=[math.nan], train_loss=-math.inf
    )
    text = json.dumps(record.to_json(), allow_nan=False)
    back = RoundRecord.from_json(json.loads(text))
    assert math.isnan(back.metrics["a"])
    assert math.isnan(back.metrics["b"])
    assert math.isnan(back.scores[0])
    assert math.isnan(back.train_loss)


def test_plain_takes_what_settings_hold():
    value = {
        "p": Path("a/b"),
        1: {2, 1},
        "n": np.float32(0.5),
        "a": np.array([1, 2]),
        "o": object,
        "nan": np.float64("nan"),
    }
    assert plain(value)["p"] == "a/b"
    assert plain(value)["1"] == [1, 2]
    assert plain(value)["n"] == 0.5
    assert plain(value)["a"] == [1, 2]
    assert plain(value)["nan"] is None
    json.dumps(plain(value), allow_nan=False)


def test_unknown_keys_are_ignored():
    data = a_study().to_json() | {"later": 1}
    data["runs"][0]["rounds"][0]["later"] = 2
    assert Study.from_json(data) == a_study()


@pytest.mark.parametrize("key", ["name", "primary"])
def test_missing_key(key):
    data = a_study().to_json()
    del data[key]
    with pytest.raises(FormatError, match=key):
        Study.from_json(data)


def test_wrong_value():
    data = a_study().to_json()
    data["runs"][0]["rounds"][0]["metrics"]["accuracy"] = "high"
    with pytest.raises(FormatError, match="'high'"):
        Study.from_json(data)


def test_newer_version(tmp_path):
    path = tmp_path / "study.json"
    path.write_text(json.dumps(a_study().to_json() | {"format": 99}))
    with pytest.raises(StateError, match=r"study.json: .*update labelwise"):
        read_study(path)


@pytest.mark.parametrize("text", ["{", "[]", '"x"', "\xff"])
def test_not_a_study(tmp_path, text):
    path = tmp_path / "study.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(FormatError, match=r"study\.json"):
        read_study(path)


def test_records_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        a_study().name = "x"
