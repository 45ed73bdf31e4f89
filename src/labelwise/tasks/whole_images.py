"""What tasks whose unit is the image have in common: augmentation, logits, networks, and what is offered."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labelwise.contracts.input import InputSpec
from labelwise.contracts.learner import Examples
from labelwise.contracts.task import Batch
from labelwise.data.random_views import CROP_FLIP
from labelwise.errors import ConfigError, UnmetNeed
from labelwise.signals.plain import Probs

if TYPE_CHECKING:
    from labelwise.contracts.learner import Learner
    from labelwise.contracts.source import Source

Augment = Literal["auto", "none", "shift", "shift_flip", "crop_flip"]


def augmentation(augment: Augment, input_: InputSpec) -> str:
    """What ``auto`` stands for at this size of the input; else as it was given."""
    return augment if augment != "auto" else "shift" if min(input_.size) >= 16 else "none"


def augmented(images: Tensor, how: str, rng: torch.Generator | None) -> Tensor:
    """Images shifted, cropped and mirrored at random; ``how`` as :func:`augmentation` gives it."""
    if how == "none":
        return images
    if how == "crop_flip":
        return CROP_FLIP.moved(images, rng or torch.default_generator)
    images = _shift(images, rng)
    if how == "shift_flip":
        flip_B = torch.rand(len(images), generator=rng) < 0.5
        images[flip_B] = images[flip_B].flip(-1)
    return images


def _shift(images_BCHW: Tensor, rng: torch.Generator | None) -> Tensor:
    """Each image moved by up to an eighth of its sides; what comes in is zero, the mean after normalisation."""
    count, _, height, width = images_BCHW.shape
    pad_y, pad_x = height // 8, width // 8
    padded = F.pad(images_BCHW, (pad_x, pad_x, pad_y, pad_y))
    top_B = torch.randint(0, 2 * pad_y + 1, (count,), generator=rng)
    left_B = torch.randint(0, 2 * pad_x + 1, (count,), generator=rng)
    # two gathers of strided views instead of a Python loop over images
    rows = padded.unfold(2, height, 1)[torch.arange(count), :, top_B]
    rows = rows.permute(0, 1, 3, 2)
    return rows.unfold(3, width, 1)[torch.arange(count), :, :, left_B].contiguous()


def logits_of(model: nn.Module, batch: Batch, classes: int) -> Tensor:
    """(B, C) what the network says.

    Raises:
        ConfigError: another number of outputs than classes.
    """
    logits_BC: Tensor = model(batch.images).float()
    needed = (len(batch), classes)
    if logits_BC.shape != needed:
        raise ConfigError(
            f"the model gives {tuple(logits_BC.shape)} for {len(batch)} images where {needed} is needed: "
            f"its last layer needs {classes} outputs, one for each class"
        )
    return logits_BC


def usual_network(input_: InputSpec) -> str:
    """LeNet up to 32 pixels, a CIFAR-style ResNet-18 above."""
    return "lenet" if max(input_.size) <= 32 else "resnet18_cifar"


def network(name: str, classes: int, input_: InputSpec, weights: str | None) -> nn.Module:
    """A network with an output for each class; see ``labelwise.models.by_name``."""
    from labelwise.models import build
    from labelwise.models.by_name import check_output

    net = build(name, classes, input_, weights=weights)
    check_output(net, classes, input_)
    return net


def probabilities(learner: Learner, source: Source, ids: Sequence[str]) -> Iterator[tuple[str, list[float]]]:
    """Class probabilities of each image that can be offered to people; of a model that diverged none.

    Raises:
        UnmetNeed: the learner gives no probabilities.
    """
    if learner.weights is None:
        return
    if not Probs().fields <= learner.provides:
        raise UnmetNeed("the learner gives no probabilities that could be offered: leave the predictions out")
    table = learner.collect(Examples(source, tuple(ids)), frozenset({Probs()}))
    for item, probs_C in zip(table.ids, table[Probs()].tolist(), strict=True):
        if all(map(math.isfinite, probs_C)):
            yield item, probs_C
