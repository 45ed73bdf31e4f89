"""Any PyTorch model as a learner: trained in phases, run once for all signals."""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn

from labelwise.contracts.head import LinearHead
from labelwise.contracts.learner import (
    Auxiliary,
    Examples,
    FitReport,
    Learner,
    LearnerData,
    Phase,
    heads_of,
    lacking_heads,
)
from labelwise.contracts.passes import Dropout, Members, Views
from labelwise.contracts.progress import Progress, silent
from labelwise.contracts.signal import Probe, Signal, SignalRole, SignalTable, read_targets
from labelwise.contracts.task import Field, Task
from labelwise.errors import DataError, UnmetNeed
from labelwise.learners.beside import Heads, build_heads, measured_heads
from labelwise.learners.best import BestOf
from labelwise.learners.checkpoints import Checkpoint
from labelwise.learners.fresh import FreshNets
from labelwise.learners.inference import Collector, Reader, gathered, measured, prepared_with, wanted_fields
from labelwise.learners.networks import Networks
from labelwise.learners.objectives import code_of_loss
from labelwise.learners.regions import asks_regions, collect_regions
from labelwise.learners.saved import NAME, read_described, write_weights
from labelwise.learners.training import Training, TrainingStep, make_accelerator, reported, seeded
from labelwise.rng import digest

if TYPE_CHECKING:
    from accelerate import Accelerator

Precision = Literal["no", "bf16", "fp16"]
DTYPES: dict[Precision, torch.dtype | None] = {"no": None, "bf16": torch.bfloat16, "fp16": torch.float16}


