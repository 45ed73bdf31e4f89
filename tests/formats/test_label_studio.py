"""Label Studio: real exports are read exactly, tasks are written so that they come back, and broken files are refused.

The files in ``data/label_studio`` were written by Label Studio 1.23.2 itself: by two people through its programming
interface (``tests/external/label_studio_session.py``), and ``browser.json`` by a person in its page, with a mouse.
"""

from __future__ import annotations

import json
import math
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from labelwise.contracts.format import Hints, Writing
from labelwise.contracts.kind import Naming
from labelwise.contracts.record import Box, Head, Mask, Points, Polygon, Record, Seen, Where
from labelwise.errors import FormatError
from labelwise.exchange.classes import ClassMap
from labelwise.formats.label_studio import LabelStudio
from labelwise.kinds import KINDS

REAL = Path(__file__).parent / "data" / "label_studio"
FORM = LabelStudio()
HALF_TURN = math.sqrt(3) / 2


def samples(folder):
    """Exports as the server writes them."""
    folder.mkdir(parents=True, exist_ok=True)
    return [
        Path(shutil.copy(file, folder)) for file in sorted(REAL.iterdir()) if file.suffix in (".json", ".csv", ".tsv")
    ]


def read(path, use="answers", **hints):
    head, records = FORM.read(Path(path), use, Hints(**hints))
    return head, list(records)


def task(folder, *results, name="a.json", data=None, **more):
    """A file of one task with one annotation."""
    path = folder / name
    annotation = {"result": list(results), "was_cancelled": False, "completed_by": 1, **more}
    path.write_text(json.dumps([{"id": 1, "data": data or {"image": "a.png"}, "annotations": [annotation]}]))
    return path


def region(kind="rectanglelabels", label="car", **value):
    found = {"type": kind, "value": {**value, kind: [label]}, "from_name": "box", "to_name": "image"}
    return {**found, "original_width": 200, "original_height": 100}


def choice(*words, control="choice", **more):
    return {"type": "choices", "value": {"choices": list(words)}, "from_name": control, "to_name": "image", **more}


def strokes(width, height):
    """What the brush painted in the session."""
    cover = np.zeros((height, width), bool)
    cover[2:12, 3:20] = True
    cover[5:7, 8:10] = False
    cover[height - 1, width - 1] = True
    cover[20:23, 0:width:2] = True
    return cover


# ---- real exports ---------------------------------------------------------------------------------------------------


def test_every_shape_of_a_real_export_is_read_exactly():
    head, records = read(REAL / "shapes.json")
    [of_a] = [record for record in records if record.image == "pool/day/a.png"]
    car, bus, edge, road, wheel, nose, sky, park = of_a.objects
    assert (of_a.size, of_a.state, of_a.annotator, of_a.seconds, of_a.origin) == (
        (64, 48),
        "answered",
        "1",
        12.5,
        "drawn",
    )
    assert car == Seen("car", Box(5, 6, 25, 16), points=Points(((22, 9, 2),), ("tail",)), origin="drawn")
    assert edge.box == Box(54, 39, 64, 48), "99.9999998 percent is the border"
    assert road.outline == Polygon(((10, 10, 30.5, 10, 20, 25.25),))
    assert nose == Seen("nose", points=Points(((12, 8, 2),), ("nose",)), origin="drawn")
    assert (park.cls, park.box, park.outline) == ("park", None, None)
    assert isinstance(sky.outline, Mask)
    np.testing.assert_array_equal(sky.outline.read(), strokes(64, 48))
    # 30 degrees clockwise about the upper left corner, in pixels: the centre moves along both axes
    assert (bus.box.x2 - bus.box.x1, bus.box.y2 - bus.box.y1) == pytest.approx((12, 8))
    assert (bus.cls, bus.box.rotation) == ("bus", 30)
    assert (bus.box.x1 + bus.box.x2) / 2 == pytest.approx(30 + 6 * HALF_TURN - 4 * 0.5)
    assert (bus.box.y1 + bus.box.y2) / 2 == pytest.approx(10 + 6 * 0.5 + 4 * HALF_TURN)
    xs, ys = wheel.outline.parts[0][::2], wheel.outline.parts[0][1::2]
    assert (min(xs), max(xs), min(ys), max(ys)) == pytest.approx((14, 26, 16, 24))
    assert "2 ellipse(s) taken as outlines of 64 corners" in head.notes
    assert any(note.startswith("2 turned box(es)") for note in head.notes)


