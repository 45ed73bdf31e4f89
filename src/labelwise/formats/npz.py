"""Reading .npz files that came from elsewhere: nothing is ever unpickled, and every failure is one line."""

from __future__ import annotations

import os
import zipfile
import zlib
from pathlib import Path

import numpy as np

from labelwise.errors import FormatError


def load_npz(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """All arrays of an .npz file.

    Raises:
        FormatError: for a file that is missing, damaged, no .npz, or holds pickled objects.
    """
    shown = repr(os.fspath(path))
    try:
        with Path(path).open("rb") as file:
            if file.read(4) not in (b"PK\x03\x04", b"PK\x05\x06"):
                raise FormatError(f"{shown} is no .npz file: write it with numpy.savez")
            file.seek(0)
            with np.load(file, allow_pickle=False) as archive:
                return {key: archive[key] for key in archive.files}
    except FileNotFoundError:
        raise FormatError(f"{shown} does not exist: check the path") from None
    except ValueError as error:
        if "allow_pickle" in str(error):
            raise FormatError(
                f"{shown} holds pickled Python objects, which are never loaded: save names as text, with "
                "numpy.array(names, dtype=str)"
            ) from None
        raise FormatError(f"{shown} is damaged ({' '.join(str(error).split())}): write it again") from None
    except (OSError, EOFError, KeyError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise FormatError(f"{shown} cannot be read ({' '.join(str(error).split())}): write it again") from None
    except MemoryError:
        raise FormatError(f"{shown} does not fit into memory: split it") from None


def names_of(array: np.ndarray, what: str) -> list[str]:
    """An array of names as text; bytes are decoded, whole numbers written out.

    Raises:
        FormatError: for any other type, or more than one dimension; ``what`` is what the message calls the array.
    """
    if array.ndim == 1 and array.dtype.kind in "iuU":
        return [str(name) for name in array.tolist()]
    if array.ndim == 1 and array.dtype.kind == "S":
        try:
            return [name.decode() for name in array.tolist()]
        except UnicodeDecodeError:
            raise FormatError(f"{what} is not UTF-8: save it with dtype str") from None
    raise FormatError(f"{what} has type {array.dtype} and shape {array.shape}: give one row of names, dtype str")
