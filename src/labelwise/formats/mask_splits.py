"""Splits of a set of masks: folders that name them, or lists of pictures."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from labelwise.errors import FormatError
from labelwise.formats.delimited import read_text
from labelwise.formats.listed import Listed
from labelwise.formats.mask_layout import IMAGE_WORDS, plain_name
from labelwise.formats.splits import role_of

#: a list of this name holds those of two others
_BOTH = "trainval"
_BETWEEN = re.compile(r"[\s,;]+")


@dataclass(frozen=True)
class Splits:
    """What is known of the splits of a set.

    Args:
        words: picture -> word for its split.
        missing: names in lists that no picture has, with the list.
        notes: what people should know, one line each.
    """

    words: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def split_word(folder: str) -> str | None:
    """The word for a split in the name of a folder, alone or with a word for pictures; None where there is none.

    Example:
        >>> split_word("Train"), split_word("val_images"), split_word("images"), split_word("trainee")
        ('Train', 'val', None, None)
    """
    if role_of(folder) is not None:
        return folder
    plain = plain_name(folder)
    for word in IMAGE_WORDS:
        for rest in (plain.removesuffix(word), plain.removeprefix(word)):
            if rest and rest != plain and role_of(rest) is not None:
                return rest
    return None


def splits_of(folder: Path, prefix: str, images: Sequence[str]) -> Splits:
    """Splits by the folders of pictures, or else by lists ``train.txt``, ``val.txt``, ``test.txt`` beside them.

    Args:
        folder: the set.
        prefix: what the pictures' names lack to be relative to the set, such as ``images/``.
        images: their names.

    Raises:
        FormatError: a list that cannot be read, or a picture in two lists.
    """
    words: dict[str, str] = {}
    known: dict[str, str | None] = {}
    for image in images:
        place = image.rpartition("/")[0]
        if place not in known:
            known[place] = next((word for part in place.split("/") if (word := split_word(part)) is not None), None)
        if (word := known[place]) is not None:
            words[image] = word
    if words and len(words) == len(images) and all(role_of(word) != "pool" for word in set(words.values())):
        found = ", ".join(sorted({f"{word!r:.40}" for word in words.values()}))
        return Splits(notes=(f"all images lie in folders of held-back splits ({found}): they are taken for the pool",))
    if words:
        return Splits(words)
    lists = {file.stem: file for file in sorted(folder.glob("*.txt")) if role_of(file.stem) is not None}
    return listed_splits(lists, prefix, images)


def listed_splits(lists: Mapping[str, Path], prefix: str, images: Sequence[str]) -> Splits:
    """Splits by lists; a line names a picture, with or without ending, perhaps with its mask behind.

    Args:
        lists: word for a split -> its list.
        prefix: what the pictures' names lack to be relative to the set.
        images: their names.

    Raises:
        FormatError: a list that cannot be read, or a picture in two lists.
    """
    named = [prefix + image for image in images]
    finders = (Listed(named), Listed(named, bare=True))
    words: dict[str, str] = {}
    stands: dict[str, Path] = {}
    missing: list[str] = []
    for word, file in lists.items():
        if plain_name(word) == _BOTH or not file.is_file():
            continue
        for row, line in enumerate(read_text(file).splitlines(), 1):
            if not line.strip():
                continue
            spellings = ((finder, part) for part in _names(line) for finder in finders)
            found = next((name for finder, part in spellings if (name := finder.find(part)) is not None), None)
            if found is None:
                missing.append(f"{_BETWEEN.split(line.strip())[0]:.80} (in {file.name})")
                continue
            item = found[len(prefix) :]
            other = stands.setdefault(item, file)
            if other != file and role_of(words[item]) != role_of(word):
                raise FormatError(
                    f"{str(file)!r:.120}, line {row}: {item!r:.80} stands in {other.name} too; keep it in one list"
                )
            words.setdefault(item, word)
    return Splits(words, tuple(missing))


def _names(line: str) -> Iterator[str]:
    """What a line may name: all of it, or what stands before one of its blanks, the longest first."""
    line = line.strip()
    yield line
    ends = [match.start() for match in _BETWEEN.finditer(line)][:20]
    for end in reversed(ends):
        yield line[:end]
