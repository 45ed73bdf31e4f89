"""Losses as named parts, each with its norm: of a batch, and of each image."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

#: Named parts of a loss, each (sum_B, norm_B): the loss of an image is sum / norm of its row, the loss of a batch is
#: the sum of sums over the sum of norms, so that splitting a batch changes nothing. Norms count something (images,
#: positives, valid pixels); where there is nothing to count, the divisor is one.
Losses = Mapping[str, tuple["Tensor", "Tensor"]]
#: beginning of the names of parts that a ``Loss`` only tells of: they are averaged into the fit report, and not learnt
TOLD = "told "


def batch_loss(losses: Losses, *, gathered: Callable[[Tensor], Tensor] | None = None) -> Tensor:
    """Scalar loss of a batch: sum over parts of (sum of sums) / max(1, sum of norms); no gradient through the norms.

    Args:
        losses: the parts.
        gathered: makes the sum of norms of this process that of all processes; None where there is only one.
    """
    return batch_parts(losses, gathered=gathered).sum()


def batch_parts(losses: Losses, *, gathered: Callable[[Tensor], Tensor] | None = None) -> Tensor:
    """(P,) the parts that ``batch_loss`` adds up, in their order."""
    import torch  # settings are read, and labels, without it

    def part(sums_B: Tensor, norms_B: Tensor) -> Tensor:
        norm = norms_B.detach().sum()
        return sums_B.sum() / (norm if gathered is None else gathered(norm)).clamp_min(1)

    return torch.stack([part(*each) for each in losses.values()])


def image_losses(losses: Losses) -> Tensor:
    """Loss of each image (B): sum over parts of sum / max(1, norm) of its row."""
    import torch

    return torch.stack([sums / norms.clamp_min(1) for sums, norms in losses.values()]).sum(dim=0)
