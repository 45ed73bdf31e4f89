"""Random picks: uniform, stratified, and noise that turns a ranking into a sample.

Dimension key: M candidates, K picks.
"""

from __future__ import annotations

import heapq
import math
from typing import Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from labelwise.errors import ConfigError, DataError, unknown
from labelwise.selection.arrays import ArrayLike, as_tensor, check_budget
from labelwise.selection.ranking import check_finite

Noise: TypeAlias = Literal["power", "softmax", "softrank"]
NOISES: tuple[Noise, ...] = ("power", "softmax", "softrank")


def uniform(candidates_M: ArrayLike, k: int, *, rng: np.random.Generator) -> Tensor:
    """Draw k of the candidates, every subset and every order equally likely.

    Args:
        candidates_M: positions that may be picked.
        k: number of picks, at most M.
        rng: source of the draw.

    Returns:
        (k,) int64 positions, taken from ``candidates_M``.

    Raises:
        ConfigError: more picks than candidates.

    Cost:
        O(M).

    Example:
        >>> sorted(uniform([4, 7, 9], 3, rng=np.random.default_rng(0)).tolist())
        [4, 7, 9]
    """
    candidates = as_tensor(candidates_M).long()
    check_budget(k, len(candidates))
    return candidates[torch.from_numpy(rng.permutation(len(candidates))[:k]).to(candidates.device)]


def stratified(strata_M: ArrayLike, k: int, *, rng: np.random.Generator) -> Tensor:
    """Draw k candidates with as equal a share per stratum as the strata's sizes allow, random inside.

    Rounds: each takes one more random member of every stratum that has any left; the last round stops in a random
    order when k is reached. So two strata differ by more than one pick only where the smaller is used up, and every
    prefix of the picks is as balanced as the whole.

    Args:
        strata_M: stratum of each candidate: whole numbers, negative ones included (a class, a cluster, a folder).
        k: number of picks, at most M.
        rng: source of the draw.

    Returns:
        (k,) int64 positions into ``strata_M``, in the order of the rounds.

    Raises:
        ConfigError: more picks than candidates.

    Cost:
        O(M log M).

    Example:
        >>> picks = stratified([0, 0, 0, 0, 5, 5], 4, rng=np.random.default_rng(0))
        >>> sorted((picks >= 4).tolist())
        [False, False, True, True]
    """
    strata = as_tensor(strata_M)
    check_budget(k, strata.shape[0])
    drawn_M = torch.from_numpy(rng.permutation(len(strata))).to(strata.device)
    drawn_M = drawn_M[strata[drawn_M].argsort(stable=True)]
    ordered_M = strata[drawn_M].contiguous()
    round_M = torch.arange(len(strata), device=strata.device) - torch.searchsorted(ordered_M, ordered_M)
    turn_M = torch.from_numpy(rng.permutation(len(strata))).to(strata.device)
    return drawn_M[turn_M[round_M[turn_M].argsort(stable=True)]][:k]


def apportion(shares_C: ArrayLike, k: int, *, room_C: ArrayLike | None = None, rng: np.random.Generator) -> Tensor:
    """Deal k picks out to classes in proportion to their shares, none beyond its room.

    One pick after another goes to ``argmax_c share_c / (2 given_c + 1)`` among the classes with room left (Webster's
    rule): shares that come out whole are met exactly, the others up to rounding, and every prefix is as fair as the
    whole. A share of 0 is dealt to only when all others are full; equal claims go by ``rng``.

    Args:
        shares_C: zero or above, in any unit.
        k: picks to deal out, at most the sum of ``room_C``.
        room_C: most that each class can take; without limit by default.
        rng: order of equal claims.

    Returns:
        (k,) int64: the class that each pick goes to, in turn.

    Raises:
        ConfigError: more picks than room.
        DataError: a share that is negative or not finite.

    Cost:
        O(C + k log C).

    Example:
        >>> apportion([2.0, 1.0], 3, rng=np.random.default_rng(0)).tolist()
        [0, 1, 0]

    Reference:
        Balinski and Young, Fair Representation, 1982 (Webster's method).
    """
    shares = as_tensor(shares_C).double().cpu()
    if not bool((torch.isfinite(shares) & (shares >= 0)).all()):
        raise DataError(f"shares are {shares.tolist()[:6]}; needed are finite numbers, zero or above")
    room = torch.full((len(shares),), k) if room_C is None else as_tensor(room_C).cpu()
    check_budget(k, int(room.sum()))
    turn = rng.permutation(len(shares)).tolist()
    # the turn decides between equal claims only
    claims = [(-share, turn[c], c) for c, share in enumerate(shares.tolist()) if int(room[c])]
    heapq.heapify(claims)
    given = [0] * len(shares)
    dealt: list[int] = []
    while len(dealt) < k:
        _, order, c = claims[0]
        dealt.append(c)
        given[c] += 1
        if given[c] < int(room[c]):
            heapq.heapreplace(claims, (-float(shares[c]) / (2 * given[c] + 1), order, c))
        else:
            heapq.heappop(claims)
    return torch.tensor(dealt, dtype=torch.int64)


