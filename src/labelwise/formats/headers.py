"""What a picture file says of itself before anything is decoded: size, depth, orientation, what decoding would cost.

Everything that reads pictures opens them here, so that limits hold and orientation is judged in one place.
"""

from __future__ import annotations

import functools
import io
import os
import re
import stat
import struct
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, TypeAlias

from PIL import ExifTags, Image, TiffImagePlugin, UnidentifiedImageError

from labelwise.errors import DataError

#: a picture: a path, or the encoded bytes
Encoded: TypeAlias = "str | os.PathLike[str] | bytes"

#: what Pillow may try on a file, whatever its ending says
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "DIB", "GIF", "PPM", "JPEG2000", "AVIF")

#: larger pictures are refused on sight of their header; Pillow's own limit for an error
MAX_PIXELS = 178_956_970

#: memory that decoding one picture may take; what would need more is refused on sight of its header
MAX_BYTES = 950_000_000

#: values of a PNM picture that are read one by one: written as text, or of fewer than 8 bits
MAX_TEXT_VALUES = 4_000_000

#: files that Pillow reads whole before it looks at them are not larger than this
_MAX_WHOLE = 256 << 20

#: pieces of a PNG file; real ones hold some kilobytes each
_MAX_CHUNKS = 250_000

_PNG = b"\x89PNG\r\n\x1a\n"
_WIDE_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")

#: raw modes of compressed big-endian TIFF: libtiff hands out numbers of this machine, and Pillow swaps their bytes once
#: more where the numbers are signed or floats
_SWAPPED_TWICE = {"I;16BS": "I;16NS", "I;32BS": "I;32NS", "F;32BF": "F;32NF"}

_QUIET = ("ignore", None, Warning, re.compile(r"PIL(\.|$)"), 0)
_quiet_lock = threading.Lock()
_quiet_users = 0


class Refused(Exception):
    """A reason that is ours and needs no explanation by Pillow; never leaves this package."""


