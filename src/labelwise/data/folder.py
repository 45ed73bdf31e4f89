"""A folder of images: flat, nested, or one folder per class, with or without a train/validation/test split."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np

from labelwise.contracts.source import Role, Source
from labelwise.data.images import decode, read_size
from labelwise.errors import DataError, unknown
from labelwise.formats.scan import ENDINGS, Scan, scan_folder

#: top folders that name a split
ROLE_FOLDERS: Mapping[str, Role] = {
    "train": "pool",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}

_CHUNK = 256
_BLOCK = 1 << 18


class ImageFolder(Source):
    """The images below a folder; the id of an image is its path relative to the folder, with ``/``.

    *Roles.* With ``roles="auto"`` the top folders ``train``, ``val`` (or ``valid``, ``validation``) and ``test`` become
    the roles pool, validation and test, if ``train`` is there and no image lies outside these folders.

    *Labels.* With ``labels="auto"`` the tree counts as *one folder per class* if, in every role folder (or in the root,
    where there are no roles), each image lies exactly one level down, and at least two such folders exist. A role
    folder that breaks the rule has no labels; the others keep theirs. Classes are the folder names in string order.
    With ``labels="folders"`` the first folder below root (or role folder) is the class, however deep the image lies,
    and images beside the folders have none.

    Args:
        root: the folder.
        labels: ``auto`` by the rule above, ``folders`` always, ``none`` never.
        roles: ``auto`` by the rule above, ``folders`` for every top folder with such a name, ``none`` never.
        ids: the images, when they are known already; nothing is scanned then.
        scan: what lies in the folder, likewise.

    Raises:
        DataError: for something that is not a folder, or a folder without images.

    Example:
        >>> source = ImageFolder("photos/")                     # doctest: +SKIP
        >>> source.load(source.ids[0]).shape                    # doctest: +SKIP
        (480, 640, 3)
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        labels: Literal["auto", "folders", "none"] = "auto",
        roles: Literal["auto", "folders", "none"] = "auto",
        ids: Sequence[str] | None = None,
        scan: Scan | None = None,
    ) -> None:
        for option, value in (("labels", labels), ("roles", roles)):
            if value not in ("auto", "folders", "none"):
                raise unknown(f"value of {option}", str(value), ("auto", "folders", "none"))
        self.root = Path(os.path.abspath(root))  # noqa: PTH100  (resolve() would follow links: people know the link's name)
        self.scan = scan or (scan_folder(self.root) if ids is None else Scan(tuple(sorted(ids)), {}))
        if not self.scan.ids:
            raise DataError(_no_images(self.root, self.scan))
        self.ids = self.scan.ids
        self._noted: tuple[str, ...] = ()
        self.roles = _roles(self.ids, roles)
        self.truth, self.classes = _classes(self.ids, self.roles, labels) if labels != "none" else ({}, None)
        self.kind = "classes" if self.truth else None

    def __repr__(self) -> str:
        return f"ImageFolder({str(self.root)!r}, {len(self.ids)} images)"

    def load(self, item_id: str) -> np.ndarray:
        """The decoded image; see :func:`labelwise.data.images.decode`."""
        return decode(self.path(item_id), name=item_id)

    def size(self, item_id: str) -> tuple[int, int]:
        """Width and height, out of the file's header."""
        return read_size(self.path(item_id), name=item_id)

    def native_order(self) -> list[str]:
        """As ``torchvision.datasets.ImageFolder`` lists the folder train (or the root): by class, folder, file name."""
        return sorted(super().native_order(), key=self._native_key)

    def _native_key(self, item_id: str) -> tuple[str, str, str]:
        # plain string order would put "a-b/x" before "a/x": "-" comes before "/"
        below = item_id.partition("/")[2] if self._below_role(item_id) else item_id
        folder, _, name = below.rpartition("/")
        return folder.partition("/")[0], folder, name

    def _below_role(self, item_id: str) -> bool:
        return bool(self.roles) and item_id.partition("/")[0] in ROLE_FOLDERS

    def notes(self) -> list[str]:
        """What the scan left out, see :class:`Scan`, and what was found when the folder was opened."""
        return [*self.scan.notes(), *self._noted]

    def add_notes(self, lines: Sequence[str]) -> None:
        """Takes further lines for ``notes``."""
        self._noted = (*self._noted, *lines)

    def thumbnail(self, item_id: str, max_side: int) -> np.ndarray:
        """The image made small while it is decoded; several times faster than ``load`` for large JPEG files."""
        return decode(self.path(item_id), max_side=max_side, name=item_id)

    def content(self, item_ids: Sequence[str]) -> list[str]:
        """BLAKE2b-128 of each file's bytes, read by several threads; "" for a file that cannot be read."""
        paths = [self.path(item_id) for item_id in item_ids]
        chunks = [paths[i : i + _CHUNK] for i in range(0, len(paths), _CHUNK)]
        if len(chunks) < 2:
            return [digest for chunk in chunks for digest in _digests(chunk)]
        with ThreadPoolExecutor(4) as threads:
            return [digest for part in threads.map(_digests, chunks) for digest in part]

    def stat_key(self, item_ids: Sequence[str]) -> list[str]:
        """``size:mtime_ns`` of each file, "" for a missing one: while it stays the same, so does ``content``."""
        return [_stat_key(self.path(item_id)) for item_id in item_ids]

    def path(self, item_id: str) -> str:
        """The absolute path."""
        return f"{self.root}{os.sep}{item_id}"


