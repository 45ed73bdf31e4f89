"""What a file says of one picture, whatever the file: ``Record``. The neutral language of the door.

Formats read files into records and write records into files; kinds turn records into labels and back. No torch here,
and nothing that knows a project: names are as written, classes by name or number as written, shapes in pixels of the
picture as the file has it (or in fractions of its sides, where the file knows no size).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np

#: the value of a pixel of a mask that is neither right nor wrong: no loss, left out of metrics
IGNORE = 255
#: ``answered`` holds a label; ``empty``: somebody looked, and there is nothing; ``untouched``: nobody has looked, or
#: the file cannot tell; ``skipped``: somebody looked and will not label it
State = Literal["answered", "empty", "untouched", "skipped"]
#: of an object: drawn by a person, a model's that was left as it is, or a model's that was changed
Origin = Literal["drawn", "accepted", "corrected"]


@dataclass(frozen=True, slots=True)
class Where:
    """Where something stands, for messages.

    Args:
        file: as the user named it, or below what they named.
        unit: what a row is called: ``row``, ``line``, ``image``, ``task``, ``annotation``.
        row: counted from 1; None for the file as a whole.

    Example:
        >>> print(Where("a.csv", "row", 3))
        'a.csv', row 3
    """

    file: str
    unit: str = "row"
    row: int | None = None

    def __str__(self) -> str:
        return f"{self.file!r}" if self.row is None else f"{self.file!r}, {self.unit} {self.row}"

    def beside(self, other: Where) -> str:
        """As text beside another place: without the file where both are in one."""
        return f"{self.unit} {self.row}" if self.file == other.file and self.row is not None else str(self)


@dataclass(frozen=True, slots=True)
class Box:
    """Corners, x1 <= x2 and y1 <= y2; ``rotation`` in degrees clockwise about the centre."""

    x1: float
    y1: float
    x2: float
    y2: float
    rotation: float = 0.0


@dataclass(frozen=True, slots=True)
class Polygon:
    """One outline in one or several parts, each a flat x1, y1, x2, y2, ... of at least three corners."""

    parts: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class Mask:
    """Pixels of an object, or of a whole picture, painted only when they are asked for.

    Args:
        size: (width, height) of the window that ``read`` gives, known without reading it.
        read: gives the window: bool (H, W) for an object; what ``Record`` says for ``pixels`` and ``instances``. Raises
            FormatError for pixels that cannot be read.
        at: (x, y) of the window's upper left corner in the picture.
        raw: the same as the file wrote it, so that it can be written again to the digit.
    """

    size: tuple[int, int]
    read: Callable[[], np.ndarray]
    at: tuple[int, int] = (0, 0)
    raw: Any = None


@dataclass(frozen=True, slots=True)
class Points:
    """Key points (x, y, seen); ``seen`` as COCO counts: 2 visible, 1 hidden, 0 outside or not labelled.

    Args:
        points: of one object.
        names: one for each; () where the file names none.
        scores: of a model, how sure it is of each, in [0, 1]; () where the file says nothing of it.
    """

    points: tuple[tuple[float, float, int], ...]
    names: tuple[str, ...] = ()
    scores: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Seen:
    """One object of a picture, or the class of the whole picture where it has no shape, as a file tells it.

    A COCO annotation has a box, an outline and points at once; what is not there is None.

    Args:
        cls: name (str) or number (int) of the class as written; None where the file names none.
        box: its box.
        outline: its pixels, as polygon or mask.
        points: its key points.
        score: of a model, in [0, 1].
        probs: class (as written) -> probability, or a sequence of them in the order of ``Head.classes``.
        embedding: of the object, or of the picture for an object without shape.
        crowd: stands for a group that was not told apart.
        difficult: left out of metrics by agreement.
        origin: how it came to be, where the file says so.
        attributes: what else the file says of it, to be written again.
    """

    cls: str | int | None = None
    box: Box | None = None
    outline: Polygon | Mask | None = None
    points: Points | None = None
    score: float | None = None
    probs: Any = None
    embedding: Any = None
    crowd: bool = False
    difficult: bool = False
    origin: Origin | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        """Whether it speaks of the picture as a whole: it has no shape."""
        return self.box is None and self.outline is None and self.points is None


@dataclass(frozen=True, slots=True)
class Record:
    """One picture, as a file tells it.

    Args:
        where: file and row, for messages.
        image: its name as written; None where the file gives a number only.
        aka: further names that the file gives it, such as that before an upload; tried where ``image`` is none.
        number: of the picture in a list of pictures (COCO's ``image_id``); never a part of a file name.
        bare: ``image`` is written without the ending of its file.
        size: (width, height) in pixels as the file says; None where it does not.
        fractions: shapes are fractions of the sides, not pixels.
        objects: in the file's order.
        pixels: the class of every pixel, uint8 (H, W) of indices into ``Head.classes``, 255 where there is none. Of a
            region that the file does not place, its bounding box alone: whoever knows the region sets ``Mask.at``.
        maps: of a prediction: float32 (H, W, C), the probability of each class of ``Head.classes`` at each pixel of a
            grid of any size over the picture.
        sure: of a prediction: float32 (H, W) in [0, 1], how sure a model is of the classes in ``pixels``.
        instances: number of the object that each pixel belongs to, int32 (H, W), 0 where there is none.
        state: see ``State``.
        split: word for the split as written.
        group: video, patient, site.
        annotator: who, as written.
        seconds: what the label took.
        cost: further costs, in any of {images, boxes, points, clicks, pixels}.
        origin: how the label came to be, where the file says so.
        reason: why it was skipped.
        region: number of the region of the picture that this speaks of, as written behind ``#``.
        outline: which pixels that region has, bool (H, W) in its bounding box; for regions that are asked.
        extra: what else the file says of the picture, to be written again.
    """

    where: Where
    image: str | None = None
    aka: tuple[str, ...] = ()
    number: int | str | None = None
    bare: bool = False
    size: tuple[int, int] | None = None
    fractions: bool = False
    objects: tuple[Seen, ...] = ()
    pixels: Mask | None = None
    maps: Mask | None = None
    sure: Mask | None = None
    instances: Mask | None = None
    state: State = "answered"
    split: str | None = None
    group: str | None = None
    annotator: str | None = None
    seconds: float | None = None
    cost: Mapping[str, float] = field(default_factory=dict)
    origin: Origin | None = None
    reason: str = ""
    region: str | None = None
    outline: Mask | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Head:
    """What a file or folder says once, for all its records.

    Args:
        classes: names in index order; () where the file lists none.
        numbers: number of a class as written in objects -> name; {} where numbers count ``classes`` from 0, or where
            the file names its classes.
        images: number of a picture -> its name, where the file has such a list.
        root: the folder of the pictures, for data sets.
        strangers: pictures below ``root`` that belong to no pool: masks, previews; relative to it, POSIX.
        missing: names in lists of the file (a split, say) that no picture was found for, with the list.
        says_empty: whether a picture without objects is one that somebody looked at; False where the file lists all
            pictures, looked at or not.
        omits_empty: of predictions: pictures in which nothing was found are not named, so that one that is missing was
            looked at all the same.
        overlap: which of several objects is seen at a pixel that they share: the smallest one (groups lie below all
            others; of equal ones the last), or the last one.
        bare: what pixels of no object are, where objects are painted: of the class ``background`` of a project that has
            it, or of none.
        palette: colour of each class.
        skeleton: names of key points and pairs of their positions.
        notes: what people should know, one line each.
        extra: what else the file says of itself, to be written again.
    """

    classes: tuple[str, ...] = ()
    numbers: Mapping[int, str] = field(default_factory=dict)
    images: Mapping[int | str, str] = field(default_factory=dict)
    root: Path | None = None
    strangers: frozenset[str] = frozenset()
    missing: tuple[str, ...] = ()
    says_empty: bool = True
    omits_empty: bool = False
    overlap: Literal["smallest", "last"] = "smallest"
    bare: Literal["background", "nothing"] = "background"
    palette: tuple[tuple[int, int, int], ...] | None = None
    skeleton: tuple[tuple[str, ...], tuple[tuple[int, int], ...]] | None = None
    notes: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
