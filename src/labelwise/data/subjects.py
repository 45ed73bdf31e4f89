"""Subjects of images as what is asked: a source whose items are the animals or people that images show."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from labelwise.contracts.format import Reads
from labelwise.contracts.source import Source
from labelwise.data.views import View
from labelwise.errors import ConfigError, DataError, few
from labelwise.exchange.incoming import Incoming, Known
from labelwise.exchange.sniffing import choose, required
from labelwise.kinds import KINDS
from labelwise.kinds.shapes import has_objects
from labelwise.kinds.subjects import AROUND, Subject, Window, marked, recognised, whole, window_of
from labelwise.rng import digest

if TYPE_CHECKING:
    import torch

    from labelwise.config import SubjectsConfig
    from labelwise.contracts.kind import Kind


class Subjects(View):
    """The subjects of a source's images, each cut out by its box; there are no other items.

    An item ``street.png#3`` is subject 3 of ``street.png``. What a reader of images gets is the box, a quarter larger,
    with as much beside or above it as gives it the shape of the network's input; black where the image ends. Subjects
    of one image are a group, unless it has one already: they are never split between training and test.

    Args:
        source: the images.
        subjects: item -> subject.
        aspect: gives the width of the network's input over its height; asked when an image is read.
        truth: item -> raw label, of subjects that have one.
        said: what people should know, one line each.
        points: gives how many points a subject has, for budgets in points; None while that is not known.
    """

    def __init__(
        self,
        source: Source,
        subjects: Mapping[str, Subject],
        *,
        aspect: Callable[[], float],
        truth: Mapping[str, Any] | None = None,
        said: Sequence[str] = (),
        points: Callable[[], int | None] = lambda: None,
    ) -> None:
        super().__init__(source)
        self.subjects, self._find_aspect, self._said, self._points = subjects, aspect, tuple(said), points
        images = frozenset(source.ids)
        if twice := next((item for item in subjects if item in images), None):
            raise DataError(f"the image {twice!r} is called like a subject of another image: rename it")
        self.ids = tuple(sorted(subjects))
        self.truth = {} if truth is None else truth
        of = {item: subjects[item].image for item in self.ids}
        self.roles = {item: source.roles[image] for item, image in of.items() if image in source.roles}
        self.groups = {item: source.groups.get(image, image) for item, image in of.items()}

    def __repr__(self) -> str:
        return f"Subjects({self.source!r}, {len(self.ids)} subjects)"

    @cached_property
    def aspect(self) -> float:
        """Width of the network's input over its height."""
        return self._find_aspect()

    def _image_of(self, item_id: str) -> str:
        subject = self.subjects.get(item_id)
        return item_id if subject is None else subject.image

    def within(self, item_id: str) -> tuple[str, str | None]:
        """The image of a subject, and the subject as the pool writes it down."""
        subject = self.subjects.get(item_id)
        return (item_id, None) if subject is None else (subject.image, subject.place)

    def window(self, item_id: str) -> Window | None:
        """Where in its image a subject is cut out."""
        subject = self.subjects.get(item_id)
        return None if subject is None else window_of(subject.box, self.aspect)

    def load(self, item_id: str) -> np.ndarray | torch.Tensor:
        """A subject with what is around it; black where the image ends."""
        image = self.source.load(self._image_of(item_id))
        window = self.window(item_id)
        if window is None:
            return image
        if isinstance(image, np.ndarray):
            return _cut(image, window)
        import torch

        return torch.from_numpy(_cut(image.permute(1, 2, 0).numpy(), window)).permute(2, 0, 1)

    def content(self, item_ids: Sequence[str]) -> list[str]:
        """Digests: of the image with the part of it that is cut out. Cost: an image is read once for its subjects."""
        images = list(dict.fromkeys(map(self._image_of, item_ids)))
        known = dict(zip(images, self.source.content(images), strict=True))
        return [self._with_window(item, known[self._image_of(item)]) for item in item_ids]

    def _with_window(self, item_id: str, content: str) -> str:
        window = self.window(item_id)
        return content if not content or window is None else digest(content, *map(str, window))

    def stat_key(self, item_ids: Sequence[str]) -> list[str] | None:
        """As the image's, with the part of it that is cut out."""
        found = self.source.stat_key([self._image_of(item) for item in item_ids])
        if found is None:
            return None
        return [stat and f"{stat}{self.window(item) or ''}" for item, stat in zip(item_ids, found, strict=True)]

    def encoded(self, item_id: str) -> str | bytes | None:
        """As the original, for whole images."""
        return None if item_id in self.subjects else self.source.encoded(item_id)

    def path(self, item_id: str) -> str:
        """Of the image, with the number of the subject behind it."""
        image = self._image_of(item_id)
        return f"{self.source.path(image)}{item_id[len(image) :]}"

    def size(self, item_id: str) -> tuple[int, int]:
        """Of the image: labels of subjects say where in it they lie."""
        return self.source.size(self._image_of(item_id))

    def batch(self, item_ids: Sequence[str]) -> np.ndarray | None:
        """As the original, for whole images."""
        return None if any(item in self.subjects for item in item_ids) else self.source.batch(item_ids)

    def thumbnail(self, item_id: str, max_side: int) -> np.ndarray:
        """The image as people see it; of a subject what is cut out."""
        cut = item_id in self.subjects
        return Source.thumbnail(self, item_id, max_side) if cut else super().thumbnail(item_id, max_side)

    def expected_cost(self, item_ids: Sequence[str], unit: str) -> np.ndarray | None:
        """Points: as many for each subject as it has, where that is known."""
        count = self._points() if unit == "points" else None
        return None if count is None else np.full(len(item_ids), float(count))

    def native_order(self) -> Sequence[str]:
        """Subjects in the order of their images in the data."""
        of_image: dict[str, list[str]] = defaultdict(list)
        for item in self.ids:
            if self.roles.get(item, "pool") == "pool":
                of_image[self.subjects[item].image].append(item)
        return [item for image in self.source.native_order() for item in of_image.get(image, ())]

    def notes(self) -> list[str]:
        """Those of the images, and what became of their subjects."""
        return [*super().notes(), *self._said]


