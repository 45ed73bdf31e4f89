"""What to label next: a round is chosen, written down and given out."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from labelwise.campaign.asked import picks_again
from labelwise.campaign.events import added
from labelwise.contracts.oracle import Pick, Round
from labelwise.contracts.source import is_subject
from labelwise.errors import ConfigError, StateError
from labelwise.exchange.incoming import Wishes
from labelwise.project.images import CONFIG_NAME
from labelwise.project.joining import news
from labelwise.project.presence import gone_note, refuse_absent_disk, waiting

if TYPE_CHECKING:
    from labelwise.campaign.events import AskedAgain
    from labelwise.campaign.fits import Fitted
    from labelwise.campaign.loop import Campaign
    from labelwise.contracts.query import Budget
    from labelwise.contracts.strategy import Strategy
    from labelwise.project.learning import Learning
    from labelwise.project.project import Project


#: why nothing can be asked
NOTHING_LEFT = (
    "no image is left to ask: all are labelled, asked or skipped. Add images and run 'labelwise init' again, "
    "or drop open picks with 'labelwise cancel'"
)
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
        relabel: share of the round, at most, that asks about labels again which look wrong; None asks about none.
        among: items of which the picks are to be, as somebody marked them on a map; None: all.
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
    relabel: float | None = None
    among: Collection[str] | None = None


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
    if not len(project.pool.candidates) and how.relabel is None:
        raise StateError(NOTHING_LEFT)
    if not how.despite_missing:
        refuse_absent_disk(project)
    learning = Learning(project)
    chosen = learning.strategy(how.strategy, how.options)
    unit = _unit(project)
    there = _there(project, unit)
    usual = min(DEFAULT, there) if how.relabel is None else DEFAULT
    count = usual if how.budget is None else how.budget
    again, said = ([], []) if how.relabel is None else _again(learning, how, count, unit)
    if not again and not there:
        raise StateError(NOTHING_LEFT)
    if again and (len(again) == count or not there):
        return _only_again(project, learning.campaign(), again, said)
    size = None if count == "all" else Budget(min(count - len(again), there) if again else count, unit)
    if size is not None and size.counts_items:
        size.items(there)
    campaign, chosen, fitted, kept, notes = _ready(learning, chosen, size, how)
    if how.distinct is not False:
        from labelwise.project.looking import THRESHOLD, spare

        campaign.passed_over, left = spare(project, THRESHOLD if how.distinct is True else how.distinct)
        notes += left
    if how.among is not None:
        campaign.passed_over = {**campaign.passed_over, **_outside(project, how.among)}
    if size is None:
        found = campaign.choose(chosen, None)
        found = replace(found, notes=(*kept, *found.notes))
    else:
        found = campaign.suggest(chosen, size, fitted=fitted, notes=tuple(kept), again=again)
        picks = tuple(replace(pick, round=found.number, strategy=pick.strategy or found.strategy) for pick in found)
        found = replace(found, picks=picks)
    hungry = [] if fitted is None or size is None else starving(project)
    hungry += () if fitted is None else fitted.report.remarks
    return replace(found, classes=project.config.classes, notes=(*hungry, *notes, *said, *found.notes, *news(project)))


def _ready(
    learning: Learning, chosen: Strategy, size: Budget | None, how: Asking
) -> tuple[Campaign, Strategy, Fitted | None, list[str], list[str]]:
    """The campaign with the model that the strategy reads, what acts, its training, and notes on both."""
    if how.predictions is None:
        campaign = learning.campaign()
        chosen, fitted, kept = learning.ready(campaign, chosen, size, how.fit)
        return campaign, chosen, fitted, kept, learning.spoilt()
    kept = list[str]()
    learner, notes = learning.imported(how.predictions, how.wishes)
    campaign = learning.campaign(learner)
    informed = chosen.informed()
    if informed is not chosen and campaign.offer.meets(informed):
        kept = [f"{chosen.name} acts as {informed.name} here: the predictions are those of a trained model"]
        chosen = informed
    return campaign, chosen, None, kept, [*notes, *learning.lent(learner, chosen)]


def _again(
    learning: Learning, how: Asking, count: int | Literal["all"], unit: str
) -> tuple[list[AskedAgain], list[str]]:
    """Labels that the round asks about again, and what to know of them.

    Raises:
        ConfigError: a ranking, a file of predictions, or a budget that counts something else than items.
    """
    from labelwise.campaign.doubting import ask_again
    from labelwise.contracts.query import Budget

    if count == "all":
        raise ConfigError("--relabel mixes labels that look wrong into a round, and -n all asks nobody: give a number")
    if how.predictions is not None:
        raise ConfigError("--relabel holds labels against models that are trained for it: leave --predictions out")
    if learning.project.config.tool is not None:
        raise ConfigError(
            "people label on a server here, and what is answered there is not asked again: list labels with 'labelwise "
            "relabel' and correct them there, or leave --relabel out"
        )
    if not Budget(count, unit).counts_items:
        raise ConfigError(f"--relabel takes a share of picks, and this project counts {unit}: leave it out")
    return ask_again(learning.campaign(), how.relabel or 0.0, count)


def _only_again(project: Project, campaign: Campaign, again: Sequence[AskedAgain], notes: Sequence[str]) -> Round:
    """A round that asks about labels again, and about nothing new."""
    found = Round(
        campaign.pool.round, picks_again(project.source, again), again[0].strategy, project.config.classes, tuple(notes)
    )
    campaign.write(again, record=campaign.describe(None, found))
    return found


def _outside(project: Project, among: Collection[str]) -> dict[str, str]:
    """Every candidate that is none of these, and why it is left out.

    Raises:
        PoolError: an item that the project does not have.
        StateError: none of them may be asked.
    """
    pool = project.pool
    wanted = {pool.position(item) for item in among}
    candidates = pool.candidates.tolist()
    if not wanted.intersection(candidates):
        raise StateError(
            f"none of these {len(wanted):,} may be asked: they are labelled, asked, skipped or held out already"
        )
    return {pool.ids[position]: "outside what was marked" for position in candidates if position not in wanted}


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
    ignored += [f"--relabel {how.relabel:g}"] if how.relabel is not None else []
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
    strategies: dict[int, list[str]] = {}
    for query in queries:
        strategies.setdefault(query.round, []).append(query.strategy)
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
        strategy=" and ".join(dict.fromkeys(name for number in sorted(strategies) for name in strategies[number])),
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
