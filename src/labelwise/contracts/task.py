"""The contract for a kind of label: all that is specific to classification, detection, segmentation or keypoints."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import torch
from torch import nn

from labelwise.contracts.chance import Chance
from labelwise.contracts.doubt import LooksOver, NotYet
from labelwise.contracts.input import InputSpec
from labelwise.contracts.kind import Kind
from labelwise.contracts.learner import Phase
from labelwise.contracts.losses import Losses
from labelwise.errors import ConfigError, UnmetNeed

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from labelwise.contracts.kind import Naming
    from labelwise.contracts.learner import Learner
    from labelwise.contracts.record import Record
    from labelwise.contracts.source import Source

Target = TypeVar("Target")
Json = Any

#: What a task or a learner can put into ``Outputs``: ``probs`` (of each unit), ``per_image`` (the unit is the image, so
#: that rows of units are rows of images), ``per_pixel`` (the unit is a pixel of the model's input, row by row: regions
#: of images can be made of units), ``logits``, ``embedding`` (of the image), ``map_embedding`` (B, D, h, w: of cells
#: of a grid over the image), ``unit_embedding``, ``boxes``, ``points``, ``head:NAME`` (what an auxiliary says),
#: ``loss`` (under hidden labels, which exist in simulated campaigns alone); a plain string: a new task needs no edit.
Field = str
#: fields that promise something of the units, and are nothing in ``Outputs`` themselves
PROMISES: frozenset[Field] = frozenset({"per_image", "per_pixel"})
#: what fields are called where people read of them
WORDS: Mapping[Field, str] = {
    "probs": "class probabilities",
    "logits": "class scores before the softmax",
    "embedding": "an embedding of each image",
    "unit_embedding": "an embedding of each object",
    "map_embedding": "embeddings of the parts of an image",
    "boxes": "boxes",
    "scores": "scores of boxes or points",
    "labels": "classes of boxes",
    "points": "places of key points",
    "loss": "the loss under the true label",
}


def in_words(fields: Iterable[Field]) -> str:
    """Fields as people call them; promises are left out.

    Example:
        >>> in_words({"unit_embedding", "per_pixel"})
        'an embedding of each object'
    """
    return ", ".join(WORDS.get(name, name) for name in sorted(set(fields) - PROMISES))


@dataclass(frozen=True)
class Batch:
    """Model input and targets of some images, on one device.

    Args:
        images: (B, C, H, W), normalised.
        targets: whatever the task's ``loss`` reads: a tensor, something else with ``to(device)``, or a sequence of
            such; None for images without labels.
        moved: (2, 3) where the pixels of a changed view come from in the image it shows, as ``affine_grid`` has it;
            None where nothing was moved.
    """

    images: Tensor
    targets: Any = None
    moved: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""
        return Batch(self.images.to(device, non_blocking=True), _on(device, self.targets), _on(device, self.moved))

    def __len__(self) -> int:
        return len(self.images)


def _on(device: torch.device, targets: Any) -> Any:
    if isinstance(targets, tuple | list):
        return type(targets)(_on(device, target) for target in targets)
    return targets.to(device) if hasattr(targets, "to") else targets


@dataclass(frozen=True)
class Outputs:
    """What a model says of one batch, flattened to units: an image, a detected object, a pixel or a heat-map peak.

    Args:
        size: number of images B in the batch.
        unit_item_U: int64, which image of the batch each unit belongs to, ascending.
        probs_UC: class probabilities of each unit.
        exclusive: rows sum to one (softmax); False for sigmoid heads.
        weight_U: weight of each unit in weighted reductions.
        extra: further fields: ``embedding`` (B, D), ``unit_embedding`` (U, D), ``logits`` (U, C), ...
        whole: each unit is an image, in the order of the batch.
    """

    size: int
    unit_item_U: Tensor
    probs_UC: Tensor
    exclusive: bool = True
    weight_U: Tensor | None = None
    extra: Mapping[Field, Tensor] = field(default_factory=dict)
    whole: bool = False

    @classmethod
    def of_images(cls, probs_BC: Tensor, *, exclusive: bool = True, **extra: Tensor) -> Outputs:
        """Outputs of a task whose unit is the image."""
        size = len(probs_BC)
        units = torch.arange(size, device=probs_BC.device)
        return cls(size, units, probs_BC, exclusive, None, extra, whole=True)

    def questions(self) -> Outputs:
        """The yes or no of each class as a unit of its own, (B C, 1), where an image may be of several classes.

        Elsewhere, as they are: the classes of an image are then reduced as its objects or pixels are.
        """
        classes = self.probs_UC.shape[1]
        if self.exclusive or not self.whole or classes == 1:
            return self
        units = self.unit_item_U.repeat_interleave(classes)
        return Outputs(self.size, units, self.probs_UC.reshape(-1, 1), exclusive=False)

    def with_extra(self, extra: Mapping[Field, Tensor]) -> Outputs:
        """The same outputs with more fields."""
        return replace(self, extra={**self.extra, **extra})

    def detached(self) -> Outputs:
        """The same numbers, through which no gradient goes back into the model."""
        weight_U = None if self.weight_U is None else self.weight_U.detach()
        extra = {name: value.detach() for name, value in self.extra.items()}
        return replace(self, probs_UC=self.probs_UC.detach(), weight_U=weight_U, extra=extra)


@dataclass(frozen=True)
class Prediction(Generic[Target]):
    """A target with its score in [0, 1]: for pictures, pseudo-labels and pre-annotations."""

    target: Target
    score: float


@dataclass(frozen=True)
class Averaged:
    """A metric that is a mean over images, image by image.

    Args:
        loss_B: how far each image is from what a model without a fault has, at least 0.
        best: the metric of such a model.
        higher_is_better: the metric is ``best`` less the mean loss; else ``best`` and the mean loss.
    """

    loss_B: Tensor
    best: float = 1.0
    higher_is_better: bool = True

    def value(self, loss: float) -> float:
        """The metric where this is the mean loss."""
        return self.best - loss if self.higher_is_better else self.best + loss


class Metrics(ABC):
    """Accumulates a test set batch by batch and says how good the model is."""

    #: the number that curves show, and whether more of it is better
    primary: ClassVar[str]
    higher_is_better: ClassVar[bool] = True

    @abstractmethod
    def update(self, outputs: Outputs, targets: Sequence[Any]) -> None:
        """Adds a batch."""

    @abstractmethod
    def compute(self) -> dict[str, float]:
        """All metrics over what was added; {} when nothing was."""


class _Once(nn.Module):
    """A network that runs once for one batch of images, however often it is asked the same of them."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.training = model.training  # its parts stay in the modes they are in
        self._known: tuple[Tensor, Any] | None = None

    def forward(self, *inputs: Any) -> Any:
        if len(inputs) != 1:
            return self.model(*inputs)
        if self._known is None or self._known[0] is not inputs[0]:
            self._known = (inputs[0], self.model(inputs[0]))
        return self._known[1]


