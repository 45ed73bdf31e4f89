"""How many labels more: from a project's own rounds, on whatever test set there is now."""

from __future__ import annotations

from pathlib import Path

import pytest

import digit_photos
import labelwise as lw
from commands import as_json, refused, run
from digit_photos import answer

COUNT = 500


@pytest.fixture
def truth(tmp_path, monkeypatch) -> dict[str, str]:
    monkeypatch.chdir(tmp_path)
    return digit_photos.made(COUNT)


def a_round(truth: dict[str, str], size: int) -> None:
    answer(truth, [pick["id"] for pick in as_json("suggest", "-n", size, "-s", "margin")["picks"]])
    run("fit")


@pytest.mark.heavy
def test_rounds_are_carried_on_and_those_before_the_test_set_are_measured_on_it(truth):
    for _ in range(3):
        a_round(truth, 20)
    assert "holdout -n 50" in refused("advise")
    answer(truth, as_json("holdout", "-n", 100)["picks"])
    run("fit")
    assert "3 rounds measured on test images, and a learning curve" in refused("advise")
    page = Path(as_json("report")["report"]).read_text()
    assert "How many labels more?" in page
    assert "3 rounds measured on test images" in page
    a_round(truth, 20)
    a_round(truth, 20)
    found = as_json("advise", "--target", 0.97, "--worth", 0.5)
    assert [one["labels"] for one in found["rounds"]] == [20, 40, 60, 80, 100]
    assert found["rounds"][-1]["accuracy"] == as_json("evaluate")["metrics"]["accuracy"]
    assert [one["labels"] for one in found["ahead"]] == [120, 140, 180, 260]
    gain = found["ahead"][0]["gain"]
    assert gain["low"] < gain["middle"] < gain["high"]
    assert sum(found["families"].values()) == pytest.approx(1)
    assert found["horizon"] == 400
    assert any("there are 400 images" in note for note in found["notes"])
    said = run("advise", "--target", 0.97).output
    assert "the next 20 labels bring" in said
    assert "0.970 is" in said
    page = Path(as_json("report")["report"]).read_text()
    assert "the next 20 labels bring".capitalize() in page
    assert lw.open(".").advise(10).advice.ahead[0].more == 10


@pytest.mark.heavy
def test_what_a_person_asks_for_is_checked(truth):
    assert "holdout" in refused("advise")
    answer(truth, as_json("holdout", "-n", 60)["picks"])
    assert "no model was measured on the test images yet" in refused("advise")
    for _ in range(4):
        a_round(truth, 15)
    assert "--target is 90, and no model is better than 1" in refused("advise", "--target", 90)
    assert "--worth is -1 points" in refused("advise", "--worth", -1)
    assert as_json("advise", "--worth", 50)["stop"]
    assert not as_json("advise", "--worth", 0)["stop"]
    assert as_json("advise", "--target", 0.1)["stop"]