def test_states_people_and_where_objects_come_from():
    head, records = read(REAL / "shapes.json")
    told = [(record.image, record.state, record.origin, record.seconds) for record in records]
    assert told == [
        ("pool/day/a.png", "answered", "drawn", 12.5),
        ("pool/day/b ü.png", "answered", "accepted", 2.0),
        ("pool/day/b ü.png", "answered", "drawn", 20.0),
        ("pool/night/a.png", "answered", "corrected", 3.0),
        ("pool/night/skip.png", "skipped", None, 4.0),
        ("pool/night/empty.png", "empty", None, 5.0),
        ("pool/night/untouched.png", "untouched", None, None),
        ("pool/turned.jpg", "answered", "drawn", 8.0),
    ]
    first, second = records[1:3]
    assert first.annotator != second.annotator
    assert "1 task(s) with a draft that nobody submitted: taken as not answered" in head.notes
    assert head.says_empty


def test_a_picture_turned_by_its_exif_data_is_labelled_as_it_is_seen():
    _, records = read(REAL / "shapes.json")
    turned = records[-1]
    assert turned.size == (40, 90)
    assert turned.objects[0].box == Box(5, 6, 25, 16)
    np.testing.assert_array_equal(turned.objects[6].outline.read(), strokes(40, 90))


def test_what_a_person_drew_in_the_page_is_read():
    _, records = read(REAL / "browser.json")
    turned, accepted, untouched = records
    car, sky, nose, road, dog = turned.objects
    assert (turned.image, turned.size, dog.cls) == ("pool/turned.jpg", (40, 90), "dog")
    assert car.box.x1 == pytest.approx(0.4 * 20.022624434389144, abs=1e-8)
    assert nose.points.points[0][:2] == pytest.approx((0.4 * 80.42986425339367, 0.9 * 9.95475113122172), abs=1e-7)
    assert len(road.outline.parts[0]) == 6
    # unpacked by Label Studio's own library; the rim of a stroke is half transparent
    with Image.open(REAL / "browser_sky.png") as image:
        np.testing.assert_array_equal(sky.outline.read(), np.asarray(image) > 0)
    assert (accepted.origin, accepted.objects[0].origin, accepted.objects[0].box.y2) == ("accepted", "accepted", 28.8)
    assert untouched.state == "untouched"


@pytest.mark.parametrize("name", ["shapes.min.json", "shapes.csv"])
def test_the_short_exports_say_the_same_as_the_long_one(name):
    _, long = read(REAL / "shapes.json", kind="boxes")
    _, short = read(REAL / name, kind="boxes")
    kept = [record for record in long if record.state != "skipped"]  # the server leaves skips out of them
    assert [(r.image, r.state, r.annotator, r.seconds, r.size) for r in short] == [
        (r.image, r.state, r.annotator, r.seconds, r.size) for r in kept
    ]
    for one, other in zip(short, kept, strict=True):
        boxes = [[(seen.cls, seen.box) for seen in record.objects if seen.box] for record in (one, other)]
        assert boxes[0] == boxes[1]


@pytest.mark.parametrize("name", ["classes.json", "classes.min.json", "classes.csv", "classes.tsv"])
@pytest.mark.parametrize("classes", [(), ("cat", "dog, small")])
def test_classes_come_out_of_every_export(name, classes):
    _, records = read(REAL / name, kind="classes", classes=classes)
    told = [(r.image, r.state, [seen.cls for seen in r.objects]) for r in records if r.state != "skipped"]
    assert told == [
        ("set/day/a.png", "answered", ["cat"]),
        ("set/day/b ü.png", "answered", ["dog, small"]),
        ("set/night/a.png", "answered", ["cat"]),
        ("set/night/a.png", "answered", ["dog, small"]),  # the second person, later
        ("set/night/empty.png", "empty", []),
        ("set/night/untouched.png", "untouched", []),
        ("set/turned.jpg", "untouched", []),
    ]
    assert sum(record.state == "skipped" for record in records) == (name == "classes.json")


