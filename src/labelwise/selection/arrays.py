"""The edge of the functional core: arrays in, tensors on the same memory out, and row blocks of a large matrix.

Dimension key: N rows of the pool, P chosen positions, D features. Nothing in ``labelwise.select`` writes to an array
that it was given.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from labelwise.errors import ConfigError, DataError

ArrayLike: TypeAlias = Tensor | np.ndarray[Any, Any] | Sequence[Any]

# 2 MB of float32 at D = 512: a block and its products stay in a core's cache (measured, benchmarks/speed/selection.py).
_CPU_BLOCK_BYTES = 2 << 20
# A GPU wants large launches; 256 MB keeps the working memory far below any pool worth a GPU.
_CUDA_BLOCK_BYTES = 256 << 20


class _Writable:
    """The memory of a read-only array, announced as writable."""

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self.__array_interface__ = {**array.__array_interface__, "data": (array.ctypes.data, False)}
        self._keep_alive = array


def as_tensor(array: ArrayLike) -> Tensor:
    """The array as a tensor on the same memory; tensors keep their device and lose their gradient history.

    A read-only NumPy array or memory map is accepted without torch's warning about it, because nothing in this package
    writes to its inputs. Only what torch cannot represent is copied: negative strides, foreign byte order, lists.

    Args:
        array: numbers or booleans, of any shape.

    Returns:
        Tensor that shares memory with ``array`` where possible.

    Raises:
        DataError: the array holds objects, text or another type that torch has no numbers for.

    Cost:
        O(1); no copy.

    Example:
        >>> as_tensor(np.arange(3, dtype=np.float32))
        tensor([0., 1., 2.])
    """
    if isinstance(array, Tensor):
        return array.detach()
    if not hasattr(array, "__array__"):
        return torch.tensor(array)
    rows = np.asarray(array)
    if not rows.dtype.isnative:
        rows = rows.astype(rows.dtype.newbyteorder("="))
    if any(stride < 0 for stride in rows.strides):
        rows = np.ascontiguousarray(rows)
    if not rows.flags.writeable and rows.size:
        rows = np.asarray(_Writable(rows))
    try:
        return torch.from_numpy(rows)
    except TypeError:
        raise DataError(f"got an array of type {rows.dtype}; allowed are numbers and booleans") from None


def as_matrix(array: ArrayLike, what: str = "features") -> Tensor:
    """``as_tensor`` for a matrix of floating-point numbers, one row per item.

    Raises:
        DataError: not two-dimensional, no column, or not floating-point and not integer.
    """
    rows = as_tensor(array)
    if rows.ndim != 2 or rows.shape[1] == 0:
        raise DataError(f"{what} have shape {tuple(rows.shape)}; needed is (rows, columns) with at least one column")
    if rows.is_complex():
        raise DataError(f"{what} are complex; needed are real numbers")
    return rows if rows.is_floating_point() else rows.float()


def as_positions(positions: ArrayLike | None, size: int, what: str, *, device: torch.device | str = "cpu") -> Tensor:
    """Positions as an int64 tensor on ``device``; None means all ``size`` rows.

    Raises:
        DataError: not one-dimensional, not whole numbers, out of range, or a position twice.
    """
    if positions is None:
        return torch.arange(size, device=device)
    found = as_tensor(positions)
    if found.numel() == 0:
        return torch.empty(0, dtype=torch.int64, device=device)
    if found.ndim != 1 or found.is_floating_point() or found.is_complex() or found.dtype == torch.bool:
        raise DataError(f"{what} have type {found.dtype} and shape {tuple(found.shape)}; needed is one row of integers")
    found = found.to(device=device, dtype=torch.int64)
    low, high = int(found.min()), int(found.max())
    if low < 0 or high >= size:
        raise DataError(f"{what} reach from {low} to {high}; allowed is 0 to {size - 1}")
    if len(torch.unique(found)) != len(found):
        raise DataError(f"{what} name a position twice; each may appear once")
    return found


def free_candidates(candidates_M: ArrayLike | None, labelled_L: Tensor, size: int) -> Tensor:
    """The candidates given, or all of ``size`` rows that are not labelled.

    Raises:
        DataError: a candidate is labelled.
    """
    free_N = torch.ones(size, dtype=torch.bool, device=labelled_L.device)
    free_N[labelled_L] = False
    if candidates_M is None:
        return torch.nonzero(free_N).flatten()
    candidates = as_positions(candidates_M, size, "candidates", device=labelled_L.device)
    taken = candidates[~free_N[candidates]]
    if len(taken):
        raise DataError(f"{len(taken)} candidates are labelled already (first: {taken[:5].tolist()}); drop them")
    return candidates


def check_budget(k: int, available: int, what: str = "candidates") -> None:
    """Raise unless ``0 <= k <= available``.

    Raises:
        ConfigError: more picks than there are candidates, or fewer than none.
    """
    if not 0 <= k <= available:
        raise ConfigError(f"asked for {k} picks among {available} {what}; allowed is 0 to {available}")


def real(values: Tensor) -> Tensor:
    """The values in float32, or in float64 if that is what they are: no sum is ever taken in half precision."""
    return values if values.dtype == torch.float64 else values.float()


def block_rows(rows_ND: Tensor, width: int = 0) -> int:
    """Rows per block such that a float32 block with ``width`` more columns of results fits the block size."""
    budget = _CUDA_BLOCK_BYTES if rows_ND.is_cuda else _CPU_BLOCK_BYTES
    return max(64, budget // (4 * max(1, rows_ND.shape[1], width)))


def blocks(rows_ND: Tensor, size: int) -> Iterator[tuple[slice, Tensor]]:
    """Consecutive blocks of rows in float32, each with the slice it came from; float32 rows are not copied."""
    for start in range(0, rows_ND.shape[0], size):
        part = slice(start, min(start + size, rows_ND.shape[0]))
        yield part, rows_ND[part].float()


def squared_norms(rows_ND: ArrayLike, *, minus: Tensor | None = None) -> Tensor:
    """Squared Euclidean length of each row, in float32 whatever the rows are stored in.

    In half precision a row of 512 ordinary features already overflows or loses its third digit, hence the cast.

    Args:
        rows_ND: one row per item, (N, D).
        minus: a row to subtract from each first, (D,); the mean, as a rule.

    Returns:
        (N,) float32.

    Raises:
        DataError: a row holds NaN, infinity, or numbers whose square exceeds float32; names the first positions.

    Cost:
        O(N D) time, one block of memory.

    Example:
        >>> squared_norms(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
        tensor([25.,  0.])
    """
    rows = as_matrix(rows_ND)
    found_N = torch.empty(rows.shape[0], dtype=torch.float32, device=rows.device)
    for part, block in blocks(rows, block_rows(rows)):
        block = block if minus is None else block - minus
        found_N[part] = torch.linalg.vector_norm(block, dim=1).square()
    bad = torch.nonzero(~torch.isfinite(found_N)).flatten()
    if len(bad):
        raise DataError(
            f"{len(bad)} of {len(rows)} feature rows hold NaN, infinity or numbers too large for float32 "
            f"(first positions: {bad[:5].tolist()}); mend or drop them"
        )
    return found_N
