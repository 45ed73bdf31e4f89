"""The same images seen otherwise: fewer of them, other labels, a test set split off."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from labelwise.contracts.source import Role, Source, ValueRange
from labelwise.errors import ConfigError, DataError, unknown
from labelwise.rng import generator

if TYPE_CHECKING:
    import torch

V = TypeVar("V")


class _Only(Mapping[str, V]):
    """Some keys of a mapping; values are looked up when asked for, as they may have to be read from disk."""

    def __init__(self, mapping: Mapping[str, V], keys: frozenset[str]) -> None:
        self._mapping = mapping
        self._keys = tuple(key for key in mapping if key in keys)
        self._kept = frozenset(self._keys)

    def __getitem__(self, key: str) -> V:
        if key not in self._kept:
            raise KeyError(key)
        return self._mapping[key]

    def __contains__(self, key: object) -> bool:
        return key in self._kept

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def __repr__(self) -> str:
        return repr(dict(self))


class View(Source):
    """A source with some of its facts replaced; images are read through the original.

    Args:
        source: what is looked at.
        ids: which of its images, in any order; all by default.
        classes: other class names.
        truth: other labels, by id.
        roles: other roles, by id.
        groups: other groups, by id.
    """

    def __init__(
        self,
        source: Source,
        *,
        ids: Sequence[str] | None = None,
        classes: Sequence[str] | None = None,
        truth: Mapping[str, Any] | None = None,
        roles: Mapping[str, Role] | None = None,
        groups: Mapping[str, str] | None = None,
    ) -> None:
        self.source = source
        self.root = source.root
        self.kind, self.format = source.kind, source.format
        self.numbers, self.categories = source.numbers, source.categories
        self.palette = source.palette if classes is None else None
        self.value_range = source.value_range
        self.ids = source.ids if ids is None else tuple(sorted(ids))
        self.classes = source.classes if classes is None else tuple(classes)
        self.truth = source.truth if truth is None else truth
        self.roles = source.roles if roles is None else roles
        self.groups = source.groups if groups is None else groups
        if ids is not None:
            kept = frozenset(self.ids)
            self.truth, self.roles, self.groups = (
                _Only(self.truth, kept),
                _Only(self.roles, kept),
                _Only(self.groups, kept),
            )

    def __repr__(self) -> str:
        return f"View({self.source!r}, {len(self.ids)} images)"

    def load(self, item_id: str) -> np.ndarray | torch.Tensor:
        """As the original."""
        return self.source.load(item_id)

    def content(self, item_ids: Sequence[str]) -> list[str]:
        """As the original."""
        return self.source.content(item_ids)

    def stat_key(self, item_ids: Sequence[str]) -> list[str] | None:
        """As the original."""
        return self.source.stat_key(item_ids)

    def in_range(self, value_range: ValueRange | None) -> View:
        """The same view of the images in that range."""
        seen = copy.copy(self)
        seen.source = self.source.in_range(value_range)
        seen.value_range = seen.source.value_range
        return seen

    def encoded(self, item_id: str) -> str | bytes | None:
        """As the original."""
        return self.source.encoded(item_id)

    def path(self, item_id: str) -> str:
        """As the original."""
        return self.source.path(item_id)

    def size(self, item_id: str) -> tuple[int, int]:
        """As the original."""
        return self.source.size(item_id)

    def batch(self, item_ids: Sequence[str]) -> np.ndarray | None:
        """As the original."""
        return self.source.batch(item_ids)

    def within(self, item_id: str) -> tuple[str, str | None]:
        """As the original."""
        return self.source.within(item_id)

    def window(self, item_id: str) -> tuple[int, int, int, int] | None:
        """As the original."""
        return self.source.window(item_id)

    def expected_cost(self, item_ids: Sequence[str], unit: str) -> np.ndarray | None:
        """As the original."""
        return self.source.expected_cost(item_ids, unit)

    def outline(self, item_id: str) -> tuple[np.ndarray, tuple[int, int]]:
        """As the original."""
        return self.source.outline(item_id)

    def instances(self, item_id: str) -> np.ndarray | None:
        """As the original."""
        return self.source.instances(item_id)

    def native_order(self) -> Sequence[str]:
        """As the original."""
        return self.source.native_order()

    def notes(self) -> list[str]:
        """As the original."""
        return self.source.notes()

    def thumbnail(self, item_id: str, max_side: int) -> np.ndarray:
        """As the original."""
        return self.source.thumbnail(item_id, max_side)


def with_labels(source: Source, labels: Mapping[str, Any], *, classes: Sequence[str] | None = None) -> View:
    """The source with these labels as its truth; images that are not named have none.

    Args:
        source: the images.
        labels: id -> class name.
        classes: class names in index order; by default the source's own if all labels are among them, else the labels
            that occur, in string order.

    Raises:
        DataError: for an id that the source does not have, or a label that is not among ``classes``.

    Example:
        >>> from labelwise.data import ArraySource
        >>> with_labels(ArraySource(np.zeros((2, 4, 4), np.uint8)), {"1": "dog", "0": "cat"}).classes
        ('cat', 'dog')
    """
    ids = set(source.ids)
    if stray := [item_id for item_id in labels if item_id not in ids]:
        more = f" (and {len(stray) - 1} more)" if len(stray) > 1 else ""
        raise DataError(
            f"a label is given for {stray[0]!r}{more}, which is not among the {len(ids)} images: use their ids"
        )
    found = {str(label) for label in labels.values()}
    if classes is None:
        classes = source.classes if source.classes and found <= set(source.classes) else tuple(sorted(found))
    elif strange := sorted(found - set(classes)):
        raise unknown("class", strange[0], classes, error=DataError)
    return View(source, truth=dict(labels), classes=classes)


def subset(source: Source, n: int, seed: int) -> View:
    """``n`` images of the pool, drawn at random; images in other roles stay.

    The draw depends on the seed and the set of ids, not on their order.

    Raises:
        ConfigError: when the pool has fewer than ``n`` images, or ``n`` is not positive.
    """
    pool, others = _by_role(source)
    if not 0 < n <= len(pool):
        raise ConfigError(
            f"a subset of {n} images was asked for: the pool has {len(pool)}, give a number from 1 to that"
        )
    chosen = generator(seed, "subset").choice(len(pool), n, replace=False)
    return View(source, ids=[*(pool[position] for position in chosen), *others])


def split(source: Source, test_share: float, seed: int, *, groups: Mapping[str, str] | None = None) -> View:
    """The source with a share of its pool as the test set, drawn at random, whole groups at a time.

    If the source has labels, only labelled images count towards the share, and groups without any stay in the pool. The
    share is met as closely as the groups in their drawn order allow; at least one group goes to each side.

    Args:
        source: where the images come from; images that have another role already keep it.
        test_share: between 0 and 1, both excluded.
        seed: of the draw.
        groups: id -> group; by default the source's own. An image without a group is one of its own.

    Raises:
        ConfigError: for a share outside (0, 1).
        DataError: when there are fewer than two groups to split.
    """
    if not 0 < test_share < 1:
        raise ConfigError(f"test share {test_share} was given: give a number between 0 and 1, for example 0.2")
    group_of = source.groups if groups is None else groups
    pool, _ = _by_role(source)
    members: dict[tuple[str, bool], list[str]] = defaultdict(list)
    for item_id in pool:
        grouped = item_id in group_of
        members[group_of[item_id] if grouped else item_id, grouped].append(item_id)
    labelled = set(source.truth) or set(pool)
    weight = {group: sum(i in labelled for i in items) for group, items in members.items()}
    drawable = sorted(group for group, count in weight.items() if count)
    if len(drawable) < 2:
        raise DataError(
            f"a test set cannot be split off: {len(drawable)} group(s) with labels in the pool, at least 2 are needed"
        )
    order = generator(seed, "split").permutation(len(drawable))
    chosen = _fill([drawable[n] for n in order.tolist()], weight, test_share * sum(weight.values()))
    roles: dict[str, Role] = {**source.roles, **dict.fromkeys((i for g in chosen for i in members[g]), "test")}
    return View(source, roles=roles, groups=group_of)


def _fill(
    order: Sequence[tuple[str, bool]], weight: Mapping[tuple[str, bool], int], target: float
) -> list[tuple[str, bool]]:
    """Groups in order, each taken if that brings the sum nearer to the target; never none, never all."""
    chosen: list[tuple[str, bool]] = []
    total = 0
    for group in order:
        if abs(total + weight[group] - target) < abs(total - target) and len(chosen) < len(order) - 1:
            chosen.append(group)
            total += weight[group]
    return chosen or [min(order, key=weight.__getitem__)]


def _by_role(source: Source) -> tuple[list[str], list[str]]:
    """Ids of the pool, and of all other roles."""
    pool = [item_id for item_id in source.ids if source.roles.get(item_id, "pool") == "pool"]
    return pool, [item_id for item_id in source.ids if source.roles.get(item_id, "pool") != "pool"]
