"""A folder of images: flat, nested, or one folder per class, with or without a train/validation/test split."""

from __future__ import annotations

import copy
import hashlib
import os
import stat
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, Self

import numpy as np

from labelwise.contracts.source import Source, ValueRange, checked_range
from labelwise.data.class_folders import arranged
from labelwise.data.images import decode, read_size
from labelwise.errors import DataError, unknown
from labelwise.formats.mask_layout import looks_like_masks
from labelwise.formats.scan import ENDINGS, Scan, scan_folder

_CHUNK = 256
_BLOCK = 1 << 18


class ImageFolder(Source):
    """The images below a folder; the id of an image is its path relative to the folder, with ``/``.

    *Roles.* With ``roles="auto"`` top folders that name a split (``train``, ``Validation``, ``test2``: the words of
    ``formats.splits``) become the roles pool, validation and test, if one for the pool is there and no more than a few
    images, such as an icon, lie outside these folders. Those few are left out. One folder around them all may be there.

    *Labels.* With ``labels="auto"`` the tree counts as *one folder per class* if, in every role folder (or in the root,
    where there are no roles), each image lies exactly one level down, and at least two such folders exist; a few images
    beside them are left out. A folder ``unlabelled`` or ``todo`` beside those of classes is none. A role folder that
    breaks the rule has no labels; the others keep theirs. Classes are the folder names in string order.
    With ``labels="folders"`` the first folder below root (or role folder) is the class, however deep the image lies,
    and images beside the folders have none.

    *Masks.* Files that are masks by their names (``masks/a.png`` beside ``images/a.jpg``, see ``formats.mask_layout``)
    are no images, unless ``labels="folders"`` says that folders are classes whatever they are called.

    Whatever was guessed or left out stands in ``notes``.

    Args:
        root: the folder.
        labels: ``auto`` by the rule above, ``folders`` always, ``none`` never.
        roles: ``auto`` by the rule above, ``folders`` for every top folder with such a name, ``none`` never.
        ids: the images, when they are known already; nothing is scanned or left out then.
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
        if ids is None and labels != "folders":
            self._leave_out_masks()
        self._arrangement = arranged(self.ids, labels, roles)
        self.roles, self.truth = self._arrangement.roles, self._arrangement.truth
        self.classes = self._arrangement.classes
        self.kind = "classes" if self.truth else None
        self.add_notes(self._arrangement.notes)
        if ids is None and self._arrangement.left_out:
            self.ids = tuple(item for item in self.ids if item not in self._arrangement.left_out)

    def _leave_out_masks(self) -> None:
        masks = looks_like_masks(str(self.root), self.ids)
        if not masks:
            return
        self.ids = tuple(item for item in self.ids if item not in masks)
        if not self.ids:
            raise DataError(f"no images in {str(self.root)!r}: its {len(masks):,} picture(s) are masks by their names")
        self.add_notes([f"left out: {len(masks):,} mask(s), by their names, such as {min(masks)!r:.80}"])

    def __repr__(self) -> str:
        return f"ImageFolder({str(self.root)!r}, {len(self.ids)} images)"

    def load(self, item_id: str) -> np.ndarray:
        """The decoded image; see :func:`labelwise.data.images.decode`."""
        return decode(self.path(item_id), value_range=self.value_range, name=item_id)

    def in_range(self, value_range: ValueRange | None) -> Self:
        """The same folder, its pictures of more than 8 bits read from this range."""
        seen = copy.copy(self)
        seen.value_range = checked_range(value_range)
        return seen

    def encoded(self, item_id: str) -> str:
        """The path of the file."""
        return self.path(item_id)

    def size(self, item_id: str) -> tuple[int, int]:
        """Width and height, out of the file's header."""
        return read_size(self.path(item_id), name=item_id)

    def native_order(self) -> list[str]:
        """As ``torchvision.datasets.ImageFolder`` lists the folder train (or the root): by class, folder, file name."""
        return sorted(super().native_order(), key=self._native_key)

    def _native_key(self, item_id: str) -> tuple[str, str, str]:
        # plain string order would put "a-b/x" before "a/x": "-" comes before "/"
        folder, _, name = self._arrangement.below(item_id).rpartition("/")
        return folder.partition("/")[0], folder, name

    def notes(self) -> list[str]:
        """What the scan left out, see :class:`Scan`, and what was found when the folder was opened."""
        return [*self.scan.notes(), *self._noted]

    def add_notes(self, lines: Sequence[str]) -> None:
        """Takes further lines for ``notes``."""
        self._noted = (*self._noted, *lines)

    def thumbnail(self, item_id: str, max_side: int) -> np.ndarray:
        """The image made small while it is decoded; several times faster than ``load`` for large JPEG files."""
        return decode(self.path(item_id), max_side=max_side, value_range=self.value_range, name=item_id)

    def content(self, item_ids: Sequence[str]) -> list[str]:
        """BLAKE2b-128 of each file's bytes and the range, read by several threads; "" for one that cannot be read."""
        paths = [self.path(item_id) for item_id in item_ids]
        chunks = [paths[i : i + _CHUNK] for i in range(0, len(paths), _CHUNK)]
        if len(chunks) < 2:
            found = [digest for chunk in chunks for digest in _digests(chunk)]
        else:
            with ThreadPoolExecutor(4) as threads:
                found = [digest for part in threads.map(_digests, chunks) for digest in part]
        return [in_this_range(digest, self.value_range) for digest in found]

    def stat_key(self, item_ids: Sequence[str]) -> list[str]:
        """``size:mtime_ns`` of each file, "" for a missing one: while it stays the same, so does ``content``."""
        keys = [_stat_key(self.path(item_id)) for item_id in item_ids]
        if self.value_range is None:
            return keys
        low, high = self.value_range
        return [key and f"{key}:{low!r}:{high!r}" for key in keys]

    def path(self, item_id: str) -> str:
        """The absolute path."""
        return f"{self.root}{os.sep}{item_id}"


def in_this_range(digest: str, value_range: ValueRange | None) -> str:
    """A digest of a file as one of the picture that is read from it in a range; "" stays ""."""
    if value_range is None or not digest:
        return digest
    low, high = value_range
    return hashlib.blake2b(f"{digest} {low!r} {high!r}".encode(), digest_size=16).hexdigest()


def _stat_key(path: str) -> str:
    try:
        status = os.stat(path)  # noqa: PTH116
    except OSError:
        return ""
    # of a pipe or a device nothing says that its content changed
    return f"{status.st_size}:{status.st_mtime_ns}" if stat.S_ISREG(status.st_mode) else "none"


def _digests(paths: Sequence[str]) -> list[str]:
    return [_digest(path) for path in paths]


def _digest(path: str) -> str:
    """Plain system calls: a file object per file costs more than reading a small file."""
    digest = hashlib.blake2b(digest_size=16)
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0))
        try:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                return ""
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
