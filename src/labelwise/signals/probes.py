"""Probes: signals that need the model itself."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from labelwise.contracts.signal import Prepared, Probe, ProbeContext, SignalRole
from labelwise.contracts.task import Batch, Field, Task
from labelwise.errors import DataError, UnmetNeed
from labelwise.models.detectors import Detector
from labelwise.selection.reduction import Empty, fill_empty
from labelwise.signals.curvature import Curvature
from labelwise.signals.sketch import Sketch
from labelwise.signals.slopes import Believed, Method, Slopes, chosen, example, load_forward_mode, mean_gradient

#: relative difference of what both ways of differentiating say
_AGREE = 1e-2
#: columns before the sketch
COLUMNS = ("slope", "unlabelled", "residual", "steps", "length")


@dataclass(frozen=True)
class _Prepared:
    """What a round knows beforehand.

    Args:
        task: whose loss.
        direction: by parameter name.
        told: residual and steps of the solution, and the length of the gradient before it.
    """

    task: Task[Any]
    direction: dict[str, Tensor]
    told: tuple[float, float, float]


@dataclass(frozen=True)
class LossSlope(Probe):
    """How fast an image's loss falls along the direction that lowers the loss of known items: (B,) float32.

    With v the mean gradient of the loss over the known items and s = H^-1 v, the value for image i under the label y
    that is believed of it is the inner product <grad l(x_i, y), s>: with H = I the first-order change of the known
    items' loss when a step is taken on that image. One forward-mode derivative gives it for a whole batch, in the pass
    that says y; no gradient of a single image is ever formed.

    Args:
        along: which known items give the direction; ``test`` is a leak, as some published results were made.
        curvature: H.
        layers: beginnings of the names of the parameters that count, ``("all",)`` or ``("last",)``.
        biases: whether parameters of one dimension count.
        believed: y, and from which score a box is one.
        empty: where images stand on which the model finds nothing.
        method: how the derivative is taken.
        sketch: None: the slope alone. A number S: (B, 5 + S), the slope; 1 for an image on which nothing is found;
            residual and steps of the solution, the length of v, the same for all images; and the gradient in S
            dimensions (see ``Sketch``).

    Cost: one backward pass over the known items per round and what the curvature takes; then about three forward
        passes over the pool, of a last layer one and a bit; with a sketch a forward and backward pass for both.

    Reference:
        Liu et al., "Influence Selection for Active Learning", ICCV 2021, equation 6; as it stands its identity-Hessian
        form.
    """

    name: ClassVar[str] = "loss_slope"
    version: ClassVar[int] = 2
    of_images: ClassVar[bool] = False
    along: Literal["labelled", "validation", "reference", "test"] = "labelled"
    curvature: Curvature = field(default_factory=Curvature)
    layers: tuple[str, ...] = ("all",)
    biases: bool = True
    believed: Believed = field(default_factory=Believed)
    empty: Empty = "last"
    method: Method = "forward"
    sketch: int | None = None

    def __post_init__(self) -> None:
        if not self.layers:
            raise ValueError("layers is empty: give all, last, or beginnings of names")
        if self.sketch is not None and self.sketch < 0:
            raise ValueError(f"sketch is {self.sketch}: give a number of dimensions, 0 or more")

    @property
    def fields(self) -> frozenset[Field]:
        """Hidden labels, where they are believed."""
        return frozenset({"probs", "loss"}) if self.reads_targets else frozenset({"probs"})

    @property
    def reads_targets(self) -> bool:
        """Only for gradients under the true label."""
        return self.believed.label == "true"

    @property
    def prepared_from(self) -> frozenset[Prepared]:
        """The known items, and the labelled ones whose loss bends."""
        bent: frozenset[Prepared] = frozenset({"labelled"})
        return frozenset({self.along}) | (bent if self.curvature.hessian != "identity" else frozenset())

    def check(self, model: nn.Module, task: Task[Any]) -> None:
        """Refuses layers that are not there, soft labels that the loss does not take, and what has no derivative."""
        self.believed.check(task)
        if self.method == "difference" and isinstance(model, Detector) and not self.reads_targets:
            raise UnmetNeed(
                "the loss of a box that the detector itself predicts has a kink there, and differences to both sides "
                "are no derivative: set method=forward"
            )
        load_forward_mode()
        slopes = self._slopes(model, task)
        self.curvature.check(slopes)
        if self.sketch:
            Sketch(slopes, self.sketch).layers()
        training = model.training
        model.eval()
        try:
            with torch.no_grad():
                slopes.believed(Batch(example(model, task)), slopes.weights, _guessed(self.believed))
        finally:
            model.train(training)

    def prepare(self, context: ProbeContext) -> _Prepared:
        """The task, and the direction by parameter name.

        Raises:
            DataError: the direction is not finite.
            UnmetNeed: there are no known items.
        """
        load_forward_mode()
        slopes = self._slopes(context.model, context.task)
        gradient_P, count = mean_gradient(slopes, context.mine(self.along), context.total)
        if not count:
            raise UnmetNeed(f"there are no {self.along} items to take a direction from: label some first")
        self._check_finite(slopes, gradient_P, f"the gradient of the loss of {count:,} {self.along} images")
        if self.method == "forward":
            self._check_forward(slopes, context)
        found = self.curvature.solved(slopes, context, gradient_P)
        self._check_finite(
            slopes, found.values_P, f"the direction after {found.steps} steps of {self.curvature.hessian}"
        )
        residual = 0.0 if math.isnan(found.residual) else found.residual
        told = (residual, float(found.steps), float(gradient_P.norm()))
        return _Prepared(context.task, slopes.named(found.values_P), told)

    def compute(self, state: _Prepared, model: nn.Module, batch: Batch, role: SignalRole) -> Tensor:
        """(B,) the directional derivative of each image's loss, or (B, 5 + S)."""
        slopes = Slopes(state.task, model, tuple(state.direction), self.method)
        sketch_BS = None
        if self.sketch:
            sketched = Sketch(slopes, self.sketch)
            slope_B, empty_B, sketch_BS = sketched.along(batch, state.direction, self.believed)
        else:
            slope_B, empty_B = slopes.believed(batch, state.direction, self.believed)
        empty_B = empty_B.to(slope_B.device)
        slope_B = slope_B.masked_fill(empty_B, -torch.inf)
        if self.sketch is None:
            return slope_B
        told_B3 = slope_B.new_tensor(state.told).expand(len(batch), 3)
        parts = [slope_B[:, None], empty_B[:, None].to(slope_B), told_B3]
        if sketch_BS is not None:
            parts.append(sketch_BS.masked_fill(empty_B[:, None], 0.0))
        return torch.cat(parts, dim=1)

    def settle(self, rows_N: Tensor) -> Tensor:
        """With a place among the others for images on which nothing is found."""
        slope_N = rows_N if rows_N.dim() == 1 else rows_N[:, 0]
        filled_N = fill_empty(slope_N, slope_N != -torch.inf, empty=self.empty).to(rows_N.dtype)
        return filled_N if rows_N.dim() == 1 else torch.cat([filled_N[:, None], rows_N[:, 1:]], dim=1)

    def _slopes(self, model: nn.Module, task: Task[Any]) -> Slopes:
        return Slopes(task, model, chosen(model, task, self.layers, biases=self.biases), self.method)

    def _check_forward(self, slopes: Slopes, context: ProbeContext) -> None:
        """Some operations lose what is differentiated forwards and say nothing: the gradient knows better."""
        batch = next(iter(context.mine(self.along)), None)
        if batch is None:
            return
        gradient_P = slopes.gradient(batch)
        found, true = float(slopes.along(batch, slopes.named(gradient_P)).sum()), float(gradient_P.dot(gradient_P))
        if not math.isclose(found, true, rel_tol=_AGREE, abs_tol=1e-9):
            raise UnmetNeed(
                f"an operation of {type(slopes.model).__name__} loses what is differentiated forwards: along its own "
                f"gradient a loss rises by {true:.4g}, and {found:.4g} is said. Set method=difference, or layers=last"
            )

    @staticmethod
    def _check_finite(slopes: Slopes, values_P: Tensor, what: str) -> None:
        bad = [name for name, part in slopes.named(values_P).items() if not bool(part.isfinite().all())]
        if bad:
            raise DataError(
                f"{what} is NaN or infinite in {len(bad)} of {len(slopes.names)} layers (first: {bad[0]}): did the "
                "training diverge? Lower the learning rate, or raise damping"
            )


def _guessed(believed: Believed) -> Believed:
    """What can be tried on images without labels: a hidden label is taken for the predicted one."""
    return believed if believed.label != "true" else Believed()
