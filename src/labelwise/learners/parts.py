"""Named parts of a loss, averaged over epochs, and how they moved over a whole training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

#: points that are kept of each part
MOST = 20


@dataclass
class Parts:
    """Named parts of the loss over the steps of an epoch; nothing waits for the device before their means are asked."""

    rows: dict[tuple[str, ...], list[Tensor]] = field(default_factory=dict)

    def add(self, names: tuple[str, ...], parts_P: Tensor) -> None:
        """Those of one step."""
        self.rows.setdefault(names, []).append(parts_P)

    def means(self) -> dict[str, Tensor]:
        """Of each part, over the steps that had it."""
        found: dict[str, list[Tensor]] = {}
        for names, rows in self.rows.items():
            for number, name in enumerate(names):
                found.setdefault(name, []).append(torch.stack(rows)[:, number])
        return {name: torch.cat(values).mean() for name, values in found.items()}


@dataclass
class Course:
    """Means of named parts over the epochs of all phases.

    Args:
        epochs: steps taken before and after each epoch, and the means of its parts.
    """

    epochs: list[tuple[int, int, dict[str, float]]] = field(default_factory=list)

    def add(self, before: int, after: int, means: dict[str, float]) -> None:
        """Those of one epoch."""
        self.epochs.append((before, after, means))

    @property
    def last(self) -> dict[str, float]:
        """Of each part the mean in the last epoch that had it."""
        return {name: value for _, _, means in self.epochs for name, value in means.items()}

    def curves(self) -> dict[str, tuple[tuple[float, float], ...]]:
        """Part -> (share of the training, mean) at no more than twenty places, each a mean over epochs in a row.

        Example:
            >>> course = Course()
            >>> for step, value in enumerate([4.0, 2.0]):
            ...     course.add(step, step + 1, {"boxes": value})
            >>> course.curves()
            {'boxes': ((0.25, 4.0), (0.75, 2.0))}
        """
        total = max((after for _, after, _ in self.epochs), default=1)
        found: dict[str, list[tuple[float, float]]] = {}
        for before, after, means in self.epochs:
            for name, value in means.items():
                found.setdefault(name, []).append(((before + after) / 2 / total, value))
        return {name: tuple(_thinned(points)) for name, points in found.items()}


def _thinned(points: Sequence[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    for part in range(min(MOST, len(points))):
        ends = [round(end * len(points) / min(MOST, len(points))) for end in (part, part + 1)]
        where, values = zip(*points[slice(*ends)], strict=True)
        # six digits: these are read by people and drawn
        yield float(f"{sum(where) / len(where):.6g}"), float(f"{sum(values) / len(values):.6g}")
