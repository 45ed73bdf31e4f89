"""PASCAL VOC: a folder with ``Annotations/*.xml`` and lists of images in ``ImageSets/Main/*.txt``.

Corners are taken as they stand. (The VOC challenge counted pixels from 1 and included the last one; the tools that
write this format today do not, and a pixel more or less is within what annotators differ by.) Whatever else an
annotation holds, parts of objects among it, is kept and written again.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from labelwise.errors import FormatError
from labelwise.formats.boxes import BoxLabels, classes_of, corners, sides, tally
from labelwise.formats.delimited import read_text
from labelwise.formats.files import write_whole
from labelwise.formats.scan import ENDINGS
from labelwise.formats.xml_tree import Element, read_xml, write_element

ANNOTATIONS, LISTS = "Annotations", "ImageSets/Main"
#: name of an image -> (width, height)
SizeOf = Callable[[str], tuple[int, int]]

_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_FLAGS = ("crowd", "difficult")
_OBJECT = frozenset({"name", "bndbox", "score", *_FLAGS})
#: how the same thing was said before: 1 is true
_TRUTH = {"": False, "0": False, "1": True, "false": False, "true": True}


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
    shown = repr(str(path))
    root = read_xml(path)
    if root.tag != "annotation":
        raise FormatError(f"{shown} is no VOC annotation: its root is <{root.tag}>, not <annotation>")
    size, depth = _size(root, shown, name, size_of)
    things = [
        _object(element, f"{shown}, line {element.line} (object {row})")
        for row, element in enumerate(root.all("object"), 1)
    ]
    rest = {"filename": PurePosixPath(name).name} | _rest(root, frozenset({"object", "size"})) | depth
    return {"size": size, "objects": things, "extra": rest}


def _rest(element: Element, own: frozenset[str]) -> dict[str, Any]:
    kept = Element(element.tag, element.line, element.attributes, [c for c in element.children if c.tag not in own])
    found = kept.plain()
    return found if isinstance(found, dict) else {}


def _size(root: Element, shown: str, name: str, size_of: SizeOf | None) -> tuple[list[int], dict[str, Any]]:
    element = _one(root, "size", shown) if root.all("size") else Element("size", root.line)
    depth = {child.tag: child.text for child in element.children if child.tag == "depth"}
    where = f"{shown}, line {element.line}"
    values = [_whole(element, side, where) for side in ("width", "height")]
    if not all(values) and size_of is not None:  # some tools write 0 x 0
        values = list(size_of(name))
    return sides(values[0], values[1], where), depth


def _whole(element: Element, tag: str, where: str) -> int:
    text = element.all(tag)[0].text if element.all(tag) else "0"
    try:
        return int(float(text)) if float(text).is_integer() else int(text)
    except (ValueError, OverflowError):
        raise FormatError(f"{where}: {tag} is {text!r:.60}; give a whole number of pixels") from None


def _object(element: Element, where: str) -> dict[str, Any]:
    name = _one(element, "name", where).text
    if not name:
        raise FormatError(f"{where}: its <name> is empty; say which class it is")
    bounds = _one(element, "bndbox", where)
    box = corners([_coordinate(_one(bounds, tag, where), where) for tag in _CORNERS], where)
    thing: dict[str, Any] = {"class": name, "box": box}
    for flag in _FLAGS:
        text = element.all(flag)[0].text.lower() if element.all(flag) else ""
        if text not in _TRUTH:
            raise FormatError(f"{where}: <{flag}> is {text!r:.60}; write 0 or 1")
        if _TRUTH[text]:
            thing[flag] = True
    if element.all("score"):
        thing["score"] = _coordinate(_one(element, "score", where), where)
    rest = _rest(element, _OBJECT)
    return thing | ({"extra": rest} if rest else {})


def _one(element: Element, tag: str, where: str) -> Element:
    found = element.all(tag)
    if len(found) != 1:
        raise FormatError(f"{where}: <{element.tag}> has {len(found)} elements <{tag}>; it needs exactly one")
    return found[0]


def _coordinate(element: Element, where: str) -> float:
    text = element.text
    try:
        return int(text) if re.fullmatch(r"[+-]?\d{1,15}", text) else float(text)
    except ValueError:
        raise FormatError(f"{where}: <{element.tag}> is {text!r:.60}; give a number of pixels") from None


# ---- writing --------------------------------------------------------------------------------------------------------


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


def stem(name: str) -> str:
    """Name of an image without the ending of an image file.

    Example:
        >>> stem("a/b.c.jpg"), stem("a/b.c")
        ('a/b.c', 'a/b.c')
    """
    path = PurePosixPath(name)
    return path.with_suffix("").as_posix() if path.suffix.lower() in ENDINGS else name


def annotation(name: str, label: Mapping[str, Any]) -> str:
    """One image's annotation as XML.

    Raises:
        FormatError: a character that XML cannot hold.
    """
    rest = {key: value for key, value in label.get("extra", {}).items() if _writable(key, value)}
    size = {"width": label["size"][0], "height": label["size"][1]}
    size |= {"depth": rest.pop("depth")} if "depth" in rest else {}
    things = [_fields(thing) for thing in label["objects"]]
    head = {"filename": PurePosixPath(name).name} | rest
    text = write_element("annotation", {**head, "size": size, "object": things})
    if odd := re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]", text):
        raise FormatError(f"the label of {name!r} holds the character {odd[0]!r}, which XML cannot hold: rename it")
    return text


def _fields(thing: Mapping[str, Any]) -> dict[str, Any]:
    rest = {key: value for key, value in thing.get("extra", {}).items() if _writable(key, value)}
    flags = {"difficult": int(bool(thing.get("difficult")))} | ({"crowd": 1} if thing.get("crowd") else {})
    score = {"score": repr(thing["score"])} if thing.get("score") is not None else {}
    bounds = {tag: repr(value) for tag, value in zip(_CORNERS, thing["box"], strict=True)}
    return {"name": thing["class"], **rest, **flags, **score, "bndbox": bounds}


def _writable(key: str, value: Any) -> bool:
    """Whether XML has a place for it: what other formats keep, polygons for one, stays behind."""
    if isinstance(value, dict):
        return all(_writable(k, v) for k, v in value.items())
    if isinstance(value, list):
        return all(not isinstance(one, list) and _writable(key, one) for one in value)
    return re.fullmatch(r"@?[^\W\d][\w.:-]*|#text", key) is not None and isinstance(value, str | int | float)
