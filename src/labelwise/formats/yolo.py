"""YOLO txt: one text file of objects for each image, class list in ``data.yaml``, ``classes.txt`` or ``obj.names``.

A line is ``class x y width height`` (centre and sides as fractions of the image's sides), a polygon, or a box with key
points; see :mod:`labelwise.formats.yolo_lines` for what its numbers mean, and :mod:`labelwise.formats.yolo_layout` for
where files lie. An empty file is an image without any object; no file, one that nobody has labelled.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from labelwise.contracts.format import Format, Hints, Reads, Sniff, Writes, Writing
from labelwise.contracts.record import Head, Record, Where
from labelwise.errors import DataError, FormatError
from labelwise.formats.delimited import read_text
from labelwise.formats.glance import some_files, start_of
from labelwise.formats.pictures import check_apart
from labelwise.formats.scan import ENDINGS, scan_folder
from labelwise.formats.splits import role_of
from labelwise.formats.yolo_layout import (
    CLASS_FILES,
    YAMLS,
    YoloSet,
    beside,
    check_points,
    image_of,
    label_path,
    open_set,
    pictures_of,
    read_settings,
    splits_of,
)
from labelwise.formats.yolo_lines import Line, Reading, Survey, read_object
from labelwise.formats.yolo_writing import write_asked, write_labelled

#: bytes of one file of labels: a picture has some thousand objects, or corners
MOST_BYTES = 8_000_000
#: names that a message lists
_SHOWN = 3
_TEXTS = (".txt",)
#: texts that people put beside labels, and that are none
_NO_LABELS = ("readme", "license", "licence", "requirements", "notes", "note", "changelog")


@dataclass(frozen=True)
class Yolo(Format):
    """YOLO txt in every layout that its tools write: Ultralytics, Roboflow, darknet, CVAT, labelImg, bare folders.

    Classes are numbers; ``Head.classes`` are the names of the set's own list, where it has one. What the numbers of a
    line mean is decided for the set as a whole and said; where it cannot be decided the set is refused.

    Memory: 200 MB for settings and class lists, 500 MB for the largest file of labels; lists of pictures and the names
    of all files stay in memory, labels stream.
    """

    name: ClassVar[str] = "yolo"
    title: ClassVar[str] = "YOLO txt: a folder with a text of boxes, polygons or key points for each image"
    kinds: ClassVar[frozenset[str]] = frozenset({"boxes", "points", "masks"})
    reads: ClassVar[frozenset[Reads]] = frozenset({"data", "answers", "predictions"})
    writes: ClassVar[frozenset[Writes]] = frozenset({"asked", "labelled"})

    def sniff(self, path: Path, use: Reads) -> Sniff:
        """By a class list, and by what the first lines of some texts look like."""
        if not path.is_dir():
            return _sniff_file(path, use)
        found = _glance(path)
        if not found.lines and not found.empty:
            if found.told and use != "predictions":
                return Sniff(0.5, "a class list of YOLO, and no file of labels yet", found.kinds)
            if found.listed and (text := next(iter(some_files(path / "labels", _TEXTS, 1)), None)):
                return Sniff(
                    0.15, f"{text.name!r:.40} is no file of labels: lines need a number and fractions, by blanks"
                )
            return Sniff(0.0, "no .txt file of numbers")
        if use == "predictions" and found.lines and not found.behind:
            return Sniff(0.5, "lines of labels, without a confidence", found.kinds)
        if not found.lines:
            return Sniff(0.6 if found.listed else 0.3, "empty files of labels", found.kinds)
        if found.listed:
            return Sniff(0.9, "a class list, and lines of a class number and fractions", found.kinds)
        return Sniff(0.65, "lines of a class number and fractions; no class list", found.kinds)

    def root(self, path: Path) -> Path:
        """``images`` below the folder where there is one, else the folder; or where ``path`` of data.yaml leads."""
        try:
            return pictures_of(open_set(path, named=True, follow=True).folder)
        except FormatError:
            return pictures_of(path if path.is_dir() else path.parent)

    def read(self, path: Path, use: Reads, hints: Hints) -> tuple[Head, Iterator[Record]]:
        """A record for each file of labels; of a data set also for each picture that a split names.

        Raises:
            FormatError: broken settings, class lists that differ, no file of labels, lines that can be read in more
                than one way; while drawing, a broken line, with file and line.
        """
        found = open_set(path, named=hints.names is not None, follow=use == "data" and hints.root is None)
        if hints.kind == "points":
            check_points(found)
        known = found.classes if hints.names is None else ()
        gathered = _of_pictures(found, hints) if use == "data" else None
        if gathered is None:
            gathered = _of_texts(found, hints, use)
        reading = _surveyed(found, gathered.texts, hints, use)
        notes = [*gathered.notes, *([reading.note] if reading.note else [])]
        if gathered.others:
            notes.append(_listed("text file(s) are no labels and were not read", gathered.others))
        head = Head(
            classes=known,
            root=gathered.root,
            missing=tuple(gathered.missing),
            says_empty=use == "predictions" or not found.lists_all,
            omits_empty=use == "predictions",
            skeleton=(found.points, ()) if found.points else None,
            notes=tuple(notes),
            extra={key: value for key, value in found.settings.items() if key not in ("names", "nc")},
        )
        return head, _records(gathered, reading, len(known) or None, found.points, hints)

    def write(self, path: Path, head: Head, records: Iterable[Record], how: Writing) -> list[str]:
        """A set that Ultralytics trains on as it is, or a folder for people to label in.

        ``labelled``: ``images/train``, ``labels/train``, ... and ``data.yaml``. ``asked``: ``labels`` for the answers,
        empty; ``suggested`` with what the model would draw; ``images.txt`` with the paths of the images, in the order
        of the ranking; ``data.yaml`` with the classes.

        Raises:
            FormatError: an unknown class, two images that would share a file, pixels instead of shapes.
            StateError: a file cannot be written, or files of another set are in the way.
        """
        return (write_asked if how.use == "asked" else write_labelled)(path, head, list(records), how)


# ---- recognising ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Glance:
    """What a few files of a folder look like.

    Args:
        lines: there are lines of labels.
        empty: there are empty files where labels stand.
        behind: some lines have numbers behind a box.
        listed: there is a class list.
        told: it is one that only YOLO has.
        kinds: of label, the likeliest first.
    """

    lines: bool
    empty: bool
    behind: bool
    listed: bool
    told: bool
    kinds: tuple[str, ...]


def _sniff_file(path: Path, use: Reads) -> Sniff:
    if path.suffix.lower() not in (".yaml", ".yml", ".data") or not path.is_file() or use == "predictions":
        return Sniff(0.0, "no folder, and no data.yaml")
    if path.suffix.lower() == ".data":
        whole = b"names" in start_of(path) and b"=" in start_of(path)
        return Sniff(0.8, "names and lists of darknet", ("boxes",)) if whole else Sniff(0.0, "no names = in it")
    try:
        settings = read_settings(path)
    except FormatError as error:
        return Sniff(0.1, f"{error!s:.60}")
    if not isinstance(settings.get("names"), list | dict):
        return Sniff(0.0, "no list called names in it")
    told = [key for key in ("path", "train", "val", "test", "nc", "kpt_shape") if key in settings]
    return Sniff(0.9 if told else 0.5, f"names{' and ' if told else ''}{', '.join(told)}", _kinds(settings, set()))


def _kinds(settings: Mapping[str, Any], counts: Collection[int]) -> tuple[str, ...]:
    if settings.get("kpt_shape"):
        return ("boxes", "points")
    return ("boxes", "masks", "points") if any(count > 6 for count in counts) else ("boxes",)


def _glance(folder: Path) -> _Glance:
    texts = some_files(folder / "labels" if (folder / "labels").is_dir() else folder, _TEXTS)
    for picture in some_files(folder, ENDINGS, 10):  # texts may be few among many pictures
        name = picture.relative_to(folder).as_posix()
        texts += [folder / label_path(name), picture.with_suffix(".txt")]
    texts = [text for text in dict.fromkeys(texts) if text.name not in CLASS_FILES and text.is_file()]
    counts: set[int] = set()
    empty = False
    for text in texts:
        start = start_of(text)
        empty = empty or (not start.strip() and _is_apart(text))
        if count := _numbers(start):
            counts.add(count)
    settings: Mapping[str, Any] = {}
    for file in (folder / name for name in YAMLS):
        if file.is_file():
            try:
                settings = read_settings(file)
            except FormatError:
                settings = {"names": []}  # theirs, and broken: reading says how
            break
    lists = some_files(folder, (".names", ".labels", ".txt"), 40)
    listed = "names" in settings or any(file.name in CLASS_FILES or file.suffix == ".names" for file in lists)
    behind = any(count > 4 for count in counts)
    told = "names" in settings or any(file.suffix in (".names", ".labels") for file in lists)
    return _Glance(bool(counts), empty, behind, listed, told, _kinds(settings, counts))


def _is_apart(text: Path) -> bool:
    """Whether an empty text stands where labels stand: an empty note says nothing."""
    return "labels" in text.parts or any(text.with_suffix(ending).is_file() for ending in (".jpg", ".png", ".jpeg"))


def _numbers(start: bytes) -> int:
    """How many numbers stand behind the class on the first line of a text; 0 where it is none of labels."""
    lines = [line for line in start.decode("utf-8-sig", "replace").splitlines()[:20] if line.strip()]
    whole = lines[:-1] if len(start) >= 4096 else lines
    counts = []
    for line in whole:
        parts = line.split()
        if len(parts) < 5 or not parts[0].removesuffix(".0").isdecimal() or not all(map(_is_number, parts)):
            return 0
        counts.append(len(parts) - 1)
    return max(counts, default=0)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


# ---- gathering ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Text:
    """A file of labels.

    Args:
        file: "" for an image without one.
        image: its name.
        bare: the name has no ending.
        word: for its split.
    """

    file: str
    image: str
    bare: bool
    word: str | None


@dataclass(frozen=True)
class _Gathered:
    """What is to be read.

    Args:
        folder: of the set, as the user named it.
        texts: files of labels, in order.
        root: the folder of the pictures, of a data set.
        missing: names in lists that are not there.
        others: texts that are no labels.
        notes: what people should know.
    """

    folder: Path
    texts: Sequence[_Text]
    root: Path | None = None
    missing: Sequence[str] = ()
    others: Sequence[str] = ()
    notes: Sequence[str] = ()

    def shown(self, text: _Text) -> str:
        """How messages call a file."""
        return os.path.join(self.folder, text.file or text.image)  # noqa: PTH118


def _of_pictures(found: YoloSet, hints: Hints) -> _Gathered | None:
    """Pictures with their texts; None where the pictures do not lie in the folder of the set."""
    root = hints.root or pictures_of(found.folder)
    prefix = Path(os.path.relpath(root, found.folder)).as_posix()
    if prefix == ".." or prefix.startswith("../"):
        return None
    try:
        ids = scan_folder(root).ids
    except DataError:
        ids = ()
    if not ids:
        return None
    names = [item if prefix == "." else f"{prefix}/{item}" for item in ids]
    texts = set(scan_folder(found.folder, _TEXTS).ids)
    own = {name: text for name in names for text in (beside(name), label_path(name)) if text in texts}
    check_apart(own)
    splits = splits_of(found, names)
    taken = [
        _Text(own.get(name, ""), item, False, splits.words.get(name))
        for item, name in zip(ids, names, strict=True)
        if name in own or name in splits.words
    ]
    rest = sorted(texts - set(own.values()) - splits.lists)
    strays, others = _sorted_out(found, rest)
    taken += [_Text(text, image_of(text), True, None) for text in strays]
    return _Gathered(found.folder, taken, root, splits.missing, others, splits.notes)


def _of_texts(found: YoloSet, hints: Hints, use: Reads) -> _Gathered:
    """Texts alone: answers, predictions, or labels whose pictures lie elsewhere."""
    base = found.folder / "labels" if (found.folder / "labels").is_dir() else found.folder
    below = "" if base == found.folder else "labels/"
    try:
        texts = scan_folder(base, _TEXTS).ids
    except DataError as error:
        raise FormatError(str(error)) from None
    splits = splits_of(found, [image_of(text) for text in texts], bare=True) if use == "data" else None
    listed = splits.lists if splits else set()
    own, others = _sorted_out(found, [f"{below}{text}" for text in texts if text not in listed])
    if not own:
        raise FormatError(f"{str(base)!r:.200} holds no file of labels (.txt): save one for each image there")
    words = splits.words if splits else {}
    names = [(text, image_of(text.removeprefix(below))) for text in own]
    taken = [_Text(text, image, True, words.get(image)) for text, image in names]
    root = (hints.root or pictures_of(found.folder)) if use == "data" else None
    missing, notes = (splits.missing, splits.notes) if splits else ([], [])
    return _Gathered(found.folder, taken, root, missing, others, notes)


def _sorted_out(found: YoloSet, texts: Sequence[str]) -> tuple[list[str], list[str]]:
    """Texts of labels, and others that people and tools leave beside them; class lists are neither."""
    labels, others = [], []
    for text in texts:
        path = PurePosixPath(text)
        is_list = len(path.parts) == 1 and role_of(path.stem) is not None
        if path.name in CLASS_FILES:
            continue
        told = path.stem.lower().startswith(_NO_LABELS)
        apart = any(part == "labels" or part.lower().startswith("obj_") for part in path.parts[:-1])
        start = start_of(found.folder / text, 400)
        first = (start.decode("utf-8-sig", "replace").strip().splitlines() or [""])[0].split()
        numbered = all(map(_is_number, first if told else first[:1]))
        if numbered and first if told else numbered or apart:
            labels.append(text)
        elif not is_list:
            others.append(text)
    return labels, others


def _listed(what: str, names: Sequence[str]) -> str:
    more = ", ..." if len(names) > _SHOWN else ""
    return f"{len(names):,} {what}: {', '.join(f'{name!r:.50}' for name in names[:_SHOWN])}{more}"


# ---- reading --------------------------------------------------------------------------------------------------------


def _surveyed(found: YoloSet, texts: Sequence[_Text], hints: Hints, use: Reads) -> Reading:
    """What the lines of all files mean."""
    survey = Survey(found.kpt_shape, found.task, hints.kind, predicted=use == "predictions")
    for done, text in enumerate(texts, 1):
        if text.file:
            file = os.path.join(found.folder, text.file)  # noqa: PTH118
            where = Line(file)
            for where.row, line in enumerate(read_text(file, most=MOST_BYTES).splitlines(), 1):
                if line and not line.isspace():
                    survey.add(line, where)
        if done % 1000 == 0:
            hints.progress("looking at labels", done, len(texts))
    return survey.reading()


def _records(
    gathered: _Gathered, reading: Reading, classes: int | None, names: tuple[str, ...], hints: Hints
) -> Iterator[Record]:
    for done, text in enumerate(gathered.texts, 1):
        shown = gathered.shown(text)
        if not text.file:
            yield Record(Where(shown, "line"), text.image, split=text.word, state="untouched", fractions=True)
            continue
        objects = []
        where = Line(shown)
        for where.row, line in enumerate(read_text(shown, most=MOST_BYTES).splitlines(), 1):
            if not line or line.isspace():
                continue
            seen = read_object(line, reading, classes, where)
            if names and seen.points is not None:
                seen = replace(seen, points=replace(seen.points, names=names))
            objects.append(seen)
        yield Record(
            Where(shown, "line"),
            text.image,
            bare=text.bare,
            fractions=True,
            objects=tuple(objects),
            state="answered" if objects else "empty",
            split=text.word,
        )
        if done % 1000 == 0:
            hints.progress("reading labels", done, len(gathered.texts))