def perturb(scores_M: ArrayLike, *, how: Noise, coldness: float = 1.0, rng: np.random.Generator) -> Tensor:
    """Scores with Gumbel noise, whose k highest are a sample without replacement.

    Taking the top k of a score is one opinion k times: near-duplicates come together. Adding ``e ~ Gumbel(0, 1/beta)``
    and then taking the top k samples without replacement, with probability proportional to ``s^beta`` (``power``,
    adding to ``ln s``), ``exp(beta s)`` (``softmax``, adding to ``s``) or ``rank^-beta`` (``softrank``, adding to
    ``-ln rank``, rank 1 = highest). A coldness of 0 would be uniform, infinity the plain top k.

    Args:
        scores_M: one finite score per candidate; ``power`` needs them at zero or above.
        how: which of the three.
        coldness: beta, above zero.
        rng: source of the noise, and of the order of equal ranks.

    Returns:
        (M,) float64, to be given to ``take_top``; a zero score under ``power`` comes after all others.

    Raises:
        ConfigError: unknown ``how``, coldness not above zero.
        DataError: negative score under ``power``.
        NonFiniteScore: a score is NaN or infinite.

    Cost:
        O(M), ``softrank`` O(M log M).

    Example:
        >>> noisy = perturb([0.0, 1.0], how="power", coldness=4.0, rng=np.random.default_rng(0))
        >>> bool(noisy[1] > noisy[0])
        True

    Reference:
        Kirsch, Farquhar, Atighehchian, Jesson, Branchaud-Charron, Gal, Stochastic Batch Acquisition: A Simple Baseline
        for Deep Active Learning, TMLR 2023 (arXiv 2106.12059), section 3.1.
    """
    if how not in NOISES:
        raise unknown("noise", how, NOISES)
    if not (coldness > 0 and math.isfinite(coldness)):
        raise ConfigError(f"coldness is {coldness}; allowed is a finite number above 0")
    scores = as_tensor(scores_M).double()
    check_finite(scores)
    if how == "power":
        # what stands just below scores of zero, as an image without any object does, is as good as zero
        if len(scores) and float(scores.min()) < -torch.finfo(torch.float32).tiny:
            raise DataError(f"power noise got the score {float(scores.min())}; it needs zero and more: use softmax")
        # ln 0 is not finite; the smallest normal double keeps zero scores last and in the draw.
        scores = scores.clamp_min(torch.finfo(torch.float64).tiny).log()
    elif how == "softrank":
        scores = -_ranks(scores, rng).log()
    noise_M = torch.from_numpy(rng.gumbel(scale=1 / coldness, size=len(scores)))
    return scores + noise_M.to(scores.device)


def _ranks(scores_M: Tensor, rng: np.random.Generator) -> Tensor:
    """1 for the highest score, and so on; equal scores in the order of ``rng``."""
    order_M = torch.from_numpy(rng.permutation(len(scores_M))).to(scores_M.device)
    order_M = order_M[scores_M[order_M].argsort(descending=True, stable=True)]
    ranks_M = torch.empty_like(scores_M)
    ranks_M[order_M] = torch.arange(1, len(scores_M) + 1, dtype=scores_M.dtype, device=scores_M.device)
    return ranks_M
