"""Pictures sorted into a folder for each class, as people answer with nothing but a file browser."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from labelwise.contracts.format import Format, Hints, Reads, Sniff
from labelwise.contracts.record import Head, Record, Seen, Where
from labelwise.errors import DataError, FormatError
from labelwise.formats.glance import some_files
from labelwise.formats.headers import read_header
from labelwise.formats.mask_layout import IMAGE_WORDS, MASK_WORDS, OBJECT_WORDS, plain_name
from labelwise.formats.scan import ENDINGS, scan_folder
from labelwise.formats.splits import role_of

#: folders of these names hold pictures or masks of any class
_NO_CLASSES = frozenset((*IMAGE_WORDS, *MASK_WORDS, *OBJECT_WORDS, "suggested", "regions"))
#: files that hold labels: a folder that has some is another format's
_LABELS = frozenset({".json", ".xml", ".txt", ".csv", ".tsv", ".yaml", ".yml", ".npy", ".npz"})


@dataclass(frozen=True)
class ClassFolders(Format):
    """Copies of pictures in folders that are called as classes: ``cat/a.jpg``, also ``train/cat/a.jpg``.

    Memory: the names of all files.
    """

    name: ClassVar[str] = "class_folders"
    title: ClassVar[str] = "pictures sorted into a folder for each class"
    kinds: ClassVar[frozenset[str]] = frozenset({"classes"})
    reads: ClassVar[frozenset[Reads]] = frozenset({"answers"})

    def sniff(self, path: Path, use: Reads) -> Sniff:
        """By the names of folders: all pictures lie in some, and no files of labels beside them."""
        if not path.is_dir():
            return Sniff(0.0, "no folder")
        pictures = [file.relative_to(path).as_posix() for file in some_files(path, ENDINGS, 50)]
        if not pictures:
            return Sniff(0.0, "no picture in it")
        if labels := some_files(path, _LABELS, 1):
            return Sniff(0.1, f"pictures, and {labels[0].name!r:.60} beside them")
        parts = [_parted(name) for name in pictures]
        if loose := next((name for name, (cls, _) in zip(pictures, parts, strict=True) if not cls), None):
            return Sniff(0.2, f"{loose!r:.60} lies in no folder of a class")
        if other := next((cls for cls, _ in parts if plain_name(cls) in _NO_CLASSES), None):
            return Sniff(0.1, f"{other!r:.60} is no folder of a class")
        return Sniff(0.7, f"folders such as {parts[0][0]!r:.60}", ("classes",))

    def read(self, path: Path, use: Reads, hints: Hints) -> tuple[Head, Iterator[Record]]:
        """A record for each picture.

        Raises:
            FormatError: no picture there, or one that lies in no folder of a class.
            DataError: while drawing, a file that is no picture.
        """
        if hints.kind == "tags":
            raise FormatError(
                f"{str(path)!r:.100}: folders say one class of each image, and here it may have several: give a table "
                "(a;b in a column, or a column of 0 and 1 for each class), JSON, COCO or an export of Label Studio"
            )
        if not path.is_dir():
            raise FormatError(f"{str(path)!r:.200} is no folder: give the one that the folders of classes lie in")
        try:
            names = scan_folder(path).ids
        except DataError as error:
            raise FormatError(str(error)) from None
        if loose := next((name for name in names if not _parted(name)[0]), None):
            raise FormatError(f"{str(path / loose)!r:.200} lies in no folder of a class: move it into one, or away")
        return Head(), _records(path, names)


def _parted(name: str) -> tuple[str, str]:
    """The class of a picture and its own path; "" where it lies in no folder but that of a split.

    Example:
        >>> _parted("train/cat/day1/a.jpg"), _parted("a.jpg")
        (('cat', 'day1/a.jpg'), ('', 'a.jpg'))
    """
    cls, slash, rest = name.partition("/")
    if slash and role_of(cls) is not None:
        return _parted(rest)
    return (cls, rest) if slash else ("", name)


def _records(path: Path, names: tuple[str, ...]) -> Iterator[Record]:
    for name in names:
        cls, image = _parted(name)
        header = read_header(str(path / name))
        yield Record(Where(str(path / name)), image, size=(header.width, header.height), objects=(Seen(cls),))
