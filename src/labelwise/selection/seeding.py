"""Sampling by squared distance: the k-means++ start, exact, with one matrix product for many draws.

Dimension key: N rows of the pool, L labelled, M candidates, D features, C entries of a second factor, K picks.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from labelwise.errors import unknown
from labelwise.selection.arrays import ArrayLike, as_positions, check_budget, free_candidates, squared_norms
from labelwise.selection.space import Space

First: TypeAlias = Literal["uniform", "longest"]

# Proposals drawn at once. Their distances to each other are a matrix of this size.
_PROPOSALS = 128
# Below this share of accepted proposals the weights are brought up to date.
_STALE = 0.5


def plus_plus(
    features_ND: ArrayLike,
    k: int,
    *,
    factor_NC: ArrayLike | None = None,
    labeled_L: ArrayLike | None = None,
    candidates_M: ArrayLike | None = None,
    first: First = "uniform",
    rng: np.random.Generator,
) -> Tensor:
    """k-means++ seeding: each pick is drawn with probability proportional to its squared distance from those before.

    ``P(i) = d_i^2 / sum_j d_j^2`` with ``d_i`` the distance to the nearest row picked (or labelled) so far: far rows
    are likely, outliers are not certain, duplicates impossible. With ``factor_NC`` the rows are the outer products of
    factor and feature rows, which are never formed: ``<r h', s g'> = <r, s> <h, g>``. With last-layer residuals as
    factor and embeddings as features this is the selection of BADGE.

    The draw is exact, yet most picks cost no pass over the pool: distances only fall, so proposals are drawn from old
    weights and accepted with probability new / old (rejection sampling); the weights of all rows are renewed by one
    matrix product when half of the proposals fail.

    Args:
        features_ND: one row per item; any float type.
        k: number of picks, at most the number of candidates.
        factor_NC: second factor, one row per item.
        labeled_L: rows that count as picked already; none by default.
        candidates_M: positions that may be picked; all that are not labelled by default.
        first: the first pick when nothing is labelled: ``uniform`` at random, or the ``longest`` row (BADGE).
        rng: source of the draws.

    Returns:
        (k,) int64 positions in the order drawn, distinct. When every candidate left coincides with a pick, the rest
        is uniform.

    Raises:
        ConfigError: more picks than candidates, unknown ``first``.
        DataError: rows that are not finite, positions out of range or twice, a candidate that is labelled.

    Cost:
        2 N (L + K)(D + C) operations in matrix products; memory 8 bytes per row and a few megabytes.

    Example:
        >>> rows = [[0.0], [0.0], [7.0], [7.0]]
        >>> picks = plus_plus(rows, 2, rng=np.random.default_rng(0))
        >>> sorted((picks >= 2).tolist())
        [False, True]

    Reference:
        Arthur and Vassilvitskii, k-means++: The Advantages of Careful Seeding, SODA 2007, section 2.2; Ash, Zhang,
        Krishnamurthy, Langford, Agarwal, Deep Batch Active Learning by Diverse, Uncertain Gradient Lower Bounds, ICLR
        2020, algorithm 1.
    """
    if first not in ("uniform", "longest"):
        raise unknown("first pick", first, ("uniform", "longest"))
    space = Space.of(features_ND, factor_NC)
    labeled = as_positions([] if labeled_L is None else labeled_L, len(space), "labelled", device=space.device)
    candidates = free_candidates(candidates_M, labeled, len(space))
    check_budget(k, len(candidates))
    seeds = _Seeds(space, candidates, rng)
    if len(labeled):
        seeds.renew(labeled)
    elif k:
        norms_N = space.norms_N if factor_NC is not None else squared_norms(features_ND)
        start = candidates[norms_N[candidates].argmax()] if first == "longest" else _any(candidates, rng)
        seeds.accept(start.reshape(1))
    while len(seeds.picks) < k and seeds.draw(k - len(seeds.picks)):
        pass
    return seeds.filled(k)


class _Seeds:
    """The picks so far, and the weights as of the last renewal."""

    def __init__(self, space: Space, candidates_M: Tensor, rng: np.random.Generator) -> None:
        self.space = space
        self.candidates_M = candidates_M
        self.rng = rng
        self.picks: list[int] = []
        self.weight_M = torch.full((len(candidates_M),), torch.inf, device=space.device)
        self._cumulative_M = torch.empty(0)
        self._unseen: list[int] = []

    def accept(self, positions_P: Tensor) -> None:
        """Take picks and renew all weights."""
        self.picks += positions_P.tolist()
        self.renew(positions_P)

    def renew(self, centres_P: Tensor) -> None:
        """Let every weight know of these rows."""
        for some_P in torch.split(centres_P, self.space.centres):
            centres = self.space.take(some_P)
            for first in range(0, len(self.candidates_M), self.space.block):
                part = slice(first, first + self.space.block)
                near2_B = self.space.take(self.candidates_M[part]).nearest2(centres)
                self.weight_M[part] = torch.minimum(self.weight_M[part], near2_B)
        self.weight_M[torch.isin(self.candidates_M, centres_P)] = 0.0
        # float64: a float32 running sum over a million rows would starve the last ones.
        self._cumulative_M = self.weight_M.double().cumsum(0)
        self._unseen = []

    def draw(self, limit: int) -> bool:
        """One batch of proposals; False when no candidate has any weight left."""
        total = float(self._cumulative_M[-1])
        if total <= 0:
            return False
        aim_B = torch.from_numpy(self.rng.random(_PROPOSALS) * total).to(self.space.device)
        place_B = torch.searchsorted(self._cumulative_M, aim_B, right=True).clamp_max(len(self.candidates_M) - 1)
        position_B = self.candidates_M[place_B]
        points = self.space.take(position_B)
        old2_B = self.weight_M[place_B]
        now2_B = old2_B
        if self._unseen:
            unseen = torch.tensor(self._unseen, device=self.space.device)
            now2_B = torch.minimum(now2_B, points.nearest2(self.space.take(unseen)))
            now2_B = now2_B.masked_fill(torch.isin(position_B, unseen), 0.0)
        distances2_BB = points.distances2(points).masked_fill_(position_B[:, None] == position_B, 0.0)
        chosen = _accepted(old2_B, now2_B, distances2_BB, limit, self.rng)
        found = position_B[torch.tensor(chosen, dtype=torch.int64, device=self.space.device)].tolist()
        self.picks += found
        self._unseen += found
        if len(found) < min(limit, _STALE * _PROPOSALS):
            self.renew(torch.tensor(self._unseen, dtype=torch.int64, device=self.space.device))
        return True

    def filled(self, k: int) -> Tensor:
        """The picks, with a uniform draw of what is missing."""
        picks = torch.tensor(self.picks, dtype=torch.int64, device=self.space.device)
        left = self.candidates_M[~torch.isin(self.candidates_M, picks)]
        order = torch.from_numpy(self.rng.permutation(len(left))[: k - len(picks)]).to(self.space.device)
        return torch.cat([picks, left[order]])


def _accepted(old2_B: Tensor, now2_B: Tensor, distances2_BB: Tensor, limit: int, rng: np.random.Generator) -> list[int]:
    """Proposals accepted one after the other, each with probability present / old squared distance."""
    # A few kilobytes: as NumPy on the host, or each of the B steps would be several launches.
    now2 = now2_B.cpu().numpy().copy()
    distances2 = distances2_BB.cpu().numpy()
    threshold = rng.random(len(now2)) * old2_B.cpu().numpy()
    chosen: list[int] = []
    for proposal in range(len(now2)):
        if threshold[proposal] < now2[proposal]:
            chosen.append(proposal)
            np.minimum(now2, distances2[proposal], out=now2)
            if len(chosen) == limit:
                break
    return chosen


def _any(candidates_M: Tensor, rng: np.random.Generator) -> Tensor:
    return candidates_M[int(rng.integers(len(candidates_M)))]
