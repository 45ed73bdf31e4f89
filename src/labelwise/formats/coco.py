"""COCO: instances and key points, as one JSON file or as a folder with a file for each split.

A box is ``[x, y, width, height]`` in pixels there; here it is its corners. Category ids may have holes and start
anywhere: classes are ordered by id. All that a file says of an image, an annotation or itself beyond what labelwise
reads (licences, areas, ...) is kept and written again.

A COCO file lists all its images, looked at or not: images without objects are not taken as empty, unless the file
carries the marks that an export of labelwise writes (``answered``).
"""

from __future__ import annotations

import json
import mmap
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import ClassVar

from labelwise.contracts.format import Format, Hints, Reads, Sniff, Writes, Writing
from labelwise.contracts.record import Head, Record
from labelwise.errors import FormatError
from labelwise.formats.coco_file import CocoFile, open_file
from labelwise.formats.coco_folder import FOLDERS, choose_files, glance, split_word
from labelwise.formats.coco_head import head_of
from labelwise.formats.coco_writing import write_set
from labelwise.formats.files import there_is

#: how far below a folder, and among how many files, an image is searched for
_DEEPEST, _SEARCHED = 4, 200_000
_FILE_NAME = re.compile(rb'"file_name"\s*:\s*"((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True)
class Coco(Format):
    """COCO instances and key points: boxes, polygons, run lengths, points.

    Cost:
        Memory: about ten times the size of the file, refused where that is more than is free; masks are painted one by
        one, when asked for. Time: about 10 s for 100 MB.

    Example:
        >>> import json, tempfile
        >>> file = Path(tempfile.mkdtemp()) / "a.json"
        >>> thing = {"id": 1, "image_id": 7, "category_id": 3, "bbox": [1, 2, 10, 20]}
        >>> image = {"id": 7, "file_name": "a.jpg", "width": 64, "height": 48}
        >>> data = {"images": [image], "annotations": [thing], "categories": [{"id": 3, "name": "cat"}]}
        >>> _ = file.write_text(json.dumps(data))
        >>> head, records = Coco().read(file, "data", Hints())
        >>> record = next(records)
        >>> head.classes, record.image, record.objects[0].cls, record.objects[0].box
        (('cat',), 'a.jpg', 'cat', Box(x1=1, y1=2, x2=11, y2=22, rotation=0.0))
    """

    name: ClassVar[str] = "coco"
    title: ClassVar[str] = "COCO instances and key points, one JSON file or one for each split"
    kinds: ClassVar[frozenset[str]] = frozenset({"boxes", "masks", "points", "classes", "tags"})
    reads: ClassVar[frozenset[Reads]] = frozenset({"data", "answers"})
    writes: ClassVar[frozenset[Writes]] = frozenset({"asked", "labelled"})
    ending: ClassVar[str] = ".json"

    def sniff(self, path: Path, use: Reads) -> Sniff:
        """By the keys of the first images and annotations; of a folder, those of its JSON files."""
        found = choose_files(path, None).glance if path.is_dir() else glance(path)
        return Sniff(found.sure, found.why, found.kinds)

    def read(self, path: Path, use: Reads, hints: Hints) -> tuple[Head, Iterator[Record]]:
        """The images of a file, or of all files of a folder that hold the kind of label that is wanted.

        Raises:
            FormatError: no such file, no COCO, lists that contradict each other; while records are drawn: a broken
                annotation; with file, row and id.
        """
        notes: list[str] = []
        files = [open_file(file) for file in _files(path, hints, notes)]
        head = head_of(files, hints)
        if hints.kind == "points" and not any(file.has_points() for file in files):
            raise FormatError(f"{str(path)!r}: no annotation has key points (a list 'keypoints')")
        several = path.is_dir() and len(files) > 1
        words = [split_word(file.path, path) if several else None for file in files]
        head = replace(head, root=hints.root or (self.root(path) if use == "data" else None))
        head = replace(head, notes=(*head.notes, *notes))
        return head, _drawn(files, words, use, hints, head.root)

    def root(self, path: Path) -> Path:
        """Of a folder, ``images`` in it, or itself; of a file, the folder near it that holds its first image."""
        if path.is_dir():
            return path / "images" if (path / "images").is_dir() else path
        name = _first_name(path)
        beside, above = path.parent, path.absolute().parent.parent
        places = [beside / "images", beside, above / "images", above]
        if name is None:
            return next((place for place in places[:1] if place.is_dir()), beside)
        if (found := next((place for place in places if there_is(place / name)), None)) is not None:
            return found
        last = PurePosixPath(name.replace("\\", "/")).name
        return next((place for place in places if place.is_dir() and _below(place, last)), beside)

    def write(self, path: Path, head: Head, records: Iterable[Record], how: Writing) -> list[str]:
        """One file; labels to a folder also as one file for each split, with the images beside them.

        Ids of images, annotations and categories that were read are kept as far as they are unique; others are
        numbered on from the highest. Pixels are written as one annotation for each class, run lengths or (option
        ``outlines=polygons``) polygons where these give back every pixel.

        Raises:
            FormatError: a class that ``head`` does not list, a number that is not finite.
            StateError: a file cannot be written.
        """
        return write_set(path, head, records, how)


def _files(path: Path, hints: Hints, notes: list[str]) -> list[Path]:
    if not path.is_dir():
        return [path]
    chosen = choose_files(path, hints.kind)
    if not chosen.files:
        raise FormatError(
            f"{str(path)!r} holds no COCO file ({chosen.glance.why}): put it there as "
            "annotations/instances_train.json, or name it"
        )
    if chosen.aside:
        names = ", ".join(file.name for file in chosen.aside[:3])
        notes.append(f"{len(chosen.aside)} COCO file(s) hold other labels of the images and are not read: {names:.120}")
    return list(chosen.files)


def _drawn(
    files: list[CocoFile], words: list[str | None], use: Reads, hints: Hints, root: Path | None
) -> Iterator[Record]:
    total, done = sum(len(file.images) for file in files), 0
    for file, word in zip(files, words, strict=True):
        folder = None if root is None else _folder_of(file.path, root)
        for record in file.records(use, hints.kind, word):
            yield record if root is None or folder is None else _placed(record, root, folder)
            done += 1
            if done % 1000 == 0 or done == total:
                hints.progress("reading labels", done, total)


def _folder_of(file: Path, root: Path) -> str | None:
    """The folder below the root that a file speaks of: the one it lies in, or one whose name stands in its own."""
    near = file.absolute().parent
    if near != root.absolute() and near.is_relative_to(root.absolute()) and near.name.lower() not in FOLDERS:
        return near.relative_to(root.absolute()).as_posix()
    try:
        with os.scandir(root) as entries:
            named = [entry.name for entry in entries if entry.is_dir() and entry.name in file.stem]
    except OSError:
        return None
    return max(named, key=len, default=None)


def _placed(record: Record, root: Path, folder: str) -> Record:
    """With its folder, where the file names none: train2017/1.jpg and val2017/1.jpg are both called 1.jpg there."""
    name = record.image
    if name is None or "/" in name or "\\" in name or not there_is(root / folder / name):
        return record
    return replace(record, image=f"{folder}/{name}")


def _first_name(path: Path) -> str | None:
    """The first ``file_name`` of a file, wherever it stands."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            found = _FILE_NAME.search(mapped)
            return None if found is None else str(json.loads(b'"' + found[1] + b'"'))
    except (OSError, ValueError):
        return None


def _below(folder: Path, name: str) -> bool:
    """Whether some folder below holds a file of this name."""
    seen = 0
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(one for one in folders if one[0] != ".")
        seen += len(names) + len(folders)
        if name in names:
            return True
        if seen > _SEARCHED or len(Path(place).relative_to(folder).parts) >= _DEEPEST:
            folders.clear()
    return False
