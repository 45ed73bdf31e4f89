"""Masks as people and tools lay them down: read, or refused with the reason, and never taken for images of the pool."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from labelwise.contracts.format import Hints
from labelwise.contracts.record import IGNORE
from labelwise.data.folder import ImageFolder
from labelwise.errors import FormatError
from labelwise.formats.png_masks import PngMasks

WIDTH, HEIGHT = 40, 30
MASK = np.zeros((HEIGHT, WIDTH), np.uint8)
MASK[5:10, 5:20] = 1


def _image(path: Path, seed: int = 0, *, orientation: int = 0, size=(WIDTH, HEIGHT)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), np.uint8)
    exif = Image.Exif()
    if orientation:
        exif[0x112] = orientation
    Image.fromarray(pixels).save(path, exif=exif)


def _mask(path: Path, values=MASK, mode: str | None = None, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.asarray(values))
    (image if mode is None else image.convert(mode)).save(path, **options)


def _classes(folder: Path, *names: str) -> None:
    (folder / "classes.txt").write_text("".join(f"{name}\n" for name in names))


def _read(folder: Path, **hints):
    assert PngMasks().sniff(folder, "data").sure >= 0.8
    head, records = PngMasks().read(folder, "data", Hints(**hints))
    return head, {record.image: record for record in records}


def _pixels(record) -> np.ndarray:
    found = record.pixels.read()
    assert found.shape == record.pixels.size[::-1]
    return found


def _pool(folder: Path, head) -> set[str]:
    """What is left of the pictures below the root."""
    ids = {path.relative_to(head.root).as_posix() for path in head.root.rglob("*") if path.is_file()}
    pictures = {item for item in ids if Path(item).suffix.lower() in (".jpg", ".png", ".bmp", ".gif", ".tif", ".tiff")}
    return pictures - head.strangers


# ---- 10: masks of other endings -------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".bmp", ".BMP", ".tif", ".tiff", ".TIF", ".gif", ".png", ".PNG", ".pgm", ".dib"])
def test_masks_of_any_kind_that_keeps_every_pixel(tmp_path, ending):
    for n in range(3):
        _image(tmp_path / f"images/{n}.jpg", n)
        _mask(tmp_path / f"masks/{n}{ending}")
    _classes(tmp_path, "bg", "cat")
    head, found = _read(tmp_path)
    assert head.classes == ("bg", "cat")
    assert list(found) == ["0.jpg", "1.jpg", "2.jpg"]
    for record in found.values():
        assert (record.state, record.pixels.size) == ("answered", (WIDTH, HEIGHT))
        np.testing.assert_array_equal(_pixels(record), MASK)
    assert head.notes == ()
    # whoever opens the folder for classes or without any task does not get the masks
    assert ImageFolder(tmp_path).ids == ("images/0.jpg", "images/1.jpg", "images/2.jpg")


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_tiff_masks_in_exact_compressions(tmp_path, compression):
    _image(tmp_path / "images/a.jpg")
    _mask(tmp_path / "masks/a.tif", compression=compression)
    _classes(tmp_path, "bg", "cat")
    np.testing.assert_array_equal(_pixels(_read(tmp_path)[1]["a.jpg"]), MASK)


@pytest.mark.parametrize(
    ("values", "name"),
    [
        (MASK.astype(np.uint16), "a.png"),
        (MASK.astype(np.uint16), "a.tif"),
        (MASK.astype(np.int32), "a.tif"),
        (MASK.astype(np.float32), "a.tif"),
        (np.repeat(MASK[..., None], 3, 2), "a.png"),
        (np.repeat(MASK[..., None], 3, 2), "a.bmp"),
        (MASK.astype(bool), "a.png"),
        (MASK.astype(bool), "a.tif"),
    ],
)
def test_masks_of_other_depths(tmp_path, values, name):
    """Sixteen bits, floats of whole numbers, grey in three channels, one bit."""
    _image(tmp_path / "images/a.jpg")
    _mask(tmp_path / "masks" / name, values)
    _classes(tmp_path, "bg", "cat")
    np.testing.assert_array_equal(_pixels(_read(tmp_path)[1]["a.jpg"]), MASK)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.where(MASK, 1003, 0).astype(np.uint16), "more than eight bits from 0 to 1003"),
        (np.where(MASK, 65535, 0).astype(np.uint16), "more than eight bits from 0 to 65535"),
        (np.where(MASK, 0.5, 0).astype(np.float32), "more than eight bits from 0 to 0.5"),
        (np.where(MASK, np.nan, 0).astype(np.float32), "more than eight bits"),
        (np.where(MASK, -1, 0).astype(np.int32), "more than eight bits from -1 to 0"),
    ],
)
def test_deep_masks_that_are_no_class_numbers(tmp_path, values, said):
    _image(tmp_path / "images/a.jpg")
    _mask(tmp_path / "masks/a.tif", values)
    _classes(tmp_path, "bg", "cat")
    with pytest.raises(FormatError, match=said):
        _read(tmp_path)


@pytest.mark.parametrize("name", ["a.jpg", "a.JPEG", "a.webp"])
def test_masks_that_lost_pixels_are_refused_with_the_reason(tmp_path, name):
    _image(tmp_path / "images/a.jpg")
    _mask(tmp_path / "masks" / name, MASK * 255)
    _classes(tmp_path, "bg", "cat")
    with pytest.raises(FormatError, match="lossy"):
        _read(tmp_path)
    assert ImageFolder(tmp_path).ids == ("images/a.jpg",)


def test_a_jpeg_that_is_called_png_is_refused_too(tmp_path):
    _image(tmp_path / "images/a.jpg")
    _mask(tmp_path / "masks/a.png", MASK * 255, format="JPEG")
    _mask(tmp_path / "masks/b.tif", MASK * 255, compression="jpeg")
    _image(tmp_path / "images/b.jpg")
    _classes(tmp_path, "bg", "cat")
    with pytest.raises(FormatError, match="JPEG file, which is lossy"):
        _read(tmp_path)
    (tmp_path / "masks/a.png").unlink()
    with pytest.raises(FormatError, match="compressed as jpeg, which is lossy"):
        _read(tmp_path)


def test_several_pages_are_refused(tmp_path):
    _image(tmp_path / "images/a.jpg")
    pages = [Image.fromarray(MASK), Image.fromarray(MASK * 0)]
    (tmp_path / "masks").mkdir()
    pages[0].save(tmp_path / "masks/a.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(FormatError, match="holds several pictures"):
        _read(tmp_path, classes=("bg", "cat"))


def test_the_colours_of_a_gif_count_not_its_numbers(tmp_path):
    """Pillow numbers the greys of a GIF anew: 0 and 2 become 0 and 1."""
    _image(tmp_path / "images/a.jpg")
    _mask(tmp_path / "masks/a.gif", MASK * 2)
    _classes(tmp_path, "road", "car", "sky")
    np.testing.assert_array_equal(_pixels(_read(tmp_path)[1]["a.jpg"]), MASK * 2)


def test_a_palette_of_greys_that_could_mean_either_is_refused(tmp_path):
    _image(tmp_path / "images/a.jpg")
    image = Image.fromarray(MASK)
    image.putpalette([0, 0, 0, 2, 2, 2])
    (tmp_path / "masks").mkdir()
    image.save(tmp_path / "masks/a.png")
    _classes(tmp_path, "road", "car", "sky")
    with pytest.raises(FormatError, match="number 1 is shown as grey 2, and both stand for a class"):
        _pixels(_read(tmp_path)[1]["a.jpg"])
    _classes(tmp_path, "road", "car")
    np.testing.assert_array_equal(_pixels(_read(tmp_path)[1]["a.jpg"]), MASK)


# ---- 10c, 10e: layouts ----------------------------------------------------------------------------------------------


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("{0}/image/x.jpg", "{0}/label/x.png"),
        ("{0}/images/x.jpg", "{0}/labels/x.png"),
        ("{0}/img/x.png", "{0}/mask/x.png"),
        ("{0}/images/x.jpg", "{0}/annotations/x_mask.png"),
        ("image/{0}/x.jpg", "label/{0}/x.png"),
        ("{0}/x.jpg", "{0}annot/x.png"),
        ("{0}_images/x.jpg", "{0}_masks/x.png"),
        ("images_{0}/x.jpg", "labels_{0}/x.tif"),
        ("{0}/x.png", "{0}_labels/x_L.png"),
        ("{0}/x.jpg", "{0}/x_mask.png"),
        ("{0}/x.jpg", "{0}/masks/x.png"),
        ("data/{0}/Image/x.jpg", "data/{0}/GT/x.bmp"),
    ],
)
@pytest.mark.parametrize("words", [("train", "test"), ("Train", "Val"), ("training", "validation")])
def test_layouts_with_splits(tmp_path, image, mask, words):
    for seed, word in enumerate(words):
        for n in range(3):
            _image(tmp_path / image.format(word).replace("x", f"{word}{n}"), 3 * seed + n)
            _mask(tmp_path / mask.format(word).replace("x", f"{word}{n}"))
    _classes(tmp_path, "bg", "cat")
    head, found = _read(tmp_path)
    assert len(found) == 6
    for name, record in found.items():
        np.testing.assert_array_equal(_pixels(record), MASK)
        word = next(word for word in words if f"{word}0" in name or f"{word}1" in name or f"{word}2" in name)
        assert record.split.lower() == word.lower()
    assert _pool(tmp_path, head) == set(found)
    assert len(ImageFolder(tmp_path).ids) == 6


@pytest.mark.parametrize(
    "mask",
    ["a_mask.png", "a_label.png", "a-mask.png", "a_seg.png", "a.mask.png", "a_mask.bmp", "a_mask.PNG", "a_gt.tif",
     "a_segmentation.png", "mask_a.png", "a.png", "a mask.gif", "a_Mask.png", "a_annotation.png"],
)  # fmt: skip
def test_masks_beside_their_images(tmp_path, mask):
    for n in range(3):
        _image(tmp_path / f"{n}.jpg", n)
        _mask(tmp_path / mask.replace("a", str(n), 1) if mask[0] == "a" else tmp_path / mask.replace("_a", f"_{n}"))
    _classes(tmp_path, "bg", "cat")
    head, found = _read(tmp_path)
    assert list(found) == ["0.jpg", "1.jpg", "2.jpg"]
    for record in found.values():
        np.testing.assert_array_equal(_pixels(record), MASK)
    assert _pool(tmp_path, head) == {"0.jpg", "1.jpg", "2.jpg"}
    assert any("3 mask(s) lie beside their images" in note for note in head.notes)
    assert ImageFolder(tmp_path).ids == ("0.jpg", "1.jpg", "2.jpg")


def test_images_without_mask_are_untouched(tmp_path):
    for n in range(3):
        _image(tmp_path / f"{n}.jpg", n)
    _mask(tmp_path / "1_mask.png")
    _classes(tmp_path, "bg", "cat")
    head, found = _read(tmp_path)
    assert [record.state for record in found.values()] == ["untouched", "answered", "untouched"]
    assert head.strangers == {"1_mask.png"}


# ---- 11c: ADE20K ----------------------------------------------------------------------------------------------------


def test_ade20k(tmp_path):
    for part in ("training", "validation"):
        for n in range(2):
            _image(tmp_path / f"images/{part}/ADE_{part}_{n}.jpg", n)
            _mask(tmp_path / f"annotations/{part}/ADE_{part}_{n}.png", np.where(MASK, 2, 0).astype(np.uint8))
    (tmp_path / "objectInfo150.txt").write_text(
        "Idx\tRatio\tTrain\tVal\tName\n1\t0.1\t9\t9\twall\n2\t0.1\t9\t9\tbuilding, edifice\n3\t0.1\t9\t9\tsky\n"
    )
    (tmp_path / "sceneCategories.txt").write_text("ADE_training_0 bathroom\nADE_validation_1 street\n")
    head, found = _read(tmp_path)
    assert head.classes == ("wall", "building, edifice", "sky")
    assert [record.split for record in found.values()] == ["training"] * 2 + ["validation"] * 2
    first = _pixels(found["training/ADE_training_0.jpg"])
    np.testing.assert_array_equal(first, np.where(MASK, 1, IGNORE))
    assert found["training/ADE_training_0.jpg"].extra == {"scene": "bathroom"}
    assert any("0 has no class" in note for note in head.notes)
    assert head.root == tmp_path / "images"


# ---- 255 ------------------------------------------------------------------------------------------------------------


def _binary(folder: Path, *names: str, count: int = 12) -> None:
    for n in range(count):
        _image(folder / f"images/{n}.jpg", n)
        _mask(folder / f"masks/{n}.png", MASK * 255)
    if names:
        _classes(folder, *names)


def test_black_and_white_masks_are_background_and_foreground(tmp_path):
    _binary(tmp_path, "bg", "cat")
    head, found = _read(tmp_path)
    np.testing.assert_array_equal(_pixels(found["3.jpg"]), MASK)
    assert any("0 is taken for 'bg', 255 for 'cat'" in note for note in head.notes)


def test_black_and_white_masks_without_any_list(tmp_path):
    _binary(tmp_path)
    head, found = _read(tmp_path)
    assert head.classes == ("background", "foreground")
    np.testing.assert_array_equal(_pixels(found["3.jpg"]), MASK)
    assert any("255 for 'foreground'" in note for note in head.notes)
    head, found = _read(tmp_path, classes=("ground", "tree"))
    assert head.classes == ("ground", "tree")
    np.testing.assert_array_equal(_pixels(found["3.jpg"]), MASK)


@pytest.mark.parametrize("names", [("cat",), ("bg", "cat", "dog")])
def test_black_and_white_masks_of_other_numbers_of_classes_are_refused(tmp_path, names):
    _binary(tmp_path, *names)
    with pytest.raises(FormatError, match="nothing but 0 and 255"):
        _read(tmp_path)


def test_one_mask_of_the_set_tells_what_255_means(tmp_path):
    _binary(tmp_path, "bg", "cat")
    _mask(tmp_path / "masks/9.png", MASK)  # the last one by name
    head, found = _read(tmp_path)
    assert set(np.unique(_pixels(found["0.jpg"]))) == {0, IGNORE}
    assert any("255 is taken for pixels without class" in note for note in head.notes)


def test_the_palette_of_voc_tells_what_255_means(tmp_path):
    from labelwise.formats.index_png import encode_mask

    _image(tmp_path / "images/a.jpg")
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks/a.png").write_bytes(encode_mask(MASK * 255, [(0, 0, 0), (128, 0, 0)]))
    _classes(tmp_path, "bg", "cat")
    head, found = _read(tmp_path)
    assert set(np.unique(_pixels(found["a.jpg"]))) == {0, IGNORE}
    assert head.notes == ()


def test_a_list_may_say_what_white_is(tmp_path):
    _binary(tmp_path)
    (tmp_path / "labelmap.txt").write_text("ground:0,0,0::\ntree:255,255,255::\nsky:0,0,255::\n")
    head, found = _read(tmp_path)
    assert head.classes == ("ground", "tree", "sky")
    np.testing.assert_array_equal(_pixels(found["0.jpg"]), MASK)


def test_values_that_are_grey_levels_are_no_classes(tmp_path):
    _image(tmp_path / "images/a.jpg")
    _mask(tmp_path / "masks/a.png", np.arange(HEIGHT * WIDTH, dtype=np.int64).reshape(HEIGHT, WIDTH).astype(np.uint8))
    with pytest.raises(FormatError, match="look like grey levels"):
        _read(tmp_path)
    _mask(tmp_path / "masks/a.png", np.where(MASK, 128, 0).astype(np.uint8))
    with pytest.raises(FormatError, match="look like grey levels"):
        _read(tmp_path)
    _classes(tmp_path, "bg", "cat")
    with pytest.raises(FormatError, match="have the value 128; allowed are 0 to 1"):
        _pixels(_read(tmp_path)[1]["a.jpg"])


# ---- turned pictures ------------------------------------------------------------------------------------------------


def _turned(folder: Path, orientation: int, name: str = "a") -> np.ndarray:
    """A picture with a tag, and a mask drawn on its stored pixels; what the mask shows when the picture is upright."""
    _image(folder / f"images/{name}.jpg", orientation=orientation)
    stored = np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) % 2
    stored[:3, :5] = 0
    _mask(folder / f"masks/{name}.png", stored.astype(np.uint8))
    tagged = io.BytesIO()
    exif = Image.Exif()
    exif[0x112] = orientation
    Image.fromarray(stored.astype(np.uint8)).save(tagged, "PNG", exif=exif)
    return np.asarray(ImageOps.exif_transpose(Image.open(tagged)))


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_masks_drawn_before_the_picture_was_turned_are_turned_with_it(tmp_path, orientation):
    upright = _turned(tmp_path, orientation)
    _classes(tmp_path, "bg", "cat")
    head, found = _read(tmp_path)
    assert found["a.jpg"].pixels.size == (HEIGHT, WIDTH)
    np.testing.assert_array_equal(_pixels(found["a.jpg"]), upright)
    assert any("1 mask(s) were drawn on images as they are stored" in note for note in head.notes)


@pytest.mark.parametrize("orientation", [2, 3, 4])
def test_what_sides_do_not_tell_is_told_by_other_masks_of_the_set(tmp_path, orientation):
    upright = _turned(tmp_path, orientation)
    _classes(tmp_path, "bg", "cat")
    head, found = _read(tmp_path)
    assert any("1 image(s) are turned by their EXIF tag" in note and "as it is shown" in note for note in head.notes)
    assert (_pixels(found["a.jpg"]) != upright).any()
    _turned(tmp_path, 6, "b")
    head, found = _read(tmp_path)
    np.testing.assert_array_equal(_pixels(found["a.jpg"]), upright)
    assert any("as it is stored" in note for note in head.notes)


def test_masks_of_pictures_as_they_are_shown_stay(tmp_path):
    _image(tmp_path / "images/a.jpg", orientation=6)
    _mask(tmp_path / "masks/a.png", np.ascontiguousarray(MASK.T))
    _classes(tmp_path, "bg", "cat")
    head, found = _read(tmp_path)
    np.testing.assert_array_equal(_pixels(found["a.jpg"]), MASK.T)
    assert head.notes == ()


def test_a_mask_that_is_turned_by_its_own_tag(tmp_path):
    _image(tmp_path / "images/a.jpg", size=(HEIGHT, WIDTH))
    exif = Image.Exif()
    exif[0x112] = 6
    _mask(tmp_path / "masks/a.png", MASK, exif=exif)
    _classes(tmp_path, "bg", "cat")
    np.testing.assert_array_equal(_pixels(_read(tmp_path)[1]["a.jpg"]), np.rot90(MASK, -1))
