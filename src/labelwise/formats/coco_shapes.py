"""Shapes as COCO writes them: boxes by a corner and sides, polygons, run lengths, key points.

Shape letters: H x W pixels.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from labelwise.contracts.record import Mask, Points, Polygon
from labelwise.errors import FormatError
from labelwise.formats.numbers import corners, end, length, number
from labelwise.formats.painted import check_size

if TYPE_CHECKING:
    import numpy as np

_SIDES = ("x", "y", "width", "height")


# ---- numbers --------------------------------------------------------------------------------------------------------


def whole(value: Any) -> int | None:
    """A whole number, however loosely it was written (3, 3.0, "3"); None for anything else.

    Example:
        >>> [whole(value) for value in (3, 3.0, "3", "03", 3.5, True, 10**400, float("nan"))]
        [3, 3, 3, None, None, None, None, None]
    """
    if type(value) is int and -1 << 63 <= value < 1 << 63:
        return value  # as almost always
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    elif isinstance(value, str) and 0 < len(value) < 20 and value.isascii() and value.lstrip("-").isdecimal():
        value = int(value) if str(int(value)) == value else None
    fits = isinstance(value, int) and not isinstance(value, bool) and -(1 << 63) <= value < 1 << 63
    return value if fits else None


def key(value: Any) -> int | str | None:
    """An id, as which 1, 1.0 and "1" are the same; None for what is neither a whole number nor a text."""
    found = whole(value)
    return value if found is None and isinstance(value, str) and value.strip() else found


# ---- boxes ----------------------------------------------------------------------------------------------------------


def read_bbox(bbox: Any, where: str) -> list[float]:
    """Corners of ``[x, y, width, height]``.

    Raises:
        FormatError: not four finite numbers, or a negative side.
    """
    if not isinstance(bbox, list) or len(bbox) != 4:
        raise FormatError(f"{where}: bbox is {bbox!r:.60}; give [x, y, width, height]")
    x, y, width, height = (number(v, where, f"{n} of bbox") for n, v in zip(_SIDES, bbox, strict=True))
    if width < 0 or height < 0:
        raise FormatError(
            f"{where}: bbox {bbox!r:.100} has a negative side; give [x, y, width, height], x and y of the upper left "
            "corner"
        )
    return corners([x, y, end(x, width), end(y, height)], where)


def bbox_of(box: Sequence[float]) -> list[float]:
    """``[x, y, width, height]`` of corners; what ``read_bbox`` gives the same corners for."""
    return [box[0], box[1], length(box[0], box[2]), length(box[1], box[3])]


# ---- outlines -------------------------------------------------------------------------------------------------------


def read_segmentation(mask: Any, size: tuple[int, int] | None, where: str) -> Polygon | Mask | None:
    """An outline: polygons, or run lengths that are painted when asked for; None where there is none.

    Parts of fewer than three corners cover nothing and are left out; a polygon without any other part is empty.

    Args:
        mask: a list of polygons, one polygon, or ``{"size", "counts"}``.
        size: (width, height) of the image; None where it is not known.
        where: of the annotation, for messages.

    Raises:
        FormatError: anything else, or run lengths that do not decode to this size.
    """
    if mask is None or mask == []:
        return None
    if isinstance(mask, Mapping):
        return _runs(mask, size, where)
    parts = [mask] if isinstance(mask, list) and not isinstance(mask[0], list) else mask
    if not isinstance(parts, list) or not all(isinstance(p, list) and len(p) % 2 == 0 for p in parts):
        raise FormatError(f"{where}: segmentation is {mask!r:.60}; give a list of polygons [x1, y1, x2, y2, ...]")
    if any(len(part) == 2 for part in parts):
        raise FormatError(f"{where}: segmentation is {mask!r:.60}; give every polygon three corners or more")
    if not any(parts):
        return None
    for part in parts:
        if not _plain(part):
            for value in part:
                number(value, where, "a corner of a polygon")
    return Polygon(tuple(tuple(part) for part in parts if len(part) >= 6))


def _plain(values: Sequence[Any]) -> bool:
    """Whether all are finite numbers, as almost always: sets of polygons have millions of corners."""
    try:
        return set(map(type, values)) <= {int, float} and math.isfinite(sum(values))
    except OverflowError:
        return False


def _runs(mask: Mapping[str, Any], size: tuple[int, int] | None, where: str) -> Mask:
    sides = mask.get("size")
    height, width = map(whole, sides) if isinstance(sides, list) and len(sides) == 2 else (None, None)
    if size is not None and (width, height) != size:
        raise FormatError(
            f"{where}: the mask has size {sides!r:.60}, the image is {size[0]} x {size[1]}; masks say [height, width]"
        )
    if width is None or height is None or width < 1 or height < 1:
        raise FormatError(f"{where}: the mask has size {sides!r:.60}; give [height, width] in whole pixels")
    runs = checked_runs(mask.get("counts"), width, height, where)
    return Mask((width, height), _Painted(runs, width, height, where), raw=mask)


@dataclass(frozen=True)
class _Painted:
    """Paints run lengths when it is called; equal to another that paints the same."""

    runs: list[int]
    width: int
    height: int
    where: str = field(compare=False)

    def __call__(self) -> np.ndarray:
        return paint_runs(self.runs, self.width, self.height, self.where)


def checked_runs(counts: Any, width: int, height: int, where: str) -> list[int]:
    """Run lengths that fill an image of this size exactly.

    Raises:
        FormatError: they do not decode, or sum to something else.
    """
    try:
        runs = decode_counts(counts) if isinstance(counts, str) else counts
    except ValueError as error:
        raise FormatError(f"{where}: the mask's run lengths do not decode: {error}") from None
    if not isinstance(runs, list) or not all(type(run) is int and run >= 0 for run in runs):
        raise FormatError(
            f"{where}: the mask's run lengths do not decode: {counts!r:.60}; give whole numbers, 0 or more"
        )
    if (total := sum(runs)) != width * height:
        raise FormatError(
            f"{where}: the mask's run lengths do not decode: they sum to {total if total < 1 << 63 else 'far more'}, "
            f"the image has {width} x {height} = {width * height} pixels"
        )
    return runs


def paint_runs(runs: Sequence[int], width: int, height: int, where: str = "a mask") -> np.ndarray:
    """Bool (H, W) of run lengths that were checked: down the columns, the first run being pixels outside.

    Raises:
        FormatError: more pixels than a picture may have.
    """
    import numpy as np

    check_size((width, height), where)
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return flat.reshape(width, height).T


def decode_counts(text: str) -> list[int]:
    """Run lengths out of COCO's compressed text.

    Each number is written in groups of five bits, lowest first, in characters from ``0`` on, a sixth bit saying that
    more follow; from the fourth number on it is the difference to the number two before.

    Raises:
        ValueError: a character outside the range, or a number that does not end.

    Example:
        >>> decode_counts("61X13mN000`0")
        [6, 1, 40, 4, 5, 4, 5, 4, 21]
    """
    runs: list[int] = []
    value = shift = 0
    for place, character in enumerate(text):
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            raise ValueError(f"{character!r} at {place} is none of its characters")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            if shift > 60:
                raise ValueError(f"the number before {place} does not end")
            continue
        if bits & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError("the last number does not end")
    return runs


def encode_counts(runs: Iterable[int]) -> str:
    """Run lengths as COCO's compressed text; the inverse of ``decode_counts``.

    Example:
        >>> encode_counts([6, 1, 40, 4, 5, 4, 5, 4, 21])
        '61X13mN000`0'
    """
    text, before = [], list(runs)
    for place, run in enumerate(before):
        rest = run - before[place - 2] if place > 2 else run
        while True:
            bits, rest = rest & 31, rest >> 5
            more = rest != (-1 if bits & 16 else 0)
            text.append(chr(48 + (bits | 32 if more else bits)))
            if not more:
                break
    return "".join(text)


def run_lengths(cover_HW: np.ndarray) -> dict[str, Any]:
    """A mask as COCO's compressed run lengths: down the columns, the first run being pixels outside."""
    import numpy as np

    flat = np.concatenate([[False], cover_HW.T.ravel(), [not cover_HW[-1, -1]]])
    changes = np.flatnonzero(flat[1:] != flat[:-1])
    return {"size": list(cover_HW.shape), "counts": encode_counts(np.diff(changes, prepend=0).tolist())}


