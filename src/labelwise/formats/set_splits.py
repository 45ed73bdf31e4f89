"""Which split each picture of a set is in: by lists and folders that it names, or by what its folders are called."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from labelwise.contracts.source import Role
from labelwise.formats.splits import role_of

_ROLES: tuple[Role, ...] = ("pool", "reference", "validation", "test")
_CVAT = re.compile(r"obj_(.+)_data", re.IGNORECASE)


@dataclass
class Splits:
    """Which split each picture is in.

    Args:
        words: picture -> word as the set has it.
        missing: names in lists, and folders, that are not there, with the list.
        notes: what people should know.
        lists: files that list pictures, below the folder.
    """

    words: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    lists: set[str] = field(default_factory=set)

    def decide(
        self,
        sets: dict[str, set[str]],
        names: Sequence[str],
        word_of: Callable[[str], str | None] | None = None,
    ) -> None:
        """One word for each picture: what the lists say, or, where they tell nothing apart, what folders are called.

        What is trained on is not held out, and a test set keeps what it has against that of validation.

        Args:
            sets: word -> pictures that the lists and folders of the set name for it.
            names: all pictures.
            word_of: the word for a split in the name of a folder; by default the folder is called by it alone.
        """
        self._combine(sets, names)
        if not self.words:
            self.words = by_folder(names, word_of or folder_word)
        elif any(inside and role_of(word) == "pool" for word, inside in sets.items()):
            self._rest(sets, names, word_of or folder_word)

    def _rest(self, sets: dict[str, set[str]], names: Sequence[str], word_of: Callable[[str], str | None]) -> None:
        """What no list names: held out where its folder is called as a split that no list is for, else of the pool."""
        forgotten = set(_ROLES) - {role_of(word) for word in sets}
        left = [name for name in names if name not in self.words]
        words = by_folder(left, word_of, whole=False)
        held = {name: word for name, word in words.items() if role_of(word) in forgotten}
        self.words |= held
        for word in sorted(set(held.values())):
            count = sum(other == word for other in held.values())
            self.notes.append(
                f"{count:,} image(s) lie in a folder called {word:.40}, which the set does not name: held out"
            )
        if rest := len(left) - len(held):
            self.notes.append(
                f"{rest:,} image(s) are in no list and no folder of {', '.join(sets)}: they stay in the pool"
            )

    def _combine(self, sets: dict[str, set[str]], names: Sequence[str]) -> None:
        by_role = {role: [word for word in sets if role_of(word) == role] for role in _ROLES}
        pool: set[str] = set().union(*(sets[word] for word in by_role["pool"]))
        for word in (*by_role["reference"], *by_role["validation"], *by_role["test"]):
            if sets[word] and (len(sets[word]) == len(names) or sets[word] == pool):
                # a set has to name something for val: without one, people name that of training
                self.notes.append(f"{word} names the same images as train, or all: none is held out for it")
                sets[word] = set()
            elif both := sets[word] & pool:
                self.notes.append(f"{len(both):,} image(s) are in train and in {word}: taken for training")
                sets[word] -= both
        held = [*by_role["reference"], *by_role["validation"], *by_role["test"]]
        if not any(sets[word] for word in held):
            return
        for word in held:
            both = {name for name in sets[word] if name in self.words}
            if both:
                self.notes.append(f"{len(both):,} image(s) are in two splits: taken for {word}")
            self.words |= dict.fromkeys(sets[word], word)
        for word in by_role["pool"]:
            self.words |= dict.fromkeys(sets[word], word)


def by_folder(names: Sequence[str], word_of: Callable[[str], str | None], *, whole: bool = True) -> dict[str, str]:
    """Folders called train, val, test, wherever they stand; of a whole set nothing where none is for training."""
    of_folder: dict[str, str | None] = {}
    found: dict[str, str] = {}
    for name in names:
        folder = posixpath.dirname(name)
        if folder not in of_folder:
            of_folder[folder] = next(filter(None, map(word_of, folder.split("/"))), None)
        if (word := of_folder[folder]) is not None:
            found[name] = word
    return found if not whole or any(role_of(word) == "pool" for word in found.values()) else {}


def folder_word(part: str) -> str | None:
    """The word for a split that a folder is called by; None for other folders."""
    word = cvat_folder(part) or part
    return word if role_of(word) is not None else None


def cvat_folder(name: str) -> str:
    """The split that CVAT's YOLO export writes into the name of a folder; "" for other folders.

    Example:
        >>> cvat_folder("obj_train_data"), cvat_folder("images")
        ('train', '')
    """
    found = _CVAT.fullmatch(name)
    return found[1] if found else ""
