"""Weights from files: layouts of self-supervised checkpoints, strict loading, and what weights were trained with."""

from __future__ import annotations

import argparse
import os

import pytest
import torch
from torch import nn

from labelwise.contracts.input import InputSpec
from labelwise.errors import DataError
from labelwise.learners.backbones import Network
from labelwise.models import build, load_weights
from labelwise.models.by_name import build_body
from labelwise.models.provenance import leak, of_tag, provenance, trained_with_labels
from labelwise.models.weights import file_digest, in_layout, read_metadata, read_state, split_layout


class Small(nn.Module):
    def __init__(self, classes: int = 4, width: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3)
        self.norm = nn.BatchNorm2d(width)
        self.fc = nn.Linear(width, classes)


def _state(prefix: str = "", **options) -> dict[str, torch.Tensor]:
    torch.manual_seed(7)
    net = Small(**options)
    return {prefix + name: torch.rand_like(value.float()).to(value.dtype) for name, value in net.state_dict().items()}


def _same_body(net: nn.Module, state: dict[str, torch.Tensor]) -> bool:
    own = net.state_dict()
    names = [name for name in own if not name.startswith("fc.")]
    return all(
        any(torch.equal(own[name], value) for key, value in state.items() if key.endswith(name)) for name in names
    )


FILES = {
    "moco_v2": {
        "epoch": 3,
        "arch": "resnet50",
        "state_dict": _state("module.encoder_q.")
        | {f"module.encoder_k.{name}": value * 0 for name, value in _state().items()}
        | {"module.encoder_q.fc.2.weight": torch.zeros(5, 5), "module.queue": torch.zeros(2, 2)},
        "optimizer": {"state": {}, "param_groups": []},
    },
    "compress": {
        "opt": argparse.Namespace(batch_size=256, data="somewhere", lr=0.01),
        "model": _state("module.", classes=128),
        "epoch": 130,
    },
    "moco_v3": {"state_dict": _state("module.base_encoder.") | {"module.momentum_encoder.conv.weight": torch.zeros(1)}},
    "swav": {name: value for name, value in _state("module.").items() if ".fc." not in name}
    | {"module.projection_head.0.weight": torch.zeros(2), "module.prototypes.weight": torch.zeros(2)},
    "dino": {"student": {}, "teacher": _state("module.backbone.") | {"module.head.mlp.0.weight": torch.zeros(2)}},
    "plain": _state(),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("named", [False, True])
def test_layouts_are_recognised_and_can_be_named(name, named, tmp_path):
    torch.save(FILES[name], tmp_path / "w.pth.tar")
    net = Small()
    head = net.fc.weight.clone()
    load_weights(net, f"{name}:{tmp_path / 'w.pth.tar'}" if named else str(tmp_path / "w.pth.tar"))
    whole = FILES[name]
    state = whole.get("state_dict") or whole.get("model") or whole.get("teacher") or whole
    assert _same_body(net, {key: value for key, value in state.items() if "encoder_k" not in key})
    if name != "plain":
        assert torch.equal(net.fc.weight, head), "the head that the training put on is dropped"


def test_the_wrong_layout_is_refused(tmp_path):
    torch.save(FILES["compress"], tmp_path / "w.pth")
    with pytest.raises(DataError, match=r"no tensor is named as in 'moco_v2' weights .*'module.conv.weight'"):
        load_weights(Small(), f"moco_v2:{tmp_path / 'w.pth'}")
    assert split_layout("C:/weights.pth") == (None, "C:/weights.pth")
    assert split_layout("dino:a:b.pth") == ("dino", "a:b.pth")


def _changed(what: str) -> dict[str, torch.Tensor]:
    state = _state()
    if what == "missing":
        del state["conv.weight"], state["norm.running_mean"]
    if what == "unexpected":
        state["layer9.weight"] = torch.zeros(3)
    if what == "of another shape":
        state["conv.weight"] = torch.zeros(3, 3, 7, 7)
    return state


@pytest.mark.parametrize("what", ["missing", "unexpected", "of another shape"])
def test_a_checkpoint_that_does_not_fit_names_the_tensors_and_loads_nothing(what, tmp_path):
    torch.save(_changed(what), tmp_path / "w.pth")
    net = Small()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(DataError, match=what) as caught:
        load_weights(net, str(tmp_path / "w.pth"))
    named = {
        "missing": "conv.weight, norm.running_mean",
        "unexpected": "layer9.weight",
        "of another shape": "(3, 3, 7, 7)",
    }
    assert named[what] in str(caught.value)
    assert "\n" not in str(caught.value)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_only_the_first_few_are_named(tmp_path):
    torch.save({f"x{number}": torch.zeros(1) for number in range(9)}, tmp_path / "w.pth")
    with pytest.raises(DataError, match="unexpected x0, x1, x2 and 6 more"):
        load_weights(Small(), str(tmp_path / "w.pth"))


@pytest.mark.heavy
def test_a_network_of_another_depth_is_refused_whatever_fits_of_it(tmp_path):
    torch.save(build("resnet18", 10, InputSpec((32, 32))).state_dict(), tmp_path / "w.pth")
    with pytest.raises(DataError, match=r"missing layer1\.2\.conv1\.weight"):
        load_weights(build("resnet34", 10, InputSpec((32, 32))), str(tmp_path / "w.pth"))


def test_half_a_head_is_not_loaded(tmp_path):
    state = _state(classes=9)
    state["fc.bias"] = torch.full((4,), 5.0)
    torch.save(state, tmp_path / "w.pth")
    net = Small()
    load_weights(net, str(tmp_path / "w.pth"))
    assert net.fc.bias.abs().max() < 5


class Evil:
    def __init__(self, mark) -> None:
        self.mark = mark

    def __reduce__(self):
        return (os.mkdir, (str(self.mark),))


@pytest.mark.parametrize("where", ["whole", "tensor", "beside", "namespace"])
def test_a_pickle_with_code_is_never_run(where, tmp_path):
    evil = Evil(tmp_path / "ran")
    content = {
        "whole": evil,
        "tensor": _state() | {"conv.bias": evil},
        "beside": {"state_dict": _state(), "optimizer": evil},
        "namespace": {"model": _state(), "opt": argparse.Namespace(x=evil)},
    }[where]
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(
        DataError, match=r"cannot read weights .* Python objects \((posix|os)\.mkdir\), and nothing in a file"
    ):
        read_state(tmp_path / "w.pth")
    assert not (tmp_path / "ran").exists()


def test_what_is_no_file_of_weights_is_said_in_a_few_words(tmp_path):
    torch.save(_state(), tmp_path / "w.pth")
    whole = (tmp_path / "w.pth").read_bytes()
    (tmp_path / "cut.pth").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.pth").write_text("hello")
    (tmp_path / "text.safetensors").write_text("hello")
    for name in ("cut.pth", "text.pth", "text.safetensors"):
        with pytest.raises(
            DataError, match=r"it is damaged or no .*file.* Give a file written by torch\.save"
        ) as caught:
            read_state(tmp_path / name)
        assert len(str(caught.value)) < 250 + len(str(tmp_path))
    with pytest.raises(DataError, match="did you mean 'moco_v2'"):
        read_state(f"mocov2:{tmp_path / 'w.pth'}")


@pytest.mark.heavy
def test_a_compress_student_and_moco_as_backbones_give_the_pooled_output(tmp_path):
    """torchvision's ResNet-18 with a replaced fc; the feature is what the average pooling gives."""
    torch.manual_seed(1)
    student = build("resnet18", 7, InputSpec((32, 32)))
    body = student.state_dict()
    wide = body | {"fc.weight": torch.rand(2048, 512), "fc.bias": torch.rand(2048)}
    torch.save({"model": {f"module.{name}": value for name, value in wide.items()}}, tmp_path / "student.pth")
    moco = {f"module.encoder_q.{name}": value for name, value in body.items() if not name.startswith("fc.")}
    torch.save({"state_dict": moco | {"module.encoder_q.fc.0.weight": torch.zeros(2)}}, tmp_path / "moco.pth")
    images = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    found = Network("resnet18", str(tmp_path / "student.pth"), size=32)
    student.fc = nn.Identity()
    with torch.inference_mode():
        expected = student.eval()(found.input.normalise(images))
    assert found(images).shape == (3, 512)
    assert torch.allclose(found(images), expected, rtol=1e-4, atol=1e-5)
    other = Network("resnet18", f"moco_v2:{tmp_path / 'moco.pth'}", size=32)
    assert torch.equal(other(images), found(images))
    assert other.weights == found.weights, "the same tensors, whatever file they were in"
    assert str(provenance("resnet18", str(tmp_path / "moco.pth"))) == "images without labels"
    with pytest.raises(DataError, match="do not fit ResNet"):
        Network("resnet50", str(tmp_path / "student.pth"))


@pytest.mark.heavy
def test_cifar_at_its_own_size_or_enlarged(tmp_path):
    torch.save(build("resnet18", 10, InputSpec((32, 32))).state_dict(), tmp_path / "w.pth")
    cifar = {"mean": (0.4914, 0.4822, 0.4465), "std": (0.2470, 0.2435, 0.2616)}
    native = Network("resnet18", str(tmp_path / "w.pth"), size=32, **cifar)
    usual = Network("resnet18", str(tmp_path / "w.pth"), crop=0.875)
    assert native.input == InputSpec((32, 32), 3, cifar["mean"], cifar["std"])
    assert usual.input.size == (224, 224)
    assert usual.input.crop == 0.875
    image = torch.randint(0, 256, (32, 32, 3), dtype=torch.uint8).numpy()
    assert native(native.input.prepare(image)[None]).shape == (1, 512)


@pytest.mark.heavy
def test_timm_networks_without_a_head(tmp_path):
    import timm

    torch.manual_seed(0)
    net = timm.create_model("resnet10t", num_classes=5)
    torch.save(net.state_dict(), tmp_path / "w.pth")
    body = build_body("timm:resnet10t", str(tmp_path / "w.pth"))
    images = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        expected = net.eval().forward_head(net.forward_features(images), pre_logits=True)
        assert torch.equal(body.eval()(images), expected)
    state = net.state_dict()
    state.pop("layer1.0.conv1.weight")
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(DataError, match=r"missing layer1\.0\.conv1\.weight"):
        build_body("timm:resnet10t", str(tmp_path / "w.pth"))


@pytest.mark.heavy
def test_a_transformer_takes_images_of_another_size(tmp_path):
    """Weights are loaded as they were trained, then the position embeddings are resampled."""
    import timm

    torch.manual_seed(0)
    net = timm.create_model("vit_tiny_patch16_224", num_classes=3)
    torch.save(net.state_dict(), tmp_path / "w.pth")
    image = torch.randint(0, 256, (2, 3, 96, 96), dtype=torch.uint8)
    found = Network("vit_tiny_patch16_224", str(tmp_path / "w.pth"), size=96)
    net.set_input_size(img_size=(96, 96))
    with torch.inference_mode():
        expected = net.eval().forward_head(net.forward_features(found.input.normalise(image)), pre_logits=True)
    torch.testing.assert_close(found(image), expected, rtol=1e-4, atol=1e-5)
    assert Network("vit_tiny_patch16_224", str(tmp_path / "w.pth")).input.size == (224, 224)


def test_offline_says_which_file_to_fetch(monkeypatch):
    import timm

    def refuse(*args, **options):
        raise OSError("no network here\nat all")

    monkeypatch.setattr(timm, "create_model", refuse)
    with pytest.raises(DataError, match=r"model.safetensors of timm/vit_small_patch14_dinov2.lvd142m") as caught:
        Network("vit_small_patch14_dinov2.lvd142m")
    assert "\n" not in str(caught.value)
    assert "weights: path/to/" in str(caught.value)


def test_file_digests(tmp_path):
    (tmp_path / "a").write_bytes(b"1")
    first = file_digest(tmp_path / "a")
    (tmp_path / "a").write_bytes(b"2")
    assert first != file_digest(tmp_path / "a")
    assert file_digest(tmp_path / "b") is None
    assert read_metadata(tmp_path / "a") == {}
    assert in_layout({"a": torch.zeros(1)})[0].name == "plain"


# ---- what weights have seen -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "weights", "expected"),
    [
        ("resnet50", "default", "ImageNet-1k"),
        ("torchvision:vit_b_16", "default", "ImageNet-1k"),
        ("timm:resnet50", "default", "ImageNet-1k"),
        ("lite0", "default", "ImageNet-1k"),
        ("tf_efficientnet_lite0", "lite0", "ImageNet-1k"),
        ("convnextv2_tiny.fcmae_ft_in22k_in1k", "default", "ImageNet-22k and ImageNet-1k"),
        ("vit_base_patch16_clip_224.laion2b_ft_in12k_in1k", "default", "ImageNet-12k and ImageNet-1k"),
        ("hiera_tiny_224.mae_in1k_ft_in1k", "default", "ImageNet-1k"),
        ("convnextv2_tiny.fcmae", "default", None),
        ("hiera_tiny_224.mae", "default", None),
        ("vit_small_patch14_dinov2.lvd142m", "default", None),
        ("vit_small_patch16_224.dino", "default", None),
        ("vit_base_patch16_clip_224.openai", "default", None),
        ("resnet50", None, None),
        ("pixels", "default", None),
        ("no such model", "default", None),
    ],
)
def test_trained_with_labels(model, weights, expected):
    assert trained_with_labels(model, weights) == expected


@pytest.mark.parametrize(
    ("tag", "said"),
    [
        ("in22k_ijepa", "images"),
        ("mim_in22k", "images"),
        ("mim_in22k_ft_in22k", "labels"),
        ("dinov3_lvd1689m", "images"),
        ("openai", "captions"),
        ("c_radio", "unknown"),
        ("a1_in1k", "labels"),
    ],
)
def test_tags(tag, said):
    assert of_tag(tag).saw == said


def test_a_leak_is_seen_by_the_name_of_the_data_or_of_their_classes():
    wordnet = [f"n{number:08d}" for number in range(20)]
    assert "ImageNet-1k" in leak("resnet50", "default", classes=wordnet)
    assert "ImageNet-1k" in leak("resnet50", "default", data="/data/ImageNet/train")
    assert leak("resnet50", "default", data="cifar10", classes=("cat", "dog")) is None
    assert leak("vit_small_patch16_224.dino", "default", data="imagenet", classes=wordnet) is None