def _cut(image: np.ndarray, window: Window) -> np.ndarray:
    """A window of an (H, W, C) image, zero beyond its border."""
    x, y, width, height = window
    out = np.zeros((height, width, image.shape[2]), image.dtype)
    left, top = max(0, x), max(0, y)
    right, bottom = min(image.shape[1], x + width), min(image.shape[0], y + height)
    if left < right and top < bottom:
        out[top - y : bottom - y, left - x : right - x] = image[top:bottom, left:right]
    return out


# ---- out of labels and files ----------------------------------------------------------------------------------------


def points_of(labels: Iterable[Mapping[str, Any]]) -> int | None:
    """How many points a subject of these labels has; None where there is none."""
    return max((len(thing["points"]) for raw in labels for thing in raw["objects"]), default=None)


def are_several(truth: Mapping[str, Any]) -> bool:
    """Whether some label of key points is of several subjects."""
    return any(len(_persons(raw)) > 1 for raw in truth.values() if has_objects(raw))


def _persons(raw: Mapping[str, Any]) -> list[tuple[int, Mapping[str, Any]]]:
    """The objects of a label that are no crowds, with their numbers from 1."""
    return [(number, thing) for number, thing in enumerate(raw["objects"], 1) if not thing.get("crowd")]


@dataclass
class _Gathered:
    """What is found of subjects, image by image."""

    subjects: dict[str, Subject] = field(default_factory=dict)
    truth: dict[str, Any] = field(default_factory=dict)
    bare: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    crowds: int = 0

    def add(self, item: str, subject: Subject, raw: Mapping[str, Any], thing: Mapping[str, Any] | None) -> None:
        self.subjects[item] = subject
        if thing is not None and marked(thing):
            self.truth[item] = subject.label(raw, thing)
        else:
            self.bare.append(item)

    def leave_out_below(self, side: float) -> list[str]:
        """Only subjects whose boxes are that long in pixels stay; what people should know of it."""
        small = [item for item, of in self.subjects.items() if max(of.box[2] - of.box[0], of.box[3] - of.box[1]) < side]
        for item in small:
            del self.subjects[item]
            self.truth.pop(item, None)
        self.bare = [item for item in self.bare if item in self.subjects]
        if not small:
            return []
        return [f"{len(small):,} subject(s) smaller than {side:g} px (min_side) left out: {few(small)}"]

    def said(self, source: Source, how: str) -> list[str]:
        images = {subject.image for subject in self.subjects.values()}
        empty = [item for item in source.ids if item not in images]
        lines = [
            f"{len(self.subjects):,} subject(s) of {len(images):,} image(s) are asked one by one, each cut out by its "
            f"box ({how}), {AROUND:g} times as large"
        ]
        if self.crowds:
            lines.append(f"{self.crowds:,} crowd(s) are no subjects: left out")
        if self.bare:
            lines.append(
                f"{len(self.bare):,} of them have no point that was placed: no training items, but may be asked"
            )
        if self.lost:
            lines.append(
                f"{len(self.lost):,} labelled subject(s) lie in no box of the file, left out: {few(self.lost)}"
            )
        if empty:
            lines.append(f"{len(empty):,} image(s) without a box of a subject, left out: {few(empty)}")
        return lines


