"""Boxes of one image: fractions, borders, areas, comparison."""

from __future__ import annotations

import pytest
import torch

from labelwise.contracts.record import IGNORE
from labelwise.contracts.targets import Boxes, Mask


def test_pixels_become_fractions_and_come_back():
    boxes = Boxes.of_pixels([[64, 48, 320, 480], [0, 0, 640, 480]], [2, 0], size=(640, 480))
    assert boxes.corners_G4.dtype == torch.float32
    assert boxes.corners_G4.tolist() == [[pytest.approx(0.1), pytest.approx(0.1), 0.5, 1.0], [0.0, 0.0, 1.0, 1.0]]
    assert torch.allclose(boxes.pixels_G4, torch.tensor([[64.0, 48, 320, 480], [0, 0, 640, 480]]).double(), atol=1e-4)
    assert boxes.class_G.tolist() == [2, 0]
    assert boxes.ignore_G.tolist() == [False, False]
    assert boxes.scores_G is None


def test_what_lies_outside_is_cut_off_and_what_has_no_area_is_ignored():
    corners = [[-5, -5, 10, 10], [90, 90, 130, 140], [120, 0, 140, 50], [20, 20, 20, 40], [1, 1, 2, 2]]
    boxes = Boxes.of_pixels(corners, [0] * 5, size=(100, 100), ignore=[False, False, False, False, True])
    assert boxes.pixels_G4[:2].round(decimals=4).tolist() == [[0, 0, 10, 10], [90, 90, 100, 100]]
    assert boxes.ignore_G.tolist() == [False, False, True, True, True]
    assert len(boxes) == 5


def test_an_image_without_objects():
    boxes = Boxes.none((7, 5))
    assert len(boxes) == 0
    assert boxes.corners_G4.shape == (0, 4)
    assert boxes.class_G.dtype == torch.int64
    assert boxes == Boxes.none((7, 5))
    assert boxes != Boxes.none((5, 7))


def test_comparison_and_repr_are_exact_and_leave_out_where_it_was_read_from():
    many = torch.rand(600, 4, generator=torch.Generator().manual_seed(0)).sort(1).values
    boxes = Boxes.of_pixels(many, torch.zeros(600, dtype=torch.int64), size=(1, 1))
    other = Boxes(boxes.corners_G4.clone(), boxes.class_G, boxes.ignore_G, (1, 1), raw={"objects": []})
    assert boxes == other
    assert repr(boxes) == repr(other)
    nudged = boxes.corners_G4.clone()
    nudged[300, 2] = torch.nextafter(nudged[300, 2], torch.tensor(2.0))
    assert boxes != boxes.with_corners(nudged)
    assert repr(boxes) != repr(boxes.with_corners(nudged))
    with pytest.raises(TypeError):
        hash(boxes)


def test_taking_joining_and_moving():
    boxes = Boxes.of_pixels([[0, 0, 5, 5], [5, 5, 9, 9]], [1, 2], size=(10, 10), scores=[0.5, 0.25])
    second = boxes.take(boxes.class_G == 2)
    assert second.class_G.tolist() == [2]
    assert second.scores_G.tolist() == [0.25]
    assert Boxes.join([boxes.take(torch.tensor([0])), second]) == boxes
    assert boxes.to("cpu") == boxes
    assert boxes.to("meta").corners_G4.device.type == "meta"
    assert boxes.resized((20, 20)).pixels_G4[0].tolist() == [0, 0, 10, 10]
    with pytest.raises(ValueError, match="sizes"):
        Boxes.join([boxes, boxes.resized((3, 3))])
    with pytest.raises(ValueError, match="scores"):
        Boxes.join([boxes, Boxes.none((10, 10))])


def test_moving_forgets_where_it_was_read_from():
    boxes = Boxes(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.bool), (4, 4), raw=7)
    assert boxes.to("cpu").raw == 7
    assert boxes.with_corners(torch.zeros(0, 4)).raw is None
    assert boxes.resized((2, 2)).raw is None


@pytest.mark.parametrize(
    "parts", [(torch.zeros(2, 3), 2, 2), (torch.zeros(2, 4), 1, 2), (torch.zeros(2, 4), 2, 3), (torch.zeros(0), 0, 0)]
)
def test_shapes_that_do_not_fit_are_refused(parts):
    corners, classes, ignore = parts
    with pytest.raises(ValueError, match="shape"):
        Boxes(corners, torch.zeros(classes, dtype=torch.int64), torch.zeros(ignore, dtype=torch.bool), (1, 1))


# ---- masks ----------------------------------------------------------------------------------------------------------


def window(values, size, at=(0, 0)):
    return Mask(torch.tensor(values, dtype=torch.uint8), size, at)


def test_windows_of_a_mask_join_and_the_last_word_holds():
    first = window([[0, 1], [IGNORE, 2]], (4, 3), (1, 1))
    second = window([[3], [4]], (4, 3), (2, 1))
    joined = Mask.join([first, second])
    assert joined.whole().tolist() == [[255] * 4, [255, 0, 3, 255], [255, 255, 4, 255]]
    assert Mask.join([second, first]).whole()[1:, 2].tolist() == [1, 2]
    assert joined.pixels == 3
    assert joined.cropped().at == (1, 1)
    assert joined.cropped().classes_HW.shape == (2, 2)
    assert joined.cropped() == joined
    assert repr(joined.cropped()) == repr(joined)
    assert joined != first
    with pytest.raises(ValueError, match="sizes"):
        Mask.join([first, Mask.unknown((3, 4))])


def test_an_unknown_mask_has_no_pixel():
    nothing = Mask.unknown((5, 2))
    assert nothing.pixels == 0
    assert nothing.whole().shape == (2, 5)
    assert nothing.cropped() == nothing
    assert Mask.join([nothing]).whole().eq(IGNORE).all()


@pytest.mark.parametrize(
    ("values", "at"),
    [
        (torch.zeros(2, 2), (0, 0)),
        (torch.zeros(2, 2, dtype=torch.uint8), (3, 0)),
        (torch.zeros(2, 2, dtype=torch.uint8), (0, -1)),
        (torch.zeros(2, dtype=torch.uint8), (0, 0)),
    ],
)
def test_what_is_no_window_of_the_image_is_refused(values, at):
    with pytest.raises(ValueError, match=r"window|uint8"):
        Mask(values, (4, 2), at)
