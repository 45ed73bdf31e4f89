"""Boxes, and what each image holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from labelwise.contracts.learner import Phase
from labelwise.contracts.scheme import Scheme
from labelwise.models.trunks import with_mil

#: the loss of both schemes
INSTANCES = "labelwise.learners.multiple_instance:Instances"


@dataclass(frozen=True)
class Mil(Scheme):
    """A detector with two class heads also learns which classes each labelled image holds; no image without labels.

    The phases are the task's own. Where a label says which classes an image holds, the places of the image together
    must, and the head that weighs places learns where.

    Args:
        classes: what a place says of classes: ``softmax``, ``sigmoid``, or ``auto``, see
            ``labelwise.models.multiple_instance.Bags``.

    Reference:
        Yuan et al., "Multiple Instance Active Learning for Object Detection", CVPR 2021, equations 4 to 6, without
        their unlabelled images: most of what their training gains is there already (their table 3).
    """

    name: ClassVar[str] = "mil"
    task: ClassVar[str] = "detection"
    classes: Literal["auto", "softmax", "sigmoid"] = "auto"

    def network(self, model: str) -> str:
        """With two more heads."""
        return with_mil(model)

    def phases(self, usual: Sequence[Phase]) -> tuple[Phase, ...]:
        """The usual ones, with another loss."""
        options = {} if self.classes == "auto" else {"classes": self.classes}
        return tuple(replace(phase, loss=INSTANCES, options=options) for phase in usual)
