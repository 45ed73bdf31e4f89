"""PASCAL VOC sets: every layout of its tools, lists with blanks in names, files that are out for harm, round trips."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import bounded
from labelwise.contracts.format import Hints, Writing
from labelwise.contracts.kind import Naming
from labelwise.contracts.record import Box, Head, Mask, Record, Where
from labelwise.errors import FormatError, StateError
from labelwise.exchange.classes import ClassMap
from labelwise.formats.coco import Coco
from labelwise.formats.voc import Voc
from labelwise.kinds import KINDS
from unpacked import unpacked

GOOD = """<?xml version="1.0"?>
<annotation verified="yes">
  <folder>JPEGImages</folder><filename>a &amp; b.jpg</filename><segmented>0</segmented>
  <source><database>Unknown</database><image>flickr</image></source>
  <size><width>100</width><height>50</height><depth>3</depth></size>
  <object>
    <name>dog &lt;small&gt;</name><pose>Left</pose><truncated>1</truncated><difficult>1</difficult>
    <bndbox><xmin>1</xmin><ymin>2</ymin><xmax>30.5</xmax><ymax>40</ymax></bndbox>
    <part><name>head</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></part>
    <part><name>foot</name><bndbox><xmin>5</xmin><ymin>5</ymin><xmax>6</xmax><ymax>6</ymax></bndbox></part>
  </object>
  <object><name>cat</name><bndbox><xmin>-4</xmin><ymin>0</ymin><xmax>104</xmax><ymax>50</ymax></bndbox></object>
  <object><name>cat</name><bndbox><xmin>7</xmin><ymin>8</ymin><xmax>7</xmax><ymax>9</ymax></bndbox></object>
</annotation>
"""
EMPTY = "<annotation><size><width>5</width><height>6</height></size></annotation>"


def annotation(name: str, cls: str = "cat", more: str = "") -> str:
    return (
        f"<annotation><filename>{name}</filename><size><width>8</width><height>6</height></size>{more}<object>"
        f"<name>{cls}</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>3</xmax><ymax>4</ymax></bndbox></object>"
        "</annotation>"
    )


def put(root: Path, files: Mapping[str, str | None]) -> Path:
    """Writes texts, and pictures (None)."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            Image.new("RGB", (8, 6)).save(path)
        else:
            path.write_text(content, encoding="utf-8")
    return root


def read(folder: Path, use="data", **hints):
    head, records = Voc().read(folder, use, Hints(**hints))
    return head, {record.image: record for record in records}


def words(records) -> dict[str, str | None]:
    return {name: record.split for name, record in records.items()}


def raw_of(record: Record, head: Head, size=None):
    kind = KINDS.create("boxes")
    return kind.from_record(record, Naming(ClassMap(head, shown="x"), head.classes, head), size)


def samples(tmp_path: Path) -> list[Path]:
    """Small sets as the tools write them."""
    challenge = put(
        tmp_path / "VOC2012",
        {
            **{f"JPEGImages/{name}.jpg": None for name in ("a", "photo 1", "photo 2")},
            "Annotations/a.xml": GOOD,
            "Annotations/photo 1.xml": annotation("photo 1.jpg"),
            "Annotations/photo 2.xml": EMPTY,
            "ImageSets/Main/train.txt": "a\nphoto 1\n",
            "ImageSets/Main/val.txt": "photo 2\n",
            "ImageSets/Main/trainval.txt": "a\nphoto 1\nphoto 2\n",
            "ImageSets/Main/cat_train.txt": "a  1\nphoto 1 -1\n",
        },
    )
    roboflow = put(
        tmp_path / "roboflow",
        {
            f"{split}/{split}{n}{ending}": None if ending == ".jpg" else annotation(f"{split}{n}.jpg")
            for split in ("train", "valid", "test")
            for n in range(2)
            for ending in (".jpg", ".xml")
        }
        | {"README.dataset.txt": "cats\n"},
    )
    labelimg = put(tmp_path / "labelimg", {"a.jpg": None, "a.xml": annotation("a.jpg"), "b.jpg": None})
    cvat = put(
        tmp_path / "cvat",
        {
            "labelmap.txt": "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncat:250,50,83::\ndog:1,2,3::\n",
            "JPEGImages/cam1/0.jpg": None,
            "JPEGImages/cam1/1.jpg": None,
            "Annotations/cam1/0.xml": annotation("cam1/0.jpg"),
            "Annotations/cam1/1.xml": "<annotation><folder>cam1</folder><filename>cam1/1.jpg</filename></annotation>",
            "ImageSets/Main/default.txt": "cam1/0\ncam1/1\n",
        },
    )
    return [challenge, roboflow, labelimg, cvat]


