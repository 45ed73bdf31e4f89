"""Pictures with their masks: which belong together, how they are turned, and the records of them."""

from __future__ import annotations

import posixpath
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from labelwise.contracts.record import Mask, Record, Where
from labelwise.errors import DataError, FormatError
from labelwise.formats.mask_coding import MaskCoding
from labelwise.formats.mask_files import mask_size, picture_sides, read_integers, read_stored, upright
from labelwise.formats.mask_layout import LOSSLESS

Progress = Callable[[str, int, int], None]


# ---- what belongs together ------------------------------------------------------------------------------------------


def paired(root: Path, pictures: Sequence[str], masks: Mapping[str, Sequence[str]]) -> tuple[dict[str, str], list[str]]:
    """Which picture each mask belongs to.

    Args:
        root: what all names are relative to.
        pictures: names.
        masks: name of a mask -> names, without ending or with it, that its picture may have, the surest first.

    Returns:
        Picture -> its mask; and files that are neither.

    Raises:
        FormatError: a mask without picture, of two pictures, in a format that loses pixels, or two for one picture.
    """
    by_stem: dict[str, list[str]] = defaultdict(list)
    names = set(pictures)
    for name in pictures:
        by_stem[posixpath.splitext(name)[0]].append(name)
    pairs: dict[str, str] = {}
    strays: list[str] = []
    alone: list[str] = []
    for mask, wanted in masks.items():
        fits = next((fit for word in wanted if (fit := [word] if word in names else by_stem.get(word))), [])
        exact = posixpath.splitext(mask)[1].lower() in LOSSLESS
        if not fits:
            (alone if exact else strays).append(mask)
        elif not exact:
            raise FormatError(
                f"{str(root / mask)!r} is the mask of {fits[0]!r:.80} and a lossy picture: its pixels are no class "
                "numbers any more; save masks as PNG, BMP, TIFF or GIF"
            )
        elif len(fits) > 1:
            raise FormatError(f"{str(root / mask)!r} may be the mask of {fits[0]!r} or {fits[1]!r}: rename one of them")
        elif (other := pairs.setdefault(fits[0], mask)) != mask:
            raise FormatError(
                f"{fits[0]!r} has two masks, {other!r} and {mask!r}, in {str(root)!r:.120}: keep one of them"
            )
    if alone:
        more = f" (and {len(alone) - 1:,} more)" if len(alone) > 1 else ""
        raise FormatError(
            f"{str(root / alone[0])!r:.120}{more} is a mask without image: there is no {masks[alone[0]][0]!r:.80} with "
            "the ending of an image file; add it, or delete the mask"
        )
    return pairs, strays


# ---- sizes and turns ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sides:
    """What headers say of a mask and its picture.

    Args:
        mask: (width, height) of the mask.
        seen: of the picture as it is shown; None where it cannot be read.
        stored: of the picture as it is stored.
        turned: 1 to 8, how the picture is turned when it is shown.
    """

    mask: tuple[int, int]
    seen: tuple[int, int] | None = None
    stored: tuple[int, int] | None = None
    turned: int = 1

    @property
    def drawn(self) -> str:
        """Whether the mask shows the picture as it is ``seen`` or ``stored``; "" where its sides do not tell."""
        if self.turned == 1 or self.seen == self.stored or self.mask not in (self.seen, self.stored):
            return ""
        return "seen" if self.mask == self.seen else "stored"

    @property
    def fits(self) -> bool:
        """Whether the mask has the size of the picture, turned or not."""
        return self.mask in (self.seen, self.stored)


@dataclass(frozen=True)
class Measured:
    """The sides of all masks of a set, and which of them are to be turned with their pictures.

    Args:
        sides: picture -> sides.
        unturned: whether masks were drawn on the stored pixels of turned pictures.
        notes: what people should know, one line each.
    """

    sides: Mapping[str, Sides]
    unturned: bool = False
    notes: tuple[str, ...] = ()

    def turn(self, image: str) -> int:
        """How the mask of a picture has to be turned, 1 to 8."""
        sides = self.sides[image]
        if sides.turned == 1 or not sides.fits or sides.drawn == "seen":
            return 1
        return sides.turned if self.unturned or sides.drawn == "stored" else 1


