"""Pictures of masks as files of any kind that keeps every pixel: PNG, BMP, TIFF, GIF, PGM.

Memory: that of decoding a picture of this size (``formats.headers`` has the limit) and two bytes a pixel. Sizes are
compared by whoever reads before anything is decoded: ``mask_size`` looks at the header only.

Shape letters: H x W pixels.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from labelwise.errors import DataError, FormatError
from labelwise.formats.headers import failing_in_one_line, opened, orientation, read_header, stored_size
from labelwise.formats.index_png import Colour, StoredMask
from labelwise.formats.mask_coding import histogram

if TYPE_CHECKING:
    from PIL.Image import Image

#: kinds of file that keep every pixel, as Pillow calls them
EXACT = ("PNG", "BMP", "DIB", "TIFF", "GIF", "PPM")
#: kinds of TIFF that do not
_LOSSY_TIFF = frozenset({"jpeg", "tiff_jpeg", "webp", "old_jpeg"})
#: numbers of more than eight bits
_WIDE = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")
#: pixels that are copied at once
_BAND = 1 << 22
_ENDINGS = ".png, .bmp, .tif, .gif or .pgm"


def mask_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Width and height as the mask is seen, out of the header.

    Raises:
        FormatError: no such file, no picture, or one that would take too much memory.
    """
    try:
        header = read_header(path)
    except DataError as error:
        raise FormatError(str(error)) from None
    return header.width, header.height


def picture_sides(path: str | os.PathLike[str]) -> tuple[tuple[int, int], tuple[int, int], int]:
    """(width, height) of a picture as it is shown, the same as it is stored, and how it is turned (1 to 8).

    Raises:
        DataError: it cannot be read.
    """
    with failing_in_one_line(path, None, "its size cannot be read"), opened(path) as (image, file):
        stored, turned = stored_size(image), orientation(image, file)
    return stored[::-1] if turned >= 5 else stored, stored, turned


def upright(pixels_HW: np.ndarray, turned: int) -> np.ndarray:
    """Stored pixels as they are seen.

    Args:
        pixels_HW: as stored.
        turned: 1 to 8, as EXIF numbers orientations.

    Example:
        >>> upright(np.array([[1, 2]]), 6).tolist(), upright(np.array([[1, 2]]), 3).tolist()
        ([[1], [2]], [[2, 1]])
    """
    if turned >= 5:
        pixels_HW = pixels_HW.T
    if turned in (2, 3, 6, 7):
        pixels_HW = pixels_HW[:, ::-1]
    if turned in (3, 4, 7, 8):
        pixels_HW = pixels_HW[::-1]
    return np.ascontiguousarray(pixels_HW)


def read_stored(path: str | os.PathLike[str]) -> StoredMask:
    """What the pixels of a mask file hold: numbers or colours.

    Grey levels of sixteen bits or floats are read where they are whole numbers of a byte. Of a GIF colours and grey
    levels count, as programs number its palette anew.

    Raises:
        FormatError: no such file, a damaged one, one that loses pixels (JPEG), several pages, transparent pixels, or
            numbers that are no byte.
    """
    shown = repr(os.fspath(path))
    image = _loaded(path, shown)
    if image.mode in _WIDE:
        return StoredMask(_bytes(image, shown), mode=image.mode)
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa"):
        if image.getchannel("A").getextrema() != (255, 255):
            raise FormatError(f"{shown} has transparent pixels, which mean nothing in a mask: save it without alpha")
        image = image.convert("L" if image.mode in ("LA", "La") else "RGB")
    if image.mode in ("L", "1"):
        return StoredMask(_array(image), mode=image.mode)
    if image.mode == "P":
        return _of_palette(image)
    if image.mode == "RGB":
        return _of_colours(_array(image), image.mode)
    raise FormatError(f"{shown} has pixels of mode {image.mode}, which no mask has: save class indices as grey values")


