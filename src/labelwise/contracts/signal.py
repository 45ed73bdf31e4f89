"""The contract for signals, and the table in which they come back.

A signal's value for an image depends on the weights it uses, the image, the transform, its own parameters, the seed,
and for a probe on what it was prepared with; not on the other signals asked for, nor (to 1e-5 relative) on the batch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from torch import Tensor

from labelwise.contracts.task import Field, Outputs
from labelwise.errors import UndeclaredSignal

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

    from labelwise.contracts.passes import Passes
    from labelwise.contracts.task import Batch, Task

SignalRole = Literal["pool", "labelled", "reference"]
#: images that a probe may be prepared from
Prepared = Literal["labelled", "unlabelled", "reference", "validation", "test"]


@dataclass(frozen=True)
class Ragged:
    """Rows of different lengths: the values end to end, and how many belong to each item.

    Args:
        values: (sum of counts, ...).
        counts_B: int64, one for each item, zero allowed.
    """

    values: Tensor
    counts_B: Tensor


@dataclass(frozen=True)
class Signal(ABC):
    """One quantity per item. Frozen: constructor = configuration = repr = cache key."""

    name: ClassVar[str]
    #: raised whenever the same parameters come to mean other values: old cache rows are then not found
    version: ClassVar[int] = 1

    @property
    def fields(self) -> frozenset[Field]:
        """Fields of ``Outputs.extra`` (and ``probs``) that must be provided."""
        return frozenset({"probs"})

    @property
    def of(self) -> Literal["task", "frozen"]:
        """Whose output it reads: the trained model's, or the frozen feature source's, whose rows survive every fit."""
        return "task"

    def settle(self, rows_N: Tensor) -> Tensor:
        """Rows of all candidates together, once they are there: the place to fill in items that had no unit."""
        return rows_N

    @property
    def words(self) -> str:
        """What it is called where people read of it."""
        return self.name.replace("_", " ")

    @property
    def of_places(self) -> Signal | None:
        """The same of each place of an image, for maps: rows (B, h, w), or (B, H * W) of the pixels of the input."""
        return None

    @property
    def key(self) -> str:
        """Name, version and parameters: the signal's own part of a cache key."""
        return f"{self.name}@{self.version}:{self!r}"


@dataclass(frozen=True)
class Plain(Signal):
    """A pure function of the outputs of one deterministic pass."""

    @abstractmethod
    def compute(self, outputs: Outputs) -> Tensor | Ragged:
        """(B, ...): one row for each image of the batch."""


@dataclass(frozen=True)
class Draw(Signal):
    """A fold over stochastic passes, so that T passes need the memory of one."""

    @property
    @abstractmethod
    def passes(self) -> Passes:
        """Where the stochastic passes come from."""

    @abstractmethod
    def start(self, outputs: Outputs) -> Any:
        """State after the deterministic pass."""

    @abstractmethod
    def step(self, state: Any, outputs: Outputs) -> Any:
        """State after one more stochastic pass."""

    @abstractmethod
    def finish(self, state: Any) -> Tensor:
        """(B, ...): one row for each image of the batch."""


@dataclass(frozen=True)
class ProbeContext:
    """What a probe may look at once per round.

    ``labelled``, ``unlabelled``, ``reference`` and ``validation`` start a fresh pass over their images: batches with
    targets where there are any, in a fixed order. ``count`` says how many images each has. What is summed over images
    is summed by ``part`` and ``total``: of several processes each reads a part, and has the sum of all.

    Args:
        test: images that the study measures on, where a probe names them: there is nothing in a project.
        part: the share of this process of the images of one of these views; None: all are its own.
        total: the sum of a tensor over all processes.
    """

    model: nn.Module
    task: Task[Any]
    labelled: Callable[[], Iterator[Batch]]
    unlabelled: Callable[[], Iterator[Batch]]
    reference: Callable[[], Iterator[Batch]]
    rng: np.random.Generator
    count: Mapping[str, int] = field(default_factory=dict)
    validation: Callable[[], Iterator[Batch]] = lambda: iter(())
    test: Callable[[], Iterator[Batch]] = lambda: iter(())
    part: Callable[[Prepared], Iterator[Batch]] | None = None
    total: Callable[[Tensor], Tensor] = lambda found: found

    def mine(self, name: Prepared) -> Iterator[Batch]:
        """A fresh pass over this process's share of a view."""
        found: Iterator[Batch] = getattr(self, name)() if self.part is None else self.part(name)
        return found


