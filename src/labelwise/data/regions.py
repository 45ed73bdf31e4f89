"""Regions of images as what is asked: a source whose pool holds every image and the superpixels it is cut into."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from labelwise.contracts.record import IGNORE
from labelwise.contracts.source import Source
from labelwise.data.mask_labels import mask_of
from labelwise.data.region_answers import Annotation, RegionAnswers
from labelwise.data.region_maps import RegionMaps
from labelwise.data.superpixels import Superpixels
from labelwise.data.views import View
from labelwise.errors import ConfigError, DataError, PoolError
from labelwise.kinds.clicks import polygon_clicks
from labelwise.rng import digest

if TYPE_CHECKING:
    from labelwise.contracts.progress import Progress


class Regions(View):
    """The images of a source, and below each image of the pool the regions it is cut into.

    An item ``street.png#17`` is region 17 of ``street.png``. Images keep their own items: a campaign starts with whole
    images, and an image that is labelled as a whole covers its regions. What a region is to a reader of images is its
    bounding box; a model that was trained on whole images reads the image once for all of its regions.

    In simulated campaigns ``truth`` says what an annotator would answer for a region:

    - ``pixels``: the class of each of its pixels;
    - ``dominant``: one click, the class of most of them, taken for all of them;
    - ``instances``: every instance that the region touches, whole; SuperAnnotate's published simulation. Where the
      source knows no instances, all pixels of a class are one, as the published one has it for "stuff".

    Args:
        source: the images, with masks as labels.
        superpixels: how images are cut.
        folder: where maps of regions are kept; None cuts anew in each process.
        annotate: what a simulated annotator does.
        progress: told while images are cut.

    Raises:
        DataError: an image is called like a region of another.

    Cost: cutting, once for each image; afterwards two numbers an image are read.
    """

    def __init__(
        self,
        source: Source,
        superpixels: Superpixels,
        *,
        folder: Path | None = None,
        annotate: Annotation = "pixels",
        progress: Progress | None = None,
    ) -> None:
        super().__init__(source)
        if annotate not in get_args(Annotation):
            raise ConfigError(f"nobody annotates {annotate!r}: use {', '.join(get_args(Annotation))}")
        self.superpixels, self.annotate = superpixels, annotate
        self._clicks: dict[str, int] = {}
        self._maps = RegionMaps(source, superpixels, folder)
        pool = [item for item in source.ids if source.roles.get(item, "pool") == "pool"]
        self.counts = self._maps.counts(pool, progress)
        self._within = {
            f"{image}#{number}": (image, number) for image, n in self.counts.items() for number in range(1, n + 1)
        }
        images = set(source.ids)
        if twice := next((item for item in self._within if item in images), None):
            raise DataError(f"the image {twice!r} is called like a region of another image: rename it")
        self.ids = tuple(sorted([*source.ids, *self._within]))
        self.truth = RegionAnswers(self)
        self.groups = {
            item: source.groups[self.image_of(item)] for item in self.ids if self.image_of(item) in source.groups
        }

    def __repr__(self) -> str:
        return f"Regions({self.source!r}, {self.superpixels!r}, {self.annotate})"

    # ---- regions ----------------------------------------------------------------------------------------------------

    def image_of(self, item_id: str) -> str:
        """The image that an item lies in."""
        found = self._within.get(item_id)
        return item_id if found is None else found[0]

    def within(self, item_id: str) -> tuple[str, str | None]:
        """The image of an item, and its region as the pool writes it down."""
        found = self._within.get(item_id)
        return (item_id, None) if found is None else (found[0], f"map:{self.superpixels.digest}#{found[1]}")

    def number(self, item_id: str) -> int:
        """Number of a region in the map of its image.

        Raises:
            PoolError: no such region, with the range that exists.
        """
        if item_id in self._within:
            return self._within[item_id][1]
        image, _, number = item_id.rpartition("#")
        if image in self.counts:
            raise PoolError(f"{image!r} has no region {number!r}: its regions are 1 to {self.counts[image]}")
        raise PoolError(f"no item is called {item_id!r}: a region is called IMAGE#NUMBER")

    def map_of(self, image_id: str) -> np.ndarray:
        """uint16 (H, W): the region of each pixel of an image, from 1."""
        return self._maps[image_id]

    def outline(self, item_id: str) -> tuple[np.ndarray, tuple[int, int]]:
        """Bool mask of a region in its bounding box, and (x, y) of the box in the image."""
        inside = self.map_of(self.image_of(item_id)) == self.number(item_id)
        rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
        top, left = int(rows[0]), int(columns[0])
        return inside[top : rows[-1] + 1, left : columns[-1] + 1], (left, top)

    def price(self, item_id: str) -> dict[str, float]:
        """What the simulated annotator pays for an item beside what can be counted from the label: clicks."""
        if item_id not in self._within:
            return {}
        if self.annotate == "dominant":
            return {"clicks": 1.0}
        mask = mask_of(self.truth[item_id])
        # one class fills a region with one click
        one = len(np.unique(mask.classes_HW[mask.known])) <= 1
        return {"clicks": 1.0 if one and self.annotate == "pixels" else float(polygon_clicks(mask.classes_HW.numpy()))}

    def expected_cost(self, item_ids: Sequence[str], unit: str) -> np.ndarray | None:
        """Pixels of each region; clicks to outline it with a polygon, or one where its class is all that is asked."""
        if unit not in ("pixels", "clicks") or any(item not in self._within for item in item_ids):
            return None
        if unit == "clicks" and self.annotate == "dominant":
            return np.ones(len(item_ids))
        areas: dict[str, np.ndarray] = {}
        cost = np.empty(len(item_ids))
        for row, item in enumerate(item_ids):
            image, number = self._within[item]
            if unit == "clicks":
                cost[row] = self._outline_clicks(item)
            else:
                if image not in areas:
                    areas[image] = np.bincount(self.map_of(image).ravel())
                cost[row] = areas[image][number]
        return cost

    def _outline_clicks(self, item_id: str) -> int:
        if item_id not in self._clicks:
            inside, _ = self.outline(item_id)
            self._clicks[item_id] = polygon_clicks(np.where(inside, 0, IGNORE).astype(np.uint8))
        return self._clicks[item_id]

    # ---- images -----------------------------------------------------------------------------------------------------

    def load(self, item_id: str) -> Any:
        """The image, or the bounding box of a region."""
        image = self.source.load(self.image_of(item_id))
        if item_id not in self._within:
            return image
        inside, (x, y) = self.outline(item_id)
        height, width = inside.shape
        return image[y : y + height, x : x + width]

    def content(self, item_ids: Sequence[str]) -> list[str]:
        """Digests: of a region that of its image with its number and how it was cut."""
        images = self.source.content([self.image_of(item) for item in item_ids])
        return [
            content if not content or item not in self._within else digest(content, *map(str, self.within(item)))
            for item, content in zip(item_ids, images, strict=True)
        ]

    def stat_key(self, item_ids: Sequence[str]) -> list[str] | None:
        """As the image's, with the region."""
        found = self.source.stat_key([self.image_of(item) for item in item_ids])
        if found is None:
            return None
        return [stat and f"{stat}{self.within(item)[1] or ''}" for item, stat in zip(item_ids, found, strict=True)]

    def path(self, item_id: str) -> str:
        """Of the image, with the number of a region behind it."""
        image = self.image_of(item_id)
        return f"{self.source.path(image)}{item_id[len(image) :]}"

    def size(self, item_id: str) -> tuple[int, int]:
        """Of the image: labels of regions say where in it they lie."""
        return self.source.size(self.image_of(item_id))

    def batch(self, item_ids: Sequence[str]) -> np.ndarray | None:
        """As the original, for whole images."""
        return None if any(item in self._within for item in item_ids) else self.source.batch(item_ids)

    def thumbnail(self, item_id: str, max_side: int) -> np.ndarray:
        """The image as people see it; of a region its bounding box."""
        return (
            Source.thumbnail(self, item_id, max_side)
            if item_id in self._within
            else super().thumbnail(item_id, max_side)
        )