class TorchLearner(Learner):
    """Trains a PyTorch model in phases on Hugging Face Accelerate, and runs it once for all signals that are asked for.

    Args:
        task: what is learnt.
        model: a name (see ``Task.named_model``), or a function that returns a fresh net; None: the task's own.
        embedding: module whose output, averaged over places, is the image's embedding; ``path:input`` takes its input;
            None: the input of the last linear layer.
        phases: what training consists of; None: the task's own (``Task.phases``).
        weights: pretrained weights to start from (see ``labelwise.models.by_name``); only with a named model.
        members: networks in the ensemble; their probabilities are averaged.
        precision: ``no`` (float32), ``bf16`` or ``fp16`` mixed precision.
        batch_size: images per inference step; None: as many as fit the task's ``inference_pixels``, at most 512.
        workers: decoding processes; None decides by the data.
        best: keeps the best epoch of each training; None keeps the last.

    Example:
        >>> from labelwise.tasks.classification import Classification
        >>> sorted(TorchLearner(Classification(("cat", "dog")), "lenet").provides)
        ['embedding', 'logits', 'loss', 'per_image', 'probs']
    """

    probes = True
    called = "the network in training"
    trains_auxiliaries = True

    def __init__(
        self,
        task: Task[Any],
        model: str | Callable[[], nn.Module] | None = None,
        *,
        embedding: str | None = None,
        phases: Sequence[Phase] | None = None,
        weights: str | None = None,
        members: int = 1,
        precision: Precision = "no",
        batch_size: int | None = None,
        workers: int | None = None,
        best: BestOf | None = None,
    ) -> None:
        self.task = task
        self.model = model
        self._nets = FreshNets(task, model, weights)
        self.embedding = embedding
        self.phases = task.phases if phases is None else tuple(phases)
        self.pretrained = weights
        self.members = members
        self.precision = precision
        self.batch_size = batch_size or min(512, max(1, task.inference_pixels // math.prod(task.input.size)))
        self.workers = workers
        self.best = best
        self.judged_on = None if best is None else best.by
        self.passes = frozenset({Dropout, Views} | ({Members} if members > 1 else set()))
        self._networks: Networks | None = None
        self._weights: str | None = None

    # ---- what it is -------------------------------------------------------------------------------------------------

    @property
    def provides(self) -> frozenset[Field]:
        """The task's fields, an image embedding, and the loss of an image where its label is given."""
        return self.task.provides | {"embedding", "loss"}

    @cached_property
    def headless(self) -> str:
        """Looks at a fresh net, before any training."""
        return self._together([self._fresh(0, 0)] * self.members, [], ()).headless

    def linear_head(self) -> LinearHead | None:
        """The trained layer between embedding and logits."""
        return self.networks.linear_head()

    @property
    def uses_unlabelled(self) -> bool:
        """Whether a phase looks at unlabelled images."""
        return any(phase.batches != "labelled" for phase in self.phases)

    @property
    def config(self) -> Mapping[str, Any]:
        """Model, phases, precision and ensemble size."""
        return {
            "learner": "torch",
            **self._nets.config,
            "phases": [_identity(phase) for phase in self.phases],
            "members": self.members,
            "precision": self.precision,
            # left out where it is not said: trainings of before keep their keys
            **({} if self.best is None else {"best": asdict(self.best)}),
        }

    @property
    def weights(self) -> str | None:
        """Digest of the weights in use."""
        return self._weights

    @property
    def networks(self) -> Networks:
        """The trained nets.

        Raises:
            DataError: there are no weights yet.
        """
        if self._networks is None:
            raise DataError("the model has no weights yet: fit it first")
        return self._networks

    @cached_property
    def accelerator(self) -> Accelerator:
        """Device, precision and processes; made at the first use."""
        return make_accelerator(self.precision)

    # ---- training ---------------------------------------------------------------------------------------------------

    def fit(
        self,
        data: LearnerData,
        seed: int,
        *,
        init: str | None = None,
        auxiliaries: Sequence[Auxiliary] = (),
        progress: Progress = silent,
        checkpoint: Checkpoint | None = None,
    ) -> FitReport:
        """Trains every member through all phases, from scratch or from the weights in use (``init``).

        Raises:
            DataError: nothing to train on, or ``init`` names weights that are not in use.
        """
        if not len(data.labelled) and any(phase.batches != "unlabelled" for phase in self.phases):
            raise DataError("there is no label to train on: import labels first, or suggest with a cold-start strategy")
        if init is not None and init != self._weights:
            raise DataError(f"training was to start from weights {init}, and {self._weights} are loaded")
        started = time.perf_counter()
        # copies: a training that is broken off leaves the weights in use as they are
        warm = copy.deepcopy(self.networks.nets) if init is not None else []
        # one for each training: an accelerator keeps all that it ever prepared
        accelerator = make_accelerator(self.precision)
        trainings = []
        for member in range(self.members):
            net = warm[member] if warm else self._fresh(seed, member)
            with seeded(seed, "heads", member):
                added = self._beside(net, auxiliaries)
            step = TrainingStep(net, self.task, auxiliaries, added, embedding=self.embedding)
            kept = None if checkpoint is None else checkpoint.of(member)
            judge = None if self.best is None else self.best.judge(data.judge, self.task, self._measured)
            training = Training(step, self.phases, data, accelerator, seed, member, progress, kept, judge)
            training.run()
            trainings.append(training)
            step.eval()
        steps = [training.step for training in trainings]
        self._networks = self._together([step.model for step in steps], [step.heads for step in steps], auxiliaries)
        self._weights = self.fit_key(data, seed, init=init, auxiliaries=auxiliaries)
        return reported(trainings, time.perf_counter() - started)

    def fresh(self, seed: int) -> nn.Module:
        """The net of a seed before any training, on the device."""
        return self._fresh(seed, 0)

    def begin(self, seed: int) -> None:
        """The nets that ``fit`` would start from: pretrained weights where there are any, a fresh last layer."""
        nets = [self._fresh(seed, member).eval() for member in range(self.members)]
        self._networks = self._together(nets, [Heads() for _ in nets], ())
        self._weights = digest("untrained", dict(self.config), repr(self.task), seed)

    def check_probe(self, signal: Probe) -> None:
        """Asks the probe, with a fresh net."""
        signal.check(self._fresh(0, 0), self.task)

    def check_auxiliary(self, auxiliary: Auxiliary) -> None:
        """Builds the head beside a fresh net."""
        self._beside(self._fresh(0, 0), [auxiliary])

    def _together(self, nets: list[nn.Module], heads: list[Heads], added: Sequence[Auxiliary]) -> Networks:
        return Networks(self.task, nets, heads, tuple(added), self.embedding, DTYPES[self.precision])

    def _beside(self, net: nn.Module, auxiliaries: Sequence[Auxiliary]) -> Heads:
        return build_heads(net, auxiliaries, self._nets.example(self.accelerator.device))

    def _fresh(self, seed: int, member: int) -> nn.Module:
        return self._nets.make(seed, member, self.accelerator.device)

    # ---- inference --------------------------------------------------------------------------------------------------

    def evaluate(self, view: Examples, *, progress: Progress = silent) -> dict[str, float]:
        """Metrics on labelled items; images that cannot be read are left out.

        Those of an ensemble are the metrics of its averaged probabilities, and beside them the mean of the members' own
        primary metric (``accuracy_of_members``), which is what some papers report.

        Raises:
            DataError: there are no weights yet.
        """
        found = measured(self.networks.outputs, self._reader, view, progress)
        primary = self.task.metrics().primary
        if self.members > 1 and primary in found:
            each = [self._measured(net, view)[primary] for net in self.networks.nets]
            found[f"{primary}_of_members"] = sum(each) / len(each)
        return found | measured_heads(self.networks, self._reader, view, progress)

    def _measured(self, net: nn.Module, view: Examples) -> dict[str, float]:
        return measured(self._together([net], [Heads()], ()).outputs, self._reader, view)

    def collect(
        self,
        view: Examples,
        signals: frozenset[Signal],
        *,
        role: SignalRole = "pool",
        data: LearnerData | None = None,
        seed: int = 0,
        progress: Progress = silent,
    ) -> SignalTable:
        """Rows of all signals in one pass; with several processes each takes a share.

        Raises:
            UnmetNeed: the model cannot make the passes, a probe has nothing to prepare with, or there is no label to
                tell the loss.
            DataError: there are no weights yet.
        """
        want = wanted_fields(signals)
        if "loss" in want and (view.targets is None or asks_regions(view)):
            raise UnmetNeed("the loss of an image needs its label, and regions or images without labels were given")
        if asks_regions(view):
            of_images = partial(self.collect, signals=signals, role=role, data=data, seed=seed, progress=progress)
            return collect_regions(self.networks, self._reader, view, signals, of_images, seed=seed, progress=progress)
        networks = self.networks
        states = self._reader.prepared(signals, networks.nets[0], data, seed)
        drawn = partial(networks.drawn, seed=seed, want=want)
        collector = Collector(signals, drawn, states, role)
        accelerator = self.accelerator
        rows = range(len(view))[accelerator.process_index :: accelerator.num_processes]
        with torch.no_grad() if states else torch.inference_mode():
            read = self._reader.batches(view, rows, "reading the pool", progress, targets=read_targets(signals))
            kept, failed = collector.run(networks.nets[0], read, partial(networks.outputs, want=want))
        failures = {view.ids[row]: reason for row, reason in failed.items()}
        table = SignalTable(tuple(view.ids[row] for row in kept), collector.columns(), failures)
        return table if accelerator.num_processes == 1 else gathered(table, view.ids)

    @property
    def _reader(self) -> Reader:
        return Reader(self.task, self.batch_size, self.workers, self.accelerator.device)

    def signal_key(self, signal: Signal, *, data: LearnerData | None = None, seed: int = 0) -> str:
        """Weights, transform, signal; the seed for draws and probes, and what a probe is prepared from."""
        parts = [self._weights, repr(self.task.input), self.embedding, signal.key, self.precision]
        return digest(*parts, *prepared_with(signal, data, seed))

    # ---- weights ----------------------------------------------------------------------------------------------------

    def save(self, folder: Path) -> None:
        """Writes ``weights.safetensors``, whole or not at all; only the main process does."""
        if self.accelerator.is_main_process:
            config, heads = json.dumps(dict(self.config)), json.dumps(heads_of(self.networks.auxiliaries))
            write_weights(folder, self.networks.state(), self._weights or "", config=config, heads=heads)

    def load(self, folder: Path, weights: str, *, auxiliaries: Sequence[Auxiliary] = ()) -> None:
        """Takes saved weights into use; heads that nobody asks for stay in the file.

        Raises:
            DataError: the file is missing or damaged, holds other weights or not the heads that are asked for, or does
                not fit the net in use.
        """
        tensors, metadata = read_described(folder, weights)
        if "heads" in metadata and (lacking := lacking_heads(json.loads(metadata["heads"]), auxiliaries)):
            raise DataError(f"{folder / NAME} holds weights {lacking}: train again")
        nets = [self._fresh(0, member).eval() for member in range(self.members)]
        heads = [self._beside(net, auxiliaries).to(self.accelerator.device).eval() for net in nets]
        networks = self._together(nets, heads, auxiliaries)
        networks.load_state(tensors)
        self._networks, self._weights = networks, weights


def _identity(phase: Phase) -> dict[str, Any]:
    """All that a phase is; what came later is left out where it is not said, so that trainings keep their keys."""
    later: dict[str, Any] = {"max_steps": None, "average": 0.0, "frozen": (), "unlabelled": "all"}
    known = {key: value for key, value in asdict(phase).items() if key not in later or value != later[key]}
    return known | ({"code": code} if (code := code_of_loss(phase)) else {})
