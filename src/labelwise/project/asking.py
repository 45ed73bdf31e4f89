"""What to label next: a round is chosen, written down and given out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from labelwise.campaign.events import added
from labelwise.contracts.oracle import Pick, Round
from labelwise.errors import StateError
from labelwise.exchange.incoming import Wishes
from labelwise.project.images import CONFIG_NAME
from labelwise.project.joining import news
from labelwise.project.presence import gone_note, refuse_absent_disk, waiting

if TYPE_CHECKING:
    from labelwise.contracts.strategy import Strategy
    from labelwise.project.project import Project


@dataclass(frozen=True)
class Asking:
    """How a round is chosen.

    Args:
        budget: how many; ``all`` ranks everything and asks nobody.
        strategy: a name or a ``Strategy``; None: the project's own.
        options: of a strategy given by name.
        predictions: somebody else's predictions; no model is trained then.
        wishes: how to read them.
        fit: train first if labels are newer than the weights.
        more: open another round although one is open.
        despite_missing: choose though most image files are not there.
    """

    budget: int | Literal["all"] = 100
    strategy: str | Strategy | None = None
    options: Mapping[str, Any] | None = None
    predictions: Path | None = None
    wishes: Wishes = field(default_factory=Wishes)
    fit: bool = True
    more: bool = False
    despite_missing: bool = False


def suggest(project: Project, how: Asking) -> Round:
    """What to label next; see :meth:`Project.suggest`."""
    # what chooses loads torch; the round that is open does not
    from labelwise.contracts.query import Budget
    from labelwise.project.learning import Learning

    if len(project.pool.pending) and not how.more and how.budget != "all":
        return open_round(project)
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
    size = None if how.budget == "all" else Budget(how.budget, _unit(project))
    if size is not None and size.counts_items:
        size.items(len(project.pool.candidates))
    fitted, notes = None, list[str]()
    if how.predictions is None:
        campaign = learning.campaign()
        chosen, fitted, notes = learning.ready(campaign, chosen, how.fit)
        notes += learning.spoilt()
    else:
        learner, notes = learning.imported(how.predictions, how.wishes)
        campaign = learning.campaign(learner)
        notes += learning.lent(learner, chosen)
    found = campaign.choose(chosen, None) if size is None else campaign.suggest(chosen, size, fitted=fitted)
    return replace(found, classes=project.config.classes, notes=(*notes, *found.notes, *news(project)))


def _unit(project: Project) -> str:
    """What budgets count now: images until one has a label, then as ``regions`` says."""
    regions = project.config.regions
    return "images" if regions is None or not len(project.pool.labelled) else regions.unit


def noun_of(project: Project, picks: Sequence[Pick]) -> Literal["image", "region"]:
    """What these picks are."""
    return "region" if picks and all(project.source.within(pick.id)[1] for pick in picks) else "image"


def open_round(project: Project) -> Round:
    """The unanswered picks of the round that is open."""
    pool = project.pool
    there, gone = waiting(project)
    queries = [query for item in there + gone if (query := pool.query(pool.position(item))) is not None]
    last = max(queries, key=lambda query: query.round)
    queries = queries[: len(there)]
    path = project.source.path
    picks = tuple(Pick(q.id, path(q.id), q.rank, q.score, q.predicted, q.probability) for q in queries)
    note = (
        f"round {last.round} is open: {len(picks)} of its picks are unanswered, here they are again. Import labels "
        "for them, ask for more with --more, or drop them with 'labelwise cancel'"
    )
    return Round(
        number=last.round,
        picks=picks,
        strategy=last.strategy,
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
    known = (item for item in pool.items if item.region is not None)
    if stray := next((i for i in known if i.id not in ids or source.within(i.id)[1] != i.region), None):
        raise StateError(
            f"{stray.id!r} was cut by other settings than {CONFIG_NAME} has now: put 'regions' back as it was"
        )
    new = [added(source, item) for item in source.ids if item not in pool]
    if new:
        project.store.append(new)
        project.forget()
