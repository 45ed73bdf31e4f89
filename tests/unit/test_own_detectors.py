"""Detectors of people's own: torchvision's by their type, others by the page that says how."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models import detection
from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator

from labelwise.contracts.input import InputSpec
from labelwise.errors import ConfigError
from labelwise.models.detectors import Detector
from labelwise.tasks.detection import Detection
from labelwise.testing.tasks import check_task

PAGE = Path(__file__).parents[2] / "docs/extending/detectors.md"
CLASSES = ("disc", "square")
TASK = Detection(CLASSES, InputSpec((64, 64)))


class Maps(nn.Module):
    """A backbone of so many levels; one may be a plain tensor."""

    out_channels = 32

    def __init__(self, levels: int, plain: bool = False) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 32, 3, 8, 1)
        self.rest = nn.ModuleList(nn.Conv2d(32, 32, 3, 2, 1) for _ in range(levels - 1))
        self.plain = plain

    def forward(self, images):
        maps = [self.first(images)]
        for layer in self.rest:
            maps.append(layer(maps[-1].relu()))
        return maps[0] if self.plain else {str(number): found for number, found in enumerate(maps)}


def _net(kind: str, levels: int, plain: bool = False, classes: int = 2) -> nn.Module:
    body = Maps(levels, plain)
    many = tuple((16 * 2**n,) for n in range(levels))
    anchors = AnchorGenerator(many, ((1.0,),) * levels)
    if kind == "retinanet":
        return detection.RetinaNet(body, classes, anchor_generator=anchors)
    if kind == "fcos":
        return detection.FCOS(body, classes, anchor_generator=anchors)
    if kind == "ssd":
        body.out_channels = [32] * levels
        boxes = DefaultBoxGenerator([[2]] * levels, min_ratio=0.2, max_ratio=0.9)
        return detection.ssd.SSD(body, boxes, (64, 64), classes + 1)
    from torchvision.ops import MultiScaleRoIAlign

    pool = MultiScaleRoIAlign([str(n) for n in range(levels)], 7, 2)
    return detection.FasterRCNN(body, classes + 1, rpn_anchor_generator=anchors, box_roi_pool=pool)


def _samples():
    rng = np.random.default_rng(0)
    images, labels = [], []
    for number in range(6):
        images.append(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8))
        box = [4 + number, 6, 30 + number, 28]
        things = [{"class": CLASSES[number % 2], "box": box}] if number else []
        labels.append({"size": [64, 64], "objects": things})
    return images, labels


@pytest.mark.heavy
@pytest.mark.parametrize(("levels", "plain"), [(1, True), (1, False), (2, False), (4, False)])
@pytest.mark.parametrize("kind", ["fcos", "retinanet", "ssd", "faster_rcnn"])
def test_torchvision_networks_are_known_by_their_type(kind, levels, plain):
    torch.manual_seed(0)
    if kind == "ssd" and levels == 1:
        pytest.skip("torchvision's default boxes need two maps")
    net = TASK.adapted(_net(kind, levels, plain))
    assert isinstance(net, Detector)
    images, labels = _samples()
    batch = TASK.batch(torch.stack([TASK.input.prepare(image) for image in images]),
                       [TASK.load(label) for label in labels], train=False)  # fmt: skip
    losses = TASK.loss(net.train(), batch)
    total = sum(sums.sum() for sums, _ in losses.values())
    total.backward()
    assert torch.isfinite(total)
    assert any(part.grad is not None and part.grad.abs().sum() > 0 for part in net.net.backbone.parameters())
    found = TASK.outputs(net.eval(), batch, frozenset({"unit_embedding", "embedding"}))
    assert found.extra["embedding"].shape == (6, 32)
    assert len(found.extra["unit_embedding"]) == len(found.probs_UC)


@pytest.mark.parametrize("kind", ["fcos", "retinanet", "ssd", "faster_rcnn"])
def test_another_number_of_classes_is_said(kind):
    with pytest.raises(ConfigError, match="was made for 5 classes, and the data have 2"):
        TASK.adapted(_net(kind, 2, classes=5))


def test_its_own_mean_and_scale_are_applied():
    net, seen = _net("retinanet", 2), []
    net.backbone.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    TASK.adapted(net).eval()(TASK.batch(torch.full((1, 3, 64, 64), 255, dtype=torch.uint8), None, train=False).images)
    white = (1 - torch.tensor(net.transform.image_mean)) / torch.tensor(net.transform.image_std)
    assert torch.allclose(seen[0][0, :, 0, 0], white, atol=1e-5)


def test_what_is_no_detector_is_refused_in_words():
    with pytest.raises(ConfigError, match=r"Linear is no detector: give a network of torchvision\.models\.detection"):
        TASK.adapted(nn.Linear(1, 1))


@pytest.mark.heavy
def test_the_detector_on_the_page_keeps_its_contract():
    code = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL).group(1)
    assert len(code.splitlines()) < 40
    space: dict = {}
    exec(compile(code, str(PAGE), "exec"), space)
    torch.manual_seed(0)
    images, labels = _samples()
    check_task(TASK, images, labels, model=space["Grid"](2, TASK.input))
