"""VAAL: the losses against sums written out by hand, and what the training comes to where images can be told apart."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import tiny
from labelwise.contracts.input import InputSpec
from labelwise.contracts.query import Budget
from labelwise.contracts.signal import ProbeContext
from labelwise.contracts.task import Batch
from labelwise.data.arrays import ArraySource
from labelwise.errors import ConfigError, UnmetNeed
from labelwise.models.autoencoder import AutoEncoder, discriminator
from labelwise.selection.progress import listening
from labelwise.signals.adversary import (
    Adversary,
    _endless,
    _Game,
    _kept,
    image_elbo,
    published_elbo,
    separation,
)
from labelwise.strategies import STRATEGIES
from labelwise.strategies.vaal import VAAL
from labelwise.tasks.classification import Classification

SMALL = {"iterations": 3, "batch_size": 4, "width": 2, "side": 16, "latent": 3}


# ---- losses, sums written out ---------------------------------------------------------------------------------------


def _toy() -> tuple[torch.Tensor, ...]:
    rng = torch.Generator().manual_seed(0)
    return tuple(torch.randn(shape, generator=rng) for shape in ((4, 1, 3, 3), (4, 1, 3, 3), (4, 2), (4, 2)))


def _by_hand(published: bool, beta: float) -> float:
    seen, images, mean, log_variance = (part.double().numpy() for part in _toy())
    squares = divergence = 0.0
    for image in range(4):
        for row in range(3):
            for column in range(3):
                squares += (seen[image, 0, row, column] - images[image, 0, row, column]) ** 2
        for z in range(2):
            m, v = mean[image, z], log_variance[image, z]
            divergence += -0.5 * (1 + v - m * m - math.exp(v))
    return squares / 36 + beta * divergence if published else (squares + beta * divergence) / 4


@pytest.mark.parametrize("beta", [0.0, 1.0, 2.5])
@pytest.mark.parametrize(("loss", "published"), [(image_elbo, False), (published_elbo, True)])
def test_both_losses_of_the_auto_encoder(loss, published, beta):
    assert float(loss(*_toy(), beta)) == pytest.approx(_by_hand(published, beta), rel=1e-5)


def _game(preset: str, fooling: float = 0.7) -> tuple[_Game, torch.Tensor, torch.Tensor]:
    signal = Adversary(preset, **SMALL, fooling=fooling)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        known, new = torch.rand(4, 1, 16, 16), torch.rand(4, 1, 16, 16)
        return _Game.of(signal, known, new), known, new


def _bce(logits: torch.Tensor, label: int) -> float:
    chances = [1 / (1 + math.exp(-x)) for x in logits[:, 0].double().tolist()]
    return -sum(math.log(p if label else 1 - p) for p in chances) / len(chances)


@pytest.mark.parametrize("preset", ["default", "faithful"])
def test_the_discriminators_loss(preset):
    game, known, new = _game(preset)
    loss = float(game.judge_loss(known, new).detach())
    with torch.no_grad():
        if preset == "faithful":  # each kind by its own statistics
            codes = [game.encoder.encode(images)[0] for images in (known, new)]
        else:
            codes = game.encoder.encode(torch.cat([known, new]))[0].split(4)
        expected = _bce(game.judge(codes[0]), 1) + _bce(game.judge(codes[1]), 0)
    assert loss == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("preset", ["default", "faithful"])
def test_the_auto_encoders_loss(preset):
    """With noise taken out (no variance), both parts and the wish to have both kinds judged labelled."""
    game, known, new = _game(preset)
    torch.nn.init.zeros_(game.encoder.log_variance.weight)
    torch.nn.init.constant_(game.encoder.log_variance.bias, -40.0)
    loss = float(game.encoder_loss(known, new).detach())
    parts = [known, new] if preset == "faithful" else [torch.cat([known, new])]
    elbo = published_elbo if preset == "faithful" else image_elbo
    expected = 0.0
    with torch.no_grad():
        for images in parts:
            mean, log_variance = game.encoder.encode(images)
            seen = game.encoder.decode(mean)
            for rows in range(0, len(images), 4):
                cut = slice(rows, rows + 4)
                expected += float(elbo(seen[cut], images[cut], mean[cut], log_variance[cut], 1.0))
                expected += 0.7 * _bce(game.judge(mean[cut]), 1)
    assert loss == pytest.approx(expected, rel=1e-4)


def test_the_discriminator_leaves_the_encoder_alone_and_the_other_way_round():
    game, known, new = _game("default")
    game.judge_loss(known, new).backward()
    assert all(parameter.grad is None for parameter in game.encoder.parameters())
    assert all(parameter.grad is not None for parameter in game.judge.parameters())


def test_separation_counts_pairs():
    rng = np.random.default_rng(0)
    for _ in range(20):
        known, new = (rng.integers(0, 4, size=rng.integers(1, 9)).astype(float) for _ in range(2))
        pairs = [(b > a) + 0.5 * (b == a) for a in known for b in new]
        assert separation(torch.tensor(known), torch.tensor(new)) == pytest.approx(sum(pairs) / len(pairs))


# ---- the published nets ---------------------------------------------------------------------------------------------


def test_nets_have_the_published_sizes():
    assert sum(p.numel() for p in AutoEncoder(1, 32, 64, 32).parameters()) == 5_910_401
    assert sum(p.numel() for p in AutoEncoder(3, 32, 128, 32).parameters()) == 22_835_139
    assert len([m for m in discriminator(32, 4).modules() if isinstance(m, torch.nn.Linear)]) == 5


def test_the_published_constants():
    known = torch.zeros(2, 3, 32, 32)
    with torch.random.fork_rng():
        game = _Game.of(Adversary("faithful"), known, known)
    assert game.encoder.mean.in_features == 4096
    assert game.encoder.mean.out_features == 32
    assert len(game.judge) == 5


# ---- what images are brought to -------------------------------------------------------------------------------------


def test_pixels_are_brought_back_from_what_the_model_reads():
    spec = InputSpec((28, 28), 1, (0.1307,), (0.3081,))
    raw = torch.randint(0, 256, (3, 1, 28, 28), dtype=torch.uint8)
    padded = Adversary("faithful")._fitted(spec)(spec.normalise(raw))
    assert padded.shape == (3, 1, 32, 32)
    torch.testing.assert_close(padded[..., 2:-2, 2:-2], raw / 255, atol=1e-6, rtol=0)
    assert float(padded[..., :2, :].abs().max()) < 1e-6
    shrunk = Adversary()._fitted(spec)(spec.normalise(torch.full((1, 1, 90, 50), 51, dtype=torch.uint8)))
    torch.testing.assert_close(shrunk, torch.full((1, 1, 32, 32), 0.2), atol=1e-5, rtol=0)


@pytest.mark.heavy
@pytest.mark.parametrize("preset", ["default", "faithful"])
@pytest.mark.parametrize(("size", "channels"), [((7, 5), 1), ((33, 90), 3)])
def test_any_size_and_either_number_of_channels(preset, size, channels):
    images = np.random.default_rng(0).integers(0, 256, (14, *size, channels), dtype=np.uint8)
    labels = np.arange(14) % 2
    source = ArraySource(images, labels, classes=("0", "1"), ids=[f"{i:02}" for i in range(14)], roles=["pool"] * 14)
    task = Classification(("0", "1"), InputSpec(size, channels), "none")
    net = lambda: torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(channels * size[0] * size[1], 2))  # noqa: E731
    learner = tiny.torch_learner(task, net)
    learner.fit(tiny.learner_data(source, source.ids[:5]), 0)
    signal = Adversary(preset, **SMALL)
    data = tiny.learner_data(source, source.ids[:5])
    rows = learner.collect(tiny.view(source, labels=False), frozenset({signal}), data=data)[signal]
    assert rows.shape == (14, 3)
    assert np.isfinite(rows).all()


def test_a_random_part_of_a_large_pool_is_learnt_from():
    images = torch.arange(50.0).view(50, 1, 1, 1)
    batches = lambda: (Batch(images[i : i + 7]) for i in range(0, 50, 7))  # noqa: E731
    rng = np.random.default_rng(0)
    counts = np.zeros(50)
    for _ in range(400):
        kept = _kept(batches(), lambda x: x, 10, rng)
        assert len(set(kept.flatten().tolist())) == 10
        counts[kept.flatten().long().numpy()] += 1
    assert abs(counts - 80).max() < 40  # 80 expected, standard deviation 8
    assert len(_kept(batches(), lambda x: x, None, rng)) == 50
    assert _kept(iter([Batch(images[:0])]), lambda x: x, None, rng) is None


def test_every_image_comes_once_before_any_comes_again():
    with torch.random.fork_rng():
        batches = _endless(torch.arange(5.0).view(5, 1, 1, 1), 3)
        seen = torch.cat([next(batches) for _ in range(5)]).flatten().tolist()
    assert all(sorted(seen[i : i + 5]) == [0, 1, 2, 3, 4] for i in range(0, 15, 5))


# ---- what it comes to -----------------------------------------------------------------------------------------------


def _two_kinds(count: int = 240) -> ArraySource:
    """Grey images with a bright left half (class a, the first half of the ids) or a bright right half (class b)."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 80, (count, 16, 16, 1), dtype=np.uint8)
    labels = (np.arange(count) >= count // 2).astype(int)
    images[labels == 0, :, :8] += 150
    images[labels == 1, :, 8:] += 150
    ids = [f"{number:03}" for number in range(count)]
    return ArraySource(images, labels, classes=("0", "1"), ids=ids, roles=["pool"] * count)


def _trained_on_one_kind(**options):
    source = _two_kinds()
    task = Classification(("0", "1"), InputSpec((16, 16), 1), "none")
    data = tiny.learner_data(source, source.ids[:40])
    learner = tiny.torch_learner(task, lambda: tiny.TinyNet(2))
    learner.fit(data, 0)
    signal = Adversary(**{"iterations": 60, "batch_size": 16, "width": 4, "side": 16, "latent": 8, **options})
    rows = learner.collect(tiny.view(source, labels=False), frozenset({signal}), data=data)[signal]
    return source, rows


@pytest.mark.heavy
def test_what_nobody_labelled_is_wanted_most():
    _, rows = _trained_on_one_kind()
    logit = torch.from_numpy(rows[:, 0])
    assert separation(logit[40:120], logit[120:]) > 0.95, "unlabelled images of the labelled kind are wanted less"
    assert rows[0, 1] > 0.75
    assert rows[0, 2] > 0.2, "the code says something of the images"
    assert (rows[:, 1:] == rows[0, 1:]).all()


@pytest.mark.heavy
def test_the_published_loss_presses_the_code_together():
    rows = [_trained_on_one_kind(preset=preset, fooling=0.0)[1] for preset in ("faithful", "default")]
    assert 1.4 * rows[0][0, 2] < rows[1][0, 2]


@pytest.mark.heavy
def test_the_published_statistics_depend_on_the_neighbours_and_the_default_ones_do_not():
    source = _two_kinds(60)
    task = Classification(("0", "1"), InputSpec((16, 16), 1), "none")
    data = tiny.learner_data(source, source.ids[:20])
    for preset, same in (("default", True), ("faithful", False)):
        learner = tiny.torch_learner(task, lambda: tiny.TinyNet(2))
        learner.fit(data, 0)
        rows = []
        for size in (40, 7):
            learner.batch_size = size
            signal = Adversary(preset, **SMALL)
            rows.append(learner.collect(tiny.view(source, labels=False), frozenset({signal}), data=data)[signal][:, 0])
        assert np.allclose(*rows, rtol=1e-4, atol=1e-6) is same


@pytest.mark.heavy
def test_the_seed_decides_and_progress_is_told():
    source = tiny.digits(40)
    data = tiny.learner_data(source, source.ids[:10])
    learner = tiny.torch_learner()
    learner.fit(data, 0)
    signal, heard = Adversary(**SMALL), []
    before = torch.get_rng_state()
    view = tiny.view(source, labels=False)
    with listening(lambda *said: heard.append(said)):
        rows = [learner.collect(view, frozenset({signal}), data=data, seed=seed)[signal] for seed in (0, 0, 1)]
    np.testing.assert_array_equal(rows[0], rows[1])
    assert not np.array_equal(rows[0], rows[2])
    assert heard[:3] == [("training the adversary", done, 3) for done in (1, 2, 3)]
    assert torch.equal(torch.get_rng_state(), before)


def test_it_can_be_broken_off():
    source = tiny.digits(40)
    learner = tiny.torch_learner()
    data = tiny.learner_data(source, source.ids[:10])
    learner.fit(data, 0)

    def stop(what: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), listening(stop):
        learner.collect(tiny.view(source, labels=False), frozenset({Adversary(**SMALL)}), data=data)


@pytest.mark.heavy
def test_a_campaign_without_labels_and_with_all_of_them(tmp_path):
    source = tiny.digits(30)
    learner = tiny.torch_learner()
    learner.fit(tiny.learner_data(source, source.ids[:10]), 0)
    strategy = VAAL(**SMALL)
    campaign = tiny.campaign(tmp_path / "some", source, learner, labelled=source.ids[:10])
    chosen = campaign.choose(strategy, Budget(5))
    assert "tells unlabelled from labelled images at" in chosen.notes[0]
    scores = [pick.score for pick in chosen.picks]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)
    assert (
        len(tiny.campaign(tmp_path / "one", source, learner, labelled=source.ids[:1]).choose(strategy, None).picks)
        == 29
    )
    none = tiny.campaign(tmp_path / "none", source, learner).choose(strategy, Budget(5))
    assert none.notes == ("vaal acts as Random() here",)


