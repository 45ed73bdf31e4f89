"""Images with their masks as a data set: layouts, lists, values, splits, each looked at once."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from labelwise.contracts.format import Hints
from labelwise.contracts.record import Head, Record
from labelwise.errors import FormatError
from labelwise.formats.delimited import read_text
from labelwise.formats.mask_layout import Layout, find_layout
from labelwise.formats.mask_lists import coding_among
from labelwise.formats.mask_pairs import MaskSet, Measured, measured, paired
from labelwise.formats.mask_splits import splits_of
from labelwise.formats.mask_truth import coding_of_set
from labelwise.formats.scan import scan_folder

#: ADE20K's list of scenes, one for each image
_SCENES = "sceneCategories.txt"
#: folders in which a list of classes is looked for
_MOST_FOLDERS = 200


def read_paired(folder: Path, root: Path, hints: Hints) -> tuple[Head, Iterator[Record]]:
    """Images below ``root`` with the masks that lie anywhere below ``folder``.

    Raises:
        FormatError: see ``PngMasks``.
    """
    layout = find_layout(folder, scan_folder(folder).ids)
    prefix = "" if root == folder else f"{root.name}/"
    images = [name.removeprefix(prefix) for name in layout.pictures if name.startswith(prefix)]
    _check_there(folder, root, layout, images)
    pairs, strays = paired(folder, layout.pictures, layout.masks)
    inside = {image: mask for image, mask in sorted(pairs.items()) if image.startswith(prefix)}
    masks = {image.removeprefix(prefix): folder / mask for image, mask in inside.items()}
    sides = measured(root, masks, hints.progress)
    fitting = _fitting(masks, sides)
    listed = coding_among(_places(folder, layout))
    coding, said = coding_of_set(fitting, listed, hints.classes, str(folder), hints.progress)
    splits = splits_of(folder, prefix, images)
    scenes, unread = _scenes(folder, images)
    hidden = [*layout.masks, *layout.objects]
    head = Head(
        classes=coding.classes,
        root=root,
        strangers=frozenset(name.removeprefix(prefix) for name in hidden if name.startswith(prefix)),
        missing=tuple(splits.missing),
        palette=coding.palette,
        notes=(*said, *sides.notes, *splits.notes, *_told(layout, pairs, prefix, strays), *unread),
    )
    objects = _objects(folder, layout, prefix)
    found = MaskSet(root, images, masks, objects, splits.words, extra=scenes)
    return head, found.records(lambda file: coding, sides)


def _check_there(folder: Path, root: Path, layout: Layout, images: Sequence[str]) -> None:
    if not images:
        others = len(layout.pictures) + len(layout.masks) + len(layout.objects)
        raise FormatError(
            f"no images in {str(root)!r:.120}: the {others:,} picture file(s) below {str(folder)!r:.100} are masks, or "
            "lie elsewhere"
        )
    if not layout.masks:
        raise FormatError(
            f"{str(folder)!r:.120} holds no masks: put them in masks/ beside images/, or in trainannot/ beside train/, "
            "called as the images are, or as a_mask.png beside a.jpg"
        )


def _fitting(masks: Mapping[str, Path], sides: Measured) -> list[Path]:
    """The masks of the sizes of their images: others are refused unread, when they are asked for.

    Raises:
        FormatError: none is.
    """
    fitting = [file for image, file in masks.items() if sides.sides[image].fits]
    if masks and not fitting:
        image, file = next(iter(masks.items()))
        one = sides.sides[image]
        other = "cannot be read" if one.seen is None else f"has {one.seen[0]} x {one.seen[1]}"
        raise FormatError(
            f"{str(file)!r:.120} has {one.mask[0]} x {one.mask[1]} pixels, and its image {image!r:.60} {other}: save "
            "masks at the size of the images (none of the set has it)"
        )
    return fitting


def _places(folder: Path, layout: Layout) -> list[Path]:
    """Where lists of classes may lie: the set, and the folders of masks and those above them."""
    found: dict[str, None] = {"": None}
    for name in layout.masks:
        above = posixpath.dirname(name)
        while above and above not in found:
            found[above] = None
            above = posixpath.dirname(above)
        if len(found) > _MOST_FOLDERS:
            break
    return [folder / name for name in sorted(found)]


def _objects(folder: Path, layout: Layout, prefix: str) -> dict[str, Path]:
    """Image -> the file whose pixels number its objects."""
    stems = {posixpath.splitext(name)[0]: name for name in layout.pictures if name.startswith(prefix)}
    found = {}
    for file, wanted in layout.objects.items():
        if (stem := next((word for word in wanted if word in stems), None)) is not None:
            found[stems[stem].removeprefix(prefix)] = folder / file
    return found


def _told(layout: Layout, pairs: Mapping[str, str], prefix: str, strays: Sequence[str]) -> Iterator[str]:
    """What was guessed, and what was left out."""
    if beside := [mask for image, mask in pairs.items() if posixpath.dirname(mask) == posixpath.dirname(image)]:
        yield f"{len(beside):,} mask(s) lie beside their images and were told by their names, such as {beside[0]!r:.80}"
    if outside := [name for name in layout.pictures if not name.startswith(prefix)]:
        yield f"left out: {len(outside):,} image(s) outside {prefix!r}, such as {outside[0]!r:.80}"
    if strays:
        yield f"left out: {len(strays):,} file(s) among the masks that are none, such as {strays[0]!r:.80}"


def _scenes(folder: Path, images: Sequence[str]) -> tuple[dict[str, Mapping[str, str]], list[str]]:
    """ADE20K's word for the scene of each image, kept as a remark."""
    if not (folder / _SCENES).is_file():
        return {}, []
    words = dict(line.split(maxsplit=1) for line in read_text(folder / _SCENES).splitlines() if len(line.split()) > 1)
    found: dict[str, Mapping[str, str]] = {}
    for image in images:
        stem = posixpath.splitext(posixpath.basename(image))[0]
        if stem in words:
            found[image] = {"scene": words[stem].strip()}
    return found, [f"{_SCENES}: the scenes of {len(found):,} image(s) are kept as remarks, not as labels"]
