"""What people take back: labels and skips, by id, by a file that names them, or by round."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from labelwise.errors import ConfigError, PoolError, few, unknown
from labelwise.exchange.incoming import Incoming, Wishes
from labelwise.exchange.sniffing import choose, required

if TYPE_CHECKING:
    from labelwise.campaign.events import Restored, Unlabelled
    from labelwise.campaign.pool import Pool
    from labelwise.project.opened import Opened

State = Literal["labelled", "skipped"]


@dataclass(frozen=True)
class Which:
    """Which items are meant; what several of these say adds up.

    Args:
        ids: images, or regions of images; an image stands for its regions, too.
        file: anything that ``import`` reads, or a list of images: every image that it names.
        round: every item that was asked in this round, from 0.
        all: every item in that state.
        wishes: how to read the file.
    """

    ids: Sequence[str] = ()
    file: Path | None = None
    round: int | None = None
    all: bool = False
    wishes: Wishes = field(default_factory=Wishes)


def found(project: Opened, which: Which, state: State) -> tuple[list[str], list[str]]:
    """The items that are meant and are in this state, in the order of their ids; and notes on the others.

    Raises:
        ConfigError: nothing says which.
        PoolError: an unknown id or round, or an item named by its id that is in another state.
        FormatError: a file that cannot be read, or names images that the project does not have.
    """
    if not which.ids and which.file is None and which.round is None and not which.all:
        raise ConfigError(f"say which: ids of images, --file FILE, --round N, or --all for all that are {state}")
    pool = project.pool
    here = _in_state(pool, state)
    meant: set[str] = set(here) if which.all else set()
    for item in which.ids:
        meant |= _of_id(pool, item, here, state)
    notes: list[str] = []
    if which.file is not None:
        named, notes = _named(project, which.file, which.wishes)
        meant |= _counted(named, here, state, f"{str(which.file)!r:.80} names", notes)
    if which.round is not None:
        meant |= _counted(_asked(pool, which.round), here, state, f"round {which.round} asked about", notes)
    return [item for item in here if item in meant], notes


def take_back(
    project: Opened, which: Which, state: State, event: type[Unlabelled | Restored]
) -> tuple[list[str], list[str]]:
    """Takes back what :func:`found` finds; returns of which items, and notes.

    Args:
        project: held by the caller.
        which: items.
        state: in which they are.
        event: that is written of each.
    """
    items, notes = found(project, which, state)
    project.write([event(item) for item in items])
    return items, notes


def _in_state(pool: Pool, state: State) -> dict[str, None]:
    if state == "skipped":
        return dict.fromkeys(pool.ids[p] for p in pool.skipped)
    return dict.fromkeys(item for position, item in enumerate(pool.ids) if pool.labels.of(position))


def _of_id(pool: Pool, item: str, here: dict[str, None], state: State) -> set[str]:
    """An item, or those regions of an image that are in this state."""
    if item in here:
        return {item}
    regions = (
        {other for other in here if other.startswith(f"{item}#")} if item not in pool or pool.has_regions else set()
    )
    if not regions:
        if item not in pool:
            raise unknown("image", item, pool.ids, error=PoolError)
        raise PoolError(f"{item!r:.80} is not {state}: it is {pool.describe(pool.position(item))}")
    return regions


def _named(project: Opened, file: Path, wishes: Wishes) -> tuple[list[str], list[str]]:
    """Every image that a file names, labelled there or not; and what is to be said of the reading."""
    kind = project.kind.name
    use: Literal["answers", "data"] = "answers"
    choice = choose(file, use, kind=kind, name=wishes.format) if file.exists() else None
    if choice is None:
        use = "data"
        choice = required(file, use, name=wishes.format)
    incoming = Incoming(file, choice.format, use, project.known(project.config.classes), wishes)
    items = list(dict.fromkeys(item for item, _ in incoming))
    incoming.refuse_unknown()
    if project.pool.has_subjects:  # an image stands for its subjects
        named = frozenset(items)
        items = [item.id for item in project.pool.items if item.path in named]
    return items, incoming.notes()


def _asked(pool: Pool, number: int) -> list[str]:
    """The items of a round.

    Raises:
        PoolError: there was no such round.
    """
    queries = pool.queries()
    if not any(query.round == number for query in queries):
        last = max((query.round for query in queries), default=None)
        known = "none was asked" if last is None else f"they are 0 to {last}"
        raise PoolError(f"there is no round {number}: {known}")
    return [query.id for query in queries if query.round == number]


def _counted(items: Sequence[str], here: dict[str, None], state: State, who: str, notes: list[str]) -> set[str]:
    """Those of some items that are in the state; how many are not is said."""
    kept = {item for item in items if item in here}
    if others := [item for item in items if item not in here]:
        notes.append(f"{who} {len(others):,} image(s) that are not {state}, left as they are: {few(others)}")
    return kept
