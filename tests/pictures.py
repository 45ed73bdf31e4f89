"""Picture files as cameras and other programs write them, byte by byte where Pillow would write something else."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image


def encoded(image: Image.Image | np.ndarray, kind: str = "PNG", **options: Any) -> bytes:
    """A picture as Pillow writes it."""
    buffer = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(buffer, kind, **options)
    return buffer.getvalue()


def turned(orientation: int) -> Image.Exif:
    """An EXIF block with nothing but an orientation."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(size: tuple[int, int], data: bytes, *, bits: int = 8, colours: int = 2, behind: bytes = b"") -> bytes:
    """A PNG that says so much of itself; ``data`` are its packed rows, ``behind`` chunks that follow them."""
    head = struct.pack(">IIBBBBB", *size, bits, colours, 0, 0, 0)
    parts = png_chunk(b"IHDR", head) + png_chunk(b"IDAT", data) + behind + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def deep_png(values: np.ndarray) -> bytes:
    """16-bit PNG of (H, W, channels): 1 grey, 2 with alpha, 3 RGB, 4 with alpha."""
    colours = {1: 0, 2: 4, 3: 2, 4: 6}[values.shape[2]]
    rows = b"".join(b"\0" + row.tobytes() for row in values.astype(">u2"))
    return png((values.shape[1], values.shape[0]), zlib.compress(rows), bits=16, colours=colours)


def tiff(size: tuple[int, int], data: bytes, tags: dict[int, int | tuple[int, ...]], *, order: str = "<") -> bytes:
    """A TIFF of one strip with these tags (short or long numbers) besides the usual ones."""
    width, height = size
    entries: dict[int, int | tuple[int, ...]] = {
        **{256: width, 257: height, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: height, 279: len(data)},
        **tags,
    }
    directory, behind = b"", b""
    start = 8 + len(data)
    end = start + 2 + 12 * len(entries) + 4
    for tag, value in sorted(entries.items()):
        numbers = value if isinstance(value, tuple) else (value,)
        kind, letter = (4, "L") if tag in (273, 279, 256, 257, 278, 322, 323) else (3, "H")
        packed = struct.pack(f"{order}{len(numbers)}{letter}", *numbers)
        if len(packed) > 4:
            packed, behind = struct.pack(f"{order}L", end + len(behind)), behind + packed
        directory += struct.pack(f"{order}HHL", tag, kind, len(numbers)) + packed.ljust(4, b"\0")
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HL", 42, start)
    return head + data + struct.pack(f"{order}H", len(entries)) + directory + bytes(4) + behind


def array_tiff(values: np.ndarray, *, order: str = "<", packed: bool = False, **tags: int) -> bytes:
    """A TIFF of (H, W) or (H, W, 3 | 4) numbers of any kind, in either byte order, plain or deflated."""
    channels = values.shape[2] if values.ndim == 3 else 1
    kind = {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    data = values.astype(values.dtype.newbyteorder(order)).tobytes()
    entries: dict[int, int | tuple[int, ...]] = {
        258: (values.itemsize * 8,) * channels, 259: 8 if packed else 1, 262: 1 if channels == 1 else 2,
        277: channels, 339: (kind,) * channels, **({338: 2} if channels == 4 else {}),
    }  # fmt: skip
    named = {"photometric": 262, "orientation": 274, "planar": 284}
    entries |= {named[name]: value for name, value in tags.items()}
    return tiff((values.shape[1], values.shape[0]), zlib.compress(data) if packed else data, entries, order=order)
