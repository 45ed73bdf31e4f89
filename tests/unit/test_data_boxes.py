"""COCO, VOC and YOLO folders as sources: ids, labels, roles, and what does not fit."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from PIL import Image

from boxes_on_disk import write_coco, write_voc
from labelwise.data import ImageFolder, open_source
from labelwise.data.labelled import LabelledFolder
from labelwise.data.open import open_in
from labelwise.errors import ConfigError, DataError, FormatError
from unpacked import unpacked

BOX = {"class": "cat", "box": [1, 1, 4, 4]}


def _images(root, *names, size=(8, 6)):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size).save(root / name)


def _labels(*names, **extra):
    return {name: {"size": [8, 6], "objects": [BOX], **extra} for name in names}


def _coco(path, labels, classes=("cat", "dog")):
    write_coco(path, labels, classes)


def test_coco_beside_its_images(tmp_path):
    _images(tmp_path / "images", "a.png", "b.png", "c.png")
    _coco(tmp_path / "annotations.json", _labels("a.png") | {"b.png": {"size": [8, 6], "objects": []}})
    assert set(open_source(tmp_path).truth) == {"a.png"}, "b.png may never have been opened"
    source = open_source(tmp_path, untouched="empty")
    assert isinstance(source, LabelledFolder)
    assert source.ids == ("a.png", "b.png", "c.png")
    assert source.root == tmp_path / "images"
    assert source.classes == ("cat", "dog")
    assert source.truth["a.png"]["objects"][0]["box"] == [1, 1, 4, 4]
    assert source.truth["b.png"]["objects"] == []
    assert set(source.truth) == {"a.png", "b.png"}
    assert source.roles == {}
    assert source.numbers == {1: "a.png", 2: "b.png"}
    assert source.size("a.png") == (8, 6)
    assert any("1 image(s) without label" in note for note in source.notes())
    again = open_source(tmp_path, ids=source.ids)
    assert again.path("a.png") == source.path("a.png")


def test_coco_with_a_split_and_the_same_names_in_both(tmp_path):
    _images(tmp_path, "train2017/1.png", "val2017/1.png")
    for part in ("train2017", "val2017"):
        _coco(tmp_path / "annotations" / f"instances_{part}.json", _labels("1.png"))
    (tmp_path / "annotations" / "captions_val2017.json").write_text('{"images": [], "annotations": []}')
    source = open_source(tmp_path)
    assert set(source.truth) == {"train2017/1.png", "val2017/1.png"}
    assert source.roles == {"val2017/1.png": "validation"}
    assert source.numbers == {}  # both count from 1
    one = open_source(tmp_path / "annotations" / "instances_val2017.json")
    assert one.ids == ("val2017/1.png",)
    assert one.roles == {}


def test_coco_as_roboflow_writes_it(tmp_path):
    for part in ("train", "valid", "test"):
        _images(tmp_path, f"{part}/x.png")
        _coco(tmp_path / part / "_annotations.coco.json", _labels("x.png"))
    assert open_source(tmp_path).roles == {"valid/x.png": "validation", "test/x.png": "test"}


def test_a_file_with_images_only_is_unlabelled(tmp_path):
    _images(tmp_path / "images", "a.png")
    _coco(tmp_path / "instances.json", {"a.png": {"size": [8, 6], "objects": []}})
    source = open_in(tmp_path, "instances.json")
    assert source.truth == {}
    assert any("may never have been opened" in note for note in source.notes())
    assert open_in(tmp_path, "instances.json", ids=source.ids).path("a.png") == source.path("a.png")


def test_voc_lists_are_roles(tmp_path):
    _images(tmp_path / "JPEGImages", "a.png", "b.jpg", "c.jpg", "d.jpg")
    write_voc(tmp_path, _labels("a", "b", "c"))
    (tmp_path / "ImageSets" / "Main").mkdir(parents=True)
    for word, name in (("train", "a"), ("val", "b"), ("test", "c")):
        (tmp_path / "ImageSets" / "Main" / f"{word}.txt").write_text(f"{name}\n")
    source = open_source(tmp_path)
    assert source.ids == ("a.png", "b.jpg", "c.jpg", "d.jpg")
    assert source.roles == {"b.jpg": "validation", "c.jpg": "test"}
    assert set(source.truth) == {"a.png", "b.jpg", "c.jpg"}
    (tmp_path / "ImageSets" / "Main" / "trainval.txt").write_text("a\nb\n")
    assert open_source(tmp_path).roles == {"c.jpg": "test"}
    (tmp_path / "ImageSets" / "Main" / "trainval.txt").write_text("a\nz\n")
    assert any(
        "1 name(s) in lists of the set are not there" in note and "z" in note for note in open_source(tmp_path).notes()
    )


def test_yolo_folders_are_roles(tmp_path):
    names = ("images/train/a.png", "images/val/b.png", "images/test/c.png")
    _images(tmp_path, *names, "images/train/d.png")
    for name in names:
        text = (tmp_path / name.replace("images", "labels")).with_suffix(".txt")
        text.parent.mkdir(parents=True)
        text.write_text("0 0.3125 0.416667 0.375 0.5\n")
    (tmp_path / "data.yaml").write_text("path: .\ntrain: images\nval: images\nnames: [cat]\n")
    source = open_source(tmp_path)
    assert source.ids == ("test/c.png", "train/a.png", "train/d.png", "val/b.png")
    assert source.roles == {"val/b.png": "validation", "test/c.png": "test"}
    assert "train/d.png" not in source.truth
    (tmp_path / "data.yaml").write_text("names: [cat]\ntrain: images/train\nval: images/test\n")
    assert open_source(tmp_path).roles == {"test/c.png": "validation"}
    _images(tmp_path, "images/train/a.jpg")
    with pytest.raises(DataError, match="would both lie at"):
        open_source(tmp_path)


def test_several_formats_have_to_be_told_apart(tmp_path):
    _images(tmp_path / "images", "a.png")
    _coco(tmp_path / "annotations.json", _labels("a.png"))
    write_voc(tmp_path, _labels("a"))
    with pytest.raises(ConfigError, match=r"may be coco .* or voc"):
        open_source(tmp_path)
    assert open_source(tmp_path, labels="voc").classes == ("cat",)
    assert open_source(tmp_path, labels="coco").classes == ("cat", "dog")
    plain = open_source(tmp_path, labels="none")
    assert type(plain) is ImageFolder
    assert not plain.truth


def test_other_json_files_are_nobodys_boxes(tmp_path):
    _images(tmp_path, "cat/a.png", "dog/b.png")
    (tmp_path / "settings.json").write_text('{"images": 3}')
    (tmp_path / "annotations.json").write_text('[{"id": 1}]')
    assert open_source(tmp_path).truth == {"cat/a.png": "cat", "dog/b.png": "dog"}


def test_what_does_not_fit(tmp_path):
    _images(tmp_path / "images", "a.png", "x/b.png", "y/b.png")
    _coco(tmp_path / "annotations.json", _labels("z.png", "zz.png", "a.png"))
    with pytest.raises(FormatError, match=r"annotations\.json', image 1: 'z\.png' is none of the 3 images"):
        open_source(tmp_path)
    _coco(tmp_path / "annotations.json", _labels("a.png", "z.png"))
    assert "1 listed image(s) are not there: 'z.png'" in open_source(tmp_path).notes()
    _coco(tmp_path / "annotations.json", _labels("b.png"))
    with pytest.raises(FormatError, match=r"image 1: 'b\.png' may be 'x/b\.png' or"):
        open_source(tmp_path)
    text = (tmp_path / "annotations.json").read_text()
    (tmp_path / "annotations.json").write_text(text[:60])
    with pytest.raises(DataError, match=r"no valid JSON|cut off"):
        open_source(tmp_path, labels="coco")
    _coco(tmp_path / "annotations.json", _labels("a.png"))
    other = {"a.png": {"size": [8, 6], "objects": [{**BOX, "box": [0, 0, 2, 2]}]}}
    _coco(tmp_path / "annotations" / "more.json", other)
    with pytest.raises(FormatError, match=r"'a\.png' has 1 box here and 1 box in"):
        open_source(tmp_path)
    (tmp_path / "list.json").write_text(json.dumps({}))
    with pytest.raises(DataError, match="holds no set of images"):
        open_source(tmp_path / "list.json")
    _coco(tmp_path / "far" / "off" / "list.json", _labels("q.png"))
    with pytest.raises(DataError, match=r"none of its 1 files exists"):
        open_source(tmp_path / "far" / "off" / "list.json")
    write_voc(tmp_path / "voc", _labels("a", "gone"))
    _images(tmp_path / "voc" / "JPEGImages", "a.png")
    assert any("'gone'" in note for note in open_source(tmp_path / "voc").notes())
    _images(tmp_path / "voc" / "JPEGImages", "a.jpg")
    with pytest.raises(DataError, match="would both lie at"):
        open_source(tmp_path / "voc")


@pytest.mark.heavy
@pytest.mark.real
def test_the_real_sets():
    cells = open_source(unpacked("BCCD"))
    assert (len(cells.ids), cells.classes) == (364, ("Platelets", "RBC", "WBC"))
    assert Counter(cells.roles.values()) == {"test": 72}
    boxes = Counter(thing["class"] for label in cells.truth.values() for thing in label["objects"])
    assert boxes == {"RBC": 4155, "WBC": 372, "Platelets": 361}
    coco = open_source(unpacked("coco_mini"))
    assert (len(coco.ids), len(coco.classes), len(coco.numbers)) == (101, 80, 101)
    assert Counter(coco.roles.values()) == {"validation": 51}
    for item in coco.ids[::10]:
        assert list(coco.size(item)) == coco.truth[item]["size"]
