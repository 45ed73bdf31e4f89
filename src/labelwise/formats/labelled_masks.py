"""Labelled masks as a set that trains: pictures, masks, lists of classes and splits."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from labelwise.contracts.format import Writing
from labelwise.contracts.record import IGNORE, Head, Record
from labelwise.errors import FormatError
from labelwise.formats.class_colours import colours
from labelwise.formats.files import write_whole
from labelwise.formats.index_png import encode_mask
from labelwise.formats.mask_lists import CLASS_FILES, NO_CLASS, coding_of_lines
from labelwise.formats.pictures import check_fresh, place_pictures
from labelwise.formats.scan import ENDINGS

IMAGES, MASKS = "images", "masks"
#: in which order lists of splits are written
_SPLITS = ("train", "val", "test", "reference")


def write_png_set(out: Path, head: Head, records: Iterable[Record], how: Writing) -> list[str]:
    """``images/``, ``masks/``, ``classes.txt``, and lists ``train.txt``, ``val.txt``, ``test.txt`` of splits.

    Without pictures (``how.images`` is ``list``) the lists name them where they are.

    Returns:
        What was left out, one line each.

    Raises:
        FormatError: a class that cannot stand in ``classes.txt``, or a mask without size.
        StateError: a file cannot be written, or the folder holds other masks.
    """
    check_class_names(head.classes)
    labelled, notes = with_pixels(records)
    files = {image: f"{MASKS}/{file}" for image, file in masks_of([r for rs in labelled.values() for r in rs]).items()}
    places = {image: f"{IMAGES}/{image}" for image in labelled}
    check_fresh(out, (MASKS,) if how.images == "list" else (MASKS, IMAGES), [*files.values(), *places.values()])
    placed = place_pictures(out, places, how)
    write_class_list(out, head.classes)
    write_masks(out, head, labelled, files, how)
    splits = splits_of_records(labelled)
    if how.images == "list" or set(splits) - {"train"}:
        for name, images in splits.items():
            lines = [placed.paths[image] for image in images]
            write_whole(out / f"{name}.txt", "".join(f"{line}\n" for line in lines).encode())
    return [*notes, *placed.notes]


# ---- shared with other layouts --------------------------------------------------------------------------------------


def with_pixels(records: Iterable[Record]) -> tuple[dict[str, list[Record]], list[str]]:
    """Image -> its records with pixels, and what has none."""
    labelled: dict[str, list[Record]] = {}
    bare = 0
    for record in records:
        if record.image is None or record.pixels is None:
            bare += 1
        else:
            labelled.setdefault(record.image, []).append(record)
    return labelled, [f"{bare:,} image(s) without mask left out"] if bare else []


def masks_of(records: Iterable[Record]) -> dict[str, str]:
    """Image -> name of its mask: that of the image with ``.png``, behind the ending where two images would share it."""
    images = list(dict.fromkeys(record.image for record in records if record.image is not None))
    stems = {image: _stem(image) for image in images}
    shared: set[str] = set()
    seen: set[str] = set()
    for stem in stems.values():
        (shared if stem in seen else seen).add(stem)
    return {image: f"{image if stem in shared else stem}.png" for image, stem in stems.items()}


def _stem(image: str) -> str:
    stem, ending = posixpath.splitext(image)
    return stem if ending.lower() in ENDINGS else image


def whole_mask(parts: Sequence[Record]) -> np.ndarray:
    """uint8 (H, W) class indices of the whole picture that records speak of; of pixels that several know, the last.

    Raises:
        FormatError: parts of pictures of different sizes, or outside of it.
    """
    sizes = {part.size or part.pixels.size for part in parts if part.pixels is not None}
    if len(sizes) != 1:
        raise FormatError(f"{parts[0].where}: masks of images of different sizes for {parts[0].image!r:.80}")
    (width, height) = sizes.pop()
    whole_HW = np.full((height, width), IGNORE, np.uint8)
    for part in parts:
        if part.pixels is None:
            continue
        indices_HW, (x, y) = part.pixels.read(), part.pixels.at
        there = whole_HW[y : y + indices_HW.shape[0], x : x + indices_HW.shape[1]]
        if there.shape != indices_HW.shape:
            raise FormatError(f"{part.where}: a mask of {part.pixels.size} at {(x, y)} leaves {part.image!r:.80}")
        np.copyto(there, indices_HW, where=indices_HW != IGNORE)
    return whole_HW


def write_masks(
    out: Path, head: Head, labelled: Mapping[str, Sequence[Record]], files: Mapping[str, str], how: Writing
) -> None:
    """One palette image for each picture; one in memory at a time.

    Raises:
        StateError: a file cannot be written.
    """
    palette = head.palette or colours(len(head.classes))
    for done, (image, parts) in enumerate(labelled.items(), 1):
        file = out / files[image]
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, encode_mask(whole_mask(parts), palette))
        how.progress("writing masks", done, len(labelled))


def splits_of_records(labelled: Mapping[str, Sequence[Record]]) -> dict[str, list[str]]:
    """Word for a split -> its images, in order; images without a word are for training."""
    found: dict[str, list[str]] = {}
    for image, parts in labelled.items():
        found.setdefault(parts[0].split or "train", []).append(image)
    return {word: found[word] for word in sorted(found, key=_place_of)}


def _place_of(word: str) -> tuple[int, str]:
    return (_SPLITS.index(word) if word in _SPLITS else len(_SPLITS), word)


def check_class_names(classes: Sequence[str]) -> None:
    """Refuses names that would read as none, or as two, in a list of one name a line.

    Raises:
        FormatError: with the name.
    """
    for name in classes:
        if name.lower() in NO_CLASS or name != name.strip() or len(name.splitlines()) != 1:
            raise FormatError(f"class {name!r:.60} cannot stand in {CLASS_FILES[0]}, one name a line: rename it")
    if classes and len(coding_of_lines(classes, CLASS_FILES[0]).classes[0]) != len(classes[0]):
        raise FormatError(
            f"classes called {classes[0]!r:.60} and so on read as numbered lines in {CLASS_FILES[0]}: rename them"
        )


def write_class_list(out: Path, classes: Sequence[str]) -> None:
    """The names, one a line.

    Raises:
        StateError: the file cannot be written.
    """
    out.mkdir(parents=True, exist_ok=True)
    write_whole(out / CLASS_FILES[0], "".join(f"{name}\n" for name in classes).encode())


__all__ = [
    "IMAGES",
    "MASKS",
    "check_class_names",
    "masks_of",
    "splits_of_records",
    "whole_mask",
    "with_pixels",
    "write_class_list",
    "write_masks",
    "write_png_set",
]