@pytest.mark.parametrize("name", ["apart.json", "apart.min.json", "apart.csv"])
def test_labels_and_places_of_two_controls_are_one_object(name):
    head, [labelled, empty] = read(REAL / name, kind="boxes")
    [bus] = labelled.objects
    assert (bus.cls, bus.box) == ("bus", Box(8, 12, 40, 24))
    assert empty.state == "empty"
    assert any("the labels wanted are boxes" in note for note in head.notes)
    if name == "apart.json":
        assert bus.attributes == {"state": ["old"]}, "a choice about a region is no class of the picture"
        assert labelled.extra["said"]["note"] == {"text": ["a\nb"]}


def test_predictions_of_an_export_are_numbers_only_and_that_is_said():
    with pytest.raises(FormatError, match="task 1: predictions are numbers only"):
        read(REAL / "shapes.json", "predictions")


# ---- answers --------------------------------------------------------------------------------------------------------


def test_annotations_are_given_in_the_order_in_which_they_were_changed(tmp_path):
    told = [
        {"result": [choice("new")], "updated_at": "2024-05-01T12:00:00.5Z"},
        {"result": [choice("old")], "updated_at": "2024-05-01T12:00:00Z"},
        {"result": [choice("oldest")], "created_at": "2024-05-01T12:59:00+02:00"},
    ]
    path = tmp_path / "a.json"
    path.write_text(json.dumps([{"data": {"image": "a.png"}, "annotations": told}]))
    _, records = read(path)
    assert [record.objects[0].cls for record in records] == ["oldest", "old", "new"]


def test_a_box_at_the_border_is_not_one_that_leaves_the_picture(tmp_path):
    _, [record] = read(task(tmp_path, region(x=50, y=0, width=49.9999998, height=99.9999999)))
    assert record.objects[0].box == Box(100, 0, 200, 100)
    assert all(isinstance(value, int) for value in (record.objects[0].box.x2, record.objects[0].box.y2))


@pytest.mark.parametrize("degrees", [45, 90, 180, 270, 359.5, -45, 720 + 30])
def test_turned_boxes_turn_about_their_upper_left_corner_in_pixels(tmp_path, degrees):
    _, [record] = read(task(tmp_path, region(x=40, y=30, width=10, height=30, rotation=degrees)))
    box, angle = record.objects[0].box, math.radians(degrees)
    centre = ((box.x1 + box.x2) / 2, (box.y1 + box.y2) / 2)
    half = (10, 15)  # 20 x 30 pixels of 200 x 100
    assert centre[0] == pytest.approx(80 + half[0] * math.cos(angle) - half[1] * math.sin(angle), abs=1e-6)
    assert centre[1] == pytest.approx(30 + half[0] * math.sin(angle) + half[1] * math.cos(angle), abs=1e-6)
    assert (box.x2 - box.x1, box.y2 - box.y1) == pytest.approx((20, 30), abs=1e-6)
    assert box.rotation == pytest.approx(degrees % 360)


def test_a_box_drawn_from_right_to_left_has_its_corners_in_order(tmp_path):
    _, [record] = read(task(tmp_path, region(x=50, y=50, width=-10, height=-20, rotation=0)))
    assert record.objects[0].box == Box(80, 30, 100, 50)


def test_without_the_size_of_the_picture_places_are_fractions(tmp_path):
    bare = {key: value for key, value in region(x=10, y=20, width=30, height=40).items() if "original" not in key}
    _, [record] = read(task(tmp_path, bare))
    assert (record.fractions, record.size) == (True, None)
    assert record.objects[0].box == Box(0.1, 0.2, 0.4, 0.6)
    bare["value"]["rotation"] = 10
    with pytest.raises(FormatError, match="task 1, result 1: a turned box needs original_width"):
        read(task(tmp_path, bare))


