"""Labels that people give back to a project: read through the door, checked as a whole, written as events."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from labelwise.campaign.events import Cleared, Event, Skipped
from labelwise.campaign.setting import answered
from labelwise.contracts.oracle import Answer
from labelwise.errors import ConfigError, FormatError, few
from labelwise.exchange.incoming import Incoming, Row, Wishes
from labelwise.exchange.sniffing import required
from labelwise.project.classes import named, write
from labelwise.project.presence import gone_note
from labelwise.project.presence import waiting as waiting_picks

if TYPE_CHECKING:
    from labelwise.contracts.kind import Kind
    from labelwise.project.project import Project


@dataclass(frozen=True)
class Imported:
    """What an import did.

    Args:
        labelled: items that got their first label.
        corrected: items whose label changed.
        skipped: items marked as not to be asked again.
        unanswered: pictures and rows without an answer.
        pending: items still waiting.
        classes: set when this import decided the project's classes.
        empty: labels without any object.
        format: that the file was read as.
        notes: what was guessed, left out or matched otherwise than by its path, one line each.
    """

    labelled: int
    corrected: int
    skipped: int
    unanswered: int
    pending: int
    classes: tuple[str, ...] = ()
    empty: int = 0
    format: str = ""
    notes: tuple[str, ...] = ()


@dataclass
class _Gathered:
    """Answers of a file, one for each item; what contradicts is refused, or said where two people answered."""

    rows: dict[str, Row] = field(default_factory=dict)
    differing: list[str] = field(default_factory=list)


def take(
    project: Project,
    path: Path,
    *,
    wishes: Wishes,
    classes: Sequence[str],
    confirm: Callable[[tuple[str, ...]], bool],
) -> Imported:
    """Takes the answers of a file: all of it or nothing.

    Args:
        project: held by the caller.
        path: file or folder.
        wishes: what the user said about reading.
        classes: of the project, when it has none yet; else those that the file names are taken.
        confirm: asked once, with the classes found, when the project has none yet and none are given.

    Raises:
        ConfigError: the classes were not confirmed, or other ones are given than the project has.
        FormatError: see :class:`Incoming`; nothing is imported.
    """
    had = project.config.classes
    known = named(project, classes)
    choice = required(path, "answers", kind=project.kind.name, name=wishes.format)
    incoming = Incoming(path, choice.format, "answers", project.known(known), wishes)
    found = _gathered(incoming)
    incoming.refuse_unknown()
    names = incoming.named.found()
    if not known and names:
        _confirm(names, project, path, confirm)
    before = project.labels()
    # one look at all picks that wait, not one for each answer
    waiting = project.waiting_regions()
    answers = [answer for row in found.rows.values() for answer in _answers(project, row, waiting)]
    events = list(_events(project, answers, names, before, waiting))
    if names and not had:
        write(project, names, incoming.palette if project.kind.heavy else None)
    project.write(events)
    given = [answer for answer in answers if answer.target is not None]
    return Imported(
        labelled=sum(answer.id not in before for answer in given),
        corrected=sum(
            answer.id in before and not project.kind.same(before[answer.id], answer.target) for answer in given
        ),
        skipped=len(answers) - len(given),
        unanswered=incoming.states["unanswered"] + incoming.states["bare"],
        empty=sum(project.kind.empty(answer.target) for answer in given),
        pending=len(project.pool.pending),
        classes=() if had else names,
        format=choice.format.name,
        notes=(*incoming.notes(), *_differing(found), *gone_note(waiting_picks(project)[1])),
    )


def _confirm(names: tuple[str, ...], project: Project, path: Path, confirm: Callable[[tuple[str, ...]], bool]) -> None:
    if len(names) < project.kind.fewest:
        raise ConfigError(
            f"the only class in {str(path)!r} is {names[0]!r}, and a project needs all its classes: name them with "
            "--classes a,b,c. Nothing was imported"
        )
    if not confirm(names):
        raise ConfigError(
            "the classes were not confirmed, nothing was imported: correct the file and import it again, or name all "
            "classes with --classes a,b,c"
        )


def _gathered(incoming: Incoming) -> _Gathered:
    """One answer for each item.

    Raises:
        FormatError: two different answers for one item that no two people gave.
    """
    found = _Gathered()
    kind = incoming.known.kind
    problems: list[tuple[Row, Row]] = []
    for row in incoming.rows():
        old = found.rows.get(row.item)
        if old is not None and not _agree(kind, old, row):
            people = (old.record.annotator, row.record.annotator)
            if None in people:
                problems.append((old, row))
                continue
            if people[0] != people[1]:
                found.differing.append(row.item)
        found.rows[row.item] = row
    if problems:
        old, row = problems[0]
        more = f" (and {len(problems) - 1:,} more such)" if len(problems) > 1 else ""
        said = [("skip" if one.raw is None else kind.short(one.raw)) for one in (row, old)]
        raise FormatError(
            f"{row.record.where}: two answers for {row.item!r:.80}: {said[0]:.40} here, {said[1]:.40} in "
            f"{old.record.where.beside(row.record.where)}; keep one{more}. Nothing was imported"
        )
    return found


def _agree(kind: Kind, one: Row, other: Row) -> bool:
    """Whether both skip, or both say the same."""
    if one.raw is None or other.raw is None:
        return one.raw is other.raw
    return kind.same(one.raw, other.raw)


def _differing(found: _Gathered) -> list[str]:
    if not found.differing:
        return []
    items = list(dict.fromkeys(found.differing))
    return [f"{len(items):,} image(s) have different answers of two annotators; the later one was taken: {few(items)}"]


def _answers(project: Project, row: Row, waiting: Mapping[str, Sequence[str]]) -> Iterator[Answer]:
    """What a row answers: its item, or the regions of it that wait."""
    if row.raw is None:
        yield Answer(row.item, None, row.cost, row.record.reason)
        return
    outlines = {region: project.source.outline(region) for region in waiting.get(row.item, ())}
    parts = project.kind.parts(row.raw, outlines) if outlines else {}
    if parts:
        for region, raw in parts.items():
            yield Answer(region, raw)
    else:
        yield Answer(row.item, row.raw, row.cost)


def _events(
    project: Project,
    answers: Sequence[Answer],
    classes: tuple[str, ...],
    before: Container[str],
    waiting: Mapping[str, Sequence[str]],
) -> Iterator[Event]:
    """The answers as events; a skip withdraws an earlier label, that of an image the question for its regions."""
    for answer in answers:
        if answer.target is None:
            if answer.id in before:
                yield Cleared(answer.id)
            yield Skipped(answer.id, answer.reason)
        else:
            yield answered(project.kind, project.pool, answer, classes)
            yield from (Cleared(region) for region in waiting.get(answer.id, ()))


__all__ = ["Imported", "take"]
