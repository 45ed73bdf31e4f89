"""Boxes over images in galleries and reports."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from labelwise.contracts.oracle import Pick
from labelwise.drawing.boxes import LINE, SIDE, boxed
from labelwise.drawing.colours import COLOURS_LIGHT
from labelwise.report.gallery import write_gallery

CLASSES = ("cat", "dog")


def label(*objects, size=(200, 100)):
    return {"size": list(size), "objects": [{"class": name, "box": list(box)} for name, *box in objects]}


def colour(name):
    return tuple(int(COLOURS_LIGHT[CLASSES.index(name)][k : k + 2], 16) for k in (1, 3, 5))


def pixels(image):
    return np.asarray(image.convert("RGB")).reshape(-1, 3)


@pytest.mark.parametrize("size", [(200, 100), (100, 200), (20, 10), (4000, 2000)])
def test_panels_have_one_size_whatever_the_image(size):
    sheet = boxed(Image.new("RGB", size), CLASSES, {"a": label(size=size), "b": label(size=size)})
    width, height = (SIDE, SIDE // 2) if size[0] > size[1] else (SIDE // 2, SIDE)
    assert sheet.size == (2 * width + 4, height + LINE)


def test_a_box_stands_where_it_was_drawn_in_the_colour_of_its_class():
    image = Image.new("L", (200, 100))
    sheet = boxed(image, CLASSES, {"labelled": label(("dog", 50, 20, 150, 80))}).crop((0, 0, SIDE, SIDE // 2))
    scale = SIDE / 200
    found = (np.abs(np.asarray(sheet).astype(int) - colour("dog")) < 3).all(2)
    found[: int(20 * scale) - 1] = False  # its name stands above
    rows, columns = np.nonzero(found)
    np.testing.assert_allclose(
        [columns.min(), rows.min(), columns.max(), rows.max()], np.array([50, 20, 150, 80]) * scale, atol=1.5
    )
    assert not found[rows.min() + 5 : rows.max() - 5, columns.min() + 5 : columns.max() - 5].any(), "only its border"


def test_the_class_of_each_box_stands_at_it_in_words():
    """Two classes of one colour: only words tell them apart."""
    classes = tuple(f"class {number}" for number in range(len(COLOURS_LIGHT) + 1))
    image = Image.new("RGB", (200, 100))
    one, other = (
        np.asarray(boxed(image, classes, {"": label((name, 50, 40, 150, 90))})) for name in (classes[0], classes[-1])
    )
    above = slice(40 * SIDE // 200 - 16, 40 * SIDE // 200 - 1)
    assert one[above].any(), "a name above the box"
    assert (one[above] != other[above]).any()


def test_names_of_boxes_in_a_crowd_stand_beside_one_another():
    """Boxes at one place would have their names there too: each is moved to another corner."""
    sheet = boxed(
        Image.new("RGB", (200, 100)), CLASSES, {"": label(("cat", 50, 40, 150, 90), ("dog", 50, 40, 150, 90))}
    )
    for name in CLASSES:
        tag = (np.asarray(sheet) == colour(name)).all(2)[: SIDE // 2]
        assert max(np.convolve(row, np.ones(12), "same").max() for row in tag.astype(float)) == 12, "a filled name"


@pytest.mark.parametrize("box", [(-50, -50, 400, 300), (0, 0, 200, 100), (200, 100, 200, 100), (30, 40, 30, 40)])
def test_boxes_at_the_edge_outside_or_without_area_are_drawn_all_the_same(box):
    sheet = boxed(Image.new("RGB", (200, 100)), CLASSES, {"labelled": label(("cat", *box))})
    assert (pixels(sheet) == colour("cat")).all(1).any()


def test_scores_crowds_and_strange_classes():
    one = {**label(("cat", 10, 10, 100, 90), ("fish", 20, 20, 40, 40), ("dog", 5, 5, 90, 90)), "extra": {}}
    one["objects"][0]["score"] = 0.87
    one["objects"][2]["crowd"] = True
    shown = pixels(boxed(Image.new("RGB", (200, 100)), CLASSES, {"predicted": one}))
    for name in CLASSES:
        assert (shown == colour(name)).all(1).any()


def test_a_gallery_with_large_pictures(tmp_path):
    picture = boxed(Image.new("RGB", (200, 100)), CLASSES, {"predicted": label(), "labelled": label()})
    picks = [Pick(str(i), str(i), i, 0.5, None, None) for i in range(3)]
    page = write_gallery(tmp_path / "g.html", picks, image_of=lambda _: picture, title="Round 0", side=900).read_text()
    assert 'class="cards wide"' in page
    uri = re.search(r'src="data:image/jpeg;base64,([^"]+)"', page)
    assert Image.open(io.BytesIO(base64.b64decode(uri[1]))).size == picture.size


def test_a_map_of_doubt_lies_over_the_image_in_a_panel_of_its_own():
    image = Image.new("RGB", (100, 50), "white")
    doubt = np.zeros((5, 10))
    doubt[2, 7] = 1.0
    sheet = np.asarray(boxed(image, ["cat"], {"predicted": {"size": [100, 50], "objects": []}}, uncertainty_HW=doubt))
    assert sheet.shape == (SIDE // 2 + LINE, 2 * SIDE + 4, 3)
    bright = sheet[: SIDE // 2, SIDE + 4 :].astype(int).sum(2)
    y, x = np.unravel_index(bright.argmax(), bright.shape)
    assert (x / SIDE, y / (SIDE / 2)) == pytest.approx((0.75, 0.5), abs=0.06)
    assert (sheet[: SIDE // 2, :SIDE] == 255).all()
