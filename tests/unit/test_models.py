"""Networks by name, weights from files, and the reading of inner layers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import tiny
from labelwise.contracts.input import InputSpec
from labelwise.errors import ConfigError, DataError, LabelwiseError, UnmetNeed
from labelwise.models import Taps, build, last_linear, load_weights, model_names
from labelwise.models.by_name import check_output
from labelwise.models.taps import pooled, submodule, widths
from labelwise.models.weights import read_state

SPEC = InputSpec((32, 32), 3)


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("name", "spec"),
    [
        ("lenet", InputSpec((16, 16), 1)),
        ("lenet", InputSpec((30, 28), 3)),
        ("lenet_small", InputSpec((16, 16), 1)),
        ("lenet_small", InputSpec((30, 28), 3)),
        ("resnet10", InputSpec((32, 32), 1)),
        ("resnet18_cifar", InputSpec((16, 16), 1)),
        ("torchvision:squeezenet1_0", InputSpec((40, 40), 3)),
        ("mobilenet_v3_small", SPEC),
        ("timm:resnet10t", SPEC),
        ("tiny:named_net", InputSpec((16, 16), 1)),
    ],
)
def test_built_by_name(name, spec):
    net = build(name, 7, spec)
    check_output(net, 7, spec)
    assert net(torch.zeros(2, spec.channels, *spec.size)).shape == (2, 7)


@pytest.mark.parametrize(
    ("name", "spec", "count"),
    [
        ("lenet_small", InputSpec((28, 28), 1), 21_840),
        ("resnet10", SPEC, 4_910_922),
        ("lenet", InputSpec((28, 28), 1), 107_786),
    ],
)
def test_published_shapes(name, spec, count):
    net = build(name, 10, spec)
    assert sum(parameter.numel() for parameter in net.parameters()) == count
    if name == "resnet10":
        assert list(widths(net, ["layer3", "layer4"], torch.zeros(2, 3, 32, 32)).values()) == [256, 512]
    if name == "lenet_small":
        found = widths(net, ["block1", "block2", "hidden"], torch.zeros(2, 1, 28, 28))
        assert list(found.values()) == [10, 20, 50]


def test_names():
    names = model_names()
    assert {"lenet", "resnet18_cifar", "resnet50", "vit_small_patch16_224"} <= set(names)
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet19", "did you mean"),
        ("torchvision:resnet19", "unknown torchvision classifier"),
        ("timm:resnet19", "unknown"),
        ("tiny:nothing", "cannot import"),
        ("nowhere.at.all:net", "cannot import"),
    ],
)
def test_unknown_names_are_one_line_with_the_nearest(name, message):
    with pytest.raises(ConfigError, match=message) as caught:
        build(name, 3, SPEC)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 2000, "not the whole zoo"


@pytest.mark.parametrize(
    ("name", "side", "message"),
    [
        ("torchvision:squeezenet1_0", 4, "Set another image size"),
        ("timm:mixer_s32_224", 64, "takes images of 224 x 224 pixels only"),
    ],
)
def test_input_that_a_net_refuses_is_one_line(name, side, message):
    spec = InputSpec((side, side), 3)
    with pytest.raises(ConfigError, match=message) as caught:
        check_output(build(name, 3, spec), 3, spec)
    assert "\n" not in str(caught.value)


def test_a_transformer_of_one_size_is_made_for_the_size_of_the_images(tmp_path):
    spec = InputSpec((48, 32), 3)
    torch.save(build("timm:test_vit", 3, InputSpec((160, 160), 3)).state_dict(), tmp_path / "w.pth")
    for weights in (None, str(tmp_path / "w.pth")):
        check_output(build("timm:test_vit", 3, spec, weights=weights), 3, spec)


# ---- weights --------------------------------------------------------------------------------------------------------


def _net() -> nn.Module:
    return build("lenet", 5, InputSpec((16, 16), 1))


@pytest.mark.parametrize("wrap", [None, "state_dict", "model", "net"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_weights_from_a_file(wrap, prefix, tmp_path):
    net, other = _net(), _net()
    state = {prefix + key: value for key, value in net.state_dict().items()}
    torch.save({wrap: state} if wrap else state, tmp_path / "weights.pth")
    load_weights(other, str(tmp_path / "weights.pth"))
    assert all(torch.equal(value, net.state_dict()[key]) for key, value in other.state_dict().items())


def test_a_head_of_another_width_stays_random(tmp_path):
    from safetensors.torch import save_file

    wide = build("lenet", 9, InputSpec((16, 16), 1))
    save_file(wide.state_dict(), tmp_path / "weights.safetensors")
    net = build("lenet", 5, InputSpec((16, 16), 1), weights=str(tmp_path / "weights.safetensors"))
    assert torch.equal(net.features[0].weight, wide.features[0].weight)
    assert net.head.weight.shape == (5, 84)


def test_the_same_net_saved_under_other_names(tmp_path):
    net, other = _net(), _net()
    torch.save({f"x{number}": value for number, value in enumerate(net.state_dict().values())}, tmp_path / "w.pt")
    load_weights(other, str(tmp_path / "w.pt"))
    assert torch.equal(other.head.bias, net.head.bias)


class Evil:
    def __reduce__(self):
        return (print, ("code ran",))


def test_files_that_are_no_weights_are_one_line_and_run_no_code(tmp_path, capsys):
    torch.save({"x": Evil()}, tmp_path / "evil.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    torch.save({"weight": "text"}, tmp_path / "text.pth")
    (tmp_path / "noise.pth").write_bytes(b"noise" * 50)
    (tmp_path / "noise.safetensors").write_bytes(b"noise" * 50)
    for name in ("evil.pth", "list.pth", "text.pth", "noise.pth", "noise.safetensors", "missing.pth"):
        with pytest.raises(DataError) as caught:
            read_state(tmp_path / name)
        assert "\n" not in str(caught.value)
    assert "code ran" not in capsys.readouterr().out


def test_weights_of_another_net_are_refused(tmp_path):
    torch.save(build("resnet18_cifar", 5, SPEC).state_dict(), tmp_path / "weights.pth")
    net = _net()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    with pytest.raises(DataError, match="do not fit LeNet") as caught:
        load_weights(net, str(tmp_path / "weights.pth"))
    assert "\n" not in str(caught.value)
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


@pytest.mark.parametrize("name", ["lenet", "resnet18_cifar"])
def test_reference_nets_have_no_downloads(name):
    with pytest.raises(LabelwiseError, match="default") as caught:
        build(name, 5, InputSpec((16, 16), 1), weights="default")
    assert "\n" not in str(caught.value)


# ---- inner layers ---------------------------------------------------------------------------------------------------


def test_taps_give_what_hooks_by_hand_give_and_are_gone_afterwards():
    net = tiny.TinyNet().eval()
    images = torch.rand(3, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    with Taps(net, ["conv", "head:input", "hidden"]).capture() as seen:
        net(images)
        first = dict(seen)
        net(images + 1)
        assert not torch.equal(first["conv"], seen["conv"]), "each pass fills anew"
    assert torch.equal(first["conv"], net.conv(images))
    assert torch.equal(first["head:input"], torch.relu(first["hidden"]))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


def test_taps_are_gone_after_an_error():
    net = tiny.TinyNet()
    with pytest.raises(RuntimeError), Taps(net, ["conv"]).capture():
        net(torch.zeros(1, 7, 16, 16))
    assert not net.conv._forward_hooks


def test_pooled():
    maps = torch.arange(24.0).reshape(2, 3, 2, 2)
    assert torch.equal(pooled(maps), maps.mean((2, 3)))
    assert torch.equal(pooled(maps.flatten(2).transpose(1, 2)), maps.mean((2, 3)))
    assert torch.equal(pooled((maps, None)), maps.mean((2, 3)))
    assert pooled(torch.zeros(2, 5)).shape == (2, 5)


def test_widths_leave_the_mode_as_it_was():
    net = tiny.TinyNet().train()
    statistics = net.norm.running_mean.clone()
    assert widths(net, ["conv", "hidden", "head:input"], torch.rand(2, 1, 16, 16)) == {
        "conv": 6,
        "hidden": 12,
        "head:input": 12,
    }
    assert net.training
    assert torch.equal(net.norm.running_mean, statistics)


def test_paths():
    net = tiny.TinyNet()
    assert submodule(net, "hidden") is net.hidden
    assert last_linear(net) == "head"
    with pytest.raises(ConfigError, match="did you mean 'hidden'"):
        submodule(net, "hiddne")
    with pytest.raises(UnmetNeed, match="embedding='layer4'"):
        last_linear(nn.Conv2d(1, 1, 1))


def test_the_small_net_of_a_task_depends_on_the_size():
    small = tiny.Classification(("a", "b"), InputSpec((32, 32), 3)).default_model()
    large = tiny.Classification(("a", "b"), InputSpec((33, 33), 3)).default_model()
    assert type(small).__name__ == "LeNet"
    assert type(large).__name__ == "ResNet"
    for net, side in ((small, 32), (large, 33)):
        assert net.eval()(torch.zeros(1, 3, side, side)).shape == (1, 2)
