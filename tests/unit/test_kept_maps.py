"""Frozen trunks that keep what they gave: the same weights to the bit, each image computed once."""

from __future__ import annotations

from dataclasses import replace

import pytest
import timm
import torch

import painted
from labelwise.contracts.input import InputSpec
from labelwise.contracts.learner import Phase
from labelwise.learners.torch import TorchLearner
from labelwise.models import kept_maps as module
from labelwise.models.kept_maps import KeptMaps, kept_maps
from labelwise.models.taps import stages
from labelwise.models.torchvision_segmenters import build_segmenter
from labelwise.models.trunks import Trunk, build_trunk
from labelwise.strategies.learning_loss import LearningLoss

RESNET = "test_resnet"
SMALL = InputSpec((64, 64))


@pytest.fixture
def weights(tmp_path) -> str:
    torch.save(timm.create_model(RESNET).state_dict(), tmp_path / "w.pth")
    return str(tmp_path / "w.pth")


def _trained(weights: str, *, augment: str = "flip", heads=(), **phase) -> tuple[TorchLearner, list[int]]:
    """A learner after six epochs of five images, and the sizes of the batches that the trunk computed."""
    source = painted.Painted(5)
    task = replace(painted.task(), augment=augment)
    learner = TorchLearner(
        task, f"unet@{RESNET}", weights=weights, phases=[Phase(epochs=6, batch_size=2, lr=1e-2, **phase)]
    )
    computed: list[int] = []
    maps = Trunk.maps

    def counted(self, images):
        computed.append(len(images))
        return maps(self, images)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trunk, "maps", counted)
        learner.fit(painted.learner_data(source, source.ids), 3, auxiliaries=heads)
    return learner, computed


def _weights_of(learner: TorchLearner) -> dict[str, torch.Tensor]:
    return dict(learner.networks.nets[0].state_dict())


@pytest.mark.parametrize("augment", ["none", "flip"])
def test_training_is_that_of_a_trunk_that_computes_each_image_anew(augment, weights, monkeypatch):
    learner, computed = _trained(weights, augment=augment)
    assert sum(computed) <= 2 + 5 * module.VIEWS[augment], "two to see how large the maps are, then each view once"

    def anew(self, images):
        rows = [self.maps_of(image[None]) for image in images]
        return tuple(torch.cat(maps) for maps in zip(*rows, strict=True))

    monkeypatch.setattr(KeptMaps, "__call__", anew)
    slow, every = _trained(weights, augment=augment)
    assert sum(every) >= 6 * 5
    ours, theirs = _weights_of(learner), _weights_of(slow)
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


@pytest.mark.parametrize(
    ("augment", "phase"),
    [("flip_scale", {}), ("flip", {"rates": (("trunk", 1e-4),)}), ("flip", {"trainable": ("trunk", "head")})],
)
def test_a_trunk_that_learns_or_never_sees_an_image_twice_computes(augment, phase, weights):
    _, computed = _trained(weights, augment=augment, **phase)
    assert sum(computed) >= 6 * 5
    assert 2 in computed, "whole batches"


def test_nothing_is_kept_beyond_the_block_or_the_memory_or_in_inference_mode(weights, monkeypatch):
    trunk = build_trunk(f"unet@{RESNET}", SMALL, weights).eval()
    images = torch.rand(2, 3, 64, 64)
    with kept_maps(trunk, 10, "flip", images):
        with torch.inference_mode():
            trunk(images)
        assert not trunk.kept.known
        made = trunk(images)
        assert len(trunk.kept.known) == 2
        assert all(torch.equal(one, other) for one, other in zip(trunk(images), made, strict=True))
        assert not any(maps.is_inference() for maps in made)
    assert trunk.kept is None
    monkeypatch.setattr(module, "MOST", 10 * 2 * sum(maps[:1].nbytes for maps in made) - 1)
    with kept_maps(trunk, 10, "flip", images):
        assert trunk.kept is None
    with kept_maps(trunk, 9, "flip", images):
        assert trunk.kept is not None


def test_heads_beside_the_model_read_what_the_trunk_gives_and_nothing_within_it(weights):
    net = build_segmenter(f"unet@{RESNET}", 2, SMALL, weights=weights)
    read = stages(net, torch.zeros(2, 3, 64, 64))
    assert read[-1] == "trunk[3]"
    assert not any(path.startswith("trunk.") for path in read)
    learner, computed = _trained(weights, heads=(LearningLoss().head,))
    assert [head.name for head in learner.networks.auxiliaries] == ["learning_loss"]
    assert sum(computed) < 6 * 5, "each view once, and a few passes that look for what to read"


def test_a_trunk_that_is_watched_computes(weights):
    trunk = build_trunk(f"unet@{RESNET}", SMALL, weights).eval()
    seen = []
    with kept_maps(trunk, 2, "none", torch.zeros(2, 3, 64, 64)):
        part = next(iter(trunk.net.children()))
        part.register_forward_hook(lambda module, given, maps: seen.append(maps))
        for _ in range(3):
            trunk(torch.zeros(2, 3, 64, 64))
    assert len(seen) == 3
