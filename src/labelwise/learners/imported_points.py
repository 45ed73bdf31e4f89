"""Somebody else's key points as a learner: places and how sure a model is of each, out of a file.

Shape letters: N images, K points, C outcomes of a unit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from labelwise.contracts.kind import Naming
from labelwise.contracts.record import Record
from labelwise.contracts.task import Field, Outputs, Task
from labelwise.errors import DataError, FormatError, UnmetNeed
from labelwise.learners.gathered import Told
from labelwise.learners.imported import FromFile, content
from labelwise.models import heat_maps
from labelwise.rng import digest


class ImportedPoints(FromFile):
    """Key points by id, found elsewhere; no model is loaded.

    How sure a model is of a point is the mass of its one peak, and the rest is spread over places elsewhere:
    uncertainties speak of how sure it is, and not of which other place it might be.

    Args:
        task: what was learnt, with its points.
        ids: the images.
        points_NK2: float32, in fractions; NaN for a point without a place.
        scores_NK: float32 in [0, 1].
        notes: what people should know, one line each.
    """

    def __init__(
        self, task: Task[Any], ids: Sequence[str], points_NK2: np.ndarray, scores_NK: np.ndarray, notes: Sequence[str]
    ) -> None:
        super().__init__(task, ids, digest("points", list(ids), content(points_NK2), content(scores_NK)))
        self._points, self._scores = torch.from_numpy(points_NK2), torch.from_numpy(scores_NK)
        self.notes = tuple(notes)

    @property
    def provides(self) -> frozenset[Field]:
        """Places, and how sure they are."""
        return frozenset({"probs", "points", "scores"})

    def _outputs(self, rows: list[int]) -> Outputs:
        count = self._points.shape[1]
        sure_U = self._scores[rows].flatten()
        masses_UC = torch.zeros(len(sure_U), self.task.outcomes + 1 - heat_maps.ELSEWHERE)
        masses_UC[:, 0], masses_UC[:, -1] = sure_U, 1 - sure_U
        item_U = torch.arange(len(rows)).repeat_interleave(count)
        extra = {"points": self._points[rows].flatten(0, 1), "scores": sure_U}
        return Outputs(len(rows), item_U, heat_maps.spread(masses_UC), extra=extra)


def of_points(task: Task[Any], told: Told) -> ImportedPoints:
    """A learner of what a file says of key points.

    Args:
        task: with its points.
        told: what the file says; of several subjects in an image the surest one counts.

    Raises:
        FormatError: no confidences, other points than the task's, an image twice; with file and row.
        UnmetNeed: the file names no point at all.
    """
    found: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    counts: Counter[str] = Counter()
    for item, record in told.rows:
        if item in found:
            raise FormatError(f"{record.where}: {item!r:.80} stands there twice; keep one")
        found[item] = _of_record(task, record, told.naming, record.size or told.size_of(item), counts)
    if not found:
        raise FormatError("the predictions speak of no image of this project: is this a file for other images?")
    if not any(np.isfinite(points).any() for points, _ in found.values()):
        raise UnmetNeed("the predictions have no key point: give a file of key points with confidences")
    ids = sorted(found)
    points_NK2 = np.stack([found[item][0] for item in ids]).astype(np.float32)
    scores_NK = np.stack([found[item][1] for item in ids]).astype(np.float32)
    notes = [text.format(n=f"{n:,}") for text, n in counts.items() if n]
    return ImportedPoints(task, ids, points_NK2, scores_NK, notes)


def _of_record(
    task: Any, record: Record, naming: Naming, size: tuple[int, int] | None, counts: Counter[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Places in fractions and scores of one image."""
    things = [one for one in record.objects if one.points is not None and one.points.points]
    empty = np.full((len(task.points), 2), np.nan), np.zeros(len(task.points))
    if not things:
        return empty
    if odd := next((one for one in things if one.points is not None and not one.points.scores), None):
        raise FormatError(
            f"{record.where}: {odd.cls!r:.40} has points without confidences; give one for each (keypoint_scores, "
            "likelihood)"
        )
    counts["{n} image(s) with several subjects: of each the surest one is taken"] += len(things) > 1
    best = max(things, key=lambda one: sum(one.points.scores) if one.points is not None else 0)
    try:
        raw = task.kind.from_record(replace(record, objects=(best,), state="untouched"), naming, size)
        pose = task.load(raw)
    except DataError as error:
        if str(record.where) in str(error):
            raise
        raise FormatError(f"{record.where}: {error}") from None
    known_K = pose.known_K.numpy()
    scores_K = np.zeros(len(known_K)) if pose.scores_K is None else pose.scores_K.numpy()
    return np.where(known_K[:, None], pose.points_K2.numpy(), np.nan), np.where(known_K, scores_K, 0.0)
