"""PASCAL VOC: one XML file of boxes for each image, and lists of images in ``ImageSets/Main/*.txt``.

The same annotations come in many layouts: the challenge's (``Annotations``, ``JPEGImages``, ``ImageSets``), CVAT's
(with ``labelmap.txt``, and all frames of a task), labelImg's (XML beside the images) and Roboflow's (XML beside the
images in ``train``, ``valid``, ``test``).

Corners are taken as they stand. (The VOC challenge counted pixels from 1 and included the last one; the tools that
write this format today do not, and a pixel more or less is within what annotators differ by.) Whatever else an
annotation holds, parts of objects among it, is kept and written again.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from labelwise.contracts.format import Format, Hints, Reads, Sniff, Writes, Writing
from labelwise.contracts.record import Box, Head, Record, Seen, Where
from labelwise.contracts.source import Role
from labelwise.errors import DataError, FormatError, StateError
from labelwise.formats.delimited import read_text
from labelwise.formats.files import write_whole
from labelwise.formats.glance import some_files, start_of
from labelwise.formats.marks import COSTS, Told
from labelwise.formats.pictures import check_apart, check_fresh, place_pictures
from labelwise.formats.scan import ENDINGS, scan_folder
from labelwise.formats.set_splits import Splits
from labelwise.formats.splits import WORD_OF, role_of
from labelwise.formats.voc_xml import annotation, parse, stem

ANNOTATIONS, LISTS, PICTURES = "Annotations", "ImageSets/Main", "JPEGImages"
#: folders of annotations and of pictures, in lower case
_FOLDERS = frozenset({"annotations", "annotation", "annots", "xmls", "xml"})
_PICTURES = frozenset({"jpegimages", "images"})
#: what CVAT and Datumaro write beside the annotations of all frames, and what labelwise writes
_LABELMAP, _CLASSES = "labelmap.txt", "classes.txt"
#: folders of masks of the challenge, which belong to no pool
_MASKS = ("SegmentationClass", "SegmentationObject")
_ROOT = re.compile(rb"<annotation[\s>/]")
_COLUMN = re.compile(r"^(.*\S)\s+(?:-1|0|1)$")
_LIST_BYTES = 256_000_000
_SHOWN = 3


@dataclass(frozen=True)
class Voc(Format):
    """PASCAL VOC in every layout that its tools write.

    Images are named by the path of their annotation, without ending: what an annotation says of its own name is often
    a name from before.

    Memory: 0.5 GB for the largest annotation; names of all files stay in memory, annotations stream.
    """

    name: ClassVar[str] = "voc"
    title: ClassVar[str] = "PASCAL VOC: a folder with an XML file of boxes for each image"
    kinds: ClassVar[frozenset[str]] = frozenset({"boxes"})
    reads: ClassVar[frozenset[Reads]] = frozenset({"data", "answers"})
    writes: ClassVar[frozenset[Writes]] = frozenset({"asked", "labelled"})

    def sniff(self, path: Path, use: Reads) -> Sniff:
        """By the root of the first XML files."""
        if not path.is_dir():
            return Sniff(0.0, "no folder")
        files = some_files(path, (".xml",))
        if not files:
            return Sniff(0.0, "no .xml file")
        fits = [file for file in files if _ROOT.search(start_of(file))]
        if not fits:
            return Sniff(0.1, f"{files[0].name!r:.40} is no <annotation>")
        apart = any(part.lower() in _FOLDERS for part in fits[0].relative_to(path).parts[:-1])
        return Sniff(0.95 if apart else 0.9, "XML files of <annotation>", ("boxes",))

    def root(self, path: Path) -> Path:
        """``JPEGImages`` or ``images`` below the folder where there is one, else the folder."""
        return _child(path, _PICTURES) or path

    def read(self, path: Path, use: Reads, hints: Hints) -> tuple[Head, Iterator[Record]]:
        """A record for each annotation; of a data set also for each picture that a list names.

        Raises:
            FormatError: no annotation; while drawing, with file and line: no XML, a declared entity, an object without
                name or box, a corner that is no number, swapped corners.
        """
        if not path.is_dir():
            raise FormatError(f"{str(path)!r:.200} is no folder: give the folder with the .xml files")
        found = _of_pictures(path, hints) if use == "data" else None
        found = found or _of_annotations(path, hints, use)
        head = Head(
            classes=_listed_classes(path),
            root=(hints.root or self.root(path)) if use == "data" else None,
            strangers=_masks(path, self.root(path)) if use == "data" else frozenset(),
            missing=tuple(found.splits.missing),
            says_empty=not (path / _LABELMAP).is_file(),
            notes=tuple(found.splits.notes),
        )
        return head, _records(path, found, use, hints)

    def write(self, path: Path, head: Head, records: Iterable[Record], how: Writing) -> list[str]:
        """``Annotations``, ``JPEGImages`` where pictures are wanted, and for a labelled set its lists and classes.

        Raises:
            FormatError: a name that XML has no characters for, pixels instead of boxes, two images in one place.
            StateError: a file cannot be written, or files of another set are in the way.
        """
        return _write(path, head, list(records), how)


# ---- layouts --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Found:
    """What is to be read.

    Args:
        rows: (annotation below the folder, or "", image, whether that is without ending).
        splits: of the images.
    """

    rows: Sequence[tuple[str, str, bool]]
    splits: Splits


def _child(folder: Path, words: frozenset[str]) -> Path | None:
    """The sub-folder that is called like one of the words, in any case; by the word's order."""
    try:
        with os.scandir(folder) as entries:
            found = {entry.name.lower(): Path(entry.path) for _, entry in zip(range(20_000), entries, strict=False)
                     if entry.name.lower() in words and entry.is_dir()}  # fmt: skip
    except OSError:
        return None
    return next((found[word] for word in sorted(found, reverse=True)), None)