class Task(ABC, Generic[Target]):
    """One kind of label. Frozen: constructor = configuration = repr = cache key.

    A subclass says how a label is read and written, how a batch is built, what the loss is, and how the output of a
    model becomes ``Outputs``. It never sees a strategy.
    """

    name: ClassVar[str]
    #: of its labels: what they look like, what they cost, how they are written and drawn
    kind: ClassVar[Kind]
    #: what ``outputs`` can give; the learner may add fields of its own (embeddings, draws)
    provides: ClassVar[frozenset[Field]]
    #: an image is of one class, so that its probabilities sum to one; False where each class is a yes or no of its own
    #: (methods that ask for the one class are refused then); says nothing where there is more than one unit an image
    exclusive: ClassVar[bool] = True
    #: ``loss`` takes a row of class weights in the place of the one class of an image
    soft: ClassVar[bool] = False
    #: a prediction is objects with scores of their own, or none: who learns from one says from which score an object
    #: counts, and an image without any has no label
    finds_objects: ClassVar[bool] = False
    #: how its labels are looked over
    looks_over: ClassVar[LooksOver] = NotYet()
    #: metrics that are means over images; only such can be told from test images that were drawn with unequal chances
    averaged: ClassVar[frozenset[str]] = frozenset()
    #: of all images of an inference step together: 512 of 64 pixels square, 40 of 320 x 320
    inference_pixels: ClassVar[int] = 1 << 22
    #: how a network is trained where nobody says, whatever the network, the size of its input and the number of labels:
    #: the one place that knows, for Python and for configurations alike
    phases: ClassVar[tuple[Phase, ...]] = (Phase(),)
    classes: tuple[str, ...]
    input: InputSpec

    @property
    def outcomes(self) -> int:
        """How many classes the units of its outputs have: those of the labels, unless a task has units of its own."""
        return len(self.classes)

    @abstractmethod
    def load(self, raw: Json) -> Target:
        """The target that a raw label means.

        Raises:
            DataError: for a label that is not one, with what is allowed.
        """

    @abstractmethod
    def dump(self, target: Target) -> Json:
        """The raw, JSON-able form of a target; ``load(dump(t)) == t``."""

    def raw(self, label: Any) -> Json:
        """A label in its raw form: itself, or as ``dump`` writes the target that somebody's own code gave.

        Raises:
            DataError: as for ``load``.
        """
        return label if self.kind.owns(label) else self.dump(self.load(label))

    def objects(self, target: Target) -> list[int]:
        """Class index of everything a label names: one for an image's class, one for each object; for counts."""
        names = self.kind.objects(self.dump(target), self.classes)
        return [self.classes.index(name) for name in names]

    def merge(self, targets: Sequence[Target]) -> Target:
        """One target for an image from those of its labelled items (regions).

        Raises:
            DataError: targets that cannot be those of one image.
        """
        if len(targets) == 1:
            return targets[0]
        return self.load(self.kind.merge([self.dump(target) for target in targets]))

    def under(self, targets: Sequence[Target]) -> Task[Target]:
        """The task as it trains on these labels: with weights of classes that come from their counts, where it has any.

        Itself mostly. What it is named by (``repr``) stays that of the task that was configured.
        """
        return self

    @property
    def positives(self) -> tuple[float, ...]:
        """How much more the yes of each class weighs in the loss than its no; () where classes exclude each other."""
        return ()

    def collate(self, targets: Sequence[Target]) -> Any:
        """The targets of a batch in the form that ``loss`` reads."""
        return torch.as_tensor(targets, dtype=torch.int64)

    @abstractmethod
    def batch(
        self, images: Tensor, targets: Sequence[Target] | None, *, train: bool, rng: torch.Generator | None = None
    ) -> Batch:
        """A batch from prepared images (B, C, H, W), uint8 or float; augmented with ``rng`` when ``train``."""

    @abstractmethod
    def loss(self, model: nn.Module, batch: Batch) -> Losses:
        """Named parts of the loss, each (sum_B, norm_B)."""

    @abstractmethod
    def outputs(self, model: nn.Module, batch: Batch, want: frozenset[Field]) -> Outputs:
        """What the model says of a batch, with the extra fields in ``want`` that the task provides."""

    def redrawn(self, model: nn.Module, batch: Batch, first: Outputs, want: frozenset[Field]) -> Outputs:
        """What a stochastic pass, a changed view or another model says of the units of a first pass.

        Where units are fixed beforehand (images, pixels) that is ``outputs``; a detector says what it now thinks of the
        boxes it found in the first pass.
        """
        return self.outputs(model, batch, want)

    def judged(
        self, model: nn.Module, batch: Batch, label_of: Callable[[Outputs], Sequence[Target]]
    ) -> tuple[Outputs, Losses]:
        """What a model says of a batch, and its loss under labels that are made of that: one pass for pseudo labels.

        The model is run once where ``outputs`` and ``loss`` ask it the same of the same images, as here they do.

        Args:
            model: of this task.
            batch: images; their targets are not looked at.
            label_of: a target for each image, from the outputs, as ``lambda said: [p.target for p in
                task.predictions(said)]``; no gradient goes through labels.
        """
        once = _Once(model)
        outputs = self.outputs(once, batch, frozenset())
        labels = Batch(batch.images, self.collate(label_of(outputs.detached())), batch.moved).to(batch.images.device)
        return outputs, self.loss(once, labels)

    @abstractmethod
    def predictions(self, outputs: Outputs, confident: float | None = None) -> list[Prediction[Target]]:
        """The most likely target of each image with its score.

        Args:
            outputs: what a model says.
            confident: lowest score of what is in a target, where images may hold anything from nothing to many
                objects; None: the task's own. Without effect where each image, or pixel, has one answer.
        """

    def said(self, probs_C: Sequence[float]) -> tuple[str, float]:
        """What a model says of an image, in a word and how sure it is: the likeliest class and its probability.

        Args:
            probs_C: of the image, finite; asked of tasks whose unit is the image alone.
        """
        best = max(range(len(probs_C)), key=lambda c: probs_C[c])
        return self.classes[best], probs_C[best]

    @abstractmethod
    def metrics(self) -> Metrics:
        """A fresh accumulator."""

    def image_by_image(self, outputs: Outputs, targets: Sequence[Target]) -> Mapping[str, Averaged]:
        """Each metric in ``averaged``, image by image; of outputs whose unit is the image, with their targets."""
        return {}

    def chance(self, targets: Iterable[Target]) -> Chance | None:
        """What the primary metric says of the best answer that looks at no image; None where nobody can tell.

        By it a study, or a project, in which nothing was learnt is told from one that works.

        Args:
            targets: of the test images; drawn at most once.
        """
        return None

    def guesses(self, learner: Learner, source: Source, ids: Sequence[str]) -> Iterator[tuple[str, Json]]:
        """What a model would answer: raw labels with scores, to be offered to people.

        Args:
            learner: trained; without weights there is nothing.
            source: the images.
            ids: of images, and of regions where labels can be given for those; what cannot be read is left out.

        Raises:
            UnmetNeed: the learner says nothing that could be offered.
        """
        return iter(())

    def doubts(self, learner: Learner, source: Source, ids: Sequence[str]) -> Iterator[tuple[str, np.ndarray]]:
        """How unsure a model is of each pixel, (H, W) float, of whole images; nothing where the unit is no pixel."""
        return iter(())

    def imported(
        self,
        found: Iterable[tuple[str, Record]],
        naming: Naming,
        ids: Sequence[str],
        size_of: Callable[[str], tuple[int, int] | None] = lambda item: None,
    ) -> Learner:
        """A learner that says what a file of predictions says; nothing is trained.

        Args:
            found: id of an item and what the file says of it, drawn once.
            naming: the classes of the file in the project's words.
            ids: of all items of the project; those without a prediction are left out of the round.
            size_of: (width, height) of an image, for shapes in pixels where the file names no size; None where it
                cannot be read.

        Raises:
            UnmetNeed: predictions that this task has no use for.
            FormatError: a row that breaks its form, with file and row.
        """
        raise UnmetNeed(f"{self.name} has no use for predictions from a file: train a model instead")

    @property
    def default_name(self) -> str | None:
        """Name of the network that is trained where nobody names one; None: ``default_model`` builds it."""
        return None

    def default_model(self) -> nn.Module:
        """A small network that trains on a CPU: the one that ``default_name`` names, unless a task builds its own.

        Raises:
            ConfigError: the task has neither.
        """
        if self.default_name is None:
            raise ConfigError(f"{self.name} has no network of its own: name one, learner: {{kind: torch, model: ...}}")
        return self.named_model(self.default_name)

    @property
    def augmentation(self) -> str:
        """How training changes the images, in a word that reports show."""
        return str(getattr(self, "augment", "none"))

    def check_model(self, model: nn.Module) -> None:
        """Refuses a network of the user's own that cannot do this task, where that can be told without running it.

        Raises:
            ConfigError: says what is needed.
        """

    def adapted(self, model: nn.Module) -> nn.Module:
        """A network of the user's own in the form that this task asks for; most are that already.

        Raises:
            ConfigError: it cannot do this task.
        """
        self.check_model(model)
        return model

    @classmethod
    def model_names(cls) -> list[str]:
        """Names that ``named_model`` knows without a prefix."""
        return []

    @abstractmethod
    def named_model(self, name: str, weights: str | None = None) -> nn.Module:
        """A fresh network by name, with pretrained weights where ``weights`` names some.

        Raises:
            ConfigError: unknown name, or a network that does not fit the input or the classes.
            DataError: weights that cannot be had or do not fit.
        """
