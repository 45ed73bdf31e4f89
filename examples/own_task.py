"""A task of your own in one class: any number of tags for an image, each a yes or no of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from own_kind import Tags
from torch import Tensor, nn
from torch.nn import functional as F

from labelwise.contracts.input import InputSpec
from labelwise.contracts.kind import Kind
from labelwise.contracts.losses import Losses
from labelwise.contracts.task import Batch, Field, Metrics, Outputs, Prediction, Task
from labelwise.models import build


@dataclass(frozen=True)
class Tagging(Task[tuple[int, ...]]):
    """Which tags hold of an image; the target is their indices, the unit is the image."""

    name: ClassVar[str] = "tagging"
    kind: ClassVar[Kind] = Tags()
    provides: ClassVar[frozenset[Field]] = frozenset({"probs", "per_image", "logits"})
    exclusive: ClassVar[bool] = False  # an image may have several tags
    classes: tuple[str, ...]
    input: InputSpec = field(default_factory=InputSpec)

    def load(self, raw: Any) -> tuple[int, ...]:
        self.kind.check(raw, self.classes, None)
        return tuple(self.classes.index(name) for name in raw)

    def dump(self, target: tuple[int, ...]) -> list[str]:
        return sorted(self.classes[number] for number in target)

    def collate(self, targets: Sequence[tuple[int, ...]]) -> Tensor:
        hold_BC = torch.zeros(len(targets), len(self.classes))
        for row, target in enumerate(targets):
            hold_BC[row, list(target)] = 1
        return hold_BC

    def batch(self, images: Tensor, targets: Any, *, train: bool, rng: torch.Generator | None = None) -> Batch:
        return Batch(self.input.normalise(images), None if targets is None else self.collate(targets))

    def loss(self, model: nn.Module, batch: Batch) -> Losses:
        losses_BC = F.binary_cross_entropy_with_logits(model(batch.images), batch.targets, reduction="none")
        return {"cross_entropy": (losses_BC.mean(1), torch.ones(len(batch), device=losses_BC.device))}

    def outputs(self, model: nn.Module, batch: Batch, want: frozenset[Field]) -> Outputs:
        logits_BC = model(batch.images).float()
        return Outputs.of_images(logits_BC.sigmoid(), exclusive=False, logits=logits_BC)

    def predictions(self, outputs: Outputs, confident: float | None = None) -> list[Prediction[tuple[int, ...]]]:
        sure_B = (outputs.probs_UC - 0.5).abs().mean(1) + 0.5
        held = [tuple(row.nonzero().flatten().tolist()) for row in outputs.probs_UC > 0.5]
        return [Prediction(*pair) for pair in zip(held, sure_B.tolist(), strict=True)]

    def metrics(self) -> Metrics:
        return ShareRight(self)

    def default_model(self) -> nn.Module:
        return self.named_model("lenet")

    def named_model(self, name: str, weights: str | None = None) -> nn.Module:
        return build(name, len(self.classes), self.input, weights=weights)


class ShareRight(Metrics):
    """The share of all yes and no that is right."""

    primary = "right"

    def __init__(self, task: Tagging) -> None:
        self.task, self.right, self.count = task, 0, 0

    def update(self, outputs: Outputs, targets: Sequence[Any]) -> None:
        said_BC = outputs.probs_UC.cpu() > 0.5
        self.right += int((said_BC == self.task.collate(targets).bool()).sum())
        self.count += said_BC.numel()

    def compute(self) -> dict[str, float]:
        return {"right": self.right / self.count} if self.count else {}


def main() -> None:
    from labelwise.testing.tasks import check_task

    images = list(np.random.default_rng(0).integers(0, 256, (4, 40, 30, 3), dtype=np.uint8))
    check_task(Tagging(("blurred", "night", "rain")), images, [[], ["blurred"], ["night", "rain"], ["night"]])
    print("tagging keeps the contract of tasks: labelwise init images --task own_task:Tagging --learner torch")


if __name__ == "__main__":
    main()