def test_one_kind_of_image_is_nothing_to_tell_apart():
    empty = lambda: iter(())  # noqa: E731
    context = ProbeContext(
        torch.nn.Identity(), SimpleNamespace(input=InputSpec()), empty, empty, empty, np.random.default_rng(0)
    )
    signal = Adversary()
    assert signal.prepare(context) is None
    assert torch.equal(signal.compute(None, context.model, Batch(torch.rand(2, 3, 8, 8)), "pool"), torch.zeros(2, 3))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"side": 20}, "side must be a multiple of 16, got 20"),
        ({"side": 0}, "side must be a multiple of 16, got 0"),
        ({"iterations": 0}, "iterations must be at least 1, got 0"),
        ({"latent": 0}, "latent must be at least 1, got 0"),
        ({"width": -1}, "width must be at least 1, got -1"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"beta": -1.0}, "beta must be 0 or more, got -1.0"),
        ({"fooling": float("nan")}, "fooling must be 0 or more, got nan"),
        ({"preset": "paper"}, "paper"),
    ],
)
def test_bad_options_are_refused_in_one_line(options, message):
    with pytest.raises(ConfigError, match=message) as caught:
        STRATEGIES.create("vaal", **options)
    assert "\n" not in str(caught.value)


def test_a_learner_without_images_is_refused(tmp_path):
    source = tiny.digits(30)
    learner = tiny.feature_learner(source)
    campaign = tiny.campaign(tmp_path, source, learner, labelled=source.ids[:10], frozen=learner.source)
    campaign.fit()
    with pytest.raises(UnmetNeed, match="needs to probe the model"):
        campaign.offer.check([VAAL()])
    assert replace(VAAL(), iterations=3).signal.iterations == 3
