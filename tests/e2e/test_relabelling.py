"""Labels that look wrong: found, shown, asked about again like any pick, answered, confirmed, cancelled."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

import labelwise as lw
from commands import as_json, refused, run
from labelwise.project.setup import open_project

pytestmark = pytest.mark.heavy
CLASSES = ("zero", "one", "two")
#: images with a wrong label
WRONG = 5


@pytest.fixture
def truth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A project of 90 digits of three kinds, 60 of them labelled, five of those wrongly; what they are."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "photos"
    folder.mkdir()
    digits = load_digits()
    rows = np.flatnonzero(digits.target < 3)[:90]
    truth = {}
    for number, row in enumerate(rows):
        Image.fromarray((digits.images[row] * 15).astype(np.uint8)).save(folder / f"{number:02d}.png")
        truth[f"{number:02d}.png"] = CLASSES[digits.target[row]]
    run("init", "photos", "--backbone", "pixels", "--classes", ",".join(CLASSES))
    answers(Path("labels.csv"), planted(truth))
    run("import", "labels.csv")
    return truth


def planted(truth: dict[str, str]) -> dict[str, str]:
    """Sixty labels, of which every twelfth is another class."""
    found = {item: truth[item] for item in sorted(truth)[:60]}
    for item in sorted(found)[:: 60 // WRONG]:
        found[item] = CLASSES[(CLASSES.index(found[item]) + 1) % 3]
    return found


def answers(path: Path, rows: dict[str, str]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("id", "label"), *rows.items()])
    return path


def wrong(truth: dict[str, str]) -> set[str]:
    return {item for item, label in planted(truth).items() if label != truth[item]}


def test_planted_errors_come_first_and_nothing_changes(truth):
    before = len(list(open_project(".").store.events()))
    found = as_json("relabel", "-n", WRONG)
    assert len({one["id"] for one in found["labels"]} & wrong(truth)) >= WRONG - 1
    assert sum(one["suspect"] for one in found["labels"] if one["id"] in wrong(truth)) >= WRONG - 2
    assert found["judged"] == 60
    assert found["labels"][0]["why"].startswith("looks like ")
    assert found["labels"][0]["label"] == repr(planted(truth)[found["labels"][0]["id"]])
    assert open_project(".").progress_counts()["labelled"] == 60
    assert len(list(open_project(".").store.events())) == before


def test_a_page_shows_them(truth):
    out = run("relabel", "-n", 4, "-o", "doubtful.html").stdout
    assert "of 60 labels look wrong" in out
    page = Path("doubtful.html").read_text()
    assert page.count("data:image/jpeg") == 4
    assert "looks like" in page
    assert "ends in .html" in refused("relabel", "-o", "page.txt")


def test_a_round_mixes_them_in_and_takes_any_answer(truth):
    asked = as_json("suggest", "-n", 20, "--relabel", 0.2, "--strategy", "kmeans")
    again = [pick for pick in asked["picks"] if pick["strategy"] == "relabel"]
    assert len(asked["picks"]) == 20
    assert len(again) == 4
    assert len({pick["id"] for pick in again} & wrong(truth)) >= 3
    assert any("the same answer confirms it" in note for note in asked["notes"])
    # the round is one round, comes back as it was, and goes out as any
    once_more = as_json("suggest")
    assert [pick["id"] for pick in once_more["picks"]] == [pick["id"] for pick in asked["picks"]]
    assert once_more["strategy"] == "kmeans and relabel"
    run("export", "picks.csv", "picks.html", "picks.json")
    # labels count until they are answered
    assert open_project(".").progress_counts()["labelled"] == 60
    done = as_json("import", answers(Path("back.csv"), {pick["id"]: truth[pick["id"]] for pick in asked["picks"]}))
    assert done["labelled"] == 16
    assert (done["corrected"], done["unchanged"]) in ((4, 0), (3, 1))
    opened = open_project(".")
    assert not len(opened.pool.pending)
    assert all(opened.labels()[pick["id"]] == truth[pick["id"]] for pick in asked["picks"])
    run("report")


def test_the_same_answer_confirms_a_label_and_it_is_not_asked_again(truth):
    first = [
        pick["id"] for pick in as_json("suggest", "-n", 10, "--relabel", 0.2)["picks"] if pick["strategy"] == "relabel"
    ]
    assert len(first) == 2
    before = planted(truth)
    done = as_json("import", answers(Path("same.csv"), {item: before[item] for item in first}))
    assert (done["unchanged"], done["corrected"]) == (2, 0)
    run("cancel")
    assert not len(open_project(".").pool.pending)
    later = as_json("relabel")
    assert not {one["id"] for one in later["labels"]} & set(first)
    assert any("2 labels left out: they were asked again before" in note for note in later["notes"])


def test_cancel_takes_back_the_question_and_not_the_label(truth):
    asked = as_json("suggest", "-n", 10, "--relabel", 0.5)["picks"]
    again = [pick["id"] for pick in asked if pick["strategy"] == "relabel"]
    run("cancel")
    opened = open_project(".")
    assert opened.progress_counts()["labelled"] == 60
    assert not len(opened.pool.pending)
    assert {one["id"] for one in as_json("relabel", "-n", 60)["labels"]} >= set(again)


def test_a_label_taken_back_while_it_is_asked_again_is_no_question_any_more(truth):
    asked = as_json("suggest", "-n", 10, "--relabel", 0.2)["picks"]
    item = next(pick["id"] for pick in asked if pick["strategy"] == "relabel")
    run("unlabel", item)
    opened = open_project(".")
    position = opened.pool.position(item)
    assert opened.pool.is_free(position)
    assert position not in opened.pool.pending


def test_a_round_may_be_of_doubtful_labels_alone(truth):
    asked = as_json("suggest", "-n", 3, "--relabel", 1)
    assert {pick["strategy"] for pick in asked["picks"]} == {"relabel"}
    assert len(asked["picks"]) == 3
    assert asked["round"] == 0
    assert len(as_json("suggest")["picks"]) == 3


def test_fewer_doubtful_labels_than_wanted_leave_room_for_new_ones(truth):
    asked = as_json("suggest", "-n", 30, "--relabel", 0.9, "--strategy", "kmeans")
    again = [pick for pick in asked["picks"] if pick["strategy"] == "relabel"]
    assert len(asked["picks"]) == 30
    assert 4 <= len(again) < 15
    assert any("27 were wanted" in note for note in asked["notes"])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--relabel", 0), "above 0 and at most 1"),
        (("--relabel", 1.5), "above 0 and at most 1"),
        (("-n", "all", "--relabel", 0.2), "asks nobody"),
    ],
)
def test_a_share_that_is_none_is_refused(truth, options, says):
    assert says in refused("suggest", *options)


def test_too_few_labels_are_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for number in range(12):
        Image.new("L", (8, 8), 20 * number).save(tmp_path / "photos" / f"{number}.png")
    run("init", "photos", "--backbone", "pixels", "--classes", "a,b")
    run("import", answers(tmp_path / "some.csv", {"0.png": "a", "1.png": "b"}))
    assert "2 labels are too few" in refused("relabel")
    assert "2 labels are too few" in refused("suggest", "--relabel", 0.2)


def test_several_annotators_are_trusted_as_far_as_they_agree(truth):
    tasks = []
    for number, item in enumerate(sorted(truth)[:60]):
        for who in ("ann", "bob"):
            label = truth[item]
            if who == "bob" and number % 10 == 0:
                label = CLASSES[(CLASSES.index(label) + 1) % 3]
            tasks.append((item, label, who))
    with Path("two.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("id", "label", "annotator"), *tasks])
    run("import", "two.csv")
    found = as_json("relabel", "-n", 6)
    # what nobody signed stands beside them
    disputed = wrong(truth) | {item for number, item in enumerate(sorted(truth)[:60]) if number % 10 == 0}
    assert len({one["id"] for one in found["labels"]} & disputed) >= 5
    assert found["labels"][0]["annotators"] == ["ann", "bob"]


def test_the_same_in_python(truth):
    opened = lw.open(".")
    found = lw.relabel(opened, WRONG)
    assert len({one.id for one in found.labels} & wrong(truth)) >= WRONG - 1
    asked = opened.suggest(10, relabel=0.3)
    assert sum(pick.strategy == "relabel" for pick in asked) == 3


def test_where_people_label_on_a_server_nothing_is_asked_again(truth):
    with Path("labelwise.yaml").open("a") as file:
        file.write("tool: {name: label_studio, url: http://127.0.0.1:9, number: 1, key: abc}\n")
    assert "correct them there" in refused("suggest", "--relabel", 0.2)
