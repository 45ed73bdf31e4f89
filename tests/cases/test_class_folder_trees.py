"""Folders that name splits or classes, and pictures that lie beside them: nothing is left out without a word."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from labelwise.data.class_folders import arranged
from labelwise.data.folder import ImageFolder


def _tree(root: Path, *names: str) -> ImageFolder:
    rng = np.random.default_rng(0)
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (6, 8, 3), np.uint8)).save(root / name)
    return ImageFolder(root)


def _class_folders(*folders: str, count: int = 4) -> list[str]:
    return [f"{folder}/{n}.jpg" for folder in folders for n in range(count)]


# ---- splits ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pool", "held", "role"),
    [
        ("Train", "Test", "test"),
        ("TRAIN", "VAL", "validation"),
        ("training", "validation", "validation"),
        ("Training", "Testing", "test"),
        ("train", "dev", "validation"),
        ("train", "holdout", "test"),
        ("train", "hold-out", "test"),
        ("train2017", "val2017", "validation"),
        ("data/Train", "data/Test", "test"),
    ],
)
def test_folders_that_name_splits(tmp_path, pool, held, role):
    names = _class_folders(f"{pool}/cat", f"{pool}/dog", f"{held}/cat", f"{held}/dog", count=2)
    source = _tree(tmp_path, *names)
    assert source.classes == ("cat", "dog")
    assert len(source.truth) == 8
    assert {item for item, found in source.roles.items() if found == role} == {n for n in names if held in n}
    assert {found for item, found in source.roles.items() if pool in item} == {"pool"}
    assert source.notes() == []
    # what a position in an index file counts: class by class below the split
    assert source.native_order() == [f"{pool}/{name}" for name in ("cat/0.jpg", "cat/1.jpg", "dog/0.jpg", "dog/1.jpg")]


def test_what_is_not_labelled_yet_beside_splits(tmp_path):
    names = [*_class_folders("train/cat", "train/dog", "test/cat"), "unlabelled/1.jpg", "unlabelled/deep/2.jpg"]
    source = _tree(tmp_path, *names)
    assert source.classes == ("cat", "dog")
    assert source.roles["unlabelled/deep/2.jpg"] == "pool"
    assert "unlabelled/1.jpg" not in source.truth
    assert len(source.ids) == len(names)


def test_splits_without_one_to_learn_from(tmp_path):
    source = _tree(tmp_path, *_class_folders("val/cat", "val/dog", "test/cat"))
    assert (source.roles, source.classes) == ({}, ("cat", "dog"))
    assert any("none is there to learn from" in note for note in source.notes())


def test_splits_beside_which_other_images_lie(tmp_path):
    splits = _class_folders("train/cat", "train/dog", "test/cat")
    few = _tree(tmp_path / "few", *splits, "logo.png", "docs/figure.png")
    assert few.classes == ("cat", "dog")
    assert set(few.ids) == set(splits)
    assert any("'docs/figure.png', 'logo.png'" in note for note in few.notes())
    many = _tree(tmp_path / "many", *splits, *(f"extra/{n}.png" for n in range(9)))
    assert (many.roles, many.classes, len(many.ids)) == ({}, None, 21)
    assert any("9 image(s) lie beside them, such as 'extra/0.png'" in note for note in many.notes())


def test_classes_that_are_called_like_splits_are_told(tmp_path):
    source = _tree(tmp_path, *_class_folders("train", "bus", "test"))
    assert source.classes == ("bus", "test", "train")
    assert any("'test', 'train' are classes here, not splits, because 'bus'" in note for note in source.notes())


# ---- pictures beside class folders ----------------------------------------------------------------------------------


@pytest.mark.parametrize("stray", ["preview.jpg", "icon.png", "README.png", "Screenshot 2024.PNG", "a.gif"])
def test_one_picture_beside_the_class_folders(tmp_path, stray):
    names = _class_folders("cat", "dog")
    source = _tree(tmp_path, *names, stray)
    assert source.ids == tuple(names)
    assert len(source.truth) == 8
    assert any(f"left out: 1 image(s) beside the folders of classes ({stray!r})" in note for note in source.notes())


def test_many_pictures_beside_the_class_folders(tmp_path):
    source = _tree(tmp_path, *_class_folders("cat", "dog"), *(f"{n}.jpg" for n in range(5)))
    assert (source.truth, source.classes, len(source.ids)) == ({}, None, 13)
    assert any("no classes, because 5 image(s) lie beside them, such as '0.jpg'" in note for note in source.notes())
    forced = ImageFolder(tmp_path, labels="folders")
    assert (len(forced.truth), len(forced.ids)) == (8, 13)


def test_a_picture_beside_the_class_folders_of_one_split(tmp_path):
    names = _class_folders("train/cat", "train/dog", "test/cat")
    source = _tree(tmp_path, *names, "train/overview.jpg")
    assert source.ids == tuple(sorted(names))
    assert len(source.truth) == 12


def test_files_that_are_no_pictures_change_nothing(tmp_path):
    for name in (".DS_Store", "Thumbs.db", "cat/.DS_Store", "readme.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    source = _tree(tmp_path, *_class_folders("cat", "dog"), ".thumb.png")
    assert source.classes == ("cat", "dog")
    assert any("left out as hidden" in note for note in source.notes())


@pytest.mark.parametrize("folder", ["unlabelled", "Unlabeled", "todo", "TODO", "to_label", "not-labelled", "unsorted"])
def test_a_folder_of_what_is_not_labelled_is_no_class(tmp_path, folder):
    source = _tree(tmp_path, *_class_folders("cat", "dog", folder))
    assert source.classes == ("cat", "dog")
    assert len(source.ids) == 12
    assert len(source.truth) == 8
    assert any(f"{folder!r} are no class: 4 image(s) without label" in note for note in source.notes())
    assert ImageFolder(tmp_path, labels="folders").classes == ("cat", "dog")


def test_trees_that_go_deeper_say_why_they_name_no_classes(tmp_path):
    source = _tree(tmp_path, *_class_folders("cat", "dog"), "dog/old/9.jpg")
    assert source.classes is None
    assert any("because 'dog/old/9.jpg' lies deeper than others" in note for note in source.notes())
    # a tree of dates is nobody's mistake
    assert _tree(tmp_path / "dates", "2024/01/a.jpg", "2024/02/b.jpg", "2025/01/c.jpg").notes() == []


def test_a_folder_called_images_is_no_class(tmp_path):
    source = _tree(tmp_path, *_class_folders("images", "previews"))
    assert (source.classes, len(source.ids)) == (None, 8)
    assert any("one is called 'images'" in note for note in source.notes())


# ---- masks ----------------------------------------------------------------------------------------------------------


def test_masks_are_no_images_and_no_class(tmp_path):
    names = [f"images/{n}.jpg" for n in range(3)]
    source = _tree(tmp_path, *names, *(f"masks/{n}.bmp" for n in range(3)))
    assert (source.ids, source.classes) == (tuple(names), None)
    assert any("3 mask(s), by their names, such as 'masks/0.bmp'" in note for note in source.notes())
    assert len(ImageFolder(tmp_path, labels="folders").ids) == 6


def test_what_is_known_already_is_left_as_it_is():
    """A project that knows its pictures keeps them, whatever a scan would leave out today."""
    ids = ("cat/1.jpg", "cat/2.jpg", "dog/1.jpg", "images/a.jpg", "masks/a.png", "x.jpg")
    assert ImageFolder("nowhere", ids=ids).ids == ids


@pytest.mark.heavy
def test_a_million_names_take_seconds():
    import time

    ids = [f"train/{n % 100}/{n:07d}.jpg" for n in range(200_000)] + [f"x{n}.jpg" for n in range(3)]
    began = time.process_time()
    found = arranged(ids, "auto", "auto")
    assert time.process_time() - began < 3
    assert len(found.truth) == 200_000
    assert len(found.left_out) == 3
