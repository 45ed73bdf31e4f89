"""Disagreement between stochastic passes: the fold against a loop that keeps all draws."""

from __future__ import annotations

import math
import typing

import numpy as np
import pytest
import torch
from torch import nn

import tiny
from labelwise.contracts.task import Batch, Outputs
from labelwise.errors import ConfigError
from labelwise.learners.passes import all_passes, changed_view, dropout_mask, dropped
from labelwise.rng import torch_generator
from labelwise.signals import Dropout, Members, Views
from labelwise.signals.draws import DrawMeasure, DrawUncertainty
from labelwise.strategies import STRATEGIES

MEASURES = ("bald", "mean_std", "variation_ratio", "predictive_entropy", "predictive_variance")


def _entropy(probs: list[float], exclusive: bool) -> float:
    values = probs if exclusive and len(probs) > 1 else [q for p in probs for q in (p, 1 - p)]
    return -sum(p * math.log(p) for p in values if p > 0)


def slow(measure: str, draws: list[list[float]], exclusive: bool) -> float:
    """One unit, all its draws at hand, in Python floats."""
    count, classes = len(draws), len(draws[0])
    mean = [sum(draw[c] for draw in draws) / count for c in range(classes)]
    variances = [sum((draw[c] - mean[c]) ** 2 for draw in draws) / count for c in range(classes)]
    if measure == "predictive_entropy":
        return _entropy(mean, exclusive)
    if measure == "bald":
        return max(0.0, _entropy(mean, exclusive) - sum(_entropy(draw, exclusive) for draw in draws) / count)
    if measure == "predictive_variance":
        return sum(variances) / classes
    if measure == "mean_std":
        return sum(math.sqrt(v) for v in variances) / classes
    if exclusive and classes > 1:
        votes = [0] * classes
        for draw in draws:
            votes[draw.index(max(draw))] += 1
        return 1 - max(votes) / count
    yes = [sum(draw[c] > 0.5 for draw in draws) for c in range(classes)]
    return max(min(v, count - v) for v in yes) / count


