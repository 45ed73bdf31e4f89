"""Cityscapes: ``leftImg8bit/SPLIT/CITY/*_leftImg8bit.png`` with masks ``gtFine/SPLIT/CITY/*_gtFine_labelTrainIds.png``.

Ids, names and colours are the published ones. Nineteen classes are trained on; all other ids mean no class.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from labelwise.contracts.format import Format, Hints, Reads, Sniff, Writes, Writing
from labelwise.contracts.record import IGNORE, Head, Record
from labelwise.errors import FormatError
from labelwise.formats.class_colours import Colour
from labelwise.formats.scan import scan_folder
from labelwise.formats.splits import role_of

if TYPE_CHECKING:
    from labelwise.formats.mask_coding import MaskCoding

IMAGES, MASKS = "leftImg8bit", "gtFine"
#: endings of the files, behind the name of a frame
IMAGE, TRAIN_IDS, IDS, INSTANCES = (
    "_leftImg8bit.png",
    "_gtFine_labelTrainIds.png",
    "_gtFine_labelIds.png",
    "_gtFine_instanceIds.png",
)
#: a list that tools lay beside sets of classes of their own
_OWN = "label_colors.txt"

#: (label id, name, colour) of each class, in the order of the train ids
_CLASSES: tuple[tuple[int, str, Colour], ...] = (
    (7, "road", (128, 64, 128)),
    (8, "sidewalk", (244, 35, 232)),
    (11, "building", (70, 70, 70)),
    (12, "wall", (102, 102, 156)),
    (13, "fence", (190, 153, 153)),
    (17, "pole", (153, 153, 153)),
    (19, "traffic light", (250, 170, 30)),
    (20, "traffic sign", (220, 220, 0)),
    (21, "vegetation", (107, 142, 35)),
    (22, "terrain", (152, 251, 152)),
    (23, "sky", (70, 130, 180)),
    (24, "person", (220, 20, 60)),
    (25, "rider", (255, 0, 0)),
    (26, "car", (0, 0, 142)),
    (27, "truck", (0, 0, 70)),
    (28, "bus", (0, 60, 100)),
    (31, "train", (0, 80, 100)),
    (32, "motorcycle", (0, 0, 230)),
    (33, "bicycle", (119, 11, 32)),
)
#: highest label id that is published
_LAST_ID = 33

NAMES = tuple(name for _, name, _ in _CLASSES)
PALETTE = tuple(colour for _, _, colour in _CLASSES)


@dataclass(frozen=True)
class Cityscapes(Format):
    """Cityscapes as it is published.

    Masks are read in train ids, else in label ids, and numbers of instances beside them. Cities are groups. Nobody but
    its makers has the labels of the test images: they are left out, and ``val`` is what is tested on.

    Memory: the names of all files; one mask at a time.
    """

    name: ClassVar[str] = "cityscapes"
    title: ClassVar[str] = "Cityscapes: masks in train ids or label ids"
    kinds: ClassVar[frozenset[str]] = frozenset({"masks"})
    reads: ClassVar[frozenset[Reads]] = frozenset({"data"})
    writes: ClassVar[frozenset[Writes]] = frozenset({"labelled"})

    def sniff(self, path: Path, use: Reads) -> Sniff:
        """Looks for the two folders."""
        missed = [name for name in (IMAGES, MASKS) if not (path / name).is_dir()]
        if missed:
            return Sniff(0.0 if len(missed) > 1 else 0.3, f"no folder {missed[0]}")
        return Sniff(0.97, f"folders {IMAGES} and {MASKS}", ("masks",))

    def root(self, path: Path) -> Path:
        """The folder of the pictures."""
        return path / IMAGES if (path / IMAGES).is_dir() else path

    def read(self, path: Path, use: Reads, hints: Hints) -> tuple[Head, Iterator[Record]]:
        """Images with their masks.

        Raises:
            FormatError: no such folders, a mask without image, or classes of the set's own.
        """
        from labelwise.formats.mask_pairs import MaskSet, measured

        root = path / IMAGES
        if not root.is_dir() or not (path / MASKS).is_dir():
            raise FormatError(f"{str(path)!r:.120} is no Cityscapes: it needs the folders {IMAGES} and {MASKS}")
        _check_classes(path)
        scanned = scan_folder(root).ids
        tops = {item.partition("/")[0] for item in scanned}
        hidden = {item for item in scanned if "val" in tops and item.startswith("test/")}
        images = [item for item in scanned if item not in hidden]
        if not images:
            raise FormatError(f"no images in {str(root)!r:.120}")
        frames = {item.rpartition(".")[0].removesuffix("_leftImg8bit"): item for item in scanned}
        files, objects = _frames_of(path / MASKS, frames, tops)
        masks = {item: file for item, file in sorted(files.items()) if item not in hidden}
        sides = measured(root, masks, hints.progress)
        said = f"{len(hidden):,} image(s) of test left out: their labels are not public, val is what is tested on"
        head = Head(
            classes=NAMES,
            root=root,
            strangers=frozenset(hidden),
            palette=PALETTE,
            notes=(*([said] if hidden else ()), *sides.notes),
        )
        found = MaskSet(root, images, masks, objects, _splits(images), _cities(images))
        return head, found.records(coding_of_file, sides)

    def write(self, path: Path, head: Head, records: Iterable[Record], how: Writing) -> list[str]:
        """Masks of train ids below ``gtFine``, for images that are called as those of Cityscapes are.

        Raises:
            FormatError: a class that Cityscapes has not, or an image that is not called as its images are.
            StateError: a file cannot be written.
        """
        import numpy as np

        from labelwise.formats.files import write_whole
        from labelwise.formats.index_png import encode_mask
        from labelwise.formats.labelled_masks import whole_mask, with_pixels
        from labelwise.formats.pictures import check_fresh, place_pictures

        if strange := [name for name in head.classes if name not in NAMES]:
            raise FormatError(f"Cityscapes has no class {strange[0]!r:.60}: its classes are {', '.join(NAMES)}")
        labelled, notes = with_pixels(records)
        if odd := next((image for image in labelled if not image.endswith(IMAGE)), None):
            raise FormatError(f"{odd!r:.80} is not called as images of Cityscapes are: SPLIT/CITY/NAME{IMAGE}")
        files = {image: f"{MASKS}/{image.removesuffix(IMAGE)}{TRAIN_IDS}" for image in labelled}
        places = {image: f"{IMAGES}/{image}" for image in labelled}
        check_fresh(path, (MASKS,) if how.images == "list" else (MASKS, IMAGES), [*files.values(), *places.values()])
        placed = place_pictures(path, places, how)
        train_ids = np.full(256, IGNORE, np.uint8)
        train_ids[: len(head.classes)] = [NAMES.index(name) for name in head.classes]
        for done, (image, parts) in enumerate(labelled.items(), 1):
            file = path / files[image]
            file.parent.mkdir(parents=True, exist_ok=True)
            write_whole(file, encode_mask(train_ids[whole_mask(parts)]))
            how.progress("writing masks", done, len(labelled))
        return [*notes, *placed.notes]


def coding_of_file(path: Path) -> MaskCoding:
    """What the pixels of a mask file mean, by its name: label ids, or else train ids."""
    return _coding(path.name.endswith(IDS))


@functools.cache
def _coding(ids: bool) -> MaskCoding:
    # in pictures of colours black means no class; in masks of label ids 255 stands for -1, the licence plates
    from labelwise.formats.index_png import IGNORE_COLOUR
    from labelwise.formats.mask_coding import MaskCoding

    if not ids:
        return MaskCoding(NAMES, palette=PALETTE, void=(IGNORE_COLOUR, (0, 0, 0)))
    index_of = {number: index for index, (number, _, _) in enumerate(_CLASSES)}
    return MaskCoding(NAMES, {number: index_of.get(number, IGNORE) for number in range(_LAST_ID + 1)})


def _check_classes(folder: Path) -> None:
    """Refuses sets in this layout whose numbers count classes of their own."""
    from labelwise.formats.mask_lists import read_label_colors

    if not (folder / _OWN).is_file():
        return
    if strange := [name for name in read_label_colors(folder / _OWN).classes if name not in NAMES]:
        raise FormatError(
            f"{str(folder / _OWN)!r:.120} names classes that Cityscapes has not, such as {strange[0]!r:.40}, so its "
            "numbers mean others: export the set as 'Segmentation mask 1.1', or with a labelmap.txt"
        )


def _splits(images: Sequence[str]) -> dict[str, str]:
    """Whatever is held back is what is tested on."""
    tops = {image: image.partition("/")[0] for image in images if "/" in image}
    return {image: "test" if role_of(top) in ("validation", "test") else top for image, top in tops.items()
            if role_of(top) is not None}  # fmt: skip


def _cities(images: Sequence[str]) -> dict[str, str]:
    """Cities as groups, as long as each lies in one split: a group is never trained and tested on."""
    cities = {image: image.split("/")[-2] for image in images if image.count("/") >= 2}
    splits: dict[str, set[str]] = {}
    for image, city in cities.items():
        splits.setdefault(city, set()).add(image.partition("/")[0])
    return {image: city for image, city in cities.items() if len(splits[city]) == 1}


def _frames_of(masks: Path, frames: Mapping[str, str], tops: set[str]) -> tuple[dict[str, Path], dict[str, Path]]:
    """Image -> mask in train ids, else in label ids; and image -> numbers of instances."""
    found: dict[str, dict[str, Path]] = {TRAIN_IDS: {}, IDS: {}, INSTANCES: {}}
    for name in scan_folder(masks).ids:
        ending = next((ending for ending in found if name.endswith(ending)), None)
        if ending is None or name.partition("/")[0] not in tops:
            continue  # pictures in colour, polygons, and splits whose images were not fetched
        frame = name.removesuffix(ending)
        if frame not in frames:
            raise FormatError(
                f"{str(masks / name)!r:.140} is a mask without image: there is no {frame + IMAGE!r:.80} in {IMAGES}; "
                "add it, or delete the mask"
            )
        found[ending][frames[frame]] = masks / name
    return {**found[IDS], **found[TRAIN_IDS]}, found[INSTANCES]
