"""k-means++ on the gradients that the predicted labels would cause: uncertain and diverse at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from labelwise.contracts.query import Query, Selection
from labelwise.contracts.strategy import Needs, Step, Strategy
from labelwise.selection.seeding import plus_plus
from labelwise.signals.plain import Embedding, Residual


@dataclass(frozen=True)
class Badge(Strategy):
    """Draws candidates whose last-layer gradients under the predicted label are long and far apart.

    g_i = (p_i - onehot(argmax p_i)) x h_i, an outer product of residual and embedding, whose length is the model's
    doubt. The first pick is the longest g; each other is drawn with P(i) = d_i^2 / sum_j d_j^2, d_i the distance of g_i
    to the nearest pick. The products are never formed, <g_i, g_j> = <r_i, r_j> <h_i, h_j>; the draw is exact.

    Args:
        top: keep only the residuals of this many most likely classes, the others counting as zero. With top classes
            g loses sum_rest p_c^2 of its squared length per |h|^2, mostly nothing. None keeps all.

    Raises:
        DataError: embeddings that are not finite.

    Cost: at most 2 M K (D + C) operations in matrix products, mostly a fraction of it; 4 C bytes an item for the
        residuals, 12 beside.

    Example:
        >>> import labelwise as lw
        >>> probs = [[1.0, 0.0], [0.5, 0.5], [0.5, 0.5], [0.9, 0.1]]
        >>> picks = lw.select("badge", 2, probs=probs, embeddings=[[9.0], [1.0], [1.0], [1.0]], seed=0)
        >>> picks.positions[0] in (1, 2)
        True

    Reference:
        Ash, Zhang, Krishnamurthy, Langford and Agarwal, "Deep Batch Active Learning by Diverse, Uncertain Gradient
        Lower Bounds", ICLR 2020, algorithm 1. The paper starts k-means++ at random; the authors' experiments and we
        at the longest gradient. ``top`` is ours. For yes/no questions the residual is p_c - [p_c > 1/2].
    """

    name: ClassVar[str] = "badge"
    top: int | None = None

    def __post_init__(self) -> None:
        Residual(self.top)

    def steps(self) -> tuple[Step, ...]:
        """One step, on residuals and embeddings."""
        signals = frozenset({Residual(self.top), Embedding("task")})
        # the labelled items are no centres; with their rows nothing need be copied to leave them out
        return (Step(Needs(pool=signals, labelled=signals), self._choose),)

    def _choose(self, query: Query) -> Selection:
        embeddings, residuals = query.joint(Embedding("task")), query.joint(Residual(self.top))
        rows_K = plus_plus(
            embeddings.rows,
            query.budget,
            factor_NC=residuals.rows,
            candidates_M=embeddings.unlabelled_M,
            first="longest",
            rng=query.rng,
        )
        return Selection(embeddings.positions[rows_K.cpu()])