def test_an_outline_of_two_corners_is_left_out_and_counted(tmp_path):
    two = region("polygonlabels", points=[[1, 1], [2, 2]])
    head, [record] = read(task(tmp_path, two, region(x=1, y=1, width=1, height=1)))
    assert len(record.objects) == 1
    assert "1 outline(s) of fewer than three corners left out" in head.notes


def test_relations_texts_and_sounds_are_no_labels(tmp_path):
    results = [
        {"type": "relation", "from_id": "a", "to_id": "b", "direction": "right"},
        {"type": "labels", "from_name": "x", "value": {"start": 0, "end": 1, "labels": ["noise"]}},
        {"type": "rating", "from_name": "stars", "value": {"rating": 4}},
        choice("cat"),
    ]
    head, [record] = read(task(tmp_path, *results), kind="classes")
    assert [seen.cls for seen in record.objects] == ["cat"]
    assert record.extra["said"] == {"stars": {"rating": 4}}
    assert "1 relation(s) between regions left out" in head.notes
    assert any("type labels left out" in note for note in head.notes)


def test_a_model_s_guess_that_lost_an_object_was_corrected(tmp_path):
    guess = {"result": [region(x=1, y=1, width=1, height=1), region(x=5, y=5, width=1, height=1)]}
    left = {**region(x=1, y=1, width=1, height=1), "origin": "prediction"}
    _, [record] = read(task(tmp_path, left, prediction=guess))
    assert (record.origin, record.objects[0].origin) == ("corrected", "accepted")


def test_predictions_and_drafts_are_no_answers(tmp_path):
    path = tmp_path / "a.json"
    guess = {"result": [region(x=1, y=1, width=1, height=1)], "score": 0.5}
    path.write_text(json.dumps([{"data": {"image": "a.png"}, "predictions": [guess], "drafts": [guess]}]))
    _, [record] = read(path)
    assert (record.state, record.objects) == ("untouched", ())
    _, [record] = read(path, "predictions")
    assert (record.state, record.objects[0].box) == ("answered", Box(2, 1, 4, 2))


def test_the_newest_prediction_counts(tmp_path):
    path = tmp_path / "a.json"
    told = [
        {"result": [choice("new", score=0.75)], "created_at": "2024-02-01T00:00:00Z"},
        {"result": [choice("old")], "created_at": "2024-01-01T00:00:00Z"},
    ]
    path.write_text(json.dumps([{"data": {"image": "a.png"}, "predictions": told}, {"data": {"image": "b.png"}}]))
    head, [first, second] = read(path, "predictions")
    assert [(seen.cls, seen.score) for seen in first.objects] == [("new", 0.75)]
    assert second.state == "untouched"
    assert "1 task(s) with several predictions: the newest is taken" in head.notes


# ---- which class, which kind ----------------------------------------------------------------------------------------


def test_several_choices_are_refused_where_one_class_is_wanted(tmp_path):
    head, [record] = read(task(tmp_path, choice("cat", "dog")), kind="classes", classes=("cat", "dog"))
    naming = Naming(ClassMap(head, ("cat", "dog")), ("cat", "dog"), head)
    with pytest.raises(FormatError, match=r"task 1: the classes 'cat' and 'dog' for one image"):
        KINDS.create("classes").from_record(record, naming, None)


def test_of_several_controls_the_one_whose_choices_are_the_classes_counts(tmp_path):
    path = task(tmp_path, choice("sharp", control="quality"), choice("cat", control="what"))
    head, [record] = read(path, kind="classes", classes=("cat", "dog"))
    assert [seen.cls for seen in record.objects] == ["cat"]
    assert any("left out" in note for note in head.notes)
    with pytest.raises(FormatError, match=r"choices of several controls \(quality, what\)"):
        read(path, kind="classes")
    _, records = LabelStudio(control="quality").read(path, "answers", Hints(kind="classes"))
    assert [seen.cls for seen in next(records).objects] == ["sharp"]
    with pytest.raises(FormatError, match="has no control 'size': it has quality, what"):
        LabelStudio(control="size").read(path, "answers", Hints(kind="classes"))


