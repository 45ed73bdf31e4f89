"""Masks laid over an image: what a model says beside what people drew, and where it is unsure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import binary_erosion, maximum_filter

from labelwise.contracts.record import IGNORE
from labelwise.drawing.colours import Colour, palette_of
from labelwise.drawing.heat import UNSURE, heat
from labelwise.errors import visible

#: longest side of a panel, height of a line of words, and the gap between panels, in pixels; pages show sheets at half
#: their size
SIDE, LINE, GAP = 260, 22, 4
#: share of the class's colour in a pixel
COVER = 0.55
#: panels in a row
ACROSS = 2
_INK, _WORDS, _SWATCH = "#1F2733", 16, 13


def masked(
    image: Image.Image,
    classes: Sequence[str],
    panels: Mapping[str, np.ndarray],
    *,
    palette: Sequence[Colour] | None = None,
    uncertainty_HW: np.ndarray | None = None,
    outline_HW: np.ndarray | None = None,
    side: int = SIDE,
) -> Image.Image:
    """Panels two by two: the image, the image below each mask, the map of uncertainty; a legend of the classes below.

    Args:
        image: as people see it, of any size.
        classes: in index order.
        panels: word -> class index of each pixel (H, W), of any size; pixels without a class show the image.
        palette: colour of each class, as the data have it; None: one of ours.
        uncertainty_HW: any size; dark is the least and bright the most of *this* image.
        outline_HW: bool, of any size: pixels that are drawn white, with a dark rim, on all panels (borders of regions).
        side: longest side of a panel.

    Example:
        >>> masked(Image.new("RGB", (100, 50)), ["cat"], {"labelled": np.zeros((50, 100), np.uint8)}).size
        (524, 174)
    """
    scale = side / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    small = np.asarray(image.convert("RGB").resize(size, Image.Resampling.LANCZOS))
    colours = np.array(palette_of(len(classes), palette), dtype=np.float32)
    pictures = {"image": small}
    there: set[int] = set()
    for word, whole_HW in panels.items():
        mask_HW = _shrunk(whole_HW, size)
        there |= set(np.unique(mask_HW).tolist()) - {IGNORE}
        pictures[word] = _covered(small, mask_HW, colours)
    if uncertainty_HW is not None:
        pictures[UNSURE] = heat(uncertainty_HW, size)
    if outline_HW is not None:
        lines = _shrunk(outline_HW.astype(np.uint8), size) > 0
        # a dark rim, so that the line is seen on bright pixels too
        rim = maximum_filter(lines, size=3)
        pictures = {
            word: np.where(lines[..., None], 255, np.where(rim[..., None], 0, pixels)).astype(np.uint8)
            for word, pixels in pictures.items()
        }
    return _sheet(
        pictures, size, [(classes[n], tuple(colours[n].astype(int))) for n in sorted(there) if n < len(classes)]
    )


def overlaid(
    image: Image.Image, classes: Sequence[str], mask_HW: np.ndarray, palette: Sequence[Colour] | None = None
) -> Image.Image:
    """The image below one mask, without a word: for small pictures.

    Example:
        >>> mask = np.zeros((30, 40), np.uint8)
        >>> overlaid(Image.new("RGB", (40, 30)), ["cat"], mask, [(255, 0, 0)]).getpixel((0, 0))
        (140, 0, 0)
    """
    colours = np.array(palette_of(len(classes), palette), dtype=np.float32)
    small_HW = _shrunk(mask_HW, image.size)
    return Image.fromarray(_covered(np.asarray(image.convert("RGB")), small_HW, colours))


def border_of(inside: np.ndarray, at: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """Bool (H, W) pixels at the border of a region, a line thick enough to be seen when the image is shrunk.

    Args:
        inside: the region's pixels in its bounding box.
        at: (x, y) of that in the image.
        size: (width, height) of the image.
    """
    (width, height), (x, y) = size, at
    padded = np.pad(inside, 1)
    thick = max(1, round(max(width, height) / SIDE))
    border_HW = np.zeros((height, width), bool)
    there = border_HW[y : y + inside.shape[0], x : x + inside.shape[1]]
    there[:] = (padded & ~binary_erosion(padded, iterations=thick))[1:-1, 1:-1]
    return border_HW


def _shrunk(mask_HW: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.asarray(Image.fromarray(mask_HW).resize(size, Image.Resampling.NEAREST))


def _covered(small: np.ndarray, mask_HW: np.ndarray, colours: np.ndarray) -> np.ndarray:
    known = (mask_HW != IGNORE) & (mask_HW < len(colours))
    over = colours[np.where(known, mask_HW, 0)]
    mixed = (1 - COVER) * small + COVER * over
    return np.where(known[..., None], mixed, small).round().astype(np.uint8)


def _sheet(pictures: Mapping[str, np.ndarray], size: tuple[int, int], legend: list[tuple[str, Any]]) -> Image.Image:
    font = ImageFont.load_default(_WORDS)
    width, height = size
    across = min(ACROSS, len(pictures))
    rows = -(-len(pictures) // across)
    total = across * (width + GAP) - GAP
    lines = _lines(legend, total, font)
    sheet = Image.new("RGB", (total, rows * (height + LINE) + len(lines) * LINE), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (word, pixels) in enumerate(pictures.items()):
        x, y = number % across * (width + GAP), number // across * (height + LINE)
        sheet.paste(Image.fromarray(pixels), (x, y))
        draw.text((x + 2, y + height + 1), visible(word), _INK, font)
    for number, line in enumerate(lines):
        y = rows * (height + LINE) + number * LINE
        for at, name, colour in line:
            draw.rectangle((at, y + 3, at + _SWATCH, y + 3 + _SWATCH), fill=tuple(int(part) for part in colour))
            draw.text((at + _SWATCH + 4, y + 1), name, _INK, font)
    return sheet


def _lines(legend: list[tuple[str, Any]], width: int, font: Any) -> list[list[tuple[float, str, Any]]]:
    """The legend broken into lines: where each name stands, the name, its colour."""
    draw = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    lines: list[list[tuple[float, str, Any]]] = []
    at = float(width)
    for name, colour in legend:
        shown = visible(name)
        needed = _SWATCH + 4 + draw.textlength(shown, font) + 10
        if not lines or at + needed > width:
            lines.append([])
            at = 2.0
        lines[-1].append((at, shown, colour))
        at += needed
    return lines
