"""Segmentation: reading and writing masks, networks of all makes, outputs of pixels."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import painted
from labelwise.contracts.input import InputSpec
from labelwise.contracts.learner import Phase
from labelwise.contracts.losses import image_losses
from labelwise.contracts.record import IGNORE
from labelwise.contracts.targets import Mask
from labelwise.contracts.task import Batch
from labelwise.errors import ConfigError, DataError
from labelwise.formats.index_png import mask_text
from labelwise.learners.torch import TorchLearner
from labelwise.models.drn import DRND22, DROPOUT_AFTER
from labelwise.models.segmenters import map_path, said_of
from labelwise.models.unet import UNet
from labelwise.signals import Dropout, Embedding, HiddenLoss, Members, Uncertainty, Views
from labelwise.signals.draws import DrawUncertainty
from labelwise.signals.plain import PixelUncertainty
from labelwise.tasks.segmentation import Segmentation

TASK = Segmentation(("road", "sky", "tree"), InputSpec((4, 6)))


def png(array, mode=None) -> str:
    image = Image.fromarray(np.asarray(array, np.uint8))
    out = io.BytesIO()
    (image if mode is None else image.convert(mode)).save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode()


# ---- labels ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("classes", "size", "at"),
    [
        (np.arange(12).reshape(3, 4) % 3, (4, 3), (0, 0)),
        (np.full((3, 4), IGNORE), (4, 3), (0, 0)),
        ([[2]], (4, 3), (3, 2)),
        ([[0, IGNORE]], (4, 3), (0, 1)),
        (np.zeros((0, 0)), (4, 3), (0, 0)),
    ],
)
def test_a_label_survives_the_round_trip(classes, size, at):
    mask = Mask(torch.from_numpy(np.asarray(classes, np.uint8)).reshape(np.asarray(classes).shape), size, at)
    if not mask.classes_HW.numel():
        mask = Mask.unknown(size).cropped()
        assert TASK.kind.cost(TASK.dump(mask))["pixels"] == 0
        return
    raw = TASK.dump(mask)
    again = TASK.load(raw)
    assert again == mask
    assert (again.at, tuple(again.classes_HW.shape)) == (mask.at, tuple(mask.classes_HW.shape))
    assert TASK.dump(again) == raw


def test_regions_of_an_image_become_one_mask():
    left, right = Mask(torch.zeros(2, 1).byte(), (3, 2)), Mask(torch.ones(2, 1).byte(), (3, 2), (2, 0))
    assert TASK.merge([left, right]).whole().tolist() == [[0, IGNORE, 1]] * 2
    assert TASK.merge([left]) is left
    with pytest.raises(DataError, match="cannot be joined"):
        TASK.merge([left, Mask.unknown((4, 4))])


def test_what_a_label_names_and_costs():
    mask = Mask(torch.tensor([[1, 1, IGNORE], [1, 1, 0]]).byte(), (3, 2))
    assert TASK.kind.objects(TASK.dump(mask), TASK.classes) == list(TASK.classes[:2])
    assert TASK.kind.cost(TASK.dump(mask)) == {
        "images": 1.0,
        "pixels": 5.0,
        "clicks": TASK.kind.cost(TASK.dump(mask))["clicks"],
    }
    assert TASK.kind.cost(TASK.dump(mask))["clicks"] >= 6


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ("sky", "is no label of pixels"),
        ({"size": [4, 3]}, "is no label of pixels"),
        ({"size": [4, 3], "objects": []}, "is no label of pixels"),
        ({"size": [4], "png": "x"}, "the size of the image is .* whole pixels"),
        ({"size": [4, 0], "png": "x"}, "whole pixels"),
        ({"size": [4.0, 3], "png": "x"}, "whole pixels"),
        ({"size": [4, 3], "png": "no base64!"}, "no base64"),
        ({"size": [4, 3], "png": base64.b64encode(b"GIF89a").decode()}, "cannot be read as PNG"),
        ({"size": [2, 2], "png": png(np.zeros((2, 2, 3)))}, "mode RGB"),
        ({"size": [4, 3], "png": png(np.zeros((3, 3)))}, "the mask has 3 x 3 pixels and its image 4 x 3"),
        ({"size": [4, 3], "png": png(np.zeros((3, 4))), "at": [1, 0]}, "leaves the image .*: move it"),
        ({"size": [4, 3], "png": png(np.zeros((1, 1))), "at": [-1, 0]}, "place of the mask"),
        (
            {"size": [2, 1], "png": png([[7, 7]])},
            r"value 7 in 2 pixel\(s\), and there are 3 classes: allowed are 0 to 2",
        ),
    ],
)
def test_what_is_no_label_is_refused_in_a_line(raw, message):
    with pytest.raises(DataError, match=message) as caught:
        TASK.load(raw)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("classes", "options"),
    [
        (("a",), {}),
        (("a", "a"), {}),
        (tuple(map(str, range(256))), {}),
        (("a", "b"), {"input": InputSpec((4, 4), crop=0.9)}),
        (("a", "b"), {"dice": -1.0}),
    ],
)
def test_impossible_tasks_are_refused(classes, options):
    with pytest.raises(ConfigError):
        Segmentation(classes, **options)


def test_255_classes_fit():
    task = Segmentation(tuple(map(str, range(255))))
    mask = Mask(torch.tensor([[254, IGNORE]]).byte(), (2, 1))
    assert task.kind.objects(task.dump(mask), task.classes) == [task.classes[254]]


def test_images_of_another_size_are_refused():
    with pytest.raises(DataError, match="images of 5 x 5 pixels where 4 x 6 are needed"):
        TASK.batch(torch.zeros(1, 3, 5, 5), None, train=False)


@pytest.mark.parametrize("augment", ["none", "flip", "flip_scale", "all"])
def test_augmentation_keeps_shapes_and_follows_its_stream(augment):
    task = Segmentation(("a", "b"), InputSpec((8, 12)), augment)
    images = torch.randint(0, 255, (5, 3, 8, 12), dtype=torch.uint8)
    masks = [Mask(torch.randint(0, 2, (20, 30), dtype=torch.uint8), (30, 20)) for _ in range(5)]
    one, two = (task.batch(images, masks, train=True, rng=torch.Generator().manual_seed(3)) for _ in range(2))
    assert one.images.shape == (5, 3, 8, 12)
    assert one.targets.shape == (5, 8, 12)
    assert torch.equal(one.images, two.images)
    assert torch.equal(one.targets, two.targets)
    plain = task.batch(images, masks, train=False)
    assert torch.equal(plain.images, one.images) == (augment == "none")


# ---- networks -------------------------------------------------------------------------------------------------------


@pytest.mark.heavy
@pytest.mark.parametrize("name", Segmentation.model_names())
def test_every_named_network_labels_every_pixel(name):
    task = Segmentation(("a", "b", "c"), InputSpec((33, 47)))
    net = task.named_model(name).eval()
    batch = task.batch(torch.randint(0, 255, (2, 3, 33, 47), dtype=torch.uint8), None, train=False)
    with torch.no_grad():
        outputs = task.outputs(net, batch, frozenset({"embedding", "map_embedding"}))
    assert outputs.probs_UC.shape == (2 * 33 * 47, 3)
    assert outputs.unit_item_U.bincount().tolist() == [33 * 47] * 2
    torch.testing.assert_close(outputs.probs_UC.sum(1), torch.ones(2 * 33 * 47))
    maps = outputs.extra["map_embedding"]
    torch.testing.assert_close(outputs.extra["embedding"], maps.mean((2, 3)))
    assert maps.shape[2] <= 33 // 4


def test_the_small_network_has_dropout_and_takes_grey_images():
    task = Segmentation(("a", "b"), InputSpec((24, 32), channels=1))
    net = task.default_model()
    assert isinstance(net, UNet)
    assert sum(isinstance(module, nn.Dropout2d) for module in net.modules()) == 3
    assert net(torch.zeros(2, 1, 24, 32)).shape == (2, 2, 12, 16)


def test_drn_d_22_as_published():
    net = DRND22(19)
    # the published 16.4 M count the unused ImageNet classifier and the fixed kernel
    own = sum(p.numel() for p in net.parameters())
    assert round((own + 512 * 1000 + 1000 + 19 * 256) / 1e6, 1) == 16.4
    convolutions = {name: m for name, m in net.named_modules() if isinstance(m, nn.Conv2d)}
    strides = [convolutions[f"layer{n}.0" if n in (0, 1, 2, 7, 8) else f"layer{n}.0.conv1"] for n in range(9)]
    assert [m.stride[0] for m in strides] == [1, 1, 2, 2, 2, 1, 1, 1, 1]
    assert [m.dilation[0] for m in strides[1:]] == [1, 1, 1, 1, 2, 4, 2, 1]
    assert [m.out_channels for m in strides[1:]] == [16, 32, 64, 128, 256, 512, 512, 512]
    assert len([name for name in convolutions if ".conv" in name]) == 16, "two blocks of two in each of four stages"
    assert all(p.requires_grad for p in net.parameters()), "the kernel is no parameter"
    assert net(torch.zeros(1, 3, 20, 28)).shape == (1, 19, 20, 28)


def test_the_fixed_kernel_of_drn_enlarges_bilinearly():
    net = DRND22(2)
    maps = torch.rand(1, 2, 3, 4)
    found = torch.nn.functional.conv_transpose2d(maps, net.kernel, stride=8, padding=4, groups=2)
    expected = torch.nn.functional.interpolate(maps, scale_factor=8, mode="bilinear", align_corners=False)
    torch.testing.assert_close(found[..., 4:-4, 4:-4], expected[..., 4:-4, 4:-4])


@pytest.mark.heavy
def test_dropout_of_drn_sits_behind_the_stages_of_residual_blocks():
    net = DRND22(2, dropout=0.5)
    layers = [name for name, module in net.named_modules() if isinstance(module, nn.Dropout)]
    assert layers == [f"{stage}.2" for stage in DROPOUT_AFTER]
    assert {key.split(".")[0] for key in net.state_dict()} == {key.split(".")[0] for key in DRND22(2).state_dict()}
    assert net.state_dict().keys() == DRND22(2).state_dict().keys(), "weights of one load into the other"


@pytest.mark.heavy
def test_weights_of_whole_networks_and_of_backbones_load(tmp_path):
    task = Segmentation(("a", "b"), InputSpec((16, 16)))
    whole = task.named_model("lraspp_mobilenet_v3_large")
    torch.save(whole.state_dict(), tmp_path / "whole.pth")
    again = Segmentation(("a", "b", "c"), InputSpec((16, 16))).named_model(
        "torchvision:lraspp_mobilenet_v3_large", str(tmp_path / "whole.pth")
    )
    assert torch.equal(again.backbone["0"][0].weight, whole.backbone["0"][0].weight)
    from torchvision.models import mobilenet_v3_large

    classifier = mobilenet_v3_large()
    torch.save(classifier.state_dict(), tmp_path / "classifier.pth")
    of_backbone = task.named_model("lraspp_mobilenet_v3_large", str(tmp_path / "classifier.pth"))
    assert torch.equal(of_backbone.backbone["4"].block[0][0].weight, classifier.features[4].block[0][0].weight)
    drn = DRND22(1000)
    state = {key: value for key, value in drn.state_dict().items() if not key.startswith("head.")}
    torch.save({**state, "fc.weight": torch.zeros(1000, 512, 1, 1), "fc.bias": torch.zeros(1000)}, tmp_path / "drn.pth")
    assert torch.equal(
        task.named_model("drn_d_22_dropout", str(tmp_path / "drn.pth")).layer3[0].conv1.weight,
        drn.layer3[0].conv1.weight,
    )


@pytest.mark.parametrize(
    ("name", "weights", "message"),
    [
        ("unett", None, "did you mean 'unet'"),
        ("torchvision:unet", None, "unknown network for segmentation"),
        ("unet", "default", "no download"),
    ],
)
def test_networks_that_cannot_be_had(name, weights, message):
    with pytest.raises(ConfigError, match=message):
        TASK.named_model(name, weights)


class _Mine(nn.Module):
    def __init__(self, classes=3, answer="tensor"):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 5, 3, stride=2, padding=1), nn.ReLU())
        self.last = nn.Conv2d(5, classes, 1)
        self.answer = answer

    def forward(self, images):
        logits = self.last(self.body(images))
        return {"tensor": logits, "mapping": {"out": logits}, "list": [logits], "flat": logits.flatten(1)}[self.answer]


def test_a_network_of_ones_own_needs_no_base_class():
    images = torch.rand(2, 3, 4, 6)
    net = _Mine()
    assert map_path(net) == "last:input"
    expected = nn.functional.interpolate(net(images), size=(4, 6), mode="bilinear", align_corners=False)
    for answer in ("tensor", "mapping"):
        net.answer = answer
        said = said_of(net, images, 3, maps=True)
        torch.testing.assert_close(said.logits_BCHW, expected)
        torch.testing.assert_close(said.maps_BDHW, net.body(images))
    net.map_path = "body.0"
    torch.testing.assert_close(said_of(net, images, 3, maps=True).maps_BDHW, net.body[0](images))


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (_Mine(answer="list"), r"gives list for 2 image"),
        (_Mine(answer="flat"), r"gives \(2, 18\) for 2 image"),
        (_Mine(classes=4), r"gives \(2, 4, 2, 3\) for 2 image\(s\) where logits \(2, 3, h, w\) are needed"),
    ],
)
def test_a_network_that_does_not_fit_is_told_what_is_needed(net, message):
    with pytest.raises(ConfigError, match=message):
        said_of(net, torch.rand(2, 3, 4, 6), 3)


def test_a_map_that_is_none_is_refused():
    net = _Mine()
    net.map_path = "flat"
    net.flat = nn.Flatten()
    net.forward = lambda images: net.flat(images)[:, :0].sum() + net.last(net.body(images))
    with pytest.raises(ConfigError, match=r"'flat' of _Mine gives \(2, 72\) where a map"):
        said_of(net, torch.rand(2, 3, 4, 6), 3, maps=True)
    with pytest.raises(ConfigError, match="no convolution to take embeddings from"):
        map_path(nn.Linear(2, 2))


# ---- outputs --------------------------------------------------------------------------------------------------------


def test_it_learns_and_says_what_it_learnt():
    source, net = painted.trained()
    found = net.evaluate(painted.view(source, source.ids[60:]))
    assert found["miou"] > 0.35
    assert found["pixel_accuracy"] > 0.8
    images = painted.task().input.prepare_batch(source.batch(source.ids[60:64]))
    batch = painted.task().batch(images, None, train=False)
    with torch.no_grad():
        outputs = net.networks.outputs(batch, frozenset())
    for image, prediction in enumerate(painted.task().predictions(outputs)):
        rows = outputs.probs_UC[outputs.unit_item_U == image]
        assert prediction.target.size == (24, 16)
        assert torch.equal(prediction.target.classes_HW.flatten().long(), rows.argmax(1))
        assert prediction.score == pytest.approx(float(rows.max(1).values.mean()), rel=1e-5)


SIGNALS = (
    Uncertainty("entropy"),
    Uncertainty("margin", "top_share"),
    Uncertainty("entropy", "class_balanced"),
    DrawUncertainty("predictive_entropy", Dropout(3)),
    DrawUncertainty("bald", Dropout(2, after=("level2",))),
    DrawUncertainty("predictive_variance", Views(4), "top_share"),
    DrawUncertainty("variation_ratio", Members(2)),
    Embedding(),
    HiddenLoss(),
    PixelUncertainty(),
)


@pytest.fixture(scope="module")
def pair():
    """Two networks, so that members can be drawn."""
    source = painted.Painted(30)
    net = painted.learner(members=2, phases=[Phase(epochs=12, batch_size=8, lr=1e-2)])
    net.fit(painted.learner_data(source, source.ids[:12]), 0)
    return source, net


def _rows(source, net, signals, ids):
    table = net.collect(painted.view(source, ids), frozenset(signals))
    return {signal: np.array(table[signal]) for signal in signals}


@pytest.mark.heavy
@pytest.mark.parametrize("signal", SIGNALS, ids=repr)
def test_a_signal_depends_on_its_image_and_nothing_else(pair, signal):
    source, net = pair
    whole = _rows(source, net, SIGNALS, source.ids)[signal]
    alone = _rows(source, net, [signal], source.ids[::-3])[signal]
    assert np.isfinite(whole).all()
    assert len(np.unique(whole, axis=0)) > 1
    np.testing.assert_allclose(alone, whole[::-3], rtol=2e-5, atol=1e-6)
    net.batch_size, before = 7, net.batch_size
    try:
        np.testing.assert_allclose(_rows(source, net, [signal], source.ids)[signal], whole, rtol=2e-5, atol=1e-6)
    finally:
        net.batch_size = before


@pytest.mark.heavy
def test_signals_of_pixels_are_means_of_their_maps(pair):
    source, net = pair
    found = _rows(source, net, [PixelUncertainty(), Uncertainty("entropy"), Uncertainty("entropy", "max")], source.ids)
    maps = found[PixelUncertainty()]
    assert maps.shape == (30, 16 * 24)
    np.testing.assert_allclose(found[Uncertainty("entropy")], maps.mean(1), rtol=1e-5)
    np.testing.assert_allclose(found[Uncertainty("entropy", "max")], maps.max(1), rtol=1e-6)


def test_the_hidden_loss_is_the_loss_of_each_image_under_its_label(pair):
    source, net = pair
    view = painted.view(source, source.ids[:5])
    found = _rows(source, net, [HiddenLoss()], source.ids[:5])[HiddenLoss()]
    task = painted.task()
    images = torch.stack([task.input.prepare(source.load(item)) for item in source.ids[:5]])
    batch = task.batch(images, view.targets, train=False)
    with torch.no_grad():
        expected = torch.stack([image_losses(task.loss(one, batch)) for one in net.networks.nets]).mean(0)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_mirrored_view_is_laid_back_before_it_is_counted():
    """A network without weights of place says of the mirror image what it says of the image, mirrored."""
    task = Segmentation(("a", "b"), InputSpec((6, 8)), "none")
    net = nn.Conv2d(3, 2, 1)
    images = torch.rand(2, 3, 6, 8)
    first = task.outputs(net, Batch(images), frozenset())
    moved = torch.eye(2, 3) * torch.tensor([[-1.0], [1.0]])
    again = task.redrawn(net, Batch(images.flip(-1), None, moved), first, frozenset())
    torch.testing.assert_close(again.probs_UC, first.probs_UC, rtol=1e-5, atol=1e-5)


def test_pixels_that_a_view_does_not_show_keep_what_was_said_first():
    task = Segmentation(("a", "b"), InputSpec((8, 8)), "none")
    net = nn.Conv2d(3, 2, 1)
    images = torch.rand(1, 3, 8, 8)
    first = task.outputs(net, Batch(images), frozenset())
    moved = torch.tensor([[0.5, 0.0, 0.0], [0.0, 0.5, 0.0]])  # shows the middle alone, at twice the size
    again = task.redrawn(net, Batch(torch.zeros(1, 3, 8, 8), None, moved), first, frozenset())
    same = (again.probs_UC == first.probs_UC).all(1).view(8, 8)
    assert same.sum() == 64 - 16
    assert not same[2:6, 2:6].any()


def test_a_diverged_model_is_named_not_hidden():
    source = painted.Painted(12)
    net = painted.learner()
    net.fit(painted.learner_data(source, source.ids[:4]), 0)
    for parameter in net.networks.nets[0].parameters():
        parameter.data.fill_(float("nan"))
    table = net.collect(painted.view(source, labels=False), frozenset({Uncertainty("entropy")}))
    assert np.isnan(table[Uncertainty("entropy")]).all()
    assert net.evaluate(painted.view(source))["pixel_accuracy"] == 0


def test_a_batch_of_inference_is_a_few_large_images():
    assert TorchLearner(Segmentation(("a", "b"), InputSpec((1024, 2048)))).batch_size == 1
    assert TorchLearner(Segmentation(("a", "b"), InputSpec((120, 160)))).batch_size == 27


def test_mask_text_is_what_labels_hold():
    assert TASK.load({"size": [2, 1], "png": mask_text(np.array([[2, IGNORE]], np.uint8))}).pixels == 1
