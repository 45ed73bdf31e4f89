"""A source that remembers the content digests of its images, so that nothing is hashed twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from labelwise.contracts.source import Source, ValueRange
from labelwise.data.views import View

#: (ids, stat keys, function that hashes the ids it is given) -> digests; the project's store keeps them on disk
Memory = Callable[[Sequence[str], Sequence[str], Callable[[list[str]], list[str]]], list[str]]


class Remembered(View):
    """The same images; ``content`` is computed once for each.

    Args:
        source: what is looked at.
        memory: keeps digests between processes under a cheap key; used only where the source has such keys.
    """

    def __init__(self, source: Source, memory: Memory | None = None) -> None:
        super().__init__(source)
        self._memory = memory
        self._known: dict[str, str] = {}

    def in_range(self, value_range: ValueRange | None) -> Remembered:
        """The images in that range; digests of another are not theirs."""
        return Remembered(self.source.in_range(value_range), self._memory)

    def content(self, item_ids: Sequence[str]) -> list[str]:
        """Digests, from memory where they are known."""
        new = [item for item in item_ids if item not in self._known]
        if new:
            stats = self.source.stat_key(new) if self._memory is not None else None
            if self._memory is not None and stats is not None:
                found = self._memory(new, stats, self.source.content)
            else:
                found = self.source.content(new)
            self._known.update(zip(new, found, strict=True))
        return [self._known[item] for item in item_ids]
