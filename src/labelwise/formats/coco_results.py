"""A detector's results: COCO's JSON of results, and folders of YOLO txt with confidences.

A COCO result is ``{"image_id", "category_id", "bbox": [x, y, width, height], "score"}``. Two keys may be added to every
row: ``probs``, one number for each class in the project's order, and ``embedding``, the object as a vector. Where each
row of ``probs`` sums to one, classes exclude each other (softmax; a last number may stand for the background), else
each is a yes or no of its own (sigmoid). Without ``probs`` the score of the top class is all that is known: it counts
as a yes or no, (p, 1 - p), and the other classes as ruled out.

The rows stand in a list, or under ``annotations`` beside ``images`` and ``categories`` as in an annotation file; an
image there may have an ``embedding`` too. A list does not say which images the detector looked at: those without a row
count as images in which it found nothing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from labelwise.errors import FormatError
from labelwise.formats.boxes import number, sides
from labelwise.formats.coco import read_bbox, read_categories
from labelwise.formats.delimited import read_text
from labelwise.formats.detections import FoundBoxes, Gathered, KnownImages
from labelwise.formats.json_file import read_json
from labelwise.formats.yolo import check_box, classes_or, label_files, read_line


def read_found_boxes(path: str | os.PathLike[str], known: KnownImages) -> FoundBoxes:
    """Read a results file, or a folder of txt.

    Raises:
        FormatError: see :func:`read_coco_results` and :func:`read_yolo_results`.
    """
    return read_yolo_results(path, known) if Path(path).is_dir() else read_coco_results(path, known)


# ---- COCO -----------------------------------------------------------------------------------------------------------


def read_coco_results(path: str | os.PathLike[str], known: KnownImages) -> FoundBoxes:
    """Read COCO results.

    An image is known by its id in the COCO file that the project was made from, by its ``file_name``, or by the number
    or name that its file has. A category is known by the file's own ``categories``, by the COCO file that the project
    was made from, or else by its place in the project's classes, from 1 as ``export`` counts them.

    Args:
        path: the JSON file.
        known: the project's images and classes.

    Raises:
        FormatError: with file and row: no such list, an image or category that is none of the project's, a box or score
            that is none, probabilities or embeddings on some rows only.
    """
    shown = repr(os.fspath(path))
    data = read_json(path)
    rows = data.get("annotations") if isinstance(data, dict) else data
    if not isinstance(rows, list):
        raise FormatError(
            f'{shown} is no COCO results file: give a list of {{"image_id", "category_id", "bbox", "score"}}'
        )
    own = data if isinstance(data, dict) else {}
    names = _categories(own.get("categories"), known, shown)
    classes = known.classes or tuple(dict.fromkeys(names.values()))
    images = _images(own.get("images"), known, shown)
    found = Gathered(shown, known, classes)
    sizes: dict[str, tuple[int, int]] = {}
    for row, result in enumerate(rows, 1):
        where = f"{shown}, result {row}"
        if not isinstance(result, dict):
            raise FormatError(f"{where}: {result!r:.60} is no object with image_id, category_id, bbox and score")
        item, size = _image(result, images, known, where)
        if item not in sizes:
            sizes[item] = known.size_of(item) if size is None else size
        box = read_bbox(result.get("bbox"), where)
        width, height = sizes[item]
        corners = (box[0] / width, box[1] / height, box[2] / width, box[3] / height)
        label = classes.index(_class(result, names, where))
        found.add(item, corners, label, number(result.get("score"), where, "score"), where)
        found.probs.append(result.get("probs"))
        found.embeddings.append(result.get("embedding"))
    seen = None if images is None else [item for item, _, _ in images.values()]
    vectors = None if images is None else {item: vector for item, _, vector in images.values()}
    return found.finish(seen, vectors)


#: image id of the file -> (id, size where the file has it, embedding where the file has one)
_Images = dict[Any, tuple[str, tuple[int, int] | None, Any]]


def _images(entries: Any, known: KnownImages, shown: str) -> _Images | None:
    if not isinstance(entries, list):
        return None
    found: _Images = {}
    taken: set[str] = set()
    for row, image in enumerate(entries, 1):
        where = f"{shown}, image {row}"
        if not isinstance(image, dict) or not isinstance(image.get("id"), int | str) or "file_name" not in image:
            raise FormatError(f"{where}: {image!r:.60} has no id or no file_name; give both")
        size = None
        if "width" in image:
            width, height = sides(image["width"], image.get("height"), where)
            size = (width, height)
        item = known.find(image["file_name"], where)
        if image["id"] in found or item in taken:
            raise FormatError(f"{where}: id {image['id']!r} or {item!r} is given twice; give every image once")
        taken.add(item)
        found[image["id"]] = (item, size, image.get("embedding"))
    return found


def _image(
    result: Mapping[str, Any], images: _Images | None, known: KnownImages, where: str
) -> tuple[str, tuple[int, int] | None]:
    own = result.get("image_id")
    if images is not None:
        if not isinstance(own, int | str) or own not in images:
            raise FormatError(f"{where}: image_id {own!r:.60} is not among the file's {len(images)} images")
        return images[own][0], images[own][1]
    name = result.get("file_name", own)
    if isinstance(name, bool) or not isinstance(name, int | str):
        raise FormatError(f"{where}: image_id is {name!r:.60}; give the image's id, number or path")
    return known.find(name, where), None


def _categories(own: Any, known: KnownImages, shown: str) -> Mapping[int, str]:
    """Category id -> class name."""
    if isinstance(own, list):
        names = read_categories(own, shown)
    elif known.categories:
        names = {key: name for key, name in known.categories.items() if name in known.classes}
    else:
        names = dict(enumerate(known.classes, 1))
    if strange := [name for name in names.values() if known.classes and name not in known.classes]:
        raise FormatError(
            f"{shown}: category {strange[0]!r} is none of the project's classes ({', '.join(known.classes[:20])}): is "
            "this a file for other classes?"
        )
    if not names:
        raise FormatError(
            f"{shown}: the project does not know its classes yet: import labels, or write categories into the file"
        )
    return names


def _class(result: Mapping[str, Any], names: Mapping[int, str], where: str) -> str:
    own = result.get("category_id")
    if isinstance(own, bool) or not isinstance(own, int) or own not in names:
        listed = ", ".join(f"{key} {name}" for key, name in list(names.items())[:20])
        raise FormatError(f"{where}: category_id {own!r:.60} is none of {listed}: is this a file for other classes?")
    return names[own]


# ---- YOLO -----------------------------------------------------------------------------------------------------------


def read_yolo_results(folder: str | os.PathLike[str], known: KnownImages) -> FoundBoxes:
    """Read a folder of txt files as Ultralytics writes them with ``save_txt`` and ``save_conf``.

    Lines are ``class x y width height confidence``; a file is called as its image. Classes are in the order of the
    folder's class list (``data.yaml``, ``classes.txt``) where it has one, else in the project's.

    Args:
        folder: the ``.txt`` files, perhaps below a folder ``labels``.
        known: the project's images and classes.

    Raises:
        FormatError: with file and line: a line without confidence, a class outside the list, a file for no image of the
            project; or no such file at all.
    """
    root = Path(folder)
    shown = repr(str(root))
    names = classes_or(root, known.classes)
    files = label_files(root)
    if not files:
        raise FormatError(f"{shown} holds no .txt file: give the folder of labels that your detector wrote")
    found = Gathered(shown, known, known.classes or names)
    for file, name in files:
        item = known.find(name, repr(str(file)))
        for row, line in enumerate(read_text(file).splitlines(), 1):
            if line.strip():
                where = f"{str(file)!r}, line {row}"
                index, values = read_line(line, len(names), where)
                if len(values) != 5:
                    raise FormatError(
                        f"{where}: {len(values)} numbers behind the class; a prediction has five, the last its "
                        "confidence (Ultralytics: save_conf=True)"
                    )
                label = found.classes.index(names[index])
                found.add(item, check_box(values[:4], where), label, values[4], where)
    return found.finish()
