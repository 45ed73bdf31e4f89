"""Somebody else's detections: COCO results and YOLO txt with confidences."""

from __future__ import annotations

import json

import numpy as np
import pytest

from labelwise.errors import FormatError
from labelwise.formats.coco_results import read_found_boxes
from labelwise.formats.detections import KnownImages

SIZES = {"train/0007.jpg": (100, 50), "train/b.jpg": (10, 10), "val/b.jpg": (20, 20), "val/c.x.png": (40, 40)}
ROWS = [
    {"image_id": 7, "category_id": 2, "bbox": [10, 5, 50, 25], "score": 0.25},
    {"image_id": "val/c.x", "category_id": 1, "bbox": [-4, 0, 100, 40], "score": 0.5},
    {"image_id": "0007.jpg", "category_id": 1, "bbox": [0, 0, 100, 50], "score": 0.75},
    {"image_id": 900, "file_name": "train/b.jpg", "category_id": 1, "bbox": [1, 1, 0, 2], "score": 1},
]


def _known(**changes):
    return KnownImages(**{"ids": set(SIZES), "classes": ("cat", "dog"), "size_of": SIZES.__getitem__} | changes)


def _read(tmp_path, data, **changes):
    path = tmp_path / "results.json"
    path.write_text(json.dumps(data))
    return read_found_boxes(path, _known(**changes))


def _with(rows=ROWS, **keys):
    """The rows with these values, one list of values for each key."""
    return [row | {key: values[n] for key, values in keys.items()} for n, row in enumerate(rows)]


def test_scores_alone_are_a_yes_or_no(tmp_path):
    found = _read(tmp_path, ROWS)
    assert found.ids == tuple(sorted(SIZES))
    assert found.offsets.tolist() == [0, 2, 3, 3, 4]
    assert found.scores_U.tolist() == [0.75, 0.25, 1.0, 0.5]  # best first within an image
    assert found.labels_U.tolist() == [0, 1, 0, 0]
    np.testing.assert_allclose(found.boxes_U4[1], [0.1, 0.1, 0.6, 0.6], rtol=1e-6)
    assert found.boxes_U4[3].tolist() == [0, 0, 1, 1]
    assert found.probs_UC.tolist() == [[0.75, 0], [0, 0.25], [1, 0], [0.5, 0]]
    assert not found.exclusive
    assert found.unit_embedding_UD is None
    assert found.notes[0].startswith("1 of 4 images have no detection")


@pytest.mark.parametrize(
    ("probs", "exclusive", "first"),
    [
        ([[0.1, 0.9], [0.6, 0.4], [1, 0], [0.5, 0.5]], True, [1, 0, 0]),
        ([[0.1, 0.9], [0.6, 0.6], [1, 0], [0.5, 0.5]], False, [1, 0]),
        ([[0.1, 0.8, 0.1], [0.6, 0.2, 0.2], [0.5, 0.25, 0.25], [0.5, 0.5, 0]], True, [0.5, 0.25, 0.25]),
    ],
)
def test_probabilities_say_themselves_whether_classes_exclude_each_other(tmp_path, probs, exclusive, first):
    found = _read(tmp_path, _with(probs=probs))
    assert found.exclusive is exclusive
    assert found.probs_UC[0].tolist() == first


def test_vectors_of_objects_and_images(tmp_path):
    data = {
        "images": [
            {"id": 1, "file_name": "train/b.jpg", "embedding": [1, 2]},
            {"id": 2, "file_name": "0007.jpg", "width": 200, "height": 100, "embedding": [3, 4]},
        ],
        "categories": [{"id": 30, "name": "dog"}, {"id": 12, "name": "cat"}],
        "annotations": [
            {"image_id": 2, "category_id": 30, "bbox": [0, 0, 100, 100], "score": 0.5, "embedding": [0, 0, 1]}
        ],
    }
    found = _read(tmp_path, data)
    assert found.ids == ("train/0007.jpg", "train/b.jpg")
    assert found.boxes_U4.tolist() == [[0, 0, 0.5, 1]]
    assert found.labels_U.tolist() == [1]
    assert found.unit_embedding_UD.tolist() == [[0, 0, 1]]
    assert found.embedding_ND.tolist() == [[3, 4], [1, 2]]
    assert _read(tmp_path, data, classes=()).classes == ("cat", "dog")


def test_numbers_of_the_coco_set_the_project_was_made_from(tmp_path):
    rows = [{"image_id": 7, "category_id": 90, "bbox": [0, 0, 1, 1], "score": 0.5}]
    found = _read(tmp_path, rows, numbers={7: "val/b.jpg"}, categories={90: "dog", 5: "cat", 6: "gone"})
    assert found.offsets.tolist() == [0, 0, 0, 1, 1]
    assert found.labels_U.tolist() == [1]


def test_no_detection_at_all(tmp_path):
    found = _read(tmp_path, [])
    assert found.offsets.tolist() == [0] * 5
    assert found.probs_UC.shape == (0, 2)


