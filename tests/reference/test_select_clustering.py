"""k-means and medoids against loops, and the start against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn import datasets
from sklearn.cluster import KMeans as SklearnKMeans

from labelwise.errors import ConfigError, DataError
from labelwise.selection import clustering
from labelwise.selection.progress import listening


def generator(seed=0):
    return np.random.default_rng(seed)


def clustered(count, width, groups=12, spread=0.2, seed=0):
    rng = generator(seed)
    rows = rng.normal(size=(groups, width))[rng.integers(0, groups, count)] + spread * rng.normal(size=(count, width))
    return rows.astype(np.float32)


def inertia(found):
    return float(found.distance2_N.double().sum())


def kmeans(rows, k, seed=0, among=None, **search):
    return clustering.kmeans(rows, k, among=among, rng=generator(seed), search=clustering.Search(**search))


def slow_assign(rows, centroids):
    distance2 = ((rows[:, None].astype(float) - centroids[None].astype(float)) ** 2).sum(-1)
    return distance2.argmin(1), distance2.min(1)


def slow_lloyd(rows, centroids, iterations):
    for _ in range(iterations):
        assignment, _ = slow_assign(rows, centroids)
        centroids = np.array(
            [
                rows[assignment == c].astype(float).mean(0) if (assignment == c).any() else centroids[c]
                for c in range(len(centroids))
            ]
        )
    return centroids


# Assignment


@pytest.mark.parametrize("offset", [0.0, 1000.0])
@pytest.mark.parametrize("count", [1, 5, 3000])
def test_assignment_is_the_nearest_centroid(count, offset):
    rows = clustered(count, 16) + np.float32(offset)
    centroids = clustered(9, 16, seed=1) + np.float32(offset)
    assignment, distance2 = clustering.assign(rows, centroids)
    expected, expected2 = slow_assign(rows, centroids)
    np.testing.assert_array_equal(assignment, expected)
    np.testing.assert_allclose(distance2, expected2, rtol=1e-4)


def test_a_row_on_its_centroid_is_at_distance_zero():
    rows = clustered(50, 32) + np.float32(100)
    assignment, distance2 = clustering.assign(rows, rows)
    assert assignment.tolist() == list(range(50))
    assert (distance2 == 0).all()


def test_assignment_refuses_what_does_not_fit():
    for centroids in (np.ones((2, 3)), np.ones((0, 4))):
        with pytest.raises(DataError):
            clustering.assign(np.ones((5, 4)), centroids)


# k-means


def lloyd(rows, centroids, iterations, tolerance=0.0, among=None):
    read = clustering._Rows(torch.from_numpy(rows), among)
    middle = read.middle()
    search = clustering.Search(iterations=iterations, tolerance=tolerance)
    return clustering._lloyd(read, torch.from_numpy(centroids), middle, read.norms(middle), search)


@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_iterations_are_those_of_lloyd(offset):
    rows = clustered(600, 8, groups=5, spread=0.4) + np.float32(offset)
    first = rows[:5].copy()
    np.testing.assert_allclose(lloyd(rows, first, 6), slow_lloyd(rows, first, 6), rtol=1e-5, atol=2e-4)
    np.testing.assert_array_equal(first, rows[:5])


def test_iterations_end_when_the_inertia_has_stopped_falling():
    rows = clustered(3000, 8, groups=5, spread=1.0)
    first = rows[:20].copy()
    centroids, before, done = first, np.inf, 0
    while True:
        assignment, _ = slow_assign(rows, centroids)
        centroids = slow_lloyd(rows, centroids, 1)
        inertia = ((rows - centroids[assignment]) ** 2).sum()
        done += 1
        if before - inertia <= 2e-3 * inertia:
            break
        before = inertia
    assert 3 < done < 20
    np.testing.assert_allclose(lloyd(rows, first, 30, tolerance=2e-3), centroids, atol=1e-4)
    assert np.abs(slow_lloyd(rows, first, done + 1) - centroids).max() > 1e-3


def test_empty_clusters_move_to_the_worst_served_rows():
    rows = np.array([[0.0], [1.0], [2.0], [50.0], [51.0], [-60.0]], dtype=np.float32)
    start = np.array([[1.0], [1000.0], [2000.0]], dtype=np.float32)
    np.testing.assert_allclose(np.sort(lloyd(rows, start, 1).flatten()), [-60, rows.mean(), 51], atol=1e-5)
    np.testing.assert_allclose(np.sort(lloyd(rows, start, 9).flatten()), [-60, 1, 50.5], atol=1e-5)


@pytest.mark.parametrize("start", clustering.STARTS)
def test_a_clustering_is_consistent_with_itself(start):
    rows = clustered(800, 8, spread=0.5)
    before = rows.copy()
    found = kmeans(rows, 10, start=start, iterations=200, tolerance=0)
    assignment, distance2 = slow_assign(rows, found.centroids_KD.numpy())
    np.testing.assert_array_equal(found.assignment_N, assignment)
    np.testing.assert_allclose(found.distance2_N, distance2, rtol=1e-4)
    for c in range(10):
        np.testing.assert_allclose(found.centroids_KD[c], rows[assignment == c].mean(0), atol=1e-4)
    np.testing.assert_array_equal(rows, before)


@pytest.mark.heavy
@pytest.mark.parametrize("spread", [0.05, 0.3, 1.0])
def test_start_is_as_good_as_that_of_scikit_learn(spread):
    rows = clustered(3000, 32, groups=40, spread=spread)
    seeds = range(3)
    ours = np.mean([inertia(kmeans(rows, 40, seed=s)) for s in seeds])
    theirs = np.mean([SklearnKMeans(40, n_init=1, max_iter=25, random_state=s).fit(rows).inertia_ for s in seeds])
    assert ours <= 1.02 * theirs


def test_more_restarts_are_never_worse():
    rows = clustered(500, 8)
    assert inertia(kmeans(rows, 12, restarts=4, start="random")) <= inertia(kmeans(rows, 12, start="random"))


def test_offset_and_storage_do_not_change_the_clusters(tmp_path):
    rows = clustered(1000, 16).astype(np.float16)
    plain = inertia(kmeans(rows.astype(np.float32), 12))
    assert inertia(kmeans(rows, 12)) == plain
    np.save(tmp_path / "rows.npy", rows)
    assert inertia(kmeans(np.load(tmp_path / "rows.npy", mmap_mode="r"), 12)) == plain
    assert inertia(kmeans(rows.astype(np.float32) + 1000, 12)) == pytest.approx(plain, rel=0.01)
    assert inertia(kmeans(np.asfortranarray(rows.astype(np.float32)), 12)) == pytest.approx(plain, rel=1e-3)


def test_same_seed_same_clusters_with_any_number_of_threads():
    rows = clustered(3000, 16)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = kmeans(rows, 30)
        torch.set_num_threads(2)
        two = kmeans(rows, 30)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(one.assignment_N, two.assignment_N)
    assert torch.equal(one.centroids_KD, two.centroids_KD)


@pytest.mark.parametrize("k", [1, 2, 49, 50])
@pytest.mark.parametrize("start", clustering.STARTS)
def test_extreme_numbers_of_clusters(k, start):
    rows = clustered(50, 4)
    found = kmeans(rows, k, start=start)
    assert found.centroids_KD.shape == (k, 4)
    if k == 1:
        np.testing.assert_allclose(found.centroids_KD[0], rows.mean(0), atol=1e-5)
    if k == 50:
        assert inertia(found) < 1e-6
    assert kmeans(rows[:1], 1).assignment_N.tolist() == [0]


def test_oversampling_gives_way_where_its_matrix_would_be_large(monkeypatch):
    monkeypatch.setattr(clustering, "_MOST_SEEDS", 10)
    rows = clustered(200, 4)
    assert inertia(kmeans(rows, 8)) == inertia(kmeans(rows, 8, start="plus_plus"))


def test_some_rows_are_clustered_as_if_alone():
    rows = clustered(900, 8)
    some = generator(1).permutation(900)[:500]
    rows[np.setdiff1d(np.arange(900), some)] = np.nan
    alone, among = kmeans(rows[some], 12), kmeans(rows, 12, among=some)
    assert torch.equal(alone.assignment_N, among.assignment_N)
    assert torch.equal(alone.centroids_KD, among.centroids_KD)
    assert torch.equal(alone.distance2_N, among.distance2_N)
    rows[:] = 1
    rows[77] = np.inf
    with pytest.raises(DataError, match="1 of 900 rows"):
        kmeans(rows, 2, among=np.arange(900))
    with pytest.raises(DataError, match=r"\[77\]"):
        kmeans(rows, 2, among=np.arange(50, 90))


@pytest.mark.heavy
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_rows_are_streamed(tmp_path, dtype, monkeypatch):
    rows = clustered(6000, 128).astype(dtype)
    np.save(tmp_path / "rows.npy", rows)
    largest = []
    read = torch.Tensor.float
    monkeypatch.setattr(torch.Tensor, "float", lambda tensor: largest.append(tensor.shape) or read(tensor))
    kmeans(np.load(tmp_path / "rows.npy", mmap_mode="r"), 40)
    assert max(shape[0] for shape in largest if len(shape) == 2) <= 4096


def test_the_start_of_a_large_pool_is_drawn_from_a_sample(monkeypatch):
    monkeypatch.setattr(clustering, "_START_ROWS", 400)
    rows = clustered(5000, 8, groups=10, spread=0.1)
    best = inertia(kmeans(rows, 10, restarts=5))
    assert inertia(kmeans(rows, 10)) <= 1.2 * best
    some = np.arange(0, 5000, 2)
    assert inertia(kmeans(rows, 10, among=some)) <= 0.6 * 1.2 * best


def test_progress_is_told():
    heard = []
    with listening(lambda what, done, total: heard.append((what, done, total))):
        kmeans(clustered(9000, 4), 5, tolerance=0)
    done = [done for what, done, _ in heard if what == "clustering"]
    assert done == sorted(done)
    assert len(done) > 10
    assert all(done <= total for _, done, total in heard)


def test_impossible_clusterings_are_refused():
    rows = clustered(10, 3)
    for k in (0, 11):
        with pytest.raises(ConfigError, match="1 to 10"):
            kmeans(rows, k)
    with pytest.raises(ConfigError, match="restarts"):
        kmeans(rows, 2, restarts=0)
    with pytest.raises(ConfigError, match="tolerance"):
        kmeans(rows, 2, tolerance=-1e-3)
    with pytest.raises(ConfigError, match="start"):
        kmeans(rows, 2, start="k-means++")
    rows[3, 0] = np.nan
    with pytest.raises(DataError, match=r"\[3\]"):
        kmeans(rows, 2)


# Medoids


def slow_medoids(assignment, distance2, k, candidates):
    """Round by round, clusters with many candidates first: the nearest candidate not taken yet."""
    members = {c: sorted((i for i in candidates if assignment[i] == c), key=lambda i: distance2[i]) for c in assignment}
    order = sorted((c for c in members if members[c]), key=lambda c: -len(members[c]))
    picks = []
    for turn in range(len(candidates)):
        picks += [members[c][turn] for c in order if turn < len(members[c])]
    return picks[:k]


@pytest.mark.parametrize("k", [1, 4, 9, 30])
def test_medoids_are_their_loop(k):
    rng = generator(k)
    # Sizes and distances all differ, so that the loop has no tie to break.
    assignment = rng.permutation(np.repeat([0, 3, 4, 7, 9], [2, 5, 9, 14, 20]))
    distance2 = rng.permutation(50) / 10.0
    candidates = np.concatenate([np.flatnonzero(assignment == c)[: i + 2 + i * i] for i, c in enumerate([3, 4, 7, 9])])
    sizes = [int((assignment[candidates] == c).sum()) for c in (3, 4, 7, 9)]
    assert len(set(sizes)) == 4
    k = min(k, len(candidates))
    picks = clustering.medoids(assignment, distance2, k, candidates_M=candidates, rng=generator())
    assert picks.tolist() == slow_medoids(assignment.tolist(), distance2, k, candidates.tolist())


def test_ties_among_medoids_are_drawn():
    assignment, distance2 = np.zeros(4, dtype=int), np.ones(4)
    rng = generator()
    first = {int(clustering.medoids(assignment, distance2, 1, rng=rng)[0]) for _ in range(100)}
    assert first == {0, 1, 2, 3}


def test_medoids_always_give_the_number_asked_for():
    # Two clusters, one of them labelled to the last row: eight picks from the other.
    assignment = np.array([0] * 10 + [1] * 5)
    distance2 = np.arange(15.0)
    picks = clustering.medoids(assignment, distance2, 8, candidates_M=np.arange(10), rng=generator())
    assert picks.tolist() == list(range(8))
    with pytest.raises(ConfigError, match="11 picks among 10"):
        clustering.medoids(assignment, distance2, 11, candidates_M=np.arange(10), rng=generator())
    with pytest.raises(DataError, match="shape"):
        clustering.medoids(assignment, distance2[:3], 1, rng=generator())


# Picks


@pytest.mark.parametrize("pool", clustering.OVERS)
def test_picks_are_candidates_one_per_cluster(pool):
    rows = clustered(600, 16, groups=8, spread=0.05)
    groups = slow_assign(rows, kmeans(rows, 8).centroids_KD.numpy())[0]
    candidates = np.arange(0, 600, 2)
    picks = clustering.kmeans_picks(rows, 8, candidates_M=candidates, pool=pool, rng=generator())
    assert set(picks.tolist()) <= set(candidates.tolist())
    assert len({groups[p] for p in picks.tolist()}) == 8


def test_candidates_are_clustered_alone_or_with_the_rest():
    # Left of zero all is labelled: the candidates have no cluster there unless all rows are clustered.
    rows = np.array([[-10.0], [-9.0], [1.0], [2.0], [8.0], [9.5]], dtype=np.float32)
    alone = clustering.kmeans_picks(rows, 2, candidates_M=[2, 3, 4, 5], rng=generator())
    assert {p // 2 for p in alone.tolist()} == {1, 2}
    both = clustering.kmeans_picks(rows, 3, candidates_M=[2, 3, 4, 5], pool="all", rng=generator())
    assert len(set(both.tolist())) == 3


@pytest.mark.parametrize("k", [0, 1, 39, 40])
def test_every_count_of_picks(k):
    rows = clustered(40, 4)
    assert len(set(clustering.kmeans_picks(rows, k, rng=generator()).tolist())) == k
    picks = clustering.kmeans_picks(rows, min(k, 20), candidates_M=np.arange(20), pool="all", rng=generator())
    assert len(set(picks.tolist())) == min(k, 20)


@pytest.mark.heavy
@pytest.mark.parametrize(
    "rows",
    [np.full((20_000, 4), 1.25, dtype=np.float32), np.zeros((500, 4)), np.repeat(clustered(20, 4), 20, axis=0)],
    ids=["identical", "zero", "twenty of each"],
)
def test_rows_that_coincide_still_give_distinct_picks(rows):
    picks = clustering.kmeans_picks(rows, 60, rng=generator())
    assert len(set(picks.tolist())) == 60
    assert torch.equal(picks, clustering.kmeans_picks(rows, 60, rng=generator()))


def test_a_pick_is_the_medoid_of_its_cluster():
    rows = clustered(300, 8)
    found = kmeans(rows, 12, seed=5)
    picks = clustering.kmeans_picks(rows, 12, rng=generator(5))
    for pick in picks.tolist():
        mine = found.assignment_N == found.assignment_N[pick]
        assert float(found.distance2_N[pick]) == float(found.distance2_N[mine].min())


def test_unknown_pool_is_refused():
    with pytest.raises(ConfigError, match="pool"):
        clustering.kmeans_picks(np.ones((4, 2)), 2, pool="labelled", rng=generator())


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["load_wine", "load_breast_cancer", "load_digits"])
def test_features_of_all_sizes_are_clustered_as_well_as_by_scikit_learn(name):
    rows = getattr(datasets, name)().data
    ours = [float(kmeans(rows, 10, seed=seed).distance2_N.sum()) for seed in range(20)]
    theirs = [SklearnKMeans(10, n_init=1, random_state=seed).fit(rows).inertia_ for seed in range(20)]
    assert np.mean(ours) <= np.mean(theirs)
