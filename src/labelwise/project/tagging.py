"""Tags: words of their own that people put on images, to find them again and to choose among them."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from labelwise.campaign.events import Tagged
from labelwise.errors import ConfigError, PoolError, unknown

if TYPE_CHECKING:
    from labelwise.project.opened import Opened

#: characters of a tag, at most
LONGEST = 50


def tag(project: Opened, name: str, items: Sequence[str], *, on: bool = True) -> int:
    """Puts a tag on items, or takes it off.

    Nothing else changes: a tagged image is asked, trained on and counted as before.

    Args:
        project: held by the caller.
        name: the tag; spaces around it are left out.
        items: ids.
        on: False takes it off.

    Returns:
        How many items changed.

    Raises:
        ConfigError: an empty tag, one above 50 characters, or one with line breaks.
        PoolError: an unknown id, before anything is written.

    Example:
        >>> with project.changing():                                      # doctest: +SKIP
        ...     tag(project, "night", ["a.jpg", "b.jpg"])
        2
    """
    name = checked(name)
    pool = project.pool
    for item in items:
        if item not in pool:
            raise unknown("image", item, pool.ids, error=PoolError)
    changed = [item for item in dict.fromkeys(items) if (name in pool.tags.of(pool.position(item))) is not on]
    project.write([Tagged(item, name, on) for item in changed])
    return len(changed)


def tagged(project: Opened, names: Collection[str]) -> list[str]:
    """The items that have any of some tags, by id.

    Raises:
        ConfigError: a tag that no item has, with those that there are.
    """
    pool = project.pool
    known = pool.tags.counts()
    if not known:
        raise ConfigError("no image has a tag: put one with 'labelwise tag TAG IMAGE...', or on the page")
    for name in names:
        if name not in known:
            raise unknown("tag", name, tuple(known), error=ConfigError)
    return [item for position, item in enumerate(pool.ids) if not set(names).isdisjoint(pool.tags.of(position))]


def checked(name: str) -> str:
    """A tag as it is kept.

    Raises:
        ConfigError: see :func:`tag`.
    """
    name = name.strip()
    if not name or len(name) > LONGEST:
        raise ConfigError(f"tag {name!r:.60}: give 1 to {LONGEST} characters")
    if any(unicodedata.category(one) in ("Cc", "Cs", "Zl", "Zp") for one in name):
        raise ConfigError(f"tag {name!r:.60}: no line breaks and no control characters")
    return name
