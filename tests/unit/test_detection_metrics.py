"""Average precision of detectors: against torchmetrics, against the definitions, and where nothing can be found."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from labelwise.contracts.targets import Boxes
from labelwise.contracts.task import Outputs
from labelwise.data import open_source
from labelwise.tasks.detection_metrics import DetectionMetrics
from unpacked import unpacked

CLASSES = ("a", "b", "c")


def _outputs(found, *, classes=3, exclusive=False):
    """(image, corners in fractions, label, score) -> Outputs."""
    items = torch.tensor([f[0] for f in found], dtype=torch.int64)
    labels = torch.tensor([f[2] for f in found], dtype=torch.int64)
    scores = torch.tensor([f[3] for f in found], dtype=torch.float32)
    probs = torch.zeros(len(found), classes)
    probs[torch.arange(len(found)), labels] = scores
    boxes = torch.tensor([f[1] for f in found], dtype=torch.float32).reshape(-1, 4)
    size = int(items.max()) + 1 if len(found) else 1
    return Outputs(size, items, probs, exclusive, scores, {"boxes": boxes, "scores": scores, "labels": labels})


def _compute(found, truth, classes=CLASSES):
    metrics = DetectionMetrics(classes)
    outputs = _outputs(found, classes=len(classes))
    metrics.update(Outputs(len(truth), outputs.unit_item_U, outputs.probs_UC, False, None, outputs.extra), truth)
    return metrics.compute()


def _random(seed, images=12):
    rng = np.random.default_rng(seed)
    truth, found = [], []
    for image in range(images):
        size = (int(rng.integers(20, 700)), int(rng.integers(20, 700)))
        count = int(rng.integers(0, 8))
        corners = np.sort(rng.random((count, 2, 2)), axis=1).reshape(count, 4)
        labels = rng.integers(0, 2 if seed % 2 else 3, count)
        ignore = rng.random(count) < 0.2
        truth.append(Boxes.of_pixels(corners * [*size, *size], labels, size=size, ignore=ignore))
        for box, label in zip(corners, labels, strict=True):
            near = np.sort((box + rng.normal(0, 0.02, 4)).reshape(2, 2), axis=0).ravel().clip(0, 1)
            # scores with ties
            found.append((image, near.tolist(), int(label), float(rng.integers(1, 10)) / 10))
        for _ in range(int(rng.integers(0, 4))):
            stray = np.sort(rng.random((2, 2)), axis=0).ravel().tolist()
            found.append((image, stray, int(rng.integers(0, 3)), float(rng.random())))
    return found, truth


@pytest.mark.heavy
@pytest.mark.parametrize("seed", range(6))
def test_as_torchmetrics_has_it(seed):
    from torchmetrics.detection import MeanAveragePrecision

    found, truth = _random(seed)
    ours = _compute(found, truth)
    # by default it has the thresholds in float32, and 0.3 of the recall is then not reached by 3 objects of 10
    exact = {"iou_thresholds": np.linspace(0.5, 0.95, 10).tolist(), "rec_thresholds": np.linspace(0, 1, 101).tolist()}
    theirs = MeanAveragePrecision(backend="faster_coco_eval", class_metrics=True, **exact)
    outputs = _outputs(found)
    sides = torch.tensor([[*t.size, *t.size] for t in truth], dtype=torch.float64)
    rows = [outputs.unit_item_U == image for image in range(len(truth))]
    theirs.update(
        [
            {
                "boxes": outputs.extra["boxes"][row].double() * side,
                "scores": outputs.extra["scores"][row],
                "labels": outputs.extra["labels"][row],
            }
            for row, side in zip(rows, sides, strict=True)
        ],
        [{"boxes": t.pixels_G4, "labels": t.class_G, "iscrowd": t.ignore_G.long()} for t in truth],
    )
    expected = theirs.compute()
    for ours_name, theirs_name in (("map", "map"), ("map50", "map_50"), ("map75", "map_75")):
        assert ours[ours_name] == pytest.approx(float(expected[theirs_name]), abs=1e-6)
    for index, value in zip(expected["classes"].tolist(), expected["map_per_class"].tolist(), strict=True):
        if value >= 0:
            assert ours[f"map/{CLASSES[index]}"] == pytest.approx(value, abs=1e-6)
        else:
            assert f"map/{CLASSES[index]}" not in ours
    assert 0 <= ours["map_low"] <= ours["map"] <= ours["map_high"] <= 1


def _voc(found, truth, *, eleven):
    """AP at overlap 0.5 of one class without ignored objects, as the VOC development kit defines it."""
    total = sum(len(boxes) for boxes in truth)
    taken, hits = set(), []
    for image, box, _, _ in sorted(found, key=lambda f: -f[3]):
        best, at = 0.0, None
        for row, other in enumerate(truth[image].corners_G4.tolist()):
            width = min(box[2], other[2]) - max(box[0], other[0])
            height = min(box[3], other[3]) - max(box[1], other[1])
            inter = max(width, 0) * max(height, 0)
            both = sum((b[2] - b[0]) * (b[3] - b[1]) for b in (box, other)) - inter
            if both > 0 and inter / both > best:
                best, at = inter / both, row
        hits.append(best >= 0.5 and (image, at) not in taken)
        if hits[-1]:
            taken.add((image, at))
    right = np.cumsum(hits)
    recall, precision = right / total, right / np.arange(1, len(hits) + 1)
    if eleven:
        return np.mean([max(precision[recall >= t - 1e-12], default=0.0) for t in np.arange(11) / 10])
    steps = np.unique(recall[recall > 0])
    return sum((r - before) * precision[recall >= r].max() for before, r in zip([0, *steps], steps, strict=False))


@pytest.mark.parametrize("seed", range(5))
def test_voc_curves_follow_their_definition(seed):
    rng = np.random.default_rng(seed)
    truth, found = [], []
    for image in range(9):  # a grid, so that no detection lies on two objects
        cells = [(x / 4, y / 4) for x in range(4) for y in range(4) if rng.random() < 0.4]
        corners = [[x + 0.02, y + 0.02, x + 0.22, y + 0.22] for x, y in cells]
        truth.append(Boxes.of_pixels(torch.tensor(corners).reshape(-1, 4) * 100, [0] * len(cells), size=(100, 100)))
        for x, y in cells:
            shift = rng.normal(0, 0.04)
            found += [(image, [x + 0.02 + shift, y + 0.02, x + 0.22 + shift, y + 0.22], 0, float(rng.random()))]
            found += [(image, [x, y, x + 0.05, y + 0.05], 0, float(rng.random()))] * (rng.random() < 0.3)
    ours = _compute(found, truth, ("a",))
    assert ours["voc07"] == pytest.approx(_voc(found, truth, eleven=True), abs=1e-6)
    assert ours["voc"] == pytest.approx(_voc(found, truth, eleven=False), abs=1e-6)


@pytest.mark.heavy
@pytest.mark.real
@pytest.mark.parametrize("name", ["coco_mini", "BCCD"])
def test_the_truth_against_itself_is_one(name):
    source = open_source(unpacked(name))
    index = {label: number for number, label in enumerate(source.classes)}
    truth, found = [], []
    for image, item in enumerate(source.ids[:101]):
        label = source.truth[item]
        things = label["objects"]
        boxes = Boxes.of_pixels(
            [t["box"] for t in things],
            [index[t["class"]] for t in things],
            size=tuple(label["size"]),
            ignore=[bool(t.get("crowd")) for t in things],
        )
        truth.append(boxes)
        rows = zip(boxes.corners_G4.tolist(), boxes.class_G.tolist(), boxes.ignore_G.tolist(), strict=True)
        found += [(image, box, number, 0.9) for box, number, ignore in rows if not ignore]
    found_all = _compute(found, truth, source.classes)
    assert {name: value for name, value in found_all.items() if value != 1} == {}


def test_ignored_objects_count_neither_way():
    truth = [Boxes.of_pixels([[0, 0, 50, 50], [50, 50, 100, 100]], [0, 0], size=(100, 100), ignore=[False, True])]
    right = (0, [0, 0, 0.5, 0.5], 0, 0.5)
    on_ignored = [(0, [0.5, 0.5, 0.9, 0.9], 0, 0.9), (0, [0.6, 0.6, 1, 1], 0, 0.8)]
    assert _compute([right, *on_ignored], truth)["map"] == 1
    assert _compute([right, (0, [0.5, 0, 1, 0.4], 0, 0.9)], truth)["map"] == pytest.approx(0.5)
    flat = [Boxes.of_pixels([[0, 0, 50, 50], [60, 60, 60, 90]], [0, 0], size=(100, 100))]
    assert _compute([right], flat)["map"] == 1


def test_nothing_found_nothing_to_find_and_nothing_added():
    truth = [Boxes.of_pixels([[0, 0, 5, 5]], [1], size=(10, 10)), Boxes.none((4, 4))]
    nothing = _compute([], truth)
    assert {name: nothing[name] for name in ("map", "map50", "voc", "map/b", "map_high")} == dict.fromkeys(
        ("map", "map50", "voc", "map/b", "map_high"), 0.0
    )
    assert "map/a" not in nothing
    assert _compute([(0, [0, 0, 1, 1], 0, 0.5)], [Boxes.none((4, 4))]) == {}
    assert DetectionMetrics(CLASSES).compute() == {}


def test_a_diverged_model_finds_nothing():
    truth = [Boxes.of_pixels([[0, 0, 5, 5]], [1], size=(10, 10))]
    found = [(0, [math.nan, 0, 0.5, 0.5], 1, 0.5), (0, [0, 0, 0.5, 0.5], 1, math.nan), (0, [0, 0, math.inf, 1], 1, 0.1)]
    assert _compute(found, truth)["map"] == 0


def test_batches_make_no_difference_and_fields_may_be_missing():
    found, truth = _random(3)
    whole = _compute(found, truth)
    metrics = DetectionMetrics(CLASSES)
    for image, target in enumerate(truth):
        mine = [(0, *f[1:]) for f in found if f[0] == image]
        outputs = _outputs(mine)
        metrics.update(
            Outputs(1, outputs.unit_item_U, outputs.probs_UC, False, None, {"boxes": outputs.extra["boxes"]}), [target]
        )
    assert metrics.compute() == pytest.approx(whole)


@pytest.mark.heavy
def test_the_interval_is_wider_with_fewer_images():
    found, truth = _random(0, images=40)
    few = [f for f in found if f[0] < 8]
    wide, narrow = _compute(few, truth[:8]), _compute(found, truth)
    assert wide["map_high"] - wide["map_low"] > narrow["map_high"] - narrow["map_low"] > 0
