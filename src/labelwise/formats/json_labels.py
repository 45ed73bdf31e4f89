"""Labels of images as JSON: a list of items, a mapping from images to classes, or picks that were filled in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from labelwise.contracts.format import Format, Hints, Reads, Sniff, Writes, Writing
from labelwise.contracts.oracle import Pick, Round
from labelwise.contracts.record import Head, Record, Where
from labelwise.errors import FormatError
from labelwise.formats.answer_rows import COSTS, PICKED, Rows, called, class_of, text
from labelwise.formats.beside import folder_of, placed
from labelwise.formats.columns import (
    ANSWERS,
    GROUPS,
    IMAGES,
    LABELS,
    OWN,
    SPLITS,
    is_picture,
    listed,
    normal,
    whole_numbers,
)
from labelwise.formats.files import write_whole
from labelwise.formats.json_file import dump_json, read_json, start_of_json
from labelwise.formats.picks_json import FORMAT, check_version, write_picks
from labelwise.formats.several import names_of, together

#: keys of items that are no classes of images
_BOXES = frozenset({"bbox", "segmentation", "keypoints", "boxes", "box", "annotations", "shapes", "data", "objects"})


@dataclass(frozen=True)
class JsonLabels(Format):
    """A list of ``{"id": ..., "label": ...}``, a mapping from ids to labels, or the JSON of picks, filled in.

    Keys are called like columns of tables (see the format csv): ``file_name`` and ``class`` are understood too. Further
    keys: ``split``, ``group``, ``skipped`` (true), ``reason``, ``annotator``, ``seconds``, ``images``, ``boxes``,
    ``clicks``, ``pixels``. An empty label is not answered yet.

    Memory: the file as a whole, see ``json_file.read_json``.
    """

    name: ClassVar[str] = "json"
    title: ClassVar[str] = "list of {id, label}, a mapping from images to classes, or picks filled in (JSON)"
    kinds: ClassVar[frozenset[str]] = frozenset({"classes", "tags", "masks"})
    reads: ClassVar[frozenset[Reads]] = frozenset({"data", "answers"})
    writes: ClassVar[frozenset[Writes]] = frozenset({"asked", "labelled"})
    ending: ClassVar[str] = ".json"

    def sniff(self, path: Path, use: Reads) -> Sniff:
        """By the keys and values at the beginning."""
        kinds = ("classes",) if use == "data" else ("classes", "masks")
        start = start_of_json(path)
        if start.get("format") == FORMAT:
            return Sniff(1.0, "it says that it is picks of labelwise", kinds)
        items = "[]" if start.get("") == [] else "items[]" if start.get("items") == [] else ""
        if items:
            keys = [place[len(items) + 1 :] for place in start if place.startswith(f"{items}.")]
            return _sniff_items(start, items, keys, kinds)
        if start.get("") != {}:
            return Sniff(0.0, "no JSON")
        return _sniff_mapping(start, kinds)

    def root(self, path: Path) -> Path:
        """The folder of the file; ``images/`` or the like below it where the file names pictures that lie there."""
        names = [value for value in start_of_json(path).values() if isinstance(value, str) and is_picture(value)]
        names += [place for place in start_of_json(path) if is_picture(place)]
        return folder_of(path, names)

    def read(self, path: Path, use: Reads, hints: Hints) -> tuple[Head, Iterator[Record]]:
        """A record for each item.

        Raises:
            FormatError: no JSON, an item that is no object, names no image, or holds a value that is none; with the
                item.
        """
        shown = repr(str(path))
        value = read_json(path)
        items = _items(value, shown)
        several = hints.kind == "tags"
        known = frozenset(hints.classes)
        rows = Rows(str(path), "item", known, hints.names, skips=use == "answers", several=several)
        reading = _Reading(shown, rows, isinstance(value, dict) and value.get("format") == FORMAT)
        records = [reading.record(number, item) for number, item in enumerate(items, 1)]
        labels = any(layout.label or "skipped" in layout.fields for layout in reading.layouts.values())
        if records and use == "answers" and not labels:
            raise FormatError(f"{shown}: no item has a label; give each item a key id and a key label")
        notes = reading.notes()
        if several:
            records, more = together(records, shown)
            notes += more
        said = value if reading.picks else {}
        return Head(
            classes=_texts(said.get("classes")),
            root=(hints.root or self.root(path)) if use == "data" else None,
            notes=tuple(notes),
        ), iter(records)

    def write(self, path: Path, head: Head, records: Iterable[Record], how: Writing) -> list[str]:
        """Picks with all that is known of them and an empty label, or a list of labels.

        Raises:
            FormatError: shapes instead of a class, or a number that is not finite.
            StateError: a file cannot be written.
        """
        if how.use == "asked":
            write_picks(path, _round(list(records), head.classes))
            return []
        kept = list(records)
        notes = placed(path, kept, how)
        write_whole(path, dump_json([_labelled(record, head.classes, how.kind) for record in kept], str(path)))
        return notes


# ---- sniffing -------------------------------------------------------------------------------------------------------


def _sniff_items(start: Mapping[str, Any], items: str, keys: Sequence[str], kinds: tuple[str, ...]) -> Sniff:
    if start.get(items) != {}:
        return Sniff(0.0, "its items are no objects")
    plain = {normal(key) for key in keys if "." not in key and "[" not in key}
    if boxes := _BOXES & plain:
        return Sniff(0.0, f"its items have a key {sorted(boxes)[0]}")
    images, labels = plain & set(IMAGES), plain & {*LABELS, "skipped"}
    if not images:
        return Sniff(0.1, "its items have no id")
    if not labels:
        return Sniff(0.2, "its items have no label")
    if "annotationid" in plain:
        return Sniff(0.5, "items with id and label, and more", kinds)
    return Sniff(0.9 if "label" in labels else 0.8, "items with an id and a label", kinds)


def _sniff_mapping(start: Mapping[str, Any], kinds: tuple[str, ...]) -> Sniff:
    """Keys that are images, values that are classes or objects with one."""
    firsts = {place: value for place, value in start.items() if place}
    if not firsts:
        return Sniff(0.2, "an empty object", kinds)
    first = next(iter(firsts.values()))
    if isinstance(first, dict):
        within = [key for place in firsts if is_picture(place) for key in firsts if key.startswith(f"{place}.")]
        labels = any(normal(key.rpartition(".")[2]) in (*LABELS, "skipped") for key in within)
        return Sniff(0.85 if labels else 0.1, "a mapping from images to objects", kinds)
    if _lists_of_texts(firsts):
        return Sniff(0.9, "a mapping from images to lists of texts", ("tags",))
    if any(isinstance(value, dict | list) for value in firsts.values()):
        return Sniff(0.1, "its values are no classes")
    if all(value is None or isinstance(value, str | int) for value in firsts.values()):
        if sum(map(is_picture, firsts)) > len(firsts) / 2:
            return Sniff(0.9, "a mapping from images to texts", kinds)
        # names without an ending: classes come again, and descriptions do not
        values = [value for value in firsts.values() if value not in (None, "")]
        again = len(set(values)) < len(values) or whole_numbers(list(firsts))
        return Sniff(0.55 if again else 0.4, "a mapping from names to texts", kinds)
    return Sniff(0.1, "its values are no classes")


def _lists_of_texts(firsts: Mapping[str, Any]) -> bool:
    """Whether what is named like a picture has a list of texts, as the first places of a file show it."""
    lists = [place for place, value in firsts.items() if value == [] and is_picture(place)]
    within = [value for place, value in firsts.items() if place.removesuffix("[]") in lists and place not in lists]
    return bool(lists) and all(isinstance(value, str) for value in within) and len(lists) + len(within) == len(firsts)


# ---- items to records -----------------------------------------------------------------------------------------------


def _items(value: Any, shown: str) -> list[Mapping[str, Any]]:
    """The items of any of the layouts, each an object."""
    if isinstance(value, dict) and value.get("format") == FORMAT:
        check_version(value, shown)
    rows = value
    if isinstance(value, dict):
        rows = value.get("items")
        if not isinstance(rows, list):
            rows = [
                {**item, "id": key} if isinstance(item, dict) else {"id": key, "label": item}
                for key, item in value.items()
            ]
    if not isinstance(rows, list):
        raise FormatError(f'{shown} holds {value!r:.60}: give a list of {{"id": ..., "label": ...}}')
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise FormatError(f'{shown}, item {number}: {row!r:.60} is no object; write {{"id": ..., "label": ...}}')
    return rows


@dataclass(frozen=True)
class _Layout:
    """What the keys of an item are.

    Args:
        images: keys that may name the picture, in order of preference.
        label: the key of the class; None where there is none.
        fields: further ones: field -> key.
        unread: keys that nobody reads.
    """

    images: tuple[str, ...]
    label: str | None
    fields: Mapping[str, str]
    unread: tuple[str, ...]


@dataclass
class _Reading:
    """Makes records of items; items with the same keys share a layout.

    Args:
        shown: the file, for messages.
        rows: makes the records.
        picks: whether the file says that it is ours.
    """

    shown: str
    rows: Rows
    picks: bool
    layouts: dict[tuple[str, ...], _Layout] = field(default_factory=dict)
    instead: str = ""

    def record(self, number: int, item: Mapping[str, Any]) -> Record:
        """The record of one item."""
        keys = tuple(item)
        layout = self.layouts.get(keys)
        if layout is None:
            layout = self.layouts[keys] = self._layout(keys, number)
        where = Where(self.rows.file, self.rows.unit, number)
        said = {name: item[key] for name, key in layout.fields.items()}
        if layout.label is not None:
            said["label"] = item[layout.label]
        return self.rows.full(number, self._image(item, layout, where), said)

    def _image(self, item: Mapping[str, Any], layout: _Layout, where: Where) -> str:
        """The first name that is that of a file, else the first one."""
        names = {key: name for key in layout.images if (name := text(item[key], key, where)).strip()}
        if not names:
            raise FormatError(f"{where}: no id; give each item a key id and a key label")
        first = next(iter(names))
        chosen = first if self.picks else next((key for key, name in names.items() if is_picture(name)), first)
        if chosen != first and not self.instead:
            self.instead = f"{self.shown}: images are named by {chosen!r:.40}, not by {first!r:.40}"
        return names[chosen]

    def _layout(self, keys: tuple[str, ...], number: int) -> _Layout:
        of: dict[str, str] = {}
        for key in keys:
            if (plain := normal(key)) in of:
                raise FormatError(
                    f"{self.shown}, item {number}: {key!r:.40} and {of[plain]!r:.40} are one key; keep one"
                )
            of[plain] = key
        label = next((of[word] for word in LABELS if word in of), None)
        fields = {"split": SPLITS, "group": GROUPS, **ANSWERS}
        if self.picks or "strategy" in of or "rank" in of:
            fields |= {name: (normal(name),) for name in PICKED}
        found = {name: of[word] for name, words in fields.items() for word in reversed(words) if word in of}
        used = {label, *found.values()}
        images = tuple(of[word] for word in IMAGES if word in of and of[word] not in used)
        quiet = {*images, *used, *(of[word] for word in OWN if word in of)}
        return _Layout(images, label, found, tuple(key for key in keys if key not in quiet))

    def notes(self) -> list[str]:
        """What people should know."""
        left = list(dict.fromkeys(key for layout in self.layouts.values() for key in layout.unread))
        lines = [self.instead] if self.instead else []
        return [*lines, f"{self.shown}: keys that are not read: {listed(left)}"] if left else lines


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(value) if isinstance(value, list) and all(isinstance(name, str) for name in value) else ()


# ---- records to items -----------------------------------------------------------------------------------------------


def _round(records: Sequence[Record], classes: tuple[str, ...]) -> Round:
    picks: list[Pick] = []
    for record in records:
        extra = record.extra
        rank, score = extra.get("rank", len(picks)), extra.get("strategy_score")
        guess: tuple[str | None, float | None] = next(
            ((thing.cls, thing.score) for thing in record.objects if isinstance(thing.cls, str)), (None, None)
        )
        predicted, probability = extra.get("predicted", guess[0]), extra.get("probability", guess[1])
        asked = extra.get("round"), extra.get("strategy", "")
        picks.append(Pick(called(record), extra.get("path", ""), rank, score, predicted, probability, *asked))
    last = max(picks, key=lambda pick: -1 if pick.round is None else pick.round, default=Pick("", "", 0))
    return Round(last.round, tuple(picks), last.strategy, classes=classes)


def _labelled(record: Record, classes: Sequence[str], kind: str) -> dict[str, Any]:
    if kind != "tags":
        label: Any = class_of(record, classes)
    else:
        label = names_of(record, classes) if record.state in ("answered", "empty") else None
    item: dict[str, Any] = {"id": called(record), "label": label}
    further = {
        "split": record.split,
        "group": record.group,
        "skipped": True if record.state == "skipped" else None,
        "reason": record.reason or None,
        "annotator": record.annotator,
        "seconds": record.seconds,
        **{unit: record.cost.get(unit) for unit in COSTS},
    }
    return item | {key: value for key, value in further.items() if value is not None}