def measured(root: Path, masks: Mapping[str, Path], progress: Progress) -> Measured:
    """Looks at the headers of masks and their pictures.

    Phones store a picture as the sensor saw it, with a tag that says how to turn it; some tools draw on the picture as
    it is shown, some on the pixels as they are stored. Sides tell which, for a turn by 90 degrees; what they tell of
    some masks is taken for those of the set that they do not tell of.

    Raises:
        FormatError: a mask that cannot be read.
    """
    sides: dict[str, Sides] = {}
    for done, (image, file) in enumerate(masks.items(), 1):
        size = mask_size(file)
        try:
            sides[image] = Sides(size, *picture_sides(root / image))
        except DataError:  # it is reported where the picture is read
            sides[image] = Sides(size)
        if done % 100 == 0:
            progress("looking at masks", done, len(masks))
    drawn = {way: sum(one.drawn == way for one in sides.values()) for way in ("seen", "stored")}
    open_ = sum(one.turned > 1 and one.fits and not one.drawn for one in sides.values())
    notes = []
    if drawn["stored"]:
        notes.append(
            f"{drawn['stored']:,} mask(s) were drawn on images as they are stored, before their EXIF tag turns them: "
            "they are turned alike"
        )
    unturned = drawn["stored"] > 0 and not drawn["seen"]
    if open_:
        how = "as it is stored" if unturned else "as it is shown"
        notes.append(
            f"{open_:,} image(s) are turned by their EXIF tag, and the size of their masks does not tell whether these "
            f"are turned, too: each is taken for the image {how}"
        )
    return Measured(sides, unturned, tuple(notes))


# ---- records --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MaskSet:
    """Pictures with masks.

    Args:
        root: the folder that pictures are relative to.
        images: all of them.
        masks: picture -> mask.
        objects: picture -> file whose pixels number objects.
        splits: picture -> word for its split.
        groups: picture -> group.
        extra: picture -> what else the set says of it.
    """

    root: Path
    images: Sequence[str]
    masks: Mapping[str, Path]
    objects: Mapping[str, Path] = field(default_factory=dict)
    splits: Mapping[str, str] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def records(self, coding_of: Callable[[Path], MaskCoding], sides: Measured) -> Iterator[Record]:
        """A record for each picture; those without mask are untouched. Pixels are read when asked for."""
        for image in self.images:
            file = self.masks.get(image)
            turn = 1 if file is None else sides.turn(image)
            yield Record(
                Where(str(self.root / image if file is None else file)),
                image,
                pixels=None if file is None else _pixels(file, sides.sides[image].mask, turn, coding_of(file)),
                instances=self._instances(image, turn),
                state="untouched" if file is None else "answered",
                split=self.splits.get(image),
                group=self.groups.get(image),
                extra=self.extra.get(image, {}),
            )

    def _instances(self, image: str, turn: int) -> Mask | None:
        file = self.objects.get(image)
        return None if file is None else Mask(_turned(mask_size(file), turn), partial(_integers, file, turn))


def _pixels(file: Path, size: tuple[int, int], turn: int, coding: MaskCoding) -> Mask:
    return Mask(_turned(size, turn), partial(_indices, file, turn, coding))


def _turned(size: tuple[int, int], turn: int) -> tuple[int, int]:
    return size[::-1] if turn >= 5 else size


def _indices(file: Path, turn: int, coding: MaskCoding) -> np.ndarray:
    return upright(coding.indices(read_stored(file), str(file)), turn)


def _integers(file: Path, turn: int) -> np.ndarray:
    return upright(read_integers(file), turn)
