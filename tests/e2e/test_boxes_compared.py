"""A simulated study over boxes, from files on disk to the report; broken off, it goes on with the same picks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

import shapes
from boxes_on_disk import write_voc
from labelwise.assemble import learner_kind
from labelwise.campaign.records import read_study
from labelwise.cli.app import app
from labelwise.recipes import find
from labelwise.studies.comparison import Comparison
from labelwise.tasks.detection import Detection
from scenes import BrokenOff, picks_of

RECIPE = {
    "task": "detection",
    "input": {"size": [shapes.HEIGHT, shapes.WIDTH], "augment": "none"},
    "learner": {"phases": [{"epochs": 2, "batch_size": 8, "min_steps": 4, "lr": 0.01}]},
    "strategies": ["random", {"name": "margin", "reduction": "max"}, "ppal"],
    "initial": 8,
    "batch": 4,
    "rounds": 2,
    "seeds": 1,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Scenes as a VOC data set: 40 in the pool, 12 for testing."""
    root = tmp_path_factory.mktemp("voc")
    source = shapes.Shapes(52)
    (root / "JPEGImages").mkdir()
    names = {item: Path(item).stem for item in source.ids}
    for item, name in names.items():
        Image.fromarray(source.load(item)).save(root / "JPEGImages" / f"{name}.png")
    labels = {f"{name}.png": source.truth[item] for item, name in names.items()}
    write_voc(root, labels)
    lists = root / "ImageSets" / "Main"
    lists.mkdir(parents=True, exist_ok=True)
    ordered = list(names.values())
    (lists / "trainval.txt").write_text("\n".join(ordered[:40]))
    (lists / "test.txt").write_text("\n".join(ordered[40:]))
    return root


def _plan(folder: Path, where: Path) -> Any:
    where.mkdir(parents=True, exist_ok=True)
    (where / "shapes.yaml").write_text(yaml.safe_dump({"data": {"source": str(folder)}, **RECIPE}))
    return find(str(where / "shapes.yaml"))


@pytest.mark.heavy
def test_a_study_over_boxes_runs_and_resumes_with_the_samepicks_of(folder, tmp_path):
    plan = _plan(folder, tmp_path / "plan")
    source = plan.open()
    whole = Comparison(plan.recipe, source, tmp_path / "whole").run()
    assert [run.strategy for run in whole.runs] == ["random", "margin(reduction=max)", "ppal"]
    for run in whole.runs:
        assert [record.labels for record in run.rounds] == [8, 12, 16]
        boxes = [record.cost["boxes"] for record in run.rounds]
        assert boxes == sorted(boxes)
        assert boxes[0] > 0
        assert all(0 <= record.metrics["map"] <= 1 for record in run.rounds)
    assert len({run.rounds[0].fit_key for run in whole.runs}) == 1, "round 0 is trained once"
    assert whole.full is not None

    for stop in ("margin(reduction=max)", "ppal"):

        def on_round(strategy: str, seed: int, record: Any, stop: str = stop) -> None:
            if (strategy, record.round) == (stop, 1):
                raise BrokenOff

        with pytest.raises(BrokenOff):
            Comparison(plan.recipe, source, tmp_path / "broken", on_round=on_round).run()
    again = Comparison(plan.recipe, source, tmp_path / "broken").run()
    assert picks_of(again) == picks_of(whole)
    assert [[r.metrics for r in run.rounds] for run in again.runs] == [
        [r.metrics for r in run.rounds] for run in whole.runs
    ]


def test_a_folder_of_boxes_is_taken_for_detection(folder):
    recipe = find(str(folder)).recipe
    assert recipe.task.name == "detection"
    assert learner_kind(recipe.learner, Detection) == "torch"


@pytest.mark.heavy
def test_the_command_writes_costs_in_images_and_in_boxes(folder, tmp_path):
    plan = _plan(folder, tmp_path)
    flags = ["--strategy", "random", "--strategy", "entropy", "--rounds", "1", "--no-full", "--again", "0", "--json"]
    arguments = ["compare", str(tmp_path / "shapes.yaml"), *flags, "--out", str(tmp_path / "run")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["metric"] == "map"
    assert read_study(tmp_path / "run" / "study.json").task == plan.recipe.task.name == "detection"
    assert "cost in boxes" in (tmp_path / "run" / "report.html").read_text()
    assert (tmp_path / "run" / "curves-boxes.png").stat().st_size > 0


def test_a_task_that_the_labels_are_not_of_is_refused_before_anything_runs(folder, tmp_path):
    arguments = ["compare", str(folder), "--task", "classification", "--out", str(tmp_path / "run")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert "are boxes, and the task is classification: say --task detection" in result.stderr
    assert result.stderr.strip().count("\n") == 0
