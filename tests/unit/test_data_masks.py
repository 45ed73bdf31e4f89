"""Images with masks beside them, in every layout; what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from boxes_on_disk import write_coco
from labelwise.contracts.record import IGNORE
from labelwise.data import open_source
from labelwise.data.mask_labels import mask_of
from labelwise.data.open import task_of
from labelwise.errors import ConfigError, DataError, FormatError
from labelwise.formats.cityscapes import NAMES as CITY
from labelwise.formats.class_colours import colours
from labelwise.formats.index_png import IGNORE_COLOUR
from labelwise.formats.mask_coding import MaskCoding
from labelwise.formats.voc_masks import NAMES
from labelwise.recipes import find
from masks_on_disk import write_cityscapes, write_coco_masks, write_png_masks, write_voc_masks
from unpacked import unpacked

WIDTH, HEIGHT = 9, 7
CLASSES = ("road", "car", "sky")


def _image(path: Path, size=(WIDTH, HEIGHT)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (40, 80, 120)).save(path)


def _mask(path: Path, values, mode="L", palette=None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.asarray(values, np.uint8))
    if palette is not None:
        image.putpalette(np.asarray(palette, np.uint8).ravel().tolist())
    image.save(path)


def _drawn(seed: int, classes=3, ignored=True) -> np.ndarray:
    mask = np.random.default_rng(seed).integers(0, classes, (HEIGHT, WIDTH)).astype(np.uint8)
    if ignored:
        mask[0, :3] = IGNORE
    return mask


def _indices(source, item) -> np.ndarray:
    return mask_of(source.truth[item]).whole().numpy()


@pytest.fixture
def pairs(tmp_path) -> Path:
    """images/a.jpg ... with masks/a.png and classes.txt."""
    names = ["a.jpg", "b.png", "deep/c.jpg", "d.jpg"]
    for name in names:
        _image(tmp_path / "images" / name)
    write_png_masks(tmp_path, [(name, _drawn(n)) for n, name in enumerate(names[:3])], MaskCoding(CLASSES))
    return tmp_path


def test_images_and_masks(pairs):
    source = open_source(pairs)
    assert source.ids == ("a.jpg", "b.png", "d.jpg", "deep/c.jpg")
    assert source.classes == CLASSES
    assert source.palette == colours(3)
    assert list(source.truth) == ["a.jpg", "b.png", "deep/c.jpg"]
    assert "d.jpg" not in source.truth
    assert source.notes() == ["1 image(s) without label"]
    assert source.kind == "masks"
    assert source.truth["a.jpg"]["size"] == [WIDTH, HEIGHT]
    for n, name in enumerate(["a.jpg", "b.png", "deep/c.jpg"]):
        np.testing.assert_array_equal(_indices(source, name), _drawn(n))
    assert task_of(str(pairs)) == "segmentation"
    again = open_source(pairs, labels="masks", ids=["a.jpg", "d.jpg"])
    assert again.ids == ("a.jpg", "d.jpg")
    assert again.root == source.root


def test_segnet_layout_with_a_class_that_is_none(tmp_path):
    for part in ("train", "val", "test"):
        _image(tmp_path / part / f"{part}_1.jpg")
        mask = _drawn(3, ignored=False)
        mask[2, 2] = 3
        _mask(tmp_path / f"{part}annot" / f"{part}_1.png", mask)
    (tmp_path / "classes.txt").write_text("road\ncar\nsky\nunlabelled\n")
    source = open_source(tmp_path)
    assert source.ids == ("test/test_1.jpg", "train/train_1.jpg", "val/val_1.jpg")
    assert source.classes == CLASSES
    assert source.roles == {"test/test_1.jpg": "test", "val/val_1.jpg": "validation"}
    indices = _indices(source, "train/train_1.jpg")
    assert indices[2, 2] == IGNORE
    assert (indices == IGNORE).sum() == 1


def test_a_class_that_is_none_may_stand_first(tmp_path):
    _image(tmp_path / "images" / "a.jpg")
    _mask(tmp_path / "masks" / "a.png", np.tile(np.arange(3), (HEIGHT, 3)))
    (tmp_path / "classes.txt").write_text("void\nroad\ncar\n")
    source = open_source(tmp_path)
    assert source.classes == ("road", "car")
    assert _indices(source, "a.jpg")[0, :3].tolist() == [IGNORE, 0, 1]


@pytest.mark.parametrize("layout", ["images/{0}/x.jpg masks/{0}/x.png", "{0}/images/x.jpg {0}/labels/x_mask.png"])
def test_splits_above_and_below(tmp_path, layout):
    for part in ("train", "val"):
        image, mask = layout.format(part).split()
        _image(tmp_path / image.replace("x", part))
        _mask(tmp_path / mask.replace("x", part), _drawn(1))
    source = open_source(tmp_path)
    assert len(source.truth) == 2
    assert list(source.roles.values()) == ["validation"]
    assert source.classes == ("class 0", "class 1", "class 2")
    assert "classes.txt" in source.notes()[0]


def test_splits_by_lists(pairs):
    (pairs / "val.txt").write_text("a\n")
    (pairs / "test.txt").write_text("/data/images/b.png /data/masks/b.png\n")
    assert open_source(pairs).roles == {"a.jpg": "validation", "b.png": "test"}
    (pairs / "test.txt").write_text("b\n\nz\n")
    assert any(
        "1 name(s) in lists of the set are not there: 'z (in test.txt)'" in note for note in open_source(pairs).notes()
    )
    (pairs / "test.txt").write_text("a\n")
    source = open_source(pairs)
    assert source.roles == {"a.jpg": "test"}
    assert any("1 image(s) are in two splits" in note for note in source.notes())


def test_face_masks_and_yolo_are_no_masks(tmp_path):
    for name in ("masks/1.png", "hats/2.png"):
        _image(tmp_path / "faces" / name)
    assert task_of(str(tmp_path / "faces")) is None
    assert open_source(tmp_path / "faces").classes == ("hats", "masks")
    _image(tmp_path / "yolo" / "images" / "a.jpg")
    (tmp_path / "yolo" / "labels").mkdir()
    (tmp_path / "yolo" / "labels" / "a.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    (tmp_path / "yolo" / "data.yaml").write_text("names: [x]\n")
    assert task_of(str(tmp_path / "yolo")) == "detection"


def test_boxes_and_masks_in_one_folder_need_a_word(pairs):
    labels = {"a.jpg": {"size": [WIDTH, HEIGHT], "objects": [{"class": "car", "box": [0, 0, 2, 2]}]}}
    write_coco(pairs / "annotations.json", labels, ("car",))
    with pytest.raises(ConfigError, match=r"may be coco .* or masks .*: say which with --format coco or masks"):
        task_of(str(pairs))
    assert open_source(pairs, task="segmentation").classes == CLASSES
    assert open_source(pairs, task="detection").classes == ("car",)
    with pytest.raises(ConfigError, match="may be coco"):
        open_source(pairs)


def test_a_study_finds_its_task_by_the_masks(pairs):
    assert find(str(pairs)).recipe.task.name == "segmentation"
    write_coco(pairs / "annotations.json", {"a.jpg": {"size": [WIDTH, HEIGHT], "objects": []}}, ("car",))
    with pytest.raises(ConfigError, match="say which with --format"):
        find(str(pairs))
    assert find(str(pairs), {"task": "segmentation"}).recipe.task.name == "segmentation"


# ---- VOC ------------------------------------------------------------------------------------------------------------


def test_voc_masks_lists_and_objects(tmp_path):
    names = ["2007_1.jpg", "2007_2.jpg", "2007_3.jpg"]
    for name in names:
        _image(tmp_path / "JPEGImages" / name)
    masks = [(name, _drawn(n, 21)) for n, name in enumerate(names[:2])]
    write_voc_masks(tmp_path, masks, MaskCoding(NAMES, palette=colours(21)), {"train": names[:1], "val": names[1:2]})
    (tmp_path / "labelmap.txt").unlink()
    _mask(tmp_path / "SegmentationObject" / "2007_1.png", np.full((HEIGHT, WIDTH), 4))
    source = open_source(tmp_path)
    assert source.classes == NAMES
    assert len(source.truth) == 2
    assert source.roles == {"2007_2.jpg": "validation"}
    for name, mask in masks:
        np.testing.assert_array_equal(_indices(source, name), mask)
    assert source.instances("2007_1.jpg").tolist() == np.full((HEIGHT, WIDTH), 4).tolist()
    assert source.instances("2007_2.jpg") is None


def test_voc_layout_with_a_labelmap_and_colours(tmp_path):
    _image(tmp_path / "JPEGImages" / "a.jpg")
    (tmp_path / "labelmap.txt").write_text("# label:color_rgb:parts:actions\nback:0,0,0::\ncar:250,50,83::\n")
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    picture[1, 1] = 250, 50, 83
    picture[2, 2] = IGNORE_COLOUR
    (tmp_path / "SegmentationClass").mkdir()
    Image.fromarray(picture).save(tmp_path / "SegmentationClass" / "a.png")
    source = open_source(tmp_path)
    assert (source.classes, source.palette) == (("back", "car"), ((0, 0, 0), (250, 50, 83)))
    indices = _indices(source, "a.jpg")
    assert (indices[1, 1], indices[2, 2], indices[0, 0]) == (1, IGNORE, 0)


# ---- Cityscapes -----------------------------------------------------------------------------------------------------


def _frame(root: Path, split: str, city: str, number: int) -> str:
    name = f"{split}/{city}/{city}_{number:06d}_000019_leftImg8bit.png"
    _image(root / "leftImg8bit" / name)
    return name


def test_cityscapes_in_train_ids(tmp_path):
    names = [
        _frame(tmp_path, "train", "aachen", 0),
        _frame(tmp_path, "train", "bochum", 1),
        _frame(tmp_path, "val", "bonn", 2),
    ]
    hidden = _frame(tmp_path, "test", "berlin", 3)
    masks = [(name, _drawn(n, 19)) for n, name in enumerate([*names, hidden])]
    write_cityscapes(tmp_path, masks, CITY)
    source = open_source(tmp_path)
    assert source.ids == tuple(sorted(names))
    assert source.classes[:2] == ("road", "sidewalk")
    assert source.palette[13] == (0, 0, 142)
    assert source.roles == {names[2]: "test"}
    assert source.groups[names[0]] == "aachen"
    assert any("1 image(s) of test left out" in note for note in source.notes())
    for name, mask in masks[:3]:
        np.testing.assert_array_equal(_indices(source, name), mask)
    # a city that is trained and tested on is no group
    _frame(tmp_path, "val", "aachen", 7)
    assert set(open_source(tmp_path).groups.values()) == {"bochum", "bonn"}


def test_cityscapes_in_label_ids_and_instances(tmp_path):
    name = _frame(tmp_path, "train", "aachen", 0)
    start = tmp_path / "gtFine" / name.removesuffix("_leftImg8bit.png")
    ids = np.zeros((HEIGHT, WIDTH), np.uint8)
    ids[0, :6] = [7, 26, 33, 29, 23, 255]
    _mask(Path(f"{start}_gtFine_labelIds.png"), ids)
    numbers = np.full((HEIGHT, WIDTH), 26001, np.uint16)
    Image.fromarray(numbers).save(f"{start}_gtFine_instanceIds.png")
    _mask(Path(f"{start}_gtFine_color.png"), ids)
    source = open_source(tmp_path)
    assert _indices(source, name)[0, :7].tolist() == [0, 13, 18, IGNORE, 10, IGNORE, IGNORE]
    assert source.instances(name).max() == 26001
    # train ids win where both are there
    _mask(Path(f"{start}_gtFine_labelTrainIds.png"), np.full((HEIGHT, WIDTH), 5))
    assert set(_indices(open_source(tmp_path), name).ravel()) == {5}
    # a mask without image
    (tmp_path / "leftImg8bit" / name).rename(tmp_path / "leftImg8bit" / name.replace("000000", "000009"))
    with pytest.raises(FormatError, match=r"is a mask without image: there is no 'train/aachen/aachen_000000"):
        open_source(tmp_path)


# ---- COCO -----------------------------------------------------------------------------------------------------------


def _coco(root: Path, objects, categories=("car", "dog"), **extra) -> Path:
    _image(root / "images" / "a.jpg")
    number = {name: n for n, name in enumerate(categories, 1)}
    annotations = [
        {"id": n, "image_id": 1, "category_id": number[name], "bbox": [0, 0, 1, 1], "segmentation": mask, **more}
        for n, (name, mask, more) in enumerate(objects, 1)
    ]
    data = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": WIDTH, "height": HEIGHT}],
        "annotations": annotations,
        "categories": [{"id": n, "name": name} for name, n in number.items()],
        **extra,
    }
    (root / "annotations.json").write_text(json.dumps(data))
    return root


def _square(x, y, side) -> list[list[int]]:
    return [[x, y, x + side, y, x + side, y + side, x, y + side]]


def test_coco_instances_are_painted_small_over_large_over_crowds(tmp_path):
    crowd = {"size": [HEIGHT, WIDTH], "counts": [0, HEIGHT * WIDTH]}
    objects = [
        ("dog", _square(1, 1, 2), {}),
        ("car", _square(0, 0, 4), {}),
        ("dog", crowd, {"iscrowd": 1}),
        ("car", _square(6, 4, 2), {}),
        ("dog", _square(6, 4, 2), {}),
    ]
    source = open_source(_coco(tmp_path, objects), task="segmentation")
    assert source.classes == ("background", "car", "dog")
    expected = np.full((HEIGHT, WIDTH), 2)
    expected[:4, :4] = 1
    expected[1:3, 1:3] = 2
    np.testing.assert_array_equal(_indices(source, "a.jpg"), expected)
    assert sorted(np.unique(source.instances("a.jpg")).tolist()) == [1, 2, 3, 5]


def test_pixels_of_no_instance(tmp_path):
    objects = [("car", _square(0, 0, 4), {})]
    plain = open_source(_coco(tmp_path / "1", objects), task="segmentation")
    assert set(_indices(plain, "a.jpg").ravel()) == {0, 1}
    named = open_source(_coco(tmp_path / "2", objects, ("car", "background")), task="segmentation")
    assert named.classes == ("car", "background")
    assert set(_indices(named, "a.jpg").ravel()) == {0, 1}
    drawn = [*objects, ("background", _square(5, 0, 2), {})]
    drawn = open_source(_coco(tmp_path / "4", drawn, ("car", "background")), task="segmentation")
    assert set(_indices(drawn, "a.jpg").ravel()) == {0, 1, IGNORE}
    said = open_source(_coco(tmp_path / "3", objects, info={"unannotated": "ignore"}), task="segmentation")
    assert (said.classes, set(_indices(said, "a.jpg").ravel())) == (("car", "dog"), {0, IGNORE})


def test_coco_file_by_name_and_real_ones(tmp_path):
    _coco(tmp_path, [("car", _square(0, 0, 4), {})])
    assert open_source(tmp_path / "annotations.json", task="segmentation").classes == ("background", "car", "dog")
    assert task_of(str(tmp_path)) == "detection"
    assert task_of(str(tmp_path), labels="coco_masks") == "segmentation"
    assert open_source(tmp_path, task="segmentation", labels="coco").classes == ("background", "car", "dog")


@pytest.mark.heavy
@pytest.mark.real
def test_real_coco_masks():
    source = open_source(unpacked("coco_mini"), task="segmentation")
    assert len(source.truth) == 101
    assert source.classes[:2] == ("background", "person")
    found = _indices(source, next(iter(source.truth)))
    assert found.max() <= 80


# ---- refused --------------------------------------------------------------------------------------------------------


def _refused(folder: Path, **options) -> str:
    """The line that opening a folder and reading all of its masks ends with."""
    with pytest.raises(DataError) as caught:
        dict(open_source(folder, **options).truth)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_masks_of_another_size(pairs):
    _mask(pairs / "masks" / "b.png", np.zeros((3, 3)))
    assert "b.png': 'b.png' was labelled at 3 x 3 pixels and has 9 x 7 as people see it" in _refused(pairs)


def test_values_that_are_no_class(pairs):
    mask = _drawn(0)
    mask[3, :2] = 7
    _mask(pairs / "masks" / "a.png", mask)
    assert "a.png': 2 pixel(s) have the value 7; allowed are 0 to 2 (road to sky) and 255 (no class)" in _refused(pairs)


def test_broken_coco_masks(tmp_path):
    def refused(mask) -> str:
        return _refused(_coco(tmp_path, [("car", mask, {})]), task="segmentation")

    assert "a corner at x = 12, outside the image of 9 x 7" in refused(_square(8, 1, 4))
    assert "a corner at y = -5, outside the image" in refused([[0, -5, 2, -5, 2, 2]])
    assert "run lengths do not decode" in refused({"size": [HEIGHT, WIDTH], "counts": "zzz~"})
    assert "sum to 3" in refused({"size": [HEIGHT, WIDTH], "counts": [1, 2]})
    assert "the mask has size [9, 7]" in refused({"size": [WIDTH, HEIGHT], "counts": [0, 63]})
    # boxes alone are no masks, and are opened as what they are
    assert open_source(_coco(tmp_path, [("car", [], {})]), task="segmentation").kind == "boxes"


def test_coco_is_written_and_read_as_a_set(tmp_path):
    _image(tmp_path / "images" / "a.jpg")
    mask = _drawn(5)
    write_coco_masks(tmp_path / "annotations.json", [("a.jpg", mask)], CLASSES)
    source = open_source(tmp_path, task="segmentation")
    assert source.classes == CLASSES
    np.testing.assert_array_equal(_indices(source, "a.jpg"), mask)
