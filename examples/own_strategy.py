"""A strategy of your own in one class: margin, but never two picks of one predicted class in a row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

import labelwise as lw
from labelwise.signals import PredictedClass, Uncertainty

MARGIN, CLASS = Uncertainty("margin"), PredictedClass()


@dataclass(frozen=True)
class TurnTaking(lw.Strategy):
    """The best of each predicted class in turn, by margin."""

    name: ClassVar[str] = "turn_taking"

    def steps(self) -> tuple[lw.Step, ...]:
        return (lw.Step(lw.Needs(pool=frozenset({MARGIN, CLASS})), self._choose),)

    def _choose(self, query: lw.Query) -> lw.Selection:
        margin_M, class_M = query.pool(MARGIN), query.pool(CLASS)
        best_first = margin_M.argsort(descending=True)
        # how many better ones its class has: the turn in which it comes up
        seen: dict[int, int] = {}
        turn_M = torch.zeros(len(margin_M))
        for row in best_first.tolist():
            label = int(class_M[row])
            turn_M[row] = seen[label] = seen.get(label, -1) + 1
        chosen_K = (margin_M - turn_M).argsort(descending=True)[: query.budget]
        return lw.Selection(query.unlabelled_M[chosen_K], margin_M[chosen_K])


def main() -> None:
    probs = np.random.default_rng(0).dirichlet(np.ones(5), size=100)
    picks = lw.select(TurnTaking(), budget=10, probs=probs)
    print([(int(p), int(probs[p].argmax())) for p in picks.positions])


if __name__ == "__main__":
    main()
