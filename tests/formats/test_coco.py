"""COCO instances: what comes out of a file goes back into it, and nothing broken goes in."""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwise.errors import FormatError, StateError
from labelwise.formats.boxes import BoxLabels
from labelwise.formats.coco import decode_counts, read_coco, write_coco
from unpacked import unpacked

#: holes in the ids, ids that start at 7, a crowd as run lengths both ways, polygons, an empty image, a zero-area box
GOOD = {
    "info": {"year": 2026, "note": "Größe"},
    "licenses": [{"id": 1, "name": "CC BY"}],
    "images": [
        {"id": 40, "file_name": "b/2.jpg", "width": 6, "height": 4, "license": 1, "flickr_url": "http://x"},
        {"id": 7, "file_name": "a.jpg", "width": 10, "height": 20},
        {"id": "text", "file_name": "empty.jpg", "width": 3, "height": 3},
    ],
    "categories": [
        {"id": 90, "name": "zebra", "supercategory": "animal"},
        {"id": 7, "name": "ant", "supercategory": "animal", "keypoints": ["head"]},
    ],
    "annotations": [
        {"id": 5, "image_id": 7, "category_id": 90, "bbox": [0.1, 0.2, 0.2, 7.7], "area": 1.5, "iscrowd": 0,
         "segmentation": [[0.1, 0.2, 0.3, 0.2, 0.3, 7.9]]},
        {"id": 9, "image_id": 40, "category_id": 7, "bbox": [0, 0, 6, 4], "area": 11, "iscrowd": 1,
         "segmentation": {"size": [4, 6], "counts": [1, 11, 12]}},
        {"id": 10, "image_id": 40, "category_id": 7, "bbox": [0, 0, 6, 4], "area": 11, "iscrowd": 1,
         "segmentation": {"size": [4, 6], "counts": "1;<"}},
        {"id": 11, "image_id": 40, "category_id": 7, "bbox": [2, 2, 0, 1], "iscrowd": 0, "segmentation": []},
        {"image_id": 40, "category_id": 90, "bbox": [-3, 1, 20, 2], "difficult": 1, "attributes": {"occluded": True}},
        {"id": 3, "image_id": 7, "category_id": 7, "bbox": [1 / 3, 1e-17, 1 / 7, 2.0000000000000004], "score": 0.25},
    ],
}  # fmt: skip


def _write(path, data):
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


def _changed(part, row, **values):
    data = copy.deepcopy(GOOD)
    entry = data[part][row]
    entry |= values
    data[part][row] = {key: value for key, value in entry.items() if value != "gone"}
    return data


def test_what_is_read(tmp_path):
    found = read_coco(_write(tmp_path / "a.json", GOOD))
    assert found.classes == ("ant", "zebra")
    assert list(found.labels) == ["b/2.jpg", "a.jpg", "empty.jpg"]
    assert found.labels["empty.jpg"]["objects"] == []
    crowd, _, flat, leaving = found.labels["b/2.jpg"]["objects"]
    assert (crowd["class"], crowd["box"], crowd["crowd"]) == ("ant", [0, 0, 6, 4], True)
    assert flat["box"] == [2, 2, 2, 3]
    assert leaving["box"] == [-3, 1, 17, 3]
    assert leaving["difficult"] is True
    assert leaving["extra"]["attributes"] == {"occluded": True}
    assert "crowd" not in leaving
    assert found.labels["a.jpg"]["objects"][0]["box"] == [0.1, 0.2, 0.3, 7.9]
    assert found.labels["a.jpg"]["objects"][1]["score"] == 0.25
    assert found.labels["a.jpg"]["size"] == [10, 20]
    counted = " ".join(found.notes)
    for text in (
        "1 labelled image(s) without",
        "2 box(es) marked crowd",
        "1 box(es) without area",
        "1 box(es) that leave",
    ):
        assert text in counted


