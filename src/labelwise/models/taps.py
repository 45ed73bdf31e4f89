"""Reading inner layers of any module by path: embeddings, auxiliaries, activations."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from labelwise.errors import ConfigError, UnmetNeed, unknown


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """The model in eval mode; afterwards each part is in the mode that it was in, as frozen ones rest in training."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


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


def last_used(model: nn.Module, images: Tensor) -> str:
    """Path of the layer with weights that runs last on the way to what the model gives; of a dict to its first entry.

    Args:
        model: any module.
        images: (B, C, H, W), on the model's device; what they show does not matter.

    Raises:
        UnmetNeed: there is none.

    Example:
        >>> last_used(nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU()), torch.rand(1, 1, 2, 2))
        '1'
    """
    layers: dict[nn.Module, str] = {
        module: path
        for path, module in model.named_modules()
        if isinstance(getattr(module, "weight", None), nn.Parameter) and module.weight.dim() > 1
    }
    order: list[tuple[nn.Module, Tensor]] = []

    def hook(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
        # a leaf of its own, so that what comes after is told from what came before
        kept = output.detach().requires_grad_()
        order.append((module, kept))
        return kept

    hooks = [module.register_forward_hook(hook) for module in layers]
    try:
        with torch.enable_grad():
            found = model(images)
            first = next(iter(found.values())) if isinstance(found, Mapping) else found
            first = first[0] if isinstance(first, tuple | list) else first
            ends = [kept for _, kept in order]
            reached = torch.autograd.grad(first.sum(), ends, allow_unused=True) if ends and first.requires_grad else ()
    finally:
        for handle in hooks:
            handle.remove()
    used = [module for (module, _), part in zip(order, reached, strict=False) if part is not None]
    if not used:
        raise UnmetNeed(f"{type(model).__name__} has no layer with weights that its answer depends on")
    return layers[used[-1]]


def pooled(activation: Any) -> Tensor:
    """One vector per image: maps (B, C, H, W) are averaged over places, token sequences (B, T, D) over tokens."""
    tensor: Tensor = activation[0] if isinstance(activation, tuple | list) else activation
    if tensor.dim() == 4:
        return tensor.mean((2, 3))
    if tensor.dim() == 3:
        return tensor.mean(1)
    return tensor.flatten(1)


#: a module, then entries of the list, tuple or dict that it gives, then perhaps what it is given instead
_PATH = re.compile(r"^(?P<module>[^\[\]:]*)(?P<entries>(?:\[[^\[\]]+\])*)(?P<input>:input)?$")
#: layers whose map is the mean of another, or another in training than at inference
_SAY_NOTHING_NEW = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.modules.dropout._DropoutNd)
#: maps that ``stages`` gives at most
MOST = 6


@dataclass(frozen=True)
class Tap:
    """A place in a model: ``layer3``, ``stage3[1]``, ``backbone.fpn[pool]`` or ``fc:input``.

    Args:
        module: dotted path.
        entries: keys of a dict, or numbers of a list, one inside the other.
        input: the first thing that the module is given, instead of what it gives.
    """

    module: str
    entries: tuple[str, ...] = ()
    input: bool = False

    @classmethod
    def of(cls, path: str) -> Tap:
        """Reads a path.

        Raises:
            ConfigError: it cannot be read.
        """
        found = _PATH.match(path)
        if found is None:
            raise ConfigError(f"cannot read the tap {path!r}: write a module, as layer3, stage3[1] or fc:input")
        return cls(found["module"], tuple(re.findall(r"\[([^\[\]]+)\]", found["entries"])), found["input"] is not None)

    def take(self, value: Any, path: str) -> Any:
        """The entry of what the module gives.

        Raises:
            ConfigError: there is none of that name.
        """
        for entry in self.entries:
            there = list(value) if isinstance(value, Mapping) else list(range(len(value))) if _several(value) else []
            key = next((key for key in there if str(key) == entry), None)
            if key is None:
                names = ", ".join(map(str, there)) or "no entries"
                raise ConfigError(f"tap {path!r}: {self.module!r} gives {names:.120}, and not {entry!r}")
            value = value[key]
        return value


def _several(value: Any) -> bool:
    return isinstance(value, tuple | list)


