"""The rows most like some examples, and the rows least like any other.

Dimension key: N rows of the pool, Q examples, D features, K rows found, B rows of a block, R rows compared with.

Alike is measured by the cosine of two rows. A row of zeros has no direction: its cosine with anything is 0.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from labelwise.errors import ConfigError, DataError
from labelwise.selection.arrays import ArrayLike, as_matrix, as_positions, block_rows, blocks
from labelwise.selection.neighbours import nearest
from labelwise.selection.progress import report

# Cosines of float32 products that lie closer than this are told apart in float64: five times what rounding was
# measured to do to rows of 4096 features.
_CLOSE = 2e-6
# Rows whose cosines were summed in another order differ by less than this: they are alike, and the first comes first.
_TIED = 1e-12
# Rows that each row is compared with by ``outlyingness``, at most: all of a pool this large, a sample of a larger one.
COMPARED = 16_384


class Alike(NamedTuple):
    """Rows like the examples, the most alike first; of equally alike ones the first row."""

    index_K: Tensor
    """(K,) int64: rows of the pool."""
    cosine_K: Tensor
    """(K,) float64, in [-1, 1]: with the example that the row is most like."""
    example_K: Tensor
    """(K,) int64: which example that is; of equally alike ones the first."""


def most_alike(features_ND: ArrayLike, examples_QD: ArrayLike, k: int, *, without: ArrayLike | None = None) -> Alike:
    """The k rows most like any of the examples, exactly.

    ``score_i = max_q <x_i, e_q> / (|x_i| |e_q|)``: a row counts that is like one of the examples, not one that is a
    little like all.

    Args:
        features_ND: one row per item; any float type, memory maps included.
        examples_QD: one row per example, of the same features.
        k: rows wanted, 1 and more; all there are where these are fewer.
        without: positions that are not to be found, such as those of the examples.

    Raises:
        ConfigError: ``k`` below 1.
        DataError: rows or examples that are not finite, another number of features, no example, one of zeros.

    Cost:
        2 N D Q operations and one pass over the rows, in blocks: no copy of the features. Rows as alike as the last
        one found, up to rounding, are looked at once more in float64.

    Example:
        >>> found = most_alike([[1.0, 0.0], [1.0, 1.0], [0.0, 3.0], [2.0, 0.0]], [[5.0, 0.0]], 3)
        >>> found.index_K.tolist(), [round(c, 3) for c in found.cosine_K.tolist()]
        ([0, 3, 1], [1.0, 1.0, 0.707])
    """
    if k < 1:
        raise ConfigError(f"asked for {k} rows like the examples; allowed is 1 and more")
    rows_ND, examples = as_matrix(features_ND), as_matrix(examples_QD, "examples").double()
    if examples.shape[1] != rows_ND.shape[1]:
        raise DataError(
            f"examples have {examples.shape[1]} features and the rows {rows_ND.shape[1]}: take both of one backbone"
        )
    length_Q = torch.linalg.vector_norm(examples, dim=1)
    if not len(examples) or not bool(torch.isfinite(length_Q).all()) or not bool((length_Q > 0).all()):
        raise DataError("examples need features that are finite and not all zero, and there must be one at least")
    unit_QD = (examples / length_Q[:, None]).to(rows_ND.device)
    cosine_N = _best_cosines(rows_ND, unit_QD.float())
    kept_N = torch.ones(len(rows_ND), dtype=torch.bool, device=rows_ND.device)
    kept_N[as_positions([] if without is None else without, len(rows_ND), "rows left out", device=kept_N.device)] = (
        False
    )
    cosine_N = cosine_N.masked_fill(~kept_N, -torch.inf)
    count = min(k, int(kept_N.count_nonzero()))
    if not count:
        empty = torch.empty(0, dtype=torch.int64)
        return Alike(empty, torch.empty(0, dtype=torch.float64), empty)
    last = cosine_N.topk(count).values[-1]
    near_C = (cosine_N >= last - _CLOSE).nonzero().flatten()
    exact_C, example_C = _exact(rows_ND, near_C, unit_QD)
    # equal rows may be summed in different orders, whose last digits are no reason to prefer one of them
    order = np.lexsort((near_C.cpu().numpy(), -np.round(exact_C.cpu().numpy() / _TIED)))[:count]
    place = torch.from_numpy(order).to(near_C.device)
    return Alike(near_C[place].cpu(), exact_C[place].cpu(), example_C[place].cpu())


def _best_cosines(rows_ND: Tensor, unit_QD: Tensor) -> Tensor:
    """(N,) float32: of each row with the example it is most like.

    Raises:
        DataError: rows that are not finite.
    """
    found_N = torch.empty(len(rows_ND), device=rows_ND.device)
    size = block_rows(rows_ND, len(unit_QD))
    total = -(-len(rows_ND) // size)
    turned_DQ = unit_QD.T.contiguous()
    for number, (part, block_BD) in enumerate(blocks(rows_ND, size)):
        length_B = torch.linalg.vector_norm(block_BD, dim=1)
        best_B = (block_BD @ turned_DQ).amax(1)
        found_N[part] = torch.where(length_B > 0, best_B / length_B, length_B)
        report("comparing", number + 1, total)
    if len(bad := torch.nonzero(~torch.isfinite(found_N)).flatten()):
        raise DataError(
            f"{len(bad)} of {len(rows_ND)} feature rows hold NaN, infinity or numbers too large for float32 (first "
            f"positions: {bad[:5].tolist()}); mend or drop them"
        )
    return found_N


def _exact(rows_ND: Tensor, near_C: Tensor, unit_QD: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines of some rows in float64 and the example of each, (C,)."""
    cosines, examples = [], []
    for places in torch.split(near_C, block_rows(rows_ND, len(unit_QD))):
        rows_BD = rows_ND[places].double()
        length_B = torch.linalg.vector_norm(rows_BD, dim=1)
        cosine_BQ = rows_BD @ unit_QD.T / length_B.clamp_min(1e-300)[:, None]
        best_B = cosine_BQ.amax(1)
        cosines.append(best_B.clamp(-1.0, 1.0))
        examples.append((cosine_BQ >= best_B[:, None] - _TIED).int().argmax(1))
    return torch.cat(cosines), torch.cat(examples)


