"""Words that name a split, in files, columns and folders: one table for the whole house."""

from __future__ import annotations

import re
from collections.abc import Mapping

from labelwise.contracts.source import Role

#: word -> role; a role is "pool" for what may be asked and trained on
WORDS: Mapping[str, Role] = {
    **dict.fromkeys(("train", "training", "trn", "trainval", "pool"), "pool"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "dev", "devel", "development"), "validation"),
    **dict.fromkeys(("test", "testing", "tst", "holdout", "hold-out", "held-out", "heldout"), "test"),
    # FER2013 and other published competitions
    **dict.fromkeys(("publictest", "privatetest", "public-test", "private-test"), "test"),
    "reference": "reference",
}
#: what a role is called in a set that is written
WORD_OF: Mapping[Role, str] = {"pool": "train", "validation": "val", "test": "test", "reference": "reference"}

_NUMBERED = re.compile(r"[ _-]?\d+$")
#: what stands around the word where folders say of what the split is: ``training_set``, ``images_train``, ``seg_test``
_AROUND = re.compile(
    r"^(?:(?:images?|imgs?|data|dataset|set|seg|split)[ -])?(.+?)(?:[ -]?(?:images?|imgs?|data|dataset|set|split))?$"
)


def role_of(word: str) -> Role | None:
    """The role that a word names, in any case, with or without a year or number behind it; None for other words.

    Example:
        >>> role_of("Train"), role_of("val2017"), role_of("Hold-Out"), role_of("cats")
        ('pool', 'validation', 'test', None)
        >>> role_of("training_set"), role_of("images-test"), role_of("test set"), role_of("seg")
        ('pool', 'test', 'test', None)
    """
    plain = word.strip().casefold().replace("_", "-") if not word.isascii() else word.strip().lower().replace("_", "-")
    short = _NUMBERED.sub("", plain)
    if (found := WORDS.get(plain) or WORDS.get(short)) is not None or len(plain) > 40:
        return found
    inner = _AROUND.match(short)
    return None if inner is None else WORDS.get(_NUMBERED.sub("", inner[1]))
