"""Colours of classes: as files write them, and those of VOC for classes that have none of their own."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

Colour = tuple[int, int, int]
_HEX = re.compile(r"#([0-9a-fA-F]{2})([0-9a-fA-F]{2})([0-9a-fA-F]{2})")


def colour_of(value: Any) -> Colour | None:
    """A colour as files write it; None for anything else.

    Example:
        >>> colour_of("#ff8000"), colour_of([255, 128, 0]), colour_of("red")
        ((255, 128, 0), (255, 128, 0), None)
    """
    if isinstance(value, str):
        found = _HEX.fullmatch(value.strip())
        return None if found is None else (int(found[1], 16), int(found[2], 16), int(found[3], 16))
    if (
        isinstance(value, Sequence)
        and len(value) == 3
        and all(type(part) is int and 0 <= part <= 255 for part in value)
    ):
        return (value[0], value[1], value[2])
    return None


def in_order(of_class: Mapping[str, Colour | None], classes: Sequence[str]) -> tuple[Colour, ...] | None:
    """The colours of classes in this order; None where one has none, or two have the same.

    Example:
        >>> in_order({"cat": (255, 0, 0), "dog": (0, 255, 0)}, ("dog", "cat"))
        ((0, 255, 0), (255, 0, 0))
    """
    found = tuple(colour for name in classes if (colour := of_class.get(name)) is not None)
    return found if found and len(set(found)) == len(classes) else None


def colours(count: int) -> tuple[Colour, ...]:
    """The first ``count`` colours of VOC, for any classes: as far apart as a running number can make them.

    The bits of the number are dealt out to red, green and blue in turn, the lowest becoming the highest.

    Example:
        >>> colours(4)
        ((0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0))
    """
    return tuple((_channel(number, 0), _channel(number, 1), _channel(number, 2)) for number in range(count))


def _channel(number: int, first: int) -> int:
    return sum((number >> (3 * place + first) & 1) << (7 - place) for place in range(8))
