"""Detectors in the one training and inference loop, from YAML, and in a simulated study."""

from __future__ import annotations

import json
import threading

import numpy as np
import pytest
import torch

import shapes
import tiny
from labelwise.assemble import check_names, make_learner, make_task
from labelwise.config import InputConfig, ProjectConfig, RecipeConfig, parse
from labelwise.contracts.input import InputSpec
from labelwise.contracts.learner import Phase
from labelwise.contracts.oracle import Answer
from labelwise.contracts.query import Budget
from labelwise.data.loader import PreparedImages, ahead, batches
from labelwise.errors import ConfigError, DataError
from labelwise.learners.torch import TorchLearner
from labelwise.signals import Embedding, Uncertainty, Units
from labelwise.strategies import STRATEGIES
from labelwise.studies.comparison import Comparison
from labelwise.tasks.detection import Detection

ONE_STEP = (Phase(epochs=1, batch_size=2, lr=1e-4),)


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("model", "side"),
    [
        ("fcos_resnet18", 64),
        ("retinanet_resnet18", 64),
        ("faster_rcnn_resnet18", 64),
        ("ssdlite320", 64),
        pytest.param("ssd300_vgg16", 268, marks=pytest.mark.heavy),
    ],
)
def test_every_family_trains_a_step_is_evaluated_and_queried(model, side, tmp_path):
    source = shapes.Shapes(4)
    task = Detection(shapes.CLASSES, InputSpec((side, side)), threshold=0.0, top=5)
    learner = TorchLearner(task, model, phases=ONE_STEP, batch_size=2)
    # batch norm needs two; SSD has none, and is slow
    labelled = source.ids[:1] if model == "ssd300_vgg16" else source.ids[:2]
    campaign = tiny.campaign(tmp_path, source, learner, labelled=labelled, fits=None)
    fitted = campaign.fit()
    assert fitted.report.steps == 1
    assert np.isfinite(fitted.report.loss)
    assert 0 <= learner.evaluate(campaign.examples.of(campaign.pool.labelled, targets=True))["map"] <= 1
    assert len(campaign.choose(STRATEGIES.create("entropy"), Budget(2)).picks) == 2
    wanted = frozenset({Embedding(), Units(), Units("probs")})
    table = learner.collect(campaign.examples.of(campaign.pool.unlabelled), wanted)
    assert table[Embedding()].shape[0] == 4 - len(labelled)
    assert np.diff(table.ragged(Units())[1]).tolist() == [5] * (4 - len(labelled))
    assert np.isfinite(table.ragged(Units())[0]).all()


def test_the_small_one_learns():
    source, learner = shapes.trained()
    metrics = learner.evaluate(shapes.view(source, source.ids[60:]))
    assert metrics["map50"] > 0.9
    assert metrics["map"] > 0.35


def test_weights_are_kept_and_found_again(tmp_path):
    source, learner = shapes.trained()
    learner.save(tmp_path)
    again = shapes.learner()
    again.load(tmp_path, learner.weights)
    view = shapes.view(source, source.ids[:10], labels=False)
    signals = frozenset({Uncertainty("entropy", "sum"), Units("boxes")})
    first, second = learner.collect(view, signals), again.collect(view, signals)
    np.testing.assert_array_equal(first[Uncertainty("entropy", "sum")], second[Uncertainty("entropy", "sum")])
    np.testing.assert_array_equal(first.ragged(Units("boxes"))[0], second.ragged(Units("boxes"))[0])


def test_the_same_data_and_seed_give_the_same_weights_and_labels_are_part_of_the_key():
    source = shapes.Shapes(10)
    data = shapes.learner_data(source, source.ids[:8])
    phases = (Phase(epochs=2, batch_size=4),)
    fits = [TorchLearner(shapes.task(augment="all"), shapes.narrow, phases=phases) for _ in range(2)]
    for learner in fits:
        learner.fit(data, 3)
    states = [learner.networks.nets[0].state_dict() for learner in fits]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert fits[0].weights == fits[1].weights
    moved = dict(source.truth)
    moved[source.ids[0]] = {**moved[source.ids[0]], "objects": [{"class": "disc", "box": [1, 2, 9, 9]}]}
    source.truth = moved
    assert fits[0].fit_key(shapes.learner_data(source, source.ids[:8]), 3) != fits[0].weights


