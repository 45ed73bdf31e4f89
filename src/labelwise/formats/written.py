"""What every writer of objects needs: the name of a class, and a mask of a whole picture as objects."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from labelwise.contracts.record import Head, Mask, Record, Seen
from labelwise.errors import FormatError


def name_of(seen: Seen, head: Head, record: Record) -> str:
    """The name of an object's class.

    Raises:
        FormatError: it has none, or a number that no list names.
    """
    if isinstance(seen.cls, str):
        return seen.cls
    if seen.cls is None or not (seen.cls in head.numbers or 0 <= seen.cls < len(head.classes)):
        raise FormatError(f"{record.where}: an object has the class {seen.cls!r}, which has no name")
    return head.numbers.get(seen.cls) or head.classes[seen.cls]


def of_pixels(record: Record, head: Head) -> Iterator[Seen]:
    """The mask of a whole picture as one object for each class that occurs; nothing where there is none."""
    if record.pixels is None:
        return
    import numpy as np

    indices_HW = record.pixels.read()
    for n in np.unique(indices_HW).tolist():
        if n < len(head.classes):
            yield Seen(
                head.classes[n], outline=Mask(record.pixels.size, partial(np.equal, indices_HW, n), record.pixels.at)
            )
