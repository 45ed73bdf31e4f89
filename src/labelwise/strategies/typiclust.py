"""TypiClust: the most typical item of each of the largest clusters that have no label yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from labelwise.contracts.query import Query, Selection
from labelwise.selection.typicality import typical_picks
from labelwise.strategies.covering import Covering


@dataclass(frozen=True)
class TypiClust(Covering):
    """Typical and diverse items, for the first labels: dense places, one from each part of the pool.

    Labelled items and candidates are clustered into min(L + K, clusters). The least covered clusters give a pick each,
    the largest first: the candidate of the highest typicality_i = 1 / ((1 / n) sum_{j in NN_n(i)} |x_i - x_j|), with
    its n nearest neighbours inside the cluster; clusters of fewer than five items come last. The scores are the
    typicalities; they say nothing across clusters.

    Args:
        features: ``frozen`` for the feature source beside the model (as published, on self-supervised features),
            ``task`` for the model's own embedding,
            ``objects`` for the mean over the objects that it detects.
        neighbours: n; half of the items of a cluster of less than 2 n, as in the published code.
        clusters: clusters at most.

    Raises:
        DataError: embeddings that are not finite.

    Cost: that of ``kmeans`` with min(L + K, clusters) clusters, and A^2 D operations for each cluster of A items that
        gives a pick: about a tenth more. Never all pairs of the pool.

    Example:
        >>> import labelwise as lw
        >>> points = [[0.0], [1.5], [2.0], [2.5], [4.0], [20.0], [21.5], [22.0], [22.5], [24.0]]
        >>> lw.select("typiclust", 1, embeddings=points, labelled=[0], seed=0).positions.tolist()
        [7]

    Reference:
        Hacohen, Dekel and Weinshall, "Active Learning on a Budget: Opposite Strategies Suit High and Low Budgets", ICML
        2022, algorithm 1 and equation 4. We differ: full k-means instead of mini-batches; more picks than clusters go
        to the clusters with the fewest labels and picks, where their code repeats one order; mean distances as in the
        equation, where their code averages squares; labelled items are neighbours too.
    """

    name: ClassVar[str] = "typiclust"
    neighbours: int = 20
    clusters: int = 500

    def __post_init__(self) -> None:
        for option in ("neighbours", "clusters"):
            if getattr(self, option) < 1:
                raise ValueError(f"{option} must be at least 1, got {getattr(self, option)}")

    def _choose(self, query: Query) -> Selection:
        picks_K, scores_K = typical_picks(
            query.matrix(self.signal),
            query.budget,
            labelled_L=query.labelled_L,
            candidates_M=query.unlabelled_M,
            rng=query.rng,
            neighbours=self.neighbours,
            most_clusters=self.clusters,
        )
        return Selection(picks_K.cpu(), scores_K.cpu())
