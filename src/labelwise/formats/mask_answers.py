"""Masks that come back from people: a folder of PNG files, a COCO file, or one class for each region as a table.

Images that nobody has worked on must not come back as labelled. In a folder only files that are there count, and of
those only pixels other than 255; a mask without any such pixel is unanswered. In a COCO file ``answered: false`` says
so, as ``export`` writes it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from labelwise.contracts.oracle import Answer
from labelwise.contracts.record import IGNORE
from labelwise.errors import FormatError, unknown
from labelwise.formats.box_answers import answer_of
from labelwise.formats.coco import read_coco
from labelwise.formats.coco_masks import BACKGROUND, Painter, check_masks
from labelwise.formats.detections import KnownImages
from labelwise.formats.index_png import mask_text
from labelwise.formats.json_file import read_json
from labelwise.formats.labels_table import LabelTable, read_labels
from labelwise.formats.mask_coding import MaskCoding
from labelwise.formats.mask_folder import MASKS
from labelwise.formats.mask_lists import CLASS_FILES, find_coding
from labelwise.formats.scan import scan_folder
from labelwise.formats.voc_masks import MASKS as VOC_MASKS

#: what tools call the pixels that nobody has drawn
_BACKGROUNDS = (BACKGROUND, "_background_")
_FALSE = (False, 0, "0", "false", "False")

#: gives the pixels of a region in its bounding box, and (x, y) of that in the image
Outline = Callable[[str], tuple[np.ndarray, tuple[int, int]]]


@dataclass(frozen=True)
class KnownMasks:
    """What files of masks are held against.

    Args:
        images: ids, sizes and classes of the project.
        coding: the project's classes with their colours; None while they are not known.
        regions: their ids, IMAGE#NUMBER; none where the project asks for images.
        outline: pixels of a region.
        pending: image -> its regions that wait for an answer.
    """

    images: KnownImages
    coding: MaskCoding | None = None
    regions: Collection[str] = ()
    outline: Outline | None = None
    pending: Mapping[str, Sequence[str]] | None = None

    def outline_of(self, item: str) -> tuple[np.ndarray, tuple[int, int]] | None:
        """The pixels of a region in its bounding box, and where that lies; None for an image."""
        return self.outline(item) if self.outline is not None and item in self.regions else None


def read_mask_answers(
    path: str | os.PathLike[str],
    known: KnownMasks,
    *,
    kind: str | None = None,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> LabelTable:
    """Read masks.

    Args:
        path: a folder of PNG files (the masks themselves, or a folder with ``masks`` or ``SegmentationClass`` in it), a
            COCO file, or a CSV file of regions and their classes.
        known: the project's images and classes.
        kind: ``masks`` (a folder) or ``coco``; by default what the path looks like.
        progress: told (stage, done, total) while masks are read.

    Raises:
        FormatError: with file and row; nothing is half-read: no masks there, a broken one, one of another size than its
            image, a value or colour that is no class, an image or region that the project does not have, two masks for
            one image.
    """
    place, shown = Path(path), os.fspath(path)
    if kind == "masks" or (kind is None and place.is_dir()):
        return _of_folder(place, known, progress)
    if kind is None and place.is_file() and place.suffix.lower() not in (".json", ".csv", ".tsv", ".txt"):
        raise FormatError(
            f"{shown!r} is a single file: give the folder of masks that it lies in, or a COCO file (.json)"
        )
    if kind == "coco" or (place.suffix.lower() == ".json" and _is_coco(place)):
        return _of_coco(shown, known, progress)
    return _of_table(shown, known)


def _is_coco(path: Path) -> bool:
    data = read_json(path)
    return isinstance(data, dict) and "annotations" in data


# ---- a folder of PNG files ------------------------------------------------------------------------------------------


def _of_folder(folder: Path, known: KnownMasks, progress: Callable[[str, int, int], None]) -> LabelTable:
    place = next((folder / name for name in (MASKS, VOC_MASKS) if (folder / name).is_dir()), folder)
    if not place.is_dir():
        raise FormatError(f"{str(folder)!r} is no folder: masks come back as a folder of PNG files or as a COCO file")
    files = [place / name for name in scan_folder(place).ids]
    if not files:
        raise FormatError(f"{str(place)!r} holds no PNG file: save the finished masks there")
    coding, classes = _coding(place, known)
    answers, rows, unanswered = [], [], 0
    seen: dict[str, Path] = {}
    for row, file in enumerate(files, 1):
        if file.suffix.lower() != ".png":
            raise FormatError(f"{str(file)!r} is no PNG: masks need a lossless format with one number a pixel")
        item = _item(file.relative_to(place).with_suffix("").as_posix(), repr(str(file)), known)
        if (other := seen.setdefault(item, file)) != file:
            raise FormatError(f"{item!r} has two masks, {str(other)!r} and {str(file)!r}: delete one of them")
        indices_HW = _aligned(coding.read(file), coding, classes, repr(str(file)))
        found = _answers(item, indices_HW, repr(str(file)), known)
        answers += found
        rows += [row] * len(found)
        unanswered += not found
        progress("reading masks", row, len(files))
    return LabelTable(str(folder), tuple(answers), tuple(rows), unanswered, "file", classes)


def _coding(folder: Path, known: KnownMasks) -> tuple[MaskCoding, tuple[str, ...]]:
    """What pixels mean: as the folder says, or the one above ``masks``, else as the project does; and its classes."""
    own = find_coding(folder)
    if own is None and folder.name in (MASKS, VOC_MASKS):
        own = find_coding(folder.parent)
    if own is None and known.coding is None:
        raise FormatError(
            f"{str(folder)!r} has no {CLASS_FILES[0]}, and the project does not know its classes: list their names "
            "there, one a line, or name them with --classes a,b,c"
        )
    if own is None or known.coding is None:
        coding = own or known.coding
        assert coding is not None
        return coding, coding.classes
    if own.palette is None and own.classes == known.coding.classes:
        own = MaskCoding(own.classes, own.codes, known.coding.palette)
    return own, known.coding.classes


def _aligned(indices_HW: np.ndarray, coding: MaskCoding, classes: Sequence[str], where: str) -> np.ndarray:
    """Class indices in the project's order; the background of a project that has none is what nobody has drawn."""
    index_of = dict.fromkeys(_BACKGROUNDS, IGNORE) | {name: n for n, name in enumerate(classes)}
    table = np.full(256, IGNORE, np.uint8)
    for n in np.unique(indices_HW[indices_HW != IGNORE]).tolist():
        if (name := coding.classes[n]) not in index_of:
            raise unknown(f"class in {where}", name, classes, error=FormatError)
        table[n] = index_of[name]
    aligned_HW: np.ndarray = table[indices_HW]
    return aligned_HW


