"""The contract for a kind of label: one frozen class in one file of ``kinds/``, registered by being there.

A kind speaks of *raw labels*: the JSON that stands in the event table (a class name; ``{"size", "objects"}``;
``{"size", "png"}``). It knows no torch, so that import, export, cancel and reports start at once; ``Task`` is its
training side and makes tensors of raw labels. Nothing else in the house asks what kind of label it has.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from labelwise.contracts.record import Head, Record

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

#: a raw label
Raw = Any


@dataclass(frozen=True, slots=True)
class Naming:
    """How the classes of a file are called in the project.

    Args:
        of: class as written (name, number or None) -> the project's name, raising FormatError for one it has not;
            "" for one that stands for no class at all (a background that the project does not have).
        classes: of the project, in index order.
        head: what the file says once.
    """

    of: Callable[[str | int | None], str]
    classes: tuple[str, ...]
    head: Head


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture of a comparison.

    Args:
        title: such as ``labelled`` or ``predicted``; "" where no word is wanted.
        label: the raw label to draw; None where there is none.
        doubt: (H, W) of any size, how unsure a model is of each pixel, for kinds that can show it.
    """

    title: str
    label: Raw = None
    doubt: np.ndarray | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """How labels are drawn.

    Args:
        palette: colour of each class, as the data have it.
        region: pixels of the region that is asked, bool in its bounding box, (x, y) of that in the picture, and the
            picture's width and height.
        side: longest side of a panel in pixels; None: as small as pages show it.
    """

    palette: tuple[tuple[int, int, int], ...] | None = None
    region: tuple[np.ndarray, tuple[int, int], tuple[int, int]] | None = None
    side: int | None = None


#: nothing is known of colours, and the picture is asked as a whole
PLAIN = Look()
#: what stands for none of the classes where people write and read
NONE = "none"


def in_full(names: Sequence[str]) -> str:
    """All classes of a picture as people write and read them.

    Example:
        >>> in_full(["cat", "dog"]), in_full([])
        ('cat; dog', 'none')
    """
    return "; ".join(names) or NONE


class Kind(ABC):
    """A kind of label: raw labels to records and back, their checks, counts, costs and pictures. Frozen."""

    name: ClassVar[str]
    #: one of them in words: "box"
    noun: ClassVar[str]
    #: the name of the task that trains on it
    task: ClassVar[str]
    #: fewest classes that a project of this kind can have
    fewest: ClassVar[int] = 1
    #: raw labels are large: of data sets they are made when asked for, each time
    heavy: ClassVar[bool] = False
    #: whether labels can be given for parts of a picture: regions of it, each an item of its own
    parted: ClassVar[bool] = False
    #: a picture that somebody looked at and that has nothing, in words
    bare: ClassVar[str] = "without any object"
    #: whether there is something to draw into a picture
    drawn: ClassVar[bool] = True
    #: what follows the name of a file, or of a folder, that picks are written to for people to fill in
    filled: ClassVar[str] = ".json"
    #: likewise for all labels, as a set that trains as it is
    kept: ClassVar[str] = ".json"
    #: names of further kinds whose labels say this one, too: files of those are read for it
    said_by: ClassVar[frozenset[str]] = frozenset()
    #: names of the formats that a file's ending means when labels of this kind are written, the usual one first
    written: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def from_record(self, record: Record, naming: Naming, size: tuple[int, int] | None) -> Raw:
        """The raw label of one answered or empty picture; None where the record says nothing of this kind.

        Args:
            record: what a file says.
            naming: its classes.
            size: (width, height) of the picture as people see it; None where the picture cannot be read.

        Raises:
            FormatError: labels drawn at another size than the picture has, with ``record.where``.
        """

    @abstractmethod
    def to_record(self, item: str, raw: Raw, classes: tuple[str, ...]) -> Record:
        """The record that formats write: exactly what ``from_record`` makes the same raw label of."""

    @abstractmethod
    def check(self, raw: Raw, classes: tuple[str, ...], size: tuple[int, int] | None) -> None:
        """Refuses a raw label that breaks its form.

        Raises:
            DataError: in one line.
        """

    @abstractmethod
    def objects(self, raw: Raw, classes: tuple[str, ...] = ()) -> list[str]:
        """The class of each object, in order; of a picture's class itself; of a mask each class that occurs, once.

        Args:
            raw: a label.
            classes: of the project; labels that hold numbers of classes (masks) name none without them.
        """

    def merge(self, raws: Sequence[Raw]) -> Raw:
        """What several labels of parts of one picture say together; the last one where they contradict."""
        return raws[-1]

    def parts(self, raw: Raw, outlines: Mapping[str, tuple[np.ndarray, tuple[int, int]]]) -> dict[str, Raw]:
        """What the label of a whole picture says of regions of it that wait for an answer.

        Args:
            raw: of the picture.
            outlines: region -> its pixels, bool in its bounding box, and (x, y) of that in the picture.

        Returns:
            Raw labels of the regions of which it says something; {} where it answers the picture as a whole, and for
            kinds that know no regions.

        Raises:
            FormatError: it answers parts of the picture that were not asked.
        """
        return {}

    def cost(self, raw: Raw) -> dict[str, float]:
        """What can be counted: ``images``, and ``boxes``, ``points``, ``clicks`` or ``pixels``."""
        return {"images": 1.0}

    def same(self, one: Raw, other: Raw) -> bool:
        """Whether two raw labels say the same."""
        return bool(one == other)

    def empty(self, raw: Raw) -> bool:
        """Whether somebody looked and there is nothing."""
        return False

    def blank(self, raw: Raw) -> bool:
        """Whether nothing was drawn, so that it answers no question; of a data set it is a label all the same."""
        return False

    def short(self, raw: Raw) -> str:
        """A few words for messages: ``'cat'``, ``3 boxes``."""
        return repr(raw)

    @abstractmethod
    def draw(self, image: Image, panels: Sequence[Panel], classes: tuple[str, ...], look: Look = PLAIN) -> Image:
        """The picture with what was labelled and predicted, side by side where there are several panels.

        Args:
            image: as people see it, of any size.
            panels: what is to be seen; () shows the picture alone.
            classes: of the project, in index order.
            look: colours, and what is drawn on all panels.
        """

    def owns(self, raw: Raw) -> bool:
        """Whether a raw label has the form of this kind; for labels that somebody's own code gives."""
        return False

    def tally(self, raws: Iterable[Raw]) -> Sequence[str]:
        """What is odd about labels and allowed all the same, counted: one line each."""
        return ()

    def origins(self, raw: Raw) -> Sequence[str]:
        """How the objects of a label came about, where the tool said so: accepted, corrected or drawn."""
        return ()

    def settled(self, options: Mapping[str, Any], raws: Iterable[Raw]) -> tuple[dict[str, Any], list[str]]:
        """Options of the task ``self.task`` with what labels say of those that nobody gave, and notes.

        Args:
            options: that were given, by name.
            raws: labels of a set or project; read only where they can say something.

        Raises:
            DataError: labels that contradict the options, or each other.
        """
        return dict(options), []

    def instances(self, record: Record, size: tuple[int, int]) -> np.ndarray | None:
        """(H, W) the number of the object that is seen at each pixel, where a record tells objects apart."""
        return None

    def counts(self, raws: Iterable[Raw], classes: tuple[str, ...] = ()) -> dict[str, int]:
        """How many objects, or pictures that have them, there are of each class; 0 where a class does not occur."""
        found = dict.fromkeys(classes, 0)
        for raw in raws:
            for name in self.objects(raw, classes):
                found[name] = found.get(name, 0) + 1
        return found
