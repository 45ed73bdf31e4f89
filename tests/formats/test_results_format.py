"""Predictions in JSON, of COCO, mmdet and Ultralytics: what is a number stays one, and nothing is guessed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import bounded
from labelwise.contracts.format import Hints, Writing
from labelwise.contracts.record import Box, Head, Mask, Points, Polygon, Record, Seen, Where
from labelwise.errors import FormatError, LabelwiseError
from labelwise.exchange.classes import ClassMap
from labelwise.exchange.matching import Matcher
from labelwise.formats.coco_results import CocoResults
from labelwise.formats.mmdet import MMDet
from labelwise.formats.ultralytics_json import UltralyticsJson

NAN = float("nan")
RLE = {"size": [4, 6], "counts": [1, 11, 12]}
PACKED = {"size": [4, 6], "counts": "1;<"}


def put(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
    return path


def read(form, path, **hints):
    head, records = form.read(path, "predictions", Hints(**hints))
    return head, list(records)


# ---- COCO results ---------------------------------------------------------------------------------------------------

ROW = {"image_id": 7, "category_id": 2, "bbox": [10, 5, 50, 25], "score": 0.25}


def row(**changes):
    return {key: value for key, value in (ROW | changes).items() if value != "gone"}


def results_samples(folder: Path) -> list[Path]:
    """As Detectron2, mmdet and two versions of Ultralytics write them; and with everything that may be added."""
    full = {
        "images": [{"id": 1, "file_name": "b.jpg", "width": 6, "height": 4, "embedding": [1.5, 2]},
                   {"id": 2, "file_name": "a.jpg", "width": 200, "height": 100, "embedding": [3, 4]}],
        "categories": [{"id": 30, "name": "dog"}, {"id": 12, "name": "cat"}],
        "annotations": [row(image_id=2, category_id=30, probs=[0.25, 0.75], embedding=[0, 0.5, 1]),
                        row(image_id=2, category_id=12, probs=[0.9, 0.1], embedding=[0, 0.5, 1], score=1)],
    }  # fmt: skip
    pose = row(image_id="a b", keypoints=[1.5, 2.5, 0.93, 0, 0, 0.01], file_name="a b.jpg")
    turned = {"image_id": "x", "file_name": "x.png", "category_id": 0, "score": 0.5,
              "rbox": [12, 11, 4, 2, 1.5707963267948966], "poly": [13, 9, 13, 13, 11, 13, 11, 9]}  # fmt: skip
    files = {
        "coco_instances_results.json": [row(segmentation=RLE), row(image_id=9, segmentation=PACKED)],
        "epoch_3.bbox.json": [row(), row(image_id=139, score=0.05)],
        "epoch_3.segm.json": [row(segmentation=RLE, bbox="gone")],
        "predictions.json": [row(image_id="cam1_0001", category_id=0), row(image_id=139)],
        "predictions_new.json": [row(image_id=7, file_name="0007.jpg"), pose],
        "obb.json": [turned],
        "full.json": full,
    }
    own = {"coco_instances_results.json": "inference/coco_instances_results.json"}
    return [put(folder / own.get(name, name), data) for name, data in files.items()]


def test_numbers_stay_numbers(tmp_path):
    head, records = read(CocoResults(), put(tmp_path / "p.json", [
        row(category_id=0), row(image_id="cam1_0001", category_id=1.0), row(image_id="val/c.png"), row(image_id=7.0),
        row(image_id="0007"), row(image_id=5, file_name="0005.jpg"), row(image_id="5", category_id="3")]))  # fmt: skip
    assert (head.classes, head.numbers, head.images) == ((), {}, {})
    assert [(r.image, r.number, r.bare) for r in records] == [
        (None, 7, False),
        ("cam1_0001", "cam1_0001", True),
        ("val/c.png", "val/c.png", False),
        ("0007", "0007", True),
        ("0005.jpg", 5, False),
        ("5", 5, True),
    ]
    assert [seen.cls for seen in records[0].objects] == [0, 2]
    assert records[1].objects[0].cls == 1
    assert records[-1].objects[0].cls == 3
    assert read(CocoResults(), put(tmp_path / "p.json", [row(category_id="cat")]))[1][0].objects[0].cls == "cat"
    assert records[0].objects[0] == Seen(0, Box(10, 5, 60, 30), score=0.25, attributes={"area": 1250})
    assert str(records[3].where).endswith("p.json', result 5")


def test_classes_and_images_need_lists(tmp_path):
    head, [record] = read(CocoResults(), put(tmp_path / "p.json", [row()]))
    with pytest.raises(FormatError, match="no list says which is which"):
        ClassMap(head, ("cat", "dog"))(record.objects[0].cls)
    assert ClassMap(head, ("cat", "dog"), {2: "cat"})(record.objects[0].cls) == "cat"
    matcher = Matcher({"0007.jpg", "7.jpg"}, numbers={7: "0007.jpg"})
    assert record.image is None
    assert matcher.numbered(record.number, {7: "7.jpg"}).item == "7.jpg"


def test_shapes_of_results(tmp_path):
    path = {path.name: path for path in results_samples(tmp_path)}
    _, [first, _] = read(CocoResults(), path["coco_instances_results.json"])
    assert first.objects[0].outline.read().sum() == 11
    _, [record] = read(CocoResults(), path["epoch_3.segm.json"])
    assert (record.objects[0].box, record.objects[0].outline.size) == (None, (6, 4))
    _, [_, pose] = read(CocoResults(), path["predictions_new.json"], kind="points")
    assert pose.image == "a b.jpg"
    assert pose.objects[0].points.points == ((1.5, 2.5, 2), (0, 0, 2))
    _, [turned] = read(CocoResults(), path["obb.json"])
    assert turned.objects[0].box == Box(10, 10, 14, 12, 90)
    assert turned.objects[0].outline == Polygon(((13, 9, 13, 13, 11, 13, 11, 9),))


def test_a_file_that_lists_images_and_categories(tmp_path):
    path = results_samples(tmp_path)[-1]
    head, [empty, found] = read(CocoResults(), path)
    assert (head.classes, head.numbers, head.images) == (
        ("cat", "dog"),
        {12: "cat", 30: "dog"},
        {1: "b.jpg", 2: "a.jpg"},
    )
    assert (empty.image, empty.state, empty.size, empty.objects) == (
        "b.jpg",
        "empty",
        (6, 4),
        (Seen(embedding=[1.5, 2]),),
    )
    assert [seen.cls for seen in found.objects] == [None, "dog", "cat"]
    assert found.objects[1].probs == [0.25, 0.75]
    assert found.objects[1].embedding == [0, 0.5, 1]
    assert head.notes == ()
    assert read(CocoResults(), path, classes=("cat", "dog"))[0].notes == ()
    assert "order of the file's categories (cat, dog)" in read(CocoResults(), path, classes=("dog", "cat"))[0].notes[0]


def test_what_is_written_is_read_again(tmp_path):
    head, records = read(CocoResults(), results_samples(tmp_path)[-1])
    records = [replace(record, objects=tuple(_as_arrays(seen) for seen in record.objects)) for record in records]
    CocoResults().write(tmp_path / "out.json", head, records, Writing("predictions", "boxes"))
    assert CocoResults().sniff(tmp_path / "out.json", "predictions").sure == 0.95
    again_head, again = read(CocoResults(), tmp_path / "out.json")
    assert (again_head.classes, again_head.numbers) == (head.classes, head.numbers)
    for before, after in zip(records, again, strict=True):
        assert (after.image, after.number, after.size, after.state) == (
            before.image, before.number, before.size, before.state)  # fmt: skip
        for one, other in zip(before.objects, after.objects, strict=True):
            assert (other.cls, other.box, other.score) == (one.cls, one.box, one.score)
            for what in ("probs", "embedding"):
                np.testing.assert_array_equal(getattr(one, what), getattr(other, what))
    seen = Seen("cat", Box(0, 0, 1, 1), score=0.5, probs={"dog": 0.25, "cat": 0.5})
    named = Record(Where("a"), "c.jpg", objects=(seen,))
    CocoResults().write(tmp_path / "named.json", Head(classes=("cat", "dog")), [named], Writing("predictions", "boxes"))
    _, [record] = read(CocoResults(), tmp_path / "named.json")
    assert (record.size, record.objects[0].probs) == (None, [0.5, 0.25])


def _as_arrays(seen):
    def array(values):
        return None if values is None else np.array(values, np.float32)

    return replace(seen, probs=array(seen.probs), embedding=array(seen.embedding))


def test_how_sure_results_are(tmp_path):
    for path in results_samples(tmp_path):
        assert CocoResults().sniff(path, "predictions").sure >= 0.9, path.name
        assert read(CocoResults(), path)[1]
    assert CocoResults().sniff(tmp_path / "inference", "predictions").sure == 0.95
    assert len(read(CocoResults(), tmp_path / "inference")[1]) == 2
    assert CocoResults().sniff(tmp_path, "predictions").why.startswith("6 files of results")
    with pytest.raises(FormatError, match="holds 6 file"):
        read(CocoResults(), tmp_path)
    for data in ([], {"images": [], "annotations": [{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}]}, {}, [1]):
        assert CocoResults().sniff(put(tmp_path / "x" / "x.json", data), "predictions").sure <= 0.5
    assert read(CocoResults(), put(tmp_path / "x" / "x.json", []))[1] == []


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"a": 1}, "no COCO results file"),
        ("7", "no COCO results file"),
        ([3], "result 1: 3 is no object"),
        ([row(image_id="gone")], "result 1: image_id is None"),
        ([row(image_id=True)], "image_id is True"),
        ([row(image_id=10**400)], "image_id is 1000"),
        ([row(image_id=7.5)], "image_id is 7.5"),
        ([row(file_name=[1])], r"file_name is \[1\]; give the name"),
        ([row(category_id="gone")], "category_id None; give a number"),
        ([row(category_id=True)], "category_id True"),
        ([row(), row(bbox="gone")], "result 2: bbox is None"),
        ([row(bbox=[0, 0, -1, 1])], "negative side"),
        ([row(bbox=[0, 0, 10**400, 1])], "width of bbox is 1000"),
        ([row(score="gone")], "score is None"),
        ([row(score=1.5)], "score is 1.5; give a probability"),
        ([row(score=NAN)], "score is nan"),
        ([row(probs=[10**400, 0])], r"probs is \[1000.*; give a list of finite numbers"),
        ([row(probs=[NAN])], "probs is"),
        ([row(probs={"a": 1})], "probs is"),
        ([row(embedding=[10**400, 0])], r"embedding is \[1000"),
        ([row(embedding=["1"])], "embedding is"),
        ([row(embedding=[])], "embedding is"),
        ([row(rbox=[1, 2, 3, 4])], "rbox is"),
        ([row(rbox=[1, 2, -3, 4, 0])], "negative side"),
        ([row(poly=[1, 2])], "poly is"),
        ([row(segmentation={"size": [4, 6], "counts": [23]})], "sum to 23"),
        ({"images": [{"id": 1}], "annotations": []}, "image 1: .* no file_name"),
        ({"images": [], "annotations": [row()]}, "image_id 7 is not among the file's 0 images"),
        ({"images": [{"id": 7, "file_name": "a", "embedding": [NAN]}], "annotations": []}, "image 1: embedding is"),
        ({"categories": [{"id": 1, "name": "fox"}], "annotations": [row()]}, r"category_id 2 is none of 1 fox"),
    ],
)  # fmt: skip
def test_results_that_are_none_are_refused_with_the_row(tmp_path, data, words):
    with pytest.raises(FormatError, match=words) as caught:
        read(CocoResults(), put(tmp_path / "p.json", data))
    assert "p.json" in str(caught.value)
    assert len(str(caught.value)) < 300 + len(str(tmp_path))


def test_scores_beyond_one_by_rounding(tmp_path):
    _, [record] = read(CocoResults(), put(tmp_path / "p.json", [row(score=1.0000001192092896)]))
    assert record.objects[0].score == 1.0


# ---- mmdet ----------------------------------------------------------------------------------------------------------

PREDICTION = {"labels": [1, 0], "scores": [0.9, 0.25], "bboxes": [[1.5, 2.5, 10.0, 20.25], [0, 0, 3, 4]]}


def mmdet_samples(folder: Path) -> list[Path]:
    """As ``DetInferencer`` leaves them: boxes, boxes with masks, nothing found, turned boxes."""
    put(folder / "boxes/preds/000000000139.json", PREDICTION)
    put(folder / "boxes/preds/nothing.json", {"labels": [], "scores": [], "bboxes": []})
    put(folder / "boxes/vis/readme.txt", "x")
    put(folder / "masks/a b.json", PREDICTION | {"masks": [RLE, PACKED]})
    put(folder / "turned/a.json", {"labels": [1], "scores": [0.5], "bboxes": [[12, 11, 4, 2, 1.5707963267948966]]})
    return [folder / "boxes", folder / "masks", folder / "turned"]


def test_mmdet(tmp_path):
    boxes, masks, turned = mmdet_samples(tmp_path)
    head, records = read(MMDet(), boxes)
    assert (head.classes, head.numbers) == ((), {})
    assert [(r.image, r.bare, r.state, len(r.objects)) for r in records] == [
        ("000000000139", True, "answered", 2), ("nothing", True, "empty", 0)]  # fmt: skip
    assert records[0].objects[0] == Seen(1, Box(1.5, 2.5, 10.0, 20.25), score=0.9)
    _, [record] = read(MMDet(), masks)
    assert [seen.outline.read().sum() for seen in record.objects] == [11, 11]
    assert read(MMDet(), turned)[1][0].objects[0].box == Box(10, 10, 14, 12, 90)
    assert read(MMDet(), masks / "a b.json")[1][0].image == "a b"
    assert [MMDet().sniff(path, "predictions").sure for path in (boxes, masks, turned, masks / "a b.json")] == [
        0.95
    ] * 4
    assert MMDet().sniff(masks, "predictions").kinds == ("boxes", "masks")
    one = put(tmp_path / "all.json", {"predictions": [PREDICTION], "visualization": []})
    assert "names none of them" in MMDet().sniff(one, "predictions").why
    assert MMDet().sniff(tmp_path / "nothing", "predictions").sure == 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"labels": [1]}, "has 1 labels, 2 scores, 2 bboxes; give as many of each"),
        ({"labels": 3}, "it has no list labels"),
        ({"masks": []}, "has 2 labels"),
        ({"labels": ["cat", 0]}, "object 1: its label is 'cat'"),
        ({"scores": [0.5, 10**400]}, "object 2: its score is 1000"),
        ({"scores": [0.5, -1]}, "object 2: its score is -1"),
        ({"bboxes": [[1, 2, 3], [0, 0, 3, 4]]}, r"object 1: its box is \[1, 2, 3\]"),
        ({"bboxes": [[1, 2, NAN, 4], [0, 0, 3, 4]]}, "object 1: its box is"),
        ({"bboxes": [[9, 2, 3, 4], [0, 0, 3, 4]]}, "object 1: x1 9 lies behind x2 3"),
        ({"bboxes": [[9, 2, -3, 4, 0], [0, 0, 3, 4]]}, "object 1: .* negative"),
        ({"masks": [RLE, {"size": [4, 6], "counts": [3]}]}, "object 2: the mask's run lengths"),
    ],
)
def test_broken_predictions_of_mmdet(tmp_path, changes, words):
    put(tmp_path / "preds/a.json", PREDICTION)
    put(tmp_path / "preds/b.json", PREDICTION | changes)
    with pytest.raises(FormatError, match=words) as caught:
        read(MMDet(), tmp_path)
    assert "b.json" in str(caught.value)
    (tmp_path / "other").mkdir()
    with pytest.raises(FormatError, match="no JSON file"):
        read(MMDet(), tmp_path / "other")


# ---- Ultralytics ----------------------------------------------------------------------------------------------------

CORNERS = {"x1": 1.5, "y1": 2.5, "x2": 80.0, "y2": 60.0}
FOUND = {"name": "cat", "class": 15, "confidence": 0.75, "box": CORNERS}
SEGMENTS = {"x": [1.5, 80.0, 80.0], "y": [2.5, 2.5, 60.0]}
KEYPOINTS = {"x": [3.5, 0.0], "y": [4.5, 0.0], "visible": [0.93, 0.01]}
TURNED = {"x1": 13.0, "y1": 9.0, "x2": 13.0, "y2": 13.0, "x3": 11.0, "y3": 13.0, "x4": 11.0, "y4": 9.0}
SHAPES = {"boxes": {}, "masks": {"segments": SEGMENTS}, "points": {"keypoints": KEYPOINTS}}
TOP = [{"name": "tabby", "class": 281, "confidence": 0.5}, {"name": "lynx", "class": 287, "confidence": 0.25}]


def ultralytics_samples(folder: Path) -> list[Path]:
    """Ways in which people save the results of ``to_json()``."""
    found = {kind: [FOUND | more, FOUND | more | {"name": "dog", "class": 16}] for kind, more in SHAPES.items()}
    files = {
        "by_image.json": {"/data/pool/a.jpg": found["boxes"], "/data/pool/deep/b.png": []},
        "masks.json": {"a.jpg": found["masks"]},
        "points.json": {"a.jpg": found["points"]},
        "texts.json": {"a.jpg": json.dumps(found["boxes"], separators=(",", ":")), "b.jpg": "[]"},
        "entries.json": [{"path": "a.jpg", "results": found["boxes"]}, {"path": "b.jpg", "results": []}],
        "rows.json": [{"path": "a.jpg"} | FOUND, {"path": "b.jpg"} | FOUND, {"path": "a.jpg", "track_id": 3} | FOUND],
        "turned.json": {"a.jpg": [FOUND | {"box": TURNED}]},
        "classes.json": {"a.jpg": TOP, "b.jpg": TOP[::-1]},
        "one_image.json": found["boxes"],
    }
    put(folder / "folder/a.json", found["boxes"])
    put(folder / "folder/deep/b.c.json", [])
    return [put(folder / name, data) for name, data in files.items()] + [folder / "folder"]


def test_all_ways_to_save_results(tmp_path):
    paths = {path.name: path for path in ultralytics_samples(tmp_path)}
    for path in paths.values():
        assert UltralyticsJson().sniff(path, "predictions").sure >= 0.9, path.name
        head, records = read(UltralyticsJson(), path)
        assert records
        assert head == Head()
        assert not any(record.fractions for record in records)
    both = [Seen("cat", Box(1.5, 2.5, 80.0, 60.0), score=0.75), Seen("dog", Box(1.5, 2.5, 80.0, 60.0), score=0.75)]
    for name, images in (("by_image", ["/data/pool/a.jpg", "/data/pool/deep/b.png"]), ("texts", ["a.jpg", "b.jpg"]),
                         ("entries", ["a.jpg", "b.jpg"])):  # fmt: skip
        _, [first, second] = read(UltralyticsJson(), paths[f"{name}.json"])
        assert [first.image, second.image] == images
        assert (list(first.objects), second.objects) == (both, ())
        assert (first.bare, first.state, second.state) == (False, "answered", "empty")
    _, [first, second] = read(UltralyticsJson(), paths["folder"])
    assert [(first.image, first.bare), (second.image, second.bare)] == [("a", True), ("deep/b.c", True)]
    assert list(first.objects) == both
    _, [alone] = read(UltralyticsJson(), paths["one_image.json"])
    assert (alone.image, alone.bare) == ("one_image", True)
    _, [first, second] = read(UltralyticsJson(), paths["rows.json"])
    assert [len(first.objects), len(second.objects)] == [2, 1]
    assert first.objects[1].attributes == {"track_id": 3}


def test_shapes_of_ultralytics(tmp_path):
    paths = {path.name: path for path in ultralytics_samples(tmp_path)}
    kinds = {name: UltralyticsJson().sniff(paths[f"{name}.json"], "predictions").kinds for name in (
        "by_image", "masks", "points", "classes")}  # fmt: skip
    assert kinds == {"by_image": ("boxes",), "masks": ("boxes", "masks"), "points": ("boxes", "points"),
                     "classes": ("classes",)}  # fmt: skip
    _, [record] = read(UltralyticsJson(), paths["masks.json"])
    assert record.objects[0].outline == Polygon(((1.5, 2.5, 80.0, 2.5, 80.0, 60.0),))
    _, [record] = read(UltralyticsJson(), paths["points.json"])
    assert record.objects[0].points == Points(((3.5, 4.5, 2), (0.0, 0.0, 0)))
    _, [record] = read(UltralyticsJson(), paths["turned.json"])
    assert (record.objects[0].box, record.objects[0].outline.parts[0]) == (None, tuple(TURNED.values()))
    _, records = read(UltralyticsJson(), paths["classes.json"])
    assert [record.objects for record in records] == [
        (Seen("tabby", score=0.5, probs={"tabby": 0.5, "lynx": 0.25}),)
    ] * 2


def test_names_that_are_numbers_are_numbers(tmp_path):
    """A model without names calls its classes "0", "1", ...: that is no name."""
    rows = [FOUND | {"name": "15"}, FOUND | {"name": "7"}, {k: v for k, v in FOUND.items() if k != "name"}]
    _, [record] = read(UltralyticsJson(), put(tmp_path / "a.json", {"a.jpg": rows}))
    assert [seen.cls for seen in record.objects] == [15, "7", 15]


def test_fractions_are_noticed_over_all_images(tmp_path):
    small = {"x1": 0.25, "y1": 0.5, "x2": 1.0, "y2": 0.75}
    data = {
        "a.jpg": [FOUND | {"box": small}],
        "b.jpg": [FOUND | {"box": small, "segments": {"x": [0, 1, 1], "y": [0, 0, 1]}}],
    }
    head, records = read(UltralyticsJson(), put(tmp_path / "a.json", data))
    assert [record.fractions for record in records] == [True, True]
    assert "taken as fractions" in head.notes[0]
    data["c.jpg"] = [FOUND]
    head, records = read(UltralyticsJson(), put(tmp_path / "a.json", data))
    assert ([record.fractions for record in records], head.notes) == ([False] * 3, ())
    put(tmp_path / "folder/a.json", data["a.jpg"])
    put(tmp_path / "folder/b.json", data["b.jpg"])
    assert [record.fractions for record in read(UltralyticsJson(), tmp_path / "folder")[1]] == [True, True]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("7", "holds 7; give {image: results}"),
        ({"a.jpg": 3}, "image 1: 3 are no results"),
        ({"a.jpg": "[1"}, "image 1, line 1, column 3: no valid JSON"),
        ({"a.jpg": "[" * 200 + "]" * 200}, "image 1 is nested too deeply"),
        ({"a.jpg": [3]}, "image 1, result 1: 3 is no object"),
        ({"a.jpg": [{k: v for k, v in FOUND.items() if k not in ("name", "class")}]}, "neither a name nor a class"),
        ({"a.jpg": [FOUND, FOUND | {"confidence": 10**400}]}, "image 1, result 2: confidence is 1000"),
        ({"a.jpg": [FOUND | {"confidence": 2}]}, "confidence is 2"),
        ({"a.jpg": [FOUND, FOUND | {"box": None}]}, "result 2: box is None"),
        ({"a.jpg": [FOUND | {"box": CORNERS | {"x2": NAN}}]}, "x2 of the box is nan"),
        ({"a.jpg": [FOUND | {"box": CORNERS | {"x2": -5}}]}, "x1 1.5 lies behind x2 -5"),
        ({"a.jpg": [FOUND | {"box": TURNED | {"y4": "1"}}]}, "corner of the box is '1'"),
        ({"a.jpg": [FOUND | {"segments": {"x": [1]}}]}, "segments is"),
        ({"a.jpg": [FOUND | {"segments": {"x": [1, 2, NAN], "y": [1, 2, 3]}}]}, "x of segments is nan"),
        ({"a.jpg": [FOUND | {"keypoints": [1]}]}, "keypoints is"),
        ([{"path": "a.jpg", "results": []}, {"path": 3}], "entry 2: .* does not name its image"),
        ([{"path": "a.jpg", "results": []}, {"path": "b"}], "entry 2: .* has no results"),
    ],
)  # fmt: skip
def test_broken_results_of_ultralytics(tmp_path, data, words):
    with pytest.raises(FormatError, match=words) as caught:
        read(UltralyticsJson(), put(tmp_path / "a.json", data))
    assert "a.json" in str(caught.value)
    assert len(str(caught.value)) < 300 + len(str(tmp_path))


def test_folders_that_hold_something_else(tmp_path):
    put(tmp_path / "a/a.json", [FOUND])
    put(tmp_path / "a/b.json", {"shapes": []})
    assert UltralyticsJson().sniff(tmp_path / "a", "predictions").sure == 0
    (tmp_path / "none").mkdir()
    assert UltralyticsJson().sniff(tmp_path / "none", "predictions").sure == 0
    with pytest.raises(FormatError, match="no JSON file"):
        read(UltralyticsJson(), tmp_path / "none")


def test_bombs_cost_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    huge = {"size": [1 << 20, 1 << 20], "counts": [0, 1 << 40]}
    files = [
        ("coco_results", [row(segmentation=huge)]),
        ("coco_results", [row(probs=[0.5] * 1_000_000)]),
        ("coco_results", [row(image_id=n) for n in range(100_000)]),
        ("mmdet", PREDICTION | {"masks": [huge, huge]}),
        ("ultralytics_json", {"a.jpg": json.dumps([[]] * 2_000_000)}),
        ("ultralytics_json", {f"{n}.jpg": [FOUND] for n in range(20_000)}),
    ]
    calls = []
    for n, (name, data) in enumerate(files):
        calls.append((name, str(put(tmp_path / f"{n}.json", data)), "predictions"))
    costs = bounded.calls("reading:everything", calls, megabytes=600)
    assert [cost.error for cost in costs] == ["FormatError", "", "", "FormatError", "FormatError", ""]


def test_only_our_own_errors(tmp_path):
    for form in (CocoResults(), MMDet(), UltralyticsJson()):
        for path in (
            tmp_path / "missing",
            tmp_path / "missing.json",
            put(tmp_path / "empty.json", ""),
            Path("/dev/null"),
        ):
            assert form.sniff(path, "predictions").sure == 0
            with pytest.raises(LabelwiseError):
                read(form, path)


def test_masks_are_painted_when_asked_for(tmp_path):
    large = {"size": [30_000, 30_000], "counts": [0, 900_000_000]}
    _, [record] = read(CocoResults(), put(tmp_path / "p.json", [row(segmentation=large)]))
    outline = record.objects[0].outline
    assert isinstance(outline, Mask)
    with pytest.raises(FormatError, match="result 1: a mask of 30,000 x 30,000 pixels is too large"):
        outline.read()
