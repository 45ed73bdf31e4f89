"""Sets that lie in a folder for each split, with a table of labels in each, as Roboflow exports them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from labelwise.errors import FormatError
from labelwise.formats.splits import role_of


@dataclass(frozen=True)
class Part:
    """A table of one split.

    Args:
        table: the file.
        folder: of its pictures, relative to that of the set: "" or ``train/``.
        split: word for the split; None where the table stands alone.
    """

    table: Path
    folder: str = ""
    split: str | None = None


def parts_of(path: Path, name: str) -> list[Part]:
    """The tables called ``name`` in a folder, or in its folders ``train``, ``valid``, ``test``; a file itself.

    Empty where there are none.
    """
    if path.is_file():
        return [Part(path)]
    if not path.is_dir():
        return []
    try:
        found = [Part(path / name)] if (path / name).is_file() else []
        for below in sorted(path.iterdir()):
            if role_of(below.name) is not None and (below / name).is_file():
                found.append(Part(below / name, f"{below.name}/", below.name))
    except OSError as error:
        raise FormatError(f"{str(path)!r} cannot be read: {error.strerror}; check its permissions") from None
    return found