def test_columns_of_the_short_export_that_may_be_the_class(tmp_path):
    path = tmp_path / "a.json"
    row = {"id": 1, "image": "/data/local-files/?d=a.png", "weather": "rain", "what": "cat", "annotator": 1}
    path.write_text(json.dumps([row]))
    _, [record] = read(path, kind="classes", classes=("cat", "dog"))
    assert [seen.cls for seen in record.objects] == ["cat"]
    with pytest.raises(FormatError, match=r"the class may stand in 'weather' \('rain', ...\), 'what'"):
        read(path, kind="classes")


def test_choices_alone_are_no_empty_pictures_for_boxes(tmp_path):
    head, [record] = read(task(tmp_path, choice("cat")), kind="boxes")
    assert record.state == "answered"
    naming = Naming(ClassMap(head, ("cat",)), ("cat",), head)
    assert KINDS.create("boxes").from_record(record, naming, (4, 4)) is None


def test_regions_that_are_no_masks_are_no_empty_masks(tmp_path):
    path = tmp_path / "a.json"
    brush = region("polygonlabels", points=[[0, 0], [50, 0], [50, 50]])
    box, point = region(x=1, y=1, width=1, height=1), region("keypointlabels", x=1, y=1, width=1)
    tasks = [
        {"data": {"image": f"{n}.png"}, "annotations": [{"result": r}]} for n, r in enumerate([[brush, point], [box]])
    ]
    path.write_text(json.dumps(tasks))
    head, [first, second] = read(path, kind="masks")
    assert [seen.outline is not None for seen in first.objects] == [True]
    assert (second.state, second.objects) == ("untouched", ())
    assert head.notes == (
        "2 object(s) left out: the labels wanted are masks",
        "1 image(s) hold other shapes and no masks: taken as not answered",
    )
    path.write_text(json.dumps(tasks[1:]))
    head, [alone] = read(path, kind="masks")
    naming = Naming(ClassMap(head, ("car", "bus")), ("car", "bus"), head)
    with pytest.raises(FormatError, match="it has a box and no mask"):
        KINDS.create("masks").from_record(alone, naming, (200, 100))


# ---- which picture --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ({"image": "/data/upload/3/ab12cd34-b%C3%BC.jpg"}, "ab12cd34-b%C3%BC.jpg"),
        ({"image": "/data/local-files/?d=photos%2Fa%20b%2B.jpg"}, "photos/a b+.jpg"),
        ({"image": "http://localhost:8080/data/upload/3/ab12cd34-a.jpg"}, "ab12cd34-a.jpg"),
        ({"image": "s3://bucket/day/a%20.jpg"}, "/day/a%20.jpg"),
        ({"image": "https://example.org/day/a%20b.jpg?X-Amz=1"}, "/day/a b.jpg"),
        ({"image": "/tasks/4/resolve/?fileuri=czM6Ly9idWNrZXQvZGF5L2EuanBn"}, "/day/a.jpg"),
        ({"img": "day/a.jpg", "text": "a caption", "n": 3}, "day/a.jpg"),
        ({"image": "x.jpg", "labelwise_id": "day/a.jpg"}, "day/a.jpg"),
        ({"labelwise_id": "day/a.jpg"}, "day/a.jpg"),
        ({"image": "a.jpg", "thumbnail": "b.jpg"}, "a.jpg"),
        ({"pages": ["a.jpg"]}, "a.jpg"),
    ],
)
def test_a_picture_is_called_by_its_path(tmp_path, data, name):
    _, [record] = read(task(tmp_path, choice("cat"), data=data))
    assert record.image == name


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"text": "a caption"}, r"none of its data \('text'\) is the address of a picture"),
        ({"left": "a.jpg", "right": "b.jpg"}, "pictures in 'left', 'right', and nothing says which was labelled"),
        ({"pages": ["a.jpg", "b.jpg"]}, "'pages' lists 2 pictures in one task"),
        ({"labelwise_id": 3, "image": "a.jpg"}, "labelwise_id is 3"),
    ],
)
def test_a_task_that_does_not_say_which_picture_is_refused(tmp_path, data, message):
    with pytest.raises(FormatError, match=rf"a.json', task 1: {message}"):
        read(task(tmp_path, choice("cat"), data=data))


