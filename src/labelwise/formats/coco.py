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
from labelwise.formats.boxes import BoxLabels, number, sides, tally
from labelwise.formats.coco_shapes import bbox_of, decode_counts, read_bbox, read_segmentation
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
    read_segmentation(annotation.get("segmentation"), (size[0], size[1]), where)
    rest = {"area": math.prod(annotation["bbox"][2:])}
    rest |= {key: value for key, value in annotation.items() if key not in _OWN}
    number(rest["area"], where, "area")
    if bbox_of(thing["box"]) != annotation["bbox"]:
        rest["bbox"] = annotation["bbox"]  # more digits than corners keep
    return thing | {"extra": rest}


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
    extra, box, bbox = thing.get("extra", {}), thing["box"], bbox_of(thing["box"])
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
