"""Predictions for whole images as arrays: ``ids`` with ``probs`` and/or ``embeddings``, in an .npz file."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from labelwise.contracts.format import Format, Hints, Reads, Sniff, Writes, Writing
from labelwise.contracts.record import Head, Record, Seen
from labelwise.errors import FormatError, cut
from labelwise.formats.answer_rows import called, region_of
from labelwise.formats.columns import is_picture
from labelwise.formats.files import write_whole
from labelwise.formats.quick_records import builder, quick_where

if TYPE_CHECKING:
    import numpy as np

_SEEN = builder(Seen, ("probs", "embedding"))
_RECORD = builder(Record, ("where", "image", "bare", "objects", "region"))
_KEYS = frozenset({"probs", "embeddings"})


@dataclass(frozen=True)
class NpzPredictions(Format):
    """Arrays ``ids`` (N names), ``probs`` (N, C) and/or ``embeddings`` (N, D), and perhaps ``classes`` (C names).

    Numbers are handed on as they are: whether they are probabilities is asked of every file in one place.

    Memory: the arrays as float32, once; see ``npz.load_npz`` for what packed ones may take. Keys that mean nothing here
    are not read.
    """

    name: ClassVar[str] = "npz"
    title: ClassVar[str] = "probabilities and embeddings of images, as arrays (numpy.savez)"
    kinds: ClassVar[frozenset[str]] = frozenset({"classes", "tags", "boxes", "masks", "points"})
    reads: ClassVar[frozenset[Reads]] = frozenset({"predictions"})
    writes: ClassVar[frozenset[Writes]] = frozenset({"predictions"})
    ending: ClassVar[str] = ".npz"

    def sniff(self, path: Path, use: Reads) -> Sniff:
        """By the ending and the names of the arrays."""
        if not path.is_file() or path.suffix.lower() != ".npz":
            return Sniff(0.0, "not called .npz")
        from labelwise.formats.npz import load_npz

        try:
            keys = set(load_npz(path))
        except FormatError as error:
            return Sniff(0.3, str(error).removeprefix(f"{str(path)!r} "))
        if "ids" not in keys or not keys & _KEYS:
            return Sniff(0.3, "no arrays ids, and probs or embeddings")
        held = sorted(keys & _KEYS)
        return Sniff(1.0, f"arrays ids and {' and '.join(held)}", ("classes",) if "probs" in keys else ())

    def read(self, path: Path, use: Reads, hints: Hints) -> tuple[Head, Iterator[Record]]:
        """A record for each row, in the order of the file.

        Raises:
            FormatError: in one line, for missing keys, types that are no names or numbers, and another number of rows
                than ids.
        """
        from labelwise.formats.npz import load_npz, names_of

        shown = repr(str(path))
        arrays = load_npz(path)
        if "ids" not in arrays or not _KEYS & arrays.keys():
            raise FormatError(f"{shown} holds {arrays.listed()}: needed are ids and probs or embeddings (or both)")
        ids = names_of(arrays["ids"], f"{shown}: ids")
        if not ids:
            raise FormatError(f"{shown}: ids are empty; give one row per image")
        probs, vectors = (
            _numbers(arrays[key], len(ids), f"{shown}: {key}") if key in arrays else None
            for key in ("probs", "embeddings")
        )
        classes = names_of(arrays["classes"], f"{shown}: classes") if "classes" in arrays else ()
        return Head(classes=tuple(classes)), _records(str(path), ids, probs, vectors)

    def write(self, path: Path, head: Head, records: Iterable[Record], how: Writing) -> list[str]:
        """Arrays of what records say of whole images, rows in ascending order of their ids.

        Raises:
            FormatError: an image without probabilities or embedding where others have them.
            StateError: the file cannot be written.
        """
        import numpy as np

        rows = {called(record): record.objects[0] for record in records if record.objects}
        ids = sorted(rows)
        arrays: dict[str, np.ndarray] = {"ids": np.array(ids, dtype=np.str_)}
        for key, what in (("probs", "probs"), ("embeddings", "embedding")):
            values = [getattr(rows[item], what) for item in ids]
            if bare := [item for item, value in zip(ids, values, strict=True) if value is None]:
                if len(bare) < len(ids):
                    raise FormatError(f"{bare[0]!r:.80} has no {what}, and other images have: give all of them or none")
            else:
                arrays[key] = np.array([_in_order(value, head.classes) for value in values], dtype=np.float32)
        if head.classes:
            arrays["classes"] = np.array(head.classes, dtype=np.str_)
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)  # type: ignore[arg-type]  # the stub takes the arrays for the allow_pickle flag
        write_whole(path, buffer.getvalue())
        return []


def _numbers(array: np.ndarray, count: int, what: str) -> np.ndarray:
    """Float32 (ids, columns)."""
    import numpy as np

    if array.dtype.kind not in "fiu" or array.ndim != 2 or array.shape[1] == 0:
        raise FormatError(
            f"{what} are {cut(str(array.dtype))} of shape {array.shape}: give numbers of shape (images, columns)"
        )
    if len(array) != count:
        raise FormatError(f"{what} have {len(array)} rows for {count} ids: give one row per id")
    with np.errstate(over="ignore"):  # found by whoever looks at the numbers
        return array.astype(np.float32, copy=False)


def _records(file: str, ids: Sequence[str], probs: np.ndarray | None, vectors: np.ndarray | None) -> Iterator[Record]:
    nothing = [None] * len(ids)
    rows = zip(ids, nothing if probs is None else probs, nothing if vectors is None else vectors, strict=True)
    for n, (item, row, vector) in enumerate(rows, 1):
        image, region = region_of(item)
        where = quick_where(file, "id", n)
        yield _RECORD(where, image, not is_picture(image), (_SEEN(row, vector),), region)


def _in_order(values: object, classes: tuple[str, ...]) -> object:
    """Probabilities by class, in the order of the classes."""
    return [values[name] for name in classes] if isinstance(values, dict) else values
