"""Single answers, as a page or a program of one's own gives them: checked, all or nothing."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from commands import run
from labelwise.contracts.oracle import Answer
from labelwise.errors import DataError, PoolError
from labelwise.project.setup import open_project


def _project(tmp_path, *how):
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for n in range(6):
        pixels = rng.integers(0, 255, (30, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{n}.png")
    run("init", tmp_path / "images", "-p", tmp_path, "--labels", "none", "--backbone", "pixels", *how)
    return open_project(tmp_path)


@pytest.fixture
def project(tmp_path):
    return _project(tmp_path, "--classes", "cat,dog")


def test_labels_skips_and_corrections(project):
    done = project.answer([Answer("0.png", "cat", cost={"seconds": 2.5}), Answer("1.png", None, reason="dark")])
    assert (done.labelled, done.skipped, done.corrected) == (1, 1, 0)
    assert project.pool.cost() == {"images": 1.0, "seconds": 2.5}
    done = project.answer([Answer("0.png", "dog"), Answer("2.png", "cat")])
    assert (done.labelled, done.corrected) == (1, 1)
    assert project.answer([Answer("0.png", "dog")]).unchanged == 1
    assert project.labels() == {"0.png": "dog", "2.png": "cat"}
    done = project.answer([Answer("0.png", None)])
    assert (done.skipped, project.labels()) == (1, {"2.png": "cat"})


def test_labels_of_two_people_stand_beside_each_other(project):
    assert project.answer([Answer("0.png", "dog", annotator="ann")]).labelled == 1
    done = project.answer([Answer("0.png", "cat", annotator="bob")])
    assert (done.further, done.corrected) == (1, 0)
    assert "1 image(s) have different labels of several annotators" in done.notes[0]
    done = project.answer([Answer("0.png", None, annotator="bob")])
    assert "1 skip(s) left out" in done.notes[-1]


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        (Answer("1.png", "cow"), DataError, "'cow'"),
        (Answer("nine.png", "cat"), PoolError, "nine.png"),
        (Answer("../2.png", "cat"), PoolError, "2.png"),
        (Answer("1.png", ["cat"]), DataError, "is no class"),
    ],
)
def test_one_that_cannot_be_taken_refuses_all(project, answer, error, message):
    with pytest.raises(error, match=message):
        project.answer([Answer("0.png", "cat"), answer])
    assert project.labels() == {}


@pytest.mark.heavy
def test_boxes_are_held_against_the_size_of_their_picture(tmp_path):
    project = _project(tmp_path, "--task", "detection", "--classes", "cat", "--learner", "torch")
    label = {"size": [40, 30], "objects": [{"class": "cat", "box": [1, 2, 30, 20], "angle": 0.0}]}
    assert project.answer([Answer("0.png", label)]).labelled == 1
    with pytest.raises(DataError, match="size"):
        project.answer([Answer("1.png", label | {"size": [400, 300]})])
    done = project.answer([Answer("1.png", {"size": [40, 30], "objects": []})])
    assert (done.labelled, done.empty) == (1, 1)
