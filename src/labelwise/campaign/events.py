"""What happens to items, as events: the only thing that is written down, and all that the state is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, get_args

from labelwise.contracts.source import is_region

if TYPE_CHECKING:
    from labelwise.contracts.source import Role, Source


#: what chose an image that is held out, in place of a strategy
HOLDOUT = "holdout"


@dataclass(frozen=True, slots=True)
class Item:
    """What can be queried: an image, one region of an image, or one subject of it.

    Args:
        id: POSIX path relative to the data root, plus ``#region`` for a region; unique.
        path: the image the item lies in.
        region: ``map:<digest>#n`` (a superpixel), or ``subject:x1,y1,x2,y2`` for a subject; None for the whole image.
        group: video, patient or site; never split between training and test.
    """

    id: str
    path: str
    region: str | None = None
    group: str | None = None

    @property
    def is_region(self) -> bool:
        """Whether it is a part that its whole image covers; a subject is an item of its own."""
        return is_region(self.region)


@dataclass(frozen=True, slots=True)
class Added:
    """An item joined the project in a role."""

    kind: ClassVar[str] = "added"
    item: Item
    role: Role = "pool"


def added(source: Source, item_id: str) -> Added:
    """The event that adds an item of a source, as the source knows it."""
    path, region = source.within(item_id)
    return Added(Item(item_id, path, region, source.groups.get(item_id)), source.roles.get(item_id, "pool"))


@dataclass(frozen=True, slots=True)
class Queried:
    """An item was chosen in a round; written before anybody is asked."""

    kind: ClassVar[str] = "queried"
    id: str
    round: int
    rank: int = 0
    score: float | None = None
    strategy: str = ""
    predicted: str | None = None
    probability: float | None = None


@dataclass(frozen=True, slots=True)
class AskedAgain:
    """A labelled item was chosen in a round because its label is doubtful; the label counts until another one comes."""

    kind: ClassVar[str] = "asked_again"
    id: str
    round: int
    rank: int = 0
    score: float | None = None
    strategy: str = ""
    predicted: str | None = None
    probability: float | None = None


@dataclass(frozen=True, slots=True)
class Labelled:
    """An item got a label; ``cost`` in any of {images, boxes, clicks, pixels, seconds}.

    A label of a named annotator stands beside those of others and corrects that annotator's own; one that nobody signed
    is the last word and replaces all.
    """

    kind: ClassVar[str] = "labelled"
    id: str
    target: Any
    cost: Mapping[str, float] = field(default_factory=dict)
    annotator: str = ""


@dataclass(frozen=True, slots=True)
class Skipped:
    """People said that an item cannot or should not be labelled; it is not asked again until it is restored."""

    kind: ClassVar[str] = "skipped"
    id: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Cleared:
    """An item is as if never asked: a query was cancelled. Of one asked again only that question is taken back."""

    kind: ClassVar[str] = "cleared"
    id: str


@dataclass(frozen=True, slots=True)
class Unlabelled:
    """All labels of an item were taken back; it may be asked again, and the round that asked it stays a round."""

    kind: ClassVar[str] = "unlabelled"
    id: str


@dataclass(frozen=True, slots=True)
class Restored:
    """A skip was taken back; the item may be asked again."""

    kind: ClassVar[str] = "restored"
    id: str


@dataclass(frozen=True, slots=True)
class Held(Queried):
    """The question about an image that is held out for testing; never written down, ``HeldOut`` is."""

    chance: float | None = None
    among: int = 0


@dataclass(frozen=True, slots=True)
class HeldOut:
    """An item left the pool for the test set: no model trains on it, and no strategy chooses it.

    An image is asked about with that, and stays so until it has a label; its regions only leave the pool with it, and
    have no rank. Where images were drawn with unequal chances, metrics are weighted by what stands here of the draws;
    the images of a round are one sequence of draws, in the order of their ranks.

    Args:
        id: of the item.
        round: in which it was asked.
        rank: place among the images of the round.
        chance: of this draw, among the images that were left then; None where all had the same.
        among: how many images the first draw of the round was from; 0 where all had the same chance.
    """

    kind: ClassVar[str] = "held_out"
    id: str
    round: int
    rank: int | None = None
    chance: float | None = None
    among: int = 0

    def question(self) -> Held:
        """How the image is asked about."""
        return Held(self.id, self.round, self.rank or 0, strategy=HOLDOUT, chance=self.chance, among=self.among)


@dataclass(frozen=True, slots=True)
class Tagged:
    """People put a word of their own on an item, or took it off; it stays whatever else happens to the item."""

    kind: ClassVar[str] = "tagged"
    id: str
    tag: str
    on: bool = True


@dataclass(frozen=True, slots=True)
class Renamed:
    """The file of an item has another name now; events before speak of the old id, those after of the new one."""

    kind: ClassVar[str] = "renamed"
    id: str
    to: str
    path: str


Event = Added | Queried | AskedAgain | Labelled | Skipped | Cleared | Unlabelled | Restored | HeldOut | Tagged | Renamed
EVENTS: dict[str, type[Event]] = {event.kind: event for event in get_args(Event)}
EVENTS["labeled"] = Labelled  # as states on disk were written before the word had one spelling
