"""TypiClust against its equations, loop by loop."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from labelwise.errors import ConfigError, DataError
from labelwise.selection import clustering, typicality


def generator(seed=0):
    return np.random.default_rng(seed)


def clustered(count, width, groups=6, spread=0.3, seed=0):
    rng = generator(seed)
    rows = rng.normal(size=(groups, width))[rng.integers(0, groups, count)] + spread * rng.normal(size=(count, width))
    return rows.astype(np.float32)


def picks(rows, k, seed=0, **options):
    return typicality.typical_picks(rows, k, rng=generator(seed), **options)


def slow_typicality(rows, neighbours):
    """Equation 4: one over the mean Euclidean distance to the nearest others."""
    found = []
    for i in range(len(rows)):
        distances = sorted(float(np.linalg.norm(rows[i].astype(float) - rows[j])) for j in range(len(rows)) if j != i)
        nearest = distances[:neighbours]
        found.append(1 / max(sum(nearest) / len(nearest), 1e-12) if nearest else 0.0)
    return np.array(found)


def check_turns(chosen, rows, labelled, candidates, assignment, neighbours, least_size):
    """Each pick comes from the least covered large cluster, the largest of those, and is the most typical there."""
    members = {c: [i for i in sorted([*labelled, *candidates]) if assignment[i] == c] for c in set(assignment.values())}
    scores = {}
    for rows_of_cluster in members.values():
        fitting = max(1, min(neighbours, len(rows_of_cluster) // 2))
        scores |= dict(zip(rows_of_cluster, slow_typicality(rows[rows_of_cluster], fitting), strict=True))
    taken = set(labelled)

    def order(c):
        covered = sum(i in taken for i in members[c])
        return len(members[c]) < least_size, covered, -len(members[c])

    for pick in chosen:
        left = {c: [i for i in members[c] if i not in taken] for c in members}
        assert order(assignment[pick]) == min(order(c) for c in members if left[c])
        assert scores[pick] == pytest.approx(max(scores[i] for i in left[assignment[pick]]), rel=1e-5)
        taken.add(pick)
    return [scores[i] for i in chosen]


# Typicality


@pytest.mark.heavy
@pytest.mark.parametrize("count", [1, 2, 7, 21, 60])
@pytest.mark.parametrize("neighbours", [1, 5, 20])
@pytest.mark.parametrize("offset", [0.0, 100.0])
@pytest.mark.parametrize("at_once", [0, 1024])
def test_typicality_is_one_over_the_mean_distance(count, neighbours, offset, at_once, monkeypatch):
    monkeypatch.setattr(typicality, "_SMALL", at_once)
    rows = clustered(count, 6) + np.float32(offset)
    found = typicality.typicality(rows, neighbours=neighbours)
    np.testing.assert_allclose(found, slow_typicality(rows, neighbours), rtol=2e-3 if offset else 1e-4)


def test_typicality_of_some_rows_knows_only_them():
    rows = clustered(200, 6)
    some = generator(1).permutation(200)[:40]
    expected = typicality.typicality(rows[some])
    np.testing.assert_allclose(typicality.typicality(rows, among=some), expected, rtol=1e-6)
    rows[np.setdiff1d(np.arange(200), some)] = np.nan
    np.testing.assert_allclose(typicality.typicality(rows, among=some), expected, rtol=1e-6)


def test_one_far_neighbour_counts_once_and_not_squared():
    # means of distances: 2, 2.5; means of squares: 8.5, 6.5
    rows = np.array([[0.0], [0.0], [4.0], [-1.0]])
    near, far = typicality.typicality(rows, neighbours=3)[[0, 3]]
    assert float(near) == pytest.approx(3 / 5)
    assert float(far) == pytest.approx(3 / 7)


def test_typicality_of_duplicates_is_finite():
    found = typicality.typicality(np.ones((30, 4)))
    assert torch.isfinite(found).all()
    assert (found == found[0]).all()
    assert typicality.typicality(np.ones((1, 4))).tolist() == [0.0]


# Picks


@pytest.mark.heavy
@pytest.mark.parametrize("seed", range(12))
def test_picks_follow_the_rule_one_after_the_other(seed, monkeypatch):
    monkeypatch.setattr(typicality, "_LEAST_SIZE", 4)
    rng = generator(seed)
    rows = clustered(90, 5, groups=7, seed=seed)
    shuffled = rng.permutation(90)
    labelled = sorted(shuffled[: rng.integers(0, 12)].tolist())
    candidates = sorted(shuffled[20 : 20 + rng.integers(30, 70)].tolist())
    k = int(rng.integers(1, len(candidates) + 1)) if seed % 2 else 4
    joint = sorted([*labelled, *candidates])
    clusters = min(len(labelled) + k, 9)
    found = clustering.kmeans(rows, clusters, among=joint, rng=generator(seed))
    assignment = dict(zip(joint, found.assignment_N.tolist(), strict=True))
    chosen, scores = picks(rows, k, seed, labelled_L=labelled, candidates_M=candidates, neighbours=4, most_clusters=9)
    assert len(set(chosen.tolist())) == k
    expected = check_turns(chosen.tolist(), rows, labelled, candidates, assignment, neighbours=4, least_size=4)
    np.testing.assert_allclose(scores, expected, rtol=1e-4)


def test_clusters_with_a_label_come_last():
    rows = np.concatenate([np.full((20, 1), 0.0), np.full((10, 1), 50.0), np.full((6, 1), 99.0)])
    rows = (rows + 0.1 * generator().normal(size=rows.shape)).astype(np.float32)
    chosen, _ = picks(rows, 2, labelled_L=[3])
    assert [20 <= i < 30 for i in chosen.tolist()] == [True, False]
    assert chosen[1] >= 30
    chosen, _ = picks(rows, 6, labelled_L=[3], most_clusters=3)
    groups = [0 if i < 20 else 1 if i < 30 else 2 for i in chosen.tolist()]
    assert groups == [1, 2, 0, 1, 2, 0]


def test_small_clusters_are_kept_for_the_end(monkeypatch):
    rows = np.array([[0.0], [1.0], [2.0], [3.0], [4.0], [5.0], [500.0], [501.0]])
    chosen, _ = picks(rows, 6, most_clusters=2)
    assert set(chosen.tolist()) == set(range(6))
    assert set(picks(rows, 8, most_clusters=2)[0].tolist()) == set(range(8))
    monkeypatch.setattr(typicality, "_LEAST_SIZE", 1)
    chosen, _ = picks(rows, 2, most_clusters=2)
    assert max(chosen.tolist()) >= 6


@pytest.mark.heavy
@pytest.mark.parametrize("k", [0, 1, 5, 39, 40])
@pytest.mark.parametrize("kind", ["clustered", "identical", "zero", "pairs"])
def test_exactly_the_budget_whatever_the_rows(k, kind):
    rows = {
        "clustered": clustered(40, 4),
        "identical": np.full((40, 4), 1.25),
        "zero": np.zeros((40, 4)),
        "pairs": np.repeat(clustered(20, 4), 2, axis=0),
    }[kind]
    chosen, scores = picks(rows, k)
    assert len(chosen) == len(set(chosen.tolist())) == k
    assert scores.shape == (k,)
    assert torch.isfinite(scores).all()
    again, _ = picks(rows, k)
    assert torch.equal(chosen, again)


def test_all_labelled_but_one():
    assert picks(clustered(30, 3), 1, labelled_L=[i for i in range(30) if i != 17])[0].tolist() == [17]
    assert picks(np.ones((1, 3)), 1)[0].tolist() == [0]


@pytest.mark.heavy
def test_equally_typical_rows_are_drawn():
    rows = np.array([[0.0, 1.0], [0.0, -1.0], [1.0, 0.0], [-1.0, 0.0]])
    first = {int(picks(rows, 1, seed)[0][0]) for seed in range(40)}
    assert first == {0, 1, 2, 3}


def test_storage_does_not_change_the_picks(tmp_path):
    rows = clustered(300, 8).astype(np.float16)
    np.save(tmp_path / "rows.npy", rows)
    expected = picks(rows.astype(np.float32), 20)[0]
    assert torch.equal(picks(rows, 20)[0], expected)
    assert torch.equal(picks(np.load(tmp_path / "rows.npy", mmap_mode="r"), 20)[0], expected)


def test_rows_that_take_no_part_are_never_looked_at():
    rows = clustered(100, 4)
    expected, _ = picks(rows, 10, labelled_L=[0, 1], candidates_M=range(2, 70))
    rows[70:] = np.nan
    chosen, _ = picks(rows, 10, labelled_L=[0, 1], candidates_M=range(2, 70))
    assert torch.equal(chosen, expected)


def test_impossible_picks_are_refused():
    rows = clustered(10, 3)
    with pytest.raises(ConfigError, match="11 picks among 10"):
        picks(rows, 11)
    with pytest.raises(ConfigError, match="most_clusters 0"):
        picks(rows, 1, most_clusters=0)
    with pytest.raises(DataError, match="labelled already"):
        picks(rows, 1, labelled_L=[0], candidates_M=[0, 1])
    rows[4, 1] = np.inf
    with pytest.raises(DataError, match=r"\[4\]"):
        picks(rows, 2)
