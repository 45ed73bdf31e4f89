"""Weights that were trained with an extra head of a strategy serve every later command, and so do those without one."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from sklearn.datasets import load_digits

from commands import as_json, refused, run

CODE = """
from dataclasses import dataclass

import torch
from torch import nn

from labelwise.contracts.learner import Auxiliary
from labelwise.contracts.strategy import Needs, Step
from labelwise.signals.plain import HeadOutput
from labelwise.strategies.scored import Scored


class Net(nn.Module):
    def __init__(self, classes, spec):
        super().__init__()
        self.hidden = nn.Linear(64, 12)
        self.head = nn.Linear(12, classes)

    def forward(self, images):
        return self.head(torch.relu(self.hidden(images[:, 0].flatten(1))))


@dataclass(frozen=True)
class Guess(Auxiliary):
    name = "guess"
    taps: tuple[str, ...] = ("hidden",)
    width: int = 1

    def build(self, widths):
        return nn.Sequential(nn.Linear(widths["hidden"], self.width), nn.Linear(self.width, 1))

    def loss(self, head, taps, loss_B, progress):
        if self.width == 7:
            raise ValueError("seven is too many")
        return (self.read(head, taps) - loss_B).square().mean()

    def read(self, head, taps):
        return head(taps["hidden"])[:, 0]


@dataclass(frozen=True)
class Guessed(Scored):
    name = "guessed"
    width: int = 1

    @property
    def signal(self):
        return HeadOutput("guess")

    def auxiliaries(self):
        return (Guess(width=self.width),)
"""

#: strategy and the one that comes after it, on the same labels
WITH, WITHOUT = "heads_of_ones_own:Guessed", "margin"


@pytest.fixture
def truth(tmp_path, monkeypatch) -> dict[str, str]:
    """A project of 60 digits of three classes and a tiny network, 12 of them labelled and 8 for testing."""
    monkeypatch.chdir(tmp_path)
    Path("heads_of_ones_own.py").write_text(CODE, encoding="utf-8")
    Path("photos").mkdir()
    digits, known = load_digits(), {}
    for number in np.flatnonzero(digits.target < 3)[:60]:
        name = f"{number:03d}.png"
        Image.fromarray((digits.images[number] * 15).astype(np.uint8)).save(Path("photos") / name)
        known[name] = str(digits.target[number])
    run("init", "photos", "--classes", "0,1,2", "--backbone", "pixels")
    config = yaml.safe_load(Path("labelwise.yaml").read_text())
    config |= {
        "input": {"size": 8},
        "learner": {"kind": "torch", "model": "heads_of_ones_own:Net", "phases": [{"epochs": 1}]},
    }
    Path("labelwise.yaml").write_text(yaml.safe_dump(config))
    tests = as_json("holdout", "-n", 8)["picks"]
    label(tests, known)
    label([name for name in known if name not in tests][:12], known)
    return known


def label(items, truth) -> None:
    with Path("a.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("id", "label"), *((item, truth[item]) for item in items)])
    run("import", "a.csv")


def trained() -> list[dict[str, object]]:
    return [json.loads(path.read_text()) for path in sorted(Path(".labelwise/fits").glob("*/fit.json"))]


@pytest.mark.heavy
@pytest.mark.parametrize(("first", "then"), [(WITH, WITHOUT), (WITHOUT, WITH)])
def test_every_later_command_is_served(truth, first, then):
    config = yaml.safe_load(Path("labelwise.yaml").read_text())
    Path("labelwise.yaml").write_text(yaml.safe_dump(config | {"strategy": then}))
    asked = as_json("suggest", "-n", 4, "-s", first)["picks"]
    assert [list(fit["heads"]) for fit in trained()] == [["guess"] if first == WITH else []]
    for command in (["evaluate"], ["export", "picks.csv"], ["report", "-o", "page.html"], ["check"]):
        run(*command)
    assert "cannot be said" not in Path("page.html").read_text(encoding="utf-8")
    run("cancel")
    # what reads no model finds the training of these labels, whatever heads it has
    nothing = as_json("suggest", "-n", 4, "-s", "random")
    assert not any("nothing was trained" in note for note in nothing["notes"]), nothing["notes"]
    run("cancel")
    if then == WITHOUT:
        assert as_json("suggest", "-n", 4, "-s", then, "--no-fit")["picks"]
        run("cancel")
    label([pick["id"] for pick in asked], truth)
    assert as_json("suggest", "-n", 4, "-s", then)["picks"]
    run("evaluate")
    run("fit")


@pytest.mark.heavy
def test_a_head_that_was_not_trained_is_named_with_the_command_that_trains_it(truth):
    run("suggest", "-n", 4, "-s", WITHOUT)
    run("cancel")
    said = refused("suggest", "-n", 4, "-s", WITH, "--no-fit")
    assert "without the head 'guess'" in said
    assert f"labelwise suggest --strategy {WITH}" in said
    run("suggest", "-n", 4, "-s", WITH)
    run("cancel")
    said = refused("suggest", "-n", 4, "-s", WITH, "--set", "width=2", "--no-fit")
    assert "other options" in said
    assert f"labelwise suggest --strategy {WITH}" in said


@pytest.mark.heavy
def test_a_head_that_raises_is_named_with_its_file_and_line(truth):
    said = refused("suggest", "-n", 4, "-s", WITH, "--set", "width=7")
    line = CODE.splitlines().index('            raise ValueError("seven is too many")') + 1
    assert "seven is too many" in said
    assert f"heads_of_ones_own.py, line {line}" in said


RECIPE = {
    "name": "heads",
    "task": "classification",
    "data": {"source": "photos", "test_share": 0.3},
    "input": {"size": 8, "augment": "none"},
    "learner": {"kind": "torch", "model": "heads_of_ones_own:Net", "phases": [{"epochs": 1}]},
    "features": {"backbone": "pixels"},
    "strategies": [WITH, WITHOUT, "random"],
    "initial": 10,
    "batch": 5,
    "rounds": 2,
    "seeds": [0],
}


@pytest.mark.heavy
@pytest.mark.parametrize("warm", [False, True])
def test_a_study_with_a_head_restarts_and_shows_what_is_taken_for_what(tmp_path, monkeypatch, warm):
    monkeypatch.chdir(tmp_path)
    Path("heads_of_ones_own.py").write_text(CODE, encoding="utf-8")
    digits = load_digits()
    for number in np.flatnonzero(digits.target < 3)[:60]:
        place = Path("photos") / str(digits.target[number])
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray((digits.images[number] * 15).astype(np.uint8)).save(place / f"{number:03d}.png")
    Path("study.yaml").write_text(yaml.safe_dump(RECIPE | {"warm": warm}))
    found = as_json("compare", "study.yaml", "--no-full", "--out", "runs/heads")
    assert [row["strategy"] for row in found["strategies"]] == [WITH, WITHOUT, "random"]
    before = json.loads(Path("runs/heads/study.json").read_text())["runs"]
    assert all(run["mistakes"] for run in before)
    (longer := Path("longer.yaml")).write_text(yaml.safe_dump(RECIPE | {"warm": warm, "rounds": 3}))
    run("compare", longer, "--no-full", "--out", "runs/heads")
    after = json.loads(Path("runs/heads/study.json").read_text())["runs"]
    for one, other in zip(before, after, strict=True):
        assert [r["picked"] for r in other["rounds"][:2]] == [r["picked"] for r in one["rounds"][:2]]
