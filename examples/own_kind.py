"""A kind of label of your own in one class: any number of tags for a picture, such as ``["blurred", "night"]``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from PIL.Image import Image

from labelwise.contracts.kind import PLAIN, Kind, Look, Naming, Panel, Raw
from labelwise.contracts.record import Record, Seen, Where
from labelwise.errors import DataError, brief, unknown


@dataclass(frozen=True)
class Tags(Kind):
    """Names of what holds of a picture, in alphabetical order; none is an answer too."""

    name: ClassVar[str] = "tags"
    noun: ClassVar[str] = "tag"
    task: ClassVar[str] = "tagging"
    drawn: ClassVar[bool] = False

    def from_record(self, record: Record, naming: Naming, size: tuple[int, int] | None) -> Raw:
        written = [seen.cls for seen in record.objects if seen.whole and seen.cls is not None]
        if record.objects and not written:
            return None  # boxes, say: nothing of this kind
        return sorted({name for cls in written if (name := naming.of(cls))})

    def to_record(self, item: str, raw: Raw, classes: tuple[str, ...]) -> Record:
        objects = tuple(Seen(name) for name in raw)
        return Record(Where(item), item, objects=objects, state="answered" if raw else "empty")

    def check(self, raw: Raw, classes: tuple[str, ...], size: tuple[int, int] | None) -> None:
        if not isinstance(raw, list) or not all(isinstance(name, str) for name in raw):
            raise DataError(f"{brief(raw)} is no list of tags: give names, such as {list(classes[:2])}")
        if strange := [name for name in raw if name not in classes]:
            raise unknown("tag", strange[0], classes, error=DataError)
        if raw != sorted(set(raw)):
            raise DataError(f"the tags {brief(raw)} are to be in alphabetical order, each once")

    def objects(self, raw: Raw, classes: tuple[str, ...] = ()) -> list[str]:
        return list(raw)

    def merge(self, raws: Sequence[Raw]) -> Raw:
        return sorted({name for raw in raws for name in raw})

    def empty(self, raw: Raw) -> bool:
        return not raw

    def short(self, raw: Raw) -> str:
        return f"{len(raw)} tags"

    def owns(self, raw: Raw) -> bool:
        return isinstance(raw, list)

    def draw(self, image: Image, panels: Sequence[Panel], classes: tuple[str, ...], look: Look = PLAIN) -> Image:
        return image


def main() -> None:
    from labelwise.testing.kinds import check_kind

    check_kind(Tags(), [[], ["blurred"], ["blurred", "night"]], ("blurred", "night", "rain"))
    print("tags keep the contract of kinds")


if __name__ == "__main__":
    main()
