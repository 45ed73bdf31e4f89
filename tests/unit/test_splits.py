"""Selections by size: exactly as many as asked, nested where that is claimed, and the published constants."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from labelwise.errors import ConfigError, DataError, UnmetNeed
from labelwise.few_labels.faithful import published_kmeans
from labelwise.few_labels.frozen import FrozenImages
from labelwise.few_labels.selector import Selector, counting_of, first_of, totals
from labelwise.learners.heads import LinearProtocol
from labelwise.strategies import STRATEGIES

NAMES = ("random", "uniform", "kmeans", "accu_kmeans", "k_center", "entropy", "margin", "typiclust")


def _images(n=120, classes=4, seed=0, labels=True) -> FrozenImages:
    draw = torch.Generator().manual_seed(seed)
    labels_N = torch.arange(n) % classes
    rows_ND = torch.randn(classes, 6, generator=draw)[labels_N] * 3 + torch.randn(n, 6, generator=draw)
    known = labels_N if labels else torch.full((n,), -1)
    return FrozenImages(tuple(f"{i:03d}" for i in range(n)), rows_ND, known, tuple("abcdefgh"[:classes]))


def _quick(images, seed=0, **options) -> Selector:
    return Selector(images, seed, head=LinearProtocol(epochs=10, milestones=(5,)), **options)


@pytest.mark.heavy
@pytest.mark.parametrize("preset", ["default", "faithful"])
@pytest.mark.parametrize("name", NAMES)
def test_sizes_are_met_exactly_and_nested_where_claimed(name, preset):
    images, sizes = _images(), [3, 10, 50, 120]
    strategy = STRATEGIES.create(name)
    found = _quick(images, preset=preset).choose(strategy, sizes)
    assert [len(set(one.ids)) for one in found] == sizes
    assert [len(one.ids) for one in found] == sizes
    for before, after in itertools.pairwise(found):
        assert after.nested is (set(before.ids) <= set(after.ids)), "found by looking"
        if name != "kmeans":
            assert after.ids[: len(before.ids)] == before.ids, "the labels that are gone on from come first"
    again = _quick(images, preset=preset).choose(strategy, sizes)
    assert [one.ids for one in again] == [one.ids for one in found]


def test_kmeans_is_not_nested():
    found = _quick(_images()).choose(STRATEGIES.create("kmeans"), [5, 12, 20])
    assert [one.nested for one in found] == [None, False, False]


def test_what_needs_a_start_starts_from_the_random_set_of_the_seed():
    images = _images()
    first = {name: set(_quick(images, 3).choose(STRATEGIES.create(name), [8])[0].ids) for name in NAMES}
    assert first["random"] == first["entropy"] == first["margin"] == first["k_center"]
    assert first["accu_kmeans"] == first["kmeans"]
    assert first["random"] != set(_quick(images, 4).choose(STRATEGIES.create("random"), [8])[0].ids)
    assert {name: first_of(STRATEGIES.create(name)) for name in ("typiclust", "uniform", "margin")} == {
        "typiclust": "typiclust", "uniform": "uniform", "margin": "random",
    }  # fmt: skip


@pytest.mark.parametrize(("name", "acts"), [("auto", "typiclust"), ("uherding", "max_herding"), ("tcm", "typiclust")])
def test_what_acts_without_labels_starts_as_in_a_project(name, acts):
    images = _images()
    assert first_of(STRATEGIES.create(name)) == name
    options = {"radius": 1.0} if acts == "max_herding" else {}
    first, more = _quick(images, 3).choose(STRATEGIES.create(name), [8, 12])
    assert set(first.ids) == set(_quick(images, 3).choose(STRATEGIES.create(acts, **options), [8])[0].ids)
    assert set(first.ids) != set(_quick(images, 3).choose(STRATEGIES.create("random"), [8])[0].ids)
    assert len(more.ids) == 12


def test_going_on_from_labels_and_the_meaning_of_splits():
    images = _images()
    before = images.ids[10:16]
    for name in ("random", "entropy", "accu_kmeans"):
        strategy = STRATEGIES.create(name)
        sizes = totals(strategy, [10, 20], before=6)
        assert sizes == ((10, 20) if name == "random" else (16, 36))
        found = _quick(images).choose(strategy, sizes, before=before)
        assert found[0].ids[:6] == before
        assert [len(one.ids) for one in found] == list(sizes)
        assert found[0].nested is True
    assert [counting_of(STRATEGIES.create(name)) for name in NAMES].count("total") == 3


@pytest.mark.parametrize(
    ("name", "splits", "before", "words"),
    [
        ("random", [10, 5], 0, "have to ascend"),
        ("random", [10], 10, "beyond the 10 labels"),
        ("entropy", [0], 0, "1 or more"),
        ("entropy", [], 0, "1 or more"),
        ("kmeans", [20], 5, "use accu_kmeans"),
    ],
)
def test_splits_that_cannot_be(name, splits, before, words):
    with pytest.raises(ConfigError, match=words):
        totals(STRATEGIES.create(name), splits, before=before)


def test_selections_that_cannot_be():
    images = _images()
    with pytest.raises(ConfigError, match="121 labels asked for, and there are 120"):
        Selector(images).choose(STRATEGIES.create("random"), [121])
    with pytest.raises(DataError, match="an oracle"):
        Selector(_images(labels=False)).choose(STRATEGIES.create("uniform"), [5])
    with pytest.raises(DataError, match="trains on labels"):
        Selector(_images(labels=False)).choose(STRATEGIES.create("margin"), [5])
    with pytest.raises(DataError, match="none of the images"):
        Selector(images).choose(STRATEGIES.create("random"), [5], before=["nobody"])
    with pytest.raises(ConfigError, match="did you mean 'faithful'"):
        Selector(images, preset="fathful")
    with pytest.raises(UnmetNeed, match=r"'bald' needs .*, which frozen features and a linear head do not give"):
        _quick(images).choose(STRATEGIES.create("bald"), [3])


def test_strategies_without_labels_need_none():
    found = Selector(_images(labels=False)).choose(STRATEGIES.create("kmeans"), [4])
    assert len(found[0].ids) == 4
    assert math.isnan(found[0].coverage)


def test_random_picks_cover_63_per_cent_of_as_many_balanced_classes():
    """N = C draws of C balanced classes miss a class with chance (1 - 1 / C) ** C, which is 1 / e."""
    classes = 500
    names = tuple(str(c) for c in range(classes))
    labels_N = torch.arange(classes * 40) % classes
    ids = tuple(f"{i:05d}" for i in range(len(labels_N)))
    images = FrozenImages(ids, torch.ones(len(labels_N), 1), labels_N, names)
    found = [Selector(images, seed).choose(STRATEGIES.create("random"), [classes])[0].coverage for seed in range(10)]
    assert np.mean(found) == pytest.approx(100 * (1 - 1 / math.e), abs=1.0)
    assert Selector(images).choose(STRATEGIES.create("uniform"), [classes])[0].coverage == 100


def test_the_published_kmeans_is_one_call_of_faiss():
    """Five restarts, one call each, find what ``nredo=5`` finds; picks are the members nearest their centroids."""
    import faiss

    unit_ND = _images(300).unit_ND
    k = 12
    theirs = faiss.Kmeans(6, k, niter=20, nredo=5, seed=1234, min_points_per_centroid=1, max_points_per_centroid=50)
    theirs.train(unit_ND.numpy())
    distances = torch.cdist(unit_ND.double(), torch.from_numpy(theirs.centroids).double())
    nearest, own = distances.argmin(1), distances.min(1).values
    expected = {int(own.masked_fill(nearest != c, torch.inf).argmin()) for c in nearest.unique().tolist()}
    picks = published_kmeans(unit_ND, k, torch.empty(0, dtype=torch.int64)).tolist()
    assert set(picks) >= expected
    assert len(set(picks)) == k
    labelled = torch.tensor(sorted(expected))
    assert not set(published_kmeans(unit_ND, k, labelled).tolist()) & expected


def test_unit_rows():
    images = FrozenImages(("a", "b"), torch.tensor([[3.0, 4.0], [0.0, 0.0]]).half(), torch.tensor([0, 1]), ("x", "y"))
    assert images.unit_ND.dtype == torch.float16
    assert images.unit_ND.tolist() == [[pytest.approx(0.6, abs=1e-3), pytest.approx(0.8, abs=1e-3)], [0, 0]]
    assert images.coverage(torch.tensor([1])) == 50
