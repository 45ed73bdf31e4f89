"""The methods that are made of others: SEALS, TCM, accumulative k-means, and what DropQuery says of its picks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import labelwise as lw
from labelwise.errors import ConfigError, UnmetNeed
from labelwise.strategies import STRATEGIES


def pool(count=120, width=6, seed=0):
    rng = np.random.default_rng(seed)
    probs = rng.dirichlet(np.ones(3), size=count)
    return rng.normal(size=(count, width)).astype(np.float32), probs


def slow_seals(points, probs, labelled, k, neighbours):
    """The k nearest unlabelled rows of each labelled one; of them all, the smallest margins."""
    free = [i for i in range(len(points)) if i not in labelled]
    reached = set()
    for label in labelled:
        reached |= set(sorted(free, key=lambda i: np.linalg.norm(points[i] - points[label]))[:neighbours])
    margins = {i: np.diff(np.sort(probs[i])[-2:])[0] for i in reached}
    return sorted(reached, key=lambda i: margins[i])[:k], reached


@pytest.mark.parametrize(("labelled", "neighbours"), [([5], 10), ([5, 80, 3], 4), (list(range(40)), 1), ([7, 9], 500)])
def test_seals_is_margin_among_neighbours(labelled, neighbours):
    points, probs = pool()
    expected, reached = slow_seals(points, probs, labelled, 3, neighbours)
    picks = lw.select("seals", 3, embeddings=points, probs=probs, labelled=labelled, neighbours=neighbours)
    assert picks.positions.tolist() == expected
    assert picks.notes == ()
    assert len(reached) <= neighbours * len(labelled)


def test_seals_fills_up_at_random_and_says_so():
    points, probs = pool()
    _, reached = slow_seals(points, probs, [5], 0, 4)
    found = [lw.select("seals", 9, embeddings=points, probs=probs, labelled=[5], neighbours=4, seed=s) for s in (0, 1)]
    for picks in found:
        assert reached < set(picks.positions.tolist())
        assert "labels reach 4 items: 5 of the 9 are drawn at random" in picks.notes[0]
    assert set(found[0].positions.tolist()) != set(found[1].positions.tolist())


def test_seals_without_a_label_is_its_inner_strategy():
    points, probs = pool()
    alone = lw.select("margin", 5, probs=probs)
    assert lw.select("seals", 5, embeddings=points, probs=probs).positions.tolist() == alone.positions.tolist()
    assert STRATEGIES.create("seals", then="kmeans").cold
    assert not STRATEGIES.create("seals").cold


def test_equally_near_items_are_reached_at_random():
    points = np.concatenate([np.zeros((1, 2)), np.ones((30, 2))])
    probs = np.full((31, 2), 0.5)
    found = {
        int(lw.select("seals", 1, embeddings=points, probs=probs, labelled=[0], neighbours=1, seed=s).positions[0])
        for s in range(30)
    }
    assert len(found) > 8


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("labelled", "options", "expected"),
    [
        (0, {}, "TypiClust"),
        (59, {}, "TypiClust"),
        (60, {}, "Margin"),
        (60, {"per_class": 20.5}, "TypiClust"),
        (9, {"switch_at": 10}, "TypiClust"),
        (10, {"switch_at": 10}, "Margin"),
        (0, {"per_class": 0.001}, "TypiClust"),
    ],
)
def test_tcm_switches_by_the_number_of_labels(labelled, options, expected):
    points, probs = pool()
    given = {"embeddings": points, "probs": probs, "labelled": np.arange(labelled), "labels": np.arange(labelled) % 3}
    picks = lw.select("tcm", 4, **given, **options)
    alone = lw.select(expected.lower(), 4, **given)
    assert picks.positions.tolist() == alone.positions.tolist()
    assert expected in picks.notes[0]


def test_tcm_needs_only_what_acts():
    points, probs = pool()
    assert len(lw.select("tcm", 4, embeddings=points)) == 4
    assert len(lw.select("tcm", 4, probs=probs, labelled=[0, 1], switch_at=2)) == 4
    with pytest.raises(UnmetNeed):
        lw.select("tcm", 4, probs=probs)


def test_accumulative_k_means_gives_one_for_each_cluster_of_everything():
    # three groups, the first labelled to the last item: its share goes to the largest of the others
    points = np.repeat(np.eye(3), [5, 8, 6], axis=0) + 0.01 * pool(19, 3)[0]
    picks = lw.select("accu_kmeans", 3, embeddings=points * np.linspace(1, 50, 19)[:, None], labelled=range(5))
    groups = [0 if i < 5 else 1 if i < 13 else 2 for i in picks.positions]
    assert sorted(groups) == [1, 1, 2]
    same = lw.select("kmeans", 3, embeddings=points, labelled=range(5), pool="all", normalise=True)
    assert len(same) == 3


def test_scaling_rows_by_their_length_is_what_normalise_does():
    points = pool(200)[0] * np.linspace(1, 9, 200, dtype=np.float32)[:, None]
    points[7] = 0
    lengths = torch.linalg.vector_norm(torch.from_numpy(points), dim=1, keepdim=True)
    scaled = points / np.maximum(lengths.numpy(), 1e-12)
    for option in ("candidates", "all"):
        found = lw.select("kmeans", 9, embeddings=points, labelled=[3, 4], pool=option, normalise=True)
        assert set(found.positions) == set(
            lw.select("kmeans", 9, embeddings=scaled, labelled=[3, 4], pool=option).positions
        )


def test_drop_query_says_when_its_picks_are_sure():
    points, _ = pool()
    head = (np.eye(3, 6), np.array([99.0, 0.0, 0.0]))
    picks = lw.select("drop_query", 4, embeddings=points, head=head)
    assert picks.notes[0].startswith("4 of 4 keep their class")
    assert picks.scores.tolist() == [0.0] * 4
    with pytest.raises(UnmetNeed, match="head="):
        lw.select("drop_query", 4, embeddings=points)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("typiclust", {"neighbours": 0}),
        ("typiclust", {"clusters": 0}),
        ("seals", {"neighbours": 0}),
        ("tcm", {"per_class": 0}),
        ("tcm", {"switch_at": 0}),
        ("drop_query", {"passes": 0}),
        ("drop_query", {"rate": 1.0}),
        ("seals", {"then": "nothing"}),
        ("seals", {"then": "true_loss"}),
    ],
)
def test_bad_options_are_refused(name, options):
    with pytest.raises(ConfigError):
        STRATEGIES.create(name, **options)
