"""A row of a table or an item of a list as a record of one picture: its class, a skip, what the answer cost."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from labelwise.contracts.record import Record, Seen, State, Where
from labelwise.errors import FormatError
from labelwise.formats.columns import is_picture
from labelwise.formats.quick_records import quick_record, quick_row, quick_where
from labelwise.formats.several import objects_of, parted

#: in place of a label: this image was looked at and cannot be labelled
SKIP_WORDS = frozenset({"skip", "__skip__"})
#: what a label may have cost, beside the time
COSTS = ("images", "boxes", "clicks", "pixels")
#: what labelwise writes beside a pick -> the key that records have for it
PICKED = {
    "path": "path",
    "rank": "rank",
    "score": "strategy_score",
    "strategy": "strategy",
    "predicted": "predicted",
    "probability": "probability",
    "round": "round",
}

_NUMBERS: Mapping[str, Callable[[str], float]] = {"rank": int, "round": int, "score": float, "probability": float}
_COSTS, _PICKED = frozenset(COSTS), frozenset(PICKED)
_USUAL = frozenset({".jpg", ".png"})
_TRUE = frozenset({"true", "yes", "y", "x", "1", "1.0"})
_FALSE = frozenset({"", "false", "no", "n", "0", "0.0"})
#: whole numbers of this length are still classes
_DIGITS = 9


@dataclass
class Rows:
    """Makes records of rows; one for each file that is read.

    Args:
        file: for ``Record.where``.
        unit: what a row is called.
        classes: of the project, so that a class called "skip" stays a class.
        numbers: number of a class -> name, where the user gave a list: whole numbers are then numbers of classes.
        skips: whether the words for skipping count in place of a label: they do in answers.
        several: whether a label may name several classes, see ``several``.
    """

    file: str
    unit: str = "row"
    classes: Collection[str] = frozenset()
    numbers: Mapping[int, str] | None = None
    skips: bool = True
    several: bool = False
    #: label as written -> objects and state, made once
    _seen: dict[str, tuple[tuple[Seen, ...], State]] = field(default_factory=dict)

    def plain(self, row: int, image: str, label: str, split: str | None = None, group: str | None = None) -> Record:
        """The record of a row that holds a picture, its class and set, and nothing else; as most rows do."""
        found = self._seen.get(label) or self._told(label)
        region = None
        if "#" in image:
            image, region = region_of(image)
        bare = image[-4:] not in _USUAL and not is_picture(image)
        return quick_record(
            quick_where(self.file, self.unit, row), image, bare, found[0], found[1], region, split, group
        )

    def full(self, row: int, image: str, said: Mapping[str, Any]) -> Record:
        """The record of a row with more columns.

        Args:
            row: its number.
            image: as written.
            said: field -> value; ``label``, ``split``, ``group``, and the keys of ``columns.ANSWERS`` and ``PICKED``.

        Raises:
            FormatError: a value that cannot be what it is called, or a label and a skip at once.
        """
        where = quick_where(self.file, self.unit, row)
        # few rows say more than two things: what is not there costs nothing
        listed = said.get("label") if self.several else None
        names = _names(listed, where) if isinstance(listed, list) else None
        label = text(said["label"], "label", where) if "label" in said and names is None else ""
        skipped = "skipped" in said and _flag(said["skipped"], where)
        if label and self._is_skip(label):
            skipped, label = True, ""
        if skipped and (label.strip() or names is not None):
            raise FormatError(f"{where}: both skipped and labelled {label or names!r:.60}; delete one of the two")
        objects, state = ((), "skipped") if skipped else self._told(label)
        if names is not None:
            objects, state = objects_of(names), "answered" if names else "empty"
        image, region = region_of(image) if "#" in image else (image, None)
        return quick_row(
            where,
            image,
            not is_picture(image),
            objects,
            state,
            region,
            _word(said, "split", where),
            _word(said, "group", where),
            _word(said, "annotator", where),
            amount(said["seconds"], "seconds", where) if "seconds" in said else None,
            {} if _COSTS.isdisjoint(said) else _costs(said, where),
            text(said.get("reason"), "reason", where) if skipped else "",
            {} if _PICKED.isdisjoint(said) else _picked(said),
        )

    def objects(self, label: str) -> tuple[Seen, ...]:
        """The class of the picture as its only object; none for an empty label, or a word that skips."""
        return self._told(label)[0]

    def _told(self, label: str) -> tuple[tuple[Seen, ...], State]:
        """The objects that a label names, and what it says."""
        if (found := self._seen.get(label)) is None:
            name = label if label in self.classes else label.strip()
            cls: str | int = name
            if self.numbers and name not in self.classes and name.isdecimal() and len(name) <= _DIGITS:
                cls = int(name)
            skipped = self._is_skip(label)
            state: State = "skipped" if skipped else "answered" if name else "untouched"
            objects: tuple[Seen, ...] = (Seen(cls),) if state == "answered" else ()
            if self.several and state == "answered":
                names = parted(label, self.classes) or []
                objects, state = objects_of(names, self.numbers or ()), "answered" if names else "empty"
            found = self._seen[label] = (objects, state)
        return found

    def _is_skip(self, label: str) -> bool:
        plain = label.strip()
        return self.skips and plain in SKIP_WORDS and plain not in self.classes


def _word(said: Mapping[str, Any], what: str, where: Where) -> str | None:
    return (text(said[what], what, where).strip() or None) if what in said else None


def _costs(said: Mapping[str, Any], where: Where) -> dict[str, float]:
    return {unit: cost for unit in COSTS if (cost := amount(said.get(unit), unit, where)) is not None}


def _picked(said: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _number(said[name], name) for name, key in PICKED.items() if said.get(name) not in (None, "")}


def region_of(image: str) -> tuple[str, str | None]:
    """The picture and the number of its region, where a name ends in one.

    Example:
        >>> region_of("a.png#12"), region_of("take#2.png")
        (('a.png', '12'), ('take#2.png', None))
    """
    name, _, number = image.rpartition("#")
    return (name, number) if number.isdecimal() and number.isascii() and is_picture(name) else (image, None)


def text(value: Any, what: str, where: Where) -> str:
    """A value as text: text as it is, whole numbers written out, nothing for None.

    Raises:
        FormatError: anything else.
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**18:
        return str(value)
    raise FormatError(f"{where}: {_short(value)} is no {what}; write it as text in quotation marks")


