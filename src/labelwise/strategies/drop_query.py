"""DropQuery: candidates whose class changes when features drop out, one from each of their clusters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from labelwise.contracts.query import Query, Selection
from labelwise.contracts.strategy import Needs, Step, Strategy
from labelwise.selection.dropout import dropout_picks
from labelwise.signals.plain import Embedding


@dataclass(frozen=True)
class DropQuery(Strategy):
    """Uncertain by dropout on the features, diverse by clustering: made for linear heads on foundation features.

    n_i = sum_t [class of head(dropout_t(z_i)) != class of head(z_i)] over the passes; candidates with n_i > passes / 2
    are clustered into K, and the nearest to each centroid is picked. Where they are fewer than K, those with the next
    lower n_i join them. The scores are n_i / passes. Of the model only the head runs.

    Args:
        passes: passes with dropout.
        rate: share of the features that drop out in a pass.

    Raises:
        DataError: embeddings that are not finite.
        UnmetNeed: the model does not end in a linear layer, or ``head=`` was not given.

    Cost: passes M D random numbers and 2 passes M C D operations; ``kmeans`` among the uncertain.

    Example:
        >>> import labelwise as lw
        >>> points = [[9.0, 0.0], [1.0, 0.9], [0.9, 1.0], [0.0, 9.0]]
        >>> head = ([[1.0, 0.0], [0.0, 1.0]], [0.0, 0.0])
        >>> len(lw.select("drop_query", 2, embeddings=points, head=head, seed=0))
        2

    Reference:
        Gupte, Aklilu, Nirschl and Yeung-Levy, "Revisiting Active Learning in the Era of Vision Foundation Models", TMLR
        2024: 3 passes, rate 0.75, k-means picks where nothing is labelled yet, which is also what acts here. What fills
        a short list is ours.
    """

    name: ClassVar[str] = "drop_query"
    passes: int = 3
    rate: float = 0.75

    def __post_init__(self) -> None:
        if self.passes < 1:
            raise ValueError(f"passes must be at least 1, got {self.passes}")
        if not 0 < self.rate < 1:
            raise ValueError(f"rate must lie between 0 and 1, got {self.rate}")

    def steps(self) -> tuple[Step, ...]:
        """One step, on the embeddings that the head reads."""
        return (Step(Needs(pool=frozenset({Embedding("task")}), head=True, exclusive=True), self._choose),)

    def _choose(self, query: Query) -> Selection:
        assert query.head is not None  # declared
        picks_K, share_K = dropout_picks(
            query.matrix(Embedding("task")),
            (query.head.weight_CD, query.head.bias_C),
            query.budget,
            candidates_M=query.unlabelled_M,
            passes=self.passes,
            rate=self.rate,
            rng=query.rng,
        )
        sure = int((share_K <= 0.5).sum())
        notes = (
            (f"{sure} of {query.budget} keep their class in half of the passes or more: fewer change it",)
            if sure
            else ()
        )
        return Selection(picks_K.cpu(), share_K.cpu(), notes)
