"""Stochastic passes over a model: dropout masks, ensemble members, changed views; a draw is the same for all images."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labelwise.contracts.passes import Dropout, DropoutUnit, Members, Passes, Views
from labelwise.contracts.task import Batch
from labelwise.errors import UnmetNeed
from labelwise.learners.trunk import Trunk
from labelwise.models.taps import submodule
from labelwise.rng import torch_generator

#: layers that drop whole channels, and those that drop each activation by itself
_OF_CHANNELS = (nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
_DROPOUTS = (nn.Dropout, nn.AlphaDropout, *_OF_CHANNELS)


def dropout_mask(output: Tensor, p: float, rng: torch.Generator, unit: DropoutUnit = "element") -> Tensor:
    """Scaled keep mask for all images: one decision an element, (1, C, H, W), or a channel, (1, C, 1, 1).

    Tokens (B, T, D) have their channels last: (1, T, D) or (1, 1, D).
    """
    tokens = output.dim() == 3
    channels = (1, 1, output.shape[2]) if tokens else (1, output.shape[1]) + (1,) * (output.dim() - 2)
    shape = (1, *output.shape[1:]) if unit == "element" else channels
    keep = torch.rand(shape, generator=rng) >= p
    return keep.to(device=output.device, dtype=output.dtype) / (1 - p)


def masked(model: nn.Module, passes: Dropout) -> list[tuple[str, nn.Module, float, DropoutUnit]]:
    """Path, module, share and unit of each layer that masks are put on.

    Raises:
        ConfigError: a layer that the model has not.
        UnmetNeed: none is named, and the model has no dropout of its own.
    """
    layers: list[tuple[str, nn.Module, float, DropoutUnit]]
    if passes.after:
        layers = [(path, submodule(model, path), p, passes.unit) for path, p in passes.places]
    else:
        own = [(path, m) for path, m in model.named_modules() if isinstance(m, _DROPOUTS) and 0 < m.p < 1]
        layers = [(path, m, m.p, "channel" if isinstance(m, _OF_CHANNELS) else "element") for path, m in own]
    if not layers:
        raise UnmetNeed(
            f"{type(model).__name__} has no dropout layer to draw from: name layers to put it behind, "
            "Dropout(after=('layer4',))"
        )
    return layers


@contextmanager
def dropped(model: nn.Module, passes: Dropout, seed: int, draw: int) -> Iterator[None]:
    """One dropout draw: masks on the declared layers, everything else (batch norm too) as at inference.

    A layer that a pass goes through several times has another mask each time.
    """
    calls: Counter[str] = Counter()

    def hook_for(path: str, p: float, unit: DropoutUnit) -> Any:
        def hook(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
            names: list[str | int] = ["dropout", draw, path, *([calls[path]] if calls[path] else [])]
            calls[path] += 1
            return output * dropout_mask(output, p, torch_generator(seed, *names), unit)

        return hook

    with ExitStack() as stack:
        for path, module, p, unit in masked(model, passes):
            stack.callback(module.register_forward_hook(hook_for(path, p, unit)).remove)
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
    if level := passes.noise_of(draw):
        noise = torch.randn(images.shape[1:], generator=rng).to(images.device, images.dtype)
        images = images + level * noise
    if flipped:  # first turned back, then mirrored
        moved = moved * moved.new_tensor([[-1.0], [1.0]])
    return Batch(images, batch.targets, moved)


def all_passes(
    members: Sequence[nn.Module], batch: Batch, passes: Passes, seed: int
) -> Iterator[tuple[nn.Module, Batch]]:
    """Model and batch for each stochastic pass, made ready for as long as the caller looks at it.

    Raises:
        UnmetNeed: passes that no network can make.
    """
    if isinstance(passes, Views):
        for draw in range(passes.draws):
            yield members[0], changed_view(batch, passes, seed, draw)
        return
    if not isinstance(passes, Dropout | Members):
        raise UnmetNeed(f"no learner knows how to make {type(passes).__name__} passes")
    nets = members if isinstance(passes, Members) else members[:1]
    masks = passes.dropout if isinstance(passes, Members) else passes
    trunks = [Trunk(net, [layer[1] for layer in masked(net, masks)]) for net in nets] if masks else []
    for draw in range(passes.count(len(nets))):
        number = draw % len(nets)
        with ExitStack() as stack:
            if masks is not None:
                stack.enter_context(trunks[number].one_pass())
                stack.enter_context(dropped(nets[number], masks, seed, draw))
            yield nets[number], batch
