"""The pictures of a set that is written: links, copies, or only their paths in lists."""

from __future__ import annotations

import filecmp
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

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

    ``link``: symbolic links to the absolute paths, which cost nothing and follow the original; hard links where there
    are no symbolic ones, copies where there are neither. ``copy``: whole copies. ``list``: nothing is written. A file
    that lies at the wanted place already stays if it is the same picture; another one is never overwritten. Nothing is
    put anywhere before all is checked. To be called before labels are written.

    Args:
        folder: of the set; made where it is missing.
        wanted: image -> path below ``folder``, with ``/``.
        how: tells the file of each image.

    Raises:
        FormatError: two pictures for one place, or a place outside the folder.
        StateError: another file lies there, a picture is gone, or the folder cannot be written.

    Example:
        >>> place_pictures("out", {"a.jpg": "images/a.jpg"}, Writing("labelled", "boxes", lambda image: f"/d/{image}"))
        Placed(paths={'a.jpg': '/d/a.jpg'}, notes=())
    """
    root = Path(folder)
    _check(wanted)
    files = {image: os.path.abspath(source) for image in wanted if (source := how.path_of(image))}  # noqa: PTH100
    ways: Counter[str] = Counter()
    if how.images != "list":
        _check_there(files)
        for done, (image, source) in enumerate(files.items(), 1):
            ways[_put(Path(source), root / wanted[image], how.images == "link")] += 1
            how.progress("writing images", done, len(files))
    notes = []
    if fileless := len(wanted) - len(files):
        notes.append(f"{fileless:,} image(s) have no file of their own: their labels were written without them")
    if hard := ways["hard link"]:
        notes.append(f"{hard:,} image(s) are hard links: the file system of {os.fspath(folder)!r} has no symbolic ones")
    if (copied := ways["copy"]) and how.images == "link":
        notes.append(f"{copied:,} image(s) were copied: the file system of {os.fspath(folder)!r} has no links")
    own = files if how.images == "list" else {}
    return Placed({image: own.get(image, place) for image, place in wanted.items()}, tuple(notes))


def _check(wanted: Mapping[str, str]) -> None:
    for image, place in wanted.items():
        if not is_below(place):
            raise FormatError(f"the image {image!r:.80} would lie outside the folder of the set, at {place!r:.80}")
    check_apart(wanted)


def is_below(path: str) -> bool:
    r"""Whether a relative path stays below the folder that it is relative to, on any system.

    Example:
        >>> [is_below(path) for path in ("a/b.jpg", "a/../b.jpg", "../b.jpg", "/b.jpg", r"C:\b.jpg", "")]
        [True, False, False, False, False, False]
    """
    plain = PurePosixPath(path)
    odd = "\\" in path or ":" in path  # a file name on this system may hold them, on another they are a way out
    windows = PureWindowsPath(path) if odd else None
    leaves = windows is not None and (windows.drive or windows.root or ".." in windows.parts)
    return bool(plain.parts) and not plain.is_absolute() and ".." not in plain.parts and not leaves


def check_apart(wanted: Mapping[str, str]) -> None:
    """Refuses two images that would share a file, such as the labels of ``a.jpg`` and ``a.png``.

    Args:
        wanted: image -> the file that is to be written for it.

    Raises:
        FormatError: names both.
    """
    if len(set(wanted.values())) == len(wanted):
        return
    of_place: dict[str, str] = {}
    for image, place in wanted.items():
        if (other := of_place.setdefault(place, image)) != image:
            raise FormatError(f"{other!r:.80} and {image!r:.80} would both lie at {place!r:.80}: rename one of them")


def check_fresh(folder: str | os.PathLike[str], parts: Iterable[str], files: Iterable[str]) -> None:
    """Refuses a folder that holds files of an older set where one is to be written: they would be trained on too.

    What a training leaves there (``.cache``) is no matter.

    Args:
        folder: of the set.
        parts: its sub-folders that programs read whole, such as ``labels``.
        files: what will be written there, as paths below ``folder``, with ``/``.

    Raises:
        StateError: one of the files, and how many there are.
    """
    own, strange = set(files), []
    for part in parts:
        for place, _, names in os.walk(Path(folder) / part):
            inside = Path(place).relative_to(folder).as_posix()
            strange += [
                f"{inside}/{name}" for name in names if f"{inside}/{name}" not in own and not name.endswith(".cache")
            ]
    if strange:
        raise StateError(
            f"{os.fspath(folder)!r:.120} holds {len(strange):,} file(s) that do not belong to this set, such as "
            f"{min(strange)!r:.80}: choose an empty folder, or delete them"
        )


def _check_there(files: Mapping[str, str]) -> None:
    gone = [image for image, source in files.items() if not os.path.isfile(source)]  # noqa: PTH113
    if gone:
        raise StateError(
            f"{files[gone[0]]!r:.120} is not there (and {len(gone) - 1:,} more): put it back, or write the set without "
            "its images (--images list)"
        )


def _put(source: Path, target: Path, link: bool) -> str:
    """Puts one picture, and says how."""
    try:
        if _same(source, target, link):
            return "there"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)  # a link of an earlier export: copying through it would hit the original
        for way, make in (("link", os.symlink), ("hard link", os.link)) if link else ():
            try:
                make(source, target)
                return way
            except (OSError, NotImplementedError):  # FAT, or Windows without the right to make links
                continue
        _copy(source, target)
    except OSError as error:
        raise StateError(
            f"{str(source)!r:.120} cannot be put at {str(target)!r:.120}: {error.strerror or error}. Choose another "
            "folder, or --images list"
        ) from error
    return "copy"


def _copy(source: Path, target: Path) -> None:
    """Whole or not at all: what is cut off would be trained on."""
    handle, name = tempfile.mkstemp(prefix=".copy.", dir=target.parent)
    os.close(handle)
    try:
        shutil.copyfile(source, name)
        shutil.copymode(source, name)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


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
