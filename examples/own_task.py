"""A task of your own in one class: a level on an ordered scale for an image, where a near miss is half right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from own_kind import Levels
from torch import Tensor, nn
from torch.nn import functional as F

from labelwise.contracts.input import InputSpec
from labelwise.contracts.kind import Kind
from labelwise.contracts.losses import Losses
from labelwise.contracts.task import Batch, Field, Metrics, Outputs, Prediction, Task
from labelwise.models import build


@dataclass(frozen=True)
class Grading(Task[int]):
    """The level of an image; the target is its index, the unit is the image.

    The loss is the cross-entropy against a target that falls off with the distance from the true level.
    """

    name: ClassVar[str] = "grading"
    kind: ClassVar[Kind] = Levels()
    provides: ClassVar[frozenset[Field]] = frozenset({"probs", "per_image", "logits"})
    classes: tuple[str, ...]
    input: InputSpec = field(default_factory=InputSpec)
    sharpness: float = 2.0  # an option: --set task.sharpness=3

    def load(self, raw: Any) -> int:
        self.kind.check(raw, self.classes, None)
        return self.classes.index(raw["level"])

    def dump(self, target: int) -> dict[str, str]:
        return {"level": self.classes[target]}

    def batch(self, images: Tensor, targets: Any, *, train: bool, rng: torch.Generator | None = None) -> Batch:
        return Batch(self.input.normalise(images), None if targets is None else self.collate(targets))

    def loss(self, model: nn.Module, batch: Batch) -> Losses:
        apart_BC = (torch.arange(len(self.classes), device=batch.targets.device) - batch.targets[:, None]).abs()
        wanted_BC = (-self.sharpness * apart_BC.float()).softmax(1)
        losses_B = F.cross_entropy(model(batch.images), wanted_BC, reduction="none")
        return {"cross_entropy": (losses_B, torch.ones_like(losses_B))}

    def outputs(self, model: nn.Module, batch: Batch, want: frozenset[Field]) -> Outputs:
        logits_BC = model(batch.images).float()
        return Outputs.of_images(logits_BC.softmax(1), logits=logits_BC)

    def predictions(self, outputs: Outputs, confident: float | None = None) -> list[Prediction[int]]:
        sure_B, level_B = outputs.probs_UC.max(1)
        return [Prediction(*pair) for pair in zip(level_B.tolist(), sure_B.tolist(), strict=True)]

    def metrics(self) -> Metrics:
        return LevelsApart()

    def default_model(self) -> nn.Module:
        return self.named_model("lenet")

    def named_model(self, name: str, weights: str | None = None) -> nn.Module:
        return build(name, len(self.classes), self.input, weights=weights)


class LevelsApart(Metrics):
    """How many levels lie between what is predicted and what is true, on average."""

    primary = "levels_apart"
    higher_is_better = False

    def __init__(self) -> None:
        self.apart: list[int] = []

    def update(self, outputs: Outputs, targets: Sequence[Any]) -> None:
        said = outputs.probs_UC.argmax(1).tolist()
        self.apart += [abs(one - target) for one, target in zip(said, targets, strict=True)]

    def compute(self) -> dict[str, float]:
        return {"levels_apart": sum(self.apart) / len(self.apart)} if self.apart else {}


def main() -> None:
    from labelwise.testing.tasks import check_task

    images = list(np.random.default_rng(0).integers(0, 256, (4, 40, 30, 3), dtype=np.uint8))
    labels = [{"level": level} for level in ("none", "mild", "severe", "mild")]
    check_task(Grading(("none", "mild", "severe")), images, labels)
    print("grading keeps the contract of tasks: labelwise init images --task own_task:Grading --learner torch")


if __name__ == "__main__":
    main()
