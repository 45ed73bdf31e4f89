"""Learners that got too few steps say so, in projects and in studies; those that had enough are left in peace."""

from __future__ import annotations

import numpy as np
import pytest
from test_noise import LABELS, made, noisy_study

import tiny
from labelwise.campaign.records import RoundRecord
from labelwise.campaign.starving import fell, hardly_fell, starved
from labelwise.contracts.learner import Phase
from labelwise.report.checklist import checklist
from labelwise.report.summary import summarise


def record(losses, *, steps=300, labels=40, key="a", **more):
    return RoundRecord(round=0, labels=labels, metrics={}, losses=list(losses), steps=steps, fit_key=key, **more)


SETTLED = [2.3, 1.2, 0.6, 0.3, 0.2, 0.12, 0.1, 0.08, 0.07, 0.07]


@pytest.mark.parametrize(
    ("losses", "short"),
    [
        (SETTLED, False),
        ([2.3, 2.28, 2.25, 2.2, 2.15, 2.1, 2.0, 1.97, 1.95, 1.94], True),  # flat at the end, as a cosine makes it
        ([2.3, 2.1, 1.9, 1.7, 1.5, 1.3, 1.1, 0.9, 0.8, 0.7], True),  # below half, and still falling
        ([2.3, 2.0], False),
        ([2.3, 2.2, float("nan"), 2.2], False),
        ([], False),
    ],
)
def test_losses_that_hardly_fell(losses, short):
    assert hardly_fell(losses) is short


def test_what_to_do_is_said_once_for_each_training():
    short = record([2.3, 2.2, 2.1, 2.0], steps=30, key="b")
    assert starved([record(SETTLED)]) == []
    (line,) = starved([record(SETTLED), short, short])
    assert line.startswith("1 of 2 trainings may be too short to learn from")
    assert "at 40 labels, 30 steps: from 2.3 to 2" in line
    assert "{phases: [{min_steps: 300, ...}]}" in line
    assert len(line) <= 300
    assert starved([short])[0].startswith("the training may be too short")


def test_a_bound_that_leaves_too_few_steps_is_said():
    few = record(SETTLED, steps=48)
    (line,) = starved([few], [{"max_steps": 50}])
    assert line.startswith("max_steps: 50 allows fewer than 100 steps")
    assert starved([few], [{"max_steps": None}]) == []
    assert starved([few], [{"max_steps": 4000}]) == []


def test_a_project_whose_model_became_worse():
    def measured(value, labels, metric="accuracy"):
        return RoundRecord(round=labels, labels=labels, metrics={metric: value}, tested=100)

    assert fell([measured(0.6, 20), measured(0.55, 40)], "accuracy") == "", "within what 100 images leave open"
    line = fell([measured(0.6, 20), measured(0.5, 30), measured(0.4, 40)], "accuracy")
    assert line.startswith("more labels, not better: accuracy fell from 0.600 with 20 labels to 0.400 with 40.")
    assert fell([measured(0.396, 40, "map"), measured(0.292, 80, "map")], "map")
    assert fell([measured(0.396, 40, "map"), measured(0.38, 80, "map")], "map") == ""
    assert fell([measured(0.6, 20)], "accuracy") == ""


def test_a_study_says_it_before_all_else():
    study = noisy_study(np.random.default_rng(2), widths=(0.002,) * 3)
    assert not any("labels, not better" in note for note in summarise(study).notes)
    for run in study.runs:
        # the run of the baseline falls in its last round, by far more than two trainings lie apart
        if run.strategy == "random":
            run.rounds[1] = made(1, run.rounds[1].metrics["accuracy"] + 0.3, run.rounds[1].fit_key)
        run.rounds[:] = [
            RoundRecord.from_json(r.to_json() | {"losses": [2.3, 2.2, 2.1, 2.0], "steps": 10 * (i + 1)})
            for i, r in enumerate(run.rounds)
        ]
    summary = summarise(study)
    assert summary.notes[0].startswith("25 of 25 trainings may be too short to learn from")
    assert summary.notes[1].startswith("More labels, not better: accuracy of random goes from 0.8")
    assert f"at {LABELS[1]} labels to 0.7" in summary.notes[1]
    line = next(line for line in checklist(summary) if line.question.startswith("Same framework"))
    assert line.value == "one learner and recipe for all runs: 10 to 30 steps"


def test_losses_reach_the_record_of_a_round(tmp_path):
    source = tiny.digits(30)
    learner = tiny.torch_learner(phases=[Phase(epochs=5, batch_size=16)])
    campaign = tiny.campaign(tmp_path, source, learner, labelled=source.ids[:20])
    fitted = campaign.fit()
    campaign.write([], record=campaign.describe(fitted))
    kept = RoundRecord.from_json(campaign.store.rounds()[0])
    assert kept.losses == list(fitted.report.losses)
    assert len(kept.losses) == 5
    assert kept.steps == 10