class Taps:
    """Outputs (or inputs) of named modules during a forward pass.

    Args:
        model: any module.
        paths: modules whose output is wanted, or entries of it; a path that ends in ``:input`` gives the module's first
            input instead. See ``Tap``.

    Raises:
        ConfigError: a path that cannot be read, or names no module.

    Example:
        >>> net = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1))
        >>> with Taps(net, ["2:input"]).capture() as seen:
        ...     out = net(torch.zeros(5, 3))
        >>> seen["2:input"].shape
        torch.Size([5, 2])
    """

    def __init__(self, model: nn.Module, paths: Sequence[str]) -> None:
        self._taps = {path: Tap.of(path) for path in paths}
        self._modules = {path: submodule(model, tap.module) for path, tap in self._taps.items()}

    @contextmanager
    def capture(self) -> Iterator[dict[str, Tensor]]:
        """A dict that each forward pass fills anew; the hooks are gone afterwards."""
        seen: dict[str, Tensor] = {}
        hooks = []

        def keep_output(path: str, tap: Tap) -> Any:
            def hook(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
                seen[path] = tap.take(output, path)

            return hook

        def keep_input(path: str) -> Any:
            def hook(module: nn.Module, inputs: tuple[Any, ...]) -> None:
                seen[path] = inputs[0]

            return hook

        for path, module in self._modules.items():
            if self._taps[path].input:
                hooks.append(module.register_forward_pre_hook(keep_input(path)))
            else:
                hooks.append(module.register_forward_hook(keep_output(path, self._taps[path])))
        try:
            yield seen
        finally:
            for handle in hooks:
                handle.remove()


@torch.inference_mode()
def widths(model: nn.Module, paths: Sequence[str], example: Tensor) -> dict[str, int]:
    """Channel count of each tap, from one forward pass."""
    with evaluating(model), Taps(model, paths).capture() as seen:
        model(example)
    return {path: pooled(seen[path]).shape[1] for path in paths}


@dataclass(frozen=True)
class _Seen:
    """What a module gave in a pass over a batch, the last time: how often it ran, and when."""

    runs: int
    when: int
    shape: tuple[int, ...] | None


@torch.no_grad()
def _passed(model: nn.Module, images: Tensor) -> dict[str, _Seen]:
    """What every module gave in one pass in eval mode."""
    found: dict[str, _Seen] = {}
    names = {module: name for name, module in model.named_modules() if name}

    def hook(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        several = enumerate(output) if getattr(module, "gives_stages", False) else ()
        for path, value in ((names[module], output), *((f"{names[module]}[{n}]", maps) for n, maps in several)):
            before = found.get(path)
            shape = tuple(value.shape) if isinstance(value, Tensor) else None
            found[path] = _Seen(1 + (before.runs if before else 0), len(order), shape)
            order.append(module)

    order: list[nn.Module] = []
    hooks = [module.register_forward_hook(hook) for module in names]
    try:
        with evaluating(model):
            model(images)
    finally:
        for handle in hooks:
            handle.remove()
    return found


def stages(model: nn.Module, images: Tensor, *, most: int = MOST) -> tuple[str, ...]:
    """Paths of the maps that stand for a model: the widest at each resolution, from the finest to the coarsest.

    Looked at are modules that run exactly once in a pass and give one map (B, C, h, w) of the proportions of the
    images, but neither dropout nor global pooling; of several of one width the last to run. Of a module that says that
    it gives its own stages (``gives_stages``, as a ``Trunk`` does) these are taken. Where there are more than
    ``most`` resolutions the coarsest are taken, where there is no map token sequences (B, T, D), and where there are
    none of these the vector (B, D) before the last.

    Args:
        model: any module that takes images.
        images: (B, C, H, W) with B at least 2, on the model's device; what they show does not matter.
        most: maps to give at most.

    Raises:
        UnmetNeed: there is nothing to read.

    Cost:
        two passes over the images.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 8, 1), nn.Flatten())
        >>> stages(net, torch.zeros(2, 1, 10, 10))
        ('1', '3')
    """
    size = len(images)
    # of another number of images too: boxes and regions are no images, though there may be as many
    whole, fewer = _passed(model, images), _passed(model, images[:1])
    order = sorted((seen.when, path) for path, seen in whole.items())
    last = order[-1][1] if order else ""
    kinds: dict[int, dict[tuple[int, ...], tuple[int, int, str]]] = {4: {}, 3: {}, 2: {}}
    passed_over = {path for path, module in model.named_modules() if isinstance(module, _SAY_NOTHING_NEW)}
    inside = tuple(f"{path}." for path, module in model.named_modules() if getattr(module, "gives_stages", False))
    for when, path in order:
        shape, other = whole[path].shape, fewer[path].shape if path in fewer else None
        if whole[path].runs != 1 or shape is None or other is None or len(shape) not in kinds:
            continue
        if path in passed_over or path.startswith(inside):
            continue
        if shape[0] != size or other != (1, *shape[1:]) or not _like(shape, images):
            continue
        if len(shape) == 2 and path == last:
            continue
        # vectors have no resolution: the last one
        width, place = {4: (shape[1], shape[2:]), 3: (shape[-1], shape[1:2]), 2: (0, ())}[len(shape)]
        best = kinds[len(shape)].get(place)
        if best is None or width >= best[0]:
            kinds[len(shape)][place] = (width, when, path)
    maps = next((found for found in kinds.values() if found), {})
    if not maps:
        raise UnmetNeed(
            f"{type(model).__name__} gives no map that runs once in a pass: name modules, taps=('layer1', 'layer2')"
        )
    finest = sorted(maps, key=lambda place: (-math.prod(place), place))
    return tuple(maps[place][2] for place in finest[-most:])


def _like(shape: tuple[int, ...], images: Tensor) -> bool:
    """Whether a map has the proportions of the images: (B, h, w, C) and maps of objects have others."""
    if len(shape) != 4:
        return True
    high, wide = images.shape[-2:]
    return abs(shape[2] * wide - shape[3] * high) <= max(high, wide)


def check_taps(model: nn.Module, paths: Sequence[str], images: Tensor) -> None:
    """Refuses taps that name no module, run more than once in a pass, or give no map of each image.

    Args:
        model: any module that takes images.
        paths: see ``Tap``.
        images: (B, C, H, W), on the model's device.

    Raises:
        ConfigError: with the tap and what is wrong.
    """
    taps = Taps(model, paths)
    seen = _passed(model, images)
    with torch.no_grad(), taps.capture() as given:
        model(images)
    for path in paths:
        runs = seen[module].runs if (module := Tap.of(path).module) in seen else 0
        if runs != 1 and module:
            often = "never runs" if not runs else f"runs {runs} times"
            raise ConfigError(f"tap {path!r} {often} in a pass, and a head reads one map: name a module that runs once")
        value = given.get(path)
        if not isinstance(value, Tensor) or value.dim() < 2 or len(value) != len(images):
            what = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            entries = "" if isinstance(value, Tensor) else f"; an entry of it is written {path}[0] or {path}[name]"
            raise ConfigError(f"tap {path!r} gives {what} for {len(images)} images, and no map of each{entries}")
