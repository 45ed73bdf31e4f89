"""A test set in the people's loop: drawn, asked about, kept out of training and choosing, and measured on."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import digit_photos
from commands import as_json, refused, run
from digit_photos import table
from labelwise.project.holding_out import _in_turns
from labelwise.project.project import Project
from labelwise.report.statistics import wilson

COUNT = 120


@pytest.fixture
def truth(tmp_path, monkeypatch) -> dict[str, str]:
    monkeypatch.chdir(tmp_path)
    return digit_photos.made(COUNT)


@pytest.mark.heavy
def test_held_out_images_are_asked_and_never_learnt_from_nor_chosen(truth, tmp_path):
    held = as_json("holdout", "-n", 30)
    assert len(set(held["picks"])) == 30
    assert held["round"] == 0
    exported = run("export", "test.csv").output
    assert "30 picks" in exported
    assert refused("holdout", "-n", 90).startswith("error: 90 images were asked for, and 90 are not labelled yet")
    run("import", table("t.csv", truth, held["picks"]))
    pool = Project(tmp_path).pool
    assert len(pool.with_role("test")) == 30
    assert not len(pool.labelled)
    first = as_json("suggest", "-n", 40, "-s", "kmeans")
    asked = {pick["id"] for pick in first["picks"]}
    assert not asked & set(held["picks"])
    assert first["round"] == 1
    run("import", table("a.csv", truth, asked))
    fitted = as_json("fit")
    assert 0.3 < fitted["metrics"]["accuracy"] <= 1
    found = as_json("evaluate")
    assert (found["test"], found["metrics"]["accuracy"]) == (30, fitted["metrics"]["accuracy"])
    low, high = found["intervals"]["accuracy"]
    assert low < found["metrics"]["accuracy"] <= high
    page = Path(as_json("report")["report"]).read_text()
    assert f"{low:.3f} to {high:.3f}, on 30 images" in page
    rest = as_json("suggest", "-n", "all", "-s", "random")
    assert not {pick["id"] for pick in rest["picks"]} & set(held["picks"])


@pytest.mark.heavy
def test_labels_of_the_test_set_that_come_later_are_measured_on(truth, tmp_path):
    held = as_json("holdout", "-n", 40)["picks"]
    run("import", table("a.csv", truth, [name for name in truth if name not in held][:40]))
    assert as_json("fit")["metrics"].keys() == {"cross_validated_accuracy"}
    run("import", table("t.csv", truth, held[:20]))
    first = as_json("fit")
    assert not first["trained"], "the same weights"
    assert "accuracy" in first["metrics"]
    run("import", table("u.csv", truth, held[20:]))
    second = as_json("fit")
    assert second["metrics"]["nll"] != first["metrics"]["nll"]
    assert second["metrics"] == pytest.approx(as_json("evaluate")["metrics"])


@pytest.mark.heavy
def test_without_a_test_set_accuracy_is_cross_validated_and_named_so(truth, tmp_path):
    run("import", table("few.csv", truth, list(truth)[:9]))
    assert "labelwise holdout -n 50" in run("fit").stdout
    run("import", table("more.csv", truth, list(truth)[9:80]))
    said = run("fit").stdout
    assert "cross validated accuracy" in said
    assert "they were chosen, not drawn" in said
    value = as_json("evaluate")["metrics"]["cross_validated_accuracy"]
    assert 0.5 < value < 1
    page = Path(as_json("report")["report"]).read_text()
    assert "cross validated accuracy" in page
    assert "they were chosen, not drawn" in page


@pytest.mark.heavy
def test_predictions_of_somebody_elses_model_are_measured(truth, tmp_path):
    names = list(truth)[:20]
    lines = ["id," + ",".join("0123456789")]
    for row, name in enumerate(names[:16]):
        says = int(truth[name]) if row < 12 else (int(truth[name]) + 1) % 10
        lines.append(name + "".join(f",{0.91 if digit == says else 0.01}" for digit in range(10)))
    Path("p.csv").write_text("\n".join(lines) + "\n")
    assert "no image has a label to measure against" in refused("evaluate", "--predictions", "p.csv")
    run("import", table("a.csv", truth, names))
    found = as_json("evaluate", "--predictions", "p.csv")
    assert found["metrics"]["accuracy"] == 0.75
    assert (found["images"], found["on"]) == (16, "labelled images")
    assert found["intervals"]["accuracy"] == pytest.approx(wilson(0.75, 16))
    assert any("4 of 20 labelled images have no prediction" in note for note in found["notes"])


@pytest.mark.heavy
def test_groups_are_held_out_whole(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    rows = [("file", "label", "group")]
    for number in range(24):
        Image.new("L", (8, 8), 9 * number).save(tmp_path / "photos" / f"{number:02d}.png")
        rows.append((f"photos/{number:02d}.png", "", f"video {number // 4}"))
    with Path("all.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    run("init", "all.csv", "--classes", "a,b", "--backbone", "pixels")
    held = as_json("holdout", "-n", 6)["picks"]
    groups = Counter(int(name[7:9]) // 4 for name in held)
    assert sorted(groups.values()) == [4, 4]
    assert len(Project(tmp_path).pool.with_role("test", labelled=False)) == 8


# ---- drawing --------------------------------------------------------------------------------------------------------


def test_each_image_has_the_same_chance_and_each_cluster_its_share():
    strata = [[f"a{n}" for n in range(60)], [f"b{n}" for n in range(30)], [f"c{n}" for n in range(10)]]
    counts: Counter[str] = Counter()
    for seed in range(600):
        first = _in_turns(strata, np.random.default_rng(seed))[:20]
        shares = Counter(item[0] for item in first)
        assert abs(shares["a"] - 12) <= 1
        assert abs(shares["b"] - 6) <= 1
        assert abs(shares["c"] - 2) <= 1
        counts.update(first)
    expected, found = 600 * 0.2, np.array([counts[item] for stratum in strata for item in stratum])
    assert abs(found - expected).max() < 5 * np.sqrt(expected * 0.8)


@pytest.mark.heavy
def test_stratified_draws_cover_what_plain_ones_may_miss(truth, tmp_path):
    held = as_json("holdout", "-n", 24, "--stratified")
    assert len(set(held["picks"])) == 24
    assert any("over 24 clusters of frozen features" in note for note in held["notes"])


def test_the_interval_is_wilsons():
    for right, tested in ((0, 10), (7, 10), (10, 10), (42, 50)):
        p, z, n = right / tested, 1.959963984540054, tested
        centre, spread = p + z * z / (2 * n), z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        ends = [(centre - spread) / (1 + z * z / n), (centre + spread) / (1 + z * z / n)]
        assert wilson(p, tested) == pytest.approx(ends, abs=1e-9)
    assert np.isnan(wilson(float("nan"), 5)).all()
    assert np.isnan(wilson(0.5, 0)).all()


@pytest.mark.heavy
def test_a_test_set_is_labelled_without_a_hint(tmp_path, monkeypatch):
    """A box that a model drew before people looked would make them agree with it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "img").mkdir()
    for number in range(6):
        Image.new("RGB", (20, 20), (40 * number, 0, 0)).save(tmp_path / "img" / f"{number}.png")
    listed = [{"id": n, "file_name": f"{n}.png", "width": 20, "height": 20} for n in range(6)]
    data = {"images": listed, "annotations": [], "categories": [{"id": 1, "name": "cell"}, {"id": 2, "name": "clump"}]}
    Path("img/all.json").write_text(json.dumps(data))
    run("init", "img", "--task", "detection", "--labels", "coco", "--backbone", "pixels")
    results = [
        {"file_name": f"{n}.png", "category_id": 1, "bbox": [1, 1, 9, 9], "score": 0.9, "image_id": n} for n in range(6)
    ]
    Path("r.json").write_text(json.dumps(results))
    held = as_json("holdout", "-n", 2)["picks"]
    asked = {pick["id"] for pick in as_json("suggest", "-n", 2, "-s", "random", "--more")["picks"]}
    run("export", "both.json", "--predictions", "r.json", "--format", "coco")
    written = json.loads(Path("both.json").read_text())
    name_of = {image["id"]: Path(image["file_name"]).name for image in written["images"]}
    assert {*name_of.values()} == {*held, *asked}
    assert {name_of[drawn["image_id"]] for drawn in written["annotations"]} == asked
