"""What every task promises, checked for every registered one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import painted
import shapes
import tiny
from labelwise.contracts.source import Source
from labelwise.contracts.task import Task
from labelwise.tasks import TASKS
from labelwise.testing.tasks import check_task

WORLDS: dict[str, tuple[Task[Any], Source]] = {
    "classification": (tiny.digits_task(), tiny.digits(8)),
    "detection": (shapes.task(), shapes.Shapes(8)),
    "segmentation": (painted.task(), painted.Painted(8)),
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
