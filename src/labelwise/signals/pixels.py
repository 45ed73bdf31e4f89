"""What a model says of every pixel of an image: for pictures of a few, never for a pool."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from labelwise.contracts.signal import Plain
from labelwise.contracts.task import Field, Outputs
from labelwise.signals.plain import MEASURES, Measure


@dataclass(frozen=True)
class PixelUncertainty(Plain):
    """Uncertainty of every pixel of the model's input, row by row: (B, H * W) float32.

    Args:
        measure: as in ``Uncertainty``.

    Cost:
        Four bytes a pixel.
    """

    name: ClassVar[str] = "pixel_uncertainty"
    measure: Measure = "entropy"

    @property
    def fields(self) -> frozenset[Field]:
        """Needs a task whose units are pixels."""
        return frozenset({"probs", "per_pixel"})

    def compute(self, outputs: Outputs) -> Tensor:
        """(B, H * W) float32."""
        values_U = MEASURES[self.measure](outputs.probs_UC, exclusive=outputs.exclusive)
        return values_U.float().view(outputs.size, -1)