def _draws(seed: int, count: int, units: int, classes: int, exclusive: bool) -> np.ndarray:
    rng = np.random.default_rng(seed)
    draws = rng.dirichlet(np.full(classes, 0.7), (count, units)) if exclusive else rng.random((count, units, classes))
    draws[:, 0] = draws[0, 0]  # all draws agree
    draws[:, 1] = np.eye(classes)[np.arange(count) % classes]  # sure each time, of something else
    if units > 2:
        draws[:, 2] = 1 / classes if exclusive else 0.5  # ties
    return draws.astype(np.float32)


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize(
    ("count", "classes", "exclusive"),
    [(1, 3, True), (2, 2, True), (7, 4, True), (5, 3, False), (4, 1, False), (3, 1, True)],
)
def test_the_fold_against_a_loop_that_keeps_all_draws(measure, count, classes, exclusive):
    draws = _draws(count, count, 9, classes, exclusive)
    signal = DrawUncertainty(measure, Dropout(draws=count))
    outputs = [Outputs(9, torch.arange(9), torch.from_numpy(draw), exclusive) for draw in draws]
    state = signal.start(outputs[0])
    for output in outputs:
        state = signal.step(state, output)
    expected = [slow(measure, draws[:, unit].tolist(), exclusive) for unit in range(9)]
    np.testing.assert_allclose(signal.finish(state).numpy(), expected, rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize("measure", typing.get_args(DrawMeasure))
@pytest.mark.parametrize(("reduction", "by"), [("mean", np.mean), ("max", np.max), ("sum", np.sum)])
def test_of_images_of_several_classes_each_class_is_a_unit(measure, reduction, by):
    draws = _draws(5, 5, 9, 3, exclusive=False)
    signal = DrawUncertainty(measure, Dropout(draws=5), reduction=reduction)
    outputs = [Outputs.of_images(torch.from_numpy(draw), exclusive=False) for draw in draws]
    state = signal.start(outputs[0])
    for output in outputs:
        state = signal.step(state, output)
    expected = [by([slow(measure, draws[:, unit, [c]].tolist(), False) for c in range(3)]) for unit in range(9)]
    np.testing.assert_allclose(signal.finish(state).numpy(), expected, rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize("measure", MEASURES)
def test_units_are_those_of_the_deterministic_pass(measure):
    """Detection re-scores fixed boxes: items without one take their declared place over the whole pool."""
    draws = _draws(3, 4, 6, 3, True)
    owners = torch.tensor([0, 0, 2, 2, 2, 5])
    signal = DrawUncertainty(measure, Dropout(draws=4), reduction="max", empty="first")

    def outputs(draw: np.ndarray) -> Outputs:
        return Outputs(6, owners, torch.from_numpy(draw))

    state = signal.start(outputs(draws[0]))
    for draw in draws:
        state = signal.step(state, outputs(draw))
    rows = signal.settle(signal.finish(state)).numpy()
    units = [slow(measure, draws[:, unit].tolist(), True) for unit in range(6)]
    expected = {0: max(units[:2]), 2: max(units[2:5]), 5: units[5]}
    for item, value in expected.items():
        assert rows[item] == pytest.approx(value, rel=1e-4, abs=2e-6)
    assert (rows[[1, 3, 4]] > max(rows[[0, 2, 5]])).all()


# ---- a whole learner against passes done by hand --------------------------------------------------------------------

SOURCE = tiny.digits(30)


@pytest.fixture(scope="module")
def learner():
    learner = tiny.torch_learner(members=2, batch_size=7)
    learner.fit(tiny.learner_data(SOURCE, SOURCE.ids[:20]), 0)
    return learner


def _batch(learner) -> Batch:
    return learner.task.batch(learner.task.input.prepare_batch(SOURCE.batch(SOURCE.ids)), None, train=False)


def _by_hand(learner, passes, seed: int) -> list[np.ndarray]:
    """Probabilities of each pass with the net's layers called one by one."""
    net, images = learner.networks.nets[0], _batch(learner).images
    found, of_members = [], isinstance(passes, Members)
    masks = passes.dropout if of_members else passes
    for draw in range(passes.count(2)):
        with torch.inference_mode():
            if of_members:
                net = learner.networks.nets[draw % 2]
            if masks is None:
                found.append(net(images).softmax(1).numpy())
                continue
            maps = net.conv(images)
            if "conv" in masks.after:
                maps = maps * dropout_mask(maps, masks.p, torch_generator(seed, "dropout", draw, "conv"), masks.unit)
            hidden = torch.relu(net.hidden(net.pool(torch.relu(net.norm(maps))).flatten(1)))
            if not masks.after:
                hidden = hidden * dropout_mask(hidden, 0.5, torch_generator(seed, "dropout", draw, "drop"))
            found.append(net.head(hidden).softmax(1).numpy())
    return found


@pytest.mark.heavy
@pytest.mark.parametrize(
    "passes",
    [
        Dropout(draws=5),
        Dropout(draws=3, p=0.4, after=("conv",)),
        Dropout(draws=3, p=0.4, after=("conv",), unit="channel"),
        Members(),
        Members(draws=3),
        Members(draws=3, dropout=Dropout()),
        Members(draws=2, dropout=Dropout(p=0.4, after=("conv",))),
    ],
    ids=repr,
)
def test_a_learner_against_passes_by_hand(passes, learner):
    draws = _by_hand(learner, passes, 11)
    signals = [DrawUncertainty(measure, passes) for measure in MEASURES]
    table = learner.collect(tiny.view(SOURCE, labels=False), frozenset(signals), seed=11)
    for signal in signals:
        expected = [slow(signal.measure, [draw[n].tolist() for draw in draws], True) for n in range(30)]
        np.testing.assert_allclose(table[signal], expected, rtol=1e-3, atol=2e-6)


def test_every_member_is_drawn_as_often_as_the_others():
    assert [Members().count(members) for members in (1, 3)] == [1, 3]
    assert Members(draws=16, dropout=Dropout()).count(4) == 64
    assert Dropout(draws=7).count(4) == Views(draws=7).count(4) == 7
    strategy = STRATEGIES.create("variation_ratio", source={"kind": "members", "dropout": {"p": 0.2}}, passes=5)
    assert strategy.signal.passes == Members(draws=5, dropout=Dropout(p=0.2))
    for wrong, message in (
        ({"q": 0.2}, "unknown option of 'dropout' passes 'q'"),
        ({"kind": "views"}, "dropout must describe masks"),
        (3, "dropout must describe masks"),
    ):
        with pytest.raises(ConfigError, match=message):
            STRATEGIES.create("variation_ratio", source={"kind": "members", "dropout": wrong})


def test_masks():
    """The same for all images, scaled so that the mean stays; another draw is another mask."""
    maps = torch.ones(3, 400, 2, 2)
    masks = [dropout_mask(maps, 0.25, torch_generator(0, "dropout", draw, "layer")) for draw in (0, 0, 1)]
    assert masks[0].shape == (1, 400, 2, 2)
    assert not torch.equal(masks[0][..., 0, 0], masks[0][..., 1, 1]), "each element by itself"
    assert dropout_mask(maps, 0.25, torch_generator(0, "x"), "channel").shape == (1, 400, 1, 1)
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])
    assert masks[0].unique().tolist() == [0.0, pytest.approx(4 / 3)]
    assert masks[0].mean().item() == pytest.approx(1, abs=0.1)
    assert dropout_mask(torch.ones(3, 400), 0.25, torch_generator(0, "x")).shape == (1, 400)


