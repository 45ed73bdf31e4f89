"""Reading .npz files that came from elsewhere: nothing is ever unpickled, and every failure is one line.

An .npz is a zip file of .npy files. Arrays are read one by one, when they are asked for, and only once sizes were
compared: what the zip directory says, what the array's own header says, what lies on the disk.
"""

from __future__ import annotations

import os
import struct
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

from labelwise.errors import FormatError, cut
from labelwise.formats.npy_header import NpyHeader, read_npy_header

#: bytes that all arrays of a file may unpack to whatever its size, or ``MAX_RATIO`` times its size where that is more
MAX_UNPACKED, MAX_RATIO = 300_000_000, 8

#: names or images in one file
MAX_NAMES = 3_000_000

#: bytes of the directory of the zip file: some 60,000 members
_MAX_DIRECTORY = 4 << 20

_OBJECTS = "save names as text, with numpy.array(names, dtype=str)"


def load_npz(path: str | os.PathLike[str]) -> Npz:
    """The arrays of an .npz file by name, each read when it is asked for.

    Memory: what the arrays asked for unpack to. All arrays of a file together may unpack to 300 MB, or to eight times
    the size of the file where that is more; those of numpy.savez are as large as on disk.

    Raises:
        FormatError: for a file that is missing, damaged, no .npz, or unpacks to more. Reading an array raises it for
            one that is damaged or holds pickled objects.
    """
    return Npz(path)


class Npz(Mapping[str, np.ndarray]):
    """An .npz file as a mapping; see :func:`load_npz`."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self._shown = repr(os.fspath(path))
        self._known: dict[str, np.ndarray] = {}
        with _failing_in_one_line(self._shown), self._path.open("rb") as file:
            if file.read(4) not in (b"PK\x03\x04", b"PK\x05\x06"):
                raise FormatError(f"{self._shown} is no .npz file: write it with numpy.savez")
            size = os.fstat(file.fileno()).st_size
            _check_directory(file, size, self._shown)
            with zipfile.ZipFile(file) as archive:
                members = [info for info in archive.infolist() if info.filename.endswith(".npy")]
        _check_total(members, size, self._shown)
        self._members = {info.filename.removesuffix(".npy"): info.filename for info in members}

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, key: object) -> bool:
        return key in self._members

    def __repr__(self) -> str:
        return f"Npz({self._shown}, {len(self)} arrays)"

    def __getitem__(self, key: str) -> np.ndarray:
        if key not in self._known:
            self._known[key] = self._read(key)
        return self._known[key]

    def once(self, key: str) -> np.ndarray:
        """An array that is read now, and not kept."""
        return self._read(key)

    def header(self, key: str) -> NpyHeader:
        """Type and shape of an array, without reading it."""
        with self._opened(key) as (info, archive), archive.open(info) as data:
            return read_npy_header(data, info.file_size, f"{self._shown}: {cut(key)}", objects=_OBJECTS)

    def listed(self) -> str:
        """Names of the arrays, as a message can show them."""
        return cut(", ".join(sorted(self._members)[:20]), 100) or "nothing"

    @contextmanager
    def _opened(self, key: str) -> Iterator[tuple[zipfile.ZipInfo, zipfile.ZipFile]]:
        with _failing_in_one_line(self._shown), self._path.open("rb") as file, zipfile.ZipFile(file) as archive:
            info = archive.getinfo(self._members[key])
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise FormatError(
                    f"{self._shown}: {cut(key)} is packed in an unusual way: write the file again with numpy.savez"
                )
            yield info, archive

    def _read(self, key: str) -> np.ndarray:
        with self._opened(key) as (info, archive):
            with archive.open(info) as data:
                read_npy_header(data, info.file_size, f"{self._shown}: {cut(key)}", objects=_OBJECTS)
            with archive.open(info) as data:
                array: np.ndarray = np.lib.format.read_array(data, allow_pickle=False)
                data.read(1)  # the checksum is compared at the end
            return array


@contextmanager
def _failing_in_one_line(shown: str) -> Iterator[None]:
    """What goes wrong while a zip file is read becomes a ``FormatError``."""
    try:
        yield
    except FormatError:
        raise
    except FileNotFoundError:
        raise FormatError(f"{shown} does not exist: check the path") from None
    except MemoryError:
        raise FormatError(f"{shown} does not fit into memory: split it") from None
    except Exception as error:  # zipfile fails with BadZipFile, zlib.error, struct.error, RuntimeError, KeyError, ...
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise FormatError(f"{shown} cannot be read ({reason}): write it again") from None


def _check_total(members: Sequence[zipfile.ZipInfo], size: int, shown: str) -> None:
    """Refuses a file that unpacks to far more than it is; no array is read beyond what the directory says of it."""
    total = sum(info.file_size for info in members)
    if total > max(MAX_UNPACKED, MAX_RATIO * size):
        largest = max(members, key=lambda info: info.file_size).filename.removesuffix(".npy")
        raise FormatError(
            f"{shown} unpacks from {size / 1e6:,.1f} to {total / 1e6:,.0f} MB (most of it is {cut(largest)}): at most "
            f"{MAX_UNPACKED / 1e6:.0f} MB or {MAX_RATIO} times the file are read: write it with numpy.savez, unpacked"
        )


def _check_directory(file: IO[bytes], size: int, shown: str) -> None:
    """Refuses a zip file whose directory alone would take long to read."""
    tail = min(size, 22 + 65_535)
    file.seek(size - tail)
    end = file.read(tail)
    at = len(end) - 22 if end[-22:-18] == b"PK\x05\x06" and end[-2:] == b"\0\0" else end.rfind(b"PK\x05\x06")
    if at < 0 or len(end) < at + 22:
        raise FormatError(f"{shown} cannot be read (it breaks off): write it again")
    (length,) = struct.unpack_from("<L", end, at + 12)
    file.seek(max(0, size - tail + at - 76))
    before = file.read(76)
    if before[-20:-16] == b"PK\x06\x07" and len(before) == 76:  # sizes beyond 4 GB stand in front
        (length,) = struct.unpack_from("<Q", before, 40)
    if length > min(_MAX_DIRECTORY, size):
        raise FormatError(f"{shown} is damaged or holds far too many arrays: write it again with numpy.savez")
    file.seek(0)


def names_of(array: np.ndarray, what: str) -> list[str]:
    """An array of names as text; bytes are decoded, whole numbers written out.

    Raises:
        FormatError: for any other type, more than one dimension, more than 3,000,000 names, names of thousands of
            characters or that are no text; ``what`` is what the message calls the array.
    """
    if array.ndim != 1 or array.dtype.kind not in "iuUS":
        given = f"type {cut(str(array.dtype))} and shape {array.shape}"
        raise FormatError(f"{what} has {given}: give one row of names, dtype str")
    if len(array) > MAX_NAMES:
        raise FormatError(f"{what} has {len(array):,} names: at most {MAX_NAMES:,} are read; split the file")
    if array.dtype.kind in "US" and array.dtype.itemsize > 4 * 4096:
        raise FormatError(f"{what} has names of up to {array.dtype.itemsize // 4:,} characters: give short ones")
    try:
        if array.dtype.kind == "S":
            return [name.decode() for name in array.tolist()]
        names = [str(name) for name in array.tolist()]
        for name in names:
            if not name.isascii():
                name.encode()
        return names
    except ValueError:  # half a surrogate pair, a number beyond the last letter, bytes of another encoding
        raise FormatError(f"{what} is not UTF-8: save it with dtype str") from None
