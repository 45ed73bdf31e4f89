"""Made scenes with boxes, most of which resemble each other: what a choice of images has to see through."""

from __future__ import annotations

from typing import Any

import numpy as np

from labelwise.contracts.source import Role, Source
from labelwise.data.arrays import ArraySource
from labelwise.data.views import View
from labelwise.errors import ConfigError
from labelwise.rng import generator

#: crosses are rare: in every fifth scene
CLASSES = ("cross", "disc", "square")
HEIGHT, WIDTH = 96, 128
#: one scene of so many is seen often
_POPULAR = 5
#: pixels that an object moves between two views of its scene, and grey values of noise
_MOVED, _NOISE = 3, 12

_Object = tuple[int, float, float, int, float]


def redundant_scenes(scenes: int = 75, often: int = 12, seldom: int = 2, test: int = 75, seed: int = 0) -> Source:
    """Images of 96 x 128 pixels, each a view of one of some scenes: ``data: {source: "labelwise.data.made_scenes:...``.

    Of five scenes one is seen ``often`` and the others ``seldom``, so that three fifths of the pool (with the defaults
    180 of 300 images) are views of a fifth of the scenes. Views differ by noise, brightness and some pixels of each
    object. Every fifth scene, and none of those seen often, holds crosses. Test images are of scenes of their own, one
    view each. The same arguments give the same images.

    Args:
        scenes: of the pool.
        often: views of one scene of five.
        seldom: views of each of the others.
        test: test images.
        seed: of everything.

    Raises:
        ConfigError: a number below one.

    Example:
        >>> source = redundant_scenes(scenes=5, often=3, seldom=1, test=2)
        >>> len(source.ids), sum(role == "test" for role in source.roles.values())
        (9, 2)
    """
    for name, count in (("scenes", scenes), ("often", often), ("seldom", seldom), ("test", test)):
        if count < 1:
            raise ConfigError(f"{name} is {count}: give at least 1")
    ids: list[str] = []
    images: list[np.ndarray] = []
    truth: dict[str, Any] = {}
    roles: list[Role] = []
    for number in range(scenes + test):
        pool = number < scenes
        place = number if pool else number - scenes
        objects = _scene(generator(seed, "scene", number), rare=place % _POPULAR == 1)
        views = (often if place % _POPULAR == 0 else seldom) if pool else 1
        for view in range(views):
            item = f"{'scene' if pool else 'test'}{place:03d}/{view:02d}.png"
            image, boxes = _seen(objects, generator(seed, "view", number, view))
            ids.append(item)
            images.append(image)
            roles.append("pool" if pool else "test")
            truth[item] = {"size": [WIDTH, HEIGHT], "objects": boxes}
    return View(ArraySource(np.stack(images), ids=ids, roles=roles), classes=CLASSES, truth=truth)


def _scene(rng: np.random.Generator, *, rare: bool) -> list[_Object]:
    """One to five objects: class, centre in pixels, side, brightness."""
    found: list[_Object] = []
    for place in range(int(rng.integers(1, 6))):
        kind = 0 if rare and place == 0 else int(rng.integers(1, 3))
        side = int(rng.integers(14, 32))
        x, y = rng.uniform(side / 2 + 4, WIDTH - side / 2 - 4), rng.uniform(side / 2 + 4, HEIGHT - side / 2 - 4)
        apart = all(max(abs(x - u), abs(y - v)) > (side + other) / 2 + 2 * _MOVED for _, u, v, other, _ in found)
        if apart or not found:
            found.append((kind, float(x), float(y), side, float(rng.uniform(90, 230))))
    return found


def _seen(objects: list[_Object], rng: np.random.Generator) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """One view of a scene, (H, W, 1) uint8, and its boxes."""
    image = np.full((HEIGHT, WIDTH), 40.0) + rng.uniform(-15, 15)
    row, column = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    boxes: list[dict[str, Any]] = []
    for kind, x, y, side, bright in objects:
        left, top = (round(at - side / 2 + rng.uniform(-_MOVED, _MOVED)) for at in (x, y))
        across, down = np.abs(column - left - side / 2), np.abs(row - top - side / 2)
        inside = np.maximum(across, down) <= side / 2
        if CLASSES[kind] == "cross":
            inside &= np.minimum(across, down) <= side / 6
        elif CLASSES[kind] == "disc":
            inside &= across**2 + down**2 <= side**2 / 4
        image[inside] = bright
        boxes.append({"class": CLASSES[kind], "box": [float(left), float(top), float(left + side), float(top + side)]})
    noisy = image + rng.normal(0, _NOISE, image.shape)
    return noisy.round().clip(0, 255).astype(np.uint8)[..., None], boxes
