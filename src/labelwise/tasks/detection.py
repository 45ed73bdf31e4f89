"""Object detection: boxes with classes; the unit is the detected object."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from labelwise.contracts.chance import Chance
from labelwise.contracts.doubt import LooksOver
from labelwise.contracts.input import InputSpec
from labelwise.contracts.kind import Kind, Naming
from labelwise.contracts.learner import Examples, Phase
from labelwise.contracts.losses import Losses
from labelwise.contracts.record import Record
from labelwise.contracts.targets import Boxes
from labelwise.contracts.task import Batch, Field, Json, Metrics, Outputs, Prediction, Task
from labelwise.data import augment
from labelwise.errors import ConfigError, UnmetNeed
from labelwise.kinds.boxes import Boxes as BoxesOfImages
from labelwise.learners.gathered import Told
from labelwise.learners.imported import FromFile
from labelwise.learners.imported_detections import of_objects
from labelwise.models.detectors import Detections, Detector, Keep, SeenOnce
from labelwise.signals.units import Units
from labelwise.tasks.label_doubts import OfBoxes

if TYPE_CHECKING:
    from labelwise.contracts.learner import Learner
    from labelwise.contracts.source import Source

#: fields that every detection carries, whoever asks
ALWAYS = frozenset({"boxes", "scores", "labels"})


@dataclass(frozen=True)
class Detection(Task[Boxes]):
    """Boxes with classes; the unit is the detected object, so that one image has many units, or none.

    A raw label is ``{"size": [width, height], "objects": [{"class": name, "box": [x1, y1, x2, y2]}, ...]}`` in pixels
    of the original image; an object may be ``"crowd": true`` or ``"difficult": true`` (neither right nor wrong), and
    further keys of a format stand in ``"extra"``.

    Outputs hold, for each box that counts as detected, the class distribution, its score as weight, and the fields
    ``boxes`` (corners in fractions), ``scores``, ``labels``, on demand ``unit_embedding`` (the object as a vector) and
    ``embedding`` (the image). Sigmoid heads (``centre``, FCOS, RetinaNet) give a probability for each class and are not
    exclusive. Softmax heads (SSD, Faster R-CNN) give one distribution over the classes and the background, which is the
    last column: how unsure a box is includes how unsure it is to be a box at all. Stochastic passes, changed views and
    the members of an ensemble judge the boxes of the first pass.

    Args:
        classes: names, in index order; at least one.
        input: how images become model input; boxes need no change when an image is squeezed.
        augment: what training adds: ``none``, ``flip`` (a mirror image half of the time), ``flip_scale`` (the same and
            a factor of 0.8 to 1.25 and a move of up to a tenth of the sides) or ``all`` (the same and contrast and
            brightness).
        threshold: lowest score of a box that counts as detected; low, because uncertain boxes are what is looked for.
        overlap: intersection over union above which the weaker of two boxes of one class goes.
        top: most boxes of an image.
        confident: lowest score of a box in a prediction (pictures, pseudo-labels, pre-annotations).

    Raises:
        ConfigError: no class, one named twice, or a number out of its range.

    Example:
        >>> task = Detection(("cell", "platelet"))
        >>> raw = {"size": [640, 480], "objects": [{"class": "cell", "box": [64, 48, 128, 96]}]}
        >>> boxes = task.load(raw)
        >>> boxes.class_G.tolist(), task.dump(boxes) == raw, task.kind.cost(raw)
        ([0], True, {'images': 1.0, 'boxes': 1.0})
    """

    name: ClassVar[str] = "detection"
    kind: ClassVar[Kind] = BoxesOfImages()
    provides: ClassVar[frozenset[Field]] = frozenset({"probs", "embedding", "unit_embedding"}) | ALWAYS
    looks_over: ClassVar[LooksOver] = OfBoxes()
    finds_objects: ClassVar[bool] = True
    #: thirty epochs, of few labels as many as make 600 steps; the weights are averages over about a tenth of the steps
    phases: ClassVar[tuple[Phase, ...]] = (
        Phase(epochs=30, batch_size=8, min_steps=600, max_steps=20_000, lr=2e-3, schedule="onecycle", average=0.1),
    )
    classes: tuple[str, ...]
    input: InputSpec = field(default_factory=lambda: InputSpec((256, 320)))
    augment: Literal["none", "flip", "flip_scale", "all"] = "all"
    threshold: float = 0.05
    overlap: float = 0.5
    top: int = 100
    confident: float = 0.3

    def __post_init__(self) -> None:
        twice = [name for name in self.classes if self.classes.count(name) > 1]
        if twice:
            raise ConfigError(f"class {twice[0]!r} is listed twice: class names must differ")
        if not self.classes:
            raise ConfigError("detection needs at least one class, got none")
        for name in ("threshold", "overlap", "confident"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} is {getattr(self, name)}: give a number from 0 to 1")
        if self.top < 1:
            raise ConfigError(f"top is {self.top}: keep at least one box of an image")
        if self.input.crop != 1:
            raise ConfigError("a central crop would cut boxes off: set crop: 1")

    # ---- labels -----------------------------------------------------------------------------------------------------

    def load(self, raw: Json) -> Boxes:
        """The boxes of a raw label; what leaves the image is cut off, a box without area is ignored.

        Raises:
            DataError: something that is no label, with the object and what is allowed.
        """
        if isinstance(raw, Boxes):
            return raw
        self.kind.check(raw, self.classes, None)
        things, index_of = raw["objects"], {name: number for number, name in enumerate(self.classes)}
        scores = [thing.get("score") for thing in things]
        boxes = Boxes.of_pixels(
            [thing["box"] for thing in things],
            [index_of[thing["class"]] for thing in things],
            size=(raw["size"][0], raw["size"][1]),
            ignore=[bool(thing.get("crowd") or thing.get("difficult")) for thing in things],
            scores=None if None in scores or not scores else scores,
        )
        return replace(boxes, raw=raw)

    def dump(self, target: Boxes) -> Json:
        """The raw form in pixels; to the digit what it was loaded from."""
        if target.raw is not None:
            return target.raw
        things: list[dict[str, Any]] = []
        scores = [None] * len(target) if target.scores_G is None else target.scores_G.tolist()
        rows = zip(target.pixels_G4.tolist(), target.class_G.tolist(), target.ignore_G.tolist(), scores, strict=True)
        for corners, number, ignored, score in rows:
            thing: dict[str, Any] = {"class": self.classes[number], "box": [round(value, 3) for value in corners]}
            if ignored and corners[0] < corners[2] and corners[1] < corners[3]:
                thing["difficult"] = True
            if score is not None:
                thing["score"] = round(score, 6)
            things.append(thing)
        return {"size": list(target.size), "objects": things}

    def objects(self, target: Boxes) -> list[int]:
        """Class index of each object, ignored ones too: people have drawn them."""
        return [int(number) for number in target.class_G.tolist()]

    def collate(self, targets: Sequence[Boxes]) -> tuple[Boxes, ...]:
        """As they are: images differ in how many objects they hold."""
        return tuple(targets)

    # ---- training ---------------------------------------------------------------------------------------------------

    def batch(
        self, images: Tensor, targets: Sequence[Boxes] | None, *, train: bool, rng: torch.Generator | None = None
    ) -> Batch:
        """Normalised images with their boxes, changed at random when ``train``."""
        images = self.input.normalise(images)
        boxes = [Boxes.none((1, 1))] * len(images) if targets is None else list(targets)
        if train and self.augment != "none":
            images, boxes = augment.flipped(images, boxes, rng)
            if self.augment != "flip":
                images, boxes = augment.rescaled(images, boxes, rng)
            if self.augment == "all":
                images = augment.recoloured(images, rng)
        return Batch(images, None if targets is None else self.collate(boxes))

    def loss(self, model: nn.Module, batch: Batch) -> Losses:
        """The detector's own named parts, normalised as it was published: mostly by the number of positives."""
        losses: Losses = model(batch.images, batch.targets)
        return losses

    # ---- outputs ----------------------------------------------------------------------------------------------------

    @property
    def keep(self) -> Keep:
        """Which boxes count as detected."""
        return Keep(self.threshold, self.overlap, self.top)

    def outputs(self, model: nn.Module, batch: Batch, want: frozenset[Field]) -> Outputs:
        """The boxes that count as detected, by image, from the highest score down."""
        found: Detections = model(batch.images, None, self.keep)
        _check_width(found, len(self.classes))
        extra = {"boxes": found.boxes_U4, "scores": found.scores_U, "labels": found.labels_U, "place": found.place_U}
        if "unit_embedding" in want:
            extra["unit_embedding"] = found.features_UD
        if "embedding" in want:
            extra["embedding"] = found.images_BD
        return Outputs(len(batch), found.item_U, found.probs_UC, found.exclusive, found.scores_U, extra)

    def redrawn(self, model: nn.Module, batch: Batch, first: Outputs, want: frozenset[Field]) -> Outputs:
        """What the model says now, at the places where the boxes of the first pass were read, of those boxes.

        ``boxes`` are the model's new corners, in the frame of the first pass; scores and labels stay the first ones.
        """
        extra = first.extra
        none = extra["scores"].new_zeros(0)
        known = (first.unit_item_U, extra["boxes"], extra["scores"], extra["labels"], first.probs_UC, extra["place"])
        at = Detections(*known, features_UD=none, images_BD=none, exclusive=first.exclusive)
        probs_UC, boxes_U4 = model(batch.images, None, None, at, batch.moved)
        return replace(first, probs_UC=probs_UC, extra={**extra, "boxes": boxes_U4})

    def judged(
        self, model: nn.Module, batch: Batch, label_of: Callable[[Outputs], Sequence[Boxes]]
    ) -> tuple[Outputs, Losses]:
        """As for every task; the detector computes its maps once."""
        return super().judged(SeenOnce(model) if isinstance(model, Detector) else model, batch, label_of)

    def predictions(self, outputs: Outputs, confident: float | None = None) -> list[Prediction[Boxes]]:
        """The confident boxes of each image with their scores; the score of an image is that of its surest box.

        ``size`` is that of the model's input: ``resized`` gives the boxes the size of the original.
        """
        (height, width), lowest = self.input.size, self.confident if confident is None else confident
        found = []
        for image in range(outputs.size):
            rows = (outputs.unit_item_U == image) & (outputs.extra["scores"] >= lowest)
            scores_G = outputs.extra["scores"][rows].float()
            ignore_G = torch.zeros(len(scores_G), dtype=torch.bool, device=scores_G.device)
            corners_G4, class_G = outputs.extra["boxes"][rows].float(), outputs.extra["labels"][rows]
            boxes = Boxes(corners_G4, class_G, ignore_G, (width, height), scores_G)
            found.append(Prediction(boxes, float(scores_G.max()) if len(scores_G) else 0.0))
        return found

    def guesses(self, learner: Learner, source: Source, ids: Sequence[str]) -> Iterator[tuple[str, Json]]:
        """The boxes of each image that the model is confident of, with their scores.

        Raises:
            UnmetNeed: the learner finds no boxes.
        """
        signals = {name: Units(name) for name in ("boxes", "scores", "labels")}
        if learner.weights is None:
            return
        if not all(signal.fields <= learner.provides for signal in signals.values()):
            raise UnmetNeed("the learner finds no boxes that could be offered to people: leave the predictions out")
        table = learner.collect(Examples(source, tuple(ids)), frozenset(signals.values()))
        columns = {name: table.ragged(signal) for name, signal in signals.items()}
        for row, item in enumerate(table.ids):
            start, stop = columns["boxes"][1][row : row + 2]
            width, height = source.size(item)
            parts = [columns[name][0][start:stop].tolist() for name in ("boxes", "scores", "labels")]
            things = [
                {
                    "class": self.classes[int(label)],
                    "box": [round(side * value, 2) for side, value in zip((width, height) * 2, box, strict=True)],
                    "score": round(score, 6),
                }
                for box, score, label in zip(*parts, strict=True)
                if score >= self.confident
            ]
            yield item, {"size": [width, height], "objects": things}

    def imported(
        self,
        found: Iterable[tuple[str, Record]],
        naming: Naming,
        ids: Sequence[str],
        size_of: Callable[[str], tuple[int, int] | None] = lambda item: None,
    ) -> FromFile:
        """A learner of boxes with scores, or of embeddings of images alone.

        Raises:
            FormatError: numbers that do not fit, with file and row.
            UnmetNeed: there are class probabilities of whole images.
        """
        return of_objects(self, Told(found, naming, ids, size_of))

    def metrics(self) -> Metrics:
        """Average precision as COCO and as PASCAL VOC have it."""
        from labelwise.tasks.detection_metrics import DetectionMetrics

        return DetectionMetrics(self.classes)

    def chance(self, targets: Iterable[Boxes]) -> Chance | None:
        """Nothing: boxes put down without looking find hardly an object."""
        return Chance(0.0, "boxes put down without looking")

    @property
    def default_name(self) -> str:
        """The small one-level detector, with a trunk of its own."""
        return "centre"

    def check_model(self, model: nn.Module) -> None:
        """Refuses what is no detector.

        Raises:
            ConfigError: says what to subclass.
        """
        if not isinstance(model, Detector):
            raise ConfigError(
                f"{type(model).__name__} is no detector: give a network of torchvision.models.detection, subclass "
                "labelwise.models.detectors.Detector (docs/extending/detectors.md), or name one of ours"
            )

    def adapted(self, model: nn.Module) -> nn.Module:
        """A detector of ours as it is, one of torchvision by its type.

        Raises:
            ConfigError: it is neither.
        """
        from labelwise.models.torchvision_detectors import of_ones_own

        found = of_ones_own(model, len(self.classes), self.input)
        self.check_model(found)
        return found

    @classmethod
    def model_names(cls) -> list[str]:
        """The small detector and torchvision's."""
        from labelwise.models.torchvision_detectors import DETECTORS

        return list(DETECTORS)

    def named_model(self, name: str, weights: str | None = None) -> nn.Module:
        """A detector by name; see ``labelwise.models.torchvision_detectors.build_detector``."""
        from labelwise.models.torchvision_detectors import build_detector

        model = build_detector(name, len(self.classes), self.input, weights=weights)
        self.check_model(model)
        return model


def _check_width(found: Detections, classes: int) -> None:
    needed = classes + found.exclusive
    if found.probs_UC.shape[1] != needed:
        background = " and one for the background" if found.exclusive else ""
        raise ConfigError(
            f"the detector gives {found.probs_UC.shape[1]} probabilities for a box where {needed} are needed: "
            f"one for each class{background}"
        )
