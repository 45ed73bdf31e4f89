"""Tables with a column of yes and no for each class."""

from __future__ import annotations

import pytest

from labelwise.contracts.format import Hints
from labelwise.contracts.record import Record, Seen, Where
from labelwise.errors import FormatError
from labelwise.formats.csv_table import Csv
from labelwise.formats.one_hot_csv import OneHotCsv

FORM = OneHotCsv()
ROBOFLOW = "filename, cat, dog\na.jpg,1,0\nb.jpg,0,1\nc.jpg,1,1\nd.jpg,0,0\n"


def samples(folder):
    """Small tables as the tools write them."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "_classes.csv").write_text(ROBOFLOW)
    (folder / "isic.csv").write_text("image,MEL,NV,BCC\nISIC_1,0.0,1.0,0.0\nISIC_2,1.0,0.0,0.0\n")
    for split in ("train", "valid"):
        (folder / "set" / split).mkdir(parents=True, exist_ok=True)
        (folder / "set" / split / "_classes.csv").write_text(
            f"filename, cat, dog\n{split}_1.jpg,1,0\n{split}_2.jpg,0,1\n"
        )
    return [folder / "_classes.csv", folder / "isic.csv", folder / "set"]


def read(path, use="data", **hints):
    head, records = FORM.read(path, use, Hints(**hints))
    return head, list(records)


def put(tmp_path, text, name="t.csv"):
    path = tmp_path / name
    path.write_bytes(text.encode())
    return path


def test_roboflow_multi_class(tmp_path):
    path = put(tmp_path, ROBOFLOW)
    head, records = read(path)
    shown = str(path)
    assert records == [
        Record(Where(shown, "row", 2), "a.jpg", objects=(Seen("cat"),)),
        Record(Where(shown, "row", 3), "b.jpg", objects=(Seen("dog"),)),
        Record(Where(shown, "row", 4), "c.jpg", state="untouched"),
        Record(Where(shown, "row", 5), "d.jpg", state="untouched"),
    ]
    assert head.classes == ("cat", "dog")
    assert head.root == tmp_path
    assert head.notes == (
        f"'{path}': 1 row(s) have several classes, and are left unlabelled (row 4: cat and dog); --task multi_label "
        "takes them",
        f"'{path}': 1 row(s) have no class and are left unlabelled",
    )


@pytest.mark.parametrize(("yes", "no"), [("1", "0"), ("1.0", "0.0"), ("TRUE", "False"), ("yes", ""), (" x ", " ")])
def test_ways_to_say_yes(tmp_path, yes, no):
    _, records = read(put(tmp_path, f"image;cat;dog\na.jpg;{yes};{no}\nb.jpg;{no};{yes}\n"))
    assert [record.objects[0].cls for record in records] == ["cat", "dog"]


def test_splits_by_folder_and_by_column(tmp_path):
    _, _, folder = samples(tmp_path)
    head, records = read(folder)
    assert [(record.image, record.split, record.objects[0].cls) for record in records] == [
        ("train/train_1.jpg", "train", "cat"),
        ("train/train_2.jpg", "train", "dog"),
        ("valid/valid_1.jpg", "valid", "cat"),
        ("valid/valid_2.jpg", "valid", "dog"),
    ]
    assert head.root == folder
    head, records = read(put(tmp_path, "image,cat,dog,set,patient,lens\na.jpg,1,0,test,p,z\nb.jpg,0,1,train,,z\n"))
    assert [(record.split, record.group) for record in records] == [("test", "p"), ("train", None)]
    assert head.classes == ("cat", "dog")
    assert head.notes == (f"'{tmp_path}/t.csv': columns that are not read: 'lens'",)


def test_a_running_number_is_no_class(tmp_path):
    head, records = read(put(tmp_path, ",image,cat,dog\n0,a.jpg,1,0\n1,b.jpg,0,1\n"))
    assert head.classes == ("cat", "dog")
    assert [record.image for record in records] == ["a.jpg", "b.jpg"]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("image,cat,dog\na.jpg,1,0\nb.jpg,0,maybe\n", "no columns of 0 and 1"),
        ("image,cat,dog\n" + "a.jpg,1,0\n" * 300 + "b.jpg,0,maybe\n", "row 302: 'dog' is 'maybe'; give 1 or 0"),
        ("image,cat,dog\na.jpg,1,0,1\n", "row 2: 4 cells"),
        ("image,cat,dog\na.jpg,1,0\n,0,1\n", "row 3: no image is named"),
        ("image,label\na.jpg,cat\n", "it has a column of labels"),
        ("image,cat\na.jpg,1\n", "no columns of 0 and 1"),
        ("", "is empty"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path, text, match):
    with pytest.raises(FormatError, match=match) as error:
        read(put(tmp_path, text))
    assert "\n" not in str(error.value)


def test_sniff(tmp_path):
    for path in samples(tmp_path / "s"):
        assert FORM.sniff(path, "data").sure >= 0.9
        assert Csv().sniff(path, "data").sure < 0.6
    masks = put(tmp_path, "Pixel Value, Class\n0, background\n1, cat\n", "_classes.csv")
    for form in (FORM, Csv()):
        assert form.sniff(masks, "data").sure < 0.5
        assert form.sniff(put(tmp_path, "name,r,g,b\ncar,1,0,0\nroad,0,1,1\n"), "data").sure < 0.5 or form is FORM
    for text in ("image,label\na.jpg,cat\n", "id,a,b\nx.jpg,0.5,0.5\n", "", "\0"):
        assert FORM.sniff(put(tmp_path, text), "data").sure < 0.5
    assert FORM.sniff(tmp_path / "gone", "data").sure == 0
