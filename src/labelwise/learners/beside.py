"""Extra heads beside a model: where they read, how they are made, and how good they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from labelwise.contracts.learner import Auxiliary, Examples
from labelwise.contracts.progress import Progress, silent
from labelwise.contracts.task import Batch
from labelwise.errors import ConfigError
from labelwise.learners.inference import Reader
from labelwise.models.taps import check_taps, evaluating, stages, widths


class Heads(nn.ModuleDict):
    """The heads beside one net, by the auxiliary's name.

    Args:
        paths: where each reads.
    """

    def __init__(self, paths: Mapping[str, tuple[str, ...]] | None = None) -> None:
        super().__init__()
        self.paths = dict(paths or {})

    def shown(self, name: str, seen: Mapping[str, Any]) -> dict[str, Tensor]:
        """What a head reads of all that was seen."""
        return {path: seen[path] for path in self.paths[name]}

    @property
    def taps(self) -> list[str]:
        """All places that some head reads, each once."""
        return sorted({path for paths in self.paths.values() for path in paths})


def build_heads(model: nn.Module, auxiliaries: Sequence[Auxiliary], example: Tensor) -> Heads:
    """A head for each auxiliary, sized by one forward pass; where it names no taps, ``stages`` chooses them.

    Args:
        model: on the device of the example; its mode stays as it is.
        auxiliaries: what to build.
        example: (B, C, H, W), B at least 2.

    Raises:
        ConfigError: a tap that cannot be, or two heads of one name.
        UnmetNeed: none is named, and the model gives no map.
    """
    heads = Heads()
    for auxiliary in auxiliaries:
        if auxiliary.name in heads.paths:
            raise ConfigError(f"two heads are called {auxiliary.name!r}: give one of them another name")
        with evaluating(model):
            paths = auxiliary.taps or stages(model, example)
            check_taps(model, paths, example)
            heads[auxiliary.name] = auxiliary.build(widths(model, paths, example))
        heads.paths[auxiliary.name] = tuple(paths)
    return heads


class Beside(Protocol):
    """Networks with heads."""

    @property
    def auxiliaries(self) -> tuple[Auxiliary, ...]:
        """What the heads are."""

    def judged(self, batch: Batch) -> Mapping[str, tuple[Tensor, Tensor]]:
        """What each head says of a batch, and the loss of each image that it is measured against."""


def measured_heads(networks: Beside, reader: Reader, view: Examples, progress: Progress = silent) -> dict[str, float]:
    """How good each head is on labelled images, by its own measure: ``NAME_measure`` -> value; {} without heads.

    Args:
        networks: in evaluation mode.
        reader: reads the images.
        view: the images, with their targets.
        progress: told after each batch.
    """
    found: dict[str, float] = {}
    if not networks.auxiliaries:
        return found
    parts: dict[str, list[tuple[Tensor, Tensor]]] = {auxiliary.name: [] for auxiliary in networks.auxiliaries}
    with torch.inference_mode():
        for loaded, batch in reader.batches(view, range(len(view)), "measuring heads", progress, targets=True):
            for name, (said, loss_B) in (networks.judged(batch) if loaded.rows else {}).items():
                parts[name].append((said.cpu(), loss_B.cpu()))
    for auxiliary in networks.auxiliaries:
        if rows := parts[auxiliary.name]:
            values = auxiliary.measured(torch.cat([said for said, _ in rows]), torch.cat([loss for _, loss in rows]))
            found |= {f"{auxiliary.name}_{name}": float(value) for name, value in values.items()}
    return found
