"""Somebody else's detector as a learner: its boxes, scores, class probabilities and vectors, out of a file.

Shape letters: N images, U detections of all of them end to end, C classes, D features.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from labelwise.contracts.learner import Examples, LearnerData
from labelwise.contracts.progress import Progress, silent
from labelwise.contracts.record import Record, Seen, Where
from labelwise.contracts.signal import Signal, SignalRole, SignalTable
from labelwise.contracts.task import Field, Outputs, Task
from labelwise.errors import DataError, FormatError, UnmetNeed
from labelwise.formats.shapes import extent, in_pixels
from labelwise.learners.crops import VECTORS, Features, vectors_of
from labelwise.learners.features import FROZEN
from labelwise.learners.gathered import TOLERANCE, Places, Told, check_range, check_sums, matrix, ordered, sums
from labelwise.learners.imported import FromFile, ImportedPredictions, content, with_classes
from labelwise.learners.inference import wanted_fields
from labelwise.rng import digest

#: how far a box may leave its image before it is said, in sides of the image: networks round
SLACK = 0.01
#: share of boxes that leave their images from which on they may be something else than boxes
CORNERS = 0.1


@dataclass(frozen=True)
class FoundBoxes:
    """Detections by image.

    Args:
        ids: the images that the detector has seen, ascending.
        offsets: int64 (N + 1): image n has the detections from ``offsets[n]`` to ``offsets[n + 1]``, best first.
        boxes_U4: float32 corners in fractions of the image's sides.
        scores_U: float32 in [0, 1].
        labels_U: int64 class index.
        probs_UC: float32; with ``exclusive`` there is one column more, the background, at the end.
        exclusive: rows of ``probs_UC`` sum to one (softmax); else each column is a yes or no of its own (sigmoid).
        unit_embedding_UD: float32, a vector for each detection; None where the file has none.
        embedding_ND: float32, a vector for each image; None where the file has none.
        classes: names, in index order.
        notes: what people should know, one line each.
    """

    ids: tuple[str, ...]
    offsets: np.ndarray
    boxes_U4: np.ndarray
    scores_U: np.ndarray
    labels_U: np.ndarray
    probs_UC: np.ndarray
    exclusive: bool
    unit_embedding_UD: np.ndarray | None
    embedding_ND: np.ndarray | None
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def boxes_of(self, row: int) -> np.ndarray:
        """(G, 4) of one image."""
        boxes_G4: np.ndarray = self.boxes_U4[self.offsets[row] : self.offsets[row + 1]]
        return boxes_G4

    def units(self, rows: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Which detections these images have, end to end, and how many each."""
        starts, ends = self.offsets[list(rows)], self.offsets[np.asarray(rows, dtype=np.int64) + 1]
        units = [np.arange(a, b) for a, b in zip(starts, ends, strict=True)]
        return np.concatenate([*units, np.zeros(0)]).astype(np.int64), ends - starts

    def take(self, rows: Sequence[int]) -> FoundBoxes:
        """Those of some images, in this order."""
        units, counts = self.units(rows)
        vectors_UD, vectors_ND = self.unit_embedding_UD, self.embedding_ND
        return replace(
            self,
            ids=tuple(self.ids[row] for row in rows),
            offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            boxes_U4=self.boxes_U4[units],
            scores_U=self.scores_U[units],
            labels_U=self.labels_U[units],
            probs_UC=self.probs_UC[units],
            unit_embedding_UD=None if vectors_UD is None else vectors_UD[units],
            embedding_ND=None if vectors_ND is None else vectors_ND[list(rows)],
        )


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
        self._features: Features | None = None

    def beside(self, features: Features) -> ImportedDetections:
        """The same, with a frozen backbone that gives the vectors that the file has not.

        Those of objects are read off the crops of their boxes, those of images off the whole images; once, and kept.

        Args:
            features: gives the backbone when somebody asks for vectors.
        """
        made = ImportedDetections(self.task, self.found)
        made.notes, made._features = self.notes, features
        return made

    def lacks(self, fields: frozenset[Field]) -> frozenset[Field]:
        """Which of these fields are vectors that the file does not hold."""
        held = {"unit_embedding": self.found.unit_embedding_UD, "embedding": self.found.embedding_ND}
        return frozenset(name for name, array in held.items() if array is None) & fields

    @property
    def provides(self) -> frozenset[Field]:
        """What the file holds, and what the backbone beside it gives."""
        vectors = frozenset({"unit_embedding", "embedding"})
        told = frozenset({"probs", "boxes", "scores", "labels"})
        return told | (vectors if self._features is not None else vectors - self.lacks(vectors))

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
        """Rows of the items that have a prediction; the others, and those that the backbone cannot read, failed."""
        how: dict[str, Any] = {"role": role, "data": data, "seed": seed, "progress": progress}
        lacking = self.lacks(wanted_fields(signals))
        if not lacking or self._features is None:
            return super().collect(view, signals, **how)
        features = self._features()
        rows = [row for row, item in enumerate(view.ids) if item in self._row]
        known, failed = view.take(rows), dict[str, str]()
        given: dict[str, Any] = {}
        if "embedding" in lacking:
            table = features.collect(known, frozenset({FROZEN}), progress=progress)
            failed |= table.failed
            known = Examples(view.source, table.ids)
            given["embedding_ND"] = np.asarray(table[FROZEN], dtype=np.float32)
        if "unit_embedding" in lacking:
            boxes = {item: self.found.boxes_of(self._row[item]) for item in known.ids}
            table = vectors_of(features, known, boxes, progress)
            failed |= table.failed
            given["unit_embedding_UD"] = np.asarray(table.ragged(VECTORS)[0], dtype=np.float32)
            if len(table.ids) < len(known):  # could be read as a whole, and not in parts: it changed meanwhile
                at = {item: row for row, item in enumerate(known.ids)}
                if "embedding_ND" in given:
                    given["embedding_ND"] = given["embedding_ND"][[at[item] for item in table.ids]]
                known = Examples(view.source, table.ids)
        part = self.found.take([self._row[item] for item in known.ids])
        whole = ImportedDetections(self.task, replace(part, **given))
        found = FromFile.collect(whole, view, signals, **how)
        return replace(found, failed={**found.failed, **failed})

    @property
    def embedding_width(self) -> int | None:
        """Features of an embedding of an image."""
        return None if self.found.embedding_ND is None else self.found.embedding_ND.shape[1]

    def _outputs(self, rows: list[int]) -> Outputs:
        found = self.found
        units, counts = found.units(rows)
        item_U = torch.from_numpy(np.repeat(np.arange(len(rows)), counts))
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


