"""ProbCover: balls of one radius around the picks that cover as much of the pool as they can."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from labelwise.contracts.query import Joint, Query, Selection
from labelwise.selection.balls import prob_cover, purity_radius
from labelwise.selection.sampling import uniform
from labelwise.strategies.auto import CLASSES
from labelwise.strategies.covering import Covering


@dataclass(frozen=True)
class ProbCover(Covering):
    """The candidate whose surroundings are least covered, again and again.

    pick = argmax_i |{j : |x_i - x_j| <= radius, j in no ball of a labelled item or pick}|. The scores are how many
    items each pick newly covers. Once everything is covered the rest is random, and a note says so.

    Args:
        radius: of the balls; None estimates it from the pool: the largest at which ``purity`` of the balls stay within
            one of ``classes`` clusters.
        purity: share of balls that must be pure, between 0 and 1.
        classes: clusters for the estimate; None takes the number of classes that are known, or ten. Never from hidden
            labels.
        normalise: compare embeddings scaled to length one, as published.
        features: ``frozen`` for the feature source beside the model (as published, on self-supervised features),
            ``task`` for the model's own embedding,
            ``objects`` for the mean over the objects that it detects.

    Raises:
        ConfigError: a radius with more than 134 million pairs of items within it.
        DataError: embeddings that are not finite.

    Cost: (L + M)^2 D operations for the pairs within the radius, 4 bytes a pair; the picks read each pair once. The
        estimate adds a k-means and the neighbours of at most 4,096 items.

    Example:
        >>> import labelwise as lw
        >>> points = [[0.0], [1.0], [2.0], [9.0], [10.0]]
        >>> lw.select("prob_cover", 2, embeddings=points, radius=1.5, normalise=False, seed=0).scores.tolist()
        [3.0, 2.0]

    Reference:
        Yehuda, Dekel, Hacohen and Weinshall, "Active Learning Through a Covering Lens", NeurIPS 2022, algorithm 1 and
        the estimate of delta. We differ: the estimate is a quantile, not a grid search; ties and the time after full
        cover are settled by the seed. Known to be sensitive to the radius: try two.
    """

    name: ClassVar[str] = "prob_cover"
    radius: float | None = None
    purity: float = 0.95
    classes: int | None = None
    normalise: bool = True

    def __post_init__(self) -> None:
        if self.radius is not None and not (self.radius > 0 and math.isfinite(self.radius)):
            raise ValueError(f"radius must be a finite number above 0, got {self.radius}")
        if not 0 < self.purity < 1:
            raise ValueError(f"purity must lie between 0 and 1, got {self.purity}")
        if self.classes is not None and self.classes < 2:
            raise ValueError(f"classes must be at least 2, got {self.classes}")

    def _choose(self, query: Query) -> Selection:
        joint = query.joint(self.signal)
        radius = self.radius or self._estimate(query, joint)
        if radius == math.inf:
            chosen_K = uniform(query.unlabelled_M, query.budget, rng=query.rng)
            return Selection(chosen_K, notes=("prob_cover: all items lie on one spot, so the picks are random",))
        rows_K, covers_K = prob_cover(
            joint.rows,
            query.budget,
            radius=radius,
            labelled_L=joint.labelled_L,
            candidates_M=joint.unlabelled_M,
            unit=self.normalise,
            rng=query.rng,
        )
        covered = int((covers_K == 0).sum())
        notes: tuple[str, ...] = ()
        if self.radius is None:
            notes += (f"prob_cover: radius {radius:.4g}, estimated from the pool",)
        if covered:
            notes += (f"prob_cover: the last {covered} picks are random, everything was covered: lower the radius",)
        return Selection(joint.positions[rows_K.cpu()], covers_K.cpu().float(), notes)

    def _estimate(self, query: Query, joint: Joint) -> float:
        known = CLASSES if query.class_counts_C is None else len(query.class_counts_C)
        clusters = self.classes or max(2, known)
        return purity_radius(joint.rows, clusters, purity=self.purity, unit=self.normalise, rng=query.rng)
