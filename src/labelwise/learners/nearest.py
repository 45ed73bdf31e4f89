"""Many nearest-neighbour classifiers on the same frozen features, from one product of all rows.

Dimension key: L labelled rows, T test rows, U rows that any classifier uses, K neighbours, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from labelwise.contracts.progress import Progress, silent
from labelwise.errors import ConfigError, DataError
from labelwise.learners.heads import Labels, inverse_norms
from labelwise.rng import torch_generator
from labelwise.selection.arrays import ArrayLike, as_matrix

# Test rows at once: 50,000 similarities of 512 rows are 100 MB.
_BLOCK = 512
# Cosines that differ by less are equal: the rounding of a float32 product of unit rows.
_GRID = float(1 << 22)


def nearest_classes(
    features_ND: ArrayLike, tests_TD: ArrayLike, sets: Sequence[Labels], *, k: int = 1, progress: Progress = silent
) -> Tensor:
    """What the k nearest labelled rows say of each test row, for each set of labels.

    Distances are those of unit rows, |x - y|^2 = 2 - 2 <x, y>, in float32. The class is that of most neighbours; ties,
    of distances and of votes, are broken at random by the seed of the set.

    Args:
        features_ND: rows that the sets are made of.
        tests_TD: rows to classify.
        sets: rows and their classes.
        k: neighbours; as many as there are, where a set is smaller.
        progress: told while distances are computed.

    Returns:
        (H, T) int64, a row for each set.

    Raises:
        ConfigError: ``k`` below 1.
        DataError: a set without labels.

    Cost:
        2 U T D operations and a pass of L T for each set; 512 U numbers of memory.

    Example:
        >>> one = Labels(torch.tensor([0, 1]), torch.tensor([7, 8]))
        >>> nearest_classes([[1.0, 0.0], [0.0, 1.0]], [[9.0, 1.0], [0.1, 0.4]], [one])
        tensor([[7, 8]])
    """
    if k < 1:
        raise ConfigError(f"{k} neighbours: give 1 or more")
    if not sets or not all(len(one.rows_L) for one in sets):
        raise DataError("a nearest-neighbour classifier needs at least one label")
    rows_ND, tests = as_matrix(features_ND), as_matrix(tests_TD)
    device = rows_ND.device
    used_U = torch.unique(torch.cat([one.rows_L for one in sets])).to(device)
    unit_UD = rows_ND[used_U].float()
    unit_UD *= inverse_norms(unit_UD)[:, None]
    draws = [torch_generator(one.seed, "neighbours") for one in sets]
    shuffled = [one.rows_L.to(device)[_shuffle(one, draw).to(device)] for one, draw in zip(sets, draws, strict=True)]
    places = [torch.searchsorted(used_U, rows_L) for rows_L in shuffled]
    label_U = [_labels_at(one, used_U) for one in sets]
    out_HT = torch.empty(len(sets), len(tests), dtype=torch.int64, device=device)
    for start in range(0, len(tests), _BLOCK):
        block_BD = tests[start : start + _BLOCK].to(device).float()
        block_BD = block_BD * inverse_norms(block_BD)[:, None]
        alike_UB = (unit_UD @ block_BD.T).mul_(_GRID).round_()
        for number, (place_L, draw) in enumerate(zip(places, draws, strict=True)):
            # of equal values max takes the first, and the order of the rows was drawn at random
            near_LB = alike_UB[place_L]
            found_KB = near_LB.argmax(0, keepdim=True) if k == 1 else _nearest(near_LB, k)
            votes_KB = label_U[number][place_L[found_KB]]
            out_HT[number, start : start + _BLOCK] = votes_KB[0] if k == 1 else _majority(votes_KB, draw)
        progress("nearest neighbours", min(start + _BLOCK, len(tests)), len(tests))
    return out_HT


def _shuffle(one: Labels, draw: torch.Generator) -> Tensor:
    return torch.randperm(len(one.rows_L), generator=draw)


def _labels_at(one: Labels, used_U: Tensor) -> Tensor:
    label_U = torch.full((len(used_U),), -1, dtype=torch.int64, device=used_U.device)
    label_U[torch.searchsorted(used_U, one.rows_L.to(used_U.device))] = one.labels_L.to(used_U.device)
    return label_U


def _nearest(near_LB: Tensor, k: int) -> Tensor:
    """(K, B) rows of the nearest; a stable sort keeps the random order among equals, as topk would not."""
    return near_LB.sort(dim=0, descending=True, stable=True).indices[:k]


def _majority(votes_KB: Tensor, draw: torch.Generator) -> Tensor:
    """The most frequent class of each column, ties at random."""
    count_BC = torch.zeros(votes_KB.shape[1], int(votes_KB.max()) + 1, device=votes_KB.device)
    count_BC.scatter_add_(1, votes_KB.T, torch.ones_like(votes_KB.T, dtype=count_BC.dtype))
    noise_BC = torch.rand(count_BC.shape, generator=draw).to(count_BC.device)
    return (count_BC + 0.5 * noise_BC).argmax(1)