def test_round_trip_loses_nothing(tmp_path):
    first = read_coco(_write(tmp_path / "a.json", GOOD))
    write_coco(tmp_path / "b.json", first)
    assert read_coco(tmp_path / "b.json") == first
    again = json.loads((tmp_path / "b.json").read_text())
    assert {key: again[key] for key in ("info", "licenses", "images", "categories")} == {
        key: GOOD[key] for key in ("info", "licenses", "images", "categories")
    }
    by_id = {a["id"]: a for a in again["annotations"]}
    for annotation in GOOD["annotations"]:
        if "id" in annotation:
            assert annotation.items() <= by_id[annotation["id"]].items()
    assert sorted(by_id) == [3, 5, 9, 10, 11, 12]


@pytest.mark.real
@pytest.mark.parametrize("name", ["instances_train", "instances_val", "person_keypoints_val"])
def test_coco_mini_comes_back_as_it_was(tmp_path, name):
    path = unpacked("coco_mini") / "annotations" / f"{name}.json"
    first = read_coco(path)
    write_coco(tmp_path / "b.json", first)
    assert read_coco(tmp_path / "b.json") == first
    before, after = (json.loads(p.read_text()) for p in (path, tmp_path / "b.json"))
    for data in (before, after):
        data["annotations"].sort(key=lambda annotation: annotation["id"])
    assert before == after


_side = st.floats(0, 1e4, allow_nan=False) | st.integers(0, 5000)


@settings(max_examples=25)
@given(st.lists(st.tuples(_side, _side, _side, _side), max_size=5))
def test_any_numbers_come_back(tmp_path_factory, boxes):
    folder = tmp_path_factory.mktemp("any")
    data = GOOD | {"annotations": [{"image_id": 7, "category_id": 7, "bbox": list(box)} for box in boxes]}
    first = read_coco(_write(folder / "a.json", data))
    write_coco(folder / "b.json", first)
    assert read_coco(folder / "b.json") == first
    assert [a["bbox"] for a in json.loads((folder / "b.json").read_text())["annotations"]] == [list(b) for b in boxes]


def test_labels_that_never_were_coco_get_numbers(tmp_path):
    labels = {
        "x.png": {"size": [8, 8], "objects": [{"class": "b", "box": [1, 2, 3, 4]}, {"class": "a", "box": [0, 0, 1, 1]}]}
    }
    write_coco(tmp_path / "a.json", BoxLabels(labels, ("b", "a")))
    data = json.loads((tmp_path / "a.json").read_text())
    assert [c["id"] for c in data["categories"]] == [1, 2]
    assert [(a["id"], a["category_id"], a["bbox"]) for a in data["annotations"]] == [
        (1, 1, [1, 2, 2, 2]),
        (2, 2, [0, 0, 1, 1]),
    ]
    assert read_coco(tmp_path / "a.json").classes == ("b", "a")


def test_compressed_run_lengths():
    assert decode_counts("") == []
    assert decode_counts("1;<") == [1, 11, 12]
    for text in ("~~", "P", "\x00", "1o"):
        with pytest.raises(ValueError, match=r"does not end|none of its"):
            decode_counts(text)


