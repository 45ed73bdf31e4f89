"""MaxHerding: picks to which everything is as similar as it can be."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from labelwise.contracts.query import Query, Selection
from labelwise.selection.similarity import Gaussian
from labelwise.strategies.covering import Covering, soft_cover


@dataclass(frozen=True)
class MaxHerding(Covering):
    """The candidate that brings the pool nearest to its labels, again and again: a soft ProbCover.

    pick = argmax_c sum_n max(0, s(n, c) - max_{p in labelled + picks} s(n, p)) with s(n, c) = exp(-|x_n - x_c|^2 /
    radius^2). The scores are by how much each pick raised the mean similarity to the nearest label.

    Args:
        radius: the distance at which similarity has fallen to 1 / e; in units of length-one rows where ``normalise``.
        normalise: compare embeddings scaled to length one, as published.
        features: ``frozen`` for the feature source beside the model (as published, on self-supervised features),
            ``task`` for the model's own embedding,
            ``objects`` for the mean over the objects that it detects.

    Raises:
        DataError: embeddings that are not finite.

    Cost: about 2 M^2 D operations, mostly for the pairs of items that can still come nearer, and 30 bytes for each of
        at most 17 million of these (or 128 a candidate); never all pairs.

    Example:
        >>> import labelwise as lw
        >>> points = [[0.0], [1.0], [2.0], [9.0], [10.0]]
        >>> picks = lw.select("max_herding", 2, embeddings=points, normalise=False, seed=0).positions.tolist()
        >>> picks[0], picks[1] > 2
        (1, True)

    Reference:
        Bae, Noh and Sutherland, "Generalized Coverage for More Robust Low-Budget Active Learning", ECCV 2024, with the
        radius of 1 that they use on features of length one. Exact once the pairs that matter fit the list; the first
        few picks from more than four thousand candidates rest on a sample of rows. The mean similarity reached was
        within 0.4 % of the exact loop's on most sets that we measured; at worst 2.9 % below (0.4 % in the mean over
        seeds), for three picks among 6,000 items in 40 equal blobs: a sample cannot tell which blob is the largest.
    """

    name: ClassVar[str] = "max_herding"
    radius: float = 1.0
    normalise: bool = True

    def __post_init__(self) -> None:
        if not (self.radius > 0 and math.isfinite(self.radius)):
            raise ValueError(f"radius must be a finite number above 0, got {self.radius}")

    def _choose(self, query: Query) -> Selection:
        return soft_cover(query, self.signal, Gaussian(self.radius, unit=self.normalise))
