"""Batches of prepared images: the one way learners read a source."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from labelwise.contracts.input import InputSpec
from labelwise.contracts.source import Source
from labelwise.errors import DataError

T = TypeVar("T")

#: prepared images a training keeps in memory between epochs, in bytes
CACHE_BYTES = 2 << 30


@dataclass(frozen=True)
class Loaded:
    """Some images of a view, prepared.

    Args:
        rows: row of the view each image belongs to.
        images: (B, C, H, W), uint8 or float.
        failed: row -> why it could not be read; such rows are missing from ``rows``.
    """

    rows: list[int]
    images: Tensor
    failed: dict[int, str] = field(default_factory=dict)


class PreparedImages(Dataset[Loaded]):
    """Images of some ids, decoded and resized; whole batches at a time, in memory once read where ``keep`` says so.

    Args:
        source: reads the images.
        ids: which, in row order.
        spec: how they are prepared.
        keep: whether prepared images stay in memory (up to ``CACHE_BYTES``).
    """

    def __init__(self, source: Source, ids: Sequence[str], spec: InputSpec, *, keep: bool = False) -> None:
        self.source = source
        self.ids = ids
        self.spec = spec
        item_bytes = spec.channels * spec.size[0] * spec.size[1]
        self._kept: dict[int, Tensor] | None = {} if keep and item_bytes * len(ids) <= CACHE_BYTES else None
        self._block: Tensor | None = None
        self.failed: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, row: int) -> Loaded:
        return self.__getitems__([row])

    def __getitems__(self, rows: Sequence[int]) -> Loaded:
        """Many rows at once; the name is the one that PyTorch's loader looks for."""
        if self._block is not None:
            return Loaded(list(rows), self._block[torch.as_tensor(rows)])
        images = self.source.batch([self.ids[row] for row in rows])
        if images is not None:
            return Loaded(list(rows), self.spec.prepare_batch(images))
        return self._one_by_one(rows)

    def _one_by_one(self, rows: Sequence[int]) -> Loaded:
        good: list[int] = []
        images: list[Tensor] = []
        failed: dict[int, str] = {}
        for row in rows:
            try:
                image = self._kept[row] if self._kept and row in self._kept else self._read(row)
            except DataError as error:
                failed[row] = self.failed[row] = str(error)
                continue
            good.append(row)
            images.append(image)
        empty = torch.empty(0, self.spec.channels, *self.spec.size, dtype=torch.uint8)
        return Loaded(good, torch.stack(images) if images else empty, failed)

    def _read(self, row: int) -> Tensor:
        if row in self.failed:
            raise DataError(self.failed[row])
        image = self.spec.prepare(self.source.load(self.ids[row]))
        if self._kept is not None:
            self._kept[row] = image
        return image

    @property
    def decoded(self) -> bool:
        """Whether reading costs no decoding."""
        return self._block is not None or not len(self) or self.source.batch(list(self.ids[:1])) is not None

    def keep_all(self) -> None:
        """Reads everything now into one block, so that epochs over a small set cost one gather a batch."""
        if self._kept is None or self._block is not None or not len(self):
            return
        loaded = [self.__getitems__(range(i, min(i + 256, len(self)))) for i in range(0, len(self), 256)]
        if not self.failed:
            self._block = torch.cat([part.images for part in loaded])
            self._kept.clear()

    @property
    def in_memory(self) -> bool:
        """Whether all of them lie in one block."""
        return self._block is not None

    def move(self, device: torch.device) -> None:
        """Keeps the block on a device, where there is one and the images are all read."""
        if self._block is not None:
            self._block = self._block.to(device)


def _same(loaded: Loaded) -> Loaded:
    return loaded


def batches(
    images: PreparedImages, order: Sequence[Sequence[int]], *, workers: int = 0, pin: bool = False
) -> Iterator[Loaded]:
    """Prepared images batch by batch.

    Args:
        images: what to read.
        order: rows of each batch.
        workers: decoding processes; 0 reads in this one.
        pin: page-locked memory, for a GPU.
    """
    loader = DataLoader(
        images,
        batch_sampler=order,  # type: ignore[arg-type]
        num_workers=workers,
        collate_fn=_same,  # type: ignore[arg-type]
        pin_memory=pin,
        # without a generator of its own the loader draws a seed from the global stream
        generator=torch.Generator(),
    )
    yield from loader if workers or images.decoded else ahead(loader)


def ahead(parts: Iterable[T], *, depth: int = 2) -> Iterator[T]:
    """The same items, each made in a thread while the ones before are used: decoding leaves Python to others.

    Args:
        parts: made one after the other.
        depth: items that may wait.
    """
    source, end = iter(parts), object()
    with ThreadPoolExecutor(1, thread_name_prefix="decoding") as thread:
        waiting = deque(thread.submit(next, source, end) for _ in range(depth))
        while (item := waiting.popleft().result()) is not end:
            waiting.append(thread.submit(next, source, end))
            yield cast("T", item)


def default_workers(source: Source, count: int) -> int:
    """Decoding processes that pay for their start: none for arrays and small sets, else one a core, at most 8."""
    if count < 2000 or source.batch(list(source.ids[:1])) is not None:
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(8, cores) if cores > 1 else 0


def blocks(count: int, size: int) -> list[range]:
    """Row ranges of at most ``size``, in order."""
    return [range(start, min(start + size, count)) for start in range(0, count, size)]