def _stat_key(path: str) -> str:
    try:
        stat = os.stat(path)  # noqa: PTH116
    except OSError:
        return ""
    return f"{stat.st_size}:{stat.st_mtime_ns}"


def _digests(paths: Sequence[str]) -> list[str]:
    return [_digest(path) for path in paths]


def _digest(path: str) -> str:
    """Plain system calls: a file object per file costs more than reading a small file."""
    digest = hashlib.blake2b(digest_size=16)
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        try:
            while block := os.read(handle, _BLOCK):
                digest.update(block)
        finally:
            os.close(handle)
    except OSError:
        return ""
    return digest.hexdigest()


def _no_images(root: Path, scan: Scan) -> str:
    found = f"; found {'; '.join(scan.notes())}" if scan.notes() else "; it is empty"
    return f"no images in {str(root)!r}: looked for {' '.join(ENDINGS)}, sub-folders included{found}"


def _roles(ids: Sequence[str], mode: str) -> dict[str, Role]:
    """Roles of the items outside the pool, and of all items when folders name the roles."""
    if mode == "none":
        return {}
    tops = {item_id.partition("/")[0] for item_id in ids if "/" in item_id}
    split = "train" in tops and tops <= set(ROLE_FOLDERS) and all("/" in item_id for item_id in ids)
    if mode == "auto" and not split:
        return {}
    named = ((item_id, ROLE_FOLDERS.get(item_id.partition("/")[0])) for item_id in ids if "/" in item_id)
    return {item_id: role for item_id, role in named if role is not None}


def _classes(
    ids: Sequence[str], roles: Mapping[str, Role], mode: str
) -> tuple[Mapping[str, Any], tuple[str, ...] | None]:
    """Truth and class names out of the folders, by the rule that ``ImageFolder`` documents."""
    parts: dict[str, dict[str, str]] = {}  # top folder of a role, or "" -> id -> the path below it
    for item_id in ids:
        top, _, rest = item_id.partition("/")
        key, below = (top, rest) if item_id in roles else ("", item_id)
        parts.setdefault(key, {})[item_id] = below
    truth: dict[str, str] = {}
    for paths in parts.values():
        if mode == "folders" or all(path.count("/") == 1 for path in paths.values()):
            truth |= {item_id: path.partition("/")[0] for item_id, path in paths.items() if "/" in path}
    classes = tuple(sorted(set(truth.values())))
    if mode == "auto" and len(classes) < 2:
        return {}, None
    return truth, classes or None
