"""Diverse candidates whose predicted class changes when a little of a labelled class is mixed in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from labelwise.contracts.query import Query, Selection
from labelwise.contracts.strategy import Needs, Step, Strategy
from labelwise.errors import UnmetNeed
from labelwise.selection.mixing import class_means, flip_sizes, spread_flips
from labelwise.selection.sampling import uniform
from labelwise.signals.plain import Embedding


@dataclass(frozen=True)
class AlfaMix(Strategy):
    """Mixes each embedding with the mean of each labelled class; clusters those whose predicted class changes.

    z' = a * z_class + (1 - a) * z with the mixture a, |a| <= bound / sqrt(D), that raises the loss of the predicted
    class most; k-means with K clusters on the items that some z' puts into another class, the nearest item to each
    centroid. Where fewer than K change, those that change next, as if the bound grew.

    Args:
        bound: size of the mixture, above zero.
        normalise: cluster embeddings of unit length.

    Raises:
        UnmetNeed: the model does not end in a linear layer; the class of labelled items is not known (from arrays:
            ``labels`` was not given).
        DataError: embeddings that are not finite.

    Cost: 4 M D C operations and those of k-means on the items that change.

    Example:
        >>> import labelwise as lw
        >>> points, head = [[0.1, 0.0], [5.0, 0.0], [4.0, 9.0]], ([[1.0, 0.0], [-1.0, 0.0]], [0.0, 0.0])
        >>> lw.select("alfa_mix", 1, embeddings=points, head=head, labelled=[1], labels=[0], seed=0).positions.tolist()
        [0]

    Reference:
        Parvaneh, Abbasnejad, Teney, Haffari, van den Hengel and Shi, "Active Learning by Feature Mixing", CVPR 2022,
        algorithm 1 and the closed form of equation 6. We differ: the paper fills up at random. Without any label the
        choice is random.
    """

    name: ClassVar[str] = "alfa_mix"
    bound: float = 0.2
    normalise: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.bound < float("inf"):
            raise ValueError(f"bound must be above 0, got {self.bound}")

    def steps(self) -> tuple[Step, ...]:
        """One step, on embeddings of candidates and labelled items, and the model's last layer."""
        signals = frozenset({Embedding("task")})
        return (Step(Needs(pool=signals, labelled=signals, head=True, exclusive=True), self._choose),)

    def _choose(self, query: Query) -> Selection:
        if not len(query.labelled_L):
            note = f"nothing is labelled that could be mixed in: {query.budget} picks are random"
            return Selection(uniform(query.unlabelled_M, query.budget, rng=query.rng), notes=(note,))
        if query.labels_L is None:
            raise UnmetNeed(
                "it needs the class of each labelled item: give labels=, one class index for each of labelled="
            )
        assert query.head is not None
        joint = query.joint(Embedding("task"))
        anchors_AD = class_means(joint.rows, joint.labelled_L, query.labels_L)
        size_N = flip_sizes(joint.rows, query.head.weight_CD, query.head.bias_C, anchors_AD)
        rows_K, unmoved = spread_flips(
            joint.rows,
            size_N,
            query.budget,
            candidates_M=joint.unlabelled_M,
            bound=self.bound,
            normalise=self.normalise,
            rng=query.rng,
        )
        notes = (f"{unmoved} of the picks change their class only under larger mixtures",) if unmoved else ()
        return Selection(joint.positions[rows_K.cpu()], notes=notes)
