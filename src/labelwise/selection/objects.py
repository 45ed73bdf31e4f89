"""Numbers of detected objects and points: how well they fit what is there, how hard a class is, which say the same.

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


def balance_weights(counts_C: Tensor) -> Tensor:
    """Weight of each class, (C,): the rarer among the labels, the larger; their mean over the labels is about one.

    ``w_c = (N + C) / (C (n_c + 1))`` with N labelled objects, n_c of class c.

    Example:
        >>> balance_weights(torch.tensor([7, 1]))
        tensor([0.6250, 2.5000])
    """
    counts = counts_C.double()
    return ((counts.sum() + len(counts)) / (len(counts) * (counts + 1))).float()


def distinct_objects(
    values_U: Tensor, class_U: Tensor, features_UD: Tensor, first_M: Tensor, *, alike: float
) -> Tensor:
    """Which objects say something that a more valuable one of their image and class has not said, (U,) bool.

    From the highest value down an object stays unless ``cos(f, f') > alike`` for one of its class that stayed.

    Args:
        values_U: higher stays; of equals the earlier.
        class_U: int64.
        features_UD: rows of any length.
        first_M: int64 (M + 1): image i has objects ``first_M[i]`` to ``first_M[i + 1]``.
        alike: cosine in [-1, 1] above which two objects count as one; 1 keeps all.

    Cost:
        O(G^2 D) for each image with G objects.

    Example:
        >>> rows = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]])
        >>> one = torch.zeros(3, dtype=torch.int64)
        >>> distinct_objects(torch.tensor([0.2, 0.9, 0.1]), one, rows, torch.tensor([0, 3]), alike=0.5)
        tensor([False,  True,  True])

    Reference:
        Wu, Chen, Huang, "Entropy-Based Active Learning for Object Detection With Progressive Diversity Constraint",
        CVPR 2022, section 3.3: entropy-based non-maximum suppression.
    """
    rows_UD = torch.nn.functional.normalize(features_UD.float(), dim=1)
    stays_U = torch.zeros(len(values_U), dtype=torch.bool)
    for start, stop in zip(first_M[:-1].tolist(), first_M[1:].tolist(), strict=True):
        here = slice(start, stop)
        rank = values_U[here].argsort(descending=True, stable=True)
        rows, classes = rows_UD[here][rank], class_U[here][rank]
        twins = ((rows @ rows.T > alike) & (classes[:, None] == classes)).cpu().numpy()
        stays: list[int] = []
        for place in range(stop - start):
            if not twins[place, stays].any():
                stays.append(place)
        stays_U[start + rank[stays].cpu()] = True
    return stays_U.to(values_U.device)


def consistency(
    boxes_U4: Tensor, probs_UC: Tensor, again_U4: Tensor, probs_again_UC: Tensor, *, exclusive: bool
) -> Tensor:
    """How well two looks at the same objects agree, (U,) in [0, 2].

    ``m = IoU(b, b') + (max_c p_c + max_c p'_c) / 2 (1 - JS(p, p'))``, the divergence in bits.

    Args:
        boxes_U4: corners at the first look.
        probs_UC: distributions at the first look; of exclusive heads the background is the last column, and not counted
            as a class in the maxima.
        again_U4: corners at the second look.
        probs_again_UC: distributions at the second look.
        exclusive: rows are distributions; else yes/no questions, and JS is that of the one that changed most.

    Cost:
        O(U C).

    Example:
        >>> box = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
        >>> consistency(box, torch.tensor([[0.8, 0.2]]), box, torch.tensor([[0.8, 0.2]]), exclusive=True)
        tensor([1.8000])

    Reference:
        Yu et al., "Consistency-based Active Learning for Object Detection", CVPR workshops 2022, equations 3 to 5.
    """
    return paired_overlap(boxes_U4, again_U4) + _sure_alike(probs_UC, probs_again_UC, exclusive=exclusive)


def paired_overlap(boxes_U4: Tensor, again_U4: Tensor) -> Tensor:
    """Intersection over union of each box with what became of it, (U,) float32 in [0, 1]; without area 0.

    Example:
        >>> paired_overlap(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([[0.0, 0.0, 1.0, 0.5]]))
        tensor([0.5000])
    """
    low_U2 = torch.maximum(boxes_U4[:, :2], again_U4[:, :2])
    high_U2 = torch.minimum(boxes_U4[:, 2:], again_U4[:, 2:])
    shared_U = (high_U2 - low_U2).clamp_min(0).prod(1)
    areas = [(part[:, 2:] - part[:, :2]).clamp_min(0).prod(1) for part in (boxes_U4, again_U4)]
    overlap_U: Tensor = shared_U / (areas[0] + areas[1] - shared_U).clamp_min(1e-12)
    return overlap_U.float()


def point_consistency(probs_UC: Tensor, probs_again_UC: Tensor) -> Tensor:
    """As :func:`consistency` for key points, whose peaks stay where they are at the second look, (U,) in [0, 2].

    ``m = sum_c min(p_c, p'_c) + (max_c p_c + max_c p'_c) / 2 (1 - JS(p, p'))``: what both looks have in the same peaks
    stands for the overlap of boxes.

    Args:
        probs_UC: masses of the peaks at the first look, elsewhere last.
        probs_again_UC: those of the same peaks at the second look.

    Example:
        >>> point_consistency(torch.tensor([[0.8, 0.2]]), torch.tensor([[0.8, 0.2]]))
        tensor([1.8000])
    """
    shared_U = torch.minimum(probs_UC.float(), probs_again_UC.float()).sum(1)
    return shared_U + _sure_alike(probs_UC, probs_again_UC, exclusive=True)


def _sure_alike(probs_UC: Tensor, probs_again_UC: Tensor, *, exclusive: bool) -> Tensor:
    """How sure both looks are, as far as they say the same."""
    p_UC, q_UC = probs_UC.float(), probs_again_UC.float()
    found = (p_UC[:, :-1], q_UC[:, :-1]) if exclusive else (p_UC, q_UC)
    sure_U = (found[0].amax(1) + found[1].amax(1)) / 2
    if exclusive:
        apart_U = _divergence(p_UC, q_UC).sum(1)
    else:
        apart_U = (_divergence(p_UC, q_UC) + _divergence(1 - p_UC, 1 - q_UC)).amax(1)
    return sure_U * (1 - apart_U.clamp(0, 1))


def _divergence(p: Tensor, q: Tensor) -> Tensor:
    """Terms of the Jensen-Shannon divergence, in bits."""
    terms: Tensor = torch.special.entr((p + q) / 2) - (torch.special.entr(p) + torch.special.entr(q)) / 2
    return terms / math.log(2)
