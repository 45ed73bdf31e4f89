"""Pictures that the lists of a data set name: ``train.txt`` with paths from another machine, or with stems only."""

from __future__ import annotations

import bisect
import posixpath
import unicodedata
from collections.abc import Iterable
from functools import cached_property

from labelwise.formats.scan import ENDINGS


class Listed:
    """Finds the pictures of a set by what its lists call them.

    A line is a path below the folder; a path of another machine that ends in one, when all lines drop the same folders;
    or the end of just one path. A folder that contradicts is no match.

    Args:
        names: paths below the folder of the set, with ``/``.
        bare: lines come without the ending of the file.

    Example:
        >>> listed = Listed(["images/day/1.jpg", "images/night/1.jpg", "images/night/2.jpg"])
        >>> listed.find("./images/day/1.jpg"), listed.find("2.jpg"), listed.find("dusk/1.jpg")
        ('images/day/1.jpg', 'images/night/2.jpg', None)
    """

    def __init__(self, names: Iterable[str], *, bare: bool = False) -> None:
        self._bare = bare
        self._of: dict[str, str] = {}
        self._twice: set[str] = set()
        for name in names:
            if self._of.setdefault(self._key(name), name) != name:
                self._twice.add(self._key(name))
        #: folders that lines drop; None while no line dropped any
        self._dropped: str | None = None

    def begin(self) -> None:
        """A list begins: its lines may drop other folders than those of the list before."""
        self._dropped = None

    def find(self, line: str, folder: str = "") -> str | None:
        """The picture that a line names; None where there is none, or none without doubt.

        Args:
            line: as written.
            folder: of the list, below the folder of the set; lines may be relative to it.
        """
        path = self._key(line.strip().replace("\\", "/"))
        if not path:
            return None
        for spelling in dict.fromkeys((posixpath.normpath(posixpath.join(folder, path)), path)):
            if spelling in self._of:
                return self._one(spelling)
        parts = path.lstrip("/").split("/")
        for start in range(1, len(parts)):
            tail = "/".join(parts[start:])
            if tail not in self._of:
                continue
            dropped = path[: len(path) - len(tail)]
            if self._dropped is None:
                self._dropped = dropped
            return self._one(tail) if dropped == self._dropped else None
        return self._ending(path)

    def _one(self, key: str) -> str | None:
        return None if key in self._twice else self._of[key]

    def _key(self, name: str) -> str:
        path = posixpath.normpath(name if name.isascii() else unicodedata.normalize("NFC", name)) if name else ""
        while path.startswith("../"):
            path = path[3:]
        stem, ending = posixpath.splitext(path)
        return stem if self._bare and ending.lower() in ENDINGS else path

    def _ending(self, path: str) -> str | None:
        """The one picture whose path ends in ``/path``."""
        backwards = f"/{path}"[::-1]
        at = bisect.bisect_left(self._backwards, backwards)
        found = self._backwards[at : at + 2]
        fits = [key for key in found if key.startswith(backwards)]
        return self._one(fits[0][::-1]) if len(fits) == 1 else None

    @cached_property
    def _backwards(self) -> list[str]:
        return sorted(key[::-1] for key in self._of)