def decode_segmentation(mask: Any, width: int, height: int) -> np.ndarray:
    """Bool (H, W) of a segmentation that was checked: polygons, as COCO's own tools fill them, or run lengths.

    Raises:
        FormatError: more pixels than a picture may have.

    Example:
        >>> decode_segmentation({"size": [2, 3], "counts": [1, 2, 3]}, 3, 2).astype(int).tolist()
        [[0, 1, 0], [1, 0, 0]]
    """
    if isinstance(mask, Mapping):
        counts = mask["counts"]
        return paint_runs(decode_counts(counts) if isinstance(counts, str) else counts, width, height)
    import numpy as np
    from faster_coco_eval.core import mask as coco

    check_size((width, height), "a polygon")
    # four numbers would be taken for a box
    polygons = [list(polygon) for polygon in mask if len(polygon) >= 6]
    if not polygons:
        return np.zeros((height, width), bool)
    filled: np.ndarray = coco.decode(coco.merge(coco.frPyObjects(polygons, height, width))).astype(bool)
    return filled


def outlines(cover_HW: np.ndarray) -> list[list[int]] | None:
    """Polygons [x1, y1, x2, y2, ...] along the borders of pixels; None where they would not give back every pixel.

    Example:
        >>> import numpy as np
        >>> square = np.zeros((4, 5), bool)
        >>> square[1:3, 1:4] = True
        >>> outlines(square)
        [[1, 1, 4, 1, 4, 3, 1, 3]]
    """
    import numpy as np

    height, width = cover_HW.shape
    found = [_corners(loop) for loop in _loops(cover_HW)]
    exact = bool(found) and np.array_equal(decode_segmentation(found, width, height), cover_HW)
    return found if exact else None


