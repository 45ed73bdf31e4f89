"""A detector with two class heads and a head that says what an image holds, and the terms that are learnt of them.

Shape letters: B images, A places, C classes, L levels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from labelwise.contracts.losses import Losses
from labelwise.contracts.targets import Boxes
from labelwise.errors import UnmetNeed
from labelwise.models.detectors import Dense, PixelBoxes, TwoSteps, stacked


@dataclass(frozen=True)
class Opinions:
    """What all heads say of a batch.

    Args:
        dense: the detector with its first class head.
        second_BAC: logits of the second one.
        bags_BAC: logits of the head of multiple instances.
        exclusive: classes exclude each other, and the last column is the background.
    """

    dense: Dense
    second_BAC: Tensor
    bags_BAC: Tensor
    exclusive: bool

    def probs(self, *, background: bool = False) -> tuple[Tensor, Tensor]:
        """Class probabilities of both heads, (B, A, C) float32.

        Args:
            background: whether that of exclusive classes keeps its column.
        """
        both = (self.dense.logits_BAC, self.second_BAC)
        first, second = (class_probs(logits, self.exclusive, background=background) for logits in both)
        return first, second


def scores(logits_BAC: Tensor, exclusive: bool, *, background: bool) -> Tensor:
    """(B, A, C) float32 class probabilities, or as the published SSD has them: sigmoids of all logits."""
    return logits_BAC.float().sigmoid() if background else class_probs(logits_BAC, exclusive)


def class_probs(logits_BAC: Tensor, exclusive: bool, *, background: bool = False) -> Tensor:
    """(B, A, C) float32 probabilities; of exclusive classes without the background, or with it."""
    if not exclusive:
        return logits_BAC.float().sigmoid()
    probs_BAC = logits_BAC.float().softmax(-1)
    return probs_BAC if background else probs_BAC[..., :-1]


class MultipleInstance(TwoSteps):
    """A one-stage detector with a second class head, and one whose scores are gathered over the places of an image.

    Boxes are found, and second opinions are read, by the detector with its first class head, as if the others were not
    there. The second differs from the first by its random weights alone.

    Parameters of the first class head are known as ``first``, whatever the detector calls them; the others are
    ``second``, ``mil``, and ``detector`` for the rest.

    Args:
        detector: looks in two steps; its class head must have a tower of its own.

    Reference:
        Yuan et al., "Multiple Instance Active Learning for Object Detection", CVPR 2021, figure 2.
    """

    exclusive = False  # the detector's, set below

    def __init__(self, detector: TwoSteps) -> None:
        super().__init__()
        self.detector = detector
        head = detector.get_submodule(detector.class_head)
        self.second, self.mil = _drawn_anew(head), _reset(head)
        self.exclusive = detector.exclusive  # type: ignore[misc]
        self.predicts = tuple(f"detector.{prefix}" for prefix in detector.predicts)  # type: ignore[misc]
        self.class_head = f"detector.{detector.class_head}"  # type: ignore[misc]
        # what undoes the normalisation of the input, where the weights know another
        self._forward_pre_hooks.update(detector._forward_pre_hooks)
        detector._forward_pre_hooks.clear()

    @property
    def aliases(self) -> Mapping[str, str]:
        """Names for parts, by which phases may call them."""
        return {f"{self.class_head}.": "first."}

    def maps(self, images: Tensor) -> Sequence[Tensor]:
        """The detector's."""
        return self.detector.maps(images)

    def say(self, maps: Sequence[Tensor], images: Tensor) -> Dense:
        """What the detector says, with its first class head."""
        return self.detector.say(maps, images)

    def class_logits(self, head: nn.Module, maps: Sequence[Tensor]) -> Tensor:
        """The detector's."""
        return self.detector.class_logits(head, maps)

    def decode(self, deltas_U4: Tensor, anchors_U4: Tensor) -> Tensor:
        """The detector's."""
        return self.detector.decode(deltas_U4, anchors_U4)

    def box_losses(self, seen: Dense, image: int, boxes: PixelBoxes) -> tuple[Any, dict[str, tuple[Tensor, Tensor]]]:
        """The detector's."""
        return self.detector.box_losses(seen, image, boxes)

    def class_losses(self, logits_AC: Tensor, learnt: Any) -> dict[str, tuple[Tensor, Tensor]]:
        """The detector's."""
        return self.detector.class_losses(logits_AC, learnt)

    def both(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """(B, A, C) logits of the two class heads alone."""
        first, second = (self.class_logits(head, maps) for head in (self.get_submodule(self.class_head), self.second))
        return first, second

    def opinions(self, images: Tensor) -> Opinions:
        """What all heads say of images that are as the detector wants them."""
        maps = self.maps(images)
        second, bags = (self.class_logits(head, maps) for head in (self.second, self.mil))
        return Opinions(self.say(maps, images), second, bags, self.exclusive)

    def both_losses(self, said: Opinions, targets: Sequence[Boxes]) -> Losses:
        """The detector's loss, the mean of that with either class head."""
        heads, sides = (said.dense.logits_BAC, said.second_BAC), said.dense.sides
        told = [PixelBoxes.of(target, sides) for target in targets]
        return stacked([self.mean_loss(said.dense, image, boxes, heads) for image, boxes in enumerate(told)])


def _drawn_anew(head: nn.Module) -> nn.Module:
    """A copy whose weights are drawn from a normal distribution as wide as the first one's, without biases changed."""
    copy = deepcopy(head)
    with torch.no_grad():
        for parameter in copy.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=float(parameter.std()) if parameter.numel() > 1 else 1.0)
    return copy


