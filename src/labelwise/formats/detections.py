"""What somebody else's detector found, whatever file it comes in.

Shape letters: N images, U detections of all of them end to end, C classes, D features.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from labelwise.errors import FormatError
from labelwise.formats.labels_table import Finder
from labelwise.formats.predictions_npz import TOLERANCE


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


@dataclass(frozen=True)
class KnownImages:
    """What a file of detections is held against.

    Args:
        ids: of the project's images.
        classes: of the project; empty while they are not known.
        size_of: tells (width, height) of an image.
        numbers: COCO image id -> id, where the images came from COCO.
        categories: COCO category id -> class name, likewise.
        root: the data root, for files that name absolute paths.
    """

    ids: Collection[str]
    classes: tuple[str, ...]
    size_of: Callable[[str], tuple[int, int]]
    numbers: Mapping[int | str, str] = field(default_factory=dict)
    categories: Mapping[int, str] = field(default_factory=dict)
    root: Path | None = None

    @cached_property
    def _finder(self) -> Finder:
        return Finder(self.ids, self.root)

    @cached_property
    def _by_stem(self) -> Mapping[str, list[str]]:
        found: dict[str, list[str]] = defaultdict(list)
        for item in sorted(self.ids):
            path = PurePosixPath(item)
            number = str(int(path.stem)) if path.stem.isdecimal() else path.stem
            for name in {path.name, path.stem, number, path.with_suffix("").as_posix()}:
                found[name].append(item)
        return found

    def find(self, name: Any, where: str) -> str:
        """The image that a file calls ``name``: its id or path, its file name with or without ending, or its number.

        Raises:
            FormatError: no such image, or several.
        """
        if (item := self._known(name)) is not None:
            return item
        plain = PurePosixPath(str(name).replace("\\", "/"))
        fits: list[str] = []
        for spelling in (plain.as_posix(), plain.name):
            fits = self._by_stem.get(spelling, [])
            if len(fits) == 1:
                return fits[0]
        if fits:
            raise FormatError(
                f"{where}: {name!r} may be {fits[0]!r} or {fits[1]!r}; write the path below the data root"
            )
        raise FormatError(
            f"{where}: {name!r} is none of the project's {len(self.ids):,} images (such as "
            f"{min(self.ids, default='')!r}): is this a file for other images?"
        )

    def _known(self, name: Any) -> str | None:
        numbered = self.numbers.get(name)
        if numbered is not None and numbered in self._finder.known:
            return numbered
        return self._finder.find(name) if isinstance(name, str) else None


@dataclass
class Gathered:
    """Collects detections row by row; ``finish`` sorts and checks them together.

    Args:
        shown: the file, for messages.
        known: the project's images.
        classes: names in index order.
    """

    shown: str
    known: KnownImages
    classes: tuple[str, ...]
    items: list[str] = field(default_factory=list)
    boxes: list[Sequence[float]] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    probs: list[Any] = field(default_factory=list)
    embeddings: list[Any] = field(default_factory=list)
    #: where each row stands in the file
    places: list[str] = field(default_factory=list)

    def add(self, item: str, box: Sequence[float], label: int, score: float, where: str) -> None:
        """One detection, its corners in fractions.

        Raises:
            FormatError: a score outside [0, 1].
        """
        if not 0 <= score <= 1:
            raise FormatError(f"{where}: score is {score!r}; give a probability from 0 to 1")
        self.items.append(item)
        self.boxes.append(box)
        self.scores.append(score)
        self.labels.append(label)
        self.places.append(where)

    def finish(self, seen: Collection[str] | None = None, images: Mapping[str, Any] | None = None) -> FoundBoxes:
        """All of it, in the order of the ids, best first.

        Args:
            seen: images that the detector looked at; all of the project where the file does not say.
            images: id -> embedding of the image, for all that were seen, where the file has them.

        Raises:
            FormatError: probabilities or embeddings on some rows only, of different widths, or out of range.
        """
        ids = tuple(sorted(self.known.ids if seen is None else seen))
        row_of = {item: row for row, item in enumerate(ids)}
        item_U = np.array([row_of[item] for item in self.items], dtype=np.int64)
        scores_U = np.array(self.scores, dtype=np.float32)
        order = np.lexsort((-scores_U, item_U))
        labels_U = np.array(self.labels, dtype=np.int64)
        probs_UC, exclusive = self._probs(scores_U, labels_U)
        vectors_UD = self._matrix(self.embeddings, "embedding", None) if _any(self.embeddings) else None
        counts = np.bincount(item_U, minlength=len(ids))
        bare = int((counts == 0).sum())
        return FoundBoxes(
            ids,
            np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            np.array(self.boxes, dtype=np.float32).reshape(-1, 4)[order].clip(0, 1),
            scores_U[order],
            labels_U[order],
            probs_UC[order],
            exclusive,
            None if vectors_UD is None else vectors_UD[order],
            self._images(ids, images),
            self.classes,
            (f"{bare:,} of {len(ids):,} images have no detection in {self.shown}",) if bare else (),
        )

    def _probs(self, scores_U: np.ndarray, labels_U: np.ndarray) -> tuple[np.ndarray, bool]:
        """The file's, or a yes or no for the class of each detection, which is all that its score says."""
        width = len(self.classes)
        if not _any(self.probs):
            probs_UC = np.zeros((len(scores_U), width), dtype=np.float32)
            probs_UC[np.arange(len(scores_U)), labels_U] = scores_U
            return probs_UC, False
        probs_UC = self._matrix(self.probs, "probs", (width, width + 1))
        odd_U = (probs_UC < 0).any(1) | (probs_UC > 1 + TOLERANCE).any(1)
        if odd_U.any():
            raise FormatError(f"{self.places[int(odd_U.argmax())]}: probs are no probabilities from 0 to 1")
        off_U = np.abs(probs_UC.sum(1, dtype=np.float64) - 1) > TOLERANCE
        if probs_UC.shape[1] == width + 1:
            if off_U.any():
                raise FormatError(
                    f"{self.places[int(off_U.argmax())]}: probs of {width} classes and the background do not sum to 1"
                )
            return probs_UC, True
        if off_U.any():
            return probs_UC, False
        return np.concatenate([probs_UC, np.zeros((len(probs_UC), 1), np.float32)], axis=1), True

    def _matrix(self, rows: Sequence[Any], what: str, widths: tuple[int, ...] | None) -> np.ndarray:
        width = next(len(row) for row in rows if isinstance(row, list))
        for row, where in zip(rows, self.places, strict=True):
            if row is None:
                raise FormatError(f"{where}: no {what}, and other rows have them; give them on every row or on none")
            fine = isinstance(row, list) and len(row) == width and (widths is None or width in widths)
            if not fine or not all(isinstance(v, int | float) and not isinstance(v, bool) for v in row):
                wanted = " or ".join(map(str, widths or (width,)))
                raise FormatError(f"{where}: {what} is {row!r:.60}; give a list of {wanted} numbers")
        matrix = np.array(rows, dtype=np.float32)
        if not np.isfinite(matrix).all():
            row = int((~np.isfinite(matrix).all(1)).argmax())
            raise FormatError(f"{self.places[row]}: {what} holds a number that is not finite")
        return matrix

    def _images(self, ids: Sequence[str], images: Mapping[str, Any] | None) -> np.ndarray | None:
        if not images or not _any(list(images.values())):
            return None
        kept = Gathered(self.shown, self.known, self.classes, places=[f"{self.shown}, image {item!r}" for item in ids])
        return kept._matrix([images[item] for item in ids], "embedding", None)


def _any(rows: Sequence[Any]) -> bool:
    return any(isinstance(row, list) for row in rows)
