"""labelme and X-AnyLabeling: what they write is read, what is written comes back, broken files are refused."""

from __future__ import annotations

import base64
import io
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from labelwise.contracts.format import Hints, Writing
from labelwise.contracts.record import Box, Head, Mask, Points, Polygon, Record, Seen, Where
from labelwise.errors import FormatError
from labelwise.formats.labelme import Labelme

FORM = Labelme()
COVER = np.array([[0, 1, 1], [1, 0, 0]], bool)


def png(cover, mode="L"):
    out = io.BytesIO()
    Image.fromarray(cover.astype(np.uint8)).convert(mode).save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode()


def shape(label="car", points=((1, 2), (30, 40)), kind="rectangle", **more):
    """As labelme writes a shape."""
    told = {"label": label, "points": [list(point) for point in points], "group_id": None, "description": ""}
    return {**told, "shape_type": kind, "flags": {}, "mask": None, **more}


def content(*shapes, image="a.jpg", **more):
    """As labelme writes a file."""
    told = {"version": "5.5.0", "flags": {}, "shapes": list(shapes), "imagePath": image, "imageData": "aGVsbG8="}
    return {**told, "imageHeight": 48, "imageWidth": 64, **more}


def put(folder, *shapes, name="a.json", **more):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content(*shapes, **more)))
    return path


def samples(folder):
    """A folder of labelme's files, and one file of X-AnyLabeling."""
    put(
        folder / "labelme",
        shape(),
        shape("road", ((0, 10), (64, 10), (64, 48)), "polygon", group_id=3),
        shape("road", ((0, 0), (5, 0), (5, 5)), "polygon", group_id=3),
        shape("wheel", ((20, 20), (23, 24)), "circle"),
        shape("nose", ((3, 4),), "point"),
        shape("sky", ((5, 6), (7, 7)), "mask", mask=png(COVER)),
        shape("kerb", ((0, 0), (9, 9), (12, 9)), "linestrip"),
    )
    put(folder / "labelme", name="day/b.json", image="..\\images\\b.jpg", flags={"cat": True, "blurred": False})
    anylabeling = {"kie_linking": [], "attributes": {}, "difficult": False, "score": 0.5}
    path = put(
        folder,
        shape("person", ((1, 1), (9, 1), (9, 8), (1, 8)), group_id=1, **anylabeling),
        shape("nose", ((3, 4),), "point", group_id=1, **anylabeling),
        shape("tail", ((5, 6),), "point", group_id=1, **{**anylabeling, "difficult": True}),
        shape("ship", ((10, 0), (20, 10), (15, 15), (5, 5)), "rotation", direction=0.785, **anylabeling),
        name="x.json",
        image="x.jpg",
        version="2.4.0",
        imageData=None,
    )
    return [folder / "labelme", path]


def read(path, use="answers", **hints):
    head, records = FORM.read(Path(path), use, Hints(**hints))
    return head, list(records)


# ---- reading --------------------------------------------------------------------------------------------------------


def test_every_shape_of_labelme_is_read(tmp_path):
    head, [first, second] = read(samples(tmp_path)[0])
    car, road, wheel, nose, sky = first.objects
    assert (first.image, first.size, first.state) == ("a.jpg", (64, 48), "answered")
    assert car == Seen("car", Box(1, 2, 30, 40))
    assert road == Seen("road", outline=Polygon(((0, 10, 64, 10, 64, 48), (0, 0, 5, 0, 5, 5)))), "one group, one object"
    xs, ys = wheel.outline.parts[0][::2], wheel.outline.parts[0][1::2]
    assert (min(xs), max(xs), min(ys), max(ys)) == pytest.approx((15, 25, 15, 25))
    assert nose == Seen("nose", points=Points(((3, 4, 2),), ("nose",)))
    assert (sky.outline.at, sky.outline.size) == ((5, 6), (3, 2))
    np.testing.assert_array_equal(sky.outline.read(), COVER)
    assert (second.image, second.objects) == ("images/b.jpg", (Seen("cat"),))
    assert head.notes == ("1 circle(s) taken as outlines of 64 corners", "1 linestrip(s) left out")


def test_what_labelme_itself_wrote_is_read():
    """``a.json`` was saved by labelme 5.5.0."""
    _, [record] = read(Path(__file__).parent / "data" / "labelme" / "a.json")
    sky, car, cat = record.objects
    assert (record.image, car, cat) == ("images/a.jpg", Seen("car", Box(1.5, 2, 30, 40)), Seen("cat"))
    assert (sky.outline.at, record.extra) == ((5, 6), {"x": 1})
    np.testing.assert_array_equal(sky.outline.read(), COVER)


