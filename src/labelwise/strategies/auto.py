"""The default for people who do not know which method fits: typical images first, uncertain ones later."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from labelwise.contracts.query import Query
from labelwise.contracts.strategy import Step, Strategy
from labelwise.strategies.parts import auxiliaries_of, part
from labelwise.strategies.prefilter import Prefilter

if TYPE_CHECKING:
    from labelwise.contracts.learner import Auxiliary

#: classes assumed where nobody says how many there are
CLASSES = 10


@dataclass(frozen=True)
class Auto(Strategy):
    """Hands over to another strategy by how many labels there are; hidden labels play no part.

    1. With L < per_class C labels for C known classes, none above all: ``low``, on frozen features.
    2. Otherwise ``high``, on the model in training;
    3. there, from a pool of more than M' = max(subpool, 10 K), only M' candidates drawn at random are looked at.

    Why: with one to ten labels a class, typical images beat random by far and uncertain ones lose to it; from some
    ten labels a class on that turns round, and there margin is level with every costlier method in the large published
    comparisons. Only the signals of the strategy that acts are collected.

    Args:
        low: acts while labels are few; needs neither labels nor a trained model. A ``Strategy``, or its name.
        high: acts afterwards; likewise.
        per_class: labels per known class from which on ``high`` acts. Where nobody says which classes there are (no
            ``labels=``), ten are assumed.
        subpool: candidates that ``high`` looks at, or ten times the budget if that is more.

    Raises:
        ConfigError: an unknown name, an oracle, or a ``low`` that needs a model.
        UnmetNeed: the inputs of the strategy that acts are not there.

    Cost: that of the strategy that acts.

    Example:
        >>> import labelwise as lw
        >>> picks = lw.select("auto", 1, embeddings=[[0.0], [1.5], [2.0], [2.5], [4.0]], seed=0)
        >>> picks.positions.tolist(), picks.notes[0].split("(")[0]
        ([2], 'auto acts as TypiClust')

    Reference:
        Hacohen, Dekel and Weinshall, "Active Learning on a Budget: Opposite Strategies Suit High and Low Budgets", ICML
        2022 (typical first); Zhang et al., "LabelBench", 2023, and Werner et al., "A Cross-Domain Benchmark for Active
        Learning", NeurIPS 2024 (margin later). The threshold is ours: published curves cross between 6 and 260 labels
        per class.
    """

    name: ClassVar[str] = "auto"
    low: Strategy | str = "typiclust"
    high: Strategy | str = "margin"
    per_class: int = 10
    subpool: int = 10_000

    def __post_init__(self) -> None:
        low, _ = self._both()
        if not low.cold:
            raise ValueError(f"low must need neither labels nor a trained model, and {low.name!r} does")
        for option in ("per_class", "subpool"):
            if getattr(self, option) < 1:
                raise ValueError(f"{option} must be at least 1, got {getattr(self, option)}")

    @property
    def cold(self) -> bool:
        """What acts without labels is."""
        return True

    def steps(self) -> tuple[Step, ...]:
        """Those of both, so that the needs of both are checked; ``acts_as`` says whose are run."""
        low, high = self._both()
        return low.steps() + high.steps()

    def acts_as(self, query: Query) -> Strategy:
        """The rule."""
        low, high = self._both()
        classes = CLASSES if query.class_counts_C is None else max(1, len(query.class_counts_C))
        if len(query.labelled_L) < self.per_class * classes:
            return low.acts_as(query)
        keep = max(10.0, self.subpool / max(1, query.budget))
        if len(query.unlabelled_M) <= keep * query.budget:
            return high.acts_as(query)
        return Prefilter(first="random", then=high.acts_as(query), keep=keep)

    def informed(self) -> Strategy:
        """``high``: a model that is there has learnt enough to be asked."""
        return self._both()[1]

    def auxiliaries(self) -> tuple[Auxiliary, ...]:
        """Those of both, each once."""
        return auxiliaries_of(self._both())

    def _both(self) -> tuple[Strategy, Strategy]:
        return part("low", self.low), part("high", self.high)
