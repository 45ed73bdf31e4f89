"""What a learner says of the pixels of a few images: masks at the size of the image, and how unsure it is where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from labelwise.errors import UnmetNeed
from labelwise.learner import View
from labelwise.signals.pixels import PixelClass, PixelUncertainty
from labelwise.targets import Mask, nearest

if TYPE_CHECKING:
    from labelwise.data.source import Source
    from labelwise.learner import Learner

CLASSES, UNSURE = PixelClass(), PixelUncertainty()


@dataclass(frozen=True)
class PredictedMask:
    """What a model says of one image.

    Args:
        label: raw label of the whole image, each pixel with the class of the nearest pixel of the model's input.
        uncertainty_HW: float32 entropy in nats of each pixel of the model's input.
    """

    label: dict[str, Any]
    uncertainty_HW: np.ndarray


def predicted_masks(learner: Learner, source: Source, ids: Sequence[str]) -> dict[str, PredictedMask]:
    """The masks of these images; nothing for those that cannot be read, or where nothing was trained.

    Raises:
        UnmetNeed: the learner says nothing of pixels.

    Cost:
        One pass; five bytes for each pixel of the input of each image.
    """
    if learner.weights is None:
        return {}
    if not CLASSES.fields <= learner.provides:
        raise UnmetNeed("the learner says nothing of pixels that could be shown to people: leave the predictions out")
    table = learner.collect(View(source, tuple(ids)), frozenset({CLASSES, UNSURE}))
    size = learner.task.input.size
    found = {}
    for row, item in enumerate(table.ids):
        width, height = source.size(item)
        classes_HW = nearest(torch.from_numpy(np.array(table[CLASSES][row])).view(size), (height, width))
        label = learner.task.dump(Mask(classes_HW, (width, height)))
        found[item] = PredictedMask(label, np.array(table[UNSURE][row]).reshape(size))
    return found
