"""Oracle: the highest loss under the true label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from labelwise.selection.ranking import take_top
from labelwise.signals.plain import Probs
from labelwise.strategy import Needs, Query, Selection, Step, Strategy

PROBS = Probs()


@dataclass(frozen=True)
class TrueLoss(Strategy):
    """The candidates that the model gets most wrong: what a perfect predictor of the loss would choose.

    score = -ln p_y for the hidden label y. It reads the hidden labels, so it runs only in simulated campaigns, and
    tables mark it.

    Raises:
        UnmetNeed: there are no hidden labels, or no probabilities of whole images.
        NonFiniteScore: the model's probabilities are not finite.

    Cost: O(M C) to read, O(M + K log K) to choose.

    Example:
        >>> import labelwise as lw
        >>> "true_loss" in lw.list_strategies()
        True

    Reference:
        Yoo and Kweon, "Learning Loss for Active Learning", CVPR 2019, whose module predicts this loss.
    """

    name: ClassVar[str] = "true_loss"
    oracle: ClassVar[bool] = True

    def steps(self) -> tuple[Step, ...]:
        """One step, on probabilities and hidden labels."""
        return (Step(Needs(pool=frozenset({PROBS}), truth=True), self._choose),)

    def _choose(self, query: Query) -> Selection:
        assert query.truth_N is not None, "the plan checks that hidden labels exist"
        probs_MC = query.pool(PROBS)
        truth_M = query.truth_N[query.unlabeled_M].to(probs_MC.device)
        hit_M = probs_MC.gather(1, truth_M[:, None])[:, 0]
        # a probability that has underflowed is the worst loss there is, not an infinite one
        loss_M = -hit_M.clamp_min(torch.finfo(hit_M.dtype).tiny).log()
        chosen_K = take_top(loss_M, query.budget, rng=query.rng).cpu()
        return Selection(query.unlabeled_M[chosen_K], loss_M.cpu()[chosen_K])
