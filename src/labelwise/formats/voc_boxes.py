"""Boxes of PASCAL VOC as raw labels: what was called before every file came in one way; goes with its callers."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from labelwise.errors import FormatError
from labelwise.formats.boxes import BoxLabels, classes_of, sides, tally
from labelwise.formats.delimited import read_text
from labelwise.formats.files import write_whole
from labelwise.formats.voc_xml import parse, stem, writable
from labelwise.formats.xml_tree import write_element

ANNOTATIONS, LISTS = "Annotations", "ImageSets/Main"
#: name of an image -> (width, height)
SizeOf = Callable[[str], tuple[int, int]]

_CORNERS = ("xmin", "ymin", "xmax", "ymax")


def read_voc(folder: str | os.PathLike[str], *, size_of: SizeOf | None = None) -> BoxLabels:
    """Read all annotations and lists of a folder. Images are named by the path of their annotation, without ending.

    Args:
        folder: holds ``Annotations`` (or the ``.xml`` files themselves) and perhaps ``ImageSets/Main``.
        size_of: tells the size of an image whose annotation does not.

    Raises:
        FormatError: with file and line: no XML, a declared entity, an object without name or box, a corner that is no
            number, swapped corners, no size.
    """
    root = Path(folder)
    place = root / ANNOTATIONS if (root / ANNOTATIONS).is_dir() else root
    files = sorted(place.rglob("*.xml"))
    if not files:
        raise FormatError(f"{str(place)!r} holds no .xml file: give a folder with {ANNOTATIONS}/*.xml")
    labels = {}
    for file in files:
        name = file.relative_to(place).with_suffix("").as_posix()
        labels[name] = read_annotation(file, name=name, size_of=size_of)
    return BoxLabels(labels, classes_of(labels.values()), read_lists(root / LISTS), {}, tally(labels))


def read_lists(folder: Path) -> dict[str, tuple[str, ...]]:
    """Every list with its lines as they stand; lists of one class have a second column."""
    files = sorted(folder.glob("*.txt"))
    return {file.stem: tuple(line for line in read_text(file).splitlines() if line.strip()) for file in files}


def read_annotation(path: Path, *, name: str, size_of: SizeOf | None = None) -> dict[str, Any]:
    """The raw label in one file.

    Raises:
        FormatError: see :func:`read_voc`.
    """
    size, things, rest = parse(path)
    found = size if size is not None else size_of(name) if size_of is not None else (0, 0)
    extra = {"filename": PurePosixPath(name).name} | rest
    return {"size": sides(found[0], found[1], f"{str(path)!r}, line 1"), "objects": things, "extra": extra}


def write_voc(folder: str | os.PathLike[str], found: BoxLabels) -> None:
    """Write one annotation for each image, and the lists, below a folder that is made where it is missing.

    Raises:
        FormatError: a name that XML has no characters for.
        StateError: when a file cannot be written.
    """
    root = Path(folder)
    for name, label in found.labels.items():
        file = root / ANNOTATIONS / f"{stem(name)}.xml"
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, annotation(name, label).encode())
    if found.lists:
        (root / LISTS).mkdir(parents=True, exist_ok=True)
    for name, lines in found.lists.items():
        write_whole(root / LISTS / f"{name}.txt", "".join(f"{line}\n" for line in lines).encode())


def annotation(name: str, label: Mapping[str, Any]) -> str:
    """One image's annotation as XML.

    Raises:
        FormatError: a character that XML cannot hold.
    """
    rest = {key: value for key, value in label.get("extra", {}).items() if writable(key, value)}
    size = {"width": label["size"][0], "height": label["size"][1]}
    size |= {"depth": rest.pop("depth")} if "depth" in rest else {}
    things = [_fields(thing) for thing in label["objects"]]
    head = {"filename": PurePosixPath(name).name} | rest
    text = write_element("annotation", {**head, "size": size, "object": things})
    if odd := re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]", text):
        raise FormatError(f"the label of {name!r} holds the character {odd[0]!r}, which XML cannot hold: rename it")
    return text


def _fields(thing: Mapping[str, Any]) -> dict[str, Any]:
    rest = {key: value for key, value in thing.get("extra", {}).items() if writable(key, value)}
    flags = {"difficult": int(bool(thing.get("difficult")))} | ({"crowd": 1} if thing.get("crowd") else {})
    score = {"score": repr(thing["score"])} if thing.get("score") is not None else {}
    bounds = {tag: repr(value) for tag, value in zip(_CORNERS, thing["box"], strict=True)}
    return {"name": thing["class"], **rest, **flags, **score, "bndbox": bounds}
