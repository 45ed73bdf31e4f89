"""Names that are spelt like another, found without comparing all of them."""

from __future__ import annotations

import bisect
import difflib
import posixpath
from collections.abc import Collection
from functools import lru_cache

#: neighbours in string order that are compared
_NEAR = 200


def nearest_ids(name: str, known: Collection[str], *, count: int = 2) -> list[str]:
    """Up to ``count`` known ids that are spelt like ``name``, best first.

    Those with the same file name, and neighbours in string order, are compared: a comparison with 200,000 names would
    take minutes. Cost: one sort of the ids, kept for the next question about the same ones.
    """
    plain = posixpath.normpath(name.strip().replace("\\", "/"))[:500]
    base = posixpath.basename(plain).casefold()
    ordered, bases = _orders(_Held(known))
    at = bisect.bisect_left(bases, (base, ""))
    same = [item for key, item in bases[at : at + count] if key == base]
    if same:
        return same
    at = bisect.bisect(ordered, plain)
    return difflib.get_close_matches(plain, ordered[max(at - _NEAR, 0) : at + _NEAR], n=count, cutoff=0.6)


class _Held:
    """A collection as a key of the cache: the same object, with as many names."""

    def __init__(self, known: Collection[str]) -> None:
        self.known = known

    def __hash__(self) -> int:
        return hash((id(self.known), len(self.known)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Held) and self.known is other.known and len(self.known) == len(other.known)


@lru_cache(maxsize=1)
def _orders(held: _Held) -> tuple[list[str], list[tuple[str, str]]]:
    ordered = sorted(held.known)
    return ordered, sorted((posixpath.basename(item).casefold(), item) for item in ordered)
