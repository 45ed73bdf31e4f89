"""Maps of regions: every image is cut once, and the map is kept under the image's content."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, UnidentifiedImageError

from labelwise.contracts.source import Source
from labelwise.data.superpixels import Superpixels
from labelwise.errors import DataError
from labelwise.formats.files import write_whole

if TYPE_CHECKING:
    from labelwise.contracts.progress import Progress

#: maps kept in memory, in bytes
KEPT_BYTES = 256 << 20


class RegionMaps:
    """uint16 (H, W) by image, regions numbered from 1; 16-bit PNG on disk.

    Args:
        source: reads the images.
        superpixels: how they are cut.
        folder: where maps are kept, below one folder for each way of cutting; None keeps them in memory alone.
    """

    def __init__(self, source: Source, superpixels: Superpixels, folder: Path | None) -> None:
        self._source = source
        self._superpixels = superpixels
        self._folder = None if folder is None else folder / superpixels.digest
        self._kept: dict[str, np.ndarray] = {}
        self._bytes = 0

    def __getitem__(self, image: str) -> np.ndarray:
        if image not in self._kept:
            found = self._read(image)
            if self._bytes + found.nbytes > KEPT_BYTES:
                self._kept.clear()
                self._bytes = 0
            self._kept[image] = found
            self._bytes += found.nbytes
        return self._kept[image]

    def counts(self, images: Sequence[str], progress: Progress | None) -> dict[str, int]:
        """Regions of each image; none of one that cannot be read. Cuts what was not cut before."""
        known = self._known_counts()
        contents = dict(zip(images, self._source.content(images), strict=True))
        new = [image for image in images if contents[image] and contents[image] not in known]
        workers = min(4, os.cpu_count() or 1)
        with ThreadPoolExecutor(workers) as pool:
            for done, (image, count) in enumerate(zip(new, pool.map(self._count, new), strict=True), 1):
                known[contents[image]] = count
                if progress is not None:
                    progress("cutting images into regions", done, len(new))
        if new and self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
            write_whole(self._folder / "counts.json", json.dumps(known).encode())
        return {image: known.get(contents[image], 0) for image in images}

    def _count(self, image: str) -> int:
        try:
            return int(self[image].max())
        except DataError:
            return 0

    def _known_counts(self) -> dict[str, int]:
        if self._folder is None or not (self._folder / "counts.json").is_file():
            return {}
        try:
            found: dict[str, int] = json.loads((self._folder / "counts.json").read_text())
        except ValueError:  # cut off by a full disk: all of it can be counted again
            return {}
        return found

    def _read(self, image: str) -> np.ndarray:
        """From disk, or cut now."""
        content = self._source.content([image])[0]
        file = None if self._folder is None or not content else self._folder / f"{content}.png"
        if file is not None and file.is_file():
            try:
                with Image.open(file) as opened:
                    return np.array(opened, dtype=np.uint16)
            except (OSError, UnidentifiedImageError):
                pass  # cut anew
        pixels = self._source.load(image)
        if not isinstance(pixels, np.ndarray):
            raise DataError(f"{image!r} is prepared as a tensor: regions are cut from images, give those")
        regions = self._superpixels.cut(pixels)
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            out = io.BytesIO()
            Image.fromarray(regions).save(out, "PNG")
            write_whole(file, out.getvalue())
        return regions
