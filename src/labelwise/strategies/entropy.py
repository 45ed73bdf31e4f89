"""Largest entropy of the predicted classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from labelwise.signals.plain import Measure
from labelwise.strategies.scored import ScoredOnce


@dataclass(frozen=True)
class Entropy(ScoredOnce):
    """The candidates whose predicted distribution is most spread out.

    score = -sum_c p_c ln p_c, in nats. With many classes the tail of small probabilities weighs in; margin is often
    better.

    Args:
        subpool: score only this many candidates, drawn at random; None scores all.
        noise: ``power``, ``softmax`` or ``softrank`` turns the top list into a random draw that follows the scores,
            which keeps a batch from being one image many times; None takes the top list itself.
        coldness: of that draw; higher follows the scores more closely.
        reduction: how the units of an image (objects, pixels; classes, where it may have several) become one number.
        empty: where images without any object stand: ``last``, ``median`` or ``first``.

    Raises:
        NonFiniteScore: the model's probabilities are not finite.

    Cost: O(M C) for the scores while the pool is read, O(M + K log K) to choose.

    Example:
        >>> import labelwise as lw
        >>> probs = [[0.9, 0.1, 0.0], [0.5, 0.4, 0.1], [0.4, 0.3, 0.3]]
        >>> lw.select("entropy", 1, probs=probs, seed=0).positions.tolist()
        [2]

    Reference:
        Shannon, "A Mathematical Theory of Communication", 1948; Settles, "Active Learning Literature Survey", 2009,
        section 3.1.
    """

    name: ClassVar[str] = "entropy"
    measure: ClassVar[Measure] = "entropy"
