"""Selection straight from arrays, for people who bring embeddings and probabilities and need no project."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from labelwise.contracts.head import LinearHead
from labelwise.contracts.query import Budget, Query, Selection, Signals
from labelwise.contracts.strategy import Collected, Needs, Step, Strategy, run_steps
from labelwise.direct.arrays import SHOWN, Arrays, Given, numbers
from labelwise.errors import ConfigError, DataError, UnmetNeed
from labelwise.rng import generator
from labelwise.selection.arrays import ArrayLike
from labelwise.selection.progress import Listener, listening
from labelwise.strategies import STRATEGIES
from labelwise.strategies.parts import needs_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from labelwise.contracts.signal import Signal


@dataclass(frozen=True)
class Picks:
    """What was chosen.

    Args:
        positions: rows of the arrays that were given, in the order chosen: int64 (K,).
        scores: higher = more wanted (K,); None where the method ranks without one.
        notes: remarks for people.
    """

    positions: np.ndarray
    scores: np.ndarray | None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.positions)


def select(
    strategy: str | Strategy,
    budget: int | Budget,
    *,
    probs: Given | None = None,
    embeddings: Given | None = None,
    draws: Given | None = None,
    head: tuple[ArrayLike, ArrayLike] | LinearHead | None = None,
    labelled: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    cost: ArrayLike | None = None,
    ids: Sequence[str] | None = None,
    exclusive: bool = True,
    seed: int = 0,
    progress: Listener | None = None,
    **options: Any,
) -> Picks:
    """Chooses which items to label next, from arrays of any model. Arrays that the method does not read are ignored.

    ``probs``, ``embeddings`` and ``draws`` may also be paths of ``.npy`` or ``.safetensors`` files (with
    ``FILE.safetensors#TENSOR`` for one tensor of several that bears another name): they are mapped and read in blocks,
    so they may be larger than memory.

    Args:
        strategy: a registered name (``labelwise.list_strategies()``) with ``options``, or a ``Strategy``.
        budget: how many items to choose; or ``labelwise.Budget(amount, unit)``, which buys as many as ``cost`` allows.
        probs: class probabilities (N, C).
        embeddings: one vector per item (N, D); any float type; memory maps are read in place.
        draws: class probabilities of stochastic passes (T, N, C).
        head: (weight (C, D), bias (C,)) of the linear layer that turns the embeddings into the logits of ``probs``, for
            methods that ask what the model would say of other embeddings. In PyTorch: ``(layer.weight, layer.bias)``.
        labelled: positions that have a label already; never chosen.
        labels: class index of each of those.
        cost: expected cost of each item (N,), for methods that weigh it.
        ids: a name for each row: the same ids are then chosen however the rows are ordered. For that the rows are put
            in the order of their ids: free where they lie so already, else one copy of the arrays that the method
            reads (of a mapped file in a temporary file, not in memory).
        exclusive: rows of ``probs`` sum to one; False for sigmoid heads.
        seed: of every random choice.
        progress: called with (what is going on, done, total) on long work; an exception that it raises ends the work.
        options: the strategy's own.

    Raises:
        ConfigError: unknown strategy or option, a budget larger than the pool, arrays of different lengths.
        DataError: probabilities that are none, values that are not finite, a file that cannot be read. Every array that
            the method reads is looked at before any work.
        UnmetNeed: the method needs an array that was not given.

    Cost: the strategy's, and two passes over what it reads; embeddings are not copied unless ``ids`` reorders them.

    Example:
        >>> import labelwise as lw
        >>> picks = lw.select("margin", budget=1, probs=[[0.9, 0.1], [0.6, 0.4]])
        >>> picks.positions.tolist(), f"{picks.scores[0]:.2f}"
        ([1], '0.80')
    """
    if options and not isinstance(strategy, str):
        raise ConfigError(f"{strategy!r} came with {', '.join(options)}=: give a strategy its options where it is made")
    chosen = STRATEGIES.create(strategy, **options) if isinstance(strategy, str) else strategy
    _refuse(chosen)
    arrays = Arrays.open(probs, embeddings, draws, exclusive=exclusive)
    count = arrays.size()
    order = None if ids is None else _order(ids, count)
    labelled_L, labels_L = _labelled(labelled, labels, count, arrays.classes)
    cost_N = _cost(cost, count)
    if order is not None:
        labelled_L = _inverse(order)[labelled_L]
        cost_N = None if cost_N is None else cost_N[order]
    spend = budget if isinstance(budget, Budget) else Budget(budget)
    rng, layer = generator(seed, "select", 0), _head(head, arrays)
    query = Query(labelled_L, labelled_L[:0], 0, rng, labels_L=labels_L, cost_N=cost_N, head=layer)
    query = _query(query, count, arrays.classes, spend)
    with contextlib.nullcontext() if progress is None else listening(progress):
        selection = spend.cut(_chosen(chosen, query, arrays, order), query.cost_N)
    positions_K = selection.positions_K.cpu()
    scores = None if selection.scores_K is None else selection.scores_K.cpu().numpy()
    return Picks((positions_K if order is None else order[positions_K]).numpy(), scores, selection.notes)


def _refuse(strategy: Strategy) -> None:
    """What arrays cannot give to any method is refused at once."""
    if strategy.oracle or needs_of([strategy]).truth:
        raise UnmetNeed(f"strategy {strategy.name!r} reads hidden labels: it exists only in simulated campaigns")
    if auxiliaries := strategy.auxiliaries():
        names = ", ".join(auxiliary.name for auxiliary in auxiliaries)
        raise UnmetNeed(
            f"strategy {strategy.name!r} trains a head beside the model ({names}): run it in a project with a torch "
            "learner"
        )


def _chosen(strategy: Strategy, query: Query, arrays: Arrays, order: Tensor | None) -> Selection:
    """What the strategy makes of the arrays, their rows in this order.

    Raises:
        UnmetNeed: the method needs an array that is not there.
    """
    try:
        read = _read(arrays, needs_of([strategy.acts_as(query)]), query.head)
        arrays.check(read)
        ordered = arrays if order is None else arrays.reordered(order, read)
        return run_steps(strategy, query, lambda step, now: _collected(ordered, step, now))
    except UnmetNeed as error:
        raise UnmetNeed(f"strategy {strategy.name!r} cannot run on what it was given: {error}") from None


def _read(arrays: Arrays, needs: Needs, layer: LinearHead | None) -> frozenset[str]:
    """Names of the arrays that are going to be read; before any of them is."""
    if needs.exclusive and not arrays.exclusive:
        raise UnmetNeed(
            "it asks which one class an item is, and with exclusive=False an item may be of several: take margin, "
            "entropy or least_confidence, or a strategy that reads embeddings alone"
        )
    if needs.head and layer is None:
        raise UnmetNeed(
            "it needs head=, which was not given: give (weight (C, D), bias (C,)) of the model's last linear layer, "
            "the one that reads the embeddings; in PyTorch head=(layer.weight, layer.bias)"
        )
    return frozenset[str]().union(*(arrays.read_by(signal) for signal in needs.signals))


def _collected(arrays: Arrays, step: Step, query: Query) -> Collected:
    rows: Mapping[Signal, Tensor] = {signal: arrays.matrix(signal) for signal in step.needs.signals}
    return Collected(Held(rows), query.unlabelled_M, query.labelled_L, query.reference_R)


@dataclass(frozen=True)
class Held(Signals):
    """Signals that are at hand, by position."""

    rows: Mapping[Signal, Tensor]

    def matrix(self, signal: Signal) -> Tensor:
        """(N, ...) by position."""
        return self.rows[signal]


def _query(query: Query, count: int, classes: int, spend: Budget) -> Query:
    """The same with its candidates, its labelled items in order, and its budget checked."""
    free_N = torch.ones(count, dtype=torch.bool)
    free_N[query.labelled_L] = False
    unlabelled_M = free_N.nonzero().squeeze(1)
    order = query.labelled_L.argsort()
    labels_L = None if query.labels_L is None else query.labels_L[order]
    return replace(
        query,
        labelled_L=query.labelled_L[order],
        unlabelled_M=unlabelled_M,
        budget=spend.items(len(unlabelled_M), None if query.cost_N is None else query.cost_N[unlabelled_M]),
        labels_L=labels_L,
        class_counts_C=None if labels_L is None else labels_L.bincount(minlength=classes),
    )


def _labelled(
    labelled: ArrayLike | None, labels: ArrayLike | None, count: int, classes: int
) -> tuple[Tensor, Tensor | None]:
    labelled_L = _whole("labelled", [] if labelled is None else labelled)
    outside = labelled_L[(labelled_L < 0) | (labelled_L >= count)].tolist()
    if outside:
        shown = ", ".join(map(str, outside[:SHOWN]))
        raise ConfigError(f"labelled= holds positions outside 0 to {count - 1} ({shown}): give rows of the arrays")
    names, times = torch.unique(labelled_L, return_counts=True)
    if len(names) != len(labelled_L):
        shown = ", ".join(map(str, names[times > 1][:SHOWN].tolist()))
        raise ConfigError(f"labelled= holds a position twice ({shown}): give each row once")
    if labels is None:
        return labelled_L, None
    labels_L = _whole("labels", labels)
    if len(labels_L) != len(labelled_L):
        raise ConfigError(
            f"labels= has {len(labels_L)} entries for {len(labelled_L)} labelled positions: give one for each"
        )
    if len(labels_L) and int(labels_L.min()) < 0:
        raise ConfigError(f"labels= holds {int(labels_L.min())}: give the index of a class, 0 or more")
    if classes > 1 and len(labels_L) and int(labels_L.max()) >= classes:
        raise ConfigError(
            f"labels= holds {int(labels_L.max())}, and the probabilities have {classes} classes: give 0 to "
            f"{classes - 1}"
        )
    return labelled_L, labels_L


def _whole(name: str, array: ArrayLike) -> Tensor:
    found = numbers(name, array, 1).cpu()
    if found.numel() and (found.is_floating_point() or found.dtype == torch.bool):
        raise ConfigError(f"{name}= has type {found.dtype}: give whole numbers (for a mask, numpy.flatnonzero(mask))")
    return found.to(torch.int64)


def _cost(cost: ArrayLike | None, count: int) -> Tensor | None:
    if cost is None:
        return None
    cost_N = numbers("cost", cost, 1)
    if len(cost_N) != count:
        raise ConfigError(f"cost= has {len(cost_N)} entries for {count} rows: give one for each")
    if not bool(torch.isfinite(cost_N).all()) or bool((cost_N < 0).any()):
        raise ConfigError("cost= holds values that are negative or not finite: give what each item will cost")
    return cost_N


def _head(head: tuple[ArrayLike, ArrayLike] | LinearHead | None, arrays: Arrays) -> LinearHead | None:
    if head is None:
        return None
    if isinstance(head, LinearHead):
        head = (head.weight_CD, head.bias_C)
    if isinstance(head, str | Tensor | np.ndarray) or not isinstance(head, Sequence) or len(head) != 2:
        raise ConfigError("head= is no pair: give (weight, bias) of the last linear layer, of shapes (C, D) and (C,)")
    weight_CD, bias_C = numbers("head weight", head[0], 2).float(), numbers("head bias", head[1], 1).float()
    classes, width = weight_CD.shape
    if len(bias_C) != classes:
        raise ConfigError(
            f"head= has a weight of shape ({classes}, {width}) and a bias of {len(bias_C)}: give {classes}"
        )
    if arrays.embeddings_ND is not None and arrays.embeddings_ND.shape[1] != width:
        raise ConfigError(
            f"head= reads {width} features, and embeddings= has {arrays.embeddings_ND.shape[1]}: give the layer that "
            "reads these embeddings; its weight has shape (classes, features)"
        )
    if arrays.probs_NC is not None and arrays.probs_NC.shape[1] != classes:
        raise ConfigError(
            f"head= has {classes} classes, and probs= has {arrays.probs_NC.shape[1]}: give the layer that made them; "
            "its weight has shape (classes, features)"
        )
    if not bool(torch.isfinite(weight_CD).all() & torch.isfinite(bias_C).all()):
        raise DataError("head= holds NaN or infinity: did the training diverge?")
    return LinearHead(weight_CD, bias_C)


def _order(ids: Sequence[str], count: int) -> Tensor:
    if len(ids) != count:
        raise ConfigError(f"ids= has {len(ids)} names for {count} rows: give one for each")
    if len(set(ids)) != count:
        raise ConfigError("ids= names two rows alike: ids must be unique")
    kinds = sorted({type(name).__name__ for name in ids})
    if len(kinds) > 1:
        raise ConfigError(f"ids= mixes {' and '.join(kinds)}: give names of one type, so that they have an order")
    return torch.from_numpy(np.argsort(np.asarray(ids, dtype=object), kind="stable").astype(np.int64))


def _inverse(order: Tensor) -> Tensor:
    inverse = torch.empty_like(order)
    inverse[order] = torch.arange(len(order))
    return inverse


def list_strategies() -> list[str]:
    """Names of all registered strategies.

    Example:
        >>> "margin" in list_strategies()
        True
    """
    return STRATEGIES.names()
