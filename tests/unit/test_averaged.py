"""The average of weights, bounds on steps, and what a training writes down of its loss."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import tiny
from labelwise.assemble import learner_kind, make_learner
from labelwise.config import LearnerConfig, PhaseConfig
from labelwise.contracts.learner import Phase
from labelwise.errors import ConfigError
from labelwise.learners.averaged import Averaged
from labelwise.learners.best import BestOf
from labelwise.learners.checkpoints import Checkpoint
from labelwise.learners.torch import TorchLearner
from labelwise.learners.training import Training, tenths
from labelwise.tasks import TASKS
from labelwise.tasks.classification import Classification
from labelwise.tasks.detection import Detection

SOURCE = tiny.digits(60, test=20)
DATA = tiny.learner_data(SOURCE, SOURCE.ids[:40])
AVERAGED = (Phase(epochs=4, batch_size=10, lr=1e-2, schedule="constant", average=0.3),)


def _net():
    net = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    return net.train()


@pytest.mark.parametrize("memory", [2, 3.5, 40])
def test_the_average_is_that_of_its_formula(memory):
    """a_n = d a_(n-1) + (1 - d) w_n, d = min(1 - 1 / memory, n / (n + 9)), of parameters and running statistics."""
    torch.manual_seed(0)
    net = _net()
    averaged = Averaged.over(net, memory)
    kept = [tensor.detach().double().clone() for tensor in (*net.parameters(), *net.buffers())]
    for step in range(1, 30):
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.add_(torch.randn_like(parameter))
        net(torch.randn(4, 3))
        averaged.update()
        decay = min(1 - 1 / memory, step / (step + 9))
        now = [tensor.detach().double() for tensor in (*net.parameters(), *net.buffers())]
        kept = [decay * old + (1 - decay) * new for old, new in zip(kept, now, strict=True)]
    last = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    with averaged.in_use():
        found = (*net.parameters(), *net.buffers())
        pairs = [(a, b) for a, b in zip(found, kept, strict=True) if a.is_floating_point()]
        assert len(pairs) == 6
        for mine, twin in pairs:
            torch.testing.assert_close(mine.detach().double(), twin, rtol=1e-5, atol=1e-6)
    assert all(torch.equal(tensor, last[name]) for name, tensor in net.state_dict().items())
    averaged.settle()
    assert not torch.equal(net[0].weight, last["0.weight"])


def test_without_memory_nothing_is_kept_or_changed():
    net = _net()
    averaged = Averaged.over(net, 0)
    before = net[0].weight.detach().clone()
    averaged.update()
    averaged.settle()
    assert averaged.average == []
    assert torch.equal(net[0].weight, before)


def _weights(learner):
    return torch.cat([p.detach().flatten() for p in learner.networks.nets[0].parameters()])


def test_an_averaged_training_is_equal_to_the_bit_and_is_another_one():
    one, two, plain = (tiny.torch_learner(phases=phases) for phases in (AVERAGED, AVERAGED, tiny.FAST))
    one.fit(DATA, 3)
    two.fit(DATA, 3)
    assert torch.equal(_weights(one), _weights(two))
    assert "average" in one.config["phases"][0]
    assert not {"average", "max_steps"} & set(plain.config["phases"][0]), "trainings of before keep their keys"


@pytest.mark.heavy
def test_a_killed_averaged_training_goes_on_to_the_same_weights(tmp_path, monkeypatch):
    whole = tiny.torch_learner(phases=AVERAGED)
    report = whole.fit(DATA, 3)
    checkpoint, calls, learn = Checkpoint(tmp_path / "x.unfinished", "key"), [], Training._learn

    def killed(self, *given):
        calls.append(0)
        if len(calls) == 10:  # in the third of four epochs
            raise KeyboardInterrupt
        return learn(self, *given)

    monkeypatch.setattr(Training, "_learn", killed)
    with pytest.raises(KeyboardInterrupt):
        tiny.torch_learner(phases=AVERAGED).fit(DATA, 3, checkpoint=checkpoint)
    monkeypatch.undo()
    again = tiny.torch_learner(phases=AVERAGED)
    found = again.fit(DATA, 3, checkpoint=checkpoint)
    assert torch.equal(_weights(again), _weights(whole))
    assert (found.losses, found.steps) == (report.losses, report.steps)
    assert (found.parts, found.notes) == (report.parts, report.notes)


def test_what_an_older_version_kept_is_not_gone_on_with(tmp_path):
    file = tmp_path / "x.unfinished"
    tiny.torch_learner(phases=AVERAGED).fit(DATA, 3, checkpoint=Checkpoint(file, "key"))
    state = torch.load(file, weights_only=True)
    torch.save({key: value for key, value in state.items() if key not in ("form", "losses", "averaged")}, file)
    assert Checkpoint(file, "key").read() is None


def test_the_best_epoch_is_chosen_among_averages():
    """The judge sees what would be kept: of the last epoch, the same as without a judge."""
    plain = tiny.torch_learner(phases=AVERAGED)
    plain.fit(DATA, 3)
    seen = []
    judged = tiny.torch_learner(phases=AVERAGED, best=BestOf("validation"))
    inner = judged._measured
    judged._measured = lambda net, view: seen.append([p.detach().clone() for p in net.parameters()]) or inner(net, view)
    view = tiny.view(SOURCE, SOURCE.ids[40:])
    judged.fit(tiny.learner_data(SOURCE, SOURCE.ids[:40]).__class__(**{**vars(DATA), "judge": view}), 3)
    assert len(seen) == 5
    assert torch.equal(torch.cat([p.flatten() for p in seen[-1]]), _weights(plain))


# ---- how long -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("phase", "steps"),
    [
        (Phase(epochs=3, batch_size=10), 12),
        (Phase(epochs=1, batch_size=10, min_steps=9), 12),
        (Phase(epochs=30, batch_size=10, max_steps=9), 8),
        (Phase(epochs=30, batch_size=10, max_steps=3), 4),
        (Phase(epochs=1, batch_size=10, min_steps=8, max_steps=8), 8),
    ],
)
def test_epochs_are_added_and_left_out_to_keep_the_bounds(phase, steps):
    """Of four steps an epoch; one epoch at least."""
    report = tiny.torch_learner(phases=(phase,)).fit(DATA, 0)
    assert report.steps == steps
    assert len(report.losses) == min(10, steps // 4)


def test_bounds_that_contradict_each_other_are_refused():
    with pytest.raises(ConfigError, match="at least 20 and at most 10 steps cannot be: raise max_steps"):
        tiny.torch_learner(phases=(Phase(min_steps=20, max_steps=10),)).fit(DATA, 0)


@pytest.mark.heavy
def test_losses_are_means_of_tenths():
    assert tenths([]) == ()
    assert tenths([3.0]) == (3.0,)
    assert tenths([float(n) for n in range(25)])[-1] == pytest.approx((22 + 23 + 24) / 3)
    report = tiny.torch_learner(phases=(Phase(epochs=20, batch_size=10, lr=1e-2),)).fit(DATA, 0)
    assert len(report.losses) == 10
    assert report.losses[-1] < report.losses[0]


# ---- one set of defaults --------------------------------------------------------------------------------------------


def test_python_and_configurations_have_the_same_defaults():
    assert PhaseConfig().model_dump() == Phase().__dict__ | {"options": {}}
    for name in TASKS.names():
        task = TASKS.get(name)(("a", "b"))
        made = make_learner(LearnerConfig(kind="torch"), task, None)
        assert made.phases == TorchLearner(task).phases == task.phases
        steps = sum(phase.min_steps for phase in made.phases)
        assert 300 <= steps <= 3000, "ten labels make few batches: a training needs a few hundred steps"


def test_what_is_trained_where_nobody_says_follows_from_the_task():
    assert learner_kind(LearnerConfig(), Classification) == "features"
    assert learner_kind(LearnerConfig(), Detection) == "torch"
    assert learner_kind(LearnerConfig(kind="torch"), Classification) == "torch"


def test_nothing_is_mirrored_unless_asked():
    left = torch.zeros(8, 1, 32, 32, dtype=torch.uint8)
    left[..., :12] = 255
    for side in (8, 32):
        task = Classification(("a", "b"), tiny.InputSpec((side, side), 1))
        images = left[..., :side, :side].clone()
        images[..., side * 3 // 8 :] = 0
        seen = task.batch(images, None, train=True, rng=torch.Generator().manual_seed(0)).images
        assert (seen[..., : side // 2].mean((1, 2, 3)) > seen[..., side // 2 :].mean((1, 2, 3))).all()
    assert Classification(("a", "b"), tiny.InputSpec((8, 8), 1)).augmentation == "none"
    assert Classification(("a", "b")).augmentation == "shift"
    assert Classification(("a", "b"), augment="shift_flip").augmentation == "shift_flip"
