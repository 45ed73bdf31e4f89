"""Answers of people on their way into a project: which count, whose they are, what is refused as a whole."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from boxes_on_disk import write, write_coco, write_voc
from labelwise.errors import DataError, FormatError, LabelwiseError
from labelwise.exchange.incoming import Incoming, Known, Wishes
from labelwise.exchange.sniffing import required
from labelwise.formats.delimited import write_rows
from labelwise.formats.nearest import nearest_ids
from labelwise.formats.yolo import Yolo
from labelwise.kinds import KINDS
from labelwise.project.setup import init

CLASSES = ("cat", "dog")


def put(tmp_path, content, name="labels.csv"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


# ---- tables of classes ----------------------------------------------------------------------------------------------

IDS = frozenset({"a.png", "b c.png", "=x.png", "d/e.png", "new\nline.png", "q'\".png", "\xe9.png"})


def door_of(path, classes=CLASSES, ids=IDS, root="/data/photos"):
    form = required(path, "answers", kind="classes").format
    return Incoming(path, form, "answers", Known(KINDS.create("classes"), ids, classes, Path(root)), Wishes())


def answers(tmp_path, content, name="labels.csv", **known):
    """Item -> class, None for a skip."""
    door = door_of(put(tmp_path, content, name), **known)
    rows = list(door.rows())
    door.refuse_unknown()
    return {row.item: row.raw for row in rows}


def test_partial_answers_and_skips(tmp_path):
    text = (
        "name,entropy_value,label,skipped,reason,seconds,clicks\r\n"
        "a.png,0.5,cat,,,3.5,2\r\n"
        "b c.png,0.4,,,,,\r\n"
        "'=x.png,0.3,,TRUE,too dark,,\r\n"
        "d/e.png,0.2,skip,,,,\r\n"
        '"new\nline.png",0.1,__skip__,,,,\r\n'
    )
    door = door_of(put(tmp_path, text))
    rows = list(door.rows())
    assert [row.record.where.row for row in rows] == [2, 4, 5, 6]
    assert dict(door.states) == {"answered": 1, "unanswered": 1, "skipped": 3}
    assert [(row.item, row.raw, row.cost, row.record.reason) for row in rows] == [
        ("a.png", "cat", {"seconds": 3.5, "clicks": 2.0}, ""),
        ("=x.png", None, {}, "too dark"),
        ("d/e.png", None, {}, ""),
        ("new\nline.png", None, {}, ""),
    ]


@pytest.mark.parametrize("header", ["id,label", "Name,CLASS", "file,Target", "path,label", "IMAGE,category"])
def test_names_of_columns(tmp_path, header):
    assert answers(tmp_path, f"{header}\na.png,cat\n") == {"a.png": "cat"}


@pytest.mark.parametrize(
    "data",
    [
        [{"id": "a.png", "label": "cat"}, {"id": "\xe9.png", "label": "dog"}],
        {"a.png": "cat", "\xe9.png": "dog", "b c.png": "", "d/e.png": None},
        {"a.png": {"label": "cat", "seconds": 4}, "\xe9.png": {"label": "dog"}},
        {"items": [{"ID": "a.png", "Label": " cat "}, {"path": "/data/photos/\xe9.png", "label": "dog"}]},
    ],
)
@pytest.mark.parametrize("name", ["labels.json", "labels"])
def test_json_layouts(tmp_path, data, name):
    assert answers(tmp_path, json.dumps(data), name) == {"a.png": "cat", "\xe9.png": "dog"}


def test_a_class_called_skip_and_numeric_classes(tmp_path):
    assert answers(tmp_path, "a.png,skip\n", classes=("skip", "cat")) == {"a.png": "skip"}
    assert answers(tmp_path, '{"a.png": 3}', "l.json", classes=("3", "4")) == {"a.png": "3"}
    with pytest.raises(FormatError, match="unknown class '1'"):
        answers(tmp_path, "a.png,1\n", classes=("3", "4"))
    with pytest.raises(FormatError, match="numbers such as 1, and no list says which is which"):
        answers(tmp_path, "a.png,1\n")


def test_without_classes_any_name_goes(tmp_path):
    assert answers(tmp_path, "a.png,anything\n", classes=()) == {"a.png": "anything"}


def test_decimal_commas_beside_semicolons(tmp_path):
    door = door_of(put(tmp_path, "id;label;seconds\na.png;cat;3,5\n"))
    assert [row.cost for row in door.rows()] == [{"seconds": 3.5}]


def test_csv_that_starts_like_json(tmp_path):
    assert answers(tmp_path, "[1].png,cat\n", ids={"[1].png"}) == {"[1].png": "cat"}


def test_rows_without_an_answer_have_to_name_images_of_the_project_too(tmp_path):
    with pytest.raises(FormatError, match=r"row 2: 'unknown\.png' is none of the 7 images"):
        answers(tmp_path, "id,label\nunknown.png,\na.png,cat\n")


NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/"), min_size=1, max_size=8)
ITEMS = NAMES.filter(str.strip).map("{}.png".format)


@pytest.mark.heavy
@given(st.dictionaries(ITEMS, st.sampled_from(CLASSES), min_size=1, max_size=6))
def test_round_trip_of_any_names(tmp_path_factory, labels):
    folder = tmp_path_factory.mktemp("round")
    table = write_rows([("id", "label"), *labels.items()])
    assert answers(folder, table, ids=set(labels)) == labels
    assert answers(folder, json.dumps(labels), "labels.json", ids=set(labels)) == labels


@pytest.mark.heavy
def test_large_projects_stay_fast(tmp_path):
    known = {f"class{n % 100:02d}/image_{n:06d}.jpg" for n in range(200_000)}
    start = time.perf_counter()
    assert nearest_ids("class05/image_00105.jpg", known)
    assert nearest_ids("other/image_000105.jpg", known) == ["class05/image_000105.jpg"]
    table = "id,label\n" + "".join(f"/r/{item},cat\n" for item in sorted(known)[:5000])
    assert len(answers(tmp_path, table, ids=known, root="/r")) == 5000
    assert time.perf_counter() - start < 10


# ---- tables and a project -------------------------------------------------------------------------------------------


def pictures(folder, names, size=(8, 6)):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size).save(folder / name, format="png")
    return folder


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    """A project that every refused file leaves as it was."""
    images = pictures(tmp_path_factory.mktemp("classes") / "photos", sorted(IDS - {"new\nline.png"}))
    return init(images, project=images.parent, classes=CLASSES, labels="none")


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("content", "name", "match"),
    [
        ("id,label\nd/e.jpg,cat\n", "l.csv", r"row 2: 'd/e\.jpg' is none of .* did you mean 'd/e\.png'\? Nothing"),
        ("id,label\nx/a.png,cat\n", "l.csv", r"row 2: 'x/a\.png' is none of .* 'a\.png' lies in another folder"),
        ("id,label\na.png,cta\n", "l.csv", r"row 2 \('a\.png'\): unknown class 'cta' .did you mean 'cat'.*cat, dog"),
        ("id,label\na.png,Cat\n", "l.csv", "did you mean 'cat'"),
        ("id,label\na.png,cat\n\na.png,dog\n", "l.csv", "row 4: two answers for 'a.png': 'dog' here, 'cat' in row 2"),
        ("id,label\na.png,cat\n./a.png,skip\n", "l.csv", "row 3: two answers .* skip here, 'cat' in row 2"),
        ('{"a.png": "cat", "a.png": "dog"}', "l.json", "'a.png' stands twice"),
        (
            "id,label\n../a.png,cat\nx,cat\nb c.png,cat\ny,dog\n",
            "l.csv",
            r"row 2: path '\.\./a\.png' leaves .*\(and 2 more\)",
        ),
        ("id,label\n/etc/passwd,cat\n", "l.csv", "path '/etc/passwd' leaves the data root"),
        ("id,label\n,cat\n", "l.csv", "row 2: no image is named"),
        ("id,label,skipped\na.png,cat,yes\n", "l.csv", "both skipped and labelled"),
        ("id,label,skipped\na.png,,perhaps\n", "l.csv", "skipped is 'perhaps'"),
        ("id,label,seconds\na.png,cat,-1\n", "l.csv", "row 2: seconds is '-1'"),
        ("id,label,seconds\na.png,cat,nan\n", "l.csv", "seconds is 'nan'"),
        ("id,label,clicks\na.png,cat,many\n", "l.csv", "clicks is 'many'"),
        ("id,entropy_value\na.png,0.5\n", "l.csv", "no column of labels|class"),
        ("[1]", "l.json", "1 is no object|no format"),
        ('[{"label": "cat"}]', "l.json", "json: its items have no id"),
        ('[{"id": "a.png"}]', "l.json", "json: its items have no label"),
        ('[{"id": "a.png", "label": ["cat"]}]', "l.json", r"item 1: \['cat'\] is no label"),
        ('[{"id": "a.png", "label": true}]', "l.json", "True is no label"),
        ('[{"id": "a.png", "id": "b c.png", "label": "cat"}]', "l.json", "stands twice in one object"),
        ("7", "l.json", "no format that is read here"),
        ("{", "l.json", "no format that is read here"),
        ('{"a.png": "cat", "b c', "l.json", "no valid JSON .*cut off"),
        ("[" * 100_000, "l.json", "no format that is read here"),
        ('id,label\n"odd\nname.png",cat\n', "l.csv", "is none of"),
    ],
)
def test_bad_files_are_refused_in_one_line(pool, tmp_path, content, name, match):
    with pytest.raises(LabelwiseError, match=match) as error:
        pool.import_labels(put(tmp_path, content, name))
    assert "\n" not in str(error.value)
    assert name in str(error.value)
    assert pool.labels() == {}


def test_identical_answers_count_once(tmp_path):
    images = pictures(tmp_path / "photos", ["a.png", "b.png"])
    project = init(images, project=tmp_path, classes=CLASSES, labels="none")
    file = put(tmp_path, f"id,label\na.png,cat\n{images}/a.png,cat\nb.png,skip\nb.png,skip\n")
    done = project.import_labels(file)
    assert (done.labelled, done.skipped) == (1, 1)
    assert project.labels() == {"a.png": "cat"}


# ---- boxes ----------------------------------------------------------------------------------------------------------

SIZES = {"s/a.jpg": (100, 50), "b.jpg": (10, 10), "c.jpg": (20, 20)}
BOX = {"class": "cat", "box": [1, 2, 3, 4]}
LABELS = {
    "s/a.jpg": {
        "size": [100, 50],
        "objects": [BOX | {"score": 0.5}],
        "extra": {"rank": 3, "answered": True, "seconds": 7},
    },
    "b.jpg": {"size": [10, 10], "objects": [], "extra": {"answered": True}},
    "c.jpg": {"size": [20, 20], "objects": [BOX], "extra": {"answered": False}},
}


def size_of(item):
    if item not in SIZES:
        raise DataError("gone")
    return SIZES[item]


def boxes(path, ids=SIZES):
    """Rows of a file, and the door."""
    known = Known(KINDS.create("boxes"), set(ids), CLASSES, size_of=size_of)
    door = Incoming(path, required(path, "answers", kind="boxes").format, "answers", known, Wishes())
    rows = list(door.rows())
    door.refuse_unknown()
    return rows, door


def drawn(rows):
    return {row.item: row.raw and [(t["class"], t["box"]) for t in row.raw["objects"]] for row in rows}


def test_coco_takes_what_was_answered(tmp_path):
    write_coco(tmp_path / "a.json", LABELS, CLASSES)
    rows, door = boxes(tmp_path / "a.json")
    assert drawn(rows) == {"s/a.jpg": [("cat", [1, 2, 3, 4])], "b.jpg": []}
    assert dict(door.states) == {"answered": 1, "empty": 1, "unanswered": 1}
    assert door.head.classes == CLASSES
    assert rows[0].cost == {"seconds": 7.0}
    # a score is what a model says; a label has none, and no marks of the export either
    assert "score" not in rows[0].raw["objects"][0]
    assert set(rows[0].raw["extra"]) == {"id"}


def test_coco_of_tools_that_flatten_paths_and_skips(tmp_path):
    labels = {"a.jpg": LABELS["s/a.jpg"], "c.jpg": LABELS["c.jpg"] | {"extra": {"skipped": True, "reason": "blurred"}}}
    write_coco(tmp_path / "a.json", labels, ["cat"])
    rows, _ = boxes(tmp_path / "a.json")
    assert drawn(rows) == {"s/a.jpg": [("cat", [1, 2, 3, 4])], "c.jpg": None}
    assert rows[1].record.reason == "blurred"


def test_voc_and_yolo_folders(tmp_path):
    write_voc(tmp_path / "voc", LABELS)
    rows, door = boxes(tmp_path / "voc")
    assert drawn(rows) == {"s/a.jpg": [("cat", [1, 2, 3, 4])], "b.jpg": []}
    assert door.states["unanswered"] == 1
    labels = {name: label for name, label in LABELS.items() if name != "b.jpg"}
    write(Yolo(), tmp_path / "yolo", labels, ("dog", "cat"))
    (tmp_path / "yolo" / "images" / "train").mkdir(parents=True)
    (tmp_path / "yolo" / "labels" / "train").rename(tmp_path / "labels")
    (tmp_path / "yolo" / "labels").rmdir()
    (tmp_path / "labels").rename(tmp_path / "yolo" / "labels")
    rows, _ = boxes(tmp_path / "yolo")
    assert drawn(rows) == {"s/a.jpg": [("cat", [1, 2, 3, 4])], "c.jpg": [("cat", [1, 2, 3, 4])]}


@pytest.mark.parametrize(
    ("labels", "match"),
    [
        (
            {"b.jpg": {"size": [20, 20], "objects": [BOX]}},
            "image 1: 'b.jpg' was labelled at 20 x 20 pixels and has 10 x 10",
        ),
        ({"z.jpg": {"size": [20, 20], "objects": []}}, "image 1: 'z.jpg' is none of the 3 images"),
        (
            {"b.jpg": {"size": [10, 10], "objects": [BOX | {"class": "cot"}]}},
            r"image 1 \('b\.jpg'\): unknown class 'cot' .did you mean 'cat'",
        ),
    ],
)
def test_boxes_that_do_not_fit_are_refused_with_the_image(tmp_path, labels, match):
    write_coco(tmp_path / "a.json", labels, ("cat", "cot"))
    with pytest.raises(FormatError, match=match):
        boxes(tmp_path / "a.json")


def test_what_holds_no_boxes_is_refused(tmp_path):
    with pytest.raises(LabelwiseError, match=r"boxes"):
        boxes(put(tmp_path, "id,label\nb.jpg,cat\n", "a.csv"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(FormatError, match=r"empty' is no format that is read here .coco: no JSON file in it"):
        boxes(tmp_path / "empty")
    with pytest.raises(FormatError, match=r"a\.json' is no format that is read here"):
        boxes(put(tmp_path, "[]", "a.json"))


def test_two_answers_for_the_boxes_of_one_image_are_refused(tmp_path):
    images = pictures(tmp_path / "photos", ["b.jpg"], (10, 10))
    project = init(
        images, project=tmp_path, task="detection", classes=CLASSES, labels="none", learner={"kind": "torch"}
    )
    twice = {
        "b.jpg": {"size": [10, 10], "objects": [], "extra": {"answered": True}},
        "./b.jpg": {"size": [10, 10], "objects": [BOX]},
    }
    write_coco(tmp_path / "a.json", twice, CLASSES)
    with pytest.raises(FormatError, match=r"image 2: two answers for 'b.jpg': 1 box here, no box in image 1"):
        project.import_labels(tmp_path / "a.json")
    assert project.labels() == {}


def test_an_image_that_is_gone_keeps_its_label(tmp_path):
    write_coco(tmp_path / "a.json", {"gone.jpg": {"size": [9, 9], "objects": [BOX]}}, ["cat"])
    rows, _ = boxes(tmp_path / "a.json", {*SIZES, "gone.jpg"})
    assert [row.raw["size"] for row in rows] == [[9, 9]]
