"""TypiClust while labels are few, margin afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from labelwise.contracts.query import Query
from labelwise.contracts.strategy import Step, Strategy
from labelwise.strategies.auto import CLASSES
from labelwise.strategies.margin import Margin
from labelwise.strategies.typiclust import TypiClust


@dataclass(frozen=True)
class TCM(Strategy):
    """Typical and diverse items first, which need no model; then the ones that the model is least sure of.

    TypiClust on frozen features while L < T, margin from T labels on, with T = per_class C for C classes, or T =
    switch_at. Only the signals of the one that acts are collected.

    Args:
        per_class: labels per class at which margin takes over. Where nobody says which classes there are (no
            ``labels=``), ten are assumed.
        switch_at: labels in all at which margin takes over, whatever the number of classes; None goes by ``per_class``.

    Raises:
        UnmetNeed: the inputs of the one that acts are not there.

    Cost: that of ``typiclust``, later that of ``margin``.

    Example:
        >>> import labelwise as lw
        >>> probs, points = [[0.9, 0.1], [0.5, 0.5], [0.9, 0.1]], [[0.0], [9.0], [4.0]]
        >>> for labelled in ([], [0]):
        ...     picks = lw.select("tcm", 1, probs=probs, embeddings=points, labelled=labelled, switch_at=1, seed=0)
        ...     print(picks.notes[0].split("(")[0])
        tcm acts as TypiClust
        tcm acts as Margin

    Reference:
        Doucet, Estermann, Aczel and Wattenhofer, "Bridging Diversity and Uncertainty in Active learning with
        Self-Supervised Pre-Training", 2024: TypiClust, then Margin, with a switch that comes early on self-supervised
        features. We have the figure of 20 labels a class at second hand; published curves of the two cross between 6
        and 260, so set it if you know better.
    """

    name: ClassVar[str] = "tcm"
    per_class: float = 20.0
    switch_at: int | None = None

    def __post_init__(self) -> None:
        if not self.per_class > 0:
            raise ValueError(f"per_class must be above 0, got {self.per_class}")
        if self.switch_at is not None and self.switch_at < 1:
            raise ValueError(f"switch_at must be at least 1, got {self.switch_at}")

    @property
    def cold(self) -> bool:
        """What acts without labels is."""
        return True

    def steps(self) -> tuple[Step, ...]:
        """Those of both, so that the needs of both are checked; ``acts_as`` says whose are run."""
        return TypiClust().steps() + Margin().steps()

    def acts_as(self, query: Query) -> Strategy:
        """The switch rule."""
        switch_at: float | None = self.switch_at
        if switch_at is None:
            classes = CLASSES if query.class_counts_C is None else len(query.class_counts_C)
            switch_at = self.per_class * classes
        # without any label there is no model, whatever the options say
        return TypiClust() if len(query.labelled_L) < max(switch_at, 1) else Margin()
