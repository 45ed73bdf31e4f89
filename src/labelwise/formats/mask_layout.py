"""Which picture files are masks, and of which pictures: told by names of folders and files alone.

Four layouts, splits above or below the folders:

- a folder of masks beside one of pictures: ``images/a.jpg`` and ``masks/a.png``, ``train_images`` and ``train_masks``;
- a folder called as another one with a word for masks: ``train/a.jpg`` and ``trainannot/a.png``;
- a folder of masks inside that of the pictures: ``a.jpg`` and ``masks/a.png``, ``day/a.jpg`` and ``masks/day/a.png``;
- masks beside their pictures: ``a.jpg`` and ``a_mask.png``, or ``a.png``.

The last two are weak signs, as photographs of people who wear masks are called like that, too: there names have to
fit, and some of the files are looked at.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from labelwise.formats.splits import role_of

if TYPE_CHECKING:
    from PIL.Image import Image

#: what folders of masks are called, without case and marks
MASK_WORDS = (
    *("masks", "mask", "labels", "label", "annotations", "annotation", "annots", "annot", "annos", "anno"),
    *("segmentationclass", "segmentationclasses", "segmentations", "segmentation", "segs", "seg", "semantic"),
    *("groundtruths", "groundtruth", "gts", "gt", "gtfine", "gtcoarse", "lbls", "lbl", "trimaps", "trimap"),
)
#: those of folders whose pixels number objects, not classes
OBJECT_WORDS = ("segmentationobject", "segmentationobjects", "instances", "instance", "panoptic")
#: what folders of pictures are called, the likeliest first
IMAGE_WORDS = (
    *("images", "image", "imgs", "img", "jpegimages", "leftimg8bit", "pictures", "picture", "photos", "photo"),
    *("inputs", "input", "originals", "original", "orig", "frames", "rgb", "raw", "data"),
)
#: endings of files that keep every pixel as it was
LOSSLESS = frozenset({".png", ".bmp", ".dib", ".tif", ".tiff", ".gif", ".pgm", ".pbm", ".ppm", ".pnm"})

#: what stands behind or before the name of the picture in that of its mask
_SIGNS = (
    r"masks?|labels?|lbl|segs?|segmentations?|annotations?|annots?|anno|gt|groundtruth|ground_truth|matte|trimap"
    r"|(?:gt(?:fine|coarse)_)?label(?:train)?ids"
)
_SIGNED = re.compile(
    rf"^(?:(?P<front>.+?)[ _.-](?:{_SIGNS})(?:[ _.-]?\d{{1,3}})?|(?:{_SIGNS})[ _.-](?P<back>.+))$", re.IGNORECASE
)
#: as above, in a folder of masks: CamVid's masks end in ``_L``
_ALONE = re.compile(r"^(?P<front>.+)_L$")
#: what may stand in the name of a picture in the same place
_PICTURES = ("image", "img", "sat", "rgb", "orig", "photo", "raw", "leftImg8bit")
_MARKS = re.compile(r"[\W_]+")
_HINT = re.compile("mask|label|lbl|seg|anno|gt|ground|matte|trimap", re.IGNORECASE)
#: files that are looked at where names are weak signs, those that are tried, and pixels of the largest
_LOOKED_AT, _TRIED, _LARGEST = 3, 20, 20_000_000
#: masks do not have more colours; one that is called as its picture, not more than a few
_COLOURS, _FEW = 256, 64
#: sides to which pictures are shrunk to be compared, and grey levels by which those that show the same may differ
_SMALL, _ALIKE = 32, 8
#: of a mask that was saved with loss nearly all pixels are still black or white
_BLACK_OR_WHITE = 0.98


@dataclass(frozen=True)
class Layout:
    """What the picture files of a folder are.

    Args:
        pictures: files that are no masks.
        masks: mask -> names without ending that its picture may have, the surest first.
        objects: the same for files whose pixels number objects.
    """

    pictures: tuple[str, ...]
    masks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    objects: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def looks_like_masks(folder: str | os.PathLike[str], names: Sequence[str]) -> frozenset[str]:
    """Those of the picture files below a folder that are masks, by their names: no pictures of any pool.

    Args:
        folder: what ``names`` are relative to.
        names: POSIX paths, as ``scan_folder`` gives them.

    Example:
        >>> sorted(looks_like_masks(".", ["images/a.jpg", "masks/a.bmp", "hats/a.jpg"]))
        ['masks/a.bmp']
    """
    layout = find_layout(folder, names)
    return frozenset([*layout.masks, *layout.objects])


def find_layout(folder: str | os.PathLike[str], names: Sequence[str]) -> Layout:
    """Sorts picture files into pictures and masks.

    Args:
        folder: what ``names`` are relative to.
        names: POSIX paths of all picture files.

    Cost: a second for 1,000,000 names; at most three files of a folder are decoded, where names are weak signs.
    """
    tree = _Tree(names)
    masks: dict[str, tuple[str, ...]] = {}
    objects: dict[str, tuple[str, ...]] = {}
    for place, (images, of_objects) in _mask_folders(Path(folder), tree).items():
        for name in tree.below(place):
            below = name[len(place) + 1 :]
            (objects if of_objects else masks)[name] = tuple(dict.fromkeys(_wanted(images, below)))
    left = [name for name in names if name not in masks and name not in objects]
    masks |= _beside(Path(folder), left)
    return Layout(tuple(name for name in left if name not in masks), masks, objects)


# ---- folders --------------------------------------------------------------------------------------------------------


class _Tree:
    """The folders of some files."""

    def __init__(self, names: Iterable[str]) -> None:
        self.files: dict[str, list[str]] = defaultdict(list)
        for name in names:
            self.files[name.rpartition("/")[0]].append(name)
        self.children: dict[str, set[str]] = defaultdict(set)
        for folder in [*self.files]:
            while folder:
                above = posixpath.dirname(folder)
                if folder in self.children[above]:
                    break
                self.children[above].add(folder)
                folder = above
        self._stems: dict[str, frozenset[str]] = {}

    def folders(self) -> Iterator[str]:
        """From above, those inside a folder right behind it."""
        todo = sorted(self.children[""], reverse=True)
        while todo:
            folder = todo.pop()
            yield folder
            todo += sorted(self.children.get(folder, ()), reverse=True)

    def below(self, folder: str) -> list[str]:
        """The files below a folder."""
        found, todo = [], [folder]
        while todo:
            here = todo.pop()
            found += self.files.get(here, [])
            todo += self.children.get(here, ())
        return sorted(found)

    def called(self, above: str, plain: Iterable[str]) -> list[str]:
        """The folders right below another whose plain names are among these."""
        wanted = set(plain)
        return sorted(folder for folder in self.children.get(above, ()) if plain_name(folder) in wanted)

    def stems(self, folder: str) -> frozenset[str]:
        """Paths of the files below a folder, relative to it and without ending."""
        if folder not in self._stems:
            skip = len(folder) + 1 if folder else 0
            self._stems[folder] = frozenset(posixpath.splitext(name)[0][skip:] for name in self.below(folder))
        return self._stems[folder]


def plain_name(folder: str) -> str:
    """The last part of a path as it is compared: without case and marks."""
    return _MARKS.sub("", posixpath.basename(folder).casefold())


def _mask_folders(root: Path, tree: _Tree) -> dict[str, tuple[list[str], bool]]:
    """Folder of masks -> where their pictures may lie, and whether its pixels number objects."""
    found: dict[str, tuple[list[str], bool]] = {}
    inside = "\0"
    for folder in tree.folders():
        if folder.startswith(f"{inside}/"):
            continue
        plain = plain_name(folder)
        for words, of_objects in ((MASK_WORDS, False), (OBJECT_WORDS, True)):
            if images := _images_of(root, tree, folder, plain, words):
                found[folder] = images, of_objects
                inside = folder
                break
    return found


def _images_of(root: Path, tree: _Tree, folder: str, plain: str, words: Sequence[str]) -> list[str]:
    """The folders that hold the pictures of a folder of masks; [] for one that is none."""
    above = posixpath.dirname(folder)
    rests = {rest for word in words for rest in _without(plain, word)}
    if not rests:
        return []
    forms = {form for rest in rests for word in IMAGE_WORDS for form in (rest + word, word + rest)}
    if images := [image for image in tree.called(above, forms) if image != folder]:
        return sorted(images, key=lambda image: plain_name(image) not in IMAGE_WORDS)
    images = tree.called(above, rests - {""})
    if any(role_of(plain_name(image)) is not None for image in images) or _weakly(root, tree, folder, images):
        return images
    if "" not in rests:
        return []
    if _weakly(root, tree, folder, [above]):
        return [above]
    # labels of a further level: training/v1.2/labels/a.png beside training/images/a.jpg
    images = [image for image in tree.called(posixpath.dirname(above), IMAGE_WORDS) if image != above] if above else []
    return images if _weakly(root, tree, folder, images) else []


def _without(plain: str, word: str) -> list[str]:
    """What is left of a name before or behind a word."""
    found = [plain[: -len(word)]] if plain.endswith(word) else []
    return found + ([plain[len(word) :]] if plain.startswith(word) else [])


def _weakly(root: Path, tree: _Tree, masks: str, images: Sequence[str]) -> bool:
    """Whether at least half of some files are called as pictures of folders are, and some of them look like masks."""
    stems = {stem for image in images for stem in tree.stems(image)}
    files = tree.below(masks) if images else []
    fits = [name for name in files if any(wanted in stems for wanted in _wanted([""], name[len(masks) + 1 :]))]
    return bool(fits) and 2 * len(fits) >= len(files) and _look_like_masks(root, fits, _COLOURS)


# ---- names ----------------------------------------------------------------------------------------------------------


def _wanted(images: Sequence[str], below: str) -> Iterator[str]:
    """Paths that the picture of a mask may have, without ending.

    Args:
        images: folders of pictures.
        below: the mask below its folder.
    """
    folder, base = posixpath.split(posixpath.splitext(below)[0])
    parts = [part for part in folder.split("/") if part]
    plainer = [part for part in parts if plain_name(part) not in (*MASK_WORDS, *OBJECT_WORDS)]
    for here in ("/".join(parts), *(["/".join(plainer)] if plainer != parts else [])):
        for image in images:
            for name in _names(base, alone=True):
                yield "/".join(part for part in (image, here, name) if part)


def without_sign(base: str) -> list[str]:
    """What the name of a mask is without what says that it is one.

    Example:
        >>> without_sign("a_mask"), without_sign("mask_7"), without_sign("mask")
        (['a'], ['7'], [])
    """
    return [match["front"] or match["back"]] if (match := _SIGNED.match(base)) else []


def _names(base: str, *, alone: bool) -> Iterator[str]:
    """What the picture of a mask may be called.

    Example:
        >>> list(_names("a_mask", alone=True))[:3]
        ['a_mask', 'a', 'a_image']
    """
    if alone:
        yield base
    for pattern in (_SIGNED, _ALONE) if alone else (_SIGNED,):
        if match := pattern.match(base):
            behind = match["front"] is not None
            bare = match["front"] or match["back"]
            yield bare
            for word in _PICTURES:
                yield f"{bare}_{word}" if behind else f"{word}_{bare}"


def _beside(root: Path, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Masks that lie in the folder of their pictures."""
    folders: dict[str, list[str]] = defaultdict(list)
    signed: set[str] = set()
    hint = _HINT.search
    for name in names:
        folder, _, base = name.rpartition("/")
        folders[folder].append(base)
        if hint(base):
            signed.add(folder)
    found: dict[str, tuple[str, ...]] = {}
    for folder, files in folders.items():
        prefix = f"{folder}/" if folder else ""
        here = _with_signs(files) if folder in signed else {}
        for lossless in (True, False):
            some = {base: wanted for base, wanted in here.items() if _is_lossless(base) is lossless}
            if some and _look_like_masks(root, [prefix + base for base in sorted(some)], _COLOURS, unread=lossless):
                found |= {prefix + base: tuple(prefix + word for word in wanted) for base, wanted in some.items()}
        twins = {prefix + base: prefix + twin for base, twin in _twins(files).items() if prefix + base not in found}
        if twins and _look_like_masks(root, sorted(twins), _FEW, unread=False) and _are_others(root, twins):
            found |= {name: (posixpath.splitext(twin)[0],) for name, twin in twins.items()}
    return found


