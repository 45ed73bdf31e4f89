"""Somebody else's predictions as a learner: nothing to train, nothing to port."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from labelwise.contracts.kind import Naming
from labelwise.contracts.learner import Auxiliary, Examples, FitReport, Learner, LearnerData
from labelwise.contracts.passes import Passes
from labelwise.contracts.progress import Progress, silent
from labelwise.contracts.record import Record, Seen, Where
from labelwise.contracts.signal import Signal, SignalRole, SignalTable
from labelwise.contracts.task import Batch, Field, Outputs, Task
from labelwise.data.loader import blocks
from labelwise.errors import DataError, FormatError, UnmetNeed
from labelwise.learners.gathered import Places, Told, check_range, check_sums, matrix, ordered
from labelwise.learners.inference import Collector, logits_from
from labelwise.rng import digest
from labelwise.selection.arrays import as_tensor

#: rows handled at once
BLOCK = 65_536


class FromFile(Learner):
    """What every learner made of a file has in common.

    Args:
        task: what was learnt.
        ids: the items that the file speaks of, in the order of its rows.
        weights: digest of the file's content.

    Raises:
        DataError: an id twice.
    """

    keeps_rows = False
    called = "the file of predictions"

    def __init__(self, task: Task[Any], ids: Sequence[str], weights: str) -> None:
        self.task = task
        self._row = {item: row for row, item in enumerate(ids)}
        if len(self._row) < len(ids):
            twice = next(item for row, item in enumerate(ids) if self._row[item] != row)
            raise DataError(f"the predictions name {twice!r} twice: give one row for each id")
        self._weights = weights

    @property
    def embedding_width(self) -> int | None:
        """Features of an embedding of an image; None where there are none."""
        return None

    @property
    def ids(self) -> tuple[str, ...]:
        """The items that it says something of."""
        return tuple(self._row)

    @property
    def headless(self) -> str:
        """The file holds what a model said, not the model."""
        return "imported predictions hold no layer: give it to labelwise.select as head=(weight, bias)"

    @property
    def config(self) -> Mapping[str, Any]:
        """The file, by content."""
        return {"learner": "imported", "predictions": self._weights}

    @property
    def weights(self) -> str:
        """Digest of the predictions."""
        return self._weights

    @abstractmethod
    def _outputs(self, rows: list[int]) -> Outputs:
        """What the file says of these rows."""

    def fit(
        self,
        data: LearnerData,
        seed: int,
        *,
        init: str | None = None,
        auxiliaries: Sequence[Auxiliary] = (),
        progress: Progress = silent,
    ) -> FitReport:
        """There is nothing to train.

        Raises:
            UnmetNeed: always.
        """
        raise UnmetNeed("imported predictions cannot be trained: train your own model and import what it says now")

    def evaluate(self, view: Examples, *, progress: Progress = silent) -> dict[str, float]:
        """Metrics on labelled items that have a prediction."""
        metrics = self.task.metrics()
        rows = [row for row, item in enumerate(view.ids) if item in self._row]
        if "probs" not in self.provides or view.targets is None or not rows:
            return {}
        metrics.update(self._outputs([self._row[view.ids[row]] for row in rows]), [view.targets[row] for row in rows])
        return metrics.compute()

    def collect(
        self,
        view: Examples,
        signals: frozenset[Signal],
        *,
        role: SignalRole = "pool",
        data: LearnerData | None = None,
        seed: int = 0,
        progress: Progress = silent,
    ) -> SignalTable:
        """Rows of the items that have a prediction; the others are reported as failed."""
        known = [item for item in view.ids if item in self._row]
        failed = {item: "the predictions have no row for it" for item in view.ids if item not in self._row}
        collector = Collector(signals, no_draws, {}, role)
        for block in blocks(len(known), BLOCK):
            rows = [self._row[known[i]] for i in block]
            collector.add(None, Batch(torch.empty(len(rows), 0)), partial(self._outputs, rows))
        return SignalTable(tuple(known), collector.columns(), failed)

    def signal_key(self, signal: Signal, *, data: LearnerData | None = None, seed: int = 0) -> str:
        """The predictions and the signal."""
        return digest(self._weights, signal.key)

    def save(self, folder: Path) -> None:
        """Nothing is kept: the file stays where it is."""

    def load(self, folder: Path, weights: str, *, auxiliaries: Sequence[Auxiliary] = ()) -> None:
        """Nothing to load."""


class ImportedPredictions(FromFile):
    """Class probabilities and embeddings by id, made elsewhere.

    Args:
        task: what was learnt.
        ids: the items.
        probs: (N, C), columns in the order of the task's classes; None when there are embeddings only.
        embeddings: (N, D); None when there are probabilities only.

    Raises:
        DataError: neither was given, an id twice, or arrays that do not fit the ids or the task's classes.
    """

    def __init__(
        self,
        task: Task[Any],
        ids: Sequence[str],
        *,
        probs: np.ndarray | None = None,
        embeddings: np.ndarray | None = None,
    ) -> None:
        if probs is None and embeddings is None:
            raise DataError("the predictions hold neither probs nor embeddings: give at least one of them")
        for name, array in (("probs", probs), ("embeddings", embeddings)):
            if array is not None and array.ndim != 2:
                raise DataError(f"the {name} have shape {array.shape}: give two dimensions, one row for each id")
            if array is not None and len(array) != len(ids):
                raise DataError(
                    f"the predictions have {len(array)} rows of {name} for {len(ids)} ids: give one for each"
                )
        if probs is not None and probs.shape[1] != len(task.classes):
            raise DataError(
                f"the predictions have {probs.shape[1]} columns for {len(task.classes)} classes "
                f"({', '.join(task.classes)}): give one for each, in this order"
            )
        super().__init__(task, ids, digest("imported", list(ids), content(probs), content(embeddings)))
        self._probs = probs
        self._embeddings = embeddings

    @property
    def provides(self) -> frozenset[Field]:
        """What the file holds."""
        fields = {"probs", "per_image", "logits"} if self._probs is not None else set()
        return frozenset(fields | ({"embedding"} if self._embeddings is not None else set()))

    @property
    def embedding_width(self) -> int | None:
        """Features of an embedding."""
        return None if self._embeddings is None else self._embeddings.shape[1]

    def _outputs(self, rows: list[int]) -> Outputs:
        extra: dict[Field, torch.Tensor] = {}
        if self._embeddings is not None:
            extra["embedding"] = as_tensor(self._embeddings[rows]).float()
        if self._probs is None:
            nothing_BC, exclusive = torch.full((len(rows), len(self.task.classes)), torch.nan), self.task.exclusive
            return Outputs.of_images(nothing_BC, exclusive=exclusive).with_extra(extra)
        probs_BC, exclusive = as_tensor(self._probs[rows]).float(), self.task.exclusive
        logits_BC = logits_from(probs_BC, exclusive=exclusive)
        return Outputs.of_images(probs_BC, exclusive=exclusive).with_extra({**extra, "logits": logits_BC})


def of_pictures(task: Task[Any], told: Told, *, probs: bool) -> ImportedPredictions:
    """A learner of what records say of whole images: ``Seen`` without a shape.

    Args:
        task: what was learnt; with the classes of the file, where the project has none.
        told: the records.
        probs: whether class probabilities of images are of use; embeddings always are.

    Raises:
        FormatError: an item twice, nothing said of one, numbers that do not fit; with file and row.
        UnmetNeed: probabilities, or objects, where neither is of use.
    """
    where_of = Places()
    row_of: dict[str, int] = {}
    probs_of: list[Any] = []
    embedding_of: list[Any] = []
    for item, record in told.rows:
        whole = [seen for seen in record.objects if seen.whole]
        if len(whole) != 1:
            raise _no_picture(task, record, len(whole), probs=probs)
        if item in row_of:
            before = where_of[row_of[item]]
            raise FormatError(f"{record.where}: {item!r:.80} stands in {before} too; keep one row for each image")
        row_of[item] = len(row_of)
        where_of.append(record.where)
        probs_of.append(_probs_of(whole[0], record.where, told.naming, len(task.classes)))
        embedding_of.append(whole[0].embedding)
    if not row_of:
        raise FormatError("the predictions speak of no image of this project: is this a file for other images?")
    ids = sorted(row_of)
    order = [row_of[item] for item in ids]
    wheres = where_of.take(order)
    rows, vectors = [probs_of[row] for row in order], [embedding_of[row] for row in order]
    spoken = any(row is not None for row in rows)
    if spoken and not probs:
        raise UnmetNeed(
            f"{wheres[0].file!r:.100} holds class probabilities of images, and {task.name} is about {task.kind.name}: "
            f"give predictions of {task.kind.name}, or embeddings only"
        )
    embeddings = matrix(vectors, wheres, "embeddings") if any(row is not None for row in vectors) else None
    if not spoken and embeddings is None:
        raise _no_picture(task, Record(wheres[0]), 0, probs=probs)
    named = _named(task, told.naming, rows)
    probs_NC = None
    if spoken:
        probs_NC = ordered(rows, wheres, told.naming, named.classes)
        check_range(probs_NC, wheres)
        if task.exclusive:
            check_sums(probs_NC, wheres)
    return ImportedPredictions(named, ids, probs=probs_NC, embeddings=embeddings)


def _probs_of(seen: Seen, where: Where, naming: Naming, classes: int) -> Any:
    """Probabilities of one image; of two classes the score of one says that of the other."""
    if seen.probs is not None or seen.cls is None:
        return seen.probs
    if seen.score is None or classes != 2 or not 0 <= seen.score <= 1:
        raise UnmetNeed(
            f"{where}: the class {seen.cls!r:.40} and a score are too little, strategies need a probability of every "
            "class: give one column for each"
        )
    name = naming.of(seen.cls)
    return [seen.score if own == name else 1 - seen.score for own in naming.classes]


def _named(task: Task[Any], naming: Naming, rows: Sequence[Any]) -> Task[Any]:
    """The task with the classes that the file names, or counts, where the project has none."""
    width = next((len(row) for row in rows if row is not None), len(task.classes))
    names = naming.classes or tuple(f"class {n}" for n in range(width))
    return task if task.classes == names else with_classes(task, names)


def with_classes(task: Task[Any], classes: tuple[str, ...]) -> Task[Any]:
    """The same task with other classes."""
    return replace(task, classes=classes)  # type: ignore[type-var]


def _no_picture(task: Task[Any], record: Record, count: int, *, probs: bool) -> Exception:
    if count:
        return FormatError(f"{record.where}: {count} predictions for one image; keep one")
    wanted = f"a probability of each class, or an embedding{', of each image' if probs else ''}"
    if not probs:
        wanted = "an embedding of each image"
    return UnmetNeed(f"{record.where}: nothing is said of the image as a whole, and {task.name} can use {wanted}")


def content(array: np.ndarray | None) -> str:
    """Digest of an array, read block by block: it may be mapped, and larger than memory."""
    if array is None:
        return ""
    found = hashlib.blake2b(f"{array.dtype}{array.shape}".encode(), digest_size=16)
    for block in blocks(len(array), BLOCK):
        found.update(np.ascontiguousarray(array[block.start : block.stop]).view(np.uint8).data)
    return found.hexdigest()


def no_draws(batch: Batch, passes: Passes, first: Outputs) -> Iterator[Outputs]:
    """What stochastic passes over a file give.

    Raises:
        UnmetNeed: always.
    """
    raise UnmetNeed(f"imported predictions make no {type(passes).__name__} passes")
