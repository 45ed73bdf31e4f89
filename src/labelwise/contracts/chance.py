"""What a metric says of answers that look at no image, and whether a model did better."""

from __future__ import annotations

from dataclasses import dataclass

#: a metric that is no share of images, such as an average precision, has to leave its level by more than this
LEVEL_SLACK = 0.01
#: how sure a share of images has to be above its level
SURE = 0.975


@dataclass(frozen=True, slots=True)
class Chance:
    """The primary metric of the best answer that looks at no image.

    Args:
        level: its value, higher being better.
        answer: that answer in words, as the end of "... is what X gives".
        images: where the metric is a share of images, how many there are; 0 where it is none.

    Example:
        >>> most = Chance(0.5, "naming 'cat' every time", images=100)
        >>> most.beaten(0.58), most.beaten(0.61)
        (False, True)
        >>> Chance(0.0, "boxes put down without looking").beaten(0.008)
        False
    """

    level: float
    answer: str
    images: int = 0

    def beaten(self, value: float) -> bool:
        """Whether a value says that something was learnt.

        A share of images is held to the exact binomial test against the level, every other metric to ``LEVEL_SLACK``. A
        value that is not a number beats nothing.
        """
        if not value > self.level:
            return False
        if not self.images:
            return value > self.level + LEVEL_SLACK
        from scipy.stats import binom

        # as many right by luck, or more
        return bool(binom.sf(round(value * self.images) - 1, self.images, self.level) < 1 - SURE)
