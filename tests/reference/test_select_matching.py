"""Matching of images by their objects against the loops of the paper."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from labelwise.errors import ConfigError, DataError
from labelwise.selection.matching import Objects, matching_distances, matching_picks


def generator(seed=0):
    return np.random.default_rng(seed)


def drawn(counts, seed=0, classes=3, width=4):
    rng = generator(seed)
    total = sum(counts)
    rows = rng.normal(size=(total, width))
    return rows, rng.integers(0, classes, total), rng.random(total), np.concatenate([[0], np.cumsum(counts)])


def one_way(a, b, rows, classes, weights):
    """d(a -> b), object by object."""
    if not a and not b:
        return 0.0
    if not a or not b:
        return 2.0
    summed = total = 0.0
    for i in a:
        best = 2.0
        for j in b:
            if classes[i] == classes[j]:
                cosine = rows[i] @ rows[j] / (np.linalg.norm(rows[i]) * np.linalg.norm(rows[j]))
                best = min(best, 1 - cosine)
        summed += weights[i] * best
        total += weights[i]
    return summed / total


def matrix(rows, classes, weights, first):
    images = [list(range(first[i], first[i + 1])) for i in range(len(first) - 1)]
    size = len(images)
    found = np.zeros((size, size))
    for a in range(size):
        for b in range(size):
            if a != b:
                there = one_way(images[a], images[b], rows, classes, weights)
                back = one_way(images[b], images[a], rows, classes, weights)
                found[a, b] = (there + back) / 2
    return found


COUNTS = {"some empty": [3, 0, 1, 5, 0, 2], "one each": [1] * 6, "all empty but one": [0, 0, 4, 0], "one image": [3]}


@pytest.mark.parametrize("case", COUNTS)
@pytest.mark.parametrize("seed", range(3))
def test_distances_are_those_of_the_paper(case, seed):
    parts = drawn(COUNTS[case], seed)
    expected = matrix(*parts)
    objects = Objects.of(*parts)
    found = torch.stack([matching_distances(objects, image) for image in range(len(objects))])
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)


def test_no_object_at_all():
    objects = Objects.of(np.empty((0, 4)), [], [], [0, 0, 0])
    assert matching_distances(objects, 1).tolist() == [0.0, 0.0]
    assert sorted(matching_picks(objects, 2, rng=generator()).tolist()) == [0, 1]


def test_detections_that_are_worth_nothing_count_alike():
    objects = Objects.of([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]], [0, 0, 0], [0.0, 0.0, 1.0], [0, 2, 3])
    there, back = 0.5, 0.0
    assert matching_distances(objects, 0)[1] == pytest.approx((there + back) / 2)


def cost(distances, picks):
    return distances[picks].min(0).sum()


def k_medoids(distances, iterations=100):
    """Farthest first from the first image, then alternate assignment and medoid."""
    picks = [0]
    size = len(distances)
    while len(picks) < K:
        near = distances[picks].min(0)
        near[picks] = -1
        picks.append(int(near.argmax()))
    for _ in range(iterations):
        owner = distances[picks].argmin(0)
        owner[picks] = range(len(picks))
        moved = []
        for place, pick in enumerate(picks):
            members = [m for m in range(size) if owner[m] == place]
            sums = [sum(distances[m, o] for o in members) for m in members]
            best = members[int(np.argmin(sums))]
            moved.append(best if min(sums) < sums[members.index(pick)] - 1e-9 else pick)
        if moved == picks:
            break
        picks = moved
    return picks


K = 5


@pytest.mark.parametrize("seed", range(4))
def test_picks_are_those_of_plain_k_medoids(seed):
    parts = drawn([2, 3, 1, 4] * 8, seed, classes=2)
    distances = matrix(*parts)
    order = generator(seed).permutation(32)
    picks = matching_picks(Objects.of(*parts), K, rng=generator(seed)).tolist()
    # many images share no class: exactly equal distances, which the drawn order decides
    expected = k_medoids(distances[np.ix_(order, order)])
    assert picks == [int(order[place]) for place in expected]


def test_moving_the_picks_lowers_their_cost():
    parts = drawn([2, 3, 1, 4] * 10, 7, classes=2)
    distances, objects = matrix(*parts), Objects.of(*parts)
    start = matching_picks(objects, 6, rng=generator(), iterations=0).tolist()
    settled = matching_picks(objects, 6, rng=generator()).tolist()
    assert cost(distances, settled) < cost(distances, start)


@pytest.mark.parametrize("k", [0, 1, 6])
def test_exactly_as_many_as_asked_for(k):
    twins = drawn([2] * 6, 1)
    rows = np.tile(twins[0][:2], (6, 1))
    objects = Objects.of(rows, [0, 1] * 6, np.ones(12), twins[3])
    picks = matching_picks(objects, k, rng=generator())
    assert picks.dtype == torch.int64
    assert len(set(picks.tolist())) == len(picks) == k


def test_same_seed_same_picks_and_inputs_are_left_alone():
    parts = drawn([2, 0, 3, 1] * 4, 3)
    before = [np.array(part) for part in parts]
    runs = [matching_picks(Objects.of(*parts), 4, rng=generator(5)).tolist() for _ in range(2)]
    assert runs[0] == runs[1]
    for part, was in zip(parts, before, strict=True):
        np.testing.assert_array_equal(part, was)


def test_what_does_not_fit_is_refused():
    rows, classes, weights, first = drawn([2, 1])
    with pytest.raises(DataError, match="3 object features, 2 classes"):
        Objects.of(rows, classes[:2], weights, first)
    with pytest.raises(DataError, match="offsets"):
        Objects.of(rows, classes, weights, [0, 2, 2])
    with pytest.raises(DataError, match="negative"):
        Objects.of(rows, classes, -weights, first)
    with pytest.raises(DataError, match="finite"):
        Objects.of(rows * np.nan, classes, weights, first)
    with pytest.raises(ConfigError, match="3 picks among 2 images"):
        matching_picks(Objects.of(rows, classes, weights, first), 3, rng=generator())
