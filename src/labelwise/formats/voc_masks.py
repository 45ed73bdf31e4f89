"""PASCAL VOC's masks: ``SegmentationClass/*.png`` with lists of images in ``ImageSets/Segmentation/*.txt``.

Pixels hold class indices and a palette shows them in colours; 255 is the border between objects, which has no class.
Other tools write this layout for classes of their own, CVAT as "Segmentation mask 1.1", and list them in
``labelmap.txt`` (names and colours; the masks may then hold colours) or ``class_names.txt``.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from labelwise.contracts.format import Format, Hints, Reads, Sniff, Writes, Writing
from labelwise.contracts.record import Head, Record, Where
from labelwise.errors import FormatError
from labelwise.formats.class_colours import Colour, colours
from labelwise.formats.delimited import read_text
from labelwise.formats.glance import some_files
from labelwise.formats.scan import ENDINGS, scan_folder
from labelwise.formats.splits import role_of

MASKS, OBJECTS, LISTS = "SegmentationClass", "SegmentationObject", "ImageSets/Segmentation"
#: folders of the pictures, that of VOC first
IMAGES = ("JPEGImages", "images")

#: of the challenge, in the order of the indices
NAMES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)


@dataclass(frozen=True)
class VocMasks(Format):
    """Masks as PASCAL VOC has them, and CVAT's "Segmentation mask 1.1".

    Classes are those of ``labelmap.txt`` or ``class_names.txt``, else VOC's twenty-one. Lists whose names are words for
    splits say which images are held back.

    Memory: the names of all files; one mask at a time.
    """

    name: ClassVar[str] = "voc_masks"
    title: ClassVar[str] = "masks as PASCAL VOC has them (SegmentationClass), CVAT's Segmentation mask 1.1"
    kinds: ClassVar[frozenset[str]] = frozenset({"masks"})
    reads: ClassVar[frozenset[Reads]] = frozenset({"data", "answers"})
    writes: ClassVar[frozenset[Writes]] = frozenset({"labelled"})

    def sniff(self, path: Path, use: Reads) -> Sniff:
        """Looks for the folders."""
        if not (path / MASKS).is_dir():
            return Sniff(0.0, f"no folder {MASKS}")
        if not some_files(path / MASKS, ENDINGS, 1):
            return Sniff(0.2, f"no picture in {MASKS}")
        if use == "data" and _images_of(path) is None:
            return Sniff(0.3, f"a folder {MASKS}, and no {IMAGES[0]} beside it", ("masks",))
        return Sniff(0.95, f"a folder {MASKS}", ("masks",))

    def root(self, path: Path) -> Path:
        """The folder of the pictures."""
        return _images_of(path) or path

    def read(self, path: Path, use: Reads, hints: Hints) -> tuple[Head, Iterator[Record]]:
        """Images with their masks, or masks that came back.

        Raises:
            FormatError: no such folders, masks and images that do not fit together, values that are no class.
        """
        if use == "answers":
            return _read_returned(path, hints)
        return _read_set(path, hints)

    def write(self, path: Path, head: Head, records: Iterable[Record], how: Writing) -> list[str]:
        """Palette images, ``labelmap.txt`` with names and colours, lists of images, and the images.

        Raises:
            FormatError: two images of one stem, or a class that cannot stand in ``labelmap.txt``.
            StateError: a file cannot be written, or the folder holds other masks.
        """
        from labelwise.formats.files import write_whole
        from labelwise.formats.labelled_masks import masks_of, splits_of_records, with_pixels, write_masks
        from labelwise.formats.pictures import check_fresh, place_pictures

        _check_names(head.classes)
        labelled, notes = with_pixels(records)
        stems = masks_of(record for parts in labelled.values() for record in parts)
        files = {image: f"{MASKS}/{file}" for image, file in stems.items()}
        places = {image: f"{IMAGES[0]}/{image}" for image in labelled}
        check_fresh(path, (MASKS,) if how.images == "list" else (MASKS, IMAGES[0]), [*files.values(), *places.values()])
        placed = place_pictures(path, places, how)
        path.mkdir(parents=True, exist_ok=True)
        palette = head.palette or colours(len(head.classes))
        write_whole(path / "labelmap.txt", labelmap(head.classes, palette).encode())
        write_masks(path, head, labelled, files, how)
        (path / LISTS).mkdir(parents=True, exist_ok=True)
        for word, images in splits_of_records(labelled).items():
            lines = [stems[image].removesuffix(".png") for image in images]
            write_whole(path / LISTS / f"{word}.txt", "".join(f"{line}\n" for line in lines).encode())
        return [*notes, *placed.notes]


def labelmap(classes: Iterable[str], palette: Iterable[Colour]) -> str:
    """Names and colours, as ``mask_lists.read_labelmap`` reads them."""
    lines = [f"{name}:{r},{g},{b}::\n" for name, (r, g, b) in zip(classes, palette, strict=True)]
    return "# label:color_rgb:parts:actions\n" + "".join(lines)


def _check_names(classes: Iterable[str]) -> None:
    from labelwise.formats.labelled_masks import check_class_names

    classes = tuple(classes)
    check_class_names(classes)
    if odd := next((name for name in classes if ":" in name or name.startswith("#")), None):
        raise FormatError(f"class {odd!r:.60} cannot stand in labelmap.txt, lines name:r,g,b: rename it")


# ---- reading --------------------------------------------------------------------------------------------------------


def _images_of(folder: Path) -> Path | None:
    return next((folder / name for name in IMAGES if (folder / name).is_dir()), None)


def _read_set(folder: Path, hints: Hints) -> tuple[Head, Iterator[Record]]:
    from labelwise.formats.mask_coding import MaskCoding
    from labelwise.formats.mask_lists import find_coding
    from labelwise.formats.mask_pairs import MaskSet, measured, paired
    from labelwise.formats.mask_splits import listed_splits
    from labelwise.formats.mask_truth import coding_of_set

    place = _images_of(folder)
    if place is None or not (folder / MASKS).is_dir():
        what = IMAGES[0] if place is None else MASKS
        raise FormatError(
            f"{str(folder)!r:.120} has no folder {what}: masks as VOC has them need both images and masks"
        )
    images = scan_folder(place).ids
    if not images:
        raise FormatError(f"no images in {str(place)!r:.120}")
    names = scan_folder(folder / MASKS).ids
    pairs, strays = paired(folder, images, {f"{MASKS}/{name}": (name.rpartition(".")[0],) for name in names})
    masks = {image: folder / mask for image, mask in sorted(pairs.items())}
    objects = {
        image: file
        for image, mask in pairs.items()
        if (file := folder / OBJECTS / mask.removeprefix(f"{MASKS}/")).is_file()
    }
    listed = find_coding(folder) or MaskCoding(NAMES, palette=colours(len(NAMES)))
    lists = {file.stem: file for file in sorted((folder / LISTS).glob("*.txt")) if role_of(file.stem) is not None}
    splits = listed_splits(lists, "", images)
    sides = measured(place, masks, hints.progress)
    fitting = [masks[image] for image in masks if sides.sides[image].fits]
    coding, said = coding_of_set(fitting, listed, (), str(folder), hints.progress)
    left = [f"left out: {len(strays):,} file(s) among the masks that are none, such as {name!r:.80}" for name in strays]
    head = Head(
        classes=coding.classes,
        root=place,
        missing=tuple(splits.missing),
        palette=coding.palette,
        notes=(*said, *sides.notes, *splits.notes, *left[:1]),
    )
    return head, MaskSet(place, images, masks, objects, splits.words).records(lambda file: coding, sides)


def _read_returned(folder: Path, hints: Hints) -> tuple[Head, Iterator[Record]]:
    """Masks; images that a list names and that have none were not worked on."""
    from labelwise.formats.returned_masks import read_returned

    head, records = read_returned(folder, hints)

    def drawn() -> Iterator[Record]:
        seen = {posixpath.splitext(name)[0] for name in scan_folder(folder / MASKS).ids}
        yield from records
        for file in sorted((folder / LISTS).glob("*.txt")):
            for row, line in enumerate(read_text(file).splitlines() if file.is_file() else (), 1):
                name = line.strip()
                if name and name not in seen:
                    seen.add(name)
                    yield Record(Where(str(file), "line", row), name, bare=True, state="untouched")

    return head, drawn()
