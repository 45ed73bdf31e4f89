"""k-means over everything, labelled items too; from each cluster the unlabelled item nearest its centroid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from labelwise.contracts.strategy import Step, Strategy
from labelwise.strategies.kmeans import KMeansPicks


@dataclass(frozen=True)
class AccuKMeans(Strategy):
    """Clusters all items into as many clusters as picks, round after round, and labels one more item in each.

    Centroids minimise sum_i min_k |x_i - c_k|^2 over labelled items and candidates; pick_k = argmin_i |x_i - c_k| over
    the candidates of cluster k. The same as ``kmeans`` with ``pool="all"`` and unit rows.

    Args:
        features: ``frozen`` for the feature source beside the model, ``task`` for the model's own embedding.
        normalise: scale embeddings to unit length first, as published.

    Raises:
        DataError: embeddings that are not finite.

    Cost: 15 to 50 (L + M) K D operations in matrix products.

    Example:
        >>> import labelwise as lw
        >>> points = [[0.0, 1.0], [0.1, 1.0], [1.0, 0.0], [1.0, 0.1]]
        >>> picks = lw.select("accu_kmeans", 2, embeddings=points, labelled=[0], seed=0).positions
        >>> picks[0] in (2, 3), 1 in picks
        (True, True)

    Reference:
        Pourahmadi, Nooralinejad and Pirsiavash, "A Simple Baseline for Low-Budget Active Learning", 2021, the
        "multi-batch" form. We differ: a cluster whose items are all labelled yields nothing there, and the round falls
        short; here the next nearest of the largest clusters make up for it. One careful start instead of five random
        ones.
    """

    name: ClassVar[str] = "accu_kmeans"
    features: Literal["task", "frozen"] = "frozen"
    normalise: bool = True

    @property
    def cold(self) -> bool:
        """Frozen features need no label."""
        return self.features == "frozen"

    def steps(self) -> tuple[Step, ...]:
        """Those of k-means over all items."""
        return KMeansPicks(self.features, "all", self.normalise).steps()
