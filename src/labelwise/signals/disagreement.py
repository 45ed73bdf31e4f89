"""How far two class heads of a detector lie apart."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from labelwise.contracts.signal import Prepared, Probe, ProbeContext, SignalRole
from labelwise.contracts.task import Batch, Task
from labelwise.models.multiple_instance import Bags, MultipleInstance, no_second_head, scores, with_two_heads


@dataclass(frozen=True)
class HeadGap(Probe):
    """(B,) float32: mean over the ``top`` places with the largest gap between the two class heads.

    ``u_i = mean over classes of (p1_ic - p2_ic)^2`` at place i, or of its absolute value.

    Args:
        top: how many places: a share of all, below 1, or a number of 1 and more; of fewer places all count.
        squared: as the authors' code has it; the paper has absolute values.
        weighted: whether gaps are multiplied by the weights of the head of multiple instances.
        background: as the published SSD, sigmoids of all logits, the background among them.
    """

    name: ClassVar[str] = "head_gap"
    top: float = 0.1
    squared: bool = True
    weighted: bool = False
    background: bool = False

    @property
    def fields(self) -> frozenset[Any]:
        """It runs the model itself, and needs no outputs."""
        return frozenset()

    @property
    def prepared_from(self) -> frozenset[Prepared]:
        """Nothing."""
        return frozenset()

    def check(self, model: nn.Module, task: Task[Any]) -> None:
        """Refuses a model of one class head.

        Raises:
            UnmetNeed: says how to have two.
        """
        if not isinstance(model, MultipleInstance):
            raise no_second_head(model)

    def prepare(self, context: ProbeContext) -> None:
        """Nothing."""

    @torch.no_grad()
    def compute(self, state: None, model: nn.Module, batch: Batch, role: SignalRole) -> Tensor:
        """(B,): one forward pass; the memory of one batch."""
        net, images = with_two_heads(model, batch.images)
        if self.weighted:
            said = net.opinions(images)
            logits = (said.dense.logits_BAC, said.second_BAC)
        else:
            logits = net.both(images)
        first, second = (scores(each, net.exclusive, background=self.background) for each in logits)
        apart_BAC = first - second
        apart_BAC = apart_BAC.square() if self.squared else apart_BAC.abs()
        if self.weighted:
            apart_BAC = apart_BAC * Bags(background=self.background).weights(said)
        gap_BA = apart_BAC.mean(-1)
        places = gap_BA.shape[1]
        count = math.ceil(self.top * places) if self.top < 1 else int(self.top)
        if gap_BA.isfinite().all():
            return gap_BA.topk(min(count, places), dim=1).values.mean(1)
        return gap_BA.mean(1)  # a model that diverged says so
