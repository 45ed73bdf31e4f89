"""FeatureLearner: a frozen backbone, read once, and a small head whose optimum is the textbook's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

import labelwise.learners.features
import tiny
from labelwise.contracts.input import InputSpec
from labelwise.contracts.learner import Examples
from labelwise.data.arrays import ArraySource
from labelwise.errors import ConfigError, DataError, UnmetNeed
from labelwise.learners.backbones import Network, Pixels, backbone
from labelwise.learners.features import FROZEN, FeatureLearner, FeatureSource, fit_linear
from labelwise.models import build
from labelwise.signals import Dropout, Embedding, Probs
from labelwise.signals.cache import SignalCache
from labelwise.signals.draws import DrawUncertainty

SOURCE = tiny.digits(240)
LABELLED = SOURCE.ids[:90]
POOL = SOURCE.ids[90:]
DATA = tiny.learner_data(SOURCE, LABELLED)


def _rows(learner: FeatureLearner, signal=None, ids=POOL, **options) -> np.ndarray:
    signal = signal or Probs()
    return np.array(learner.collect(tiny.view(SOURCE, ids, labels=False), frozenset({signal}), **options)[signal])


def _features(ids) -> np.ndarray:
    table = tiny.pixels(SOURCE).collect(tiny.view(SOURCE, ids, labels=False), frozenset({FROZEN}))
    return np.array(table[FROZEN])


def _scaled(rows: np.ndarray, by: np.ndarray) -> np.ndarray:
    """Centred, and scaled by one number: the root of the mean square."""
    centre = by.mean(0)
    return (rows - centre) / np.sqrt(((by - centre) ** 2).mean())


# ---- the linear head ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strength", [0.1, 1.0, 10.0, None])
def test_linear_head_against_scikit_learn(strength):
    learner = tiny.feature_learner(SOURCE, strength=strength)
    learner.fit(DATA, 0)
    known = _features(LABELLED).astype(np.float64)
    usual = 1e-4 * len(known) * known.shape[1]
    reference = LogisticRegression(C=1 / (usual if strength is None else strength), tol=1e-10, max_iter=5000)
    reference.fit(_scaled(known, known), DATA.labelled.targets)
    expected = reference.predict_proba(_scaled(_features(POOL).astype(np.float64), known))
    # the bias carries a hundredth of the ridge here, and none there
    np.testing.assert_allclose(_rows(learner), expected, atol=5e-3)
    assert (_rows(learner).argmax(1) == expected.argmax(1)).mean() > 0.99


def test_the_optimum_is_reached():
    """The gradient of the stated objective is zero, to the digits that L-BFGS promises."""
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.normal(size=(40, 5)).astype(np.float32))
    y = torch.from_numpy(rng.integers(0, 3, 40))
    weight, bias, loss = fit_linear(x, y, 4, 2.0)
    weight, bias = weight.double().requires_grad_(), bias.double().requires_grad_()
    entropy = torch.nn.functional.cross_entropy(x.double() @ weight.T + bias, y)
    objective = entropy + 2.0 / (2 * 40) * (weight.square().sum() + 1e-2 * bias.square().sum())
    for gradient in torch.autograd.grad(objective, (weight, bias)):
        assert gradient.abs().max() < 1e-5
    assert loss == pytest.approx(float(entropy.detach()), rel=1e-5)


def test_a_class_without_a_label_is_unlikely_but_finite():
    few = tiny.learner_data(SOURCE, [item for item in LABELLED if SOURCE.truth[item] in "012"])
    learner = tiny.feature_learner(SOURCE)
    learner.fit(few, 0)
    probs = _rows(learner)
    assert np.isfinite(probs).all()
    assert probs[:, 3:].max() < 0.2
    assert (probs[:, 3:] > 0).all()


@pytest.mark.parametrize("head", ["linear", "knn"])
def test_one_label_or_one_class_is_enough_to_go_on(head):
    for labelled in (LABELLED[:1], [item for item in LABELLED if SOURCE.truth[item] == "3"]):
        learner = tiny.feature_learner(SOURCE, head=head)
        learner.fit(tiny.learner_data(SOURCE, labelled), 0)
        probs = _rows(learner)
        assert np.isfinite(probs).all()
        np.testing.assert_allclose(probs.sum(1), 1, atol=1e-5)


def test_it_learns():
    learner = tiny.feature_learner(SOURCE)
    report = learner.fit(DATA, 0)
    assert 0 < report.loss < 1
    assert learner.evaluate(tiny.view(SOURCE, POOL))["accuracy"] > 0.75


# ---- the k-NN head --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("neighbours", [1, 5, 1000])
def test_knn_against_brute_force(neighbours):
    learner = tiny.feature_learner(SOURCE, head="knn", neighbours=neighbours)
    learner.fit(DATA, 0)
    known = _features(LABELLED).astype(np.float64)
    here, there = _scaled(_features(POOL).astype(np.float64), known), _scaled(known, known)
    distance = np.sqrt(((here[:, None] - there[None]) ** 2).sum(2))
    expected = np.zeros((len(POOL), 10))
    for row, distances in enumerate(distance):
        for near in distances.argsort(kind="stable")[:neighbours]:
            expected[row, DATA.labelled.targets[near]] += 1 / distances[near]
    expected /= expected.sum(1, keepdims=True)
    np.testing.assert_allclose(_rows(learner), expected, rtol=1e-4, atol=1e-6)


def test_knn_on_the_labelled_images_themselves():
    """At distance zero an image's own label takes it all."""
    learner = tiny.feature_learner(SOURCE, head="knn")
    learner.fit(DATA, 0)
    probs = _rows(learner, ids=LABELLED)
    assert (probs.argmax(1) == np.array(DATA.labelled.targets)).all()
    assert probs.max(1).min() > 0.999


