"""GALAXY against breadth-first search on its graphs, written out edge by edge."""

from __future__ import annotations

from collections import Counter, deque

import numpy as np
import pytest
import torch

import labelwise as lw
from labelwise.errors import ConfigError, DataError, UnmetNeed
from labelwise.selection.bisection import galaxy


def generator(seed=0):
    return np.random.default_rng(seed)


def softmax(logits):
    exp = np.exp(logits - logits.max(1, keepdims=True))
    return exp / exp.sum(1, keepdims=True)


def lines(probs):
    """Items of each graph in order (scores are distinct here): by margin to the best class, then by score."""
    classes = range(probs.shape[1]) if probs.shape[1] > 2 else [probs.shape[1] - 1]
    best = probs.max(1) if probs.shape[1] > 1 else np.zeros(len(probs))
    return {
        (c if probs.shape[1] > 1 else 1): sorted(range(len(probs)), key=lambda i: (probs[i, c] - best[i], probs[i, c]))
        for c in classes
    }


def shortest_middles(line, own, order):
    """Length of the shortest path between labels that differ, over edges of at most ``order`` ranks without cuts, and
    the items halfway on such paths. ``own``: item -> whether its label is the class of the line."""
    rank = {item: number for number, item in enumerate(line)}

    def neighbours(item):
        for other in line[max(0, rank[item] - order) : rank[item] + order + 1]:
            cut = item in own and other in own and own[item] != own[other]
            if other != item and not cut:
                yield other

    def distances(source):
        found, queue = {source: 0}, deque([source])
        while queue:
            item = queue.popleft()
            for other in neighbours(item):
                if other not in found:
                    found[other] = found[item] + 1
                    queue.append(other)
        return found

    table = {item: distances(item) for item in own}
    pairs = [(u, v) for u in own for v in own if own[u] and not own[v] and v in table[u]]
    if not pairs:
        return np.inf, set()
    length = min(table[u][v] for u, v in pairs)
    middles = {
        item
        for u, v in pairs
        if table[u][v] == length
        for item in line
        if item in table[u]
        and item in table[v]
        and table[u][item] + table[v][item] == length
        and abs(table[u][item] - table[v][item]) <= 1
    }
    return length, middles - set(own)


def assert_bisects(probs, picks, lucky, labels, answers):
    """Each pick is a midpoint of a shortest shortest path of its moment, in the graphs of the lowest order with one."""
    graphs = lines(probs)
    known = dict(labels)
    order = 1
    for turn, pick in enumerate(picks):

        def search(order):
            found = [
                shortest_middles(line, {item: label == c for item, label in known.items()}, order)
                for c, line in graphs.items()
            ]
            length = min(entry[0] for entry in found)
            return length, set().union(*(middles for reach, middles in found if reach == length))

        length, middles = search(order)
        while length == np.inf and order < len(probs):
            order += 1
            length, middles = search(order)
        if length == np.inf:
            lucky -= 1
            order = 1
        else:
            assert pick in middles, (turn, order, length)
        known[pick] = int(answers[pick])
    assert lucky == 0


def problem(count, classes, labelled, seed):
    rng = generator(seed)
    truth = rng.integers(0, max(2, classes), count)
    if classes == 1:
        probs = np.clip(rng.random((count, 1)) * 0.6 + 0.4 * truth[:, None], 0, 1)
    else:
        probs = softmax(rng.normal(size=(count, classes)) + 1.5 * np.eye(classes)[truth])
    labelled = rng.permutation(count)[:labelled]
    return probs, truth, labelled


@pytest.mark.heavy
@pytest.mark.parametrize("classes", [1, 2, 3, 5])
@pytest.mark.parametrize("seed", range(4))
def test_each_pick_is_a_midpoint_of_a_shortest_shortest_path(classes, seed):
    """With the true labels told at once, as the paper has it, and with predicted ones."""
    probs, truth, labelled = problem(26, classes, 4, seed)
    predicted = probs.argmax(1) if classes > 1 else (probs[:, 0] > 0.5).astype(int)
    for answers, given in ((truth, truth), (predicted, None)):
        picks, lucky = galaxy(
            probs, 22, labelled_L=labelled, labels_L=truth[labelled], answers_N=given, rng=generator(seed)
        )
        assert sorted([*picks.tolist(), *labelled.tolist()]) == list(range(26))
        labels = dict(zip(labelled.tolist(), truth[labelled].tolist(), strict=True))
        assert_bisects(probs, picks.tolist(), lucky, labels, answers)


