"""How unusual a pose is beside others: lengths of limbs and angles between them.

Dimension key: B images, K points, L limbs, J joints, F = L + J numbers of a pose.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

#: smallest spread of a length (relative) and of an angle (radians): labels are no better
_LEAST = 0.05


def steady_limbs(points_BK2: Tensor, known_BK: Tensor) -> list[tuple[int, int]]:
    """Limbs of a body of which nobody says any: the tree whose lengths vary least, each relative to itself.

    Points that no other one was seen beside belong to no limb.

    Cost:
        O(B K^2).

    Example:
        >>> turn = torch.tensor([0.0, 1.0, 2.0])
        >>> hand = torch.stack([turn.cos(), turn.sin()], 1)
        >>> points = torch.stack([torch.zeros(3, 2), hand, hand * torch.tensor([[2.0], [3.0], [2.5]])], 1)
        >>> steady_limbs(points, torch.ones(3, 3, dtype=torch.bool))
        [(0, 1), (0, 2)]
    """
    both_BKK = (known_BK[:, :, None] & known_BK[:, None, :]).double()
    away_BKK = (points_BK2[:, :, None] - points_BK2[:, None]).double().norm(dim=-1).clamp_min(1e-6).log()
    count_KK = both_BKK.sum(0)
    mean_KK = (away_BKK * both_BKK).sum(0) / count_KK.clamp_min(1)
    spread_KK = ((away_BKK - mean_KK).square() * both_BKK).sum(0) / count_KK.clamp_min(1)
    cost_KK = torch.where(count_KK > 0, spread_KK, math.inf).fill_diagonal_(math.inf)
    limbs: list[tuple[int, int]] = []
    group = list(range(len(cost_KK)))
    for place in cost_KK.flatten().argsort(stable=True).tolist():
        one, other = divmod(place, len(cost_KK))
        if math.isinf(float(cost_KK[one, other])):
            break
        if group[one] != group[other]:
            limbs.append((one, other))
            group = [group[one] if g == group[other] else g for g in group]
    return limbs


def joints_of(limbs: Sequence[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """Where limbs meet, (end, shared point, other end): at each point the first limb with each later one.

    Example:
        >>> joints_of([(0, 1), (1, 2), (1, 3)])
        [(0, 1, 2), (0, 1, 3)]
    """
    found = []
    for point in dict.fromkeys(end for limb in limbs for end in limb):
        ends = [other if one == point else one for one, other in limbs if point in (one, other)]
        found += [(ends[0], point, end) for end in ends[1:]]
    return found


@dataclass(frozen=True)
class UsualPoses:
    """A Gaussian for the logarithm of each limb's length, and for each angle between two limbs that meet.

    Args:
        limbs: pairs of positions of points.
        middle_F: means, of the limbs and then of the joints; angles on the circle.
        spread_F: standard deviations.
        count_F: labelled poses that showed it.
    """

    limbs: tuple[tuple[int, int], ...]
    middle_F: Tensor
    spread_F: Tensor
    count_F: Tensor

    @classmethod
    def of(
        cls, points_BK2: Tensor, known_BK: Tensor, limbs: Sequence[tuple[int, int]], *, shrink: float = 5.0
    ) -> UsualPoses:
        """The Gaussians of labelled poses.

        ``s_f^2 = (n_f v_f + m v) / (n_f + m)``: the variance of each number is drawn towards the mean variance of its
        sort (lengths, angles), as if ``m`` further poses had that.

        Args:
            points_BK2: places in any unit that is the same along both axes.
            known_BK: which of them are known.
            limbs: pairs of positions.
            shrink: m, in poses.
        """
        values_BF, seen_BF = _numbers(points_BK2, known_BK.double(), limbs)
        weight_BF = (seen_BF > 0).double()
        count_F = weight_BF.sum(0)
        share_BF = weight_BF / count_F.clamp_min(1)
        line_F = (values_BF * share_BF).sum(0)
        circle_F = torch.atan2((values_BF.sin() * share_BF).sum(0), (values_BF.cos() * share_BF).sum(0))
        angle_F = torch.arange(len(line_F)) >= len(limbs)
        middle_F = torch.where(angle_F, circle_F, line_F)
        varied_F = (_apart(values_BF, middle_F, angle_F).square() * share_BF).sum(0)
        spread_F = torch.empty_like(varied_F)
        for sort_F in (angle_F, ~angle_F):
            total = count_F[sort_F].sum().clamp_min(1)
            usual = (varied_F * count_F)[sort_F].sum() / total
            spread_F[sort_F] = ((count_F * varied_F + shrink * usual)[sort_F] / (count_F[sort_F] + shrink)).sqrt()
        return cls(tuple(limbs), middle_F, spread_F.clamp_min(_LEAST), count_F)

    def unusual(self, points_BK2: Tensor, mass_BK: Tensor) -> Tensor:
        """(B,) the mean of z^2 / 2 over lengths and angles, each weighted by the product of its points' masses.

        Args:
            points_BK2: in the unit of the labelled poses.
            mass_BK: how sure each place is, in [0, 1].
        """
        values_BF, weight_BF = _numbers(points_BK2, mass_BK.double(), self.limbs)
        angle_F = torch.arange(values_BF.shape[1]) >= len(self.limbs)
        z_BF = _apart(values_BF, self.middle_F, angle_F) / self.spread_F
        weight_BF = weight_BF * (self.count_F > 0)
        found_B = (weight_BF * z_BF.square() / 2).sum(1) / weight_BF.sum(1).clamp_min(1e-12)
        # what is no number stays none, for whoever checks scores
        return torch.where(torch.isfinite(points_BK2).all(2).all(1), found_B, torch.nan)


def _numbers(points_BK2: Tensor, weight_BK: Tensor, limbs: Sequence[tuple[int, int]]) -> tuple[Tensor, Tensor]:
    """(B, F) logarithms of lengths, then angles, and how much each weighs."""
    points_BK2 = points_BK2.double()
    one, other = torch.tensor(list(limbs), dtype=torch.int64).reshape(-1, 2).unbind(1)
    length_BL = (points_BK2[:, one] - points_BK2[:, other]).norm(dim=2).clamp_min(1e-6).log()
    end, at, far = torch.tensor(joints_of(limbs), dtype=torch.int64).reshape(-1, 3).unbind(1)
    to_BJ2, from_BJ2 = points_BK2[:, end] - points_BK2[:, at], points_BK2[:, far] - points_BK2[:, at]
    cross_BJ = to_BJ2[..., 0] * from_BJ2[..., 1] - to_BJ2[..., 1] * from_BJ2[..., 0]
    angle_BJ = torch.atan2(cross_BJ, (to_BJ2 * from_BJ2).sum(2))
    of_limbs, of_joints = weight_BK[:, one] * weight_BK[:, other], weight_BK[:, end] * weight_BK[:, far]
    return torch.cat([length_BL, angle_BJ], 1), torch.cat([of_limbs, of_joints * weight_BK[:, at]], 1)


def _apart(values_BF: Tensor, middle_F: Tensor, angle_F: Tensor) -> Tensor:
    """Differences; those of angles the short way round."""
    away_BF = values_BF - middle_F
    return torch.where(angle_F, torch.atan2(away_BF.sin(), away_BF.cos()), away_BF)
