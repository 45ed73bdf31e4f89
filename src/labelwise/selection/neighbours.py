"""Neighbours of rows: the k nearest, and all within a radius, by blocks of matrix products and never all pairs at once.

Dimension key: N rows of the pool, Q queries, A rows searched, B and C rows of two blocks, D features, K neighbours,
E directed pairs, F found entries of a block.

All rows against all rows is a symmetric product: each pair of blocks is multiplied once and read both ways, which
halves the work that a search index would do.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from labelwise.errors import ConfigError
from labelwise.selection.arrays import ArrayLike, as_positions
from labelwise.selection.progress import report
from labelwise.selection.space import ROUNDING, Points, Space

# Rows of each of the two blocks of a product; found by measuring, they change the time and never the result.
_CPU_TILE = 2048
_CUDA_TILE = 8192

# Entries of a row that may enter its list are merged one by one up to this number; above, the whole row is sorted.
_SPARSE = 64

#: directed pairs that ``within`` keeps unless told otherwise: half a gigabyte
MOST_PAIRS = 1 << 27


class Neighbours(NamedTuple):
    """The nearest rows of each query, nearest first."""

    index_QK: Tensor
    """(Q, K) int64: positions in the pool."""
    distance2_QK: Tensor
    """(Q, K) float32: squared distances, ascending."""


class Graph(NamedTuple):
    """Rows and their neighbours, in compressed rows: those of row i are ``target_E[first_N[i]:first_N[i + 1]]``."""

    first_N: Tensor
    """(N + 1,) int64."""
    target_E: Tensor
    """(E,) int32: positions, ascending within a row; a row is not its own neighbour."""

    def neighbours(self, position: int) -> Tensor:
        """Positions of one row's neighbours, ascending, int32."""
        return self.target_E[int(self.first_N[position]) : int(self.first_N[position + 1])]

    @property
    def degree_N(self) -> Tensor:
        """(N,) int64: number of neighbours."""
        return self.first_N.diff()


def nearest(
    features_ND: ArrayLike,
    k: int,
    *,
    queries: ArrayLike | None = None,
    among: ArrayLike | None = None,
    unit: bool = False,
) -> Neighbours:
    """The k nearest rows of each query, exactly.

    ``index_q = the k smallest |x_q - x_a| over a in among, a != q``. A row is never its own neighbour; its duplicates
    are, at distance 0. Rows nearer than rounding can tell (see ``selection.space``) count as duplicates. Which of
    equally near rows are kept, where not all fit, is fixed but unspecified: shuffle ``among`` to have it random.

    Args:
        features_ND: one row per item; any float type, memory maps included, each block computed in float32.
        k: neighbours wanted, 1 and more. Where fewer rows can be had the result has fewer columns:
            ``min(k, A)`` where no query is searched, ``min(k, A - 1)`` where one is.
        queries: positions whose neighbours are wanted; all rows by default.
        among: positions that may be neighbours; all rows by default.
        unit: compare rows scaled to length one.

    Returns:
        Positions (Q, K) int64 and squared distances (Q, K) float32, nearest first, in the order of ``queries``.

    Raises:
        ConfigError: ``k`` below 1.
        DataError: rows that are not finite, positions out of range or twice.

    Cost:
        2 Q A D operations, half of that where queries and searched rows are the same; 12 bytes times Q K for the
        result, and a few blocks.

    Example:
        >>> found = nearest([[0.0], [1.0], [2.5], [2.5]], 2)
        >>> found.index_QK[2:].tolist()
        [[3, 1], [2, 1]]
        >>> found.distance2_QK.tolist()
        [[1.0, 6.25], [1.0, 2.25], [0.0, 2.25], [0.0, 2.25]]
    """
    if k < 1:
        raise ConfigError(f"asked for {k} neighbours of each row; allowed is 1 and more")
    space = Space.of_unit(features_ND) if unit else Space.of(features_ND)
    asked_Q = as_positions(queries, len(space), "queries", device=space.device)
    searched_A = as_positions(among, len(space), "rows to search among", device=space.device)
    shared = bool(torch.isin(asked_Q, searched_A).any())
    lists = _Lists(min(k, max(0, len(searched_A) - shared)), 2 * ROUNDING * space.norms_N[asked_Q])
    if lists.width and torch.equal(asked_Q, searched_A):
        _search_each_other(space, asked_Q, lists)
    elif lists.width:
        _search(space, asked_Q, searched_A, lists)
    near2_QK = lists.near2_QK
    return Neighbours(searched_A[lists.place_QK], near2_QK.masked_fill_(near2_QK <= lists.rounding_Q[:, None], 0.0))