# ---- layouts --------------------------------------------------------------------------------------------------------


def test_what_is_read(tmp_path):
    head, records = read(put(tmp_path, {"Annotations/a.xml": GOOD, "Annotations/empty.xml": EMPTY}), "answers")
    assert head == Head(classes=(), root=None, says_empty=True)
    dog, cat, flat = records["a"].objects
    assert (dog.cls, dog.box, dog.difficult) == ("dog <small>", Box(1, 2, 30.5, 40), True)
    assert dog.attributes["pose"] == "Left"
    assert [part["name"] for part in dog.attributes["part"]] == ["head", "foot"]
    assert (cat.cls, cat.box, cat.attributes) == ("cat", Box(-4, 0, 104, 50), {})
    assert flat.box == Box(7, 8, 7, 9)
    assert records["a"].size == (100, 50)
    assert records["a"].extra == {
        "@verified": "yes",
        "folder": "JPEGImages",
        "filename": "a & b.jpg",
        "segmented": "0",
        "source": {"database": "Unknown", "image": "flickr"},
        "depth": "3",
    }
    assert (records["empty"].state, records["empty"].size, records["empty"].extra) == ("empty", (5, 6), {})
    assert all(record.bare for record in records.values())


def test_layouts_of_the_tools(tmp_path):
    challenge, roboflow, labelimg, cvat = samples(tmp_path)
    head, records = read(challenge)
    assert head.root == Voc().root(challenge) == challenge / "JPEGImages"
    assert {name: record.state for name, record in records.items()} == {
        "a.jpg": "answered", "photo 1.jpg": "answered", "photo 2.jpg": "empty"}  # fmt: skip
    # trainval says that all of it is for training
    assert set(words(records).values()) == {None}
    head, records = read(roboflow)
    assert head.root == roboflow
    assert words(records) == {
        f"{split}/{split}{n}.jpg": split for split in ("train", "valid", "test") for n in range(2)
    }
    head, records = read(labelimg)
    assert {name: record.objects[0].cls for name, record in records.items()} == {"a.jpg": "cat"}
    head, records = read(cvat)
    assert head.classes == ("cat", "dog")
    assert not head.says_empty  # all frames have an annotation there, looked at or not
    assert {name: (record.state, record.size) for name, record in records.items()} == {
        "cam1/0.jpg": ("answered", (8, 6)),
        "cam1/1.jpg": ("empty", None),
    }


@pytest.mark.parametrize(
    ("annotations", "pictures"),
    [("Annotations", "JPEGImages"), ("annotations", "images"), ("xmls", "images"), ("Annotations", "images"),
     ("Annotations", "."), (".", "JPEGImages"), (".", "images"), ("Annotation", "JPEGImages")],
)  # fmt: skip
def test_folders_of_any_name(tmp_path, annotations, pictures):
    files = {f"{annotations}/sub/{n}.xml": annotation(f"{n}.jpg", f"c{n}") for n in range(2)}
    root = put(tmp_path, files | {f"{pictures}/sub/{n}.jpg": None for n in range(2)})
    head, records = read(root)
    assert {name: record.objects[0].cls for name, record in records.items()} == {
        "sub/0.jpg": "c0",
        "sub/1.jpg": "c1",
    }
    assert head.root.resolve() == (root / pictures).resolve()
    assert set(read(root, "answers")[1]) == {"sub/0", "sub/1"}


