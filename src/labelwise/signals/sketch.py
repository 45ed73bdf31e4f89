"""The gradient of each image in few dimensions, without ever holding one.

Shape letters: B images of a batch, S dimensions of a sketch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.nn import functional as F

from labelwise.contracts.losses import image_losses
from labelwise.contracts.task import Batch
from labelwise.errors import UnmetNeed
from labelwise.models.detectors import Detector
from labelwise.rng import torch_generator
from labelwise.signals.slopes import Believed, Labels, Slopes


@dataclass(frozen=True)
class Sketch:
    """Inner products of gradients, estimated: E <sketch(x), sketch(y)> = <g(x), g(y)>, the same draw for all images.

    Dimension s of a layer's weight gradient G is a_s^T G b_s / sqrt(S) for two normal vectors. With x what the layer is
    given and g the gradient of what it says, that is the sum over places of <a_s, g> <b_s, x>: one backward pass to the
    outputs of the layers gives all dimensions of all images, and a layer costs as much more as S more channels would.

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
        proposals = self._of_proposals()  # only of one image one knows whose they are
        parts = [_part(batch, row) for row in range(len(batch))] if proposals else [batch]
        return torch.cat([self._found(part, believed, {})[2] for part in parts])

    def along(self, batch: Batch, direction: Mapping[str, Tensor], believed: Believed) -> tuple[Tensor, Tensor, Tensor]:
        """(B,) the slope along a direction, (B,) bool no label, and (B, S), as by themselves.

        One pass gives them all where the layers that are sketched are all that count and exact derivatives are asked
        for: the slope is the sum over places of <g, what the direction in place of the weight says of x>.
        """
        weights = {f"{path}.weight" if path else "weight" for path in self.layers()}
        if self.slopes.method != "forward" or weights != set(self.slopes.names) or self._of_proposals():
            return *self.slopes.believed(batch, direction, believed), self.rows(batch, believed)
        return self._found(batch, believed, direction)

    def _of_proposals(self) -> bool:
        """Whether a layer is given rows of proposals and not of images."""
        linear = any(isinstance(layer, nn.Linear) for layer in self.layers().values())
        return linear and isinstance(self.slopes.model, Detector)

    def _found(
        self, batch: Batch, believed: Believed, direction: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        task, model, layers = self.slopes.task, self.slopes.model, self.layers()
        labels = Labels(task, believed, [False] * len(batch))
        with torch.enable_grad(), _seen(layers) as calls:
            losses = task.loss(model, batch) if believed.label == "true" else task.judged(model, batch, labels)[1]
            total = image_losses(losses).sum()
        slope_B = torch.zeros(len(batch), device=batch.images.device)
        rows_BS = slope_B.new_zeros(len(batch), self.size)
        if total.requires_grad:
            above = torch.autograd.grad(total, [call.edge for call in calls], allow_unused=True)
            for (path, given, version, _), gradient in zip(calls, above, strict=True):
                if given._version != version:
                    raise UnmetNeed(
                        f"an operation of {type(model).__name__} overwrites what its layer {path!r} was given, from "
                        "which gradients are sketched: set batch=top, or inplace=False there"
                    )
                if gradient is not None:
                    along = direction.get(f"{path}.weight" if path else "weight")
                    slope, rows = _shares(layers[path], given, gradient, self._drawn(path, layers[path]), along)
                    slope_B += slope.view(len(batch), -1).sum(1)
                    rows_BS += rows.view(len(batch), -1, self.size).sum(1)
        return slope_B, torch.tensor(labels.empty), rows_BS / self.size**0.5

    def _drawn(self, path: str, layer: nn.Linear | nn.Conv2d) -> tuple[Tensor, Tensor]:
        """The vectors b, (S, ...), and a, (S, C_out): the same draw for all images."""
        rng, weight = torch_generator(0, "sketch", path), layer.weight
        into = torch.randn(self.size, *weight.shape[1:], generator=rng).to(weight)
        return into, torch.randn(weight.shape[0], self.size, generator=rng).to(weight).T


def _part(batch: Batch, row: int) -> Batch:
    targets = None if batch.targets is None else batch.targets[row : row + 1]
    return Batch(batch.images[row : row + 1], targets)


class _Call(NamedTuple):
    """A run of a layer: what it was given, in which version, and where the gradient of what it said arrives."""

    path: str
    given: Tensor
    version: int
    edge: GradientEdge


@contextmanager
def _seen(layers: Mapping[str, nn.Module]) -> Iterator[list[_Call]]:
    """The runs of some layers: on a pyramid a layer runs at each level."""
    calls: list[_Call] = []

    def at(path: str) -> Callable[..., Tensor]:
        def hook(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
            if not output.requires_grad:  # nothing before it learns
                output = output + torch.zeros((), device=output.device, requires_grad=True)
            # taken at once: what comes next may change the output where it lies
            calls.append(_Call(path, inputs[0].detach(), inputs[0]._version, get_gradient_edge(output)))
            return output

        return hook

    hooks = [layer.register_forward_hook(at(path)) for path, layer in layers.items()]
    try:
        yield calls
    finally:
        for handle in hooks:
            handle.remove()


def _shares(
    layer: nn.Module, given: Tensor, gradient: Tensor, drawn: tuple[Tensor, Tensor], along: Tensor | None
) -> tuple[Tensor, Tensor]:
    """(R,) and (R, S): what a run of a layer adds to slope and sketch, of each row that it was given."""
    into, out_SC = drawn
    weights = into if along is None else torch.cat([into, along])
    if isinstance(layer, nn.Conv2d):
        said = F.conv2d(given, weights, None, layer.stride, layer.padding, layer.dilation).flatten(2)
        gradient_RCP = gradient.flatten(2)
    else:
        said = F.linear(given, weights).reshape(len(given), -1, len(weights)).transpose(1, 2)
        gradient_RCP = gradient.reshape(len(given), -1, gradient.shape[-1]).transpose(1, 2)
    rows_RS = (said[:, : len(into)] * (out_SC @ gradient_RCP)).sum(2)
    slope_R = rows_RS.new_zeros(len(given)) if along is None else (said[:, len(into) :] * gradient_RCP).sum((1, 2))
    return slope_R.float(), rows_RS.float()
