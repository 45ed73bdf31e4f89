"""What a model says of each object, pixel or peak of an image: rows of different lengths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from labelwise.contracts.signal import Plain, Ragged
from labelwise.contracts.task import Field, Outputs
from labelwise.signals.plain import MEASURES, Measure


@dataclass(frozen=True)
class Units(Plain):
    """One field of every unit, item by item: ragged rows, none for an item without units.

    Args:
        of_unit: ``unit_embedding`` (D numbers), ``probs`` (class distribution; of exclusive detectors with the
            background last), ``boxes`` (corners in fractions), ``scores``, ``labels``, or ``points`` (places in
            fractions). Units of an item come in the same order in all of them.
    """

    name: ClassVar[str] = "units"
    of_unit: Literal["unit_embedding", "probs", "boxes", "scores", "labels", "points"] = "unit_embedding"

    @property
    def fields(self) -> frozenset[Field]:
        """Needs the field of the units."""
        return frozenset({"probs", self.of_unit})

    def compute(self, outputs: Outputs) -> Ragged:
        """Values (U, ...) float32, labels int64; and how many belong to each item."""
        values = outputs.probs_UC if self.of_unit == "probs" else outputs.extra[self.of_unit]
        if values.is_floating_point():
            values = values.float()
        return Ragged(values, outputs.unit_item_U.bincount(minlength=outputs.size))


@dataclass(frozen=True)
class UnitUncertainty(Plain):
    """Uncertainty of every unit, not reduced: ragged rows in the order of ``Units``.

    Args:
        measure: as in ``Uncertainty``; sigmoid heads give the entropy of as many yes/no questions as there are classes.
    """

    name: ClassVar[str] = "unit_uncertainty"
    measure: Measure = "entropy"

    @property
    def fields(self) -> frozenset[Field]:
        """Needs objects: of images and pixels there are better signals."""
        return frozenset({"probs", "scores"})

    def compute(self, outputs: Outputs) -> Ragged:
        """Values (U,) float32, and how many belong to each item."""
        values_U = MEASURES[self.measure](outputs.probs_UC, exclusive=outputs.exclusive).float()
        return Ragged(values_U, outputs.unit_item_U.bincount(minlength=outputs.size))
