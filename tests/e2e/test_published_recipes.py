"""Recipes of published studies, too long to run in a test: what can be known before a training is checked."""

from __future__ import annotations

import numpy as np
import pytest

import painted
import posed
import shapes
from labelwise.assemble import make_strategy
from labelwise.contracts.source import Source
from labelwise.data.arrays import ArraySource
from labelwise.recipes import find as shipped_plan
from labelwise.recipes import shipped
from labelwise.studies.comparison import Comparison
from labelwise.studies.data import open_labelled

#: recipes of images so large that a pass over one takes seconds here
LARGE = ("superannotate-cityscapes", "isal-coco", "isal-voc")
NAMES = [name for name in shipped() if name.startswith(("superannotate-", "mi-aod-", "isal-"))]


def _made_up(task: str, channels: int) -> Source:
    if task == "detection":
        return shapes.Shapes(60, test=8)
    if task == "keypoints":
        return posed.Posed(40, test=8)
    if task == "segmentation":
        return painted.Painted(40, test=8)
    images = np.random.default_rng(0).integers(0, 256, (400, 12, 12, channels)).astype(np.uint8)
    return ArraySource(images, labels=np.arange(400) % 10, roles=["pool"] * 380 + ["test"] * 20)


def validated(source: Source) -> Source:
    """A source that has a validation split and no test split."""
    source.roles = {item: "validation" if role == "test" else role for item, role in source.roles.items()}
    return source


def test_all_of_them_are_looked_at():
    assert len(NAMES) == 24


@pytest.mark.heavy
@pytest.mark.parametrize("name", NAMES)
def test_rows_learners_and_networks_are_there(name, tmp_path):
    """On a few made-up images of the recipe's kind: data that large is not at hand everywhere, nor are weights."""
    data = {"subset": None, "test_subset": None}
    few = {"initial": 4, "batch": 4, "rounds": 1, "seeds": 1, "data": data, "learner": {"weights": None}}
    small = {"input": {"size": [64, 96]}} if name.startswith(LARGE) else {}
    if name == "superannotate-coco-pose":  # arrows have no upper body by the names of their points
        small["task"] = {"options": {"half": ["tip"]}}
    others = shipped_plan(name).recipe.learners
    own = {key: {**other.model_dump(exclude_unset=True), "weights": None} for key, other in others.items()}
    recipe = shipped_plan(name, {**few, **small, **({"learners": own} if own else {})}).recipe
    source = _made_up(recipe.task.name, recipe.input.channels)
    source = validated(source) if recipe.data.measure_on == "validation" else source
    study = Comparison(recipe, open_labelled(recipe, base=tmp_path, source=source), tmp_path)
    study.check()
    assert recipe.judge == "learner" or "superpixels" in name or name.startswith("isal-")


def test_published_schedules_of_multiple_instances():
    """Epochs over images with labels: 26 of RetinaNet, on data read twice, and 304 of SSD; the last phase cools."""
    for name, each, others, size in (("voc-retinanet", 6, 2, 2), ("voc-ssd", 80, 16, 8), ("coco", 6, 2, 2)):
        recipe = shipped_plan(f"mi-aod-{name}").recipe
        phases = recipe.learners["mi_aod"].phases
        steps = [phase.options.get("step", "label_set") for phase in phases]
        assert steps == ["label_set", *["minimise", "maximise", "label_set"] * 2]
        assert [phase.epochs for phase in phases] == [each, others, others, each, others, others, each]
        assert sum(phase.epochs for phase in phases) == recipe.learner.phases[0].epochs / (2 if size == 2 else 1)
        assert {(phase.batch_size, phase.lr, phase.weight_decay) for phase in phases} == {(size, 0.001, 0.0005)}
        assert [phase.schedule for phase in phases] == ["constant"] * 6 + ["steps"]


def test_published_constants_of_influence():
    """Images asked, epochs and milestones; and whose labels the published rows go along, which reports flag."""
    asked = {
        "cifar10": (1000, 1000, 9),
        "cifar100": (1000, 1000, 9),
        "svhn": (1466, 1466, 9),
        "coco-fcos": (5000, 1000, 19),
        "coco-faster-rcnn": (5000, 1000, 9),
        "voc": (500, 250, 9),
    }
    for name, numbers in asked.items():
        recipe = shipped_plan(f"isal-{name}").recipe
        assert (recipe.initial, recipe.batch, recipe.rounds) == numbers
        (phase,) = recipe.learner.phases
        shown = (phase.epochs, phase.batch_size, phase.lr, phase.weight_decay, phase.milestones, phase.nesterov)
        boxes = recipe.task.name == "detection"
        assert shown == ((12, 8, 0.01, 1e-4, (8, 11), False) if boxes else (200, 128, 0.1, 5e-4, (160,), False))
        (published,) = [row for row in recipe.strategies if row.label == "influence as published"]
        assert make_strategy(published).signal.along == "test"
        fair = [row for row in recipe.strategies if row.name == "influence" and "preset" not in row.options]
        assert make_strategy(fair[0]).signal.along == "labelled"


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


def test_published_constants_of_poses():
    recipe = shipped_plan("superannotate-coco-pose").recipe
    assert (recipe.initial, recipe.batch, recipe.rounds) == (5000, 5000, 9)
    (phase,) = recipe.learner.phases
    assert (phase.epochs, phase.batch_size, phase.lr, phase.weight_decay, phase.schedule) == (
        100,
        64,
        1e-3,
        0,
        "constant",
    )
    published = {"augment": "all", "degrees": 45, "half_body": 0.3, "by": "squares", "sigma": 2, "flip_test": True}
    assert recipe.task.options == published
    assert recipe.input.size == (256, 192)