def _item(name: str, where: str, known: KnownMasks) -> str:
    """The item that a file is named for: with or without the ending of the image, perhaps with ``_mask`` behind."""
    if name in known.regions or name in known.images.ids:
        return name
    image, mark, number = name.rpartition("#")
    if mark and known.regions:
        image = known.images.find(image, where)
        if f"{image}#{number}" not in known.regions:
            last = sum(item.startswith(f"{image}#") for item in known.regions)
            raise FormatError(f"{where}: {image!r} has no region {number}: its regions are 1 to {last}")
        return f"{image}#{number}"
    plain = name.removesuffix("_mask")
    try:
        return known.images.find(name, where)
    except FormatError:
        if plain == name:
            raise
        return known.images.find(plain, where)


# ---- a COCO file ----------------------------------------------------------------------------------------------------


def _of_coco(shown: str, known: KnownMasks, progress: Callable[[str, int, int], None]) -> LabelTable:
    found = read_coco(shown)
    classes = known.images.classes
    answered = {
        name: (row, label)
        for row, (name, label) in enumerate(found.labels.items(), 1)
        if label.get("extra", {}).get("answered", True) not in _FALSE
    }
    painter = Painter.of(found.classes, [label for _, label in answered.values()], found.extra.get("info"), classes)
    answers, rows, unanswered = [], [], len(found.labels) - len(answered)
    for done, (name, (row, label)) in enumerate(answered.items(), 1):
        progress("reading masks", done, len(answered))
        where = f"{shown!r}, image {row}"
        item = known.images.find(name, where)
        marks = answer_of(item, label)
        if marks.target is None:
            answers.append(marks)
            rows.append(row)
            continue
        check_masks(label, where)
        label = _known_objects(label, classes, where)
        parts = _answers(item, painter.indices(label), where, known, cost=marks.cost)
        answers += parts
        rows += [row] * len(parts)
        unanswered += not parts
    return LabelTable(shown, tuple(answers), tuple(rows), unanswered, "image", painter.classes)


