"""Facility location: every item has a pick that points the same way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from labelwise.contracts.query import Query, Selection
from labelwise.selection.similarity import Cosine
from labelwise.strategies.covering import Covering, soft_cover


@dataclass(frozen=True)
class FacilityLocation(Covering):
    """Items that stand for the others: the greedy maximum of the sum of nearest cosine similarities.

    pick = argmax_c sum_n max(0, s(n, c) - max_{p in labelled + picks} s(n, p)) with s(n, c) = max(0, <x_n, x_c> /
    (|x_n| |x_c|)). Without outliers' pull: k-center serves the farthest item, this the mean. The scores are by how much
    each pick raised the mean similarity to the nearest label.

    Args:
        features: ``frozen`` for the feature source beside the model, ``task`` for the model's own embedding,
            ``objects`` for the mean over the objects that it detects.

    Raises:
        DataError: embeddings that are not finite.

    Cost: that of ``max_herding``, of which it is the form with another similarity and no radius to choose.

    Example:
        >>> import labelwise as lw
        >>> rows = [[1.0, 0.0], [1.0, 0.1], [1.0, 0.2], [0.0, 1.0]]
        >>> lw.select("facility_location", 2, embeddings=rows, seed=0).positions.tolist()
        [2, 3]

    Reference:
        Lin and Bilmes, "How to Select a Good Training-Data Subset for Transcription: Submodular Active Selection for
        Sequences", Interspeech 2009; Wei, Iyer and Bilmes, "Submodularity in Data Subset Selection and Active
        Learning", ICML 2015. Labelled items count as open facilities; negative similarities as none.
    """

    name: ClassVar[str] = "facility_location"

    def _choose(self, query: Query) -> Selection:
        return soft_cover(query, self.signal, Cosine())
