"""Pseudo labels: what a model says and its loss under labels made of that, in one pass, for three kinds of label."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import painted
import shapes
import tiny
from labelwise.contracts.input import InputSpec
from labelwise.contracts.losses import image_losses
from labelwise.contracts.task import Batch
from labelwise.models.torchvision_detectors import build_detector


def _case(name: str):
    torch.manual_seed(0)
    if name == "classification":
        return tiny.digits_task(), tiny.TinyNet(), torch.rand(4, 1, 16, 16)
    made = shapes if name == "detection" else painted
    task = made.task(threshold=0.0, confident=0.0, top=8) if name == "detection" else made.task()
    return task, made.narrow(), torch.rand(4, 3, *task.input.size)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", ["classification", "detection", "segmentation"])
def test_the_loss_under_labels_that_the_model_gives_itself_costs_one_pass(name, training):
    task, net, images = _case(name)
    for module in net.modules():
        if isinstance(module, nn.Dropout | nn.Dropout2d):
            module.p = 0.0
    net.train(training)
    modes = [module.training for module in net.modules()]
    batch, ran = Batch(images), []
    first = next(module for module in net.modules() if isinstance(module, nn.Conv2d))
    hook = first.register_forward_hook(lambda *seen: ran.append(len(seen[2])))
    outputs, losses = task.judged(net, batch, lambda said: [p.target for p in task.predictions(said)])
    hook.remove()
    assert ran == [4], "the network ran once"
    assert [module.training for module in net.modules()] == modes
    plain = task.outputs(net, batch, frozenset()).detached()
    torch.testing.assert_close(outputs.probs_UC, plain.probs_UC)
    targets = task.collate([prediction.target for prediction in task.predictions(plain)])
    wanted = image_losses(task.loss(net, Batch(images, targets)))
    torch.testing.assert_close(image_losses(losses), wanted)
    image_losses(losses).sum().backward()
    gradient = first.weight.grad.clone()
    net.zero_grad()
    image_losses(task.loss(net, Batch(images, targets))).sum().backward()
    torch.testing.assert_close(gradient, first.weight.grad)
    assert float(first.weight.grad.abs().sum()) > 0


def test_other_labels_give_another_loss():
    task, net, images = _case("classification")
    net.eval()
    low = task.judged(net, Batch(images), lambda said: said.probs_UC.argmin(1).tolist())[1]
    high = task.judged(net, Batch(images), lambda said: said.probs_UC.argmax(1).tolist())[1]
    assert (image_losses(low) > image_losses(high)).all()


def test_how_confident_a_box_must_be_is_said_for_once():
    task, net, images = _case("detection")
    outputs = task.outputs(net.eval(), Batch(images), frozenset()).detached()
    middle = float(outputs.extra["scores"].median())
    counts = [sum(len(p.target) for p in task.predictions(outputs, at)) for at in (None, 0.0, middle, 1.0)]
    assert counts[0] == counts[1] > counts[2] > counts[3] == 0
    assert all((p.target.scores_G >= middle).all() for p in task.predictions(outputs, middle))


@pytest.mark.parametrize(
    "name", ["centre", "fcos_resnet18", "retinanet_resnet18", "faster_rcnn_resnet18", "ssdlite320"]
)
def test_detectors_name_their_prediction_layers(name):
    detector = build_detector(name, 3, InputSpec((64, 64)))
    names = [each for each, _ in detector.named_parameters()]
    assert detector.predicts
    for prefix in detector.predicts:
        assert any(each.startswith(prefix) for each in names), prefix
    chosen = sum(p.numel() for each, p in detector.named_parameters() if each.startswith(detector.predicts))
    assert chosen < 0.6 * sum(p.numel() for p in detector.parameters())
