"""How far two class heads of a detector lie apart."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labelwise.contracts.signal import Prepared, Probe, ProbeContext, SignalRole
from labelwise.contracts.task import Batch, Task
from labelwise.models.multiple_instance import (
    Bags,
    MultipleInstance,
    Opinions,
    no_second_head,
    scores,
    with_two_heads,
)

#: logits of a class head that lie in memory together
_AT_ONCE = 1 << 21


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
    def words(self) -> str:
        """As people call it."""
        return "disagreement"

    @property
    def of_places(self) -> GapMap:
        """The gap of each cell of the finest map."""
        return GapMap(self)

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
        gap_BA = self.gaps(net, net.opinions(images)) if self.weighted else torch.cat([*self._few(net, images)])
        places = gap_BA.shape[1]
        count = math.ceil(self.top * places) if self.top < 1 else int(self.top)
        if gap_BA.isfinite().all():
            return gap_BA.topk(min(count, places), dim=1).values.mean(1)
        return gap_BA.mean(1)  # a model that diverged says so

    def _few(self, net: MultipleInstance, images: Tensor) -> Iterator[Tensor]:
        """(b, A) u of some images after others: of 91,260 places all that is made on the way is as large as logits."""
        maps, done, step = net.maps(images), 0, 1
        while done < len(images):
            logits = net.both([one[done : done + step] for one in maps])
            yield self._apart(net, *logits).mean(-1)
            done, step = done + step, max(1, _AT_ONCE // logits[0][0].numel())

    def gaps(self, net: MultipleInstance, said: Opinions) -> Tensor:
        """(B, A) u, from what all heads say."""
        apart_BAC = self._apart(net, said.dense.logits_BAC, said.second_BAC)
        if self.weighted:
            apart_BAC = apart_BAC * Bags(background=self.background).weights(said)
        return apart_BAC.mean(-1)

    def _apart(self, net: MultipleInstance, *logits: Tensor) -> Tensor:
        """(B, A, C) the gap of each class."""
        first, second = (scores(each, net.exclusive, background=self.background) for each in logits)
        apart = first.sub_(second)
        return apart.square_() if self.squared else apart.abs_()


@dataclass(frozen=True)
class GapMap(Probe):
    """(B, h, w) float32: the largest gap between the two class heads at each cell of the finest map.

    Args:
        gap: how it is measured.

    Cost: one forward pass of the whole detector; a number for each cell.
    """

    name: ClassVar[str] = "gap_map"
    gap: HeadGap = field(default_factory=HeadGap)

    @property
    def fields(self) -> frozenset[Any]:
        """As the gap's."""
        return self.gap.fields

    @property
    def prepared_from(self) -> frozenset[Prepared]:
        """Nothing."""
        return frozenset()

    def check(self, model: nn.Module, task: Task[Any]) -> None:
        """Refuses a model of one class head.

        Raises:
            UnmetNeed: says how to have two.
        """
        self.gap.check(model, task)

    def prepare(self, context: ProbeContext) -> None:
        """Nothing."""

    @torch.no_grad()
    def compute(self, state: None, model: nn.Module, batch: Batch, role: SignalRole) -> Tensor:
        """(B, h, w): over the anchors of a cell, and over the levels, each enlarged to the finest."""
        net, images = with_two_heads(model, batch.images)
        said = net.opinions(images)
        levels = said.dense.levels
        sizes = [height * width * count for height, width, count in levels]
        parts = torch.split(self.gap.gaps(net, said), sizes, dim=1)
        maps = [part.reshape(len(part), *level).amax(-1) for part, level in zip(parts, levels, strict=True)]
        finest = max(levels)[:2]
        return torch.stack([F.interpolate(one[:, None], finest, mode="nearest")[:, 0] for one in maps]).amax(0)
