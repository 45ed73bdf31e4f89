"""The header of a .npy file or of a member of an .npz: type and shape, checked before anything is read or mapped.

NumPy believes what a header says: it makes an array of that size first and looks for the data afterwards, and damaged
headers end in a dozen kinds of exceptions.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import IO

import numpy as np

from labelwise.errors import FormatError, brief, cut

#: characters of a header; NumPy's own limit, since a header is read as a Python literal
_MAX_HEADER = 10_000

_PICKLED = "holds pickled Python objects, which are never loaded"


@dataclass(frozen=True, slots=True)
class NpyHeader:
    """What a .npy header says.

    Args:
        dtype: of the elements; never Python objects.
        shape: sides, none negative.
        start: where the data begin, in bytes.
    """

    dtype: np.dtype
    shape: tuple[int, ...]
    start: int

    @property
    def needed(self) -> int:
        """Bytes of the data, as a whole number of any size."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_npy_header(file: IO[bytes], size: int, what: str, *, objects: str = "save numbers or text") -> NpyHeader:
    """The header at the start of a file, whose data are known to fit into what follows it.

    Args:
        file: at its start; some kilobytes are read.
        size: bytes of the whole file.
        what: what messages call it.
        objects: what to do about pickled objects.

    Raises:
        FormatError: no .npy file, a damaged header, Python objects, a negative side, elements without any size, or
            data that the file is too short for.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # headers that Python 2 wrote
            version = np.lib.format.read_magic(file)
            if version == (1, 0):
                shape, _, dtype = np.lib.format.read_array_header_1_0(file, max_header_size=_MAX_HEADER)
            elif version in ((2, 0), (3, 0)):  # they differ in the letters that names of fields may have
                shape, _, dtype = np.lib.format.read_array_header_2_0(file, max_header_size=_MAX_HEADER)
            else:
                raise FormatError(f"{what} is a .npy file of version {version}: write it again with numpy.save")
        header = NpyHeader(dtype, tuple(int(side) for side in shape), file.tell())
    except FormatError:
        raise
    except Exception as error:  # a damaged literal fails as SyntaxError, TokenError, RecursionError, MemoryError, ...
        reason = " ".join(str(error).split())[:80] or type(error).__name__
        raise FormatError(f"{what} cannot be read, its header is damaged ({reason}): write it again") from None
    if dtype.hasobject:
        raise FormatError(f"{what} {_PICKLED}: {objects}")
    if any(side < 0 for side in header.shape) or len(header.shape) > 32:
        raise FormatError(f"{what} has the impossible shape {brief(header.shape)}: write it again")
    if dtype.itemsize == 0 and all(header.shape):
        raise FormatError(f"{what} holds elements without any content ({cut(str(dtype))}): write it again")
    if header.needed > size - header.start:
        raise FormatError(
            f"{what} cannot be read: its header speaks of {brief(header.shape)} values of type "
            f"{cut(str(dtype), 30)}, and {max(size - header.start, 0):,} bytes follow it; write it again"
        )
    return header
