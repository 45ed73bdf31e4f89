"""Folders of one JSON file for each image, called as the image: what detectors write."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from labelwise.errors import FormatError
from labelwise.formats.columns import is_picture


def json_files(folder: Path) -> Iterator[tuple[Path, str, bool]]:
    """Each JSON file below a folder with the name of its image, and whether that comes without its ending.

    Hidden files are left out. In the order of names.

    Raises:
        FormatError: the folder cannot be read, or a name is not UTF-8.
    """
    for place, folders, names in os.walk(folder, onerror=_refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if name.startswith(".") or not name.lower().endswith(".json"):
                continue
            path = Path(place) / name
            image = path.relative_to(folder).as_posix()[: -len(".json")]
            try:
                image.encode()
            except UnicodeEncodeError:
                raise FormatError(f"{str(path)!r}: the name is not UTF-8; rename the file") from None
            yield path, image, not is_picture(image)


def _refuse(error: OSError) -> None:
    raise FormatError(f"{error.filename!r} cannot be read: {error.strerror}; check its permissions")
