"""Multi-label classification: any number of classes for each image, each a yes or no of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labelwise.contracts.chance import Chance
from labelwise.contracts.doubt import LooksOver
from labelwise.contracts.input import InputSpec
from labelwise.contracts.kind import Kind, Naming, in_full
from labelwise.contracts.learner import Phase
from labelwise.contracts.losses import Losses
from labelwise.contracts.record import Record
from labelwise.contracts.task import Batch, Field, Json, Metrics, Outputs, Prediction, Task
from labelwise.errors import ConfigError
from labelwise.kinds.tags import Tags
from labelwise.learners.gathered import Told
from labelwise.learners.imported import ImportedPredictions, of_pictures
from labelwise.tasks.label_doubts import OfTags
from labelwise.tasks.whole_images import (
    Augment,
    augmentation,
    augmented,
    logits_of,
    network,
    probabilities,
    usual_network,
)

if TYPE_CHECKING:
    from labelwise.contracts.learner import Learner
    from labelwise.contracts.source import Source

#: the numbers of the classes that an image has, ascending
Present = tuple[int, ...]


@dataclass(frozen=True)
class MultiLabel(Task[Present]):
    """Any number of classes out of a closed list for each image; the unit is the image, its probabilities are sigmoids.

    loss = mean over classes of the binary cross-entropy, ``-w_c y_c ln p_c - (1 - y_c) ln(1 - p_c)``.

    Args:
        classes: names, in index order; at least one.
        input: how images become model input.
        augment: what training adds, as in ``classification``.
        threshold: lowest probability of a class that is predicted (pre-annotations, pictures, F1).
        balance: the yes of a class weighs as many times its no as the labelled images without it outnumber those with
            it, at least once: ``w_c = no / yes``, up to ``cap``. Without it w_c = 1. Average precision looks at order
            alone and mostly gains nothing; F1 at a fixed threshold does.
        cap: highest such weight; also that of a class that no labelled image has.

    Raises:
        ConfigError: no class, one named twice, or a number out of its range.

    Example:
        >>> task = MultiLabel(("cat", "dog", "hen"))
        >>> task.load(["hen", "cat"]), task.dump((0, 2)), task.collate([(0, 2), ()]).tolist()
        ((0, 2), ['cat', 'hen'], [[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    """

    name: ClassVar[str] = "multi_label"
    kind: ClassVar[Kind] = Tags()
    provides: ClassVar[frozenset[Field]] = frozenset({"probs", "per_image", "logits"})
    looks_over: ClassVar[LooksOver] = OfTags()
    exclusive: ClassVar[bool] = False
    #: as for one class an image
    phases: ClassVar[tuple[Phase, ...]] = (
        Phase(epochs=60, min_steps=500, max_steps=20_000, lr=3e-3, schedule="onecycle"),
    )
    classes: tuple[str, ...]
    input: InputSpec = field(default_factory=InputSpec)
    augment: Augment = "auto"
    threshold: float = 0.5
    balance: bool = False
    cap: float = 10.0
    #: of the labels that it trains on, see ``under``
    _weights: tuple[float, ...] = field(default=(), init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        twice = [name for name in self.classes if self.classes.count(name) > 1]
        if twice:
            raise ConfigError(f"class {twice[0]!r} is listed twice: class names must differ")
        if not self.classes:
            raise ConfigError("multi_label needs at least one class, got none")
        if not 0 < self.threshold < 1:
            raise ConfigError(f"threshold is {self.threshold}: give a probability between 0 and 1")
        if not self.cap >= 1:
            raise ConfigError(
                f"cap is {self.cap}: the yes of a class weighs at least as much as its no, give 1 or more"
            )

    # ---- labels -----------------------------------------------------------------------------------------------------

    def load(self, raw: Json) -> Present:
        """Indices of the classes named."""
        self.kind.check(raw, self.classes, None)
        return tuple(sorted(self.classes.index(name) for name in raw))

    def dump(self, target: Present) -> Json:
        """Names of the classes, in the order of the task's."""
        return [self.classes[number] for number in target]

    def objects(self, target: Present) -> list[int]:
        """The classes."""
        return list(target)

    def collate(self, targets: Sequence[Present]) -> Tensor:
        """Float32 (B, C), 1 where an image has a class."""
        yes_BC = torch.zeros(len(targets), len(self.classes))
        for row, target in enumerate(targets):
            yes_BC[row, list(target)] = 1
        return yes_BC

    # ---- training ---------------------------------------------------------------------------------------------------

    def under(self, targets: Sequence[Present]) -> MultiLabel:
        """With the weights of these labels, where the task is to balance classes."""
        if not self.balance or not targets:
            return self
        yes_C = self.collate(targets).sum(0)
        weight_C = ((len(targets) - yes_C) / yes_C.clamp_min(0.5)).clamp(1, self.cap)
        found = replace(self)
        object.__setattr__(found, "_weights", tuple(weight_C.tolist()))
        return found

    @property
    def positives(self) -> tuple[float, ...]:
        """Weight of the yes of each class."""
        return self._weights or (1.0,) * len(self.classes)

    def batch(
        self, images: Tensor, targets: Sequence[Present] | None, *, train: bool, rng: torch.Generator | None = None
    ) -> Batch:
        """Normalised images, changed at random when ``train``."""
        images = self.input.normalise(images)
        if train:
            images = augmented(images, self.augmentation, rng)
        return Batch(images, None if targets is None else self.collate(targets))

    def loss(self, model: nn.Module, batch: Batch) -> Losses:
        """Binary cross-entropy, the mean over classes; the norm of an image is one."""
        logits_BC = logits_of(model, batch, len(self.classes))
        weight_C = logits_BC.new_tensor(self.positives)
        each_BC = F.binary_cross_entropy_with_logits(logits_BC, batch.targets, reduction="none", pos_weight=weight_C)
        losses_B = each_BC.mean(1)
        return {"binary_cross_entropy": (losses_B, torch.ones_like(losses_B))}

    # ---- outputs ----------------------------------------------------------------------------------------------------

    def outputs(self, model: nn.Module, batch: Batch, want: frozenset[Field]) -> Outputs:
        """Sigmoid probabilities; ``logits`` on demand."""
        logits_BC = logits_of(model, batch, len(self.classes))
        outputs = Outputs.of_images(logits_BC.sigmoid(), exclusive=False)
        return outputs.with_extra({"logits": logits_BC}) if "logits" in want else outputs

    def predictions(self, outputs: Outputs, confident: float | None = None) -> list[Prediction[Present]]:
        """The classes above the threshold; the score is the probability of the least sure yes or no."""
        lowest = self.threshold if confident is None else confident
        sure_B = torch.maximum(outputs.probs_UC, 1 - outputs.probs_UC).min(1).values
        yes_BC = outputs.probs_UC >= lowest
        found = [tuple(row.nonzero().flatten().tolist()) for row in yes_BC]
        return [Prediction(target, score) for target, score in zip(found, sure_B.tolist(), strict=True)]

    def said(self, probs_C: Sequence[float]) -> tuple[str, float]:
        """All classes above the threshold, and the probability of the least sure yes or no."""
        names = [name for name, prob in zip(self.classes, probs_C, strict=True) if prob >= self.threshold]
        return in_full(names), min(max(prob, 1 - prob) for prob in probs_C)

    def guesses(self, learner: Learner, source: Source, ids: Sequence[str]) -> Iterator[tuple[str, Json]]:
        """The classes of each image that are above the threshold, with their probabilities.

        Raises:
            UnmetNeed: the learner gives no probabilities.
        """
        for item, probs_C in probabilities(learner, source, ids):
            found = zip(self.classes, probs_C, strict=True)
            yield item, {"classes": {name: round(prob, 6) for name, prob in found if prob >= self.threshold}}

    def imported(
        self,
        found: Iterable[tuple[str, Record]],
        naming: Naming,
        ids: Sequence[str],
        size_of: Callable[[str], tuple[int, int] | None] = lambda item: None,
    ) -> ImportedPredictions:
        """A learner of class probabilities and embeddings of images; rows of probabilities need not sum to one.

        Raises:
            FormatError: numbers that do not fit, with file and row.
            UnmetNeed: neither of them is there.
        """
        return of_pictures(self, Told(found, naming, ids), probs=True)

    def metrics(self) -> Metrics:
        """Mean average precision, and F1 at the threshold."""
        from labelwise.tasks.multi_label_metrics import MultiLabelMetrics

        return MultiLabelMetrics(self.classes, self.threshold)

    def chance(self, targets: Iterable[Present]) -> Chance | None:
        """What scores that are the same for every image give: the share of images that have a class, on average."""
        yes_NC = self.collate(list(targets))
        share_C = yes_NC.mean(0)
        there = share_C > 0
        if not len(yes_NC) or not bool(there.any()):
            return None
        return Chance(float(share_C[there].mean()), "the same scores for every image")

    # ---- networks ---------------------------------------------------------------------------------------------------

    @property
    def augmentation(self) -> str:
        """What ``auto`` stands for at this size of the input; else as it was given."""
        return augmentation(self.augment, self.input)

    @property
    def default_name(self) -> str:
        """LeNet up to 32 pixels, a CIFAR-style ResNet-18 above."""
        return usual_network(self.input)

    @classmethod
    def model_names(cls) -> list[str]:
        """Reference nets and the classifiers of torchvision and timm."""
        from labelwise.models import model_names

        return model_names()

    def named_model(self, name: str, weights: str | None = None) -> nn.Module:
        """A classifier by name; see ``labelwise.models.by_name``."""
        return network(name, len(self.classes), self.input, weights)
