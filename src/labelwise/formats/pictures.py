"""The pictures of a set that is written: links, copies, or only their paths in lists."""

from __future__ import annotations

import filecmp
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from labelwise.contracts.format import Writing
from labelwise.errors import FormatError, StateError


@dataclass(frozen=True)
class Placed:
    """Where the pictures of a set are.

    Args:
        paths: image -> the path by which lists name it: relative to the folder of the set where the picture was put
            there, absolute where it stays where it is; the wanted one where there is no file.
        notes: what people should know, one line each.
    """

    paths: Mapping[str, str]
    notes: tuple[str, ...] = ()


def place_pictures(folder: str | os.PathLike[str], wanted: Mapping[str, str], how: Writing) -> Placed:
    """Puts pictures where a set wants them, as ``how.images`` says.

    ``link``: symbolic links to the absolute paths, which cost nothing and follow the original; copies where the file
    system has no links. ``copy``: whole copies. ``list``: nothing is written. A file that lies at the wanted place
    already stays if it is the same picture; another one is never overwritten.

    Args:
        folder: of the set; made where it is missing.
        wanted: image -> path below ``folder``, with ``/``.
        how: tells the file of each image.

    Raises:
        FormatError: two pictures for one place, or a place outside the folder.
        StateError: another file lies there, a picture cannot be read, or the folder cannot be written.

    Example:
        >>> place_pictures("out", {"a.jpg": "images/a.jpg"}, Writing("labelled", "boxes", lambda image: f"/d/{image}"))
        Placed(paths={'a.jpg': '/d/a.jpg'}, notes=())
    """
    root = Path(folder)
    _check(wanted)
    paths: dict[str, str] = {}
    fileless = copied = 0
    for done, (image, place) in enumerate(wanted.items(), 1):
        source = how.path_of(image)
        if not source:
            fileless += 1
            paths[image] = place
        elif how.images == "list":
            paths[image] = os.path.abspath(source)  # noqa: PTH100  (resolve() would follow links)
        else:
            copied += _put(Path(os.path.abspath(source)), root / place, how.images == "link")  # noqa: PTH100
            paths[image] = place
        how.progress("writing images", done, len(wanted))
    notes = []
    if fileless:
        notes.append(f"{fileless:,} image(s) have no file of their own: their labels were written without them")
    if copied and how.images == "link":
        notes.append(f"{copied:,} image(s) were copied: the file system of {os.fspath(folder)!r} has no links")
    return Placed(paths, tuple(notes))


def _check(wanted: Mapping[str, str]) -> None:
    of_place: dict[str, str] = {}
    for image, place in wanted.items():
        path = PurePosixPath(place)
        if path.is_absolute() or ".." in path.parts or not path.parts:
            raise FormatError(f"the image {image!r:.80} would lie outside the folder of the set, at {place!r:.80}")
        if (other := of_place.setdefault(place, image)) != image:
            raise FormatError(f"{other!r:.80} and {image!r:.80} would both lie at {place!r:.80}: rename one of them")


def _put(source: Path, target: Path, link: bool) -> bool:
    """Puts one picture; whether it was copied."""
    try:
        if _same(source, target, link):
            return False
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)  # a link of an earlier export: copying through it would hit the original
        if link:
            try:
                target.symlink_to(source)
                return False
            except (OSError, NotImplementedError):  # FAT, or Windows without the right to make links
                pass
        shutil.copyfile(source, target)
    except OSError as error:
        raise StateError(
            f"{str(source)!r:.120} cannot be put at {str(target)!r:.120}: {error.strerror or error}. Choose another "
            "folder, or --images list"
        ) from error
    return True


def _same(source: Path, target: Path, link: bool) -> bool:
    """Whether the picture lies there already, in the way that is wanted.

    Raises:
        StateError: another file lies there.
    """
    if target.is_symlink():
        return link and target.exists() and target.samefile(source)
    if not target.exists():
        return False
    if target.samefile(source) or filecmp.cmp(source, target, shallow=False):
        return True
    raise StateError(f"{str(target)!r:.160} is there and is another file: choose an empty folder")
