"""A linear head on frozen features as probes are given it: a layer, and features in the place of images."""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from labelwise.contracts.learner import Examples, LearnerData
from labelwise.contracts.signal import Prepared, Probe, ProbeContext, Signal, SignalRole
from labelwise.contracts.task import Batch, Outputs, Task
from labelwise.data.loader import blocks
from labelwise.errors import UnmetNeed
from labelwise.learners.inference import Collector
from labelwise.rng import generator

#: rows handled at once
_BLOCK = 8192


@dataclass(frozen=True)
class ProbedHead:
    """The last layer that a head is, and batches of what it is given, standardised as in training.

    Args:
        task: whose loss.
        read: ids and raw features (N, D) of a view.
        state: mean, scale, weight and bias of the head.
    """

    task: Task[Any]
    read: Callable[[Examples], tuple[Sequence[str], Tensor]]
    state: Mapping[str, Tensor]

    def layer(self) -> nn.Linear:
        """The head, which takes standardised features."""
        weight_CD, bias_C = self.state["weight"], self.state["bias"]
        layer = blank_layer(weight_CD.shape[1], weight_CD.shape[0])
        layer.load_state_dict({"weight": weight_CD, "bias": bias_C})
        return layer.eval()

    def standardised(self, rows_BD: Tensor) -> Tensor:
        """(B, D) float32 as the layer takes them."""
        standard_BD: Tensor = (rows_BD.float() - self.state["mean"]) / self.state["scale"]
        return standard_BD

    def batches(self, view: Examples | None) -> Iterator[Batch]:
        """All readable items of a view, with their targets."""
        if view is None or not len(view):
            return
        ids, rows_ND = self.read(view)
        yield from self.over(ids, rows_ND, dict(zip(view.ids, view.targets or (), strict=False)))

    def over(self, ids: Sequence[str], rows_ND: Tensor, target_of: Mapping[str, Any]) -> Iterator[Batch]:
        """The same of raw features that were read."""
        for block in blocks(len(ids), _BLOCK):
            targets = [target_of[ids[row]] for row in block] if target_of else None
            rows_BD = self.standardised(rows_ND[block.start : block.stop])
            yield Batch(rows_BD, None if targets is None else self.task.collate(targets))

    def prepared(self, signals: Iterable[Signal], data: LearnerData | None, seed: int) -> dict[Signal, Any]:
        """What each probe looks at beforehand.

        Raises:
            UnmetNeed: a probe has nothing to prepare with.
        """
        states: dict[Signal, Any] = {}
        for signal in signals:
            if isinstance(signal, Probe):
                if data is None:
                    raise UnmetNeed(f"{signal!r} is prepared from labelled or reference items, and none were given")
                states[signal] = signal.prepare(self._context(data, generator(seed, "probe", signal.key)))
        return states

    def _context(self, data: LearnerData, rng: np.random.Generator) -> ProbeContext:
        return ProbeContext(
            self.layer(),
            self.task,
            labelled=lambda: self.batches(data.labelled),
            unlabelled=lambda: self.batches(data.unlabelled),
            reference=lambda: self.batches(data.reference),
            rng=rng,
            count={name: len(getattr(data, name) or ()) for name in typing.get_args(Prepared)},
            validation=lambda: self.batches(data.validation),
            test=lambda: self.batches(data.test),
        )

    def columns(
        self, probes: frozenset[Signal], batches: Iterable[Batch], states: Mapping[Signal, Any], role: SignalRole
    ) -> dict[Signal, Any]:
        """The rows of probes that were prepared."""
        collector = Collector(probes, _no_draws, states, role)
        with torch.no_grad():
            for batch in batches:
                collector.probe(self.layer(), batch)
        return collector.columns()


def blank_layer(width: int, classes: int) -> nn.Linear:
    """A layer of zeros, for which nothing is drawn."""
    layer: nn.Linear = nn.utils.skip_init(nn.Linear, width, classes)  # type: ignore[no-untyped-call]
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def _no_draws(*given: Any) -> Iterator[Outputs]:
    return iter(())
