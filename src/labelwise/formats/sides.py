"""Which points of a body change places in a mirror image, by their names."""

from __future__ import annotations

import re
from collections.abc import Sequence

#: words of a name that say the side, and those of the other side
_SIDES = {"left": "right", "right": "left", "l": "r", "r": "l"}
#: a whole word anywhere, or a letter that stands alone or ends a name behind a small letter
_WORD = re.compile(r"left|right", re.IGNORECASE)
_LETTER = re.compile(r"(?:^|(?<=[^A-Za-z]))[lLrR](?=[^A-Za-z]|$)|(?<=[a-z])[LR]$")


def other_side(name: str) -> str | None:
    """The name of the same point on the other side of a body; None where the name says no side.

    Example:
        >>> other_side("LeftEar"), other_side("hip.R"), other_side("nose")
        ('RightEar', 'hip.L', None)
    """
    word = _WORD.search(name) or _LETTER.search(name)
    if word is None:
        return None
    other = _SIDES[word[0].lower()]
    other = other.upper() if word[0].isupper() else other.capitalize() if word[0][0].isupper() else other
    return name[: word.start()] + other + name[word.end() :]


def mirrored(names: Sequence[str]) -> tuple[int, ...]:
    """Position of each point in a mirrored picture: those that tell of a left and a right side change places.

    Example:
        >>> mirrored(("nose", "left_eye", "right_eye", "tail", "earL", "earR"))
        (0, 2, 1, 3, 5, 4)
    """
    places = {name: place for place, name in enumerate(names)}
    return tuple(places.get(other_side(name) or name, place) for place, name in enumerate(names))
