"""Labels that people give back to a project: read through the door, checked as a whole, written as events."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from labelwise.campaign.events import Cleared, Event, Labelled, Skipped, Unlabelled
from labelwise.campaign.setting import answered
from labelwise.contracts.oracle import Answer
from labelwise.errors import ConfigError, DataError, FormatError, few
from labelwise.exchange.incoming import Incoming, Row, Wishes
from labelwise.exchange.sniffing import required
from labelwise.formats.splits import role_of
from labelwise.project.classes import named, write
from labelwise.project.presence import gone_note
from labelwise.project.presence import waiting as waiting_picks
from labelwise.project.subjects import apart
from labelwise.project.told import settle, settled

if TYPE_CHECKING:
    from labelwise.contracts.kind import Kind
    from labelwise.project.project import Project


@dataclass(frozen=True)
class Imported:
    """What an import did.

    Args:
        labelled: items that got their first label.
        corrected: items whose label changed: by the one who gave it, or by somebody who is not named.
        further: labels of a further annotator, kept beside those that are there.
        unchanged: labels that were there already.
        skipped: items marked as not to be asked again.
        unanswered: pictures and rows without an answer.
        pending: items still waiting.
        classes: of the project, set where this import decided or added to them.
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
    further: int = 0
    unchanged: int = 0
    empty: int = 0
    format: str = ""
    notes: tuple[str, ...] = ()


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
    try:
        rows = _gathered(incoming)
    except FormatError as error:
        if known and not wishes.add_classes and "unknown class" in str(error):
            raise FormatError(f"{error!s:.230}. --add-classes takes new classes into the project") from None
        raise
    incoming.refuse_unknown()
    names = incoming.named.found()
    if not known and names:
        _confirm(names, project, path, confirm)
    _check_told(project, path, rows)
    subjects = apart(project, rows)
    rows = subjects.rows
    # one look at all picks that wait, not one for each answer
    waiting = project.waiting_regions()
    said = _Said(project, names)
    events = [event for row in rows for answer in _answers(project, row, waiting) for event in said.of(answer)]
    events += said.unasked(waiting)
    if names and names != had:
        write(project, names, incoming.palette if project.kind.heavy and not had else None)
    told = settle(project, (row.raw for row in rows if row.raw is not None))
    project.write(events)
    return replace(
        said.done(),
        unanswered=incoming.states["unanswered"] + incoming.states["bare"],
        classes=() if had == names else names,
        format=choice.format.name,
        notes=(
            *incoming.notes(),
            *told,
            *_odd(project, rows),
            *subjects.notes(),
            *said.notes(),
            *gone_note(waiting_picks(project)[1]),
        ),
    )


def give(project: Project, answers: Sequence[Answer]) -> Imported:
    """Takes single answers, such as a page or a program of one's own gives: all of them or nothing.

    Args:
        project: held by the caller.
        answers: labels and skips, of any items of the project.

    Raises:
        DataError: a label that is none, drawn at another size than its picture has, or of a region and with no pixel
            of it, or with pixels beside it.
        PoolError: no such item.
    """
    kind, pool, classes = project.kind, project.pool, project.config.classes
    for answer in answers:
        item = pool.items[pool.position(answer.id)]
        if answer.target is not None:
            kind.check(answer.target, classes, project.source.size(item.path) if kind.drawn else None)
    answers = [_of_region(project, one) if pool.items[pool.position(one.id)].is_region else one for one in answers]
    said = _Said(project, classes)
    events = [event for answer in answers for event in said.of(answer)]
    project.write([*events, *said.unasked(project.waiting_regions())])
    return replace(said.done(), notes=tuple(said.notes()))


def _of_region(project: Project, answer: Answer) -> Answer:
    """What an answer says of the pixels of its region.

    Raises:
        DataError: it says nothing of them, or something of others.
    """
    if answer.target is None:
        return answer
    outlines = {answer.id: project.source.outline(answer.id)}
    try:
        parts = project.kind.parts(answer.target, outlines)
    except FormatError as error:
        raise DataError(f"{answer.id!r:.80}: {error}") from None
    if answer.id not in parts:
        raise DataError(
            f"{answer.id!r:.80}: no pixel of the region has a class, or each pixel of the picture has: give those of "
            "the region a class and all others none, and skip what cannot be told"
        )
    return replace(answer, target=parts[answer.id])


def _check_told(project: Project, path: Path, rows: Sequence[Row]) -> None:
    """Refuses labels of other parts than the project's before anything is written."""
    try:
        settled(project.config, (row.raw for row in rows if row.raw is not None))
    except DataError as error:
        raise FormatError(f"{str(path)!r:.80}: {error}. Nothing was imported") from None


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


def _odd(project: Project, rows: Sequence[Row]) -> list[str]:
    """What is odd about labels that were taken all the same; empty ones are counted apart."""
    kind = project.kind
    labels = [row.raw for row in rows if row.raw is not None and not kind.empty(row.raw)]
    return [*kind.tally(labels), *_held_out_there(project, rows)]


def _held_out_there(project: Project, rows: Sequence[Row]) -> list[str]:
    """That a file holds images out which models of this project train on."""
    pool = project.pool
    there = [row for row in rows if row.record.split and role_of(row.record.split) not in (None, "pool")]
    stray = [row.item for row in there if pool.role(pool.position(row.item)) == "pool"]
    if not stray:
        return []
    return [
        f"{len(stray):,} image(s) that the file holds out ({few(stray)}) are in the pool here, and models train on "
        "them: splits are taken by init"
    ]


