"""PASCAL VOC as raw labels, as called before every file came in one way."""

from __future__ import annotations

import pytest

from labelwise.errors import FormatError
from labelwise.formats.boxes import BoxLabels
from labelwise.formats.coco import read_coco, write_coco
from labelwise.formats.voc import read_voc, write_voc
from labelwise.formats.xml_tree import read_xml
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


def _folder(tmp_path, **files):
    (tmp_path / "Annotations").mkdir(parents=True)
    for name, text in files.items():
        (tmp_path / "Annotations" / f"{name}.xml").write_text(text, encoding="utf-8")
    return tmp_path


def test_what_is_read(tmp_path):
    lists = _folder(tmp_path, a=GOOD, empty=EMPTY) / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("a\n\nempty\n")
    (lists / "cat_train.txt").write_text("a  1\nempty -1\n")
    found = read_voc(tmp_path)
    dog, cat, flat = found.labels["a"]["objects"]
    assert dog["class"] == "dog <small>"
    assert dog["box"] == [1, 2, 30.5, 40]
    assert dog["difficult"] is True
    assert [part["name"] for part in dog["extra"]["part"]] == ["head", "foot"]
    assert cat == {"class": "cat", "box": [-4, 0, 104, 50]}
    assert flat["box"] == [7, 8, 7, 9]
    assert found.labels["a"]["extra"]["source"] == {"database": "Unknown", "image": "flickr"}
    assert found.labels["a"]["extra"]["@verified"] == "yes"
    assert found.labels["empty"] == {"size": [5, 6], "objects": [], "extra": {"filename": "empty"}}
    assert found.classes == ("cat", "dog <small>")
    assert found.lists == {"train": ("a", "empty"), "cat_train": ("a  1", "empty -1")}
    assert len(found.notes) == 4


def test_round_trip_loses_nothing(tmp_path):
    lists = _folder(tmp_path / "one", a=GOOD, empty=EMPTY) / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "trainval.txt").write_text("a\nempty\n")
    first = read_voc(tmp_path / "one")
    write_voc(tmp_path / "two", first)
    assert read_voc(tmp_path / "two") == first


@pytest.mark.real
def test_blood_cells_come_back_as_they_were(tmp_path):
    first = read_voc(unpacked("BCCD"))
    assert {name: len(lines) for name, lines in first.lists.items()} == {
        "train": 205,
        "val": 87,
        "trainval": 292,
        "test": 72,
    }
    assert first.notes == ("2 box(es) without area: kept in the labels, left out of training and metrics",)
    write_voc(tmp_path / "two", first)
    assert read_voc(tmp_path / "two") == first
    # and by way of COCO: whole numbers, so nothing is rounded
    write_coco(tmp_path / "a.json", first)
    second = read_coco(tmp_path / "a.json")
    assert [[t["box"] for t in label["objects"]] for label in second.labels.values()] == [
        [t["box"] for t in label["objects"]] for label in first.labels.values()
    ]


def test_labels_from_coco_leave_behind_what_xml_has_no_place_for(tmp_path):
    thing = {
        "class": "a",
        "box": [0, 1, 2, 3.25],
        "crowd": True,
        "score": 0.5,
        "extra": {"segmentation": [[1, 2]], "id": 4},
    }
    write_voc(tmp_path, BoxLabels({"sub/x.y.jpg": {"size": [4, 4], "objects": [thing]}}, ("a",)))
    label = read_voc(tmp_path).labels["sub/x.y"]
    assert label["objects"] == [
        {"class": "a", "box": [0, 1, 2, 3.25], "crowd": True, "score": 0.5, "extra": {"id": "4"}}
    ]
    assert label["extra"] == {"filename": "x.y.jpg"}


def test_a_size_that_is_missing_is_asked_for(tmp_path):
    _folder(tmp_path, a=EMPTY.replace("5", "0"), b="<annotation/>")
    assert read_voc(tmp_path, size_of=lambda name: (3, 4)).labels["a"]["size"] == [3, 4]
    with pytest.raises(FormatError, match=r"a\.xml', line 1: width is 0"):
        read_voc(tmp_path)


BOMB = """<?xml version="1.0"?>
<!DOCTYPE a [<!ENTITY x "ha"><!ENTITY y "&x;&x;&x;&x;&x;&x;&x;&x;"><!ENTITY z "&y;&y;&y;&y;&y;&y;&y;&y;">]>
<annotation><filename>&z;</filename></annotation>"""
OUTSIDE = '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation><filename>&x;</filename></annotation>'


@pytest.mark.parametrize(
    ("text", "words"),
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
        (GOOD.replace("30.5", "wide"), "<xmax> is 'wide'"),
        (GOOD.replace("<xmax>104</xmax>", ""), r"line 12 \(object 2\): <bndbox> has 0 elements <xmax>"),
        (GOOD.replace("<name>cat</name>", "<name> </name>", 1), r"\(object 2\): its <name> is empty"),
        (GOOD.replace("<name>cat</name>", "", 1), r"<object> has 0 elements <name>"),
        (GOOD.replace("<difficult>1", "<difficult>perhaps"), "<difficult> is 'perhaps'"),
        (GOOD.replace("<width>100", "<width>1.5"), "width is '1.5'"),
    ],
)  # fmt: skip
def test_broken_and_harmful_files_are_refused(tmp_path, text, words):
    with pytest.raises(FormatError, match=words) as caught:
        read_voc(_folder(tmp_path, bad=text))
    assert "bad.xml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_encodings_are_read(tmp_path):
    path = tmp_path / "a.xml"
    path.write_bytes(
        '<?xml version="1.0" encoding="ISO-8859-1"?><annotation><folder>Größe</folder></annotation>'.encode("latin-1")
    )
    assert read_xml(path).plain() == {"folder": "Größe"}
    with pytest.raises(FormatError, match="does not exist"):
        read_xml(tmp_path / "b.xml")


def test_folders_without_annotations_and_names_without_characters(tmp_path):
    with pytest.raises(FormatError, match=r"holds no \.xml file"):
        read_voc(tmp_path)
    label = {"size": [1, 1], "objects": [{"class": "bell\x07", "box": [0, 0, 1, 1]}]}
    with pytest.raises(FormatError, match="XML cannot hold"):
        write_voc(tmp_path, BoxLabels({"a": label}, ("bell\x07",)))
