"""Squared distances between the rows of a pool, a block at a time, safe against cancellation.

Dimension key: N rows of the pool, A and B chosen rows, D features, C entries of a second factor.

``|x - y|^2 = |x|^2 - 2 <x, y> + |y|^2`` turns distances into matrix products but loses digits when rows are long
compared with their distances. Three guards: the middle is subtracted from every gathered row (features behind a ReLU,
or with an offset of a thousand, are mostly offset); norms are float32 whatever the storage; what is left below the
rounding of the three terms is set to zero, so that duplicates are duplicates and ties are ties.

The middle is the mean, unless a few far rows pull it out of the crowd: from the mean of unit rows and one at 1e6 all
but that one look like duplicates. There it is the median.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from labelwise.errors import DataError
from labelwise.selection.arrays import ArrayLike, as_matrix, block_rows, blocks, squared_norms

#: rounding of the three terms, in units of |x|^2 + |y|^2. Measured on duplicates of 1 to 4096 features: at most 6e-7.
# So rows nearer than about a seven-hundredth of their distance from the middle count as duplicates.
ROUNDING = 1e-6

# Rows that tell whether the mean lies among them.
_CROWD = 128
# Squared distance of the mean from the median, in units of that of an ordinary row, up to which it does.
_AMONG = 4

# Rows and centres of one product. 4 MB of results stay in the caches of a CPU (measured); a GPU wants large launches.
_CPU_TILE = (2048, 512)
_CUDA_TILE = (32768, 2048)


def tile(rows_ND: Tensor) -> tuple[int, int]:
    """Rows and centres to multiply at once, where these rows lie."""
    return _CUDA_TILE if rows_ND.is_cuda else _CPU_TILE


@dataclass(frozen=True)
class Points:
    """Some rows of a space, gathered: float32, middle subtracted."""

    rows_AD: Tensor
    factor_AC: Tensor | None
    norms_A: Tensor

    def __getitem__(self, places: Tensor) -> Points:
        """The points at these places among the gathered ones."""
        factor_AC = None if self.factor_AC is None else torch.index_select(self.factor_AC, 0, places)
        return Points(torch.index_select(self.rows_AD, 0, places), factor_AC, self.norms_A[places])

    def __len__(self) -> int:
        return len(self.norms_A)

    def distances2(self, other: Points) -> Tensor:
        """Squared distances to the other points, (A, B); exactly zero where rounding is all there is."""
        sum_AB = self.norms_A[:, None] + other.norms_A
        if self.factor_AC is None or other.factor_AC is None:
            distances_AB = torch.addmm(sum_AB, self.rows_AD, other.rows_AD.T, alpha=-2)
        else:
            # <r h', s g'> = <r, s> <h, g> for outer products: the C x D products are never formed.
            inner_AB = (self.rows_AD @ other.rows_AD.T).mul_(self.factor_AC @ other.factor_AC.T)
            distances_AB = sum_AB - 2 * inner_AB
        return distances_AB.masked_fill_(distances_AB <= ROUNDING * sum_AB, 0.0)

    def nearest2(self, other: Points) -> Tensor:
        """Squared distance to the nearest of the other points, (A,)."""
        if self.factor_AC is not None or other.factor_AC is not None:
            return self.distances2(other).amin(1)
        # One product and one pass over it; the smallest |y|^2 - 2 <x, y> decides, |x|^2 comes after.
        least_A = torch.addmm(other.norms_A, self.rows_AD, other.rows_AD.T, alpha=-2).amin(1)
        distances_A = least_A + self.norms_A
        return distances_A.masked_fill_(distances_A <= 2 * ROUNDING * self.norms_A, 0.0)


@dataclass(frozen=True)
class Space:
    """The rows of a pool, where they lie, with their middle and the squared norms of the centred rows."""

    rows_ND: Tensor
    factor_NC: Tensor | None
    middle_D: Tensor | None
    norms_N: Tensor
    scale_N: Tensor | None = None
    pulled: bool = False

    @classmethod
    def of_unit(cls, features_ND: ArrayLike) -> Space:
        """The space of the rows scaled to length one as they are read; rows of zeros stay.

        Raises:
            DataError: no matrix, or rows that are not finite.
        """
        rows_ND = as_matrix(features_ND)
        length2_N = squared_norms(rows_ND)
        scale_N = torch.where(length2_N > 0, length2_N.rsqrt(), 1.0)
        middle_D, pulled = middle_row(rows_ND, scale_N)
        norms_N = torch.empty_like(length2_N)
        for part, block in blocks(rows_ND, block_rows(rows_ND)):
            norms_N[part] = squared_norms(block * scale_N[part, None], minus=middle_D)
        return cls(rows_ND, None, middle_D, norms_N, scale_N, pulled)

    @classmethod
    def of(cls, features_ND: ArrayLike, factor_NC: ArrayLike | None = None) -> Space:
        """The space of the feature rows, or of the outer products of factor and feature rows.

        Raises:
            DataError: not matrices of one length, or rows that are not finite.
        """
        rows_ND = as_matrix(features_ND)
        if factor_NC is None:
            middle_D, pulled = middle_row(rows_ND)
            return cls(rows_ND, None, middle_D, squared_norms(rows_ND, minus=middle_D), pulled=pulled)
        factor = as_matrix(factor_NC, "factors")
        if len(factor) != len(rows_ND):
            raise DataError(f"got {len(rows_ND)} feature rows and {len(factor)} factor rows; needed is one per item")
        # Outer products have no middle that could be subtracted in factored form.
        return cls(rows_ND, factor, None, squared_norms(rows_ND) * squared_norms(factor))

    def __len__(self) -> int:
        return len(self.norms_N)

    @property
    def device(self) -> torch.device:
        """Where the rows lie."""
        return self.rows_ND.device

    @property
    def block(self) -> int:
        """Rows to take at once."""
        return tile(self.rows_ND)[0]

    @property
    def centres(self) -> int:
        """Centres to compare them with at once."""
        return tile(self.rows_ND)[1]

    @property
    def mean_is_middle(self) -> bool:
        """Whether the rows are centred on their mean, as they are where none of them is far off."""
        return self.middle_D is not None and not self.pulled

    def from_mean2(self, positions_A: Tensor) -> Tensor:
        """Squared distances of some rows from the mean of all, (A,) float64, whatever the mean is pulled by."""
        if self.mean_is_middle:
            return self.norms_N[positions_A].double()
        rows = range(0, len(self), self.block)
        positions_N = torch.arange(len(self), device=self.device)
        total_D = torch.zeros(self.rows_ND.shape[1], dtype=torch.float64, device=self.device)
        for first in rows:
            total_D += self.take(positions_N[first : first + self.block]).rows_AD.sum(0, dtype=torch.float64)
        mean_D = total_D / max(1, len(self))
        found_A = torch.empty(len(positions_A), dtype=torch.float64, device=self.device)
        for first in range(0, len(positions_A), self.block):
            part = slice(first, first + self.block)
            away_BD = self.take(positions_A[part]).rows_AD - mean_D
            found_A[part] = torch.linalg.vector_norm(away_BD, dim=1).square()
        return found_A

    def take(self, positions_A: Tensor) -> Points:
        """Gather rows: the only copies of features that are ever made."""
        # index_select copies rows more than twice as fast as indexing does on a CPU (measured).
        rows_AD = torch.index_select(self.rows_ND, 0, positions_A).float()
        if self.scale_N is not None:
            rows_AD = rows_AD * self.scale_N[positions_A, None]
        if self.middle_D is not None:
            rows_AD -= self.middle_D
        factor_AC = None if self.factor_NC is None else torch.index_select(self.factor_NC, 0, positions_A).float()
        return Points(rows_AD, factor_AC, self.norms_N[positions_A])


def middle_row(rows_ND: Tensor, scale_N: Tensor | None = None) -> tuple[Tensor, bool]:
    """What to subtract from all rows, (D,) float32: their mean, summed in float64, or the median if that is far off.

    And whether it is the median.

    Args:
        rows_ND: one row per item; those that are not finite are for others to find.
        scale_N: what to multiply each row with first.
    """
    total_D = torch.zeros(rows_ND.shape[1], dtype=torch.float64, device=rows_ND.device)
    for part, block in blocks(rows_ND, block_rows(rows_ND)):
        total_D += block.sum(0) if scale_N is None else scale_N[part] @ block
    place_A = crowd(len(rows_ND), rows_ND.device)
    rows_AD = torch.index_select(rows_ND, 0, place_A).float()
    if scale_N is not None:
        rows_AD = rows_AD * scale_N[place_A, None]
    return mean_or_median(total_D / max(1, len(rows_ND)), rows_AD)


def crowd(rows: int, device: torch.device) -> Tensor:
    """Places of at most 128 rows, spread evenly over all."""
    count = min(rows, _CROWD)
    return torch.arange(count, device=device) * rows // max(1, count)


def mean_or_median(mean_D: Tensor, crowd_AD: Tensor) -> tuple[Tensor, bool]:
    """The mean where it lies among these rows, else True and their median feature by feature; (D,) float32, finite."""
    if not len(crowd_AD):
        return mean_D.float(), False
    # sorted along memory, and NaN last: one bad row must not make all others bad
    ordered_DA = crowd_AD.T.contiguous().sort(1).values
    median_D = ordered_DA[:, (len(crowd_AD) - 1) // 2].nan_to_num(0.0, 0.0, 0.0)
    ordinary2 = float((crowd_AD - median_D).double().square().sum(1).sort().values[(len(crowd_AD) - 1) // 2])
    off2 = float((mean_D - median_D).square().sum())
    return (mean_D.float(), False) if off2 <= _AMONG * ordinary2 else (median_D, True)