# ---- broken files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (region(x="1", y=1, width=1, height=1), "x is '1'; give a finite number"),
        (region(x=float("nan"), y=1, width=1, height=1), "x is nan"),
        (region(x=10**400, y=1, width=1, height=1), "x is 1000"),
        (region(x=1, y=1, width=None, height=1), "width is None"),
        (region(x=1, y=1, width=1e12, height=1), "width is 1000000000000.0; give percent"),
        ({**region(x=1, y=1, width=1, height=1), "original_width": 0}, "original size: width is 0"),
        ({**region(x=1, y=1, width=1, height=1), "value": None}, "'value' is None"),
        (region("polygonlabels", points=[[1, 2, 3]]), r"a point is \[1, 2, 3\]"),
        (region("polygonlabels", points="1,2"), "'points' is '1,2'"),
        (region("brushlabels", format="rle", rle=[1, 2, 999]), "give run lengths, a list of bytes"),
        (region("brushlabels", format="rle", rle=[0, 0, 0, 4] + [57] * 9), "painted at another size"),
        ({**region(x=1, y=1, width=1, height=1), "score": float("inf")}, "score is inf"),
        ("cat", "result 1 is 'cat'"),
        ({"type": "choices", "value": {"choices": 7}}, "'choices' is 7; give a list of names"),
    ],
)
def test_a_broken_result_is_refused_with_its_place(tmp_path, result, message):
    with pytest.raises(FormatError, match=message) as caught:
        read(task(tmp_path, result))
    assert "task 1, result 1" in str(caught.value)
    assert len(str(caught.value)) <= 300


def test_two_labels_of_one_region_are_refused(tmp_path):
    twice = region(x=1, y=1, width=1, height=1)
    twice["value"]["rectanglelabels"] = ["car", "bus"]
    with pytest.raises(FormatError, match=r"one region has 2 labels \(car, bus\)"):
        read(task(tmp_path, twice))


@pytest.mark.parametrize("seconds", [-1, float("nan"), True, "5", 10**400])
def test_times_that_are_none_are_refused(tmp_path, seconds):
    with pytest.raises(FormatError, match="task 1: lead_time is"):
        read(task(tmp_path, choice("cat"), lead_time=seconds))


def test_sizes_that_differ_within_a_picture_are_refused(tmp_path):
    other = {**region(x=2, y=2, width=1, height=1), "original_width": 201}
    with pytest.raises(FormatError, match="201 x 100 pixels here and 200 x 100 in a result before"):
        read(task(tmp_path, region(x=1, y=1, width=1, height=1), other))


@pytest.mark.parametrize(
    "text", ["[1]", '{"a": 1}', '[{"data": 3, "annotations": []}]', '[{"data": {"image": "a.png"}, "annotations": 5}]']
)
def test_other_json_is_refused_in_one_line(tmp_path, text):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(FormatError) as caught:
        read(path)
    assert len(str(caught.value)) <= 300


def test_a_mask_larger_than_any_picture_is_never_painted(tmp_path):
    huge = region("brushlabels", format="rle", rle=[255] * 20)
    huge |= {"original_width": 200_000, "original_height": 200_000}
    with pytest.raises(FormatError, match=r"200,000 x 200,000 pixels is too large"):
        read(task(tmp_path, huge))


