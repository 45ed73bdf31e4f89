"""Signals of the poses that a model sees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from labelwise.contracts.signal import Probe, ProbeContext, SignalRole
from labelwise.contracts.task import Batch, Field
from labelwise.errors import ConfigError, UnmetNeed, brief
from labelwise.selection.poses import UsualPoses, steady_limbs


@dataclass(frozen=True)
class UnusualPose(Probe):
    """How unusual the pose is that the model sees, beside those of the labels: (B,) float32, at least 0.

    Lengths of limbs and angles between them are held against a Gaussian of each over the labelled poses, in pixels of
    the model's input; see :class:`labelwise.selection.poses.UsualPoses`.

    Args:
        limbs: pairs of names of points; (): those of the task, else the tree of the steadiest lengths.
        shrink: how many poses' worth the mean variance weighs beside that of one limb.
    """

    name: ClassVar[str] = "unusual_pose"
    limbs: tuple[tuple[str, str], ...] = ()
    shrink: float = 5.0

    @property
    def fields(self) -> frozenset[Field]:
        """Needs points."""
        return frozenset({"probs", "points"})

    def prepare(self, context: ProbeContext) -> Any:
        """The task, and the Gaussians of the labelled poses.

        Raises:
            UnmetNeed: no labelled image shows both ends of a limb.
            ConfigError: a limb between points that the task does not have.
        """
        task: Any = context.task
        known = [batch.targets.cpu() for batch in context.labelled()]
        targets_BK3 = torch.cat(known) if known else torch.zeros(0, len(task.points), 3)
        points_BK2, known_BK = _in_pixels(task, targets_BK3[..., :2]), targets_BK3[..., 2] > 0
        limbs = self._positions(task) or steady_limbs(points_BK2, known_BK)
        usual = UsualPoses.of(points_BK2, known_BK, limbs, shrink=self.shrink)
        if not bool((usual.count_F > 0).any()):
            raise UnmetNeed(
                "no labelled image shows two points that a limb joins, so no pose is known: label some with two points "
                "or more"
            )
        return task, usual

    def _positions(self, task: Any) -> list[tuple[int, int]]:
        names = list(task.points)
        limbs = self.limbs or task.limbs
        if odd := next((end for limb in limbs for end in limb if end not in names), None):
            raise ConfigError(f"limbs name the point {odd!r:.60}, and the task has {brief(names, 150)}")
        return [(names.index(one), names.index(other)) for one, other in limbs]

    def compute(self, state: Any, model: nn.Module, batch: Batch, role: SignalRole) -> Tensor:
        """(B,): the mean of half the squared deviation, weighted by how sure the model is of the points."""
        task, usual = state
        said = task.outputs(model, batch, frozenset())
        shape = (said.size, len(task.points))
        points_BK2 = _in_pixels(task, said.extra["points"].view(*shape, 2).cpu())
        unusual_B: Tensor = usual.unusual(points_BK2, said.probs_UC[:, 0].view(shape).cpu())
        return unusual_B.float()


def _in_pixels(task: Any, points_BK2: Tensor) -> Tensor:
    height, width = task.input.size
    return points_BK2.double() * torch.tensor([width, height], dtype=torch.float64)
