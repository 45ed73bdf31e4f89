"""Signal rows on disk: computed once for each (weights, transform, signal) and image content, found again ever after.

A key is a folder; each pass that adds rows writes one shard: the values, then the row keys, whose appearance commits
the shard. A killed pass leaves at most a shard without keys, which nobody reads. Adding ten images computes ten rows.
Of several processes on one disk the main one writes, and says what is missing; all of them compute and read.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from labelwise.contracts.learner import Examples, LearnerData, Producer
from labelwise.contracts.progress import Progress, silent
from labelwise.contracts.signal import Probe, Signal, SignalRole, SignalTable
from labelwise.errors import StateError
from labelwise.processes import from_main, is_main
from labelwise.rng import digest

if TYPE_CHECKING:
    Column = np.ndarray | tuple[np.ndarray, np.ndarray]

#: items whose rows are computed before they are written: what a killed pass can lose
CHUNK = 16_384


class SignalCache:
    """Rows by key and image content.

    Args:
        folder: where the rows lie; None keeps nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def table(
        self,
        producer: Producer,
        view: Examples,
        signals: frozenset[Signal],
        *,
        role: SignalRole = "pool",
        data: LearnerData | None = None,
        seed: int = 0,
        progress: Progress = silent,
    ) -> SignalTable:
        """Rows of ``signals`` for the items of ``view``; only what is missing is computed, all signals in one pass.

        Args:
            producer: computes missing rows.
            view: the items; rows of those whose content the source cannot tell are never kept.
            signals: what is wanted.
            role: of the items, for probes.
            data: what probes are prepared with.
            seed: of draws and probes.
            progress: told while rows are computed.
        """
        if self.folder is None or not signals:
            return producer.collect(view, signals, role=role, data=data, seed=seed, progress=progress)
        keys = {signal: producer.signal_key(signal, data=data, seed=seed) for signal in signals}
        contents = from_main(lambda: view.source.content(view.ids))
        wanted = np.array([content.encode() for content in contents], dtype="S32")
        kept, found = self._find(keys, wanted)
        lacking = frozenset(signal for signal in signals if (found[signal] < 0).any())
        failed: dict[str, str] = {}
        unkept: list[SignalTable] = []
        if lacking:
            missing = np.flatnonzero(np.logical_or.reduce([found[signal] < 0 for signal in lacking]))
            size = len(missing) if any(isinstance(signal, Probe) for signal in lacking) else CHUNK
            for start in range(0, len(missing), size):
                part = missing[start : start + size]
                table = producer.collect(
                    view.take(part.tolist()), lacking, role=role, data=data, seed=seed,
                    progress=_shifted(progress, start, len(missing)),
                )  # fmt: skip
                failed.update(table.failed)
                unkept.append(self._write(table, {view.ids[i]: contents[i] for i in part}, keys))
            kept, found = self._find(keys, wanted)
        at = {item: i for i, item in enumerate(view.ids)} if any(table.ids for table in unkept) else {}
        for table in unkept:
            for signal in table.columns:
                found[signal][[at[item] for item in table.ids]] = kept[signal].lend(table.columns[signal])
        have = np.logical_and.reduce([rows >= 0 for rows in found.values()])
        columns = {signal: rows.read(found[signal][have]) for signal, rows in kept.items()} if have.any() else {}
        return SignalTable(tuple(view.ids[i] for i in np.flatnonzero(have)), columns, failed)

    def _find(
        self, keys: dict[Signal, str], wanted: np.ndarray
    ) -> tuple[dict[Signal, _Kept], dict[Signal, np.ndarray]]:
        """What is kept of each signal, and where its rows are; the same in all processes."""
        assert self.folder is not None
        folder = self.folder
        # in the order of their keys: that of a set differs between processes
        names = {signal: from_main(partial(_shards, folder / key)) for signal, key in _sorted(keys)}
        kept = {signal: _Kept(folder / keys[signal], shards) for signal, shards in names.items()}
        return kept, {signal: rows.find(wanted) for signal, rows in kept.items()}

    def _write(self, table: SignalTable, content_of: dict[str, str], keys: dict[Signal, str]) -> SignalTable:
        """Keeps the rows of all items whose content is known; returns the rows of the others."""
        assert self.folder is not None
        row_keys = np.array([content_of[item].encode() for item in table.ids], dtype="S32")
        known, unknown = np.flatnonzero(row_keys != b""), np.flatnonzero(row_keys == b"")
        if len(known):
            from_main(lambda: self._add(table, row_keys, known, keys))
        columns = {signal: _take(column, unknown) for signal, column in table.columns.items()} if len(unknown) else {}
        return SignalTable(tuple(table.ids[i] for i in unknown), columns)

    def _add(self, table: SignalTable, row_keys: np.ndarray, known: np.ndarray, keys: dict[Signal, str]) -> None:
        assert self.folder is not None
        for signal, column in table.columns.items():
            try:
                _Kept(self.folder / keys[signal], ()).add(row_keys[known], _take(column, known))
            except OSError as error:
                raise StateError(
                    f"cannot keep signal rows in {self.folder}: {error}. "
                    "Check that the folder is writable and the disk has room"
                ) from error

    def prune(self, keep: set[str]) -> None:
        """Deletes rows under all other keys."""
        if self.folder is None or not self.folder.is_dir() or not is_main():
            return
        for entry in self.folder.iterdir():
            if entry.name not in keep:
                shutil.rmtree(entry, ignore_errors=True)


