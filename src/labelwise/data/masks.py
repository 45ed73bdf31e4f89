"""Folders of images whose masks lie beside them as PNG files, as sources."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from labelwise.contracts.source import Role
from labelwise.data.folder import ROLE_FOLDERS, ImageFolder
from labelwise.errors import DataError, FormatError
from labelwise.formats.delimited import read_text
from labelwise.formats.index_png import mask_text, read_integers, read_stored
from labelwise.formats.mask_coding import CLASS_FILES, COLOUR_FILE, MaskCoding, find_coding, unnamed
from labelwise.formats.scan import Scan, scan_folder

#: folders of masks, and of the images that they belong to: images/a.jpg and masks/a.png
MASK_FOLDERS, IMAGE_FOLDERS = ("masks", "mask", "labels", "annotations"), ("images", "image", "imgs")
#: the other way: train/a.jpg and trainannot/a.png
ANNOTATED = "annot"
#: masks that are looked into when a folder is opened
_SAMPLE = 10
#: what may follow the name of the image in that of its mask
_SUFFIXES = ("", "_mask")
_TEXTS = frozenset({".txt", ".json", ".xml", ".csv"})


class MaskTruth(Mapping[str, Any]):
    """Raw labels out of mask files, each read when it is asked for.

    Args:
        source: tells the sizes of the images.
        files: id -> mask file.
        read: gives the class indices of a file.
    """

    def __init__(self, source: ImageFolder, files: Mapping[str, Path], read: Callable[[Path], np.ndarray]) -> None:
        self._source, self._files, self._read = source, dict(sorted(files.items())), read

    def __getitem__(self, item_id: str) -> dict[str, Any]:
        file = self._files[item_id]
        indices_HW = self._read(file)
        size = list(self._source.size(item_id))
        if size != [indices_HW.shape[1], indices_HW.shape[0]]:
            drawn = f"{indices_HW.shape[1]} x {indices_HW.shape[0]}"
            raise FormatError(
                f"{str(file)!r} has {drawn} pixels, and its image {item_id!r} has {size[0]} x {size[1]}: give masks at "
                "the size of the image"
            )
        return {"size": size, "png": mask_text(indices_HW)}

    def __contains__(self, item_id: object) -> bool:
        return item_id in self._files

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)

    def __repr__(self) -> str:
        return f"MaskTruth({len(self)} masks)"


class MaskFolder(ImageFolder):
    """Images below a folder with masks for some or all of them.

    Args:
        root: the folder of the images.
        ids: the images.
    """

    #: id -> PNG in which every object has a number, where there are such files
    objects: Mapping[str, Path] = {}

    def __init__(self, root: str | os.PathLike[str], *, ids: Sequence[str]) -> None:
        super().__init__(root, labels="none", roles="none", ids=ids)
        self._said: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"MaskFolder({str(self.root)!r}, {len(self.ids)} images)"

    def notes(self) -> list[str]:
        """What the scan left out, and what is odd about the masks."""
        bare = len(self.ids) - len(self.truth)
        line = [f"{bare:,} image(s) without mask"] if self.truth and bare else []
        return [*super().notes(), *self._said, *line]

    def instances(self, item_id: str) -> np.ndarray | None:
        """(H, W) which object each pixel of an image belongs to, where there are files that say so."""
        return read_integers(self.objects[item_id]) if item_id in self.objects else None

    def left_out(self, scan: Scan) -> None:
        """Takes what a scan of the whole data set left out, texts apart."""
        others = {ending: count for ending, count in scan.ignored.items() if ending not in _TEXTS}
        self.scan = replace(scan, ids=tuple(self.ids), ignored=others)

    def describe(self, truth: Mapping[str, Any], coding: MaskCoding, said: Sequence[str] = ()) -> None:
        """Takes the masks that were found for it."""
        self.truth, self.classes, self.palette, self._said = truth, coding.classes, coding.palette, tuple(said)


def open_pairs(root: Path, ids: Sequence[str] | None = None) -> MaskFolder:
    """A folder of images and masks that are called alike.

    Either ``images/a.jpg`` with ``masks/a.png`` (or ``labels``, ``annotations``; splits above or below), or
    ``train/a.jpg`` with ``trainannot/a.png``. Pixels hold class indices, 255 where there is no class. The names stand
    in ``classes.txt``, one a line; pixels of a class called unlabelled, void or ignore have none. A ``labelmap.txt``
    says colours as well, and then masks may hold colours. Splits are those of folders called train, val and test, or
    of lists of these names.

    Args:
        root: the data set.
        ids: the images, when they and their labels are known already; nothing is read then.

    Raises:
        DataError: no such folder, no image, a mask without image, two masks for one image, a broken list of classes.
    """
    if ids is not None:
        return MaskFolder(_images_of(root), ids=ids)
    scan = scan_folder(root)
    folders = {parent.as_posix() for name in scan.ids for parent in PurePosixPath(name).parents}
    masks = {name: wanted for name in scan.ids if (wanted := _images_wanted(name, folders))}
    place = _images_of(root)
    prefix = "" if place == root else f"{place.name}/"
    images = [name for name in scan.ids if name not in masks and name.startswith(prefix)]
    if not images:
        raise DataError(
            f"no images in {str(place)!r}: the {len(scan.ids)} image file(s) below {str(root)!r} lie elsewhere"
        )
    if not masks:
        raise DataError(
            f"{str(root)!r} holds no masks: put them in {MASK_FOLDERS[0]}/ beside {IMAGE_FOLDERS[0]}/, or in "
            f"train{ANNOTATED}/ beside train/, called as the images are"
        )
    source = MaskFolder(place, ids=[name.removeprefix(prefix) for name in images])
    source.left_out(scan)
    files = {name.removeprefix(prefix): root / mask for name, mask in _paired(images, masks, root).items()}
    coding, said = _coding_of(root, files)
    source.describe(MaskTruth(source, files, coding.read), coding, said)
    source.roles = _roles_of_folders(source.ids) or _roles_of_lists(source.ids, root)
    return source


def has_pairs(root: Path) -> bool:
    """Whether there is a folder of PNG files called as those of masks are, beside one of images."""
    for parent in (root, *(root / word for word in ROLE_FOLDERS)):
        names = _folders(parent)
        paired = [name for name in names if _image_folders(name) & names]
        if any(next((parent / name).rglob("*.png"), None) is not None for name in sorted(paired)):
            return True
    return False


def _folders(path: Path) -> set[str]:
    """Names of the folders below a path; a scan, as looking at each of 200,000 files takes seconds."""
    try:
        with os.scandir(path) as entries:
            return {entry.name for entry in entries if entry.is_dir()}
    except OSError:
        return set()


def _image_folders(name: str) -> set[str]:
    """What the folder of the images may be called, beside a folder of masks."""
    if name in MASK_FOLDERS:
        return set(IMAGE_FOLDERS)
    return {name.removesuffix(ANNOTATED)} if name.endswith(ANNOTATED) and name != ANNOTATED else set()


def _images_of(root: Path) -> Path:
    return next((root / name for name in IMAGE_FOLDERS if (root / name).is_dir()), root)


def _images_wanted(name: str, folders: set[str]) -> list[str]:
    """Paths without ending that the image of a mask may have; [] for what lies in no folder of masks."""
    path = PurePosixPath(name)
    for place, part in enumerate(path.parts[:-1]):
        above = "/".join(path.parts[:place])
        wanted = [word for word in sorted(_image_folders(part)) if f"{above}/{word}".lstrip("/") in folders]
        if wanted:
            below = "/".join(path.with_suffix("").parts[place + 1 :])
            return [f"{above}/{word}/{below}".lstrip("/") for word in wanted]
    return []


def _paired(images: Sequence[str], masks: Mapping[str, Sequence[str]], root: Path) -> dict[str, str]:
    """Image -> its mask, both as paths below ``root``."""
    by_stem: dict[str, list[str]] = defaultdict(list)
    for name in images:
        by_stem[PurePosixPath(name).with_suffix("").as_posix()].append(name)
    pairs: dict[str, str] = {}
    for mask, wanted in masks.items():
        if not mask.lower().endswith(".png"):
            raise FormatError(f"{str(root / mask)!r} lies among the masks and is no PNG: masks need a lossless format")
        stems = [stem.removesuffix(suffix) for stem in wanted for suffix in _SUFFIXES if stem.endswith(suffix)]
        fits = list(dict.fromkeys(image for stem in stems for image in by_stem.get(stem, ())))
        if not fits:
            raise FormatError(
                f"{str(root / mask)!r} is a mask without image: there is no {stems[0]!r} with the ending of an image "
                "file; add it, or delete the mask"
            )
        if len(fits) > 1:
            raise FormatError(f"{str(root / mask)!r} may be the mask of {fits[0]!r} or {fits[1]!r}: rename one of them")
        if fits[0] in pairs:
            raise FormatError(
                f"{fits[0]!r} has two masks, {pairs[fits[0]]!r} and {mask!r}, in {str(root)!r}: delete one of them"
            )
        pairs[fits[0]] = mask
    return pairs


def _coding_of(root: Path, files: Mapping[str, Path]) -> tuple[MaskCoding, list[str]]:
    """What ``classes.txt`` or ``labelmap.txt`` say, or the values of all masks; colours out of the first palette."""
    coding = find_coding(root)
    said: list[str] = []
    if coding is None:
        values: set[int] = set()
        for file in files.values():
            stored = read_stored(file)
            if stored.values is None:
                raise FormatError(
                    f"{str(file)!r} is a PNG of mode {stored.mode}, whose pixels are colours: say what they mean in "
                    f"{COLOUR_FILE} (lines name:r,g,b::), or save class indices and list the names in {CLASS_FILES[0]}"
                )
            values |= set(np.unique(stored.values).tolist())
        coding = unnamed(values, str(root))
        said.append(f"classes are called by their number: list their names in {root / CLASS_FILES[0]}, one a line")
    near = list(files.values())[:_SAMPLE]
    if {255} < (shown := {value for file in near for value in _values(file)}) <= {0, 255} and len(coding.classes) > 1:
        said.append(
            f"the first {len(near)} mask(s) hold nothing but {' and '.join(map(str, sorted(shown)))}, and 255 means no "
            "class: if it stands for one, write its number in its place"
        )
    if coding.palette is None:
        first = next((stored for stored in map(read_stored, files.values()) if stored.values is not None), None)
        colours = () if first is None else first.palette or ()
        if len(colours) > max(coding.values):
            coding = replace(coding, palette=tuple(colours[value] for value in coding.values))
    return coding, said


def _values(file: Path) -> list[int]:
    stored = read_stored(file)
    return [] if stored.values is None else np.unique(stored.values).tolist()


def _roles_of_folders(ids: Sequence[str]) -> dict[str, Role]:
    """Roles outside the pool by folders called train, val and test, wherever they stand, if there is one for train."""
    parts = {name: [part for part in PurePosixPath(name).parts[:-1] if part in ROLE_FOLDERS] for name in ids}
    if not any("train" in found for found in parts.values()):
        return {}
    named = {name: ROLE_FOLDERS[found[0]] for name, found in parts.items() if found}
    return {name: role for name, role in named.items() if role != "pool"}


def _roles_of_lists(ids: Sequence[str], root: Path) -> dict[str, Role]:
    """Roles outside the pool by ``val.txt`` and ``test.txt``: the first word of a line names an image."""
    known: dict[str, str] = {}
    for name in ids:
        path = PurePosixPath(name)
        known |= {name: name, path.with_suffix("").as_posix(): name, path.name: name, path.stem: name}
    roles: dict[str, Role] = {}
    for file in (root / f"{word}.txt" for word, role in ROLE_FOLDERS.items() if role != "pool"):
        for row, line in enumerate(read_text(file).splitlines() if file.is_file() else (), 1):
            if not line.strip():
                continue
            path = PurePosixPath(line.split()[0])
            item = next((known[name] for name in (path.as_posix(), path.name, path.stem) if name in known), None)
            if item is None:
                raise FormatError(f"{str(file)!r}, line {row}: there is no image {line.split()[0]!r}; delete the line")
            if item in roles and roles[item] != ROLE_FOLDERS[file.stem]:
                raise FormatError(f"{str(file)!r}, line {row}: {item!r} stands in another list too; keep one")
            roles[item] = ROLE_FOLDERS[file.stem]
    return roles
