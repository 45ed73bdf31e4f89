"""The contract for a tool in which people label, as a server: one class in one file of ``exchange/tools/``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from labelwise.contracts.record import Head, Record


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a tool a project's rounds are labelled; what the file of the project keeps of it.

    Args:
        url: of the server.
        key: tells this project from others that may work on the same server.
        number: of the project there; None: it is made.
        title: of the project there, where it is made.
        files: how people get to see pictures: read by the server where they lie, or uploaded to it.
        controls: what is labelled -> name of the control in the interface there, where the user had to say.
        longest: seconds that a label can have taken; what is above is idle time.
        verify: whether the certificate of the server is checked.
    """

    url: str
    key: str = ""
    number: int | None = None
    title: str = ""
    files: Literal["local", "upload"] = "upload"
    controls: Mapping[str, str] = field(default_factory=dict)
    longest: float = 300.0
    verify: bool = True


@dataclass(frozen=True, slots=True)
class Pictures:
    """The pictures of a project on their way to a tool.

    Args:
        root: folder below which they lie; None: they are no files.
        read: image -> its file, or its bytes as a file would have them with their ending (".png").
    """

    root: Path | None
    read: Callable[[str], Path | tuple[bytes, str]]


@dataclass(frozen=True, slots=True)
class Asked:
    """A round on its way to a tool.

    Args:
        kind: of label.
        head: classes, and names of key points.
        records: the pictures that wait for an answer, the most wanted first, with what a model would draw.
        pictures: of them.
        progress: told (stage, done, total).
    """

    kind: str
    head: Head
    records: tuple[Record, ...] = ()
    pictures: Pictures = field(default_factory=lambda: Pictures(None, Path))
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None


@dataclass(frozen=True, slots=True)
class Sent:
    """What a push did.

    Args:
        sent: pictures that people can see now and could not before.
        there: pictures that were there already.
        withdrawn: pictures taken away, because nobody asks for them any more.
        where: address of the page where people begin.
        notes: what people should know, one line each.
    """

    sent: int
    there: int
    withdrawn: int = 0
    where: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Fetched:
    """What came back.

    Args:
        file: that was written, in the tool's own format; None: nothing has changed.
        format: that reads it, with its options, as ``--format`` takes them.
        until: what to ask for next time; "" where the tool cannot say what has changed.
        notes: what people should know, one line each.
        untouched: what pictures without objects are in it.
    """

    file: Path | None
    format: str
    until: str = ""
    notes: tuple[str, ...] = ()
    untouched: Literal["empty", "unanswered"] = "unanswered"


class Tool(ABC):
    """A server on which people label.

    Every verb may be called again, after it was done, or after it was killed at any moment: nothing is there twice, and
    nothing is lost. Pictures are known by the id that labelwise gave them, and never by the name of a file.

    Args:
        place: where.
        token: that the server knows its user by; never written, logged or shown.
    """

    name: ClassVar[str]
    #: in words, for tables
    title: ClassVar[str]
    #: variable of the environment that holds the token
    variable: ClassVar[str]
    #: kinds of label that people can give there
    kinds: ClassVar[frozenset[str]]

    def __init__(self, place: Place, token: str) -> None:
        self.place, self.token = place, token

    @abstractmethod
    def prepare(self, asked: Asked) -> tuple[Place, tuple[str, ...]]:
        """Makes the project there, or takes the one that is there into use.

        Returns:
            The place with what was found out, and what people should know.

        Raises:
            ToolError: no such server, user or project; it belongs to another project of labelwise; or its interface
                has no place for this kind of label.
        """

    @abstractmethod
    def push(self, asked: Asked) -> Sent:
        """Makes what people are asked there what is asked here, in the same order.

        Raises:
            ToolError: the server fails; what was sent stays, and the next push goes on from there.
        """

    @abstractmethod
    def pull(self, since: str, path: Path, images: Collection[str]) -> Fetched:
        """Writes the answers that were given or changed since then into a file; "" means all.

        Args:
            since: what the last pull said.
            path: of the file, without its ending.
            images: ids of all pictures of the project.

        Raises:
            ToolError: the server fails; nothing is written.
        """

    @abstractmethod
    def withdraw(self, images: Collection[str]) -> tuple[int, int]:
        """Takes pictures away that nobody has answered; gives how many, and how many stay as they were answered.

        Raises:
            ToolError: the server fails.
        """

    def close(self) -> None:  # noqa: B027 - most have nothing to end
        """Ends the connection; nothing is asked any more."""
