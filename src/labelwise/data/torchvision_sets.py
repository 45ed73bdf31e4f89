"""torchvision's classification sets by name: training items are the pool, test items the test set.

The MNIST family is read from the raw files as they lie, packed or not, without torchvision and without writing beside
them; ImageNet is read as a folder; the others go through torchvision's own classes, which check md5 sums.
"""

from __future__ import annotations

import gzip
import os
import re
import warnings
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from labelwise.contracts.source import Role, Source
from labelwise.data.arrays import ArraySource, number_ids
from labelwise.data.folder import ImageFolder
from labelwise.errors import DataError, unknown

_DIGITS = tuple("0123456789")
_FASHION = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
_RAW = "{train,t10k}-{images-idx3,labels-idx1}-ubyte (with or without .gz)"

#: name -> which files have to lie where, for people without a network
FILES: Mapping[str, str] = {
    "MNIST": f"{_RAW} into {{root}}/MNIST/raw",
    "FashionMNIST": f"{_RAW} into {{root}}/FashionMNIST/raw",
    "CIFAR10": "cifar-10-python.tar.gz, unpacked, as {root}/cifar-10-batches-py",
    "CIFAR100": "cifar-100-python.tar.gz, unpacked, as {root}/cifar-100-python",
    "SVHN": "train_32x32.mat and test_32x32.mat into {root}",
    "SVHNExtra": "train_32x32.mat, extra_32x32.mat and test_32x32.mat into {root}",
    "STL10": "stl10_binary.tar.gz, unpacked, as {root}/stl10_binary",
    "ImageNet": "the class folders (n01440764, ...) as {root}/train/CLASS/*.JPEG and {root}/val/CLASS/*.JPEG",
}


def open_torchvision(
    name: str, root: str | os.PathLike[str] | None = None, *, download: bool = True, unlabelled: bool = True
) -> Source:
    """One of torchvision's sets: MNIST, FashionMNIST, CIFAR10, CIFAR100, SVHN, SVHNExtra, STL10, ImageNet.

    SVHNExtra is SVHN with its 531,131 further training images, called ``extra/000000``. Items are called
    ``train/00000``, ``test/00000`` and ``unlabeled/00000`` in the set's own order (ImageNet: by path). Images stay in
    memory as uint8, except ImageNet's, which are read when asked for.

    Args:
        name: the set; capitals, ``-`` and ``_`` do not matter.
        root: the folder that holds the set as torchvision lays it out; a folder in the user's cache by default.
        download: fetch what is missing, by torchvision's own download. ImageNet cannot be fetched.
        unlabelled: STL10 only: its 100,000 images without label join the pool.

    Raises:
        ConfigError: for an unknown name.
        DataError: when files are missing and cannot be fetched; says which file to put where.
    """
    known = {_plain(key): key for key in FILES}
    if (key := known.get(_plain(name))) is None:
        raise unknown("torchvision set", name, FILES)
    folder = Path(root) if root is not None else default_root()
    if key in ("MNIST", "FashionMNIST"):
        return _mnist(key, folder, download)
    if key == "ImageNet":
        return _imagenet(folder)
    return _through_torchvision(key, folder, download, unlabelled)


