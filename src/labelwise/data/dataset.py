"""Bring your own PyTorch data set: any object with ``len`` and ``[n]`` becomes a source."""

from __future__ import annotations

import contextlib
import copy
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np

from labelwise.contracts.source import Role, Source, ValueRange, checked_range
from labelwise.data.arrays import number_ids
from labelwise.data.images import to_array
from labelwise.errors import DataError, code_of_ones_own

if TYPE_CHECKING:
    import torch


class MapDataset(Protocol):
    """A map-style data set: items are an image, or a tuple that starts with image and label."""

    def __len__(self) -> int:
        """How many items."""

    def __getitem__(self, index: int, /) -> Any:
        """One item."""


class DatasetSource(Source):
    """The items of a map-style PyTorch data set.

    An image may be a Pillow image, a uint8 array (H, W) or (H, W, C), a uint8 tensor (C, H, W) as torchvision reads it,
    or a float tensor (C, H, W), which reaches the model exactly as it is. Labels may be class numbers or names; what is
    neither is passed on as it is, and -1 and None mean "not known".

    Labels are taken from the data set's ``targets`` or ``labels`` where it has one; otherwise an item is read when its
    label is asked for.

    Args:
        dataset: the items of the pool.
        ids: a name for each; by default numbers with leading zeros (after ``train/``, if there is a test set).
        classes: class names in index order; by default the data set's own ``classes``, if it has them.
        test: another data set, whose items are the test set.

    Raises:
        DataError: for an iterable-style or empty data set, ids that do not fit, an item that is no image, or a data set
            that gives another image each time (random transforms belong into training, not into the pool).

    Example:
        >>> images = [(np.zeros((4, 4), np.uint8), 1), (np.ones((4, 4), np.uint8), 0)]
        >>> source = from_dataset(images, classes=["cat", "dog"])
        >>> source.ids, source.truth["0"], source.load("1").shape
        (('0', '1'), 'dog', (4, 4, 1))
    """

    def __init__(
        self,
        dataset: MapDataset,
        *,
        ids: Sequence[str] | None = None,
        classes: Sequence[str] | None = None,
        test: MapDataset | None = None,
    ) -> None:
        self._parts = [_checked(dataset)] + ([] if test is None else [_checked(test)])
        if ids is not None and len(ids) != len(dataset):
            raise DataError(f"{len(ids)} ids for {len(dataset)} items: give one id per item")
        own = number_ids(len(dataset), "" if test is None else "train/") if ids is None else [str(name) for name in ids]
        tested = [] if test is None else number_ids(len(test), "test/")
        self._at = {name: (0, n) for n, name in enumerate(own)} | {name: (1, n) for n, name in enumerate(tested)}
        if len(self._at) < len(own) + len(tested):
            raise DataError("an id is given twice (or one starts with test/): ids must be unique")
        self.ids = tuple(sorted(self._at))
        named = classes if classes is not None else getattr(dataset, "classes", None)
        self.classes = None if named is None else tuple(str(name) for name in named)
        roles: dict[str, Role] = dict.fromkeys(tested, "test")
        self.roles = roles
        self.truth = Truth(self, tuple(_targets(part) for part in self._parts))
        self._refuse_random(own[0])

    def __repr__(self) -> str:
        return f"DatasetSource({type(self._parts[0]).__name__}, {len(self.ids)} images)"

    def load(self, item_id: str) -> np.ndarray | torch.Tensor:
        """The image part of the item."""
        item = self.item(item_id)
        return _image(item[0] if isinstance(item, (tuple, list)) else item, item_id, self.value_range)

    def in_range(self, value_range: ValueRange | None) -> Self:
        """The same items, Pillow images of more than 8 bits read from this range."""
        seen = copy.copy(self)
        seen.value_range = checked_range(value_range)
        return seen

    def item(self, item_id: str) -> Any:
        """The item as the data set gives it.

        Raises:
            DataError: whatever the data set's own code raises, in one line.
        """
        part, n = self._at[item_id]
        try:
            return self._parts[part][n]
        except Exception as error:  # the user's own code may raise anything
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            place = code_of_ones_own(error)
            at = "" if place is None else f" at {place}"
            raise DataError(f"{item_id!r}: the data set fails on item {n}{at} ({reason:.160})") from error

    def has_labels(self, part: int) -> bool:
        """Whether items of the pool (0) or the test set (1) are tuples with a label; the first readable one tells."""
        for item_id in [name for name, (of, n) in self._at.items() if of == part and n < 10]:
            with contextlib.suppress(DataError):
                item = self.item(item_id)
                return isinstance(item, (tuple, list)) and len(item) > 1
        return False

    def native_order(self) -> list[str]:
        """The order of the data set."""
        return [item for item, (part, _) in self._at.items() if part == 0]

    def content(self, item_ids: Sequence[str]) -> list[str]:
        """BLAKE2b-128 of each image's type, shape and values; reads every item."""
        return [self._digest(item_id) for item_id in item_ids]

    def _digest(self, item_id: str) -> str:
        try:
            pixels = np.ascontiguousarray(np.asarray(self.load(item_id)))
        except DataError:
            return ""
        kind = f"{pixels.dtype}{pixels.shape}".encode()
        return hashlib.blake2b(pixels.tobytes(), digest_size=16, key=kind).hexdigest()

    def _refuse_random(self, item_id: str) -> None:
        if self._digest(item_id) != self._digest(item_id):
            raise DataError(
                f"the data set gives another image each time {item_id!r} is read: take random transforms out of it; "
                "labelwise augments during training only"
            )


