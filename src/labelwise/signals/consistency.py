"""Whether a model says the same of objects or points in a changed view of an image, and in the same place."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor

from labelwise.contracts.passes import Passes, Views
from labelwise.contracts.signal import Draw
from labelwise.contracts.task import Field, Outputs
from labelwise.selection.objects import consistency, paired_overlap, point_consistency
from labelwise.selection.reduction import fill_empty, reduce_present


@dataclass(frozen=True)
class ViewConsistency(Draw):
    """How near an object of the image comes to being half consistent, (B,) float32, at most 0.

    ``s = -mean_t min_j |m_tj - base|`` with the consistency ``m`` in [0, 2] of box j in view t (see
    ``labelwise.selection.objects.consistency``, of key points ``point_consistency``). The boxes, or the peaks of the
    map of a point, are those of the unchanged image, judged again at their places; a view that changes nothing (every
    other one, where all that views do is to flip) is left out.

    Args:
        source: the views; ``Views(draws=2, degrees=0, noise=0)`` is the mirror image.
        base: consistency of the most informative objects: neither hopeless nor settled.
        empty: which value an image without objects takes.

    Reference:
        Yu et al., "Consistency-based Active Learning for Object Detection", CVPR workshops 2022, equations 3 to 6.
    """

    name: ClassVar[str] = "view_consistency"
    source: Views = field(default_factory=lambda: Views(draws=2, degrees=0.0, noise=0.0))
    base: float = 1.3
    empty: Literal["last", "median", "first"] = "last"

    def __post_init__(self) -> None:
        if not any(self._changes(draw) for draw in range(self.source.draws)):
            raise ValueError(f"{self.source!r} changes nothing: give two draws with a flip, degrees or noise")

    @property
    def passes(self) -> Passes:
        """The views."""
        return self.source

    @property
    def fields(self) -> frozenset[Field]:
        """Needs objects or points that later passes judge again."""
        return frozenset({"probs", "scores"})

    def _changes(self, draw: int) -> bool:
        return self.source.degrees > 0 or self.source.noise_of(draw) > 0 or (self.source.flip and draw % 2 == 1)

    def start(self, outputs: Outputs) -> tuple[Outputs, int, list[Tensor]]:
        """The boxes of the unchanged image."""
        return outputs, 0, []

    def step(self, state: tuple[Outputs, int, list[Tensor]], outputs: Outputs) -> tuple[Outputs, int, list[Tensor]]:
        """One more view."""
        first, draw, found = state
        if self._changes(draw):
            near_U = -(_consistency(first, outputs) - self.base).abs()
            near_B, present_B = reduce_present(near_U, first.unit_item_U, first.size, how="max")
            found = [*found, torch.where(present_B, near_B, -torch.inf)]
        return first, draw + 1, found

    def finish(self, state: tuple[Outputs, int, list[Tensor]]) -> Tensor:
        """(B,) float32; -inf marks an image without objects."""
        return torch.stack(state[2]).mean(0).float()

    def settle(self, rows_N: Tensor) -> Tensor:
        """Images without objects take their declared value."""
        return fill_empty(rows_N, rows_N != -torch.inf, empty=self.empty)


def _consistency(first: Outputs, again: Outputs) -> Tensor:
    if "boxes" not in first.extra:
        return point_consistency(first.probs_UC, again.probs_UC)
    boxes_U4, again_U4 = first.extra["boxes"], again.extra["boxes"]
    return consistency(boxes_U4, first.probs_UC, again_U4, again.probs_UC, exclusive=first.exclusive)


@dataclass(frozen=True)
class BoxShift(Draw):
    """How far the boxes of an image move when noise is added to it, (B,) float32 in [-1, 0].

    ``-sum_j p_j mean_t IoU(b_j, b_tj) / sum_j p_j`` over the boxes j, with score p_j, and the levels of noise t; b_tj
    is what the detector says at the place of box j once noise of that level is added.

    Args:
        source: views that add noise, and neither mirror nor turn.
        classes: add ``1 - min_j p_j``, how little is known of the class of the least certain box: then in [-1, 1].
        empty: which value an image without boxes takes.

    Reference:
        Kao, Lee, Sen and Liu, "Localization-Aware Active Learning for Object Detection", ACCV 2018, section 3.3.
    """

    name: ClassVar[str] = "box_shift"
    source: Views = field(default_factory=lambda: Views(draws=1, flip=False, degrees=0.0))
    classes: bool = False
    empty: Literal["last", "median", "first"] = "last"

    @property
    def passes(self) -> Passes:
        """The levels of noise."""
        return self.source

    @property
    def fields(self) -> frozenset[Field]:
        """Needs boxes that later passes judge again."""
        return frozenset({"boxes", "scores"})

    def start(self, outputs: Outputs) -> tuple[Outputs, list[Tensor]]:
        """The boxes of the unchanged image."""
        return outputs, []

    def step(self, state: tuple[Outputs, list[Tensor]], outputs: Outputs) -> tuple[Outputs, list[Tensor]]:
        """One more level of noise."""
        first, found = state
        return first, [*found, paired_overlap(first.extra["boxes"], outputs.extra["boxes"])]

    def finish(self, state: tuple[Outputs, list[Tensor]]) -> Tensor:
        """(B,) float32; -inf marks an image without boxes."""
        first, found = state
        score_U, item_U = first.extra["scores"].float(), first.unit_item_U
        stable_U = torch.stack(found).mean(0)
        stable_B, present_B = reduce_present(stable_U, item_U, first.size, how="weighted", weight_U=score_U)
        value_B = -stable_B
        if self.classes:
            value_B = value_B + reduce_present(1 - score_U, item_U, first.size, how="max")[0]
        return torch.where(present_B, value_B, -torch.inf).float()

    def settle(self, rows_N: Tensor) -> Tensor:
        """Images without boxes take their declared value."""
        return fill_empty(rows_N, rows_N != -torch.inf, empty=self.empty)
