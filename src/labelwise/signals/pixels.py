"""What a model says of every pixel of an image: for pictures and pre-annotations of a few, never for a pool.

Shape letters: B images, P pixels of the model's input, row by row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from labelwise.signals.base import Plain
from labelwise.signals.plain import MEASURES, Measure
from labelwise.task import Field, Outputs


@dataclass(frozen=True)
class PixelClass(Plain):
    """The most likely class of every pixel: (B, P) uint8."""

    name: ClassVar[str] = "pixel_class"

    @property
    def fields(self) -> frozenset[Field]:
        """Needs a task whose units are pixels."""
        return frozenset({"probs", "map_embedding"})

    def compute(self, outputs: Outputs) -> Tensor:
        """(B, P) uint8."""
        return outputs.probs_UC.argmax(1).to(torch.uint8).view(outputs.size, -1)


@dataclass(frozen=True)
class PixelUncertainty(Plain):
    """Uncertainty of every pixel: (B, P) float32.

    Args:
        measure: as in ``Uncertainty``.
    """

    name: ClassVar[str] = "pixel_uncertainty"
    measure: Measure = "entropy"

    @property
    def fields(self) -> frozenset[Field]:
        """Needs a task whose units are pixels."""
        return frozenset({"probs", "map_embedding"})

    def compute(self, outputs: Outputs) -> Tensor:
        """(B, P) float32."""
        return MEASURES[self.measure](outputs.probs_UC, exclusive=outputs.exclusive).float().view(outputs.size, -1)
