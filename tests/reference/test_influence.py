"""Influence against what it means: one gradient for each image, dense matrices, the recursion as it is published."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import painted
import shapes
import tiny
from labelwise.contracts.input import InputSpec
from labelwise.contracts.losses import image_losses
from labelwise.contracts.signal import ProbeContext
from labelwise.contracts.targets import Boxes, Mask
from labelwise.contracts.task import Batch
from labelwise.errors import ConfigError, DataError, UnmetNeed
from labelwise.models.torchvision_detectors import build_detector
from labelwise.selection.conjugate import conjugate_gradients
from labelwise.selection.pursuit import pursued
from labelwise.signals import Embedding
from labelwise.signals.curvature import Curvature, hessian_product
from labelwise.signals.probes import LossSlope
from labelwise.signals.sketch import Sketch
from labelwise.signals.slopes import Believed, Slopes, chosen, load_forward_mode
from labelwise.strategies import STRATEGIES
from labelwise.strategies.influence import PRESETS, Influence
from labelwise.tasks.detection import Detection
from labelwise.tasks.multi_label import MultiLabel

SIDE = 64


@cache
def _case(name: str):
    """Task, net in eval mode, and a batch of known and one of unknown images."""
    torch.manual_seed(0)
    if name == "classification":
        task, net = tiny.digits_task(), tiny.TinyNet()
        known = Batch(torch.rand(6, 1, 16, 16), torch.arange(6))
        return task, net.eval(), known, Batch(torch.rand(5, 1, 16, 16))
    if name == "segmentation":
        task, net = painted.task(), painted.narrow()
        height, width = task.input.size
        masks = [Mask(torch.randint(3, (height, width)).to(torch.uint8), (width, height)) for _ in range(3)]
        known = Batch(torch.rand(3, 3, height, width), task.collate(masks))
        return task, net.eval(), known, Batch(torch.rand(2, 3, height, width))
    if name == "centre":
        task, net, size = shapes.task(threshold=0.0, top=6), shapes.narrow(), (shapes.HEIGHT, shapes.WIDTH)
    else:
        task, size = Detection(("a", "b", "c"), InputSpec((SIDE, SIDE)), threshold=0.0, top=6), (SIDE, SIDE)
        net = build_detector(name, 3, task.input)
        if name.startswith("faster"):
            net.net.rpn._post_nms_top_n = {"training": 30, "testing": 20}
            net.net.roi_heads.fg_bg_sampler.size = 24
    boxes = [Boxes.of_pixels([[8, 8, 40, 40], [20, 4, 44, 30]], [0, 1], size=size[::-1])] * 2
    known = Batch(torch.randn(2, 3, *size), task.collate(boxes))
    return task, net.eval(), known, Batch(torch.randn(2, 3, *size))


def _context(task, net, known: Batch, **views) -> ProbeContext:
    given = {"labelled": lambda: iter([known]), "reference": lambda: iter(()), "unlabelled": lambda: iter(())} | views
    return ProbeContext(net, task, rng=np.random.default_rng(0), **given)


def _rows(signal: LossSlope, case) -> torch.Tensor:
    task, net, known, pool = case
    with torch.no_grad():
        return signal.compute(signal.prepare(_context(task, net, known)), net, pool, "pool")


def _gradients(task, net, batch: Batch, names) -> torch.Tensor:
    """(B, P) one backward pass for each image, under the targets of the batch."""
    weights, rows = [dict(net.named_parameters())[name] for name in names], []
    for row in range(len(batch)):
        one = Batch(batch.images[row : row + 1], batch.targets[row : row + 1])
        found = torch.autograd.grad(image_losses(task.loss(net, one)).sum(), weights, allow_unused=True)
        parts = [torch.zeros_like(w) if part is None else part for w, part in zip(weights, found, strict=True)]
        rows.append(torch.cat([part.flatten() for part in parts]))
    return torch.stack(rows)


def _guessed(task, net, pool: Batch, confident=0.0) -> Batch:
    with torch.no_grad():
        said = task.outputs(net, pool, frozenset())
    return Batch(pool.images, task.collate([p.target for p in task.predictions(said, confident)]))


DETECTORS = ("centre", "fcos_resnet18", "retinanet_resnet18", "faster_rcnn_resnet18")
SLOW = pytest.mark.heavy


@pytest.fixture(autouse=True, scope="module")
def _forward_mode():
    """Loaded as a probe does it, whichever test comes first."""
    load_forward_mode()


# ---- the slope ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layers", [("all",), ("last",)])
@pytest.mark.parametrize(
    "name",
    ["classification", "segmentation", "centre", *(pytest.param(name, marks=SLOW) for name in DETECTORS[1:])],
)
def test_the_slope_is_the_product_with_the_gradient_of_each_image(name, layers):
    task, net, known, pool = _case(name)
    signal = LossSlope(layers=layers, biases=False, believed=Believed(confident=0.0))
    names = chosen(net, task, layers, biases=False)
    direction_P = _gradients(task, net, known, names).mean(0).double()
    largest = 0.0
    for row in range(len(pool)):  # one by one: of an untrained detector all scores are close, and batches round
        one = Batch(pool.images[row : row + 1])
        found = float(_rows(signal, (task, net, known, one)))
        gradient_P = _gradients(task, net, _guessed(task, net, one), names)[0].double()
        # 1e-5 is of the lengths of what is multiplied, of which terms of both signs are added up
        size = float(gradient_P.norm() * direction_P.norm())
        rounding = 3e-5 if name.startswith("fcos") else 1e-6  # its gradient differs by as much from run to run
        assert found == pytest.approx(float(gradient_P @ direction_P), rel=1e-5, abs=rounding * size)
        largest = max(largest, abs(found) / size)
    assert largest > 1e-2


@pytest.mark.parametrize("name", ["classification", "segmentation"])
def test_differences_come_near(name):
    forward_B, difference_B = (
        _rows(LossSlope(biases=False, method=method), _case(name)) for method in ("forward", "difference")
    )
    torch.testing.assert_close(difference_B, forward_B, rtol=0.02, atol=0.02 * float(forward_B.abs().max()))
    assert not torch.equal(difference_B, forward_B)


def test_the_last_layer_has_its_closed_form():
    _, net, known, pool = case = _case("classification")
    rows_B = _rows(LossSlope(layers=("last",), biases=False), case)
    seen: list[torch.Tensor] = []
    hook = net.head.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    with torch.no_grad():
        probs = [net(images).softmax(1) for images in (known.images, pool.images)]
    hook.remove()
    v_CD = (probs[0] - F.one_hot(known.targets, 10)).T @ seen[0] / len(known)
    error_BC = probs[1] - F.one_hot(probs[1].argmax(1), 10)
    torch.testing.assert_close(rows_B, (error_BC @ v_CD * seen[1]).sum(1), rtol=1e-5, atol=1e-7)


def test_a_linear_head_on_frozen_features_has_it_too():
    source = tiny.digits(40)
    learner = tiny.feature_learner(source)
    data = tiny.learner_data(source, source.ids[:15])
    learner.fit(data, 0)
    signal = LossSlope(curvature=Curvature("fisher", 0.3, 80), biases=False)
    found = learner.collect(tiny.view(source, source.ids[15:], labels=False), frozenset({signal}), data=data)[signal]
    raw = learner.source.collect(tiny.view(source), frozenset({Embedding("frozen")}))[Embedding("frozen")]
    x_ND = (torch.as_tensor(np.array(raw)) - learner._state["mean"]) / learner._state["scale"]
    probs_NC = (x_ND @ learner._state["weight"].T + learner._state["bias"]).softmax(1)
    labels_N = torch.tensor([*(source.classes.index(source.truth[i]) for i in source.ids[:15])])
    labels_N = torch.cat([labels_N, probs_NC[15:].argmax(1)])
    g_NP = ((probs_NC - F.one_hot(labels_N, 10))[:, :, None] * x_ND[:, None]).flatten(1).double()
    dense = g_NP[:15].T @ g_NP[:15] / 15 + 0.3 * torch.eye(g_NP.shape[1], dtype=torch.float64)
    expected = g_NP[15:] @ torch.linalg.solve(dense, g_NP[:15].mean(0))
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-3, atol=1e-5 * float(expected.abs().max()))


def test_over_all_labels_each_as_likely_as_it_is_the_slopes_cancel():
    task, net, known, pool = _case("classification")
    slopes = Slopes(task, net, chosen(net, task, ("all",), biases=True))
    direction = slopes.named(_gradients(task, net, known, slopes.names).mean(0))
    with torch.no_grad():
        probs_BC = net(pool.images).softmax(1)
        each_CB = torch.stack(
            [slopes.along(Batch(pool.images, torch.full((len(pool),), c)), direction) for c in range(10)]
        )
    total_B = (probs_BC.T * each_CB).sum(0)
    assert float(each_CB.abs().max()) > 1e-3
    assert float(total_B.abs().max()) < 1e-5 * float(each_CB.abs().max())
    # that is why a soft label over all classes is refused, and one over fewer is the sum over these
    rows_B = _rows(LossSlope(believed=Believed("soft", top=3)), _case("classification"))
    best_BK = probs_BC.topk(3, dim=1)
    expected_B = (best_BK.values * each_CB.T.gather(1, best_BK.indices)).sum(1)
    torch.testing.assert_close(rows_B, expected_B, rtol=1e-4, atol=1e-6)


# ---- curvature ------------------------------------------------------------------------------------------------------


@cache
def _small():
    """A net of 50 parameters, 40 labelled images and the dense matrices."""
    torch.manual_seed(1)
    task = tiny.digits_task(classes=("a", "b"))
    ends = nn.Linear(7, 2, bias=False), nn.Flatten()
    net = nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), nn.Linear(4, 7), nn.Tanh(), *ends)
    known = Batch(torch.rand(40, 1, 16, 16), torch.randint(2, (40,)))
    names = chosen(net, task, ("all",), biases=True)
    assert sum(p.numel() for p in net.parameters()) == 49
    slopes = Slopes(task, net, names)

    def loss(flat_P):
        return slopes.losses(known, slopes.named(flat_P)).mean()

    hessian_PP = torch.func.hessian(loss)(slopes.flat(slopes.weights))
    g_LP = _gradients(task, net, known, names)
    return task, net, known, slopes, hessian_PP, g_LP


def _solved(curvature: Curvature, known: Batch, right_P):
    task, net, _, slopes, *_ = _small()
    with torch.no_grad():
        return curvature.solved(slopes, _context(task, net, known), right_P)


@pytest.mark.parametrize("damping", [1.0, 0.01])
def test_fisher_is_the_dense_solution(damping):
    _, _, known, _, _, g_LP = _small()
    right_P = torch.randn(g_LP.shape[1], generator=torch.Generator().manual_seed(0))
    found = _solved(Curvature("fisher", damping, steps=60), known, right_P)
    dense = g_LP.T @ g_LP / len(g_LP) + damping * torch.eye(g_LP.shape[1])
    torch.testing.assert_close(found.values_P, torch.linalg.solve(dense, right_P), rtol=1e-3, atol=1e-4)
    true = (dense @ found.values_P - right_P).norm() / right_P.norm()
    assert found.residual < 1e-5
    assert abs(found.residual - float(true)) < 1e-5


def test_a_broken_off_solution_says_how_far_it_came():
    _, _, known, _, _, g_LP = _small()
    right_P = torch.randn(g_LP.shape[1], generator=torch.Generator().manual_seed(0))
    found = _solved(Curvature("fisher", 1e-4, steps=2), known, right_P)
    dense = g_LP.T @ g_LP / len(g_LP) + 1e-4 * torch.eye(g_LP.shape[1])
    true = float((dense @ found.values_P - right_P).norm() / right_P.norm())
    assert found.steps == 2
    assert found.residual == pytest.approx(true, rel=1e-2)
    assert found.residual > 1e-3


def test_the_product_with_the_hessian():
    _, _, known, slopes, hessian_PP, _ = _small()
    direction_P = torch.randn(len(hessian_PP))
    found_P = hessian_product(slopes, known, direction_P) / len(known)
    torch.testing.assert_close(found_P, hessian_PP @ direction_P, rtol=1e-4, atol=1e-6)


@pytest.mark.heavy
def test_lissa_tends_to_its_fixed_point():
    """Of one image over and over, s = scale (H + damping scale I)^-1 v; as published that is v, 92 times."""
    _, _, known, slopes, *_ = _small()
    one = Batch(known.images[:1], known.targets[:1])
    hessian_PP = torch.func.hessian(lambda w: slopes.losses(one, slopes.named(w)).sum())(slopes.flat(slopes.weights))
    right_P = torch.randn(len(hessian_PP), generator=torch.Generator().manual_seed(0))
    found = _solved(Curvature("lissa", 0.5, steps=80, scale=4.0), one, right_P)
    expected_P = 4 * torch.linalg.solve(hessian_PP + 2 * torch.eye(len(right_P)), right_P)
    torch.testing.assert_close(found.values_P, expected_P, rtol=1e-3, atol=1e-3)
    published = _solved(Curvature("lissa", 0.01, 250, 1e4, 4), known, right_P).values_P
    assert float(F.cosine_similarity(published, right_P, dim=0)) > 0.9999
    assert float(published.norm() / right_P.norm()) == pytest.approx(91.9, rel=0.01)


def test_lissa_takes_the_images_in_their_order_and_the_mean_over_repetitions():
    _, _, known, slopes, *_ = _small()
    right_P = torch.ones(49)
    expected = []
    for first in (0, 3):
        h_P = right_P.clone()
        for row in range(first, first + 3):
            one = Batch(known.images[row : row + 1], known.targets[row : row + 1])
            h_P = right_P + 0.9 * h_P - hessian_product(slopes, one, h_P) / 5
        expected.append(h_P)
    found = _solved(Curvature("lissa", 0.1, 3, 5.0, 2), known, right_P).values_P
    torch.testing.assert_close(found, (expected[0] + expected[1]) / 2)
    # more images than there are: from the start again
    few = Batch(known.images[:2], known.targets[:2])
    assert bool(_solved(Curvature("lissa", 0.1, 3, 5.0, 2), few, right_P).values_P.isfinite().all())


@pytest.mark.parametrize("hessian", ["fisher", "lissa"])
def test_a_last_linear_layer_is_solved_on_its_inputs(hessian):
    """The network runs once over the labelled images, not once a step, and nothing else changes."""
    task, net, known, _ = _case("classification")
    slopes = Slopes(task, net, ("head.weight",))
    curvature = Curvature(hessian, 0.5, steps=6, scale=10.0)
    right_P = torch.randn(net.head.weight.numel(), generator=torch.Generator().manual_seed(0))
    ran: list[int] = []
    hook = net.conv.register_forward_hook(lambda *given: ran.append(1))
    with torch.no_grad():
        short_P = curvature.solved(slopes, _context(task, net, known), right_P).values_P
    hook.remove()
    assert len(ran) == 1
    g_LP = _gradients(task, net, known, slopes.names)
    if hessian == "fisher":
        expected_P = torch.linalg.solve(g_LP.T @ g_LP / len(g_LP) + 0.5 * torch.eye(len(right_P)), right_P)
    else:
        expected_P = right_P.clone()
        for row in range(6):
            one = Batch(known.images[row : row + 1], known.targets[row : row + 1])
            expected_P = right_P + 0.5 * expected_P - hessian_product(slopes, one, expected_P) / 10
    torch.testing.assert_close(short_P, expected_P, rtol=1e-3, atol=1e-4)


def test_conjugate_gradients_of_nothing_are_nothing():
    found = conjugate_gradients(lambda d_P: d_P, torch.zeros(3), steps=5)
    assert found.values_P.tolist() == [0, 0, 0]
    assert (found.residual, found.steps) == (0.0, 0)


# ---- greedy ---------------------------------------------------------------------------------------------------------


def test_greedy_against_a_direction_from_which_gradients_are_taken_out():
    rng = np.random.default_rng(0)
    g_MP, direction = rng.normal(size=(30, 6)), rng.normal(size=6)
    picks, scores = pursued(g_MP @ direction, g_MP, 12, rng=rng)
    left, free = direction.copy(), list(range(30))
    for pick, score in zip(picks.tolist(), scores.tolist(), strict=True):
        best = max(free, key=lambda row: g_MP[row] @ left)
        assert pick == best
        assert score == pytest.approx(g_MP[best] @ left, abs=1e-9)
        if score > 0:
            left -= g_MP[best] * (g_MP[best] @ left) / (g_MP[best] @ g_MP[best])
        free.remove(best)


def test_greedy_passes_over_twins_and_takes_nothing_away_below_zero():
    twins = [[3.0, 0.0], [3.0, 0.0], [0.0, 1.0]]
    picks, scores = pursued([3.0, 3.0, 1.0], twins, 3, rng=np.random.default_rng(0))
    assert picks.tolist()[1] == 2
    assert scores.tolist() == [3.0, 1.0, 0.0]
    picks, scores = pursued([-1.0, -2.0, -3.0], [[1.0], [2.0], [3.0]], 3, rng=np.random.default_rng(0))
    assert picks.tolist() == [0, 1, 2]
    assert scores.tolist() == [-1.0, -2.0, -3.0]
    assert sorted(pursued([0.0] * 4, [[0.0]] * 4, 4, rng=np.random.default_rng(1))[0].tolist()) == [0, 1, 2, 3]


@pytest.mark.parametrize("name", ["classification", "centre", pytest.param("faster_rcnn_resnet18", marks=SLOW)])
def test_a_sketch_has_the_inner_products_of_the_gradients(name):
    task, net, _, pool = _case(name)
    layers = ("last",) if name.startswith("faster") else ("all",)
    slopes = Slopes(task, net, chosen(net, task, layers, biases=False))
    rows_BS = Sketch(slopes, 4096).rows(pool, Believed(confident=0.0))
    g_BP = _gradients(task, net, _guessed(task, net, pool), slopes.names)
    true_BB = g_BP @ g_BP.T
    assert float((rows_BS @ rows_BS.T - true_BB).abs().max()) < 0.12 * float(true_BB.abs().max())
    alone_BS = torch.cat([Sketch(slopes, 8).rows(Batch(pool.images[i : i + 1]), Believed()) for i in range(len(pool))])
    torch.testing.assert_close(Sketch(slopes, 8).rows(pool, Believed()), alone_BS, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["classification", "segmentation", "centre"])
@pytest.mark.parametrize("biases", [False, True])
def test_slope_and_sketch_of_one_pass_are_those_of_two(name, biases):
    """With biases, which are not sketched, the slope has a pass of its own."""
    task, net, known, pool = _case(name)
    slopes = Slopes(task, net, chosen(net, task, ("all",), biases=biases))
    direction = slopes.named(_gradients(task, net, known, slopes.names).mean(0))
    believed, sketch = Believed(confident=0.0), Sketch(slopes, 8)
    with torch.no_grad():
        slope_B, empty_B, rows_BS = sketch.along(pool, direction, believed)
        expected_B, none_B = slopes.believed(pool, direction, believed)
        torch.testing.assert_close(rows_BS, sketch.rows(pool, believed))
    scale = float(expected_B.abs().max())
    torch.testing.assert_close(slope_B, expected_B, rtol=1e-4, atol=1e-5 * scale)
    assert scale > 0
    assert torch.equal(empty_B, none_B)


class _Changed(tiny.TinyNet):
    """A network whose first layer does not learn, and whose activations overwrite what they are given."""

    def __init__(self):
        super().__init__()
        self.conv.requires_grad_(False)
        self.after = nn.ReLU(inplace=True)
        self.conv.register_forward_hook(lambda module, given, said: self.after(said))


def test_a_sketch_of_what_is_overwritten_and_of_what_does_not_learn():
    torch.manual_seed(0)
    task, net = tiny.digits_task(), _Changed().eval()
    known, pool = Batch(torch.rand(6, 1, 16, 16), torch.arange(6)), Batch(torch.rand(5, 1, 16, 16))
    slopes = Slopes(task, net, chosen(net, task, ("all",), biases=False))
    rows_BS = Sketch(slopes, 4096).rows(pool, Believed())
    targets = _guessed(task, net, pool)
    net.conv.requires_grad_(True)
    g_BP = _gradients(task, net, targets, slopes.names)
    true_BB = g_BP @ g_BP.T
    assert float((rows_BS @ rows_BS.T - true_BB).abs().max()) < 0.12 * float(true_BB.abs().max())
    net.conv.requires_grad_(False)
    direction = slopes.named(_gradients_of_all(net, task, known, slopes.names).mean(0))
    with torch.no_grad():
        slope_B = Sketch(slopes, 8).along(pool, direction, Believed())[0]
        torch.testing.assert_close(slope_B, slopes.believed(pool, direction, Believed())[0], rtol=1e-4, atol=1e-6)


def _gradients_of_all(net, task, batch, names):
    net.conv.requires_grad_(True)
    rows = _gradients(task, net, batch, names)
    net.conv.requires_grad_(False)
    return rows


class _Tokens(nn.Module):
    """Linear layers over parts of an image, the mean of which is looked at."""

    def __init__(self):
        super().__init__()
        self.part, self.head = nn.Linear(16, 6), nn.Linear(6, 10)

    def forward(self, images):
        return self.head(self.part(images.flatten(0, 1))).mean(1)


class _Overwritten(_Tokens):
    def forward(self, images):
        parts = self.part(images.flatten(0, 1))
        said = self.head(parts)
        parts.zero_()
        return said.mean(1)


def test_a_sketch_of_layers_that_see_parts():
    torch.manual_seed(0)
    task, net, pool = tiny.digits_task(), _Tokens().eval(), Batch(torch.rand(5, 1, 16, 16))
    slopes = Slopes(task, net, chosen(net, task, ("all",), biases=False))
    direction = slopes.named(torch.randn(len(slopes.flat({}))))
    sketch_BS = Sketch(slopes, 4096).rows(pool, Believed())
    g_BP = _gradients(task, net, _guessed(task, net, pool), slopes.names)
    true_BB = g_BP @ g_BP.T
    assert float((sketch_BS @ sketch_BS.T - true_BB).abs().max()) < 0.12 * float(true_BB.abs().max())
    with torch.no_grad():
        slope_B = Sketch(slopes, 8).along(pool, direction, Believed())[0]
    torch.testing.assert_close(slope_B, g_BP @ slopes.flat(direction), rtol=1e-4, atol=1e-5)


def test_a_layer_whose_input_is_overwritten_is_refused():
    net = _Overwritten().eval()
    with pytest.raises(UnmetNeed, match="overwrites what its layer 'head' was given"):
        Sketch(Slopes(tiny.digits_task(), net, ("head.weight",)), 8).rows(Batch(torch.rand(5, 1, 16, 16)), Believed())


def test_a_linear_layer_by_itself_moves_with_its_bias():
    torch.manual_seed(0)
    task, head = tiny.digits_task(), nn.Linear(7, 10)
    known, pool = Batch(torch.randn(6, 7), torch.arange(6)), Batch(torch.randn(5, 7))
    for names in (("weight",), ("weight", "bias"), ("bias",)):
        slopes = Slopes(task, head, names)
        direction_P = _gradients(task, head, known, names).mean(0)
        with torch.no_grad():
            found_B, _ = slopes.believed(pool, slopes.named(direction_P), Believed())
        expected_B = _gradients(task, head, _guessed(task, head, pool), names) @ direction_P
        torch.testing.assert_close(found_B, expected_B, rtol=1e-4, atol=1e-6)


# ---- the strategy ---------------------------------------------------------------------------------------------------


def test_images_on_which_nothing_is_found_stand_where_they_are_told_to():
    case = _case("centre")
    signal = LossSlope(believed=Believed(confident=1.0), sketch=0)
    rows_BW = _rows(signal, case)
    assert rows_BW[:, 0].tolist() == [-torch.inf] * 2
    assert rows_BW[:, 1].tolist() == [1.0] * 2
    assert signal.settle(rows_BW)[:, 0].tolist() == [0.0, 0.0]
    mixed = torch.tensor([1.0, -torch.inf, 3.0])
    for empty, value in (("last", 1.0), ("median", 2.0), ("first", 3.0)):
        found = float(LossSlope(empty=empty).settle(mixed)[1])
        assert (found < value) if empty == "last" else (found > value) if empty == "first" else found == value


def test_only_of_boxes_the_lowest_score_of_a_label_is_told():
    """Of several classes an image may have none: a label as good as another, from the task's own threshold up."""
    task = MultiLabel(("a", "b", "c"), tiny.spec())
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(256, 3, bias=False)).eval()
    with torch.no_grad():
        net[1].weight.sub_(0.005)
    pool = Batch(torch.rand(6, 1, 16, 16))
    known = Batch(torch.rand(4, 1, 16, 16), torch.randint(2, (4, 3)).float())
    rows_BW = _rows(Influence().signal, (task, net, known, pool))
    direction_P = _gradients(task, net, known, ["1.weight"]).mean(0)
    said = _guessed(task, net, pool, None)
    assert bool((said.targets.sum(1) == 0).any()), "an image of no class is among them"
    torch.testing.assert_close(rows_BW[:, 0], _gradients(task, net, said, ["1.weight"]) @ direction_P)
    assert not bool(rows_BW[:, 1].any())


