"""Rounds that people label in tools without a server of ours: what goes out by file, what those tools give back."""

from __future__ import annotations

import csv
import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from commands import as_json, refused, run
from labelwise.project.setup import open_project

pytestmark = pytest.mark.heavy

NAMES = [
    *(f"day/im {n} (1).JPG" for n in range(3)),
    *(f"night/im_{n}.jpg" for n in range(3)),
    "day/x.jpg",
    "night/x.jpg",
]


@pytest.fixture
def project(tmp_path) -> Path:
    """Eight pictures, all asked; two folders have one of the same name."""
    rng = np.random.default_rng(0)
    for name in NAMES:
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (30, 40, 3), dtype=np.uint8)).save(tmp_path / "images" / name)
    run("init", tmp_path / "images", "-p", tmp_path, "--task", "detection", "--learner", "torch",
        "--classes", "cell,clump", "--labels", "none")  # fmt: skip
    run("suggest", "-n", 8, "-s", "random", "-p", tmp_path)
    return tmp_path


def _asked(project: Path) -> list[str]:
    pool = open_project(project).pool
    return [pool.ids[position] for position in pool.pending]


def _boxes(project: Path) -> dict[str, list[list[float]]]:
    pool = open_project(project).pool
    return {pool.ids[p]: [thing["box"] for thing in pool.target(p)["objects"]] for p in pool.labelled}


# ---- labelme, X-AnyLabeling -----------------------------------------------------------------------------------------

#: what the two tools write at the head of a file that somebody saves
SAVED = {
    "labelme": {"version": "5.8.1", "flags": {}},
    "X-AnyLabeling": {"version": "3.3.5", "flags": {}, "description": ""},
}
#: what they write at each shape beside its label and points
SHAPE = {
    "labelme": {"group_id": None, "description": "", "flags": {}, "mask": None},
    "X-AnyLabeling": {
        **{"group_id": None, "description": "", "flags": {}, "attributes": {}, "difficult": False},
        **{"kie_linking": [], "score": None},
    },
}


@pytest.mark.parametrize(("tool", "corners"), [("labelme", 2), ("X-AnyLabeling", 4)])
def test_a_round_saved_picture_by_picture(project, tool, corners):
    """One with a box, one with nothing on it, six not opened; X-AnyLabeling tells a rectangle by its four corners."""
    said = run("export", project / "round", "--format", "labelme", "-p", project).output
    assert "by name, not by rank" in " ".join(said.split())
    (one, two, *waiting) = _asked(project)
    assert "has anybody saved a picture yet?" in refused(
        "import", project / "round", "--format", "labelme", "-p", project
    )
    points = [[3, 4], [13, 4], [13, 16], [3, 16]] if corners == 4 else [[13, 16], [3, 4]]
    shape = {"label": "cell", "points": points, "shape_type": "rectangle", **SHAPE[tool]}
    for name, shapes in ((one, [shape]), (two, [])):
        file = project / "round" / Path(name).with_suffix(".json")
        assert (project / "round" / name).exists()
        file.write_text(json.dumps(SAVED[tool] | {
            "shapes": shapes, "imagePath": Path(name).name, "imageData": None, "imageHeight": 30, "imageWidth": 40,
        }))  # fmt: skip
    done = as_json("import", project / "round", "-p", project)
    assert [done[key] for key in ("labelled", "empty", "pending")] == [2, 1, 6]
    assert _boxes(project) == {one: [[3, 4, 13, 16]], two: []}
    assert set(_asked(project)) == set(waiting)


# ---- Roboflow -------------------------------------------------------------------------------------------------------


def _roboflow(folder: Path, names: list[str], *, told: bool) -> Path:
    """A data set as Roboflow exports it: flat, names with a hash, a group as category 0, the version in three files.

    Args:
        folder: to be made.
        names: of pictures, as they were before.
        told: whether the file says what each was called.
    """
    (folder / "train").mkdir(parents=True)
    images, annotations = [], []
    for number, name in enumerate(names):
        stem, ending = re.sub(r"[^A-Za-z0-9_]+", "-", Path(name).stem), Path(name).suffix[1:]
        given = f"{stem}_{ending}.rf.{hashlib.md5(name.encode()).hexdigest()}.jpg"
        Image.new("RGB", (40, 30)).save(folder / "train" / given)
        row = {"id": number, "license": 1, "file_name": given, "height": 30, "width": 40}
        images.append(row | ({"extra": {"name": Path(name).name}} if told else {}))
        annotations.append({
            "id": number, "image_id": number, "category_id": 2, "bbox": [2, 3, 10, 12], "area": 120,
            "segmentation": [], "iscrowd": 0,
        })  # fmt: skip
    categories = [
        {"id": 0, "name": "cells-and-clumps", "supercategory": "none"},
        {"id": 1, "name": "cell", "supercategory": "cells-and-clumps"},
        {"id": 2, "name": "clump", "supercategory": "cells-and-clumps"},
    ]
    found = {"info": {"version": "1"}, "licenses": [], "categories": categories, "images": images}
    (folder / "train" / "_annotations.coco.json").write_text(json.dumps(found | {"annotations": annotations}))
    for readme in ("README.dataset.txt", "README.roboflow.txt"):
        (folder / readme).write_text("exported\n")
    return folder / "train" / "_annotations.coco.json"


@pytest.mark.parametrize("told", [False, True])
def test_a_round_labelled_in_roboflow_is_known_again_by_the_names_before_the_hash(project, told):
    run("export", project / "round", "--format", "labelme", "-p", project)
    assert all((project / "round" / name).exists() for name in NAMES), "a folder to be uploaded"
    whole = _roboflow(project / "whole", NAMES, told=told)
    said = refused("import", whole, "-p", project)
    assert "x_jpg.rf." in said
    assert "may be 'day/x.jpg' or 'night/x.jpg'" in said
    assert "(and 1 more). Nothing was taken" in said
    assert _boxes(project) == {}
    done = as_json("import", whole, "-p", project, "--ignore-unknown")
    assert [done[key] for key in ("labelled", "pending")] == [6, 2]
    assert _boxes(project) == {name: [[2, 3, 12, 15]] for name in NAMES[:6]}
    again = as_json("import", _roboflow(project / "again", NAMES[:6], told=told), "-p", project)
    assert again["unchanged"] == 6


# ---- SuperAnnotate --------------------------------------------------------------------------------------------------


def test_a_ranked_list_for_superannotate_and_its_labels_back_as_coco(project):
    """Its active learning reads ``name,entropy_value``, most wanted first; its converter writes COCO."""
    run("export", project / "scores.csv", "--format", "superannotate", "-p", project)
    with (project / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert set(rows[0]) == {"name", "entropy_value"}
    assert {row["name"] for row in rows} == {str(project / "images" / name) for name in _asked(project)}
    values = [float(row["entropy_value"]) for row in rows]
    assert values == sorted(values, reverse=True)
    images = [{"id": n, "file_name": row["name"], "width": 40, "height": 30} for n, row in enumerate(rows)]
    given = [{"id": n, "image_id": n, "category_id": 2, "bbox": [2, 3, 10, 12]} for n in (0, 1, 2)]
    named = [{"id": 1, "name": "cell"}, {"id": 2, "name": "clump"}]
    (project / "back.json").write_text(json.dumps({"images": images, "annotations": given, "categories": named}))
    done = as_json("import", project / "back.json", "-p", project)
    assert done["labelled"] - done["empty"] == 3
    assert [boxes for boxes in _boxes(project).values() if boxes] == [[[2, 3, 12, 15]]] * 3
