"""What the page needs to paint masks: the class of each pixel, and superpixels that a click may fill."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

import numpy as np

from labelwise.contracts.source import read_for
from labelwise.data.superpixels import Superpixels
from labelwise.errors import ConfigError, DataError
from labelwise.kinds.masks import whole
from labelwise.serve.shared import Shared
from labelwise.serve.told import Telling, What

#: longest side at which superpixels are made, how many may be asked for, and pictures whose are kept
SIDE, COUNTS, _KEPT = 1024, (20, 3000), 16


class Pixels:
    """Masks and superpixels of single images, as bytes.

    Args:
        shared: the project.
        telling: what the model says.
    """

    def __init__(self, shared: Shared, telling: Telling) -> None:
        self.shared, self.telling = shared, telling
        self._cut: OrderedDict[tuple[str, int], bytes] = OrderedDict()

    def mask(self, item: str, what: What) -> bytes:
        """uint8 class indices of each pixel of the picture, row by row, 255 where it has none; width and height first.

        Raises:
            PoolError: there is no such item.
            DataError: there is no mask.
        """
        raw = self.telling.label(item, what)
        if not isinstance(raw, Mapping) or "png" not in raw:
            raise DataError(f"{item!r:.80} has no mask as its {what}")
        return _with_size(whole(raw))

    def region(self, item: str) -> bytes:
        """uint8 1 for each pixel of the picture that is asked about and 0 for the others, as :meth:`mask`.

        Raises:
            PoolError: there is no such item.
            ConfigError: it is no region.
        """
        project = self.shared.project
        if not project.pool.items[project.pool.position(item)].is_region:
            raise ConfigError(f"{item!r:.80} is no region of an image")
        inside_hw, (x, y) = project.source.outline(item)
        width, height = project.source.size(read_for(project.source, item))
        rows_HW = np.zeros((height, width), np.uint8)
        rows_HW[y : y + inside_hw.shape[0], x : x + inside_hw.shape[1]] = inside_hw
        return _with_size(rows_HW)

    def superpixels(self, item: str, count: int) -> bytes:
        """uint16 (little end first) number of the superpixel of each pixel, from 1, row by row; width and height first.

        They are made of the picture at 1,024 pixels at most; of a region they are those of its whole picture.

        Raises:
            PoolError: there is no such item.
            ConfigError: another count than may be.
            DataError: the picture cannot be read.
        """
        if not COUNTS[0] <= count <= COUNTS[1]:
            raise ConfigError(f"{count} superpixels: from {COUNTS[0]} to {COUNTS[1]}")
        project = self.shared.project
        project.pool.position(item)
        found = self._cut.get((item, count))
        if found is None:
            shown_HWC = project.source.thumbnail(read_for(project.source, item), SIDE)
            found = _with_size(Superpixels(count=count).cut(shown_HWC).astype("<u2"))
            self._cut[item, count] = found
            while len(self._cut) > _KEPT:
                self._cut.popitem(last=False)
        return found


def _with_size(rows_HW: np.ndarray) -> bytes:
    height, width = rows_HW.shape
    return np.array([width, height], "<u4").tobytes() + rows_HW.tobytes()
