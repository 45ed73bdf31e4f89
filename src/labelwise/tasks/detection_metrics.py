"""How good a detector is: COCO and VOC average precision over matches made by faster-coco-eval.

Shape letters: U detections, G annotated objects, T thresholds of overlap, R recalls, C classes.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from labelwise.contracts.targets import Boxes
from labelwise.contracts.task import Metrics, Outputs
from labelwise.rng import generator

if TYPE_CHECKING:
    from faster_coco_eval import COCOeval_faster
    from torch import Tensor

#: overlaps of COCO's average, and how many detections of a class count in an image
OVERLAPS = np.linspace(0.5, 0.95, 10)
MOST = 100
#: draws of the bootstrap, and of how many rows of matches (images x classes) they may be in all; at least a quarter
DRAWS, ROWS = 200, 10_000_000
#: quantiles of the interval
LEVELS = (0.025, 0.975)

_RECALLS = np.linspace(0.0, 1.0, 101)
_EVERY_AREA = [[0.0, 1e10]]


class DetectionMetrics(Metrics):
    """Average precision in four readings, per class, with an interval over images.

    ``map`` is COCO's AP: precision at 101 recalls, averaged over overlaps 0.5 to 0.95 and over the classes that occur;
    ``map50`` and ``map75`` are at one overlap. ``voc07`` is the 11-point AP of VOC 2007 and ``voc`` the area under the
    whole curve (VOC 2010 on), both at overlap 0.5. ``map_low`` and ``map_high`` bound ``map`` at 95 %, by the spread
    over draws of as many images with replacement. ``map/NAME`` and ``map50/NAME`` are of one class.

    The primary metric is ``map`` and not ``map50``: it is what the field compares by, and it still rises where boxes
    only become tighter, when ``map50`` has long been flat.

    Ignored objects (crowds, difficult ones, boxes without area) are neither missed nor found; detections that lie on
    one, measured by the share of the detection that it covers, count neither way. VOC's own program measures difficult
    ones by the overlap instead, and counts all detections where COCO counts the best 100 of a class and image.

    Args:
        classes: names, in index order.

    Example:
        >>> import torch
        >>> truth = Boxes.of_pixels([[0, 0, 10, 10]], [0], size=(20, 20))
        >>> found = {"boxes": torch.tensor([[0.0, 0.0, 0.5, 0.5]]), "scores": torch.tensor([0.9])}
        >>> outputs = Outputs(1, torch.tensor([0]), torch.tensor([[0.9, 0.1]]), extra=found)
        >>> metrics = DetectionMetrics(("cat", "dog"))
        >>> metrics.update(outputs, [truth])
        >>> metrics.compute()["map"], metrics.compute()["map50/cat"]
        (1.0, 1.0)
    """

    primary = "map"

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = tuple(classes)
        self._found: list[dict[str, Any]] = []
        self._truth: list[dict[str, Any]] = []
        self._images = 0

    def update(self, outputs: Outputs, targets: Sequence[Boxes]) -> None:
        """Adds a batch.

        Args:
            outputs: units are detections, with ``boxes`` (U, 4) in fractions of the image's sides and perhaps
                ``scores`` (U) and ``labels`` (U) in ``extra``, else the largest probability and its class count.
                Detections that are not finite, as a model that diverged gives them, find nothing and are left out.
            targets: what is there, one for each image of the batch.
        """
        best = outputs.probs_UC.max(1)
        scores_U = _numbers(outputs.extra.get("scores", best.values))
        labels_U = _numbers(outputs.extra.get("labels", best.indices))
        boxes_U4, item_U = _numbers(outputs.extra["boxes"]).reshape(-1, 4), _numbers(outputs.unit_item_U)
        sides_B4 = np.array([[*target.size, *target.size] for target in targets], dtype=np.float64).reshape(-1, 4)
        pixels_U4 = boxes_U4 * sides_B4[item_U]
        whole_U = np.isfinite(pixels_U4).all(1) & np.isfinite(scores_U)
        first = self._images + 1  # 0 is no image and no object to COCO's code
        for unit in np.flatnonzero(whole_U):
            entry = _entry(pixels_U4[unit], labels_U[unit], first + item_U[unit], len(self._found) + 1)
            self._found.append(entry | {"score": float(scores_U[unit])})
        for image, target in enumerate(targets, first):
            boxes = zip(_numbers(target.pixels_G4), _numbers(target.class_G), _numbers(target.ignore_G), strict=True)
            for box, label, ignore in boxes:
                entry = _entry(box, label, image, len(self._truth) + 1)
                self._truth.append(entry | {"iscrowd": int(ignore)})
        self._images += len(targets)

    def compute(self) -> dict[str, float]:
        """All metrics over what was added; {} when that has no object to find."""
        if not any(not entry["iscrowd"] for entry in self._truth):
            return {}
        matches = _Matches.of(self._truth, self._found, len(self.classes), self._images)
        precision_TRC = matches.precision(_RECALLS)
        kept_C = (precision_TRC > -1).all((0, 1))
        ap_TC = precision_TRC.mean(1)
        all_points = [matches.all_points(int(c)) for c in np.flatnonzero(kept_C)]
        ap_T = ap_TC[:, kept_C].mean(1)
        drawn = matches.resampled()
        # draws repeat images and so come out a little high, the more the rarer a class: only their spread is taken
        low, high = (ap_T.mean() + np.quantile(drawn - drawn.mean(), LEVELS)).clip(0, 1)
        found = {"map": ap_T.mean(), "map50": ap_T[0], "map75": ap_T[5], "map_low": low, "map_high": high}
        found |= {"voc07": precision_TRC[0, ::10, kept_C].mean(), "voc": np.mean(all_points)}
        for c in np.flatnonzero(kept_C):
            found |= {f"map/{self.classes[c]}": ap_TC[:, c].mean(), f"map50/{self.classes[c]}": ap_TC[0, c]}
        return {name: float(value) for name, value in found.items()}


def _numbers(values: Tensor) -> np.ndarray:
    found = values.detach().cpu().numpy()
    return found.astype(np.float64) if found.dtype.kind == "f" else found


def _entry(corners: np.ndarray, label: int, image: int, own: int) -> dict[str, Any]:
    x1, y1, x2, y2 = corners.tolist()
    width, height = max(x2 - x1, 0.0), max(y2 - y1, 0.0)
    box = {"bbox": [x1, y1, width, height], "area": width * height}
    return {"id": own, "image_id": int(image), "category_id": int(label), "iscrowd": 0, **box}


@dataclass(frozen=True)
class _Matches:
    """Which detection found which object, image by image; made once, accumulated as often as needed.

    Args:
        evaluation: after its ``evaluate``.
        classes: C.
        images: how many.
        objects_C: objects to find of each class.
    """

    evaluation: COCOeval_faster
    classes: int
    images: int
    objects_C: np.ndarray

    @classmethod
    def of(cls, truth: list[dict[str, Any]], found: list[dict[str, Any]], classes: int, images: int) -> _Matches:
        from faster_coco_eval import COCO, COCOeval_faster

        head = {
            "images": [{"id": image} for image in range(1, images + 1)],
            "categories": [{"id": c, "name": str(c)} for c in range(classes)],
        }
        sides = [COCO({**head, "annotations": copy.deepcopy(entries)}) for entries in (truth, found)]
        evaluation = COCOeval_faster(*sides, iouType="bbox", print_function=_silent, separate_eval=True)
        evaluation.params.iouThrs = OVERLAPS
        evaluation.params.maxDets = [MOST]
        evaluation.params.areaRng, evaluation.params.areaRngLbl = _EVERY_AREA, ["all"]
        evaluation.evaluate()
        counted = [entry["category_id"] for entry in truth if not entry["iscrowd"]]
        return cls(evaluation, classes, images, np.bincount(counted, minlength=classes))

    @cached_property
    def _rows(self) -> np.ndarray:
        """(C, images): the matches of each class in each image, as COCO's code lists them."""
        rows = np.empty(self.classes * self.images, dtype=object)
        rows[:] = self.evaluation._evalImgs_cpp
        return rows.reshape(self.classes, self.images)

    def precision(self, recalls_R: np.ndarray, images: Any = slice(None), classes: Any = slice(None)) -> np.ndarray:
        """(T, R, C): highest precision at or above each recall; -1 for classes without an object.

        Args:
            recalls_R: ascending.
            images: positions of those that count, each as often as it counts; all once by default.
            classes: a slice of them; all by default.
        """
        rows = self._rows[classes][:, images]
        self.evaluation._evalImgs_cpp = rows.ravel().tolist()
        self.evaluation._paramsEval.recThrs = recalls_R
        self.evaluation._paramsEval.catIds = list(range(len(rows)))
        self.evaluation.accumulate()
        return np.asarray(self.evaluation.eval["precision"])[:, :, :, 0, 0]

    def all_points(self, c: int) -> float:
        """Area under the whole curve of a class at overlap 0.5: recall moves in steps of one object."""
        recalls = np.arange(1, self.objects_C[c] + 1) / self.objects_C[c]
        return float(self.precision(recalls, classes=slice(c, c + 1))[0].mean())

    def resampled(self) -> np.ndarray:
        """``map`` over images drawn with replacement, draw by draw; draws without any object are left out."""
        rng = generator(0, "bootstrap")
        values = []
        for _ in range(min(DRAWS, max(DRAWS // 4, ROWS // self._rows.size))):
            precision_TRC = self.precision(_RECALLS, rng.integers(self.images, size=self.images))
            kept_C = (precision_TRC > -1).all((0, 1))
            if kept_C.any():
                values.append(precision_TRC[:, :, kept_C].mean())
        return np.array(values)


def _silent(*words: Any) -> None:
    pass
