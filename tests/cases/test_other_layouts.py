"""Inputs as other tools and operating systems write them: names, folders, encodings, lists, through the commands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from commands import as_json, refused, run
from labelwise.project.setup import open_project

HALF = "0 0.5 0.5 0.5 0.5\n"
BOX = [10.0, 7.5, 30.0, 22.5]


def _picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(len(str(path)) + sum(map(ord, path.name))).integers(0, 255, (30, 40, 3), np.uint8)
    Image.fromarray(pixels).save(path, "JPEG" if path.suffix.lower() == ".jpg" else None)


def _write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


def _labels(project: Path) -> dict[str, Any]:
    pool = open_project(project).pool
    return {pool.ids[p]: pool.target(p) for p in pool.labelled}


def _classes(project: Path) -> dict[str, list[str]]:
    return {item: [thing["class"] for thing in label["objects"]] for item, label in _labels(project).items()}


def _project(folder: Path, *names: str, task: str = "detection") -> Path:
    """A project of pictures without labels, of the classes cat and dog."""
    for name in names:
        _picture(folder / "data" / name)
    run("init", folder / "data", "-p", folder, "--task", task, "--classes", "cat,dog", "--labels", "none")
    return folder


# ---- splits that a tool made ----------------------------------------------------------------------------------------

VOC = (
    "<annotation><filename>{}</filename><size><width>40</width><height>30</height></size><object><name>dog</name>"
    "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object></annotation>"
)


@pytest.mark.parametrize("layout", ["{split}/labels/{name}.txt", "labels/{split}/{name}.txt", "{split}/{name}.xml"])
def test_answers_that_a_tool_sorted_into_splits_for_a_flat_project(tmp_path, layout):
    project = _project(tmp_path, "a.jpg", "b.jpg")
    for split, name in (("train", "a"), ("valid", "b")):
        text = VOC.format(f"{name}.jpg") if layout.endswith("xml") else f"1{HALF[1:]}"
        _write(tmp_path / "answers" / layout.format(split=split, name=name), text)
    if not layout.endswith("xml"):
        _write(tmp_path / "answers" / "data.yaml", "names: [cat, dog]\n")
    done = as_json("import", tmp_path / "answers", "-p", project)
    assert done["labelled"] == 2
    assert any("without 'train/', 'valid/'" in note for note in done["notes"])
    assert _classes(project) == {"a.jpg": ["dog"], "b.jpg": ["dog"]}


def test_one_name_in_two_splits_is_refused(tmp_path):
    project = _project(tmp_path, "a.jpg", "b.jpg")
    for split in ("train", "val"):
        _write(tmp_path / "answers" / "labels" / split / "a.txt", HALF)
    _write(tmp_path / "answers" / "data.yaml", "names: [cat, dog]\n")
    said = refused("import", tmp_path / "answers", "-p", project)
    assert "may both be 'a.jpg'" in said
    assert _labels(project) == {}


def test_answers_of_another_split_are_refused_where_the_project_has_splits(tmp_path):
    project = _project(tmp_path, "train/a.jpg", "val/b.jpg")
    _write(tmp_path / "answers" / "labels" / "test" / "a.txt", HALF)
    _write(tmp_path / "answers" / "data.yaml", "names: [cat, dog]\n")
    assert "lies in another folder" in refused("import", tmp_path / "answers", "-p", project)


def test_labels_sorted_into_splits_beside_pictures_that_are_not_keep_the_splits(tmp_path):
    for split, name in (("train", "a"), ("test", "b")):
        _picture(tmp_path / "data" / "images" / f"{name}.jpg")
        _write(tmp_path / "data" / "labels" / split / f"{name}.txt", HALF)
    _write(tmp_path / "data" / "data.yaml", "names: [cat, dog]\n")
    found = as_json("init", tmp_path / "data", "-p", tmp_path)
    assert (found["labelled"], found["test"]) == (1, 1)


def test_yolo_in_capitals(tmp_path):
    for split, name in (("Train", "a"), ("Valid", "b"), ("Test", "c")):
        _picture(tmp_path / "data" / split / "Images" / f"{name}.JPG")
        _write(tmp_path / "data" / split / "Labels" / f"{name}.txt", HALF)
    _write(tmp_path / "data" / "data.yaml", "train: ../Train/Images\nval: ../Valid/Images\nnc: 2\nnames: [cat, dog]\n")
    found = as_json("init", tmp_path / "data", "-p", tmp_path)
    assert (found["labelled"], found["validation"], found["test"]) == (1, 1, 1)
    assert _labels(tmp_path)["Train/Images/a.JPG"]["objects"][0]["box"] == BOX


@pytest.mark.parametrize(
    ("train", "test"),
    [("training_set", "test_set"), ("seg_train/seg_train", "seg_test/seg_test"), ("train/train", "test/test")],
)
def test_splits_as_published_sets_call_them(tmp_path, train, test):
    for split, count in ((train, 3), (test, 2)):
        for name in ("cats", "dogs"):
            for n in range(count):
                _picture(tmp_path / "data" / split / name / f"{n}.jpg")
    found = as_json("init", tmp_path / "data", "-p", tmp_path)
    assert (found["classes"], found["labelled"], found["test"]) == (["cats", "dogs"], 6, 4)


# ---- encodings and archives -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_json_of_windows_programs(tmp_path, encoding):
    _picture(tmp_path / "data" / "a.jpg")
    coco = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 40, "height": 30}],
        "categories": [{"id": 7, "name": "Käse"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 7, "bbox": [1, 2, 3, 4]}],
    }
    _write(tmp_path / "data" / "labels.json", json.dumps(coco, ensure_ascii=False), encoding)
    run("init", tmp_path / "data", "-p", tmp_path)
    assert _classes(tmp_path) == {"a.jpg": ["Käse"]}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_class_lists_of_windows_programs(tmp_path, encoding):
    project = _project(tmp_path, "a.jpg")
    _write(tmp_path / "answers" / "labels" / "a.txt", HALF)
    _write(tmp_path / "answers" / "classes.txt", "dog\r\ncat\r\n", encoding)
    run("import", tmp_path / "answers", "-p", project)
    assert _classes(project) == {"a.jpg": ["dog"]}


@pytest.mark.parametrize(
    ("start", "what"), [(b"PK\x03\x04", "zip"), (b"\x1f\x8b\x08", "gzip"), (b"Rar!", "rar"), (b"7z\xbc\xaf", "7z")]
)
def test_archives_have_to_be_unpacked(tmp_path, start, what):
    project = _project(tmp_path, "a.jpg")
    (tmp_path / "export.bin").write_bytes(start + bytes(300))
    for command in (["import"], ["suggest", "--predictions"], ["init"]):
        said = refused(*command, tmp_path / "export.bin", "-p", tmp_path / "new" if command == ["init"] else project)
        assert what in said
        assert "unpack it" in said


def test_what_is_read_by_nobody_is_told_in_one_short_line(tmp_path):
    project = _project(tmp_path, "a.jpg")
    _write(tmp_path / "a.json", json.dumps({"a.jpg": {"boxes": [[1, 2, 3, 4]], "labels": ["cat"]}}))
    for command in (["import"], ["suggest", "--predictions"], ["init"]):
        said = refused(*command, tmp_path / "a.json", "-p", tmp_path / "new" if command == ["init"] else project)
        assert "column" not in said, "no table"
        assert len(said) < 320 + len(str(tmp_path))


# ---- classes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("numbered.txt", "0 dog\n1 cat\n"),
        ("numbered.txt", "1: cat\n0: dog\n"),
        ("class_to_idx.json", '{"cat": 1, "dog": 0}'),
    ],
)
def test_lists_of_classes_as_programs_print_them(tmp_path, name, text):
    project = _project(tmp_path, "a.jpg")
    _write(tmp_path / "answers" / "a.txt", HALF)
    run("import", tmp_path / "answers", "-p", project, "--names", _write(tmp_path / name, text))
    assert _classes(project) == {"a.jpg": ["dog"]}


def test_numbers_of_classes_in_tables_need_a_list(tmp_path):
    project = _project(tmp_path, "a.jpg", "b.jpg", task="classification")
    table = _write(tmp_path / "answers.csv", "id,label\na.jpg,0\nb.jpg,1\n")
    assert "no list says which is which" in refused("import", table, "-p", project)
    run("import", table, "-p", project, "--names", _write(tmp_path / "names.txt", "dog\ncat\n"))
    assert _labels(project) == {"a.jpg": "dog", "b.jpg": "cat"}


def test_pictures_with_nothing_but_shapes_that_are_left_out_are_not_answered(tmp_path):
    project = _project(tmp_path, "a.jpg", "b.jpg")
    line = {"label": "cat", "points": [[1, 2], [3, 4]], "shape_type": "linestrip"}
    for name, shapes in (("a", [line]), ("b", [])):
        labels = {"shapes": shapes, "imagePath": f"{name}.jpg", "imageData": None, "imageHeight": 30, "imageWidth": 40}
        _write(tmp_path / "labelme" / f"{name}.json", json.dumps({"version": "5.0.1", "flags": {}, **labels}))
    done = as_json("import", tmp_path / "labelme", "-p", project)
    assert (done["labelled"], done["empty"], done["unanswered"]) == (1, 1, 1)
    xml = (
        '<annotations><meta/><image id="0" name="a.jpg" width="40" height="30">'
        '<polyline label="cat" points="1,2;3,4" source="manual"/></image></annotations>'
    )
    done = as_json("import", _write(tmp_path / "cvat.xml", xml), "-p", project, "--untouched", "empty")
    assert (done["labelled"], done["corrected"], done["unanswered"]) == (0, 0, 1)
