"""Which pictures lie below a folder: one walk, everything that is left out counted."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from labelwise.errors import DataError

#: what a folder is searched for, lower case; no .eps, on which Pillow would start Ghostscript
ENDINGS = tuple(
    f".{ending}"
    for ending in (
        *("avif", "bmp", "dib", "gif", "j2k", "jfif", "jp2", "jpe", "jpeg", "jpg"),
        *("pbm", "pgm", "png", "pnm", "ppm", "tif", "tiff", "webp"),
    )
)


@dataclass(frozen=True)
class Scan:
    """What lies in a folder.

    Args:
        ids: POSIX paths of the images, relative to the folder, ascending.
        ignored: files that are no images by their ending (broken links and pipes among them), counted by ending.
        hidden: files and folders whose name starts with a dot.
        unreadable: sub-folders that could not be listed, with the reason.
        unnameable: images whose path is not UTF-8 and therefore cannot be an id, as ``repr`` shows them.
    """

    ids: tuple[str, ...]
    ignored: Mapping[str, int]
    hidden: int = 0
    unreadable: tuple[str, ...] = ()
    unnameable: tuple[str, ...] = ()

    def notes(self) -> list[str]:
        """What people should know about files that were left out, one line each; empty when nothing was."""
        lines = [f"sub-folder {what}: its images are left out" for what in self.unreadable]
        lines += [
            f"{what}: the name is not valid UTF-8, so the image is left out; rename it (convmv does whole folders)"
            for what in self.unnameable
        ]
        if self.ignored:
            listed = ", ".join(f"{count} {ending}" for ending, count in Counter(self.ignored).most_common(5))
            lines.append(f"left out as no images, by their ending: {listed}")
        if self.hidden:
            lines.append(f"left out as hidden (the name starts with a dot): {self.hidden}")
        return lines


class _Scanner:
    """One walk over a tree: real folders first, then folders behind links; each real folder once, so loops end."""

    def __init__(self, endings: Collection[str]) -> None:
        self.endings = frozenset(endings)
        self.ids: list[str] = []
        self.ignored: Counter[str] = Counter()
        self.hidden = 0
        self.unreadable: list[str] = []
        self.unnameable: list[str] = []
        self._seen: set[tuple[int, int]] = set()
        self._links: list[tuple[str, str]] = []

    def walk(self, root: str) -> None:
        self._tree(root, "")
        while self._links:
            self._links.sort(reverse=True)  # in the order of names, whatever the file system's order was
            self._tree(*self._links.pop())

    def _tree(self, path: str, prefix: str) -> None:
        todo = [(path, prefix)]
        while todo:
            path, prefix = todo.pop()
            try:
                stat = os.stat(path)  # noqa: PTH116  (a Path per folder and file doubles the time)
                if (stat.st_dev, stat.st_ino) in self._seen:
                    continue
                self._seen.add((stat.st_dev, stat.st_ino))
                with os.scandir(path) as entries:
                    for entry in entries:
                        self._entry(entry, prefix, todo)
            except OSError as error:
                if not prefix:
                    raise
                self.unreadable.append(f"{prefix[:-1]!r} cannot be read ({error.strerror})")

    def _entry(self, entry: os.DirEntry[str], prefix: str, todo: list[tuple[str, str]]) -> None:
        name = entry.name
        if name[0] == ".":
            self.hidden += 1
        elif entry.is_dir(follow_symlinks=False):
            todo.append((entry.path, f"{prefix}{name}/"))
        elif entry.is_symlink() and entry.is_dir():
            self._links.append((entry.path, f"{prefix}{name}/"))
        else:
            ending = os.path.splitext(name)[1].lower()  # noqa: PTH122
            if ending not in self.endings or not entry.is_file():
                self.ignored[ending if ending not in self.endings else f"{ending} (link to nothing, or a pipe)"] += 1
                return
            item_id = prefix + name
            if not item_id.isascii() and not _is_utf8(item_id):
                self.unnameable.append(repr(item_id))
            else:
                self.ids.append(item_id)


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def scan_folder(root: str | os.PathLike[str], endings: Collection[str] = ENDINGS) -> Scan:
    """List the images below ``root``, or the files with other endings.

    Hidden files and files with other endings are counted, not listed. Folders behind symbolic links are followed, each
    real folder once. Cost: one ``scandir`` per folder; 200,000 files take about a second.

    Args:
        root: the folder.
        endings: of the files that are listed, lower case.

    Raises:
        DataError: when ``root`` is no folder or cannot be read.
    """
    scanner = _Scanner(endings)
    try:
        scanner.walk(os.fspath(root))
    except FileNotFoundError:
        raise DataError(f"{os.fspath(root)!r} does not exist: give a folder of images") from None
    except NotADirectoryError:
        raise DataError(f"{os.fspath(root)!r} is a file, not a folder: give the folder that holds the images") from None
    except OSError as error:
        raise DataError(f"folder {os.fspath(root)!r} cannot be read: {error.strerror}; check its permissions") from None
    return Scan(
        tuple(sorted(scanner.ids)),
        dict(scanner.ignored),
        scanner.hidden,
        tuple(sorted(scanner.unreadable)),
        tuple(sorted(scanner.unnameable)),
    )
