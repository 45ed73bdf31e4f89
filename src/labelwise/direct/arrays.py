"""The arrays that people bring: opened, checked before any work, and turned into signals block by block.

Dimension key: N items, B rows of a block, C classes, D features, T stochastic draws.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from labelwise.contracts.query import Signals
from labelwise.contracts.signal import Draw, Plain, Probe, Ragged, Signal
from labelwise.contracts.task import Field, Outputs
from labelwise.direct.mapped import map_array, spool
from labelwise.errors import ConfigError, DataError, UnmetNeed
from labelwise.selection.arrays import ArrayLike, as_tensor, block_rows
from labelwise.selection.progress import report

#: an array, or the path of a file that holds one
Given: TypeAlias = ArrayLike | str | os.PathLike[str]

#: rows turned into signals at once
BLOCK = 65_536

#: rows named in a message
SHOWN = 5

#: what each array is, for the message that it is missing
HOW = {
    "probs": "class probabilities (N, C), such as the softmax outputs of your model",
    "embeddings": "one vector per item (N, D), such as the input of your model's last layer or the features of any "
    "pretrained backbone",
    "draws": "class probabilities of T stochastic passes (T, N, C), with dropout left on or from an ensemble",
}


@dataclass(frozen=True)
class Arrays(Signals):
    """Arrays in the frame of rows, and the signals that can be made of them.

    Args:
        probs_NC: class probabilities.
        embeddings_ND: one vector per item.
        draws_TNC: class probabilities of T stochastic passes.
        exclusive: rows of probabilities sum to one.
        mapped: names of those that lie on disk.
    """

    probs_NC: Tensor | None = None
    embeddings_ND: Tensor | None = None
    draws_TNC: Tensor | None = None
    exclusive: bool = True
    mapped: frozenset[str] = frozenset()

    @classmethod
    def open(
        cls, probs: Given | None, embeddings: Given | None, draws: Given | None, *, exclusive: bool = True
    ) -> Arrays:
        """Arrays as tensors on the same memory, files mapped; shapes are checked, values are not looked at yet.

        Raises:
            DataError: no numbers, complex ones, or a shape that cannot be.
            ConfigError: no array at all, or arrays of different lengths.
        """
        given = {"probs": probs, "embeddings": embeddings, "draws": draws}
        opened = cls(
            None if probs is None else _matrix("probs", probs, "class"),
            None if embeddings is None else _matrix("embeddings", embeddings, "feature"),
            None if draws is None else _draws(draws),
            exclusive,
            frozenset(name for name, array in given.items() if isinstance(array, str | os.PathLike | np.memmap)),
        )
        opened.size()
        return opened

    def size(self) -> int:
        """Number of items N.

        Raises:
            ConfigError: no array was given, or they disagree.
        """
        sizes = {
            name: size
            for name, size in (
                ("probs", None if self.probs_NC is None else len(self.probs_NC)),
                ("embeddings", None if self.embeddings_ND is None else len(self.embeddings_ND)),
                ("draws", None if self.draws_TNC is None else self.draws_TNC.shape[1]),
            )
            if size is not None
        }
        if not sizes:
            raise ConfigError("no array was given: pass embeddings= (N, D), probs= (N, C) or draws= (T, N, C)")
        if len(set(sizes.values())) > 1:
            raise ConfigError(
                f"the arrays have different numbers of items: {sizes}. Give one row for each item in all of them"
            )
        return next(iter(sizes.values()))

    @property
    def classes(self) -> int:
        """Number of classes C; 0 where nothing tells."""
        for array in (self.probs_NC, self.draws_TNC):
            if array is not None:
                return array.shape[-1]
        return 0

    # ---- what signals read ------------------------------------------------------------------------------------------

    def read_by(self, signal: Signal) -> frozenset[str]:
        """Names of the arrays that a signal is made of.

        Raises:
            UnmetNeed: one of them was not given, or no array could do.
        """
        if isinstance(signal, Probe):
            raise UnmetNeed(
                f"{signal.words} needs the model itself, not arrays: run it in a project with a torch learner"
            )
        if strange := signal.fields - {"probs", "per_image", "logits", "embedding"}:
            raise UnmetNeed(f"it needs {', '.join(sorted(strange))}, which only a model in a project gives")
        names = {"embeddings"} if "embedding" in signal.fields else set()
        if isinstance(signal, Draw):
            names.add("draws")
        elif signal.fields - {"embedding"}:
            names.add("draws" if self.probs_NC is None and self.draws_TNC is not None else "probs")
        for name in sorted(names):
            if self._array(name) is None:
                raise UnmetNeed(f"it needs {name}=, which was not given: {HOW[name]}")
        return frozenset(names)

    def _array(self, name: str) -> Tensor | None:
        return {"probs": self.probs_NC, "embeddings": self.embeddings_ND, "draws": self.draws_TNC}[name]

    def check(self, names: frozenset[str]) -> None:
        """Looks at every value of these arrays, once.

        Raises:
            DataError: values that are not finite or no probabilities; names the first rows.
        """
        if "probs" in names and self.probs_NC is not None:
            _check_probabilities(self.probs_NC, self.exclusive, "probs")
        if "embeddings" in names and self.embeddings_ND is not None:
            _check_finite(self.embeddings_ND)
        if "draws" in names and self.draws_TNC is not None:
            for number, probs_NC in enumerate(self.draws_TNC):
                _check_probabilities(probs_NC, self.exclusive, f"draws[{number}]")

    def matrix(self, signal: Signal) -> Tensor:
        """(N, ...) for a signal; the embeddings themselves without a copy, everything else block by block.

        Raises:
            UnmetNeed: an array that it is made from was not given.
        """
        self.read_by(signal)
        if signal.fields == {"embedding"} and isinstance(signal, Plain):
            assert self.embeddings_ND is not None
            return self.embeddings_ND
        count = self.size()
        parts = []
        for start in range(0, count, BLOCK):
            report("reading predictions", start, count)
            part = slice(start, start + BLOCK)
            parts.append(self._drawn(signal, part) if isinstance(signal, Draw) else self._plain(signal, part))
        report("reading predictions", count, count)
        return signal.settle(torch.cat(parts))

    def _plain(self, signal: Signal, part: slice) -> Tensor:
        assert isinstance(signal, Plain)
        rows = signal.compute(self._outputs(self._probs(part), signal.fields, part))
        assert not isinstance(rows, Ragged)
        return rows

    def _drawn(self, signal: Draw, part: slice) -> Tensor:
        assert self.draws_TNC is not None
        state = signal.start(self._outputs(self.draws_TNC[0, part].float(), signal.fields, part))
        for probs_NC in self.draws_TNC:
            state = signal.step(state, self._outputs(probs_NC[part].float(), signal.fields, part))
        return signal.finish(state)

    def _probs(self, part: slice) -> Tensor:
        """(B, C) float32; the mean of the draws where there is nothing else."""
        if self.probs_NC is not None:
            return self.probs_NC[part].float()
        assert self.draws_TNC is not None
        total_BC = torch.zeros_like(self.draws_TNC[0, part], dtype=torch.float32)
        for probs_NC in self.draws_TNC:
            total_BC += probs_NC[part]
        return total_BC / len(self.draws_TNC)

    def _outputs(self, probs_BC: Tensor, fields: frozenset[Field], part: slice) -> Outputs:
        extra: dict[Field, Tensor] = {}
        if "logits" in fields:
            extra["logits"] = probs_BC.clamp_min(1e-12).log()
        if "embedding" in fields and self.embeddings_ND is not None:
            extra["embedding"] = self.embeddings_ND[part]
        return Outputs.of_images(probs_BC, exclusive=self.exclusive).with_extra(extra)

    # ---- the order of rows ------------------------------------------------------------------------------------------

    def reordered(self, order_N: Tensor, names: frozenset[str]) -> Arrays:
        """These arrays with their rows in another order; what is not named is left out, what is in order is kept.

        Rows must lie in the order of their ids for the same seed to choose the same ids, and methods read matrices, so
        there is one copy of what the method reads: in memory where the array is, on disk where it was mapped.
        """
        if torch.equal(order_N, torch.arange(len(order_N))):
            return self

        def ordered(name: str) -> Tensor | None:
            array = self._array(name) if name in names else None
            return None if array is None else _in_order(array, order_N, on_disk=name in self.mapped)

        return Arrays(ordered("probs"), ordered("embeddings"), ordered("draws"), self.exclusive)


def _in_order(array: Tensor, order_N: Tensor, *, on_disk: bool) -> Tensor:
    if not on_disk:
        return torch.index_select(array, array.ndim - 2, order_N.to(array.device))
    matrices = array if array.ndim == 3 else array[None]

    def blocks() -> Iterator[Tensor]:
        done, total = 0, matrices.shape[0] * len(order_N)
        for rows_NX in matrices:
            for places_B in torch.split(order_N, block_rows(rows_NX)):
                report("putting rows in order", done, total)
                yield torch.index_select(rows_NX, 0, places_B)
                done += len(places_B)

    return spool(blocks(), array.dtype, tuple(array.shape))


# ---- opening --------------------------------------------------------------------------------------------------------


def numbers(name: str, given: Given, dims: int) -> Tensor:
    """An array of real numbers under the name of its argument.

    Raises:
        DataError: text, objects, complex numbers, a mask that would be lost, or (for one dimension ``ConfigError``) a
            shape of another length.
    """
    if isinstance(given, str | os.PathLike):
        tensor = map_array(given, name)
    elif isinstance(given, np.ma.MaskedArray):
        raise DataError(f"{name}= is a masked array: drop the masked rows, or fill them with numbers that you mean")
    else:
        try:
            tensor = as_tensor(given)
        except (TypeError, ValueError, RuntimeError, DataError) as error:
            raise DataError(f"{name}= is no array of numbers: {str(error).splitlines()[0]}") from error
    if tensor.is_complex():
        raise DataError(f"{name}= holds complex numbers ({tensor.dtype}): give real ones")
    if tensor.layout != torch.strided:
        raise DataError(f"{name}= is a sparse tensor: give a dense one")
    if tensor.ndim != dims:
        error_type = DataError if dims > 1 else ConfigError
        raise error_type(f"{name}= has shape {tuple(tensor.shape)}: give {dims} dimension{'s' if dims > 1 else ''}")
    return tensor


def _matrix(name: str, given: Given, column: str) -> Tensor:
    rows = numbers(name, given, 2)
    if not rows.shape[1]:
        raise DataError(f"{name}= has shape {tuple(rows.shape)}: give a column for each {column}")
    return rows


def _draws(given: Given) -> Tensor:
    draws_TNC = numbers("draws", given, 3)
    if not len(draws_TNC):
        raise DataError(f"draws= has shape {tuple(draws_TNC.shape)}: give at least one draw")
    if not draws_TNC.shape[2]:
        raise DataError(f"draws= has shape {tuple(draws_TNC.shape)}: give a column for each class")
    return draws_TNC


# ---- looking at every value -----------------------------------------------------------------------------------------


def _check_finite(rows_ND: Tensor) -> None:
    bad: list[int] = []
    for start, block_BD in _blocks(rows_ND, "checking embeddings"):
        low, high = torch.aminmax(block_BD)
        if not bool(torch.isfinite(low) & torch.isfinite(high)):  # NaN comes out of both
            bad += (start + torch.nonzero(~torch.isfinite(block_BD).all(1)).flatten()).tolist()
    if bad:
        more = f" and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
        raise DataError(
            f"embeddings= holds NaN or infinity in row{'s' * (len(bad) > 1)} {', '.join(map(str, bad[:SHOWN]))}{more}: "
            "mend or drop them"
        )


def _check_probabilities(probs_NC: Tensor, exclusive: bool, name: str) -> None:
    """Refuses rows that are no probabilities: names the first, what is in it and what is allowed."""
    for start, block_BC in _blocks(probs_NC, "checking probabilities"):
        rows = block_BC.float()
        low, high = torch.aminmax(rows)
        if not bool((low >= 0) & (high <= 1 + 1e-3)):  # false for NaN too
            bad_B = ~((rows >= 0) & (rows <= 1 + 1e-3)).all(1)
            row = int(bad_B.nonzero()[0])
            raise DataError(f"{name} row {start + row} holds {rows[row].tolist()[:6]}: every entry must lie in [0, 1]")
        off_B = (rows.sum(1) - 1).abs() > 1e-2
        if exclusive and rows.shape[1] > 1 and bool(off_B.any()):
            row = int(off_B.nonzero()[0])
            raise DataError(
                f"{name} row {start + row} sums to {float(rows[row].sum()):.4f} where classes exclude each other: "
                "it must sum to 1. Give softmax outputs, or exclusive=False for sigmoid heads"
            )


def _blocks(rows_NX: Tensor, what: str) -> Iterator[tuple[int, Tensor]]:
    """Blocks that stay in a cache, each with the number of its first row."""
    # as many as fill a cache of each of a few cores
    size = 4 * block_rows(rows_NX)
    for start in range(0, len(rows_NX), size):
        report(what, start, len(rows_NX))
        yield start, rows_NX[start : start + size]
