"""Training schemes: which phases they make, what rests in them, and what is refused before anything is trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from labelwise.assemble import check_names, make_learner, make_phases
from labelwise.config import LearnerConfig, RecipeConfig, parse
from labelwise.contracts.input import InputSpec
from labelwise.contracts.learner import Examples, LearnerData
from labelwise.data.arrays import ArraySource
from labelwise.errors import ConfigError
from labelwise.learners.fresh import FreshNets
from labelwise.learners.torch import TorchLearner
from labelwise.models.multiple_instance import MultipleInstance
from labelwise.schemes import SCHEMES
from labelwise.schemes.mi_aod import MiAod
from labelwise.tasks.classification import Classification
from labelwise.tasks.detection import Detection

TASK = Detection(("dot", "bar"), input=InputSpec((48, 48)), augment="none")
SMALL: dict[str, Any] = {"kind": "torch", "model": "centre"}


def learner_of(**more: Any) -> TorchLearner:
    made = make_learner(parse(LearnerConfig, {**SMALL, **more}, where="a test"), TASK, None)
    assert isinstance(made, TorchLearner)
    return made


def scenes(count: int) -> tuple[ArraySource, list[dict[str, Any]]]:
    """Bright squares and bars on noise; of every third image nothing."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 60, (count, 48, 48, 3)).astype(np.uint8)
    labels = []
    for number, image in enumerate(images):
        objects = []
        if number % 3:
            x, y = rng.integers(2, 20, 2)
            width = 12 if number % 2 else 24
            image[y : y + 12, x : x + width] = 230
            box = [float(x), float(y), float(x + width), float(y + 12)]
            objects.append({"class": "dot" if number % 2 else "bar", "box": box})
        labels.append({"size": [48, 48], "objects": objects})
    return ArraySource(images, classes=("dot", "bar")), labels


def data_of(labelled: int, unlabelled: int) -> LearnerData:
    source, labels = scenes(labelled + unlabelled)
    targets = tuple(TASK.load(label) for label in labels[:labelled])
    none = Examples(source, (), ())
    return LearnerData(
        Examples(source, source.ids[:labelled], targets), Examples(source, source.ids[labelled:]), none, none
    )


def test_the_published_order_and_shares() -> None:
    phases = MiAod().phases(TASK.phases)
    steps = [phase.options.get("step", "label_set") for phase in phases]
    assert steps == ["label_set", *["minimise", "maximise", "label_set"] * 2]
    assert [p.options.get("step", "label_set") for p in MiAod(order="maximise").phases(TASK.phases)][1] == "maximise"
    # steps over images with labels: as many as the task's own phase takes, three in label-set for one in each other
    labelled = [phase.min_steps / (2 if phase.batches == "alternate" else 1) for phase in phases]
    assert sum(labelled) == pytest.approx(TASK.phases[0].min_steps, rel=0.02)
    assert labelled[0] == pytest.approx(3 * labelled[1], rel=0.03)
    assert all(p.batches == "alternate" and p.unlabelled == "as_labelled" for p in phases if p.options.get("step"))
    assert [phase.average > 0 for phase in phases] == [False] * 6 + [True]


@pytest.mark.parametrize(
    ("step", "moving", "resting"),
    [
        ("minimise", ("detector.neck", "detector.sides", "mil"), ("detector.peaks", "second")),
        ("maximise", ("detector.peaks", "second"), ("detector.neck", "detector.sides", "detector.stem", "mil")),
    ],
)
def test_what_rests_in_a_phase_does_not_move_its_statistics_included(
    step: str, moving: tuple[str, ...], resting: tuple[str, ...]
) -> None:
    phase = next(p for p in MiAod().phases(TASK.phases) if p.options.get("step") == step)
    made = TorchLearner(TASK, "centre+mil", phases=[replace(phase, min_steps=4, epochs=1)])
    made.fit(data_of(6, 6), 0)
    after = made.networks.nets[0].state_dict()
    before = FreshNets(TASK, "centre+mil").make(0, 0, torch.device("cpu")).state_dict()
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert all(any(name.startswith(part) for name in changed) for part in moving)
    assert not [name for name in changed if name.startswith(resting)]


@pytest.mark.heavy
@pytest.mark.parametrize("scheme", ["mil", {"name": "mi_aod", "rounds": 1}])
def test_a_scheme_trains_and_tells_its_parts(scheme: Any) -> None:
    made = learner_of(scheme=scheme)
    made.phases = tuple(replace(phase, min_steps=phase.min_steps // 4, epochs=1) for phase in made.phases)
    report = made.fit(data_of(24, 12), 0)
    assert report.loss < 8
    assert {"centre", "sides", "image"} <= report.notes.keys()
    if scheme != "mil":
        assert 0 < report.notes["told gap"] < 1
        assert 0 <= report.notes["told guessed"] <= 1
        assert report.notes["gap"] >= 0


def test_schemes_are_refused_in_one_line_before_training() -> None:
    with pytest.raises(ConfigError, match="trains networks of detection, and the task is classification: leave it out"):
        make_phases(parse(LearnerConfig, {**SMALL, "scheme": "mil"}, where="x"), Classification(("a", "b")))
    with pytest.raises(ConfigError, match="scheme and phases both"):
        parse(LearnerConfig, {"scheme": "mil", "phases": [{"epochs": 1}]}, where="x")
    with pytest.raises(ConfigError, match="mi_aod"):
        make_phases(parse(LearnerConfig, {"scheme": "mi_oad"}, where="x"), TASK)
    with pytest.raises(ConfigError, match="has no dense class head"):
        TASK.named_model("faster_rcnn_resnet18+mil")
    recipe = {"task": "detection", "data": {"source": "x"}, "learner": {"kind": "torch", "model": "centre+mil@lite0"}}
    check_names(parse(RecipeConfig, {"name": "x", **recipe}, where="x"))


def test_schemes_are_known_by_name() -> None:
    assert SCHEMES.names() == ["mi_aod", "mil"]
    assert isinstance(TASK.named_model("centre+mil"), MultipleInstance)
    assert Path(SCHEMES.get("mil").__module__.replace(".", "/")).name == "mil"


@pytest.mark.heavy
def test_phases_that_need_images_without_labels_are_left_out_where_there_are_none() -> None:
    made = learner_of(scheme="mi_aod")
    made.phases = tuple(replace(phase, min_steps=2, max_steps=2, epochs=1) for phase in made.phases)
    report = made.fit(data_of(12, 0), 0)
    assert report.steps == 3 * 2
    assert report.notes["told phases left out"] == 4
