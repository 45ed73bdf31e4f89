"""Losses of images as functions of some of a model's weights: their sum's gradient, and each one's slope along a way.

Shape letters: B images of a batch, P chosen weights end to end.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.func import functional_call, jvp
from torch.nn import functional as F

from labelwise.contracts.losses import image_losses
from labelwise.contracts.task import Batch, Outputs, Task
from labelwise.errors import ConfigError, UnmetNeed, cut, unknown
from labelwise.models.detectors import Detector
from labelwise.models.taps import evaluating, last_used

#: how derivatives along a direction are taken
Method = Literal["forward", "difference"]
#: of a central difference, in units of the length of the weights
_STEP = 1e-3
#: what torch says of an operation, or of a function of somebody's own, that it cannot differentiate forwards
_LACKING = re.compile(r"forward AD with (\S+)|(autograd\.Function)|(jvp)(?: is)? not implemented")


@dataclass(frozen=True)
class Believed:
    """Which label an image has whose label nobody knows.

    Args:
        label: ``predicted``, ``soft`` (the ``top`` likeliest classes, each as much as it is likely) or ``true``.
        top: classes of a soft label; with all of them the gradient would be zero, whatever the image.
        confident: lowest score of a predicted box; None: the task's own.
    """

    label: Literal["predicted", "soft", "true"] = "predicted"
    top: int = 2
    confident: float | None = None

    def __post_init__(self) -> None:
        if self.top < 1:
            raise ValueError(f"top is {self.top}: give the number of classes of a soft label, 1 or more")
        if self.confident is not None and not 0 <= self.confident <= 1:
            raise ValueError(f"confident is {self.confident}: give the lowest score of a predicted box, from 0 to 1")

    def check(self, task: Task[Any]) -> None:
        """Refuses soft labels where there are none.

        Raises:
            ConfigError: as many classes as there are.
            UnmetNeed: the loss takes one class for each image or pixel.
        """
        if self.label != "soft":
            return
        if not task.soft:
            raise UnmetNeed(f"the loss of {task.name} takes no soft labels: set label=predicted")
        if self.top >= len(task.classes):
            raise ConfigError(
                f"top={self.top} of {len(task.classes)} classes: over all classes the gradients of a soft label cancel "
                f"and every image scores zero. Give at most {len(task.classes) - 1}"
            )

    def targets(self, task: Task[Any], outputs: Outputs) -> list[Any]:
        """One for each image, through which no gradient goes."""
        if self.label == "soft":
            best_BK = outputs.probs_UC.topk(self.top, dim=1)
            return list(torch.zeros_like(outputs.probs_UC).scatter(1, best_BK.indices, best_BK.values))
        lowest = self.confident if task.finds_objects else None
        return [prediction.target for prediction in task.predictions(outputs, lowest)]


@dataclass
class Labels:
    """Makes labels of outputs, and remembers which images got none."""

    task: Task[Any]
    believed: Believed
    empty: list[bool] = field(default_factory=list)

    def __call__(self, outputs: Outputs) -> list[Any]:
        """One for each image."""
        targets = self.believed.targets(self.task, outputs)
        # of several classes an image may have none, and that is a label as good as another
        self.empty = [self.task.finds_objects and not len(target) for target in targets]
        return targets


class _Run(nn.Module):
    """A function of a model as a module, so that the model can be given other weights for one call."""

    def __init__(self, model: nn.Module, run: Callable[[nn.Module], Tensor]) -> None:
        super().__init__()
        self.model = model
        self._run = run

    def forward(self) -> Tensor:
        return self._run(self.model)


class _Head(nn.Module):
    """A linear layer, and what it becomes along a direction, of one product: features are many, and read once."""

    def __init__(self, layer: nn.Module, direction: Mapping[str, Tensor]) -> None:
        super().__init__()
        own = {name: parameter.detach() for name, parameter in layer.named_parameters()}
        along = {name: direction[name] if name in direction else torch.zeros_like(own[name]) for name in own}
        self._both = torch.cat([own["weight"], along["weight"]])
        self._bias = torch.cat([own["bias"], along["bias"]]) if "bias" in own else None

    def forward(self, features: Tensor) -> Tensor:
        said, moved = F.linear(features, self._both, self._bias).chunk(2, dim=-1)
        dual: Tensor = forward_ad.make_dual(said, moved)  # type: ignore[no-untyped-call]
        return dual


@dataclass(frozen=True)
class Slopes:
    """The loss of each image as a function of the weights of some names.

    Args:
        task: whose loss.
        model: in eval mode, or no image would be judged by itself.
        names: of the parameters that count, whatever a phase of the training left frozen.
        method: ``forward`` differentiates exactly, all images of a batch at once; ``difference`` runs the model twice,
            a little to both sides: for operations that cannot be differentiated forwards. Wrong where the loss has a
            kink, as that of a predicted box under itself, or where a model proposes boxes that move with the weights.
    """

    task: Task[Any]
    model: nn.Module
    names: tuple[str, ...]
    method: Method = "forward"

    @cached_property
    def weights(self) -> dict[str, Tensor]:
        """The chosen parameters, cut off from any graph."""
        known = dict(self.model.named_parameters())
        return {name: known[name].detach() for name in self.names}

    @cached_property
    def _others(self) -> dict[str, Tensor]:
        # so that no graph is kept of layers that nobody asks about
        mine = set(self.names)
        return {f"model.{name}": p.detach() for name, p in self.model.named_parameters() if name not in mine}

    def _at(self, values: Mapping[str, Tensor], run: Callable[[nn.Module], Tensor]) -> Tensor:
        given = {f"model.{name}": value for name, value in values.items()}
        found: Tensor = functional_call(_Run(self.model, run), {**self._others, **given}, ())
        return found

    def losses(self, batch: Batch, values: Mapping[str, Tensor]) -> Tensor:
        """(B,) the loss of each image under its label, by itself: norms of a batch would let batches decide."""
        return self._at(values, lambda model: image_losses(self.task.loss(model, batch)))

    def gradient(self, batch: Batch, weight_B: Tensor | None = None) -> Tensor:
        """(P,) the gradient of the sum of the images' losses, each with its weight."""
        values = {name: value.clone().requires_grad_() for name, value in self.weights.items()}
        with torch.enable_grad():
            loss_B = self.losses(batch, values)
            total = loss_B.sum() if weight_B is None else (loss_B * weight_B).sum()
        if not total.requires_grad:
            return self.flat({})
        found = torch.autograd.grad(total, list(values.values()), allow_unused=True)
        return self.flat({name: part for name, part in zip(values, found, strict=True) if part is not None})

    def along(self, batch: Batch, direction: Mapping[str, Tensor]) -> Tensor:
        """(B,) how fast the loss of each image under its label rises along a direction."""
        return self._slope(lambda model: image_losses(self.task.loss(model, batch)), direction)

    def believed(self, batch: Batch, direction: Mapping[str, Tensor], believed: Believed) -> tuple[Tensor, Tensor]:
        """(B,) the same under the label that is believed of each, in the pass that says which; (B,) bool no label."""
        labels, task = Labels(self.task, believed), self.task
        if believed.label == "true":
            return self.along(batch, direction), torch.zeros(len(batch), dtype=torch.bool)
        if self.method == "forward":

            def judged(model: nn.Module) -> Tensor:
                return image_losses(task.judged(model, batch, labels)[1])

            slope_B = self._slope(judged, direction)
        else:  # labels stay as they are, whatever the step
            targets = task.collate(labels(task.outputs(self.model, batch, frozenset())))
            slope_B = self.along(replace(batch, targets=targets).to(batch.images.device), direction)
        return slope_B, torch.tensor(labels.empty)

    def _slope(self, run: Callable[[nn.Module], Tensor], direction: Mapping[str, Tensor]) -> Tensor:
        if self.method == "difference":
            return self._difference(lambda values: self._at(values, run), direction)
        try:
            if isinstance(self.model, nn.Linear):
                slope_B = _forwards(lambda given: run(_Head(self.model, direction)), {}, {})
            else:
                slope_B = _forwards(lambda given: self._at(given, run), self.weights, direction)
        except (NotImplementedError, RuntimeError) as error:
            if (found := _LACKING.search(str(error))) is None:
                raise
            what = next(part for part in found.groups() if part)
            raise UnmetNeed(
                f"the loss of {type(self.model).__name__} uses {cut(what.replace('jvp', 'a function without jvp'))}, "
                "which cannot be differentiated forwards: set method=difference"
            ) from error
        return slope_B.float()

    def _difference(self, function: Callable[[Any], Tensor], direction: Mapping[str, Tensor]) -> Tensor:
        length, size = self.flat(direction).norm(), self.flat(self.weights).norm()
        step = float(_STEP * size.clamp_min(1e-12) / length) if float(length) > 0 else 0.0
        if not step:
            return torch.zeros_like(function(self.weights))
        ahead, behind = (
            function({name: value + sign * step * direction[name] for name, value in self.weights.items()})
            for sign in (1, -1)
        )
        return (ahead - behind).float() / (2 * step)

    # ---- weights end to end -----------------------------------------------------------------------------------------

    def flat(self, parts: Mapping[str, Tensor]) -> Tensor:
        """(P,) the values of all names end to end; zero for those that are missing."""
        weights = self.weights
        found = [parts[name] if name in parts else torch.zeros_like(value) for name, value in weights.items()]
        return torch.cat([part.flatten() for part in found])

    def named(self, values_P: Tensor) -> dict[str, Tensor]:
        """The same by name, in shape."""
        sizes = [value.numel() for value in self.weights.values()]
        pairs = zip(self.weights.items(), torch.split(values_P, sizes), strict=True)
        return {name: part.view_as(value) for (name, value), part in pairs}


