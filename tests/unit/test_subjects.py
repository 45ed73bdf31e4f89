"""Subjects as items: cut out of their images, labels that go in and out of the cut, and what is measured of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import posed
from labelwise.contracts.input import InputSpec
from labelwise.contracts.query import Budget, Selection
from labelwise.contracts.task import Outputs
from labelwise.data.subjects import Subjects, are_several, of_labels
from labelwise.data.views import View
from labelwise.errors import DataError
from labelwise.kinds.subjects import Subject, in_image, in_window, recognised, window_of
from labelwise.tasks.keypoints import Keypoints
from labelwise.tasks.keypoints_metrics import KeypointMetrics, oks
from labelwise.testing import sources


def raw(*things, size=(100, 60)):
    return {"size": list(size), "objects": [{"class": "arrow", "points": [], **thing} for thing in things]}


def arrow(x, y, **more):
    return {"points": [[x, y, 2], [x + 4, y + 8, 1], [0, 0, 0]], "box": [x - 2, y - 2, x + 6, y + 10], **more}


class Wide(posed.Posed):
    """Pictures of 100 x 60 pixels whose values say where they lie."""

    def load(self, item_id):
        rows, columns = np.mgrid[:60, :100]
        return np.stack([columns, rows, np.full((60, 100), 200)], 2).astype(np.uint8)

    def batch(self, item_ids):
        return None


def wide(truth):
    source = Wide(0)
    source.ids, source.truth, source.roles = tuple(sorted(truth)), truth, {}
    return source


def test_a_subject_is_cut_out_a_quarter_larger_and_in_the_shape_of_the_input():
    box = (40, 20, 60, 30)
    assert window_of(box, 1.0) == (37, 12, 25, 25)
    assert window_of(box, 4.0) == (25, 18, 50, 13)
    source = Subjects(wide({"a.png": raw()}), {"a.png#1": Subject("a.png", box)}, aspect=lambda: 1.0)
    image = source.load("a.png#1")
    assert image.shape == (25, 25, 3)
    assert image[0, 0].tolist() == [37, 12, 200]
    assert source.size("a.png#1") == source.size("a.png") == (100, 60)
    edge = Subjects(wide({"a.png": raw()}), {"a.png#1": Subject("a.png", (-2, -2, 6, 6))}, aspect=lambda: 1.0)
    image = edge.load("a.png#1")
    assert image.shape == (10, 10, 3)
    assert not image[:3].any()  # black where the image ends
    assert image[3, 3].tolist() == [0, 0, 200]


def test_the_contract_of_sources_holds():
    truth = {"a.png": raw(arrow(10, 10), arrow(50, 20, crowd=True), arrow(70, 30)), "b.png": raw(arrow(20, 20))}
    source = of_labels(wide(truth), aspect=lambda: 0.75)
    assert source.ids == ("a.png#1", "a.png#3", "b.png#1")
    sources.check_ids(source)
    sources.check_facts(source)
    for item in source.ids:
        sources.check_image(source, item)
    assert list(source.native_order()) == list(source.ids)
    assert set(source.groups.values()) == {"a.png", "b.png"}
    assert source.within("a.png#3") == ("a.png", "subject:68,28,76,40")
    assert len(set(source.content(source.ids))) == 3
    assert View(source).window("a.png#3") == source.window("a.png#3")


def test_small_subjects_are_left_out_and_counted():
    large = {"points": [[30, 30, 2], [0, 0, 0], [0, 0, 0]], "box": [20, 10, 60, 40]}
    source = of_labels(wide({"a.png": raw(arrow(10, 10), large)}), aspect=lambda: 1.0, min_side=20)
    assert source.ids == tuple(source.truth) == ("a.png#2",)
    assert any(line.startswith("1 subject(s) smaller than 20 px") and "a.png#1" in line for line in source.notes())
    with pytest.raises(DataError, match=r"no image has the box of a subject.*2 subject\(s\) smaller than 90 px"):
        of_labels(wide({"a.png": raw(arrow(10, 10), large)}), aspect=lambda: 1.0, min_side=90)


def test_labels_are_those_of_the_image_and_loaded_in_the_cut():
    truth = {"a.png": raw(arrow(10, 10), arrow(70, 30))}
    source = of_labels(wide(truth), aspect=lambda: 1.0)
    label = source.truth["a.png#2"]
    assert label["objects"] == truth["a.png"]["objects"][1:]
    task = Keypoints(("arrow",), posed.POINTS, input=InputSpec((32, 32)))
    pose = task.load(label)
    x, y, width, height = source.window("a.png#2")
    assert pose.size == (width, height)
    assert (pose.at, pose.image) == ((x, y), "a.png")
    assert pose.points_K2[0].tolist() == pytest.approx([(70 - x) / width, (30 - y) / height])
    assert pose.pixels_K2[:2].round(decimals=3).tolist() == [[70, 30], [74, 38]]
    assert task.dump(pose) == label
    cut = in_window(label, source.window("a.png#2"))
    assert cut["objects"][0]["points"][0] == [70 - x, 30 - y, 2]
    assert cut["objects"][0]["points"][2] == [0, 0, 0]  # no place, so none to move
    assert in_image(cut, source.window("a.png#2"), (100, 60)) == label


def test_objects_are_recognised_by_number_then_by_box_then_by_points():
    subjects = {f"a#{n}": Subject("a", (20.0 * n, 0.0, 20.0 * n + 15, 20.0)) for n in range(1, 4)}
    things = [
        {"points": [[45, 5, 2], [50, 10, 2]]},
        {"points": [], "box": [62, 1, 74, 19]},
        {"points": [], "box": [500, 1, 510, 19], "extra": {"subject": 1}},
        {"points": [[300, 5, 2]]},
    ]
    assert recognised(things, subjects) == {0: "a#2", 1: "a#3", 2: "a#1"}
    twice = [{"points": [], "box": [20, 0, 35, 20], "extra": {"subject": 2}} for _ in range(2)]
    assert recognised(twice, subjects) == {0: "a#2", 1: "a#1"}
    assert recognised(things, {}) == {}


def test_several_subjects_without_a_box_are_refused_and_one_is_the_whole_image():
    bare = {key: value for key, value in arrow(10, 10).items() if key != "box"}
    with pytest.raises(DataError, match=r"'a.png' has 2 subjects, and subject 2 has no box"):
        of_labels(wide({"a.png": raw(arrow(30, 30), bare)}), aspect=lambda: 1.0)
    assert not are_several({"a.png": raw(arrow(30, 30), arrow(1, 1, crowd=True)), "b.png": raw()})
    source = of_labels(wide({"a.png": raw(bare)}), aspect=lambda: 100 / 60)
    assert source.window("a.png#1") == pytest.approx((0, 0, 100, 60), abs=1)
    with pytest.raises(DataError, match="no image has the box of a subject"):
        of_labels(wide({"a.png": raw()}), aspect=lambda: 1.0)


def test_an_image_that_is_called_like_a_subject_is_refused():
    with pytest.raises(DataError, match=r"'a.png#1' is called like a subject"):
        of_labels(wide({"a.png": raw(arrow(1, 1)), "a.png#1": raw()}), aspect=lambda: 1.0)


def test_average_precision_is_over_images_and_their_subjects():
    """Two subjects of one image, the points of each found on the other: both are found, as one is not asked which."""
    task = Keypoints(("arrow",), ("one",), input=InputSpec((32, 32)))
    boxes = [[10, 10, 30, 30], [20, 10, 40, 30]]
    labels = [
        {
            "size": [100, 60],
            "subject": {"image": "a.png", "box": box, "score": 0.5},
            "objects": [{"class": "arrow", "points": [[box[0] + 6.0, 20.0, 2]], "box": box}],
        }
        for box in boxes
    ]
    poses = [task.load(label) for label in labels]
    swapped = torch.stack([(poses[1 - n].pixels_K2[0] - torch.tensor(poses[n].at)) / 25 for n in range(2)])

    def measured(poses):
        metrics = KeypointMetrics(("one",), task.near)
        metrics.update(Outputs(2, torch.arange(2), torch.ones(2, 1), extra={"points": swapped}), poses)
        return metrics.compute()

    together = measured(poses)
    apart = measured(
        [task.load({**label, "subject": {**label["subject"], "image": str(n)}}) for n, label in enumerate(labels)]
    )
    assert together["oks_ap"] == pytest.approx(1)
    assert apart["oks_ap"] < 0.5
    assert together["oks"] == apart["oks"] == pytest.approx(oks(np.array([10.0]), np.array([0.06]), 400.0))
    assert together["error"] == pytest.approx(10)


def test_budgets_in_images_buy_all_picks_that_lie_in_so_many():
    image_N = torch.tensor([0, 0, 0, 1, 1, 2])
    order = Selection(torch.tensor([3, 0, 4, 5, 1, 2]))
    two = Budget(2, "images")
    assert two.items(6, None, image_N) == 5
    assert two.cut(order, None, image_N).positions_K.tolist() == [3, 0, 4]
    assert Budget(3, "images").cut(order, None, image_N).positions_K.tolist() == order.positions_K.tolist()
    assert two.cut(order, None).positions_K.tolist() == order.positions_K.tolist()  # images themselves
