"""Random, with an equal share for every predicted class or cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from labelwise.contracts.query import Query, Selection
from labelwise.contracts.signal import Signal
from labelwise.contracts.strategy import Needs, Step, Strategy
from labelwise.selection.clustering import kmeans
from labelwise.selection.sampling import stratified
from labelwise.signals.plain import Embedding, PredictedClass


@dataclass(frozen=True)
class StratifiedRandom(Strategy):
    """Random within strata, shares as equal as the strata allow; never by hidden labels.

    A stratum s of M_s candidates gets K_s = min(M_s, t) picks, t such that sum_s K_s = K: equal shares, and what a
    small stratum cannot use goes to the others. A fairer baseline than random where classes are imbalanced.

    Args:
        by: ``cluster`` (k-means on frozen features; works without labels) or ``predicted`` (the model's most likely
            class).
        clusters: number of clusters; None takes the budget, at most 50.

    Raises:
        DataError: embeddings that are not finite.

    Cost: O(M) by prediction; about 50 M S D operations for S clusters.

    Example:
        >>> import labelwise as lw
        >>> probs = [[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.1, 0.9]]
        >>> 3 in lw.select("stratified_random", 2, probs=probs, by="predicted", seed=0).positions.tolist()
        True

    Reference:
        Neyman, "On the Two Different Aspects of the Representative Method", 1934: stratified sampling, equal
        allocation.
    """

    name: ClassVar[str] = "stratified_random"
    by: Literal["predicted", "cluster"] = "cluster"
    clusters: int | None = None

    @property
    def cold(self) -> bool:
        """Clusters need no label."""
        return self.by == "cluster"

    @property
    def _signal(self) -> Signal:
        return PredictedClass() if self.by == "predicted" else Embedding("frozen")

    def steps(self) -> tuple[Step, ...]:
        """One step, on predicted classes or frozen embeddings."""
        return (Step(Needs(pool=frozenset({self._signal})), self._choose),)

    def _choose(self, query: Query) -> Selection:
        rows_M = query.pool(self._signal)
        if self.by == "predicted":
            strata_M = rows_M.to(torch.int64)
        else:
            count = min(self.clusters or min(query.budget, 50), len(rows_M))
            strata_M = kmeans(rows_M, count, rng=query.rng).assignment_N
        chosen_K = stratified(strata_M.cpu(), query.budget, rng=query.rng)
        return Selection(query.unlabelled_M[chosen_K])
