"""What simulated annotators answer when they are asked about regions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import torch

from labelwise.contracts.record import IGNORE
from labelwise.contracts.targets import Mask
from labelwise.data.mask_labels import mask_of, raw_of
from labelwise.errors import DataError

if TYPE_CHECKING:
    from labelwise.contracts.source import Source

#: what a simulated annotator of a region does; see ``Regions``
Annotation = Literal["pixels", "dominant", "instances"]


class Cut(Protocol):
    """Images that were cut into regions, as far as answers need to know them."""

    source: Source
    ids: Sequence[str]
    annotate: Annotation

    def image_of(self, item_id: str) -> str:
        """The image that an item lies in."""

    def number(self, item_id: str) -> int:
        """Number of a region in the map of its image."""

    def map_of(self, image_id: str) -> np.ndarray:
        """The region of each pixel of an image."""


class RegionAnswers(Mapping[str, Any]):
    """What a simulated annotator says: of images as the source, of regions as ``Regions.annotate`` has it."""

    def __init__(self, regions: Cut) -> None:
        self._regions = regions
        self._whole = regions.source.truth

    def __getitem__(self, item_id: str) -> Any:
        regions = self._regions
        image = regions.image_of(item_id)
        if image == item_id:
            return self._whole[item_id]
        classes_HW = mask_of(self._whole[image]).whole().numpy()
        inside = regions.map_of(image) == regions.number(item_id)
        if inside.shape != classes_HW.shape:
            raise DataError(f"{image!r} is of {inside.shape[::-1]} pixels, and its mask of {classes_HW.shape[::-1]}")
        answer = torch.from_numpy(_answered(classes_HW, inside, regions, image))
        return raw_of(Mask(answer, inside.shape[::-1]).cropped())

    def __contains__(self, item_id: object) -> bool:
        return isinstance(item_id, str) and self._regions.image_of(item_id) in self._whole

    def __iter__(self) -> Iterator[str]:
        return (item for item in self._regions.ids if item in self)

    def __len__(self) -> int:
        return sum(item in self for item in self._regions.ids)


def _answered(classes_HW: np.ndarray, inside: np.ndarray, regions: Cut, image: str) -> np.ndarray:
    """The whole mask of one answer."""
    answer = np.full_like(classes_HW, IGNORE)
    if regions.annotate == "instances":
        known = regions.source.instances(image)
        instances = classes_HW if known is None else known
        inside = np.isin(instances, np.unique(instances[inside]))
    answer[inside] = classes_HW[inside]
    if regions.annotate == "dominant":
        counts = np.bincount(answer[answer != IGNORE], minlength=1)
        answer[inside] = counts.argmax() if counts.any() else IGNORE
    return answer
