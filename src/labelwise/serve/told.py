"""What the model trained last says of a few items: what people may accept, probabilities of classes, neighbours."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from labelwise.campaign.events import Labelled
from labelwise.contracts.kind import Kind, in_full
from labelwise.contracts.source import read_for
from labelwise.errors import DataError
from labelwise.serve.shared import Shared
from labelwise.signals.plain import Probs
from labelwise.tasks.whole_images import probabilities

if TYPE_CHECKING:
    from labelwise.project.project import Project

#: items whose answers are kept in memory
_KEPT = 5000
#: classes and neighbours that are shown
CLASSES, NEIGHBOURS = 5, 4


#: a label of an item: the one that counts, the one before its last correction, or the model's
What = Literal["label", "before", "guess"]


@dataclass(frozen=True)
class Told:
    """Of one item.

    Args:
        guess: raw label with scores; None where there is none to be offered.
        says: (class, probability), the likeliest first; () where an item as a whole has none.
    """

    guess: Any = None
    says: tuple[tuple[str, float], ...] = ()

    @property
    def doubt(self) -> float | None:
        """One minus the highest probability; None where nobody knows."""
        return 1 - self.says[0][1] if self.says else None


@dataclass
class Telling:
    """Asks the model once an item and training.

    Args:
        shared: the project.
    """

    shared: Shared
    _weights: str = ""
    _known: OrderedDict[str, Told] = field(default_factory=OrderedDict)

    def of(self, items: Sequence[str]) -> dict[str, Told]:
        """What is said of items; nothing of those that cannot be read, and of none before there is a model."""
        with self.shared.learner() as learner:
            if (weights := self.shared.weights()) != self._weights:
                self._weights, self._known = weights, OrderedDict()
            new = [item for item in items if item not in self._known]
            if learner is not None and new:
                self._ask(learner, new)
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
            return {item: self._known[item] for item in items if item in self._known}

    def label(self, item: str, what: What) -> Any:
        """The raw label that people gave an item, what they said before, or what the model says; None for none.

        Raises:
            PoolError: there is no such item.
        """
        pool = self.shared.pool
        position = pool.position(item)
        if what == "guess":
            return self.of([item]).get(item, Told()).guess
        if not pool.labels.of(position):
            return None
        now = pool.target(position)
        return now if what == "label" else _before(self.shared.project, item, now)

    def known(self, item: str) -> Told:
        """What was said before; nothing is asked."""
        return self._known.get(item, Told())

    def _ask(self, learner: Any, items: list[str]) -> None:
        source = self.shared.project.source
        guesses = dict(learner.task.guesses(learner, source, items))
        says: dict[str, tuple[tuple[str, float], ...]] = {}
        if Probs().fields <= learner.provides and "per_image" in learner.task.provides:
            for item, probs_C in probabilities(learner, source, items):
                named = sorted(zip(learner.task.classes, probs_C, strict=True), key=lambda pair: -pair[1])
                says[item] = tuple((name, round(p, 4)) for name, p in named[:CLASSES])
        for item in items:
            self._known[item] = Told(guesses.get(item), says.get(item, ()))


def _before(project: Project, item: str, now: Any) -> Any:
    """The last label of an item that says something else than the one that counts."""
    said = [event.target for event in project.store.history(item) if isinstance(event, Labelled)]
    return next((raw for raw in reversed(said) if not project.kind.same(raw, now)), None)


def size_of(project: Any, item: str) -> list[int] | None:
    """Width and height of an item's picture; None where it cannot be read."""
    try:
        return [int(side) for side in project.source.size(read_for(project.source, item))]
    except DataError:
        return None


def why(query: Any, told: Told) -> list[str]:
    """Why an item was asked, in words."""
    score = "" if query.score is None else f", score {query.score:.3g}"
    lines = [f"number {query.rank + 1} of round {query.round}, chosen by {query.strategy or 'hand'}{score}"]
    if len(told.says) > 1 and told.says[0][1] < 0.9:
        (first, p), (second, q) = told.says[:2]
        lines.append(f"the model is torn between {first} ({100 * p:.0f} %) and {second} ({100 * q:.0f} %)")
    elif told.says:
        lines.append(f"the model is {100 * told.says[0][1]:.0f} % sure of {told.says[0][0]}")
    elif told.guess is not None:
        found = told.guess.get("objects") if isinstance(told.guess, dict) else None
        if found is not None:
            scores = [one["score"] for one in found if "score" in one]
            sure = f", the least sure {min(scores):.2f}" if scores else ""
            lines.append(f"the model finds {len(found)} here{sure}: {in_full([one['class'] for one in found][:6])}")
    else:
        lines.append("no model has looked at it yet")
    return lines


def surroundings(density: float | None) -> list[str]:
    """How dense the surroundings of an image are, in words; nothing where nobody knows."""
    if density is None:
        return []
    share = f"{100 * density:.0f} % of the images"
    if density >= 0.5:
        return [f"many are like it: its neighbours are closer than those of {share}"]
    return [f"few are like it: its neighbours are closer than those of only {share}"]


def in_words(kind: Kind, raw: Any, classes: tuple[str, ...]) -> str:
    """A label in a few words, as people write it."""
    return kind.short(raw) if kind.drawn else in_full(kind.objects(raw, classes))
