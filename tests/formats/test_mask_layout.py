"""Which files are masks, and of which pictures: by names, and by a look where names are weak signs."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from labelwise.formats.mask_layout import find_layout, looks_like_masks

WIDTH, HEIGHT = 24, 16


def _photograph(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    Image.fromarray(pixels).save(path)


def _mask(path: Path, mode: str = "L", high: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((HEIGHT, WIDTH), np.uint8)
    pixels[4:9, 5:14] = high
    Image.fromarray(pixels).convert(mode).save(path)


#: layouts of public sets and of tools: the picture, its mask
PAIRS = [
    ("images/a.jpg", "masks/a.png"),
    ("Images/a.jpg", "Masks/a.PNG"),
    ("img/a.jpg", "label/a.tif"),
    ("imgs/a.jpg", "annotations/a.png"),
    ("train/image/0.png", "train/label/0.png"),
    ("images/training/a.jpg", "annotations/training/a.png"),
    ("train/images/a.jpg", "train/masks/a_mask.png"),
    ("train/a.jpg", "trainannot/a.png"),
    ("train/a.jpg", "train_masks/a_mask.gif"),
    ("train_images/a.jpg", "train_labels/a.png"),
    ("images_train/a.jpg", "masks_train/a.png"),
    ("test/0001.png", "test_labels/0001_L.png"),
    ("JPEGImages/a.jpg", "SegmentationClass/a.png"),
    ("images/X_1.jpg", "annotations/trimaps/X_1.png"),
    ("training/images/a.jpg", "training/v1.2/labels/a.png"),
    ("input/a.jpg", "groundtruth/a.bmp"),
    ("Original/a.jpg", "Ground Truth/a.png"),
    ("images/a.jpg", "masks/a.jpg.png"),
    ("leftImg8bit/train/b/b_1_leftImg8bit.png", "gtFine/train/b/b_1_gtFine_labelIds.png"),
    ("a.jpg", "masks/a.png"),
    ("images/a.jpg", "images/masks/a.png"),
    ("a.jpg", "a_mask.png"),
    ("a.jpg", "a_label.png"),
    ("a.jpg", "a-mask.png"),
    ("a.jpg", "a_seg.png"),
    ("a.jpg", "a.mask.png"),
    ("a.jpg", "A_MASK.png".replace("A", "a", 1)),
    ("a.jpg", "a mask.png"),
    ("a.jpg", "mask_a.png"),
    ("image_7.png", "mask_7.png"),
    ("7_sat.jpg", "7_mask.png"),
    ("a.jpg", "a_segmentation.png"),
    ("a.jpg", "a_gt.bmp"),
    ("benign (1).png", "benign (1)_mask.png"),
    ("train/a_jpg.rf.0123.jpg", "train/a_jpg.rf.0123_mask.png"),
    ("a.jpg", "a.png"),
]


@pytest.mark.parametrize(("picture", "mask"), PAIRS)
def test_a_mask_and_its_picture(tmp_path, picture, mask):
    _photograph(tmp_path / picture)
    _mask(tmp_path / mask)
    layout = find_layout(tmp_path, sorted([picture, mask]))
    assert layout.pictures == (picture,)
    wanted = picture if mask.endswith(".jpg.png") else picture.rpartition(".")[0]
    assert wanted in layout.masks[mask]
    assert looks_like_masks(tmp_path, [picture, mask]) == {mask}


@pytest.mark.parametrize(
    "names",
    [
        ("hats/1.png", "masks/1.png"),
        ("with_mask/1.png", "without_mask/1.png", "mask_weared_incorrect/1.png"),
        ("mask/1.jpg", "no_mask/1.jpg"),
        ("eye/1.jpg", "eyemask/1.jpg"),
        ("cam_L.png", "cam_R.png", "cam.png"),
        ("gas_mask.png", "snorkel.png"),
        ("a_mask.png",),
        ("labels/1.png", "stickers/1.png"),
        ("a.jpg", "masks/b.jpg", "masks/c.jpg", "hats/d.jpg"),
        ("person.png", "person_mask.png"),
        ("a.jpg", "a.png"),
        ("piano/1.png", "flute/1.png"),
    ],
)
def test_photographs_that_are_called_like_masks(tmp_path, names):
    for seed, name in enumerate(names):
        _photograph(tmp_path / name, seed)
    assert looks_like_masks(tmp_path, names) == frozenset()


def test_the_same_drawing_in_two_formats_is_no_mask(tmp_path):
    _mask(tmp_path / "a.png", "RGB", 200)
    _mask(tmp_path / "a.jpg", "RGB", 200)
    assert looks_like_masks(tmp_path, ["a.jpg", "a.png"]) == frozenset()


def test_masks_saved_with_loss_are_masks_all_the_same(tmp_path):
    _photograph(tmp_path / "a.jpg")
    _mask(tmp_path / "a_mask.jpg", "L", 255)
    assert looks_like_masks(tmp_path, ["a.jpg", "a_mask.jpg"]) == {"a_mask.jpg"}
    assert looks_like_masks(tmp_path, ["images/a.jpg", "masks/a.jpg"]) == {"masks/a.jpg"}


def test_files_whose_pixels_number_objects(tmp_path):
    names = ["JPEGImages/a.jpg", "SegmentationClass/a.png", "SegmentationObject/a.png"]
    layout = find_layout(tmp_path, names)
    assert (list(layout.masks), list(layout.objects)) == (names[1:2], names[2:])
    assert looks_like_masks(tmp_path, names) == set(names[1:])


def test_several_masks_of_one_picture_are_all_masks(tmp_path):
    names = ["x.png", "x_mask.png", "x_mask_1.png", "x_mask2.png"]
    _photograph(tmp_path / "x.png")
    for name in names[1:]:
        _mask(tmp_path / name)
    assert looks_like_masks(tmp_path, names) == set(names[1:])


def test_damaged_files_are_judged_by_their_names(tmp_path):
    (tmp_path / "a_mask.png").write_bytes(b"no picture")
    _photograph(tmp_path / "a.jpg")
    assert looks_like_masks(tmp_path, ["a.jpg", "a_mask.png"]) == {"a_mask.png"}


@pytest.mark.heavy
def test_many_names_take_seconds():
    names = [f"{n % 500}/{n}.png" for n in range(200_000)] + ["x.jpg", "x_mask.png"]
    pairs = [f"images/{n}.jpg" for n in range(50_000)] + [f"masks/{n}.png" for n in range(50_000)]
    long = ["mask_" * 40 + f"{n}_mask_.png" for n in range(2_000)]
    began = time.process_time()
    assert looks_like_masks("nowhere", names) == {"x_mask.png"}
    assert len(looks_like_masks("nowhere", pairs)) == 50_000
    looks_like_masks("nowhere", long)
    assert time.process_time() - began < 5
