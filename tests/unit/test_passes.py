"""Stochastic passes as options name them: by kind, in full, or as a file describes them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import tiny
from labelwise.contracts.passes import Dropout, Views, passes_of
from labelwise.errors import ConfigError
from labelwise.learners.passes import dropped
from labelwise.strategies import STRATEGIES


def test_places_with_shares_of_their_own():
    passes = Dropout(p=0.9, after=("conv", ("hidden", 0.25)))
    assert passes.places == (("conv", 0.9), ("hidden", 0.25))
    net, images = tiny.TinyNet().eval(), torch.randn(4, 1, 16, 16)
    gone = {"conv": 0.0, "hidden": 0.0}
    for path in gone:  # behind dropout's own hook, so that it sees the masked values
        for draw in range(60):
            kept = []
            with dropped(net, passes, 0, draw):
                handle = getattr(net, path).register_forward_hook(lambda m, i, out, kept=kept: kept.append(out))
                net(images)
                handle.remove()
            gone[path] += float((kept[0] == 0).float().mean()) / 60
    assert gone["conv"] == pytest.approx(0.9, abs=0.06)
    assert gone["hidden"] == pytest.approx(0.25, abs=0.06)


def test_a_layer_that_is_used_twice_has_two_masks():
    net = nn.Sequential(relu := nn.ReLU(), nn.Identity(), relu).eval()
    seen = []
    handle = net[1].register_forward_hook(lambda module, inputs, output: seen.append(output))
    with dropped(net, Dropout(after=("0",)), 0, 0):
        both = net(torch.ones(1, 1000))
    handle.remove()
    assert both.unique().tolist() == [0, 4]
    assert (both > 0).float().mean().item() == pytest.approx(0.25, abs=0.05), "half of the half"
    assert (seen[0] > 0).float().mean().item() == pytest.approx(0.5, abs=0.05)


def test_as_files_describe_them():
    described = {"kind": "dropout", "draws": 7, "after": ["conv", ["hidden", 0.25]]}
    assert passes_of(described) == Dropout(7, after=("conv", ("hidden", 0.25)))
    assert passes_of({"after": ["conv"]}) == Dropout(after=("conv",)), "dropout unless another kind is named"
    assert passes_of({"kind": "views", "flip": False}, 3) == Views(3, flip=False)
    strategy = STRATEGIES.create("variation_ratio", source=described, passes=16)
    assert strategy.signal.source == Dropout(16, after=("conv", ("hidden", 0.25)))
    assert hash(strategy) == hash(STRATEGIES.create("variation_ratio", source=described, passes=16))


@pytest.mark.parametrize(
    ("described", "message"),
    [
        ({"kind": "dropot"}, "did you mean 'dropout'"),
        ({"kind": "dropout", "afer": ["conv"]}, "did you mean 'after'"),
        ({"kind": "dropout", "after": [["conv", 1.5]]}, "p must lie between 0 and 1, got 1.5"),
        ({"kind": "dropout", "draws": 0}, "draws must be at least 1"),
    ],
)
def test_descriptions_that_make_no_sense(described, message):
    with pytest.raises(ConfigError, match=message):
        passes_of(described)
    with pytest.raises(ConfigError, match=message):
        STRATEGIES.create("bald", source=described)
