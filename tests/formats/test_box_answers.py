"""Boxes that come back from people, in three formats: what counts as an answer, and what is refused."""

from __future__ import annotations

import json

import pytest

from labelwise.errors import DataError, FormatError
from labelwise.formats.box_answers import read_box_answers
from labelwise.formats.boxes import BoxLabels
from labelwise.formats.coco import write_coco
from labelwise.formats.detections import KnownImages
from labelwise.formats.labels_table import check_answers
from labelwise.formats.voc import write_voc
from labelwise.formats.yolo import write_yolo

SIZES = {"s/a.jpg": (100, 50), "b.jpg": (10, 10), "c.jpg": (20, 20)}
BOX = {"class": "cat", "box": [1, 2, 3, 4]}
LABELS = {
    "s/a.jpg": {
        "size": [100, 50],
        "objects": [BOX | {"score": 0.5}],
        "extra": {"rank": 3, "answered": True, "seconds": 7},
    },
    "b.jpg": {"size": [10, 10], "objects": []},
    "c.jpg": {"size": [20, 20], "objects": [BOX], "extra": {"answered": False}},
}


def _size(item):
    if item not in SIZES:
        raise DataError("gone")
    return SIZES[item]


def _known(**changes):
    return KnownImages(**{"ids": set(SIZES), "classes": ("cat", "dog"), "size_of": _size} | changes)


def _taken(table):
    answers = check_answers(table, set(SIZES), ("cat", "dog"), root=None)
    return {a.id: a.target and [(t["class"], t["box"]) for t in a.target["objects"]] for a in answers}


def test_coco_takes_what_was_answered(tmp_path):
    write_coco(tmp_path / "a.json", BoxLabels(LABELS, ("cat", "dog")))
    table = read_box_answers(tmp_path / "a.json", _known())
    assert _taken(table) == {"s/a.jpg": [("cat", [1, 2, 3, 4])], "b.jpg": []}
    assert table.unanswered == 1
    assert table.classes == ("cat", "dog")
    first = table.answers[0]
    assert first.cost == {"seconds": 7.0}
    # a score is what a model says; a label has none, and no marks of the export either
    assert "score" not in first.target["objects"][0]
    assert set(first.target["extra"]) == {"id"}


def test_coco_of_tools_that_flatten_paths_and_skips(tmp_path):
    labels = {"a.jpg": LABELS["s/a.jpg"], "c.jpg": LABELS["c.jpg"] | {"extra": {"skipped": True, "reason": "blurred"}}}
    write_coco(tmp_path / "a.json", BoxLabels(labels, ("cat",)))
    table = read_box_answers(tmp_path / "a.json", _known())
    assert _taken(table) == {"s/a.jpg": [("cat", [1, 2, 3, 4])], "c.jpg": None}
    assert table.answers[1].reason == "blurred"


def test_voc_and_yolo_folders(tmp_path):
    write_voc(tmp_path / "voc", BoxLabels(LABELS, ("cat", "dog")))
    table = read_box_answers(tmp_path / "voc", _known())
    assert _taken(table) == {"s/a.jpg": [("cat", [1, 2, 3, 4])], "b.jpg": []}
    assert table.unanswered == 1
    named = {f"images/{name}": label for name, label in LABELS.items() if name != "b.jpg"}
    write_yolo(tmp_path / "yolo", BoxLabels(named, ("dog", "cat")))
    table = read_box_answers(tmp_path / "yolo", _known())
    assert _taken(table) == {"s/a.jpg": [("cat", [1, 2, 3, 4])], "c.jpg": [("cat", [1, 2, 3, 4])]}


def test_what_is_refused(tmp_path):
    path = tmp_path / "a.json"
    write_coco(path, BoxLabels({"b.jpg": {"size": [20, 20], "objects": [BOX]}}, ("cat",)))
    with pytest.raises(FormatError, match=r"image 1: 'b.jpg' was labelled at 20 x 20 pixels and has 10 x 10"):
        read_box_answers(path, _known())
    write_coco(path, BoxLabels({"z.jpg": {"size": [20, 20], "objects": []}}, ("cat",)))
    with pytest.raises(FormatError, match=r"image 1: 'z.jpg' is none of the project's 3 images"):
        read_box_answers(path, _known())
    write_coco(path, BoxLabels({"b.jpg": {"size": [10, 10], "objects": [BOX | {"class": "cot"}]}}, ("cot",)))
    with pytest.raises(FormatError, match=r"image 1: unknown class 'cot' for 'b.jpg': did you mean 'cat'.*Nothing was"):
        _taken(read_box_answers(path, _known()))
    twice = {"b.jpg": {"size": [10, 10], "objects": []}, "./b.jpg": {"size": [10, 10], "objects": [BOX]}}
    write_coco(path, BoxLabels(twice, ("cat",)))
    with pytest.raises(FormatError, match=r"two answers for 'b.jpg': 1 box\(es\) here, 0 box\(es\) in image 1"):
        _taken(read_box_answers(path, _known()))
    (tmp_path / "a.csv").write_text("id,label\nb.jpg,cat\n")
    with pytest.raises(FormatError, match="boxes come back as a COCO file"):
        read_box_answers(tmp_path / "a.csv", _known())
    (tmp_path / "empty").mkdir()
    with pytest.raises(FormatError, match=r"holds no \.xml and no \.txt file"):
        read_box_answers(tmp_path / "empty", _known())
    path.write_text(json.dumps([]))
    with pytest.raises(FormatError, match="no COCO instances file"):
        read_box_answers(path, _known())


def test_an_image_that_is_gone_keeps_its_label(tmp_path):
    write_coco(tmp_path / "a.json", BoxLabels({"gone.jpg": {"size": [9, 9], "objects": []}}, ("cat",)))
    table = read_box_answers(tmp_path / "a.json", _known(ids={*SIZES, "gone.jpg"}))
    assert table.answers[0].target["size"] == [9, 9]
