"""Drawn scenes of squares, discs and crosses with their boxes: detection small enough to train in seconds."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial
from typing import Any

import numpy as np

import scenes
from labelwise.contracts.input import InputSpec
from labelwise.contracts.learner import Phase
from labelwise.contracts.source import Source
from labelwise.learners.torch import TorchLearner
from labelwise.models.centre import CentreNet
from labelwise.models.multiple_instance import MultipleInstance
from labelwise.tasks.detection import Detection

CLASSES = ("cross", "disc", "square")
HEIGHT, WIDTH = 48, 64
FAST = (Phase(epochs=12, batch_size=8, lr=1e-2, schedule="onecycle"),)


def _draw(rng: np.random.Generator, empty: bool) -> tuple[np.ndarray, list[dict[str, Any]]]:
    image = rng.integers(0, 60, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    objects: list[dict[str, Any]] = []
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    for left in () if empty else (2, 34):
        if len(objects) and rng.random() < 0.3:
            continue
        side = int(rng.integers(14, 26))
        x1, y1 = left + int(rng.integers(0, 28 - side)), int(rng.integers(0, HEIGHT - side))
        number = int(rng.integers(3))
        u, v = x - x1 - (side - 1) / 2, y - y1 - (side - 1) / 2
        inside = (np.abs(u) <= side / 2) & (np.abs(v) <= side / 2)
        if number == 0:
            inside &= (np.abs(u) <= side / 6) | (np.abs(v) <= side / 6)
        elif number == 1:
            inside &= u**2 + v**2 <= side**2 / 4
        colour = np.zeros(3)
        colour[number] = rng.integers(180, 255)
        image[inside] = colour
        objects.append({"class": CLASSES[number], "box": [x1, y1, x1 + side, y1 + side]})
    return image, objects


class Shapes(Source):
    """Scenes 0 to ``count``, one in eight empty; the last ones in other roles."""

    def __init__(self, count: int, *, reference: int = 0, test: int = 0) -> None:
        self.ids = tuple(f"scene/{number:03d}.png" for number in range(count))
        self.classes = CLASSES
        pairs = {item: _draw(np.random.default_rng(number), number % 8 == 5) for number, item in enumerate(self.ids)}
        self.images = {item: image for item, (image, _) in pairs.items()}
        self.truth = {item: {"size": [WIDTH, HEIGHT], "objects": objects} for item, (_, objects) in pairs.items()}
        held = self.ids[count - test :], self.ids[count - test - reference : count - test]
        self.roles = {**dict.fromkeys(held[0], "test"), **dict.fromkeys(held[1], "reference")}  # type: ignore[assignment]

    def load(self, item_id: str) -> np.ndarray:
        return self.images[item_id]

    def batch(self, item_ids: Sequence[str]) -> np.ndarray:
        return np.stack([self.images[item] for item in item_ids])

    def content(self, item_ids: Sequence[str]) -> list[str]:
        return [item.encode().hex().ljust(32, "0")[-32:] for item in item_ids]


def task(**options: Any) -> Detection:
    options.setdefault("augment", "none")
    return Detection(CLASSES, InputSpec((HEIGHT, WIDTH)), **options)


def narrow() -> CentreNet:
    return CentreNet(len(CLASSES), width=6)


def double() -> MultipleInstance:
    """With a second class head, so that methods that ask two have what they need."""
    return MultipleInstance(CentreNet(len(CLASSES), width=6, apart=True))


def learner(**options: Any) -> TorchLearner:
    options.setdefault("phases", FAST)
    return TorchLearner(task(), options.pop("model", narrow), **options)


view = partial(scenes.view, task)
learner_data = partial(scenes.learner_data, task)


@cache
def trained() -> tuple[Shapes, TorchLearner]:
    """Eighty scenes, and a detector that has learnt the first sixty of them."""
    source = Shapes(80, test=20)
    net = learner()
    net.fit(learner_data(source, source.ids[:60]), 0)
    return source, net