def test_run_lengths_that_break_off_are_refused_when_they_are_painted(tmp_path):
    tasks = json.loads((REAL / "shapes.json").read_text())
    runs = tasks[0]["annotations"][0]["result"][8]["value"]["rle"]
    del runs[40:]
    path = tmp_path / "a.json"
    path.write_text(json.dumps(tasks))
    _, [first, *_] = read(path)
    with pytest.raises(FormatError, match="task 1, result 9: the run lengths of a brush break off"):
        first.objects[6].outline.read()


def test_broken_cells_of_a_table_are_refused_with_their_row(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('annotation_id,annotator,box,image,lead_time\n1,1,"[{""x"": 1",a.png,2\n')
    with pytest.raises(FormatError, match="row 2: 'box' is no valid JSON"):
        read(path)
    path.write_text("annotation_id,annotator,choice,image,lead_time\n1,1,cat,a.png,soon\n")
    with pytest.raises(FormatError, match="row 2: lead_time is 'soon'"):
        read(path)


# ---- recognised -----------------------------------------------------------------------------------------------------


def test_its_own_files_are_recognised_with_the_kind_of_label(tmp_path):
    for path in samples(tmp_path):
        sniff = FORM.sniff(path, "answers")
        assert sniff.sure >= 0.9, path
        assert ("classes" if path.name.startswith("classes") else "boxes") in sniff.kinds, path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", '{"images": [], "annotations": [], "categories": []}'),
        ("a.json", '[{"id": "a.png", "label": "cat"}]'),
        ("a.json", '[{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}]'),
        ("a.json", '{"version": "5.0", "shapes": [], "imagePath": "a.png", "imageData": null}'),
        ("a.csv", "id,label\na.png,cat\n"),
        ("a.csv", "image,id,label\na.png,1,cat\n"),
        ("a.png", ""),
    ],
)
def test_files_of_others_are_not_taken(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert FORM.sniff(tmp_path / name, "answers").sure < 0.5
    assert FORM.sniff(tmp_path, "data").sure == 0
    assert FORM.sniff(tmp_path / "nowhere", "data").sure == 0


# ---- written --------------------------------------------------------------------------------------------------------


def everything():
    """Records of every shape and state."""
    cover = strokes(64, 48)
    objects = (
        Seen("car", Box(1, 2, 30.25, 40), origin="drawn", difficult=True, attributes={"colour": "red"}),
        Seen("bus", Box(10, 10, 30, 20, 30), origin="corrected"),
        Seen("car", outline=Polygon(((1, 2, 3, 4.5, 5, 6),)), origin="accepted"),
        Seen("bus", points=Points(((3, 4, 2),), ("bus",)), origin="drawn"),
        Seen("car", outline=Mask((64, 48), partial(np.copy, cover)), origin="drawn", crowd=True),
    )
    return [
        Record(
            Where("x"),
            "day/a ü+%.png",
            size=(64, 48),
            objects=objects,
            annotator="7",
            seconds=2.5,
            origin="corrected",
            split="train",
        ),
        Record(Where("x"), "b.png", state="empty", group="g1", split="test", extra={"site": 3}),
        Record(Where("x"), "c.png", state="skipped", reason="blurred"),
        Record(Where("x"), "d.png", state="untouched"),
        Record(Where("x"), "e.png", objects=(Seen("car", origin="drawn"),), origin="drawn"),
    ]


def test_labels_come_back_as_they_were_written(tmp_path):
    path = tmp_path / "labels.json"
    FORM.write(path, Head(classes=("car", "bus")), everything(), Writing("labelled", "boxes"))
    _, records = read(path)
    for before, after in zip(everything(), records, strict=True):
        masks = [
            [seen.outline.read() for seen in one.objects if isinstance(seen.outline, Mask)] for one in (before, after)
        ]
        for one, other in zip(*masks, strict=True):
            np.testing.assert_array_equal(one, other)
        assert plain(after) == plain(before)


def plain(record):
    """A record without what may differ: the place, and functions."""
    from dataclasses import replace

    objects = tuple(replace(one, outline=None) if isinstance(one.outline, Mask) else one for one in record.objects)
    return replace(record, where=Where(""), objects=objects)


def test_what_is_asked_comes_back_untouched_whatever_was_guessed(tmp_path):
    path = tmp_path / "asked.json"
    marks = {"answered": False, "rank": 0, "strategy_score": 1.5, "path": "/x/a.png", "round": 3}
    guess = Record(
        Where("x"),
        "a.png",
        size=(64, 48),
        state="untouched",
        extra=marks,
        objects=(Seen("car", Box(1, 2, 3, 4), score=0.5),),
    )
    said = FORM.write(
        path, Head(classes=("car",)), [guess, Record(Where("x"), "b.png", state="untouched")], Writing("asked", "boxes")
    )
    _, records = read(path, kind="boxes")
    assert [(record.image, record.state, record.objects) for record in records] == [
        ("a.png", "untouched", ()),
        ("b.png", "untouched", ()),
    ]
    _, [first, second] = read(path, "predictions", kind="boxes")
    assert first.objects == (Seen("car", Box(1, 2, 3, 4), score=0.5),)
    assert second.state == "empty"
    tasks = json.loads(path.read_text())
    assert [one["predictions"][0]["score"] for one in tasks] == [0.5, 1.0], "the first of the queue has the lowest"
    assert tasks[0]["predictions"][0]["model_version"] == "labelwise-round-3"
    assert tasks[0]["data"] == {
        **{"image": "/data/local-files/?d=a.png", "labelwise_id": "a.png", "labelwise_rank": 0},
        **{"labelwise_score": 1.5, "labelwise_path": "/x/a.png", "labelwise_round": 3},
    }
    assert said == ["'asked.interface.xml' is the labelling interface that the tasks fit"]
    assert (
        '<RectangleLabels name="box" toName="image" canRotate="true">\n    <Label value="car" background="#1f77b4"/>'
        in (tmp_path / "asked.interface.xml").read_text()
    )


def test_a_mask_of_a_whole_picture_becomes_a_brush_for_each_class(tmp_path):
    indices = np.full((48, 64), 255, np.uint8)
    indices[:10], indices[20:30, 5:9] = 0, 1
    path = tmp_path / "masks.json"
    record = Record(Where("x"), "a.png", size=(64, 48), pixels=Mask((64, 48), lambda: indices))
    FORM.write(path, Head(classes=("sky", "sea")), [record], Writing("labelled", "masks"))
    _, [back] = read(path, kind="masks")
    assert [seen.cls for seen in back.objects] == ["sky", "sea"]
    for n, seen in enumerate(back.objects):
        np.testing.assert_array_equal(seen.outline.read(), indices == n)


def test_addresses_are_written_as_the_server_wants_them(tmp_path):
    records = [Record(Where("x"), "day/a ü#1+100%.png", state="untouched")]
    for prefix, address in (
        (None, "/data/local-files/?d=day/a%20%C3%BC%231%2B100%25.png"),
        ("https://example.org/p/", "https://example.org/p/day/a%20%C3%BC%231%2B100%25.png"),
        ("s3://bucket/p/", "s3://bucket/p/day/a ü#1+100%.png"),
    ):
        how = Writing("asked", "classes", options={} if prefix is None else {"prefix": prefix})
        FORM.write(tmp_path / "a.json", Head(classes=("cat",)), records, how)
        assert json.loads((tmp_path / "a.json").read_text())[0]["data"]["image"] == address


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (Record(Where("x"), "a.png", objects=(Seen("car", Box(1, 2, 3, 4)),)), "the size of 'a.png' is not known"),
        (Record(Where("x"), None, 7), "needs the name of its picture"),
        (
            Record(Where("x"), "a.png", size=(4, 4), objects=(Seen("car", Box(1, 2, 3, 4), score=math.inf),)),
            "must be finite",
        ),
    ],
)
def test_what_cannot_be_written_is_said(tmp_path, record, message):
    with pytest.raises(FormatError, match=message):
        FORM.write(tmp_path / "a.json", Head(classes=("car",)), [record], Writing("labelled", "boxes"))
