"""Images whose labels lie beside them, or that a file lists: data sets of any format, as sources."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from labelwise.contracts.format import Format, Hints
from labelwise.contracts.kind import Kind, Naming
from labelwise.contracts.record import Record, Where
from labelwise.contracts.source import Role
from labelwise.data.folder import ImageFolder
from labelwise.errors import DataError, FormatError, few, unknown
from labelwise.exchange.incoming import Incoming, Known, Wishes
from labelwise.formats.scan import scan_folder
from labelwise.formats.splits import role_of
from labelwise.kinds import KINDS

if TYPE_CHECKING:
    import numpy as np

#: endings of files that hold labels, lists and classes: they are not told as left out
_TEXTS = frozenset({".json", ".xml", ".txt", ".yaml", ".yml", ".names", ".data", ".csv", ".md"})
#: words for splits that a message offers
_SPLITS = ("train", "val", "validation", "test", "reference")
#: share of listed pictures that may be missing
_MISSING = 0.5


@dataclass(frozen=True)
class Opening:
    """How a data set is opened.

    Args:
        ids: the pictures, when they and their labels are known already: nothing but the root is looked for then.
        root: the folder of the pictures, where the user named it.
        classes: names in index order, where they are known.
        names: file that says which class a number is.
        untouched: what pictures without objects are where the file cannot tell.
    """

    ids: Sequence[str] | None = None
    root: Path | None = None
    classes: tuple[str, ...] = ()
    names: Mapping[int, str] | None = None
    untouched: Literal["empty", "unanswered"] = "unanswered"


class LabelledFolder(ImageFolder):
    """Images below a folder with labels for some or all of them.

    Args:
        root: the folder of the images.
        ids: the images; None scans the folder.
        strangers: pictures below it that are none of the set's: masks.
    """

    #: what a file says of itself beyond what labelwise reads, for writing it again
    info: Mapping[str, Any] = {}

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        ids: Sequence[str] | None = None,
        strangers: frozenset[str] = frozenset(),
    ) -> None:
        scan = None if ids is not None else scan_folder(root)
        if scan is not None:
            others = {ending: count for ending, count in scan.ignored.items() if ending not in _TEXTS}
            scan = replace(scan, ids=tuple(item for item in scan.ids if item not in strangers), ignored=others)
            if not scan.ids and strangers:
                raise DataError(f"no images in {os.fspath(root)!r}: its {len(strangers):,} picture(s) are masks")
        super().__init__(root, labels="none", roles="none", ids=ids, scan=scan)
        self._drawn: Mapping[str, Record] = {}

    def __repr__(self) -> str:
        return f"LabelledFolder({str(self.root)!r}, {len(self.ids)} images)"

    def notes(self) -> list[str]:
        """What the scan left out, and what is odd about the labels."""
        bare = len(self.ids) - len(self.truth)
        line = [f"{bare:,} image(s) without label"] if self.truth and bare else []
        return [*super().notes(), *line]

    def instances(self, item_id: str) -> np.ndarray | None:
        """(H, W) which object each pixel of an image belongs to, where the data say so."""
        record = self._drawn.get(item_id)
        if record is None or self.kind is None:
            return None
        kind = KINDS.create(self.kind)
        return kind.instances(record, self.size(item_id))


class _OnDisk(Set[str]):
    """Files below a folder, as ids: asked for one by one, and listed only when somebody has to."""

    def __init__(self, root: Path) -> None:
        self._root = os.path.abspath(root)  # noqa: PTH100
        self._asked: dict[str, bool] = {}
        self._all: tuple[str, ...] | None = None

    def __contains__(self, item: object) -> bool:
        if not isinstance(item, str) or not item or item.startswith("/") or ".." in item.split("/") or "\0" in item:
            return False
        if item not in self._asked:
            self._asked[item] = os.path.normpath(item) == item and os.path.isfile(f"{self._root}/{item}")  # noqa: PTH113
        return self._asked[item]

    def __iter__(self) -> Iterator[str]:
        if self._all is None:
            self._all = scan_folder(self._root).ids
        return iter(self._all)

    def __len__(self) -> int:
        return sum(1 for _ in self)


class _Made(Mapping[str, Any]):
    """Raw labels out of records, each made when it is asked for."""

    def __init__(self, records: Mapping[str, Record], naming: Naming, known: Known) -> None:
        self._records, self._naming, self._known = records, naming, known

    def __getitem__(self, item: str) -> Any:
        return self._known.label(item, self._records[item], self._naming)

    def __contains__(self, item: object) -> bool:
        return item in self._records

    def __iter__(self) -> Iterator[str]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)

    def __repr__(self) -> str:
        return f"labels of {len(self)} images"


@dataclass
class Gathered:
    """What is gathered of a data set while its records are drawn."""

    truth: dict[str, Any] = field(default_factory=dict)
    drawn: dict[str, Record] = field(default_factory=dict)
    splits: dict[str, str] = field(default_factory=dict)
    groups: dict[str, str] = field(default_factory=dict)
    numbers: dict[int | str, str] = field(default_factory=dict)
    doubled: set[int | str] = field(default_factory=set)
    first: dict[str, Where] = field(default_factory=dict)


def open_labelled(path: Path, form: Format, kind: Kind, how: Opening | None = None) -> LabelledFolder:
    """A data set that a format reads.

    A folder gives all pictures below its root; a file gives those that it lists.

    Args:
        path: the folder or file.
        form: its format.
        kind: of label that is wanted.
        how: see ``Opening``.

    Raises:
        DataError: no picture, labels that cannot be read, most of the listed pictures missing, a split that is no word
            for one; with file and row.
    """
    how = how or Opening()
    if how.ids is not None:
        return LabelledFolder(how.root or form.root(path), ids=how.ids)
    hints = Hints(kind.name, how.classes, how.names, root=how.root)
    reading = form.read(path, "data", hints)
    head = reading[0]
    root = how.root or head.root or form.root(path)
    listed = path.is_file()
    source = None if listed else LabelledFolder(root, strangers=head.strangers)
    ids = _OnDisk(root) if source is None else frozenset(source.ids)
    measured = ImageFolder(root, labels="none", roles="none", ids=("-",)) if source is None else source
    known = Known(kind, ids, how.classes, Path(os.path.abspath(root)), measured.size)  # noqa: PTH100
    incoming = Incoming(path, form, "data", known, Wishes(names=how.names, untouched=how.untouched), reading)
    found = gathered(incoming, kind)
    if source is None:
        source = _of_listed(root, found, incoming)
    _check_missing(incoming, len(found.first), str(root))
    _describe(source, found, incoming, kind)
    return source


def _of_listed(root: Path, found: Gathered, incoming: Incoming) -> LabelledFolder:
    if found.first:
        return LabelledFolder(root, ids=sorted(found.first))
    if not incoming.unknown:
        raise FormatError(f"{str(incoming.path)!r} lists no image: it needs one entry for each")
    name, where = next(iter(incoming.unknown.items()))
    if incoming.matcher.leaves(name):
        raise FormatError(f"{where}: {incoming.matcher.why_not(name)}")
    place = os.path.join(root, name)  # noqa: PTH118
    raise FormatError(
        f"{str(incoming.path)!r}: none of its {len(incoming.unknown):,} files exists, the first would be "
        f"{place!r:.150}; give the folder that the paths are relative to (--data-root)"
    )


def gathered(incoming: Incoming, kind: Kind) -> Gathered:
    """Draws all records; of kinds whose labels are large the records are kept instead of the labels."""
    found = Gathered()
    for item, record in incoming:
        before = found.first.setdefault(item, record.where)
        if record.split is not None:
            found.splits[item] = _split(found.splits.get(item), record, item, before)
        if record.group is not None:
            found.groups[item] = record.group
        if record.number is not None and found.numbers.setdefault(record.number, item) != item:
            found.doubled.add(record.number)
        state = incoming.state_of(record)
        incoming.states[state] += 1
        if state not in ("answered", "empty"):
            continue
        if kind.heavy:
            if found.drawn.setdefault(item, record) != record:
                raise _twice(item, record.where, before)
            continue
        label = incoming.label(item, record)
        if label is None:
            incoming.states[state] -= 1
            incoming.states["other"] += 1
        elif item in found.truth and not kind.same(found.truth[item], label):
            raise _twice(item, record.where, before, kind.short(label), kind.short(found.truth[item]))
        else:
            found.truth[item] = label
    return found


def _split(old: str | None, record: Record, item: str, before: Where) -> str:
    """The word for the split of a picture.

    Raises:
        FormatError: it names no split, or another one than before.
    """
    word = str(record.split)
    if word.strip() and role_of(word) is None:
        raise unknown(f"split in {record.where}", word, _SPLITS, error=FormatError)
    if old is not None and old != word:
        raise FormatError(
            f"{record.where}: {item!r:.80} has the split {word!r:.40} here and {old!r:.40} in "
            f"{before.beside(record.where)}; keep one"
        )
    return word


def _twice(item: str, where: Where, before: Where, new: str = "another label", old: str = "one") -> FormatError:
    return FormatError(
        f"{where}: {item!r:.80} has {new:.60} here and {old:.60} in {before.beside(where)}; keep one of the two"
    )


def _check_missing(incoming: Incoming, found: int, root: str) -> None:
    """Refuses a set most of whose pictures are not there; what is missing otherwise is said in a note."""
    gone = len(incoming.unknown)
    if not gone or gone <= _MISSING * (gone + found):
        return
    name, where = next(iter(incoming.unknown.items()))
    more = f" (nor are {gone - 1:,} others of {gone + found:,})" if gone > 1 else ""
    raise FormatError(
        f"{where}: {incoming.matcher.why_not(name)} below {root!r:.100}{more}: add what is missing, or name the folder "
        "(--data-root)"
    )


def _describe(source: LabelledFolder, found: Gathered, incoming: Incoming, kind: Kind) -> None:
    """Gives a source what was read for it."""
    head = incoming.head
    source.kind, source.format = kind.name, incoming.format.name
    source.classes = incoming.named.found() or None
    source.palette = incoming.palette
    naming = replace(incoming.naming, classes=source.classes or ())
    source.truth = _Made(dict(sorted(found.drawn.items())), naming, incoming.known) if kind.heavy else found.truth
    source._drawn = found.drawn
    source.roles = roles_of(found.splits)
    source.groups = found.groups
    source.numbers = {number: item for number, item in found.numbers.items() if number not in found.doubled}
    source.categories = head.numbers
    source.info = head.extra
    gone = list(incoming.unknown)
    missing = [f"{len(gone):,} listed image(s) are not there: {few(gone)}"] if gone else []
    lists = [f"{len(head.missing):,} name(s) in lists of the set are not there: {few(head.missing)}"]
    tally = [*kind.tally(list(found.truth.values()))] if found.truth else []
    source.add_notes([*incoming.notes(), *missing, *(lists if head.missing else ()), *tally])


def roles_of(splits: Mapping[str, str]) -> dict[str, Role]:
    """Roles outside the pool."""
    roles = ((item, role_of(word) if word.strip() else None) for item, word in splits.items())
    return {item: role for item, role in roles if role is not None and role != "pool"}
