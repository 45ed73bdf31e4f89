"""The images about which two class heads of a detector disagree most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from labelwise.contracts.query import Query, Selection
from labelwise.contracts.strategy import Needs, Step, Strategy
from labelwise.selection.ranking import take_top
from labelwise.signals.disagreement import HeadGap


@dataclass(frozen=True)
class Disagreement(Strategy):
    """The candidates in which two class heads of the detector say the most different things.

    score = mean over the k places with the largest gap of ``mean over classes of (p1 - p2)^2``, over all anchors or
    cells of all levels, before any box is kept. The detector needs two class heads: ``model: centre+mil``, or a
    training scheme that gives it them (``learner: {kind: torch, scheme: mi_aod}``).

    Args:
        preset: ``default``, or ``faithful``: the 10,000 places of the published RetinaNet; ``faithful_ssd`` also takes
            sigmoids of all logits, the background among them, as the published SSD does (of its 8,732 places all
            count).
        top: k, as a share of all places below 1, or as a number; left out, a tenth, about what 10,000 of 91,260
            anchors are.
        squared: whether gaps are squared, as in the authors' code; the paper has absolute values.
        weighted: whether gaps are multiplied by the weights that the head of multiple instances gives to places.

    Raises:
        UnmetNeed: the network has one class head, or none.
        NonFiniteScore: the training diverged.

    Cost: one pass over the candidates, O(M + K log K) to choose.

    Example:
        >>> Disagreement(preset="faithful").gap.top
        10000

    Reference:
        Yuan et al., "Multiple Instance Active Learning for Object Detection", CVPR 2021, equation 3 and section 3.4. It
        asks for the highest scores alone: put it first in ``prefilter`` where images resemble each other.
    """

    name: ClassVar[str] = "disagreement"
    preset: Literal["default", "faithful", "faithful_ssd"] = "default"
    top: float | None = None
    squared: bool = True
    weighted: bool = False

    def __post_init__(self) -> None:
        if self.top is not None and not self.top > 0:
            raise ValueError(f"top is a share of the places below 1, or a number of them, got {self.top}")

    @property
    def gap(self) -> HeadGap:
        """What is measured of each image."""
        top = self.top if self.top is not None else 0.1 if self.preset == "default" else 10_000
        return HeadGap(top, self.squared, self.weighted, background=self.preset == "faithful_ssd")

    @property
    def scored_by(self) -> HeadGap:
        """The gap."""
        return self.gap

    def steps(self) -> tuple[Step, ...]:
        """One step, on the gaps."""
        return (Step(Needs(pool=frozenset({self.gap})), self._choose),)

    def _choose(self, query: Query) -> Selection:
        scores_M = query.pool(self.gap)
        chosen_K = take_top(scores_M, query.budget, rng=query.rng).cpu()
        return Selection(query.unlabelled_M[chosen_K], scores_M.cpu()[chosen_K])
