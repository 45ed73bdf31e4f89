"""Every term of multiple-instance training against loops over four places, with gradients; what rests, and when."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from labelwise.contracts.input import InputSpec
from labelwise.contracts.losses import batch_loss
from labelwise.contracts.targets import Boxes
from labelwise.contracts.task import Batch
from labelwise.learners.multiple_instance import Instances
from labelwise.models.detectors import Dense
from labelwise.models.multiple_instance import Bags, MultipleInstance, Opinions
from labelwise.models.torchvision_detectors import build_detector
from labelwise.signals.disagreement import GapMap, HeadGap
from labelwise.tasks.detection import Detection

#: two levels of two places
LEVELS = ((1, 2, 1), (2, 1, 1))


def toy(columns: int, *, exclusive: bool, seed: int = 0, spread: float = 2.0) -> Opinions:
    """Two images of four places; leaves that gradients reach."""
    rng = torch.Generator().manual_seed(seed)
    first, second, bags = (torch.randn(2, 4, columns, generator=rng, dtype=torch.float64) * spread for _ in range(3))
    for logits in (first, second, bags):
        logits.requires_grad_()
    nothing = torch.zeros(2, 4, 4)
    dense = Dense(first, nothing, None, nothing[0], LEVELS, (8, 8), nothing, nothing[:, 0])
    return Opinions(dense, second, bags, exclusive)


def sigmoid(value: Tensor) -> Tensor:
    return 1 / (1 + torch.exp(-value))


def softmax(values: list[Tensor]) -> list[Tensor]:
    total = sum(torch.exp(value) for value in values)
    return [torch.exp(value) / total for value in values]


def probs(said: Opinions, which: str, image: int, place: int, *, background: bool) -> list[Tensor]:
    logits = (said.dense.logits_BAC if which == "first" else said.second_BAC)[image, place]
    if not said.exclusive:
        return [sigmoid(value) for value in logits]
    every = softmax(list(logits))
    return every if background else every[:-1]


def weights(said: Opinions, image: int, *, background: bool = False, sigmoids: bool = False) -> list[list[Tensor]]:
    """w[place][class] by the definition: share of the class at the place, times the share of the place in its level."""
    columns = said.bags_BAC.shape[2] - (said.exclusive and not background)
    found: list[list[Tensor]] = []
    for start in (0, 2):
        confident = []
        for place in (start, start + 1):
            logits = (said.dense.logits_BAC[image, place], said.second_BAC[image, place])
            mean = [(a + b) / 2 for a, b in zip(*logits, strict=True)]
            if said.exclusive and not background:
                confident.append(max(softmax(mean)[:-1]))
            else:
                confident.append(max(sigmoid(value) for value in mean))
        share = [value.detach() for value in softmax(confident)]
        for which, place in enumerate((start, start + 1)):
            said_C = list(said.bags_BAC[image, place][:columns])
            classes = [sigmoid(value) for value in said_C] if sigmoids else softmax(said_C)
            found.append([value * share[which] for value in classes])
    return found


def held(said: Opinions, image: int, **how: Any) -> list[Tensor]:
    w = weights(said, image, **how)
    sums = [[w[start][c] + w[start + 1][c] for c in range(len(w[0]))] for start in (0, 2)]
    return [torch.clamp(torch.maximum(a, b), 1e-5, 1 - 1e-5) for a, b in zip(*sums, strict=True)]


def cross_entropy(held_C: list[Tensor], there: list[bool]) -> Tensor:
    terms = [-torch.log(y if yes else 1 - y) for y, yes in zip(held_C, there, strict=True)]
    return sum(terms, torch.zeros(())) / len(terms)


def gaps(said: Opinions, *, background: bool = False, complement: bool = False, **how: Any) -> Tensor:
    """Sum over images of sum over places of mean over classes of w |p1 - p2|, or of w (1 - |p1 - p2|)."""
    total = torch.zeros((), dtype=torch.float64)
    for image in range(2):
        w = weights(said, image, background=background, **how)
        for place in range(4):
            one, other = (probs(said, head, image, place, background=background) for head in ("first", "second"))
            terms = []
            for c, (a, b) in enumerate(zip(one, other, strict=True)):
                apart = torch.abs(a - b)
                terms.append(w[place][c].detach() * (1 - apart if complement else apart))
            total = total + sum(terms) / len(terms)
    return total


def leaves(said: Opinions) -> list[Tensor]:
    return [said.dense.logits_BAC, said.second_BAC, said.bags_BAC]


def same_gradients(ours: Tensor, twin: Tensor, said: Opinions) -> None:
    torch.testing.assert_close(ours, twin.to(ours), rtol=1e-5, atol=1e-7)
    pairs = [torch.autograd.grad(value, leaves(said), allow_unused=True, retain_graph=True) for value in (ours, twin)]
    for mine, his in zip(*pairs, strict=True):
        nothing = torch.zeros(())
        torch.testing.assert_close(
            nothing if mine is None else mine.double() + nothing,
            nothing if his is None else his.double() + nothing,
            rtol=1e-4,
            atol=1e-6,
        )


def without(said: Opinions, loss: Instances) -> dict[str, tuple[Tensor, Tensor]]:
    return dict(loss._without(said))


CASES = [
    pytest.param(toy(3, exclusive=False), False, False, id="three-sigmoids"),
    pytest.param(toy(4, exclusive=True), False, False, id="softmax-without-background"),
    pytest.param(toy(4, exclusive=True, seed=3), True, False, id="softmax-with-background"),
    pytest.param(toy(2, exclusive=False, seed=5, spread=40), False, False, id="saturated"),
    pytest.param(toy(3, exclusive=False, seed=7), False, True, id="sigmoid-bags"),
]


@pytest.mark.parametrize(("said", "background", "sigmoids"), CASES)
def test_what_places_weigh_and_what_the_image_holds(said: Opinions, background: bool, sigmoids: bool) -> None:
    bags = Bags("sigmoid" if sigmoids else "softmax", background=background)
    for image in range(2):
        w = torch.stack([torch.stack(row) for row in weights(said, image, background=background, sigmoids=sigmoids)])
        torch.testing.assert_close(bags.weights(said)[image].double(), w, rtol=1e-5, atol=1e-8)
        y = torch.stack(held(said, image, background=background, sigmoids=sigmoids))
        torch.testing.assert_close(bags.held(said)[image].double(), y, rtol=1e-5, atol=1e-8)
    if not sigmoids:  # over classes and the places of a level the weights are shares
        assert bags.weights(said)[:, :2].sum((1, 2)).tolist() == pytest.approx([1, 1])
        assert bags.weights(said)[:, 2:].sum((1, 2)).tolist() == pytest.approx([1, 1])


@pytest.mark.parametrize(("said", "background", "sigmoids"), CASES)
@pytest.mark.parametrize("over", ["mean", "sum"])
def test_the_gap_is_lowered_and_raised(said: Opinions, background: bool, sigmoids: bool, over: Any) -> None:
    how = {"background": background, "classes": "sigmoid" if sigmoids else "softmax", "over": over}
    own = {"background": background, "sigmoids": sigmoids}
    scale = 0.7 / (2 if over == "mean" else 1)
    for step, negative, wanted in (
        ("minimise", False, gaps(said, **own)),
        ("maximise", False, gaps(said, complement=True, **own)),
        ("maximise", True, -gaps(said, **own)),
    ):
        loss = Instances(step, image=False, weight=0.7, negative=negative, **how)  # type: ignore[arg-type]
        parts = {name: part for name, part in without(said, loss).items() if not name.startswith("told")}
        assert list(parts) == ["gap"]
        same_gradients(batch_loss(parts), scale * wanted, said)
        bags = torch.autograd.grad(batch_loss(parts), said.bags_BAC, allow_unused=True)[0]
        assert bags is None  # the head of multiple instances is not told of gaps


def test_the_image_loss_of_guessed_classes_leaves_images_out_in_which_none_is_found() -> None:
    said = toy(3, exclusive=False, spread=1.0)
    with torch.no_grad():
        for logits in (said.dense.logits_BAC, said.second_BAC):
            logits[0] -= 9  # nothing is found in the first image
            logits[1, 2, 1] = 3.0
        both = (sigmoid(said.dense.logits_BAC[1]) + sigmoid(said.second_BAC[1])) / 2
    there = [max(float(both[place, c]) for place in range(4)) >= 0.5 for c in range(3)]
    assert any(there)
    each = without(said, Instances("minimise", weight=0.0))
    same_gradients(batch_loss({"image": each["guessed image"]}), cross_entropy(held(said, 1), there), said)
    assert each["told guessed"][0].tolist() == [0, 1]
    batch = without(said, Instances("minimise", weight=0.0, hard="batch"))
    assert batch_loss({"image": batch["guessed image"]}).item() == 0


def test_one_class_learns_where_a_softmax_would_always_say_one() -> None:
    said = toy(1, exclusive=False)
    assert Bags("softmax").held(said).min().item() > 1 - 1e-4
    assert Bags().held(said).max().item() < 1 - 1e-4


def small(name: str, classes: int = 3) -> MultipleInstance:
    torch.manual_seed(0)
    net = build_detector(name, classes, InputSpec((64, 64)))
    assert isinstance(net, MultipleInstance)
    return net


def batch_of(*targets: list[tuple[list[float], int]]) -> Batch:
    rng = torch.Generator().manual_seed(1)
    boxes = tuple(Boxes.of_pixels([b for b, _ in t], [c for _, c in t], size=(64, 64)) for t in targets)
    return Batch(torch.randn(len(targets), 3, 64, 64, generator=rng), boxes)


TARGETS = ([([4.0, 4.0, 40.0, 40.0], 0), ([20.0, 30.0, 60.0, 62.0], 2)], [])


@pytest.mark.parametrize("name", ["centre+mil", "retinanet_resnet18+mil", "ssdlite320+mil"])
def test_the_loss_of_boxes_is_the_mean_of_both_class_heads(name: str) -> None:
    net, batch = small(name).eval(), batch_of(*TARGETS)
    task = Detection(("a", "b", "c"), input=InputSpec((64, 64)))
    seen = net.see(batch.images)
    said = net.opinions(batch.images)
    twice = [
        net.losses(replace(seen, logits_BAC=logits), batch.targets) for logits in (seen.logits_BAC, said.second_BAC)
    ]
    parts = Instances()(net, task, batch, 0.0)
    for key in twice[0]:
        torch.testing.assert_close(parts[key][0], (twice[0][key][0] + twice[1][key][0]) / 2)
    y = Bags().held(said)
    wanted = [-(y[0, 0].log() + (1 - y[0, 1]).log() + y[0, 2].log()) / 3, -(1 - y[1]).log().mean()]
    torch.testing.assert_close(parts["image"][0], torch.stack(wanted))
    # boxes are found as the detector with its first class head finds them
    torch.testing.assert_close(net.see(batch.images).logits_BAC, net.detector.see(batch.images).logits_BAC)


@pytest.mark.parametrize("top", [0.3, 2, 1e6])
@pytest.mark.parametrize("squared", [True, False])
def test_the_score_is_the_mean_of_the_largest_gaps(top: float, squared: bool) -> None:
    net, batch = small("centre+mil").eval(), batch_of([], [], [])
    with torch.no_grad():
        for parameter in net.second.parameters():
            parameter.mul_(3)
        said = net.opinions(batch.images)
    wanted = []
    for image in range(3):
        row = []
        for place in range(said.second_BAC.shape[1]):
            one, other = (probs(said, head, image, place, background=False) for head in ("first", "second"))
            apart = [abs(float(a) - float(b)) for a, b in zip(one, other, strict=True)]
            row.append(sum(a * a if squared else a for a in apart) / len(apart))
        count = min(len(row), math.ceil(top * len(row)) if top < 1 else int(top))
        wanted.append(sum(sorted(row)[::-1][:count]) / count)
    found = HeadGap(top, squared).compute(None, net, batch, "pool")
    assert found.tolist() == pytest.approx(wanted, rel=1e-4)
    alone = [HeadGap(top, squared).compute(None, net, Batch(batch.images[i : i + 1], None), "pool") for i in range(3)]
    assert torch.cat(alone).tolist() == pytest.approx(wanted, rel=1e-4)


def test_heads_that_say_the_same_have_no_gap() -> None:
    net = small("centre+mil").eval()
    net.second.load_state_dict(net.detector.peaks.state_dict())  # type: ignore[union-attr]
    assert HeadGap().compute(None, net, batch_of([], []), "pool").tolist() == [0, 0]


def test_the_map_has_the_largest_gap_of_each_cell() -> None:
    net, batch = small("centre+mil").eval(), batch_of([], [])
    with torch.no_grad():
        for parameter in net.second.parameters():
            parameter.mul_(3)
    said = net.opinions(batch.images)
    ((height, width, _),) = said.dense.levels
    wanted = HeadGap().gaps(net, said).view(2, height, width)
    torch.testing.assert_close(GapMap().compute(None, net, batch, "pool"), wanted)
    # the mean of all places is the mean of the map
    torch.testing.assert_close(HeadGap(1e6).compute(None, net, batch, "pool"), wanted.mean((1, 2)))


def test_levels_of_a_map_are_laid_over_the_finest() -> None:
    said = toy(3, exclusive=False)
    levels = ((2, 2, 1), (1, 1, 2))
    logits = torch.zeros(2, 6, 3)
    second = logits.clone()
    second[0, 1], second[0, 5], second[1, 4] = 4.0, 1.0, 2.0
    opinions = replace(said, dense=replace(said.dense, logits_BAC=logits, levels=levels), second_BAC=second)

    class Said(MultipleInstance):
        def opinions(self, images: Tensor) -> Opinions:
            return opinions

    net = small("centre+mil")
    net.__class__ = Said
    found = GapMap(HeadGap(squared=False)).compute(None, net, batch_of([], []), "pool")
    high, low, middle = (float(torch.sigmoid(torch.tensor(value))) - 0.5 for value in (4.0, 1.0, 2.0))
    wanted = torch.tensor([[[low, high], [low, low]], [[middle, middle], [middle, middle]]])
    torch.testing.assert_close(found, wanted)


def test_boxes_are_matched_once_for_both_class_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    net, batch = small("centre+mil"), batch_of(*TARGETS)
    said = net.opinions(batch.images)
    detector = net.detector
    each = [
        detector.losses(replace(said.dense, logits_BAC=logits), batch.targets)
        for logits in (said.dense.logits_BAC, said.second_BAC)
    ]
    calls: list[int] = []
    measure = detector.box_losses
    monkeypatch.setattr(detector, "box_losses", lambda *given: (calls.append(given[1]), measure(*given))[1])
    found = net.both_losses(said, batch.targets)
    assert calls == [0, 1]
    assert list(found) == list(each[0])
    for name, (sums, norms) in found.items():
        torch.testing.assert_close(sums, (each[0][name][0] + each[1][name][0]) / 2)
        assert torch.equal(norms, each[0][name][1])
