"""Uncertainty of a prediction, one number per unit, from class probabilities.

A unit is whatever the task predicts for: an image, a detected object, a pixel, a heat-map peak. Higher = more
uncertain = more wanted. Dimension key: U units, C classes.

``exclusive`` says what a row of probabilities is. True: one distribution over C classes (softmax; rows sum to one).
False: C yes/no questions (sigmoid heads), each with its own probability. A single column is always one yes/no question:
for a true one-class softmax (all ones) both readings give zero.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from labelwise.errors import DataError
from labelwise.selection.arrays import ArrayLike, as_tensor, block_rows, real


def entropy(probs_UC: ArrayLike, *, exclusive: bool = True) -> Tensor:
    """Shannon entropy of each unit's prediction, in nats.

    ``H = -sum_c p_c ln p_c`` for a distribution, with ``0 ln 0 = 0``; for yes/no questions the sum over classes of
    the binary entropies ``-p ln p - (1-p) ln(1-p)``. Large when probability is spread over many classes.

    Args:
        probs_UC: probabilities in [0, 1], (U, C).
        exclusive: rows are distributions (softmax) and not independent yes/no probabilities (sigmoid).

    Returns:
        (U,) in [0, ln C], or [0, C ln 2] for yes/no questions.

    Raises:
        DataError: not a matrix with at least one column.

    Cost:
        O(U C) time, one block of memory.

    Example:
        >>> entropy(torch.tensor([[0.5, 0.5], [1.0, 0.0]])).round(decimals=4)
        tensor([0.6931, 0.0000])

    Reference:
        Shannon, A Mathematical Theory of Communication, 1948; as an acquisition: Settles, Active Learning Literature
        Survey, 2009, section 3.1. Logarithms are natural.
    """
    return by_rows(probs_UC, _entropy_exclusive, _entropy_binary, exclusive=exclusive)


def margin(probs_UC: ArrayLike, *, exclusive: bool = True) -> Tensor:
    """One minus the lead of the first class over the second.

    ``1 - (p_(1) - p_(2))`` for a distribution; for yes/no questions the least decided one counts:
    ``max_c (1 - |2 p_c - 1|)``. Large when two answers compete, however small the rest.

    Args:
        probs_UC: probabilities in [0, 1], (U, C).
        exclusive: rows are distributions (softmax) and not independent yes/no probabilities (sigmoid).

    Returns:
        (U,) in [0, 1]; 1 = the two best classes are equally likely.

    Raises:
        DataError: not a matrix with at least one column.

    Cost:
        O(U C) time, one block of memory.

    Example:
        >>> margin(torch.tensor([[0.5, 0.375, 0.125], [1.0, 0.0, 0.0]]))
        tensor([0.8750, 0.0000])

    Reference:
        Scheffer, Decomain, Wrobel, Active Hidden Markov Models for Information Extraction, 2001. The paper queries the
        *smallest* lead; it is turned round so that higher = more wanted.
    """
    return by_rows(probs_UC, _margin_exclusive, _margin_binary, exclusive=exclusive)


def least_confidence(probs_UC: ArrayLike, *, exclusive: bool = True) -> Tensor:
    """Probability that the most likely answer is wrong.

    ``1 - max_c p_c`` for a distribution; for yes/no questions the least sure one: ``max_c min(p_c, 1 - p_c)``.

    Args:
        probs_UC: probabilities in [0, 1], (U, C).
        exclusive: rows are distributions (softmax) and not independent yes/no probabilities (sigmoid).

    Returns:
        (U,) in [0, 1 - 1/C], or [0, 1/2] for yes/no questions.

    Raises:
        DataError: not a matrix with at least one column.

    Cost:
        O(U C) time, one block of memory.

    Example:
        >>> least_confidence(torch.tensor([[0.75, 0.25], [0.5, 0.5]]))
        tensor([0.2500, 0.5000])

    Reference:
        Lewis and Gale, A Sequential Algorithm for Training Text Classifiers, SIGIR 1994.
    """
    return by_rows(probs_UC, _least_exclusive, _least_binary, exclusive=exclusive)


def by_rows(
    probs_UC: ArrayLike,
    of_distribution: Callable[[Tensor], Tensor],
    of_questions: Callable[[Tensor], Tensor],
    *,
    exclusive: bool,
) -> Tensor:
    """Apply one of two formulas to blocks of rows, in float32 or better, so that no full-size temporary exists."""
    probs = as_probs(probs_UC)
    formula = of_distribution if exclusive and probs.shape[1] > 1 else of_questions
    parts = [formula(real(block_BC)) for block_BC in torch.split(probs, block_rows(probs))]
    return torch.cat(parts)


def as_probs(probs_UC: ArrayLike) -> Tensor:
    """Probabilities as a tensor of floats, (U, C).

    Raises:
        DataError: not a matrix of floating-point numbers with at least one column.
    """
    probs = as_tensor(probs_UC)
    if probs.ndim != 2 or probs.shape[1] == 0 or not probs.is_floating_point():
        raise DataError(
            f"probabilities have type {probs.dtype} and shape {tuple(probs.shape)}; needed are floats of shape "
            f"(units, classes) with at least one class"
        )
    return probs


def _entropy_exclusive(probs_BC: Tensor) -> Tensor:
    if not probs_BC.numel() or bool(probs_BC.amin() < 0):
        entropy_BC: Tensor = torch.special.entr(probs_BC)  # -inf for a negative probability: nothing hides it
        return entropy_BC.sum(1)
    # entr(p) = -p ln p with entr(0) = 0 takes its logarithms one by one; this takes them several at a time. The clamp
    # keeps 0 ln 0 at zero: NaN, where a probability has underflowed, would sort as "certain" or as "most uncertain"
    # depending on the library.
    log_BC = probs_BC.clamp_min(torch.finfo(probs_BC.dtype).tiny).log_()
    return 0 - log_BC.mul_(probs_BC).sum(1)


def _entropy_binary(probs_BC: Tensor) -> Tensor:
    return _entropy_exclusive(probs_BC) + _entropy_exclusive(1 - probs_BC)


def _margin_exclusive(probs_BC: Tensor) -> Tensor:
    # The lead is the smallest gap to the best class but for that class's own, which a mark above all gaps hides: a few
    # passes over a block in cache, a third of the time of topk, which sorts each row by itself.
    gap_BC = probs_BC.amax(1, keepdim=True) - probs_BC
    mark = 4.0 * max(1, gap_BC.numel())
    lead_B: Tensor = torch.nn.functional.threshold(gap_BC, 0.0, mark, inplace=True).amin(1)
    # All gaps together are below a quarter of a mark, so the sum counts marks; NaN counts as too many. Where two
    # classes are best, both were hidden, and the lead is zero.
    if not bool(gap_BC.sum() <= mark * (len(gap_BC) + 0.5)):
        lead_B = lead_B.masked_fill((gap_BC == mark).sum(1) > 1, 0.0)
    return 1 - lead_B


def _margin_binary(probs_BC: Tensor) -> Tensor:
    return (1 - (2 * probs_BC - 1).abs()).amax(1)


def _least_exclusive(probs_BC: Tensor) -> Tensor:
    return 1 - probs_BC.amax(1)


def _least_binary(probs_BC: Tensor) -> Tensor:
    return torch.minimum(probs_BC, 1 - probs_BC).amax(1)
