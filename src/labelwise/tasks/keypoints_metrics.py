"""How good a network for key points is: shares of points near enough, and COCO's average precision over OKS.

Shape letters: N images, K points.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from labelwise.contracts.chance import Chance
from labelwise.contracts.targets import Pose
from labelwise.contracts.task import Metrics, Outputs
from labelwise.errors import ConfigError, brief

#: how far people are apart who mark the 17 points of COCO, as shares of the root of an object's area
COCO_SIGMAS = tuple(value / 1000 for value in (26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89))
#: share of the sides within which training programs count a point as found: 0.5 of a tenth
_OF_MAPS = 0.05
#: what is taken for points of other sets: about that of COCO's wrists
ONE_SIGMA = 0.06


@dataclass(frozen=True)
class Near:
    """What counts as found.

    Args:
        within: largest distance in pixels of the original image.
        share: largest distance as a share of a reference length.
        reference: positions of the two points whose distance is that length (the head's, as PCKh has it; shoulder and
            hip); None: the longer side of the subject's box.
        sigmas: of OKS, one for each point.
    """

    within: float
    share: float
    reference: tuple[int, int] | None
    sigmas: tuple[float, ...]


def near_of(
    names: Sequence[str], within: float, share: float, reference: Sequence[str], sigmas: tuple[float, ...]
) -> Near:
    """What counts as found, from the options of a task.

    Raises:
        ConfigError: numbers for other points than there are, or a reference that is no two of them.

    Example:
        >>> near_of(("nose", "tail"), 10, 0.2, ("nose", "tail"), ())
        Near(within=10, share=0.2, reference=(0, 1), sigmas=(0.06, 0.06))
    """
    count = len(names)
    if len(sigmas) not in (0, 1, count) or not all(value > 0 for value in sigmas):
        raise ConfigError(
            f"sigmas has {len(sigmas)} number(s): give {count} above 0, one for each point, or one for all"
        )
    if not sigmas:
        sigmas = COCO_SIGMAS if count == len(COCO_SIGMAS) else (ONE_SIGMA,)
    if reference and (len(set(reference)) != 2 or len(reference) != 2 or any(name not in names for name in reference)):
        raise ConfigError(
            f"reference is {brief(list(reference), 60)}: name two points out of {brief(list(names), 150)}"
        )
    ends = (names.index(reference[0]), names.index(reference[1])) if reference else None
    return Near(within, share, ends, sigmas * count if len(sigmas) == 1 else sigmas)


class KeypointMetrics(Metrics):
    """Percentage of correct key points (PCK) in two readings, and average precision over OKS.

    ``pck`` is the share of all marked points that lie within so many pixels of the original image, ``pck_images`` the
    mean over images of that share in each, ``pck/NAME`` that of one point; ``pck_share`` counts as near what lies
    within a share of a reference length. Hidden points count as visible ones, those outside or not marked not at all.
    ``error`` is the mean distance in pixels. ``oks_ap`` (and ``oks_ap50``, ``oks_ap75``) is COCO's average precision
    over images, one subject each or those that were cut out of it, by the mean mass of their peaks times the score that
    a detector gave their box; ``oks`` the mean object key point similarity.

    ``pck_maps`` is what programs that train on heat maps print as accuracy: points within 0.5 of a tenth of the map's
    sides, that is a twentieth of the image's, as the mean over points (not over all that are marked).

    Args:
        names: of the points.
        near: what counts as found.
    """

    primary = "pck"

    def __init__(self, names: Sequence[str], near: Near) -> None:
        self.names = tuple(names)
        self.near = near
        self._found: list[np.ndarray] = []
        self._scores: list[float] = []
        self._poses: list[Pose] = []

    def update(self, outputs: Outputs, targets: Sequence[Pose]) -> None:
        """Adds a batch.

        Args:
            outputs: units are points, image by image, with ``points`` (U, 2) in fractions in ``extra``, and the mass of
                the highest peak in the first column of their probabilities, whose mean is the score of a subject.
                Points that are not finite, as a model that diverged gives them, are missed.
            targets: one for each image.
        """
        points_BK2 = outputs.extra["points"].detach().double().cpu().view(outputs.size, len(self.names), 2).numpy()
        scores_BK = outputs.probs_UC[:, 0].detach().double().cpu().view(outputs.size, -1).numpy()
        for points_K2, scores_K, pose in zip(points_BK2, scores_BK, targets, strict=True):
            self._found.append(points_K2 * np.array(pose.size) + np.array(pose.at))
            self._scores.append(float(np.nan_to_num(scores_K).mean()) * pose.prior)
            self._poses.append(pose.to("cpu"))

    def compute(self) -> dict[str, float]:
        """All metrics over what was added; {} when that has no marked point."""
        known_NK = np.array([pose.known_K.numpy() for pose in self._poses]).reshape(-1, len(self.names))
        if not known_NK.any():
            return {}
        truth_NK2 = np.stack([pose.pixels_K2.numpy() for pose in self._poses])
        away_NK = np.linalg.norm(np.stack(self._found) - truth_NK2, axis=2)
        right_NK = away_NK <= self.near.within
        marked = known_NK.any(1)
        each_N = (right_NK & known_NK).sum(1)[marked] / known_NK.sum(1)[marked]
        found = {"pck": right_NK[known_NK].mean(), "pck_images": each_N.mean()}
        size_N2 = np.array([pose.size for pose in self._poses], dtype=np.float64)
        off_NK = np.linalg.norm((np.stack(self._found) - truth_NK2) / size_N2[:, None], axis=2)
        each_K = known_NK.sum(0)
        near_K = ((off_NK < _OF_MAPS) & known_NK).sum(0)
        found["pck_maps"] = (near_K[each_K > 0] / each_K[each_K > 0]).mean()
        length_N = np.array([_length(pose, self.near.reference) for pose in self._poses])
        measured_NK = known_NK & (length_N > 0)[:, None]
        if measured_NK.any():
            found["pck_share"] = (away_NK <= self.near.share * length_N[:, None])[measured_NK].mean()
        finite_NK = known_NK & np.isfinite(away_NK)
        if finite_NK.any():
            found["error"] = away_NK[finite_NK].mean()
        found |= self._similarity(away_NK, known_NK)
        for k, name in enumerate(self.names):
            if known_NK[:, k].any():
                found[f"pck/{name}"] = right_NK[known_NK[:, k], k].mean()
        return {name: float(value) for name, value in found.items()}

    def _similarity(self, away_NK: np.ndarray, known_NK: np.ndarray) -> dict[str, float]:
        area_N = np.array([_area(pose) for pose in self._poses])
        there = known_NK.any(1) & (area_N > 0)
        if not there.any():
            return {}
        similar_N = [
            oks(away_NK[n][known_NK[n]], np.array(self.near.sigmas)[known_NK[n]], area_N[n])
            for n in np.flatnonzero(there)
        ]
        return {"oks": float(np.mean(similar_N)), **self._average_precision(area_N)}

    def _average_precision(self, area_N: np.ndarray) -> dict[str, float]:
        from faster_coco_eval import COCO, COCOeval_faster

        truth, found = [], []
        # subjects that were cut out of one image are looked for there together
        names = [n if pose.image is None else pose.image for n, pose in enumerate(self._poses)]
        numbers = {name: number for number, name in enumerate(dict.fromkeys(names), 1)}
        for n, (pose, points_K2) in enumerate(zip(self._poses, self._found, strict=True)):
            common = {
                "id": n + 1,
                "image_id": numbers[names[n]],
                "category_id": 1,
                "iscrowd": 0,
                "area": float(area_N[n]),
            }
            corner, (width, height) = _corner(pose), pose.span
            known = int(pose.known_K.sum())
            flat = np.concatenate([pose.pixels_K2.numpy(), pose.seen_K.numpy()[:, None]], 1)
            box = [*corner, width, height]
            truth.append(common | {"bbox": box, "keypoints": flat.ravel().tolist(), "num_keypoints": known})
            # far away, so that what is not finite is missed
            points_K2 = np.nan_to_num(points_K2, nan=1e9, posinf=1e9, neginf=-1e9)
            flat = np.concatenate([points_K2, np.ones((len(points_K2), 1))], 1)
            found.append(common | {"bbox": box, "keypoints": flat.ravel().tolist(), "score": self._scores[n]})
        head: dict[str, Any] = {
            "images": [{"id": number} for number in numbers.values()],
            "categories": [{"id": 1, "name": "subject", "keypoints": list(self.names)}],
        }
        sides = [COCO({**head, "annotations": entries}) for entries in (truth, found)]
        evaluation = COCOeval_faster(
            *sides, iouType="keypoints", kpt_oks_sigmas=list(self.near.sigmas), print_function=_silent
        )
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0.0, 1e10]], ["all"]
        evaluation.evaluate()
        evaluation.accumulate()
        precision_T = np.asarray(evaluation.eval["precision"])[:, :, 0, 0, 0].mean(1)
        if (precision_T < 0).any():
            return {}
        return {"oks_ap": precision_T.mean(), "oks_ap50": precision_T[0], "oks_ap75": precision_T[5]}


def oks(away_K: np.ndarray, sigma_K: np.ndarray, area: float) -> float:
    """Object key point similarity: the mean over the marked points of exp(-d^2 / (2 area (2 sigma)^2)).

    Example:
        >>> oks(np.array([0.0, 12.0]), np.array([0.06, 0.06]), 10_000.0)
        0.8032653298563167

    Reference:
        https://cocodataset.org/#keypoints-eval
    """
    with np.errstate(invalid="ignore"):
        similar_K = np.exp(-(away_K**2) / (2 * (2 * sigma_K) ** 2 * area))
    return float(np.nan_to_num(similar_K, nan=0.0).mean())


def usual_places(names: Sequence[str], near: Near, targets: Iterable[Pose]) -> Chance | None:
    """The share of points that lie near enough to the middle (median) of all places of the same point.

    None where nothing is marked.
    """
    poses = list(targets)
    known_NK = np.array([pose.known_K.numpy() for pose in poses]).reshape(-1, len(names))
    if not known_NK.any():
        return None
    places_NK2 = np.stack([pose.points_K2.numpy() for pose in poses]).astype(np.float64)
    middle_K2 = np.array(
        [
            np.median(places_NK2[known_NK[:, k], k], axis=0) if known_NK[:, k].any() else (0.5, 0.5)
            for k in range(len(names))
        ]
    )
    metrics = KeypointMetrics(names, near)
    units = torch.arange(len(poses)).repeat_interleave(len(names))
    points_U2 = torch.from_numpy(middle_K2).repeat(len(poses), 1)
    metrics.update(Outputs(len(poses), units, torch.ones(len(units), 1), extra={"points": points_U2}), poses)
    return Chance(metrics.compute()[metrics.primary], "putting each point at its usual place")


def _length(pose: Pose, reference: tuple[int, int] | None) -> float:
    if reference is None:
        return max(pose.span)
    one, other = reference
    if not (pose.known_K[one] and pose.known_K[other]):
        return 0.0
    return float((pose.pixels_K2[one] - pose.pixels_K2[other]).norm())


def _area(pose: Pose) -> float:
    width, height = pose.span
    return width * height if pose.area is None else pose.area


def _corner(pose: Pose) -> list[float]:
    known = pose.pixels_K2[pose.known_K]
    return [float(value) for value in known.amin(0)] if len(known) else [0.0, 0.0]


def _silent(*words: Any) -> None:
    pass