def with_subjects(
    source: Source, config: SubjectsConfig | None, kind: Kind | None, *, base: Path, aspect: Callable[[], float]
) -> Source:
    """The subjects of the images where there are several, or where the configuration asks for them; else the images.

    Args:
        source: the images, with key points as labels, if any.
        config: where boxes come from; None: from the labels, where an image has several subjects.
        kind: of label.
        base: what the path of a file is relative to.
        aspect: as for :class:`Subjects`.

    Raises:
        ConfigError: subjects of another kind of label.
        DataError, FormatError: see :func:`of_labels` and :func:`of_file`.
    """
    if kind is None or kind.name != "points":
        if config is None:
            return source
        raise ConfigError("subjects are asked for in keypoints only: leave 'subjects' (--subjects) out")
    if config is None and not are_several(source.truth):
        return source
    if config is None:
        return of_labels(source, aspect=aspect)
    if config.boxes == "labels":
        return of_labels(source, aspect=aspect, min_side=config.min_side)
    path = base / Path(config.boxes).expanduser()
    return of_file(source, path, aspect=aspect, only=config.only, least=config.min_score, min_side=config.min_side)


def of_labels(source: Source, *, aspect: Callable[[], float], min_side: float = 0) -> Subjects:
    """The subjects whose boxes lie in the labels of the images.

    The one subject of an image needs no box: it is looked at in the whole image.

    Args:
        source: the images.
        aspect: as for :class:`Subjects`.
        min_side: pixels that the longer side of a box must have.

    Raises:
        DataError: several subjects in an image, and one without a box; or no subject at all.
    """
    found = _Gathered()
    for image, raw in source.truth.items():
        persons = _persons(raw)
        found.crowds += len(raw["objects"]) - len(persons)
        for number, thing in persons:
            box = thing.get("box")
            if box is None and len(persons) > 1:
                raise DataError(
                    f"{image!r:.80} has {len(persons)} subjects, and subject {number} has no box: keypoints looks at "
                    "one at a time, cut out by its box; give each one, or those of a detector (--subjects FILE)"
                )
            corners = whole(raw["size"]) if box is None else box
            found.add(f"{image}#{number}", Subject(image, _corners(corners)), raw, thing)
    return _made(source, found, aspect, "of the labels", found.leave_out_below(min_side))


