"""A few files of a folder, found without listing all of it: what formats are recognised by."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

#: entries that are looked at in all, and in one folder; folders below each other
_ENTRIES, _FOLDER, _DEEPEST = 20_000, 5_000, 4


def some_files(folder: Path, endings: Collection[str], most: int = 20) -> list[Path]:
    """Files with some endings, those near the top first, in the order of names within what was looked at.

    Hidden files are left out, and folders behind links. Never raises.

    Args:
        folder: where to look, sub-folders included.
        endings: lower case, with the point.
        most: how many are enough.
    """
    found: list[Path] = []
    level, left = [os.fspath(folder)], _ENTRIES
    for _ in range(_DEEPEST):
        following: list[str] = []
        for place in level:
            files, folders = _entries(place, endings, min(left, _FOLDER))
            found += [Path(file) for file in files[: most - len(found)]]
            following += folders
            left -= _FOLDER // 50 + len(files) + len(folders)
            if len(found) >= most or left <= 0:
                return found
        level = following
    return found


def _entries(place: str, endings: Collection[str], most: int) -> tuple[list[str], list[str]]:
    files, folders = [], []
    try:
        with os.scandir(place) as entries:
            for _, entry in zip(range(most), entries, strict=False):
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                elif os.path.splitext(entry.name)[1].lower() in endings and entry.is_file():  # noqa: PTH122
                    files.append(entry.path)
    except OSError:
        return [], []
    return sorted(files), sorted(folders)


def start_of(path: Path, size: int = 4096) -> bytes:
    """The first bytes of a file; b"" for one that cannot be read, or is no file."""
    try:
        if not path.is_file():
            return b""
        with path.open("rb") as file:
            return file.read(size)
    except OSError:
        return b""


_PACKED = {
    b"PK\x03\x04": "a zip archive",
    b"\x1f\x8b": "packed by gzip",
    b"7z\xbc\xaf": "a 7z archive",
    b"Rar!": "a rar archive",
    b"\xfd7zXZ": "packed by xz",
    b"BZh": "packed by bzip2",
}


def packed(path: Path) -> str | None:
    """How a file is packed, in words; None for one that is not."""
    start = start_of(path, 300)
    if start[257:262] == b"ustar":
        return "a tar archive"
    return next((what for mark, what in _PACKED.items() if start.startswith(mark)), None)
