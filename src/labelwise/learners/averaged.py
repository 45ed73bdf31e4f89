"""The average of weights over the steps of a training: less of the noise of the last batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn


@dataclass
class Averaged:
    """An exponential moving average of all floating-point parameters and buffers that a module has.

    Args:
        module: what is trained; its tensors are read after every step.
        memory: steps after which a step counts 1/e of the newest; 0: nothing is averaged.

    Cost:
        one more copy of the weights, and one fused multiply-add over them a step.

    Reference:
        Polyak and Juditsky, "Acceleration of Stochastic Approximation by Averaging", SIAM J. Control Optim. 1992, with
        the exponential form of Tarvainen and Valpola, "Mean teachers", NeurIPS 2017: while few steps were taken, the
        memory is shorter, so that the initial weights are soon forgotten.
    """

    module: nn.Module
    memory: float
    average: list[Tensor] = field(default_factory=list, repr=False)
    steps: int = 0

    @classmethod
    def over(cls, module: nn.Module, memory: float) -> Averaged:
        """Of a module as it is now."""
        made = cls(module, memory)
        if memory:
            made.average = [tensor.detach().clone() for tensor in made._tensors()]
        return made

    def update(self) -> None:
        """Takes in the weights after a step."""
        if not self.memory:
            return
        self.steps += 1
        decay = min(1 - 1 / max(self.memory, 1), self.steps / (self.steps + 9))
        with torch.no_grad():
            torch._foreach_lerp_(self.average, self._tensors(), 1 - decay)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """The module has the average while this lasts."""
        now = [tensor.detach().clone() for tensor in self._tensors()] if self.steps else []
        self.settle()
        yield
        self._put(now)

    def settle(self) -> None:
        """Gives the module the average for good."""
        if self.steps:
            self._put(self.average)

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"average": self.average, "steps": self.steps}

    def load(self, state: Mapping[str, Any]) -> None:
        """Takes what a checkpoint kept."""
        for mine, kept in zip(self.average, state["average"], strict=True):
            mine.copy_(kept)
        self.steps = state["steps"]

    def _tensors(self) -> list[Tensor]:
        both = [*self.module.parameters(), *self.module.buffers()]
        return [tensor.detach() for tensor in both if tensor.is_floating_point()]

    def _put(self, tensors: list[Tensor]) -> None:
        for mine, given in zip(self._tensors() if tensors else [], tensors, strict=True):
            mine.copy_(given)
