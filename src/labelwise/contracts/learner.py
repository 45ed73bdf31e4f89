"""The contract for learners (fit, evaluate, collect, save, load) and for extra heads trained beside the task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from labelwise.contracts.code import own_code
from labelwise.contracts.losses import TOLD, Losses, image_losses
from labelwise.contracts.progress import Progress, silent
from labelwise.errors import UnmetNeed
from labelwise.rng import digest

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn

    from labelwise.contracts.head import LinearHead
    from labelwise.contracts.input import InputSpec
    from labelwise.contracts.passes import Passes
    from labelwise.contracts.signal import Probe, Signal, SignalRole, SignalTable
    from labelwise.contracts.source import Role, Source
    from labelwise.contracts.task import Batch, Field, Task


@dataclass(frozen=True)
class Examples:
    """Some items of a source, with their targets where they have any.

    Args:
        source: reads the images.
        ids: which items, in order.
        targets: one loaded target for each, or None.
    """

    source: Source
    ids: tuple[str, ...]
    targets: tuple[Any, ...] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: Sequence[int]) -> Examples:
        """The view of these rows."""
        targets = None if self.targets is None else tuple(self.targets[i] for i in rows)
        return Examples(self.source, tuple(self.ids[i] for i in rows), targets)


@dataclass(frozen=True)
class LearnerData:
    """What a learner may look at: never a hidden label.

    Args:
        labelled: to train on.
        unlabelled: images without labels, for phases that use them.
        validation: labelled, paid for, not trained on.
        reference: labelled, kept out of training, matched against by some methods.
        judge: labelled items that choose among epochs, for a learner that is ``judged_on`` some role; None for others.
        test: what a study measures on, for a probe that names it; None for others.
    """

    labelled: Examples
    unlabelled: Examples
    validation: Examples
    reference: Examples
    judge: Examples | None = None
    test: Examples | None = None


@dataclass(frozen=True)
class FitReport:
    """How a training went.

    Args:
        loss: mean training loss of the last epoch, without that of extra heads; NaN when it diverged.
        steps: optimiser steps taken.
        seconds: wall clock.
        skipped: id -> why a labelled image could not be read.
        held_out: loss of a last phase without labels on the validation images, which it did not see; None for others.
        losses: mean training loss of each tenth of the last phase, first to last; () where nobody wrote it down.
        notes: mean of each named part of the loss in the last epoch of the last phase that had it, those of extra heads
            included; {} where nobody wrote it down.
        parts: of the same parts, how they moved over the whole training: (share of the training, mean) at some places.
    """

    loss: float
    steps: int
    seconds: float
    skipped: Mapping[str, str] = field(default_factory=dict)
    held_out: float | None = None
    losses: tuple[float, ...] = ()
    notes: Mapping[str, float] = field(default_factory=dict)
    parts: Mapping[str, tuple[tuple[float, float], ...]] = field(default_factory=dict)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What people should know of the training, one line each."""
        if not (left := int(self.notes.get(f"{TOLD}phases left out", 0))):
            return ()
        return (f"{left} phase(s) of the training need images without a label, and were left out: there are none",)


