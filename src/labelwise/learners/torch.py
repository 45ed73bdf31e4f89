"""Any PyTorch model as a learner: trained in phases, run once for all signals."""

from __future__ import annotations

import contextlib
import copy
import functools
import inspect
import json
import re
import time
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn

from labelwise.data.loader import Loaded, PreparedImages, batches, blocks, default_workers
from labelwise.errors import DataError, UnmetNeed
from labelwise.learner import Auxiliary, FitReport, Learner, LearnerData, Phase, Progress, View, silent
from labelwise.learners.inference import Collector, wanted_fields
from labelwise.learners.passes import one_pass
from labelwise.learners.saved import read_weights, write_weights
from labelwise.learners.training import Training, TrainingStep, build_heads, seeded
from labelwise.models import Taps, build, last_linear
from labelwise.models.build import check_output
from labelwise.models.taps import pooled
from labelwise.rng import digest, generator
from labelwise.signals.base import Draw, Probe, ProbeContext, Signal, SignalRole, SignalTable
from labelwise.signals.passes import Dropout, Members, Passes, Views
from labelwise.task import Batch, Field, Outputs, Task

if TYPE_CHECKING:
    from accelerate import Accelerator

Precision = Literal["no", "bf16", "fp16"]


class TorchLearner(Learner):
    """Trains a PyTorch model in phases on Hugging Face Accelerate, and runs it once for all signals that are asked for.

    Args:
        task: what is learnt.
        model: a name (see ``labelwise.models.build``), or a function that returns a fresh ``nn.Module``; None: the
            task's own small net.
        embedding: module whose output, averaged over places, is the image's embedding; ``path:input`` takes the
            module's input; None: the input of the last linear layer.
        phases: what training consists of.
        weights: pretrained weights to start from (see ``labelwise.models.build``); only with a named model.
        members: networks in the ensemble; their probabilities are averaged.
        precision: ``no`` (float32), ``bf16`` or ``fp16`` mixed precision.
        batch_size: images per inference step.
        workers: decoding processes; None decides by the data.

    Example:
        >>> from labelwise.tasks.classification import Classification
        >>> build = lambda: nn.Sequential(nn.Flatten(), nn.Linear(3072, 2))
        >>> sorted(TorchLearner(Classification(("cat", "dog")), build).provides)
        ['embedding', 'logits', 'probs']
    """

    probes = True
    trains_auxiliaries = True

    def __init__(
        self,
        task: Task[Any],
        model: str | Callable[[], nn.Module] | None = None,
        *,
        embedding: str | None = None,
        phases: Sequence[Phase] = (Phase(),),
        weights: str | None = None,
        members: int = 1,
        precision: Precision = "no",
        batch_size: int = 512,
        workers: int | None = None,
    ) -> None:
        self.task = task
        self.model = model
        self.embedding = embedding
        self.phases = tuple(phases)
        self.pretrained = weights
        self.members = members
        self.precision = precision
        self.batch_size = batch_size
        self.workers = workers
        self.passes = frozenset({Dropout, Views} | ({Members} if members > 1 else set()))
        self._nets: list[nn.Module] = []
        self._heads: list[nn.ModuleDict] = []
        self._auxiliaries: tuple[Auxiliary, ...] = ()
        self._weights: str | None = None

    # ---- what it is -------------------------------------------------------------------------------------------------

    @property
    def provides(self) -> frozenset[Field]:
        """The task's fields and an image embedding."""
        return self.task.provides | {"embedding"}

    @property
    def uses_unlabeled(self) -> bool:
        """Whether a phase looks at unlabelled images."""
        return any(phase.batches != "labeled" for phase in self.phases)

    @property
    def config(self) -> Mapping[str, Any]:
        """Model, phases, precision and ensemble size."""
        return {
            "learner": "torch",
            "model": self.model if isinstance(self.model, str | None) else _code_of(self.model),
            "pretrained": self.pretrained,
            "phases": [asdict(phase) for phase in self.phases],
            "members": self.members,
            "precision": self.precision,
        }

    @property
    def weights(self) -> str | None:
        """Digest of the weights in use."""
        return self._weights

    @cached_property
    def accelerator(self) -> Accelerator:
        """Device, precision and processes; made at the first use."""
        return self._new_accelerator()

    def _new_accelerator(self) -> Accelerator:
        from accelerate import Accelerator
        from accelerate.state import AcceleratorState

        if AcceleratorState._shared_state and AcceleratorState().mixed_precision != self.precision:
            AcceleratorState._reset_state()
        return Accelerator(mixed_precision=self.precision)

    # ---- training ---------------------------------------------------------------------------------------------------

    def fit(
        self,
        data: LearnerData,
        seed: int,
        *,
        init: str | None = None,
        auxiliaries: Sequence[Auxiliary] = (),
        progress: Progress = silent,
    ) -> FitReport:
        """Trains every member through all phases, from scratch or from the weights in use (``init``).

        Raises:
            DataError: nothing to train on, or ``init`` names weights that are not in use.
        """
        if not len(data.labeled) and any(phase.batches != "unlabeled" for phase in self.phases):
            raise DataError("there is no label to train on: import labels first, or suggest with a cold-start strategy")
        if init is not None and init != self._weights:
            raise DataError(f"training was to start from weights {init}, and {self._weights} are loaded")
        started = time.perf_counter()
        # copies, so that a training that is broken off leaves the weights in use as they are
        warm = copy.deepcopy(self._nets) if init is not None else []
        # one for each training: an accelerator keeps all that it ever prepared
        accelerator = self._new_accelerator()
        nets, heads, skipped, steps, loss = [], [], {}, 0, 0.0
        for member in range(self.members):
            net = warm[member] if warm else self._fresh(seed, member)
            net = self._placed(net)
            with seeded(seed, "heads", member):
                added = build_heads(net, auxiliaries, self._example())
            step = TrainingStep(net, self.task, auxiliaries, added)
            training = Training(step, self.phases, data, accelerator, seed, member, progress)
            loss += training.run() / self.members
            steps += training.steps
            skipped.update(training.skipped)
            nets.append(net.eval())
            heads.append(added.eval())
        self._nets, self._heads, self._auxiliaries = nets, heads, tuple(auxiliaries)
        self._weights = self.fit_key(data, seed, init=init, auxiliaries=auxiliaries)
        return FitReport(loss, steps, time.perf_counter() - started, skipped)

    def _fresh(self, seed: int, member: int) -> nn.Module:
        with seeded(seed, "weights", member):
            if self.model is None:
                return self.task.default_model()
            if isinstance(self.model, str):
                net = build(self.model, len(self.task.classes), self.task.input, weights=self.pretrained)
                check_output(net, len(self.task.classes), self.task.input)
                return net
            return self.model()

    def _placed(self, net: nn.Module) -> nn.Module:
        layout = torch.channels_last if self.task.input.channels == 3 else torch.contiguous_format
        return net.to(self.accelerator.device, memory_format=layout)  # type: ignore[call-overload,no-any-return]

    def _example(self) -> torch.Tensor:
        return torch.zeros(2, self.task.input.channels, *self.task.input.size, device=self.accelerator.device)

    # ---- inference --------------------------------------------------------------------------------------------------

    def evaluate(self, view: View, *, progress: Progress = silent) -> dict[str, float]:
        """Metrics on labelled items; images that cannot be read are left out.

        Raises:
            DataError: there are no weights yet.
        """
        self._check_fitted()
        metrics = self.task.metrics()
        with torch.inference_mode():
            for loaded, batch in self._batches(view, range(len(view)), "evaluating", progress):
                targets = [view.targets[row] for row in loaded.rows] if view.targets else []
                metrics.update(self._outputs(batch, frozenset()), targets)
        return metrics.compute()

    def collect(
        self,
        view: View,
        signals: frozenset[Signal],
        *,
        role: SignalRole = "pool",
        data: LearnerData | None = None,
        seed: int = 0,
        progress: Progress = silent,
    ) -> SignalTable:
        """Rows of all signals in one pass; with several processes each takes a share.

        Raises:
            UnmetNeed: the model cannot make the passes, or a probe has nothing to prepare with.
            DataError: there are no weights yet.
        """
        self._check_fitted()
        states: dict[Signal, Any] = {
            signal: self._prepare(signal, data, seed) for signal in signals if isinstance(signal, Probe)
        }
        want = wanted_fields(signals)
        collector = Collector(signals, lambda batch, passes, t: self._draw(batch, passes, t, seed, want), states, role)
        accelerator = self.accelerator
        rows = range(len(view))[accelerator.process_index :: accelerator.num_processes]
        kept: list[int] = []
        failed: dict[str, str] = {}
        with torch.no_grad() if states else torch.inference_mode():
            for loaded, batch in self._batches(view, rows, "reading the pool", progress):
                failed.update({view.ids[row]: reason for row, reason in loaded.failed.items()})
                if loaded.rows:
                    kept += loaded.rows
                    collector.add(self._nets[0], batch, self._outputs(batch, want))
        table = SignalTable(tuple(view.ids[row] for row in kept), collector.columns(), failed)
        return table if accelerator.num_processes == 1 else _gather(table, view.ids)

    def _check_fitted(self) -> None:
        if not self._nets:
            raise DataError("the model has no weights yet: fit it first")

    def _batches(
        self, view: View, rows: Sequence[int], stage: str, progress: Progress
    ) -> Iterator[tuple[Loaded, Batch]]:
        images = PreparedImages(view.source, view.ids, self.task.input)
        workers = default_workers(view.source, len(rows)) if self.workers is None else self.workers
        order = [[rows[i] for i in block] for block in blocks(len(rows), self.batch_size)]
        device = self.accelerator.device
        done = 0
        for loaded in batches(images, order, workers=workers, pin=device.type == "cuda"):
            batch = self.task.batch(loaded.images, None, train=False).to(device)
            yield loaded, batch
            done += len(loaded.rows) + len(loaded.failed)
            progress(stage, done, len(rows))

    def _outputs(self, batch: Batch, want: frozenset[Field]) -> Outputs:
        outputs = [self._member_outputs(net, batch, want) for net in self._nets]
        if len(outputs) == 1:
            return outputs[0]
        return replace(outputs[0], probs_UC=torch.stack([o.probs_UC for o in outputs]).mean(0))

    def _member_outputs(self, net: nn.Module, batch: Batch, want: frozenset[Field]) -> Outputs:
        heads = [a for a in self._auxiliaries if f"head:{a.name}" in want]
        paths = [path for a in heads for path in a.taps]
        embedding = self.embedding or f"{last_linear(net)}:input" if "embedding" in want else None
        if embedding:
            paths.append(embedding)
        with self.accelerator.autocast() if self.precision != "no" else nullcontext():
            if not paths:
                return self.task.outputs(net, batch, want)
            with Taps(net, paths).capture() as seen:
                outputs = self.task.outputs(net, batch, want)
            extra = {"embedding": pooled(seen[embedding])} if embedding else {}
            for auxiliary in heads:
                head = self._heads[self._nets.index(net)][auxiliary.name]
                extra[f"head:{auxiliary.name}"] = auxiliary.read(head, {path: seen[path] for path in auxiliary.taps})
        return outputs.with_extra(extra)

    def _draw(self, batch: Batch, passes: Passes, draw: int, seed: int, want: frozenset[Field]) -> Outputs:
        if isinstance(passes, Members) and len(self._nets) < 2:
            raise UnmetNeed(
                "the strategy draws from the members of an ensemble, and there is one model: set members: 5"
            )
        with one_pass(self._nets[0], self._nets, batch, passes, seed, draw) as (net, changed):
            return self._member_outputs(net, changed, want)

    def _prepare(self, signal: Probe, data: LearnerData | None, seed: int) -> Any:
        if data is None:
            raise UnmetNeed(f"{signal!r} is prepared from labelled or reference items, and none were given")
        context = ProbeContext(
            self._nets[0],
            self.task,
            labeled=lambda: self._with_targets(data.labeled),
            unlabeled=lambda: self._with_targets(data.unlabeled),
            reference=lambda: self._with_targets(data.reference),
            rng=generator(seed, "probe", signal.key),
        )
        return signal.prepare(context)

    def _with_targets(self, view: View) -> Iterator[Batch]:
        images = PreparedImages(view.source, view.ids, self.task.input)
        for loaded in batches(images, blocks(len(view), self.batch_size)):
            targets = None if view.targets is None else [view.targets[row] for row in loaded.rows]
            yield self.task.batch(loaded.images, targets, train=False).to(self.accelerator.device)

    def signal_key(self, signal: Signal, *, data: LearnerData | None = None, seed: int = 0) -> str:
        """Weights, transform, signal; the seed for draws and probes, and what a probe is prepared from."""
        parts: list[Any] = [self._weights, repr(self.task.input), self.embedding, signal.key, self.precision]
        if isinstance(signal, Draw | Probe):
            parts.append(seed)
        if isinstance(signal, Probe) and data is not None:
            for name in sorted(signal.prepared_from):
                view: View = getattr(data, name)
                parts.append([name, list(view.ids), repr(view.targets)])
        return digest(*parts)

    # ---- weights ----------------------------------------------------------------------------------------------------

    def save(self, folder: Path) -> None:
        """Writes ``weights.safetensors``, whole or not at all; only the main process does."""
        if not self.accelerator.is_main_process:
            return
        tensors: dict[str, torch.Tensor] = {}
        for number, (net, heads) in enumerate(zip(self._nets, self._heads, strict=True)):
            tensors |= {f"{number}.model.{k}": v for k, v in net.state_dict().items()}
            tensors |= {f"{number}.heads.{k}": v for k, v in heads.state_dict().items()}
        write_weights(folder, tensors, self._weights or "", config=json.dumps(dict(self.config)))

    def load(self, folder: Path, weights: str, *, auxiliaries: Sequence[Auxiliary] = ()) -> None:
        """Takes saved weights into use.

        Raises:
            DataError: the file is missing or damaged, holds other weights, or does not fit the net in use.
        """
        tensors = read_weights(folder, weights)
        nets, added = [], []
        for member in range(self.members):
            net = self._placed(self._fresh(0, member))
            heads = build_heads(net, auxiliaries, self._example())
            for part, module in (("model", net), ("heads", heads)):
                prefix = f"{member}.{part}."
                state = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
                try:
                    module.load_state_dict(state)
                except RuntimeError as error:
                    raise DataError(
                        f"the weights in {folder} do not fit the {part} in use ({' '.join(str(error).split())[:160]}): "
                        "delete the folder; they are trained again"
                    ) from error
            nets.append(net.eval())
            added.append(heads.to(self.accelerator.device).eval())
        self._nets, self._heads, self._weights = nets, added, weights
        self._auxiliaries = tuple(auxiliaries)