@dataclass(frozen=True, slots=True)
class Depth:
    """The kind of numbers in a picture of more than 8 bits.

    Args:
        what: in words: ``16-bit``, ``signed 16-bit``, ``float`` ...
        full: the values that are black and white by the header's bit depth; None where it does not say: the whole
            range of floats or of 32 bits would make every picture black or grey.
        colour: whether it has three colours; their values are read in two passes.
        white_zero: whether small numbers are bright.
        kept_as: type of the numbers where Pillow shows their bits as another; None: as Pillow shows them.
        scaled_from: the largest value where Pillow scales it to 65,535; None: values are as written.
    """

    what: str
    full: tuple[float, float] | None
    colour: bool = False
    white_zero: bool = False
    kept_as: str | None = None
    scaled_from: int | None = None


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of its picture.

    Args:
        width: in pixels, as the picture is seen: turned as its orientation says.
        height: likewise.
        depth: of a picture of more than 8 bits, else None.
        pages: whether more pictures follow the first, which is the one that is read.
    """

    width: int
    height: int
    depth: Depth | None
    pages: bool


def read_header(image: Encoded, *, name: str | None = None) -> Header:
    """Size, depth and pages of a picture, out of its header; at most some kilobytes are read.

    Args:
        image: a path, or the encoded bytes.
        name: what to call the picture in an error; the path by default.

    Raises:
        DataError: a file that is missing, no picture, or beyond ``MAX_PIXELS`` or ``MAX_BYTES``.

    Example:
        >>> buffer = io.BytesIO()
        >>> Image.new("I;16", (4, 2)).save(buffer, "PNG")
        >>> found = read_header(buffer.getvalue())
        >>> found.width, found.depth.what, found.depth.full
        (4, '16-bit', (0, 65535))
    """
    with failing_in_one_line(image, name, "its size cannot be read"), opened(image) as (picture, file):
        width, height = stored_size(picture)
        if orientation(picture, file) in (5, 6, 7, 8):
            width, height = height, width
        return Header(width, height, depth_of(picture), _has_pages(picture))


@contextmanager
def failing_in_one_line(image: Encoded, name: str | None, what: str) -> Iterator[None]:
    """Whatever goes wrong inside becomes a ``DataError`` of one line that names the picture."""
    if name is None:
        name = "image in memory" if isinstance(image, bytes) else os.fspath(image)
    shown = repr(name)
    try:
        with _without_pillow_warnings():
            yield
    except Refused as error:
        raise DataError(f"{shown}: {error}") from None
    except FileNotFoundError:
        raise DataError(f"{shown}: no such file; was it moved since the folder was read?") from None
    except MemoryError:
        raise DataError(f"{shown}: not enough memory to decode it; make it smaller or leave it out") from None
    except Exception as error:  # Pillow's decoders fail with SyntaxError, struct.error, zlib.error, IndexError, ...
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise DataError(f"{shown}: {what} ({reason}); replace the file or leave it out") from None


@contextmanager
def opened(image: Encoded) -> Iterator[tuple[Image.Image, BinaryIO]]:
    """The picture with its pixels still unread, and its file; refused when decoding would cost too much."""
    if isinstance(image, bytes):
        file = io.BytesIO(image)
        yield _open(file, len(image)), file
        return
    with open(image, "rb", opener=_at_once) as on_disk:
        status = os.fstat(on_disk.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise Refused("a pipe, a device or a folder and no file; replace it or leave it out")
        yield _open(on_disk, status.st_size), on_disk


def _at_once(path: str, flags: int) -> int:
    """Opens a file; a pipe that nobody writes to is not waited for."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _open(file: BinaryIO, size_bytes: int) -> Image.Image:
    if size_bytes == 0:
        raise Refused("the file is empty (0 bytes); replace it or leave it out")
    if size_bytes > 12 * _MAX_CHUNKS and file.read(len(_PNG)) == _PNG:
        for _ in _chunks(file):  # counts them: Pillow reads one by one, too
            pass
    file.seek(0)
    formats = _formats() if size_bytes <= _MAX_WHOLE else tuple(f for f in _formats() if f not in ("WEBP", "AVIF"))
    try:
        image = Image.open(file, formats=formats)
    except Image.DecompressionBombError as error:
        pixels = re.search(r"\d+", str(error))
        raise Refused(_too_large(f"{int(pixels[0]):,} pixels" if pixels else str(error))) from None
    except UnidentifiedImageError:
        raise Refused(f"not an image that can be read; allowed: {', '.join(_formats())}") from None
    width, height = stored_size(image)
    if width * height > MAX_PIXELS:
        raise Refused(_too_large(f"{width} x {height} pixels"))
    if (needed := memory_needed(image, file)) > MAX_BYTES:
        raise Refused(_too_large(f"{width} x {height} pixels need {needed / 1e9:.1f} GB"))
    _mend_tiles(image)
    return image


@functools.cache
def _formats() -> tuple[str, ...]:
    """Those of ``FORMATS`` that this build of Pillow has."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _too_large(what: str) -> str:
    return (
        f"too large to decode ({what}); at most {MAX_PIXELS:,} pixels and {MAX_BYTES / 1e9:g} GB of memory are spent "
        "on a picture: make it smaller or leave it out"
    )


def memory_needed(image: Image.Image, file: BinaryIO) -> float:
    """Bytes that decoding a picture takes at its height, by its header."""
    return _pixels_unpacked(image) * _bytes_per_pixel(image, file)


def _pixels_unpacked(image: Image.Image) -> int:
    """Of the picture, or of one tile of a TIFF, which may be larger than what it shows."""
    width, height = stored_size(image)
    across, down = _tags(image).get(322, 0), _tags(image).get(323, 0)
    return max(width * height, across * down if isinstance(across, int) and isinstance(down, int) else 0)


def _bytes_per_pixel(image: Image.Image, file: BinaryIO) -> float:
    """Memory at the height of decoding: Pillow's pixels, ours, and what the decoder of the format keeps besides."""
    stored = 1 if image.mode in ("1", "L", "P") else 2 if image.mode.startswith("I;16") else 4
    ours = 1 if image.mode in ("1", "L", *_WIDE_MODES) else 3
    if image.format in ("JPEG", "MPO"):
        return stored + max(ours, _jpeg_coefficients(image, file))
    if image.format == "JPEG2000":
        return stored + 6 * len(image.getbands())
    if image.format in ("WEBP", "AVIF"):
        return stored + 14
    deep = depth_of(image)
    twice = stored if deep is not None and deep.colour else 0
    # libtiff unpacks a strip at a time, and a strip may be the picture; a turned picture is there twice
    packed = stored * (2 if twice else 1) if image.format == "TIFF" else 0
    return stored + max(ours + twice, packed)


