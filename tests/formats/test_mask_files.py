"""Masks written and read again without loss; COCO's run lengths against COCO's own code; what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from labelwise.contracts.format import Hints
from labelwise.contracts.kind import Naming
from labelwise.contracts.record import IGNORE, Box, Mask, Polygon
from labelwise.errors import FormatError
from labelwise.exchange.classes import ClassMap
from labelwise.formats.cityscapes import NAMES as CITY
from labelwise.formats.cityscapes import coding_of_file
from labelwise.formats.class_colours import colours
from labelwise.formats.coco import Coco
from labelwise.formats.coco_shapes import decode_counts, decode_segmentation, encode_counts, outlines, run_lengths
from labelwise.formats.index_png import IGNORE_COLOUR, StoredMask, encode_mask
from labelwise.formats.mask_coding import MaskCoding
from labelwise.formats.mask_files import read_integers, read_stored
from labelwise.formats.mask_lists import find_coding, read_classes
from labelwise.kinds import KINDS
from labelwise.kinds.masks import whole
from masks_on_disk import write_cityscapes, write_coco_masks, write_png_masks, write_voc_masks

CLASSES = ("road", "car", "sky")


def _indices(coding: MaskCoding, file: Path) -> np.ndarray:
    return coding.indices(read_stored(file), str(file))


def _masks() -> dict[str, np.ndarray]:
    """Parts that touch nothing, edges or each other; holes; one pixel; one row; nothing at all."""
    base = np.zeros((8, 11), np.uint8)
    parts = base.copy()
    parts[1:3, 1:4] = 1
    parts[5:, 8:] = 1
    parts[4, 4] = 2
    ring = base.copy()
    ring[1:6, 2:8] = 1
    ring[3, 4:6] = 2
    some = base.copy()
    some[2:, :] = IGNORE
    corners = np.indices((8, 11)).sum(0).astype(np.uint8) % 2
    return {
        "a/parts.jpg": parts,
        "a/ring.jpg": ring,
        "one_class.jpg": base,
        "ignored.jpg": np.full_like(base, IGNORE),
        "some.jpg": some,
        "corners.jpg": corners,
        "tiny.jpg": np.array([[2]], np.uint8),
        "row.jpg": np.array([[0, 1, 1, IGNORE, 2, 0]], np.uint8),
        "column.jpg": np.array([[2], [IGNORE], [1]], np.uint8),
    }


@pytest.mark.parametrize("palette", [None, ((1, 2, 3), (200, 0, 0), (0, 0, 99))])
def test_a_folder_of_indices(tmp_path, palette):
    write_png_masks(tmp_path, _masks().items(), MaskCoding(CLASSES, palette=palette))
    coding = find_coding(tmp_path)
    assert coding.classes == CLASSES
    for name, mask in _masks().items():
        file = (tmp_path / "masks" / name).with_suffix(".png")
        np.testing.assert_array_equal(_indices(coding, file), mask)
        assert read_stored(file).mode == "P"


def test_voc(tmp_path):
    write_voc_masks(tmp_path, _masks().items(), MaskCoding(CLASSES), {"val": ["tiny.jpg"]})
    coding = find_coding(tmp_path)
    assert (coding.classes, coding.palette) == (CLASSES, colours(3))
    for name, mask in _masks().items():
        np.testing.assert_array_equal(
            _indices(coding, (tmp_path / "SegmentationClass" / name).with_suffix(".png")), mask
        )
    assert (tmp_path / "ImageSets/Segmentation/val.txt").read_text() == "tiny\n"


def test_cityscapes(tmp_path):
    names = {f"val/bonn/bonn_{n}_leftImg8bit.png": mask for n, mask in enumerate(_masks().values())}
    classes = ("sky", "car", "road")
    write_cityscapes(tmp_path, names.items(), classes)
    back = np.full(256, IGNORE, np.uint8)
    for n, name in enumerate(classes):
        back[CITY.index(name)] = n
    for n, mask in enumerate(names.values()):
        found = _indices(coding_of_file(Path("a")), tmp_path / f"gtFine/val/bonn/bonn_{n}_gtFine_labelTrainIds.png")
        np.testing.assert_array_equal(back[found], mask)
    with pytest.raises(FormatError, match="has no class 'tree'"):
        write_cityscapes(tmp_path, names.items(), ("tree",))
    with pytest.raises(FormatError, match="not called as images of Cityscapes"):
        write_cityscapes(tmp_path, [("a.jpg", mask)], classes)


def test_label_ids_and_train_ids_of_cityscapes_agree():
    assert len(CITY) == 19
    assert [coding_of_file(Path("a_gtFine_labelIds.png")).values[n] for n in (0, 1, 13, 18)] == [7, 8, 26, 33]
    assert coding_of_file(Path("a")).values == tuple(range(19))


@pytest.mark.heavy
@pytest.mark.parametrize("polygons", [False, True])
def test_coco(tmp_path, polygons):
    options = {"outlines": "polygons"} if polygons else {}
    notes = write_coco_masks(tmp_path / "m.json", _masks().items(), CLASSES, **options)
    head, drawn = Coco().read(tmp_path / "m.json", "data", Hints("masks"))
    records = {record.image: record for record in drawn}
    assert (head.classes, head.bare) == (CLASSES, "nothing")
    kind = KINDS.create("masks")
    naming = Naming(ClassMap(head, CLASSES), CLASSES, head)
    for name, mask in _masks().items():
        np.testing.assert_array_equal(whole(kind.from_record(records[name], naming, None)), mask)
    # holes: those of the ring, and the road around everything
    shapes = {type(seen.outline) for record in records.values() for seen in record.objects}
    assert shapes == ({Polygon, Mask} if polygons else {Mask})
    assert any("run lengths: polygons would not give back every pixel" in note for note in notes) is polygons
    ring = records["a/ring.jpg"].objects[1]
    assert isinstance(ring.outline, Mask)
    assert ring.attributes["area"] == 28
    assert ring.box == Box(2, 1, 8, 6)


_bits = st.integers(1, 6).flatmap(
    lambda width: st.lists(st.lists(st.booleans(), min_size=width, max_size=width), min_size=1, max_size=6)
)


@pytest.mark.heavy
@given(_bits)
@settings(max_examples=150, deadline=None)
def test_run_lengths_are_those_of_coco(rows):
    from faster_coco_eval.core import mask as coco

    cover_HW = np.array(rows)
    found = run_lengths(cover_HW)
    theirs = coco.encode(np.asfortranarray(cover_HW.astype(np.uint8)))["counts"]
    assert found["counts"] == (theirs.decode() if isinstance(theirs, bytes) else theirs)
    np.testing.assert_array_equal(decode_segmentation(found, cover_HW.shape[1], cover_HW.shape[0]), cover_HW)
    plain = {"size": found["size"], "counts": decode_counts(found["counts"])}
    np.testing.assert_array_equal(decode_segmentation(plain, cover_HW.shape[1], cover_HW.shape[0]), cover_HW)
    outline = outlines(cover_HW)
    if outline is not None:
        np.testing.assert_array_equal(decode_segmentation(outline, cover_HW.shape[1], cover_HW.shape[0]), cover_HW)


@given(st.lists(st.integers(0, 10**7), min_size=1, max_size=12))
@settings(max_examples=150, deadline=None)
def test_counts_there_and_back(runs):
    assert decode_counts(encode_counts(runs)) == runs


def test_outlines_of_areas_without_holes_are_exact():
    from scipy.ndimage import binary_fill_holes, gaussian_filter

    rng = np.random.default_rng(0)
    for _ in range(20):
        smooth = gaussian_filter(rng.random((30, 40)), 3)
        assert outlines(binary_fill_holes(smooth > np.quantile(smooth, 0.6))) is not None
    assert outlines(np.zeros((3, 3), bool)) is None
    ring = np.ones((3, 3), bool)
    ring[1, 1] = False
    assert outlines(ring) is None


def test_colours_of_voc():
    assert colours(16)[15] == (192, 128, 128)
    assert len(set(colours(255))) == 255


def test_pictures_of_classes_become_indices():
    coding = MaskCoding(CLASSES, palette=colours(3))
    picture = np.array([[colours(3)[2], colours(3)[0], IGNORE_COLOUR]], np.uint8)
    assert coding.indices(StoredMask(None, None, picture, "RGB"), "a").tolist() == [[2, 0, IGNORE]]
    picture[0, 0] = 1, 1, 1
    with pytest.raises(FormatError, match=r"1 pixel\(s\) have the colour #010101"):
        coding.indices(StoredMask(None, None, picture, "RGB"), "a")
    # two classes of one colour: the number decides
    same = MaskCoding(CLASSES, palette=((9, 9, 9), (9, 9, 9), (1, 1, 2)))
    stored = StoredMask(np.array([[0, 1, 2, 255]], np.uint8), same.palette)
    assert same.indices(stored, "a").tolist() == [[0, 1, 2, IGNORE]]


def test_names_that_mean_no_class(tmp_path):
    (tmp_path / "classes.txt").write_text("__ignore__\n_background_\ncar\n")
    assert read_classes(tmp_path / "classes.txt").classes == ("_background_", "car")
    with pytest.raises(FormatError, match="class 'Void' cannot stand"):
        write_png_masks(tmp_path, [], MaskCoding(("Void", "car")))
    with pytest.raises(FormatError, match="300 classes"):
        MaskCoding(tuple(map(str, range(300))))
    with pytest.raises(FormatError, match="2 colours for 3 classes"):
        MaskCoding(CLASSES, palette=colours(2))


def test_numbers_of_instances(tmp_path):
    Image.fromarray(np.array([[7, 26001]], np.uint16)).save(tmp_path / "a.png")
    assert read_integers(tmp_path / "a.png").tolist() == [[7, 26001]]
    Image.new("RGB", (2, 2)).save(tmp_path / "b.png")
    with pytest.raises(FormatError, match="mode RGB"):
        read_integers(tmp_path / "b.png")
    with pytest.raises(FormatError, match="no such file"):
        read_integers(tmp_path / "c.png")


def test_masks_show_the_palette_and_keep_the_indices():
    import io

    image = Image.open(io.BytesIO(encode_mask(np.array([[1, 255]], np.uint8), colours(2))))
    assert np.asarray(image.convert("RGB"))[0].tolist() == [[128, 0, 0], list(IGNORE_COLOUR)]
