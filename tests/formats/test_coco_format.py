"""COCO as records: files as tools write them, loose ones, what is refused, and nothing lost on the way back."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import bounded
from labelwise.contracts.format import Hints, Writing
from labelwise.contracts.record import IGNORE, Box, Head, Mask, Points, Polygon, Record, Seen, Where
from labelwise.errors import FormatError, StateError
from labelwise.exchange.matching import Matcher
from labelwise.formats.coco import Coco
from labelwise.formats.coco_shapes import decode_counts, decode_segmentation, run_lengths
from unpacked import unpacked

NAN = float("nan")
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
CATS = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]


def image(number=1, name="1.jpg", **more):
    return {"id": number, "file_name": name, "width": 40, "height": 30} | more


def box(number=1, of=1, category=1, bbox=(1, 2, 10, 12), **more):
    return {"id": number, "image_id": of, "category_id": category, "bbox": list(bbox)} | more


def coco(images=None, annotations=None, categories=CATS, **more):
    images = [image()] if images is None else images
    annotations = [box()] if annotations is None else annotations
    return more | {"images": list(images), "annotations": list(annotations), "categories": list(categories)}


#: boxes into one file
PLAIN = Writing("labelled", "boxes")


def put(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
    return path


def picture(path, size=(40, 30)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (90, 90, 90)).save(path)


def read(path, use="data", kind=None, **hints):
    head, records = Coco().read(path, use, Hints(kind, **hints))
    return head, list(records)


def changed(part, row, **values):
    data = copy.deepcopy(GOOD)
    entry = data[part][row]
    entry |= values
    data[part][row] = {key: value for key, value in entry.items() if value != "gone"}
    return data


PERSON = {
    "id": 1,
    "name": "person",
    "supercategory": "person",
    "keypoints": ["nose", "left", "right"],
    "skeleton": [[1, 2], [2, 3]],
}


def samples(folder: Path) -> list[Path]:
    """Files and folders as the tools write them."""
    plain = put(folder / "instances.json", GOOD)
    coco2017 = folder / "coco2017"
    for split, number in (("train", 9), ("val", 139)):
        name = f"{number:012d}.jpg"
        licence = {"license": 3, "coco_url": f"http://images.example/{name}", "date_captured": "2013-11-14 11:18:45"}
        people = box(10 + number, number, 1, keypoints=[5, 6, 2, 0, 0, 0, 7, 9, 1], num_keypoints=2, iscrowd=0,
                     segmentation=[[1, 2, 11, 2, 11, 14]])  # fmt: skip
        things = box(10 + number, number, 3, area=55.5, iscrowd=0, segmentation=[[1, 2, 11, 2, 11, 14]])
        info = {"info": {"year": 2017}, "licenses": [{"id": 3, "name": "CC"}]}
        put(coco2017 / f"annotations/person_keypoints_{split}2017.json",
            coco([image(number, name, **licence)], [people], [PERSON], **info))  # fmt: skip
        car = {"id": 3, "name": "car", "supercategory": "vehicle"}
        put(coco2017 / f"annotations/instances_{split}2017.json",
            coco([image(number, name, **licence)], [things], [PERSON, car], **info))  # fmt: skip
        caption = {"image_id": number, "id": 1, "caption": "A cat."}
        captions = {"images": [image(number, name)], "annotations": [caption]}
        put(coco2017 / f"annotations/captions_{split}2017.json", captions)
        picture(coco2017 / f"{split}2017/{name}")
    roboflow = folder / "roboflow"
    groups = [{"id": 0, "name": "animals", "supercategory": "none"}]
    groups += [{"id": n, "name": name, "supercategory": "animals"} for n, name in ((1, "cat"), (2, "dog"))]
    for split in ("train", "valid", "test"):
        name = f"{split}_jpg.rf.0123456789abcdef0123456789abcdef.jpg"
        entry = image(0, name, license=1, date_captured="2024-01-01T00:00:00+00:00", extra={"name": f"{split}.jpg"})
        thing = box(0, 0, 1, area=120, iscrowd=0, segmentation=[])
        put(roboflow / f"{split}/_annotations.coco.json", coco([entry], [thing], groups, info={"version": "1"}))
        picture(roboflow / split / name)
    studio = folder / "label_studio"
    put(studio / "result.json",
        coco([image(0, "images/ab12cd00-photo.jpg")], [box(0, 0, 0, ignore=0, iscrowd=0, area=120, segmentation=[])],
             [{"id": 0, "name": "cat"}], info={"contributor": "Label Studio", "version": "1.0"}))  # fmt: skip
    picture(studio / "images/ab12cd00-photo.jpg")
    cvat = folder / "cvat"
    put(cvat / "annotations/instances_default.json",
        coco([image(1, "a/1.png", license=0, flickr_url="", coco_url="", date_captured=0), image(2, "a/2.png")],
             [box(1, 1, attributes={"occluded": False, "rotation": 0.0}, segmentation=[], area=120.0, iscrowd=0)],
             [c | {"supercategory": ""} for c in CATS], licenses=[{"name": "", "id": 0, "url": ""}]))  # fmt: skip
    asked = Record(Where("a"), "a.jpg", size=(40, 30), state="untouched", extra={"path": "a.jpg", "rank": 0},
                   objects=(Seen("cat", Box(1, 2, 3, 4), score=0.75),))  # fmt: skip
    Coco().write(folder / "asked.json", Head(classes=("cat",)), [asked], Writing("asked", "boxes"))
    return [plain, coco2017, roboflow, studio, cvat, folder / "asked.json"]


# ---- what is read ---------------------------------------------------------------------------------------------------


def test_records(tmp_path):
    head, records = read(put(tmp_path / "a.json", GOOD))
    assert head.classes == ("ant", "zebra")
    assert head.numbers == {7: "ant", 90: "zebra"}
    assert head.images == {40: "b/2.jpg", 7: "a.jpg", "text": "empty.jpg"}
    assert head.extra["info"] == GOOD["info"]
    assert [(r.image, r.number, r.size, r.state) for r in records] == [
        ("b/2.jpg", 40, (6, 4), "answered"),
        ("a.jpg", 7, (10, 20), "answered"),
        ("empty.jpg", "text", (3, 3), "empty"),
    ]
    assert str(records[1].where) == f"'{tmp_path}/a.json', image 2"
    crowd, compressed, flat, leaving = records[0].objects
    assert (crowd.cls, crowd.box, crowd.crowd, crowd.outline.size) == ("ant", Box(0, 0, 6, 4), True, (6, 4))
    np.testing.assert_array_equal(crowd.outline.read(), compressed.outline.read())
    assert crowd.outline.read().sum() == 11
    assert (flat.outline, flat.attributes["segmentation"]) == (None, [])
    assert (leaving.box, leaving.difficult) == (Box(-3, 1, 17, 3), True)
    assert leaving.attributes["attributes"] == {"occluded": True}
    assert records[1].objects[0].outline == Polygon(((0.1, 0.2, 0.3, 0.2, 0.3, 7.9),))
    assert records[1].objects[1].score == 0.25
    assert records[0].extra == {"id": 40, "license": 1, "flickr_url": "http://x"}


def _plain(record):
    """Without the numbers that entries have, and what is computed."""
    things = []
    for seen in record.objects:
        attributes = {k: v for k, v in seen.attributes.items() if k not in ("id", "area", "bbox")}
        outline = seen.outline.raw if isinstance(seen.outline, Mask) else seen.outline
        things.append(replace(seen, attributes=attributes, outline=outline))
    extra = {k: v for k, v in record.extra.items() if k != "id"}
    return replace(record, where=Where(""), number=None, extra=extra, objects=tuple(things))


@pytest.mark.parametrize("sample", range(6))
def test_what_tools_write_comes_back_as_it_was(tmp_path, sample):
    path = samples(tmp_path / "in")[sample]
    head, records = read(path)
    out = tmp_path / "out.json"
    notes = Coco().write(out, head, records, Writing("labelled", "boxes"))
    assert notes == (["1 image(s) that nobody has answered are marked so"] if sample == 5 else [])
    again_head, again = read(out)
    assert list(map(_plain, again)) == list(map(_plain, records))
    if sample != 2:  # the files of Roboflow each count from 0
        assert [replace(r, where=records[n].where) for n, r in enumerate(again)] == records
    assert (again_head.classes, again_head.numbers, again_head.skeleton) == (head.classes, head.numbers, head.skeleton)


def test_a_file_comes_back_entry_by_entry(tmp_path):
    head, records = read(put(tmp_path / "a.json", GOOD))
    Coco().write(tmp_path / "b.json", head, [replace(r, state="answered") for r in records], PLAIN)
    again = json.loads((tmp_path / "b.json").read_text())
    for key in ("info", "licenses", "images", "categories"):
        assert again[key] == GOOD[key]
    by_id = {annotation["id"]: annotation for annotation in again["annotations"]}
    for annotation in GOOD["annotations"]:
        if "id" in annotation:
            assert annotation.items() <= by_id[annotation["id"]].items()
    assert sorted(by_id) == [3, 5, 9, 10, 11, 12]


@pytest.mark.heavy
@pytest.mark.real
@pytest.mark.parametrize("name", ["instances_train", "instances_val", "person_keypoints_val"])
def test_coco_mini_comes_back_as_it_was(tmp_path, name):
    path = unpacked("coco_mini") / "annotations" / f"{name}.json"
    head, records = read(path)
    Coco().write(tmp_path / "b.json", head, [replace(record, state="answered") for record in records], PLAIN)
    again_head, again = read(tmp_path / "b.json")
    assert (again_head.classes, again_head.numbers) == (head.classes, head.numbers)
    assert [replace(record, where=records[n].where) for n, record in enumerate(again)] == records
    before, after = (json.loads(p.read_text()) for p in (path, tmp_path / "b.json"))
    for data in (before, after):
        data["annotations"].sort(key=lambda annotation: annotation["id"])
    for image in after["images"]:  # it is named by where it was found
        folder, _, image["file_name"] = image["file_name"].rpartition("/")
        assert (path.parents[1] / folder / image["file_name"]).is_file()
    assert before == after


_side = st.floats(0, 1e4, allow_nan=False) | st.integers(0, 5000)


@pytest.mark.heavy
@settings(max_examples=25)
@given(st.lists(st.tuples(_side, _side, _side, _side), max_size=5))
def test_any_numbers_come_back(tmp_path_factory, boxes):
    folder = tmp_path_factory.mktemp("any")
    data = GOOD | {"annotations": [{"image_id": 7, "category_id": 7, "bbox": list(one)} for one in boxes]}
    head, records = read(put(folder / "a.json", data))
    Coco().write(folder / "b.json", head, records, PLAIN)
    again = read(folder / "b.json")[1]
    assert [[seen.box for seen in record.objects] for record in again] == [
        [seen.box for seen in record.objects] for record in records
    ]
    assert [a["bbox"] for a in json.loads((folder / "b.json").read_text())["annotations"]] == [list(b) for b in boxes]


def test_labels_that_never_were_coco_get_numbers(tmp_path):
    seen = (Seen("b", Box(1, 2, 3, 4)), Seen("a", Box(0, 0, 1, 1)))
    record = Record(Where("x"), "x.png", size=(8, 8), objects=seen)
    Coco().write(tmp_path / "a.json", Head(classes=("b", "a")), [record], PLAIN)
    data = json.loads((tmp_path / "a.json").read_text())
    assert [c["id"] for c in data["categories"]] == [1, 2]
    assert [(a["id"], a["category_id"], a["bbox"]) for a in data["annotations"]] == [
        (1, 1, [1, 2, 2, 2]),
        (2, 2, [0, 0, 1, 1]),
    ]
    assert read(tmp_path / "a.json")[0].classes == ("b", "a")


def test_compressed_run_lengths():
    assert decode_counts("") == []
    assert decode_counts("1;<") == [1, 11, 12]
    for text in ("~~", "P", "\x00", "1o"):
        with pytest.raises(ValueError, match=r"does not end|none of its"):
            decode_counts(text)


def test_of_each_kind_of_label_its_own_files(tmp_path):
    folder = samples(tmp_path)[1]
    head, records = read(folder, kind="boxes")
    assert [seen.cls for record in records for seen in record.objects] == ["car", "car"]
    assert head.classes == ("person", "car")
    assert [record.split for record in records] == ["train2017", "val2017"]
    assert head.notes == (
        "2 COCO file(s) hold other labels of the images and are not read: person_keypoints_train2017.json, "
        "person_keypoints_val2017.json",
    )
    head, records = read(folder, kind="points")
    assert records[0].objects[0].points == Points(((5, 6, 2), (0, 0, 0), (7, 9, 1)), ("nose", "left", "right"))
    assert head.skeleton == (("nose", "left", "right"), ((0, 1), (1, 2)))
    assert Coco().sniff(folder, "data").kinds == ("boxes", "masks", "points")
    with pytest.raises(FormatError, match="no annotation has key points"):
        read(put(tmp_path / "a.json", coco()), kind="points")


def test_folders_of_tools(tmp_path):
    _, _, roboflow, studio, cvat, _ = samples(tmp_path)
    head, records = read(roboflow)
    assert head.classes == ("cat", "dog")
    assert [(record.image.partition("_")[0], record.split) for record in records] == [
        ("test/test", "test"),
        ("train/train", "train"),
        ("valid/valid", "valid"),
    ]
    assert [record.aka for record in records] == [("test.jpg",), ("train.jpg",), ("valid.jpg",)]
    assert Coco().root(studio) == head_root(studio) == studio / "images"
    assert Coco().root(studio / "result.json") == studio
    found = Matcher({"ab12cd00-photo.jpg"}).find(read(studio)[1][0].image)
    assert (found.item, found.how) == ("ab12cd00-photo.jpg", "by path")
    head, records = read(cvat)
    assert not head.says_empty
    assert [record.state for record in records] == ["answered", "empty"]
    assert records[0].split is None


def head_root(folder):
    return read(folder)[0].root


def test_only_a_few_bytes_are_read_to_recognise_a_file(tmp_path):
    paths = samples(tmp_path)
    for path in paths:
        for use in ("data", "answers"):
            assert Coco().sniff(path, use).sure >= 0.9, path
    for text in (
        "",
        "[]",
        "{}",
        '{"images": 3}',
        '{"images": []}',
        '{"a": {"images": [], "annotations": []}}',
        "x",
        "[[",
    ):
        assert Coco().sniff(put(tmp_path / "other.json", text), "data").sure <= 0.6, text
    assert Coco().sniff(tmp_path / "coco2017/annotations/captions_val2017.json", "data").sure < 0.5
    panoptic = coco(
        annotations=[{"image_id": 1, "file_name": "1.png", "segments_info": [{"id": 1, "bbox": [1, 2, 3, 4]}]}]
    )
    sniff = Coco().sniff(put(tmp_path / "panoptic_train.json", panoptic), "data")
    assert sniff.sure < 0.5
    assert "panoptic" in sniff.why
    many = coco([image(n, f"{n}.jpg") for n in range(3000)], info={"x": 1})
    far = put(tmp_path / "far.json", {k: many[k] for k in ("info", "images", "categories", "annotations")})
    assert Coco().sniff(far, "data").kinds == ("boxes",)
    assert Coco().sniff(tmp_path / "missing", "data").sure == 0


# ---- loose files ----------------------------------------------------------------------------------------------------

LOOSE = {
    "sizes as pandas writes them": coco([image(0, width=40.0, height=30.0)], [box(of=0, area=120.0)]),
    "ids as text in one list": coco([image("0")], [box(of=0, category="1")], [{"id": "1", "name": "cat"}, CATS[1]]),
    "ids as text in the other": coco([image(0)], [box("7", of="0", category=1)]),
    "ids with a point": coco([image(0.0)], [box(7.0, of=0, category=1.0)], [{"id": 1.0, "name": "cat"}, CATS[1]]),
    "sizes as text": coco([image(0, width="40", height="30")], [box(of=0)]),
    "flags as text or truth values": coco([image(0)], [box(of=0, iscrowd="0", difficult=False)]),
    "ids that are words": coco([image("img-a")], [box("ann-1", of="img-a")]),
    "no annotation has an id": coco([image(0)], [{k: v for k, v in box(of=0).items() if k != "id"}]),
    "a box beside an empty outline": coco([image(0)], [box(of=0, segmentation=[[]])]),
}


@pytest.mark.heavy
@pytest.mark.parametrize("name", LOOSE)
def test_loose_numbers_are_numbers(tmp_path, name):
    head, [record] = read(put(tmp_path / "a.json", LOOSE[name]))
    assert record.size == (40, 30)
    assert all(type(side) is int for side in record.size)
    assert [(seen.cls, seen.box, seen.crowd) for seen in record.objects] == [("cat", Box(1, 2, 11, 14), False)]
    assert record.number in (0, "img-a")
    assert head.numbers == {1: "cat", 2: "dog"}
    Coco().write(tmp_path / "b.json", head, [record], Writing("labelled", "boxes"))
    assert read(tmp_path / "b.json")[1][0] == replace(record, where=Where(f"{tmp_path}/b.json", "image", 1))


def test_an_outline_without_box_and_a_size_that_is_not_known(tmp_path):
    flat = [1, 2, 11, 2, 11, 14]
    things = [{"id": n, "image_id": 1, "category_id": 1, "segmentation": mask}
              for n, mask in enumerate(([flat], flat, {"size": [30, 40], "counts": [40, 1160]}))]  # fmt: skip
    bare = {"id": 1, "file_name": "1.jpg"}
    _, [record] = read(put(tmp_path / "a.json", coco([bare], things)))
    assert record.size is None
    assert [seen.box for seen in record.objects] == [None] * 3
    assert record.objects[0].outline == record.objects[1].outline == Polygon((tuple(flat),))
    assert record.objects[2].outline.size == (40, 30)


def test_a_category_for_each_image_is_its_class(tmp_path):
    rows = [{"id": n, "image_id": n, "category_id": n} for n in (1, 2)]
    path = put(tmp_path / "a.json", coco([image(), image(2, "2.jpg")], rows))
    assert Coco().sniff(path, "data").kinds == ("classes",)
    _, records = read(path)
    assert [record.objects for record in records] == [
        (Seen("cat", attributes={"id": 1}),), (Seen("dog", attributes={"id": 2}),)]  # fmt: skip


GROUPS = {
    "called otherwise": ([(0, "animals", "none"), (1, "cat", "animals"), (2, "dog", "animals")], {1: "cat", 2: "dog"}),
    "called as a class": ([(0, "cat", "none"), (1, "cat", "cat"), (2, "dog", "cat")], {1: "cat", 2: "dog"}),
    "not the first": ([(1, "cat", "animals"), (2, "dog", "animals"), (3, "animals", "")], {1: "cat", 2: "dog"}),
    "groups of groups": ([(0, "life", "none"), (1, "cat", "animals"), (2, "dog", "animals"), (5, "animals", "life")],
                         {1: "cat", 2: "dog"}),
    "a group first, called as a class": ([(5, "dog", ""), (1, "cat", "dog"), (2, "dog", "dog")], {1: "cat", 2: "dog"}),
    "a group last, called as a class": ([(1, "cat", "dog"), (2, "dog", "dog"), (5, "dog", "")], {1: "cat", 2: "dog"}),
    "with blanks": ([(0, "animals ", "none"), (1, "cat", "animals"), (2, "dog", " animals")], {1: "cat", 2: "dog"}),
    "a class above itself": ([(1, "cat", "cat"), (2, "dog", "dog")], {1: "cat", 2: "dog"}),
    "no group at all": ([(1, "cat", "animals"), (2, "dog", "animals")], {1: "cat", 2: "dog"}),
    "a group with objects": ([(1, "cat", "none"), (2, "kitten", "cat")], {1: "cat", 2: "kitten"}),
}  # fmt: skip


@pytest.mark.heavy
@pytest.mark.parametrize("name", GROUPS)
@pytest.mark.parametrize("drawn", [True, False])
def test_groups_without_objects_are_no_classes(tmp_path, name, drawn):
    entries, expected = GROUPS[name]
    categories = [{"id": own, "name": one, "supercategory": above} for own, one, above in entries]
    things = [box(category=1)] if drawn else []
    head, records = read(put(tmp_path / "a.json", coco(annotations=things, categories=categories)))
    if not drawn and name in ("not the first", "groups of groups"):
        # nothing is drawn: only the group that Roboflow puts above all others is known to be none
        assert len(head.classes) == 3
        return
    assert head.numbers == expected
    assert head.classes == tuple(expected.values())
    said = " ".join(head.notes)
    assert ("is a group" in said or "twice" in said) is (len(entries) > len(expected))
    if drawn:
        assert records[0].objects[0].cls == "cat"


def test_a_group_with_objects_in_another_split_is_a_class(tmp_path):
    categories = [
        {"id": 0, "name": "animals", "supercategory": "none"},
        {"id": 1, "name": "cat", "supercategory": "animals"},
    ]
    put(tmp_path / "train/_annotations.coco.json", coco(categories=categories))
    put(tmp_path / "test/_annotations.coco.json", coco([image(name="2.jpg")], [box(category=0)], categories))
    assert read(tmp_path)[0].classes == ("animals", "cat")


def test_numbers_that_files_use_differently_are_none(tmp_path):
    put(tmp_path / "train.json", coco(categories=CATS))
    put(tmp_path / "val.json", coco([image(name="2.jpg")], categories=[{"id": 1, "name": "dog"}]))
    head, records = read(tmp_path)
    assert head.classes == ("cat", "dog")
    assert head.numbers == {2: "dog"}
    assert head.images == {}
    assert [record.objects[0].cls for record in records] == ["cat", "dog"]


def test_a_name_that_two_used_categories_have_is_refused(tmp_path):
    twice = [{"id": 1, "name": "cat"}, {"id": 2, "name": "cat "}]
    with pytest.raises(FormatError, match="category 2: name 'cat ' is given twice"):
        read(put(tmp_path / "a.json", coco(annotations=[box(), box(2, category=2)], categories=twice)))


# ---- states, costs, splits ------------------------------------------------------------------------------------------


def test_states_and_marks(tmp_path):
    images = [
        image(1, "1.jpg", answered=False, rank=0, path="1.jpg", strategy_score=0.5),
        image(2, "2.jpg", answered=True),
        image(3, "3.jpg", skipped=True, reason="blurred"),
        image(4, "4.jpg", seconds=3.5, clicks=2, license=1),
    ]
    path = put(tmp_path / "a.json", coco(images, [box(of=4)]))
    head, records = read(path, "answers")
    assert head.says_empty
    assert [record.state for record in records] == ["untouched", "empty", "skipped", "answered"]
    assert records[2].reason == "blurred"
    assert (records[3].seconds, records[3].cost, records[3].extra) == (3.5, {"clicks": 2.0}, {"id": 4, "license": 1})
    assert records[0].extra == {"id": 1}
    head, records = read(path, "data")
    assert records[0].extra == {"id": 1, "rank": 0, "path": "1.jpg", "strategy_score": 0.5}
    assert records[3].cost == {}


@pytest.mark.parametrize("value", [10**400, NAN, float("inf"), -5, True])
def test_costs_that_are_none(tmp_path, value):
    with pytest.raises(FormatError, match=r"image 1 \('1.jpg'\): seconds is .*finite number"):
        read(put(tmp_path / "a.json", coco([image(seconds=value)])), "answers")
    assert read(tmp_path / "a.json", "data")[1][0].seconds is None


def test_a_split_may_stand_with_the_image(tmp_path):
    images = [image(n, f"{n}.jpg", split=word) for n, word in enumerate(("train", "VAL", "fold3"))]
    _, records = read(put(tmp_path / "a.json", coco(images, [])))
    assert [record.split for record in records] == ["train", "VAL", None]
    assert records[2].extra["split"] == "fold3"


@pytest.mark.parametrize(
    ("files", "splits"),
    [
        (("annotations/instances_train2017.json", "annotations/instances_val2017.json"), ["train2017", "val2017"]),
        (("Train/_annotations.coco.json", "VALID/_annotations.coco.json"), ["Train", "VALID"]),
        (("train/labels.json", "validation/labels.json"), ["train", "validation"]),
        (("train/annotations/instances.json", "test/annotations/instances.json"), ["train", "test"]),
        (("train.json", "holdout.json"), ["train", "holdout"]),
        (("a.json",), [None]),
        (("annotations/instances_val.json",), [None]),
    ],
)
def test_splits_by_files_and_folders(tmp_path, files, splits):
    for n, name in enumerate(files):
        put(tmp_path / name, coco([image(n, f"{n}.jpg")], [box(of=n)]))
    _, records = read(tmp_path)
    assert sorted((record.image, record.split) for record in records) == [(f"{n}.jpg", s) for n, s in enumerate(splits)]


@pytest.mark.parametrize(
    ("file", "pictures", "name", "root"),
    [
        ("annotations/instances.json", "images", "1.jpg", "images"),
        ("instances.json", "images", "1.jpg", "images"),
        ("instances.json", "images", "images/1.jpg", ""),
        ("instances.json", "", "1.jpg", ""),
        ("annotations/instances_val.json", "val2017", "1.jpg", ""),
        ("annotations/instances_val.json", "", "./1.jpg", ""),
    ],
)
def test_where_the_images_of_one_file_lie(tmp_path, file, pictures, name, root):
    picture(tmp_path / pictures / "1.jpg")
    path = put(tmp_path / file, {"annotations": [box()] * 1, "categories": CATS, "images": [image(name=name)]})
    assert Coco().root(path) == tmp_path / root
    assert Coco().root(put(tmp_path / "empty/a.json", coco([], []))) == tmp_path / "empty"


# ---- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("data", "words"),
    [
        ([1, 2], "no list 'images'"),
        ({"images": [], "categories": []}, "no list 'annotations'"),
        (changed("images", 1, id=40), r"image 2: id 40 is given twice"),
        (changed("images", 1, file_name="b/2.jpg"), r"image 2: file_name 'b/2.jpg' is given twice"),
        (changed("images", 1, file_name="gone"), "image 2: .* no file_name"),
        (changed("images", 1, width=0), r"image 2 \('a.jpg'\): width is 0"),
        (changed("images", 1, height=True), "height is True"),
        (changed("images", 1, id=[1]), "image 2: .* no id"),
        (changed("categories", 1, id=90), "category 2: id 90 is given twice"),
        (changed("categories", 1, name="zebra"), "category 2: name 'zebra' is given twice"),
        (changed("categories", 0, id=[90]), "category 1: .* no whole number"),
        (changed("annotations", 1, id=5), r"annotation 2 \(id 5\): this id is given twice"),
        (changed("annotations", 0, image_id=99), r"annotation 1 \(id 5\): image_id 99 is not among the file's 3"),
        (changed("annotations", 0, image_id=[7]), r"annotation 1 \(id 5\): image_id"),
        (changed("annotations", 0, category_id=8), r"annotation 1 \(id 5\): category_id 8 .*7 ant, 90 zebra"),
        (changed("annotations", 0, category_id=True), "category_id True"),
        (changed("annotations", 0, bbox=[1, 2, NAN, 4]), r"annotation 1 \(id 5\): width of bbox is nan"),
        (changed("annotations", 0, bbox=[1, 2, float("inf"), 4]), "width of bbox is inf"),
        (changed("annotations", 0, bbox=[10**400, 2, 3, 4]), "x of bbox is 1000"),
        (changed("annotations", 0, bbox=[1e308, 2, 1e308, 4]), "x2 of the box is inf"),
        (changed("annotations", 0, bbox=[1, 2, -3, 4]), r"annotation 1 \(id 5\): bbox .* negative side"),
        (changed("annotations", 0, bbox=[1, 2, 3]), "bbox is"),
        (changed("annotations", 0, bbox=[1, 2, "3", 4]), "width of bbox is '3'"),
        (changed("annotations", 0, iscrowd=2), "iscrowd is 2"),
        (changed("annotations", 0, area=NAN), "area is nan"),
        (changed("annotations", 0, segmentation=[[1, 2, 3]]), "segmentation is"),
        (changed("annotations", 0, segmentation=[[1, 2, 3, NAN]]), "corner of a polygon is nan"),
        (changed("annotations", 1, segmentation={"size": [6, 4], "counts": [24]}), r"mask has size \[6, 4\]"),
        (changed("annotations", 1, segmentation={"size": [4, 6], "counts": [25]}), "do not decode: they sum to 25"),
        (changed("annotations", 1, segmentation={"size": [4, 6], "counts": [30, -6]}), "do not decode"),
        (changed("annotations", 1, segmentation={"size": [4, 6], "counts": "~~~"}), "do not decode: '~' at 0"),
        (changed("annotations", 1, segmentation={"size": [4, 6]}), "do not decode"),
        (GOOD | {"annotations": [3]}, "annotation 1: 3 is no object"),
            (coco([image("007")], [box(of=7)]), r"annotation 1 \(id 1\): image_id 7 is not among the file's 1 images"),
        (coco([image(0), image("0", "2.jpg")]), "image 2: id 0 is given twice"),
        (coco([image(width=40.5)]), r"image 1 \('1.jpg'\): width is 40.5"),
        (coco([image(width=None)]), "width is None"),
        (coco([image(height=-3)]), "height is -3"),
        (coco([image(height=10**400)]), "height is 1000"),
        (coco([image(10**400)]), "has no id or no file_name"),
        (coco([image(True)]), "has no id or no file_name"),
        (coco([image(name=" ")]), "has no id or no file_name"),
        (coco(annotations=[box(10**400)]), r"annotation 1: id is 1000"),
        (coco(annotations=[box(), {"id": 2, "image_id": 1, "category_id": 1}]), r"annotation 2 \(id 2\): bbox is None"),
        (coco(annotations=[box(segmentation={"size": [30, 40], "counts": [10**400]})]), "sum to far more, the image"),
        (coco(annotations=[box(segmentation={"size": [30, 40], "counts": [True, 1199]})]), "do not decode"),
        (coco(annotations=[box(segmentation={"size": "30", "counts": [1]})]), "mask has size '30'"),
        (coco(annotations=[box(segmentation=[[1, 2]])]), "three corners or more"),
        (coco(annotations=[box(segmentation=[1, "2"])]), "segmentation is"),
        (coco(annotations=[box(segmentation="x")]), "segmentation is 'x'"),
        (coco(annotations=[box(segmentation=[[1e308, 1e308, 1e308, 10**400, 1, 1]])]), "corner of a polygon is 1000"),
        (coco(annotations=[box(iscrowd=None)]), "iscrowd is None"),
        (coco(annotations=[box(score="0.5")]), "score is '0.5'"),
    ],
)  # fmt: skip
def test_broken_files_are_refused_with_the_row(tmp_path, data, words):
    with pytest.raises(FormatError, match=words) as caught:
        read(put(tmp_path / "a.json", data))
    assert "a.json" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300 + len(str(tmp_path))


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
    with pytest.raises(FormatError, match=words):
        read(put(tmp_path / "a.json", text))
    with pytest.raises(FormatError, match="does not exist"):
        read(tmp_path / "b.json")


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("points", "words"),
    [
        ([1, 2], "keypoints is"),
        ([1, 2, 3, 4, 5, 6, 7, 8, 9], "visibility 3"),
        ([1, 2, 2], "keypoints has 3 numbers, and its category names 3 points"),
        ([1, 2, 2, 3, NAN, 2, 1, 2, 2], "y of a key point is nan"),
        ("x", "keypoints is 'x'"),
    ],
)
def test_broken_key_points_are_refused_where_they_are_wanted(tmp_path, points, words):
    good = box(2, keypoints=[1, 2, 2.0, 0, 0, 0, 3, 4, 1])
    path = put(tmp_path / "a.json", coco(annotations=[good, box(keypoints=points)], categories=[PERSON]))
    with pytest.raises(FormatError, match=words):
        read(path, kind="points")
    _, [record] = read(path, kind="boxes")
    assert record.objects[0].points.points[0] == (1, 2, 2)
    assert "keypoints" in record.objects[1].attributes


def test_what_is_odd_is_counted(tmp_path):
    thin = [[1, 2, 3, 4], [1, 2, 11, 2, 11, 14]]
    turned = {"attributes": {"rotation": 90.0}, "segmentation": []}
    data = coco([image(date=NAN)], [box(segmentation=thin), box(2, segmentation=[[1, 2, 3, 4]]), box(3, extra=NAN),
                                    box(4, bbox=[10, 10, 4, 2], **turned)])  # fmt: skip
    head, [record] = read(put(tmp_path / "a.json", data))
    assert head.notes == (
        "'a.json': 2 value(s) that are no finite numbers are left out of further keys",
        "'a.json': 2 outline(s) have parts of fewer than three corners, which cover nothing",
        "'a.json': 1 box(es) are turned (attributes.rotation): the upright box around each counts",
    )
    both, none, plain, angled = record.objects
    assert (both.outline.parts, both.attributes["segmentation"]) == ((tuple(thin[1]),), thin)
    assert none.outline == Polygon(())
    assert "extra" not in plain.attributes
    assert angled.box == Box(10, 10, 14, 12, 90.0)


@pytest.mark.heavy
def test_bombs_cost_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    huge = 20_000
    runs = {"size": [huge, huge], "counts": [0, huge * huge]}
    wide, bare = image(width=huge, height=huge), {"id": 1, "file_name": "1.jpg"}
    many = [{"id": n, "name": f"c{n}", "supercategory": f"c{n + 1}"} for n in range(50_000)]
    files = {
        "empty": coco([image(width=200_000, height=200_000)], []),
        "claimed": coco([wide], [box(segmentation=[[0, 0, huge, 0, huge, huge]])]),
        "runs": coco([wide], [box(segmentation=runs)]),
        "no_size": coco([bare], [box(segmentation={"size": [1 << 30, 1 << 30], "counts": [1 << 60]})]),
        "unknown": coco(annotations=[box(n, of=n) for n in range(2, 100_000)]),
        "categories": coco(categories=many),
        "polygon": coco(annotations=[box(segmentation=[[1.5, 2.5] * 400_000])]),
        "nested": coco(info=[[[[[[]]]]]] * 10, extra="[" * 100),
    }  # fmt: skip
    calls = [("coco", str(put(tmp_path / f"{name}.json", data)), "answers", "masks") for name, data in files.items()]
    costs = dict(zip(files, bounded.calls("reading:everything", calls, megabytes=700), strict=True))
    assert {name: cost.error for name, cost in costs.items()} == {
        **dict.fromkeys(("empty", "claimed", "categories", "polygon", "nested"), ""),
        **dict.fromkeys(("runs", "no_size", "unknown"), "FormatError"),
    }
    assert "too large" in costs["runs"].text


# ---- what is written ------------------------------------------------------------------------------------------------


def test_whole_numbers_stay_whole(tmp_path):
    seen = Seen("cat", Box(1, 2, 3, 40))
    record = Record(Where("a"), "a.jpg", size=(9, 9), objects=(seen,))
    Coco().write(tmp_path / "a.json", Head(classes=("cat",)), [record], Writing("labelled", "boxes"))
    text = (tmp_path / "a.json").read_text()
    assert '"bbox":[1,2,2,38]' in text
    assert '"area":76' in text


def test_a_set_of_splits_is_a_folder_with_images(tmp_path):
    picture(tmp_path / "from/x/a.jpg")
    picture(tmp_path / "from/b.jpg")
    records = [
        Record(Where("a"), "x/a.jpg", size=(40, 30), objects=(Seen("dog", Box(1, 2, 3, 4)),), split="train"),
        Record(Where("b"), "b.jpg", size=(40, 30), state="empty", split="val"),
    ]
    how = Writing("labelled", "boxes", lambda name: str(tmp_path / "from" / name), "copy")
    head = Head(classes=("cat", "dog"))
    assert Coco().write(tmp_path / "out", head, records, how) == []
    files = sorted(p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*") if p.is_file())
    assert files == [
        "annotations/instances_train.json",
        "annotations/instances_val.json",
        "images/b.jpg",
        "images/x/a.jpg",
    ]
    found, again = read(tmp_path / "out")
    assert (found.classes, found.root, found.says_empty) == (("cat", "dog"), tmp_path / "out/images", True)
    assert [(r.image, r.split, r.state, r.number) for r in again] == [
        ("x/a.jpg", "train", "answered", 1), ("b.jpg", "val", "empty", 2)]  # fmt: skip
    with pytest.raises(StateError, match="do not belong to this set"):
        Coco().write(tmp_path / "out", head, records[:1], how)


def test_picks_wait_for_an_answer(tmp_path):
    marks = {"path": "/d/a.jpg", "rank": 0, "strategy_score": 1.5, "strategy": "margin", "round": 3}
    guess = Seen("cat", Box(1, 2, 3.5, 4), score=0.25)
    records = [
        Record(Where("a"), "a.jpg", size=(40, 30), objects=(guess,), state="untouched", extra=marks),
        Record(Where("b"), "b.jpg", size=None, state="untouched", extra={"path": "/d/b.jpg", "rank": 1}),
    ]
    notes = Coco().write(tmp_path / "a.json", Head(classes=("cat",)), records, Writing("asked", "boxes"))
    assert notes == ["1 image(s) are written without width and height: their size is not known"]
    data = json.loads((tmp_path / "a.json").read_text())
    assert data["images"][0].items() >= (marks | {"answered": False, "file_name": "a.jpg", "width": 40}).items()
    assert data["annotations"][0].items() >= {"score": 0.25, "bbox": [1, 2, 2.5, 2], "category_id": 1}.items()
    head, again = read(tmp_path / "a.json", "answers")
    assert head.says_empty
    assert [record.state for record in again] == ["untouched", "untouched"]
    # as it comes back from a tool that keeps nothing but what COCO knows
    for entry in data["images"]:
        for key in [*marks, "answered"]:
            entry.pop(key, None)
    head, again = read(put(tmp_path / "b.json", data), "answers")
    assert not head.says_empty
    assert [record.state for record in again] == ["answered", "empty"]


def _mask(indices_HW, at=(0, 0)):
    return Mask((indices_HW.shape[1], indices_HW.shape[0]), lambda: indices_HW, at)


def test_pixels_become_an_annotation_for_each_class(tmp_path):
    indices_HW = np.full((6, 8), IGNORE, np.uint8)
    indices_HW[1:4, 2:5], indices_HW[4:, :] = 1, 0
    records = [Record(Where("a"), "a.png", size=(8, 6), pixels=_mask(indices_HW)),
               Record(Where("b"), "b.png", size=(8, 6), pixels=_mask(np.zeros((2, 3), np.uint8), (4, 3)))]  # fmt: skip
    for option in ({}, {"outlines": "polygons"}):
        how = Writing("labelled", "masks", options=option)
        Coco().write(tmp_path / "a.json", Head(classes=("road", "car")), records, how)
        head, [first, second] = read(tmp_path / "a.json", kind="masks")
        assert (head.bare, head.classes) == ("nothing", ("road", "car"))
        assert [(seen.cls, seen.box) for seen in first.objects] == [("road", Box(0, 4, 8, 6)), ("car", Box(2, 1, 5, 4))]
        assert isinstance(first.objects[0].outline, Polygon if option else Mask)
        assert second.objects[0].box == Box(4, 3, 7, 5)
        assert second.objects[0].attributes["area"] == 6
        for seen, value in zip(first.objects, (0, 1), strict=True):
            parts = seen.outline.parts if option else seen.outline.raw
            np.testing.assert_array_equal(decode_segmentation(parts, 8, 6), indices_HW == value)


def test_regions_of_an_image_are_one_entry(tmp_path):
    window = np.zeros((2, 2), np.uint8)
    record = Record(Where("a"), "a.png", size=(8, 6), state="untouched")
    records = [replace(record, region=str(n), pixels=_mask(window + n, (n, n)), extra={"rank": n}) for n in (0, 3)]
    Coco().write(tmp_path / "a.json", Head(classes=tuple("abcd")), records, Writing("asked", "masks"))
    data = json.loads((tmp_path / "a.json").read_text())
    assert [(entry["file_name"], entry["regions"]) for entry in data["images"]] == [("a.png", ["a.png#0", "a.png#3"])]
    assert [a["category_id"] for a in data["annotations"]] == [1, 4]
    _, [record] = read(tmp_path / "a.json", "answers", kind="masks")
    assert record.extra == {"id": 1}


def test_background_is_a_class_of_masks(tmp_path):
    outlined = box(segmentation=[[1, 2, 11, 2, 11, 14]])
    path = put(tmp_path / "a.json", coco(annotations=[outlined]))
    assert read(path, kind="masks")[0].classes == ("background", "cat", "dog")
    assert read(path, kind="boxes")[0].classes == ("cat", "dog")
    assert read(path, kind="masks", classes=("cat", "dog"))[0].classes == ("cat", "dog")
    said = put(tmp_path / "b.json", coco(annotations=[outlined], info={"unannotated": "ignore"}))
    assert read(said, kind="masks")[0].bare == "nothing"
    drawn = put(tmp_path / "c.json", coco(annotations=[outlined], categories=[{"id": 1, "name": "background"}]))
    head, _ = read(drawn, kind="masks")
    assert (head.bare, head.classes) == ("nothing", ("background",))


def test_shapes_of_other_formats(tmp_path):
    cover = np.ones((2, 3), bool)
    seen = (
        Seen("cat", Box(10, 10, 14, 12, rotation=90.0)),
        Seen("cat", outline=Polygon(((1.0, 2.0, 11.0, 2.0, 11.0, 12.0),))),
        Seen("cat", outline=Mask((3, 2), lambda: cover, (5, 4))),
        Seen("cat", points=Points(((1, 2, 2), (0, 0, 0), (3, 5, 1)), ("a", "b", "c")), origin="corrected"),
        Seen(None, embedding=[1.0]),
    )
    record = Record(Where("a"), "a.jpg", size=(20, 20), objects=seen, extra={"skeleton": [[0, 2]]})
    head = Head(classes=("cat",), skeleton=(("a", "b", "c"), ((0, 2),)))
    notes = Coco().write(tmp_path / "a.json", head, [record], Writing("labelled", "boxes"))
    assert sorted(notes) == [
        "1 object(s) without class",
        "1 turned box(es) are written upright: the angle stands under 'rotated'",
    ]
    again_head, [again] = read(tmp_path / "a.json", kind="points")
    assert again_head.skeleton == head.skeleton
    turned, outlined, masked, pointed = again.objects
    assert turned.box == seen[0].box
    assert (outlined.box, outlined.attributes["area"]) == (Box(1.0, 2.0, 11.0, 12.0), 50.0)
    assert masked.box == Box(5, 4, 8, 6)
    assert masked.outline.read()[4:6, 5:8].all()
    assert masked.outline.read().sum() == 6
    assert (pointed.points, pointed.origin, pointed.box) == (seen[3].points, "corrected", Box(1, 2, 3, 5))
    fractions = Record(
        Where("a"), "a.jpg", size=(20, 10), fractions=True, objects=(Seen("cat", Box(0.1, 0.2, 0.3, 0.4)),)
    )
    Coco().write(tmp_path / "b.json", head, [fractions], Writing("labelled", "boxes"))
    assert read(tmp_path / "b.json")[1][0].objects[0].box == Box(2.0, 2.0, 6.0, 4.0)


def test_what_cannot_be_written(tmp_path):
    good = Record(Where("a"), "a.jpg", size=(9, 9), objects=(Seen("cat", Box(0, 0, 1, 1)),))
    how, head = Writing("labelled", "boxes"), Head(classes=("cat",))
    for record, words in (
        (replace(good, objects=(Seen("fox", Box(0, 0, 1, 1)),)), "unknown class 'fox'"),
        (replace(good, objects=(Seen("cat", Box(0, 0, 1, float("inf"))),)), "cannot be written as JSON"),
        (replace(good, image=None), "the image has no name"),
        (replace(good, size=None, fractions=True), "size of 'a.jpg' is not known"),
        (replace(good, objects=(Seen("cat", Box(0, 0, 1, 1), score=NAN),)), "score of 'cat'"),
    ):
        with pytest.raises(FormatError, match=words):
            Coco().write(tmp_path / "a.json", head, [record], how)
    with pytest.raises(StateError, match="cannot make the folder"):
        Coco().write(put(tmp_path / "file.txt", "x") / "out.json", head, [good], how)
    assert [p.name for p in tmp_path.iterdir()] == ["file.txt"]


_number = st.integers(0, 60) | st.floats(0, 60, allow_nan=False).map(lambda value: round(value, 6))
_attributes = st.dictionaries(st.sampled_from(["a", "b", "license"]), st.integers() | st.text(max_size=3), max_size=2)


@st.composite
def _objects(draw):
    (x1, x2), (y1, y2) = (sorted((draw(_number), draw(_number))) for _ in range(2))
    polygon = Polygon(
        tuple(tuple(draw(st.lists(_number, min_size=6, max_size=6))) for _ in range(draw(st.integers(1, 2))))
    )
    cover = draw(st.integers(0, 1 << 20))
    bits = np.array([cover >> n & 1 for n in range(20)], bool).reshape(4, 5)
    raw = run_lengths(bits)
    return Seen(
        draw(st.sampled_from(["cat", "dog"])),
        Box(x1, y1, x2, y2),
        draw(st.sampled_from([None, polygon, Mask((5, 4), lambda: bits, raw=raw)])),
        crowd=draw(st.booleans()),
        difficult=draw(st.booleans()),
        score=draw(st.none() | st.floats(0, 1)),
        origin=draw(st.sampled_from([None, "drawn", "accepted"])),
        attributes=draw(_attributes),
    )


@pytest.mark.heavy
@settings(max_examples=40)
@given(st.lists(st.lists(_objects(), max_size=3), min_size=1, max_size=3), st.sampled_from(["train", "val", None]))
def test_any_records_come_back(tmp_path_factory, pictures, split):
    """Whatever is written is read again, ids and areas that were given on the way apart."""
    folder = tmp_path_factory.mktemp("any")
    records = [
        Record(Where("a"), f"d/{n}.jpg", size=(5, 4), objects=tuple(objects), split=split,
               state="answered" if objects else "empty") for n, objects in enumerate(pictures)
    ]  # fmt: skip
    Coco().write(folder / "a.json", Head(classes=("cat", "dog")), records, Writing("labelled", "boxes"))
    head, again = read(folder / "a.json")
    assert head.classes == ("cat", "dog")

    assert list(map(_plain, again)) == list(map(_plain, records))
    Coco().write(folder / "b.json", head, again, Writing("labelled", "boxes"))
    assert json.loads((folder / "a.json").read_text()) == json.loads((folder / "b.json").read_text())


def test_broken_samples_say_nothing_of_their_copies(tmp_path):
    """Reading changes nothing in what was handed over."""
    data = copy.deepcopy(GOOD)
    path = put(tmp_path / "a.json", data)
    assert read(path)[1] == read(path)[1]
    assert data == GOOD


# ---- key points -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"keypoints": ["nose", "left", "nose"]}, "two key points are called 'nose'"),
        ({"skeleton": [[1, 4]]}, r"the skeleton has \[1, 4\]; give pairs of numbers of key points, from 1 to 3"),
        ({"skeleton": [[0, 1]]}, "from 1 to 3"),
        ({"skeleton": ["nose"]}, "from 1 to 3"),
    ],
)
def test_a_category_with_wrong_key_points_is_refused_where_they_are_wanted(tmp_path, more, words):
    good = box(2, keypoints=[1, 2, 2, 0, 0, 0, 3, 4, 1])
    path = put(tmp_path / "a.json", coco(annotations=[good], categories=[{**PERSON, **more}]))
    with pytest.raises(FormatError, match=words) as caught:
        read(path, kind="points")
    assert "a.json', category 1" in str(caught.value)
    assert len(str(caught.value)) < 300
    read(path, kind="boxes")