def _jpeg_coefficients(image: Image.Image, file: BinaryIO) -> float:
    """Bytes a pixel of the coefficients of a JPEG in several passes, which are kept until the last; else 0."""
    if not image.info.get("progressive") and _whole_scan(image, file):
        return 0
    sampling = [(across, down) for _, across, down, _ in getattr(image, "layer", [])]
    if not sampling:
        return 2.0 * len(image.getbands())
    finest: int = max(across for across, _ in sampling) * max(down for _, down in sampling)
    kept: int = sum(across * down for across, down in sampling)
    return 2 * kept / max(finest, 1)


def _whole_scan(image: Image.Image, file: BinaryIO) -> bool:
    """Whether the first scan of a JPEG holds all its components, so that nothing has to be kept for a second."""
    file.seek(2)
    for _ in range(10_000):
        marker = file.read(2)
        if len(marker) < 2 or marker[0] != 0xFF:
            return False
        if marker[1] == 0xFF:  # padding
            file.seek(-1, os.SEEK_CUR)
            continue
        length = file.read(2)
        if len(length) < 2:
            return False
        if marker[1] == 0xDA:
            return file.read(1)[:1] == bytes([len(image.getbands())])
        file.seek(struct.unpack(">H", length)[0] - 2, os.SEEK_CUR)
    return False


# ---- size, orientation, pages ----------------------------------------------------------------------------------------


def stored_size(image: Image.Image) -> tuple[int, int]:
    """Width and height as the pixels lie in the file; Pillow turns the size of a TIFF before its pixels."""
    width, height = _tags(image).get(256), _tags(image).get(257)
    return (width, height) if isinstance(width, int) and isinstance(height, int) else image.size


def orientation(image: Image.Image, file: BinaryIO) -> int:
    """1 to 8 as EXIF numbers them, by TIFF tag, EXIF block or XMP; 1 where the block is damaged.

    Only a PNG whose EXIF block follows its pixels is decoded for it.
    """
    return 1 if image.format == "PNG" and not _mentions_orientation(file) else exif_orientation(image)


def exif_orientation(image: Image.Image) -> int:
    """As :func:`orientation`; decodes a PNG."""
    try:
        found = int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # damaged EXIF fails in as many ways as damaged images, and says nothing about the pixels
        return 1
    return found if 1 <= found <= 8 else 1


def _mentions_orientation(file: BinaryIO) -> bool:
    """Whether a PNG holds one of the chunks that could turn it: to find them, Pillow would decode all its pixels."""
    place = file.tell()
    try:
        file.seek(len(_PNG))
        return any(
            kind == b"eXIf" or (kind in (b"tEXt", b"zTXt", b"iTXt") and text.startswith((b"Raw profile", b"XML:com")))
            for kind, text in _chunks(file)
        )
    finally:
        file.seek(place)


