"""Many linear heads on the same frozen features, trained at once as one batched problem.

Dimension key: N rows of features, H heads, L labels of a head, B rows of a step, C classes, D features, T test rows.

A head on a few hundred labels is a tiny problem, and hundreds of them (strategies x sizes x seeds) are mostly overhead
when trained one after another. Heads with equally many labels take the same steps: they are trained together, each with
weights, order and labels of its own, so that a result does not depend on its company.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from labelwise.contracts.head import LinearHead
from labelwise.contracts.progress import Progress, silent
from labelwise.errors import ConfigError, DataError
from labelwise.rng import torch_generator
from labelwise.selection.arrays import ArrayLike, as_matrix

# Rows gathered at once, in bytes: they are read three times and should stay in a cache. Measured on two cores.
_STEP_BYTES = 8 << 20


@dataclass(frozen=True)
class LinearProtocol:
    """How a linear head is trained: the published constants are the defaults.

    Args:
        epochs: passes over the labels.
        lr: of Adam with its default betas; no weight decay.
        milestones: epochs at which the rate falls to a tenth.
        batch_size: labels of a step.
        normalise: rows to unit length first (``x / |x|``).
    """

    epochs: int = 100
    lr: float = 0.01
    milestones: tuple[int, ...] = (50, 75)
    batch_size: int = 128
    normalise: bool = True

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1 or not self.lr > 0:
            raise ConfigError(
                f"epochs {self.epochs}, batch_size {self.batch_size}, lr {self.lr}: all have to be positive"
            )


class Labels(NamedTuple):
    """What one head learns from.

    Args:
        rows_L: rows of the features, int64.
        labels_L: class of each, int64.
        seed: of initial weights and order; heads of one seed are paired.
    """

    rows_L: Tensor
    labels_L: Tensor
    seed: int = 0


class Heads(NamedTuple):
    """Trained heads, in the order they were asked for.

    Args:
        weight_HCD: float32.
        bias_HC: float32.
        loss_H: mean cross-entropy of the last epoch.
        normalise: whether rows have to be scaled to unit length first.
    """

    weight_HCD: Tensor
    bias_HC: Tensor
    loss_H: Tensor
    normalise: bool

    def logits(self, rows_TD: ArrayLike) -> Tensor:
        """(H, T, C)."""
        rows = as_matrix(rows_TD)
        weight_HCD, bias_HC = self.weight_HCD.to(rows.device), self.bias_HC.to(rows.device)
        heads, classes, width = weight_HCD.shape
        scores_TX = rows.float() @ weight_HCD.reshape(heads * classes, width).T
        if self.normalise:
            scores_TX *= inverse_norms(rows)[:, None]
        return scores_TX.reshape(len(rows), heads, classes).transpose(0, 1) + bias_HC[:, None]

    def head(self, number: int = 0) -> LinearHead:
        """One of them, as a layer on the rows it was trained on: those of unit length, if ``normalise``."""
        return LinearHead(self.weight_HCD[number], self.bias_HC[number])

    def predictions(self, rows_TD: ArrayLike) -> Tensor:
        """(H, T) int64: the most likely class of each row by each head, a few thousand rows at a time."""
        return torch.cat([self.logits(part).argmax(2) for part in torch.split(as_matrix(rows_TD), 2048)], 1)


def inverse_norms(rows_ND: Tensor) -> Tensor:
    """(N,) float32: 1 / |x|; 0 for a row of zeros."""
    norms_N = torch.cat([part.float().norm(dim=1) for part in torch.split(rows_ND, 8192)])
    return torch.where(norms_N > 0, 1 / norms_N, 0.0)


def fit_heads(
    features_ND: ArrayLike,
    heads: Sequence[Labels],
    classes: int,
    *,
    protocol: LinearProtocol | None = None,
    views: int = 1,
    progress: Progress = silent,
) -> Heads:
    """Trains one linear head on each set of labels, minimising its mean cross-entropy by Adam.

    loss = mean_i -log softmax(W x_i / |x_i| + b)[y_i]; the steps are those of ``torch.optim.Adam`` on a
    ``torch.nn.Linear`` with its default initialisation.

    Args:
        features_ND: one row per image, any float type, where they lie.
        heads: the labels of each.
        classes: number of classes C; each head has an output for all of them.
        protocol: rates and sizes; None: the published ones.
        views: rows of each image: row ``i * views + v`` is view v of image i, and each epoch draws one at random.
        progress: told after each epoch of a group.

    Raises:
        DataError: no label, a row or class out of range.

    Cost:
        4 L D C operations per head and epoch, memory of one step (8 MB) beside features and weights.

    Example:
        >>> one = Labels(torch.tensor([0, 1]), torch.tensor([0, 1]))
        >>> heads = fit_heads([[1.0, 0.0], [0.0, 1.0]], [one], 2, protocol=LinearProtocol(lr=0.1))
        >>> heads.predictions([[9.0, 1.0], [0.1, 0.4]])
        tensor([[0, 1]])

    Reference:
        Pourahmadi, Nooralinejad and Pirsiavash, "A Simple Baseline for Low-Budget Active Learning", 2021: the linear
        evaluation. There each step sees a fresh augmentation; here the views that are cached, one by default.
    """
    rows_ND = as_matrix(features_ND)
    how = protocol or LinearProtocol()
    _check(heads, len(rows_ND) // views, classes)
    scale_N = inverse_norms(rows_ND) if how.normalise else None
    weight_HCD = torch.empty(len(heads), classes, rows_ND.shape[1], device=rows_ND.device)
    bias_HC, loss_H = weight_HCD.new_empty(len(heads), classes), weight_HCD.new_empty(len(heads))
    groups = _groups(heads, rows_ND.shape[1], how.batch_size)
    for number, group in enumerate(groups):
        fitted = _Group(rows_ND, scale_N, [heads[h] for h in group], classes, how, views)
        for epoch in range(how.epochs):
            loss_G = fitted.epoch(epoch)
            progress("training heads", number * how.epochs + epoch + 1, len(groups) * how.epochs)
        weight_HCD[group], bias_HC[group], loss_H[group] = fitted.weight_HCD, fitted.bias_HC, loss_G
    return Heads(weight_HCD, bias_HC, loss_H, how.normalise)


def _check(heads: Sequence[Labels], images: int, classes: int) -> None:
    for head in heads:
        if not len(head.rows_L) or head.rows_L.shape != head.labels_L.shape:
            raise DataError(
                f"a head was given {len(head.rows_L)} rows and {len(head.labels_L)} labels: give one label per row, "
                "at least one"
            )
        for what, values, limit in (("row", head.rows_L, images), ("class", head.labels_L, classes)):
            low, high = int(values.min()), int(values.max())
            if low < 0 or high >= limit:
                raise DataError(f"a head learns from {what} {low if low < 0 else high}: allowed are 0 to {limit - 1}")


def _groups(heads: Sequence[Labels], width: int, batch: int) -> list[list[int]]:
    """Heads that take equal steps, as many at once as a cache holds rows for."""
    by_size: dict[int, list[int]] = defaultdict(list)
    for number, head in enumerate(heads):
        by_size[len(head.rows_L)].append(number)
    groups = []
    for size, numbers in sorted(by_size.items()):
        most = max(1, _STEP_BYTES // (4 * width * min(size, batch)))
        groups += [numbers[at : at + most] for at in range(0, len(numbers), most)]
    return groups


class _Group:
    """Heads with equally many labels, in training."""

    def __init__(
        self,
        rows_ND: Tensor,
        scale_N: Tensor | None,
        heads: Sequence[Labels],
        classes: int,
        how: LinearProtocol,
        views: int,
    ) -> None:
        self.rows_ND, self.scale_N, self.how, self.views = rows_ND, scale_N, how, views
        device, width = rows_ND.device, rows_ND.shape[1]
        self.rows_HL = torch.stack([head.rows_L.to(device) for head in heads])
        self.labels_HL = torch.stack([head.labels_L.to(device) for head in heads])
        self.orders = [torch_generator(head.seed, "head", "order") for head in heads]
        starts = [_start(classes, width, head.seed) for head in heads]
        self.weight_HCD = torch.stack([weight for weight, _ in starts]).to(device)
        self.bias_HC = torch.stack([bias for _, bias in starts]).to(device)
        self.optimiser = torch.optim.Adam([self.weight_HCD, self.bias_HC], lr=how.lr, fused=True)

    def epoch(self, number: int) -> Tensor:
        """One pass over the labels; the mean loss of each head (H,)."""
        rate = self.how.lr * 0.1 ** sum(number >= at for at in self.how.milestones)
        self.optimiser.param_groups[0]["lr"] = rate
        count = self.rows_HL.shape[1]
        order_HL = torch.stack([torch.randperm(count, generator=order) for order in self.orders])
        rows_HL = self.rows_HL
        if self.views > 1:
            drawn = [torch.randint(self.views, (count,), generator=order) for order in self.orders]
            rows_HL = rows_HL * self.views + torch.stack(drawn).to(rows_HL.device)
        order_HL = order_HL.to(rows_HL.device)
        rows_HL, labels_HL = rows_HL.gather(1, order_HL), self.labels_HL.gather(1, order_HL)
        size, loss_H = self.how.batch_size, torch.zeros(len(self.orders), device=rows_HL.device)
        for rows_HB, labels_HB in zip(torch.split(rows_HL, size, 1), torch.split(labels_HL, size, 1), strict=True):
            loss_H += self._step(rows_HB, labels_HB)
        return loss_H / count

    def _step(self, rows_HB: Tensor, labels_HB: Tensor) -> Tensor:
        """One step of Adam; the gradient of softmax regression is written down, as it is two products."""
        flat = rows_HB.reshape(-1)
        x_HBD = torch.index_select(self.rows_ND, 0, flat).float().view(*rows_HB.shape, -1)
        logits_HBC = x_HBD @ self.weight_HCD.transpose(1, 2)
        scale_HB1 = None if self.scale_N is None else self.scale_N[flat].view(*rows_HB.shape, 1)
        if scale_HB1 is not None:
            logits_HBC *= scale_HB1  # the same as unit rows, without another copy of them
        log_HBC = (logits_HBC + self.bias_HC[:, None]).log_softmax(2)
        picked_HB1 = labels_HB[..., None]
        loss_H = -log_HBC.gather(2, picked_HB1).sum((1, 2))
        slope_HBC = log_HBC.exp_()
        slope_HBC.scatter_add_(2, picked_HB1, slope_HBC.new_full(picked_HB1.shape, -1.0))
        slope_HBC /= rows_HB.shape[1]
        self.bias_HC.grad = slope_HBC.sum(1)
        if scale_HB1 is not None:
            slope_HBC *= scale_HB1
        self.weight_HCD.grad = slope_HBC.transpose(1, 2) @ x_HBD
        self.optimiser.step()
        return loss_H


def _start(classes: int, width: int, seed: int) -> tuple[Tensor, Tensor]:
    """Weights and bias as ``torch.nn.Linear`` draws them: uniform within 1 / sqrt(D)."""
    generator, bound = torch_generator(seed, "head", "weights"), 1 / math.sqrt(width)
    weight_CD = torch.empty(classes, width).uniform_(-bound, bound, generator=generator)
    return weight_CD, torch.empty(classes).uniform_(-bound, bound, generator=generator)