def _key(path: str, words: frozenset[str]) -> str:
    """A path without ending and without the first folder that only says what is in it."""
    parts = list(PurePosixPath(path).with_suffix("").parts)
    place = next((n for n, part in enumerate(parts[:-1]) if part.lower() in words), None)
    if place is not None:
        del parts[place]
    return "/".join(parts)


def _annotations(folder: Path) -> tuple[list[str], list[str]]:
    """XML files that are annotations, by where they lie or what they begin with; and the others."""
    files = scan_folder(folder, (".xml",)).ids
    inside = [file for file in files if any(part.lower() in _FOLDERS for part in file.split("/")[:-1])]
    if inside:
        others = [file for file in files if file not in set(inside)] if len(inside) < len(files) else []
        own = [file for file in others if _ROOT.search(start_of(folder / file))]
        return [*inside, *own], [file for file in others if file not in set(own)]
    own = [file for file in files if _ROOT.search(start_of(folder / file))]
    return own, [file for file in files if file not in set(own)] if len(own) < len(files) else []


def _of_pictures(folder: Path, hints: Hints) -> _Found | None:
    """Pictures with their annotations; None where there are no pictures."""
    root = hints.root or _child(folder, _PICTURES) or folder
    try:
        ids = scan_folder(root).ids
        annotations, others = _annotations(folder)
    except DataError as error:
        raise FormatError(str(error)) from None
    if not ids or not annotations:
        return None
    below = f"{root.name}/" if root.name.lower() in _PICTURES else ""
    of_key: dict[str, str] = {}
    for file in annotations:
        key = _key(file, _FOLDERS)
        if (twin := of_key.setdefault(key, file)) != file:
            raise FormatError(
                f"{str(folder)!r:.100}: {twin!r:.60} and {file!r:.60} annotate the same image; delete one of the two"
            )
    names = {f"{below}{item}": item for item in ids if not _is_mask(f"{below}{item}")}
    keys = {name: _key(name, _PICTURES) for name in names}
    own = {name: of_key[key] for name, key in keys.items() if key in of_key}
    check_apart(own)
    splits = _splits(folder, keys)
    splits.notes += [_others(others)] if others else []
    rows = [(own.get(name, ""), item, False) for name, item in names.items() if name in own or name in splits.words]
    splits.words = {names[name]: word for name, word in splits.words.items()}
    strays = sorted(set(annotations) - set(own.values()))
    rows += [(file, _key(file, _FOLDERS), True) for file in strays]
    return _Found(rows, splits)


