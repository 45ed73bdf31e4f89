"""How classes stand in the pixels of mask files: as indices, as other numbers, or as colours.

Shape letters: H x W pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from labelwise.contracts.record import IGNORE
from labelwise.errors import FormatError
from labelwise.formats.index_png import IGNORE_COLOUR, Colour, StoredMask

#: pixels that are looked up at once
_BAND = 1 << 21


@dataclass(frozen=True)
class MaskCoding:
    """What the pixels of mask files mean.

    Args:
        classes: names in index order.
        codes: stored value -> class index, or ``IGNORE``; by default every class stands as its index. 255 is ignored
            unless this says otherwise.
        palette: colour of each class; needed to read masks that hold colours.
        void: further colours that mean no class.
        said: what people should know of it, one line each.

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
    said: tuple[str, ...] = ()

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

    def has_colour(self, colour: Colour) -> bool:
        """Whether a class has this colour."""
        return self._colours.get(colour, IGNORE) != IGNORE

    def indices(self, stored: StoredMask, shown: str) -> np.ndarray:
        """uint8 class indices (H, W) of what a mask file holds.

        Colours count where they are known: a tool that saves a palette image may number its colours anew.

        Raises:
            FormatError: a value or a colour that stands for no class.
        """
        if stored.values is None:
            return self._of_colours(stored, shown)
        counts = histogram(stored.values)
        used = np.flatnonzero(counts).tolist()
        table = self._of_greys(used, shown) if stored.palette is None else self._renumbered(stored.palette, used, shown)
        strange = np.flatnonzero((counts > 0) & (table < 0))
        if len(strange):
            self._refuse_value(int(strange[0]), int(counts[strange[0]]), len(strange) - 1, shown)
        indices_HW: np.ndarray = table.astype(np.uint8)[stored.values]
        return indices_HW

    def _of_greys(self, values: Sequence[int], shown: str) -> np.ndarray:
        """The table of a picture in grey levels: they are values, unless they can only be colours of classes.

        Raises:
            FormatError: they may be both, and mean different classes.
        """
        table = self._table
        by_colour = {value: self._colours.get((value,) * 3, IGNORE) for value in values}
        if IGNORE in by_colour.values() or all(table[value] == index for value, index in by_colour.items()):
            return table
        other = next(
            (value for value in values if value != IGNORE and table[value] not in (-1, by_colour[value])), None
        )
        if other is not None and all(table[value] >= 0 for value in values):
            raise FormatError(
                f"{shown!r}: the grey level {other} stands for {self.classes[table[other]]!r:.40} as a number and for "
                f"{self.classes[by_colour[other]]!r:.40} as a colour; give the classes other colours, or save colours"
            )
        table = table.copy()
        for value, index in by_colour.items():
            table[value] = index
        return table

    def _renumbered(self, palette: Sequence[Colour], values: Sequence[int], shown: str) -> np.ndarray:
        """The table of a palette image, whose numbers may not be the classes while its colours are."""
        table = self._table.copy()
        colour_of = {value: palette[value] if value < len(palette) else None for value in values}
        if not self._colours:
            levels = {value: colour[0] for value, colour in colour_of.items() if colour and len(set(colour)) == 1}
            if len(levels) == len(values) and any(level != value for value, level in levels.items()):
                self._check_levels(levels, shown)
            return table
        for value, colour in colour_of.items():
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

    def _check_levels(self, levels: Mapping[int, int], shown: str) -> None:
        """Refuses a palette of greys that would be classes, too, and other ones: some programs save greys like that."""
        if all(0 <= self._table[level] != IGNORE for level in levels.values()):
            value, level = next((value, level) for value, level in levels.items() if value != level)
            raise FormatError(
                f"{shown!r} is a palette image whose number {value} is shown as grey {level}, and both stand for a "
                "class: save class indices as grey values, without a palette"
            )

    def _of_colours(self, stored: StoredMask, shown: str) -> np.ndarray:
        if not self._colours:
            raise FormatError(
                f"{shown!r} is a PNG of mode {stored.mode}, whose pixels are colours, and no palette is known: save "
                f"class indices as grey values (0 to {len(self.classes) - 1}, 255 to ignore)"
            )
        assert stored.colours is not None
        indices_HW = np.empty(stored.colours.shape[:2], np.uint8)
        strange = np.zeros(1 << 24, bool)
        for rows in _bands(stored.colours):
            colours = stored.colours[rows].astype(np.uint32)
            codes = (colours[..., 0] << 16) | (colours[..., 1] << 8) | colours[..., 2]
            found = self._by_colour[codes]
            strange[codes[found < 0]] = True
            indices_HW[rows] = found
        if strange.any():
            self._refuse_colour(stored.colours, int(strange.argmax()), shown)
        return indices_HW

    @cached_property
    def _by_colour(self) -> np.ndarray:
        """int16 (2**24), class index of each colour, -1 where it means nothing."""
        table = np.full(1 << 24, -1, np.int16)
        for (red, green, blue), index in self._colours.items():
            table[red << 16 | green << 8 | blue] = index
        return table

    def _refuse_colour(self, colours: np.ndarray, code: int, shown: str) -> None:
        colour = (code >> 16, code >> 8 & 255, code & 255)
        count = sum(int((colours[rows] == np.array(colour, np.uint8)).all(-1).sum()) for rows in _bands(colours))
        raise FormatError(
            f"{shown!r}: {count:,} pixel(s) have the colour {_hex(colour)}, which no class has; allowed are "
            f"{self._listed_colours()}. (Edges that were smoothed give such colours: save without anti-aliasing)"
        )

    def _refuse_value(self, value: int, count: int, others: int, shown: str) -> None:
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


def histogram(values_HW: np.ndarray) -> np.ndarray:
    """int64 (256): how many pixels have each value; without a copy of all pixels in wider numbers."""
    counts = np.zeros(256, np.int64)
    for rows in _bands(values_HW):
        counts += np.bincount(values_HW[rows].ravel(), minlength=256)
    return counts


def _bands(pixels: np.ndarray) -> list[slice]:
    """Rows of a picture, some million pixels at a time."""
    step = max(1, _BAND // max(1, pixels.shape[1]))
    return [slice(start, start + step) for start in range(0, pixels.shape[0], step)]


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
