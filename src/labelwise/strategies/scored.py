"""What all strategies share that score each candidate by itself and take the best."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from labelwise.contracts.passes import Passes, PassKind, passes_of
from labelwise.contracts.query import Query, Selection
from labelwise.contracts.signal import Signal
from labelwise.contracts.strategy import Needs, Step, Strategy
from labelwise.selection.ranking import take_top
from labelwise.selection.reduction import Empty
from labelwise.selection.sampling import perturb, uniform
from labelwise.signals.draws import DrawMeasure, DrawUncertainty
from labelwise.signals.plain import Measure, Reduction, Uncertainty


@dataclass(frozen=True)
class Best(Strategy):
    """The candidates that one signal scores highest, in one step; a subclass names the signal."""

    @property
    @abstractmethod
    def signal(self) -> Signal:
        """One number for each candidate, higher = more wanted."""

    @property
    def scored_by(self) -> Signal:
        """The signal."""
        return self.signal

    def steps(self) -> tuple[Step, ...]:
        """One step."""
        return (Step(Needs(pool=frozenset({self.signal})), self._choose),)

    def _choose(self, query: Query) -> Selection:
        scores_M = query.pool(self.signal)
        chosen_K = take_top(scores_M, query.budget, rng=query.rng)
        return Selection(query.unlabelled_M[chosen_K], scores_M[chosen_K])


@dataclass(frozen=True)
class Scored(Best):
    """Scores by one signal, perhaps within a random sub-pool, perhaps perturbed; a subclass names the signal."""

    subpool: int | None = None
    noise: Literal["power", "softmax", "softrank"] | None = None
    coldness: float = 1.0
    reduction: Reduction = "mean"
    empty: Empty = "last"

    def __post_init__(self) -> None:
        if self.subpool is not None and self.subpool < 1:
            raise ValueError(f"subpool must be at least 1, got {self.subpool}")

    def steps(self) -> tuple[Step, ...]:
        """A random sub-pool first where one is asked for, so that only it is scored."""
        scored = Step(Needs(pool=frozenset({self.signal})), self._choose)
        return (scored,) if self.subpool is None else (Step(Needs(), self._thin), scored)

    def _thin(self, query: Query) -> Selection:
        keep = min(len(query.unlabelled_M), max(query.budget, self.subpool or 0))
        return Selection(uniform(query.unlabelled_M, keep, rng=query.rng))

    def _choose(self, query: Query) -> Selection:
        scores_M = query.pool(self.signal)
        ranked_M = scores_M
        if self.noise is not None:
            ranked_M = perturb(scores_M, how=self.noise, coldness=self.coldness, rng=query.rng)
        chosen_K = take_top(ranked_M, query.budget, rng=query.rng)
        return Selection(query.unlabelled_M[chosen_K], scores_M[chosen_K])


@dataclass(frozen=True)
class ScoredOnce(Scored):
    """Scores by what one deterministic pass says; a subclass names the measure."""

    measure: ClassVar[Measure]

    @property
    def signal(self) -> Signal:
        """The uncertainty of one pass."""
        return Uncertainty(self.measure, self.reduction, empty=self.empty)


@dataclass(frozen=True)
class ScoredOverDraws(Scored):
    """Scores by how stochastic passes disagree; a subclass names the measure."""

    measure: ClassVar[DrawMeasure]
    source: Passes | PassKind | Mapping[str, Any] = "dropout"
    passes: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        passes = passes_of(self.source, self.passes)
        if isinstance(self.source, Mapping):  # as files describe passes: fixed, so that strategies stay hashable
            object.__setattr__(self, "source", passes)

    @property
    def signal(self) -> Signal:
        """The uncertainty over all passes."""
        return DrawUncertainty(self.measure, passes_of(self.source, self.passes), self.reduction, empty=self.empty)
