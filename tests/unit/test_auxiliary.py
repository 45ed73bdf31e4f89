"""Extra heads beside a model, and losses of one's own: where they read, what they are told, how they are named."""

from __future__ import annotations

import importlib
import linecache
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import tiny
from labelwise.campaign.plan import Offer
from labelwise.contracts.input import InputSpec
from labelwise.contracts.learner import Loss, Phase
from labelwise.contracts.losses import Losses
from labelwise.errors import ConfigError, LabelwiseError, UnmetNeed
from labelwise.learners.batching import shares
from labelwise.learners.imported import ImportedPredictions
from labelwise.models.taps import stages
from labelwise.models.torchvision_detectors import build_detector
from labelwise.signals import HeadOutput
from labelwise.strategies.scored import Scored
from labelwise.tasks.detection import Detection
from labelwise.tasks.segmentation import Segmentation

SOURCE = tiny.digits(60)
LABELLED = SOURCE.ids[:22]
DATA = tiny.learner_data(SOURCE, LABELLED)
PHASES = (Phase(epochs=1, batch_size=11),)
TOLD: list[tuple[float, Tensor]] = []


@dataclass(frozen=True)
class Head(tiny.LossHead):
    """Notes what it is told; reads whatever the engine chooses unless it names taps."""

    name = "noting"
    taps: tuple[str, ...] = ()
    detached: bool = False
    speed: float | None = None

    @property
    def lr(self) -> float | None:
        return self.speed

    def build(self, widths: Mapping[str, int]) -> nn.Module:
        return nn.Linear(sum(widths.values()), 1)

    def _predict(self, head: nn.Module, taps: Mapping[str, Tensor]) -> Tensor:
        flat = [tap.mean((2, 3)) if tap.dim() == 4 else tap for tap in taps.values()]
        return head(torch.cat(flat, dim=1))[:, 0]

    def loss(self, head: nn.Module, taps: Mapping[str, Tensor], loss_B: Tensor, progress: float) -> Tensor:
        TOLD.append((progress, loss_B))
        return super().loss(head, taps, loss_B, progress)

    def measured(self, said_N: Tensor, loss_N: Tensor) -> Mapping[str, float]:
        return {"images": len(said_N), "error": float((said_N - loss_N).abs().mean())}


@dataclass(frozen=True)
class Reads(Scored):
    """A strategy that goes by a head."""

    name = "reads"
    head: Head = field(default_factory=Head)

    @property
    def signal(self) -> HeadOutput:
        return HeadOutput(self.head.name)

    def auxiliaries(self) -> tuple[Head, ...]:
        return (self.head,)


def _learner(model=tiny.plain_net, phases=PHASES, **options):
    return tiny.torch_learner(model=model, phases=phases, **options)


def _fit(auxiliary, learner=None, data=DATA):
    TOLD.clear()
    learner = learner or _learner()
    learner.fit(data, 0, auxiliaries=(auxiliary,))
    return learner


# ---- where heads read -----------------------------------------------------------------------------------------------


