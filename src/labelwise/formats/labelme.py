"""labelme and X-AnyLabeling: one JSON file for each picture, beside it or in a folder of its own."""

from __future__ import annotations

import math
import os
import posixpath
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, ClassVar

from labelwise.contracts.format import Format, Hints, Reads, Sniff, Writes, Writing
from labelwise.contracts.record import Head, Record, Seen, Where
from labelwise.errors import FormatError, StateError
from labelwise.formats.delimited import read_text
from labelwise.formats.files import write_whole
from labelwise.formats.fitting import fitted, lines
from labelwise.formats.glance import some_files
from labelwise.formats.json_file import dump_json, read_json, start_of_json
from labelwise.formats.key_points import ORDER, as_subjects, order_of
from labelwise.formats.labelme_shapes import objects_of, shapes_of
from labelwise.formats.marks import MARKS
from labelwise.formats.numbers import sides
from labelwise.formats.pictures import place_pictures
from labelwise.formats.scan import ENDINGS
from labelwise.formats.written import name_of, of_pixels

#: keys of a file that are read, or say nothing
_READ = frozenset(
    {"version", "flags", "shapes", "imagePath", "imageData", "imageHeight", "imageWidth", "split", "group"}
)
#: the version that a file says which was written here to be corrected; a program that saves it puts its own there
ASKED = "0.labelwise.asked"
#: the list of classes beside the files, names in it that are none, and bytes that it may have
CLASSES, _NO_CLASSES, _LIST_BYTES = "labels.txt", frozenset({"__ignore__", "_background_"}), 1 << 20
_KINDS: Mapping[str, tuple[str, ...]] = {
    "rectangle": ("boxes",),
    "rotation": ("boxes",),
    "oriented_rectangle": ("boxes",),
    "polygon": ("masks", "boxes"),
    "mask": ("masks", "boxes"),
    "circle": ("masks", "boxes"),
    "point": ("points",),
}


@dataclass(frozen=True)
class Labelme(Format):
    """Reads files of labelme and X-AnyLabeling, and writes sets and rounds for them.

    A file is written when somebody saves, so that one without shapes is an empty picture; one that was written here
    with what a model would draw is not answered until somebody has saved it. Flags that are set are classes of the
    picture. ``imageData``, the picture itself, is not looked at.

    Memory: about ten times the largest file; of masks only their PNG; a mask a byte a pixel while it is read.
    """

    name: ClassVar[str] = "labelme"
    title: ClassVar[str] = "labelme and X-AnyLabeling: one JSON file for each image"
    kinds: ClassVar[frozenset[str]] = frozenset({"boxes", "classes", "masks", "points"})
    reads: ClassVar[frozenset[Reads]] = frozenset({"data", "answers"})
    writes: ClassVar[frozenset[Writes]] = frozenset({"asked", "labelled"})
    ending: ClassVar[str] = ""

    def sniff(self, path: Path, use: Reads) -> Sniff:
        """By the keys ``shapes`` and ``imagePath`` of some of its files."""
        files = some_files(path, {".json"}) if path.is_dir() else [path]
        told = [start for file in files if (start := start_of_json(file))]
        own = [start for start in told if _is_own(start)]
        if not own:
            return Sniff(0.0, "no JSON with shapes and imagePath")
        words = [str(start.get("shapes[].shape_type")) for start in own]
        kinds = [kind for word in words for kind in _KINDS.get(word, ())]
        kinds += ["classes"] if any(key.startswith("flags.") for start in own for key in start) else []
        sure = 0.97 if len(own) == len(told) else 0.8
        return Sniff(sure, "JSON files with shapes and imagePath", tuple(dict.fromkeys(kinds)))

    def root(self, path: Path) -> Path:
        """``images`` below the folder where there is one, else the folder."""
        folder = path if path.is_dir() else path.parent
        return folder / "images" if (folder / "images").is_dir() else folder

    def read(self, path: Path, use: Reads, hints: Hints) -> tuple[Head, Iterator[Record]]:
        """A record for each file; everything is read before the first is given.

        Raises:
            FormatError: no such file, or a shape that breaks its form; with the file.
        """
        counts: Counter[str] = Counter()
        folder = path if path.is_dir() else path.parent
        place = _Place(folder, self.root(path), use == "data")
        records, strange = [], []
        files = _files(path)
        for done, file in enumerate(files, 1):
            data = read_json(file)
            if not _is_file(data):
                strange.append(file.relative_to(folder).as_posix())
                continue
            records.append(_record(data, file, place, hints, counts))
            hints.progress("reading labels", done, len(files))
        if not records:
            unsaved = ": has anybody saved a picture yet?" if (folder / CLASSES).is_file() else ""
            raise FormatError(
                f"{os.fspath(path)!r:.200} holds no file of labelme: none has 'shapes' and 'imagePath'{unsaved}"
            )
        if strange:
            counts[f"{{n}} JSON file(s) that are none of labelme left out: {', '.join(strange[:3])}"] += len(strange)
        found = fitted(as_subjects(records, hints, counts), hints.kind, counts)
        return Head(classes=_class_list(path), overlap="last", notes=lines(counts)), iter(found)

    def write(self, path: Path, head: Head, records: Iterable[Record], how: Writing) -> list[str]:
        """A folder with one file for each picture, and the picture beside it unless only lists are wanted.

        Of what is asked the pictures are always there, as links, and files where a model would draw something.

        Raises:
            FormatError: a number that is not finite, or shapes of a picture whose size is not known.
            StateError: a file cannot be written.
        """
        counts: Counter[str] = Counter()
        asked = how.use == "asked"
        how = replace(how, images="link") if asked and how.images == "list" else how
        listed = [record for record in records if _writable(record, counts, asked=asked)]
        placed = place_pictures(path, {str(record.image): str(record.image) for record in listed}, how)
        for record in listed:
            if asked and not record.objects and record.pixels is None:
                continue  # these tools show a picture with a file as done
            image = str(record.image)
            file = path / PurePosixPath(image).with_suffix(".json")
            where = placed.paths[image]
            beside = PurePosixPath(image).name if where == image else where
            data = _file_of(record, beside, head, counts) | ({"version": ASKED} if asked else {})
            try:
                file.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StateError(f"{str(file.parent)!r:.200} cannot be made: {error.strerror}") from None
            write_whole(file, dump_json(data, str(file)))
        if head.classes:
            write_whole(path / CLASSES, "".join(f"{name}\n" for name in head.classes).encode())
        order = ["these tools show pictures by name, not by rank: ask for fewer at a time"] if len(listed) > 1 else []
        return [*lines(counts), *placed.notes, *(order if asked else [])]


