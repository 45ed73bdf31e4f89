"""What a network says of every pixel, whoever wrote it: logits at the input's size, and the encoder's last map.

Any ``nn.Module`` will do that returns logits (B, C, H', W'), or a mapping with them under ``out`` (and those of a
second head under ``aux``) as torchvision's do; they are enlarged bilinearly to the size of the input.

Shape letters: B images, C classes, D channels of the encoder's last map, H x W pixels of the input.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labelwise.errors import ConfigError
from labelwise.models.taps import Taps

#: submodules whose output is taken for the encoder's last map, where the network does not name one itself
ENCODERS = ("backbone", "encoder")


@dataclass(frozen=True)
class Said:
    """What a network says of a batch.

    Args:
        logits_BCHW: float32, at the size of the input where they were enlarged.
        aux_BCHW: those of a second head, likewise; None where there is none.
        maps_BDHW: float32, the encoder's last map at its own size; None where it was not asked for.
    """

    logits_BCHW: Tensor
    aux_BCHW: Tensor | None = None
    maps_BDHW: Tensor | None = None


def said_of(model: nn.Module, images: Tensor, classes: int, *, maps: bool = False, enlarged: bool = True) -> Said:
    """Runs a network on a batch.

    Args:
        model: any that the module's docstring describes.
        images: (B, channels, H, W), normalised.
        classes: how many logits each pixel must have.
        maps: whether the encoder's last map is wanted.
        enlarged: whether logits have the size of the input; else they have the network's own.

    Raises:
        ConfigError: it gives something else, or its map cannot be found.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 8, 3, stride=4), nn.ReLU(), nn.Conv2d(8, 2, 1))
        >>> said = said_of(net, torch.zeros(1, 3, 16, 16), 2, maps=True)
        >>> said.logits_BCHW.shape, said.maps_BDHW.shape
        (torch.Size([1, 2, 16, 16]), torch.Size([1, 8, 4, 4]))
    """
    if not maps:
        return _said(model, model(images), images, classes, enlarged)
    path = map_path(model)
    with Taps(model, [path]).capture() as seen:
        said = _said(model, model(images), images, classes, enlarged)
    return Said(said.logits_BCHW, said.aux_BCHW, _last_map(model, path, seen.get(path)))


def map_path(model: nn.Module) -> str:
    """Where the encoder's last map is read, as ``Taps`` takes it.

    That is the attribute ``map_path`` of the network, else its part called ``backbone`` or ``encoder``, else the input
    of its last convolution.

    Raises:
        ConfigError: there is none of these.
    """
    named = getattr(model, "map_path", None)
    if isinstance(named, str):
        return named
    for name in ENCODERS:
        if isinstance(getattr(model, name, None), nn.Module):
            return name
    convolutions: list[str] = [path for path, module in model.named_modules() if isinstance(module, nn.Conv2d)]
    if not convolutions:
        raise ConfigError(
            f"{type(model).__name__} has no part called backbone or encoder and no convolution to take embeddings "
            "from: give it an attribute map_path that names the module whose output is the last map of its encoder"
        )
    return f"{convolutions[-1]}:input"


def _last_map(model: nn.Module, path: str, found: Any) -> Tensor:
    if isinstance(found, Mapping):
        found = found.get("out", found.get("high", [None, *found.values()][-1]))
    elif isinstance(found, tuple | list):
        found = found[-1] if found else None
    if not isinstance(found, Tensor) or found.dim() != 4:
        shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise ConfigError(
            f"{path!r} of {type(model).__name__} gives {shape} where a map (B, D, h, w) is needed: name another module "
            "in an attribute map_path of the network"
        )
    return found.float()


def _said(model: nn.Module, found: Any, images: Tensor, classes: int, enlarged: bool) -> Said:
    logits = found.get("out") if isinstance(found, Mapping) else found
    aux = found.get("aux") if isinstance(found, Mapping) else None
    if not isinstance(logits, Tensor) or logits.dim() != 4 or logits.shape[:2] != (len(images), classes):
        shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(found).__name__
        raise ConfigError(
            f"{type(model).__name__} gives {shape} for {len(images)} image(s) where logits ({len(images)}, {classes}, "
            "h, w) are needed: its last layer needs one output channel for each class"
        )
    size = (images.shape[-2], images.shape[-1]) if enlarged else (logits.shape[-2], logits.shape[-1])
    return Said(_resized(logits, size), None if aux is None else _resized(aux, size))


def _resized(logits: Tensor, size: tuple[int, int]) -> Tensor:
    logits = logits.float()
    if logits.shape[-2:] == size:
        return logits
    # channels innermost: rows of pixels are then no copy
    logits = logits.contiguous(memory_format=torch.channels_last)
    return F.interpolate(logits, size=size, mode="bilinear", align_corners=False)