class Stages(nn.Module):
    """Four stages whose maps shrink, the last of them in a list, with a layer that runs twice."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.layer1 = nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU())
        self.layer2 = nn.Sequential(nn.Conv2d(4, 8, 2, stride=2), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.twice = nn.Conv2d(8, 8, 1)
        self.branches = Branches()
        self.drop = nn.Dropout2d(0.2)
        self.fc = nn.Linear(6, classes)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.layer2(self.layer1(self.stem(images)))
        found = self.branches(self.twice(self.twice(maps)))
        return self.fc(self.drop(found["deep"][1]).mean((2, 3)))


class Branches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(8, 6, 2, stride=2)
        self.wide = nn.Conv2d(6, 12, 1)

    def forward(self, maps: Tensor) -> dict[str, list[Tensor]]:
        down = self.down(maps)
        return {"deep": [self.wide(down), down]}


def test_the_widest_map_at_each_resolution_of_what_runs_once():
    images = torch.zeros(2, 1, 16, 16)
    assert stages(Stages(), images) == ("layer1", "layer2", "branches.wide")
    assert stages(Stages(), images, most=2) == ("layer2", "branches.wide"), "the coarsest"
    assert stages(nn.Sequential(nn.Flatten(), nn.Linear(256, 8), nn.ReLU(), nn.Linear(8, 10)), images) == ("2",)


def test_the_stages_of_a_residual_network_are_the_published_taps():
    task = tiny.digits_task()
    net = task.named_model("resnet18_cifar")
    assert stages(net, torch.zeros(2, 1, 16, 16)) == ("layer1", "layer2", "layer3", "layer4")


@pytest.mark.heavy
def test_the_stages_of_ssd300_are_its_six_maps():
    net = build_detector("ssd300_vgg16", 3, InputSpec((300, 300))).eval()
    maps = ("features", *(f"extra.{number}" for number in range(5)))
    assert stages(net, torch.zeros(2, 3, 300, 300)) == tuple(f"net.backbone.{path}" for path in maps)


def test_every_default_network_has_stages():
    for task in (Detection(("cell",)), Segmentation(("road", "sky"))):
        paths = stages(task.default_model(), torch.zeros(2, task.input.channels, 64, 96))
        assert 3 <= len(paths) <= 6, paths


def test_an_entry_of_what_a_module_gives_is_a_tap():
    learner = _fit(Head(taps=("layer2", "branches[deep][1]")), _learner(Stages))
    assert learner.networks.heads[0]["noting"].in_features == 8 + 6
    table = learner.collect(tiny.view(SOURCE, labels=False), frozenset({HeadOutput("noting")}))
    assert table[HeadOutput("noting")].shape == (60,)


@pytest.mark.parametrize(
    ("tap", "said"),
    [
        ("layer9", "did you mean 'layer"),
        ("twice", "runs 2 times"),
        ("branches", r"gives dict for 2 images.*branches\[0\]"),
        ("branches[shallow]", "gives deep, and not 'shallow'"),
        ("branches[deep][7]", "gives 0, 1, and not '7'"),
        ("layer1[", "cannot read the tap"),
    ],
)
def test_a_tap_that_cannot_be_is_refused_before_anything_is_trained(tap, said):
    strategy = Reads(head=Head(taps=(tap,)))
    with pytest.raises(ConfigError, match=said) as caught:
        Offer(_learner(Stages)).check([strategy])
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) <= 300


def test_heads_are_refused_where_there_are_regions_or_nothing_is_trained():
    strategy = Reads(head=Head())
    with pytest.raises(UnmetNeed, match="leave 'regions' out"):
        Offer(_learner(), regions=True).check([strategy])
    imported = ImportedPredictions(tiny.digits_task(), ["a"], embeddings=tiny.np.zeros((1, 2), "float32"))
    with pytest.raises(UnmetNeed, match="use a torch learner"):
        Offer(imported).check([strategy])


def test_two_heads_of_one_name_are_refused():
    with pytest.raises(ConfigError, match="two heads are called 'noting'"):
        _learner().fit(DATA, 0, auxiliaries=(Head(), Head(strength=0.5)))


# ---- what heads are told --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Doubled(Head):
    def target(self, losses: Losses) -> Tensor:
        return 2 * super().target(losses)


def test_the_loss_of_images_arrives_detached_and_as_the_head_wants_it():
    _fit(Head())
    plain = TOLD[0][1]
    assert not plain.requires_grad, "an attached head sees attached maps, never an attached loss"
    _fit(Doubled())
    torch.testing.assert_close(TOLD[0][1], 2 * plain)


def test_a_head_has_a_learning_rate_of_its_own():
    still = _fit(Head(speed=1e-12, detached=True), _learner(phases=[replace(PHASES[0], weight_decay=0.0)]))
    moved = _fit(Head(detached=True), _learner(phases=[replace(PHASES[0], weight_decay=0.0)]))
    assert all(
        torch.equal(one, other)
        for one, other in zip(still.networks.nets[0].parameters(), moved.networks.nets[0].parameters(), strict=True)
    )
    fresh = _fit(Head(detached=True), _learner(phases=[replace(PHASES[0], weight_decay=0.0, lr=1e-12)]))
    for one, other in zip(still.networks.heads[0].parameters(), fresh.networks.heads[0].parameters(), strict=True):
        torch.testing.assert_close(one, other)
    assert not torch.equal(moved.networks.heads[0]["noting"].weight, still.networks.heads[0]["noting"].weight)


def test_progress_goes_on_from_phase_to_phase():
    """It began anew in each, so that a head that is detached at 0.6 was attached again in the next."""
    phases = [Phase(epochs=2, batch_size=11), Phase(epochs=6, batch_size=11, trainable=("head",))]
    _fit(Head(), _learner(phases=phases))
    assert [told for told, _ in TOLD] == pytest.approx([step / 16 for step in range(16)])


def test_progress_counts_no_phase_of_an_objective():
    phases = [Phase(epochs=5, batches="unlabelled", loss="simclr", batch_size=8), *PHASES, *PHASES]
    assert shares(phases, DATA) == [(0.0, 0.0), (0.0, 0.5), (0.5, 0.5)]


def test_an_ensemble_says_the_mean_of_its_heads():
    learner = _fit(Head(detached=True), _learner(members=2))
    said = learner.collect(tiny.view(SOURCE, labels=False), frozenset({HeadOutput("noting")}))[HeadOutput("noting")]
    batch = learner.task.batch(learner.task.input.prepare_batch(SOURCE.batch(SOURCE.ids)), None, train=False)
    one, two = (
        replace(learner.networks, nets=[net], heads=[head])
        for net, head in zip(learner.networks.nets, learner.networks.heads, strict=True)
    )
    with torch.inference_mode():
        rows = [each.outputs(batch, frozenset({"head:noting"})).extra["head:noting"] for each in (one, two)]
    assert not torch.allclose(rows[0], rows[1])
    tiny.np.testing.assert_allclose(said, torch.stack(rows).mean(0).numpy(), rtol=1e-4, atol=1e-5)


def test_a_head_is_measured_on_images_that_nobody_trained_on():
    learner = _fit(Head(detached=True))
    found = learner.evaluate(tiny.view(SOURCE, SOURCE.ids[30:47]))
    assert found["noting_images"] == 17
    assert 0 < found["noting_error"] < 100
    assert found["accuracy"] == _fit_plain().evaluate(tiny.view(SOURCE, SOURCE.ids[30:47]))["accuracy"]


def _fit_plain():
    learner = _learner()
    learner.fit(DATA, 0)
    return learner


# ---- losses of one's own --------------------------------------------------------------------------------------------

SCALE = 2.0


@dataclass(frozen=True)
class Scaled(Loss):
    """The task's loss, and the entropy of the answers, with a weight."""

    name = "scaled"
    strength: float = 0.5

    def __call__(self, model, task, batch, progress: float) -> Losses:
        TOLD.append((progress, torch.zeros(0)))
        probs_BC = model(batch.images).softmax(1)
        entropy_B = _scaled(torch.special.entr(probs_BC).sum(1))
        known = {} if batch.targets is None else {"cross": F.nll_loss(probs_BC.log(), batch.targets, reduction="none")}
        parts = {**known, "entropy": self.strength * entropy_B}
        return {name: (part_B, torch.ones_like(part_B)) for name, part_B in parts.items()}


