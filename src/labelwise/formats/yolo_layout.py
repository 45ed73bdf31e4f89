"""Where things lie in a YOLO set: settings, class list, pictures, files of labels, splits.

The same labels come in many layouts: Ultralytics (``data.yaml``, ``images/train``, ``labels/train``), Roboflow
(``train/images``, ``train/labels``), darknet and CVAT (``obj.data``, ``obj.names``, ``train.txt``, ``obj_train_data``
with pictures and texts together), labelImg (texts beside the pictures, ``classes.txt``), and bare folders of texts.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from labelwise.errors import FormatError
from labelwise.formats.delimited import read_text
from labelwise.formats.glance import some_files
from labelwise.formats.listed import Listed
from labelwise.formats.scan import ENDINGS
from labelwise.formats.set_splits import Splits, cvat_folder
from labelwise.formats.splits import role_of
from labelwise.formats.yaml_text import MOST_BYTES, NOTHING, read_yaml_text

#: where the class list may stand
YAMLS = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
CLASS_FILES = ("classes.txt", "obj.names", "_darknet.labels", "labels.txt", "class_names.txt", "predefined_classes.txt")
#: words that a set may use for what its lines hold
TASKS = ("detect", "segment", "pose", "obb")
#: bytes of a text that lists pictures
_LIST_BYTES = 256_000_000

_NO_NAMES = " has no list called names: add names: [class of index 0, class of index 1, ...]"
_FOLDERS = 64


@dataclass(frozen=True)
class YoloSet:
    """What a set says of itself.

    Args:
        folder: that paths are relative to.
        shown: the folder, as the user named it.
        settings: of ``data.yaml`` or ``obj.data``, as text.
        source: name of the file of settings; "" where there is none.
        classes: names in index order; () where nothing lists them.
        kpt_shape: (key points, numbers of each), where the settings say so.
        task: what lines hold, where the settings say so; else "".
    """

    folder: Path
    shown: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""
    classes: tuple[str, ...] = ()
    kpt_shape: tuple[int, int] | None = None
    task: str = ""

    @cached_property
    def lists_all(self) -> bool:
        """Whether all pictures have a text, looked at or not: so does CVAT."""
        return any(cvat_folder(path.name) for path in _folders(self.folder))

    @property
    def points(self) -> tuple[str, ...]:
        """Names of the key points, where the settings have them."""
        names = self.settings.get("kpt_names")
        names = next(iter(names.values()), None) if isinstance(names, Mapping) else names
        if not isinstance(names, list) or not self.kpt_shape or len(names) != self.kpt_shape[0]:
            return ()
        return tuple(names) if all(isinstance(name, str) for name in names) else ()


def open_set(path: Path, *, named: bool = False, follow: bool = False) -> YoloSet:
    """The settings and class list of a folder, of ``data.yaml`` or of ``obj.data``.

    Args:
        path: the folder or file.
        named: the user gave a class list, so that the set's own is not needed.
        follow: whether ``path:`` of the settings may name another folder, where this one has no pictures.

    Raises:
        FormatError: broken settings or class lists, or lists that contradict each other.
    """
    folder = path if path.is_dir() else path.parent
    file = path if not path.is_dir() else _settings_file(folder)
    settings: Mapping[str, Any] = {}
    if file is not None:
        settings = read_data_file(file) if file.suffix == ".data" else read_settings(file)
    shape, task = _kpt_shape(settings, file), _task(settings, file)
    classes = () if named else _classes(folder, file, settings)
    shown = str(folder)
    place = settings.get("path")
    if follow and isinstance(place, str) and place not in NOTHING and not some_files(folder, ENDINGS, 1):
        other = Path(os.path.normpath(folder / place))
        folder = other if other.is_dir() else folder
    return YoloSet(folder, shown, settings, "" if file is None else file.name, classes, shape, task)


def pictures_of(folder: Path) -> Path:
    """The folder of the pictures, which ids are relative to."""
    return folder / "images" if (folder / "images").is_dir() else folder


# ---- settings -------------------------------------------------------------------------------------------------------


def _settings_file(folder: Path) -> Path | None:
    """By name; or else the one that has names."""
    for name in YAMLS:
        if (folder / name).is_file():
            return folder / name
    others = sorted(path for path in some_files(folder, (".yaml", ".yml")) if path.parent == folder)
    fits = [path for path in others if _has_names(path)]
    if len(fits) > 1:
        raise FormatError(
            f"{str(folder)!r:.150} has several files of settings ({', '.join(path.name for path in fits[:3])}): give "
            "the one that is meant instead of the folder"
        )
    data = sorted(path for path in some_files(folder, (".data",)) if path.parent == folder)
    return fits[0] if fits else data[0] if data else None


def _has_names(path: Path) -> bool:
    try:
        found = read_yaml_text(path)
    except FormatError:
        return False
    return isinstance(found, dict) and isinstance(found.get("names"), dict | list)


def read_settings(path: Path) -> Mapping[str, Any]:
    """``data.yaml`` as text.

    Raises:
        FormatError: no mapping.
    """
    found = read_yaml_text(path)
    if not isinstance(found, dict):
        raise FormatError(f"{str(path)!r}{_NO_NAMES}")
    return found


def read_data_file(path: Path) -> Mapping[str, str]:
    """``obj.data`` of darknet: lines ``key = value``."""
    rows = (line.partition("=") for line in read_text(path, most=MOST_BYTES).splitlines())
    return {key.strip(): value.strip() for key, equals, value in rows if equals}


def _kpt_shape(settings: Mapping[str, Any], file: Path | None) -> tuple[int, int] | None:
    shape = settings.get("kpt_shape")
    if shape is None or (isinstance(shape, str) and shape in NOTHING):
        return None
    numbers = [int(one) if _is_count(one) else 0 for one in shape] if isinstance(shape, list) else []
    if len(numbers) != 2 or numbers[1] not in (2, 3) or not numbers[0]:
        raise FormatError(
            f"{str(file)!r}: kpt_shape is {shape!r:.60}; give the number of key points and 2 (x, y) or 3 (x, y, seen)"
        )
    return numbers[0], numbers[1]


def check_points(found: YoloSet) -> None:
    """Refuses settings whose key points contradict ``kpt_shape``.

    Raises:
        FormatError: names of another number, one of them twice, or a ``flip_idx`` that is no order of the points.
    """
    if found.kpt_shape is None:
        return
    count, where = found.kpt_shape[0], repr(str(Path(found.shown) / found.source))
    names, flip = found.settings.get("kpt_names"), found.settings.get("flip_idx")
    for own in names.values() if isinstance(names, Mapping) else [] if names is None else [names]:
        if not isinstance(own, list) or len(own) != count:
            raise FormatError(f"{where}: kpt_names has {own!r:.60}, and kpt_shape {count} points; give a name for each")
        if twice := [name for place, name in enumerate(own) if name in own[:place]]:
            raise FormatError(f"{where}: two key points are called {twice[0]!r:.60}; give each its own name")
    if flip is not None and not (isinstance(flip, list) and sorted(map(str, flip)) == sorted(map(str, range(count)))):
        raise FormatError(
            f"{where}: flip_idx is {flip!r:.80}; give each position from 0 to {count - 1} once, as a mirror orders them"
        )


def _is_count(text: Any) -> bool:
    return isinstance(text, str) and text.isascii() and text.isdecimal() and len(text) < 7


def _task(settings: Mapping[str, Any], file: Path | None) -> str:
    task = settings.get("task", "")
    if not isinstance(task, str) or task not in (*TASKS, *NOTHING):
        raise FormatError(f"{str(file)!r}: task is {task!r:.60}; give {', '.join(TASKS)}, or leave it out")
    return "" if task in NOTHING else task


# ---- classes --------------------------------------------------------------------------------------------------------


def _classes(folder: Path, file: Path | None, settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Names in index order, of all lists that there are.

    Raises:
        FormatError: two lists that differ: a number would mean two classes.
    """
    lists: dict[str, tuple[str, ...]] = {}
    if file is not None and file.suffix != ".data":
        lists[str(file)] = names_of(settings, repr(str(file)))
    for place in _class_files(folder, settings):
        lists[str(place)] = read_class_file(place)
    if not lists:
        return ()
    one, names = next(iter(lists.items()))
    count = settings.get("classes")
    if file is not None and file.suffix == ".data" and _is_count(count) and int(str(count)) != len(names):
        raise FormatError(
            f"{str(file)!r:.120} says classes = {count}, and {one!r:.120} lists {len(names)}; correct one of the two"
        )
    for other, others in lists.items():
        if others == names:
            continue
        at = next((n for n, pair in enumerate(zip(names, others, strict=False)) if pair[0] != pair[1]), None)
        what = "one lists more" if at is None else f"class {at} is {names[at]!r:.30} and {others[at]!r:.30}"
        raise FormatError(
            f"{one!r:.80} and {other!r:.80} list different classes ({what}): delete the wrong one, or give the right "
            "one with --names"
        )
    return names