def of_objects(task: Task[Any], told: Told) -> FromFile:
    """A learner of the objects with boxes and scores that records hold; of a file that has none, of its embeddings.

    A detector that names no probabilities says with the score of a box yes or no to its class. Where each row of
    probabilities sums to one, classes exclude each other (softmax; a last column may stand for the background); else
    each is a yes or no of its own (sigmoid).

    Args:
        task: what was learnt.
        told: the records; an object without shape may hold the embedding of its image. Images that are not named were
            looked at where ``Head.omits_empty`` says so.

    Raises:
        FormatError: an image twice, an object without box or score, probabilities or embeddings on some rows only, of
            different widths, or out of range; with file and row.
        UnmetNeed: it speaks of images as a whole, and gives no embeddings.
    """
    objects = _Objects(told, threshold=getattr(task, "threshold", 0.0))
    for item, record in told.rows:
        objects.add(item, record)
    if not objects.images:
        raise FormatError("the predictions speak of no image of this project: is this a file for other images?")
    if not objects.seen and objects.whole is not None:
        return _of_embeddings(task, objects)
    found = objects.found(told.naming.classes or tuple(sorted(objects.seen)))
    named = task if task.classes == found.classes else with_classes(task, found.classes)
    learner = ImportedDetections(named, found)
    learner.notes = found.notes
    return learner


