"""Folders of images whose boxes lie beside them: COCO, PASCAL VOC and YOLO data sets as sources."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from labelwise.contracts.source import Role
from labelwise.data.folder import ROLE_FOLDERS, ImageFolder
from labelwise.errors import DataError, FormatError
from labelwise.formats.coco import read_categories, read_coco
from labelwise.formats.voc import ANNOTATIONS, LISTS, read_voc, stem
from labelwise.formats.yolo import LISTS as YOLO_LISTS
from labelwise.formats.yolo import YAMLS, label_path, read_yolo

Kind = Literal["coco", "voc", "yolo"]

#: where the files of a COCO set lie, below its folder
_COCO_FILES = ("annotations/*.json", "*.json", "*/_annotations.coco.json")
#: a file of one of these names is COCO, or broken
_COCO_NAMES = re.compile(r"_?annotations(\.coco)?", re.IGNORECASE)


#: endings of the files that say where boxes are
_TEXTS = frozenset({".json", ".xml", ".txt", ".yaml", ".yml", ".names"})


class BoxFolder(ImageFolder):
    """Images below a folder with boxes for some or all of them.

    Args:
        root: the folder of the images.
        ids: the images, when they are known already.
    """

    #: COCO image id -> id, where the labels came from COCO and number their images without doubt
    numbers: Mapping[int | str, str] = {}
    #: COCO category id -> class name
    categories: Mapping[int, str] = {}
    #: what a COCO file says of itself
    info: Mapping[str, Any] = {}

    def __init__(self, root: str | os.PathLike[str], *, ids: Sequence[str] | None = None) -> None:
        super().__init__(root, labels="none", roles="none", ids=ids)
        others = {ending: count for ending, count in self.scan.ignored.items() if ending not in _TEXTS}
        self.scan = replace(self.scan, ignored=others)
        self._said: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"BoxFolder({str(self.root)!r}, {len(self.ids)} images)"

    def notes(self) -> list[str]:
        """What the scan left out, and what is odd about the boxes."""
        bare = len(self.ids) - len(self.truth)
        line = [f"{bare:,} image(s) without label"] if self.truth and bare else []
        return [*super().notes(), *self._said, *line]

    def describe(self, labels: Mapping[str, Any], classes: Sequence[str], said: Sequence[str]) -> None:
        """Takes the labels that were found for it."""
        self.truth, self.classes, self._said = dict(labels), tuple(classes), tuple(said)


def kinds_of(folder: Path) -> list[Kind]:
    """Which formats of boxes a folder seems to hold."""
    found: list[Kind] = []
    if _coco_files(folder):
        found.append("coco")
    if (folder / ANNOTATIONS).is_dir() and next((folder / ANNOTATIONS).rglob("*.xml"), None) is not None:
        found.append("voc")
    listed = any((folder / name).is_file() for name in (*YAMLS, *YOLO_LISTS))
    if listed and next(folder.rglob("labels/**/*.txt"), None) is not None:
        found.append("yolo")
    return found


def open_boxes(folder: str | os.PathLike[str], kind: Kind, *, ids: Sequence[str] | None = None) -> BoxFolder:
    """A folder of images with boxes in one of the three formats.

    Ids are relative to the folder of the images: ``images`` (VOC: ``JPEGImages``) below ``folder`` where there is one,
    else ``folder`` itself.

    Args:
        folder: the data set.
        kind: its format.
        ids: the images, when they and their labels are known already; nothing else is read then.

    Raises:
        DataError: no such folder, no image, or labels that cannot be read or belong to no image.
    """
    root = Path(os.path.abspath(folder))  # noqa: PTH100  (as ImageFolder)
    if ids is not None:
        return BoxFolder(_images_of(root, kind), ids=ids)
    return {"coco": _open_coco_folder, "voc": _open_voc, "yolo": _open_yolo}[kind](root)


def _images_of(root: Path, kind: Kind) -> Path:
    places = ("JPEGImages", "images") if kind == "voc" else ("images",)
    return next((root / place for place in places if (root / place).is_dir()), root)


def _split_of(words: str) -> Role | None:
    """The role that a name speaks of: ``instances_val2017`` is for validation."""
    found = [ROLE_FOLDERS[word] for word in re.split(r"[^a-z]+", words.lower()) if word in ROLE_FOLDERS]
    return found[-1] if found else None


# ---- COCO -----------------------------------------------------------------------------------------------------------


def _coco_files(folder: Path) -> list[Path]:
    """Files of instances: those called so if there are any, else all that look like COCO with boxes."""
    found = sorted({path for pattern in _COCO_FILES for path in folder.glob(pattern) if path.is_file()})
    instances = [path for path in found if path.stem.lower().startswith("instances")]
    return instances or [path for path in found if _looks_like_coco(path)]


def _looks_like_coco(path: Path) -> bool:
    """By its keys, or, as it may be cut off, by its name."""
    content = path.read_bytes()
    if content.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] != b"{":
        return False
    named = _COCO_NAMES.fullmatch(path.stem) is not None
    return named or all(key in content for key in (b'"images"', b'"annotations"', b'"bbox"'))


def _open_coco_folder(root: Path) -> BoxFolder:
    files = _coco_files(root)
    if not files:
        raise DataError(
            f"{str(root)!r} holds no COCO file: put it there as annotations/instances_train.json, or name it"
        )
    return _open_coco(files, _images_of(root, "coco"))


def open_coco_file(
    path: str | os.PathLike[str], *, root: str | os.PathLike[str] | None = None, ids: Sequence[str] | None = None
) -> BoxFolder:
    """The images of one COCO file.

    Args:
        path: the file.
        root: the folder of the images; by default ``images`` beside the file or one folder up, or one of these folders.
        ids: the images, when they and their labels are known already.

    Raises:
        DataError: as :func:`open_boxes`.
    """
    file = Path(os.path.abspath(path))  # noqa: PTH100
    if root is not None:
        place = Path(root)
        return BoxFolder(place, ids=ids) if ids is not None else _listed(_open_coco([file], place))
    places = [folder / sub for folder in (file.parent, file.parent.parent) for sub in ("images", "")]
    names = list(read_coco(file).labels if ids is None else ids)
    wanted = PurePosixPath(names[0]) if names else PurePosixPath("nothing")
    chosen = next((place for place in places if (place / wanted).is_file()), None)
    if chosen is None and ids is None:
        chosen = next((p for p in places if p.is_dir() and next(p.rglob(wanted.name), None) is not None), None)
    if chosen is None:
        raise DataError(
            f"{str(file)!r}: its first image {str(wanted)!r} lies neither beside it nor one folder up; name the "
            "folder of the images (root)"
        )
    return BoxFolder(chosen, ids=ids) if ids is not None else _listed(_open_coco([file], chosen))


def _listed(source: BoxFolder) -> BoxFolder:
    """Only the images that the file lists."""
    source.ids = tuple(sorted(source.numbers.values()))
    return source


def _open_coco(files: Sequence[Path], root: Path) -> BoxFolder:
    source = BoxFolder(root)
    by_name: dict[str, list[str]] = defaultdict(list)
    for item in source.ids:
        by_name[PurePosixPath(item).name].append(item)
    labels: dict[str, Any] = {}
    roles: dict[str, Role] = {}
    classes: dict[str, None] = {}
    numbers: Counter[int | str] = Counter()
    known: dict[int | str, str] = {}
    said: list[str] = []
    bare: set[str] = set()
    for file in files:
        found = read_coco(file)
        empty = not any(label["objects"] for label in found.labels.values())
        role = _split_of(f"{file.parent.name if file.name.startswith('_') else ''} {file.stem}") or "pool"
        for row, (name, label) in enumerate(found.labels.items(), 1):
            item = _find(name, by_name.get(PurePosixPath(name).name, []), file, f"{str(file)!r}, image {row}", root)
            if item in labels:
                raise FormatError(
                    f"{str(file)!r}, image {row}: {item!r} is annotated in another file too; name the file"
                )
            labels[item] = label
            bare |= {item} if empty else set()
            number = label["extra"]["id"]
            numbers[number] += 1
            known[number] = item
            if len(files) > 1 and role != "pool":
                roles[item] = role
        classes |= dict.fromkeys(found.classes)
        nothing = f"lists {len(found.labels):,} image(s) and no box at all: they count as unlabelled"
        said += [f"{file.name}: {note}" for note in ((nothing,) if empty else found.notes)]
        source.info = {**(found.extra["info"] if isinstance(found.extra.get("info"), Mapping) else {}), **source.info}
        source.categories = {**read_categories(found.extra["categories"], str(file)), **source.categories}
    source.describe({item: label for item, label in labels.items() if item not in bare}, tuple(classes), said)
    source.roles = roles
    source.numbers = {number: item for number, item in known.items() if numbers[number] == 1}
    return source


def _find(name: str, same: Sequence[str], file: Path, where: str, root: Path) -> str:
    """The image that a ``file_name`` means: by its path, or by its last part and the file that speaks of it."""
    plain = PurePosixPath(name.replace("\\", "/")).as_posix()
    fits = [item for item in same if item == plain or item.endswith(f"/{plain}")]
    if plain in fits and len(fits) > 1:
        fits = [plain]
    if len(fits) > 1:  # train2017/1.jpg and val2017/1.jpg: instances_val2017.json means the second
        near = [item for item in fits if (root / item).parent == file.parent]
        named = [item for item in fits if any(part in file.stem for part in PurePosixPath(item).parts[:-1])]
        fits = near or named or fits
    if not fits:
        raise FormatError(
            f"{where}: there is no image {name!r} below {str(root)!r}; add it, or take it out of the file"
        )
    if len(fits) > 1:
        raise FormatError(
            f"{where}: {name!r} may be {' or '.join(map(repr, fits[:2]))}; write file_name with its folder"
        )
    return fits[0]


# ---- VOC ------------------------------------------------------------------------------------------------------------


def _open_voc(root: Path) -> BoxFolder:
    source = BoxFolder(_images_of(root, "voc"))
    of_stem: dict[str, str] = {}
    for item in source.ids:
        if (other := of_stem.setdefault(stem(item), item)) != item:
            raise DataError(
                f"{str(source.root)!r}: {other!r} and {item!r} differ in their ending only; rename one of them"
            )
    found = read_voc(root, size_of=lambda name: source.size(of_stem[name]))
    if stray := [name for name in found.labels if name not in of_stem]:
        raise FormatError(
            f"{root / ANNOTATIONS / stray[0]!s}.xml: there is no image {stray[0]!r} in {str(source.root)!r} (and "
            f"{len(stray) - 1} more such files); add the images, or delete the annotations"
        )
    source.describe({of_stem[name]: label for name, label in found.labels.items()}, found.classes, found.notes)
    source.roles = voc_roles(found.lists, of_stem, root / LISTS)
    return source


def voc_roles(lists: Mapping[str, Sequence[str]], of_stem: Mapping[str, str], folder: Path) -> dict[str, Role]:
    """Test is for testing; val for validation, unless trainval says that all of it is for training.

    Args:
        lists: name of a list -> its lines, which start with the name of an image.
        of_stem: name of an image without ending -> id.
        folder: of the lists, for messages.

    Raises:
        FormatError: a line that names no image.
    """
    wanted = {name: role for name, role in ROLE_FOLDERS.items() if role != "pool" and name in lists}
    if "trainval" in lists:
        wanted = {name: role for name, role in wanted.items() if role == "test"}
    roles: dict[str, Role] = {}
    for name in ("train", "trainval", *wanted):
        for row, line in enumerate(lists.get(name, ()), 1):
            if line.split()[0] not in of_stem:
                raise FormatError(
                    f"{folder / name!s}.txt, line {row}: there is no image {line.split()[0]!r}; add it, or "
                    "delete the line"
                )
            if name in wanted:
                roles[of_stem[line.split()[0]]] = wanted[name]
    return roles


# ---- YOLO -----------------------------------------------------------------------------------------------------------


def _open_yolo(root: Path) -> BoxFolder:
    source = BoxFolder(_images_of(root, "yolo"))
    assert source.root is not None, "a folder has a root"
    prefix = "" if source.root == root else f"{source.root.relative_to(root).as_posix()}/"
    names = {f"{prefix}{item}": item for item in source.ids}
    files = Counter(label_path(name) for name in names)
    if twice := next((file for file, count in files.items() if count > 1), None):
        both = [name for name in names if label_path(name) == twice][:2]
        raise DataError(
            f"{str(root)!r}: {' and '.join(map(repr, both))} share the labels {twice!r}; rename one of them"
        )
    found = read_yolo(root, names, lambda name: source.size(names[name]))
    source.describe({names[name]: label for name, label in found.labels.items()}, found.classes, found.notes)
    source.roles = _yolo_roles(found.extra, names, root)
    return source


def _yolo_roles(extra: Mapping[str, Any], names: Mapping[str, str], root: Path) -> dict[str, Role]:
    """As data.yaml says where its folders exist; else by folders called train, val and test, wherever they stand."""
    roles: dict[str, Role] = {}
    for word, role in ROLE_FOLDERS.items():
        places = extra.get(word, [])
        for place in places if isinstance(places, list) else [places]:
            folder = (root / str(extra.get("path", ".")) / str(place)).resolve()
            if role != "pool" and folder.is_dir() and folder.is_relative_to(root.resolve()):
                inside = f"{folder.relative_to(root.resolve()).as_posix()}/"
                roles |= {item: role for name, item in names.items() if name.startswith(inside)}
    # data.yaml has to name a folder for val; where there is none, people name that of all images
    if 0 < len(roles) < len(names):
        return roles
    parts = {name: [part for part in PurePosixPath(name).parts[:-1] if part in ROLE_FOLDERS] for name in names}
    if not any("train" in found for found in parts.values()):
        return {}
    return {
        names[n]: ROLE_FOLDERS[found[0]] for n, found in parts.items() if found and ROLE_FOLDERS[found[0]] != "pool"
    }
