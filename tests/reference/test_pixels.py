"""Segmentation against slow twins: the table of classes, the loss, the joint changes of images and masks."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from labelwise.contracts.input import InputSpec
from labelwise.contracts.losses import batch_loss, image_losses
from labelwise.contracts.record import IGNORE
from labelwise.contracts.targets import Mask
from labelwise.contracts.task import Batch, Outputs
from labelwise.data import augment
from labelwise.rng import torch_generator
from labelwise.tasks.segmentation import Segmentation, over_all_pixels
from labelwise.tasks.segmentation_metrics import SegmentationMetrics

# ---- the slow twins -------------------------------------------------------------------------------------------------


def slow_metrics(pairs, classes: int) -> dict[str, float]:
    """Pixel by pixel over all images: what truth and prediction both, or either, give to each class."""
    both, either, right, known = [0] * classes, [0] * classes, 0, 0
    for truth, said in pairs:
        for t, s in zip(truth.flatten().tolist(), said.flatten().tolist(), strict=True):
            if t == IGNORE:
                continue
            known += 1
            right += t == s
            for c in range(classes):
                both[c] += t == c and s == c
                either[c] += t == c or s == c
    if not known:
        return {}
    ious = {f"iou/{c}": both[c] / either[c] for c in range(classes) if either[c]}
    return {"miou": sum(ious.values()) / len(ious), "pixel_accuracy": right / known, **ious}


def slow_loss(logits_BCHW: torch.Tensor, masks_BHW: torch.Tensor) -> tuple[list[float], list[int]]:
    sums, counts = [], []
    for logits, mask in zip(logits_BCHW, masks_BHW, strict=True):
        total, count = 0.0, 0
        for y in range(mask.shape[0]):
            for x in range(mask.shape[1]):
                if (c := int(mask[y, x])) == IGNORE:
                    continue
                row = logits[:, y, x].double().tolist()
                top = max(row)
                total += top + math.log(sum(math.exp(v - top) for v in row)) - row[c]
                count += 1
        sums.append(total)
        counts.append(count)
    return sums, counts


# ---- metrics --------------------------------------------------------------------------------------------------------


def _scene(rng, kind: str, classes: int, size=(5, 7)):
    truth = rng.integers(0, classes, size)
    if kind == "one class":
        truth[:] = 1
    if kind == "a class that never occurs":
        truth = rng.integers(0, classes - 1, size)
    if kind == "much ignored":
        truth[rng.random(size) < 0.7] = IGNORE
    if kind == "all ignored":
        truth[:] = IGNORE
    return truth.astype(np.uint8), rng.dirichlet(np.ones(classes), size).astype(np.float32)


KINDS = ("any", "one class", "a class that never occurs", "much ignored", "all ignored")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch", [1, 3])
def test_metrics_are_counts_over_the_whole_set(kind, batch):
    rng = np.random.default_rng(KINDS.index(kind))
    scenes = [_scene(rng, kind, 4) for _ in range(6)]
    metrics = SegmentationMetrics(("0", "1", "2", "3"), (5, 7))
    for start in range(0, 6, batch):
        part = scenes[start : start + batch]
        probs_UC = torch.from_numpy(np.concatenate([probs.reshape(-1, 4) for _, probs in part]))
        item_U = torch.arange(len(part)).repeat_interleave(35)
        metrics.update(
            Outputs(len(part), item_U, probs_UC), [Mask(torch.from_numpy(truth), (7, 5)) for truth, _ in part]
        )
    expected = slow_metrics([(truth, probs.argmax(2)) for truth, probs in scenes], 4)
    assert metrics.compute() == pytest.approx(expected)


def test_a_class_in_neither_is_left_out_and_one_only_predicted_counts_as_zero():
    metrics = SegmentationMetrics(("a", "b", "c"), (1, 2))
    probs = torch.tensor([[0.9, 0.1, 0.0], [0.1, 0.9, 0.0]])
    metrics.update(Outputs(1, torch.zeros(2).long(), probs), [Mask(torch.zeros(1, 2, dtype=torch.uint8), (2, 1))])
    assert metrics.compute() == {"miou": 0.25, "pixel_accuracy": 0.5, "iou/a": 0.5, "iou/b": 0.0}


def test_metrics_look_at_masks_in_their_own_size():
    """Probabilities are enlarged, then the class is taken: between two pixels that differ the border lies halfway."""
    rng = np.random.default_rng(0)
    probs = rng.dirichlet(np.ones(3), (4, 6)).astype(np.float32)
    large = F.interpolate(torch.from_numpy(probs).permute(2, 0, 1)[None], size=(9, 11), mode="bilinear")[0]
    truth = rng.integers(0, 3, (9, 11)).astype(np.uint8)
    metrics = SegmentationMetrics(("0", "1", "2"), (4, 6))
    outputs = Outputs(1, torch.zeros(24).long(), torch.from_numpy(probs.reshape(-1, 3)))
    metrics.update(outputs, [Mask(torch.from_numpy(truth), (11, 9))])
    assert metrics.compute() == pytest.approx(slow_metrics([(truth, large.argmax(0).numpy())], 3))


def test_pixels_of_which_a_model_says_nothing_are_missed_and_found_nowhere():
    metrics = SegmentationMetrics(("a", "b"), (1, 2))
    probs = torch.tensor([[math.nan, math.nan], [0.0, 1.0]])
    metrics.update(Outputs(1, torch.zeros(2).long(), probs), [Mask(torch.tensor([[0, 1]]).byte(), (2, 1))])
    assert metrics.compute() == {"miou": 0.5, "pixel_accuracy": 0.5, "iou/a": 0.0, "iou/b": 1.0}


def test_nothing_known_gives_no_metrics():
    assert SegmentationMetrics(("a", "b"), (2, 2)).compute() == {}


# ---- the loss -------------------------------------------------------------------------------------------------------


class _Fixed(torch.nn.Module):
    """Says what it was given, whatever the image."""

    def __init__(self, logits: torch.Tensor, aux: torch.Tensor | None = None) -> None:
        super().__init__()
        self.logits = torch.nn.Parameter(logits)
        self.aux = aux

    def forward(self, images):
        return self.logits if self.aux is None else {"out": self.logits, "aux": self.aux}


@given(st.integers(0, 10_000), st.sampled_from(KINDS))
def test_the_loss_is_the_mean_over_pixels_with_a_class(seed, kind):
    rng = np.random.default_rng(seed)
    masks = torch.from_numpy(np.stack([_scene(rng, kind, 3, (3, 4))[0] for _ in range(2)]))
    logits = torch.from_numpy(rng.normal(size=(2, 3, 3, 4), scale=5).astype(np.float32))
    task = Segmentation(("0", "1", "2"), InputSpec((3, 4)), dice=0)
    net = _Fixed(logits)
    batch = Batch(torch.zeros(2, 3, 3, 4), masks)
    sums, counts = slow_loss(logits, masks)
    losses = task.loss(net, batch)
    np.testing.assert_allclose(losses["cross_entropy"][0].detach(), sums, rtol=1e-4, atol=1e-5)
    assert losses["cross_entropy"][1].tolist() == counts
    assert float(batch_loss(losses).detach()) == pytest.approx(sum(sums) / max(1, sum(counts)), rel=1e-4, abs=1e-6)
    published = float(batch_loss(over_all_pixels(net, task, batch)).detach())
    assert published == pytest.approx(sum(sums) / (2 * 12), rel=1e-4, abs=1e-6)
    batch_loss(losses).backward()
    assert torch.isfinite(net.logits.grad).all(), "an image of which nothing is known moves nothing, and is no NaN"
    assert (net.logits.grad.abs().sum(1)[masks == IGNORE] == 0).all()


def slow_dice(logits: torch.Tensor, masks: torch.Tensor) -> list[float | None]:
    """One minus the mean smoothed Dice coefficient of the classes of an image; None where it has none."""
    found: list[float | None] = []
    for logits_CHW, mask_HW in zip(logits.double(), masks, strict=True):
        probs_CHW, coefficients = logits_CHW.softmax(0), []
        for cls in sorted({int(value) for value in mask_HW.flatten() if value != IGNORE}):
            both = said = true = 0.0
            for y in range(mask_HW.shape[0]):
                for x in range(mask_HW.shape[1]):
                    if mask_HW[y, x] != IGNORE:
                        is_it = float(mask_HW[y, x] == cls)
                        both += float(probs_CHW[cls, y, x]) * is_it
                        said += float(probs_CHW[cls, y, x])
                        true += is_it
            coefficients.append((2 * both + 1) / (said + true + 1))
        found.append(1 - sum(coefficients) / len(coefficients) if coefficients else None)
    return found


@given(st.integers(0, 10_000), st.sampled_from(KINDS), st.sampled_from([0.5, 1.0]))
def test_the_dice_loss_is_what_is_missed_of_each_class_of_an_image(seed, kind, weight):
    rng = np.random.default_rng(seed)
    masks = torch.from_numpy(np.stack([_scene(rng, kind, 3, (3, 4))[0] for _ in range(3)]))
    logits = torch.from_numpy(rng.normal(size=(3, 3, 3, 4), scale=5).astype(np.float32))
    task = Segmentation(("0", "1", "2"), InputSpec((3, 4)), dice=weight)
    net = _Fixed(logits)
    losses = task.loss(net, Batch(torch.zeros(3, 3, 3, 4), masks))
    expected = slow_dice(logits, masks)
    assert losses["dice"][1].tolist() == [float(value is not None) for value in expected]
    np.testing.assert_allclose(losses["dice"][0].detach(), [weight * (value or 0) for value in expected], atol=1e-5)
    batch_loss(losses).backward()
    assert torch.isfinite(net.logits.grad).all()
    assert (net.logits.grad.abs().sum(1)[masks == IGNORE] == 0).all()


def test_what_a_model_says_of_ignored_pixels_is_of_no_account_even_if_it_is_infinite():
    logits = torch.zeros(1, 2, 1, 2)
    logits[..., 1] = 1e30
    task = Segmentation(("0", "1"), InputSpec((1, 2)), dice=0)
    net = _Fixed(logits)
    loss = batch_loss(task.loss(net, Batch(torch.zeros(1, 3, 1, 2), torch.tensor([[[0, IGNORE]]]).byte())))
    loss.backward()
    assert float(loss.detach()) == pytest.approx(math.log(2))
    assert torch.isfinite(net.logits.grad).all()


def test_a_second_head_counts_half_while_training_and_not_at_all_afterwards():
    rng = np.random.default_rng(0)
    logits, aux = (torch.from_numpy(rng.normal(size=(1, 2, 2, 2)).astype(np.float32)) for _ in range(2))
    task = Segmentation(("0", "1"), InputSpec((2, 2)), dice=0)
    batch = Batch(torch.zeros(1, 3, 2, 2), torch.tensor([[[0, 1], [1, IGNORE]]]).byte())
    (main,), (second,) = slow_loss(logits, batch.targets)[0], slow_loss(aux, batch.targets)[0]
    net = _Fixed(logits, aux)
    assert float(image_losses(task.loss(net.train(), batch)).detach()) == pytest.approx((main + second / 2) / 3)
    assert float(image_losses(task.loss(net.eval(), batch)).detach()) == pytest.approx(main / 3)


# ---- images and masks together --------------------------------------------------------------------------------------


def _pair(seed: int):
    """Images whose three channels are the classes of their masks, so that what moves apart is seen."""
    masks = torch.from_numpy(np.random.default_rng(seed).integers(0, 5, (6, 12, 16)).astype(np.uint8))
    blocks = masks[:, ::4, ::4].repeat_interleave(4, 1).repeat_interleave(4, 2)
    return blocks[:, None].expand(-1, 3, -1, -1).float() + 1, blocks


def test_flipped_masks_follow_their_images():
    images, masks = _pair(0)
    turned, turned_masks = augment.flipped_masks(images, masks, torch_generator(1, "a"))
    assert torch.equal(turned[:, 0] - 1, turned_masks.float())
    same = (turned == images).flatten(1).all(1)
    assert 0 < same.sum() < 6
    assert torch.equal(turned[~same], images[~same].flip(-1))


@pytest.mark.parametrize("scale", [(0.5, 0.5), (1.0, 1.0), (2.0, 2.0), (0.8, 1.25)])
def test_rescaled_masks_follow_their_images(scale):
    images, masks = _pair(1)
    moved, moved_masks = augment.rescaled_masks(images, masks, torch_generator(2, "a"), scale=scale)
    assert moved_masks.dtype == torch.uint8
    assert set(moved_masks.unique().tolist()) <= {*range(5), IGNORE}
    # inside a block bilinear and nearest agree; what came in from outside is zero in one and ignored in the other
    flat = (F.max_pool2d(moved, 3, 1, 1) == moved) & (-F.max_pool2d(-moved, 3, 1, 1) == moved)
    inner = flat[:, 0]
    assert inner.float().mean() > 0.1
    expected = torch.where(moved[:, 0] == 0, torch.tensor(float(IGNORE)), moved[:, 0] - 1)
    torch.testing.assert_close(moved_masks.float()[inner], expected[inner])
    if scale == (0.5, 0.5):
        assert (moved_masks == IGNORE).float().mean() > 0.5


def test_unlabelled_images_change_as_labelled_ones_do():
    images, masks = _pair(2)
    for change in (augment.flipped_masks, augment.rescaled_masks):
        with_masks = change(images, masks, torch_generator(3, "a"))[0]
        without, none = change(images, None, torch_generator(3, "a"))
        assert none is None
        assert torch.equal(with_masks, without)


@pytest.mark.parametrize("degrees", [0.0, 20.0])
@pytest.mark.parametrize("mirrored", [False, True])
def test_what_is_said_of_a_view_is_laid_back_on_the_image(degrees, mirrored):
    """A view of a smooth picture, laid back, is that picture wherever the view shows it."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, 40), torch.linspace(-1, 1, 56), indexing="ij")
    picture = torch.stack([torch.sin(2 * x) + y, torch.cos(2 * y) - x])[None]
    angle = math.radians(degrees)
    moved = torch.tensor([[math.cos(angle), -math.sin(angle), 0.0], [math.sin(angle), math.cos(angle), 0.0]])
    if mirrored:
        moved = moved * torch.tensor([[-1.0], [1.0]])
    grid = F.affine_grid(moved[None], [1, 2, 40, 56], align_corners=False)
    view = F.grid_sample(picture, grid, align_corners=False)
    back, shown = augment.laid_back(view, moved)
    assert shown.float().mean() > (0.6 if degrees else 0.99)
    inner = shown.clone()
    inner[:2], inner[-2:], inner[:, :2], inner[:, -2:] = False, False, False, False
    assert (back - picture)[0][:, inner].abs().max() < (0.08 if degrees else 1e-4)
