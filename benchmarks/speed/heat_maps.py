"""Peaks, masses and places out of heat maps, on one thread: 1,000 images of 17 maps of 64 x 48 cells.

Run: ``python benchmarks/speed/heat_maps.py [--images N] [--turns N]``. The fastest of the turns counts, because such
machines are shared. Maps are worked on in blocks of 50 images, as batches come.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor

from labelwise.models import heat_maps


def made(images: int, points: int = 17, size: tuple[int, int] = (64, 48)) -> list[Tensor]:
    """Logits of bells with noise, in blocks."""
    rng = torch.Generator().manual_seed(0)
    blocks = []
    for start in range(0, images, 50):
        places = torch.rand(min(50, images - start), points, 2, generator=rng)
        down, across = heat_maps.bells(places, size, 2.0)
        bell = (down[..., :, None] * across[..., None, :]).clamp_min(1e-8).log()
        blocks.append(bell + 0.5 * torch.randn(bell.shape, generator=rng))
    return blocks


def fastest(work: Callable[[], object], turns: int) -> float:
    """Seconds."""
    found = []
    for _ in range(turns):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return min(found)


def main() -> None:
    """Prints seconds for each part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--turns", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    blocks = made(given.images)
    likely = [heat_maps.over_cells(block).flatten(0, 1) for block in blocks]
    cells = [heat_maps.peaks(block, 4, 4) for block in likely]
    parts: dict[str, Callable[[], object]] = {
        "places (decoded)": lambda: [heat_maps.decoded(block) for block in blocks],
        "softmax over cells": lambda: [heat_maps.over_cells(block) for block in blocks],
        "four peaks": lambda: [heat_maps.peaks(block, 4, 4) for block in likely],
        "masses of peaks": lambda: [heat_maps.masses(b, c, 4) for b, c in zip(likely, cells, strict=True)],
    }
    for name, work in parts.items():
        print(f"{name:20} {fastest(work, given.turns):6.3f} s for {given.images:,} images")


if __name__ == "__main__":
    main()
