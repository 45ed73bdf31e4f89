"""Objectives without labels: rotation prediction, SimCLR and VICReg.

Dimension key: B images, V views of each, A = V B rows, view by view, D features, K outputs of a head.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from labelwise.contracts.code import own_code
from labelwise.contracts.input import InputSpec
from labelwise.contracts.learner import Loss, Objective, Phase
from labelwise.contracts.losses import Losses
from labelwise.contracts.task import Batch, Task
from labelwise.data.random_views import Augmentation
from labelwise.errors import ConfigError, unknown
from labelwise.registry import check_options, import_object

#: a loss of somebody's own: (model, task, batch) -> Losses
LossFunction = Callable[..., Losses]


def _unit(images_BCHW: Tensor) -> Tensor:
    return images_BCHW.float().mul_(1 / 255)


def _normalised(images_BCHW: Tensor, spec: InputSpec) -> Tensor:
    mean = torch.tensor(spec.mean, device=images_BCHW.device).view(1, -1, 1, 1)
    std = torch.tensor(spec.std, device=images_BCHW.device).view(1, -1, 1, 1)
    return images_BCHW.sub(mean).div_(std)


@dataclass(frozen=True)
class Rotation(Objective):
    """Which way up: each image in all four quarter turns, and a linear head that tells them apart.

    loss(x) = 1/4 sum_r CE(W f(turn_r x), r), where r = 0, 1, 2, 3 stands for 0, 90, 180 and 270 degrees clockwise.

    Args:
        augment: whether images are cropped and jittered before they are turned; the published form does not.

    Reference:
        Gidaris et al., "Unsupervised Representation Learning by Predicting Image Rotations", ICLR 2018.
    """

    name: ClassVar[str] = "rotation"
    augment: bool = False

    def build(self, width: int) -> nn.Module:
        """Four outputs."""
        return nn.Linear(width, 4)

    def views(self, images_BCHW: Tensor, spec: InputSpec, rng: Generator) -> Tensor:
        """All images upright, then all turned by 90 degrees, ...

        Raises:
            ConfigError: images that are not square.
        """
        if images_BCHW.shape[-1] != images_BCHW.shape[-2]:
            raise ConfigError(f"rotation needs square images, and these are {tuple(images_BCHW.shape[-2:])}")
        if images_BCHW.is_floating_point() or not self.augment:
            images = spec.normalise(images_BCHW)
        else:
            images = _normalised(Augmentation()(_unit(images_BCHW), rng), spec)
        # rot90 turns counter-clockwise
        return torch.cat([images.rot90(-turns, (2, 3)) for turns in range(4)])

    def loss(self, head: nn.Module, embedding_AD: Tensor, size: int) -> Losses:
        """Cross-entropy, the mean over the four turns of an image."""
        turns_A = torch.arange(4, device=embedding_AD.device).repeat_interleave(size)
        losses_A = F.cross_entropy(head(embedding_AD).float(), turns_A, reduction="none")
        losses_B = losses_A.view(4, size).mean(0)
        return {"rotation": (losses_B, torch.ones_like(losses_B))}


@dataclass(frozen=True)
class _TwoViews(Objective):
    """Two random views of each image, and a head of fully connected layers.

    Args:
        crop: smallest share of an image that a view keeps.
        flip: whether views may be mirrored; not for digits and letters.
        jitter: strength of the colour jitter.
        hidden: width of the head's hidden layers.
        out: width of the head's output.
    """

    crop: float = 0.2
    flip: bool = True
    jitter: float = 0.5
    hidden: int = 512
    out: int = 128

    def __post_init__(self) -> None:
        if not 0 < self.crop <= 1 or self.jitter < 0 or self.hidden < 1 or self.out < 1:
            raise ValueError("crop in (0, 1], jitter at least 0, and widths at least 1 are allowed")

    def views(self, images_BCHW: Tensor, spec: InputSpec, rng: Generator) -> Tensor:
        """The first view of all images, then the second of all."""
        made = Augmentation(self.crop, self.flip, self.jitter)
        if images_BCHW.is_floating_point():
            return torch.cat([made.moved(images_BCHW, rng) for _ in range(2)])
        images = _unit(images_BCHW)
        return _normalised(torch.cat([made(images, rng) for _ in range(2)]), spec)

    def _head(self, width: int, hidden_layers: int) -> nn.Module:
        layers: list[nn.Module] = []
        for _ in range(hidden_layers):
            layers += [nn.Linear(width, self.hidden, bias=False), nn.BatchNorm1d(self.hidden), nn.ReLU()]
            width = self.hidden
        return nn.Sequential(*layers, nn.Linear(width, self.out, bias=False))


@dataclass(frozen=True)
class SimCLR(_TwoViews):
    """Two views of an image are told from all other views of the batch.

    l(i, j) = -log( exp(s_ij / t) / sum_{k != i} exp(s_ik / t) ), s = cosine of the head's outputs; the loss of an image
    is the mean of l over its two views, each with the other as its partner.

    Args:
        crop: smallest share of an image that a view keeps.
        flip: whether views may be mirrored; not for digits and letters.
        jitter: strength of the colour jitter.
        hidden: width of the head's hidden layer.
        out: width of the head's output.
        temperature: t.

    Reference:
        Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations", ICML 2020, equation 1.
        With several processes each contrasts the images of its own share.
    """

    name: ClassVar[str] = "simclr"
    temperature: float = 0.5

    def build(self, width: int) -> nn.Module:
        """One hidden layer."""
        return self._head(width, 1)

    def loss(self, head: nn.Module, embedding_AD: Tensor, size: int) -> Losses:
        """The normalised temperature-scaled cross-entropy of each image."""
        unit_AK = F.normalize(head(embedding_AD).float(), dim=1)
        similar_AA = unit_AK @ unit_AK.T / self.temperature
        similar_AA.fill_diagonal_(-torch.inf)
        partner_A = torch.arange(2 * size, device=unit_AK.device).roll(size)
        losses_B = F.cross_entropy(similar_AA, partner_A, reduction="none").view(2, size).mean(0)
        return {"simclr": (losses_B, torch.ones_like(losses_B))}


@dataclass(frozen=True)
class VICReg(_TwoViews):
    """Two views agree, each output varies over the batch, and no two outputs say the same.

    loss = 25 s + 25 (v + v') / 2 + (c + c'), where s is the mean squared difference of the two views, v the mean over
    outputs of max(0, 1 - sqrt(var + 1e-4)), and c the sum of squared covariances of different outputs over their
    number.

    Args:
        crop: smallest share of an image that a view keeps.
        flip: whether views may be mirrored; not for digits and letters.
        jitter: strength of the colour jitter.
        hidden: width of the head's two hidden layers.
        out: width of the head's output.
        invariance: weight of s.
        variance: weight of v.
        covariance: weight of c.

    Reference:
        Bardes et al., "VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised Learning", ICLR 2022,
        equations 1 to 6; v is averaged over the two views, as in the authors' code. With several processes variance and
        covariance are of each process's own share.
    """

    name: ClassVar[str] = "vicreg"
    hidden: int = 1024
    out: int = 1024
    invariance: float = 25.0
    variance: float = 25.0
    covariance: float = 1.0

    def build(self, width: int) -> nn.Module:
        """Two hidden layers."""
        return self._head(width, 2)

    def loss(self, head: nn.Module, embedding_AD: Tensor, size: int) -> Losses:
        """The three parts; variance and covariance belong to the batch, not to an image."""
        one_BK, other_BK = head(embedding_AD).float().split(size)
        differ_B = self.invariance * (one_BK - other_BK).square().mean(1)
        spread, shared = [], []
        for rows_BK in (one_BK, other_BK):
            centred_BK = rows_BK - rows_BK.mean(0)
            covariance_KK = centred_BK.T @ centred_BK / max(size - 1, 1)
            variance_K = covariance_KK.diagonal()
            spread.append(F.relu(1 - (variance_K + 1e-4).sqrt()).mean())
            shared.append((covariance_KK.square().sum() - variance_K.square().sum()) / rows_BK.shape[1])
        of_batch = differ_B.new_ones(1)
        return {
            "invariance": (differ_B, torch.ones_like(differ_B)),
            "variance": (self.variance * (spread[0] + spread[1]).view(1) / 2, of_batch),
            "covariance": (self.covariance * (shared[0] + shared[1]).view(1), of_batch),
        }


OBJECTIVES: dict[str, type[Objective]] = {cls.name: cls for cls in (Rotation, SimCLR, VICReg)}


def objective_of(phase: Phase) -> Objective | Loss | LossFunction | None:
    """What a phase is trained on: an objective, a loss with options, a function, or None for the task's own loss.

    Raises:
        ConfigError: an unknown name or option.
    """
    if phase.loss == "task":
        return None
    found: Any = OBJECTIVES.get(phase.loss) or (import_object(phase.loss) if ":" in phase.loss else None)
    if found is None:
        raise unknown("loss", phase.loss, ["task", *OBJECTIVES, "package.module:name"])
    if not (inspect.isclass(found) and issubclass(found, Objective | Loss)):
        if phase.options:
            raise ConfigError(f"the loss {phase.loss!r} is a function and takes no options")
        return found  # type: ignore[no-any-return]
    return _made(found, dict(phase.options))


def with_progress(loss: Loss | LossFunction) -> Callable[[nn.Module, Task[Any], Batch, float], Losses]:
    """A loss in the one form that the training calls; functions are not told the progress."""
    return loss if isinstance(loss, Loss) else lambda model, task, batch, progress: loss(model, task, batch)


def code_of_loss(phase: Phase) -> str:
    """What the loss of a phase does beyond its name and options: somebody's own code, or the version of one of ours."""
    found = objective_of(phase)
    if found is None or phase.loss in OBJECTIVES:
        return ""
    cls = type(found) if isinstance(found, Objective | Loss) else found
    return own_code(cls) or (str(found.version) if isinstance(found, Loss) and found.version != 1 else "")


def _made(cls: type[Objective] | type[Loss], options: dict[str, Any]) -> Objective | Loss:
    allowed: list[str] = [f.name for f in dataclasses.fields(cls)] if dataclasses.is_dataclass(cls) else []
    for option in options:
        if option not in allowed:
            raise unknown(f"option of {cls.name!r}", option, allowed)
    what = "objective" if issubclass(cls, Objective) else "loss"
    check_options(cls, options, f"{what} {cls.name!r}")
    try:
        return cls(**options)
    except ValueError as error:
        raise ConfigError(f"{what} {cls.name!r} refuses {options}: {error}") from error
