"""Fisher information: the batch that leaves the smallest expected error of the last layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from labelwise.contracts.query import Query, Selection
from labelwise.contracts.strategy import Needs, Step, Strategy
from labelwise.selection.fisher import Form, bait
from labelwise.signals.plain import Embedding, Probs


@dataclass(frozen=True)
class Bait(Strategy):
    """The candidates whose labels would tell most about the last layer, as far as the whole pool cares.

    Minimises tr(M^-1 F), M = ridge I + sum over labelled and picked of I(x), F the mean of I(x) over the pool, I(x) the
    Fisher information of the last layer: greedily up to ``oversample`` times the budget, then pruned back.

    Args:
        likelihood: ``binary`` asks whether the most likely class is right: D parameters, fits any pool.
            ``categorical`` is the softmax: C D parameters, for few classes and narrow embeddings.
        top: classes over which ``categorical`` takes its expectation, the most likely ones; None takes all, which is
            BAIT as first published.
        ridge: prior precision of the weights, above zero; in units of the squared embedding.
        oversample: candidates of the forward pass for each pick, at least 1; 1 leaves out the pruning.
        memory_gb: refuse what would need more.

    Raises:
        ConfigError: an option out of range, information matrices beyond ``memory_gb``.
        DataError: embeddings that are not finite.

    Cost: oversample K picks of 4 M P R operations, and a dozen times 4 M R P^2; 32 P^2 bytes. P = D and R = 1 where
        binary, else P = C D and R = top.

    Example:
        >>> import labelwise as lw
        >>> points, probs = [[1.0, 0.0], [0.5, 0.0], [0.0, 1.0]], [[0.5, 0.5]] * 3
        >>> lw.select("bait", 2, embeddings=points, probs=probs, ridge=0.1, seed=0).positions.tolist()
        [0, 2]

    Reference:
        Ash, Goel, Krishnamurthy and Kakade, "Gone Fishing: Neural Active Learning with Fisher Embeddings", NeurIPS
        2021, algorithm 1; both cheap forms: Huseljic et al., "Fast Fishing: Approximating BAIT for Efficient and
        Scalable Deep Active Image Classification", ECML PKDD 2024 (arXiv 2404.08981). We differ: labelled items and
        picks weigh alike in M.
    """

    name: ClassVar[str] = "bait"
    likelihood: Literal["binary", "categorical"] = "binary"
    top: int | None = 2
    ridge: float = 1.0
    oversample: float = 2.0
    memory_gb: float = 8.0

    def __post_init__(self) -> None:
        self._form()

    def _form(self) -> Form:
        return Form(self.likelihood, self.top, self.ridge, self.oversample, self.memory_gb)

    def steps(self) -> tuple[Step, ...]:
        """One step, on probabilities and embeddings of candidates and labelled items."""
        signals = frozenset({Probs(), Embedding("task")})
        return (Step(Needs(pool=signals, labelled=signals, exclusive=True), self._choose),)

    def _choose(self, query: Query) -> Selection:
        embeddings, probs = query.joint(Embedding("task")), query.joint(Probs())
        rows_K = bait(
            embeddings.rows,
            probs.rows,
            query.budget,
            labelled_L=embeddings.labelled_L,
            candidates_M=embeddings.unlabelled_M,
            form=self._form(),
            rng=query.rng,
        )
        return Selection(embeddings.positions[rows_K.cpu()])
