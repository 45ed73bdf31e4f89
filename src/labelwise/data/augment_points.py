"""Random changes of images whose key points move along. Shape letters: B images, K points."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from labelwise.errors import ConfigError, brief
from labelwise.formats.sides import other_side


def mirrored_order(names: Sequence[str], pairs: Sequence[Sequence[str]] | None = None) -> tuple[int, ...]:
    """Which point each one is in a mirror image, as positions.

    Args:
        names: of the points.
        pairs: names that change places; None: those that say left and right (``left_eye``, ``rightear``, ``hipL``).

    Raises:
        ConfigError: a name of a pair that no point has or that stands in two, or a left one without its right one.

    Example:
        >>> mirrored_order(("nose", "leftear", "rightear", "hip.L", "hip.R"))
        (0, 2, 1, 4, 3)
        >>> mirrored_order(("a", "b", "c"), [("a", "c")])
        (2, 1, 0)
    """
    place = {name: number for number, name in enumerate(names)}
    order = list(range(len(names)))
    if pairs is not None:
        said = [name for pair in pairs for name in pair]
        for pair in pairs:
            if len(pair) != 2 or any(name not in place or said.count(name) > 1 for name in pair):
                raise ConfigError(
                    f"{brief(list(pair), 60)} is no pair of points of its own: give two names out of "
                    f"{brief(list(names), 120)}"
                )
            order[place[pair[0]]], order[place[pair[1]]] = place[pair[1]], place[pair[0]]
        return tuple(order)
    for name in names:
        other = other_side(name)
        if other is None:
            continue
        if other not in place:
            raise ConfigError(
                f"point {name!r} has no {other!r}, which it would be in a mirror image: name the pairs that change "
                "places (pairs: [[NAME, NAME]], or [] for none), or take augment: turn"
            )
        order[place[name]] = place[other]
    return tuple(order)


def flipped_points(
    images: Tensor, points_BK3: Tensor | None, order: Sequence[int], rng: torch.Generator | None
) -> tuple[Tensor, Tensor | None]:
    """Half of the images mirrored, left and right points exchanged.

    Args:
        images: (B, C, H, W).
        points_BK3: x and y in fractions and how much of it is known; None without labels.
        order: of ``mirrored_order``.
        rng: draws which.
    """
    mirrored_B = torch.rand(len(images), generator=rng) < 0.5
    images = images.clone()
    images[mirrored_B] = images[mirrored_B].flip(-1)
    if points_BK3 is not None:
        points_BK3 = points_BK3.clone()
        points_BK3[mirrored_B] = mirrored(points_BK3[mirrored_B], order)
    return images, points_BK3


def mirrored(points_BK3: Tensor, order: Sequence[int]) -> Tensor:
    """Points as they are in mirror images."""
    x, y, known = points_BK3[:, list(order)].unbind(-1)
    return torch.stack([1 - x, y, known], -1)


def turned_points(
    images: Tensor,
    points_BK3: Tensor | None,
    rng: torch.Generator | None,
    *,
    degrees: float = 30.0,
    scale: tuple[float, float] = (0.75, 1.33),
    shift: float = 0.1,
    closer_B3: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Each image turned about its centre, larger or smaller, and moved; what comes in is zero, the mean.

    A point that leaves the image is no longer known.

    Args:
        images: (B, C, H, W), normalised.
        points_BK3: as for ``flipped_points``.
        rng: draws the changes.
        degrees: largest turn to either side.
        scale: lowest and highest factor, drawn evenly on a logarithmic scale.
        shift: largest move as a share of a side.
        closer_B3: what each image is cut to before that: x and y of the middle in fractions, and how many times larger
            it becomes; see :func:`half_bodies`.
    """
    draws_B4 = torch.rand(len(images), 4, generator=rng)
    angle_B = (2 * draws_B4[:, 0] - 1) * math.radians(degrees)
    low, high = (math.log(value) for value in scale)
    factor_B = (low + (high - low) * draws_B4[:, 1]).exp()
    move_B2 = (2 * draws_B4[:, 2:] - 1) * shift
    height, width = images.shape[-2:]
    cos_B, sin_B = angle_B.cos(), angle_B.sin()
    # in fractions a turn is slanted where the sides differ
    turn_B22 = torch.stack([cos_B, -sin_B * height / width, sin_B * width / height, cos_B], 1).view(-1, 2, 2)
    turn_B22 = turn_B22 * factor_B[:, None, None]
    if closer_B3 is not None:
        turn_B22 = turn_B22 * closer_B3[:, 2, None, None]
        move_B2 = move_B2 + (turn_B22 @ (0.5 - closer_B3[:, :2, None]))[..., 0]
    back_B22 = torch.linalg.inv(turn_B22)
    theta_B23 = torch.cat([back_B22, -2 * back_B22 @ move_B2[..., None]], 2)
    grid = F.affine_grid(theta_B23.to(images), list(images.shape), align_corners=False)
    images = F.grid_sample(images, grid, padding_mode="zeros", align_corners=False)
    if points_BK3 is None:
        return images, None
    turn_B22, move_B2 = turn_B22.to(points_BK3), move_B2.to(points_BK3)
    places_BK2 = (points_BK3[..., :2] - 0.5) @ turn_B22.transpose(1, 2) + 0.5 + move_B2[:, None]
    inside_BK = ((places_BK2 >= 0) & (places_BK2 <= 1)).all(-1, keepdim=True)
    return images, torch.cat([places_BK2, points_BK3[..., 2:] * inside_BK], -1)


