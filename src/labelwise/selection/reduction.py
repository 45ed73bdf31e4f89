"""From units to items: one number per image out of the numbers of its objects, pixels or peaks.

Dimension key: U units, B items. Two halves, because an item without a unit must be judged against the whole pool and a
batch must not know its neighbours: ``reduce_present`` per batch, ``fill_empty`` once over all items. ``reduce_units``
is both at once, for units that are all at hand.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor

from labelwise.errors import ConfigError, DataError, unknown
from labelwise.selection.arrays import ArrayLike, as_tensor, real

How: TypeAlias = Literal["mean", "max", "sum", "top_k", "top_share", "weighted"]
Empty: TypeAlias = Literal["last", "median", "first"]

HOWS: tuple[How, ...] = ("mean", "max", "sum", "top_k", "top_share", "weighted")
EMPTIES: tuple[Empty, ...] = ("last", "median", "first")


def reduce_units(
    values_U: ArrayLike,
    unit_item_U: ArrayLike,
    size: int,
    *,
    how: How,
    weight_U: ArrayLike | None = None,
    empty: Empty = "last",
    top: int = 10,
) -> Tensor:
    """One value per item from the values of its units, items without a unit filled in.

    ``reduce_present`` followed by ``fill_empty``: use it where all items are at hand, and the two halves where items
    come in batches, or "last" would mean last of the batch.

    Args:
        values_U: the units' values.
        unit_item_U: item each unit belongs to, 0 to ``size - 1``, in any order.
        size: number of items.
        how: ``mean``, ``max``, ``sum``, ``top_k`` (mean of the ``top`` highest, or of all where there are fewer),
            ``top_share`` (mean of the highest ``top`` percent of an item's units, at least one) or ``weighted``
            (``sum w v / sum w``).
        weight_U: not negative; needed by ``weighted``, used by nothing else.
        empty: where an item without units stands: ``last`` (below every other), ``median`` or ``first``.
        top: units that ``top_k`` averages; percent of the units for ``top_share``.

    Returns:
        (size,) finite if the values are; float32, or float64 if the values are.

    Raises:
        ConfigError: unknown ``how`` or ``empty``, ``weighted`` without weights, ``top`` below one.
        DataError: lengths differ, an item number is out of range, a weight is negative.

    Cost:
        O(U + size), ``top_k`` and ``top_share`` O(U log U).

    Example:
        >>> reduce_units([1.0, 3.0, 5.0], [0, 0, 2], 3, how="mean", empty="median")
        tensor([2.0000, 3.5000, 5.0000])
    """
    values_B, present_B = reduce_present(values_U, unit_item_U, size, how=how, weight_U=weight_U, top=top)
    return fill_empty(values_B, present_B, empty=empty)


def reduce_present(
    values_U: ArrayLike,
    unit_item_U: ArrayLike,
    size: int,
    *,
    how: How,
    weight_U: ArrayLike | None = None,
    top: int = 10,
) -> tuple[Tensor, Tensor]:
    """One value per item that has a unit, and which items those are.

    Args:
        values_U: the units' values.
        unit_item_U: item each unit belongs to, 0 to ``size - 1``, in any order.
        size: number of items.
        how: as in ``reduce_units``.
        weight_U: as in ``reduce_units``; an item whose weights sum to zero counts as one without units.
        top: as in ``reduce_units``.

    Returns:
        values (size,), zero where there is no unit; and a mask (size,) of the items that have one.

    Raises:
        ConfigError: unknown ``how``, ``weighted`` without weights, ``top`` below one or above 100 percent.
        DataError: lengths differ, an item number is out of range, a weight is negative.

    Cost:
        O(U + size), ``top_k`` and ``top_share`` O(U log U). Sums run in float64: a megapixel in float32 loses the
        fourth digit.

    Example:
        >>> reduce_present([1.0, 3.0], [0, 0], 2, how="max")
        (tensor([3., 0.]), tensor([ True, False]))
    """
    if how not in HOWS:
        raise unknown("reduction", how, HOWS)
    values = real(as_tensor(values_U))
    item_U = as_tensor(unit_item_U).to(device=values.device, dtype=torch.int64)
    weight = _weights(values, weight_U) if how == "weighted" else torch.ones_like(values)
    _check_units(values, item_U, size, weight)
    if how in ("top_k", "top_share"):
        values, item_U, weight = _highest(values, item_U, _kept(item_U, size, how, top))
    total_B = _sums(weight, item_U, size)
    present_B = total_B > 0
    if how == "max":
        found_B = values.new_zeros(size).scatter_reduce(0, item_U, values, "amax", include_self=False)
    else:
        found_B = _sums(weight * values, item_U, size)
        if how != "sum":
            found_B = found_B / torch.where(present_B, total_B, 1.0)
    return torch.where(present_B, found_B, 0.0).to(values.dtype), present_B


def class_weights(unit_item_U: ArrayLike, class_U: ArrayLike, size: int) -> Tensor:
    """Weights under which each class of an item weighs the same, however many units it has.

    ``w_u = 1 / n(item of u, class of u)``: the weighted mean is then the mean over the classes that an item has of the
    mean within the class, ``sum_c mean_{u in c} v_u / #classes``. A small object counts as much as the road below it.

    Args:
        unit_item_U: item each unit belongs to, 0 to ``size - 1``.
        class_U: its class, counted from 0.
        size: number of items.

    Returns:
        (U,) float64 in (0, 1].

    Raises:
        DataError: lengths differ.

    Cost:
        O(U + size C).

    Example:
        >>> class_weights([0, 0, 0, 1], [2, 2, 0, 1], 2)
        tensor([0.5000, 0.5000, 1.0000, 1.0000], dtype=torch.float64)
    """
    classes = as_tensor(class_U).to(torch.int64)
    item_U = as_tensor(unit_item_U).to(device=classes.device, dtype=torch.int64)
    if item_U.ndim != 1 or item_U.shape != classes.shape:
        raise DataError(
            f"items and classes of the units have shapes {tuple(item_U.shape)} and {tuple(classes.shape)}; needed is "
            "one of each per unit"
        )
    count = int(classes.max()) + 1 if len(classes) else 1
    cell_U = item_U * count + classes
    return 1 / cell_U.bincount(minlength=size * count)[cell_U].double()


def fill_empty(values_N: ArrayLike, present_N: ArrayLike, *, empty: Empty) -> Tensor:
    """Give the items without a unit their declared place among all others.

    Args:
        values_N: one value per item; whatever stands at an empty item is ignored.
        present_N: mask of the items that have a unit.
        empty: ``last`` (the next number below the lowest), ``first`` (the next above the highest) or ``median``.

    Returns:
        (N,); all zero when no item has a unit.

    Raises:
        ConfigError: unknown ``empty``.

    Cost:
        O(N).

    Example:
        >>> fill_empty([0.5, 9.0, 2.5, 1.0], [True, False, True, True], empty="median")
        tensor([0.5000, 1.0000, 2.5000, 1.0000])
    """
    if empty not in EMPTIES:
        raise unknown("value of empty", empty, EMPTIES)
    values = real(as_tensor(values_N))
    present = as_tensor(present_N).to(device=values.device, dtype=torch.bool)
    known = values[present]
    if not len(known):
        return torch.zeros_like(values)
    if empty == "median":
        ordered = known.sort().values
        fill = (ordered[(len(known) - 1) // 2] + ordered[len(known) // 2]) / 2
    elif empty == "last":
        fill = torch.nextafter(known.min(), known.new_tensor(-torch.inf))
    else:
        fill = torch.nextafter(known.max(), known.new_tensor(torch.inf))
    return torch.where(present, values, fill)


def _weights(values_U: Tensor, weight_U: ArrayLike | None) -> Tensor:
    if weight_U is None:
        raise ConfigError("reduction 'weighted' got no weights; give weight_U, or reduce by mean")
    return real(as_tensor(weight_U)).to(values_U)


def _check_units(values_U: Tensor, item_U: Tensor, size: int, weight_U: Tensor) -> None:
    if not (values_U.ndim == 1 and values_U.shape == item_U.shape == weight_U.shape):
        raise DataError(
            f"values, items and weights of the units have shapes {tuple(values_U.shape)}, {tuple(item_U.shape)}, "
            f"{tuple(weight_U.shape)}; needed is one of each per unit"
        )
    if len(item_U) and not 0 <= int(item_U.min()) <= int(item_U.max()) < size:
        raise DataError(f"units name items {int(item_U.min())} to {int(item_U.max())}; allowed is 0 to {size - 1}")
    if len(weight_U) and float(weight_U.min()) < 0:
        raise DataError(f"the lowest weight of a unit is {float(weight_U.min())}; allowed is zero and more")


def _kept(item_U: Tensor, size: int, how: How, top: int) -> Tensor:
    """(size,) how many of the highest units of each item count."""
    if top < 1 or (how == "top_share" and top > 100):
        raise ConfigError(f"top is {top}; allowed is 1 and more{', up to 100 percent' if how == 'top_share' else ''}")
    if how == "top_k":
        return torch.full((size,), top, device=item_U.device)
    # whole numbers: a tenth of ten units is one unit
    return (item_U.bincount(minlength=size) * top + 99) // 100


def _highest(values_U: Tensor, item_U: Tensor, kept_B: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The highest units of each item, so many, with weights of one."""
    order_U = values_U.argsort(descending=True)
    order_U = order_U[item_U[order_U].argsort(stable=True)]
    item_U = item_U[order_U]
    # Rank within the item = place in the order minus the place where the item begins.
    first_U = torch.searchsorted(item_U, item_U)
    kept_U = torch.arange(len(item_U), device=item_U.device) - first_U < kept_B[item_U]
    values_U = values_U[order_U][kept_U]
    return values_U, item_U[kept_U], torch.ones_like(values_U)


def _sums(values_U: Tensor, item_U: Tensor, size: int) -> Tensor:
    total_B = torch.zeros(size, dtype=torch.float64, device=values_U.device)
    return total_B.index_add_(0, item_U, values_U.double())
