"""Pictures for the page, made once a size and kept on disk up to a stated limit."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from labelwise.contracts.picture import as_image
from labelwise.contracts.source import read_for
from labelwise.errors import ConfigError
from labelwise.formats.files import write_whole
from labelwise.report.thumbs import thumbnail
from labelwise.rng import digest

if TYPE_CHECKING:
    from labelwise.contracts.source import Source

#: longest sides that the page asks for
SIDES = (96, 192, 384, 1280, 2560)
#: bytes on disk, and pictures between two looks at them
LIMIT, _LOOK = 1 << 30, 200
_QUALITY = 85


class Pictures:
    """Small pictures of a project's items, as JPEG.

    Args:
        folder: where they are kept.
        limit: bytes there; beyond it those that nobody has looked at for longest go.
    """

    def __init__(self, folder: Path, limit: int = LIMIT) -> None:
        self.folder, self.limit = folder, limit
        self._made = 0

    def of(self, source: Source, item: str, side: int) -> tuple[bytes, str]:
        """A picture, and a name of what it shows: equal names are equal pictures.

        Raises:
            ConfigError: no such size.
            DataError: it cannot be read.
        """
        if side not in SIDES:
            raise ConfigError(f"side {side}: one of {', '.join(map(str, SIDES))}")
        image = read_for(source, item)
        stat = source.stat_key([image])
        tag = digest(image, str(source.window(item)), side, *(stat or source.content([image])))[:24]

        def make() -> bytes:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Pillow warns of odd metadata that a small picture does not need
                picture = as_image(source.thumbnail(item, side))
            return thumbnail(picture, size=side, quality=_QUALITY)

        return self._kept(tag, make), tag

    def _kept(self, tag: str, make: Callable[[], bytes]) -> bytes:
        file = self.folder / tag[:2] / f"{tag}.jpg"
        with contextlib.suppress(OSError):
            data = file.read_bytes()
            os.utime(file)  # the limit drops what was looked at longest ago
            return data
        data = make()
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, data)
        self._made += 1
        if self._made % _LOOK == 0:
            self._tidy()
        return data

    def _tidy(self) -> None:
        """Drops the oldest until nine tenths of the limit are left."""
        with contextlib.suppress(OSError):
            files = [(entry.stat(), entry) for entry in self.folder.rglob("*.jpg")]
            total = sum(stat.st_size for stat, _ in files)
            if total <= self.limit:
                return
            for stat, entry in sorted(files, key=lambda pair: pair[0].st_mtime):
                if total <= 0.9 * self.limit:
                    return
                entry.unlink(missing_ok=True)
                total -= stat.st_size
