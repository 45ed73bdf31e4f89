"""Labels, splits and groups that lie beside the images in a CSV file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from labelwise.contracts.source import Role, Source
from labelwise.data.folder import ROLE_FOLDERS, ImageFolder
from labelwise.data.views import View, with_labels
from labelwise.errors import FormatError, unknown
from labelwise.formats.delimited import ID_COLUMNS, LABEL_COLUMNS, Table, read_table
from labelwise.formats.labels_table import Finder

V = TypeVar("V")

_ROLE_COLUMNS = ("split", "role", "subset", "partition")
_GROUP_COLUMNS = ("group", "patient", "video", "site", "scene")
_ROLE_WORDS: Mapping[str, Role] = {
    **ROLE_FOLDERS,
    "training": "pool",
    "pool": "pool",
    "": "pool",
    "reference": "reference",
    "testing": "test",
}


@dataclass(frozen=True)
class Listing:
    """What a CSV file says about images.

    Args:
        ids: the names as they stand in the file, in its order, unique.
        labels: name -> class, for rows with a label.
        roles: name -> role, where the file has a column split (or role).
        groups: name -> group, where the file has a column group (or patient, video, site).
        rows: row number of each name, for messages; the first line of the file is row 1.
    """

    ids: tuple[str, ...]
    labels: Mapping[str, str]
    roles: Mapping[str, Role]
    groups: Mapping[str, str]
    rows: Mapping[str, int]


def read_label_csv(path: str | os.PathLike[str]) -> dict[str, str]:
    """Labels by image name, out of a CSV file.

    Columns ``id`` (or name, file, path, image) and ``label`` (or class, target), in any order and case; with two
    columns the header may be missing. Rows without label are left out.

    Raises:
        FormatError: for a file that is no such table, or two labels for one name, with the row.
    """
    listing = read_listing(path)
    if not listing.labels:
        raise FormatError(f"{os.fspath(path)!r} has no label: it needs a column called label (or class, target)")
    return dict(listing.labels)


def read_listing(path: str | os.PathLike[str]) -> Listing:
    """Everything that a CSV file says about images: labels, and the columns split and group where there are any.

    Raises:
        FormatError: for a file that is no such table, an unknown split, or contradicting rows for one name.
    """
    table = read_table(path)
    shown = repr(os.fspath(path))
    rows: dict[str, int] = {}
    facts: dict[str, tuple[str, str, str]] = {}
    named = table.column(ID_COLUMNS)
    columns = [table.column(names) for names in (LABEL_COLUMNS, _ROLE_COLUMNS, _GROUP_COLUMNS)]
    for number, row in zip(table.numbers, table.rows, strict=True):
        name = row[named or 0]
        if not name.strip():
            raise FormatError(f"{shown}, row {number}: no image is named; fill in or delete the row")
        label, role, group = ("" if column is None else row[column].strip() for column in columns)
        fact = (label, role, group)
        if rows.setdefault(name, number) != number and facts[name] != fact:
            raise FormatError(f"{shown}, row {number}: {name!r} stands in row {rows[name]} with other values; keep one")
        facts[name] = fact
        if role.lower() not in _ROLE_WORDS:
            raise unknown(f"split in {shown}, row {number}", role, filter(None, _ROLE_WORDS), error=FormatError)
    return Listing(
        tuple(rows),
        {name: label for name, (label, _, _) in facts.items() if label},
        {name: _ROLE_WORDS[role.lower()] for name, (_, role, _) in facts.items() if _has(table, _ROLE_COLUMNS)},
        {name: group for name, (_, _, group) in facts.items() if group},
        rows,
    )


def _has(table: Table, names: tuple[str, ...]) -> bool:
    return table.column(names) is not None


def apply_csv(source: Source, path: str | os.PathLike[str]) -> View:
    """A source with the labels, splits and groups of a CSV file, as far as the file has such columns.

    Raises:
        FormatError: for a row that names an image the source does not have.
    """
    listing = read_listing(path)
    finder = Finder(frozenset(source.ids), source.root)
    ids: dict[str, str] = {}
    for name in listing.ids:
        if (item_id := finder.find(name)) is None:
            raise FormatError(f"{os.fspath(path)!r}, row {listing.rows[name]}: {finder.why_not(name)}")
        ids[name] = item_id
    view = with_labels(source, _renamed(listing.labels, ids)) if listing.labels else View(source)
    roles = _renamed(listing.roles, ids) or source.roles
    return View(view, roles=roles, groups=_renamed(listing.groups, ids) or source.groups)


def open_listing(path: str | os.PathLike[str], root: str | os.PathLike[str] | None = None) -> View:
    """The images that a CSV file lists, with the labels, splits and groups it gives.

    Args:
        path: the CSV file.
        root: the folder that paths in it are relative to, and that no path may leave; by default the file's own folder.

    Raises:
        FormatError: for a file that is no such table, a path that leaves ``root``, or when none of the files exists.
            Single missing files are reported when they are read, as damaged ones are.
    """
    folder = Path(path).parent if root is None else Path(root)
    listing = read_listing(path)
    finder = Finder(frozenset(), folder)
    ids: list[str] = []
    for name in listing.ids:
        spelling = next(iter(finder.spellings(name)), None)
        if spelling is None:
            raise FormatError(f"{os.fspath(path)!r}, row {listing.rows[name]}: {finder.why_not(name)}")
        ids.append(spelling)
    if not ids:
        raise FormatError(f"{os.fspath(path)!r} lists no image: it needs one line per image")
    source = ImageFolder(folder, labels="none", roles="none", ids=sorted(set(ids)))
    if not any(source.stat_key([item_id])[0] for item_id in source.ids):
        raise FormatError(
            f"{os.fspath(path)!r}: none of its {len(source.ids)} files exists, the first would be "
            f"{source.path(ids[0])!r}; give the folder that the paths are relative to"
        )
    return apply_csv(source, path)


def _renamed(mapping: Mapping[str, V], ids: Mapping[str, str]) -> dict[str, V]:
    return {ids[name]: value for name, value in mapping.items()}
