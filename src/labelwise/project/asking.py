"""What to label next: a round is chosen, written down and given out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from labelwise.campaign.events import added
from labelwise.contracts.oracle import Pick, Round
from labelwise.contracts.source import is_subject
from labelwise.errors import StateError
from labelwise.exchange.incoming import Wishes
from labelwise.project.images import CONFIG_NAME
from labelwise.project.joining import news
from labelwise.project.presence import gone_note, refuse_absent_disk, waiting

if TYPE_CHECKING:
    from labelwise.contracts.strategy import Strategy
    from labelwise.project.project import Project


#: images of a round where nobody says how many
DEFAULT = 100


@dataclass(frozen=True)
class Asking:
    """How a round is chosen.

    Args:
        budget: how many; None: 100, or what is left; ``all`` ranks everything and asks nobody.
        strategy: a name or a ``Strategy``; None: the project's own.
        options: of a strategy given by name.
        predictions: somebody else's predictions; no model is trained then.
        wishes: how to read them.
        fit: train first if labels are newer than the weights.
        more: open another round although one is open.
        despite_missing: choose though most image files are not there.
        distinct: leave near-duplicates out: the smallest cosine of their frozen features, or True for the usual one.
    """

    budget: int | Literal["all"] | None = None
    strategy: str | Strategy | None = None
    options: Mapping[str, Any] | None = None
    predictions: Path | None = None
    wishes: Wishes = field(default_factory=Wishes)
    fit: bool = True
    more: bool = False
    despite_missing: bool = False
    distinct: float | bool = False


def suggest(project: Project, how: Asking) -> Round:
    """What to label next; see :meth:`Project.suggest`."""
    # what chooses loads torch; the round that is open does not
    from labelwise.contracts.query import Budget
    from labelwise.project.learning import Learning
    from labelwise.project.measured import starving

    if len(project.pool.pending) and not how.more and how.budget != "all":
        return _asked_before(project, how)
    if project.config.regions is not None or project.pool.has_regions:
        join_regions(project)
    if not len(project.pool.candidates):
        raise StateError(
            "no image is left to ask: all are labelled, asked or skipped. Add images and run 'labelwise init' again, "
            "or drop open picks with 'labelwise cancel'"
        )
    if not how.despite_missing:
        refuse_absent_disk(project)
    learning = Learning(project)
    chosen = learning.strategy(how.strategy, how.options)
    unit = _unit(project)
    there = _there(project, unit)
    count = min(DEFAULT, there) if how.budget is None else how.budget
    size = None if count == "all" else Budget(count, unit)
    if size is not None and size.counts_items:
        size.items(there)
    fitted, kept = None, list[str]()
    if how.predictions is None:
        campaign = learning.campaign()
        chosen, fitted, kept = learning.ready(campaign, chosen, size, how.fit)
        notes = learning.spoilt()
    else:
        learner, notes = learning.imported(how.predictions, how.wishes)
        campaign = learning.campaign(learner)
        informed = chosen.informed()
        if informed is not chosen and campaign.offer.meets(informed):
            kept = [f"{chosen.name} acts as {informed.name} here: the predictions are those of a trained model"]
            chosen = informed
        notes += learning.lent(learner, chosen)
    if how.distinct is not False:
        from labelwise.project.looking import THRESHOLD, spare

        campaign.passed_over, said = spare(project, THRESHOLD if how.distinct is True else how.distinct)
        notes += said
    if size is None:
        found = campaign.choose(chosen, None)
        found = replace(found, notes=(*kept, *found.notes))
    else:
        found = campaign.suggest(chosen, size, fitted=fitted, notes=tuple(kept))
        picks = tuple(replace(pick, round=found.number, strategy=found.strategy) for pick in found)
        found = replace(found, picks=picks)
    hungry = [] if fitted is None or size is None else starving(project)
    hungry += () if fitted is None else fitted.report.remarks
    return replace(found, classes=project.config.classes, notes=(*hungry, *notes, *found.notes, *news(project)))


def _asked_before(project: Project, how: Asking) -> Round:
    """The picks that wait, and what of the wishes had no say in them."""
    found = open_round(project)
    asked = [query for query in project.pool.queries() if query.round == found.number]
    wanted = how.strategy if how.strategy is None or isinstance(how.strategy, str) else how.strategy.name
    # the same command once more, as after a kill, wishes for nothing else
    ignored = [f"-n {how.budget}"] if how.budget not in (None, len(asked)) else []
    ignored += [f"--strategy {wanted}"] if wanted not in (None, asked[0].strategy) else []
    ignored += [f"--set {key}={value}" for key, value in (how.options or {}).items()]
    ignored += [f"--predictions {how.predictions}"] if how.predictions is not None else []
    ignored += ["--no-fit"] if not how.fit else []
    ignored += ["--distinct"] if how.distinct is not False else []
    if not ignored:
        return found
    one = "was" if len(ignored) == 1 else "were"
    note = (
        f"{', '.join(ignored)} {one} ignored in choosing: these picks were chosen before. --more chooses further ones"
    )
    return replace(found, notes=(*found.notes, note))


def _unit(project: Project) -> str:
    """What budgets count now: images until one has a label, then as ``regions`` says; as ``subjects`` does."""
    regions, subjects = project.config.regions, project.config.subjects
    if project.pool.has_subjects:
        return "subjects" if subjects is None else subjects.unit
    return "images" if regions is None or not len(project.pool.labelled) else regions.unit


def _there(project: Project, unit: str) -> int:
    """How many may be asked about; of images with subjects the images where these are counted."""
    pool = project.pool
    return len({pool.items[p].path for p in pool.candidates}) if unit == "images" else len(pool.candidates)


def noun_of(project: Project, picks: Sequence[Pick]) -> Literal["image", "region", "subject"]:
    """What these picks are."""
    places = [project.source.within(pick.id)[1] for pick in picks]
    return "subject" if any(map(is_subject, places)) else "region" if places and all(places) else "image"


def open_round(project: Project) -> Round:
    """The unanswered picks of the round that is open."""
    pool = project.pool
    there, gone = waiting(project)
    queries = [query for item in there + gone if (query := pool.query(pool.position(item))) is not None]
    strategies = {query.round: query.strategy for query in queries}
    queries = queries[: len(there)]
    path = project.source.path
    picks = tuple(
        Pick(q.id, path(q.id), q.rank, q.score, q.predicted, q.probability, q.round, q.strategy) for q in queries
    )
    several = len(strategies) > 1
    rounds = " and ".join(str(number) for number in sorted(strategies))
    note = (
        f"round{'s' * several} {rounds} {'are' if several else 'is'} open: {len(picks)} of "
        f"{'their' if several else 'its'} picks are unanswered, here they are again. Import labels for them, ask for "
        "more with --more, or drop them with 'labelwise cancel'"
    )
    return Round(
        number=max(strategies),
        picks=picks,
        strategy=" and ".join(dict.fromkeys(strategies[number] for number in sorted(strategies))),
        classes=project.config.classes,
        notes=(note, *gone_note(gone)),
        open=True,
        left_out=dict.fromkeys(gone, "its image is gone"),
    )


def join_regions(project: Project) -> None:
    """Adds the regions of images that have none yet.

    Raises:
        StateError: regions are known that were cut otherwise.
    """
    source, pool = project.source, project.pool
    ids = set(source.ids)
    known = (item for item in pool.items if item.is_region)
    if stray := next((i for i in known if i.id not in ids or source.within(i.id)[1] != i.region), None):
        raise StateError(
            f"{stray.id!r} was cut by other settings than {CONFIG_NAME} has now: put 'regions' back as it was"
        )
    new = [added(source, item) for item in source.ids if item not in pool]
    if new:
        project.store.append(new)
        project.forget()
