"""Labels that come back from people: CSV or JSON, partly filled in, with skips and costs.

Two steps, so that nothing is ever half-imported: ``read_labels`` turns a file into answers with their row numbers, and
``check_answers`` holds them against the project and refuses the file as a whole.
"""

from __future__ import annotations

import difflib
import os
import posixpath
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PureWindowsPath
from typing import Any

from labelwise.contracts.format import Hints
from labelwise.contracts.oracle import Answer
from labelwise.errors import FormatError
from labelwise.formats.answer_rows import COSTS, called
from labelwise.formats.csv_table import Csv
from labelwise.formats.json_file import start_of_json
from labelwise.formats.json_labels import JsonLabels
from labelwise.formats.nearest import nearest_ids

#: keys that say what a label cost
COST_COLUMNS = (*COSTS, "seconds")


@dataclass(frozen=True)
class LabelTable:
    """Answers as a file gives them.

    Args:
        path: the file.
        answers: one for each row that answers something; rows without label are not there.
        rows: the number of each answer's row in the file (CSV: as a spreadsheet counts, the header is row 1; JSON: the
            first item is 1).
        unanswered: how many rows had no label.
        unit: what a row is called in messages: ``row``, ``item``, ``image`` or ``file``.
        classes: all classes, where the file lists them.
    """

    path: str
    answers: tuple[Answer, ...]
    rows: tuple[int, ...]
    unanswered: int = 0
    unit: str = "row"
    classes: tuple[str, ...] = ()

    def where(self, index: int) -> str:
        """File and row of one answer, for a message."""
        return f"{self.path!r}, {self.unit} {self.rows[index]}"


def read_labels(path: str | os.PathLike[str], *, classes: Collection[str] = ()) -> LabelTable:
    """Read a file of labels: CSV (comma, semicolon or tab) or JSON.

    CSV columns: ``id`` (or name, file, path, image) and ``label`` (or class, target); with two columns the header may
    be missing. JSON: a list of ``{"id": ..., "label": ...}``, a mapping from id to label, or a picks file that
    ``export`` wrote, filled in. Further columns or keys: ``skipped`` (true), ``reason``, and the costs images, boxes,
    clicks, pixels, seconds.

    A row without label is not answered yet and ignored. ``skip`` or ``__skip__`` in place of a label means: looked at,
    cannot be labelled.

    Args:
        path: the file; JSON if it is called .json, or starts like JSON and is not called .csv, .tsv or .txt.
        classes: the project's classes, so that a class called "skip" stays a class.

    Raises:
        FormatError: when the file cannot be read as such a table, with the row.
    """
    shown = os.fspath(path)
    form = JsonLabels() if _is_json(Path(path)) else Csv()
    _, records = form.read(Path(path), "answers", Hints(classes=tuple(classes)))
    answers, rows, unanswered, unit = [], [], 0, "item" if form.name == "json" else "row"
    for record in records:
        if record.state == "untouched":
            unanswered += 1
            continue
        cost = {**record.cost, **({} if record.seconds is None else {"seconds": record.seconds})}
        target = None if record.state == "skipped" else record.objects[0].cls
        answers.append(Answer(called(record), target, cost, record.reason))
        rows.append(record.where.row or 0)
    return LabelTable(shown, tuple(answers), tuple(rows), unanswered, unit)


def _is_json(path: Path) -> bool:
    """By the ending, or by how it starts where the ending says nothing."""
    ending = path.suffix.lower()
    return ending == ".json" or (ending not in (".csv", ".tsv", ".txt") and bool(start_of_json(path)))


def check_answers(
    table: LabelTable, known_ids: Collection[str], classes: Sequence[str] = (), *, root: str | os.PathLike[str] | None
) -> list[Answer]:
    """Hold the answers of a file against a project: all of them fit, or the file is refused as a whole.

    Ids are taken as they are; an absolute path, one that starts with ``./`` or one with backslashes is turned into the
    id of the file it names, if that lies in the data root. Identical answers to one id count once.

    Args:
        table: what ``read_labels`` gave.
        known_ids: the project's ids (a set or a mapping, for speed).
        classes: the project's classes; empty when they are not known yet, and then any name goes.
        root: the data root, for files that name absolute paths; None refuses these.

    Returns:
        The answers with the project's ids, in the order of the file.

    Raises:
        FormatError: one line with the first problem, its row, and how many more there are: an unknown id or class
            (nearest named), a path that leaves the data root, two different answers to one id.
    """
    finder = Finder(known_ids, root)
    allowed = frozenset(classes)
    first: dict[str, int] = {}
    checked: list[Answer] = []
    problems: list[int] = []
    for index, answer in enumerate(table.answers):
        item_id = finder.find(answer.id)
        if item_id is None or (allowed and not allowed.issuperset(named(answer.target))):
            problems.append(index)
        elif (before := first.setdefault(item_id, index)) == index:
            checked.append(replace(answer, id=item_id))
        elif answer.target != table.answers[before].target:
            problems.append(index)
    if problems:
        index = problems[0]
        more = f" (and {len(problems) - 1} more such {table.unit}s)" if len(problems) > 1 else ""
        reason = _reason(table, index, finder, classes)
        stop = "" if f"{reason}{more}".endswith("?") else "."
        raise FormatError(f"{table.where(index)}: {reason}{more}{stop} Nothing was imported")
    return checked


