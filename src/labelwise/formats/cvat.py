"""CVAT for images 1.1: one XML file of a job, a task or a project."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from html import unescape
from pathlib import Path
from typing import Any, ClassVar, Literal

from labelwise.contracts.format import Format, Hints, Reads, Sniff, Writes, Writing
from labelwise.contracts.record import Head, Record, Seen, State, Where
from labelwise.errors import FormatError
from labelwise.formats import cvat_write
from labelwise.formats.class_colours import Colour, colour_of, in_order
from labelwise.formats.cvat_shapes import seen_of
from labelwise.formats.fitting import fitted, lines
from labelwise.formats.glance import start_of
from labelwise.formats.key_points import as_subjects
from labelwise.formats.numbers import sides
from labelwise.formats.xml_tree import Element, stream_xml

#: bytes that are looked at before a file is read: the labels of large projects come before the first image
_HEAD = 1 << 20
_ROOT = re.compile(rb"<annotations\b")
_KINDS: Mapping[bytes, tuple[str, ...]] = {
    b"<mask ": ("masks", "boxes"),
    b"<box ": ("boxes",),
    b"<polygon ": ("boxes", "masks"),
    b"<skeleton ": ("points",),
    b"<points ": ("points",),
    b"<tag ": ("classes",),
}
_READ = frozenset({"name", "width", "height", "subset"})


@dataclass(frozen=True)
class Cvat(Format):
    """Reads what CVAT exports and writes what it imports.

    CVAT lists all frames, opened or not, so that a frame without shapes may be empty or untouched: the file cannot
    tell. Frames that hold nothing but what a model drew (``source="auto"``) and nobody changed are not answered either.

    Memory: about ten times the file, of masks only their run lengths; a mask a byte a pixel while it is read.

    Args:
        auto: what frames are where a model drew everything; ``answered`` takes its shapes as labels.
    """

    name: ClassVar[str] = "cvat"
    title: ClassVar[str] = "CVAT for images 1.1, one XML file"
    kinds: ClassVar[frozenset[str]] = frozenset({"boxes", "classes", "masks", "points", "tags"})
    reads: ClassVar[frozenset[Reads]] = frozenset({"data", "answers"})
    writes: ClassVar[frozenset[Writes]] = frozenset({"asked", "labelled"})
    ending: ClassVar[str] = ".xml"

    auto: Literal["untouched", "answered"] = "untouched"

    def sniff(self, path: Path, use: Reads) -> Sniff:
        """By the root ``<annotations>`` and what is in it; a folder by its ``annotations.xml``."""
        file = _file(path)
        head = start_of(file, _HEAD)
        if not _ROOT.search(head[:1000]):
            return Sniff(0.0, "no XML whose root is <annotations>")
        if b"<image " not in head and b"<track " in head:
            return Sniff(0.6, "CVAT for video 1.1")
        seen = [kind for word, kinds in _KINDS.items() if word in head for kind in kinds]
        if len(head) == _HEAD:
            seen += ["boxes", "masks", "points", "classes"]
        return Sniff(0.97 if b"<image " in head else 0.8, "<annotations> of CVAT", tuple(dict.fromkeys(seen)))

    def root(self, path: Path) -> Path:
        """``images`` beside the file where there is one, else the folder of the file."""
        folder = path if path.is_dir() else path.parent
        return folder / "images" if (folder / "images").is_dir() else folder

    def read(self, path: Path, use: Reads, hints: Hints) -> tuple[Head, Iterator[Record]]:
        """All frames of a file; everything is read before the first is given.

        Raises:
            FormatError: no such file, one for video, or a shape that breaks its form; with file and line.
        """
        file = _file(path)
        shown = os.fspath(file)
        counts: Counter[str] = Counter()
        records: list[Record] = []
        labels = _Labels()
        accepts = use == "data" or self.auto == "answered"
        for element in stream_xml(file):
            match element.tag:
                case "annotations":
                    continue
                case "meta":
                    labels = _Labels.of(element)
                case "image":
                    record = _record(element, Where(shown, "image", len(records) + 1), counts)
                    records.append(_state(record, labels.use, accepts, counts))
                case "track":
                    raise FormatError(
                        f"{shown!r}, line {element.line}: this is 'CVAT for video 1.1', whose frames have no names: "
                        "export 'CVAT for images 1.1'"
                    )
                case _ if not records and element.tag not in ("version", "dumped"):
                    raise FormatError(
                        f"{shown!r}, line {element.line}: <{element.tag[:40]}> is nothing that CVAT writes"
                    )
        found = fitted(as_subjects(records, hints, counts, labels.skeleton), hints.kind, counts)
        head = Head(
            classes=labels.classes,
            skeleton=labels.skeleton,
            says_empty=labels.use == "labelled",
            overlap="last",
            palette=in_order(labels.colours, labels.classes),
            notes=lines(counts),
        )
        return head, iter(found)

    def write(self, path: Path, head: Head, records: Iterable[Record], how: Writing) -> list[str]:
        """One file that CVAT imports as "CVAT 1.1" into a task of the same pictures.

        What a model guessed is marked ``source="auto"``, which CVAT keeps until somebody changes it.

        Raises:
            FormatError: a number that is not finite, a character that XML cannot hold, or fractions of a picture whose
                size is not known.
            StateError: the file cannot be written.
        """
        return cvat_write.write(path, head, records, how)


def _file(path: Path) -> Path:
    return path / "annotations.xml" if path.is_dir() else path


@dataclass(frozen=True)
class _Labels:
    """What ``<meta>`` says.

    Args:
        classes: names of the labels, those of skeletons' points left out.
        skeleton: names of the points of the one skeleton, and pairs of their positions.
        use: what the file was written for, where labelwise wrote it.
        colours: of the labels.
    """

    classes: tuple[str, ...] = ()
    skeleton: tuple[tuple[str, ...], tuple[tuple[int, int], ...]] | None = None
    use: str = ""
    colours: Mapping[str, Colour | None] = field(default_factory=dict)

    @classmethod
    def of(cls, meta: Element) -> _Labels:
        """Reads the element."""
        found = [label for part in meta.children for listed in part.all("labels") for label in listed.all("label")]
        named = [(_text(label, "name"), _text(label, "parent"), label) for label in found]
        classes = dict.fromkeys(name for name, parent, _ in named if name and not parent)
        bones = [(name, label) for name, parent, label in named if _text(label, "type") == "skeleton"]
        use = next((_text(own, "use") for own in meta.all("labelwise")), "")
        skeleton = None
        if len(bones) == 1:
            points = tuple(name for name, parent, _ in named if parent == bones[0][0])
            skeleton = (points, _pairs(_text(bones[0][1], "svg"), points))
        colours = {name: colour_of(_text(label, "color")) for name, parent, label in named if name and not parent}
        return cls(tuple(classes), skeleton, use, colours)


def _text(element: Element, tag: str) -> str:
    return next((child.text for child in element.all(tag)), "")


_LINE = re.compile(r"<line\b[^<>]{0,2000}>")
_CIRCLE = re.compile(r"<circle\b[^<>]{0,2000}>")


def _pairs(svg: str, names: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
    """Positions of the points that lines of a drawing connect."""
    place: dict[str, int] = {}
    for circle in _CIRCLE.findall(svg[:200_000]):
        node, label = _quoted(circle, "data-node-id"), unescape(_quoted(circle, "data-label-name"))
        if label in names:
            place[node] = names.index(label)
    ends = [(_quoted(line, "data-node-from"), _quoted(line, "data-node-to")) for line in _LINE.findall(svg[:200_000])]
    return tuple((place[a], place[b]) for a, b in ends if a in place and b in place)


def _quoted(text: str, name: str) -> str:
    found = re.search(rf'{name}="([^"]*)"', text)
    return found[1] if found else ""


def _record(element: Element, where: Where, counts: Counter[str]) -> Record:
    told = element.attributes
    name = told.get("name", "")
    if not name:
        raise FormatError(f"{where} (line {element.line}): it has no name; give the path of the picture")
    size = _size(told, f"{where} ({name!r:.80})")
    found = [seen_of(child, size, f"{where} ({name!r:.80})", counts) for child in _by_layer(element.children)]
    objects = tuple(one for one in found if one is not None)
    unread = bool(found) and not objects
    counts["{n} image(s) hold nothing but shapes that are left out: taken as not answered"] += unread
    return Record(
        where=where,
        image=name.replace("\\", "/"),
        size=size,
        objects=objects,
        state="answered" if objects else "untouched" if unread else "empty",
        split=told.get("subset") or None,
        extra={key: value for key, value in told.items() if key not in _READ},
    )


def _size(told: Mapping[str, str], where: str) -> tuple[int, int] | None:
    texts = [told.get(name, "") for name in ("width", "height")]
    if not any(texts):
        return None
    values: list[Any] = [int(text) if text.isdecimal() and len(text) < 10 else text for text in texts]
    width, height = sides(values[0], values[1], where)
    return width, height


def _by_layer(elements: list[Element]) -> list[Element]:
    """In the order of their layers: what lies above comes later."""

    def layer(element: Element) -> int:
        text = element.attributes.get("z_order", "0")
        return int(text) if re.fullmatch(r"-?\d{1,9}", text) else 0

    return sorted(elements, key=layer) if any("z_order" in one.attributes for one in elements) else elements


def _state(record: Record, written_for: str, accepts: bool, counts: Counter[str]) -> Record:
    state: State = record.state
    if written_for == "asked":
        state = "untouched"
    elif record.objects and all(map(_is_guess, record.objects)) and not accepts:
        counts[
            "{n} image(s) hold only what a model drew (source auto) and nobody changed: taken as not answered "
            "(--format cvat:auto=answered takes them as labels)"
        ] += 1
        state = "untouched"
    return replace(record, state=state)


def _is_guess(seen: Seen) -> bool:
    return seen.origin == "accepted"
