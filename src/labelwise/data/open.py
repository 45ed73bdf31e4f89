"""One word for any kind of data: ``open_source``."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from labelwise.contracts.source import Source
from labelwise.data.arrays import read_npz
from labelwise.data.boxes import kinds_of, open_boxes, open_coco_file
from labelwise.data.dataset import DatasetSource, from_dataset
from labelwise.data.folder import ImageFolder
from labelwise.data.imagenet_lt import ListedImages, is_image_list
from labelwise.data.labels import open_listing
from labelwise.data.mask_sets import mask_kinds_of, open_coco_masks, open_masks
from labelwise.data.torchvision_sets import open_torchvision
from labelwise.errors import ConfigError, DataError, unknown
from labelwise.registry import import_object

T = TypeVar("T")

#: formats of boxes that a folder may hold, and layouts of masks
BOXES = ("coco", "voc", "yolo")
MASKS = ("masks", "voc_masks", "cityscapes", "coco_masks")

#: what a format of boxes means where masks are wanted
_MASKS_OF = {"coco": "coco_masks", "voc": "voc_masks"}

_ALLOWED = (
    "give a folder of images, an .npz, .csv or COCO .json file, torchvision:NAME (for example "
    "torchvision:FashionMNIST) or package.module:name"
)


def open_source(
    spec: Any, *, root: str | os.PathLike[str] | None = None, task: str | None = None, **options: Any
) -> Source:
    """The source that ``spec`` names.

    Args:
        spec: a folder of images, perhaps with boxes as COCO, VOC or YOLO data sets have them, or with masks; an
            ``.npz`` file of arrays; a ``.csv`` file that lists images, or a ``.txt`` with lines "path label" as
            ImageNet-LT's; a COCO ``.json`` file; ``torchvision:NAME``; ``package.module:name``, an object, or a
            function that returns one; a ``Source``, which comes back as it is; or a PyTorch data set.
        root: torchvision: where the set lies. CSV, COCO and list: what its paths are relative to. Otherwise: what a
            relative ``spec`` is relative to.
        task: what labels are wanted for, where a folder holds boxes and masks.
        options: passed on to what opens this kind: :class:`ImageFolder`, :func:`open_boxes`, :func:`open_masks`,
            :func:`open_torchvision`, :func:`from_dataset`, or the function that was named. For a folder ``labels`` may
            also be ``coco``, ``voc``, ``yolo``, ``masks``, ``voc_masks``, ``cityscapes`` or ``coco_masks``, where it
            holds several of them.

    Raises:
        ConfigError: for something that names no source, or an unknown option (nearest names given).
        DataError: when the data cannot be read.

    Example:
        >>> import numpy as np
        >>> open_source([(np.zeros((4, 4), np.uint8), "cat")]).truth["0"]
        'cat'
    """
    if isinstance(spec, Source):
        return spec
    if not isinstance(spec, (str, os.PathLike)):
        return _of_object(spec, type(spec).__name__, options)
    text = os.fspath(spec)
    if not text.strip():
        raise ConfigError(f"no data were named: {_ALLOWED}")
    if isinstance(spec, str) and ":" in text and not Path(text).exists() and not _is_drive(text):
        return _of_reference(text, root, options)
    if (path := Path(text)).suffix.lower() == ".txt" and is_image_list(path):
        return _call(ListedImages, (text, path.parent if root is None else root), options, text)
    if path.suffix.lower() in (".csv", ".tsv", ".txt") and not path.is_dir():
        return _call(open_listing, (text,), {"root": root, **options}, text)
    if path.suffix.lower() == ".json" and path.is_file():
        return _call(
            open_coco_masks if task == "segmentation" else open_coco_file, (text,), {"root": root, **options}, text
        )
    if root is not None:
        text = str(Path(root) / text)
    if Path(text).suffix.lower() == ".npz" and not Path(text).is_dir():
        return _call(read_npz, (text,), options, text)
    if Path(text).is_file():
        raise DataError(f"{text!r} is a file that holds no set of images: {_ALLOWED}")
    if not Path(text).exists():
        raise DataError(f"{text!r} does not exist: {_ALLOWED}")
    return _of_folder(text, task, options)


def task_of(spec: str, *, labels: str = "auto") -> str | None:
    """The task that the labels beside the images speak of: detection, segmentation, or None where there are neither.

    Looks at names of files, and into JSON files. COCO files mean boxes here, although they may hold masks, too.

    Raises:
        ConfigError: the data hold boxes and masks.
    """
    path = Path(spec)
    if labels != "auto":
        return "detection" if labels in BOXES else "segmentation" if labels in MASKS else None
    if not path.is_dir():
        return "detection" if path.is_file() and path.suffix.lower() == ".json" else None
    boxes, masks = kinds_of(path), mask_kinds_of(path)
    if boxes and masks:
        raise ConfigError(
            f"{spec!r} holds boxes ({' and '.join(boxes)}) and masks ({' and '.join(masks)}): say --task detection or "
            "--task segmentation (task: ... in a file)"
        )
    return "detection" if boxes else "segmentation" if masks else None


def _of_folder(text: str, task: str | None, options: dict[str, Any]) -> Source:
    """Boxes or masks that lie in the folder, unless the caller says that there are none or asks for folder names."""
    labels = options.get("labels", "auto")
    if task == "segmentation":
        labels = _MASKS_OF.get(labels, labels)
    kinds = _kinds(Path(text), task) if labels == "auto" else [labels] if labels in (*BOXES, *MASKS) else []
    if len(kinds) > 1:
        raise DataError(
            f"{text!r} holds labels in several formats ({' and '.join(kinds)}): say which, as in labels: {kinds[0]}"
        )
    if not kinds:
        # folders may be dates or cameras; of boxes and masks their names are no labels
        own = {"labels": "none"} if task in ("detection", "segmentation") and labels == "auto" else {}
        return _call(ImageFolder, (text,), {**options, **own}, text)
    rest = {key: value for key, value in options.items() if key != "labels"}
    return _call(open_masks if kinds[0] in MASKS else open_boxes, (text, kinds[0]), rest, text)


def _kinds(folder: Path, task: str | None) -> list[str]:
    """Formats of labels in a folder that fit the task; all of them for a task of images."""
    boxes = kinds_of(folder)
    masks = [] if task == "detection" else mask_kinds_of(folder)
    if task == "segmentation":
        return [*masks] or (["coco_masks"] if "coco" in boxes else [])
    return [*boxes, *masks]


def _of_reference(text: str, root: str | os.PathLike[str] | None, options: dict[str, Any]) -> Source:
    kind, _, name = text.partition(":")
    if kind == "torchvision":
        return _call(open_torchvision, (name,), {"root": root, **options}, text)
    found = import_object(text)
    if callable(found) and not isinstance(found, Source) and not hasattr(type(found), "__getitem__"):
        found = _call(found, (), options, text)
        options = {}
    return found if isinstance(found, Source) else _of_object(found, text, options)


def _of_object(found: Any, text: str, options: dict[str, Any]) -> DatasetSource:
    if isinstance(found, (str, bytes, dict)) or not hasattr(found, "__getitem__") or not hasattr(found, "__len__"):
        raise ConfigError(
            f"{text!r} gives an object of type {type(found).__name__}, which is no source of images: {_ALLOWED}"
        )
    return _call(from_dataset, (found,), options, text)


def _call(build: Callable[..., T], arguments: tuple[Any, ...], options: dict[str, Any], text: str) -> T:
    """Call with options that were checked by name, so that a misspelt one is told apart from an error inside."""
    parameters = inspect.signature(build).parameters.values()
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        allowed = [parameter.name for parameter in parameters][len(arguments) :]
        for option in options:
            if option not in allowed:
                raise unknown(f"option of {text!r}", option, allowed)
    return build(*arguments, **options)


def _is_drive(text: str) -> bool:
    return len(text) > 2 and text[1] == ":" and text[2] in "\\/"


def open_in(
    base: Path,
    spec: str,
    *,
    root: str | None = None,
    ids: Sequence[str] | None = None,
    labels: str = "auto",
    download: bool = False,
    task: str | None = None,
) -> Source:
    """The source that a configuration in folder ``base`` names.

    Args:
        base: relative paths are relative to it.
        spec: as for ``open_source``.
        root: where a torchvision set lies, or what the paths of a CSV or COCO file are relative to.
        ids: the images of a folder where they are known already; saves scanning it.
        labels: where the labels of a folder come from: ``auto``, ``folders``, ``none``, or a format as for
            ``open_source``.
        download: whether torchvision may fetch a set that is not there.
        task: what the labels are wanted for.

    Raises:
        ConfigError: for something that names no source.
        DataError: when the data cannot be read.
    """
    spec = expanded(spec) if spec.startswith(("$", "~")) else spec
    where = None if root is None else base / expanded(root)
    if spec.startswith("torchvision:"):
        return open_source(spec, root=where, download=download)
    if ":" in spec and not (base / spec).exists() and not _is_drive(spec):
        return open_source(spec)
    path = base / spec
    if path.suffix.lower() in (".csv", ".tsv", ".txt"):
        return open_source(path, root=where or path.parent)
    if path.suffix.lower() == ".json" and path.is_file():
        return open_source(path, root=where, task=task, ids=ids)
    if path.is_dir():
        return open_source(path, task=task, ids=ids, labels=labels)
    return open_source(path)


def expanded(path: str) -> str:
    """A path with ``$NAME`` replaced by environment variables and ``~`` by the home folder.

    Raises:
        ConfigError: for a variable that is not set.
    """
    out = os.path.expandvars(os.path.expanduser(path))  # noqa: PTH111
    if "$" in out:
        raise ConfigError(f"{path!r} names an environment variable that is not set: set it, or give the folder itself")
    return out
