"""Every strategy in every world: what a linear probe on frozen features learns from its picks, round by round.

``python benchmarks/auto/suite.py run [--seeds N] [--half choosing|judging] [--strategy NAME ...]`` does what is not
done yet, one line of JSON a run in ``runs.jsonl`` beside this file. ``python benchmarks/auto/suite.py table`` prints
what came out. A strategy that works without a model picks its first images itself; the others start from the ones that
are drawn at random with the same seed. An image of none of the classes costs a label and teaches nothing.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import worlds

import labelwise as lw
from labelwise.learners.features import fit_linear, usual_strength
from labelwise.strategies import STRATEGIES

RUNS = Path(__file__).with_name("runs.jsonl")
SCHEDULES = {"doubling": tuple(10 * 2**n for n in range(8)), "steps": tuple(range(50, 501, 50))}
ROWS = (
    *("random", "k_center", "kmeans", "typiclust", "prob_cover", "max_herding", "uherding"),
    *("entropy", "margin", "badge", "tcm", "alfa_mix", "galaxy", "auto"),
)


class Head:
    """Logistic regression as labelwise trains it on frozen features."""

    def __init__(self, rows_LD: torch.Tensor, labels_L: torch.Tensor, classes: int) -> None:
        mean_D = rows_LD.mean(0)
        scale = (rows_LD - mean_D).pow(2).mean().sqrt().clamp_min(1e-6)
        x_LD = (rows_LD - mean_D) / scale
        weight_CD, bias_C, _ = fit_linear(x_LD, labels_L, classes, usual_strength(*x_LD.shape))
        self.weight_CD = weight_CD / scale
        self.bias_C = bias_C - self.weight_CD @ mean_D

    def logits(self, rows_ND: torch.Tensor) -> torch.Tensor:
        return rows_ND @ self.weight_CD.T + self.bias_C


class Run:
    """One strategy in one world with one seed."""

    def __init__(self, world: worlds.World, strategy: str, seed: int) -> None:
        self.world, self.seed = world, seed
        self.strategy, self.cold = _strategy(strategy)
        self.pool_ND, self.test_TD = torch.from_numpy(world.pool_ND), torch.from_numpy(world.test_TD)
        self.classes_N, self.classes_T = torch.from_numpy(world.classes_N), torch.from_numpy(world.classes_T)
        self.asked: list[int] = []

    def rounds(self, budgets: tuple[int, ...]) -> Iterator[float]:
        """Accuracy on the test images after each budget that is at most six tenths of the pool."""
        head: Head | None = None
        for budget in budgets:
            if budget > 0.6 * len(self.classes_N):
                return
            self.asked += self._picks(head, budget - len(self.asked))
            known = torch.tensor(self.asked)
            known = known[self.classes_N[known] != worlds.FOREIGN]
            if len(known):
                head = Head(self.pool_ND[known], self.classes_N[known], self.world.classes)
            right = (self.classes_T == 0) if head is None else head.logits(self.test_TD).argmax(1) == self.classes_T
            yield float(right.float().mean())

    def _picks(self, head: Head | None, count: int) -> list[int]:
        asked = torch.tensor(self.asked, dtype=torch.int64)
        known = self.classes_N[asked] != worlds.FOREIGN
        # who was told "none of these" is not in the pool any more
        there = torch.ones(len(self.classes_N), dtype=torch.bool)
        there[asked[~known]] = False
        places = there.nonzero()[:, 0]
        at = torch.full((len(there),), -1)
        at[places] = torch.arange(len(places))
        strategy, more = self.strategy, {}
        if head is not None:
            logits_NC = head.logits(self.pool_ND[places])
            more = {"probs": logits_NC.softmax(1), "head": (head.weight_CD, head.bias_C)}
        elif not self.cold:
            strategy = "random"
        taught, seed = asked[known], 1000 * self.seed + len(self.asked)
        more |= {"labelled": at[taught], "labels": self.classes_N[taught]}
        picks = lw.select(strategy, count, embeddings=self.pool_ND[places], seed=seed, **more)
        return places[picks.positions].tolist()


def _strategy(told: str) -> tuple[lw.Strategy, bool]:
    """A strategy of a row, ``NAME`` or ``NAME:option=value,...``, and whether it needs no model."""
    name, _, options = told.partition(":")
    given: dict[str, Any] = dict(pair.split("=") for pair in options.split(",") if pair)
    made = STRATEGIES.create(name, **{key: int(value) if value.isdigit() else value for key, value in given.items()})
    return made, made.cold


def read() -> list[dict[str, Any]]:
    """All runs that are there."""
    return [json.loads(line) for line in RUNS.read_text().splitlines()] if RUNS.is_file() else []


def run(half: str, rows: list[str], seeds: range, cache: Path) -> None:
    """What is not done yet; all worlds and rows of a seed before the next one."""
    torch.set_num_threads(1)
    key = ("world", "schedule", "strategy", "seed")
    done = {tuple(one[part] for part in key) for one in read()}
    for seed in seeds:
        for name in worlds.names(half):
            wanted = [(name, schedule, row, seed) for schedule in SCHEDULES for row in rows]
            wanted = [one for one in wanted if one not in done]
            world = worlds.world(name, cache) if wanted else None
            for one in wanted:
                started = time.process_time()
                assert world is not None
                values = [round(value, 5) for value in Run(world, one[2], seed).rounds(SCHEDULES[one[1]])]
                seconds = round(time.process_time() - started, 2)
                line = json.dumps({**dict(zip(key, one, strict=True)), "accuracy": values, "seconds": seconds})
                with RUNS.open("a") as file:
                    file.write(line + "\n")
            print(f"seed {seed}, {name}: {len(wanted)} runs", flush=True)


def main() -> None:
    """Runs, or prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("run", "table"))
    parser.add_argument("--half", choices=("choosing", "judging", "both"), default="both")
    parser.add_argument(
        "--strategy", action="append", help="rows; may be repeated; of the table, the defaults to judge"
    )
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "labelwise" / "worlds")
    given = parser.parse_args()
    if given.what == "run":
        run(given.half, given.strategy or list(ROWS), range(given.seeds), given.cache)
        return
    from table import table

    for row in given.strategy or ["auto"]:
        print(table(read(), given.half, row), end="\n\n")


if __name__ == "__main__":
    main()
