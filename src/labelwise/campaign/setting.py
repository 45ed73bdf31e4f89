"""What stays the same through a campaign, and how it reads labels and images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labelwise.campaign.events import Labelled
from labelwise.campaign.pool import Pool
from labelwise.contracts.oracle import Answer
from labelwise.contracts.source import is_region
from labelwise.errors import DataError

if TYPE_CHECKING:
    from labelwise.contracts.kind import Kind
    from labelwise.contracts.learner import Learner, Producer
    from labelwise.contracts.source import Source
    from labelwise.contracts.task import Task
    from labelwise.signals.cache import SignalCache


@dataclass(frozen=True)
class Setting:
    """What stays the same through a campaign.

    Args:
        source: the images.
        task: the kind of label.
        learner: what is trained.
        cache: keeps signal rows.
        fits: folder of finished trainings, by what they were trained from; None keeps none.
        frozen: feature source beside the learner.
        truth: hidden labels, in simulated campaigns only.
        seed: of every random choice.
        warm: train on from the last weights instead of from scratch.
    """

    source: Source
    task: Task[Any]
    learner: Learner
    cache: SignalCache
    fits: Path | None = None
    frozen: Producer | None = None
    truth: Mapping[str, Any] | None = None
    seed: int = 0
    warm: bool = False


def class_counts(task: Task[Any], targets: Iterable[Any]) -> dict[str, int]:
    """How many images, or objects, of each class some loaded labels name."""
    found = Counter(number for target in targets for number in task.objects(target))
    return {name: found[number] for number, name in enumerate(task.classes)}


def labelled(task: Task[Any], pool: Pool, answer: Answer) -> Labelled:
    """An answer as the event that keeps it, with what it cost.

    Raises:
        DataError: the label is none.
        PoolError: an unknown item.
    """
    raw = task.dump(task.load(answer.target))
    return answered(task.kind, pool, replace(answer, target=raw), task.classes)


def answered(kind: Kind, pool: Pool, answer: Answer, classes: tuple[str, ...]) -> Labelled:
    """An answer as the event that keeps it, with what it cost.

    Raises:
        DataError: the label is none.
        PoolError: an unknown item.
    """
    kind.check(answer.target, classes, None)
    place = pool.items[pool.position(answer.id)].region if answer.id in pool else None
    cost = cost_of(kind, answer.target, place)
    # what the oracle says of the cost goes before what can be counted
    return Labelled(answer.id, answer.target, {**cost, **answer.cost}, answer.annotator)


def cost_of(kind: Kind, raw: Any, place: str | None) -> dict[str, float]:
    """What a label of an item probably cost: a region or a subject is no image, and is paid for as what it is.

    Args:
        kind: of label.
        raw: the label.
        place: of the item in its image, as ``Source.within`` gives it.
    """
    cost = kind.cost(raw)
    if place is None:
        return cost
    unit = "regions" if is_region(place) else "subjects"
    return {unit: 1.0} | {other: value for other, value in cost.items() if other != "images"}


def unreadable(source: Source, item: str) -> str:
    """Why an image cannot be read, in one line; "" when it can."""
    try:
        source.load(item)
    except DataError as error:
        return str(error)
    return ""
