"""Inputs as other tools and operating systems write them: names, folders, encodings, lists, through the commands."""

from __future__ import annotations

import json
import shutil
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


@pytest.mark.heavy
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


@pytest.mark.heavy
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


@pytest.mark.heavy
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


@pytest.mark.heavy
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


# ---- what is said ---------------------------------------------------------------------------------------------------


def _coco(folder: Path, boxes: list[list[float]]) -> Path:
    images = [{"id": n, "file_name": f"{n}.jpg", "width": 40, "height": 30} for n in range(len(boxes))]
    annotations = [{"id": n, "image_id": n, "category_id": 1, "bbox": box} for n, box in enumerate(boxes)]
    coco = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "cat"}]}
    return _write(folder / "labels.json", json.dumps(coco))


@pytest.mark.heavy
@pytest.mark.parametrize(("boxes", "warned"), [
    ([[10, 5, 38, 28], [20, 5, 39, 28], [1, 2, 9, 12]], True),
    ([[10, 5, 38, 28], [20, 5, 39, 28], [10, 12, 9, 6]], False),
    ([[1, 2, 9, 12], [2, 3, 10, 12], [3, 4, 5, 6]], False),
])  # fmt: skip
def test_corners_in_place_of_sides_are_suspected_at_init_and_import(tmp_path, boxes, warned):
    project = _project(tmp_path, *(f"{n}.jpg" for n in range(3)))
    said = as_json("import", _coco(tmp_path, boxes), "-p", project)["notes"]
    assert any("written as corners" in note for note in said) is warned
    (tmp_path / "labels.json").rename(tmp_path / "data" / "labels.json")
    opened = as_json("init", tmp_path / "data", "-p", tmp_path / "again")["notes"]
    assert [note for note in opened if "box" in note] == [note for note in said if "box" in note]


def test_listed_pictures_that_are_missing_are_told_once(tmp_path):
    for name in ("0.jpg", "1.jpg"):
        _picture(tmp_path / "data" / name)
    _coco(tmp_path / "data", [[1, 2, 3, 4]] * 3)
    said = as_json("init", tmp_path / "data", "-p", tmp_path)["notes"]
    assert [note for note in said if "2.jpg" in note] == ["1 listed image(s) are not there: '2.jpg'"]


def test_a_table_beside_the_pictures_is_pointed_at(tmp_path):
    _picture(tmp_path / "data" / "a.jpg")
    _write(tmp_path / "data" / "boxes.csv", "filename,class,xmin,ymin,xmax,ymax\na.jpg,cat,1,2,3,4\n")
    said = as_json("init", tmp_path / "data", "-p", tmp_path)["notes"]
    [note] = [note for note in said if "boxes.csv' looks like tensorflow_csv" in note]
    assert "not read: init" in note


def test_the_data_are_opened_once(tmp_path, monkeypatch):
    from labelwise.data import open as opening

    _picture(tmp_path / "data" / "0.jpg")
    _coco(tmp_path / "data", [[1, 2, 3, 4]])
    seen = []
    real = opening.open_labelled
    monkeypatch.setattr(opening, "open_labelled", lambda path, *rest: seen.append(path) or real(path, *rest))
    run("init", tmp_path / "data", "-p", tmp_path)
    assert len(seen) == 1
    run("init", tmp_path / "data", "-p", tmp_path)
    assert len(seen) == 2


def test_options_of_a_format_stand_behind_its_name(tmp_path):
    project = _project(tmp_path, "a.jpg")
    xml = (
        '<annotations><meta/><image id="0" name="a.jpg" width="40" height="30">'
        '<box label="cat" source="auto" xtl="1" ytl="2" xbr="9" ybr="8"/></image></annotations>'
    )
    file = _write(tmp_path / "cvat.xml", xml)
    done = as_json("import", file, "-p", project)
    assert (done["labelled"], done["unanswered"]) == (0, 1)
    assert any("--format cvat:auto=answered" in note for note in done["notes"])
    assert "did you mean 'auto'" in refused("import", file, "-p", project, "--format", "cvat:auti=answered")
    assert "untouched" in refused("import", file, "-p", project, "--format", "cvat:auto=perhaps")
    assert as_json("import", file, "-p", project, "--format", "cvat:auto=answered")["labelled"] == 1
    rows = {row["name"]: row["options"] for row in as_json("list", "formats")}
    assert (rows["cvat"], rows["coco"]) == ({"auto": "untouched"}, {})


