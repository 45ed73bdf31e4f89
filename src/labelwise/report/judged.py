"""The second view of a study: what each row picked, judged by one plain learner that was trained on it.

Dimension key: R seeds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from labelwise.campaign.records import RunRecord
from labelwise.config import OWN
from labelwise.report import wording
from labelwise.report.statistics import Interval, area, interval
from labelwise.report.summary import Summary, summarise


@dataclass(frozen=True)
class Judged:
    """A study by its judge.

    Args:
        learner: the judge.
        summary: of the same picks, every row trained by the judge.
        training: row -> by how much the metric over the curve is higher as trained than as judged, paired by seed: what
            the row's own training does. Rows that the judge trains itself are left out.
    """

    learner: str
    summary: Summary
    training: dict[str, Interval]

    @property
    def judge(self) -> str:
        """The judge as sentences name it."""
        return "the recipe's own learner" if self.learner == OWN else self.learner


def judged(summary: Summary) -> Judged | None:
    """The picks of a study as its judge sees them; None where no row was judged apart."""
    study, learner = summary.study, summary.study.settings.get("judge")
    replayed = list(dict.fromkeys(run.strategy for run in study.runs if run.judged))
    if not replayed or not isinstance(learner, str):
        return None
    base = summary.baseline
    plain = replace(
        study,
        name=f"{study.name}, picks judged by {learner}",
        runs=[_by_judge(run, learner) for run in study.runs],
        full=None if base in replayed else study.full,
        warnings=[],
    )
    found = summarise(plain, scale=summary.scale, baseline=base)
    return Judged(learner, found, {name: _training(summary, found, name) for name in replayed})


def _by_judge(run: RunRecord, learner: str) -> RunRecord:
    """A run whose rounds are the judge's trainings."""
    if not run.judged:
        return replace(run, learner=learner)
    return replace(run, rounds=run.judged, again=[], mistakes=None, judged=[], learner=learner)


def _training(summary: Summary, by_judge: Summary, name: str) -> Interval:
    own, plain = summary.curves, by_judge.curves
    if not own.labels_B.size or not np.array_equal(own.labels_B, plain.labels_B):
        return interval([])
    areas = [area(one.labels_B, one.values[name], scale=summary.scale) for one in (own, plain)]
    return interval(areas[0] - areas[1])


def judged_lead(found: Judged) -> str:
    """What the second view is, in words."""
    rows = [row.strategy for row in found.summary.rows if row.strategy not in found.training]
    text = (
        f"Above each row is shown as it was trained. Here {found.judge}, without heads of any method and with the "
        "seeds of the study, was trained on what each row had labelled, round by round: the curves differ by the picks "
        "alone."
    )
    own = ", ".join(rows)
    return (
        f"{text} {own}: {'trains' if len(rows) == 1 else 'train'} {found.judge} as it is, one curve." if rows else text
    )


def said(found: Judged) -> str:
    """What the training of the rows gives beyond their picks, in a line."""
    metric = wording.metric_name(found.summary.study.primary)
    parts = [
        f"{name} {wording.signed(gain.mean)}" + (f" ({wording.limits(gain)})" if np.isfinite(gain.low) else "")
        for name, gain in found.training.items()
        if gain.n
    ]
    return (
        f"What the training itself gives, mean {metric} over the curve as trained less as judged: {'; '.join(parts)}."
    )
