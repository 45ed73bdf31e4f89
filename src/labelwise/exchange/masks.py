"""What annotators of masks get: the asked images or regions, with the masks that the model would draw.

A folder for tools that work on PNG files: ``suggested`` holds the model's masks, ``masks`` is where finished ones go,
``regions`` holds the pixels of each asked region, and ``asked.json`` says what is what. Or one COCO file.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from labelwise.contracts.record import IGNORE
from labelwise.formats.coco_masks import write_coco_masks
from labelwise.formats.files import write_whole
from labelwise.formats.index_png import encode_mask
from labelwise.formats.json_file import dump_json
from labelwise.formats.mask_coding import MaskCoding
from labelwise.formats.mask_folder import MASKS, write_masks
from labelwise.formats.voc import stem
from labelwise.formats.voc_masks import colours

if TYPE_CHECKING:
    from labelwise.contracts.oracle import Pick
    from labelwise.contracts.source import Source

SUGGESTED, REGIONS, LISTING, TABLE = "suggested", "regions", "asked.json", "regions.csv"


@dataclass(frozen=True)
class Asked:
    """What is asked, image by image.

    Args:
        picks: items, in the order chosen; several may be regions of one image.
        source: tells sizes, paths and the pixels of regions.
        coding: the project's classes and their colours.
        masks: image -> (H, W) class indices that the model would give, at the size of the image; {} without a model.
    """

    picks: Sequence[Pick]
    source: Source
    coding: MaskCoding
    masks: Mapping[str, np.ndarray]

    def images(self) -> dict[str, list[Pick]]:
        """The picks of each image, in the order chosen."""
        found: dict[str, list[Pick]] = defaultdict(list)
        for pick in self.picks:
            found[self.source.within(pick.id)[0]].append(pick)
        return dict(found)

    def suggestions(self) -> Iterator[tuple[str, np.ndarray]]:
        """The model's mask of each image; of asked regions only their pixels, so that nothing else comes back."""
        for image, picks in self.images().items():
            if image not in self.masks:
                continue
            mask_HW = self.masks[image]
            if all(pick.id == image for pick in picks):
                yield image, mask_HW
                continue
            part_HW = np.full_like(mask_HW, IGNORE)
            for pick in picks:
                inside, (x, y) = self.source.outline(pick.id)
                window = np.s_[y : y + inside.shape[0], x : x + inside.shape[1]]
                part_HW[window][inside] = mask_HW[window][inside]
            yield image, part_HW


def write_asked_masks(out: Path, asked: Asked) -> None:
    """Writes the folder.

    Raises:
        StateError: a file cannot be written.
    """
    for folder in (MASKS, SUGGESTED):
        (out / folder).mkdir(parents=True, exist_ok=True)
    write_masks(out, asked.suggestions(), asked.coding, below=SUGGESTED)
    items = [_entry(asked, pick, out) for pick in asked.picks]
    data = {
        "format": "labelwise-asked-masks",
        "version": 1,
        "classes": list(asked.coding.classes),
        "palette": [list(colour) for colour in asked.coding.palette or colours(len(asked.coding.classes))],
        "ignore": IGNORE,
        "items": items,
    }
    write_whole(out / LISTING, dump_json(data, str(out / LISTING)))
    paths = [asked.source.path(image) for image in asked.images()]
    write_whole(out / "images.txt", "".join(f"{path}\n" for path in paths).encode())
    if any("box" in item for item in items):
        text = io.StringIO(newline="")
        table = csv.writer(text, lineterminator="\n")
        table.writerow(("id", "label", "predicted"))
        table.writerows((item["id"], "", item.get("predicted", "")) for item in items if "box" in item)
        write_whole(out / TABLE, text.getvalue().encode())


def _entry(asked: Asked, pick: Pick, out: Path) -> dict[str, Any]:
    """What ``asked.json`` says of one item; writes the pixels of a region."""
    image, region = asked.source.within(pick.id)
    entry: dict[str, Any] = {
        "id": pick.id,
        "path": asked.source.path(image),
        "size": list(asked.source.size(image)),
        "rank": pick.rank,
        "score": None if pick.score is None else float(pick.score),
        "answer": f"{MASKS}/{stem(pick.id)}.png",
    }
    if image in asked.masks:
        entry["suggested"] = f"{SUGGESTED}/{stem(image)}.png"
    if region is None:
        return entry
    inside, (x, y) = asked.source.outline(pick.id)
    file = out / REGIONS / f"{pick.id}.png"
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, encode_mask(np.where(inside, 255, 0).astype(np.uint8)))
    entry |= {"box": [x, y, inside.shape[1], inside.shape[0]], "pixels": int(inside.sum())}
    entry |= {"region": f"{REGIONS}/{pick.id}.png", "answer": f"{MASKS}/{pick.id}.png"}
    if image in asked.masks:
        found = asked.masks[image][y : y + inside.shape[0], x : x + inside.shape[1]][inside]
        entry["predicted"] = asked.coding.classes[int(np.bincount(found).argmax())]
    return entry


def write_asked_coco(out: Path, asked: Asked) -> None:
    """Writes one COCO file whose images are marked as not answered yet.

    Raises:
        StateError: the file cannot be written.
    """
    masks = dict(asked.suggestions())
    marks: dict[str, dict[str, Any]] = {}
    for image, picks in asked.images().items():
        width, height = asked.source.size(image)
        masks.setdefault(image, np.full((height, width), IGNORE, np.uint8))
        marks[image] = {"answered": False, "path": asked.source.path(image), "rank": picks[0].rank}
        if any(pick.id != image for pick in picks):
            marks[image]["regions"] = [pick.id for pick in picks]
    write_coco_masks(out, masks.items(), asked.coding.classes, marks=marks)
