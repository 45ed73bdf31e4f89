"""Key points drawn over an image, with a legend of their names and a ring where a model is unsure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from labelwise.drawing.boxes import LINE, SIDE, WORDS, boxed, colour_of_point
from labelwise.errors import visible

_INK = "#1F2733"
#: names that a legend holds
_MOST = 60


def posed(
    image: Image.Image, classes: Sequence[str], panels: Mapping[str, Mapping[str, Any]], *, side: int = SIDE
) -> Image.Image:
    """Panels as ``boxed`` draws them, and below them the names of the points in their colours.

    Args:
        image: as people see it, of any size.
        classes: in index order, which decides the colours of limbs.
        panels: word ("" for none) -> raw label ``{"size": ..., "objects": [...]}``.
        side: longest side of a panel.

    Example:
        >>> fly = {"class": "fly", "points": [[10, 10, 2], [50, 30, 1]], "names": ["head", "tail"]}
        >>> posed(Image.new("RGB", (100, 50)), ["fly"], {"": {"size": [100, 50], "objects": [fly]}}).size
        (400, 240)
    """
    sheet = boxed(image, classes, panels, side=side)
    things = [thing for label in panels.values() for thing in label["objects"]]
    names = dict.fromkeys((name, place) for thing in things for place, name in enumerate(thing.get("names", ())))
    if not names:
        return sheet
    font = ImageFont.load_default(WORDS)
    words = [(visible(name), colour_of_point(place)) for name, place in list(names)[:_MOST]]
    words += [(f"and {len(names) - _MOST} more", _INK)] if len(names) > _MOST else []
    places, x, line = [], 2.0, 0
    for text, _ in words:
        width = LINE / 2 + font.getlength(text) + 8
        if x > 2 and x + width > sheet.width:
            x, line = 2.0, line + 1
        places.append((x, sheet.height + line * LINE))
        x += width
    whole = Image.new("RGB", (sheet.width, sheet.height + (line + 1) * LINE), "white")
    whole.paste(sheet)
    draw = ImageDraw.Draw(whole)
    for (text, colour), (left, top) in zip(words, places, strict=True):
        draw.ellipse((left, top + 5, left + 8, top + 13), fill=colour)
        draw.text((left + LINE / 2, top + 1), text, _INK, font)
    return whole
