"""The task of key points: labels, training, units, stochastic passes, networks."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

import posed
from labelwise.contracts.input import InputSpec
from labelwise.contracts.kind import Naming
from labelwise.contracts.learner import Examples
from labelwise.contracts.record import Head, Record, Seen, Where
from labelwise.contracts.record import Points as KeyPoints
from labelwise.contracts.task import Batch
from labelwise.errors import ConfigError, DataError, FormatError, UnmetNeed
from labelwise.exchange.classes import ClassMap
from labelwise.models.heat_maps import ELSEWHERE, at_points, bells
from labelwise.models.pose import HRNet, build_pose_net
from labelwise.signals.units import Units
from labelwise.tasks.keypoints import PEAKS, Keypoints

NAMES = ("nose", "left_ear", "right_ear")


def task(**options):
    return Keypoints(("mouse",), NAMES, input=InputSpec((24, 32)), **options)


def raw(*points, **more):
    return {"size": [64, 48], "objects": [{"class": "mouse", "points": [list(point) for point in points], **more}]}


class Drawn(nn.Module):
    """Gives a bell of each point, whatever the image; a place for each point in fractions."""

    def __init__(self, places, sigma=1.5, size=(24, 32), top=1.0):
        super().__init__()
        down, across = bells(torch.tensor([places]), size, sigma)
        self.register_buffer("maps", top * (down[..., :, None] * across[..., None, :]).clamp_min(1e-20).log())

    def forward(self, images):
        return self.maps.expand(len(images), -1, -1, -1)


PLACES = [[0.3, 0.4], [0.7, 0.4], [0.5, 0.8]]


def outputs(model, task_=None, count=2):
    task_ = task_ or task()
    return task_.outputs(model, Batch(torch.zeros(count, 3, 24, 32)), frozenset())


# ---- labels ---------------------------------------------------------------------------------------------------------


def test_points_follow_their_names_and_those_outside_are_not_seen():
    label = raw((70, 10, 2), (32, 24, 1), (16, 12, 2), names=["right_ear", "nose", "left_ear"], box=[0, 0, 40, 20])
    pose = task().load(label)
    assert pose.points_K2.tolist() == [[0.5, 0.5], [0.25, 0.25], [0, 0]]
    assert pose.seen_K.tolist() == [1, 2, 0]
    assert pose.span == (40, 20)
    assert task().dump(pose) == label


def test_an_image_without_a_subject_has_nothing_to_learn():
    pose = task().load({"size": [64, 48], "objects": []})
    assert not pose.known_K.any()
    marked = task().load(raw((1, 1, 2), (2, 2, 2), (3, 3, 2)))
    batch = task().batch(torch.zeros(2, 3, 24, 32), [pose, marked], train=False)
    sums_B, norms_B = task().loss(Drawn(PLACES), batch)["divergence"]
    assert sums_B[0] == norms_B[0] == 0
    assert norms_B[1] == 3


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (raw((1, 1, 2)), "1 points, and the task has 3"),
        (raw((1, 1, 2), (1, 1, 2), (1, 1, 2), names=["a", "b", "c"]), "the task has 3"),
        ({"size": [64, 48], "objects": raw((1, 1, 2), (1, 1, 2), (1, 1, 2))["objects"] * 2}, "2 subjects"),
    ],
)
def test_labels_of_other_points_or_of_two_subjects_are_refused(label, message):
    with pytest.raises(DataError, match=message) as caught:
        task().load(label)
    assert len(str(caught.value)) <= 300


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"points": ("a", "a")}, "listed twice"),
        ({"points": ("left_eye", "nose")}, "no 'right_eye'"),
        ({"sigma": 0}, "above 0"),
        ({"sigmas": (0.1, 0.2)}, "sigmas has 2"),
        ({"reference": ("nose", "tail")}, "name two points"),
        ({"confident": 2}, "0 to 1"),
        ({"half_body": 2}, "share of the training images"),
        ({"half_body": 0.3, "augment": "flip"}, "turn or all, got flip"),
        ({"half_body": 0.3, "half": NAMES}, "points of one half"),
        ({"half_body": 0.3, "half": ("knee",)}, "half has .*knee"),
    ],
)
def test_options_that_cannot_be_are_refused(options, message):
    with pytest.raises(ConfigError, match=message) as caught:
        Keypoints(**{"classes": ("mouse",), "points": NAMES, **options})
    assert len(str(caught.value)) <= 300


@pytest.mark.parametrize(
    ("options", "message"), [({"points": ()}, "names of the points"), ({"classes": ("a", "b")}, "one class")]
)
def test_a_task_that_does_not_know_its_points_yet_learns_nothing(options, message):
    early = Keypoints(**{"classes": ("mouse",), "points": NAMES, **options})
    for use in (lambda: early.load(raw((1, 1, 2))), lambda: early.named_model("unet"), early.metrics):
        with pytest.raises((ConfigError, DataError), match=message if early.classes == ("mouse",) else "class"):
            use()


# ---- outputs --------------------------------------------------------------------------------------------------------


def test_a_sure_map_is_one_peak_and_a_flat_one_mostly_elsewhere():
    sure = outputs(Drawn(PLACES))
    assert torch.allclose(sure.extra["points"].view(2, 3, 2)[0], torch.tensor(PLACES), atol=1e-4)
    assert (sure.probs_UC[:, 0] > 0.9).all()
    flat = outputs(Drawn(PLACES, top=0.0))
    assert flat.probs_UC.shape == (6, PEAKS + ELSEWHERE)
    assert (flat.probs_UC[:, PEAKS:].sum(1) > 0.7).all()
    assert (flat.probs_UC.max(1).values < 0.2).all()  # no idea is no sure answer


def test_two_places_share_a_map():
    one, other = Drawn(PLACES).maps.exp(), Drawn(PLACES[::-1]).maps.exp()
    net = Drawn(PLACES)
    net.maps = (0.6 * one + 0.4 * other).log()
    said = outputs(net).probs_UC
    assert said[0, 0] == pytest.approx(0.6, abs=0.05)
    assert said[0, 1] == pytest.approx(0.4, abs=0.05)


def test_later_passes_judge_the_peaks_of_the_first():
    first = outputs(Drawn(PLACES))
    elsewhere = task().redrawn(Drawn(PLACES[::-1]), Batch(torch.zeros(2, 3, 24, 32)), first, frozenset())
    assert elsewhere.probs_UC[0, 0] < 0.1
    assert elsewhere.probs_UC[1, 0] > 0.9  # the middle one of three lies where it lay
    again = task().redrawn(Drawn(PLACES), Batch(torch.zeros(2, 3, 24, 32)), first, frozenset())
    assert torch.allclose(again.probs_UC, first.probs_UC, atol=1e-5)


def test_a_mirrored_view_is_laid_back_with_left_and_right_exchanged():
    """A network that is right in every view says the same of both."""
    first = outputs(Drawn(PLACES))
    places = [[1 - x, y] for x, y in (PLACES[0], PLACES[2], PLACES[1])]
    moved = torch.tensor([[-1.0, 0, 0], [0, 1, 0]])
    found = task().redrawn(Drawn(places), Batch(torch.zeros(2, 3, 24, 32), moved=moved), first, frozenset())
    assert torch.allclose(found.probs_UC, first.probs_UC, atol=1e-3)


class Brightest(nn.Module):
    """Each map is a channel of the image; the second and third know left from right by their colour alone."""

    def forward(self, images):
        return images


def test_the_flip_test_is_the_mean_with_the_mirror_image_cell_by_cell():
    images = torch.randn(1, 3, 4, 6, generator=torch.Generator().manual_seed(0))
    found, _ = task(flip_test=True)._said(Brightest(), images)
    for k, mirrored in enumerate((0, 2, 1)):
        plain = images[0, k].flatten().softmax(0).view(4, 6)
        turned = images[0, mirrored].flip(-1).flatten().softmax(0).view(4, 6).flip(-1)
        for row in range(4):
            for column in range(6):
                expected = (plain[row, column] + turned[row, column]) / 2
                assert float(found[0, k, row, column].exp()) == pytest.approx(float(expected), rel=1e-4)


def test_a_flip_test_of_a_network_that_knows_sides_by_colour_has_twice_the_doubt():
    net = Drawn(PLACES)
    plain, both = outputs(net), outputs(net, task(flip_test=True))
    assert both.probs_UC[0, 0] == pytest.approx(float(plain.probs_UC[0, 0]) / 2, abs=0.05)


def test_predictions_leave_out_what_is_unsure_and_are_labels():
    mixed = Drawn(PLACES)
    mixed.maps[0, 1] = 0
    found = task().predictions(outputs(mixed))[0]
    assert found.target.seen_K.tolist() == [2, 0, 2]
    label = task().dump(found.target)
    task().kind.check(label, ("mouse",), None)
    assert label["objects"][0]["points"][1] == [0, 0, 0]
    assert len(label["objects"][0]["scores"]) == 3


def test_a_model_that_diverged_finds_nothing():
    lost = Drawn(PLACES)
    lost.maps.fill_(torch.nan)
    assert not task().predictions(outputs(lost))[0].target.known_K.any()


# ---- training -------------------------------------------------------------------------------------------------------


@pytest.mark.heavy
def test_arrows_are_learnt_and_offered():
    source, learner = posed.trained()
    test = [item for item, role in source.roles.items() if role == "test"]
    assert learner.evaluate(posed.view(source, test))["pck"] > 0.6
    guesses = dict(learner.task.guesses(learner, source, test[:2]))
    for item in test[:2]:
        assert guesses[item]["size"] == [posed.WIDTH, posed.HEIGHT]
        learner.task.kind.check(guesses[item], posed.CLASSES, None)


# ---- networks -------------------------------------------------------------------------------------------------------


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("name", "cells"),
    [("unet", (64, 96)), ("unet@resnet18", (32, 48)), ("simple_baseline@resnet18", (16, 24)), ("hrnet_w32", (16, 24))],
)
def test_networks_give_a_map_for_each_point(name, cells):
    net = build_pose_net(name, 5, InputSpec((64, 96))).eval()
    with torch.inference_mode():
        assert net(torch.zeros(1, 3, 64, 96)).shape == (1, 5, *cells)


@pytest.mark.heavy
def test_hrnet_is_timms_up_to_the_head(tmp_path):
    import timm

    whole = timm.create_model("hrnet_w32").eval()
    path = tmp_path / "hrnet_w32.pth"
    torch.save(whole.state_dict(), path)
    net = build_pose_net("hrnet_w32", 5, InputSpec((64, 64)), weights=str(path)).eval()
    assert isinstance(net, HRNet)
    images = torch.randn(1, 3, 64, 64)
    seen = []
    net.final_layer.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.inference_mode():
        net(images)
        mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
        maps = (images * 0.5 + 0.5 - mean) / std
        maps = whole.act2(whole.bn2(whole.conv2(whole.act1(whole.bn1(whole.conv1(maps))))))
        assert torch.allclose(whole.stages(maps)[0], seen[0], rtol=1e-3, atol=1e-3 * float(seen[0].abs().max()))


def test_networks_that_do_not_exist_or_do_not_fit_are_refused():
    with pytest.raises(ConfigError, match="unknown network for key points"):
        build_pose_net("hrnet_w33", 5, InputSpec((64, 64)))
    with pytest.raises(ConfigError, match="multiples of 32"):
        build_pose_net("hrnet_w32", 5, InputSpec((60, 64)))


# ---- somebody else's points -----------------------------------------------------------------------------------------


def told(*records):
    head = Head(("mouse",))
    named = ClassMap(head, ("mouse",), shown="it")
    rows = [(record.image, record) for record in records]
    return task().imported(rows, Naming(named, ("mouse",), head), ("a.png", "b.png"), {"b.png": (64, 48)}.get)


def guess(image, *points, scores=(0.9, 0.5, 0.0), size=(64, 48)):
    points = KeyPoints(tuple(points), NAMES, tuple(scores))
    seen = Seen("mouse", points=points, score=0.5)
    return Record(Where(image), image, size=size, objects=(seen,), state="untouched")


def test_confidences_of_a_file_are_masses_of_one_peak_and_the_rest_lies_elsewhere():
    learner = told(guess("b.png", (32, 24, 2), (16, 12, 2), (0, 0, 0), size=None), Record(Where("a"), "a.png"))
    assert learner.ids == ("a.png", "b.png")
    signals = {name: Units(name) for name in ("probs", "points")}
    view = Examples(None, learner.ids)
    table = learner.collect(view, frozenset(signals.values()))
    probs, offsets = table.ragged(signals["probs"])
    assert offsets.tolist() == [0, 3, 6]
    torch.testing.assert_close(torch.as_tensor(probs[3:, 0]), torch.tensor([0.9, 0.5, 0.0]))
    torch.testing.assert_close(torch.as_tensor(probs).sum(1), torch.ones(6))
    assert probs[:3, 0].tolist() == [0, 0, 0]
    assert probs.max(1).tolist() == pytest.approx([1 / 12, 1 / 12, 1 / 12, 0.9, 0.5, 1 / 12])
    points, _ = table.ragged(signals["points"])
    assert points[3:5].tolist() == [[0.5, 0.5], [0.25, 0.25]]


def test_a_file_without_confidences_with_other_points_or_of_several_subjects():
    with pytest.raises(FormatError, match="without confidences"):
        told(guess("a.png", (1, 1, 2), (2, 2, 2), (3, 3, 2), scores=()))
    two = guess("a.png", (32, 24, 2), (16, 12, 2), (0, 0, 0))
    surer = replace(two.objects[0], points=replace(two.objects[0].points, scores=(1.0, 1.0, 0.0)))
    learner = told(replace(two, objects=(*two.objects, surer)))
    assert "1 image(s) with several subjects" in learner.notes[0]
    assert (
        learner.evaluate(Examples(None, ("a.png",), (task().load(raw((32, 24, 2), (0, 0, 0), (0, 0, 0))),)))["pck"] == 1
    )
    with pytest.raises(UnmetNeed, match="no key point"):
        told(Record(Where("a"), "a.png"))
    odd = KeyPoints(((1, 1, 2),), ("tail",), (0.5,))
    with pytest.raises(FormatError, match="the task has 3"):
        told(replace(two, objects=(Seen("mouse", points=odd),)))


def test_vectors_of_points_are_those_of_the_map_at_their_places():
    maps = torch.arange(12.0).view(1, 1, 3, 4)
    places = torch.tensor([[[0.125, 1 / 6], [0.25, 1 / 6], [float("nan"), 0.0], [0.875, 5 / 6]]])
    assert at_points(maps, places)[0, :, 0].tolist() == pytest.approx([0, 0.5, 1.5, 11], abs=1e-5)
