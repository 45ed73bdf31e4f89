"""Key points move as their images do: marked pixels against points, and names of sides."""

from __future__ import annotations

import math

import pytest
import torch

from labelwise.data import augment_points
from labelwise.errors import ConfigError


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def marked(points, height=60, width=90):
    """Images black but for a soft spot at each point, a channel each."""
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    spots = [(-((x - px * width) ** 2 + (y - py * height) ** 2) / 8).exp() for px, py in points]
    return torch.stack(spots)[None]


def centres(images):
    """Where the spots are, in fractions, by the mean over all pixels."""
    height, width = images.shape[-2:]
    weight = images / images.sum((-2, -1), keepdim=True)
    x = (weight.sum(-2) * (torch.arange(width) + 0.5)).sum(-1) / width
    y = (weight.sum(-1) * (torch.arange(height) + 0.5)).sum(-1) / height
    return torch.stack([x, y], -1)


POINTS = torch.tensor([[0.4, 0.5], [0.6, 0.45], [0.5, 0.6]])
KNOWN = torch.cat([POINTS, torch.ones(3, 1)], 1)[None]


def test_spots_and_points_turn_alike():
    for seed in range(6):
        images, points = augment_points.turned_points(marked(POINTS), KNOWN, generator(seed))
        assert torch.allclose(centres(images), points[..., :2], atol=3e-3)
        assert (points[..., 2] == 1).all()


def slow_turn(x, y, width, height, angle, factor, move):
    """In pixels, about the centre."""
    u, v = (x - 0.5) * width, (y - 0.5) * height
    a, b = math.cos(angle) * u - math.sin(angle) * v, math.sin(angle) * u + math.cos(angle) * v
    return factor * a / width + 0.5 + move[0], factor * b / height + 0.5 + move[1]


def test_a_turn_is_one_in_pixels():
    draws = torch.rand(1, 4, generator=generator(3))[0].tolist()
    angle, move = (2 * draws[0] - 1) * math.radians(30), [(2 * draw - 1) * 0.1 for draw in draws[2:]]
    factor = math.exp(math.log(0.75) + (math.log(1.33) - math.log(0.75)) * draws[1])
    _, points = augment_points.turned_points(marked(POINTS), KNOWN, generator(3))
    for (x, y), found in zip(POINTS.tolist(), points[0, :, :2].tolist(), strict=True):
        assert found == pytest.approx(slow_turn(x, y, 90, 60, angle, factor, move), abs=1e-5)


def test_a_point_that_leaves_the_image_is_not_known_and_one_that_was_not_stays_so():
    edge = torch.tensor([[[0.99, 0.99, 1.0], [0.5, 0.5, 0.0], [0.5, 0.5, 1.0]]])
    _, points = augment_points.turned_points(
        torch.zeros(1, 1, 40, 40), edge, generator(), degrees=0, scale=(1.6, 1.6), shift=0.0
    )
    assert points[0, :, 2].tolist() == [0, 0, 1]


def test_a_mirror_image_exchanges_left_and_right():
    order = augment_points.mirrored_order(("left", "right", "nose"))
    images, points = augment_points.flipped_points(
        marked(POINTS).expand(8, -1, -1, -1), KNOWN.expand(8, -1, -1), order, generator()
    )
    turned = [image for image in range(8) if not torch.equal(images[image], marked(POINTS)[0])]
    assert 0 < len(turned) < 8
    for image in range(8):
        if image in turned:
            assert torch.allclose(centres(images[image : image + 1])[0][list(order)], points[image, :, :2], atol=1e-4)
            assert points[image, 0, 0] == pytest.approx(1 - 0.6)
        else:
            assert torch.equal(points[image], KNOWN[0])


@pytest.mark.parametrize(
    ("names", "order"),
    [
        (("nose", "left_eye", "right_eye"), (0, 2, 1)),
        (("Left Hip", "Right Hip"), (1, 0)),
        (("l_hip", "r_hip", "wrist_L", "wrist_R", "earL", "earR"), (1, 0, 3, 2, 5, 4)),
        (("tail", "lip", "ruler", "collar"), (0, 1, 2, 3)),
    ],
)
def test_sides_are_read_from_names(names, order):
    assert augment_points.mirrored_order(names) == order


@pytest.mark.parametrize(
    ("names", "pairs", "message"),
    [
        (("leftear", "nose"), None, "no 'rightear'"),
        (("a", "b"), [("a", "c")], "no pair"),
        (("a", "b", "c"), [("a", "b"), ("b", "c")], "no pair"),
    ],
)
def test_pairs_that_cannot_be_are_refused(names, pairs, message):
    with pytest.raises(ConfigError, match=message) as caught:
        augment_points.mirrored_order(names, pairs)
    assert len(str(caught.value)) <= 300


def test_given_pairs_go_before_names():
    assert augment_points.mirrored_order(("leftear", "nose"), []) == (0, 1)


BODY = torch.tensor([[0.3, 0.2], [0.4, 0.2], [0.35, 0.4], [0.3, 0.7], [0.4, 0.7], [0.35, 0.9]])


def slow_half(points, half):
    """Middle and enlargement of one half, point by point."""
    taken = [(x, y) for (x, y, known), of_it in zip(points.tolist(), half, strict=True) if of_it and known]
    xs, ys = zip(*taken, strict=True)
    span = 1.5 * max(max(xs) - min(xs), max(ys) - min(ys))
    return [sum(xs) / len(xs), sum(ys) / len(ys), min(max(1 / max(span, 0.25), 1), 4)]


def test_a_half_body_is_the_upper_or_the_lower_one():
    points = torch.cat([BODY, torch.ones(6, 1)], 1).expand(40, -1, -1)
    half = [True] * 3 + [False] * 3
    found = augment_points.half_bodies(points, half, 0.5, generator())
    upper, lower = slow_half(points[0], half), slow_half(points[0], [not one for one in half])
    kinds = [
        next(n for n, want in enumerate([[0.5, 0.5, 1], upper, lower]) if row == pytest.approx(want))
        for row in found.tolist()
    ]
    assert {kinds.count(kind) > 2 for kind in range(3)} == {True}


def test_the_other_half_is_taken_where_one_shows_too_few_points_and_none_where_both_do():
    few = torch.cat([BODY, torch.tensor([1.0, 1, 0, 1, 1, 1])[:, None]], 1)
    fewer = torch.cat([BODY, torch.tensor([1.0, 1, 0, 1, 1, 0])[:, None]], 1)
    half = [True] * 3 + [False] * 3
    found = augment_points.half_bodies(torch.stack([few, fewer]), half, 1.0, generator())
    assert found[0].tolist() == pytest.approx(slow_half(few, [not one for one in half]))
    assert found[1].tolist() == [0.5, 0.5, 1.0]


def test_spots_and_points_of_a_half_body_move_alike():
    closer = torch.tensor([[0.55, 0.52, 1.4]])
    for seed in range(4):
        images, points = augment_points.turned_points(marked(POINTS), KNOWN, generator(seed), closer_B3=closer)
        plain = augment_points.turned_points(marked(POINTS), KNOWN, generator(seed))[1]
        shown = points[..., 2] == 1
        assert shown.any()
        assert not torch.allclose(points, plain, atol=0.01)
        assert torch.allclose(centres(images)[shown], points[..., :2][shown], atol=5e-3)