class Truth(Mapping[str, Any]):
    """Labels of a data set by id, each read when it is asked for."""

    def __init__(self, source: DatasetSource, targets: tuple[Sequence[Any] | None, ...]) -> None:
        self._source = source
        self._targets = targets
        self._known: dict[str, Any] = {}
        self._labelled: dict[int, bool] = {}
        self._ids = tuple(i for i in source.ids if self._has_label(i))

    def _has_label(self, item_id: str) -> bool:
        """Whether there is one; where finding out means reading the item, the first speaks for all."""
        part, n = self._source._at[item_id]
        targets = self._targets[part]
        if targets is not None:
            return self._name(targets[n], item_id) is not None
        if part not in self._labelled:
            self._labelled[part] = self._source.has_labels(part)
        return self._labelled[part]

    def _name(self, label: Any, item_id: str) -> Any:
        """Class name of a class number; None where the label is not known; other labels as they are."""
        if hasattr(label, "item") and getattr(label, "ndim", 0) == 0:
            label = label.item()
        if isinstance(label, bool) or not isinstance(label, int):
            return None if label == "" else label
        if label < 0:
            return None
        classes = self._source.classes
        if classes is None:
            return str(label)
        if label >= len(classes):
            raise DataError(f"{item_id!r} has label {label}, but there are {len(classes)} classes: name them all")
        return classes[label]

    def __getitem__(self, item_id: str) -> Any:
        part, n = self._source._at[item_id]
        targets = self._targets[part]
        if targets is not None:
            label = self._name(targets[n], item_id)
        else:
            if item_id not in self._known:
                item = self._source.item(item_id)
                self._known[item_id] = item[1] if isinstance(item, (tuple, list)) and len(item) > 1 else None
            label = self._name(self._known[item_id], item_id)
        if label is None:
            raise KeyError(item_id)
        return label

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids)

    def __len__(self) -> int:
        return len(self._ids)


def from_dataset(
    dataset: MapDataset,
    *,
    ids: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    test: MapDataset | None = None,
) -> DatasetSource:
    """Any map-style PyTorch data set as a source; see :class:`DatasetSource`."""
    return DatasetSource(dataset, ids=ids, classes=classes, test=test)


def _checked(dataset: MapDataset) -> MapDataset:
    if not (hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")):
        raise DataError(
            f"{type(dataset).__name__} has no length or no [n]: give a map-style data set, not an iterable one"
        )
    if not len(dataset):
        raise DataError(f"{type(dataset).__name__} is empty: there must be at least one item")
    return dataset


def _targets(dataset: Any) -> Sequence[Any] | None:
    """All labels of a data set that keeps them in a list, through ``torch.utils.data.Subset`` as well."""
    if hasattr(dataset, "dataset") and hasattr(dataset, "indices"):
        inner = _targets(dataset.dataset)
        return None if inner is None else [inner[n] for n in dataset.indices]
    if getattr(dataset, "target_transform", None) is not None:
        return None  # the list holds labels as they were before it
    for name in ("targets", "labels"):
        found = getattr(dataset, name, None)
        if found is not None and not callable(found) and hasattr(found, "__len__") and len(found) == len(dataset):
            listed: Sequence[Any] = found.tolist() if hasattr(found, "tolist") else found
            return listed
    return None


def _image(image: Any, item_id: str, value_range: ValueRange | None) -> np.ndarray | torch.Tensor:
    """What a source may return, out of what a data set may return."""
    if hasattr(image, "getbands"):
        return to_array(image, value_range=value_range, name=item_id)
    if not hasattr(image, "shape") or not hasattr(image, "dtype"):
        raise DataError(
            f"{item_id!r}: the data set gives a {type(image).__name__}; give a Pillow image, array or tensor"
        )
    shape, is_tensor = tuple(image.shape), not isinstance(image, np.ndarray)
    if "float" in str(image.dtype):
        import torch

        if len(shape) != 3:
            raise DataError(f"{item_id!r}: a float image of shape {shape}; give (C, H, W), ready for the model")
        return image if isinstance(image, torch.Tensor) else torch.from_numpy(np.array(image))
    pixels = np.array(np.asarray(image))  # a copy; tensors do not take NumPy's own way of asking for one
    if pixels.ndim == 3 and is_tensor and pixels.shape[0] in (1, 3):
        pixels = np.ascontiguousarray(pixels.transpose(1, 2, 0))
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in (1, 3):
        raise DataError(
            f"{item_id!r}: an image of type {image.dtype} and shape {shape}; give uint8 (H, W, 3) or floats"
        )
    return pixels