def of_file(
    source: Source,
    path: Path,
    *,
    aspect: Callable[[], float],
    only: str | None = None,
    least: float = 0,
    min_side: float = 0,
) -> Subjects:
    """The subjects that a file has boxes of: a detector's, in any format of boxes that is read.

    Labels of the images are given to the boxes that they lie in.

    Args:
        source: the images.
        path: the file, or a folder.
        aspect: as for :class:`Subjects`.
        only: class of the boxes that are subjects; None: the class of the data, or the only one of the file.
        least: lowest score.
        min_side: pixels that the longer side of a box must have.

    Raises:
        ConfigError: a file that holds no boxes.
        DataError: boxes of several classes, or none of the wanted one.
        FormatError: a broken row, or images that the data do not have.
    """
    boxes, left = _boxes(source, path, only, least)
    found = _Gathered()
    for image, those in sorted(boxes.items()):
        numbered = {f"{image}#{number}": subject for number, subject in enumerate(those, 1)}
        raw = source.truth.get(image, {"size": (0, 0), "objects": []})
        persons = [thing for _, thing in _persons(raw)]
        found.crowds += len(raw["objects"]) - len(persons)
        who = {item: place for place, item in recognised(persons, numbered).items()}
        for item, subject in numbered.items():
            found.add(item, subject, raw, persons[who[item]] if item in who else None)
        found.lost += [image for place, thing in enumerate(persons) if place not in who.values() and marked(thing)]
    missed = (item for item in source.truth if item not in boxes)
    found.lost += [item for item in missed for _, thing in _persons(source.truth[item]) if marked(thing)]
    return _made(source, found, aspect, f"of {path.name!r:.60}", [*left, *found.leave_out_below(min_side)])


def _made(
    source: Source, found: _Gathered, aspect: Callable[[], float], how: str, left: Sequence[str] = ()
) -> Subjects:
    if not found.subjects:
        raise DataError(
            "no image has the box of a subject: give labels with boxes, or those of a detector (--subjects FILE)"
            + "; ".join(["", *left])
        )
    said, points = [*found.said(source, how), *left], points_of(found.truth.values())
    return Subjects(source, found.subjects, aspect=aspect, truth=found.truth, said=said, points=lambda: points)


def _boxes(source: Source, path: Path, only: str | None, least: float) -> tuple[dict[str, list[Subject]], list[str]]:
    """The boxes of a file by image, from the surest on, and what was left out."""
    kind = KINDS.create("boxes")
    use: Reads = "predictions"
    if not path.exists() or (choice := choose(path, use, kind="boxes")) is None:
        use = "data"
        choice = required(path, use, kind="boxes")
    ids, counted = frozenset(source.ids), (source.numbers, source.categories)
    known = Known(kind, ids, root=source.root, size_of=source.size, numbers=lambda: counted)
    incoming = Incoming(path, choice.format, use, known)
    boxes: dict[str, list[tuple[str, Subject]]] = defaultdict(list)
    for image, record in incoming:
        raw = incoming.label(image, replace(record, state="untouched"))  # with the scores of a model
        for thing in () if raw is None else raw["objects"]:
            if thing.get("crowd"):
                continue
            boxes[image].append((thing["class"], Subject(image, _corners(thing["box"]), thing.get("score"))))
    incoming.refuse_unknown()
    names = sorted({name for those in boxes.values() for name, _ in those})
    wanted = _wanted(names, only, source.classes or (), path)
    kept: dict[str, list[Subject]] = {}
    weak = 0
    for image, those in boxes.items():
        mine = [subject for name, subject in those if name == wanted]
        sure = [subject for subject in mine if subject.score is None or subject.score >= least]
        weak += len(mine) - len(sure)
        if sure:
            kept[image] = sorted(sure, key=lambda subject: -(1.0 if subject.score is None else subject.score))
    other = sum(name != wanted for those in boxes.values() for name, _ in those)
    left = [f"{weak:,} box(es) that score below {least:g} left out"] if weak else []
    left += [f"{other:,} box(es) of other classes than {wanted!r:.40} left out"] if other else []
    return kept, left


def _wanted(names: Sequence[str], only: str | None, classes: Sequence[str], path: Path) -> str:
    """The class of the boxes that are subjects.

    Raises:
        DataError: nothing says which.
    """
    if only is not None and only not in names:
        raise DataError(f"{path.name!r:.60} has no box of class {only!r:.40}: its classes are {', '.join(names)[:120]}")
    fits = [name for name in names if name in ((only,) if only is not None else classes)] or list(names)
    if len(fits) != 1:
        raise DataError(
            f"{path.name!r:.60} has boxes of {len(fits)} classes ({', '.join(fits)[:100]}): say which are subjects, "
            "subjects: {boxes: FILE, only: CLASS}"
        )
    return fits[0]


def _corners(box: Sequence[float]) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = map(float, box)
    return x1, y1, x2, y2