def _class_files(folder: Path, settings: Mapping[str, Any]) -> list[Path]:
    """Lists of classes at the top, beside the labels, and in the folders of the splits."""
    places = [folder, folder / "labels", *_folders(folder), *_folders(folder / "labels")]
    found = [place / name for place in places for name in CLASS_FILES]
    named = settings.get("names")
    if isinstance(named, str) and named not in NOTHING:
        found += [folder / PurePosixPath(named.replace("\\", "/")).name]
    return [path for path in dict.fromkeys(found) if path.is_file()]


def _folders(folder: Path) -> list[Path]:
    """Some of the folders in a folder."""
    try:
        with os.scandir(folder) as entries:
            found = [Path(entry.path) for _, entry in zip(range(20_000), entries, strict=False) if entry.is_dir()]
    except OSError:
        return []
    return sorted(path for path in found if not path.name.startswith("."))[:_FOLDERS]


def read_class_file(path: Path) -> tuple[str, ...]:
    """A name a line.

    Raises:
        FormatError: no name, or one twice.
    """
    lines = (line.strip() for line in read_text(path, most=MOST_BYTES).splitlines())
    return checked([line for line in lines if line], repr(str(path)))


def names_of(settings: Mapping[str, Any], shown: str) -> tuple[str, ...]:
    """Class names out of ``data.yaml``, as they are written there.

    Raises:
        FormatError: no list of names, or ``nc`` says another number.
    """
    names = settings.get("names")
    if isinstance(names, Mapping):
        if not all(_is_count(key) for key in names) or {int(key) for key in names} != set(range(len(names))):
            raise FormatError(
                f"{shown}: names have the keys {list(names)[:20]!r:.80}; give them 0, 1, 2, ... without a hole"
            )
        names = [name for _, name in sorted(names.items(), key=lambda pair: int(pair[0]))]
    if not isinstance(names, list):
        raise FormatError(f"{shown}{_NO_NAMES}")
    if odd := [name for name in names if not isinstance(name, str)]:
        raise FormatError(f"{shown}: a name is {odd[0]!r:.60}; give every class one word or text")
    count = settings.get("nc")
    if isinstance(count, str) and count not in NOTHING and count.removesuffix(".0") != str(len(names)):
        raise FormatError(f"{shown}: nc is {count:.20}, and there are {len(names)} names; correct one of the two")
    return checked([name.strip() for name in names], shown)


