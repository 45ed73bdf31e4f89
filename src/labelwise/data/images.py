"""Decoding: a file or bytes in, a plain uint8 array out, one kind of error.

Shape letters: H height, W width, C channels (1 or 3).
"""

from __future__ import annotations

import functools
import io
import os
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from labelwise.errors import DataError

if TYPE_CHECKING:
    import torch

#: what Pillow may try on a file, whatever its ending says
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "DIB", "GIF", "PPM", "JPEG2000", "AVIF")

#: Pillow's own limit for an error; larger images are refused on sight of their header
MAX_PIXELS = 178_956_970

_WIDE_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")
_ALPHA_MODES = ("LA", "La", "PA", "RGBA", "RGBa")

_QUIET = ("ignore", None, Warning, re.compile(r"PIL(\.|$)"), 0)
_quiet_lock = threading.Lock()
_quiet_users = 0


@contextmanager
def _without_pillow_warnings() -> Iterator[None]:
    """Pillow's warnings off, while at least one thread is inside.

    ``warnings.catch_warnings`` swaps the filter list as a whole and is not safe with threads that decode in parallel;
    one entry that is put in and taken out again is.
    """
    global _quiet_users
    with _quiet_lock:
        _quiet_users += 1
        if _QUIET not in warnings.filters:
            warnings.filters.insert(0, _QUIET)  # type: ignore[attr-defined]
    try:
        yield
    finally:
        with _quiet_lock:
            _quiet_users -= 1
            if not _quiet_users and _QUIET in warnings.filters:
                warnings.filters.remove(_QUIET)  # type: ignore[attr-defined]


def decode(
    image: str | os.PathLike[str] | bytes,
    *,
    max_side: int | None = None,
    channels: Literal[1, 3] | None = None,
    name: str | None = None,
) -> np.ndarray:
    """One image as a uint8 array.

    The first frame, turned as its EXIF data say. Transparency is laid on white; palettes, CMYK, YCbCr and HSV become
    RGB; black-and-white becomes grey. Deep grey images are scaled linearly to 8 bits: whole numbers from the range
    0-255, 0-4,095 (12-bit cameras) or 0-65,535, the first that holds them all, floats from 0-1, and whatever fits none
    of these from its own minimum to its own maximum.

    Args:
        image: a path, or the encoded bytes.
        max_side: shrink so that neither side is longer than this many pixels; JPEG files are decoded at a reduced size
            already, which makes thumbnails several times faster. Smaller images stay as they are.
        channels: 1 for grey, 3 for RGB; None keeps what the file has.
        name: what to call the image in an error; the path by default.

    Returns:
        Array (H, W, C), C 1 or 3, writable.

    Raises:
        DataError: for a file that is missing, empty, no image, truncated, or larger than 178,956,970 pixels (judged by
            its header, without decoding), in one line.

    Example:
        >>> buffer = io.BytesIO()
        >>> Image.new("RGBA", (4, 2), (255, 0, 0, 0)).save(buffer, "PNG")
        >>> decode(buffer.getvalue())[0, 0].tolist()
        [255, 255, 255]
    """
    if name is None:
        name = "image in memory" if isinstance(image, bytes) else os.fspath(image)
    shown = repr(name)
    try:
        with _without_pillow_warnings():
            if isinstance(image, bytes):
                return _read(io.BytesIO(image), len(image), max_side, channels)
            with Path(image).open("rb") as file:
                return _read(file, os.fstat(file.fileno()).st_size, max_side, channels)
    except _Refused as error:
        raise DataError(f"{shown}: {error}") from None
    except FileNotFoundError:
        raise DataError(f"{shown}: no such file; was it moved since the folder was read?") from None
    except MemoryError:
        raise DataError(f"{shown}: not enough memory to decode it; make it smaller or leave it out") from None
    except Exception as error:  # Pillow's decoders fail with SyntaxError, struct.error, zlib.error, IndexError, ...
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{shown}: cannot be decoded ({reason}); replace the file or leave it out") from None


def read_size(path: str | os.PathLike[str], *, name: str | None = None) -> tuple[int, int]:
    """Width and height that ``decode`` would give, out of the file's header.

    Raises:
        DataError: for a file that is missing, or no image.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "a.png"
        >>> Image.new("L", (4, 2)).save(file)
        >>> read_size(file)
        (4, 2)
    """
    shown = repr(os.fspath(path) if name is None else name)
    try:
        with _without_pillow_warnings(), Image.open(path, formats=_formats()) as image:
            width, height = image.size
            turned = not _surely_upright(image, path) and _orientation(image) in (5, 6, 7, 8)
    except FileNotFoundError:
        raise DataError(f"{shown}: no such file; was it moved since the folder was read?") from None
    except Exception as error:  # as for decode
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{shown}: its size cannot be read ({reason}); replace the file or leave it out") from None
    return (height, width) if turned else (width, height)


