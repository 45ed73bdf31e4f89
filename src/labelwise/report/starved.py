"""What a study says of learners that got too little: read before any comparison is believed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from labelwise.campaign.starving import starved
from labelwise.report import wording

if TYPE_CHECKING:
    from labelwise.campaign.records import Study
    from labelwise.report.noise import Noise
    from labelwise.report.statistics import FloatArray


def short_trainings(study: Study) -> list[str]:
    """Trainings whose loss hardly fell, and bounds that leave too few steps; of warm starts the first rounds alone."""
    warm = study.settings.get("retrain") == "warm"
    rounds = [record for run in study.runs for record in run.rounds if not (warm and record.round)]
    phases = study.settings.get("phases")
    known = phases if isinstance(phases, list) else []
    return starved(rounds, [phase for phase in known if isinstance(phase, Mapping)])


def falling(values: Mapping[str, FloatArray], labels_B: FloatArray, noise: Noise | None, metric: str) -> str:
    """That a metric falls with more labels by more than the noise floor of training; "" elsewhere.

    Of each strategy the mean over seeds at a budget is held against its best before. Where there are many budgets a
    flat curve shows such a fall by chance more often than once in twenty: it is a sign to look, not a test.

    Args:
        values: strategy -> (R, B), higher = better.
        labels_B: label counts.
        noise: of training; without it, or where training has none, nothing is said.
        metric: its name.
    """
    if noise is None or noise.fixed:
        return ""
    found = []
    for name, values_RB in values.items():
        whole_RB = values_RB[np.isfinite(values_RB).all(axis=1)]
        means_B = whole_RB.mean(axis=0) if len(whole_RB) else np.empty(0)
        for later in range(1, means_B.size):
            best = int(means_B[:later].argmax())
            fall = float(means_B[best] - means_B[later])
            if fall > noise.between(best, later, len(whole_RB)):
                found.append((fall, name, best, later, means_B))
    if not found:
        return ""
    fall, name, best, later, means_B = max(found, key=lambda one: one[0])
    strategies = len({one[1] for one in found})
    return (
        f"More labels, not better: {wording.metric_name(metric)} of {name} goes from "
        f"{wording.value(abs(float(means_B[best])))} at {labels_B[best]:,.0f} labels to "
        f"{wording.value(abs(float(means_B[later])))} at {labels_B[later]:,.0f}, by more than the noise of training"
        f"{f' (and so with {strategies - 1} more)' if strategies > 1 else ''}. Train longer where there are more "
        "labels (epochs or min_steps of learner.phases), or look for wrong labels."
    )
