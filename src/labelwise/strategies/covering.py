"""What all strategies share that cover candidates with labelled items, by embeddings alone."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from labelwise.contracts.query import Query, Selection
from labelwise.contracts.strategy import Needs, Step, Strategy
from labelwise.selection.coverage import greedy_coverage
from labelwise.selection.similarity import Cosine, Gaussian
from labelwise.signals.plain import Embedding


@dataclass(frozen=True)
class Covering(Strategy):
    """Reads the embeddings of candidates and labelled items; a subclass chooses."""

    features: Literal["task", "frozen", "objects"] = "frozen"

    @property
    def cold(self) -> bool:
        """Frozen features need no label."""
        return self.features == "frozen"

    @property
    def signal(self) -> Embedding:
        """The embedding of the chosen source."""
        return Embedding(self.features)

    def steps(self) -> tuple[Step, ...]:
        """One step, on embeddings of candidates and labelled items."""
        signals = frozenset({self.signal})
        return (Step(Needs(pool=signals, labelled=signals), self._choose),)

    @abstractmethod
    def _choose(self, query: Query) -> Selection:
        """The picks."""


def soft_cover(
    query: Query, signal: Embedding, similarity: Gaussian | Cosine, weight_M: Tensor | None = None
) -> Selection:
    """The picks that bring the candidates nearest to what is labelled or picked; see ``greedy_coverage``."""
    picks_K, gains_K = greedy_coverage(
        query.matrix(signal),
        query.budget,
        similarity=similarity,
        weight_M=weight_M,
        labelled_L=query.labelled_L,
        candidates_M=query.unlabelled_M,
        rng=query.rng,
    )
    return Selection(picks_K.cpu(), gains_K.cpu())
