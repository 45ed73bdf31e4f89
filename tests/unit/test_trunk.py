"""What comes before the first mask is computed once, and no draw can tell."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

import tiny
from labelwise.contracts.passes import Dropout, Members
from labelwise.contracts.task import Batch
from labelwise.learners.passes import all_passes, dropped
from labelwise.learners.trunk import Trunk
from labelwise.models.taps import Taps


class Counted(nn.Module):
    """Counts how often it really runs."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.runs = inner, 0

    def forward(self, x: Tensor) -> Tensor:
        self.runs += 1
        return self.inner(x)


class Awkward(nn.Module):
    """One ReLU for everything, layers that write into what they get, several outputs, a layer called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = Counted(nn.Conv2d(1, 6, 3))
        self.relu = nn.ReLU(inplace=True)
        self.twice = Counted(nn.Conv2d(6, 6, 3, padding=1))
        self.fork = nn.ModuleList([Fork(), nn.Conv2d(6, 6, 1)])
        self.drop = nn.Dropout(0.5)
        self.late = Counted(nn.Conv2d(6, 6, 1))
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.stem(x))
        x = self.twice(self.twice(x))
        parts = self.fork[0](x)
        y = parts["a"]
        y += self.fork[1](parts["b"][0])  # in place, on what a module gave
        y = self.late(self.drop(self.relu(y)))
        return self.head(self.relu(y).mean((2, 3)))


class Fork(nn.Module):
    def forward(self, x: Tensor) -> dict[str, object]:
        return {"a": 2 * x, "b": [x.clone()]}


def _images(seed: int = 0) -> Tensor:
    return torch.rand(5, 1, 16, 16, generator=torch.Generator().manual_seed(seed))


def _slowly(net: nn.Module, passes: Dropout, images: Tensor) -> list[Tensor]:
    """Every pass from the first layer on."""
    found = []
    for draw in range(passes.draws):
        with dropped(net, passes, 3, draw), torch.inference_mode():
            found.append(net(images))
    return found


@pytest.mark.parametrize(
    ("make", "passes"),
    [
        (Awkward, Dropout(draws=4)),
        (Awkward, Dropout(draws=4, after=("stem", "late"))),
        (Awkward, Dropout(draws=4, after=("twice",))),
        (Awkward, Dropout(draws=4, after=("late", "fork.1"))),
        (tiny.TinyNet, Dropout(draws=4)),
        (tiny.TinyNet, Dropout(draws=4, after=("head",))),
        (tiny.TinyNet, Dropout(draws=4, after=("conv", ("hidden", 0.2)), unit="channel")),
    ],
    ids=repr,
)
def test_every_draw_is_the_one_that_runs_from_the_start(make, passes):
    torch.manual_seed(0)
    net = make().eval()
    for images in (_images(0), _images(1)):
        expected = _slowly(net, passes, images)
        found = []
        for model, batch in all_passes([net], Batch(images), passes, 3):
            with torch.inference_mode():
                found.append(model(batch.images))
        for one, other in zip(found, expected, strict=True):
            assert torch.equal(one, other)
    assert len({tuple(draw.flatten().tolist()) for draw in found}) == passes.draws, "masks differ from draw to draw"
    assert not any(module._forward_hooks or "forward" in module.__dict__ for module in net.modules())


def test_the_members_of_an_ensemble_keep_theirs_apart():
    nets = [tiny.TinyNet().eval(), tiny.TinyNet().eval()]
    with torch.no_grad():
        nets[1].conv.weight.mul_(-1)
    passes = Members(draws=3, dropout=Dropout())
    images = _images()
    for draw, (net, batch) in enumerate(all_passes(nets, Batch(images), passes, 3)):
        alone = copy.deepcopy(nets[draw % 2])  # what is patched is copied too, but not what answers
        for module in alone.modules():
            module.__dict__.pop("forward", None)
            module._forward_hooks.clear()
        with torch.inference_mode():
            found = net(batch.images)
            with dropped(alone, Dropout(), 3, draw):
                assert torch.equal(found, alone(images))


def test_what_stands_before_the_mask_runs_once():
    net = Awkward().eval()
    for model, batch in all_passes([net], Batch(_images()), Dropout(draws=6), 0):
        with torch.inference_mode():
            model(batch.images)
    assert net.stem.runs == 1
    assert net.late.runs == 6
    assert net.twice.runs == 12, "a layer that runs twice a pass has two answers"


def test_an_inner_layer_that_somebody_reads_is_run():
    net = nn.Sequential(nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU()), nn.Dropout(), nn.Flatten()).eval()
    taps = Taps(net, ["0.0"])
    seen = []
    for model, batch in all_passes([net], Batch(_images()), Dropout(draws=3), 0):
        with torch.inference_mode(), taps.capture() as tapped:
            model(batch.images)
        seen.append(tapped["0.0"])
    assert torch.equal(seen[0], seen[2])
    trunk = Trunk(net, [net[1]])
    with trunk.one_pass(), torch.inference_mode():
        net(_images())
    assert trunk.kept == ["0", "1"], "of modules within one another the outermost"


def test_outputs_of_a_kind_nobody_can_copy_are_made_again():
    class Odd(nn.Module):
        def forward(self, x: Tensor) -> object:
            return {"x", 1}, x

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.odd, self.drop = Odd(), nn.Dropout()

        def forward(self, x: Tensor) -> Tensor:
            return self.drop(self.odd(x)[1])

    net = Net().eval()
    trunk = Trunk(net, [net.drop])
    with trunk.one_pass():
        net(_images())
    assert trunk.kept == ["drop"]


def test_the_largest_outputs_go_first_where_memory_is_short():
    net = nn.Sequential(nn.Linear(3, 100), nn.Linear(100, 5), nn.Linear(5, 7), nn.Dropout(), nn.Linear(7, 2)).eval()
    images = torch.ones(4, 3)
    with torch.inference_mode():
        expected = net(images)
        for most, kept in ((4 * 4 * 1000, ["0", "1", "2", "3"]), (4 * 4 * 13, ["1", "3"]), (4 * 4 * 5, ["1"]), (0, [])):
            trunk = Trunk(net, [net[3]], most)
            for _ in range(2):
                with trunk.one_pass():
                    assert torch.equal(net(images), expected)
            assert trunk.kept == kept


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_a_scripted_network_runs_whole():
    net = nn.Sequential(torch.jit.script(nn.Linear(16, 4).eval()), nn.Dropout()).eval()
    trunk = Trunk(net, [net[1]])
    with trunk.one_pass():
        net(_images())
    assert trunk.kept == []