def test_an_embedding_of_ones_choice():
    source, trained = shapes.trained()
    learner = shapes.learner(embedding="coarse")
    learner._networks = trained._together(list(trained.networks.nets), list(trained.networks.heads), ())
    view = shapes.view(source, source.ids[:5], labels=False)
    own = trained.collect(view, frozenset({Embedding()}))[Embedding()]
    from labelwise.learners.networks import Networks

    nets = trained.networks
    learner._networks = Networks(nets.task, nets.nets, nets.heads, embedding="coarse")
    chosen = learner.collect(view, frozenset({Embedding()}))[Embedding()]
    np.testing.assert_allclose(own[:, : chosen.shape[1]], chosen, rtol=1e-5)
    assert own.shape[1] > chosen.shape[1]


# ---- costs ----------------------------------------------------------------------------------------------------------


def test_answers_cost_images_and_boxes(tmp_path):
    source, learner = shapes.Shapes(6), shapes.learner()
    campaign = tiny.campaign(tmp_path, source, learner)
    campaign.suggest(STRATEGIES.create("random"), Budget(3))
    asked = [pick.id for pick in campaign.pending()]
    target = {"size": [64, 48], "objects": [{"class": "disc", "box": [1, 2, 9, 9], "extra": {"id": 5}}] * 3}
    campaign.answer([Answer(asked[0], target), Answer(asked[1], {**target, "objects": []})])
    assert campaign.pool.cost() == {"images": 2.0, "boxes": 3.0}
    assert campaign.pool.target(campaign.pool.position(asked[0])) == target, "as it came, to the digit"
    campaign.answer([Answer(asked[2], target, {"images": 1.0, "boxes": 1.0, "seconds": 40.0})])
    assert campaign.pool.cost() == {"images": 3.0, "boxes": 4.0, "seconds": 40.0}, "what the oracle says goes first"
    assert campaign.describe(None).class_counts == {"cross": 0, "disc": 6, "square": 0}
    with pytest.raises(DataError, match="unknown class 'dics'"):
        campaign.answer([Answer(asked[2], {"size": [4, 4], "objects": [{"class": "dics", "box": [0, 0, 1, 1]}]})])


# ---- from YAML ------------------------------------------------------------------------------------------------------


def test_sizes_of_the_task():
    task = make_task("detection", ("a",), InputConfig(size=(96, 128)))
    assert task.input.size == (96, 128)
    assert make_task("detection", ("a",), InputConfig()).input.size == (256, 320)
    assert make_task("classification", ("a", "b"), InputConfig()).input.size == (32, 32)
    assert make_task("detection", ("a",), InputConfig(size=64)).input.size == (64, 64)
    with pytest.raises(ConfigError, match="size"):
        parse(InputConfig, {"size": [96, 128, 3]}, where="x")
    with pytest.raises(ConfigError, match="size"):
        parse(InputConfig, {"size": [96, 2]}, where="x")


def test_detection_has_a_learner_of_its_own_where_none_is_named():
    config = parse(ProjectConfig, {"images": "x", "task": "detection"}, where="x")
    made = make_learner(config.learner, shapes.task(), None)
    assert isinstance(made, TorchLearner)
    assert made.phases == Detection.phases
    assert made.phases[0].batch_size == 8
    kept = parse(ProjectConfig, {**config.model_dump(mode="json", exclude_defaults=True)}, where="x")
    assert kept == config
    own = parse(RecipeConfig, {"data": {"source": "x"}, "task": "detection", "learner": {"members": 2}}, where="x")
    assert make_learner(own.learner, shapes.task(), None).members == 2
    head = parse(ProjectConfig, {"images": "x", "task": "detection", "learner": {"kind": "features"}}, where="x")
    with pytest.raises(ConfigError, match="gives one answer for an image, and detection needs many"):
        make_learner(head.learner, shapes.task(), None)


