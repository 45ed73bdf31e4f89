"""Unusual poses against a slow reading, one number at a time; limbs that nobody named."""

from __future__ import annotations

import math

import pytest
import torch

import posed
from labelwise.errors import ConfigError, UnmetNeed
from labelwise.selection.poses import UsualPoses, joints_of, steady_limbs
from labelwise.signals.poses import UnusualPose
from labelwise.strategies import STRATEGIES

LIMBS = [(0, 1), (1, 2), (1, 3)]


def poses(count, seed=0, points=4):
    rng = torch.Generator().manual_seed(seed)
    places = torch.tensor([[10.0, 10], [20, 12], [25, 20], [27, 5]])[:points]
    return places + torch.randn(count, points, 2, generator=rng)


def slow_numbers(pose):
    """Lengths on a logarithmic scale by limb, angles by joint."""
    lengths = {limb: math.log(math.dist(pose[limb[0]], pose[limb[1]])) for limb in LIMBS}
    angles = {}
    for end, at, far in joints_of(LIMBS):
        one = math.atan2(pose[end][1] - pose[at][1], pose[end][0] - pose[at][0])
        other = math.atan2(pose[far][1] - pose[at][1], pose[far][0] - pose[at][0])
        angles[end, at, far] = math.remainder(other - one, 2 * math.pi)
    return lengths, angles


def slow(labelled, known, pose, mass, shrink):
    """The score of one pose."""
    total = weights = 0.0
    for sort in (0, 1):
        kept = {}
        for n, one in enumerate(labelled):
            for parts, value in slow_numbers(one)[sort].items():
                if all(known[n][part] for part in parts):
                    kept.setdefault(parts, []).append(value)
        middles, varied = {}, {}
        for parts, values in kept.items():
            if sort:
                middle = math.atan2(sum(map(math.sin, values)), sum(map(math.cos, values)))
            else:
                middle = sum(values) / len(values)
            away = [math.remainder(v - middle, 2 * math.pi) if sort else v - middle for v in values]
            middles[parts], varied[parts] = middle, sum(a * a for a in away) / len(values)
        seen = sum(len(values) for values in kept.values())
        usual = sum(varied[parts] * len(kept[parts]) for parts in kept) / max(seen, 1)
        for parts, value in slow_numbers(pose)[sort].items():
            if parts not in kept:
                continue
            count = len(kept[parts])
            spread = max(math.sqrt((count * varied[parts] + shrink * usual) / (count + shrink)), 0.05)
            away = math.remainder(value - middles[parts], 2 * math.pi) if sort else value - middles[parts]
            weight = math.prod(mass[part] for part in parts)
            total += weight * (away / spread) ** 2 / 2
            weights += weight
    return total / max(weights, 1e-12)


@pytest.mark.parametrize("shrink", [0.5, 5.0])
def test_as_one_number_at_a_time(shrink):
    labelled, rng = poses(7), torch.Generator().manual_seed(3)
    known = torch.rand(7, 4, generator=rng) > 0.3
    known[:, 3] = False
    known[0, 3] = known[0, 1] = True
    some, mass = 3 * torch.randn(5, 4, 2, generator=rng) + poses(5, 1), torch.rand(5, 4, generator=rng)
    usual = UsualPoses.of(labelled, known, LIMBS, shrink=shrink)
    found = usual.unusual(some, mass)
    expected = [
        slow(labelled.tolist(), known.tolist(), pose, one, shrink)
        for pose, one in zip(some.tolist(), mass.tolist(), strict=True)
    ]
    assert found.tolist() == pytest.approx(expected, rel=1e-5)


def test_a_turned_and_moved_pose_is_as_usual_as_it_was_and_a_stretched_limb_is_not():
    usual = UsualPoses.of(poses(20), torch.ones(20, 4, dtype=torch.bool), LIMBS)
    pose, sure = poses(1, 9).double(), torch.ones(1, 4)
    turn = torch.tensor([[0.0, 1.0], [-1.0, 0.0]]).double()
    torch.testing.assert_close(usual.unusual(pose @ turn + 7, sure), usual.unusual(pose, sure))
    stretched = pose.clone()
    stretched[0, 0] -= torch.tensor([30.0, 6.0])
    assert usual.unusual(stretched, sure) > usual.unusual(pose, sure) + 3
    # of a point that the model does not see nothing is said
    unseen = sure.clone()
    unseen[0, 0] = 0
    torch.testing.assert_close(usual.unusual(stretched, unseen), usual.unusual(pose, unseen))


def test_what_is_no_number_stays_none():
    usual = UsualPoses.of(poses(20), torch.ones(20, 4, dtype=torch.bool), LIMBS)
    pose = poses(2)
    pose[1, 2] = torch.nan
    assert usual.unusual(pose, torch.ones(2, 4)).isnan().tolist() == [False, True]


def test_points_that_were_never_seen_together_are_no_limb():
    known = torch.ones(6, 4, dtype=torch.bool)
    known[:, 3] = False
    assert {end for limb in steady_limbs(poses(6), known) for end in limb} == {0, 1, 2}


def test_without_a_pose_or_with_a_point_that_is_not_there_it_says_so(tmp_path):
    source, learner = posed.trained()
    view = posed.view(source, source.ids[60:64])
    bare = posed.learner_data(source, ["arrow/005.png"])
    signal = UnusualPose()
    with pytest.raises(UnmetNeed, match="no labelled image shows two points"):
        learner.collect(view, frozenset({signal}), data=bare)
    with pytest.raises(ConfigError, match="'tail'"):
        learner.collect(view, frozenset({UnusualPose((("tip", "tail"),))}), data=bare)


@pytest.mark.heavy
def test_limbs_of_the_task_are_taken_where_the_strategy_names_none():
    source, learner = posed.trained()
    view, data = posed.view(source, source.ids[60:70]), posed.learner_data(source, source.ids[:60])
    named = UnusualPose((("tip", "left_end"), ("tip", "right_end")))
    rows = learner.collect(view, frozenset({named}), data=data)[named]
    assert (rows >= 0).all()
    assert rows.std() > 0
    strategy = STRATEGIES.create("skeleton_likelihood", limbs=[["tip", "left_end"], ["tip", "right_end"]])
    assert strategy.signal == named
