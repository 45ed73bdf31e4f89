"""Images that lie in one array: NumPy arrays in memory and .npz files.

Shape letters: N images, H height, W width, C channels.
"""

from __future__ import annotations

import copy
import hashlib
import os
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Self

import numpy as np

from labelwise.contracts.source import Role, Source, ValueRange, checked_range
from labelwise.data.folder import in_this_range
from labelwise.data.images import decode
from labelwise.errors import DataError, FormatError, brief, cut, unknown
from labelwise.formats.npz import MAX_NAMES, load_npz, names_of

ROLES = ("pool", "reference", "validation", "test")


class ArraySource(Source):
    """Images of one size in one uint8 array.

    Args:
        images: uint8 (N, H, W, 1 | 3) or (N, H, W); used as it is, without a copy.
        labels: N class names, or N whole numbers; -1, "" and None mean "not known". Numbers index ``classes``; without
            ``classes`` they are the names themselves.
        classes: class names in index order; by default the labels that occur, in order.
        ids: N unique names; by default numbers with leading zeros, so that string order is number order.
        roles: one role for each image, or a mapping from id to role; "pool" by default.

    Raises:
        DataError: when shape, type or lengths do not fit, in one line.

    Example:
        >>> source = ArraySource(np.zeros((3, 8, 8), np.uint8), labels=["b", "a", ""])
        >>> source.ids, source.classes, source.truth
        (('0', '1', '2'), ('a', 'b'), {'0': 'b', '1': 'a'})
        >>> source.batch(["2", "0"]).shape
        (2, 8, 8, 1)
    """

    def __init__(
        self,
        images: np.ndarray,
        labels: Sequence[Any] | np.ndarray | None = None,
        *,
        classes: Sequence[str] | None = None,
        ids: Sequence[str] | np.ndarray | None = None,
        roles: Sequence[Role] | Mapping[str, Role] | None = None,
    ) -> None:
        self._images_NHWC = _checked_images(images)
        names = number_ids(len(images)) if ids is None else [str(name) for name in ids]
        self._row = _rows(names, len(images))
        self.ids = tuple(sorted(self._row))
        self.truth, self.classes = read_labels(names, labels, classes)
        self.roles = _checked_roles(names, roles)

    def __repr__(self) -> str:
        return f"ArraySource({self._images_NHWC.shape} uint8)"

    def load(self, item_id: str) -> np.ndarray:
        """A copy of one image, (H, W, C)."""
        return np.array(self._images_NHWC[self._row[item_id]])

    def batch(self, item_ids: Sequence[str]) -> np.ndarray:
        """Many images in one gather, (B, H, W, C)."""
        return np.take(self._images_NHWC, self._rows_of(item_ids), axis=0)

    def native_order(self) -> list[str]:
        """The order of the array, ids given or not."""
        return [item for item in self._row if self.roles.get(item, "pool") == "pool"]

    def content(self, item_ids: Sequence[str]) -> list[str]:
        """BLAKE2b-128 of each image's shape and pixels."""
        shape = repr(self._images_NHWC.shape[1:]).encode()
        rows = np.ascontiguousarray(self._images_NHWC[self._rows_of(item_ids)])
        return [hashlib.blake2b(row.data, digest_size=16, key=shape).hexdigest() for row in rows]

    def _rows_of(self, item_ids: Sequence[str]) -> np.ndarray:
        return np.fromiter(map(self._row.__getitem__, item_ids), np.int64, len(item_ids))