def _known_objects(label: Mapping[str, Any], classes: Sequence[str], where: str) -> Mapping[str, Any]:
    """The objects of the project's classes; a background that it does not have is what nobody has drawn."""
    names = [thing["class"] for thing in label["objects"]]
    if strange := [name for name in names if classes and name not in (*classes, *_BACKGROUNDS)]:
        raise unknown(f"category in {where}", strange[0], classes, error=FormatError)
    return {**label, "objects": [thing for thing in label["objects"] if not classes or thing["class"] in classes]}


# ---- classes of regions ---------------------------------------------------------------------------------------------


def _of_table(shown: str, known: KnownMasks) -> LabelTable:
    """One class for each region: the click on its most frequent one."""
    classes = known.images.classes
    table = read_labels(shown, classes=classes)
    answers = []
    for index, answer in enumerate(table.answers):
        where = table.where(index)
        item = _item(answer.id, where, known)
        if answer.target is None:
            answers.append(Answer(item, None, answer.cost, answer.reason))
            continue
        if (outline := known.outline_of(item)) is None:
            raise FormatError(
                f"{where}: {item!r} is a whole image, and one class is the answer for a region only: give a mask (a "
                "folder of PNG files, or a COCO file)"
            )
        if answer.target not in classes:
            raise unknown(f"class for {item!r} in {where}", str(answer.target), classes, error=FormatError)
        inside, at = outline
        window_HW = np.where(inside, classes.index(answer.target), IGNORE).astype(np.uint8)
        cost = {"clicks": 1.0} | {unit: value for unit, value in answer.cost.items() if unit != "images"}
        answers.append(Answer(item, _raw(window_HW, known.images.size_of(item), at), cost))
    return LabelTable(table.path, tuple(answers), table.rows, table.unanswered, table.unit, tuple(classes))


# ---- masks to answers -----------------------------------------------------------------------------------------------


def _raw(indices_HW: np.ndarray, size: tuple[int, int], at: tuple[int, int] = (0, 0)) -> dict[str, Any]:
    raw: dict[str, Any] = {"size": list(size), "png": mask_text(indices_HW)}
    return raw if indices_HW.shape == size[::-1] else raw | {"at": list(at)}


def _answers(
    item: str, indices_HW: np.ndarray, where: str, known: KnownMasks, cost: Mapping[str, float] | None = None
) -> list[Answer]:
    """The answers that one mask gives: none if it says nothing, several if regions of its image were asked.

    Raises:
        FormatError: a mask of another size, or one that speaks of pixels that were not asked.
    """
    size = known.images.size_of(item)
    drawn = f"{indices_HW.shape[1]} x {indices_HW.shape[0]}"
    at = (0, 0)
    if indices_HW.shape != size[::-1]:
        if (outline := known.outline_of(item)) is None:
            raise FormatError(
                f"{where}: the mask has {drawn} pixels, and {item!r} has {size[0]} x {size[1]}: save it at the size of "
                "the image"
            )
        inside, at = outline
        if inside.shape != indices_HW.shape:
            raise FormatError(
                f"{where}: the mask has {drawn} pixels; give {item!r} at the size of its image ({size[0]} x {size[1]}) "
                f"or of its box ({inside.shape[1]} x {inside.shape[0]})"
            )
    if (indices_HW == IGNORE).all():
        return []
    asked = (known.pending or {}).get(item, ())
    if asked and (indices_HW == IGNORE).any():
        return _of_regions(asked, indices_HW, where, known)
    return [Answer(item, _raw(indices_HW, size, at), dict(cost or {}))]


def _of_regions(asked: Sequence[str], indices_HW: np.ndarray, where: str, known: KnownMasks) -> list[Answer]:
    """The parts of a mask that answer the regions of its image."""
    rest, found = indices_HW.copy(), []
    for region in asked:
        outline = known.outline_of(region)
        assert outline is not None, "regions that wait are regions"
        inside, (x, y) = outline
        window = np.s_[y : y + inside.shape[0], x : x + inside.shape[1]]
        part = np.where(inside, indices_HW[window], IGNORE).astype(np.uint8)
        rest[window][inside] = IGNORE
        if (part != IGNORE).any():
            found.append(Answer(region, _raw(part, known.images.size_of(region), (x, y))))
    if strange := int((rest != IGNORE).sum()):
        raise FormatError(
            f"{where}: {strange:,} pixel(s) outside the asked regions of the image have a class: leave them {IGNORE}, "
            "or give every pixel of the image one"
        )
    return found


__all__ = ["KnownMasks", "read_mask_answers"]
