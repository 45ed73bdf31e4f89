"""Tables with a row for each box."""

from __future__ import annotations

import pytest

from labelwise.contracts.format import Hints
from labelwise.contracts.record import Box, Record, Seen, Where
from labelwise.errors import FormatError
from labelwise.formats.csv_table import Csv
from labelwise.formats.tensorflow_csv import TensorflowCsv

FORM = TensorflowCsv()
HEADER = "filename,width,height,class,xmin,ymin,xmax,ymax\n"
TEXT = HEADER + "a.jpg,40,30,cat,1,2,11,12\nb.jpg,40,30,dog,0.5,0,3,4\na.jpg,40,30,dog,5,5,9,9\n"


def samples(folder):
    """Small tables as the tools write them."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "boxes.csv").write_text(TEXT)
    (folder / "retina.csv").write_text("img/a.jpg,1,2,11,12,cat\nimg/b.jpg,,,,,\nimg/c.jpg,3,4,5,6,dog\n")
    (folder / "open.csv").write_text(
        "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded\n"
        "0001eeaf4aed83f9,xclick,/m/0cmf2,1,0.022,0.964,0.071,0.8,0\n"
    )
    for split in ("train", "valid"):
        (folder / "set" / split).mkdir(parents=True, exist_ok=True)
        (folder / "set" / split / "_annotations.csv").write_text(HEADER + f"{split}.jpg,40,30,cat,1,2,11,12\n")
    return [folder / "boxes.csv", folder / "retina.csv", folder / "open.csv", folder / "set"]


def put(tmp_path, text):
    path = tmp_path / "t.csv"
    path.write_bytes(text.encode())
    return path


def read(path, use="data", **hints):
    head, records = FORM.read(path, use, Hints(**hints))
    return head, list(records)


def test_rows_of_one_image_need_not_follow_each_other(tmp_path):
    path = put(tmp_path, TEXT)
    head, records = read(path)
    assert records == [
        Record(
            Where(str(path), "row", 2),
            "a.jpg",
            size=(40, 30),
            objects=(Seen("cat", box=Box(1, 2, 11, 12)), Seen("dog", box=Box(5, 5, 9, 9))),
        ),
        Record(Where(str(path), "row", 3), "b.jpg", size=(40, 30), objects=(Seen("dog", box=Box(0.5, 0, 3, 4)),)),
    ]
    assert isinstance(records[0].objects[0].box.x1, int)
    assert head.notes == ()
    assert head.root == tmp_path


def test_without_a_header_and_without_objects(tmp_path):
    _, path, _, _ = samples(tmp_path)
    _, records = read(path)
    assert [(r.image, r.state, len(r.objects)) for r in records] == [
        ("img/a.jpg", "answered", 1),
        ("img/b.jpg", "empty", 0),
        ("img/c.jpg", "answered", 1),
    ]


def test_fractions_are_told_by_their_numbers_and_said(tmp_path):
    _, _, path, _ = samples(tmp_path)
    head, (record,) = read(path)
    assert (record.image, record.bare, record.fractions) == ("0001eeaf4aed83f9", True, True)
    assert record.objects == (Seen("/m/0cmf2", box=Box(0.022, 0.071, 0.964, 0.8)),)
    assert head.notes == (
        f"'{path}': columns that are not read: 'Source', 'Confidence', 'IsOccluded'",
        f"'{path}': all corners lie within 0 and 1: taken as fractions of the sides",
    )
    # one pixel is no fraction
    assert not read(put(tmp_path, HEADER + "a.jpg,40,30,cat,0,0,1,1\n"))[1][0].fractions


def test_folders_of_splits_and_columns_of_splits(tmp_path):
    *_, folder = samples(tmp_path)
    head, records = read(folder)
    assert [(r.image, r.split) for r in records] == [("train/train.jpg", "train"), ("valid/valid.jpg", "valid")]
    assert head.root == folder
    _, records = read(put(tmp_path, "image,x1,y1,x2,y2,label,set\na.jpg,1,2,3,4,cat,test\nb.jpg,1,2,3,4,cat,train\n"))
    assert [r.split for r in records] == ["test", "train"]


def test_numbers_of_classes_and_scores(tmp_path):
    path = put(tmp_path, "image,left,top,right,bottom,class,score\na.jpg,1,2,3,4,7,0.5\n")
    _, (record,) = read(path, "predictions", names={7: "cat"})
    assert record.objects == (Seen(7, box=Box(1, 2, 3, 4), score=0.5),)
    assert read(path)[1][0].objects == (Seen("7", box=Box(1, 2, 3, 4)),)
    with pytest.raises(FormatError, match="no column of scores"):
        read(put(tmp_path, TEXT), "predictions")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("a.jpg,40,30,cat,1,2,x,12\n", "row 2: a corner is 'x'"),
        (f"a.jpg,40,30,cat,1,2,1{'0' * 400},12\n", "row 2: a corner is '1000"),
        ("a.jpg,40,30,cat,nan,2,3,12\n", "row 2: a corner is 'nan'"),
        ("a.jpg,40,30,cat,11,2,1,12\n", r"row 2: the box \(11, 2, 1, 12\) ends before it begins"),
        ("a.jpg,40,30,,1,2,3,4\n", "row 2: a box without a class"),
        ("a.jpg,40,30,cat,,2,3,4\n", "row 2: a corner is ''"),
        (",40,30,cat,1,2,3,4\n", "row 2: no image is named"),
        ("a.jpg,40,30,cat,1,2,3,4\na.jpg,80,60,cat,1,2,3,4\n", r"row 3: .* size 80 x 60 here; row 2 says \(40, 30\)"),
        ("a.jpg,0,30,cat,1,2,3,4\n", "row 2: the size is '0'"),
        ("a.jpg,40.5,30,cat,1,2,3,4\n", "row 2: .* give whole pixels"),
        ("a.jpg,40,30,cat,1,2,3,4,5\n", "row 2: 9 cells"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path, text, match):
    with pytest.raises(FormatError, match=match) as error:
        read(put(tmp_path, HEADER + text))
    assert "\n" not in str(error.value)


def test_sniff(tmp_path):
    for path in samples(tmp_path / "s"):
        assert FORM.sniff(path, "data").sure >= 0.9
        assert Csv().sniff(path, "data").sure < 0.5
    for text in (
        "image,label\na.jpg,cat\n",
        "a.jpg,cat\n",
        "",
        "\0",
        "a.jpg,1,2,3,4\n",
        "image,x1,y1,x2,y2\na.jpg,1,2,3,4\n",
    ):
        assert FORM.sniff(put(tmp_path, text), "data").sure < 0.5
    assert FORM.sniff(put(tmp_path, TEXT), "predictions").sure < 0.5
    assert FORM.sniff(tmp_path / "s" / "gone", "data").sure == 0
