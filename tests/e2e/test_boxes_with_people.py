"""The loop over boxes on the command line: ask, export in three formats, take back; from a detector's file alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import forked
from boxes_on_disk import write_coco
from commands import as_json, refused, run
from labelwise.contracts.format import Hints
from labelwise.formats.coco import Coco
from labelwise.project.setup import open_project

NAMES = [f"{part}/{n:03d}.png" for part in ("a", "b") for n in range(6)]


@pytest.fixture
def project(tmp_path) -> Path:
    rng = np.random.default_rng(0)
    for name in NAMES:
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (30, 40, 3), dtype=np.uint8)).save(tmp_path / "images" / name)
    run("init", tmp_path / "images", "-p", tmp_path, "--task", "detection", "--learner", "torch",
        "--classes", "cell,clump", "--labels", "none")  # fmt: skip
    return tmp_path


def _results(path: Path, names=NAMES, **more) -> Path:
    rows = []
    for n, name in enumerate(names):
        for k in range(1 + n % 3):
            box = [2 + k, 3, 10, 12 + k]
            rows.append({"file_name": name, "category_id": 1 + k % 2, "bbox": box, "score": 0.05 + 0.07 * n} | more)
    named = [{"id": 1, "name": "cell"}, {"id": 2, "name": "clump"}]
    path.write_text(json.dumps({"annotations": rows, "categories": named}))
    return path


def _labelled(project: Path) -> dict[str, Any]:
    pool = open_project(project).pool
    return {pool.ids[p]: pool.target(p) for p in pool.labelled}


@pytest.mark.heavy
def test_coco_there_and_back(project):
    run("suggest", "-n", 4, "-s", "random", "-o", project / "picks.json", "-p", project)
    head, records = Coco().read(project / "picks.json", "answers", Hints("boxes"))
    assert [record.state for record in records] == ["untouched"] * 4
    assert head.classes == ("cell", "clump")
    # unchanged it answers nothing
    assert as_json("import", project / "picks.json", "-p", project)["unanswered"] == 4
    data = json.loads((project / "picks.json").read_text())
    for image in data["images"][:3]:
        del image["answered"]
    first = data["images"][0]
    data["annotations"] = [{"id": 1, "image_id": first["id"], "category_id": 2, "bbox": [1, 2, 3, 4]}]
    data["images"][2] |= {"skipped": True, "reason": "too dark"}
    (project / "back.json").write_text(json.dumps(data))
    done = as_json("import", project / "back.json", "-p", project)
    assert [done[key] for key in ("labelled", "empty", "skipped", "unanswered", "pending")] == [2, 1, 1, 1, 1]
    labels = _labelled(project)
    assert labels[first["file_name"]]["objects"][0]["box"] == [1, 2, 4, 6]
    assert labels[data["images"][1]["file_name"]]["objects"] == []
    assert open_project(project).pool.cost()["boxes"] == 1
    # nothing of a file with one bad row
    data["annotations"][0]["bbox"] = [1, 2, -3, 4]
    (project / "bad.json").write_text(json.dumps(data))
    assert "negative side" in refused("import", project / "bad.json", "-p", project)
    assert _labelled(project) == labels


@pytest.mark.heavy
@pytest.mark.parametrize("kind", ["voc", "yolo"])
def test_folders_there_and_back(project, kind):
    results = _results(project / "results.json")
    run("suggest", "-n", 3, "-s", "random", "-p", project)
    run("export", project / "out", "--format", kind, "--predictions", results, "-p", project)
    if kind == "voc":
        assert as_json("import", project / "out", "-p", project)["unanswered"] == 3
        for file in (project / "out").rglob("*.xml"):
            file.write_text(file.read_text().replace("<answered>False</answered>", ""))
    else:
        assert "holds no" in refused("import", project / "out", "-p", project)
        assert len((project / "out" / "images.txt").read_text().splitlines()) == 3
        (project / "out" / "labels").rmdir()
        (project / "out" / "suggested" / "labels").rename(project / "out" / "labels")
    assert as_json("import", project / "out", "-p", project)["labelled"] == 3
    for name, label in _labelled(project).items():
        n = NAMES.index(name)
        expected = [[2 + k, 3, 12 + k, 15 + k] for k in range(1 + n % 3)] if 0.05 + 0.07 * n >= 0.3 else []
        found = sorted(thing["box"] for thing in label["objects"])
        assert len(found) == len(expected)
        np.testing.assert_allclose(np.array(found), np.array(expected), atol=0.01)
        assert all("score" not in thing for thing in label["objects"])


@pytest.mark.heavy
def test_suggest_works_from_a_file_of_detections_alone(project):
    results = _results(project / "results.json")
    probe = (
        "import sys\n"
        "from labelwise.__main__ import main\n"
        "import atexit\n"
        "atexit.register(lambda: print('LOADED', sorted({'timm'} & set(sys.modules))))\n"
        f"sys.argv = ['labelwise', 'suggest', '-n', '3', '-s', 'margin', '--predictions', {str(results)!r}, '--json', "
        f"'-p', {str(project)!r}]\n"
        "main()\n"
    )
    done = forked.python("-c", probe)
    assert done.returncode == 0, done.stderr
    body, _, loaded = done.stdout.rpartition("LOADED")
    assert loaded.strip() == "[]"
    # one minus |2p - 1|: nearest to a half are the scores of images 6, 7 and 5
    assert {pick["id"] for pick in json.loads(body)["picks"]} == {NAMES[n] for n in (5, 6, 7)}
    assert not (project / ".labelwise" / "fits").exists()


def test_embeddings_of_a_file_serve_methods_that_read_them(project):
    rng = np.random.default_rng(1)
    images = [{"id": n, "file_name": name, "embedding": rng.normal(size=4).tolist()} for n, name in enumerate(NAMES)]
    data = {"images": images, "annotations": [], "categories": [{"id": 1, "name": "cell"}, {"id": 5, "name": "clump"}]}
    (project / "results.json").write_text(json.dumps(data))
    found = as_json("suggest", "-n", 3, "-s", "k_center", "--predictions", project / "results.json", "-p", project)
    assert len(found["picks"]) == 3


@pytest.mark.heavy
def test_files_for_other_images_or_classes_are_refused(project):
    wrong = _results(project / "results.json", names=["z.png"])
    assert "'z.png' is none of the 12 images" in refused("suggest", "--predictions", wrong, "-p", project)
    wrong = _results(project / "results.json", category_id=3)
    assert "category_id 3 is none of 1 cell, 2 clump" in refused("suggest", "--predictions", wrong, "-p", project)
    np.savez(project / "p.npz", ids=np.array(NAMES), probs=np.full((12, 2), 0.5))
    assert "is about boxes" in refused("suggest", "--predictions", project / "p.npz", "-p", project)
    assert len(open_project(project).pool.pending) == 0


@pytest.mark.heavy
def test_a_coco_set_becomes_a_project_with_its_numbers(tmp_path):
    names = NAMES[:6]
    for name in names:
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 30)).save(tmp_path / "images" / name)
    labels = {
        name: {"size": [40, 30], "objects": [{"class": "cell", "box": [1, 1, 5, 5]}], "extra": {"id": 100 + n}}
        for n, name in enumerate(names[:4])
    }
    write_coco(tmp_path / "annotations.json", labels, ("cell", "clump"))
    assert "say --task detection" in refused("init", tmp_path, "-p", tmp_path / "p", "--task", "classification")
    made = as_json("init", tmp_path, "-p", tmp_path / "p")
    assert made["task"] == "detection"
    assert (made["classes"], made["labelled"], made["unlabelled"]) == (["cell", "clump"], 4, 2)
    assert any("2 image(s) without label" in note for note in made["notes"])
    row = {"category_id": 2, "bbox": [0, 0, 4, 4], "score": 0.5}
    (tmp_path / "results.json").write_text(json.dumps([row | {"image_id": 103}, row | {"image_id": "a/005"}]))
    picks = as_json(
        "suggest", "-n", 1, "-s", "entropy", "--predictions", tmp_path / "results.json", "-p", tmp_path / "p"
    )
    assert picks["picks"][0]["id"] == "a/005.png"


@pytest.mark.heavy
def test_formats_of_boxes_are_for_boxes(tmp_path):
    for name in ("cat/1.png", "dog/2.png", "dog/3.png"):
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "images" / name)
    run("init", tmp_path / "images", "-p", tmp_path, "--labels", "none", "--classes", "cat,dog", "--backbone", "pixels")
    run("suggest", "-n", 2, "-s", "random", "-p", tmp_path)
    assert "unknown format for asked classes 'voc'" in refused(
        "export", tmp_path / "x", "--format", "voc", "-p", tmp_path
    )
    (tmp_path / "x").mkdir()
    assert "voc is a format of boxes" in refused("import", tmp_path / "x", "--format", "voc", "-p", tmp_path)
    assert "unknown format 'vco'" in refused("import", tmp_path / "x", "--format", "vco", "-p", tmp_path)


def test_check_counts_objects_and_finds_boxes_drawn_on_another_size(project, tmp_path_factory):
    labels = {name: {"size": [40, 30], "objects": [{"class": "cell", "box": [1, 1, 9, 9]}] * 3} for name in NAMES[:2]}
    write_coco(project / "images" / "annotations.json", labels, ("cell", "clump"))
    labelled = tmp_path_factory.mktemp("labelled")
    run("init", project / "images", "-p", labelled, "--task", "detection")
    # an import and init compare sizes by themselves; this one changed afterwards
    file = project / "images" / NAMES[1]
    with Image.open(file) as image:
        image.resize((80, 60)).save(file)
    found = as_json("check", "-p", labelled)
    assert found["classes"] == {"cell": 6, "clump": 0}
    assert found["resized"] == [NAMES[1]]
    assert any("another size" in line and NAMES[1] in line for line in found["warnings"])
    assert any("no label yet for 'clump'" in line for line in found["warnings"])
