"""Which objects of a picture say something of the kind of label that is wanted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from labelwise.contracts.record import Seen


def fits(seen: Seen, kind: str | None) -> bool:
    """Whether an object says something of a kind of label; None: of any."""
    placed = seen.box is not None or seen.outline is not None
    match kind:
        case "classes":
            return not placed and seen.points is None
        case "boxes":
            return placed
        case "masks":
            return seen.outline is not None
        case "points":
            return seen.points is not None
    return True


def fitting(objects: Iterable[Seen], kind: str | None, counts: Counter[str]) -> tuple[Seen, ...]:
    """The objects of an annotation that say something of a kind of label; the others are counted.

    Classes of the whole picture go where shapes are wanted. Shapes of which none fits stay as they are: they are no
    empty picture, and the kind of label says what is missing.

    Args:
        objects: of one picture.
        kind: that is wanted; None: any.
        counts: takes note of what is left out, by a line that ``{n}`` stands in.
    """
    given = tuple(objects)
    if kind in (None, "classes"):
        return given
    shaped = tuple(one for one in given if not fits(one, "classes"))
    kept = tuple(one for one in shaped if fits(one, kind)) or shaped
    if len(kept) < len(given):
        counts[f"{{n}} object(s) left out: the labels wanted are {kind}"] += len(given) - len(kept)
    return kept


def upright(objects: Iterable[Seen], kind: str | None, counts: Counter[str]) -> None:
    """Counts turned boxes where boxes are wanted, which are upright here."""
    if kind in (None, "boxes"):
        turned = sum(one.box is not None and bool(one.box.rotation) for one in objects)
        counts["{n} turned box(es): boxes are upright here, so the one around each is taken"] += turned


def lines(counts: Counter[str]) -> tuple[str, ...]:
    """What was counted, one line each.

    Example:
        >>> lines(Counter({"{n} relation(s) left out": 1200, "{n} ellipse(s)": 0}))
        ('1,200 relation(s) left out',)
    """
    return tuple(line.replace("{n}", f"{count:,}", 1) for line, count in counts.items() if count)
