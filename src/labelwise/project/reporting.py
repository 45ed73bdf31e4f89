"""One page about a project: how far it is, what was asked, how good the model is."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from labelwise.campaign.asked import picks_of
from labelwise.campaign.fits import Fits
from labelwise.campaign.mistakes import check_map, mistakes
from labelwise.campaign.records import Mistakes
from labelwise.contracts.kind import in_full
from labelwise.contracts.oracle import Pick
from labelwise.contracts.picture import picture_of
from labelwise.errors import LabelwiseError
from labelwise.project.advising import advised
from labelwise.project.giving import SIDE, WIDE, pictures
from labelwise.project.learning import Learning
from labelwise.project.measured import starving
from labelwise.report.project import ProjectState, shown_of_a_round, write_project_report
from labelwise.studies.settings import environment

if TYPE_CHECKING:
    from labelwise.project.project import Project
    from labelwise.report.forecast import Told


def report(project: Project, out: Path) -> Path:
    """Writes the page.

    Raises:
        UnmetNeed: the map that the configuration wants needs a package that is not there.
    """
    config, pool, kind = project.config, project.pool, project.kind
    check_map(config.map)
    picks: dict[int, list[Pick]] = {}
    queries = pool.queries()
    for query, pick in zip(queries, picks_of(project.source, queries), strict=True):
        picks.setdefault(query.round, []).append(pick)
    learning = Learning(project)
    task = learning.task() if config.classes else None
    tests = len(pool.with_role("test"))
    untested = "" if tests else "No image is held out for testing, so nothing says how good the model is."
    one_class = tests > 0 and task is not None and "per_image" in task.provides
    labels = {} if kind.drawn else project.labels(("pool", "test"))
    told = {item: in_full(kind.objects(label, config.classes)) for item, label in labels.items()}
    found, blind = _mistakes(project, learning) if one_class else (None, "")
    advice, unsaid = _advice(project) if tests and task is not None else (None, "")
    state = ProjectState(
        name=project.folder.resolve().name,
        task=config.task.name,
        strategy=config.strategy.label,
        progress=project.progress_counts("image") if pool.has_regions else project.progress_counts(),
        regions=project.progress_counts("region") if pool.has_regions else {},
        rounds=project.records(),
        picks=picks,
        class_counts=kind.counts(project.labels().values(), config.classes) if config.classes else {},
        primary=task.metrics().primary if task is not None else "accuracy",
        cost=pool.cost(),
        measured_on=f"{tests} labelled test images" if tests else "",
        settings=config.model_dump(mode="json"),
        environment=environment(),
        warnings=[line for line in (*starving(project), untested, blind) if line],
        next_steps=[command for command, _ in project.next_steps()],
        mistakes=found,
        disputed=_disputed(project),
        given=told,
        fates=_fates(project),
        advice=advice,
        no_advice=unsaid,
    )
    if not kind.drawn:
        return write_project_report(state, out, image_of=partial(picture_of, project.source, side=SIDE))
    most = shown_of_a_round(max(1, len(picks)), drawn=True)
    ids = {pick.id for asked in picks.values() for pick in sorted(asked, key=lambda p: p.rank)[:most]}
    return write_project_report(state, out, image_of=pictures(project, sorted(ids))[0], side=WIDE)


def _fates(project: Project) -> dict[int, Counter[str]]:
    """Round -> what became of the model's guesses: of objects as the tool told it, of classes as they compare."""
    pool, kind = project.pool, project.kind
    found: dict[int, Counter[str]] = {}
    for query in pool.queries():
        position = pool.position(query.id)
        if not pool.labels.of(position):
            continue
        target = pool.target(position)
        told = list(kind.origins(target))
        if not kind.drawn and query.predicted is not None:
            told = ["accepted" if kind.objects(target, project.config.classes) == [query.predicted] else "corrected"]
        found.setdefault(query.round, Counter()).update(told)
    return {number: counts for number, counts in sorted(found.items()) if counts}


def _disputed(project: Project) -> dict[str, list[tuple[str, str, bool]]]:
    """Image -> who says what of it, and whether that is what counts."""
    pool, short = project.pool, project.kind.short
    found = {}
    for position in pool.labels.disputed():
        counts = pool.target(position)
        said = [(one.annotator, short(one.target), one.target == counts) for one in pool.labels.of(position)]
        found[pool.ids[position]] = said
    return found


def _advice(project: Project) -> tuple[Told | None, str]:
    """What more labels are likely to bring, or why that cannot be said."""
    try:
        return advised(project), ""
    except LabelwiseError as error:
        return None, str(error)


def _mistakes(project: Project, learning: Learning) -> tuple[Mistakes | None, str]:
    """What the model trained last gets wrong on the test images, or why that cannot be said."""
    if Fits(project.state / "fits").newest() is None:
        return None, ""
    try:
        campaign = learning.campaign()
        learning.last_fit(campaign)
        return mistakes(campaign, mapped=project.config.map), ""
    except LabelwiseError as error:  # a page about the rest is better than none
        return None, f"What is taken for what cannot be said: {error}"
