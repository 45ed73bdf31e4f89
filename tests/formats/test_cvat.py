"""CVAT for images 1.1: what CVAT writes is read, what is written comes back, broken and dangerous files are refused."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import bounded
from labelwise.contracts.format import Hints, Writing
from labelwise.contracts.kind import Naming
from labelwise.contracts.record import Box, Head, Mask, Points, Polygon, Record, Seen, Where
from labelwise.errors import ConfigError, FormatError
from labelwise.exchange.classes import ClassMap
from labelwise.formats.cvat import Cvat
from labelwise.kinds import KINDS
from labelwise.registry import check_options

FORM = Cvat()
#: as CVAT 2 writes a task: labels, a skeleton, one frame with everything, one with tags, one that nobody opened
TASK = (Path(__file__).parent / "data" / "cvat" / "annotations.xml").read_text()
VIDEO = """<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta><task><labels><label><name>car</name></label></labels></task></meta>
  <track id="0" label="car" source="manual">
    <box frame="0" outside="0" occluded="0" keyframe="1" xtl="1.00" ytl="1.00" xbr="9.00" ybr="9.00" z_order="0"></box>
  </track>
</annotations>
"""


def samples(folder):
    """Files as CVAT writes them."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "annotations.xml").write_text(TASK)
    return [folder / "annotations.xml"]


def read(path, use="answers", form=FORM, **hints):
    head, records = form.read(Path(path), use, Hints(**hints))
    return head, list(records)


@pytest.fixture
def task(tmp_path):
    return samples(tmp_path / "task")[0]


def image(folder, inner, attributes='width="200" height="100"'):
    """A file of one frame."""
    path = folder / "a.xml"
    path.write_text(f'<annotations>\n<image id="0" name="a.jpg" {attributes}>\n{inner}\n</image></annotations>')
    return path


# ---- reading --------------------------------------------------------------------------------------------------------


def test_every_shape_is_read(task):
    head, [everything, *_] = read(task)
    turned, road, points, mask, person, night, parked = everything.objects
    assert (everything.image, everything.size, everything.split) == ("day/a b.jpg", (200, 100), "Train")
    assert turned == Seen("car", Box(100, 10, 140, 30, 30), origin="corrected", attributes={"group_id": "7"})
    assert road == Seen("road", outline=Polygon(((0, 50, 200, 50, 200, 100),)), origin="accepted")
    assert points == Seen("car", points=Points(((3, 4, 2), (5.5, 6, 2))), origin="drawn")
    assert person == Seen("person", points=Points(((11, 12, 2), (13, 14, 1)), ("head", "foot")), origin="drawn")
    assert night == Seen("night", origin="drawn")
    assert parked == Seen(
        "car",
        Box(10, 20.5, 60, 70),
        origin="drawn",
        attributes={"occluded": "1", "z_order": "2", "attributes": {"parked": "true"}},
    ), "what lies above comes last"
    assert (mask.outline.at, mask.outline.size) == ((7, 8), (3, 2))
    assert mask.outline.read().astype(int).tolist() == [[0, 1, 1], [1, 0, 0]]
    assert head.classes == ("car", "road", "night", "person")
    assert head.skeleton == (("head", "foot"), ((1, 0),))
    assert head.notes == (
        "1 <polyline> left out: there is no kind of label for it",
        "1 <ellipse> left out: there is no kind of label for it",
        "1 <cuboid> left out: there is no kind of label for it",
        "1 image(s) hold only what a model drew (source auto) and nobody changed: taken as not answered (--format "
        "cvat:auto=answered takes them as labels)",
        "1 turned box(es): boxes are upright here, so the one around each is taken",
    )


def test_frames_that_nobody_opened_are_listed_and_say_nothing(task):
    head, records = read(task)
    assert [(record.image, record.state) for record in records] == [
        ("day/a b.jpg", "answered"),
        ("day/b.jpg", "answered"),
        ("c.jpg", "empty"),
        ("d.jpg", "untouched"),
    ]
    assert not head.says_empty
    assert [record.split for record in records] == ["Train", "Validation", "Train", "Train"]