def test_the_control_of_label_studio_is_named_in_the_settings_too(tmp_path):
    tasks = []
    for picture, quality, what in (("a.jpg", "sharp", "cat"), ("b.jpg", "blurred", "dog")):
        _picture(tmp_path / "data" / picture)
        said = [
            {"from_name": name, "to_name": "image", "type": "choices", "value": {"choices": [choice]}}
            for name, choice in (("quality", quality), ("what", what))
        ]
        tasks.append({"id": len(tasks), "data": {"image": picture}, "annotations": [{"id": 1, "result": said}]})
    file = _write(tmp_path / "data" / "tasks.json", json.dumps(tasks))
    assert "label_studio:control=NAME" in refused("init", file, "-p", tmp_path)
    run("init", file, "-p", tmp_path, "--labels", "label_studio:control=what")
    assert _labels(tmp_path) == {"a.jpg": "cat", "b.jpg": "dog"}
    run("init", file, "-p", tmp_path)


def test_labelme_keeps_classes_without_objects_and_their_order(tmp_path):
    project = _project(tmp_path, "a.jpg", "b.jpg")
    _write(tmp_path / "answers" / "a.txt", f"1{HALF[1:]}")
    run("import", tmp_path / "answers", "-p", project, "--names", _write(tmp_path / "names.txt", "cat\ndog\n"))
    run("export", tmp_path / "out", "--format", "labelme", "--labelled", "--images", "copy", "-p", project)
    assert as_json("init", tmp_path / "out", "-p", tmp_path / "again")["classes"] == ["cat", "dog"]


# ---- answers without a list -----------------------------------------------------------------------------------------


def test_pictures_sorted_by_hand_into_folders_of_classes(tmp_path):
    project = _project(tmp_path, "x/a.jpg", "x/b.jpg", "y/c.jpg", task="classification")
    for name, cls in (("x/a.jpg", "cat"), ("y/c.jpg", "dog")):
        (tmp_path / "sorted" / cls).mkdir(parents=True)
        shutil.copy(tmp_path / "data" / name, tmp_path / "sorted" / cls)
    done = as_json("import", tmp_path / "sorted", "-p", project)
    assert (done["format"], done["labelled"]) == ("class_folders", 2)
    assert _labels(project) == {"x/a.jpg": "cat", "y/c.jpg": "dog"}
    (tmp_path / "sorted" / "dog" / "a.jpg").write_bytes((tmp_path / "sorted" / "cat" / "a.jpg").read_bytes())
    assert "two answers for 'x/a.jpg'" in refused("import", tmp_path / "sorted", "-p", project)


def _mask(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = np.zeros((30, 40), np.uint8)
    mask[5:15, 5:15] = value
    Image.fromarray(mask).save(path)


@pytest.mark.heavy
def test_numbers_in_masks_without_a_list_are_told_and_a_list_may_be_given(tmp_path):
    _picture(tmp_path / "data" / "a.jpg")
    run("init", tmp_path / "data", "-p", tmp_path, "--task", "segmentation", "--classes", "bg,cat,dog")
    _mask(tmp_path / "masks" / "a.png", 2)
    done = as_json("import", tmp_path / "masks", "-p", tmp_path)
    assert any("0 is 'bg', and so on" in note for note in done["notes"])
    names = _write(tmp_path / "names.txt", "0 bg\n2 cat\n3 dog\n")
    done = as_json("import", tmp_path / "masks", "-p", tmp_path, "--names", names)
    assert (done["corrected"], [note for note in done["notes"] if "and so on" in note]) == (1, [])
    assert as_json("import", tmp_path / "masks", "-p", tmp_path, "--names", names)["corrected"] == 0


def test_results_that_seem_to_count_from_one_are_told(tmp_path):
    project = _project(tmp_path, "a.jpg", "b.jpg")
    row = {"image_id": "a", "file_name": "a.jpg", "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}
    results = _write(tmp_path / "predictions.json", json.dumps([row]))
    names = _write(tmp_path / "names.yaml", "names: {0: cat, 1: dog}")
    found = as_json("suggest", "-n", "all", "--predictions", results, "--names", names, "-p", project)
    assert any("counts from 1" in note for note in found["notes"])
    _write(results, json.dumps([row, {**row, "category_id": 2}]))
    said = refused("suggest", "-n", "all", "--predictions", results, "--names", names, "-p", project)
    assert "count from 1?" in said


def test_predictions_that_count_are_exported_with_a_list_too(tmp_path):
    project = _project(tmp_path, "a.jpg", "b.jpg")
    row = {"image_id": "a", "category_id": 0, "bbox": [1, 2, 3, 4], "score": 0.5}
    results = _write(tmp_path / "predictions.json", json.dumps([row]))
    names = _write(tmp_path / "names.txt", "dog\ncat\n")
    run("suggest", "-n", "2", "--predictions", results, "--names", names, "-p", project)
    out = tmp_path / "picks.json"
    assert "--names FILE" in refused("export", out, "--predictions", results, "-p", project)
    run("export", out, "--predictions", results, "--names", names, "-p", project)
    written = json.loads(out.read_text())
    by_number = {category["id"]: category["name"] for category in written["categories"]}
    assert [by_number[found["category_id"]] for found in written["annotations"]] == ["dog"]