def test_folders_within_the_splits(tmp_path):
    files = {f"{split}/Annotations/0.xml": annotation("0.jpg", split) for split in ("train", "val")}
    root = put(tmp_path, files | {f"{split}/JPEGImages/0.jpg": None for split in ("train", "val")})
    _, records = read(root)
    assert {name: (record.split, record.objects[0].cls) for name, record in records.items()} == {
        "train/JPEGImages/0.jpg": ("train", "train"),
        "val/JPEGImages/0.jpg": ("val", "val"),
    }
    assert set(read(root, "answers")[1]) == {"train/0", "val/0"}


def test_pictures_that_lie_elsewhere(tmp_path):
    root = put(tmp_path / "set", {"Annotations/a.xml": annotation("a.jpg"), "ImageSets/Main/train.txt": "b\n"})
    put(root, {"Annotations/b.xml": annotation("b.jpg"), "ImageSets/Main/test.txt": "a\n"})
    put(tmp_path / "pictures", {"a.jpg": None, "b.png": None})
    head, records = read(root, root=tmp_path / "pictures")
    assert head.root == tmp_path / "pictures"
    assert words(records) == {"a.jpg": "test", "b.png": "train"}
    put(root, {"pics/a.jpg": None, "pics/b.png": None})
    assert words(read(root, root=root / "pics")[1]) == {"a.jpg": "test", "b.png": "train"}
    # without any picture the names alone are known
    (tmp_path / "nothing").mkdir()
    assert {name: record.bare for name, record in read(root, root=tmp_path / "nothing")[1].items()} == {
        "a": True,
        "b": True,
    }


def test_twins_and_strays(tmp_path):
    root = put(tmp_path, {"JPEGImages/a.jpg": None, "Annotations/a.xml": annotation("a.jpg")})
    put(root, {"Annotations/gone.xml": annotation("gone.jpg")})
    records = read(root)[1]
    assert (records["gone"].bare, records["gone"].objects[0].cls) == (True, "cat")  # the door says that it is missing
    put(root, {"annotations.xml": "<annotations><version>1.1</version></annotations>"})
    assert read(root)[0].notes == ("1 XML file(s) are no <annotation> and were not read: 'annotations.xml'",)
    put(root, {"JPEGImages/a.png": None})
    with pytest.raises(FormatError, match=r"'JPEGImages/a\.jpg' and 'JPEGImages/a\.png' would both lie at"):
        read(root)
    (root / "JPEGImages/a.png").unlink()
    put(root, {"a.xml": annotation("a.jpg")})
    with pytest.raises(FormatError, match=r"'Annotations/a\.xml' and 'a\.xml' annotate the same image"):
        read(root)


def test_masks_of_the_challenge_are_no_pictures(tmp_path):
    root = put(tmp_path, {"a.jpg": None, "a.xml": annotation("a.jpg"), "SegmentationClass/a.png": None})
    head, records = read(root)
    assert head.strangers == {"SegmentationClass/a.png"}
    assert set(records) == {"a.jpg"}


# ---- lists ----------------------------------------------------------------------------------------------------------

NAMES = ("a", "photo 1", "photo 2", "photo -1", "photo", "sub/b", "c.d")


def _lists(root: Path, **lists: str) -> dict[str, str | None]:
    files: dict[str, str | None] = {f"JPEGImages/{name}.jpg": None for name in NAMES}
    files |= {f"Annotations/{name}.xml": annotation(f"{name}.jpg") for name in NAMES}
    put(root, files | {f"ImageSets/Main/{word}.txt": text for word, text in lists.items()})
    return words(read(root)[1])