def _scaled(values: Tensor) -> Tensor:
    return SCALE * values


def _own(**options) -> Phase:
    return Phase(**{"epochs": 2, "batch_size": 11, "loss": f"{__name__}:Scaled"} | options)


def test_a_loss_has_options_is_told_the_progress_and_its_parts_are_in_the_report():
    TOLD.clear()
    report = _learner(phases=[_own(options={"strength": 0.0})]).fit(DATA, 0, auxiliaries=(Head(detached=True),))
    assert set(report.notes) == {"cross", "entropy", "noting"}
    assert report.notes["entropy"] == 0.0
    assert report.loss == pytest.approx(report.notes["cross"] + report.notes["entropy"], rel=1e-5)
    assert [told for told, _ in TOLD][::2] == [0.0, 0.25, 0.5, 0.75]
    with pytest.raises(ConfigError, match="unknown option of 'scaled' 'weight'"):
        _learner(phases=[_own(options={"weight": 1})]).fit(DATA, 0)
    with pytest.raises(ConfigError, match="strength"):
        _learner(phases=[_own(options={"strength": "much"})]).fit(DATA, 0)


@pytest.mark.parametrize(("unlabelled", "images"), [("all", 38), ("as_labelled", 22), (5, 5), (500, 38)])
def test_an_epoch_reads_as_many_images_without_labels_as_it_is_told(unlabelled, images):
    phase = _own(batches="unlabelled", unlabelled=unlabelled, epochs=1)
    assert _learner(phases=[phase]).fit(DATA, 0).steps == math.ceil(images / 11)


