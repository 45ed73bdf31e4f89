"""The networks of a learner before any training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import nn

from labelwise.contracts.code import code_of
from labelwise.contracts.task import Task
from labelwise.learners.training import seeded
from labelwise.models.trunks import on_trunk, weights_in_use
from labelwise.models.weights import file_digest, split_layout

#: raised whenever a name comes to mean another network: what was trained before is then not found
_GENERATION = {"unet": 2}


@dataclass(frozen=True)
class FreshNets:
    """Random weights from named streams, over them pretrained ones where there are any.

    Args:
        task: says what networks there are by name, and what the input is.
        model: a name, or a function that returns a fresh net; None: the task's own (``Task.default_name``).
        weights: pretrained weights; only with a name.
    """

    task: Task[Any]
    model: str | Callable[[], nn.Module] | None
    weights: str | None = None

    @cached_property
    def config(self) -> dict[str, Any]:
        """Model and weights, a file by its content: another one under its name is another training."""
        model = self.model
        if model is None and on_trunk(self.task.default_name or "")[1] is not None:
            model = self.task.default_name  # of other networks of the task's own trainings keep their keys
        weights = weights_in_use(model, self.weights) if isinstance(model, str) else self.weights
        pretrained = None if weights is None else file_digest(split_layout(weights)[1]) or weights
        frozen = {"trunk": "frozen"} if pretrained and isinstance(model, str) and on_trunk(model)[1] else {}
        generation = _GENERATION.get(self.task.default_name or "" if model is None else str(model))
        return {
            "model": model if isinstance(model, str | None) else code_of(model),
            "pretrained": pretrained,
            **({} if generation is None else {"generation": generation}),
            **frozen,
        }

    def make(self, seed: int, member: int, device: torch.device) -> nn.Module:
        """The net of an ensemble's member, on the device."""
        with seeded(seed, "weights", member):
            if self.model is None:
                net = self.task.default_model()
            elif isinstance(self.model, str):
                net = self.task.named_model(self.model, self.weights)
            else:
                net = self.task.adapted(self.model())
        # on a CPU pooling and convolution take half the time in this layout, of one input channel as of three
        net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return net

    def example(self, device: torch.device) -> torch.Tensor:
        """Two black images."""
        return torch.zeros(2, self.task.input.channels, *self.task.input.size, device=device)