@pytest.mark.parametrize("head", ["linear", "knn"])
def test_rows_do_not_depend_on_the_block_they_are_in(head, monkeypatch):
    learner = tiny.feature_learner(SOURCE, head=head)
    learner.fit(DATA, 0)
    whole = _rows(learner)
    for block in (1, 7, 64):
        monkeypatch.setattr(labelwise.learners.features, "BLOCK", block)
        np.testing.assert_allclose(_rows(learner), whole, rtol=1e-5, atol=1e-8)


# ---- weights and keys -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", ["linear", "knn"])
def test_fit_is_deterministic_and_the_seed_is_of_no_account(head):
    one, two = tiny.feature_learner(SOURCE, head=head), tiny.feature_learner(SOURCE, head=head)
    one.fit(DATA, 0)
    two.fit(DATA, 5)
    assert one.weights == two.weights == one.fit_key(DATA, 7)
    np.testing.assert_array_equal(_rows(one), _rows(two))


def test_the_digest_names_what_was_trained_from():
    learners = [
        tiny.feature_learner(SOURCE),
        tiny.feature_learner(SOURCE, head="knn"),
        tiny.feature_learner(SOURCE, strength=2.0),
        tiny.feature_learner(SOURCE, head="knn", neighbours=3),
        FeatureLearner(tiny.digits_task(), tiny.pixels(SOURCE, axes=5)),
        FeatureLearner(tiny.digits_task(classes="abcdefghij"), tiny.pixels(SOURCE)),
    ]
    keys = {learner.fit_key(DATA, 0) for learner in learners}
    keys |= {learners[0].fit_key(tiny.learner_data(SOURCE, LABELLED[1:]), 0)}
    assert len(keys) == len(learners) + 1


@pytest.mark.parametrize("head", ["linear", "knn"])
def test_saved_and_loaded_to_the_bit(head, tmp_path):
    learner = tiny.feature_learner(SOURCE, head=head)
    learner.fit(DATA, 0)
    learner.save(tmp_path)
    other = tiny.feature_learner(SOURCE, head=head)
    other.load(tmp_path, learner.weights)
    assert other.weights == learner.weights
    np.testing.assert_array_equal(_rows(other), _rows(learner))
    assert [path.name for path in tmp_path.iterdir()] == ["weights.safetensors"]


