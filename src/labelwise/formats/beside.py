"""The pictures beside a file that lists them: where they lie, and where they are put."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path

from labelwise.contracts.format import Writing
from labelwise.contracts.record import Record
from labelwise.formats.answer_rows import region_of
from labelwise.formats.columns import is_picture
from labelwise.formats.pictures import place_pictures
from labelwise.formats.scan import ENDINGS

#: the folder beside a table in which its pictures are put
PICTURES = "images"
#: folders beside a table in which its pictures are looked for
_FOLDERS = (PICTURES, "imgs", "img", "JPEGImages", "pictures", "photos")
_LOOKED_FOR = 20


def folder_of(path: Path, names: Sequence[str]) -> Path:
    """The folder that names in a file are relative to: its own, or one below it where some of them lie."""
    folder, names = path.parent, names[:_LOOKED_FOR]
    if not _some(folder, names):
        for below in (*_FOLDERS, path.stem, f"{path.stem}_images"):
            if (folder / below).is_dir() and _some(folder / below, names):
                return folder / below
    return folder


def _some(folder: Path, names: Sequence[str]) -> bool:
    """Whether one of the files is there, with or without its ending."""
    for name in names:
        plain = region_of(name.strip().replace("\\", "/"))[0]
        if plain.startswith("/") or ".." in plain.split("/") or len(plain) > 1000 or "\0" in plain:
            continue
        # macOS spells names otherwise than people type them
        forms = {plain, *(unicodedata.normalize(form, plain) for form in ("NFC", "NFD"))}
        spellings = forms if is_picture(plain) else [f"{form}{ending}" for form in forms for ending in ENDINGS]
        try:
            if any((folder / spelling).is_file() for spelling in spellings):
                return True
        except OSError:
            continue
    return False


def placed(path: Path, records: Sequence[Record], how: Writing) -> list[str]:
    """Puts the pictures of records into ``images/`` beside a file of classes, where links or copies are wanted.

    Returns:
        What the file has no place for, one line each.
    """
    notes: list[str] = []
    if how.images != "list":
        wanted = {record.image: f"{PICTURES}/{record.image}" for record in records if record.image is not None}
        notes += place_pictures(path.parent, wanted, how).notes
    if dropped := sum(bool(thing.attributes) for record in records for thing in record.objects):
        notes.append(f"attributes of {dropped:,} label(s): a list of classes has no place for them")
    return notes
