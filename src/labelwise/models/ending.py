"""How a model ends: the linear layer that turns its embedding into its logits, found by what the layers do."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from labelwise.models.taps import Taps, evaluating, pooled


@torch.no_grad()
def last_layer(model: nn.Module, embedding: str, example: Tensor) -> nn.Linear | None:
    """The linear layer whose input is the embedding and whose output is the model's; None where there is none.

    One pass over an example tells: names and the order of definition do not say what reads what.

    Args:
        model: in any mode; it is run in evaluation mode, where dropout between the two is the identity.
        embedding: path of the embedding, as ``Taps`` takes it.
        example: images that differ from each other, (B, channels, height, width).

    Example:
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2))
        >>> last_layer(net, "2", torch.rand(2, 1, 2, 2))
        Linear(in_features=3, out_features=2, bias=True)
        >>> last_layer(net, "1", torch.rand(2, 1, 2, 2)) is None
        True
    """
    layers = {path: layer for path, layer in model.named_modules() if isinstance(layer, nn.Linear)}
    inputs = {path: f"{path}:input" for path in layers}
    with evaluating(model), Taps(model, [embedding, *layers, *inputs.values()]).capture() as seen:
        said = model(example)
    if embedding not in seen:
        return None
    rows_BD = pooled(seen[embedding])
    for path, layer in layers.items():
        if path in seen and _alike(seen[path], said) and _alike(seen[inputs[path]], rows_BD):
            return layer
    return None


def _alike(one: Any, other: Any) -> bool:
    """Equal up to the rounding of another way to average over places."""
    tensors = isinstance(one, Tensor) and isinstance(other, Tensor)
    return tensors and one.shape == other.shape and torch.allclose(one, other, rtol=1e-4, atol=1e-6)
