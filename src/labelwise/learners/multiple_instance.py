"""The loss of a detector that also learns what an image holds, and from images without boxes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from labelwise.contracts.learner import Loss
from labelwise.contracts.losses import TOLD, Losses
from labelwise.contracts.task import Batch, Task
from labelwise.models.multiple_instance import Bags, Opinions, with_two_heads


@dataclass(frozen=True)
class Instances(Loss):
    """What a detector with two class heads and a head of multiple instances learns in one kind of phase.

    Images with boxes teach the boxes, the mean of the detector's loss with either class head, and what the image holds:
    ``L_image = mean over classes of BCE(Y_c, y_c)``, where y_c says whether there is an object of class c, and Y is
    gathered from all places (``labelwise.models.multiple_instance.Bags``). Images without labels teach, with
    ``g_i = mean over classes of w_ic |p1_ic - p2_ic|`` at place i and no gradient through w,

    - in a ``minimise`` phase ``weight * sum over i of g_i``, and L_image under the classes that the two heads together
      find with 0.5 and more; an image of which they find none teaches only the former;
    - in a ``maximise`` phase ``weight * sum over i of mean over classes of w_ic (1 - |p1_ic - p2_ic|)``.

    The report tells ``sum over i of g_i`` (``told weighted gap``), the mean gap of the two heads without weights
    (``told gap``) and the share of images without labels in which a class was found (``told guessed``).

    Args:
        step: ``label_set``, ``minimise`` or ``maximise``.
        image: whether what images hold is learnt.
        weight: of the gap.
        classes: of ``Bags``.
        confidence: of ``Bags``.
        background: of ``Bags``; the gap then counts the background, too.
        negative: a ``maximise`` phase learns the negative gap, as the paper has it.
        hard: which images an image without a found class leaves out of L_image: itself, or its ``batch``, as published.
        over: the gap of a batch is the ``mean`` over its images, or their ``sum``, as published.

    Cost: a step over images with boxes computes the loss of classes twice, that of boxes once; one over images without,
    one forward and one backward pass.

    Reference:
        Yuan et al., "Multiple Instance Active Learning for Object Detection", CVPR 2021, equations 1 to 8. We differ as
        the authors' code does: the gap is weighted at each place, with one softmax over the places of each level.
    """

    name: ClassVar[str] = "instances"
    step: Literal["label_set", "minimise", "maximise"] = "label_set"
    image: bool = True
    weight: float = 0.5
    classes: Literal["auto", "softmax", "sigmoid"] = "auto"
    confidence: Literal["top", "each"] = "top"
    background: bool = False
    negative: bool = False
    hard: Literal["image", "batch"] = "image"
    over: Literal["mean", "sum"] = "mean"

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise ValueError(f"weight must not be negative, got {self.weight}")

    @property
    def bags(self) -> Bags:
        """How places become an answer for the image."""
        return Bags(self.classes, self.confidence, self.background)

    def __call__(self, model: nn.Module, task: Task[Any], batch: Batch, progress: float) -> Losses:
        """Parts of a batch that has boxes, or of one that has none."""
        net, images = with_two_heads(model, batch.images)
        said = net.opinions(images)
        if batch.targets is None:
            return self._without(said)
        parts = dict(net.both_losses(said, batch.targets))
        if self.image:
            held_BC = self.bags.held(said)
            there_BC = torch.zeros_like(held_BC)
            for row, target in enumerate(batch.targets):
                there_BC[row, target.class_G[~target.ignore_G].to(held_BC.device)] = 1.0
            parts["image"] = _image_loss(held_BC, there_BC, torch.ones_like(held_BC[:, 0]))
        return parts

    def _without(self, said: Opinions) -> Losses:
        first, second = said.probs(background=self.background)
        gap_BAC = (first - second).abs()
        weight_BAC = self.bags.weights(said).detach()
        size = len(gap_BAC)
        ones_B = gap_BAC.new_ones(size)
        sign = {"label_set": 0.0, "minimise": 1.0, "maximise": -1.0}[self.step]
        kept = sign * gap_BAC + (1.0 if sign < 0 and not self.negative else 0.0)
        gap_B = self.weight * (weight_BAC * kept).mean(2).sum(1)
        # of a sum nothing is counted: its divisor is one
        parts: dict[str, tuple[Tensor, Tensor]] = {"gap": (gap_B, ones_B if self.over == "mean" else 0 * ones_B)}
        guessed_BC = self.bags.guessed(said)
        found_B = guessed_BC.any(1)
        if self.step == "minimise" and self.image:
            counts_B = found_B if self.hard == "image" else found_B.all().expand(size)
            parts["guessed image"] = _image_loss(self.bags.held(said), guessed_BC.float(), counts_B.float())
        return parts | {
            f"{TOLD}weighted gap": ((weight_BAC * gap_BAC).detach().mean(2).sum(1), ones_B),
            f"{TOLD}gap": (gap_BAC.detach().mean((1, 2)), ones_B),
            f"{TOLD}guessed": (found_B.float(), ones_B),
        }


def _image_loss(held_BC: Tensor, there_BC: Tensor, counts_B: Tensor) -> tuple[Tensor, Tensor]:
    # by hand: torch refuses its own form under mixed precision
    loss_B = -(there_BC * held_BC.log() + (1 - there_BC) * torch.log1p(-held_BC)).mean(1)
    return loss_B * counts_B, counts_B
