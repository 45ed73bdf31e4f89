"""Subjects: animals or people of whom an image shows several, each an item of its own, cut out by its box.

The raw label of a subject is that of its image with one object, and says whose it is: ``{"size": [width, height],
"subject": {"image": "a.png", "box": [x1, y1, x2, y2]}, "objects": [{...}]}``. Places are pixels of the whole image.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from labelwise.contracts.source import SUBJECT

#: how much larger than its box the part of the image is that is looked at
AROUND = 1.25
#: how much of a box, or of the extent of points, has to lie over the box of a subject to be taken for it
_OVERLAP, _INSIDE = 0.3, 0.5

Window = tuple[int, int, int, int]


@dataclass(frozen=True)
class Subject:
    """One subject of an image.

    Args:
        image: id of the image.
        box: x1, y1, x2, y2 in its pixels.
        score: of the detector that found it, in [0, 1]; None for annotations.

    Example:
        >>> subject = Subject("a.png", (10.0, 20.0, 30.0, 60.5), 0.9)
        >>> subject.place, Subject.at("a.png", subject.place) == subject
        ('subject:10,20,30,60.5@0.9', True)
    """

    image: str
    box: tuple[float, float, float, float]
    score: float | None = None

    @property
    def place(self) -> str:
        """As the pool writes it down, beside the image."""
        sure = "" if self.score is None else f"@{self.score:.6g}"
        return f"{SUBJECT}{','.join(f'{value:.8g}' for value in self.box)}{sure}"

    @classmethod
    def at(cls, image: str, place: str) -> Subject:
        """The subject that was written down so."""
        corners, _, sure = place.removeprefix(SUBJECT).partition("@")
        x1, y1, x2, y2 = map(float, corners.split(","))
        return cls(image, (x1, y1, x2, y2), float(sure) if sure else None)

    def label(self, raw: Mapping[str, Any], thing: Mapping[str, Any]) -> dict[str, Any]:
        """The raw label of this subject, out of that of its image and its object there."""
        about: dict[str, Any] = {"image": self.image, "box": list(self.box)}
        about |= {} if self.score is None else {"score": self.score}
        limbs = {"skeleton": raw["skeleton"]} if raw.get("skeleton") else {}
        return {"size": list(raw["size"]), "subject": about, "objects": [dict(thing)], **limbs}


def window_of(box: Sequence[float], aspect: float) -> Window:
    """The part of an image that shows a subject: x, y, width, height in whole pixels; it may reach beyond the image.

    A quarter larger than the box, and then as wide for its height as the input of the network.

    Example:
        >>> window_of((10, 10, 30, 50), aspect=0.75)
        (1, 5, 38, 50)
    """
    width, height = (AROUND * max(1.0, box[k + 2] - box[k]) for k in range(2))
    width, height = max(width, height * aspect), max(height, width / aspect)
    x, y = (box[0] + box[2] - width) / 2, (box[1] + box[3] - height) / 2
    return math.floor(x), math.floor(y), math.ceil(width), math.ceil(height)


def whole(size: Sequence[int]) -> tuple[float, float, float, float]:
    """The box whose part of the image is all of it: for the one subject of an image without box."""
    margins = [side * (1 - 1 / AROUND) / 2 for side in size]
    return margins[0], margins[1], size[0] - margins[0], size[1] - margins[1]


def in_window(raw: Mapping[str, Any], window: Window) -> dict[str, Any]:
    """A label of an image as one of the part of it in a window."""
    return _moved(raw, (-window[0], -window[1]), window[2:])


def in_image(raw: Mapping[str, Any], window: Window, size: Sequence[int]) -> dict[str, Any]:
    """A label of a part of an image as one of the image, of this size."""
    return _moved(raw, window[:2], size)


def _moved(raw: Mapping[str, Any], by: Sequence[float], size: Sequence[int]) -> dict[str, Any]:
    dx, dy = by
    things = []
    for thing in raw["objects"]:
        moved = dict(thing)
        # what was not seen has no place
        moved["points"] = [[x + dx, y + dy, seen] if seen else [x, y, seen] for x, y, seen in thing["points"]]
        if (box := thing.get("box")) is not None:
            moved["box"] = [box[0] + dx, box[1] + dy, box[2] + dx, box[3] + dy]
        things.append(moved)
    return {**raw, "size": list(size), "objects": things}


def marked(thing: Mapping[str, Any]) -> bool:
    """Whether any point of an object has a place."""
    return any(seen for _, _, seen in thing["points"])


def recognised(things: Sequence[Mapping[str, Any]], subjects: Mapping[str, Subject]) -> dict[int, str]:
    """Which subject each object of a label is: by the number that it went out with, else by where it lies.

    Args:
        things: of the label of an image.
        subjects: item -> subject, of the same image; items are ``IMAGE#NUMBER``.

    Returns:
        Position among ``things`` -> item, each at most once.

    Example:
        >>> subjects = {"a#1": Subject("a", (0, 0, 10, 10)), "a#2": Subject("a", (20, 0, 30, 10))}
        >>> recognised([{"points": [], "box": [21, 1, 31, 9]}, {"points": [[2, 2, 2], [8, 9, 1]]}], subjects)
        {0: 'a#2', 1: 'a#1'}
    """
    from scipy.optimize import linear_sum_assignment

    found: dict[int, str] = {}
    of_number = {item.rpartition("#")[2]: item for item in subjects}
    for place, thing in enumerate(things):
        item = of_number.get(str(thing.get("extra", {}).get("subject", "")))
        if item is not None and item not in found.values():
            found[place] = item
    loose = [place for place in range(len(things)) if place not in found]
    free = [item for item in subjects if item not in found.values()]
    if not loose or not free:
        return dict(sorted(found.items()))
    near = np.array([[_nearness(things[place], subjects[item].box) for item in free] for place in loose])
    for row, column in zip(*linear_sum_assignment(-near), strict=True):
        if near[row, column] > 0:
            found[loose[row]] = free[column]
    return dict(sorted(found.items()))


def _nearness(thing: Mapping[str, Any], box: Sequence[float]) -> float:
    """In (0, 1], or 0 where an object is somewhere else: the overlap of boxes; of points how far in the middle."""
    if (own := thing.get("box")) is not None:
        shared = _shared(own, box)
        over = shared / max(_area(own) + _area(box) - shared, 1e-9)
        return over if over >= _OVERLAP else 0.0
    places: list[tuple[float, float]] = [(x, y) for x, y, seen in thing["points"] if seen]
    if not places:
        return 0.0
    inside: float = sum(box[0] <= x <= box[2] and box[1] <= y <= box[3] for x, y in places) / len(places)
    if inside < _INSIDE:
        return 0.0
    middle = [sum(place[k] for place in places) / len(places) for k in range(2)]
    away = math.hypot(*(middle[k] - (box[k] + box[k + 2]) / 2 for k in range(2)))
    return inside / (1 + away / max(1.0, math.hypot(box[2] - box[0], box[3] - box[1])))


def _shared(one: Sequence[float], other: Sequence[float]) -> float:
    width, height = (max(0.0, min(one[k + 2], other[k + 2]) - max(one[k], other[k])) for k in range(2))
    return width * height


def _area(box: Sequence[float]) -> float:
    width, height = float(box[2] - box[0]), float(box[3] - box[1])
    return width * height
