"""Lists with a line "path number" for each image."""

from __future__ import annotations

import pytest

from labelwise.contracts.format import Hints
from labelwise.contracts.record import Record, Seen, Where
from labelwise.errors import FormatError
from labelwise.formats.csv_table import Csv
from labelwise.formats.image_list import ImageList

FORM = ImageList()
LT = "train/n01/a.JPEG 0\ntrain/n02/b.JPEG 1\ntrain/n01/c.JPEG 0\n"


def samples(folder):
    """Small lists as published sets have them."""
    for name in ("n01/x.JPEG", "n02/y.JPEG", "n01/z.JPEG"):
        (folder / "val" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "val" / name).write_bytes(b"")
    (folder / "ImageNet_LT_train.txt").write_text(LT)
    (folder / "other").mkdir()
    (folder / "other" / "train.txt").write_text("images/a b.jpg\t3\nimages/c.jpg\t0\n")
    (folder / "other" / "classes.txt").write_text("ant\nbee\ncow\ndog\n")
    return [folder / "ImageNet_LT_train.txt", folder / "other" / "train.txt"]


def put(tmp_path, text):
    path = tmp_path / "list.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def read(path, **hints):
    head, records = FORM.read(path, "data", Hints(**hints))
    return head, list(records)


def test_folders_are_classes_and_images_to_test_on_lie_beside(tmp_path):
    path, _ = samples(tmp_path)
    head, records = read(path)
    assert (head.classes, head.numbers, head.root) == (("n01", "n02"), {0: "n01", 1: "n02"}, tmp_path)
    assert records[:3] == [
        Record(Where(str(path), "line", n), item, objects=(Seen(label),))
        for n, item, label in ((1, "train/n01/a.JPEG", 0), (2, "train/n02/b.JPEG", 1), (3, "train/n01/c.JPEG", 0))
    ]
    assert [(r.image, r.objects[0].cls, r.split) for r in records[3:]] == [
        ("val/n01/x.JPEG", "n01", "test"),
        ("val/n01/z.JPEG", "n01", "test"),
        ("val/n02/y.JPEG", "n02", "test"),
    ]


def test_numbers_by_classes_txt_by_a_list_of_the_user_or_alone(tmp_path):
    _, path = samples(tmp_path)
    head, records = read(path)
    assert head.classes == ("ant", "bee", "cow", "dog")
    assert head.notes == (f"'{path}': numbers of classes are read by classes.txt beside it",)
    assert [(r.image, r.objects[0].cls) for r in records] == [("images/a b.jpg", 3), ("images/c.jpg", 0)]
    assert read(path, names={0: "x", 3: "y"})[0].classes == ()
    (tmp_path / "other" / "classes.txt").write_text("ant\nbee\n")
    assert read(path)[0].classes == ()


def test_folders_that_are_no_classes(tmp_path):
    head, _ = read(put(tmp_path, "d1/a.jpg 0\nd1/b.jpg 1\nd2/c.jpg 0\nd2/d.jpg 1\n"))
    assert (head.classes, head.numbers) == ((), {})


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (
            "".join(f"t/c{n % 2}/{n}.jpg {n % 2}\n" for n in range(40)) + "t/c0/x.jpg 1\n",
            "line 41: .* number 1, but",
        ),
        ("a/b.jpg 0\na/b.jpg 1\n", r"line 2: 'a/b\.jpg' has number 1, and 0 in line 1"),
        ("a/b.jpg 0\nb.jpg\n", r"line 2: 'b\.jpg' is not 'relative/path number'"),
        ("a/b.jpg -1\n", "line 1: .* is not 'relative/path number'"),
        (f"a/b.jpg 1{'0' * 400}\n", "line 1: .* is not"),
        ("\n", "lists no image"),
        (b"a/\xe9.jpg 0\n", "line 1: not valid UTF-8"),
        ("a\0b.jpg 0\n", "no text at all"),
        ("train/n01/a.JPEG 0\ntrain/n02/a.JPEG 1\nval/n01/x.JPEG 0\nval/n02/q.JPEG 1\n", "which is a test image"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path, text, match):
    samples(tmp_path)
    with pytest.raises(FormatError, match=match) as error:
        read(put(tmp_path, text))
    assert "\n" not in str(error.value)


def test_sniff(tmp_path):
    for path in samples(tmp_path / "s"):
        assert FORM.sniff(path, "data").sure >= 0.9
        assert Csv().sniff(path, "data").sure <= 0.8
    for text in ("0 0.5 0.5 0.2 0.2\n", "cat\ndog\n", "2007_000027 1\n", "a.jpg,cat\n", "a.jpg\nb.jpg\n", "", "\0"):
        assert FORM.sniff(put(tmp_path, text), "data").sure < 0.5, text
    assert FORM.sniff(tmp_path, "data").sure == 0
