"""What a model sees in an image and which way it would learn from it: pooled activations and their gradients."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labelwise.contracts.signal import Prepared, Probe, ProbeContext, SignalRole
from labelwise.contracts.task import Batch, Field, Task
from labelwise.errors import DataError, UnmetNeed
from labelwise.models.taps import Taps, last_linear, pooled, submodule, widths
from labelwise.processes import free_memory
from labelwise.selection.fisher_kernel import (
    Moments,
    information,
    information_diagonal,
    nearest_row,
    standardised,
)

Label = Literal["none", "true", "predicted", "nearest", "nearest_joint", "trace", "information", "information_diagonal"]
#: labels that are estimated from perturbed copies
_ESTIMATED = ("trace", "information", "information_diagonal")
#: images whose second moments are kept at a time
_TOGETHER = 64
#: standard deviation of the turn of a perturbed copy, in degrees, and of its noise, in units of normalised input
_TURN, _NOISE = 5.0, 0.01


@dataclass(frozen=True)
class _Prepared:
    """What a round knows beforehand.

    Args:
        keys_RW: descriptors of the reference set, shuffled.
        labels_R: their classes.
        turns_K: rotation of each perturbed copy, in radians.
        noise_KCHW: what is added to each.
    """

    keys_RW: Tensor | None = None
    labels_R: Tensor | None = None
    turns_K: tuple[float, ...] = ()
    noise_KCHW: Tensor | None = None


@dataclass(frozen=True)
class Descriptors(Probe):
    """[z | g] of an image: pooled activations of some layers, and pooled gradients of the loss with respect to them.

    z_l = mean over places of h_l(x), g_l = mean over places of d CE(f(x), s) / d h_l(x) for a class s; each level is
    standardised over its channels. (B, 2 L), for ``label="none"`` (B, L).

    Args:
        layers: module paths, in any model; ``path:input`` takes a module's input. None: the input of the last linear
            layer.
        label: the class s: ``none`` (no gradient), ``true`` (needs labels), ``predicted``, ``nearest`` (the true class
            of the reference image with the most similar z), ``nearest_joint`` (of the most similar [z | g], gradients
            of both under their predicted class); or by how features and gradients vary over perturbed copies, the same
            estimate for pool and reference: ``trace`` of their correlation, mutual ``information``, or that of each
            channel by itself, ``information_diagonal``.
        levels: ``channels`` weighs levels by their number of channels, as published; ``equal`` alike.
        copies: perturbed copies of an image, for the last three.
        preset: ``faithful`` estimates by the last three as published, with the *largest* value, copies turned by
            radians, and a diagonal that is zero. The gradient is one of the loss, so it is the *smallest* that tells
            the likely class: that, degrees, and correlations by channel are the default.

    Cost: one forward and one backward pass to the layers for a batch, no gradient of parameters, none by image.
        ``nearest`` first reads the reference set in one forward pass, and compares B R L numbers for a batch.
        ``nearest_joint`` takes another backward pass. The last three take ``copies`` times one forward and C backward
        passes.

    Reference:
        Gudovskiy et al., "Deep Active Learning for Biased Datasets via Fisher Kernel Self-Supervision", CVPR 2020.
    """

    name: ClassVar[str] = "descriptors"
    layers: tuple[str, ...] = ()
    label: Label = "nearest"
    levels: Literal["channels", "equal"] = "channels"
    copies: int = 128
    preset: Literal["default", "faithful"] = "default"

    def __post_init__(self) -> None:
        if self.copies < 2:
            raise ValueError(f"copies must be at least 2, got {self.copies}")

    @property
    def fields(self) -> frozenset[Field]:
        """Needs one class for each image."""
        return frozenset({"probs", "per_image"})

    @property
    def prepared_from(self) -> frozenset[Prepared]:
        """The reference set with its labels, where gradients are taken under them."""
        return frozenset({"reference"} if self.label in ("true", "nearest", "nearest_joint") else ())

    @property
    def reads_targets(self) -> bool:
        """Only for gradients under the true label."""
        return self.label == "true"

    def check(self, model: nn.Module, task: Task[Any]) -> None:
        """Refuses layers that are not there.

        Raises:
            ConfigError: names the nearest.
        """
        for path in self._paths(model):
            submodule(model, path.removesuffix(":input"))

    def prepare(self, context: ProbeContext) -> _Prepared:
        """Descriptors of the reference set, or how copies are perturbed.

        Raises:
            ConfigError: a layer that is not in the model.
            DataError: the descriptors of all images would not fit into memory.
            UnmetNeed: there is no reference set to take labels from.
        """
        self.check(context.model, context.task)
        self._check_memory(context)
        if self.label in _ESTIMATED:
            return self._perturbations(context)
        return self._keys(context) if self.label.startswith("nearest") else _Prepared()

    def compute(self, state: _Prepared, model: nn.Module, batch: Batch, role: SignalRole) -> Tensor:
        """(B, 2 L) float32, for ``label="none"`` (B, L)."""
        if self.label == "none":
            with torch.no_grad():
                return self._rows(_forward(model, batch.images, self._paths(model))[1])
        label_B = None
        if self.label in _ESTIMATED:
            parts = [self._estimated(state, model, part) for part in torch.split(batch.images, _TOGETHER)]
            label_B = torch.cat(parts)
        with torch.enable_grad():
            logits_BC, taps = _forward(model, batch.images.detach().requires_grad_(), self._paths(model))
            z_BL = self._rows([tap.detach() for tap in taps])
            if self.label == "nearest_joint":
                g_BL = self._rows(_gradients(logits_BC, logits_BC.argmax(1), taps, again=True))
                label_B = self._nearest(state, torch.cat([z_BL, g_BL], dim=1))
            elif label_B is None:
                label_B = self._label(state, z_BL, logits_BC, batch)
            g_BL = self._rows(_gradients(logits_BC, label_B, taps))
        return torch.cat([z_BL, g_BL], dim=1)

    def _paths(self, model: nn.Module) -> tuple[str, ...]:
        return self.layers or (f"{last_linear(model)}:input",)

    def _rows(self, levels: list[Tensor]) -> Tensor:
        return standardised([pooled(level) for level in levels], equal=self.levels == "equal")

    def _label(self, state: _Prepared, z_BL: Tensor, logits_BC: Tensor, batch: Batch) -> Tensor:
        if self.label == "nearest":
            return self._nearest(state, z_BL)
        if self.label == "predicted":
            return logits_BC.argmax(1)
        if batch.targets is None:
            raise UnmetNeed("gradients under the true label were asked for images without one: choose another label")
        return batch.targets  # type: ignore[no-any-return]

    def _nearest(self, state: _Prepared, rows_BW: Tensor) -> Tensor:
        assert state.keys_RW is not None, "prepared for this label"
        assert state.labels_R is not None, "kept with the keys"
        return state.labels_R[nearest_row(rows_BW, state.keys_RW)]

    def _keys(self, context: ProbeContext) -> _Prepared:
        rows, labels = [], []
        other: Label = "none" if self.label == "nearest" else "predicted"
        probe = Descriptors(self.layers, other, self.levels)
        for batch in context.reference():
            rows.append(probe.compute(_Prepared(), context.model, batch, "reference"))
            labels.append(batch.targets)
        if not rows:
            raise UnmetNeed(
                "pseudo-labels come from a reference set, and there is none: set data.reference to a number of images, "
                "or choose label='predicted'"
            )
        # of equally similar ones the first is taken: not the one that was listed first
        order = torch.from_numpy(context.rng.permutation(sum(map(len, rows)))).to(rows[0].device)
        return _Prepared(torch.cat(rows)[order], torch.cat(labels)[order])

    # ---- perturbed copies -------------------------------------------------------------------------------------------

    def _perturbations(self, context: ProbeContext) -> _Prepared:
        spec, rng = context.task.input, context.rng
        turns = rng.standard_normal(self.copies) * _TURN
        noise = rng.standard_normal((self.copies, spec.channels, *spec.size)) * _NOISE
        radians = turns if self.preset == "faithful" else np.deg2rad(turns)
        return _Prepared(turns_K=tuple(radians.tolist()), noise_KCHW=torch.from_numpy(noise).float())

    def _estimated(self, state: _Prepared, model: nn.Module, images_BCHW: Tensor) -> Tensor:
        """(B,) the class whose gradients go with the features as those of the likely class do."""
        assert state.noise_KCHW is not None, "prepared for this label"
        total: list[Tensor] = []
        for turn, noise in zip(state.turns_K, state.noise_KCHW, strict=True):
            copies = turned(images_BCHW, turn) + noise.to(images_BCHW.device)
            found = self._products(*self._of_all_classes(model, copies))
            total = [a + b for a, b in zip(total, found, strict=True)] if total else found
        score_BC = self._score(total)
        return score_BC.argmax(1) if self.preset == "faithful" else score_BC.argmin(1)

    def _of_all_classes(self, model: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, L), and gradients (B, C, L) under each class, as they are."""
        with torch.enable_grad():
            logits_BC, taps = _forward(model, images.requires_grad_(), self._paths(model))
            classes = logits_BC.shape[1]
            gradients = []
            for c in range(classes):
                label_B = torch.full((len(images),), c, device=images.device)
                found = _gradients(logits_BC, label_B, taps, again=c < classes - 1)
                gradients.append(torch.cat([pooled(part) for part in found], dim=1))
        return torch.cat([pooled(tap.detach()) for tap in taps], dim=1), torch.stack(gradients, dim=1)

    def _products(self, z_BL: Tensor, g_BCL: Tensor) -> list[Tensor]:
        if self.label == "trace":
            return [torch.einsum("bl,bcl->bc", z_BL, g_BCL)]
        if self.label == "information_diagonal":
            return [z_BL.square(), g_BCL.square(), z_BL[:, None] * g_BCL]
        return [
            torch.einsum("bl,bm->blm", z_BL, z_BL),
            torch.einsum("bcl,bcm->bclm", g_BCL, g_BCL),
            torch.einsum("bl,bcm->bclm", z_BL, g_BCL),
        ]

    def _score(self, total: list[Tensor]) -> Tensor:
        faithful = self.preset == "faithful"
        if self.label == "trace":
            return total[0]
        if self.label == "information_diagonal":
            return information_diagonal(total[0], total[1], total[2], faithful=faithful)
        return information(Moments(total[0], total[1], total[2], self.copies), faithful=faithful)

    # ---- memory -----------------------------------------------------------------------------------------------------

    def _check_memory(self, context: ProbeContext) -> None:
        spec, model = context.task.input, context.model
        example = torch.zeros(2, spec.channels, *spec.size, device=next(model.parameters()).device)
        columns = sum(widths(model, self._paths(model), example).values()) * (1 if self.label == "none" else 2)
        images = sum(context.count.values())
        # the rows as they come in, as one table, and by position
        needed, free = 3 * 4 * columns * images, free_memory()
        if needed > free:
            raise DataError(
                f"descriptors of {images:,} images with {columns:,} numbers each take {needed / 2**30:.1f} GB to "
                f"collect, and {free / 2**30:.1f} GB of memory are free: name fewer or narrower layers, or choose "
                "from a subset (prefilter)"
            )


