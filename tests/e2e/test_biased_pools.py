"""Studies on biased pools: thinned by each seed, a reference set, networks pretrained and started without labels."""

from __future__ import annotations

import numpy as np
import pytest

import shapes
import tiny
from labelwise.config import RecipeConfig, parse
from labelwise.data import ArraySource, with_noise, with_reference
from labelwise.data.imbalance import imbalanced
from labelwise.errors import ConfigError, DataError, UnmetNeed
from labelwise.recipes import shipped, shipped_plan
from labelwise.report.summary import summarise
from labelwise.studies.comparison import Comparison
from labelwise.studies.data import open_labelled

PHASE = {"epochs": 3, "batch_size": 16, "min_steps": 0, "optimiser": "sgd", "lr": 0.05, "momentum": 0.5}
RECIPE = {
    "name": "biased",
    "data": {
        "source": "digits",
        "reference": 60,
        "imbalance": {"profile": "union", "ratio": 10, "seed": "run"},
    },
    "input": {"size": 16, "channels": 1, "augment": "none"},
    "features": {"backbone": "pixels", "size": 8},
    "learner": {"kind": "torch", "model": "lenet_small", "best": {"by": "test", "every": 2}, "phases": [PHASE]},
    "pretrain": {"objective": "rotation", "epochs": 1, "batch_size": 32},
    "strategies": [
        {"name": "fisher", "layers": ["block2", "hidden"]},
        "random",
        {"name": "fisher", "layers": ["block2"], "label": "true"},
        {"name": "margin"},
    ],
    "start": {"name": "own", "otherwise": "random"},
    "warm": True,
    "initial": 10,
    "batch": 10,
    "rounds": 2,
    "seeds": 2,
    "full": False,
}


def _recipe(**changes) -> RecipeConfig:
    return parse(RecipeConfig, RECIPE | changes, where="the test")


def _opened(recipe: RecipeConfig):
    return open_labelled(recipe, base=tiny.Path(), source=tiny.digits(500, test=60))


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    recipe = _recipe()
    folder = tmp_path_factory.mktemp("biased")
    found = Comparison(recipe, _opened(recipe), folder).run()
    return found, folder


@pytest.mark.heavy
def test_every_method_buys_from_a_pool_drawn_by_its_seed(study):
    found, folder = study
    assert [run.strategy for run in found.runs[:4]] == [
        "fisher(layers=block2+hidden)",
        "random",
        "fisher(layers=block2, label=true) (oracle)",
        "margin",
    ]
    for run in found.runs:
        assert [record.labels for record in run.rounds] == [10, 20, 30]
        assert run.rounds[0].cost == {"images": 10.0}
    recipe = _recipe()
    data = Comparison(recipe, _opened(recipe), folder).data
    pools = [{item for item in data.of(seed).ids if data.of(seed).roles.get(item, "pool") == "pool"} for seed in (0, 1)]
    assert pools[0] != pools[1]
    for run in found.runs:
        assert {item for record in run.rounds for item in record.picked} <= pools[run.seed]


@pytest.mark.heavy
def test_the_first_purchase_is_the_methods_own(study):
    found, _ = study
    first = {run.strategy: run.rounds[0].class_counts for run in found.runs if run.seed == 0}
    assert first["random"] == first["margin"], "one that needs labels starts at random"
    assert first["random"] != first["fisher(layers=block2+hidden)"]


@pytest.mark.heavy
def test_what_was_held_out_and_what_leaks_is_said(study):
    found, _ = study
    assert found.settings["reference"] == 60
    assert found.settings["early_stopping"] == "best epoch on test images, measured every 2"
    assert "rotation on the pool of each seed" in found.settings["pretraining"]
    assert any("chosen by the labels of the test images" in line for line in found.warnings)
    notes = summarise(found).notes
    assert [note for note in notes if note.startswith("60 reference images had labels before the start")]


def test_chosen_on_the_test_images_no_curve_falls(study):
    found, _ = study
    for run in found.runs:
        accuracies = [record.metrics["accuracy"] for record in run.rounds]
        assert accuracies == sorted(accuracies)


def test_what_ran_is_found_again(study):
    found, folder = study
    recipe = _recipe()
    again = Comparison(recipe, _opened(recipe), folder).run()
    assert [run.rounds for run in again.runs] == [run.rounds for run in found.runs]


@pytest.mark.heavy
def test_seeds_in_processes_of_their_own_give_the_same_study(study, tmp_path):
    found, _ = study
    recipe, heard = _recipe(strategies=RECIPE["strategies"][:2]), []
    opened = _opened(recipe)
    told = {"on_run": lambda *what: heard.append(what), "on_round": lambda *what: heard.append(what[:2])}
    apart = Comparison(recipe, opened, tmp_path, workers=2, **told).run()
    alone = {(run.strategy, run.seed): run.rounds for run in found.runs}
    for run in apart.runs:
        assert [r.picked for r in run.rounds] == [r.picked for r in alone[run.strategy, run.seed]]
        assert [r.metrics for r in run.rounds] == [r.metrics for r in alone[run.strategy, run.seed]]
    labels = [run.strategy for run in apart.runs[:2]]
    assert sorted(what for what in heard if len(what) == 3) == sorted(
        (name, seed, False) for name in labels for seed in (0, 1)
    )
    assert sum(len(what) == 2 for what in heard) == 12
    own = _recipe(strategies=["random"], start=None)
    with pytest.raises(ConfigError, match="cannot be given to other processes"):
        Comparison(own, opened, tmp_path / "own", make=lambda task: tiny.torch_learner(task), workers=2).run()


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"data": RECIPE["data"] | {"reference": None}}, UnmetNeed, "there is none: set data.reference"),
        ({"learner": {"kind": "features"}}, ConfigError, "pretrain trains the network of learner.kind torch"),
        ({"strategies": [{"name": "fisher", "layers": ["block3"]}]}, ConfigError, "did you mean 'block2'"),
        ({"start": {"name": "margin"}}, ConfigError, "'margin' needs labels"),
    ],
)
def test_what_cannot_run_is_refused_before_anything_is_trained(changes, error, message, tmp_path):
    recipe = _recipe(**changes)
    with pytest.raises(error, match=message):
        Comparison(recipe, _opened(recipe), tmp_path).check()
    assert not any(tmp_path.rglob("*.safetensors"))


