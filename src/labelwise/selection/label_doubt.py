"""How doubtful labels are, by what a model says of them that has not learnt from them.

Dimension key: N labelled images, C classes, A annotators, G labelled boxes, P predicted boxes, U pixels.

Doubts are in [0, 1]: higher = more likely wrong. All of this wants *out-of-sample* predictions, as cross-validation
gives them: a model believes the labels that it was trained on, wrong ones too.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.ops import box_iou

from labelwise.errors import DataError
from labelwise.selection.arrays import ArrayLike, as_matrix, as_tensor

# Sharpness of soft maxima: what the most doubtful box or pixel weighs against the others.
_SOFT = 0.1
# Scores from which a predicted box is evidence that a box was overlooked or has another class, and that one lies badly.
_SURE, _LIKELY = 0.5, 0.3


class ClassDoubts(NamedTuple):
    """Doubts about one class an image."""

    score_N: Tensor
    """(N,) float64 in [0, 1]."""
    suspect_N: Tensor
    """(N,) bool: contradicted firmly enough to be worth a second look."""


def class_doubts(probs_NC: ArrayLike, labels_N: ArrayLike) -> ClassDoubts:
    """Labels that a model contradicts more firmly than it is used to.

    ``t_c = mean of p_ic over the images labelled c``: how sure the model mostly is of a class where people say so. An
    image is suspect where some class reaches its own ``t_c`` and the likeliest of those is not its label.
    ``score_i = 1 - p_iy``: how little the model thinks of the label.

    Args:
        probs_NC: out-of-sample class probabilities.
        labels_N: class index of each image.

    Raises:
        DataError: arrays of different lengths, labels that are no class, probabilities that are not finite.

    Cost: O(N C).

    Example:
        >>> found = class_doubts([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.9, 0.1]], [0, 0, 1, 1])
        >>> found.suspect_N.tolist(), [round(s, 2) for s in found.score_N.tolist()]
        ([False, False, False, True], [0.1, 0.2, 0.1, 0.9])

    Reference:
        Northcutt, Jiang and Chuang, Confident Learning: Estimating Uncertainty in Dataset Labels, JAIR 2021: the
        off-diagonal of the confident joint, and self-confidence. Measured with a linear probe, labels ranked by it hold
        more wrong ones than by the margin to the likeliest other class, and than with suspects before all others.
    """
    probs, labels = _checked(probs_NC, labels_N)
    rows = torch.arange(len(labels))
    given_N = probs[rows, labels]
    count_C = labels.bincount(minlength=probs.shape[1])
    threshold_C = torch.zeros(probs.shape[1], dtype=torch.float64).index_add_(0, labels, given_N) / count_C
    # a class without any label has no threshold, and nothing reaches it; rounding does not keep a class from its own
    reached_NC = probs >= threshold_C.nan_to_num(torch.inf) - 1e-12
    best_N = probs.masked_fill(~reached_NC, -1.0).amax(1)
    # of equally likely classes the label is one of the likeliest, whatever their order
    suspect_N = reached_NC.any(1) & ~(reached_NC[rows, labels] & (given_N >= best_N))
    return ClassDoubts(1 - given_N, suspect_N)


def crowd_doubts(probs_NC: ArrayLike, labels_N: ArrayLike, said_NA: ArrayLike) -> ClassDoubts:
    """Labels of several annotators, each trusted as far as it agrees with the others, beside a model.

    ``doubt_i = 1 - (w_M p_i(y_i) + w / C + sum over a who said something of w_a q_ia(y_i)) / (w_M + w + sum of w_a)``:
    ``q_ia(y)`` is P where annotator a said y and (1 - P) / (C - 1) where a said another class, P how often annotators
    agree with the label that counts; ``w_a`` and ``w_M`` say how much better annotator a and the model are than naming
    the commonest class (by agreement of a with others, and of the model with the label that counts, both where at least
    two people have spoken); ``w``, the mean of the w_a, stands for one annotator more who knows nothing, so that a
    label of one person is more doubtful than the same label of three. ``w_M`` counts as many times as the root of the
    mean number of labels of an image.

    Args:
        probs_NC: out-of-sample class probabilities.
        labels_N: class index that counts now.
        said_NA: class index that each annotator said, -1 where nothing.

    Returns:
        Doubts; suspect are those above one half.

    Raises:
        DataError: as for ``class_doubts``; nobody has spoken of an image.

    Cost: O(N (A + C)).

    Reference:
        Goh and Mueller, ActiveLab: Active Learning with Re-Labeling by Multiple Annotators, 2023 (arXiv 2301.11856),
        after CROWDLAB (Goh, Tkachenko and Mueller, 2022). Ours leaves the temperature of the probabilities alone.
    """
    probs, labels = _checked(probs_NC, labels_N)
    said = as_tensor(said_NA).to(torch.int64)
    if said.ndim != 2 or len(said) != len(labels) or bool((said >= probs.shape[1]).any()):
        raise DataError("what annotators said must be (N, A) class indices, -1 for nothing")
    spoke_NA, classes = said >= 0, probs.shape[1]
    if not bool(spoke_NA.any(1).all()):
        raise DataError("an image has a label that no annotator gave: give each label with who said it")
    agrees_NA = spoke_NA & (said == labels[:, None])
    several_N = spoke_NA.sum(1) > 1
    commonest = float(labels.bincount().max()) / max(1, len(labels))
    several = several_N if bool(several_N.any()) else torch.ones_like(several_N)
    agreement = float(agrees_NA[several].sum() / spoke_NA[several].sum())
    each_A = [_above(_agreement(said, who), commonest) for who in range(said.shape[1])]
    weight_A = torch.tensor(each_A, dtype=torch.float64)
    model = float((probs.argmax(1) == labels)[several].double().mean())
    each = float(spoke_NA.sum(1).double().mean())
    weight_M = _above(model, commonest) * each**0.5
    right, wrong = agreement, (1 - agreement) / max(1, classes - 1)
    trust_N = (spoke_NA * weight_A * (wrong + (right - wrong) * agrees_NA.double())).sum(1)
    usual = float(weight_A.mean())
    total_N = weight_M + usual + (spoke_NA * weight_A).sum(1)
    given_N = probs[torch.arange(len(labels)), labels]
    score_N = 1 - (weight_M * given_N + usual / classes + trust_N) / total_N.clamp_min(1e-12)
    return ClassDoubts(score_N.clamp(0, 1), score_N > 0.5)


def _agreement(said_NA: Tensor, who: int) -> float:
    """How often one annotator says what others said of the same image; of one who shares none with others 1/2."""
    others_NA = said_NA.clone()
    others_NA[:, who] = -1
    both_NA = (said_NA[:, who : who + 1] >= 0) & (others_NA >= 0)
    if not bool(both_NA.any()):
        return 0.5
    return float((both_NA & (others_NA == said_NA[:, who : who + 1])).sum() / both_NA.sum())


def _above(accuracy: float, commonest: float) -> float:
    """How much of the errors of naming the commonest class are saved, never quite nothing."""
    return max(1 - (1 - accuracy) / max(1 - commonest, 1e-6), 1e-3)


def _checked(probs_NC: ArrayLike, labels_N: ArrayLike) -> tuple[Tensor, Tensor]:
    probs, labels = as_matrix(probs_NC, "probabilities").double().cpu(), as_tensor(labels_N).to(torch.int64).cpu()
    if labels.shape != (len(probs),):
        raise DataError(f"got {len(probs)} rows of probabilities and {tuple(labels.shape)} labels: give one for each")
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < probs.shape[1]:
        raise DataError(f"labels reach from {int(labels.min())} to {int(labels.max())}: give 0 to {probs.shape[1] - 1}")
    if not bool(torch.isfinite(probs).all()):
        raise DataError("probabilities hold NaN or infinity: did the training diverge?")
    return probs, labels


class BoxDoubts(NamedTuple):
    """Doubts about the boxes of one image, in [0, 1]."""

    overlooked: float
    """An object that the model is sure of has no box."""
    misplaced: float
    """A box lies otherwise than the model would draw it."""
    swapped: float
    """A box has another class than the model is sure of."""

    @property
    def score(self) -> float:
        """All three together: 1 - the product of what each leaves."""
        return 1 - (1 - self.overlooked) * (1 - self.misplaced) * (1 - self.swapped)


def box_doubts(
    given_G4: ArrayLike, class_G: ArrayLike, boxes_P4: ArrayLike, said_P: ArrayLike, scores_P: ArrayLike
) -> BoxDoubts:
    """What out-of-sample predictions say against the boxes of an image.

    With the overlap o of two boxes (intersection over union), of each predicted box b with score s_b and of each box g:

    - overlooked: ``s_b (1 - max o(b, g))`` over the predicted boxes with s_b >= 0.5, whatever the class of g;
    - misplaced: ``1 - max o(g, b)`` over predicted boxes of g's class that touch g, with s_b >= 0.3; 0 without one;
    - swapped: ``max s_b o(g, b)`` over predicted boxes of other classes with s_b >= 0.5, less the same of g's class.

    Those of the boxes of an image are pooled by a soft maximum: ``sum_i d_i e^(d_i / 0.1) / sum_i e^(d_i / 0.1)``.

    Args:
        given_G4: corners of the labelled boxes, in any unit.
        class_G: their classes.
        boxes_P4: corners of predicted boxes, in the same unit.
        said_P: their classes.
        scores_P: their scores in [0, 1].

    Cost: O(G P).

    Example:
        >>> found = box_doubts([[0, 0, 2, 2]], [0], [[0, 0, 2, 2], [5, 5, 8, 8]], [0, 0], [0.9, 0.8])
        >>> [round(value, 2) for value in found]
        [0.8, 0.0, 0.0]

    Reference:
        Tkachenko, Thyagarajan and Mueller, ObjectLab: Automated Diagnosis of Mislabeled Images in Object Detection
        Data, 2023 (arXiv 2309.00832): the three kinds and their pooling. Similarity there has the distance of boxes
        beside their overlap, and thresholds are those of a well-trained detector; ours are lower, for few labels.
    """
    given, boxes = (as_tensor(one).double().reshape(-1, 4) for one in (given_G4, boxes_P4))
    of_given, said = (as_tensor(one).to(torch.int64).reshape(-1) for one in (class_G, said_P))
    scores = as_tensor(scores_P).double().reshape(-1)
    overlap_GP = box_iou(given, boxes) if len(given) and len(boxes) else torch.zeros(len(given), len(boxes)).double()
    best_P = overlap_GP.amax(0) if len(given) else torch.zeros(len(boxes)).double()
    sure_P = scores >= _SURE
    own_GP = of_given[:, None] == said[None]
    near_GP = torch.where(own_GP & (scores >= _LIKELY) & (overlap_GP > 0), overlap_GP, 0.0)
    best_G = near_GP.amax(1) if len(boxes) else torch.zeros(len(given)).double()
    held_GP = torch.where(sure_P, scores * overlap_GP, 0.0)
    other_G = torch.where(own_GP, 0.0, held_GP).amax(1) if len(boxes) else torch.zeros_like(best_G)
    same_G = torch.where(own_GP, scores * overlap_GP, 0.0).amax(1) if len(boxes) else torch.zeros_like(best_G)
    return BoxDoubts(
        soft_maximum(scores[sure_P] * (1 - best_P[sure_P])),
        soft_maximum(torch.where(best_G > 0, 1 - best_G, 0.0)),
        soft_maximum((other_G - same_G).clamp_min(0)),
    )


def soft_maximum(values: Tensor, sharpness: float = _SOFT) -> float:
    """The mean of some values, each weighed by e to the power of itself over the sharpness; 0 of none.

    Example:
        >>> round(soft_maximum(torch.tensor([0.0, 0.0, 1.0])), 3)
        1.0
    """
    return float((values * (values.double() / sharpness).softmax(0)).sum()) if len(values) else 0.0


def pixel_doubt(given_U: ArrayLike) -> float:
    """The doubt about a mask: a soft maximum over pixels of 1 - the probability of the class that the label says.

    Args:
        given_U: out-of-sample probability, at each pixel that has a class, of that class.

    Cost: O(U).

    Example:
        >>> round(pixel_doubt([0.9, 0.9, 0.9, 0.1]), 2) > round(pixel_doubt([0.7, 0.7, 0.7, 0.7]), 2)
        True

    Reference:
        Lad and Mueller, Estimating Label Quality and Errors in Semantic Segmentation Data via Any Model, 2023
        (arXiv 2307.05080): the softmin of pixel confidences.
    """
    return soft_maximum(1 - as_tensor(given_U).double().flatten())


def far_above(scores_N: ArrayLike) -> Tensor:
    """(N,) bool: scores above the third quartile by more than one and a half times what lies between the quartiles.

    Where nothing says which score is a wrong label, these stand out.

    Example:
        >>> far_above([0.1, 0.12, 0.11, 0.13, 0.1, 0.9]).tolist()
        [False, False, False, False, False, True]

    Reference:
        Tukey, Exploratory Data Analysis, 1977.
    """
    scores = as_tensor(scores_N).double()
    if not len(scores):
        return torch.zeros(0, dtype=torch.bool)
    low, high = (float(torch.quantile(scores, share)) for share in (0.25, 0.75))
    return scores > high + 1.5 * (high - low)