def _forward(model: nn.Module, images: Tensor, paths: tuple[str, ...]) -> tuple[Tensor, list[Tensor]]:
    with Taps(model, paths).capture() as seen:
        logits = model(images)
    return logits.float(), [seen[path] for path in paths]


def _gradients(logits_BC: Tensor, label_B: Tensor, taps: list[Tensor], *, again: bool = False) -> list[Tensor]:
    """Of the loss of each image with respect to its own activations: the sum over the batch keeps images apart."""
    loss = F.cross_entropy(logits_BC, label_B, reduction="sum")
    found = torch.autograd.grad(loss, taps, retain_graph=again, allow_unused=True)
    return [torch.zeros_like(tap) if part is None else part for tap, part in zip(taps, found, strict=True)]


def turned(images_BCHW: Tensor, angle: float) -> Tensor:
    """Images turned about their middle pixel, the nearest pixel for each, those of the border repeated.

    Args:
        images_BCHW: any images.
        angle: in radians.

    Example:
        >>> turned(torch.tensor([[[[1.0, 2.0, 3.0]] * 3]]), math.pi)[0, 0, 0]
        tensor([3., 2., 1.])
    """
    height, width = images_BCHW.shape[-2:]
    y_H1 = torch.arange(height).float()[:, None] - height // 2
    x_1W = torch.arange(width).float()[None, :] - width // 2
    cos, sin = math.cos(angle), math.sin(angle)
    row = (cos * y_H1 - sin * x_1W).round().long() + height // 2
    column = (sin * y_H1 + cos * x_1W).round().long() + width // 2
    return images_BCHW[..., row.clamp(0, height - 1), column.clamp(0, width - 1)]
