"""Which values are black and white in the deep pictures of a set: one range for all of them, found by looking at some.

Pictures of more than 8 bits (microscopes, thermal and X-ray cameras) rarely use what their file could hold: a camera of
12 bits stored as 16 would come out nearly black. The range is found once, for the whole set, and written down, so that
no later picture changes how the others are read.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from labelwise.contracts.source import Source, ValueRange
from labelwise.data.images import numbers
from labelwise.errors import DataError
from labelwise.formats.headers import Header, read_header
from labelwise.rng import generator

#: headers that are read, evenly spaced over the set
HEADERS = 2000
#: deep pictures that are decoded, and pixels in all of them: a few seconds
PICTURES, PIXELS = 32, 200_000_000
#: values looked at in each
VALUES = 250_000
#: share of the values of a picture that may be beyond the range at each end: hot and dead pixels
BEYOND = 0.001

#: endings of the formats that may hold more than 8 bits, or several pages
_DEEP = (".png", ".tif", ".tiff", ".pgm", ".ppm", ".pnm", ".j2k", ".jp2")
_LOOKED_AT = frozenset((*_DEEP, ".gif", ".webp", ".avif"))


@dataclass(frozen=True)
class Look:
    """What some pictures of a set are like.

    Args:
        headers: how many were looked at; only files whose format may hold more than 8 bits or pages.
        deep: pictures of more than 8 bits, counted by kind of number.
        paged: pictures with further pages or frames, of which the first is read.
        value_range: the range in use, or else the one that fits; None where no picture is deep or none can be read.
        above: share of the values looked at that are beyond the range and become plain white.
        below: likewise plain black, below the lower end.
        dark: of the deep pictures decoded, those that use less than a twentieth of the range.
        decoded: how many were decoded.
    """

    headers: int = 0
    deep: Counter[str] = field(default_factory=Counter)
    paged: int = 0
    value_range: ValueRange | None = None
    above: float = 0.0
    below: float = 0.0
    dark: int = 0
    decoded: int = 0

    def notes(self) -> list[str]:
        """What people should know, one line each; empty for a set of plain pictures."""
        lines = []
        if self.deep and self.value_range is not None:
            low, high = (_text(value) for value in self.value_range)
            lines.append(
                f"pictures of more than 8 bits ({self.kinds()}): {low} becomes black and {high} "
                f"white in all of them{self._beyond()}; set input: {{range: [low, high]}} where other values matter"
            )
        if self.dark:
            lines.append(
                f"{self.dark} of {self.decoded} such pictures use less than a twentieth of that range and come out "
                "nearly uniform: where that is not how they are, set input: {range: [low, high]}"
            )
        if self.paged:
            lines.append(
                f"{self.paged:,} of {self.headers:,} pictures looked at have several pages or frames: only the first "
                "is read; save pages as files of their own to have them all"
            )
        return lines

    def kinds(self) -> str:
        """The kinds of deep pictures, with how many of those looked at."""
        found = " and ".join(f"{what}: {count:,}" for what, count in self.deep.most_common())
        return f"{found} of {self.headers:,} looked at"

    def _beyond(self) -> str:
        shares = {"above": self.above, "below": self.below}
        said = [f"{share:.2%} of the values lie {where}" for where, share in shares.items() if share >= 0.00005]
        return f", {' and '.join(said)}" if said else ""


def look(source: Source, value_range: ValueRange | None = None) -> Look:
    """Looks at some pictures of a source: at the headers of up to 2,000, and into up to 32 of those that are deep.

    Which ones depends on the ids alone. Files whose ending tells of 8 bits are not opened.

    Args:
        source: the images.
        value_range: the range in use; None has one proposed.

    Returns:
        What was seen. Pictures that cannot be read are passed over: whoever needs them says so.
    """
    found = list(_headers(source))
    deep = [(item, header) for item, header in found if header.depth is not None]
    kinds = Counter(header.depth.what for _, header in deep if header.depth is not None)
    paged = sum(header.pages for _, header in found)
    if not deep:
        return Look(len(found), kinds, paged)
    values = _values(source, deep)
    chosen = value_range if value_range is not None else _proposed(values, [header for _, header in deep])
    if chosen is None:
        return Look(len(found), kinds, paged)
    low, high = chosen
    total = max(sum(map(len, values)), 1)
    return Look(
        headers=len(found),
        deep=kinds,
        paged=paged,
        value_range=chosen,
        above=sum(int((each > high).sum()) for each in values) / total,
        below=sum(int((each < low).sum()) for each in values) / total,
        dark=sum(_used(each, chosen) < 0.05 for each in values),
        decoded=len(values),
    )


def _headers(source: Source) -> list[tuple[str, Header]]:
    found = []
    for item in _evenly(source.ids, HEADERS, source):
        file = source.encoded(item)
        if file is None:
            continue
        try:
            found.append((item, read_header(file, name=item)))
        except DataError:
            continue
    return found


def _evenly(ids: Sequence[str], most: int, source: Source) -> list[str]:
    """Items that may be deep or have pages, evenly spaced over the set."""
    if not ids or source.encoded(ids[0]) is None:
        return []
    if isinstance(source.encoded(ids[0]), str):  # only where ids are paths do they have endings
        likely: Sequence[str] = [item for item in ids if item[item.rfind(".") :].lower() in _LOOKED_AT]
    else:
        likely = ids
    if len(likely) <= most:
        return list(likely)
    return [likely[round(n * (len(likely) - 1) / (most - 1))] for n in range(most)]


def _values(source: Source, deep: Sequence[tuple[str, Header]]) -> list[np.ndarray]:
    """Values of some of the deep pictures, each by itself."""
    values: list[np.ndarray] = []
    pixels = 0
    for n in generator(0, "brightness").permutation(len(deep)).tolist():
        item, header = deep[n]
        pixels += header.width * header.height
        if len(values) == PICTURES or (values and pixels > PIXELS):
            break
        file = source.encoded(item)
        if file is None:
            continue
        try:
            seen = numbers(file, most=VALUES, name=item)
        except DataError:
            continue
        if len(seen):
            values.append(np.sort(seen))
    return values


def _ends(values: np.ndarray) -> tuple[float, float]:
    """The lowest and highest of a picture's sorted values, but for the few that may be beyond."""
    few = int(BEYOND * (len(values) - 1))
    return float(values[few]), float(values[-1 - few])


