"""One word for any kind of data: ``open_source``."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeVar

from labelwise.contracts.source import Source
from labelwise.data.arrays import read_npz
from labelwise.data.dataset import DatasetSource, from_dataset
from labelwise.data.folder import ImageFolder
from labelwise.data.imagenet_lt import ListedImages, is_image_list
from labelwise.data.labelled import Opening, open_labelled
from labelwise.data.torchvision_sets import open_torchvision
from labelwise.errors import ConfigError, DataError, unknown
from labelwise.exchange.lists import read_names
from labelwise.exchange.sniffing import SURE, Choice, choose, hold, kinds_said, named, refuse_packed, sniffed
from labelwise.formats.glance import some_files
from labelwise.kinds import KINDS, kind_of
from labelwise.registry import import_object

T = TypeVar("T")

#: what labels may be, beside the name of a format
_FOLDERS = ("folders", "none")
#: from here on what looks like labels is told, although nobody reads it
DOUBTFUL = 0.2
#: endings of files beside the images that may list them, and how many are looked into
_TABLES, _TRIED = frozenset({".csv", ".tsv", ".json", ".xml"}), 5

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
    if root is not None and not path.is_file():
        path, root = Path(root) / text, None
    if path.suffix.lower() == ".npz" and not path.is_dir():
        return _call(read_npz, (str(path),), options, text)
    if not path.exists():
        raise DataError(f"{str(path)!r} does not exist: {_ALLOWED}")
    return _of_path(path, task, None if root is None else Path(root), options)


def task_of(spec: str, *, labels: str = "auto") -> str | None:
    """The task that the labels beside the images speak of; None where none lie there.

    Looks at names of files, and into the first kilobytes of some.

    Raises:
        ConfigError: the data hold labels of several kinds.
    """
    path = Path(spec)
    if labels in _FOLDERS or not path.exists() or path.suffix.lower() == ".npz":
        return None
    if labels == "auto":
        choice = choose(path, "data")
        kinds = () if choice is None else choice.kinds
    else:
        kinds = kinds_said(labels, path)
    return KINDS.create(kinds[0]).task if kinds else None


def _of_path(path: Path, task: str | None, root: Path | None, options: Mapping[str, Any]) -> Source:
    """A folder or file: labels of the format that is surest, else of folder names."""
    allowed = {"labels", "roles", *(one.name for one in fields(Opening))}
    if strange := sorted(options.keys() - allowed):
        raise unknown(f"option of {str(path)!r}", strange[0], allowed)
    labels = options.get("labels", "auto")
    kind = None if task is None else kind_of(task)
    wanted = None if kind is None else kind.name
    choice = None
    if labels == "auto":
        # labels of another kind than the task's are opened too: whoever asked is told, and does not lose them
        choice = choose(path, "data", kind=wanted) or choose(path, "data")
    elif labels not in _FOLDERS:
        choice = Choice(named(labels))
    if choice is not None:
        said = choice.kinds if labels == "auto" else kinds_said(labels, path)
        kinds = (wanted,) if wanted is not None and hold({*choice.kinds, *said}, wanted) else said
        how = Opening(**{key: value for key, value in options.items() if key not in ("labels", "roles")})
        source = open_labelled(path, choice.format, KINDS.create(str(kinds[0])), replace(how, root=root or how.root))
        source.add_notes(_also(choice))
        return source
    if path.is_file():
        refuse_packed(path)
        raise DataError(f"{str(path)!r:.100} is a file that holds no set of images{_nearest(path)}")
    if labels == "folders" and kind is not None and "classes" in kind.said_by:
        raise ConfigError(
            f"folders say one class of each image, and in {task} it may have several: give a table (a;b in a column, "
            "or a column of 0 and 1 for each class), JSON, COCO or an export of Label Studio, or --labels none"
        )
    # folders may be dates or cameras; of boxes and masks their names are no labels
    own = {"labels": "none"} if labels == "auto" and wanted not in (None, "classes") else {}
    known = {key: value for key, value in options.items() if key in ("labels", "roles", "ids")}
    folder = _call(ImageFolder, (str(path),), {**known, **own}, str(path))
    if own and kind is not None and "classes" in kind.said_by and any("/" in item for item in folder.ids):
        folder.add_notes(
            ["folders say one class of each image, and are not read: give labels in a table, JSON or COCO"]
        )
    if labels == "auto" and options.get("ids") is None:
        folder.add_notes(_perhaps(path))
    return folder


def _also(choice: Choice) -> list[str]:
    names = [one.name for one in choice.others]
    return (
        [f"labels are read as {choice.format.name}; {' and '.join(names)} lie(s) there too and is not read"]
        if names
        else []
    )


def _perhaps(path: Path) -> list[str]:
    """Files that look like labels, and not enough so to be read."""
    near = [(sniff, one) for sniff, one in sniffed(path, "data") if DOUBTFUL <= sniff.sure < SURE]
    said = [
        f"labels of {one.name} may lie there ({sniff.why}), not read: --labels {one.name}" for sniff, one in near[:1]
    ]
    for file in [file for file in some_files(path, _TABLES, 2 * _TRIED) if file.parent == path][:_TRIED]:
        sniff, one = sniffed(file, "data")[0]
        if sniff.sure >= SURE:
            said.append(
                f"{file.name!r:.60} looks like {one.name} ({sniff.why}), not read: init {str(file)!r:.120} reads it"
            )
    return said


def _nearest(path: Path) -> str:
    near = [f"{one.name}: {sniff.why:.80}" for sniff, one in sniffed(path, "data")[:2]]
    return f" ({'; '.join(near)})" if near else ""


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
    task: str | None = None,
    names: str | None = None,
    **more: Any,
) -> Source:
    """The source that a configuration in folder ``base`` names.

    Args:
        base: relative paths are relative to it.
        spec: as for ``open_source``.
        root: where a torchvision set lies, or what the paths of a CSV or COCO file are relative to.
        ids: the images of a folder where they are known already; saves scanning it.
        labels: where the labels of a folder come from: ``auto``, ``folders``, ``none``, or a format as for
            ``open_source``.
        task: what the labels are wanted for.
        names: file that says which class a number is, where the labels count.
        more: ``download``, whether torchvision may fetch a set that is not there, and options of
            :class:`labelwise.data.labelled.Opening`.

    Raises:
        ConfigError: for something that names no source.
        DataError: when the data cannot be read.
    """
    spec = expanded(spec) if spec.startswith(("$", "~")) else spec
    where = None if root is None else base / expanded(root)
    download = more.pop("download", False)
    if spec.startswith("torchvision:"):
        return open_source(spec, root=where, download=download)
    if ":" in spec and not (base / spec).exists() and not _is_drive(spec):
        return open_source(spec)
    path = base / spec
    if path.suffix.lower() == ".npz" and not path.is_dir():
        return open_source(path)
    if path.is_file() and path.suffix.lower() == ".txt" and is_image_list(path):
        return open_source(path, root=where)
    known = {} if ids is None else {"ids": ids}
    how = {} if names is None else {"names": read_names(base / names)}
    return open_source(path, root=where if path.is_file() else None, task=task, labels=labels, **known, **how, **more)


def expanded(path: str) -> str:
    """A path with ``$NAME`` replaced by environment variables and ``~`` by the home folder.

    Raises:
        ConfigError: for a variable that is not set.
    """
    out = os.path.expandvars(os.path.expanduser(path))  # noqa: PTH111
    if "$" in out:
        raise ConfigError(f"{path!r} names an environment variable that is not set: set it, or give the folder itself")
    return out
