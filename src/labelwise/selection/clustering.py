"""k-means, and one pick per cluster.

Dimension key: N rows of the pool, A rows that are clustered, M candidates, D features, K clusters
or picks, C clusters where K are picks, S seeds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from labelwise.errors import ConfigError, DataError, unknown
from labelwise.selection.arrays import ArrayLike, as_matrix, as_positions, as_tensor, check_budget
from labelwise.selection.progress import report
from labelwise.selection.seeding import plus_plus
from labelwise.selection.space import ROUNDING, Space, crowd, mean_or_median, middle_row, tile

Start: TypeAlias = Literal["oversampled", "plus_plus", "random"]
Over: TypeAlias = Literal["candidates", "all"]

STARTS: tuple[Start, ...] = ("oversampled", "plus_plus", "random")
OVERS: tuple[Over, ...] = ("candidates", "all")

# Seeds drawn per cluster before they are thinned to one. Measured on 100 tight clusters, k = 100: inertia 1.9 times the
# best with k-means++ alone, 1.03 times with two seeds, no better with eight; scikit-learn's greedy start: 1.1 times.
_SEEDS_PER_CLUSTER = 2
# Their distances to each other are kept as a matrix: 256 MB here. Above, plain k-means++.
_MOST_SEEDS = 8192
# Bytes of products at once: larger blocks than elsewhere, because two busy threads lose time between them (measured).
_RESULTS = 16 << 20
# Rows that say how many each seed stands for; eight a seed give the inertia that all rows give (measured).
_ROWS_PER_SEED = 8
# Rows among which seeds are drawn: all of a small pool, enough of a large one to know it by.
_START_ROWS = 65_536
_START_ROWS_PER_CLUSTER = 32
# Small problems, in products an iteration (some milliseconds), are solved several times: on a few hundred rows with
# features of all sizes one run ends up to 5 % above scikit-learn's, the best of four 1 to 4 % below (measured).
_SMALL = 1 << 24
_RESTARTS = 4


@dataclass(frozen=True)
class Search:
    """How long k-means looks for a low inertia.

    Args:
        iterations: Lloyd's iterations at most, 0 and more.
        tolerance: they end when one of them lowers the inertia by no more than this share of it; with 0, when it falls
            no further. The default ends after 4 to 10 on clustered features, within 0.1 % of where 25 would have.
        restarts: runs, of which the one with the lowest inertia is kept; 1 and more. None is 4 where an iteration is
            a matter of milliseconds (A K D up to 17 million), and else 1.
        start: ``oversampled`` (twice as many k-means++ seeds as clusters, thinned to k by weighted greedy k-means++);
            ``plus_plus`` (exact k-means++); or ``random`` rows, as published by several papers: 10 % worse and more on
            clustered features.

    Raises:
        ConfigError: a value outside its range, an unknown ``start``.
    """

    iterations: int = 25
    tolerance: float = 1e-4
    restarts: int | None = None
    start: Start = "oversampled"

    def __post_init__(self) -> None:
        if self.iterations < 0 or (self.restarts is not None and self.restarts < 1):
            raise ConfigError(
                f"iterations {self.iterations}, restarts {self.restarts}; allowed are 0 and more, 1 and more"
            )
        if not 0 <= self.tolerance < 1:
            raise ConfigError(f"tolerance {self.tolerance}; allowed is 0 and more, below 1")
        if self.start not in STARTS:
            raise unknown("start of k-means", self.start, STARTS)


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
    among: ArrayLike | None = None,
    unit: bool = False,
    rng: np.random.Generator,
    search: Search | None = None,
) -> KMeans:
    """k-means by Lloyd's iterations from a careful start.

    Minimises the inertia ``sum_i |x_i - c_{a(i)}|^2``. All rows take part in every iteration; only the start is drawn
    from a sample where the pool is large (65,536 rows, or 32 a cluster).

    Args:
        features_ND: one row per item; any float type, read in blocks.
        k: number of clusters, 1 to the number of rows that are clustered.
        among: positions of the rows to cluster; all by default. The others are never looked at.
        unit: scale rows to length one as they are read; rows of zeros stay.
        rng: seeds every start.
        search: how long to look; ``Search()`` by default.

    Returns:
        Assignment and squared distances of the clustered rows, in the order of ``among``, and centroids. Clusters can
        be empty where rows coincide.

    Raises:
        ConfigError: ``k`` outside its range.
        DataError: rows that are not finite, positions out of range or twice.

    Cost:
        2 A K D operations an iteration and restart, and about as much for the start and for the last assignment. One
        block of memory: rows are used where they lie, half precision and memory maps too. Only a start among some of
        the rows, or unit rows, copies those that it is drawn from.

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
    chosen = None if among is None else as_positions(among, len(rows_ND), "rows to cluster", device=rows_ND.device)
    rows = _Rows(rows_ND, chosen, unit)
    if not 1 <= k <= len(rows):
        raise ConfigError(f"asked for {k} clusters of {len(rows)} rows; allowed is 1 to {len(rows)}")
    search = search or Search()
    middle_D = rows.middle()
    norms_A = rows.norms(middle_D)

    small = len(rows) * k * rows_ND.shape[1] <= _SMALL
    runs = search.restarts or (_RESTARTS if small else 1)

    def run(number: int) -> KMeans:
        turn = (number, runs)
        centroids_KD = _lloyd(rows, _first(rows, k, search.start, rng), middle_D, norms_A, search, turn)
        return KMeans(*_assigned(rows, centroids_KD, middle_D), centroids_KD)

    return min((run(number) for number in range(runs)), key=lambda found: float(found.distance2_N.double().sum()))


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
    rows = _Rows(rows_ND)
    return _assigned(rows, centroids, rows.middle())


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
    size_C = torch.bincount(assignment[candidates])
    cluster_K, rank_K = take_turns(size_C, k, size_C=size_C, rng=rng)
    order_M = by_cluster(assignment[candidates], distance2[candidates], rng=rng)
    return candidates[order_M[(size_C.cumsum(0) - size_C)[cluster_K] + rank_K]]


