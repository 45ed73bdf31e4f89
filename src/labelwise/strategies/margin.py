"""Smallest lead of the first class over the second."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from labelwise.signals.plain import Measure
from labelwise.strategies.scored import ScoredOnce


@dataclass(frozen=True)
class Margin(ScoredOnce):
    """The candidates whose two most likely classes are closest.

    score = 1 - (p1 - p2), in [0, 1]. The strongest of the simple methods once a model is past its first labels.

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
        >>> probs = [[0.9, 0.1, 0.0], [0.5, 0.45, 0.05], [0.4, 0.3, 0.3]]
        >>> lw.select("margin", 1, probs=probs, seed=0).positions.tolist()
        [1]

    Reference:
        Scheffer, Decomain and Wrobel, "Active Hidden Markov Models for Information Extraction", IDA 2001.
    """

    name: ClassVar[str] = "margin"
    measure: ClassVar[Measure] = "margin"
