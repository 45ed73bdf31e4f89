"""What people see of an image that a source gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from labelwise.errors import DataError

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

    from labelwise.contracts.source import Source


def picture(image: np.ndarray | torch.Tensor, max_side: int) -> np.ndarray:
    """A loaded image made fit to be looked at: uint8 (H, W, 1 | 3), shrunk to ``max_side``.

    Float tensors (C, H, W) are stretched from their minimum to their maximum, for people's eyes alone; of more than
    three channels, or two, the first is shown.

    Example:
        >>> picture(np.zeros((40, 20, 3), np.uint8), 10).shape
        (10, 5, 3)
    """
    from PIL import Image

    pixels = np.asarray(image)
    if pixels.dtype != np.uint8:
        finite = pixels[np.isfinite(pixels)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
        pixels = _stretched(np.moveaxis(pixels, 0, -1), low, high)
    if pixels.shape[-1] not in (1, 3):
        pixels = pixels[..., :1]
    shown = as_image(np.ascontiguousarray(pixels))
    shown.thumbnail((max_side, max_side), Image.Resampling.BICUBIC, reducing_gap=2.0)
    found = np.array(shown)
    return found if found.ndim == 3 else found[:, :, None]


def as_image(pixels_HWC: np.ndarray) -> Image:
    """What a source gives to be looked at, uint8 (H, W, 1 | 3), as a picture of Pillow.

    Example:
        >>> as_image(np.zeros((40, 20, 1), np.uint8)).mode
        'L'
    """
    from PIL import Image

    return Image.fromarray(pixels_HWC[..., 0] if pixels_HWC.shape[-1] == 1 else pixels_HWC)


def picture_of(source: Source, item: str, side: int) -> Image | None:
    """A small picture of an item of a source; None for one that cannot be read."""
    try:
        return as_image(source.thumbnail(item, side))
    except DataError:
        return None


def _stretched(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """``low`` becomes 0, ``high`` 255; what is not finite becomes 0."""
    with np.errstate(all="ignore"):
        scaled = (values.astype(np.float64) - low) * (255.0 / max(high - low, 1e-300))
    return np.clip(np.rint(np.nan_to_num(scaled, nan=0.0, posinf=0.0, neginf=0.0)), 0, 255).astype(np.uint8)
