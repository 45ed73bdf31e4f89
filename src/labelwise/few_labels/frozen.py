"""Images with their frozen features: what selections by size choose from, and what evaluations learn from.

Dimension key: N images, L of them, D features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from labelwise.contracts.learner import Examples
from labelwise.contracts.progress import Progress, silent
from labelwise.errors import DataError, UnmetNeed
from labelwise.learners.features import FROZEN
from labelwise.learners.heads import inverse_norms
from labelwise.selection.arrays import as_tensor, blocks

if TYPE_CHECKING:
    from labelwise.contracts.source import Role, Source
    from labelwise.learners.features import FeatureSource


@dataclass(frozen=True, eq=False)
class FrozenImages:
    """Images of one role with their frozen features.

    Args:
        ids: ascending.
        rows_ND: as the backbone gave them.
        labels_N: class index of each, -1 where it is not known.
        classes: names, in index order.
        failed: id -> why it could not be read; those are left out.
    """

    ids: tuple[str, ...]
    rows_ND: Tensor
    labels_N: Tensor
    classes: tuple[str, ...]
    failed: dict[str, str] = field(default_factory=dict)

    @cached_property
    def unit_ND(self) -> Tensor:
        """Rows of unit length, in the type they are kept in; a row of zeros stays one."""
        scale_N = inverse_norms(self.rows_ND)
        unit_ND = torch.empty(self.rows_ND.shape, dtype=self.rows_ND.dtype, device=self.rows_ND.device)
        for part, block_BD in blocks(self.rows_ND, 8192):
            unit_ND[part] = (block_BD * scale_N[part, None]).to(unit_ND.dtype)
        return unit_ND

    @cached_property
    def place(self) -> dict[str, int]:
        """Id -> row."""
        return {item: row for row, item in enumerate(self.ids)}

    def __len__(self) -> int:
        return len(self.ids)

    def rows_of(self, ids: Sequence[str]) -> Tensor:
        """Rows of these ids, int64.

        Raises:
            DataError: an image that cannot be read, or is none of these.
        """
        for item in ids:
            if item not in self.place:
                why = self.failed.get(item, "it is none of the images that can be chosen")
                raise DataError(f"{item!r} was chosen and cannot be used: {why}")
        return torch.tensor([self.place[item] for item in ids], dtype=torch.int64)

    def labels_of(self, rows_L: Tensor) -> Tensor:
        """Labels of these rows.

        Raises:
            DataError: one of them has no label.
        """
        labels_L = self.labels_N[rows_L]
        if len(bare := rows_L[labels_L < 0]):
            raise DataError(
                f"{len(bare)} chosen images have no label (first: {self.ids[int(bare[0])]!r}): label them first"
            )
        return labels_L

    def labelled(self) -> FrozenImages:
        """Those of the images that have a label."""
        kept = (self.labels_N >= 0).nonzero().squeeze(1)
        if len(kept) == len(self):
            return self
        ids = tuple(self.ids[row] for row in kept.tolist())
        return FrozenImages(ids, self.rows_ND[kept], self.labels_N[kept], self.classes, self.failed)

    def coverage(self, rows_L: Tensor) -> float:
        """Per cent of the classes that occur among these rows; NaN where labels are not known."""
        labels_L = self.labels_N[rows_L]
        if not self.classes or bool((labels_L < 0).any()):
            return float("nan")
        return 100 * len(torch.unique(labels_L)) / len(self.classes)


def frozen_images(
    source: Source, features: FeatureSource, role: Role = "pool", *, progress: Progress = silent
) -> FrozenImages:
    """All images of a role, their features from the cache where they lie there.

    Raises:
        DataError: none that can be read.
        UnmetNeed: labels that are not one class an image.
    """
    if any(not isinstance(label, str | int) for label in source.truth.values()):
        raise UnmetNeed(
            "labels of these data are not one class an image, which is what select by size and the protocols (linear, "
            "knn, finetune, scratch) learn from: use suggest, compare, and evaluate without a protocol"
        )
    wanted = tuple(item for item in source.ids if source.roles.get(item, "pool") == role)
    table = features.collect(Examples(source, wanted), frozenset({FROZEN}), progress=progress)
    if not table.ids:
        raise DataError(f"there is no readable {role} image: check the data")
    classes = tuple(source.classes or ())
    index = {name: number for number, name in enumerate(classes)}
    truth = source.truth
    found = [truth.get(item) for item in table.ids]
    labels = [-1 if label is None else label if isinstance(label, int) else index[label] for label in found]
    return FrozenImages(
        tuple(table.ids), as_tensor(table[FROZEN]), torch.tensor(labels, dtype=torch.int64), classes, dict(table.failed)
    )