def test_what_a_model_drew_counts_in_a_data_set_or_where_somebody_says_so(task):
    for use, form in (("data", FORM), ("answers", Cvat(auto="answered"))):
        _, records = read(task, use, form)
        assert records[-1].state == "answered"
        assert records[-1].objects[0].score == 0.75
    with pytest.raises(ConfigError, match="answered"):
        check_options(Cvat, {"auto": "yes"}, "format 'cvat'")


@pytest.mark.parametrize(
    ("kind", "states", "classes"),
    [
        ("classes", ["answered", "answered", "empty", "untouched"], None),
        ("boxes", ["answered", "empty", "empty", "untouched"], ["car", "road", "road", "car"]),
        ("masks", ["answered", "empty", "empty", "untouched"], ["road", "road"]),
        ("points", ["answered", "empty", "empty", "untouched"], ["car", "person"]),
    ],
)
def test_only_what_says_something_of_the_wanted_kind_is_given(task, kind, states, classes):
    head, records = read(task, kind=kind)
    assert [record.state for record in records] == states
    if classes is not None:
        assert [seen.cls for seen in records[0].objects] == classes
        assert any(note.endswith(f"the labels wanted are {kind}") for note in head.notes)


def test_a_folder_and_a_file_are_the_same(task):
    assert [r.image for r in read(task.parent)[1]] == [r.image for r in read(task)[1]]
    assert FORM.root(task) == task.parent
    (task.parent / "images").mkdir()
    assert FORM.root(task.parent) == task.parent / "images"


def test_masks_become_the_pixels_of_their_window(task):
    head, records = read(task, kind="masks")
    classes = ("background", "road")
    raw = KINDS.create("masks").from_record(records[0], Naming(ClassMap(head, classes), classes, head), (200, 100))
    from labelwise.kinds.masks import whole

    assert whole(raw)[8:10, 7:10].tolist() == [[0, 1, 1], [1, 0, 0]]


def test_two_tags_are_refused_where_one_class_is_wanted(tmp_path):
    path = image(tmp_path, '<tag label="cat"></tag><tag label="dog"></tag>')
    head, [record] = read(path, kind="classes")
    naming = Naming(ClassMap(head, ("cat", "dog")), ("cat", "dog"), head)
    with pytest.raises(FormatError, match="image 1: the classes 'cat' and 'dog' for one image"):
        KINDS.create("classes").from_record(record, naming, None)


def test_video_is_refused_with_what_to_export(tmp_path):
    path = tmp_path / "a.xml"
    path.write_text(VIDEO)
    with pytest.raises(FormatError, match=r"line 5: this is 'CVAT for video 1.1'.* export 'CVAT for images 1.1'"):
        read(path)
    assert FORM.sniff(path, "answers").sure >= 0.5, "nobody else says what to do"


