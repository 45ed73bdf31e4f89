"""Class probabilities written below an image."""

from __future__ import annotations

from collections.abc import Mapping

from PIL import Image, ImageDraw, ImageFont

from labelwise.drawing.boxes import LINE, SIDE, WORDS
from labelwise.drawing.colours import COLOURS_LIGHT
from labelwise.errors import visible

_INK, _PALE = "#1F2733", "#E3E7EC"
#: classes that are shown, and the share of the width that is left for their names
_MOST, _NAMES = 8, 0.45


def barred(image: Image.Image, probs: Mapping[str, float], *, side: int = SIDE) -> Image.Image:
    """The image, and below it a bar for each of the likeliest classes; how many are left out is said.

    Args:
        image: as people see it, of any size.
        probs: class -> probability.
        side: longest side of the image.

    Example:
        >>> barred(Image.new("RGB", (100, 50)), {"cat": 0.9, "dog": 0.1}).size
        (400, 240)
    """
    scale = side / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    ranked = sorted(probs.items(), key=lambda one: -one[1])
    shown, left = ranked[:_MOST], ranked[_MOST:]
    width, font = max(size[0], SIDE), ImageFont.load_default(WORDS)
    sheet = Image.new("RGB", (width, size[1] + LINE * (len(shown) + bool(left))), "white")
    sheet.paste(image.convert("RGB").resize(size, Image.Resampling.LANCZOS))
    draw, start = ImageDraw.Draw(sheet), _NAMES * width
    for number, (name, share) in enumerate(shown):
        top = size[1] + LINE * number
        draw.text((2, top + 1), visible(name), _INK, font)
        draw.rectangle((start, top + 3, width - 1, top + LINE - 3), fill=_PALE)
        draw.rectangle((start, top + 3, start + share * (width - 1 - start), top + LINE - 3), fill=COLOURS_LIGHT[5])
        draw.text((start + 4, top + 1), f"{100 * share:.1f} %", _INK, font)
    if left:
        rest = f"and {len(left)} less likely class{'es' * (len(left) > 1)}"
        draw.text((2, size[1] + LINE * len(shown) + 1), rest, _INK, font)
    return sheet
