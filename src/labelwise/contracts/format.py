"""The contract for a file format: one frozen class in one file of ``formats/``, registered by being there."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from labelwise.contracts.record import Head, Record
from labelwise.errors import ConfigError

#: what a file is read for: a data set to begin with, answers of people, predictions of a model
Reads = Literal["data", "answers", "predictions"]
#: what is written: picks that wait for an answer, labels that are there, what a model predicts
Writes = Literal["asked", "labelled", "predictions"]


@dataclass(frozen=True, slots=True)
class Sniff:
    """How sure a format is that a path is its own.

    Args:
        sure: in [0, 1]; 0: not mine; 0.5: it may be; 0.9: nothing else looks like this; 1: it says so itself.
        why: one half sentence: what was found, or what was missed ("no obj.names beside obj_train_data").
        kinds: kinds of label that it seems to hold, the likeliest first; () where it cannot tell without reading.
    """

    sure: float
    why: str
    kinds: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Hints:
    """What the caller knows and the file may not.

    Args:
        kind: of label that is wanted: ``classes``, ``boxes``, ``masks``, ``points``; None: as the file has it.
        classes: the project's, in index order; () while it has none.
        names: number of a class -> name, where the user gave a list.
        images: number of a picture -> name, where the user gave a list.
        root: the folder of the pictures, where the user named it; also what absolute paths are relative to.
        palette: colour of each of the project's classes, where its data say so.
        progress: told (stage, done, total) on long reading.
        points: names of the project's key points, in order; () while it has none.
    """

    kind: str | None = None
    classes: tuple[str, ...] = ()
    names: Mapping[int, str] | None = None
    images: Mapping[int | str, str] | None = None
    root: Path | None = None
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None
    palette: tuple[tuple[int, int, int], ...] | None = None
    points: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Writing:
    """How records are to be written.

    Args:
        use: see ``Writes``.
        kind: of the labels.
        path_of: path of a picture's file on this machine; "" where it has none.
        images: whether pictures are to lie beside the labels as links, as copies, or only named in lists.
        progress: told (stage, done, total).
        options: what this format may be told beside that, by name.
    """

    use: Writes
    kind: str
    path_of: Callable[[str], str] = lambda image: ""
    images: Literal["link", "copy", "list"] = "list"
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Format(ABC):
    """A file format: frozen, constructor = options.

    A subclass reads files into records and writes records into files, and knows neither projects nor models. ``sniff``
    looks at names and the first kilobytes only. ``read`` checks the file as a whole before the first record is taken
    into a project, or streams: whatever raises, nothing was imported, because the door collects first.

    Every reader states its limit of memory in its docstring, and raises nothing but errors of ``labelwise.errors``.
    """

    name: ClassVar[str]
    #: in words, for tables: "COCO instances and key points, one JSON file"
    title: ClassVar[str]
    #: kinds of label that it can hold
    kinds: ClassVar[frozenset[str]]
    reads: ClassVar[frozenset[Reads]] = frozenset()
    writes: ClassVar[frozenset[Writes]] = frozenset()
    #: ending of the file that it writes (".json"), or "" for a folder
    ending: ClassVar[str] = ""

    @abstractmethod
    def sniff(self, path: Path, use: Reads) -> Sniff:
        """Whether a file or folder is of this format; cheap: names, keys, the first kilobytes."""

    @abstractmethod
    def read(self, path: Path, use: Reads, hints: Hints) -> tuple[Head, Iterator[Record]]:
        """What the file says once, and a record for each picture that it speaks of.

        Raises:
            FormatError: with file and row; also while the records are drawn.
        """

    def root(self, path: Path) -> Path:
        """The folder of the pictures of a data set, found without reading labels: ids are relative to it."""
        return path if path.is_dir() else path.parent

    def write(self, path: Path, head: Head, records: Iterable[Record], how: Writing) -> list[str]:
        """Writes a file or folder that ``read`` gives back.

        Returns:
            What the format has no place for and was left out, one line each with how many.

        Raises:
            FormatError: something that cannot be written, such as a number that is not finite.
            StateError: a file cannot be written.
        """
        raise ConfigError(f"{self.name} is read here, not written")
