"""Two strategies in a row: a cheap one thins the pool, a second one chooses among what is left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar

from labelwise.contracts.query import Query, Selection
from labelwise.contracts.strategy import Step, Strategy
from labelwise.strategies.kmeans import KMeansPicks
from labelwise.strategies.margin import Margin
from labelwise.strategies.parts import auxiliaries_of, part

if TYPE_CHECKING:
    from labelwise.contracts.learner import Auxiliary
    from labelwise.contracts.signal import Signal


@dataclass(frozen=True)
class Prefilter(Strategy):
    """``first`` keeps the best ``keep`` times the budget, ``then`` chooses among them.

    picks = then(first(candidates, keep K), K). The signals of ``then`` are collected for the survivors only, so a
    costly method on a large pool costs a sub-pool.

    Args:
        first: thins the pool; a ``Strategy``, or its name.
        then: makes the choice; likewise.
        keep: how many times the budget survives the first, at least 1.

    Raises:
        ConfigError: an unknown name, or an oracle.
        PoolError: as the two strategies do.

    Cost: ``first`` on M candidates plus ``then`` on keep x K.

    Example:
        >>> import labelwise as lw
        >>> probs = [[0.9, 0.1], [0.6, 0.4], [0.5, 0.5], [0.99, 0.01]]
        >>> points = [[0.0], [1.0], [2.0], [3.0]]
        >>> sorted(lw.select("prefilter", 2, probs=probs, embeddings=points, keep=1, seed=0).positions.tolist())
        [1, 2]

    Reference:
        Yang et al., "Plug and Play Active Learning for Object Detection", CVPR 2024: uncertainty keeps four times the
        budget, diversity chooses.
    """

    name: ClassVar[str] = "prefilter"
    first: Strategy | str = field(default_factory=Margin)
    then: Strategy | str = field(default_factory=KMeansPicks)
    keep: float = 4.0

    def __post_init__(self) -> None:
        if self.keep < 1:
            raise ValueError(f"keep must be at least 1, got {self.keep}")
        self._both()

    @property
    def cold(self) -> bool:
        """Where both are."""
        first, then = self._both()
        return first.cold and then.cold

    def steps(self) -> tuple[Step, ...]:
        """The steps of the first with a larger budget, then those of the second."""
        first, then = self._both()
        widened = tuple(Step(step.needs, self._widened(step.select)) for step in first.steps())
        return widened + then.steps()

    @property
    def scored_by(self) -> Signal | None:
        """That of the first part that has one."""
        first, then = self._both()
        return first.scored_by or then.scored_by

    def acts_as(self, query: Query) -> Strategy:
        """The same of what its two parts act as."""
        parts = self._both()
        acting = tuple(strategy.acts_as(query) for strategy in parts)
        return self if acting == parts else replace(self, first=acting[0], then=acting[1])

    def auxiliaries(self) -> tuple[Auxiliary, ...]:
        """Those of both, each once."""
        return auxiliaries_of(self._both())

    def _both(self) -> tuple[Strategy, Strategy]:
        return part("first", self.first), part("then", self.then)

    def _widened(self, select: Callable[[Query], Selection]) -> Callable[[Query], Selection]:
        def wide(query: Query) -> Selection:
            survivors = min(len(query.unlabelled_M), max(query.budget, round(self.keep * query.budget)))
            return select(replace(query, budget=survivors))

        return wide
