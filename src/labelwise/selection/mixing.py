"""Items whose predicted class flips when a little of a labelled class is mixed in: ALFA-Mix, in closed form.

Dimension key: N items of the pool, M candidates, B items of a block, L labelled, A anchors, C classes, D features, K
picks.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from labelwise.errors import ConfigError, DataError
from labelwise.selection.arrays import (
    ArrayLike,
    as_matrix,
    as_positions,
    as_tensor,
    blocks,
    check_budget,
    free_candidates,
)
from labelwise.selection.clustering import kmeans_picks
from labelwise.selection.progress import report
from labelwise.selection.ranking import take_top
from labelwise.selection.space import tile

# The score of an item that no step flips: below all others, and finite.
_NEVER = torch.finfo(torch.float32).max


def class_means(features_ND: ArrayLike, labelled_L: ArrayLike, labels_L: ArrayLike) -> Tensor:
    """Mean features of the labelled items of each class that has any: the anchors.

    Args:
        features_ND: one row per item.
        labelled_L: labelled positions, at least one.
        labels_L: class index of each.

    Returns:
        (A, D) float32, classes ascending.

    Raises:
        DataError: no labelled item, lengths that differ, positions out of range or twice.

    Cost:
        O(L D).

    Example:
        >>> class_means([[1.0], [3.0], [9.0]], [0, 1, 2], [4, 4, 7]).tolist()
        [[2.0], [9.0]]
    """
    rows_ND = as_matrix(features_ND)
    labelled = as_positions(labelled_L, len(rows_ND), "labelled", device=rows_ND.device)
    labels = as_tensor(labels_L).to(rows_ND.device)
    if len(labels) != len(labelled) or not len(labelled):
        raise DataError(
            f"got {len(labelled)} labelled positions and {len(labels)} labels; needed is one each, at least one"
        )
    present, anchor_L = torch.unique(labels, return_inverse=True)
    count_A = torch.bincount(anchor_L)
    total_AD = torch.zeros(len(present), rows_ND.shape[1], dtype=torch.float64, device=rows_ND.device)
    total_AD.index_add_(0, anchor_L, rows_ND[labelled].double())
    return (total_AD / count_A[:, None]).float()


def flip_sizes(features_ND: ArrayLike, weight_CD: ArrayLike, bias_C: ArrayLike, anchors_AD: ArrayLike) -> Tensor:
    """Smallest mixing bound at which some anchor changes the predicted class of each item.

    The mixture ``a * z_anchor + (1 - a) * z`` with a bounded by ``eps`` raises the loss of the predicted class most, to
    first order, with ``a = eps |z_anchor - z| g / |g| / (z_anchor - z)`` entry by entry, g the gradient of the loss by
    z. That is the point ``z + eps |z_anchor - z| g / |g|``: a step along g whose length only depends on how far the
    anchor is. Logits are linear along it, so the class flips at ``min_c (f_y - f_c) / (s_c - s_y)`` over the classes
    that gain on y, ``s = W g / |g|``; the farthest anchor gets there first, and ``eps`` is that length by its distance.

    Args:
        features_ND: embeddings, one row per item.
        weight_CD: of the linear layer between embedding and logits; one row is a yes/no question.
        bias_C: of that layer.
        anchors_AD: embeddings to mix with, at least one.

    Returns:
        (N,) float32, above or at zero; infinite where no step flips the class.

    Raises:
        DataError: shapes that do not fit, rows that are not finite.

    Cost:
        2 N D (C + A) operations, and 2 N C D for the gradients.

    Example:
        >>> flip_sizes([[2.0, 0.0]], [[1.0, 0.0], [0.0, 0.0]], [0.0, 0.0], [[2.0, 4.0]])
        tensor([0.5000])

    Reference:
        Parvaneh, Abbasnejad, Teney, Haffari, van den Hengel, Shi, Active Learning by Feature Mixing, CVPR 2022,
        equations 3 to 6. Where anchor and item agree in an entry the paper's a is undefined, and nothing moves in its
        code; here it moves with the others.
    """
    rows_ND = as_matrix(features_ND)
    weight, anchors = as_matrix(weight_CD, "weights").float(), as_matrix(anchors_AD, "anchors").float()
    bias = as_tensor(bias_C).float()
    if not (
        weight.shape[1] == anchors.shape[1] == rows_ND.shape[1] and bias.shape == weight.shape[:1] and len(anchors)
    ):
        raise DataError(
            f"features have shape {tuple(rows_ND.shape)}, weights {tuple(weight.shape)}, bias {tuple(bias.shape)}, "
            f"anchors {tuple(anchors.shape)}; needed are (N, D), (C, D), (C,), (A, D) with at least one anchor"
        )
    if len(weight) == 1:
        weight, bias = torch.cat([-weight / 2, weight / 2]), torch.cat([-bias / 2, bias / 2])
    weight, bias, anchors = (part.to(rows_ND.device) for part in (weight, bias, anchors))
    found_N = torch.empty(len(rows_ND), device=rows_ND.device)
    centre = anchors.mean(0)  # less to cancel where all features are large
    for part, block_BD in blocks(rows_ND, tile(rows_ND)[0]):
        reach_B = torch.cdist(block_BD - centre, anchors - centre).amax(1)
        found_N[part] = torch.where(reach_B == 0, torch.inf, _flip_lengths(block_BD, weight, bias) / reach_B)
        report("mixing", part.stop, len(rows_ND))
    bad = torch.nonzero(torch.isnan(found_N)).flatten()
    if len(bad):
        raise DataError(
            f"{len(bad)} feature rows or anchors hold NaN or infinity (first positions: {bad[:5].tolist()})"
        )
    return found_N


def _flip_lengths(block_BD: Tensor, weight_CD: Tensor, bias_C: Tensor) -> Tensor:
    """(B,): how far along the direction of steepest loss the predicted class stays; not finite rows give NaN."""
    logits_BC = torch.addmm(bias_C, block_BD, weight_CD.T)
    answer_B1 = logits_BC.argmax(1, keepdim=True)
    # p - onehot without the cancellation of 1 - p: only its direction counts, so the rest may be as small as it likes
    rest_BC = logits_BC.scatter(1, answer_B1, -torch.inf).softmax(1)
    rest_BC = rest_BC.scatter(1, answer_B1, -1.0)
    step_BD = torch.nn.functional.normalize(rest_BC @ weight_CD, dim=1, eps=1e-30)
    slope_BC = step_BD @ weight_CD.T
    lead_BC = logits_BC.gather(1, answer_B1) - logits_BC
    gain_BC = slope_BC - slope_BC.gather(1, answer_B1)
    length_BC = torch.where(gain_BC > 0, lead_BC / gain_BC, torch.inf).scatter(1, answer_B1, torch.inf)
    return torch.where(torch.isfinite(logits_BC).all(1), length_BC.amin(1), torch.nan)


def spread_flips(
    features_ND: ArrayLike,
    size_N: ArrayLike,
    k: int,
    *,
    candidates_M: ArrayLike | None = None,
    bound: float = 0.2,
    normalise: bool = True,
    rng: np.random.Generator,
) -> tuple[Tensor, int]:
    """Picks spread over the candidates that a small mixture with some class moves to another class.

    An item counts if ``flip_sizes < eps``, ``eps = bound / sqrt(D)``. Of those, the nearest to each of k centroids
    (k-means) are picked. If they are fewer than k, all of them are, and then those that flip next, as if ``eps`` grew.

    Args:
        features_ND: embeddings, one row per item.
        size_N: what ``flip_sizes`` found for them.
        k: number of picks, at most the number of candidates.
        candidates_M: positions that may be picked; all by default.
        bound: size of the mixture, above zero.
        normalise: cluster rows of unit length.
        rng: of k-means, and order of equals.

    Returns:
        positions (k,) int64, and how many of them, the last ones, do not flip within the bound.

    Raises:
        ConfigError: more picks than candidates, a bound that is not above zero.
        DataError: lengths that differ, positions out of range or twice.

    Cost:
        k-means on the items that flip, with a float32 copy of their rows.

    Example:
        >>> rows, rng = [[0.1, 0.0], [5.0, 0.0], [0.2, 9.0]], np.random.default_rng(0)
        >>> sizes = flip_sizes(rows, [[1.0, 0.0], [-1.0, 0.0]], [0.0, 0.0], [[3.0, 0.0]])
        >>> spread_flips(rows, sizes, 2, rng=rng)[0].sort().values
        tensor([0, 2])

    Reference:
        Parvaneh et al., Active Learning by Feature Mixing, CVPR 2022, algorithm 1, ``eps = 0.2 / sqrt(D)``. The paper
        fills up at random.
    """
    if not (bound > 0 and math.isfinite(bound)):
        raise ConfigError(f"bound is {bound}; allowed is a finite number above 0")
    rows_ND, sizes = as_matrix(features_ND), as_tensor(size_N)
    if sizes.shape != rows_ND.shape[:1]:
        raise DataError(
            f"got {len(rows_ND)} feature rows and sizes of shape {tuple(sizes.shape)}; needed is one per item"
        )
    nobody = torch.empty(0, dtype=torch.int64, device=rows_ND.device)
    candidates = free_candidates(candidates_M, nobody, len(rows_ND))
    check_budget(k, len(candidates))
    size_M = sizes[candidates]
    flips_M = size_M < bound / math.sqrt(rows_ND.shape[1])
    count = int(flips_M.sum())
    if count <= k:
        return candidates[take_top(-size_M.clamp_max(_NEVER), k, rng=rng)], k - count
    flipping = candidates[flips_M]
    rows_FD = torch.index_select(rows_ND, 0, flipping).float()
    if normalise:
        rows_FD = torch.nn.functional.normalize(rows_FD, dim=1)
    return flipping[kmeans_picks(rows_FD, k, rng=rng)], 0