def _of_embeddings(task: Task[Any], objects: _Objects) -> ImportedPredictions:
    """Of a file that names no box at all."""
    told, ids = objects.told, sorted(objects.images)
    if objects.classed is not None:
        raise UnmetNeed(
            f"{objects.classed.file!r:.100} holds class probabilities of images, and {task.name} is about "
            f"{task.kind.name}: give predictions of {task.kind.name}, or embeddings only"
        )
    embeddings = objects.embeddings_of(ids)
    if embeddings is None:
        raise UnmetNeed(
            f"{objects.whole}: nothing is said of the image as a whole, and {task.name} can use an embedding of each "
            "image"
        )
    classes = told.naming.classes
    named = task if classes in ((), task.classes) else with_classes(task, classes)
    return ImportedPredictions(named, ids, embeddings=embeddings)


@dataclass
class _Objects:
    """Objects of all images, end to end.

    Args:
        told: the records that they come from.
    """

    told: Told
    #: id -> where the image stands, and its embedding
    images: dict[str, tuple[Where, Any]] = field(default_factory=dict)
    items: list[str] = field(default_factory=list)
    boxes: list[Sequence[float]] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    #: classes that boxes of any score have
    seen: set[str] = field(default_factory=set)
    probs: list[Any] = field(default_factory=list)
    embeddings: list[Any] = field(default_factory=list)
    wheres: Places = field(default_factory=Places)
    #: lowest score of a box that counts, and how many were below it
    threshold: float = 0.0
    weak: int = 0
    leaving: _Leaving = field(default_factory=lambda: _Leaving())
    #: where the first image is that something is said of as a whole, and the first that has a class as a whole
    whole: Where | None = None
    classed: Where | None = None

    def add(self, item: str, record: Record) -> None:
        """What is said of one image.

        Raises:
            FormatError: see ``of_objects``.
        """
        if item in self.images:
            where = self.images[item][0]
            raise FormatError(f"{record.where}: {item!r:.80} stands in {where} too; keep one of the two")
        vector = None
        for seen in record.objects:
            if seen.whole:
                if vector is not None:
                    raise FormatError(f"{record.where}: 2 predictions for one image as a whole; keep one")
                vector = seen.embedding
                self.whole = self.whole or record.where
                if seen.probs is not None or seen.cls is not None:
                    self.classed = self.classed or record.where
            elif seen.box is None and seen.outline is None:
                continue
            elif name := self.told.naming.of(seen.cls):
                self._add_box(item, name, seen, record)
        self.images[item] = (record.where, vector)

    def _add_box(self, item: str, name: str, seen: Seen, record: Record) -> None:
        score = _score(seen, record.where)
        self.seen.add(name)
        if score < self.threshold:
            self.weak += 1
            return
        corners = self._corners(item, seen, record)
        self.leaving.look(corners)
        self.items.append(item)
        self.boxes.append(corners)
        self.scores.append(score)
        self.names.append(name)
        self.probs.append(seen.probs)
        self.embeddings.append(seen.embedding)
        self.wheres.append(record.where)

    def _corners(self, item: str, seen: Seen, record: Record) -> list[float]:
        """In fractions of the sides."""
        turned = seen.box is not None and seen.box.rotation
        size = (1, 1) if record.fractions and not turned else record.size or self.told.size_of(item)
        if size is None:
            raise FormatError(
                f"{record.where}: the size of {item!r:.80} is not known: the file does not say it, and the image "
                "cannot be read"
            )
        corners = extent(in_pixels(seen, size) if record.fractions and turned else seen, str(record.where))
        assert corners is not None, "an object with box or outline has an extent"
        return [value / side for value, side in zip(corners, (*size, *size), strict=True)]

    def found(self, classes: tuple[str, ...]) -> FoundBoxes:
        """All of it in the order of the ids, best first.

        Raises:
            FormatError: see ``of_objects``.
        """
        if not classes:
            raise FormatError(
                "the project does not know its classes yet, and the predictions name none: import labels first, or "
                "name them with --classes a,b,c"
            )
        ids = sorted({*self.images, *(self.told.ids if self.told.naming.head.omits_empty else ())})
        row_of, index_of = {item: row for row, item in enumerate(ids)}, {name: n for n, name in enumerate(classes)}
        item_U = np.array([row_of[item] for item in self.items], dtype=np.int64)
        scores_U = np.array(self.scores, dtype=np.float32)
        labels_U = np.array([index_of[name] for name in self.names], dtype=np.int64)
        order = np.lexsort((-scores_U, item_U))
        probs_UC, exclusive = self._probs(scores_U, labels_U, classes)
        spoken = any(row is not None for row in self.embeddings)
        vectors_UD = matrix(self.embeddings, self.wheres, "embeddings")[order] if spoken else None
        counts = np.bincount(item_U, minlength=len(ids))
        bare = int((counts == 0).sum())
        return FoundBoxes(
            tuple(ids),
            np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            np.array(self.boxes, dtype=np.float32).reshape(-1, 4)[order].clip(0, 1),
            scores_U[order],
            labels_U[order],
            probs_UC[order],
            exclusive,
            vectors_UD,
            self.embeddings_of(ids),
            classes,
            tuple(self._notes(bare, len(ids))),
        )

    def _notes(self, bare: int, images: int) -> Iterator[str]:
        if self.weak:
            total = self.weak + len(self.items)
            yield (
                f"{self.weak:,} of {total:,} boxes score below {self.threshold:g} and were left out, as those of our "
                "own detectors are (--min-score says otherwise)"
            )
        if bare:
            yield (
                f"{bare:,} of {images:,} images have no detection: they come last where uncertainties of boxes count "
                "(--set empty=first or median wants them)"
            )
        yield from self.leaving.notes(len(self.items))

    def _probs(self, scores_U: np.ndarray, labels_U: np.ndarray, classes: tuple[str, ...]) -> tuple[np.ndarray, bool]:
        """The file's, or a yes or no for the class of each detection, which is all that its score says."""
        if not any(row is not None for row in self.probs):
            probs_UC = np.zeros((len(scores_U), len(classes)), dtype=np.float32)
            probs_UC[np.arange(len(scores_U)), labels_U] = scores_U
            return probs_UC, False
        probs_UC = ordered(self.probs, self.wheres, self.told.naming, classes, background=True)
        check_range(probs_UC, self.wheres)
        if probs_UC.shape[1] > len(classes):
            check_sums(probs_UC, self.wheres)
            return probs_UC, True
        if (np.abs(sums(probs_UC) - 1) > TOLERANCE).any():
            return probs_UC, False
        return np.concatenate([probs_UC, np.zeros((len(probs_UC), 1), np.float32)], axis=1), True

    def embeddings_of(self, ids: Sequence[str]) -> np.ndarray | None:
        """Float32 (N, D) of images; None where none has any.

        Raises:
            FormatError: some have none, or one of another width.
        """
        if not any(vector is not None for _, vector in self.images.values()):
            return None
        rows = [self.images.get(item, (Where(item), None)) for item in ids]
        return matrix([vector for _, vector in rows], [where for where, _ in rows], "embeddings of images")


