"""Long-tailed sets by a list file: lines ``train/n01440764/n01440764_190.JPEG 0``, as ImageNet-LT is published."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from labelwise.contracts.source import Role
from labelwise.data.folder import ImageFolder
from labelwise.errors import DataError, FormatError
from labelwise.formats.scan import scan_folder

_LINE = re.compile(r"(?P<path>\S.*?)[ \t]+(?P<label>\d+)")


class ListedImages(ImageFolder):
    """Training images by a list file, test images by a folder of classes.

    The native order is that of the lines. Classes are the sorted names of the folders, as torchvision numbers them, and
    every label of the list has to agree with the folder its image lies in.

    Args:
        listing: the file: one line per image, its path relative to ``root``, and the number of its class.
        root: the folder that holds the images, and ``val`` (or ``test``) with one folder per class to test on.

    Raises:
        FormatError: a line that is none, a path twice, or a label that disagrees with the order of the folders.
        DataError: no such folder.
    """

    def __init__(self, listing: str | os.PathLike[str], root: str | os.PathLike[str]) -> None:
        shown = repr(os.fspath(listing))
        lines = _read(Path(listing), shown)
        folder = Path(root)
        if not folder.is_dir():
            raise DataError(f"{os.fspath(root)!r} is no folder: give the one that the paths in {shown} are relative to")
        self._order = tuple(path for path, _ in lines)
        if not any((folder / path).is_file() for path in self._order[:20]):
            raise DataError(
                f"{shown} lists {self._order[0]!r}, which is not in {os.fspath(root)!r}: give the folder that the "
                "paths are relative to (--data-root)"
            )
        top = self._order[0].split("/")[0] if self._order[0].count("/") > 1 else ""
        tested = next(
            (name for name in ("val", "validation", "test") if (folder / name).is_dir() and name != top), None
        )
        held = [] if tested is None else [f"{tested}/{item}" for item in scan_folder(folder / tested).ids]
        if doubled := set(held) & set(self._order):
            raise FormatError(f"{shown} lists {min(doubled)!r}, which is a test image: leave it out")
        super().__init__(folder, labels="none", roles="none", ids=[*self._order, *held])
        roles: dict[str, Role] = dict.fromkeys(held, "test")
        self.roles = roles
        names = _class_folders(folder / top, [*self._order, *held])
        self.classes = names
        _check(lines, names, shown)
        self.truth = {item: item.split("/")[-2] for item in self.ids}

    def native_order(self) -> list[str]:
        """The lines of the list."""
        return list(self._order)

    def __repr__(self) -> str:
        return f"ListedImages({str(self.root)!r}, {len(self._order)} listed, {len(self.roles)} to test on)"


def is_image_list(path: str | os.PathLike[str]) -> bool:
    """Whether a text file looks like such a list: its first line is a path, white space and a number."""
    try:
        with Path(path).open(encoding="utf-8") as file:
            first = file.readline(4096)
    except (OSError, UnicodeDecodeError):
        return False
    return "," not in first and _LINE.fullmatch(first.strip()) is not None


def _read(path: Path, shown: str) -> list[tuple[str, int]]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise FormatError(f"{shown} does not exist: check the path") from None
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(f"{shown} cannot be read ({error}): it has to be UTF-8 text") from None
    found: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None:
            raise FormatError(f"{shown}, line {number}: {line[:60]!r} is not 'relative/path label'")
        item = match["path"]
        if item.startswith("/") or ".." in item.split("/") or "/" not in item:
            raise FormatError(
                f"{shown}, line {number}: {item!r} is no path of an image in a class folder below the root"
            )
        if item in found:
            raise FormatError(f"{shown}, line {number}: {item!r} is listed twice: list each image once")
        found[item] = int(match["label"])
    if not found:
        raise FormatError(f"{shown} lists no image: it needs one line per image")
    return list(found.items())


def _class_folders(folder: Path, ids: Sequence[str]) -> tuple[str, ...]:
    """Folders of classes as torchvision would number them: those that lie there, and at least those that are named."""
    lying = {entry.name for entry in folder.iterdir() if entry.is_dir()} if folder.is_dir() else set()
    named = {item.split("/")[-2] for item in ids}
    return tuple(sorted(named | (lying if named <= lying else set())))


def _check(lines: Sequence[tuple[str, int]], names: Sequence[str], shown: str) -> None:
    index = {name: number for number, name in enumerate(names)}
    for number, (item, label) in enumerate(lines, 1):
        name = item.split("/")[-2]
        if index[name] != label:
            raise FormatError(
                f"{shown}, entry {number}: {item!r} has label {label}, but its folder {name!r} is class {index[name]} "
                f"of {len(names)} in sorted order: the list was made for other folders"
            )
