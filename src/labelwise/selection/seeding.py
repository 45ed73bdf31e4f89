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
from labelwise.selection.progress import report
from labelwise.selection.space import Space

First: TypeAlias = Literal["uniform", "longest"]

# Proposals drawn at once. Their distances to each other are a matrix of this size.
_PROPOSALS = 128
# Below this share of accepted proposals the weights are brought up to date.
_STALE = 0.5
# Share of the whole weight that may lie on candidates whose weights are left as they are.
_LIGHT = 0.1


def plus_plus(
    features_ND: ArrayLike,
    k: int,
    *,
    factor_NC: ArrayLike | None = None,
    labelled_L: ArrayLike | None = None,
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
    weights and accepted with probability new / old (rejection sampling); when half of the proposals fail, the weights
    of the rows that hold nine tenths of the whole are renewed by one matrix product.

    Args:
        features_ND: one row per item; any float type.
        k: number of picks, at most the number of candidates.
        factor_NC: second factor, one row per item.
        labelled_L: rows that count as picked already; none by default.
        candidates_M: positions that may be picked; all that are not labelled by default.
        first: the first pick when nothing is labelled: ``uniform`` at random, or the ``longest`` row (BADGE), at
            random among equally long ones.
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
    labelled = as_positions([] if labelled_L is None else labelled_L, len(space), "labelled", device=space.device)
    candidates = free_candidates(candidates_M, labelled, len(space))
    check_budget(k, len(candidates))
    seeds = _Seeds(space, candidates, rng)
    if len(labelled):
        seeds.renew(labelled)
    elif k:
        if first == "longest":
            norms_M = (space.norms_N if factor_NC is not None else squared_norms(features_ND))[candidates]
            candidates = candidates[norms_M == norms_M.max()]
        seeds.accept(candidates[int(rng.integers(len(candidates)))].reshape(1))
    while len(seeds.picks) < k and seeds.draw(k - len(seeds.picks)):
        report("drawing", len(seeds.picks), k)
    return seeds.filled(k)


class _Seeds:
    """The picks so far, and for each candidate a weight: its squared distance to the picks that it knows of.

    What it does not know of can only lower it, and is made up for when the candidate is proposed. So renewals leave out
    the light candidates, however many they are, until they hold a share of the whole weight that counts.
    """

    def __init__(self, space: Space, candidates_M: Tensor, rng: np.random.Generator) -> None:
        self.space = space
        self.candidates_M = candidates_M
        self.rng = rng
        self.picks: list[int] = []
        self.weight_M = torch.full((len(candidates_M),), torch.inf, device=space.device)
        self._cumulative_M = torch.empty(0)
        self._heavy_M = torch.ones(len(candidates_M), dtype=torch.bool, device=space.device)
        # centres that no candidate knows of yet, and those that light ones may not know of
        self._new: list[int] = []
        self._unseen: list[int] = []

    def accept(self, positions_P: Tensor) -> None:
        """Take picks and renew all weights."""
        self.picks += positions_P.tolist()
        self.renew(positions_P)

    def renew(self, centres_P: Tensor) -> None:
        """Let every candidate know of these rows, the first ones."""
        self._new = self._unseen = centres_P.tolist()
        self._renew()

    def _renew(self) -> None:
        """Bring the heavy candidates up to date, and of the light ones those that weigh too much by now."""
        self._learn(self._heavy_M, self._new)
        while float(self.weight_M[~self._heavy_M].sum()) > _LIGHT * float(self.weight_M.sum()):
            risen_M = _heaviest(self.weight_M) & ~self._heavy_M
            self._learn(risen_M, self._unseen)
            self._heavy_M |= risen_M
        self._new = []
        if bool(self._heavy_M.all()):
            self._unseen = []
        self._heavy_M &= _heaviest(self.weight_M)
        # float64: a float32 running sum over a million rows would starve the last ones.
        self._cumulative_M = self.weight_M.double().cumsum(0)

    def _learn(self, mask_M: Tensor, centres: list[int]) -> None:
        places_A = mask_M.nonzero().flatten()
        centres_P = torch.tensor(centres, dtype=torch.int64, device=self.space.device)
        for some_P in torch.split(centres_P, self.space.centres):
            points = self.space.take(some_P)
            for part_B in torch.split(places_A, self.space.block):
                near2_B = self.space.take(self.candidates_M[part_B]).nearest2(points)
                self.weight_M[part_B] = torch.minimum(self.weight_M[part_B], near2_B)
        self.weight_M[torch.isin(self.candidates_M, centres_P)] = 0.0

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
        self._unseen = self._unseen + found
        self._new = self._new + found
        if len(found) < min(limit, _STALE * _PROPOSALS):
            self._renew()
        return True

    def filled(self, k: int) -> Tensor:
        """The picks, with a uniform draw of what is missing."""
        picks = torch.tensor(self.picks, dtype=torch.int64, device=self.space.device)
        left = self.candidates_M[~torch.isin(self.candidates_M, picks)]
        order = torch.from_numpy(self.rng.permutation(len(left))[: k - len(picks)]).to(self.space.device)
        return torch.cat([picks, left[order]])


def _heaviest(weight_M: Tensor) -> Tensor:
    """Mask of the fewest candidates that hold nearly all the weight; all where that is most of them."""
    high_to_low, order_M = weight_M.double().sort(descending=True, stable=True)
    count = int((high_to_low.cumsum(0) < (1 - _LIGHT / 4) * high_to_low.sum()).sum()) + 1
    heavy_M = torch.zeros_like(weight_M, dtype=torch.bool)
    heavy_M[order_M[: count if 2 * count < len(weight_M) else None]] = True
    return heavy_M


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
