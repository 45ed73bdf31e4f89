"""Images whose boxes move when noise is added to the picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from labelwise.contracts.passes import Views
from labelwise.selection.reduction import Empty
from labelwise.signals.consistency import BoxShift
from labelwise.strategies.scored import Best


@dataclass(frozen=True)
class LocalizationStability(Best):
    """Detection: the images whose boxes lie elsewhere once there is noise in the picture, sure boxes counting most.

    score = -sum_j p_j mean_t IoU(b_j, b_tj) / sum_j p_j over the boxes j of an image, with score p_j and what becomes
    of box j at noise level t; from -1, where nothing moves, to 0. With ``classes``, 1 - min_j p_j is added, how little
    is known of the class of the least certain box.

    Args:
        levels: standard deviations of normal noise, each a pass, in units of the normalised input. The default is the
            published 8 to 48 of 255 where pictures are divided by a deviation of 0.5, as ours are by default.
        classes: add the uncertainty of classes, which the paper calls LS+C.
        empty: where images without any box stand: ``last``, ``median`` or ``first``.

    Raises:
        ConfigError: no level, or one that is not above 0.
        NonFiniteScore: the model's boxes or scores are not finite.

    Cost: as many more passes over the pool as there are levels; O(U) for each.

    Example:
        >>> import labelwise as lw
        >>> lw.select("localization_stability", 1, probs=[[0.5, 0.5], [0.9, 0.1]])
        Traceback (most recent call last):
        ...
        labelwise.errors.UnmetNeed: ...

    Reference:
        Kao, Lee, Sen and Liu, "Localization-Aware Active Learning for Object Detection", ACCV 2018. We differ: a box is
        compared with what the detector says at its own place in the noisy picture, where the paper looks for the best
        match among all that is detected there; and the noise of a level is the same for all images.
    """

    name: ClassVar[str] = "localization_stability"
    levels: tuple[float, ...] | list[float] = (0.06, 0.13, 0.19, 0.25, 0.31, 0.38)
    classes: bool = False
    empty: Empty = "last"

    def __post_init__(self) -> None:
        object.__setattr__(self, "levels", tuple(self.levels))  # files have lists, and strategies are hashable
        if not self.levels or not all(level > 0 for level in self.levels):
            raise ValueError(f"levels must be standard deviations above 0, got {list(self.levels)}")
        _ = self.signal  # checks that they are finite

    @property
    def signal(self) -> BoxShift:
        """How far boxes move."""
        levels = tuple(self.levels)
        return BoxShift(Views(len(levels), flip=False, degrees=0.0, noise=levels), self.classes, self.empty)
