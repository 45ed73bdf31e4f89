"""Masks as raw labels: ``{"size": [width, height], "png": TEXT, "at": [x, y]}``, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from labelwise.contracts.record import IGNORE
from labelwise.contracts.targets import Mask
from labelwise.formats.index_png import mask_text, text_mask


def raw_of(mask: Mask) -> dict[str, Any]:
    """The raw label of a mask, without loss; of a window the window alone.

    Example:
        >>> mask = Mask(torch.tensor([[3]], dtype=torch.uint8), size=(5, 4), at=(2, 1))
        >>> raw = raw_of(mask)
        >>> raw["size"], raw["at"], mask_of(raw) == mask
        ([5, 4], [2, 1], True)
    """
    indices_HW = mask.classes_HW.cpu().numpy()
    if not indices_HW.size:  # there is no PNG without a pixel
        indices_HW = np.full((1, 1), IGNORE, np.uint8)
    raw: dict[str, Any] = {"size": list(mask.size), "png": mask_text(indices_HW)}
    if indices_HW.shape != mask.size[::-1]:
        raw["at"] = list(mask.at)
    return raw


def mask_of(raw: Mapping[str, Any]) -> Mask:
    """The mask of a raw label that was checked when it was read."""
    (width, height), (x, y) = raw["size"], raw.get("at", (0, 0))
    return Mask(torch.from_numpy(text_mask(raw["png"])), (int(width), int(height)), (int(x), int(y)))
