"""A test set drawn by doubt: weighted by the chance of each draw wherever a metric is told."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import digit_photos
from commands import as_json, refused, run
from digit_photos import answer
from labelwise.campaign.weighing import by_doubt, drawn
from labelwise.estimating.sampled import weights
from labelwise.project.project import Project

COUNT = 400


@pytest.fixture
def truth(tmp_path, monkeypatch) -> dict[str, str]:
    monkeypatch.chdir(tmp_path)
    return digit_photos.made(COUNT)


@pytest.mark.heavy
def test_metrics_are_weighted_everywhere(truth, tmp_path):
    answer(truth, [pick["id"] for pick in as_json("suggest", "-n", 60, "-s", "kmeans")["picks"]])
    assert "none is trained yet" in refused("holdout", "--active")
    run("fit")
    assert "two ways to draw" in refused("holdout", "--active", "--stratified")
    held = as_json("holdout", "-n", 50, "--active")
    assert any("by the model's doubt" in note for note in held["notes"])
    answer(truth, held["picks"])
    fitted, found = as_json("fit"), as_json("evaluate")
    assert fitted["metrics"].keys() == {"accuracy", "nll"}
    assert fitted["metrics"] == found["metrics"]
    assert any("50 of 50 test images were drawn by doubt" in note for note in found["notes"])
    pool = Project(tmp_path).pool
    positions = pool.with_role("test")
    order = [pool.position(item) for item in held["picks"]]
    chance = np.array([by_doubt(pool, positions)[position].chance for position in order])
    expected = dict(zip(order, weights(chance, 340).tolist(), strict=True))
    assert drawn(pool, positions).weight_T == pytest.approx([expected[int(p)] for p in positions])
    right = {row["id"]: row["label"] for row in _said(truth, held["picks"])}
    wrong = sum(expected[pool.position(item)] for item in held["picks"] if right[item] != truth[item]) / 50
    assert found["metrics"]["accuracy"] == pytest.approx(1 - wrong)
    plain = 1 - np.mean([right[item] != truth[item] for item in held["picks"]])
    rest = _said(truth, [item for item in truth if pool.is_free(pool.position(item)) or item in held["picks"]])
    true = np.mean([row["label"] == truth[row["id"]] for row in rest])
    assert abs(found["metrics"]["accuracy"] - true) < abs(plain - true), "doubtful images are the hard ones"
    low, high = found["intervals"]["accuracy"]
    assert low <= found["metrics"]["accuracy"] <= high
    assert f"{low:.3f} to {high:.3f}, on 50 images" in Path(as_json("report")["report"]).read_text()


def _said(truth: dict[str, str], items) -> list[dict[str, str]]:
    said = as_json("predict", *[f"photos/{item}" for item in items])
    rows = said["images"] if isinstance(said, dict) else said
    return [{"id": Path(row.get("image", row.get("id"))).name, "label": row["label"]["class"]} for row in rows]


@pytest.mark.heavy
def test_answers_may_be_missing_and_more_may_be_drawn(truth, tmp_path):
    answer(truth, [pick["id"] for pick in as_json("suggest", "-n", 60, "-s", "kmeans")["picks"]])
    run("fit")
    first = as_json("holdout", "-n", 20, "--active")["picks"]
    answer(truth, first[:12])
    whole = as_json("fit")
    pool = Project(tmp_path).pool
    found = drawn(pool, pool.with_role("test"))
    assert (found.missing, found.among) == (0, 340), "what was drawn after the last answer changes nothing"
    run("cancel")
    assert as_json("evaluate")["metrics"] == whole["metrics"]
    second = as_json("holdout", "-n", 10, "--active")["picks"]
    answer(truth, second[3:])
    pool = Project(tmp_path).pool
    assert drawn(pool, pool.with_role("test")).missing == 3
    assert any("3 image(s) drawn among them have no label" in note for note in as_json("evaluate")["notes"])
    plain = as_json("holdout", "-n", 10)["picks"]
    answer(truth, plain)
    pool = Project(tmp_path).pool
    positions = pool.with_role("test")
    weight_T = drawn(pool, positions).weight_T
    assert all(weight_T[row] == 1 for row, p in enumerate(positions) if pool.ids[p] in plain)
    assert any("19 of 29 test images were drawn by doubt" in note for note in as_json("evaluate")["notes"])


@pytest.mark.heavy
def test_somebody_elses_model_doubts_too(truth):
    lines = ["id," + ",".join("0123456789")]
    for row, (name, label) in enumerate(truth.items()):
        sure = 0.91 if row % 4 else 0.19
        rest = (1 - sure) / 9
        lines.append(name + "".join(f",{sure if digit == int(label) else rest}" for digit in range(10)))
    Path("p.csv").write_text("\n".join(lines) + "\n")
    assert "add --active" in refused("holdout", "--predictions", "p.csv")
    held = as_json("holdout", "-n", 40, "--active", "--predictions", "p.csv")["picks"]
    assert sum(int(item[:3]) % 4 == 0 for item in held) > 12, "a quarter would be ten"
    answer(truth, held)
    assert as_json("evaluate", "--predictions", "p.csv")["metrics"]["accuracy"] == 1


@pytest.mark.heavy
def test_where_weights_cannot_help_it_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    rows = [("file", "label", "group")]
    for number in range(24):
        Image.new("L", (8, 8), 9 * number).save(tmp_path / "photos" / f"{number:02d}.png")
        rows.append((f"photos/{number:02d}.png", "a" if number % 2 else "b", f"video {number // 4}"))
    with Path("all.csv").open("w", newline="") as file:
        csv.writer(file).writerows([rows[0], *((file, "", group) for file, _, group in rows[1:])])
    run("init", "all.csv", "--classes", "a,b", "--backbone", "pixels")
    assert "lie in 6 groups" in refused("holdout", "-n", 6, "--active")