@pytest.mark.parametrize(
    ("text", "members"),
    [
        ("photo 2\n", {"photo 2"}),
        ("a\nphoto 2\n", {"a", "photo 2"}),
        ("photo 1\nphoto -1\n", {"photo 1", "photo -1"}),  # whole names, though they end like the column of a class
        ("photo 1 -1\nphoto 2  1\n", {"photo 1", "photo 2"}),
        ("photo  1\na -1\n", {"photo", "a"}),
        ("a.jpg\nphoto 2.jpg\n", {"a", "photo 2"}),
        ("sub/b\n", {"sub/b"}),
        ("b\n", {"sub/b"}),
        ("sub\\b.JPG\n", {"sub/b"}),
        ("c.d\nc.d.jpg\n", {"c.d"}),
        ("\ufeffa\r\nphoto 2 \r\n", {"a", "photo 2"}),
    ],
)
def test_lines_of_lists(tmp_path, text, members):
    found = _lists(tmp_path, train="a\n" if "a" not in members else "c.d\n", test=text)
    if members & {"c.d"}:
        assert found["c.d.jpg"] in ("test", "train")
        return
    assert {name for name, word in found.items() if word == "test"} == {f"{name}.jpg" for name in members}


def test_what_lists_name_and_is_not_there(tmp_path):
    put(tmp_path, {"ImageSets/Main/val.txt": "zebra\nphoto 1\n9 -1\n"})
    _lists(tmp_path, train="a\nnothing\n")
    head, records = read(tmp_path)
    assert head.missing == (
        "nothing (ImageSets/Main/train.txt)",
        "zebra (ImageSets/Main/val.txt)",
        "9 -1 (ImageSets/Main/val.txt)",
    )
    assert words(records)["photo 1.jpg"] == "val"


@pytest.mark.parametrize(
    ("lists", "expected"),
    [
        ({"train": "a", "val": "photo 1", "test": "photo 2"}, {"photo 1.jpg": "val", "photo 2.jpg": "test"}),
        ({"train": "a", "val": "photo 1", "trainval": "a\nphoto 1", "test": "photo 2"}, {"photo 2.jpg": "test"}),
        ({"Train": "a", "Validation": "photo 1"}, {"photo 1.jpg": "Validation"}),
        ({"train2012": "a", "val2012": "photo 1"}, {"photo 1.jpg": "val2012"}),
        ({"train": "a\nphoto 1", "val": "photo 1"}, {}),
        ({"default": "a", "cat_train": "a 1\nphoto 1 -1"}, {}),
    ],
)
def test_lists_are_splits(tmp_path, lists, expected):
    found = _lists(tmp_path, **lists)
    held = {name: word for name, word in found.items() if word and word.lower()[:5] != "train"}
    assert held == expected


# ---- broken and harmful files ---------------------------------------------------------------------------------------

BOMB = """<?xml version="1.0"?>
<!DOCTYPE a [<!ENTITY x "ha"><!ENTITY y "&x;&x;&x;&x;&x;&x;&x;&x;"><!ENTITY z "&y;&y;&y;&y;&y;&y;&y;&y;">]>
<annotation><filename>&z;</filename></annotation>"""
OUTSIDE = '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation><filename>&x;</filename></annotation>'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOMB, "line 2: a document type or an entity"),
        (OUTSIDE, "line 1: a document type or an entity"),
        ('<!DOCTYPE a SYSTEM "http://x/a.dtd"><annotation/>', "a document type or an entity"),
        ("<annotation>&undeclared;</annotation>", "no valid XML"),
        ("<annotation><size>", "line 1: no valid XML"),
        ("", "no valid XML"),
        ("\x00\x01", "no valid XML"),
        ('<?xml version="1.0" encoding="klingon"?><annotation/>', "no valid XML"),
        ("<a>" * 200 + "</a>" * 200, "more than 32 elements"),
        ("<html/>", "its root is <html>"),
        (GOOD.replace("<xmin>1<", "<xmin>31<", 1), r"line 6 \(object 1\): x1 31 lies behind x2 30.5"),
        (GOOD.replace("30.5", "nan"), r"\(object 1\): x2 of the box is nan"),
        (GOOD.replace("30.5", "1e999"), r"\(object 1\): x2 of the box is inf"),
        (GOOD.replace("30.5", "1" + "0" * 400), r"\(object 1\): x2 of the box is inf"),
        (GOOD.replace("30.5", "wide"), "<xmax> is 'wide'"),
        (GOOD.replace("<xmax>104</xmax>", ""), r"line 12 \(object 2\): <bndbox> has 0 elements <xmax>"),
        (GOOD.replace("<name>cat</name>", "<name> </name>", 1), r"\(object 2\): its <name> is empty"),
        (GOOD.replace("<name>cat</name>", "", 1), r"<object> has 0 elements <name>"),
        (GOOD.replace("<difficult>1", "<difficult>perhaps"), "<difficult> is 'perhaps'"),
        (GOOD.replace("<width>100", "<width>1.5"), "width is '1.5'"),
        (GOOD.replace("<width>100", "<width>-5"), "width is '-5'"),
        (GOOD.replace("<width>100", "<width>1" + "0" * 400), "width is '1000"),
        (GOOD.replace("<size>", "<size><width>1</width></size><size>"), "<annotation> has 2 elements <size>"),
    ],
)  # fmt: skip
def test_broken_and_harmful_files_are_refused(tmp_path, text, said):
    root = put(tmp_path, {"Annotations/bad.xml": text, "JPEGImages/bad.jpg": None})
    for use in ("data", "answers"):
        with pytest.raises(FormatError, match=said) as caught:
            read(root, use)
        assert "bad.xml" in str(caught.value)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value).replace(str(tmp_path), "")) < 250


