"""TorchLearner: one training loop in phases, one inference loop, weights named by what they were trained from."""

from __future__ import annotations

import functools
import gc
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import tiny
from labelwise.contracts.input import InputSpec
from labelwise.contracts.learner import Auxiliary, LearnerData, Phase
from labelwise.contracts.oracle import HeldBack
from labelwise.contracts.passes import Dropout, Members
from labelwise.contracts.query import Budget
from labelwise.errors import ConfigError, DataError, LabelwiseError, UnmetNeed
from labelwise.learners.torch import TorchLearner
from labelwise.learners.training import TrainingStep
from labelwise.signals import Embedding, HeadOutput, Logits, Probs
from labelwise.signals.draws import DrawUncertainty
from labelwise.signals.probes import LossSlope
from labelwise.strategies import STRATEGIES

SOURCE = tiny.digits(60)
LABELLED = SOURCE.ids[:22]
POOL = SOURCE.ids[22:]
DATA = tiny.learner_data(SOURCE, LABELLED)


def _fit(learner: TorchLearner | None = None, *, data: LearnerData = DATA, seed: int = 0, **options) -> TorchLearner:
    learner = learner or tiny.torch_learner()
    learner.fit(data, seed, **options)
    return learner


def _state(learner: TorchLearner) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in learner.networks.state().items()}


