"""Boxes as vectors: what a frozen backbone says of the part of an image that lies in each box.

Shape letters: G boxes of one image, U boxes of all images end to end, D features, B crops of a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from labelwise.contracts.learner import Examples, LearnerData
from labelwise.contracts.progress import Progress, silent
from labelwise.contracts.signal import Signal, SignalRole, SignalTable
from labelwise.contracts.source import Source
from labelwise.data.loader import ahead
from labelwise.data.views import View
from labelwise.errors import DataError
from labelwise.learners.backbones import Backbone
from labelwise.learners.features import FROZEN, FeatureSource
from labelwise.rng import digest
from labelwise.signals.units import Units

#: crops that go through the backbone together
BATCH = 128
VECTORS = Units("unit_embedding")


def vectors_of(
    features: FeatureSource, view: Examples, boxes_of: Mapping[str, np.ndarray], progress: Progress = silent
) -> SignalTable:
    """A vector for each box of each image: the frozen backbone looks at the crop, squeezed to its input.

    Rows are kept with the frozen features, under the content of the image and its boxes, so that another file with the
    same boxes reads nothing anew.

    Args:
        features: the backbone, and where rows are kept.
        view: the images.
        boxes_of: (G, 4) corners in fractions of the image's sides, by id.
        progress: told after each image.

    Returns:
        Ragged rows (U, D) of ``VECTORS``; images that cannot be read are ``failed``.

    Cost:
        One pass of the backbone over the crops; 128 of them in memory.
    """
    boxed = Examples(_Boxed(view.source, boxes_of), view.ids)
    return features.cache.table(_Crops(features, boxes_of), boxed, frozenset({VECTORS}), progress=progress)


class _Boxed(View):
    """Images whose content is told by their boxes, too: other boxes, other rows."""

    def __init__(self, source: Source, boxes_of: Mapping[str, np.ndarray]) -> None:
        super().__init__(source)
        self._boxes_of = boxes_of

    def content(self, item_ids: Sequence[str]) -> list[str]:
        """A digest of image and boxes; "" for an image that cannot be read."""
        found = self.source.content(item_ids)
        pairs = zip(item_ids, found, strict=True)
        return [digest(own, self._boxes_of[item].tobytes().hex()) if own else "" for item, own in pairs]


class _Crops:
    """One pass of the backbone over the crops of images: what the cache calls for rows that it lacks."""

    def __init__(self, features: FeatureSource, boxes_of: Mapping[str, np.ndarray]) -> None:
        self.features = features
        self.boxes_of = boxes_of

    def signal_key(self, signal: Signal, *, data: LearnerData | None = None, seed: int = 0) -> str:
        """Backbone and transform; which boxes is told by the content."""
        return digest("crops", self.features.signal_key(FROZEN))

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
        """Rows of all images of the view that can be read."""
        spec = replace(self.features.backbone.input, crop=1.0)
        ids: list[str] = []
        failed: dict[str, str] = {}
        waiting: list[Tensor] = []
        parts: list[np.ndarray] = []
        with torch.inference_mode():
            for item, image in ahead(self._images(view)):
                if isinstance(image, str):
                    failed[item] = image
                else:
                    ids.append(item)
                    waiting += [_prepared(crop, spec) for crop in _crops(image, self.boxes_of[item])]
                while len(waiting) >= BATCH:
                    parts.append(self._rows(waiting[:BATCH]))
                    waiting = waiting[BATCH:]
                progress("reading boxes", len(ids) + len(failed), len(view))
            if waiting or not parts:
                parts.append(self._rows(waiting))
        counts = [len(self.boxes_of[item]) for item in ids]
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        return SignalTable(tuple(ids), {VECTORS: (np.concatenate(parts), offsets)}, failed)

    def _images(self, view: Examples) -> Iterator[tuple[str, Any]]:
        """Each image, or why it cannot be read."""
        for item in view.ids:
            try:
                yield item, view.source.load(item) if len(self.boxes_of[item]) else np.zeros((1, 1, 1), np.uint8)
            except DataError as error:
                yield item, str(error)

    def _rows(self, crops: list[Tensor]) -> np.ndarray:
        """(B, D) as kept on disk; without a crop none, of the right width."""
        backbone: Backbone = self.features.backbone
        spec = backbone.input
        batch = torch.stack(crops) if crops else torch.zeros(1, spec.channels, *spec.size, dtype=torch.uint8)
        rows_BD = backbone(batch).cpu()[: len(crops)]
        if not bool(rows_BD.isfinite().all()):
            raise DataError("the features of a box hold NaN or infinity: check the weights of the backbone")
        found: np.ndarray = rows_BD.numpy()
        return found


def _crops(image: np.ndarray | Tensor, boxes_G4: np.ndarray) -> Iterator[np.ndarray | Tensor]:
    """The pixels that each box touches, at least one."""
    tensor = isinstance(image, Tensor)
    height, width = image.shape[-2:] if tensor else image.shape[:2]
    for x1, y1, x2, y2 in boxes_G4.tolist():
        left, top = min(int(x1 * width), width - 1), min(int(y1 * height), height - 1)
        right, bottom = max(left + 1, int(np.ceil(x2 * width))), max(top + 1, int(np.ceil(y2 * height)))
        yield image[..., top:bottom, left:right] if tensor else image[top:bottom, left:right]


def _prepared(crop: np.ndarray | Tensor, spec: Any) -> Tensor:
    """At the size of the backbone's input."""
    if isinstance(crop, Tensor) and crop.is_floating_point():
        return F.interpolate(crop[None], spec.size, mode="bilinear", antialias=True, align_corners=False)[0]
    prepared: Tensor = spec.prepare(crop)
    return prepared


#: gives the frozen features of a project, when somebody reads them
Features = Callable[[], FeatureSource]
