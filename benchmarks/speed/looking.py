"""``similar`` and ``duplicates`` on a large pool: processor time on one thread, memory, and what an index misses.

Run: ``python benchmarks/speed/looking.py [--rows N] [--width D] [--threshold T]``.

Rows are normal around 100 loose centres; a fifth of the pool are copies of others with noise: cosines of 0.985 to 0.995
(``near``), or around 0.95 (``far``), where many lie just below the threshold. So it is known which rows are copies;
whether groups are the right ones is tested against all pairs in ``tests/reference/test_select_likeness.py``.
"""

from __future__ import annotations

import argparse
import time

import machine
import numpy as np
import torch

from labelwise.selection.likeness import most_alike, outlyingness
from labelwise.selection.near_duplicates import Groups, near_duplicates


def rows(count: int, width: int, noise: float) -> tuple[torch.Tensor, torch.Tensor]:
    """(count, width) rows, the last fifth of which are copies, and of which row each copy is one."""
    chance = torch.Generator().manual_seed(0)
    found_ND = torch.randn(count, width, generator=chance)
    centres_CD = torch.randn(100, width, generator=chance)
    own = count - count // 5
    for part in torch.arange(own).split(65_536):
        found_ND[part] += centres_CD[torch.randint(100, (len(part),), generator=chance)]
    copied = torch.randint(own, (count - own,), generator=chance)
    for part in torch.arange(count - own).split(65_536):
        found_ND[own + part] = found_ND[copied[part]] + noise * torch.randn(len(part), width, generator=chance)
    return found_ND, copied


def measure(pool_ND: torch.Tensor, copied: torch.Tensor, threshold: float, *, outliers: bool) -> None:
    """Prints one line a call."""
    size = pool_ND.numel() * pool_ND.element_size()
    calls = {
        "similar, 1 example": lambda: most_alike(pool_ND, pool_ND[:1], 50),
        "similar, 10 examples": lambda: most_alike(pool_ND, pool_ND[:10], 50),
        "duplicates": lambda: near_duplicates(pool_ND, threshold, rng=np.random.default_rng(0)),
    }
    if outliers:
        calls["outliers"] = lambda: outlyingness(pool_ND, rng=np.random.default_rng(0))
    for name, call in calls.items():
        started = time.process_time()
        _, memory, found = machine.with_memory(call)
        print(f"  {name}: {time.process_time() - started:.2f} s of processor time, {memory / size:.2f} x the rows")
        if isinstance(found, Groups):
            tell(found, pool_ND, copied, threshold)


def tell(found: Groups, pool_ND: torch.Tensor, copied: torch.Tensor, threshold: float) -> None:
    """Prints how many copies are in the group of their original, of those that are linked to it."""
    place = torch.arange(len(pool_ND) - len(copied), len(pool_ND))
    parts = zip(place.split(65_536), copied.split(65_536), strict=True)
    cosine = torch.cat([torch.nn.functional.cosine_similarity(pool_ND[a], pool_ND[b]) for a, b in parts])
    linked = cosine >= threshold
    together = (found.group_N[place] == found.group_N[copied]) & (found.group_N[place] >= 0)
    print(
        f"    exact: {found.exact}; {found.found:,} of {found.links:,} links of {found.audited:,} rows; "
        f"{int((together & linked).sum()):,} of {int(linked.sum()):,} linked copies with their original"
    )


def main() -> None:
    """Both pools."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--threshold", type=float, default=0.95)
    parser.add_argument("--outliers", action="store_true", help="time outliers, too: they take minutes at a million")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name, noise in (("near", 0.2), ("far", 0.46)):
        pool_ND, copied = rows(options.rows, options.width, noise)
        print(f"{name}: {len(pool_ND):,} x {options.width}, {machine.describe(pool_ND)}", flush=True)
        measure(pool_ND, copied, options.threshold, outliers=options.outliers)


if __name__ == "__main__":
    main()