def within(
    features_ND: ArrayLike,
    radius: float,
    *,
    among: ArrayLike | None = None,
    unit: bool = False,
    most_pairs: int = MOST_PAIRS,
) -> Graph:
    """All pairs of rows at most a radius apart, as a graph.

    ``j in neighbours(i) exactly if |x_i - x_j| <= radius and i != j``: both directions are kept.

    Args:
        features_ND: one row per item; any float type, memory maps included, each block computed in float32.
        radius: largest distance (not squared), 0 and more; with 0, exact duplicates up to rounding.
        among: positions that take part; the others keep an empty row. All by default.
        unit: compare rows scaled to length one.
        most_pairs: more directed pairs than this are refused before they are stored, 4 bytes each.

    Returns:
        The graph over all N rows.

    Raises:
        ConfigError: a negative or infinite radius, or more pairs than ``most_pairs``.
        DataError: rows that are not finite, positions out of range or twice.

    Cost:
        N^2 D operations: each pair once; 4 bytes a directed pair for the result, 10 at the peak, and a few blocks.

    Example:
        >>> graph = within([[0.0], [1.0], [3.0], [3.0]], 1.5)
        >>> [graph.neighbours(row).tolist() for row in range(4)]
        [[1], [0], [3], [2]]
    """
    if not (radius >= 0 and math.isfinite(radius)):
        raise ConfigError(f"the radius is {radius}; allowed is a finite number, 0 and more")
    space = Space.of_unit(features_ND) if unit else Space.of(features_ND)
    rows_A = as_positions(among, len(space), "rows", device=space.device).sort().values
    # rows that rounding cannot tell apart are neighbours at any radius
    limit2_A = (2 * ROUNDING * space.norms_N[rows_A]).clamp_min(radius * radius)
    blocks = _blocks(len(rows_A), _tile(space))
    parts: dict[tuple[int, int], Tensor] = {}
    pairs = 0
    for left, right, distance2_BC in _pairs_of_blocks(space, rows_A, "neighbours"):
        near_BC = distance2_BC <= limit2_A[blocks[left], None]
        if left == right:
            # a product need not round <x, y> and <y, x> alike: a pair counts where both say so
            near_BC &= near_BC.T.clone()
            near_BC.fill_diagonal_(False)
        pairs += int(near_BC.count_nonzero()) * (1 if left == right else 2)
        if pairs > most_pairs:
            raise ConfigError(
                f"more than {most_pairs} pairs of {len(rows_A)} rows lie within {radius:g} of each other: give a "
                f"smaller radius"
            )
        # entries of a block fit 32 bits: a quarter of what two positions would take
        parts[left, right] = flat(near_BC).int()
    return _joined(parts, rows_A, len(space), blocks)


