"""Selections as index files: one-dimensional integer ``.npy``, called ``{name}_{dataset}_{n}.npy``.

An entry is the position of an image in the *native order* of the training set: the order of the arrays of an .npz and
of torchvision's sets, the order in which ``torchvision.datasets.ImageFolder`` lists a folder (class by class, sorted),
the lines of a list file. ``Source.native_order`` gives it. Test images are not counted where the data bring a test set
of their own; where one was split off, its images keep their positions, and may not be chosen.

``n`` is the number that was asked for. Entries are written as int64 and read from any integer type; nothing is
unpickled.
"""

from __future__ import annotations

import io
import os
import re
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from labelwise.errors import DataError, FormatError, cut
from labelwise.formats.files import write_whole
from labelwise.formats.npy_header import read_npy_header

_NAME = re.compile(r"(?P<stem>.*)_(?P<count>\d+)\.npy")
_WRITE = "write it with numpy.save of a one-dimensional array of whole numbers"


def index_name(name: str, dataset: str, count: int) -> str:
    """The name of an index file.

    Raises:
        DataError: a part that does not belong into a file name.

    Example:
        >>> index_name("kmeans", "cifar10", 100)
        'kmeans_cifar10_100.npy'
    """
    for what, part in (("strategy", name), ("data set", dataset)):
        if not re.fullmatch(r"[\w.+-]+", part):
            raise DataError(f"{part!r} cannot name a {what} in a file name: use letters, digits, '_', '-' and '.'")
    return f"{name}_{dataset}_{count}.npy"


def dataset_name(spec: str) -> str:
    """The name of a data set in index files, out of what opens it.

    Example:
        >>> dataset_name("torchvision:CIFAR10"), dataset_name("/data/my birds/"), dataset_name("x/cifar10_jpeg.npz")
        ('cifar10', 'my-birds', 'cifar10_jpeg')
    """
    last = Path(spec.rpartition(":")[2] or spec).name.lower()
    for ending in (".npz", ".csv", ".txt", ".tsv"):
        last = last.removesuffix(ending)
    return "".join(c if c.isalnum() or c in "._+-" else "-" for c in last) or "data"


def write_indices(
    folder: str | os.PathLike[str], chosen: Sequence[str], order: Sequence[str], *, name: str, dataset: str
) -> Path:
    """Writes a selection, whole or not at all; an older file of that name is replaced.

    Args:
        folder: made if it is not there.
        chosen: ids, in the order chosen.
        order: the data's native order.
        name: of the strategy.
        dataset: name of the data set.

    Raises:
        DataError: an id that is not in ``order``, or twice.
        StateError: the file cannot be written.

    Returns:
        The file.
    """
    place = {item: position for position, item in enumerate(order)}
    strange = next((item for item in chosen if item not in place), None)
    if strange is not None:
        raise DataError(f"{strange!r} is no training image of the data set, so it has no position in it")
    if len(set(chosen)) < len(chosen):
        raise DataError("a selection holds an image twice: each may be chosen once")
    file = Path(folder) / index_name(name, dataset, len(chosen))
    file.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    np.save(buffer, np.array([place[item] for item in chosen], dtype=np.int64), allow_pickle=False)
    write_whole(file, buffer.getvalue())
    return file


def read_indices(
    path: str | os.PathLike[str], order: Sequence[str], *, allowed: Collection[str] | None = None
) -> list[str]:
    """The ids that an index file names, in its order.

    Args:
        path: the file.
        order: the data's native order.
        allowed: ids that may be chosen; None: all of them.

    Memory: some hundred bytes a position, of which there are at most as many as images.

    Raises:
        FormatError: no such file, pickled objects, another type or shape, another length than its name says, repeats,
            positions outside the data set, or images that are not ``allowed`` (test images, images that a view left
            out).
    """
    shown = repr(os.fspath(path))
    array = _load(path, shown, most=len(order))
    if (named := _NAME.fullmatch(Path(path).name)) is not None and int(named["count"]) != len(array):
        raise FormatError(
            f"{shown} holds {len(array)} positions, and its name says {named['count']}: rename it, or choose again"
        )
    # as Python numbers: the largest uint64 must not turn into -1
    positions = array.tolist()
    for bad in (number for number in positions if not 0 <= number < len(order)):
        why = "positions count from 0" if bad < 0 else "it was made for another data set"
        raise FormatError(f"{shown} holds position {bad}; the data set has 0 to {len(order) - 1}: {why}")
    if len(set(positions)) < len(positions):
        twice = Counter(positions).most_common(1)[0][0]
        raise FormatError(f"{shown} holds position {twice} twice: each image may be chosen once")
    chosen = [order[number] for number in positions]
    if allowed is not None:
        permitted = allowed if isinstance(allowed, set | frozenset) else frozenset(allowed)
        for number, item in zip(positions, chosen, strict=True):
            if item not in permitted:
                raise FormatError(
                    f"{shown} holds position {number}, {item!r}, which may not be chosen: it is a test image, or left "
                    "out of this view of the data set"
                )
    return chosen


def _load(path: str | os.PathLike[str], shown: str, *, most: int) -> np.ndarray:
    """The numbers of the file, not more than there are images."""
    try:
        with Path(path).open("rb") as file:
            if file.read(6) != b"\x93NUMPY":
                raise FormatError(f"{shown} is no .npy file; {_WRITE}")
            file.seek(0)
            header = read_npy_header(file, os.fstat(file.fileno()).st_size, shown, objects=_WRITE)
            if len(header.shape) != 1:
                raise FormatError(f"{shown} holds an array of shape {header.shape}: needed is one dimension; {_WRITE}")
            if header.dtype.kind not in "iu":
                raise FormatError(f"{shown} holds {cut(str(header.dtype))} where whole numbers are needed; {_WRITE}")
            if header.shape[0] > most:
                raise FormatError(
                    f"{shown} holds {header.shape[0]:,} positions, and the data set has {most:,} images: it was made "
                    "for another data set"
                )
            return np.fromfile(file, header.dtype, header.shape[0])
    except FileNotFoundError:
        raise FormatError(f"{shown} does not exist: check the path") from None
    except OSError as error:
        raise FormatError(f"{shown} cannot be read ({error.strerror}): check it") from None
