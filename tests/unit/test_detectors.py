"""Detectors: losses of each image against torchvision's own, boxes, second opinions, weights, isolation."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch import nn
from torchvision.models import resnet18
from torchvision.models.detection.image_list import ImageList

from labelwise.contracts.input import InputSpec
from labelwise.contracts.losses import batch_loss, image_losses
from labelwise.contracts.targets import Boxes
from labelwise.errors import ConfigError, DataError
from labelwise.models.centre import CentreNet, peaks
from labelwise.models.detectors import Keep, places_in_view
from labelwise.models.torchvision_detectors import DETECTORS, build_detector
from labelwise.models.two_stage import Sampler

#: one of each family on small images, both depths where that is quick; the others are the same code on deeper trunks
NAMES = ("fcos_resnet18", "retinanet_resnet18", "faster_rcnn_resnet18", "ssdlite320", "ssd300_vgg16")
CLASSES = 3
#: 300 pixels through VGG-16 are as much work as all others together
VGG = pytest.param("ssd300_vgg16", marks=pytest.mark.heavy)


def _side(name: str) -> int:
    return 300 if name == "ssd300_vgg16" else 96


@cache
def _detector(name: str):
    torch.manual_seed(0)
    detector = build_detector(name, CLASSES, InputSpec((_side(name), _side(name))))
    if name.startswith("faster"):  # thousands of proposals of an untrained net only cost time
        detector.net.rpn._post_nms_top_n = {"training": 60, "testing": 40}
        detector.net.roi_heads.fg_bg_sampler.size = 48
    return detector.eval()


def _targets(*, empty: bool = False) -> list[Boxes]:
    first = Boxes.of_pixels([[8, 8, 45, 45], [38, 38, 90, 83], [4, 4, 19, 19]], [0, 1, 2], size=(96, 96))
    return [first, Boxes.none((96, 96)) if empty else Boxes.of_pixels([[22, 15, 45, 60]], [1], size=(96, 96))]


def _images(name: str) -> torch.Tensor:
    count = 1 if name == "ssd300_vgg16" else 2
    return torch.randn(count, 3, _side(name), _side(name), generator=torch.Generator().manual_seed(1))


class _AsTheyAre(nn.Module):
    """torchvision's transform without its resizing and normalising."""

    def forward(self, images, targets):
        stacked = torch.stack(list(images))
        return ImageList(stacked, [tuple(stacked.shape[-2:])] * len(stacked)), targets

    def postprocess(self, result, *rest):
        return result


def _theirs(detector, images, targets) -> torch.Tensor:
    """torchvision's own total."""
    side = images.shape[-1]
    told = [{"boxes": t.corners_G4 * side, "labels": t.class_G + detector.exclusive} for t in targets]
    net, transform = detector.net, detector.net.transform
    try:
        net.transform = _AsTheyAre()
        return sum(net(list(images), told).values())
    finally:
        net.transform = transform


