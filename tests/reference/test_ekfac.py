"""Kronecker factors with corrected eigenvalues against their definition, and where they are all, the dense matrix."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import shapes
import tiny
from labelwise.contracts.input import InputSpec
from labelwise.contracts.signal import ProbeContext
from labelwise.contracts.targets import Boxes
from labelwise.contracts.task import Batch
from labelwise.errors import UnmetNeed
from labelwise.models.torchvision_detectors import build_detector
from labelwise.signals import ekfac
from labelwise.signals.curvature import Curvature
from labelwise.signals.probes import LossSlope
from labelwise.signals.slopes import Slopes, chosen
from labelwise.strategies.influence import Influence
from labelwise.tasks.detection import Detection

LOADS = pytest.mark.heavy  # the library takes seconds to load


def _solved(task, net, known: Batch, damping: float, right_P: torch.Tensor, layers=("all",)) -> torch.Tensor:
    slopes = Slopes(task, net, chosen(net, task, layers, biases=False))
    given = {"labelled": lambda: iter([known]), "reference": lambda: iter(()), "unlabelled": lambda: iter(())}
    context = ProbeContext(net, task, rng=np.random.default_rng(0), **given)
    with torch.no_grad():
        return Curvature("ekfac", damping).solved(slopes, context, right_P).values_P


@LOADS
def test_of_a_linear_net_that_knows_nothing_it_is_the_dense_solution():
    """Of two classes at one half each gradient is (x, -x) / 2 with a sign: there the factors are the whole matrix."""
    torch.manual_seed(0)
    task = tiny.digits_task(classes=("a", "b"))
    net = nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(16, 2, bias=False)).eval()
    nn.init.zeros_(net[2].weight)
    known = Batch(torch.rand(30, 1, 16, 16), torch.randint(2, (30,)))
    x_LD = net[1](net[0](known.images))
    sign_LC = 0.5 - F.one_hot(known.targets, 2).float()
    g_LP = (sign_LC[:, :, None] * x_LD[:, None]).flatten(1).double()
    right_P = torch.randn(32, generator=torch.Generator().manual_seed(1))
    for damping in (1.0, 0.01):
        dense = g_LP.T @ g_LP / 30 + damping * torch.eye(32, dtype=torch.float64)
        expected = torch.linalg.solve(dense, right_P.double()).float()
        torch.testing.assert_close(_solved(task, net, known, damping, right_P), expected, rtol=1e-3, atol=1e-4)


class _Net(nn.Module):
    """A convolution and a linear layer."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(1, 3, 3, padding=1, stride=4), nn.Linear(48, 4)

    def forward(self, images):
        return self.head(self.conv(images).tanh().flatten(1))


def _by_definition(net, known: Batch, damping: float, right_P: torch.Tensor) -> torch.Tensor:
    """Inputs and gradients of both layers image by image; eigenvectors of their second moments; mean squares."""
    size, parts = len(known), torch.split(right_P.double(), [27, 192])
    rows: dict[str, tuple[list, list]] = {"conv": ([], []), "head": ([], [])}
    for row in range(size):
        image = known.images[row : row + 1]
        patches_SD = F.unfold(image, 3, padding=1, stride=4)[0].T
        middle = net.conv(image)
        hidden = middle.tanh().flatten(1)
        said = net.head(hidden)
        loss = F.cross_entropy(said, known.targets[row : row + 1])
        above, last = torch.autograd.grad(loss, (middle, said))
        rows["conv"][0].append(patches_SD.double())
        rows["conv"][1].append(above[0].flatten(1).T.double())
        rows["head"][0].append(hidden.detach().double())
        rows["head"][1].append(last.double())
    found = []
    for (inputs, gradients), part in zip(rows.values(), parts, strict=True):
        q_D = torch.linalg.eigh(sum(a.T @ a for a in inputs)).eigenvectors
        q_C = torch.linalg.eigh(sum(g.T @ g for g in gradients)).eigenvectors
        turned = [q_C.T @ (g.T @ a) @ q_D for a, g in zip(inputs, gradients, strict=True)]
        squares = sum(t**2 for t in turned) / size
        v = part.view(len(q_C), len(q_D))
        found.append((q_C @ ((q_C.T @ v @ q_D) / (squares + damping)) @ q_D.T).flatten())
    return torch.cat(found).float()


