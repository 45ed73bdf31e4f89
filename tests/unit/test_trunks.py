"""Networks on a trunk of timm: maps, weights, statistics, round trips, what the weights saw, refusals."""

from __future__ import annotations

from dataclasses import replace

import pytest
import timm
import torch
from torch import nn

import painted
import shapes
from labelwise.assemble import check_names
from labelwise.config import FeaturesConfig, LearnerConfig, ProjectConfig, parse
from labelwise.contracts.input import InputSpec
from labelwise.contracts.learner import Phase
from labelwise.errors import ConfigError, DataError
from labelwise.learners.torch import TorchLearner
from labelwise.models.by_name import lite0_path
from labelwise.models.centre import CentreNet
from labelwise.models.provenance import leak, provenance, what_weights_saw
from labelwise.models.torchvision_detectors import build_detector
from labelwise.models.torchvision_segmenters import build_segmenter
from labelwise.models.trunks import STRIDES, Trunk, build_trunk, on_trunk, trunk_to_be_had, weights_in_use
from labelwise.models.unet import UNet
from labelwise.models.weights import load_weights

SMALL = InputSpec((64, 64))
#: a tiny ResNet and a tiny EfficientNet of timm, for tests
RESNET, EFFICIENTNET = "test_resnet", "test_efficientnet"


