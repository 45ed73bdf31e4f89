"""Nothing that cannot be taken back; two people's labels stand beside one another; classes join."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from commands import as_json, refused, run
from labelwise.project.project import Project

IMAGES = [f"{number:02d}.png" for number in range(8)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for number, name in enumerate(IMAGES):
        Image.fromarray(np.random.default_rng(number).integers(0, 255, (8, 8), np.uint8)).save(
            tmp_path / "photos" / name
        )
    run("init", "photos", "--classes", "cat,dog", "--backbone", "pixels")
    return tmp_path


def table(path: str, rows: dict[str, str]) -> str:
    Path(path).write_text("id,label\n" + "".join(f"{item},{label}\n" for item, label in rows.items()))
    return path


def signed(path: str, given: list[tuple[str, str, str, float]]) -> str:
    """Answers as Label Studio exports them: image, label ("" is a skip), who, seconds."""
    tasks: dict[str, list] = {}
    for image, label, who, seconds in given:
        choice = {"from_name": "c", "to_name": "image", "type": "choices", "value": {"choices": [label]}}
        tasks.setdefault(image, []).append({
            "id": len(tasks) * 10 + len(tasks.get(image, ())), "completed_by": {"email": who}, "lead_time": seconds,
            "was_cancelled": not label, "result": [choice] if label else [],
        })  # fmt: skip
    exported = [
        {"id": number, "data": {"image": f"/data/local-files/?d=photos/{image}"}, "annotations": annotations}
        for number, (image, annotations) in enumerate(tasks.items(), 1)
    ]
    Path(path).write_text(json.dumps(exported))
    return path


def labels(folder) -> dict[str, str]:
    return Project(folder).labels()


def events(folder) -> list[str]:
    return [event.kind for event in Project(folder).store.events() if event.kind != "added"]


# ---- taking back ----------------------------------------------------------------------------------------------------


@pytest.mark.heavy
def test_labels_are_taken_back_by_id_file_and_round_and_may_be_asked_again(folder):
    asked = [pick["id"] for pick in as_json("suggest", "-n", 4, "-s", "random")["picks"]]
    run("import", table("all.csv", dict.fromkeys(asked, "cat")))
    assert as_json("unlabel", asked[0])["taken_back"] == [asked[0]]
    assert "is not labelled: it is unlabelled" in refused("unlabel", asked[0])
    found = as_json("unlabel", "--file", table("two.csv", dict.fromkeys(asked[:2], "dog")))
    assert found["taken_back"] == [asked[1]]
    assert any("names 1 image(s) that are not labelled" in note and asked[0] in note for note in found["notes"])
    assert sorted(labels(folder)) == sorted(asked[2:])
    assert as_json("unlabel", "--round", 0)["taken_back"] == sorted(asked[2:])
    assert labels(folder) == {}
    assert as_json("suggest", "-n", 8, "-s", "random")["round"] == 1, "a round whose labels are gone was a round"
    assert "there is no round 5: they are 0 to 1" in refused("unlabel", "--round", 5)


@pytest.mark.heavy
def test_skips_are_taken_back(folder):
    run("import", table("skips.csv", {"00.png": "skip", "01.png": "skip", "02.png": "cat"}))
    assert Project(folder).progress_counts()["skipped"] == 2
    assert "took back 1 skip" in run("restore", "00.png").output
    assert as_json("restore", "--all")["taken_back"] == ["01.png"]
    assert Project(folder).progress_counts()["unlabelled"] == 7
    assert "it is labelled" in refused("restore", "02.png")
    assert "say which" in refused("restore")
    assert "did you mean" in refused("unlabel", "02.pgn")
    assert events(folder) == ["skipped", "skipped", "labelled", "restored", "restored"]


@pytest.mark.heavy
def test_equal_labels_come_in_once(folder):
    run("import", table("a.csv", {"00.png": "cat", "01.png": "dog"}))
    again = as_json("import", "a.csv")
    assert (again["labelled"], again["corrected"], again["further"], again["unchanged"]) == (0, 0, 0, 2)
    assert "imported as csv: 0 labelled, 2 as before" in run("import", "a.csv").output
    assert events(folder) == ["labelled", "labelled"]
    assert as_json("import", table("a.csv", {"00.png": "cat", "01.png": "cat"}))["corrected"] == 1
    assert events(folder) == ["labelled"] * 3


# ---- several people -------------------------------------------------------------------------------------------------


def test_two_people_are_both_kept_and_the_majority_counts(folder):
    given = [("00.png", "cat", "ann", 2.0), ("00.png", "dog", "bob", 3.0), ("01.png", "dog", "ann", 1.0)]
    found = as_json("import", signed("one.json", given))
    assert (found["labelled"], found["corrected"], found["further"]) == (2, 0, 1)
    assert any("1 image(s) have different labels of several annotators" in note for note in found["notes"])
    assert labels(folder) == {"00.png": "dog", "01.png": "dog"}, "in a tie the later one"
    pool = Project(folder).pool
    said = [(one.annotator, one.target, one.cost["seconds"]) for one in pool.labels.of(pool.position("00.png"))]
    assert said == [("ann", "cat", 2.0), ("bob", "dog", 3.0)]
    assert pool.cost()["seconds"] == 6.0
    third = as_json("import", signed("two.json", [("00.png", "cat", "eve", 1.0)]))
    assert (third["further"], third["corrected"]) == (1, 0)
    assert labels(folder)["00.png"] == "cat"
    page = Path(as_json("report")["report"]).read_text()
    assert "Annotators differ" in page
    assert "bob" in page


@pytest.mark.heavy
def test_a_person_corrects_their_own_label_and_nobody_elses(folder):
    run("import", signed("one.json", [("00.png", "cat", "ann", 1.0), ("00.png", "cat", "bob", 1.0)]))
    found = as_json("import", signed("two.json", [("00.png", "dog", "ann", 1.0)]))
    assert (found["corrected"], found["further"]) == (1, 0)
    assert labels(folder)["00.png"] == "dog"
    skip = as_json("import", signed("three.json", [("00.png", "", "eve", 1.0)]))
    assert skip["skipped"] == 0
    assert any("another annotator gave a label" in note for note in skip["notes"])
    run("import", table("last.csv", {"00.png": "cat"}))
    pool = Project(folder).pool
    assert [one.annotator for one in pool.labels.of(pool.position("00.png"))] == [""], "the last word"


# ---- classes --------------------------------------------------------------------------------------------------------


def test_a_class_joins_when_it_is_asked_to(folder):
    path = table("new.csv", {"00.png": "cat", "01.png": "bird"})
    assert "--add-classes takes new classes into the project" in refused("import", path)
    found = as_json("import", path, "--add-classes")
    assert found["classes"] == ["cat", "dog", "bird"]
    assert Project(folder).config.classes == ("cat", "dog", "bird")
    assert labels(folder) == {"00.png": "cat", "01.png": "bird"}
