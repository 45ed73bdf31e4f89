"""Whether a file is there, and writing one so that it is there whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from labelwise.errors import StateError


def there_is(path: Path) -> bool:
    """Whether there is such a file; a name that no file can have (too long, with a NUL) is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def write_whole(path: str | os.PathLike[str], data: bytes) -> None:
    """Write ``data`` beside ``path`` and move it there; a crash or a full disk leaves the old file as it was.

    Raises:
        StateError: when the folder is missing, read-only or full.
    """
    target = Path(path)
    temporary: Path | None = None
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name[:40]}.", dir=target.parent)
        temporary = Path(name)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(target)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise StateError(
            f"cannot write {str(target)!r}: {error.strerror}. Nothing was changed; check that the folder exists, can "
            "be written to and has space"
        ) from None


def _umask() -> int:
    """The process's mask; asking for it means setting it, hence twice."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
