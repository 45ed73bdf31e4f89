"""Words that people put on the items of a pool, to find them again."""

from __future__ import annotations

import copy


class Tags:
    """Tags by position.

    Example:
        >>> tags = Tags()
        >>> tags.put(2, "blurred")
        >>> tags.put(2, "night")
        >>> tags.put(2, "night", on=False)
        >>> tags.of(2), tags.counts()
        (('blurred',), {'blurred': 1})
    """

    def __init__(self) -> None:
        self._of: dict[int, tuple[str, ...]] = {}

    def put(self, position: int, tag: str, *, on: bool = True) -> None:
        """Puts a tag on an item, or takes it off; what is so already stays so."""
        others = tuple(one for one in self.of(position) if one != tag)
        if kept := (*others, tag) if on else others:
            self._of[position] = kept
        else:
            self._of.pop(position, None)

    def of(self, position: int) -> tuple[str, ...]:
        """The tags of an item, in the order in which they were put."""
        return self._of.get(position, ())

    def counts(self) -> dict[str, int]:
        """Tag -> on how many items it is, by name."""
        found: dict[str, int] = {}
        for tags in self._of.values():
            for tag in tags:
                found[tag] = found.get(tag, 0) + 1
        return dict(sorted(found.items()))

    def copy(self) -> Tags:
        """Tags that can change without these."""
        other = copy.copy(self)
        other._of = self._of.copy()
        return other
