"""Images compared object by object: category-conditioned matching, and picks that cover images under that distance.

Dimension key: M images, U objects of all of them, G objects of one image, D features, K picks, P members of a cluster.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from labelwise.errors import DataError
from labelwise.selection.arrays import ArrayLike, as_matrix, as_tensor, check_budget

# Farther than any two objects of one class can be: 1 - cos is at most 2.
_FARTHEST = 2.0


@dataclass(frozen=True)
class Objects:
    """The detected objects of M images, image by image.

    Args:
        features_UD: unit rows, float32.
        class_U: int64.
        weight_U: how sure each detection is, not negative.
        first_M: int64 (M + 1): image i has objects ``first_M[i]`` to ``first_M[i + 1]``; perhaps none.
    """

    features_UD: Tensor
    class_U: Tensor
    weight_U: Tensor
    first_M: Tensor

    @classmethod
    def of(cls, features_UD: ArrayLike, class_U: ArrayLike, weight_U: ArrayLike, first_M: ArrayLike) -> Objects:
        """Objects from ragged rows; features of any length and float type.

        Raises:
            DataError: lengths differ, features or weights that are not finite, a negative weight.
        """
        rows_UD = as_matrix(features_UD, "object features").float()
        class_of, weight, first = as_tensor(class_U).long(), as_tensor(weight_U).float(), as_tensor(first_M).long()
        ends = [int(first[0]), int(first[-1])] if len(first) else []
        if (
            not len(rows_UD) == len(class_of) == len(weight)
            or ends != [0, len(rows_UD)]
            or bool((first.diff() < 0).any())
        ):
            raise DataError(
                f"got {len(rows_UD)} object features, {len(class_of)} classes, {len(weight)} weights and offsets "
                f"{ends}; needed is one of each for every object, and offsets that rise from 0 to their number"
            )
        if not bool(torch.isfinite(rows_UD).all() & torch.isfinite(weight).all()) or bool((weight < 0).any()):
            raise DataError("object features or weights are not finite, or a weight is negative: check the detector")
        lengths = torch.linalg.vector_norm(rows_UD, dim=1, keepdim=True)
        return cls(rows_UD / lengths.clamp_min(torch.finfo(torch.float32).tiny), class_of, weight, first)

    def __len__(self) -> int:
        return len(self.first_M) - 1

    @property
    def image_U(self) -> Tensor:
        """(U,) int64: the image each object belongs to."""
        return torch.repeat_interleave(torch.arange(len(self), device=self.first_M.device), self.first_M.diff())

    def take(self, images: Tensor) -> Objects:
        """The objects of some images, in this order."""
        count = self.first_M.diff()[images]
        first = torch.cat([count.new_zeros(1), count.cumsum(0)])
        start = torch.repeat_interleave(self.first_M[images] - first[:-1], count)
        rows = torch.arange(int(first[-1]), device=first.device) + start
        return Objects(self.features_UD[rows], self.class_U[rows], self.weight_U[rows], first)


def matching_distances(objects: Objects, image: int) -> Tensor:
    """Distance of one image to all, (M,) float32 in [0, 2]; 0 to itself.

    ``d(a -> b) = sum_i w_i min_{j in b, c_j = c_i} (1 - cos(f_i, f_j)) / sum_i w_i`` over the objects i of a, where an
    object whose class b has not counts 2; ``d(a, b)`` is the mean of both directions.

    Args:
        objects: those of all images.
        image: which one.

    Returns:
        (M,) float32. Two images without objects are alike (0); one without and one with are as far as can be (2).

    Cost:
        2 G U D operations, memory 5 bytes for each of G U pairs.

    Example:
        >>> two = Objects.of([[1.0, 0.0], [0.0, 1.0]], [0, 0], [0.9, 0.9], [0, 1, 2])
        >>> matching_distances(two, 0)
        tensor([0., 1.])

    Reference:
        Yang, Huang, Crowley, Plug and Play Active Learning for Object Detection, CVPR 2024 (arXiv 2211.11612), section
        3.3. What an image without objects is compared to is left open there.
    """
    mine = slice(int(objects.first_M[image]), int(objects.first_M[image + 1]))
    weight_G, weight_U, image_U = objects.weight_U[mine], objects.weight_U, objects.image_U
    away_GU = (1 - objects.features_UD[mine] @ objects.features_UD.T).clamp_(0, _FARTHEST)
    away_GU.masked_fill_(objects.class_U[mine, None] != objects.class_U, _FARTHEST)
    count_M, far_M = objects.first_M.diff(), away_GU.new_full((len(objects),), _FARTHEST)
    if not len(weight_G):
        return far_M.masked_fill(count_M == 0, 0.0)
    nearest_GM = away_GU.new_full((len(weight_G), len(objects)), _FARTHEST)
    nearest_GM.scatter_reduce_(1, image_U.expand(len(weight_G), -1), away_GU, "amin")
    there_M = _weighted_mean(nearest_GM, weight_G)
    sum_M = torch.zeros_like(far_M).index_add_(0, image_U, weight_U * away_GU.amin(0))
    total_M = torch.zeros_like(far_M).index_add_(0, image_U, weight_U)
    back_M = torch.where(total_M > 0, sum_M / total_M.clamp_min(torch.finfo(torch.float32).tiny), far_M)
    found_M = torch.where(count_M > 0, (there_M + back_M) / 2, far_M)
    found_M[image] = 0.0
    return found_M


def matching_picks(objects: Objects, k: int, *, rng: np.random.Generator, iterations: int = 100) -> Tensor:
    """Picks images that stand for all under the matching distance: k-medoids, begun at greedily farthest images.

    ``minimise sum_b min_{a in picks} d(a, b)``: the start takes the farthest image again and again; then each image
    goes to its nearest pick, and the pick moves to the member with the smallest sum of distances to the others, until
    no pick moves.

    Args:
        objects: those of the images to choose from.
        k: number of picks, at most M.
        rng: draws the first image, and orders equal distances.
        iterations: at most so many moves.

    Returns:
        (k,) int64 positions among the images, distinct, in the order of the start.

    Raises:
        ConfigError: more picks than images.

    Cost:
        2 K G U D operations for the start and as much for each iteration in which every pick moved; memory 4 bytes
        times K M; never M x M.

    Example:
        >>> rows = [[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]]
        >>> four = Objects.of(rows, [0] * 4, [1.0] * 4, [0, 1, 2, 3, 4])
        >>> sorted(p // 2 for p in matching_picks(four, 2, rng=np.random.default_rng(0)).tolist())
        [0, 1]

    Reference:
        Yang, Huang, Crowley, CVPR 2024, section 3.3 and the k-medoids of its published experiments.
    """
    check_budget(k, len(objects), "images")
    device = objects.first_M.device
    order_M = torch.from_numpy(rng.permutation(len(objects))).to(device)
    # in a drawn order, so that equal distances are not decided by position
    drawn = objects.take(order_M)
    picks = _farthest_first(drawn, k)
    away_KM = {pick: matching_distances(drawn, pick) for pick in picks}
    for _ in range(iterations if k else 0):
        owner_M = torch.stack([away_KM[pick] for pick in picks]).argmin(0)
        # a pick stays with itself, also where it has a twin
        owner_M[torch.tensor(picks, device=device)] = torch.arange(k, device=device)
        moved = [_medoid(drawn, torch.nonzero(owner_M == place).flatten(), pick) for place, pick in enumerate(picks)]
        if moved == picks:
            break
        picks = moved
        away_KM = {pick: away_KM[pick] if pick in away_KM else matching_distances(drawn, pick) for pick in picks}
    return order_M[torch.tensor(picks, dtype=torch.int64, device=device)]


def _weighted_mean(values_GM: Tensor, weight_G: Tensor) -> Tensor:
    total = weight_G.sum()
    # detections that are all worth nothing count alike
    weight_G = weight_G / total if float(total) > 0 else torch.full_like(weight_G, 1 / len(weight_G))
    return weight_G @ values_GM


def _farthest_first(objects: Objects, k: int) -> list[int]:
    picks: list[int] = []
    near_M = torch.full((len(objects),), torch.inf, device=objects.first_M.device)
    while len(picks) < k:
        pick = int(near_M.argmax()) if picks else 0
        picks.append(pick)
        near_M = torch.minimum(near_M, matching_distances(objects, pick))
        near_M[picks] = -1.0
    return picks


def _medoid(objects: Objects, members_P: Tensor, pick: int) -> int:
    """The member with the smallest sum of distances to the others; the present pick, if none is better."""
    part = objects.take(members_P)
    sums_P = torch.stack([matching_distances(part, place).double().sum() for place in range(len(part))])
    here = int((members_P == pick).nonzero()[0])
    best = int(sums_P.argmin())
    return int(members_P[best]) if float(sums_P[best]) < float(sums_P[here]) - 1e-9 else pick
