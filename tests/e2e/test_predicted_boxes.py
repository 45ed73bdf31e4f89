"""Files of other people's detectors: many weak boxes, no embeddings, images without any box."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from commands import as_json, refused, run

NAMES = [f"{n:02d}.png" for n in range(12)]
LISTED = [{"id": 1, "name": "cell"}, {"id": 2, "name": "clump"}]
#: strategies about boxes that a file is enough for
METHODS = (
    ("margin",),
    ("entropy_nms",),
    ("ppal", "--set", "calibrate=false"),
    ("scaled_badge",),
    ("k_center", "--set", "features=objects"),
)


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("predicted")
    rng = np.random.default_rng(0)
    (folder / "images").mkdir()
    for name in NAMES:
        Image.fromarray(rng.integers(0, 255, (30, 40, 3), dtype=np.uint8)).save(folder / "images" / name)
    run("init", folder / "images", "-p", folder, "--task", "detection", "--classes", "cell,clump", "--labels", "none",
        "--backbone", "pixels")  # fmt: skip
    return folder


def written(path: Path, rows) -> Path:
    images = [{"id": n, "file_name": name, "width": 40, "height": 30} for n, name in enumerate(NAMES)]
    path.write_text(json.dumps({"images": images, "annotations": rows, "categories": LISTED}))
    return path


def rows_of(weak: int = 0, seed: int = 1) -> list[dict]:
    """Boxes on all images but the last three; ``weak`` more on each that score less than 0.05."""
    rng = np.random.default_rng(seed)
    rows = []
    for n in range(9):
        for score in [*rng.uniform(0.1, 0.9, 2 + n % 3), *np.linspace(0.001, 0.04, weak)]:
            box = [int(rng.integers(0, 20)), int(rng.integers(0, 15)), 12, 10]
            rows.append({"image_id": n, "category_id": 1 + len(rows) % 2, "bbox": box, "score": float(score)})
    return rows


def asked(project, file, *more):
    return as_json("suggest", "-n", "all", "--predictions", file, "-p", project, *more)


@pytest.mark.heavy
@pytest.mark.parametrize("method", METHODS, ids=lambda method: method[0])
def test_weak_boxes_change_nothing_and_are_counted(project, tmp_path, method):
    every = rows_of(weak=20)
    strong = [row for row in every if row["score"] >= 0.05]
    low = asked(project, written(tmp_path / "low.json", every), "-s", *method)
    high = asked(project, written(tmp_path / "high.json", strong), "-s", *method)
    assert [(pick["id"], pick["score"]) for pick in low["picks"]] == [
        (pick["id"], pick["score"]) for pick in high["picks"]
    ]
    assert f"180 of {len(every)} boxes score below 0.05" in low["notes"][0]
    assert not any("below" in note for note in high["notes"])
    assert any("3 of 12 images have no detection" in note for note in high["notes"])


@pytest.mark.heavy
def test_the_lowest_score_can_be_said(project, tmp_path):
    file = written(tmp_path / "low.json", rows_of(weak=20))
    assert not any("score below" in note for note in asked(project, file, "-s", "margin", "--min-score", 0)["notes"])
    told = asked(project, file, "-s", "margin", "--min-score", 0.5)["notes"][0]
    assert "boxes score below 0.5 and were left out" in told
    assert "--min-score is 2: give a score from 0 to 1" in refused(
        "suggest", "--predictions", file, "-p", project, "--min-score", 2
    )
    assert "--min-score says how --predictions is read" in refused("suggest", "-p", project, "--min-score", 0.5)


@pytest.mark.heavy
@pytest.mark.parametrize("method", METHODS[:4], ids=lambda method: method[0])
def test_images_without_a_box_come_where_they_are_wanted(project, tmp_path, method):
    file = written(tmp_path / "boxes.json", rows_of())
    bare = set(NAMES[9:])
    last = [pick["id"] for pick in asked(project, file, "-s", *method)["picks"]]
    assert set(last[-3:]) == bare
    if method[0] == "scaled_badge":  # it draws
        return
    first = [pick["id"] for pick in asked(project, file, "-s", *method, "--set", "empty=first")["picks"]]
    assert set(first[:3]) == bare
    middle = [pick["id"] for pick in asked(project, file, "-s", *method, "--set", "empty=median")["picks"]]
    assert not set(middle[:3]) & bare
    assert not set(middle[-3:]) & bare


def test_ppal_picks_images_without_a_box_first_when_it_chooses_among_many(project, tmp_path):
    file = written(tmp_path / "boxes.json", rows_of())
    wanted = ("-s", "ppal", "--set", "calibrate=false", "--set", "empty=first", "--set", "keep=2")
    found = as_json("suggest", "-n", 5, "--predictions", file, "-p", project, *wanted)
    run("cancel", "-p", project)
    assert {pick["id"] for pick in found["picks"][:3]} == set(NAMES[9:])
    assert len(found["picks"]) == 5


def test_crops_are_read_once_for_the_same_boxes(project, tmp_path):
    kept = project / ".labelwise" / "signals" / "features"
    file = written(tmp_path / "boxes.json", rows_of(seed=5))
    before = set(kept.rglob("*.npy"))
    notes = asked(project, file, "-s", "entropy_nms")["notes"]
    assert "the file holds no embeddings: 'entropy_nms' compares crops of its boxes by 'pixels'" in notes
    once = set(kept.rglob("*.npy"))
    assert once > before
    # other scores, same boxes
    rows = [row | {"score": row["score"] * 0.9} for row in rows_of(seed=5)]
    asked(project, written(tmp_path / "again.json", rows), "-s", "entropy_nms")
    assert set(kept.rglob("*.npy")) == once


def test_the_files_own_embeddings_are_taken_where_there_are_any(project, tmp_path):
    rng = np.random.default_rng(0)
    rows = [row | {"embedding": rng.normal(size=4).tolist()} for row in rows_of()]
    notes = asked(project, written(tmp_path / "own.json", rows), "-s", "entropy_nms")["notes"]
    assert not any("embeddings" in note for note in notes)


@pytest.mark.heavy
def test_what_is_measured_says_which_boxes_count(project, tmp_path):
    file = written(tmp_path / "low.json", rows_of(weak=20))
    run("suggest", "-n", 2, "-s", "random", "-o", tmp_path / "picks.json", "-p", project)
    data = json.loads((tmp_path / "picks.json").read_text())
    for image in data["images"]:
        image["answered"] = True
    (tmp_path / "answers.json").write_text(json.dumps(data))
    run("import", tmp_path / "answers.json", "--untouched", "empty", "-p", project)
    notes = as_json("evaluate", "--predictions", file, "-p", project)["notes"]
    assert any("boxes score below 0.05 and were left out" in note for note in notes)
    notes = as_json("evaluate", "--predictions", file, "--min-score", 0, "-p", project)["notes"]
    assert not any("were left out" in note for note in notes)
    run("unlabel", *[image["file_name"] for image in data["images"]], "-p", project)


def test_boxes_that_look_like_corners_are_said(project, tmp_path):
    rows = [row | {"bbox": [x, y, x + w, y + h]} for row in rows_of() for x, y, w, h in [row["bbox"]]]
    notes = asked(project, written(tmp_path / "corners.json", rows), "-s", "margin")["notes"]
    said = next(note for note in notes if "leave their image" in note)
    assert "they look like corners (x1, y1, x2, y2)" in said
    rows = rows_of()
    rows[0]["bbox"] = [35, 0, 10, 10]
    notes = asked(project, written(tmp_path / "one.json", rows), "-s", "margin")["notes"]
    assert "1 of 27 boxes leave their image, by up to 12.5 % of a side, and were cut off at its edge" in notes


@pytest.mark.heavy
def test_what_a_file_cannot_give_is_said_in_words(project, tmp_path):
    file = written(tmp_path / "boxes.json", rows_of())
    for method in ("flip_consistency", "bald", "badge", "ppal"):
        told = refused("suggest", "--predictions", file, "-p", project, "-s", method)
        assert "(of_unit" not in told
        assert "Imported" not in told
        assert "=" not in told.replace("--set", "")


@pytest.mark.heavy
def test_export_says_what_was_left_out(project, tmp_path):
    file = written(tmp_path / "low.json", rows_of(weak=20))
    run("suggest", "-n", 3, "-s", "margin", "--predictions", file, "-p", project)
    told = run("export", tmp_path / "picks.json", "--predictions", file, "-p", project).output
    assert "boxes score below 0.05 and were left out" in told
    run("export", tmp_path / "few.json", "--predictions", file, "--min-score", "0.8", "-p", project)
    drawn = json.loads((tmp_path / "few.json").read_text())["annotations"]
    assert all(row["score"] >= 0.8 for row in drawn)
    assert len(drawn) < len(json.loads((tmp_path / "picks.json").read_text())["annotations"])
    told = run("export", tmp_path / "picks.html", "--predictions", file, "-p", project).output
    assert "boxes score below 0.05 and were left out" in told
    assert "boxes score below 0.05 and were left out" in (tmp_path / "picks.html").read_text()
    run("cancel", "-p", project)


def test_a_gallery_of_two_rounds_names_both(project, tmp_path):
    for more in ((), ("--more",)):
        run("suggest", "-n", 2, "-s", "random", "-p", project, *more)
    run("export", tmp_path / "picks.html", "-p", project)
    first, second = sorted({pick["round"] for pick in as_json("suggest", "-p", project)["picks"]})
    title = re.search(r"<title>(.*?)</title>", (tmp_path / "picks.html").read_text())
    assert title is not None
    assert f"rounds {first} and {second}" in title[1]
    run("cancel", "-p", project)
