"""Pictures of asked images: what the model says of their pixels, what people drew, and where the model is unsure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.ndimage import binary_erosion

from labelwise.contracts.learner import Examples
from labelwise.drawing.masks import SIDE, Colour, masked
from labelwise.exchange.masks import predicted_masks
from labelwise.kinds.masks import whole as whole_mask
from labelwise.signals.pixels import PixelUncertainty

if TYPE_CHECKING:
    from labelwise.contracts.learner import Learner
    from labelwise.contracts.source import Source

UNSURE = PixelUncertainty()


def mask_pictures(
    image_of: Callable[[str], Any],
    source: Source,
    learner: Learner | None,
    ids: Sequence[str],
    *,
    labelled: Mapping[str, Any],
    classes: Sequence[str],
    palette: Sequence[Colour] | None,
) -> Callable[[str], Any]:
    """Gives the picture of an item: the image with its masks beside it, or the image alone where there are none.

    A region is shown by its border in the whole image.

    Args:
        image_of: the image of an id, or None.
        source: the images.
        learner: what was trained; None: no predictions.
        ids: what will be shown.
        labelled: raw label of items that have one.
        classes: in index order.
        palette: colour of each class, where the data say so.

    Raises:
        UnmetNeed: the learner says nothing of pixels.

    Cost:
        Two passes over the images; a mask and a map of each in memory.
    """
    images = tuple(dict.fromkeys(source.within(item)[0] for item in ids))
    known = learner is not None and learner.weights is not None
    guesses = dict(predicted_masks(learner, source, images)) if learner is not None and known else {}
    unsure: dict[str, np.ndarray] = {}
    if learner is not None and known:
        table = learner.collect(Examples(source, images), frozenset({UNSURE}))
        unsure = {item: table[UNSURE][row].reshape(learner.task.input.size) for row, item in enumerate(table.ids)}

    def picture(item: str) -> Any:
        whole, region = source.within(item)
        shown = image_of(whole)
        panels: dict[str, np.ndarray] = {}
        if whole in guesses:
            panels["predicted"] = guesses[whole]
        if item in labelled:
            panels["labelled"] = whole_mask(labelled[item])
        if shown is None or (not panels and region is None):
            return shown
        border = None if region is None else _border(source, item)
        unsure_HW = unsure.get(whole)
        return masked(shown, classes, panels, palette=palette, uncertainty_HW=unsure_HW, outline_HW=border)

    return picture


def _border(source: Any, region: str) -> np.ndarray:
    """(H, W) the pixels at the border of a region, a line thick enough to be seen when the image is shrunk."""
    inside, (x, y) = source.outline(region)
    width, height = source.size(region)
    padded = np.pad(inside, 1)
    thick = max(1, round(max(width, height) / SIDE))
    whole = np.zeros((height, width), bool)
    there = whole[y : y + inside.shape[0], x : x + inside.shape[1]]
    there[:] = (padded & ~binary_erosion(padded, iterations=thick))[1:-1, 1:-1]
    return whole
