"""Numbers of detected objects: how well they fit what is there, how hard a class is, which say the same.

Dimension key: U detected objects, G annotated objects, C classes, D features, M images.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torchvision.ops import box_iou


def found_quality(boxes_U4: Tensor, probs_UC: Tensor, corners_G4: Tensor, class_G: Tensor, *, xi: float) -> Tensor:
    """How well each annotated object of an image was found, (G,) in [0, 1].

    ``q_g = max_j p_jc(g)^xi IoU(j, g)^(1 - xi)`` over the detections j; 0 where there are none.

    Args:
        boxes_U4: corners of the detections.
        probs_UC: class probabilities of each, further columns (a background) unread.
        corners_G4: of the objects.
        class_G: their classes.
        xi: share of the probability, in [0, 1].

    Cost:
        O(U G).

    Example:
        >>> here, there = torch.tensor([[0.0, 0.0, 2.0, 2.0]]), torch.tensor([[0.0, 0.0, 2.0, 1.0]])
        >>> found_quality(here, torch.tensor([[0.5]]), there, torch.tensor([0]), xi=0.5)
        tensor([0.5000])

    Reference:
        Yang, Huang, Crowley, "Plug and Play Active Learning for Object Detection", CVPR 2024, section 3.2.
    """
    if not len(boxes_U4) or not len(corners_G4):
        return boxes_U4.new_zeros(len(corners_G4), dtype=torch.float32)
    overlap_UG = box_iou(boxes_U4.float(), corners_G4.float())
    quality_UG = probs_UC.float()[:, class_G].clamp(0, 1) ** xi * overlap_UG ** (1 - xi)
    # what does not touch an object has not found it, also where xi is 1
    return torch.where(overlap_UG > 0, quality_UG, 0.0).amax(0)


def difficulty_weights(difficulty_C: Tensor, *, alpha: float, beta: float) -> Tensor:
    """Weight of each class, (C,) from 1 (easy) to 1 + beta (hard).

    ``w_c = 1 + alpha beta ln(1 + (e^(1 / alpha) - 1) d_c)``.

    Args:
        difficulty_C: in [0, 1].
        alpha: how soon the weight rises: small values set only the easiest classes apart; positive.
        beta: how much more a hard class counts; not negative.

    Example:
        >>> difficulty_weights(torch.tensor([0.0, 1.0]), alpha=0.3, beta=0.2)
        tensor([1.0000, 1.2000])

    Reference:
        Yang, Huang, Crowley, CVPR 2024, section 3.2.
    """
    return 1 + alpha * beta * torch.log1p(math.expm1(1 / alpha) * difficulty_C)
