"""Folders of masks: one picture file for each image, whose pixels are class indices (or colours that a list names)."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from labelwise.contracts.format import Format, Hints, Reads, Sniff, Writes, Writing
from labelwise.contracts.record import Head, Record
from labelwise.formats.mask_layout import find_layout, plain_name
from labelwise.formats.scan import ENDINGS

#: folders of pictures that ids are relative to, the surest first
_ROOTS = ("images", "image", "imgs", "img", "jpegimages")
#: a layout that has a format of its own
_VOC, _CITY = "SegmentationClass", "leftImg8bit"
#: folders, entries of each and pictures of each that are looked at to recognise a layout
_FOLDERS, _ENTRIES, _PICTURES, _DEEPEST = 200, 4000, 12, 4


@dataclass(frozen=True)
class PngMasks(Format):
    """Masks as PNG, BMP, TIFF, GIF or PGM files that are called as their images are.

    *Layouts.* ``images/a.jpg`` with ``masks/a.png`` (or labels, annotations, gt ...; splits above or below),
    ``train/a.jpg`` with ``trainannot/a.png``, ``a.jpg`` with ``a_mask.png`` beside it; ADE20K, CamVid, and what
    Roboflow and Supervisely write. See ``formats.mask_layout``.

    *Pixels* hold class indices, 255 where there is no class. The names stand in ``classes.txt``, one a line, or in one
    of the lists of ``formats.mask_lists``, which may say colours, too. Masks of nothing but 0 and 255 are taken as
    background and foreground, which is said. Files that lose pixels, such as JPEG, are refused.

    *Predictions* are such a folder of masks, perhaps with a folder ``confidence`` beside it (``masks/a.png`` and
    ``confidence/a.png``), grey pictures of eight bits: 255 where the model is certain of the class.

    *Splits* are those of folders called train, val and test, or of lists of these names.

    Memory: the names of all files; one mask at a time.
    """

    name: ClassVar[str] = "masks"
    title: ClassVar[str] = "masks as PNG, BMP, TIFF or GIF files, a folder of them beside the images"
    kinds: ClassVar[frozenset[str]] = frozenset({"masks"})
    reads: ClassVar[frozenset[Reads]] = frozenset({"data", "answers", "predictions"})
    writes: ClassVar[frozenset[Writes]] = frozenset({"asked", "labelled"})

    def sniff(self, path: Path, use: Reads) -> Sniff:
        """Looks at names of folders, and of a few files in each."""
        if not path.is_dir():
            return Sniff(0.0, "masks lie in a folder, one file for each image")
        if use != "data":
            from labelwise.formats.returned_masks import sniff_returned

            return sniff_returned(path, predicted=use == "predictions")
        if (path / _VOC).is_dir() or (path / _CITY).is_dir():
            return Sniff(0.3, "its folders are those of another layout of masks", ("masks",))
        layout = find_layout(path, sorted(_some_names(path)))
        if not layout.masks:
            return Sniff(0.0, "no folder of masks beside one of images, and no a_mask.png beside a.jpg")
        mask = min(layout.masks)
        return Sniff(0.9, f"masks such as {mask!r:.60}", ("masks",))

    def root(self, path: Path) -> Path:
        """The folder ``images`` where there is one, else the folder itself."""
        try:
            with os.scandir(path) as entries:
                names = {plain_name(entry.name): entry.name for entry in entries if entry.is_dir()}
        except OSError:
            return path
        found = next((names[word] for word in _ROOTS if word in names), None)
        return path if found is None else path / found

    def read(self, path: Path, use: Reads, hints: Hints) -> tuple[Head, Iterator[Record]]:
        """Images with their masks, masks that came back, or masks that a model drew.

        Raises:
            FormatError: masks and images that do not fit together, a lossy mask, values that nothing names.
        """
        if use == "answers":
            from labelwise.formats.returned_masks import read_returned

            return read_returned(path, hints)
        if use == "predictions":
            from labelwise.formats.returned_masks import read_predicted

            return read_predicted(path, hints)
        from labelwise.formats.paired_masks import read_paired

        return read_paired(path, self.root(path), hints)

    def write(self, path: Path, head: Head, records: Iterable[Record], how: Writing) -> list[str]:
        """Picks with ``suggested`` masks and a folder ``masks`` for finished ones, or a set that trains.

        Raises:
            FormatError: a class that cannot stand in ``classes.txt``, or two images for one mask.
            StateError: a file cannot be written.
        """
        if how.use == "asked":
            from labelwise.formats.asked_masks import write_asked

            return write_asked(path, head, records)
        from labelwise.formats.labelled_masks import write_png_set

        return write_png_set(path, head, records, how)


# ---- recognising ----------------------------------------------------------------------------------------------------


def _some_names(root: Path) -> list[str]:
    """The first pictures of the first folders, level by level; never raises."""
    found: list[str] = []
    level = [""]
    looked = 0
    for _ in range(_DEEPEST):
        following: list[str] = []
        for folder in level:
            looked += 1
            if looked > _FOLDERS:
                return found
            pictures, folders = _entries(root / folder)
            prefix = f"{folder}/" if folder else ""
            found += [prefix + name for name in pictures]
            following += [prefix + name for name in folders]
        level = following
    return found


def _entries(folder: Path) -> tuple[list[str], list[str]]:
    pictures, folders = [], []
    try:
        with os.scandir(folder) as entries:
            for _, entry in zip(range(_ENTRIES), entries, strict=False):
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.name)
                elif posixpath.splitext(entry.name)[1].lower() in ENDINGS:
                    pictures.append(entry.name)
    except OSError:
        return [], []
    return sorted(pictures)[:_PICTURES], sorted(folders)