@dataclass(frozen=True)
class Probe(Signal):
    """A signal that is given the model: directional derivatives, activation gradients, auto-encoders."""

    #: whether it looks at pictures and inner layers; else it may as well be given a last layer and features
    of_images: ClassVar[bool] = True

    @property
    def prepared_from(self) -> frozenset[Prepared]:
        """Which views ``prepare`` reads: their items become part of the cache key.

        A reference or validation set that is named here and is not there is refused before anything is trained, and the
        test set, which leaks, outside of simulated campaigns.
        """
        return frozenset({"labelled"})

    @property
    def reads_targets(self) -> bool:
        """Whether ``compute`` reads the targets of a batch; else it is given none."""
        return False

    def check(self, model: nn.Module, task: Task[Any]) -> None:
        """Refuses a model, or a kind of label, that it cannot probe; asked before anything is trained.

        Raises:
            ConfigError: says what is missing, and what there is.
            UnmetNeed: it works on other models or tasks.
        """

    @abstractmethod
    def prepare(self, context: ProbeContext) -> Any:
        """State for this round."""

    @abstractmethod
    def compute(self, state: Any, model: nn.Module, batch: Batch, role: SignalRole) -> Tensor:
        """(B, ...): one row for each image of the batch."""


def read_targets(signals: Iterable[Signal]) -> bool:
    """Whether some of these signals are computed from the labels of the images."""
    return any("loss" in s.fields or (isinstance(s, Probe) and s.reads_targets) for s in signals)


@dataclass(frozen=True)
class SignalTable:
    """Rows of several signals for the same items.

    Args:
        ids: the items that have rows, in row order.
        columns: for each signal an array (len(ids), ...), memory-mapped where it came from disk, or a pair
            (values, offsets) for ragged rows.
        failed: id -> why the image could not be read. These have no row.
    """

    ids: tuple[str, ...]
    columns: Mapping[Signal, np.ndarray | tuple[np.ndarray, np.ndarray]]
    failed: Mapping[str, str] = field(default_factory=dict)

    def __getitem__(self, signal: Signal) -> np.ndarray:
        """Rows of a signal that has one fixed shape.

        Raises:
            UndeclaredSignal: the table was collected without it.
        """
        rows = self.columns.get(signal)
        if rows is None and not self.ids:
            return np.empty(0, dtype=np.float32)
        if rows is None:
            raise UndeclaredSignal(
                f"{signal!r} was not collected: declare it in Needs. Collected: {list(self.columns)}"
            )
        if isinstance(rows, tuple):
            raise UndeclaredSignal(f"{signal!r} has ragged rows: read them with table.ragged(signal)")
        return rows

    def ragged(self, signal: Signal) -> tuple[np.ndarray, np.ndarray]:
        """(values, offsets) of a ragged signal: row i is values[offsets[i]:offsets[i + 1]]."""
        rows = self.columns.get(signal)
        if rows is None and not self.ids:
            return np.empty(0, dtype=np.float32), np.zeros(1, dtype=np.int64)
        if not isinstance(rows, tuple):
            raise UndeclaredSignal(f"{signal!r} was not collected as ragged rows")
        return rows


def stack_rows(parts: Sequence[Tensor | Ragged]) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
    """Batches of rows as one column of a table."""
    if isinstance(parts[0], Ragged):
        ragged = [part for part in parts if isinstance(part, Ragged)]
        values = np.concatenate([part.values.cpu().numpy() for part in ragged])
        counts = np.concatenate([part.counts_B.cpu().numpy() for part in ragged])
        return values, np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return np.concatenate([part.cpu().numpy() for part in parts if isinstance(part, Tensor)])