class EncodedSource(Source):
    """Encoded images (JPEG, PNG, ...) end to end in one byte array; decoded one by one, when asked for.

    Args:
        encoded: uint8, all files end to end.
        offsets: N + 1 positions; file n lies at ``encoded[offsets[n]:offsets[n + 1]]``.
        labels, classes, ids, roles: as for :class:`ArraySource`.
    """

    def __init__(
        self,
        encoded: np.ndarray,
        offsets: np.ndarray,
        labels: Sequence[Any] | np.ndarray | None = None,
        *,
        classes: Sequence[str] | None = None,
        ids: Sequence[str] | np.ndarray | None = None,
        roles: Sequence[Role] | Mapping[str, Role] | None = None,
    ) -> None:
        self._encoded, self._offsets = _checked_encoded(encoded, offsets)
        count = len(self._offsets) - 1
        names = number_ids(count) if ids is None else [str(name) for name in ids]
        self._row = _rows(names, count)
        self.ids = tuple(sorted(self._row))
        self.truth, self.classes = read_labels(names, labels, classes)
        self.roles = _checked_roles(names, roles)

    def __repr__(self) -> str:
        return f"EncodedSource({len(self.ids)} images, {len(self._encoded)} bytes)"

    def load(self, item_id: str) -> np.ndarray:
        """The decoded image; see :func:`labelwise.data.images.decode`."""
        return decode(self.encoded(item_id), value_range=self.value_range, name=item_id)

    def in_range(self, value_range: ValueRange | None) -> Self:
        """The same files, their pictures of more than 8 bits read from this range."""
        seen = copy.copy(self)
        seen.value_range = checked_range(value_range)
        return seen

    def encoded(self, item_id: str) -> bytes:
        """The bytes of the file."""
        return self._bytes(item_id).tobytes()

    def native_order(self) -> list[str]:
        """The order of the array, ids given or not."""
        return [item for item in self._row if self.roles.get(item, "pool") == "pool"]

    def content(self, item_ids: Sequence[str]) -> list[str]:
        """BLAKE2b-128 of each image's encoded bytes, and of the range."""
        found = [hashlib.blake2b(self._bytes(item_id).data, digest_size=16).hexdigest() for item_id in item_ids]
        return [in_this_range(digest, self.value_range) for digest in found]

    def _bytes(self, item_id: str) -> np.ndarray:
        row = self._row[item_id]
        return self._encoded[self._offsets[row] : self._offsets[row + 1]]


def number_ids(count: int, prefix: str = "") -> list[str]:
    """``count`` names whose string order is their number order.

    Example:
        >>> number_ids(11, "test/")[-2:]
        ['test/09', 'test/10']
    """
    width = len(str(max(count - 1, 0)))
    return [f"{prefix}{n:0{width}d}" for n in range(count)]


def read_labels(
    ids: Sequence[str], labels: Sequence[Any] | np.ndarray | None, classes: Sequence[str] | None
) -> tuple[dict[str, str], tuple[str, ...] | None]:
    """Truth (id -> class name) and class names out of a column of names or numbers.

    Raises:
        DataError: for another number of labels than images, a number outside the classes, or an unknown name.
    """
    names = tuple(str(name) for name in classes) if classes is not None else None
    if names is not None and len(set(names)) < len(names):
        raise DataError(f"a class is named twice in {brief(list(names), 120)}: give each class a name of its own")
    if labels is None:
        return {}, names
    column = np.asarray(labels)
    if column.shape != (len(ids),):
        raise DataError(f"labels have shape {column.shape}, but there are {len(ids)} images: give one label per image")
    if column.dtype.kind in "iub":
        return _from_numbers(ids, _whole_numbers(column), names)
    if column.dtype.kind in "SU":
        column = _text(column)
    if column.dtype.kind != "O":
        raise DataError(f"labels have type {cut(str(column.dtype))}: give class names or whole numbers")
    pairs = zip(ids, column.tolist(), strict=True)
    truth = {item_id: str(label) for item_id, label in pairs if label not in ("", None)}
    if names is None:
        names = tuple(sorted(set(truth.values())))
    for item_id, label in truth.items():
        if label not in names:
            raise unknown(f"class of image {item_id!r}", label, names, error=DataError)
    return truth, names


def _text(column: np.ndarray) -> np.ndarray:
    """Names as Python text."""
    try:
        names = [name.decode() if isinstance(name, bytes) else name for name in column.tolist()]
        for name in names:
            if not name.isascii():
                name.encode()
    except ValueError:  # bytes of another encoding, half a surrogate pair, a number beyond the last letter
        raise DataError("labels are not UTF-8: save them with dtype str") from None
    text = np.empty(len(names), dtype=object)
    text[:] = names
    return text


def _whole_numbers(column: np.ndarray) -> np.ndarray:
    """As int64; a number beyond it would come out negative, which means "not known"."""
    if column.dtype == np.uint64 and len(column) and column.max() > np.iinfo(np.int64).max:
        raise DataError(f"labels hold {column.max()}: give numbers of classes, from 0")
    return column.astype(np.int64)


def _from_numbers(
    ids: Sequence[str], labels_N: np.ndarray, classes: tuple[str, ...] | None
) -> tuple[dict[str, str], tuple[str, ...] | None]:
    known_N = labels_N >= 0
    if classes is None:
        present = np.unique(labels_N[known_N]).tolist()
        names = {number: str(number) for number in present}
        classes = tuple(names.values())
    else:
        names = dict(enumerate(classes))
        if len(labels_N) and labels_N.max() >= len(classes):
            row = int(labels_N.argmax())
            raise DataError(
                f"image {ids[row]!r} has label {labels_N[row]}, but there are {len(classes)} classes: "
                f"labels run from 0 to {len(classes) - 1}, and -1 means unknown"
            )
    return {ids[row]: names[int(labels_N[row])] for row in np.flatnonzero(known_N).tolist()}, classes