def _reset(head: nn.Module) -> nn.Module:
    """A copy whose tower starts as torch starts a layer, as published, and whose last layers start as the second's."""
    copy = _drawn_anew(head)
    for module in copy.modules():
        if isinstance(module, nn.Conv2d) and module.in_channels == module.out_channels:
            module.reset_parameters()
    return copy


def with_two_heads(model: nn.Module, images: Tensor) -> tuple[MultipleInstance, Tensor]:
    """A model with two class heads, and the images as its weights know them.

    Raises:
        UnmetNeed: it has one.
    """
    if not isinstance(model, MultipleInstance):
        raise no_second_head(model)
    for hook in model._forward_pre_hooks.values():
        images = hook(model, (images,))[0]
    return model, images


def no_second_head(model: nn.Module) -> UnmetNeed:
    """That two class heads are needed, and how to have them."""
    if not isinstance(model, TwoSteps):
        return UnmetNeed(
            f"two class heads of a one-stage detector are compared, and the model is {type(model).__name__}: choose "
            "another strategy, or a detector such as centre with learner: {kind: torch, scheme: mil}"
        )
    return UnmetNeed(
        f"{type(model).__name__} has no second class head: set learner: {{kind: torch, scheme: mil}}, name it with "
        "+mil (model: centre+mil), or wrap your own in labelwise.models.multiple_instance.MultipleInstance"
    )


# ---- what is learnt of bags -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bags:
    """How the places of an image become an answer for the image.

    ``w_ic = share of class c at place i * softmax over places (q_i)``, of each level by itself, and
    ``Y_c = max over levels of the sum of w_ic over places``. No gradient flows through the second factor.

    Args:
        classes: the first factor: ``softmax`` over classes, as published, of which a single one is always 1;
            ``sigmoid``, so that an image may hold several classes; ``auto``: softmax of two classes and more.
        confidence: the second: ``top``, q_i the highest class probability of the mean logits; ``each``, as the paper
            has it, the softmax over places of the mean probability of each class.
        background: as the published SSD: the background is a class, and q is a sigmoid of all logits.
    """

    classes: Literal["auto", "softmax", "sigmoid"] = "auto"
    confidence: Literal["top", "each"] = "top"
    background: bool = False

    def weights(self, said: Opinions) -> Tensor:
        """(B, A, C) w."""
        bags_BAC = said.bags_BAC.float()
        if said.exclusive and not self.background:
            bags_BAC = bags_BAC[..., :-1]
        alone = self.classes == "auto" and bags_BAC.shape[-1] == 1
        shares_BAC = bags_BAC.sigmoid() if alone or self.classes == "sigmoid" else bags_BAC.softmax(-1)
        with torch.no_grad():
            confident_BAC = self._confidence(said)
            places = [part.softmax(1) for part in torch.split(confident_BAC, _sizes(said.dense), dim=1)]
        return shares_BAC * torch.cat(places, dim=1)

    def _confidence(self, said: Opinions) -> Tensor:
        """(B, A, 1) or (B, A, C) what is normalised over places."""
        if self.confidence == "each":
            first, second = said.probs(background=self.background)
            return (first + second) / 2
        logits_BAC = (said.dense.logits_BAC.float() + said.second_BAC.float()) / 2
        if said.exclusive and not self.background:
            return logits_BAC.softmax(-1)[..., :-1].amax(-1, keepdim=True)
        return logits_BAC.sigmoid().amax(-1, keepdim=True)

    def held(self, said: Opinions) -> Tensor:
        """(B, C) Y: how sure it is that an image holds a class, in [1e-5, 1 - 1e-5]."""
        sums = [part.sum(1) for part in torch.split(self.weights(said), _sizes(said.dense), dim=1)]
        return torch.stack(sums).amax(0).clamp(1e-5, 1 - 1e-5)

    @torch.no_grad()
    def guessed(self, said: Opinions) -> Tensor:
        """(B, C) bool: the classes that both class heads together find somewhere in an image with 0.5 and more."""
        both = (said.dense.logits_BAC, said.second_BAC)
        first, second = (scores(logits, said.exclusive, background=self.background) for logits in both)
        return (first + second).amax(1) >= 1.0


def _sizes(dense: Dense) -> list[int]:
    return [height * width * count for height, width, count in dense.levels]
