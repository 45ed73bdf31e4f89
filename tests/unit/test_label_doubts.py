"""Labels looked over by tasks: what trained models say against planted errors in boxes, masks and classes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import painted
import shapes
import tiny
from labelwise.campaign.doubting import label_doubts
from labelwise.campaign.events import Added, AskedAgain, Cleared, Item, Labelled, Queried, Skipped, Unlabelled
from labelwise.campaign.pool import Pool
from labelwise.contracts.input import InputSpec
from labelwise.contracts.learner import Examples
from labelwise.contracts.signal import SignalTable
from labelwise.contracts.targets import Boxes
from labelwise.data.arrays import ArraySource
from labelwise.errors import PoolError, UnmetNeed
from labelwise.kinds.masks import raw_mask
from labelwise.signals.units import Units
from labelwise.tasks.detection import Detection
from labelwise.tasks.keypoints import Keypoints
from labelwise.tasks.multi_label import MultiLabel
from labelwise.tasks.segmentation import Segmentation


class Says:
    """A model that says what it is told to, of items in their order."""

    provides = frozenset({"probs", "boxes", "scores", "labels", "per_pixel"})
    weights = "told"

    def __init__(self, columns: dict[str, list[np.ndarray]]) -> None:
        self.columns = columns

    def collect(self, view: Examples, signals: frozenset, **how: object) -> SignalTable:
        rows = [int(item) for item in view.ids]
        found = {}
        for signal in signals:
            parts = [self.columns[signal.of_unit][row] for row in rows]
            found[signal] = (np.concatenate(parts), np.cumsum([0, *map(len, parts)]))
        return SignalTable(view.ids, found, {})


def source(count: int, side: int = 8) -> ArraySource:
    return ArraySource(np.zeros((count, side, side, 1), np.uint8), ids=[str(n) for n in range(count)])


def test_boxes_that_a_model_contradicts_are_suspect_and_ignored_ones_are_not():
    task = Detection(("cell", "plate"))
    box = [0.1, 0.1, 0.5, 0.5]
    given = [
        Boxes.of_pixels([[10, 10, 50, 50]], [0], size=(100, 100)),  # right
        Boxes.of_pixels([], [], size=(100, 100)),  # overlooked
        Boxes.of_pixels([[10, 10, 50, 50]], [1], size=(100, 100)),  # swapped
        Boxes.of_pixels([[10, 10, 50, 50]], [1], size=(100, 100), ignore=[True]),  # neither right nor wrong
    ]
    seen = {
        "boxes": [np.array([box], np.float32)] * 4,
        "scores": [np.array([0.9], np.float32)] * 4,
        "labels": [np.array([0])] * 4,
    }
    images = source(4)
    rows = dict(task.looks_over.against(task, Says(seen), Examples(images, images.ids, tuple(given))))
    found = task.looks_over.doubts(task, rows, dict(zip(images.ids, given, strict=True)), {})
    assert [found[item].suspect for item in images.ids] == [False, True, True, False]
    assert found["1"].why == "an object without a box"
    assert found["2"].why == "another class"


def test_masks_that_stand_out_are_suspect():
    side, classes = 8, ("ground", "sky")
    task = Segmentation(classes, InputSpec((side, side), 3))
    truth = np.zeros((side, side), np.uint8)
    truth[:4] = 1
    wrong = truth.copy()
    wrong[5:7, 2:6] = 1
    masks = [task.load(raw_mask(wrong if number == 3 else truth, (side, side))) for number in range(9)]
    rng = np.random.default_rng(0)
    maps = []
    for _ in masks:
        sky = np.clip(truth.flatten() * 0.9 + 0.05 + rng.uniform(-0.04, 0.04, side * side), 0, 1)
        maps.append(np.stack([1 - sky, sky], axis=1).astype(np.float32))
    images = source(9)
    view = Examples(images, images.ids, tuple(masks))
    rows = dict(task.looks_over.against(task, Says({"probs": maps}), view))
    found = task.looks_over.doubts(task, rows, dict(zip(view.ids, masks, strict=True)), {})
    assert [item for item in view.ids if found[item].suspect] == ["3"]
    assert max(found, key=lambda item: found[item].score) == "3"


def test_a_missing_class_among_several_is_found():
    task = MultiLabel(("cat", "dog"))
    targets = {str(n): (0,) if n % 2 else (1,) for n in range(20)}
    rows = {item: [0.9, 0.1] if target == (0,) else [0.1, 0.9] for item, target in targets.items()}
    targets["4"] = ()
    found = task.looks_over.doubts(task, rows, targets, {})
    assert [item for item in rows if found[item].suspect] == ["4"]
    assert found["4"].why == "has dog (0.90)"


def test_classes_with_hardly_a_label_are_not_judged():
    task = tiny.digits_task()
    targets = {str(n): 0 if n < 8 else 1 if n < 16 else 2 for n in range(18)}
    rows = {item: np.eye(10)[target].tolist() for item, target in targets.items()}
    assert set(task.looks_over.doubts(task, rows, targets, {})) == {str(n) for n in range(16)}
    assert task.looks_over.doubts(task, {}, {}, {}) == {}


def test_key_points_cannot_be_looked_over_yet_and_say_so():
    task = Keypoints(("nose", "tail"))
    with pytest.raises(UnmetNeed, match="cannot be looked over yet"):
        task.looks_over.against(task, Says({}), Examples(source(1), ("0",), (None,)))


def test_a_learner_without_boxes_is_refused():
    class Mute(Says):
        provides = frozenset({"probs"})

    with pytest.raises(UnmetNeed, match="no boxes"):
        list(
            Detection.looks_over.against(
                Detection(("cell",)), Mute({}), Examples(source(1), ("0",), (Boxes.none((1, 1)),))
            )
        )
    assert Units("boxes").fields  # what it would have to give


# ---- the pool -------------------------------------------------------------------------------------------------------


def pool() -> Pool:
    items = [Added(Item(name, name)) for name in ("a", "b", "c")]
    return Pool.replay([*items, Queried("a", 0), Labelled("a", "cat"), Labelled("b", "dog", annotator="ann")])


def test_an_item_asked_again_keeps_its_label_and_waits():
    found = pool()
    found.apply(AskedAgain("a", 1, 3, 0.9, "relabel"))
    assert found.labelled.tolist() == [0, 1]
    assert found.pending.tolist() == [0]
    assert found.target(0) == "cat"
    assert found.round == 2
    assert [(query.id, query.round) for query in found.asked.waiting(found.pending)] == [("a", 1)]
    assert [(query.id, query.round) for query in found.queries()] == [("a", 0), ("a", 1)]
    assert found.describe(0) == "asked again"
    assert found.candidates.tolist() == [2]


@pytest.mark.parametrize(
    ("event", "labelled", "again"),
    [
        (Labelled("a", "dog"), [0, 1], [0]),
        (Labelled("a", "cat"), [0, 1], [0]),
        (Cleared("a"), [0, 1], []),
        (Unlabelled("a"), [1], []),
    ],
)
def test_what_ends_the_question(event, labelled, again):
    found = pool()
    found.apply(AskedAgain("a", 1))
    before = found.copy()
    found.apply(event)
    assert found.pending.tolist() == []
    assert found.labelled.tolist() == labelled
    assert [p for p in found.asked.again if found.labels.of(p)] == again
    assert before.pending.tolist() == [0]


def test_what_has_no_label_cannot_be_asked_again_nor_what_waits():
    found = pool()
    with pytest.raises(PoolError, match="only labels are doubted"):
        found.apply(AskedAgain("c", 1))
    found.apply(AskedAgain("a", 1))
    with pytest.raises(PoolError, match="asked again"):
        found.apply(AskedAgain("a", 1))
    with pytest.raises(PoolError):
        found.apply(Skipped("a"))


# ---- a whole pool ---------------------------------------------------------------------------------------------------


@pytest.mark.heavy
def test_planted_errors_are_the_most_doubtful(tmp_path):
    images = tiny.digits(120)
    campaign = tiny.campaign(tmp_path, images, tiny.feature_learner(images), labelled=())
    truth = images.truth
    wrong = set(list(images.ids)[5::20])
    campaign.write([
        Labelled(item, str((int(truth[item]) + (item in wrong)) % 10)) for item in images.ids
    ])  # fmt: skip
    found = label_doubts(campaign.examples, lambda *told: None)
    assert set(found) == set(images.ids)
    first = sorted(found, key=lambda item: (not found[item].suspect, -found[item].score))[: len(wrong)]
    assert len(wrong & set(first)) >= len(wrong) - 2
    assert torch.tensor([one.score for one in found.values()]).isfinite().all()


def planted(raw: dict[str, Any], kind: int) -> dict[str, Any]:
    """The first object of a label left out, of another class, or moved by half of its side."""
    first, *rest = raw["objects"]
    x1, y1, x2, y2 = first["box"]
    half = (x2 - x1) // 2
    box = [max(0, x1 - half), max(0, y1 - half), x2 - half, y2 - half]
    other = shapes.CLASSES[(shapes.CLASSES.index(first["class"]) + 1) % 3]
    changed = [[], [{**first, "class": other}], [{**first, "box": box}]][kind]
    return {**raw, "objects": [*changed, *rest]}


@pytest.mark.heavy
def test_planted_errors_in_boxes_are_found_by_a_detector(tmp_path):
    source = shapes.Shapes(64)
    campaign = tiny.campaign(tmp_path, source, shapes.learner(), fits=None)
    wrong = {item: n % 3 for n, item in enumerate([i for i in source.ids if source.truth[i]["objects"]][::7])}
    labels = {i: planted(raw, wrong[i]) if i in wrong else raw for i, raw in source.truth.items()}
    campaign.write([Labelled(item, raw) for item, raw in labels.items()])
    found = label_doubts(campaign.examples, lambda *told: None)
    first = sorted(found, key=lambda item: -found[item].score)[: len(wrong)]
    share = len(set(first) & set(wrong)) / len(wrong)
    assert share >= 0.5, f"{share:.0%} of {len(wrong)} where chance finds {len(wrong) / len(found):.0%}"


@pytest.mark.heavy
def test_planted_errors_in_masks_are_found_by_a_segmenter(tmp_path):
    source = painted.Painted(60)
    campaign = tiny.campaign(tmp_path, source, painted.learner(), fits=None)
    task = campaign.setting.task
    wrong = set(list(source.ids)[3::8])
    events = []
    for item in source.ids:
        mask = task.load(source.truth[item])
        if item in wrong:  # a block of the picture has another class
            classes_HW = mask.classes_HW.clone()
            height, width = classes_HW.shape
            block = classes_HW[height // 4 : height // 2, width // 4 : width // 2]
            block[:] = (block + 1) % len(task.classes)
            mask = replace(mask, classes_HW=classes_HW)
        events.append(Labelled(item, task.dump(mask)))
    campaign.write(events)
    found = label_doubts(campaign.examples, lambda *told: None)
    first = sorted(found, key=lambda item: -found[item].score)[: len(wrong)]
    share = len(set(first) & wrong) / len(wrong)
    assert share >= 0.5, f"{share:.0%} of {len(wrong)} where chance finds {len(wrong) / len(found):.0%}"