def _equal(one: Mapping[str, Tensor], two: Mapping[str, Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


def _rows(learner: TorchLearner, signal=None, ids=POOL, **options) -> np.ndarray:
    signal = signal or Probs()
    return np.array(learner.collect(tiny.view(SOURCE, ids, labels=False), frozenset({signal}), **options)[signal])


# ---- the same training gives the same weights -----------------------------------------------------------------------


@pytest.mark.parametrize("augment", ["none", "shift_flip"])
def test_same_data_and_seed_same_weights_to_the_bit(augment):
    fits = []
    for junk in (1, 2):
        torch.manual_seed(junk)  # whatever the global stream holds
        fits.append(_fit(tiny.torch_learner(tiny.digits_task(augment))))
    assert fits[0].weights == fits[1].weights
    assert _equal(_state(fits[0]), _state(fits[1]))
    np.testing.assert_array_equal(_rows(fits[0]), _rows(fits[1]))


def test_fit_and_collect_leave_the_global_stream_alone():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    _rows(_fit())
    assert torch.equal(torch.get_rng_state(), before)


def test_a_second_fit_of_one_learner_starts_from_scratch():
    learner = _fit()
    first = _state(learner)
    assert _equal(_state(_fit(learner)), first)


CHANGES = {
    "seed": {"seed": 1},
    "labels": {
        "data": replace(
            DATA, labelled=replace(DATA.labelled, targets=tuple((t + 1) % 10 for t in DATA.labelled.targets))
        )
    },
    "items": {"data": tiny.learner_data(SOURCE, LABELLED[1:])},
    "auxiliary": {"auxiliaries": (tiny.LossHead(),)},
    "auxiliary's options": {"auxiliaries": (tiny.LossHead(strength=0.5),)},
    "phases": {"learner": tiny.torch_learner(phases=[Phase(epochs=2, batch_size=16, lr=1e-3)])},
    "members": {"learner": tiny.torch_learner(members=2)},
    "precision": {"learner": tiny.torch_learner(precision="bf16")},
    "model": {"learner": tiny.torch_learner(model=tiny.plain_net)},
    "named model": {"learner": tiny.torch_learner(model="lenet")},
    "preparation": {
        "learner": tiny.torch_learner(tiny.Classification(tiny.CLASSES, InputSpec((16, 16), 1, std=(0.4,)), "none"))
    },
    "augmentation": {"learner": tiny.torch_learner(tiny.digits_task("shift"))},
    "classes": {"learner": tiny.torch_learner(tiny.digits_task(classes=tuple("abcdefghij")))},
}


@pytest.mark.heavy
def test_the_digest_names_what_was_trained_from():
    keys = {name: _fit(**change).weights for name, change in {"plain": {}, **CHANGES}.items()}
    assert len(set(keys.values())) == len(keys), keys


def test_the_digest_does_not_depend_on_what_does_not_matter():
    plain = _fit().weights
    assert _fit(tiny.torch_learner(batch_size=3)).weights == plain
    assert _fit(tiny.torch_learner(embedding="hidden")).weights == plain
    assert _fit(data=replace(DATA, unlabelled=tiny.view(SOURCE, POOL[:3], labels=False))).weights == plain


def test_the_digest_depends_on_unlabelled_items_where_a_phase_reads_them():
    def learner() -> TorchLearner:
        return tiny.torch_learner(phases=[Phase(epochs=1, batches="alternate", loss="tiny:agreement_loss")])

    other = replace(DATA, unlabelled=tiny.view(SOURCE, POOL[:3], labels=False))
    assert _fit(learner()).weights != _fit(learner(), data=other).weights


def _wide(width: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(256, width), nn.ReLU(), nn.Linear(width, 10))


def test_functions_that_build_different_nets_have_different_digests():
    """Closures, partials and defaults: the code is the same, what they build is not."""
    builders = [lambda width=width: _wide(width) for width in (8, 16)]
    builders += [functools.partial(_wide, width) for width in (8, 16)]

    def closure(width: int):
        return lambda: _wide(width)

    builders += [closure(8), closure(16)]
    configs = [repr(dict(tiny.torch_learner(model=builder).config)) for builder in builders]
    assert len(set(configs)) == 6
    again = [
        repr(dict(tiny.torch_learner(model=builder).config)) for builder in (functools.partial(_wide, 8), closure(8))
    ]
    assert again == [configs[2], configs[4]], "and the same ones the same"


# ---- phases ---------------------------------------------------------------------------------------------------------


def _steps(**phase) -> int:
    learner = tiny.torch_learner(phases=[Phase(**{"epochs": 3, "batch_size": 10} | phase)])
    return learner.fit(DATA, 0).steps


def test_how_many_steps_a_phase_takes():
    labelled, unlabelled = math.ceil(22 / 10), math.ceil(38 / 10)
    assert _steps() == 3 * labelled
    assert _steps(min_steps=10) == 4 * labelled
    assert _steps(batches="unlabelled", loss="tiny:agreement_loss") == 3 * unlabelled
    assert _steps(batches="alternate", loss="tiny:agreement_loss") == 3 * 2 * unlabelled


@dataclass(frozen=True)
class Watch(Auxiliary):
    """Notes the progress it is told and the images it is shown."""

    name = "watch"
    taps: tuple[str, ...] = ("hidden",)

    def build(self, widths: Mapping[str, int]) -> nn.Module:
        return nn.Linear(widths["hidden"], 1)

    def loss(self, head: nn.Module, taps: Mapping[str, Tensor], loss_B: Tensor, progress: float) -> Tensor:
        NOTED.append((progress, len(loss_B)))
        return head(taps["hidden"]).mean() * 0.0

    def read(self, head: nn.Module, taps: Mapping[str, Tensor]) -> Tensor:
        return head(taps["hidden"])


NOTED: list[tuple[float, int]] = []


@pytest.mark.parametrize("batches", ["labelled", "alternate"])
def test_progress_grows_from_0_to_below_1(batches):
    NOTED.clear()
    phases = [Phase(epochs=3, batch_size=10, batches=batches, loss="tiny:agreement_loss")]
    _fit(tiny.torch_learner(phases=phases), auxiliaries=(Watch(),))
    progress = [at for at, _ in NOTED]
    assert progress == sorted(set(progress))
    assert progress[0] == 0.0
    assert 0.6 < progress[-1] < 1.0


def test_each_epoch_shows_each_labelled_image_once_in_a_new_order():
    NOTED.clear()
    _fit(tiny.torch_learner(phases=[Phase(epochs=2, batch_size=10)]), auxiliaries=(Watch(),))
    assert sorted(size for _, size in NOTED) == [2, 2, 10, 10, 10, 10]


def test_no_batch_holds_a_single_image():
    """Batch norm cannot train on one: the last batch of 21 = 2 x 10 + 1 takes one from its neighbour."""
    net = functools.partial(nn.Sequential, nn.Flatten(), nn.Linear(256, 4), nn.BatchNorm1d(4), nn.Linear(4, 10))
    learner = tiny.torch_learner(model=net, phases=[Phase(epochs=2, batch_size=10)])
    report = learner.fit(tiny.learner_data(SOURCE, LABELLED[:21]), 0)
    assert report.steps == 6
    assert math.isfinite(report.loss)


def test_alternating_batches_end_together():
    """The shorter of the two views starts over, so that no image of the longer one is left out."""
    NOTED.clear()
    phases = [Phase(epochs=1, batch_size=10, batches="alternate", loss="tiny:agreement_loss")]
    _fit(tiny.torch_learner(phases=phases), auxiliaries=(Watch(),))
    assert sum(size for _, size in NOTED) == 40, "22 labelled images, and 18 of them once more"


def test_trainable_prefixes_freeze_the_rest():
    start = _fit(tiny.torch_learner(phases=[Phase(epochs=1, lr=1e-12, weight_decay=0.0, schedule="constant")]))
    learner = _fit(
        tiny.torch_learner(model=tiny.plain_net, phases=[Phase(epochs=3, batch_size=8, trainable=("head", "hidden"))])
    )
    fresh = tiny.torch_learner(model=tiny.plain_net)._fresh(0, 0).state_dict()
    moved = {key for key, value in learner.networks.nets[0].state_dict().items() if not torch.equal(value, fresh[key])}
    assert moved == {"head.weight", "head.bias", "hidden.weight", "hidden.bias"}
    assert start.weights != learner.weights


def test_after_the_training_all_parameters_are_as_free_as_before():
    """Loaded weights know nothing of phases, so trained ones must not either."""
    learner = _fit(tiny.torch_learner(phases=[Phase(epochs=1, trainable=("head",))]))
    assert all(parameter.requires_grad for parameter in learner.networks.nets[0].parameters())


def test_phases_follow_one_another():
    both = _fit(tiny.torch_learner(phases=[Phase(epochs=2, trainable=("head",)), Phase(epochs=2)]))
    one = _fit(tiny.torch_learner(phases=[Phase(epochs=2)]))
    assert not torch.equal(both.networks.nets[0].conv.weight, one.networks.nets[0].conv.weight)
    report = tiny.torch_learner(phases=[Phase(epochs=2, batch_size=22), Phase(epochs=3, batch_size=11)]).fit(DATA, 0)
    assert report.steps == 2 + 6


def test_an_unlabelled_phase_learns_without_labels():
    phases = [Phase(epochs=2, batches="unlabelled", loss="tiny:agreement_loss")]
    nothing = tiny.learner_data(SOURCE, ())
    learner = _fit(tiny.torch_learner(phases=phases), data=nothing)
    assert not torch.equal(learner.networks.nets[0].conv.weight, tiny.torch_learner()._fresh(0, 0).conv.weight)


@pytest.mark.parametrize(
    ("phase", "message"),
    [
        (Phase(trainable=("hed",)), "no parameter starts with"),
        (Phase(loss="tiny:no_such_loss"), "cannot import 'tiny:no_such_loss'"),
        (Phase(loss="no_such_module:loss"), "cannot import"),
        (Phase(batches="unlabelled"), "loss"),
        (Phase(batches="alternate"), "loss"),
    ],
)
def test_phases_that_cannot_be_are_refused_before_the_first_step(phase, message):
    with pytest.raises(ConfigError, match=message) as caught:
        _fit(tiny.torch_learner(phases=[phase]))
    assert "\n" not in str(caught.value)


def test_nothing_to_train_on():
    with pytest.raises(DataError, match="no label to train on"):
        _fit(data=tiny.learner_data(SOURCE, ()))
    everything = tiny.learner_data(SOURCE, SOURCE.ids)
    with pytest.raises(ConfigError, match="has none to train on"):
        _fit(tiny.torch_learner(phases=[Phase(batches="alternate", loss="tiny:agreement_loss")]), data=everything)


@pytest.mark.heavy
@pytest.mark.parametrize("schedule", ["cosine", "onecycle", "constant"])
@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
def test_every_optimiser_and_schedule_learns(optimiser, schedule):
    phase = Phase(
        epochs=60, batch_size=11, optimiser=optimiser, schedule=schedule, lr=0.05 if optimiser == "sgd" else 1e-2
    )
    learner = tiny.torch_learner(model=tiny.plain_net, phases=[phase])
    report = learner.fit(DATA, 0)
    assert report.loss < 1.5, "below the 2.3 of guessing"
    assert learner.evaluate(tiny.view(SOURCE, LABELLED))["accuracy"] > 0.5


def test_progress_is_told():
    told: list[tuple[str, int, int]] = []
    learner = tiny.torch_learner(batch_size=10)
    learner.fit(DATA, 0, progress=lambda *what: told.append(what))
    learner.collect(tiny.view(SOURCE, POOL), frozenset({Probs()}), progress=lambda *what: told.append(what))
    assert ("training", 2, 2) in told
    assert [what for what in told if what[0] == "reading the pool"][-1] == ("reading the pool", 38, 38)


# ---- going on, members, precision -----------------------------------------------------------------------------------


def test_a_warm_start_goes_on_from_the_weights_in_use(tmp_path):
    learner = _fit(tiny.torch_learner(model=tiny.plain_net))
    first, key = _state(learner), learner.weights
    learner.save(tmp_path)
    other = tiny.torch_learner(model=tiny.plain_net)
    other.load(tmp_path, key)
    for one in (learner, other):
        one.fit(DATA, 0, init=key)
    assert learner.weights == other.weights
    assert learner.weights != key
    assert _equal(_state(learner), _state(other))
    assert not _equal(_state(learner), first)


def test_a_warm_start_from_weights_that_are_not_in_use_is_refused():
    learner = _fit()
    with pytest.raises(DataError, match="training was to start from weights other"):
        learner.fit(DATA, 0, init="other")


def test_a_warm_training_that_fails_leaves_the_weights_as_they_were():
    learner = _fit(tiny.torch_learner(phases=[Phase(epochs=1, batch_size=8, lr=0.1)]))
    before, key = _state(learner), learner.weights

    def stop(stage: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learner.fit(DATA, 1, init=key, progress=stop)
    assert learner.weights == key
    assert _equal(_state(learner), before)


def test_members_are_trained_each_by_itself_and_averaged():
    ensemble, single = _fit(tiny.torch_learner(members=3)), _fit()
    states = [net.state_dict() for net in ensemble.networks.nets]
    assert _equal(states[0], single.networks.nets[0].state_dict())
    assert not torch.equal(states[0]["conv.weight"], states[1]["conv.weight"])
    assert not torch.equal(states[1]["conv.weight"], states[2]["conv.weight"])
    batch = ensemble.task.batch(ensemble.task.input.prepare_batch(SOURCE.batch(POOL)), None, train=False)
    with torch.inference_mode():
        mean = torch.stack([net(batch.images).softmax(1) for net in ensemble.networks.nets]).mean(0)
    np.testing.assert_allclose(_rows(ensemble), mean.numpy(), rtol=1e-6)
    disagreement = _rows(ensemble, DrawUncertainty("predictive_variance", Members(draws=3)))
    assert (disagreement > 0).all()


def test_an_ensemble_is_measured_as_one_and_as_the_mean_of_its_members():
    ensemble = _fit(tiny.torch_learner(members=3))
    labels = [int(SOURCE.truth[item]) for item in POOL]
    found = ensemble.evaluate(tiny.view(SOURCE, POOL))
    batch = ensemble.task.batch(ensemble.task.input.prepare_batch(SOURCE.batch(POOL)), None, train=False)
    with torch.inference_mode():
        said = [net(batch.images).softmax(1) for net in ensemble.networks.nets]
    own = [np.mean(probs.argmax(1).numpy() == labels) for probs in said]
    assert found["accuracy_of_members"] == pytest.approx(np.mean(own))
    assert found["accuracy"] == pytest.approx(np.mean(sum(said).argmax(1).numpy() == labels))
    assert "accuracy_of_members" not in _fit().evaluate(tiny.view(SOURCE, POOL))
    assert ensemble.evaluate(tiny.view(SOURCE, ())) == {}


@pytest.mark.heavy
def test_all_members_of_an_ensemble_are_trained_on_the_same_picks(tmp_path):
    """One budget, whatever the number of members: no label is bought by one of them alone."""
    seen = {1: [], 3: []}
    for members, batches in seen.items():

        class Noting(tiny.TinyNet):
            def forward(self, images, batches=batches):
                if self.training:
                    batches.append(frozenset(image.numpy().tobytes() for image in images))
                return super().forward(images)

        phases = [Phase(epochs=1, batch_size=64)]
        learner = tiny.torch_learner(model=Noting, members=members, phases=phases)
        source = tiny.digits(60, test=10)
        campaign = tiny.campaign(tmp_path / str(members), source, learner, labelled=source.ids[:10], truth=source.truth)
        strategy = STRATEGIES.create("bald", source="members" if members > 1 else "dropout")
        records = list(campaign.rounds(strategy, HeldBack(source.truth), Budget(5), count=2))
        assert [record.labels for record in records] == [10, 15, 20]
        assert [len(batch) for batch in batches] == [n for n in (10, 15, 20) for _ in range(members)]
    for first in range(0, 9, 3):
        assert len(set(seen[3][first : first + 3])) == 1


def test_drawing_members_of_a_single_model_is_refused():
    with pytest.raises(UnmetNeed, match="members: 5"):
        _rows(_fit(), DrawUncertainty("bald", Members(draws=3)))


@pytest.mark.heavy
def test_bf16_on_a_cpu():
    learner = tiny.torch_learner(
        model=tiny.plain_net, precision="bf16", phases=[Phase(epochs=60, batch_size=11, lr=1e-2)]
    )
    report = learner.fit(DATA, 0, auxiliaries=(tiny.LossHead(),))
    assert math.isfinite(report.loss)
    assert all(value.dtype != torch.bfloat16 for value in _state(learner).values()), "weights stay in float32"
    draws = DrawUncertainty("bald", Dropout(draws=3, after=("hidden",)))
    for signal in (Probs(), Embedding(), Logits(), HeadOutput("loss_head"), draws):
        rows = _rows(learner, signal)
        assert rows.dtype == np.float32
        assert np.isfinite(rows).all()
    assert learner.evaluate(tiny.view(SOURCE, LABELLED))["accuracy"] > 0.5
    np.testing.assert_allclose(_rows(learner).sum(1), 1, atol=1e-5)


def test_learners_of_different_precision_do_not_disturb_each_other():
    alone = _state(_fit())
    plain, half = tiny.torch_learner(), tiny.torch_learner(precision="bf16")
    _ = plain.accelerator
    half.fit(DATA, 0)
    plain.fit(DATA, 0)
    assert _equal(_state(plain), alone)
    assert not _equal(_state(half), alone)


def test_trainings_do_not_pile_up_in_memory():
    learner = tiny.torch_learner()
    for seed in range(3):
        learner.fit(DATA, seed)
    gc.collect()
    kinds = [type(thing) for thing in gc.get_objects()]  # isinstance would wake torch's lazy modules
    assert TrainingStep not in kinds
    assert torch.optim.AdamW not in kinds


# ---- auxiliaries ----------------------------------------------------------------------------------------------------


@pytest.mark.heavy
def test_a_head_learns_beside_the_model_and_is_read_as_a_signal():
    phases = [Phase(epochs=40, batch_size=11, lr=5e-3)]
    learner = _fit(tiny.torch_learner(model=tiny.plain_net, phases=phases), auxiliaries=(tiny.LossHead(),))
    predicted = _rows(learner, HeadOutput("loss_head"), ids=LABELLED)
    assert predicted.shape == (22,)
    net, head = learner.networks.nets[0], learner.networks.heads[0]["loss_head"]
    batch = learner.task.batch(learner.task.input.prepare_batch(SOURCE.batch(LABELLED)), None, train=False)
    seen = {}
    hooks = [
        getattr(net, path).register_forward_hook(lambda m, i, o, path=path: seen.update({path: o}))
        for path in ("conv", "hidden")
    ]
    with torch.inference_mode():
        net(batch.images)
        by_hand = head(torch.cat([seen["conv"].mean((2, 3)), seen["hidden"]], dim=1))[:, 0]
    for hook in hooks:
        hook.remove()
    np.testing.assert_allclose(predicted, by_hand.numpy(), rtol=1e-5, atol=1e-6)


def test_a_detached_head_leaves_the_model_as_it_would_be_without():
    """Neither its taps nor the loss it is shown may carry its gradient into the model; the head itself learns."""
    phases = [Phase(epochs=2, batch_size=11, weight_decay=0.0)]
    alone = _fit(tiny.torch_learner(model=tiny.plain_net, phases=phases))
    beside = _fit(tiny.torch_learner(model=tiny.plain_net, phases=phases), auxiliaries=(tiny.LossHead(),))
    weightless = _fit(
        tiny.torch_learner(model=tiny.plain_net, phases=phases), auxiliaries=(tiny.LossHead(strength=0.0),)
    )
    for other in (beside, weightless):
        assert _equal(alone.networks.nets[0].state_dict(), other.networks.nets[0].state_dict())
    assert not _equal(beside.networks.heads[0].state_dict(), weightless.networks.heads[0].state_dict())


def test_an_attached_head_changes_the_model():
    alone = _fit(tiny.torch_learner(model=tiny.plain_net))
    beside = _fit(tiny.torch_learner(model=tiny.plain_net), auxiliaries=(tiny.LossHead(detached=False),))
    assert not torch.equal(alone.networks.nets[0].conv.weight, beside.networks.nets[0].conv.weight)


def test_a_head_on_a_layer_that_is_not_there():
    with pytest.raises(ConfigError, match="did you mean 'hidden'"):
        _fit(auxiliaries=(tiny.LossHead(taps=("conv", "hiden")),))


# ---- weights on disk ------------------------------------------------------------------------------------------------


@pytest.mark.heavy
@pytest.mark.parametrize(
    "options", [{}, {"members": 2}, {"model": "resnet18_cifar"}, {"model": "tiny:named_net"}, {"precision": "bf16"}]
)
def test_saved_and_loaded_to_the_bit(options, tmp_path):
    phases = [Phase(epochs=1, batch_size=22, trainable=() if "model" in options else ("head",))]
    learner = _fit(tiny.torch_learner(phases=phases, **options))
    learner.save(tmp_path)
    other = tiny.torch_learner(phases=phases, **options)
    other.load(tmp_path, learner.weights)
    assert other.weights == learner.weights
    assert _equal(_state(other), _state(learner))
    for signal in (Probs(), Embedding(), LossSlope()):
        np.testing.assert_array_equal(_rows(other, signal, data=DATA), _rows(learner, signal, data=DATA))
        assert other.signal_key(signal, data=DATA) == learner.signal_key(signal, data=DATA)
    assert [path.name for path in tmp_path.iterdir()] == ["weights.safetensors"]


def test_heads_are_saved_and_loaded(tmp_path):
    learner = _fit(auxiliaries=(tiny.LossHead(),))
    learner.save(tmp_path)
    other = tiny.torch_learner()
    other.load(tmp_path, learner.weights, auxiliaries=(tiny.LossHead(),))
    np.testing.assert_array_equal(_rows(other, HeadOutput("loss_head")), _rows(learner, HeadOutput("loss_head")))


def test_foreign_weights_are_refused_and_change_nothing(tmp_path):
    learner, other = _fit(), _fit(seed=1)
    other.save(tmp_path / "other")
    before, key = _state(learner), learner.weights
    (tmp_path / "empty").mkdir()
    (tmp_path / "noise").mkdir()
    (tmp_path / "noise" / "weights.safetensors").write_bytes(b"noise" * 100)
    cut = tmp_path / "cut"
    other.save(cut)
    (cut / "weights.safetensors").write_bytes((cut / "weights.safetensors").read_bytes()[:-100])
    for folder, weights in (("other", "something else"), ("empty", "x"), ("noise", "x"), ("cut", other.weights)):
        with pytest.raises(DataError, match=r"cannot read weights|holds weights") as caught:
            learner.load(tmp_path / folder, weights)
        assert "\n" not in str(caught.value)
        assert learner.weights == key
        assert _equal(_state(learner), before)


def test_weights_of_another_shape_are_refused_in_one_line(tmp_path):
    """Somebody asks for a head that was not trained, or kept the digest and changed the net."""
    learner = _fit()
    learner.save(tmp_path)
    with pytest.raises(DataError) as caught:
        tiny.torch_learner().load(tmp_path, learner.weights, auxiliaries=(tiny.LossHead(),))
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError) as caught:
        tiny.torch_learner(model="lenet").load(tmp_path, learner.weights)
    assert "\n" not in str(caught.value)


def test_before_the_first_fit():
    learner = tiny.torch_learner()
    assert learner.weights is None
    with pytest.raises(DataError, match="no weights yet"):
        _rows(learner)
    with pytest.raises(DataError, match="no weights yet"):
        learner.evaluate(tiny.view(SOURCE, POOL))


# ---- bring your own net ---------------------------------------------------------------------------------------------


class Own(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.layer4 = nn.Sequential(nn.Conv2d(4, 8, 3, stride=2, padding=1), nn.ReLU())
        self.top = nn.Conv2d(8, 10, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.top(self.layer4(self.stem(images))).mean((2, 3))


def test_own_module_with_a_named_layer():
    learner = _fit(tiny.torch_learner(model=Own, embedding="layer4"))
    batch = learner.task.batch(learner.task.input.prepare_batch(SOURCE.batch(POOL)), None, train=False)
    net = learner.networks.nets[0]
    with torch.inference_mode():
        by_hand = net.layer4(net.stem(batch.images)).mean((2, 3))
    np.testing.assert_allclose(_rows(learner, Embedding()), by_hand.numpy(), rtol=1e-5, atol=1e-6)


def test_the_embedding_is_the_input_of_the_last_linear_layer_by_default():
    learner = _fit(tiny.torch_learner(model=tiny.plain_net))
    net = learner.networks.nets[0]
    batch = learner.task.batch(learner.task.input.prepare_batch(SOURCE.batch(POOL)), None, train=False)
    with torch.inference_mode():
        by_hand = torch.relu(net.hidden(net.pool(torch.relu(net.conv(batch.images))).flatten(1)))
    np.testing.assert_allclose(_rows(learner, Embedding()), by_hand.numpy(), rtol=1e-5, atol=1e-6)


def test_a_net_without_a_linear_layer_says_what_to_name():
    with pytest.raises(UnmetNeed, match="embedding='layer4'"):
        _rows(_fit(tiny.torch_learner(model=Own)), Embedding())


def test_a_layer_that_is_not_there_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'layer4'"):
        _rows(_fit(tiny.torch_learner(model=Own, embedding="layer3")), Embedding())


@pytest.mark.parametrize("model", ["lenett", "torchvision:resnet1", "tiny:no_such_net"])
def test_unknown_models_are_refused_in_one_line(model):
    with pytest.raises(LabelwiseError) as caught:
        _fit(tiny.torch_learner(model=model))
    assert isinstance(caught.value, ConfigError)
    assert "\n" not in str(caught.value)


def test_a_net_with_another_number_of_outputs_is_refused():
    with pytest.raises(ConfigError, match="10"):
        _fit(tiny.torch_learner(model=lambda: tiny.TinyNet(classes=7)))


# ---- trouble --------------------------------------------------------------------------------------------------------


def test_a_diverging_training_reports_nan():
    learner = tiny.torch_learner(
        model=tiny.plain_net, phases=[Phase(epochs=5, optimiser="sgd", lr=1e12, schedule="constant")]
    )
    report = learner.fit(DATA, 0)
    assert math.isnan(report.loss)
    metrics = learner.evaluate(tiny.view(SOURCE, LABELLED))
    assert 0 <= metrics["accuracy"] <= 1


@pytest.mark.heavy
@pytest.mark.parametrize("workers", [0, 1])
def test_labelled_images_that_cannot_be_read_are_skipped_and_reported(workers):
    broken = tiny.Broken(SOURCE, [LABELLED[4], LABELLED[9]])
    learner = tiny.torch_learner(phases=[Phase(epochs=2, batch_size=10)], workers=workers)
    report = learner.fit(tiny.learner_data(broken, LABELLED), 0)
    assert dict(report.skipped) == {item: f"{item!r} is truncated" for item in (LABELLED[4], LABELLED[9])}
    assert math.isfinite(report.loss)
    table = learner.collect(tiny.view(broken, LABELLED, labels=False), frozenset({Probs()}))
    assert table.ids == tuple(item for item in LABELLED if item not in (LABELLED[4], LABELLED[9]))
    assert set(table.failed) == {LABELLED[4], LABELLED[9]}
    assert learner.evaluate(tiny.view(broken, LABELLED))["accuracy"] >= 0


def test_no_labelled_image_can_be_read():
    with pytest.raises(DataError, match="can be read"):
        _fit(data=tiny.learner_data(tiny.Broken(SOURCE, LABELLED), LABELLED))


def test_nothing_that_can_be_read_is_no_metrics_and_no_rows():
    learner = _fit()
    broken = tiny.Broken(SOURCE, SOURCE.ids)
    assert learner.evaluate(tiny.view(broken, POOL)) == {}
    table = learner.collect(tiny.view(broken, POOL, labels=False), frozenset({Probs()}))
    assert table.ids == ()
    assert set(table.failed) == set(POOL)


def test_float_tensors_reach_the_net_as_they_are():
    from labelwise.data.dataset import from_dataset

    images = [(torch.rand(1, 16, 16, generator=torch.Generator().manual_seed(n)) * 5, n % 10) for n in range(12)]
    source = from_dataset(images, classes=tiny.CLASSES)
    learner = _fit(data=tiny.learner_data(source, source.ids[:10]))
    rows = learner.collect(tiny.view(source, source.ids, labels=False), frozenset({Logits()}))[Logits()]
    with torch.inference_mode():
        by_hand = learner.networks.nets[0](torch.stack([image for image, _ in images]))
    np.testing.assert_allclose(rows, by_hand.numpy(), rtol=1e-5, atol=1e-6)


def test_evaluate_is_what_it_says():
    learner = _fit(tiny.torch_learner(phases=[Phase(epochs=20, batch_size=11, lr=5e-3)]))
    view = tiny.view(SOURCE, SOURCE.ids)
    probs = _rows(learner, ids=SOURCE.ids).astype(np.float64)
    truth = np.array(view.targets)
    metrics = learner.evaluate(view)
    right = probs.argmax(1) == truth
    assert metrics["accuracy"] == pytest.approx(right.mean())
    recalls = [right[truth == c].mean() for c in np.unique(truth)]
    assert metrics["balanced_accuracy"] == pytest.approx(np.mean(recalls))
    assert metrics["worst_class_recall"] == pytest.approx(min(recalls))
    assert metrics["nll"] == pytest.approx(-np.log(probs[np.arange(60), truth]).mean(), rel=1e-5)
    assert 0 <= metrics["ece"] <= 1
