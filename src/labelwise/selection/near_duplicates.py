"""Groups of near-duplicates: rows that hang together by cosines of a threshold and more, without all pairs at once.

Dimension key: N rows of the pool, M rows that differ, D features, P principal axes, E pairs, C cells, B and A rows of
two blocks.

A product over all D features is what all pairs cost most. Here each row is turned onto its first P principal axes, and
what is left of its length becomes one more number: for rows of length one that is again a row of length one, and the
product of two such rows is never below their cosine (Cauchy and Schwarz). So few numbers rule out nearly all pairs, and
those that are left are looked at in full, in float64. Nothing is lost by it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from labelwise.errors import ConfigError
from labelwise.selection.arrays import ArrayLike, as_matrix, block_rows, blocks, squared_norms
from labelwise.selection.clustering import Search, kmeans
from labelwise.selection.neighbours import flat
from labelwise.selection.progress import report

#: rows up to which every pair is looked at
EXACT = 1 << 17
# What rounding may take from a product of rows of length one in float32, several times over.
_SLACK = 1e-5
# Cosines are compared with the threshold to this many digits: equal rows have a cosine of 1 but for the last ones.
_TIED = 1e-9
# Rows of a product.
_TILE = 2048
# Pairs that are looked at in full before groups are joined: pairs within a group that is known are passed over.
_AT_ONCE = 1 << 15
# Rows that say how many axes are enough, and the share of their pairs that may pass though they are no duplicates.
_SAMPLE, _PASSING = 2048, 1e-5
_AXES = (32, 64, 128, 256)
# Rows whose second moments give the axes.
_MOMENTS = 16_384
# Cells of a large pool: rows of a cell on average, rows that place the cells, and cells in which a row is looked for.
_IN_CELL, _PLACED, _PROBES = 512, 65_536, 8
# Rows of a large pool whose pairs are all looked at, to say how many the cells miss.
_AUDITED = 1024


@dataclass(frozen=True)
class Groups:
    """Which rows belong together.

    Args:
        group_N: (N,) int64, the number of the group of each row; -1 for a row by itself. Groups are numbered by
            their first rows.
        exact: every pair was looked at.
        audited: rows of which every pair was looked at, where not all were.
        links: near-duplicates that these rows have.
        found: how many of those links the search knew of.
    """

    group_N: Tensor
    exact: bool
    audited: int = 0
    links: int = 0
    found: int = 0

    def members(self) -> list[list[int]]:
        """Rows of each group, ascending, by the number of the group."""
        grouped = (self.group_N >= 0).nonzero().flatten()
        found: list[list[int]] = [[] for _ in range(int(self.group_N.max()) + 1 if len(grouped) else 0)]
        for row, group in zip(grouped.tolist(), self.group_N[grouped].tolist(), strict=True):
            found[group].append(row)
        return found


def near_duplicates(
    features_ND: ArrayLike, threshold: float, *, exact_up_to: int = EXACT, rng: np.random.Generator
) -> Groups:
    """Groups of rows that are near-duplicates of one another.

    Two rows are linked where ``cos(x, y) >= threshold``; a group is a connected component of these links. So a group
    may be a chain: a is like b and b like c, and a may be less like c than the threshold. Two rows of zeros are linked
    to each other, and to nothing else.

    Args:
        features_ND: one row per item; any float type, memory maps included.
        threshold: smallest cosine of a link, above 0 and at most 1 (the same direction).
        exact_up_to: in a pool with more rows that differ than this, a row is compared with those of the cells of a
            k-means clustering that it lies nearest to, and the share of links that this misses is measured on a
            sample. Equal rows are always found.
        rng: draws samples and seeds the clustering.

    Raises:
        ConfigError: a threshold outside its range.
        DataError: rows that are not finite.

    Cost:
        M^2 P operations for the M <= ``exact_up_to`` rows that differ; above, about 2 M (C + 8 * 512) P for C = M / 512
        cells. P is the smallest of 32, 64, 128 and 256 axes, or all D, that tells nearly all other pairs of a sample
        apart. 4 (P + 1) bytes a row. Pairs within a group that is known are not looked at, so a pool of one image
        many times costs little; a threshold that links much of the pool in pairs costs 2 D for each pair.

    Example:
        >>> rows = [[1.0, 0.0], [0.0, 1.0], [1.0, 0.01], [2.0, 0.0]]
        >>> near_duplicates(rows, 0.99, rng=np.random.default_rng(0)).group_N.tolist()
        [0, -1, 0, 0]
    """
    if not 0 < threshold <= 1:
        raise ConfigError(f"the threshold is {threshold:g}; allowed is a cosine above 0, 1 at most")
    rows_ND = as_matrix(features_ND)
    pool = _Linking(rows_ND, threshold)
    differing_M = pool.join_equals()
    if len(differing_M) < 2:
        return Groups(pool.numbered(), exact=True)
    short_MP = _shortened(pool, differing_M, rng)
    if len(differing_M) <= exact_up_to:
        _all_pairs(pool, short_MP, differing_M)
        return Groups(pool.numbered(), exact=True)
    home_M, near_MA = _cells(short_MP, rng)
    _within_cells(pool, short_MP, differing_M, home_M, near_MA)
    audited, links, found = _audit(pool, short_MP, differing_M, (home_M, near_MA), rng)
    return Groups(pool.numbered(), exact=False, audited=audited, links=links, found=found)


class _Linking:
    """Rows, and the groups that are known of them so far.

    Args:
        rows_ND: of the pool.
        threshold: smallest cosine of a link.
    """

    def __init__(self, rows_ND: Tensor, threshold: float) -> None:
        self.rows_ND = rows_ND
        self.threshold = threshold
        length2_N = squared_norms(rows_ND)
        self.scale_N = torch.where(length2_N > 0, length2_N.rsqrt(), 0.0)
        self.label_N = np.arange(len(rows_ND))
        self._waiting: list[np.ndarray] = []
        self._count = 0

    def join_equals(self) -> Tensor:
        """Joins rows that are equal bit by bit, and all rows of zeros; returns the first of each, ascending."""
        key_N = _keys(self.rows_ND).numpy()
        key_N[(self.scale_N == 0).cpu().numpy()] = 0
        order = np.argsort(key_N, kind="stable")
        same = np.flatnonzero(key_N[order][1:] == key_N[order][:-1])
        pairs = np.stack([order[same], order[same + 1]])
        self._join(pairs[:, self._equal(pairs)])
        first = np.unique(self.label_N, return_index=True)[1]
        scale = self.scale_N.cpu().numpy()
        return torch.from_numpy(np.sort(first[scale[first] > 0])).to(self.rows_ND.device)

    def _equal(self, pairs_2E: np.ndarray) -> np.ndarray:
        equal = [np.empty(0, dtype=bool)]
        for start in range(0, pairs_2E.shape[1], _AT_ONCE):
            left, right = (self.rows_ND[torch.from_numpy(side[start : start + _AT_ONCE])] for side in pairs_2E)
            equal.append((left == right).all(1).cpu().numpy())
        return np.concatenate(equal)

    def together(self, rows_B: np.ndarray, rows_A: np.ndarray) -> bool:
        """Whether all of these rows are known to be of one group."""
        first = self.label_N[rows_B[0]]
        return bool((self.label_N[rows_B] == first).all() and (self.label_N[rows_A] == first).all())

    def offer(self, left_E: np.ndarray, right_E: np.ndarray) -> None:
        """Pairs of rows that may be linked: they are looked at in full once there are many of them."""
        for start in range(0, len(left_E), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            self._waiting.append(np.stack([left_E[part], right_E[part]]))
            self._count += self._waiting[-1].shape[1]
            if self._count >= _AT_ONCE:
                self.settle()

    def settle(self) -> None:
        """Looks at all pairs that wait."""
        if not self._waiting:
            return
        pairs = np.concatenate(self._waiting, axis=1)
        self._waiting, self._count = [], 0
        pairs = pairs[:, self.label_N[pairs[0]] != self.label_N[pairs[1]]]
        self._join(pairs[:, self.linked(pairs[0], pairs[1])])

    def linked(self, left_E: np.ndarray, right_E: np.ndarray) -> np.ndarray:
        """(E,) whether the rows of each pair are linked, in float64."""
        found = [np.empty(0, dtype=bool)]
        for start in range(0, len(left_E), _TILE):
            part = slice(start, start + _TILE)
            left, right = (self.rows_ND[torch.from_numpy(side[part])].double() for side in (left_E, right_E))
            length = torch.linalg.vector_norm(left, dim=1) * torch.linalg.vector_norm(right, dim=1)
            found.append(((left * right).sum(1) >= (self.threshold - _TIED) * length).cpu().numpy())
        return np.concatenate(found)

    def _join(self, pairs_2E: np.ndarray) -> None:
        if not pairs_2E.shape[1]:
            return
        # groups that a pair joins, and not rows: there are far fewer of these
        named, ends = np.unique(self.label_N[pairs_2E], return_inverse=True)
        ends = ends.reshape(2, -1)
        graph = coo_matrix((np.ones(ends.shape[1], bool), (ends[0], ends[1])), (len(named), len(named)))
        part = connected_components(graph, directed=False)[1]
        least = np.full(part.max() + 1, np.iinfo(np.int64).max)
        np.minimum.at(least, part, named)
        renamed = np.arange(len(self.label_N))
        renamed[named] = least[part]
        self.label_N = renamed[self.label_N]

    def numbered(self) -> Tensor:
        """(N,) number of the group of each row, -1 for those by themselves."""
        self.settle()
        names, group_N, size = np.unique(self.label_N, return_inverse=True, return_counts=True)
        number = np.where(size > 1, np.cumsum(size > 1) - 1, -1)  # names are first rows, so they come in order
        return torch.from_numpy(number[group_N.reshape(-1)]) if len(names) else torch.empty(0, dtype=torch.int64)


def _keys(rows_ND: Tensor) -> Tensor:
    """(N,) int64: the same for rows that are equal bit by bit, and seldom for others."""
    rng = np.random.default_rng(0)
    factor_D = torch.from_numpy(rng.integers(1, 1 << 62, rows_ND.shape[1]) | 1)
    whole = {2: torch.int16, 4: torch.int32, 8: torch.int64}[rows_ND.element_size()]
    key_N = torch.empty(len(rows_ND), dtype=torch.int64)
    size = block_rows(rows_ND)
    for start in range(0, len(rows_ND), size):
        bits = rows_ND[start : start + size].cpu().contiguous().view(whole)
        key_N[start : start + size] = (bits.long() * factor_D).sum(1)
    return key_N


def _shortened(pool: _Linking, differing_M: Tensor, rng: np.random.Generator) -> Tensor:
    """(M, P + 1) float32, rows of length one whose products are never below the cosines of the rows."""
    rows_ND, width = pool.rows_ND, pool.rows_ND.shape[1]

    def some(most: int) -> Tensor:
        chosen = rng.choice(len(differing_M), min(most, len(differing_M)), replace=False)
        place = differing_M[torch.from_numpy(np.sort(chosen)).to(differing_M.device)]
        return rows_ND[place].float() * pool.scale_N[place, None]

    axes_DD = torch.eye(width, device=rows_ND.device)
    if width > _AXES[0]:
        sample_BD = some(_MOMENTS)
        # the largest axes of the second moments, about zero: what is left beside them is what the products lose
        axes_DD = torch.linalg.eigh((sample_BD.T @ sample_BD).double()).eigenvectors.flip(1).float()
    axes = _enough(some(_SAMPLE) @ axes_DD, pool.threshold)
    short_MP = torch.empty((len(differing_M), axes + 1), device=rows_ND.device)
    size = block_rows(rows_ND)
    for start in range(0, len(differing_M), size):
        place = differing_M[start : start + size]
        block_BD = rows_ND[place].float() * pool.scale_N[place, None]
        short_MP[start : start + size] = _with_rest(block_BD @ axes_DD[:, :axes])
    return short_MP


def _with_rest(turned_BP: Tensor) -> Tensor:
    """(B, P + 1): rows, and what they lack to a length of one."""
    rest_B = (1 - turned_BP.square().sum(1)).clamp_min(0).sqrt()
    return torch.cat([turned_BP, rest_B[:, None]], dim=1)


def _enough(turned_BD: Tensor, threshold: float) -> int:
    """How many of the axes tell nearly all pairs apart that are no duplicates."""
    linked_BB = turned_BD @ turned_BD.T >= threshold - _SLACK
    for axes in (axes for axes in _AXES if axes < turned_BD.shape[1]):
        short = _with_rest(turned_BD[:, :axes])
        passing_BB = (short @ short.T >= threshold - _SLACK) & ~linked_BB
        if int(passing_BB.count_nonzero()) <= _PASSING * passing_BB.numel():
            return axes
    return turned_BD.shape[1]


def _all_pairs(pool: _Linking, short_MP: Tensor, differing_M: Tensor) -> None:
    """Every pair, in blocks; blocks whose rows are all of one group are passed over."""
    parts = [slice(start, start + _TILE) for start in range(0, len(short_MP), _TILE)]
    rows = differing_M.cpu().numpy()
    total, done = len(parts) * (len(parts) + 1) // 2, 0
    # neighbouring rows first: copies often lie side by side, and what they join need not be looked at again
    for shift in range(len(parts)):
        for left in range(len(parts) - shift):
            _look(pool, short_MP, rows, parts[left], parts[left + shift])
            done += 1
            report("comparing pairs", done, total)
    pool.settle()


def _look(pool: _Linking, short_MP: Tensor, rows: np.ndarray, left: slice, right: slice) -> None:
    if pool.together(rows[left], rows[right]):
        return
    near_BA = short_MP[left] @ short_MP[right].T >= pool.threshold - _SLACK
    if left == right:
        near_BA = near_BA.triu(1)
    entry_E = flat(near_BA).cpu().numpy()
    width = near_BA.shape[1]
    pool.offer(rows[left][entry_E // width], rows[right][entry_E % width])


def _cells(short_MP: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """(M,) the cell of each row, and (M, probes) the cells in which it is looked for."""
    cells = max(2, len(short_MP) // _IN_CELL)
    among = np.sort(rng.choice(len(short_MP), min(_PLACED, len(short_MP)), replace=False))
    placed = torch.from_numpy(among).to(short_MP.device)
    found = kmeans(short_MP[placed], cells, rng=rng, search=Search(iterations=4, restarts=1, start="random"))
    centres_CP = found.centroids_KD
    offset_C = centres_CP.square().sum(1) / 2
    near_MA = torch.empty((len(short_MP), min(_PROBES, cells)), dtype=torch.int64, device=short_MP.device)
    total = -(-len(short_MP) // _TILE)
    for number, (part, block_BP) in enumerate(blocks(short_MP, _TILE)):
        near_MA[part] = (block_BP @ centres_CP.T - offset_C).topk(near_MA.shape[1], dim=1).indices
        report("placing rows in cells", number + 1, total)
    return near_MA[:, 0], near_MA


def _members(cell_E: Tensor, cells: int) -> Iterator[Tensor]:
    """Places at which each cell stands, cell by cell."""
    order_E = cell_E.argsort(stable=True)
    yield from torch.split(order_E, torch.bincount(cell_E, minlength=cells).tolist())


def _within_cells(pool: _Linking, short_MP: Tensor, differing_M: Tensor, home_M: Tensor, near_MA: Tensor) -> None:
    """Pairs of the rows at home in a cell with those that are looked for in it."""
    cells, rows = int(near_MA.max()) + 1, differing_M.cpu().numpy()
    guests = (places // near_MA.shape[1] for places in _members(near_MA.flatten(), cells))
    for number, (home, guest) in enumerate(zip(_members(home_M, cells), guests, strict=True)):
        for home_B in torch.split(home, _TILE):
            for guest_A in torch.split(guest, _TILE):
                left, right = rows[home_B.cpu().numpy()], rows[guest_A.cpu().numpy()]
                if pool.together(left, right):
                    continue
                near_BA = short_MP[home_B] @ short_MP[guest_A].T >= pool.threshold - _SLACK
                entry_E = flat(near_BA).cpu().numpy()
                one, other = left[entry_E // len(right)], right[entry_E % len(right)]
                pool.offer(one[one != other], other[one != other])
        report("comparing within cells", number + 1, cells)
    pool.settle()


def _audit(
    pool: _Linking, short_MP: Tensor, differing_M: Tensor, cells: tuple[Tensor, Tensor], rng: np.random.Generator
) -> tuple[int, int, int]:
    """Rows whose every pair was looked at, how many links they have, and how many of these the cells know of."""
    home_M, near_MA = (one.cpu() for one in cells)
    rows = differing_M.cpu().numpy()
    asked = np.sort(rng.choice(len(rows), min(_AUDITED, len(rows)), replace=False))
    asked_B = torch.from_numpy(asked).to(short_MP.device)
    links = known = 0
    total = -(-len(rows) // _TILE)
    for number, (part, block_AP) in enumerate(blocks(short_MP, _TILE)):
        near_BA = short_MP[asked_B] @ block_AP.T >= pool.threshold - _SLACK
        entry_E = flat(near_BA).cpu().numpy()
        one, other = asked[entry_E // len(block_AP)], part.start + entry_E % len(block_AP)
        one, other = one[one != other], other[one != other]
        linked = pool.linked(rows[one], rows[other])
        one, other = torch.from_numpy(one[linked]), torch.from_numpy(other[linked])
        links += len(one)
        met = (near_MA[one] == home_M[other][:, None]).any(1) | (near_MA[other] == home_M[one][:, None]).any(1)
        known += int(met.count_nonzero())
        report("measuring what was missed", number + 1, total)
    return len(asked), links, known
