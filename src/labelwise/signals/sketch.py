"""The gradient of each image in few dimensions, without ever holding one.

Shape letters: B images of a batch, S dimensions of a sketch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labelwise.contracts.losses import image_losses
from labelwise.contracts.task import Batch
from labelwise.errors import UnmetNeed
from labelwise.models.detectors import Detector
from labelwise.rng import torch_generator
from labelwise.signals.slopes import Believed, Slopes


@dataclass(frozen=True)
class Sketch:
    """Inner products of gradients, estimated: E <sketch(x), sketch(y)> = <g(x), g(y)>, the same draw for all images.

    Dimension s of a layer's weight gradient G is a_s^T G b_s / sqrt(S) for two normal vectors. A branch
    x -> a_s (b_s x) beside the layer, gated by a zero of each image, has that as the derivative of the image's loss by
    its gate: one backward pass to the gates gives all dimensions of all images, and a layer costs as much more as S
    more channels would.

    Args:
        slopes: model and weights: those of linear layers and of convolutions without groups count, others are left out.
        size: dimensions S.
    """

    slopes: Slopes
    size: int

    def layers(self) -> dict[str, nn.Linear | nn.Conv2d]:
        """The layers that are sketched.

        Raises:
            UnmetNeed: there is none.
        """
        modules: dict[str, nn.Module] = dict(self.slopes.model.named_modules())
        paths = [name.rpartition(".")[0] for name in self.slopes.names if name.rpartition(".")[2] == "weight"]
        found = {path: modules[path] for path in paths}
        known: dict[str, nn.Linear | nn.Conv2d] = {
            path: module
            for path, module in found.items()
            if isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.groups == 1)
        }
        if not known:
            raise UnmetNeed(
                f"{type(self.slopes.model).__name__} has no linear layer or convolution among the layers that count, "
                "and gradients are sketched through those: set batch=top"
            )
        return known

    def rows(self, batch: Batch, believed: Believed) -> Tensor:
        """(B, S) of each image under the label that is believed of it."""
        layers = self.layers()
        linear = any(isinstance(layer, nn.Linear) for layer in layers.values())
        if isinstance(self.slopes.model, Detector) and linear:  # rows of proposals: only of one image one knows whose
            parts = [_part(batch, row) for row in range(len(batch))]
        else:
            parts = [batch]
        return torch.cat([self._rows(part, believed, layers) for part in parts])

    def _rows(self, batch: Batch, believed: Believed, layers: dict[str, Any]) -> Tensor:
        task, model = self.slopes.task, self.slopes.model
        gate_BS = torch.zeros(len(batch), self.size, device=batch.images.device, requires_grad=True)
        with torch.enable_grad(), _gated(layers, gate_BS):
            if believed.label == "true":
                losses = task.loss(model, batch)
            else:
                losses = task.judged(model, batch, lambda said: believed.targets(task, said))[1]
            total = image_losses(losses).sum()
        if not total.requires_grad:
            return gate_BS.detach()
        found = torch.autograd.grad(total, gate_BS, allow_unused=True)[0]
        rows_BS: Tensor = gate_BS.detach() if found is None else found.float() / self.size**0.5
        return rows_BS


def _part(batch: Batch, row: int) -> Batch:
    targets = None if batch.targets is None else batch.targets[row : row + 1]
    return Batch(batch.images[row : row + 1], targets)


@contextmanager
def _gated(layers: dict[str, nn.Linear | nn.Conv2d], gate_BS: Tensor) -> Iterator[None]:
    hooks = [layer.register_forward_hook(_branch(path, layer, gate_BS)) for path, layer in layers.items()]
    try:
        yield
    finally:
        for handle in hooks:
            handle.remove()


def _branch(path: str, layer: nn.Linear | nn.Conv2d, gate_BS: Tensor) -> Callable[..., Tensor]:
    rng, size, weight = torch_generator(0, "sketch", path), gate_BS.shape[1], layer.weight
    # drawn once for all calls of a pass: on a pyramid a layer runs at each level
    into = torch.randn(size, *weight.shape[1:], generator=rng).to(weight)
    out = torch.randn(weight.shape[0], size, generator=rng).to(weight)

    def hook(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        given = inputs[0].detach() if not inputs[0].requires_grad else inputs[0]
        if isinstance(layer, nn.Linear):
            gate = gate_BS.view(len(gate_BS), *[1] * (given.dim() - 2), size)
            return output + F.linear(F.linear(given, into) * gate, out)
        low = F.conv2d(given, into, None, layer.stride, layer.padding, layer.dilation)
        return output + F.conv2d(low * gate_BS[:, :, None, None], out[:, :, None, None])

    return hook
