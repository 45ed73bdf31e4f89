"""Answers about images as answers about the subjects that were asked there, each found again by its number or place."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from labelwise.errors import few
from labelwise.exchange.incoming import Row
from labelwise.kinds.subjects import Subject, marked, recognised

if TYPE_CHECKING:
    from labelwise.project.opened import Opened

#: why a subject is skipped that people took out of an image
GONE = "no subject"


@dataclass
class Apart:
    """Rows about subjects, and what became of those about images.

    Args:
        rows: one for each subject that was answered.
    """

    rows: list[Row]
    #: images with objects that are no subject of the project
    strangers: list[str] = field(default_factory=list)
    unmarked: list[str] = field(default_factory=list)

    def notes(self) -> list[str]:
        """What was left out, one line each."""
        lines = []
        if self.strangers:
            lines.append(
                f"{len(self.strangers):,} subject(s) with points lie in no box that the project has, left out: "
                f"{few(self.strangers)}"
            )
        if self.unmarked:
            lines.append(f"{len(self.unmarked):,} asked subject(s) got no point and still wait: {few(self.unmarked)}")
        return lines


def apart(project: Opened, rows: Sequence[Row]) -> Apart:
    """The rows of a file, those about an image with subjects as rows about these.

    An object is the subject whose number it went out with, else the one that it lies nearest to. An image that comes
    back without any object says that none of those that were asked is one; they are skipped.

    Args:
        project: whose items they are.
        rows: as read.
    """
    if not project.pool.has_subjects:
        return Apart(list(rows))
    of_image: dict[str, dict[str, Subject]] = defaultdict(dict)
    for item in project.pool.items:
        of_image[item.path][item.id] = Subject.at(item.path, item.region or "")
    waiting = {project.pool.ids[p] for p in project.pool.pending}
    found = Apart([])
    for row in rows:
        found.rows += _shared(row, list(_of_image(row, of_image[row.item], waiting, found)))
    return found


def _of_image(
    row: Row, subjects: dict[str, Subject], waiting: set[str], found: Apart
) -> Iterator[tuple[str, Any, str]]:
    """Item, label and reason of each subject that a row about its image answers."""
    asked = [item for item in subjects if item in waiting]
    if row.raw is None or not row.raw["objects"]:
        for item in asked:
            yield item, None, row.record.reason or ("" if row.raw is None else GONE)
        return
    things = [thing for thing in row.raw["objects"] if not thing.get("crowd")]
    who = recognised(things, subjects)
    found.strangers += [row.item for place, thing in enumerate(things) if place not in who and marked(thing)]
    answered = {item: things[place] for place, item in who.items() if marked(things[place])}
    found.unmarked += [item for item in asked if item not in answered]
    for item, thing in answered.items():
        extra = {key: value for key, value in thing.get("extra", {}).items() if key != "subject"}
        plain = {key: value for key, value in thing.items() if key != "extra"} | ({"extra": extra} if extra else {})
        yield item, subjects[item].label(row.raw, plain), ""


def _shared(row: Row, said: Sequence[tuple[str, Any, str]]) -> Iterator[Row]:
    """A row for each subject; what the image cost, they share."""
    for item, raw, reason in said:
        record, count = row.record, len(said)
        seconds = None if record.seconds is None else record.seconds / count
        cost = {unit: value / count for unit, value in record.cost.items()}
        yield Row(item, replace(record, seconds=seconds, cost=cost, reason=reason or record.reason), raw)
