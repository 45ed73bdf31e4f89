"""Where the model fails on a reference set, and what in the pool looks alike, by features and gradients.

A *descriptor* is a row [z | g]: pooled activations of some layers, then the pooled gradients of the loss with respect
to them, each layer (*level*) standardised over its own channels.

Dimension key: N rows of descriptors, R of the reference set, F failures, P centres among them, L channels of all
levels, W columns of a descriptor (L, or 2 L with gradients), Q ranks, K picks, C classes, B images of a batch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from labelwise.errors import DataError
from labelwise.selection.arrays import ArrayLike, as_matrix, as_positions, check_budget

#: of a block of similarities, in numbers: 32 MB
_BLOCK = 8 << 20
#: added to the standard deviation of a level, so that a dead one gives zeros
_DEAD = 1e-10
#: of the covariances, relative to their mean diagonal: with fewer copies than channels they have no inverse
_RIDGE = 1e-3


def standardised(levels: Sequence[Tensor], *, equal: bool = False) -> Tensor:
    """Levels side by side, each row of each level with mean 0 and variance 1 over its channels.

    A level whose channels are all alike (dead units, a single channel) gives zeros. The dot product of two rows is then
    sum_l (L_l - 1) rho_l, with rho_l the correlation of the two over the channels of level l.

    Args:
        levels: one (N, L_l) for each level.
        equal: divides each level by sqrt(L_l - 1), so that every level counts alike: the dot product is sum_l rho_l.

    Returns:
        (N, L) float32.

    Cost:
        O(N L).

    Example:
        >>> standardised([torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[5.0, 5.0]])])
        tensor([[-1.,  0.,  1.,  0.,  0.]])
    """
    parts = []
    for level in levels:
        rows = level.float()
        if rows.shape[1] < 2:
            parts.append(torch.zeros_like(rows))
            continue
        spread = rows.std(1, keepdim=True) + _DEAD
        scale = math.sqrt(rows.shape[1] - 1) if equal else 1.0
        parts.append((rows - rows.mean(1, keepdim=True)) / (spread * scale))
    return torch.cat(parts, dim=1)


@dataclass(frozen=True)
class FisherKernel:
    """Similarity of descriptors.

    ``sum``: z.z' + g.g', one matrix product. ``product``: (z.z')(g.g'), the Fisher kernel of a linear layer.

    Args:
        combine: ``sum`` or ``product``.
        features: for ``product``: how many columns are features; the others are gradients.

    Example:
        >>> one = torch.tensor([[1.0, 2.0]])
        >>> float(FisherKernel()(one, one)), float(FisherKernel("product", features=1)(one, one))
        (5.0, 4.0)
    """

    combine: Literal["sum", "product"] = "sum"
    features: int = 0

    def __call__(self, one_AW: Tensor, other_BW: Tensor) -> Tensor:
        """(A, B) float32."""
        if self.combine == "sum":
            return one_AW @ other_BW.T
        cut = self.features
        return (one_AW[:, :cut] @ other_BW[:, :cut].T) * (one_AW[:, cut:] @ other_BW[:, cut:].T)


SUM = FisherKernel()


def nearest_row(rows_BW: Tensor, keys_RW: Tensor, *, kernel: FisherKernel = SUM) -> Tensor:
    """For each row the most similar of the keys, exactly, block by block; of equals the first.

    Args:
        rows_BW: who asks.
        keys_RW: among whom; shuffle them where equals should be drawn.
        kernel: similarity.

    Returns:
        (B,) int64 into ``keys_RW``.

    Raises:
        DataError: there are no keys.

    Cost:
        O(B R W) time, one block of B x R similarities.

    Example:
        >>> nearest_row(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0], [2.0, 0.0]]))
        tensor([1])
    """
    if not len(keys_RW):
        raise DataError("the nearest of no rows was asked for: give at least one")
    step = max(1, _BLOCK // max(1, len(rows_BW)))
    best_B = rows_BW.new_full((len(rows_BW),), -torch.inf)
    found_B = torch.zeros(len(rows_BW), dtype=torch.int64, device=rows_BW.device)
    for start in range(0, len(keys_RW), step):
        similar_B, at_B = kernel(rows_BW, keys_RW[start : start + step]).max(1)
        better_B = similar_B > best_B
        best_B = torch.where(better_B, similar_B, best_B)
        found_B = torch.where(better_B, at_B + start, found_B)
    return found_B


def spread_centres(rows_FW: ArrayLike, k: int, *, kernel: FisherKernel = SUM, rng: np.random.Generator) -> Tensor:
    """Greedy k-centre among failures: a random one, then always the one least similar to all chosen so far.

    Args:
        rows_FW: descriptors of the failures.
        k: centres, at most F.
        kernel: similarity.
        rng: draws the first centre, and between equals.

    Returns:
        (k,) int64 positions, in the order chosen; for k = F all of them.

    Raises:
        ConfigError: more centres than failures.

    Cost:
        O(k F W): each centre is compared with all failures once.

    Example:
        >>> rows = torch.tensor([[1.0, 0.0], [0.9, 0.1], [-1.0, 0.0]])
        >>> sorted(spread_centres(rows, 2, rng=np.random.default_rng(0)).tolist()) != [0, 1]
        True

    Reference:
        Gudovskiy et al., CVPR 2020 (published code); the greedy rule of Sener and Savarese, ICLR 2018, with a
        similarity in place of a distance.
    """
    rows = as_matrix(rows_FW, "descriptors").float()
    check_budget(k, len(rows), "failures")
    order = torch.from_numpy(rng.permutation(len(rows))).to(rows.device)
    if k == len(rows):
        return order
    rows = rows[order]
    chosen = [0]
    closest_F = kernel(rows[:1], rows)[0]
    closest_F[0] = torch.inf
    while len(chosen) < k:
        chosen.append(int(closest_F.argmin()))
        closest_F = torch.maximum(closest_F, kernel(rows[chosen[-1:]], rows)[0])
        closest_F[chosen[-1]] = torch.inf
    return order[torch.tensor(chosen[:k], dtype=torch.int64, device=rows.device)]


def matches(
    rows_NW: ArrayLike,
    centres_PW: Tensor,
    k: int,
    *,
    candidates_M: ArrayLike | None = None,
    kernel: FisherKernel = SUM,
    rng: np.random.Generator,
) -> Tensor:
    """Candidates that look most like the centres: every centre's best match, then every centre's second, ...

    Within one rank the matches are ordered by similarity. A candidate counts once, at its best rank.

    Args:
        rows_NW: descriptors.
        centres_PW: what they are matched against, at least one.
        k: number of picks, at most M.
        candidates_M: rows that may be chosen; None: all.
        kernel: similarity.
        rng: orders equals.

    Returns:
        (k,) int64 rows, in the order chosen.

    Raises:
        ConfigError: more picks than candidates.
        DataError: there is no centre, or a row is not finite.

    Cost:
        O(M P W) time for each of the O(log(k / P)) times that the ranks are too few; a block of similarities, and P Q
        matches with Q ranks, Q about 4 k / P.

    Example:
        >>> rows = torch.tensor([[1.0, 0.0], [0.9, 0.0], [0.0, 1.0], [0.0, 0.8]])
        >>> matches(rows, torch.eye(2), 2, rng=np.random.default_rng(0)).sort().values
        tensor([0, 2])

    Reference:
        Gudovskiy et al., CVPR 2020 (published code). There the ranks are fixed, and run out where failures are few.
    """
    rows = as_matrix(rows_NW, "descriptors")
    candidates = as_positions(candidates_M, len(rows), "candidates", device=rows.device)
    check_budget(k, len(candidates))
    if not len(centres_PW):
        raise DataError("there is no centre to match: give at least one")
    # equals are met in a random order, so that neither the pool's nor the centres' decides
    candidates = candidates[torch.from_numpy(rng.permutation(len(candidates))).to(rows.device)]
    centres = centres_PW[torch.from_numpy(rng.permutation(len(centres_PW))).to(centres_PW.device)].float()
    ranks = min(len(candidates), max(8, 4 * math.ceil(k / len(centres))))
    while True:
        found = _merged(*_ranked(rows, candidates, centres, ranks, kernel))
        if len(found) >= k or ranks == len(candidates):
            return candidates[found[:k]]
        ranks = min(len(candidates), 4 * ranks)


def _ranked(
    rows: Tensor, candidates: Tensor, centres: Tensor, ranks: int, kernel: FisherKernel
) -> tuple[Tensor, Tensor]:
    """Similarity and candidate of each centre's best matches, (P, Q) each, best first."""
    several = max(1, min(len(centres), _BLOCK // max(1, 2 * ranks)))
    step = max(ranks, _BLOCK // several)
    best, where = [], []
    for first in range(0, len(centres), several):
        some = centres[first : first + several]
        kept, at = some.new_empty(len(some), 0), candidates.new_empty(len(some), 0)
        for start in range(0, len(candidates), step):
            block = kernel(some, rows[candidates[start : start + step]].float())
            if not bool(torch.isfinite(block).all()):
                raise DataError("a descriptor holds NaN or infinity: did the training diverge?")
            numbers = torch.arange(start, start + block.shape[1], device=rows.device).expand(len(some), -1)
            together = torch.cat([kept, block], dim=1)
            kept, order = together.topk(min(ranks, together.shape[1]), dim=1)
            at = torch.cat([at, numbers], dim=1).gather(1, order)
        best.append(kept)
        where.append(at)
    return torch.cat(best), torch.cat(where)


def _merged(similar_PQ: Tensor, at_PQ: Tensor) -> Tensor:
    """Distinct candidates, rank by rank, the most similar of a rank first."""
    order_PQ = similar_PQ.argsort(dim=0, descending=True, stable=True)
    listed = at_PQ.gather(0, order_PQ).T.flatten().cpu().numpy()
    _, first = np.unique(listed, return_index=True)
    return torch.from_numpy(listed[np.sort(first)]).to(at_PQ.device)


# ---- which class stands behind a gradient ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Moments:
    """Second moments of features and of each class's gradients over perturbed copies of an image.

    Args:
        zz_BLL: sum of z z' over the copies.
        gg_BCLL: of g_c g_c'.
        zg_BCLL: of z g_c'.
        copies: how many.
    """

    zz_BLL: Tensor
    gg_BCLL: Tensor
    zg_BCLL: Tensor
    copies: int


def information(moments: Moments, *, faithful: bool = False) -> Tensor:
    """I_c = logdet Czz + logdet Cgg,c - logdet C[z;g],c: what features and the gradient of class c know of one another.

    Args:
        moments: not centred, as published.
        faithful: sums of moments with 1e-8 on the diagonal, in which a matrix of too low a rank has a pivot of 1e-44.
            Otherwise means, each matrix with a thousandth of its mean diagonal added.

    Returns:
        (B, C) float64, without the factor 1/2 of Gaussians.

    Cost:
        O(B C L^3).

    Reference:
        Gudovskiy et al., CVPR 2020 (published code).
    """
    zz, gg, zg = (part.double() for part in (moments.zz_BLL[:, None], moments.gg_BCLL, moments.zg_BCLL))
    zz = zz.expand(-1, gg.shape[1], -1, -1)
    if not faithful:
        # features and gradients have scales of their own, and a ridge is relative to one
        zz, gg = zz / moments.copies, gg / moments.copies
        scale_z, scale_g = (_scale(part) for part in (zz, gg))
        zz, gg, zg = zz / scale_z, gg / scale_g, zg / moments.copies / (scale_z * scale_g).sqrt()
    joint = torch.cat([torch.cat([zz, zg], dim=-1), torch.cat([zg.mT, gg], dim=-1)], dim=-2)
    ridge = 1e-8 if faithful else _RIDGE
    return _logdet(zz, ridge) + _logdet(gg, ridge) - _logdet(joint, ridge)


def _scale(matrix: Tensor) -> Tensor:
    return matrix.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None].clamp_min(1e-300)


def _logdet(matrix: Tensor, ridge: float) -> Tensor:
    eye = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    pivots = torch.linalg.cholesky_ex(matrix + ridge * eye)[0].diagonal(dim1=-2, dim2=-1).square()
    # beyond a pivot that is not positive the factor means nothing
    pivots = torch.where(torch.isfinite(pivots) & (pivots > 0), pivots, 1e-44)
    return pivots.log().sum(-1)


def information_diagonal(zz_BL: Tensor, gg_BCL: Tensor, zg_BCL: Tensor, *, faithful: bool = False) -> Tensor:
    """The same for channels by themselves: I_c = -sum_l ln(1 - r_lc^2), r the (uncentred) correlation of z_l and g_lc.

    Args:
        zz_BL: sum of z_l^2 over the copies.
        gg_BCL: of g_lc^2.
        zg_BCL: of z_l g_lc.
        faithful: the published form, in which the joint matrix is cut down to its diagonal too: the three terms cancel,
            and what is left is rounding.

    Returns:
        (B, C) float64.

    Cost:
        O(B C L).
    """
    zz, gg, zg = zz_BL.double()[:, None], gg_BCL.double(), zg_BCL.double()
    if faithful:
        alone = (zz + 1e-8).log().sum(-1) + (gg + 1e-8).log().sum(-1)
        joint = torch.cat([zz.expand_as(gg), gg], dim=-1) + 1e-8
        return alone - joint.log().sum(-1)
    r2 = zg.square() / (zz * gg).clamp_min(1e-300)
    return -(1 - r2.clamp(0, 1) * (1 - _RIDGE)).log().sum(-1)
