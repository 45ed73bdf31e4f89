"""A quota for every predicted class, filled by another strategy."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor

from labelwise.contracts.query import Query, Selection
from labelwise.contracts.strategy import Needs, Step, Strategy
from labelwise.selection.sampling import apportion
from labelwise.signals.plain import PredictedClass
from labelwise.strategies.margin import Margin
from labelwise.strategies.parts import auxiliaries_of, choose, needs_of, part

if TYPE_CHECKING:
    from labelwise.contracts.learner import Auxiliary

PREDICTED = PredictedClass()


@dataclass(frozen=True)
class Quota(Strategy):
    """Every class that the model predicts gets its share of the budget, and ``of`` chooses within the class.

    K_c = w_c K / sum_c w_c, at most M_c, with w_c = 1 (``equal``) or w_c = 1 / (n_c + 1) (``inverse``) for n_c labelled
    items of class c. What a small class cannot use goes to the others. The picks of the classes come in turn.

    Args:
        of: chooses within a class; a ``Strategy``, or its name.
        by: ``equal`` shares, or ``inverse`` to the labels that each class has, which evens the labelled set out.

    Raises:
        ConfigError: an unknown name, or an oracle.
        PoolError: as the inner strategy does.

    Cost: that of the inner strategy on the candidates of one class after another, O(M C) for the prediction. The
    signals of an inner strategy of several steps are read for all candidates.

    Example:
        >>> import labelwise as lw
        >>> probs = [[0.9, 0.1], [0.6, 0.4], [0.55, 0.45], [0.2, 0.8]]
        >>> sorted(lw.select("quota", 2, probs=probs, seed=0).positions.tolist())
        [2, 3]

    Reference:
        Class-balanced acquisition by prediction as in Bengar et al., "Class-Balanced Active Learning for Image
        Classification", WACV 2022. We differ: quotas, met exactly where the pool allows, instead of their optimisation.
    """

    name: ClassVar[str] = "quota"
    of: Strategy | str = field(default_factory=Margin)
    by: Literal["equal", "inverse"] = "equal"

    def __post_init__(self) -> None:
        part("of", self.of)

    def steps(self) -> tuple[Step, ...]:
        """One step, on the predicted class and what the inner strategy needs."""
        needs = Needs(pool=frozenset({PREDICTED})) | needs_of([part("of", self.of)])
        return (Step(needs, self._choose),)

    def auxiliaries(self) -> tuple[Auxiliary, ...]:
        """Those of the inner strategy."""
        return auxiliaries_of([part("of", self.of)])

    def _choose(self, query: Query) -> Selection:
        inner = part("of", self.of)
        predicted_M = query.pool(PREDICTED).to(device="cpu", dtype=torch.int64)
        classes, room = torch.unique(predicted_M, return_counts=True)
        dealt_K = apportion(self._weights(classes, query.class_counts_C), query.budget, room_C=room, rng=query.rng)
        picks_K = torch.empty(query.budget, dtype=torch.int64)
        scores_K = torch.empty(query.budget, dtype=torch.float64)
        notes: dict[str, None] = {}
        scored = True
        for number, label in enumerate(classes.tolist()):
            turns = torch.nonzero(dealt_K == number).flatten()
            if not len(turns):
                continue
            mine = query.unlabelled_M[predicted_M == label]
            chosen = choose(inner, replace(query, unlabelled_M=mine, budget=len(turns)))
            picks_K[turns] = chosen.positions_K
            notes |= dict.fromkeys(chosen.notes)
            if chosen.scores_K is None:
                scored = False
            else:
                scores_K[turns] = chosen.scores_K.to(device="cpu", dtype=torch.float64)
        return Selection(picks_K, scores_K if scored else None, tuple(notes))

    def _weights(self, classes: Tensor, counts_C: Tensor | None) -> Tensor:
        if self.by == "equal" or counts_C is None:
            return torch.ones(len(classes))
        known = torch.zeros(max(len(counts_C), int(classes.max()) + 1), dtype=torch.float64)
        known[: len(counts_C)] = counts_C
        return 1 / (known[classes] + 1)
