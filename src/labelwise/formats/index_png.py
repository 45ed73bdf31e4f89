"""Masks as PNG files whose pixels are class indices: lossless, small, and readable everywhere."""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, UnidentifiedImageError

from labelwise.errors import FormatError
from labelwise.targets import IGNORE


def encode_mask(indices_HW: np.ndarray, palette: Sequence[tuple[int, int, int]] | None = None) -> bytes:
    """A PNG of one byte a pixel; with a palette, viewers show colours while the indices stay what they are.

    Args:
        indices_HW: uint8 class indices, 255 = ignore.
        palette: colour of each class; grey levels without one.

    Example:
        >>> mask = np.array([[0, 1], [255, 1]], np.uint8)
        >>> decode_mask(encode_mask(mask)).tolist()
        [[0, 1], [255, 1]]
    """
    image = Image.fromarray(np.ascontiguousarray(indices_HW, dtype=np.uint8))
    if palette is not None:
        colours = np.zeros((256, 3), np.uint8)
        colours[IGNORE] = 224, 224, 192
        colours[: len(palette)] = palette
        image.putpalette(colours.tobytes())
    out = io.BytesIO()
    image.save(out, "PNG", optimize=False, compress_level=6)
    return out.getvalue()


def decode_mask(png: bytes, name: str = "the mask") -> np.ndarray:
    """uint8 indices (H, W) of a PNG in grey or palette mode, as stored.

    Raises:
        FormatError: no PNG, or one whose pixels are no indices.
    """
    try:
        with Image.open(io.BytesIO(png), formats=("PNG",)) as image:
            if image.mode not in ("L", "P", "1"):
                raise FormatError(
                    f"{name} is a PNG of mode {image.mode}, whose pixels are colours: give class indices (mode L or P)"
                )
            return np.array(image, dtype=np.uint8)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise FormatError(f"{name} cannot be read as PNG: {error}") from error


def mask_text(indices_HW: np.ndarray) -> str:
    """The PNG as base64 text, as it stands in a raw label."""
    return base64.b64encode(encode_mask(indices_HW)).decode("ascii")


def text_mask(text: str, name: str = "the mask") -> np.ndarray:
    """Indices of a PNG that is written as base64 text.

    Raises:
        FormatError: no base64, or no PNG.
    """
    try:
        png = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError, AttributeError) as error:
        raise FormatError(f"{name} is no base64 text: {str(text)[:40]!r}; give that of a PNG") from error
    return decode_mask(png, name)
