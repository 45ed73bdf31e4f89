"""Images in which the model sees a pose that no labelled one is like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from labelwise.signals.poses import UnusualPose
from labelwise.strategies.scored import Best


@dataclass(frozen=True)
class SkeletonLikelihood(Best):
    """Key points: the images whose predicted pose has the least likely lengths of limbs and angles between them.

    score = sum_f w_f z_f^2 / 2 / sum_f w_f, z_f = (x_f - mean_f) / s_f over the logarithms of lengths and the angles at
    joints of the labelled poses, w_f the product of the masses of the peaks that make it. A point that the model does
    not see says nothing of the pose.

    Args:
        limbs: pairs of names of points; (): those of the labels' skeleton, else the tree of the steadiest lengths.
        shrink: s_f^2 is drawn towards the mean of all lengths (or angles) as if so many labelled poses had that.

    Raises:
        UnmetNeed: no labelled image shows both ends of a limb.
        NonFiniteScore: the training diverged.

    Cost: one pass over the labelled images' labels and one over the candidates; O(M L) beside it.

    Example:
        >>> import labelwise as lw
        >>> lw.select("skeleton_likelihood", 1, probs=[[0.5, 0.5], [0.9, 0.1]])
        Traceback (most recent call last):
        ...
        labelwise.errors.UnmetNeed: ...

    Reference:
        After Shukla et al., "VL4Pose: Active Learning Through Out-Of-Distribution Detection For Pose Estimation", BMVC
        2022, arXiv 2210.06028. We differ: Gaussians are counted from labels instead of being said by a second network,
        they are of lengths and of angles between limbs, so that a turned body is none that is new, and the highest peak
        stands for the whole map.
    """

    name: ClassVar[str] = "skeleton_likelihood"
    limbs: tuple[tuple[str, str], ...] = ()
    shrink: float = 5.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "limbs", tuple((str(one), str(other)) for one, other in self.limbs))
        if not self.shrink > 0:
            raise ValueError(f"shrink must be above 0, got {self.shrink}")

    @property
    def signal(self) -> UnusualPose:
        """How unusual the pose is."""
        return UnusualPose(self.limbs, self.shrink)