def test_what_users_wrote_into_names_is_no_template(tmp_path):
    head, _ = read(put(tmp_path, shape(kind="{n} {x}")))
    assert head.notes[0] == "1 {n} {x}(s) left out"


def test_x_anylabeling_adds_scores_points_of_subjects_and_turned_boxes(tmp_path):
    head, [record] = read(samples(tmp_path)[1])
    person, ship = record.objects
    assert (person.cls, person.box, person.score) == ("person", Box(1, 1, 9, 8), 0.5)
    points = Points(((3, 4, 2), (5, 6, 1)), ("nose", "tail"), (0.5, 0.5))
    assert person.points == points, "difficult points are hidden ones"
    assert ship.box.rotation == 45
    assert ((ship.box.x1 + ship.box.x2) / 2, (ship.box.y1 + ship.box.y2) / 2) == pytest.approx((12.5, 7.5))
    [oriented] = read(put(tmp_path, shape("ship", ((10, 0), (20, 10), (15, 15), (5, 5)), "oriented_rectangle")))[1]
    assert oriented.objects[0].box == ship.box, "as labelme calls it"
    assert (ship.box.x2 - ship.box.x1, ship.box.y2 - ship.box.y1) == pytest.approx(
        (10 * math.sqrt(2), 5 * math.sqrt(2))
    )
    assert head.notes == ("1 turned box(es): boxes are upright here, so the one around each is taken",)


@pytest.mark.parametrize(
    ("points", "place"),
    [
        (((30, 40), (1, 2)), Box(1, 2, 30, 40)),
        (((30, 2), (1, 40)), Box(1, 2, 30, 40)),
        (((1, 2), (30, 2), (30, 40), (1, 40)), Box(1, 2, 30, 40)),
        (((30, 40), (1, 40), (1, 2), (30, 2)), Box(1, 2, 30, 40)),
        (((0, 0), (10, 0), (12, 10), (0, 10)), Polygon(((0, 0, 10, 0, 12, 10, 0, 10),))),
        (((5, 5), (5, 5)), Box(5, 5, 5, 5)),
    ],
)
def test_rectangles_of_two_or_four_corners_in_any_order(tmp_path, points, place):
    _, [record] = read(put(tmp_path, shape(points=points)))
    assert (record.objects[0].box or record.objects[0].outline) == place


def test_a_file_without_shapes_is_an_empty_picture(tmp_path):
    head, [record] = read(put(tmp_path, flags={"cat": False}))
    assert (record.state, head.says_empty) == ("empty", True)


@pytest.mark.parametrize(
    ("classes", "found", "said"),
    [((), ["cat", "blurred"], ()), (("cat", "dog"), ["cat"], ("1 flag(s) that are no class of the project left out",))],
)
def test_flags_that_are_set_are_classes_of_the_picture(tmp_path, classes, found, said):
    path = put(tmp_path, flags={"cat": True, "dog": False, "blurred": True})
    head, [record] = read(path, kind="classes", classes=classes)
    assert [seen.cls for seen in record.objects] == found
    assert head.notes == said
    _, [record] = read(put(tmp_path, shape(), flags={"cat": True}), kind="boxes")
    assert [seen.cls for seen in record.objects] == ["car"]


def test_points_of_a_group_without_a_shape_are_one_object(tmp_path):
    points = [shape(name, ((n, n),), "point", group_id=7) for n, name in enumerate(("nose", "tail"))]
    _, [record] = read(put(tmp_path, *points))
    assert record.objects == (Seen(None, points=Points(((0, 0, 2), (1, 1, 2)), ("nose", "tail"))),)
    same = [shape("cell", ((n, n),), "point", group_id=7) for n in range(2)]
    _, [record] = read(put(tmp_path, *same))
    assert record.objects[0].cls == "cell"


def test_groups_that_are_no_single_object_are_taken_apart(tmp_path):
    path = put(tmp_path, shape(group_id=1), shape("bus", group_id=1), shape("nose", ((1, 1),), "point", group_id=1))
    head, [record] = read(path)
    assert [seen.cls for seen in record.objects] == ["car", "bus", "nose"]
    assert head.notes == ("1 group(s) of points and several shapes: taken apart",)


