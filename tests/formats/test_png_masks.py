"""Folders of masks: read as a data set, asked, given back, written as a labelled set; what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import bounded
from labelwise.contracts.format import Hints
from labelwise.contracts.record import IGNORE, Head, Record
from labelwise.errors import DataError
from labelwise.formats.class_colours import colours
from labelwise.formats.index_png import IGNORE_COLOUR
from labelwise.formats.mask_coding import MaskCoding
from labelwise.formats.png_masks import PngMasks
from masks_on_disk import write_png_masks
from unpacked import unpacked

WIDTH, HEIGHT = 9, 7
CLASSES = ("road", "car", "sky")
FORM = PngMasks()


def image(path: Path, size=(WIDTH, HEIGHT)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (40, 80, 120)).save(path)


def mask(path: Path, values, palette=None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(np.asarray(values, np.uint8))
    if palette is not None:
        picture.putpalette(np.asarray(palette, np.uint8).ravel().tolist())
    picture.save(path)


def drawn(seed: int, classes=3, ignored=True) -> np.ndarray:
    values = np.random.default_rng(seed).integers(0, classes, (HEIGHT, WIDTH)).astype(np.uint8)
    if ignored:
        values[0, :3] = IGNORE
    return values


def samples(folder: Path) -> list[Path]:
    """Sets as people have them: with lists and palettes, with splits, beside the images, black and white."""
    for name in ("a.jpg", "b.png", "deep/c.jpg", "d.jpg"):
        image(folder / "pairs/images" / name)
    write_png_masks(
        folder / "pairs", [(n, drawn(k)) for k, n in enumerate(["a.jpg", "b.png", "deep/c.jpg"])], MaskCoding(CLASSES)
    )
    (folder / "pairs/val.txt").write_text("a\n")
    for part in ("train", "val"):
        image(folder / f"camvid/{part}/{part}_1.jpg")
        mask(folder / f"camvid/{part}annot/{part}_1.png", drawn(3, 4, False))
        (folder / f"camvid/{part}.txt").write_text(f"/SegNet/{part}/{part}_1.jpg /SegNet/{part}annot/{part}_1.png\n")
    (folder / "camvid/classes.txt").write_text("road\ncar\nsky\nunlabelled\n")
    for n in range(2):
        image(folder / f"beside/train/{n}_jpg.rf.0123.jpg")
        mask(folder / f"beside/train/{n}_jpg.rf.0123_mask.png", drawn(n, ignored=False))
    (folder / "beside/train/_classes.csv").write_text("Pixel Value, Class\n0, road\n1, car\n2, sky\n")
    image(folder / "white/images/a.jpg")
    mask(folder / "white/masks/a.bmp", drawn(0, 2, False) * 255)
    (folder / "white/classes.txt").write_text("bg\ncat\n")
    return [folder / name for name in ("pairs", "camvid", "beside", "white")]


def read(folder: Path, use="data", **hints) -> tuple[Head, dict[str, Record]]:
    head, found = FORM.read(folder, use, Hints(**hints))
    return head, {record.image: record for record in found}


def pixels(record: Record) -> np.ndarray:
    return record.pixels.read()


def refused(folder: Path, use="data", **hints) -> str:
    """The line that reading a folder and all of its masks ends with."""
    with pytest.raises(DataError) as caught:
        [record.pixels and record.pixels.read() for record in read(folder, use, **hints)[1].values()]
    assert "\n" not in str(caught.value)
    assert len(str(caught.value).replace(str(folder), "")) <= 300, str(caught.value)
    return str(caught.value)


@pytest.fixture
def pairs(tmp_path) -> Path:
    return samples(tmp_path)[0]


# ---- data -----------------------------------------------------------------------------------------------------------


def test_images_and_masks(pairs):
    head, found = read(pairs)
    assert list(found) == ["a.jpg", "b.png", "d.jpg", "deep/c.jpg"]
    assert (head.classes, head.palette, head.root) == (CLASSES, colours(3), pairs / "images")
    assert (head.notes, head.missing, head.strangers, head.says_empty) == ((), (), frozenset(), True)
    assert [record.state for record in found.values()] == ["answered", "answered", "untouched", "answered"]
    assert [record.split for record in found.values()] == ["val", None, None, None]
    assert found["a.jpg"].pixels.size == (WIDTH, HEIGHT)
    for seed, name in enumerate(["a.jpg", "b.png", "deep/c.jpg"]):
        np.testing.assert_array_equal(pixels(found[name]), drawn(seed))
    assert FORM.root(pairs) == pairs / "images"
    assert FORM.sniff(pairs, "data").kinds == ("masks",)


def test_segnet_layout_with_a_class_that_is_none(tmp_path):
    folder = samples(tmp_path)[1]
    head, found = read(folder)
    assert {name: record.split for name, record in found.items()} == {
        "train/train_1.jpg": "train",
        "val/val_1.jpg": "val",
    }
    assert head.classes == CLASSES
    assert head.strangers == {"trainannot/train_1.png", "valannot/val_1.png"}
    expected = drawn(3, 4, False)
    expected[expected == 3] = IGNORE
    np.testing.assert_array_equal(pixels(found["train/train_1.jpg"]), expected)
    assert head.notes == ("pixels of 'unlabelled' (3) have no class",)


def test_a_class_that_is_none_may_stand_first(tmp_path):
    image(tmp_path / "images" / "a.jpg")
    mask(tmp_path / "masks" / "a.png", np.tile(np.arange(3), (HEIGHT, 3)))
    (tmp_path / "classes.txt").write_text("void\nroad\ncar\n")
    head, found = read(tmp_path)
    assert head.classes == ("road", "car")
    assert pixels(found["a.jpg"])[0, :3].tolist() == [IGNORE, 0, 1]


def test_roboflow_and_its_table_of_classes(tmp_path):
    head, found = read(samples(tmp_path)[2])
    assert head.classes == CLASSES
    assert list(found) == ["train/0_jpg.rf.0123.jpg", "train/1_jpg.rf.0123.jpg"]
    assert {record.split for record in found.values()} == {"train"}


def test_supervisely_and_its_machine_masks(tmp_path):
    image(tmp_path / "img/a.jpg")
    values = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    values[2], values[3] = 1, 2
    mask(tmp_path / "masks/a.png", values)
    (tmp_path / "obj_class_to_machine_color.json").write_text(json.dumps({"kiwi": [1, 1, 1], "lemon": [2, 2, 2]}))
    head, found = read(tmp_path)
    assert head.classes == ("kiwi", "lemon")
    assert pixels(found["a.jpg"])[:4, 0].tolist() == [IGNORE, IGNORE, 0, 1]
    assert any("0 has no class" in note for note in head.notes)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("label_colors.txt", "64 128 64\tanimal\n192 0 128\tarch way\n"),
        ("class_dict.csv", "name,r,g,b\nanimal,64,128,64\narch way,192,0,128\n"),
        ("labelmap.txt", "# label:color_rgb:parts:actions\nanimal:64,128,64::\narch way:192,0,128::\n"),
    ],
)
def test_colours_of_camvid_and_other_lists(tmp_path, name, text):
    image(tmp_path / "train/x.png")
    values = np.full((HEIGHT, WIDTH, 3), (64, 128, 64), np.uint8)
    values[1, 1] = 192, 0, 128
    values[2, 2] = IGNORE_COLOUR
    mask(tmp_path / "train_labels/x_L.png", values)
    (tmp_path / name).write_text(text)
    head, found = read(tmp_path)
    assert (head.classes, head.palette) == (("animal", "arch way"), ((64, 128, 64), (192, 0, 128)))
    assert np.unique(pixels(found["train/x.png"]), return_counts=True)[1].tolist() == [61, 1, 1]


def test_lists_that_differ_are_refused(pairs):
    (pairs / "masks/classes.txt").write_text("road\ncar\nocean\n")
    assert "differ (road, car, sky and road, car, ocean)" in refused(pairs)
    (pairs / "masks/classes.txt").unlink()
    (pairs / "labelmap.txt").write_text("a:0,0,0::\nb:1,1,1::\n")
    assert "labelmap.txt and classes.txt name other classes" in refused(pairs)


def test_classes_of_the_caller_and_none_at_all(pairs):
    (pairs / "classes.txt").unlink()
    head, found = read(pairs)
    assert head.classes == ("class 0", "class 1", "class 2")
    assert any("list their names in classes.txt" in note for note in head.notes)
    head, found = read(pairs, classes=("a", "b", "c"))
    assert head.classes == ("a", "b", "c")
    assert any("0 is taken for 'a'" in note for note in head.notes)
    np.testing.assert_array_equal(pixels(found["b.png"]), drawn(1))
    assert "number 2 has the colour #008000, which no class has" in refused(pairs, classes=("a", "b"))


def test_splits_by_lists(pairs):
    (pairs / "val.txt").write_text("images/a.jpg\n")
    (pairs / "Test.txt").write_text("/data/images/b.png /data/masks/b.png\n\nz\n")
    (pairs / "notes.txt").write_text("no list\n")
    head, found = read(pairs)
    assert [found[name].split for name in ("a.jpg", "b.png", "d.jpg")] == ["val", "Test", None]
    assert head.missing == ("z (in Test.txt)",)
    (pairs / "Test.txt").write_text("a\n")
    head, found = read(pairs)
    assert (found["a.jpg"].split, "1 image(s) are in two splits: taken for Test" in head.notes) == ("Test", True)
    (pairs / "trainval.txt").write_text("a\nb\n")
    head, found = read(pairs)
    assert (found["a.jpg"].split, any("taken for training" in note for note in head.notes)) == (None, True)


def test_names_with_blanks_in_lists(tmp_path):
    for name in ("my photo.jpg", "my photo 2.jpg"):
        image(tmp_path / "images" / name)
        mask(tmp_path / "masks" / name.replace("jpg", "png"), drawn(0))
    (tmp_path / "val.txt").write_text("images/my photo 2.jpg masks/my photo 2.png\n")
    (tmp_path / "test.txt").write_text("my photo\n")
    _, found = read(tmp_path)
    assert {name: record.split for name, record in found.items()} == {"my photo.jpg": "test", "my photo 2.jpg": "val"}


def test_only_held_back_splits_are_taken_for_the_pool(tmp_path):
    image(tmp_path / "test/images/a.jpg")
    mask(tmp_path / "test/masks/a.png", drawn(0))
    head, found = read(tmp_path)
    assert found["test/images/a.jpg"].split is None
    assert any("taken for the pool" in note for note in head.notes)


def test_images_outside_the_folder_of_images_are_told(pairs):
    image(pairs / "more/x.jpg")
    head, found = read(pairs)
    assert "more/x.jpg" not in found
    assert any("1 image(s) outside 'images/'" in note for note in head.notes)


def test_numbers_of_objects(tmp_path):
    image(tmp_path / "training/images/a.jpg")
    mask(tmp_path / "training/labels/a.png", drawn(0))
    numbers = np.full((HEIGHT, WIDTH), 3002, np.uint16)
    (tmp_path / "training/instances").mkdir()
    Image.fromarray(numbers).save(tmp_path / "training/instances/a.png")
    head, found = read(tmp_path)
    assert found["training/images/a.jpg"].instances.read().tolist() == numbers.tolist()
    assert head.strangers == {"training/labels/a.png", "training/instances/a.png"}


def test_what_is_no_set_of_masks(tmp_path):
    for name in ("masks/1.png", "hats/2.png"):
        image(tmp_path / "faces" / name)
    image(tmp_path / "yolo" / "images" / "a.jpg")
    (tmp_path / "yolo" / "labels").mkdir()
    (tmp_path / "yolo" / "labels" / "a.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    image(tmp_path / "flat" / "a.jpg")
    (tmp_path / "file.png").write_bytes(b"")
    for name in ("faces", "yolo", "flat", "file.png", "nowhere"):
        assert FORM.sniff(tmp_path / name, "data").sure == 0, name
    for name in ("yolo", "flat"):
        assert "holds no masks: put them in masks/" in refused(tmp_path / name)


# ---- refused --------------------------------------------------------------------------------------------------------


def test_masks_and_images_that_do_not_fit(pairs):
    image(pairs / "images" / "a.png")
    assert "may be the mask of 'images/a.jpg' or 'images/a.png'" in refused(pairs)
    (pairs / "images" / "a.png").unlink()
    mask(pairs / "masks" / "a_mask.png", drawn(0))
    assert "'images/a.jpg' has two masks, 'masks/a.png' and 'masks/a_mask.png'" in refused(pairs)
    (pairs / "masks" / "a_mask.png").unlink()
    mask(pairs / "masks" / "x.png", drawn(0))
    assert "x.png' is a mask without image: there is no" in refused(pairs)
    (pairs / "masks" / "x.png").unlink()
    image(pairs / "masks" / "d.jpg")
    assert "'images/d.jpg' and a lossy picture" in refused(pairs)
    (pairs / "masks" / "d.jpg").rename(pairs / "masks" / "overview.jpg")
    assert any("'masks/overview.jpg'" in note for note in read(pairs)[0].notes)


def test_a_mask_may_be_called_by_the_whole_name_of_its_image(pairs):
    image(pairs / "images" / "a.png")
    (pairs / "masks/a.png").rename(pairs / "masks/a.jpg.png")
    (pairs / "val.txt").unlink()
    _, found = read(pairs)
    assert (found["a.jpg"].state, found["a.png"].state) == ("answered", "untouched")


def test_masks_of_another_size(pairs):
    mask(pairs / "masks" / "b.png", np.zeros((3, 3)))
    # the kind of label refuses it when it is asked for
    assert read(pairs)[1]["b.png"].pixels.size == (3, 3)
    for name in ("a.png", "deep/c.png"):
        mask(pairs / "masks" / name, np.zeros((3, 3)))
    assert "a.png' has 3 x 3 pixels, and its image 'a.jpg' has 9 x 7" in refused(pairs)


def test_values_that_are_no_class(pairs):
    values = drawn(0)
    values[3, :2] = 7
    mask(pairs / "masks" / "a.png", values)
    assert "a.png': 2 pixel(s) have the value 7; allowed are 0 to 2 (road to sky) and 255 (no class)" in refused(pairs)


def test_pictures_in_place_of_indices(pairs):
    Image.new("RGB", (WIDTH, HEIGHT), (1, 2, 3)).save(pairs / "masks" / "a.png")
    # b.png says which colours the classes have
    assert "63 pixel(s) have the colour #010203, which no class has; allowed are #000000 road" in refused(pairs)
    for name in ("b.png", "deep/c.png"):
        mask(pairs / "masks" / name, drawn(0))
    assert "a.png' is a PNG of mode RGB, whose pixels are colours, and no palette is known" in refused(pairs)
    (pairs / "classes.txt").unlink()
    assert "list them in labelmap.txt" in refused(pairs)


def test_palettes_that_were_numbered_anew(pairs):
    values = np.zeros((HEIGHT, WIDTH), np.uint8)
    values[0, :2] = 1, 2
    # number 1 has the colour of class 2, number 2 that of pixels without class
    mask(pairs / "masks" / "b.png", values, palette=[(0, 0, 0), colours(3)[2], IGNORE_COLOUR])
    assert pixels(read(pairs)[1]["b.png"])[0, :3].tolist() == [2, IGNORE, 0]
    mask(pairs / "masks" / "b.png", values, palette=[(0, 0, 0), (9, 9, 9), (1, 1, 2)])
    assert "b.png' is a palette image whose number 1 has the colour #090909, which no class has" in refused(pairs)


def test_broken_files(pairs):
    file = pairs / "masks" / "b.png"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    assert "b.png': its size cannot be read (Truncated File Read)" in refused(pairs)
    file.write_bytes(whole[:-40])
    assert "b.png': cannot be read as a mask" in refused(pairs)
    file.write_bytes(b"")
    assert "b.png': the file is empty" in refused(pairs)
    file.write_bytes(b"no picture")
    assert "b.png': not an image that can be read" in refused(pairs)
    Image.new("RGBA", (WIDTH, HEIGHT), (0, 0, 0, 0)).save(file)
    assert "b.png' has transparent pixels" in refused(pairs)
    Image.new("CMYK", (WIDTH, HEIGHT)).save(pairs / "masks" / "b.tif")
    file.unlink()
    assert "b.tif' has pixels of mode CMYK" in refused(pairs)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no class"),
        ("road\nroad\n", "row 2: class 'road' stands there twice"),
        ("road\n\nsky\n", "row 2: the line is empty"),
        ("void\n", "names no class"),
        ("\n".join(map(str, range(300))), "names 300 classes"),
        ("x" * 2_000_000, "it is no list of classes"),
    ],
)
def test_broken_lists_of_classes(pairs, text, message):
    (pairs / "classes.txt").write_text(text)
    assert message in refused(pairs)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("labelmap.txt", "road:0,0,0::\ncar:1,2\n", "row 2: 'car:1,2' is no name:r,g,b"),
        ("labelmap.txt", f"road:0,0,1{'0' * 5000}::\n", "is no name:r,g,b"),
        ("labelmap.txt", "road:0,0,256::\n", "is no name:r,g,b"),
        ("label_colors.txt", "1 2 road\n", "row 1: '1 2 road' is no line r g b name"),
        ("class_dict.csv", "a,b\n1,2\n", "has no column that names classes"),
        ("class_dict.csv", "name,r,g,b\nroad,1,2,x\n", "row 2: 'x' is no number from 0 to 255"),
        ("_classes.csv", "Pixel Value, Class\n0, a\n0, b\n", "row 2: the value 0 stands for two classes"),
        ("_classes.csv", "Pixel Value, Class\n1e3, a\n", "row 2: '1e3' is no number"),
        ("obj_class_to_machine_color.json", '{"a": [1, 2]}', "give {"),
        ("objectInfo150.txt", "Idx\tName\n1\twall\n", "objectInfo150.txt and classes.txt name other classes"),
    ],
)
def test_broken_lists_of_colours_and_values(pairs, name, text, message):
    (pairs / name).write_text(text)
    assert message in refused(pairs)


def test_numbered_lines_of_a_list(pairs):
    (pairs / "classes.txt").write_text("0 road\n1: car\n2,sky\n")
    assert read(pairs)[0].classes == CLASSES
    (pairs / "classes.txt").write_text("1 road\n2 car\n3 sky\n")
    assert "have the value 0" in refused(pairs)
    (pairs / "classes.txt").write_text("3 doors\n2 doors\n5 doors\n")
    assert read(pairs)[0].classes == ("3 doors", "2 doors", "5 doors")


def test_masks_that_say_nothing(pairs):
    (pairs / "classes.txt").unlink()
    for file in (pairs / "masks").rglob("*.png"):
        mask(file, np.full((HEIGHT, WIDTH), 255))
    assert "hold nothing but 255: write classes as 0, 1" in refused(pairs)
    head, _ = read(pairs, classes=("a", "b", "c"))
    assert any("no pixel is labelled" in note for note in head.notes)
    for file in (pairs / "masks").rglob("*.png"):
        mask(file, np.zeros((HEIGHT, WIDTH)))
    assert "hold nothing but 0: write classes as 0, 1" in refused(pairs)


def test_empty_folders(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    assert "no images in" in refused(tmp_path)
    mask(tmp_path / "masks" / "a.png", drawn(0))
    assert "no images in" in refused(tmp_path)
    assert "does not exist" in refused(tmp_path / "nowhere")


# ---- bounds ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def cost(monkeypatch):
    """Measures the reading of all masks of a set."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    return lambda *folders, **limits: bounded.calls(
        "masks_cost:read_all", [(str(folder),) for folder in folders], **limits
    )


