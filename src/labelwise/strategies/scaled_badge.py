"""BADGE where an image holds many objects: embeddings as long as the image is uncertain, drawn far apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from labelwise.contracts.query import Query, Selection
from labelwise.contracts.strategy import Needs, Step, Strategy
from labelwise.selection.seeding import plus_plus
from labelwise.signals.plain import Embedding, Measure, Reduction, Uncertainty


@dataclass(frozen=True)
class ScaledBadge(Strategy):
    """Draws images that are uncertain and unlike each other, by one number and one vector for each.

    g_i = u_i h_i with the image's uncertainty u_i, reduced over its objects, and its embedding h_i. The first pick is
    the longest g; each other is drawn with P(i) = d_i^2 / sum_j d_j^2, d_i the distance of g_i to the nearest pick. An
    image without objects has u_i = 0 and comes last.

    Args:
        measure: u of a unit: margin, entropy or least_confidence.
        reduction: how units become an image; without effect where the unit is the image.
        features: ``task`` for the embedding of the model in training, ``objects`` for the mean over the objects that it
            detects, ``frozen`` for the feature source.

    Raises:
        DataError: embeddings that are not finite.

    Cost: that of ``badge`` with a single class.

    Example:
        >>> import labelwise as lw
        >>> probs = [[1.0, 0.0], [0.5, 0.5], [0.5, 0.5], [0.9, 0.1]]
        >>> picks = lw.select("scaled_badge", 1, probs=probs, embeddings=[[9.0], [1.0], [1.0], [1.0]], seed=0)
        >>> picks.positions[0] in (1, 2)
        True

    Reference:
        Ash, Zhang, Krishnamurthy, Langford and Agarwal, "Deep Batch Active Learning by Diverse, Uncertain Gradient
        Lower Bounds", ICLR 2020, whose gradient g = (p - onehot) x h is as long as the model's doubt; here the doubt is
        a number, because boxes of different classes have no residual in common.
    """

    name: ClassVar[str] = "scaled_badge"
    measure: Measure = "margin"
    reduction: Reduction = "sum"
    features: Literal["task", "frozen", "objects"] = "task"

    def steps(self) -> tuple[Step, ...]:
        """One step, on uncertainties and embeddings."""
        uncertainty, embedding = Uncertainty(self.measure, self.reduction), Embedding(self.features)
        return (Step(Needs(pool=frozenset({uncertainty, embedding})), self._choose),)

    def _choose(self, query: Query) -> Selection:
        doubt_M = query.pool(Uncertainty(self.measure, self.reduction)).clamp_min(0.0)
        rows_K = plus_plus(
            query.pool(Embedding(self.features)),
            query.budget,
            factor_NC=doubt_M[:, None],
            first="longest",
            rng=query.rng,
        )
        return Selection(query.unlabelled_M[rows_K.cpu()])