def test_foreign_weights_are_refused_and_change_nothing(tmp_path):
    learner, other = tiny.feature_learner(SOURCE), tiny.feature_learner(SOURCE, head="knn")
    learner.fit(DATA, 0)
    other.fit(DATA, 0)
    other.save(tmp_path / "other")
    (tmp_path / "noise").mkdir()
    (tmp_path / "noise" / "weights.safetensors").write_bytes(b"noise" * 50)
    before, key = _rows(learner), learner.weights
    for folder, weights in (("other", learner.weights), ("noise", "x"), ("nowhere", "x")):
        with pytest.raises(DataError) as caught:
            learner.load(tmp_path / folder, weights)
        assert "\n" not in str(caught.value)
        assert learner.weights == key
        np.testing.assert_array_equal(_rows(learner), before)


def test_embeddings_survive_a_fit_and_probabilities_do_not():
    learner = tiny.feature_learner(SOURCE)
    learner.fit(DATA, 0)
    before = {signal: learner.signal_key(signal) for signal in (Embedding(), Probs())}
    learner.fit(tiny.learner_data(SOURCE, LABELLED[:50]), 0)
    assert learner.signal_key(Embedding()) == before[Embedding()]
    assert learner.signal_key(Probs()) != before[Probs()]


# ---- trouble --------------------------------------------------------------------------------------------------------


def test_what_it_cannot_do_is_refused():
    learner = tiny.feature_learner(SOURCE)
    with pytest.raises(DataError, match="no weights yet"):
        _rows(learner)
    with pytest.raises(DataError, match="no weights yet"):
        learner.evaluate(tiny.view(SOURCE, POOL))
    with pytest.raises(DataError, match="no label to train on"):
        learner.fit(tiny.learner_data(SOURCE, ()), 0)
    with pytest.raises(UnmetNeed, match="trains no auxiliary"):
        learner.fit(DATA, 0, auxiliaries=(tiny.LossHead(),))


def test_images_that_cannot_be_read():
    broken = tiny.Broken(SOURCE, [LABELLED[3], POOL[2]])
    learner = FeatureLearner(tiny.digits_task(), tiny.pixels(broken))
    report = learner.fit(tiny.learner_data(broken, LABELLED), 0)
    assert dict(report.skipped) == {LABELLED[3]: f"{LABELLED[3]!r} is truncated"}
    table = learner.collect(tiny.view(broken, POOL, labels=False), frozenset({Probs()}))
    assert table.ids == tuple(item for item in POOL if item != POOL[2])
    with pytest.raises(DataError, match=r"none of the \d+ images can be read"):
        tiny.pixels(tiny.Broken(SOURCE, SOURCE.ids))


@pytest.mark.parametrize("kept", [False, True])
def test_no_labelled_image_can_be_read(kept, tmp_path):
    broken = tiny.Broken(SOURCE, LABELLED)
    learner = FeatureLearner(tiny.digits_task(), tiny.pixels(broken, folder=tmp_path if kept else None))
    with pytest.raises(DataError, match="can be read"):
        learner.fit(tiny.learner_data(broken, LABELLED), 0)


def test_dropout_draws_come_from_the_features():
    learner = tiny.feature_learner(SOURCE)
    learner.fit(DATA, 0)
    spread = _rows(learner, DrawUncertainty("mean_std", Dropout(draws=5)))
    assert (spread > 0).all()
    np.testing.assert_array_equal(spread, _rows(learner, DrawUncertainty("mean_std", Dropout(draws=5))))


# ---- backbones ------------------------------------------------------------------------------------------------------


def _pixels(source, **options) -> Pixels:
    found = Pixels(side=8, channels=1, **options)
    found.prepare(Examples(source, tuple(source.ids)))
    return found


def test_pixels_are_principal_axes():
    found = _pixels(SOURCE, axes=6)
    flat = found.input.normalise(found.input.prepare_batch(SOURCE.batch(SOURCE.ids))).flatten(1).double().numpy()
    centred = flat - flat.mean(0)
    _, scale, axes = np.linalg.svd(centred, full_matrices=False)
    rows = found(found.input.prepare_batch(SOURCE.batch(SOURCE.ids))).numpy()
    np.testing.assert_allclose(np.abs(rows), np.abs(centred @ axes[:6].T), atol=1e-4)
    np.testing.assert_allclose((rows**2).sum(0), scale[:6] ** 2, rtol=1e-4)