def test_names_of_detectors_are_checked_before_anything_is_read():
    def config(model: str, task: str = "detection") -> ProjectConfig:
        learner = {"kind": "torch", "model": model}
        return parse(ProjectConfig, {"images": "x", "task": task, "learner": learner}, where="x")

    check_names(config("faster_rcnn_resnet50"))
    check_names(config("shapes:narrow"))
    with pytest.raises(ConfigError, match="did you mean 'fcos_resnet50'"):
        check_names(config("fcos_resnet5"))
    with pytest.raises(ConfigError, match="unknown model"):
        check_names(config("ssdlite320", "classification"))


@pytest.mark.heavy
def test_a_study_of_detection_counts_boxes(tmp_path):
    recipe = parse(
        RecipeConfig,
        {
            "name": "shapes",
            "data": {"source": "shapes"},
            "task": "detection",
            "input": {"size": [48, 64], "augment": "flip"},
            "learner": {"model": "centre", "phases": [{"epochs": 1, "batch_size": 4, "min_steps": 2}]},
            "strategies": ["random", "entropy"],
            "initial": 4,
            "batch": 3,
            "rounds": 1,
            "seeds": 1,
            "full": False,
            "again": 0,
        },
        where="x",
    )
    source = shapes.Shapes(20, test=4)
    study = Comparison(recipe, source, tmp_path).run()
    assert study.primary == "map"
    boxes = {item: float(len(source.truth[item]["objects"])) for item in source.ids}
    for run in study.runs:
        first, last = run.rounds
        assert first.cost["images"] == 4
        assert last.cost["images"] == 7
        assert last.cost["boxes"] - first.cost["boxes"] == sum(boxes[item] for item in first.picked)
        assert sum(last.class_counts.values()) == last.cost["boxes"]
    assert study.pool["class_counts"] == {
        name: sum(o["class"] == name for i in source.ids[:16] for o in source.truth[i]["objects"])
        for name in shapes.CLASSES
    }
    assert json.loads((tmp_path / "study.json").read_text())["task"] == "detection"
    from labelwise.report.summary import costs_of, summarise

    assert "boxes" in costs_of(study, summarise(study).curves)


# ---- decoding beside the model --------------------------------------------------------------------------------------


def test_images_are_decoded_in_another_thread_while_the_model_works():
    threads: list[str] = []

    class Files(shapes.Shapes):
        def load(self, item_id):
            threads.append(threading.current_thread().name)
            return super().load(item_id)

        def batch(self, item_ids):
            return None

    source = Files(12)
    images = PreparedImages(source, source.ids, InputSpec((24, 32)))
    order = [range(0, 5), range(5, 10), range(10, 12)]
    found = list(batches(images, order))
    assert [loaded.rows for loaded in found] == [list(rows) for rows in order]
    plain = PreparedImages(shapes.Shapes(12), source.ids, InputSpec((24, 32)))
    for loaded, expected in zip(found, batches(plain, order), strict=True):
        assert torch.equal(loaded.images, expected.images)
    assert len(threads) == 12
    assert all(name.startswith("decoding") for name in threads)


def test_reading_ahead_keeps_order_stops_early_and_passes_errors_on():
    made: list[int] = []

    def numbers():
        for number in range(10):
            made.append(number)
            yield number
        raise DataError("the end")

    reader = ahead(numbers())
    assert [next(reader) for _ in range(10)] == list(range(10))
    with pytest.raises(DataError, match="the end"):
        next(reader)
    made.clear()
    for _ in ahead(numbers(), depth=2):
        break
    assert len(made) <= 4
    assert list(ahead([])) == []