@dataclass(frozen=True)
class Phase:
    """One stretch of training.

    Args:
        epochs: passes over the labelled items (over the unlabelled ones for ``batches="unlabelled"``).
        batches: which items batches are made of; ``alternate`` takes a labelled and an unlabelled batch in turn;
            without unlabelled images such a phase is left out where there are others, which the report tells.
        unlabelled: how many of the images without labels an epoch reads: ``all``, ``as_labelled`` (as many as there are
            with labels) or a number; drawn anew for each epoch.
        batch_size: images per step.
        min_steps: epochs are added until at least this many steps are taken: ten labels make few batches.
        max_steps: epochs are left out until at most this many steps are taken, one epoch at least; None: no bound.
        average: of the weights over the steps, as an exponential moving average whose memory is this share of the
            whole phase, in [0, 1): the network that comes out is the average. 0: the weights of the last step.
        trainable: prefixes of parameter names that learn; empty = all but what the network itself froze.
        frozen: prefixes of parameter names that do not learn. A part of the model of which nothing learns is in eval
            mode: its running statistics stay as they are, and its dropout rests.
        optimiser: ``sgd`` (Nesterov momentum) or ``adamw``.
        lr: peak learning rate.
        rates: (prefix of parameter names, peak learning rate) of parts that learn faster or slower; these learn even
            where the network froze them.
        momentum: of sgd.
        nesterov: for sgd; False for the plain heavy ball.
        weight_decay: decoupled for adamw.
        schedule: ``cosine`` to zero, ``onecycle`` (linear warm-up over the first tenth, then cosine), ``constant``, or
            ``steps``: to a tenth at each milestone.
        milestones: epochs after which ``steps`` lowers the rate.
        loss: ``task``; ``rotation``, ``simclr`` or ``vicreg``; or ``package.module:name`` of an ``Objective``, of a
            ``Loss``, or of a function (model, task, batch) -> Losses.
        options: of an ``Objective`` or a ``Loss``.
    """

    epochs: int = 30
    batches: Literal["labelled", "unlabelled", "alternate"] = "labelled"
    unlabelled: Literal["all", "as_labelled"] | int = "all"
    batch_size: int = 64
    min_steps: int = 0
    max_steps: int | None = None
    average: float = 0.0
    trainable: tuple[str, ...] = ()
    frozen: tuple[str, ...] = ()
    optimiser: Literal["sgd", "adamw"] = "adamw"
    lr: float = 1e-3
    rates: tuple[tuple[str, float], ...] = ()
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 1e-2
    schedule: Literal["cosine", "onecycle", "constant", "steps"] = "cosine"
    milestones: tuple[int, ...] = ()
    loss: str = "task"
    options: Mapping[str, Any] = field(default_factory=dict)


class Objective(ABC):
    """A loss that needs no label, with views of the images and a head of its own. A frozen dataclass.

    A phase names it. The engine makes the views on the device, runs the model once over all of them, and hands the
    embeddings to the head; the head is dropped when the phase ends.
    """

    name: ClassVar[str]

    @abstractmethod
    def build(self, width: int) -> nn.Module:
        """The head, from the width of the embedding."""

    @abstractmethod
    def views(self, images_BCHW: Tensor, spec: InputSpec, rng: Generator) -> Tensor:
        """(V * B, C, H, W), normalised: all images in their first view, then all in their second, ...

        Args:
            images_BCHW: prepared, uint8 or float, on the device.
            spec: how they are normalised.
            rng: on the CPU; the only source of randomness.
        """

    @abstractmethod
    def loss(self, head: nn.Module, embedding_AD: Tensor, size: int) -> Losses:
        """Named parts of the loss, each (sum, norm).

        Args:
            head: what ``build`` gave.
            embedding_AD: (V * B, D), in the order of ``views``.
            size: number of images B.
        """


class Loss(ABC):
    """What a phase minimises, with options. A frozen dataclass.

    A phase names it, as ``package.module:name``. Its code, and what it uses of its own module, is part of the name of
    the weights that it trains; one of this package has a ``version``.

    Example:
        >>> @dataclass(frozen=True)
        ... class Softly(Loss):
        ...     name = "softly"
        ...     strength: float = 0.1
        ...
        ...     def __call__(self, model, task, batch, progress):
        ...         parts = task.loss(model, batch)
        ...         return {key: (self.strength * sums, norms) for key, (sums, norms) in parts.items()}
        >>> Softly(strength=0.5)
        Softly(strength=0.5)
    """

    name: ClassVar[str]
    #: raised whenever the same options come to mean another loss: trainings of before are then not found
    version: ClassVar[int] = 1

    @abstractmethod
    def __call__(self, model: nn.Module, task: Task[Any], batch: Batch, progress: float) -> Losses:
        """Named parts of the loss of a batch, each (sum_B, norm_B); the fit report has the mean of each.

        Parts whose names begin with ``told`` (``labelwise.contracts.losses.TOLD``) are reported and not learnt.

        Args:
            model: in training mode, run as often as it takes.
            task: the kind of label.
            batch: with targets, or without for images that have no label.
            progress: through all phases that have such a loss, in [0, 1).
        """


