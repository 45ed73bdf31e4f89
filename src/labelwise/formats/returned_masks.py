"""Masks that people gave back: what ``export`` wrote and was filled in, or the folder of any tool."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from labelwise.contracts.format import Hints, Sniff
from labelwise.contracts.record import IGNORE, Head, Mask, Record, Where
from labelwise.errors import FormatError
from labelwise.formats.class_colours import colours, in_order
from labelwise.formats.glance import some_files, start_of
from labelwise.formats.index_png import Colour
from labelwise.formats.json_file import read_json
from labelwise.formats.mask_coding import MaskCoding
from labelwise.formats.mask_files import mask_size, read_integers, read_stored
from labelwise.formats.mask_layout import LOSSLESS, MASK_WORDS, find_layout, plain_name, without_sign
from labelwise.formats.mask_lists import coding_among
from labelwise.formats.mask_pairs import paired
from labelwise.formats.mask_truth import values_of
from labelwise.formats.scan import ENDINGS, scan_folder

#: what ``export`` writes beside the masks, and what it says of itself
LISTING, MARK = "asked.json", "labelwise-asked-masks"
#: folders of such an export
MASKS, SUGGESTED, REGIONS = "masks", "suggested", "regions"
_REGION = re.compile(r"^(?P<image>.+)#(?P<number>\d{1,9})$")
#: masks that are looked at for black and white ones
_SAMPLE = 20
#: folders of grey pictures of how sure a model is, as they are compared
CONFIDENCE_WORDS = ("confidence", "confidences", "conf", "certainty", "scores")


def sniff_returned(path: Path, *, predicted: bool = False) -> Sniff:
    """Whether a folder looks like masks that came back, or that a model drew: of models pictures alone are no masks."""
    if MARK.encode() in start_of(path / LISTING):
        return Sniff(1.0, f"{LISTING} says so", ("masks",))
    if (path / "SegmentationClass").is_dir():
        return Sniff(0.3, "its folders are those of VOC", ("masks",))
    place = _place(path)
    files = some_files(place, ENDINGS, 20)
    if place != path and files:
        return Sniff(0.75 if predicted else 0.85, f"a folder {place.name} of pictures", ("masks",))
    if files:
        return Sniff(0.4 if predicted else 0.6, "pictures in no folder called masks", ("masks",))
    return Sniff(0.2, f"no mask (a PNG file) in {place.name!r}")


def _place(path: Path) -> Path:
    """The folder of the masks: one called like that, or the folder itself."""
    try:
        with os.scandir(path) as entries:
            names = {plain_name(entry.name): entry.name for entry in entries if entry.is_dir()}
    except OSError:
        return path
    for word in MASK_WORDS:
        if word in names and (word == MASKS or some_files(path / names[word], LOSSLESS, 1)):
            return path / names[word]
    return path


# ---- what export wrote ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Asked:
    """What ``asked.json`` says.

    Args:
        answers: file of an answer, without ending -> (image, region or None, box of the region or None).
        classes: names in index order.
        palette: their colours.
    """

    answers: Mapping[str, tuple[str, str | None, tuple[int, ...] | None]] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    palette: tuple[Colour, ...] | None = None


def _asked(folder: Path) -> _Asked | None:
    """The listing of an export in a folder; None where there is none.

    Raises:
        FormatError: one that is damaged.
    """
    file = folder / LISTING
    if MARK.encode() not in start_of(file):
        return None
    data = read_json(file)
    items = data.get("items") if isinstance(data, dict) else None
    if not isinstance(items, list):
        raise FormatError(f"{str(file)!r}: it has no list of items; export again")
    answers: dict[str, tuple[str, str | None, tuple[int, ...] | None]] = {}
    for row, item in enumerate(items, 1):
        if not isinstance(item, dict) or not isinstance(item.get("id"), str) or not isinstance(item.get("answer"), str):
            raise FormatError(f"{str(file)!r}, item {row}: it needs id and answer; export again")
        box = item.get("box")
        if box is not None and not (isinstance(box, list) and len(box) == 4 and all(type(v) is int for v in box)):
            raise FormatError(f"{str(file)!r}, item {row}: box is {box!r:.60}; export again")
        match = _REGION.match(item["id"]) if box is not None else None
        region = (item["id"], None, None) if match is None else (match["image"], match["number"], tuple(box or ()))
        answers[posixpath.splitext(item["answer"])[0]] = region
    classes, palette = data.get("classes"), data.get("palette")
    if not isinstance(classes, list) or not all(isinstance(name, str) and name for name in classes):
        raise FormatError(f"{str(file)!r}: classes is {classes!r:.60}; export again")
    return _Asked(answers, tuple(classes), _palette(palette, len(classes)))


def _palette(value: Any, count: int) -> tuple[Colour, ...] | None:
    good = isinstance(value, list) and len(value) == count
    if not good or not all(
        isinstance(c, list) and len(c) == 3 and all(type(v) is int and 0 <= v <= 255 for v in c) for c in value
    ):
        return None
    return tuple((c[0], c[1], c[2]) for c in value)


# ---- reading --------------------------------------------------------------------------------------------------------


def read_predicted(folder: Path, hints: Hints) -> tuple[Head, Iterator[Record]]:
    """Masks that a model drew, and beside them, in a folder ``confidence``, how sure it is of each pixel.

    Confidences are grey pictures of eight bits, called and sized as the masks are: 255 is certain, and what is left
    belongs to the other classes.

    Raises:
        FormatError: as ``read_returned``; a mask without a confidence where others have one, or of another size.
    """
    head, records = read_returned(folder, hints)
    above = _place(folder).parent if _place(folder) != folder else folder
    there = [entry for entry in sorted(above.iterdir()) if entry.is_dir()] if above.is_dir() else []
    beside = next((entry for entry in there if plain_name(entry.name) in CONFIDENCE_WORDS), None)
    return head, records if beside is None else (_sure(record, _place(folder), beside) for record in records)


def _sure(record: Record, place: Path, beside: Path) -> Record:
    """A record with the confidence that lies in the folder beside."""
    mask = Path(record.where.file)
    stem = beside / mask.relative_to(place).with_suffix("")
    file = next((found for ending in LOSSLESS if (found := stem.with_name(f"{stem.name}{ending}")).is_file()), None)
    if file is None:
        raise FormatError(f"{str(mask)!r:.100} has no picture of its confidence in {str(beside)!r:.100}: add one")
    assert record.pixels is not None, "masks that came back have pixels"
    size = mask_size(file)
    if size != record.pixels.size:
        raise FormatError(
            f"{str(file)!r:.120} has {size[0]} x {size[1]} pixels, and its mask {record.pixels.size[0]} x "
            f"{record.pixels.size[1]}: save both at one size"
        )
    return replace(record, sure=Mask(size, partial(_confidences, file)))


def _confidences(file: Path) -> np.ndarray:
    """float32 (H, W) in [0, 1]."""
    grey_HW = read_integers(file)
    if grey_HW.max(initial=0) > IGNORE:
        raise FormatError(f"{str(file)!r:.120} has values up to {grey_HW.max():,}: save confidences as eight-bit grey")
    return (grey_HW / np.float32(IGNORE)).astype(np.float32)


def read_returned(folder: Path, hints: Hints) -> tuple[Head, Iterator[Record]]:
    """Masks of images and of regions of images; what has no class anywhere is for the kind of label to tell.

    Raises:
        FormatError: no mask there, a lossy one, two for one image, no list of classes.
    """
    if not folder.is_dir():
        raise FormatError(f"{str(folder)!r} is no folder: masks come back as a folder of PNG files or as a COCO file")
    asked = _asked(folder) or (_asked(folder.parent) if plain_name(folder.name) in MASK_WORDS else None)
    files = _named(folder, asked, hints.root)
    coding, said = _coding(folder, asked, hints)
    said += _black_and_white(folder, [one.file for one in files], coding, asked)
    said_so = coding.palette if coding.palette != colours(len(coding.classes)) else None
    head = Head(classes=coding.classes, palette=said_so, notes=tuple(said))
    return head, _records(files, coding, hints)


@dataclass(frozen=True)
class _Returned:
    """One mask, and what it is called.

    Args:
        file: the mask.
        image: its image, as the file calls it.
        bare: without the ending of the image.
        region: number of the region.
        box: x, y, width, height of the region.
        aka: further names of the image.
    """

    file: Path
    image: str
    bare: bool = False
    region: str | None = None
    box: tuple[int, ...] | None = None
    aka: tuple[str, ...] = ()


def _records(files: Sequence[_Returned], coding: MaskCoding, hints: Hints) -> Iterator[Record]:
    for row, one in enumerate(files, 1):
        size = mask_size(one.file)
        placed = one.box is not None and size == one.box[2:]
        at = (one.box[0], one.box[1]) if one.box is not None and placed else (0, 0)
        yield Record(
            Where(str(one.file)),
            one.image,
            aka=one.aka,
            bare=one.bare,
            pixels=Mask(size, partial(_indices, one.file, coding), at),
            region=one.region,
        )
        hints.progress("reading masks", row, len(files))


def _indices(file: Path, coding: MaskCoding) -> np.ndarray:
    return coding.indices(read_stored(file), str(file))


# ---- names ----------------------------------------------------------------------------------------------------------


def _named(folder: Path, asked: _Asked | None, root: Path | None) -> list[_Returned]:
    """The masks in a folder, with what their names say."""
    place = _place(folder)
    names = [
        name
        for name in scan_folder(place).ids
        if place != folder or name.partition("/")[0] not in (SUGGESTED, REGIONS) or asked is None
    ]
    if not names:
        raise FormatError(f"{str(place)!r} holds no PNG file: save the finished masks there")
    found = _of_set(folder) if asked is None else []
    if not found:
        for name in names:
            if posixpath.splitext(name)[1].lower() not in LOSSLESS:
                raise FormatError(
                    f"{str(place / name)!r} is no mask: masks need a lossless format with one number a pixel, such as "
                    "PNG"
                )
            found.append(_called(place / name, posixpath.splitext(name)[0], asked, root))
    seen: dict[tuple[str, bool, str | None], Path] = {}
    for one in found:
        key = (one.aka[0] if one.aka else one.image, one.bare, one.region)
        if (other := seen.setdefault(key, one.file)) != one.file:
            raise FormatError(
                f"{key[0]!r:.80} has two masks, {str(other)!r:.100} and {str(one.file)!r:.100}: keep one of them"
            )
    return found


def _of_set(folder: Path) -> list[_Returned]:
    """Masks that came back together with their images; [] where no image lies beside them."""
    layout = find_layout(folder, scan_folder(folder).ids)
    # where all lie in one folder, a.png and a_mask.png may be two masks of one image
    if not layout.masks or {posixpath.dirname(name) for name in layout.masks} & {
        posixpath.dirname(name) for name in layout.pictures if posixpath.splitext(name)[1].lower() in LOSSLESS
    }:
        return []
    pairs, _ = paired(folder, layout.pictures, layout.masks)
    return [_Returned(folder / mask, image) for image, mask in sorted(pairs.items())]


def _called(file: Path, stem: str, asked: _Asked | None, root: Path | None) -> _Returned:
    """What the name of a mask says: an item that was asked, an image, or a region of one."""
    if asked is not None and (known := asked.answers.get(f"{MASKS}/{stem}")) is not None:
        return _Returned(file, known[0], False, known[1], known[2])
    match = _REGION.match(stem)
    if match is not None and not _is_there(root, stem):
        image = match["image"]
        bare = posixpath.splitext(image)[1].lower() not in ENDINGS
        return _Returned(file, image, bare, match["number"])
    if posixpath.splitext(stem)[1].lower() in ENDINGS:  # a.jpg.png, the mask of a.jpg
        return _Returned(file, stem)
    parent, base = posixpath.split(stem)
    plain = [posixpath.join(parent, name) for name in without_sign(base)]
    return _Returned(file, stem, True, aka=() if _is_there(root, stem) else tuple(plain[:1]))


def _is_there(root: Path | None, stem: str) -> bool:
    """Whether there is a picture of this name, whatever its ending."""
    return root is not None and any((root / f"{stem}{ending}").is_file() for ending in ENDINGS)


# ---- classes --------------------------------------------------------------------------------------------------------


def _coding(folder: Path, asked: _Asked | None, hints: Hints) -> tuple[MaskCoding, list[str]]:
    """What pixels mean: as lists in the folder say, or those above it, else as ``asked.json``, else as the project."""
    place = _place(folder)
    places = dict.fromkeys((place, folder, *([folder.parent] if plain_name(folder.name) in MASK_WORDS else [])))
    own = coding_among(places)
    names = asked.classes if asked is not None else hints.classes
    guessed = own is None and asked is None
    if own is None and hints.names:
        names, guessed = tuple(dict.fromkeys(hints.names.values())), False
        own = MaskCoding(names, {value: names.index(name) for value, name in hints.names.items() if value < IGNORE})
    if own is None and not names:
        raise FormatError(
            f"{str(place)!r:.120} has no classes.txt, and the project does not know its classes: list their names "
            "there, one a line, or name them with --classes a,b,c"
        )
    if own is None:
        own = MaskCoding(names)
    if own.palette is None:
        # a list beside the masks may name the classes in another order than the project
        palette = in_order(dict(zip(hints.classes, hints.palette or (), strict=False)), own.classes)
        if asked is not None and asked.classes == own.classes:
            palette = asked.palette or palette
        own = replace(own, palette=palette or colours(len(own.classes)))
    if not guessed:
        return own, list(own.said)
    return own, [f"no list of classes lies beside the masks: 0 is {names[0]!r:.40}, and so on (--names FILE says more)"]


def _black_and_white(folder: Path, files: Sequence[Path], coding: MaskCoding, asked: _Asked | None) -> list[str]:
    """Warns of masks in which 255 may stand for a class, which here means "not answered".

    Raises:
        FormatError: all are black and white, in a project of two classes, and nothing says which is meant.
    """
    seen = values_of(files[:_SAMPLE])
    for start in range(_SAMPLE, len(files), _SAMPLE):
        if not seen.open:
            break
        seen = values_of(files[start : start + _SAMPLE], seen)
    if not seen.black_and_white or coding.has_colour((255, 255, 255)) or coding.codes.get(IGNORE, IGNORE) != IGNORE:
        return []
    if asked is None and len(coding.classes) == 2:
        raise FormatError(
            f"{str(folder)!r:.100}: the masks hold nothing but 0 and 255. If 255 is {coding.classes[1]!r:.30}, save it "
            "as 1, or say so in _classes.csv (Pixel Value,Class); if it means no answer, save palette PNG files"
        )
    return ["the masks hold nothing but 0 and 255: 255 is taken for pixels without answer"]
