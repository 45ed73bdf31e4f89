"""How good a segmentation is: one table of true against predicted classes over all pixels of the set.

Shape letters: C classes, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from labelwise.contracts.chance import Chance
from labelwise.contracts.record import IGNORE
from labelwise.contracts.targets import Mask
from labelwise.contracts.task import Metrics, Outputs


class SegmentationMetrics(Metrics):
    """Mean intersection over union, pixel accuracy, and the intersection over union of each class.

    ``iou/NAME`` = pixels that truth and prediction both give to a class, divided by those that either gives to it,
    counted over all images together. ``miou`` is the mean over the classes that occur in truth or prediction; a class
    that occurs in neither says nothing and is left out. ``pixel_accuracy`` is the share of pixels that are right.
    Pixels without a class in the truth are left out of everything.

    Probabilities are enlarged bilinearly to the size of each mask before the most likely class is taken, so that the
    resolution of the model's input is part of what is measured.

    Args:
        classes: names, in index order.
        size: height and width of the model's input.

    Cost:
        C + 1 numbers a class, and the probabilities of one image at the size of its mask.

    Example:
        >>> probs_UC = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4]])
        >>> truth = Mask(torch.tensor([[0, 0], [1, 1]], dtype=torch.uint8), size=(2, 2))
        >>> metrics = SegmentationMetrics(("road", "sky"), (2, 2))
        >>> metrics.update(Outputs(1, torch.zeros(4, dtype=torch.int64), probs_UC), [truth])
        >>> {name: round(value, 3) for name, value in metrics.compute().items()}
        {'miou': 0.583, 'pixel_accuracy': 0.75, 'iou/road': 0.667, 'iou/sky': 0.5}
    """

    primary = "miou"

    def __init__(self, classes: Sequence[str], size: tuple[int, int]) -> None:
        self.classes = tuple(classes)
        self.size = size
        # the last column holds pixels of which the model said nothing finite: missed, and found nowhere else
        self._counts = torch.zeros(len(self.classes), len(self.classes) + 1, dtype=torch.int64)

    def update(self, outputs: Outputs, targets: Sequence[Mask]) -> None:
        """Adds a batch.

        Args:
            outputs: of every pixel of the model's input, image by image; or of one image, of every pixel of a grid
                whose height and width stand in ``extra`` as ``sides``.
            targets: one mask for each image, of any size.
        """
        count = len(self.classes)
        height, width = map(int, outputs.extra.get("sides", self.size))
        probs_BCHW = outputs.probs_UC.view(outputs.size, height, width, count).permute(0, 3, 1, 2)
        for probs_CHW, target in zip(probs_BCHW, targets, strict=True):
            truth_HW = target.whole().to(probs_CHW.device)
            said_HW = _classes_at(probs_CHW, (truth_HW.shape[0], truth_HW.shape[1]))
            known_HW = truth_HW != IGNORE
            cell = truth_HW[known_HW].long() * (count + 1) + said_HW[known_HW]
            self._counts += cell.bincount(minlength=count * (count + 1)).view(count, count + 1).cpu()

    def compute(self) -> dict[str, float]:
        """All metrics over what was added; {} when that has no pixel with a class."""
        counts = self._counts.double()
        if not counts.sum():
            return {}
        hit_C = counts.diagonal()
        either_C = counts.sum(1) + counts.sum(0)[:-1] - hit_C
        there = either_C > 0
        iou_C = hit_C[there] / either_C[there]
        names = [name for name, yes in zip(self.classes, there.tolist(), strict=True) if yes]
        found = {"miou": float(iou_C.mean()), "pixel_accuracy": float(hit_C.sum() / counts.sum())}
        return found | {f"iou/{name}": value for name, value in zip(names, iou_C.tolist(), strict=True)}


def one_class_everywhere(classes: Sequence[str], targets: Iterable[Mask]) -> Chance | None:
    """The mean intersection over union of the commonest class for every pixel: its share, over the classes that occur.

    None where no pixel has a class.
    """
    pixels_C = torch.zeros(len(classes), dtype=torch.int64)
    for target in targets:
        pixels_C += target.classes_HW.flatten().bincount(minlength=IGNORE + 1)[: len(classes)].cpu()
    if not pixels_C.any():
        return None
    most = int(pixels_C.argmax())
    share = float(pixels_C[most] / pixels_C.sum())
    return Chance(share / int((pixels_C > 0).sum()), f"calling every pixel {classes[most]!r}")


def _classes_at(probs_CHW: Tensor, size: tuple[int, int]) -> Tensor:
    """(h, w) int64: the most likely class of each pixel at another size; C where that is not a number."""
    if probs_CHW.shape[-2:] != size:
        probs_CHW = F.interpolate(probs_CHW[None].float(), size=size, mode="bilinear", align_corners=False)[0]
    best_HW, class_HW = probs_CHW.max(0)
    return torch.where(torch.isfinite(best_HW), class_HW, len(probs_CHW))