def _of_annotations(folder: Path, hints: Hints, use: Reads) -> _Found:
    """Annotations alone: answers, or a set whose pictures lie elsewhere."""
    try:
        annotations, others = _annotations(folder)
    except DataError as error:
        raise FormatError(str(error)) from None
    if not annotations:
        raise FormatError(
            f"{str(folder)!r:.200} holds no .xml file of annotations: give a folder with {ANNOTATIONS}/*.xml"
        )
    keys = {_key(file, _FOLDERS): file for file in annotations}
    splits = _splits(folder, {key: key for key in keys}) if use == "data" else Splits()
    splits.notes += [_others(others)] if others else []
    return _Found([(file, key, True) for key, file in keys.items()], splits)


def _others(files: Sequence[str]) -> str:
    more = ", ..." if len(files) > _SHOWN else ""
    listed = ", ".join(f"{name!r:.50}" for name in files[:_SHOWN])
    return f"{len(files):,} XML file(s) are no <annotation> and were not read: {listed}{more}"


def _is_mask(name: str) -> bool:
    return any(part in _MASKS for part in name.split("/")[:-1])


def _masks(folder: Path, root: Path) -> frozenset[str]:
    """Masks of the challenge below the folder of the pictures, where that is the set as a whole."""
    if root != folder or not any((folder / part).is_dir() for part in _MASKS):
        return frozenset()
    return frozenset(item for item in scan_folder(root).ids if _is_mask(item))


def _listed_classes(folder: Path) -> tuple[str, ...]:
    """Names in order, where a file beside the annotations lists them."""
    if (folder / _LABELMAP).is_file():
        lines = _text(folder / _LABELMAP).splitlines()
        names = [line.partition(":")[0].strip() for line in lines if ":" in line and not line.startswith("#")]
        return tuple(dict.fromkeys(name for name in names if name and name.lower() != "background"))
    if (folder / _CLASSES).is_file():
        return tuple(dict.fromkeys(filter(None, map(str.strip, _text(folder / _CLASSES).splitlines()))))
    return ()


def _text(path: Path) -> str:
    if path.stat().st_size > _LIST_BYTES:
        raise FormatError(f"{str(path)!r} has more than {_LIST_BYTES:,} bytes, which no list has")
    return read_text(path)


# ---- lists ----------------------------------------------------------------------------------------------------------


def _splits(folder: Path, keys: Mapping[str, str]) -> Splits:
    """By the lists of the set, else by folders.

    Args:
        folder: of the set.
        keys: image below the folder -> its name without ending and without the folder of the pictures.
    """
    splits = Splits()
    place = folder / LISTS if (folder / LISTS).is_dir() else folder / "ImageSets"
    files = [file for file in sorted(place.glob("*.txt")) if role_of(file.stem) is not None and file.is_file()]
    if any(file.stem.lower() == "trainval" for file in files):
        # all of trainval is for training: val is a part of it
        files = [file for file in files if role_of(file.stem) != "validation"]
    of_key = {key: name for name, key in keys.items()}
    sets: dict[str, set[str]] = {}
    for file in files:
        lines = [line.strip() for line in _text(file).splitlines() if line.strip()]
        members = _members(lines, of_key)
        sets[file.stem] = {of_key[member] for member in members if member is not None}
        shown = file.relative_to(folder).as_posix()
        splits.missing += [f"{line} ({shown})" for line, one in zip(lines, members, strict=True) if one is None]
    splits.decide(sets, list(keys))
    return splits


def _members(lines: Sequence[str], known: Mapping[str, str]) -> list[str | None]:
    """The image that each line of a list names; lists of one class have a second column with 1, 0 or -1.

    A name may have blanks and end in a number, so the whole list decides whether it has that column.
    """
    by_name: dict[str, str | None] = {}
    for key in known:
        base = key.rpartition("/")[2]
        by_name[base] = key if base not in by_name else None

    def find(name: str) -> str | None:
        path = name.replace("\\", "/").removeprefix("./")
        stem = path[: path.rfind(".")] if PurePosixPath(path).suffix.lower() in ENDINGS else path
        return next((one for one in (path, stem) if one in known), by_name.get(stem))

    whole = [find(line) for line in lines]
    if None not in whole:
        return whole
    columns = [_COLUMN.match(line) for line in lines]
    bare = [find(column[1]) if column else None for column in columns]
    if None not in bare:
        return bare
    return [one if one is not None else other for one, other in zip(whole, bare, strict=True)]