class _Found(MultiLabel):
    """A task of one's own whose predictions are objects, under whatever names its outputs have."""

    finds_objects = True


@pytest.mark.parametrize(("task", "none"), [(MultiLabel, False), (_Found, True)])
def test_a_task_says_whether_its_predictions_are_objects(task, none):
    """Only then does the lowest score count, here one that nothing reaches, and only then is none of them no label."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(256, 3)).eval()
    mine = task(("a", "b", "c"), tiny.spec())
    slopes, pool = Slopes(mine, net, ("1.weight",)), Batch(torch.rand(4, 1, 16, 16))
    with torch.no_grad():
        targets = Believed(confident=1.0).targets(mine, mine.outputs(net, pool, frozenset()))
        _, empty_B = slopes.believed(pool, slopes.weights, Believed(confident=1.0))
    assert any(targets) is not none
    assert empty_B.tolist() == [none] * 4


def test_the_published_constants():
    classes = Influence(preset="faithful_classification").signal
    assert (classes.along, classes.layers, classes.biases) == ("test", ("all",), False)
    assert classes.curvature == Curvature("lissa", 0.01, 250, 1e4, 4)
    fcos = Influence(preset="faithful_fcos").signal
    assert fcos.believed.confident == 0.316
    task, net, *_ = _case("fcos_resnet18")
    sizes = {n: p.numel() for n, p in net.named_parameters() if n in chosen(net, task, fcos.layers, biases=False)}
    scales = [float(part.flatten()[0]) for part in _named_scales(fcos, task, net).values()]
    assert scales == [100.0, 8000.0, 5000.0]
    assert list(sizes.values()) == [3 * 256 * 9, 4 * 256 * 9, 256 * 9]
    faster = Influence(preset="faithful_faster_rcnn", along="labelled").signal
    assert faster.along == "labelled"
    task, net, *_ = _case("faster_rcnn_resnet18")
    scales = [float(part.flatten()[0]) for part in _named_scales(faster, task, net).values()]
    assert scales == [1000.0, 1000.0, 5000.0, 1000.0]


def _named_scales(signal, task, net):
    slopes = Slopes(task, net, chosen(net, task, signal.layers, biases=False))
    return slopes.named(signal.curvature._scales(slopes))


def test_every_preset_says_what_the_others_say():
    assert {frozenset(values) for values in PRESETS.values()} == {frozenset(PRESETS["default"])}


def test_strata_take_the_best_of_each_block():
    from labelwise.strategies.influence import _stratified

    assert _stratified(torch.arange(10), 5, 2).tolist() == [0, 1, 2, 5, 6]
    assert _stratified(torch.arange(7), 7, 3).tolist() == list(range(7))
    assert _stratified(torch.arange(7), 2, 5).tolist() == [0, 2]


# ---- bad input ------------------------------------------------------------------------------------------------------


class _OneWay(torch.autograd.Function):
    """An operation that somebody gave a backward pass and no forward derivative."""

    @staticmethod
    def forward(ctx, given):
        return given * 2

    @staticmethod
    def backward(ctx, above):
        return above * 2


class _OneWayNet(tiny.TinyNet):
    def forward(self, images):
        return _OneWay.apply(super().forward(images))


@pytest.mark.parametrize(
    ("options", "name", "error", "words"),
    [
        ({"label": "soft", "top": 10}, "classification", ConfigError, "over all classes"),
        ({"label": "soft"}, "segmentation", UnmetNeed, "takes no soft labels"),
        ({"layers": "heda"}, "classification", ConfigError, "head"),
        ({"layers": ["conv", "nothing"]}, "classification", ConfigError, "nothing"),
    ],
)
def test_what_does_not_fit_is_refused_before_training(options, name, error, words):
    task, net, *_ = _case(name)
    with pytest.raises(error, match=words) as caught:
        Influence(**options).signal.check(net, task)
    assert len(str(caught.value)) < 300


def test_a_loss_without_a_forward_derivative_is_told_with_the_way_out():
    task, _, known, pool = _case("classification")
    net = _OneWayNet().eval()
    with pytest.raises(UnmetNeed, match="method=difference") as caught:
        Influence().signal.check(net, task)
    assert "Function" in str(caught.value)
    way_out = Influence(method="difference").signal
    way_out.check(net, task)
    assert bool(_rows(way_out, (task, net, known, pool)).isfinite().all())


def test_differences_on_the_kink_of_a_box_loss_are_refused():
    """A box that the net itself predicts lies where the loss of boxes has no derivative to one side."""
    task, net, *_ = _case("centre")
    with pytest.raises(UnmetNeed, match="method=forward"):
        Influence(method="difference").signal.check(net, task)


class _Lost(torch.autograd.Function):
    """An operation that loses the derivative and says nothing, as torchvision's roi_align does."""

    @staticmethod
    def forward(given):
        return given * 2

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    @staticmethod
    def backward(ctx, above):
        return above * 2

    @staticmethod
    def jvp(ctx, along):
        return torch.zeros_like(along)