def checked(names: Sequence[str], shown: str) -> tuple[str, ...]:
    """A class list without holes and twins.

    Raises:
        FormatError: it is empty, or one of its names is, or stands twice.
    """
    if not names or not all(names):
        raise FormatError(f"{shown}: the class list is empty, or one of its names is; give every class a name")
    if len(set(names)) < len(names):
        twice = Counter(names).most_common(1)[0][0]
        raise FormatError(f"{shown}: class {twice!r:.60} is listed twice; rename one of the two")
    return tuple(names)


# ---- names ----------------------------------------------------------------------------------------------------------


def label_path(name: str) -> str:
    """Where the labels of an image lie.

    Example:
        >>> label_path("images/train/a.jpg"), label_path("train/images/a.b.png"), label_path("a.jpg")
        ('labels/train/a.txt', 'train/labels/a.b.txt', 'a.txt')
    """
    folder, stem = _split(name)
    return f"{_renamed(folder, 'images', 'labels')}{stem}.txt"


def image_of(text: str) -> str:
    """The image that a file of labels is of, without ending.

    Example:
        >>> image_of("train/labels/a.b.txt"), image_of("obj_train_data/cam1/a.txt"), image_of("a.txt")
        ('train/images/a.b', 'cam1/a', 'a')
    """
    folder, stem = _split(text)
    first, _, rest = folder.partition("/")
    return f"{_renamed(rest if cvat_folder(first) else folder, 'labels', 'images')}{stem}"


def beside(name: str) -> str:
    """The text beside an image.

    Example:
        >>> beside("images/a.b.jpg")
        'images/a.b.txt'
    """
    return "{}{}.txt".format(*_split(name))


def _split(name: str) -> tuple[str, str]:
    """Folders with their slash, and the file name without its ending; by text, as a set has a hundred thousand."""
    at = name.rfind("/") + 1
    end = name.rfind(".", at + 1)
    return name[:at], name[at : end if end > at else None]


def _renamed(folder: str, old: str, new: str) -> str:
    """The last folder called ``old`` called ``new``, both in the same case: ``Images`` becomes ``Labels``."""
    at = f"/{folder}".lower().rfind(f"/{old}/")
    if at < 0:
        return folder
    found = folder[at : at + len(old)]
    cased = new.upper() if found.isupper() else new.capitalize() if found[:1].isupper() else new
    return f"{folder[:at]}{cased}{folder[at + len(old) :]}"


