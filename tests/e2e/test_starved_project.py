"""A project whose network got too few steps is told so by what it runs; one that had enough is not."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from sklearn.datasets import load_digits

from commands import as_json, run


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """60 digits, 40 of them labelled; LeNet, at most eight steps."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    digits = load_digits()
    for number in range(60):
        Image.fromarray((digits.images[number] * 15).astype(np.uint8)).save(tmp_path / "photos" / f"{number:02d}.png")
    run("init", "photos", "--classes", ",".join("0123456789"), "--backbone", "pixels")
    settings = yaml.safe_load(Path("labelwise.yaml").read_text())
    phase = {"batch_size": 20, "max_steps": 8, "lr": 0.0001}
    settings |= {"learner": {"kind": "torch", "model": "lenet", "phases": [phase]}, "input": {"size": 16}}
    Path("labelwise.yaml").write_text(yaml.safe_dump(settings))
    with Path("a.csv").open("w", newline="") as file:
        rows = [(f"{number:02d}.png", str(digits.target[number])) for number in range(40)]
        csv.writer(file).writerows([("id", "label"), *rows])
    run("import", "a.csv")
    return tmp_path


@pytest.mark.heavy
def test_fit_suggest_and_report_say_it_first(project):
    said = run("fit").stdout
    first = said.splitlines()[0]
    assert first.startswith("trained on 40 labels (")
    assert first.endswith("; 8 steps, augmentation shift)")
    assert "the training may be too short to learn from" in said
    assert "max_steps: 8 allows fewer than 100 steps" in said
    assert said.index("max_steps: 8") < said.index("nothing says how good the model is")
    notes = as_json("suggest", "-n", 5, "-s", "margin")["notes"]
    assert notes[0].startswith("the training may be too short to learn from")
    run("report", "--out", "page.html")
    assert "may be too short to learn from" in Path("page.html").read_text()


@pytest.mark.heavy
def test_a_model_at_chance_is_said_and_one_that_has_learnt_is_not(project):
    digits = load_digits()
    run("holdout", "-n", 19)
    asked = [pick["id"] for pick in as_json("suggest")["picks"]]
    with Path("tests.csv").open("w", newline="") as file:
        rows = [(item, str(digits.target[int(item[:2])])) for item in asked]
        csv.writer(file).writerows([("id", "label"), *rows])
    run("import", "tests.csv")
    most = max(Counter(label for _, label in rows).values()) / 19
    said = run("fit").stdout
    assert f"does not stand out from the {most:.3f} that naming" in said
    assert "every time gives on 19 test images" in said
    settings = yaml.safe_load(Path("labelwise.yaml").read_text())
    settings["learner"]["phases"] = [{"batch_size": 20, "min_steps": 300, "lr": 0.003}]
    Path("labelwise.yaml").write_text(yaml.safe_dump(settings))
    assert "stand out" not in run("fit").stdout
