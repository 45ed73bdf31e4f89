"""Any number of classes for a whole picture; the raw label is the list of their names, ``[]`` for none of them.

A guess of a model is ``{"classes": {name: score, ...}}``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from labelwise.contracts.kind import PLAIN, Kind, Look, Naming, Panel, Raw, in_full
from labelwise.contracts.record import Record, Seen, Where
from labelwise.errors import DataError, brief, unknown

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Tags(Kind):
    """Any number of classes out of a closed list for each picture: ``["cat", "dog"]``, and ``[]`` where it has none.

    Names stand in the order of the project's classes, so that the same answer is always written alike. Files of
    classes, boxes, masks of objects and key points say it, too: the classes that occur in a picture.

    Example:
        >>> kind = Tags()
        >>> record = kind.to_record("a.png", ["cat", "dog"], ("cat", "dog"))
        >>> [seen.cls for seen in record.objects], kind.short(["cat", "dog"]), kind.short([])
        (['cat', 'dog'], "'cat; dog'", "'none'")
    """

    name: ClassVar[str] = "tags"
    noun: ClassVar[str] = "class"
    task: ClassVar[str] = "multi_label"
    said_by: ClassVar[frozenset[str]] = frozenset({"classes", "boxes", "masks", "points"})
    bare: ClassVar[str] = "with none of the classes"
    drawn: ClassVar[bool] = False
    kept: ClassVar[str] = ".csv"
    written: ClassVar[tuple[str, ...]] = ("csv", "json")

    def from_record(self, record: Record, naming: Naming, size: tuple[int, int] | None) -> Raw:
        """Names of the classes that occur, each once; None where pixels alone say what is there.

        Of a guess, the score of a class is the highest that one of its objects has.
        """
        if record.pixels is not None or record.maps is not None:
            return None
        scores: dict[str, float | None] = {}
        for seen in record.objects:
            if seen.cls is None or not (name := naming.of(seen.cls)):
                continue
            known = scores.get(name)
            scores[name] = seen.score if known is None or seen.score is None else max(known, seen.score)
        if not scores and any(seen.cls is None for seen in record.objects):
            return None
        names = [*(name for name in naming.classes if name in scores), *(n for n in scores if n not in naming.classes)]
        if record.state == "untouched" and all(score is not None for score in scores.values()):
            return {"classes": {name: scores[name] for name in names}}
        return names

    def to_record(self, item: str, raw: Raw, classes: tuple[str, ...]) -> Record:
        """A record with an object for each class, the picture."""
        guessed = isinstance(raw, Mapping)
        scores: Mapping[str, float] = raw["classes"] if guessed else {}
        objects = tuple(Seen(name, score=scores.get(name)) for name in self.objects(raw, classes))
        return Record(
            Where(item), item, objects=objects, state="untouched" if guessed else "answered" if objects else "empty"
        )

    def check(self, raw: Raw, classes: tuple[str, ...], size: tuple[int, int] | None) -> None:
        """Refuses what is no list of names of different classes.

        Raises:
            DataError: says what is allowed.
        """
        if not isinstance(raw, list | tuple) or not all(isinstance(name, str) for name in raw):
            raise DataError(
                f"{brief(raw, 80)} is no list of classes: give names such as ['cat', 'dog'], or [] for none"
            )
        for number, name in enumerate(raw):
            if name not in classes:
                raise unknown("class", name, classes, error=DataError)
            if name in raw[:number]:
                raise DataError(f"class {brief(name, 80)} is named twice for one image: name it once")

    def objects(self, raw: Raw, classes: tuple[str, ...] = ()) -> list[str]:
        """The classes."""
        return list(raw["classes"]) if isinstance(raw, Mapping) else list(raw)

    def owns(self, raw: Raw) -> bool:
        """Whether it is a list of names."""
        return isinstance(raw, list | tuple) and all(isinstance(name, str) for name in raw)

    def same(self, one: Raw, other: Raw) -> bool:
        """Whether they name the same classes, in whatever order."""
        return set(self.objects(one)) == set(self.objects(other))

    def merge(self, raws: Sequence[Raw]) -> Raw:
        """All classes that one of them names."""
        return list(dict.fromkeys(name for raw in raws for name in self.objects(raw)))

    def empty(self, raw: Raw) -> bool:
        """Whether it has none of the classes."""
        return not self.objects(raw)

    def short(self, raw: Raw) -> str:
        """The classes."""
        return brief(in_full(self.objects(raw)), 70)

    def tally(self, raws: Iterable[Raw]) -> Sequence[str]:
        """How many images have none of the classes, and whether none has several."""
        counts = [len(self.objects(raw)) for raw in raws]
        none, one = counts.count(0), counts.count(1)
        lines = [f"{none:,} of {len(counts):,} image(s) have none of the classes"] if none else []
        if counts and none + one == len(counts):
            lines.append(f"no image of {len(counts):,} has several classes: 'a;b' in a table names two")
        return lines

    def draw(self, image: Image, panels: Sequence[Panel], classes: tuple[str, ...], look: Look = PLAIN) -> Image:
        """The picture: there is nothing to draw in it."""
        return image
