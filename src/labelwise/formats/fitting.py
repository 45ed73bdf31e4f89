"""Which objects of a picture say something of the kind of label that is wanted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from labelwise.contracts.record import Record, Seen


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


def fitted(records: Sequence[Record], kind: str | None, counts: Counter[str]) -> list[Record]:
    """Records with the objects that say something of a kind of label; the others are counted.

    Pictures without an object that fits were looked at, and are empty, where there is nothing but words about the whole
    picture; where other shapes were drawn nobody has said anything of this kind, and they are not answered. A file in
    which nothing fits stays as it is: the kind of label says what is missing.

    Args:
        records: of a whole file.
        kind: that is wanted; None: any.
        counts: takes note of what is left out, by a line that ``{n}`` stands in.
    """
    if kind in (None, "classes", "tags") or not any(fits(one, kind) for record in records for one in record.objects):
        found = list(records)
    else:
        found = [_of_kind(record, kind, counts) for record in records]
    if kind in (None, "boxes"):
        counts["{n} turned box(es): boxes are upright here, so the one around each is taken"] += sum(
            one.box is not None and bool(one.box.rotation) for record in found for one in record.objects
        )
    return found


def _of_kind(record: Record, kind: str | None, counts: Counter[str]) -> Record:
    kept = tuple(one for one in record.objects if fits(one, kind))
    if len(kept) == len(record.objects):
        return record
    counts[f"{{n}} object(s) left out: the labels wanted are {kind}"] += len(record.objects) - len(kept)
    state = record.state
    if state == "answered" and not kept:
        if all(fits(one, "classes") for one in record.objects):
            state = "empty"
        else:
            state = "untouched"
            counts[f"{{n}} image(s) hold other shapes and no {kind}: taken as not answered"] += 1
    return replace(record, objects=kept, state=state)


def lines(counts: Counter[str]) -> tuple[str, ...]:
    """What was counted, one line each.

    Example:
        >>> lines(Counter({"{n} relation(s) left out": 1200, "{n} ellipse(s)": 0}))
        ('1,200 relation(s) left out',)
    """
    return tuple(line.replace("{n}", f"{count:,}", 1) for line, count in counts.items() if count)
