"""The pool: every item, its role and its state, as a fold over events.

In memory an item is its **position**: the rank of its id among all ids. On disk and at every boundary it is the id. The
order in which images were listed therefore changes nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from labelwise.campaign.asked import Asked
from labelwise.campaign.events import (
    Added,
    AskedAgain,
    Cleared,
    Event,
    Held,
    HeldOut,
    Item,
    Labelled,
    Queried,
    Renamed,
    Restored,
    Skipped,
    Tagged,
    Unlabelled,
)
from labelwise.campaign.labels import Labels
from labelwise.campaign.tags import Tags
from labelwise.contracts.source import is_subject
from labelwise.errors import PoolError

if TYPE_CHECKING:
    from labelwise.contracts.source import Role

Positions = np.ndarray[tuple[int], np.dtype[np.int64]]

ROLES: tuple[Role, ...] = ("pool", "reference", "validation", "test")
UNLABELLED, PENDING, LABELLED, SKIPPED = range(4)


class Pool:
    """All items in the order of their ids, and what has happened to each.

    ``labelled`` and ``unlabelled`` hold items of role *pool*, ``pending`` and ``skipped`` those that are held out, too;
    all are disjoint ascending int64 positions. A region is left out of ``unlabelled`` while its whole image is pending
    or labelled, and the other way round: an image item covers its regions.

    Args:
        items: any order; ids must be unique.
        roles: one role for each item.

    Raises:
        PoolError: two items with one id, or a group that lies in training and in test.

    Cost: O(N log N) to build, O(1) for each event, O(N) for each list of positions.

    Example:
        >>> pool = Pool.replay([Added(Item("b.png", "b.png")), Added(Item("a.png", "a.png")), Queried("b.png", 0)])
        >>> pool.unlabelled.tolist(), pool.pending.tolist()
        ([0], [1])
    """

    def __init__(self, items: Iterable[Item], roles: Iterable[Role]) -> None:
        pairs = sorted(zip(items, roles, strict=True), key=lambda pair: pair[0].id)
        self.items: tuple[Item, ...] = tuple(item for item, _ in pairs)
        self.ids: tuple[str, ...] = tuple(item.id for item in self.items)
        self._position = {item_id: position for position, item_id in enumerate(self.ids)}
        if len(self._position) != len(self.ids):
            twice = next(a for a, b in zip(self.ids, self.ids[1:], strict=False) if a == b)
            raise PoolError(f"two items are called {twice!r}: ids must be unique")
        self._role = np.array([ROLES.index(role) for _, role in pairs], dtype=np.int8)
        self._state = np.full(len(self.items), UNLABELLED, dtype=np.int8)
        self.asked, self.labels, self.tags = Asked(), Labels(), Tags()
        self._reason: dict[int, str] = {}
        self._regions = any(item.is_region for item in self.items)
        #: whether the items are subjects of images
        self.has_subjects = any(is_subject(item.region) for item in self.items[:1])
        self._of_image: dict[str, list[int]] = {}
        if self._regions:
            for position, item in enumerate(self.items):
                self._of_image.setdefault(item.path, []).append(position)
        _refuse_split_groups(self.items, self._role)

    @classmethod
    def replay(cls, events: Iterable[Event]) -> Pool:
        """The pool after these events, in order.

        Raises:
            PoolError: an event names an id that was not added before, or contradicts the state.
        """
        added, rest = _in_todays_names(events)
        pool = cls([event.item for event in added], [event.role for event in added])
        for event in rest:
            pool.apply(event)
        return pool

    def apply(self, event: Event) -> None:
        """Changes the state by one event.

        Raises:
            PoolError: unknown id, or an event that the item's state or role does not allow.
        """
        match event:
            case Added() | Renamed():
                name = event.item.id if isinstance(event, Added) else event.id
                raise PoolError(f"{name!r} is {event.kind} in a built pool: replay all events instead")
            case Queried():
                position = self.position(event.id)
                if self.role(position) != "pool" or self._state[position] != UNLABELLED:
                    raise PoolError(
                        f"{event.id!r} is queried, but it is {self.describe(position)}: cancel or clear it first"
                    )
                if (other := self._covered_by(position)) is not None:
                    raise PoolError(
                        f"{event.id!r} is queried, but it is covered by {self.ids[other]!r}: clear that first"
                    )
                self._state[position] = PENDING
                self.asked.ask(position, event)
            case AskedAgain():
                self.asked.ask_again(_doubted(self, event.id), event)
            case Labelled():
                position = self.position(event.id)
                self._state[position] = LABELLED
                self.asked.answered(position)
                self.labels.add(position, event)
                self._reason.pop(position, None)
            case Skipped():
                position = self.position(event.id)
                if self._state[position] == LABELLED:
                    raise PoolError(f"{event.id!r} is skipped, but it has a label: clear the label first")
                self._state[position] = SKIPPED
                self._reason[position] = event.reason
            case Cleared():
                position = self.position(event.id)
                if not self.asked.take_back(position):  # of a label that was asked again only the question
                    self._forget(position)
            case Unlabelled():
                position = self.position(event.id)
                if self._state[position] != LABELLED:
                    raise PoolError(f"{event.id!r} has no label to take back: it is {self.describe(position)}")
                self._state[position] = PENDING if self.is_held_out(position) else UNLABELLED
                self.labels.drop(position)
                self.asked.answered(position)
            case HeldOut():
                position = self.position(event.id)
                if not self.is_free(position):
                    raise PoolError(f"{event.id!r} cannot be held out for testing: it is {self.describe(position)}")
                self._role[position] = ROLES.index("test")
                if event.rank is not None:
                    self._state[position] = PENDING
                    self.asked.ask(position, event.question())
            case Tagged():
                self.tags.put(self.position(event.id), event.tag, on=event.on)
            case Restored():
                position = self.position(event.id)
                if self._state[position] != SKIPPED:
                    raise PoolError(f"{event.id!r} is not skipped: it is {self.describe(position)}")
                self._state[position] = PENDING if self.is_held_out(position) else UNLABELLED
                self._reason.pop(position, None)

    def _forget(self, position: int) -> None:
        """An item is as if never asked; one that is held out goes back to the pool, with its regions."""
        self._state[position] = UNLABELLED
        self.labels.drop(position)
        if self.is_held_out(position):
            self._role[[position, *self._of_image.get(self.items[position].path, ())]] = 0
        self.asked.drop(position)
        self._reason.pop(position, None)

    def copy(self) -> Pool:
        """A pool that can change without this one; the items are shared."""
        other = copy.copy(self)
        other._state, other._role = self._state.copy(), self._role.copy()
        other.asked, other._reason, other.labels = self.asked.copy(), self._reason.copy(), self.labels.copy()
        other.tags = self.tags.copy()
        return other

    def __len__(self) -> int:
        return len(self.items)

    def position(self, item_id: str) -> int:
        """Position of an id.

        Raises:
            PoolError: no such item.
        """
        try:
            return self._position[item_id]
        except KeyError:
            raise _no_item(item_id) from None

    def __contains__(self, item_id: str) -> bool:
        return item_id in self._position

    def role(self, position: int | np.int64) -> Role:
        """What an item is there for."""
        return ROLES[int(self._role[position])]

    def describe(self, position: int) -> str:
        """State and role of an item, for messages."""
        state = ("unlabelled", "pending", "labelled", "skipped")[self._state[position]]
        state = "asked again" if position in self.asked.reopened else state
        role = self.role(position)
        return state if role == "pool" else f"a {role} item"

    def is_free(self, position: int) -> bool:
        """Whether an item lies in the pool and nothing has happened to it."""
        return bool(self._role[position] == 0 and self._state[position] == UNLABELLED)

    def is_held_out(self, position: int) -> bool:
        """Whether an item left the pool for the test set since it was added."""
        return isinstance(self.asked.first(int(position)), Held)

    def _covered_by(self, position: int) -> int | None:
        """The asked or labelled item that covers this one: its whole image, or for an image one of its regions."""
        item = self.items[position]
        for other in self._of_image.get(item.path, ()):
            across = self.items[other].is_region != item.is_region
            if across and self._state[other] in (PENDING, LABELLED):
                return other
        return None

    def _where(self, state: int) -> Positions:
        return np.flatnonzero((self._role == 0) & (self._state == state)).astype(np.int64)

    @property
    def labelled(self) -> Positions:
        """Items to train on."""
        return self._where(LABELLED)

    @property
    def pending(self) -> Positions:
        """Asked and not yet answered; images held out for testing, and labelled ones asked again, among them."""
        waiting = self._state == PENDING
        waiting[list(self.asked.reopened)] = True
        return np.flatnonzero(waiting).astype(np.int64)

    @property
    def skipped(self) -> Positions:
        """Not to be asked again, those that are held out among them."""
        return np.flatnonzero(self._state == SKIPPED).astype(np.int64)

    @property
    def unlabelled(self) -> Positions:
        """Items that may be asked."""
        free = self._where(UNLABELLED)
        if not self._regions:
            return free
        busy = np.flatnonzero(np.isin(self._state, (PENDING, LABELLED)))
        covered = {self.items[p].path for p in busy if not self.items[p].is_region}
        opened = {self.items[p].path for p in busy if self.items[p].is_region}
        blocked = [self.items[p].path in (covered if self.items[p].is_region else opened) for p in free]
        return np.array([p for p, out in zip(free, blocked, strict=True) if not out], dtype=np.int64)

    @property
    def has_regions(self) -> bool:
        """Whether some items are regions of images."""
        return self._regions

    @property
    def candidates(self) -> Positions:
        """Items to choose from now: all that may be asked; where images are cut, whole images first, then regions.

        What is asked first trains the model that tells regions apart, and an image with a label has none to ask.
        """
        free = self.unlabelled
        if not self._regions:
            return free
        started = bool((self._state == LABELLED)[self._role == 0].any())
        return free[[self.items[p].is_region is started for p in free]]

    def with_role(self, role: Role, *, labelled: bool = True) -> Positions:
        """Items of a role, by default only those with a label."""
        here = self._role == ROLES.index(role)
        if labelled:
            here &= self._state == LABELLED
        return np.flatnonzero(here).astype(np.int64, copy=False)

    def target(self, position: int | np.int64) -> Any:
        """The raw label of a labelled item: of several annotators that of the majority, in a tie the later one.

        Raises:
            PoolError: the item has no label.
        """
        try:
            return self.labels.target(int(position))
        except KeyError:
            raise PoolError(f"{self.ids[position]!r} has no label") from None

    def reason(self, position: int) -> str:
        """Why an item was skipped."""
        return self._reason.get(int(position), "")

    def query(self, position: int) -> Queried | None:
        """The query that asked for the item last; None for one that was labelled unasked."""
        return self.asked.query(int(position))

    def queries(self) -> list[Queried]:
        """All queries that still stand, by round and rank; of an item that was asked again both."""
        return self.asked.all()

    @property
    def round(self) -> int:
        """The number of the next round: one more than the last that was queried."""
        return self.asked.next_round

    def cost(self, role: Role = "pool") -> dict[str, float]:
        """What the labels of a role have cost so far, by unit."""
        return self.labels.cost(self.with_role(role).tolist())


def _doubted(pool: Pool, item_id: str) -> int:
    """Position of an item whose label may be asked again.

    Raises:
        PoolError: it has none, or is asked again already.
    """
    position = pool.position(item_id)
    if (state := pool.describe(position)) != "labelled":
        raise PoolError(f"{item_id!r} is asked again, but it is {state}: only labels are doubted, each once at a time")
    return position


def _refuse_split_groups(items: Iterable[Item], roles: Iterable[np.int8]) -> None:
    """A group lies in training or in test.

    Raises:
        PoolError: in both.
    """
    first: dict[str, tuple[bool, str]] = {}
    for item, role in zip(items, roles, strict=True):
        if item.group is None:
            continue
        held_out = ROLES[role] in ("validation", "test")
        seen, other = first.setdefault(item.group, (held_out, item.id))
        if seen != held_out:
            raise PoolError(
                f"group {item.group!r} lies in training and in test ({other!r} and {item.id!r}): "
                "give all items of a group one side"
            )


def _in_todays_names(events: Iterable[Event]) -> tuple[list[Added], Iterator[Event]]:
    """Events that add items, and all others, each with the name that its item has in the end.

    Raises:
        PoolError: an event names an id that was not added before.
    """
    added: list[Added] = []
    rest: list[tuple[int, Any]] = []  # all but those that add and rename have an id
    place: dict[str, int] = {}
    for event in events:
        if isinstance(event, Added):
            place[event.item.id] = len(added)
            added.append(event)
        elif event.id not in place:
            raise _no_item(event.id)
        elif isinstance(event, Renamed):
            number = place[event.to] = place.pop(event.id)
            item = replace(added[number].item, id=event.to, path=event.path)
            added[number] = Added(item, added[number].role)
        else:
            rest.append((place[event.id], event))
    named = ((added[number].item.id, event) for number, event in rest)
    return added, (event if event.id == now else replace(event, id=now) for now, event in named)


def _no_item(item_id: str) -> PoolError:
    return PoolError(f"no item is called {item_id!r}: ids are paths relative to the data root")