# ---- which picture --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "written", "found"),
    [
        ("a.json", "a.jpg", "a.jpg"),
        ("cam1/0001.json", "0001.jpg", "cam1/0001.jpg"),
        ("a.json", "..\\images\\a.jpg", "images/a.jpg"),
        ("json/day/a.json", "../../images/day/a.jpg", "images/day/a.jpg"),
        ("a.json", "/home/ann/set/a.jpg", "/home/ann/set/a.jpg"),
        ("a.json", "C:\\set\\cam1\\a.jpg", "C:/set/cam1/a.jpg"),
        ("a.json", "./x/../a.jpg", "a.jpg"),
        ("a.json", "../../../../etc/a.jpg", "etc/a.jpg"),
    ],
)
def test_names_are_relative_to_the_file_that_says_them(tmp_path, name, written, found):
    put(tmp_path, shape(), name=name, image=written)
    _, [record] = read(tmp_path)
    assert record.image == found


@pytest.mark.parametrize(
    ("labels", "pictures", "written"),
    [
        ("a.json", "a.jpg", "a.jpg"),
        ("day/a.json", "day/a.jpg", "a.jpg"),
        ("annotations/a.json", "images/a.jpg", "a.jpg"),
        ("annotations/day/a.json", "images/day/a.jpg", "a.jpg"),
        ("annotations/a.json", "images/a.jpg", "..\\images\\a.jpg"),
        ("images/a.json", "images/a.jpg", "a.jpg"),
        ("ann/a.json", "a.jpg", "a.jpg"),
    ],
)
def test_the_pictures_of_a_data_set_are_found(tmp_path, labels, pictures, written):
    put(tmp_path, shape(), name=labels, image=written)
    picture = tmp_path / pictures
    picture.parent.mkdir(parents=True, exist_ok=True)
    picture.write_bytes(b"")
    _, [record] = read(tmp_path, "data")
    assert FORM.root(tmp_path) / record.image == picture


def test_a_file_that_names_another_picture_is_said(tmp_path):
    head, [record] = read(put(tmp_path, shape(), name="b.json", image="a.jpg"))
    assert record.image == "a.jpg"
    assert head.notes == (
        "1 file(s) name another picture in imagePath than their own name says: taken as imagePath says",
    )


def test_a_file_without_a_name_speaks_of_the_picture_of_its_own_name(tmp_path):
    path = tmp_path / "day" / "a.json"
    put(tmp_path, name="day/a.json", image=None)
    _, [record] = read(path)
    assert (record.image, record.bare) == ("a", True)


def test_other_json_in_a_folder_is_left_out_and_named(tmp_path):
    put(tmp_path, shape())
    (tmp_path / "result.json").write_text('{"images": []}')
    (tmp_path / ".hidden.json").write_text("{")
    head, records = read(tmp_path)
    assert len(records) == 1
    assert head.notes == ("1 JSON file(s) that are none of labelme left out: result.json",)
    assert 0.5 < FORM.sniff(tmp_path, "data").sure < 0.9
    with pytest.raises(FormatError, match="holds no file of labelme"):
        read(tmp_path / "result.json")


# ---- broken files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (shape(""), "label is ''"),
        (shape(7), "label is 7"),
        (shape(points=((1, 2),)), "a rectangle has 1 points"),
        (shape(points=((1, float("nan")), (3, 4))), "y is nan"),
        (shape(points=((1, 10**400), (3, 4))), "y is 1000"),
        (shape(points=((1, "2"), (3, 4))), "y is '2'"),
        ({**shape(), "points": 5}, "points are 5"),
        ({**shape(), "points": [[1, 2, 3]]}, r"a point is \[1, 2, 3\]"),
        (shape(kind="circle", points=((1, 2),)), "a circle has 1 points; give 2"),
        (shape(kind="point"), "a point has 2 points; give 1"),
        (shape(kind="mask"), "mask is None; give the base64 text of a PNG"),
        (shape(kind="mask", mask="####"), "give the base64 text of a PNG"),
        (shape(kind="mask", mask=png(COVER)), "a mask has 3 x 2 pixels, and its points 30 x 39"),
        (shape(kind="mask", points=((0.5, 1), (3, 2)), mask=png(COVER)), "a mask lies at 0.5, 1; give whole pixels"),
        ("car", "is 'car'"),
        ({**shape(), "score": float("inf")}, "score is inf"),
    ],
)
def test_broken_shapes_are_refused_with_their_place(tmp_path, broken, message):
    with pytest.raises(FormatError, match=message) as caught:
        read(put(tmp_path, shape(), broken))
    assert "a.json', shape 2" in str(caught.value)
    assert len(str(caught.value).replace(str(tmp_path), "")) <= 300


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"imageWidth": 0}, "width is 0"),
        ({"imageHeight": "48"}, "height is '48'"),
        ({"imageHeight": None}, "height is None"),
        ({"imagePath": 5}, "imagePath is 5"),
        ({"flags": 5}, "flags are 5"),
        ({"shapes": {}}, "'shapes' is {}"),
    ],
)
def test_broken_files_are_refused(tmp_path, change, message):
    with pytest.raises(FormatError, match=message):
        read(put(tmp_path, shape(), **change))


