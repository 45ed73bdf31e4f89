"""Key points out of tools that place one at a time: joined to subjects, each with all points of its class in one order.

Such tools write only the points that were placed, in the order in which they were. Whoever needs a row for each point
(a model, YOLO) gets the others as not seen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from labelwise.contracts.format import Hints
from labelwise.contracts.record import Origin, Points, Record, Seen
from labelwise.errors import FormatError
from labelwise.formats.pose_rows import SUBJECT

#: key of ``Record.extra`` under which a file keeps the names of all points of a class, in order
ORDER = "point_names"


def order_of(record: Record) -> dict[str, list[str]]:
    """Class -> names of its points, of the objects of a record: what ``ORDER`` keeps."""
    found: dict[str, list[str]] = {}
    for seen in record.objects:
        if isinstance(seen.cls, str) and seen.points is not None and seen.points.names:
            found.setdefault(seen.cls, list(seen.points.names))
    return found


def as_subjects(
    records: Sequence[Record],
    hints: Hints,
    counts: Counter[str],
    skeleton: tuple[tuple[str, ...], tuple[tuple[int, int], ...]] | None = None,
) -> list[Record]:
    """Records whose key points are those of subjects, where key points are wanted; else as they are.

    Points that belong to no shape are those of one subject for each picture, where their labels are names of points: no
    classes of the project, none of them twice in a picture. A subject without a class is of the only class that the
    project has, of ``subject`` where it has none yet.

    Args:
        records: of a whole file.
        hints: what is wanted, and the classes.
        counts: takes note of what is done, by a line that ``{n}`` stands in.
        skeleton: names of points in order, where the file lists them; else those of the project are meant.

    Raises:
        FormatError: a point of a name that another one of its picture has, where they cannot be classes; with the row.
    """
    if hints.kind != "points":
        return [_without_order(record) for record in records]
    owner = hints.classes[0] if len(hints.classes) == 1 else None if hints.classes else SUBJECT
    found = [replace(record, objects=tuple(_owned(one, owner) for one in record.objects)) for record in records]
    loose = [[one for one in record.objects if _is_loose(one, hints.classes)] for record in found]
    if owner is not None and _are_names(loose, hints.classes):
        found = [_joined(record, ones, owner, counts) for record, ones in zip(found, loose, strict=True)]
    return _aligned(found, skeleton or ((hints.points, ()) if hints.points else None))


def _owned(seen: Seen, owner: str | None) -> Seen:
    return replace(seen, cls=owner) if seen.cls is None and seen.points is not None and owner is not None else seen


def _is_loose(seen: Seen, classes: Sequence[str]) -> bool:
    points = seen.points
    alone = points is not None and seen.box is None and seen.outline is None and len(points.points) == 1
    return alone and points is not None and points.names == (seen.cls,) and seen.cls not in classes


def _are_names(loose: Sequence[Sequence[Seen]], classes: Sequence[str]) -> bool:
    """Whether the labels of points are names of points; without a project they may be classes of things."""
    if classes:
        return any(loose)
    several = len({one.cls for ones in loose for one in ones}) > 1
    return several and all(len({one.cls for one in ones}) == len(ones) for ones in loose)


def _joined(record: Record, loose: Sequence[Seen], owner: str, counts: Counter[str]) -> Record:
    """A record with its loose points as those of one subject."""
    if not loose:
        return record
    names = [str(one.cls) for one in loose]
    if twice := next((name for place, name in enumerate(names) if name in names[:place]), None):
        raise FormatError(
            f"{record.where}: two points are called {twice!r:.40}, and nothing says whose they are: draw a box around "
            "each subject that its points belong to, or call each point otherwise"
        )
    counts["{n} image(s) whose points belong to no shape: taken as those of one subject each"] += 1
    points = joined_points([one.points for one in loose if one.points is not None])
    origins = {one.origin for one in loose}
    origin: Origin | None = loose[0].origin if len(origins) == 1 else "corrected"
    subject = Seen(owner, points=points, origin=origin)
    return replace(record, objects=(*(one for one in record.objects if one not in loose), subject))


def joined_points(parts: Sequence[Points]) -> Points:
    """Points of one object that stand apart; confidences where all have them."""
    scored = all(part.scores for part in parts)
    return Points(
        tuple(place for part in parts for place in part.points),
        tuple(name for part in parts for name in part.names),
        tuple(score for part in parts for score in part.scores) if scored else (),
    )


def _aligned(
    records: Sequence[Record], skeleton: tuple[tuple[str, ...], tuple[tuple[int, int], ...]] | None
) -> list[Record]:
    """Records whose named points stand in one order for each class, those that were not placed among them."""
    orders: dict[str | int | None, dict[str, None]] = {}
    for record in records:
        kept = record.extra.get(ORDER)
        for cls, names in kept.items() if isinstance(kept, Mapping) else ():
            if isinstance(names, list) and all(isinstance(name, str) for name in names):
                orders.setdefault(cls, dict.fromkeys(names))
    things = [one for record in records for one in record.objects if one.points is not None and one.points.names]
    for one in sorted(things, key=lambda one: -len(one.points.names if one.points else ())):
        names = one.points.names if one.points else ()
        known = skeleton is not None and set(names) <= set(skeleton[0])
        order = orders.setdefault(one.cls, dict.fromkeys(skeleton[0] if skeleton is not None and known else ()))
        order.update(dict.fromkeys(names))
    found = []
    for record in records:
        objects = tuple(
            replace(one, points=_in_order(one.points, [*orders[one.cls]]))
            if one.points is not None and one.points.names and len(set(one.points.names)) == len(one.points.names)
            else one
            for one in record.objects
        )
        found.append(_without_order(replace(record, objects=objects)))
    return found


def _without_order(record: Record) -> Record:
    kept = {key: value for key, value in record.extra.items() if key != ORDER}
    return record if ORDER not in record.extra else replace(record, extra=kept)


def _in_order(points: Points, order: Sequence[str]) -> Points:
    if list(points.names) == list(order):
        return points
    places = dict(zip(points.names, points.points, strict=True))
    sure = dict(zip(points.names, points.scores, strict=False))
    return Points(
        tuple(places.get(name, (0, 0, 0)) for name in order),
        tuple(order),
        tuple(sure.get(name, 0.0) for name in order) if points.scores else (),
    )
