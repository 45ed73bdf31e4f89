"""The short exports of Label Studio (JSON_MIN, CSV, TSV): a row for each annotation, a column for each control.

They are brought into the form of the long export, so that both are read alike. A control with one choice is plain text
there and looks like any other text of the task: which column holds the classes is found by the project's classes, by
being the only one, or by its name, and refused where that leaves a doubt.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labelwise.errors import FormatError
from labelwise.formats.delimited import read_text
from labelwise.formats.label_studio_tasks import OWN
from labelwise.formats.picture_address import is_picture

#: columns that are no control
COLUMNS = ("annotation_id", "annotator", "lead_time", "created_at", "updated_at", "id", "agreement", "history")
#: names that the column of classes usually has, in order of preference
_USUAL = ("choice", "choices", "label", "labels", "class", "cls", "category")

Row = tuple[int, Mapping[str, Any]]


@dataclass(frozen=True)
class Short:
    """Rows of a short export.

    Args:
        shown: the file, for messages.
        rows: number and content of each; cells of tables are unpacked already.
    """

    shown: str
    rows: Sequence[Row]

    def tasks(self, control: str | None) -> list[tuple[int, dict[str, Any]]]:
        """Tasks in the long form, each with the number of its first row, in the order of the file.

        Args:
            control: the column whose text is a choice, see :meth:`control_of`.
        """
        tasks: dict[Any, tuple[int, dict[str, Any]]] = {}
        for row, content in self.rows:
            data, annotation = _parts(content, control)
            own = content.get("id")
            key = repr(sorted(map(str, data.items()))) if own in (None, "") else str(own)
            task = tasks.setdefault(key, (row, {"data": data, "annotations": []}))[1]
            if annotation is not None:
                task["annotations"].append(annotation)
        return list(tasks.values())

    def has_places(self) -> bool:
        """Whether some row holds regions."""
        return any(_is_regions(value) for _, content in self.rows for value in content.values())

    def control_of(self, classes: Collection[str]) -> str | None:
        """The column that holds the class of the picture; None where none is text.

        Args:
            classes: of the project; () while it has none.

        Raises:
            FormatError: several columns may be the one.
        """
        columns = self._texts()
        if len(columns) > 1 and classes:
            fitting = [name for name, words in columns.items() if words <= set(classes)]
            columns = {name: columns[name] for name in fitting} or columns
        if len(columns) > 1:
            usual = [name for name in _USUAL if name in columns]
            columns = {name: columns[name] for name in usual[:1]} or columns
        if len(columns) > 1:
            listed = ", ".join(f"{name!r:.30} ({min(words)!r:.20}, ...)" for name, words in list(columns.items())[:4])
            raise FormatError(
                f"{self.shown!r:.100}: the class may stand in {listed}: call the column 'choice', or export as JSON"
            )
        return next(iter(columns), None)

    def _texts(self) -> dict[str, set[str]]:
        """Columns of text that is no picture, with their words."""
        found: dict[str, set[str]] = {}
        ruled_out: set[str] = set()
        for _, content in self.rows:
            for key, value in content.items():
                if key in COLUMNS or key.startswith((OWN, "_data_")) or value in (None, ""):
                    continue
                if isinstance(value, dict) and "choices" in value:
                    found.setdefault(key, set()).update(map(str, value["choices"] or ()))
                elif isinstance(value, str) and not is_picture(value):
                    found.setdefault(key, set()).add(value)
                else:
                    ruled_out.add(key)
        return {key: words for key, words in found.items() if key not in ruled_out and words}


def _is_regions(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, dict) for one in value)


def _parts(content: Mapping[str, Any], control: str | None) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """What a row says of the task, and its annotation; None where nobody has answered."""
    data: dict[str, Any] = {}
    results: list[dict[str, Any]] = []
    for key, value in content.items():
        if key in COLUMNS:
            continue
        if _is_regions(value) and not key.startswith(OWN):
            results += [_region(key, one) for one in value]
        elif isinstance(value, dict) and "choices" in value:
            results.append({"from_name": key, "type": "choices", "value": value})
        elif key == control and value not in (None, ""):
            results.append({"from_name": key, "type": "choices", "value": {"choices": [value]}})
        else:
            data[key.removeprefix("_data_")] = value
    if not results and content.get("annotation_id") in (None, ""):
        return data, None
    when = {key: content.get(key) for key in ("created_at", "updated_at")}
    seconds = content.get("lead_time")
    return data, {
        **when,
        "completed_by": content.get("annotator"),
        "lead_time": None if seconds == "" else seconds,
        "result": results,
    }


def _region(control: str, value: Mapping[str, Any]) -> dict[str, Any]:
    own = ("original_width", "original_height", "id", "parentID")
    inner = {key: part for key, part in value.items() if key not in own}
    return {"from_name": control, "value": inner} | {key: value[key] for key in own if key in value}


def read_rows(path: Path) -> list[Row]:
    """Rows of a table with their cells unpacked: JSON as what it holds, seconds as numbers.

    Raises:
        FormatError: no table, a cell that begins like JSON and is none, or seconds that are no number.
    """
    shown = repr(os.fspath(path))
    content = read_text(path)
    first = content.partition("\n")[0]
    delimiter = max("\t;,", key=first.count)
    reader = csv.reader(io.StringIO(content, newline=""), delimiter=delimiter, strict=True)
    found: list[Row] = []
    try:
        columns = next(reader, [])
        for row, cells in enumerate(reader, 2):
            if len(cells) > len(columns):
                raise FormatError(f"{shown}, row {row}: {len(cells)} cells, but there are {len(columns)} columns")
            pairs = zip(columns, cells, strict=False)
            found.append((row, {name: _cell(cell, f"{shown}, row {row}", name) for name, cell in pairs}))
    except csv.Error as error:
        raise FormatError(
            f"{shown}, row {len(found) + 2}: {error}; check its quotation marks, or export masks as JSON"
        ) from None
    return found


def _cell(cell: str, where: str, name: str) -> Any:
    if name == "lead_time" and cell.strip():
        try:
            return float(cell)
        except ValueError:
            raise FormatError(f"{where}: lead_time is {cell!r:.40}; give seconds") from None
    if cell[:2] not in ("[{", '{"'):
        return cell
    try:
        return json.loads(cell)
    except (ValueError, RecursionError):
        raise FormatError(f"{where}: {name!r:.40} is no valid JSON: {cell!r:.60}; export the table again") from None