@LOADS
def test_of_a_net_it_is_what_it_is_defined_as():
    torch.manual_seed(0)
    task, net = tiny.digits_task(classes=tuple("abcd")), _Net().eval()
    for parameter in net.parameters():
        parameter.requires_grad_(False)  # as a phase of a training leaves them
    known = Batch(torch.rand(25, 1, 16, 16), torch.randint(4, (25,)))
    right_P = torch.randn(219, generator=torch.Generator().manual_seed(1))
    found = _solved(task, net, known, 0.1, right_P)
    assert not any(parameter.requires_grad for parameter in net.parameters())
    for parameter in net.parameters():
        parameter.requires_grad_(True)
    torch.testing.assert_close(found, _by_definition(net, known, 0.1, right_P), rtol=1e-3, atol=1e-3)
    # the last layer by itself has its closed form, on inputs that are computed once
    ran: list[int] = []
    hook = net.conv.register_forward_hook(lambda *given: ran.append(1))
    last = _solved(task, net, known, 0.1, right_P[27:], ("head",))
    hook.remove()
    assert len(ran) == 1
    torch.testing.assert_close(last, found[27:], rtol=1e-3, atol=1e-3)


@LOADS
def test_boxes_have_it_too():
    torch.manual_seed(0)
    task, net = shapes.task(threshold=0.0, top=6), shapes.narrow().eval()
    size = (shapes.HEIGHT, shapes.WIDTH)
    boxes = [Boxes.of_pixels([[8, 8, 40, 40], [20, 4, 44, 30]], [0, 1], size=size[::-1])] * 2
    known = Batch(torch.randn(2, 3, *size), task.collate(boxes))
    signal = LossSlope(curvature=Curvature("ekfac", 1e-3), biases=False)
    signal.check(net, task)
    given = {"labelled": lambda: iter([known]), "reference": lambda: iter(()), "unlabelled": lambda: iter(())}
    context = ProbeContext(net, task, rng=np.random.default_rng(0), **given)
    plain = LossSlope(biases=False)
    with torch.no_grad():
        turned, along = (s.prepare(context).direction for s in (signal, plain))
    flat = [torch.cat([part.flatten() for part in found.values()]) for found in (turned, along)]
    assert 0 < float(F.cosine_similarity(*flat, dim=0)) < 0.999, "the matrix is positive and no multiple of one"


class _Other(tiny.TinyNet):
    def __init__(self):
        super().__init__()
        self.back = nn.ConvTranspose2d(1, 1, 1)

    def forward(self, images):
        return super().forward(self.back(images))


class _Twice(tiny.TinyNet):
    def forward(self, images):
        return super().forward(images) + super().forward(images.flip(-1))


@pytest.mark.parametrize(
    ("make", "options", "words"),
    [
        (_Other, {}, "'back' is ConvTranspose2d"),
        (_Twice, {}, r"\[2, 2\]"),
        (_Twice, {"biases": True}, "'norm' is BatchNorm2d"),
    ],
)
def test_layers_that_have_no_factors_are_refused_before_training(make, options, words):
    with pytest.raises(UnmetNeed, match=words) as caught:
        Influence(hessian="ekfac", **options).signal.check(make(), tiny.digits_task())
    assert "hessian=fisher" in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["fcos_resnet18", "faster_rcnn_resnet18"])
def test_heads_on_a_pyramid_or_on_proposals_are_refused(name):
    task = Detection(("a", "b", "c"), InputSpec((64, 64)), threshold=0.0, top=6)
    with pytest.raises(UnmetNeed, match="once for each image"):
        Influence(hessian="ekfac", layers="last").signal.check(build_detector(name, 3, task.input), task)


def test_without_the_extra_it_is_refused_before_training(monkeypatch):
    monkeypatch.setattr(ekfac, "find_spec", lambda name: None)
    with pytest.raises(UnmetNeed, match=r"labelwise\[ekfac\]"):
        Influence(hessian="ekfac").signal.check(tiny.TinyNet(), tiny.digits_task())
