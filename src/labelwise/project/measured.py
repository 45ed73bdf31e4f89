"""How good a model is, on which images, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from labelwise.assemble import learner_kind, make_phases
from labelwise.campaign.measuring import CHOSEN
from labelwise.campaign.measuring import measure as judge
from labelwise.campaign.starving import at_chance, fell, starved
from labelwise.campaign.weighing import weigh, weighing_notes
from labelwise.errors import StateError
from labelwise.models.trunks import trunk_to_be_had
from labelwise.project.learning import Learning

if TYPE_CHECKING:
    from labelwise.exchange.incoming import Wishes
    from labelwise.project.project import Project

NO_TEST = (
    "no test image has a label, so nothing says how good the model is: 'labelwise holdout -n 50' draws some and asks "
    "for their labels"
)


@dataclass(frozen=True)
class Measured:
    """Metrics, and what they were measured on.

    Args:
        metrics: name -> value; {} where nothing could be measured.
        images: how many.
        on: what they are, in words.
        intervals: name -> both ends of the 95 % interval, for those that have one.
        notes: what people should know, one line each.
    """

    metrics: Mapping[str, float]
    images: int
    on: str
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def of_own_weights(project: Project) -> Measured:
    """Of the weights trained last, on the test images that have a label; else, where that is quick, cross-validated.

    Raises:
        StateError: nothing has been trained yet.
    """
    learning = Learning(project)
    campaign = learning.campaign()
    learning.last_fit(campaign)
    if campaign.setting.learner.weights is None:
        raise StateError("nothing has been trained yet: run 'labelwise fit' first")
    found = judge(campaign)
    return measured(project, found.metrics, found.ends)


def starving(project: Project) -> list[str]:
    """Signs that the training of the last round was too short, taught nothing, or made the model worse; said first.

    Kept of a round are its losses and its metrics, so nothing is trained or measured; labels of test images are looked
    at, to know what an answer that looks at no image would reach.
    """
    records, learning = project.records(), Learning(project)
    if not records or not project.config.classes:
        return []
    task = learning.task()
    phases = [asdict(phase) for phase in make_phases(project.config.learner, task)]
    last, metric = records[-1], task.metrics().primary
    tests = project.labels(("test",)) if last.tested else {}
    chance = task.chance(task.load(raw) for raw in tests.values()) if tests else None
    told = [at_chance(last, metric, chance), fell(records, metric)]
    learner = project.config.learner
    if learner.model is None and learner_kind(learner, task) == "torch":
        told.append(trunk_to_be_had(task.default_name))
    return starved([last], phases) + [line for line in told if line]


def of_file(project: Project, path: Path, wishes: Wishes) -> Measured:
    """Of somebody else's model: on the test images that have a label, else on all labelled images.

    Raises:
        StateError: no image has a label.
        FormatError: see :class:`labelwise.exchange.incoming.Incoming`.
    """
    learner, notes = Learning(project).imported(path, wishes)
    campaign = Learning(project).campaign(learner)
    pool = project.pool
    role = "test" if len(pool.with_role("test")) else "pool"
    positions = pool.with_role("test") if role == "test" else pool.labelled
    if not len(positions):
        raise StateError("no image has a label to measure against: import labels first")
    view = campaign.examples.of(positions, targets=True)
    weighed = weigh(campaign.examples, learner, project.progress) if role == "test" else None
    if weighed is not None:
        metrics: Mapping[str, float] = weighed.metrics
        notes = [*notes, *weighing_notes(pool, learner.task.averaged)]
    else:
        metrics = learner.evaluate(view, progress=project.progress)
    seen = sum(item in learner.ids for item in view.ids) if hasattr(learner, "ids") else len(view)
    if seen < len(view):
        notes = [*notes, f"{len(view) - seen:,} of {len(view):,} labelled images have no prediction and are left out"]
    if role == "pool":
        notes = [*notes, "measured on the labelled images, which were chosen and not drawn: the pool may differ"]
    on = "test images" if role == "test" else "labelled images"
    ends = _ends(metrics, seen) if weighed is None else weighed.ends
    return Measured(metrics, seen, on, ends, tuple(notes))


def measured(
    project: Project, metrics: Mapping[str, float], ends: Mapping[str, tuple[float, float]] = MappingProxyType({})
) -> Measured:
    """Metrics of the project's own model, with what is to be said of them.

    Args:
        project: whose they are.
        metrics: name -> value.
        ends: of their intervals, where test images are weighted.
    """
    tests = len(project.pool.with_role("test"))
    if tests and metrics:
        notes = tuple(weighing_notes(project.pool, project.task.averaged))
        return Measured(metrics, tests, "test images", ends or _ends(metrics, tests), notes)
    labelled = len(project.pool.labelled)
    return Measured(metrics, labelled, "labelled images", notes=(CHOSEN if metrics else NO_TEST,))


def _ends(metrics: Mapping[str, float], images: int) -> dict[str, tuple[float, float]]:
    from labelwise.report.statistics import wilson

    found = {name: wilson(value, images) for name, value in metrics.items() if name == "accuracy"}
    return {name: ends for name, ends in found.items() if math.isfinite(ends[0])}