class Outlyingness(NamedTuple):
    """How far each row lies from the others."""

    score_N: Tensor
    """(N,) float32 in [0, 2]: 1 - the cosine with the k-th nearest row; higher = more of an outlier."""
    compared: int
    """Rows that each was compared with: all, or a sample."""


def outlyingness(
    features_ND: ArrayLike, k: int = 10, *, compared: int = COMPARED, rng: np.random.Generator
) -> Outlyingness:
    """How far each row lies from its k-th nearest, by cosine.

    ``score_i = 1 - cos(x_i, x_(k))`` with x_(k) the k-th nearest of the other rows. A few copies of an outlier do not
    hide it while they are fewer than k.

    Args:
        features_ND: one row per item; any float type, memory maps included.
        k: which neighbour, 1 and more; the last one there is where these are fewer.
        compared: larger pools are compared with so many of their rows, drawn at random; k then stays what it is, so
            that the k-th nearest of the sample stands for the ``k N / compared``-th of all.
        rng: draws them.

    Raises:
        ConfigError: ``k`` or ``compared`` below 1.
        DataError: rows that are not finite, or fewer than two.

    Cost:
        2 N R D operations (half where R = N) for R = min(N, compared), 12 k bytes a row, a few blocks.

    Example:
        >>> rows = [[1.0, 0.0], [1.0, 0.1], [1.0, -0.1], [0.0, 1.0]]
        >>> outlyingness(rows, 1, rng=np.random.default_rng(0)).score_N.argmax().item()
        3

    Reference:
        Ramaswamy, Rastogi and Shim, Efficient Algorithms for Mining Outliers from Large Data Sets, SIGMOD 2000; on
        features scaled to length one as Sun, Ming, Zhu and Li, Out-of-Distribution Detection with Deep Nearest
        Neighbors, ICML 2022.
    """
    rows_ND = as_matrix(features_ND)
    if compared < 1 or k < 1:
        raise ConfigError(f"k is {k} and rows to compare with {compared}; allowed is 1 and more of both")
    if len(rows_ND) < 2:
        raise DataError(f"an outlier lies far from others, and there are {len(rows_ND)} rows: give two at least")
    among = None
    if len(rows_ND) > compared:
        among = np.sort(rng.choice(len(rows_ND), compared, replace=False))
    distance2_NK = nearest(rows_ND, k, among=among, unit=True).distance2_QK
    return Outlyingness(distance2_NK[:, -1] / 2, min(compared, len(rows_ND)))
