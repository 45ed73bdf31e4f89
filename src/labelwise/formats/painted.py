"""How many pixels a mask may have before anything is painted."""

from __future__ import annotations

from labelwise.errors import FormatError

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