# ---- reading --------------------------------------------------------------------------------------------------------


def _records(folder: Path, found: _Found, use: Reads, hints: Hints) -> Iterator[Record]:
    for done, (file, image, bare) in enumerate(found.rows, 1):
        word = found.splits.words.get(image)
        if not file:
            yield Record(Where(os.path.join(folder, image)), image, split=word, state="untouched")  # noqa: PTH118
            continue
        yield _record(folder / file, image, bare, word, use)
        if done % 1000 == 0:
            hints.progress("reading annotations", done, len(found.rows))


def _record(path: Path, image: str, bare: bool, word: str | None, use: Reads) -> Record:
    size, things, rest = parse(path)
    if PurePosixPath(str(rest.get("filename", ""))).stem == path.stem:
        del rest["filename"]  # written again as the image is called
    told = Told.of(_with_numbers(rest), use, repr(str(path)))
    objects = tuple(
        Seen(
            thing["class"],
            Box(*thing["box"]),
            score=thing.get("score"),
            crowd=bool(thing.get("crowd")),
            difficult=bool(thing.get("difficult")),
            attributes=thing.get("extra", {}),
        )
        for thing in things
    )
    return Record(
        Where(str(path), "line"),
        image,
        bare=bare,
        size=size,
        objects=objects,
        state=told.state or ("answered" if objects else "empty"),
        split=word,
        seconds=told.seconds,
        cost=told.cost,
        reason=told.reason,
        extra=told.extra,
    )


def _with_numbers(rest: Mapping[str, Any]) -> Mapping[str, Any]:
    """Costs are numbers, which XML writes as text."""
    found = dict(rest)
    for key in COSTS:
        try:
            found[key] = float(found[key])
        except (KeyError, ValueError, TypeError, OverflowError):
            continue
    return found


# ---- writing --------------------------------------------------------------------------------------------------------


def _write(folder: Path, head: Head, records: Sequence[Record], how: Writing) -> list[str]:
    names = [_name(record) for record in records]
    files = {name: f"{ANNOTATIONS}/{stem(name)}.xml" for name in names}
    places = {name: f"{PICTURES}/{name}" for name in names}
    check_apart(files)
    left: Counter[str] = Counter()
    labelled = how.use == "labelled"
    texts = {_name(record): annotation(record, head, left) for record in records}  # before anything is written
    lists = _lists(records) if labelled else {}
    if labelled:
        own = [f"{LISTS}/{word}.txt" for word in lists]
        check_fresh(folder, (ANNOTATIONS, PICTURES, "ImageSets"), [*files.values(), *places.values(), *own])
    placed = place_pictures(folder, places, how) if labelled or how.images != "list" else None
    for name, text in texts.items():
        _put(folder / files[name], text)
    for word, members in lists.items():
        _put(folder / LISTS / f"{word}.txt", "".join(f"{member}\n" for member in members))
    if labelled:
        _put(folder / _CLASSES, "".join(f"{name}\n" for name in head.classes))
        if how.images == "list" and placed is not None:
            _put(folder / "images.txt", "".join(f"{path}\n" for path in placed.paths.values()))
    notes = placed.notes if placed is not None else ()
    return [*notes, *(f"{count:,} {what}" for what, count in left.items() if count)]


def _name(record: Record) -> str:
    if record.image is None:
        raise FormatError(f"{record.where}: an image without name has no place in a VOC set")
    return record.image


def _lists(records: Sequence[Record]) -> dict[str, list[str]]:
    """Word for a split -> images without ending."""
    lists: dict[str, list[str]] = {}
    for record in records:
        role: Role | None = role_of(record.split) if record.split else "pool"
        if role is None:
            raise FormatError(f"{record.where}: {record.split!r:.40} is no split: say train, val or test")
        lists.setdefault(WORD_OF[role], []).append(stem(_name(record)))
    return lists


def _put(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StateError(f"cannot make the folder {str(path.parent)!r:.150}: {error.strerror}") from None
    write_whole(path, text.encode("utf-8", "surrogateescape"))
