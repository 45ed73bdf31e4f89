"""Ranking losses against slow twins written out pair by pair, with the gradient that follows from them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from labelwise.selection.predicted_loss import divergence_loss, ranking_accuracy, ranking_loss

LOSSES = (1.5, 0.2, 3.0, 0.7, 2.0)
SAID = (0.3, 0.9, -0.4, 0.1, 0.25)


def _tensors(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor(SAID[:count], dtype=torch.float64, requires_grad=True), torch.tensor(LOSSES[:count])


def hinge_by_hand(said, losses, margin) -> tuple[float, list[float]]:
    """The published loss over positional pairs, and its derivative by each of the predictions."""
    half, value, slope = len(said) // 2, 0.0, [0.0] * len(said)
    for i in range(half):
        j = len(said) - 1 - i
        sign = 1 if losses[i] - losses[j] > 0 else -1
        room = margin - sign * (said[i] - said[j])
        if room > 0:
            value += room / half
            slope[i] -= sign / half
            slope[j] += sign / half
    return value, slope


def divergence_by_hand(said, losses) -> tuple[float, list[float]]:
    half, value, slope = len(said) // 2, 0.0, [0.0] * len(said)
    for i in range(half):
        j = len(said) - 1 - i
        p = [losses[i] / (losses[i] + losses[j]), losses[j] / (losses[i] + losses[j])]
        q = [math.exp(said[k]) / (math.exp(said[i]) + math.exp(said[j])) for k in (i, j)]
        value += sum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a) / half
        slope[i] += (q[0] - p[0]) / half
        slope[j] += (q[1] - p[1]) / half
    return value, slope


@pytest.mark.parametrize("count", [4, 5])
@pytest.mark.parametrize("margin", [0.0, 0.5, 1.0])
def test_the_ranking_loss_and_its_gradient(count, margin):
    said, losses = _tensors(count)
    value = ranking_loss(said, losses, margin=margin)
    value.backward()
    by_hand, slope = hinge_by_hand(SAID[:count], LOSSES[:count], margin)
    assert value.item() == pytest.approx(by_hand, rel=1e-6)
    np.testing.assert_allclose(said.grad, slope, atol=1e-7)
    if count == 5:
        assert said.grad[2] == 0, "the middle one of an odd number is left out"


@pytest.mark.parametrize("count", [4, 5])
def test_the_divergence_and_its_gradient(count):
    said, losses = _tensors(count)
    value = divergence_loss(said, losses)
    value.backward()
    by_hand, slope = divergence_by_hand(SAID[:count], LOSSES[:count])
    assert value.item() == pytest.approx(by_hand, rel=1e-6)
    np.testing.assert_allclose(said.grad, slope, atol=1e-7)


def test_equal_losses_count_as_lower_and_share_alike():
    said = torch.tensor([0.4, 0.1], requires_grad=True)
    assert ranking_loss(said, torch.tensor([2.0, 2.0])).item() == pytest.approx(1.3)
    zero = divergence_loss(said, torch.zeros(2))
    assert zero.item() == pytest.approx(divergence_loss(said, torch.ones(2)).item())


@pytest.mark.parametrize("loss", [ranking_loss, divergence_loss])
@pytest.mark.parametrize("count", [0, 1])
def test_a_batch_of_one_teaches_nothing(loss, count):
    """The published mean over no pair is 0 / 0."""
    said = torch.ones(count, requires_grad=True)
    value = loss(said, torch.ones(count))
    assert value.item() == 0
    value.backward()
    assert not said.grad.any()


@pytest.mark.parametrize("loss", [ranking_loss, divergence_loss])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_no_number_leaves_its_pair_out(loss, bad):
    said = torch.tensor([0.3, 0.9, -0.4, 0.1], requires_grad=True)
    value = loss(said, torch.tensor([bad, 0.2, 3.0, 0.7]))
    rest = torch.tensor([0.9, -0.4], requires_grad=True)
    wanted = loss(rest, torch.tensor([0.2, 3.0]))
    assert value.item() == pytest.approx(wanted.item())
    value.backward()
    wanted.backward()
    np.testing.assert_allclose(said.grad, [0, *rest.grad, 0], atol=1e-7)


def test_no_gradient_goes_into_the_loss_of_images():
    losses = torch.tensor([1.0, 2.0], requires_grad=True)
    for loss in (ranking_loss, divergence_loss):
        loss(torch.ones(2, requires_grad=True), losses).backward()
    assert losses.grad is None


@pytest.mark.parametrize("count", [2, 7, 1100])
def test_ranking_accuracy_counts_pairs_in_the_right_order(count):
    rng = np.random.default_rng(count)
    said, losses = rng.integers(0, 50, count), rng.integers(0, 9, count)
    upper = np.triu_indices(count, 1)
    product = (said[:, None] - said)[upper] * (losses[:, None] - losses)[upper]
    found = ranking_accuracy(torch.from_numpy(said), torch.from_numpy(losses))
    assert found == pytest.approx(float((product > 0).mean()))


def test_ranking_accuracy_at_the_ends():
    rising = torch.arange(5.0)
    assert ranking_accuracy(rising, rising) == 1
    assert ranking_accuracy(-rising, rising) == 0
    assert ranking_accuracy(torch.zeros(5), rising) == 0
    assert math.isnan(ranking_accuracy(torch.zeros(1), torch.zeros(1)))
