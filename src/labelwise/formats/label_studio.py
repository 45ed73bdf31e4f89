"""Label Studio: JSON, JSON_MIN, CSV and TSV exports, and tasks to be imported there."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from labelwise.contracts.format import Format, Hints, Reads, Sniff, Writes, Writing
from labelwise.contracts.record import Head, Record
from labelwise.errors import FormatError
from labelwise.formats import label_studio_write
from labelwise.formats.fitting import fitted, lines
from labelwise.formats.glance import start_of
from labelwise.formats.json_file import START, read_json
from labelwise.formats.key_points import as_subjects
from labelwise.formats.label_studio_results import Said
from labelwise.formats.label_studio_short import COLUMNS, Short, read_rows
from labelwise.formats.label_studio_tasks import Tasks

#: words of results -> kinds of label that they give, the likeliest first
_KINDS: Mapping[str, tuple[str, ...]] = {
    "brushlabels": ("masks", "boxes"),
    "rectangle": ("boxes",),
    '"height"': ("boxes",),
    '"points"': ("boxes", "masks"),
    '"radiusX"': ("boxes", "masks"),
    "keypointlabels": ("points",),
    "choices": ("classes", "tags"),
}
_ALL = ("boxes", "classes", "masks", "points", "tags")
#: kinds that choices about the picture say
_CHOSEN = ("classes", "tags")
#: what only Label Studio writes
_SIGNS = ('"from_name"', '"was_cancelled"', '"completed_by"', '"file_upload"', '"annotation_id"', '"lead_time"')
_PLACES = re.compile(r"/data/(?:upload|local-files)/")


@dataclass(frozen=True)
class LabelStudio(Format):
    """Reads exports and writes tasks.

    One record for each annotation, in the order in which they were last changed: two people give two. Tasks without
    annotation are untouched, also where a draft was begun; predictions never count as answers.

    Memory: about twenty times the file; a mask a byte a pixel while it is read.

    Args:
        control: name of the control whose choices are the class of a picture, where there are several.
    """

    name: ClassVar[str] = "label_studio"
    title: ClassVar[str] = "Label Studio: JSON, JSON_MIN, CSV and TSV exports; tasks with predictions"
    kinds: ClassVar[frozenset[str]] = frozenset(_ALL)
    reads: ClassVar[frozenset[Reads]] = frozenset({"data", "answers", "predictions"})
    writes: ClassVar[frozenset[Writes]] = frozenset({"asked", "labelled", "predictions"})
    ending: ClassVar[str] = ".json"

    control: str = ""

    def sniff(self, path: Path, use: Reads) -> Sniff:
        """By the keys and addresses that only Label Studio writes."""
        data = start_of(path, START)
        if not data:
            return Sniff(0.0, "an export is one file")
        head = data.decode("utf-8", "replace").lstrip("\ufeff \t\r\n")
        seen = [kind for word, kinds in _KINDS.items() if word in head for kind in kinds]
        if seen and len(data) == START:  # what comes later may be of another kind
            seen += _ALL
        kinds = tuple(dict.fromkeys(seen))
        return _sniff_json(head, kinds) if head[:1] in ("[", "{") else _sniff_table(head, kinds or ("classes",))

    def read(self, path: Path, use: Reads, hints: Hints) -> tuple[Head, Iterator[Record]]:
        """All records of a file; everything is read before the first is given.

        Raises:
            FormatError: no such export, or a task that breaks its form; with file and row.
        """
        shown = os.fspath(path)
        tasks, rows = self._tasks(path, hints)
        told: list[tuple[Record, Said | None]] = []
        for row, task in rows:
            told += [tasks.predictions(row, task)] if use == "predictions" else tasks.answers(row, task)
        control = self._control({name for _, said in told if said for name in said.choices}, told, hints, shown)
        records = [_with_choices(record, said, hints.kind, control, tasks.counts) for record, said in told]
        found = fitted(as_subjects(records, hints, tasks.counts), hints.kind, tasks.counts)
        return Head(overlap="last", notes=lines(tasks.counts)), iter(found)

    def _tasks(self, path: Path, hints: Hints) -> tuple[Tasks, list[tuple[int, Mapping[str, Any]]]]:
        shown = os.fspath(path)
        if path.suffix.lower() in (".csv", ".tsv"):
            return Tasks(shown, "row"), self._short(Short(shown, read_rows(path)), hints)
        data = read_json(path)
        if isinstance(data, dict):
            data = data["tasks"] if isinstance(data.get("tasks"), list) else [_one_annotation(data)]
        if not isinstance(data, list) or not all(isinstance(task, dict) for task in data):
            raise FormatError(f"{shown!r} is no export of Label Studio: it is no list of tasks")
        rows = list(enumerate(data, 1))
        if any(isinstance(task.get("data"), dict) for task in data) or not data:
            return Tasks(shown), rows
        return Tasks(shown), self._short(Short(shown, rows), hints)

    def _short(self, short: Short, hints: Hints) -> list[tuple[int, Mapping[str, Any]]]:
        classes = hints.classes or tuple((hints.names or {}).values())
        wanted = hints.kind in _CHOSEN or (hints.kind is None and not short.has_places())
        control = self.control or (short.control_of(classes) if wanted else None)
        return [*short.tasks(control)]

    def _control(
        self, names: set[str], told: Iterable[tuple[Record, Said | None]], hints: Hints, shown: str
    ) -> str | None:
        """The control whose choices are the class of the picture.

        Raises:
            FormatError: there are several, and nothing says which.
        """
        if self.control and (self.control in names or not names):
            return self.control
        if self.control:
            raise FormatError(f"{shown!r:.100} has no control {self.control!r:.40}: it has {', '.join(sorted(names))}")
        if len(names) > 1 and hints.classes:
            words: dict[str, set[str | int | None]] = {name: set() for name in names}
            for _, said in told:
                for name, chosen in (said.choices if said else {}).items():
                    words[name] |= {one.cls for one in chosen}
            names = {name for name in names if words[name] <= set(hints.classes)} or names
        if len(names) > 1 and hints.kind in _CHOSEN:
            raise FormatError(
                f"{shown!r:.100} has choices of several controls ({', '.join(sorted(names))[:100]}), and nothing says "
                "which is the class: say it with --format label_studio:control=NAME (init: --labels)"
            )
        return next(iter(names)) if len(names) == 1 else None

    def write(self, path: Path, head: Head, records: Iterable[Record], how: Writing) -> list[str]:
        """Tasks as Label Studio imports them; beside them, in ``.interface.xml``, the labelling interface they fit.

        What is asked goes out as predictions, the best to begin with first: ``score`` rises with the rank, which is the
        order of "Uncertainty sampling" there. Labels go out as annotations. Option ``prefix``: what stands before the
        path of a picture; the local files of the server by default.

        Raises:
            FormatError: a number that is not finite, or a shape of a picture whose size is not known.
            StateError: a file cannot be written.
        """
        return label_studio_write.write(path, head, records, how)


# ---- sniffing -------------------------------------------------------------------------------------------------------


def _sniff_json(head: str, listed: tuple[str, ...]) -> Sniff:
    told = ("annotations", "completions", "predictions", "result")
    tasks = '"data"' in head and any(f'"{key}"' in head for key in told)
    signs = [sign.strip('"') for sign in _SIGNS if sign in head]
    if tasks and (signs or _PLACES.search(head) or '"labelwise_id"' in head):
        return Sniff(0.97, "tasks of Label Studio", listed)
    if '"annotation_id"' in head and '"annotator"' in head:
        return Sniff(0.95, "the short export of Label Studio (annotation_id, annotator)", listed or ("classes",))
    if head.startswith("[") and _PLACES.search(head):
        return Sniff(0.96, "addresses of Label Studio's pictures", listed or ("classes",))
    if tasks and head.startswith("["):
        return Sniff(0.7, "a list of tasks with data and annotations", listed)
    return Sniff(0.0, "no tasks with data and annotations")


def _sniff_table(head: str, kinds: tuple[str, ...]) -> Sniff:
    first = head.partition("\n")[0].lower()
    columns = {cell.strip(' "\r') for cell in re.split(r"[,;\t]", first)}
    known = columns & set(COLUMNS)
    if {"annotation_id", "annotator"} <= columns:
        return Sniff(1.0, "columns of Label Studio (annotation_id, annotator)", kinds)
    if _PLACES.search(head) and known:
        return Sniff(0.96, "addresses of Label Studio's pictures, and its column " + min(known), kinds)
    return Sniff(0.0, "no column annotation_id")


# ---- reading --------------------------------------------------------------------------------------------------------


def _one_annotation(data: dict[str, Any]) -> Any:
    """A file that a storage of the server holds: one annotation with its task, or one task."""
    task = data.get("task")
    return {**task, "annotations": [data]} if isinstance(task, dict) and "result" in data else data


def _with_choices(
    record: Record, said: Said | None, kind: str | None, control: str | None, counts: Counter[str]
) -> Record:
    """A record with the choices about the picture among its objects.

    Where classes are wanted, those of one control, and nothing else.
    """
    if said is None:
        return record
    chosen = [one for name, some in said.choices.items() if control in (None, name) for one in some]
    objects = (*said.objects, *chosen)
    if kind == "classes" or (kind == "tags" and control is not None):
        objects = tuple(chosen) if control is not None else ()
    if left := len(said.objects) + sum(map(len, said.choices.values())) - len(objects):
        what = "classes" if kind in _CHOSEN else f"those of the control {control!r:.40}"
        counts[f"{{n}} region(s) and choice(s) left out: the labels wanted are {what}"] += left
    if objects == record.objects and not said.extra and not (record.state == "answered" and not objects):
        return record
    state = "empty" if record.state == "answered" and not objects else record.state
    extra = {**record.extra, **({"said": dict(said.extra)} if said.extra else {})}
    placed = any(one.box or one.outline or one.points for one in objects)
    return replace(record, objects=objects, state=state, extra=extra, fractions=record.fractions and placed)