NAN = float("nan")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ([1, 2], "no list 'images'"),
        ({"images": [], "categories": []}, "no list 'annotations'"),
        (_changed("images", 1, id=40), r"image 2: id 40 is given twice"),
        (_changed("images", 1, file_name="b/2.jpg"), r"image 2: file_name 'b/2.jpg' is given twice"),
        (_changed("images", 1, file_name="gone"), "image 2: .* no file_name"),
        (_changed("images", 1, width=0), r"image 2 \('a.jpg'\): width is 0"),
        (_changed("images", 1, height=True), "height is True"),
        (_changed("images", 1, id=[1]), "image 2: .* no id"),
        (_changed("categories", 1, id=90), "category 2: id 90 is given twice"),
        (_changed("categories", 1, name="zebra"), "category 2: name 'zebra' is given twice"),
        (_changed("categories", 0, id=[90]), "category 1: .* no whole number"),
        (_changed("annotations", 1, id=5), r"annotation 2 \(id 5\): this id is given twice"),
        (_changed("annotations", 0, image_id=99), r"annotation 1 \(id 5\): image_id 99 is not among the file's 3"),
        (_changed("annotations", 0, image_id=[7]), r"annotation 1 \(id 5\): image_id"),
        (_changed("annotations", 0, category_id=8), r"annotation 1 \(id 5\): category_id 8 .*7 ant, 90 zebra"),
        (_changed("annotations", 0, category_id=True), "category_id True"),
        (_changed("annotations", 0, bbox=[1, 2, NAN, 4]), r"annotation 1 \(id 5\): width of bbox is nan"),
        (_changed("annotations", 0, bbox=[1, 2, float("inf"), 4]), "width of bbox is inf"),
        (_changed("annotations", 0, bbox=[10**400, 2, 3, 4]), "x of bbox is 1000"),
        (_changed("annotations", 0, bbox=[1e308, 2, 1e308, 4]), "x2 of the box is inf"),
        (_changed("annotations", 0, bbox=[1, 2, -3, 4]), r"annotation 1 \(id 5\): bbox .* negative side"),
        (_changed("annotations", 0, bbox=[1, 2, 3]), "bbox is"),
        (_changed("annotations", 0, bbox="gone"), "bbox is None"),
        (_changed("annotations", 0, bbox=[1, 2, "3", 4]), "width of bbox is '3'"),
        (_changed("annotations", 0, iscrowd=2), "iscrowd is 2"),
        (_changed("annotations", 0, area=NAN), "area is nan"),
        (_changed("annotations", 0, segmentation=[[1, 2, 3]]), "segmentation is"),
        (_changed("annotations", 0, segmentation=[[1, 2, 3, NAN]]), "corner of a polygon is nan"),
        (_changed("annotations", 1, segmentation={"size": [6, 4], "counts": [24]}), r"mask has size \[6, 4\]"),
        (_changed("annotations", 1, segmentation={"size": [4, 6], "counts": [25]}), "do not decode: they sum to 25"),
        (_changed("annotations", 1, segmentation={"size": [4, 6], "counts": [30, -6]}), "do not decode"),
        (_changed("annotations", 1, segmentation={"size": [4, 6], "counts": "~~~"}), "do not decode: '~' at 0"),
        (_changed("annotations", 1, segmentation={"size": [4, 6]}), "do not decode"),
        (GOOD | {"annotations": [3]}, "annotation 1: 3 is no object"),
    ],
)  # fmt: skip
def test_broken_files_are_refused_with_the_row(tmp_path, data, words):
    with pytest.raises(FormatError, match=words) as caught:
        read_coco(_write(tmp_path / "a.json", data))
    assert "a.json" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (json.dumps(GOOD)[:500], "line 1, column .* the file seems to be cut off"),
        ('{\n"images": [}', "line 2, column 12"),
        ("", "no valid JSON"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_what_is_no_json(tmp_path, text, words):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(FormatError, match=words):
        read_coco(tmp_path / "a.json")
    with pytest.raises(FormatError, match="does not exist"):
        read_coco(tmp_path / "b.json")


def test_what_cannot_be_written(tmp_path):
    label = {"size": [8, 8], "objects": [{"class": "a", "box": [0, 0, 1, float("inf")]}]}
    with pytest.raises(FormatError, match="cannot be written as JSON"):
        write_coco(tmp_path / "a.json", BoxLabels({"x": label}, ("a",)))
    with pytest.raises(FormatError, match="unknown class 'a'"):
        write_coco(tmp_path / "a.json", BoxLabels({"x": label}, ("b",)))
    with pytest.raises(StateError, match="cannot write"):
        write_coco(tmp_path / "missing" / "a.json", BoxLabels({}, ()))
    assert not list(tmp_path.iterdir())
