"""Linear systems by conjugate gradients, where the matrix is known by what it makes of a vector. P: unknowns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Solution:
    """What conjugate gradients came to.

    Args:
        values_P: the unknowns.
        residual: |A x - b| / |b|: 0 is exact, 1 is no better than zeros.
        steps: products with the matrix.
    """

    values_P: Tensor
    residual: float
    steps: int


def conjugate_gradients(
    product: Callable[[Tensor], Tensor], right_P: Tensor, *, steps: int, tolerance: float = 1e-6
) -> Solution:
    """Solves A x = b for a symmetric positive definite A.

    Args:
        product: A d for a vector d (P,).
        right_P: b; where it is zero so is x.
        steps: products at most.
        tolerance: of the residual |A x - b| / |b|; once it is as small, no further step is taken.

    Cost:
        a product a step, four vectors of memory.

    Example:
        >>> found = conjugate_gradients(lambda d: torch.tensor([2.0, 4.0]) * d, torch.tensor([2.0, 2.0]), steps=5)
        >>> found.values_P, found.steps
        (tensor([1.0000, 0.5000]), 2)

    Reference:
        Hestenes and Stiefel, "Methods of Conjugate Gradients for Solving Linear Systems", 1952.
    """
    x_P = torch.zeros_like(right_P)
    residual_P, direction_P = right_P.clone(), right_P.clone()
    size = first = residual_P.dot(residual_P)
    taken = 0
    while taken < steps and float(size) > tolerance**2 * float(first):
        image_P = product(direction_P)
        bent = direction_P.dot(image_P)
        if not float(bent) > 0:
            break  # no longer positive definite, by rounding or because it never was
        length = size / bent
        x_P = x_P + length * direction_P
        residual_P = residual_P - length * image_P
        before, size = size, residual_P.dot(residual_P)
        direction_P = residual_P + size / before * direction_P
        taken += 1
    return Solution(x_P, float((size / first.clamp_min(torch.finfo(first.dtype).tiny)).sqrt()), taken)
