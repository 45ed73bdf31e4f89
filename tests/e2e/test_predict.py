"""What the model of a project says of any pictures: every task, drawn and as JSON, and what is refused in a line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

import labelwise as lw
import painted
import posed
import shapes
import tiny
from commands import as_json, refused, run
from labelwise.campaign.events import Labelled
from labelwise.contracts.learner import Examples
from labelwise.contracts.source import Source
from labelwise.project.learning import Learning
from labelwise.project.project import Project
from labelwise.project.setup import init, open_project
from labelwise.signals.disagreement import HeadGap
from labelwise.signals.plain import Uncertainty

COUNT = 16
SHORT = {"kind": "torch", "phases": [{"epochs": 2, "batch_size": 8, "lr": 0.003}]}


def _project(folder: Path, source: Source, **config: Any) -> Project:
    """Images as files, all but the last four with their labels, and what was trained on them."""
    for item in source.ids:
        file = folder / "images" / item
        file.parent.mkdir(parents=True, exist_ok=True)
        pixels = source.load(item)
        Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(file)
    project = init(folder / "images", project=folder, classes=source.classes, labels="none", **config)
    classes = source.classes
    truth = {
        item: classes[raw] if isinstance(raw, int | np.integer) else raw
        for item, raw in source.truth.items()
        if item in source.ids[:-4]
    }
    with project.changing():
        project.write([Labelled(item, raw) for item, raw in truth.items()])
    return open_project(folder)


def _digits(folder: Path, **config: Any) -> Project:
    features = {"features": {"backbone": "pixels"}, "input": {"size": 16, "channels": 1}}
    return _project(folder, tiny.digits(40), task={"name": "classification"}, **features, **config)


def _pairs(folder: Path, **config: Any) -> Project:
    features = {"features": {"backbone": "pixels"}, "input": {"size": 16, "channels": 1}}
    return _project(folder, tiny.pairs(40), task={"name": "multi_label"}, **features, **config)


def _shapes(folder: Path, **config: Any) -> Project:
    task = {"task": {"name": "detection", "augment": "none"}, "input": {"size": [48, 64]}}
    learner = {"learner": {**SHORT, "model": "centre+mil"}, "strategy": "disagreement"}
    return _project(folder, shapes.Shapes(COUNT), **task, **learner, **config)


def _masks(folder: Path, **config: Any) -> Project:
    task = {"task": {"name": "segmentation", "augment": "none"}, "input": {"size": [16, 24]}}
    return _project(folder, painted.Painted(COUNT), **task, learner=SHORT, strategy="entropy", **config)


def _points(folder: Path, **config: Any) -> Project:
    task = {"task": {"name": "keypoints", "points": list(posed.POINTS), "augment": "none"}, "input": {"size": [24, 32]}}
    return _project(folder, posed.Posed(COUNT), **task, learner=SHORT, strategy="margin", **config)


PROJECTS = {
    "classification": _digits,
    "multi_label": _pairs,
    "detection": _shapes,
    "segmentation": _masks,
    "keypoints": _points,
}
#: what says how unsure the model is, and whether there is a map of it
SCORES = {
    "classification": ("margin", False),
    "multi_label": ("margin", False),
    "detection": ("disagreement", True),
    "segmentation": ("entropy", True),
    "keypoints": ("margin", False),
}


def _score(task: str) -> Any:
    return HeadGap() if task == "detection" else Uncertainty(SCORES[task][0])


def _size(file: str) -> tuple[int, int]:
    with Image.open(file) as picture:
        return picture.size


@pytest.mark.heavy
@pytest.mark.parametrize("task", PROJECTS)
def test_what_a_model_says_of_an_image(task, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    project = PROJECTS[task](tmp_path)
    project.fit()
    unlabelled = [f"images/{item}" for item in project.source.ids[-2:]]
    said = as_json("predict", *unlabelled, "-o", "out")["images"]
    learning = Learning(project)
    campaign = learning.campaign()
    learning.last_fit(campaign)
    ids = tuple(project.source.ids[-2:])
    table = campaign.setting.learner.collect(
        Examples(project.source, ids), frozenset({_score(task)}), data=campaign.examples.data()
    )
    guesses = dict(learning.task().guesses(campaign.setting.learner, project.source, ids))
    name, mapped = SCORES[task]
    found = list(lw.predict(project, unlabelled))
    for row, (item, one, again) in enumerate(zip(ids, said, found, strict=True)):
        assert one["image"] == f"images/{item}" == again.image
        assert one["label"] == guesses[item] == again.label
        assert one["uncertainty"]["name"] == name
        score = float(table[_score(task)][row])
        assert one["uncertainty"]["value"] == (pytest.approx(score, rel=1e-4, abs=1e-9) if score > -1e30 else None)
        assert (again.map_HW is not None) == mapped
        assert _size(one["picture"]) == again.draw().size
        assert max(_size(one["picture"])) >= 400
    of_images = task in ("classification", "multi_label")
    assert all((one["probabilities"] is not None) == of_images for one in said)
    if of_images:
        assert list(said[0]["probabilities"]) == list(project.config.classes)
    if mapped:  # beside what was predicted
        assert _size(said[0]["picture"])[0] > 800
    text = run("predict", *unlabelled).stdout
    assert f"uncertainty ({name})" in text
    assert "picture" not in text


@pytest.fixture
def digits(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    _digits(tmp_path).fit()
    return tmp_path


def test_before_any_training_it_says_what_to_run(tmp_path):
    project = _digits(tmp_path)
    image = tmp_path / "images" / project.source.ids[0]
    assert "run 'labelwise fit' first" in refused("predict", image, "-p", tmp_path)


@pytest.mark.heavy
def test_a_folder_and_what_cannot_be_read_of_it(digits):
    folder = digits / "new"
    folder.mkdir()
    for number, name in enumerate(("a.png", "b.png", "sub/a.png")):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes((digits / "images" / f"img/{number:04d}.png").read_bytes())
    (folder / "broken.png").write_bytes(b"no picture")
    said = as_json("predict", "new", "images/img/0003.png", "-o", "out")
    images = [one["image"] for one in said["images"]]
    assert images == ["new/a.png", "new/b.png", "new/sub/a.png", "images/img/0003.png"]
    names = [one["picture"] for one in said["images"]]
    assert names == ["out/a.png", "out/b.png", "out/a-2.png", "out/0003.png"]
    assert sorted(path.name for path in (digits / "out").iterdir()) == sorted(Path(name).name for name in names)
    assert [note for note in said["notes"] if "1 of 5 cannot be read" in note]
    assert "broken.png" in refused("predict", "new/broken.png")


@pytest.mark.heavy
def test_refusals_write_nothing(digits):
    image, other = "images/img/0000.png", "images/img/0001.png"
    (digits / "pictures").mkdir()
    (digits / "file.txt").write_text("")
    before = (digits / image).read_bytes()
    assert "does not exist" in refused("predict", "nowhere.png")
    assert "is a folder" in refused("predict", image, "-o", "pictures")
    assert "names no picture" in refused("predict", image, "-o", "out.txt")
    assert "the image itself" in refused("predict", image, "-o", image)
    assert "give a folder" in refused("predict", image, other, "-o", "out.png")
    assert "give a folder" in refused("predict", image, other, "-o", "file.txt")
    assert "where the images lie" in refused("predict", image, other, "-o", "images/img")
    assert "where the images lie" in refused("predict", "images", "-o", "images/img")
    assert (digits / image).read_bytes() == before
    assert not list((digits / "pictures").iterdir())


def _with_strategy(folder: Path, name: str) -> None:
    file = folder / "labelwise.yaml"
    file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), "strategy": name}))


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["k_center", "learning_loss"])
def test_a_strategy_without_a_score_of_one_image_leaves_the_entropy(digits, name):
    _with_strategy(digits, name)
    said = as_json("predict", "images/img/0000.png")
    assert said["images"][0]["uncertainty"]["name"] == "entropy"
    assert [note for note in said["notes"] if name in note and "entropy" in note]


@pytest.mark.heavy
def test_weights_without_the_head_of_the_strategy_leave_the_entropy(tmp_path):
    features = {"input": {"size": 16, "channels": 1}, "learner": {**SHORT, "model": "lenet"}, "strategy": "margin"}
    project = _project(tmp_path, tiny.digits(24), task={"name": "classification"}, **features)
    project.fit()
    image = tmp_path / "images" / project.source.ids[0]
    assert as_json("predict", image, "-p", tmp_path)["images"][0]["uncertainty"]["name"] == "margin"
    _with_strategy(tmp_path, "learning_loss")
    said = as_json("predict", image, "-p", tmp_path)
    assert said["images"][0]["uncertainty"]["name"] == "entropy"
    assert [note for note in said["notes"] if "learning_loss" in note]
    open_project(tmp_path).fit()
    assert as_json("predict", image, "-p", tmp_path)["images"][0]["uncertainty"]["name"] == "learning loss"


@pytest.mark.heavy
def test_weights_of_a_file_and_those_that_do_not_fit(digits, tmp_path_factory):
    (file,) = (digits / ".labelwise" / "fits").glob("*/weights.safetensors")
    image = "images/img/0039.png"
    newest = as_json("predict", image)
    assert as_json("predict", image, "--weights", file) == newest
    other = tmp_path_factory.mktemp("elsewhere")
    alone = other / "weights.safetensors"
    alone.write_bytes(file.read_bytes())
    assert "--project" in refused("predict", image, "--weights", alone)
    assert as_json("predict", image, "--weights", alone, "-p", digits) == newest
    assert "no weights at" in refused(
        "predict", image, "--weights", other / "none" / "weights.safetensors", "-p", digits
    )
    (other / "mine.pt").write_bytes(b"")
    assert "weights.safetensors" in refused("predict", image, "--weights", other / "mine.pt", "-p", digits)
    masks = _masks(other / "masks")
    assert "do not fit" in refused("predict", image, "--weights", alone, "-p", other / "masks")
    masks.fit()
    (theirs,) = (other / "masks" / ".labelwise" / "fits").glob("*/weights.safetensors")
    assert "do not fit" in refused("predict", image, "--weights", theirs, "-p", digits)