class _Lists:
    """The nearest found so far of each query, as places among the rows searched.

    Args:
        width: length of the lists.
        rounding_Q: squared distance below which a row counts as a duplicate of the query.
    """

    def __init__(self, width: int, rounding_Q: Tensor) -> None:
        self.width = width
        self.rounding_Q = rounding_Q
        self.near2_QK = torch.full((len(rounding_Q), width), torch.inf, device=rounding_Q.device)
        self.place_QK = torch.zeros((len(rounding_Q), width), dtype=torch.int64, device=rounding_Q.device)

    def closed(self, queries: slice) -> bool:
        """Nothing can enter: each of these queries has as many duplicates as were asked for."""
        return bool((self.near2_QK[queries, -1] <= self.rounding_Q[queries]).all())

    def offer(self, queries: slice, distance2_BC: Tensor, first: int) -> None:
        """Take in distances from a block of queries to the rows at places ``first`` and on."""
        farthest2_B = self.near2_QK[queries, -1]
        # nothing is nearer than a duplicate, whatever rounding says
        bound2_B = farthest2_B.masked_fill(farthest2_B <= self.rounding_Q[queries], -torch.inf)
        better_BC = distance2_BC < bound2_B[:, None]
        found = int(better_BC.count_nonzero())
        if not found:
            return
        if found > _SPARSE * len(better_BC):
            self._merge(queries, *_sorted_rows(distance2_BC, self.width), first)
            return
        row_F, column_F = _entries(better_BC)
        count_B = torch.bincount(row_F, minlength=len(better_BC))
        widest = int(count_B.max())
        if widest > 4 * max(_SPARSE, self.width):
            self._merge(queries, *_sorted_rows(distance2_BC, self.width), first)
            return
        # entries come row by row: each row's are moved to the front of a narrow matrix
        rank_F = torch.arange(len(row_F), device=row_F.device) - (count_B.cumsum(0) - count_B)[row_F]
        near2_BW = torch.full((len(better_BC), widest), torch.inf, device=row_F.device)
        place_BW = torch.zeros(near2_BW.shape, dtype=torch.int64, device=row_F.device)
        near2_BW[row_F, rank_F] = distance2_BC[row_F, column_F]
        place_BW[row_F, rank_F] = column_F
        self._merge(queries, near2_BW, place_BW, first)

    def _merge(self, queries: slice, near2_BW: Tensor, place_BW: Tensor, first: int) -> None:
        near2_BW = torch.cat([self.near2_QK[queries], near2_BW], 1)
        place_BW = torch.cat([self.place_QK[queries], place_BW + first], 1)
        kept = near2_BW.topk(self.width, dim=1, largest=False)
        self.near2_QK[queries] = kept.values
        self.place_QK[queries] = place_BW.gather(1, kept.indices)


def flat(mask_BC: Tensor) -> Tensor:
    """Where a mask holds, as it lies in memory."""
    if mask_BC.is_cuda:
        return mask_BC.flatten().nonzero().flatten()
    # ten times faster than torch on the host (measured)
    return torch.from_numpy(np.flatnonzero(mask_BC.numpy()))


def _entries(mask_BC: Tensor) -> tuple[Tensor, Tensor]:
    """Rows and columns where a mask holds, row by row, also if the mask is the transpose of what lies in memory."""
    if mask_BC.is_contiguous():
        flat_F = flat(mask_BC)
        return flat_F // mask_BC.shape[1], flat_F % mask_BC.shape[1]
    flat_F = flat(mask_BC.T)
    row_F, column_F = flat_F % len(mask_BC), flat_F // len(mask_BC)
    order_F = row_F.argsort(stable=True)
    return row_F[order_F], column_F[order_F]


class _Product:
    """Squared distances of two blocks, in memory that is used again: fresh pages cost as much as the product."""

    def __init__(self, space: Space) -> None:
        self.memory = torch.empty(0, device=space.device)

    def distances2(self, points_B: Points, points_C: Points) -> Tensor:
        """(B, C), valid until the next call; rounding is left in it."""
        size = len(points_B) * len(points_C)
        if self.memory.numel() < size:
            self.memory = torch.empty(size, device=self.memory.device)
        found_BC = self.memory[:size].view(len(points_B), len(points_C))
        torch.mm(points_B.rows_AD, points_C.rows_AD.T, out=found_BC)
        return found_BC.mul_(-2).add_(points_C.norms_A).add_(points_B.norms_A[:, None])


