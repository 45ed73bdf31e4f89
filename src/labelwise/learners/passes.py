"""Stochastic passes over a model: dropout masks, ensemble members, changed views; a draw is the same for all images."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labelwise.errors import UnmetNeed
from labelwise.models.taps import submodule
from labelwise.rng import torch_generator
from labelwise.signals.passes import Dropout, Members, Passes, Views
from labelwise.task import Batch

_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)


def dropout_mask(output: Tensor, p: float, rng: torch.Generator) -> Tensor:
    """(1, channels, 1, 1), for tokens (B, T, D) (1, 1, D): scaled keep mask, one decision a channel, for all images."""
    tokens = output.dim() == 3
    shape = (1, 1, output.shape[2]) if tokens else (1, output.shape[1]) + (1,) * (output.dim() - 2)
    keep = torch.rand(shape, generator=rng) >= p
    return keep.to(device=output.device, dtype=output.dtype) / (1 - p)


@contextmanager
def dropped(model: nn.Module, passes: Dropout, seed: int, draw: int) -> Iterator[None]:
    """One dropout draw: masks on the declared layers, everything else (batch norm too) as at inference."""
    if passes.after:
        layers = [(path, submodule(model, path), p) for path, p in passes.places]
    else:
        layers = [(path, m, m.p) for path, m in model.named_modules() if isinstance(m, _DROPOUTS) and 0 < m.p < 1]
    if not layers:
        raise UnmetNeed(
            f"{type(model).__name__} has no dropout layer to draw from: name layers to put it behind, "
            "Dropout(after=('layer4',))"
        )

    def hook_for(path: str, p: float) -> Any:
        def hook(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
            return output * dropout_mask(output, p, torch_generator(seed, "dropout", draw, path))

        return hook

    with ExitStack() as stack:
        for path, module, p in layers:
            stack.callback(module.register_forward_hook(hook_for(path, p)).remove)
        yield


def changed_view(batch: Batch, passes: Views, seed: int, draw: int) -> Batch:
    """The batch as draw number ``draw`` sees it."""
    rng = torch_generator(seed, "views", draw)
    flipped = passes.flip and draw % 2 == 1
    images = batch.images.flip(-1) if flipped else batch.images
    moved = torch.eye(2, 3, device=images.device)
    if passes.degrees:
        angle = math.radians(passes.degrees) * float(torch.rand((), generator=rng) * 2 - 1)
        turn = images.new_tensor([[math.cos(angle), -math.sin(angle), 0.0], [math.sin(angle), math.cos(angle), 0.0]])
        moved = turn.float()
        grid = F.affine_grid(turn.expand(len(images), 2, 3), list(images.shape), align_corners=False)
        images = F.grid_sample(images, grid, align_corners=False)
    if passes.noise:
        noise = torch.randn(images.shape[1:], generator=rng).to(images.device, images.dtype)
        images = images + passes.noise * noise
    if flipped:  # first turned back, then mirrored
        moved = moved * moved.new_tensor([[-1.0], [1.0]])
    return Batch(images, batch.targets, moved)


@contextmanager
def one_pass(
    model: nn.Module, members: list[nn.Module], batch: Batch, passes: Passes, seed: int, draw: int
) -> Iterator[tuple[nn.Module, Batch]]:
    """Model and batch for one stochastic pass."""
    match passes:
        case Dropout():
            with dropped(model, passes, seed, draw):
                yield model, batch
        case Members():
            member = members[draw % len(members)]
            with dropped(member, passes.dropout, seed, draw) if passes.dropout else nullcontext():
                yield member, batch
        case Views():
            yield model, changed_view(batch, passes, seed, draw)
        case _:
            raise UnmetNeed(f"no learner knows how to make {type(passes).__name__} passes")
