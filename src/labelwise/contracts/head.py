"""The one piece of a model that strategies may see: the layer in which it ends."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class LinearHead:
    """The layer in which a model ends: ``logits = embedding @ weight.T + bias``.

    It reads the embedding of the model in training, ``Embedding("task")``, in the same units.

    Args:
        weight_CD: one row per class, float32.
        bias_C: one entry per class, float32.

    Example:
        >>> head = LinearHead(torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.zeros(2))
        >>> head.logits(torch.tensor([[3.0, 1.0]]))
        tensor([[3., 2.]])
    """

    weight_CD: Tensor
    bias_C: Tensor

    def logits(self, rows_AD: Tensor) -> Tensor:
        """(A, C) float32: what the model says of these embeddings, which may be mixtures that no image has."""
        weight_CD, bias_C = (part.to(rows_AD.device) for part in (self.weight_CD, self.bias_C))
        return torch.addmm(bias_C, rows_AD.float(), weight_CD.T)
