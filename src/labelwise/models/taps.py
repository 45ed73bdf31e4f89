"""Reading inner layers of any module by path: embeddings, auxiliaries, activations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from labelwise.errors import UnmetNeed, unknown


def submodule(model: nn.Module, path: str) -> nn.Module:
    """The module at a dotted path.

    Raises:
        ConfigError: no such module; the nearest paths are named.
    """
    modules: dict[str, nn.Module] = dict(model.named_modules())
    if path not in modules:
        raise unknown(f"module of {type(model).__name__}", path, [name for name in modules if name])
    return modules[path]


def last_linear(model: nn.Module) -> str:
    """Path of the last linear layer, whose input is the embedding of most classifiers.

    Raises:
        UnmetNeed: there is none.
    """
    paths: list[str] = [path for path, module in model.named_modules() if isinstance(module, nn.Linear)]
    if not paths:
        raise UnmetNeed(
            f"{type(model).__name__} has no linear layer to take embeddings from: name a module, embedding='layer4'"
        )
    return paths[-1]


def pooled(activation: Any) -> Tensor:
    """One vector per image: maps (B, C, H, W) are averaged over places, token sequences (B, T, D) over tokens."""
    tensor: Tensor = activation[0] if isinstance(activation, tuple | list) else activation
    if tensor.dim() == 4:
        return tensor.mean((2, 3))
    if tensor.dim() == 3:
        return tensor.mean(1)
    return tensor.flatten(1)


class Taps:
    """Outputs (or inputs) of named modules during a forward pass.

    Args:
        model: any module.
        paths: modules whose output is wanted; a path that ends in ``:input`` gives the module's first input instead.

    Example:
        >>> net = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1))
        >>> with Taps(net, ["2:input"]).capture() as seen:
        ...     out = net(torch.zeros(5, 3))
        >>> seen["2:input"].shape
        torch.Size([5, 2])
    """

    def __init__(self, model: nn.Module, paths: Sequence[str]) -> None:
        self._modules = {path: submodule(model, path.removesuffix(":input")) for path in paths}

    @contextmanager
    def capture(self) -> Iterator[dict[str, Tensor]]:
        """A dict that each forward pass fills anew; the hooks are gone afterwards."""
        seen: dict[str, Tensor] = {}
        hooks = []

        def keep_output(path: str) -> Any:
            def hook(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
                seen[path] = output

            return hook

        def keep_input(path: str) -> Any:
            def hook(module: nn.Module, inputs: tuple[Any, ...]) -> None:
                seen[path] = inputs[0]

            return hook

        for path, module in self._modules.items():
            if path.endswith(":input"):
                hooks.append(module.register_forward_pre_hook(keep_input(path)))
            else:
                hooks.append(module.register_forward_hook(keep_output(path)))
        try:
            yield seen
        finally:
            for handle in hooks:
                handle.remove()


@torch.inference_mode()
def widths(model: nn.Module, paths: Sequence[str], example: Tensor) -> dict[str, int]:
    """Channel count of each tap, from one forward pass."""
    was_training = model.training
    model.eval()
    with Taps(model, paths).capture() as seen:
        model(example)
    model.train(was_training)
    return {path: pooled(seen[path]).shape[1] for path in paths}
