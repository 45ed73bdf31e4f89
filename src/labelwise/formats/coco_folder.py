"""Which JSON files of a folder are COCO, and for what; looks at the beginning of files only."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labelwise.formats.json_file import start_of_json
from labelwise.formats.splits import role_of

#: JSON files of a folder that are looked into
_MOST = 40
#: folders of labels, at the top or in that of a split
FOLDERS = frozenset({"annotations", "annotation", "labels"})
#: what the files of a set are called by those who publish them or by tools
_USUAL = re.compile(r"(instances|person_keypoints|annotations|_annotations|result|labels|coco).*", re.IGNORECASE)
#: files of the same images that hold no objects with outlines or boxes of their own
_ASIDE = re.compile(r"(captions|panoptic|image_info)[_-].*", re.IGNORECASE)


@dataclass(frozen=True)
class Glance:
    """What the beginning of a JSON file shows.

    Args:
        sure: that it is COCO, in [0, 1].
        why: what was found or missed.
        kinds: of label, the likeliest first; () where it shows none.
        points: whether annotations have key points.
    """

    sure: float
    why: str
    kinds: tuple[str, ...] = ()
    points: bool = False


def glance(path: Path) -> Glance:
    """Whether a file is COCO with objects, by the keys of its first images and annotations."""
    start = start_of_json(path)
    if not start:
        return Glance(0, "no JSON file")
    if not isinstance(start.get(""), dict):
        return Glance(0, "a list, not an object with images, annotations and categories")
    lists = [name for name in ("images", "annotations", "categories") if isinstance(start.get(name), list)]
    if not {"images", "annotations"} & set(lists):
        missed = start if "categories" not in lists else start_of_json(path, "images")
        if not isinstance(missed.get("images"), list):
            return Glance(0, "no list 'images'")
    images, found = _at(path, start, "images"), _at(path, start, "annotations")
    if not isinstance(images.get("images"), list):
        return Glance(0.2, "no list 'images'")
    if not isinstance(found.get("annotations"), list):
        return Glance(0.6, "a list 'images', and no list 'annotations'")
    if images.get("images[]") is not None and "images[].file_name" not in images:
        return Glance(0.3, "its images have no file_name")
    return _of_annotations(found)


def _at(path: Path, start: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The beginning of a list, wherever it stands in the file."""
    return start if isinstance(start.get(name), list) and f"{name}[]" in start else start_of_json(path, name) or start


def _of_annotations(found: Mapping[str, Any]) -> Glance:
    keys = {place.removeprefix("annotations[].") for place in found if place.startswith("annotations[].")}
    if "segments_info" in keys:
        return Glance(0.3, "panoptic COCO, whose segments lie in PNG files, is not read")
    if "caption" in keys and "bbox" not in keys:
        return Glance(0.2, "its annotations are captions")
    outlined = isinstance(found.get("annotations[].segmentation"), dict) or "segmentation[]" in keys
    points = "keypoints[]" in keys
    boxed = "bbox" in keys
    # whoever marked key points wants them: boxes and outlines lie around the same things
    kinds = (
        *(("points",) if points else ()),
        *(("boxes",) if boxed else ()),
        *(("masks",) if outlined else ()),
    )
    if not keys:
        return Glance(0.9, "images, and annotations without any entry", ("boxes", "masks", "points"))
    if kinds:
        return Glance(0.95, f"COCO with {' and '.join(kinds)}", kinds, points)
    if "category_id" in keys:
        return Glance(0.8, "COCO without boxes: a category for each image", ("classes",))
    return Glance(0.3, "its annotations have neither bbox nor segmentation")


@dataclass(frozen=True)
class Chosen:
    """Files of a folder.

    Args:
        files: those to read, in the order of their names.
        aside: COCO files that are not read for this kind of label.
        glance: at the first of them.
    """

    files: tuple[Path, ...]
    aside: tuple[Path, ...]
    glance: Glance


def choose_files(folder: Path, kind: str | None) -> Chosen:
    """The COCO files of a folder that hold labels of a kind.

    Where files are called after what they hold (``instances_train.json`` beside ``person_keypoints_train.json``), each
    kind of label gets its own: key points are read from the latter, everything else from the former.
    """
    looked = {path: glance(path) for path in _candidates(folder)}
    found = {path: seen for path, seen in looked.items() if seen.sure >= 0.5 and not _ASIDE.fullmatch(path.stem)}
    if not found:
        nearest = max(looked.values(), key=lambda seen: seen.sure, default=Glance(0, "no JSON file in it"))
        return Chosen((), (), Glance(min(nearest.sure, 0.3), nearest.why))
    pointed = [path for path, seen in found.items() if seen.points]
    instances = [path for path in found if path.stem.lower().startswith("instances")]
    files = (pointed if kind == "points" else instances) or list(found)
    aside = [path for path in found if path not in files]
    kinds = {one: None for path in files for one in found[path].kinds}
    if any(path in pointed for path in aside) and kind is None:
        kinds["points"] = None
    first = found[files[0]]
    said = f"{files[0].relative_to(folder).as_posix()}: {first.why}"
    told = Glance(max(found[path].sure for path in files), said, tuple(kinds), bool(pointed))
    return Chosen(tuple(files), tuple(aside), told)


def _candidates(folder: Path) -> list[Path]:
    """JSON files at the top, in ``annotations``, and in folders of splits; those of usual names first."""
    places, files = [folder], []
    while places:
        place = places.pop()
        near = len(place.relative_to(folder).parts) < 2
        for name in _names(place):
            if name.lower().endswith(".json"):
                files.append(place / name)
            elif near and (name.lower() in FOLDERS or (place == folder and role_of(name) is not None)):
                places.append(place / name)
    usual = sorted(path for path in files if _USUAL.fullmatch(path.stem))
    return sorted({*usual[:_MOST], *sorted(files)[:_MOST]})


def _names(folder: Path) -> list[str]:
    """Names only, hidden ones left out: asking for more would take seconds in a folder of a million images."""
    try:
        return [name for name in os.listdir(folder) if name[0] != "."]  # noqa: PTH208
    except OSError:
        return []


def split_word(file: Path, folder: Path) -> str | None:
    """The word for a split in the name of a file, or of the folder of the set that it lies in; None without one.

    Example:
        >>> split_word(Path("d/annotations/instances_val2017.json"), Path("d"))
        'val2017'
        >>> split_word(Path("d/valid/_annotations.coco.json"), Path("d"))
        'valid'
    """
    named = [word for word in re.split(r"[^a-z0-9]+", file.stem.lower()) if role_of(word) is not None]
    folders = [name for name in file.relative_to(folder).parts[:-1] if role_of(name) is not None]
    return (folders or named or [None])[-1]
