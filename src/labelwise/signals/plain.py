"""Plain signals: probabilities, classes, uncertainties and embeddings from one deterministic pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from labelwise.contracts.signal import Plain, Signal
from labelwise.contracts.task import Field, Outputs
from labelwise.selection.reduction import Empty, How, class_weights, fill_empty, reduce_present
from labelwise.selection.uncertainty import entropy, least_confidence, margin

#: marks an item without a unit, where it is wanted so
NO_OBJECT = -1.0

Measure = Literal["entropy", "margin", "least_confidence"]
Reduction = Literal["mean", "max", "sum", "top_k", "top_share", "weighted", "class_balanced"]

MEASURES = {"entropy": entropy, "margin": margin, "least_confidence": least_confidence}


def reduced(values_U: Tensor, outputs: Outputs, how: Reduction, top: int) -> Tensor:
    """(B,) float32 from values of units; -inf marks an item without a unit until ``settle`` sees the whole pool."""
    by: How = "weighted" if how == "class_balanced" else how
    if how == "class_balanced":
        weight_U = class_weights(outputs.unit_item_U, outputs.probs_UC.argmax(1), outputs.size)
    else:
        # a task without weights weighs its units alike
        weight_U = torch.ones_like(values_U) if outputs.weight_U is None else outputs.weight_U
    values_B, present_B = reduce_present(
        values_U, outputs.unit_item_U, outputs.size, how=by, weight_U=weight_U, top=top
    )
    # not NaN: that is what a model that diverged gives, and nothing may hide it
    return torch.where(present_B, values_B, -torch.inf)


@dataclass(frozen=True)
class Uncertainty(Plain):
    """Uncertainty of each unit, reduced to the item: written once for images, objects, pixels and heat-map peaks.

    Args:
        measure: entropy (nats), margin 1 - (p1 - p2), or least_confidence 1 - max p; higher = less certain.
        reduction: how units become an item; without effect where an image is of one class. Where it may be of several,
            units are its classes, each a yes or no. ``mean``, ``max``, ``sum``,
            ``top_k`` and ``top_share`` (mean of the highest), ``weighted`` (by the score of an object),
            ``class_balanced`` (mean over the predicted classes of the mean within each).
        top: number of units for ``top_k``, percent of them for ``top_share``.
        empty: which value an item without units takes: below all others (last), their median, above all (first), or
            NO_OBJECT (marked).
    """

    name: ClassVar[str] = "uncertainty"
    measure: Measure = "margin"
    reduction: Reduction = "mean"
    top: int = 10
    empty: Empty | Literal["marked"] = "last"

    @property
    def words(self) -> str:
        """The measure."""
        return self.measure.replace("_", " ")

    @property
    def of_places(self) -> Signal:
        """That of each pixel, where units are pixels."""
        return PixelUncertainty(self.measure)

    def compute(self, outputs: Outputs) -> Tensor:
        """(B,) float32."""
        units = outputs.questions()
        values_U = MEASURES[self.measure](units.probs_UC, exclusive=units.exclusive)
        return reduced(values_U, units, self.reduction, self.top)

    def settle(self, rows_N: Tensor) -> Tensor:
        """Items without a unit take their declared value, which depends on all the others."""
        present_N = rows_N != -torch.inf
        if self.empty == "marked":
            return torch.where(present_N, rows_N, NO_OBJECT)
        return fill_empty(rows_N, present_N, empty=self.empty)


@dataclass(frozen=True)
class PixelUncertainty(Plain):
    """Uncertainty of every pixel of the model's input, row by row: (B, H * W) float32.

    Args:
        measure: as in ``Uncertainty``.

    Cost:
        Four bytes a pixel.
    """

    name: ClassVar[str] = "pixel_uncertainty"
    measure: Measure = "entropy"

    @property
    def fields(self) -> frozenset[Field]:
        """Needs a task whose units are pixels."""
        return frozenset({"probs", "per_pixel"})

    def compute(self, outputs: Outputs) -> Tensor:
        """(B, H * W) float32."""
        values_U = MEASURES[self.measure](outputs.probs_UC, exclusive=outputs.exclusive)
        return values_U.float().view(outputs.size, -1)


@dataclass(frozen=True)
class Probs(Plain):
    """Class probabilities of the image: (B, C) float32. Only for tasks whose unit is the image."""

    name: ClassVar[str] = "probs"

    @property
    def fields(self) -> frozenset[Field]:
        """Needs rows of images, not of objects or pixels."""
        return frozenset({"probs", "per_image"})

    def compute(self, outputs: Outputs) -> Tensor:
        """(B, C) float32."""
        return outputs.probs_UC.float()


@dataclass(frozen=True)
class Logits(Plain):
    """Class scores before the softmax: (B, C) float32."""

    name: ClassVar[str] = "logits"

    @property
    def fields(self) -> frozenset[Field]:
        """Needs logits."""
        return frozenset({"logits"})

    def compute(self, outputs: Outputs) -> Tensor:
        """(B, C) float32."""
        return outputs.extra["logits"].float()


@dataclass(frozen=True)
class PredictedClass(Plain):
    """Index of the most likely class: (B,) int64. Only for tasks whose unit is the image."""

    name: ClassVar[str] = "predicted_class"

    @property
    def fields(self) -> frozenset[Field]:
        """Needs rows of images, not of objects or pixels."""
        return frozenset({"probs", "per_image"})

    def compute(self, outputs: Outputs) -> Tensor:
        """(B,) int64."""
        return outputs.probs_UC.argmax(1)


@dataclass(frozen=True)
class Residual(Plain):
    """Gradient of the loss of the predicted label by the logits: (B, C) float32.

    ``p - onehot(argmax p)``; for yes/no questions ``p - [p > 1/2]``. Times the embedding it is the gradient by the
    last layer's weights. Only for tasks whose unit is the image.

    Args:
        top: keep only this many classes, those with the largest residuals (for a softmax the most likely ones), the
            others being zero; None keeps all.
    """

    name: ClassVar[str] = "residual"
    top: int | None = None

    def __post_init__(self) -> None:
        if self.top is not None and self.top < 1:
            raise ValueError(f"top must be at least 1, got {self.top}")

    @property
    def fields(self) -> frozenset[Field]:
        """Needs rows of images, not of objects or pixels."""
        return frozenset({"probs", "per_image"})

    def compute(self, outputs: Outputs) -> Tensor:
        """(B, C) float32."""
        probs_BC = outputs.probs_UC.float()
        if outputs.exclusive and probs_BC.shape[1] > 1:
            winner_B1 = probs_BC.argmax(1, keepdim=True)
            residual_BC = probs_BC.scatter_add(1, winner_B1, torch.full_like(winner_B1, -1, dtype=torch.float32))
        else:
            residual_BC = probs_BC - (probs_BC > 0.5).float()
        if self.top is None or self.top >= residual_BC.shape[1]:
            return residual_BC
        kept_BT = residual_BC.abs().topk(self.top, dim=1).indices
        return torch.zeros_like(residual_BC).scatter_(1, kept_BT, residual_BC.gather(1, kept_BT))


@dataclass(frozen=True)
class Embedding(Plain):
    """The image as a vector: (B, D) float32.

    Args:
        source: ``task`` for the model being trained, ``frozen`` for the feature source beside it, ``objects`` for what
            the model says of the objects in the image: the mean of their embeddings, weighted by score; zero for none.
    """

    name: ClassVar[str] = "embedding"
    source: Literal["task", "frozen", "objects"] = "task"

    @property
    def of(self) -> Literal["task", "frozen"]:
        """The chosen source."""
        return "frozen" if self.source == "frozen" else "task"

    @property
    def fields(self) -> frozenset[Field]:
        """Needs an embedding of the image, or of its objects."""
        return frozenset({"unit_embedding", "scores"} if self.source == "objects" else {"embedding"})

    def compute(self, outputs: Outputs) -> Tensor:
        """(B, D) float32."""
        if self.source == "objects":
            return of_objects(outputs, outputs.extra["unit_embedding"], outputs.extra["scores"])
        return outputs.extra["embedding"].float()


def of_objects(outputs: Outputs, rows_UD: Tensor, weight_U: Tensor) -> Tensor:
    """(B, D) float32: the weighted mean of the rows of each image's objects; zero where there are none."""
    rows_UD, weight_U1 = rows_UD.float(), weight_U.float()[:, None]
    sum_BD = rows_UD.new_zeros(outputs.size, rows_UD.shape[1]).index_add(0, outputs.unit_item_U, rows_UD * weight_U1)
    total_B1 = rows_UD.new_zeros(outputs.size, 1).index_add(0, outputs.unit_item_U, weight_U1)
    # not clamped to zero weight: NaN must stay what a model that diverged says
    return sum_BD / torch.where(total_B1 > 0, total_B1, torch.ones_like(total_B1))


@dataclass(frozen=True)
class HiddenLoss(Plain):
    """Loss of the image under its hidden label: (B,) float32. For oracles, in simulated campaigns alone.

    It is the task's own loss of one image, by its own norm: the mean over the pixels with a class, the sum over the
    boxes of a detector by their number, minus the log probability of the class of an image.
    """

    name: ClassVar[str] = "hidden_loss"

    @property
    def fields(self) -> frozenset[Field]:
        """Needs the loss, and so the label."""
        return frozenset({"loss"})

    def compute(self, outputs: Outputs) -> Tensor:
        """(B,) float32."""
        return outputs.extra["loss"].float()


@dataclass(frozen=True)
class HeadOutput(Plain):
    """What an auxiliary head says of the image: (B, ...) float32.

    Args:
        head: name of the auxiliary.
    """

    name: ClassVar[str] = "head_output"
    head: str = ""

    @property
    def words(self) -> str:
        """The head."""
        return self.head.replace("_", " ")

    @property
    def fields(self) -> frozenset[Field]:
        """Needs that head."""
        return frozenset({f"head:{self.head}"})

    def compute(self, outputs: Outputs) -> Tensor:
        """(B, ...) float32."""
        return outputs.extra[f"head:{self.head}"].float()
