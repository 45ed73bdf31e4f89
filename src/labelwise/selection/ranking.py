"""The k highest scores. Dimension key: M candidates, K picks."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from labelwise.errors import DataError, NonFiniteScore
from labelwise.selection.arrays import ArrayLike, as_tensor, check_budget, real


def take_top(scores_M: ArrayLike, k: int, *, rng: np.random.Generator) -> Tensor:
    """Positions of the k highest scores, highest first.

    Equal scores are ordered by ``rng``, never by position: a model that is sure of everything scores thousands of
    images alike, and the order of a file listing must not choose among them.

    Args:
        scores_M: one score per candidate; higher = more wanted.
        k: number of picks, at most M.
        rng: breaks ties; same state, same picks.

    Returns:
        (k,) int64 positions into ``scores_M``, scores descending.

    Raises:
        ConfigError: more picks than scores.
        DataError: the scores are not one row of numbers.
        NonFiniteScore: a score is NaN or infinite; names the first positions. No score is ever repaired.

    Cost:
        O(M + k log k) time, O(M) memory.

    Example:
        >>> take_top([0.1, 0.9, 0.5], 2, rng=np.random.default_rng(0))
        tensor([1, 2])
    """
    scores = real(as_tensor(scores_M))
    if scores.ndim != 1:
        raise DataError(f"scores have shape {tuple(scores.shape)}; needed is one score per candidate")
    check_finite(scores)
    check_budget(k, len(scores))
    if k == 0:
        return torch.empty(0, dtype=torch.int64, device=scores.device)
    # topk leaves the choice among equals to the implementation, so take only the k-th value from it.
    lowest = scores.topk(k, sorted=False).values.min()
    above = torch.nonzero(scores > lowest).flatten()
    equal = torch.nonzero(scores == lowest).flatten()
    drawn = _shuffled(equal, rng)[: k - len(above)]
    # Shuffle, then sort stably: equal scores keep the shuffled order.
    picks = _shuffled(torch.cat([above, drawn]), rng)
    return picks[scores[picks].argsort(descending=True, stable=True)]


def check_finite(scores_M: Tensor) -> None:
    """Raise if a score is NaN or infinite.

    Raises:
        NonFiniteScore: names how many and the first positions.
    """
    bad = torch.nonzero(~torch.isfinite(scores_M)).flatten()
    if len(bad):
        raise NonFiniteScore(
            f"{len(bad)} of {len(scores_M)} scores are NaN or infinite (first positions: {bad[:5].tolist()}); "
            f"scores must be finite numbers"
        )


def _shuffled(positions: Tensor, rng: np.random.Generator) -> Tensor:
    order = torch.from_numpy(rng.permutation(len(positions)))
    return positions[order.to(positions.device)]
