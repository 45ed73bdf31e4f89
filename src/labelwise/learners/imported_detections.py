"""Somebody else's detector as a learner: its boxes, scores, class probabilities and vectors, out of a file."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from labelwise.contracts.task import Field, Outputs, Task
from labelwise.errors import DataError
from labelwise.formats.detections import FoundBoxes
from labelwise.learners.imported import FromFile, content
from labelwise.rng import digest


class ImportedDetections(FromFile):
    """Detected boxes by id, found elsewhere; no model is loaded.

    Where the file has no class probabilities, the score of a box is a yes or no for its class, (p, 1 - p), and the
    other classes are ruled out: uncertainties then speak of how sure the detector is of its own answer, and not of
    which class it might be instead.

    Args:
        task: what was learnt.
        found: the detections.

    Raises:
        DataError: they are of other classes than the task.
    """

    def __init__(self, task: Task[Any], found: FoundBoxes) -> None:
        if found.classes != task.classes:
            raise DataError(
                f"the detections are of the classes {', '.join(found.classes)}, the task has "
                f"{', '.join(task.classes)}: give the same ones in the same order"
            )
        boxes = (found.offsets, found.boxes_U4, found.scores_U, found.labels_U, found.probs_UC)
        arrays = (*boxes, found.unit_embedding_UD, found.embedding_ND)
        super().__init__(task, found.ids, digest("detections", list(found.ids), *map(content, arrays)))
        self.found = found

    @property
    def provides(self) -> frozenset[Field]:
        """What the file holds."""
        given = {"unit_embedding": self.found.unit_embedding_UD, "embedding": self.found.embedding_ND}
        vectors = {name for name, array in given.items() if array is not None}
        return frozenset({"probs", "boxes", "scores", "labels"} | vectors)

    def _outputs(self, rows: list[int]) -> Outputs:
        found = self.found
        starts, ends = found.offsets[rows], found.offsets[np.asarray(rows, dtype=np.int64) + 1]
        units = np.concatenate([np.arange(a, b) for a, b in zip(starts, ends, strict=True)]).astype(np.int64)
        item_U = torch.from_numpy(np.repeat(np.arange(len(rows)), ends - starts))
        scores_U = torch.from_numpy(found.scores_U[units])
        extra: dict[Field, torch.Tensor] = {
            "boxes": torch.from_numpy(found.boxes_U4[units]),
            "scores": scores_U,
            "labels": torch.from_numpy(found.labels_U[units]),
        }
        if found.unit_embedding_UD is not None:
            extra["unit_embedding"] = torch.from_numpy(found.unit_embedding_UD[units])
        if found.embedding_ND is not None:
            extra["embedding"] = torch.from_numpy(found.embedding_ND[rows])
        probs_UC = torch.from_numpy(found.probs_UC[units])
        return Outputs(len(rows), item_U, probs_UC, found.exclusive, scores_U, extra)