def test_a_mask_larger_than_any_picture_is_never_unpacked(tmp_path):
    data = bytearray(base64.b64decode(png(COVER)))
    data[16:24] = (200_000).to_bytes(4, "big") * 2
    bomb = shape(kind="mask", points=((0, 0), (199_999, 199_999)), mask=base64.b64encode(data).decode())
    with pytest.raises(FormatError, match=r"200,000 x 200,000 pixels is too large"):
        read(put(tmp_path, bomb))


def test_a_damaged_mask_is_refused_when_it_is_painted(tmp_path):
    text = png(COVER)
    cut = text[: len(text) // 2 // 4 * 4]
    _, [record] = read(put(tmp_path, shape(kind="mask", points=((5, 6), (7, 7)), mask=cut)))
    with pytest.raises(FormatError, match="shape 1: the mask cannot be read as PNG"):
        record.objects[0].outline.read()


@pytest.mark.parametrize("mode", ["L", "1", "P"])
def test_masks_of_any_depth(tmp_path, mode):
    _, [record] = read(put(tmp_path, shape(kind="mask", points=((5, 6), (7, 7)), mask=png(COVER * 255, mode))))
    np.testing.assert_array_equal(record.objects[0].outline.read(), COVER)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "I;16"])
def test_masks_of_colours_are_refused_before_they_are_unpacked(tmp_path, mode):
    mask = png(COVER * 255, mode) if mode != "I;16" else png16()
    with pytest.raises(FormatError, match="shape 1: a mask is a PNG of colours or of"):
        read(put(tmp_path, shape(kind="mask", points=((5, 6), (7, 7)), mask=mask)))


def png16():
    out = io.BytesIO()
    Image.fromarray(COVER.astype(np.uint16)).save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode()


# ---- recognised -----------------------------------------------------------------------------------------------------


def test_its_own_files_are_recognised(tmp_path):
    folder, file = samples(tmp_path)
    assert FORM.sniff(folder, "data").sure > 0.9
    assert FORM.sniff(file, "answers").sure > 0.9
    assert "boxes" in FORM.sniff(file, "answers").kinds


@pytest.mark.parametrize(
    "text", ['{"images": [], "annotations": [], "categories": []}', '[{"data": {}, "annotations": []}]', "{}", "x"]
)
def test_files_of_others_are_not_taken(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    assert FORM.sniff(tmp_path / "a.json", "data").sure == 0
    assert FORM.sniff(tmp_path, "data").sure == 0


# ---- written --------------------------------------------------------------------------------------------------------


def everything():
    objects = (
        Seen("car", Box(1, 2, 30.25, 40), score=0.5, difficult=True, attributes={"colour": "red"}),
        Seen("bus", Box(10, 10, 30, 20, 30)),
        Seen("car", outline=Polygon(((1, 2, 3, 4.5, 5, 6), (7, 7, 8, 8, 7, 9)))),
        Seen("bus", Box(1, 1, 9, 9), points=Points(((3, 4, 2), (5, 6.5, 1)), ("nose", "tail"))),
        Seen("cat"),
        Seen("dog"),
    )
    return [
        Record(Where("x"), "day/a ü.png", size=(64, 48), objects=objects, split="train", group="g", extra={"site": 3}),
        Record(Where("x"), "b.jpg", size=(4, 4), state="empty"),
        Record(
            Where("x"), "c.jpg", size=(64, 48), objects=(Seen("car", outline=Mask((3, 2), lambda: COVER, (60, 46))),)
        ),
    ]


def test_labels_come_back_as_they_were_written(tmp_path):
    for record in everything():
        (tmp_path / "from" / record.image).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "from" / record.image).write_bytes(record.image.encode())
    how = Writing("labelled", "boxes", lambda image: str(tmp_path / "from" / image), "copy")
    assert FORM.write(tmp_path / "set", Head(classes=("car", "bus")), everything(), how) == [
        "1 turned box(es) written as oriented_rectangle, which older labelme and X-AnyLabeling do not open"
    ]
    found = {record.image: record for record in read(tmp_path / "set", "data")[1]}
    first, empty, masked = (found[record.image] for record in everything())
    before = everything()
    assert [replace(one, where=Where("x")) for one in (first, empty)] == before[:2]
    assert (masked.objects[0].outline.at, masked.objects[0].outline.size) == ((60, 46), (3, 2))
    np.testing.assert_array_equal(masked.objects[0].outline.read(), COVER)
    assert (tmp_path / "set" / "day" / "a ü.png").read_bytes() == "day/a ü.png".encode()