def test_masks_of_token_sequences_drop_features_and_not_tokens():
    """Transformers give (B, tokens, D): what one layer of them decides about is a feature."""
    tokens = torch.ones(3, 7, 64)
    assert dropout_mask(tokens, 0.5, torch_generator(0, "x"), "channel").shape == (1, 1, 64)
    assert dropout_mask(tokens, 0.5, torch_generator(0, "x")).shape == (1, 7, 64)


@pytest.mark.parametrize(("layer", "unit"), [(nn.Dropout, "element"), (nn.Dropout2d, "channel")])
def test_own_layers_decide_as_they_did_in_training(layer, unit):
    net = nn.Sequential(nn.Conv2d(1, 8, 3), layer(0.5)).eval()
    with dropped(net, Dropout(), 0, 0), torch.inference_mode():
        gone = net(torch.rand(2, 1, 12, 12, generator=torch.Generator().manual_seed(0)))[0] == 0
    of_a_channel = gone.float().mean((1, 2))
    assert bool((of_a_channel * (1 - of_a_channel) == 0).all()) is (unit == "channel")


def test_each_own_layer_keeps_its_share_and_batch_norm_never_moves():
    net = tiny.TinyNet(dropout=0.9).eval()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    images = torch.rand(4, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    seen = []
    hook = net.head.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with dropped(net, Dropout(draws=1), 0, 0), torch.inference_mode():
        net(images)
    hook.remove()
    zeros = (seen[0] == 0).all(0)
    assert zeros.float().mean() > 0.5
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert not net.training
    assert not any(module._forward_hooks for module in net.modules())


def test_views():
    """The same change for all images: mirrored on every other draw, turned by at most so much, the same noise."""
    images = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    batch = Batch(torch.cat([images, images]))
    for draw in range(4):
        changed = changed_view(batch, Views(), 3, draw).images
        assert torch.equal(changed[:2], changed[2:]), "each image is changed alike"
        assert torch.equal(changed, changed_view(batch, Views(), 3, draw).images)
        assert not torch.equal(changed, changed_view(batch, Views(), 4, draw).images)
    mirror = Views(flip=True, degrees=0.0, noise=0.0)
    assert torch.equal(changed_view(batch, mirror, 0, 0).images, batch.images)
    assert torch.equal(changed_view(batch, mirror, 0, 1).images, batch.images.flip(-1))
    noisy = changed_view(batch, Views(flip=False, degrees=0.0, noise=0.1), 0, 0).images - batch.images
    assert noisy.std().item() == pytest.approx(0.1, rel=0.2)
    turned = changed_view(Batch(torch.ones(1, 1, 64, 64)), Views(flip=False, degrees=10.0, noise=0.0), 0, 1).images
    assert turned[0, 0, 24:40, 24:40].min() > 0.999, "the middle stays"
    assert turned.min() < 0.5, "the corners turn out of sight"


def test_odd_passes_are_refused():
    from labelwise.errors import ConfigError, UnmetNeed
    from labelwise.signals import Passes

    batch = Batch(torch.zeros(1, 1, 16, 16))
    with pytest.raises(UnmetNeed, match="no learner knows"):
        next(all_passes([tiny.TinyNet()], batch, Passes(1), 0))
    with pytest.raises(UnmetNeed, match="no dropout layer to draw from"), dropped(tiny.plain_net(), Dropout(), 0, 0):
        pass
    with (
        pytest.raises(ConfigError, match="did you mean 'hidden'"),
        dropped(tiny.TinyNet(), Dropout(after=("hiden",)), 0, 0),
    ):
        pass
    for wrong in ({"draws": 0}, {"p": 0.0}, {"p": 1.0}, {"unit": "row"}):
        with pytest.raises(ValueError, match="must"):
            Dropout(**wrong)
