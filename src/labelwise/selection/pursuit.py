"""Picks along a direction of which each takes its own part away. M candidates, S dimensions of a sketch, K picks."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from labelwise.selection.arrays import ArrayLike, as_tensor, check_budget, real
from labelwise.selection.ranking import check_finite


def pursued(scores_M: ArrayLike, sketch_MS: ArrayLike, k: int, *, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """The highest score, then the highest of what is left once its own gradient is out of the direction, and so on.

    With g the gradient of each candidate and d the direction, score = <g, d>. After a pick p, d loses what lies along
    g_p, so that score_i falls by <g_i, g_p> score_p / <g_p, g_p>: a twin of the pick has nothing left to give. Inner
    products are those of the sketch. A pick that scores below zero takes nothing away.

    Args:
        scores_M: of each candidate along the whole direction; higher = more wanted.
        sketch_MS: the gradient of each candidate in few dimensions; inner products count.
        k: number of picks, at most M.
        rng: breaks ties; same state, same picks.

    Returns:
        (k,) int64 positions in the order chosen, and (k,) what each scored when it was chosen.

    Raises:
        ConfigError: more picks than candidates.
        NonFiniteScore: a score is NaN or infinite.

    Cost:
        O(k M S) time, O(M S) memory.

    Example:
        >>> pursued([3.0, 2.9, 1.0], [[3.0, 0.0], [2.9, 0.0], [0.0, 1.0]], 2, rng=np.random.default_rng(0))[0]
        tensor([0, 2])

    Reference:
        Mallat and Zhang, "Matching Pursuits with Time-Frequency Dictionaries", 1993, with signs.
    """
    left_M, sketch = real(as_tensor(scores_M)).clone(), real(as_tensor(sketch_MS))
    check_finite(left_M)
    check_budget(k, len(left_M))
    order_M = torch.from_numpy(rng.permutation(len(left_M))).to(left_M.device)
    left_M, sketch_MS = left_M[order_M], sketch[order_M].to(left_M.dtype)  # among equals the first is taken
    picks_K, scores_K = torch.empty(k, dtype=torch.int64), torch.empty(k, dtype=left_M.dtype)
    taken_M = torch.zeros_like(left_M, dtype=torch.bool)
    for number in range(k):
        pick = int(left_M.masked_fill(taken_M, -torch.inf).argmax())
        picks_K[number], scores_K[number] = order_M[pick], left_M[pick]
        taken_M[pick] = True
        own_S, score = sketch_MS[pick], left_M[pick].clone()
        size = own_S.dot(own_S)
        if float(score) > 0 and float(size) > 0:
            left_M -= sketch_MS @ own_S * (score / size)
    return picks_K, scores_K
