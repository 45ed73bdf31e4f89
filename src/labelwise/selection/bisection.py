"""Bisection along the classes' score axes: uncertain items from all classes, rare ones too.

Dimension key: N items of the pool, L labelled, A items that take part, C classes, G graphs (one a class), K picks.
"""

from __future__ import annotations

import bisect
import heapq
import itertools
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from labelwise.errors import DataError
from labelwise.selection.arrays import ArrayLike, as_matrix, as_positions, as_tensor, check_budget, free_candidates
from labelwise.selection.progress import report

_FAR = 1 << 40

# (steps or length, random number to break ties, graph, which item of the run, rank left of the run, rank right of it)
_Entry: TypeAlias = tuple[int, float, int, int, int, int]


def galaxy(
    probs_NC: ArrayLike,
    k: int,
    *,
    labelled_L: ArrayLike,
    labels_L: ArrayLike,
    candidates_M: ArrayLike | None = None,
    answers_N: ArrayLike | None = None,
    rng: np.random.Generator,
) -> tuple[Tensor, int]:
    """Bisects, class by class, between items labelled as the class and items that are not.

    For each class the items stand in a line, by ``p_c - max_j p_j`` and then by ``p_c``: the linear graph of the class.
    Each pick is the midpoint of the shortest of all shortest paths, in any of the graphs, between an item with the
    class's label and one with another: ``pick = mid(argmin_{c, u in c, v not in c} |path(u, v)|)``. Neighbours of
    different labels are a cut, their edge is gone. When every graph is cut to pieces, items two steps apart are joined,
    then three, and so on: the picks surround the cuts. Until two classes are known to be there, picks are random.

    Args:
        probs_NC: class probabilities; two columns or one make a single graph.
        k: number of picks, at most the number of candidates.
        labelled_L: labelled positions.
        labels_L: class index of each.
        candidates_M: positions that may be picked; all that are not labelled by default.
        answers_N: class that each item is taken to have once it is picked. The paper learns the true label before the
            next pick; a batch that is labelled later cannot. By default the predicted class stands for it.
        rng: order of equals: items of equal scores, paths of equal length, the two middles of an odd path.

    Returns:
        positions (k,) int64 in the order picked, and how many of them are random.

    Raises:
        ConfigError: more picks than candidates.
        DataError: probabilities that are not finite, a label that is no class, lengths that differ, positions out of
            range or twice.

    Cost:
        O(C A log A) to sort, about O(C log(L + K)) for each pick; 8 C bytes an item beside float64 probabilities.

    Example:
        >>> probs = [[p, 1 - p] for p in (0.0, 0.2, 0.4, 0.6, 1.0)]
        >>> galaxy(probs, 1, labelled_L=[0, 4], labels_L=[1, 0], rng=np.random.default_rng(0))[0]
        tensor([2])

    Reference:
        Zhang, Katz-Samuels, Nowak, GALAXY: Graph-based Active Learning at the Extreme, ICML 2022, algorithms 1 to 3.
        Of equally short paths around a cut we take those nearest to it.
    """
    probs = as_matrix(probs_NC, "probabilities").double().cpu().numpy()
    if not np.isfinite(probs).all():
        rows = np.flatnonzero(~np.isfinite(probs).all(1))
        raise DataError(
            f"{len(rows)} rows of probabilities hold NaN or infinity (first positions: {rows[:5].tolist()})"
        )
    labelled = as_positions(labelled_L, len(probs), "labelled")
    labels = _classes(labels_L, len(labelled), max(2, probs.shape[1]), "labels")
    candidates = free_candidates(None if candidates_M is None else as_tensor(candidates_M).cpu(), labelled, len(probs))
    check_budget(k, len(candidates))
    if answers_N is None:
        answers = probs.argmax(1) if probs.shape[1] > 1 else (probs[:, 0] > 0.5).astype(np.int64)
    else:
        answers = _classes(answers_N, len(probs), max(2, probs.shape[1]), "answers")
    items_A = torch.cat([labelled, candidates]).numpy()
    lines = _Lines(probs[items_A], rng=rng)
    for place, label in enumerate(labels.tolist()):
        lines.label(place, label)
    order, lucky = 1, 0
    picks: list[int] = []
    while len(picks) < k:
        if (found := lines.shortest(order)) is None:
            found = lines.anything(), order
            lucky += 1
        place, order = found
        picks.append(int(items_A[place]))
        lines.label(place, int(answers[picks[-1]]))
        report("bisecting", len(picks), k)
    device = probs_NC.device if isinstance(probs_NC, Tensor) else torch.device("cpu")
    return torch.tensor(picks, dtype=torch.int64, device=device), lucky


def _classes(labels: ArrayLike, count: int, classes: int, what: str) -> np.ndarray:
    found = as_tensor(labels).cpu().numpy()
    if len(found) != count:
        raise DataError(f"{what} has {len(found)} entries for {count} items: give one for each")
    if count and (found.min() < 0 or found.max() >= classes):
        raise DataError(f"{what} reach from {found.min()} to {found.max()}; allowed is 0 to {classes - 1}")
    return found.astype(np.int64)


