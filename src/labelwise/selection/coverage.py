"""Picks whose soft surroundings cover the most of the pool: the greedy maximum of a sum of nearest similarities.

Dimension key: N rows of the pool, L labelled, M candidates, C candidates of a block, R rows that stand for all, H rows
that are compared exactly, D features, K picks.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from labelwise.errors import DataError
from labelwise.selection.arrays import ArrayLike, as_positions, as_tensor, check_budget, free_candidates
from labelwise.selection.neighbours import flat
from labelwise.selection.progress import report
from labelwise.selection.similarity import Cosine, Gaussian, SimilarPool
from labelwise.selection.space import Space

# Sizes found by measuring (benchmarks/speed/selection.py). They trade time for the last tenths of a percent of the
# objective; once the pairs that matter fit a list, everything is exact.
_FIRST = 1024  # rows that stand for the pool at the first pick
_PER_PICK = 16  # and at the least for each pick
_HEAD = 8  # best estimates whose true gains are computed
_ASKED = 128  # rows by which the number of pairs is judged
_PAIRS = 1 << 24  # pairs that are listed, 8 bytes each, some 30 while the list is made
_PAIRS_PER_ROW = 128  # or so many for each candidate, if that is more
_LEAST = 1e-5  # gains below this are left out of the list


def greedy_coverage(
    features_ND: ArrayLike,
    k: int,
    *,
    similarity: Gaussian | Cosine,
    weight_M: ArrayLike | None = None,
    labelled_L: ArrayLike | None = None,
    candidates_M: ArrayLike | None = None,
    rng: np.random.Generator,
) -> tuple[Tensor, Tensor]:
    """Each pick raises the mean similarity of candidates to their nearest labelled or picked row the most.

    ``pick = argmax_c sum_n w_n max(0, s(x_n, x_c) - max_{p in labelled + picks} s(x_n, x_p))``, n over the candidates:
    what is labelled covers itself. The greedy sum is at least 1 - 1 / e of the best possible.

    A pair of rows matters only while one can still come nearer than what covers it, and each pick leaves fewer such
    pairs. Once they fit a list, gains are exact and a pick reads only the pairs of the rows that it came nearer to; in
    a pool of up to four thousand rows that is from the first pick on. Until then a sample of rows stands for all, and
    the few best by that estimate are compared by their true gains.

    Args:
        features_ND: one row per item; any float type.
        k: number of picks, at most the number of candidates.
        similarity: of two rows.
        weight_M: what each candidate is worth to be covered, 0 and more; alike by default.
        labelled_L: positions that cover already; none by default.
        candidates_M: positions that may be picked and are to be covered; all that are not labelled by default.
        rng: the rows that stand for all at first, and the order of equal gains.

    Returns:
        positions (k,) int64 in the order picked; and by how much each raised the weighted mean of similarities at that
        moment, (k,) float32.

    Raises:
        ConfigError: more picks than candidates, a radius that is not above 0.
        DataError: rows that are not finite, weights that are negative or not finite or another number than candidates,
            positions out of range or twice, a candidate that is labelled.

    Cost:
        M^2 D operations for the pairs and about as many before, while they do not fit; then O(pairs) in all. Memory: 30
        bytes a pair, for at most 17 million pairs or 128 a row, and the candidates once more in float32 up to 2 GB.

    Example:
        >>> line = [[0.0], [1.0], [1.2], [9.0], [9.1]]
        >>> greedy_coverage(line, 2, similarity=Gaussian(1.0), rng=np.random.default_rng(0))[0].tolist()[0]
        1

    Reference:
        Bae, Noh and Sutherland, Generalized Coverage for More Robust Low-Budget Active Learning, ECCV 2024, equation 5
        and algorithm 1 (MaxHerding); Nemhauser, Wolsey and Fisher, 1978, for the guarantee; Lin and Bilmes, 2009, for
        facility location in active learning.
    """
    space = Space.of_unit(features_ND) if similarity.unit else Space.of(features_ND)
    labelled = as_positions([] if labelled_L is None else labelled_L, len(space), "labelled", device=space.device)
    candidates = free_candidates(candidates_M, labelled, len(space))
    check_budget(k, len(candidates))
    weight = _weights(weight_M, len(candidates)).to(space.device)
    if k == 0:
        return candidates[:0], torch.empty(0, device=space.device)
    # shuffled, so that the first of equal gains is any of them
    order = torch.from_numpy(rng.permutation(len(candidates))).to(space.device)
    pool = SimilarPool(space, candidates[order], similarity)
    cover = _Cover(pool, weight[order], pool.similarity_to(labelled))
    gains: _Drawn | _Listed = _Drawn(cover, rng)
    look_again = 0
    while (number := len(cover.picks)) < k:
        report("covering the pool", number, k)
        if isinstance(gains, _Drawn) and number >= look_again:
            look_again = number + 1 + number // 4
            if float(cover.own_M.sum()) < _LEAST:
                cover.take_any(k - number)
                break
            expected = _Listed.expected(cover, rng)
            if expected <= max(_PAIRS, _PAIRS_PER_ROW * len(pool)):
                gains = _Listed(cover, int(expected))
        gains.pick()
    places = torch.tensor(cover.picks, dtype=torch.int64, device=space.device)
    return candidates[order][places], torch.tensor(cover.gains, device=space.device)


def mean_coverage(
    features_ND: ArrayLike,
    centres_L: ArrayLike,
    *,
    similarity: Gaussian | Cosine,
    candidates_M: ArrayLike | None = None,
) -> float:
    """Mean similarity of candidates to the nearest of some chosen rows: what ``greedy_coverage`` makes large.

    Args:
        features_ND: one row per item.
        centres_L: positions of the chosen rows.
        similarity: of two rows.
        candidates_M: rows that are to be covered; all by default.

    Returns:
        The mean, 0 to 1; 0 where nothing is chosen.

    Raises:
        DataError: rows that are not finite, positions out of range or twice.

    Cost:
        2 M L D operations.

    Example:
        >>> mean_coverage([[0.0], [1.0]], [0], similarity=Gaussian(1.0))
        0.6839...
    """
    space = Space.of_unit(features_ND) if similarity.unit else Space.of(features_ND)
    centres = as_positions(centres_L, len(space), "centres", device=space.device)
    candidates = as_positions(candidates_M, len(space), "candidates", device=space.device)
    near_M = SimilarPool(space, candidates, similarity).similarity_to(centres)
    return float(near_M.double().mean()) if len(near_M) else 0.0


def _weights(weight_M: ArrayLike | None, candidates: int) -> Tensor:
    """(M,) float64 with sum 1; alike where none is worth anything."""
    if weight_M is None:
        return torch.full((candidates,), 1 / max(1, candidates), dtype=torch.float64)
    weight = as_tensor(weight_M).double()
    if weight.shape != (candidates,):
        raise DataError(f"weights have shape {tuple(weight.shape)}; needed is one for each of {candidates} candidates")
    bad = torch.nonzero(~(torch.isfinite(weight) & (weight >= 0))).flatten()
    if len(bad):
        raise DataError(
            f"{len(bad)} weights are negative, NaN or infinite (first places: {bad[:5].tolist()}); give 0 and more"
        )
    total = float(weight.sum())
    return weight / total if total > 0 else _weights(None, candidates)


class _Cover:
    """The picks so far, and how well each candidate is covered by them and by the labels."""

    def __init__(self, pool: SimilarPool, weight_M: Tensor, near_M: Tensor) -> None:
        self.pool = pool
        self.weight_M = weight_M
        self.near_M = near_M
        self.free_M = torch.ones(len(pool), dtype=torch.bool, device=near_M.device)
        self.picks: list[int] = []
        self.gains: list[float] = []

    @property
    def own_M(self) -> Tensor:
        """What each candidate would gain by being picked itself."""
        return self.weight_M * (1.0 - self.near_M)

    def take(self, place: int, gain: float, near_M: Tensor) -> None:
        """A pick, and how well everything is covered now."""
        self.picks.append(place)
        self.gains.append(max(0.0, gain))
        self.free_M[place] = False
        self.near_M = near_M
        self.near_M[place] = 1.0

    def take_any(self, count: int) -> None:
        """Picks where nothing is left to gain: the first that are free, in an order that was shuffled."""
        self.picks += torch.nonzero(self.free_M).flatten()[:count].tolist()
        self.gains += [0.0] * count


class _Drawn:
    """Gains by estimate, from rows drawn in proportion to their weights; the best few are then compared by true gains.

    The estimate of a candidate is its own gain, which is known, and the mean gain of the drawn rows. Only drawn rows
    that the last pick came nearer to have to be read again.
    """

    def __init__(self, cover: _Cover, rng: np.random.Generator) -> None:
        self.cover = cover
        self.rng = rng
        device = cover.near_M.device
        self.sum_M = torch.zeros(len(cover.pool), dtype=torch.float64, device=device)
        self.place_R = torch.empty(0, dtype=torch.int64, device=device)
        self.head_H = self.place_R
        self.column_HM = torch.empty((0, len(cover.pool)), device=device)

    def pick(self) -> None:
        """Take the best candidate, and bring everything up to date."""
        cover = self.cover
        self._grow(_PER_PICK * (len(cover.picks) + 1))
        place, column_M, gain = self._best()
        before_M = cover.near_M
        cover.take(place, gain, torch.maximum(before_M, column_M))
        changed = torch.nonzero(cover.near_M[self.place_R] > before_M[self.place_R]).flatten()
        self.sum_M -= self._spread(self.place_R[changed], before_M, cover.near_M)

    def _grow(self, least: int) -> None:
        """Have at least so many rows stand for all. Drawn with replacement they count alike, and more can be added."""
        wanted = max(_FIRST, len(self.place_R))
        while wanted < least:
            wanted *= 2
        if wanted == len(self.place_R):
            return
        bound_M = self.cover.weight_M.cumsum(0)
        drawn = torch.from_numpy(self.rng.random(wanted - len(self.place_R))).to(bound_M.device) * bound_M[-1]
        new_R = torch.searchsorted(bound_M, drawn, right=True).clamp_max_(len(bound_M) - 1)
        self.place_R = torch.cat([self.place_R, new_R])
        self.sum_M += self._spread(new_R, self.cover.near_M, torch.ones_like(self.cover.near_M))

    def _best(self) -> tuple[int, Tensor, float]:
        """Place, similarities to all, and true gain of the best of the best estimates."""
        cover = self.cover
        estimate_M = (self.sum_M / len(self.place_R) + cover.own_M).masked_fill_(~cover.free_M, -torch.inf)
        head_H = estimate_M.topk(min(_HEAD, len(estimate_M) - len(cover.picks))).indices
        known = torch.isin(self.head_H, head_H)
        new_H = head_H[~torch.isin(head_H, self.head_H)]
        self.column_HM = torch.cat([self.column_HM[known], cover.pool.columns(new_H)])
        self.head_H = torch.cat([self.head_H[known], new_H])
        gain_H = torch.stack(
            [(row_M - cover.near_M).clamp_min_(0).double() @ cover.weight_M for row_M in self.column_HM]
        )
        best = int(gain_H.argmax())
        return int(self.head_H[best]), self.column_HM[best], float(gain_H[best])

    def _spread(self, place_R: Tensor, low_M: Tensor, high_M: Tensor) -> Tensor:
        """(M,): what these rows would have from each candidate between two levels of cover, themselves left out."""
        pool, found_M = self.cover.pool, torch.zeros_like(self.sum_M)
        for place_B in torch.split(place_R, pool.size):
            points_B, low_B1, high_B1 = pool.take(place_B), low_M[place_B, None], high_M[place_B, None]
            for part in pool.parts:
                near_BC = pool.between(points_B, pool.block(part)).clamp_(low_B1, high_B1).sub_(low_B1)
                own_B = torch.nonzero((place_B >= part.start) & (place_B < part.stop)).flatten()
                near_BC[own_B, place_B[own_B] - part.start] = 0.0
                found_M[part] += near_BC.sum(0)
        return found_M


class _Listed:
    """Exact gains, from a list of the pairs of candidates that can still come nearer than what covers them.

    A pick only reads the pairs of the rows that it came nearer to. The list lies on the host, in compressed rows.
    """

    def __init__(self, cover: _Cover, expected: int) -> None:
        self.cover = cover
        self.others_M = np.zeros(len(cover.pool))
        self.pairs = self._read(_Pairs(expected))
        self.weight_M = cover.weight_M.cpu().numpy()
        self.near_M = cover.near_M.cpu().numpy().copy()

    @staticmethod
    def expected(cover: _Cover, rng: np.random.Generator) -> float:
        """How many pairs there would be, in both directions, judged by some rows."""
        asked_H = torch.from_numpy(rng.permutation(len(cover.pool))[:_ASKED]).to(cover.near_M.device)
        points_H, pairs = cover.pool.take(asked_H), 0
        for part in cover.pool.parts:
            floor_HB = torch.minimum(cover.near_M[asked_H, None], cover.near_M[part]) + _LEAST
            pairs += int((cover.pool.between(points_H, cover.pool.block(part)) > floor_HB).count_nonzero())
        return pairs / len(asked_H) * len(cover.pool)

    def pick(self) -> None:
        """Take the best candidate, and bring everything up to date."""
        free_M = self.cover.free_M.cpu().numpy()
        gain_M = np.where(free_M, self.others_M + self.weight_M * (1.0 - self.near_M), -np.inf)
        place = int(gain_M.argmax())
        found = slice(self.pairs.indptr[place], self.pairs.indptr[place + 1])
        row_R, high_R = self.pairs.indices[found], self.pairs.data[found]
        nearer = high_R > self.near_M[row_R]
        row_R, high_R = np.append(row_R[nearer], place), np.append(high_R[nearer], np.float32(1.0))
        low_R = self.near_M[row_R]
        self.near_M[row_R] = high_R
        read = self.pairs[row_R]
        count_R = np.diff(read.indptr)
        low_E, high_E = np.repeat(low_R, count_R), np.repeat(high_R, count_R)
        lost_E = (np.clip(read.data, low_E, high_E) - low_E) * np.repeat(self.weight_M[row_R], count_R)
        self.others_M -= np.bincount(read.indices, lost_E, minlength=len(self.others_M))
        self.cover.take(place, float(gain_M[place]), torch.from_numpy(self.near_M).to(self.cover.near_M.device))

    def _read(self, pairs: _Pairs) -> sparse.csr_array:
        """The pairs, in both directions, and on the way what each candidate would give all others."""
        pool, near_M = self.cover.pool, self.cover.near_M
        others_M = torch.zeros(len(pool), dtype=torch.float64, device=pool.rows_M.device)
        for number, left in enumerate(pool.parts):
            report("pairs that matter", number, len(pool.parts))
            points_B = pool.block(left)
            for right in pool.parts[number:]:
                near_BC = pool.between(points_B, pool.block(right))
                if left == right:
                    near_BC.fill_diagonal_(0.0)
                place_F = flat(near_BC > torch.minimum(near_M[left, None], near_M[right]) + _LEAST)
                found = near_BC.view(-1)[place_F]
                pairs.add(left.start + place_F // near_BC.shape[1], right.start + place_F % near_BC.shape[1], found)
                if left != right:
                    pairs.mirror(len(found))
                self._give(near_BC, left, right, others_M)
        self.others_M = others_M.cpu().numpy()
        return pairs.matrix(len(pool))

    def _give(self, near_BC: Tensor, left: slice, right: slice, others_M: Tensor) -> None:
        """Adds what the rows of two blocks would give each other; the similarities are used up."""
        weight_M, near_M = self.cover.weight_M.float(), self.cover.near_M
        if left != right:
            others_M[left] += (near_BC - near_M[right]).clamp_min_(0.0) @ weight_M[right]
        others_M[right] += weight_M[left] @ near_BC.sub_(near_M[left, None]).clamp_min_(0.0)


class _Pairs:
    """Rows, columns and similarities of pairs, each in one array that grows.

    Many small arrays, kept while blocks come and go between them, would leave holes of ten times their size.
    """

    def __init__(self, expected: int) -> None:
        room = expected + expected // 8 + 1024
        self.rows, self.columns = np.empty(room, dtype=np.int32), np.empty(room, dtype=np.int32)
        self.values = np.empty(room, dtype=np.float32)
        self.count = 0

    def add(self, rows_F: Tensor, columns_F: Tensor, values_F: Tensor) -> None:
        """Append some pairs."""
        new = self._room(len(values_F))
        for array, found_F in ((self.rows, rows_F), (self.columns, columns_F), (self.values, values_F)):
            array[new] = found_F.cpu().numpy()

    def mirror(self, last: int) -> None:
        """Append the last pairs once more, in the other direction."""
        new = self._room(last)
        old = slice(new.start - last, new.start)
        self.rows[new], self.columns[new] = self.columns[old], self.rows[old]
        self.values[new] = self.values[old]

    def matrix(self, size: int) -> sparse.csr_array:
        """All of them in compressed rows."""
        kept = slice(0, self.count)
        pairs = (self.values[kept], (self.rows[kept], self.columns[kept]))
        return sparse.coo_array(pairs, shape=(size, size)).tocsr()

    def _room(self, more: int) -> slice:
        new = slice(self.count, self.count + more)
        if new.stop > len(self.values):
            room = new.stop + new.stop // 2
            for name in ("rows", "columns", "values"):
                grown = np.empty(room, dtype=getattr(self, name).dtype)
                grown[: self.count] = getattr(self, name)[: self.count]
                setattr(self, name, grown)
        self.count = new.stop
        return new
