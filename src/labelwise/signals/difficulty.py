"""How hard the classes are for the detector as it is, found on the images that have labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from labelwise.contracts.signal import Prepared, Probe, ProbeContext, SignalRole
from labelwise.contracts.task import Batch, Field
from labelwise.selection.objects import found_quality


@dataclass(frozen=True)
class ClassDifficulty(Probe):
    """Difficulty of each class in [0, 1], one row for every image and the same in all: what is known of the labels.

    ``d_c = 1 - mean over objects of class c of max_j p_jc^xi IoU_j^(1 - xi)``, over the boxes j that the detector finds
    in the labelled images. A class without an object is as hard as can be (1).

    Args:
        xi: share of the class probability; the rest is the overlap's.

    Reference:
        Yang, Huang, Crowley, "Plug and Play Active Learning for Object Detection", CVPR 2024, section 3.2. There it is
        an average that runs along with the training steps, over the places that are matched to objects; here one pass
        over the labelled images under the finished weights, so that every detector has it and training stays as it is.
    """

    name: ClassVar[str] = "class_difficulty"
    xi: float = 0.6

    def __post_init__(self) -> None:
        if not 0 <= self.xi <= 1:
            raise ValueError(f"xi must lie in [0, 1], got {self.xi}")

    @property
    def fields(self) -> frozenset[Field]:
        """Needs boxes."""
        return frozenset({"probs", "boxes"})

    @property
    def prepared_from(self) -> frozenset[Prepared]:
        """The labels in use."""
        return frozenset({"labelled"})

    @torch.no_grad()
    def prepare(self, context: ProbeContext) -> Tensor:
        """(C,) difficulties."""
        classes = len(context.task.classes)
        sum_C, count_C = torch.zeros(classes, dtype=torch.float64), torch.zeros(classes, dtype=torch.float64)
        for batch in context.labelled():
            outputs = context.task.outputs(context.model, batch, frozenset())
            for image, target in enumerate(batch.targets):
                here_U = outputs.unit_item_U == image
                wanted_G = ~target.ignore_G
                class_G = target.class_G[wanted_G]
                quality_G = found_quality(
                    outputs.extra["boxes"][here_U],
                    outputs.probs_UC[here_U],
                    target.corners_G4[wanted_G],
                    class_G,
                    xi=self.xi,
                )
                sum_C.index_add_(0, class_G.cpu(), quality_G.double().cpu())
                count_C.index_add_(0, class_G.cpu(), torch.ones(len(class_G), dtype=torch.float64))
        return 1 - (sum_C / count_C.clamp_min(1)).float()

    def compute(self, state: Tensor, model: nn.Module, batch: Batch, role: SignalRole) -> Tensor:
        """(B, C) float32, all rows alike."""
        return state.to(batch.images.device).expand(len(batch), -1).clone()
