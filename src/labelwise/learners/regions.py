"""What a model says of regions: it reads each image once, however many of its regions are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from labelwise.contracts.learner import Examples
from labelwise.contracts.passes import Passes
from labelwise.contracts.progress import Progress
from labelwise.contracts.signal import Probe, Signal, SignalTable
from labelwise.contracts.targets import nearest
from labelwise.contracts.task import Batch, Outputs
from labelwise.data.regions import Regions
from labelwise.errors import UnmetNeed
from labelwise.learners.inference import Collector, Reader, wanted_fields

if TYPE_CHECKING:
    from labelwise.learners.networks import Networks


@dataclass(frozen=True)
class RegionsOfBatch:
    """Which region each pixel of a batch of images belongs to.

    A map at another size than the model's input takes the region at the centre of each input pixel. A region so small
    that it loses all its pixels that way keeps one: the input pixel that its middle falls into.

    Args:
        item_U: int64, for each input pixel, image by image and row by row, the region among all of the batch from 0;
            then one for each region that kept a pixel of another.
        pixel_U: which input pixel each of these is.
        counts_B: regions of each image.
        size: height and width of the model's input.
    """

    item_U: Tensor
    pixel_U: Tensor
    counts_B: tuple[int, ...]
    size: tuple[int, int]

    @classmethod
    def of(cls, maps: Sequence[Tensor], size: tuple[int, int], device: torch.device) -> RegionsOfBatch:
        """From the maps of the images (H, W), numbered from 1, and the size of the model's input."""
        height, width = size
        counts = tuple(int(found.max()) for found in maps)
        items, pixels, late = [], [], []
        start = 0
        for image, (found, count) in enumerate(zip(maps, counts, strict=True)):
            shrunk = nearest(found, size).flatten().long() - 1
            items.append(shrunk + start)
            pixels.append(torch.arange(height * width) + image * height * width)
            for region in torch.nonzero(shrunk.bincount(minlength=count) == 0).flatten().tolist():
                where = torch.nonzero(found == region + 1).double().mean(0) + 0.5
                row, column = (int(w * s / h) for w, s, h in zip(where.tolist(), size, found.shape, strict=True))
                late.append((region + start, image * height * width + row * width + column))
            start += count
        more = torch.tensor(late, dtype=torch.int64).reshape(-1, 2)
        return cls(
            torch.cat([*items, more[:, 0]]).to(device), torch.cat([*pixels, more[:, 1]]).to(device), counts, size
        )

    def of_outputs(self, outputs: Outputs) -> Outputs:
        """What was said of pixels, with regions as the items; the mean of the map inside is the region's embedding."""
        pixels = len(outputs.probs_UC)
        probs_UC = outputs.probs_UC
        if len(self.pixel_U) > pixels:
            probs_UC = torch.cat([probs_UC, probs_UC[self.pixel_U[pixels:]]])
        extra = {}
        if (maps_BDhw := outputs.extra.get("map_embedding")) is not None:
            extra["embedding"] = self._embedding(maps_BDhw.float())
        return replace(
            outputs, size=sum(self.counts_B), unit_item_U=self.item_U, probs_UC=probs_UC, weight_U=None, extra=extra
        )

    def _embedding(self, maps_BDhw: Tensor) -> Tensor:
        """(regions, D): the mean over a region's pixels of the cell of the map that each of them lies in."""
        height, width = maps_BDhw.shape[2:]
        cells, pixels = height * width, self.size[0] * self.size[1]
        grid = torch.arange(cells, device=maps_BDhw.device).view(height, width)
        cell_P = nearest(grid, self.size).flatten()
        image_U = self.pixel_U.div(pixels, rounding_mode="floor")
        means, start = [], 0
        for image, count in enumerate(self.counts_B):
            here = image_U == image
            # how many pixels of each region lie in each cell: a small matrix instead of a vector for every pixel
            pair_U = (self.item_U[here] - start) * cells + cell_P[self.pixel_U[here] - image * pixels]
            share_RW = pair_U.bincount(minlength=count * cells).view(count, cells).to(maps_BDhw.dtype)
            means.append(share_RW @ maps_BDhw[image].flatten(1).T / share_RW.sum(1, keepdim=True))
            start += count
        return torch.cat(means)


def asks_regions(view: Examples) -> bool:
    """Whether a view asks for regions, not for images alone."""
    return isinstance(view.source, Regions) and any(view.source.within(item)[1] is not None for item in view.ids)