def default_root() -> Path:
    """Where sets are kept that were asked for without a root: ``labelwise/torchvision`` in the user's cache folder."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "labelwise" / "torchvision"


def _plain(name: str) -> str:
    return re.sub(r"[-_ ]", "", name).lower()


def _missing(name: str, root: Path, reason: str) -> DataError:
    where = FILES[name].replace("{root}", str(root))
    return DataError(f"{name} cannot be read from {str(root)!r}: {reason}. Put {where}, and run the command again")


def _mnist(name: str, root: Path, download: bool) -> Source:
    folder = _raw_folder(name, root)
    if folder is None and download:
        _fetch(name, root)
        folder = _raw_folder(name, root)
    if folder is None:
        raise _missing(name, root, "its four files are not there")
    try:
        images = [read_idx(folder / f"{part}-images-idx3-ubyte") for part in ("train", "t10k")]
        labels = [read_idx(folder / f"{part}-labels-idx1-ubyte") for part in ("train", "t10k")]
    except (OSError, ValueError, EOFError, zlib.error) as error:
        raise _missing(name, root, f"damaged ({error})") from None
    return _joined(images, labels, ("train", "test"), _FASHION if name == "FashionMNIST" else _DIGITS)


def _raw_folder(name: str, root: Path) -> Path | None:
    files = [f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]
    for folder in (root / name / "raw", root / "raw", root):
        if all((folder / file).is_file() or (folder / f"{file}.gz").is_file() for file in files):
            return folder
    return None


def read_idx(path: Path) -> np.ndarray:
    """An IDX file of bytes, or the same file with ``.gz`` behind its name.

    Raises:
        ValueError: when the header does not fit the content.
    """
    data = path.read_bytes() if path.is_file() else gzip.decompress(path.with_name(f"{path.name}.gz").read_bytes())
    if len(data) < 4 or data[:3] != b"\0\0\x08":
        raise ValueError(f"{path.name} is no IDX file of bytes")
    rank = data[3]
    shape = np.frombuffer(data, ">u4", rank, 4).astype(int).tolist()
    values = np.frombuffer(data, np.uint8, offset=4 + 4 * rank)
    if len(values) != int(np.prod(shape)):
        raise ValueError(f"{path.name} announces {shape} values and holds {len(values)}")
    return values.reshape(shape)


def _joined(
    images: Sequence[np.ndarray], labels: Sequence[np.ndarray], parts: Sequence[str], classes: Sequence[str]
) -> Source:
    ids: list[str] = []
    roles: dict[str, Role] = {}
    for part, array in zip(parts, images, strict=True):
        names = number_ids(len(array), f"{part}/")
        ids += names
        if part == "test":
            roles = dict.fromkeys(names, "test")
    return ArraySource(np.concatenate(images), np.concatenate(labels), classes=classes, ids=ids, roles=roles)


def _imagenet(root: Path) -> Source:
    for folder in (root, root / "ImageNet", root / "imagenet", root / "ILSVRC" / "Data" / "CLS-LOC"):
        if (folder / "train").is_dir():
            source = ImageFolder(folder, labels="folders", roles="folders")
            as_test: Mapping[Role, Role] = {"validation": "test"}  # labels of ImageNet's own test set are not public
            source.roles = {item_id: as_test.get(role, role) for item_id, role in source.roles.items()}
            return source
    raise _missing("ImageNet", root, "there is no folder train, and ImageNet cannot be downloaded without an account")


def _fetch(name: str, root: Path) -> None:
    import torchvision.datasets

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            getattr(torchvision.datasets, name)(str(root), download=True)
        except (OSError, RuntimeError) as error:
            raise _missing(name, root, f"the download failed ({_first_line(error)})") from None


def _through_torchvision(name: str, root: Path, download: bool, unlabelled: bool) -> Source:
    import torchvision.datasets

    dataset: Callable[..., Any] = getattr(torchvision.datasets, name.removesuffix("Extra"))
    by_split = name in ("SVHN", "SVHNExtra", "STL10")
    more = {"STL10": ("unlabeled",) if unlabelled else (), "SVHNExtra": ("extra",)}
    parts = ("train", "test", *more.get(name, ()))
    images, labels, classes = [], [], _DIGITS
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the sets' old pickles make NumPy warn; people cannot do anything about it
        for part in parts:
            choice: dict[str, Any] = {"split": part} if by_split else {"train": part == "train"}
            try:
                read = dataset(str(root), download=download, **choice)
            except (OSError, RuntimeError) as error:
                raise _missing(name, root, _first_line(error)) from None
            pixels = np.asarray(read.data)
            images.append(np.ascontiguousarray(pixels.transpose(0, 2, 3, 1)) if by_split else pixels)
            labels.append(np.asarray(read.labels if by_split else read.targets).astype(np.int64))
            classes = tuple(getattr(read, "classes", classes))
    return _joined(images, labels, parts, classes)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".:") if lines else type(error).__name__
