"""SEALS: only the neighbours of what is labelled are looked at."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

import torch

from labelwise.contracts.query import Query, Selection
from labelwise.contracts.strategy import Needs, Step, Strategy
from labelwise.selection.neighbours import nearest
from labelwise.selection.sampling import uniform
from labelwise.signals.plain import Embedding
from labelwise.strategies.margin import Margin
from labelwise.strategies.parts import auxiliaries_of, part

if TYPE_CHECKING:
    from labelwise.contracts.learner import Auxiliary


@dataclass(frozen=True)
class Seals(Strategy):
    """A search that spreads from the labels: ``then`` chooses among the nearest neighbours of the labelled items.

    candidates = union_{l labelled} NN_k(l), the k nearest unlabelled items of each; picks = then(candidates, K). The
    signals of ``then`` are collected for these few only, so that a huge pool costs what the labels reach, and rare
    classes are searched around their examples. With no label everything is a candidate; where the neighbours are fewer
    than the budget, random items join them.

    Args:
        neighbours: k, for each labelled item.
        then: makes the choice; a ``Strategy``, or its name.
        features: ``frozen`` for the feature source beside the model (as published), ``task`` for the model's own
            embedding, for which the model must read the whole pool.

    Raises:
        ConfigError: an unknown name, or an oracle.
        DataError: embeddings that are not finite.
        PoolError: as the inner strategy does.

    Cost: 2 L M D operations in matrix products, exact; then the inner strategy on at most k L candidates.

    Example:
        >>> import labelwise as lw
        >>> probs = [[0.9, 0.1], [0.7, 0.3], [0.6, 0.4], [0.5, 0.5]]
        >>> points = [[0.0], [1.0], [2.0], [99.0]]
        >>> picks = lw.select("seals", 1, probs=probs, embeddings=points, labelled=[0], neighbours=2, seed=0)
        >>> picks.positions.tolist()
        [2]

    Reference:
        Coleman, Chou, Katz-Samuels, Culatana, Bailis, Berg, Nowak, Sumbaly, Zaharia and Yalniz, "Similarity Search for
        Efficient Active Learning and Search of Rare Concepts", AAAI 2022, algorithm 1. We differ: neighbours are exact
        and looked up among what is still unlabelled, so that each label keeps k of them; and the budget is always met.
    """

    name: ClassVar[str] = "seals"
    neighbours: int = 100
    then: Strategy | str = field(default_factory=Margin)
    features: Literal["task", "frozen"] = "frozen"

    def __post_init__(self) -> None:
        if self.neighbours < 1:
            raise ValueError(f"neighbours must be at least 1, got {self.neighbours}")
        part("then", self.then)

    @property
    def cold(self) -> bool:
        """Where the inner strategy is, and the features are frozen."""
        return self.features == "frozen" and part("then", self.then).cold

    def steps(self) -> tuple[Step, ...]:
        """The search on embeddings, then the steps of the inner strategy."""
        signals = frozenset({Embedding(self.features)})
        return (Step(Needs(pool=signals, labelled=signals), self._reach), *part("then", self.then).steps())

    def auxiliaries(self) -> tuple[Auxiliary, ...]:
        """Those of the inner strategy."""
        return auxiliaries_of([part("then", self.then)])

    def _reach(self, query: Query) -> Selection:
        if not len(query.labelled_L):
            return Selection(query.unlabelled_M)
        joint = query.joint(Embedding(self.features))
        # shuffled, so that equally near items are reached at random
        among_M = uniform(joint.unlabelled_M, len(joint.unlabelled_M), rng=query.rng)
        found = nearest(joint.rows, self.neighbours, queries=joint.labelled_L, among=among_M)
        reached = joint.positions[torch.unique(found.index_QK).cpu()]
        missing = query.budget - len(reached)
        if missing <= 0:
            return Selection(reached)
        rest = query.unlabelled_M[~torch.isin(query.unlabelled_M, reached)]
        note = f"the labels reach {len(reached)} items: {missing} of the {query.budget} are drawn at random"
        return Selection(torch.cat([reached, uniform(rest, missing, rng=query.rng)]), notes=(note,))
