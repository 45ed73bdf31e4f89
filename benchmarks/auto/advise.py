"""How often the intervals of ``labelwise advise`` hold: curves are made, cut short, carried on, and compared.

``python benchmarks/auto/advise.py runs`` makes the curves (resumable, one line of JSON each in ``advise-runs.jsonl``);
``python benchmarks/auto/advise.py`` forecasts 1, 2 and 4 rounds ahead from every beginning of four rounds and more, and
prints how many of the 80 % intervals held what came. ``--half tuning`` looks at the worlds that the constants were
chosen on, ``--half judging`` at the others.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from feature_sets import JUDGING, TUNING, WORLDS, FeatureSet, Head, load

from labelwise.estimating.advice import Ends
from labelwise.estimating.curves import LearningCurve, Tuned, carry_on
from labelwise.report.statistics import labels_to_reach

HERE = Path(__file__).parent
RUNS = HERE / "advise-runs.jsonl"
STRATEGIES = ("random", "margin")
#: label counts of the rounds
SCHEDULES = {"steps": tuple(range(20, 661, 40)), "doubling": (20, 40, 80, 160, 320, 640, 1280)}
SEEDS = 5
#: test images of a small, a middling and a large test set; the first of all in an order that a seed draws
TESTED = (100, 300, 0)


def _labelled(world: FeatureSet, strategy: str, counts: tuple[int, ...], seed: int) -> Iterator[tuple[int, Head]]:
    """A head for each count of labels; the first twenty are drawn at random for all strategies."""
    rng = np.random.default_rng([seed, 7])
    order = rng.permutation(len(world.pool_ND))
    known = order[: counts[0]].tolist()
    for place, count in enumerate(counts):
        if count > 0.9 * len(order):
            return
        head = Head(world.pool_ND[known], world.pool_classes_N[known], world.classes)
        yield count, head
        if place + 1 == len(counts):
            return
        free = np.setdiff1d(order, known)
        more = counts[place + 1] - count
        if strategy == "random":
            known += rng.permutation(free)[:more].tolist()
        else:
            top = np.sort(head.probabilities(world.pool_ND[free]), 1)
            known += free[np.argsort(top[:, -1] - top[:, -2], kind="stable")[:more]].tolist()


def make_runs(cache: Path) -> None:
    """Every world, strategy, schedule and seed that is not there yet."""
    done = {tuple(run[key] for key in ("world", "strategy", "schedule", "seed")) for run in read_runs()}
    for name in WORLDS:
        wanted = [
            (name, strategy, schedule, seed)
            for strategy in STRATEGIES
            for schedule in SCHEDULES
            for seed in range(SEEDS)
            if (name, strategy, schedule, seed) not in done
        ]
        if not wanted:
            continue
        world, started = load(name, cache), time.process_time()
        for key in wanted:
            _, strategy, schedule, seed = key
            order = np.random.default_rng([seed, 11]).permutation(len(world.test_TD))
            labels, right = [], []
            for count, head in _labelled(world, strategy, SCHEDULES[schedule], seed):
                labels.append(count)
                right.append((head.probabilities(world.test_TD).argmax(1) == world.test_classes_T)[order])
            values = {str(n or len(order)): [round(float(r[: n or None].mean()), 6) for r in right] for n in TESTED}
            run = dict(zip(("world", "strategy", "schedule", "seed"), key, strict=True))
            with RUNS.open("a") as file:
                file.write(json.dumps({**run, "labels": labels, "accuracy": values}) + "\n")
        print(f"{name}: {len(wanted)} runs, {time.process_time() - started:.0f} s of processor time", flush=True)


def read_runs() -> list[dict[str, Any]]:
    """All runs that are there."""
    lines = RUNS.read_text().splitlines() if RUNS.is_file() else []
    return [run for run in map(json.loads, lines) if run["seed"] < SEEDS]


AHEAD = (1, 2, 4)
#: beginnings that are carried on, in rounds
CUTS = {"steps": (4, 6, 8, 12), "doubling": (4, 5, 6)}


@dataclass(frozen=True)
class Held:
    """One forecast against what came; all in points of accuracy."""

    schedule: str
    strategy: str
    tested: int
    ahead: int
    gain: bool
    level: bool
    reach: bool
    error: float
    wide: float
    score: float
    constant: float


def forecasts(runs: list[dict[str, Any]], tuned: Tuned | None = None, draws: int = 400) -> list[Held]:
    """Every beginning of every run on every test set, carried on."""
    found = []
    for run in runs:
        labels, truth = np.array(run["labels"], dtype=float), np.array(list(run["accuracy"].values())[-1])
        for tested, accuracy in run["accuracy"].items():
            value = np.array(accuracy)
            for cut in CUTS[run["schedule"]]:
                ahead = [a for a in AHEAD if cut + a <= len(labels)]
                if not ahead:
                    continue
                error = np.sqrt(value * (1 - value) / int(tested))[:cut]
                made = carry_on(LearningCurve(labels[:cut], value[:cut], error), draws=draws, tuned=tuned)
                at = [labels[cut + a - 1] for a in ahead]
                target = float(value[cut - 1]) + 0.02
                came_at = labels_to_reach(labels[cut - 1 :], value[cut - 1 :], target)
                reached = Ends.of(made.reached(target, labels[-1])) if target < 1 else None
                there = reached is None or _held(reached, came_at, labels[-1])
                said, of_all = 100 * made.measured(at), 100 * made.of_all(at)
                for column, a in enumerate(ahead):
                    came = 100 * value[cut + a - 1]
                    low, middle, high = np.quantile(said[:, column], (0.1, 0.5, 0.9))
                    ends = np.quantile(of_all[:, column], (0.1, 0.9))
                    outside = max(low - came, came - high, 0)
                    found.append(
                        Held(
                            run["schedule"], run["strategy"], int(tested) if int(tested) in TESTED else 0, a,
                            bool(low <= came <= high), bool(ends[0] <= 100 * truth[cut + a - 1] <= ends[1]), there,
                            abs(middle - came), high - low, high - low + 10 * outside, abs(100 * value[cut - 1] - came),
                        )
                    )  # fmt: skip
    return found


def _held(said: Ends, came_at: float, end: float) -> bool:
    """Whether an interval of label counts holds the count at which a value came, NaN where it did not by the end."""
    if np.isnan(came_at):
        return said.high >= end
    return said.low <= came_at * 1.0001 and came_at <= said.high * 1.0001


def show(held: list[Held]) -> None:
    """Coverage by schedule, size of the test set and distance."""
    heads = ["rounds", "test images", "ahead", "forecasts", "held, as measured", "of all images", "reach held"]
    print(f"| {' | '.join([*heads, 'width', 'error', 'of no change'])} |")
    print("|---" + "|--:" * 9 + "|")
    for schedule in SCHEDULES:
        for tested in TESTED:
            for ahead in AHEAD:
                mine = [h for h in held if (h.schedule, h.tested, h.ahead) == (schedule, tested, ahead)]
                if mine:
                    _line(schedule, str(tested or "all"), str(ahead), mine)
    _line("all", "", "", held)


def _line(schedule: str, tested: str, ahead: str, mine: list[Held]) -> None:
    share = [f"{100 * np.mean([getattr(h, name) for h in mine]):.0f} %" for name in ("gain", "level", "reach")]
    rest = [f"{np.mean([getattr(h, name) for h in mine]):.1f}" for name in ("wide", "error", "constant")]
    print(f"| {' | '.join([schedule, tested, ahead, f'{len(mine):,}', *share, *rest])} |")


def main() -> None:
    """Runs, or their coverage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="?", choices=("runs", "coverage"), default="coverage")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache/labelwise/benchmarks")
    parser.add_argument("--half", choices=("tuning", "judging", "both"), default="both")
    given = parser.parse_args()
    if given.what == "runs":
        make_runs(given.cache)
        return
    worlds = {"tuning": TUNING, "judging": JUDGING, "both": WORLDS}[given.half]
    show(forecasts([run for run in read_runs() if run["world"] in worlds]))


if __name__ == "__main__":
    main()
