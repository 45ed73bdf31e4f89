"""Shapes of objects in pixels: out of fractions, and the upright box around whatever an object has."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

from labelwise.contracts.record import Box, Polygon, Seen
from labelwise.errors import FormatError

#: digits behind the point of a corner in pixels that was computed: more than fractions and percents carry
DIGITS = 8


def in_pixels(seen: Seen, size: tuple[int, int]) -> Seen:
    """The object with its shapes in pixels, where they were fractions of the sides."""

    def across(values: Sequence[float]) -> tuple[float, ...]:
        return tuple(round(size[place % 2] * value, DIGITS) for place, value in enumerate(values))

    box, outline, points = seen.box, seen.outline, seen.points
    if box is not None:
        x1, y1, x2, y2 = across((box.x1, box.y1, box.x2, box.y2))
        box = Box(x1, y1, x2, y2, box.rotation)
    if isinstance(outline, Polygon):
        outline = Polygon(tuple(across(part) for part in outline.parts))
    if points is not None:
        places = tuple((*across((x, y)), visible) for x, y, visible in points.points)
        points = replace(points, points=cast("tuple[tuple[float, float, int], ...]", places))
    return replace(seen, box=box, outline=outline, points=points)


def extent(seen: Seen, where: str) -> list[float] | None:
    """The upright box around an object, in pixels: its own, else that of its outline; None where it has neither.

    Raises:
        FormatError: pixels that cannot be read, or an outline that holds none.
    """
    if (box := seen.box) is not None:
        return [box.x1, box.y1, box.x2, box.y2] if not box.rotation else upright(box)
    if isinstance(seen.outline, Polygon):
        values = [value for part in seen.outline.parts for value in part]
        if len(values) < 2:
            raise FormatError(f"{where}: the outline has no corner; give at least three")
        return [min(values[0::2]), min(values[1::2]), max(values[0::2]), max(values[1::2])]
    if seen.outline is None:
        return None
    import numpy as np

    cover_HW, (x, y) = seen.outline.read(), seen.outline.at
    rows, columns = np.flatnonzero(cover_HW.any(1)), np.flatnonzero(cover_HW.any(0))
    if not len(rows):
        raise FormatError(f"{where}: the mask of an object has no pixel; delete it")
    return [int(columns[0]) + x, int(rows[0]) + y, int(columns[-1]) + 1 + x, int(rows[-1]) + 1 + y]


def upright(box: Box) -> list[float]:
    """Corners of the upright box around one that is turned about its centre.

    Example:
        >>> upright(Box(0, 0, 4, 2, rotation=90))
        [1.0, -1.0, 3.0, 3.0]
    """
    angle = math.radians(box.rotation)
    cos, sin = abs(math.cos(angle)), abs(math.sin(angle))
    wide, high = box.x2 - box.x1, box.y2 - box.y1
    across, down = (wide * cos + high * sin) / 2, (wide * sin + high * cos) / 2
    x, y = (box.x1 + box.x2) / 2, (box.y1 + box.y2) / 2
    return [round(value, DIGITS) for value in (x - across, y - down, x + across, y + down)]
