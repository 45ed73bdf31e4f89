"""ProbCover and its radius against the sets that the paper speaks of."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from labelwise.errors import ConfigError, DataError
from labelwise.selection.balls import prob_cover, purity_radius
from labelwise.selection.clustering import kmeans


def generator(seed=0):
    return np.random.default_rng(seed)


def unit(rows):
    rows = np.asarray(rows, dtype=np.float64)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1)


def distances(rows):
    rows = np.asarray(rows, dtype=np.float64)
    return np.linalg.norm(rows[:, None] - rows[None], axis=2)


def assert_greedy(rows, picks, covers, radius, labelled=(), candidates=None, unit_rows=False):
    """Every pick covers as many uncovered rows as any candidate could, by sets."""
    away = distances(unit(rows) if unit_rows else rows)
    size = len(away)
    candidates = [i for i in range(size) if i not in set(labelled)] if candidates is None else list(candidates)
    part = sorted({*labelled, *candidates})
    ball = {i: {j for j in part if away[i, j] <= radius} | {i} for i in part}
    covered = set().union(*(ball[i] for i in labelled)) if len(labelled) else set()
    for number, (pick, said) in enumerate(zip(picks.tolist(), covers.tolist(), strict=True)):
        left = [i for i in candidates if i not in picks.tolist()[:number]]
        assert pick in left
        best = max(len(ball[i] - covered) for i in left)
        assert said == len(ball[pick] - covered) == best
        covered |= ball[pick]


def drawn(kind, seed=0):
    rng = generator(seed)
    if kind == "clusters":
        return rng.normal(size=(6, 3))[rng.integers(0, 6, 80)] * 4 + rng.normal(size=(80, 3)) * 0.3
    if kind == "grid":  # ties everywhere
        return np.stack(np.meshgrid(range(7), range(7)), -1).reshape(-1, 2).astype(float)
    if kind == "duplicates":
        return np.repeat(rng.integers(0, 9, size=(12, 2)), 4, axis=0).astype(float)
    if kind == "one spot":
        return np.full((30, 4), 2.5)
    return np.concatenate([np.zeros((5, 3)), rng.normal(size=(30, 3))])


KINDS = ["clusters", "grid", "duplicates", "one spot", "zeros"]


@pytest.mark.heavy
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("labelled", [[], [0], [3, 17, 8]], ids=str)
@pytest.mark.parametrize("radius", [0.5, 1.2])
def test_each_pick_covers_the_most(kind, labelled, radius):
    rows = drawn(kind)
    picks, covers = prob_cover(rows, 20, radius=radius, labelled_L=labelled, rng=generator(1))
    assert len(set(picks.tolist())) == 20
    assert not set(picks.tolist()) & set(labelled)
    assert (covers.diff() <= 0).all()
    assert_greedy(rows, picks, covers, radius, labelled)


def test_unit_rows_are_compared_by_direction():
    rows = drawn("clusters") * generator(2).uniform(0.1, 50, size=(80, 1))
    picks, covers = prob_cover(rows, 15, radius=0.3, unit=True, rng=generator())
    assert_greedy(rows, picks, covers, 0.3, unit_rows=True)
    same = prob_cover(unit(rows).astype(np.float32), 15, radius=0.3, rng=generator())
    assert torch.equal(picks, same[0])


def test_only_candidates_are_picked_and_only_they_and_labels_count():
    rows = drawn("clusters")
    candidates = list(range(1, 80, 3))
    picks, covers = prob_cover(rows, 12, radius=1.0, labelled_L=[0], candidates_M=candidates, rng=generator())
    assert set(picks.tolist()) <= set(candidates)
    assert_greedy(rows, picks, covers, 1.0, [0], candidates)


@pytest.mark.parametrize("kind", KINDS)
def test_the_whole_pool_and_nothing(kind):
    rows = drawn(kind)
    assert sorted(prob_cover(rows, len(rows), radius=1.0, rng=generator())[0].tolist()) == list(range(len(rows)))
    assert prob_cover(rows, 0, radius=1.0, rng=generator())[0].tolist() == []
    assert prob_cover(rows[:1], 1, radius=1.0, rng=generator())[0].tolist() == [0]
    rest = [i for i in range(len(rows)) if i != 4]
    assert prob_cover(rows, 1, radius=1.0, labelled_L=rest, rng=generator())[0].tolist() == [4]


def test_after_full_cover_the_rest_is_random_and_never_twice():
    rows = np.zeros((50, 2))
    picks, covers = prob_cover(rows, 30, radius=1.0, rng=generator(3))
    assert covers.tolist() == [50] + [0] * 29
    assert len(set(picks.tolist())) == 30
    assert picks.tolist() != prob_cover(rows, 30, radius=1.0, rng=generator(4))[0].tolist()


def test_ties_go_by_the_seed_and_not_by_position():
    rows = np.arange(0, 400, 10.0)[:, None]  # nobody has a neighbour: all alike
    firsts = {int(prob_cover(rows, 1, radius=1.0, rng=generator(seed))[0]) for seed in range(20)}
    assert len(firsts) > 5


def test_half_precision_is_the_same_as_its_numbers():
    half = drawn("clusters").astype(np.float16)
    one = prob_cover(half, 10, radius=1.0, rng=generator())
    two = prob_cover(half.astype(np.float32), 10, radius=1.0, rng=generator())
    assert torch.equal(one[0], two[0])


def purity(rows, clusters, radius):
    away = distances(rows)
    return np.mean([(clusters[away[i] <= radius] == clusters[i]).all() for i in range(len(rows))])


@pytest.mark.heavy
@pytest.mark.parametrize("share", [0.5, 0.8, 0.95])
@pytest.mark.parametrize("kind", ["clusters", "zeros"])
def test_the_radius_is_the_largest_that_is_pure_enough(kind, share):
    rows = drawn(kind, 5)
    radius = purity_radius(rows, 4, purity=share, rng=generator(2))
    clusters = kmeans(rows, 4, rng=generator(2)).assignment_N.numpy()
    assert purity(rows, clusters, radius * (1 - 1e-5)) >= share
    assert purity(rows, clusters, radius * (1 + 1e-5)) < share


def test_the_radius_of_unit_rows():
    rows = drawn("clusters", 6) * generator(2).uniform(0.1, 50, size=(80, 1))
    assert purity_radius(rows, 4, unit=True, rng=generator()) == pytest.approx(
        purity_radius(unit(rows), 4, rng=generator()), rel=1e-4
    )


def test_a_radius_where_nothing_can_be_told_apart():
    assert purity_radius(np.zeros((9, 2)), 1, rng=generator()) == math.inf
    assert purity_radius([[1.0]], 3, rng=generator()) == math.inf
    assert purity_radius(np.zeros((9, 2)), 3, rng=generator()) > 0


@pytest.mark.heavy
def test_what_cannot_be_is_refused():
    rows = drawn("grid")
    with pytest.raises(ConfigError, match="radius is 0"):
        prob_cover(rows, 1, radius=0, rng=generator())
    with pytest.raises(ConfigError, match="50 picks among 49"):
        prob_cover(rows, 50, radius=1.0, rng=generator())
    with pytest.raises(ConfigError, match="smaller radius"):
        prob_cover(np.zeros((11_600, 1)), 5, radius=9.0, rng=generator())
    with pytest.raises(DataError, match="NaN"):
        prob_cover(np.full((3, 2), np.nan), 1, radius=1.0, rng=generator())
    with pytest.raises(ConfigError, match="purity"):
        purity_radius(rows, 3, purity=1.0, rng=generator())