@dataclass
class _Leaving:
    """Boxes that do not stay in their image, and whether all look like corners taken for a corner and sides."""

    count: int = 0
    farthest: float = 0.0
    #: whether every box is at least as wide as it is far from the left, and as high as it is far from the top
    reaching: bool = True

    def look(self, corners: Sequence[float]) -> None:
        """Counts a box, in fractions of the sides."""
        x1, y1, x2, y2 = corners
        beyond = max(-x1, -y1, x2 - 1, y2 - 1)
        self.count += beyond > SLACK
        self.farthest = max(self.farthest, beyond)
        self.reaching = self.reaching and x2 - x1 >= x1 and y2 - y1 >= y1

    def notes(self, total: int) -> Iterator[str]:
        """What people should know."""
        if not self.count:
            return
        line = (
            f"{self.count:,} of {total:,} boxes leave their image, by up to {100 * self.farthest:.3g} % of a side, and "
            "were cut off at its edge"
        )
        if self.reaching and self.count >= CORNERS * total:
            line += ": they look like corners (x1, y1, x2, y2) where a corner, width and height belong"
        yield line


def _score(seen: Seen, where: Where) -> float:
    if seen.score is None:
        raise FormatError(f"{where}: a box without a score; give the confidence of each (Ultralytics: save_conf=True)")
    if not 0 <= seen.score <= 1:  # NaN too
        raise FormatError(f"{where}: score is {seen.score!r:.40}; give a probability from 0 to 1")
    return seen.score
