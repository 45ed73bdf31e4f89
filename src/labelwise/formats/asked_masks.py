"""What annotators of masks get: a folder for tools that work on PNG files.

``suggested`` holds the masks that the model would draw, ``masks`` is where finished ones go, ``regions`` holds the
pixels of each asked region, and ``asked.json`` says what is what.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from labelwise.contracts.record import IGNORE, Head, Record
from labelwise.errors import FormatError
from labelwise.formats.class_colours import Colour, colours
from labelwise.formats.delimited import write_rows
from labelwise.formats.files import write_whole
from labelwise.formats.index_png import encode_mask
from labelwise.formats.json_file import dump_json
from labelwise.formats.labelled_masks import check_class_names, masks_of, whole_mask, write_class_list
from labelwise.formats.pictures import is_below
from labelwise.formats.returned_masks import LISTING, MARK, MASKS, REGIONS, SUGGESTED

TABLE = "regions.csv"


def write_asked(out: Path, head: Head, records: Iterable[Record]) -> list[str]:
    """Writes the folder.

    Args:
        out: made where it is missing.
        head: classes, and their colours; VOC's first ones where it has none.
        records: of picks, in the order chosen; several may be regions of one image. ``pixels`` is what the model would
            draw, ``outline`` the pixels of a region.

    Raises:
        FormatError: a class that cannot stand in a list, or two images for one mask.
        StateError: a file cannot be written.
    """
    picks = list(records)
    check_class_names(head.classes)
    by_image = masks_of(picks)
    palette = head.palette or colours(len(head.classes))
    for image in by_image:
        if not is_below(image):
            raise FormatError(f"the mask of {image!r:.80} would lie outside the folder: rename the image")
    for folder in (MASKS, SUGGESTED):
        (out / folder).mkdir(parents=True, exist_ok=True)
    write_class_list(out, head.classes)
    guessed = _write_suggested(out, picks, by_image, palette)
    items = [_entry(out, pick, by_image[_image(pick)], guessed, head.classes) for pick in picks]
    data = {
        "format": MARK,
        "version": 1,
        "classes": list(head.classes),
        "palette": [list(colour) for colour in palette],
        "ignore": IGNORE,
        "items": items,
    }
    write_whole(out / LISTING, dump_json(data, str(out / LISTING)))
    paths = {_image(pick): _path(pick) for pick in picks}
    write_whole(out / "images.txt", "".join(f"{path}\n" for path in paths.values()).encode())
    if any("box" in item for item in items):
        rows = [(item["id"], "", item.get("predicted", "")) for item in items if "box" in item]
        write_whole(out / TABLE, write_rows([("id", "label", "predicted"), *rows]).replace("\r\n", "\n").encode())
    return []


def _image(pick: Record) -> str:
    if pick.image is None:
        raise FormatError(f"{pick.where}: a pick without the name of its image")
    return pick.image


def _path(pick: Record) -> str:
    """The file of the image; of a region without its number."""
    path = str(pick.extra.get("path", pick.image))
    return path.removesuffix(f"#{pick.region}") if pick.region is not None else path


def _item(pick: Record) -> str:
    return _image(pick) if pick.region is None else f"{pick.image}#{pick.region}"


def _write_suggested(
    out: Path, picks: Sequence[Record], files: Mapping[str, str], palette: Sequence[Colour]
) -> frozenset[str]:
    """The model's mask of each image; of asked regions only their pixels, so that nothing else comes back."""
    guesses: dict[str, list[Record]] = {}
    for pick in picks:
        if pick.pixels is not None:
            guesses.setdefault(_image(pick), []).append(pick)
    for image, parts in guesses.items():
        whole = [part for part in parts if part.region is None]
        mask_HW = whole_mask(whole[:1] or parts)
        file = out / SUGGESTED / files[image]
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, encode_mask(mask_HW, palette))
    return frozenset(guesses)


def _entry(out: Path, pick: Record, file: str, guessed: frozenset[str], classes: Sequence[str]) -> dict[str, Any]:
    """What ``asked.json`` says of one item; writes the pixels of a region."""
    score = pick.extra.get("strategy_score")
    entry: dict[str, Any] = {
        "id": _item(pick),
        "path": _path(pick),
        "size": None if pick.size is None else list(pick.size),
        "rank": pick.extra.get("rank"),
        "score": score,
        "answer": f"{MASKS}/{file}",
    }
    if pick.image in guessed:
        entry["suggested"] = f"{SUGGESTED}/{file}"
    if pick.region is None or pick.outline is None:
        return entry
    inside, (x, y) = pick.outline.read(), pick.outline.at
    place = out / REGIONS / f"{_item(pick)}.png"
    place.parent.mkdir(parents=True, exist_ok=True)
    write_whole(place, encode_mask(np.where(inside, 255, 0).astype(np.uint8)))
    entry |= {"box": [x, y, inside.shape[1], inside.shape[0]], "pixels": int(inside.sum())}
    entry |= {"region": f"{REGIONS}/{_item(pick)}.png", "answer": f"{MASKS}/{_item(pick)}.png"}
    if pick.pixels is not None:
        (left, top), guess_HW = pick.pixels.at, pick.pixels.read()
        window = guess_HW[y - top : y - top + inside.shape[0], x - left : x - left + inside.shape[1]][inside]
        known = window[window != IGNORE]
        if known.size:
            entry["predicted"] = classes[int(np.bincount(known).argmax())]
    return entry
