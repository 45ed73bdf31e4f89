"""Somebody else's segmentation as a learner: probabilities of every pixel, or masks and how sure they are.

Shape letters: H x W pixels of an image, h x w of the grid that is worked on, C classes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from labelwise.contracts.kind import Naming
from labelwise.contracts.learner import Examples, LearnerData
from labelwise.contracts.progress import Progress, silent
from labelwise.contracts.record import IGNORE, Mask, Record
from labelwise.contracts.signal import Signal, SignalRole, SignalTable
from labelwise.contracts.task import Batch, Field, Outputs, Task
from labelwise.data.regions import Regions
from labelwise.errors import FormatError, UnmetNeed
from labelwise.learners.gathered import TOLERANCE, Told
from labelwise.learners.imported import FromFile, content, no_draws, with_classes
from labelwise.learners.inference import Collector, wanted_fields
from labelwise.learners.regions import RegionsOfBatch, asks_regions, taken
from labelwise.rng import digest

#: numbers of the probabilities of an image that are worked on: larger maps are shrunk for choosing, not for metrics
MOST_WORKED = 8_000_000
#: how far probabilities of bytes, or of half precision, may be from summing to one
_ROUNDING = 0.02


@dataclass(frozen=True)
class PixelMaps:
    """What a file says of the pixels of one image, read when it is asked for.

    Args:
        record: with ``maps``, or ``pixels`` and perhaps ``sure``.
        columns: of each class of the project, its place among those of the file; -1 where the file has it not.
    """

    record: Record
    columns: tuple[int, ...]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        mask = self.record.maps or self.record.pixels
        assert mask is not None, "a record without pixels is refused before"
        return mask.size

    def probabilities(self) -> Tensor:
        """(C, H, W) float32; NaN where a mask names no class.

        Raises:
            FormatError: numbers that are no probabilities, or values that are no class.
        """
        if self.record.maps is not None:
            return self._of_maps(self.record.maps)
        assert self.record.pixels is not None
        return self._of_mask(self.record.pixels)

    def _of_maps(self, maps: Mask) -> Tensor:
        found_HWC, where = maps.read(), self.record.where
        low, high = float(found_HWC.min()), float(found_HWC.max())
        if not (low >= 0 and high <= 1 + TOLERANCE):  # NaN too
            odd = high if low >= 0 else low
            raise FormatError(f"{where}: the map holds {odd:.6g}; give probabilities from 0 to 1, not logits")
        sum_HW = found_HWC.sum(2)
        off = float(np.abs(sum_HW - 1).max())
        if off > _ROUNDING:
            y, x = np.unravel_index(int(np.abs(sum_HW - 1).argmax()), sum_HW.shape)
            raise FormatError(
                f"{where}: probabilities of the pixel x {x}, y {y} sum to {sum_HW[y, x]:.6g}; classes exclude each "
                "other, so give the softmax, which sums to 1"
            )
        found_HWC /= sum_HW[..., None]
        return torch.from_numpy(np.stack([found_HWC[..., column] for column in self.columns]))

    def _of_mask(self, pixels: Mask) -> Tensor:
        """Of the class of a pixel its confidence, of the others the rest in equal parts."""
        said_HW, classes = pixels.read(), len(self.columns)
        table = np.full(IGNORE + 1, -1, np.int64)
        for own, column in enumerate(self.columns):
            if column >= 0:
                table[column] = own
        own_HW = torch.from_numpy(table[said_HW])
        sure_HW = torch.ones(own_HW.shape) if self.record.sure is None else torch.from_numpy(self.record.sure.read())
        sure_HW = sure_HW.clamp_min(1 / classes)  # less would say that another class is likelier
        rest_HW = (1 - sure_HW) / (classes - 1)
        probs_CHW = rest_HW.expand(classes, -1, -1).clone()
        probs_CHW.scatter_(0, own_HW.clamp_min(0)[None], sure_HW[None])
        probs_CHW[:, own_HW < 0] = math.nan
        return probs_CHW


class ImportedMaps(FromFile):
    """Segmentations by id, made elsewhere; one is read at a time.

    For choosing, and for what is offered to people, maps are brought to one size, the commonest among them; metrics are
    measured on each as it is.

    Args:
        task: what was learnt, at the size that is worked on.
        maps: id -> what the file says.
        sure: whether it says how sure it is: masks alone can be measured, and not chosen by.
        notes: what people should know, one line each.
        weights: digest of the content.
    """

    def __init__(
        self, task: Task[Any], maps: Mapping[str, PixelMaps], *, sure: bool, notes: Sequence[str], weights: str
    ) -> None:
        super().__init__(task, list(maps), weights)
        self._maps = maps
        self._sure = sure
        self.notes = tuple(notes)

    @property
    def provides(self) -> frozenset[Field]:
        """Pixels, where the file says how sure it is of them."""
        return frozenset({"probs", "per_pixel"}) if self._sure else frozenset()

    def _outputs(self, rows: list[int]) -> Outputs:
        """Of one image, at the size that is worked on."""
        (item,) = (self.ids[row] for row in rows)
        height, width = self.task.input.size
        probs_CHW = self._maps[item].probabilities()
        if probs_CHW.shape[1:] != (height, width):
            probs_CHW = F.interpolate(
                probs_CHW[None], (height, width), mode="bilinear", align_corners=False, antialias=True
            )[0]
        return _pixels(probs_CHW)

    def evaluate(self, view: Examples, *, progress: Progress = silent) -> dict[str, float]:
        """Metrics on labelled images, or regions of them, that have a prediction; each map at its own size."""
        metrics = self.task.metrics()
        for row, item in enumerate(view.ids):
            image = view.source.within(item)[0]
            if image in self._row and view.targets is not None:
                probs_CHW = self._maps[image].probabilities()
                sides = torch.tensor(probs_CHW.shape[1:])
                metrics.update(_pixels(probs_CHW).with_extra({"sides": sides}), [view.targets[row]])
            progress("reading predictions", row + 1, len(view))
        return metrics.compute()

    def collect(
        self,
        view: Examples,
        signals: frozenset[Signal],
        *,
        role: SignalRole = "pool",
        data: LearnerData | None = None,
        seed: int = 0,
        progress: Progress = silent,
    ) -> SignalTable:
        """Rows of the images, or of regions of images, that have a prediction; the others are reported as failed.

        Raises:
            UnmetNeed: embeddings of regions, which the file does not hold.
        """
        image_of = {item: view.source.within(item)[0] for item in view.ids}
        images = [image for image in dict.fromkeys(image_of.values()) if image in self._row]
        failed = {item: "the predictions have no row for it" for item in view.ids if image_of[item] not in self._row}
        regions = view.source if asks_regions(view) else None
        if regions is not None and wanted_fields(signals) - {"probs", "per_pixel"}:
            raise UnmetNeed("the file of predictions holds no embeddings of regions: choose another strategy")
        collector, found = Collector(signals, no_draws, {}, role), list[str]()
        for done, image in enumerate(images, 1):
            outputs = self._outputs([self._row[image]])
            found.append(image)
            if isinstance(regions, Regions):
                outputs = self._of_regions(regions, image, outputs)
                found[-1:] = [f"{image}#{number}" for number in range(1, outputs.size + 1)]
            collector.add(None, Batch(torch.empty(outputs.size, 0)), partial(_given, outputs))
            progress("reading predictions", done, len(images))
        table = SignalTable(tuple(found), collector.columns(), failed)
        return table if regions is None else taken(table, [item for item in view.ids if item not in failed])

    def _of_regions(self, regions: Regions, image: str, outputs: Outputs) -> Outputs:
        cut = torch.from_numpy(regions.map_of(image).astype("int32"))
        return RegionsOfBatch.of([cut], self.task.input.size, torch.device("cpu")).of_outputs(outputs)


def of_pixels(task: Task[Any], told: Told) -> ImportedMaps:
    """A learner of what records say of the pixels of whole images.

    Args:
        task: what was learnt; with the classes of the file, where the project has none.
        told: the records, each with ``maps``, or with ``pixels`` and perhaps ``sure``.

    Raises:
        FormatError: an image twice, a part of one, nothing said of pixels, classes that the file does not have.
    """
    records: dict[str, Record] = {}
    for item, record in told.rows:
        if item in records:
            raise FormatError(f"{record.where}: {item!r:.80} stands in {records[item].where} too; keep one")
        if record.region is not None:
            raise FormatError(f"{record.where} speaks of a part of an image: give predictions of whole images")
        if record.maps is None and record.pixels is None:
            raise FormatError(f"{record.where}: nothing is said of the pixels of {item!r:.80}")
        records[item] = record
    if not records:
        raise FormatError("the predictions speak of no image of this project: is this a file for other images?")
    first = next(iter(records.values()))
    named = with_classes(task, told.naming.classes) if task.classes != told.naming.classes else task
    columns = _columns(told.naming, named.classes, whole=first.maps is not None)
    sure = first.maps is not None or first.sure is not None
    if odd := next((r for r in records.values() if (r.maps is not None or r.sure is not None) != sure), None):
        lacking = odd if sure else first
        raise FormatError(f"{lacking.where} has no confidence, and others have: give one for each mask, or none")
    maps = {item: PixelMaps(record, columns) for item, record in sorted(records.items())}
    size, notes = _size(maps, len(named.classes))
    if not sure:
        notes = [*notes, "the masks have no confidence beside them: they can be measured, and not chosen by"]
    worked = replace(named, input=replace(named.input, size=size))  # type: ignore[type-var]
    return ImportedMaps(worked, maps, sure=sure, notes=notes, weights=_content(maps))


def _columns(naming: Naming, classes: Sequence[str], *, whole: bool) -> tuple[int, ...]:
    """Of each class of the project its place in the file; maps need all of them, masks those that occur."""
    own = [naming.of(name) for name in naming.head.classes] or list(classes)
    columns = tuple(own.index(name) if name in own else -1 for name in classes)
    if whole and -1 in columns:
        raise FormatError(f"the maps have no layer for {classes[columns.index(-1)]!r}; give one for each class")
    return columns


def _size(maps: Mapping[str, PixelMaps], classes: int) -> tuple[tuple[int, int], list[str]]:
    """Height and width that maps are brought to, and what is said of it."""
    sizes = Counter(one.size for one in maps.values())
    (width, height), common = sizes.most_common(1)[0]
    notes = []
    if len(sizes) > 1:
        notes.append(
            f"maps of {len(sizes):,} sizes: {len(maps) - common:,} of {len(maps):,} are brought to the commonest, "
            f"{width} x {height}"
        )
    if classes * height * width > MOST_WORKED:
        scale = math.sqrt(MOST_WORKED / (classes * height * width))
        small = max(1, int(width * scale)), max(1, int(height * scale))
        notes.append(f"maps of {width} x {height} pixels are looked at in {small[0]} x {small[1]} (not for metrics)")
        width, height = small
    return (height, width), notes


def _content(maps: Mapping[str, PixelMaps]) -> str:
    """Digest of what all maps say, read one by one: rows that were kept of other files are not taken for theirs."""
    return digest("maps", [(item, content(one.probabilities().numpy())) for item, one in maps.items()])


def _pixels(probs_CHW: Tensor) -> Outputs:
    """Of one image, pixel by pixel."""
    probs_UC = probs_CHW.flatten(1).T
    return Outputs(1, torch.zeros(len(probs_UC), dtype=torch.int64), probs_UC)


def _given(outputs: Outputs) -> Outputs:
    return outputs