# ---- reading --------------------------------------------------------------------------------------------------------


def _class_list(path: Path) -> tuple[str, ...]:
    """The classes that a list beside the files names in order, as ``labelme --labels`` takes it; () without one.

    Raises:
        FormatError: a name stands there twice.
    """
    file = (path if path.is_dir() else path.parent) / CLASSES
    if not file.is_file():
        return ()
    names = [line.strip() for line in read_text(file, most=_LIST_BYTES).splitlines()]
    names = [name for name in names if name and name not in _NO_CLASSES]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise FormatError(f"{str(file)!r:.150}: class {twice!r:.60} is listed twice; rename one of the two")
    return tuple(names)


def _is_own(start: Mapping[str, Any]) -> bool:
    return isinstance(start.get("shapes"), list) and ("imagePath" in start or "imageData" in start)


def _is_file(data: Any) -> bool:
    return isinstance(data, dict) and "shapes" in data and ("imagePath" in data or "imageData" in data)


def _files(path: Path) -> list[Path]:
    """All JSON files of a folder, hidden ones and those behind links to folders left out."""
    if not path.is_dir():
        return [path]
    found: list[Path] = []
    for place, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [
            Path(place, name) for name in sorted(names) if name.lower().endswith(".json") and not name.startswith(".")
        ]
    return found


@dataclass(frozen=True)
class _Place:
    """Where files and pictures lie.

    Args:
        folder: that is read.
        root: of the pictures.
        there: the pictures lie there, and names may be looked up.
    """

    folder: Path
    root: Path
    there: bool

    def name(self, written: str, file: Path) -> str:
        """The path of a picture below the root, as far as it can be told.

        Args:
            written: under ``imagePath``, relative to its file.
            file: that names it.
        """
        path = PureWindowsPath(written).as_posix() if "\\" in written else written
        if path.startswith("/") or PureWindowsPath(path).drive:
            return path
        within = file.parent.relative_to(self.folder).as_posix()
        joined = posixpath.normpath(posixpath.join(within, path))
        while joined.startswith("../"):
            joined = joined[3:]
        if not self.there:
            return joined
        below = self.root.relative_to(self.folder).as_posix()
        beside = joined.removeprefix(f"{below}/") if below != "." else joined
        base = posixpath.basename(path)
        inner = within.partition("/")[2]  # below a folder of labels
        for name in (beside, joined, posixpath.join(within, base), posixpath.join(inner, base), base):
            if os.path.isfile(self.root / name):  # noqa: PTH113  (no error for names that are too long)
                return posixpath.normpath(name)
        return beside


