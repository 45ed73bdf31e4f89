"""Boxes that come back from people: a COCO file, or a folder of VOC or YOLO labels.

Images that nobody has worked on must not come back as images without objects. What ``export`` writes therefore says
``answered: false`` (COCO, VOC), which annotation tools drop when they save; of YOLO labels only files that are there
count. ``skipped: true`` with a ``reason`` says that an image cannot be labelled.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from labelwise.contracts.oracle import Answer
from labelwise.errors import DataError, FormatError
from labelwise.formats.coco import read_coco
from labelwise.formats.detections import KnownImages
from labelwise.formats.labels_table import COST_COLUMNS, LabelTable
from labelwise.formats.voc import ANNOTATIONS, read_voc
from labelwise.formats.yolo import classes_or, label_files, read_boxes

Kind = Literal["coco", "voc", "yolo"]

_MARKS = frozenset({"answered", "skipped", "reason", "path", "rank", "strategy_score", *COST_COLUMNS})
_FALSE = (False, 0, "0", "false", "False")
_TRUE = (True, 1, "1", "true", "True")


def read_box_answers(path: str | os.PathLike[str], known: KnownImages, *, kind: Kind | None = None) -> LabelTable:
    """Read labels of boxes.

    Args:
        path: a COCO file, or a folder of VOC or YOLO labels.
        known: the project's images and classes.
        kind: the format; by default what the path looks like.

    Raises:
        FormatError: no such labels, a broken row, an image that is none of the project's, or labels that were drawn on
            an image of another size.
    """
    chosen = kind or _kind_of(Path(path))
    if chosen == "yolo":
        return _yolo(Path(path), known)
    found = read_coco(path) if chosen == "coco" else read_voc(path, size_of=lambda name: _size(known, name))
    shown = os.fspath(path)
    answers, rows, unanswered = [], [], 0
    for row, (name, label) in enumerate(found.labels.items(), 1):
        extra = label.get("extra", {})
        if extra.get("answered", True) in _FALSE:
            unanswered += 1
            continue
        item = known.find(name, f"{shown!r}, {_UNITS[chosen]} {row}")
        _check_size(item, label, known, f"{shown!r}, {_UNITS[chosen]} {row}")
        answers.append(answer_of(item, label))
        rows.append(row)
    classes = found.classes if chosen == "coco" else ()
    return LabelTable(shown, tuple(answers), tuple(rows), unanswered, _UNITS[chosen], classes)


_UNITS: Mapping[Kind, str] = {"coco": "image", "voc": "file", "yolo": "file"}


def _kind_of(path: Path) -> Kind:
    if path.is_dir():
        xml = (path / ANNOTATIONS).is_dir() or next(path.glob("*.xml"), None) is not None
        return "voc" if xml else "yolo"
    if path.suffix.lower() != ".json":
        raise FormatError(
            f"{str(path)!r}: boxes come back as a COCO file (.json) or as a folder of VOC (.xml) or YOLO (.txt) labels"
        )
    return "coco"


def answer_of(item: str, label: Mapping[str, Any]) -> Answer:
    """What a raw label of an image in a COCO or VOC file answers: objects, or a skip; and what it cost."""
    extra = label.get("extra", {})
    if extra.get("skipped") in _TRUE:
        return Answer(item, None, reason=str(extra.get("reason", "")))
    cost = {unit: float(extra[unit]) for unit in COST_COLUMNS if isinstance(extra.get(unit), int | float)}
    # a box that a person let stand is a label, whatever score it came with
    things = [{key: value for key, value in thing.items() if key != "score"} for thing in label["objects"]]
    rest = {key: value for key, value in extra.items() if key not in _MARKS}
    return Answer(item, {"size": label["size"], "objects": things} | ({"extra": rest} if rest else {}), cost)


def _size(known: KnownImages, name: str) -> tuple[int, int]:
    return known.size_of(known.find(name, repr(name)))


def _check_size(item: str, label: Mapping[str, Any], known: KnownImages, where: str) -> None:
    try:
        width, height = known.size_of(item)
    except DataError:  # the file is gone; its label is still good
        return
    if label["size"] != [width, height]:
        drawn = " x ".join(map(str, label["size"]))
        raise FormatError(
            f"{where}: {item!r} was labelled at {drawn} pixels and has {width} x {height}; export the boxes at the "
            "original size"
        )


def _yolo(folder: Path, known: KnownImages) -> LabelTable:
    names = classes_or(folder, known.classes)
    files = label_files(folder)
    if not files:
        raise FormatError(f"{str(folder)!r} holds no .xml and no .txt file of labels")
    answers = []
    for file, name in files:
        item = known.find(name, repr(str(file)))
        size = list(known.size_of(item))
        answers.append(answer_of(item, {"size": size, "objects": read_boxes(file, names, size)}))
    return LabelTable(str(folder), tuple(answers), tuple(range(1, len(files) + 1)), 0, "file", names)