def _loops(cover_HW: np.ndarray) -> list[list[tuple[int, int]]]:
    """Closed ways along the borders of pixels, the covered side to the right; (x, y) of each grid point."""
    import numpy as np

    padded = np.pad(cover_HW, 1)
    ways: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for (dy, dx), start, stop in (
        ((-1, 0), (0, 0), (1, 0)),
        ((0, 1), (1, 0), (1, 1)),
        ((1, 0), (1, 1), (0, 1)),
        ((0, -1), (0, 1), (0, 0)),
    ):
        beside = padded[1 + dy : padded.shape[0] - 1 + dy, 1 + dx : padded.shape[1] - 1 + dx]
        for y, x in np.argwhere(cover_HW & ~beside).tolist():
            ways.setdefault((x + start[0], y + start[1]), []).append((x + stop[0], y + stop[1]))
    loops = []
    for first in sorted(ways, key=lambda point: (point[1], point[0])):
        while first in ways:
            loops.append(_loop(ways, first))
    return loops


def _loop(ways: dict[tuple[int, int], list[tuple[int, int]]], first: tuple[int, int]) -> list[tuple[int, int]]:
    """One closed way, taken out of those that are left."""
    loop, before = [first], (0, 0)
    while True:
        here = loop[-1]
        onward = ways[here]
        # where two corners touch, turn right: areas that share a corner stay apart
        right = (here[0] - before[1], here[1] + before[0])
        step = onward.pop(onward.index(right) if right in onward else 0)
        if not onward:
            del ways[here]
        before = (step[0] - here[0], step[1] - here[1])
        if step == first:
            return loop
        loop.append(step)


def _corners(loop: Sequence[tuple[int, int]]) -> list[int]:
    """The points of a loop at which it turns, end to end."""
    turns = [
        point
        for before, point, after in zip([loop[-1], *loop[:-1]], loop, [*loop[1:], loop[0]], strict=True)
        if (point[0] - before[0], point[1] - before[1]) != (after[0] - point[0], after[1] - point[1])
    ]
    return [value for point in turns for value in point]


# ---- key points -----------------------------------------------------------------------------------------------------


def read_keypoints(values: Any, names: Sequence[str], where: str, *, scored: bool = False) -> Points | None:
    """Key points out of x1, y1, v1, x2, y2, v2, ...; None where there are none.

    Args:
        values: flat, as COCO has them.
        names: of the category's key points; () where it names none.
        where: of the annotation, for messages.
        scored: the third of each is a model's confidence where it is no whole number: such a point counts as visible,
            unless it lies at 0, 0. Confidences beyond 0 and 1, as some heat maps have them, count as 0 and 1.

    Raises:
        FormatError: not three finite numbers for each point, a visibility that is none of 0, 1 and 2, another number
            of points than there are names.
    """
    if values is None or values == []:
        return None
    if not isinstance(values, list) or len(values) % 3:
        raise FormatError(f"{where}: keypoints is {values!r:.60}; give x1, y1, v1, x2, y2, v2, ...")
    if names and len(values) != 3 * len(names):
        raise FormatError(
            f"{where}: keypoints has {len(values)} numbers, and its category names {len(names)} points: give three "
            "numbers for each"
        )
    points = []
    sure = [value for value in values[2::3] if scored and isinstance(value, float)]
    for x, y, visible in zip(values[0::3], values[1::3], values[2::3], strict=True):
        seen = (2 if x or y else 0) if scored and isinstance(visible, float) else whole(visible)
        if seen not in (0, 1, 2):
            raise FormatError(f"{where}: a key point has the visibility {visible!r:.40}; give 0, 1 or 2")
        points.append((number(x, where, "x of a key point"), number(y, where, "y of a key point"), seen))
    scores = [min(max(number(value, where, "the confidence of a key point"), 0.0), 1.0) for value in sure]
    return Points(tuple(points), tuple(names), tuple(scores) if len(scores) == len(points) else ())