def test_without_validation_labels_no_epoch_can_be_chosen(tmp_path):
    recipe = _recipe(learner=RECIPE["learner"] | {"best": {"by": "validation"}}, strategies=["random"], seeds=1)
    with pytest.raises(DataError, match=r"on validation images, and none has a label"):
        Comparison(recipe, _opened(recipe), tmp_path).run()


# ---- views ----------------------------------------------------------------------------------------------------------


def _balanced(count=400, classes=4):
    return ArraySource(np.zeros((count, 4, 4), np.uint8), labels=np.arange(count) % classes)


def test_a_reference_set_has_as_many_of_every_class():
    source = with_reference(_balanced(), 42, seed=3)
    held = [item for item, role in source.roles.items() if role == "reference"]
    counts = sorted(sum(source.truth[item] == name for item in held) for name in "0123")
    assert counts == [10, 10, 11, 11]
    assert with_reference(_balanced(), 42, seed=3).roles == source.roles
    assert with_reference(_balanced(), 42, seed=4).roles != source.roles
    for size, error, message in (
        (3, ConfigError, "at least one for each class"),
        (400, DataError, "takes 100 of class"),
    ):
        with pytest.raises(error, match=message):
            with_reference(_balanced(), size)
    with pytest.raises(DataError, match="no image of the pool has a label"):
        with_reference(ArraySource(np.zeros((4, 4, 4), np.uint8)), 4)


def test_a_reference_set_of_boxes_is_drawn_whatever_is_on_the_images():
    source = shapes.Shapes(30, test=6)
    held = with_reference(source, 7, seed=3)
    drawn = {item for item, role in held.roles.items() if role == "reference"}
    assert len(drawn) == 7
    assert not drawn & {item for item, role in source.roles.items() if role == "test"}
    assert with_reference(source, 7, seed=4).roles != held.roles
    with pytest.raises(DataError, match=r"takes 24, and the pool has 24: ask for fewer"):
        with_reference(source, 24)


def test_rare_classes_are_thinned_together():
    """The published split: what stays of the rare ones is drawn from all of them, whatever their class."""
    sizes = []
    for seed in range(30):
        thin = imbalanced(_balanced(1000, 10), profile="union", ratio=20, seed=seed)
        counts = [sum(thin.truth[item] == str(c) for item in thin.ids) for c in range(10)]
        assert counts[:5] == [100] * 5
        assert sum(counts[5:]) == 25
        sizes.append(counts[5:])
    assert len({tuple(row) for row in sizes}) > 25
    assert np.mean(sizes, axis=0) == pytest.approx([5] * 5, abs=1)
    with pytest.raises(ConfigError, match=r"ratio 0\.5: give 1 \(balanced\) or more"):
        imbalanced(_balanced(), profile="union", ratio=0.5)


def test_wrong_labels_are_as_many_as_asked_for_and_another_class():
    clean = with_reference(_balanced(), 40)
    noisy = with_noise(clean, 0.25, seed=1)
    changed = [item for item in clean.ids if noisy.truth[item] != clean.truth[item]]
    assert len(changed) == 90
    assert not any(clean.roles.get(item) == "reference" for item in changed)
    assert set(changed) <= {i for i in clean.ids if with_noise(clean, 0.5, seed=1).truth[i] != clean.truth[i]}
    with pytest.raises(ConfigError, match="give 0"):
        with_noise(clean, 1.0)


def test_classes_on_one_side_only_are_warned_of(tmp_path):
    source = _balanced()
    roles = {item: "reference" for item in source.ids[:100] if source.truth[item] != "3"}
    recipe = _recipe(data={"source": "x"}, pretrain=None, learner={"kind": "features"}, strategies=["random"])
    images = np.random.default_rng(0).integers(0, 256, (400, 4, 4)).astype(np.uint8)  # no two alike
    lone = ArraySource(images, labels=np.arange(400) % 4, roles=roles)
    opened = open_labelled(recipe, base=tmp_path, source=lone)
    study = Comparison(recipe, opened, tmp_path).study([])
    assert study.warnings == ["the pool has class 3, which the reference has not: failures of it cannot be seen"]


@pytest.mark.heavy
@pytest.mark.parametrize("name", [name for name in shipped() if name.startswith("fisher-")])
def test_layers_and_options_of_the_shipped_recipes_are_there(name, tmp_path):
    """On a few made-up images of the recipe's kind: data that large is not at hand everywhere."""
    few = {"reference": 20, "subset": None, "test_subset": None, "imbalance": {"ratio": 2}}
    recipe = shipped_plan(name, {"initial": 5, "batch": 5, "rounds": 1, "seeds": 1, "data": few}).recipe
    side, channels = 12, recipe.input.channels
    images = np.random.default_rng(0).integers(0, 256, (200, side, side, channels)).astype(np.uint8)
    source = ArraySource(images, labels=np.arange(200) % 10, roles=["pool"] * 180 + ["test"] * 20)
    Comparison(recipe, open_labelled(recipe, base=tmp_path, source=source), tmp_path).check()
