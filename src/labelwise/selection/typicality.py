"""Typical rows: those in the densest places of their clusters.

Dimension key: N rows of the pool, A rows of one cluster, L labelled, M candidates, J labelled and candidates together,
D features, C clusters, K picks.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from labelwise.errors import ConfigError
from labelwise.selection.arrays import ArrayLike, as_matrix, as_positions, check_budget, free_candidates
from labelwise.selection.clustering import by_cluster, kmeans, take_turns
from labelwise.selection.neighbours import nearest
from labelwise.selection.progress import report
from labelwise.selection.space import Space

# Clusters with fewer rows give nothing before the others are used up (their code drops them).
_LEAST_SIZE = 5
# Rows whose distances to each other are taken at once: 4 MB.
_SMALL = 1024
# Duplicates are at distance zero; no score may be infinite.
_LEAST_DISTANCE = 1e-12


def typicality(features_ND: ArrayLike, *, among: ArrayLike | None = None, neighbours: int = 20) -> Tensor:
    """How densely each row lies among others: one over the mean distance to its nearest neighbours.

    ``typicality_i = 1 / ((1 / n) sum_{j in NN_n(i)} |x_i - x_j|)``, with distances, not their squares: a single far
    neighbour then counts as the paper has it.

    Args:
        features_ND: one row per item.
        among: positions of the rows that are compared with each other (a cluster); all by default.
        neighbours: n, 1 and more; with fewer other rows, all of them.

    Returns:
        (A,) float32, in the order of ``among``, above zero and at most 1e12 (among its own duplicates); 0 for a row
        without company.

    Raises:
        ConfigError: ``neighbours`` below 1.
        DataError: rows that are not finite, positions out of range or twice.

    Cost:
        A^2 D operations in matrix products, by blocks; a copy of the rows, if they are not all.

    Example:
        >>> typicality([[0.0], [1.0], [3.0]], neighbours=2)
        tensor([0.5000, 0.6667, 0.4000])

    Reference:
        Hacohen, Dekel, Weinshall, Active Learning on a Budget: Opposite Strategies Suit High and Low Budgets, ICML
        2022, equation 4. Their code averages squared distances.
    """
    rows_ND = as_matrix(features_ND)
    if among is not None:
        chosen_A = as_positions(among, len(rows_ND), "rows to compare", device=rows_ND.device)
        rows_ND = torch.index_select(rows_ND, 0, chosen_A)
    distance2_AN = _nearest2(rows_ND, neighbours)
    if not distance2_AN.shape[1]:
        return torch.zeros(len(rows_ND), device=rows_ND.device)
    return distance2_AN.sqrt().mean(1).clamp_min(_LEAST_DISTANCE).reciprocal()


def _nearest2(rows_AD: Tensor, neighbours: int) -> Tensor:
    """(A, n): squared distances to the nearest other rows."""
    if neighbours < 1 or len(rows_AD) > _SMALL:
        return nearest(rows_AD, neighbours).distance2_QK
    # Clusters come by the hundred: for a small one all pairs at once are five times as fast as the search by blocks.
    points = Space.of(rows_AD).take(torch.arange(len(rows_AD), device=rows_AD.device))
    distances2_AA = points.distances2(points).fill_diagonal_(torch.inf)
    return distances2_AA.topk(min(neighbours, len(rows_AD) - 1), largest=False).values


def typical_picks(
    features_ND: ArrayLike,
    k: int,
    *,
    labelled_L: ArrayLike | None = None,
    candidates_M: ArrayLike | None = None,
    rng: np.random.Generator,
    neighbours: int = 20,
    most_clusters: int = 500,
) -> tuple[Tensor, Tensor]:
    """The most typical candidates of the largest clusters that have no label yet.

    Labelled rows and candidates are clustered into ``min(L + k, most_clusters)``. Clusters take turns, those with the
    fewest labels and picks first, of those the largest; each gives its most typical candidate that is left. Clusters of
    fewer than five rows come last.

    Args:
        features_ND: one row per item.
        k: number of picks, at most the number of candidates.
        labelled_L: rows that cover their clusters; none by default.
        candidates_M: positions that may be picked; all that are not labelled by default.
        rng: seeds the clustering, orders ties.
        neighbours: of which the mean distance is taken, inside the cluster; at most half of its rows, as in their
            code.
        most_clusters: clusters at most.

    Returns:
        (k,) int64 positions in the order chosen, distinct, and the typicality of each, (k,) float32.

    Raises:
        ConfigError: more picks than candidates, ``neighbours`` or ``most_clusters`` below 1.
        DataError: rows that are not finite, positions out of range or twice, a candidate that is labelled.

    Cost:
        ``kmeans`` of all rows, and A^2 D operations for each cluster of A rows that gives a pick.

    Example:
        >>> rows = [[0.0], [1.5], [2.0], [2.5], [4.0], [20.0], [21.5], [22.0], [22.5], [24.0]]
        >>> picks, scores = typical_picks(rows, 2, rng=np.random.default_rng(0))
        >>> sorted(picks.tolist())
        [2, 7]

    Reference:
        Hacohen, Dekel, Weinshall, ICML 2022, algorithm 1. They draw k-means from mini-batches above 50
        clusters; ours is full. They go through the clusters in one fixed order however many picks a cluster has; ours
        counts them. Labelled rows count as neighbours here, as they do in equation 4.
    """
    if most_clusters < 1 or neighbours < 1:
        raise ConfigError(f"most_clusters {most_clusters}, neighbours {neighbours}; allowed are 1 and more")
    rows_ND = as_matrix(features_ND)
    labelled = as_positions([] if labelled_L is None else labelled_L, len(rows_ND), "labelled", device=rows_ND.device)
    candidates = free_candidates(candidates_M, labelled, len(rows_ND))
    check_budget(k, len(candidates))
    if k == 0:
        return candidates[:0], torch.empty(0, device=rows_ND.device)
    free_N = torch.zeros(len(rows_ND), dtype=torch.bool, device=rows_ND.device)
    free_N[candidates] = True
    joint_J = torch.cat([labelled, candidates]).sort().values
    clusters = min(len(labelled) + k, most_clusters, len(joint_J))
    among = None if len(joint_J) == len(rows_ND) else joint_J
    assignment_J = kmeans(rows_ND, clusters, among=among, rng=rng).assignment_N
    size_C = torch.bincount(assignment_J, minlength=clusters)
    free_C = torch.bincount(assignment_J[free_N[joint_J]], minlength=clusters)
    covered_C = (size_C - free_C) + len(joint_J) * (size_C < _LEAST_SIZE)  # so small clusters come last
    cluster_K, rank_K = take_turns(free_C, k, size_C=size_C, covered_C=covered_C, rng=rng)
    members = torch.split(assignment_J.argsort(stable=True), size_C.tolist())
    scores_J = torch.zeros(len(joint_J), device=rows_ND.device)
    giving = torch.unique(cluster_K).tolist()
    for done, cluster in enumerate(giving):
        report("finding typical rows", done, len(giving))
        fitting = max(1, min(neighbours, len(members[cluster]) // 2))
        scores_J[members[cluster]] = typicality(rows_ND, among=joint_J[members[cluster]], neighbours=fitting)
    free = torch.nonzero(free_N[joint_J]).flatten()
    order_M = by_cluster(assignment_J[free], -scores_J[free], rng=rng)
    places_K = free[order_M[(free_C.cumsum(0) - free_C)[cluster_K] + rank_K]]
    return joint_J[places_K], scores_J[places_K]
