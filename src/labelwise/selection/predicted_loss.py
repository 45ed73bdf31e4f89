"""Losses that teach a head to rank images by their loss, and how well it does. Dimension key: B, N images, P pairs."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

#: rows that are compared with all others at once
_BLOCK = 1024


def _pairs(values_B: Tensor) -> tuple[Tensor, Tensor]:
    """Image i and image B - 1 - i; of an odd number the one in the middle is left out."""
    half = len(values_B) // 2
    return values_B[:half], values_B.flip(0)[:half]


def _mean(values_P: Tensor, wanted_P: Tensor) -> Tensor:
    """Over the pairs that count; zero, with a gradient of zero, where there are none."""
    return torch.where(wanted_P, values_P, torch.zeros_like(values_P)).sum() / wanted_P.sum().clamp_min(1)


def ranking_loss(said_B: Tensor, loss_B: Tensor, *, margin: float = 1.0) -> Tensor:
    """Hinge loss over pairs of images: the one with the higher loss is to be said to have it, by a margin.

    ``mean over i < B // 2 of max(0, margin - s_i (said_i - said_j))`` with j = B - 1 - i and s_i = +1 if loss_i >
    loss_j, else -1, also where they are equal. Pairs whose loss is not finite do not count.

    Args:
        said_B: what the head says, any real number.
        loss_B: the loss of each image; no gradient goes into it.
        margin: wanted distance.

    Returns:
        Scalar; zero for a single image.

    Cost:
        O(B).

    Example:
        >>> float(ranking_loss(torch.tensor([0.0, 0.0, 0.5, 3.0]), torch.tensor([1.0, 9.0, 2.0, 4.0])))
        0.75

    Reference:
        Yoo and Kweon, "Learning Loss for Active Learning", CVPR 2019, equation 2; pairs by position, as batches are
        drawn at random.
    """
    (one_P, other_P), (loss_P, rest_P) = _pairs(said_B.float()), _pairs(loss_B.detach().float())
    sign_P = torch.where(loss_P > rest_P, 1.0, -1.0)
    finite_P = torch.isfinite(loss_P) & torch.isfinite(rest_P)
    return _mean(F.relu(margin - sign_P * (one_P - other_P)), finite_P)


def divergence_loss(said_B: Tensor, loss_B: Tensor) -> Tensor:
    """Divergence, over pairs of images, of what the head says from how the loss is shared between the two.

    ``mean over i < B // 2 of sum_k p_k (ln p_k - ln q_k)`` for the pair k = i, B - 1 - i, with p = loss / (sum of the
    two losses) and q the softmax of what the head says of the two. The gradient vanishes where q = p, so that a pair
    of much the same loss pulls less than one of very different ones. Pairs whose loss is not finite do not count; two
    losses of zero share alike.

    Args:
        said_B: what the head says, any real number.
        loss_B: the loss of each image, not negative; no gradient goes into it.

    Returns:
        Scalar; zero for a single image.

    Cost:
        O(B).

    Example:
        >>> float(divergence_loss(torch.zeros(2), torch.tensor([1.0, 1.0])))
        0.0

    Reference:
        Shukla and Ahmed, "A Mathematical Analysis of Learning Loss for Active Learning in Regression", CVPR Workshops
        2021 (LearningLoss++); as in the authors' code, but for the pairs, which are those of ``ranking_loss``.
    """
    said_P2 = torch.stack(_pairs(said_B.float()), dim=1)
    loss_P2 = torch.stack(_pairs(loss_B.detach().float().clamp_min(0)), dim=1)
    finite_P = torch.isfinite(loss_P2).all(1)
    # before anything is computed of them: no mask keeps NaN out of a gradient afterwards
    loss_P2 = torch.where(finite_P[:, None], loss_P2, torch.zeros_like(loss_P2))
    total_P1 = loss_P2.sum(1, keepdim=True)
    share_P2 = torch.where(total_P1 > 0, loss_P2 / total_P1, torch.full_like(loss_P2, 0.5))
    terms_P2 = torch.xlogy(share_P2, share_P2) - share_P2 * said_P2.log_softmax(1)
    return _mean(terms_P2.sum(1), finite_P)


def ranking_accuracy(said_N: Tensor, loss_N: Tensor) -> float:
    """Share of all pairs of images that are said to be in the order of their losses, in [0, 1]; NaN below two images.

    ``(l_i - l_j) (said_i - said_j) > 0``: equal ones count as wrong, so that a head that says the same of all has 0.

    Args:
        said_N: what the head says.
        loss_N: the loss of each image.

    Cost:
        O(N^2) time, O(N) memory.

    Example:
        >>> ranking_accuracy(torch.tensor([0.1, 0.2, 0.3]), torch.tensor([1.0, 3.0, 2.0]))
        0.6666666666666666

    Reference:
        Yoo and Kweon, CVPR 2019, section 4.
    """
    count = len(said_N)
    right = 0
    for start in range(0, count, _BLOCK):
        rows = slice(start, start + _BLOCK)
        said, loss = said_N[rows, None] - said_N[None], loss_N[rows, None] - loss_N[None]
        right += int((said * loss > 0).sum())
    return right / (count * (count - 1)) if count > 1 else float("nan")