def half_bodies(points_BK3: Tensor, half: Sequence[bool], share: float, rng: torch.Generator | None) -> Tensor:
    """Where the one half of a subject lies, for a share of the images; the whole image for the others.

    After the training code of HRNet (Sun et al., "Deep High-Resolution Representation Learning for Human Pose
    Estimation", CVPR 2019): of subjects more than half of whose points are known, either half is taken that has more
    than two of them; the middle is the mean of its points, the sides are half as large again as what they span.
    Nothing becomes more than four times as large, and nothing smaller.

    Args:
        points_BK3: as for :func:`flipped_points`.
        half: (K,) which points are of the one half; the others are of the other.
        share: of the images for which a half is taken.
        rng: draws which images and which half.

    Returns:
        (B, 3): x and y of the middle in fractions, and how many times larger.
    """
    wanted_B, first_B = torch.rand(2, len(points_BK3), generator=rng) < torch.tensor([[share], [0.5]])
    places_BK2, known_BK = points_BK3[..., :2].cpu(), points_BK3[..., 2].cpu() > 0
    half_K = torch.tensor(half)
    halves_2BK = known_BK & torch.stack([half_K, ~half_K])[:, None]
    enough_2B = halves_2BK.sum(2) > 2
    first_B = torch.where(enough_2B.all(0), first_B, enough_2B[0])
    chosen_BK1 = torch.where(first_B[:, None], halves_2BK[0], halves_2BK[1])[..., None]
    middle_B2 = (places_BK2 * chosen_BK1).sum(1) / chosen_BK1.sum(1).clamp_min(1)
    high_B2 = places_BK2.masked_fill(~chosen_BK1, -torch.inf).amax(1)
    low_B2 = places_BK2.masked_fill(~chosen_BK1, torch.inf).amin(1)
    factor_B1 = (1 / (1.5 * (high_B2 - low_B2).amax(1, keepdim=True)).clamp_min(0.25)).clamp(1, 4)
    taken_B1 = (wanted_B & enough_2B.any(0) & (2 * known_BK.sum(1) > known_BK.shape[1]))[:, None]
    whole_B3 = torch.tensor([0.5, 0.5, 1.0]).expand(len(points_BK3), 3)
    return torch.where(taken_B1, torch.cat([middle_B2, factor_B1], 1).to(whole_B3), whole_B3)
