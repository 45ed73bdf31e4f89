"""Boxes of many images, as every format of boxes gives and takes them, and the checks that they share.

The raw label of an image is ``{"size": [width, height], "objects": [...]}`` with an object ``{"class": name, "box":
[x1, y1, x2, y2]}`` in pixels of the original image, plus ``"crowd": true`` and ``"difficult": true`` where they hold
and ``"score"`` where a model gave one. What else the file says of the object or the image stands under ``"extra"``, so
that it can be written again. An image without any object has an empty list; one that nobody has looked at has no label.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from labelwise.errors import FormatError

_PLAIN = 1 << 53
#: digits behind the point that a sum or difference of two coordinates keeps: sums of decimals stay decimals
DIGITS = 10
#: pixels (and share of a side) that a box may stand out before it is counted: six digits of a fraction are not exact
SLACK, SLACK_SHARE = 0.01, 2e-6


@dataclass(frozen=True)
class BoxLabels:
    """What files say about boxes.

    Args:
        labels: name of an image, as the format names it -> raw label.
        classes: names in index order.
        lists: name of a list of images -> its lines (VOC's ImageSets).
        extra: what else the file says, for writing it again.
        notes: what people should know, one line each.
    """

    labels: Mapping[str, Any]
    classes: tuple[str, ...]
    lists: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


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


def classes_of(labels: Iterable[Any]) -> tuple[str, ...]:
    """Names of the classes that occur, in string order."""
    return tuple(sorted({thing["class"] for label in labels for thing in label["objects"]}))


def tally(labels: Mapping[str, Any]) -> tuple[str, ...]:
    """What is odd about some labels and allowed all the same, counted: one line each."""
    counts: Counter[str] = Counter()
    for label in labels.values():
        if not label["objects"]:
            counts["{n} labelled image(s) without any object"] += 1
        for thing in label["objects"]:
            for flag in ("crowd", "difficult"):
                counts[f"{{n}} box(es) marked {flag}: kept out of training and metrics"] += bool(thing.get(flag))
            x1, y1, x2, y2 = thing["box"]
            counts["{n} box(es) without area: kept in the labels, left out of training and metrics"] += (
                x1 >= x2 or y1 >= y2
            )
            counts["{n} box(es) that leave the image: cut off at its border"] += _leaves(thing["box"], label["size"])
    return tuple(text.format(n=f"{count:,}") for text, count in counts.items() if count)


def _leaves(box: Sequence[float], size: Sequence[int]) -> bool:
    return any(
        low < -slack or high > side + slack
        for low, high, side in ((box[0], box[2], size[0]), (box[1], box[3], size[1]))
        for slack in (max(SLACK, SLACK_SHARE * side),)
    )