def _used(values: np.ndarray, value_range: ValueRange) -> float:
    """Share of the range between a picture's dark and bright values."""
    low, high = value_range
    ends = [min(max(end, low), high) for end in _ends(values)]
    return (ends[1] - ends[0]) / (high - low)


def _proposed(values: Sequence[np.ndarray], headers: Sequence[Header]) -> ValueRange | None:
    """The range for all: by their headers where these tell of fewer than 16 bits, else by their values."""
    told = {header.depth.full for header in headers if header.depth is not None}
    if len(told) == 1 and (full := next(iter(told))) is not None and full[1] < 65_535:
        return float(full[0]), float(full[1])
    if not values:
        return None
    ends = [_ends(each) for each in values]
    whole = all(each.dtype.kind in "iu" for each in values)
    return fitting(min(low for low, _ in ends), max(high for _, high in ends), whole=whole)


def fitting(low: float, high: float, *, whole: bool) -> ValueRange:
    """A plain range for values between two ends.

    The first of 0 to 1 (floats), 0 to 255, 511, 1,023 ... that holds them, as cameras have them; their own range with a
    tenth of it on each side where they fill less than a quarter of that (temperatures) or are negative.

    Args:
        low: the lowest value.
        high: the highest.
        whole: whether all values are whole numbers.

    Example:
        >>> fitting(12, 3900, whole=True), fitting(0.01, 0.9, whole=False), fitting(0, 240, whole=False)
        ((0.0, 4095.0), (0.0, 1.0), (0.0, 255.0))
        >>> fitting(7000, 9000, whole=True), fitting(-1024, 3000, whole=True), fitting(18.2, 36.5, whole=False)
        ((6800.0, 9200.0), (-1430.0, 3410.0), (16.3, 38.4))
    """
    slack = 0.0 if whole else 0.01
    tops = ([] if whole else [1.0]) + [2.0**bits - 1 for bits in range(8, 33)]
    top = next((top for top in tops if low >= 0 and high <= top * (1 + slack)), None)
    span = high - low
    largest = max(abs(low), abs(high), 1e-12)
    if span <= 1e-12 * largest:  # one value
        if top is not None:
            return 0.0, top
        span = largest
    if top is not None and span >= top / 4:
        return 0.0, top
    margin = span / 10
    step = 10.0 ** (math.floor(math.log10(span)) - 2)
    lowest = max(0.0, low - margin) if low >= 0 else low - margin
    digits = max(0, 2 - math.floor(math.log10(span)))
    return round(math.floor(lowest / step) * step, digits), round(math.ceil((high + margin) / step) * step, digits)


def _text(value: float) -> str:
    return f"{value:,.0f}" if value.is_integer() else f"{value:g}"
