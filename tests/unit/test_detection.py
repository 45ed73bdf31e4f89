"""The detection task: labels in and out, augmentation, losses, outputs, passes, costs."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

import shapes
from labelwise.campaign.plan import Offer
from labelwise.contracts.input import InputSpec
from labelwise.contracts.losses import batch_loss, image_losses
from labelwise.contracts.targets import Boxes
from labelwise.contracts.task import Batch
from labelwise.data import augment
from labelwise.errors import ConfigError, DataError, UnmetNeed
from labelwise.learners.passes import changed_view
from labelwise.learners.torch import TorchLearner
from labelwise.models.detectors import inverse, moved_boxes
from labelwise.signals import Views
from labelwise.strategies import STRATEGIES
from labelwise.tasks.detection import Detection

TASK = Detection(("cell", "platelet"), InputSpec((48, 64)), augment="none")


def _raw(*objects, size=(640, 480)):
    return {"size": list(size), "objects": list(objects)}


def _cell(*box, **more):
    return {"class": "cell", "box": list(box), **more}


# ---- labels ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "raw",
    [
        _raw(),
        _raw(_cell(0.1, 0.2, 639.999, 480)),
        _raw(_cell(1, 2, 3, 4, crowd=True), _cell(5, 5, 5, 9, extra={"id": 7, "pose": "x"})),
        _raw(_cell(-3, -4, 700, 500, difficult=True), size=(641, 479)),
        {**_raw(_cell(1, 2, 3, 4)), "extra": {"file_name": "a.jpg"}},
    ],
    ids=["empty", "fractions", "flags", "outside", "extra"],
)
def test_a_label_comes_back_to_the_digit(raw):
    text = json.dumps(raw)
    assert json.dumps(TASK.dump(TASK.load(raw))) == text
    assert json.dumps(raw) == text
    assert TASK.load(TASK.dump(TASK.load(raw))) == TASK.load(raw)


def test_what_a_label_means():
    platelet = {"class": "platelet", "box": [600, 400, 700, 500]}
    flat, crowd = _cell(9, 9, 9, 20), _cell(1, 1, 2, 2, crowd=True)
    target = TASK.load(_raw(_cell(64, 48, 128, 96), platelet, flat, crowd))
    assert target.class_G.tolist() == [0, 1, 0, 0]
    assert target.ignore_G.tolist() == [False, False, True, True]
    assert target.pixels_G4[1].round().tolist() == [600, 400, 640, 480]
    assert TASK.kind.objects(TASK.dump(target)) == [TASK.classes[n] for n in (0, 1, 0, 0)]
    assert TASK.kind.cost(TASK.dump(target)) == {"images": 1.0, "boxes": 4.0}
    assert TASK.kind.cost(_raw()) == {"images": 1.0, "boxes": 0.0}


def test_predictions_are_written_in_pixels_with_scores():
    found = Boxes.of_pixels([[10, 20, 30, 40]], [1], size=(64, 48), scores=[0.625])
    raw = TASK.dump(found)
    assert raw == {"size": [64, 48], "objects": [{"class": "platelet", "box": [10, 20, 30, 40], "score": 0.625}]}
    assert TASK.load(raw) == found


@pytest.mark.parametrize(
    ("raw", "match"),
    [
        ("cell", "no label of boxes"),
        ({"objects": []}, "size of the image is None"),
        (_raw(size=(0, 5)), r"size of the image is \[0, 5\]"),
        (_raw(size=(4.5, 5)), "whole pixels"),
        (_raw({"class": "cell"}), "object 0 is .* give its class and its box"),
        (_raw({"class": "cel", "box": [1, 2, 3, 4]}), "did you mean 'cell'"),
        (_raw(_cell(1, 2, 3, 4), _cell(1, 2, 3)), "object 1 is .* four finite numbers"),
        (_raw(_cell(1, 2, math.nan, 4)), "four finite numbers"),
        (_raw(_cell(1, 2, True, 4)), "four finite numbers"),
        (_raw(_cell(3, 2, 1, 4)), "swap its corners"),
        (_raw(_cell(1, 2, 3, 4, score=2)), "from 0 to 1"),
        (_raw(_cell(1, 2, 3, 4, score=0.5), _cell(1, 2, 3, 4)), "object 1 is None"),
    ],
)
def test_what_is_no_label(raw, match):
    with pytest.raises(DataError, match=match) as caught:
        TASK.load(raw)
    assert "\n" not in str(caught.value)


def test_regions_of_an_image_are_joined():
    parts = [TASK.load(_raw(_cell(1, 2, 3, 4))), TASK.load(_raw(_cell(5, 6, 7, 8)))]
    assert TASK.merge(parts) == TASK.load(_raw(_cell(1, 2, 3, 4), _cell(5, 6, 7, 8)))
    assert TASK.merge(parts[:1]) is parts[0]
    with pytest.raises(DataError, match="sizes"):
        TASK.merge([parts[0], TASK.load(_raw(size=(3, 3)))])


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"classes": ()}, "at least one class"),
        ({"classes": ("a", "a")}, "listed twice"),
        ({"threshold": 1.5}, "threshold is 1.5"),
        ({"overlap": -1}, "overlap is -1"),
        ({"top": 0}, "top is 0"),
        ({"input": InputSpec((8, 8), crop=0.5)}, "crop"),
    ],
)
def test_a_configuration_that_cannot_be(options, match):
    with pytest.raises(ConfigError, match=match):
        Detection(**{"classes": ("a",), **options})


# ---- augmentation ---------------------------------------------------------------------------------------------------


def _patch(x1, y1, x2, y2, height=48, width=64):
    """An image that is one inside a box and zero elsewhere, with that box."""
    image = torch.zeros(1, 3, height, width)
    image[:, :, y1:y2, x1:x2] = 1
    return image, Boxes.of_pixels([[x1, y1, x2, y2]], [0], size=(width, height))


def _extent(image):
    rows, columns = (image[0] > 0.5).nonzero().unbind(1)
    height, width = image.shape[-2:]
    ends = [columns.min() / width, rows.min() / height, (columns.max() + 1) / width, (rows.max() + 1) / height]
    return torch.stack([torch.as_tensor(end) for end in ends])


@pytest.mark.parametrize("change", [augment.flipped, augment.rescaled])
def test_boxes_move_with_the_pixels(change):
    image, target = _patch(10, 12, 30, 40)
    images = image.repeat(40, 1, 1, 1)
    moved, targets = change(images, [target] * 40, torch.Generator().manual_seed(0))
    assert len({tuple(t.corners_G4[0].tolist()) for t in targets}) > 1
    for one, found in zip(moved, targets, strict=True):
        # half a pixel of blur at each side
        torch.testing.assert_close(_extent(one), found.corners_G4[0], atol=1 / 48, rtol=0)


def test_augmentation_leaves_its_input_alone_and_is_seeded():
    image, target = _patch(10, 12, 30, 40)
    images, before = image.repeat(8, 1, 1, 1), target.corners_G4.clone()
    task = Detection(("cell",), InputSpec((48, 64)))
    batches = [task.batch(images, [target] * 8, train=True, rng=torch.Generator().manual_seed(3)) for _ in range(2)]
    assert torch.equal(batches[0].images, batches[1].images)
    assert batches[0].targets == batches[1].targets
    assert torch.equal(images, image.repeat(8, 1, 1, 1))
    assert torch.equal(target.corners_G4, before)
    plain = task.batch(images, [target] * 8, train=False)
    assert torch.equal(plain.images, images)
    assert plain.targets == (target,) * 8


def test_boxes_are_cut_at_the_border_and_ignored_where_little_is_left():
    far = Boxes.of_pixels([[0, 0, 20, 20], [30, 20, 40, 30]], [0, 1], size=(64, 48))
    images = torch.zeros(300, 3, 48, 64)
    rng = torch.Generator().manual_seed(0)
    _, moved = augment.rescaled(images, [far] * 300, rng, scale=(1.0, 3.0), shift=0.5)
    hidden = [boxes for boxes in moved if boxes.ignore_G[0]]
    assert 20 < len(hidden) < 290
    for boxes in moved:
        assert boxes.corners_G4.min() >= 0
        assert boxes.corners_G4.max() <= 1
        assert len(boxes) == 2
    assert any(boxes.corners_G4[0].prod() == 0 and boxes.ignore_G[0] for boxes in moved)


def test_an_image_without_objects_can_be_augmented():
    task = Detection(("cell",), InputSpec((48, 64)))
    empty = Boxes.none((64, 48))
    batch = task.batch(torch.zeros(4, 3, 48, 64), [empty] * 4, train=True, rng=torch.Generator().manual_seed(0))
    assert batch.targets == (empty,) * 4
    assert task.batch(torch.zeros(4, 3, 48, 64), None, train=True).targets is None


# ---- outputs --------------------------------------------------------------------------------------------------------


def _batch(count=12, labels=True):
    source, _ = shapes.trained()
    ids = source.ids[60 : 60 + count]
    task = shapes.task()
    images = InputSpec((shapes.HEIGHT, shapes.WIDTH)).prepare_batch(source.batch(ids))
    return task.batch(images, [task.load(source.truth[i]) for i in ids] if labels else None, train=False)


def _outputs(batch=None, want=frozenset({"unit_embedding", "embedding"}), **options):
    _, learner = shapes.trained()
    with torch.inference_mode():
        return shapes.task(**options).outputs(learner.networks.nets[0], batch or _batch(), want)


@pytest.mark.heavy
def test_units_are_boxes_by_image_and_falling_score():
    outputs = _outputs()
    assert outputs.size == 12
    assert (outputs.unit_item_U.diff() >= 0).all()
    scores, items = outputs.extra["scores"], outputs.unit_item_U
    same = items[1:] == items[:-1]
    assert (scores[1:][same] <= scores[:-1][same]).all()
    assert torch.equal(outputs.weight_U, scores)
    assert not outputs.exclusive
    assert torch.equal(outputs.probs_UC.argmax(1), outputs.extra["labels"])
    corners = outputs.extra["boxes"]
    assert ((corners[:, 2:] > corners[:, :2]) & (corners >= 0)[:, :2] & (corners <= 1)[:, 2:]).all()
    units = len(items)
    assert outputs.extra["unit_embedding"].shape == (units, 24)
    assert outputs.extra["embedding"].shape == (12, 72)
    assert "embedding" not in _outputs(want=frozenset()).extra


@pytest.mark.heavy
def test_threshold_and_top_decide_what_counts():
    counts = _outputs().unit_item_U.bincount(minlength=12)
    assert (_outputs(top=1).unit_item_U.bincount(minlength=12) == counts.clamp_max(1)).all()
    strict = _outputs(threshold=0.6)
    assert (strict.extra["scores"] > 0.6).all()
    assert 0 < len(strict.unit_item_U) < counts.sum()


@pytest.mark.heavy
def test_predictions_are_the_confident_boxes():
    found = shapes.task().predictions(_outputs())
    batch = _batch()
    right = sum(
        sorted(p.target.class_G.tolist()) == sorted(t.class_G.tolist())
        for p, t in zip(found, batch.targets, strict=True)
    )
    assert right >= 8, "of twelve scenes"
    for prediction in found:
        assert prediction.target.size == (shapes.WIDTH, shapes.HEIGHT)
        scores = prediction.target.scores_G
        assert prediction.score == (float(scores.max()) if len(scores) else 0.0)
        assert (scores >= 0.3).all()


def test_a_pass_that_changes_nothing_says_the_same():
    _, learner = shapes.trained()
    net, first, batch = learner.networks.nets[0], _outputs(), _batch()
    with torch.inference_mode():
        again = shapes.task().redrawn(net, batch, first, frozenset())
        still = Batch(batch.images, None, torch.eye(2, 3))
        unmoved = shapes.task().redrawn(net, still, first, frozenset())
    for other in (again, unmoved):
        torch.testing.assert_close(other.probs_UC, first.probs_UC)
        torch.testing.assert_close(other.extra["boxes"], first.extra["boxes"], atol=1e-6, rtol=0)
        assert torch.equal(other.unit_item_U, first.unit_item_U)


def test_a_mirrored_view_is_read_where_the_box_went():
    """The second opinion on a mirrored image is what detection on it finds at the mirrored box."""
    _, learner = shapes.trained()
    net, batch, task = learner.networks.nets[0], _batch(), shapes.task()
    view = changed_view(batch, Views(draws=2, flip=True, degrees=0.0, noise=0.0), 0, 1)
    assert torch.equal(view.images, batch.images.flip(-1))
    with torch.inference_mode():
        first = task.outputs(net, batch, frozenset())
        second = task.redrawn(net, view, first, frozenset())
        fresh = task.outputs(net, Batch(view.images), frozenset())
    sure = first.extra["scores"] > 0.5
    assert sure.sum() >= 8
    back = moved_boxes(fresh.extra["boxes"], view.moved)
    for unit in sure.nonzero().squeeze(1).tolist():
        here = fresh.unit_item_U == first.unit_item_U[unit]
        distance = (back[here] - second.extra["boxes"][unit]).abs().amax(1)
        assert distance.min() < 0.1, "the mirrored image shows it there, too"
        assert second.probs_UC[unit].argmax() == first.probs_UC[unit].argmax()


def test_boxes_turn_with_the_view():
    turn = torch.tensor([[-0.8, 0.6, 0.1], [-0.6, -0.8, 0.0]])
    boxes = torch.tensor([[0.4, 0.4, 0.6, 0.5]])
    there_and_back = moved_boxes(moved_boxes(boxes, turn), inverse(turn))
    assert (there_and_back[:, :2] <= boxes[:, :2] + 1e-6).all(), "upright boxes around turned ones only grow"
    assert (there_and_back[:, 2:] >= boxes[:, 2:] - 1e-6).all()
    centre = (there_and_back[:, :2] + there_and_back[:, 2:]) / 2
    torch.testing.assert_close(centre, torch.tensor([[0.5, 0.45]]))


@pytest.mark.parametrize("draw", [0, 1])
def test_where_a_view_comes_from(draw):
    """``moved`` says it: sampling the image there gives the view."""
    image = torch.rand(1, 3, 24, 32, generator=torch.Generator().manual_seed(0))
    image = torch.nn.functional.avg_pool2d(image, 5, 1, 2)
    view = changed_view(Batch(image), Views(draws=2, degrees=30.0, noise=0.0), 0, draw)
    grid = torch.nn.functional.affine_grid(view.moved[None], [1, 3, 24, 32], align_corners=False)
    sampled = torch.nn.functional.grid_sample(image, grid, align_corners=False)
    torch.testing.assert_close(sampled[..., 6:-6, 8:-8], view.images[..., 6:-6, 8:-8], atol=1e-4, rtol=0)


def test_a_model_that_diverged_is_not_hidden():
    batch = _batch(2)
    broken = Batch(torch.full_like(batch.images, torch.nan))
    outputs = _outputs(broken)
    assert outputs.unit_item_U.tolist() == [0, 1]
    assert torch.isnan(outputs.probs_UC).all()


# ---- losses ---------------------------------------------------------------------------------------------------------


def test_the_loss_of_an_image_is_that_of_the_image_alone():
    _, learner = shapes.trained()
    net, batch, task = learner.networks.nets[0], _batch(), shapes.task()
    with torch.inference_mode():
        losses_B = image_losses(task.loss(net, batch))
        alone = [
            float(batch_loss(task.loss(net, Batch(batch.images[i : i + 1], batch.targets[i : i + 1]))))
            for i in range(len(batch))
        ]
    assert torch.isfinite(losses_B).all()
    np.testing.assert_allclose(losses_B.numpy(), alone, rtol=1e-4, atol=1e-6)


def test_ignored_boxes_are_neither_right_nor_wrong():
    """Whatever is said inside an ignored box costs nothing; the same without the box does."""
    from labelwise.models.centre import CentreNet

    torch.manual_seed(0)
    net = CentreNet(2, width=4).eval()
    images = torch.rand(1, 3, 48, 64)
    nothing = Boxes.none((64, 48))
    whole = Boxes.of_pixels([[0, 0, 64, 48]], [1], size=(64, 48), ignore=[True])
    half = Boxes.of_pixels([[0, 0, 32, 48]], [1], size=(64, 48), ignore=[True])
    with torch.inference_mode():
        loss = [float(image_losses(net(images, [target]))) for target in (nothing, half, whole)]
    assert loss[0] > loss[1] > loss[2] == 0


def test_a_model_that_is_no_detector_is_refused():
    source, _ = shapes.trained()
    learner = TorchLearner(shapes.task(), lambda: torch.nn.Sequential(torch.nn.Flatten()))
    with pytest.raises(ConfigError, match="Sequential is no detector"):
        learner.fit(shapes.learner_data(source, source.ids[:4]), 0)


def test_a_detector_for_other_classes_is_refused():
    _, learner = shapes.trained()
    with pytest.raises(ConfigError, match="gives 3 probabilities for a box where 2 are needed"):
        TASK.outputs(learner.networks.nets[0], _batch(2), frozenset())


# ---- what strategies may ask ----------------------------------------------------------------------------------------


def test_strategies_that_need_one_row_an_image_are_refused_in_words():
    _, learner = shapes.trained()
    with pytest.raises(UnmetNeed, match="needs one answer for each image"):
        Offer(learner, frozen=True).check([STRATEGIES.create("stratified_random", by="predicted")])
    Offer(learner).check([STRATEGIES.create("margin"), STRATEGIES.create("entropy")])
