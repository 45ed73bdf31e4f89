"""Named parts of a loss, and phases that were left out: of the training, in the record of its round, on the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import shapes
from commands import as_json, run
from labelwise.campaign.events import Labelled
from labelwise.project.setup import init, open_project

LOSS = "labelwise.learners.multiple_instance:Instances"
PHASES: list[dict[str, Any]] = [
    {"epochs": 2, "batch_size": 8, "loss": LOSS},
    {"epochs": 1, "batch_size": 8, "loss": LOSS, "batches": "alternate", "options": {"step": "minimise"}},
]


@pytest.fixture
def project(tmp_path) -> Path:
    source = shapes.Shapes(16)
    for item in source.ids:
        (tmp_path / "images" / item).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(source.load(item)).save(tmp_path / "images" / item)
    made = init(
        tmp_path / "images",
        project=tmp_path,
        classes=source.classes,
        labels="none",
        task={"name": "detection", "augment": "none"},
        input={"size": [48, 64]},
        learner={"kind": "torch", "model": "centre+mil", "phases": PHASES},
        strategy="disagreement",
    )
    with made.changing():
        made.write([Labelled(item, source.truth[item]) for item in source.ids[:-4]])
    return tmp_path


@pytest.mark.heavy
def test_parts_stand_in_the_record_of_each_round_and_on_the_page(project):
    found = as_json("fit", "-p", project)
    (record,) = open_project(project).records()
    told = {"told gap", "told weighted gap", "told guessed"}
    assert {"centre", "sides", "image", "gap"} | told <= set(record.parts) == set(found["parts"])
    assert all(0 < where < 1 for line in record.parts.values() for where, _ in line)
    # parts of images without labels are of the second phase alone: two of six steps
    assert {len(record.parts[name]) for name in told} == {1}
    assert len(record.parts["centre"]) == 3
    assert record.parts["told gap"][0][0] > record.parts["centre"][1][0]
    assert record.parts["centre"][-1][1] == pytest.approx(found["parts"]["centre"], rel=1e-4)
    assert not [note for note in record.notes if "left out" in note]
    assert as_json("fit", "-p", project)["parts"] == found["parts"], "found again, as it was"
    page = (project / "page.html").as_posix()
    run("report", "-o", page, "-p", project)
    text = Path(page).read_text()
    assert "<h2>Trainings</h2>" in text
    assert "told weighted gap" in text


@pytest.mark.heavy
def test_phases_that_were_left_out_are_told_in_every_record(project):
    opened = open_project(project)
    source = shapes.Shapes(16)
    with opened.changing():
        opened.write([Labelled(item, source.truth[item]) for item in source.ids[-4:]])
    left = "1 phase(s) of the training need images without a label, and were left out"
    assert left in run("fit", "-p", project).stdout
    (record,) = open_project(project).records()
    assert [note for note in record.notes if left in note]
    assert "told gap" not in record.parts