class _Lines:
    """All linear graphs: where each item stands, the ranks of the labelled ones in order, and what may be picked next.

    A run is a stretch without a label between two labelled ranks. Two heaps hold the runs: those between different
    labels by their length, and those near a cut by the steps from an item at their end to the farther label. An entry
    is never taken back: it is dropped when it comes up and its run has been split, or has come nearer to a cut since.
    """

    def __init__(self, probs_AC: np.ndarray, *, rng: np.random.Generator) -> None:
        size = len(probs_AC)
        self.size = size
        # one or two classes make one graph, in which class 1 is told from class 0
        self.first = 1 if probs_AC.shape[1] <= 2 else 0
        columns = probs_AC[:, -1:] if self.first else probs_AC
        best_A = probs_AC.max(1) if probs_AC.shape[1] > 1 else np.zeros(size)
        self.place_GA = np.empty((columns.shape[1], size), dtype=np.int32)
        self.rank_GA = np.empty_like(self.place_GA)
        for graph, column_A in enumerate(columns.T):
            self.place_GA[graph] = np.lexsort((rng.random(size), column_A, column_A - best_A))
            self.rank_GA[graph, self.place_GA[graph]] = np.arange(size)
        self.rng = rng
        self.free_A = np.ones(size, dtype=bool)
        # for each graph the labelled ranks, in order: all, those of the class, and the others
        self.known: list[list[int]] = [[] for _ in columns.T]
        self.sides: list[tuple[list[int], list[int]]] = [([], []) for _ in columns.T]
        self.cuts: list[_Entry] = []
        self.gaps: list[_Entry] = []

    def label(self, place: int, label: int) -> None:
        """Insert an item among the labelled ones of every graph, where it stands there."""
        self.free_A[place] = False
        for graph, rank in enumerate(self.rank_GA[:, place].tolist()):
            own = graph + self.first == label
            known, side = self.known[graph], self.sides[graph][own]
            bisect.insort(known, rank)
            index = bisect.bisect_left(side, rank)
            side.insert(index, rank)
            # the runs for which this is now the nearest item of its label, up to the next ones of that label
            low = side[index - 1] if index else -1
            high = side[index + 1] if index + 1 < len(side) else self.size
            start, stop = bisect.bisect_left(known, low), bisect.bisect_right(known, high)
            around = [-1] * (low < 0) + known[start:stop] + [self.size] * (high == self.size)
            for left, right in itertools.pairwise(around):
                self._push(graph, left, right)

    def _push(self, graph: int, left: int, right: int) -> None:
        if right - left < 2:
            return
        for kind, steps in enumerate(self._steps(graph, left, right)):
            if steps < _FAR:
                heapq.heappush(self.cuts, (steps, self.rng.random(), graph, kind, left, right))
        if self._apart(graph, left, right):
            heapq.heappush(self.gaps, (right - left, self.rng.random(), graph, 0, left, right))

    def _apart(self, graph: int, left: int, right: int) -> bool:
        return left >= 0 and right < self.size and self._is_own(graph, left) != self._is_own(graph, right)

    def _is_own(self, graph: int, rank: int) -> bool:
        own = self.sides[graph][1]
        index = bisect.bisect_left(own, rank)
        return index < len(own) and own[index] == rank

    def _steps(self, graph: int, left: int, right: int) -> tuple[int, int, int]:
        """Ranks to the farther of the two labels from the run's first item, its last, and its middle."""
        first = last = middle = _FAR
        if left >= 0:
            other = self.sides[graph][not self._is_own(graph, left)]
            index = bisect.bisect_left(other, left)
            first = left + 1 - other[index - 1] if index else _FAR
        if right < self.size:
            other = self.sides[graph][not self._is_own(graph, right)]
            index = bisect.bisect_left(other, right)
            last = other[index] - right + 1 if index < len(other) else _FAR
        if self._apart(graph, left, right):
            middle = (right - left + 1) // 2
        return first, last, middle

    def _still(self, entry: _Entry, *, cut: bool) -> bool:
        steps, _, graph, kind, left, right = entry
        known = self.known[graph]
        index = bisect.bisect_right(known, left)
        if (known[index] if index < len(known) else self.size) != right:
            return False
        return not cut or self._steps(graph, left, right)[kind] == steps

    def shortest(self, order: int) -> tuple[int, int] | None:
        """Midpoint of a shortest shortest path, and the order of the graphs in which it is found; None if none is left.

        With edges between items up to ``order`` apart, a path of two steps leads over any unlabelled item with both
        labels within ``order``. Without such an item, only stretches between different labels connect them, and the
        shortest stretch has the fewest steps: a step over a labelled item could be replaced by that item.
        """
        for heap, cut in ((self.cuts, True), (self.gaps, False)):
            while heap and not self._still(heap[0], cut=cut):
                heapq.heappop(heap)
        if not self.cuts:
            return None  # a run between different labels would be there, too
        if self.cuts[0][0] > order and self.gaps:
            _, _, graph, _, left, right = self.gaps[0]
            return int(self.place_GA[graph, self._midpoint(left, right, order)]), order
        steps, _, graph, kind, left, right = self.cuts[0]
        rank = (left + 1, right - 1, self._half(left + right))[kind]
        return int(self.place_GA[graph, rank]), max(order, steps)

    def anything(self) -> int:
        """An item without a label, at random."""
        return int(self.rng.choice(np.flatnonzero(self.free_A)))

    def _midpoint(self, left: int, right: int, order: int) -> int:
        """A rank half the steps from either end, as near the middle as the steps allow."""
        steps = -(-(right - left) // order)
        half = self._half(steps)
        low, high = max(right - (steps - half) * order, left + 1), min(left + half * order, right - 1)
        return min(max(self._half(left + right), low), high)

    def _half(self, number: int) -> int:
        return (number + int(self.rng.integers(2))) // 2
