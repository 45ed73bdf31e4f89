"""Heads trained together against ``torch.nn.Linear`` with ``torch.optim.Adam``; neighbours against a loop."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from labelwise.errors import ConfigError, DataError
from labelwise.learners.heads import Labels, LinearProtocol, fit_heads, inverse_norms
from labelwise.learners.nearest import nearest_classes
from labelwise.rng import torch_generator


def one_by_one(features, head: Labels, classes: int, how: LinearProtocol, views: int = 1):
    """Section by section what is published: normalise, Linear, Adam, a tenth of the rate at the milestones."""
    rows = torch.as_tensor(np.asarray(features)).float()
    model = nn.Linear(rows.shape[1], classes)
    bound, draw = 1 / math.sqrt(rows.shape[1]), torch_generator(head.seed, "head", "weights")
    with torch.no_grad():
        model.weight.uniform_(-bound, bound, generator=draw)
        model.bias.uniform_(-bound, bound, generator=draw)
    optimiser = torch.optim.Adam(model.parameters(), lr=how.lr)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, list(how.milestones), gamma=0.1)
    order = torch_generator(head.seed, "head", "order")
    for _ in range(how.epochs):
        permuted = torch.randperm(len(head.rows_L), generator=order).tolist()
        drawn = torch.randint(views, (len(permuted),), generator=order).tolist() if views > 1 else [0] * len(permuted)
        for start in range(0, len(permuted), how.batch_size):
            batch = permuted[start : start + how.batch_size]
            x = torch.stack([rows[int(head.rows_L[i]) * views + drawn[i]] for i in batch])
            if how.normalise:
                x = torch.stack([row / row.norm() if row.norm() > 0 else row for row in x])
            loss = F.cross_entropy(model(x), head.labels_L[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        schedule.step()
    return model


def _problem(n=60, d=7, classes=4, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=draw) * 3 + 1, torch.randint(classes, (n,), generator=draw)


@pytest.mark.heavy
@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("views", [1, 3])
def test_together_as_one_by_one(normalise, views):
    features, labels = _problem(n=60 * views)
    labels = labels[:60]
    how = LinearProtocol(epochs=30, milestones=(10, 20), batch_size=8, normalise=normalise)
    picks = np.random.default_rng(0)
    heads = []
    for size, seed in [(5, 0), (20, 0), (20, 1), (20, 1), (1, 3), (21, 0)]:
        rows = torch.from_numpy(picks.permutation(60)[:size])
        heads.append(Labels(rows, labels[rows], seed))
    found = fit_heads(features, heads, 4, protocol=how, views=views)
    for number, head in enumerate(heads):
        twin = one_by_one(features, head, 4, how, views)
        torch.testing.assert_close(found.weight_HCD[number], twin.weight.detach(), atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(found.bias_HC[number], twin.bias.detach(), atol=1e-4, rtol=1e-4)
        unit = F.normalize(features, dim=1) if normalise else features
        torch.testing.assert_close(found.logits(features)[number], twin(unit).detach(), atol=1e-3, rtol=1e-4)
    assert found.predictions(features).shape == (6, 60 * views)


def test_the_company_changes_nothing_and_float16_is_read():
    features, labels = _problem()
    heads = [Labels(torch.arange(s, s + 20), labels[s : s + 20], s) for s in (0, 10, 30)]
    how = LinearProtocol(epochs=5, batch_size=6)
    together = fit_heads(features, heads, 4, protocol=how)
    for number, head in enumerate(heads):
        alone = fit_heads(features, [head], 4, protocol=how)
        torch.testing.assert_close(alone.weight_HCD[0], together.weight_HCD[number], atol=1e-6, rtol=1e-5)
    half = fit_heads(features.half().numpy(), heads, 4, protocol=how)
    exact = fit_heads(features.half().float(), heads, 4, protocol=how)
    torch.testing.assert_close(half.weight_HCD, exact.weight_HCD)


def test_the_loss_is_that_of_the_last_epoch():
    features, labels = _problem(n=6)
    head = Labels(torch.arange(6), labels)
    found = fit_heads(features, [head], 4, protocol=LinearProtocol(epochs=1, batch_size=6))
    start = one_by_one(features, head, 4, LinearProtocol(epochs=1, lr=1e-12, batch_size=6))
    unit = F.normalize(features, dim=1)
    assert float(found.loss_H[0]) == pytest.approx(F.cross_entropy(start(unit), labels).item(), abs=1e-5)


def test_rows_of_zeros_stay_zero():
    assert inverse_norms(torch.tensor([[0.0, 0.0], [3.0, 4.0]])).tolist() == pytest.approx([0, 0.2])
    features = torch.zeros(4, 3)
    found = fit_heads(features, [Labels(torch.arange(4), torch.tensor([0, 0, 0, 1]))], 2)
    assert torch.isfinite(found.weight_HCD).all()
    assert found.predictions(features).tolist() == [[0, 0, 0, 0]], "the bias alone knows the frequent class"


@pytest.mark.parametrize(
    ("rows", "labels", "words"),
    [([], [], "0 rows"), ([0, 1], [0], "1 labels"), ([9], [0], "row 9"), ([-1], [0], "row -1"), ([0], [5], "class 5")],
)
def test_what_cannot_be_trained_on(rows, labels, words):
    head = Labels(torch.tensor(rows, dtype=torch.int64), torch.tensor(labels, dtype=torch.int64))
    with pytest.raises(DataError, match=words):
        fit_heads(torch.ones(3, 2), [head], 2)


@pytest.mark.parametrize("values", [{"epochs": 0}, {"lr": 0.0}, {"batch_size": 0}])
def test_protocols_that_cannot_be(values):
    with pytest.raises(ConfigError, match="positive"):
        LinearProtocol(**values)


# ---- neighbours -----------------------------------------------------------------------------------------------------


def _by_loop(features, test, one: Labels, k: int) -> set[int]:
    """All classes that the k nearest may give, whatever the ties."""
    unit = features / features.norm(dim=1, keepdim=True)
    test = test / test.norm()
    distance = ((unit[one.rows_L] - test) ** 2).sum(1)
    order = distance.argsort(stable=True).tolist()
    kth = float(distance[order[min(k, len(order)) - 1]])
    inside = [i for i in order if float(distance[i]) < kth - 1e-5]
    border = [i for i in order if abs(float(distance[i]) - kth) <= 1e-5]
    votes = Counter(int(one.labels_L[i]) for i in inside)
    if len(inside) + len(border) == min(k, len(order)):
        votes.update(int(one.labels_L[i]) for i in border)
        return {c for c, n in votes.items() if n == max(votes.values())}
    return {int(one.labels_L[i]) for i in border} | set(votes)


@pytest.mark.parametrize("k", [1, 3, 50])
def test_neighbours_as_by_a_loop(k):
    features, labels = _problem()
    tests, _ = _problem(seed=1)
    sets = [Labels(torch.arange(s, s + n), labels[s : s + n], s) for s, n in [(0, 20), (5, 1), (7, 40)]]
    found = nearest_classes(features, tests, sets, k=k)
    for row, one in zip(found, sets, strict=True):
        assert all(int(row[t]) in _by_loop(features, tests[t], one, k) for t in range(len(tests)))


def test_ties_are_broken_at_random_and_by_the_seed():
    features = torch.ones(4, 3)
    sets = [Labels(torch.tensor([0, 1, 2, 3]), torch.tensor([0, 1, 2, 3]), seed) for seed in range(200)]
    found = nearest_classes(features, torch.ones(1, 3), sets)
    counts = Counter(found[:, 0].tolist())
    assert set(counts) == {0, 1, 2, 3}
    assert min(counts.values()) > 25
    assert torch.equal(found, nearest_classes(features, torch.ones(1, 3), sets))
    votes = nearest_classes(features, torch.ones(1, 3), sets, k=4)
    assert set(votes[:, 0].tolist()) == {0, 1, 2, 3}


def test_sets_may_label_a_row_differently():
    """Two answers for one image, from two sets: each classifier keeps its own."""
    sets = [Labels(torch.tensor([1]), torch.tensor([label])) for label in (3, 5)]
    assert nearest_classes(torch.eye(3), torch.eye(3)[:1], sets).tolist() == [[3], [5]]


def test_neighbours_refused():
    with pytest.raises(ConfigError, match="0 neighbours"):
        nearest_classes(torch.eye(3), torch.eye(3), [Labels(torch.tensor([1]), torch.tensor([1]))], k=0)
    with pytest.raises(DataError, match="at least one label"):
        nearest_classes(torch.eye(3), torch.eye(3), [Labels(torch.tensor([]).long(), torch.tensor([]).long())])
