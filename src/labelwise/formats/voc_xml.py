"""One annotation of PASCAL VOC as XML, read and written."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Any

from labelwise.contracts.record import Head, Record, Seen
from labelwise.errors import FormatError
from labelwise.formats.numbers import corners
from labelwise.formats.scan import ENDINGS
from labelwise.formats.shapes import extent
from labelwise.formats.written import name_of
from labelwise.formats.xml_tree import Element, checked_text, read_xml, write_element

_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_FLAGS = ("crowd", "difficult")
_OBJECT = frozenset({"name", "bndbox", "score", *_FLAGS})
#: how the same thing was said before: 1 is true
_TRUTH = {"": False, "0": False, "1": True, "false": False, "true": True}
#: shapes that XML of VOC has no place for
_SHAPES = frozenset({"polygon", "segmentation", "keypoints", "keypoint_names", "rotated"})
#: pixels that a side may have at most, to be believed
_LARGEST = 2**31


def parse(path: Path) -> tuple[tuple[int, int] | None, list[dict[str, Any]], dict[str, Any]]:
    """Size (None where the file does not say it), objects as raw labels have them, and what else is said.

    Raises:
        FormatError: with file and line: no XML, a declared entity, an object without name or box, a corner that is no
            number, swapped corners.
    """
    shown = repr(str(path))
    root = read_xml(path)
    if root.tag != "annotation":
        raise FormatError(f"{shown} is no VOC annotation: its root is <{root.tag:.40}>, not <annotation>")
    size, depth = _size(root, shown)
    things = [
        _object(element, f"{shown}, line {element.line} (object {row})")
        for row, element in enumerate(root.all("object"), 1)
    ]
    return size, things, _rest(root, frozenset({"object", "size"})) | depth


def _rest(element: Element, own: frozenset[str]) -> dict[str, Any]:
    kept = Element(element.tag, element.line, element.attributes, [c for c in element.children if c.tag not in own])
    found = kept.plain()
    return found if isinstance(found, dict) else {}


def _size(root: Element, shown: str) -> tuple[tuple[int, int] | None, dict[str, Any]]:
    element = _one(root, "size", shown) if root.all("size") else Element("size", root.line)
    depth = {child.tag: child.text for child in element.children if child.tag == "depth"}
    where = f"{shown}, line {element.line}"
    width, height = (_whole(element, side, where) for side in ("width", "height"))
    return ((width, height) if width and height else None), depth  # some tools write 0 x 0


def _whole(element: Element, tag: str, where: str) -> int:
    text = element.all(tag)[0].text if element.all(tag) else "0"
    try:
        value = int(float(text)) if float(text).is_integer() else int(text)
    except (ValueError, OverflowError):
        value = -1
    if not 0 <= value < _LARGEST:
        raise FormatError(f"{where}: {tag} is {text!r:.60}; give a whole number of pixels")
    return value


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


def stem(name: str) -> str:
    """Name of an image without the ending of an image file.

    Example:
        >>> stem("a/b.c.jpg"), stem("a/b.c")
        ('a/b.c', 'a/b.c')
    """
    path = PurePosixPath(name)
    return path.with_suffix("").as_posix() if path.suffix.lower() in ENDINGS else name


def annotation(record: Record, head: Head, left: Counter[str]) -> str:
    """One image's annotation as XML.

    Args:
        record: with boxes.
        head: names of classes that are numbers.
        left: takes what has no place, and how often.

    Raises:
        FormatError: a character that XML cannot hold, or pixels instead of boxes.
    """
    if record.pixels is not None:
        raise FormatError(f"{record.where}: VOC annotations hold boxes, and these labels are pixels; write masks")
    name = record.image or ""
    things = [fields for seen in record.objects if (fields := _fields(seen, record, head, left))]
    rest = {key: value for key, value in record.extra.items() if writable(key, value)}
    if record.state == "untouched":
        rest["answered"] = False
    elif record.state == "skipped":
        rest |= {"skipped": True} | ({"reason": record.reason} if record.reason else {})
    size: dict[str, Any] = {"width": record.size[0], "height": record.size[1]} if record.size else {}
    size |= {"depth": rest.pop("depth")} if "depth" in rest else {}
    fields = {"filename": PurePosixPath(name).name} | rest | ({"size": size} if size else {})
    return checked_text(write_element("annotation", fields | {"object": things}), f"the label of {name!r:.60}")


def _fields(seen: Seen, record: Record, head: Head, left: Counter[str]) -> dict[str, Any]:
    box = extent(seen, str(record.where))
    if box is None:
        left["object(s) without a box left out"] += 1
        return {}
    left["turned box(es) written as the upright box around them"] += bool(seen.box is not None and seen.box.rotation)
    left["outline(s) left out: written as boxes"] += seen.outline is not None
    left["object(s) written without their key points"] += seen.points is not None
    own = {key: value for key, value in seen.attributes.items() if key not in _SHAPES}
    rest = {key: value for key, value in own.items() if writable(key, value)}
    left["attribute(s) of objects left out that XML has no place for"] += len(own) - len(rest)
    flags = {"difficult": int(seen.difficult)} | ({"crowd": 1} if seen.crowd else {})
    score = {"score": repr(seen.score)} if seen.score is not None else {}
    bounds = {tag: _plain(value) for tag, value in zip(_CORNERS, box, strict=True)}
    return {"name": name_of(seen, head, record), **rest, **flags, **score, "bndbox": bounds}


def _plain(value: float) -> str:
    """Whole numbers without a point: what other programs read as ``int``."""
    return str(int(value)) if float(value).is_integer() and abs(value) < 2**53 else repr(value)


def writable(key: str, value: Any) -> bool:
    """Whether XML has a place for it: what other formats keep, polygons for one, stays behind."""
    if isinstance(value, dict):
        return all(writable(k, v) for k, v in value.items())
    if isinstance(value, list):
        return all(not isinstance(one, list) and writable(key, one) for one in value)
    return re.fullmatch(r"@?[^\W\d][\w.:-]*|#text", key) is not None and isinstance(value, str | int | float)
