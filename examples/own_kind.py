"""A kind of label of your own in one class: a level on an ordered scale, such as ``{"level": "mild"}``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from PIL.Image import Image

from labelwise.contracts.kind import PLAIN, Kind, Look, Naming, Panel, Raw
from labelwise.contracts.record import Record, Seen, Where
from labelwise.errors import DataError, FormatError, brief, unknown


@dataclass(frozen=True)
class Levels(Kind):
    """One level of a scale; the classes of the project are its levels, the lowest first."""

    name: ClassVar[str] = "levels"
    noun: ClassVar[str] = "level"
    task: ClassVar[str] = "grading"
    fewest: ClassVar[int] = 2
    drawn: ClassVar[bool] = False

    def from_record(self, record: Record, naming: Naming, size: tuple[int, int] | None) -> Raw:
        written = [seen.cls for seen in record.objects if seen.whole and seen.cls is not None]
        if len(written) > 1:
            raise FormatError(f"{record.where}: {len(written)} levels for one image; keep one")
        return {"level": naming.of(written[0])} if written else None  # boxes, say: nothing of this kind

    def to_record(self, item: str, raw: Raw, classes: tuple[str, ...]) -> Record:
        return Record(Where(item), item, objects=(Seen(raw["level"]),))

    def check(self, raw: Raw, classes: tuple[str, ...], size: tuple[int, int] | None) -> None:
        if not isinstance(raw, dict) or list(raw) != ["level"] or not isinstance(raw["level"], str):
            raise DataError(f"{brief(raw)} is no level: give one such as {{'level': 'mild'}}")
        if raw["level"] not in classes:
            raise unknown("level", raw["level"], classes, error=DataError)

    def objects(self, raw: Raw, classes: tuple[str, ...] = ()) -> list[str]:
        return [raw["level"]]

    def short(self, raw: Raw) -> str:
        return brief(raw["level"])

    def owns(self, raw: Raw) -> bool:
        return isinstance(raw, dict) and list(raw) == ["level"]

    def draw(self, image: Image, panels: Sequence[Panel], classes: tuple[str, ...], look: Look = PLAIN) -> Image:
        return image


def main() -> None:
    from labelwise.testing.kinds import check_kind

    check_kind(Levels(), [{"level": "none"}, {"level": "severe"}], ("none", "mild", "severe"))
    print("levels keep the contract of kinds")


if __name__ == "__main__":
    main()
