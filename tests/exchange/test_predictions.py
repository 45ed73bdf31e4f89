"""What somebody else's model said, from its file to the learner that stands in for it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from labelwise.contracts.learner import Examples
from labelwise.errors import FormatError
from labelwise.exchange.incoming import Incoming, Known, Wishes
from labelwise.exchange.sniffing import required
from labelwise.kinds import KINDS
from labelwise.signals import Embedding, Probs
from labelwise.tasks.classification import Classification
from labelwise.tasks.detection import Detection

SIZES = {"train/0007.jpg": (100, 50), "train/b.jpg": (10, 10), "val/b.jpg": (20, 20), "val/c.x.png": (40, 40)}
IDS = tuple(sorted(SIZES))
NAMES = ("cat", "dog")
LISTED = {0: "none", 1: "cat", 2: "dog"}
ROWS = [
    {"image_id": "0007.jpg", "category_id": 2, "bbox": [10, 5, 50, 25], "score": 0.25},
    {"image_id": "val/c.x.png", "category_id": 1, "bbox": [-4, 0, 100, 40], "score": 0.5},
    {"image_id": "0007.jpg", "category_id": 1, "bbox": [0, 0, 100, 50], "score": 0.75},
    {"image_id": 900, "file_name": "train/b.jpg", "category_id": 1, "bbox": [1, 1, 0, 2], "score": 1},
]


def learner_of(path, classes=NAMES, numbers=lambda: ({}, {}), **wishes):
    known = Known(KINDS.create("boxes"), set(IDS), classes, size_of=SIZES.__getitem__, numbers=numbers)
    form = required(path, "predictions", kind="boxes").format
    door = Incoming(path, form, "predictions", known, Wishes(**wishes))
    task = Detection(classes or ("to be named",))
    try:
        learner = task.imported(door, door.naming, IDS, SIZES.get)
    finally:
        door.refuse_unknown()  # says more
    return learner


def read(tmp_path, data, names=LISTED, **more):
    path = tmp_path / "results.json"
    path.write_text(json.dumps(data))
    return learner_of(path, names=names, **more)


def changed(**values):
    return [{key: value for key, value in (ROWS[0] | values).items() if value != "gone"}]


def test_scores_alone_are_a_yes_or_no(tmp_path):
    learner = read(tmp_path, ROWS)
    found = learner.found
    assert found.ids == IDS
    assert found.offsets.tolist() == [0, 2, 3, 3, 4]
    assert found.scores_U.tolist() == [0.75, 0.25, 1.0, 0.5]  # best first within an image
    assert found.labels_U.tolist() == [0, 1, 0, 0]
    np.testing.assert_allclose(found.boxes_U4[1], [0.1, 0.1, 0.6, 0.6], rtol=1e-6)
    assert found.boxes_U4[3].tolist() == [0, 0, 1, 1]
    assert found.probs_UC.tolist() == [[0.75, 0], [0, 0.25], [1, 0], [0.5, 0]]
    assert not found.exclusive
    assert found.unit_embedding_UD is None
    assert learner.notes[0].startswith("1 of 4 images have no detection: they come last")
    assert learner.notes[1:] == (
        "1 of 4 boxes leave their image, by up to 140 % of a side, and were cut off at its edge",
    )


def test_images_and_categories_that_the_file_lists(tmp_path):
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
    found = read(tmp_path, data, names=None).found
    assert found.ids == ("train/0007.jpg", "train/b.jpg")
    assert found.boxes_U4.tolist() == [[0, 0, 0.5, 1]]
    assert found.labels_U.tolist() == [1]
    assert found.unit_embedding_UD.tolist() == [[0, 0, 1]]
    assert found.embedding_ND.tolist() == [[3, 4], [1, 2]]
    assert read(tmp_path, data, names=None, classes=()).task.classes == ("cat", "dog")


def test_numbers_of_the_coco_set_that_the_project_was_made_from(tmp_path):
    rows = [{"image_id": 7, "category_id": 90, "bbox": [0, 0, 1, 1], "score": 0.5}]
    counted = ({7: "val/b.jpg"}, {90: "dog", 5: "cat", 6: "gone"})
    found = read(tmp_path, rows, names=None, numbers=lambda: counted).found
    assert found.offsets.tolist() == [0, 0, 0, 1, 1]
    assert found.labels_U.tolist() == [1]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (changed(image_id="e.jpg"), r"result 1: 'e\.jpg' is none of the 4 images"),
        (changed(image_id="b.jpg"), "result 1: 'b.jpg' may be 'train/b.jpg' or 'val/b.jpg'"),
        (changed(image_id=8), "images are numbers .image number 8., and no list says which is which"),
        (changed(category_id=3), r"class 3 is not in the list of names \(0 none, 1 cat, 2 dog\)"),
        (changed(category_id="fox"), "unknown class 'fox'; the project has cat, dog"),
        ([ROWS[0] | {"probs": [1, 0]}, ROWS[2]], "result 1: no probs, and other rows have them"),
        ([ROWS[0] | {"probs": [1, 0]}, ROWS[1]], "result 2: no probs, and other rows have them"),
        ([ROWS[0] | {"probs": [1]}], "result 1: probs have 1 columns, and there are 2 classes"),
        ([ROWS[0] | {"probs": [2, 0]}], "result 1: probs hold 2"),
        ([ROWS[0] | {"probs": [0.5, 0, 0]}], r"result 1: probs sum to 0\.5"),
        ([ROWS[0] | {"embedding": [1, 2]}, ROWS[1] | {"embedding": [1]}], "result 2: embeddings are"),
        (
            {"images": [{"id": 7, "file_name": "zz.jpg"}], "annotations": changed(image_id=7)},
            r"image 1: 'zz\.jpg' is none of the 4 images",
        ),
        (
            {"images": [{"id": 7, "file_name": "0007.jpg"}] * 2, "annotations": changed(image_id=7)},
            "image 2: id 7 is given twice",
        ),
    ],
)
def test_files_that_do_not_fit_are_refused_with_the_row(tmp_path, data, words):
    with pytest.raises(FormatError, match=words) as caught:
        read(tmp_path, data)
    assert len(str(caught.value).replace(str(tmp_path), "")) < 300


def test_a_project_without_classes_needs_categories(tmp_path):
    with pytest.raises(FormatError, match="no list says which is which"):
        read(tmp_path, ROWS, names=None, classes=())


# ---- YOLO txt -------------------------------------------------------------------------------------------------------


def folder(tmp_path, files, classes="cat\ndog\n"):
    for name, text in {**files, "classes.txt": classes}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return learner_of(tmp_path)


def test_txt_with_confidences(tmp_path):
    files = {"labels/0007.txt": "1 0.5 0.5 0.2 0.2 0.25\n0 0.5 0.5 1 1 0.75\n", "labels/val/b.txt": "0 0 0 1 1 1"}
    learner = folder(tmp_path, files)
    found = learner.found
    assert found.scores_U.tolist() == [0.75, 0.25, 1]
    assert found.offsets.tolist() == [0, 2, 2, 3, 3]
    assert found.boxes_U4[2].tolist() == [0, 0, 0.5, 0.5]
    assert not found.exclusive
    assert learner.collect(Examples(None, IDS), frozenset()).ids == IDS


def test_classes_in_the_folders_own_order(tmp_path):
    found = folder(tmp_path, {"0007.txt": "1 0.5 0.5 0.2 0.2 0.25"}, classes="dog\ncat\n").found
    assert found.classes == ("cat", "dog")
    assert found.labels_U.tolist() == [0]


@pytest.mark.parametrize(
    ("files", "classes", "words"),
    [
        ({"0007.txt": "1 0.5 0.5 0.2 0.2"}, "cat\ndog", "no confidence among them.*save_conf"),
        ({"0007.txt": "1 0.5 0.5 0.2 0.2 7"}, "cat\ndog", r"0007\.txt', line 1: 5 numbers .* no confidence among them"),
        ({"0007.txt": "2 0.5 0.5 0.2 0.2 0.7"}, "cat\ndog", "class 2 is not in the list"),
        ({"z.txt": "", "0007.txt": "0 0.5 0.5 0.2 0.2 0.7"}, "cat\ndog", r"z\.txt'.*: 'z' is none of the 4 images"),
        ({"b.txt": "0 0.5 0.5 0.2 0.2 0.7"}, "cat\ndog", "'b' may be 'train/b.jpg' or 'val/b.jpg'"),
        ({"a.md": ""}, "cat\ndog", "is no format that is read here|no file of labels|no prediction"),
        ({"0007.txt": "1 0.5 0.5 0.2 0.2 0.7"}, "dog\nfox", "unknown class 'fox'"),
    ],
)
def test_txt_that_does_not_fit(tmp_path, files, classes, words):
    with pytest.raises(FormatError, match=words):
        folder(tmp_path, files, classes)


# ---- arrays of images -----------------------------------------------------------------------------------------------

PROBS = np.array([[0.5, 0.5], [0.25, 0.75], [1.0, 0.0]], np.float32)


def of_arrays(tmp_path, project=NAMES, **arrays):
    """The learner of a project with these classes."""
    path = tmp_path / "p.npz"
    arrays = {"ids": ["a.png", "b.png", "c.png"], "probs": PROBS} | arrays
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
    known = Known(KINDS.create("classes"), {"a.png", "b.png", "c.png", "d.png"}, project)
    door = Incoming(path, required(path, "predictions", kind="classes").format, "predictions", known)
    try:
        return Classification(door.naming.classes).imported(door, door.naming, sorted(known.ids))
    finally:
        door.refuse_unknown()


def rows_of(learner, signal):
    return learner.collect(Examples(None, learner.ids), frozenset({signal}))[signal].tolist()


def test_arrays_in_any_order_and_classes_in_that_of_the_project(tmp_path):
    learner = of_arrays(tmp_path, ids=["c.png", "a.png", "b.png"], embeddings=np.arange(6).reshape(3, 2))
    assert learner.ids == ("a.png", "b.png", "c.png")
    assert rows_of(learner, Probs()) == PROBS[[1, 2, 0]].tolist()
    assert rows_of(learner, Embedding()) == [[2, 3], [4, 5], [0, 1]]
    assert learner.notes == ()
    assert rows_of(of_arrays(tmp_path, classes=["dog", "cat"]), Probs())[1] == [0.75, 0.25]
    named = of_arrays(tmp_path, project=(), classes=["dog", "cat"])
    assert (named.task.classes, rows_of(named, Probs())[1]) == (("dog", "cat"), [0.25, 0.75])


def test_embeddings_alone(tmp_path):
    learner = of_arrays(tmp_path, probs=None, embeddings=np.ones((3, 4), np.float16))
    assert learner.provides == {"embedding"}
    assert learner.embedding_width == 4


def entry(row, column, value):
    probs = PROBS.copy()
    probs[row, column] = value
    return probs


@pytest.mark.parametrize(
    ("arrays", "match"),
    [
        ({"probs": entry(1, 0, np.nan)}, "id 2: probs hold nan"),
        ({"probs": entry(1, 0, -np.inf)}, "id 2: probs hold -inf"),
        ({"probs": entry(2, 1, -0.5)}, r"id 3: probs hold -0\.5"),
        ({"probs": entry(1, 0, 0.26)}, r"id 2: probs sum to 1\.01; "),
        ({"probs": np.ones((3, 2))}, r"id 1: probs sum to 2 \(2 more rows likewise\)"),
        ({"probs": np.array([[3.0, -2.0]] * 3)}, "not logits"),
        ({"project": ("x", "y", "z")}, "2 columns, and there are 3 classes"),
        ({"classes": ["cat"]}, "2 columns, and there are 1 classes"),
        ({"classes": ["cat", "q"]}, "unknown class 'q'"),
        ({"embeddings": np.full((3, 1), np.nan)}, "id 1: embeddings hold a number that is not finite"),
        ({"embeddings": np.full((3, 1), 1e300)}, "too large for float32"),
        ({"ids": ["a.png", "b.png", "a.png"]}, "id 3: 'a.png' stands in .*id 1 too"),
        ({"ids": ["a.png", "b.png", "c.jpg"]}, r"id 3: 'c\.jpg' is none of the 4 images; did you mean 'c\.png'"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_with_the_row(tmp_path, arrays, match):
    with pytest.raises(FormatError, match=match) as error:
        of_arrays(tmp_path, **arrays)
    assert "\n" not in str(error.value)
    assert len(str(error.value).replace(str(tmp_path), "")) < 300