def _bomb(folder: Path, mode: str, side: int, ending: str = ".png") -> str:
    folder.mkdir(parents=True)
    (folder / "images").mkdir()
    (folder / "masks").mkdir()
    Image.new("L", (side, side)).save(folder / "images/a.png")
    Image.new(mode, (side, side)).save(folder / f"masks/a{ending}")
    (folder / "classes.txt").write_text("bg\ncat\n")
    return str(folder)


@pytest.mark.heavy
def test_huge_masks_stay_within_the_bounds(tmp_path, cost):
    for one in cost(_bomb(tmp_path / "deep", "I;16", 13_370), _bomb(tmp_path / "colours", "RGB", 6_000)):
        assert one.error in ("", "FormatError"), one.text


@pytest.mark.heavy
def test_a_mask_larger_than_its_image_is_not_decoded(tmp_path, cost):
    image(tmp_path / "images/a.png")
    (tmp_path / "masks").mkdir()
    Image.new("I;16", (13_370, 13_370)).save(tmp_path / "masks/a.png")
    (one,) = cost(tmp_path, megabytes=100, seconds=2)
    assert (one.error, "13370 x 13370 pixels, and its image" in one.text) == ("FormatError", True)


@pytest.mark.heavy
def test_long_lists_take_no_time(tmp_path, cost):
    image(tmp_path / "images/a.jpg")
    mask(tmp_path / "masks/a.png", drawn(0))
    (tmp_path / "classes.txt").write_text("".join(f"c{n}\n" for n in range(20_000)))
    (tmp_path / "val.txt").write_text("".join(f"x {n} y z\n" for n in range(100_000)))
    (one,) = cost(tmp_path, megabytes=100, seconds=3)
    assert "names 20000 classes" in one.text


# ---- real -----------------------------------------------------------------------------------------------------------


@pytest.mark.heavy
@pytest.mark.real
def test_real_camvid():
    head, found = read(unpacked("camvid"))
    assert len(found) == 701
    assert len(head.classes) == 11
    counts = {split: sum(record.split == split for record in found.values()) for split in ("train", "val", "test")}
    assert counts == {"train": 367, "val": 101, "test": 233}
    values = pixels(found["train/0001TP_006690.jpg"])
    assert values.shape == (180, 240)
    assert set(np.unique(values)) <= {*range(11), IGNORE}
