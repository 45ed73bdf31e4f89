"""What the values of a whole set of masks mean: a list says so, or the project, or all of them together.

The one value that means two things is 255: no class at all to some (VOC, and what labelwise writes), the foreground to
others (0 and 255, as many U-Net tutorials have it). Which it is can only be told by the whole set, and is always said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from labelwise.contracts.record import IGNORE
from labelwise.errors import FormatError
from labelwise.formats.index_png import IGNORE_COLOUR, Colour, StoredMask
from labelwise.formats.mask_coding import MaskCoding
from labelwise.formats.mask_files import read_stored, used_values
from labelwise.formats.mask_lists import COLOUR_FILE

#: masks that are looked at before the others, which are only read where these leave a question open
_SAMPLE = 10
#: classes that a set without any list may have: more values are grey levels that were smoothed or scaled
_MOST_UNNAMED = 150
_WHITE: Colour = (255, 255, 255)
#: what the two classes of a set of black and white masks are called where nothing names them
FOREGROUND = ("background", "foreground")


@dataclass(frozen=True)
class Values:
    """The values that masks hold.

    Args:
        used: all that occur, in masks whose pixels are no colours.
        binary: masks of nothing but 0 and 255, both or 255 alone, without the border colour that says "no class".
        other: masks of other values.
        border: whether a palette shows 255 in the colour of pixels without class.
        coloured: the first mask whose pixels are colours.
        palette: of the first mask that has one.
    """

    used: frozenset[int] = frozenset()
    binary: int = 0
    other: int = 0
    border: bool = False
    coloured: Path | None = None
    palette: tuple[Colour, ...] | None = None

    def joined(self, file: Path, stored: StoredMask) -> Values:
        """With one more mask."""
        palette = self.palette or stored.palette
        if stored.values is None:
            return replace(self, coloured=self.coloured or file, palette=palette)
        used = used_values(stored)
        listed = stored.palette or ()
        border = len(listed) > IGNORE and listed[IGNORE] == IGNORE_COLOUR
        binary = IGNORE in used and used <= {0, IGNORE} and not border
        return Values(
            self.used | used,
            self.binary + binary,
            self.other + (not binary and not used <= {0}),
            self.border or (border and IGNORE in used),
            self.coloured,
            palette,
        )

    @property
    def black_and_white(self) -> bool:
        """Whether the masks hold 0 and 255 and nothing else, and 255 is not shown as "no class"."""
        only = self.used == {0, IGNORE} and self.binary > 0 and not self.other
        return only and not self.border and self.coloured is None

    @property
    def open(self) -> bool:
        """Whether further masks may still tell what 255 means."""
        return self.used <= {0, IGNORE} and not self.border and self.coloured is None


def values_of(files: Iterable[Path], seen: Values | None = None) -> Values:
    """What masks hold.

    Raises:
        FormatError: one that cannot be read.
    """
    seen = seen or Values()
    for file in files:
        seen = seen.joined(file, read_stored(file))
    return seen


def coding_of_set(
    files: Sequence[Path],
    listed: MaskCoding | None,
    names: Sequence[str],
    shown: str,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> tuple[MaskCoding, list[str]]:
    """What the masks of a data set mean.

    With a list of classes the first masks are read, and the others only where those hold nothing but 0 and 255. Without
    one all are.

    Args:
        files: the masks, of the sizes of their pictures.
        listed: what a list beside them says.
        names: of the classes, in order, where the caller knows them and no list is there.
        shown: the data set, for messages.
        progress: told (stage, done, total).

    Returns:
        The coding, and what people should know, one line each.

    Raises:
        FormatError: values or colours that only a list can tell the meaning of.
    """
    seen = values_of(files[:_SAMPLE])
    known = listed or (MaskCoding(tuple(names)) if names else None)
    white = known is not None and known.has_colour(_WHITE)  # then 255 is that class, whatever the set
    if known is None or (seen.open and not white):
        for done in range(_SAMPLE, len(files), _SAMPLE):
            seen = values_of(files[done : done + _SAMPLE], seen)
            progress("reading masks", min(done + _SAMPLE, len(files)), len(files))
            if known is not None and not seen.open:
                break
    said = list(known.said) if known is not None else []
    if listed is None and names:
        said.append(f"no list of classes lies beside the masks: 0 is taken for {names[0]!r:.40}, and so on")
    if seen.black_and_white and not white:
        known, line = _black_and_white(known, shown)
        return known, [*said, line]
    if known is None:
        known = _unnamed(seen, shown)
        said.append("classes are called by their number: list their names in classes.txt beside the masks, one a line")
    elif seen.used == {IGNORE} and not white:
        said.append("the masks hold nothing but 255, which means no class: no pixel is labelled")
    elif seen.binary and seen.other and not seen.border and not white:
        said.append(
            f"of the masks that were looked at {seen.binary:,} hold nothing but 0 and 255, and others hold further "
            "values: 255 is taken for pixels without class everywhere"
        )
    return _with_palette(known, seen), said


def _black_and_white(known: MaskCoding | None, shown: str) -> tuple[MaskCoding, str]:
    """Masks of 0 and 255 alone."""
    classes = FOREGROUND if known is None else known.classes
    if known is not None and known.codes.get(IGNORE, IGNORE) != IGNORE:
        return known, f"255 stands for {classes[known.codes[IGNORE]]!r:.40}"
    if len(classes) != 2 or (known is not None and known.codes and known.codes.get(0) != 0):
        raise FormatError(
            f"{shown!r:.120}: its masks hold nothing but 0 and 255, and {len(classes)} class(es) are listed: write "
            "each as its number (0, 1, ...), or list two in classes.txt, the first for 0 and the second for 255"
        )
    found = MaskCoding(classes, {0: 0, 1: 1, IGNORE: 1}, None if known is None else known.palette)
    how = " (name them in classes.txt)" if known is None else ""
    return found, (
        f"the masks hold nothing but 0 and 255: 0 is taken for {classes[0]!r:.40}, 255 for {classes[1]!r:.40}{how}"
    )


def _unnamed(seen: Values, shown: str) -> MaskCoding:
    """A coding for masks of which nothing but their values is known: classes are called by their number."""
    if seen.coloured is not None:
        raise FormatError(
            f"{str(seen.coloured)!r:.120} holds colours, and nothing says what they mean: list them in {COLOUR_FILE} "
            "(lines name:r,g,b::), or save class indices and list the names in classes.txt"
        )
    found = sorted(seen.used - {IGNORE})
    if found in ([], [0]):
        listed = " and ".join(map(str, sorted(seen.used))) or "no pixel"
        raise FormatError(
            f"{shown!r:.120}: its masks hold nothing but {listed}: write classes as 0, 1, ..., and list their names in "
            "classes.txt"
        )
    if found[-1] >= _MOST_UNNAMED or 2 * len(found) < found[-1] + 1:
        raise FormatError(
            f"{shown!r:.120}: its masks hold {len(found)} values up to {found[-1]}, which look like grey levels, not "
            "like the numbers of classes: list the names of all values in classes.txt, or save class indices"
        )
    return MaskCoding(tuple(f"class {n}" for n in range(found[-1] + 1)))


def _with_palette(coding: MaskCoding, seen: Values) -> MaskCoding:
    """The colours of the classes out of the masks, where no list has them, and where they tell all values apart."""
    colours = seen.palette or ()
    values = sorted({*coding.values, *seen.used} - {IGNORE})
    if coding.palette is not None or len(colours) <= values[-1]:
        return coding
    distinct = len({colours[value] for value in values}) == len(values)
    coloured = any(len(set(colours[value])) > 1 for value in values)  # greys are taken for numbers
    palette = tuple(colours[value] for value in coding.values)
    return replace(coding, palette=palette) if distinct and coloured else coding
