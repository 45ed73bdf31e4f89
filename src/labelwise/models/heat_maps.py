"""Heat maps of key points: bells to learn, losses against them, and points and their doubt read out of maps.

A map has H x W cells over the image. A place is given in fractions of the image's sides: x = 0 is its left edge, and
the centre of the first of W cells lies at 0.5 / W.

Shape letters: B images, K points, H x W cells, U maps, P peaks.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

#: what a cell of a map that was learnt by its square counts at least, as a share of the top of a bell
_FLOOR = 1e-4
#: how many places a point may be at that is at none of the peaks of its map
ELSEWHERE = 12


def bells(points_BK2: Tensor, size: tuple[int, int], sigma: float) -> tuple[Tensor, Tensor]:
    """A bell around each point, as the product of (B, K, H) down and (B, K, W) across, 1 at the point itself.

    Args:
        points_BK2: x and y in fractions.
        size: H and W.
        sigma: standard deviation in cells.

    Example:
        >>> down, across = bells(torch.tensor([[[0.5, 0.5]]]), (1, 3), 1.0)
        >>> [round(value, 2) for value in (down[..., :, None] * across[..., None, :]).flatten().tolist()]
        [0.61, 1.0, 0.61]
    """

    def along(places_BK: Tensor, cells: int) -> Tensor:
        centres = torch.arange(cells, device=places_BK.device, dtype=places_BK.dtype) + 0.5
        return (-((centres - places_BK[..., None] * cells) ** 2) / (2 * sigma**2)).exp()

    return along(points_BK2[..., 1], size[0]), along(points_BK2[..., 0], size[1])


def divergence(maps_BKHW: Tensor, points_BK2: Tensor, known_BK: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
    """The divergence of the softmax over cells from the bell, summed over the known points; and how many these are.

    KL = sum over cells of q (log q - log softmax(map)), q being the bell with sum one.

    Args:
        maps_BKHW: logits.
        points_BK2: in fractions.
        known_BK: which points are learnt.
        sigma: of the bells, in cells.

    Returns:
        (B,) and (B,).
    """
    # the bell of a point that is not known may lie so far outside that nothing of it is left
    points_BK2 = torch.where(known_BK[..., None], points_BK2, 0.5)
    down_BKH, across_BKW = (side / side.sum(-1, keepdim=True) for side in bells(points_BK2, _cells(maps_BKHW), sigma))
    known = sum(torch.special.xlogy(side, side).sum(-1) for side in (down_BKH, across_BKW))
    expected_BK = torch.einsum("bkh,bkhw,bkw->bk", down_BKH, maps_BKHW, across_BKW)
    losses_BK = known - expected_BK + maps_BKHW.flatten(2).logsumexp(-1)
    weight_BK = known_BK.to(maps_BKHW.dtype)
    return (losses_BK * weight_BK).sum(1), weight_BK.sum(1)


def squares(maps_BKHW: Tensor, points_BK2: Tensor, known_BK: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
    """Half the mean square of what a map differs from the bell, summed over the known points; and K.

    Points that are not known count in the divisor, as it was published. Arguments as for ``divergence``.

    Reference:
        Xiao, Wu and Wei, "Simple Baselines for Human Pose Estimation and Tracking", ECCV 2018. We differ: bells lie
        at the point and not at the nearest cell, and are not cut off at three sigma.
    """
    down_BKH, across_BKW = bells(points_BK2, _cells(maps_BKHW), sigma)
    away_BKHW = maps_BKHW - down_BKH[..., None] * across_BKW[..., None, :]
    losses_BK = away_BKHW.square().mean((2, 3)) / 2 * known_BK.to(maps_BKHW.dtype)
    return losses_BK.sum(1), torch.full_like(losses_BK[:, 0], losses_BK.shape[1])


def log_of_squares(maps_BKHW: Tensor) -> Tensor:
    """Logits over the cells of maps that were learnt by their squares; what is not above zero says next to nothing."""
    return maps_BKHW.clamp_min(_FLOOR).log()


def over_cells(logits_BKHW: Tensor) -> Tensor:
    """How likely each cell is, by the softmax over the cells of each map."""
    return logits_BKHW.flatten(2).softmax(-1).view_as(logits_BKHW)


def decoded(logits_BKHW: Tensor) -> Tensor:
    """(B, K, 2) the top of each map in fractions, finer than a cell; not a number where the map is not one.

    The logarithm of a bell is a parabola, so that the tops of those through the highest cell and its neighbours are the
    top of the bell, exactly. At the border of a map the cell itself counts.

    Args:
        logits_BKHW: logarithms, up to a constant, of how likely each cell is.

    Cost:
        One pass for the highest cell: 0.1 s for 1,000 images of 17 maps of 64 x 48 cells on one thread.

    Reference:
        Zhang et al., "Distribution-Aware Coordinate Representation for Human Pose Estimation", CVPR 2020. We differ:
        without the blur, as nothing is rounded in training, and along rows and columns alone.

    Example:
        >>> down, across = bells(torch.tensor([[[0.37, 0.52]]]), (12, 16), 1.5)
        >>> [round(value, 4) for value in decoded((down[..., :, None] * across[..., None, :]).log()).flatten().tolist()]
        [0.37, 0.52]
    """
    height, width = _cells(logits_BKHW)
    flat_BKC = logits_BKHW.flatten(2)
    best_BK, cell_BK = flat_BKC.max(-1)
    y_BK, x_BK = cell_BK // width, cell_BK % width

    def moved(step: int, place_BK: Tensor, last: int) -> Tensor:
        inside_BK = (place_BK > 0) & (place_BK < last)
        ahead_BK, behind_BK = (
            flat_BKC.gather(2, torch.where(inside_BK, cell_BK + sign * step, cell_BK)[..., None])[..., 0]
            for sign in (1, -1)
        )
        bend_BK = 2 * best_BK - ahead_BK - behind_BK
        return torch.where(bend_BK > 0, (ahead_BK - behind_BK) / (2 * bend_BK), torch.zeros_like(bend_BK))

    x_BK = (x_BK + 0.5 + moved(1, x_BK, width - 1)) / width
    y_BK = (y_BK + 0.5 + moved(width, y_BK, height - 1)) / height
    points_BK2 = torch.stack([x_BK, y_BK], -1)
    return torch.where(torch.isfinite(best_BK)[..., None], points_BK2, torch.full_like(points_BK2, torch.nan))


def at_points(maps_BDHW: Tensor, points_BK2: Tensor) -> Tensor:
    """(B, K, D) what maps hold at some places, between cells in proportion; of a place that is no number at the middle.

    Args:
        maps_BDHW: of any size.
        points_BK2: in fractions.
    """
    grid_BK12 = (2 * points_BK2.nan_to_num(0.5) - 1)[:, :, None].to(maps_BDHW)
    found_BDK1 = F.grid_sample(maps_BDHW, grid_BK12, padding_mode="border", align_corners=False)
    return found_BDK1[..., 0].transpose(1, 2)


def peaks(probs_UHW: Tensor, count: int, radius: int) -> Tensor:
    """(U, P) int64: the highest cells of each map, counted row by row, none in the window of an earlier one.

    Args:
        probs_UHW: how likely each cell is.
        count: P.
        radius: of the windows, which have 2 x radius + 1 cells a side.
    """
    left_UHW, (height, _) = probs_UHW.clone(memory_format=torch.contiguous_format), _cells(probs_UHW)
    every_U1 = torch.arange(len(left_UHW), device=left_UHW.device)[:, None]
    steps = torch.arange(-radius, radius + 1, device=left_UHW.device)
    # all cells are read once: a window changes the tops of its own rows alone
    tops_UH = left_UHW.amax(2)
    found = []
    for _ in range(count):
        y_U = tops_UH.max(1).indices  # twice as fast as argmax
        cell_U = y_U * left_UHW.shape[2] + left_UHW[every_U1[:, 0], y_U].max(1).indices
        found.append(cell_U)
        left_UHW.flatten(1).scatter_(1, _window(cell_U, _cells(left_UHW), radius)[0], 0)
        rows_US = (y_U[:, None] + steps).clamp(0, height - 1)
        tops_UH.scatter_(1, rows_US, left_UHW[every_U1, rows_US].amax(2))
    return torch.stack(found, 1)


def masses(probs_UHW: Tensor, cells_UP: Tensor, radius: int) -> Tensor:
    """(U, P + 1): what lies in the window around each peak, and elsewhere; a cell counts for the first of its peaks.

    A window has to hold the bell: of narrower ones a sure, wide bell would look like doubt.

    Args:
        probs_UHW: with sum one over the cells.
        cells_UP: of ``peaks``, of this map or of another one.
        radius: of the windows.

    Example:
        >>> probs_UHW = torch.tensor([[[0.0, 0.6, 0.1, 0.0, 0.0, 0.2, 0.1]]])
        >>> [round(value, 2) for value in masses(probs_UHW, peaks(probs_UHW, 2, 1), 1).flatten().tolist()]
        [0.7, 0.3, 0.0]
    """
    left_UC = probs_UHW.flatten(1).clone()
    found = []
    for cell_U in cells_UP.unbind(1):
        window_UN, inside_UN = _window(cell_U, _cells(probs_UHW), radius)
        found.append((left_UC.gather(1, window_UN) * inside_UN).sum(1))
        left_UC.scatter_(1, window_UN, 0)
    in_peaks_UP = torch.stack(found, 1)
    return torch.cat([in_peaks_UP, (1 - in_peaks_UP.sum(1, keepdim=True)).clamp_min(0)], 1)


def spread(masses_UC: Tensor) -> Tensor:
    """(U, P + ELSEWHERE): masses of peaks, and what lies elsewhere as so many equally unlikely places.

    A model that has no idea says so by a flat map: nearly all mass lies elsewhere. Were that one outcome, it would be a
    sure one, and a point that was found nowhere would count as the least doubtful.

    Args:
        masses_UC: (U, P + 1) of :func:`masses`.

    Example:
        >>> [round(value, 2) for value in spread(torch.tensor([[0.4, 0.0, 0.6]])).flatten().tolist()][:4]
        [0.4, 0.0, 0.05, 0.05]
    """
    return torch.cat([masses_UC[:, :-1], (masses_UC[:, -1:] / ELSEWHERE).expand(-1, ELSEWHERE)], 1)


def _cells(maps: Tensor) -> tuple[int, int]:
    return maps.shape[-2], maps.shape[-1]


def _window(cell_U: Tensor, size: tuple[int, int], radius: int) -> tuple[Tensor, Tensor]:
    """Cells of the windows around some cells, and which lie inside: those that do not are others of the same window."""
    steps = torch.arange(-radius, radius + 1, device=cell_U.device)
    places, insides = [], []
    for place_U, last in ((cell_U // size[1], size[0] - 1), (cell_U % size[1], size[1] - 1)):
        place_US = place_U[:, None] + steps
        places.append(place_US.clamp(0, last))
        insides.append((place_US >= 0) & (place_US <= last))
    window = places[0][:, :, None] * size[1] + places[1][:, None, :]
    return window.flatten(1), (insides[0][:, :, None] & insides[1][:, None, :]).flatten(1)
