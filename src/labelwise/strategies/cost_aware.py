"""The best score per unit of cost."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import torch

from labelwise.contracts.query import Query, Selection
from labelwise.contracts.strategy import Step, Strategy
from labelwise.errors import DataError
from labelwise.selection.ranking import take_top
from labelwise.selection.sampling import perturb
from labelwise.strategies.margin import Margin
from labelwise.strategies.parts import part
from labelwise.strategies.scored import Scored

if TYPE_CHECKING:
    from labelwise.contracts.learner import Auxiliary
    from labelwise.contracts.signal import Signal

# a mutual information of zero comes out as this much less than zero
_ROUNDING = 1e-5


@dataclass(frozen=True)
class CostAware(Strategy):
    """Divides the scores of another strategy by what each item will cost to label.

    score_i = inner score_i / cost_i, and the highest are taken. With a budget in the unit of the costs, the picks are
    the longest prefix that it pays for: the greedy answer to "the most score for this much work".

    Args:
        of: a strategy that scores each candidate by itself (margin, entropy, bald, ...) with scores of zero and more;
            a ``Strategy``, or its name. Its sub-pool and noise are kept; the noise acts on the quotient.

    Raises:
        ConfigError: an unknown name, or a strategy whose scores depend on the other picks.
        DataError: a cost of zero, or a score below zero.
        NonFiniteScore: as the inner strategy does.

    Cost: that of the inner strategy.

    Example:
        >>> import labelwise as lw
        >>> probs = [[0.5, 0.5], [0.6, 0.4], [0.9, 0.1]]
        >>> lw.select("cost_aware", 2, probs=probs, cost=[10.0, 1.0, 1.0], seed=0).positions.tolist()
        [1, 2]
        >>> budget = lw.Budget(3, "seconds")
        >>> lw.select("cost_aware", budget, probs=probs, cost=[1.0, 2.0, 9.0], seed=0).positions.tolist()
        [0, 1]

    Reference:
        Settles, Craven and Friedland, "Active Learning with Real Annotation Costs", NIPS 2008 workshop: utility divided
        by cost.
    """

    name: ClassVar[str] = "cost_aware"
    of: Strategy | str = field(default_factory=Margin)

    def __post_init__(self) -> None:
        self._inner()

    @property
    def scored_by(self) -> Signal:
        """That of the inner strategy, whatever an image costs."""
        return self._inner().signal

    def steps(self) -> tuple[Step, ...]:
        """The steps of the inner strategy, its last choice replaced."""
        *thinning, scored = self._inner().steps()
        return (*thinning, Step(scored.needs, self._choose))

    def auxiliaries(self) -> tuple[Auxiliary, ...]:
        """Those of the inner strategy."""
        return self._inner().auxiliaries()

    def _inner(self) -> Scored:
        inner = part("of", self.of)
        if not isinstance(inner, Scored):
            raise ValueError(
                f"of must score each candidate by itself (margin, entropy, least_confidence, bald, ...), and "
                f"{inner.name!r} does not"
            )
        return inner

    def _choose(self, query: Query) -> Selection:
        inner = self._inner()
        scores_M = query.pool(inner.signal)
        notes: tuple[str, ...] = ()
        if query.cost_N is None:
            notes = ("no cost of the items is known, so each counts the same",)
            cost_M = torch.ones_like(scores_M)
        else:
            cost_M = query.cost_N[query.unlabelled_M].to(scores_M)
        if bool((cost_M <= 0).any()):
            raise DataError(f"cost= holds {float(cost_M.min()):g} for a candidate: give what each will cost, above 0")
        if bool((scores_M < -_ROUNDING).any()):
            raise DataError(f"{inner.name!r} scores {float(scores_M.min()):g}, below 0, which no cost can weigh")
        worth_M = scores_M / cost_M
        ranked_M = worth_M
        if inner.noise is not None:
            ranked_M = perturb(worth_M, how=inner.noise, coldness=inner.coldness, rng=query.rng)
        chosen_K = take_top(ranked_M, query.budget, rng=query.rng)
        return Selection(query.unlabelled_M[chosen_K], worth_M[chosen_K], notes)
