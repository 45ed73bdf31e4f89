"""Key points through every format that can hold them: hidden, outside, many subjects, and nothing at all."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from labelwise.contracts.format import Hints, Writing
from labelwise.contracts.kind import Naming
from labelwise.contracts.record import Head
from labelwise.errors import FormatError
from labelwise.exchange.classes import ClassMap
from labelwise.formats import FORMATS
from labelwise.kinds.bodies import bodies
from labelwise.kinds.points import Points

KIND, CLASSES, SIZE = Points(), ("mouse",), (40, 30)
NAMES = ["nose", "left", "right"]


def subject(*points, **more):
    return {"class": "mouse", "points": [list(point) for point in points], "names": NAMES, **more}


def label(*subjects):
    return {"size": list(SIZE), "objects": list(subjects), "skeleton": [[0, 1], [0, 2]]}


#: of one picture each: a subject that is seen in part, two of them, one that nobody marked, nobody
SEEN = label(subject((1, 2, 2), (30, 20, 2), (4, 5.5, 2)))
HIDDEN = label(subject((1, 2, 2), (30, 20, 1), (4, 5.5, 1)))
OUTSIDE = label(subject((0, 0, 0), (30, 20, 2), (0, 0, 0)))
MANY = label(subject((1, 2, 2), (3, 4, 2), (5, 6, 2)), subject((11, 12, 2), (0, 0, 0), (15, 16, 2)))
EMPTY = label()
BOXED = label(
    subject((1, 2, 2), (30, 20, 1), (0, 0, 0), box=[1, 1, 31, 21]),
    subject((11, 12, 2), (3, 4, 2), (5, 6, 2), box=[3, 4, 11, 12]),
)
CASES = {"seen": SEEN, "hidden": HIDDEN, "outside": OUTSIDE, "many": MANY, "empty": EMPTY, "boxed": BOXED}
GUESS = label(subject((1, 2, 2), (30, 20, 2), (4, 5, 2), score=0.75, scores=[0.9, 0.5, 0.1]))


def raws_through(name, folder, raws, use="labelled", reads="answers", classes=CLASSES):
    """What a format gives back of raw labels, image -> raw label; and what it said."""
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    records = []
    for image, raw in raws.items():
        Image.fromarray(np.zeros((SIZE[1], SIZE[0]), np.uint8)).save(folder / "pictures" / image)
        record = KIND.to_record(image, raw, classes)
        records.append(record if use == "labelled" else replace(record, state="untouched"))
    form = FORMATS.create(name, **({"blank": "empty"} if name == "deeplabcut" else {}))
    where = folder / f"out{form.ending}"
    how = Writing(use, "points", lambda image: str(folder / "pictures" / image), "copy")
    said = form.write(where, Head(classes), records, how)
    head, found = form.read(where, reads, Hints("points", classes if reads != "data" else ()))
    naming = Naming(ClassMap(head, classes, shown="it"), classes, head)
    answers = {}
    for record in found:
        if record.state in ("answered", "empty"):
            answers[(record.image or "").rsplit("/", 1)[-1]] = KIND.from_record(record, naming, SIZE)
    return answers, said


def placed(raw):
    """Names with places, subject by subject, as far as formats can differ: a point that is not seen has no place."""
    return sorted(
        sorted(
            (name, *((round(x, 4), round(y, 4), seen) if seen else (0, 0, 0)))
            for name, (x, y, seen) in zip(thing.get("names", NAMES), thing["points"], strict=True)
        )
        for thing in raw["objects"]
    )


def case(name, *left_out):
    return [pytest.param(name, key, id=f"{name}-{key}") for key in CASES if key not in left_out]


@pytest.mark.parametrize(
    ("name", "key"),
    [
        *case("coco"),
        *case("yolo"),
        *case("cvat"),
        *case("labelme"),
        *case("label_studio"),
        *case("deeplabcut", "hidden", "boxed"),
        *case("sleap_csv", "hidden", "boxed"),
    ],
)
def test_key_points_come_back(tmp_path, name, key):
    found, _ = raws_through(name, tmp_path, {f"{key}.png": CASES[key], "other.png": SEEN})
    stems = {image.rsplit(".", 1)[0]: raw for image, raw in found.items()}
    assert placed(stems[key]) == placed(CASES[key])
    assert {thing["class"] for thing in stems[key]["objects"]} <= {"mouse"}
    body = bodies(stems.values())["mouse"]
    assert body.names == tuple(NAMES)


@pytest.mark.parametrize("name", ["coco", "cvat", "labelme", "label_studio"])
def test_limbs_come_back(tmp_path, name):
    odd = [{**thing, "names": ["no<se", "left", "ri&ght"]} for thing in MANY["objects"]]
    found, _ = raws_through(name, tmp_path, {"a.png": {**MANY, "objects": odd}})
    (raw,) = found.values()
    assert raw["skeleton"] == [[0, 1], [0, 2]]
    assert {tuple(thing["names"]) for thing in raw["objects"]} == {("no<se", "left", "ri&ght")}


@pytest.mark.parametrize("name", ["coco_results", "label_studio", "deeplabcut", "sleap_csv"])
def test_confidences_of_a_guess_come_back(tmp_path, name):
    found, _ = raws_through(name, tmp_path, {"a.png": GUESS}, "predictions", "predictions")
    (raw,) = found.values()
    (thing,) = raw["objects"]
    assert (thing["points"], thing["scores"]) == (GUESS["objects"][0]["points"], [0.9, 0.5, 0.1])


def test_boxes_around_subjects_come_back_where_there_is_place(tmp_path):
    for name in ("coco", "yolo", "labelme", "label_studio"):
        found, _ = raws_through(name, tmp_path / name, {"a.png": BOXED})
        (raw,) = found.values()
        assert [thing["box"] for thing in raw["objects"]] == [
            pytest.approx(thing["box"], abs=1e-6) for thing in BOXED["objects"]
        ]


@pytest.mark.parametrize("name", ["cvat", "deeplabcut", "sleap_csv"])
def test_boxes_without_place_are_said(tmp_path, name):
    _, said = raws_through(name, tmp_path, {"a.png": BOXED})
    assert any("2 box(es) left out" in line for line in said), said


# ---- the loop with people -------------------------------------------------------------------------------------------


def answered_in(folder, results, *, unplaced=()):
    """An export of Label Studio: image -> what somebody drew."""
    tasks = [{"data": {"labelwise_id": name}, "annotations": [{"result": found}]} for name, found in results.items()]
    tasks += [{"data": {"labelwise_id": name}} for name in unplaced]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "answers.json").write_text(json.dumps(tasks))
    return folder / "answers.json"


def point(name, x, y, **more):
    sides = {"original_width": 40, "original_height": 30, "from_name": "point", "to_name": "image"}
    value = {"x": 100 * x / 40, "y": 100 * y / 30, "width": 0.5, "keypointlabels": [name]}
    return {"id": f"{name}{x}", "type": "keypointlabels", **sides, "value": value, **more}


def told(path, classes=("mouse",), use="answers", name="label_studio"):
    head, records = FORMATS.create(name).read(path, use, Hints("points", classes))
    return head, list(records)


def test_points_that_people_drew_without_a_box_are_those_of_one_subject(tmp_path):
    drawn = {"a.png": [point("left", 1, 2), point("nose", 3, 4)], "b.png": [point("nose", 5, 6)], "c.png": []}
    head, [first, second, third, fourth] = told(answered_in(tmp_path, drawn, unplaced=["d.png"]))
    assert [thing.cls for thing in first.objects] == ["mouse"]
    assert first.objects[0].points.names == ("left", "nose")
    assert second.objects[0].points.points == ((0, 0, 0), (5, 6, 2))
    assert (third.state, fourth.state) == ("empty", "untouched")
    assert "2 image(s) whose points belong to no shape: taken as those of one subject each" in head.notes


def test_two_points_of_one_name_without_a_box_are_refused_with_the_task(tmp_path):
    drawn = {"a.png": [point("nose", 1, 2)], "b.png": [point("nose", 1, 2), point("nose", 3, 4)]}
    path = answered_in(tmp_path, drawn)
    with pytest.raises(FormatError, match=r"task 2: two points are called 'nose'.*draw a box around each") as caught:
        told(path)
    assert len(str(caught.value)) < 300
    _, records = told(path, classes=("nose",))
    assert [len(record.objects) for record in records] == [1, 2], "points of a class are things of their own"


def test_a_choice_says_that_a_point_is_hidden(tmp_path):
    hidden = point("nose", 1, 2)
    choice = {"id": hidden["id"], "from_name": "seen", "type": "choices", "value": {"choices": ["hidden"]}}
    _, [record] = told(answered_in(tmp_path, {"a.png": [hidden, choice]}))
    assert record.objects[0].points.points == ((1, 2, 1),)


@pytest.mark.parametrize("name", ["label_studio", "cvat", "coco"])
def test_what_was_asked_is_no_answer_before_somebody_worked_on_it(tmp_path, name):
    found, _ = raws_through(name, tmp_path, {"a.png": GUESS, "b.png": EMPTY}, "asked", "answers")
    assert found == {}


def test_guesses_of_a_folder_of_frames_are_no_answer(tmp_path):
    with pytest.raises(FormatError, match=r"holds no CollectedData_\*.csv to read"):
        raws_through("deeplabcut", tmp_path, {"a.png": GUESS, "b.png": EMPTY}, "asked", "answers")


def test_a_guess_that_somebody_corrected_in_part_comes_back_corrected(tmp_path):
    """Asked in Label Studio: one task taken as it was, one corrected, one left."""
    raws = {"a.png": GUESS, "b.png": GUESS, "c.png": GUESS}
    records = [replace(KIND.to_record(image, raw, CLASSES), state="untouched") for image, raw in raws.items()]
    FORMATS.create("label_studio").write(tmp_path / "t.json", Head(CLASSES), records, Writing("asked", "points"))
    tasks = json.loads((tmp_path / "t.json").read_text())
    for task in tasks[:2]:
        results = task.pop("predictions")[0]["result"]
        for result in results:
            result["origin"] = "prediction"
        task["annotations"] = [{"result": results}]
    moved = tasks[1]["annotations"][0]["result"]
    moved[1] |= {"origin": "prediction-changed", "value": {**moved[1]["value"], "x": 50.0}}
    del moved[-1]  # the last point is not in the picture
    (tmp_path / "answers.json").write_text(json.dumps(tasks))
    head, [taken, corrected, left] = told(tmp_path / "answers.json")
    assert [one.state for one in (taken, corrected, left)] == ["answered", "answered", "untouched"]
    assert [taken.origin, corrected.origin] == ["accepted", "corrected"]
    naming = Naming(ClassMap(head, CLASSES, shown="it"), CLASSES, head)
    one, other = (KIND.from_record(record, naming, SIZE)["objects"][0] for record in (taken, corrected))
    assert (one["points"], one["names"]) == ([[1, 2, 2], [30, 20, 2], [4, 5, 2]], NAMES)
    assert (other["points"], other["names"]) == ([[20, 2, 2], [30, 20, 2], [0, 0, 0]], NAMES)


def test_the_interface_offers_points_for_points_and_classes_for_boxes(tmp_path):
    records = [KIND.to_record("a.png", BOXED, CLASSES)]
    FORMATS.create("label_studio").write(tmp_path / "t.json", Head(CLASSES), records, Writing("labelled", "points"))
    text = (tmp_path / "t.interface.xml").read_text()
    boxes, points = text.split("<KeyPointLabels")
    assert 'value="mouse"' in boxes
    assert 'value="nose"' not in boxes
    assert [f'value="{name}"' in points for name in (*NAMES, "mouse")] == [True, True, True, False]


def test_before_there_is_a_project_points_of_different_names_are_a_subject_and_those_that_recur_are_things(tmp_path):
    body = answered_in(tmp_path / "one", {"a.png": [point("left", 1, 2), point("nose", 3, 4)]})
    _, [record] = told(body, classes=(), use="data")
    assert [(thing.cls, thing.points.names) for thing in record.objects] == [("subject", ("left", "nose"))]
    cells = answered_in(tmp_path / "two", {"a.png": [point("cell", 1, 2), point("cell", 3, 4), point("dust", 5, 6)]})
    _, [record] = told(cells, classes=(), use="data")
    assert [thing.cls for thing in record.objects] == ["cell", "cell", "dust"]
