"""Masks over images in galleries and reports."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from labelwise.contracts.record import IGNORE
from labelwise.drawing.colours import palette_of
from labelwise.drawing.masks import COVER, GAP, LINE, SIDE, masked, overlaid
from labelwise.formats.index_png import mask_text
from labelwise.kinds.masks import whole

CLASSES = ("cat", "dog")
PALETTE = ((255, 0, 0), (0, 0, 255))


def label(mask, size=None, at=None):
    """Class indices of the whole picture, from a label or the label of a window."""
    raw = {"size": list(size or mask.shape[::-1]), "png": mask_text(mask.astype(np.uint8))}
    return whole(raw if at is None else {**raw, "at": list(at)})


@pytest.mark.heavy
@pytest.mark.parametrize("size", [(200, 100), (100, 200), (20, 10), (4000, 2000)])
def test_panels_have_one_size_whatever_the_image(size):
    mask = np.zeros(size[::-1])
    sheet = masked(Image.new("RGB", size), CLASSES, {"a": label(mask), "b": label(mask)})
    width, height = (SIDE, SIDE // 2) if size[0] > size[1] else (SIDE // 2, SIDE)
    assert sheet.size == (2 * width + GAP, 2 * (height + LINE) + LINE)


def test_a_pixel_has_the_colour_of_its_class_and_shows_the_image_below_unless_it_has_none():
    mask = np.array([[0, 1, IGNORE]]).repeat(3, 0)
    found = np.asarray(overlaid(Image.new("RGB", (3, 3), (100, 100, 100)), CLASSES, label(mask), PALETTE))
    grey = round((1 - COVER) * 100)
    strong = round((1 - COVER) * 100 + COVER * 255)
    assert found[0].tolist() == [[strong, grey, grey], [grey, grey, strong], [100, 100, 100]]


def test_outside_its_window_a_mask_covers_nothing():
    found = np.asarray(overlaid(Image.new("RGB", (4, 2)), CLASSES, label(np.ones((1, 2)), (4, 2), (1, 1)), PALETTE))
    assert (found[..., 2] > 0).tolist() == [[False] * 4, [False, True, True, False]]


def test_a_mask_of_strange_values_costs_no_report():
    mask = np.full((2, 2), 7)
    assert np.asarray(overlaid(Image.new("RGB", (2, 2)), CLASSES, label(mask))).max() == 0


@pytest.mark.parametrize("values", [np.zeros((4, 5)), np.full((4, 5), np.nan), np.arange(20.0).reshape(4, 5)])
def test_uncertainty_runs_from_dark_to_bright_and_hides_no_nan(values):
    image = Image.new("RGB", (50, 40), "white")
    sheet = np.asarray(masked(image, CLASSES, {}, uncertainty_HW=values.astype(np.float32)))
    heat = sheet[: SIDE * 4 // 5, SIDE + GAP :].astype(int).sum(2)
    if np.isnan(values).any():
        assert heat.min() > 600, "what a model that diverged says is bright"
    elif values.max() == 0:
        assert heat.max() < 30
    else:
        assert heat[2, 2] < heat[100, 100] < heat[-3, -3]


def test_outlines_are_white_on_every_panel():
    line = np.zeros((10, 10), bool)
    line[5] = True
    sheet = np.asarray(
        masked(Image.new("RGB", (10, 10)), CLASSES, {"labelled": label(np.zeros((10, 10)))}, outline_HW=line)
    )
    row = sheet[round(5.5 * SIDE / 10)]
    assert (row[:SIDE] == 255).all()
    assert (row[SIDE + GAP :] == 255).all()


def test_the_legend_names_the_classes_that_occur_in_their_colours():
    mask = np.ones((10, 10))
    sheet = np.asarray(masked(Image.new("RGB", (10, 10)), CLASSES, {"labelled": label(mask)}, palette=PALETTE))
    words = sheet[SIDE + LINE :]
    assert (words == PALETTE[1]).all(2).any()
    assert not (words == PALETTE[0]).all(2).any()


def test_colours_of_many_classes_differ_and_those_of_the_data_win():
    for count in (1, 8, 20, 60, 254):
        assert len(set(palette_of(count))) == count
    assert palette_of(2, PALETTE) == list(PALETTE)
    assert len(palette_of(3, PALETTE)) == 3, "too few colours: ours"
