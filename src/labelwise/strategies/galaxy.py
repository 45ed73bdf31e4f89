"""Bisection along each class's score axis: for pools in which some classes are rare."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from labelwise.contracts.query import Query, Selection
from labelwise.contracts.strategy import Needs, Step, Strategy
from labelwise.errors import UnmetNeed
from labelwise.selection.bisection import galaxy
from labelwise.signals.plain import Probs


@dataclass(frozen=True)
class Galaxy(Strategy):
    """Looks for the border of every class among items lined up by their score for it; made for rare classes.

    pick = midpoint of the shortest path, over the lines of all classes c, between an item labelled c and one labelled
    otherwise; items stand in the line of c by p_c - max_j p_j. Where all borders are found, it picks around them.
    Within a batch the predicted class stands for the labels that are not there yet; until there are two classes the
    choice is random.

    Raises:
        UnmetNeed: the class of the labelled items is not known (from arrays: ``labels`` was not given).

    Cost: O(C M log M) to sort, about O(C log(L + K)) for each pick; 16 C bytes an item.

    Example:
        >>> import labelwise as lw
        >>> probs = [[p, 1 - p] for p in (0.0, 0.2, 0.4, 0.6, 1.0)]
        >>> lw.select("galaxy", 1, probs=probs, labelled=[0, 4], labels=[1, 0], seed=0).positions.tolist()
        [2]

    Reference:
        Zhang, Katz-Samuels and Nowak, "GALAXY: Graph-based Active Learning at the Extreme", ICML 2022, algorithms 1 to
        3. We differ: the paper learns each label before the next pick, here a batch is labelled as a whole.
    """

    name: ClassVar[str] = "galaxy"

    def steps(self) -> tuple[Step, ...]:
        """One step, on probabilities of candidates and labelled items."""
        signals = frozenset({Probs()})
        return (Step(Needs(pool=signals, labelled=signals, exclusive=True), self._choose),)

    def _choose(self, query: Query) -> Selection:
        if query.labels_L is None and len(query.labelled_L):
            raise UnmetNeed(
                "it needs the class of each labelled item: give labels=, one class index for each of labelled="
            )
        joint = query.joint(Probs())
        rows_K, lucky = galaxy(
            joint.rows,
            query.budget,
            labelled_L=joint.labelled_L,
            labels_L=[] if query.labels_L is None else query.labels_L,
            candidates_M=joint.unlabelled_M,
            rng=query.rng,
        )
        notes = (f"there was no border between two classes to look for: {lucky} picks are random",) if lucky else ()
        return Selection(joint.positions[rows_K.cpu()], notes=notes)