def _record(data: Mapping[str, Any], file: Path, place: _Place, hints: Hints, counts: Counter[str]) -> Record:
    where = Where(os.fspath(file))
    written = data.get("imagePath")
    if written is not None and not isinstance(written, str):
        raise FormatError(f"{where}: imagePath is {written!r:.60}; give text")
    if written and PureWindowsPath(written).stem != file.stem:
        counts["{n} file(s) name another picture in imagePath than their own name says: taken as imagePath says"] += 1
    given = [data.get("imageWidth"), data.get("imageHeight")]
    size = None
    if given != [None, None]:
        values = [int(value) if isinstance(value, float) and value.is_integer() else value for value in given]
        width, height = sides(values[0], values[1], f"{where}")
        size = (width, height)
    shapes = objects_of(data["shapes"], f"{where}", counts)
    flags = _flags(data.get("flags"), hints, f"{where}", counts)
    objects = (*shapes, *flags)
    if data.get("version") == ASKED:
        counts["{n} file(s) as they were written here, which nobody has saved: taken as not answered"] += 1
    unread = bool(data["shapes"]) and not objects
    counts["{n} image(s) hold nothing but shapes that are left out: taken as not answered"] += unread
    extra = {key: value for key, value in data.items() if key not in _READ and value not in (None, "", [], {})}
    return Record(
        where=where,
        image=place.name(written or file.stem, file),
        bare=not written,
        size=size,
        objects=objects,
        state="untouched" if unread or data.get("version") == ASKED else "answered" if objects else "empty",
        split=data["split"] if isinstance(data.get("split"), str) else None,
        group=data["group"] if isinstance(data.get("group"), str) else None,
        extra=extra,
    )


def _flags(flags: Any, hints: Hints, where: str, counts: Counter[str]) -> tuple[Seen, ...]:
    """Classes of the picture: the flags that are set."""
    if flags in (None, "", {}):
        return ()
    if not isinstance(flags, Mapping):
        raise FormatError(f"{where}: flags are {flags!r:.60}; give an object of names and true or false")
    names = [name for name, value in flags.items() if value is True]
    if hints.kind in ("classes", "tags") and hints.classes:
        other = [name for name in names if name not in hints.classes]
        if len(other) < len(names):
            counts["{n} flag(s) that are no class of the project left out"] += len(other)
            names = [name for name in names if name not in other]
    return tuple(Seen(name) for name in names)


# ---- writing --------------------------------------------------------------------------------------------------------


def _writable(record: Record, counts: Counter[str], *, asked: bool) -> bool:
    if record.image is None:
        raise FormatError(f"{record.where}: a file needs the name of its picture, not its number")
    if record.state in ("skipped", "untouched") and not asked:
        counts[f"{{n}} image(s) left out: {record.state}, which these files have no word for"] += 1
        return False
    if PurePosixPath(record.image).suffix.lower() not in ENDINGS:
        raise FormatError(
            f"{record.where}: {record.image!r:.80} has no ending of a picture, so that its file has no name"
        )
    if record.annotator or record.seconds is not None:
        counts["{n} image(s) whose annotator or time is left out: these files have no place for them"] += 1
    return True


def _file_of(record: Record, image: str, head: Head, counts: Counter[str]) -> dict[str, Any]:
    objects: Sequence[Seen] = (*record.objects, *of_pixels(record, head))
    shapes: list[dict[str, Any]] = []
    flags: dict[str, bool] = {}
    for group, seen in enumerate(objects, 1):
        label = name_of(seen, head, record)
        if seen.box is None and seen.outline is None and seen.points is None:
            flags[label] = True
            continue
        if record.size is None or record.fractions:
            raise FormatError(
                f"{record.where}: the size of {record.image!r:.80} is not known, and shapes are in pixels"
            )
        counts["{n} object(s) marked as crowd: the mark is left out"] += seen.crowd
        counts[
            "{n} turned box(es) written as oriented_rectangle, which older labelme and X-AnyLabeling do not open"
        ] += seen.box is not None and bool(seen.box.rotation)
        shapes += shapes_of(seen, label, group)
    if not all(math.isfinite(value) for shape in shapes for point in shape["points"] for value in point):
        raise FormatError(f"{record.where}: an object has a number that is not finite, which cannot be written")
    width, height = record.size or (None, None)
    told = {"split": record.split, "group": record.group}
    return {
        **{"version": "5.5.0", "flags": flags, "shapes": shapes, "imagePath": image, "imageData": None},
        **{"imageHeight": height, "imageWidth": width},
        **{key: value for key, value in told.items() if value},
        **{key: value for key, value in record.extra.items() if key not in _READ | MARKS},
        **({ORDER: order} if (order := order_of(record)) else {}),
    }
