"""A direction divided by Kronecker factors of the Fisher matrix, layer by layer, with corrected eigenvalues (EK-FAC).

The factors are those of ``curvlinops-for-pytorch`` (extra ``ekfac``). P: chosen weights.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from labelwise.contracts.losses import image_losses
from labelwise.contracts.task import Batch, Task
from labelwise.errors import UnmetNeed
from labelwise.models.taps import evaluating
from labelwise.signals.slopes import Slopes, example


def check(slopes: Slopes) -> None:
    """Refuses what has no Kronecker factors, by a look at the layers and one pass over two blank images.

    Raises:
        UnmetNeed: the extra is missing; weights of a layer that is neither linear nor a convolution of images; or a
            layer that does not run exactly once for each image, as heads on a pyramid or on proposals do.
    """
    if find_spec("curvlinops") is None:
        raise UnmetNeed(
            "hessian=ekfac needs curvlinops-for-pytorch: pip install 'labelwise[ekfac]', or set hessian=fisher"
        )
    modules = dict(slopes.model.named_modules())
    layers = {path: modules[path] for path in dict.fromkeys(name.rpartition(".")[0] for name in slopes.names)}
    for path, layer in layers.items():
        if not isinstance(layer, nn.Linear | nn.Conv2d):
            raise UnmetNeed(
                f"hessian=ekfac knows linear layers and 2d convolutions, and {path!r} is {type(layer).__name__}: name "
                "others in layers, or set hessian=fisher"
            )
    for path, rows in _rows_by_call(slopes.model, slopes.task, layers).items():
        if rows != [2]:
            raise UnmetNeed(
                f"hessian=ekfac wants layers that run once for each image, and of two images {path!r} was given "
                f"{rows or 'nothing'} (rows of each run): name others in layers, or set hessian=fisher"
            )


def _rows_by_call(model: nn.Module, task: Task[Any], layers: dict[str, nn.Module]) -> dict[str, list[int]]:
    """How many rows each layer is given, one number for each time that it runs."""
    rows: dict[str, list[int]] = {path: [] for path in layers}

    def count(path: str) -> Callable[..., None]:
        return lambda module, given: rows[path].append(len(given[0]))

    hooks = [layer.register_forward_pre_hook(count(path)) for path, layer in layers.items()]
    try:
        with evaluating(model), torch.no_grad():
            task.outputs(model, Batch(example(model, task)), frozenset())
    finally:
        for hook in hooks:
            hook.remove()
    return rows


class _ImageLosses(nn.Module):
    """A network whose output is the loss of each image, (B, 1)."""

    def __init__(self, slopes: Slopes) -> None:
        super().__init__()
        self.model, self._task = slopes.model, slopes.task

    def forward(self, batch: Batch) -> Tensor:
        return image_losses(self._task.loss(self.model, batch))[:, None]


class _Sum(nn.MSELoss):
    """The library knows losses by their type; here the output is the loss already, whatever the task."""

    def __init__(self) -> None:
        super().__init__(reduction="sum")

    def forward(self, loss_B1: Tensor, target: Tensor) -> Tensor:
        return loss_B1.sum()


@dataclass(frozen=True)
class _Pairs:
    """Batches, as often as they are asked for, each with the target that the library wants beside it."""

    read: Callable[[], Iterator[Batch]]

    def __iter__(self) -> Iterator[tuple[Batch, Tensor]]:
        return ((batch, batch.images.new_zeros(len(batch), 1)) for batch in self.read())


def divided(slopes: Slopes, read: Callable[[], Iterator[Batch]], right_P: Tensor, damping: float) -> Tensor:
    """(P,) (E + damping I)^-1 v, with E the EK-FAC form of the empirical Fisher matrix over some images.

    Of each layer by itself: E = Q diag(e) Q^T with Q the eigenvectors of A (x) B, A and B the second moments of the
    layer's input and of the gradient of its output, and e the mean squares of the images' gradients in that basis.

    Args:
        slopes: model and weights.
        read: a fresh pass over the images, with their labels.
        right_P: v.
        damping: added to the diagonal.

    Cost: two forward and backward passes over the images, and for each layer the eigenvectors of two matrices as large
        as its inputs (times the cells of its kernel) and its outputs.

    Reference:
        George, Laurent, Bouthillier, Ballas and Vincent, "Fast Approximate Natural Gradient Descent in a
        Kronecker-factored Eigenbasis", NeurIPS 2018; for influence Grosse et al., arXiv 2308.03296, section 2.4.
    """
    with warnings.catch_warnings():
        # what the library imports uses torch.jit.script, of which newer torch warns
        warnings.filterwarnings("ignore", message=".*torch.jit.script")
        from curvlinops import EKFACLinearOperator, KFACInverseLinearOperator
    images = max(1, sum(map(len, read())))
    named = dict(slopes.model.named_parameters())
    parameters = [named[name] for name in slopes.names]
    with torch.enable_grad(), _learning(parameters):
        factors = EKFACLinearOperator(
            _ImageLosses(slopes),
            _Sum(),
            parameters,
            _Pairs(read),
            fisher_type="empirical",
            num_per_example_loss_terms=1,
            num_data=images,
            check_deterministic=False,
        )
        factors.compute_kronecker_factors()
        for moments, vectors in (
            (factors._input_covariances, factors._input_covariances_eigenvectors),
            (factors._gradient_covariances, factors._gradient_covariances_eigenvectors),
        ):  # the library's own, in single precision, do not converge where few images give a matrix of low rank
            vectors.update({path: torch.linalg.eigh(m.double()).eigenvectors.to(m) for path, m in moments.items()})
        # its factors are sums over images, ours a mean
        inverse = KFACInverseLinearOperator(factors, damping=damping * images, use_exact_damping=True)
        found = inverse @ list(slopes.named(right_P).values())
    parts: list[Tensor] = [part.detach() for part in found]
    return slopes.flat(dict(zip(slopes.names, parts, strict=True))) * images


@contextmanager
def _learning(parameters: list[nn.Parameter]) -> Iterator[None]:
    """Parameters that learn, whatever a phase of the training left frozen."""
    frozen = [parameter for parameter in parameters if not parameter.requires_grad]
    for parameter in frozen:
        parameter.requires_grad_(True)
    try:
        yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(False)
