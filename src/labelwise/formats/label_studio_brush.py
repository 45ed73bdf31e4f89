"""Masks as Label Studio's brush writes them: run lengths of the four bytes RGBA of every pixel; alpha is the mask.

The stream is read bit by bit, most significant first: 32 bits say how many bytes follow once unpacked, 5 bits the width
of a value less one (always 8 here), 4 x 4 bits four widths of lengths less one. Then come runs: one bit that says
whether one value is repeated, two bits that choose a width, the length less one in that width, and the value, or as
many values as the run is long.

Shape letters: H x W pixels, N bytes unpacked.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from labelwise.contracts.record import Mask
from labelwise.errors import FormatError
from labelwise.formats.painted import check_size

if TYPE_CHECKING:
    import numpy as np

#: bytes of run lengths of one mask; a picture of 20 million pixels with a hundred strokes takes some 0.1 million, and
#: the dearest runs of as many bytes as these take a few seconds to read
LONGEST = 3_000_000
#: bits before the first run
_HEAD = 32 + 5 + 4 * 4
#: widths of lengths that are written
_WIDTHS = (3, 4, 8, 16)


def brush_mask(runs: Any, size: tuple[int, int], where: str) -> Mask:
    """The mask of one brush stroke; nothing is painted before it is read.

    Args:
        runs: the list of bytes under ``rle``.
        size: (width, height) of the picture.
        where: file and row, for messages.

    Raises:
        FormatError: no list of bytes, a picture that is too large, or run lengths for another size than the picture's.
            Reading the mask raises it for runs that end early or go on too long.

    Cost:
        A byte a pixel when the mask is read.
    """
    check_size(size, where)
    try:
        data = bytes(runs) if isinstance(runs, list) else None
    except (TypeError, ValueError):
        data = None
    if data is None or len(data) * 8 < _HEAD:
        raise FormatError(f"{where}: 'rle' of a brush is {runs!r:.60}; give run lengths, a list of bytes")
    if len(data) > LONGEST:
        raise FormatError(f"{where}: a brush has {len(data):,} bytes of run lengths; at most {LONGEST:,} are read")
    total, width = int.from_bytes(data[:4]), (data[4] >> 3) + 1
    if width != 8 or total != 4 * size[0] * size[1]:
        raise FormatError(
            f"{where}: a brush unpacks to {total:,} values of {width} bits, but {size[0]} x {size[1]} pixels have "
            f"{4 * size[0] * size[1]:,} bytes: it was painted at another size"
        )
    return Mask(size, partial(_paint, data, size, where))


def _paint(data: bytes, size: tuple[int, int], where: str) -> np.ndarray:
    """Bool (H, W) where alpha is not zero."""
    import numpy as np

    total = 4 * size[0] * size[1]
    bits = len(data) * 8
    window = int.from_bytes(data[4:7])
    widths = [((window >> shift) & 15) + 1 for shift in (15, 11, 7, 3)]
    flat = np.zeros(size[0] * size[1], bool)
    packed = np.frombuffer(data, np.uint8)
    place, here = 0, _HEAD
    while place < total:
        first = here >> 3
        window = int.from_bytes(data[first : first + 8].ljust(8, b"\0"))
        shift = 64 - (here & 7)
        wide = widths[(window >> (shift - 3)) & 3]
        repeated = (window >> (shift - 1)) & 1
        stop = place + 1 + ((window >> (shift - 3 - wide)) & ((1 << wide) - 1))
        here += 3 + wide
        ends = here + (8 if repeated else 8 * (stop - place))
        if stop > total or ends > bits:
            raise FormatError(
                f"{where}: the run lengths of a brush break off or go beyond the picture: export it again"
            )
        if repeated:
            if (window >> (shift - 11 - wide)) & 255:
                flat[place >> 2 : stop >> 2] = True
        else:
            values = _bytes(packed, here, stop - place)[(3 - place) % 4 :: 4]
            flat[place >> 2 : (place >> 2) + len(values)] = values > 0
        place, here = stop, ends
    return flat.reshape(size[1], size[0])


def _bytes(packed: np.ndarray, bit: int, count: int) -> np.ndarray:
    """``count`` bytes out of a stream from a bit on."""
    first, by = bit >> 3, bit & 7
    whole = packed[first : first + count]
    if not by:
        return whole
    after = packed[first + 1 : first + count + 1]
    found: np.ndarray = (whole << by) | (after >> (8 - by))
    return found


def brush_runs(cover_HW: np.ndarray) -> list[int]:
    """A mask as the list of bytes under ``rle``, all four bytes of a pixel 255 where it is covered.

    Example:
        >>> import numpy as np
        >>> cover = np.array([[False, True, True], [False, False, True]])
        >>> brush_mask(brush_runs(cover), (3, 2), "a.json").read().astype(int).tolist()
        [[0, 1, 1], [0, 0, 1]]
    """
    import numpy as np

    flat = np.asarray(cover_HW, bool).ravel()
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    starts = np.concatenate([[0], changes])
    lengths = np.diff(np.concatenate([starts, [len(flat)]])) * 4
    parts = [f"{4 * len(flat):032b}", f"{7:05b}", *(f"{width - 1:04b}" for width in _WIDTHS)]
    for length, covered in zip(lengths.tolist(), flat[starts].tolist(), strict=True):
        value = "11111111" if covered else "00000000"
        while length:
            part = min(length, 1 << _WIDTHS[-1])
            chosen = next(n for n, width in enumerate(_WIDTHS) if part <= 1 << width)
            parts.append(f"1{chosen:02b}{part - 1:0{_WIDTHS[chosen]}b}{value}")
            length -= part
    bits = np.frombuffer("".join(parts).encode(), np.uint8) - 48
    packed: list[int] = np.packbits(bits).tolist()
    return packed