class Auxiliary(ABC):
    """An extra head beside the model, in the file of the strategy that wants it. A frozen dataclass.

    The engine hooks the taps once; the head sees them in training (detached as ``detach`` says) and at selection. Its
    code is part of the name of the weights, as for a ``Loss``.
    """

    name: ClassVar[str]
    #: raised whenever the same options come to mean another head: trainings of before are then not found
    version: ClassVar[int] = 1
    #: places of the model whose maps the head reads: modules, or entries of what they give (``layer3``, ``stage3[1]``,
    #: ``fpn[pool]``), each of which runs exactly once in a pass; () lets the engine choose: ``models.taps.stages``
    taps: tuple[str, ...] = ()

    @property
    def lr(self) -> float | None:
        """Peak learning rate of the head; None: that of the phase."""
        return None

    @abstractmethod
    def build(self, widths: Mapping[str, int]) -> nn.Module:
        """The head, from the channel count of each tap."""

    def target(self, losses: Losses) -> Tensor:
        """(B,) what the head is shown as the loss of each image: by default each part by its own norm, added up."""
        return image_losses(losses)

    @abstractmethod
    def loss(self, head: nn.Module, taps: Mapping[str, Tensor], loss_B: Tensor, progress: float) -> Tensor:
        """Scalar to add to the task's loss.

        Args:
            head: what ``build`` gave.
            taps: what the model gave at each tap, whose first dimension is the image.
            loss_B: ``target`` of the task's loss, detached: no gradient goes through it into the model.
            progress: through all phases that run the task's loss or one in its place, in [0, 1).
        """

    @abstractmethod
    def read(self, head: nn.Module, taps: Mapping[str, Tensor]) -> Tensor:
        """(B, ...): what the head says of each image, as a signal; the mean over the members of an ensemble."""

    def measured(self, said_N: Tensor, loss_N: Tensor) -> Mapping[str, float]:
        """How good the head is on images that nobody trained on, from what it says and their ``target``."""
        return {}

    def weight(self, progress: float) -> float:
        """Weight of its loss at this point of the training, in [0, 1]."""
        return 1.0

    def detach(self, progress: float) -> bool:
        """Whether its gradient is kept out of the model at this point of the training."""
        return False


def identity(made: Loss | Auxiliary) -> str:
    """A loss or a head with its options, and its code where it is somebody's own."""
    code = own_code(type(made)) or ("" if made.version == 1 else str(made.version))
    return f"{made!r}@{code}" if code else repr(made)


def heads_of(auxiliaries: Sequence[Auxiliary]) -> dict[str, str]:
    """Name of each head and what it is, as weights on disk say it."""
    return {auxiliary.name: identity(auxiliary) for auxiliary in auxiliaries}


def lacking_heads(there: Mapping[str, str], asked: Sequence[Auxiliary]) -> str:
    """What weights with these heads lack of those that are asked for, as the end of a sentence; "" for nothing."""
    other = [name for name, made in heads_of(asked).items() if there.get(name) != made]
    if not other:
        return ""
    return f"with other options of the head {other[0]!r}" if other[0] in there else f"without the head {other[0]!r}"


class Producer(Protocol):
    """What computes rows: a learner, or a frozen feature source."""

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
        """Rows of all signals in one pass."""

    def signal_key(self, signal: Signal, *, data: LearnerData | None = None, seed: int = 0) -> str:
        """Digest of all that a row depends on, but for the image."""


