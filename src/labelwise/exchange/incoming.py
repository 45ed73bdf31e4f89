"""The way in: a file or folder becomes labels of the project's pictures, the same way for every format and use.

Everything is read and checked before anything is handed on; what was guessed, left out or not answered is counted, and
said in a line each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from labelwise.contracts.format import Format, Hints, Reads
from labelwise.contracts.kind import Kind, Naming
from labelwise.contracts.record import Head, Mask, Record, Where
from labelwise.errors import DataError, FormatError, few
from labelwise.exchange.classes import BACKGROUNDS, ClassMap, plain
from labelwise.exchange.matching import Match, Matcher
from labelwise.formats.class_colours import Colour, in_order


@dataclass(frozen=True)
class Wishes:
    """What the user said about reading.

    Args:
        format: name of the format; None: it is found.
        names: number of a class -> name.
        images: number of a picture -> name.
        untouched: what pictures without objects are where the file cannot tell.
        ignore_unknown: leave out what is said of pictures that the project does not have.
        add_classes: classes that the project does not have join it; else they are refused.
        min_score: lowest score of a box that counts in predictions; None: that of our own detectors.
    """

    format: str | None = None
    names: Mapping[int, str] | None = None
    images: Mapping[int | str, str] | None = None
    untouched: Literal["empty", "unanswered"] = "unanswered"
    ignore_unknown: bool = False
    add_classes: bool = False
    min_score: float | None = None


@dataclass(frozen=True)
class Known:
    """What files are held against: the pictures of a project or data set.

    Args:
        kind: of label.
        ids: of the pictures.
        classes: in index order; () while they are not known.
        root: the data root.
        size_of: (width, height) of a picture as people see it; raises DataError where it cannot be read.
        numbers: gives number -> id, and category number -> name, of the data set that the pictures came from; asked
            only where a file counts instead of naming.
        regions: ids of regions, ``IMAGE#NUMBER``.
        outline: pixels of a region in its bounding box, and (x, y) of that in the picture.
        progress: told (stage, done, total).
        palette: colour of each class, where it is known.
        points: names of the project's key points, in order.
    """

    kind: Kind
    ids: Collection[str]
    classes: tuple[str, ...] = ()
    root: Path | None = None
    size_of: Callable[[str], tuple[int, int]] | None = None
    numbers: Callable[[], tuple[Mapping[int | str, str], Mapping[int, str]]] = lambda: ({}, {})
    regions: Collection[str] = frozenset()
    outline: Callable[[str], tuple[Any, tuple[int, int]]] | None = None
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None
    palette: tuple[tuple[int, int, int], ...] | None = None
    points: tuple[str, ...] = ()

    def size(self, item: str) -> tuple[int, int] | None:
        """Width and height; None for a picture that cannot be read: its label is still good."""
        if self.size_of is None:
            return None
        try:
            return self.size_of(item.partition("#")[0] if item in self.regions else item)
        except DataError:
            return None

    def label(self, item: str, record: Record, naming: Naming) -> Any:
        """The raw label of a record; None where it says nothing of this kind.

        Raises:
            FormatError: with file and row.
        """
        try:
            return self.kind.from_record(record, naming, self.size(item))
        except DataError as error:
            if str(record.where) in str(error):
                raise
            raise FormatError(f"{record.where} ({item!r:.80}): {error}") from None


@dataclass(frozen=True, slots=True)
class Row:
    """What a file says of one item.

    Args:
        item: id.
        record: as read; shapes and pixels in it are read when asked for.
        raw: the label; None for a skip, and where labels are made when asked for.
    """

    item: str
    record: Record
    raw: Any = None

    @property
    def annotator(self) -> str:
        """Who said so; "" where nobody is named."""
        return self.record.annotator or ""

    @property
    def cost(self) -> dict[str, float]:
        """What the answer cost, as the file says."""
        seconds = self.record.seconds
        return {**self.record.cost, **({} if seconds is None else {"seconds": seconds})}


@dataclass
class Incoming:
    """A file on its way in. Iterating draws matched rows; afterwards the counts and notes are complete.

    Args:
        path: of the file or folder.
        format: that reads it.
        use: what it is read for.
        known: what it is held against.
        wishes: of the user.
        reading: what ``format.read`` gave, where it was called already.

    Raises:
        FormatError: while rows are drawn: a broken row.
    """

    path: Path
    format: Format
    use: Reads
    known: Known
    wishes: Wishes = field(default_factory=Wishes)
    reading: tuple[Head, Iterator[Record]] | None = None

    def __post_init__(self) -> None:
        hints = Hints(
            self.known.kind.name,
            self.known.classes,
            self.wishes.names,
            self.wishes.images,
            self.known.root,
            self.known.progress,
            self.known.palette,
            self.known.points,
        )
        self.head, self._records = self.reading or self.format.read(self.path, self.use, hints)
        self.matcher = Matcher(self.known.ids, self.known.root)
        self.named = self._class_map()
        self.naming = Naming(self.named, self.named.classes or self.head.classes, self.head)
        #: ``answered``, ``empty``, ``unanswered``, ``skipped`` and how many
        self.states: Counter[str] = Counter()
        #: names that no picture has, with where the first stood
        self.unknown: dict[str, Where] = {}
        self._splits: dict[str, Record] = {}

    def _class_map(self) -> ClassMap:
        optional: frozenset[str] = BACKGROUNDS if self.known.kind.heavy else frozenset()
        known = ClassMap(
            self.head,
            self.known.classes,
            self.wishes.names,
            origin=lambda: self._origin[1],
            shown=str(self.path),
            optional=optional,
        )
        known.adding = self.wishes.add_classes and bool(known.classes)
        if known.adding and self.known.kind.heavy:  # numbers of pixels count all classes, so they come before the first
            for name in self.head.classes:
                known(name)
            known.adding = False
            known.seen.clear()
        return known

    # ---- rows -------------------------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[tuple[str, Record]]:
        """Each record whose picture the project has, with its id."""
        for record in self._records:
            match = self._match(record)
            if match is None:
                self.unknown.setdefault(_called(record), record.where)
                continue
            image = self.matcher.count(match)
            if match.split:
                record = self._of_split(match, record)
            yield (image, record) if record.region is None else self._of_region(image, record)

    def _of_split(self, match: Match, record: Record) -> Record:
        """The record of a picture that was found without the split that the file sorts it into.

        Raises:
            FormatError: the same name stood in another split: then these were two pictures.
        """
        first = self._splits.setdefault(match.item, record)
        if first.image != record.image:
            other = f"{_called(first)!r:.80} in {first.where.beside(record.where)}"
            raise FormatError(
                f"{record.where}: {_called(record)!r:.80} and {other} may both be {match.item!r:.60}: keep the one "
                "that is meant"
            )
        return replace(record, split=record.split or match.split.rpartition("/")[2])

    def _match(self, record: Record) -> Match | None:
        if record.image is not None:
            for name in (record.image, *record.aka):
                if (found := self.matcher.find(name, bare=record.bare)) is not None:
                    return found
        if record.number is None:
            return None
        if found := self.matcher.numbered(record.number, self.wishes.images or self.head.images):
            return found
        self.matcher.numbers = self._origin[0]
        return self.matcher.numbered(record.number, {})

    @cached_property
    def _origin(self) -> tuple[Mapping[int | str, str], Mapping[int, str]]:
        """How the data set counts that the project came from; looked at when a file counts instead of naming."""
        return self.known.numbers()

    def _of_region(self, image: str, record: Record) -> tuple[str, Record]:
        """The item of a region, and its record with the place that the project knows."""
        item = f"{image}#{record.region}"
        if item not in self.known.regions or self.known.outline is None:
            last = sum(one.startswith(f"{image}#") for one in self.known.regions)
            raise FormatError(
                f"{record.where}: {image!r:.80} has no region {record.region!r:.20}: "
                + (f"its regions are 1 to {last}" if last else "the project asks for whole images")
            )
        inside, at = self.known.outline(item)
        size = (inside.shape[1], inside.shape[0])
        pixels = record.pixels
        if pixels is not None and pixels.size == size and size != self.known.size(image):
            pixels = replace(pixels, at=at)
        return item, replace(record, outline=Mask(size, lambda: inside, at), pixels=pixels)

    def rows(self) -> Iterator[Row]:
        """Labels and skips; what is not answered is counted.

        Raises:
            FormatError: an unknown class, a label at another size than its picture; with file and row.
        """
        for item, record in self:
            state, raw = self.state_of(record), None
            if state in ("answered", "empty"):
                raw = self.label(item, record)
                state = self._state(raw)
            self.states[state] += 1
            if state in ("answered", "empty", "skipped"):
                yield Row(item, record, raw)

    def state_of(self, record: Record) -> str:
        """``answered``, ``empty``, ``skipped``; ``unanswered`` where the file says so, ``bare`` where it cannot."""
        if record.state == "untouched":
            return "unanswered"
        if record.state == "empty" and not self.head.says_empty and self.wishes.untouched == "unanswered":
            return "bare"
        return record.state

    def _state(self, raw: Any) -> str:
        kind = self.known.kind
        if raw is None:
            return "other"
        return "unanswered" if kind.blank(raw) else "empty" if kind.empty(raw) else "answered"

    def label(self, item: str, record: Record) -> Any:
        """The raw label of a record; None where it says nothing of this kind.

        Raises:
            FormatError: with file and row.
        """
        return self.known.label(item, record, self.naming)

    @property
    def palette(self) -> tuple[Colour, ...] | None:
        """Colours of :meth:`ClassMap.found`, as the file has them; None where it does not say all."""
        named = zip(self.head.classes, self.head.palette or (), strict=False)
        return in_order({plain(name): colour for name, colour in named}, self.named.found())

    # ---- what is said -----------------------------------------------------------------------------------------------

    def refuse_unknown(self) -> None:
        """Refuses names of no picture, unless the user wants them left out.

        Raises:
            FormatError: the first, how many, and what to do.
        """
        if not self.unknown or self.wishes.ignore_unknown:
            return
        name, where = next(iter(self.unknown.items()))
        more = f" (and {len(self.unknown) - 1:,} more)" if len(self.unknown) > 1 else ""
        why = self.matcher.why_not(name) if where and not name.startswith("number ") else self._no_list(name)
        stop = "" if f"{why}{more}".endswith("?") else "."
        raise FormatError(f"{where}: {why}{more}{stop} Nothing was taken; --ignore-unknown leaves them out")

    def _no_list(self, name: str) -> str:
        if self.wishes.images or self.head.images or self.matcher.numbers:
            return f"image {name} is not among the project's images"
        return f"images are numbers (image {name}), and no list says which is which: give one with --images FILE (COCO)"

    def notes(self) -> list[str]:
        """What people should know, one line each: notes of the format, how names matched, what was left out."""
        lines = list(self.head.notes)
        if matched := self._matched():
            lines.append(matched)
        if bare := self.states["bare"]:
            lines.append(
                f"{bare:,} image(s) without any object may never have been opened, and this file cannot tell: taken as "
                f"not answered (--untouched empty takes them as images {self.known.kind.bare})"
            )
        if other := self.states["other"]:
            lines.append(f"{other:,} image(s) left out: nothing is said of {self.known.kind.name} there")
        return lines

    def _matched(self) -> str:
        told, found = self.matcher.said(), sum(self.matcher.told.values())
        if not self.unknown or self.use == "data":  # of a data set what is missing is told by whoever opens it
            plain = set(self.matcher.told) <= {"by path"} and not self.matcher.dropped
            return "" if plain else f"images matched: {told}"
        names = few(list(self.unknown))
        return f"{found:,} image(s) matched, {len(self.unknown):,} not in this project left out: {names}"


def _called(record: Record) -> str:
    return record.image if record.image is not None else f"number {record.number}"