def _is_lossless(name: str) -> bool:
    return posixpath.splitext(name)[1].lower() in LOSSLESS


def _with_signs(files: Sequence[str]) -> dict[str, list[str]]:
    """File of a folder whose name says that it is a mask -> names of pictures that are there."""
    stems = {posixpath.splitext(base)[0] for base in files}
    found = {}
    for base in filter(_HINT.search, files):
        if wanted := [word for word in _names(posixpath.splitext(base)[0], alone=False) if word in stems]:
            found[base] = wanted
    return found


def _twins(files: Sequence[str]) -> dict[str, str]:
    """``a.png`` -> ``a.jpg`` in a folder in which every such file has such a picture; {} in others."""
    endings = {base[base.rfind(".") :].lower() for base in files}
    if endings <= LOSSLESS or not endings & LOSSLESS:
        return {}
    lossy = {posixpath.splitext(base)[0]: base for base in files if not _is_lossless(base)}
    exact = {base: posixpath.splitext(base)[0] for base in files if _is_lossless(base)}
    return {base: lossy[stem] for base, stem in exact.items()} if lossy.keys() >= set(exact.values()) else {}


def _are_others(root: Path, twins: Mapping[str, str]) -> bool:
    return _most(root, sorted(twins), lambda image, name: _is_other(image, root / twins[name]), unread=False)


