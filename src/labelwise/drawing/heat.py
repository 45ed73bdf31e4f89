"""How unsure a model is of each place of an image, as colours."""

from __future__ import annotations

import numpy as np
from PIL import Image

#: the words at such a picture
UNSURE = "uncertainty, dark to bright"


def heat(values_HW: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(height, width, 3) uint8: dark is the least and bright the most of *this* image, and what is not finite.

    Args:
        values_HW: of any size.
        size: (width, height) of what is wanted.

    Example:
        >>> heat(np.array([[0.0, 1.0]]), (2, 1)).sum(-1).tolist()
        [[4, 696]]
    """
    from matplotlib import colormaps

    finite = np.isfinite(values_HW)
    low, high = (values_HW[finite].min(), values_HW[finite].max()) if finite.any() else (0.0, 0.0)
    share = np.where(finite, (values_HW - low) / (high - low) if high > low else 0.0, 1.0).astype(np.float32)
    shown = np.asarray(Image.fromarray(share).resize(size, Image.Resampling.BILINEAR))
    return (colormaps["magma"](shown.clip(0, 1))[..., :3] * 255).round().astype(np.uint8)  # type: ignore[no-any-return]
