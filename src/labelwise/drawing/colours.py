"""Colours of classes and strategies on a light ground, told apart also by people who see fewer colours."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

COLOURS_LIGHT = ("#0072B2", "#D55E00", "#009E73", "#B5538F", "#C98500", "#3E97CF", "#7A5C3E", "#5B4FB3")
#: red, green, blue, 0 to 255
Colour = tuple[int, int, int]


def palette_of(count: int, palette: Sequence[Colour] | None = None) -> list[Colour]:
    """A colour for each class: those of the data where they name enough of them, else ours, well apart.

    Example:
        >>> len(set(palette_of(40))), palette_of(2, [(1, 2, 3), (4, 5, 6)])
        (40, [(1, 2, 3), (4, 5, 6)])
    """
    if palette is not None and len(palette) >= count:
        return list(palette[:count])
    from matplotlib import colormaps

    strong_and_pale = [_bytes(colormaps["tab20"](n)) for n in range(20)]
    ours = strong_and_pale[::2] + strong_and_pale[1::2]
    # from there on by the golden angle, which never comes back to a hue
    more = (colorsys.hsv_to_rgb(n * 0.618034 % 1, 0.7, 0.8 - n % 3 * 0.2) for n in range(max(0, count - len(ours))))
    return [*ours, *map(_bytes, more)][:count]


def _bytes(parts: Sequence[float]) -> Colour:
    red, green, blue = (round(255 * part) for part in parts[:3])
    return red, green, blue
