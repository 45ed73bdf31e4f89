"""What reads no model trains nothing; what was trained before is found all the same."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from sklearn.datasets import load_digits

from commands import as_json, run
from labelwise.contracts.strategy import Strategy
from labelwise.project.project import Project
from labelwise.strategies import STRATEGIES


@pytest.fixture
def truth(tmp_path, monkeypatch) -> dict[str, str]:
    """A project of 80 digits of three classes on frozen pixels, 20 of them labelled."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    digits, known = load_digits(), {}
    for number in np.flatnonzero(digits.target < 3)[:80]:
        name = f"{number:03d}.png"
        Image.fromarray((digits.images[number] * 15).astype(np.uint8)).save(tmp_path / "photos" / name)
        known[name] = str(digits.target[number])
    run("init", "photos", "--classes", "0,1,2", "--backbone", "pixels")
    label(known, list(known)[:20])
    return known


def label(truth: dict[str, str], items) -> None:
    with Path("a.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("id", "label"), *((item, truth[item]) for item in items)])
    run("import", "a.csv")


def trainings() -> list[str]:
    return sorted(path.parent.name for path in Path(".labelwise/fits").glob("*/fit.json"))


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["random", "kmeans", "typiclust", "auto"])
def test_nothing_is_trained_for_what_reads_no_model(truth, tmp_path, name):
    found = as_json("suggest", "-n", 5, "-s", name)
    assert trainings() == []
    assert any("reads no model, so nothing was trained on the 20 label(s)" in note for note in found["notes"])
    record = Project(tmp_path).records()[-1]
    assert (record.fit_key, record.metrics, record.labels) == ("", {}, 20)
    assert any("nothing was trained" in note for note in record.notes), "the record says so"


@pytest.mark.heavy
def test_auto_trains_from_ten_labels_a_class_on(truth, tmp_path):
    label(truth, list(truth)[:35])
    found = as_json("suggest", "-n", 5)
    assert found["strategy"] == "auto", "the default of a new project"
    assert len(trainings()) == 1
    assert Project(tmp_path).records()[-1].fit_key == trainings()[0]


@pytest.mark.heavy
def test_what_was_trained_before_is_used_and_found(truth, tmp_path):
    accuracy = as_json("fit")["metrics"]
    before = trainings()
    found = as_json("suggest", "-n", 5, "-s", "random")
    record = Project(tmp_path).records()[-1]
    assert (record.fit_key, record.metrics) == (before[0], accuracy), "exactly these labels: the record of fit stays"
    assert all(pick["predicted"] for pick in found["picks"])
    label(truth, [pick["id"] for pick in found["picks"]])
    later = as_json("suggest", "-n", 5, "-s", "kmeans")
    assert trainings() == before
    assert any("what is predicted, the weights trained last say" in note for note in later["notes"])
    assert all(pick["predicted"] for pick in later["picks"])
    run("export", "picks.json")
    page = Path(as_json("report")["report"]).read_text()
    assert "The last model, of 20 labels" in page


@pytest.mark.heavy
def test_weights_of_another_configuration_are_no_obstacle(truth, tmp_path):
    run("fit")
    settings = yaml.safe_load(Path("labelwise.yaml").read_text())
    settings["learner"] = {"kind": "torch", "model": "lenet", "phases": [{"epochs": 1, "min_steps": 1}]}
    settings["input"] = {"size": 16, "channels": 1}
    Path("labelwise.yaml").write_text(yaml.safe_dump(settings))
    found = as_json("suggest", "-n", 5, "-s", "random")
    assert len(trainings()) == 1
    assert all(pick["predicted"] is None for pick in found["picks"])


def test_strategies_know_whether_they_read_the_model():
    def reads(name: str, **options: object) -> bool:
        made: Strategy = STRATEGIES.create(name, **options)
        return made.reads_model

    assert not any(reads(name) for name in ("random", "kmeans", "typiclust"))
    assert not reads("prefilter", first="random", then="kmeans")
    assert all(reads(name) for name in ("margin", "badge", "auto", "vaal"))
    assert reads("kmeans", features="task")
    assert reads("mix", strategies=("random", "margin"))


@pytest.mark.heavy
def test_auto_listens_to_predictions_from_the_start(truth, tmp_path):
    names = list(truth)[20:]
    rows = [f"{name},{0.5 if name == names[7] else 0.9},{0.45 if name == names[7] else 0.05},0.05" for name in names]
    Path("p.csv").write_text("\n".join(["id,0,1,2", *rows]) + "\n")
    found = as_json("suggest", "-n", 1, "--predictions", "p.csv")
    assert [pick["id"] for pick in found["picks"]] == [names[7]]
    assert any("auto acts as margin here" in note for note in found["notes"])
