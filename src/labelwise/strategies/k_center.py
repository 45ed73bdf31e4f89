"""Greedy k-center, known as core-set: each pick is the candidate farthest from everything labelled or picked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from labelwise.contracts.query import Query, Selection
from labelwise.selection.cover import k_center
from labelwise.strategies.covering import Covering


@dataclass(frozen=True)
class KCenter(Covering):
    """Covers the pool: picks the candidate farthest from its nearest labelled or picked neighbour, again and again.

    pick = argmax_i min_{c in labelled + picks} |x_i - x_c|. The scores are those distances. Good against redundant
    pools, drawn to outliers; below random on large balanced sets.

    Args:
        features: ``task`` for the embedding of the model in training (as published), ``frozen`` for the feature
            source, with which it also works before the first label, ``objects`` for the mean over the detected objects.

    Raises:
        DataError: embeddings that are not finite.

    Cost: at most 2 M (L + K) D operations in matrix products, 16 bytes a row beside the embeddings; exact.

    Example:
        >>> import labelwise as lw
        >>> lw.select("k_center", 2, embeddings=[[0.0], [1.0], [4.0], [9.0]], labelled=[0], seed=0).positions.tolist()
        [3, 2]

    Reference:
        Sener and Savarese, "Active Learning for Convolutional Neural Networks: A Core-Set Approach", ICLR 2018,
        algorithm 1. The mixed-integer refinement is left out, as in most published experiments.
    """

    name: ClassVar[str] = "k_center"
    aliases: ClassVar[tuple[str, ...]] = ("coreset",)
    features: Literal["task", "frozen", "objects"] = "task"

    def _choose(self, query: Query) -> Selection:
        joint = query.joint(self.signal)
        rows_K, distance_K = k_center(
            joint.rows, query.budget, labelled_L=joint.labelled_L, candidates_M=joint.unlabelled_M, rng=query.rng
        )
        return Selection(joint.positions[rows_K.cpu()], distance_K.cpu())