class _LostNet(tiny.TinyNet):
    def forward(self, images):
        return _Lost.apply(super().forward(images))


def test_a_derivative_that_gets_lost_on_the_way_is_noticed():
    task, _, known, pool = _case("classification")
    net = _LostNet().eval()
    with pytest.raises(UnmetNeed, match="method=difference"):
        _rows(Influence().signal, (task, net, known, pool))
    assert bool(_rows(Influence(method="difference").signal, (task, net, known, pool)).isfinite().all())


def test_half_precision_and_a_diverged_model():
    task, _, known, pool = _case("classification")
    with pytest.raises(ConfigError, match="float32"):
        Influence().signal.check(tiny.TinyNet().half(), task)
    broken = tiny.TinyNet().eval()
    with torch.no_grad():
        broken.head.weight.fill_(torch.nan)
    with pytest.raises(DataError, match="did the training diverge"):
        _rows(Influence().signal, (task, broken, known, pool))


@pytest.mark.parametrize(
    "options",
    [
        {"damping": -1.0},
        {"iterations": 0},
        {"top": 0},
        {"confident": 1.5},
        {"strata": 0},
        {"sketch": 0},
        {"batch": "greedy", "strata": 2},
        {"layers": []},
        {"hessian": "lissa", "scale": 0.0},
    ],
)
def test_numbers_out_of_their_range(options):
    with pytest.raises(ConfigError, match="refuses"):
        STRATEGIES.create("influence", **options)
