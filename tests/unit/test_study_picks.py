"""The picks of a run as files for other tools: from the highest score down, whole, written once."""

from __future__ import annotations

import csv
import json

import pytest

import tiny
from labelwise.campaign import records
from labelwise.campaign.records import RoundRecord, read_study
from labelwise.config import RecipeConfig, parse
from labelwise.errors import StateError
from labelwise.studies.comparison import Comparison
from labelwise.studies.picks import write_picks

NAMED = "/photos/{}.jpg".format
RUN = [
    RoundRecord(round=0, labels=2, metrics={}, picked=["a", "b", "c"], scores=[0.5, -1.0, 2.0]),
    RoundRecord(round=1, labels=5, metrics={}, picked=["é", "d"]),
    RoundRecord(round=2, labels=7, metrics={}),
]


def _files(folder):
    return {file.name: file.read_bytes() for file in sorted((folder / "picks").iterdir())}


def test_scores_fall_and_methods_without_any_keep_their_order(tmp_path):
    write_picks(tmp_path, RUN, NAMED)
    assert _files(tmp_path) == {
        "round-00.csv": b"name,entropy_value\r\n/photos/c.jpg,2.0\r\n/photos/a.jpg,0.5\r\n/photos/b.jpg,-1.0\r\n",
        "round-00.json": b'[\n "c",\n "a",\n "b"\n]',
        "round-01.csv": "name,entropy_value\r\n/photos/é.jpg,0.0\r\n/photos/d.jpg,0.0\r\n".encode(),
        "round-01.json": b'[\n "\\u00e9",\n "d"\n]',
    }


@pytest.mark.parametrize("lost", ["round-00.csv", "round-00.json", "round-01.csv"])
def test_what_is_missing_is_written_and_nothing_else_is_touched(tmp_path, lost):
    write_picks(tmp_path, RUN, NAMED)
    whole = _files(tmp_path)
    (tmp_path / "picks" / lost).unlink()
    kept = tmp_path / "picks" / ("round-01.json" if lost.startswith("round-00") else "round-00.json")
    stamp = kept.stat().st_mtime_ns
    write_picks(tmp_path, RUN, NAMED)
    assert _files(tmp_path) == whole
    assert kept.stat().st_mtime_ns == stamp


@pytest.mark.parametrize("broken", [1, 2, 3])
def test_a_write_that_breaks_off_leaves_nothing_half(tmp_path, monkeypatch, broken):
    write_picks(tmp_path / "whole", RUN, NAMED)
    count, write = [0], records.Path.write_bytes

    def fails(path, data):
        count[0] += 1
        if count[0] == broken:
            write(path, data[:5])
            raise OSError(28, "No space left on device")
        return write(path, data)

    monkeypatch.setattr(records.Path, "write_bytes", fails)
    with pytest.raises(StateError, match="No space left on device"):
        write_picks(tmp_path / "run", RUN, NAMED)
    there, whole = _files(tmp_path / "run"), _files(tmp_path / "whole")
    assert there.items() <= whole.items()
    write_picks(tmp_path / "run", RUN, NAMED)
    assert _files(tmp_path / "run") == whole


@pytest.mark.heavy
def test_every_row_seed_and_round_of_a_study_has_both_files(tmp_path):
    recipe = {
        "data": {"source": "unused"},
        "input": {"size": 16, "channels": 1, "augment": "none"},
        "learner": {"kind": "tiny:counting_learner"},
        "features": {"backbone": "pixels", "size": 8},
        "strategies": ["random", "margin", {"name": "discriminative", "sub_batches": 3, "epochs": 5}],
        **{"initial": 10, "batch": 6, "rounds": 2, "seeds": [0, 1], "full": False, "again": 0},
    }
    source = tiny.digits(80, test=20)
    study = Comparison(parse(RecipeConfig, recipe, where="test"), source, tmp_path).run()
    folders = sorted(tmp_path.glob("runs/*/seed-*/picks"))
    assert len(folders) == 3 * 2
    for run in study.runs:
        (folder,) = [each for each in folders if each.match(f"runs/{run.strategy.split('(')[0]}-*/seed-{run.seed}/*")]
        assert len(list(folder.iterdir())) == 2 * 2
        for record in run.rounds[:-1]:
            with (folder / f"round-{record.round:02}.csv").open(newline="") as file:
                head, *rows = csv.reader(file)
            scores = [float(score) for _, score in rows]
            ids = json.loads((folder / f"round-{record.round:02}.json").read_text())
            assert head == ["name", "entropy_value"]
            assert [name for name, _ in rows] == [source.path(item) for item in ids]
            assert sorted(ids) == sorted(record.picked)
            assert scores == sorted(scores, reverse=True)
            assert scores == (sorted(record.scores, reverse=True) if record.scores else [0.0] * 6)
    gone = folders[0] / "round-01.csv"
    before = gone.read_bytes()
    gone.unlink()
    Comparison(parse(RecipeConfig, recipe, where="test"), source, tmp_path).run()
    assert gone.read_bytes() == before, "a study that was finished gets what it lacks"
    assert read_study(tmp_path / "study.json").runs[0].rounds[0].picked == study.runs[0].rounds[0].picked
