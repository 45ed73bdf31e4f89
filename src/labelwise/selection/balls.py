"""Picks whose balls of one radius cover the most of the pool, and the radius at which balls are pure.

Dimension key: N rows of the pool, L labelled, M candidates, J labelled and candidates together, Q rows that are asked,
E directed pairs within the radius, K picks.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from labelwise.errors import ConfigError
from labelwise.selection.arrays import ArrayLike, as_matrix, as_positions, check_budget, free_candidates
from labelwise.selection.clustering import kmeans
from labelwise.selection.neighbours import Graph, nearest, within
from labelwise.selection.progress import report

# Rows whose nearest stranger is looked up: the share of pure balls is then known to about a percent.
_ASKED = 4096


def prob_cover(
    features_ND: ArrayLike,
    k: int,
    *,
    radius: float,
    labelled_L: ArrayLike | None = None,
    candidates_M: ArrayLike | None = None,
    unit: bool = False,
    rng: np.random.Generator,
) -> tuple[Tensor, Tensor]:
    """Greedy cover by balls: each pick is the candidate with the most rows around it that nothing covers yet.

    ``pick = argmax_i |{j : |x_i - x_j| <= radius, j not covered}|``; labelled rows and picks cover what lies in their
    balls, themselves included. Each row counts its uncovered neighbours; when a row is covered, its neighbours count
    one less, so all picks together read every pair once. Equal counts are ordered by ``rng``. When everything is
    covered, what is missing is drawn at random from the candidates left.

    Args:
        features_ND: one row per item; any float type.
        k: number of picks, at most the number of candidates.
        radius: of the balls, a distance (not squared), above 0.
        labelled_L: positions that cover already; none by default.
        candidates_M: positions that may be picked; all that are not labelled by default.
        unit: compare rows scaled to length one, as the paper does.
        rng: order of equal counts, and the draw where everything is covered.

    Returns:
        positions (k,) int64 in the order picked; and how many rows each pick newly covers, (k,) int64, never rising; 0
        for those drawn at random.

    Raises:
        ConfigError: more picks than candidates, a radius that is not above 0 or has more than 134 million pairs within.
        DataError: rows that are not finite, positions out of range or twice, a candidate that is labelled.

    Cost:
        The graph: J^2 D operations and 4 bytes a pair (10 while it is built). The picks: O(E + K J).

    Example:
        >>> line = [[0.0], [1.0], [2.0], [9.0], [10.0]]
        >>> prob_cover(line, 2, radius=1.5, rng=np.random.default_rng(0))[1]
        tensor([3, 2])

    Reference:
        Yehuda, Dekel, Hacohen, Weinshall, Active Learning Through a Covering Lens, NeurIPS 2022, algorithm 1. Theirs
        removes covered vertices' incoming edges, which counts the same; what to do once all is covered is left open
        there (their code then returns one row again and again).
    """
    if not (radius > 0 and math.isfinite(radius)):
        raise ConfigError(f"radius is {radius}; allowed is a finite number above 0")
    rows_ND = as_matrix(features_ND)
    labelled = as_positions([] if labelled_L is None else labelled_L, len(rows_ND), "labelled", device=rows_ND.device)
    candidates = free_candidates(candidates_M, labelled, len(rows_ND))
    check_budget(k, len(candidates))
    if k == 0:
        return candidates[:0], candidates[:0]
    joint_J = torch.cat([labelled, candidates])
    # shuffled, so that the first of equal counts is any of them; the cover is short work: on the host
    order_J = torch.from_numpy(rng.permutation(len(joint_J)))
    balls = _Balls(within(rows_ND, radius, among=joint_J, unit=unit), joint_J.cpu()[order_J])
    balls.cover(labelled.cpu())
    free_N = torch.zeros(len(rows_ND), dtype=torch.bool)
    free_N[candidates.cpu()] = True
    picks, gains = balls.pick(k, free_N)
    left = candidates.cpu()[~torch.isin(candidates.cpu(), torch.tensor(picks, dtype=torch.int64))]
    drawn = left[torch.from_numpy(rng.permutation(len(left))[: k - len(picks)])]
    positions = torch.cat([torch.tensor(picks, dtype=torch.int64), drawn])
    found = torch.tensor(gains + [0] * len(drawn), dtype=torch.int64)
    return positions.to(rows_ND.device), found.to(rows_ND.device)


class _Balls:
    """For each row, how many rows of its ball, itself included, are not covered."""

    def __init__(self, graph: Graph, rows_J: Tensor) -> None:
        self.first = graph.first_N.cpu().numpy()
        self.target = graph.target_E.cpu().numpy()
        self.rows_J = rows_J.numpy()
        self.covered_N = np.ones(len(self.first) - 1, dtype=bool)
        self.covered_N[self.rows_J] = False
        self.count_N = np.diff(self.first) + 1

    def cover(self, centres: Tensor) -> None:
        """Everything in the balls of these rows is covered from now on."""
        for centre in centres.tolist():
            self._cover(centre)

    def pick(self, k: int, free_N: Tensor) -> tuple[list[int], list[int]]:
        """At most k candidates, and what each covers; fewer once everything is covered."""
        open_J = self.rows_J[free_N.numpy()[self.rows_J]]
        picks: list[int] = []
        gains: list[int] = []
        while len(picks) < k:
            best = int(open_J[self.count_N[open_J].argmax()])
            if self.count_N[best] == 0:
                break
            picks.append(best)
            gains.append(int(self.count_N[best]))
            self._cover(best)
            report("covering the pool", len(picks), k)
        return picks, gains

    def _cover(self, centre: int) -> None:
        ball = np.append(self.target[self.first[centre] : self.first[centre + 1]], centre)
        new = ball[~self.covered_N[ball]]
        self.covered_N[new] = True
        self.count_N[new] -= 1
        for row in new:
            # a row stands once in a ball: plain subtraction is enough
            self.count_N[self.target[self.first[row] : self.first[row + 1]]] -= 1


def purity_radius(
    features_ND: ArrayLike,
    clusters: int,
    *,
    purity: float = 0.95,
    among: ArrayLike | None = None,
    unit: bool = False,
    rng: np.random.Generator,
) -> float:
    """The largest radius at which the given share of balls holds rows of one cluster only.

    ``purity(r) = |{i : all j with |x_i - x_j| <= r are in the cluster of i}| / N``, clusters by k-means standing in for
    classes. A ball is pure exactly while r is below the distance to the nearest row of another cluster, so the radius
    is a quantile of those distances: no grid of radii is tried.

    Args:
        features_ND: one row per item.
        clusters: as many as there are classes.
        purity: share of balls that must be pure, in (0, 1).
        among: positions that take part; all by default.
        unit: compare rows scaled to length one.
        rng: of k-means, and of the at most 4,096 rows whose balls are looked at.

    Returns:
        The radius, above 0; infinite where there is only one cluster.

    Raises:
        ConfigError: ``clusters`` below 1, ``purity`` outside 0 to 1.
        DataError: rows that are not finite, positions out of range or twice.

    Cost:
        k-means, and 2 Q J D operations for the Q rows that are looked at.

    Example:
        >>> purity_radius([[0.0], [1.0], [5.0], [6.0]], 2, purity=0.5, rng=np.random.default_rng(0)) < 5
        True

    Reference:
        Yehuda et al., NeurIPS 2022, section 4.1 ("delta estimation"), alpha = 0.95; they try a grid of radii.
    """
    if clusters < 1 or not 0 < purity < 1:
        raise ConfigError(f"clusters {clusters}, purity {purity}; allowed are 1 and more, and between 0 and 1")
    rows_ND = as_matrix(features_ND)
    joint_J = as_positions(among, len(rows_ND), "rows", device=rows_ND.device)
    if min(clusters, len(joint_J)) < 2:
        return math.inf
    cluster_J = kmeans(rows_ND, min(clusters, len(joint_J)), among=joint_J, unit=unit, rng=rng).assignment_N
    asked_Q = torch.from_numpy(np.sort(rng.permutation(len(joint_J))[:_ASKED])).to(joint_J.device)
    near2: list[Tensor] = []
    for cluster in torch.unique(cluster_J[asked_Q]).tolist():
        strangers = joint_J[cluster_J != cluster]
        if len(strangers):
            asked = joint_J[asked_Q[cluster_J[asked_Q] == cluster]]
            near2.append(nearest(rows_ND, 1, queries=asked, among=strangers, unit=unit).distance2_QK[:, 0])
    if not near2:
        return math.inf
    stranger_Q = torch.cat(near2).double().sqrt().sort().values
    # at a radius just below it, those before it are impure and all others pure
    first = float(stranger_Q[math.floor((1 - purity) * len(stranger_Q) + 1e-9)])
    apart = stranger_Q[stranger_Q > 0]
    # rows of two clusters on one spot: the smallest radius that tells any apart
    return math.nextafter(first if first > 0 else (float(apart[0]) if len(apart) else math.inf), 0.0)
