"""Semantic segmentation: the class of every pixel; the unit is the pixel."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labelwise.contracts.chance import Chance
from labelwise.contracts.doubt import LooksOver
from labelwise.contracts.input import InputSpec
from labelwise.contracts.kind import Naming
from labelwise.contracts.learner import Examples, Phase
from labelwise.contracts.losses import Losses
from labelwise.contracts.record import IGNORE, Record
from labelwise.contracts.targets import Mask, nearest
from labelwise.contracts.task import Batch, Field, Json, Metrics, Outputs, Prediction, Task
from labelwise.data import augment
from labelwise.data.mask_labels import raw_of
from labelwise.errors import ConfigError, DataError, UnmetNeed
from labelwise.kinds.masks import Masks, check_values, raw_mask
from labelwise.learners.gathered import Told
from labelwise.learners.imported import ImportedPredictions, of_pictures
from labelwise.learners.imported_maps import ImportedMaps, of_pixels
from labelwise.models.segmenters import said_of
from labelwise.models.trunks import with_known_trunk
from labelwise.signals.plain import PixelUncertainty
from labelwise.signals.units import Units
from labelwise.tasks.label_doubts import OfMasks

if TYPE_CHECKING:
    from labelwise.contracts.learner import Learner
    from labelwise.contracts.source import Source

#: images whose probabilities are in memory at once
_CHUNK = 4
#: what the loss of a second head weighs, as torchvision's networks were trained
AUX_WEIGHT = 0.5


@dataclass(frozen=True)
class Segmentation(Task[Mask]):
    """One class for every pixel, or none where a mask says that a pixel is to be ignored.

    A raw label is ``{"size": [width, height], "png": TEXT, "at": [x, y]}``: the base64 text of a PNG whose pixels are
    class indices, 255 for those without a class. It has the size of the original image; one that is smaller is a window
    of it, ``at`` being its upper left corner, and all pixels outside are without a class.

    Units of the outputs are the pixels of the model's *input*, image by image, row by row: scores and stochastic passes
    are computed there. Metrics are computed at the size of the masks.

    Args:
        classes: names, in index order; at least two, at most 255.
        input: how images become model input; masks are squeezed alike.
        augment: what training adds: ``none``, ``flip`` (a mirror image half of the time), ``flip_scale`` (the same, a
            factor of 0.8 to 1.25 and a move of up to a tenth of the sides) or ``all`` (the same and contrast and
            brightness). What comes in from outside is without a class. A few hundred steps learn more from ``flip``
            than from stronger changes, which want thousands.
        dice: weight of the Dice loss beside the cross-entropy, for which a class of few pixels counts as much as one of
            many; 0: cross-entropy alone.

    Raises:
        ConfigError: fewer than two classes, more than there are indices, one named twice, a central crop, or a negative
            weight.

    Example:
        >>> task = Segmentation(("road", "sky"))
        >>> mask = Mask(torch.tensor([[1, 1, 255], [0, 0, 0]], dtype=torch.uint8), size=(3, 2))
        >>> task.load(task.dump(mask)) == mask, task.kind.objects(task.dump(mask), task.classes)
        (True, ['road', 'sky'])
    """

    name: ClassVar[str] = "segmentation"
    kind: ClassVar[Masks] = Masks()
    provides: ClassVar[frozenset[Field]] = frozenset({"probs", "per_pixel", "embedding", "map_embedding"})
    looks_over: ClassVar[LooksOver] = OfMasks()
    #: thirty epochs, of few labels as many as make 1,200 steps; the weights are averages over a tenth of the steps
    phases: ClassVar[tuple[Phase, ...]] = (
        Phase(epochs=30, batch_size=4, min_steps=1200, max_steps=20_000, lr=3e-3, schedule="onecycle", average=0.1),
    )
    #: probabilities of all pixels and the maps of a full-size network are in memory at once
    inference_pixels: ClassVar[int] = 1 << 19
    classes: tuple[str, ...]
    input: InputSpec = field(default_factory=lambda: InputSpec((192, 256)))
    augment: Literal["none", "flip", "flip_scale", "all"] = "flip"
    dice: float = 1.0

    def __post_init__(self) -> None:
        twice = [name for name in self.classes if self.classes.count(name) > 1]
        if twice:
            raise ConfigError(f"class {twice[0]!r} is listed twice: class names must differ")
        if not 2 <= len(self.classes) <= IGNORE:
            raise ConfigError(
                f"segmentation needs 2 to {IGNORE} classes, got {len(self.classes)}; pixels of no class are {IGNORE}"
            )
        _check_numbers(self.input.crop, self.dice)

    # ---- labels -----------------------------------------------------------------------------------------------------

    def load(self, raw: Json) -> Mask:
        """The mask of a raw label.

        Raises:
            DataError: something that is no label, leaves the image, or holds values that are no class.
        """
        if isinstance(raw, Mask):
            check_values(raw.classes_HW.cpu().numpy(), len(self.classes))
            return raw
        indices_HW = torch.from_numpy(self.kind.checked(raw, self.classes))
        x, y = raw.get("at", (0, 0))
        return Mask(indices_HW, (raw["size"][0], raw["size"][1]), (x, y))

    def dump(self, target: Mask) -> Json:
        """The raw form, without loss."""
        return raw_of(target)

    def merge(self, targets: Sequence[Mask]) -> Mask:
        """What the masks of all regions of an image say together; what none speaks of is without a class.

        Raises:
            DataError: regions of images of different sizes.
        """
        if len(targets) == 1:
            return targets[0]
        try:
            return Mask.join(targets)
        except ValueError as error:
            raise DataError(str(error)) from error

    def objects(self, target: Mask) -> list[int]:
        """Index of each class that occurs, once."""
        counts = target.classes_HW.flatten().bincount(minlength=IGNORE + 1)[:IGNORE]
        return [int(value) for value in counts.nonzero().flatten()]

    def collate(self, targets: Sequence[Mask]) -> Tensor:
        """uint8 (B, H, W) at the size of the input, each pixel that of the nearest one of the mask."""
        return torch.stack([nearest(target.whole(), self.input.size) for target in targets])

    # ---- training ---------------------------------------------------------------------------------------------------

    def batch(
        self, images: Tensor, targets: Sequence[Mask] | None, *, train: bool, rng: torch.Generator | None = None
    ) -> Batch:
        """Normalised images with their masks, changed at random when ``train``.

        Raises:
            DataError: images that come as they are, in another size than the input's.
        """
        if tuple(images.shape[-2:]) != self.input.size:
            raise DataError(
                f"images of {images.shape[-2]} x {images.shape[-1]} pixels where {self.input.size[0]} x "
                f"{self.input.size[1]} are needed: set the input's size to theirs"
            )
        images = self.input.normalise(images)
        masks_BHW = None if targets is None else self.collate(targets).to(images.device)
        if train and self.augment != "none":
            images, masks_BHW = augment.flipped_masks(images, masks_BHW, rng)
            if self.augment != "flip":
                images, masks_BHW = augment.rescaled_masks(images, masks_BHW, rng)
            if self.augment == "all":
                images = augment.recoloured(images, rng)
        return Batch(images, masks_BHW)

    def loss(self, model: nn.Module, batch: Batch) -> Losses:
        """Cross-entropy over the pixels with a class, of which an image has its norm; and the Dice loss of each image.

        dice = 1 - the mean of (2 sum p y + 1) / (sum p + sum y + 1) over the classes of an image, summed over the same.
        Where a model in training has a second head (``aux``, as torchvision's), that head's loss counts half.
        """
        said = said_of(model, batch.images, len(self.classes))
        losses = {"cross_entropy": _cross_entropy(said.logits_BCHW, batch.targets)}
        if self.dice:
            losses["dice"] = _dice(said.logits_BCHW, batch.targets, self.dice)
        if said.aux_BCHW is not None and model.training:
            sums_B, norms_B = _cross_entropy(said.aux_BCHW, batch.targets)
            losses["aux"] = (AUX_WEIGHT * sums_B, norms_B)
        return losses

    # ---- outputs ----------------------------------------------------------------------------------------------------

    def outputs(self, model: nn.Module, batch: Batch, want: frozenset[Field]) -> Outputs:
        """Probabilities of every pixel; on demand ``embedding`` (B, D) and ``map_embedding`` (B, D, h, w).

        The embedding is the mean over places of the last map of the encoder, which ``map_embedding`` is.
        """
        said = said_of(model, batch.images, len(self.classes), maps=bool(want & {"embedding", "map_embedding"}))
        probs_UC = rows_of_pixels(said.logits_BCHW).softmax(1)
        extra: dict[Field, Tensor] = {}
        if "embedding" in want and said.maps_BDHW is not None:
            extra["embedding"] = said.maps_BDHW.mean((2, 3))
        if "map_embedding" in want and said.maps_BDHW is not None:
            extra["map_embedding"] = said.maps_BDHW
        height, width = batch.images.shape[-2:]
        item_U = torch.arange(len(batch), device=probs_UC.device).repeat_interleave(height * width)
        return Outputs(len(batch), item_U, probs_UC, extra=extra)

    def redrawn(self, model: nn.Module, batch: Batch, first: Outputs, want: frozenset[Field]) -> Outputs:
        """What the model says of the same pixels now; a changed view is laid back onto the image.

        Pixels that the view does not show keep what the first pass said of them.
        """
        found = self.outputs(model, batch, want)
        if batch.moved is None:
            return found
        height, width = batch.images.shape[-2:]
        probs_BCHW = found.probs_UC.view(len(batch), height, width, -1).permute(0, 3, 1, 2)
        back, seen_HW = augment.laid_back(probs_BCHW, batch.moved)
        seen_U1 = seen_HW.flatten().repeat(len(batch))[:, None]
        probs_UC = torch.where(seen_U1, rows_of_pixels(back), first.probs_UC)
        return Outputs(found.size, found.unit_item_U, probs_UC, extra=found.extra)

    def predictions(self, outputs: Outputs, confident: float | None = None) -> list[Prediction[Mask]]:
        """The most likely class of every pixel of the model's input; the score of an image is the mean of theirs."""
        height, width = self.input.size
        score_U, class_U = outputs.probs_UC.max(1)
        classes_BHW = class_U.to(torch.uint8).view(outputs.size, height, width)
        score_B = score_U.view(outputs.size, -1).mean(1)
        pairs = zip(classes_BHW, score_B.tolist(), strict=True)
        return [Prediction(Mask(classes_HW, (width, height)), score) for classes_HW, score in pairs]

    def guesses(self, learner: Learner, source: Source, ids: Sequence[str]) -> Iterator[tuple[str, Json]]:
        """The most likely class of every pixel at the size of each image; of a region that of its pixels alone.

        Probabilities are enlarged bilinearly before the most likely class is taken, as for the metrics.

        Raises:
            UnmetNeed: the learner says nothing of pixels.

        Cost:
            The probabilities of four images in memory.
        """
        signal = Units("probs")
        if learner.weights is None:
            return
        if not signal.fields | {"per_pixel"} <= learner.provides:
            raise UnmetNeed(
                "the learner says nothing of pixels that could be offered to people: leave the predictions out"
            )
        items: dict[str, list[str]] = {}
        for item in ids:
            items.setdefault(source.within(item)[0], []).append(item)
        images = tuple(items)
        for start in range(0, len(images), _CHUNK):
            table = learner.collect(Examples(source, images[start : start + _CHUNK]), frozenset({signal}))
            probs_UC, offsets = table.ragged(signal)
            for row, image in enumerate(table.ids):
                size = source.size(image)
                mask_HW = self._enlarged(probs_UC[offsets[row] : offsets[row + 1]], size)
                for item in items[image]:
                    if source.within(item)[1] is None:
                        yield item, raw_mask(mask_HW, size)
                        continue
                    inside, (x, y) = source.outline(item)
                    window_HW = mask_HW[y : y + inside.shape[0], x : x + inside.shape[1]]
                    yield item, raw_mask(np.where(inside, window_HW, IGNORE).astype(np.uint8), size, (x, y))

    def _enlarged(self, probs_UC: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """uint8 (H, W) of an image of ``size`` (width, height), from probabilities at the size of the input."""
        probs_CHW = torch.as_tensor(probs_UC).view(*self.input.size, -1).permute(2, 0, 1)
        large = F.interpolate(probs_CHW[None], size[::-1], mode="bilinear", align_corners=False)
        mask_HW: np.ndarray = large[0].argmax(0).to(torch.uint8).numpy()
        return mask_HW

    def doubts(self, learner: Learner, source: Source, ids: Sequence[str]) -> Iterator[tuple[str, np.ndarray]]:
        """The entropy of each pixel, at the size of the model's input."""
        signal = PixelUncertainty()
        if learner.weights is not None and signal.fields <= learner.provides:
            table = learner.collect(Examples(source, tuple(ids)), frozenset({signal}))
            for row, item in enumerate(table.ids):
                yield item, table[signal][row].reshape(self.input.size)

    def imported(
        self,
        found: Iterable[tuple[str, Record]],
        naming: Naming,
        ids: Sequence[str],
        size_of: Callable[[str], tuple[int, int] | None] = lambda item: None,
    ) -> ImportedPredictions | ImportedMaps:
        """A learner of probabilities of pixels, of masks with how sure a model is of them, or of embeddings of images.

        Raises:
            FormatError: numbers that do not fit, with file and row.
            UnmetNeed: none of them is there.
        """
        rows = iter(found)
        first = next(rows, None)
        told = Told(rows if first is None else chain([first], rows), naming, ids)
        if first is not None and (first[1].maps is not None or first[1].pixels is not None):
            return of_pixels(self, told)
        return of_pictures(self, told, probs=False)

    def metrics(self) -> Metrics:
        """Intersection over union, over the whole set."""
        from labelwise.tasks.segmentation_metrics import SegmentationMetrics

        return SegmentationMetrics(self.classes, self.input.size)

    def chance(self, targets: Iterable[Mask]) -> Chance | None:
        """What one class for every pixel reaches; one look at every mask."""
        from labelwise.tasks.segmentation_metrics import one_class_everywhere

        return one_class_everywhere(self.classes, targets)

    @property
    def default_name(self) -> str:
        """The small encoder-decoder, on a trunk that has seen photographs where one is installed."""
        return with_known_trunk("unet", self.input)

    @classmethod
    def model_names(cls) -> list[str]:
        """The small net, DRN-D-22 and torchvision's."""
        from labelwise.models.torchvision_segmenters import SEGMENTERS

        return list(SEGMENTERS)

    def named_model(self, name: str, weights: str | None = None) -> nn.Module:
        """A network by name; see ``labelwise.models.torchvision_segmenters.build_segmenter``."""
        from labelwise.models.torchvision_segmenters import build_segmenter

        return build_segmenter(name, len(self.classes), self.input, weights=weights)


def _check_numbers(crop: float, dice: float) -> None:
    if crop != 1:
        raise ConfigError("a central crop would cut masks off: set crop: 1")
    if not dice >= 0:
        raise ConfigError(f"dice is {dice}: give the Dice loss a weight of 0 or more")


def over_all_pixels(model: nn.Module, task: Segmentation, batch: Batch) -> Losses:
    """The loss with the published divisor, for ``loss: labelwise.tasks.segmentation:over_all_pixels`` in a phase.

    Every pixel counts in the divisor, those without a class too, so that an image of which little is labelled moves the
    model little. Cross-entropy alone, as it was published.
    """
    pixels = float(batch.images.shape[-2] * batch.images.shape[-1])
    parts = replace(task, dice=0.0).loss(model, batch).items()
    return {name: (sums_B, torch.full_like(norms_B, pixels)) for name, (sums_B, norms_B) in parts}


def rows_of_pixels(maps_BCHW: Tensor) -> Tensor:
    """(B H W, C): maps as rows of pixels, image by image; no copy where channels lie innermost."""
    return maps_BCHW.permute(0, 2, 3, 1).flatten(0, 2)


def _cross_entropy(logits_BCHW: Tensor, masks_BHW: Tensor) -> tuple[Tensor, Tensor]:
    losses_BHW = F.cross_entropy(logits_BCHW, masks_BHW.long(), ignore_index=IGNORE, reduction="none")
    return losses_BHW.sum((1, 2)), (masks_BHW != IGNORE).sum((1, 2)).to(losses_BHW.dtype)


def _dice(logits_BCHW: Tensor, masks_BHW: Tensor, weight: float) -> tuple[Tensor, Tensor]:
    """What is missed of the classes of each image, 0 to ``weight``, and 1 for each of which anything is known."""
    known_BHW = masks_BHW != IGNORE
    classes_C11 = torch.arange(logits_BCHW.shape[1], device=masks_BHW.device)[:, None, None]
    truth_BCHW = masks_BHW[:, None] == classes_C11
    probs_BCHW = logits_BCHW.softmax(1) * known_BHW[:, None]
    true_BC = truth_BCHW.sum((2, 3))
    hit_BC, said_BC = (probs_BCHW * truth_BCHW).sum((2, 3)), probs_BCHW.sum((2, 3))
    missed_BC = (1 - (2 * hit_BC + 1) / (said_BC + true_BC + 1)) * (true_BC > 0)
    count_B = (true_BC > 0).sum(1)
    return weight * missed_BC.sum(1) / count_B.clamp_min(1), (count_B > 0).to(probs_BCHW.dtype)
