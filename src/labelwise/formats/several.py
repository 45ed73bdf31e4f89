"""Several classes of one picture in rows: ``a;b`` in a cell, ``none`` for none of them, or a row for each class.

A cell is split at ``;``, else at ``|``, else at ``,``; one that is the name of a class of the project is that class. An
empty cell says nothing, and ``none`` (in any case, where no class is called so) that a picture has none of the classes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import Any

from labelwise.contracts.kind import NONE
from labelwise.contracts.record import Record, Seen, Where
from labelwise.errors import FormatError, few

#: what stands between two classes, the first one that a cell holds; what is written has the first
SEPARATORS = (";", "|", ",")


def parted(cell: str, classes: Collection[str] = ()) -> list[str] | None:
    """The classes that a cell names, in its order and as often as it names them; None where it is empty.

    Example:
        >>> parted("cat; dog"), parted("Smith, J.;"), parted("none"), parted(" "), parted("a,b", ["a,b"])
        (['cat', 'dog'], ['Smith, J.'], [], None, ['a,b'])
    """
    plain = cell.strip()
    if not plain:
        return None
    if cell in classes or plain in classes:
        return [cell if cell in classes else plain]
    if plain.lower() == NONE:
        return []
    mark = next((one for one in SEPARATORS if one in plain), None)
    return [plain] if mark is None else [name for part in plain.split(mark) if (name := part.strip())]


def joined(names: Sequence[str], where: Where) -> str:
    """The cell that says these classes; ``parted`` gives them back.

    Raises:
        FormatError: a name that a cell has no place for.
    """
    for name in names:
        if SEPARATORS[0] in name or not name.strip() or name.strip() != name:
            raise FormatError(f"{where}: class {name!r:.60} cannot be told from others in a cell: write JSON (.json)")
    if not names:
        return NONE
    # a mark behind the last one, where the cell would else be taken for something else
    alone = len(names) == 1 and (names[0].lower() == NONE or any(mark in names[0] for mark in SEPARATORS))
    return SEPARATORS[0].join(names) + (SEPARATORS[0] if alone else "")


def together(records: Iterable[Record], shown: str) -> tuple[list[Record], tuple[str, ...]]:
    """One record for each picture (and annotator), with all classes that its rows name, and what is to be said of them.

    Args:
        records: of all rows of a table.
        shown: the table, for messages.

    Raises:
        FormatError: rows of one picture that contradict each other: none beside a class, a skip beside a label, or two
            splits or groups; with both rows.
    """
    found: dict[tuple[Any, ...], Record] = {}
    repeated: dict[str, None] = {}
    doubled: dict[str, None] = {}
    for record in records:
        key = (record.image, record.number, record.region, record.annotator)
        name = str(record.number) if record.image is None else record.image
        if (before := found.get(key)) is not None:
            repeated.setdefault(name)
            record = _both(before, record, name)
        of: dict[Any, Seen] = {}
        for seen in record.objects:
            of.setdefault(seen.cls, seen)
        once = tuple(of.values())
        if len(once) < len(record.objects):
            doubled.setdefault(name)
            record = replace(record, objects=once)
        found[key] = record
    return list(found.values()), tuple(_notes(list(found.values()), shown, repeated, doubled))


def _both(before: Record, record: Record, name: str) -> Record:
    """What two rows say of one picture together."""
    for what in ("split", "group"):
        one, other = getattr(before, what), getattr(record, what)
        if one is not None and other is not None and one != other:
            raise FormatError(
                f"{record.where}: {name!r:.80} has the {what} {other!r:.40} here and {one!r:.40} in "
                f"{before.where.beside(record.where)}; keep one"
            )
    states = {before.state, record.state} - {"untouched"}
    if len(states) > 1:
        words = {"answered": "classes", "empty": "none of the classes", "skipped": "a skip"}
        raise FormatError(
            f"{record.where}: {name!r:.80} has {words[record.state]} here and {words[before.state]} in "
            f"{before.where.beside(record.where)}; keep one"
        )
    seconds = [one.seconds for one in (before, record) if one.seconds is not None]
    return replace(
        before,
        objects=(*before.objects, *record.objects),
        state=next(iter(states), "untouched"),
        split=before.split or record.split,
        group=before.group or record.group,
        seconds=sum(seconds) if seconds else None,
    )


def _notes(records: Sequence[Record], shown: str, repeated: Collection[str], doubled: Collection[str]) -> list[str]:
    lines = []
    if repeated:
        lines.append(f"{shown}: {len(repeated):,} image(s) stand in several rows, whose classes are taken together")
    if doubled:
        lines.append(f"{shown}: {len(doubled):,} image(s) name a class twice, which counts once: {few(list(doubled))}")
    none = sum(record.state == "empty" for record in records)
    bare = sum(record.state == "untouched" for record in records)
    if bare:
        lines.append(
            f"{shown}: {bare:,} image(s) name no class and are not answered; {none:,} say {NONE!r}, none of the classes"
        )
    return lines


def names_of(record: Record, classes: Sequence[str]) -> list[str]:
    """The classes of a record, by name.

    Raises:
        FormatError: a shape, or a number without a name.
    """
    found = []
    for seen in record.objects:
        if not seen.whole:
            raise FormatError(f"the label of {record.image!r:.80} holds shapes: a table has place for classes alone")
        if isinstance(seen.cls, int) and not 0 <= seen.cls < len(classes):
            raise FormatError(f"the label of {record.image!r:.80} is class {seen.cls}, which has no name")
        found.append(classes[seen.cls] if isinstance(seen.cls, int) else str(seen.cls))
    return found


def cell_of(record: Record, classes: Sequence[str]) -> str:
    """What a table says of a picture of several classes; "" where nobody has answered.

    Raises:
        FormatError: a cell has no place for it.
    """
    if record.state not in ("answered", "empty"):
        return ""
    names = names_of(record, classes)
    if not names and any(name.lower() == NONE for name in classes):
        raise FormatError(f"{record.where}: none of the classes, and one is called {NONE!r}: write JSON (.json)")
    return joined(names, record.where)


def objects_of(names: Iterable[str], numbers: Collection[int] = ()) -> tuple[Seen, ...]:
    """Classes as objects of a picture; whole numbers where the user gave a list of them."""
    return tuple(Seen(int(name) if name.isdecimal() and int(name) in numbers else name) for name in names)
