"""k-means++ seeding against the probabilities that the paper gives each sequence of picks."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
import torch

from labelwise.errors import ConfigError, DataError
from labelwise.selection import seeding
from thorough import thorough


def generator(seed=0):
    return np.random.default_rng(seed)


def plus_plus(rows, k, seed=0, **options):
    return seeding.plus_plus(rows, k, rng=generator(seed), **options)


def probabilities(rows, k, labelled, candidates):
    """Probability of every ordered sequence of k picks, by the definition."""
    distance2 = ((rows[:, None] - rows[None]) ** 2).sum(-1)

    def extend(sequence, probability):
        if len(sequence) == k:
            yield sequence, probability
            return
        centres = [*labelled, *sequence]
        weights = {c: min(distance2[c, centres]) if centres else 1.0 for c in candidates if c not in sequence}
        if sum(weights.values()) == 0:
            weights = dict.fromkeys(weights, 1.0)
        for candidate, weight in weights.items():
            if weight > 0:
                yield from extend((*sequence, candidate), probability * weight / sum(weights.values()))

    return dict(extend((), 1.0))


def assert_drawn_with(expected, draw, trials=1000):
    counts = Counter(tuple(draw().tolist()) for _ in range(trials))
    assert set(counts) <= set(expected)
    observed = np.array([counts[s] for s in expected])
    wanted = np.array(list(expected.values())) * trials
    # Pearson's statistic over the likely sequences; mean = degrees of freedom, five deviations allowed.
    likely = wanted > 5
    statistic = ((observed[likely] - wanted[likely]) ** 2 / wanted[likely]).sum()
    degrees = likely.sum()
    assert statistic < degrees + 5 * np.sqrt(2 * degrees)


ROWS = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0], [4.0, 1.0], [4.0, 1.0], [9.0, 3.0]])


# Batches of two and three proposals make renewals, of 128 rejections, the rule.
@pytest.mark.heavy
@thorough("trials", 250, 600)
@pytest.mark.parametrize("proposals", [2, 3, 128])
@pytest.mark.parametrize(
    ("labelled", "candidates"), [([], range(6)), ([0], range(1, 6)), ([5, 1], [0, 2, 3]), ([], [1, 3, 5])]
)
def test_sequences_come_as_often_as_they_should(monkeypatch, proposals, labelled, candidates, trials):
    monkeypatch.setattr(seeding, "_PROPOSALS", proposals)
    expected = probabilities(ROWS, 3, labelled, list(candidates))
    assert sum(expected.values()) == pytest.approx(1)
    rng = generator(proposals)
    assert_drawn_with(
        expected,
        lambda: seeding.plus_plus(ROWS, 3, labelled_L=labelled, candidates_M=list(candidates), rng=rng),
        trials=trials,
    )


@pytest.mark.heavy
def test_factored_rows_are_drawn_like_their_outer_products():
    rng = generator(1)
    factor, features = rng.normal(size=(5, 2)), rng.normal(size=(5, 3)) + 1
    outer = np.einsum("nc,nd->ncd", factor, features).reshape(5, -1)
    expected = probabilities(outer, 2, [], range(5))
    draws = generator(2)
    assert_drawn_with(expected, lambda: seeding.plus_plus(features, 2, factor_NC=factor, rng=draws))


def test_the_longest_row_may_come_first():
    rng = generator(3)
    factor, features = rng.normal(size=(50, 4)), rng.normal(size=(50, 6))
    longest = (np.linalg.norm(factor, axis=1) * np.linalg.norm(features, axis=1)).argmax()
    assert int(plus_plus(features, 3, factor_NC=factor, first="longest")[0]) == longest
    # The length is that of the row itself, not of the centred one.
    assert int(plus_plus([[5.0], [5.1], [-4.0]], 1, first="longest")[0]) == 1


def test_equally_long_rows_take_turns_as_the_first():
    rows = np.eye(12)
    assert len({int(plus_plus(rows, 1, seed=seed, first="longest")[0]) for seed in range(40)}) > 8


def test_duplicates_come_only_when_nothing_else_is_left():
    rows = np.repeat(generator(4).normal(size=(30, 8)), 4, axis=0).astype(np.float32)
    for seed in range(5):
        picks = plus_plus(rows, 120, seed=seed)
        assert len(set(picks.tolist())) == 120
        assert len({pick // 4 for pick in picks[:30].tolist()}) == 30


@pytest.mark.heavy
@pytest.mark.parametrize("proposals", [2, 16, 128])
def test_light_rows_learn_of_picks_when_they_are_proposed(monkeypatch, proposals):
    """Forty far rows and 900 copies of a near one, with 2 % of the weight: one copy is picked, whenever, never two."""
    monkeypatch.setattr(seeding, "_PROPOSALS", proposals)
    far, near = 32 * np.eye(41)[:40], np.repeat(np.eye(41)[40:], 900, axis=0)
    rows = np.concatenate([np.zeros((1, 41)), far, near])
    early = 0
    for seed in range(12):
        picks = plus_plus(rows, 41, labelled_L=[0], seed=seed).tolist()
        assert sum(pick > 40 for pick in picks) == 1
        early += picks[-1] <= 40
    assert early > 0, "at times the copy is picked before the last of the far rows"


def test_identical_and_zero_rows_give_distinct_picks():
    for rows in (np.full((20_000, 4), 2.5), np.zeros((300, 4))):
        picks = plus_plus(rows, 200)
        assert len(set(picks.tolist())) == 200
    factor = np.zeros((40, 2))
    assert len(set(plus_plus(np.ones((40, 3)), 40, factor_NC=factor).tolist())) == 40


def test_every_count_of_picks():
    rows = generator(5).normal(size=(64, 3))
    for k in (0, 1, 63, 64):
        assert len(set(plus_plus(rows, k).tolist())) == k
    assert plus_plus(rows, 1, labelled_L=[i for i in range(64) if i != 9]).tolist() == [9]


def test_same_seed_same_picks_whatever_holds_the_rows(tmp_path):
    rows = generator(6).normal(size=(500, 16)).astype(np.float32)
    before = rows.copy()
    picks = plus_plus(rows, 60)
    np.save(tmp_path / "rows.npy", rows)
    assert torch.equal(picks, plus_plus(np.load(tmp_path / "rows.npy", mmap_mode="r"), 60))
    assert torch.equal(picks, plus_plus(torch.from_numpy(rows), 60))
    assert not torch.equal(picks, plus_plus(rows, 60, seed=1))
    np.testing.assert_array_equal(rows, before)
    half = rows.astype(np.float16)
    assert torch.equal(plus_plus(half, 60), plus_plus(half.astype(np.float32), 60))


def test_offset_does_not_change_the_draw():
    rows = generator(7).integers(-8, 8, size=(200, 5)).astype(np.float32)
    assert torch.equal(plus_plus(rows, 20), plus_plus(rows + 4096, 20))


def test_impossible_draws_are_refused():
    rows = generator().normal(size=(5, 2))
    with pytest.raises(ConfigError, match="6 picks among 5"):
        plus_plus(rows, 6)
    with pytest.raises(ConfigError, match="first pick"):
        plus_plus(rows, 1, first="last")
    with pytest.raises(DataError, match="5 feature rows and 4 factor rows"):
        plus_plus(rows, 1, factor_NC=np.ones((4, 2)))
    with pytest.raises(DataError, match="labelled already"):
        plus_plus(rows, 1, labelled_L=[0], candidates_M=[0])


def test_all_sequences_are_counted():
    expected = probabilities(ROWS, 2, [], range(6))
    assert set(expected) < set(itertools.permutations(range(6), 2))
    assert (3, 4) not in expected