@pytest.mark.parametrize(
    ("inner", "message"),
    [
        ('<box label="" xtl="1" ytl="1" xbr="2" ybr="2"/>', "line 3: a <box> has no label"),
        ('<box label="a" xtl="x" ytl="1" xbr="2" ybr="2"/>', "line 3: xtl is 'x'; give a number"),
        ('<box label="a" xtl="nan" ytl="1" xbr="2" ybr="2"/>', "xtl is 'nan'"),
        (f'<box label="a" xtl="1{"0" * 400}" ytl="1" xbr="2" ybr="2"/>', "xtl is '1000"),
        ('<box label="a" ytl="1" xbr="2" ybr="2"/>', "xtl is None"),
        ('<box label="a" xtl="3" ytl="1" xbr="2" ybr="2"/>', "swap the corners"),
        ('<polygon label="a" points="1,2;3"/>', "points hold '3'; give x,y"),
        ('<polygon label="a" points="1,2;3,4;5,b"/>', "a coordinate of points is 'b'"),
        ('<mask label="a" rle="1" left="1" top="1" width="0" height="1"/>', "leaves its picture of 200 x 100 pixels"),
        ('<mask label="a" rle="1" left="-1" top="1" width="2" height="1"/>', "leaves its picture"),
        ('<mask label="a" rle="1" left="199" top="1" width="2" height="1"/>', "leaves its picture"),
        ('<mask label="a" rle="1" left="1.5" top="1" width="2" height="1"/>', "left is '1.5'; give whole pixels"),
        ('<mask label="a" rle="1" left="0" top="0" width="200000" height="200000"/>', "is too large"),
        ('<skeleton label="a"><points label="h" points="1,2;3,4"/></skeleton>', "point 'h': it has 4 numbers"),
    ],
)
def test_broken_shapes_are_refused_with_their_line(tmp_path, inner, message):
    with pytest.raises(FormatError, match=message) as caught:
        read(image(tmp_path, inner))
    assert "'a.jpg'" in str(caught.value)
    assert len(str(caught.value).replace(str(tmp_path), "")) <= 300


@pytest.mark.parametrize("rle", ["", "a", "1, 2", "-1, 7", "6, 1", "9" * 30, "1e3"])
def test_run_lengths_that_do_not_fit_are_refused_when_they_are_painted(tmp_path, rle):
    _, [record] = read(image(tmp_path, f'<mask label="a" rle="{rle}" left="0" top="0" width="3" height="2"/>'))
    with pytest.raises(FormatError, match=r"give run lengths of 3 x 2 pixels"):
        record.objects[0].outline.read()


def test_run_lengths_beyond_reason_are_refused_before_they_are_painted(tmp_path):
    rle = "0, " * 3_000_000 + "6"
    with pytest.raises(FormatError, match="characters of run lengths; at most"):
        read(image(tmp_path, f'<mask label="a" rle="{rle}" left="0" top="0" width="3" height="2"/>'))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<annotation/>", "<annotation> is nothing that CVAT writes"),
        ("<annotations><object/></annotations>", "<object> is nothing that CVAT writes"),
        ('<annotations><image id="0"/></annotations>', "it has no name"),
        ('<annotations><image name="a" width="9" height="0"/></annotations>', "height is 0"),
        ('<annotations><image name="a" width="x" height="9"/></annotations>', "width is 'x'"),
        ('<!DOCTYPE a [<!ENTITY x "y">]><annotations/>', "a document type or an entity"),
    ],
)
def test_other_files_are_refused(tmp_path, text, message):
    path = tmp_path / "a.xml"
    path.write_text(text)
    with pytest.raises(FormatError, match=message):
        read(path)


@pytest.mark.heavy
def test_a_large_file_is_read_in_bounded_time_and_memory(tmp_path):
    box = '<box label="car" source="manual" occluded="0" xtl="1.5" ytl="2.00" xbr="3.00" ybr="4.00" z_order="0"></box>'
    path = tmp_path / "a.xml"
    with path.open("w") as file:
        file.write("<annotations>")
        for n in range(20_000):
            file.write(f'<image id="{n}" name="{n}.jpg" width="9" height="9">{box * 5}</image>')
        file.write("</annotations>")
    cost = bounded.call("worst_cvat:read", str(path))
    assert (cost.error, cost.text) == ("", "(20000, 100000)")


@pytest.fixture(autouse=True)
def _path(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))


# ---- recognised -----------------------------------------------------------------------------------------------------


def test_its_own_files_are_recognised(task):
    for path in (task, task.parent):
        sniff = FORM.sniff(path, "data")
        assert sniff.sure > 0.9
        assert sniff.kinds == ("masks", "boxes", "points", "classes")


