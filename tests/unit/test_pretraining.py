"""Training without labels: one loop, resumable to the bit, and a file that is a backbone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from torch import nn

import tiny
from labelwise.contracts.learner import Examples, LearnerData, Phase
from labelwise.errors import ConfigError, DataError
from labelwise.learners.backbones import Network
from labelwise.learners.checkpoints import Checkpoint
from labelwise.learners.features import FROZEN, FeatureSource
from labelwise.learners.pretraining import Pretraining, found, knn_accuracy, pretrain, ranked
from labelwise.learners.training import Training, _rate
from labelwise.models.provenance import provenance, trained_with_labels
from labelwise.models.weights import located, read_metadata, read_state

SOURCE = tiny.digits(120)
TASK = tiny.digits_task()
IMAGES = Examples(SOURCE, tuple(SOURCE.ids[:90]))
QUICK = Pretraining(model="lenet", epochs=3, batch_size=16)
OPTIONS = {"rotation": {}, "simclr": {"flip": False, "hidden": 16}, "vicreg": {"hidden": 16, "out": 16}}


def _settings(objective: str = "simclr", **changes) -> Pretraining:
    return replace(QUICK, objective=objective, options=OPTIONS[objective], **changes)


def _data(held: int = 20) -> LearnerData:
    nobody = Examples(SOURCE, (), ())
    held_out = Examples(SOURCE, tuple(SOURCE.ids[90 : 90 + held]))
    return LearnerData(labelled=nobody, unlabelled=IMAGES, validation=held_out, reference=nobody)


def _learner(objective: str = "simclr", model=tiny.TinyNet, **phase):
    given = Phase(epochs=4, batches="unlabelled", batch_size=16, loss=objective, options=OPTIONS[objective], **phase)
    return tiny.torch_learner(model=model, phases=(given,))


def _weights(learner) -> dict[str, torch.Tensor]:
    return learner.networks.nets[0].state_dict()


# ---- the loop -------------------------------------------------------------------------------------------------------


@pytest.mark.heavy
@pytest.mark.parametrize("objective", OPTIONS)
def test_each_objective_learns_and_the_same_seed_gives_the_same_weights(objective):
    runs = [_learner(objective, min_steps=60) for _ in range(2)]
    reports = [learner.fit(_data(), 0) for learner in runs]
    first = _learner(objective, lr=1e-9, weight_decay=0.0)
    before = first.fit(_data(), 0)
    assert reports[0].held_out < before.held_out, "of images that it did not see"
    assert reports[0].held_out == reports[1].held_out
    assert all(torch.equal(value, _weights(runs[1])[name]) for name, value in _weights(runs[0]).items())


def test_the_last_layer_is_left_alone_and_free_afterwards():
    learner = _learner()
    torch.manual_seed(0)
    fresh = learner.fresh(0).state_dict()
    learner.fit(_data(), 0)
    for name, value in _weights(learner).items():
        if name.startswith("head."):
            assert torch.equal(value, fresh[name]), name
    assert not torch.equal(_weights(learner)["hidden.weight"], fresh["hidden.weight"])
    assert all(parameter.requires_grad for parameter in learner.networks.nets[0].parameters())
    assert not [name for name in learner.networks.state() if "projector" in name]


def test_labels_after_images_without():
    """Pretraining and the task as two phases of one training."""
    phases = (
        Phase(epochs=2, batches="unlabelled", batch_size=16, loss="rotation"),
        Phase(epochs=2, batch_size=16),
    )
    learner = tiny.torch_learner(phases=phases)
    report = learner.fit(tiny.learner_data(SOURCE, SOURCE.ids[:40]), 0)
    assert report.held_out is None
    assert np.isfinite(report.loss)


def test_alternating_with_an_objective():
    phases = (Phase(epochs=2, batches="alternate", batch_size=16, loss="simclr", options=OPTIONS["simclr"]),)
    learner = tiny.torch_learner(phases=phases)
    report = learner.fit(tiny.learner_data(SOURCE, SOURCE.ids[:40]), 0)
    assert report.steps == 2 * 2 * (80 // 16)


def test_only_whole_batches():
    """90 images in batches of 16 are 5; fewer images than a batch are one small batch."""
    learner = _learner()
    assert learner.fit(_data(), 0).steps == 4 * 5
    few = replace(_data(), unlabelled=Examples(SOURCE, tuple(SOURCE.ids[:7])))
    assert learner.fit(few, 0).steps == 4


def test_an_objective_over_labelled_images_is_refused():
    learner = tiny.torch_learner(phases=(Phase(loss="simclr"),))
    with pytest.raises(ConfigError, match="batches: unlabelled"):
        learner.fit(tiny.learner_data(SOURCE, SOURCE.ids[:40]), 0)


def test_rates_of_steps():
    phase = Phase(epochs=8, schedule="steps", milestones=(3, 6))
    rates = [_rate(phase, epoch * 5 + step, 40) for epoch in range(8) for step in range(5)]
    expected = [0.1 ** (0 if epoch < 3 else 1 if epoch < 6 else 2) for epoch in range(8) for step in range(5)]
    np.testing.assert_allclose(rates, expected)


# ---- broken off -----------------------------------------------------------------------------------------------------


@cache
def _whole(objective):
    """A training that nobody breaks off, and its report."""
    learner = _learner(objective)
    return learner, learner.fit(_data(), 0)


@pytest.mark.heavy
@pytest.mark.parametrize("objective", ["simclr", "rotation"])
@pytest.mark.parametrize("steps", [1, 7, 10, 19, 20])
def test_a_killed_training_goes_on_to_the_same_weights(objective, steps, tmp_path, monkeypatch):
    """Dropout, order and views of an epoch are its own, so that one that starts over sees what it would have seen."""
    whole, whole_report = _whole(objective)
    learn, count = Training._learn, [0]

    def killed(self, *args):
        if count[0] == steps:
            raise KeyboardInterrupt
        count[0] += 1
        return learn(self, *args)

    checkpoint = Checkpoint(tmp_path / "x.unfinished", "key")
    monkeypatch.setattr(Training, "_learn", killed)
    if steps < 20:
        with pytest.raises(KeyboardInterrupt):
            _learner(objective).fit(_data(), 0, checkpoint=checkpoint)
    else:
        _learner(objective).fit(_data(), 0, checkpoint=checkpoint)
    monkeypatch.setattr(Training, "_learn", lambda self, *args: (count.append(1), learn(self, *args))[1])
    again = _learner(objective)
    report = again.fit(_data(), 0, checkpoint=checkpoint)
    assert len(count) - 1 == 20 - steps // 5 * 5, "only what was not kept is done again"
    assert all(torch.equal(value, _weights(again)[name]) for name, value in _weights(whole).items())
    assert (report.loss, report.held_out, report.steps) == (whole_report.loss, whole_report.held_out, 20)


@pytest.mark.heavy
def test_a_checkpoint_of_another_training_or_a_damaged_one_is_not_gone_on_with(tmp_path):
    file = tmp_path / "x.unfinished"
    _learner().fit(_data(), 0, checkpoint=Checkpoint(file, "one"))
    assert Checkpoint(file, "one").read()["epoch"] == 4
    assert Checkpoint(file, "two").read() is None
    file.write_bytes(file.read_bytes()[:500])
    assert Checkpoint(file, "one").read() is None
    file.write_bytes(b"x")
    assert _learner().fit(_data(), 0, checkpoint=Checkpoint(file, "one")).steps == 20


# ---- the file -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    file = tmp_path_factory.mktemp("project") / "pretrained" / "mine.safetensors"
    return pretrain(TASK, IMAGES, file, _settings())


def test_a_pretrained_file_is_a_backbone(done):
    """Its features are what the last layer of the trained network would read."""
    network = Network(str(done.file))
    assert network.input == TASK.input
    table = FeatureSource(network).collect(IMAGES, frozenset({FROZEN}))
    rows = np.asarray(table[FROZEN])
    assert rows.shape == (90, 84)
    assert Network(str(done.file)).weights == network.weights, "nothing of it is random"
    state = read_state(done.file)
    assert not [name for name in state if name.startswith("head.")]
    net = tiny.torch_learner(model="lenet").fresh(3)
    net.load_state_dict(state, strict=False)
    net.head = nn.Identity()
    with torch.inference_mode():
        expected = net.eval()(TASK.input.normalise(TASK.input.prepare_batch(SOURCE.batch(IMAGES.ids))))
    np.testing.assert_allclose(rows, expected.numpy(), rtol=1e-4, atol=1e-5)


def test_it_says_what_it_is(done):
    assert done == replace(found(done.file), before=False)
    assert 1 <= done.effective_rank <= 9
    assert done.held_out is not None
    assert done.images == 81, "a tenth is held out"
    about = json.loads(read_metadata(done.file)["labelwise"])
    assert about["settings"]["objective"] == "simclr"
    assert provenance(str(done.file)).saw == "images"
    assert trained_with_labels("lenet", str(done.file)) is None
    assert [one.file for one in ranked(done.file.parent)] == [done.file]
    assert [path.name for path in done.file.parent.iterdir()] == ["mine.safetensors"], "no checkpoint is left"


def test_exactly_the_same_is_not_trained_again(done, monkeypatch):
    calls: list[int] = []
    monkeypatch.setattr(Training, "run", lambda self: calls.append(1))
    again = pretrain(TASK, IMAGES, done.file, _settings())
    assert again.before
    assert not calls
    assert replace(again, before=False) == done


@pytest.mark.heavy
def test_anything_else_is(done, tmp_path):
    keys = set()
    for settings, images, seed in (
        (_settings(), IMAGES, 0),
        (_settings(epochs=2), IMAGES, 0),
        (_settings("rotation"), IMAGES, 0),
        (_settings(), IMAGES.take(range(80)), 0),
        (_settings(), IMAGES, 1),
    ):
        file = tmp_path / "x.safetensors"
        pretrain(TASK, images, file, replace(settings, epochs=1), seed=seed)
        keys.add(read_metadata(file)["key"])
    assert len(keys) == 4, "the second differs in the epochs only, which are one here"


def test_it_starts_a_torch_learner(done):
    learner = tiny.torch_learner(model="lenet", weights=str(done.file))
    fresh, plain = learner.fresh(0), tiny.torch_learner(model="lenet").fresh(0)
    state = read_state(done.file)
    assert all(torch.equal(value, state[name]) for name, value in fresh.state_dict().items() if name in state)
    assert torch.equal(fresh.head.weight, plain.head.weight)


def test_another_file_under_the_same_name_is_another_training(done, tmp_path):
    keys = []
    for objective in ("simclr", "rotation"):
        pretrain(TASK, IMAGES, tmp_path / "x.safetensors", replace(_settings(objective), epochs=1))
        learner = tiny.torch_learner(model="lenet", weights=str(tmp_path / "x.safetensors"))
        keys.append(learner.fit_key(tiny.learner_data(SOURCE, SOURCE.ids[:20]), 0))
    assert keys[0] != keys[1]


def test_what_cannot_be_is_one_line(tmp_path):
    with pytest.raises(ConfigError, match="too few"):
        pretrain(TASK, IMAGES.take(range(3)), tmp_path / "x.safetensors", _settings())
    with pytest.raises(ConfigError, match="safetensors"):
        pretrain(TASK, IMAGES, tmp_path / "x.pth", _settings())
    with pytest.raises(DataError, match="diverged"):
        pretrain(
            TASK,
            IMAGES,
            tmp_path / "x.safetensors",
            _settings("rotation", optimiser="sgd", lr=1e30, schedule="constant"),
        )
    assert not (tmp_path / "x.safetensors").exists()
    with pytest.raises(DataError, match="not written by"):
        found(tmp_path / "x.safetensors")
    broken = Examples(tiny.Broken(SOURCE, SOURCE.ids), IMAGES.ids)
    with pytest.raises(DataError, match="none of the"):
        pretrain(TASK, broken, tmp_path / "x.safetensors", _settings())


def test_images_that_cannot_be_read_are_left_out(tmp_path):
    broken = Examples(tiny.Broken(SOURCE, SOURCE.ids[:90:7]), IMAGES.ids)
    done = pretrain(TASK, broken, tmp_path / "x.safetensors", replace(_settings(), epochs=1))
    assert np.isfinite(done.loss)


def test_found_under_the_project(done, tmp_path):
    base = done.file.parent.parent
    assert located("pretrained:mine", base) == str(done.file)
    assert located("pretrained/mine.safetensors", base) == str(done.file)
    assert located("resnet50", base) == "resnet50"
    (tmp_path / "w.pth").touch()
    assert located("moco_v2:w.pth", tmp_path) == f"moco_v2:{tmp_path / 'w.pth'}"
    with pytest.raises(DataError, match=r"no network 'yours' .*there is mine"):
        located("pretrained:yours", base)


# ---- neighbours -----------------------------------------------------------------------------------------------------


def _neighbours(rows: np.ndarray, labels: Sequence[int], asked: np.ndarray, k: int) -> list[list[int]]:
    """The classes with most votes among the k most similar by cosine, row by row."""
    found = []
    for row in asked:
        alike = [float(row @ other / np.linalg.norm(row) / np.linalg.norm(other)) for other in rows]
        near = sorted(range(len(rows)), key=lambda i: -alike[i])[:k]
        votes = [sum(labels[i] == c for i in near) for c in range(10)]
        found.append([c for c in range(10) if votes[c] == max(votes)])
    return found


@pytest.mark.parametrize("k", [1, 20, 1000])
def test_knn_accuracy_against_loops(done, k):
    network = Network(str(done.file))
    known, asked = tiny.view(SOURCE, SOURCE.ids[:60]), tiny.view(SOURCE, SOURCE.ids[60:])
    rows = [np.asarray(FeatureSource(network).collect(view, frozenset({FROZEN}))[FROZEN]) for view in (known, asked)]
    winners = _neighbours(rows[0].astype(float), known.targets, rows[1].astype(float), k)
    sure = sum(win == [target] for win, target in zip(winners, asked.targets, strict=True))
    maybe = sum(target in win for win, target in zip(winners, asked.targets, strict=True))
    accuracy = knn_accuracy(network, known, asked, k=k)
    assert sure / 60 - 1e-6 <= accuracy <= maybe / 60 + 1e-6
