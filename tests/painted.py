"""Drawn scenes with the class of every pixel: segmentation small enough to train in seconds."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial
from typing import Any

import numpy as np

import scenes
import shapes
from labelwise.contracts.input import InputSpec
from labelwise.contracts.learner import Phase
from labelwise.contracts.record import IGNORE
from labelwise.contracts.source import Source
from labelwise.formats.index_png import mask_text
from labelwise.learners.torch import TorchLearner
from labelwise.models.unet import UNet
from labelwise.tasks.segmentation import Segmentation

CLASSES = ("ground", *shapes.CLASSES)
#: of the images, and of the model's input: masks are squeezed to two thirds
HEIGHT, WIDTH = 24, 32
INPUT = (16, 24)
FAST = (Phase(epochs=6, batch_size=8, lr=1e-2, schedule="onecycle"),)


def paint(number: int) -> tuple[np.ndarray, np.ndarray]:
    """A scene and its classes; the first row of pixels is without one."""
    image, _ = shapes._draw(np.random.default_rng(number), number % 8 == 5)
    image = image[::2, ::2]
    classes = np.where(image.max(2) > 100, image.argmax(2) + 1, 0).astype(np.uint8)
    classes[0] = IGNORE
    return image, classes


class Painted(Source):
    """Scenes 0 to ``count``, one in eight of nothing but ground; the last ones in other roles."""

    def __init__(self, count: int, *, reference: int = 0, test: int = 0) -> None:
        self.ids = tuple(f"scene/{number:03d}.png" for number in range(count))
        self.classes = CLASSES
        pairs = {item: paint(number) for number, item in enumerate(self.ids)}
        self.images = {item: image for item, (image, _) in pairs.items()}
        size = [WIDTH, HEIGHT]
        self.truth = {item: {"size": size, "png": mask_text(classes)} for item, (_, classes) in pairs.items()}
        held = self.ids[count - test :], self.ids[count - test - reference : count - test]
        self.roles = {**dict.fromkeys(held[0], "test"), **dict.fromkeys(held[1], "reference")}  # type: ignore[assignment]

    def load(self, item_id: str) -> np.ndarray:
        return self.images[item_id]

    def batch(self, item_ids: Sequence[str]) -> np.ndarray:
        return np.stack([self.images[item] for item in item_ids])

    def content(self, item_ids: Sequence[str]) -> list[str]:
        return [item.encode().hex().ljust(32, "0")[-32:] for item in item_ids]


def task(**options: Any) -> Segmentation:
    options.setdefault("augment", "none")
    return Segmentation(CLASSES, InputSpec(INPUT), **options)


def narrow() -> UNet:
    return UNet(len(CLASSES), width=4)


def learner(**options: Any) -> TorchLearner:
    options.setdefault("phases", FAST)
    return TorchLearner(task(), narrow, **options)


view = partial(scenes.view, task)
learner_data = partial(scenes.learner_data, task)


@cache
def trained() -> tuple[Painted, TorchLearner]:
    """Eighty scenes, and a network that has learnt the first sixty of them."""
    source = Painted(80, test=20)
    net = learner()
    net.fit(learner_data(source, source.ids[:60]), 0)
    return source, net