@pytest.mark.parametrize("text", ["<annotation><object/></annotation>", "<View><Image/></View>", "annotations", ""])
def test_files_of_others_are_not_taken(tmp_path, text):
    (tmp_path / "a.xml").write_text(text)
    assert FORM.sniff(tmp_path / "a.xml", "data").sure == 0
    assert FORM.sniff(tmp_path, "data").sure == 0


# ---- written --------------------------------------------------------------------------------------------------------


def everything():
    cover = np.zeros((2, 3), bool)
    cover[0, 1] = cover[1, 0] = True
    objects = (
        Seen("car", Box(1, 2, 30.25, 40), origin="drawn", difficult=True, attributes={"attributes": {"a<b": 'x "y"'}}),
        Seen("bus", Box(10, 10, 30, 20, 30), origin="corrected", crowd=True),
        Seen("car", outline=Polygon(((1, 2, 3, 4.5, 5, 6),)), origin="drawn", attributes={"occluded": "1"}),
        Seen("bus", points=Points(((3, 4, 2), (5, 6.5, 1), (0, 0, 0)), ("nose", "tail", "ear")), origin="drawn"),
        Seen("car", points=Points(((3, 4, 2),)), origin="drawn"),
        Seen("bus", origin="drawn"),
    )
    return [
        Record(Where("x"), 'day/a "b" & <ü>.png', size=(64, 48), objects=objects, split="train", extra={"id": "7"}),
        Record(Where("x"), "b.png", size=(4, 4), state="empty", extra={"id": "8"}),
        Record(
            Where("x"),
            "c.png",
            size=(64, 48),
            extra={"id": "9"},
            objects=(Seen("car", outline=Mask((3, 2), lambda: cover, (60, 46))),),
        ),
    ]


def test_labels_come_back_as_they_were_written(tmp_path):
    path = tmp_path / "a.xml"
    said = FORM.write(path, Head(classes=("car", "bus")), everything(), Writing("labelled", "boxes"))
    head, [first, empty, masked] = read(path)
    before = everything()
    assert said == []
    assert [replace(one, where=Where("x")) for one in (first, empty)] == before[:2]
    assert head.classes == ("car", "bus")
    assert head.says_empty, "a set of labels holds nothing that nobody has looked at"
    [cover] = masked.objects
    assert (cover.outline.at, cover.outline.read().astype(int).tolist()) == ((60, 46), [[0, 1], [1, 0]])


def test_another_program_reads_what_is_written_the_same_way(tmp_path):
    """``datumaro.xml``: these records, written here, read by Datumaro 1.x and written by it again."""
    cover = np.zeros((4, 5), bool)
    cover[1, 1:3] = cover[3, 4] = True
    objects = (
        Seen("car", Box(1, 2, 30.25, 40)),
        Seen("bus", Box(10, 10, 30, 20, 30)),
        Seen("car", outline=Polygon(((1, 2, 3, 4.5, 5, 6),))),
        Seen("bus"),
        Seen("car", outline=Mask((5, 4), lambda: cover, (7, 8))),
    )
    head, [first, second] = read(Path(__file__).parent / "data" / "cvat" / "datumaro.xml")
    assert (first.objects[:4], head.classes) == (objects[:4], ("car", "bus"))
    assert (second.image, second.size, second.objects) == ("b.png", (4, 4), ())
    whole = first.objects[4].outline.read()
    assert np.argwhere(whole).tolist() == [[9, 8], [9, 9], [11, 11]]
    record = Record(Where("x"), "a.png", size=(64, 48), objects=objects)
    FORM.write(tmp_path / "a.xml", head, [record], Writing("labelled", "boxes"))
    assert [replace(seen, origin=None) for seen in read(tmp_path / "a.xml")[1][0].objects[:4]] == list(objects[:4])


