"""Colours for classes that have none of their own: those of VOC."""

from __future__ import annotations

Colour = tuple[int, int, int]


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
