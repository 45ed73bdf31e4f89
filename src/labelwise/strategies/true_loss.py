"""Oracle: the highest loss under the true label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from labelwise.contracts.query import Query, Selection
from labelwise.contracts.strategy import Needs, Step, Strategy
from labelwise.selection.ranking import take_top
from labelwise.signals.plain import HiddenLoss

LOSS = HiddenLoss()


@dataclass(frozen=True)
class TrueLoss(Strategy):
    """The candidates that the model gets most wrong: what a perfect predictor of the loss would choose.

    score = loss(model, image, y) for the hidden label y: -ln p_y in classification, its mean over the pixels with a
    class in segmentation, the detector's own loss of an image for boxes. It reads the hidden labels, so it runs only in
    simulated campaigns, and tables mark it.

    Raises:
        UnmetNeed: there are no hidden labels, or the learner has no loss to tell.
        NonFiniteScore: the loss is not finite.

    Cost: one pass over the M candidates, O(M + K log K) to choose.

    Example:
        >>> import labelwise as lw
        >>> "true_loss" in lw.list_strategies()
        True

    Reference:
        Yoo and Kweon, "Learning Loss for Active Learning", CVPR 2019, whose module predicts this loss. We differ: the
        loss of a partly labelled image is divided by its labelled pixels, not by all.
    """

    name: ClassVar[str] = "true_loss"
    oracle: ClassVar[bool] = True

    def steps(self) -> tuple[Step, ...]:
        """One step, on the loss under hidden labels."""
        return (Step(Needs(pool=frozenset({LOSS})), self._choose),)

    def _choose(self, query: Query) -> Selection:
        loss_M = query.pool(LOSS)
        chosen_K = take_top(loss_M, query.budget, rng=query.rng).cpu()
        return Selection(query.unlabelled_M[chosen_K], loss_M.cpu()[chosen_K])
