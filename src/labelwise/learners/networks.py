"""Trained networks at work: what they say of a batch, in one deterministic pass or in stochastic ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from labelwise.contracts.head import LinearHead
from labelwise.contracts.learner import Auxiliary
from labelwise.contracts.losses import image_losses
from labelwise.contracts.passes import Members, Passes
from labelwise.contracts.task import Batch, Field, Outputs, Task
from labelwise.errors import ConfigError, DataError, UnmetNeed
from labelwise.learners.beside import Heads
from labelwise.learners.passes import all_passes
from labelwise.models import Taps, last_linear
from labelwise.models.ending import last_layer
from labelwise.models.taps import pooled


@dataclass(frozen=True)
class Networks:
    """The members of an ensemble, mostly one, with the heads that were trained beside them.

    Args:
        task: turns what a net says into outputs.
        nets: in evaluation mode.
        heads: of each net, by the auxiliary's name.
        auxiliaries: what the heads are.
        embedding: module whose pooled output is the embedding; None: the input of the last linear layer.
        dtype: of mixed precision; None computes as the weights are.
    """

    task: Task[Any]
    nets: Sequence[nn.Module]
    heads: Sequence[Heads]
    auxiliaries: tuple[Auxiliary, ...] = ()
    embedding: str | None = None
    dtype: torch.dtype | None = None

    def outputs(self, batch: Batch, want: frozenset[Field]) -> Outputs:
        """The deterministic pass; probabilities and what heads say are averaged over members.

        Other fields are the first member's.

        Of units that a model finds for itself (objects), the members judge those of the first. A ``loss`` needs the
        targets of the batch.
        """
        first = self._of(0, batch, want)
        if "loss" in want:
            first = first.with_extra({"loss": self.losses(batch)})
        if len(self.nets) == 1:
            return first
        others = [self._of(number, batch, want, first) for number in range(1, len(self.nets))]
        every = (first, *others)
        said = [name for name in want if name.startswith("head:")]
        first = first.with_extra({name: torch.stack([each.extra[name] for each in every]).mean(0) for name in said})
        return replace(first, probs_UC=torch.stack([each.probs_UC for each in every]).mean(0))

    def losses(self, batch: Batch) -> Tensor:
        """(B,) loss of each image under its label, the mean over members."""
        with self._precision(batch.images.device):
            return torch.stack([image_losses(self.task.loss(net, batch)) for net in self.nets]).float().mean(0)

    def judged(self, batch: Batch) -> dict[str, tuple[Tensor, Tensor]]:
        """What each head says of a batch with targets, and the loss (B,) that it speaks of; means over members."""
        every: list[dict[str, tuple[Tensor, Tensor]]] = []
        for net, heads in zip(self.nets, self.heads, strict=True):
            with self._precision(batch.images.device), Taps(net, heads.taps).capture() as seen:
                losses = self.task.loss(net, batch)
                said = {a.name: a.read(heads[a.name], heads.shown(a.name, seen)) for a in self.auxiliaries}
            every.append({a.name: (said[a.name].float(), a.target(losses).float()) for a in self.auxiliaries})
        pairs = {name: [each[name] for each in every] for name in every[0]}
        return {
            name: (torch.stack([s for s, _ in rows]).mean(0), torch.stack([t for _, t in rows]).mean(0))
            for name, rows in pairs.items()
        }

    def drawn(
        self, batch: Batch, passes: Passes, first: Outputs, *, seed: int, want: frozenset[Field]
    ) -> Iterator[Outputs]:
        """Stochastic passes, one after the other, over the units of the deterministic one.

        Args:
            batch: the images.
            passes: where stochastic passes come from.
            first: outputs of the deterministic pass.
            seed: of all draws.
            want: fields besides probabilities.

        Raises:
            UnmetNeed: members are to be drawn from, and there is one.
        """
        if isinstance(passes, Members) and len(self.nets) < 2:
            raise UnmetNeed(
                "the strategy draws from the members of an ensemble, and there is one model: set members: 5"
            )
        numbers = {net: number for number, net in enumerate(self.nets)}
        for net, changed in all_passes(self.nets, batch, passes, seed):
            yield self._of(numbers[net], changed, want, first)

    def _of(self, number: int, batch: Batch, want: frozenset[Field], first: Outputs | None = None) -> Outputs:
        net, beside = self.nets[number], self.heads[number]
        heads = [auxiliary for auxiliary in self.auxiliaries if f"head:{auxiliary.name}" in want]
        paths = [path for auxiliary in heads for path in beside.paths[auxiliary.name]]
        embedding = self._embedding_path(net) if "embedding" in want else None
        if embedding:
            paths.append(embedding)
        with self._precision(batch.images.device):
            if not paths:
                return self._said(net, batch, want, first)
            with Taps(net, paths).capture() as seen:
                outputs = self._said(net, batch, want, first)
            extra = {"embedding": pooled(seen[embedding])} if embedding else {}
            for auxiliary in heads:
                name = auxiliary.name
                extra[f"head:{name}"] = auxiliary.read(beside[name], beside.shown(name, seen))
        return outputs.with_extra(extra)

    def _said(self, net: nn.Module, batch: Batch, want: frozenset[Field], first: Outputs | None) -> Outputs:
        if first is None:
            outputs = self.task.outputs(net, batch, want)
            if self.task.exclusive and not outputs.exclusive and "per_image" in self.task.provides:
                raise ConfigError(
                    f"outputs of {type(self.task).__name__} say exclusive=False, and the class does not: set "
                    "'exclusive = False' on it, so that methods that ask for the one class of an image are refused"
                )
            return outputs
        return self.task.redrawn(net, batch, first, want)

    def _embedding_path(self, net: nn.Module) -> str | None:
        """Where the embedding is read; None where the task gives one by itself."""
        if self.embedding is None and "embedding" in self.task.provides:
            return None
        return self.embedding or f"{last_linear(net)}:input"

    def _precision(self, device: torch.device) -> AbstractContextManager[Any]:
        # not the accelerator's own: that one follows the precision of whichever accelerator was made last
        return nullcontext() if self.dtype is None else torch.autocast(device.type, dtype=self.dtype)

    @property
    def headless(self) -> str:
        """Why there is no ``linear_head``; "" where there is one."""
        if len(self.nets) > 1:
            return "the members of an ensemble end in several layers: set members: 1"
        if self.linear_head() is None:
            return (
                "its net does not end in a linear layer that reads the embedding: name the module that this layer "
                "reads, embedding='...' (left out: the input of the last linear layer), or end the net in one"
            )
        return ""

    def linear_head(self) -> LinearHead | None:
        """The layer between embedding and logits; None for an ensemble, or where the net ends otherwise."""
        net = self.nets[0]
        if len(self.nets) > 1 or not any(isinstance(module, nn.Linear) for module in net.modules()):
            return None
        shape = (2, self.task.input.channels, *self.task.input.size)
        images = torch.rand(shape, generator=torch.Generator().manual_seed(0)).to(next(net.parameters()).device)
        layer = last_layer(net, self.embedding or f"{last_linear(net)}:input", images)
        if layer is None:
            return None
        weight_CD = layer.weight.detach().float()
        bias_C = weight_CD.new_zeros(len(weight_CD)) if layer.bias is None else layer.bias.detach().float()
        return LinearHead(weight_CD.cpu(), bias_C.cpu())

    def state(self) -> dict[str, Tensor]:
        """All weights and statistics, by member and part."""
        tensors: dict[str, Tensor] = {}
        for number, (net, heads) in enumerate(zip(self.nets, self.heads, strict=True)):
            tensors |= {f"{number}.model.{key}": value for key, value in net.state_dict().items()}
            tensors |= {f"{number}.heads.{key}": value for key, value in heads.state_dict().items()}
        return tensors

    def load_state(self, tensors: dict[str, Tensor]) -> None:
        """Takes weights that ``state`` gave; those of heads that are not here are left.

        Raises:
            DataError: they belong to other nets.
        """
        for number, parts in enumerate(zip(self.nets, self.heads, strict=True)):
            for part, module in zip(("model", "heads"), parts, strict=True):
                prefix = f"{number}.{part}."
                state = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
                if part == "heads":  # others may have been trained for another strategy
                    state = {k: v for k, v in state.items() if k.split(".")[0] in self.heads[number]}
                try:
                    module.load_state_dict(state)
                except RuntimeError as error:
                    reason = " ".join(str(error).split())[:160]
                    raise DataError(
                        f"the saved weights do not fit the {part} in use ({reason}): delete them, they are made again"
                    ) from error
