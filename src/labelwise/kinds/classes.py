"""One class for a whole picture; the raw label is its name, a guess of a model ``{"class": name, "score": 0.9}``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from labelwise.contracts.kind import PLAIN, Kind, Look, Naming, Panel, Raw
from labelwise.contracts.record import Record, Seen, Where
from labelwise.errors import DataError, FormatError, brief, cut, unknown

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Classes(Kind):
    """One class out of a closed list for each picture: ``"cat"``, or its index as a whole number.

    Example:
        >>> kind = Classes()
        >>> record = kind.to_record("a.png", "cat", ("cat", "dog"))
        >>> record.objects[0].cls, kind.objects("cat"), kind.cost("cat")
        ('cat', ['cat'], {'images': 1.0})
    """

    name: ClassVar[str] = "classes"
    noun: ClassVar[str] = "class"
    task: ClassVar[str] = "classification"
    fewest: ClassVar[int] = 2
    drawn: ClassVar[bool] = False
    kept: ClassVar[str] = ".csv"
    written: ClassVar[tuple[str, ...]] = ("csv", "json")

    def from_record(self, record: Record, naming: Naming, size: tuple[int, int] | None) -> Raw:
        """The name of the picture's class; None where the record names none. A guess keeps its probability.

        Raises:
            FormatError: a picture of several classes.
        """
        written = [seen for seen in record.objects if seen.whole and seen.cls is not None]
        found = {name: seen.score for seen in written if (name := naming.of(seen.cls))}
        names = list(found)
        if len(names) > 1:
            raise FormatError(
                f"{record.where}: the classes {names[0]!r:.60} and {names[1]!r:.60} for one image; keep one, or say "
                "--task multi_label where an image may have several"
            )
        if not names:
            return None
        [(name, score)] = found.items()
        return name if record.state != "untouched" or score is None else {"class": name, "score": score}

    def to_record(self, item: str, raw: Raw, classes: tuple[str, ...]) -> Record:
        """A record with one object, the picture."""
        [name], guessed = self.objects(raw, classes), isinstance(raw, Mapping)
        score = raw.get("score") if guessed else None
        return Record(
            Where(item), item, objects=(Seen(name, score=score),), state="untouched" if guessed else "answered"
        )

    def check(self, raw: Raw, classes: tuple[str, ...], size: tuple[int, int] | None) -> None:
        """Refuses what is neither the name nor the index of a class.

        Raises:
            DataError: says what is allowed.
        """
        if isinstance(raw, str):
            if raw not in classes:
                raise unknown("class", raw, classes, error=DataError)
        elif isinstance(raw, bool) or not isinstance(raw, int) or not 0 <= raw < len(classes):
            raise DataError(
                f"{brief(raw, 80)} is no class: give a name ({cut(', '.join(classes), 150)}) or 0 to {len(classes) - 1}"
            )

    def objects(self, raw: Raw, classes: tuple[str, ...] = ()) -> list[str]:
        """The class."""
        if isinstance(raw, Mapping):
            return [raw["class"]]
        return [raw if isinstance(raw, str) else classes[raw]]

    def owns(self, raw: Raw) -> bool:
        """Whether it is a name, or a whole number."""
        return isinstance(raw, str | int)

    def merge(self, raws: Sequence[Raw]) -> Raw:
        """The one label; a picture has no regions here.

        Raises:
            DataError: labels that differ.
        """
        if len(set(raws)) != 1:
            raise DataError(f"an image has {len(set(raws))} different classes where one is allowed")
        return raws[0]

    def draw(self, image: Image, panels: Sequence[Panel], classes: tuple[str, ...], look: Look = PLAIN) -> Image:
        """The picture: there is nothing to draw in it."""
        return image
