"""Oracle: equally many of every true class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from labelwise.contracts.query import Query, Selection
from labelwise.contracts.strategy import Needs, Step, Strategy
from labelwise.selection.sampling import stratified


@dataclass(frozen=True)
class Uniform(Strategy):
    """Random within the true classes, shares as equal as the classes allow: what perfect balance would be worth.

    K_c = min(M_c, t) for M_c candidates of class c, t such that sum_c K_c = K. It reads the hidden labels, so it runs
    only in simulated campaigns, and tables mark it.

    Raises:
        UnmetNeed: there are no hidden labels.

    Cost: O(M log M).

    Example:
        >>> import numpy as np, torch
        >>> truth = torch.tensor([0, 0, 0, 1])
        >>> query = Query(truth[:0], torch.arange(4), 2, np.random.default_rng(0), truth_N=truth)
        >>> 3 in Uniform().steps()[0].select(query).positions_K.tolist()
        True

    Reference:
        Pourahmadi, Nooralinejad and Pirsiavash, "A Simple Baseline for Low-Budget Active Learning", 2021: "uniform". We
        differ: the budget is met exactly where it is no multiple of the classes, or a class is used up.
    """

    name: ClassVar[str] = "uniform"
    oracle: ClassVar[bool] = True

    def steps(self) -> tuple[Step, ...]:
        """One step, on hidden labels alone."""
        return (Step(Needs(truth=True), self._choose),)

    def _choose(self, query: Query) -> Selection:
        assert query.truth_N is not None, "the plan checks that hidden labels exist"
        chosen_K = stratified(query.truth_N[query.unlabelled_M], query.budget, rng=query.rng)
        return Selection(query.unlabelled_M[chosen_K])
