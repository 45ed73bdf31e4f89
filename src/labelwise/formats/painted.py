"""How many pixels a mask may have before anything is painted, and the window around those it has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labelwise.contracts.record import Mask
from labelwise.errors import FormatError

if TYPE_CHECKING:
    import numpy as np

#: as many as a picture may have to be decoded at all: a byte each while a mask is read
MOST_PIXELS = 178_956_970


def check_size(size: tuple[int, int], where: str) -> None:
    """Refuses a mask that no picture has room for.

    Args:
        size: (width, height) in pixels.
        where: file and row, for messages.

    Raises:
        FormatError: more than ``MOST_PIXELS``.
    """
    if size[0] * size[1] > MOST_PIXELS:
        raise FormatError(
            f"{where}: a mask of {size[0]:,} x {size[1]:,} pixels is too large; at most {MOST_PIXELS:,} pixels are "
            "painted: check the size that the file gives"
        )


def window_of(mask: Mask) -> tuple[np.ndarray, int, int]:
    """The smallest window around the pixels of a mask, bool (H, W), and its left and top in the picture.

    Of a mask without any pixel, its first one, which is not set.
    """
    import numpy as np

    cover_HW = np.asarray(mask.read()) != 0
    rows, columns = np.flatnonzero(cover_HW.any(1)), np.flatnonzero(cover_HW.any(0))
    if not len(rows):
        rows = columns = np.zeros(1, int)
    part_HW = cover_HW[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return part_HW, int(columns[0]) + mask.at[0], int(rows[0]) + mask.at[1]
