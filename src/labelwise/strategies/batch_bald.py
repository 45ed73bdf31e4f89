"""The batch whose labels together say most about the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from labelwise.contracts.passes import Passes, PassKind, passes_of
from labelwise.contracts.query import Query, Selection
from labelwise.contracts.strategy import Needs, Step, Strategy
from labelwise.selection.information import batch_bald
from labelwise.selection.ranking import take_top
from labelwise.signals.draws import DrawProbs, DrawUncertainty


@dataclass(frozen=True)
class BatchBald(Strategy):
    """BALD for a batch: what the labels tell together, so that one of many duplicates is enough.

    pick_n = argmax_i I(y_1 ... y_n-1, y_i; w) with w one of T draws, each as likely. T draws can tell ln T nats in all
    (2.3 for ten): batches that say more than that are filled at random, so large batches want many passes.

    Args:
        configurations: answers to the batch that are told apart. The information is exact while there are no more,
            C^(n-1) for the n-th pick as a rule; beyond, it is averaged over so many drawn ones.
        candidates: look only at so many, those with the highest BALD, in a second round of passes: an approximation
            that saves memory on large pools. None looks at all, exactly.
        source: where the passes come from: ``dropout``, ``views`` (changed images), ``members`` (of an ensemble), or
            one of these in full, as ``Dropout(p=0.3, after=("layer4",))``. Without effect on arrays of draws.
        passes: how many, of members how many of each; None takes the source's own number: 10, of members 1 each.

    Raises:
        UnmetNeed: the learner makes no such passes; an image may have several classes; from arrays, ``draws``
            (T, N, C) was not given.
        NonFiniteScore: the model's probabilities are not finite.

    Cost: T passes over the pool; 4 T C bytes a candidate; O(configurations T C) for each candidate looked at again,
        some hundreds a pick.

    Example:
        >>> import labelwise as lw
        >>> one, two = [[1.0, 0.0], [0.0, 1.0]], [[0.9, 0.1], [0.1, 0.9]]
        >>> draws = [[one[t], one[t], two[1 - t], [0.5, 0.5]] for t in (0, 1)]
        >>> int(lw.select("batch_bald", 1, draws=draws, seed=0).positions[0]) in (0, 1)
        True

    Reference:
        Kirsch, van Amersfoort and Gal, "BatchBALD: Efficient and Diverse Batch Acquisition for Deep Bayesian Active
        Learning", NeurIPS 2019, algorithm 1. We differ: the greedy is lazy (the same picks), and answers are drawn
        once and extended pick by pick.
    """

    name: ClassVar[str] = "batch_bald"
    configurations: int = 2_000
    candidates: int | None = None
    source: Passes | PassKind = "dropout"
    passes: int | None = None

    def __post_init__(self) -> None:
        if self.configurations < 1:
            raise ValueError(f"configurations must be at least 1, got {self.configurations}")
        if self.candidates is not None and self.candidates < 1:
            raise ValueError(f"candidates must be at least 1, got {self.candidates}")
        passes_of(self.source, self.passes)

    @property
    def _draws(self) -> DrawProbs:
        return DrawProbs(passes_of(self.source, self.passes))

    @property
    def _alone(self) -> DrawUncertainty:
        return DrawUncertainty("bald", passes_of(self.source, self.passes))

    def steps(self) -> tuple[Step, ...]:
        """BALD first where candidates are limited, then the probabilities of all draws."""
        joint = Step(Needs(pool=frozenset({self._draws}), exclusive=True), self._choose)
        return (joint,) if self.candidates is None else (Step(Needs(pool=frozenset({self._alone})), self._thin), joint)

    def _thin(self, query: Query) -> Selection:
        keep = min(len(query.unlabelled_M), max(query.budget, self.candidates or 0))
        return Selection(query.unlabelled_M[take_top(query.pool(self._alone), keep, rng=query.rng).cpu()])

    def _choose(self, query: Query) -> Selection:
        matrix_NTC = query.matrix(self._draws)
        picks_K, gains_K = batch_bald(
            matrix_NTC,
            query.budget,
            candidates_M=query.unlabelled_M,
            configurations=self.configurations,
            rng=query.rng,
        )
        return Selection(picks_K.cpu().to(torch.int64), gains_K.cpu())
