"""The page about a project: rounds, picks, classes, what the model gets wrong."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from labelwise.assemble import make_strategy, make_task
from labelwise.campaign.fits import Fits
from labelwise.campaign.mistakes import check_map, mistakes
from labelwise.contracts.oracle import Pick
from labelwise.drawing.boxes import SIDE
from labelwise.errors import LabelwiseError
from labelwise.project.training import last_fit
from labelwise.report.project import ProjectState, shown_of_a_round, write_project_report
from labelwise.studies.settings import environment

if TYPE_CHECKING:
    from labelwise.campaign.records import Mistakes
    from labelwise.contracts.task import Task
    from labelwise.project.project import Project


def report(project: Project, out: Path) -> Path:
    """As ``Project.report``."""
    check_map(project.config.map)
    picks: dict[int, list[Pick]] = {}
    for q in project.pool.queries():
        pick = Pick(q.id, project.source.path(q.id), q.rank, q.score, q.predicted, q.probability)
        picks.setdefault(q.round, []).append(pick)
    state = _state(project, picks)
    if not project.formats:
        return write_project_report(state, out, image_of=project.image_of)
    most = shown_of_a_round(max(1, len(picks)))
    ids = {pick.id for asked in picks.values() for pick in sorted(asked, key=lambda p: p.rank)[:most]}
    return write_project_report(state, out, image_of=project.pictures(sorted(ids)), side=2 * SIDE + 8)


def _state(project: Project, picks: dict[int, list[Pick]]) -> ProjectState:
    pool, config = project.pool, project.config
    task = make_task(config.task, config.classes, config.input) if config.classes else None
    tests = len(pool.with_role("test"))
    untested = "" if tests else "No image is held out for testing, so nothing says how good the model is."
    one_class = tests > 0 and task is not None and "per_image" in task.provides
    found, blind = _mistakes(project) if one_class else (None, "")
    return ProjectState(
        name=project.folder.resolve().name,
        task=config.task,
        strategy=config.strategy.label,
        progress=project.progress_counts(),
        rounds=project.records(),
        picks=picks,
        class_counts=_counts(project, task),
        primary=task.metrics().primary if task is not None else "accuracy",
        cost=pool.cost(),
        measured_on=f"{tests} labelled test images" if tests else "",
        settings=config.model_dump(mode="json"),
        environment=environment(),
        warnings=[line for line in (untested, blind) if line],
        next_steps=project.next_steps(),
        mistakes=found,
    )


def _counts(project: Project, task: Task[Any] | None) -> dict[str, int]:
    pool = project.pool
    return {} if task is None else task.kind.counts(map(pool.target, pool.labelled), task.classes)


def _mistakes(project: Project) -> tuple[Mistakes | None, str]:
    """What the model trained last gets wrong on the test images, or why that cannot be said."""
    if Fits(project.state / "fits").newest() is None:
        return None, ""
    try:
        campaign = project.campaign()
        last_fit(campaign, make_strategy(project.config.strategy))
        return mistakes(campaign, mapped=project.config.map), ""
    except LabelwiseError as error:  # a page about the rest is better than none
        return None, f"What is taken for what cannot be said: {error}"
