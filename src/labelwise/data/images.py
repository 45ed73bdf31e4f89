"""Decoding: a file or bytes in, a plain uint8 array out, one kind of error.

Shape letters: H height, W width, C channels (1 or 3).
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Iterator
from typing import Literal

import numpy as np
from PIL import Image

from labelwise.contracts.picture import as_image
from labelwise.contracts.source import ValueRange
from labelwise.formats import headers
from labelwise.formats.headers import Depth, Encoded, Refused, failing_in_one_line, opened, read_header

#: pixels that are converted at once
_STRIP = 1 << 20

#: raw mode that reads the lower byte of each 16-bit colour, where the usual one reads the higher
_LOWER = {
    f"{colours};16{order}": f"{colours};16{lower}"
    for colours in ("RGB", "RGBA", "RGBX")
    for order, lower in (("L", "B"), ("B", "L"), ("N", "B" if sys.byteorder == "little" else "L"))
} | {"LA;16B": "RGBA"}  # high and low byte of grey, then of alpha


def decode(
    image: Encoded,
    *,
    max_side: int | None = None,
    channels: Literal[1, 3] | None = None,
    value_range: ValueRange | None = None,
    name: str | None = None,
) -> np.ndarray:
    """One image as a uint8 array.

    The first frame, turned as its EXIF data say. Transparency is laid on white; palettes, CMYK, YCbCr and HSV become
    RGB; black-and-white becomes grey. Pictures of 8 bits come as they are. Deeper ones are scaled linearly from
    ``value_range``, never from their own darkest and brightest pixel, so that the pictures of a set stay comparable.
    Without it whole numbers of 16 bits (or 12, where a TIFF header says so; or up to the largest value of a PGM) are
    scaled from their full range, and floats, signed numbers and 32 bits are refused: their header says nothing of
    black and white. What is beyond the range becomes black or white, NaN black.

    Args:
        image: a path, or the encoded bytes.
        max_side: shrink so that neither side is longer than this many pixels; JPEG files are decoded at a reduced size
            already, which makes thumbnails several times faster. Smaller images stay as they are.
        channels: 1 for grey, 3 for RGB; None keeps what the file has.
        value_range: the values that become 0 and 255 in pictures of more than 8 bits: one range for a whole set.
        name: what to call the image in an error; the path by default.

    Returns:
        Array (H, W, C), C 1 or 3, writable.

    Raises:
        DataError: for a file that is missing, empty, no image, truncated, of numbers without a range, or too large:
            more than 178,956,970 pixels, or more than 0.95 GB of memory while it is decoded (judged by its header,
            without decoding); in one line.

    Example:
        >>> import io
        >>> buffer = io.BytesIO()
        >>> Image.new("RGBA", (4, 2), (255, 0, 0, 0)).save(buffer, "PNG")
        >>> decode(buffer.getvalue())[0, 0].tolist()
        [255, 255, 255]
        >>> buffer = io.BytesIO()
        >>> Image.new("I;16", (4, 2), 4095).save(buffer, "PNG")
        >>> decode(buffer.getvalue())[0, 0].tolist(), decode(buffer.getvalue(), value_range=(0, 4095))[0, 0].tolist()
        ([16], [255])
    """
    with failing_in_one_line(image, name, "cannot be decoded"), opened(image) as (picture, file):
        turn = headers.orientation(picture, file)
        depth = headers.depth_of(picture)
        low = _low_bytes(image, picture, value_range)
        if max_side is not None and picture.format in ("JPEG", "MPO"):
            picture.thumbnail((max_side, max_side), Image.Resampling.BICUBIC, reducing_gap=2.0)
        picture.load()
        if picture.format == "TIFF":  # Pillow turns it while it reads
            turn = headers.exif_orientation(picture)
        pixels_HWC = _eight_bit(picture, low, depth, value_range, channels)
        del picture, low
        return _shrunk(_upright(pixels_HWC, turn), max_side)


def read_size(path: str | os.PathLike[str], *, name: str | None = None) -> tuple[int, int]:
    """Width and height that ``decode`` would give, out of the file's header.

    Raises:
        DataError: for a file that is missing, no image, or too large to be decoded.

    Example:
        >>> import tempfile, pathlib
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "a.png"
        >>> Image.new("L", (4, 2)).save(file)
        >>> read_size(file)
        (4, 2)
    """
    header = read_header(path, name=name)
    return header.width, header.height


def to_array(
    image: Image.Image,
    *,
    max_side: int | None = None,
    channels: Literal[1, 3] | None = None,
    value_range: ValueRange | None = None,
    name: str = "image in memory",
) -> np.ndarray:
    """A Pillow image as a uint8 array (H, W, C), by the rules of :func:`decode`.

    Raises:
        DataError: an image of floats, signed numbers or 32 bits without a range.

    Example:
        >>> to_array(Image.new("1", (3, 2), 1)).shape
        (2, 3, 1)
    """
    with failing_in_one_line(b"", name, "cannot be decoded"):
        depth = headers.depth_of(image)
        image.load()
        turn = headers.exif_orientation(image)
        return _shrunk(_upright(_eight_bit(image, None, depth, value_range, channels), turn), max_side)


def numbers(image: Encoded, *, most: int, name: str | None = None) -> np.ndarray:
    """Some values of a deep picture, evenly spaced, as its file has them; what a range can be judged by.

    Args:
        image: a path, or the encoded bytes.
        most: about how many values.
        name: what to call the picture in an error.

    Returns:
        One dimension, of the file's kind of number; values that are not finite are left out. Empty for 8 bits.

    Raises:
        DataError: as for ``decode``.
    """
    with failing_in_one_line(image, name, "cannot be decoded"), opened(image) as (picture, _):
        depth = headers.depth_of(picture)
        if depth is None:
            return np.empty(0, np.uint8)
        low = _low_bytes(image, picture, (0, 1)) if depth.colour else None
        every = max(1, round((picture.width * picture.height / most) ** 0.5))
        picture.load()
        parts = [_values(*strip, depth)[::every, ::every].reshape(-1) for _, strip in _strips(picture, low)]
        found = np.concatenate(parts)
        finite: np.ndarray = found[np.isfinite(found)]
        return finite


# ---- from the numbers of the file to 8 bits --------------------------------------------------------------------------


def _eight_bit(
    image: Image.Image,
    low: Image.Image | None,
    depth: Depth | None,
    value_range: ValueRange | None,
    channels: Literal[1, 3] | None,
) -> np.ndarray:
    """(H, W, C) of a loaded image, strip by strip, so that nothing but the result is there as a whole."""
    full = None if depth is None else value_range or depth.full
    if depth is not None and full is None:
        raise Refused(
            f"{depth.what} values: which of them are black and white is not in the file; say it once for all pictures, "
            "input: {range: [low, high]} in labelwise.yaml, or value_range=(low, high) in code"
        )
    out_HWC: np.ndarray | None = None
    for top, strip in _strips(image, low):
        plain = _plain(strip[0]) if depth is None or full is None else _scaled_strip(*strip, depth, full)
        if channels is not None:
            plain = plain.convert("L" if channels == 1 else "RGB")
        pixels = np.asarray(plain)
        pixels = pixels[..., None] if pixels.ndim == 2 else pixels
        if out_HWC is None:
            out_HWC = np.empty((image.height, image.width, pixels.shape[2]), np.uint8)
        out_HWC[top : top + len(pixels)] = pixels
    assert out_HWC is not None, "an image has at least one row"
    return out_HWC


def _strips(
    image: Image.Image, low: Image.Image | None
) -> Iterator[tuple[int, tuple[Image.Image, Image.Image | None]]]:
    """First row and some rows of an image, and of the one that holds its low bytes."""
    rows = max(1, _STRIP // image.width)
    if rows >= image.height:
        yield 0, (image, low)
        return
    for top in range(0, image.height, rows):
        box = (0, top, image.width, min(top + rows, image.height))
        yield top, (image.crop(box), None if low is None else low.crop(box))


def _plain(image: Image.Image) -> Image.Image:
    """Mode L or RGB of an image of 8 bits."""
    if image.mode in ("L", "RGB"):
        return image
    if image.mode == "1":
        return image.convert("L")
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or (image.mode == "P" and "transparency" in image.info):
        plain = "L" if image.mode in ("LA", "La") else "RGB"
        rgba = image.convert("LA").convert("RGBA") if image.mode == "La" else image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, (255, 255, 255, 255)), rgba).convert(plain)
    return image.convert("RGB")


def _scaled_strip(image: Image.Image, low: Image.Image | None, depth: Depth, full: ValueRange) -> Image.Image:
    """Mode L or RGB of a deep image."""
    if depth.colour and low is None:
        return _plain(image)  # the high bytes are the full range
    pixels = _scaled(_values(image, low, depth), *full)
    if depth.white_zero:
        pixels = 255 - pixels
    if not depth.colour:
        return Image.fromarray(pixels[..., 0])
    if image.mode == "RGBA":
        pixels = np.concatenate([pixels, np.asarray(image)[..., 3:]], 2)
    return _plain(Image.fromarray(pixels))


def _low_bytes(source: Encoded, image: Image.Image, full: ValueRange | None) -> Image.Image | None:
    """The lower byte of each value of a deep colour picture, where the high ones do not say all that is asked for."""
    depth = headers.depth_of(image)
    if depth is None or not depth.colour or (full or depth.full) == (0, 65_535):
        return None
    raw = headers.raw_mode(image)
    if raw not in _LOWER:
        raise Refused(f"16-bit colours stored as {raw}, which can only be read from 0 to 65,535; save them as RGB")
    with opened(source) as (low, _):
        headers.with_raw_mode(low, _LOWER[raw])
        low.load()
        low.info["grey"] = raw == "LA;16B"
        return low


def _values(image: Image.Image, low: Image.Image | None, depth: Depth) -> np.ndarray:
    """(H, W, 1 | 3) numbers as the file has them."""
    if low is not None:
        high_HWC, low_HWC = np.asarray(image)[..., :3], np.asarray(low)
        low_HWC = low_HWC[..., [1, 1, 1]] if low.info["grey"] else low_HWC[..., :3]
        joined: np.ndarray = (high_HWC.astype(np.uint16) << 8) | low_HWC
        return joined
    values_HW: np.ndarray = np.asarray(image)
    if depth.kept_as is not None:
        values_HW = values_HW.view(depth.kept_as)
    if depth.scaled_from is not None:
        values_HW = np.rint(values_HW * (depth.scaled_from / 65_535))
    return values_HW[..., None]


def _scaled(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """``low`` becomes 0, ``high`` 255; NaN becomes 0."""
    if values.dtype.kind == "u" and values.dtype.itemsize == 2:
        found: np.ndarray = _table(low, high)[values]
        return found
    with np.errstate(all="ignore"):
        scaled = (values.astype(np.float64) - low) * (255.0 / max(high - low, 1e-300))
        eight: np.ndarray = np.nan_to_num(np.rint(np.clip(scaled, 0, 255))).astype(np.uint8)
    return eight


@functools.lru_cache(maxsize=4)
def _table(low: float, high: float) -> np.ndarray:
    """What each number of 16 bits becomes."""
    return _scaled(np.arange(65_536, dtype=np.float64), low, high)


def _upright(pixels_HWC: np.ndarray, orientation: int) -> np.ndarray:
    """Turned as an orientation of EXIF says."""
    if orientation > 4:
        pixels_HWC = pixels_HWC.swapaxes(0, 1)
    across, down = {2: (-1, 1), 3: (-1, -1), 4: (1, -1), 6: (-1, 1), 7: (-1, -1), 8: (1, -1)}.get(orientation, (1, 1))
    return np.ascontiguousarray(pixels_HWC[::down, ::across])


def _shrunk(pixels_HWC: np.ndarray, max_side: int | None) -> np.ndarray:
    if max_side is None or max(pixels_HWC.shape[:2]) <= max_side:
        return pixels_HWC
    image = as_image(pixels_HWC)
    image.thumbnail((max_side, max_side), Image.Resampling.BICUBIC, reducing_gap=2.0)
    pixels = np.array(image)
    return pixels if pixels.ndim == 3 else pixels[..., None]