class Learner(ABC):
    """Something that learns from labels and says things about images.

    Weights are named by a digest of what they were trained from (configuration, labelled items with their targets,
    seed, initial weights), so that the same training is never done twice and a killed command finds its finished work
    again.
    """

    task: Task[Any]
    #: what it is called where people read of it
    called: str = "the learner"
    #: what people should know of what it was made of, one line each
    notes: tuple[str, ...] = ()
    #: kinds of stochastic passes it can make
    passes: frozenset[type[Passes]] = frozenset()
    #: whether it can hand its model to a probe
    probes: bool = False
    #: whether keeping its signal rows on disk is cheaper than computing them again
    keeps_rows: bool = True
    #: role of the labelled items that choose the epoch whose weights are kept; None keeps the last
    judged_on: Role | None = None
    #: whether a training takes a blink, so that it may be done several times over for cross-validation
    quick: bool = False
    #: whether it trains extra heads beside the model
    trains_auxiliaries: bool = False

    @property
    @abstractmethod
    def provides(self) -> frozenset[Field]:
        """Fields it can put into ``Outputs``, the task's own included."""

    @property
    def headless(self) -> str:
        """Why ``linear_head`` can give none, and how to get one; "" where it gives one once trained."""
        return f"{type(self).__name__} hands out no last layer"

    def linear_head(self) -> LinearHead | None:
        """The linear layer between ``Embedding("task")`` and the logits; None where the model ends otherwise.

        Raises:
            DataError: there are no weights yet.
        """
        return None

    @property
    @abstractmethod
    def config(self) -> Mapping[str, Any]:
        """Everything that decides what ``fit`` gives for the same data and seed; JSON-able."""

    @property
    @abstractmethod
    def weights(self) -> str | None:
        """Digest of the weights in use; None before the first fit."""

    @abstractmethod
    def fit(
        self,
        data: LearnerData,
        seed: int,
        *,
        init: str | None = None,
        auxiliaries: Sequence[Auxiliary] = (),
        progress: Progress = silent,
    ) -> FitReport:
        """Trains from ``init`` (a digest it can load) or from scratch; the same data and seed give the same weights."""

    def begin(self, seed: int) -> None:
        """Takes the weights into use that ``fit`` with this seed would start from: a model before its first label.

        Raises:
            UnmetNeed: there is no such model.
        """
        raise UnmetNeed(
            f"the first images were to be chosen by the model before its first label, and {type(self).__name__} has "
            "none: let random or kmeans choose them, or use a torch learner"
        )

    def probed_by(self, signal: Probe) -> bool:
        """Whether it can hand its model to this probe."""
        return self.probes

    def check_probe(self, signal: Probe) -> None:  # noqa: B027 (nothing to refuse, unless a learner knows better)
        """Refuses a probe that does not fit the model, before anything is trained.

        Raises:
            ConfigError: says what is missing, and what there is.
        """

    def check_auxiliary(self, auxiliary: Auxiliary) -> None:  # noqa: B027 (asked of learners that train heads)
        """Refuses a head that does not fit the model, before anything is trained.

        Raises:
            ConfigError: says what is missing, and what there is.
        """

    @abstractmethod
    def evaluate(self, view: Examples, *, progress: Progress = silent) -> dict[str, float]:
        """Metrics on labelled items, and how good extra heads are at theirs."""

    @abstractmethod
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
        """Rows of all signals for the view's items in one pass; ``data`` is what probes are prepared with."""

    @abstractmethod
    def signal_key(self, signal: Signal, *, data: LearnerData | None = None, seed: int = 0) -> str:
        """Digest of all that a row of this signal depends on, but for the image: weights, transform, parameters, ..."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Writes the weights in use."""

    @abstractmethod
    def load(self, folder: Path, weights: str, *, auxiliaries: Sequence[Auxiliary] = ()) -> None:
        """Takes weights written by ``save`` into use, with these of the heads that were trained beside them.

        Raises:
            DataError: they belong to another configuration, or lack a head.
        """

    def fit_key(
        self, data: LearnerData, seed: int, *, init: str | None = None, auxiliaries: Sequence[Auxiliary] = ()
    ) -> str:
        """Digest of what ``fit`` would be done with: trainings with one key give one result."""
        targets = data.labelled.targets or ()
        labels = digest(list(zip(data.labelled.ids, [self.task.dump(target) for target in targets], strict=True)))
        unlabelled = digest(list(data.unlabelled.ids)) if self.uses_unlabelled else ""
        heads = [identity(auxiliary) for auxiliary in auxiliaries]
        judge = [] if data.judge is None else [digest(list(data.judge.ids), repr(data.judge.targets))]
        seen = data.labelled.source.value_range
        more = judge if seen is None else [*judge, "values", *seen]
        return digest("fit", dict(self.config), repr(self.task), labels, unlabelled, seed, init, heads, *more)

    @property
    def uses_unlabelled(self) -> bool:
        """Whether ``fit`` looks at unlabelled images."""
        return False
