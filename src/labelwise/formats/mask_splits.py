"""Splits of a set of masks: folders that name them, or lists of pictures."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from labelwise.formats.delimited import read_text
from labelwise.formats.listed import Listed
from labelwise.formats.mask_layout import IMAGE_WORDS, plain_name
from labelwise.formats.set_splits import Splits
from labelwise.formats.splits import role_of

_BETWEEN = re.compile(r"[\s,;]+")


def split_word(folder: str) -> str | None:
    """The word for a split in the name of a folder, alone or with a word for pictures; None where there is none.

    Example:
        >>> split_word("Train"), split_word("val_images"), split_word("images"), split_word("trainee")
        ('Train', 'val', None, None)
    """
    plain = plain_name(folder)
    for word in IMAGE_WORDS:
        for rest in (plain.removesuffix(word), plain.removeprefix(word)):
            if rest and rest != plain and role_of(rest) is not None:
                return rest
    return folder if role_of(folder) is not None else None


def splits_of(folder: Path, prefix: str, images: Sequence[str]) -> Splits:
    """Splits by lists ``train.txt``, ``val.txt``, ``test.txt``, or else by the folders of the images.

    Args:
        folder: the set.
        prefix: what the images' names lack to be relative to the set, such as ``images/``.
        images: their names.

    Raises:
        FormatError: a list that cannot be read.
    """
    lists = {file.stem: file for file in sorted(folder.glob("*.txt")) if role_of(file.stem) is not None}
    found = listed_splits(lists, prefix, images)
    if not found.words:
        places = {image.rpartition("/")[0] for image in images}
        words = {place: next(filter(None, map(split_word, place.split("/"))), None) for place in places}
        if all(words.values()) and words:
            held = ", ".join(sorted(f"{word!r:.40}" for word in set(words.values())))
            found.notes.append(f"all images lie in folders of held-back splits ({held}): they are taken for the pool")
    return found


def listed_splits(lists: Mapping[str, Path], prefix: str, images: Sequence[str]) -> Splits:
    """Splits by lists; a line names an image, with or without ending, perhaps with its mask behind.

    Args:
        lists: word for a split -> its list.
        prefix: what the images' names lack to be relative to the set.
        images: their names.

    Raises:
        FormatError: a list that cannot be read.
    """
    named = [prefix + image for image in images]
    finders = (Listed(named), Listed(named, bare=True))
    found = Splits()
    sets: dict[str, set[str]] = {}
    for word, file in lists.items():
        if not file.is_file():
            continue
        sets[word] = set()
        for finder in finders:
            finder.begin()
        for line in filter(str.strip, read_text(file).splitlines()):
            spellings = ((finder, part) for part in _names(line) for finder in finders)
            item = next((name for finder, part in spellings if (name := finder.find(part)) is not None), None)
            if item is None:
                found.missing.append(f"{_BETWEEN.split(line.strip())[0]:.80} (in {file.name})")
            else:
                sets[word].add(item[len(prefix) :])
    found.decide(sets, images, split_word)
    return found


def _names(line: str) -> Iterator[str]:
    """What a line may name: all of it, or what stands before one of its blanks, the longest first."""
    line = line.strip()
    yield line
    ends = [match.start() for match in _BETWEEN.finditer(line)][:20]
    for end in reversed(ends):
        yield line[:end]
