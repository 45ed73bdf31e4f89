"""Masks as PNG files whose pixels are class indices: lossless, small, and readable everywhere."""

from __future__ import annotations

import base64
import binascii
import io
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, UnidentifiedImageError

from labelwise.contracts.record import IGNORE
from labelwise.errors import FormatError

Colour = tuple[int, int, int]

#: how viewers show pixels without class in the masks written here, and in those of VOC
IGNORE_COLOUR: Colour = (224, 224, 192)

#: everything that Pillow raises on a damaged PNG
_DAMAGED = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Image.DecompressionBombError)


@dataclass(frozen=True)
class StoredMask:
    """The pixels of a mask file as they are stored.

    Args:
        values: uint8 (H, W) grey values or palette numbers; None where pixels are colours.
        palette: colour of each palette number; None for grey values, and where number n is the grey level n.
        colours: uint8 (H, W, 3) where pixels are colours.
        mode: as Pillow calls it.
    """

    values: np.ndarray | None
    palette: tuple[Colour, ...] | None = None
    colours: np.ndarray | None = None
    mode: str = "L"

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        pixels = self.values if self.values is not None else self.colours
        assert pixels is not None, "a mask holds values or colours"
        return int(pixels.shape[1]), int(pixels.shape[0])


def encode_mask(indices_HW: np.ndarray, palette: Sequence[Colour] | None = None) -> bytes:
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
        colours[: len(palette)] = palette
        colours[IGNORE] = IGNORE_COLOUR
        image.putpalette(colours.tobytes())
    out = io.BytesIO()
    image.save(out, "PNG", optimize=False, compress_level=6)
    return out.getvalue()


def decode_mask(png: bytes, name: str = "the mask") -> np.ndarray:
    """uint8 indices (H, W) of a PNG in grey or palette mode, as stored.

    Raises:
        FormatError: no PNG, or one whose pixels are no indices.
    """
    stored = decode_stored(png, name)
    if stored.values is None:
        raise FormatError(
            f"{name} is a PNG of mode {stored.mode}, whose pixels are colours: give class indices (mode L or P)"
        )
    return stored.values


def decode_stored(png: bytes, name: str) -> StoredMask:
    """What the pixels of a PNG hold: numbers, or colours.

    Args:
        png: the bytes of the file.
        name: as a message calls it.

    Raises:
        FormatError: no PNG or a damaged one, sixteen bits a pixel, transparent pixels, or far too many of them.
    """
    try:
        with Image.open(io.BytesIO(png), formats=("PNG",)) as image:
            image.load()
            return _stored(image, name)
    except _DAMAGED as error:
        reason = "it is no PNG" if isinstance(error, UnidentifiedImageError) else " ".join(str(error).split())
        raise FormatError(f"{name} cannot be read as PNG: {reason}; write it again") from error


def _stored(image: Image.Image, name: str) -> StoredMask:
    mode = image.mode
    if mode.startswith(("I", "F")):
        raise FormatError(f"{name} has sixteen bits a pixel: save class indices with eight (0 to 254, 255 to ignore)")
    if mode in ("LA", "RGBA"):
        if image.getchannel("A").getextrema() != (255, 255):
            raise FormatError(f"{name} has transparent pixels, which mean nothing in a mask: save it without alpha")
        image = image.convert(mode[:-1])
    if image.mode in ("L", "1"):
        return StoredMask(np.array(image, dtype=np.uint8), mode=mode)
    if image.mode == "P":
        values, listed = np.array(image, dtype=np.uint8), image.getpalette("RGB") or []
        palette = tuple((r, g, b) for r, g, b in zip(listed[::3], listed[1::3], listed[2::3], strict=False))
        grey = all(colour == (n, n, n) for n, colour in enumerate(palette))
        return StoredMask(values, None if grey else palette, mode=mode)
    return StoredMask(None, None, np.array(image.convert("RGB"), dtype=np.uint8), mode)


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
