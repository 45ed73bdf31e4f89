"""k-means, and one pick per cluster.

Dimension key: N rows of the pool, M candidates, D features, K clusters or picks.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor

from labelwise.errors import ConfigError, DataError, unknown
from labelwise.selection.arrays import (
    ArrayLike,
    as_matrix,
    as_positions,
    as_tensor,
    blocks,
    check_budget,
    squared_norms,
)
from labelwise.selection.seeding import plus_plus
from labelwise.selection.space import Space, mean_row, tile

Start: TypeAlias = Literal["oversampled", "plus_plus", "random"]
Over: TypeAlias = Literal["candidates", "all"]

STARTS: tuple[Start, ...] = ("oversampled", "plus_plus", "random")
OVERS: tuple[Over, ...] = ("candidates", "all")

# Seeds drawn per cluster before they are thinned to one. Measured on 100 tight clusters, k = 100: inertia 1.9 times the
# best with k-means++ alone, 1.03 times with two seeds, no better with eight; scikit-learn's greedy start: 1.1 times.
_SEEDS_PER_CLUSTER = 2
# Their distances to each other are kept as a matrix: 256 MB here. Above, plain k-means++.
_MOST_SEEDS = 8192

# faiss does not centre: beyond this many times the spread, the mean costs more digits than a centred copy costs memory.
_OFFSET = 100.0


class KMeans(NamedTuple):
    """A clustering: nearest centroid of each row, squared distance to it, and the centroids."""

    assignment_N: Tensor
    """(N,) int64, 0 to K - 1."""
    distance2_N: Tensor
    """(N,) float32; their sum is the inertia."""
    centroids_KD: Tensor
    """(K, D) float32; a cluster may be empty."""


def kmeans(
    features_ND: ArrayLike,
    k: int,
    *,
    rng: np.random.Generator,
    iterations: int = 25,
    restarts: int = 1,
    start: Start = "oversampled",
) -> KMeans:
    """k-means by Lloyd's iterations from a careful start.

    Minimises the inertia ``sum_i |x_i - c_{a(i)}|^2``. All rows take part: there is no subsampling. faiss does the
    iterations for tensors on the CPU, torch for those on a GPU; start and final assignment are the same code.

    Args:
        features_ND: one row per item; any float type.
        k: number of clusters, 1 to N.
        rng: seeds every start.
        iterations: Lloyd's iterations, 0 and more; they stop early when nothing moves.
        restarts: runs, of which the one with the lowest inertia is kept; 1 and more.
        start: ``oversampled`` (twice as many k-means++ seeds as clusters, thinned to k by weighted greedy k-means++);
            ``plus_plus`` (exact k-means++); or ``random`` rows, as published by several papers: 10 % worse and more on
            clustered features.

    Returns:
        Assignment, squared distances and centroids. Clusters can be empty where rows coincide.

    Raises:
        ConfigError: ``k`` outside 1 to N, no restart, negative iterations, unknown ``start``.
        DataError: rows that are not finite.

    Cost:
        2 N K D operations per iteration and restart, four times that for the start. float32 rows are used where they
        lie; other types, and rows whose offset is far above their spread, are copied once on the CPU.

    Example:
        >>> found = kmeans([[0.0], [1.0], [10.0], [11.0]], 2, rng=np.random.default_rng(0))
        >>> float(found.distance2_N.sum())
        1.0

    Reference:
        Lloyd, Least Squares Quantization in PCM, 1982; start: Arthur and Vassilvitskii, SODA 2007; oversampling:
        Bahmani, Moseley, Vattani, Kumar, Vassilvitskii, Scalable K-Means++, VLDB 2012. Their seeds come in a few
        parallel rounds, ours from exact k-means++; the thinning is theirs.
    """
    rows_ND = as_matrix(features_ND)
    _check_options(k, len(rows_ND), iterations, restarts, start)
    mean_D = mean_row(rows_ND)
    # Also refuses NaN and infinity by position; faiss would not say which row.
    spread = float(squared_norms(rows_ND, minus=mean_D).double().mean())
    far = float(mean_D.double().square().sum()) > _OFFSET * spread

    def run() -> KMeans:
        centroids_KD = rows_ND[_seeds(rows_ND, k, start, rng)].float()
        if rows_ND.is_cuda:
            centroids_KD = _lloyd_torch(rows_ND, centroids_KD, mean_D, iterations)
        else:
            centroids_KD = _lloyd_faiss(rows_ND, centroids_KD, mean_D if far else None, iterations)
        return KMeans(*assign(rows_ND, centroids_KD), centroids_KD)

    return min((run() for _ in range(restarts)), key=lambda found: float(found.distance2_N.double().sum()))


def assign(features_ND: ArrayLike, centroids_KD: ArrayLike) -> tuple[Tensor, Tensor]:
    """Nearest centroid of each row, and the squared distance to it.

    The nearest is found by matrix products on centred rows; its distance is then taken directly, so that it keeps its
    digits however small it is.

    Args:
        features_ND: one row per item.
        centroids_KD: the centroids, at least one.

    Returns:
        (N,) int64 and (N,) float32.

    Raises:
        DataError: not matrices with the same number of columns.

    Cost:
        2 N K D operations, one block of memory.

    Example:
        >>> assign([[0.0], [9.0]], [[1.0], [8.0]])
        (tensor([0, 1]), tensor([1., 1.]))
    """
    rows_ND = as_matrix(features_ND)
    centroids = as_matrix(centroids_KD, "centroids").to(rows_ND.device).float()
    if centroids.shape[1] != rows_ND.shape[1] or not len(centroids):
        raise DataError(f"features have shape {tuple(rows_ND.shape)}, centroids {tuple(centroids.shape)}")
    middle_D = centroids.mean(0)
    assignment_N = torch.empty(len(rows_ND), dtype=torch.int64, device=rows_ND.device)
    distance2_N = torch.empty(len(rows_ND), device=rows_ND.device)
    for part, block_BD in blocks(rows_ND, tile(rows_ND)[0]):
        nearest_B = _nearest(block_BD - middle_D, centroids - middle_D)
        assignment_N[part] = nearest_B
        distance2_N[part] = (block_BD - centroids[nearest_B]).square_().sum(1)
    return assignment_N, distance2_N


def medoids(
    assignment_N: ArrayLike,
    distance2_N: ArrayLike,
    k: int,
    *,
    candidates_M: ArrayLike | None = None,
    rng: np.random.Generator,
) -> Tensor:
    """The candidate nearest its centroid in each cluster, filled up to exactly k picks.

    First every cluster that holds a candidate gives its nearest one, clusters with many candidates first. If those are
    fewer than k (empty clusters, clusters labelled to the last row), the clusters give their second-nearest, in the
    same order, and so on.

    Args:
        assignment_N: cluster of each row.
        distance2_N: squared distance of each row to its centroid.
        k: number of picks, at most the number of candidates.
        candidates_M: positions that may be picked; all rows by default.
        rng: order of equal distances and of equally large clusters.

    Returns:
        (k,) int64 positions, distinct.

    Raises:
        ConfigError: more picks than candidates.
        DataError: lengths differ, positions out of range or twice.

    Cost:
        O(M log M); no distance is computed.

    Example:
        >>> medoids([0, 0, 0, 1], [4.0, 1.0, 2.0, 0.0], 3, rng=np.random.default_rng(0))
        tensor([1, 3, 2])

    Reference:
        Pourahmadi, Nooralinejad, Pirsiavash, A Simple Baseline for Low-Budget Active Learning, arXiv 2110.12033. There
        a cluster without a candidate yields nothing and the selection falls short of its budget.
    """
    assignment, distance2 = as_tensor(assignment_N), as_tensor(distance2_N)
    if assignment.ndim != 1 or assignment.shape != distance2.shape:
        raise DataError(f"assignment has shape {tuple(assignment.shape)}, distances {tuple(distance2.shape)}")
    candidates = as_positions(candidates_M, len(assignment), "candidates", device=assignment.device)
    check_budget(k, len(candidates))
    drawn_M = torch.from_numpy(rng.permutation(len(candidates))).to(candidates.device)
    order_M = candidates[drawn_M]
    # Stable sorts, least important key first: random, distance, cluster.
    order_M = order_M[distance2[order_M].argsort(stable=True)]
    order_M = order_M[assignment[order_M].argsort(stable=True)]
    _, cluster_M, size_K = torch.unique_consecutive(assignment[order_M], return_inverse=True, return_counts=True)
    first_K = size_K.cumsum(0) - size_K
    rank_M = torch.arange(len(order_M), device=order_M.device) - first_K[cluster_M]
    shuffled_K = torch.from_numpy(rng.permutation(len(size_K))).to(order_M.device)
    by_size_K = shuffled_K[size_K[shuffled_K].argsort(descending=True, stable=True)]
    turn_K = torch.empty_like(by_size_K)
    turn_K[by_size_K] = torch.arange(len(size_K), device=order_M.device)
    turn_M = turn_K[cluster_M].argsort(stable=True)
    turn_M = turn_M[rank_M[turn_M].argsort(stable=True)]
    return order_M[turn_M[:k]]


def kmeans_picks(
    features_ND: ArrayLike,
    k: int,
    *,
    candidates_M: ArrayLike | None = None,
    rng: np.random.Generator,
    pool: Over = "candidates",
    iterations: int = 25,
    restarts: int = 1,
) -> Tensor:
    """Cluster into k and pick the candidate nearest each centroid.

    Args:
        features_ND: one row per item.
        k: number of clusters and of picks, at most the number of candidates.
        candidates_M: positions that may be picked; all rows by default.
        rng: seeds the clustering, orders ties.
        pool: rows that are clustered: the ``candidates`` only, so that each pick stands for rows that still want a
            label; or ``all`` rows, as published.
        iterations: as in ``kmeans``.
        restarts: as in ``kmeans``.

    Returns:
        (k,) int64 positions, distinct, clusters with many candidates first.

    Raises:
        ConfigError: more picks than candidates, unknown ``pool``, options that ``kmeans`` refuses.
        DataError: rows that are not finite, positions out of range or twice.

    Cost:
        That of ``kmeans``; with ``pool="candidates"`` a copy of the candidates' rows, if they are not all.

    Example:
        >>> rows = [[0.0], [1.0], [2.0], [10.0], [11.0], [12.0]]
        >>> kmeans_picks(rows, 2, rng=np.random.default_rng(0)).sort().values
        tensor([1, 4])

    Reference:
        Pourahmadi et al., arXiv 2110.12033: "single-batch" is all rows with no label, "multi-batch" is ``all`` with
        the unlabelled rows as candidates.
    """
    if pool not in OVERS:
        raise unknown("pool", pool, OVERS)
    rows_ND = as_matrix(features_ND)
    candidates = as_positions(candidates_M, len(rows_ND), "candidates", device=rows_ND.device)
    check_budget(k, len(candidates))
    if k == 0:
        return candidates[:0]
    if pool == "all" or len(candidates) == len(rows_ND):
        found = kmeans(rows_ND, k, rng=rng, iterations=iterations, restarts=restarts)
        return medoids(found.assignment_N, found.distance2_N, k, candidates_M=candidates, rng=rng)
    found = kmeans(rows_ND[candidates], k, rng=rng, iterations=iterations, restarts=restarts)
    return candidates[medoids(found.assignment_N, found.distance2_N, k, rng=rng)]


def _check_options(k: int, size: int, iterations: int, restarts: int, start: str) -> None:
    if not 1 <= k <= size:
        raise ConfigError(f"asked for {k} clusters of {size} rows; allowed is 1 to {size}")
    if iterations < 0 or restarts < 1:
        raise ConfigError(f"iterations {iterations}, restarts {restarts}; allowed are 0 and more, 1 and more")
    if start not in STARTS:
        raise unknown("start of k-means", start, STARTS)


def _seeds(rows_ND: Tensor, k: int, start: Start, rng: np.random.Generator) -> Tensor:
    """Positions of the first centroids."""
    if start == "random":
        return torch.from_numpy(rng.permutation(len(rows_ND))[:k]).to(rows_ND.device)
    many = min(_SEEDS_PER_CLUSTER * k, len(rows_ND))
    if start == "plus_plus" or many > _MOST_SEEDS or many == k:
        return plus_plus(rows_ND, k, rng=rng)
    seeds_S = plus_plus(rows_ND, many, rng=rng)
    assignment_N, _ = assign(rows_ND, rows_ND[seeds_S])
    weight_S = torch.bincount(assignment_N, minlength=many).double()
    points_S = Space.of(rows_ND[seeds_S]).take(torch.arange(many, device=rows_ND.device))
    return seeds_S[_thin(points_S.distances2(points_S), weight_S, k, rng)]


def _thin(distance2_SS: Tensor, weight_S: Tensor, k: int, rng: np.random.Generator) -> Tensor:
    """Weighted greedy k-means++ among seeds: of a few draws, keep the one that leaves the least inertia."""
    trials = 2 + int(math.log(k))  # as scikit-learn
    least2_S = torch.full_like(weight_S, torch.inf)
    chosen: list[Tensor] = []
    for _ in range(k):
        left_S = weight_S * least2_S if chosen else weight_S
        running_S = left_S.cumsum(0)
        if float(running_S[-1]) <= 0:
            break
        aim_T = torch.from_numpy(rng.random(trials)).to(running_S) * running_S[-1]
        drawn_T = torch.searchsorted(running_S, aim_T, right=True).clamp_max(len(weight_S) - 1)
        after2_TS = torch.minimum(distance2_SS[drawn_T].double(), least2_S)
        best = (after2_TS @ weight_S).argmin()
        least2_S = after2_TS[best]
        chosen.append(drawn_T[best])
    picks = torch.stack(chosen)
    # Fewer distinct rows than clusters: any others will do, their clusters stay empty.
    others = torch.arange(len(weight_S), device=picks.device)
    return torch.cat([picks, others[~torch.isin(others, picks)]])[:k]


def _nearest(block_BD: Tensor, centroids_KD: Tensor) -> Tensor:
    """Index of the nearest centroid: the largest <x, c> - |c|^2 / 2."""
    half_K = centroids_KD.square().sum(1) / -2
    return torch.addmm(half_K, block_BD, centroids_KD.T).argmax(1)


def _lloyd_faiss(rows_ND: Tensor, centroids_KD: Tensor, minus_D: Tensor | None, iterations: int) -> Tensor:
    """Lloyd's iterations by faiss, on the rows where they lie if they are float32 and nothing is to be subtracted.

    As fast as torch on idle cores, and three to five times faster on busy ones (measured).
    """
    import faiss  # half a second to import, and not needed on a GPU

    if iterations == 0:
        return centroids_KD
    rows = rows_ND.float().contiguous()
    if minus_D is not None:
        rows, centroids_KD = rows - minus_D, centroids_KD - minus_D
    clustering = faiss.Kmeans(
        rows.shape[1],
        len(centroids_KD),
        niter=iterations,
        seed=1,  # only places split clusters; the start is ours
        min_points_per_centroid=1,  # no warning on standard error
        max_points_per_centroid=-(-len(rows) // len(centroids_KD)),  # no subsampling
    )
    clustering.train(rows.numpy(), init_centroids=centroids_KD.numpy())
    found_KD = torch.from_numpy(clustering.centroids)
    return found_KD if minus_D is None else found_KD + minus_D


def _lloyd_torch(rows_ND: Tensor, centroids_KD: Tensor, mean_D: Tensor, iterations: int) -> Tensor:
    """Lloyd's iterations by torch, wherever the rows lie; a cluster without rows moves to the worst served row."""
    size = len(centroids_KD)
    for _ in range(iterations):
        assignment_N, distance2_N = assign(rows_ND, centroids_KD)
        # float64: sums on a GPU run in no fixed order, and only the digits that are cut off then show it.
        total_KD = torch.zeros(centroids_KD.shape, dtype=torch.float64, device=rows_ND.device)
        for part, block_BD in blocks(rows_ND, tile(rows_ND)[0]):
            total_KD.index_add_(0, assignment_N[part], (block_BD - mean_D).double())
        count_K = torch.bincount(assignment_N, minlength=size)
        moved_KD = (total_KD / count_K.clamp_min(1)[:, None]).float() + mean_D
        empty = torch.nonzero(count_K == 0).flatten()
        moved_KD[empty] = rows_ND[distance2_N.topk(len(empty)).indices].float()
        if torch.equal(moved_KD, centroids_KD):
            break
        centroids_KD = moved_KD
    return centroids_KD
