"""BatchBALD against the joint mutual information, counted answer by answer."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from labelwise.errors import ConfigError, DataError, NonFiniteScore
from labelwise.selection import information as module
from labelwise.selection.information import batch_bald


def generator(seed=0):
    return np.random.default_rng(seed)


def random_draws(items, draws, classes, seed=0, sharpness=2.0):
    logits = generator(seed).normal(size=(items, draws, classes)) * sharpness
    return np.exp(logits) / np.exp(logits).sum(2, keepdims=True)


def information(draws, batch):
    """I(y_1 ... y_n; w) = H[y_1 ... y_n] - E_w H[y_1 ... y_n | w] over all C^n answers: equations 8 to 10."""
    count, classes = draws.shape[1:]
    joint, conditional = 0.0, 0.0
    for answer in itertools.product(range(classes), repeat=len(batch)):
        given = [math.prod(draws[item, t, c] for item, c in zip(batch, answer, strict=True)) for t in range(count)]
        mean = sum(given) / count
        joint -= mean * math.log(mean) if mean > 0 else 0.0
        conditional -= sum(p * math.log(p) for p in given if p > 0) / count
    return joint - conditional


def assert_greedy(draws, picks, gains, candidates=None, tolerance=2e-5):
    """Each pick adds as much as any candidate could have, and its gain is what it adds."""
    picks, gains = picks.tolist(), gains.tolist()
    free = set(range(len(draws)) if candidates is None else candidates)
    assert len(set(picks)) == len(picks)
    assert set(picks) <= free
    known = 0.0
    for turn, pick in enumerate(picks):
        added = {item: information(draws, [*picks[:turn], item]) - known for item in free}
        assert gains[turn] == pytest.approx(added[pick], abs=tolerance)
        assert added[pick] >= max(added.values()) - tolerance
        free.remove(pick)
        known += added[pick]


CASES = {
    "random": random_draws(9, 4, 3),
    "sharp": random_draws(9, 5, 2, sharpness=12.0),
    "two classes, many draws": random_draws(8, 20, 2, seed=1),
    "every item twice": np.repeat(random_draws(5, 4, 3, seed=2), 2, axis=0),
    "draws of zeros and ones": np.eye(3)[generator(3).integers(0, 3, (9, 6))],
    "all alike": np.full((7, 4, 3), 1 / 3),
    "one draw": random_draws(6, 1, 3),
    "one class": np.ones((6, 3, 1)),
    "one item": random_draws(1, 4, 3),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("group", [1, 16])
def test_each_pick_adds_most(name, group, monkeypatch):
    monkeypatch.setattr(module, "_CPU_GROUP", group)
    draws = CASES[name]
    for k in {1, min(4, len(draws))}:
        picks, gains = batch_bald(draws, k, rng=generator())
        assert_greedy(draws, picks, gains)


def test_only_candidates_are_picked():
    draws = random_draws(10, 4, 3, seed=4)
    picks, gains = batch_bald(draws, 3, candidates_M=[1, 4, 7, 9], rng=generator())
    assert_greedy(draws, picks, gains, candidates=[1, 4, 7, 9])


def test_small_blocks_change_nothing(monkeypatch):
    draws = random_draws(30, 6, 4, seed=5)
    expected = batch_bald(draws, 6, rng=generator())
    monkeypatch.setattr(module, "_CPU_BLOCK", 1)
    picks, gains = batch_bald(draws, 6, rng=generator())
    assert torch.equal(picks, expected[0])
    torch.testing.assert_close(gains, expected[1])


def test_the_first_pick_has_the_highest_bald():
    from labelwise.selection.draws import bald, fold

    draws = random_draws(50, 8, 5, seed=6)
    picks, gains = batch_bald(draws, 1, rng=generator())
    scores = bald(fold(draws.transpose(1, 0, 2)))
    assert int(picks[0]) == int(scores.argmax())
    assert float(gains[0]) == pytest.approx(float(scores.max()), abs=1e-6)


def test_a_duplicate_tells_less_than_something_new():
    """BALD ranks the copies first and second; together they tell no more than one."""
    sure = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    weaker = np.array([[0.9, 0.1], [0.1, 0.9], [0.9, 0.1], [0.1, 0.9]])
    draws = np.stack([sure, sure, weaker, np.full((4, 2), 0.5)])
    for seed in range(4):
        picks, _ = batch_bald(draws, 2, rng=generator(seed))
        assert set(picks.tolist()) in ({0, 2}, {1, 2})


def test_drawn_answers_converge_to_all_answers():
    """The gain of every second pick, estimated from few answers many times, is right on average and spreads less."""
    draws = torch.from_numpy(random_draws(6, 5, 6, seed=7))
    batch = [0, 1, 2]
    exact = np.array([information(draws.numpy(), [*batch, item]) for item in (3, 4, 5)]) - information(
        draws.numpy(), batch
    )

    def estimate(configurations, seed):
        rng = generator(seed)
        answers = module._Answers.none(5, draws.device)
        for item in batch:
            answers = answers.extended(draws[item], configurations, rng)
        assert len(answers.share_G) <= configurations
        return answers.gains(draws, torch.tensor([3, 4, 5])).numpy()

    few, many = (np.stack([estimate(count, seed) for seed in range(60)]) for count in (12, 150))
    for found in (few, many):
        error = found.mean(0) - exact
        assert (np.abs(error) < 4 * found.std(0) / np.sqrt(60) + 1e-4).all()
    assert (many.std(0) < few.std(0)).all()
    np.testing.assert_allclose(estimate(216, 0), exact, atol=1e-5)


def test_information_is_bounded_by_what_the_draws_can_tell():
    draws = random_draws(80, 4, 5, seed=8, sharpness=4.0)
    for configurations in (1, 30, 2000):
        picks, gains = batch_bald(draws, 80, configurations=configurations, rng=generator())
        assert sorted(picks.tolist()) == list(range(80))
        assert (gains >= 0).all()
    exact, gains = batch_bald(draws, 6, rng=generator())
    assert float(gains.sum()) <= math.log(4) + 1e-4
    assert (gains.diff() <= 1e-5).all(), "submodular: gains only fall"
    assert information(draws, exact[:4].tolist()) == pytest.approx(float(gains[:4].sum()), abs=1e-4)


def test_ties_are_broken_at_random_and_by_the_seed():
    draws = np.full((40, 3, 2), 0.5)
    firsts = {int(batch_bald(draws, 1, rng=generator(seed))[0][0]) for seed in range(30)}
    assert len(firsts) > 10
    draws = random_draws(60, 5, 4, seed=9)
    one, two = (batch_bald(draws, 20, configurations=50, rng=generator(1))[0] for _ in range(2))
    assert torch.equal(one, two)


@pytest.mark.heavy
def test_half_precision_and_many_identical_rows():
    draws = np.repeat(random_draws(2, 4, 3, seed=10), 2000, axis=0).astype(np.float16)
    before = draws.copy()
    picks, gains = batch_bald(draws, 30, configurations=200, rng=generator())
    assert len(set(picks.tolist())) == 30
    assert torch.isfinite(gains).all()
    wide, _ = batch_bald(draws.astype(np.float32), 30, configurations=200, rng=generator())
    assert torch.equal(picks, wide)
    np.testing.assert_array_equal(draws, before)


def test_impossible_requests_are_refused():
    draws = random_draws(5, 3, 2)
    with pytest.raises(ConfigError, match="6 picks among 5"):
        batch_bald(draws, 6, rng=generator())
    with pytest.raises(ConfigError, match="configurations is 0"):
        batch_bald(draws, 1, configurations=0, rng=generator())
    with pytest.raises(DataError, match="shape"):
        batch_bald(draws[0], 1, rng=generator())
    draws[2, 1, 0] = np.nan
    with pytest.raises(NonFiniteScore):
        batch_bald(draws, 1, rng=generator())
    assert len(batch_bald(draws, 0, candidates_M=[0, 1], rng=generator())[0]) == 0
