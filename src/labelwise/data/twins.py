"""Pictures that stand, byte for byte, in the pool and among those that are held out as well."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from labelwise.contracts.source import Source
from labelwise.data.views import View

#: names that a note lists
_SHOWN = 3
_HELD = ("test", "validation")


def twins(source: Source) -> dict[str, list[str]]:
    """Held-out picture (test, validation) -> the pictures of the pool with the same bytes.

    Cost: one look at the size of each file; digests only of files whose size both sides have.
    """
    held = [item for item in source.ids if source.roles.get(item) in _HELD]
    if not held:
        return {}
    pool = [item for item in source.ids if source.roles.get(item, "pool") == "pool"]
    held, pool = _alike(source, held, pool)
    content: dict[str, list[str]] = defaultdict(list)
    for item, digest in zip(pool, source.content(pool), strict=True):
        content[digest].append(item)
    found = zip(held, source.content(held), strict=True)
    return {item: content[digest] for item, digest in found if digest and digest in content}


def _alike(source: Source, held: Sequence[str], pool: Sequence[str]) -> tuple[list[str], list[str]]:
    """Those of both sides whose size the other side has too; all where sizes cost as much as digests."""
    sides = [source.stat_key(list(items)) for items in (held, pool)]
    if sides[0] is None or sides[1] is None:
        return list(held), list(pool)
    of_size: list[dict[str, list[str]]] = []
    for items, keys in zip((held, pool), sides, strict=True):
        sizes: dict[str, list[str]] = defaultdict(list)
        for item, key in zip(items, keys or (), strict=True):
            if key:
                sizes[key.partition(":")[0]].append(item)
        of_size.append(sizes)
    common = sorted(of_size[0].keys() & of_size[1].keys())
    return [i for size in common for i in of_size[0][size]], [i for size in common for i in of_size[1][size]]


def said(source: Source, found: dict[str, list[str]]) -> list[str]:
    """One line about twins; [] where there are none."""
    if not found:
        return []
    held = sum(role in _HELD for role in source.roles.values())
    pairs = ", ".join(f"{one!r:.50} = {others[0]!r:.50}" for one, others in list(found.items())[:_SHOWN])
    more = ", ..." if len(found) > _SHOWN else ""
    return [
        f"{len(found):,} of {held:,} test and validation images are also in the pool, byte for byte ({pairs}{more}): "
        "what is measured on them is memory. --drop-twins leaves their twins out of the pool"
    ]


def without_twins(source: Source) -> View:
    """The source without the pictures of the pool that are held out too; labels and roles of the others stay."""
    dropped = {item for others in twins(source).values() for item in others}
    return View(source, ids=[item for item in source.ids if item not in dropped])
