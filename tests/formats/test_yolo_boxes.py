"""YOLO txt as raw labels, as called before every file came in one way."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwise.errors import FormatError
from labelwise.formats.boxes import BoxLabels
from labelwise.formats.yolo import read_classes, read_yolo, write_yolo

SIZES = {"images/train/a.jpg": (640, 480), "images/train/b.c.png": (333, 77), "images/val/e.jpg": (5, 5)}
LINES = """1 0.344531 0.5 0.120313 0.25

0 0.0 0.0 0.5 0.5
0 1 1 0 0
1 0.1 0.2 0.3 0.2 0.3 0.9
0 0.333333 0.4 0.1 0.2 0.875
"""


def _folder(root, files, classes="cat\n\ndog\n"):
    (root / "classes.txt").write_text(classes)
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def _read(root, names=SIZES):
    return read_yolo(root, names, SIZES.__getitem__)


def test_what_is_read(tmp_path):
    found = _read(_folder(tmp_path, {"labels/train/a.txt": LINES, "labels/val/e.txt": ""}))
    assert found.classes == ("cat", "dog")
    things = found.labels["images/train/a.jpg"]["objects"]
    assert things[0] == {"class": "dog", "box": [181.99968, 180, 259.0, 300]}
    assert things[1]["box"] == [-160, -120, 160, 120]
    assert things[2]["box"] == [640, 480, 640, 480]
    assert things[3]["box"] == [64, 96, 192, 432]
    assert things[3]["extra"] == {"polygon": [0.1, 0.2, 0.3, 0.2, 0.3, 0.9]}
    assert things[4]["score"] == 0.875
    # an empty file is an image without any object; no file is no label
    assert found.labels["images/val/e.jpg"] == {"size": [5, 5], "objects": []}
    assert "images/train/b.c.png" not in found.labels
    assert len(found.notes) == 3


def test_round_trip_loses_nothing(tmp_path):
    files = {
        "labels/train/a.txt": LINES,
        "labels/val/e.txt": "",
        "labels/train/b.c.txt": "0 0.1234567 0.7654321 0.01 0.1\n",
    }
    (tmp_path / "one").mkdir()
    first = _read(_folder(tmp_path / "one", files))
    assert write_yolo(tmp_path / "two", first) == []
    second = _read(tmp_path / "two")
    assert (second.labels, second.classes) == (first.labels, first.classes)
    text = (tmp_path / "two" / "labels" / "train" / "a.txt").read_text()
    assert text.startswith("1 0.344531 0.5 0.120313 0.25\n")


_fraction = st.floats(0, 1, allow_nan=False)


@settings(max_examples=25)
@given(st.lists(st.tuples(_fraction, _fraction, _fraction, _fraction), min_size=1, max_size=6))
def test_any_fractions_come_back(tmp_path_factory, rows):
    root = tmp_path_factory.mktemp("any")
    text = "".join(f"0 {' '.join(f'{v:.17f}' for v in row)}\n" for row in rows)
    (root / "one").mkdir()
    first = _read(_folder(root / "one", {"labels/train/b.c.txt": text}))
    write_yolo(root / "two", first)
    assert _read(root / "two").labels == first.labels


def test_what_has_no_place_is_left_out_and_said(tmp_path):
    things = [
        {"class": "cat", "box": [0, 0, 2, 2], "crowd": True},
        {"class": "cat", "box": [0, 0, 2, 2], "difficult": True},
        {"class": "dog", "box": [50, 50, 60, 60]},
        {"class": "dog", "box": [1, 1, 2, 2]},
    ]
    notes = write_yolo(tmp_path, BoxLabels({"images/val/e.jpg": {"size": [5, 5], "objects": things}}, ("cat", "dog")))
    assert notes[0].startswith("3 box(es) left out")
    assert len(_read(tmp_path).labels["images/val/e.jpg"]["objects"]) == 1
    with pytest.raises(FormatError, match="unknown class 'cat'"):
        write_yolo(
            tmp_path, BoxLabels({"a": {"size": [5, 5], "objects": [{"class": "cat", "box": [0, 0, 1, 1]}]}}, ("x",))
        )


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("0 0.5 0.5 0.1", "3 numbers behind the class"),
        ("0 a b c d", "something else than numbers"),
        ("2 0.5 0.5 0.1 0.1", "class 2 is not in the list, which has 0 to 1"),
        ("-1 0.5 0.5 0.1 0.1", "class -1"),
        ("0.5 0.5 0.5 0.1 0.1", "class 0.5"),
        ("0 nan 0.5 0.1 0.1", "a value is nan"),
        ("0 0.5 0.5 -0.1 0.1", "negative"),
        ("0 320 240 50 50", "no fractions of the image's sides"),
        ("0 0.1 0.2 0.3 0.2 0.3 9", "no fraction from 0 to 1"),
    ],
)
def test_broken_lines_are_refused_with_their_number(tmp_path, line, words):
    root = _folder(tmp_path, {"labels/train/a.txt": f"0 0.5 0.5 0.1 0.1\n\n{line}\n"})
    with pytest.raises(FormatError, match=words) as caught:
        _read(root)
    assert "a.txt', line 3" in str(caught.value)


def test_labels_without_an_image_are_refused(tmp_path):
    root = _folder(tmp_path, {"labels/train/z.txt": "", "README.txt": "read me", "train.txt": "images/train/a.jpg"})
    with pytest.raises(FormatError, match=r"z\.txt': there is no image"):
        _read(root)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("names: [a, b]\nnc: 3", "nc is 3, and there are 2 names"),
        ("names: {0: a, 2: b}", "without a hole"),
        ("nc: 3", "no list called names"),
        ("names: [a, a]", "'a' is listed twice"),
        ("names: []", "empty"),
        ("names: [a,\n b: {", "no valid YAML"),
        ("- 1", "no list called names"),
    ],
)
def test_broken_class_lists_are_refused(tmp_path, text, words):
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(FormatError, match=words):
        read_classes(tmp_path)


def test_class_lists(tmp_path):
    with pytest.raises(FormatError, match="has no class list"):
        read_classes(tmp_path)
    (tmp_path / "data.yaml").write_text("names: {1: b, 0: a}\nval: images/val\n")
    assert read_classes(tmp_path) == (("a", "b"), {"val": "images/val"})
