"""Boxes as records and back, to the digit."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from boxes_on_disk import raw_labels
from labelwise.contracts.kind import Naming, Panel
from labelwise.contracts.record import Box, Head, Mask, Points, Polygon, Record, Seen, Where
from labelwise.drawing.boxes import SIDE
from labelwise.errors import DataError, FormatError
from labelwise.formats.coco import Coco
from labelwise.formats.voc import Voc
from labelwise.formats.yolo import Yolo
from labelwise.kinds.boxes import Boxes

NAMES = ("cat", "dog")
KIND = Boxes()
NAMING = Naming(str, NAMES, Head())


def record(*objects, size=(40, 30), **more):
    return Record(Where("a.json", "image", 3), "a.png", size=size, objects=objects, **more)


def boxes_of(found, size=(40, 30)):
    return [thing["box"] for thing in KIND.from_record(found, NAMING, size)["objects"]]


def there_and_back(raw, size=None):
    return KIND.from_record(KIND.to_record("a.png", raw, NAMES), NAMING, size)


# ---- exactness ------------------------------------------------------------------------------------------------------

numbers = st.one_of(st.integers(-50, 700), st.floats(-50, 700, allow_nan=False), st.sampled_from([0.1 + 0.2, 1e-12]))
words = st.text(max_size=8)
plain = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), words),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(words, inner, max_size=3)),
    max_leaves=6,
)
polygons = st.lists(st.lists(numbers, min_size=6, max_size=10).filter(lambda part: len(part) % 2 == 0), max_size=3)
runs = st.fixed_dictionaries({"size": st.just([30, 40]), "counts": st.one_of(st.just("PX1"), st.just([1200]))})
keypoints = st.lists(st.tuples(numbers, numbers, st.integers(0, 2)), max_size=4).map(
    lambda points: [value for point in points for value in point]
)
known_extra = st.fixed_dictionaries(
    {},
    optional={
        "id": st.integers(),
        "area": numbers,
        "bbox": st.lists(numbers, min_size=4, max_size=4),
        "segmentation": st.one_of(polygons, runs, st.none()),
        "keypoints": st.one_of(keypoints, plain),
        "keypoint_names": st.one_of(st.lists(words, max_size=2), plain),
        "num_keypoints": st.integers(0, 4),
        "polygon": st.one_of(st.lists(st.floats(0, 1), min_size=6, max_size=6), plain),
        "rotated": st.one_of(st.lists(numbers, min_size=5, max_size=5), plain),
        "origin": st.one_of(st.sampled_from(["drawn", "accepted", "corrected", "elsewhere"]), plain),
        "part": plain,
    },
)


@st.composite
def things(draw, scored):
    xs, ys = sorted(draw(st.tuples(numbers, numbers))), sorted(draw(st.tuples(numbers, numbers)))
    thing = {"class": draw(st.sampled_from(NAMES)), "box": [xs[0], ys[0], xs[1], ys[1]]}
    thing |= {flag: True for flag in ("crowd", "difficult") if draw(st.booleans())}
    if scored:
        thing["score"] = draw(st.one_of(st.floats(0, 1), st.sampled_from([0, 1])))
    extra = draw(known_extra) | draw(st.dictionaries(words, plain, max_size=2))
    return thing | ({"extra": extra} if extra else {})


@st.composite
def raws(draw):
    raw = {"size": [40, 30], "objects": draw(st.lists(things(draw(st.booleans())), max_size=4))}
    extra = draw(st.dictionaries(words, plain, max_size=3))
    return raw | ({"extra": extra} if extra else {})


def exact(value):
    """As JSON text: 1 is not 1.0 there, and 0.30000000000000004 not 0.3."""
    return json.dumps(value, sort_keys=True)


@pytest.mark.heavy
@settings(max_examples=100, deadline=None)
@given(raws())
def test_every_raw_label_comes_back_to_the_digit(raw):
    assert exact(there_and_back(raw)) == exact(raw)
    assert exact(there_and_back(raw, (40, 30))) == exact(raw)


COCO = {
    "info": {"year": 2024},
    "images": [{"id": 7, "file_name": "a.png", "width": 40, "height": 30, "license": 2, "path": "x/a.png"}],
    "categories": [{"id": 3, "name": "cat"}, {"id": 9, "name": "dog"}],
    "annotations": [
        {"id": 1, "image_id": 7, "category_id": 3, "bbox": [0.1, 0.2, 3.3000000000000003, 4], "iscrowd": 0, "area": 5},
        {"id": 2, "image_id": 7, "category_id": 9, "bbox": [1, 2, 3, 4], "segmentation": [[1, 2, 4, 2, 4, 6.5]]},
        {
            "id": 5,
            "image_id": 7,
            "category_id": 9,
            "bbox": [0, 0, 40, 30],
            "iscrowd": 1,
            "segmentation": {"size": [30, 40], "counts": [1200]},
        },
        {
            "id": 6,
            "image_id": 7,
            "category_id": 3,
            "bbox": [1, 1, 2, 2],
            "keypoints": [1, 1, 2, 0, 0, 0],
            "num_keypoints": 1,
            "attributes": {"occluded": False, "rotation": 0.0},
        },
    ],
}


def test_what_the_reader_of_coco_makes_comes_back(tmp_path):
    file = tmp_path / "a.json"
    file.write_text(json.dumps(COCO))
    found = raw_labels(Coco(), file, "data")
    assert [len(label["objects"]) for label in found.values()] == [4]
    for label in found.values():
        assert exact(there_and_back(label)) == exact(label)


def test_what_the_reader_of_voc_makes_comes_back(tmp_path):
    (tmp_path / "a.xml").write_text(
        "<annotation><folder>x</folder><filename>a.png</filename><size><width>40</width><height>30</height>"
        "<depth>3</depth></size><object><name>cat</name><pose>Left</pose><difficult>1</difficult><bndbox><xmin>1</xmin>"
        "<ymin>2.5</ymin><xmax>10</xmax><ymax>20</ymax></bndbox><part><name>head</name></part></object></annotation>"
    )
    found = raw_labels(Voc(), tmp_path)
    assert [len(label["objects"]) for label in found.values()] == [1]
    for label in found.values():
        assert exact(there_and_back(label)) == exact(label)


def test_what_the_reader_of_yolo_makes_comes_back(tmp_path):
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    lines = ("0 0.5 0.5 0.333333 0.1", "1 0.1 0.2 0.15 0.25 0.9 0.8", "0 0.1 0.2 0.1 0.1")
    (tmp_path / "a.txt").write_text("\n".join(lines))
    found = raw_labels(Yolo(), tmp_path, size=(641, 479))
    assert [len(label["objects"]) for label in found.values()] == [3]
    for label in found.values():
        assert exact(there_and_back(label)) == exact(label)


# ---- shapes ---------------------------------------------------------------------------------------------------------


def test_fractions_become_pixels_to_eight_digits():
    x, y, w, h = 0.5123, 0.4771, 0.3333, 0.1
    objects = (
        Seen("cat", Box(x - w / 2, y - h / 2, x + w / 2, y + h / 2)),
        Seen("dog", outline=Polygon(((0.1, 0.2, 0.15, 0.25, 0.9, 0.8),))),
    )
    found = KIND.from_record(record(*objects, size=None, fractions=True), NAMING, (641, 479))
    cat, dog = found["objects"]
    assert cat == {"class": "cat", "box": [221.56165, 204.5809, 435.20695, 252.4809]}
    assert dog == {
        "class": "dog",
        "box": [64.1, 95.8, 576.9, 383.2],
        "extra": {"polygon": [0.1, 0.2, 0.15, 0.25, 0.9, 0.8]},
    }


def test_a_polygon_or_a_mask_gives_the_box_around_it():
    triangle = Seen("cat", outline=Polygon(((1, 2, 10.5, 2, 4, 20), (0.5, 3, 1, 4, 1, 5))))
    cover = np.zeros((5, 6), bool)
    cover[1:3, 2:5] = True
    mask = Seen("dog", outline=Mask((6, 5), lambda: cover, at=(10, 20)))
    found = KIND.from_record(record(triangle, mask), NAMING, (40, 30))
    assert [thing["box"] for thing in found["objects"]] == [[0.5, 2, 10.5, 20], [12, 21, 15, 23]]
    assert found["objects"][0]["extra"]["segmentation"] == [[1, 2, 10.5, 2, 4, 20], [0.5, 3, 1, 4, 1, 5]]
    assert exact(there_and_back(found)) == exact(found)


def test_a_mask_without_a_pixel_is_refused():
    mask = Seen("dog", outline=Mask((2, 2), lambda: np.zeros((2, 2), bool)))
    with pytest.raises(FormatError, match=r"'a\.json', image 3: the mask of an object has no pixel"):
        KIND.from_record(record(mask), NAMING, None)


@pytest.mark.parametrize(
    ("box", "wanted"),
    [
        (Box(10, 10, 20, 14, 90), [13, 7, 17, 17]),
        (Box(10, 10, 20, 14, -90), [13, 7, 17, 17]),
        (Box(10, 10, 20, 14, 180), [10, 10, 20, 14]),
        (Box(10, 10, 20, 14, 360), [10, 10, 20, 14]),
    ],
)
def test_a_turned_box_gives_the_upright_one_around_it_and_is_kept(box, wanted):
    found = KIND.from_record(record(Seen("cat", box)), NAMING, (40, 30))
    assert found["objects"][0]["box"] == pytest.approx(wanted)
    again = KIND.to_record("a.png", found, NAMES)
    assert again.objects[0].box == box
    assert exact(there_and_back(found)) == exact(found)


def test_a_turned_box_in_fractions_is_turned_in_pixels():
    """A square of the fractions is none of the picture: turned by 45 degrees in pixels, its box is as high as wide."""
    found = boxes_of(record(Seen("cat", Box(0.45, 0.4, 0.55, 0.6, 45)), size=(400, 200), fractions=True), (400, 200))
    x1, y1, x2, y2 = found[0]
    assert x2 - x1 == pytest.approx(40 * 2**0.5)
    assert y2 - y1 == pytest.approx(40 * 2**0.5)


def test_key_points_of_a_box_are_kept():
    seen = Seen("cat", Box(1, 1, 5, 5), points=Points(((1, 2, 2), (0, 0, 0)), ("nose", "tail")))
    found = KIND.from_record(record(seen), NAMING, None)
    assert found["objects"][0]["extra"] == {"keypoints": [1, 2, 2, 0, 0, 0], "keypoint_names": ["nose", "tail"]}
    assert KIND.to_record("a", found, NAMES).objects[0].points == seen.points


def test_what_has_no_place_is_no_box():
    assert KIND.from_record(record(Seen("cat")), NAMING, None) is None
    assert boxes_of(record(Seen("cat"), Seen("dog", Box(0, 0, 1, 1)))) == [[0, 0, 1, 1]]
    assert boxes_of(record(Seen("cat", points=Points(((1, 2, 2),))), Seen("dog", Box(0, 0, 1, 1)))) == [[0, 0, 1, 1]]


def test_a_class_that_stands_for_none_has_no_box():
    naming = Naming(lambda name: "" if name == "background" else str(name), NAMES, Head())
    found = KIND.from_record(record(Seen("background", Box(0, 0, 1, 1))), naming, None)
    assert found == {"size": [40, 30], "objects": []}


def test_scores_go_from_labels_and_stay_on_guesses():
    seen = Seen("cat", Box(0, 0, 1, 1), score=0.75, origin="accepted")
    answered = KIND.from_record(record(seen), NAMING, None)
    assert "score" not in answered["objects"][0]
    assert answered["objects"][0]["extra"] == {"origin": "accepted"}
    assert KIND.from_record(record(seen, state="untouched"), NAMING, None)["objects"][0]["score"] == 0.75
    guess = {"size": [4, 4], "objects": [{"class": "cat", "box": [0, 0, 1, 1], "score": 0.5}]}
    assert KIND.to_record("a", guess, NAMES).state == "untouched"


# ---- sizes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(30, 40), (80, 60), (40, 31)])
def test_labels_of_another_size_are_refused_with_both_sizes(size):
    with pytest.raises(FormatError) as caught:
        KIND.from_record(record(Seen("cat", Box(0, 0, 1, 1))), NAMING, size)
    message = str(caught.value)
    assert "'a.json', image 3: 'a.png' was labelled at 40 x 30 pixels" in message
    assert f"{size[0]} x {size[1]}" in message
    assert ("swapped" in message) == (size == (30, 40))
    assert "\n" not in message
    assert len(message) < 300
    raw = {"size": [40, 30], "objects": []}
    with pytest.raises(DataError, match="40 x 30"):
        KIND.check(raw, NAMES, size)


def test_a_picture_that_cannot_be_read_still_has_its_labels():
    assert KIND.from_record(record(Seen("cat", Box(0, 0, 1, 1))), NAMING, None)["size"] == [40, 30]
    assert KIND.from_record(record(Seen("cat", Box(0, 0, 1, 1)), size=None), NAMING, (9, 8))["size"] == [9, 8]
    with pytest.raises(FormatError, match=r"the size of 'a\.png' is not known"):
        KIND.from_record(record(Seen("cat", Box(0, 0, 1, 1)), size=None), NAMING, None)
    with pytest.raises(FormatError, match=r"the size of 'a\.png' is not known"):
        KIND.from_record(record(Seen("cat", Box(0, 0, 1, 1)), size=None, fractions=True), NAMING, None)


# ---- what it refuses and tells --------------------------------------------------------------------------------------


def raw_of(**thing):
    return {"size": [40, 30], "objects": [{"class": "cat", "box": [1, 2, 3, 4]} | thing]}


@pytest.mark.parametrize(
    ("raw", "match"),
    [
        ("cat", "no label of boxes"),
        ({"objects": []}, "size of the image is None"),
        ({"size": [0, 3], "objects": []}, r"size of the image is \[0, 3\]"),
        ({"size": [True, 3], "objects": []}, "size of the image"),
        ({"size": [1, 3], "objects": [3]}, "object 0 is 3"),
        ({"size": [1, 3], "objects": [{"class": "cat"}]}, "give its class and its box"),
        ({"size": [1, 3], "objects": [{"box": [1, 2, 3, 4]}]}, "give its class and its box"),
        (raw_of(**{"class": "cow"}), "unknown class 'cow'"),
        (raw_of(**{"class": ["cat"]}), "unknown class"),
        (raw_of(box=[1, 2, 3]), "four finite numbers"),
        (raw_of(box=[1, 2, 3, float("nan")]), "four finite numbers"),
        (raw_of(box=[1, 2, 3, 10**400]), "four finite numbers"),
        (raw_of(box=[1, 2, 3, True]), "four finite numbers"),
        (raw_of(box=[3, 2, 1, 4]), "swap its corners"),
        (raw_of(score=2), "score of object 0 is 2"),
        (raw_of(score=10**400), "score of object 0"),
        (raw_of(score="high"), "score of object 0"),
        (
            {"size": [9, 9], "objects": [*raw_of(score=0.5)["objects"], *raw_of()["objects"]]},
            "score of object 1 is None",
        ),
    ],
)
def test_what_is_no_label_is_refused_in_one_line(raw, match):
    with pytest.raises(DataError, match=match) as caught:
        KIND.check(raw, NAMES, None)
    assert len(str(caught.value)) < 300


def test_what_it_tells():
    raw = {
        "size": [40, 30],
        "objects": [raw_of()["objects"][0], {"class": "dog", "box": [30, 20, 50, 25], "crowd": True}],
    }
    none = {"size": [40, 30], "objects": []}
    KIND.check(raw, NAMES, (40, 30))
    assert KIND.objects(raw) == ["cat", "dog"]
    assert KIND.counts([raw, none, raw], NAMES) == {"cat": 2, "dog": 2}
    assert KIND.cost(raw) == {"images": 1.0, "boxes": 2.0}
    assert [KIND.short(found) for found in (raw, none, raw_of())] == ["2 boxes", "no box", "1 box"]
    assert KIND.empty(none)
    assert not KIND.empty(raw)
    flat = {"size": [40, 30], "objects": [{"class": "cat", "box": [7, 8, 7, 9], "difficult": True}]}
    assert sorted(KIND.tally([raw, none, flat])) == [
        "1 box(es) marked crowd: kept out of training and metrics",
        "1 box(es) marked difficult: kept out of training and metrics",
        "1 box(es) that leave the image: cut off at its border",
        "1 box(es) without area: kept in the labels, left out of training and metrics",
        "1 labelled image(s) without any object",
    ]


def test_the_same_boxes_in_another_order_say_the_same():
    one, two = raw_of()["objects"][0], {"class": "dog", "box": [0, 0, 1, 1]}
    first, second = (
        {"size": [40, 30], "objects": [one, two]},
        {"size": [40, 30], "objects": [{**two, "extra": {"id": 9}}, one]},
    )
    assert KIND.same(first, second)
    assert not KIND.same(first, {"size": [40, 30], "objects": [one, one]})
    assert not KIND.same(first, {**first, "size": [30, 40]})


def test_labels_of_parts_are_joined():
    both = KIND.merge([raw_of(), {"size": [40, 30], "objects": [{"class": "dog", "box": [0, 0, 1, 1]}]}])
    assert KIND.objects(both) == ["cat", "dog"]
    with pytest.raises(DataError, match="cannot be joined"):
        KIND.merge([raw_of(), {"size": [4, 3], "objects": []}])


def test_what_is_drawn_of_boxes():
    image = Image.new("RGB", (40, 30))
    assert KIND.draw(image, [], NAMES) is image
    assert KIND.draw(image, [Panel("predicted", raw_of()), Panel("labelled", raw_of())], NAMES).width == 2 * SIDE + 4
    assert KIND.draw(image, [Panel("", raw_of())], NAMES).width == SIDE
