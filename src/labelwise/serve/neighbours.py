"""The nearest labelled pictures of those that are asked, and how dense their surroundings are, on features on disk."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from labelwise.contracts.learner import Examples
from labelwise.learners.features import FROZEN
from labelwise.rng import generator
from labelwise.serve.mapped import Map
from labelwise.serve.shared import Shared
from labelwise.serve.told import in_words

#: neighbours of a picture that are shown, and labelled pictures that are looked at
SHOWN, MOST = 4, 5000
#: images that a neighbourhood is measured against, and nearest ones that make a neighbourhood
SAMPLE, SURROUND = 2000, 10


class Neighbours:
    """Neighbours by the cosine of frozen features; none before a map was made, which is what reads them all.

    Args:
        shared: the project.
        map: says whether features were read.
    """

    def __init__(self, shared: Shared, map: Map) -> None:
        self.shared, self.map = shared, map
        self._known: tuple[Any, list[str], np.ndarray] = (None, [], np.empty((0, 0), np.float32))
        self._sample: tuple[int, list[str], np.ndarray, np.ndarray] = (-1, [], self._known[2], np.empty(0, np.float32))
        self._lock = threading.Lock()

    def of(self, items: Sequence[str]) -> tuple[dict[str, list[dict[str, str]]], dict[str, float]]:
        """Item -> its nearest labelled pictures with their labels, the nearest first; and how dense it is around it.

        The second is the share of the pool whose ten nearest images are less like them than this item's are, in [0, 1],
        against a sample of 2,000 images of the pool.
        """
        if not items or self.map.state()["method"] is None:
            return {}, {}
        with self._lock:
            found = self._rows(items)
            return self._near(found), self._density(found)

    def _near(self, found: Mapping[str, np.ndarray]) -> dict[str, list[dict[str, str]]]:
        pool, kind, classes = self.shared.pool, self.shared.project.kind, self.shared.project.config.classes
        labelled, rows_LD = self._labelled()
        if not labelled or not found:
            return {}
        near: dict[str, list[dict[str, str]]] = {}
        for item, row_D in found.items():
            order = np.argsort(-(rows_LD @ row_D), kind="stable")[: SHOWN + 1].tolist()
            names = [labelled[n] for n in order if labelled[n] != item][:SHOWN]
            near[item] = [
                {"id": name, "label": in_words(kind, pool.target(pool.position(name)), classes)} for name in names
            ]
        return near

    def _density(self, found: Mapping[str, np.ndarray]) -> dict[str, float]:
        ids = self.shared.pool.ids
        if self._sample[0] != len(ids):
            drawn = generator(self.shared.project.config.seed, "density").permutation(len(ids))[:SAMPLE]
            rows = self._rows([ids[position] for position in sorted(drawn.tolist())])
            names, rows_SD = list(rows), np.stack(list(rows.values())) if rows else np.empty((0, 0), np.float32)
            self._sample = (len(ids), names, rows_SD, np.sort(_likeness(rows_SD, names, rows_SD, names)))
        _, names, rows_SD, usual_S = self._sample
        if len(names) <= SURROUND or not found:
            return {}
        like = _likeness(np.stack(list(found.values())), list(found), rows_SD, names)
        return dict(zip(found, (np.searchsorted(usual_S, like) / len(usual_S)).tolist(), strict=True))

    def _labelled(self) -> tuple[list[str], np.ndarray]:
        """The labelled pictures and their rows, those labelled last where there are very many; read once a label."""
        pool = self.shared.pool
        positions = pool.labelled.tolist()
        state = (len(positions), hash(tuple(positions)))
        if self._known[0] != state:
            kept = [pool.ids[position] for position in positions[-MOST:]]
            rows = self._rows(kept)
            matrix = np.stack(list(rows.values())) if rows else np.empty((0, 0), np.float32)
            self._known = (state, list(rows), matrix)
        return self._known[1], self._known[2]

    def _rows(self, items: Sequence[str]) -> dict[str, np.ndarray]:
        """Features of unit length; of what cannot be read none."""
        from labelwise.project.learning import Learning

        if not items:
            return {}
        project = self.shared.project
        table = Learning(project).features.collect(Examples(project.source, tuple(items)), frozenset({FROZEN}))
        if FROZEN not in table.columns:
            return {}
        rows = np.asarray(table[FROZEN], dtype=np.float32)
        rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)  # what lies on disk stays as it is
        return dict(zip(table.ids, rows, strict=True))


def _likeness(rows_ND: np.ndarray, items: Sequence[str], rows_SD: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """(N,) mean cosine of each row with the ten rows of a sample that are most like it, itself left out."""
    if len(names) <= SURROUND:
        return np.empty(0, np.float32)
    cosines_NS = rows_ND @ rows_SD.T
    place = {name: column for column, name in enumerate(names)}
    for row, item in enumerate(items):
        if item in place:
            cosines_NS[row, place[item]] = -np.inf
    return np.asarray(np.partition(cosines_NS, -SURROUND, axis=1)[:, -SURROUND:].mean(1))
