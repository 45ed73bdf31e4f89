"""Discriminative selection against the published loop, written down plainly; and features that tell nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import labelwise as lw
from labelwise.errors import ConfigError, DataError
from labelwise.selection.discrimination import PUBLISHED, Settings, class_weights, discriminate, sub_batches

#: one sub-batch from twice as many candidates as labels
ONE = replace(PUBLISHED, sub_batches=1, candidates=2)


def _rows(count: int, width: int = 4, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


def published(rows, labelled, k, *, rate, epochs, until, weighted, rng):
    """One sub-batch as published: candidates, a fresh net, epochs until one told enough right, the surest picks."""
    known = torch.zeros(len(rows), dtype=torch.bool)
    known[labelled] = True
    free = torch.nonzero(~known).flatten()
    drawn = free[torch.from_numpy(rng.permutation(len(free)))][: 2 * len(labelled)]
    generator = torch.Generator().manual_seed(int(rng.integers(1 << 62)))
    layers = [nn.Linear(rows.shape[1], 20), nn.Linear(20, 20), nn.Linear(20, 20), nn.Linear(20, 2)]
    for layer in layers:
        for part in (layer.weight, layer.bias):
            bound = layer.in_features**-0.5
            part.data = torch.empty_like(part).uniform_(-bound, bound, generator=generator)
    net = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2], nn.ReLU(), layers[3])
    learner = torch.optim.Adam(net.parameters(), lr=rate)
    both, counted = torch.cat([labelled, drawn]), 0
    weight = torch.tensor([len(labelled) / len(both), len(drawn) / len(both)])  # of unlabelled, of labelled
    if not weighted:
        weight = torch.ones(2)
    for _ in range(epochs):
        order, right = both[torch.from_numpy(rng.permutation(len(both)))], 0
        counted += 1
        for part in order.split(16):
            kinds = known[part].long()
            said = net(rows[part])
            learner.zero_grad()
            (F.cross_entropy(said, kinds, reduction="none") * weight[kinds]).sum().div(weight[kinds].sum()).backward()
            learner.step()
            right += int((said.argmax(1) == kinds).sum())
        if right / len(both) >= until:
            break
    sure = net(rows[drawn]).softmax(1)[:, 0]
    best = sure.argsort(descending=True)[:k]
    return drawn[best], sure[best].detach(), counted


@pytest.mark.parametrize(
    ("rate", "until", "epochs", "weighted"),
    [(3e-4, 0.982, 3, True), (3e-4, 0.55, 60, True), (5e-3, 0.8, 60, True), (5e-3, 0.8, 60, False)],
)
def test_the_faithful_training_is_the_published_one(rate, until, epochs, weighted):
    rows = _rows(90)
    rows[60:] += 2.5
    labelled = torch.arange(0, 20)
    how = replace(ONE, rate=rate, accuracy=until, epochs=epochs, batch_size=16, weighted=weighted)
    found = discriminate(rows, 6, labelled_L=labelled, settings=how, rng=np.random.default_rng(3))
    given = {"rate": rate, "epochs": epochs, "until": until, "weighted": weighted}
    picks, scores, counted = published(rows, labelled, 6, **given, rng=np.random.default_rng(3))
    assert set(found.rows_K.tolist()) == set(picks.tolist())  # scores that rounding alone sets apart may change places
    assert torch.allclose(found.scores_K, scores, atol=1e-4)
    (turn,) = found.turns
    assert turn.epochs == counted
    assert turn.reached is (turn.accuracy >= until)
    assert turn.reached is (counted < epochs)


def test_the_published_net_has_the_published_size():
    from labelwise.selection.discrimination import train

    net, _ = train(_rows(3, 512), _rows(4, 512), replace(PUBLISHED, epochs=1), np.random.default_rng(0))
    assert sum(part.numel() for part in net.parameters()) == 263_426


def test_both_kinds_weigh_alike():
    for labelled, unlabelled in ((1, 3), (10, 1), (7, 7)):
        new, known = class_weights(labelled, unlabelled)
        assert new * unlabelled == pytest.approx(known * labelled)


@pytest.mark.heavy
@pytest.mark.parametrize("preset", ["default", "faithful"])
@pytest.mark.parametrize("weighted", [True, False])
def test_weights_decide_what_is_said_where_nothing_can_be_known(preset, weighted):
    # 20 labelled and 180 unlabelled rows that are all the same: only their number tells
    rows = np.ones((200, 3))
    options = {"preset": preset, "weighted": weighted, "epochs": 150, "sub_batches": 1, "candidates": None}
    found = lw.select("discriminative", 5, embeddings=rows, labelled=range(20), seed=0, **options)
    assert found.scores[0] == pytest.approx(0.5 if weighted else 0.9, abs=0.07)


def test_a_budget_that_sub_batches_do_not_divide():
    assert sub_batches(10, 4) == [3, 3, 3, 1]
    assert sub_batches(3, 10) == [1, 1, 1]
    how = Settings(sub_batches=3, candidates=5)
    found = discriminate(_rows(40), 7, labelled_L=[0, 1, 2], settings=how, rng=np.random.default_rng(0))
    assert len(set(found.rows_K.tolist())) == 7
    assert [turn.drawn for turn in found.turns] == [15, 15, 15]
    assert not set(found.rows_K.tolist()) & {0, 1, 2}


def test_what_is_far_from_all_labels_comes_first():
    # every other candidate has a twin among the labels
    rows = torch.cat([_rows(60), _rows(60), _rows(10, seed=1) + 8])
    picks = lw.select("discriminative", 10, embeddings=rows, labelled=range(60), sub_batches=1, seed=0)
    assert set(picks.positions.tolist()) == set(range(120, 130))
    assert np.isfinite(picks.scores).all()


@pytest.mark.heavy
def test_later_sub_batches_know_the_earlier_ones():
    # two groups far from the labels, on either side of them: one sub-batch alone may take one side only
    rows = torch.cat([_rows(30) * 0.1, _rows(20, seed=1) * 0.1 + 3, _rows(20, seed=2) * 0.1 - 3])
    how = Settings(candidates=None)
    found = discriminate(rows, 20, labelled_L=range(30), settings=how, rng=np.random.default_rng(0))
    sides = (found.rows_K < 50).float()
    assert 0.2 < sides.mean() < 0.8


def test_features_of_any_scale_and_origin_give_the_same_picks():
    rows = _rows(200, 6).double()
    rows[150:] += 2
    moved = rows * torch.tensor([1e-6, 1.0, 1e3, 1e6, 5.0, 1e-2]) + torch.tensor([0.0, 7.0, -1e4, 0.0, 1e2, 0.0])
    how = Settings(sub_batches=2, epochs=3)
    one, other = (
        discriminate(x, 10, labelled_L=range(40), settings=how, rng=np.random.default_rng(0)).rows_K.tolist()
        for x in (rows, moved)
    )
    assert one == other


@pytest.mark.heavy
@pytest.mark.parametrize(("apart", "chance"), [(1.0, False), (0.0, True)])
def test_whether_the_two_can_be_told_apart_is_measured_on_rows_held_out(apart, chance):
    # 64 features of 300 rows: the net knows all it has learnt from by heart, whatever they say
    rows = _rows(300, 64)
    rows[100:] += apart
    found = discriminate(rows, 5, labelled_L=range(100), rng=np.random.default_rng(0))
    assert all(turn.reached for turn in found.turns)
    assert found.apart.chance is chance
    assert (found.apart.labelled, found.apart.unlabelled) == (20, 40)
    assert found.apart.pairs > 0.9 if apart else 0.3 < found.apart.pairs < 0.7
    picks = lw.select("discriminative", 5, embeddings=rows, labelled=range(100), seed=0)
    assert "20 labelled and 40 unlabelled images held out" in picks.notes[0]
    assert ("may be chance" in picks.notes[0]) is chance


@pytest.mark.heavy
def test_features_that_tell_nothing_are_said_and_take_no_time():
    picks = lw.select("discriminative", 4, embeddings=np.zeros((60, 3)), labelled=range(10), seed=0)
    assert len(set(picks.positions.tolist())) == 4
    assert "50% of all pairs are told apart (50%: chance); that may be chance" in picks.notes[0]
    assert "in 4 of 4 sub-batches" in picks.notes[1]
    found = discriminate(np.zeros((60, 3)), 4, labelled_L=range(10), rng=np.random.default_rng(0))
    assert max(turn.epochs for turn in found.turns) <= 5
    assert not any(turn.reached for turn in found.turns)


def test_what_is_left_out_of_a_sub_batch_is_said():
    picks = lw.select("discriminative", 2, embeddings=_rows(60), labelled=[0, 1, 2], candidates=4, seed=0)
    assert "discriminative: 12 of 57 candidates were drawn for a sub-batch (option candidates)" in picks.notes
    assert "too few to hold some out" in picks.notes[0]


def test_one_candidate_and_columns_without_spread():
    rows = np.ones((3, 5))
    rows[:, 0] = [0, 0, 1]
    found = discriminate(rows, 1, labelled_L=[0, 1], settings=Settings(epochs=2), rng=np.random.default_rng(0))
    assert found.rows_K.tolist() == [2]
    assert torch.isfinite(found.scores_K).all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_refused(value):
    rows = np.ones((9, 2))
    rows[4, 1] = value
    with pytest.raises(DataError):
        lw.select("discriminative", 2, embeddings=rows, labelled=[0], seed=0)
    with pytest.raises(DataError, match=r"1 of 9 feature rows .*first positions: \[4\]"):
        discriminate(rows, 2, labelled_L=[0], rng=np.random.default_rng(0))


def test_nothing_labelled_is_chosen_at_random_or_refused():
    assert len(lw.select("discriminative", 2, embeddings=_rows(9), seed=0).positions) == 2
    with pytest.raises(ConfigError, match="nothing is labelled"):
        discriminate(_rows(9), 2, labelled_L=[], rng=np.random.default_rng(0))


@pytest.mark.parametrize(
    ("option", "value"),
    [("sub_batches", 0), ("candidates", 0), ("epochs", 0), ("accuracy", 0.0), ("accuracy", 1.5)],
)
def test_options_out_of_their_range(option, value):
    with pytest.raises(ConfigError, match=f"{option} is {value}"):
        lw.select("discriminative", 2, embeddings=_rows(9), seed=0, **{option: value})