# ---- splits ---------------------------------------------------------------------------------------------------------


def splits_of(found: YoloSet, names: Sequence[str], *, bare: bool = False) -> Splits:
    """As the settings say; where they say nothing that tells pictures apart, as the folders are called.

    Args:
        found: the set.
        names: of its pictures, below its folder.
        bare: the names have no ending.

    Raises:
        FormatError: a list of pictures that cannot be read.
    """
    splits = Splits()
    sets: dict[str, set[str]] = {}
    listed: Listed | None = None
    for word, value in found.settings.items():
        if role_of(word) is None:
            continue
        folders: dict[str, str] = {}
        inside = sets.setdefault(word, set())
        for text in (one for one in (value if isinstance(value, list) else [value]) if isinstance(one, str)):
            place = _place(found, word, text) if text not in NOTHING else None
            if place is None:
                splits.missing += [f"{text} ({word} of {found.source})"] if text not in NOTHING else []
                continue
            splits.notes += [place.said] if place.said else []
            if place.is_list:
                listed = listed or Listed(names, bare=bare)
                splits.lists.add(place.path)
                inside.update(_of_list(found, place.path, listed, splits))
            else:
                folders[place.path] = text
        below, used = _below(names, folders)
        inside |= below
        bare_folders = [text for path, text in folders.items() if path not in used]
        splits.missing += [f"{text} ({word} of {found.source}, without images)" for text in bare_folders]
    splits.decide(sets, names)
    return splits


def _below(names: Sequence[str], folders: Collection[str]) -> tuple[set[str], set[str]]:
    """The names that lie in one of the folders, and the folders that hold any."""
    if not folders:
        return set(), set()
    holder: dict[str, str | None] = {}
    inside: set[str] = set()
    for name in names:
        folder = posixpath.dirname(name)
        if folder not in holder:
            parts = folder.split("/")
            above = ["/".join(parts[:stop]) for stop in range(len(parts), 0, -1)] + ["."]
            holder[folder] = next((one for one in above if one in folders), None)
        if holder[folder] is not None:
            inside.add(name)
    return inside, {one for one in holder.values() if one is not None}


@dataclass(frozen=True)
class _Place:
    path: str
    is_list: bool
    said: str = ""


def _place(found: YoloSet, word: str, text: str) -> _Place | None:
    """The folder or list below the set that a setting means; None where there is none."""
    plain = text.strip().replace("\\", "/")
    base = found.settings.get("path", "")
    bases = [Path(base)] if isinstance(base, str) and base not in NOTHING else []
    stripped = re.sub(r"^(?:\.\./)+", "", plain)  # as Roboflow writes it, and Ultralytics reads it
    for start in [*(found.folder / one for one in bases), found.folder]:
        for spelling in dict.fromkeys((plain, stripped)):
            if spelling and (place := _inside(found.folder, start / spelling)) is not None:
                return _Place(*place)
    parts = stripped.strip("/").split("/")
    for first in range(1, len(parts)):
        tail = "/".join(parts[first:])
        # one folder alone says too little: valid/images is not images
        telling = len(parts) - first > 1 or tail.lower().endswith(".txt") or role_of(tail) == role_of(word)
        if telling and (place := _inside(found.folder, found.folder / tail)) is not None:
            said = f"{word}: {text!r:.80} is not there; {tail!r:.60} in the set was taken for it"
            return _Place(*place, "" if found.source.endswith(".data") else said)  # darknet runs one folder up
    return None


def _inside(folder: Path, path: Path) -> tuple[str, bool] | None:
    """A path below the folder, and whether it is a list; None for what is not there, or lies elsewhere."""
    try:
        is_folder, is_list = path.is_dir(), path.is_file() and path.suffix.lower() == ".txt"
    except (OSError, ValueError):
        return None
    if not (is_folder or is_list):
        return None
    for top, below in ((os.path.abspath(folder), os.path.abspath(path)),  # noqa: PTH100
                       (os.path.realpath(folder), os.path.realpath(path))):  # fmt: skip
        if below == top or below.startswith(top.rstrip("/") + "/"):
            return posixpath.normpath(Path(os.path.relpath(below, top)).as_posix()), is_list
    return None


def _of_list(found: YoloSet, path: str, listed: Listed, splits: Splits) -> Iterable[str]:
    folder = posixpath.dirname(path)
    listed.begin()
    for line in read_text(found.folder / path, most=_LIST_BYTES).splitlines():
        if not line.strip():
            continue
        name = listed.find(line, folder)
        if name is None:
            splits.missing.append(f"{line.strip()} ({path})")
        else:
            yield name
