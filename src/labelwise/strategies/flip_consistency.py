"""Images of which a model of objects or points says something else when they are mirrored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from labelwise.contracts.passes import Views
from labelwise.selection.reduction import Empty
from labelwise.signals.consistency import ViewConsistency
from labelwise.strategies.scored import Best

_VIEWS = {"flip": Views(draws=2, degrees=0.0, noise=0.0), "all": Views(draws=4)}


@dataclass(frozen=True)
class FlipConsistency(Best):
    """Detection and key points: the images with an object, or a point, on which two looks half agree.

    score = -mean_t min_j |m_tj - base|, m = IoU(b, b') + (max p + max p') / 2 (1 - JS(p, p')) between box j and what
    the detector says at its place in view t. An object near ``base`` is neither hopeless nor settled. Of a point the
    mass that both looks have in the same peaks, sum_c min(p_c, p'_c), stands for the overlap of boxes.

    Args:
        base: consistency in [0, 2] of the most wanted objects.
        views: ``flip`` (the mirror image) or ``all`` (four views: mirrored, turned by up to 10 degrees, with noise).
        empty: where images without any box stand: ``last``, ``median`` or ``first``.

    Raises:
        NonFiniteScore: the model's boxes, points or probabilities are not finite.

    Cost: as many more passes over the pool as there are views, two or four; O(U C) for each.

    Example:
        >>> import labelwise as lw
        >>> lw.select("flip_consistency", 1, probs=[[0.5, 0.5], [0.9, 0.1]])
        Traceback (most recent call last):
        ...
        labelwise.errors.UnmetNeed: ...

    Reference:
        Yu et al., "Consistency-based Active Learning for Object Detection", CVPR workshops 2022. We differ: boxes are
        judged again at their places instead of being matched to those of the view; cut-outs and scaled views, and the
        second stage that balances classes, are left out; key points are ours.
    """

    name: ClassVar[str] = "flip_consistency"
    base: float = 1.3
    views: Literal["flip", "all"] = "flip"
    empty: Empty = "last"

    def __post_init__(self) -> None:
        if not 0 <= self.base <= 2:
            raise ValueError(f"base must lie in [0, 2], got {self.base}")

    @property
    def signal(self) -> ViewConsistency:
        """The consistency of views."""
        return ViewConsistency(_VIEWS[self.views], self.base, self.empty)
