"""PCK, OKS and average precision of key points against loops over single points and COCO's own program."""

from __future__ import annotations

import contextlib
import io
import math

import numpy as np
import pytest
import torch

from labelwise.contracts.targets import Pose
from labelwise.contracts.task import Outputs
from labelwise.tasks.keypoints_metrics import COCO_SIGMAS, KeypointMetrics, Near, usual_places

SIZE = (200, 100)


def made(images=30, points=5, seed=0):
    """Poses with gaps, one of nothing, and what was found: most near, some far."""
    rng = np.random.default_rng(seed)
    poses, found = [], []
    for number in range(images):
        places = rng.uniform(0.1, 0.9, (points, 2))
        seen = rng.integers(0, 3, points) if number else np.zeros(points, dtype=np.int64)
        extent = (float(rng.uniform(40, 150)), float(rng.uniform(30, 90)))
        poses.append(
            Pose(torch.tensor(places, dtype=torch.float32), torch.tensor(seen), SIZE, extent, extent[0] * extent[1] / 2)
        )
        found.append(places + rng.normal(0, rng.choice([0.01, 0.05, 0.2]), (points, 2)))
    scores = rng.uniform(0.1, 1, (images, points))
    return poses, np.array(found), scores


def measured(poses, found, scores, near, batches=2):
    metrics = KeypointMetrics([f"p{k}" for k in range(found.shape[1])], near)
    for rows in np.array_split(np.arange(len(poses)), batches):
        units = torch.arange(len(rows)).repeat_interleave(found.shape[1])
        extra = {"points": torch.tensor(found[rows]).reshape(-1, 2)}
        probs = torch.tensor(scores[rows]).reshape(-1, 1)
        metrics.update(Outputs(len(rows), units, probs, extra=extra), [poses[row] for row in rows])
    return metrics.compute()


@pytest.mark.parametrize("reference", [None, (0, 2)])
def test_shares_of_points_are_those_of_loops(reference):
    poses, found, scores = made()
    near = Near(10, 0.2, reference, (0.06,) * 5)
    values = measured(poses, found, scores, near)
    right, in_share, images = [], [], []
    for pose, places in zip(poses, found, strict=True):
        mine, known = [], [k for k in range(5) if int(pose.seen_K[k]) > 0]
        length = max(pose.extent)
        if reference is not None:
            ends = [pose.pixels_K2[k].tolist() for k in reference]
            length = math.dist(*ends) if set(reference) <= set(known) else 0.0
        for k in known:
            away = math.dist(pose.pixels_K2[k].tolist(), [places[k][0] * SIZE[0], places[k][1] * SIZE[1]])
            mine.append(away <= 10)
            in_share += [away <= 0.2 * length] if length else []
        right += mine
        images += [sum(mine) / len(mine)] if mine else []
    assert values["pck"] == pytest.approx(sum(right) / len(right))
    assert values["pck_images"] == pytest.approx(sum(images) / len(images))
    assert values["pck_share"] == pytest.approx(sum(in_share) / len(in_share))


def cocos_own(poses, found, scores, sigmas):
    """What pycocotools says."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth, results = [], []
    for n, (pose, places) in enumerate(zip(poses, found, strict=True), 1):
        known = pose.pixels_K2[pose.known_K]
        corner = known.amin(0).tolist() if len(known) else [0.0, 0.0]
        flat = torch.cat([pose.pixels_K2, pose.seen_K[:, None].double()], 1).flatten().tolist()
        common = {"id": n, "image_id": n, "category_id": 1, "iscrowd": 0, "area": pose.area}
        truth.append(common | {"bbox": [*corner, *pose.extent], "keypoints": flat, "num_keypoints": len(known)})
        points = np.concatenate([places * SIZE, np.ones((len(places), 1))], 1).ravel().tolist()
        results.append({"image_id": n, "category_id": 1, "keypoints": points, "score": float(scores[n - 1].mean())})
    data = COCO()
    data.dataset = {
        "images": [{"id": n} for n in range(1, len(poses) + 1)],
        "categories": [{"id": 1, "name": "subject"}],
        "annotations": truth,
    }
    with contextlib.redirect_stdout(io.StringIO()):
        data.createIndex()
        evaluation = COCOeval(data, data.loadRes(results), "keypoints")
        evaluation.params.kpt_oks_sigmas = np.array(sigmas)
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][:, :, 0, 0, 0].mean(1)
    return {"oks_ap": precision.mean(), "oks_ap50": precision[0], "oks_ap75": precision[5]}


@pytest.mark.parametrize(("points", "sigmas"), [(17, COCO_SIGMAS), (5, (0.06,) * 5)])
def test_average_precision_is_that_of_cocos_own_program(points, sigmas):
    pytest.importorskip("pycocotools")
    poses, found, scores = made(points=points, seed=1)
    values = measured(poses, found, scores, Near(10, 0.2, None, sigmas))
    expected = cocos_own(poses, found, scores, sigmas)
    assert 0.05 < expected["oks_ap"] < 0.95
    for name, value in expected.items():
        assert values[name] == pytest.approx(value, abs=1e-6), name


def test_the_share_that_training_programs_print_is_a_mean_over_points():
    poses, found, scores = made()
    values = measured(poses, found, scores, Near(10, 0.2, None, (0.06,) * 5))
    shares = []
    for k in range(5):
        pairs = [(p.points_K2[k], places[k]) for p, places in zip(poses, found, strict=True) if int(p.seen_K[k]) > 0]
        shares.append(np.mean([math.dist(one.tolist(), other) < 0.05 for one, other in pairs]))
    assert values["pck_maps"] == pytest.approx(np.mean(shares), abs=1e-6)


def test_points_that_are_not_numbers_are_missed():
    poses, found, scores = made()
    found[:] = np.nan
    values = measured(poses, found, scores, Near(10, 0.2, None, (0.06,) * 5))
    assert values["pck"] == values["pck_share"] == values["oks_ap"] == values["oks"] == 0


def test_the_usual_place_is_measured_as_every_answer():
    poses, found, scores = made()
    near = Near(20, 0.2, None, (0.06,) * 5)
    chance = usual_places([f"p{k}" for k in range(5)], near, iter(poses))
    known = np.array([pose.known_K.numpy() for pose in poses])
    places = np.array([pose.points_K2.numpy() for pose in poses])
    found[:] = [np.median(places[known[:, k], k], axis=0) for k in range(5)]
    assert chance.level == pytest.approx(measured(poses, found, scores, near)["pck"])
    assert usual_places(["p0"], near, iter([])) is None
