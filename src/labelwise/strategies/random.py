"""Uniformly at random: the baseline that every other method has to beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from labelwise.contracts.query import Query, Selection
from labelwise.contracts.strategy import Needs, Step, Strategy
from labelwise.selection.sampling import uniform


@dataclass(frozen=True)
class Random(Strategy):
    """Every set of ``budget`` candidates is equally likely.

    P(S) = 1 / (M choose K). Needs nothing, biases nothing, and is hard to beat where the pool is clean and balanced.

    Raises:
        PoolError: never, for a budget that fits.

    Cost: O(M).

    Example:
        >>> import labelwise as lw
        >>> len(lw.select("random", 3, embeddings=[[0.0], [1.0], [2.0], [3.0]], seed=0).positions)
        3

    Reference:
        The baseline of every study; see Munjal et al., "Towards Robust and Reproducible Active Learning using Neural
        Networks", CVPR 2022, on how strong it is when tuned as well as the methods.
    """

    name: ClassVar[str] = "random"

    @property
    def cold(self) -> bool:
        """Needs no model."""
        return True

    def steps(self) -> tuple[Step, ...]:
        """One step without needs."""
        return (Step(Needs(), self._choose),)

    def _choose(self, query: Query) -> Selection:
        return Selection(uniform(query.unlabelled_M, query.budget, rng=query.rng))
