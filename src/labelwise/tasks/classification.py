"""Image classification: one class for each image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labelwise.contracts.chance import Chance
from labelwise.contracts.doubt import LooksOver
from labelwise.contracts.input import InputSpec
from labelwise.contracts.kind import Kind, Naming
from labelwise.contracts.learner import Phase
from labelwise.contracts.losses import Losses
from labelwise.contracts.record import Record
from labelwise.contracts.task import Averaged, Batch, Field, Json, Metrics, Outputs, Prediction, Task
from labelwise.errors import ConfigError
from labelwise.kinds.classes import Classes
from labelwise.learners.gathered import Told
from labelwise.learners.imported import ImportedPredictions, of_pictures
from labelwise.tasks.label_doubts import OfClasses
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


@dataclass(frozen=True)
class Classification(Task[int]):
    """One class out of a closed list for each image; the unit is the image.

    Args:
        classes: names, in index order; at least two.
        input: how images become model input.
        augment: what training adds: ``none``; ``shift`` (up to an eighth of each side, zero-padded); ``shift_flip``
            (the same and a mirror image half of the time); ``crop_flip`` (a crop of 8 to 100 % of the area at full
            size, and a mirror image half of the time); ``auto``: ``shift``, and ``none`` below 16 pixels, where a
            shift by one pixel is as large as the strokes of a digit. Nothing is mirrored unless asked: mirrored
            digits and letters are others, or none.

    Raises:
        ConfigError: fewer than two classes, or one named twice.

    Example:
        >>> task = Classification(("cat", "dog"))
        >>> task.load("dog"), task.dump(0)
        (1, 'cat')
    """

    name: ClassVar[str] = "classification"
    kind: ClassVar[Kind] = Classes()
    provides: ClassVar[frozenset[Field]] = frozenset({"probs", "per_image", "logits"})
    looks_over: ClassVar[LooksOver] = OfClasses()
    soft: ClassVar[bool] = True
    averaged: ClassVar[frozenset[str]] = frozenset({"accuracy", "nll"})
    #: sixty epochs, of few labels as many as make 500 steps
    phases: ClassVar[tuple[Phase, ...]] = (
        Phase(epochs=60, min_steps=500, max_steps=20_000, lr=3e-3, schedule="onecycle"),
    )
    classes: tuple[str, ...]
    input: InputSpec = field(default_factory=InputSpec)
    augment: Augment = "auto"

    def __post_init__(self) -> None:
        twice = [name for name in self.classes if self.classes.count(name) > 1]
        if twice:
            raise ConfigError(f"class {twice[0]!r} is listed twice: class names must differ")
        if len(self.classes) < 2:
            raise ConfigError(f"classification needs at least two classes, got {list(self.classes)}")

    def load(self, raw: Json) -> int:
        """Index of a class given by its name, or by its index as an integer."""
        self.kind.check(raw, self.classes, None)
        return self.classes.index(raw) if isinstance(raw, str) else int(raw)

    def dump(self, target: int) -> Json:
        """Name of the class."""
        return self.classes[target]

    def objects(self, target: int) -> list[int]:
        """The class."""
        return [target]

    def collate(self, targets: Sequence[int] | Sequence[Tensor]) -> Tensor:
        """(B,) class indices; of rows of class weights (B, C), which ``loss`` takes as well."""
        rows = [target for target in targets if isinstance(target, Tensor) and target.dim()]
        return torch.stack(rows) if rows else torch.as_tensor(targets, dtype=torch.int64)

    def batch(
        self, images: Tensor, targets: Sequence[int] | None, *, train: bool, rng: torch.Generator | None = None
    ) -> Batch:
        """Normalised images, shifted and mirrored at random when ``train``."""
        images = self.input.normalise(images)
        if train:
            images = augmented(images, self.augmentation, rng)
        return Batch(images, None if targets is None else self.collate(targets))

    def loss(self, model: nn.Module, batch: Batch) -> Losses:
        """Cross-entropy; the norm of an image is one."""
        losses_B = F.cross_entropy(logits_of(model, batch, len(self.classes)), batch.targets, reduction="none")
        return {"cross_entropy": (losses_B, torch.ones_like(losses_B))}

    def outputs(self, model: nn.Module, batch: Batch, want: frozenset[Field]) -> Outputs:
        """Softmax probabilities; ``logits`` on demand."""
        logits_BC = logits_of(model, batch, len(self.classes))
        outputs = Outputs.of_images(logits_BC.softmax(1))
        return outputs.with_extra({"logits": logits_BC}) if "logits" in want else outputs

    def predictions(self, outputs: Outputs, confident: float | None = None) -> list[Prediction[int]]:
        """The most likely class with its probability."""
        score_B, class_B = outputs.probs_UC.max(1)
        return [Prediction(c, s) for c, s in zip(class_B.tolist(), score_B.tolist(), strict=True)]

    def guesses(self, learner: Learner, source: Source, ids: Sequence[str]) -> Iterator[tuple[str, Json]]:
        """The most likely class of each image with its probability.

        Raises:
            UnmetNeed: the learner gives no probabilities.
        """
        for item, probs_C in probabilities(learner, source, ids):
            name, score = self.said(probs_C)
            yield item, {"class": name, "score": round(score, 6)}

    def imported(
        self,
        found: Iterable[tuple[str, Record]],
        naming: Naming,
        ids: Sequence[str],
        size_of: Callable[[str], tuple[int, int] | None] = lambda item: None,
    ) -> ImportedPredictions:
        """A learner of class probabilities and embeddings of images.

        Raises:
            FormatError: numbers that do not fit, with file and row.
            UnmetNeed: neither of them is there.
        """
        return of_pictures(self, Told(found, naming, ids), probs=True)

    def metrics(self) -> Metrics:
        """Accuracy and what accuracy hides."""
        return ClassificationMetrics(len(self.classes))

    @property
    def augmentation(self) -> str:
        """What ``auto`` stands for at this size of the input; else as it was given."""
        return augmentation(self.augment, self.input)

    def image_by_image(self, outputs: Outputs, targets: Sequence[int]) -> Mapping[str, Averaged]:
        """Right or wrong, and minus the log probability of the label."""
        probs_BC, labels_B = outputs.probs_UC.cpu(), torch.as_tensor(targets, dtype=torch.int64)
        wrong_B = (probs_BC.argmax(1) != labels_B).double()
        nll_B = F.nll_loss(probs_BC.clamp_min(1e-12).log(), labels_B, reduction="none").double()
        return {"accuracy": Averaged(wrong_B), "nll": Averaged(nll_B, best=0.0, higher_is_better=False)}

    def chance(self, targets: Iterable[int]) -> Chance | None:
        """The share of the most frequent class."""
        counts = Counter(targets)
        if not counts:
            return None
        (most, images), total = counts.most_common(1)[0], counts.total()
        return Chance(images / total, f"naming {self.classes[most]!r} every time", total)

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


class ClassificationMetrics(Metrics):
    """Accuracy, balanced accuracy, worst class recall, negative log-likelihood and calibration error.

    Recalls are means over the classes that occur; ``ece`` uses 15 equal-width bins of the top probability.
    """

    primary = "accuracy"

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self._probs: list[Tensor] = []
        self._targets: list[int] = []

    def update(self, outputs: Outputs, targets: Sequence[Any]) -> None:
        """Adds a batch."""
        self._probs.append(outputs.probs_UC.cpu())
        self._targets.extend(targets)

    def compute(self) -> dict[str, float]:
        """All metrics; {} when nothing was added."""
        from torchmetrics.functional.classification import multiclass_calibration_error, multiclass_recall

        if not self._targets:
            return {}
        probs_NC = torch.cat(self._probs)
        labels_N = torch.tensor(self._targets)
        present = torch.tensor(sorted(set(self._targets)))
        recall_C = multiclass_recall(probs_NC, labels_N, self.classes, average=None)[present]
        return {
            "accuracy": float((probs_NC.argmax(1) == labels_N).float().mean()),
            "balanced_accuracy": float(recall_C.mean()),
            "worst_class_recall": float(recall_C.min()),
            "nll": float(F.nll_loss(probs_NC.clamp_min(1e-12).log(), labels_N)),
            "ece": float(multiclass_calibration_error(probs_NC, labels_N, self.classes, n_bins=15)),
        }