def _surely_upright(image: Image.Image, path: str | os.PathLike[str]) -> bool:
    """Whether a PNG holds none of the chunks that could turn it: to find them, Pillow would decode all its pixels."""
    if image.format != "PNG":
        return False
    content = Path(path).read_bytes()
    return not any(mark in content for mark in (b"eXIf", b"Raw profile type exif", b"XML:com.adobe.xmp"))


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # see _upright
        return 1


class _Refused(Exception):
    """A reason that is ours and needs no explanation by Pillow."""


def _read(
    file: io.BufferedReader | io.BytesIO, size_bytes: int, max_side: int | None, channels: Literal[1, 3] | None
) -> np.ndarray:
    if size_bytes == 0:
        raise _Refused("the file is empty (0 bytes); replace it or leave it out")
    try:
        image = Image.open(file, formats=_formats())
    except Image.DecompressionBombError as error:
        raise _Refused(_too_large(str(error))) from None
    except UnidentifiedImageError:
        raise _Refused(f"not an image that can be read; allowed: {', '.join(_formats())}") from None
    if image.width * image.height > MAX_PIXELS:
        raise _Refused(_too_large(f"{image.width} x {image.height} pixels"))
    if max_side is not None and image.format in ("JPEG", "MPO"):
        image.thumbnail((max_side, max_side), Image.Resampling.BICUBIC, reducing_gap=2.0)
    return to_array(image, max_side=max_side, channels=channels)


@functools.cache
def _formats() -> tuple[str, ...]:
    """Those of ``FORMATS`` that this build of Pillow has."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _too_large(what: str) -> str:
    return f"too large to decode ({what}); at most {MAX_PIXELS:,} pixels are read: make it smaller or leave it out"


def to_array(image: Image.Image, *, max_side: int | None = None, channels: Literal[1, 3] | None = None) -> np.ndarray:
    """A Pillow image as a uint8 array (H, W, C), by the rules of :func:`decode`.

    Example:
        >>> to_array(Image.new("1", (3, 2), 1)).shape
        (2, 3, 1)
    """
    image.load()
    image = _upright(image)
    image = _eight_bit(image)
    if channels is not None:
        image = image.convert("L" if channels == 1 else "RGB")
    if max_side is not None:
        image.thumbnail((max_side, max_side), Image.Resampling.BICUBIC, reducing_gap=2.0)
    pixels_HWC = np.array(image)
    return pixels_HWC if pixels_HWC.ndim == 3 else pixels_HWC[:, :, None]


def picture(image: np.ndarray | torch.Tensor, max_side: int) -> np.ndarray:
    """A loaded image made fit to be looked at: uint8 (H, W, 1 | 3), shrunk to ``max_side``.

    Float tensors (C, H, W) are stretched from their minimum to their maximum; of more than three channels, or two, the
    first is shown.

    Example:
        >>> picture(np.zeros((40, 20, 3), np.uint8), 10).shape
        (10, 5, 3)
    """
    pixels = np.asarray(image)
    if pixels.dtype != np.uint8:
        finite = pixels[np.isfinite(pixels)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
        pixels = _stretch(np.moveaxis(pixels, 0, -1), low, high)
    if pixels.shape[-1] not in (1, 3):
        pixels = pixels[..., :1]
    pixels = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
    return to_array(Image.fromarray(np.ascontiguousarray(pixels)), max_side=max_side)


def _upright(image: Image.Image) -> Image.Image:
    """Turned as EXIF says; as stored when the EXIF block is damaged, which says nothing about the pixels."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # damaged EXIF fails in as many ways as damaged images
        return image


def _eight_bit(image: Image.Image) -> Image.Image:
    """Mode L or RGB."""
    if image.mode in ("L", "RGB"):
        return image
    if image.mode == "1":
        return image.convert("L")
    if image.mode in _WIDE_MODES:
        return Image.fromarray(_scale(np.asarray(image)))
    if image.mode in _ALPHA_MODES or (image.mode == "P" and "transparency" in image.info):
        return _on_white(image)
    return image.convert("RGB")


def _on_white(image: Image.Image) -> Image.Image:
    plain = "L" if image.mode in ("LA", "La") else "RGB"
    rgba = image.convert("LA").convert("RGBA") if image.mode == "La" else image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, (255, 255, 255, 255)), rgba).convert(plain)


def _scale(values_HW: np.ndarray) -> np.ndarray:
    """8 bits out of deep greys; the range follows from the kind of number, so that images stay comparable."""
    ranges = (255.0, 4_095.0, 65_535.0) if values_HW.dtype.kind in "iu" else (1.0,)
    finite = values_HW[np.isfinite(values_HW)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    full = next((full for full in ranges if low >= 0 and high <= full), None)
    return _stretch(values_HW, *((low, high) if full is None else (0.0, full)))


def _stretch(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """``low`` becomes 0, ``high`` 255; what is not finite becomes 0."""
    scaled = (values.astype(np.float64) - low) * (255.0 / max(high - low, 1e-12))
    return np.clip(np.rint(np.nan_to_num(scaled, nan=0.0, posinf=0.0, neginf=0.0)), 0, 255).astype(np.uint8)
