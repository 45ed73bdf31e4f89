"""Uncertain objects, each kind of them counted once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from labelwise.contracts.query import Query, Selection
from labelwise.contracts.signal import Signal
from labelwise.contracts.strategy import Needs, Step, Strategy
from labelwise.errors import NonFiniteScore
from labelwise.selection.objects import balance_weights, distinct_objects
from labelwise.selection.ranking import take_top
from labelwise.selection.reduction import Empty, reduce_units
from labelwise.signals.plain import Measure
from labelwise.signals.units import Units, UnitUncertainty

_SCORES, _LABELS, _FEATURES = Units("scores"), Units("labels"), Units("unit_embedding")


@dataclass(frozen=True)
class EntropyNMS(Strategy):
    """Detection: the images with most uncertainty in their objects, objects alike in one image counted once.

    score = reduce_j w_c(j) H(p_j) over the boxes j that stay: from the most uncertain down a box goes when one of its
    class has stayed whose embedding has a cosine above ``alike``. With ``balance``, w_c = (N + C) / (C (n_c + 1)) from
    the n_c labelled objects of each class, else 1.

    Args:
        measure: uncertainty of a box: ``entropy`` (as published), ``margin`` or ``least_confidence``.
        reduction: how boxes become an image: ``sum`` (as published), ``mean``, ``max`` or ``top_k``.
        empty: where images without any box stand: ``last``, ``median`` or ``first``.
        top: boxes that ``top_k`` averages.
        alike: cosine in [-1, 1] above which two boxes of a class say the same; 1 counts all, and reads no embeddings.
        balance: weigh rare classes more.
        threshold: boxes with lower scores say nothing.

    Raises:
        NonFiniteScore: probabilities or embeddings that are not finite.

    Cost: O(U C) for the scores, O(G^2 D) for each image with G boxes.

    Example:
        >>> import labelwise as lw
        >>> lw.select("entropy_nms", 1, probs=[[0.5, 0.5], [0.9, 0.1]])
        Traceback (most recent call last):
        ...
        labelwise.errors.UnmetNeed: ...

    Reference:
        Wu, Chen, Huang, "Entropy-Based Active Learning for Object Detection With Progressive Diversity Constraint",
        CVPR 2022, section 3.3. Its second stage, diverse prototypes, is left out; the weights of classes are ours.
    """

    name: ClassVar[str] = "entropy_nms"
    measure: Measure = "entropy"
    reduction: Literal["sum", "mean", "max", "top_k"] = "sum"
    empty: Empty = "last"
    top: int = 10
    alike: float = 0.5
    balance: bool = False
    threshold: float = 0.05

    def __post_init__(self) -> None:
        if self.top < 1:
            raise ValueError(f"top must be at least 1, got {self.top}")
        if not -1 <= self.alike <= 1:
            raise ValueError(f"alike must lie in [-1, 1], got {self.alike}")

    def steps(self) -> tuple[Step, ...]:
        """One step, on the objects of the candidates."""
        signals: frozenset[Signal] = frozenset({UnitUncertainty(self.measure), _SCORES, _LABELS})
        return (Step(Needs(pool=signals if self.alike == 1 else signals | {_FEATURES}), self._choose),)

    def _choose(self, query: Query) -> Selection:
        scores_M = self._scores(query)
        chosen = take_top(scores_M, query.budget, rng=query.rng)
        return Selection(query.unlabelled_M[chosen], scores_M[chosen])

    def _scores(self, query: Query) -> Tensor:
        """(M,) float32."""
        rows = query.pool_rows(UnitUncertainty(self.measure))
        values_U, item_U, labels_U = rows.values_U, rows.item_U, query.pool_rows(_LABELS).values_U
        # a mean or a maximum over what is left would pass over what a diverged model says
        if not bool(torch.isfinite(values_U).all()):
            raise NonFiniteScore("the uncertainty of an object is NaN or infinite: did the training diverge?")
        if self.balance and query.class_counts_C is not None:
            values_U = values_U * balance_weights(query.class_counts_C)[labels_U]
        stays_U = query.pool_rows(_SCORES).values_U > self.threshold
        if self.alike < 1:
            # boxes that say nothing must not silence others: they come last
            ranked_U = torch.where(stays_U, values_U, -1.0)
            features_UD = query.pool_rows(_FEATURES).values_U
            stays_U &= distinct_objects(ranked_U, labels_U, features_UD, rows.first_N, alike=self.alike)
        size = len(query.unlabelled_M)
        values_U, item_U = values_U[stays_U], item_U[stays_U]
        return reduce_units(values_U, item_U, size, how=self.reduction, empty=self.empty, top=self.top)
