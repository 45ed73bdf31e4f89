"""Numbers of records as arrays: probabilities and embeddings, checked, and without an object for each number.

Shape letters: N rows, W columns, C classes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np

from labelwise.contracts.kind import Naming
from labelwise.contracts.record import Record, Where
from labelwise.errors import FormatError

#: how far a row of probabilities may be from summing to one
TOLERANCE = 1e-3
#: rows that are looked at together: what is computed of them stays in the processor's cache
_BLOCK = 256


@dataclass(frozen=True)
class Told:
    """What a file says of a project's items.

    Args:
        rows: (id, what is said of it), in the file's order; drawn once.
        naming: its classes.
        ids: of the project.
        size_of: (width, height) of an image, for shapes in pixels of a file that names no size; None where it cannot be
            read.
    """

    rows: Iterable[tuple[str, Record]]
    naming: Naming
    ids: Sequence[str]
    size_of: Callable[[str], tuple[int, int] | None] = lambda item: None


class Places(Sequence[Where]):
    """Where many rows stand: as plain tuples, which the search for unreachable objects need not look at.

    Example:
        >>> places = Places()
        >>> places.append(Where("a.csv", "row", 3))
        >>> print(places[0])
        'a.csv', row 3
    """

    def __init__(self, rows: Iterable[tuple[str, str, int | None]] = ()) -> None:
        self._rows = list(rows)

    def append(self, where: Where) -> None:
        """One more."""
        self._rows.append((where.file, where.unit, where.row))

    def take(self, order: Sequence[int]) -> Places:
        """Those of these rows, in this order."""
        return Places(self._rows[row] for row in order)

    @overload
    def __getitem__(self, row: int) -> Where: ...

    @overload
    def __getitem__(self, row: slice) -> Sequence[Where]: ...

    def __getitem__(self, row: int | slice) -> Where | Sequence[Where]:
        return Where(*self._rows[row]) if isinstance(row, int) else Places(self._rows[row])

    def __len__(self) -> int:
        return len(self._rows)


def matrix(rows: Sequence[Any], wheres: Sequence[Where], what: str, *, finite: bool = True) -> np.ndarray:
    """Float32 (N, W) of rows that are sequences of numbers; views of one array in its order are that array itself.

    Args:
        rows: of all records; None where one has none.
        wheres: where each stands.
        what: they are, in messages.
        finite: whether numbers that are not finite are refused here; else whoever looks at them next does.

    Raises:
        FormatError: a row is missing or of another width, or something is no finite number.
    """
    shared = _shared(rows)
    if shared is None:
        width = _width(rows)
        for number, row in enumerate(rows):
            _check_row(row, width, wheres, number, what)
        with np.errstate(over="ignore"):  # found below
            shared = np.array(rows, dtype=np.float64).reshape(len(rows), width).astype(np.float32)
    for start in range(0, len(shared) if finite else 0, _BLOCK):
        if not np.isfinite(part := shared[start : start + _BLOCK]).all():
            row = start + int((~np.isfinite(part).all(1)).argmax())
            raise FormatError(f"{wheres[row]}: {what} hold a number that is not finite, or too large for float32")
    return shared


def _shared(rows: Sequence[Any]) -> np.ndarray | None:
    """The rows of the array that all rows are views of; None where there is no such array."""
    base = getattr(rows[0], "base", None) if rows else None
    if not isinstance(base, np.ndarray) or not all(isinstance(row, np.ndarray) and row.base is base for row in rows):
        return None
    width = rows[0].size
    whole = base.flags.c_contiguous and base.dtype == np.float32 and width and base.size % width == 0
    if not whole or any(row.shape != (width,) or row.dtype != base.dtype or not row.flags.c_contiguous for row in rows):
        return None
    begin, step = base.ctypes.data, 4 * width
    offsets = np.array([row.__array_interface__["data"][0] for row in rows], dtype=np.int64) - begin
    if (offsets % step).any():
        return None
    table, places = base.reshape(-1, width), offsets // step
    return table if len(table) == len(places) and (np.diff(places) == 1).all() else table[places]


def _width(rows: Sequence[Any]) -> int:
    return next((len(row) for row in rows if isinstance(row, Sequence | np.ndarray)), 0)


def _check_row(row: Any, width: int, wheres: Sequence[Where], number: int, what: str) -> None:
    if row is None:
        raise FormatError(f"{wheres[number]}: no {what}, and other rows have them; give them on every row or on none")
    if isinstance(row, str) or not isinstance(row, Sequence | np.ndarray) or len(row) != width or not width:
        raise FormatError(
            f"{wheres[number]}: {what} are {row!r:.60}; give a list of {width} numbers, as on the other rows"
        )
    if isinstance(row, np.ndarray) and row.ndim == 1 and row.dtype.kind in "fiu":
        return
    for value in row:
        if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > sys.float_info.max:
            raise FormatError(f"{wheres[number]}: {what} hold {value!r:.40}; give finite numbers")


def ordered(
    rows: Sequence[Any], wheres: Sequence[Where], naming: Naming, classes: Sequence[str], *, background: bool = False
) -> np.ndarray:
    """Probabilities with the columns in the order of the project's classes.

    Rows are mappings of classes to probabilities, or sequences in the order of ``Head.classes``; where the file names
    no classes, in that of the project.

    Args:
        rows: of all records; None where one has none.
        wheres: where each stands.
        naming: the classes of the file.
        classes: of the project.
        background: whether one column more may stand behind, for the background.

    Raises:
        FormatError: as ``matrix``; classes without a column, or columns without a class.
    """
    if isinstance(first := next((row for row in rows if row is not None), None), Mapping):
        own = list(first)
        for row, where in zip(rows, wheres, strict=True):
            if not isinstance(row, Mapping) or row.keys() != first.keys():
                raise FormatError(f"{where}: probs name other classes than the other rows; give all of them everywhere")
        probs_NW = matrix([[row[name] for name in own] for row in rows], wheres, "probs", finite=False)
    else:
        own, probs_NW = list(naming.head.classes), matrix(rows, wheres, "probs", finite=False)
    width = probs_NW.shape[1]
    allowed = (len(classes), len(classes) + 1) if background else (len(classes),)
    if width not in allowed or (own and len(own) not in (width, width - 1 if background else width)):
        raise FormatError(
            f"{wheres[0]}: probs have {width} columns, and there are {len(own) or len(classes)} classes: give one "
            f"column each{', or one more for the background' if background else ''}"
        )
    named = [naming.of(name) for name in own] or list(classes)
    columns = [named.index(name) if name in named else -1 for name in classes]
    if -1 in columns:
        missing = classes[columns.index(-1)]
        raise FormatError(f"{wheres[0]}: probs have no column for {missing!r}; give one for each class")
    if columns == list(range(len(classes))):
        return probs_NW
    rest = list(range(len(classes), width))
    return np.take(probs_NW, [*columns, *rest], axis=1)


def check_range(probs_NC: np.ndarray, wheres: Sequence[Where]) -> None:
    """Refuses what is no probability.

    Raises:
        FormatError: a number outside [0, 1], with the row.
    """
    for start in range(0, len(probs_NC), _BLOCK):
        part = probs_NC[start : start + _BLOCK]
        low_N, high_N = part.min(axis=1), part.max(axis=1)
        odd_N = ~((low_N >= 0) & (high_N <= 1 + TOLERANCE))  # NaN too
        if odd_N.any():
            row = int(odd_N.argmax())
            value = high_N[row] if low_N[row] >= 0 else low_N[row]
            raise FormatError(
                f"{wheres[start + row]}: probs hold {value:.6g}; give probabilities from 0 to 1, not logits"
            )


def sums(probs_NC: np.ndarray) -> np.ndarray:
    """Float64 (N,) what each row sums to."""
    blocks = (probs_NC[start : start + _BLOCK] for start in range(0, len(probs_NC), _BLOCK))
    found = [block.sum(axis=1, dtype=np.float64) for block in blocks]
    return np.concatenate(found) if found else np.zeros(0)


def check_sums(probs_NC: np.ndarray, wheres: Sequence[Where]) -> None:
    """Refuses rows that do not sum to one.

    Raises:
        FormatError: with the first of them and how many there are.
    """
    sum_N = sums(probs_NC)
    wrong_N = np.abs(sum_N - 1) > TOLERANCE
    if wrong_N.any():
        row = int(wrong_N.argmax())
        more = f" ({int(wrong_N.sum()) - 1:,} more rows likewise)" if wrong_N.sum() > 1 else ""
        raise FormatError(
            f"{wheres[row]}: probs sum to {sum_N[row]:.6g}{more}; classes exclude each other, so give the softmax, "
            "which sums to 1"
        )
