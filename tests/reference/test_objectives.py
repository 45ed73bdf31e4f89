"""Objectives without labels and their views against plain loops over the published formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.transforms.v2 import functional as v2

from labelwise.contracts.input import InputSpec
from labelwise.contracts.learner import Phase
from labelwise.contracts.losses import batch_loss
from labelwise.data.random_views import Augmentation, brightened, contrasted, cropped, hued, luma, saturated
from labelwise.errors import ConfigError
from labelwise.learners.objectives import Rotation, SimCLR, VICReg, objective_of
from labelwise.learners.pretraining import effective_rank


def _rows(count: int, width: int, seed: int = 0, *, kind: str = "random") -> torch.Tensor:
    rows = torch.randn(count, width, generator=torch.Generator().manual_seed(seed))
    if kind == "same":
        rows[:] = rows[0]
    if kind == "zero":
        rows[::2] = 0
    if kind == "pairs":
        rows[count // 2 :] = rows[: count // 2]
    if kind == "large":
        rows *= 1e4
    return rows


KINDS = ("random", "same", "zero", "pairs", "large")


# ---- SimCLR ---------------------------------------------------------------------------------------------------------


def _nt_xent(rows: np.ndarray, temperature: float) -> list[float]:
    """Equation 1 of the paper, pair by pair; the mean over both orders is the loss of an image."""
    count = len(rows) // 2
    norms = [max(math.sqrt(sum(x * x for x in row)), 1e-12) for row in rows]

    def similar(i: int, j: int) -> float:
        return sum(a * b for a, b in zip(rows[i], rows[j], strict=True)) / (norms[i] * norms[j])

    def loss(i: int, j: int) -> float:
        others = sum(math.exp(similar(i, k) / temperature) for k in range(2 * count) if k != i)
        return -math.log(math.exp(similar(i, j) / temperature) / others)

    return [(loss(i, i + count) + loss(i + count, i)) / 2 for i in range(count)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("temperature", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("count", [1, 2, 7])
def test_simclr_is_equation_1(kind, temperature, count):
    rows = _rows(2 * count, 5, kind=kind)
    losses = SimCLR(temperature=temperature).loss(nn.Identity(), rows, count)
    expected = _nt_xent(rows.double().numpy(), temperature)
    sums_B, norms_B = losses["simclr"]
    np.testing.assert_allclose(sums_B.numpy(), expected, rtol=1e-4, atol=1e-5)
    assert float(batch_loss(losses)) == pytest.approx(sum(expected) / count, rel=1e-4, abs=1e-5)
    assert norms_B.tolist() == [1.0] * count


# ---- VICReg ---------------------------------------------------------------------------------------------------------


def _vicreg(one: np.ndarray, other: np.ndarray) -> float:
    """Equations 1 to 6, entry by entry."""
    count, width = one.shape
    invariance = sum((one[i][d] - other[i][d]) ** 2 for i in range(count) for d in range(width)) / (count * width)
    variance = covariance = 0.0
    for rows in (one, other):
        mean = [sum(rows[i][d] for i in range(count)) / count for d in range(width)]

        def shared(a: int, b: int, rows: np.ndarray = rows, mean: list[float] = mean) -> float:
            return sum((rows[i][a] - mean[a]) * (rows[i][b] - mean[b]) for i in range(count)) / max(count - 1, 1)

        variance += sum(max(0.0, 1 - math.sqrt(shared(d, d) + 1e-4)) for d in range(width)) / width / 2
        covariance += sum(shared(a, b) ** 2 for a in range(width) for b in range(width) if a != b) / width
    return 25 * invariance + 25 * variance + covariance


@pytest.mark.parametrize("kind", ["random", "same", "zero", "pairs"])
@pytest.mark.parametrize("count", [1, 2, 9])
def test_vicreg_is_equations_1_to_6(kind, count):
    rows = _rows(2 * count, 4, seed=3, kind=kind)
    loss = float(batch_loss(VICReg().loss(nn.Identity(), rows, count)))
    one, other = rows.double().numpy()[:count], rows.double().numpy()[count:]
    assert loss == pytest.approx(_vicreg(one, other), rel=1e-4)


def test_vicreg_against_collapse():
    """All alike costs the whole variance term; spread and independent outputs cost little."""
    alike = float(batch_loss(VICReg().loss(nn.Identity(), torch.ones(64, 8), 32)))
    assert alike == pytest.approx(25 * (1 - 0.01), rel=1e-5)
    spread = 2 * torch.linalg.qr(torch.randn(32, 8, generator=torch.Generator().manual_seed(0)))[0] * math.sqrt(32)
    assert float(batch_loss(VICReg().loss(nn.Identity(), spread.repeat(2, 1), 32))) < 2


# ---- rotation -------------------------------------------------------------------------------------------------------


def test_rotation_shows_each_image_in_all_four_turns_clockwise():
    images = torch.randint(0, 256, (3, 1, 6, 6), dtype=torch.uint8)
    spec = InputSpec((6, 6), 1)
    views = Rotation().views(images, spec, torch.Generator())
    assert views.shape == (12, 1, 6, 6)
    for turns in range(4):
        for number in range(3):
            expected = np.rot90(images[number, 0].numpy(), k=turns, axes=(1, 0))  # clockwise
            upright = torch.from_numpy(expected.copy())[None, None]
            assert torch.equal(views[turns * 3 + number], spec.normalise(upright)[0])
    # the corner at the top left is at the top right after a quarter turn clockwise
    assert views[3, 0, 0, -1] == views[0, 0, 0, 0]
    with pytest.raises(ConfigError, match="square"):
        Rotation().views(torch.zeros(1, 1, 4, 6), spec, torch.Generator())


def test_rotation_is_cross_entropy_over_the_four_turns():
    head = nn.Linear(5, 4)
    rows = _rows(12, 5)
    losses = Rotation().loss(head, rows, 3)
    logits = head(rows).double().detach().numpy()
    for image in range(3):
        expected = 0.0
        for turn in range(4):
            row = logits[turn * 3 + image]
            expected -= (row[turn] - math.log(sum(math.exp(x) for x in row))) / 4
        assert float(losses["rotation"][0][image].detach()) == pytest.approx(expected, rel=1e-5)


# ---- views ----------------------------------------------------------------------------------------------------------


IMAGES = torch.rand(4, 3, 20, 24, generator=torch.Generator().manual_seed(5))
FACTORS = torch.tensor([0.0, 0.4, 1.0, 1.7])


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(brightened, v2.adjust_brightness), (contrasted, v2.adjust_contrast), (saturated, v2.adjust_saturation)],
)
def test_colour_against_torchvision_image_by_image(ours, theirs):
    found = ours(IMAGES, FACTORS)
    for number, factor in enumerate(FACTORS.tolist()):
        torch.testing.assert_close(found[number], theirs(IMAGES[number], factor), rtol=1e-5, atol=1e-5)


def test_grey_against_torchvision():
    torch.testing.assert_close(luma(IMAGES), v2.rgb_to_grayscale(IMAGES), rtol=1e-5, atol=1e-5)


def test_hue_keeps_the_luma_and_comes_round():
    soft = IMAGES * 0.2 + 0.4
    turned = hued(soft, torch.tensor([0.0, 0.25, 0.5, 1.0]))
    torch.testing.assert_close(turned[0], soft[0], atol=1e-4, rtol=0)
    torch.testing.assert_close(turned[3], soft[3], atol=1e-4, rtol=0)
    assert (turned[1] - soft[1]).abs().max() > 0.05
    torch.testing.assert_close(luma(turned), luma(soft), atol=2e-3, rtol=0)


def test_a_box_is_what_torchvision_cuts_out():
    """An aligned box of half the size, enlarged to twice: the crop that torchvision resizes."""
    top, left, high, wide = 4, 6, 10, 12
    centre = torch.tensor([[2 * (left + wide / 2) / 24 - 1, 2 * (top + high / 2) / 20 - 1]])
    found = cropped(IMAGES[:1], centre, torch.tensor([[wide / 24, high / 20]]))
    expected = v2.resized_crop(IMAGES[:1], top, left, high, wide, [20, 24], antialias=False)
    torch.testing.assert_close(found[..., 2:-2, 2:-2], expected[..., 2:-2, 2:-2], atol=1e-4, rtol=0)
    whole = cropped(IMAGES, torch.zeros(4, 2), torch.ones(4, 2))
    torch.testing.assert_close(whole, IMAGES, atol=1e-5, rtol=0)
    mirrored = cropped(IMAGES, torch.zeros(4, 2), torch.tensor([[-1.0, 1.0]]).repeat(4, 1))
    torch.testing.assert_close(mirrored, IMAGES.flip(-1), atol=1e-5, rtol=0)


def test_each_image_gets_a_view_of_its_own_and_all_stay_in_range():
    same = IMAGES[:1].repeat(64, 1, 1, 1)
    views = Augmentation()(same, torch.Generator().manual_seed(0))
    assert views.shape == same.shape
    assert views.min() >= 0
    assert views.max() <= 1
    assert len({tuple(view.flatten()[:50].tolist()) for view in views}) == 64
    again = Augmentation()(same, torch.Generator().manual_seed(0))
    assert torch.equal(views, again)
    grey = (views - luma(views)).abs().amax((1, 2, 3)) < 1e-3
    assert 2 < int(grey.sum()) < 30, "about a fifth"


def test_boxes_lie_inside_and_are_as_large_as_they_should_be():
    centre, half = Augmentation(crop=0.3)._boxes(5000, torch.Generator().manual_seed(1))
    assert (centre.abs() + half.abs() <= 1 + 1e-6).all()
    area = half.abs().prod(1)
    assert area.min() > 0.25
    assert 0.4 < (half[:, 0] < 0).float().mean() < 0.6
    assert (Augmentation(flip=False)._boxes(500, torch.Generator())[1] > 0).all()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [16, 72])
def test_two_views_are_normalised_and_differ(channels, side):
    images = torch.randint(0, 256, (5, channels, side, side), dtype=torch.uint8)
    spec = InputSpec((side, side), channels, (0.5,), (0.25,))
    views = SimCLR().views(images, spec, torch.Generator().manual_seed(0))
    assert views.shape == (10, channels, side, side)
    assert not torch.equal(views[:5], views[5:])
    assert views.min() >= -2.001
    assert views.max() <= 2.001


def test_float_images_are_moved_and_keep_their_values():
    images = torch.full((3, 2, 8, 8), -7.0)
    found = VICReg().views(images, InputSpec((8, 8), 2), torch.Generator())
    torch.testing.assert_close(found, images.repeat(2, 1, 1, 1))


# ---- rank, names ----------------------------------------------------------------------------------------------------


def test_effective_rank():
    rows = _rows(40, 6)
    values = np.linalg.svd(rows.double().numpy(), compute_uv=False)
    shares = [value / sum(values) + 1e-7 for value in values]
    assert effective_rank(rows) == pytest.approx(math.exp(-sum(p * math.log(p) for p in shares)))
    assert effective_rank(torch.ones(30, 8)) == pytest.approx(1, abs=1e-3)
    assert np.isfinite(effective_rank(torch.zeros(5, 4)))


@pytest.mark.parametrize(
    ("phase", "message"),
    [
        (Phase(loss="simcrl"), "did you mean 'simclr'"),
        (Phase(loss="simclr", options={"temprature": 1.0}), "did you mean 'temperature'"),
        (Phase(loss="simclr", options={"temperature": "hot"}), "give float"),
        (Phase(loss="vicreg", options={"crop": 0.0}), "refuses"),
        (Phase(loss="tiny:agreement_loss", options={"a": 1}), "takes no options"),
    ],
)
def test_unknown_names_and_options_are_one_line(phase, message):
    with pytest.raises(ConfigError, match=message) as caught:
        objective_of(phase)
    assert "\n" not in str(caught.value)


def test_objectives_by_name_and_by_path():
    assert objective_of(Phase(loss="rotation")) == Rotation()
    assert objective_of(Phase(loss="labelwise.learners.objectives:SimCLR", options={"out": 16})) == SimCLR(out=16)
    assert objective_of(Phase()) is None
