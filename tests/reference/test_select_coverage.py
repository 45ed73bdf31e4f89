"""Greedy coverage against the plain loop over all pairs, and what UHerding puts into it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import labelwise as lw
from labelwise.errors import ConfigError, DataError
from labelwise.selection import Cosine, Gaussian, greedy_coverage, mean_coverage
from labelwise.selection import coverage as module
from labelwise.selection.calibration import left_out_accuracy, softened, temperature_for
from labelwise.strategies import STRATEGIES
from labelwise.strategies.uherding import UHerding


def generator(seed=0):
    return np.random.default_rng(seed)


def similarities(rows, similarity):
    """All pairs, by the formula."""
    rows = np.asarray(rows, dtype=np.float64)
    if similarity.unit:
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        rows = rows / np.where(lengths > 0, lengths, 1)
    if isinstance(similarity, Cosine):
        zero = ~rows.any(1)
        found = np.maximum(0, rows @ rows.T)
        # rows of zeros have no direction: at distance 1 from all others, 0 from each other
        found[zero] = 0.5
        found[:, zero] = 0.5
        found[np.ix_(zero, zero)] = 1.0
        return found
    return np.exp(-(np.linalg.norm(rows[:, None] - rows[None], axis=2) ** 2) / similarity.radius**2)


def assert_greedy(rows, picks, gains, similarity, weights=None, labelled=(), candidates=None, slack=2e-5):
    """Every pick gains as much as any candidate could, all pairs looked at."""
    near = similarities(rows, similarity)
    candidates = [i for i in range(len(near)) if i not in set(labelled)] if candidates is None else list(candidates)
    weights = np.ones(len(candidates)) if weights is None else np.asarray(weights, dtype=np.float64)
    weights = weights / weights.sum() if weights.sum() > 0 else np.full(len(candidates), 1 / len(candidates))
    level = near[np.ix_(candidates, list(labelled))].max(1) if len(labelled) else np.zeros(len(candidates))
    left = list(candidates)
    for pick, said in zip(picks.tolist(), gains.tolist(), strict=True):
        gain = {c: float(weights @ np.maximum(0, near[candidates, c] - level)) for c in left}
        assert pick in gain, "free, and not picked before"
        assert gain[pick] >= max(gain.values()) - slack
        assert said == pytest.approx(gain[pick], abs=slack)
        level = np.maximum(level, near[candidates, pick])
        left.remove(pick)
    return float(weights @ level)


def drawn(kind, seed=0, count=120):
    rng = generator(seed)
    if kind == "clusters":
        return rng.normal(size=(6, 3))[rng.integers(0, 6, count)] * 4 + rng.normal(size=(count, 3)) * 0.5
    if kind == "grid":
        return np.stack(np.meshgrid(range(1, 12), range(1, 12)), -1).reshape(-1, 2)[:count].astype(float)
    if kind == "duplicates":
        return np.repeat(rng.integers(1, 9, size=(count // 4, 2)), 4, axis=0).astype(float)
    if kind == "one spot":
        return np.full((count, 4), 2.5)
    return np.concatenate([np.zeros((5, 3)), rng.normal(size=(count - 5, 3))])


KINDS = ["clusters", "grid", "duplicates", "one spot", "zeros"]
SIMILARITIES = [Gaussian(1.0), Gaussian(0.05), Gaussian(30.0), Gaussian(0.5, unit=True), Cosine()]


@pytest.mark.heavy
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("similarity", SIMILARITIES, ids=repr)
@pytest.mark.parametrize("labelled", [[], [0], [3, 17, 8]], ids=str)
def test_each_pick_gains_the_most(kind, similarity, labelled):
    rows = drawn(kind)
    picks, gains = greedy_coverage(rows, 25, similarity=similarity, labelled_L=labelled, rng=generator(1))
    assert len(set(picks.tolist())) == 25
    assert (gains.diff() <= 2e-5).all()
    assert_greedy(rows, picks, gains, similarity, labelled=labelled)


@pytest.mark.heavy
@pytest.mark.parametrize("kind", KINDS)
def test_weights_say_what_has_to_be_covered(kind):
    rows, rng = drawn(kind), generator(5)
    candidates = rng.permutation(120)[:70]
    for weights in (rng.random(70), (rng.random(70) < 0.1).astype(float), np.zeros(70), np.eye(70)[9]):
        picks, gains = greedy_coverage(
            rows, 20, similarity=Gaussian(1.5), weight_M=weights, candidates_M=candidates, rng=generator(2)
        )
        assert set(picks.tolist()) <= set(candidates.tolist())
        assert_greedy(rows, picks, gains, Gaussian(1.5), weights, candidates=candidates)


@pytest.mark.heavy
@pytest.mark.parametrize("kind", KINDS)
def test_the_whole_pool_and_nothing(kind):
    rows = drawn(kind)
    for similarity in (Gaussian(1.0), Cosine()):
        whole = greedy_coverage(rows, len(rows), similarity=similarity, rng=generator())[0]
        assert sorted(whole.tolist()) == list(range(len(rows)))
        assert greedy_coverage(rows, 0, similarity=similarity, rng=generator())[0].tolist() == []
        assert greedy_coverage(rows[:1], 1, similarity=similarity, rng=generator())[0].tolist() == [0]
        rest = [i for i in range(len(rows)) if i != 4]
        assert greedy_coverage(rows, 1, similarity=similarity, labelled_L=rest, rng=generator())[0].tolist() == [4]


@pytest.mark.heavy
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("held", [True, False], ids=["rows held", "rows gathered"])
def test_a_sample_of_rows_reaches_nearly_what_all_rows_reach(kind, held, monkeypatch):
    """The way of large pools: never a list of pairs."""
    monkeypatch.setattr(module, "_PAIRS", -1)
    monkeypatch.setattr(module, "_PAIRS_PER_ROW", -1)
    if not held:
        monkeypatch.setattr("labelwise.selection.similarity._HELD_BYTES", 0)
    rows = drawn(kind, count=400)
    for similarity in (Gaussian(1.0), Cosine()):
        weights = generator(3).random(len(rows))
        picks, gains = greedy_coverage(rows, 12, similarity=similarity, weight_M=weights, rng=generator(1))
        assert len(set(picks.tolist())) == 12
        best, _ = plain_loop(rows, 12, similarity, weights)
        reached = assert_greedy(rows, picks, gains, similarity, weights, slack=0.02)
        assert reached >= 0.985 * best


def test_estimates_from_a_sample_are_right_in_the_mean(monkeypatch):
    """With weights that only a few rows have: also those of the rows that are in the sample themselves."""
    monkeypatch.setattr(module, "_FIRST", 64)
    rows, weights = drawn("clusters", count=150).astype(np.float32), generator(6).random(150) ** 6
    weights /= weights.sum()
    space = module.Space.of(rows)
    pool = module.SimilarPool(space, torch.arange(150), Gaussian(2.0))
    level = pool.similarity_to(torch.tensor([3, 40]))
    exact = weights @ np.maximum(0, similarities(rows, Gaussian(2.0)) - level.double().numpy()[:, None])
    found = []
    for seed in range(300):
        cover = module._Cover(pool, torch.from_numpy(weights), level)
        sample = module._Drawn(cover, generator(seed))
        sample._grow(64)
        found.append((sample.sum_M / len(sample.place_R) + cover.own_M).numpy())
    error = np.std(found, axis=0) / np.sqrt(300)
    assert (np.abs(np.mean(found, axis=0) - exact) < 4.5 * error + 1e-6).all()


def plain_loop(rows, k, similarity, weights):
    near, weights = similarities(rows, similarity), weights / weights.sum()
    level, picks = np.zeros(len(near)), []
    for _ in range(k):
        gain = weights @ np.maximum(0, near - level[:, None])
        gain[picks] = -1
        picks.append(int(gain.argmax()))
        level = np.maximum(level, near[:, picks[-1]])
    return float(weights @ level), picks


def test_from_the_sample_to_the_list_on_the_way(monkeypatch):
    lists = []
    read = module._Listed._read

    def watched(self, pairs):
        lists.append(len(self.cover.picks))
        return read(self, pairs)

    monkeypatch.setattr(module._Listed, "_read", watched)
    monkeypatch.setattr(module, "_PAIRS", 60 * 600)
    monkeypatch.setattr(module, "_PAIRS_PER_ROW", 0)
    rng = generator(4)
    rows = rng.normal(size=(30, 8))[rng.integers(0, 30, 600)] * 2 + rng.normal(size=(600, 8))
    picks, gains = greedy_coverage(rows, 80, similarity=Gaussian(4.0), rng=generator(1))
    assert len(lists) == 1, "listed once"
    assert 2 <= lists[0] < 60, "not at the first pick, and before the last"
    assert len(set(picks.tolist())) == 80
    reached = mean_coverage(rows, picks, similarity=Gaussian(4.0))
    assert reached == pytest.approx(float(gains.sum()), abs=1e-3)
    assert reached >= 0.99 * plain_loop(rows, 80, Gaussian(4.0), np.ones(600))[0]


def test_many_blocks_are_as_one(monkeypatch):
    rows = drawn("clusters", count=300)
    one = greedy_coverage(rows, 30, similarity=Gaussian(1.0), labelled_L=[7], rng=generator(1))
    monkeypatch.setattr("labelwise.selection.similarity.tile", lambda rows: (64, 16))
    many = greedy_coverage(rows, 30, similarity=Gaussian(1.0), labelled_L=[7], rng=generator(1))
    assert torch.equal(one[0], many[0])
    torch.testing.assert_close(one[1], many[1], atol=1e-6, rtol=0)


def test_half_precision_and_maps_are_the_same_as_their_numbers(tmp_path):
    half = drawn("clusters").astype(np.float16)
    np.save(tmp_path / "rows.npy", half)
    runs = [
        greedy_coverage(rows, 10, similarity=Gaussian(1.0), rng=generator())[0]
        for rows in (half, half.astype(np.float32), np.load(tmp_path / "rows.npy", mmap_mode="r"))
    ]
    assert torch.equal(runs[0], runs[1])
    assert torch.equal(runs[0], runs[2])


def test_ties_go_by_the_seed_and_not_by_position():
    rows = np.arange(0, 4000, 100.0)[:, None]
    firsts = {int(greedy_coverage(rows, 1, similarity=Gaussian(1.0), rng=generator(seed))[0]) for seed in range(20)}
    assert len(firsts) > 5


@pytest.mark.heavy
def test_where_nothing_is_left_to_gain_picks_are_any():
    rows = np.ones((3000, 2))
    picks, gains = greedy_coverage(rows, 2000, similarity=Gaussian(1.0), rng=generator())
    assert len(set(picks.tolist())) == 2000
    assert float(gains[0]) == pytest.approx(1.0, abs=1e-4)
    assert float(gains[1:].max()) < 1e-5, "nothing but rounding, which differs between processors"


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"k": 200}, ConfigError, "asked for 200 picks among 120"),
        ({"weight_M": np.ones(7)}, DataError, "one for each of 120"),
        ({"weight_M": np.r_[np.ones(119), -1]}, DataError, r"1 weights are negative.*119"),
        ({"weight_M": np.r_[np.ones(119), np.nan]}, DataError, "negative, NaN"),
        ({"labelled_L": [0], "candidates_M": [0, 1, 2, 3]}, DataError, "labelled already"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused(given, error, words):
    given = {"k": 3, "similarity": Gaussian(1.0), "rng": generator(), **given}
    with pytest.raises(error, match=words):
        greedy_coverage(drawn("clusters"), given.pop("k"), **given)


@pytest.mark.parametrize("radius", [0.0, -1.0, np.inf, np.nan])
def test_a_radius_is_a_number_above_zero(radius):
    with pytest.raises(ConfigError, match="allowed is a finite number above 0"):
        Gaussian(radius)


# ---- what UHerding puts in ------------------------------------------------------------------------------------------


def test_softened_is_the_softmax_of_logits_by_temperature():
    logits = generator().normal(size=(50, 6)) * 5
    probs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    for temperature in (0.5, 1.0, 3.0):
        expected = np.exp(logits / temperature)
        found = softened(probs, temperature)
        np.testing.assert_allclose(found, expected / expected.sum(1, keepdims=True), rtol=1e-6, atol=1e-9)
    assert torch.isfinite(softened(np.eye(3), 2.0)).all(), "sure of one class"


def test_the_temperature_makes_confidence_what_accuracy_is():
    probs = generator(1).dirichlet([0.1] * 5, size=400)
    for accuracy in (0.3, 0.5, 0.7):
        temperature = temperature_for(probs, accuracy)
        assert float(softened(probs, temperature).amax(1).mean()) == pytest.approx(accuracy, abs=1e-3)
    assert temperature_for(probs, 1.0) == 1.0, "never surer than it is"
    assert float(softened(probs, temperature_for(probs, 0.0)).amax(1).mean()) == pytest.approx(0.2, abs=0.01)
    assert temperature_for(np.ones((4, 1)), 0.5) > 1000, "one class: any temperature, and no error"
    assert temperature_for(np.empty((0, 3)), 0.5) == 1.0


@pytest.mark.parametrize("seed", range(5))
def test_left_out_accuracy_by_the_slow_way(seed):
    rng = generator(seed)
    rows, labels, labelled = rng.normal(size=(60, 4)), rng.integers(0, 3, 25), rng.permutation(60)[:25]
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    right = 0
    for i, row in enumerate(labelled):
        away = [np.inf if j == i else np.linalg.norm(unit[row] - unit[other]) for j, other in enumerate(labelled)]
        right += labels[int(np.argmin(away))] == labels[i]
    assert left_out_accuracy(rows, labelled, labels) == pytest.approx(right / 25)


def _case(seed=0, labelled=12):
    rng = generator(seed)
    rows = rng.normal(size=(5, 6))[rng.integers(0, 5, 150)] * 2 + rng.normal(size=(150, 6))
    return rows, rng.dirichlet([0.3] * 4, size=150), list(range(labelled)), rng.integers(0, 4, labelled).tolist()


@pytest.mark.heavy
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("measure", ["margin", "entropy", "least_confidence"])
def test_uherding_is_weighted_coverage_with_both_adapted(seed, measure):
    rows, probs, labelled, labels = _case(seed)
    picks = lw.select(
        UHerding(measure=measure), 15, embeddings=rows, probs=probs, labelled=labelled, labels=labels, seed=3
    )
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    away = np.linalg.norm(unit[labelled, None] - unit[None, labelled], axis=2)
    radius = float(away[np.triu_indices(len(labelled), 1)].min())
    left = [i for i in range(150) if i not in labelled]
    temperature = temperature_for(probs[left], left_out_accuracy(rows, labelled, labels))
    soft = probs[left] ** (1 / temperature)
    soft /= soft.sum(1, keepdims=True)
    ordered = np.sort(soft, axis=1)
    weights = {
        "margin": 1 - (ordered[:, -1] - ordered[:, -2]),
        "least_confidence": 1 - ordered[:, -1],
        "entropy": -(soft * np.log(soft)).sum(1),
    }[measure]
    assert f"radius {radius:.4g}, temperature {temperature:.4g}" in picks.notes[0]
    assert_greedy(rows, picks.positions, picks.scores, Gaussian(radius, unit=True), weights, labelled)


def test_uherding_without_labels_is_max_herding():
    rows, probs, _, _ = _case()
    given = {"embeddings": rows, "probs": probs, "seed": 5}
    ours, theirs = lw.select("uherding", 9, **given), lw.select("max_herding", 9, embeddings=rows, seed=5)
    assert ours.positions.tolist() == theirs.positions.tolist()


def test_labelled_duplicates_do_not_shrink_the_radius_to_nothing():
    rows, probs, labelled, labels = _case()
    rows[1] = rows[0] * 3
    rows[2] = rows[0]
    notes = lw.select("uherding", 5, embeddings=rows, probs=probs, labelled=[0, 1, 2], labels=[0, 0, 1], seed=0).notes
    assert "radius 1," in notes[0], "all labels on one spot: the widest"
    notes = lw.select("uherding", 5, embeddings=rows, probs=probs, labelled=labelled, labels=labels, seed=0).notes
    assert float(notes[0].split("radius ")[1].split(",")[0]) > 0.01


def test_many_labels_make_it_local_and_few_make_it_wide():
    """With the labels that are there late, the most uncertain are picked; early, the typical."""
    rows, probs, _, _ = _case()
    late = STRATEGIES.create("uherding", radius=1e-3, temperature=1.0)
    picks = lw.select(late, 10, embeddings=rows, probs=probs, labelled=[0], labels=[0], seed=0).positions
    ordered = np.sort(probs, axis=1)
    doubt = 1 - (ordered[:, -1] - ordered[:, -2])
    doubt[0] = -1
    assert set(picks.tolist()) == set(np.argsort(-doubt)[:10].tolist())
    early = STRATEGIES.create("uherding", radius=1.0, temperature=1000.0)
    picks = lw.select(early, 10, embeddings=rows, probs=probs, labelled=[0], labels=[0], seed=0).positions
    plain = lw.select("max_herding", 10, embeddings=rows, labelled=[0], seed=0).positions
    assert picks.tolist() == plain.tolist()
