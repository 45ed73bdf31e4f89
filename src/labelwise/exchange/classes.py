"""How the classes of a file are called in the project: by name, and by number only through a list."""

from __future__ import annotations

import difflib
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from labelwise.contracts.record import Head
from labelwise.errors import FormatError

#: what tools call the pixels or pictures that belong to no class
BACKGROUNDS = frozenset({"background", "_background_", "__background__"})
#: classes that a message lists
_SHOWN = 12


@dataclass
class ClassMap:
    """Turns classes as written into the project's names; called with a name, a number or None.

    Numbers count what the user's list says, else the file's own list, else that of the COCO set that the project came
    from. Without a list they are refused: two programs seldom count alike.

    Args:
        head: what the file says once.
        classes: of the project; () while it has none, and then every name goes.
        names: the list that the user gave: number -> name.
        origin: gives number -> name, as the project's own data set counts; asked only where no other list is there.
        shown: the file, for messages.
        optional: names that stand for no class where the project has none of that name.
        adding: names that the project does not have join its classes, at their end.

    Raises:
        FormatError: from a call: a name that the project does not have, or a number without a list.

    Example:
        >>> named = ClassMap(Head(classes=("dog", "cat")), ("cat", "dog"), shown="a.txt")
        >>> named(0), named("cat")
        ('dog', 'cat')
    """

    head: Head
    classes: tuple[str, ...] = ()
    names: Mapping[int, str] | None = None
    origin: Callable[[], Mapping[int, str]] = dict
    shown: str = ""
    optional: frozenset[str] = frozenset()
    adding: bool = False
    #: how often each name occurred
    seen: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._known = {plain(name): name for name in self.classes}
        self._of: dict[str | int | None, str] = {}

    def __call__(self, cls: str | int | None) -> str:
        """The project's name of a class."""
        name = self._of.get(cls)
        if name is None:
            name = self._of[cls] = self._find(cls)
        if name:
            self.seen[name] += 1
        return name

    def _find(self, cls: str | int | None) -> str:
        name = self._numbered(cls) if isinstance(cls, int) else cls
        if isinstance(cls, str) and self._counts(cls):
            name = self._listed(int(cls))
        if name is None or not name.strip():
            raise FormatError(f"{self.shown}: an object has no class; give it one of {self.listed()}")
        if not self.classes:
            return plain(name)
        if (own := self._known.get(plain(name))) is not None:
            return own
        if name.strip().casefold() in self.optional:
            return ""
        if self.adding:
            self.classes = (*self.classes, plain(name))
            return self._known.setdefault(plain(name), plain(name))
        raise FormatError(f"unknown class {name!r:.60}{self._hint(name)}; the project has {self.listed()}")

    def _counts(self, name: str) -> bool:
        """Whether a name is a number that tables write as text, and no class of a project whose classes are numbers."""
        return _is_number(name) and bool(self.classes or self.names) and not any(map(_is_number, self.classes))

    def _listed(self, number: int) -> str:
        """The class of a number that a table writes: nothing but the user's list says what it counts."""
        if self.names:
            return self._numbered(number)
        raise self._no_list(number)

    def _numbered(self, number: int) -> str:
        for numbers in (self.names, self.head.numbers):
            if numbers:
                if number in numbers:
                    return numbers[number]
                listed = ", ".join(f"{n} {name}" for n, name in _few(numbers))
                more = "; does the file count from 1?" if 0 in numbers and number == len(numbers) else ""
                raise FormatError(f"class {number} is not in the list of names ({listed:.150}){more}")
        if self.head.classes:
            if 0 <= number < len(self.head.classes):
                return self.head.classes[number]
            raise FormatError(f"class {number} is not in the list, which has 0 to {len(self.head.classes) - 1}")
        if (name := self.origin().get(number)) is not None:
            return name
        raise self._no_list(number)

    def _no_list(self, number: int) -> FormatError:
        guess = ", ".join(f"{n} = {name}" for n, name in enumerate(self.classes[:_SHOWN])) or "0 = cat, 1 = dog"
        return FormatError(
            f"classes are numbers such as {number}, and no list says which is which: give one with --names FILE "
            f"(data.yaml, classes.txt or a COCO file). In the project's order it would be {guess}"
        )

    def _hint(self, name: str) -> str:
        near = [known for known in self.classes if known.casefold() == name.strip().casefold()]
        near = near or difflib.get_close_matches(name[:200], self.classes, n=2, cutoff=0.5)
        return f" (did you mean {' or '.join(map(repr, near))}?)" if near else ""

    def listed(self) -> str:
        """The project's classes, some of them."""
        more = f", ... ({len(self.classes)} in all)" if len(self.classes) > _SHOWN else ""
        return (", ".join(self.classes[:_SHOWN]) + more) or "any name"

    def found(self) -> tuple[str, ...]:
        """The project's classes; while it has none, those that the file lists, or else those that occurred."""
        if self.classes:
            return self.classes
        listed = tuple(plain(name) for name in self.head.classes)
        strange = sorted(name for name in self.seen if name not in listed)
        return (*listed, *strange) if listed else tuple(strange)


def plain(name: str) -> str:
    """A name as it is compared: NFC, without blanks around it."""
    name = name.strip()
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def _is_number(text: str) -> bool:
    text = text.strip()
    return text.isascii() and text.isdecimal() and len(text) < 7


def _few(numbers: Mapping[int, str]) -> list[tuple[int, str]]:
    return sorted(numbers.items())[:_SHOWN]