@pytest.mark.heavy
@pytest.mark.parametrize("network", STRIDES)
@pytest.mark.parametrize("trunk", [RESNET, EFFICIENTNET, "timm:mobilenetv3_small_050"])
@pytest.mark.parametrize("size", [(64, 64), (100, 75)])
def test_maps_have_the_strides_and_widths_that_were_promised(network, trunk, size):
    found = build_trunk(f"{network}@{trunk}", InputSpec(size)).eval()
    maps = found(torch.rand(2, 3, *size))
    assert [tuple(one.shape[:2]) for one in maps] == [(2, width) for width in found.widths]
    assert [tuple(one.shape[2:]) for one in maps] == [
        tuple(-(-side // stride) for side in size) for stride in STRIDES[network]
    ]


@pytest.mark.heavy
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(64, 64), (100, 75)])
def test_the_heads_read_any_trunk_at_any_size(size, channels):
    spec, images = InputSpec(size, channels), torch.rand(2, channels, *size)
    detector = build_detector(f"centre@{RESNET}", 3, spec).eval()
    seen = detector.see(images)
    assert seen.logits_BAC.shape == (2, -(-size[0] // 8) * -(-size[1] // 8), 3)
    net = build_segmenter(f"unet@{RESNET}", 3, spec).eval()
    assert net(images).shape == (2, 3, -(-size[0] // 2), -(-size[1] // 2))


def test_levels_deeper_than_what_is_read_are_cut_off():
    count = sum(p.numel() for p in build_trunk(f"unet@{RESNET}", SMALL).parameters())
    assert count < sum(p.numel() for p in timm.create_model(RESNET, features_only=True).parameters())


def test_the_networks_alone_are_named_as_ever():
    def parts(net: nn.Module) -> str:
        return " ".join(dict.fromkeys(key.split(".")[0] for key in net.state_dict()))

    assert parts(CentreNet(2, width=4)) == "stem fine middle coarse from_coarse from_middle neck head peaks sides"
    assert parts(UNet(2, width=4)) == "level0 level1 level2 level3 level4 up0 up3 up2 up1 head"


# ---- weights --------------------------------------------------------------------------------------------------------


@pytest.mark.heavy
def test_lite0_computes_what_the_whole_network_does_whatever_the_normalisation():
    pixels = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    given = InputSpec((64, 64), 3, (0.4, 0.5, 0.3), (0.2, 0.3, 0.25))
    trunk = build_detector("centre@lite0", 2, given).trunk.eval()
    whole = timm.create_model("tf_efficientnet_lite0").eval()
    load_weights(whole, str(lite0_path()))
    own = replace(given, mean=(127 / 255,), std=(128 / 255,))
    with torch.inference_mode():
        maps = trunk(given.normalise(pixels))
        wanted = whole.forward_intermediates(own.normalise(pixels), indices=[2, 3, 4], intermediates_only=True)
    for one, other in zip(maps, wanted, strict=True):
        assert torch.allclose(one, other, atol=1e-3 * float(other.abs().max()))


def test_grey_images_are_seen_as_grey_ones_in_colour():
    pixels = torch.randint(0, 256, (2, 1, 64, 64), dtype=torch.uint8)
    trunk = build_trunk(f"unet@{RESNET}", InputSpec((64, 64), 1)).eval()
    with torch.inference_mode():
        grey, colour = (trunk(SMALL.normalise(images)) for images in (pixels, pixels.expand(-1, 3, -1, -1)))
    assert all(torch.equal(one, other) for one, other in zip(grey, colour, strict=True))


def test_a_file_of_the_classifier_is_loaded_whole_and_another_is_refused_in_one_line(tmp_path):
    for name in (RESNET, EFFICIENTNET):
        torch.save(timm.create_model(name, num_classes=7).state_dict(), tmp_path / f"{name}.pth")
    file = str(tmp_path / f"{RESNET}.pth")
    whole = timm.create_model(RESNET, num_classes=7).eval()
    load_weights(whole, file)
    trunk = build_trunk(f"centre@{RESNET}", SMALL, file)
    images = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        own = trunk.net.eval()(images)
        for hook in list(trunk.net._forward_pre_hooks.values()):
            (images,) = hook(trunk.net, (images,))
        wanted = whole.forward_intermediates(images, indices=[2, 3, 4], intermediates_only=True)
    assert all(torch.allclose(one, other, atol=1e-5) for one, other in zip(own, wanted, strict=True))
    with pytest.raises(DataError, match="do not fit") as error:
        build_trunk(f"centre@{EFFICIENTNET}", SMALL, file)
    assert len(str(error.value)) <= 300


@pytest.mark.heavy
@pytest.mark.parametrize(("build", "name"), [(build_detector, "centre"), (build_segmenter, "unet")])
def test_a_whole_earlier_network_is_taken_up_but_for_its_classes(build, name, tmp_path):
    model = f"{name}@{RESNET}"
    before = build(model, 3, SMALL)
    torch.save(before.state_dict(), tmp_path / "before.pth")
    after = build(model, 5, SMALL, weights=str(tmp_path / "before.pth"))
    head = "peaks" if name == "centre" else "head.bias"
    own, known = after.state_dict(), before.state_dict()
    kept = [key for key in own if not key.startswith(head if name == "centre" else ("head.weight", head))]
    assert all(torch.equal(own[key], known[key]) for key in kept)
    assert after.trunk.pretrained
    again = build(model, 3, SMALL, weights=str(tmp_path / "before.pth")).eval()
    images = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        first, second = (
            net.see(images).logits_BAC if name == "centre" else net(images) for net in (before.eval(), again)
        )
    assert torch.equal(first, second)


def _statistics(net: nn.Module) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in net.state_dict().items() if "running_" in key}


@pytest.mark.parametrize("pretrained", [True, False])
def test_statistics_of_pretrained_weights_stay(pretrained, tmp_path):
    torch.save(timm.create_model(RESNET).state_dict(), tmp_path / "w.pth")
    net = build_segmenter(f"unet@{RESNET}", 2, SMALL, weights=str(tmp_path / "w.pth") if pretrained else None).train()
    before = _statistics(net)
    net(torch.rand(2, 3, 64, 64))
    moved = {key for key, value in _statistics(net).items() if not torch.equal(value, before[key])}
    assert any(not key.startswith("trunk") for key in moved), "the head has statistics of its own"
    assert any(key.startswith("trunk") for key in moved) is not pretrained


@pytest.mark.heavy
@pytest.mark.parametrize("named", [(), (("trunk", 1e-6),)])
def test_a_pretrained_trunk_learns_only_where_a_phase_names_it(named, tmp_path):
    source = painted.Painted(4)
    torch.save(timm.create_model(RESNET).state_dict(), tmp_path / "w.pth")
    phase = Phase(epochs=1, batch_size=2, lr=1e-2, schedule="constant", weight_decay=0, rates=named)
    learner = TorchLearner(painted.task(), f"unet@{RESNET}", phases=[phase], weights=str(tmp_path / "w.pth"))
    before = learner.fresh(0).state_dict()
    learner.fit(painted.learner_data(source, source.ids), 0)
    after = learner.networks.nets[0].state_dict()
    moved = {key for key, value in after.items() if not torch.equal(value, before[key])}
    assert any(key.startswith("up1") for key in moved)
    assert any(key.startswith("trunk") for key in moved) is bool(named)
    assert not any(key.startswith("trunk") and "running_" in key for key in moved)


def test_what_nobody_names_stands_on_a_trunk_that_knows_something_where_there_is_one(monkeypatch):
    task = painted.task()
    assert replace(task, input=InputSpec((64, 48))).default_name == "unet@lite0"
    assert replace(task, input=InputSpec((15, 48))).default_name == "unet", "smaller than its stride"
    own = TorchLearner(replace(task, input=InputSpec((64, 48))))
    assert (own.config["model"], own.config["pretrained"]) == ("unet@lite0", "lite0")
    assert trunk_to_be_had(task.default_name) == ""
    seen = what_weights_saw(FeaturesConfig(), LearnerConfig(kind="torch"), data="x", classes="ab", default="unet@lite0")
    assert seen.pretraining == "unet@lite0: labels of ImageNet-1k"
    monkeypatch.setattr("labelwise.models.by_name._has_lite0", lambda: False)
    assert task.default_name == "unet"
    own = TorchLearner(task)
    assert own.config == {**TorchLearner(task, "unet").config, "model": None}, "its key is that of before"
    assert "labelwise[backbone]" in trunk_to_be_had(task.default_name)
    assert trunk_to_be_had("centre") == ""
    assert type(own.fresh(0)) is UNet
    assert own.fresh(0).trunk is None


# ---- in the learner -------------------------------------------------------------------------------------------------


def _detecting(**options) -> TorchLearner:
    return TorchLearner(shapes.task(), f"centre@{RESNET}", **{"phases": [Phase(epochs=1, batch_size=4)], **options})


@pytest.mark.heavy
def test_what_was_trained_comes_back_as_it_was(tmp_path):
    source = shapes.Shapes(12, test=4)
    data = shapes.learner_data(source, source.ids[:8])
    learner, tests = _detecting(), shapes.view(source, source.ids[8:])
    learner.fit(data, 0)
    learner.save(tmp_path)
    other = _detecting()
    other.load(tmp_path, learner.weights)
    images = torch.rand(2, 3, shapes.HEIGHT, shapes.WIDTH)
    with torch.inference_mode():
        one, two = (net.networks.nets[0].see(images).logits_BAC for net in (learner, other))
    assert torch.equal(one, two)
    assert other.evaluate(tests) == learner.evaluate(tests)


@pytest.mark.heavy
@pytest.mark.parametrize("how", ["frozen", "slow"])
def test_a_trunk_is_frozen_or_slowed_by_its_prefix(how):
    source = painted.Painted(4)
    options = {"frozen": ("trunk",)} if how == "frozen" else {"rates": (("trunk", 1e-6),)}
    phase = Phase(epochs=1, batch_size=2, lr=1e-2, schedule="constant", weight_decay=0, **options)
    learner = TorchLearner(painted.task(), f"unet@{RESNET}", phases=[phase])
    before = learner.fresh(0).state_dict()
    learner.fit(painted.learner_data(source, source.ids), 0)
    net = learner.networks.nets[0]
    moves = {name: float((parameter.detach() - before[name]).abs().max()) for name, parameter in net.named_parameters()}
    most = max(move for name, move in moves.items() if name.startswith("trunk"))
    assert most == 0 if how == "frozen" else 0 < most < 1e-5
    assert all(move > 1e-4 for name, move in moves.items() if name == "head.weight")


def test_weights_of_lite0_are_part_of_the_name_of_a_training():
    assert weights_in_use("centre@lite0", None) == "lite0"
    assert weights_in_use("centre@lite0", "default") == "default"
    assert weights_in_use(f"centre@{RESNET}", None) is None
    assert TorchLearner(shapes.task(), "centre@lite0").config["pretrained"] == "lite0"
    assert _detecting().config["pretrained"] is None


# ---- what it is called, what it saw, what is refused ----------------------------------------------------------------


def test_the_report_says_what_the_weights_of_a_trunk_saw():
    def said(model: str, weights: str | None = None) -> str:
        learner = LearnerConfig(kind="torch", model=model, weights=weights)
        return what_weights_saw(FeaturesConfig(), learner, data="photos", classes=["cell"]).pretraining

    assert said("centre@lite0") == "centre@lite0: labels of ImageNet-1k"
    assert said("unet@timm:resnet18.a1_in1k", "default").endswith("labels of ImageNet-1k")
    assert said(f"unet@{RESNET}") == "none"
    assert said("unet") == "none"
    assert provenance("centre@lite0", None).labels == ("ImageNet-1k",)
    assert leak("centre@lite0", None, data="imagenet/train") is not None


def _project(task: str, model: str) -> ProjectConfig:
    learner = {"kind": "torch", "model": model}
    return parse(ProjectConfig, {"images": "photos", "task": task, "learner": learner}, where="here")


def test_names_are_checked_before_anything_is_read():
    for task, model in (("detection", "centre@lite0"), ("segmentation", "unet@timm:resnet18")):
        check_names(_project(task, model))
    for task, model, said in (
        ("detection", "centre@resnet8", "unknown trunk 'resnet8': did you mean 'resnet18'"),
        ("detection", "centre@torchvision:resnet18", "unknown trunk"),
        ("detection", "unet@lite0", "write centre@lite0"),
        ("segmentation", "drn_d_22@lite0", "write unet@lite0"),
        ("classification", "lenet@lite0", "leave out what follows the @"),
    ):
        with pytest.raises(ConfigError) as error:
            check_names(_project(task, model))
        assert said in str(error.value)
        assert len(str(error.value)) <= 300
    assert on_trunk("my.nets:build@home") == ("my.nets:build@home", None)


@pytest.mark.parametrize(
    ("model", "size", "said"),
    [
        ("centre@vit_tiny_patch16_224", (64, 64), "has strides 16: name a trunk that has them, such as"),
        ("unet@convnext_atto", (64, 64), "has strides 4, 8, 16, 32"),
        ("centre@test_resnet", (24, 64), "set size to at least 32"),
        ("unet@test_resnet", (15, 64), "set size to at least 16"),
    ],
)
def test_trunks_without_the_maps_and_images_without_room_are_refused_in_one_line(model, size, said):
    with pytest.raises(ConfigError) as error:
        build_trunk(model, InputSpec(size))
    assert said in str(error.value)
    assert len(str(error.value)) <= 300


def test_trunks_whose_maps_have_another_shape_than_they_say_are_refused():
    class Last(nn.Module):
        def forward(self, images):
            return [images.permute(0, 2, 3, 1)]

    from labelwise.models.trunks import _check_maps

    with pytest.raises(ConfigError, match="gives"):
        _check_maps(Trunk(Last(), [3]), (1,), InputSpec((16, 8)), "centre@last")
