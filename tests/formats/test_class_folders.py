"""Pictures sorted into folders of classes."""

from __future__ import annotations

from pathlib import Path

import pytest

from labelwise.contracts.format import Hints
from labelwise.errors import FormatError
from labelwise.formats.class_folders import ClassFolders
from pictures import encoded

FORM = ClassFolders()


def _put(root: Path, *names: str) -> Path:
    import numpy as np

    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(encoded(np.full((3, 4, 3), len(name), np.uint8)))
    return root


def samples(folder: Path) -> list[Path]:
    return [
        _put(folder / "flat", "cat/a.png", "cat/b.png", "dog/c.png"),
        _put(folder / "deep", "train/cat/day 1/a.png", "val/dog/b.png"),
    ]


def test_a_record_for_each_picture(tmp_path):
    for path, wanted in zip(
        samples(tmp_path),
        ([("a.png", "cat"), ("b.png", "cat"), ("c.png", "dog")], [("day 1/a.png", "cat"), ("b.png", "dog")]),
        strict=True,
    ):
        assert FORM.sniff(path, "answers").sure == 0.7
        _, records = FORM.read(path, "answers", Hints(kind="classes"))
        assert [(record.image, record.objects[0].cls) for record in records] == wanted


@pytest.mark.parametrize(
    "names", [("images/a.png", "masks/a.png"), ("cat/a.png", "b.png"), ("train/a.png",), ("JPEGImages/a.png",)]
)
def test_what_are_no_classes(tmp_path, names):
    assert FORM.sniff(_put(tmp_path, *names), "answers").sure < 0.5


def test_labels_of_another_format_and_loose_pictures(tmp_path):
    _put(tmp_path, "cat/a.png", "b.png")
    with pytest.raises(FormatError, match=r"b\.png' lies in no folder of a class"):
        FORM.read(tmp_path, "answers", Hints())
    (tmp_path / "b.png").unlink()
    (tmp_path / "cat" / "a.txt").write_text("0 0.5 0.5 0.5 0.5")
    assert FORM.sniff(tmp_path, "answers").sure < 0.5
    with pytest.raises(FormatError, match="no folder"):
        FORM.read(tmp_path / "nowhere", "answers", Hints())