def by_cluster(assignment_M: Tensor, distance_M: Tensor, *, rng: np.random.Generator) -> Tensor:
    """Places cluster by cluster, within each the smallest distance first, equal ones at random."""
    order_M = torch.from_numpy(rng.permutation(len(assignment_M))).to(assignment_M.device)
    # Stable sorts, the less important key first.
    order_M = order_M[distance_M[order_M].argsort(stable=True)]
    return order_M[assignment_M[order_M].argsort(stable=True)]


def take_turns(
    free_C: Tensor, k: int, *, size_C: Tensor, covered_C: Tensor | None = None, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Which cluster gives the next pick: the least covered one that has a candidate left, of those the largest.

    Args:
        free_C: candidates in each cluster; their sum is at least k.
        k: number of picks.
        size_C: how large each cluster is; larger ones come first.
        covered_C: picks that each has already; none by default. Those taken here are counted on.
        rng: order of equally large clusters.

    Returns:
        (k,) int64 cluster of each pick, and which pick of its cluster it is, from 0.

    Cost:
        O(P log P) with P = sum of min(free, k).

    Example:
        >>> free = torch.tensor([3, 1, 0])
        >>> take_turns(free, 4, size_C=free, rng=np.random.default_rng(0))
        (tensor([0, 1, 0, 0]), tensor([0, 0, 1, 2]))
    """
    turns_C = free_C.clamp_max(k)
    cluster_P = torch.repeat_interleave(torch.arange(len(free_C), device=free_C.device), turns_C)
    rank_P = torch.arange(len(cluster_P), device=free_C.device) - (turns_C.cumsum(0) - turns_C)[cluster_P]
    shuffled_C = torch.from_numpy(rng.permutation(len(free_C))).to(free_C.device)
    place_C = torch.empty_like(shuffled_C)
    place_C[shuffled_C[size_C[shuffled_C].argsort(descending=True, stable=True)]] = torch.arange(
        len(free_C), device=free_C.device
    )
    order_P = place_C[cluster_P].argsort(stable=True)
    coverage_P = rank_P if covered_C is None else covered_C[cluster_P] + rank_P
    order_P = order_P[coverage_P[order_P].argsort(stable=True)][:k]
    return cluster_P[order_P], rank_P[order_P]


def kmeans_picks(
    features_ND: ArrayLike,
    k: int,
    *,
    candidates_M: ArrayLike | None = None,
    rng: np.random.Generator,
    pool: Over = "candidates",
    unit: bool = False,
) -> Tensor:
    """Cluster into k and pick the candidate nearest each centroid.

    Args:
        features_ND: one row per item.
        k: number of clusters and of picks, at most the number of candidates.
        candidates_M: positions that may be picked; all rows by default.
        rng: seeds the clustering, orders ties.
        pool: rows that are clustered: the ``candidates`` only, so that each pick stands for rows that still want a
            label; or ``all`` rows, as published.
        unit: as in ``kmeans``.

    Returns:
        (k,) int64 positions, distinct, clusters with many candidates first.

    Raises:
        ConfigError: more picks than candidates, unknown ``pool``.
        DataError: rows that are not finite, positions out of range or twice.

    Cost:
        That of ``kmeans``.

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
    alone = pool == "candidates" and len(candidates) < len(rows_ND)
    found = kmeans(rows_ND, k, among=candidates if alone else None, unit=unit, rng=rng)
    if alone:
        return candidates[medoids(found.assignment_N, found.distance2_N, k, rng=rng)]
    return medoids(found.assignment_N, found.distance2_N, k, candidates_M=candidates, rng=rng)


@dataclass(frozen=True)
class _Rows:
    """The rows to cluster, all of a matrix or some, read a block at a time: no more of them is ever in float32."""

    rows_ND: Tensor
    among_A: Tensor | None = None
    unit: bool = False

    def __len__(self) -> int:
        return len(self.rows_ND) if self.among_A is None else len(self.among_A)

    def take(self, places_P: Tensor) -> Tensor:
        """Copies of some rows, in the type that they are stored in where they are not scaled."""
        taken_PD = torch.index_select(self.rows_ND, 0, places_P if self.among_A is None else self.among_A[places_P])
        return _unit(taken_PD.float()) if self.unit else taken_PD

    def blocks(self, centroids: int = 1) -> Iterator[tuple[slice, Tensor]]:
        """Consecutive blocks in float32, to be multiplied with so many centroids, each with the slice it came from.

        Rows of a whole float32 matrix are not copied.
        """
        fitting = _RESULTS // (4 * centroids)
        size = tile(self.rows_ND)[0] if self.rows_ND.is_cuda else min(max(fitting, 1024), 4096)
        for first in range(0, len(self), size):
            part = slice(first, min(first + size, len(self)))
            if self.among_A is None:
                block_BD = self.rows_ND[part].float()
            else:
                block_BD = torch.index_select(self.rows_ND, 0, self.among_A[part]).float()
            yield part, _unit(block_BD) if self.unit else block_BD

    def middle(self) -> Tensor:
        """What to subtract before products are taken, (D,) float32; see ``selection.space``."""
        total_D = torch.zeros(self.rows_ND.shape[1], dtype=torch.float64, device=self.rows_ND.device)
        for _, block_BD in self.blocks():
            total_D += block_BD.sum(0)
        return mean_or_median(total_D / max(1, len(self)), self.take(crowd(len(self), total_D.device)).float())[0]

    def norms(self, middle_D: Tensor) -> Tensor:
        """Squared length of each row less the middle, float32."""
        norms_A = torch.empty(len(self), device=self.rows_ND.device)
        for part, block_BD in self.blocks():
            norms_A[part] = torch.linalg.vector_norm(block_BD - middle_D, dim=1).square()
        bad = torch.nonzero(~torch.isfinite(norms_A)).flatten()
        if len(bad):
            first = (bad if self.among_A is None else self.among_A[bad])[:5].tolist()
            raise DataError(
                f"{len(bad)} of {len(self)} rows hold NaN, infinity or numbers too large for float32 (first rows: "
                f"{first}); features must be finite"
            )
        return norms_A


def _unit(rows_PD: Tensor) -> Tensor:
    length_P1: Tensor = torch.linalg.vector_norm(rows_PD, dim=1, keepdim=True)
    return rows_PD / length_P1.clamp_min(1e-12)


def _first(rows: _Rows, k: int, start: Start, rng: np.random.Generator) -> Tensor:
    """The first centroids, (K, D) float32."""
    device = rows.rows_ND.device
    if start == "random":
        return rows.take(torch.from_numpy(rng.permutation(len(rows))[:k]).to(device)).float()
    enough = max(_START_ROWS, _START_ROWS_PER_CLUSTER * k)
    if len(rows) > enough:
        # ascending: a memory map is read from front to back
        drawn = np.sort(rng.choice(len(rows), enough, replace=False))
        sample_ND = rows.take(torch.from_numpy(drawn).to(device))
    else:
        whole = rows.among_A is None and not rows.unit
        sample_ND = rows.rows_ND if whole else rows.take(torch.arange(len(rows), device=device))
    return torch.index_select(sample_ND, 0, _seeds(sample_ND, k, start, rng)).float()


def _seeds(rows_ND: Tensor, k: int, start: Start, rng: np.random.Generator) -> Tensor:
    """Positions of k rows to start from."""
    many = min(_SEEDS_PER_CLUSTER * k, len(rows_ND))
    if start == "plus_plus" or many > _MOST_SEEDS or many == k:
        return plus_plus(rows_ND, k, rng=rng)
    seeds_S = plus_plus(rows_ND, many, rng=rng)
    counted = torch.from_numpy(rng.permutation(len(rows_ND))[: _ROWS_PER_SEED * many]).to(rows_ND.device)
    seeds_SD = torch.index_select(rows_ND, 0, seeds_S).float()
    rows = _Rows(rows_ND, counted)
    assignment_A, _ = _assigned(rows, seeds_SD, middle_row(seeds_SD)[0])
    points_S = Space.of(seeds_SD).take(torch.arange(many, device=rows_ND.device))
    # one more for each: a seed stands at least for itself
    weight_S = torch.bincount(assignment_A, minlength=many).double() + 1
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


def _scores(centred_BD: Tensor, centroids_KD: Tensor) -> Tensor:
    """(B, K): <x, c> - |c|^2 / 2, largest for the nearest centroid."""
    half_K = centroids_KD.square().sum(1) / -2
    return torch.addmm(half_K, centred_BD, centroids_KD.T)


def _assigned(rows: _Rows, centroids_KD: Tensor, middle_D: Tensor) -> tuple[Tensor, Tensor]:
    """As ``assign``; ``middle_D`` is subtracted for the products, the distances are those of the rows as they are."""
    assignment_A = torch.empty(len(rows), dtype=torch.int64, device=rows.rows_ND.device)
    distance2_A = torch.empty(len(rows), device=rows.rows_ND.device)
    centred_KD = centroids_KD - middle_D
    for part, block_BD in rows.blocks(len(centred_KD)):
        nearest_B = _scores(block_BD - middle_D, centred_KD).argmax(1)
        assignment_A[part] = nearest_B
        distance2_A[part] = (block_BD - torch.index_select(centroids_KD, 0, nearest_B)).square_().sum(1)
        report("assigning to clusters", part.stop, len(rows))
    return assignment_A, distance2_A


def _lloyd(
    rows: _Rows,
    centroids_KD: Tensor,
    middle_D: Tensor,
    norms_A: Tensor,
    search: Search,
    run: tuple[int, int] = (0, 1),
) -> Tensor:
    """Lloyd's iterations; a cluster without rows moves to the row that is served worst."""
    centred_KD = centroids_KD - middle_D
    inertia = math.inf
    for done in range(search.iterations):
        turn = (run[0] * search.iterations + done, run[1] * search.iterations)
        total_KD, count_K, near2_A = _sums(rows, centred_KD, middle_D, norms_A, turn)
        moved_KD = (total_KD / count_K.clamp_min(1)[:, None]).float()
        # That of the new centroids without another pass: a cluster loses n |move|^2. A sum of small terms, which one
        # far row does not drown, as it would a sum of squared norms.
        step2_K = (moved_KD - centred_KD).double().square().sum(1)
        before, inertia = inertia, float(near2_A.sum(dtype=torch.float64) - count_K.double() @ step2_K)
        empty = torch.nonzero(count_K == 0).flatten()
        moved_KD[empty] = rows.take(near2_A.topk(len(empty)).indices).float() - middle_D
        centred_KD = moved_KD
        if before - inertia <= search.tolerance * inertia:
            break
    return centred_KD + middle_D


def _sums(
    rows: _Rows, centred_KD: Tensor, middle_D: Tensor, norms_A: Tensor, turn: tuple[int, int]
) -> tuple[Tensor, Tensor, Tensor]:
    """One pass: sum of the centred rows nearest to each centroid, their number, and each row's squared distance."""
    done, turns = turn
    size = len(centred_KD)
    total_KD = torch.zeros(centred_KD.shape, dtype=torch.float64, device=centred_KD.device)
    count_K = torch.zeros(size, dtype=torch.int64, device=centred_KD.device)
    near2_A = torch.empty_like(norms_A)
    for part, block_BD in rows.blocks(size):
        block_BD = block_BD - middle_D
        score_B, nearest_B = _scores(block_BD, centred_KD).max(1)
        near2_B = norms_A[part] - 2 * score_B
        near2_A[part] = near2_B.masked_fill_(near2_B <= 2 * ROUNDING * norms_A[part], 0.0)
        counts_K = torch.bincount(nearest_B, minlength=size)
        # Sorted, then summed bag by bag: ten times as fast as index_add_ on busy cores, and in a fixed order on a GPU.
        order_B = nearest_B.argsort(stable=True)
        total_KD += embedding_bag(order_B, block_BD, counts_K.cumsum(0) - counts_K, mode="sum")
        count_K += counts_K
        report("clustering", done * len(rows) + part.stop, turns * len(rows))
    return total_KD, count_K, near2_A