def test_a_size_that_is_missing_is_left_to_the_picture(tmp_path):
    zero = EMPTY.replace(">5<", ">0<")
    put(tmp_path, {"a.xml": zero, "b.xml": "<annotation/>", "c.xml": EMPTY.replace("<height>6</height>", "")})
    assert {record.size for record in read(tmp_path, "answers")[1].values()} == {None}


@pytest.mark.heavy
def test_harmful_files_cost_little(tmp_path):
    texts = {
        "elements": "<annotation>" + "<a/>" * 1_100_000 + "</annotation>",
        "objects": f"<annotation>{'<object/>' * 200_000}</annotation>",
        "text": f"<annotation><filename>{'x' * 10_000_000}</filename></annotation>",
        "attributes": "<annotation " + " ".join(f'a{n}="1"' for n in range(100_000)) + "/>",
        "large": "<annotation>" + " " * 70_000_000,
    }
    for name, text in texts.items():
        put(tmp_path / name, {"Annotations/a.xml": text})
    costs = bounded.readings("labelwise.formats.voc:Voc", "answers", [tmp_path / name for name in texts])
    assert [name for name, cost in zip(texts, costs, strict=True) if cost.error] == ["elements", "objects", "large"]
    names = {f"photo {n}": None for n in range(2000)}
    put(tmp_path / "lists", {f"Annotations/{name}.xml": EMPTY for name in names})
    put(tmp_path / "lists", {"ImageSets/Main/train.txt": "".join(f"photo {n} -1\n" for n in range(50_000))})
    bounded.readings("labelwise.formats.voc:Voc", "data", [tmp_path / "lists"], seconds=5)


# ---- recognising ----------------------------------------------------------------------------------------------------


def test_sets_are_recognised(tmp_path):
    for path in samples(tmp_path):
        for use in ("data", "answers"):
            assert Voc().sniff(path, use).sure >= 0.9, (path, use)
    for files in ({"a.jpg": None}, {"annotations.xml": "<annotations/>"}, {"a.xml": "<html/>"}, {"a.xml": ""}):
        root = put(tmp_path / "other", files)
        assert Voc().sniff(root, "data").sure <= 0.1
    assert Voc().sniff(tmp_path / "VOC2012/Annotations/a.xml", "data").sure == 0
    with pytest.raises(FormatError, match=r"holds no \.xml file"):
        read(put(tmp_path / "empty", {"a.jpg": None}), "answers")


# ---- writing --------------------------------------------------------------------------------------------------------


def how(root: Path | None = None, images="list", use="labelled") -> Writing:
    return Writing(use, "boxes", lambda name: "" if root is None else str(root / name), images)


