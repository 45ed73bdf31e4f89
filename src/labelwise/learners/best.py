"""Which epoch's weights a training keeps, where it is not the last."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from torch import nn

from labelwise.errors import DataError
from labelwise.models.taps import evaluating

if TYPE_CHECKING:
    from labelwise.contracts.learner import Examples
    from labelwise.contracts.task import Task


@dataclass(frozen=True)
class BestOf:
    """Weights of the best epoch, the one before the first included, by the task's primary metric.

    Args:
        by: ``validation``: labels of that role, paid for and not trained on. ``test``: as some published results were
            made: the test labels choose, so what is measured on them is too good, and a training that goes on from the
            round before can never come out worse. Reports say so.
        every: epochs between two measurements; the last epoch is always measured.
    """

    by: Literal["validation", "test"] = "validation"
    every: int = 1

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"every must be at least 1, got {self.every}")

    def judge(
        self, view: Examples | None, task: Task[Any], measure: Callable[[nn.Module, Examples], dict[str, float]]
    ) -> Judge:
        """Who measures the epochs of one training.

        Args:
            view: labelled items of the role.
            task: says which metric counts.
            measure: all metrics of a net on a view.

        Raises:
            DataError: there is no labelled item of the role.
        """
        if view is None or not len(view):
            raise DataError(
                f"the best epoch was to be chosen on {self.by} images, and none has a label: give some this role, or "
                "keep the last epoch (best: null)"
            )
        metrics = task.metrics()
        sign = 1 if metrics.higher_is_better else -1
        return Judge(lambda net: sign * measure(net, view)[metrics.primary], self.every)


@dataclass
class Judge:
    """Measures a net now and then, and keeps a copy of the best.

    Args:
        measure: how good a net is, higher is better.
        every: epochs between two measurements.
    """

    measure: Callable[[nn.Module], float]
    every: int
    best: float = -math.inf
    state: dict[str, Any] | None = field(default=None, repr=False)

    def see(self, net: nn.Module, epoch: int, epochs: int) -> None:
        """After ``epoch`` of ``epochs`` epochs; 0 is before the first."""
        if epoch % self.every and epoch != epochs:
            return
        with evaluating(net):
            value = self.measure(net)
        if value > self.best:
            self.best, self.state = value, copy.deepcopy(net.state_dict())

    def restore(self, net: nn.Module) -> None:
        """Puts the best weights back; a net that never was any good keeps what it has."""
        if self.state is not None:
            net.load_state_dict(self.state)