def test_pixels_are_kept_with_the_project(tmp_path):
    first = _pixels(SOURCE, folder=tmp_path)
    later = Pixels(side=8, channels=1, folder=tmp_path)
    later.prepare(Examples(tiny.digits(40, start=500), tiny.digits(40, start=500).ids))
    assert later.weights == first.weights, "later images join the same space"
    assert [path.suffix for path in tmp_path.iterdir()] == [".safetensors"]


def test_pixels_do_not_depend_on_the_order_of_listing():
    shuffled = list(SOURCE.ids)
    np.random.default_rng(0).shuffle(shuffled)
    again = ArraySource(SOURCE.batch(shuffled), ids=shuffled)
    assert _pixels(again).weights == _pixels(SOURCE).weights


@pytest.mark.parametrize("count", [1, 2, 3])
def test_pixels_of_very_few_or_equal_images(count):
    source = ArraySource(np.full((count, 16, 16), 7, np.uint8))
    rows = _pixels(source)(torch.full((4, 1, 8, 8), 9, dtype=torch.uint8))
    assert rows.shape == (4, count)
    assert torch.isfinite(rows).all()


def test_rows_are_the_same_in_any_batch():
    """To the bit: a pass that was broken off and goes on in other batches must not change a pick."""
    found = _pixels(SOURCE)
    prepared = found.input.prepare_batch(SOURCE.batch(SOURCE.ids))
    whole = found(prepared)
    for size in (1, 3, 100):
        assert torch.equal(torch.cat([found(part) for part in prepared.split(size)]), whole)


@pytest.mark.heavy
def test_a_network_without_its_last_layer(tmp_path):
    from labelwise.models import build

    torch.manual_seed(0)
    net = build("resnet18", 1000, tiny.InputSpec((32, 32))).eval()
    torch.save(net.state_dict(), tmp_path / "weights.pth")
    found = Network("resnet18", str(tmp_path / "weights.pth"), size=32)
    images = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    net.fc = nn.Identity()
    with torch.inference_mode():
        np.testing.assert_allclose(
            found(images).numpy(), net(found.input.normalise(images)).numpy(), rtol=1e-4, atol=1e-5
        )
    torch.save(
        {key: value + 0.01 for key, value in build("resnet18", 1000, tiny.InputSpec((32, 32))).state_dict().items()},
        tmp_path / "other.pth",
    )
    assert Network("resnet18", str(tmp_path / "other.pth"), size=32).weights != found.weights


def test_backbones_by_name(tmp_path):
    assert isinstance(backbone("pixels"), Pixels)
    with pytest.raises(ConfigError, match="unknown model"):
        backbone("resnet81")
    with pytest.raises(DataError, match="put the file there"):
        backbone("resnet18", weights=str(tmp_path / "missing.pth"))


def test_features_are_cached_under_backbone_and_preparation(tmp_path):
    for side in (8, 4):
        found = Pixels(side=side, channels=1, axes=4)
        found.prepare(Examples(SOURCE, tuple(SOURCE.ids)))
        source = FeatureSource(found, SignalCache(tmp_path))
        for _ in range(2):
            source.collect(tiny.view(SOURCE, POOL), frozenset({FROZEN}))
    assert len(list(tmp_path.iterdir())) == 2


# ---- rows on disk ---------------------------------------------------------------------------------------------------


def _source(tmp_path, dtype: str, backbone=None) -> FeatureSource:
    chosen = backbone or Pixels(side=8, axes=8, channels=1)
    chosen.prepare(Examples(SOURCE, tuple(SOURCE.ids)))
    return FeatureSource(chosen, SignalCache(tmp_path), dtype=dtype)


