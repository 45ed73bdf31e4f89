"""Probabilities of every pixel as arrays: one .npz of all images, or a folder with one .npz for each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from labelwise.contracts.format import Format, Hints, Reads, Sniff
from labelwise.contracts.record import Head, Mask, Record, Where
from labelwise.errors import FormatError, brief
from labelwise.formats.columns import is_picture
from labelwise.formats.glance import some_files

if TYPE_CHECKING:
    import numpy as np

    from labelwise.formats.npy_header import NpyHeader
    from labelwise.formats.npz import Npz

#: numbers in one map: 240 MB as float32
MOST_NUMBERS = 60_000_000
#: names of the array in a file of one image, the surest first; else its only one counts
_NAMES = ("probabilities", "probs", "softmax")
_CLASSES = "classes"


@dataclass(frozen=True)
class Maps(Format):
    """Class probabilities of every pixel: for each image an array of classes, height and width.

    *Files.* One .npz whose arrays are called as the images are (``numpy.savez("maps.npz", **{"a.jpg": map})``), or a
    folder with one .npz for each image, called as the image is, with one array, or one called ``probabilities``,
    ``probs`` or ``softmax`` (``numpy.savez``; what nnU-Net writes with ``--save_probabilities``). An array ``classes``
    may name the classes; else they count as the project's do.

    *Arrays* are (C, H, W) or (H, W, C), told by the number of classes (``--format maps:order=hwc`` where both fit), of
    any height and width: they are stretched over the image. Floats lie in [0, 1]; whole bytes are probabilities times
    255. They sum to one over the classes.

    Memory: one map at a time, at most 60 million numbers; of a packed file see ``npz.load_npz``.

    Args:
        order: of the axes: ``auto``, ``chw`` or ``hwc``.
    """

    name: ClassVar[str] = "maps"
    title: ClassVar[str] = "probabilities of every pixel, as arrays (.npz of all images, or a folder of them)"
    kinds: ClassVar[frozenset[str]] = frozenset({"masks"})
    reads: ClassVar[frozenset[Reads]] = frozenset({"predictions"})
    order: Literal["auto", "chw", "hwc"] = "auto"

    def sniff(self, path: Path, use: Reads) -> Sniff:
        """By the ending, and the shape of the first array."""
        from labelwise.formats.npz import load_npz

        one = path if path.is_file() else next(iter(some_files(path, {".npz"}, 1)), None)
        if one is None or one.suffix.lower() != ".npz":
            return Sniff(0.0, "no .npz file")
        try:
            found = load_npz(one)
            names = [name for name in found if name != _CLASSES]
            shape = found.header(names[0]).shape if names and "ids" not in found else ()
        except FormatError as error:
            return Sniff(0.2, str(error).removeprefix(f"{str(one)!r} "))
        if len(shape) not in (3, 4):
            return Sniff(0.2, "its arrays have not three sides: classes, height and width")
        return Sniff(0.95, f"arrays such as {names[0]!r:.40} with three sides", ("masks",))

    def read(self, path: Path, use: Reads, hints: Hints) -> tuple[Head, Iterator[Record]]:
        """A record for each map, its numbers read when they are asked for.

        Raises:
            FormatError: no maps; no classes to be known; one of another number of classes, too large, or no numbers.
        """
        from labelwise.formats.npz import load_npz, names_of

        if path.is_dir():
            files = sorted(path.rglob("*.npz"))
            sources = [(file, file.relative_to(path).with_suffix("").as_posix(), "") for file in files]
        else:
            sources = [(path, name, name) for name in load_npz(path) if name != _CLASSES]
        if not sources:
            raise FormatError(f"{str(path)!r:.120} holds no map: give an .npz of arrays called as the images are")
        first = load_npz(sources[0][0])
        named = names_of(first[_CLASSES], f"{str(path)!r}: classes") if _CLASSES in first else ()
        reading = _Reading(self.order, len(named) or len(hints.classes))
        return Head(classes=tuple(named) or hints.classes), reading.records(sources)


@dataclass(frozen=True)
class _Reading:
    """How maps are read.

    Args:
        order: of the axes.
        classes: how many there are; 0 where nobody knows.
    """

    order: str
    classes: int

    def records(self, sources: Sequence[tuple[Path, str, str]]) -> Iterator[Record]:
        """One for each (file, image, array or "" for the only one)."""
        from labelwise.formats.npz import load_npz

        arrays: Npz | None = None
        open_file: Path | None = None
        for file, image, name in sources:
            if arrays is None or file != open_file:
                arrays, open_file = load_npz(file), file
            name = name or _only(arrays, file)
            where = Where(f"{file}: {name}")
            axis, size = self._axis(arrays.header(name), where)
            # a file in a folder is closed again, and opened when its map is asked for
            held = arrays if len(sources) == 1 or sources[0][0] == sources[-1][0] else None
            read = partial(_probabilities, file, held, name, axis)
            yield Record(where, image, bare=not is_picture(image), maps=Mask(size, read))

    def _axis(self, header: NpyHeader, where: Where) -> tuple[int, tuple[int, int]]:
        """Which side counts the classes, and (width, height)."""
        shape = header.shape
        if len(shape) == 4 and 1 in shape[:2]:  # a slice of a volume, as nnU-Net has it, or a batch of one
            shape = shape[1:] if shape[0] == 1 else (shape[0], *shape[2:])
        byte = header.dtype.kind == "u" and header.dtype.itemsize == 1
        if not (byte or header.dtype.kind == "f") or len(shape) != 3:
            raise FormatError(
                f"{where} is an array of {header.dtype!s:.30} of shape {brief(header.shape)}: give floats, or bytes (0 "
                "to 255), of shape (classes, height, width)"
            )
        fits = [axis for axis, order in ((0, "chw"), (2, "hwc")) if self._fits(shape[axis], order)]
        if len(fits) != 1:
            what = f"{self.classes} classes" if self.classes else "classes that nobody has named"
            hint = "say --format maps:order=chw or hwc" if fits else "give one layer for each class"
            raise FormatError(f"{where} has the shape {brief(shape)}, and there are {what}: {hint}")
        if (numbers := shape[0] * shape[1] * shape[2]) > MOST_NUMBERS:
            raise FormatError(
                f"{where} has {numbers:,} numbers: at most {MOST_NUMBERS:,} are read; save it at a smaller height and "
                "width, it is stretched over the image"
            )
        height, width = (shape[1], shape[2]) if fits[0] == 0 else (shape[0], shape[1])
        if not height or not width:
            raise FormatError(f"{where} has no pixel: give an array of shape (classes, height, width)")
        return fits[0], (width, height)

    def _fits(self, side: int, order: str) -> bool:
        return self.order in ("auto", order) and (side == self.classes or (not self.classes and self.order == order))


def _only(arrays: Npz, file: Path) -> str:
    """The array of a file of one image."""
    names = [name for name in arrays if name != _CLASSES]
    found = next((name for name in _NAMES if name in names), names[0] if len(names) == 1 else None)
    if found is None:
        raise FormatError(f"{str(file)!r} holds {arrays.listed()}: keep one array, or call it 'probabilities'")
    return found


def _probabilities(file: Path, arrays: Npz | None, name: str, axis: int) -> np.ndarray:
    """float32 (H, W, C), read now and not kept."""
    import numpy as np

    from labelwise.formats.npz import load_npz

    found = (arrays or load_npz(file)).once(name)
    if found.ndim == 4:
        found = found[0] if found.shape[0] == 1 else found[:, 0]
    numbers = np.ascontiguousarray(np.moveaxis(found, 0, -1) if axis == 0 else found, dtype=np.float32)
    if found.dtype == np.uint8:
        numbers /= 255
    return numbers