def _changed(**values):
    return [{key: v for key, v in (ROWS[0] | values).items() if v != "gone"}]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"a": 1}, "no COCO results file"),
        ([3], "result 1: 3 is no object"),
        (_changed(image_id=8), "result 1: 8 is none of the project's 4 images .* for other images"),
        (_changed(image_id="b.jpg"), "result 1: 'b.jpg' may be 'train/b.jpg' or 'val/b.jpg'"),
        (_changed(image_id="gone"), "image_id is None"),
        (_changed(image_id=True), "image_id is True"),
        (_changed(category_id=0), "category_id 0 is none of 1 cat, 2 dog: is this a file for other classes"),
        (_changed(category_id="cat"), "category_id 'cat'"),
        (_changed(bbox=[0, 0, -1, 1]), "result 1: bbox .* negative side"),
        (_changed(bbox=[0, 0, float("nan"), 1]), "width of bbox is nan"),
        (_changed(score=1.5), "result 1: score is 1.5"),
        (_changed(score=float("nan")), "score is nan"),
        (_changed(score="gone"), "score is None"),
        (_with(probs=[[1, 0], None, [1, 0], [1, 0]]), "result 2: no probs, and other rows have them"),
        (_with(probs=[[1], [1], [1], [1]]), "result 1: probs is .* list of 2 or 3 numbers"),
        (_with(probs=[[1, 0], [1, 0], [2, 0], [1, 0]]), "result 3: probs are no probabilities"),
        (_with(probs=[[1, 0, 0], [1, 0, 0], [0.5, 0, 0], [1, 0, 0]]), "result 3: probs of 2 classes and the back"),
        (_with(embedding=[[1, 2], [1, 2], [1], [1, 2]]), "result 3: embedding"),
        (_with(embedding=[[1, 2], [1, 2], [1, float("inf")], [1, 2]]), "result 3: embedding holds a number"),
        ({"images": [{"id": 1}], "annotations": []}, "image 1: .* no file_name"),
        ({"images": [{"id": 1, "file_name": "zz.jpg"}], "annotations": []}, "image 1: 'zz.jpg' is none of"),
        ({"images": [{"id": 1, "file_name": "0007.jpg"}] * 2, "annotations": []}, "image 2: id 1 or .* twice"),
        ({"images": [], "annotations": ROWS}, "image_id 7 is not among the file's 0 images"),
        ({"categories": [{"id": 1, "name": "fox"}], "annotations": []}, "category 'fox' is none of the"),
    ],
)  # fmt: skip
def test_files_that_do_not_fit_are_refused_with_the_row(tmp_path, data, words):
    with pytest.raises(FormatError, match=words):
        _read(tmp_path, data)


def test_a_project_without_classes_needs_categories(tmp_path):
    with pytest.raises(FormatError, match="does not know its classes yet"):
        _read(tmp_path, ROWS, classes=())


# ---- YOLO -----------------------------------------------------------------------------------------------------------


def _folder(tmp_path, files, classes=None):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    if classes:
        (tmp_path / "classes.txt").write_text(classes)
    return read_found_boxes(tmp_path, _known())


def test_txt_with_confidences(tmp_path):
    files = {"labels/0007.txt": "1 0.5 0.5 0.2 0.2 0.25\n0 0.5 0.5 1 1 0.75\n", "labels/val/b.txt": "0 0 0 1 1 1"}
    found = _folder(tmp_path, files)
    assert found.scores_U.tolist() == [0.75, 0.25, 1]
    assert found.offsets.tolist() == [0, 2, 2, 3, 3]
    assert found.boxes_U4[2].tolist() == [0, 0, 0.5, 0.5]
    assert not found.exclusive


def test_classes_in_the_folders_own_order(tmp_path):
    found = _folder(tmp_path, {"0007.txt": "1 0.5 0.5 0.2 0.2 0.25"}, classes="dog\ncat\n")
    assert found.classes == ("cat", "dog")
    assert found.labels_U.tolist() == [0]


@pytest.mark.parametrize(
    ("files", "classes", "words"),
    [
        ({"0007.txt": "1 0.5 0.5 0.2 0.2"}, None, r"0007\.txt', line 1: 4 numbers .* save_conf"),
        ({"0007.txt": "1 0.5 0.5 0.2 0.2 7"}, None, "line 1: score is 7"),
        ({"0007.txt": "2 0.5 0.5 0.2 0.2 0.7"}, None, "class 2 is not in the list"),
        ({"z.txt": ""}, None, "'z' is none of the project's"),
        ({"b.txt": ""}, None, "'b' may be"),
        ({"a.md": ""}, None, "holds no .txt file"),
        ({"0007.txt": ""}, "dog\nfox", "unknown class in .*'fox'"),
    ],
)
def test_txt_that_does_not_fit(tmp_path, files, classes, words):
    with pytest.raises(FormatError, match=words):
        _folder(tmp_path, files, classes)