def _forwards(
    function: Callable[[Any], Tensor], weights: Mapping[str, Tensor], direction: Mapping[str, Tensor]
) -> Tensor:
    """(B,) the derivative along a direction; ``torch.func.jvp`` gives the same numbers in 1.6 times the time."""
    with torch.no_grad(), forward_ad.dual_level():
        dual: Any = forward_ad  # untyped
        given = {name: dual.make_dual(value, direction[name]) for name, value in weights.items()}
        found = dual.unpack_dual(function(given))
        return torch.zeros_like(found.primal) if found.tangent is None else found.tangent


def mean_gradient(slopes: Slopes, batches: Iterable[Batch], total: Callable[[Tensor], Tensor]) -> tuple[Tensor, int]:
    """(P,) the mean gradient over the images of all processes, and how many these are."""
    gradient_P = slopes.flat({})
    count = torch.zeros((), device=gradient_P.device)
    for batch in batches:
        gradient_P += slopes.gradient(batch)
        count += len(batch)
    images = int(total(count))
    return total(gradient_P) / max(1, images), images


def chosen(model: nn.Module, task: Task[Any], layers: tuple[str, ...], *, biases: bool) -> tuple[str, ...]:
    """Names of the parameters of some layers.

    Args:
        model: whose.
        task: knows what the model is given.
        layers: beginnings of names, ``("all",)``, or ``("last",)``: what a detector predicts with, of other models the
            last layer.
        biases: whether parameters of one dimension count (biases, and factors of normalisations).

    Raises:
        ConfigError: a layer that is not there, with what there is; or weights in half precision.
        UnmetNeed: nobody knows which layers are the last.
    """
    prefixes = _last(model, task) if layers == ("last",) else () if layers == ("all",) else layers
    named = {name: p for name, p in model.named_parameters() if p.dim() > 1 or biases}
    for prefix in prefixes:
        if not any(_begins(name, prefix) for name in named):
            raise unknown(f"layer of {type(model).__name__}", prefix, sorted({n.rpartition(".")[0] for n in named}))
    found = tuple(name for name in named if not prefixes or any(_begins(name, prefix) for prefix in prefixes))
    if not found:
        raise ConfigError(f"{type(model).__name__} has no weights of more than one dimension: set biases=True")
    low = [name for name in found if named[name].dtype not in (torch.float32, torch.float64)]
    if low:
        raise ConfigError(
            f"{low[0]} and {len(low) - 1} more weights are {named[low[0]].dtype}: derivatives of losses need float32, "
            "so keep the model in it (precision: bf16 in training is no hindrance)"
        )
    return found


def _begins(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(f"{prefix}.")


def _last(model: nn.Module, task: Task[Any]) -> tuple[str, ...]:
    if isinstance(model, nn.Linear):  # a head on features is all there is
        return ()
    if isinstance(model, Detector):
        if not model.predicts:
            raise UnmetNeed(
                f"{type(model).__name__} does not say which layers it predicts with: name them, layers=[...]"
            )
        return model.predicts
    with evaluating(model):
        return (last_used(model, example(model, task)),)


def example(model: nn.Module, task: Task[Any]) -> Tensor:
    """(2, C, H, W) images that a model takes, or (2, D) features."""
    spec, like = task.input, next(model.parameters())
    if isinstance(model, nn.Linear):
        return torch.zeros(2, model.in_features, device=like.device)
    return torch.zeros(2, spec.channels, *spec.size, device=like.device)


def load_forward_mode() -> None:
    """Loads what the first forward-mode derivative loads: torch warns about its own use of ``torch.jit`` there."""
    with warnings.catch_warnings():
        # a FutureWarning in some releases, a DeprecationWarning in others
        warnings.filterwarnings("ignore", message=".*torch.jit.script")
        jvp(torch.sin, (torch.zeros(()),), (torch.ones(()),))