def _number(value: Any, name: str) -> Any:
    """What a table says of a pick, as it was before it was written: numbers are numbers again."""
    if isinstance(value, str) and name in _NUMBERS:
        with contextlib.suppress(ValueError):
            return _NUMBERS[name](value)
    return value


def _short(value: Any) -> str:
    """A value for a message; whole numbers of thousands of digits cannot be written out."""
    try:
        return f"{value!r:.60}"
    except ValueError:
        return "a number of thousands of digits"


def _flag(value: Any, where: Where) -> bool:
    if value is None or value is False:
        return False
    plain = "" if value is True else _short(value).strip("'\"").strip().lower()
    if value is not True and plain not in _TRUE and plain not in _FALSE:
        raise FormatError(f"{where}: skipped is {_short(value)}; write true or leave it empty")
    return value is True or plain in _TRUE


def amount(value: Any, what: str, where: Where, *, most: float = math.inf) -> float | None:
    """A number from 0 on; None where nothing is written.

    Raises:
        FormatError: anything else.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if isinstance(value, bool) or not math.isfinite(number) or not 0 <= number <= most:
        wanted = "a number, 0 or more" if most == math.inf else f"a number from 0 to {most:g}"
        raise FormatError(f"{where}: {what} is {_short(value)}; give {wanted}")
    return number


def called(record: Record) -> str:
    """How a record's picture, or the region of it, is written into a table."""
    name = str(record.number) if record.image is None else record.image
    return name if record.region is None else f"{name}#{record.region}"


def _names(listed: Sequence[Any], where: Where) -> list[str]:
    """The names of a list of classes; [] is none of them."""
    if not all(isinstance(name, str) and name.strip() for name in listed):
        raise FormatError(f"{where}: the label {_short(listed)} is no list of names; write them in quotation marks")
    return list(listed)


def class_of(record: Record, classes: Sequence[str]) -> str:
    """The one class of a record, by name; "" where it has none.

    Raises:
        FormatError: several objects, a shape, or a number without a name.
    """
    if not record.objects or record.state not in ("answered", "empty"):
        return ""
    thing = record.objects[0]
    if len(record.objects) > 1 or thing.box is not None or thing.outline is not None or thing.points is not None:
        raise FormatError(f"the label of {called(record)!r:.80} holds shapes: a table has place for one class an image")
    if isinstance(thing.cls, int):
        if not 0 <= thing.cls < len(classes):
            raise FormatError(f"the label of {called(record)!r:.80} is class {thing.cls}, which has no name")
        return classes[thing.cls]
    return thing.cls or ""