def test_bisection_finds_a_border_in_a_logarithm_of_the_pool():
    count = 1024
    probs = np.stack([1 - (np.arange(count) + 0.5) / count, (np.arange(count) + 0.5) / count], axis=1)
    truth = (np.arange(count) >= 700).astype(int)
    picks, _ = galaxy(probs, 12, labelled_L=[0, 1023], labels_L=[0, 1], answers_N=truth, rng=generator())
    assert {699, 700} <= set(picks.tolist())
    assert len({*picks.tolist()[10:]} & set(range(690, 710))) == 2, "then it stays around the cut"


def test_a_rare_class_gets_its_share():
    """A class of 2 % whose items the model ranks a little higher: half of the picks surround its border."""
    rng = generator(1)
    truth = (np.arange(3000) >= 2940).astype(int)
    score = rng.normal(size=3000) * 0.5 + 2.0 * truth - 3.0
    probs = softmax(np.stack([np.zeros(3000), score], axis=1))
    labelled = [0, 1, 2, 2999]
    picks, lucky = galaxy(probs, 60, labelled_L=labelled, labels_L=truth[labelled], answers_N=truth, rng=generator())
    assert lucky == 0
    assert truth[picks].mean() > 0.3


def test_until_there_are_two_classes_the_choice_is_random():
    probs = softmax(generator(2).normal(size=(30, 3)))
    for labelled, labels in (([], []), ([4], [1]), ([4, 5], [2, 2])):
        sets = Counter()
        for seed in range(20):
            answers = np.full(30, labels[0] if labels else 1)
            picks, lucky = galaxy(
                probs, 5, labelled_L=labelled, labels_L=labels, answers_N=answers, rng=generator(seed)
            )
            assert lucky == 5
            assert len(set(picks.tolist()) - set(labelled)) == 5
            sets[tuple(sorted(picks.tolist()))] += 1
        assert len(sets) > 15
    assert galaxy(probs, 5, labelled_L=[], labels_L=[], rng=generator())[1] < 5
    notes = lw.select("galaxy", 1, probs=probs).notes
    assert notes == ("there was no border between two classes to look for: 1 picks are random",)


@pytest.mark.parametrize("count", [2, 3, 40])
def test_ties_and_small_pools(count):
    for probs in (np.full((count, 4), 0.25), np.full((count, 1), 0.5), np.eye(2)[np.arange(count) % 2]):
        for labelled in {1, count - 1}:
            labels = np.arange(labelled) % 2
            for k in {1, count - labelled}:
                picks, _ = galaxy(probs, k, labelled_L=range(labelled), labels_L=labels, rng=generator())
                assert len(set(picks.tolist()) - set(range(labelled))) == k
    probs = np.full((40, 2), 0.5, dtype=np.float16)
    firsts = {
        int(galaxy(probs, 1, labelled_L=[0, 1], labels_L=[0, 1], rng=generator(seed))[0][0]) for seed in range(30)
    }
    assert len(firsts) > 8


def test_only_candidates_and_the_same_for_the_same_seed():
    probs, truth, labelled = problem(60, 4, 10, 3)
    candidates = [i for i in range(0, 60, 2) if i not in labelled]
    one, two = (
        galaxy(probs, 9, labelled_L=labelled, labels_L=truth[labelled], candidates_M=candidates, rng=generator(5))[0]
        for _ in range(2)
    )
    assert torch.equal(one, two)
    assert set(one.tolist()) <= set(candidates)


def test_impossible_requests_are_refused():
    probs, truth, labelled = problem(10, 3, 4, 4)
    with pytest.raises(ConfigError, match="7 picks among 6"):
        galaxy(probs, 7, labelled_L=labelled, labels_L=truth[labelled], rng=generator())
    with pytest.raises(DataError, match="labels reach from 0 to 3"):
        galaxy(probs, 1, labelled_L=labelled, labels_L=[0, 1, 2, 3], rng=generator())
    with pytest.raises(DataError, match="2 entries for 4"):
        galaxy(probs, 1, labelled_L=labelled, labels_L=[0, 1], rng=generator())
    with pytest.raises(DataError, match="NaN"):
        galaxy(
            np.where(probs == probs[0, 0], np.nan, probs),
            1,
            labelled_L=labelled,
            labels_L=truth[labelled],
            rng=generator(),
        )
    with pytest.raises(UnmetNeed, match="labels="):
        lw.select("galaxy", 1, probs=probs, labelled=labelled)