def test_pictures_that_stay_where_they_are_are_named_by_their_path(tmp_path):
    how = Writing("labelled", "boxes", lambda image: str(tmp_path / "from" / image))
    FORM.write(tmp_path / "set", Head(), everything()[1:2], how)
    assert json.loads((tmp_path / "set" / "b.json").read_text())["imagePath"] == str(tmp_path / "from" / "b.jpg")


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (Record(Where("x"), None, 7), "needs the name of its picture"),
        (Record(Where("x"), "a"), "has no ending of a picture"),
        (Record(Where("x"), "a.png", size=(4, 4), objects=(Seen(5),)), "the class 5, which has no name"),
        (Record(Where("x"), "a.png", objects=(Seen("car", Box(1, 2, 3, 4)),)), "the size of 'a.png' is not known"),
        (Record(Where("x"), "a.png", size=(4, 4), objects=(Seen("car", Box(1, 2, math.inf, 4)),)), "is not finite"),
    ],
)
def test_what_cannot_be_written_is_said(tmp_path, record, message):
    with pytest.raises(FormatError, match=message):
        FORM.write(tmp_path / "set", Head(classes=("car",)), [record], Writing("labelled", "boxes"))


def test_what_has_no_place_is_counted(tmp_path):
    records = [
        Record(Where("x"), "a.png", state="skipped"),
        Record(Where("x"), "b.png", size=(4, 4), annotator="7", objects=(Seen("car", Box(0, 0, 1, 1), crowd=True),)),
    ]
    how = Writing("labelled", "boxes", lambda image: str(tmp_path / image))
    assert FORM.write(tmp_path / "set", Head(classes=("car",)), records, how) == [
        "1 image(s) left out: skipped, which these files have no word for",
        "1 image(s) whose annotator or time is left out: these files have no place for them",
        "1 object(s) marked as crowd: the mark is left out",
    ]


# ---- a round to be labelled -----------------------------------------------------------------------------------------


def test_a_round_goes_out_with_its_pictures_and_nothing_is_an_answer_before_it_is_saved(tmp_path):
    """Whoever saves a file puts the version of the program into it, as labelme and X-AnyLabeling do."""
    pictures = tmp_path / "pictures"
    (pictures / "a").mkdir(parents=True)
    for name in ("a/one.png", "a/two.png", "three.png"):
        Image.new("RGB", (40, 30)).save(pictures / name)
    marks = {"rank": 0, "answered": False, "path": "x", "strategy_score": 0.5}
    guess = (Seen("car", Box(4, 6, 14, 15), score=0.75),)
    records = [
        Record(Where("x"), "a/one.png", size=(40, 30), state="untouched", objects=guess, extra=marks),
        Record(Where("x"), "a/two.png", size=(40, 30), state="untouched", objects=guess, extra=marks),
        Record(Where("x"), "three.png", size=(40, 30), state="untouched", extra=marks),
    ]
    out = tmp_path / "round"
    how = Writing("asked", "boxes", path_of=lambda image: str(pictures / image))
    notes = Labelme().write(out, Head(classes=("car",)), records, how)
    assert any("by name, not by rank" in note for note in notes)
    assert sorted(file.relative_to(out).as_posix() for file in out.rglob("*.*")) == [
        "a/one.json", "a/one.png", "a/two.json", "a/two.png", "labels.txt", "three.png",
    ]  # fmt: skip
    head, back = Labelme().read(out, "answers", Hints("boxes", ("car",)))
    assert [(record.image, record.state) for record in back] == [
        ("a/one.png", "untouched"),
        ("a/two.png", "untouched"),
    ]
    assert any("2 file(s) as they were written here" in note for note in head.notes)
    saved = json.loads((out / "a/one.json").read_text())
    assert not set(marks) & set(saved)
    (out / "a/one.json").write_text(json.dumps(saved | {"version": "5.5.0"}))
    (out / "three.json").write_text(json.dumps(saved | {"version": "2.4.0", "shapes": [], "imagePath": "three.png"}))
    _, back = Labelme().read(out, "answers", Hints("boxes", ("car",)))
    states = {record.image: record.state for record in back}
    assert states == {"a/one.png": "answered", "a/two.png": "untouched", "three.png": "empty"}