@pytest.mark.heavy
@pytest.mark.parametrize("name", [*NAMES[:4], VGG])
def test_a_step_of_training_has_the_loss_of_torchvision_to_the_image(name):
    """In training mode but for batch norm, whose statistics two calls would move twice; the gradient arrives."""
    detector, images = _detector(name), _images(name)
    try:
        detector.train()
        for module in detector.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        for targets in (_targets(empty=True), _targets()) if len(images) == 2 else (_targets()[:1],):
            torch.manual_seed(5)
            losses = detector(images, targets)
            loss = batch_loss(losses)
            torch.manual_seed(5)
            with torch.no_grad():
                theirs = _theirs(detector, images, targets)
            torch.testing.assert_close(loss.detach(), theirs, rtol=1e-4, atol=1e-5)
            assert all(sums.shape == norms.shape == (len(images),) for sums, norms in losses.values())
        loss.backward()
        missing = [key for key, p in detector.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
        assert missing == []
        assert sum(float(p.grad.abs().sum()) for p in detector.parameters()) > 0
    finally:
        detector.zero_grad()
        detector.eval()


@pytest.mark.heavy
@pytest.mark.parametrize("name", NAMES[:4])
def test_an_image_does_not_depend_on_its_neighbours(name):
    detector, images, targets = _detector(name), _images(name), _targets()
    keep = Keep(threshold=0.0, top=20)
    with torch.inference_mode():
        both, losses = detector(images, None, keep), image_losses(detector(images, targets))
        for image in (0, 1):
            alone = detector(images[image : image + 1], None, keep)
            here = both.item_U == image
            assert len(alone.item_U) == here.sum() == 20
            for part in ("boxes_U4", "scores_U", "probs_UC", "features_UD"):
                torch.testing.assert_close(getattr(alone, part), getattr(both, part)[here], rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(alone.images_BD[0], both.images_BD[image], rtol=1e-4, atol=1e-5)
            own = image_losses(detector(images[image : image + 1], targets[image : image + 1]))
            torch.testing.assert_close(own[0], losses[image], rtol=1e-4, atol=1e-5)


@pytest.mark.heavy
@pytest.mark.parametrize("name", [*NAMES[:4], VGG])
def test_boxes_have_distributions_and_a_second_opinion_agrees(name):
    detector, images = _detector(name), _images(name)[:1]
    with torch.inference_mode():
        found = detector(images, None, Keep(threshold=0.0, top=10))
        probs_UC, boxes_U4 = detector(images, None, None, found)
        still, moved = detector(images, None, None, found, torch.eye(2, 3))
    assert found.probs_UC.shape == (10, CLASSES + detector.exclusive)
    if detector.exclusive:
        torch.testing.assert_close(found.probs_UC.sum(1), torch.ones(10))
    torch.testing.assert_close(found.probs_UC[:, :CLASSES].argmax(1), found.labels_U)
    torch.testing.assert_close(probs_UC, found.probs_UC, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(boxes_U4, found.boxes_U4, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(still, found.probs_UC, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(moved, found.boxes_U4, rtol=1e-4, atol=1e-5)
    assert torch.isfinite(found.features_UD).all()


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["fcos_resnet18", "retinanet_resnet18", VGG])
def test_scores_and_boxes_are_those_of_torchvision(name):
    """Where a place is likeliest of one class by far, our one box a place is also theirs."""
    detector, images = _detector(name), _images(name)
    net = detector.net
    net.score_thresh, net.nms_thresh, net.detections_per_img = 0.0, 0.5, 1
    transform, net.transform = net.transform, _AsTheyAre()
    try:
        with torch.inference_mode():
            theirs, ours = net(list(images)), detector(images, None, Keep(threshold=0.0, top=1))
    finally:
        net.transform = transform
    for image, best in enumerate(theirs):
        torch.testing.assert_close(best["scores"][0], ours.scores_U[image], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(best["boxes"][0] / _side(name), ours.boxes_U4[image], rtol=1e-3, atol=1e-4)


@pytest.mark.heavy
@pytest.mark.parametrize("name", NAMES[:4])
def test_ignored_boxes_cost_nothing(name):
    """An image that is one ignored box has no background to learn; objects elsewhere are learnt as before."""
    detector, images = _detector(name), _images(name)[:1]
    everything = Boxes.of_pixels([[0, 0, 96, 96]], [0], size=(96, 96), ignore=[True])
    with torch.inference_mode():
        nothing = image_losses(detector(images, [everything]))
        full = image_losses(detector(images, [Boxes.none((96, 96))]))
    assert float(nothing) < 0.05 * max(float(full), 1e-3) or float(full) == 0  # SSD learns nothing without objects


# ---- the small one --------------------------------------------------------------------------------------------------


def test_peaks_are_one_at_the_cell_of_the_centre_and_fall_off():
    cells = torch.tensor([[8.0 * x, 8.0 * y, 8.0 * x + 8, 8.0 * y + 8] for y in range(6) for x in range(8)])
    boxes = torch.tensor([[8.0, 8, 40, 40], [40.0, 0, 48, 8]])
    peak_AG = peaks(boxes, cells)
    assert (peak_AG == 1).sum(0).tolist() == [1, 1]
    assert peak_AG[:, 0].reshape(6, 8).argmax().item() in (2 * 8 + 2, 2 * 8 + 3, 3 * 8 + 2, 3 * 8 + 3)
    assert peak_AG[5, 1] == 1
    assert ((peak_AG >= 0) & (peak_AG <= 1)).all()
    far = peak_AG[:, 0].reshape(6, 8)
    assert far[0, 7] < far[3, 4] < 1


@pytest.mark.parametrize("size", [(48, 64), (50, 63), (33, 100)])
def test_the_small_detector_takes_any_size(size):
    net = CentreNet(2, channels=1, width=4).eval()
    target = Boxes.of_pixels([[0, 0, 1, 1]], [1], size=(1, 1))
    found = net(torch.zeros(1, 1, *size), None, Keep(threshold=0.0, top=5))
    assert len(found.item_U) == 5
    assert torch.isfinite(batch_loss(net(torch.zeros(1, 1, *size), [target])))


def test_two_objects_of_different_classes_in_one_place_are_both_learnt():
    net = CentreNet(2, width=4).eval()
    twice = Boxes.of_pixels([[8, 8, 40, 40], [8, 8, 40, 40]], [0, 1], size=(48, 48))
    losses = net(torch.zeros(1, 3, 48, 48), [twice])
    assert losses["centre"][1].tolist() == [2]
    assert all(torch.isfinite(sums).all() for sums, _ in losses.values())


# ---- places in views ------------------------------------------------------------------------------------------------


def test_places_move_to_the_cell_that_shows_them():
    levels = [(2, 3, 2), (1, 2, 1)]
    places = torch.arange(14)
    mirrored = places_in_view(places, levels, torch.tensor([[-1.0, 0, 0], [0, 1, 0]]))
    # rows of three cells with two places each, then one row of two cells
    assert mirrored.tolist() == [4, 5, 2, 3, 0, 1, 10, 11, 8, 9, 6, 7, 13, 12]
    assert places_in_view(places, levels, torch.eye(2, 3)).tolist() == places.tolist()
    shifted = places_in_view(places, levels, torch.tensor([[1.0, 0, 5.0], [0, 1, 0]]))
    assert shifted.tolist() == [0, 1, 0, 1, 0, 1, 6, 7, 6, 7, 6, 7, 12, 12], "out of view: the nearest at the border"


# ---- sampling, names, weights ---------------------------------------------------------------------------------------


def test_samples_are_balanced_and_fixed_outside_training():
    labels = [torch.tensor([1, 1, 1, 0, 0, 0, 0, -1]), torch.zeros(5)]
    sampler = Sampler(4, 0.5)
    positive, negative = sampler(labels)
    assert [int(p.sum()) for p in positive] == [2, 0]
    assert [int(n.sum()) for n in negative] == [2, 4]
    assert negative[0][-1] == positive[0][-1] == 0
    sampler.training = False
    torch.manual_seed(0)
    first, second = sampler(labels), sampler(labels[1:])
    assert torch.equal(first[1][1], second[1][0]), "whatever came before"


def test_names_inputs_and_files_are_checked(tmp_path):
    with pytest.raises(ConfigError, match="did you mean 'fcos_resnet18'"):
        build_detector("fcos_resnet1", 2, InputSpec((64, 64)))
    with pytest.raises(ConfigError, match="unknown detector 'timm:fcos_resnet18'"):
        build_detector("timm:fcos_resnet18", 2, InputSpec((64, 64)))
    with pytest.raises(ConfigError, match="takes 3 channels"):
        build_detector("ssdlite320", 2, InputSpec((64, 64), channels=1))
    with pytest.raises(ConfigError, match="at least 268 x 268"):
        build_detector("torchvision:ssd300_vgg16", 2, InputSpec((128, 128)))
    with pytest.raises(DataError, match="no weights at"):
        build_detector("centre", 2, InputSpec((64, 64)), weights=str(tmp_path / "none.pth"))
    assert set(NAMES) < set(DETECTORS)


@pytest.mark.heavy
def test_weights_of_a_whole_detector_fit_other_classes(tmp_path):
    whole = _detector("retinanet_resnet18")
    file = tmp_path / "whole.pth"
    torch.save(whole.net.state_dict(), file)
    spec = InputSpec((96, 96), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    other = build_detector("retinanet_resnet18", 7, spec, weights=str(file)).eval()
    assert torch.equal(other.net.backbone.body.conv1.weight, whole.net.backbone.body.conv1.weight)
    assert torch.equal(other.net.head.regression_head.bbox_reg.weight, whole.net.head.regression_head.bbox_reg.weight)
    assert other.net.head.classification_head.cls_logits.weight.shape[0] == 9 * 7
    with pytest.raises(DataError, match="do not fit"):
        build_detector("fcos_resnet18", 3, spec, weights=str(file))


@pytest.mark.heavy
def test_weights_of_a_backbone_are_used_and_its_input_is_put_right(tmp_path):
    torch.manual_seed(3)
    classifier = resnet18(weights=None).eval()
    file = tmp_path / "resnet18.pth"
    torch.save(classifier.state_dict(), file)
    spec = InputSpec((96, 96))
    detector = build_detector("fcos_resnet18", 2, spec, weights=str(file)).eval()
    assert torch.equal(detector.net.backbone.body.layer3[0].conv1.weight, classifier.layer3[0].conv1.weight)
    seen = []
    detector.net.backbone.body.conv1.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    pixels = torch.randint(0, 256, (1, 3, 96, 96), dtype=torch.uint8)
    published = InputSpec((96, 96), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    with torch.inference_mode():
        detector(spec.normalise(pixels), None, Keep())
    torch.testing.assert_close(seen[0], published.normalise(pixels), atol=1e-5, rtol=1e-5)