def named(target: Any) -> list[str]:
    """The classes that a raw label names: one for an image's class, one for each object, none for a mask.

    Example:
        >>> named("cat"), named({"size": [4, 4], "objects": [{"class": "dog", "box": [0, 0, 1, 1]}]}), named(None)
        (['cat'], ['dog'], [])
    """
    if isinstance(target, Mapping):
        return [thing["class"] for thing in target.get("objects", ())]
    return [] if target is None else [target]


class Finder:
    """From what people write to a known id: the id itself, or a path to the file inside the data root."""

    def __init__(self, known: Collection[str], root: str | os.PathLike[str] | None) -> None:
        self.known = known if isinstance(known, (set, frozenset, Mapping)) else set(known)
        self.root = root
        self._roots: tuple[str, ...] = ()
        if root is not None:
            real = Path(root).resolve()
            self._roots = tuple({f"{p.rstrip('/')}/": None for p in (_absolute(os.fspath(root)), real.as_posix())})

    def find(self, name: str) -> str | None:
        """The known id, or None."""
        if name in self.known:
            return name
        for candidate in self.spellings(name):
            for form in (candidate, unicodedata.normalize("NFC", candidate), unicodedata.normalize("NFD", candidate)):
                if form in self.known:
                    return form
        return None

    def spellings(self, name: str) -> list[str]:
        """Ids that a path may stand for; none for a path that leaves the root."""
        path = _posix(name)
        relative = [] if _is_absolute(path) or path == ".." or path.startswith("../") else [path]
        if not self._roots or PureWindowsPath(path).drive:
            return relative
        path = _absolute(path)
        through_links = (Path(path).parent.resolve() / posixpath.basename(path)).as_posix()
        named = dict.fromkeys((path, through_links))
        return relative + [p.removeprefix(r) for p in named for r in self._roots if p.startswith(r)]

    def why_not(self, name: str) -> str:
        """Why ``name`` is no known id, with the nearest ones."""
        if not self.spellings(name):
            where = f" {os.fspath(self.root)!r}" if self.root is not None else ""
            return f"path {name!r} leaves the data root{where}; give the ids that export wrote"
        near = nearest_ids(name, self.known)
        hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else "; give the ids that export wrote"
        return f"unknown id {name!r}{hint}"


def _absolute(path: str) -> str:
    return Path(os.path.abspath(path)).as_posix()  # noqa: PTH100  (resolve() would follow links)


def _posix(name: str) -> str:
    """A path as people write it, with ``/`` and without detours; backslashes alone mean Windows."""
    path = name.strip()
    return posixpath.normpath(PureWindowsPath(path).as_posix() if "\\" in path and "/" not in path else path)


def _is_absolute(path: str) -> bool:
    return path.startswith("/") or PureWindowsPath(path).is_absolute()


def find_id(name: str, known: Collection[str], root: str | os.PathLike[str] | None) -> str | None:
    """The known id that ``name`` means, or None: the id itself, or a path to the file inside ``root``.

    Example:
        >>> find_id("/data/cats/1.jpg", {"cats/1.jpg"}, "/data"), find_id("../1.jpg", {"1.jpg"}, "/data")
        ('cats/1.jpg', None)
    """
    return Finder(known, root).find(name)


def _reason(table: LabelTable, index: int, finder: Finder, classes: Sequence[str]) -> str:
    answer = table.answers[index]
    item_id = finder.find(answer.id)
    if item_id is None:
        return finder.why_not(answer.id)
    if classes and (strange := [name for name in named(answer.target) if name not in classes]):
        return _unknown_class(str(strange[0]), item_id, classes)
    before = next(i for i, other in enumerate(table.answers) if finder.find(other.id) == item_id)
    old, new = (table.answers[i].target for i in (before, index))
    return (
        f"two answers for {item_id!r}: {_short(new)} here, {_short(old)} in {table.unit} {table.rows[before]}; keep one"
    )


def _short(target: Any) -> str:
    if isinstance(target, Mapping):
        return f"{len(target['objects'])} box(es)" if "objects" in target else "a mask"
    return "skip" if target is None else repr(target)


def _unknown_class(name: str, item_id: str, classes: Sequence[str]) -> str:
    near = [known for known in classes if known.casefold() == name.strip().casefold()]
    near = near or difflib.get_close_matches(name, classes, n=2, cutoff=0.5)
    hint = f" did you mean {' or '.join(map(repr, near))}?" if near else ""
    listed = ", ".join(classes[:20]) + (f", ... ({len(classes)} in all)" if len(classes) > 20 else "")
    return f"unknown class {name!r} for {item_id!r}:{hint} Allowed: {listed}"
