"""Lists with a line ``path number`` for each image, as ImageNet-LT, Caffe and mmpretrain have them."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import ClassVar

from labelwise.contracts.format import Format, Hints, Reads, Sniff
from labelwise.contracts.record import Head, Record, Seen, Where
from labelwise.errors import DataError, FormatError
from labelwise.formats.columns import is_picture
from labelwise.formats.delimited import look_into
from labelwise.formats.quick_records import quick_record, quick_where
from labelwise.formats.scan import scan_folder
from labelwise.formats.several import together

#: folders of classes to test on, beside those that a list names
_TESTED = ("val", "validation", "test")
_SAMPLE = 50
#: from this share of lines on that agree with their folders, the others are faults
_MOST = 0.9


@dataclass(frozen=True)
class ImageList(Format):
    """A line for each image: its path, white space, and the number of its class, or the numbers of all of them.

    Where each number goes with one folder, the folders are the classes. Then images in a folder of classes ``val`` (or
    ``validation``, ``test``) below the root that the list does not name are those to test on. Other lists have numbers
    only, and the user says which is which. Numbers of several classes stand behind one another, with white space or
    commas between; a line without a number is an image that has none of the classes.

    Memory: the lines, about 300 bytes each.
    """

    name: ClassVar[str] = "image_list"
    title: ClassVar[str] = "list of lines 'path number' (ImageNet-LT, Caffe, mmpretrain)"
    kinds: ClassVar[frozenset[str]] = frozenset({"classes", "tags"})
    reads: ClassVar[frozenset[Reads]] = frozenset({"data"})

    def sniff(self, path: Path, use: Reads) -> Sniff:
        """By the first lines."""
        if not path.is_file() or path.suffix.lower() not in (".txt", ".lst", ".list", ""):
            return Sniff(0.0, "no text file")
        try:
            sheet = look_into(path)
        except FormatError:
            return Sniff(0.0, "no text")
        rows = [line for line in islice(sheet.head.splitlines(), _SAMPLE) if line.strip()]
        found = [_several(line) for line in rows]
        if any(len(numbers) > 1 for _, numbers in found) and all(is_picture(name) for name, _ in found):
            return Sniff(0.9, "lines of a path and numbers", ("tags",))
        lines = [_parts(line) for line in rows]
        if not lines or None in lines:
            return Sniff(0.0, "its lines are not 'path number'")
        if sum(is_picture(line[0]) for line in lines if line) < len(lines) / 2:
            return Sniff(0.2, "its lines name no images")
        return Sniff(0.9, "lines of a path and a number", ("classes", "tags"))

    def read(self, path: Path, use: Reads, hints: Hints) -> tuple[Head, Iterator[Record]]:
        """A record for each line, then one for each image to test on.

        Raises:
            FormatError: a line that is none, a path twice, one that leaves the root, or a few numbers that disagree
                with the folders of their images; with the line.
        """
        shown, root = repr(str(path)), hints.root or self.root(path)
        if hints.kind == "tags":
            return _with_several(path, shown, root, hints)
        lines = _lines(path, shown)
        numbers = {} if hints.names else _numbers(lines, shown)
        held = _held(root, lines, shown) if numbers else []
        classes = tuple(numbers.values()) or (
            () if hints.names else _classes_beside(path, max(line.label for line in lines))
        )
        notes = (f"{shown}: numbers of classes are read by classes.txt beside it",) if classes and not numbers else ()
        return Head(classes, numbers, root=root, notes=notes), _records(str(path), lines, held)


#: numbers behind the name of a picture, with commas or white space before each
_NUMBERS = re.compile(r"(?:[\s,]+\d{1,9})+$", re.ASCII)


def _several(line: str) -> tuple[str, list[int]]:
    """The path of a line, and all numbers behind it.

    Example:
        >>> _several("a b.jpg 3 17"), _several("img 2.png"), _several("a.jpg 4,5")
        (('a b.jpg', [3, 17]), ('img 2.png', []), ('a.jpg', [4, 5]))
    """
    plain = line.strip()
    found = _NUMBERS.search(plain)
    return (plain, []) if found is None else (plain[: found.start()], [*map(int, re.findall(r"\d+", found[0]))])


def _with_several(path: Path, shown: str, root: Path, hints: Hints) -> tuple[Head, Iterator[Record]]:
    """The lines as images of any number of classes."""
    records, most = [], -1
    with closing(look_into(path).lines()) as rows:
        for row, line in enumerate(rows, 1):
            if not line.strip():
                continue
            name, numbers = _several(line)
            if not is_picture(name):
                raise FormatError(f"{shown}, line {row}: {line.strip()!r:.60} is not 'relative/path number number ...'")
            most = max([most, *numbers])
            objects = tuple(map(Seen, numbers))
            where = quick_where(str(path), "line", row)
            records.append(quick_record(where, name, False, objects, "answered" if numbers else "empty", *3 * [None]))
    if not records:
        raise FormatError(f"{shown} lists no image: it needs one line per image")
    classes = () if hints.names else _classes_beside(path, most)
    notes = (f"{shown}: numbers of classes are read by classes.txt beside it",) if classes else ()
    found, more = together(records, shown)
    return Head(classes, root=root, notes=(*notes, *more)), iter(found)


@dataclass(frozen=True, slots=True)
class _Line:
    row: int
    path: str
    label: int

    @property
    def folder(self) -> str:
        return self.path.rpartition("/")[0].rpartition("/")[2]


def _parts(line: str) -> tuple[str, int] | None:
    """Path and number of a line; None for another one."""
    parts = line.rsplit(None, 1)
    if len(parts) < 2 or not (parts[1].isdecimal() and parts[1].isascii() and len(parts[1]) < 10):
        return None
    return parts[0].strip(), int(parts[1])


def _lines(path: Path, shown: str) -> list[_Line]:
    found: dict[str, _Line] = {}
    with closing(look_into(path).lines()) as rows:
        for row, line in enumerate(rows, 1):
            if not line.strip():
                continue
            parts = _parts(line)
            if parts is None:
                raise FormatError(f"{shown}, line {row}: {line.strip()!r:.60} is not 'relative/path number'")
            known = found.setdefault(parts[0], _Line(row, *parts))
            if known.label != parts[1]:
                raise FormatError(
                    f"{shown}, line {row}: {parts[0]!r:.80} has number {parts[1]}, and {known.label} in line "
                    f"{known.row}; keep one"
                )
    if not found:
        raise FormatError(f"{shown} lists no image: it needs one line per image")
    return list(found.values())


def _classes_beside(path: Path, most: int) -> tuple[str, ...]:
    """Names in a file classes.txt beside the list, one a line, as many as the numbers need; else none."""
    beside = path.with_name("classes.txt")
    if not beside.is_file() or beside == path:
        return ()
    names = tuple(line.strip() for line in look_into(beside).lines() if line.strip())
    return names if len(set(names)) == len(names) > most else ()


def _numbers(lines: Sequence[_Line], shown: str) -> dict[int, str]:
    """Number -> folder, where each goes with one; {} where folders are no classes.

    Raises:
        FormatError: nearly all lines agree, and some do not.
    """
    of_number: defaultdict[int, Counter[str]] = defaultdict(Counter)
    of_folder: defaultdict[str, Counter[int]] = defaultdict(Counter)
    for line in lines:
        of_number[line.label][line.folder] += 1
        of_folder[line.folder][line.label] += 1
    names = {number: folders.most_common(1)[0][0] for number, folders in sorted(of_number.items())}
    labels = {folder: numbers.most_common(1)[0][0] for folder, numbers in of_folder.items()}
    odd = [line for line in lines if names[line.label] != line.folder or labels[line.folder] != line.label]
    if "" in labels or len(labels) < 2:
        return {}
    if odd and len(odd) <= (1 - _MOST) * len(lines):
        line = odd[0]
        raise FormatError(
            f"{shown}, line {line.row}: {line.path!r:.80} has number {line.label}, but its folder {line.folder!r:.40} "
            f"is class {labels[line.folder]} elsewhere ({len(odd):,} such line(s)): correct the list"
        )
    return {} if odd else names


def _held(root: Path, lines: Sequence[_Line], shown: str) -> list[str]:
    """Images to test on: those in a folder of classes that the list does not name."""
    first = lines[0].path.split("/")
    top = first[0] if len(first) > 2 else ""
    tested = next((name for name in _TESTED if name != top and (root / name).is_dir()), None)
    if tested is None:
        return []
    try:
        held = [f"{tested}/{item}" for item in scan_folder(root / tested).ids if "/" in item]
    except DataError as error:
        raise FormatError(f"{shown}: {error}") from None
    if doubled := {line.path for line in lines} & set(held):
        raise FormatError(f"{shown} lists {min(doubled)!r:.80}, which is a test image: leave it out")
    return held


def _records(file: str, lines: Sequence[_Line], held: Sequence[str]) -> Iterator[Record]:
    seen: Mapping[int, tuple[Seen, ...]] = {label: (Seen(label),) for label in {line.label for line in lines}}
    for line in lines:
        where = quick_where(file, "line", line.row)
        bare = not is_picture(line.path)
        yield quick_record(where, line.path, bare, seen[line.label], "answered", None, None, None)
    for item in held:
        yield Record(Where(item, "image"), item, objects=(Seen(item.split("/")[-2]),), split="test")
