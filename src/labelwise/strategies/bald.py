"""Most information that a label would give about the model: sure draws that disagree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from labelwise.signals.draws import DrawMeasure
from labelwise.strategies.scored import ScoredOverDraws


@dataclass(frozen=True)
class Bald(ScoredOverDraws):
    """The candidates on whose class the draws disagree although each is sure of its own.

    score = H[mean_t p_t] - mean_t H[p_t], in nats: the mutual information of the label and the model. Unlike entropy it
    leaves alone what every draw finds hard. A batch of the best is often one image many times: see ``noise``, and
    ``batch_bald``.

    Args:
        subpool: score only this many candidates, drawn at random; None scores all.
        noise: ``power``, ``softmax`` or ``softrank`` turns the top list into a random draw that follows the scores,
            which keeps a batch from being one image many times; None takes the top list itself.
        coldness: of that draw; higher follows the scores more closely.
        reduction: how the units of an image (objects, pixels; classes, where it may have several) become one number.
        empty: where images without any object stand: ``last``, ``median`` or ``first``.
        source: where the passes come from: ``dropout``, ``views`` (changed images), ``members`` (of an ensemble), or
            one of these in full, as ``Dropout(p=0.3, after=("layer4",))``. Without effect on arrays of draws.
        passes: how many, of members how many of each; None takes the source's own number: 10, of members 1 each.

    Raises:
        NonFiniteScore: the model's probabilities are not finite.
        UnmetNeed: the learner makes no such passes; from arrays, ``draws`` (T, N, C) was not given.

    Cost: T passes over the pool, folded as they come in O(T M C); O(M + K log K) to choose.

    Example:
        >>> import labelwise as lw
        >>> sure, torn, unsure = [1.0, 0.0], [[1.0, 0.0], [0.0, 1.0]], [0.5, 0.5]
        >>> draws = [[sure, torn[0], unsure], [sure, torn[1], unsure]]
        >>> lw.select("bald", 1, draws=draws, seed=0).positions.tolist()
        [1]

    Reference:
        Houlsby, Huszár, Ghahramani and Lengyel, "Bayesian Active Learning for Classification and Preference Learning",
        arXiv 1112.5745, equation 2; with dropout: Gal, Islam and Ghahramani, "Deep Bayesian Active Learning with Image
        Data", ICML 2017, section 4. ``noise="power"`` is PowerBALD: Kirsch et al., TMLR 2023 (arXiv 2106.12059).
    """

    name: ClassVar[str] = "bald"
    measure: ClassVar[DrawMeasure] = "bald"
