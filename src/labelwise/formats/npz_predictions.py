"""Predictions for whole images as arrays: ``ids`` with ``probs`` and/or ``embeddings``, in an .npz file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from labelwise.contracts.format import Format, Hints, Reads, Sniff, Writes, Writing
from labelwise.contracts.record import Head, Record, Seen
from labelwise.errors import FormatError
from labelwise.formats.answer_rows import called, region_of
from labelwise.formats.columns import is_picture
from labelwise.formats.quick_records import builder, quick_where

if TYPE_CHECKING:
    from labelwise.formats.predictions_npz import Predictions

_SEEN = builder(Seen, ("probs", "embedding"))
_RECORD = builder(Record, ("where", "image", "bare", "objects", "region"))
_KEYS = frozenset({"probs", "embeddings"})


@dataclass(frozen=True)
class NpzPredictions(Format):
    """Arrays ``ids`` (N names), ``probs`` (N, C) and/or ``embeddings`` (N, D), and perhaps ``classes`` (C names).

    Rows come in ascending order of the ids. Boxes and masks have no place for probabilities of whole images: with them
    embeddings only are read.

    Memory: the arrays as float32, once; see ``npz.load_npz`` for what packed ones may take.
    """

    name: ClassVar[str] = "npz"
    title: ClassVar[str] = "probabilities and embeddings of images, as arrays (numpy.savez)"
    kinds: ClassVar[frozenset[str]] = frozenset({"classes", "boxes", "masks", "points"})
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
        except FormatError:
            return Sniff(0.2, "no .npz that can be read")
        if "ids" not in keys or not keys & _KEYS:
            return Sniff(0.3, "no arrays ids, and probs or embeddings")
        held = sorted(keys & _KEYS)
        return Sniff(1.0, f"arrays ids and {' and '.join(held)}", ("classes",) if "probs" in keys else ())

    def read(self, path: Path, use: Reads, hints: Hints) -> tuple[Head, Iterator[Record]]:
        """A record for each row.

        Raises:
            FormatError: as ``predictions_npz.read_predictions``; probabilities where boxes or masks are wanted.
        """
        from labelwise.formats.predictions_npz import Expected, read_predictions

        plain = hints.kind in (None, "classes")
        found = read_predictions(path, Expected(classes=(hints.classes or None) if plain else None))
        if found.probs_NC is not None and not plain:
            raise FormatError(
                f"{str(path)!r} holds class probabilities of images, and {hints.kind} are wanted: give a file of "
                f"{hints.kind} with scores, or an .npz with embeddings only"
            )
        return Head(classes=found.classes or ()), _records(str(path), found)

    def write(self, path: Path, head: Head, records: Iterable[Record], how: Writing) -> list[str]:
        """Arrays of what records say of whole images, rows in ascending order of their ids.

        Raises:
            FormatError: an image without probabilities or embedding where others have them.
            StateError: the file cannot be written.
        """
        import numpy as np

        from labelwise.formats.predictions_npz import Predictions, write_predictions

        rows = {called(record): record.objects[0] for record in records if record.objects}
        ids = tuple(sorted(rows))
        arrays: list[np.ndarray | None] = []
        for what in ("probs", "embedding"):
            values = [getattr(rows[item], what) for item in ids]
            if bare := [item for item, value in zip(ids, values, strict=True) if value is None]:
                if len(bare) < len(ids):
                    raise FormatError(f"{bare[0]!r:.80} has no {what}, and other images have: give all of them or none")
                arrays.append(None)
            else:
                arrays.append(np.array([_in_order(value, head.classes) for value in values], dtype=np.float32))
        write_predictions(path, Predictions(ids, arrays[0], arrays[1], head.classes or None))
        return []


def _records(file: str, found: Predictions) -> Iterator[Record]:
    nothing = [None] * len(found.ids)
    probs = nothing if found.probs_NC is None else found.probs_NC
    vectors = nothing if found.embeddings_ND is None else found.embeddings_ND
    for n, (item, row, vector) in enumerate(zip(found.ids, probs, vectors, strict=True), 1):
        image, region = region_of(item)
        where = quick_where(file, "id", n)
        yield _RECORD(where, image, not is_picture(image), (_SEEN(row, vector),), region)


def _in_order(values: object, classes: tuple[str, ...]) -> object:
    """Probabilities by class, in the order of the classes."""
    return [values[name] for name in classes] if isinstance(values, dict) else values
