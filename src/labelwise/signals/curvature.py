"""What the loss of the labelled images bends along a direction: a direction divided by that. P: chosen weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

import torch
from torch import Tensor, nn

from labelwise.contracts.signal import ProbeContext
from labelwise.contracts.task import Batch
from labelwise.errors import UnmetNeed
from labelwise.models.taps import Taps
from labelwise.processes import free_memory, several, share
from labelwise.selection.conjugate import Solution, conjugate_gradients
from labelwise.signals import ekfac
from labelwise.signals.slopes import Slopes

Hessian = Literal["identity", "fisher", "lissa", "ekfac"]
#: one number for all weights, or (beginning of names, number) for each part
Scale = float | tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Curvature:
    """Which matrix a gradient v is divided by, H averaged over the labelled images.

    Args:
        hessian: ``identity``: s = v. ``fisher``: s = (F + damping I)^-1 v with the empirical Fisher matrix F, the mean
            of g g^T over the gradients g of the images' losses, by conjugate gradients: a derivative along a direction
            and a gradient over all labelled images a step. ``ekfac``: the same matrix by Kronecker factors, layer by
            layer, of linear layers and convolutions that run once an image (extra ``ekfac``). ``lissa``: as published,
            h = v + (1 - damping) h - H_j h / scale over one labelled image j after the other, s the mean of the last h
            of all repetitions; it tends to scale (H + damping scale I)^-1 v, which, with the published scales, ranks
            like v.
        damping: what is added to the diagonal.
        steps: of conjugate gradients, or images of a repetition.
        scale: of ``lissa``.
        repeats: of ``lissa``, each over the next ``steps`` images; processes share them.

    Raises:
        ValueError: a number out of its range.
    """

    hessian: Hessian = "identity"
    damping: float = 1.0
    steps: int = 20
    scale: Scale = 1e4
    repeats: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.damping < math.inf:
            raise ValueError(f"damping is {self.damping}: give 0 or more")
        if self.steps < 1 or self.repeats < 1:
            raise ValueError(f"steps and repeats are {self.steps} and {self.repeats}: give 1 or more")
        scales = [self.scale] if isinstance(self.scale, int | float) else [value for _, value in self.scale]
        if not scales or not all(0 < value < math.inf for value in scales):
            raise ValueError(f"scale is {self.scale!r}: give numbers above 0")

    def check(self, slopes: Slopes) -> None:
        """Refuses a model of which the matrix cannot be had.

        Raises:
            UnmetNeed: see ``labelwise.signals.ekfac.check``.
        """
        if self.hessian == "ekfac":
            ekfac.check(slopes)

    def solved(self, slopes: Slopes, context: ProbeContext, right_P: Tensor) -> Solution:
        """The direction divided by the matrix.

        Raises:
            UnmetNeed: the matrix cannot be had of this model.
        """
        if self.hessian == "identity":
            return Solution(right_P, 0.0, 0)
        if self.hessian == "lissa":
            return Solution(self._lissa(slopes, context, right_P), math.nan, self.steps * self.repeats)
        if self.hessian == "ekfac":  # each process reads all images: factors of a part are none of the whole
            slopes, batches = _ending(slopes, context.labelled)
            return Solution(ekfac.divided(slopes, batches, right_P, self.damping), math.nan, 0)
        slopes, batches = _ending(slopes, lambda: context.mine("labelled"))
        images = max(1, int(context.total(torch.tensor(float(sum(map(len, batches())))))))

        def product(direction_P: Tensor) -> Tensor:
            direction, found_P = slopes.named(direction_P), torch.zeros_like(direction_P)
            for batch in batches():
                found_P += slopes.gradient(batch, slopes.along(batch, direction))
            return context.total(found_P) / images + self.damping * direction_P

        return conjugate_gradients(product, right_P, steps=self.steps)

    def _scales(self, slopes: Slopes) -> Tensor:
        """(P,) of each weight.

        Raises:
            UnmetNeed: a weight of which nobody said it.
        """
        if isinstance(self.scale, int | float):
            return torch.full_like(slopes.flat({}), self.scale)
        found = {}
        for name, value in slopes.weights.items():
            mine = [number for prefix, number in self.scale if name.startswith(prefix)]
            if not mine:
                raise UnmetNeed(f"scale says nothing of {name!r}: give a number for each layer, or one for all")
            found[name] = torch.full_like(value, mine[0])
        return slopes.flat(found)

    def _lissa(self, slopes: Slopes, context: ProbeContext, right_P: Tensor) -> Tensor:
        slopes, batches = _ending(slopes, context.labelled)
        scale_P, total_P = self._scales(slopes), torch.zeros_like(right_P)
        for number in share(self.repeats):
            h_P = right_P.clone()
            first = self.steps * number
            for image in islice(_endless(batches), first, first + self.steps):
                h_P = right_P + (1 - self.damping) * h_P - hessian_product(slopes, image, h_P) / scale_P
            total_P += h_P
        return (context.total(total_P) if several() else total_P) / self.repeats


def hessian_product(slopes: Slopes, batch: Batch, direction_P: Tensor) -> Tensor:
    """(P,) the Hessian of the summed loss of a batch times a direction, by two backward passes."""
    values = {name: value.clone().requires_grad_() for name, value in slopes.weights.items()}
    direction = slopes.named(direction_P)
    with torch.enable_grad():
        loss = slopes.losses(batch, values).sum()
        first = torch.autograd.grad(loss, list(values.values()), create_graph=True, allow_unused=True)
        pairs = zip(values, first, strict=True)
        inner = [(part * direction[name]).sum() for name, part in pairs if part is not None and part.requires_grad]
        if not inner:
            return torch.zeros_like(direction_P)
        found = torch.autograd.grad(torch.stack(inner).sum(), list(values.values()), allow_unused=True)
    return slopes.flat({name: part for name, part in zip(values, found, strict=True) if part is not None})


def _endless(read: Callable[[], Iterator[Batch]]) -> Iterator[Batch]:
    """Batches of one image, again from the start after the last."""
    some = True
    while some:
        some = False
        for batch in read():
            some = some or len(batch) > 0
            yield from (Batch(batch.images[i : i + 1], batch.targets[i : i + 1]) for i in range(len(batch)))


def _ending(slopes: Slopes, read: Callable[[], Iterator[Batch]]) -> tuple[Slopes, Callable[[], Iterator[Batch]]]:
    """The same losses by the shortest way: as functions of a last linear layer, whose input is computed once.

    Else the batches, decoded once where they fit into a quarter of the memory that is free.
    """
    layers = {name.rpartition(".")[0] for name in slopes.names}
    path = next(iter(layers)) if len(layers) == 1 else ""
    linear = dict(slopes.model.named_modules()).get(path)
    if not path or not isinstance(linear, nn.Linear):
        return slopes, _kept(read)
    features: list[Batch] = []
    with torch.no_grad(), Taps(slopes.model, [f"{path}:input"]).capture() as seen:
        for batch in read():
            said: Any = slopes.model(batch.images)
            given = seen[f"{path}:input"]
            if not isinstance(said, Tensor) or not torch.equal(said, linear(given)):
                return slopes, _kept(read)
            features.append(Batch(given, batch.targets))
    names = tuple(name.removeprefix(f"{path}.") for name in slopes.names)
    return Slopes(slopes.task, linear, names, slopes.method), lambda: iter(features)


def _kept(read: Callable[[], Iterator[Batch]]) -> Callable[[], Iterator[Batch]]:
    kept: list[Batch] = []
    used, free = 0, free_memory() // 4
    for batch in read():
        used += batch.images.numel() * batch.images.element_size()
        if used > free:
            return read
        kept.append(batch)
    return _again(kept)


def _again(batches: Sequence[Batch]) -> Callable[[], Iterator[Batch]]:
    return lambda: iter(batches)