def collect_regions(
    networks: Networks,
    reader: Reader,
    view: Examples,
    signals: frozenset[Signal],
    of_images: Callable[[Examples], SignalTable],
    *,
    seed: int,
    progress: Progress,
) -> SignalTable:
    """Rows of all signals for regions, in one pass over the images that they lie in, and for images beside them.

    Args:
        networks: what was trained.
        reader: reads images.
        view: regions, perhaps with some whole images.
        signals: functions of outputs and folds over draws.
        of_images: gives the rows of whole images.
        seed: of draws.
        progress: told on long work.

    Raises:
        UnmetNeed: a probe, which speaks of whole images; a task that says nothing of pixels, or embeddings of regions
            where it has none of places in an image.

    Cost: one pass over each image, whatever number of its regions is asked for.
    """
    task, fields = reader.task, wanted_fields(signals)
    if "per_pixel" not in task.provides:
        raise UnmetNeed(f"{task.name} says nothing of pixels, so nothing of regions: ask for whole images")
    if "embedding" in fields and "map_embedding" not in task.provides:
        raise UnmetNeed(f"{task.name} embeds images as a whole alone, not regions of them: choose another strategy")
    if probes := [signal for signal in signals if isinstance(signal, Probe)]:
        raise UnmetNeed(f"{probes[0].words} speaks of whole images, not of regions: choose another strategy")
    whole = [row for row, item in enumerate(view.ids) if view.source.within(item)[1] is None]
    cut = view.take(sorted(set(range(len(view))) - set(whole)))
    found = _of_regions(networks, reader, cut, signals, seed=seed, progress=progress)
    return joined([found, of_images(view.take(whole))], view.ids) if whole else found


@torch.inference_mode()
def _of_regions(
    networks: Networks, reader: Reader, view: Examples, signals: frozenset[Signal], *, seed: int, progress: Progress
) -> SignalTable:
    source = view.source
    assert isinstance(source, Regions), "the view asks for regions"
    images = Examples(source, tuple(dict.fromkeys(source.image_of(item) for item in view.ids)))
    want = wanted_fields(signals)
    if "embedding" in want:
        want |= {"map_embedding"}
    found: list[str] = []
    failed: dict[str, str] = {}
    draws = _Draws(networks, seed, want)
    collector = Collector(signals, draws)
    for loaded, batch in reader.batches(images, range(len(images)), "reading the pool", progress):
        failed |= {images.ids[row]: reason for row, reason in loaded.failed.items()}
        if not loaded.rows:
            continue
        read = [images.ids[row] for row in loaded.rows]
        maps = [torch.from_numpy(source.map_of(image).astype("int32")) for image in read]
        here = RegionsOfBatch.of(maps, (batch.images.shape[-2], batch.images.shape[-1]), batch.images.device)
        first = networks.outputs(batch, want)
        draws.here, draws.pixels = here, first
        collector.add(networks.nets[0], batch, partial(here.of_outputs, first))
        found += [
            f"{image}#{number}" for image, n in zip(read, here.counts_B, strict=True) for number in range(1, n + 1)
        ]
    failed = {item: failed[source.image_of(item)] for item in view.ids if source.image_of(item) in failed}
    return taken(SignalTable(tuple(found), collector.columns(), failed), [i for i in view.ids if i not in failed])


@dataclass
class _Draws:
    """Stochastic passes over the batch that is being read."""

    networks: Networks
    seed: int
    want: frozenset[str]
    here: RegionsOfBatch | None = None
    pixels: Outputs | None = None

    def __call__(self, batch: Batch, passes: Passes, first: Outputs) -> Iterator[Outputs]:
        assert self.here is not None, "the batch is set before draws are made"
        assert self.pixels is not None
        for drawn in self.networks.drawn(batch, passes, self.pixels, seed=self.seed, want=self.want):
            yield self.here.of_outputs(drawn)


def taken(table: SignalTable, ids: Sequence[str]) -> SignalTable:
    """The rows of these items, in this order.

    Raises:
        UnmetNeed: a signal that keeps something of every pixel.
    """
    row = {item: number for number, item in enumerate(table.ids)}
    rows = np.array([row[item] for item in ids], dtype=np.int64)
    columns: dict[Signal, Any] = {}
    for signal, column in table.columns.items():
        if isinstance(column, tuple):
            raise UnmetNeed(
                f"{signal.words} keeps something of every pixel, which is too much: choose another strategy"
            )
        columns[signal] = column[rows]
    return SignalTable(tuple(ids), columns, table.failed)


def joined(parts: Sequence[SignalTable], ids: Sequence[str]) -> SignalTable:
    """One table from those of images and of regions, its rows in the order of ``ids``."""
    full = [part for part in parts if part.ids]
    signals = {signal for part in full for signal in part.columns}
    columns = {signal: np.concatenate([part[signal] for part in full]) for signal in signals}
    failed = {item: reason for part in parts for item, reason in part.failed.items()}
    table = SignalTable(tuple(item for part in full for item in part.ids), columns, failed)
    return taken(table, [item for item in ids if item not in failed])