def _chunks(file: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """Name and first bytes of each piece of a PNG, up to its end or the first that is damaged."""
    for _ in range(_MAX_CHUNKS):
        head = file.read(8)
        if len(head) < 8:
            return
        length, kind = struct.unpack(">I4s", head)
        first = file.read(min(length, 32)) if kind in (b"tEXt", b"zTXt", b"iTXt") else b""
        yield kind, first
        if kind == b"IEND":
            return
        file.seek(length + 4 - len(first), os.SEEK_CUR)
    raise Refused(f"a PNG of more than {_MAX_CHUNKS:,} pieces; write it again with another program")


def _has_pages(image: Image.Image) -> bool:
    """Whether further pictures follow; the previews that phones put behind a JPEG are none."""
    if image.format not in ("TIFF", "GIF", "PNG", "WEBP", "AVIF"):
        return False
    # ImageJ describes the planes of a stack in the first one, and may write no headers for the others
    stack = re.search(r"^images=(\d{1,9})", str(_tags(image).get(270, "")), re.MULTILINE)
    return (stack is not None and int(stack[1]) > 1) or bool(getattr(image, "is_animated", False))


# ---- depth -----------------------------------------------------------------------------------------------------------


def depth_of(image: Image.Image) -> Depth | None:
    """The numbers of a picture of more than 8 bits, or of signed ones; None for all others."""
    raw, tags = raw_mode(image), _tags(image)
    largest = int(image.info.get("maxval", 65_535))
    if image.mode not in _WIDE_MODES:
        if ";16" in raw and image.mode in ("RGB", "RGBA"):
            return Depth("16-bit colour", (0, largest), colour=True)
        if tags.get(339) == (2,) and tags.get(258) == (8,):
            return Depth("signed 8-bit", None, kept_as="int8")
        return None
    white_zero = tags.get(262) == 0
    if image.mode == "F":
        return Depth("float", None, white_zero=white_zero)
    if image.format == "PPM":
        return Depth("16-bit", (0, largest), scaled_from=largest if image.info.get("scaled") else None)
    if image.mode.startswith("I;16") or image.format == "PNG":
        what, full = ("12-bit", 4_095) if raw == "I;12" else ("16-bit", 65_535)
        return Depth(what, (0, full), white_zero=white_zero)
    if "16" in raw:
        return Depth("signed 16-bit", None)
    # Pillow shows numbers without a sign as if they had one
    return Depth("32-bit", None, kept_as="uint32" if tags and tags.get(339, (1,)) == (1,) else None)


def _tags(image: Image.Image) -> Mapping[int, Any]:
    return image.tag_v2 if isinstance(image, TiffImagePlugin.TiffImageFile) else {}


def raw_mode(image: Image.Image) -> str:
    """How Pillow reads the pixels of the file; "" where it does not say."""
    tiles = getattr(image, "tile", None)
    arguments: Any = tiles[0][3] if tiles else ""
    found = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return found if isinstance(found, str) else ""


def with_raw_mode(image: Image.Image, raw: str) -> None:
    """Has Pillow read the pixels of an image that is not decoded yet in another way."""
    tiles = []
    for codec, extents, offset, arguments in image.tile:  # type: ignore[attr-defined]
        tiles.append((codec, extents, offset, (raw, *arguments[1:]) if isinstance(arguments, tuple) else raw))
    _set_tiles(image, tiles)


def _set_tiles(image: Image.Image, tiles: list[tuple[Any, ...]]) -> None:
    kind = type(image.tile[0])  # type: ignore[attr-defined]
    image.tile = [tile if kind is tuple else kind(*tile) for tile in tiles]  # type: ignore[attr-defined]


def _mend_tiles(image: Image.Image) -> None:
    """Has Pillow read values as the file has them where it would scale, swap or mistake them."""
    raw = raw_mode(image)
    if image.format == "PPM":
        _mend_pnm(image)
    elif image.format == "TIFF" and image.tile:  # type: ignore[attr-defined]
        if image.tile[0][0] == "libtiff" and raw in _SWAPPED_TWICE:  # type: ignore[attr-defined]
            with_raw_mode(image, _SWAPPED_TWICE[raw])
        bits = _tags(image).get(258, (1,))
        if len(raw) == 1 and image.mode not in ("1", "L", "P", *_WIDE_MODES) and max(bits) > 8:
            raise Refused("16-bit colours in separate planes, uncompressed: write them interleaved, or compressed")


def _mend_pnm(image: Image.Image) -> None:
    """PGM and PPM: values as written, read at once; Pillow scales them one by one to the largest of 8 or 16 bits."""
    codec, extents, offset, arguments = image.tile[0]  # type: ignore[attr-defined]
    wide = isinstance(arguments, tuple) and arguments[-1] > 255
    one_by_one = codec == "ppm_plain" or (codec == "ppm" and not wide)
    if one_by_one and image.width * image.height * len(image.getbands()) > MAX_TEXT_VALUES:
        raise Refused(f"a picture of more than {MAX_TEXT_VALUES:,} values, which are read one by one; save it as PNG")
    if wide:
        image.info["maxval"] = arguments[-1]
        image.info["scaled"] = codec == "ppm_plain"
    if codec == "ppm" and wide:
        _set_tiles(image, [("raw", extents, offset, ("I;16B" if image.mode == "I" else f"{image.mode};16B", 0, 1))])


# ---- Pillow's warnings -----------------------------------------------------------------------------------------------


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
