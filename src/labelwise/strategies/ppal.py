"""Boxes that are uncertain in hard classes, then images whose objects stand for the others'."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from labelwise.contracts.query import Query, Rows, Selection
from labelwise.contracts.signal import Signal
from labelwise.contracts.strategy import Needs, Step, Strategy
from labelwise.selection.matching import Objects, matching_picks
from labelwise.selection.objects import difficulty_weights
from labelwise.selection.ranking import take_top
from labelwise.selection.reduction import Empty, fill_empty
from labelwise.signals.difficulty import ClassDifficulty
from labelwise.signals.units import Units, UnitUncertainty

_ENTROPY = UnitUncertainty("entropy")
_SCORES, _LABELS, _FEATURES = Units("scores"), Units("labels"), Units("unit_embedding")


@dataclass(frozen=True)
class PPAL(Strategy):
    """Detection: ``keep`` times the budget by uncertainty that counts more in hard classes, then diverse ones of these.

    score = sum_j w_c(j) H(p_j) over boxes j with score > threshold, where
    w_c = 1 + alpha beta ln(1 + (e^(1 / alpha) - 1) d_c) and d_c is the difficulty of class c; of the keep x K best, the
    K medoids under the distance by matching objects of one class. The scores are those of the first stage.

    Where we differ: the paper's average of d_c over the steps of training is here one pass over the labelled images
    after it (see ``ClassDifficulty``). Objects are matched by the detector's embedding of a box. Sigmoid heads give the
    sum of the entropies of all classes' questions, the published code that of the box's own class.

    Args:
        keep: how many times the budget goes on to the second stage, at least 1.
        alpha: how soon the weight of a class rises with its difficulty, positive.
        beta: how much more the hardest class counts than the easiest.
        xi: share of the class probability in the difficulty, in [0, 1]; the rest is the overlap's.
        threshold: boxes with lower scores say nothing.
        empty: where images without such boxes stand in the first stage: ``last``, ``median`` or ``first``, which also
            picks them before any other in the second.
        calibrate: weigh classes by difficulty; without it no labelled image is read, and somebody else's detections
            do.

    Raises:
        DataError: features of objects that are not finite.

    Cost: one pass over the labelled images; O(U C) for the scores; 2 K G U D operations for each round of the second
        stage, U objects of keep x K images with G each.

    Example:
        >>> import labelwise as lw
        >>> lw.select("ppal", 1, probs=[[0.5, 0.5], [0.9, 0.1]])
        Traceback (most recent call last):
        ...
        labelwise.errors.UnmetNeed: ...

    Reference:
        Yang, Huang, Crowley, "Plug and Play Active Learning for Object Detection", CVPR 2024 (arXiv 2211.11612),
        sections 3.2 and 3.3.
    """

    name: ClassVar[str] = "ppal"
    keep: float = 4.0
    alpha: float = 0.3
    beta: float = 0.2
    xi: float = 0.6
    threshold: float = 0.05
    empty: Empty = "last"
    calibrate: bool = True

    def __post_init__(self) -> None:
        if self.keep < 1:
            raise ValueError(f"keep must be at least 1, got {self.keep}")
        if self.alpha <= 0 or self.beta < 0:
            raise ValueError(f"alpha must be positive and beta not negative, got {self.alpha} and {self.beta}")
        ClassDifficulty(self.xi)  # checks xi

    def steps(self) -> tuple[Step, ...]:
        """Uncertainty over all candidates, then matching among the best of them."""
        scored: frozenset[Signal] = frozenset({_ENTROPY, _SCORES, _LABELS})
        if self.calibrate:
            scored |= {ClassDifficulty(self.xi)}
        return Step(Needs(pool=scored), self._thin), Step(Needs(pool=scored | {_FEATURES}), self._choose)

    def _thin(self, query: Query) -> Selection:
        keep = min(len(query.unlabelled_M), max(query.budget, round(self.keep * query.budget)))
        scores_M = self._scores(query)
        best = take_top(scores_M, keep, rng=query.rng)
        return Selection(query.unlabelled_M[best], scores_M[best])

    def _choose(self, query: Query) -> Selection:
        scores_M = self._scores(query)
        if query.budget == len(query.unlabelled_M):  # all go: only their order is left to say
            chosen = take_top(scores_M, query.budget, rng=query.rng)
        else:
            features, labels, scores = (query.pool_rows(signal) for signal in (_FEATURES, _LABELS, _SCORES))
            objects = Objects.of(features.values_U, labels.values_U, scores.values_U, features.first_N)
            bare_M = ~self._spoken(scores) if self.empty == "first" else torch.zeros(len(scores_M), dtype=torch.bool)
            ahead, others = bare_M.nonzero()[: query.budget, 0], (~bare_M).nonzero()[:, 0]
            matched = matching_picks(objects.take(others), query.budget - len(ahead), rng=query.rng)
            chosen = torch.cat([ahead, others[matched]])
        return Selection(query.unlabelled_M[chosen], scores_M[chosen])

    def _scores(self, query: Query) -> Tensor:
        """(M,) float32: the first stage."""
        weight_C = None
        if self.calibrate:
            difficulty_C = query.pool(ClassDifficulty(self.xi))[0]
            weight_C = difficulty_weights(difficulty_C, alpha=self.alpha, beta=self.beta)
        entropy, scores, labels = (query.pool_rows(signal) for signal in (_ENTROPY, _SCORES, _LABELS))
        worth_U = entropy.values_U * (scores.values_U > self.threshold)
        if weight_C is not None:
            worth_U = worth_U * weight_C[labels.values_U]
        # float64: the order of the sum must not decide between images
        total_M = torch.zeros(len(query.unlabelled_M), dtype=torch.float64)
        total_M = total_M.index_add_(0, entropy.item_U, worth_U.double()).float()
        if self.empty == "last":  # nothing is in doubt there
            return total_M
        return fill_empty(total_M, self._spoken(scores), empty=self.empty)

    def _spoken(self, scores: Rows) -> Tensor:
        """(M,) which images have a box that says something."""
        said_U = scores.item_U[scores.values_U > self.threshold]
        return said_U.bincount(minlength=len(scores.first_N) - 1) > 0
