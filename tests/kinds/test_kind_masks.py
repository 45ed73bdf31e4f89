"""Masks as records and back: pixels, polygons and run lengths, windows, regions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from labelwise.contracts.kind import Look, Naming, Panel
from labelwise.contracts.record import IGNORE, Box, Head, Mask, Polygon, Record, Seen, Where
from labelwise.drawing.masks import SIDE
from labelwise.errors import DataError, FormatError
from labelwise.formats.coco_shapes import decode_segmentation
from labelwise.kinds.masks import Masks, png_size, raw_mask, whole, window

NAMES = ("road", "car", "sky")
KIND = Masks()
OWN = Head(classes=NAMES)


def naming(head=OWN, classes=NAMES, left_out=()):
    def of(name):
        if name in left_out:
            return ""
        if isinstance(name, int) or name not in classes:
            raise FormatError(f"unknown class {name!r}")
        return name

    return Naming(of, classes, head)


def record(*objects, size=(8, 6), **more):
    return Record(Where("a.json", "image", 2), "a.png", size=size, objects=objects, **more)


def pixels(indices, at=(0, 0), **more):
    indices = np.array(indices, np.uint8)
    return Mask(indices.shape[::-1], lambda: indices, at, **more)


def square(name, x1, y1, x2, y2, **more):
    return Seen(name, outline=Polygon(((x1, y1, x2, y1, x2, y2, x1, y2),)), **more)


def painted(found, size=None, names=None):
    return whole(KIND.from_record(found, names or naming(), size))


# ---- there and back -------------------------------------------------------------------------------------------------


@st.composite
def raws(draw):
    width, height = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    x, y = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    across, down = draw(st.integers(1, width - x)), draw(st.integers(1, height - y))
    values = draw(st.lists(st.sampled_from([0, 1, 2, IGNORE]), min_size=across * down, max_size=across * down))
    return raw_mask(np.array(values, np.uint8).reshape(down, across), (width, height), (x, y))


@settings(max_examples=100, deadline=None)
@given(raws())
def test_every_raw_label_comes_back_as_it_was(raw):
    KIND.check(raw, NAMES, tuple(raw["size"]))
    found = KIND.to_record("a.png", raw, NAMES)
    assert found.pixels.read().shape == found.pixels.size[::-1]
    assert KIND.from_record(found, naming(), tuple(raw["size"])) == raw
    assert KIND.from_record(found, naming(), None) == raw


def test_nothing_is_decoded_before_somebody_looks(tmp_path):
    raw = raw_mask(np.zeros((6, 8), np.uint8), (8, 6))
    broken = {**raw, "png": raw["png"][:60]}
    found = KIND.to_record("a.png", broken, NAMES)
    assert found.pixels.size == (8, 6)
    with pytest.raises(FormatError):
        found.pixels.read()


def test_classes_are_those_of_the_project_whatever_the_file_numbers():
    head = Head(classes=("sky", "void", "road"))
    found = record(pixels=pixels([[0, 1, 2, IGNORE]]), size=(4, 1))
    assert painted(found, names=naming(head, left_out=("void",))).tolist() == [[2, IGNORE, 0, IGNORE]]
    # a class that the project does not have is no matter as long as no pixel has it
    fine = record(pixels=pixels([[0, 2]]), size=(2, 1))
    assert painted(fine, names=naming(Head(classes=("sky", "tree", "road")))).tolist() == [[2, 0]]
    with pytest.raises(FormatError, match="unknown class 'tree'"):
        painted(record(pixels=pixels([[1]]), size=(1, 1)), names=naming(Head(classes=("sky", "tree"))))
    with pytest.raises(FormatError, match="holds the value 7, and its classes are 0 to 1"):
        painted(record(pixels=pixels([[7]]), size=(1, 1)), names=naming(Head(classes=("sky", "road"))))


# ---- sizes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("said", [None, (8, 6)])
@pytest.mark.parametrize("size", [(6, 8), (16, 12), (8, 7)])
def test_a_mask_of_another_size_than_its_picture_is_refused(size, said):
    with pytest.raises(FormatError) as caught:
        painted(record(pixels=pixels(np.zeros((6, 8))), size=said), size)
    assert "8 x 6" in str(caught.value)
    assert f"{size[0]} x {size[1]}" in str(caught.value)
    assert len(str(caught.value)) < 300


def test_a_window_stays_one_and_may_not_leave_the_picture():
    found = KIND.from_record(record(pixels=pixels([[1, 2]], at=(3, 4))), naming(), (8, 6))
    assert found["at"] == [3, 4]
    assert KIND.cost(found)["pixels"] == 2
    for at in ((7, 0), (-1, 0), (0, 6)):
        with pytest.raises(FormatError, match=r"leaves 'a\.png'"):
            painted(record(pixels=pixels([[1, 2]], at=at)), (8, 6))


def test_what_a_file_claims_of_a_picture_that_is_gone_is_not_painted_beyond_bounds():
    with pytest.raises(FormatError, match=r"20000 x 20000 pixels are more"):
        KIND.from_record(record(square("car", 0, 0, 2, 2), size=(20_000, 20_000)), naming(), None)


# ---- painting -------------------------------------------------------------------------------------------------------


def test_smaller_objects_lie_above_larger_ones_and_groups_below_all():
    objects = (
        square("car", 2, 2, 4, 4),
        square("road", 0, 0, 8, 6),
        square("sky", 0, 0, 3, 3, crowd=True),
    )
    found = painted(record(*objects), (8, 6))
    assert (found == 2).sum() == 0
    assert (found[2:4, 2:4] == 1).all()
    assert (found == 0).sum() == 44


def test_the_last_object_lies_above_where_the_file_orders_them():
    objects = (square("car", 2, 2, 4, 4), square("road", 0, 0, 8, 6))
    assert (painted(record(*objects), (8, 6), naming(Head(overlap="last"))) == 0).all()
    assert (painted(record(*objects[::-1]), (8, 6), naming(Head(overlap="last")))[2:4, 2:4] == 1).all()


def test_of_equal_objects_the_later_one_is_seen():
    objects = (square("car", 2, 2, 4, 4), square("road", 2, 2, 4, 4))
    assert painted(record(*objects), (8, 6))[2, 2] == 0
    assert painted(record(*objects[::-1]), (8, 6))[2, 2] == 1


@st.composite
def scenes(draw):
    """Objects, and which pixels each covers."""
    seen, covers = [], []
    for _ in range(draw(st.integers(0, 6))):
        x, y = draw(st.tuples(st.integers(0, 7), st.integers(0, 5)))
        width, height = draw(st.tuples(st.integers(1, 8 - x), st.integers(1, 6 - y)))
        cover = np.zeros((6, 8), bool)
        cover[y : y + height, x : x + width] = True
        name, crowd, empty = draw(st.sampled_from(NAMES)), draw(st.booleans()), draw(st.integers(0, 9)) == 0
        if empty:
            cover[:] = False
        if empty or draw(st.booleans()):
            seen.append(Seen(name, outline=Mask((8, 6), lambda cover=cover: cover), crowd=crowd))
        else:
            seen.append(square(name, x, y, x + width, y + height, crowd=crowd))
        covers.append(cover)
    return tuple(seen), covers


@pytest.mark.heavy
@settings(max_examples=100, deadline=None)
@given(scenes(), st.booleans())
def test_objects_are_painted_as_a_slow_twin_does(scene, bare):
    """Pixel by pixel: of the objects that cover it the smallest is seen, the later of two alike, crowds last."""
    seen, covers = scene
    names = ("background", *NAMES) if bare else NAMES
    wanted, number_of = np.full((6, 8), 0 if bare else IGNORE), np.zeros((6, 8))
    for y, x in np.ndindex(6, 8):
        there = [n for n, cover in enumerate(covers) if cover[y, x]]
        if there:
            best = min(there, key=lambda n: (seen[n].crowd, covers[n].sum(), -n))
            wanted[y, x], number_of[y, x] = names.index(seen[best].cls), best + 1
    np.testing.assert_array_equal(painted(record(*seen), (8, 6), naming(Head(), names)), wanted)
    numbers = KIND.instances(record(*seen), (8, 6))
    np.testing.assert_array_equal(np.zeros((6, 8)) if numbers is None else numbers, number_of)


def test_pixels_of_no_object_are_background_only_where_that_is_a_class_of_the_project():
    car = square("car", 2, 2, 4, 4)
    names = ("background", "car")
    assert painted(record(car), (8, 6), naming(Head(), names))[0, 0] == 0
    assert painted(record(car), (8, 6), naming(Head(bare="nothing"), names))[0, 0] == IGNORE
    assert painted(record(car), (8, 6))[0, 0] == IGNORE
    drawn = square("background", 0, 0, 1, 1)
    assert painted(record(car, drawn), (8, 6), naming(Head(), names))[5, 7] == IGNORE, "somebody drew it where it is"


def test_holes_windows_and_fractions():
    ring = np.ones((4, 4), bool)
    ring[1:3, 1:3] = False
    masked = Seen("car", outline=Mask((4, 4), lambda: ring, at=(2, 1)))
    found = painted(record(masked), (8, 6))
    assert (found == 1).sum() == 12
    assert (found[2:4, 3:5] == IGNORE).all()
    half = Seen("sky", outline=Polygon(((0, 0, 0.5, 0, 0.5, 1, 0, 1),)))
    assert (painted(record(half, fractions=True), (8, 6))[:, :4] == 2).all()


def test_parts_of_one_object_are_one():
    parts = Polygon(((0, 0, 2, 0, 2, 2, 0, 2), (5, 3, 7, 3, 7, 5, 5, 5)))
    assert (painted(record(Seen("car", outline=parts)), (8, 6)) == 1).sum() == 8


@pytest.mark.parametrize(
    ("seen", "match"),
    [
        (Seen("car", Box(0, 0, 2, 2)), "a box and no mask"),
        (Seen("car"), "neither polygon nor mask"),
        (square("car", 0, 0, 20, 3), "a corner at x = 20, outside the image of 8 x 6"),
        (square("car", 0, -3, 2, 3), "a corner at y = -3"),
        (Seen("car", outline=Mask((9, 6), lambda: np.ones((6, 9), bool))), "leaves the image of 8 x 6"),
        (Seen("car", outline=Mask((2, 2), lambda: np.ones((2, 2), bool), at=(7, 0))), "leaves the image of 8 x 6"),
        (Seen("car", outline=Mask((2, 2), lambda: np.ones((3, 2), bool))), "other sides than it says"),
        (square("tree", 0, 0, 2, 2), "unknown class 'tree'"),
    ],
)
def test_what_cannot_be_painted_is_refused_in_one_line(seen, match):
    with pytest.raises(FormatError, match=match) as caught:
        KIND.from_record(record(square("road", 0, 0, 1, 1), seen), naming(), (8, 6))
    assert "unknown class" in match or "'a.json', image 2, object 2" in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.heavy
def test_many_large_objects_are_in_memory_one_at_a_time():
    """Forty objects of the whole picture: 64 MB if all were kept."""
    import tracemalloc

    size = (1600, 1000)
    seen = tuple(square("car", 0, 0, 1600 - n, 1000) for n in range(40))
    tracemalloc.start()
    try:
        KIND.from_record(record(*seen, size=size), naming(), size)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 14 * size[0] * size[1]


# ---- regions --------------------------------------------------------------------------------------------------------


def corner():
    inside = np.array([[True, True], [True, False]])
    return Mask((2, 2), lambda: inside, at=(3, 2))


def test_one_class_fills_a_region():
    found = KIND.from_record(record(Seen("car"), region="4", outline=corner(), size=None), naming(), (8, 6))
    assert found["at"] == [3, 2]
    assert window(found)[0].tolist() == [[1, 1], [1, IGNORE]]
    with pytest.raises(FormatError, match="'car' and 'sky' for one region"):
        KIND.from_record(record(Seen("car"), Seen("sky"), region="4", outline=corner()), naming(), (8, 6))


def test_a_mask_of_a_region_has_the_size_of_its_box_or_of_its_picture():
    boxed = record(pixels=pixels([[1, 1], [2, IGNORE]], at=(3, 2)), region="4", outline=corner(), size=(2, 2))
    assert KIND.from_record(boxed, naming(), (8, 6))["at"] == [3, 2]
    full = record(pixels=pixels(np.zeros((6, 8))), region="4", outline=corner(), size=(8, 6))
    assert "at" not in KIND.from_record(full, naming(), (8, 6))
    with pytest.raises(FormatError, match=r"at the size of its image \(8 x 6\) or of its box \(2 x 2\)"):
        KIND.from_record(record(pixels=pixels([[1]]), region="4", outline=corner(), size=(1, 1)), naming(), (8, 6))


def test_a_partial_mask_answers_the_regions_that_were_asked():
    inside = corner().read()
    mask = np.full((6, 8), IGNORE, np.uint8)
    mask[2, 3] = 1
    asked = {"a.png#1": (inside, (3, 2)), "a.png#2": (inside, (5, 4))}
    found = KIND.parts(raw_mask(mask, (8, 6)), asked)
    assert list(found) == ["a.png#1"]
    assert window(found["a.png#1"])[0].tolist() == [[1, IGNORE], [IGNORE, IGNORE]]
    mask[0, 0] = 2
    with pytest.raises(FormatError, match=r"1 pixel.s. outside the asked regions"):
        KIND.parts(raw_mask(mask, (8, 6)), asked)
    assert KIND.parts(raw_mask(np.zeros((6, 8), np.uint8), (8, 6)), asked) == {}, "the picture as a whole is answered"
    assert KIND.parts(raw_mask(mask, (8, 6)), {}) == {}


def test_parts_are_joined_and_the_last_one_holds():
    one, two = (
        raw_mask(np.array([[0, 0]], np.uint8), (4, 1)),
        raw_mask(np.array([[1, IGNORE]], np.uint8), (4, 1), (1, 0)),
    )
    both = KIND.merge([{**one, "at": [0, 0]}, two])
    assert whole(both).tolist() == [[0, 1, IGNORE, IGNORE]]
    assert KIND.merge([two]) is two
    with pytest.raises(DataError, match="cannot be joined"):
        KIND.merge([two, raw_mask(np.zeros((2, 2), np.uint8), (2, 2))])


# ---- what it refuses and tells --------------------------------------------------------------------------------------

FULL = raw_mask(np.zeros((6, 8), np.uint8), (8, 6))


@pytest.mark.parametrize(
    ("raw", "match"),
    [
        ("car", "no label of pixels"),
        ({"size": [8, 6]}, "no label of pixels"),
        ({**FULL, "png": 3}, "no label of pixels"),
        ({**FULL, "size": [8]}, "size of the image"),
        ({**FULL, "size": [8, 7]}, "the mask has 8 x 6 pixels and its image 8 x 7"),
        ({**FULL, "size": [20000, 20000]}, "the mask has 8 x 6 pixels"),
        ({**FULL, "at": [1, 0]}, "leaves the image"),
        ({**FULL, "at": [-1, 0]}, "place of the mask"),
        ({**FULL, "png": "?"}, "no base64 text"),
        ({**FULL, "png": "ä"}, "no base64 text"),
        ({**FULL, "png": "AAAA"}, "no PNG"),
        ({**FULL, "png": ""}, "no PNG"),
        (raw_mask(np.full((6, 8), 3, np.uint8), (8, 6)), "the value 3 in 48 pixel"),
    ],
)
def test_what_is_no_mask_is_refused_in_one_line(raw, match):
    with pytest.raises(DataError, match=match) as caught:
        KIND.check(raw, NAMES, None)
    assert len(str(caught.value)) < 300


def test_what_it_tells():
    raw = raw_mask(np.array([[0, 2, 2, IGNORE]], np.uint8), (4, 1))
    bare = raw_mask(np.array([[IGNORE]], np.uint8), (4, 1))
    assert KIND.objects(raw, NAMES) == ["road", "sky"]
    assert KIND.objects(raw) == []
    assert KIND.counts([raw, raw], NAMES) == {"road": 2, "car": 0, "sky": 2}
    assert KIND.cost(raw) == {"images": 1.0, "pixels": 3.0, "clicks": 8.0}
    assert KIND.cost(bare) == {"images": 1.0, "pixels": 0.0, "clicks": 0.0}
    assert KIND.blank(bare)
    assert not KIND.blank(raw)
    assert KIND.owns(raw)
    assert KIND.same(bare, raw_mask(np.full((1, 4), IGNORE, np.uint8), (4, 1)))
    assert not KIND.same(bare, raw)
    with pytest.raises(DataError, match="4 x 1"):
        KIND.check(raw, NAMES, (1, 4))


def test_the_size_of_a_png_is_read_without_its_pixels():
    assert png_size(raw_mask(np.zeros((3, 300), np.uint8), (300, 3))["png"]) == (300, 3)


def test_run_lengths_that_are_kept_decode_when_asked_for():
    runs = {"size": [6, 8], "counts": [0, 6, 42]}
    seen = Seen("car", outline=Mask((8, 6), lambda: decode_segmentation(runs, 8, 6), raw=runs))
    assert (painted(record(seen), (8, 6))[:, 0] == 1).all()


def test_a_region_is_drawn_by_its_border_in_the_whole_picture_of_any_size():
    inside = np.ones((40, 40), bool)
    small = Image.new("RGB", (50, 50))
    sheet = np.asarray(KIND.draw(small, [], NAMES, Look(region=(inside, (30, 30), (100, 100)))))[:SIDE]
    rows, columns = np.nonzero((sheet == 255).all(2))
    assert (rows.min(), rows.max()) == pytest.approx((0.3 * SIDE, 0.7 * SIDE), abs=3)
    assert (columns.min(), columns.max()) == pytest.approx((0.3 * SIDE, 0.7 * SIDE), abs=3)
    assert (sheet[SIDE // 2, SIDE // 2] == 0).all()


def test_what_is_drawn_of_masks():
    image = Image.new("RGB", (8, 6))
    assert KIND.draw(image, [], NAMES) is image
    alone = np.asarray(KIND.draw(image, [Panel("", FULL)], NAMES, Look(((255, 0, 0), (0, 0, 9), (0, 9, 0)))))
    assert alone.shape == (6, 8, 3)
    assert (alone[..., 0] > 100).all()
    panels = [Panel("predicted", FULL), Panel("labelled", FULL), Panel("doubt", doubt=np.zeros((3, 4), np.float32))]
    assert KIND.draw(image, panels, NAMES).width == 2 * SIDE + 4
