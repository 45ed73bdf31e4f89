"""PASCAL VOC's masks: ``SegmentationClass/*.png`` with lists of images in ``ImageSets/Segmentation/*.txt``.

Pixels hold class indices and a palette shows them in colours; 255 is the border between objects, which has no class.
Other tools write this layout for classes of their own and list them in ``labelmap.txt`` (names and colours; the masks
may then hold colours) or ``class_names.txt``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from labelwise.formats.files import write_whole
from labelwise.formats.index_png import Colour, encode_mask
from labelwise.formats.mask_coding import COLOUR_FILE, MaskCoding
from labelwise.formats.voc import stem

MASKS, OBJECTS, LISTS = "SegmentationClass", "SegmentationObject", "ImageSets/Segmentation"

#: of the challenge, in the order of the indices
NAMES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)


def colours(count: int) -> tuple[Colour, ...]:
    """The first ``count`` colours of VOC, for any classes: as far apart as a running number can make them.

    The bits of the number are dealt out to red, green and blue in turn, the lowest becoming the highest.

    Example:
        >>> colours(4)
        ((0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0))
    """
    return tuple((_channel(number, 0), _channel(number, 1), _channel(number, 2)) for number in range(count))


def _channel(number: int, first: int) -> int:
    return sum((number >> (3 * place + first) & 1) << (7 - place) for place in range(8))


#: what the masks of the challenge mean
VOC = MaskCoding(NAMES, palette=colours(len(NAMES)))


def write_voc_masks(
    folder: str | os.PathLike[str],
    masks: Iterable[tuple[str, np.ndarray]],
    coding: MaskCoding,
    lists: Mapping[str, Iterable[str]] | None = None,
) -> None:
    """Write palette images, ``labelmap.txt`` with names and colours, and lists of images.

    Args:
        folder: made where it is missing.
        masks: name of an image, class indices.
        coding: classes, and their colours; VOC's first ones where it has none.
        lists: name of a list (train, val, ...) -> names of images.

    Raises:
        StateError: a file cannot be written.
    """
    root = Path(folder)
    palette = coding.palette or colours(len(coding.classes))
    for name, indices_HW in masks:
        file = root / MASKS / f"{stem(name)}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, encode_mask(indices_HW, palette))
    root.mkdir(parents=True, exist_ok=True)
    write_whole(root / COLOUR_FILE, labelmap(coding.classes, palette).encode())
    for list_name, names in (lists or {}).items():
        (root / LISTS).mkdir(parents=True, exist_ok=True)
        write_whole(root / LISTS / f"{list_name}.txt", "".join(f"{stem(name)}\n" for name in names).encode())


def labelmap(classes: Iterable[str], palette: Iterable[Colour]) -> str:
    """Names and colours, as ``mask_coding.read_labelmap`` reads them."""
    lines = [f"{name}:{r},{g},{b}::\n" for name, (r, g, b) in zip(classes, palette, strict=True)]
    return "# label:color_rgb:parts:actions\n" + "".join(lines)