def _checked_images(images: np.ndarray) -> np.ndarray:
    if not isinstance(images, np.ndarray):
        raise DataError(f"images are a {type(images).__name__}: give a uint8 NumPy array (N, H, W, 3), or from_dataset")
    if images.dtype != np.uint8:
        raise DataError(f"images have type {images.dtype}: give uint8, 0 to 255 (for values in [0, 1], times 255)")
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim == 4 and images.shape[-1] not in (1, 3) and images.shape[1] in (1, 3):
        raise DataError(f"images have shape {images.shape}, channels first: give images.transpose(0, 2, 3, 1)")
    if images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise DataError(f"images have shape {images.shape}: give (N, H, W), (N, H, W, 1) or (N, H, W, 3)")
    if 0 in images.shape:
        raise DataError(f"images have shape {images.shape}: there must be at least one image and one pixel")
    return images


def _checked_encoded(encoded: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if encoded.dtype != np.uint8 or encoded.ndim != 1:
        raise DataError(f"encoded images are {encoded.dtype} {encoded.shape}: give one row of uint8, files end to end")
    if offsets.dtype.kind not in "iu" or offsets.ndim != 1 or len(offsets) < 2:
        raise DataError(f"offsets are {offsets.dtype} {offsets.shape}: give N + 1 whole numbers")
    beyond = bool((offsets < 0).any() or (offsets > len(encoded)).any())  # differences of such numbers may overflow
    if beyond or offsets[0] != 0 or offsets[-1] != len(encoded) or bool((np.diff(offsets.astype("i8")) < 0).any()):
        raise DataError(
            f"offsets run from {offsets[0]} to {offsets[-1]} over {len(encoded)} bytes: they must start at 0, never "
            "fall, and end at the number of bytes"
        )
    return encoded, offsets.astype(np.int64)


def _rows(names: Sequence[str], count: int) -> dict[str, int]:
    if len(names) != count:
        raise DataError(f"{len(names)} ids for {count} images: give one id per image")
    row = {name: n for n, name in enumerate(names)}
    if len(row) < count:
        twice = next(name for n, name in enumerate(names) if row[name] != n)
        raise DataError(f"id {brief(twice)} is given twice: ids must be unique")
    if "" in row:
        raise DataError("an id is empty: every image needs a name")
    return row


def _checked_roles(names: Sequence[str], roles: Sequence[Role] | Mapping[str, Role] | None) -> dict[str, Role]:
    if roles is None:
        return {}
    if isinstance(roles, Mapping):
        by_id = dict(roles)
        if stray := by_id.keys() - set(names):
            raise DataError(f"a role is given for {min(stray)!r}, which is no image: use the ids")
    elif len(roles) != len(names):
        raise DataError(f"{len(roles)} roles for {len(names)} images: give one role per image")
    else:
        by_id = dict(zip(names, roles, strict=True))
    for role in set(by_id.values()):
        if role not in ROLES:
            raise unknown("role", str(role), ROLES, error=DataError)
    return by_id


_PARTS: Mapping[str, Role] = {
    "": "pool",
    "train": "pool",
    "pool": "pool",
    "val": "validation",
    "validation": "validation",
    "test": "test",
}
_ENCODED = ("jpeg", "jpg", "png", "webp", "encoded")


def read_npz(path: str | os.PathLike[str]) -> ArraySource | EncodedSource:
    """An .npz file of images.

    Two layouts, each array optionally with ``train_``, ``pool_``, ``val_``, ``validation_`` or ``test_`` in front, or
    the same word behind (``x_train``), which gives the role and the ids ``train/00000``:

    * pixels: ``images`` or ``x`` (uint8, N x H x W x C), and ``labels`` or ``y``, ``ids``;
    * encoded files end to end: ``jpeg``, ``png``, ``webp`` or ``encoded`` (uint8), ``offsets`` (N + 1), and ``labels``
      or ``y``, ``ids``.

    ``classes`` (names in index order) serves all parts. Nothing is unpickled.

    Memory: the arrays, under the limits of :func:`labelwise.formats.npz.load_npz`; at most 3,000,000 images. Arrays of
    other names are not read.

    Raises:
        FormatError: for a file that is no such .npz, in one line.
    """
    arrays = load_npz(path)
    keys: dict[str, dict[str, str]] = {}  # part -> field -> name of the array
    for key in arrays:
        front, _, back = key.rpartition("_")
        part, field = (front, back) if front in _PARTS else (back, front) if back in _PARTS and front else ("", key)
        keys.setdefault(part, {})[{"x": "images", "y": "labels"}.get(field, field)] = key
    classes = keys.get("", {}).pop("classes", None)
    names = None if classes is None else names_of(arrays[classes], f"{os.fspath(path)!r}: classes")
    read = ("images", *_ENCODED, "offsets", "labels", "ids")
    filled = {
        part: {field: arrays[key] for field, key in found.items() if field in read}
        for part, found in keys.items()
        if _pixels_key(found) is not None
    }
    if not filled:
        raise FormatError(
            f"{os.fspath(path)!r} holds {arrays.listed()}: needed is images (or x), or jpeg "
            "with offsets; labels (or y), ids and classes are optional, and train_ or test_ may stand in front"
        )
    try:
        return _join(filled, names)
    except DataError as error:
        raise FormatError(f"{os.fspath(path)!r}: {error}") from None


def _pixels_key(arrays: Collection[str]) -> str | None:
    return next((key for key in ("images", *_ENCODED) if key in arrays), None)


def _join(parts: Mapping[str, Mapping[str, np.ndarray]], classes: Sequence[str] | None) -> ArraySource | EncodedSource:
    """One source of all parts; they share one layout."""
    keys = {_pixels_key(arrays) for arrays in parts.values()}
    if "images" in keys and len(keys) > 1:
        raise DataError("some parts are pixels, others encoded files: write all of them one way")
    ids: list[str] = []
    roles: list[Role] = []
    pixels, labels, offsets = [], [], [np.zeros(1, np.int64)]
    for part, arrays in parts.items():
        pixels.append(arrays[_pixels_key(arrays) or ""])
        if "images" in keys:
            pixels[-1] = _checked_images(pixels[-1])
        elif "offsets" in arrays:
            offsets.append(_checked_encoded(pixels[-1], arrays["offsets"])[1][1:] + offsets[-1][-1])
        else:
            raise DataError("'offsets' is missing beside the encoded images")
        count = len(pixels[-1]) if "images" in keys else len(offsets[-1])
        if count > MAX_NAMES:
            raise DataError(f"{count:,} images: at most {MAX_NAMES:,} are read from one file; split it")
        own = arrays.get("ids")
        ids += number_ids(count, f"{part}/" if part else "") if own is None else names_of(own, "ids")
        roles += [_PARTS[part]] * count
        labels.append(arrays.get("labels", np.full(count, -1)))
        if labels[-1].ndim != 1:
            raise DataError(f"labels have shape {labels[-1].shape}: give one label per image, in one row")
        if len(labels[-1]) != count:
            raise DataError(f"{len(labels[-1])} labels for {count} images: give one label per image")
    found = any("labels" in arrays for arrays in parts.values())
    column = _one_column(labels) if found else None
    named = roles if set(roles) != {"pool"} else None
    if "images" in keys:
        return ArraySource(_one_array(pixels), column, classes=classes, ids=ids, roles=named)
    return EncodedSource(np.concatenate(pixels), np.concatenate(offsets), column, classes=classes, ids=ids, roles=named)


def _one_array(parts: Sequence[np.ndarray]) -> np.ndarray:
    if len({part.shape[1:] for part in parts}) > 1:
        shapes = " and ".join(str(part.shape) for part in parts)
        raise DataError(f"the parts hold images of different sizes, {shapes}: make them one size")
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _one_column(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Labels of all parts; text where one part is text, with "" for the unlabelled."""
    parts = [_text(part) if part.dtype.kind in "SU" else part for part in parts]
    numbers = [part.dtype.kind in "iub" for part in parts]
    if all(numbers):
        return np.concatenate([_whole_numbers(part) for part in parts])
    for part, number in zip(parts, numbers, strict=True):
        if not number and part.dtype.kind not in "UO":
            raise DataError(f"labels have type {cut(str(part.dtype))}: give class names or whole numbers")
    if any(number and bool((part >= 0).any()) for part, number in zip(parts, numbers, strict=True)):
        raise DataError("labels are names in one part and numbers in another: use one kind")
    return np.concatenate([np.full(len(p), "") if number else p for p, number in zip(parts, numbers, strict=True)])