def test_the_key_is_that_of_before_where_nothing_new_is_said():
    """And another one where the number of images without labels, or the code of a loss or a head is another."""
    config = dict(_learner().config)
    assert {"unlabelled", "code"} & set(config["phases"][0]) == set()
    keys = [repr(_learner(phases=[phase]).config) for phase in (_own(), _own(unlabelled=3), _own(options={}))]
    assert keys[0] == keys[2] != keys[1]


OWN = """
import tiny

WEIGHT = {weight}

class Mine(tiny.LossHead):
    def weight(self, progress):
        return WEIGHT

def scaled(values):
    return {factor} * values

def loss(model, task, batch):
    return {{name: (scaled(sums), norms) for name, (sums, norms) in task.loss(model, batch).items()}}
"""


def test_changed_code_of_a_loss_or_a_head_is_another_training(tmp_path, monkeypatch):
    """What stood in a folder under the old loss was found again when the loss, or what it calls, had changed."""
    monkeypatch.syspath_prepend(str(tmp_path))
    keys = []
    for weight, factor in ((1, 1), (1, 22), (333, 22), (1, 1)):
        (tmp_path / "own_loss.py").write_text(OWN.format(weight=weight, factor=factor))
        linecache.clearcache()
        sys.modules.pop("own_loss", None)
        module = importlib.import_module("own_loss")
        heads = _learner().fit_key(DATA, 0, auxiliaries=(module.Mine(),))
        keys.append((_learner(phases=[Phase(loss="own_loss:loss")]).fit_key(DATA, 0), heads))
    sys.modules.pop("own_loss")
    assert keys[3] == keys[0]
    assert keys[1][0] != keys[0][0]
    assert keys[1][1] == keys[0][1]
    assert keys[2][0] == keys[1][0]
    assert keys[2][1] != keys[1][1]


def test_a_loss_that_is_no_number_says_which_part_it_is():
    report = _learner().fit(DATA, 0, auxiliaries=(Head(strength=math.nan, detached=True),))
    assert math.isnan(report.notes["noting"])
    assert report.loss == pytest.approx(report.notes["cross_entropy"]), "a detached head does the model no harm"
    attached = _learner().fit(DATA, 0, auxiliaries=(Head(strength=math.nan),))
    assert math.isnan(attached.loss)


def test_the_loss_of_a_training_is_that_of_the_model_with_or_without_a_head():
    """A ranking loss of one on top made a training look as if it hardly learnt."""
    beside = _learner().fit(DATA, 0, auxiliaries=(Head(detached=True),))
    alone = _learner().fit(DATA, 0)
    assert (beside.loss, beside.losses) == (alone.loss, alone.losses)


def test_one_labelled_image_makes_a_batch_of_one():
    data = tiny.learner_data(SOURCE, LABELLED[:1])
    assert math.isfinite(_learner().fit(data, 0, auxiliaries=(Head(detached=True),)).loss)


def test_no_layer_at_all_is_said_in_one_line():
    class Bare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(256, 10))

        def forward(self, images: Tensor) -> Tensor:
            return images.flatten(1) @ self.weight

    with pytest.raises(LabelwiseError, match="gives no map that runs once"):
        Offer(_learner(Bare)).check([Reads(head=Head())])
