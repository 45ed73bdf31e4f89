"""COCO instances as class masks, and class masks as COCO.

Painting: where instances overlap, the smaller one is seen; groups that were outlined as a whole (crowds) lie below all
others. Among instances of one size the later one in the file is seen. Pixels of no instance belong to a class
``background``, which becomes the first one where the file has no category of that name; unless something was drawn as
background, or the file's ``info`` says ``"unannotated": "ignore"``: then such pixels have no class.

Writing: one annotation for each class of an image. Run lengths are exact; polygons are written where the whole class of
an image can be outlined by them so that COCO's own rasteriser gives back each pixel, which holes rule out.

Shape letters: H x W pixels.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from labelwise.contracts.record import IGNORE
from labelwise.errors import FormatError
from labelwise.formats.boxes import BoxLabels
from labelwise.formats.coco import write_coco
from labelwise.formats.coco_shapes import decode_segmentation, encode_counts, outlines, run_lengths

BACKGROUND = "background"
#: in ``info``: what pixels of no annotation are
UNANNOTATED = "unannotated"
#: pixels that a corner may lie outside the image: tools round, and some count from one
SLACK = 1.0


@dataclass(frozen=True)
class Painter:
    """Paints the instances of an image.

    Args:
        classes: names in index order.
        bare: class of the pixels of no instance; None where they have none.
    """

    classes: tuple[str, ...]
    bare: str | None = None

    @classmethod
    def of(
        cls, categories: Sequence[str], labels: Iterable[Any], info: Any = None, classes: Sequence[str] = ()
    ) -> Painter:
        """The painter for a file.

        Args:
            categories: names of the file's categories, in their order.
            labels: raw labels of all its images.
            info: what the file says of itself.
            classes: of the project, when it has some: without a class background in them pixels of no instance have
                no class.
        """
        said = info.get(UNANNOTATED) if isinstance(info, Mapping) else None
        drawn = any(thing["class"] == BACKGROUND for label in labels for thing in label["objects"])
        if drawn or said == "ignore" or (classes and BACKGROUND not in classes):
            return cls(tuple(classes or categories))
        added = () if BACKGROUND in categories else (BACKGROUND,)
        return cls(tuple(classes or (*added, *categories)), BACKGROUND)

    def indices(self, label: Mapping[str, Any]) -> np.ndarray:
        """uint8 (H, W) class indices out of the raw label of an image's objects."""
        bare = IGNORE if self.bare is None else self.classes.index(self.bare)
        values = [self.classes.index(thing["class"]) for thing in label["objects"]]
        return _painted(label, values, bare).astype(np.uint8)


def instances(label: Mapping[str, Any]) -> np.ndarray:
    """int32 (H, W): the number of the instance that is seen at each pixel, from 1; 0 where there is none."""
    return _painted(label, range(1, len(label["objects"]) + 1), 0)


def check_masks(label: Mapping[str, Any], where: str) -> int:
    """Refuses an image with an instance that cannot be painted; returns how many polygons cover nothing.

    Raises:
        FormatError: an annotation without mask, or with a polygon outside its image; with its id.
    """
    return sum(
        _check(thing, label["size"], f"{where}, annotation {thing['extra'].get('id')}") for thing in label["objects"]
    )


def _check(thing: Mapping[str, Any], size: Sequence[int], where: str) -> int:
    mask = thing["extra"].get("segmentation")
    if not mask:
        raise FormatError(f"{where}: it has a box and no mask; give polygons or run lengths as its segmentation")
    if isinstance(mask, Mapping):
        return 0
    for polygon in mask:
        for corners, side, what in ((polygon[::2], size[0], "x"), (polygon[1::2], size[1], "y")):
            if min(corners) < -SLACK or max(corners) > side + SLACK:
                strange = min(corners) if min(corners) < -SLACK else max(corners)
                raise FormatError(
                    f"{where}: a polygon has a corner at {what} = {strange:g}, outside the image of {size[0]} x "
                    f"{size[1]} pixels; was it drawn at another size?"
                )
    return sum(len(polygon) < 6 for polygon in mask)


def _painted(label: Mapping[str, Any], values: Sequence[int], bare: int) -> np.ndarray:
    width, height = label["size"]
    painted_HW = np.full((height, width), bare, np.int32)
    covers = [decode_segmentation(thing["extra"]["segmentation"], width, height) for thing in label["objects"]]
    crowd = [bool(thing.get("crowd")) for thing in label["objects"]]
    for n in sorted(range(len(covers)), key=lambda n: (not crowd[n], -int(covers[n].sum()))):
        painted_HW[covers[n]] = values[n]
    return painted_HW


# ---- writing --------------------------------------------------------------------------------------------------------


def write_coco_masks(
    path: str | os.PathLike[str],
    masks: Iterable[tuple[str, np.ndarray]],
    classes: Sequence[str],
    *,
    polygons: bool = False,
    marks: Mapping[str, Mapping[str, Any]] | None = None,
) -> int:
    """Write masks as one annotation for each class of an image.

    Args:
        path: the JSON file.
        masks: name of an image, class indices.
        classes: names in index order.
        polygons: outlines in place of run lengths, where they are exact.
        marks: name of an image -> further keys of its entry.

    Returns:
        How many annotations were wanted as polygons and are written as run lengths.

    Raises:
        StateError: the file cannot be written.
    """
    labels: dict[str, Any] = {}
    inexact = 0
    for name, indices_HW in masks:
        height, width = indices_HW.shape
        things = []
        for index in np.unique(indices_HW[indices_HW != IGNORE]).tolist():
            cover_HW = indices_HW == index
            outline = outlines(cover_HW) if polygons else None
            inexact += polygons and outline is None
            things.append(_thing(classes[index], cover_HW, outline or run_lengths(cover_HW)))
        labels[name] = {"size": [width, height], "objects": things, "extra": dict((marks or {}).get(name, {}))}
    write_coco(path, BoxLabels(labels, tuple(classes), extra={"info": {UNANNOTATED: "ignore"}}))
    return inexact


def _thing(name: str, cover_HW: np.ndarray, segmentation: Any) -> dict[str, Any]:
    rows, columns = np.flatnonzero(cover_HW.any(1)), np.flatnonzero(cover_HW.any(0))
    box = [int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1]
    return {"class": name, "box": box, "extra": {"area": int(cover_HW.sum()), "segmentation": segmentation}}


__all__ = [
    "Painter",
    "check_masks",
    "decode_segmentation",
    "encode_counts",
    "instances",
    "outlines",
    "run_lengths",
    "write_coco_masks",
]
