"""Two commands on one project at the same time: the second sees what the first has done, or says what it waits for."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from labelwise.campaign.store import Store
from labelwise.config import read_yaml
from labelwise.errors import FormatError, StateError
from labelwise.project.project import Project
from labelwise.project.setup import init


@pytest.fixture
def images(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    folder = tmp_path / "img"
    folder.mkdir()
    for number in range(6):
        Image.fromarray(rng.integers(0, 255, (6, 8, 3), np.uint8)).save(folder / f"{number}.png")
    return folder


def _answers(file: Path, **labels: str) -> Path:
    file.write_text("id,label\n" + "".join(f"{item[1:]}.png,{label}\n" for item, label in labels.items()))
    return file


def test_of_two_imports_that_name_the_classes_the_second_is_held_against_the_first(images, tmp_path):
    init(images, project=tmp_path, labels="none")
    one, other = Project(tmp_path), Project(tmp_path)  # both were opened before either began
    one.import_labels(_answers(tmp_path / "a.csv", _0="a", _1="b"))
    with pytest.raises(FormatError, match="unknown class 'c'; the project has a, b"):
        other.import_labels(_answers(tmp_path / "b.csv", _2="c", _3="d"))
    assert read_yaml(tmp_path / "labelwise.yaml")["classes"] == ["a", "b"]
    assert len(Project(tmp_path).pool.labelled) == 2


def test_two_imports_of_the_same_classes_are_both_taken(images, tmp_path):
    init(images, project=tmp_path, labels="none")
    one, other = Project(tmp_path), Project(tmp_path)
    one.import_labels(_answers(tmp_path / "a.csv", _0="a", _1="b"))
    assert other.import_labels(_answers(tmp_path / "b.csv", _2="a", _3="b")).labelled == 2
    assert Project(tmp_path).progress_counts()["labelled"] == 4


@pytest.mark.heavy
def test_what_people_write_into_the_file_meanwhile_counts(images, tmp_path):
    project = init(images, project=tmp_path, labels="none", classes=("a", "b"))
    file = tmp_path / "labelwise.yaml"
    file.write_text(file.read_text() + "strategy: kmeans\n")
    assert project.suggest(2).strategy == "kmeans"


def test_a_seed_given_to_a_command_is_kept_when_the_file_is_read_again_and_not_written(images, tmp_path):
    init(images, project=tmp_path, labels="none", seed=3)
    project = Project(tmp_path, seed=7)
    project.name_classes(("a", "b"))
    assert project.config.seed == 7
    assert Project(tmp_path).config.seed == 3


@pytest.mark.heavy
def test_of_two_inits_at_once_one_makes_the_project_and_the_other_is_held_against_it(images, tmp_path):
    folder, told, made = tmp_path / "p", [], []
    folder.mkdir()

    def begin(classes: tuple[str, ...]) -> None:
        try:
            made.append(init(images, project=folder, labels="none", classes=classes).config.classes)
        except StateError as error:
            told.append(str(error))

    store = Store(folder / ".labelwise", create=True)
    both = [threading.Thread(target=begin, args=(classes,)) for classes in (("a", "b"), ("c", "d"))]
    with store.lock():
        for thread in both:
            thread.start()
        time.sleep(1.0)  # both have seen that there is no project, and wait; what comes later joins
    for thread in both:
        thread.join()
    assert len(made) == len(told) == 1
    assert tuple(read_yaml(folder / "labelwise.yaml")["classes"]) == made[0]
    assert "the project is there already with classes" in told[0]


def test_settings_without_a_state_are_those_of_the_project(images, tmp_path):
    """As after cloning: labelwise.yaml is under version control, .labelwise is not."""
    file = tmp_path / "labelwise.yaml"
    file.write_text("# ours\nimages: img\nclasses: [a, b]\nseed: 5\nlabels: none\n")
    with pytest.raises(StateError, match="there already with classes: a, b, and c, d was asked for"):
        init(images, project=tmp_path, classes=("c", "d"))
    assert init(images, project=tmp_path).config.seed == 5
    assert file.read_text().startswith("# ours\n"), "what people wrote stays"