def _code_of(value: Any) -> str:
    """What a function does, as far as it can be seen: a cache key that changes when the code or a value in it does."""
    if isinstance(value, functools.partial):
        return digest("partial", _code_of(value.func), list(map(_code_of, value.args)), _codes_of(value.keywords))
    if not callable(value):
        return re.sub(r" at 0x[0-9a-f]+", "", repr(value))
    name = f"{getattr(value, '__module__', '')}:{getattr(value, '__qualname__', type(value).__qualname__)}"
    parts: list[Any] = []
    with contextlib.suppress(OSError, TypeError):
        parts.append(inspect.getsource(value))
    if isinstance(value, types.FunctionType):
        # two functions on one line have one source, and a closure builds what its cells say
        constants = [constant for constant in value.__code__.co_consts if not isinstance(constant, types.CodeType)]
        parts += [list(map(repr, constants)), value.__code__.co_names]
        parts += [[_code_of(default) for default in value.__defaults__ or ()], _codes_of(value.__kwdefaults__ or {})]
        parts.append([_code_of(cell.cell_contents) for cell in value.__closure__ or () if _is_filled(cell)])
    return f"{name}#{digest(*parts)}"


def _codes_of(values: Mapping[str, Any]) -> dict[str, str]:
    return {key: _code_of(value) for key, value in values.items()}


def _is_filled(cell: types.CellType) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:  # a name that is bound later
        return False


def _gather(table: SignalTable, ids: Sequence[str]) -> SignalTable:
    """One table from those of all processes, the same on each, its rows in the order of ``ids``."""
    import numpy as np
    from accelerate.utils import gather_object

    parts: list[SignalTable] = gather_object([table])
    if any(isinstance(rows, tuple) for part in parts for rows in part.columns.values()):
        raise UnmetNeed("ragged signals are not gathered from several processes yet: run in one process")
    found = [item for part in parts for item in part.ids]
    rank = {item: number for number, item in enumerate(ids)}
    order = sorted(range(len(found)), key=lambda row: rank[found[row]])
    columns: dict[Signal, Any] = {}
    for signal in {signal for part in parts for signal in part.columns}:
        columns[signal] = np.concatenate([part[signal] for part in parts if part.ids])[order]
    failed = {item: reason for part in parts for item, reason in part.failed.items()}
    return SignalTable(tuple(found[row] for row in order), columns, failed)
