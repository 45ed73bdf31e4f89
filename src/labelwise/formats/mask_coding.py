"""How classes stand in the pixels of mask files: as indices, as other numbers, or as colours.

Shape letters: H x W pixels.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from labelwise.contracts.record import IGNORE
from labelwise.errors import ConfigError, FormatError
from labelwise.formats.delimited import read_text
from labelwise.formats.index_png import IGNORE_COLOUR, Colour, StoredMask, read_stored

#: files that list the classes of a folder of masks, one a line
CLASS_FILES = ("classes.txt", "class_names.txt", "labels.txt")
#: a file of this name says colours as well: ``name:r,g,b:parts:actions``
COLOUR_FILE = "labelmap.txt"
#: classes of these names mean that a pixel has none
NO_CLASS = frozenset({"unlabelled", "unlabeled", "void", "ignore", "ignored", "__ignore__"})
#: the first line of lists whose second line is class 0: this one was counted as -1
_FIRST_IGNORED = "__ignore__"


@dataclass(frozen=True)
class MaskCoding:
    """What the pixels of mask files mean.

    Args:
        classes: names in index order.
        codes: stored value -> class index, or ``IGNORE``; by default every class stands as its index. 255 is ignored
            unless this says otherwise.
        palette: colour of each class; needed to read masks that hold colours.
        void: further colours that mean no class.

    Raises:
        FormatError: more classes than a byte can tell apart, or colours for some of them only.

    Example:
        >>> coding = MaskCoding(("road", "car"), {0: 0, 1: 1, 2: IGNORE})
        >>> coding.indices(StoredMask(np.array([[0, 1, 2, 255]], np.uint8)), "a.png").tolist()
        [[0, 1, 255, 255]]
    """

    classes: tuple[str, ...]
    codes: Mapping[int, int] = field(default_factory=dict)
    palette: tuple[Colour, ...] | None = None
    void: tuple[Colour, ...] = (IGNORE_COLOUR,)

    def __post_init__(self) -> None:
        if len(self.classes) > IGNORE:
            raise FormatError(f"{len(self.classes)} classes: a mask of one byte a pixel has room for {IGNORE}")
        if self.palette is not None and len(self.palette) != len(self.classes):
            raise FormatError(f"{len(self.palette)} colours for {len(self.classes)} classes: give one for each")

    @cached_property
    def _table(self) -> np.ndarray:
        """int16 (256), class index of each stored value, -1 where it means nothing."""
        table = np.full(256, -1, np.int16)
        table[IGNORE] = IGNORE
        for value, index in (self.codes or {n: n for n in range(len(self.classes))}).items():
            table[value] = index
        return table

    @cached_property
    def _colours(self) -> Mapping[Colour, int]:
        if self.palette is None:
            return {}
        return dict.fromkeys(self.void, IGNORE) | {colour: n for n, colour in reversed([*enumerate(self.palette)])}

    @property
    def values(self) -> tuple[int, ...]:
        """The stored value of each class; the lowest, where several mean the same."""
        return tuple(int(np.flatnonzero(self._table == n)[0]) for n in range(len(self.classes)))

    def read(self, path: str | os.PathLike[str]) -> np.ndarray:
        """uint8 class indices (H, W) of a mask file.

        Raises:
            FormatError: no PNG of indices, a value or a colour that stands for no class; with the file.
        """
        return self.indices(read_stored(path), os.fspath(path))

    def indices(self, stored: StoredMask, shown: str) -> np.ndarray:
        """uint8 class indices (H, W) of what a mask file holds.

        Colours count where they are known: a tool that saves a palette image may number its colours anew.

        Raises:
            FormatError: a value or a colour that stands for no class.
        """
        if stored.values is None:
            return self._of_colours(stored, shown)
        table = self._table
        if stored.palette is not None and self._colours:
            table = self._renumbered(stored, shown)
        indices_HW = table[stored.values]
        if (indices_HW < 0).any():
            self._refuse_value(stored.values[indices_HW < 0], shown)
        found_HW: np.ndarray = indices_HW.astype(np.uint8)
        return found_HW

    def _renumbered(self, stored: StoredMask, shown: str) -> np.ndarray:
        assert stored.palette is not None
        assert stored.values is not None
        table = self._table.copy()
        for value in np.flatnonzero(np.bincount(stored.values.ravel(), minlength=256)).tolist():
            colour = stored.palette[value] if value < len(stored.palette) else None
            index = int(table[value])
            own = IGNORE_COLOUR if index == IGNORE else self.palette[index] if self.palette and index >= 0 else None
            if colour == own or (index == IGNORE and colour not in self._colours):
                continue
            if colour is None or colour not in self._colours:
                raise FormatError(
                    f"{shown!r} is a palette image whose number {value} has the colour {_hex(colour)}, which no class "
                    f"has: save class indices as grey values, or use the colours {self._listed_colours()}"
                )
            table[value] = self._colours[colour]
        return table

    def _of_colours(self, stored: StoredMask, shown: str) -> np.ndarray:
        if not self._colours:
            raise FormatError(
                f"{shown!r} is a PNG of mode {stored.mode}, whose pixels are colours, and no palette is known: save "
                f"class indices as grey values (0 to {len(self.classes) - 1}, 255 to ignore)"
            )
        assert stored.colours is not None
        flat = stored.colours.astype(np.int64) @ np.array([65536, 256, 1])
        found, inverse = np.unique(flat, return_inverse=True)
        known = {(r << 16) + (g << 8) + b: index for (r, g, b), index in self._colours.items()}
        indices = np.array([known.get(code, -1) for code in found.tolist()])
        if (indices < 0).any():
            colour, count = int(found[indices < 0][0]), int((flat == found[indices < 0][0]).sum())
            raise FormatError(
                f"{shown!r}: {count:,} pixel(s) have the colour #{colour:06x}, which no class has; allowed are "
                f"{self._listed_colours()}. (Edges that were smoothed give such colours: save without anti-aliasing)"
            )
        return indices[inverse].reshape(flat.shape).astype(np.uint8)

    def _refuse_value(self, strange: np.ndarray, shown: str) -> None:
        value = int(strange.flat[0])
        count, others = int((strange == value).sum()), len(np.unique(strange)) - 1
        more = f" and {others} further value(s) that mean nothing" if others else ""
        raise FormatError(
            f"{shown!r}: {count:,} pixel(s) have the value {value}{more}; allowed are {self._listed_values()}"
        )

    def _listed_values(self) -> str:
        meaning = self._table
        classes = _runs([value for value in range(256) if 0 <= meaning[value] != IGNORE])
        ignored = _runs([value for value in range(256) if meaning[value] == IGNORE])
        last = f" to {self.classes[-1]}" if len(self.classes) > 1 else ""
        return f"{classes} ({self.classes[0]}{last})" + (f" and {ignored} (no class)" if ignored else "")

    def _listed_colours(self) -> str:
        named = [f"{_hex(colour)} {name}" for name, colour in zip(self.classes, self.palette or (), strict=False)]
        return ", ".join(named[:8]) + (f", ... ({len(named)} in all)" if len(named) > 8 else "")


def _runs(values: Sequence[int]) -> str:
    """Ascending numbers in words: 0 to 2, 7."""
    runs: list[list[int]] = []
    for value in values:
        if runs and value == runs[-1][-1] + 1:
            runs[-1].append(value)
        else:
            runs.append([value])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs)


def _hex(colour: Colour | None) -> str:
    return "of nothing" if colour is None else "#{:02x}{:02x}{:02x}".format(*colour)


def find_coding(folder: Path) -> MaskCoding | None:
    """What a folder says about its classes: ``labelmap.txt``, or a list of names; None where there is neither.

    Raises:
        FormatError: such a file is empty, names a class twice, or has a broken line; with the row.
    """
    if (folder / COLOUR_FILE).is_file():
        return read_labelmap(folder / COLOUR_FILE)
    found = next((folder / name for name in CLASS_FILES if (folder / name).is_file()), None)
    return None if found is None else read_classes(found)


def read_classes(path: Path) -> MaskCoding:
    """Class names, one a line, the first standing as 0; a class called unlabelled, void or ignore is none.

    Raises:
        FormatError: no name, or one twice; with the row.
    """
    lines = [line.strip() for line in read_text(path).splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    if lines and lines[0] == _FIRST_IGNORED:  # written for -1: the next line is class 0
        lines = lines[1:]
    return coding_of(lines, str(path))


def coding_of(names: Sequence[str], shown: str, colours: Sequence[Colour] | None = None) -> MaskCoding:
    """The coding in which the n-th name stands as n; names such as unlabelled and void mean no class.

    Raises:
        FormatError: no name, an empty one, or one twice; with the row.
    """
    for row, name in enumerate(names, 1):
        if not name:
            raise FormatError(f"{shown!r}, row {row}: the line is empty; give one class name a line")
        if name in names[: row - 1]:
            raise FormatError(f"{shown!r}, row {row}: class {name!r} stands there twice; rename one of the two")
    if len(names) > IGNORE + 1:
        raise FormatError(f"{shown!r} names {len(names)} classes: a mask of one byte a pixel has room for {IGNORE}")
    kept = [row for row, name in enumerate(names) if name.lower() not in NO_CLASS]
    if not kept:
        raise FormatError(f"{shown!r} names no class: give one name a line, the first for the value 0")
    codes = {row: kept.index(row) if row in kept else IGNORE for row in range(len(names))}
    if colours is None:
        return MaskCoding(tuple(names[row] for row in kept), codes)
    void = [colours[row] for row in range(len(names)) if row not in kept]
    palette = tuple(colours[row] for row in kept)
    return MaskCoding(tuple(names[row] for row in kept), codes, palette, (IGNORE_COLOUR, *void))


def read_labelmap(path: Path) -> MaskCoding:
    """Names and colours, lines ``name:r,g,b:parts:actions``; what starts with ``#`` is a remark.

    Raises:
        FormatError: a line without three numbers from 0 to 255, with the row; as :func:`read_classes`.
    """
    names: list[str] = []
    colours: list[Colour] = []
    for row, line in enumerate(read_text(path).splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, _, rest = line.partition(":")
        numbers = rest.partition(":")[0].split(",")
        if len(numbers) != 3 or not all(part.strip().isdecimal() and int(part) < 256 for part in numbers):
            raise FormatError(f"{str(path)!r}, row {row}: {line!r:.60} is no name:r,g,b; give three numbers to 255")
        red, green, blue = map(int, numbers)
        names.append(name.strip())
        colours.append((red, green, blue))
    return coding_of(names, str(path), colours)


def unnamed(values: Iterable[int], shown: str) -> MaskCoding:
    """A coding for masks of which nothing but their values is known: classes are called by their number.

    Raises:
        FormatError: nothing but 0 and 255, in which 255 might be a class.
    """
    found = sorted(set(values) - {IGNORE})
    if found in ([], [0]):
        raise FormatError(
            f"{shown!r}: its masks hold nothing but {' and '.join(map(str, sorted(values))) or 'no pixel'}, and 255 "
            f"means no class: write classes as 0, 1, ..., and list their names in {CLASS_FILES[0]}"
        )
    return MaskCoding(_numbered(found[-1] + 1))


def _numbered(count: int) -> tuple[str, ...]:
    return tuple(f"class {n}" for n in range(count))


def check_names(found: Sequence[str], wanted: Sequence[str]) -> None:
    """Refuses other names, or another order, than masks were read with: their pixels are indices into these.

    Args:
        found: names that come with the masks; those that are mere numbers may be replaced by any.
        wanted: the project's.

    Raises:
        ConfigError: says which differ.
    """
    fits = len(found) <= len(wanted) if tuple(found) == _numbered(len(found)) else tuple(found) == tuple(wanted)
    if not fits:
        raise ConfigError(
            f"the masks come with the classes {_some(found)}, and the project has {_some(wanted)}: leave --classes "
            f"out, or bring {CLASS_FILES[0]} beside the masks and the project into line"
        )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:12]) + (f", ... ({len(names)} in all)" if len(names) > 12 else "")