def test_what_is_asked_is_untouched_when_it_comes_back(tmp_path):
    path = tmp_path / "a.xml"
    guess = Record(
        Where("x"),
        "a.png",
        size=(64, 48),
        state="untouched",
        objects=(Seen("car", Box(1, 2, 3, 4), score=0.5),),
        extra={"rank": 0},
    )
    other = Record(Where("x"), "b.png", size=(64, 48), state="untouched")
    FORM.write(path, Head(classes=("car",)), [guess, other], Writing("asked", "boxes"))
    assert [record.state for record in read(path)[1]] == ["untouched", "untouched"]
    # CVAT knows nothing of our mark, and keeps the source of what nobody changed
    again = path.read_text().replace("<labelwise><use>asked</use></labelwise>", "")
    path.write_text(again)
    head, records = read(path)
    assert [record.state for record in records] == ["untouched", "empty"]
    assert not head.says_empty
    path.write_text(again.replace('source="auto"', 'source="semi-auto"'))
    assert [(record.state, record.objects[0].origin) for record in read(path)[1][:1]] == [("answered", "corrected")]


def test_what_has_no_place_is_counted(tmp_path):
    two = Seen("car", Box(0, 0, 9, 9), Polygon(((1, 1, 2, 2, 3, 1), (4, 4, 5, 5, 6, 4))))
    records = [
        Record(Where("x"), "a.png", size=(64, 48), objects=(two,), annotator="7"),
        Record(Where("x"), "b.png", state="skipped"),
    ]
    path = tmp_path / "a.xml"
    assert FORM.write(path, Head(classes=("car",)), records, Writing("labelled", "boxes")) == [
        "1 image(s) whose group, annotator or time is left out: CVAT has no place for them",
        "1 outline(s) left out beside their boxes",
        "1 image(s) left out: skipped, which this file has no word for",
    ]
    said = FORM.write(path, Head(classes=("car",)), records[:1], Writing("labelled", "masks", images="copy"))
    assert said[1:] == [
        "1 box(es) left out beside their outlines",
        "1 object(s) of several outlines written as one object for each",
        "pictures are not written: CVAT has them already, by the same names",
    ]


def test_a_mask_of_a_whole_picture_becomes_one_mask_for_each_class(tmp_path):
    indices = np.full((48, 64), 255, np.uint8)
    indices[:10], indices[20:30, 5:9] = 0, 1
    record = Record(Where("x"), "a.png", size=(64, 48), pixels=Mask((64, 48), lambda: indices))
    path = tmp_path / "a.xml"
    FORM.write(path, Head(classes=("sky", "sea")), [record], Writing("labelled", "masks"))
    _, [back] = read(path, kind="masks")
    assert [(seen.cls, seen.outline.at, seen.outline.size) for seen in back.objects] == [
        ("sky", (0, 0), (64, 10)),
        ("sea", (5, 20), (4, 10)),
    ]
    assert all(seen.outline.read().all() for seen in back.objects)


def test_fractions_become_pixels(tmp_path):
    record = Record(Where("x"), "a.png", size=(200, 100), fractions=True, objects=(Seen(0, Box(0.25, 0.5, 0.5, 1)),))
    path = tmp_path / "a.xml"
    FORM.write(path, Head(classes=("car",)), [record], Writing("labelled", "boxes"))
    assert read(path)[1][0].objects[0] == Seen("car", Box(50, 50, 100, 100), origin="drawn")


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (Record(Where("x"), None, 7), "needs the name of its picture"),
        (Record(Where("x"), "a.png", objects=(Seen(5),)), "the class 5, which has no name"),
        (Record(Where("x"), "a\0.png"), "which XML cannot hold"),
        (Record(Where("x"), "a.png", objects=(Seen("car", Box(1, 2, math.inf, 4)),)), "a number that is not finite"),
        (Record(Where("x"), "a.png", fractions=True, objects=(Seen("car", Box(0, 0, 1, 1)),)), "is not known"),
    ],
)
def test_what_cannot_be_written_is_said(tmp_path, record, message):
    with pytest.raises(FormatError, match=message):
        FORM.write(tmp_path / "a.xml", Head(classes=("car",)), [record], Writing("labelled", "boxes"))
