"""Candidates whose class hangs on a few features: dropout at the input of a linear head.

Dimension key: N rows of the pool, M candidates, B rows of a block, T passes, C classes, D features, K picks.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from labelwise.errors import ConfigError, DataError
from labelwise.selection.arrays import ArrayLike, as_matrix, as_positions, as_tensor, check_budget
from labelwise.selection.clustering import kmeans_picks
from labelwise.selection.progress import report

# Bytes of masks at once.
_MASKS = 16 << 20


def disagreements(
    features_ND: ArrayLike,
    head: tuple[ArrayLike, ArrayLike],
    *,
    candidates_M: ArrayLike | None = None,
    passes: int = 3,
    rate: float = 0.75,
    rng: np.random.Generator,
) -> Tensor:
    """In how many passes with dropout on the features the predicted class is another than without.

    ``n_i = sum_t [argmax W (z_i * m_it / (1 - rate)) + b != argmax W z_i + b]`` with masks m of independent bits, zero
    with probability ``rate``. One class has no argmax: there the prediction is whether its logit is above zero.

    Args:
        features_ND: what the head reads, one row per item; any float type.
        head: its weight W (C, D), one row per class, and its bias b (C,).
        candidates_M: positions to look at; all by default. The others are never looked at.
        passes: T, 1 and more.
        rate: share of features dropped, above 0 and below 1.
        rng: source of the masks.

    Returns:
        (M,) int64, 0 to T, in the order of ``candidates_M``.

    Raises:
        ConfigError: passes or rate outside their range.
        DataError: shapes that do not fit, features that are not finite, positions out of range or twice.

    Cost:
        T M D random numbers on the host, 2 (T + 1) M C D operations, a few blocks of memory.

    Example:
        >>> features = [[5.0, 5.0], [5.0, -1.0]]
        >>> weight, bias = [[1.0, 0.0], [0.0, 0.9]], [0.0, 0.0]
        >>> disagreements(features, (weight, bias), passes=100, rate=0.4, rng=np.random.default_rng(0)).tolist()[1] < 50
        True

    Reference:
        Gupte, Aklilu, Nirschl, Yeung-Levy, Revisiting Active Learning in the Era of Vision Foundation Models, TMLR 2024
        (arXiv 2401.14555), the uncertainty of DropQuery.
    """
    if passes < 1 or not 0 < rate < 1:
        raise ConfigError(f"passes {passes}, rate {rate}; allowed are 1 and more, between 0 and 1")
    rows_ND = as_matrix(features_ND)
    candidates = as_positions(candidates_M, len(rows_ND), "candidates", device=rows_ND.device)
    weight = as_matrix(head[0], "weights").to(rows_ND.device).float()
    bias = as_tensor(head[1]).to(rows_ND.device).float()
    if weight.shape[1] != rows_ND.shape[1] or bias.shape != weight.shape[:1]:
        raise DataError(
            f"features have shape {tuple(rows_ND.shape)}, the weight {tuple(weight.shape)}, the bias "
            f"{tuple(bias.shape)}; needed are (N, D), (C, D) and (C,)"
        )
    found_M = torch.empty(len(candidates), dtype=torch.int64, device=rows_ND.device)
    width = rows_ND.shape[1]
    size = max(1, _MASKS // (4 * passes * width))
    for first in range(0, len(candidates), size):
        part = candidates[first : first + size]
        block_BD = torch.index_select(rows_ND, 0, part).float()
        _check_finite(block_BD, part)
        # Row by row from one stream, so that the size of the blocks changes nothing.
        kept_BTD = torch.from_numpy(rng.random((len(part), passes, width), dtype=np.float32) >= rate)
        dropped_BTD = block_BD[:, None] * kept_BTD.to(block_BD.device) / (1 - rate)
        plain_B = _predicted(torch.addmm(bias, block_BD, weight.T))
        with_dropout_BT = _predicted(torch.addmm(bias, dropped_BTD.flatten(0, 1), weight.T)).view(len(part), passes)
        found_M[first : first + size] = (with_dropout_BT != plain_B[:, None]).sum(1)
        report("passes with dropout", min(first + size, len(candidates)), len(candidates))
    return found_M


def dropout_picks(
    features_ND: ArrayLike,
    head: tuple[ArrayLike, ArrayLike],
    k: int,
    *,
    candidates_M: ArrayLike | None = None,
    passes: int = 3,
    rate: float = 0.75,
    rng: np.random.Generator,
) -> tuple[Tensor, Tensor]:
    """Clusters the candidates whose class changes in more than half of the passes; the nearest to each centroid.

    Where fewer than k change it that often, the bar falls by one pass until there are k, to none at last.

    Args:
        features_ND: as in ``disagreements``; also what is clustered.
        head: as in ``disagreements``.
        k: number of picks, at most the number of candidates.
        candidates_M: positions that may be picked; all rows by default.
        passes: as in ``disagreements``.
        rate: as in ``disagreements``.
        rng: source of the masks, seeds the clustering, orders ties.

    Returns:
        (k,) int64 positions, distinct, and for each the share of passes in which its class changed, (k,) float32.

    Raises:
        ConfigError: more picks than candidates, passes or rate outside their range.
        DataError: as ``disagreements``.

    Cost:
        That of ``disagreements``, and of ``kmeans`` among those whose class changes.

    Example:
        >>> rows, weight, bias = [[9.0, 0.0], [1.0, 0.9], [0.9, 1.0]], [[1.0, 0.0], [0.0, 1.0]], [0.0, 0.0]
        >>> picks, share = dropout_picks(rows, (weight, bias), 3, rng=np.random.default_rng(0))
        >>> sorted(picks.tolist())
        [0, 1, 2]

    Reference:
        Gupte et al., TMLR 2024, DropQuery: passes 3, rate 0.75. What to do with fewer candidates than picks is ours.
    """
    rows_ND = as_matrix(features_ND)
    candidates = as_positions(candidates_M, len(rows_ND), "candidates", device=rows_ND.device)
    check_budget(k, len(candidates))
    changed_M = disagreements(rows_ND, head, candidates_M=candidates, passes=passes, rate=rate, rng=rng)
    bar = passes // 2 + 1
    while int((changed_M >= bar).sum()) < k:
        bar -= 1
    picks_K = kmeans_picks(rows_ND, k, candidates_M=candidates[changed_M >= bar], rng=rng)
    changed_N = torch.zeros(len(rows_ND), device=rows_ND.device)
    changed_N[candidates] = changed_M.float()
    return picks_K, changed_N[picks_K] / passes


def _predicted(logits_BC: Tensor) -> Tensor:
    return (logits_BC[:, 0] > 0).long() if logits_BC.shape[1] == 1 else logits_BC.argmax(1)


def _check_finite(block_BD: Tensor, positions_B: Tensor) -> None:
    bad = torch.nonzero(~torch.isfinite(block_BD).all(1)).flatten()
    if len(bad):
        raise DataError(
            f"{len(bad)} rows hold NaN or infinity (first rows: {positions_B[bad[:5]].tolist()}); features must be "
            "finite"
        )
