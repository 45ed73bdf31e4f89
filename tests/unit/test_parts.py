"""Named parts of a loss over a training: what is kept of them, and how they are drawn."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from labelwise.campaign.records import RoundRecord, RunRecord
from labelwise.learners.parts import MOST, Course
from labelwise.report.curves import Look
from labelwise.report.trainings import _with_gaps, by_row, parts_picture, shown_trainings


def test_means_stand_at_the_middle_of_their_epochs():
    course = Course()
    course.add(0, 10, {"boxes": 4.0})
    course.add(10, 20, {"boxes": 3.0, "told gap": 0.5})
    course.add(20, 40, {"boxes": 1.0})
    assert course.curves() == {"boxes": ((0.125, 4.0), (0.375, 3.0), (0.75, 1.0)), "told gap": ((0.375, 0.5),)}
    assert course.last == {"boxes": 1.0, "told gap": 0.5}


@pytest.mark.parametrize("epochs", [1, MOST, MOST + 1, 999])
def test_long_trainings_are_thinned_and_nothing_is_left_out(epochs):
    course = Course()
    for number in range(epochs):
        course.add(number, number + 1, {"boxes": float(number)})
    line = course.curves()["boxes"]
    assert len(line) == min(MOST, epochs)
    # values are the epochs' numbers: each place is where its mean is
    assert [value + 0.5 for _, value in line] == pytest.approx([where * epochs for where, _ in line], rel=1e-4)
    assert line[0][1] <= epochs / MOST
    assert line[-1][1] >= epochs - 1 - epochs / MOST


def test_a_record_keeps_them():
    record = RoundRecord(
        round=0, labels=4, metrics={}, parts={"boxes": [[0.5, 1.0]], "told gap": [[0.5, float("nan")]]}
    )
    again = RoundRecord.from_json(record.to_json())
    assert again.parts["boxes"] == [[0.5, 1.0]]
    assert np.isnan(again.parts["told gap"][0][1])
    assert RoundRecord.from_json({"round": 0, "labels": 4, "metrics": {}}).parts == {}


def test_lines_break_where_a_phase_lacks_the_part():
    assert _with_gaps([]) == ([], [])
    where, values = _with_gaps([[0.1, 1.0], [0.15, 2.0], [0.2, 3.0], [0.6, 4.0], [0.65, 5.0]])
    assert where[:3] == [0.1, 0.15, 0.2]
    assert np.isnan(where[3])
    assert np.isnan(values[3])
    assert values[4:] == [4.0, 5.0]


def _rounds(*parts):
    return [RoundRecord(round=n, labels=n, metrics={}, parts=found) for n, found in enumerate(parts)]


def test_rows_show_the_last_training_of_their_first_seed():
    one, two = {"a": [[0.5, 1.0]]}, {"a": [[0.5, 2.0]]}
    runs = [
        RunRecord(strategy="x", seed=1, rounds=_rounds(two)),
        RunRecord(strategy="x", seed=0, rounds=_rounds(two, one, {})),
        RunRecord(strategy="plain", seed=0, rounds=_rounds({})),
    ]
    assert by_row(runs) == {"x": one}
    assert shown_trainings({"": {}}, {}, None) is None


@pytest.mark.parametrize("look", [Look(), Look(dark=True, width=4.0, height=3.3, dpi=190, transparent=True)])
def test_each_part_has_a_panel_and_a_legend_where_there_are_names(look):
    lines = {name: [[0.25, 1.0], [0.75, 0.5]] for name in ("boxes", "sides", "told gap")}
    drawn = [
        np.asarray(Image.open(io.BytesIO(parts_picture(found, list(lines), looks, look))).convert("RGB"))
        for found, looks in (
            ({"": lines}, {"": look.style(0, baseline=False)}),
            (
                {"random": lines, "$_x": {}},
                {"random": look.style(0, baseline=True), "$_x": look.style(0, baseline=False)},
            ),
        )
    ]
    assert drawn[1].shape[0] > drawn[0].shape[0], "names take room"
    assert drawn[0].shape[1] == drawn[1].shape[1] == round(look.width * look.dpi)
