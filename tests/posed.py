"""Drawn arrows with their tip and the ends of their wings: key points small enough to train in seconds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache, partial
from typing import Any

import numpy as np

import scenes
from labelwise.contracts.input import InputSpec
from labelwise.contracts.learner import Phase
from labelwise.contracts.source import Source
from labelwise.learners.torch import TorchLearner
from labelwise.models.unet import UNet
from labelwise.tasks.keypoints import Keypoints

CLASSES = ("arrow",)
POINTS = ("tip", "left_end", "right_end")
HEIGHT, WIDTH = 48, 64
INPUT = (24, 32)
FAST = (Phase(epochs=12, batch_size=8, lr=1e-2, schedule="onecycle"),)


def draw(number: int) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """An arrow that looks up, more or less; one in eight is hidden behind nothing: there is none."""
    rng = np.random.default_rng(number)
    image = rng.integers(0, 60, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    if number % 8 == 5:
        return image, []
    tip, angle = (rng.uniform(18, 46), rng.uniform(6, 20)), rng.uniform(-0.3, 0.3)
    places = [tip] + [
        (tip[0] + 20 * math.sin(angle + turn), tip[1] + 20 * math.cos(angle + turn)) for turn in (-0.6, 0.6)
    ]
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    for colour, place in enumerate(places):
        for share in np.linspace(0, 1, 30):
            u, v = (1 - share) * tip[0] + share * place[0], (1 - share) * tip[1] + share * place[1]
            image[(x - u) ** 2 + (y - v) ** 2 < 3] = 120
        image[(x - place[0]) ** 2 + (y - place[1]) ** 2 < 12, colour] = 250
    seen = [2, 1 if number % 4 == 2 else 2, 0 if number % 7 == 3 else 2]
    marked = [[round(u, 2), round(v, 2), s] if s else [0, 0, 0] for (u, v), s in zip(places, seen, strict=True)]
    return image, [{"class": "arrow", "points": marked, "names": list(POINTS)}]


class Posed(Source):
    """Arrows 0 to ``count``; the last ones in other roles."""

    def __init__(self, count: int, *, reference: int = 0, test: int = 0) -> None:
        self.ids = tuple(f"arrow/{number:03d}.png" for number in range(count))
        self.classes = CLASSES
        pairs = {item: draw(number) for number, item in enumerate(self.ids)}
        self.images = {item: image for item, (image, _) in pairs.items()}
        self.truth = {item: {"size": [WIDTH, HEIGHT], "objects": things} for item, (_, things) in pairs.items()}
        held = self.ids[count - test :], self.ids[count - test - reference : count - test]
        self.roles = {**dict.fromkeys(held[0], "test"), **dict.fromkeys(held[1], "reference")}  # type: ignore[assignment]

    def load(self, item_id: str) -> np.ndarray:
        return self.images[item_id]

    def batch(self, item_ids: Sequence[str]) -> np.ndarray:
        return np.stack([self.images[item] for item in item_ids])

    def content(self, item_ids: Sequence[str]) -> list[str]:
        return [item.encode().hex().ljust(32, "0")[-32:] for item in item_ids]


def task(**options: Any) -> Keypoints:
    options = {"augment": "none", "within": 4.0, **options}
    return Keypoints(CLASSES, POINTS, input=InputSpec(INPUT), **options)


def narrow() -> UNet:
    return UNet(len(POINTS), width=4)


def learner(**options: Any) -> TorchLearner:
    options.setdefault("phases", FAST)
    return TorchLearner(task(), narrow, **options)


view = partial(scenes.view, task)
learner_data = partial(scenes.learner_data, task)


@cache
def trained() -> tuple[Posed, TorchLearner]:
    """Eighty arrows, and a network that has learnt the first sixty of them."""
    source = Posed(80, test=20)
    net = learner()
    net.fit(learner_data(source, source.ids[:60]), 0)
    return source, net


def narrow_of_four(points: int, spec: InputSpec) -> UNet:
    """A network that configurations name."""
    return UNet(points, spec.channels, width=4)
