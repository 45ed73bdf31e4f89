"""COCO results of detectors: what is a number stays one, and nothing is guessed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import bounded
from labelwise.contracts.format import Hints, Writing
from labelwise.contracts.record import Box, Head, Mask, Polygon, Record, Seen, Where
from labelwise.errors import FormatError, LabelwiseError
from labelwise.exchange.classes import ClassMap
from labelwise.exchange.matching import Matcher
from labelwise.formats.coco_results import CocoResults

NAN = float("nan")
RLE = {"size": [4, 6], "counts": [1, 11, 12]}
PACKED = {"size": [4, 6], "counts": "1;<"}


def put(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
    return path


def read(path, **hints):
    head, records = CocoResults().read(path, "predictions", Hints(**hints))
    return head, list(records)


ROW = {"image_id": 7, "category_id": 2, "bbox": [10, 5, 50, 25], "score": 0.25}


def row(**changes):
    return {key: value for key, value in (ROW | changes).items() if value != "gone"}


def samples(folder: Path) -> list[Path]:
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
    head, records = read(put(tmp_path / "p.json", [
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
    assert read(put(tmp_path / "p.json", [row(category_id="cat")]))[1][0].objects[0].cls == "cat"
    assert records[0].objects[0] == Seen(0, Box(10, 5, 60, 30), score=0.25, attributes={"area": 1250})
    assert str(records[3].where).endswith("p.json', result 5")


def test_classes_and_images_need_lists(tmp_path):
    head, [record] = read(put(tmp_path / "p.json", [row()]))
    with pytest.raises(FormatError, match="no list says which is which"):
        ClassMap(head, ("cat", "dog"))(record.objects[0].cls)
    assert ClassMap(head, ("cat", "dog"), {2: "cat"})(record.objects[0].cls) == "cat"
    matcher = Matcher({"0007.jpg", "7.jpg"}, numbers={7: "0007.jpg"})
    assert record.image is None
    assert matcher.numbered(record.number, {7: "7.jpg"}).item == "7.jpg"


def test_shapes_of_results(tmp_path):
    path = {path.name: path for path in samples(tmp_path)}
    _, [first, _] = read(path["coco_instances_results.json"])
    assert first.objects[0].outline.read().sum() == 11
    _, [record] = read(path["epoch_3.segm.json"])
    assert (record.objects[0].box, record.objects[0].outline.size) == (None, (6, 4))
    _, [_, pose] = read(path["predictions_new.json"], kind="points")
    assert pose.image == "a b.jpg"
    assert pose.objects[0].points.points == ((1.5, 2.5, 2), (0, 0, 0))
    _, [turned] = read(path["obb.json"])
    assert turned.objects[0].box == Box(10, 10, 14, 12, 90)
    assert turned.objects[0].outline == Polygon(((13, 9, 13, 13, 11, 13, 11, 9),))


def test_a_file_that_lists_images_and_categories(tmp_path):
    path = samples(tmp_path)[-1]
    head, [empty, found] = read(path)
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
    assert read(path, classes=("cat", "dog"))[0].notes == ()
    assert "order of the file's categories (cat, dog)" in read(path, classes=("dog", "cat"))[0].notes[0]


def test_what_is_written_is_read_again(tmp_path):
    head, records = read(samples(tmp_path)[-1])
    records = [replace(record, objects=tuple(_as_arrays(seen) for seen in record.objects)) for record in records]
    CocoResults().write(tmp_path / "out.json", head, records, Writing("predictions", "boxes"))
    assert CocoResults().sniff(tmp_path / "out.json", "predictions").sure == 0.95
    again_head, again = read(tmp_path / "out.json")
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
    _, [record] = read(tmp_path / "named.json")
    assert (record.size, record.objects[0].probs) == (None, [0.5, 0.25])


def _as_arrays(seen):
    def array(values):
        return None if values is None else np.array(values, np.float32)

    return replace(seen, probs=array(seen.probs), embedding=array(seen.embedding))


def test_how_sure_results_are(tmp_path):
    for path in samples(tmp_path):
        assert CocoResults().sniff(path, "predictions").sure >= 0.9, path.name
        assert read(path)[1]
    assert CocoResults().sniff(tmp_path / "inference", "predictions").sure == 0.95
    assert len(read(tmp_path / "inference")[1]) == 2
    assert CocoResults().sniff(tmp_path, "predictions").why.startswith("6 files of results")
    with pytest.raises(FormatError, match="holds 6 file"):
        read(tmp_path)
    for data in ([], {"images": [], "annotations": [{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}]}, {}, [1]):
        assert CocoResults().sniff(put(tmp_path / "x" / "x.json", data), "predictions").sure <= 0.5
    assert read(put(tmp_path / "x" / "x.json", []))[1] == []


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
        read(put(tmp_path / "p.json", data))
    assert "p.json" in str(caught.value)
    assert len(str(caught.value)) < 300 + len(str(tmp_path))


def test_scores_beyond_one_by_rounding(tmp_path):
    _, [record] = read(put(tmp_path / "p.json", [row(score=1.0000001192092896)]))
    assert record.objects[0].score == 1.0


@pytest.mark.heavy
def test_bombs_cost_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    huge = {"size": [1 << 20, 1 << 20], "counts": [0, 1 << 40]}
    rows = [row(image_id=n) for n in range(100_000)]
    files = [[row(segmentation=huge)], [row(probs=[0.5] * 1_000_000)], rows]
    calls = [("coco_results", str(put(tmp_path / f"{n}.json", data)), "predictions") for n, data in enumerate(files)]
    costs = bounded.calls("reading:everything", calls, megabytes=600)
    assert [cost.error for cost in costs] == ["FormatError", "", ""]


def test_only_our_own_errors(tmp_path):
    empty = put(tmp_path / "empty.json", "")
    for path in (tmp_path / "missing", tmp_path / "missing.json", empty, Path("/dev/null")):
        assert CocoResults().sniff(path, "predictions").sure == 0
        with pytest.raises(LabelwiseError):
            read(path)


def test_masks_are_painted_when_asked_for(tmp_path):
    large = {"size": [30_000, 30_000], "counts": [0, 900_000_000]}
    _, [record] = read(put(tmp_path / "p.json", [row(segmentation=large)]))
    outline = record.objects[0].outline
    assert isinstance(outline, Mask)
    with pytest.raises(FormatError, match="result 1: a mask of 30,000 x 30,000 pixels is too large"):
        outline.read()
