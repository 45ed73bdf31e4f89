"""Recipes of published studies, too long to run in a test: what can be known before a training is checked."""

from __future__ import annotations

import numpy as np
import pytest

import painted
import shapes
from labelwise.contracts.source import Source
from labelwise.data.arrays import ArraySource
from labelwise.recipes import find as shipped_plan
from labelwise.recipes import shipped
from labelwise.studies.comparison import Comparison
from labelwise.studies.data import open_labelled

NAMES = [name for name in shipped() if name.startswith("superannotate-")]


def _made_up(task: str, channels: int) -> Source:
    if task == "detection":
        return shapes.Shapes(40, test=8)
    if task == "segmentation":
        return painted.Painted(40, test=8)
    images = np.random.default_rng(0).integers(0, 256, (200, 12, 12, channels)).astype(np.uint8)
    return ArraySource(images, labels=np.arange(200) % 10, roles=["pool"] * 180 + ["test"] * 20)


def test_all_of_them_are_looked_at():
    assert len(NAMES) == 8


@pytest.mark.heavy
@pytest.mark.parametrize("name", NAMES)
def test_rows_learners_and_networks_are_there(name, tmp_path):
    """On a few made-up images of the recipe's kind: data that large is not at hand everywhere, nor are weights."""
    few = {"initial": 4, "batch": 4, "rounds": 1, "seeds": 1, "data": {"subset": None}, "learner": {"weights": None}}
    small = {"input": {"size": [64, 96]}} if "cityscapes" in name else {}
    recipe = shipped_plan(name, {**few, **small}).recipe
    source = _made_up(recipe.task.name, recipe.input.channels)
    study = Comparison(recipe, open_labelled(recipe, base=tmp_path, source=source), tmp_path)
    study.check()
    assert recipe.judge == "learner" or "superpixels" in name


def test_published_constants():
    cifar, ssd, streets = (
        shipped_plan(f"superannotate-{name}").recipe for name in ("cifar10", "voc-ssd", "cityscapes")
    )
    assert (cifar.initial, cifar.batch, cifar.rounds) == (ssd.initial, ssd.batch, ssd.rounds) == (1000, 1000, 9)
    assert (streets.initial, streets.batch, streets.rounds) == (150, 150, 9)
    shown = [(p.epochs, p.batch_size, p.lr, p.milestones) for r in (cifar, ssd, streets) for p in r.learner.phases]
    assert shown == [(200, 128, 0.1, (160,)), (300, 32, 0.001, (240,)), (250, 4, 0.01, (100, 200))]
    dropout = streets.learners["dropout"]
    assert dropout.model == "drn_d_22_dropout"
    assert dropout.phases == streets.learner.phases
