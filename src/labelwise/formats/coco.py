"""COCO instances: one JSON file with images, annotations and categories.

A box is ``[x, y, width, height]`` in pixels there; here it is its corners. Category ids may have holes and start
anywhere: classes are ordered by id. All that a file says of an image, an annotation or itself beyond what labelwise
reads (licences, areas, polygons, run lengths of crowds, ...) is kept and written again.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from typing import Any

from labelwise.errors import FormatError, unknown
from labelwise.formats.boxes import BoxLabels, corners, end, length, number, sides, tally
from labelwise.formats.files import write_whole
from labelwise.formats.json_file import dump_json, read_json

_PARTS = ("images", "annotations", "categories")
#: keys of an annotation that labelwise reads itself
_OWN = frozenset({"image_id", "category_id", "bbox", "iscrowd", "difficult", "score"})


def read_coco(path: str | os.PathLike[str]) -> BoxLabels:
    """Read an instances file. Names of images are the file's ``file_name``.

    An image of the file without annotation is one without any object.

    Args:
        path: the JSON file.

    Raises:
        FormatError: no such file, no COCO, or a broken row: with file, row and id. Among others ids given twice, an
            annotation of an unknown image or category, a box that is not four finite numbers or has a negative side, a
            mask that does not decode.
    """
    shown = repr(os.fspath(path))
    data = read_json(path)
    missing = [part for part in _PARTS if not isinstance(data, dict) or not isinstance(data.get(part), list)]
    if missing:
        raise FormatError(f"{shown} is no COCO instances file: it has no list {' or '.join(map(repr, missing))}")
    named = read_categories(data["categories"], shown)
    names: dict[Any, str] = {}
    labels: dict[str, Any] = {}
    for row, image in enumerate(data["images"], 1):
        name, label = _image(image, f"{shown}, image {row}")
        if image["id"] in names:
            raise FormatError(f"{shown}, image {row}: id {image['id']!r} is given twice; give every image its own")
        if name in labels:
            raise FormatError(f"{shown}, image {row}: file_name {name!r} is given twice; keep one of the two")
        names[image["id"]] = name
        labels[name] = label
    seen: set[Any] = set()
    for row, annotation in enumerate(data["annotations"], 1):
        where = _where(annotation, f"{shown}, annotation {row}")
        own = annotation.get("id")
        if own is not None and own in seen:
            raise FormatError(f"{where}: this id is given twice; give every annotation its own")
        seen.add(own)
        if _key(annotation.get("image_id")) not in names:
            raise FormatError(
                f"{where}: image_id {annotation.get('image_id')!r} is not among the file's {len(names)} images"
            )
        label = labels[names[annotation["image_id"]]]
        label["objects"].append(_object(annotation, named, label["size"], where))
    _fill_ids(labels)
    extra = {key: value for key, value in data.items() if key not in ("images", "annotations")}
    return BoxLabels(labels, tuple(named.values()), {}, extra, tally(labels))


def read_categories(categories: Any, shown: str) -> dict[int, str]:
    """Category id -> name, ascending by id.

    Raises:
        FormatError: a category without id or name, or one of them twice.
    """
    found: dict[int, str] = {}
    for row, category in enumerate(categories, 1):
        where = f"{shown}, category {row}"
        if not isinstance(category, dict) or not _is_int(category.get("id")) or not _is_name(category.get("name")):
            raise FormatError(f"{where}: {category!r:.80} has no whole number as id, or no name; give both")
        if category["id"] in found:
            raise FormatError(f"{where}: id {category['id']} is given twice; give every category its own")
        if category["name"] in found.values():
            raise FormatError(f"{where}: name {category['name']!r} is given twice; rename one of the two")
        found[category["id"]] = category["name"]
    return dict(sorted(found.items()))


def _image(image: Any, where: str) -> tuple[str, dict[str, Any]]:
    if not isinstance(image, dict) or not _is_name(image.get("file_name")) or _key(image.get("id")) is None:
        raise FormatError(f"{where}: {image!r:.80} has no id or no file_name; give both")
    size = sides(image.get("width"), image.get("height"), f"{where} ({image['file_name']!r})")
    label: dict[str, Any] = {"size": size, "objects": []}
    rest = {key: value for key, value in image.items() if key not in ("file_name", "width", "height")}
    return image["file_name"], label | {"extra": rest}


def _fill_ids(labels: Mapping[str, Any]) -> None:
    """Gives annotations without an id the one that they would be written with."""
    extras = [thing["extra"] for label in labels.values() for thing in label["objects"]]
    for extra, own in zip(extras, _numbered(extra.get("id") for extra in extras), strict=True):
        extra["id"] = own


def _where(annotation: Any, where: str) -> str:
    if not isinstance(annotation, dict):
        raise FormatError(f"{where}: {annotation!r:.80} is no object with image_id, category_id and bbox")
    own = annotation.get("id")
    if own is not None and _key(own) is None:
        raise FormatError(f"{where}: id is {own!r:.60}; give a whole number")
    return where if own is None else f"{where} (id {own!r})"


def _object(annotation: dict[str, Any], named: Mapping[int, str], size: list[int], where: str) -> dict[str, Any]:
    category: Any = annotation.get("category_id")
    if not _is_int(category) or category not in named:
        listed = ", ".join(f"{key} {name}" for key, name in list(named.items())[:20])
        raise FormatError(f"{where}: category_id {category!r:.60} is not among the file's categories ({listed})")
    thing: dict[str, Any] = {"class": named[category], "box": read_bbox(annotation.get("bbox"), where)}
    for flag, key in (("crowd", "iscrowd"), ("difficult", "difficult")):
        if annotation.get(key, 0) not in (0, 1):
            raise FormatError(f"{where}: {key} is {annotation[key]!r:.60}; give 0 or 1")
        if annotation.get(key):
            thing[flag] = True
    if annotation.get("score") is not None:
        thing["score"] = number(annotation["score"], where, "score")
    _check_mask(annotation.get("segmentation"), size, where)
    rest = {"area": math.prod(annotation["bbox"][2:])}
    rest |= {key: value for key, value in annotation.items() if key not in _OWN}
    number(rest["area"], where, "area")
    if _bbox(thing["box"]) != annotation["bbox"]:
        rest["bbox"] = annotation["bbox"]  # more digits than corners keep
    return thing | {"extra": rest}


def read_bbox(bbox: Any, where: str) -> list[float]:
    """Corners of ``[x, y, width, height]``.

    Raises:
        FormatError: not four finite numbers, or a negative side.
    """
    if not isinstance(bbox, list) or len(bbox) != 4:
        raise FormatError(f"{where}: bbox is {bbox!r:.60}; give [x, y, width, height]")
    x, y, width, height = (number(v, where, f"{n} of bbox") for n, v in zip(_SIDES, bbox, strict=True))
    if width < 0 or height < 0:
        raise FormatError(
            f"{where}: bbox {bbox} has a negative side; give [x, y, width, height], x and y of the upper left corner"
        )
    return corners([x, y, end(x, width), end(y, height)], where)


_SIDES = ("x", "y", "width", "height")


def _bbox(box: list[float]) -> list[float]:
    return [box[0], box[1], length(box[0], box[2]), length(box[1], box[3])]


# ---- masks ----------------------------------------------------------------------------------------------------------


def _check_mask(mask: Any, size: list[int], where: str) -> None:
    """Polygons and run lengths are kept as they are; here they only have to be readable."""
    if mask is None:
        return
    if isinstance(mask, dict):
        _check_runs(mask, size, where)
        return
    whole = isinstance(mask, list) and all(isinstance(p, list) and len(p) % 2 == 0 and len(p) >= 4 for p in mask)
    if not whole:
        raise FormatError(f"{where}: segmentation is {mask!r:.60}; give a list of polygons [x1, y1, x2, y2, ...]")
    for polygon in mask:
        for value in polygon:
            number(value, where, "a corner of a polygon")


def _check_runs(mask: dict[str, Any], size: list[int], where: str) -> None:
    if mask.get("size") != [size[1], size[0]]:
        raise FormatError(
            f"{where}: the mask has size {mask.get('size')!r:.60}, the image is {size[0]} x {size[1]}; masks say "
            "[height, width]"
        )
    counts = mask.get("counts")
    try:
        runs = decode_counts(counts) if isinstance(counts, str) else counts
    except ValueError as error:
        raise FormatError(f"{where}: the mask's run lengths do not decode: {error}") from None
    if not isinstance(runs, list) or not all(_is_int(run) and run >= 0 for run in runs):
        raise FormatError(
            f"{where}: the mask's run lengths do not decode: {counts!r:.60}; give whole numbers, 0 or more"
        )
    if sum(runs) != size[0] * size[1]:
        raise FormatError(
            f"{where}: the mask's run lengths do not decode: they sum to {sum(runs)}, the image has "
            f"{size[0]} x {size[1]} = {size[0] * size[1]} pixels"
        )


def decode_counts(text: str) -> list[int]:
    """Run lengths out of COCO's compressed text.

    Each number is written in groups of five bits, lowest first, in characters from ``0`` on, a sixth bit saying that
    more follow; from the fourth number on it is the difference to the number two before.

    Raises:
        ValueError: a character outside the range, or a number that does not end.

    Example:
        >>> decode_counts("61X13mN000`0")
        [6, 1, 40, 4, 5, 4, 5, 4, 21]
    """
    runs: list[int] = []
    value = shift = 0
    for place, character in enumerate(text):
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            raise ValueError(f"{character!r} at {place} is none of its characters")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            if shift > 60:
                raise ValueError(f"the number before {place} does not end")
            continue
        if bits & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError("the last number does not end")
    return runs


# ---- writing --------------------------------------------------------------------------------------------------------


def write_coco(path: str | os.PathLike[str], found: BoxLabels) -> None:
    """Write an instances file.

    Ids of images, annotations and categories that were read are kept as far as they are unique; the others are numbered
    on from the highest. Without categories of its own the classes get ids from 1, in their order.

    Raises:
        FormatError: a class outside ``found.classes``, or a number that is not finite.
        StateError: when the file cannot be written.
    """
    shown = repr(os.fspath(path))
    categories = _categories(found)
    number_of = {category["name"]: category["id"] for category in categories}
    image_ids = _numbered(label.get("extra", {}).get("id") for label in found.labels.values())
    things = [
        (image_id, thing)
        for image_id, label in zip(image_ids, found.labels.values(), strict=True)
        for thing in label["objects"]
    ]
    own_ids = _numbered(thing.get("extra", {}).get("id") for _, thing in things)
    images = [
        {**label.get("extra", {}), "id": own, "file_name": name, "width": label["size"][0], "height": label["size"][1]}
        for own, (name, label) in zip(image_ids, found.labels.items(), strict=True)
    ]
    annotations = [
        _annotation(thing, own, image_id, number_of) for own, (image_id, thing) in zip(own_ids, things, strict=True)
    ]
    rest = {key: value for key, value in found.extra.items() if key not in _PARTS}
    data = {**rest, "images": images, "annotations": annotations, "categories": categories}
    write_whole(path, dump_json(data, shown))


def _categories(found: BoxLabels) -> list[dict[str, Any]]:
    """Those of the file that was read, in its order, and new ones for classes it had not."""
    own = found.extra.get("categories", [])
    kept = [category for category in own if isinstance(category, dict) and category.get("name") in found.classes]
    known = {category["name"] for category in kept}
    first = max((category["id"] for category in kept), default=0) + 1
    new = [name for name in found.classes if name not in known]
    return kept + [{"id": first + n, "name": name, "supercategory": ""} for n, name in enumerate(new)]


def _numbered(wanted: Iterable[Any]) -> list[int | str]:
    """The wanted ids where they are ids and free, else the next whole numbers above them all."""
    wishes = [_key(wish) for wish in wanted]
    following = max((wish for wish in wishes if isinstance(wish, int)), default=0) + 1
    taken: set[int | str] = set()
    ids: list[int | str] = []
    for wish in wishes:
        if wish is not None and wish not in taken:
            ids.append(wish)
        else:
            ids.append(following)
            following += 1
        taken.add(ids[-1])
    return ids


def _annotation(
    thing: Mapping[str, Any], own: int | str, image_id: int | str, number_of: Mapping[str, int]
) -> dict[str, Any]:
    if thing["class"] not in number_of:
        raise unknown("class", thing["class"], number_of, error=FormatError)
    extra, box, bbox = thing.get("extra", {}), thing["box"], _bbox(thing["box"])
    if "bbox" in extra and read_bbox(extra["bbox"], "bbox") == box:
        bbox = extra["bbox"]
    entry = {"area": math.prod(bbox[2:]), **extra, "id": own, "image_id": image_id, "bbox": bbox}
    entry |= {"category_id": number_of[thing["class"]], "iscrowd": int(bool(thing.get("crowd")))}
    return entry | ({"difficult": 1} if thing.get("difficult") else {}) | _score(thing)


def _score(thing: Mapping[str, Any]) -> dict[str, float]:
    return {"score": thing["score"]} if thing.get("score") is not None else {}


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _key(value: Any) -> int | str | None:
    """An id: a whole number or a text; None for anything else."""
    return value if _is_int(value) or _is_name(value) else None


__all__ = ["decode_counts", "read_bbox", "read_categories", "read_coco", "write_coco"]