def test_float16_on_disk_and_float32_in_every_computation(tmp_path):
    view = tiny.view(SOURCE, SOURCE.ids)
    full, half = (_source(tmp_path, dtype) for dtype in ("float32", "float16"))
    rows = {one.dtype: np.array(one.collect(view, frozenset({FROZEN}))[FROZEN]) for one in (full, half)}
    assert rows["float16"].dtype == np.float16
    np.testing.assert_array_equal(rows["float16"], rows["float32"].astype(np.float16))
    assert full.signal_key(FROZEN) != half.signal_key(FROZEN), "rows of one precision never stand for the other"
    learners = [FeatureLearner(tiny.digits_task(), one) for one in (full, half)]
    for learner in learners:
        learner.fit(DATA, 0)
        assert all(value.dtype == torch.float32 for value in learner._state.values())
    probs = [_rows(learner) for learner in learners]
    assert probs[1].dtype == np.float32
    np.testing.assert_allclose(probs[0], probs[1], atol=2e-2)


class Loud(Pixels):
    scale = 1e6

    def __call__(self, images):
        return super().__call__(images) * self.scale


def test_features_too_large_for_float16_are_refused_before_anything_is_kept(tmp_path):
    view = tiny.view(SOURCE, SOURCE.ids[:20])
    with pytest.raises(DataError, match=r"img/0000.png.*float16 ends at 65504.*float32") as caught:
        _source(tmp_path, "float16", Loud(side=8, axes=8, channels=1)).collect(view, frozenset({FROZEN}))
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.rglob("*.npy"))
    _source(tmp_path, "float32", Loud(side=8, axes=8, channels=1)).collect(view, frozenset({FROZEN}))
    silent = Loud(side=8, axes=8, channels=1)
    silent.scale = float("nan")
    with pytest.raises(DataError, match="NaN or infinity"):
        _source(tmp_path / "x", "float32", silent).collect(view, frozenset({FROZEN}))


def test_other_images_or_other_weights_under_the_same_names_never_hit(tmp_path):
    """Rows are found by weights and content, whatever images and files are called."""

    class Counted(Pixels):
        read = 0

        def __call__(self, images):
            self.read += len(images)
            return super().__call__(images)

    images = SOURCE.batch(SOURCE.ids[:40])
    other = ArraySource(255 - images, ids=SOURCE.ids[:40])
    chosen = Counted(side=8, axes=4, channels=1)
    first = _source(tmp_path, "float32", chosen)
    one = first.collect(Examples(SOURCE, tuple(SOURCE.ids[:40])), frozenset({FROZEN}))
    two = first.collect(Examples(other, tuple(other.ids)), frozenset({FROZEN}))
    assert chosen.read == 80
    assert not np.allclose(np.asarray(one[FROZEN]), np.asarray(two[FROZEN]))
    changed = Counted(side=8, axes=4, channels=1)
    changed.prepare(Examples(other, tuple(other.ids)))
    FeatureSource(changed, SignalCache(tmp_path)).collect(Examples(SOURCE, tuple(SOURCE.ids[:40])), frozenset({FROZEN}))
    assert changed.read == 40


def test_an_image_that_equals_a_labelled_one_is_its_neighbour_whatever_the_batch():
    """Distances of many rows come from one product, in which an image is a thousandth away from itself."""
    learner = tiny.feature_learner(SOURCE, head="knn")
    learner.fit(tiny.learner_data(SOURCE, SOURCE.ids[:40]), 0)
    together = learner.collect(tiny.view(SOURCE, SOURCE.ids[:40]), frozenset({Probs()}))[Probs()]
    for row, item in enumerate(SOURCE.ids[:5]):
        alone = learner.collect(tiny.view(SOURCE, [item]), frozenset({Probs()}))[Probs()]
        np.testing.assert_array_equal(alone[0], together[row])
    assert (together.max(1) > 0.9999).all()


def test_float_images_of_other_channels_than_the_backbone_takes_are_refused_in_one_line():
    spec = InputSpec((16, 16), 3)
    backbone = Network.around(build("lenet", 5, spec), spec)
    assert backbone(torch.zeros(2, 3, 16, 16)).shape[0] == 2
    with pytest.raises(DataError, match="takes 3 channels, and these float images have 1"):
        backbone(torch.zeros(2, 1, 16, 16))