def test_a_labelled_set_comes_back_as_it_was(tmp_path):
    challenge, roboflow, _, cvat = samples(tmp_path)
    for number, folder in enumerate((challenge, roboflow, cvat)):
        head, records = read(folder)
        if folder == cvat:
            records = {name: replace(record, size=(8, 6)) for name, record in records.items()}
        out = tmp_path / f"out{number}"
        writing = how(head.root, "link")
        assert Voc().write(out, Head(("cat", "dog <small>", "dog")), list(records.values()), writing) == []
        again, back = read(out)
        assert again.classes == ("cat", "dog <small>", "dog")
        for name, record in records.items():
            assert back[name].objects == record.objects
            assert (back[name].size, back[name].state, back[name].extra) == (record.size, record.state, record.extra)
            word = {"valid": "val"}.get(record.split or "", record.split)
            assert (back[name].split or "train") == (word or "train")
        assert (out / "JPEGImages" / next(iter(records))).is_symlink()
        Voc().write(out, Head(("cat", "dog <small>", "dog")), list(records.values()), writing)  # the same again
        with pytest.raises(StateError, match="do not belong to this set"):
            Voc().write(out, head, list(records.values())[1:], writing)


def test_whole_numbers_stay_whole(tmp_path):
    raw = {"size": [8, 6], "objects": [{"class": "cat", "box": [1.0, 2, 3.5, 4.0]}]}
    record = KINDS.create("boxes").to_record("sub/x.y.jpg", raw, ("cat",))
    Voc().write(tmp_path, Head(("cat",)), [record], how())
    text = (tmp_path / "Annotations/sub/x.y.xml").read_text()
    assert "<xmin>1</xmin>" in text
    assert "<xmax>3.5</xmax>" in text
    assert "<filename>x.y.jpg</filename>" in text
    head, back = read(tmp_path, "answers")
    assert raw_of(back["sub/x.y"], head) == raw
    assert (tmp_path / "ImageSets/Main/train.txt").read_text() == "sub/x.y\n"


_side = st.floats(-50, 150, allow_nan=False).map(lambda value: round(value, 6)) | st.integers(-50, 150)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(_side, _side, _side, _side), max_size=5))
def test_any_boxes_come_back(tmp_path_factory, rows):
    boxes = [[min(a, c), min(b, d), max(a, c), max(b, d)] for a, b, c, d in rows]
    raw = {"size": [100, 90], "objects": [{"class": "a", "box": box} for box in boxes]}
    root = tmp_path_factory.mktemp("any")
    Voc().write(root, Head(("a",)), [KINDS.create("boxes").to_record("x.jpg", raw, ("a",))], how())
    head, back = read(root, "answers")
    assert raw_of(back["x"], head) == raw


def test_what_has_no_place_is_left_out_and_said(tmp_path):
    thing = {
        "class": "a",
        "box": [0, 1, 2, 3.25],
        "crowd": True,
        "extra": {"segmentation": [[1, 2, 3, 4, 5, 6]], "id": 4, "keypoints": [1, 1, 2], "odd key": 1, "text": "t"},
    }
    raw = {
        "size": [4, 4],
        "objects": [thing, {"class": "a", "box": [0, 0, 1, 1], "extra": {"rotated": [0, 0, 1, 1, 90]}}],
    }
    record = KINDS.create("boxes").to_record("x.jpg", raw, ("a",))
    said = Voc().write(tmp_path, Head(("a",)), [record], how())
    assert set(said) == {
        "1 image(s) have no file of their own: their labels were written without them",
        "1 outline(s) left out: written as boxes",
        "1 object(s) written without their key points",
        "1 attribute(s) of objects left out that XML has no place for",
        "1 turned box(es) written as the upright box around them",
    }
    first, second = read(tmp_path, "answers")[1]["x"].objects
    assert (first.crowd, first.attributes) == (True, {"id": "4", "text": "t"})
    assert second.box == Box(0, 0, 1, 1)