def _sorted(keys: dict[Signal, str]) -> list[tuple[Signal, str]]:
    return sorted(keys.items(), key=lambda item: item[1])


def _shards(folder: Path) -> list[str]:
    """Names of the shards that are whole."""
    names = sorted(path.name.removesuffix(".keys.npy") for path in folder.glob("*.keys.npy"))
    return [name for name in names if _read_shard(folder, name) is not None]


def _shifted(progress: Progress, start: int, total: int) -> Progress:
    def shifted(stage: str, done: int, _: int) -> None:
        progress(stage, start + done, total)

    return shifted


class _Kept:
    """The shards of one key: keys, values and offsets of each, offsets None where rows have one fixed shape."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self.folder = folder
        self._keys: list[np.ndarray] = []
        self._columns: list[Column] = []
        for name in names:
            if (shard := _read_shard(folder, name)) is not None:
                self._keys.append(shard[0])
                self._columns.append(shard[1])

    def find(self, wanted: np.ndarray) -> np.ndarray:
        """Row of each wanted key over all shards end to end; -1 where there is none."""
        if not self._keys:
            return np.full(len(wanted), -1, dtype=np.int64)
        keys = np.concatenate(self._keys)
        if len(keys) == len(wanted) and np.array_equal(keys, wanted):
            return np.arange(len(wanted), dtype=np.int64)
        order = np.argsort(keys, kind="stable")
        at = np.searchsorted(keys, wanted, sorter=order).clip(max=len(keys) - 1)
        rows = order[at]
        return np.where((keys[rows] == wanted) & (wanted != b""), rows, -1).astype(np.int64)

    def lend(self, column: Column) -> np.ndarray:
        """Joins rows that are not on disk to those that are; returns their numbers."""
        start = sum(_count(shard) for shard in self._columns)
        self._columns.append(column)
        return np.arange(start, start + _count(column), dtype=np.int64)

    def read(self, rows: np.ndarray) -> Column:
        """These rows; mapped from the file where one shard holds exactly them in this order."""
        first = self._columns[0]
        if len(self._columns) == 1 and np.array_equal(rows, np.arange(_count(first))):
            return first
        ragged = [column for column in self._columns if isinstance(column, tuple)]
        if ragged:
            return _read_ragged([values for values, _ in ragged], [offsets for _, offsets in ragged], rows)
        parts = [column for column in self._columns if not isinstance(column, tuple)]
        if len({part.shape[1:] for part in parts}) > 1:
            shapes = ", ".join(sorted({str(part.shape[1:]) for part in parts}))
            raise StateError(
                f"{self.folder} holds rows of different shapes ({shapes}): "
                "a file of other data was laid there. Delete the folder, its rows are computed again"
            )
        starts = np.cumsum([0, *[len(part) for part in parts]])
        out = np.empty((len(rows), *parts[0].shape[1:]), dtype=parts[0].dtype)
        for part, start, end in zip(parts, starts, starts[1:], strict=False):
            here = np.flatnonzero((rows >= start) & (rows < end))
            out[here] = part[rows[here] - start]
        return out

    def add(self, row_keys: np.ndarray, column: Column) -> None:
        """Writes a shard; the keys come last."""
        self.folder.mkdir(parents=True, exist_ok=True)
        name = digest(row_keys.tobytes().hex())
        values, offsets = column if isinstance(column, tuple) else (column, None)
        parts: list[tuple[str, Any]] = [("values", values), ("offsets", offsets), ("keys", row_keys)]
        for kind, array in parts:
            if array is None:
                continue
            draft = self.folder / f"{name}.{kind}.{os.getpid()}.tmp"
            with draft.open("wb") as file:
                np.save(file, array, allow_pickle=False)
            draft.replace(self.folder / f"{name}.{kind}.npy")


def _read_shard(folder: Path, name: str) -> tuple[np.ndarray, Column] | None:
    """Keys and column of a shard; None for one that a power cut left without its end: its rows are computed again."""
    try:
        keys: np.ndarray = np.load(folder / f"{name}.keys.npy")
        values: np.ndarray = np.load(folder / f"{name}.values.npy", mmap_mode="r")
        where = folder / f"{name}.offsets.npy"
        column: Column = (values, np.load(where)) if where.exists() else values
    except (OSError, ValueError, EOFError):
        return None
    return (keys, column) if _count(column) == len(keys) else None


def _count(column: Column) -> int:
    return len(column[1]) - 1 if isinstance(column, tuple) else len(column)


def _take(column: Column, rows: np.ndarray) -> Column:
    if len(rows) == _count(column):
        return column
    return _read_ragged([column[0]], [column[1]], rows) if isinstance(column, tuple) else column[rows]


def _read_ragged(values: list[np.ndarray], offsets: list[np.ndarray], rows: np.ndarray) -> Column:
    starts = np.concatenate([part[:-1] + base for part, base in _with_base(values, offsets)])
    counts = np.concatenate([np.diff(part) for part in offsets])
    everything = np.concatenate(values)
    taken = [everything[starts[row] : starts[row] + counts[row]] for row in rows]
    new_offsets = np.concatenate([[0], np.cumsum(counts[rows])]).astype(np.int64)
    return (np.concatenate(taken) if taken else everything[:0]), new_offsets


def _with_base(values: list[np.ndarray], offsets: list[np.ndarray]) -> list[tuple[np.ndarray, int]]:
    bases = np.cumsum([0, *[len(part) for part in values]])[:-1]
    return list(zip(offsets, bases.tolist(), strict=True))
