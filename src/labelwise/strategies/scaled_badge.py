"""BADGE where an image holds many objects: embeddings as long as the image is uncertain, drawn far apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from labelwise.contracts.query import Query, Selection
from labelwise.contracts.strategy import Needs, Step, Strategy
from labelwise.selection.reduction import Empty
from labelwise.selection.sampling import uniform
from labelwise.selection.seeding import plus_plus
from labelwise.signals.plain import NO_OBJECT, Embedding, Measure, Reduction, Uncertainty


@dataclass(frozen=True)
class ScaledBadge(Strategy):
    """Draws images that are uncertain and unlike each other, by one number and one vector for each.

    g_i = u_i h_i with the image's uncertainty u_i, reduced over its objects, and its embedding h_i. The first pick is
    the longest g; each other is drawn with P(i) = d_i^2 / sum_j d_j^2, d_i the distance of g_i to the nearest pick.
    Images without objects come last, unless ``empty`` says otherwise.

    Args:
        measure: u of a unit: margin, entropy or least_confidence.
        reduction: how units become an image; without effect where the unit is the image.
        empty: u of an image without objects: the ``median`` of all others, the highest (``first``), or none: these come
            ``last``, in a drawn order.
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
    empty: Empty = "last"
    features: Literal["task", "frozen", "objects"] = "task"

    def steps(self) -> tuple[Step, ...]:
        """One step, on uncertainties and embeddings."""
        return (Step(Needs(pool=frozenset({self._doubt, Embedding(self.features)})), self._choose),)

    @property
    def _doubt(self) -> Uncertainty:
        return Uncertainty(self.measure, self.reduction, empty="marked" if self.empty == "last" else self.empty)

    def _choose(self, query: Query) -> Selection:
        doubt_M = query.pool(self._doubt)
        spoken, bare = (doubt_M != NO_OBJECT).nonzero()[:, 0], (doubt_M == NO_OBJECT).nonzero()[:, 0]
        count = min(query.budget, len(spoken))
        rows_K = plus_plus(
            query.pool(Embedding(self.features))[spoken],
            count,
            factor_NC=doubt_M[spoken, None].clamp_min(0.0),
            first="longest",
            rng=query.rng,
        )
        rest = uniform(bare, query.budget - count, rng=query.rng) if count < query.budget else bare[:0]
        return Selection(query.unlabelled_M[torch.cat([spoken[rows_K.cpu()], rest])])
