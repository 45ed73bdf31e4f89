"""UHerding: cover what the model is unsure of, as far as its doubts can be trusted."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch

from labelwise.contracts.query import Query, Selection
from labelwise.contracts.strategy import Needs, Step, Strategy
from labelwise.selection.calibration import left_out_accuracy, softened, temperature_for
from labelwise.selection.neighbours import nearest
from labelwise.selection.similarity import Gaussian
from labelwise.signals.plain import MEASURES, Embedding, Measure, Probs
from labelwise.strategies.covering import soft_cover
from labelwise.strategies.max_herding import MaxHerding

PROBS = Probs()

# The radius while fewer than two items are labelled, in units of rows of length one; MaxHerding's, as in the paper.
WIDEST = 1.0

# Predictions from which the temperature is read.
_ASKED = 8192


@dataclass(frozen=True)
class UHerding(Strategy):
    """MaxHerding with uncertain items weighing more: typical items while labels are few, uncertain ones later.

    pick = argmax_c sum_n u(n) max(0, s(n, c) - max_{p in labelled + picks} s(n, p)) with s(n, c) = exp(-|x_n - x_c|^2 /
    radius^2) on rows of length one. Both ends adapt: the radius is the least distance between two labelled items, so
    that coverage becomes local as labels come; and u is read at the temperature at which the model is as sure as it is
    right, so that early, when it is mostly wrong, all items weigh alike. Without any label it is MaxHerding. The scores
    are by how much each pick raised the weighted mean similarity to the nearest label.

    Args:
        measure: u: margin, entropy or least_confidence.
        radius: a fixed radius; None adapts it.
        temperature: a fixed temperature; None adapts it: the mean confidence on candidates is brought down to the share
            of labelled items whose nearest labelled neighbour has the same label.
        features: ``frozen`` for the feature source beside the model, ``task`` for the model's own embedding.

    Raises:
        DataError: embeddings that are not finite.
        UnmetNeed: there are no probabilities of whole images.

    Cost: that of ``max_herding``, L^2 D operations for radius and temperature, O(M C) for the weights.

    Example:
        >>> import labelwise as lw
        >>> turns = [[1.0, 0.0], [1.0, 0.1], [0.8, 0.6], [0.8, 0.7], [0.0, 1.0]]
        >>> probs = [[0.9, 0.1], [0.9, 0.1], [0.9, 0.1], [0.5, 0.5], [0.1, 0.9]]
        >>> lw.select("uherding", 1, probs=probs, embeddings=turns, labelled=[0, 4], labels=[0, 1], radius=0.1,
        ...           temperature=1.0, seed=0).positions.tolist()
        [3]

    Reference:
        Bae, Oliveira and Sutherland, "Uncertainty Herding: One Active Learning Method for All Label Budgets", ICLR
        2025. We differ: they find the temperature by training again on splits of the labels; distances of zero between
        labelled duplicates do not count for the radius; what ``max_herding`` says of its first picks holds here too.
    """

    name: ClassVar[str] = "uherding"
    measure: Measure = "margin"
    radius: float | None = None
    temperature: float | None = None
    features: Literal["task", "frozen"] = "frozen"

    def __post_init__(self) -> None:
        for option in ("radius", "temperature"):
            value = getattr(self, option)
            if value is not None and not (value > 0 and math.isfinite(value)):
                raise ValueError(f"{option} must be a finite number above 0, got {value}")

    @property
    def cold(self) -> bool:
        """Without a label it is MaxHerding, which needs no model."""
        return self.features == "frozen"

    def steps(self) -> tuple[Step, ...]:
        """One step, on embeddings of candidates and labelled items and on probabilities of candidates."""
        embedding = Embedding(self.features)
        return (
            Step(
                Needs(pool=frozenset({embedding, PROBS}), labelled=frozenset({embedding}), exclusive=True), self._choose
            ),
        )

    def acts_as(self, query: Query) -> Strategy:
        """MaxHerding while nothing is labelled: there is no model to be unsure."""
        return self if len(query.labelled_L) else MaxHerding(radius=self.radius or WIDEST, features=self.features)

    def _choose(self, query: Query) -> Selection:
        temperature = self.temperature or self._temperature(query)
        radius = self.radius or self._radius(query)
        weight_M = MEASURES[self.measure](softened(query.pool(PROBS), temperature)).clamp_min(0.0)
        chosen = soft_cover(query, Embedding(self.features), Gaussian(radius, unit=True), weight_M)
        return replace(chosen, notes=(f"uherding: radius {radius:.4g}, temperature {temperature:.4g}",))

    def _temperature(self, query: Query) -> float:
        if query.labels_L is None:
            return 1.0
        accuracy = left_out_accuracy(query.matrix(Embedding(self.features)), query.labelled_L, query.labels_L)
        asked_M = torch.from_numpy(query.rng.permutation(len(query.unlabelled_M))[:_ASKED])
        return temperature_for(query.pool(PROBS)[asked_M], accuracy)

    def _radius(self, query: Query) -> float:
        """The least distance between two labelled items that are no duplicates, as far as rounding can tell."""
        rows_ND, labelled_L = query.matrix(Embedding(self.features)), query.labelled_L
        found2_LK = nearest(rows_ND, 2, queries=labelled_L, among=labelled_L, unit=True).distance2_QK
        apart = found2_LK[found2_LK > 0]
        return float(apart.min().sqrt()) if len(apart) else WIDEST