def _sorted_rows(distance2_BC: Tensor, width: int) -> tuple[Tensor, Tensor]:
    found = distance2_BC.topk(min(width, distance2_BC.shape[1]), dim=1, largest=False)
    return found.values, found.indices


def _tile(space: Space) -> int:
    return _CUDA_TILE if space.rows_ND.is_cuda else _CPU_TILE


def _blocks(rows: int, tile: int) -> list[slice]:
    return [slice(start, min(start + tile, rows)) for start in range(0, rows, tile)]


def _pairs_of_blocks(
    space: Space, rows_A: Tensor, what: str, lists: _Lists | None = None
) -> Iterator[tuple[int, int, Tensor]]:
    """Squared distances of every two blocks of the rows, once: (number of one, number of the other, (B, C)).

    Each block with itself comes first, so that lists of neighbours start with good bounds where rows lie in order. Two
    blocks whose lists are closed are passed over: a pool of one image many times is not N x N work.
    """
    parts = _blocks(len(rows_A), _tile(space))
    total, done, product = len(parts) * (len(parts) + 1) // 2, 0, _Product(space)
    for shift in (0, 1):
        for left, part in enumerate(parts):
            points_B = space.take(rows_A[part])
            for right in range(left, left + 1) if shift == 0 else range(left + 1, len(parts)):
                if shift and lists is not None and lists.closed(part) and lists.closed(parts[right]):
                    continue
                points_C = points_B if left == right else space.take(rows_A[parts[right]])
                yield left, right, product.distances2(points_B, points_C)
                done += 1
                report(what, done, total)


def _search_each_other(space: Space, rows_A: Tensor, lists: _Lists) -> None:
    parts = _blocks(len(rows_A), _tile(space))
    for left, right, distance2_BC in _pairs_of_blocks(space, rows_A, "neighbours", lists):
        if left == right:
            distance2_BC.fill_diagonal_(torch.inf)
        else:
            lists.offer(parts[right], distance2_BC.T, parts[left].start)
        lists.offer(parts[left], distance2_BC, parts[right].start)


def _search(space: Space, asked_Q: Tensor, searched_A: Tensor, lists: _Lists) -> None:
    asked, searched = _blocks(len(asked_Q), _tile(space)), _blocks(len(searched_A), _tile(space))
    product = _Product(space)
    for number, queries in enumerate(asked):
        points_B = space.take(asked_Q[queries])
        for part in searched:
            distance2_BC = product.distances2(points_B, space.take(searched_A[part]))
            distance2_BC.masked_fill_(asked_Q[queries, None] == searched_A[part], torch.inf)
            lists.offer(queries, distance2_BC, part.start)
        report("neighbours", number + 1, len(asked))


def _joined(parts: dict[tuple[int, int], Tensor], rows_A: Tensor, rows: int, slices: list[slice]) -> Graph:
    """The graph whose entries were found block by block; a part is dropped once both its sides are read."""
    degree_A = torch.zeros(len(rows_A), dtype=torch.int64, device=rows_A.device)
    targets: list[Tensor] = []
    for number, part in enumerate(slices):
        keys: list[Tensor] = []
        for other, columns in enumerate(slices):
            entry_F = parts[min(number, other), max(number, other)].long()
            if number <= other:
                width = columns.stop - columns.start
                row_F, column_F = entry_F // width, entry_F % width
            else:
                width = part.stop - part.start
                row_F, column_F = entry_F % width, entry_F // width
                del parts[other, number]
            keys.append(row_F * len(rows_A) + column_F + columns.start)
        key_F = torch.cat(keys).sort().values
        degree_A[part] = torch.bincount(key_F // len(rows_A), minlength=part.stop - part.start)
        targets.append(rows_A[key_F % len(rows_A)].int())
    first_N = torch.zeros(rows + 1, dtype=torch.int64, device=rows_A.device)
    first_N[rows_A + 1] = degree_A
    empty = torch.empty(0, dtype=torch.int32, device=rows_A.device)
    return Graph(first_N.cumsum(0), torch.cat(targets) if targets else empty)
