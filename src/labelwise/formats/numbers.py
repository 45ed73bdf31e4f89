"""Numbers in files: finite ones, corners of boxes, sides of pictures; and sums that stay as short as their parts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

from labelwise.errors import FormatError

_PLAIN = 1 << 53
#: digits behind the point that a sum or difference of two coordinates keeps: sums of decimals stay decimals
DIGITS = 10


def number(value: Any, where: str, what: str) -> float:
    """A finite number as it stands, int or float.

    Raises:
        FormatError: for anything else.
    """
    if (type(value) is float and value - value == 0) or (type(value) is int and -_PLAIN < value < _PLAIN):
        return value  # as almost always
    if not is_finite(value):
        raise FormatError(f"{where}: {what} is {value!r:.60}; give a finite number")
    return cast("float", value)


def is_finite(value: Any) -> bool:
    """Whether something is a finite number; whole numbers beyond the range of floats are none."""
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:
        return False


def end(start: float, length: float) -> float:
    """``start + length`` without the noise of binary fractions: 0.1 + 0.2 is 0.3.

    Example:
        >>> 0.1 + 0.2, end(0.1, 0.2), end(1, 2)
        (0.30000000000000004, 0.3, 3)
    """
    short = round(start + length, DIGITS)
    # where rounding would change the length, or move the end of nothing, the numbers were no short decimals
    return short if length and round(short - start, DIGITS) == length else start + length


def length(start: float, stop: float) -> float:
    """The length for which ``end(start, length)`` is ``stop``, as short as it can be written.

    Example:
        >>> 0.3 - 0.1, length(0.1, 0.3)
        (0.19999999999999998, 0.2)
    """
    short = round(stop - start, DIGITS)
    return short if end(start, short) == stop else stop - start


def corners(values: Sequence[Any], where: str) -> list[float]:
    """Four corners x1, y1, x2, y2 as they stand; a box without area is fine.

    Raises:
        FormatError: not four finite numbers, or swapped corners.
    """
    if len(values) != 4:
        raise FormatError(f"{where}: the box has {len(values)} numbers; give four")
    box = [number(value, where, f"{name} of the box") for name, value in zip(_CORNERS, values, strict=True)]
    for low, high in ((0, 2), (1, 3)):
        if box[low] > box[high]:
            raise FormatError(
                f"{where}: {_CORNERS[low]} {box[low]!r} lies behind {_CORNERS[high]} {box[high]!r}; swap the corners"
            )
    return box


_CORNERS = ("x1", "y1", "x2", "y2")


def sides(width: Any, height: Any, where: str) -> list[int]:
    """Width and height of an image.

    Raises:
        FormatError: one of them is no whole number above zero.
    """
    for what, value in (("width", width), ("height", height)):
        if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
            raise FormatError(f"{where}: {what} is {value!r:.60}; give the image's size in whole pixels")
    return [width, height]
