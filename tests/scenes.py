"""What tests of drawn scenes share, whatever is labelled: views with labels, and what a training may look at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from labelwise.campaign.records import Study
from labelwise.contracts.learner import Examples, LearnerData
from labelwise.contracts.source import Source
from labelwise.contracts.task import Task


def view(
    task: Callable[[], Task[Any]], source: Source, ids: Sequence[str] | None = None, *, labels: bool = True
) -> Examples:
    chosen = tuple(source.ids) if ids is None else tuple(ids)
    return Examples(source, chosen, tuple(task().load(source.truth[item]) for item in chosen) if labels else None)


def learner_data(
    task: Callable[[], Task[Any]], source: Source, labelled: Sequence[str], *, reference: Sequence[str] = ()
) -> LearnerData:
    taken = {*labelled, *reference}
    rest = [item for item in source.ids if item not in taken]
    return LearnerData(
        view(task, source, labelled),
        view(task, source, rest, labels=False),
        view(task, source, ()),
        view(task, source, reference),
    )


def picks_of(study: Study) -> dict[str, list[list[str]]]:
    """What each strategy picked, round by round."""
    return {run.strategy: [record.picked for record in run.rounds] for run in study.runs}


class BrokenOff(Exception):
    """A study is ended from outside."""