def _look_like_masks(root: Path, names: Sequence[str], colours: int, *, unread: bool = True) -> bool:
    """Whether most of the first files that can be read look like masks; ``unread`` where none can."""
    return _most(root, names, lambda image, name: _like_mask(image, colours), unread=unread)


def _most(root: Path, names: Sequence[str], test: Callable[[Image, str], bool], *, unread: bool) -> bool:
    from PIL import Image as pictures

    seen = []
    for name in names[:_TRIED]:
        try:
            with pictures.open(root / name) as image:
                if image.width * image.height <= _LARGEST:
                    seen.append(test(image, name))
        except Exception:  # whatever a damaged picture fails with: what reads it will say so
            continue
        if len(seen) == _LOOKED_AT:
            break
    return 2 * sum(seen) >= len(seen) if seen else unread


def _like_mask(image: Image, colours: int) -> bool:
    if image.format in ("PNG", "BMP", "DIB", "TIFF", "GIF", "PPM"):
        return image.mode in ("I", "I;16", "I;16B", "F") or image.getcolors(colours) is not None
    counts = image.convert("L").histogram()
    extreme = sum(counts[:16]) + sum(counts[-16:])
    coloured = sum(image.convert("HSV").getchannel("S").histogram()[32:]) if image.mode == "RGB" else 0
    return extreme - coloured >= _BLACK_OR_WHITE * sum(counts)


def _is_other(image: Image, twin: Path) -> bool:
    """Whether a file shows something else than the one that is called alike: a picture may be there in two formats."""
    from PIL import Image as pictures

    with pictures.open(twin) as other:
        if other.width * other.height > _LARGEST:
            return False
        small = [picture.convert("L").resize((_SMALL, _SMALL)).tobytes() for picture in (image, other)]
    return bool(sum(abs(a - b) for a, b in zip(*small, strict=True)) > _ALIKE * _SMALL**2)
