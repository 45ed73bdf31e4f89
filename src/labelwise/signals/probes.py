"""Probes: signals that need the model itself."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call, jvp

from labelwise.contracts.losses import image_losses
from labelwise.contracts.signal import Prepared, Probe, ProbeContext, SignalRole
from labelwise.contracts.task import Batch, Task
from labelwise.errors import UnmetNeed


@dataclass(frozen=True)
class LossSlope(Probe):
    """How fast an image's loss falls along the direction that lowers the loss of known items: (B,) float32.

    With g the mean gradient of the loss over labelled (or reference) items, the value for image i under its predicted
    label y is the inner product <grad l(x_i, y), g>: the first-order change of the known items' loss when a step is
    taken on that image. One forward-mode derivative gives it for a whole batch; no gradient of a single image is ever
    formed.

    Args:
        along: which known items give the direction.

    Cost: one backward pass over the known items per round, then about three forward passes over the pool.

    Reference:
        The identity-Hessian form of Liu et al., "Influence Selection for Active Learning", ICCV 2021, equation 6.
    """

    name: ClassVar[str] = "loss_slope"
    along: Literal["labelled", "reference"] = "labelled"

    @property
    def prepared_from(self) -> frozenset[Prepared]:
        """The known items."""
        return frozenset({self.along})

    def prepare(self, context: ProbeContext) -> Any:
        """The task, and the mean gradient over the known items by parameter name."""
        _load_forward_mode()
        view: Callable[[], Iterator[Batch]] = getattr(context, self.along)
        # all parameters, whatever a phase of the training left frozen: loaded weights know nothing of phases
        parameters = {name: p.detach().requires_grad_() for name, p in context.model.named_parameters()}
        gradient = {name: torch.zeros_like(p) for name, p in parameters.items()}
        count = 0
        for batch in view():
            with torch.enable_grad():
                # of each image by itself: the norms of a batch (positives, pixels) would let batches decide
                loss = image_losses(context.task.loss(_Bound(context.model, parameters), batch)).sum()
            found = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
            for name, part in zip(parameters, found, strict=True):
                if part is not None:
                    gradient[name] += part
            count += len(batch)
        if not count:
            raise UnmetNeed(f"there are no {self.along} items to take a direction from: label some first")
        return context.task, {name: part / count for name, part in gradient.items()}

    def compute(self, state: Any, model: nn.Module, batch: Batch, role: SignalRole) -> Tensor:
        """(B,): the directional derivative of each image's loss."""
        task, direction = state
        guess = _with_predicted(task, model, batch)
        parameters = {name: p.detach() for name, p in model.named_parameters() if name in direction}
        slope_B: Tensor = jvp(
            lambda values: image_losses(task.loss(_Bound(model, values), guess)), (parameters,), (direction,)
        )[1]
        return slope_B.float()


def _load_forward_mode() -> None:
    """Loads what the first forward-mode derivative loads: torch warns about its own use of ``torch.jit`` there."""
    with warnings.catch_warnings():
        # a FutureWarning in some releases, a DeprecationWarning in others
        warnings.filterwarnings("ignore", message=".*torch.jit.script")
        jvp(torch.sin, (torch.zeros(()),), (torch.ones(()),))


def _with_predicted(task: Task[Any], model: nn.Module, batch: Batch) -> Batch:
    predicted = task.predictions(task.outputs(model, batch, frozenset()))
    targets = task.collate([prediction.target for prediction in predicted])
    return Batch(batch.images, targets).to(batch.images.device)


class _Bound(nn.Module):
    """A model with other values for its parameters, as a function of them."""

    def __init__(self, model: nn.Module, values: dict[str, Tensor]) -> None:
        super().__init__()
        self._call: Callable[..., Any] = lambda *inputs: functional_call(model, values, inputs)

    def forward(self, *inputs: Any) -> Any:
        return self._call(*inputs)
