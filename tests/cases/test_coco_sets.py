"""COCO files as people have them: images are found, classes are what was drawn, sizes agree, numbers are numbers."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from labelwise.data import open_source
from labelwise.errors import FormatError
from labelwise.exchange.incoming import Incoming, Known, Wishes
from labelwise.formats.coco import Coco
from labelwise.formats.coco_results import CocoResults
from labelwise.formats.ultralytics_json import UltralyticsJson
from labelwise.kinds import KINDS

sys.path.append(str(Path(__file__).parents[1] / "formats"))

from test_coco_format import box, coco, image, picture, put

BOXES = KINDS.create("boxes")
MASKS = KINDS.create("masks")
LAST = [25, 2, 35, 14]


def thing(number=0, of=0, **more):
    return box(number, of, bbox=[25, 2, 10, 12], **more)


def written(root: Path, file: str, names, **more) -> Path:
    """A file that lists images, with one box on each."""
    images = [image(n, name) for n, name in enumerate(names)]
    return put(root / file, coco(images, [thing(n, n) for n in range(len(names))], **more))


def boxes_of(source) -> dict[str, list]:
    return {item: [(one["class"], one["box"]) for one in label["objects"]] for item, label in source.truth.items()}


# ---- exports of Label Studio ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "images/ab12cd{n}0-photo{n}.jpg",
        "images/7/ab12cd{n}0-photo{n}.jpg",  # a number of a project, which is no folder
        "ab12cd{n}0-photo{n}.jpg",
        "images\\ab12cd{n}0-photo{n}.jpg",
        "/label-studio/data/media/upload/7/ab12cd{n}0-photo{n}.jpg",
        "../files/images/ab12cd{n}0-photo{n}.jpg",
        "http://localhost:8080/data/upload/7/ab12cd{n}0-photo{n}.jpg",
    ],
)
@pytest.mark.parametrize("named", ["", "result.json"])
def test_result_json_beside_images(tmp_path, name, named):
    for n in range(3):
        picture(tmp_path / f"images/ab12cd{n}0-photo{n}.jpg")
    written(tmp_path, "result.json", [name.format(n=n) for n in range(3)])
    source = open_source(tmp_path / named)
    assert {item.removeprefix("images/"): found for item, found in boxes_of(source).items()} == {
        f"ab12cd{n}0-photo{n}.jpg": [("cat", LAST)] for n in range(3)
    }
    assert source.classes == ("cat", "dog")


def test_a_folder_that_contradicts_is_no_match(tmp_path):
    picture(tmp_path / "images/cam1/0.jpg")
    written(tmp_path, "result.json", ["cam2/0.jpg"])
    with pytest.raises(FormatError, match=r"'cam2/0\.jpg' is none of .* 'cam1/0\.jpg' lies in another folder"):
        open_source(tmp_path)


# ---- sizes ----------------------------------------------------------------------------------------------------------


def _turned(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x112] = 6
    Image.new("RGB", (40, 30)).save(path, exif=exif)


def test_boxes_in_pixels_that_were_not_turned_are_refused(tmp_path):
    _turned(tmp_path / "images/0.jpg")
    written(tmp_path, "annotations/instances.json", ["0.jpg"])
    with pytest.raises(FormatError, match=r"labelled at 40 x 30 pixels and has 30 x 40 .*EXIF"):
        open_source(tmp_path)
    with pytest.raises(FormatError, match="labelled at 40 x 30 pixels"):
        list(_incoming(tmp_path / "annotations/instances.json", Coco(), {"0.jpg": (30, 40)}).rows())


@pytest.mark.parametrize("size", [(30, 40), (80, 60), (20, 15), (41, 30)])
def test_boxes_of_another_size_are_refused(tmp_path, size):
    picture(tmp_path / "images/0.jpg", size)
    written(tmp_path, "annotations/instances.json", ["0.jpg"])
    with pytest.raises(FormatError, match=f"labelled at 40 x 30 pixels and has {size[0]} x {size[1]}"):
        open_source(tmp_path)


def test_sizes_that_the_file_does_not_know_are_those_of_the_images(tmp_path):
    picture(tmp_path / "images/0.jpg", (64, 48))
    put(tmp_path / "instances.json", coco([{"id": 0, "file_name": "0.jpg"}], [thing()]))
    assert open_source(tmp_path).truth["0.jpg"]["size"] == [64, 48]


# ---- groups of Roboflow ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("group", ["cat", "animals", "Animals-1", "dog"])
def test_groups_of_roboflow_are_no_classes(tmp_path, group):
    categories = [{"id": 0, "name": group, "supercategory": "none"}]
    categories += [{"id": n, "name": name, "supercategory": group} for n, name in ((1, "cat"), (2, "dog"))]
    for split in ("train", "valid", "test"):
        names = [f"{split}{n}_jpg.rf.{n:032x}.jpg" for n in range(2)]
        for name in names:
            picture(tmp_path / split / name)
        written(tmp_path, f"{split}/_annotations.coco.json", names, categories=categories)
    source = open_source(tmp_path)
    assert source.classes == ("cat", "dog")
    assert Counter(source.roles.values()) == {"validation": 2, "test": 2}
    assert len(source.truth) == 6
    assert {found[0][0] for found in boxes_of(source).values()} == {"cat"}
    assert any(word in " ".join(source.notes()) for word in ("is a group without objects", "twice"))


def test_the_name_before_the_upload_is_known(tmp_path):
    """Exported by Roboflow, imported where the images have their own names."""
    entry = image(0, "IMG 7_jpg.rf.0123456789abcdef0123456789abcdef.jpg", extra={"name": "IMG_7.JPG"})
    path = put(tmp_path / "a.json", coco([entry], [thing()]))
    [(item, _)] = _incoming(path, Coco(), {"IMG_7.JPG": (40, 30)})
    assert item == "IMG_7.JPG"


# ---- loose numbers --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "annotation", "category"),
    [
        (image(0, width=40.0, height=30.0), thing(area=120.0), 1),
        (image("0"), thing(), 1),
        (image(0), thing(of="0"), 1),
        (image(0), thing(category="1"), "1"),
        (image(0), thing(category=1), "1"),
        (image(0, width="40", height="30"), thing("0", iscrowd="0"), 1.0),
    ],
)
def test_loose_numbers(tmp_path, entry, annotation, category):
    picture(tmp_path / "images/1.jpg")
    put(tmp_path / "annotations/instances.json", coco([entry], [annotation], [{"id": category, "name": "cat"}]))
    source = open_source(tmp_path)
    assert source.truth["1.jpg"]["size"] == [40, 30]
    assert boxes_of(source) == {"1.jpg": [("cat", LAST)]}


# ---- half-done and odd files that come back -------------------------------------------------------------------------


def _incoming(path: Path, form, sizes, use="answers", kind=BOXES, classes=("cat", "dog"), **wishes) -> Incoming:
    known = Known(kind, set(sizes), classes, Path("/nowhere/photos"), sizes.__getitem__)
    return Incoming(path, form, use, known, Wishes(**wishes))


@pytest.mark.parametrize(("untouched", "expected"), [("unanswered", 0), ("empty", 15)])
def test_frames_that_nobody_opened_are_not_answered(tmp_path, untouched, expected):
    images = [image(n, f"{n:02}.jpg") for n in range(30)]
    path = put(tmp_path / "instances_default.json", coco(images, [thing(n, n) for n in range(15)]))
    found = _incoming(path, Coco(), {f"{n:02}.jpg": (40, 30) for n in range(30)}, untouched=untouched)
    rows = list(found.rows())
    assert len(rows) == 15 + expected
    assert found.states == {"answered": 15, "bare" if not expected else "empty": 15}
    assert any("15 image(s) without any object" in note for note in found.notes()) is (not expected)


@pytest.mark.parametrize("size", [200_000, 20_000, 30_000])
@pytest.mark.parametrize("answered", [None, True])
def test_a_size_of_gigabytes_is_compared_and_never_painted(tmp_path, size, answered):
    marks = {} if answered is None else {"answered": answered}
    outlined = thing(segmentation=[[0, 0, size, 0, size, size]])
    path = put(tmp_path / "m.json", coco([image(0, "i00.png", width=size, height=size, **marks)], [outlined]))
    with pytest.raises(FormatError, match=f"labelled at {size} x {size} pixels and has 16 x 12"):
        list(_incoming(path, Coco(), {"i00.png": (16, 12)}, kind=MASKS).rows())


@pytest.mark.parametrize(
    ("seconds", "x", "words"),
    [
        (10**400, 1, "seconds is 1000"),
        (float("nan"), 1, "seconds is nan"),
        (float("inf"), 1, "seconds is inf"),
        (-5, 1, "seconds is -5; give a finite number, 0 or more"),
        (True, 1, "seconds is True"),
        (1, 10**400, "x of bbox is 1000"),
        (1, 1e308, None),
    ],
)
def test_costs_and_corners_beyond_all_numbers(tmp_path, seconds, x, words):
    path = put(tmp_path / "c.json", coco([image(0, "i00.png", seconds=seconds)], [box(1, 0, bbox=[x, 2, 3.5, 4])]))
    found = _incoming(path, Coco(), {"i00.png": (40, 30)})
    if words is None:
        assert len(list(found.rows())) == 1
        return
    with pytest.raises(FormatError, match=words) as caught:
        list(found.rows())
    assert len(str(caught.value)) < 300 + len(str(tmp_path))


RESULT = {"image_id": "i00.png", "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"file_name": [1], "image_id": 1}, r"file_name is \[1\]"),
        ({"probs": [10**400, 0]}, "probs is"),
        ({"embedding": [10**400, 0]}, "embedding is"),
        ({"image_id": {"a": 1}}, "image_id is"),
        ({"score": 10**400}, "score is"),
        ({"bbox": [1, 2, float("inf"), 4]}, "width of bbox is inf"),
    ],
)
def test_numbers_of_results(tmp_path, changes, words):
    path = put(tmp_path / "r.json", [RESULT | changes])
    with pytest.raises(FormatError, match=words):
        list(_incoming(path, CocoResults(), {"i00.png": (40, 30)}, "predictions"))


def test_classes_of_results_are_never_guessed(tmp_path):
    """Ultralytics counted categories from 0, and counts them from 1 now: only a list says what 1 is."""
    path = put(tmp_path / "predictions.json", [RESULT | {"image_id": "i00", "category_id": 1}])
    found = _incoming(path, CocoResults(), {"i00.png": (40, 30)}, "predictions", classes=("ace", "jack"))
    [(item, record)] = found
    assert item == "i00.png"
    with pytest.raises(FormatError, match="no list says which is which"):
        found.naming.of(record.objects[0].cls)
    for names, expected in (({0: "jack", 1: "ace"}, "ace"), ({1: "jack", 2: "ace"}, "jack")):
        told = _incoming(
            path, CocoResults(), {"i00.png": (40, 30)}, "predictions", classes=("ace", "jack"), names=names
        )
        [(_, record)] = told
        assert told.naming.of(record.objects[0].cls) == expected


def test_numbers_of_images_are_never_file_numbers(tmp_path):
    path = put(tmp_path / "predictions.json", [RESULT | {"image_id": 7}])
    sizes = {"0007.jpg": (40, 30), "7.jpg": (40, 30)}
    found = _incoming(path, CocoResults(), sizes, "predictions")
    assert list(found) == []
    with pytest.raises(FormatError, match="no list says which is which"):
        found.refuse_unknown()
    told = _incoming(path, CocoResults(), sizes, "predictions", images={7: "0007.jpg"})
    assert [item for item, _ in told] == ["0007.jpg"]


def test_results_by_name_keep_their_classes(tmp_path):
    row = {"name": "jack", "class": 0, "confidence": 0.5, "box": {"x1": 1, "y1": 2, "x2": 3, "y2": 4}}
    path = put(tmp_path / "all.json", {"/content/photos/i00.png": [row, row | {"name": "ace", "class": 1}]})
    found = _incoming(path, UltralyticsJson(), {"i00.png": (40, 30)}, "predictions", classes=("ace", "jack"))
    [(item, record)] = found
    assert item == "i00.png"
    assert [found.naming.of(seen.cls) for seen in record.objects] == ["jack", "ace"]


@pytest.mark.heavy
def test_half_a_million_unknown_images_are_one_line(tmp_path):
    rows = [RESULT | {"image_id": f"x{n}.png"} for n in range(20_000)]
    found = _incoming(put(tmp_path / "r.json", rows), CocoResults(), {"i00.png": (40, 30)}, "predictions")
    assert list(found) == []
    with pytest.raises(FormatError, match=r"19,999 more") as caught:
        found.refuse_unknown()
    assert len(str(caught.value)) < 300 + len(str(tmp_path))
