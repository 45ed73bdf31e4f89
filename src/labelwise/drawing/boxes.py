"""Boxes drawn over an image: what a model found beside what people drew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from labelwise.drawing.colours import COLOURS_LIGHT
from labelwise.drawing.heat import UNSURE, heat
from labelwise.errors import visible

#: longest side of a panel, the height of the line of words below it, and that of words, in pixels
SIDE, LINE, WORDS = 400, 20, 14
_GAP = 4
#: height of the name of a class at its box
_TAG = 15
#: half the width of a key point
_DOT = 4
#: how far a ring of full doubt lies around a key point, in pixels, and the doubt that is none
_WIDEST, _SURE = 24, 0.05
#: share of the colours of a map of doubt over an image
_WARMTH = 0.6

_Frame = tuple[float, float, float, float]
_INK, _GREY = "#1F2733", "#687385"


def boxed(
    image: Image.Image,
    classes: Sequence[str],
    panels: Mapping[str, Mapping[str, Any]],
    *,
    uncertainty_HW: np.ndarray | None = None,
    side: int = SIDE,
) -> Image.Image:
    """Panels side by side: the image with the boxes and key points of a label, a word and the classes below.

    The class of each box stands at it in words; the colour is there to find boxes of one class at a glance.

    Args:
        image: as people see it, of any size.
        classes: in index order, which decides the colours.
        panels: word ("" for none) -> raw label ``{"size": ..., "objects": [...]}``; objects with a score show it in
            percent, those that are left out of training and metrics have a thin line, hidden key points are hollow, and
            those that a model is unsure of have a ring.
        uncertainty_HW: of any size; a last panel shows it over the image, dark the least and bright the most of *this*
            image.
        side: longest side of a panel.

    Example:
        >>> label = {"size": [100, 50], "objects": [{"class": "cat", "box": [10, 10, 60, 40], "score": 0.8}]}
        >>> boxed(Image.new("RGB", (100, 50)), ["cat"], {"found": label}).size
        (400, 220)
    """
    scale = side / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    small = image.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    width, height = size
    drawn = [_panel(small, classes, word, label) for word, label in panels.items()]
    if uncertainty_HW is not None:
        drawn.append(_warm(small, uncertainty_HW))
    sheet = Image.new("RGB", (len(drawn) * (width + _GAP) - _GAP, height + LINE), "white")
    for number, panel in enumerate(drawn):
        sheet.paste(panel, (number * (width + _GAP), 0))
    return sheet


def _warm(image: Image.Image, uncertainty_HW: np.ndarray) -> Image.Image:
    """The map over the image in grey, so that bright places are found in it."""
    panel = Image.new("RGB", (image.width, image.height + LINE), "white")
    colours = Image.fromarray(heat(uncertainty_HW, image.size))
    panel.paste(Image.blend(image.convert("L").convert("RGB"), colours, _WARMTH))
    ImageDraw.Draw(panel).text((2, image.height + 1), UNSURE, _INK, ImageFont.load_default(WORDS))
    return panel


def _panel(image: Image.Image, classes: Sequence[str], word: str, label: Mapping[str, Any]) -> Image.Image:
    panel = Image.new("RGB", (image.width, image.height + LINE), "white")
    panel.paste(image)
    draw, font = ImageDraw.Draw(panel), ImageFont.load_default(WORDS)
    colours = {name: COLOURS_LIGHT[number % len(COLOURS_LIGHT)] for number, name in enumerate(classes)}
    things = label["objects"]
    scale = (image.width / label["size"][0], image.height / label["size"][1])
    # the surest on top
    tags: list[tuple[str, str, _Frame]] = []
    for thing in sorted(things, key=lambda thing: thing.get("score") or 0.0):
        colour = colours.get(thing["class"], _GREY)
        if thing.get("box") is not None:
            tags.append((_said(thing), colour, _box(draw, thing, colour, scale, image.size)))
        if thing.get("points"):
            _points(draw, thing, label.get("skeleton", ()), colour, scale)
    _name(draw, tags[::-1], image.size)
    at = 2.0
    there = {thing["class"] for thing in things}
    named = [(name, colour) for name, colour in colours.items() if name in there]
    said = ", ".join([word] * bool(word) + [f"{len(things)}:" if named else "none"])
    for text, colour in ((said, _INK), *named):
        draw.text((at, image.height + 1), visible(text), colour, font)
        at += draw.textlength(visible(text), font) + 6
    return panel


def _said(thing: Mapping[str, Any]) -> str:
    """The class of an object, and how sure a model is of it in percent."""
    score = thing.get("score")
    return visible(thing["class"]) if score is None else f"{visible(thing['class'])} {100 * score:.0f}"


def _box(
    draw: ImageDraw.ImageDraw, thing: Mapping[str, Any], colour: str, scale: tuple[float, float], size: tuple[int, int]
) -> _Frame:
    """Draws a box; gives it in pixels of the panel."""
    x1, y1, x2, y2 = (value * by for value, by in zip(thing["box"], scale * 2, strict=True))
    x1, x2 = (min(max(x, 0), size[0] - 1) for x in (x1, x2))
    y1, y2 = (min(max(y, 0), size[1] - 1) for y in (y1, y2))
    draw.rectangle((x1, y1, x2, y2), outline=colour, width=1 if thing.get("crowd") or thing.get("difficult") else 2)
    return x1, y1, x2, y2


def _name(draw: ImageDraw.ImageDraw, tags: Sequence[tuple[str, str, _Frame]], size: tuple[int, int]) -> None:
    """The class of each box at one of its corners, where it hides the least of the names that stand there already.

    The surest are named first; all names are drawn.
    """
    font = ImageFont.load_default(_TAG - 3)
    taken: list[_Frame] = []
    for text, _, (x1, y1, x2, y2) in tags:
        width = draw.textlength(text, font) + 4
        places = [(x1, y1 - _TAG), (x1, y1), (x2 - width, y2 - _TAG), (x1, y2), (x2 - width, y1), (x1, y2 - _TAG)]
        spots = [_inside((x, y, x + width, y + _TAG), size) for x, y in places]
        taken.append(min(spots, key=lambda spot: sum(_shared(spot, other) for other in taken)))
    for (text, colour, _), (x1, y1, x2, y2) in reversed(list(zip(tags, taken, strict=True))):
        draw.rectangle((x1, y1, x2, y2), fill=colour)
        draw.text((x1 + 2, y1), text, "white", font)


def _inside(spot: _Frame, size: tuple[int, int]) -> _Frame:
    """A frame moved so far that the panel holds it, from its left upper corner on."""
    x = max(0.0, min(spot[0], size[0] - 1 - (spot[2] - spot[0])))
    y = max(0.0, min(spot[1], size[1] - 1 - (spot[3] - spot[1])))
    return x, y, x + spot[2] - spot[0], y + spot[3] - spot[1]


def _shared(one: _Frame, other: _Frame) -> float:
    """Pixels that two frames share."""
    return max(0.0, min(one[2], other[2]) - max(one[0], other[0])) * max(
        0.0, min(one[3], other[3]) - max(one[1], other[1])
    )


def _points(
    draw: ImageDraw.ImageDraw,
    thing: Mapping[str, Any],
    limbs: Sequence[Sequence[int]],
    colour: str,
    scale: tuple[float, float],
) -> None:
    """Limbs in the colour of the class, points in that of their name, a ring around those that a model is unsure of."""
    placed = {n: (x * scale[0], y * scale[1], seen) for n, (x, y, seen) in enumerate(thing["points"]) if seen}
    named, scores = bool(thing.get("names")), thing.get("scores", ())
    for one, other in limbs:
        if one in placed and other in placed:
            draw.line((*placed[one][:2], *placed[other][:2]), fill=colour, width=2)
    for place, (x, y, seen) in placed.items():
        own = colour_of_point(place) if named else colour
        dot = (x - _DOT, y - _DOT, x + _DOT, y + _DOT)
        draw.ellipse(dot, fill=own if seen == 2 else None, outline=own, width=2)
        doubt = 1 - scores[place] if place < len(scores) else 0.0
        if doubt > _SURE:
            far = _DOT + _WIDEST * doubt
            draw.ellipse((x - far, y - far, x + far, y + far), outline=own, width=1)


def colour_of_point(place: int) -> str:
    """The colour of a key point by its position among the points of an object."""
    return COLOURS_LIGHT[place % len(COLOURS_LIGHT)]
