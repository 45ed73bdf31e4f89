"""k-means with as many clusters as picks; from each cluster the item nearest its centroid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from labelwise.contracts.query import Query, Selection
from labelwise.contracts.strategy import Needs, Step, Strategy
from labelwise.selection.clustering import kmeans_picks
from labelwise.signals.plain import Embedding


@dataclass(frozen=True)
class KMeansPicks(Strategy):
    """One typical image for each of ``budget`` clusters: the default where nothing is labelled yet.

    Centroids minimise sum_i min_k |x_i - c_k|^2; pick_k = argmin_i |x_i - c_k| over the candidates of cluster k. A
    cluster without a candidate is made up for by the next nearest of the largest clusters, so that exactly ``budget``
    are picked.

    Args:
        features: ``frozen`` for the feature source beside the model, ``task`` for the model's own embedding.
        pool: ``candidates`` clusters what may be picked; ``all`` clusters the labelled items too (the published form).
        normalise: scale embeddings to unit length first, as published for self-supervised features.

    Raises:
        DataError: embeddings that are not finite.

    Cost: 15 to 50 M K D operations in matrix products; no copy of the embeddings.

    Example:
        >>> import labelwise as lw
        >>> points = [[0.0, 1.0], [0.1, 1.0], [1.0, 0.0], [1.0, 0.1]]
        >>> sorted(p // 2 for p in lw.select("kmeans", 2, embeddings=points, seed=0).positions.tolist())
        [0, 1]

    Reference:
        Pourahmadi, Nooralinejad and Pirsiavash, "A Simple Baseline for Low-Budget Active Learning", 2021. We differ:
        labelled items are left out by default, and the budget is always met.
    """

    name: ClassVar[str] = "kmeans"
    features: Literal["task", "frozen"] = "frozen"
    pool: Literal["candidates", "all"] = "candidates"
    normalise: bool = False

    @property
    def cold(self) -> bool:
        """Frozen features need no label."""
        return self.features == "frozen"

    def steps(self) -> tuple[Step, ...]:
        """One step, on embeddings; of the labelled items too where they are clustered."""
        signals = frozenset({Embedding(self.features)})
        needs = Needs(pool=signals, labelled=signals if self.pool == "all" else frozenset())
        return (Step(needs, self._choose),)

    def _choose(self, query: Query) -> Selection:
        signal, unit = Embedding(self.features), self.normalise
        if self.pool == "candidates":
            picked_K = kmeans_picks(
                query.matrix(signal), query.budget, candidates_M=query.unlabelled_M, unit=unit, rng=query.rng
            )
            return Selection(picked_K.cpu())
        joint = query.joint(signal)
        picked_K = kmeans_picks(
            joint.rows, query.budget, candidates_M=joint.unlabelled_M, pool="all", unit=unit, rng=query.rng
        )
        return Selection(joint.positions[picked_K.cpu()])