def _gathered(incoming: Incoming) -> list[Row]:
    """One answer of each annotator for each item, in the order of the file.

    Raises:
        FormatError: two different answers for one item that no two people gave.
    """
    found: dict[tuple[str, str], Row] = {}
    of_item: dict[str, Row] = {}
    kind = incoming.known.kind
    problems: list[tuple[Row, Row]] = []
    for row in incoming.rows():
        old = of_item.get(row.item)
        if old is not None and not (old.annotator and row.annotator) and not _agree(kind, old, row):
            problems.append((old, row))
            continue
        of_item[row.item] = row
        found.pop((row.item, row.annotator), None)  # the later of one person counts, and as the later
        found[row.item, row.annotator] = row
    if problems:
        old, row = problems[0]
        more = f" (and {len(problems) - 1:,} more such)" if len(problems) > 1 else ""
        said = [("skip" if one.raw is None else kind.short(one.raw)) for one in (row, old)]
        raise FormatError(
            f"{row.record.where}: two answers for {row.item!r:.80}: {said[0]:.40} here, {said[1]:.40} in "
            f"{old.record.where.beside(row.record.where)}; keep one{more}. Nothing was imported"
        )
    return list(found.values())


def _agree(kind: Kind, one: Row, other: Row) -> bool:
    """Whether both skip, or both say the same."""
    if one.raw is None or other.raw is None:
        return one.raw is other.raw
    return kind.same(one.raw, other.raw)


def _answers(project: Project, row: Row, waiting: Mapping[str, Sequence[str]]) -> Iterator[Answer]:
    """What a row answers: its item, or the regions of it that wait."""
    if row.raw is None:
        yield Answer(row.item, None, row.cost, row.record.reason, row.annotator)
        return
    outlines = {region: project.source.outline(region) for region in waiting.get(row.item, ())}
    parts = project.kind.parts(row.raw, outlines) if outlines else {}
    if parts:
        for region, raw in parts.items():
            yield Answer(region, raw, annotator=row.annotator)
    else:
        yield Answer(row.item, row.raw, row.cost, annotator=row.annotator)


@dataclass
class _Said:
    """Answers on their way to events, each held against what was said before; counts what they change.

    Args:
        project: as it is before.
        classes: its classes.
    """

    project: Project
    classes: tuple[str, ...]
    labelled: int = 0
    corrected: int = 0
    further: int = 0
    unchanged: int = 0
    skipped: int = 0
    empty: int = 0
    #: item -> what people say of it now, where these answers say anything
    given: dict[str, list[Labelled]] = field(default_factory=dict)
    outvoted: list[str] = field(default_factory=list)
    #: items that were asked again, whose label is the same
    confirmed: set[str] = field(default_factory=set)

    def before(self, item: str) -> list[Labelled]:
        """What people say of an item, with the answers so far."""
        if item not in self.given:
            pool = self.project.pool
            self.given[item] = list(pool.labels.of(pool.position(item)))
        return self.given[item]

    def of(self, answer: Answer) -> Iterator[Event]:
        """The events of one answer; none where the same person, or everybody, says the same already."""
        old = self.before(answer.id)
        if answer.target is None:
            yield from self._skip(answer, old)
            return
        kind = self.project.kind
        self.empty += kind.empty(answer.target)
        own = [one for one in old if one.annotator == answer.annotator or not answer.annotator]
        pool = self.project.pool
        if own and all(kind.same(one.target, answer.target) for one in own):
            self.unchanged += 1
            if pool.position(answer.id) not in pool.asked.reopened or answer.id in self.confirmed:
                return
            # a label that was doubted is looked at again and stands: that is written down, too
            self.confirmed.add(answer.id)
            looked = answered(kind, pool, answer, self.classes).cost
            cost = {unit: own[-1].cost.get(unit, 0) + looked.get(unit, 0) for unit in {*own[-1].cost, *looked}}
            yield replace(own[-1], cost=cost)
            return
        self.labelled += not old
        self.corrected += bool(own)
        self.further += bool(old) and not own
        event = answered(kind, pool, answer, self.classes)
        self.given[answer.id] = [*(one for one in old if one not in own), event]
        yield event

    def _skip(self, answer: Answer, old: list[Labelled]) -> Iterator[Event]:
        """A skip takes back a label of the same person; beside the label of another it is only said."""
        if any(answer.annotator not in ("", one.annotator) for one in old):
            self.outvoted.append(answer.id)
            return
        if old:
            yield Unlabelled(answer.id)
            self.given[answer.id] = []
        self.skipped += 1
        yield Skipped(answer.id, answer.reason)

    def unasked(self, waiting: Mapping[str, Sequence[str]]) -> list[Event]:
        """A label of a whole image withdraws the question for its regions."""
        return [Cleared(region) for item, given in self.given.items() if given for region in waiting.get(item, ())]

    def done(self) -> Imported:
        """What the answers changed, once their events are written."""
        return Imported(
            labelled=self.labelled,
            corrected=self.corrected,
            skipped=self.skipped,
            unanswered=0,
            pending=len(self.project.pool.pending),
            further=self.further,
            unchanged=self.unchanged,
            empty=self.empty,
        )

    def notes(self) -> list[str]:
        """On what annotators differ, and skips that another's label outvotes."""
        kind, lines = self.project.kind, []
        several = [item for item, given in self.given.items() if len(given) > 1]
        differing = [
            item
            for item in several
            if not all(kind.same(one.target, self.given[item][0].target) for one in self.given[item])
        ]
        if differing:
            lines.append(
                f"{len(differing):,} image(s) have different labels of several annotators; all are kept, and the "
                f"majority counts, in a tie the later one: {few(differing)}"
            )
        if self.outvoted:
            lines.append(
                f"{len(self.outvoted):,} skip(s) left out, as another annotator gave a label: {few(self.outvoted)}"
            )
        return lines


__all__ = ["Imported", "give", "take"]
