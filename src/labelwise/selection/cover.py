"""Picks that cover a pool: greedy k-center, exact, by lazy batches of matrix products.

Dimension key: N rows of the pool, L labelled, M candidates, G rows of a group, D features, K picks.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from labelwise.errors import DataError
from labelwise.selection.arrays import ArrayLike, as_positions, check_budget, free_candidates
from labelwise.selection.progress import report
from labelwise.selection.space import Points, Space

# Sizes found by measuring (benchmarks/speed/selection.py); they change the time, never the picks.
_GROUP = 2048  # candidates brought up to date together, at the least
_NEAR = 16384  # those of them that are gathered, so that no group takes the memory of the pool
_HEAD = 256  # those of them whose distances to each other are all at hand
_EQUAL = 1e-12  # squared distances from the mean, in float64, that differ by less than this share are alike
_FEW = 4  # a group that yields fewer picks than this was too small: the next has twice the size


def k_center(
    features_ND: ArrayLike,
    k: int,
    *,
    labelled_L: ArrayLike | None = None,
    candidates_M: ArrayLike | None = None,
    rng: np.random.Generator,
) -> tuple[Tensor, Tensor]:
    """Greedy k-center: each pick is the candidate farthest from everything labelled or picked before it.

    ``pick = argmax_i min_{c in labelled + picks} |x_i - x_c|``. The radius within which every candidate has a labelled
    neighbour is at most twice the best possible.

    With nothing labelled the first pick is the candidate nearest the mean of all rows (the mean has no outlier's
    bias, and needs no luck). Candidates at exactly the same distance, duplicates above all, are picked in the order of
    ``rng``. The result is that of the plain loop with one matrix-vector product per pick, up to ties and rounding:
    an old distance to the nearest centre is an upper bound of the present one, so only the candidates with the highest
    bounds are ever brought up to date, many at once.

    Args:
        features_ND: one row per item; any float type, each block computed in float32.
        k: number of picks, at most the number of candidates.
        labelled_L: positions already covered; none by default.
        candidates_M: positions that may be picked; all that are not labelled by default.
        rng: order of equal distances.

    Returns:
        positions (k,) int64, in the order picked; and the distance (not squared) of each to its nearest centre at that
        moment, (k,) float32, never increasing. The first pick of an empty cover has no centre and carries the distance
        of the second one, or, when it is alone, of the farthest candidate.

    Raises:
        ConfigError: more picks than candidates.
        DataError: rows that are not finite, positions out of range or twice, a candidate that is labelled.

    Cost:
        At most 2 N (L + K) D operations in matrix products, a fraction of it where distances are not all alike;
        memory 16 bytes per row and a few megabytes.

    Example:
        >>> line = np.array([[0.0], [1.0], [4.0], [9.0]])
        >>> k_center(line, 2, labelled_L=[0], rng=np.random.default_rng(0))
        (tensor([3, 2]), tensor([9., 4.]))

    Reference:
        Gonzalez, Clustering to Minimize the Maximum Intercluster Distance, 1985; Sener and Savarese, Active Learning
        for Convolutional Neural Networks: A Core-Set Approach, ICLR 2018, algorithm 1. The paper's mixed-integer
        refinement is left out, as in its published experiments at scale.
    """
    space = Space.of(features_ND)
    labelled = as_positions([] if labelled_L is None else labelled_L, len(space), "labelled", device=space.device)
    candidates = free_candidates(candidates_M, labelled, len(space))
    check_budget(k, len(candidates))
    if k == 0:
        return torch.empty(0, dtype=torch.int64, device=space.device), torch.empty(0, device=space.device)
    order_N = torch.from_numpy(rng.permutation(len(space))).to(space.device)
    cover = _Cover(space, candidates, order_N, centres=len(labelled) + k)
    alone = len(labelled) == 0
    if alone:
        cover.open(_nearest_mean(space, candidates, order_N))
    else:
        cover.cover(labelled)
    distances2: list[float] = []
    while cover.picked < k:
        report("covering the pool", cover.picked, k)
        distances2 += cover.pick_some(k - cover.picked)
    if alone:
        distances2.insert(0, distances2[0] if distances2 else cover.farthest2())
    found_K = torch.tensor(distances2, dtype=torch.float32, device=space.device).sqrt()
    return cover.centres[len(labelled) :], found_K


def cover_radius(features_ND: ArrayLike, centres_L: ArrayLike, *, candidates_M: ArrayLike | None = None) -> float:
    """Largest distance from a row to the nearest of some chosen rows.

    ``max_i min_{c in centres} |x_i - x_c|``: what k-center makes small.

    Args:
        features_ND: one row per item.
        centres_L: positions of the chosen rows, at least one.
        candidates_M: rows to be covered; all by default.

    Returns:
        The radius; 0 when there is nothing to cover.

    Raises:
        DataError: no centre, rows that are not finite, positions out of range.

    Cost:
        2 N L D operations.

    Example:
        >>> cover_radius([[0.0], [3.0], [4.0]], [0])
        4.0
    """
    space = Space.of(features_ND)
    centres = as_positions(centres_L, len(space), "centres", device=space.device)
    if not len(centres):
        raise DataError("got no centre; needed is at least one")
    candidates = as_positions(candidates_M, len(space), "candidates", device=space.device)
    cover = _Cover(space, candidates, torch.arange(len(space), device=space.device), centres=len(centres))
    cover.cover(centres)
    return math.sqrt(cover.farthest2())


class _Cover:
    """The centres so far, and for each candidate an upper bound of its squared distance to the nearest of them.

    Bounds only fall as centres come, so a row must be brought up to date only while its bound is among the highest.
    ``seen_N`` says how many of the centres each bound knows of. Rows that are picked, or never may be, stand at -1.
    """

    def __init__(self, space: Space, candidates_M: Tensor, order_N: Tensor, *, centres: int) -> None:
        self.space = space
        self.order_N = order_N
        self.bound2_N = torch.full((len(space),), -1.0, device=space.device)
        self.bound2_N[candidates_M] = torch.inf
        self.seen_N = torch.zeros(len(space), dtype=torch.int32, device=space.device)
        self.size = max(1, min(_GROUP, len(candidates_M)))
        self.count = 0
        self.picked = 0
        self._centres = torch.empty(centres, dtype=torch.int64, device=space.device)

    @property
    def centres(self) -> Tensor:
        """Positions of the centres, in the order they came."""
        return self._centres[: self.count]

    def cover(self, labelled_L: Tensor) -> None:
        """Take labelled rows as centres; every bound learns of the first few, the rest is done when it matters."""
        for start in range(0, len(labelled_L), self.space.centres):
            self._append(labelled_L[start : start + self.space.centres])
            if start == 0:
                self._refresh(torch.nonzero(self.bound2_N >= 0).flatten())

    def open(self, position: Tensor) -> None:
        """Pick a first row when there is no centre to be far from."""
        self.bound2_N[position] = -1.0
        self.picked += 1
        self.cover(position.reshape(1))

    def farthest2(self) -> float:
        """The highest squared distance of a candidate that is not picked; 0 if there is none."""
        while True:
            group_G, rest2 = _highest(self.bound2_N, self.size, self.order_N)
            self._refresh(group_G)
            best2 = float(self.bound2_N[group_G].max()) if len(group_G) else 0.0
            if best2 >= rest2:
                return max(best2, 0.0)
            self._widen()

    def pick_some(self, limit: int) -> list[float]:
        """Pick at most ``limit`` rows from the group with the highest bounds; their squared distances.

        A pick is certain while the best row of the group, all up to date, is at least as far as the highest bound
        outside: what stands there can only have fallen. None is certain if the whole group has fallen below.
        """
        group_G, outside2 = _highest(self.bound2_N, self.size, self.order_N)
        self._refresh(group_G)
        highest, inside2 = _highest(self.bound2_N[group_G], _NEAR, self.order_N[group_G])
        group_G, rest2 = group_G[highest], max(outside2, inside2)
        points_G = self.space.take(group_G)
        near2_G = self.bound2_N[group_G]
        found2: list[float] = []
        while len(found2) < limit and float(near2_G.max()) >= max(rest2, 0.0):
            head_H, head_rest2 = _highest(near2_G, _HEAD, self.order_N[group_G])
            picks_H, picks2 = _pick_within(
                points_G[head_H], near2_G[head_H], max(rest2, head_rest2, 0.0), limit - len(found2)
            )
            places = head_H[picks_H]
            near2_G = torch.minimum(near2_G, points_G.nearest2(points_G[places]))
            near2_G[places] = -1.0
            self._append(group_G[places])
            self.picked += len(picks2)
            found2 += picks2
        self.bound2_N[group_G] = near2_G
        self.seen_N[group_G] = self.count
        if len(found2) < _FEW and outside2 >= inside2:
            self._widen()
        else:
            self.size = max(self.size // 2, min(_GROUP, self.size))
        return found2

    def _widen(self) -> None:
        self.size = min(2 * self.size, len(self.space))

    def _append(self, positions: Tensor) -> None:
        self._centres[self.count : self.count + len(positions)] = positions
        self.count += len(positions)

    def _refresh(self, rows_G: Tensor) -> None:
        """Bring rows up to date, those with the same centres to learn of together."""
        if not len(rows_G):
            return
        rows_G = rows_G[self.seen_N[rows_G].argsort(stable=True)]
        for block_B in torch.split(rows_G, self.space.block):
            first = int(self.seen_N[block_B[0]])
            if first == self.count:
                break
            points_B = self.space.take(block_B)
            near2_B = self.bound2_N[block_B]
            for centres_P in torch.split(self.centres[first:], self.space.centres):
                near2_B = torch.minimum(near2_B, points_B.nearest2(self.space.take(centres_P)))
            self.bound2_N[block_B] = near2_B
            self.seen_N[block_B] = self.count


def _pick_within(points_H: Points, near2_H: Tensor, rest2: float, limit: int) -> tuple[list[int], list[float]]:
    """Plain greedy among a few rows, with all their distances at hand, while the farthest is at least ``rest2``."""
    distances2_HH = points_H.distances2(points_H)
    picks: list[int] = []
    found2: list[float] = []
    while len(picks) < limit:
        best2, place = near2_H.max(0)
        if float(best2) < rest2:
            break
        picks.append(int(place))
        found2.append(float(best2))
        near2_H = torch.minimum(near2_H, distances2_HH[place])
        near2_H[place] = -1.0
    return picks, found2


def _highest(values_N: Tensor, size: int, order_N: Tensor) -> tuple[Tensor, float]:
    """Places of the ``size`` highest values, equal ones by ``order_N``, in that order; and the highest value left out.

    Without the order, topk's choice among equals (which differs between devices) would decide between duplicates.
    """
    if size >= len(values_N):
        return order_N.argsort(), -1.0
    highest = values_N.topk(size + 1).values
    lowest = highest[size - 1]
    above = torch.nonzero(values_N > lowest).flatten()
    equal = torch.nonzero(values_N == lowest).flatten()
    if len(above) + len(equal) > size:
        equal = equal[order_N[equal].topk(size - len(above), largest=False).indices]
    places = torch.cat([above, equal])
    return places[order_N[places].argsort()], float(highest[size])


def _nearest_mean(space: Space, candidates_M: Tensor, order_N: Tensor) -> Tensor:
    """The candidate nearest the mean of all rows."""
    away2_M = space.from_mean2(candidates_M)
    equal = candidates_M[away2_M <= away2_M.min() * (1 + _EQUAL)]
    return equal[order_N[equal].argmin()]