def test_what_cannot_be_written_is_refused(tmp_path):
    raw = {"size": [1, 1], "objects": [{"class": "bell\x07", "box": [0, 0, 1, 1]}]}
    record = KINDS.create("boxes").to_record("a", raw, ("bell\x07",))
    with pytest.raises(FormatError, match="XML cannot hold"):
        Voc().write(tmp_path / "out", Head(("bell\x07",)), [record], how())
    pixels = Record(Where("a"), "a", pixels=Mask((1, 1), lambda: None))
    with pytest.raises(FormatError, match="these labels are pixels"):
        Voc().write(tmp_path / "out", Head(()), [pixels], how())
    for name, split, said in (
        ("../a", None, "outside the folder"),
        ("a", "cats", "no split"),
        (None, None, "no place"),
    ):
        with pytest.raises(FormatError, match=said):
            Voc().write(tmp_path / "out", Head(()), [Record(Where("a"), name, split=split)], how())
    with pytest.raises(FormatError, match=r"'a\.jpg' and 'a\.png' would both lie at 'Annotations/a\.xml'"):
        Voc().write(tmp_path / "out", Head(()), [Record(Where("a"), name) for name in ("a.jpg", "a.png")], how())
    assert not (tmp_path / "out").exists()


def test_asked_images_do_not_look_answered(tmp_path):
    raw = {"size": [8, 6], "objects": [{"class": "cat", "box": [1, 2, 3, 4], "score": 0.5}]}
    marks = {"answered": False, "path": "/p/a.jpg", "rank": 1, "strategy_score": 0.25, "strategy": "margin", "round": 2}
    record = replace(KINDS.create("boxes").to_record("s/a.jpg", raw, ("cat",)), state="untouched", extra=marks)
    skipped = Record(Where("b"), "b.jpg", size=(8, 6), state="skipped", reason="blurred")
    put(tmp_path / "pool", {"s/a.jpg": None, "b.jpg": None})
    assert Voc().write(tmp_path / "out", Head(("cat",)), [record, skipped], how(tmp_path / "pool", use="asked")) == []
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["Annotations"]
    back = read(tmp_path / "out", "answers")[1]
    assert (back["s/a"].state, back["s/a"].extra, back["s/a"].objects[0].score) == ("untouched", {}, 0.5)
    assert (back["b"].state, back["b"].reason) == ("skipped", "blurred")
    # saved by a tool, which drops what it does not know
    text = (tmp_path / "out/Annotations/s/a.xml").read_text().replace("<answered>False</answered>", "")
    (tmp_path / "out/Annotations/s/a.xml").write_text(text.replace("<rank>1</rank>", "<seconds>7.5</seconds>"))
    back = read(tmp_path / "out", "answers")[1]
    assert (back["s/a"].state, back["s/a"].seconds, back["s/a"].extra) == ("answered", 7.5, {})
    # a picture without size, and pictures beside
    unknown = replace(record, size=None, objects=())
    Voc().write(tmp_path / "two", Head(("cat",)), [unknown], how(tmp_path / "pool", "link", "asked"))
    assert (tmp_path / "two/JPEGImages/s/a.jpg").is_symlink()
    assert read(tmp_path / "two", "answers")[1]["s/a"].size is None


@pytest.mark.heavy
@pytest.mark.real
def test_blood_cells_come_back_as_they_were(tmp_path):
    folder = unpacked("BCCD")
    head, records = read(folder)
    assert len(records) == 364
    assert [word for word in words(records).values() if word].count("test") == 72
    boxes = [seen.cls for record in records.values() for seen in record.objects]
    assert {name: boxes.count(name) for name in set(boxes)} == {"RBC": 4155, "WBC": 372, "Platelets": 361}
    Voc().write(tmp_path / "two", Head(("RBC", "WBC", "Platelets")), list(records.values()), how(head.root, "link"))
    back = read(tmp_path / "two")[1]
    for name, record in records.items():
        assert (back[name].objects, back[name].size, back[name].extra) == (record.objects, record.size, record.extra)
        assert (back[name].split == "test") is (record.split == "test")
    # and by way of COCO: whole numbers, so nothing is rounded
    kind = KINDS.create("boxes")
    plain = [kind.to_record(name, raw_of(record, head), ()) for name, record in records.items()]
    Coco().write(tmp_path / "a.json", Head(("RBC", "WBC", "Platelets")), plain, how())
    _, others = Coco().read(tmp_path / "a.json", "answers", Hints())
    assert [[seen.box for seen in record.objects] for record in others] == [
        [seen.box for seen in record.objects] for record in plain
    ]
