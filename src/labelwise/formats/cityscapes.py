"""Cityscapes: ``leftImg8bit/SPLIT/CITY/*_leftImg8bit.png`` with masks ``gtFine/SPLIT/CITY/*_gtFine_labelTrainIds.png``.

Ids, names and colours are the published ones. Nineteen classes are trained on; all other ids mean no class.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from labelwise.contracts.record import IGNORE
from labelwise.errors import FormatError
from labelwise.formats.files import write_whole
from labelwise.formats.index_png import IGNORE_COLOUR, Colour, encode_mask
from labelwise.formats.mask_coding import MaskCoding

IMAGES, MASKS = "leftImg8bit", "gtFine"
#: endings of the files, behind the name of a frame
IMAGE, TRAIN_IDS, IDS, INSTANCES = (
    "_leftImg8bit.png",
    "_gtFine_labelTrainIds.png",
    "_gtFine_labelIds.png",
    "_gtFine_instanceIds.png",
)

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
_PALETTE = tuple(colour for _, _, colour in _CLASSES)
_ID_OF = {number: index for index, (number, _, _) in enumerate(_CLASSES)}

#: masks of train ids, in which 255 means no class; colours as the published pictures have them, black for no class
BY_TRAIN_ID = MaskCoding(NAMES, palette=_PALETTE, void=(IGNORE_COLOUR, (0, 0, 0)))
#: masks of label ids; 255 stands for -1, the licence plates
BY_ID = MaskCoding(NAMES, {number: _ID_OF.get(number, IGNORE) for number in range(_LAST_ID + 1)})


def coding_of_file(path: Path) -> MaskCoding:
    """What the pixels of a mask file mean, by its name."""
    return BY_ID if path.name.endswith(IDS) else BY_TRAIN_ID


def write_cityscapes(
    folder: str | os.PathLike[str], masks: Iterable[tuple[str, np.ndarray]], classes: tuple[str, ...]
) -> None:
    """Write masks of train ids below ``gtFine``.

    Args:
        folder: the data set.
        masks: name of an image as the data set has it (``val/bonn/bonn_000001_000019_leftImg8bit.png``), class indices.
        classes: names in index order, all of them among the nineteen.

    Raises:
        FormatError: a class that Cityscapes has not, or an image that is not called as its images are.
        StateError: a file cannot be written.
    """
    if strange := [name for name in classes if name not in NAMES]:
        raise FormatError(f"Cityscapes has no class {strange[0]!r}: its classes are {', '.join(NAMES)}")
    train_ids = np.full(256, IGNORE, np.uint8)
    train_ids[: len(classes)] = [NAMES.index(name) for name in classes]
    for name, indices_HW in masks:
        if not name.endswith(IMAGE):
            raise FormatError(f"{name!r} is not called as images of Cityscapes are: SPLIT/CITY/NAME{IMAGE}")
        file = Path(folder) / MASKS / (name.removesuffix(IMAGE) + TRAIN_IDS)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, encode_mask(train_ids[indices_HW]))
