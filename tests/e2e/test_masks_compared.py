"""A simulated study over masks, from files on disk to the report; broken off, it goes on with the same picks."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

import painted
from labelwise.campaign.records import read_study
from labelwise.cli.app import app
from labelwise.errors import UnmetNeed
from labelwise.recipes import find
from labelwise.studies.comparison import Comparison
from scenes import BrokenOff, picks_of

RECIPE = {
    "task": "segmentation",
    "input": {"size": list(painted.INPUT), "augment": "none"},
    "learner": {
        "phases": [{"epochs": 4, "batch_size": 8, "min_steps": 8, "lr": 0.01}],
    },
    "strategies": [
        "random",
        {"name": "entropy", "reduction": "top_share"},
        {"name": "prefilter", "first": "random", "then": {"name": "predictive_entropy", "passes": 2}, "keep": 3},
        "k_center",
        "true_loss",
    ],
    "initial": 8,
    "batch": 4,
    "rounds": 2,
    "again": 0,
    "seeds": 1,
}
NAMES = [
    "random",
    "entropy(reduction=top_share)",
    "prefilter(first=random, keep=3, then={'name': 'predictive_entropy', 'passes': 2})",
    "k_center",
    "true_loss (oracle)",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Scenes with masks beside them: 32 in the pool, 10 for testing."""
    root = tmp_path_factory.mktemp("painted")
    names = {"train": range(32), "test": range(32, 42)}
    for split, numbers in names.items():
        for kind in (split, f"{split}annot"):
            (root / kind).mkdir()
        for number in numbers:
            image, classes = painted.paint(number)
            Image.fromarray(image).save(root / split / f"{number:03d}.png")
            Image.fromarray(classes).save(root / f"{split}annot" / f"{number:03d}.png")
    (root / "classes.txt").write_text("\n".join(painted.CLASSES))
    return root


def _plan(folder: Path, where: Path, **changed: Any) -> Any:
    where.mkdir(parents=True, exist_ok=True)
    (where / "painted.yaml").write_text(yaml.safe_dump({"data": {"source": str(folder)}, **RECIPE, **changed}))
    return find(str(where / "painted.yaml"))


@pytest.mark.heavy
def test_a_study_over_masks_runs_and_resumes_with_the_samepicks_of(folder, tmp_path):
    plan = _plan(folder, tmp_path / "plan")
    source = plan.open()
    whole = Comparison(plan.recipe, source, tmp_path / "whole").run()
    assert [run.strategy for run in whole.runs] == NAMES
    for run in whole.runs:
        assert [record.labels for record in run.rounds] == [8, 12, 16]
        assert [record.cost["images"] for record in run.rounds] == [8, 12, 16]
        pixels = (painted.HEIGHT - 1) * painted.WIDTH
        assert [record.cost["pixels"] for record in run.rounds] == [8 * pixels, 12 * pixels, 16 * pixels]
        assert all(0 < record.metrics["miou"] <= 1 for record in run.rounds)
        assert all(record.metrics["iou/ground"] > 0.5 for record in run.rounds)
    assert len({run.rounds[0].fit_key for run in whole.runs}) == 1, "round 0 is trained once"
    assert len({tuple(map(tuple, picks)) for picks in picks_of(whole).values()}) == len(NAMES)

    def on_round(strategy: str, seed: int, record: Any) -> None:
        if (strategy, record.round) == ("k_center", 1):
            raise BrokenOff

    # the strategies of a seed do not see each other: two of them alone pick what they picked among all
    two = _plan(folder, tmp_path / "two", strategies=["random", "k_center"]).recipe
    with pytest.raises(BrokenOff):
        Comparison(two, source, tmp_path / "broken", on_round=on_round).run()
    again = Comparison(two, source, tmp_path / "broken").run()
    both = [run for run in whole.runs if run.strategy in ("random", "k_center")]
    assert picks_of(again) == picks_of(dataclasses.replace(whole, runs=both))
    assert [[r.metrics for r in run.rounds] for run in again.runs] == [[r.metrics for r in run.rounds] for run in both]


@pytest.mark.heavy
def test_the_command_writes_curves_pictures_and_costs(folder, tmp_path):
    _plan(folder, tmp_path)
    flags = ["--strategy", "random", "--strategy", "entropy", "--rounds", "1", "--no-full", "--again", "0", "--json"]
    result = CliRunner().invoke(
        app, ["compare", str(tmp_path / "painted.yaml"), *flags, "--out", str(tmp_path / "run")]
    )
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["metric"] == "miou"
    assert read_study(tmp_path / "run" / "study.json").task == "segmentation"
    page = (tmp_path / "run" / "report.html").read_text()
    assert "cost in clicks" in page
    assert "could not be decoded" not in page, "pictures of masks are drawn as masks"
    assert page.count("data:image/jpeg;base64") >= 4


@pytest.mark.heavy
def test_pictures_of_asked_regions_show_them_in_their_images(folder, tmp_path):
    _plan(folder, tmp_path, strategies=["random"], regions={"count": 6}, initial=4, batch=5, rounds=1, full=False)
    result = CliRunner().invoke(app, ["compare", str(tmp_path / "painted.yaml"), "--out", str(tmp_path / "run")])
    assert result.exit_code == 0, result.output
    page = (tmp_path / "run" / "report.html").read_text()
    assert "could not be decoded" not in page
    assert "data:image/jpeg;base64" in page


@pytest.mark.parametrize("strategy", ["badge", "bait", "galaxy", "uniform", "entropy_nms"])
def test_what_needs_one_answer_for_each_image_is_refused_before_anything_is_trained(folder, tmp_path, strategy):
    plan = _plan(folder, tmp_path / "plan", strategies=[strategy], initial=4)
    with pytest.raises(UnmetNeed) as caught:
        Comparison(plan.recipe, plan.open(), tmp_path / "run").run()
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "run").rglob("fit.json"))