def read_integers(path: str | os.PathLike[str]) -> np.ndarray:
    """int32 (H, W) whole numbers of a file, eight or sixteen bits a pixel: numbers of objects.

    Raises:
        FormatError: as :func:`read_stored`, and for colours and floats.
    """
    shown = repr(os.fspath(path))
    image = _loaded(path, shown)
    numbers: np.ndarray = np.asarray(image)
    if numbers.ndim != 2 or numbers.dtype.kind not in "iub":
        raise FormatError(f"{shown} has pixels of mode {image.mode}, which number no objects: give whole numbers")
    return numbers.astype(np.int32)


def _loaded(path: str | os.PathLike[str], shown: str) -> Image:
    """The decoded picture, turned as its own tag says."""
    from PIL import ImageOps

    try:
        with failing_in_one_line(path, None, "cannot be read as a mask"), opened(path) as (image, _):
            kind, odd = image.format, _oddity(image)
            if kind in EXACT and not odd:
                image.load()
                ImageOps.exif_transpose(image, in_place=True)
                return image
    except DataError as error:
        raise FormatError(str(error)) from None
    raise FormatError(f"{shown} {odd or f'is a {kind} file, which is lossy'}: masks need every pixel, as {_ENDINGS}")


def _oddity(image: Image) -> str:
    if getattr(image, "is_animated", False):
        return "holds several pictures"
    info: dict[Any, Any] = image.info
    if image.format == "TIFF" and info.get("compression") in _LOSSY_TIFF:
        return f"is compressed as {info['compression']}, which is lossy"
    return ""


def _array(image: Image) -> np.ndarray:
    """uint8 (H, W) or (H, W, 3), some rows at a time: Pillow hands all of its pixels out as a copy to be copied."""
    pixels = np.empty((image.height, image.width, *((3,) if image.mode == "RGB" else ())), np.uint8)
    for start, rows in _bands(image):
        pixels[start : start + len(rows)] = rows
    return pixels


def _bands(image: Image) -> Iterator[tuple[int, np.ndarray]]:
    step = max(1, _BAND // max(1, image.width))
    for start in range(0, image.height, step):
        yield start, np.asarray(image.crop((0, start, image.width, min(start + step, image.height))))


def _bytes(image: Image, shown: str) -> np.ndarray:
    """Deep grey levels as bytes."""
    found_HW = np.empty((image.height, image.width), np.uint8)
    low, high, whole = np.inf, -np.inf, True
    for start, rows in _bands(image):
        low, high = min(low, float(rows.min())), max(high, float(rows.max()))
        if not (low >= 0 and high <= 255):
            continue
        with np.errstate(invalid="ignore"):  # of what is no number: it is refused below
            found_HW[start : start + len(rows)] = rows
        whole = whole and bool((found_HW[start : start + len(rows)] == rows).all())
    if not (low >= 0 and high <= 255 and whole):
        raise FormatError(
            f"{shown} has grey levels of more than eight bits from {low:g} to {high:g}: save class indices as whole "
            "numbers from 0 to 254 (255 to ignore)"
        )
    return found_HW


def _of_palette(image: Image) -> StoredMask:
    values, listed = _array(image), image.getpalette("RGB") or []
    palette = tuple((r, g, b) for r, g, b in zip(listed[::3], listed[1::3], listed[2::3], strict=False))
    if image.format == "GIF":
        return _of_colours(_array(image.convert("RGB")), "P")
    return StoredMask(values, None if _is_grey_ramp(palette) else palette, mode="P")


def _is_grey_ramp(palette: Sequence[Colour]) -> bool:
    return all(colour == (n, n, n) for n, colour in enumerate(palette))


def _of_colours(pixels_HW3: np.ndarray, mode: str) -> StoredMask:
    """Colours; grey levels where all three are alike, as many programs save masks."""
    red = pixels_HW3[..., 0]
    if (red == pixels_HW3[..., 1]).all() and (red == pixels_HW3[..., 2]).all():
        return StoredMask(np.ascontiguousarray(red), None, pixels_HW3, mode)
    return StoredMask(None, None, pixels_HW3, mode)


def used_values(stored: StoredMask) -> frozenset[int]:
    """The values that occur; none where pixels are colours."""
    if stored.values is None:
        return frozenset()
    return frozenset(np.flatnonzero(histogram(stored.values)).tolist())
