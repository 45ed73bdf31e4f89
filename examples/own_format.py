"""A file format of your own in one class: a line ``image -> class`` for each image."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from labelwise.contracts.format import Format, Hints, Reads, Sniff, Writes, Writing
from labelwise.contracts.record import Head, Record, Seen, Where
from labelwise.errors import FormatError
from labelwise.formats.delimited import look_into
from labelwise.formats.files import write_whole
from labelwise.testing.formats import check_format


@dataclass(frozen=True)
class Arrows(Format):
    """Lines ``image -> class``. Memory: one line."""

    name: ClassVar[str] = "arrows"
    title: ClassVar[str] = "lines 'image -> class'"
    kinds: ClassVar[frozenset[str]] = frozenset({"classes"})
    reads: ClassVar[frozenset[Reads]] = frozenset({"data", "answers"})
    writes: ClassVar[frozenset[Writes]] = frozenset({"labelled"})
    ending: ClassVar[str] = ".arrows"

    def sniff(self, path: Path, use: Reads) -> Sniff:
        fits = path.is_file() and path.suffix == self.ending
        return Sniff(0.9 if fits else 0.0, "called .arrows" if fits else "not called .arrows", ("classes",))

    def read(self, path: Path, use: Reads, hints: Hints) -> tuple[Head, Iterator[Record]]:
        return Head(), self._records(path)

    def _records(self, path: Path) -> Iterator[Record]:
        for number, line in enumerate(look_into(path).lines(), 1):
            where = Where(str(path), "line", number)
            image, arrow, cls = line.strip().partition(" -> ")
            if not (arrow and image.strip() and cls.strip()):
                raise FormatError(f"{where}: {line.strip()!r:.60} is not 'image -> class'; correct the line")
            yield Record(where, image.strip(), objects=(Seen(cls.strip()),))

    def write(self, path: Path, head: Head, records: Iterable[Record], how: Writing) -> list[str]:
        lines = [f"{record.image} -> {record.objects[0].cls}\n" for record in records if record.objects]
        write_whole(path, "".join(lines).encode())
        return []


def main() -> None:
    folder = Path(tempfile.mkdtemp())
    (folder / "labels.arrows").write_text("a.jpg -> cat\nb.jpg -> dog\n")
    check_format(Arrows(), [folder / "labels.arrows"], folder / "work")
    print("arrows keeps the contract: labelwise import labels.arrows --format own_format:Arrows")


if __name__ == "__main__":
    main()
