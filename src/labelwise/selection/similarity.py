"""Similarities of rows in 0 to 1, and blocks of them for the candidates of a pool.

Dimension key: N rows of the pool, M candidates, L centres, A and B gathered rows, D features, H some candidates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from labelwise.errors import ConfigError
from labelwise.selection.space import Points, Space, tile

_HELD_BYTES = 2 << 30


@dataclass(frozen=True)
class Gaussian:
    """``exp(-|x - y|^2 / radius^2)``, in (0, 1].

    Args:
        radius: the distance at which similarity has fallen to 1 / e, above 0.
        unit: of rows scaled to length one.
    """

    radius: float
    unit: bool = False

    def __post_init__(self) -> None:
        if not (self.radius > 0 and math.isfinite(self.radius)):
            raise ConfigError(f"radius is {self.radius}; allowed is a finite number above 0")

    def of(self, distance2: Tensor) -> Tensor:
        """Similarities, in place of the squared distances."""
        return distance2.mul_(-1 / self.radius**2).exp_().clamp_max_(1.0)


@dataclass(frozen=True)
class Cosine:
    """``max(0, <x, y>)`` of rows scaled to length one, in [0, 1]."""

    unit: ClassVar[bool] = True

    def of(self, distance2: Tensor) -> Tensor:
        """Similarities, in place of the squared distances."""
        return distance2.mul_(-0.5).add_(1.0).clamp_(0.0, 1.0)


class SimilarPool:
    """Candidates in a given order, and the similarities between them, by blocks.

    Args:
        space: all rows.
        rows_M: positions of the candidates; gathered once if they fit 2 GB in float32, else block by block.
        similarity: of two rows.
    """

    def __init__(self, space: Space, rows_M: Tensor, similarity: Gaussian | Cosine) -> None:
        self.space = space
        self.rows_M = rows_M
        self.similarity = similarity
        self.size = tile(space.rows_ND)[0]
        self.parts = [slice(start, min(start + self.size, len(rows_M))) for start in range(0, len(rows_M), self.size)]
        fits = 4 * len(rows_M) * space.rows_ND.shape[1] <= _HELD_BYTES
        self._held = space.take(rows_M) if fits else None

    def __len__(self) -> int:
        return len(self.rows_M)

    def take(self, places_A: Tensor) -> Points:
        """Gathered rows of some candidates."""
        return self.space.take(self.rows_M[places_A]) if self._held is None else self._held[places_A]

    def block(self, part: slice) -> Points:
        """Rows of consecutive candidates."""
        if self._held is None:
            return self.space.take(self.rows_M[part])
        return Points(self._held.rows_AD[part], None, self._held.norms_A[part])

    def columns(self, places_H: Tensor) -> Tensor:
        """(H, M): similarity of some candidates to all."""
        points_H = self.take(places_H)
        found_HM = torch.empty((len(places_H), len(self)), device=self.rows_M.device)
        for part in self.parts:
            found_HM[:, part] = self.between(points_H, self.block(part))
        return found_HM

    def between(self, points_A: Points, points_B: Points) -> Tensor:
        """(A, B): similarities of gathered rows."""
        return self.similarity.of(points_A.distances2(points_B))

    def similarity_to(self, centres_L: Tensor) -> Tensor:
        """(M,): of each candidate to the nearest of the centres; 0 where there is none."""
        near_M = torch.zeros(len(self), device=self.rows_M.device)
        if not len(centres_L):
            return near_M
        for part in self.parts:
            points_B = self.block(part)
            near2_B = torch.full((len(points_B),), torch.inf, device=near_M.device)
            for centres_P in torch.split(centres_L, self.space.centres):
                near2_B = torch.minimum(near2_B, points_B.nearest2(self.space.take(centres_P)))
            near_M[part] = self.similarity.of(near2_B)
        return near_M
