"""What the suite says: how far a default is behind the best strategy of each cell, and whether it is ever below random.

A cell is a world, a schedule and a budget. Who is best among many is partly luck: the best is picked on one half of
the seeds and measured on the other, over every way to halve them (up to HALVINGS), so that nobody is rewarded for it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import worlds
from scipy import stats
from suite import ROWS, SCHEDULES

HALVINGS = 252
#: points of accuracy that count as level
LEVEL = 1.0


@dataclass(frozen=True)
class Cell:
    """One world, schedule and budget; all in points of accuracy.

    Args:
        best: most often best on the half that picks.
        ahead: of the best that was picked over the default, on the other half; its 95 % half-width.
        over_random: of the default, paired by seed; its 95 % half-width.
    """

    world: str
    schedule: str
    budget: int
    seeds: int
    best: str
    of_best: float
    of_default: float
    of_random: float
    ahead: tuple[float, float]
    over_random: tuple[float, float]

    @property
    def level(self) -> bool:
        return self.ahead[0] <= LEVEL

    @property
    def below_random(self) -> bool:
        return self.over_random[0] + self.over_random[1] < 0


def cells(runs: Iterable[Mapping[str, Any]], default: str, half: str, rows: Iterable[str] = ROWS) -> Iterator[Cell]:
    """All cells of which every row has at least four seeds; ``rows`` are those that may be best."""
    among = [row for row in rows if row not in ("auto", default)]
    found: dict[tuple[str, str], dict[str, dict[int, list[float]]]] = defaultdict(lambda: defaultdict(dict))
    for run in runs:
        found[run["world"], run["schedule"]][run["strategy"]][run["seed"]] = run["accuracy"]
    for name in worlds.names(half):
        for schedule, budgets in SCHEDULES.items():
            of = found.get((name, schedule), {})
            if any(row not in of for row in (*among, default)):
                continue
            seeds = sorted(set.intersection(*(set(of[row]) for row in (*among, default))))
            if len(seeds) < 4:
                continue
            values = {row: 100 * np.array([of[row][seed] for seed in seeds]) for row in (*among, default)}
            for place, budget in enumerate(budgets[: values[default].shape[1]]):
                here = {row: value[:, place] for row, value in values.items()}
                yield _cell(name, schedule, budget, here, among, default)


def _cell(
    name: str, schedule: str, budget: int, here: Mapping[str, np.ndarray], among: list[str], default: str
) -> Cell:
    count = len(here[default])
    scores_RS, mine_S = np.stack([here[row] for row in among]), here[default]
    ahead, picked = [], []
    for half in _halves(count):
        rest = np.setdiff1d(np.arange(count), half)
        row = int(scores_RS[:, half].mean(1).argmax())
        picked.append(row)
        ahead.append(scores_RS[row, rest].mean() - mine_S[rest].mean())
    usual = int(np.bincount(picked).argmax())
    # halvings share seeds: the spread of the difference between seeds says how sure their mean is
    between = (scores_RS[usual] - mine_S).std(ddof=1) / np.sqrt(count)
    wide = float(stats.t.ppf(0.975, count - 1))
    gain_S = mine_S - here["random"]
    return Cell(
        name, schedule, budget, count, among[usual], float(scores_RS[usual].mean()), float(mine_S.mean()),
        float(here["random"].mean()), (float(np.mean(ahead)), wide * float(between)),
        (float(gain_S.mean()), wide * float(gain_S.std(ddof=1) / np.sqrt(count))),
    )  # fmt: skip


def _halves(count: int) -> list[np.ndarray]:
    every = list(combinations(range(count), count // 2))
    keep = np.random.default_rng(0).permutation(len(every))[:HALVINGS]
    return [np.array(every[n]) for n in keep]


def summary(found: list[Cell]) -> str:
    """One line: share within a point, with its interval over worlds; cells below random; mean distance to the best."""
    if not found:
        return "no cell yet"
    by_world = defaultdict(list)
    for cell in found:
        by_world[cell.world].append(cell.level)
    shares = np.array([np.mean(levels) for levels in by_world.values()])
    rng = np.random.default_rng(0)
    drawn = rng.choice(shares, (2000, len(shares))).mean(1)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return (
        f"within {LEVEL:g} point of the best in {100 * np.mean([cell.level for cell in found]):.0f} % of {len(found)} "
        "cells "
        f"({100 * low:.0f} to {100 * high:.0f} over worlds), "
        f"below random in {sum(cell.below_random for cell in found)}, "
        f"behind the best by {np.mean([cell.ahead[0] for cell in found]):.2f} points in the mean, "
        f"{max(cell.ahead[0] for cell in found):.1f} at worst"
    )


def table(runs: list[dict[str, Any]], half: str, default: str = "auto") -> str:
    """Markdown: a line a cell, and the summary above it."""
    found = list(cells(runs, default, half))
    lines = [
        summary(found),
        "",
        f"| world | labels | best | its accuracy | {default} | random | best ahead | over random |",
    ]
    lines.append("|---|--:|---|--:|--:|--:|--:|--:|")
    for cell in found:
        ahead, over = (f"{value:+.1f} ± {wide:.1f}" for value, wide in (cell.ahead, cell.over_random))
        lines.append(
            f"| {cell.world}, {cell.schedule} | {cell.budget} | {cell.best} | {cell.of_best:.1f} | "
            f"{cell.of_default:.1f} | {cell.of_random:.1f} | {ahead} | {over} |"
        )
    return "\n".join(lines)
