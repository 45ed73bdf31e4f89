"""What every task promises, checked for every registered one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import painted
import posed
import shapes
import tiny
from labelwise.contracts.source import Source
from labelwise.contracts.task import Outputs, Task
from labelwise.tasks import TASKS
from labelwise.testing.tasks import check_task

WORLDS: dict[str, tuple[Task[Any], Source]] = {
    "classification": (tiny.digits_task(), tiny.digits(8)),
    "multi_label": (tiny.pairs_task(), tiny.pairs(8)),
    "detection": (shapes.task(), shapes.Shapes(8)),
    "segmentation": (painted.task(), painted.Painted(8)),
    "keypoints": (posed.task(), posed.Posed(8)),
}


@pytest.mark.parametrize("name", TASKS.names())
def test_a_task_keeps_its_contract(name):
    assert name in WORLDS, f"add some labelled images for {name!r} to this file"
    task, source = WORLDS[name]
    images = [np.asarray(source.load(item)) for item in source.ids]
    check_task(task, images, [source.truth[item] for item in source.ids])


@pytest.mark.parametrize("augment", ["shift", "shift_flip", "crop_flip"])
def test_augmented_classification_keeps_it_too(augment):
    source = tiny.digits(8)
    images = [np.asarray(source.load(item)) for item in source.ids]
    check_task(tiny.digits_task(augment), images, [source.truth[item] for item in source.ids])


@pytest.mark.parametrize("name", TASKS.names())
def test_the_best_answer_that_looks_at_no_image_is_measured_as_stated(name):
    """Its own metric, of one answer for all images, is the level that a task states."""
    task, source = WORLDS[name]
    targets = [task.load(source.truth[item]) for item in source.ids]
    chance = task.chance(iter(targets))
    assert chance is not None
    assert chance.beaten(1.0)
    assert not chance.beaten(chance.level)
    assert not chance.beaten(float("nan"))
    if name == "detection":
        assert chance.level == 0
        return
    if name == "keypoints":  # held to its own metric in tests/reference/test_keypoint_metrics.py
        assert 0 < chance.level < 1
        return
    if name == "multi_label":
        metrics = task.metrics()
        metrics.update(Outputs.of_images(torch.full((len(targets), len(task.classes)), 0.5), exclusive=False), targets)
        assert metrics.compute()["map"] == pytest.approx(chance.level)
        return
    values = []
    for cls in range(len(task.classes)):
        metrics = task.metrics()
        for target in targets:
            units = 1 if name == "classification" else task.input.size[0] * task.input.size[1]
            probs_UC = torch.zeros(units, len(task.classes))
            probs_UC[:, cls] = 1
            metrics.update(Outputs(1, torch.zeros(units, dtype=torch.int64), probs_UC), [target])
        values.append(metrics.compute()[metrics.primary])
    assert chance.level == pytest.approx(max(values))
    if name == "classification":
        assert chance.images == len(targets)
