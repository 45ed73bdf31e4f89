"""What is written is read by COCO's own code, to the pixel."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from labelwise.contracts.format import Hints, Writing
from labelwise.contracts.record import Box, Head, Mask, Points, Polygon, Record, Seen, Where
from labelwise.formats.coco import Coco
from labelwise.formats.coco_results import CocoResults
from unpacked import unpacked

api = pytest.importorskip("pycocotools.coco")
evaluation = pytest.importorskip("pycocotools.cocoeval")

#: of their own code, with newer numpy
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
SIZE = (24, 16)
HEAD = Head(classes=("cat", "dog"), skeleton=(("nose", "tail"), ((0, 1),)))


def _cover(seed):
    return np.random.default_rng(seed).random((SIZE[1], SIZE[0])) < 0.4


def _records():
    cover = _cover(0)
    objects = (
        Seen("dog", Box(1, 2, 9, 12), Polygon(((1, 2, 9, 2, 9, 12, 1, 12),))),
        Seen("cat", Box(0, 0, 24, 16), Mask(SIZE, lambda: cover), crowd=True),
        Seen("cat", Box(3, 3, 6, 7), Mask((3, 4), lambda: np.ones((4, 3), bool), (3, 3))),
        Seen("dog", Box(2, 2, 8, 9), points=Points(((3, 4, 2), (7, 8, 1)), ("nose", "tail"))),
    )
    return [
        Record(Where("a"), "a b/ä.png", size=SIZE, objects=objects, split="train"),
        Record(Where("b"), "b.png", size=SIZE, state="empty", split="val"),
        Record(Where("c"), "c.png", size=SIZE, objects=(Seen("dog", Box(0.5, 1.25, 4, 5)),), split="val"),
    ]


def test_instances(tmp_path, capsys):
    for name in ("a b/ä.png", "b.png", "c.png"):
        (tmp_path / "from" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", SIZE).save(tmp_path / "from" / name)
    how = Writing("labelled", "boxes", lambda name: str(tmp_path / "from" / name), "link")
    assert Coco().write(tmp_path / "set", HEAD, _records(), how) == []
    found = {word: api.COCO(str(tmp_path / f"set/annotations/instances_{word}.json")) for word in ("train", "val")}
    for coco in found.values():
        assert [entry["name"] for entry in coco.loadCats(coco.getCatIds())] == ["cat", "dog"]
        for entry in coco.loadImgs(coco.getImgIds()):
            with Image.open(tmp_path / "set/images" / entry["file_name"]) as image:
                assert image.size == (entry["width"], entry["height"]) == SIZE
    coco = found["train"]
    outlined, crowd, window, pointed = coco.loadAnns(coco.getAnnIds(coco.getImgIds()))
    np.testing.assert_array_equal(coco.annToMask(crowd), _cover(0))
    assert coco.annToMask(outlined).sum() == outlined["area"] == 80
    assert np.argwhere(coco.annToMask(window)).tolist() == [[y, x] for y in range(3, 7) for x in range(3, 6)]
    assert (window["area"], window["bbox"], crowd["iscrowd"]) == (12, [3, 3, 3, 4], 1)
    assert (pointed["keypoints"], pointed["num_keypoints"]) == ([3, 4, 2, 7, 8, 1], 2)
    assert len(found["val"].getAnnIds()) == 1
    assert "done" in capsys.readouterr().out.lower()


def test_class_maps(tmp_path):
    indices = np.where(_cover(1), 0, np.where(_cover(2), 1, 255)).astype(np.uint8)
    record = Record(Where("a"), "a.png", size=SIZE, pixels=Mask(SIZE, lambda: indices))
    for option in ("runs", "polygons"):
        how = Writing("labelled", "masks", options={"outlines": option})
        Coco().write(tmp_path / "a.json", HEAD, [record], how)
        coco = api.COCO(str(tmp_path / "a.json"))
        for own in coco.loadAnns(coco.getAnnIds()):
            np.testing.assert_array_equal(coco.annToMask(own), indices == own["category_id"] - 1)


@pytest.mark.heavy
def test_results_are_evaluated(tmp_path):
    """Perfect predictions have an average precision of one."""
    Coco().write(tmp_path / "truth.json", HEAD, _records(), Writing("labelled", "boxes"))
    _, records = Coco().read(tmp_path / "truth.json", "data", Hints())
    scored = [
        Record(r.where, r.image, number=r.number, size=r.size, objects=tuple(
            Seen(o.cls, o.box, score=0.9, attributes={"id": o.attributes["id"]}) for o in r.objects if not o.crowd))
        for r in records
    ]  # fmt: skip
    head = Coco().read(tmp_path / "truth.json", "data", Hints())[0]
    CocoResults().write(tmp_path / "found.json", head, scored, Writing("predictions", "boxes"))
    truth = api.COCO(str(tmp_path / "truth.json"))
    rows = json.loads((tmp_path / "found.json").read_text())["annotations"]
    judged = evaluation.COCOeval(truth, truth.loadRes(rows), "bbox")
    judged.evaluate()
    judged.accumulate()
    judged.summarize()
    assert judged.stats[0] == pytest.approx(1)


@pytest.mark.heavy
@pytest.mark.real
@pytest.mark.parametrize("kind", ["boxes", "masks", "points"])
def test_real_sets_keep_every_pixel(tmp_path, kind):
    head, records = Coco().read(unpacked("coco_mini"), "data", Hints(kind))
    records = list(records)
    Coco().write(tmp_path, head, records, Writing("labelled", kind))
    before = [api.COCO(str(p)) for p in sorted((unpacked("coco_mini") / "annotations").glob(
        "person*.json" if kind == "points" else "inst*.json"))]  # fmt: skip
    after = [api.COCO(str(path)) for path in sorted((tmp_path / "annotations").glob("*.json"))]
    assert len(after) == len(before) == 2
    for old, new in zip(before, after, strict=True):
        assert sorted(old.getAnnIds()) == sorted(new.getAnnIds())
        for own in old.getAnnIds():
            one, other = old.anns[own], new.anns[own]
            assert {k: v for k, v in other.items() if k != "image_id"} == {
                k: v for k, v in one.items() if k != "image_id"
            }
            assert old.imgs[one["image_id"]]["file_name"] == new.imgs[other["image_id"]]["file_name"].partition("/")[2]
            np.testing.assert_array_equal(old.annToMask(one), new.annToMask(other))
