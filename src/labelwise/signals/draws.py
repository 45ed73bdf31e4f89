"""Signals from stochastic passes: disagreement between draws, folded so that T passes need the memory of one."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor

from labelwise.contracts.passes import Dropout, Passes
from labelwise.contracts.signal import Draw
from labelwise.contracts.task import Field, Outputs
from labelwise.errors import UnmetNeed
from labelwise.selection import draws as fold
from labelwise.selection.reduction import fill_empty
from labelwise.signals.plain import Reduction, reduced

DrawMeasure = Literal["bald", "mean_std", "variation_ratio", "predictive_entropy", "predictive_variance"]

_FINISH: dict[str, tuple[Callable[[fold.Draws], Tensor], tuple[fold.Part, ...]]] = {
    "bald": (fold.bald, ("mean", "entropy")),
    "mean_std": (fold.mean_std, ("mean", "spread")),
    "variation_ratio": (fold.variation_ratio, ("votes",)),
    "predictive_entropy": (fold.predictive_entropy, ("mean",)),
    "predictive_variance": (fold.predictive_variance, ("mean", "spread")),
}


@dataclass(frozen=True)
class DrawUncertainty(Draw):
    """Uncertainty of each unit over stochastic passes, reduced to the item.

    Detection re-scores the boxes of the first pass. With dropout, what the network computes before its first mask is
    computed once for all passes.

    Args:
        measure: ``bald`` (mutual information), ``mean_std``, ``variation_ratio``, ``predictive_entropy`` or
            ``predictive_variance``.
        source: where the passes come from.
        reduction: how units become an item, as for ``Uncertainty``.
        top: number of units for ``top_k``, percent of them for ``top_share``.
        empty: which value an item without units takes.

    Reference:
        Gal, Islam and Ghahramani, "Deep Bayesian Active Learning with Image Data", ICML 2017, section 4.
    """

    name: ClassVar[str] = "draw_uncertainty"
    measure: DrawMeasure = "bald"
    source: Passes = field(default_factory=Dropout)
    reduction: Reduction = "mean"
    top: int = 10
    empty: Literal["last", "median", "first"] = "last"

    @property
    def words(self) -> str:
        """The measure."""
        return self.measure.replace("_", " ")

    @property
    def passes(self) -> Passes:
        """The declared source."""
        return self.source

    def start(self, outputs: Outputs) -> tuple[Outputs, fold.Draws]:
        """The deterministic pass gives the units; it is not a draw itself."""
        outputs = outputs.questions()
        units, classes = outputs.probs_UC.shape
        parts = _FINISH[self.measure][1]
        state = fold.start(units, classes, exclusive=outputs.exclusive, parts=parts, device=outputs.probs_UC.device)
        return outputs, state

    def step(self, state: tuple[Outputs, fold.Draws], outputs: Outputs) -> tuple[Outputs, fold.Draws]:
        """One more draw."""
        return state[0], fold.step(state[1], outputs.questions().probs_UC)

    def finish(self, state: tuple[Outputs, fold.Draws]) -> Tensor:
        """(B,) float32."""
        return reduced(_FINISH[self.measure][0](state[1]), state[0], self.reduction, self.top)

    def settle(self, rows_N: Tensor) -> Tensor:
        """Items without a unit take their declared value."""
        return fill_empty(rows_N, rows_N != -math.inf, empty=self.empty)


@dataclass(frozen=True)
class DrawProbs(Draw):
    """Class probabilities of every draw: (B, T, C). Only for tasks whose unit is the image.

    What methods need that look at several items at once: how they vary *together* is lost in any fold. A single
    column, one yes/no question, becomes two classes, no and yes.

    Args:
        source: where the passes come from.
        half: keep float16, half the memory, three digits.

    Cost: 4 T C bytes an item (2 T C with ``half``).
    """

    name: ClassVar[str] = "draw_probs"
    source: Passes = field(default_factory=Dropout)
    half: bool = False

    @property
    def passes(self) -> Passes:
        """The declared source."""
        return self.source

    @property
    def fields(self) -> frozenset[Field]:
        """Needs rows of images, not of objects or pixels."""
        return frozenset({"probs", "per_image"})

    def start(self, outputs: Outputs) -> list[Tensor]:
        """The deterministic pass is not a draw itself.

        Raises:
            UnmetNeed: several yes/no questions an image: their joint answers are too many to tell apart.
        """
        if not outputs.exclusive and outputs.probs_UC.shape[1] > 1:
            raise UnmetNeed(
                "probabilities of all draws are kept only where classes exclude each other; here an image may have "
                "several classes: choose a strategy that scores each image by itself, as bald"
            )
        return []

    def step(self, state: list[Tensor], outputs: Outputs) -> list[Tensor]:
        """One more draw."""
        probs_BC = outputs.probs_UC.half() if self.half else outputs.probs_UC.float()
        if probs_BC.shape[1] == 1:
            probs_BC = torch.cat([1 - probs_BC, probs_BC], dim=1)
        return [*state, probs_BC]

    def finish(self, state: list[Tensor]) -> Tensor:
        """(B, T, C) float32 or float16."""
        return torch.stack(state, dim=1)
