"""A folder of PNG masks: ``masks/NAME.png`` holds class indices, ``classes.txt`` their names, one a line.

The PNG files are palette images, so that viewers show colours, while their numbers are the indices.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from labelwise.errors import FormatError
from labelwise.formats.class_colours import colours
from labelwise.formats.files import write_whole
from labelwise.formats.index_png import encode_mask
from labelwise.formats.mask_coding import MaskCoding
from labelwise.formats.mask_lists import CLASS_FILES, NO_CLASS
from labelwise.formats.voc import stem

MASKS = "masks"


def write_masks(
    folder: str | os.PathLike[str],
    masks: Iterable[tuple[str, np.ndarray]],
    coding: MaskCoding,
    *,
    below: str = MASKS,
) -> None:
    """Write one PNG for each image, and the names of the classes.

    Args:
        folder: made where it is missing.
        masks: name of an image, class indices; 255 where a pixel has no class.
        coding: classes, and their colours; VOC's first ones where it has none.
        below: the folder of the masks in it.

    Raises:
        FormatError: a class that would read as none, or as two.
        StateError: a file cannot be written.
    """
    root = Path(folder)
    for name in coding.classes:
        if name.lower() in NO_CLASS or name != name.strip() or len(name.splitlines()) != 1:
            raise FormatError(f"class {name!r} cannot stand in {CLASS_FILES[0]}, one name a line: rename it")
    (root / below).mkdir(parents=True, exist_ok=True)
    write_whole(root / CLASS_FILES[0], "".join(f"{name}\n" for name in coding.classes).encode())
    palette = coding.palette or colours(len(coding.classes))
    for name, indices_HW in masks:
        file = root / below / f"{stem(name)}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, encode_mask(indices_HW, palette))
